"""Patterns of RE2: linear in the length of the text by construction, all of them in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Bytes that one set of patterns may use for what it has worked out about texts.
MEMORY = 32 << 20


def expanded(pattern: str) -> bytes:
    """A signature's pattern as RE2 reads it: a blank stands for any white space, a line break and a table's bar too."""
    return pattern.replace(" ", r"[\s|]+").encode()


def compiled(pattern: bytes) -> Any:
    """A pattern that searches bytes; raises ``re2.error`` for what RE2 cannot say."""
    import re2

    return re2.compile(pattern, _options())


def compiled_set(patterns: Sequence[bytes]) -> Any:
    """All patterns as one: ``Match`` tells the numbers of those that a text holds."""
    import re2

    together = re2.Set.SearchSet(_options())
    for pattern in patterns:
        together.Add(pattern)
    together.Compile()
    return together


def _options() -> Any:
    import re2

    options = re2.Options()
    # Bytes are taken as they come: a log need not be valid UTF-8.
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = MEMORY
    options.log_errors = False
    return options
