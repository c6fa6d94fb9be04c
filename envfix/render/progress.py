"""Progress on standard error: one calm line on a terminal, plain lines elsewhere, nothing when quiet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from envfix.render.words import duration, size

if TYPE_CHECKING:
    from rich.console import Console

REFRESH = 0.1


class ConsoleReporter:
    """Shows the current stage, bytes, rate and time left (implements ``Reporter``)."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._live = console.is_terminal and not console.is_dumb_terminal
        self._stage = ""
        self._started = self._drawn = time.monotonic()
        self._open = False

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        if self._quiet or text == self._stage:
            return
        self._stage, self._started, self._drawn = text, time.monotonic(), 0.0
        if self._live:
            self._draw(text)
        else:
            self._console.print(text, soft_wrap=True)

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        now = time.monotonic()
        if self._quiet or not self._live or now - self._drawn < REFRESH:
            return
        self._drawn = now
        spent = max(now - self._started, 0.001)
        rate = done / spent
        text = f"{self._stage}  {size(done)}" + (f" of {size(total)}" if total else "") + f"  {size(int(rate))}/s"
        if total and rate > 0 and total > done:
            text += f"  {duration((total - done) / rate)} left"
        self._draw(text)

    def done(self) -> None:
        """Clear the line before an answer is printed."""
        if self._open:
            self._console.file.write("\r\x1b[2K")
            self._console.file.flush()
            self._open = False
        self._stage = ""

    def _draw(self, text: str) -> None:
        self._console.file.write("\r\x1b[2K" + text[: self._console.width - 1])
        self._console.file.flush()
        self._open = True
