"""Somebody else's process holds most of a GPU's memory.

What it checks
    Less than a tenth of a card's memory is free although this interpreter runs nothing on it. The processes that hold it
    are named where the driver tells. Cards that CUDA_VISIBLE_DEVICES hides from this shell are left out.

Why it matters
    A training on that card dies with "CUDA out of memory" however small its batch is, and the card is the one that programs take
    by default (GPU 0).

How to fix
    Use a card that is free, by its serial id (UUID), so that the numbering cannot mislead; or talk to the owner. Reducing the
    batch does not help, and resetting the card hurts the others. In a job of a batch system only the cards that it was given
    are proposed.

Sources
    NVML: memory and processes per card.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import GIB, cards_to_choose, container, use_card, visible_cards
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

FULL = 0.1


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = visible_cards(machine)
    full = [card for card in cards if _free_share(card) < FULL]
    if not full:
        return
    names = ", ".join(
        f"GPU {card.index} ({(card.memory_free or 0) / GIB:.1f} of {(card.memory_total or 0) / GIB:.1f} GiB free)"
        for card in full
    )
    own = all(process.own for card in full for process in card.processes) and any(card.processes for card in full)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=f"{'Your own' if own else 'Other'} processes hold nearly all memory of {names}: whatever starts there runs out of"
        " memory.",
        because=tuple(_holders(full, machine)),
        remedies=tuple(_remedies(full, machine)),
    )


def _remedies(full: list[Gpu], machine: Machine) -> Iterator[Remedy]:
    others = (card for card in cards_to_choose(machine) if card not in full and _free_share(card) >= FULL)
    idle = max(others, key=lambda card: card.memory_free or 0, default=None)
    if idle:
        yield use_card(idle, f"Use GPU {idle.index}, of which {(idle.memory_free or 0) / GIB:.1f} GiB are free.")
    mine = [process for card in full for process in card.processes if process.own]
    for process in mine:
        text = f"Process {process.pid} ({process.command or 'name unknown'}) is your own: if you no longer need it, end it."
        yield Remedy(text=text, commands=(("kill", str(process.pid)),), safe=False)
    if not any(card.processes for card in full) and container(machine) is None:
        files = tuple(f"/dev/nvidia{card.index}" for card in full)
        yield Remedy(
            text="See who has the card's file open (leftovers of an earlier run?).", commands=(("fuser", "-v", *files),)
        )
    if not idle and not mine:
        yield Remedy(text="No card is free that this shell may use: wait, or ask the owners of the processes.")


def _free_share(card: Gpu) -> float:
    # Of a card in MIG mode only its instances have memory that a process can get.
    if card.memory_free is None or not card.memory_total or card.mig:
        return 1.0
    return card.memory_free / card.memory_total


def _holders(full: list[Gpu], machine: Machine) -> Iterator[Evidence]:
    for card in full:
        for process in card.processes or ():
            owner = f" of {process.user}{' (you)' if process.own else ''}" if process.user else ""
            since = f" since {process.since}" if process.since else ""
            memory = f"{process.memory / GIB:.1f} GiB" if process.memory is not None else "an unknown amount"
            value = f"GPU {card.index}: process {process.pid}{owner} ({process.command or 'name unknown'}) holds {memory}{since}"
            yield Evidence(fact="machine.gpus", value=value, source=machine.gpus.source)
        if not card.processes:
            where = " (in a container only the host can tell: nvidia-smi there)" if container(machine) else ""
            value = (
                f"GPU {card.index}: {(card.memory_free or 0) / GIB:.1f} GiB free, holders not told by the driver{where}"
            )
            yield Evidence(fact="machine.gpus", value=value, source=machine.gpus.source)


RULE = Rule(
    code="MEM102",
    cause="oom_other_process",
    title="Another process fills a card",
    needs=("machine.gpus",),
    check=check,
    rank=60,
)
