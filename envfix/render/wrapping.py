"""Where a line may be broken: at blanks, and between Chinese characters, which are two columns wide and need no blanks."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator


def width_of(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return sum(map(_columns, text))


def filled(text: str, width: int) -> str:
    """The text with blanks up to that many columns."""
    return text + " " * max(0, width - width_of(text))


def breaks(text: str, width: int) -> list[int]:
    """The places in a line at which it is broken so that no part, its last blanks aside, is wider than ``width``."""
    places: list[int] = []
    used, start = 0, 0
    for begin, end in _parts(text):
        part = text[begin:end]
        wide = width_of(part.rstrip())
        if used and used + wide > width:
            places.append(begin)
            used, start = 0, begin
        if used == 0 and wide > width:
            for at in range(begin, end):
                if used and used + _columns(text[at]) > width:
                    places.append(at)
                    used, start = 0, at
                used += _columns(text[at])
        else:
            used = width_of(text[start:end])
    return places


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a paragraph."""
    places = [0, *breaks(text, max(width, 10)), len(text)]
    return [text[begin:end].rstrip() for begin, end in itertools.pairwise(places)]


def _parts(text: str) -> Iterator[tuple[int, int]]:
    """What stays together: a word with the blanks after it, or a Chinese character with the marks that cling to it."""
    begin = 0
    for at in range(1, len(text)):
        before, here = text[at - 1], text[at]
        after_blank = before.isspace() and not here.isspace()
        between = (_columns(before) == 2 or _columns(here) == 2) and not here.isspace()
        if after_blank or (between and not _closes(here) and not _opens(before)):
            yield begin, at
            begin = at
    if text:
        yield begin, len(text)


def _closes(character: str) -> bool:
    """Whether it must not begin a line."""
    return unicodedata.category(character) in ("Pe", "Pf", "Po")


def _opens(character: str) -> bool:
    """Whether it must not end a line."""
    return unicodedata.category(character) in ("Ps", "Pi")


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
