"""Progress on standard error: one calm line on a terminal, plain lines elsewhere, nothing when quiet, JSON for scripts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

from envfix.model.language import look_up, say
from envfix.model.reporter import NullReporter
from envfix.model.words import readable
from envfix.render.words import duration, size

if TYPE_CHECKING:
    from rich.console import Console

REFRESH = 0.1
# Without a terminal, a long piece of work says so this often.
PLAIN_EVERY = 10.0
JSON_EVERY = 0.25
# The rate is that of the last seconds: an average since the start hides that the network has become slow.
RATE_OVER = 5.0


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, now: float, done: int) -> None:
        """So many bytes are there at this time."""
        if self._samples and done < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_OVER:
            self._samples.popleft()

    @property
    def value(self) -> float | None:
        """None until there are two moments to compare."""
        if len(self._samples) < 2:
            return None
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return (after - before) / (last - first) if last - first > 0.2 else None


class _Errors:
    """Writes lines to standard error; when nobody reads them any more, that is the end of it and of nothing else."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write at once."""
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._to_nowhere(self._stream)
            self._stream = None

    @staticmethod
    def _to_nowhere(stream: IO[str]) -> None:
        """What is still in the buffer would fail again when Python ends, and spoil the exit code."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class ConsoleReporter:
    """Shows stage, packages, bytes, rate and time left; notes stay above that line (implements ``Reporter``)."""

    def __init__(self, console: Console, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._live = console.is_terminal and not console.is_dumb_terminal
        # Closed standard error is None, and rich would take standard output instead.
        self._errors = _Errors(None if quiet or sys.stderr is None else console.file)
        self._clock = clock
        self._stage = ""
        self._packages = ""
        self._rate = Rate()
        self._drawn = self._told = clock()
        self._line = ""

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        text = look_up(text)
        if text == self._stage:
            return
        self._stage, self._packages, self._rate = text, "", Rate()
        self._drawn, self._told = 0.0, self._clock()
        if self._live:
            self._draw(_clean(text))
        else:
            self._errors.write(f"{_clean(text)}\n")

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""
        self._packages = f"{done}/{total}"

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        now = self._clock()
        self._rate.add(now, done)
        if self._live and now - self._drawn >= REFRESH:
            self._drawn = now
            self._draw(self._fitting(done, total))
        elif not self._live and now - self._told >= PLAIN_EVERY:
            self._told = now
            self._errors.write(f"{next(self._lines(done, total))}\n")

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        if not self._live:
            self._errors.write(f"{_clean(text)}\n")
            return
        line = self._line
        self._errors.write(f"{_wiped(line)}{_clean(text)}\n")
        self._line = ""
        if line:
            self._draw(line)

    def done(self) -> None:
        """Clear the line before an answer is printed."""
        if self._line:
            self._errors.write(_wiped(self._line))
        self._line = self._stage = ""

    def _fitting(self, done: int, total: int | None) -> str:
        """The longest line that this window has room for."""
        from rich.cells import cell_len

        lines = list(self._lines(done, total))
        return next((line for line in lines if cell_len(line) < self._console.width), lines[-1])

    def _lines(self, done: int, total: int | None) -> Iterator[str]:
        """The line, then shorter forms of it, which leave out what matters least."""
        rate = self._rate.value
        amount = size(done) + (say(" of {total}", total=size(total)) if total else "")
        speed = f"{size(int(rate))}/s" if rate is not None else ""
        left = say("{total} left", total=duration((total - done) / rate)) if total and rate and total > done else ""
        stage = _clean(self._stage)
        for parts in (
            (stage, self._packages, amount, speed, left),
            (stage, amount, speed, left),
            (stage, amount, left),
            (amount, left),
            (amount,),
        ):
            yield "  ".join(filter(None, parts))

    def _draw(self, text: str) -> None:
        from rich.cells import cell_len, set_cell_size

        room = max(self._console.width - 1, 1)
        line = text if cell_len(text) <= room else set_cell_size(text, room)
        self._errors.write(f"\r\x1b[2K{line}")
        self._line = line


class JsonLinesReporter:
    """One JSON object a line on standard error, for programs that show the progress themselves (implements ``Reporter``).

    ``{"event": "stage|progress|note", "text": …, "done": bytes, "total": bytes, "packages": [done, total], "seconds": …}``;
    what is not known is null. Progress comes at most four times a second, and always when all is done.
    """

    def __init__(self, stream: IO[str] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._errors = _Errors(stream if stream is not None else sys.stderr)
        self._clock = clock
        self._started = clock()
        self._told = self._started - JSON_EVERY
        self._stage = ""
        self._packages: list[int] | None = None

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        if text != self._stage:
            self._stage, self._packages = text, None
            self._tell("stage", text)

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""
        self._packages = [done, total]

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        now = self._clock()
        if now - self._told >= JSON_EVERY or done == total:
            self._told = now
            self._tell("progress", self._stage, done, total)

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self._tell("note", text)

    def _tell(self, event: str, text: str, done: int | None = None, total: int | None = None) -> None:
        fields: dict[str, Any] = {"event": event, "text": text, "done": done, "total": total}
        fields |= {"packages": self._packages, "seconds": round(self._clock() - self._started, 3)}
        self._errors.write(json.dumps(fields) + "\n")


class NotesReporter(NullReporter):
    """Only what must not be overlooked, as plain lines on standard error (implements ``Reporter``)."""

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        _Errors(sys.stderr).write(_clean(text) + "\n")


def _clean(text: str) -> str:
    """In one line, without what is not to be read: names of hosts and packages come from outside."""
    return re.sub("[\n\t]", "?", readable(text))


def _wiped(line: str) -> str:
    return "\r\x1b[2K" if line else ""
