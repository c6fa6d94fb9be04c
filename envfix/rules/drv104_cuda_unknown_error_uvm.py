"""The driver answers, but its module for computing (nvidia_uvm) is missing or stale.

What it checks
    nvidia-smi and NVML need only the module nvidia; CUDA also needs nvidia_uvm and its file ``/dev/nvidia-uvm``. The file is
    missing where it cannot be made on demand (in a container, or without nvidia-modprobe), or torch itself says "CUDA
    unknown error", which mostly comes after a laptop has been suspended.

Why it matters
    nvidia-smi shows the card, and yet torch finds none. The hint about CUDA_VISIBLE_DEVICES in torch's message misleads.

How to fix
    The administrator reloads the module (``rmmod nvidia_uvm``, then ``modprobe nvidia_uvm``) or reboots. In a container
    the file has to be given at its start. Reinstalling torch changes nothing.

Sources
    NVIDIA driver README (nvidia-modprobe, device files); public reports on CUDA after suspend.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import container, cuda_works, on_jetson, torch_said, under_wsl
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

UVM = "/dev/nvidia-uvm"
RELOAD = "Ask the administrator to reload the module nvidia_uvm (rmmod nvidia_uvm, modprobe nvidia_uvm), or to reboot."
AGAIN = (
    "Start the container again with its GPU through NVIDIA's container toolkit (`docker run --gpus all ...`), which also gives"
    " /dev/nvidia-uvm."
)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers = machine.driver_layers.value
    if layers is None or layers.nvml != "works" or cuda_works(environment):
        return
    said = torch_said(environment, "CUDA unknown error", "error 999")
    missing = _file_is_missing(machine, layers)
    if said is None and not missing:
        return
    in_container = container(machine) is not None
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said or in_container else Severity.WARNING,
        message="The driver answers, but CUDA cannot start: "
        + ("the file /dev/nvidia-uvm is missing." if missing else "its module nvidia_uvm is in a bad state."),
        because=tuple(_because(machine, said, missing=missing)),
        remedies=(Remedy(text=AGAIN if in_container and missing else RELOAD, safe=False),),
    )


def _file_is_missing(machine: Machine, layers: DriverLayers) -> bool:
    """Whether /dev/nvidia-uvm is not there and will not be made: on a host nvidia-modprobe makes it when CUDA starts."""
    if under_wsl(machine) or on_jetson(machine) or UVM in layers.device_nodes:
        return False
    if not any(node.removeprefix("/dev/nvidia").isdecimal() for node in layers.device_nodes):
        return False
    if container(machine) is not None:
        return True
    state = machine.device_state.value
    return state is not None and state.modules is not None and "nvidia_uvm" not in state.modules and not state.modprobe


def _because(machine: Machine, said: Evidence | None, *, missing: bool) -> Iterator[Evidence]:
    if said:
        yield said
    if missing:
        yield cite(
            "machine.driver_layers", machine.driver_layers, "the card's device files are there, /dev/nvidia-uvm is not"
        )
    state = machine.device_state.value
    if said and state is not None and state.suspended:
        value = f"suspended {state.suspended} times since the start"
        yield cite("machine.device_state", machine.device_state, value)


RULE = Rule(
    code="DRV104",
    cause="cuda_unknown_error_uvm",
    title="CUDA's kernel module is missing or stale",
    needs=("machine.driver_layers",),
    check=check,
    rank=16,
)
