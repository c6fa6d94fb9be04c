"""There is too little main memory to train.

What it checks
    The memory of the machine, or what a control group (container, batch job) allows, is below 2 GiB, or less than 1 GiB is left.
    torch alone takes several hundred MiB, each loader process of a training as much again.

Why it matters
    The kernel ends processes when memory runs out: "DataLoader worker is killed by signal: Killed". That is neither the card's
    memory nor /dev/shm.

How to fix
    Ask for more memory (``--mem`` in Slurm, ``--memory`` in docker), use fewer loader processes (``workers=0``), keep pictures
    out of memory (``cache=False``).

Sources
    /proc/meminfo and the control group of this process; Linux kernel documentation on memory control groups.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, Resources
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import GIB, allowed_memory
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

SMALL, LITTLE = 2 * GIB, 1 * GIB


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    memory = machine.resources.value
    if memory is None or environment.torch.value is None:
        return
    allowed, left = allowed_memory(memory), memory.memory_available
    small = allowed is not None and allowed < SMALL
    if not small and not (left is not None and left < LITTLE):
        return
    figures = ", ".join(_figures(memory))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=f"There is little main memory ({figures}): a training is likely to be killed.",
        because=(cite("machine.resources", machine.resources, figures),),
        remedies=(
            Remedy(
                text="Ask for more memory, or train with fewer loader processes and without caching pictures.",
                commands=(("yolo", "train", "workers=0", "cache=False"),) if small else (),
            ),
        ),
    )


def _figures(memory: Resources) -> Iterator[str]:
    if memory.memory_limit is not None:
        yield f"{memory.memory_limit / GIB:.1f} GiB allowed by the control group"
    if memory.memory_total is not None:
        yield f"{memory.memory_total / GIB:.1f} GiB in the machine"
    if memory.memory_available is not None:
        yield f"{memory.memory_available / GIB:.1f} GiB available"


RULE = Rule(
    code="MEM101",
    cause="host_ram_exhausted_runtime",
    title="Too little main memory to train",
    needs=("machine.resources",),
    check=check,
    rank=62,
)
