"""A diagnosis as an SVG picture of what the terminal shows; it names no font of the web, so that looking at it asks no host."""

from __future__ import annotations

import io
import re
from html import escape, unescape

from envfix.model.language import look_up, say
from envfix.model.stack import SharedReport
from envfix.render.console import ConsoleOutput

WIDTH = 110
_LENGTH = re.compile(r'textLength="(?P<length>[\d.]+)"(?P<more>[^>]*)>(?P<text>[^<]+)<')
_FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)


class TerminalPicture:
    """What `envfix diagnose` prints, as a picture (implements ``ReportFormat``)."""

    def diagnosis(self, shared: SharedReport) -> str:
        """The whole picture, as wide as the longest line that must not be broken."""
        from rich._export_format import CONSOLE_SVG_FORMAT
        from rich.cells import cell_len
        from rich.terminal_theme import MONOKAI

        out = ConsoleOutput(stream=io.StringIO(), width=WIDTH, record=True, quiet=True)
        out.diagnosis(shared.report)
        lines = out.console.export_text(clear=False).splitlines()
        out.console.width = max(WIDTH, *map(cell_len, lines))
        words = say("envfix diagnose: {verdict}", verdict=look_up(shared.report.diagnosis.verdict))
        described = f'<svg role="img" aria-label="{escape(words)}"'
        code = _FONTS.sub("", CONSOLE_SVG_FORMAT).replace("<svg", described, 1)
        return _LENGTH.sub(
            _by_columns, out.console.export_svg(title="envfix diagnose", theme=MONOKAI, code_format=code)
        )


def _by_columns(match: re.Match[str]) -> str:
    """Rich gives each character one column, and Chinese ones, which take two, would lie over each other."""
    from rich.cells import cell_len

    text = unescape(match["text"])
    length = float(match["length"]) * cell_len(text) / len(text)
    return f'textLength="{length:g}"{match["more"]}>{match["text"]}<'
