"""Which conda builds of torch run on a target, the best first: from what the channels list, by the same filters as the wheels.

Each torch release of a channel and each CUDA of it is one candidate, whatever builds of it there are: the solver takes
the best of them that its other packages allow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envfix.model.conda_names import CUDA_IN_BUILD, SUBDIRS
from envfix.model.language import later, look_up, say
from envfix.model.plan import Choice, Constraint, Goal, Plan, PlanTarget, Rejection, TargetGpu
from envfix.model.versions import CudaVersion
from envfix.resolver import wording
from envfix.resolver.candidates import Build, Candidate, runs
from envfix.resolver.conflict import Change, blocked
from envfix.resolver.filters import compatibility, first_rejection
from envfix.resolver.gate import closed
from envfix.resolver.ranking import rank
from envfix.resolver.reasons import reasons, why_not_meant
from envfix.resolver.request import Request, read_request
from envfix.resolver.search import Found, best, folded
from envfix.resolver.situation import Situation, situations
from envfix.resolver.sources import Source
from envfix.resolver.stack import Stack
from envfix.rules._channels import canonical
from envfix.tables.architectures import SmList
from envfix.tables.loader import Tables
from envfix.tables.wheels import Wheel

TORCH = "pytorch"
ON_CPU = later("to run on the CPU all the same, say so: --cuda cpu")
WITH_WHEELS = later("install the wheels instead, which bring their own CUDA: leave out --backend conda")
# What conda calls the packages that other registries know by another name.
NAMES = {
    "torch": TORCH,
    "opencv-python": "opencv",
    "opencv-python-headless": "opencv",
    "tensorboard-data-server": "tensorboard",
}
_DOTTED = re.compile(r"_cuda\d+\.\d+")
# The channels of which the tables know what their builds have code for.
_LISTED = (TORCH, "conda-forge")
_CPU = re.compile(r"(?:^|_)cpu(?=_|py|$)")
_OTHER_MAKERS = re.compile(r"(?:^|_)(?:rocm|hip|xpu)[\d.]*(?=_|py|$)")
_PYTHON = re.compile(r"(?:^|_|(?<=\d)|(?<=cpu))py(?P<major>[23])\.?(?P<minor>\d{1,2})(?P<free>t?)(?=_|h[0-9a-f]{6}|$)")
_ABI = re.compile(r"python_abi\s+\S+\s+\*?_?cp(?P<major>\d)(?P<minor>\d+)(?P<free>t?)")
_BOUND = re.compile(r"python\s+>=(?P<major>\d)\.(?P<minor>\d+)[^,]*,<(?P=major)\.(?P<next>\d+)")
_GLIBC = re.compile(r"__glibc\s+>=(?P<major>\d+)\.(?P<minor>\d+)")
_OLDEST_GLIBC = (2, 17)


class Record(Protocol):
    """A package as a channel lists it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def build(self) -> str:
        """The text that tells its builds apart."""

    @property
    def channel(self) -> str:
        """The channel's name, as the user knows it."""

    @property
    def address(self) -> str:
        """The channel's address."""

    @property
    def filename(self) -> str:
        """The name of its file."""

    @property
    def depends(self) -> tuple[str, ...]:
        """What it needs."""


class Flavour(msgspec.Struct, frozen=True, kw_only=True):
    """What a build string says: ``3.8`` and CUDA 11.1 of ``py3.8_cuda11.1_cudnn8.0.5_0``; ``other`` is none of NVIDIA's."""

    python: str | None
    cuda: CudaVersion | None
    kind: Literal["cuda", "cpu", "other", "plain"]


class RankedBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A torch release for one CUDA from one channel that runs on the target; ``builds`` are its build strings there.

    ``reasons`` say why it would be taken, ``meant`` whether it is what the user asked for and not the second best.
    """

    torch: str
    variant: str
    channel: str
    address: str
    builds: tuple[str, ...]
    choice: Choice
    reasons: tuple[str, ...]
    meant: bool = True

    @property
    def name(self) -> str:
        """The build in words."""
        return wording.build_name(self.torch, self.variant, "")


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Every build that runs on the target, the best first, and why the others do not; ``conflict`` where none does."""

    builds: tuple[RankedBuild, ...]
    rejected: tuple[Rejection, ...]
    conflict: Plan | None = None


