"""The NVSwitch fabric of this machine is not up, so CUDA may not start.

What you see
    "Error 802: system not yet initialized" from torch or NCCL, while nvidia-smi shows all cards; "fabric manager
    NVIDIA GPU driver interface version ... don't match with driver version" in the service's log.

Why
    Machines with NVSwitch (HGX, DGX) need NVIDIA's fabric manager, of exactly the driver's version, before CUDA
    starts.

How envfix knows
    NVML tells since Hopper how far the fabric has come with each card; before, the NVSwitch device files are there
    and the service does not run. In a log error 802.

How to mend
    The administrator installs and starts nvidia-fabricmanager in the version of the driver.

What not to do
    Do not reinstall torch, and do not install the newest fabric manager beside an older driver.

Sources
    NVIDIA fabric manager user guide; NVML API reference (nvmlGpuFabricInfo_t).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._devices import cuda_works, torch_said
from envfix.rules._log import LogSide
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
    version = (
        say(" in version {version}, the driver's", version=driver.version)
        if driver
        else say(" in the driver's version")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said or stopped else Severity.WARNING,
        message=say(
            "The NVSwitch fabric of this machine is not up: CUDA does not start before its fabric manager runs."
        ),
        because=tuple(_because(machine, said, waiting=len(waiting), stopped=stopped)),
        remedies=(
            Remedy(
                text=say("Ask the administrator to install and start nvidia-fabricmanager{version}.", version=version),
                safe=False,
            ),
        ),
    )


def _because(machine: Machine, said: Evidence | None, *, waiting: int, stopped: bool) -> Iterator[Evidence]:
    if said:
        yield said
    if waiting:
        yield cite("machine.gpus", machine.gpus, say("{waiting} cards wait for the fabric", waiting=waiting))
    state = machine.device_state.value
    if stopped and state is not None:
        value = say("{nvswitches} NVSwitch devices, nvidia-fabricmanager does not run", nvswitches=state.nvswitches)
        yield cite("machine.device_state", machine.device_state, value)


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?:(?:(?:Unexpected error from cudaGetDeviceCount\(\)\. )?Did you run some cuda functions before "
            r"calling NumCudaDevices\(\) )?that might have already set an error\? )?(?:Error 802: )?(?:Cuda "
            r"failure (?:\d+ "
            r")?')?system not yet initialized|cudaErrorSystemNotReady"
            r"|(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_SYSTEM_NOT_READY|[Ee]rror 802\b"
            r"|error \(802\)",
            confidence=0.95,
        ),
        Signature(
            pattern=r"fabric manager NVIDIA GPU driver interface version (?P<fabric>\d{3}[\d.]*\d) (?:don't|does not"
            r"|doesn't) match with driver version"
            r" (?P<driver>\d{3}[\d.]*\d)",
            confidence=0.97,
        ),
        Signature(
            pattern=r"Failed to start NVIDIA [Ff]abric [Mm]anager|nvidia-fabricmanager\.service(?:: Failed| failed"
            r"|: Main process exited|: Control process exited)"
            r"|Job for nvidia-fabricmanager\.service failed",
            confidence=0.75,
        ),
    ),
    message=(
        (
            later(
                "The fabric manager ({fabric}) is not of the driver's version ({driver}): the"
                " NVSwitch fabric is not up, and CUDA cannot start."
            )
        ),
        (
            later(
                "The NVSwitch fabric of this machine is not up: CUDA does not start before"
                " NVIDIA's fabric manager runs, in the driver's version."
            )
        ),
    ),
    remedies=(
        Remedy(
            text=later(
                "Ask the administrator to install nvidia-fabricmanager in exactly the driver's"
                " version, and to start it."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether the service runs, and which version the driver is."),
        commands=(("systemctl", "status", "nvidia-fabricmanager"), ("nvidia-smi", "-q")),
    ),
    explains=("cuda_does_not_start", "cuda_unknown_error_uvm", "no_nvidia_gpu"),
)


RULE = Rule(
    code="DRV107",
    cause="fabric_manager_not_running",
    title=later("The NVSwitch fabric is not up"),
    needs=("machine.gpus",),
    check=check,
    rank=15,
    log=LOG,
)
