"""Patterns of RE2: linear in the length of the text by construction, all of them in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

# Bytes that one pattern may use for what it has worked out about texts.
MEMORY = 2 << 20


def expanded(pattern: str) -> bytes:
    """A signature's pattern as RE2 reads it: a blank stands for any white space, a line break and a table's bar too."""
    return pattern.replace(" ", r"[\s|]+").encode()


@cache
def compiled(pattern: bytes) -> Any:
    """A pattern that searches bytes; raises ``re2.error`` for what RE2 cannot say."""
    import re2

    return re2.compile(pattern, _options())


class Candidates:
    """All patterns at once: which of them a text may hold, by the words that each needs; none that it does hold is missing.

    Patterns that need no word at all (``anywhere``) are candidates only where another one is.
    """

    def __init__(self, patterns: Sequence[bytes]) -> None:
        import re2

        self._filter = re2.Filter()
        for pattern in patterns:
            self._filter.Add(pattern, _options())
        if patterns:
            self._filter.Compile()
        self.anywhere = frozenset(self._potential(b"\n")) if patterns else frozenset()

    def _potential(self, text: bytes) -> Sequence[int]:
        return self._filter.Match(text, potential=True) or ()

    def of(self, text: bytes) -> Sequence[int]:
        """Numbers of the patterns that are worth looking for in a text."""
        numbers = self._potential(text)
        return numbers if len(numbers) > len(self.anywhere) else ()


@cache
def candidates(patterns: tuple[bytes, ...]) -> Candidates:
    """The same patterns are put together once: it takes longer than reading a short log."""
    return Candidates(patterns)


def _options() -> Any:
    import re2

    options = re2.Options()
    # Bytes are taken as they come: a log need not be valid UTF-8.
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = MEMORY
    options.log_errors = False
    return options
