"""True prefixes of a real CPython, made by links in milliseconds: what conda makes, and what it writes down about it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.fakes.targets import write_script

# What the hook of conda gives a shell, as far as activating goes; the real one does the same with more care.
HOOK = """
conda() {
    case "$1" in
    activate) prefix="$CONDA_BASE/envs/$2"; [ -d "$prefix" ] || prefix="$2"
        export CONDA_PREFIX="$prefix" CONDA_DEFAULT_ENV="$2" CONDA_SHLVL=1 PATH="$prefix/bin:$PATH" ;;
    deactivate) PATH=$(echo "$PATH" | sed "s|$CONDA_PREFIX/bin:||"); export PATH; unset CONDA_PREFIX ;;
    *) echo "conda: $1 is not pretended" >&2; return 1 ;;
    esac
}
export CONDA_SHLVL=${CONDA_SHLVL:-0}
"""


def make_prefix(folder: Path, python: str) -> Path:
    """A prefix of its own with the real interpreter and library of ``python`` behind it; the answer is its site-packages."""
    real = Path(os.path.realpath(python))
    name = real.name if real.name.startswith("python3.") else f"python{real.parent.parent.name.rpartition('.')[0]}"
    (folder / "bin").mkdir(parents=True)
    _link(real, folder / "bin" / name)
    for alias in ("python", "python3"):
        (folder / "bin" / alias).symlink_to(name)
    library = folder / "lib" / name
    library.mkdir(parents=True)
    for entry in (real.parent.parent / "lib" / name).iterdir():
        if entry.name != "site-packages":
            (library / entry.name).symlink_to(entry)
    (library / "site-packages").mkdir()
    return library / "site-packages"


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def make_conda(folder: Path, python: str, record: str | None = None) -> Path:
    """The same as a conda environment; ``record`` is a package that conda believes to be in it: ``pytorch-2.0.1-py3.8_0``."""
    site = make_prefix(folder, python)
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta" / "history").write_text("")
    if record:
        name, version, build = record.rsplit("-", 2)
        content = {"name": name, "version": version, "build": build, "files": []}
        (folder / "conda-meta" / f"{record}.json").write_text(json.dumps(content))
    return site


def make_conda_base(folder: Path, python: str) -> Path:
    """A base environment: the same with the program of conda and the hook for shells."""
    site = make_conda(folder, python, "conda-23.1.0-py38_0")
    write_script(folder / "condabin" / "conda", 'echo "conda is not pretended" >&2; exit 1')
    hook = folder / "etc" / "profile.d" / "conda.sh"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"CONDA_BASE='{folder}'\n{HOOK}")
    return site
