"""This machine has no NVIDIA GPU.

What it checks
    No driver answers, there are no /dev/nvidia* files, and the PCI bus shows no NVIDIA controller. Cards of other makers are
    named, because torch needs another build for them.

Why it matters
    torch runs on the processor here. That is a fact, not a fault; no CUDA, driver or toolkit will change it.

How to fix
    Nothing is broken. Work on the CPU, or move to a machine with an NVIDIA card.

Sources
    PCI vendor id 10de is NVIDIA's.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import batch_without_card, container, on_jetson
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    traces = layers is None or bool(layers.device_nodes) or layers.kernel is not None
    if not (machine.driver.is_absent and machine.gpus.is_absent) or traces or nvidia_displays(machine):
        return
    # A Jetson has its GPU on the chip; a node of a cluster is told by the cause job_without_gpu.
    if on_jetson(machine) or batch_without_card(machine):
        return
    others = _others(machine)
    also = (
        f" It has a display controller ({', '.join(others)}), which CUDA builds of torch cannot use." if others else ""
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=f"This machine has no NVIDIA GPU: torch runs on the processor here.{also}",
        because=(
            cite("machine.driver", machine.driver, "no trace of an NVIDIA driver"),
            cite("machine.displays", machine.displays, ", ".join(others) or "no NVIDIA card on the PCI bus"),
        ),
        remedies=(Remedy(text=_advice(machine)),),
    )


def _others(machine: Machine) -> list[str]:
    """Cards of other makers, by name where it is known."""
    cards = (display for display in machine.displays.value or () if display.vendor in ("AMD", "Intel"))
    return sorted({card.name or card.vendor for card in cards})


def _advice(machine: Machine) -> str:
    # From inside a container a card that was not asked for cannot always be seen.
    if container(machine):
        return "Nothing to mend. If the host has a GPU, start the container with it (`docker run --gpus all ...`)."
    return "Nothing to mend. To train on a GPU, use a machine that has one."


RULE = Rule(
    code="GPU101",
    cause="no_nvidia_gpu",
    title="No NVIDIA GPU in this machine",
    needs=("machine.driver", "machine.gpus", "machine.driver_layers"),
    check=check,
    rank=90,
)
