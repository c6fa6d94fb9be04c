"""What reading an error log yields, and how a rule describes what it looks for in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One place in a log where a pattern was found.

    ``line`` counts from 1, ``offset`` is in bytes of the cleaned log, ``file`` its name where several are read. ``text`` is
    what matched, white space folded; ``shown`` the whole line it stands in, shortened. ``before`` and ``after`` are the
    text around it, some thousand characters each.
    """

    pattern: str
    line: int
    offset: int
    text: str
    shown: str
    groups: Mapping[str, str] = {}
    before: str = ""
    after: str = ""
    file: str | None = None

    @property
    def place(self) -> str:
        """Where it stands, for people: ``line 12`` or ``err.log, line 12``."""
        return f"line {self.line}" if self.file is None else f"{self.file}, line {self.line}"


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log that was read: where each pattern was found (the first places only), and how much was read.

    ``passed_over`` are the bytes in its middle that were not looked at closely, for too much in it looks like errors.
    """

    hits: Mapping[str, tuple[Hit, ...]] = {}
    lines: int = 0
    bytes: int = 0
    passed_over: int = 0

    def found(self, pattern: str) -> tuple[Hit, ...]:
        """Where a pattern was found; it must be a signature's, or among what a signature ``looks_at``."""
        return self.hits.get(pattern, ())


# What code says of a place that a pattern found: how sure it is of the cause there (0 to 1), or None: it is another one.
Weigh = Callable[[Hit, Log], float | None]


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """A text by which a cause shows in a log.

    ``pattern`` is a regular expression of RE2 (no look-around, no back-references; ``^`` and ``$`` are not used). A blank in it
    stands for any white space, a line break too, for terminals wrap lines. ``confidence`` is how often it is this cause
    where the text is found. It counts only where all of ``beside`` are in the log as well and none of ``unless`` is.
    ``weigh`` is code for what no pattern can say; the patterns it asks the log for are named in ``looks_at``.
    A match inside a sentence or a quotation is not counted, unless ``quoted``.
    """

    pattern: str
    confidence: float = 0.9
    beside: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    weigh: Weigh | None = None
    looks_at: tuple[str, ...] = ()
    quoted: bool = False
