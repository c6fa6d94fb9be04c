"""From a target, a goal and the indexes that answer to a plan: the newest stack that runs, or what blocks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec
from packaging.specifiers import SpecifierSet

from envfix.model.facts import IndexState
from envfix.model.language import later, look_up, say
from envfix.model.plan import Choice, Examination, Goal, Plan, PlanTarget, Rejection, TargetGpu
from envfix.resolver import wording
from envfix.resolver.advice import ask_for_driver, driver_needed
from envfix.resolver.answer import choice_of, commands, pick_cards
from envfix.resolver.candidates import Candidate, candidates
from envfix.resolver.conflict import Change, blocked
from envfix.resolver.examine import examine
from envfix.resolver.gate import Closed, closed
from envfix.resolver.pins import pins
from envfix.resolver.reasons import reasons, why_not_meant
from envfix.resolver.request import Request, read_request
from envfix.resolver.search import Found, best, folded
from envfix.resolver.situation import Situation, situations
from envfix.resolver.sources import Source, read_sources
from envfix.resolver.ultralytics import releases
from envfix.tables.loader import Tables
from envfix.tables.ultralytics import Requirements

_MOST_KINDS_OF_CARDS = 6
ON_CPU = later("to run on the CPU all the same, say so: --cuda cpu")


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that stays the same while a plan is looked for."""

    target: PlanTarget
    request: Request
    tables: Tables
    sources: tuple[Source, ...]
    candidates: list[Candidate]
    releases: dict[str, tuple[Requirements, ...]] | None


def choose(target: PlanTarget, goal: Goal, indexes: Sequence[IndexState], tables: Tables) -> Plan:
    """The plan for a target; the same input gives the same answer. Raises ``UsageError`` for a goal without sense.

    ``indexes`` says which indexes answer. The official index and the default registry are taken as reachable when
    nothing is said of any index, or of that one while planning offline; otherwise one that is not named was not asked
    and counts as not reachable.
    """
    question = _question(target, read_request(goal, tables), indexes, tables)
    stop = _stop(question)
    return _stopped(stop, question) if stop is not None else _planned(question, _cards(question))


def why_not(
    asked: str, target: PlanTarget, goal: Goal, indexes: Sequence[IndexState], tables: Tables
) -> tuple[Examination, ...]:
    """Every build that ``asked`` names (``2.13.0``, ``cu130`` or ``2.13.0+cu130``), filter by filter, newest first.

    Takes what ``choose`` takes. Raises ``UsageError`` where no such build exists for the platform, saying which do.
    """
    question = _question(target, read_request(goal, tables), indexes, tables)
    stop = _stop(question)
    later = stop.afterwards if stop is not None and stop.afterwards is not None else target
    question = msgspec.structs.replace(question, target=later)
    asked_of = _situations(question, _cards(question))
    return examine(asked, question.candidates, asked_of, tables, stop.text if stop else None)


def _question(target: PlanTarget, request: Request, indexes: Sequence[IndexState], tables: Tables) -> _Question:
    return _question_of(target, request, read_sources(indexes, request, tables), tables)


def _question_of(target: PlanTarget, request: Request, sources: tuple[Source, ...], tables: Tables) -> _Question:
    found = candidates(tables, sources, target.platform, target.tag)
    tags = {tag for candidate in found for tag in candidate.build.files} | {target.tag}
    return _Question(
        target=target,
        request=request,
        tables=tables,
        sources=sources,
        candidates=found,
        releases=releases(request, tables, target, sorted(tags)),
    )


def _on_cpu(request: Request) -> bool:
    return request.wants == "cpu" or request.variant == "cpu"


def _stop(question: _Question) -> Closed | None:
    return None if _on_cpu(question.request) else closed(question.target)


def _cards(question: _Question) -> tuple[TargetGpu, ...]:
    """The cards that the stack must serve; without a driver they wait for one."""
    return () if _on_cpu(question.request) or question.target.driver_state == "absent" else question.target.gpus


