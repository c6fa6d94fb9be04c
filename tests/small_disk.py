"""A tiny file system of its own, for tests of full, read-only, noexec and other disks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.host.real import RealHost


@contextlib.contextmanager
def small_disk(path: Path, options: str = "size=8m") -> Iterator[Path]:
    """A tiny file system of its own at ``path``, taken away at the end; only root may make one."""
    path.mkdir(exist_ok=True)
    host = RealHost()
    made = host.run(["mount", "-t", "tmpfs", "-o", options, "envfix-test", str(path)], timeout=10)
    if not made.ok:
        pytest.skip(f"a small disk cannot be mounted here: {made.failure}")
    try:
        yield path
    finally:
        host.run(["umount", "-l", str(path)], timeout=10)
