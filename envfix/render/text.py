"""Rich's text, broken between Chinese characters as well."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.containers import Lines
from rich.text import Text as RichText

from envfix.model.language import language
from envfix.render.wrapping import breaks


class Text(RichText):
    """As rich has it, which breaks lines at blanks only, in English."""

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """The lines that fit into ``width`` columns."""
        if language() == "en":
            return super().wrap(console, width, **options)
        parts = [part for line in self.split(allow_blank=True) for part in line.divide(breaks(line.plain, width))]
        return RichText("\n").join(parts).wrap(console, width, **options)
