"""Host compilers: which gcc, clang and MSVC nvcc and torch accept, and what distributions bring."""

from __future__ import annotations

from typing import Annotated

import msgspec

from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.tables.rows import Confidence, CudaText, Row, SmText, TableFile

_Range = Annotated[tuple[int, int], msgspec.Meta(description="both ends included")]


class NvccRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compilers that the nvcc of one toolkit accepts."""

    cuda: CudaText
    gcc_min: int | None = None
    gcc_max: int
    clang_max: int
    msc: _Range | None = None


class TorchCheckRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Compilers that torch's extension builder accepts with one toolkit."""

    cuda: CudaText
    gcc: _Range
    clang_max: int | None = None


class NvccArchitecture(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first toolkit whose nvcc compiles for an architecture."""

    sm: SmText
    since: CudaText


class OverrideRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The flag that turns nvcc's version check off."""

    flag: str
    variable: str
    since: CudaText


class Distribution(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a distribution brings; everything but its name and release may be unknown."""

    distribution: str
    version: str
    gcc: str | None = None
    glibc: str | None = None
    python: str | None = None


class HostCompilersFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``host_compilers.yaml``."""

    nvcc: tuple[NvccRow, ...]
    torch_checks: tuple[TorchCheckRow, ...]
    architectures: tuple[NvccArchitecture, ...]
    override: tuple[OverrideRow, ...]
    distributions: tuple[Distribution, ...]


class CompilerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Compilers accepted with one toolkit: major versions of gcc and clang, a range of ``_MSC_VER``; all inclusive."""

    cuda: CudaVersion
    gcc_min: int | None
    gcc_max: int
    clang_max: int | None
    msc: tuple[int, int] | None
    confidence: Confidence
    source: str
    note: str | None = None


class HostCompilers:
    """Questions about compilers; answers come from ``host_compilers.yaml``."""

    def __init__(self, file: HostCompilersFile) -> None:
        self._file = file
        self._nvcc = {CudaVersion.parse(row.cuda): row for row in file.nvcc}
        self._torch = {CudaVersion.parse(row.cuda): row for row in file.torch_checks}

    def limits(self, cuda: CudaVersion) -> CompilerLimits | None:
        """What the nvcc of this toolkit accepts; None for a toolkit the table does not know."""
        row = self._nvcc.get(cuda)
        if row is None:
            return None
        return CompilerLimits(
            cuda=cuda,
            gcc_min=row.gcc_min,
            gcc_max=row.gcc_max,
            clang_max=row.clang_max,
            msc=row.msc,
            confidence=row.confidence,
            source=row.source,
            note=row.note,
        )

    def torch_limits(self, cuda: CudaVersion) -> CompilerLimits | None:
        """What torch's extension builder accepts with this toolkit; None when torch does not check it."""
        row = self._torch.get(cuda)
        if row is None:
            return None
        return CompilerLimits(
            cuda=cuda,
            gcc_min=row.gcc[0],
            gcc_max=row.gcc[1],
            clang_max=row.clang_max,
            msc=None,
            confidence=row.confidence,
            source=row.source,
        )

    def oldest_cuda_for_gcc(self, major: int) -> CudaVersion | None:
        """The oldest toolkit whose nvcc accepts this gcc; None when none does yet."""
        return min((cuda for cuda, row in self._nvcc.items() if row.gcc_max >= major), default=None)

    def oldest_cuda_for(self, capability: ComputeCapability) -> CudaVersion | None:
        """The oldest toolkit that compiles for cards of this capability; None for one the table does not know."""
        found = (row for row in self._file.architectures if ComputeCapability.parse(row.sm) == capability)
        return next((CudaVersion.parse(row.since) for row in found), None)

    def override_flag(self, cuda: CudaVersion) -> OverrideRow | None:
        """The flag that turns the version check of this toolkit off, if it knows one."""
        return next((row for row in self._file.override if cuda >= CudaVersion.parse(row.since)), None)

    def distribution(self, name: str, version: str) -> Distribution | None:
        """What a distribution release brings, by its id in os-release; None when the table does not know it."""
        wanted = _ALIASES.get(name, name)
        for row in self._file.distributions:
            if row.distribution == wanted and (row.version == "any" or _same_release(row.version, version)):
                return row
        return None


# Rebuilds of one distribution under other names.
_ALIASES = {
    "centos": "rhel",
    "rocky": "rhel",
    "almalinux": "rhel",
    "ol": "rhel",
    "amzn": "amazon-linux",
    "sles": "opensuse-leap",
}


def _same_release(row: str, version: str) -> bool:
    if row.endswith(".x"):
        return version.split(".", 1)[0] == row[:-2]
    return version == row or version.startswith(f"{row}.")
