"""A card takes one process only, and one is there already.

What you see
    "all CUDA-capable devices are busy or unavailable", "CUDA-capable device(s) is/are busy or unavailable", error
    46; "E. Process" in nvidia-smi's table.

Why
    An administrator can set a card's compute mode: one process at a time (exclusive) or none at all (prohibited). A
    second process is refused although memory is free. Nothing is wrong with torch.

How envfix knows
    NVML's compute mode and processes of each card; in a log the mode in nvidia-smi's table. The words alone may
    also come from a virtual card without a licence.

How to mend
    Use a card that is free, or wait. The administrator can set the mode back to default.

What not to do
    Do not reinstall torch or the driver, and do not end processes of others.

Sources
    NVML: compute mode and processes per card.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import cards_to_choose, use_card
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import BUSY, VIRTUAL_CARD
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
        return say(
            "{names}: no further process is let in by the compute mode, however much memory is free.", names=names
        )
    return say("{names}: the compute mode lets in one process at a time.", names=names)


def _state(card: Gpu) -> str:
    holders = ", ".join(
        say("process {pid}", pid=process.pid) + (say(" of {user}", user=process.user) if process.user else "")
        for process in card.processes
    )
    return say("GPU {index}: compute mode {compute_mode}", index=card.index, compute_mode=card.compute_mode) + (
        say(", held by {holders}", holders=holders) if holders else ""
    )


def _remedies(taken: list[Gpu], free: list[Gpu]) -> Iterator[Remedy]:
    if taken and free:
        yield use_card(free[0], say("Use GPU {index}.", index=free[0].index))
    elif taken:
        yield Remedy(
            text=say("Wait until the process ends, or ask the administrator to set the mode to default."), safe=False
        )
    else:
        yield Remedy(text=say("Start one process per card."))


_ONE_PROCESS = r"\bE\. (?:Process|Thread)\b|(?i:exclusive[_\s](?:process|thread))|\| Prohibited \|"


def _mode(hit: Hit, log: Log) -> float:
    """A virtual card without licence says the same; a mode in nvidia-smi's table decides."""
    del hit
    if log.found(_ONE_PROCESS):
        return 0.95
    return 0.2 if log.found(VIRTUAL_CARD) else 0.6


LOG = LogSide(
    signatures=(
        Signature(pattern=BUSY, weigh=_mode, looks_at=(_ONE_PROCESS, VIRTUAL_CARD)),
        Signature(pattern=r"exclusive[-\s](?:process|thread) mode", confidence=0.6, beside=(BUSY,)),
        Signature(pattern=r"(?:CUDA|cuda)[\w\s]{0,20}(?:failure|error)[\w\s]{0,12}\(?46\)?\s?:", confidence=0.5),
        Signature(
            pattern=r"cudaErrorDevicesUnavailable|compute mode (?:is )?prohibited|CUDA_ERROR_PROHIBITED", confidence=0.4
        ),
    ),
    message=later(
        "The card takes no further process: its compute mode lets in one at a time, and one is there already."
    ),
    remedies=(
        Remedy(
            text=later("See which card is free and use that one, one process a card."), commands=(("envfix", "gpus"),)
        ),
        Remedy(text=later("End what of your own still runs on the card, or wait until the other process ends.")),
        Remedy(text=later("Or ask the administrator to set the compute mode to default."), safe=False),
    ),
    tell_apart=Remedy(
        text=later("See the compute mode and the processes of each card."),
        commands=(
            ("nvidia-smi", "--query-gpu=index,name,compute_mode", "--format=csv"),
            ("nvidia-smi", "-q", "-d", "PIDS"),
        ),
    ),
    explains=("cuda_does_not_start",),
)


RULE = Rule(
    code="GPU104",
    cause="compute_mode_exclusive",
    title=later("A card lets in one process only"),
    needs=("machine.gpus",),
    check=check,
    rank=18,
    log=LOG,
)
