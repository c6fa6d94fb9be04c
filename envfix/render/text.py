"""Rich's text, broken between Chinese characters as well, and without what would be obeyed by a terminal."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.containers import Lines
from rich.text import Text as RichText

from envfix.model.language import language
from envfix.render.wrapping import breaks

# All control characters but tab and newline, and those that turn the direction of what follows.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def safe(text: str) -> str:
    """The same with ``?`` for whatever a terminal would obey."""
    return _OBEYED.sub("?", text)


class Text(RichText):
    """As rich has it, which breaks lines at blanks only, in English.

    It is made safe before its width is measured: what is obeyed has none, and would be missing at the end of a line.
    """

    def __init__(self, text: str = "", *rest: Any, **options: Any) -> None:
        super().__init__(safe(text), *rest, **options)

    def append(self, text: RichText | str, style: Any = None) -> RichText:
        """See ``rich.text.Text``."""
        return super().append(safe(text) if isinstance(text, str) else text, style)

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """The lines that fit into ``width`` columns."""
        if language() == "en":
            return super().wrap(console, width, **options)
        parts = [part for line in self.split(allow_blank=True) for part in line.divide(breaks(line.plain, width))]
        return RichText("\n").join(parts).wrap(console, width, **options)
