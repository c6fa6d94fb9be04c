"""Proxies, certificates and time limits that decide how packages are fetched."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, NetworkSettings, Observed, unknown

SOURCE = "proxy and certificate variables, pip and uv settings"


def probe(host: ProbeHost) -> Observed[NetworkSettings]:
    """Proxies, certificates and time limits that decide how packages are fetched."""
    del host
    return unknown(SOURCE, NOT_ASKED)
