"""A card is cut into MIG instances, of which a process can use one.

What it checks
    MIG mode cuts an A100 or H100 into instances with serial ids of their own. One process uses one instance; they do not add up,
    and numbers do not name them reliably. With MIG on and no instance made, nothing can use the card at all.

Why it matters
    torch counts one device however many instances there are, and with several cards it may stop with "device < num_gpus
    INTERNAL ASSERT FAILED" when CUDA_VISIBLE_DEVICES does not name an instance.

How to fix
    Give each process one instance by its serial id. The administrator can make instances or switch MIG off.

Sources
    NVIDIA MIG user guide (CUDA device enumeration); public reports on torch with MIG.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine, MigInstance
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import VISIBLE
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = machine.gpus.value or ()
    cut = [card for card in cards if card.mig]
    if not cut:
        return
    instances = [instance for card in cut for instance in card.mig_instances]
    named = [entry for entry in machine.variables.get(VISIBLE, "").split(",") if entry]
    # NVML of a container tells no instances of cards that it may not look into: only a card of one's own proves that none is there.
    if not instances and machine.platform.value is not None and machine.platform.value.container is None:
        yield _without_instances(machine, cut, alone=len(cut) == len(cards))
    elif len(named) == 1 or not instances:
        return
    else:
        yield _choose_one(machine, instances, named=len(named), cards=len(cards))


def _without_instances(machine: Machine, cut: list[Gpu], *, alone: bool) -> Finding:
    names = ", ".join(f"GPU {card.index}" for card in cut)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if alone else Severity.WARNING,
        message=f"{names}: MIG mode is on, but no instance was made, so no program can use the card.",
        because=(cite("machine.gpus", machine.gpus, f"{names}: MIG on, no instance is told"),),
        remedies=(
            Remedy(
                text="Ask the administrator to make an instance, or to switch MIG off (nvidia-smi -mig 0).", safe=False
            ),
        ),
    )


def _choose_one(machine: Machine, instances: list[MigInstance], *, named: int, cards: int) -> Finding:
    first = instances[0]
    risky = named > 1 or cards > 1
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if risky else Severity.INFO,
        message="A process uses one MIG instance only: "
        + (f"of the {named} entries in {VISIBLE} the first counts." if named > 1 else f"{VISIBLE} should name it."),
        because=(
            cite("machine.gpus", machine.gpus, ", ".join(f"{one.name or 'MIG'} {one.uuid}" for one in instances)),
        ),
        remedies=(
            Remedy(
                text="Give each process one instance by its serial id.",
                commands=(("export", f"{VISIBLE}={first.uuid}"),),
            ),
        ),
    )


RULE = Rule(
    code="GPU106",
    cause="mig_single_instance",
    title="A process uses one MIG instance only",
    needs=("machine.gpus",),
    check=check,
    rank=19,
)
