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
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    traces = layers is None or bool(layers.device_nodes) or layers.kernel is not None
    if not (machine.driver.is_absent and machine.gpus.is_absent) or traces or nvidia_displays(machine):
        return
    others = sorted({display.vendor for display in machine.displays.value or () if display.vendor in ("AMD", "Intel")})
    also = (
        f" It has a display controller by {' and '.join(others)}, which CUDA builds of torch cannot use."
        if others
        else ""
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
        remedies=(Remedy(text="Nothing to mend. To train on a GPU, use a machine that has one."),),
    )


RULE = Rule(
    code="GPU101",
    cause="no_nvidia_gpu",
    title="No NVIDIA GPU in this machine",
    needs=("machine.driver", "machine.gpus", "machine.driver_layers"),
    check=check,
    rank=90,
)
