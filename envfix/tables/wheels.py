"""Which wheels of torch, torchvision and torchaudio exist, on the official index and on the default registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, Protocol

import msgspec
from packaging.version import Version

from envfix.model.versions import CudaVersion
from envfix.tables.companions import CompanionsFile, PackageRelease, RegistryRow
from envfix.tables.indexes import Indexes
from envfix.tables.rows import (
    Confidence,
    GlibcText,
    PlatformText,
    Problem,
    PythonTag,
    Record,
    ReleaseText,
    Row,
    SpecifierText,
    TableFile,
    TagText,
    VariantText,
    least,
    row_name,
    version_of,
)

Package = Literal["torch", "torchvision", "torchaudio"]
PACKAGES: tuple[Package, ...] = ("torch", "torchvision", "torchaudio")
IndexName = Literal["official", "pypi"]


class OfficialRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of one variant and platform tag on the official index; columns as explained in ``wheels.yaml``."""

    variant: VariantText
    directory: str | None = None
    label: str | None = None
    tag: TagText
    glibc: GlibcText | None = None
    abi: str | None = None
    build: str | None = None
    pythons: tuple[PythonTag, ...]
    inferred: tuple[PythonTag, ...] = ()


class ReleaseRow(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All files of one torch release."""

    version: ReleaseText
    official: tuple[OfficialRow, ...]
    registry: tuple[RegistryRow, ...]


class GlibcRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest glibc behind a platform tag that does not name it."""

    tag: TagText
    glibc: GlibcText


class AbsentRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why builds do not exist; no variants means every CUDA variant, no platforms every platform."""

    variants: tuple[VariantText, ...]
    torch: SpecifierText
    platforms: tuple[PlatformText, ...] = ()
    why: str


class WheelsFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``wheels.yaml``."""

    glibc: tuple[GlibcRow, ...]
    releases: tuple[ReleaseRow, ...]
    absent: tuple[AbsentRow, ...]

    def contradictions(self) -> Iterator[Problem]:
        """An interpreter seen and inferred at once, a group of files given twice, a tag whose glibc nobody tells."""
        told = {row.tag for row in self.glibc}
        for number, release in enumerate(self.releases, start=1):
            place = row_name("releases", number, release)
            seen: set[tuple[object, ...]] = set()
            for at, row in enumerate(release.official, start=1):
                yield from _contradictions(row, (place, row_name("official", at, row)), told, seen)
            seen.clear()
            for at, registered in enumerate(release.registry, start=1):
                yield from _contradictions(registered, (place, row_name("registry", at, registered)), told, seen)


def _contradictions(
    row: OfficialRow | RegistryRow, where: tuple[str, ...], told: set[str], seen: set[tuple[object, ...]]
) -> Iterator[Problem]:
    inferred, place = (row.inferred, (row.directory, row.label)) if isinstance(row, OfficialRow) else ((), ())
    both = sorted(set(row.pythons) & set(inferred))
    for python in both:
        yield Problem(where, "inferred", f"{python} is among the pythons already")
    for python in (*row.pythons, *inferred):
        key = (row.variant, row.tag, row.build, python, *place)
        if key in seen and python not in both:
            yield Problem(where, "tag", f"{row.variant} for {row.tag} and {python} has a row already")
        seen.add(key)
    for tag in row.tag.split("."):
        if "linux" in tag and not tag.startswith("manylinux_") and tag not in told:
            yield Problem(where, "tag", f"no row of glibc tells the oldest glibc of {tag}")


class Wheel(msgspec.Struct, frozen=True, kw_only=True):
    """One wheel file.

    ``variant`` is what runs inside, also where the file name does not say so: ``cu117`` for torch 2.0.1 of the default
    registry. ``directory`` is its folder below the base of the official index; a wheel outside its variant's own folder
    is ``special`` and never planned. ``glibc`` is the oldest glibc it runs on, None off Linux.
    """

    package: Package
    version: Version
    local_label: str
    variant: str
    filename: str
    index: IndexName
    directory: str
    platform: str
    platform_tag: str
    python: str
    abi: str
    build: str
    glibc: tuple[int, int] | None
    base: str | None
    special: bool
    confidence: Confidence
    source: str

    @property
    def url(self) -> str | None:
        """Where the file lies; None on the default registry, which gives every file a path of its own."""
        from urllib.parse import quote

        if self.base is None:
            return None
        folder = f"{self.base}/{self.directory}" if self.directory else self.base
        return f"{folder}/{quote(self.filename)}"

    @property
    def cuda(self) -> CudaVersion | None:
        """The CUDA runtime inside; None for CPU, ROCm and XPU builds."""
        return CudaVersion.parse(self.variant) if self.variant.startswith("cu") else None

    @property
    def requirement(self) -> str:
        """The exact pin, local label included: ``torch==2.7.1+cu118``."""
        return f"{self.package}=={self.version}{self.local_label}"


class _Group(msgspec.Struct, frozen=True, kw_only=True):
    """Files that differ in the interpreter only."""

    package: Package
    version: Version
    label: str
    variant: str
    index: IndexName
    directory: str
    special: bool
    tag: str
    glibc: str | None
    abi: str | None
    build: str
    pythons: dict[str, Confidence]
    source: str

    @property
    def platform(self) -> str:
        return platform_of(self.tag)


class _Companions(Protocol):
    """What the wheels of torchvision and torchaudio are found in."""

    @property
    def file(self) -> CompanionsFile:
        """The rows of ``companions.yaml``."""


class Wheels:
    """Questions about wheels; answers come from ``wheels.yaml``, ``companions.yaml`` and ``indexes.yaml``.

    The compact rows are kept and expanded only as far as a question needs.
    """

    def __init__(self, file: WheelsFile, companions: _Companions, indexes: Indexes) -> None:
        self.file = file
        self._companions = companions
        self._base = indexes.official().base
        self._glibc = {row.tag: row.glibc for row in file.glibc}
        self._groups: dict[Package, tuple[_Group, ...]] = {}
        self._found: dict[tuple[object, ...], tuple[Wheel, ...]] = {}

    def versions(self) -> tuple[Version, ...]:
        """Every torch release with files that a plan may choose, the newest first: 1.8.2 (LTS) has none."""
        ordinary = (row for row in self.file.releases if row.registry or any(map(_is_ordinary, row.official)))
        return tuple(sorted((version_of(row.version) for row in ordinary), reverse=True))

    def variants(self) -> tuple[str, ...]:
        """Every CPU and CUDA variant of torch, the newest CUDA first, ``cpu`` last."""
        found = {row.variant for release in self.file.releases for row in release.official}
        return tuple(
            sorted((name for name in found if name == "cpu" or name.startswith("cu")), key=_rank, reverse=True)
        )

    def all(self, package: Package = "torch") -> tuple[Wheel, ...]:
        """Every known wheel of a package, ROCm, XPU and special builds included, in the order of ``find``.

        A file that serves several variants (torchaudio up to 0.9.1) is there once.
        """
        found = self.find(package, everything=True)
        return tuple({(wheel.index, wheel.directory, wheel.filename): wheel for wheel in reversed(found)}.values())[
            ::-1
        ]

    def find(
        self,
        package: Package,
        *,
        version: Version | str | None = None,
        variant: str | None = None,
        python: str | None = None,
        platform: str | None = None,
        index: str | None = None,
        everything: bool = False,
    ) -> tuple[Wheel, ...]:
        """The wheels that match every given criterion.

        Only wheels that a plan may choose, CPU and CUDA builds from their variant's own folder, unless ``everything``
        is set or a ROCm or XPU ``variant`` is named. ``python`` is a tag such as ``cp311`` or ``cp313t``; wheels for
        any Python 3 match every tag. A local label in ``version`` is ignored. The newest version comes first, in it
        the official index before the registry, newest CUDA before older and CPU last, later builds of one file first.
        """
        wanted = version_of(Version(str(version)).public) if version is not None else None
        key = (package, wanted, variant, python, platform, index, everything)
        if key not in self._found:
            groups = (
                group
                for group in self._all_groups(package)
                if (wanted is None or group.version == wanted)
                and variant in (None, group.variant)
                and index in (None, group.index)
                and platform in (None, group.platform)
                and (everything or _is_plannable(group, variant))
            )
            self._found[key] = tuple(wheel for group in groups for wheel in self._expand(group, python))
        return self._found[key]

    def why_absent(self, variant: str, torch: Version, platform: str) -> str | None:
        """Why there is no such build, in one clause; None when the table gives no reason."""
        from packaging.specifiers import SpecifierSet

        for row in self.file.absent:
            named = variant in row.variants or (not row.variants and (variant != "cpu" or "linux" not in platform))
            where = not row.platforms or platform in row.platforms
            if named and where and SpecifierSet(row.torch).contains(torch, prereleases=True):
                return row.why
        return None

    def _all_groups(self, package: Package) -> tuple[_Group, ...]:
        if package not in self._groups:
            found = self._torch_groups() if package == "torch" else self._companion_groups(package)
            order = sorted(
                found, key=lambda group: (group.version, group.index == "official", _rank(group.variant), group.build)
            )
            self._groups[package] = tuple(reversed(order))
        return self._groups[package]

    def _torch_groups(self) -> Iterator[_Group]:
        for release in self.file.releases:
            version = version_of(release.version)
            for row in release.official:
                yield _official_group(version, row)
            for registered in release.registry:
                yield _registry_group("torch", version, registered)

    def _companion_groups(self, package: Literal["torchvision", "torchaudio"]) -> Iterator[_Group]:
        file = self._companions.file
        torch_rows = {release.version: release.official for release in self.file.releases}
        for release in file.torchvision if package == "torchvision" else file.torchaudio:
            version = version_of(release.version)
            for row in release.registry:
                yield _registry_group(package, version, row)
            lines = torch_rows.get(release.built_with, ())
            groups = (_derived_group(package, release, line, file) for line in lines if _is_ordinary(line))
            yield from _merged(group for group in groups if group is not None)
            yield from _macos_groups(package, release, file)

    def _expand(self, group: _Group, python: str | None) -> Iterator[Wheel]:
        for tag, confidence in group.pythons.items():
            if python not in (None, tag) and tag != "py3":
                continue
            abi = group.abi or _abi_of(tag)
            build = f"{group.build}-" if group.build else ""
            yield Wheel(
                package=group.package,
                version=group.version,
                local_label=group.label,
                variant=group.variant,
                filename=f"{group.package}-{group.version}{group.label}-{build}{tag.rstrip('t')}-{abi}-{group.tag}.whl",
                index=group.index,
                directory=group.directory,
                platform=group.platform,
                platform_tag=group.tag,
                python=tag,
                abi=abi,
                build=group.build,
                glibc=self._glibc_of(group),
                base=self._base if group.index == "official" else None,
                special=group.special,
                confidence=confidence,
                source=group.source,
            )

    def _glibc_of(self, group: _Group) -> tuple[int, int] | None:
        if "linux" not in group.tag:
            return None
        return min(_glibc(group.glibc or self._glibc.get(tag), tag) for tag in group.tag.split("."))


@lru_cache(maxsize=128)
def platform_of(tag: str) -> str:
    """The platform behind a platform tag: ``manylinux_2_28_x86_64`` is linux_x86_64."""
    match = re.fullmatch(
        r"(?:(?P<mac>macosx)_\d+_\d+|(?:many)?(?P<linux>linux).*?)_(?P<arch>x86_64|aarch64|arm64|s390x)", tag
    )
    if match is None:
        return tag
    return f"{match['mac'] or match['linux']}_{match['arch']}"


def _glibc(text: str | None, tag: str) -> tuple[int, int]:
    if text is None:
        named = re.match(r"manylinux_(\d+)_(\d+)_", tag)
        return (int(named[1]), int(named[2])) if named else (2, 17)
    major, minor = text.split(".")
    return int(major), int(minor)


def _abi_of(tag: str) -> str:
    """The usual ABI tag: cp36m and cp37m up to Python 3.7, none for any Python 3, else as the interpreter's."""
    if tag in ("cp36", "cp37"):
        return f"{tag}m"
    return "none" if tag == "py3" else tag


def _rank(variant: str) -> tuple[int, int, int]:
    """CUDA variants by their CUDA, above CPU, above the rest."""
    if variant.startswith("cu"):
        cuda = CudaVersion.parse(variant)
        return 2, cuda.major, cuda.minor
    return int(variant == "cpu"), 0, 0


def _is_plannable(group: _Group, asked: str | None) -> bool:
    return not group.special and (group.variant == "cpu" or group.variant.startswith("cu") or asked is not None)


def _official_group(version: Version, row: OfficialRow) -> _Group:
    pythons: dict[str, Confidence] = dict.fromkeys(row.pythons, row.confidence)
    pythons.update(dict.fromkeys(row.inferred, "inferred"))
    return _Group(
        package="torch",
        version=version,
        label=f"+{row.variant}" if row.label is None else row.label,
        variant=row.variant,
        index="official",
        directory=row.variant if row.directory is None else row.directory,
        special=row.directory is not None,
        tag=row.tag,
        glibc=row.glibc,
        abi=row.abi,
        build=row.build or "",
        pythons=pythons,
        source=row.source,
    )


def _registry_group(package: Package, version: Version, row: RegistryRow) -> _Group:
    return _Group(
        package=package,
        version=version,
        label="",
        variant=row.variant,
        index="pypi",
        directory="",
        special=False,
        tag=row.tag,
        glibc=None,
        abi=row.abi,
        build=row.build or "",
        pythons=dict.fromkeys(row.pythons, "verified"),
        source="registry-list",
    )


def _is_ordinary(row: OfficialRow) -> bool:
    return row.directory is None and (row.variant == "cpu" or row.variant.startswith("cu"))


def _derived_group(
    package: Literal["torchvision", "torchaudio"], release: PackageRelease, torch: OfficialRow, file: CompanionsFile
) -> _Group | None:
    """The files of a companion that belong to one line of its torch, as the rules of ``companions.yaml`` say."""
    platform = platform_of(torch.tag)
    rule = file.rule_for(package, release.built_with, torch.variant, platform)
    platforms = {platform_of(row.tag) for row in release.registry} | {"win_amd64"}
    if rule is None or platform not in platforms or platform.startswith("macosx"):
        return None
    known = {python for row in release.registry for python in row.pythons}
    sure = least(torch.confidence, rule.confidence)
    pythons: dict[str, Confidence] = {"py3": sure if torch.pythons else "inferred"} if "py3" in known else {}
    pythons.update((python, sure) for python in torch.pythons if python in known)
    pythons.update((python, "inferred") for python in torch.inferred if python in known)
    return _Group(
        package=package,
        version=version_of(release.version),
        label=f"+{torch.variant}" if rule.label == "variant" else "",
        variant=torch.variant,
        index="official",
        directory=torch.variant if rule.folder == "variant" else "",
        special=False,
        tag=rule.tag or torch.tag,
        glibc=torch.glibc,
        abi=None,
        build="",
        pythons=pythons,
        source=rule.source,
    )


def _merged(groups: Iterator[_Group]) -> Iterator[_Group]:
    """One group for each name pattern, where several lines of torch lead to the same files."""
    found: dict[tuple[str, str, str], _Group] = {}
    for group in groups:
        key = (group.variant, group.directory, group.tag)
        before = found.get(key)
        found[key] = msgspec.structs.replace(group, pythons={**group.pythons, **before.pythons}) if before else group
    yield from found.values()


def _macos_groups(
    package: Literal["torchvision", "torchaudio"], release: PackageRelease, file: CompanionsFile
) -> Iterator[_Group]:
    """The official index holds the very files of the registry for macOS."""
    for row in release.registry:
        rule = file.rule_for(package, release.built_with, row.variant, platform_of(row.tag))
        if row.tag.startswith("macosx") and rule is not None:
            registered = _registry_group(package, version_of(release.version), row)
            pythons: dict[str, Confidence] = dict.fromkeys(row.pythons, rule.confidence)
            folder = row.variant if rule.folder == "variant" else ""
            yield msgspec.structs.replace(registered, index="official", directory=folder, pythons=pythons)
