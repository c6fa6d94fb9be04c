"""Every lockfile format by its name: add a module and its line, and ``envfix lock --format`` takes it."""

from __future__ import annotations

import importlib
from typing import get_args

from envfix.lockers.interface import Locker, LockFileError
from envfix.model.language import say
from envfix.model.lock import Format

# Name, module and class. Recognising a file asks them in this order: what says most about itself comes first.
_FORMATS = {
    "pylock": ("pylock", "PylockLocker"),
    "uv": ("uv_project", "UvProjectLocker"),
    "dockerfile": ("dockerfile", "DockerfileLocker"),
    "conda-explicit": ("conda_explicit", "CondaExplicitLocker"),
    "conda-lock": ("conda_lock", "CondaLockLocker"),
    "pixi": ("pixi_lock", "PixiLockLocker"),
    "environment.yml": ("environment_yml", "EnvironmentYmlLocker"),
    "requirements": ("requirements", "RequirementsLocker"),
}
NAMES: tuple[str, ...] = get_args(Format)
# Those that hold conda packages, and those that hold nothing else.
OF_CONDA = frozenset({"environment.yml", "conda-explicit", "conda-lock", "pixi"})
ONLY_CONDA = frozenset({"conda-explicit", "conda-lock", "pixi"})


def locker(name: str) -> Locker:
    """The format of this name; raises ``KeyError``."""
    module, kind = _FORMATS[name]
    made: Locker = getattr(importlib.import_module(f"envfix.lockers.{module}"), kind)()
    return made


def recognised(text: str, filename: str) -> Locker:
    """The format that a file is of; raises ``LockFileError`` where it is of none."""
    for name in _FORMATS:
        one = locker(name)
        if one.is_this(text, filename):
            return one
    raise LockFileError(
        say("{filename} is no lockfile that envfix can read", filename=filename),
        hint=say("it reads {names}: name the file so, or its --format", names=", ".join(NAMES)),
    )


def by_filename(filename: str) -> str | None:
    """The format that a file of this name is meant to be, by the name alone; None where that says nothing."""
    meant = next((name for name in _FORMATS if locker(name).is_this("", filename)), None)
    return "requirements" if meant is None and filename.endswith(".txt") else meant
