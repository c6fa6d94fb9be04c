"""Numbers and commands in the form people read and paste."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from envfix.model.language import say


def size(count: int | None) -> str:
    """Bytes in the largest decimal unit that keeps one digit before the point: ``2.5 GB``."""
    if count is None:
        return say("unknown")
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        shown = f"{value:.0f}" if unit in ("B", "kB") else f"{value:.1f}"
        if float(shown) < 1000:
            return f"{shown} {unit}"
        value /= 1000
    return say("{value:.1f} TB", value=value)


def duration(seconds: float) -> str:
    """``38 ms``, ``4.2 s`` or ``2 min 5 s``."""
    if round(seconds, 3) < 1:
        return f"{seconds * 1000:.0f} ms"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    seconds = max(seconds, 60)
    return say("{seconds} min {seconds_2} s", seconds=int(seconds // 60), seconds_2=int(seconds % 60))


def command_line(argv: Sequence[str]) -> str:
    """An argument list as a line that can be pasted into a shell."""
    return " ".join(map(_quoted, argv))


def _quoted(word: str) -> str:
    """One word as a shell reads it, with as few marks as it takes."""
    if word.startswith("~/"):  # a quoted ~ would not be expanded
        return "~/" + shlex.quote(word[2:])
    if word.startswith("=") and shlex.quote(word) == word:  # zsh takes it for the name of a command
        return f"'{word}'"
    if "'" in word and not set(word) & set('"$`\\!\n'):
        return f'"{word}"'
    return shlex.quote(word)
