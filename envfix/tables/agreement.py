"""Whether the tables agree with each other: a release that one of them knows must be known to those that belong to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet

from envfix.tables.companions import PackageRelease, TorchRow
from envfix.tables.rows import Problem, row_name, version_of, wrong
from envfix.tables.wheels import OfficialRow, ReleaseRow, platform_of

if TYPE_CHECKING:
    from envfix.tables.loader import Tables

Build = tuple[str, str, str]
"""A torch build: release, variant and platform, as the tables spell them."""


def check_agreement(tables: Tables) -> None:
    """Compare every table with those that belong to it; raises ``TableError`` with file, row and key of the first fault."""
    for file, problem in _problems(tables):
        raise wrong(file, problem)


def _problems(tables: Tables) -> Iterator[tuple[str, Problem]]:
    builds = _builds(tables)
    yield from (("companions", problem) for problem in _companions(tables))
    yield from (("wheels", problem) for problem in _wheels(tables, builds))
    yield from (("architectures", problem) for problem in _architectures(tables, builds))
    yield from (("gpus", problem) for problem in _gpus(tables))
    yield from (("indexes", problem) for problem in _indexes(tables))


def _ordinary(release: ReleaseRow) -> Iterator[tuple[int, OfficialRow]]:
    """The lines of a release from their variants' own folders: those that a plan may choose."""
    for number, row in enumerate(release.official, start=1):
        if row.directory is None and (row.variant == "cpu" or row.variant.startswith("cu")):
            yield number, row


def _builds(tables: Tables) -> dict[Build, tuple[str, ...]]:
    """Every build that a plan may choose, with the row it stands in."""
    found: dict[Build, tuple[str, ...]] = {}
    for number, release in enumerate(tables.wheels.file.releases, start=1):
        place = row_name("releases", number, release)
        for at, row in _ordinary(release):
            key = (release.version, row.variant, platform_of(row.tag))
            found.setdefault(key, (place, row_name("official", at, row)))
        for at, registered in enumerate(release.registry, start=1):
            key = (release.version, registered.variant, platform_of(registered.tag))
            found.setdefault(key, (place, row_name("registry", at, registered)))
    return found


def _wheels(tables: Tables, builds: dict[Build, tuple[str, ...]]) -> Iterator[Problem]:
    """Each build has companions and an architecture row, and nothing says that it does not exist."""
    releases = {row.version for row in tables.companions.file.torch}
    for (version, variant, platform), where in builds.items():
        torch = version_of(version)
        if version not in releases:
            yield Problem(where[:1], "version", f"companions.yaml has no row of torch for {version}")
        why = tables.wheels.why_absent(variant, torch, platform)
        if why is not None:
            yield Problem(where, "variant", f"a row of absent says that {variant} does not exist here: {why}")
        if variant != "cpu" and tables.architectures.built(torch, variant, platform) is None:
            yield Problem(
                where, "variant", f"architectures.yaml has no row of builds for {version} {variant} {platform}"
            )


def _architectures(tables: Tables, builds: dict[Build, tuple[str, ...]]) -> Iterator[Problem]:
    """Each build with architectures has wheels."""
    for number, row in enumerate(tables.architectures.file.builds, start=1):
        where = (row_name("builds", number, row),)
        known = [build for build in builds if build[1] in row.variants and build[2] in row.platforms]
        for torch in row.torch:
            for variant in row.variants:
                for platform in row.platforms:
                    if (torch, variant, platform) not in known:
                        text = f"wheels.yaml has no wheel of torch {torch}+{variant} for {platform}"
                        yield Problem(where, "torch", text)


def _companions(tables: Tables) -> Iterator[Problem]:
    file = tables.companions.file
    releases = {row.version: row for row in tables.wheels.file.releases}
    packages = {
        "torchvision": {row.version: row for row in file.torchvision},
        "torchaudio": {row.version: row for row in file.torchaudio},
    }
    for number, row in enumerate(file.torch, start=1):
        where = (row_name("torch", number, row),)
        release = releases.get(row.version)
        if release is None:
            yield Problem(where, "version", f"wheels.yaml has no row of releases for {row.version}")
        else:
            yield from _variants(row, release, where)
        for package, known in packages.items():
            yield from _listed(package, getattr(row, package), row.version, known, where)
    known_torch = {row.version for row in file.torch}
    for package, known in packages.items():
        for number, companion in enumerate(known.values(), start=1):
            if companion.built_with not in known_torch:
                where = (row_name(package, number, companion),)
                yield Problem(where, "built_with", f"there is no row of torch for {companion.built_with}")


def _variants(row: TorchRow, release: ReleaseRow, where: tuple[str, ...]) -> Iterator[Problem]:
    """CuDNN and CUDA releases belong to variants that have wheels."""
    variants = {line.variant for line in release.official} | {line.variant for line in release.registry}
    for key in ("cudnn", "cuda"):
        for variant in getattr(row, key):
            if variant not in variants:
                yield Problem(where, key, f"wheels.yaml has no wheel of torch {row.version} with {variant}")


def _listed(
    package: str, versions: tuple[str, ...], torch: str, known: dict[str, PackageRelease], where: tuple[str, ...]
) -> Iterator[Problem]:
    """A companion that is listed has a row with its files, whose metadata accepts that torch."""
    for version in versions:
        release = known.get(version)
        if release is None:
            yield Problem(where, package, f"there is no row of {package} for {version}")
        elif not SpecifierSet(release.torch).contains(torch, prereleases=True):
            yield Problem(where, package, f"{package} {version} asks for torch{release.torch}, not {torch}")


def _gpus(tables: Tables) -> Iterator[Problem]:
    """Each card's capability is known to the drivers, each folder of Jetson wheels to their index."""
    known = {str(capability) for capability in tables.drivers.capabilities()}
    for number, row in enumerate(tables.gpus.file.gpus, start=1):
        for capability in row.capabilities:
            if capability not in known:
                text = f"drivers.yaml has no row of capabilities for {capability}"
                yield Problem((row_name("gpus", number, row),), "capabilities", text)
    jetson = tables.indexes.by_name("jetson")
    for number, board in enumerate(tables.gpus.file.jetson_wheels, start=1):
        if jetson is not None and board.folder not in jetson.variants:
            text = f"the index jetson of indexes.yaml has no variant {board.folder}"
            yield Problem((row_name("jetson_wheels", number, board),), "folder", text)


def _indexes(tables: Tables) -> Iterator[Problem]:
    """What an index is said to hold exists."""
    releases = {row.version for row in tables.wheels.file.releases}
    variants = {line.variant for row in tables.wheels.file.releases for line in row.official}
    for number, index in enumerate(tables.indexes.all(), start=1):
        where = (row_name("indexes", number, index),)
        for key in ("html_newest", "newest_torch"):
            version = getattr(index, key)
            if version is not None and version not in releases:
                yield Problem(where, key, f"wheels.yaml has no row of releases for {version}")
        unknown = sorted(set(index.variants) - variants) if index.kind == "mirror" else []
        if unknown:
            yield Problem(where, "variants", f"wheels.yaml has no wheel with {unknown[0]} on the official index")
