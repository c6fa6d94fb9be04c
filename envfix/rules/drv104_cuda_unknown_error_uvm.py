"""The driver answers, but its module for computing (nvidia_uvm) is missing or stale.

What you see
    "CUDA unknown error - this may be due to an incorrectly set up environment", "cuda runtime error (30) : unknown
    error" from old torch, error 999, while nvidia-smi shows the card.

Why
    nvidia-smi and NVML need only the module nvidia; CUDA also needs nvidia_uvm and its file ``/dev/nvidia-uvm``.
    The module is in a bad state mostly after a laptop has been suspended; the file is missing where it cannot be
    made on demand (in a container, or without nvidia-modprobe).

How envfix knows
    NVML works, and the file is not there or torch itself says these words; in a log the words where CUDA is
    started. Later in a program an unknown error may have other reasons.

How to mend
    The administrator reloads the module (``rmmod nvidia_uvm``, then ``modprobe nvidia_uvm``) or reboots. In a
    container the file has to be given at its start.

What not to do
    Do not change CUDA_VISIBLE_DEVICES, although torch's message hints at it, and do not reinstall torch.

Sources
    NVIDIA driver README (nvidia-modprobe, device files); public reports on CUDA after suspend.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._devices import container, cuda_works, on_jetson, torch_said, under_wsl
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import NO_CUDA_GPUS, NVML_UNKNOWN
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

UVM = "/dev/nvidia-uvm"
RELOAD = later(
    "Ask the administrator to reload the module nvidia_uvm (rmmod nvidia_uvm, modprobe nvidia_uvm), or to reboot."
)
AGAIN = later(
    "Start the container again with its GPU through NVIDIA's container toolkit (`docker run"
    " --gpus all ...`), which also gives /dev/nvidia-uvm."
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
        message=say("The driver answers, but CUDA cannot start: ")
        + (say("the file /dev/nvidia-uvm is missing.") if missing else say("its module nvidia_uvm is in a bad state.")),
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
            "machine.driver_layers",
            machine.driver_layers,
            say("the card's device files are there, /dev/nvidia-uvm is not"),
        )
    state = machine.device_state.value
    if said and state is not None and state.suspended:
        value = say("suspended {suspended} times since the start", suspended=state.suspended)
        yield cite("machine.device_state", machine.device_state, value)


# Where CUDA is started: the same words later on are a program's own fault.
_START = regex(
    r"cudaGetDeviceCount|_cuda_init|_lazy_init|cuInit|THCGeneral|CUDAFunctions|is_available"
    r"|CUDA initialization|init\.c|cuda error:|NumCudaDevices|device_count"
)
_NEAR = 1_200


def _at_start(hit: Hit, log: Log) -> float:
    """Surer where it is said when CUDA starts."""
    del log
    around = hit.before[-_NEAR:] + hit.text + hit.after[:300]
    return 0.8 if _START.search(around) else 0.45


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"CUDA unknown error - this may be due to an incorrectly set up environment", confidence=0.85
        ),
        Signature(pattern=r"cudaGetDeviceCount returned (?:30|999)\b", confidence=0.8),
        Signature(
            pattern=r"cudaErrorUnknown\b|(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_UNKNOWN\b"
            r"|(?:(?:(?:Unexpected error from cudaGetDeviceCount\(\)\. )?Did you run some cuda functions before "
            r"calling NumCudaDevices\(\) )?that might have already set an error\? )?[Ee]rror 999\b|(?:CUDA"
            r"|cuda)(?: runtime)? error:? \(?(?:30"
            r"|999)\)?\s?: unknown error"
            r"|CUDA error: unknown error|error=(?:30|999) : unknown error|cuda error: unknown error",
            weigh=_at_start,
        ),
        Signature(
            pattern=r"Module nvidia[_-]uvm not found|/dev/nvidia-uvm['\"]?: (?:No such file|Input/output error"
            r"|No such device)"
            r"|nvidia[_-]uvm(?:\.ko)?'?: (?:No such device|Unknown symbol|Invalid argument)",
            confidence=0.93,
        ),
        Signature(pattern=NVML_UNKNOWN, confidence=0.12),
        Signature(
            pattern=NO_CUDA_GPUS, weigh=by_place(None, answers=0.15, batch=0.05, container=0.1), looks_at=LOOKS_AT
        ),
    ),
    message=later(
        "The driver answers, but its module for computing (nvidia_uvm) is missing or in a bad"
        " state, so that CUDA cannot start."
    ),
    remedies=(
        Remedy(text=RELOAD, safe=False),
        Remedy(
            text=later(
                "In a container: start the container again with its GPU through NVIDIA's container toolkit"
                " (`docker run --gpus all ...`), which also gives /dev/nvidia-uvm."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether the card answers, and whether the module and its file are there."),
        commands=(("nvidia-smi",), ("ls", "-l", "/dev/nvidia-uvm"), ("grep", "nvidia_uvm", "/proc/modules")),
    ),
    explains=("cuda_does_not_start",),
)


RULE = Rule(
    code="DRV104",
    cause="cuda_unknown_error_uvm",
    title=later("CUDA's kernel module is missing or stale"),
    needs=("machine.driver_layers",),
    check=check,
    rank=16,
    log=LOG,
)
