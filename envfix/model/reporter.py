"""How long work says what it is doing; whoever shows it decides how, and the default says nothing."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Hears of progress; called often, so it must be quick."""

    def stage(self, text: str) -> None:
        """A new piece of work begins; ``text`` is a few words a user can read."""

    def progress(self, done: int, total: int | None) -> None:
        """So many bytes of the current piece are done; ``total`` is None while it is not known."""

    def packages(self, done: int, total: int) -> None:
        """So many of the packages of the current piece are done."""

    def note(self, text: str) -> None:
        """Something the user should know of, that stays on the screen: a stall, an index that was left for the next."""


class NullReporter:
    """Says nothing (implements ``Reporter``)."""

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
