"""Which releases of ultralytics go with a torch and an interpreter, and how to bound them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from envfix.model.language import say
from envfix.model.plan import PlanTarget
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.request import Request
from envfix.resolver.situation import Situation
from envfix.resolver.specifiers import joined, range_of
from envfix.tables.loader import Tables
from envfix.tables.rows import System, system_of
from envfix.tables.ultralytics import Extra, Requirements

_FIRST_YOLOV8 = Version("8.0.0")
# From here on torch.load refuses pickled models by default.
_WEIGHTS_ONLY = Version("2.6")


@lru_cache(maxsize=2048)
def _allows(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)


@lru_cache(maxsize=8)
def _spans(tables: Tables, system: System) -> tuple[Requirements, ...]:
    return tables.ultralytics.ranges(system)


def releases(
    request: Request, tables: Tables, target: PlanTarget, tags: Iterable[str]
) -> dict[str, tuple[Requirements, ...]] | None:
    """By interpreter: the ultralytics releases that run on it and meet the request; None when it is not asked for."""
    asked = request.asked("ultralytics")
    if asked is None:
        return None
    known = _spans(tables, system_of(target.platform))
    # Where no release meets the request at all, that is what stands in the way, not the interpreter.
    spans = [span for span in known if _touches(span, asked)] or known
    return {tag: tuple(_running_on(tag, spans, target)) for tag in tags}


def _running_on(tag: str, spans: Iterable[Requirements], target: PlanTarget) -> Iterator[Requirements]:
    number = wording.python_of(tag)
    if number is not None:
        short = f"{number[0]}.{number[1]}"
        # A release without its last number is the newest of its line, as everybody has it: `<=3.11` shuts 3.11.7 out.
        python = target.python.rstrip("t+") if target.python.startswith(f"{short}.") else f"{short}.99"
        yield from (span for span in spans if _allows(span.python, python))


def _touches(span: Requirements, asked: Requirement) -> bool:
    """Whether the user's own specifier can be met inside a range; edges are enough to tell."""
    for item in asked.specifier:
        edge = Version(item.version.removesuffix(".*"))
        if item.operator in ("==", "===", "~=") and not _inside(edge, span):
            return False
        if item.operator in ("<", "<=") and (edge < span.first or (edge == span.first and item.operator == "<")):
            return False
        if item.operator in (">", ">=") and span.until is not None and edge >= span.until:
            return False
    return True


def _inside(version: Version, span: Requirements) -> bool:
    return span.first <= version and (span.until is None or version < span.until)


def accepting(candidate: Candidate, situation: Situation, tag: str) -> list[Requirements]:
    """The ranges of releases that accept a torch on an interpreter and can load their weights with it."""
    old_torch = candidate.version < _WEIGHTS_ONLY
    return [
        span
        for span in (situation.releases or {}).get(tag, ())
        if _allows(span.torch, candidate.build.torch) and (old_torch or span.loads_weights_with_torch_2_6)
    ]


def problem(candidate: Candidate, situation: Situation, tag: str) -> str | None:
    """Why no ultralytics goes with a torch; None when one does, or none is asked for."""
    asked = situation.request.asked("ultralytics")
    if asked is None or accepting(candidate, situation, tag):
        return None
    return say(
        "no release of {asked} accepts torch {version} on {python_name}",
        asked=asked,
        version=candidate.version,
        python_name=wording.python_name(tag),
    )


def replaced_by_extras(candidate: Candidate, situation: Situation, tag: str) -> str | None:
    """Why a torch cannot stay beside the extras of ultralytics that the user asked for; None when it can."""
    asked = situation.request.asked("ultralytics")
    for extra in situation.tables.ultralytics.extras():
        counts = asked is not None and extra.name in asked.extras and _speaks_for(extra, situation.target.platform, tag)
        if counts and not _allows(extra.specifier, candidate.build.torch):
            return say(
                "ultralytics[{extra}] asks for torch{specifier} here, not {version}",
                extra=extra.name,
                specifier=extra.specifier,
                version=candidate.version,
            )
    return None


def _speaks_for(extra: Extra, platform: str, tag: str) -> bool:
    here = not extra.platforms or platform in extra.platforms
    return bool(extra.specifier) and here and (not extra.pythons or tag in extra.pythons)


def bound(candidate: Candidate, situation: Situation, tag: str) -> tuple[str, str]:
    """The specifier that leaves only releases that go with a torch, and why; the newest of them is meant."""
    fitting = accepting(candidate, situation, tag)
    because = say(
        "the newest that accepts torch {version} and {python_name}",
        version=candidate.version,
        python_name=wording.python_name(tag),
    )
    asked = situation.request.asked("ultralytics")
    # Whoever asks for a release before YOLOv8 gets one.
    older = asked is not None and range_of([*asked.specifier, Specifier(f">={_FIRST_YOLOV8}")]).is_empty
    specifier = "" if older else ">=8.0"
    if candidate.version >= _WEIGHTS_ONLY:
        specifier = f">={next(span.first for span in fitting if span.loads_weights_with_torch_2_6)}"
        because += say("; older releases cannot load their weights with torch 2.6 and newer")
    if _more_were_left(fitting[-1], situation):
        specifier = joined(specifier, f"<{fitting[-1].until}")
    return specifier, because


def _more_were_left(last: Requirements, situation: Situation) -> bool:
    """Whether the user would take releases after the last range that fits."""
    asked = situation.request.asked("ultralytics")
    spans = _spans(situation.tables, system_of(situation.target.platform))
    return any(span.first == last.until and (asked is None or _touches(span, asked)) for span in spans)
