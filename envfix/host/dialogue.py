"""A program that is spoken to line by line, within limits of time and of bytes: the same door as ``real.py``.

It may be anything at the end of an ssh or an srun: it may never end, flood, print rubbish, or stop reading.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Sequence

from envfix.host.interface import CommandResult
from envfix.model import reasons

STDERR_KEPT = 8192


class DialogueError(Exception):
    """The program gave no answer; the text says why, in words of ``reasons``."""


class Dialogue:
    """One running program. ``seconds`` and ``most_bytes`` bound the whole conversation."""

    def __init__(self, argv: Sequence[str], *, seconds: float, most_bytes: int) -> None:
        self._until = time.monotonic() + seconds
        self._seconds, self._most, self._heard = seconds, most_bytes, 0
        self._text, self._complaints = bytearray(), bytearray()
        self._ended = threading.Event()
        try:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            raise DialogueError(
                reasons.NOT_STARTABLE.format(program=argv[0], reason=error.strerror or error)
            ) from error
        pipes = (self._process.stdin, self._process.stdout, self._process.stderr)
        self._stdin, self._stdout, self._stderr = self._pipes = tuple(pipe for pipe in pipes if pipe is not None)
        for pipe in self._pipes:
            os.set_blocking(pipe.fileno(), False)

    @property
    def left(self) -> float:
        """Seconds until nobody listens any longer."""
        return self._until - time.monotonic()

    def exchange(self, text: str, cookie: str) -> str:
        """Write ``text`` and read up to the second ``cookie`` after it; raises ``DialogueError`` with the reason."""
        given, mark = memoryview(text.encode()), cookie.encode()
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while True:
                answer = self._answer(mark)
                if answer is not None:
                    return answer
                if self.left <= 0:
                    raise DialogueError(reasons.NO_ANSWER.format(seconds=f"{self._seconds:g}"))
                if self._ended.is_set():
                    raise DialogueError("interrupted")
                for key, _ in selector.select(min(max(self.left, 0.0), 0.5)):
                    if key.fileobj is self._stdin:
                        given = self._write(given)
                        if not given:
                            selector.unregister(self._stdin)
                    elif not self._read(key.fd, complaint=key.fileobj is self._stderr):
                        selector.unregister(key.fileobj)
                        if key.fileobj is self._stdout:
                            raise DialogueError(self._why_it_ended())

    def _answer(self, mark: bytes) -> str | None:
        first = self._text.find(mark)
        second = self._text.find(mark, first + len(mark)) if first >= 0 else -1
        if second < 0:
            return None
        end = second + len(mark)
        answer = bytes(self._text[first:end]).decode("utf-8", "replace")
        del self._text[:end]
        return answer

    def _write(self, given: memoryview) -> memoryview:
        try:
            return given[os.write(self._stdin.fileno(), given[:65536]) :]
        except BlockingIOError:
            return given
        except OSError:  # it reads no more: how it ended is told by its output
            return given[:0]

    def _read(self, descriptor: int, *, complaint: bool) -> bool:
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._heard += len(chunk)
        if self._heard > self._most:
            raise DialogueError(reasons.TOO_MUCH.format(most=self._most // 1_000_000))
        if complaint:
            self._complaints += chunk
            del self._complaints[:-STDERR_KEPT]
        else:
            self._text += chunk
        return bool(chunk)

    def _why_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        with contextlib.suppress(OSError):
            self._complaints += os.read(self._stderr.fileno(), STDERR_KEPT)
        said = bytes(self._complaints).decode("utf-8", "replace")
        code = self._process.poll()
        if code == 0:
            return reasons.ENDED_EARLY
        return CommandResult(outcome="exited", returncode=code, stderr=said).failure

    def interrupt(self) -> None:
        """End it from another thread."""
        self._ended.set()
        self._kill(signal.SIGTERM)

    def close(self) -> None:
        """Say that nothing more comes, give it a moment to end, then end it for certain with all that it started."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self._kill(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
                return

    def _kill(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
