"""Which running programs use files of an environment: those that have a file below its folders mapped or open."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from envfix.model.documents import without_secrets
from envfix.model.language import later, say

if TYPE_CHECKING:
    import psutil

_PROC = "/proc"
_COMMAND_LENGTH = 60
_NAMED = 3
_WORDS = 40
_DAY = 86_400
IN_USE_HINT = later("end them first, or make an environment beside this one with --new-env PATH")


class UserProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A running program that uses the files: what it is (short, without passwords), whose, and since when (seconds since 1970)."""

    pid: int
    command: str
    user: str
    since: float


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """The programs that use the files, and how many programs (of other users) could not be looked at."""

    processes: tuple[UserProcess, ...] = ()
    unreadable: int = 0


def users_of(paths: Sequence[str], *, parents: bool = False) -> Users:
    """The running programs that have a file below one of these folders (or that very file) mapped or open.

    Neither envfix itself nor what it has started counts, nor what has started envfix unless ``parents`` (a notebook in
    which ``!envfix`` is typed is such a parent). Programs that start or end meanwhile may be missed.
    """
    wanted = tuple(dict.fromkeys(os.path.realpath(path) for path in paths))
    look = _in_proc if os.path.isdir(f"{_PROC}/self/fd") else _by_psutil
    unreadable, found = 0, list[int]()
    for pid, answer in look(wanted) if wanted else ():
        unreadable += answer is None
        if answer:
            found.append(pid)
    own = os.getpid()
    above = set() if parents else set(_ancestors(own))
    told = (_told(pid) for pid in found if pid not in above and own not in (pid, *_ancestors(pid)))
    return Users(processes=tuple(process for process in told if process is not None), unreadable=unreadable)


def in_use_message(processes: Sequence[UserProcess]) -> str:
    """One sentence for the user: which programs use the environment's torch, and what replacing it does to them."""
    named = [_in_words(process) for process in processes[:_NAMED]]
    more = len(processes) - len(named)
    listed = ", ".join(named) + (say(" and {more} more", more=more) if more else "")
    if len(processes) == 1:
        return say(
            "1 program uses this environment's torch now: {listed}; replacing it meanwhile can crash that program",
            listed=listed,
        )
    return say(
        "{count} programs use this environment's torch now: {listed}; replacing it meanwhile can crash them",
        count=len(processes),
        listed=listed,
    )


def _in_words(process: UserProcess) -> str:
    shape = "%H:%M" if time.time() - process.since < _DAY else "%Y-%m-%d %H:%M"
    since = time.strftime(shape, time.localtime(process.since))
    own = getattr(os, "geteuid", lambda: -1)()
    whose = "" if process.user == _user_name(own) else f" of {process.user}"
    return f"{process.command} (pid {process.pid}{whose}, since {since})"


def _in_proc(wanted: Sequence[str]) -> Iterator[tuple[int, bool | None]]:
    """Each process and whether it uses one of the paths; None where this user may not see.

    psutil's ``memory_maps`` reads the sizes of every mapping too, which takes the kernel a hundred times as long.
    """
    # A path stands in /proc/PID/maps after a blank, with its line breaks written in octal.
    escaped = [os.fsencode(path).replace(b"\n", b"\\012") for path in wanted]
    mapped = [b" " + path + end for path in escaped for end in (b"/", b"\n", b" (deleted)\n")]
    for name in os.listdir(_PROC):
        if not name.isdigit():
            continue
        try:
            with open(f"{_PROC}/{name}/maps", "rb") as stream:
                maps = stream.read()
            yield int(name), any(one in maps for one in mapped) or _below(_open_files(name), wanted)
        except PermissionError:
            if _is_program(name):
                yield int(name), None
        except OSError:  # it has ended meanwhile
            continue


def _is_program(name: str) -> bool:
    """Threads of the kernel have no command line; they use no environment."""
    try:
        with open(f"{_PROC}/{name}/cmdline", "rb") as stream:
            return bool(stream.read(1))
    except OSError:
        return False


def _open_files(name: str) -> Iterator[str]:
    folder = f"{_PROC}/{name}/fd"
    for number in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"{folder}/{number}")


def _below(files: Iterable[str], wanted: Sequence[str]) -> bool:
    return any(file == path or file.startswith(path + os.sep) for file in files for path in wanted)


def _by_psutil(wanted: Sequence[str]) -> Iterator[tuple[int, bool | None]]:
    """The same where there is no /proc: Windows tells of mapped files, macOS of open ones only."""
    import psutil

    for process in psutil.process_iter():
        yield process.pid, _uses(process, wanted)


def _uses(process: psutil.Process, wanted: Sequence[str]) -> bool | None:
    import psutil

    try:
        files = [file.path for file in process.open_files()]
        if hasattr(process, "memory_maps"):
            files += [one.path for one in process.memory_maps(grouped=True)]
    except psutil.AccessDenied:
        return None
    except (psutil.Error, OSError):  # it has ended meanwhile
        return False
    return _below(files, wanted)


def _ancestors(pid: int) -> Iterator[int]:
    """The processes above one, the nearest first."""
    import psutil

    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).parents():
            yield process.pid


def _told(pid: int) -> UserProcess | None:
    """What a person wants to know of a process; None when it has ended."""
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        argv = process.cmdline() or [process.name()]
        user = _user_name(process.uids().real) if hasattr(process, "uids") else process.username()
        return UserProcess(pid=pid, command=_command(argv), user=user, since=process.create_time())
    except psutil.Error:
        return None


def _command(argv: Sequence[str]) -> str:
    """The command line as it was typed, about: without the program's folder, passwords, and what is too long."""
    # Some programs put one text for people there instead of arguments.
    words = (list(argv) if len(argv) > 1 else argv[0].split() or [argv[0]])[:_WORDS]
    words[0] = os.path.basename(words[0]) or words[0]
    text = " ".join(without_secrets(" ".join(_hidden(words)).replace("\0", " ")).split())
    return text if len(text) <= _COMMAND_LENGTH else text[: _COMMAND_LENGTH - 3].rstrip() + "..."


def _hidden(words: Sequence[str]) -> Iterator[str]:
    """The arguments without passwords, which may have blanks in them."""
    before = ""
    for word in words:
        is_secret = word and without_secrets(f"{before} x").endswith("***")
        yield "***" if is_secret else without_secrets(re.sub(r"\s", "\0", word))
        before = word


def _user_name(number: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return str(number)
