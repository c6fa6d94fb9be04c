"""When nothing fits: the one constraint that blocks, the nearest answer, and the ways out in plain sentences.

A way out is never a promise from a table: it is what planning again gives once that one thing is different.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import msgspec

from envfix.model.language import say
from envfix.model.plan import Choice, Constraint, Rejection
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.resolver import wording
from envfix.resolver.advice import ask_for_driver, worth_more
from envfix.resolver.answer import choice_of
from envfix.resolver.candidates import Candidate, nearest_tag
from envfix.resolver.filters import CHEAP, companions
from envfix.resolver.ranking import rank
from envfix.resolver.search import Found
from envfix.resolver.situation import Situation, first_branch, system_of_driver
from envfix.resolver.stack import Stack, stack_of
from envfix.tables.architectures import INTEGRATED, Support
from envfix.tables.gpus import JetPack
from envfix.tables.loader import Tables

_EASIEST_FIRST: tuple[Constraint, ...] = (
    "interpreter",
    "index",
    "request",
    "glibc",
    "platform",
    "driver",
    "companion",
)
_FINAL: tuple[Constraint, ...] = ("platform", "sm")
# How many pairs of constraints, and how many Pythons, are tried before a case counts as hopeless.
_TRIES = 4

Judged = tuple[Candidate, tuple[Rejection, ...]]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What would be different: another interpreter (its tag) or driver, a system with glibc, fewer wishes, every index.

    ``among``: the builds that come into question, where it is known that no other can; None: all of them.
    """

    python: str | None = None
    driver: DriverVersion | None = None
    newer_system: bool = False
    every_index: bool = False
    any_cuda: bool = False
    any_build: bool = False
    torch_alone: bool = False
    among: tuple[Candidate, ...] | None = None


Attempt = Callable[[Change], "Found | None"]


class WayOut(msgspec.Struct, frozen=True, kw_only=True):
    """What planning gives after a change; ``by`` is the constraint it lifts first."""

    by: Constraint
    change: Change
    found: Found


