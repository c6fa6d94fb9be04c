"""Sentences about drivers that a user can send to whoever looks after the machine."""

from __future__ import annotations

from envfix.model.plan import PlanTarget
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.situation import Situation


def driver_needed(candidate: Candidate, situation: Situation) -> str:
    """The driver a build needs on these cards: ``525.60.13 or newer (560.28.03 serves it fully)``."""
    drivers = situation.tables.drivers
    capabilities = [card.capability for card in situation.cards if card.capability is not None]
    lasts = [last for cc in capabilities if (last := drivers.last_branch_for(cc)) is not None]
    firsts = [first for cc in capabilities if (first := drivers.first_branch_for(cc)) is not None]
    floor = situation.floor(candidate.cuda) if candidate.cuda else None
    least = str(floor.family) if floor else str(max(firsts, default=0))
    if floor and firsts and max(firsts) > floor.family.branch:
        least = str(max(firsts))
    limit = f", but not newer than branch {min(lasts)}" if lasts else ""
    exact = floor.exact if floor and floor.exact and str(floor.exact) != least else None
    full = (
        f" ({exact} or newer serves CUDA {candidate.cuda} fully)"
        if exact and exact.branch <= min(lasts, default=10_000)
        else ""
    )
    return f"{least} or newer{limit}{full}"


def ask_for_driver(candidate: Candidate, situation: Situation) -> str:
    """The sentence to send to the administrator so that a build can run."""
    have = situation.driver
    verb = (
        f"replace the NVIDIA driver {have} with"
        if situation.unknown_card
        else f"update the NVIDIA driver from {have} to"
    )
    verb = verb if have is not None else "install the NVIDIA driver, version"
    name = candidate.name
    where = _where(situation.target)
    return (
        f'ask the administrator{where}: "Please {verb} {driver_needed(candidate, situation)};'
        f' {name} needs it on the {wording.cards(situation.cards)}."'
    )


def _where(target: PlanTarget) -> str:
    return " of Windows, whose driver serves the card inside WSL too" if target.wsl else ""
