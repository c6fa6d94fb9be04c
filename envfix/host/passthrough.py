"""A program run untouched: its own streams, terminal, signals and exit code; a copy of what it wrote is kept."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

# What is kept of the output: banners stand at the start, errors at the end.
HEAD_LIMIT, TAIL_LIMIT = 1 << 20, 8 << 20
# Seconds that a program's children may go on writing after it has ended, before nobody waits for them.
GRACE = 0.3
NOT_FOUND, NOT_PERMITTED, BY_SIGNAL = 127, 126, 128


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended: its exit code as a shell tells it (128 + signal), what it wrote (``output``: start and end of it)."""

    code: int
    output: bytes
    started: bool = True
    problem: str | None = None


class _Copy:
    """The start and the end of everything that was written, on either stream, in its order."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        room = HEAD_LIMIT - len(self._head)
        self._head += chunk[:room]
        if chunk[room:]:
            self._tail.append(chunk[room:])
            self._size += len(chunk[room:])
        while self._size > TAIL_LIMIT:
            self._size -= len(self._tail.popleft())

    def text(self) -> bytes:
        return bytes(self._head) + b"".join(self._tail)


def run(argv: Sequence[str]) -> Ended:
    """Run a program without a shell, with this process's own standard streams and environment.

    Where a stream is a terminal the program gets one of the same size, so that it draws its colours and progress as always.
    Ctrl-C reaches it as always, since it runs in the same group; SIGTERM and SIGHUP are handed on. Raises nothing for a program
    that fails.
    """
    copy = _Copy()
    channels = _channels()
    ends = {number: writing for number, (_, writing) in channels.items()}
    try:
        process = subprocess.Popen(list(argv), stdout=ends[1], stderr=ends[2])
    except OSError as error:
        code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_PERMITTED
        return Ended(code=code, output=b"", started=False, problem=error.strerror or str(error))
    finally:
        for writing in set(ends.values()):
            os.close(writing)
    readers = {reading: number for number, (reading, _) in reversed(channels.items())}
    with _signals(process, tuple(readers)):
        _hand_on(process, readers, copy)
        code = process.wait()
    for reading in readers:
        os.close(reading)
    return Ended(code=code if code >= 0 else BY_SIGNAL - code, output=copy.text())


def _channels() -> dict[int, tuple[int, int]]:
    """For standard output and error: where the program's is read and written; one for both where both are one terminal."""
    shared = _same_terminal()
    first = _channel(1)
    return {1: first, 2: first if shared else _channel(2)}


def _same_terminal() -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(1) and os.isatty(2) and os.fstat(1).st_rdev == os.fstat(2).st_rdev
    return False


def _channel(number: int) -> tuple[int, int]:
    if sys.platform == "win32" or not _is_terminal(number):
        return os.pipe()
    import pty
    import termios

    reading, writing = pty.openpty()
    # The real terminal turns line ends into its own; this one must leave them alone.
    modes = termios.tcgetattr(writing)
    modes[1] &= ~termios.OPOST
    termios.tcsetattr(writing, termios.TCSANOW, modes)
    _copy_size(number, reading)
    return reading, writing


def _is_terminal(number: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(number)
    return False


def _copy_size(number: int, terminal: int) -> None:
    import fcntl
    import termios

    with contextlib.suppress(OSError):
        size = fcntl.ioctl(number, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, size)


@contextlib.contextmanager
def _signals(process: subprocess.Popen[bytes], terminals: Sequence[int]) -> Iterator[None]:
    """While the program runs: Ctrl-C is its own affair, the wish to end is handed on, a resized window is told."""

    def hand_on(number: int, _frame: Any) -> None:
        with contextlib.suppress(OSError):
            process.send_signal(number)

    def resized(_number: int, _frame: Any) -> None:
        for terminal in terminals:
            _copy_size(1 if _is_terminal(1) else 2, terminal)

    handlers: dict[str, Any] = {"SIGINT": lambda *_: None, "SIGQUIT": lambda *_: None}
    handlers |= {"SIGTERM": hand_on, "SIGHUP": hand_on, "SIGWINCH": resized}
    known = {getattr(signal, name): handler for name, handler in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in known.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hand_on(process: subprocess.Popen[bytes], readers: dict[int, int], copy: _Copy) -> None:
    """Write what comes to where it belongs at once, until both streams end or the program has ended and nothing comes."""
    with selectors.DefaultSelector() as selector:
        for reading in readers:
            selector.register(reading, selectors.EVENT_READ)
        while selector.get_map():
            ended = process.poll() is not None
            ready = selector.select(GRACE if ended else 0.2)
            if ended and not ready:
                return
            for key, _ in ready:
                chunk = _read(key.fd)
                if not chunk:
                    selector.unregister(key.fd)
                    continue
                copy.add(chunk)
                _write(readers[key.fd], chunk)


def _read(reading: int) -> bytes:
    try:
        return os.read(reading, 1 << 16)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal whose other end is closed
            raise
        return b""


def _write(number: int, chunk: bytes) -> None:
    """All of it; a reader that has gone away (``| head``) does not end the program before it notices itself."""
    with contextlib.suppress(BrokenPipeError):
        while chunk:
            chunk = chunk[os.write(number, chunk) :]
