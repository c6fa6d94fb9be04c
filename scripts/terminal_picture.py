"""Draws the terminal picture of the README from a saved machine: `python scripts/terminal_picture.py SNAPSHOT OUT.svg`.

The picture names no web font, so that looking at it asks no other host.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import msgspec
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.terminal_theme import MONOKAI

from envfix.app import diagnosing
from envfix.render.console import ConsoleOutput

WIDTH = 110


def draw(snapshot: str, picture: str) -> None:
    """Diagnose ``snapshot`` as on the machine itself and save what the terminal shows."""
    out = ConsoleOutput(stream=io.StringIO(), width=WIDTH, record=True, quiet=True)
    report = msgspec.structs.replace(diagnosing.report(snapshot=snapshot), origin=None)
    out.diagnosis(report)
    fonts = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)
    svg = out.console.export_svg(title="envfix diagnose", theme=MONOKAI, code_format=fonts.sub("", CONSOLE_SVG_FORMAT))
    Path(picture).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    draw(*sys.argv[1:3])
