"""Made-up environments: interpreters that really start, with packages that are only files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

SM_OF_CU111 = "sm_37 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86"
SM_OF_CU118 = "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_37 sm_90"
SM_OF_CU128 = "sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120"


def base_python() -> str:
    """The real interpreter behind the one that runs the tests."""
    return os.path.realpath(sys.executable)


def make_venv(folder: Path, python: str | None = None, version: str | None = None) -> Path:
    """A virtual environment by its files alone, with neither pip nor anything else in it; the answer is its site-packages."""
    real = os.path.realpath(python) if python else base_python()
    name = version or f"{sys.version_info[0]}.{sys.version_info[1]}"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(real)
    (folder / "pyvenv.cfg").write_text(f"home = {os.path.dirname(real)}\ninclude-system-site-packages = false\n")
    site = folder / "lib" / f"python{name}" / "site-packages"
    site.mkdir(parents=True)
    return site


def write_script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text + "\n")
    path.chmod(0o755)
    return path


def write_distribution(
    site: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    record: bool = True,
) -> Path:
    """Metadata and files of one distribution as an installer leaves them; the answer is its metadata folder."""
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    head = [
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    (metadata / "METADATA").write_text(
        "\n".join(head) + "\n\nA text after the head.\nRequires-Dist: not-a-requirement\n"
    )
    (metadata / "INSTALLER").write_text("pip\n")
    for path, content in (files or {}).items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(content)
    if record:
        rows = [f"{path},sha256=0,1" for path in files or {}]
        rows += [f"{metadata.name}/METADATA,sha256=0,1", f"{metadata.name}/RECORD,,", f"{name}/__pycache__/gone.pyc,,"]
        (metadata / "RECORD").write_text("\n".join(rows) + "\n")
    return metadata


def write_torch(
    site: Path,
    build: str,
    cuda: str | None,
    architectures: str | None = None,
    *,
    metadata_version: str | None = None,
    hip: str | None = None,
    init: str = "",
    record: bool = True,
) -> Path:
    """A torch by its files: ``build`` and ``cuda`` in version.py, the architectures in a library that is no ELF file at all."""
    version_file = (
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']\n"
        f"__version__ = {build!r}\ndebug = False\ncuda: Optional[str] = {cuda!r}\n"
        f"git_version = 'd69c22dd'\nhip: Optional[str] = {hip!r}\n"
    )
    files = {"torch/__init__.py": init or "from .version import __version__\n", "torch/version.py": version_file}
    metadata = write_distribution(site, "torch", metadata_version or build, files=files, record=record)
    if architectures is not None:
        library = site / "torch" / "lib" / "libtorch_python.so"
        library.parent.mkdir()
        words = architectures.encode()
        # As in the real library: a NUL-ended list among other strings, some of which look like it.
        before = b"\x7fnot-ELF sm_35\x00nvcc -arch sm_35 sm_52 of a message" + b"\x00" * 5000
        library.write_bytes(before + words + b"\x00sm_" + b"\xff" * 99)
    return metadata


def write_torchvision(site: Path, build: str, cuda: str | None, *, torch_pin: str | None = None) -> Path:
    """The torchvision beside it, with its pin of torch."""
    files = {
        "torchvision/__init__.py": "",
        "torchvision/version.py": f"__version__ = {build!r}\ngit_version = 'abc'\n"
        + (f"cuda = {cuda!r}\n" if cuda else ""),
    }
    requires = [f"torch (=={torch_pin})"] if torch_pin else []
    return write_distribution(site, "torchvision", build, requires=requires, files=files)
