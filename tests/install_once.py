"""Installs a resolution into an environment as envfix does, in a program of its own that a test can kill at any moment.

python -m tests.install_once ENVIRONMENT RESOLUTION.json
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting, changes
from envfix.installer.interface import Resolution
from envfix.installer.uv import UvInstaller
from envfix.model.outcome import Installation
from envfix.model.reporter import NullReporter


def main(environment: str, resolution_file: str) -> None:
    """Fetch, then install with a journal; says when it begins, so that a test can aim."""
    resolution = msgspec.json.decode(Path(resolution_file).read_bytes(), type=Resolution)
    uv = UvInstaller(RealHost())
    layout = changes.layout_of(environment)
    python = f"{environment}/bin/python"

    def work(python: str, lock: EnvironmentLock) -> Installation:
        return uv.install(resolution, python=python, prefix=environment, constraints="numpy<3\n", lock=lock)

    resolution = uv.fetch(resolution, python=python)
    acting.into_existing(
        acting.by_wheels(RealHost(), layout, resolution.versions, uv.incoming(resolution)),
        python,
        what=changes.in_words(resolution.versions),
        work=work,
        prove=lambda _: None,
        keep=False,
        reporter=NullReporter(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
