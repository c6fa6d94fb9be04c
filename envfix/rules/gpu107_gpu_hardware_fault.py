"""A card is broken, or has fallen off the bus.

What you see
    "Unable to determine the device handle for GPU ...", "GPU is lost. Reboot the system to recover this GPU", "Xid
    (PCI:0000:41:00): 79, GPU has fallen off the bus", "uncorrectable ECC error encountered".

Why
    Power, slot, temperature, firmware or memory of the card is at fault; no software mends it.

How envfix knows
    NVML counts a card and cannot open it, reports memory errors that could not be corrected or memory that can no
    longer be repaired, or the kernel's log holds a fault number (Xid) that stands for hardware: 79 fallen off the
    bus, 48, 92, 95 and 140 memory, 64 its repair, 74 NVLink, or "RmInitAdapter failed". Xids that a program or the
    driver can cause (13, 31, 43, 45) do not count; in a log 119 and other faults of the card's own firmware count
    less.

How to mend
    Turn the machine off and on again. If it comes back: power connectors, slot, temperature, firmware (Above 4G
    Decoding), another card.

What not to do
    Do not reinstall torch or CUDA: it changes nothing.

Sources
    NVIDIA Xid errors guide; NVML API reference (NVML_ERROR_GPU_IS_LOST, remapped rows).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._devices import cards_to_choose, use_card
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import IN_CONTAINER, NO_DEVICES_FOUND, NO_MIG_DEVICES, NVML_UNKNOWN
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# NVML: not enough external power, lost, needs a reset.
POWER, LOST, RESET = 8, 15, 16
HARDWARE_XIDS = frozenset((48, 64, 74, 79, 92, 95, 140))
# NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.
_XID = regex(r"Xid \((?:PCI:)?[\da-f]*:?(?P<bus>[\da-f]{2}:[\da-f]{2})[^)]*\): (?P<number>\d+)", re.IGNORECASE)
_START = "RmInitAdapter failed"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    if layers is None:
        return
    broken = tuple(_broken(machine, layers))
    doubtful = tuple(_doubtful(machine, layers))
    if not broken and not doubtful:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if broken else Severity.WARNING,
        message=say(
            "A GPU of this machine does not work: its hardware, its power or its slot is at fault, no software."
        )
        if broken
        else say("A GPU of this machine had hardware faults since the start."),
        because=(*broken, *doubtful),
        remedies=tuple(_remedies(machine)),
    )


def _broken(machine: Machine, layers: DriverLayers) -> Iterator[Evidence]:
    """What proves a card that cannot be used now."""
    for card in layers.unopened:
        if card.code in (POWER, LOST, RESET):
            value = say(
                "GPU {index}: {problem}",
                index=card.index,
                problem=card.problem or say("NVML error {code}", code=card.code),
            )
            yield cite("machine.driver_layers", machine.driver_layers, value)
    for gpu in machine.gpus.value or ():
        if gpu.repair == "failed":
            yield cite(
                "machine.gpus",
                machine.gpus,
                say("GPU {index}: damaged memory can no longer be replaced", index=gpu.index),
            )
    if layers.unopened or machine.gpus.is_absent:
        yield from (_logged(machine, line) for line in layers.kernel_log if _START in line or _is_hardware(line))


def _doubtful(machine: Machine, layers: DriverLayers) -> Iterator[Evidence]:
    """What happened, although the cards can be opened now."""
    for gpu in machine.gpus.value or ():
        if gpu.ecc_errors:
            value = say(
                "GPU {index}: {ecc_errors} uncorrectable memory errors since the driver was loaded",
                index=gpu.index,
                ecc_errors=gpu.ecc_errors,
            )
            yield cite("machine.gpus", machine.gpus, value)
        if gpu.repair == "pending":
            value = say("GPU {index}: damaged memory is taken out of use at the next reset", index=gpu.index)
            yield cite("machine.gpus", machine.gpus, value)
    if not (layers.unopened or machine.gpus.is_absent):
        own = {card.pci_bus.rpartition(".")[0][-5:].lower() for card in machine.gpus.value or () if card.pci_bus}
        yield from (
            _logged(machine, line)
            for line in layers.kernel_log
            if _is_hardware(line) and (not own or _bus(line) in own)
        )


def _bus(line: str) -> str:
    """Bus and slot of the card that a line speaks of: in a container the log is the host's, with cards of others."""
    match = _XID.search(line)
    return match["bus"].lower() if match else ""


def _is_hardware(line: str) -> bool:
    match = _XID.search(line)
    return match is not None and int(match["number"]) in HARDWARE_XIDS


def _logged(machine: Machine, line: str) -> Evidence:
    return cite("machine.driver_layers", machine.driver_layers, say("kernel log: {line}", line=line))


def _is_sound(card: Gpu) -> bool:
    return not card.ecc_errors and card.repair is None


def _remedies(machine: Machine) -> Iterator[Remedy]:
    cards = machine.gpus.value or ()
    sound = [card for card in cards_to_choose(machine) if _is_sound(card)]
    if sound and not all(map(_is_sound, cards)):
        yield use_card(sound[0], say("Use GPU {index} meanwhile.", index=sound[0].index))
    yield Remedy(
        text=say(
            "Ask the administrator to turn the machine off and on again, then to look at power,"
            " slot and temperature of the card."
        ),
        safe=False,
    )


