"""What goes with a torch build: torchvision and torchaudio of the same build, and bounds so that nothing replaces it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from envfix.model.plan import PackagePin, PlanTarget
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate, nearest_tag, parse_wheel
from envfix.resolver.request import Request
from envfix.resolver.situation import Situation
from envfix.resolver.sources import REGISTRY, Source
from envfix.tables.companions import Companions
from envfix.tables.loader import Tables
from envfix.tables.rows import System, system_of
from envfix.tables.ultralytics import Requirements
from envfix.tables.wheels import Wheel

FAMILY = ("torch", "torchvision", "torchaudio")
Companion = Literal["torchvision", "torchaudio"]
_FIRST_YOLOV8 = "8.0"
_WEIGHTS_ONLY = Version("2.6")
# The last NumPy 1 of each Python, enough to tell whether a specifier leaves any NumPy 1 at all.
_NUMPY_1 = ("1.19.5", "1.21.6", "1.24.4", "1.26.4")


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """The companions of a torch build: their files, for the interpreter ``tag``; None where there is none."""

    tag: str
    torchvision: Wheel | None
    torchaudio: Wheel | None
    audio_source: str


class StackProblem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a torch build has no stack."""

    text: str


def stack_of(candidate: Candidate, situation: Situation) -> Stack | StackProblem:
    """The companions of a build from the place it comes from, or why there are none."""
    request, tables = situation.request, situation.tables
    row = tables.companions.of(candidate.version)
    tag = _tag(candidate, situation)
    torchvision = _companion("torchvision", row, candidate, situation, tag)
    if torchvision is None and not request.alone:
        return StackProblem(text=_no_torchvision(candidate, row, request.asked("torchvision"), tag))
    torchaudio = _companion("torchaudio", row, candidate, situation, tag)
    if torchaudio is None and request.asked("torchaudio") is not None:
        return StackProblem(text=f"there is no torchaudio for {candidate.name} and {wording.python_name(tag)}")
    problem = _ultralytics_problem(candidate, situation, tag) or _numpy_problem(candidate, situation, tag)
    if problem is not None:
        return StackProblem(text=problem)
    source = candidate.source.name if torchaudio is None or torchaudio.index != "pypi" else REGISTRY
    return Stack(tag=tag, torchvision=torchvision, torchaudio=torchaudio, audio_source=source)


def _tag(candidate: Candidate, situation: Situation) -> str:
    files = candidate.build.files
    tags = [tag for tag in files if situation.packages_run_on(tag)] or files
    wanted = situation.target.tag
    return wanted if wanted in tags else nearest_tag(wanted, tags)


def _companion(
    package: Companion, row: Companions | None, candidate: Candidate, situation: Situation, tag: str
) -> Wheel | None:
    asked = situation.request.asked(package)
    avoided = {avoid.version for avoid in row.avoid} if row else set()
    listed = (row.torchvision if package == "torchvision" else row.torchaudio) if row else ()
    versions = [
        version for version in listed if version not in avoided or (asked and str(version) in str(asked.specifier))
    ]
    for version in versions:
        if asked is None or asked.specifier.contains(version, prereleases=True):
            wheel = _companion_file(package, version, candidate, situation, tag)
            if wheel is not None:
                return wheel
    return None


def _companion_file(
    package: Companion, version: Version, candidate: Candidate, situation: Situation, tag: str
) -> Wheel | None:
    source, platform = candidate.source, situation.target.platform
    if source.part == "files":
        return _listed_file(package, version, candidate, situation, tag)
    find = situation.tables.wheels.find
    index = "official" if source.part == "official" else REGISTRY
    for wheel in find(package, version=version, variant=candidate.variant, python=tag, platform=platform, index=index):
        # A place that cannot be asked now is taken to hold the companions: the index filter speaks for it.
        if candidate.problem is None and not source.holds(wheel):
            continue
        if source.part == "official" and not wheel.directory:
            # The oldest torchaudio lie in the base folder of the official index, which no index address serves.
            return next(iter(find(package, version=version, python=tag, platform=platform, index=REGISTRY)), wheel)
        return wheel
    seen = _listed_file(package, version, candidate, situation, tag)
    if seen is None and package == "torchaudio":
        # Built for one CUDA on the registry but used with any since 2.11; the oldest ones carry no CUDA at all.
        return next(iter(_free_torchaudio(version, candidate, situation, tag)), None)
    return seen