def _planned(question: _Question, cards: tuple[TargetGpu, ...]) -> Plan:
    asked = _situations(question, cards)
    found, rejected = _search(asked, question)
    if found is not None:
        return _answer(found, asked, question)
    for subset in _subsets(cards):
        fewer = _situations(question, subset)
        found, _ = _search(fewer, question)
        if found is not None:
            return _answer(found, fewer, question, left_out=_without(cards, subset))
    return _conflict(asked, rejected, question)


def _situations(question: _Question, cards: tuple[TargetGpu, ...]) -> tuple[Situation, ...]:
    return situations(question.target, question.request, question.tables, cards=cards, releases=question.releases)


def _search(asked: Sequence[Situation], question: _Question) -> tuple[Found | None, tuple[Rejection, ...]]:
    rejected: tuple[Rejection, ...] = ()
    without_companions: tuple[Rejection, ...] = ()
    for situation in asked:
        result = best(question.candidates, situation)
        if isinstance(result, Found):
            # A later round admits more builds, but stops at the best: what an earlier one refused is still refused.
            return msgspec.structs.replace(result, rejected=(*result.rejected, *without_companions)), ()
        rejected = result
        without_companions += tuple(row for row in result if row.because == "companion")
    return None, rejected


def _answer(
    found: Found, asked: Sequence[Situation], question: _Question, *, left_out: tuple[TargetGpu, ...] = ()
) -> Plan:
    packages = pins(found.candidate, found.stack, found.situation)
    why = list(reasons(found, question.sources))
    if not found.situation.wanted.exact and question.request.wants != "auto":
        why.insert(0, why_not_meant(question.candidates, asked[0]))
        if question.request.wants == "cuda":
            why.append(
                say(
                    "wheels bring their own CUDA: the toolkit (nvcc) and the compiler of this machine do not bound them"
                )
            )
    if left_out:
        why.insert(
            0,
            say(
                "no build runs on all cards: the {cards} is left out by the `export` line given here",
                cards=wording.cards(left_out),
            ),
        )
    return Plan(
        status="ok",
        target=question.target,
        choice=choice_of(found.candidate, found.stack, found.situation),
        pages=((found.candidate.source.name, found.candidate.variant),),
        packages=packages,
        commands=commands(packages, found.candidate, question.request),
        reasons=tuple(why),
        rejected=folded(found.rejected, (found.candidate, *found.fitting)),
        gpu=pick_cards(found.situation.cards, question.target.gpus) if left_out else None,
    )


def _conflict(asked: Sequence[Situation], rejected: Sequence[Rejection], question: _Question) -> Plan:
    last = asked[-1]
    verdict = blocked(question.candidates, last, lambda change: _attempt(question, last.cards, change))
    why = [verdict.text]
    if len(asked) > 1 and question.request.wants != "auto" and question.candidates:
        why.insert(0, why_not_meant(question.candidates, asked[0]))
    if verdict.by == "index":
        said = (source.problem or source.note for source in question.sources if source.asked)
        why += [text for text in said if text is not None and text not in verdict.text]
    return Plan(
        status="conflict",
        target=question.target,
        reasons=tuple(why),
        rejected=folded(rejected),
        blocked_by=verdict.by,
        nearest=verdict.nearest,
        nearest_python=verdict.nearest_python,
        pages=verdict.pages,
        ways_out=(*verdict.ways_out, *(_on_the_cpu(question) if last.cards else ())),
    )


def _attempt(question: _Question, cards: tuple[TargetGpu, ...], change: Change) -> Found | None:
    """What would be chosen if something were different."""
    changed = _changed(question, change)
    return _search(_situations(changed, cards), changed)[0]


