"""Quantities and texts as more than one part of envfix says them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from envfix.model.language import later, say

# Control characters, halves of characters, and those that turn the direction of writing: what is read must be what is copied.
_UNREADABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


def readable(text: str) -> str:
    """The text with ``?`` for each character that is not meant to be read; lines and tabs stay."""
    return _UNREADABLE.sub("?", text)


def counted(names: Iterable[str]) -> str:
    """``2 x RTX 3090, A100``: each name once, in order."""
    count = Counter(names)
    return ", ".join(f"{many} x {name}" if many > 1 else name for name, many in count.items())


def time_span(seconds: float) -> str:
    """A time span in its largest whole unit: ``3 hours``."""
    for size, unit in (
        (86400, later("{count:.0f} days")),
        (3600, later("{count:.0f} hours")),
        (60, later("{count:.0f} minutes")),
    ):
        if seconds >= 2 * size:
            return say(unit, count=seconds / size)
    return say("{seconds:.0f} seconds", seconds=seconds)
