"""Main memory, the control group's limit, and room on the disks that installing needs."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, Observed, Resources, unknown

SOURCE = "/proc/meminfo, control groups and file systems"


def probe(host: ProbeHost) -> Observed[Resources]:
    """Main memory, the control group's limit, and room on the disks that installing needs."""
    del host
    return unknown(SOURCE, NOT_ASKED)
