"""When nothing fits: the one constraint that blocks, the nearest answer, and the ways out in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from envfix.model.plan import Choice, Constraint, Rejection
from envfix.model.versions import ComputeCapability
from envfix.resolver import wording
from envfix.resolver.advice import ask_for_driver
from envfix.resolver.answer import choice_of
from envfix.resolver.candidates import Candidate
from envfix.resolver.filters import CHEAP, companions
from envfix.resolver.ranking import Rank, rank
from envfix.resolver.situation import Situation
from envfix.resolver.stack import Stack, stack_of
from envfix.tables.architectures import INTEGRATED, Support
from envfix.tables.loader import Tables

_EASIEST_FIRST: tuple[Constraint, ...] = ("interpreter", "index", "request", "glibc", "driver", "companion")
_FINAL: tuple[Constraint, ...] = ("platform", "sm")
_HONOURED: tuple[Constraint, ...] = ("interpreter", "index", "glibc", "driver", "companion")

Judged = tuple[Candidate, tuple[Rejection, ...]]


class Unlocked(msgspec.Struct, frozen=True, kw_only=True):
    """What would be installed if one constraint (or, in ``also``, some more) were lifted."""

    because: Constraint
    candidate: Candidate
    situation: Situation
    rejections: tuple[Rejection, ...]
    rank: Rank


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a situation in which nothing fits."""

    by: Constraint
    text: str
    nearest: Choice | None
    ways_out: tuple[str, ...]


def blocked(candidates: Sequence[Candidate], situation: Situation) -> Blocked:
    """The constraint whose removal unlocks the best answer, the answer that is easiest to reach, and how to reach each.

    What the user asked for is honoured as long as lifting something else helps.
    """
    if not candidates:
        text = f"there are no torch wheels for {situation.target.platform}"
        return Blocked(by="platform", text=text, nearest=None, ways_out=())
    judged = [(candidate, _rejections(candidate, situation)) for candidate in candidates]
    unlocked = _unlocked(judged, situation)
    if not unlocked:
        return _hopeless(judged, situation)
    honoured = [unlocked[by] for by in _HONOURED if by in unlocked]
    first = max(honoured, key=lambda item: item.rank) if honoured else unlocked["request"]
    nearest = next(unlocked[by] for by in _EASIEST_FIRST if by in unlocked)
    ways = [_way_out(unlocked[by], situation) for by in _EASIEST_FIRST if by in unlocked]
    return Blocked(
        by=first.because,
        text=_told(first.candidate, first.rejections) if honoured else _requested_fails(judged, situation),
        nearest=_choice(nearest),
        ways_out=(*ways, *_jetson(situation)),
    )


def _told(candidate: Candidate, rejections: Sequence[Rejection]) -> str:
    """A build and what rules it out, most final first."""
    first = next((row for row in rejections if row.because in _FINAL), rejections[0])
    return f"{candidate.name}: {first.text}"


def _requested_fails(judged: Sequence[Judged], situation: Situation) -> str:
    wanted = [pair for pair in judged if not any(row.because == "request" for row in pair[1])]
    if not wanted:
        return f"there is no build for {asked_for(situation)} on {situation.target.platform}"
    return f"nothing fits {asked_for(situation)}: {_told(*_closest(wanted, situation))}"


def _closest(judged: Sequence[Judged], situation: Situation) -> Judged:
    """The build with the fewest rejections, among equal ones the best."""
    fewest = min(len(rejections) for _, rejections in judged)
    return max((pair for pair in judged if len(pair[1]) == fewest), key=lambda pair: rank(pair[0], situation))


def _rejections(candidate: Candidate, situation: Situation) -> tuple[Rejection, ...]:
    """Every filter that says no. The companions are looked up only where they could matter."""
    found = [row for check in CHEAP if (row := check(candidate, situation)) is not None]
    if len(found) < 2:
        found += filter(None, [companions(candidate, situation)])
    return tuple(found)


def _unlocked(judged: Sequence[Judged], situation: Situation) -> dict[Constraint, Unlocked]:
    """For each constraint that can be lifted: the best build for which it is the only one in the way."""
    best: dict[Constraint, Unlocked] = {}
    for candidate, rejections in judged:
        if len(rejections) != 1 or not _can_be_lifted(candidate, rejections[0].because, situation):
            continue
        found = _lift(candidate, rejections, situation)
        known = best.get(found.because)
        if known is None or found.rank > known.rank:
            best[found.because] = found
    return best


def _all_can_be_lifted(candidate: Candidate, rejections: Sequence[Rejection], situation: Situation) -> bool:
    return all(_can_be_lifted(candidate, row.because, situation) for row in rejections)


