"""Every torch build that comes into question: rows of the tables, confirmed or extended by what indexes list."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from functools import lru_cache

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from envfix.model.language import say
from envfix.model.plan import REGISTRY
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.resolver import wording
from envfix.resolver.sources import Source, title
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables
from envfix.tables.wheels import Package, Wheel, platform_of

_GLIBC = re.compile(r"manylinux_(\d+)_(\d+)_")
_LABELS = re.compile(r"cpu|cu\d{2,3}")


class Build(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One torch build of one part (official index, default registry, a folder) with its files by interpreter tag.

    ``cuda`` is what runs inside (None: a CPU build), ``label`` the local part of its version, ``code`` what cards it
    has code for (None: a CPU build, or not known). ``torch``, ``pythons`` and ``targets`` are its version, its
    interpreters and its code in words.
    """

    version: Version
    torch: str
    variant: str
    label: str
    cuda: CudaVersion | None
    code: SmList | None
    files: dict[str, Wheel]
    pythons: str
    targets: str


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A build and the place that would serve it; ``problem`` says why that place cannot do so now (None: it can)."""

    build: Build
    source: Source
    problem: str | None = None

    @property
    def version(self) -> Version:
        """The torch release, without the local label."""
        return self.build.version

    @property
    def variant(self) -> str:
        """What runs inside: ``cpu`` or ``cu118``."""
        return self.build.variant

    @property
    def cuda(self) -> CudaVersion | None:
        """The CUDA inside; None for a CPU build."""
        return self.build.cuda

    @property
    def name(self) -> str:
        """The build in words: ``torch 2.7.1+cu118``."""
        return wording.build_name(self.build.torch, self.build.variant, self.build.label)

    @property
    def key(self) -> tuple[str, str]:
        """Version and variant, wherever the build lies."""
        return self.build.torch, self.build.variant

    def file_for(self, tag: str) -> Wheel:
        """The file for an interpreter, or for the nearest one that has a file."""
        return self.build.files.get(tag) or _nearest_file(self.build, tag)


@lru_cache(maxsize=8192)
def _nearest_file(build: Build, tag: str) -> Wheel:
    return build.files[nearest_tag(tag, build.files)]


@lru_cache(maxsize=16384)
def runs(build: Build, capability: ComputeCapability, *, direct: bool) -> bool:
    """Whether a build has code for a card: binaries, and with a ``direct`` driver also portable code (PTX)."""
    return build.code is not None and bool(runs_on(capability, build.code, driver_is_direct=direct))


def nearest_tag(tag: str, tags: Iterable[str]) -> str:
    """The interpreter nearest to another one."""
    return min(tags, key=lambda other: tag_distance(tag, other))


@lru_cache(maxsize=1024)
def tag_distance(tag: str, other: str) -> tuple[int, bool, str]:
    """How far an interpreter is from another one; an ordinary one is nearer than a free-threaded one."""
    wanted = wording.python_of(tag) or (3, 0)
    number = wording.python_of(other) or (0, 0)
    return abs((number[0] - wanted[0]) * 100 + number[1] - wanted[1]), other.endswith("t"), other


def candidates(tables: Tables, sources: Sequence[Source], platform: str, tag: str) -> list[Candidate]:
    """Every build of the platform, wherever it lies, usable or not; ``tag`` is the interpreter it is wanted for."""
    found: list[Candidate] = []
    # Of equal builds the first one is taken: what the user has configured before mirrors that nobody named.
    for source in sources:
        if source.part == "files":
            builds = _builds(_grouped(_observed(source, tables, platform)), tables, platform)
            found += [candidate for build in builds for candidate in _served(build, [source], tag)]
    for part, name in (("official", "official"), ("registry", REGISTRY)):
        places = [source for source in sources if source.part == part]
        builds = _known_builds(tables, platform, name)
        if any(source.files for source in places):
            builds = _extended(builds, places, tables, platform)
        found += [candidate for build in builds for candidate in _served(build, places, tag)]
    return found


Key = tuple[Version, str, str]


@lru_cache(maxsize=32)
def _known_builds(tables: Tables, platform: str, index: str) -> tuple[Build, ...]:
    """The builds of the tables, which never change: put together once for many plans."""
    return _builds(_grouped(tables.wheels.find("torch", platform=platform, index=index)), tables, platform)


def _builds(groups: dict[Key, dict[str, Wheel]], tables: Tables, platform: str) -> tuple[Build, ...]:
    return tuple(
        Build(
            version=version,
            torch=str(version),
            variant=variant,
            label=label,
            cuda=next(iter(files.values())).cuda,
            code=(code := tables.architectures.built(version, variant, platform)),
            files=files,
            pythons=wording.pythons(files),
            targets=" ".join(target.sm for target in code.sm) if code else "",
        )
        for (version, variant, label), files in groups.items()
    )


def _grouped(wheels: Iterable[Wheel]) -> dict[Key, dict[str, Wheel]]:
    groups: dict[Key, dict[str, Wheel]] = {}
    for wheel in wheels:
        # Later builds of one file come first: the first one stays.
        groups.setdefault((wheel.version, wheel.variant, wheel.local_label), {}).setdefault(wheel.python, wheel)
    return groups


def _extended(builds: Iterable[Build], places: Sequence[Source], tables: Tables, platform: str) -> tuple[Build, ...]:
    """The builds with the files that an index was seen to hold and the tables do not know, or know by another name."""
    groups = {(build.version, build.variant, build.label): dict(build.files) for build in builds}
    known = {wheel.filename for files in groups.values() for wheel in files.values()}
    listed = {filename for source in places for filename in source.files or ()}
    for source in places:
        for wheel in _observed(source, tables, platform, known):
            files = groups.setdefault((wheel.version, wheel.variant, wheel.local_label), {})
            if wheel.python not in files or files[wheel.python].filename not in listed:
                files[wheel.python] = wheel
    return _builds(groups, tables, platform)


def _observed(source: Source, tables: Tables, platform: str, known: Container[str] = ()) -> Iterator[Wheel]:
    for filename in sorted(source.files or ()):
        if filename.startswith("torch-") and filename not in known and _may_fit(filename, platform):
            yield from parse_wheel(filename, tables, platform)


def _may_fit(filename: str, platform: str) -> bool:
    """Whether a file could be a plannable build of the platform: a listing holds thousands that are not."""
    tags = filename.removesuffix(".whl").rpartition("-")[2].split(".")
    return any(platform_of(tag) == platform for tag in tags)


def parse_wheel(filename: str, tables: Tables, platform: str) -> Iterator[Wheel]:
    """The wheels a file name stands for on this platform, one per interpreter; none where its CUDA cannot be told."""
    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return
    package: Package | None = next((known for known in ("torch", "torchvision", "torchaudio") if known == name), None)
    public = Version(version.public)
    fitting = [tag for tag in tags if platform_of(tag.platform) == platform]
    if package is None or not fitting or version.is_prerelease:
        return
    variant = version.local or _registered_variant(tables, package, public, platform)
    if variant is None or not _LABELS.fullmatch(variant):
        return
    floors = [(int(match[1]), int(match[2])) for tag in fitting if (match := _GLIBC.match(tag.platform))]
    for tag in sorted(fitting, key=str):
        yield Wheel(
            package=package,
            version=public,
            local_label=f"+{version.local}" if version.local else "",
            variant=variant,
            filename=filename,
            index="official" if version.local else "pypi",
            directory=variant if version.local else "",
            platform=platform,
            platform_tag=tag.platform,
            python=f"{tag.interpreter}t" if tag.abi.endswith("t") and tag.abi != "abi3t" else tag.interpreter,
            abi=tag.abi,
            build="".join(map(str, build)),
            glibc=min(floors, default=(2, 17)) if platform.startswith("linux") else None,
            base=None,
            special=False,
            confidence="verified",
            source=say("seen in the index"),
        )


def _registered_variant(tables: Tables, package: Package, version: Version, platform: str) -> str | None:
    """What the default registry's build of a release carries: its file names do not say."""
    known = tables.wheels.find(package, version=version, platform=platform, index=REGISTRY)
    return known[0].variant if known else None


def _served(build: Build, places: Sequence[Source], tag: str) -> list[Candidate]:
    """The build from each place that can serve it now, in order; if none can, from the nearest one and why it cannot."""
    first = places[0]
    if first.problem is None and first.holds_everything:
        return [Candidate(build=build, source=first)]
    wheel = build.files.get(tag) or _nearest_file(build, tag)
    problems = [(source, missing(source, wheel)) for source in places]
    serving = [Candidate(build=build, source=source) for source, problem in problems if problem is None]
    if serving:
        return serving
    # An index that answers and lacks the file says more than one that does not answer.
    source, problem = next((pair for pair in reversed(problems) if pair[0].problem is None), problems[0])
    return [Candidate(build=build, source=source, problem=problem)]


def missing(source: Source, wheel: Wheel) -> str | None:
    """Why a place cannot serve a file now; None when it can."""
    if source.problem is not None or source.holds(wheel):
        return source.problem
    return say("{title} does not hold {filename}", title=title(source.name), filename=wheel.filename)
