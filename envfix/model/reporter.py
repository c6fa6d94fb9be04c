"""How long work says what it is doing; whoever shows it decides how, and the default says nothing."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears of progress; called often, so it must be quick."""

    def stage(self, text: str) -> None:
        """A new piece of work begins; ``text`` is a few words a user can read."""

    def progress(self, done: int, total: int | None) -> None:
        """So much of the current piece is done (bytes, items); ``total`` is None while it is not known."""


class NullReporter:
    """Says nothing (implements ``Reporter``)."""

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
