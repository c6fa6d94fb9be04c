"""One envfix at a time works on an environment: a lock that programs it starts hold as well, until the last of them has ended.

The ``filelock`` library does not hand its lock on to children; but a killed envfix leaves its installer behind, and nobody
may touch the environment while that one still writes.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from functools import cache

import msgspec

from envfix.errors import EnvfixError
from envfix.host.journal import FOLDER

_LOOK_UP = 0.05
# Seconds in which an installer that has lost its envfix ends by itself: it was started a moment before, and not yet signed for.
_LEAVING = 30.0


class BusyError(EnvfixError):
    """Another envfix works on this environment."""

    reference = "busy"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the lock, by process number: envfix, and the installer it has started; ``signed`` is when it was written.

    A process of that number that has started later is another one, and so is one on another machine or in another
    container (``where``). Times are seconds since 1970.
    """

    envfix: int
    since: float
    signed: float
    where: str = ""
    installer: int | None = None


@contextlib.contextmanager
def locked(prefix: str, *, patience: float, on_wait: Callable[[str], None]) -> Iterator[EnvironmentLock]:
    """Hold the lock of an environment; waits ``patience`` seconds for another envfix, then raises ``BusyError``.

    An installer that a killed envfix has left behind is ended. Raises ``OSError`` where the lock cannot be written.
    """
    lock = EnvironmentLock(os.path.join(prefix, FOLDER))
    try:
        began, told = time.monotonic(), False
        while not lock.take():
            holder = lock.holder()
            here = holder is not None and holder.where == _here()
            orphaned = holder is not None and here and not _alive(holder.envfix, holder.signed)
            if holder is not None and orphaned and _end(holder):
                continue
            if time.monotonic() > began + (max(patience, _LEAVING) if orphaned else patience):
                raise BusyError(f"{_who(holder)} works on {prefix}", hint="wait for it to end, then try again")
            if not told and not orphaned:
                on_wait(f"waiting: {_who(holder)} works on {prefix}")
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
        try:
            self._held = os.path.sameopenfile(self.descriptor, own := os.open(self._path, os.O_RDWR))
            os.close(own)
        except FileNotFoundError:
            self._held = False
        if not self._held:
            os.close(self.descriptor)
            self.descriptor = self._open()
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
        if self._held:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
                os.rmdir(self._folder)
        os.close(self.descriptor)

    def _open(self) -> int:
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)


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


def _end(holder: Holder) -> bool:
    """End an installer that nobody waits for any more, and what it has started; whether there was one."""
    if holder.installer is None or not _alive(holder.installer, holder.signed):
        return False
    import psutil

    with contextlib.suppress(psutil.Error):
        first = psutil.Process(holder.installer)
        family = [*first.children(recursive=True), first]
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, left = psutil.wait_procs(family, timeout=3)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(left, timeout=3)
    return True


def _who(holder: Holder | None) -> str:
    if holder is None:
        return "another program"
    began = time.strftime("%H:%M", time.localtime(holder.since))
    where = "" if holder.where == _here() else f" on {holder.where.partition(' ')[0]}"
    return f"another envfix (process {holder.envfix}{where}, since {began})"
