"""The end of every installation: what holds the stack in place is written, and the outcome is told."""

from __future__ import annotations

import time

from envfix.host.interface import Host
from envfix.installer.interface import Resolution
from envfix.installer.problems import install_error
from envfix.lockers.constraints import FILENAME
from envfix.model.language import say
from envfix.model.outcome import Installation


def finished(
    host: Host,
    backend: str,
    resolution: Resolution,
    *,
    python: str,
    prefix: str,
    constraints: str | None,
    started: float,
) -> Installation:
    """What was installed since ``started`` (``time.monotonic``); ``constraints`` goes to ``envfix-constraints.txt``."""
    written = None
    if constraints is not None:
        written = f"{prefix}/{FILENAME}"
        write(host, written, constraints)
    return Installation(
        prefix=prefix,
        python=python,
        installed=resolution.versions,
        seconds=round(time.monotonic() - started, 3),
        constraints_file=written,
        backend=backend,
    )


def write(host: Host, path: str, text: str) -> None:
    """Write a file; raises ``InstallError`` or one of its kinds."""
    try:
        host.write_text(path, text)
    except OSError as error:
        raise install_error(
            say("{path}: {strerror} (os error {errno})", path=path, strerror=error.strerror, errno=error.errno),
            say("writing {path}", path=path),
        ) from error
