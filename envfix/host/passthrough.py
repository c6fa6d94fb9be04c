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
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

# What is kept of the output: banners stand at the start, errors at the end.
HEAD_LIMIT, TAIL_LIMIT = 1 << 20, 8 << 20
# Seconds that a program's children may go on writing after it has ended, before somebody else takes over for them.
GRACE = 0.3
NOT_FOUND, NOT_PERMITTED, BY_SIGNAL = 127, 126, 128
# Signals that are handed on to the program; those of a terminal reach it by themselves.
HANDED_ON = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
OF_A_TERMINAL = ("SIGINT", "SIGQUIT")


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
    """Run a program without a shell, with this process's own standard streams, environment and open files.

    Where an output is a terminal the program gets one of its own that looks the same (size, modes), and what is typed is handed
    on, so that colours, progress bars, questions and pagers work as always. Raises nothing for a program that fails.
    """
    terminal = _Terminal().open()
    try:
        return _run(argv, terminal)
    finally:
        terminal.close()


def _run(argv: Sequence[str], terminal: _Terminal) -> Ended:
    copy, channels = _Copy(), _channels(terminal)
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=terminal.inner if terminal.has_keys and _is_terminal(0) else None,
            stdout=channels[1][1] if 1 in channels else None,
            stderr=channels[2][1] if 2 in channels else None,
            close_fds=False,
            start_new_session=terminal.inner is not None,
            preexec_fn=terminal.take if terminal.inner is not None else None,  # noqa: PLW1509 - no threads run here
        )
    except OSError as error:
        code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_PERMITTED
        return Ended(code=code, output=b"", started=False, problem=error.strerror or str(error))
    finally:
        terminal.hand_over()
        for writing in {writing for _, writing in channels.values()}:
            os.close(writing)
    readers = {reading: number for number, (reading, _) in sorted(channels.items(), reverse=True)}
    with _signals(process, terminal):
        _hand_on(process, readers, copy, terminal)
        code = process.wait()
    return Ended(code=code if code >= 0 else BY_SIGNAL - code, output=copy.text())


class _Terminal:
    """The terminal that the program gets in place of the user's, and what is typed into that one (nothing without one)."""

    def __init__(self) -> None:
        self.inner: int | None = None
        self.outer: int | None = None
        self.keys: int | None = None
        self._screen = next((number for number in (1, 2) if _is_terminal(number)), None)
        self._modes: Any = None

    @property
    def has_keys(self) -> bool:
        """Whether what is typed is handed on."""
        return self.keys is not None

    def open(self) -> _Terminal:
        """Make it, where the user has one."""
        if self._screen is None or sys.platform == "win32":
            return self
        import pty
        import termios

        self.outer, self.inner = (_above_two(number) for number in pty.openpty())
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.inner, termios.TCSANOW, termios.tcgetattr(self._screen))
        self.resize()
        self._open_keys()
        return self

    def _open_keys(self) -> None:
        """Take over what is typed, if this process is the one that is typed to."""
        with contextlib.suppress(OSError):
            keys = os.dup(0) if _is_terminal(0) else os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
            keys = _above_two(keys)
            if os.tcgetpgrp(keys) == os.getpgrp():
                self.keys = keys
                self.raw()
            else:
                os.close(keys)

    def raw(self) -> None:
        """Let the inner terminal decide what keys mean."""
        import termios
        import tty

        if self.keys is not None:
            self._modes = termios.tcgetattr(self.keys)
            tty.setraw(self.keys)

    def restore(self) -> None:
        """Give the user's terminal back its modes."""
        import termios

        if self.keys is not None and self._modes is not None:
            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self.keys, termios.TCSADRAIN, self._modes)

    def close(self) -> None:
        """End it, and give the user's terminal back as it was."""
        self.restore()
        for number in (self.inner, self.outer, self.keys):
            if number is not None:
                os.close(number)
        self.inner = self.outer = self.keys = None

    def hand_over(self) -> None:
        """The program has its end by now: with no other copy of it this process learns when the last one is closed."""
        if self.inner is not None:
            os.close(self.inner)
            self.inner = None

    def take(self) -> None:
        """In the program's process: make the inner terminal the one that steers it."""
        import fcntl
        import termios

        if self.inner is not None:
            fcntl.ioctl(self.inner, termios.TIOCSCTTY, 0)

    def resize(self) -> None:
        """Give the inner terminal the size of the user's; the program is told by the system."""
        import fcntl
        import termios

        if self.outer is not None and self._screen is not None:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self._screen, termios.TIOCGWINSZ, b"\0" * 8)
                fcntl.ioctl(self.outer, termios.TIOCSWINSZ, size)

    def is_to_stop(self, typed: bytes) -> bool:
        """Whether Ctrl-Z was typed and is not taken as a key by the program itself."""
        import termios

        if self.outer is None:
            return False
        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(self.outer)
            suspend = modes[6][termios.VSUSP]
            return bool(modes[3] & termios.ISIG) and isinstance(suspend, bytes) and suspend in typed
        return False


def _above_two(number: int) -> int:
    """The same file under a number that no standard stream has, not inherited by programs."""
    if number > 2:
        return number
    import fcntl

    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(number)
    return int(moved)


def _channels(terminal: _Terminal) -> dict[int, tuple[int, int]]:
    """For standard output and error: where the program's is read and written; one for both where both lead to one place.

    A stream that is closed stays closed.
    """
    channels: dict[int, tuple[int, int]] = {}
    for number in (1, 2):
        if not _is_open(number):
            continue
        if terminal.outer is not None and terminal.inner is not None and _is_terminal(number):
            channels[number] = os.dup(terminal.outer), os.dup(terminal.inner)
            if 1 in channels and number == 2 and _is_terminal(1):
                _close(channels[2])
                channels[2] = channels[1]
        elif number == 2 and 1 in channels and _place(1) == _place(2):
            channels[2] = channels[1]
        else:
            reading, writing = os.pipe()
            channels[number] = _above_two(reading), _above_two(writing)
    return channels