def _can_be_lifted(candidate: Candidate, because: Constraint, situation: Situation) -> bool:
    if because == "request":
        return candidate.cuda is not None or not situation.cards
    return because in _EASIEST_FIRST


def _lift(candidate: Candidate, rejections: tuple[Rejection, ...], situation: Situation) -> Unlocked:
    because = rejections[0].because
    lifted = {row.because for row in rejections}
    free = situation
    if "driver" in lifted:
        free = msgspec.structs.replace(situation, driver=None, unknown_card=None)
    return Unlocked(
        because=because, candidate=candidate, situation=free, rejections=rejections, rank=rank(candidate, free)
    )


def _hopeless(judged: Sequence[Judged], situation: Situation) -> Blocked:
    """Nothing fits even with one constraint lifted: the build with the fewest rejections tells what is wrong first."""
    honoured = [pair for pair in judged if not any(row.because == "request" for row in pair[1])] or judged
    reachable = [pair for pair in honoured if _all_can_be_lifted(*pair, situation)]
    candidate, rejections = _closest(reachable or honoured, situation)
    first = next((row for row in rejections if row.because in _FINAL), rejections[0])
    nearest, ways = None, list(_no_way(first, situation))
    if reachable:
        nearest = _choice(_lift(candidate, rejections, situation))
        ways = [_way_out(_lift(candidate, (row,), situation), situation) for row in rejections]
        ways[1:] = [f"and {way}" for way in ways[1:]]
    return Blocked(
        by=first.because,
        text=first.text if first.because == "platform" else f"{candidate.name}: {first.text}",
        nearest=nearest,
        ways_out=(*ways, *_jetson(situation)),
    )


def _no_way(first: Rejection, situation: Situation) -> Iterator[str]:
    if first.because == "sm":
        yield from _no_code(situation)
    elif first.because == "platform":
        yield "use a system with glibc (Debian, Ubuntu, Fedora …), for example in a container"


@lru_cache(maxsize=256)
def _last_release_for(tables: Tables, capability: ComputeCapability, platform: str) -> Support | None:
    return tables.architectures.last_release_for(capability, platform)


def _no_code(situation: Situation) -> Iterator[str]:
    for card in situation.cards:
        if card.capability is None:
            continue
        last = _last_release_for(situation.tables, card.capability, situation.target.platform)
        name = wording.card_name(card)
        if last is None:
            yield f"no official torch since 1.7.0 has code for the {name}: use another card, or a torch built for it"
        else:
            yield f"the newest torch with code for the {name} is {last.torch}+{last.variant}"


def _jetson(situation: Situation) -> Iterator[str]:
    boards = [card for card in situation.cards if card.capability in INTEGRATED]
    if boards or situation.target.jetson is not None:
        yield "for Jetson boards NVIDIA publishes torch wheels of its own by JetPack release; envfix does not plan them"


def _choice(unlocked: Unlocked) -> Choice:
    stack = stack_of(unlocked.candidate, unlocked.situation)
    return choice_of(unlocked.candidate, stack if isinstance(stack, Stack) else None, unlocked.situation)


def _way_out(unlocked: Unlocked, situation: Situation) -> str:
    candidate, tag = unlocked.candidate, situation.target.tag
    if unlocked.because == "interpreter":
        other = wording.python_name(_nearest_python(unlocked))
        return f"with {other} instead of {wording.python_name(tag)}: {candidate.name}"
    if unlocked.because == "index":
        mirrors = " or ".join(row.name for row in situation.tables.indexes.mirrors())
        return f"if the official index or a mirror of it answered (--index {mirrors}): {candidate.name}"
    if unlocked.because == "request":
        return f"without {asked_for(situation)}: {candidate.name}"
    if unlocked.because == "glibc":
        release = ".".join(map(str, candidate.file_for(tag).glibc or ()))
        return f"on a system with glibc {release} or newer, for example in a container: {candidate.name}"
    if unlocked.because == "driver":
        return ask_for_driver(candidate, situation)
    return f"without the packages beside torch (--with none): {candidate.name}"


def _nearest_python(unlocked: Unlocked) -> str:
    """The interpreter nearest to the target's that has the build and its companions."""
    stack = stack_of(unlocked.candidate, unlocked.situation)
    if isinstance(stack, Stack):
        return stack.tag
    return unlocked.candidate.file_for(unlocked.situation.target.tag).python


def asked_for(situation: Situation) -> str:
    """The options with which the user narrowed the choice, as typed."""
    request = situation.request
    options = [f"--cuda {request.cuda_text}"] if request.wants != "auto" else []
    options += [f"--torch '{request.torch_text}'"] if request.torch_text else []
    return " and ".join(options) or "a build for the GPU"
