"""Which GPU architectures a torch wheel was compiled for, and whether a GPU can run that."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Literal

import msgspec
from packaging.version import Version

from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.tables.rows import (
    Confidence,
    PlatformText,
    Problem,
    PtxText,
    ReleaseText,
    Row,
    SmText,
    TableFile,
    VariantText,
    row_name,
    version_of,
)

# Members of a family that sit on Jetson boards: binaries for them run only there, and server binaries do not run on
# them. 10.1 is what CUDA 12.8 and 12.9 called 11.0. Source: requirement table in torch/cuda/__init__.py, 2.15.0.
INTEGRATED = frozenset(ComputeCapability.parse(text) for text in ("3.2", "5.3", "6.2", "7.2", "8.7", "10.1", "11.0"))
# From CUDA 13.2 on the same table lets these server binaries run on the Jetson members of their family.
_RELAXED = frozenset(ComputeCapability.parse(text) for text in ("7.0", "8.0", "8.6"))
_RELAXED_FROM = CudaVersion.of(13, 2)

_ENTRY = re.compile(r"(?P<kind>sm|compute)_(?P<number>\d{2,3})(?P<suffix>[af]?)")


class BuildRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Architectures of the wheels of some releases, variants and platforms."""

    torch: tuple[ReleaseText, ...]
    variants: tuple[VariantText, ...]
    platforms: tuple[PlatformText, ...]
    sm: tuple[SmText, ...]
    ptx: tuple[PtxText, ...] = ()


class ArchitecturesFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``architectures.yaml``."""

    builds: tuple[BuildRow, ...]

    def contradictions(self) -> Iterator[Problem]:
        """A build that two rows speak for."""
        seen: set[tuple[str, str, str]] = set()
        for number, row in enumerate(self.builds, start=1):
            for build in product(row.torch, row.variants, row.platforms):
                if build in seen:
                    where = (row_name("builds", number, row),)
                    yield Problem(where, "torch", f"torch {build[0]}+{build[1]} for {build[2]} has a row already")
                seen.add(build)


class SmList(msgspec.Struct, frozen=True, kw_only=True):
    """What a torch build holds: binaries (``sm``), portable code (``ptx``) and binaries for one capability only."""

    sm: tuple[ComputeCapability, ...]
    ptx: tuple[ComputeCapability, ...] = ()
    only: tuple[ComputeCapability, ...] = ()
    cuda: CudaVersion | None = None
    confidence: Confidence = "verified"
    source: str = ""
    note: str | None = None

    @classmethod
    def parse(cls, names: Iterable[str], *, cuda: CudaVersion | None = None, source: str = "") -> SmList:
        """Read a list as torch prints it (``sm_80 sm_90a compute_90``); entries that are neither are left out."""
        found: dict[str, list[ComputeCapability]] = {"sm": [], "ptx": [], "only": []}
        for name in names:
            entry = _ENTRY.fullmatch(name.strip())
            if entry is None:
                continue
            kind = "only" if entry["suffix"] else "sm" if entry["kind"] == "sm" else "ptx"
            found[kind].append(ComputeCapability.parse(f"sm_{entry['number']}"))
        return cls(sm=tuple(found["sm"]), ptx=tuple(found["ptx"]), only=tuple(found["only"]), cuda=cuda, source=source)


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """How a GPU would run a build: with a binary, with portable code compiled by the driver, or not at all."""

    how: Literal["cubin", "ptx", "no"]
    sm: ComputeCapability | None = None

    def __bool__(self) -> bool:
        """Whether it runs."""
        return self.how != "no"


class Support(msgspec.Struct, frozen=True, kw_only=True):
    """A torch build that holds a binary for a GPU."""

    torch: Version
    variant: str
    platform: str
    sm: ComputeCapability
    confidence: Confidence


def runs_on(cc: ComputeCapability, sm_list: SmList, *, driver_is_direct: bool) -> Fit:
    """Whether a GPU of capability ``cc`` runs a build.

    A binary runs on its own major number from its own minor number upwards, with exceptions between Jetson and other
    GPUs. Portable code runs on anything newer, but only when the driver is at least as new as the CUDA that made it
    (``driver_is_direct``). Source: CUDA binary compatibility rules, requirement table of torch 2.15.0.
    """
    binaries = [sm for sm in sm_list.sm if _binary_runs(cc, sm, sm_list.cuda)] + [sm for sm in sm_list.only if sm == cc]
    if binaries:
        return Fit(how="cubin", sm=max(binaries))
    portable = [ptx for ptx in sm_list.ptx if ptx <= cc]
    if portable and driver_is_direct:
        return Fit(how="ptx", sm=max(portable))
    return Fit(how="no")


def _binary_runs(cc: ComputeCapability, sm: ComputeCapability, cuda: CudaVersion | None) -> bool:
    if sm.major != cc.major or sm > cc:
        return False
    if (cc in INTEGRATED) == (sm in INTEGRATED):
        return sm == cc or cc not in INTEGRATED
    return cc in INTEGRATED and sm in _RELAXED and cuda is not None and cuda >= _RELAXED_FROM


class Architectures:
    """Questions about compiled architectures; answers come from ``architectures.yaml``."""

    def __init__(self, file: ArchitecturesFile) -> None:
        self.file = file
        self._rows = {
            (version_of(torch), variant, platform): row
            for row in file.builds
            for torch in row.torch
            for variant in row.variants
            for platform in row.platforms
        }
        self._lists: dict[tuple[Version, str, str], SmList] = {}

    def built(self, torch: Version, variant: str, platform: str) -> SmList | None:
        """Architectures of one wheel; None for CPU builds and for releases the table does not know."""
        key = (version_of(torch.public), variant, platform)
        row = self._rows.get(key)
        if row is None:
            return None
        if key not in self._lists:
            self._lists[key] = _sm_list(row, variant)
        return self._lists[key]

    def builds(self) -> tuple[tuple[Version, str, str], ...]:
        """Every known build as (torch, variant, platform): newest torch first, then newest CUDA, then Linux x86_64."""
        return tuple(sorted(self._rows, key=_build_order, reverse=True))

    def last_release_for(self, cc: ComputeCapability, platform: str | None = None) -> Support | None:
        """The newest torch with a binary for such GPUs, on any platform or the one given; None when there is none."""
        return self._first_support(cc, platform, self.builds())

    def first_release_for(self, cc: ComputeCapability, platform: str | None = None) -> Support | None:
        """The oldest torch with a binary for such GPUs, on any platform or the one given; None when there is none."""
        return self._first_support(cc, platform, sorted(self._rows, key=_oldest_first))

    def _first_support(
        self, cc: ComputeCapability, platform: str | None, builds: Iterable[tuple[Version, str, str]]
    ) -> Support | None:
        for torch, variant, where in builds:
            possible = platform in (None, where) and (cc not in INTEGRATED or where == "linux_aarch64")
            found = self.built(torch, variant, where) if possible else None
            fit = runs_on(cc, found, driver_is_direct=False) if found else None
            if found and fit and fit.sm:
                return Support(torch=torch, variant=variant, platform=where, sm=fit.sm, confidence=found.confidence)
        return None


def _oldest_first(build: tuple[Version, str, str]) -> tuple[Version, CudaVersion, bool, str]:
    torch, cuda, preferred, platform = _build_order(build)
    return torch, cuda, not preferred, platform


def _build_order(build: tuple[Version, str, str]) -> tuple[Version, CudaVersion, bool, str]:
    torch, variant, platform = build
    return torch, CudaVersion.parse(variant), platform == "linux_x86_64", platform


def _sm_list(row: BuildRow, variant: str) -> SmList:
    parsed = SmList.parse((*row.sm, *row.ptx), cuda=CudaVersion.parse(variant), source=row.source)
    return msgspec.structs.replace(parsed, confidence=row.confidence, note=row.note)