class Blocked(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on a situation in which nothing fits."""

    by: Constraint
    text: str
    nearest: Choice | None
    ways_out: tuple[str, ...]
    nearest_python: str | None = None
    pages: tuple[tuple[str, str], ...] = ()


def blocked(candidates: Sequence[Candidate], situation: Situation, attempt: Attempt) -> Blocked:
    """The constraint whose removal gives the best answer, the answer that is easiest to reach, and how to reach each.

    ``attempt`` plans again with a change. What the user asked for is honoured as long as lifting something else helps.
    """
    if not candidates:
        text = say("there are no torch wheels for {platform}", platform=situation.target.platform)
        return Blocked(by="platform", text=text, nearest=None, ways_out=())
    if situation.unheard_of is not None:
        found = attempt(Change(torch_alone=True))
        way = say("ask for a release that exists (--with), or leave that package out")
        nearest = _choice(found) if found else None
        return Blocked(by="request", text=situation.unheard_of, nearest=nearest, ways_out=(way,))
    judged = [(candidate, _rejections(candidate, situation)) for candidate in candidates]
    ways = list(_single_ways(judged, situation, attempt))
    if not ways:
        return _hopeless(judged, situation, attempt)
    honoured = [way for way in ways if way.by != "request"]
    by, text = _requested_fails(judged, situation)
    if honoured:
        best = max(honoured, key=lambda way: rank(way.found.candidate, way.found.situation))
        by, text = best.by, _told_of(best.found.candidate, judged, best.by)
    return Blocked(
        by=by,
        text=text,
        nearest=_choice(ways[0].found),
        nearest_python=wording.release_of(ways[0].change.python) if ways[0].change.python is not None else None,
        pages=_pages(ways),
        ways_out=(*(line for way in ways for line in _lines(way, situation, attempt)), *_jetson(situation)),
    )


def _single_ways(judged: Sequence[Judged], situation: Situation, attempt: Attempt) -> Iterator[WayOut]:
    """For each constraint that is the only one in the way of some build: what lifting it gives, the easiest first."""
    alone: dict[Constraint, list[Candidate]] = {}
    for candidate, rejections in judged:
        if len(rejections) == 1 and _can_be_lifted(candidate, rejections[0].because, situation):
            alone.setdefault(rejections[0].because, []).append(candidate)
    if "interpreter" in alone and not situation.request.alone:
        # Packages bound the Python too: without them an older torch may run on it.
        alone.setdefault("companion", [])
    for by in _EASIEST_FIRST:
        if by in alone:
            yield from _lifted(by, alone[by], Change(), situation, attempt)


def _lifted(
    by: Constraint, builds: Sequence[Candidate], base: Change, situation: Situation, attempt: Attempt
) -> Iterator[WayOut]:
    """The least change that lifts one constraint on top of others, if there is any (one way at most)."""
    for change in _changes(by, builds, base, situation, attempt):
        found = attempt(change)
        if found is not None:
            yield WayOut(by=by, change=change, found=found)
            return


def _changes(
    by: Constraint, builds: Sequence[Candidate], base: Change, situation: Situation, attempt: Attempt
) -> Iterator[Change]:
    if by == "interpreter":
        yield from _best_python(builds, base, situation, attempt)
    elif by == "driver":
        if base == Change():
            # Nothing else changes: only the builds that the driver alone rules out can come to fit.
            base = Change(among=tuple(builds))
        drivers = _drivers_above(situation.driver, situation)
        least = _least(drivers, lambda driver: attempt(_with(base, driver)) is not None)
        if least is not None:
            yield _with(base, least)
    elif by == "index":
        yield msgspec.structs.replace(base, every_index=True)
    elif by == "request":
        # Another build of the very torch that was asked for is nearer than another torch.
        yield msgspec.structs.replace(base, any_cuda=True)
        yield msgspec.structs.replace(base, any_build=True)
    elif by in ("glibc", "platform"):
        yield msgspec.structs.replace(base, newer_system=True)
    elif by == "companion":
        yield msgspec.structs.replace(base, torch_alone=True)


def _best_python(builds: Sequence[Candidate], base: Change, situation: Situation, attempt: Attempt) -> Iterator[Change]:
    """The Python that gives the newest torch, of several the nearest: a new environment costs the same for each."""
    tried: dict[str, Found | None] = {}
    best: tuple[Found, str] | None = None
    for build in sorted(builds, key=lambda build: rank(build, situation), reverse=True):
        if len(tried) == _TRIES or (best is not None and best[0].candidate.version >= build.version):
            break
        stack = stack_of(build, situation)
        tag = stack.tag if isinstance(stack, Stack) else build.file_for(situation.target.tag).python
        if tag in tried or tag == situation.target.tag:
            continue
        found = tried[tag] = attempt(msgspec.structs.replace(base, python=tag))
        if found is not None and (best is None or found.candidate.version > best[0].candidate.version):
            best = found, tag
    if best is not None:
        yield msgspec.structs.replace(base, python=best[1])


def _with(change: Change, driver: DriverVersion) -> Change:
    return msgspec.structs.replace(change, driver=driver)


def _drivers_above(driver: DriverVersion | None, situation: Situation) -> list[DriverVersion]:
    """The drivers at which something changes for these cards, newer than one, the oldest first."""
    minimums = set(situation.tables.drivers.minimums(system_of_driver(situation.target)))
    first, limit = first_branch(situation.cards, situation.tables), situation.last_branch
    if first is not None:
        minimums.add(DriverVersion.parse(str(first)))
    serving = sorted(minimum for minimum in minimums if limit is None or minimum.branch <= limit)
    if driver is not None and limit is not None and driver.branch > limit:
        return serving[-1:]  # too new for these cards: the last one that serves them is the nearest
    return [minimum for minimum in serving if driver is None or minimum > driver]


def _least(drivers: Sequence[DriverVersion], enough: Callable[[DriverVersion], bool]) -> DriverVersion | None:
    """The oldest driver that is enough; a newer one never takes a build away."""
    if not drivers or not enough(drivers[-1]):
        return None
    return drivers[bisect_left(drivers, 1, hi=len(drivers) - 1, key=enough)]


def _hopeless(judged: Sequence[Judged], situation: Situation, attempt: Attempt) -> Blocked:
    """Nothing fits even with one constraint lifted: what is wrong first, and the least that must be different together."""
    honoured = [pair for pair in judged if not any(row.because == "request" for row in pair[1])] or judged
    reachable = [pair for pair in honoured if all(_can_be_lifted(pair[0], row.because, situation) for row in pair[1])]
    candidate, rejections = _closest(reachable or honoured, situation)
    first = next((row for row in rejections if row.because in _FINAL), rejections[0])
    ways = _together(reachable, situation, attempt)
    lines = [line for way in ways for line in _lines(way, situation, attempt)] or list(_no_way(first, situation))
    return Blocked(
        by=first.because,
        text=first.text if first.because == "platform" else f"{candidate.name}: {first.text}",
        nearest=_choice(ways[-1].found) if ways else None,
        pages=_pages(ways),
        ways_out=(*lines[:1], *(say("and {line}", line=line) for line in lines[1:]), *_jetson(situation)),
    )


def _together(reachable: Sequence[Judged], situation: Situation, attempt: Attempt) -> list[WayOut]:
    """Changes that give an answer only together: one way out for each, all with that answer; empty when none do."""
    tried: list[tuple[Constraint, ...]] = []
    ordered = sorted(reachable, key=lambda pair: (-len(pair[1]), rank(pair[0], situation)), reverse=True)
    for candidate, rejections in ordered:
        causes = tuple(by for by in _EASIEST_FIRST if any(row.because == by for row in rejections))
        if causes in tried:
            continue
        tried.append(causes)
        if len(tried) > _TRIES:
            break
        change = _all_at_once(causes, candidate, situation, attempt)
        found = attempt(change) if change is not None else None
        if change is not None and found is not None:
            return [WayOut(by=by, change=change, found=found) for by in causes]
    return []


def _all_at_once(
    causes: Sequence[Constraint], candidate: Candidate, situation: Situation, attempt: Attempt
) -> Change | None:
    """One change for several constraints; the driver last, because which one is needed depends on the rest."""
    change = Change()
    for by in causes:
        if by == "interpreter":
            own = situation.target.tag
            others = [tag for tag in candidate.build.files if tag != own and situation.packages_run_on(tag)]
            if not others:
                return None
            change = msgspec.structs.replace(change, python=nearest_tag(own, others))
        elif by != "driver":
            change = next(_changes(by, [candidate], change, situation, attempt))
    if "driver" in causes:
        return next(_changes("driver", [candidate], change, situation, attempt), None)
    return change


def _rejections(candidate: Candidate, situation: Situation) -> tuple[Rejection, ...]:
    """Every filter that says no. The companions are looked up only where they could matter."""
    found = [row for check in CHEAP if (row := check(candidate, situation)) is not None]
    if len(found) < 2:
        found += filter(None, [companions(candidate, situation)])
    return tuple(found)


def _can_be_lifted(candidate: Candidate, because: Constraint, situation: Situation) -> bool:
    if because == "request":
        return candidate.cuda is not None or not situation.cards
    return because in _EASIEST_FIRST


def _told_of(candidate: Candidate, judged: Sequence[Judged], by: Constraint) -> str:
    """Why a build does not fit as things are: the reason of this constraint, else the most final one."""
    for other, rejections in judged:
        if (other.key, other.build.label, other.source.name) == (
            candidate.key,
            candidate.build.label,
            candidate.source.name,
        ):
            row = next((row for row in rejections if row.because == by), None) or _most_final(rejections)
            return f"{candidate.name}: {row.text}" if row is not None else candidate.name
    return candidate.name


def _most_final(rejections: Sequence[Rejection]) -> Rejection | None:
    return next((row for row in rejections if row.because in _FINAL), rejections[0] if rejections else None)


def _requested_fails(judged: Sequence[Judged], situation: Situation) -> tuple[Constraint, str]:
    """What keeps the builds that the user asked for from fitting; the request itself where there are none."""
    wanted = [pair for pair in judged if not any(row.because == "request" for row in pair[1])]
    if not wanted:
        return "request", say(
            "there is no build for {asked_for} on {platform}",
            asked_for=asked_for(situation),
            platform=situation.target.platform,
        )
    candidate, rejections = _closest(wanted, situation)
    row = _most_final(rejections)
    assert row is not None  # noqa: S101 - a build without a rejection would have been the answer
    return row.because, say(
        "nothing fits {asked_for}: {candidate}: {row}",
        asked_for=asked_for(situation),
        candidate=candidate.name,
        row=row.text,
    )


def _closest(judged: Sequence[Judged], situation: Situation) -> Judged:
    """The build with the fewest rejections, among equal ones the best."""
    fewest = min(len(rejections) for _, rejections in judged)
    return max((pair for pair in judged if len(pair[1]) == fewest), key=lambda pair: rank(pair[0], situation))


def _no_way(first: Rejection, situation: Situation) -> Iterator[str]:
    if first.because == "sm":
        yield from _no_code(situation)
    elif first.because == "platform":
        yield say("use a system with glibc (Debian, Ubuntu, Fedora …), for example in a container")


@lru_cache(maxsize=256)
def _last_release_for(tables: Tables, capability: ComputeCapability, platform: str) -> Support | None:
    return tables.architectures.last_release_for(capability, platform)


def _no_code(situation: Situation) -> Iterator[str]:
    platform = situation.target.platform
    for card in situation.cards:
        if card.capability is None:
            continue
        last = _last_release_for(situation.tables, card.capability, platform)
        name = wording.card_name(card)
        if last is None:
            yield (
                say(
                    "no official torch for {platform} since 1.7.0 has code for the {name}: use"
                    " another card, or a torch built for it",
                    platform=platform,
                    name=name,
                )
            )
        else:
            yield say(
                "the newest torch for {platform} with code for the {name} is {torch}+{variant}",
                platform=platform,
                name=name,
                torch=last.torch,
                variant=last.variant,
            )


def is_jetson(situation: Situation) -> bool:
    """Whether the cards are part of a Jetson board whose driver comes with JetPack and which needs wheels of its own."""
    pack = _jetpack(situation)
    if pack is not None:
        return not pack.runs_server_wheels
    return situation.target.jetson is not None or any(card.capability in INTEGRATED for card in situation.cards)


def _jetpack(situation: Situation) -> JetPack | None:
    release, tables = situation.target.jetson, situation.tables
    return tables.gpus.jetpack_of(release, tables.indexes) if release is not None else None


def _jetson(situation: Situation) -> Iterator[str]:
    if not is_jetson(situation):
        return
    pack = _jetpack(situation)
    yield say("the driver of a Jetson board comes with JetPack: it is updated by a newer JetPack, not by itself")
    if pack is not None and pack.address is not None:
        yield say(
            "for JetPack {jetpack} NVIDIA publishes torch wheels of its own, which envfix does not plan: {address}",
            jetpack=pack.jetpack,
            address=pack.address,
        )
    else:
        yield say(
            "for Jetson boards NVIDIA publishes torch wheels of its own by JetPack release; envfix does not plan them"
        )


def _pages(ways: Sequence[WayOut]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((way.found.candidate.source.name, way.found.candidate.variant) for way in ways))


def _choice(found: Found) -> Choice:
    return choice_of(found.candidate, found.stack, found.situation)


def _lines(way: WayOut, situation: Situation, attempt: Attempt) -> Iterator[str]:
    """A way out in words, with what it gives."""
    name, tag = way.found.candidate.name, situation.target.tag
    if way.by == "interpreter" and way.change.python is not None:
        yield say(
            "with {python_name} instead of {python_name_2}: {name}",
            python_name=wording.python_name(way.change.python),
            python_name_2=wording.python_name(tag),
            name=name,
        )
    elif way.by == "index":
        yield f"{_index_wish(way.found, situation)}: {name}"
    elif way.by == "request":
        yield say("without {wish_dropped}: {name}", wish_dropped=_wish_dropped(way.change, situation), name=name)
    elif way.by == "glibc":
        release = ".".join(map(str, way.found.candidate.file_for(way.found.stack.tag).glibc or ()))
        yield say(
            "on a system with glibc {release} or newer, for example in a container: {name}", release=release, name=name
        )
    elif way.by == "platform":
        yield say("on a system with glibc (Debian, Ubuntu, Fedora …), for example in a container: {name}", name=name)
    elif way.by == "driver" and way.change.driver is not None and not is_jetson(situation):
        yield ask_for_driver(way.found.candidate, situation, way.change.driver)
        yield from _more_by_driver(way, situation, attempt)
    elif way.by == "companion":
        yield say("without the packages beside torch (--with none): {name}", name=name)


def _index_wish(found: Found, situation: Situation) -> str:
    asked = situation.request.indexes
    if "auto" not in asked:
        return say("from every index (without --index {asked})", asked=" --index ".join(asked))
    mirrors = say(" or ").join(row.name for row in situation.tables.indexes.mirrors())
    place = (
        say("the default registry")
        if found.candidate.source.part == "registry"
        else say("the official index or a mirror")
    )
    return (
        say("if {place} of it answered (--index {mirrors})", place=place, mirrors=mirrors)
        if "mirror" in place
        else say("if {place} answered", place=place)
    )


def _more_by_driver(way: WayOut, situation: Situation, attempt: Attempt) -> Iterator[str]:
    """The newest torch that a driver update could bring, where the least update brings an older one."""
    drivers = _drivers_above(way.change.driver, situation)
    best = attempt(_with(way.change, drivers[-1])) if drivers else None
    if best is None or best.candidate.version <= way.found.candidate.version:
        return

    def is_as_new(driver: DriverVersion) -> bool:
        found = attempt(_with(way.change, driver))
        return found is not None and found.candidate.version >= best.candidate.version

    driver = _least(drivers, is_as_new)
    found = attempt(_with(way.change, driver)) if driver is not None else None
    if driver is not None and found is not None:
        yield worth_more(found.candidate, driver)


def _wish_dropped(change: Change, situation: Situation) -> str:
    request = situation.request
    if not change.any_cuda:
        return (
            f"--torch '{request.torch_text}'" if request.wants == "cpu" and request.torch_text else asked_for(situation)
        )
    label = [say("the label +{variant}", variant=request.variant)] if request.variant is not None else []
    return say(" and ").join([*label, *([f"--cuda {request.cuda_text}"] if request.wants != "auto" else [])])


def asked_for(situation: Situation) -> str:
    """The options with which the user narrowed the choice, as typed."""
    request = situation.request
    options = [f"--cuda {request.cuda_text}"] if request.wants != "auto" else []
    options += [f"--torch '{request.torch_text}'"] if request.torch_text else []
    return say(" and ").join(options) or say("a build for the GPU")