class _Question(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that stays the same while builds are looked for."""

    target: PlanTarget
    request: Request
    tables: Tables
    candidates: list[Candidate]
    builds: dict[tuple[str, str, str], tuple[str, ...]]


def read_build(build: str, depends: Iterable[str] = ()) -> Flavour:
    """What a build is for, by its build string and, where that is silent on Python, by what it needs."""
    cuda = CUDA_IN_BUILD.search(build)
    if _OTHER_MAKERS.search(build):
        return Flavour(python=_python(build, depends), cuda=None, kind="other")
    if cuda is not None:
        release = CudaVersion.parse(cuda["dotted"] or f"cu{cuda['short']}")
        return Flavour(python=_python(build, depends), cuda=release, kind="cuda")
    kind: Literal["cpu", "plain"] = "cpu" if _CPU.search(build) else "plain"
    return Flavour(python=_python(build, depends), cuda=None, kind=kind)


def _python(build: str, depends: Iterable[str]) -> str | None:
    match = _PYTHON.search(build) or next((found for text in depends if (found := _ABI.match(text))), None)
    if match is not None:
        return f"{match['major']}.{match['minor']}{match['free']}"
    bound = next((found for text in depends if (found := _BOUND.match(text))), None)
    if bound is not None and int(bound["next"]) == int(bound["minor"]) + 1:
        return f"{bound['major']}.{bound['minor']}"
    return None


def read_variant(variant: str) -> str:
    """What runs inside a build, in words: ``CUDA 11.1`` for cu111."""
    return wording.runtime(variant)


def conda_name(package: str) -> str:
    """What conda calls a package of the Python registry."""
    return NAMES.get(package.lower(), package.lower())


def choose_conda(target: PlanTarget, goal: Goal, records: Sequence[Record], tables: Tables) -> Ranking:
    """The builds of torch among ``records`` that fit, the best first, or the conflict that says what blocks.

    ``records`` come in the order of the channels. The same input gives the same answer. Raises ``UsageError`` for a goal
    without sense.
    """
    request = msgspec.structs.replace(read_request(goal, tables), packages=(), by_name={}, alone=True)
    found = candidates(records, target, tables)
    builds = _builds_for(target, records)
    question = _Question(target=target, request=request, tables=tables, candidates=found, builds=builds)
    stop = None if _on_cpu(request) else closed(target)
    if stop is not None:
        plan = Plan(
            status="conflict",
            target=target,
            reasons=(stop.text,),
            blocked_by=stop.by,
            ways_out=(*stop.ways_out, *_cpu_way(question)),
        )
        return Ranking(builds=(), rejected=(), conflict=plan)
    asked = _situations(question, _cards(question))
    ranked, rejected = _ranked(asked, question)
    if ranked:
        return Ranking(builds=ranked, rejected=rejected)
    return Ranking(builds=(), rejected=rejected, conflict=_conflict(asked, rejected, question, records))


def candidates(records: Sequence[Record], target: PlanTarget, tables: Tables) -> list[Candidate]:
    """The torch builds among the records: one for each release, CUDA and channel, in the order of the channels."""
    groups: dict[tuple[str, str, str], list[tuple[Record, Flavour]]] = {}
    for record in records:
        flavour = read_build(record.build, record.depends)
        if record.name != TORCH or flavour.kind == "other" or _version(record.version) is None:
            continue
        variant = flavour.cuda.variant if flavour.cuda is not None else "cpu"
        groups.setdefault((record.channel, record.version, variant), []).append((record, flavour))
    names = {record.channel: record.address for record in records}
    sources = {
        channel: Source(
            name=channel,
            part="files",
            location=address,
            files=frozenset(record.filename for record in records if record.channel == channel),
        )
        for channel, address in names.items()
    }
    return [
        Candidate(build=_build(version, variant, rows, target, tables), source=sources[channel])
        for (channel, version, variant), rows in groups.items()
    ]


def _version(text: str) -> Version | None:
    try:
        version = Version(text)
    except InvalidVersion:
        return None
    return None if version.is_prerelease else version


def _build(
    version: str, variant: str, rows: Sequence[tuple[Record, Flavour]], target: PlanTarget, tables: Tables
) -> Build:
    cuda = rows[0][1].cuda
    files: dict[str, Wheel] = {}
    for record, flavour in rows:
        # A build that names no Python may run with any: the solver knows.
        tag = _tag(flavour.python) if flavour.python is not None else target.tag
        files.setdefault(tag, _file(record, variant, tag, cuda, target, tables))
    code = _code(rows[0][0], Version(version), cuda, target, tables) if cuda is not None else None
    return Build(
        version=Version(version),
        torch=version,
        variant=variant,
        label="",
        cuda=cuda,
        code=code,
        files=files,
        pythons=wording.pythons(files),
        targets=" ".join(item.sm for item in code.sm) if code else "",
    )


def _tag(python: str) -> str:
    major, _, minor = python.partition(".")
    return f"cp{major}{minor}"


def _file(
    record: Record, variant: str, tag: str, cuda: CudaVersion | None, target: PlanTarget, tables: Tables
) -> Wheel:
    """The package in the form in which the filters look at files."""
    return Wheel(
        package="torch",
        version=Version(record.version),
        local_label="",
        variant=variant,
        filename=record.filename,
        index="official",
        directory=variant,
        platform=target.platform,
        platform_tag=target.platform,
        python=tag,
        abi=tag,
        build=record.build,
        glibc=_glibc(record, cuda, tables) if target.platform.startswith("linux") else None,
        base=None,
        special=False,
        confidence="verified",
        source=say("seen in the channel"),
    )


def _glibc(record: Record, cuda: CudaVersion | None, tables: Tables) -> tuple[int, int]:
    told = next((match for text in record.depends if (match := _GLIBC.match(text))), None)
    if told is not None:
        return int(told["major"]), int(told["minor"])
    known = None
    if cuda is not None and canonical(record.channel) != TORCH:
        known = tables.conda.forge_glibc(Version(record.version), cuda)
    if known is None:
        return _OLDEST_GLIBC
    major, _, minor = known.partition(".")
    return int(major), int(minor)


def _code(record: Record, version: Version, cuda: CudaVersion, target: PlanTarget, tables: Tables) -> SmList:
    """What cards a build has code for: by the table of conda builds, else inferred from wheels or from the CUDA itself."""
    channel = canonical(record.channel)
    known = tables.conda.architectures(channel, version, cuda) if channel in _LISTED else None
    if known is not None:
        return known
    # A copy under another name: how builds are called tells where they come from.
    origin = TORCH if _DOTTED.search(record.build) else "conda-forge"
    known = tables.conda.architectures(origin, version, cuda) if channel not in (*_LISTED, "defaults") else None
    if known is not None:
        note = say("inferred from the channel {origin}, whose builds are called like this one", origin=origin)
        return msgspec.structs.replace(known, confidence="inferred", note=note)
    wheel = tables.architectures.built(version, cuda.variant, target.platform)
    if wheel is not None:
        note = say(
            "inferred from the wheel torch {version}+{variant}, since the tables do not list this conda build",
            version=version,
            variant=cuda.variant,
        )
        return msgspec.structs.replace(wheel, confidence="inferred", note=note)
    drivers = tables.drivers
    cards = [
        capability
        for capability in drivers.capabilities()
        if (row := drivers.capability(capability)) is not None
        and CudaVersion.parse(row.first_cuda) <= cuda
        and (row.last_cuda is None or cuda <= CudaVersion.parse(row.last_cuda))
        and not row.integrated
    ]
    note = say(
        "inferred from what CUDA {cuda} can compile for, since the tables do not list this conda build", cuda=cuda
    )
    return SmList(sm=tuple(cards), cuda=cuda, confidence="inferred", source="drivers", note=note)


def _on_cpu(request: Request) -> bool:
    return request.wants == "cpu" or request.variant == "cpu"


def _cards(question: _Question) -> tuple[TargetGpu, ...]:
    """The cards that the stack must serve."""
    return () if _on_cpu(question.request) or question.target.driver_state == "absent" else question.target.gpus


def _situations(question: _Question, cards: tuple[TargetGpu, ...]) -> tuple[Situation, ...]:
    return situations(question.target, question.request, question.tables, cards=cards, releases=None)


def _ranked(asked: Sequence[Situation], question: _Question) -> tuple[tuple[RankedBuild, ...], tuple[Rejection, ...]]:
    """What fits, round after round: what was meant comes before the second best."""
    found: list[RankedBuild] = []
    taken: list[Candidate] = []
    rejected: list[Rejection] = []
    for number, situation in enumerate(asked):
        fitting: list[Candidate] = []
        rejected = []
        for candidate in question.candidates:
            rejection = first_rejection(candidate, situation)
            if rejection is not None:
                rejected.append(rejection)
            elif candidate not in taken:
                fitting.append(candidate)
        # Of equal builds the one of the earlier channel comes first: sorting keeps their order.
        fitting.sort(
            key=lambda candidate: (not _through_ptx(candidate, situation), rank(candidate, situation)), reverse=True
        )
        taken += fitting
        found += [
            _in_words(candidate, fitting[at + 1 :], rejected, situation, asked, question, meant=number == 0)
            for at, candidate in enumerate(fitting)
        ]
    return tuple(found), folded(rejected, taken)


def _in_words(
    candidate: Candidate,
    rest: Sequence[Candidate],
    rejected: Sequence[Rejection],
    situation: Situation,
    asked: Sequence[Situation],
    question: _Question,
    *,
    meant: bool,
) -> RankedBuild:
    tag = situation.target.tag
    stack = Stack(tag=tag, torchvision=None, torchaudio=None, audio_source=candidate.source.name)
    whole = Found(situation=situation, candidate=candidate, stack=stack, fitting=tuple(rest), rejected=tuple(rejected))
    why = list(reasons(whole, (candidate.source,)))
    if not meant and question.request.wants != "auto":
        why.insert(0, why_not_meant(question.candidates, asked[0]))
    portable = _through_ptx(candidate, situation)
    if portable:
        why.append(
            say(
                "it has no code of its own for the {cards}: the driver compiles it from portable"
                " code (PTX), which makes the first start slow, and CUDA {cuda} itself is older"
                " than that card",
                cards=wording.cards(portable),
                cuda=candidate.cuda,
            )
        )
    doubt = candidate.build.code is not None and candidate.build.code.confidence == "inferred"
    return RankedBuild(
        torch=candidate.build.torch,
        variant=candidate.variant,
        channel=candidate.source.name,
        address=candidate.source.location or "",
        builds=question.builds[candidate.source.name, candidate.build.torch, candidate.variant],
        choice=Choice(
            torch=candidate.build.torch,
            variant=candidate.variant,
            local_label="",
            torchvision=None,
            torchaudio=None,
            index=candidate.source.name,
            index_url=candidate.source.location,
            compatibility=compatibility(candidate, situation),
            confidence="inferred" if doubt and situation.cards else "observed",
        ),
        reasons=tuple(why),
        meant=meant,
    )


def _through_ptx(candidate: Candidate, situation: Situation) -> tuple[TargetGpu, ...]:
    """The cards that have only portable code in a build to run."""
    if candidate.cuda is None:
        return ()
    return tuple(
        card
        for card in situation.cards
        if card.capability is not None and not runs(candidate.build, card.capability, direct=False)
    )


def _builds_for(target: PlanTarget, records: Sequence[Record]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """The build strings for the target's Python, by channel, release and variant."""
    found: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for record in records:
        flavour = read_build(record.build, record.depends)
        if record.name == TORCH and (flavour.python is None or _tag(flavour.python) == target.tag):
            key = (record.channel, record.version, flavour.cuda.variant if flavour.cuda is not None else "cpu")
            found[key] = (*found.get(key, ()), record.build)
    return found


def _conflict(
    asked: Sequence[Situation], rejected: tuple[Rejection, ...], question: _Question, records: Sequence[Record]
) -> Plan:
    if not question.candidates:
        return _nothing_there(question, records)
    last = asked[-1]
    verdict = blocked(question.candidates, last, lambda change: _attempt(question, last.cards, change))
    why = [verdict.text]
    if len(asked) > 1 and question.request.wants != "auto":
        why.insert(0, why_not_meant(question.candidates, asked[0]))
    return Plan(
        status="conflict",
        target=question.target,
        reasons=tuple(why),
        rejected=rejected,
        blocked_by=verdict.by,
        nearest=verdict.nearest,
        nearest_python=verdict.nearest_python,
        ways_out=(*verdict.ways_out, *(_cpu_way(question) if last.cards else ()), *_other_channel(question, records)),
    )


def _nothing_there(question: _Question, records: Sequence[Record]) -> Plan:
    subdir = SUBDIRS.get(question.target.platform, question.target.platform)
    return Plan(
        status="conflict",
        target=question.target,
        reasons=(say("the channels that answer hold no {torch} for {subdir}", torch=TORCH, subdir=subdir),),
        blocked_by="index",
        ways_out=(*_other_channel(question, records), look_up(WITH_WHEELS)),
    )


def _attempt(question: _Question, cards: tuple[TargetGpu, ...], change: Change) -> Found | None:
    """What would be chosen if something were different."""
    changed = _changed(question, change)
    for situation in _situations(changed, cards):
        result = best(changed.candidates, situation)
        if isinstance(result, Found):
            return result
    return None


def _changed(question: _Question, change: Change) -> _Question:
    target, request = question.target, question.request
    if change.python is not None:
        target = msgspec.structs.replace(target, tag=change.python, python=wording.release_of(change.python))
    if change.driver is not None:
        target = msgspec.structs.replace(target, driver=change.driver)
    if change.newer_system:
        target = msgspec.structs.replace(target, libc="glibc", glibc=None)
    if change.any_cuda or change.any_build:
        request = msgspec.structs.replace(request, wants="auto", cuda=None, exact=False, variant=None)
    if change.any_build:
        request = msgspec.structs.replace(request, torch=SpecifierSet(), torch_text=None)
    builds = question.candidates if change.among is None else list(change.among)
    return msgspec.structs.replace(question, target=target, request=request, candidates=builds)


def _cpu_way(question: _Question) -> tuple[str, ...]:
    """That torch can be had for the CPU, where that is so."""
    request = msgspec.structs.replace(question.request, wants="cpu", cuda=None, cuda_text="cpu")
    if request.variant is not None:
        return ()
    asked = msgspec.structs.replace(question, request=request)
    fits = any(isinstance(best(asked.candidates, situation), Found) for situation in _situations(asked, ()))
    return (look_up(ON_CPU),) if fits else ()


def _other_channel(question: _Question, records: Sequence[Record]) -> Iterator[str]:
    """The channel that the tables know to hold what was asked for, where it is not among those asked."""
    request, target = question.request, question.target
    there = {canonical(record.channel) for record in records}
    channel = question.tables.conda.channel(TORCH)
    if TORCH in there or channel is None or target.platform != "linux_x86_64":
        return
    python = ".".join(target.python.split(".")[:2])
    known = question.tables.conda.pytorch_builds(cuda=request.cuda, python=python)
    fitting = [build for build in known if request.accepts(build.torch)]
    if fitting:
        newest = fitting[0]
        yield (
            say(
                "the channel {torch} has torch {torch_2} for CUDA {cuda} and Python {python}: add"
                " {url} to the channels in .condarc",
                torch=TORCH,
                torch_2=newest.torch,
                cuda=newest.cuda,
                python=python,
                url=channel.url,
            )
        )


def as_rejection(build: RankedBuild, text: str) -> Rejection:
    """A build that the solver found no stack for, in the words of the filters."""
    because: Constraint = "driver" if "__cuda" in text else "glibc" if "__glibc" in text else "companion"
    return Rejection(torch=build.torch, variant=build.variant, because=because, text=text)
