"""The running container has lost its GPU.

What you see
    "Failed to initialize NVML: Unknown Error" in a container in which the GPU worked an hour ago. On the host it
    still does.

Why
    When systemd reloads its units on the host, it rewrites the device rules of running containers, and a control
    group then forbids the device. Neither torch nor the driver is at fault.

How envfix knows
    In a container the device files are there and the kernel module runs, but NVML answers "Unknown Error", and
    opening ``/dev/nvidiactl`` is "not permitted". In a log the text above; it is surest beside traces of a
    container.

How to mend
    Remove the container and start it again. To keep it from coming back the administrator lets the toolkit make
    links under ``/dev/char``, uses CDI, or sets docker's cgroup driver to cgroupfs.

What not to do
    Do not reinstall the driver.

Sources
    NVIDIA container toolkit, troubleshooting: containers losing access to GPUs.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import container
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import IN_CONTAINER, NVML_UNKNOWN
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

UNKNOWN_ERROR = 999


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    if layers is None or container(machine) is None or not _is_lost(layers):
        return
    forbidden = layers.control_error == errno.EPERM
    seen = (
        say("opening /dev/nvidiactl is not permitted, whatever its mode")
        if forbidden
        else say("device files are there")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("This container has lost its GPU: it was started with it, but may no longer open the device."),
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
                text=say(
                    "Remove this container and start it again with the GPU; a restart of its programs does not help."
                ),
                safe=False,
            ),
            Remedy(
                text=say("To end it for good, ask the administrator for CDI or links under /dev/char on the host."),
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


_RELOADED = r"daemon-reload|systemd|cgroup"


def _unknown(hit: Hit, log: Log) -> float:
    """In a container, or after systemd reloaded, it is hardly anything else."""
    del hit
    return 0.93 if log.found(IN_CONTAINER) or log.found(_RELOADED) else 0.75


LOG = LogSide(
    signatures=(
        Signature(pattern=NVML_UNKNOWN, weigh=_unknown, looks_at=(IN_CONTAINER, _RELOADED)),
        Signature(pattern=r"/dev/nvidia(?:ctl|\d{1,2})['\"]?: Operation not permitted", confidence=0.85),
        Signature(
            pattern=r"Unable to determine the device handle for GPU\s?[0-9A-Fa-f:.]{4,20}: Unknown Error",
            confidence=0.4,
            beside=(IN_CONTAINER,),
        ),
    ),
    message=(
        later(
            "The running container has lost its GPU: it was started with it, but its control group"
            " no longer lets it open the device."
        )
    ),
    remedies=(
        Remedy(
            text=later(
                "Remove this container and start it again with the GPU; a restart of the program inside does not help."
            ),
            commands=(("docker", "rm", "-f", "CONTAINER"), ("docker", "run", "--gpus", "all", "IMAGE")),
            safe=False,
        ),
        Remedy(
            text=(
                later(
                    "To end it for good, ask the administrator for CDI, links under /dev/char, or"
                    " docker's cgroup driver cgroupfs."
                )
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("Ask the driver on the host: if it answers there, the container has lost the card."),
        commands=(("nvidia-smi",),),
    ),
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start", "no_nvidia_gpu", "container_without_gpu"),
)


RULE = Rule(
    code="CTR104",
    cause="container_lost_gpu_cgroup",
    title=later("The running container lost its GPU"),
    needs=("machine.platform", "machine.driver_layers"),
    check=check,
    rank=12,
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start"),
    log=LOG,
)
