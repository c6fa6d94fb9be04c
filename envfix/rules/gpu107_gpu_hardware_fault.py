"""A card is broken, or has fallen off the bus.

What it checks
    NVML counts a card and cannot open it ("GPU is lost"), reports memory errors that could not be corrected or memory that
    can no longer be repaired, or the kernel's log holds a fault number (Xid) that stands for hardware: 79 fallen off the
    bus, 48, 92, 95 and 140 memory, 64 its repair, 74 NVLink, or "RmInitAdapter failed". Xids that a program or the driver
    can cause (13, 31, 43, 45, 119) do not count.

Why it matters
    No software mends it: programs stop with "uncorrectable ECC error", "GPU is lost" or find no card.

How to fix
    Turn the machine off and on again. If it comes back: power connectors, slot, temperature, firmware (Above 4G Decoding), another
    card. Reinstalling torch or CUDA changes nothing.

Sources
    NVIDIA Xid errors guide; NVML API reference (NVML_ERROR_GPU_IS_LOST, remapped rows).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import cards_to_choose, use_card
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# NVML: not enough external power, lost, needs a reset.
POWER, LOST, RESET = 8, 15, 16
HARDWARE_XIDS = frozenset((48, 64, 74, 79, 92, 95, 140))
# NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.
_XID = re.compile(r"Xid \((?:PCI:)?[\da-f]*:?(?P<bus>[\da-f]{2}:[\da-f]{2})[^)]*\): (?P<number>\d+)", re.IGNORECASE)
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
        message="A GPU of this machine does not work: its hardware, its power or its slot is at fault, no software."
        if broken
        else "A GPU of this machine had hardware faults since the start.",
        because=(*broken, *doubtful),
        remedies=tuple(_remedies(machine)),
    )


def _broken(machine: Machine, layers: DriverLayers) -> Iterator[Evidence]:
    """What proves a card that cannot be used now."""
    for card in layers.unopened:
        if card.code in (POWER, LOST, RESET):
            value = f"GPU {card.index}: {card.problem or f'NVML error {card.code}'}"
            yield cite("machine.driver_layers", machine.driver_layers, value)
    for gpu in machine.gpus.value or ():
        if gpu.repair == "failed":
            yield cite("machine.gpus", machine.gpus, f"GPU {gpu.index}: damaged memory can no longer be replaced")
    if layers.unopened or machine.gpus.is_absent:
        yield from (_logged(machine, line) for line in layers.kernel_log if _START in line or _is_hardware(line))


def _doubtful(machine: Machine, layers: DriverLayers) -> Iterator[Evidence]:
    """What happened, although the cards can be opened now."""
    for gpu in machine.gpus.value or ():
        if gpu.ecc_errors:
            value = f"GPU {gpu.index}: {gpu.ecc_errors} uncorrectable memory errors since the driver was loaded"
            yield cite("machine.gpus", machine.gpus, value)
        if gpu.repair == "pending":
            value = f"GPU {gpu.index}: damaged memory is taken out of use at the next reset"
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
    return cite("machine.driver_layers", machine.driver_layers, f"kernel log: {line}")


def _is_sound(card: Gpu) -> bool:
    return not card.ecc_errors and card.repair is None


def _remedies(machine: Machine) -> Iterator[Remedy]:
    cards = machine.gpus.value or ()
    sound = [card for card in cards_to_choose(machine) if _is_sound(card)]
    if sound and not all(map(_is_sound, cards)):
        yield use_card(sound[0], f"Use GPU {sound[0].index} meanwhile.")
    yield Remedy(
        text="Ask the administrator to turn the machine off and on again, then to look at power, slot and temperature of the card.",
        safe=False,
    )


RULE = Rule(
    code="GPU107",
    cause="gpu_hardware_fault",
    title="A card is broken or lost",
    needs=("machine.driver_layers",),
    check=check,
    rank=10,
    explains=("nvidia_kernel_module_not_loaded", "cuda_does_not_start"),
)