def _free_torchaudio(version: Version, candidate: Candidate, situation: Situation, tag: str) -> Iterator[Wheel]:
    """The registry's torchaudio, where its metadata binds it to no torch or the build is the registry's own."""
    tables = situation.tables
    if candidate.source.part != "registry" and tables.companions.pin_of("torchaudio", version) != "":
        return
    yield from tables.wheels.find(
        "torchaudio", version=version, python=tag, platform=situation.target.platform, index=REGISTRY
    )


def _listed_file(
    package: Companion, version: Version, candidate: Candidate, situation: Situation, tag: str
) -> Wheel | None:
    prefix = f"{package}-{version}{candidate.build.label}-"
    for filename in sorted(candidate.source.files or ()):
        if filename.startswith(prefix):
            for wheel in parse_wheel(filename, situation.tables, situation.target.platform):
                if wheel.python in (tag, "py3") and wheel.variant == candidate.variant:
                    return wheel
    return None


def _no_torchvision(candidate: Candidate, row: Companions | None, asked: Requirement | None, tag: str) -> str:
    if row is None:
        return f"the tables do not know which torchvision goes with torch {candidate.version}"
    wanted = " or ".join(f"{version}{candidate.build.label}" for version in row.torchvision)
    if asked is not None and not any(
        asked.specifier.contains(version, prereleases=True) for version in row.torchvision
    ):
        return f"torch {candidate.version} goes with torchvision {wanted}, not {asked.specifier}"
    text = f"torchvision {wanted} for {wording.python_name(tag)} is not in {_place(candidate.source)}"
    if candidate.source.part == "files":
        text += (
            f"; beside a torchvision of another build, {candidate.name} fails when it runs:"
            " operator torchvision::nms does not exist"
        )
    return text


def _place(source: Source) -> str:
    words = {"official": "the official index", "registry": "the default registry"}
    return words.get(source.part, f"{source.name} {source.location or ''}".strip())


# ultralytics: which releases go with this torch and interpreter.


