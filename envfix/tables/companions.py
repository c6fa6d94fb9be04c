"""What belongs to each torch release: torchvision, torchaudio, triton, cuDNN, and the NumPy it was built against."""

from __future__ import annotations

from typing import Literal

import msgspec
from packaging.version import Version

from envfix.tables.rows import (
    Confidence,
    Day,
    PlatformText,
    PythonTag,
    PythonText,
    Record,
    ReleaseText,
    Row,
    SpecifierText,
    System,
    TableFile,
    TagText,
    TritonTag,
    VariantText,
    VersionText,
    system_of,
    version_of,
)


class RegistryRow(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of one platform tag on the default registry; columns as explained in ``wheels.yaml``."""

    variant: VariantText
    tag: TagText
    abi: str | None = None
    build: str | None = None
    pythons: tuple[PythonTag, ...]


class TorchRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What belongs to one torch release."""

    version: ReleaseText
    released: Day
    requires_python: SpecifierText
    torchvision: tuple[ReleaseText, ...]
    torchaudio: tuple[ReleaseText, ...]
    triton: SpecifierText | None = None
    triton_on: tuple[PlatformText, ...] = ()
    cudnn: dict[VariantText, str]
    cuda: dict[VariantText, str] = msgspec.field(default_factory=dict)


class PackageRelease(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release of torchvision or torchaudio and its files on the default registry."""

    version: ReleaseText
    torch: SpecifierText
    built_with: ReleaseText
    avoid: str | None = None
    registry: tuple[RegistryRow, ...]


class TritonRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Interpreters for which a triton release has files on one platform."""

    platform: PlatformText
    version: ReleaseText
    pythons: tuple[TritonTag, ...]


class OfficialRule(Row, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """How a companion's file names on the official index follow from those of torch."""

    package: Literal["torchvision", "torchaudio"]
    since: ReleaseText | None = None
    to: ReleaseText | None = None
    platforms: tuple[PlatformText, ...] = ()
    variants: tuple[VariantText, ...] = ()
    label: Literal["variant", "none"]
    tag: TagText | None = None
    folder: Literal["variant", "base"]

    def fits(self, package: str, torch: str, variant: str, platform: str) -> bool:
        """Whether this rule speaks for such a file."""
        return (
            package == self.package
            and (self.since is None or version_of(torch) >= version_of(self.since))
            and (self.to is None or version_of(torch) <= version_of(self.to))
            and (not self.platforms or platform in self.platforms)
            and (not self.variants or variant in self.variants)
        )


class NumpySince(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """First torch whose files were built against NumPy 2, on one system."""

    system: System
    torch: ReleaseText


class NumpyBound(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What must stay below which version beside NumPy 1, from which Python on."""

    package: str
    below: str
    python: PythonText


class NumpyPython(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest Python of a NumPy release."""

    numpy: VersionText
    python: PythonText


class CompanionsFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``companions.yaml``."""

    torch: tuple[TorchRow, ...]
    torchvision: tuple[PackageRelease, ...]
    torchaudio: tuple[PackageRelease, ...]
    triton: tuple[TritonRow, ...]
    official: tuple[OfficialRule, ...]
    numpy_2_since: tuple[NumpySince, ...]
    numpy_1_bounds: tuple[NumpyBound, ...]
    numpy_pythons: tuple[NumpyPython, ...]

    def rule_for(self, package: str, torch: str, variant: str, platform: str) -> OfficialRule | None:
        """The first naming rule that speaks for a companion of such a torch file."""
        return next((rule for rule in self.official if rule.fits(package, torch, variant, platform)), None)


class Avoided(msgspec.Struct, frozen=True, kw_only=True):
    """A release that is never planned, and why."""

    version: Version
    why: str


class Companions(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs to one torch release; the first torchvision and torchaudio are the ones to take.

    ``numpy_abi`` is the NumPy major it was built against, by system; ``cudnn`` and ``cuda`` hold exact releases by
    variant.
    """

    torch: Version
    released: str
    requires_python: str
    torchvision: tuple[Version, ...]
    torchaudio: tuple[Version, ...]
    avoid: tuple[Avoided, ...]
    triton: str | None
    triton_on: tuple[str, ...]
    numpy_abi: dict[System, Literal[1, 2]]
    cudnn: dict[str, str]
    cuda: dict[str, str]
    confidence: Confidence
    source: str

    @property
    def torchvision_recommended(self) -> Version:
        """The torchvision to take."""
        return self.torchvision[0]

    @property
    def torchaudio_recommended(self) -> Version:
        """The torchaudio to take."""
        return self.torchaudio[0]


class CompanionTable:
    """Questions about what belongs together; answers come from ``companions.yaml``."""

    def __init__(self, file: CompanionsFile) -> None:
        self.file = file
        self._rows = {version_of(row.version): row for row in file.torch}
        self._numpy_2_since = {row.system: version_of(row.torch) for row in file.numpy_2_since}

    def torch_versions(self) -> tuple[Version, ...]:
        """Every torch release of the table, the newest first."""
        return tuple(sorted(self._rows, reverse=True))

    def of(self, torch: Version) -> Companions | None:
        """What belongs to a torch release, its local label ignored; None for a release the table does not know."""
        row = self._rows.get(version_of(torch.public))
        if row is None:
            return None
        return Companions(
            torch=version_of(row.version),
            released=row.released,
            requires_python=row.requires_python,
            torchvision=tuple(map(version_of, row.torchvision)),
            torchaudio=tuple(map(version_of, row.torchaudio)),
            avoid=self._avoided(row),
            triton=row.triton,
            triton_on=row.triton_on,
            numpy_abi={system: self._numpy_major(torch, system) for system in self._numpy_2_since},
            cudnn=dict(row.cudnn),
            cuda=dict(row.cuda),
            confidence=row.confidence,
            source=row.source,
        )

    def torch_of_torchvision(self, torchvision: Version) -> tuple[Version, ...]:
        """The torch releases that go with a torchvision, the one it was released with first."""
        return self._torch_of("torchvision", torchvision)

    def torch_of_torchaudio(self, torchaudio: Version) -> tuple[Version, ...]:
        """The torch releases that go with a torchaudio, the one it was released with first."""
        return self._torch_of("torchaudio", torchaudio)

    def pin_of(self, package: Literal["torchvision", "torchaudio"], version: Version) -> str | None:
        """Which torch a companion's own metadata accepts (``==2.7.1``, empty for any); None for an unknown release."""
        release = self._release(package, version)
        return release.torch if release else None

    def numpy_major(self, torch: Version, platform: str, python: str) -> Literal[1, 2]:
        """The NumPy major that a torch file was built against; ``python`` is a tag such as ``cp311``."""
        return 1 if python in ("cp36", "cp37", "cp38") else self._numpy_major(torch, system_of(platform))

    def numpy_1_bounds(self, python: str) -> dict[str, str]:
        """What to hold below which version beside a torch built against NumPy 1: ``{"numpy": "<2", …}``."""
        minor = int(python.removeprefix("cp3").rstrip("t") or 0)
        return {
            row.package: f"<{row.below}"
            for row in self.file.numpy_1_bounds
            if minor >= int(row.python.removeprefix("3."))
        }

    def numpy_python(self, numpy: Version) -> tuple[int, int]:
        """The oldest Python of a NumPy release, as far as the table knows; ``(3, 0)`` for NumPy 1."""
        floors = [row for row in self.file.numpy_pythons if version_of(row.numpy) <= numpy]
        newest = max(floors, key=lambda row: version_of(row.numpy), default=None)
        return (3, int(newest.python.removeprefix("3."))) if newest else (3, 0)

    def triton_pythons(self, triton: Version, platform: str) -> tuple[str, ...]:
        """Interpreters for which a triton release has files; empty when it is not in the table."""
        for row in self.file.triton:
            if row.platform == platform and version_of(row.version) == triton:
                return row.pythons
        return ()

    def _numpy_major(self, torch: Version, system: System) -> Literal[1, 2]:
        return 2 if torch >= self._numpy_2_since[system] else 1

    def _avoided(self, row: TorchRow) -> tuple[Avoided, ...]:
        releases = [*self.file.torchvision, *self.file.torchaudio]
        listed = {*row.torchvision, *row.torchaudio}
        return tuple(
            Avoided(version=version_of(release.version), why=release.avoid)
            for release in releases
            if release.avoid and release.version in listed and release.built_with == row.version
        )

    def _release(self, package: Literal["torchvision", "torchaudio"], version: Version) -> PackageRelease | None:
        releases = self.file.torchvision if package == "torchvision" else self.file.torchaudio
        wanted = version_of(version.public)
        return next((release for release in releases if version_of(release.version) == wanted), None)

    def _torch_of(self, package: Literal["torchvision", "torchaudio"], version: Version) -> tuple[Version, ...]:
        release = self._release(package, version)
        if release is None:
            return ()
        first = version_of(release.built_with)
        listed = [version_of(row.version) for row in self.file.torch if release.version in getattr(row, package)]
        return (first, *sorted((torch for torch in listed if torch != first), reverse=True))
