"""What changes where the target looks for modules: path files and customising modules."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, Interpreter, Observed, Startup, unknown

SOURCE = "files in site-packages of the target"


def probe(host: ProbeHost, interpreter: Interpreter) -> Observed[Startup]:
    """What changes where the target looks for modules: path files and customising modules."""
    del host, interpreter
    return unknown(SOURCE, NOT_ASKED)
