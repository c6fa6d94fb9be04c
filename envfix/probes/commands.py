"""What the command names that people type really are: shims, scripts with a dead interpreter, other environments."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, Command, Observed, unknown

SOURCE = "PATH"


def probe(host: ProbeHost) -> Observed[tuple[Command, ...]]:
    """What the command names that people type really are: shims, scripts with a dead interpreter, other environments."""
    del host
    return unknown(SOURCE, NOT_ASKED)
