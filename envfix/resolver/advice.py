"""Sentences about drivers that a user can send to whoever looks after the machine."""

from __future__ import annotations

from envfix.model.language import say
from envfix.model.versions import DriverVersion
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.situation import Situation, first_branch


def driver_needed(candidate: Candidate, situation: Situation, least: DriverVersion | None = None) -> str:
    """The driver a build needs on these cards: ``525.60.13 or newer (560.28.03 or newer serves CUDA 12.6 fully)``.

    ``least`` is the oldest one that is enough; None: by the tables' floor and the first branch that knows the cards.
    """
    floor = situation.floor(candidate.cuda) if candidate.cuda is not None else None
    first, last = first_branch(situation.cards, situation.tables), situation.last_branch
    oldest, exact = (str(floor.family), floor.exact) if floor is not None else (str(first or ""), None)
    if floor is not None and first is not None and first > floor.family.branch:
        oldest = str(first)
    oldest = str(least) if least is not None else oldest
    limit = say(", but not newer than branch {last}", last=last) if last is not None else ""
    reachable = exact is not None and str(exact) != oldest and (last is None or exact.branch <= last)
    full = say(" ({exact} or newer serves CUDA {cuda} fully)", exact=exact, cuda=candidate.cuda) if reachable else ""
    return say("{oldest} or newer{limit}{full}", oldest=oldest, limit=limit, full=full)


def ask_for_driver(candidate: Candidate, situation: Situation, least: DriverVersion | None = None) -> str:
    """The sentence to send to the administrator so that a build can run; ``least`` as in ``driver_needed``."""
    have = situation.driver
    if have is None:
        verb = say("install the NVIDIA driver, version")
    elif situation.unknown_card is not None:
        verb = say("replace the NVIDIA driver {have} with", have=have)
    else:
        verb = say("update the NVIDIA driver from {have} to", have=have)
    # Inside WSL the driver of Windows serves the card; one installed in the guest breaks it.
    where = say(" of the Windows host") if situation.target.wsl else ""
    wish = say(
        "Please {verb} {driver_needed}; {candidate} needs it on",
        verb=verb,
        driver_needed=driver_needed(candidate, situation, least),
        candidate=candidate.name,
    )
    return say(
        'ask the administrator{where}: "{wish} {cards}."', where=where, wish=wish, cards=wording.cards(situation.cards)
    )


def worth_more(candidate: Candidate, driver: DriverVersion) -> str:
    """What a newer driver than the least one would bring."""
    return say(
        "if it is updated anyway: from driver {driver} on it would be {candidate}",
        driver=driver,
        candidate=candidate.name,
    )
