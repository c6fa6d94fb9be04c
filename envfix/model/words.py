"""Quantities and texts as more than one part of envfix says them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from envfix.model.language import later, say

# Control characters, halves of characters, those that turn the direction of writing and those that nobody sees: what is read must
# be what is copied. Joiners stay, which some alphabets and pictures of people are written with.
_UNREADABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e007f]"
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
