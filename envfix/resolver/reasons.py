"""Why a plan looks as it does, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from packaging.version import Version

from envfix.model.language import say
from envfix.model.words import time_span
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate, missing
from envfix.resolver.filters import CHEAP, compatibility
from envfix.resolver.ranking import doubtful, rank, sureness
from envfix.resolver.search import Found
from envfix.resolver.situation import Situation
from envfix.resolver.sources import Source, title
from envfix.resolver.stack import Stack, stack_of

# Seconds after which an answer of an index is told with its age.
_WORTH_TELLING = 60


def reasons(found: Found, sources: Sequence[Source]) -> Iterator[str]:
    """Why this build was chosen: what decided, what was left aside, what it leans on."""
    yield _decided(found)
    yield from _about_driver(found)
    yield from _about_cpu(found)
    yield from _about_indexes(found, sources)
    yield from _about_sureness(found)
    yield from _about_newer_releases(found, sources)
    yield from _about_glibc(found)
    yield from _about_extras(found)


def _decided(found: Found) -> str:
    situation = found.situation
    where = wording.cards(situation.cards) if situation.cards else say("the CPU")
    within = say(" of those you asked for") if situation.request.torch_text or situation.request.wants != "auto" else ""
    tag = wording.python_name(situation.target.tag)
    return say(
        "{candidate} is the newest{within} whose whole stack runs with {tag} on {where}",
        candidate=found.candidate.name,
        within=within,
        tag=tag,
        where=where,
    )


def _about_driver(found: Found) -> Iterator[str]:
    candidate, situation = found.candidate, found.situation
    how = compatibility(candidate, situation)
    if how == "cpu" or candidate.cuda is None or situation.driver is None:
        return
    drivers = situation.tables.drivers
    floor, own = situation.floor(candidate.cuda), drivers.newest_cuda(situation.driver)
    if floor is None:
        return
    if how == "direct":
        yield say("driver {driver} serves CUDA {cuda} fully", driver=situation.driver, cuda=candidate.cuda)
        return
    yield (
        say(
            "driver {driver} is older than CUDA {cuda}, but every driver from {family} on runs the"
            " CUDA {major} builds (minor-version compatibility)",
            driver=situation.driver,
            cuda=candidate.cuda,
            family=floor.family,
            major=candidate.cuda.major,
        )
    )
    if own is not None and own < candidate.cuda:
        yield say(
            'the "CUDA Version: {own}" that nvidia-smi prints is not a limit for wheels: they bring their own CUDA',
            own=own,
        )


def _about_cpu(found: Found) -> Iterator[str]:
    candidate, situation = found.candidate, found.situation
    if situation.cards or candidate.cuda is None:
        return
    if situation.wanted.kind == "cuda":
        yield say(
            "there is no NVIDIA card here that could use CUDA {cuda}: on this machine it runs on the CPU",
            cuda=candidate.cuda,
        )
        return
    yield (
        say(
            "no CPU build can be had from the indexes that answer: this one carries CUDA {cuda}"
            " libraries that it will not use; torch works on the CPU with it",
            cuda=candidate.cuda,
        )
    )


def _about_indexes(found: Found, sources: Sequence[Source]) -> Iterator[str]:
    yield from _passed_over(found, sources)
    age = found.candidate.source.age
    if age is not None and age >= _WORTH_TELLING:
        yield say(
            "what {title} holds was asked {time_span} ago",
            title=title(found.candidate.source.name),
            time_span=time_span(age),
        )
    if "auto" not in found.situation.request.indexes:
        told = (
            source.problem or source.note for source in sources if source.asked and source is not found.candidate.source
        )
        yield from (text for text in told if text is not None and say("is left out by") not in text)
    usable = [source for source in sources if source.problem is None and (source.files is None or source.files)]
    problem = next((source.problem for source in sources if source.part == "official"), None)
    if any(source.part == "official" for source in usable):
        assumed = [title(source.name) for source in usable if source.assumed]
        if assumed:
            yield say(
                "{assumed} {which} not asked; taken as reachable",
                assumed=wording.listed(assumed),
                which="was" if len(assumed) == 1 else "were",
            )
    elif problem is not None:
        names = list(dict.fromkeys(title(source.name) for source in usable))
        yield say(
            "{problem}, so only what {names} hold{s} counts",
            problem=problem,
            names=wording.listed(names),
            s="s" if len(names) == 1 else "",
        )
    for row in found.rejected:
        if row.because == "companion" and "torchvision::nms" in row.text:
            yield say(
                "torch {torch} ({variant}) is not taken: {row}", torch=row.torch, variant=row.variant, row=row.text
            )


def _passed_over(found: Found, sources: Sequence[Source]) -> Iterator[str]:
    """Why a mirror and not the official index, or not another mirror: what they lack or why they do not answer."""
    chosen = found.candidate.source
    if chosen.part != "official":
        return
    wheel = found.candidate.file_for(found.stack.tag)
    before = [source for source in sources if source.part == "official"]
    for source in before[: before.index(chosen)]:
        yield missing(source, wheel) or say(
            "{title} holds no torchvision for {candidate}", title=title(source.name), candidate=found.candidate.name
        )


def _about_sureness(found: Found) -> Iterator[str]:
    candidate, situation = found.candidate, found.situation
    mine = sureness(candidate, situation)
    better = [
        other
        for other in found.fitting
        if sureness(other, situation) < mine and rank(other, situation)[1:] > rank(candidate, situation)[1:]
    ]
    better.sort(key=lambda other: rank(other, situation)[1:], reverse=True)
    top = next((other for other in better if isinstance(stack_of(other, situation), Stack)), None)
    if top is not None:
        yield (
            say(
                "{top} would fit as well, but that its file exists is not confirmed; it is taken"
                " when an index is seen to list it",
                top=top.name,
            )
        )
    if doubtful(candidate, situation) and candidate.build.code is not None:
        note = f": {candidate.build.code.note}" if candidate.build.code.note else ""
        yield say(
            "that this build has code for the {cards} is not verified{note}",
            cards=wording.cards(situation.cards),
            note=note,
        )
    if mine == 0:
        yield say("that this very file exists follows from other files of its release; it was not seen by name")


def _about_newer_releases(found: Found, sources: Sequence[Source]) -> Iterator[str]:
    if not any(source.files for source in sources):
        return
    trust = found.situation.tables.trust()
    newest = max((version for source in sources for version in _torch_releases(source)), default=trust.newest_torch)
    if newest > trust.newest_torch:
        yield (
            say(
                "torch {newest} is out; the tables of envfix were reviewed on {reviewed} and know"
                " torch up to {newest_torch}, so it is not planned",
                newest=newest,
                reviewed=trust.reviewed,
                newest_torch=trust.newest_torch,
            )
        )


def _torch_releases(source: Source) -> Iterator[Version]:
    for filename in source.files or ():
        if filename.startswith("torch-"):
            text = filename.split("-")[1].partition("+")[0]
            if text.replace(".", "").isdigit():
                yield Version(text)


def _about_glibc(found: Found) -> Iterator[str]:
    target = found.situation.target
    need = found.candidate.file_for(found.stack.tag).glibc
    if target.glibc is None and target.libc != "musl" and need is not None:
        yield say(
            "the version of glibc is not known; this build needs {need}.{need_2} or newer", need=need[0], need_2=need[1]
        )
    elif any(row.because == "glibc" for row in found.rejected):
        newest = max(Version(row.torch) for row in found.rejected if row.because == "glibc")
        yield say(
            "newer builds (up to torch {newest}) need a newer glibc than the {glibc} of this system",
            newest=newest,
            glibc=target.glibc,
        )


def _about_extras(found: Found) -> Iterator[str]:
    """Parts of ultralytics that bring a torch of their own, of which the tables do not know which."""
    asked = found.situation.request.asked("ultralytics")
    for extra in found.situation.tables.ultralytics.extras():
        if asked is not None and extra.name in asked.extras and extra.replaces_torch and not extra.specifier:
            yield say(
                "ultralytics[{extra}] may ask for another torch ({only}): the installer refuses it then",
                extra=extra.name,
                only=extra.only,
            )


def why_not_meant(candidates: Sequence[Candidate], meant: Situation) -> str:
    """Why the CUDA the user named is not what is taken."""
    wanted = meant.wanted.release
    label = f"CUDA {wanted}" if wanted is not None else say("a CPU build")
    of_it = [candidate for candidate in candidates if meant.wanted.admits(candidate.cuda)]
    if not of_it:
        return say("no torch was ever built with {label} for {platform}", label=label, platform=meant.target.platform)
    of_it = [candidate for candidate in of_it if meant.request.accepts(candidate.version)] or of_it
    rejections = {
        id(candidate): [row for check in CHEAP if (row := check(candidate, meant)) is not None] for candidate in of_it
    }
    nearest = min(of_it, key=lambda candidate: (len(rejections[id(candidate)]), -_number(candidate)))
    first = rejections[id(nearest)][:1]
    if first and first[0].because == "interpreter":
        tags = {tag for candidate in of_it for tag in candidate.build.files}
        versions = sorted({candidate.version for candidate in of_it})
        span = (
            say("torch {versions} to {versions_2}", versions=versions[0], versions_2=versions[-1])
            if len(versions) > 1
            else f"torch {versions[0]}"
        )
        return say(
            "{label} itself is not possible here: its builds ({span}) exist for {pythons}"
            " only, and this is {python_name}",
            label=label,
            span=span,
            pythons=wording.pythons(tags),
            python_name=wording.python_name(meant.target.tag),
        )
    text = first[0].text if first else say("its companions are missing")
    name = nearest.name
    return say("{label} itself is not possible here: {name}: {text}", label=label, name=name, text=text)


def _number(candidate: Candidate) -> int:
    release = (*candidate.version.release, 0, 0)
    return release[0] * 10_000 + release[1] * 100 + release[2]