def _close(channel: tuple[int, int]) -> None:
    for number in channel:
        os.close(number)


def _is_open(number: int) -> bool:
    with contextlib.suppress(OSError):
        os.fstat(number)
        return True
    return False


def _is_terminal(number: int) -> bool:
    with contextlib.suppress(OSError):
        return os.isatty(number)
    return False


def _place(number: int) -> tuple[int, int, int]:
    facts = os.fstat(number)
    return facts.st_dev, facts.st_ino, facts.st_rdev


@contextlib.contextmanager
def _signals(process: subprocess.Popen[bytes], terminal: _Terminal) -> Iterator[None]:
    """While the program runs: what this process is told is told to the program; Ctrl-C reaches it from the terminal itself."""

    def hand_on(number: int, _frame: Any) -> None:
        with contextlib.suppress(OSError):
            if terminal.outer is not None:
                os.killpg(process.pid, number)
            elif number not in _of_a_terminal() or not _is_in_front():
                process.send_signal(number)

    handlers: dict[str, Callable[[int, Any], None]] = dict.fromkeys((*HANDED_ON, *OF_A_TERMINAL), hand_on)
    handlers["SIGWINCH"] = lambda _number, _frame: terminal.resize()
    known = {getattr(signal, name): handler for name, handler in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in known.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _of_a_terminal() -> set[int]:
    return {getattr(signal, name) for name in OF_A_TERMINAL if hasattr(signal, name)}


def _is_in_front() -> bool:
    """Whether a terminal's Ctrl-C reaches this process, and with it the program in the same group."""
    with contextlib.suppress(OSError, AttributeError):
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        finally:
            os.close(terminal)
    return False


def _hand_on(process: subprocess.Popen[bytes], readers: dict[int, int], copy: _Copy, terminal: _Terminal) -> None:
    """Write what comes to where it belongs at once, until the streams end, or the program has and nothing comes any more."""
    with selectors.DefaultSelector() as selector:
        for reading in readers:
            selector.register(reading, selectors.EVENT_READ)
        if terminal.keys is not None:
            selector.register(terminal.keys, selectors.EVENT_READ)
        while any(reading in selector.get_map() for reading in readers):
            ended = process.poll() is not None
            ready = selector.select(GRACE if ended else 0.2)
            if ended and not any(key.fd in readers for key, _ in ready):
                break
            for key, _ in ready:
                if key.fd == terminal.keys:
                    if not _type(process, terminal):
                        selector.unregister(key.fd)
                elif not _pass(key.fd, readers[key.fd], copy):
                    selector.unregister(key.fd)
                    os.close(key.fd)
        left = {reading: number for reading, number in readers.items() if reading in selector.get_map()}
    if left:
        _leave_to_another(left)


def _pass(reading: int, number: int, copy: _Copy | None) -> bool:
    """Hand one piece of output on; False where there will be no more, or nobody takes it."""
    chunk = _read(reading)
    if copy is not None:
        copy.add(chunk)
    return bool(chunk) and _write(number, chunk)


def _type(process: subprocess.Popen[bytes], terminal: _Terminal) -> bool:
    """Hand on what was typed; False at its end."""
    typed = _read(terminal.keys) if terminal.keys is not None else b""
    if not typed or terminal.outer is None:
        return False
    if terminal.is_to_stop(typed):
        _stop(process, terminal)
        return True
    return _write(terminal.outer, typed)


def _stop(process: subprocess.Popen[bytes], terminal: _Terminal) -> None:
    """Ctrl-Z: stop the program and this process with it; both go on when the shell says so."""
    os.killpg(process.pid, signal.SIGSTOP)
    terminal.restore()
    os.kill(os.getpid(), signal.SIGSTOP)
    terminal.raw()
    terminal.resize()
    os.killpg(process.pid, signal.SIGCONT)


def _leave_to_another(readers: dict[int, int]) -> None:
    """Children of the program still write: a process of its own goes on for them, so that none is lost and nobody waits."""
    if sys.platform == "win32" or os.fork() != 0:
        for reading in readers:
            os.close(reading)
        return
    try:
        os.setsid()
        with selectors.DefaultSelector() as selector:
            for reading in readers:
                selector.register(reading, selectors.EVENT_READ)
            while selector.get_map():
                for key, _ in selector.select():
                    if not _pass(key.fd, readers[key.fd], None):
                        selector.unregister(key.fd)
    finally:
        os._exit(0)


def _read(reading: int) -> bytes:
    try:
        return os.read(reading, 1 << 16)
    except OSError as error:
        if error.errno != errno.EIO:  # a terminal whose other end is closed
            raise
        return b""


def _write(number: int, chunk: bytes) -> bool:
    """All of it; False where nobody takes it any more (``| head``): then the program must notice as it would without envfix."""
    with contextlib.suppress(OSError):
        while chunk:
            chunk = chunk[_write_some(number, chunk) :]
        return True
    return False


def _write_some(number: int, chunk: bytes) -> int:
    """How much of it was taken; waits where the other side is slow and does not wait itself."""
    try:
        return os.write(number, chunk)
    except BlockingIOError:
        with selectors.DefaultSelector() as selector:
            selector.register(number, selectors.EVENT_WRITE)
            selector.select()
        return 0
