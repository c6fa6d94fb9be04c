"""What goes with a torch build: torchvision and torchaudio of the same build, and nothing that contradicts it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.version import Version

from envfix.model.language import say
from envfix.model.plan import REGISTRY
from envfix.resolver import ultralytics, wording
from envfix.resolver.candidates import Candidate, nearest_tag, parse_wheel
from envfix.resolver.situation import Situation
from envfix.resolver.sources import Source
from envfix.tables.companions import Companions
from envfix.tables.loader import Tables
from envfix.tables.wheels import Wheel

Companion = Literal["torchvision", "torchaudio"]


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
    row = _row(tables, candidate.version)
    tag = _tag(candidate, situation)
    torchvision = _companion("torchvision", row, candidate, situation, tag)
    if torchvision is None and not request.alone:
        return StackProblem(text=_no_torchvision(candidate, row, request.asked("torchvision"), tag))
    torchaudio = _companion("torchaudio", row, candidate, situation, tag)
    if torchaudio is None and request.asked("torchaudio") is not None:
        return StackProblem(
            text=say(
                "there is no torchaudio for {candidate} and {python_name}",
                candidate=candidate.name,
                python_name=wording.python_name(tag),
            )
        )
    problem = (
        ultralytics.problem(candidate, situation, tag)
        or ultralytics.replaced_by_extras(candidate, situation, tag)
        or _numpy_problem(candidate, situation, tag)
    )
    if problem is not None:
        return StackProblem(text=problem)
    source = candidate.source.name if torchaudio is None or torchaudio.index != "pypi" else REGISTRY
    return Stack(tag=tag, torchvision=torchvision, torchaudio=torchaudio, audio_source=source)


@lru_cache(maxsize=256)
def _row(tables: Tables, torch: Version) -> Companions | None:
    return tables.companions.of(torch)


@lru_cache(maxsize=8192)
def _known_files(
    tables: Tables, package: Companion, version: Version, variant: str, tag: str, platform: str, index: str
) -> tuple[Wheel, ...]:
    return tables.wheels.find(package, version=version, variant=variant, python=tag, platform=platform, index=index)


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
    index = "official" if source.part == "official" else REGISTRY
    for wheel in _known_files(situation.tables, package, version, candidate.variant, tag, platform, index):
        # A place that cannot be asked now is taken to hold the companions: the index filter speaks for it.
        if candidate.problem is None and not source.holds(wheel):
            continue
        if source.part == "official" and not wheel.directory:
            # The oldest torchaudio lie in the base folder of the official index, which no index address serves.
            return next(iter(_registered(package, version, situation, tag)), wheel)
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
    yield from _registered("torchaudio", version, situation, tag)


def _registered(package: Companion, version: Version, situation: Situation, tag: str) -> tuple[Wheel, ...]:
    platform = situation.target.platform
    return situation.tables.wheels.find(package, version=version, python=tag, platform=platform, index=REGISTRY)


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
        return say("the tables do not know which torchvision goes with torch {version}", version=candidate.version)
    wanted = say(" or ").join(f"{version}{candidate.build.label}" for version in row.torchvision)
    if asked is not None and not any(
        asked.specifier.contains(version, prereleases=True) for version in row.torchvision
    ):
        return say(
            "torch {version} goes with torchvision {wanted}, not {specifier}",
            version=candidate.version,
            wanted=wanted,
            specifier=asked.specifier,
        )
    text = say(
        "torchvision {wanted} for {python_name} is not in {place}",
        wanted=wanted,
        python_name=wording.python_name(tag),
        place=place(candidate.source),
    )
    if candidate.source.part == "files":
        text += say(
            "; beside a torchvision of another build, {candidate} fails when it runs: operator"
            " torchvision::nms does not exist",
            candidate=candidate.name,
        )
    return text


def place(source: Source) -> str:
    """Where a build lies, in words."""
    words = {"official": say("the official index"), "registry": say("the default registry")}
    return words.get(source.part, f"{source.name} {source.location or ''}".strip())


def _numpy_problem(candidate: Candidate, situation: Situation, tag: str) -> str | None:
    """What the user asked for that cannot stand beside a torch built against NumPy 1."""
    for name, bound in numpy_1_bounds(candidate, situation, tag).items():
        asked = situation.request.asked(name)
        if asked is not None and any(_exceeds(item, bound) for item in asked.specifier):
            return say(
                "it was built against NumPy 1, which needs {name}{bound}, and you asked for {asked}",
                name=name,
                bound=bound,
                asked=asked,
            )
    return None


def _exceeds(item: Specifier, bound: str) -> bool:
    lower = item.operator in ("==", "===", ">=", ">", "~=")
    return lower and not SpecifierSet(bound).contains(item.version.removesuffix(".*"), prereleases=True)


def numpy_1_bounds(candidate: Candidate, situation: Situation, tag: str) -> dict[str, str]:
    """What must stay below which version beside this build because it was built against NumPy 1; empty for NumPy 2."""
    table = situation.tables.companions
    if table.numpy_major(candidate.version, situation.target.platform, tag) != 1:
        return {}
    return {"numpy": "<2", **table.numpy_1_bounds(tag)}