def _changed(question: _Question, change: Change) -> _Question:
    target, request, sources = question.target, question.request, question.sources
    if change.python is not None:
        target = msgspec.structs.replace(target, tag=change.python, python=wording.release_of(change.python))
    if change.driver is not None:
        target = msgspec.structs.replace(target, driver=change.driver)
    if change.newer_system:
        target = msgspec.structs.replace(target, libc="glibc", glibc=None)
    if change.any_cuda:
        request = msgspec.structs.replace(request, wants="auto", cuda=None, exact=False, variant=None)
    if change.any_build:
        # Who wants the CPU keeps wanting it: only the torch is another one.
        wants = "cpu" if request.wants == "cpu" and request.torch_text else "auto"
        request = msgspec.structs.replace(
            request, wants=wants, cuda=None, exact=False, torch=SpecifierSet(), torch_text=None, variant=None
        )
    if change.torch_alone:
        request = msgspec.structs.replace(request, packages=(), by_name={}, alone=True)
    if change.every_index:
        sources = tuple(msgspec.structs.replace(source, problem=None) for source in sources)
    if not (change.python or change.every_index or change.torch_alone):
        builds = question.candidates if change.among is None else list(change.among)
        return msgspec.structs.replace(question, target=target, request=request, candidates=builds)
    return _question_of(target, request, sources, question.tables)


def _on_the_cpu(question: _Question) -> tuple[str, ...]:
    """That torch can be had for the CPU, where that is so."""
    request = msgspec.structs.replace(question.request, wants="cpu", cuda=None, cuda_text="cpu")
    if request.variant is not None:
        return ()
    asked = msgspec.structs.replace(question, request=request)
    return (look_up(ON_CPU),) if _search(_situations(asked, ()), asked)[0] is not None else ()


def _stopped(stop: Closed, question: _Question) -> Plan:
    """A conflict of the machine itself; what would be planned once it is mended is named as the nearest answer."""
    ways = list(stop.ways_out)
    nearest: Choice | None = None
    rejected: tuple[Rejection, ...] = ()
    pages: tuple[tuple[str, str], ...] = ()
    if stop.afterwards is not None:
        later = msgspec.structs.replace(question, target=stop.afterwards)
        plan = _planned(later, stop.afterwards.gpus)
        nearest, rejected, pages = plan.choice or plan.nearest, plan.rejected, plan.pages
        ways += _what_then(stop, later, plan)
    return Plan(
        status="conflict",
        target=question.target,
        reasons=(stop.text,),
        rejected=rejected,
        blocked_by=stop.by,
        nearest=nearest,
        pages=pages,
        ways_out=(*ways, *_on_the_cpu(question)),
    )


def _what_then(stop: Closed, later: _Question, plan: Plan) -> Iterator[str]:
    if plan.choice is None:
        yield from plan.reasons
        yield from (way for way in plan.ways_out if way != look_up(ON_CPU))
        return
    choice = plan.choice
    name = wording.build_name(choice.torch, choice.variant, choice.local_label)
    chosen = next(item for item in later.candidates if item.name == name)
    if stop.asks == "install":
        yield ask_for_driver(chosen, _situations(later, later.target.gpus)[0])
    if stop.asks == "name":
        yield say(
            "{name} would need driver {driver_needed}",
            name=name,
            driver_needed=driver_needed(chosen, _situations(later, later.target.gpus)[0]),
        )
    else:
        yield say("afterwards {name} would be installed", name=name)


def _subsets(cards: tuple[TargetGpu, ...]) -> Iterator[tuple[TargetGpu, ...]]:
    """The cards without some kinds of them: as many cards as possible first, then the more capable ones."""
    kinds = sorted({card.capability for card in cards if card.capability is not None}, reverse=True)
    if len(kinds) > _MOST_KINDS_OF_CARDS:
        kinds = kinds[:_MOST_KINDS_OF_CARDS]
    subsets = [
        tuple(card for card in cards if card.capability in kept)
        for size in range(len(kinds) - 1, 0, -1)
        for kept in combinations(kinds, size)
    ]
    yield from sorted(subsets, key=len, reverse=True)


def _without(cards: Sequence[TargetGpu], subset: Sequence[TargetGpu]) -> tuple[TargetGpu, ...]:
    kept = {card.capability for card in subset}
    return tuple(card for card in cards if card.capability not in kept)
