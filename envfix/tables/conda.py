"""conda channels: which builds of torch exist there, and where the channels are mirrored."""

from __future__ import annotations

from typing import Literal

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envfix.model.versions import CudaVersion
from envfix.tables.architectures import SmList
from envfix.tables.rows import (
    Confidence,
    CudaText,
    GlibcText,
    PtxText,
    PythonText,
    Row,
    SmText,
    SpecifierText,
    TableFile,
    VersionText,
    version_of,
)


class Channel(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A channel and the newest torch seen in it."""

    name: str
    url: str
    newest_torch: VersionText | None = None
    discontinued: bool


class PytorchRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A build of the pytorch channel for one CUDA."""

    torch: VersionText
    cuda: CudaText
    cudnn: str
    build: int = 0
    pythons: tuple[PythonText, ...]
    inferred: tuple[PythonText, ...] = ()
    selector: str
    channels: tuple[str, ...]


class PytorchArchitectures(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Architectures of the pytorch channel's builds."""

    torch: SpecifierText
    cuda: SpecifierText
    sm: tuple[SmText, ...]
    ptx: tuple[PtxText, ...] = ()


class ForgeRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """CUDA releases that conda-forge built for a range of torch releases, both ends included."""

    since: VersionText
    to: VersionText
    linux_64: tuple[CudaText, ...]
    win_64: tuple[CudaText, ...]


class ForgeArchitectures(Row, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"since": "from"}):
    """What the conda-forge builds of a range of torch releases were compiled for, and the glibc they need."""

    since: VersionText
    to: VersionText
    cuda: tuple[CudaText, ...]
    sm: tuple[SmText, ...]
    ptx: tuple[PtxText, ...] = ()
    glibc: GlibcText


class Trap(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package to hold below a version beside old builds of a channel."""

    torch: SpecifierText
    channel: str
    package: str
    below: str
    why: str


class CondaMirror(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mirror of conda channels."""

    name: str
    title: str
    region: str
    base: str
    channels: tuple[str, ...]

    def channel_url(self, channel: str) -> str | None:
        """The address of a channel there; None when the mirror was not seen to carry it."""
        if channel not in self.channels:
            return None
        return f"{self.base}/pkgs/main" if channel == "defaults" else f"{self.base}/cloud/{channel}"


class CondaFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``conda.yaml``."""

    channels: tuple[Channel, ...]
    pytorch_builds: tuple[PytorchRow, ...]
    pytorch_architectures: tuple[PytorchArchitectures, ...]
    forge_builds: tuple[ForgeRow, ...]
    forge_architectures: tuple[ForgeArchitectures, ...]
    traps: tuple[Trap, ...]
    mirrors: tuple[CondaMirror, ...]


class CondaBuild(msgspec.Struct, frozen=True, kw_only=True):
    """A build of the pytorch channel: what to ask for, and where what it needs comes from."""

    torch: Version
    cuda: CudaVersion
    cudnn: str
    python: str
    build_string: str
    selector: str
    channels: tuple[str, ...]
    confidence: Confidence
    source: str


class Conda:
    """Questions about conda; answers come from ``conda.yaml``."""

    def __init__(self, file: CondaFile) -> None:
        self._file = file

    def channels(self) -> tuple[Channel, ...]:
        """Every channel of the table."""
        return self._file.channels

    def channel(self, name: str) -> Channel | None:
        """The channel of this name, or None."""
        return next((channel for channel in self._file.channels if channel.name == name), None)

    def mirrors(self, channel: str | None = None) -> tuple[CondaMirror, ...]:
        """The mirrors, those that carry a channel if one is given."""
        return tuple(mirror for mirror in self._file.mirrors if channel is None or channel in mirror.channels)

    def pytorch_builds(
        self, *, torch: Version | None = None, cuda: CudaVersion | None = None, python: str | None = None
    ) -> tuple[CondaBuild, ...]:
        """Builds of the pytorch channel for linux-64 that match, the newest first; ``python`` is ``3.9``."""
        found = [
            build
            for row in self._file.pytorch_builds
            if torch is None or version_of(row.torch) == torch
            for build in _builds(row)
            if cuda in (None, build.cuda) and python in (None, build.python)
        ]
        return tuple(sorted(found, key=lambda build: (build.torch, build.cuda, version_of(build.python)), reverse=True))

    def forge_cuda(self, torch: Version, subdir: Literal["linux-64", "win-64"] = "linux-64") -> tuple[CudaVersion, ...]:
        """CUDA releases that conda-forge built for a torch release, the newest first; empty when only CPU is known."""
        column = "linux_64" if subdir == "linux-64" else "win_64"
        found = {
            CudaVersion.parse(text)
            for row in self._file.forge_builds
            if version_of(row.since) <= torch <= version_of(row.to)
            for text in getattr(row, column)
        }
        return tuple(sorted(found, reverse=True))

    def architectures(self, channel: str, torch: Version, cuda: CudaVersion) -> SmList | None:
        """What a build of channel ``pytorch`` or ``conda-forge`` was compiled for; None when the table does not say."""
        row: PytorchArchitectures | ForgeArchitectures | None
        if channel == "pytorch":
            row = next((row for row in self._file.pytorch_architectures if _speaks_for(row, torch, cuda)), None)
        else:
            row = next((row for row in self._file.forge_architectures if _forge_speaks_for(row, torch, cuda)), None)
        if row is None:
            return None
        found = SmList.parse((*row.sm, *row.ptx), cuda=cuda, source=row.source)
        return msgspec.structs.replace(found, confidence=row.confidence)

    def forge_glibc(self, torch: Version, cuda: CudaVersion) -> str | None:
        """The oldest glibc that a conda-forge build runs on; None when the table does not say."""
        row = next((row for row in self._file.forge_architectures if _forge_speaks_for(row, torch, cuda)), None)
        return row.glibc if row else None

    def traps(self, channel: str, torch: Version) -> tuple[Trap, ...]:
        """Packages to hold back beside a build of this channel."""
        return tuple(trap for trap in self._file.traps if trap.channel == channel and torch in SpecifierSet(trap.torch))


def _builds(row: PytorchRow) -> list[CondaBuild]:
    confidences: dict[str, Confidence] = dict.fromkeys(row.pythons, row.confidence)
    confidences.update(dict.fromkeys(row.inferred, "inferred"))
    return [
        CondaBuild(
            torch=version_of(row.torch),
            cuda=CudaVersion.parse(row.cuda),
            cudnn=row.cudnn,
            python=python,
            build_string=f"py{python}_cuda{row.cuda}_cudnn{row.cudnn}_{row.build}",
            selector=row.selector,
            channels=row.channels,
            confidence=confidence,
            source=row.source,
        )
        for python, confidence in confidences.items()
    ]


def _speaks_for(row: PytorchArchitectures, torch: Version, cuda: CudaVersion) -> bool:
    return torch in SpecifierSet(row.torch) and version_of(str(cuda)) in SpecifierSet(row.cuda)


def _forge_speaks_for(row: ForgeArchitectures, torch: Version, cuda: CudaVersion) -> bool:
    return version_of(row.since) <= torch <= version_of(row.to) and str(cuda) in row.cuda
