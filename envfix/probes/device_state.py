"""What stands between a loaded driver and a program: kernel modules, device files, services, faults."""

from __future__ import annotations

from envfix.host.interface import ProbeHost
from envfix.model.facts import NOT_ASKED, DeviceState, Observed, unknown

SOURCE = "/proc/modules and /dev/nvidia*"


def probe(host: ProbeHost) -> Observed[DeviceState]:
    """What stands between a loaded driver and a program: kernel modules, device files, services, faults."""
    del host
    return unknown(SOURCE, NOT_ASKED)
