"""One envfix at a time works on an environment: a lock that programs it starts hold as well, until the last of them has ended.

The ``filelock`` library does not hand its lock on to children; but a killed envfix leaves its installer behind, and nobody
may touch the environment while that one still writes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Annotated

import msgspec

from envfix.errors import EnvfixError
from envfix.host.journal import FOLDER
from envfix.model.language import say

if TYPE_CHECKING:
    import psutil

_LOOK_UP = 0.05
# Seconds in which an installer that has lost its envfix ends by itself: it was started a moment before, and not yet signed for.
_LEAVING = 30.0
# What is read here anybody may have written: other numbers are no process, or no time that can be told.
_Process = Annotated[int, msgspec.Meta(gt=0, lt=2**31)]
_Time = Annotated[float, msgspec.Meta(ge=0, lt=2**33)]


class BusyError(EnvfixError):
    """Another envfix works on this environment."""

    reference = "busy"


class LockFileError(EnvfixError):
    """Something else lies where the lock of an environment belongs; it is left alone."""

    reference = "lock-file"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lock, by process number: envfix, and the installer it has started; ``signed`` is when it was written.

    A process of that number that has started later is another one, and so is one on another machine or in another
    container (``where``). Times are seconds since 1970.
    """

    envfix: _Process
    since: _Time
    signed: _Time
    where: str = ""
    installer: _Process | None = None


@contextlib.contextmanager
def locked(prefix: str, *, patience: float, on_wait: Callable[[str], None]) -> Iterator[EnvironmentLock]:
    """Hold the lock of an environment; waits ``patience`` seconds for another envfix, then raises ``BusyError``.

    An installer that a killed envfix has left behind is ended. Raises ``OSError`` where the lock cannot be written, and
    ``LockFileError`` where something else has its name.
    """
    lock = EnvironmentLock(os.path.join(prefix, FOLDER))
    try:
        began, told = time.monotonic(), False
        while not lock.take():
            holder = lock.holder()
            here = holder is not None and holder.where == _here()
            orphaned = holder is not None and here and not _alive(holder.envfix, holder.signed)
            if holder is not None and orphaned and _end(holder, lock.descriptor):
                continue
            if time.monotonic() > began + (max(patience, _LEAVING) if orphaned else patience):
                raise BusyError(
                    say("{who} works on {prefix}", who=_who(holder), prefix=prefix),
                    hint=say("wait for it to end, then try again"),
                )
            if not told and not orphaned:
                on_wait(say("waiting: {who} works on {prefix}", who=_who(holder), prefix=prefix))
                told = True
            time.sleep(_LOOK_UP)
        lock.sign()
        yield lock
    finally:
        lock.release()


class EnvironmentLock:
    """The lock file of one environment. ``descriptor`` is what a child must inherit to hold it too."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._path = os.path.join(folder, "lock")
        self._since = time.time()
        self._held = False
        self.descriptor = self._open()

    def take(self) -> bool:
        """Try to take it at once."""
        if not _lock(self.descriptor):
            return False
        # Whoever held it may have deleted the file meanwhile: then this is the lock of nothing.
        self._held = self._is_in_place()
        if self._held and os.fstat(self.descriptor).st_nlink > 1:
            # It has another name as well, under which somebody keeps what would be written over: that one stays.
            os.unlink(self._path)
            self._held = False
        if not self._held:
            stale, self.descriptor = self.descriptor, self._open()
            os.close(stale)
        return self._held

    def sign(self, installer: int | None = None) -> None:
        """Write down who holds it; ``installer`` is the number of the program that works for envfix now."""
        holder = Holder(envfix=os.getpid(), since=self._since, signed=time.time(), where=_here(), installer=installer)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, msgspec.json.encode(holder), 0)

    def holder(self) -> Holder | None:
        """Who has signed last; None where that cannot be read."""
        try:
            return msgspec.json.decode(os.pread(self.descriptor, 100_000, 0), type=Holder)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    def release(self) -> None:
        """Give it back; the file goes, and the folder with it when nothing is kept there."""
        with contextlib.suppress(OSError):
            if self._held and self._is_in_place():
                os.unlink(self._path)
                os.rmdir(self._folder)
        os.close(self.descriptor)

    def _open(self) -> int:
        _refuse_others(self._folder, stat.S_ISDIR, "keeps its journal in a folder of that name")
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        _refuse_others(self._path, stat.S_ISREG, "keeps its lock in a file of that name")
        # A link that comes in this very moment is not followed either, where the system can tell.
        return os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)

    def _is_in_place(self) -> bool:
        """Whether the file that is open is still the one of that name."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.lstat(self._path))
        except FileNotFoundError:
            return False


def _refuse_others(path: str, is_right: Callable[[int], bool], use: str) -> None:
    """Raise ``LockFileError`` where a link or anything else lies that envfix has not made; nothing is fine."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise LockFileError(
            say("{path} is a link, which envfix does not follow", path=path), hint=say("remove the link")
        )
    if not is_right(mode):
        kind = "a file" if stat.S_ISREG(mode) else "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise LockFileError(
            say("{path} is {kind}, and envfix {use}", path=path, kind=kind, use=use), hint=say("move it away")
        )


def _lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@cache
def _here() -> str:
    """This machine and container: process numbers mean nothing elsewhere."""
    parts = [platform.node()]
    for read, path in ((os.readlink, "/proc/self/ns/pid"), (_text, "/proc/sys/kernel/random/boot_id")):
        with contextlib.suppress(OSError):
            parts.append(read(path))
    return " ".join(parts)


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read().strip()


def _alive(pid: int, seen: float) -> bool:
    """Whether the process that had this number then still runs."""
    import psutil

    try:
        process = psutil.Process(pid)
        # The system tells starts to a hundredth of a second; a process that has ended may wait for its parent.
        return bool(process.create_time() <= seen + 0.5 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _end(holder: Holder, lock: int) -> bool:
    """End an installer that nobody waits for any more, and what it has started; whether it is gone.

    Only who has the lock open is ended: its text proves nothing, since anybody may have written it, and numbers come again.
    """
    if holder.installer is None or holder.installer == os.getpid() or not _alive(holder.installer, holder.signed):
        return False
    import psutil

    with contextlib.suppress(psutil.Error):
        first, mark = psutil.Process(holder.installer), os.fstat(lock)
        if not _has_open(first, mark):
            return False
        family = [*(child for child in first.children(recursive=True) if _has_open(child, mark)), first]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, left = psutil.wait_procs(family, timeout=3)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=3)
    return not _alive(holder.installer, holder.signed)


def _has_open(process: psutil.Process, mark: os.stat_result) -> bool:
    """Whether this process has that very file open; what cannot be seen counts as no."""
    import psutil

    opened = f"/proc/{process.pid}/fd"
    if os.path.isdir("/proc/self/fd"):
        # The links of this folder lead to the files themselves, under whatever name they were opened.
        paths = [os.path.join(opened, name) for name in _names(opened)]
    else:
        try:
            paths = [file.path for file in process.open_files()]
        except psutil.Error:
            return False
    return any(_is_file(path, mark) for path in paths)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_file(path: str, mark: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), mark)
    except OSError:
        return False


def _who(holder: Holder | None) -> str:
    if holder is None:
        return say("another program")
    began = time.strftime("%H:%M", time.localtime(holder.since))
    node = "".join(filter(str.isprintable, holder.where.partition(" ")[0]))
    where = "" if holder.where == _here() else say(" on {node}", node=node)
    return say(
        "another envfix (process {envfix}{where}, since {began})", envfix=holder.envfix, where=where, began=began
    )
