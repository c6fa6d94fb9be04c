"""The running container has lost its GPU.

What it checks
    In a container the device files are there and the kernel module runs, but NVML answers "Unknown Error", and opening
    ``/dev/nvidiactl`` is "not permitted": a control group forbids it. That happens when systemd reloads its units on the host
    and rewrites the device rules of running containers.

Why it matters
    It worked an hour ago, and on the host it still does. Neither torch nor the driver is at fault.

How to fix
    Remove the container and start it again. To keep it from coming back the administrator lets the toolkit make links under
    ``/dev/char``, uses CDI, or sets docker's cgroup driver to cgroupfs.

Sources
    NVIDIA container toolkit, troubleshooting: containers losing access to GPUs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import container
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

UNKNOWN_ERROR = 999


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    if layers is None or container(machine) is None or not _is_lost(layers):
        return
    forbidden = layers.control_error == errno.EPERM
    seen = "opening /dev/nvidiactl is not permitted, whatever its mode" if forbidden else "device files are there"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message="This container has lost its GPU: it was started with it, but may no longer open the device.",
        because=(
            cite(
                "machine.driver_layers",
                machine.driver_layers,
                layers.smi or layers.nvml_problem or "NVML: Unknown Error",
            ),
            cite("machine.driver_layers", machine.driver_layers, seen),
        ),
        remedies=(
            Remedy(
                text="Remove this container and start it again with the GPU; a restart of its programs does not help.",
                safe=False,
            ),
            Remedy(
                text="To end it for good, ask the administrator for CDI or links under /dev/char on the host.",
                safe=False,
            ),
        ),
    )


def _is_lost(layers: DriverLayers) -> bool:
    if layers.nvml != "error" or not layers.device_nodes:
        return False
    unknown = layers.nvml_code == UNKNOWN_ERROR or "unknown error" in f"{layers.nvml_problem} {layers.smi}".lower()
    # A control device that opens, or that its mode shuts, is another story.
    opened = bool(layers.files) and layers.control_error != errno.EPERM
    differ = layers.kernel and layers.library and layers.kernel != layers.library
    return unknown and not opened and not differ


RULE = Rule(
    code="CTR104",
    cause="container_lost_gpu_cgroup",
    title="The running container lost its GPU",
    needs=("machine.platform", "machine.driver_layers"),
    check=check,
    rank=12,
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start"),
)
