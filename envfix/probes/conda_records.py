"""What conda believes to be installed in the target's prefix, against the files it lists."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, CondaRecord, Interpreter, Observed, unknown

SOURCE = "conda-meta of the target"


def probe(host: ProbeHost, interpreter: Interpreter) -> Observed[tuple[CondaRecord, ...]]:
    """What conda believes to be installed in the target's prefix, against the files it lists."""
    del host, interpreter
    return unknown(SOURCE, NOT_ASKED)