@lru_cache(maxsize=2048)
def _allows(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(version, prereleases=True)


@lru_cache(maxsize=8)
def _spans(tables: Tables, system: System) -> tuple[Requirements, ...]:
    return tables.ultralytics.ranges(system)


def ultralytics_releases(
    request: Request, tables: Tables, target: PlanTarget, tags: Iterable[str]
) -> dict[str, tuple[Requirements, ...]] | None:
    """By interpreter: the ultralytics releases that run on it and meet the request; None when it is not asked for."""
    asked = request.asked("ultralytics")
    if asked is None:
        return None
    spans = [span for span in _spans(tables, system_of(target.platform)) if _touches(span, asked)]
    return {tag: tuple(_running_on(tag, spans, target)) for tag in tags}


def _running_on(tag: str, spans: Iterable[Requirements], target: PlanTarget) -> Iterator[Requirements]:
    number = wording.python_of(tag)
    if number is not None:
        short = f"{number[0]}.{number[1]}"
        python = target.python if target.python.startswith(f"{short}.") else short
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


def _accepting(candidate: Candidate, situation: Situation, tag: str) -> list[Requirements]:
    return [
        span
        for span in (situation.releases or {}).get(tag, ())
        if _allows(span.torch, candidate.build.torch)
        and (span.loads_weights_with_torch_2_6 or candidate.version < _WEIGHTS_ONLY)
    ]


def _ultralytics_problem(candidate: Candidate, situation: Situation, tag: str) -> str | None:
    asked = situation.request.asked("ultralytics")
    if asked is None or _accepting(candidate, situation, tag):
        return None
    return f"no release of {asked} accepts torch {candidate.version} on {wording.python_name(tag)}"


def _numpy_problem(candidate: Candidate, situation: Situation, tag: str) -> str | None:
    asked = situation.request.asked("numpy")
    if asked is None or any(asked.specifier.contains(release) for release in _NUMPY_1):
        return None
    if situation.tables.companions.numpy_major(candidate.version, situation.target.platform, tag) == 1:
        return f"it was built against NumPy 1, and you asked for {asked}"
    return None


# Pins and bounds.


def pins(candidate: Candidate, stack: Stack, situation: Situation) -> tuple[PackagePin, ...]:
    """The whole stack: torch and its family pinned with their local labels, the rest bounded, each with its reason."""
    source = candidate.source.name
    found = [
        PackagePin(
            name="torch", specifier=_exact(candidate.file_for(stack.tag)), index=source, because=_why_torch(candidate)
        )
    ]
    request = situation.request
    if stack.torchvision is not None and not request.alone:
        why = f"the torchvision that was built with torch {candidate.version}"
        found.append(PackagePin(name="torchvision", specifier=_exact(stack.torchvision), index=source, because=why))
    if stack.torchaudio is not None and request.asked("torchaudio") is not None:
        why = f"you asked for it; it goes with torch {candidate.version}"
        specifier = _exact(stack.torchaudio)
        found.append(PackagePin(name="torchaudio", specifier=specifier, index=stack.audio_source, because=why))
    found += _bounds(candidate, stack, situation)
    found += _others(request.packages, {pin.name for pin in found})
    return tuple(found)


def constraints(packages: Iterable[PackagePin]) -> str:
    """A constraints file for pip and uv: one line for each pin or bound, so that no later package replaces torch."""
    return "".join(f"{pin.name}{pin.specifier}\n" for pin in packages if pin.specifier)


def _exact(wheel: Wheel) -> str:
    return f"=={wheel.version}{wheel.local_label}"


def _why_torch(candidate: Candidate) -> str:
    if candidate.build.label:
        return "the exact build, local label included, so that no other one can take its place"
    return f"the build of {_place(candidate.source)}, with {wording.runtime(candidate.variant)} inside"


def _bounds(candidate: Candidate, stack: Stack, situation: Situation) -> Iterator[PackagePin]:
    table, asked = situation.tables.companions, situation.request.asked
    if table.numpy_major(candidate.version, situation.target.platform, stack.tag) == 1:
        bounds = {"numpy": "<2", **table.numpy_1_bounds(stack.tag)}
        why = {"numpy": f"torch {candidate.version} was built against NumPy 1 and cannot exchange arrays with NumPy 2"}
        for name, bound in bounds.items():
            if name in ("numpy", "opencv-python") or asked(name) is not None:
                specifier = _joined(asked(name), bound)
                because = why.get(name, f"{name} {bound.lstrip('<')} and newer asks for NumPy 2")
                yield PackagePin(
                    name=name, specifier=specifier, index=REGISTRY, because=because, bound_only=asked(name) is None
                )
    if asked("ultralytics") is not None:
        yield _ultralytics_pin(candidate, stack, situation)


def _ultralytics_pin(candidate: Candidate, stack: Stack, situation: Situation) -> PackagePin:
    accepting = _accepting(candidate, situation, stack.tag)
    oldest_for_weights = next((span.first for span in accepting if span.loads_weights_with_torch_2_6), None)
    bounds, because = (
        f">={_FIRST_YOLOV8}",
        f"the newest that accepts torch {candidate.version} and {wording.python_name(stack.tag)}",
    )
    if candidate.version >= _WEIGHTS_ONLY and oldest_for_weights is not None:
        bounds = f">={oldest_for_weights}"
        because += "; older releases cannot load their weights with torch 2.6 and newer"
    if _more_were_left(accepting[-1], situation):
        bounds += f",<{accepting[-1].until}"
    asked = situation.request.asked("ultralytics")
    return PackagePin(name="ultralytics", specifier=_joined(asked, bounds), index=REGISTRY, because=because)


def _more_were_left(last: Requirements, situation: Situation) -> bool:
    """Whether the user would take releases after the last range that fits."""
    asked = situation.request.asked("ultralytics")
    spans = _spans(situation.tables, system_of(situation.target.platform))
    return any(span.first == last.until and (asked is None or _touches(span, asked)) for span in spans)


def _joined(asked: Requirement | None, bound: str) -> str:
    """The user's own specifier and ours in one; an exact pin of the user's needs no bound beside it."""
    own = str(asked.specifier) if asked is not None else ""
    if own.startswith("=="):
        return own
    return ",".join(part for part in (own, bound) if part)


def _others(packages: Iterable[Requirement], named: set[str]) -> Iterator[PackagePin]:
    for requirement in packages:
        name = canonicalize_name(requirement.name)
        if name not in named:
            specifier = str(requirement.specifier)
            yield PackagePin(name=name, specifier=specifier, index=REGISTRY, because="you asked for it")
