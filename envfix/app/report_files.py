"""The files that reports are written to: looked at before the work, written whole or not at all."""

from __future__ import annotations

import errno
import os

from envfix.errors import EnvfixError
from envfix.model.language import say


def check(path: str, option: str) -> None:
    """Raise ``EnvfixError`` where it can be told beforehand that the file cannot be written."""
    folder = os.path.dirname(place(path))
    if os.path.isdir(path):
        raise _cannot_write(path, errno.EISDIR, option)
    if not os.path.isdir(folder):
        raise _cannot_write(path, errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT, option)


def place(path: str) -> str:
    """Where a file really is, however it is called."""
    return os.path.realpath(path)


def write(path: str, text: str, option: str) -> None:
    """Write a report; raises ``EnvfixError`` where that is impossible."""
    from envfix.host.real import RealHost

    try:
        RealHost().write_text(path, text)
    except OSError as error:
        raise _cannot_write(path, error, option) from error


def _cannot_write(path: str, why: OSError | int, option: str) -> EnvfixError:
    strerror = os.strerror(why) if isinstance(why, int) else why.strerror or why
    return EnvfixError(
        say("cannot write {path}: {strerror}", path=path, strerror=strerror),
        hint=say("name another file with {option}", option=option),
    )
