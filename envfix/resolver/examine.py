"""One build at a time, filter by filter: the answer to "why not this one?"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from envfix.errors import UsageError
from envfix.model.language import look_up, say
from envfix.model.plan import Check, Examination
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.filters import CHEAP, companions
from envfix.resolver.search import CONSTRAINTS, Found, best
from envfix.resolver.situation import Situation
from envfix.resolver.sources import title
from envfix.tables.loader import Tables
from envfix.tables.rows import version_of

_ASKED = re.compile(
    r"(?:torch)?\s*(?:==)?\s*(?P<version>\d+(?:\.\d+)+)?\s*\+?(?P<variant>cpu|cu\d{2,3})?", re.IGNORECASE
)

# How many numbers a torch release has.
_NUMBERS = 3


def examine(
    asked: str, candidates: Sequence[Candidate], situations: Sequence[Situation], tables: Tables, stop: str | None
) -> tuple[Examination, ...]:
    """Each build that is meant, the newest first; ``stop`` says what keeps every build from being planned (None: nothing).

    Raises ``UsageError`` where nothing of that name exists for the platform.
    """
    match = _ASKED.fullmatch(asked.strip())
    if match is None or not (match["version"] or match["variant"]):
        raise UsageError(
            say("--why-not {asked!r} names no build", asked=asked[:60]), hint=say("write 2.13.0, cu130 or 2.13.0+cu130")
        )
    version = _release(match["version"]) if match["version"] else None
    variant = match["variant"].lower() if match["variant"] else None
    meant = [
        candidate
        for candidate in candidates
        if version in (None, candidate.build.torch) and variant in (None, candidate.variant)
    ]
    if not meant:
        raise UsageError(_unknown(version, variant, candidates, situations[0], tables))
    # The last round admits the most builds: what it refuses is refused for good.
    situation = situations[-1]
    result = best(candidates, situation)
    chosen = result.candidate if isinstance(result, Found) else None
    meant.sort(key=lambda candidate: candidate.version, reverse=True)
    return tuple(_examination(candidate, situation, chosen, stop) for candidate in meant)


def _release(text: str) -> str:
    """A torch release as the tables spell it: 2.13 is 2.13.0."""
    numbers = version_of(text).release
    return ".".join(map(str, (*numbers, 0, 0)[: max(_NUMBERS, len(numbers))]))


def _examination(candidate: Candidate, situation: Situation, chosen: Candidate | None, stop: str | None) -> Examination:
    answers = (check(candidate, situation) for check in (*CHEAP, companions))
    refusals: dict[str, str] = {row.because: row.text for row in answers if row is not None}
    return Examination(
        torch=candidate.build.torch,
        variant=candidate.variant,
        local_label=candidate.build.label,
        index=candidate.source.name,
        checks=tuple(
            Check(constraint=constraint, fits=constraint not in refusals, text=refusals.get(constraint, ""))
            for constraint in CONSTRAINTS
        ),
        verdict=_verdict(candidate, refusals, chosen, stop),
    )


def _verdict(candidate: Candidate, refusals: dict[str, str], chosen: Candidate | None, stop: str | None) -> str:
    place = say("{candidate} from {title}", candidate=candidate.name, title=title(candidate.source.name))
    if refusals:
        return say(
            "{place} does not fit: {list}", place=place, list=wording.listed([look_up(name) for name in refusals])
        )
    if stop is not None:
        return say("{place} would fit, but {stop}", place=place, stop=stop)
    if chosen is None or chosen is candidate:
        return say("{place} fits; it is what is planned", place=place)
    return say(
        "{place} fits, but {chosen} is the better answer: newer, surer, or nearer to what the driver serves",
        place=place,
        chosen=chosen.name,
    )


def _unknown(
    version: str | None, variant: str | None, candidates: Sequence[Candidate], situation: Situation, tables: Tables
) -> str:
    platform = situation.target.platform
    if version is None or variant is None:
        return say(
            "there is no torch {version} for {platform}, as far as the tables know",
            version=version or variant,
            platform=platform,
        )
    why = tables.wheels.why_absent(variant, version_of(version), platform)
    others = sorted({candidate.variant for candidate in candidates if candidate.build.torch == version})
    known = (
        say("; for torch {version} there are {others}", version=version, others=wording.listed(others))
        if others
        else ""
    )
    return (
        say("there is no torch {version}+{variant} for {platform}", version=version, variant=variant, platform=platform)
        + (say(" ({aside})", aside=why) if why else "")
        + known
    )
