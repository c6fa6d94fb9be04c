"""Rich's text, broken between Chinese characters as well, of which only what can be read is shown, and one word in colour."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.containers import Lines
from rich.text import Text as RichText

from envfix.model.language import language
from envfix.model.words import readable
from envfix.render.wrapping import breaks

_COLOUR = re.compile(r"\b(red|yellow|green|cyan)\b")
_FIRST_WORD = re.compile(r"[^\s，。：；]+?(?=[.,:;]?(?:\s|$)|[，。：；])")  # noqa: RUF001


class Text(RichText):
    """As rich has it, which breaks lines at blanks only, in English.

    It is made readable before its width is measured: what is obeyed has none, and would be missing at the end of a line. A colour
    of ``style`` marks the first word; what is to be read stands in the terminal's own colour: no yellow and no green can be read
    on white and on black.
    """

    def __init__(self, text: str = "", style: str = "") -> None:
        text = readable(text)
        super().__init__(text, style=_COLOUR.sub("", style).strip())
        first = _FIRST_WORD.search(text)
        if first is not None and _COLOUR.search(style):
            self.stylize(style, *first.span())

    def append(self, text: RichText | str, style: Any = None) -> RichText:
        """See ``rich.text.Text``."""
        return super().append(readable(text) if isinstance(text, str) else text, style)

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """The lines that fit into ``width`` columns."""
        if language() == "en":
            return super().wrap(console, width, **options)
        parts = [part for line in self.split(allow_blank=True) for part in line.divide(breaks(line.plain, width))]
        return RichText("\n").join(parts).wrap(console, width, **options)