# Fault numbers that may also come from the driver's own firmware, and those that a program causes.
_DOUBTFUL_XIDS = frozenset((38, 54, 56, 57, 58, 61, 62, 63, 94, 110, 119, 120, 121, 143, 144, 145, 146, 149, 154, 166))
_NOT_LOST = regex(r"\b(?:Insufficient Permissions|Not Supported|Driver/library version mismatch)")


def _xid(hit: Hit, log: Log) -> float | None:
    """By the number of the fault: hardware, doubtful, or a program's own."""
    del log
    number = int(hit.groups["xid"])
    if number in HARDWARE_XIDS:
        return 0.95
    return 0.65 if number in _DOUBTFUL_XIDS else None


def _handle(hit: Hit, log: Log) -> float | None:
    """In a container the device may only have been taken away."""
    if _NOT_LOST.search(hit.after[:200]):
        return None
    return 0.6 if log.found(IN_CONTAINER) and "Unknown Error" in hit.after[:120] else 0.9


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Xid \([^)\n]{1,40}\): (?P<xid>\d{1,3})\b", weigh=_xid),
        Signature(pattern=r"GPU has fallen off the bus|fallen off the bus", confidence=0.96),
        Signature(
            pattern=r"GPU is lost\b|Reboot the system to recover this GPU|NVMLError_GpuIsLost|nvml error: gpu is lost",
            confidence=0.96,
        ),
        Signature(
            pattern=r"Unable to (?:determine|detect) the device handle for (?:GPU|gpu)\s?[0-9A-Fa-f:.]{4,20}",
            weigh=_handle,
            looks_at=(IN_CONTAINER,),
        ),
        Signature(
            pattern=r"uncorrectable ECC error|(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_ECC_UNCORRECTABLE"
            r"|cudaErrorECCUncorrectable|uncorrectable (?:NVLink|nvlink) error|cudaErrorNvlinkUncorrectable"
            r"|[Dd]ouble[-\s]?[Bb]it ECC (?:[Ee]rror|[Ee]vent)",
            confidence=0.95,
        ),
        Signature(
            pattern=r"(?i)RmInitAdapter failed|rm_init_adapter failed|rm_init_adapter\(0x[0-9a-f]+\)? failed",
            confidence=0.88,
        ),
        Signature(
            pattern=r"GPU requires reset|NVMLError_ResetRequired|insufficiently powered|Insufficient External Power",
            confidence=0.92,
        ),
        Signature(
            pattern=r"This PCI I/O region assigned to your NVIDIA device is invalid|BAR[01] is 0M @ 0x0",
            confidence=0.92,
        ),
        Signature(pattern=r"\| ERR! |ERR! / ERR!|Unknown Error \| ERR!", confidence=0.75),
        Signature(pattern=r"[Rr]ow [Rr]emapping (?:failure|failed)|Remapping Failure Occurred : Yes", confidence=0.9),
        Signature(pattern=NO_DEVICES_FOUND, confidence=0.35, unless=(NO_MIG_DEVICES,)),
        Signature(pattern=NVML_UNKNOWN, confidence=0.15),
        Signature(
            pattern=(
                r"NVRM: (?:GPU[^\n]{0,60})?(?:failed to copy vbios|Can't find an IRQ|RmInitAdapter"
                r"|osInitNvMapping failed|nvidia_open failed)|No NVIDIA (?:GPU|graphics adapter) found"
            ),
            confidence=0.6,
        ),
        Signature(
            pattern=r"cudaErrorHardwareStackError|CUDA_ERROR_HARDWARE_STACK_ERROR|cudaErrorContained\b", confidence=0.5
        ),
    ),
    message=(
        (
            later(
                "A card does not work any more (fault number Xid {xid}): its hardware, power, slot"
                " or temperature is at fault, no Python package."
            )
        ),
        later(
            "A card does not work or was lost: its hardware, power, slot or temperature is at fault, no Python package."
        ),
    ),
    remedies=(
        Remedy(text=later("Use another card meanwhile, if there is one."), commands=(("envfix", "gpus"),)),
        Remedy(
            text=(
                later(
                    "Ask the administrator to turn the machine off and on again, then to look at"
                    " power connectors, slot, temperature and firmware."
                )
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See what the driver says in the kernel's log (lines with NVRM and Xid)."),
        commands=(("dmesg",), ("nvidia-smi", "-q")),
    ),
    explains=(
        "nvidia_kernel_module_not_loaded",
        "cuda_does_not_start",
        "cuda_unknown_error_uvm",
        "no_nvidia_gpu",
        "cuda_visible_devices_hides_gpu",
        "container_lost_gpu_cgroup",
    ),
)


RULE = Rule(
    code="GPU107",
    cause="gpu_hardware_fault",
    title=later("A card is broken or lost"),
    needs=("machine.driver_layers",),
    check=check,
    rank=10,
    explains=("nvidia_kernel_module_not_loaded", "cuda_does_not_start"),
    log=LOG,
)
