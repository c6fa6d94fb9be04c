"""Sentences about drivers that a user can send to whoever looks after the machine."""

from __future__ import annotations

from envfix.resolver import wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.situation import Situation


def driver_needed(candidate: Candidate, situation: Situation) -> str:
    """The driver a build needs on these cards: ``525.60.13 or newer (560.28.03 or newer serves CUDA 12.6 fully)``."""
    floor = situation.floor(candidate.cuda) if candidate.cuda is not None else None
    first, last = _first_branch(situation), situation.last_branch
    least, exact = (str(floor.family), floor.exact) if floor is not None else (str(first or ""), None)
    if floor is not None and first is not None and first > floor.family.branch:
        least = str(first)
    limit = f", but not newer than branch {last}" if last is not None else ""
    reachable = exact is not None and str(exact) != least and (last is None or exact.branch <= last)
    full = f" ({exact} or newer serves CUDA {candidate.cuda} fully)" if reachable else ""
    return f"{least} or newer{limit}{full}"


def _first_branch(situation: Situation) -> int | None:
    """The oldest driver branch that knows all cards; None when the tables do not say."""
    first_for = situation.tables.drivers.first_branch_for
    known = (first_for(card.capability) for card in situation.cards if card.capability is not None)
    return max((branch for branch in known if branch is not None), default=None)


def ask_for_driver(candidate: Candidate, situation: Situation) -> str:
    """The sentence to send to the administrator so that a build can run."""
    have = situation.driver
    if have is None:
        verb = "install the NVIDIA driver, version"
    elif situation.unknown_card is not None:
        verb = f"replace the NVIDIA driver {have} with"
    else:
        verb = f"update the NVIDIA driver from {have} to"
    # Inside WSL the driver of Windows serves the card; one installed in the guest breaks it.
    where = " of the Windows host" if situation.target.wsl else ""
    wish = f"Please {verb} {driver_needed(candidate, situation)}; {candidate.name} needs it on"
    return f'ask the administrator{where}: "{wish} {wording.cards(situation.cards)}."'
