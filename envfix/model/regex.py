"""Regular expressions that are compiled at their first use: a start uses few of them, and compiling takes longer than the rest."""

from __future__ import annotations

import re
from typing import Any, cast


class _Later:
    """Stands for a pattern until something is asked of it."""

    def __init__(self, pattern: str, flags: int) -> None:
        self._arguments = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(*self._arguments)
        # From now on without a detour.
        for known in ("search", "match", "fullmatch", "finditer", "findall", "split", "sub", "pattern"):
            setattr(self, known, getattr(compiled, known))
        return getattr(compiled, name)


def regex(pattern: str, flags: int = 0) -> re.Pattern[str]:
    """The same as ``re.compile``, later."""
    return cast("re.Pattern[str]", _Later(pattern, flags))
