"""The NVSwitch fabric of this machine is not up, so CUDA may not start.

What it checks
    Machines with NVSwitch (HGX, DGX) need NVIDIA's fabric manager, of exactly the driver's version, before CUDA starts. NVML
    tells since Hopper how far the fabric has come with each card; before, the NVSwitch device files are there and the
    service does not run. torch says "Error 802: system not yet initialized".

Why it matters
    nvidia-smi shows all cards, and torch finds none.

How to fix
    The administrator installs and starts nvidia-fabricmanager in the version of the driver.

Sources
    NVIDIA fabric manager user guide; NVML API reference (nvmlGpuFabricInfo_t).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import cuda_works, torch_said
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

WAITING = ("not-started", "in-progress")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    if cuda_works(environment):
        return
    said = torch_said(environment, "Error 802", "system not yet initialized")
    waiting = [card for card in machine.gpus.value or () if card.fabric in WAITING]
    # Cards that have come into the fabric prove that it is up, whoever manages it.
    ready = any(card.fabric == "completed" for card in machine.gpus.value or ())
    state = machine.device_state.value
    stopped = state is not None and state.nvswitches > 0 and state.fabric_manager is False and not ready
    if not (said or waiting or stopped):
        return
    driver = machine.driver.value
    version = f" in version {driver.version}, the driver's" if driver else " in the driver's version"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said or stopped else Severity.WARNING,
        message="The NVSwitch fabric of this machine is not up: CUDA does not start before its fabric manager runs.",
        because=tuple(_because(machine, said, waiting=len(waiting), stopped=stopped)),
        remedies=(
            Remedy(text=f"Ask the administrator to install and start nvidia-fabricmanager{version}.", safe=False),
        ),
    )


def _because(machine: Machine, said: Evidence | None, *, waiting: int, stopped: bool) -> Iterator[Evidence]:
    if said:
        yield said
    if waiting:
        yield cite("machine.gpus", machine.gpus, f"{waiting} cards wait for the fabric")
    state = machine.device_state.value
    if stopped and state is not None:
        value = f"{state.nvswitches} NVSwitch devices, nvidia-fabricmanager does not run"
        yield cite("machine.device_state", machine.device_state, value)


RULE = Rule(
    code="DRV107",
    cause="fabric_manager_not_running",
    title="The NVSwitch fabric is not up",
    needs=("machine.gpus",),
    check=check,
    rank=15,
)
