"""What envfix was started as: the commands that it tells to paste begin with that, so that they work where they are pasted."""

from __future__ import annotations

import re
import shlex
import sys

# A command of envfix at the beginning of a line, or behind a pipe.
_COMMAND = re.compile(r"(?m)(^|\| )envfix(?= |$)")


def as_started(line: str) -> str:
    """Lines that call ``envfix``, with the name that was typed: that is another one in a checkout (see ``scripts/run``)."""
    typed = sys._xoptions.get("envfix")  # noqa: SLF001 - the documented way to read -X
    return _COMMAND.sub(lambda match: match[1] + shlex.quote(typed), line) if isinstance(typed, str) else line
