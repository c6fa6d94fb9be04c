"""Draws the terminal picture of the README from a saved machine: `python scripts/terminal_picture.py SNAPSHOT OUT.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from envfix.app import diagnosing
from envfix.app.sharing import shareable
from envfix.render.terminal_picture import TerminalPicture


def draw(snapshot: str, picture: str) -> None:
    """Diagnose ``snapshot`` as on the machine itself and save what the terminal shows."""
    report = msgspec.structs.replace(diagnosing.report(snapshot=snapshot), origin=None)
    Path(picture).write_text(TerminalPicture().diagnosis(shareable(report)), encoding="utf-8")


if __name__ == "__main__":
    draw(*sys.argv[1:3])
