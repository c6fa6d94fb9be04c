"""What ``explain`` answers: the causes that a log names, the surest root first."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.finding import Evidence, Remedy, Severity


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cause that a log shows. ``confidence`` (0 to 1) is how often it is this one where a log looks like that.

    ``because`` are the lines of the log that prove it, then the facts of the machine. ``follows_from`` is the code of the
    cause that it is only a consequence of, ``tell_apart`` the command that shows whether it is this one.
    """

    cause: str
    code: str
    title: str
    severity: Severity
    confidence: float
    message: str
    because: tuple[Evidence, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    follows_from: str | None = None
    tell_apart: Remedy | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The causes, the first of which explains most; ``ambiguous``: the log alone leaves open which of them it is.

    ``facts`` says what the log was joined with: this machine, another one (``origin``), what the log itself states, or nothing.
    ``cards`` holds the numbers of this machine's cards by their serial ids, for those to whom the ids are not shown.
    """

    causes: tuple[Cause, ...]
    ambiguous: bool
    facts: Literal["machine", "file", "log", "none"]
    lines: int
    bytes: int
    origin: str | None = None
    notes: tuple[str, ...] = ()
    cards: dict[str, str] = {}

    @property
    def is_error(self) -> bool:
        """Whether something is broken, and not only worth knowing."""
        return any(one.severity is Severity.ERROR for one in self.causes)
