"""A card takes one process only, and one is there already.

What it checks
    An administrator can set a card's compute mode: one process at a time (exclusive) or none at all (prohibited). A second
    process is refused although memory is free.

Why it matters
    "all CUDA-capable devices are busy or unavailable", and nothing is wrong with torch.

How to fix
    Use a card that is free, or wait. The administrator can set the mode back to default.

Sources
    NVML: compute mode and processes per card.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import cards_to_choose, use_card
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

ONE_PROCESS = ("exclusive-process", "exclusive-thread")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = machine.gpus.value or ()
    limited = [card for card in cards if card.compute_mode in (*ONE_PROCESS, "prohibited")]
    if not limited:
        return
    taken = [card for card in limited if _is_taken(card)]
    free = [card for card in cards if card not in taken]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=_severity(taken, free),
        message=_message(taken or limited, taken=bool(taken)),
        because=tuple(cite("machine.gpus", machine.gpus, _state(card)) for card in taken or limited),
        remedies=tuple(_remedies(taken, [card for card in cards_to_choose(machine) if card in free])),
    )


def _is_taken(card: Gpu) -> bool:
    return card.compute_mode == "prohibited" or (card.compute_mode in ONE_PROCESS and bool(card.processes))


def _severity(taken: list[Gpu], free: list[Gpu]) -> Severity:
    if not taken:
        return Severity.INFO
    return Severity.WARNING if free else Severity.ERROR


def _message(cards: list[Gpu], *, taken: bool) -> str:
    names = ", ".join(f"GPU {card.index}" for card in cards)
    if taken:
        return f"{names}: no further process is let in by the compute mode, however much memory is free."
    return f"{names}: the compute mode lets in one process at a time."


def _state(card: Gpu) -> str:
    holders = ", ".join(
        f"process {process.pid}" + (f" of {process.user}" if process.user else "") for process in card.processes
    )
    return f"GPU {card.index}: compute mode {card.compute_mode}" + (f", held by {holders}" if holders else "")


def _remedies(taken: list[Gpu], free: list[Gpu]) -> Iterator[Remedy]:
    if taken and free:
        yield use_card(free[0], f"Use GPU {free[0].index}.")
    elif taken:
        yield Remedy(
            text="Wait until the process ends, or ask the administrator to set the mode to default.", safe=False
        )
    else:
        yield Remedy(text="Start one process per card.")


RULE = Rule(
    code="GPU104",
    cause="compute_mode_exclusive",
    title="A card lets in one process only",
    needs=("machine.gpus",),
    check=check,
    rank=18,
)
