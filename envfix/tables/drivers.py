"""Drivers: what a CUDA runtime needs of them, which CUDA they serve, which GPUs they know."""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

import msgspec

from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.tables.rows import CapabilityText, Confidence, CudaText, DriverText, Row, System, TableFile

OpenModules = Literal["required", "possible", "impossible"]
BranchStatus = Literal["legacy", "end_of_life", "lts", "production", "new_feature", "current"]


class ToolkitRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Driver that came with one toolkit release."""

    cuda: CudaText
    update: int
    linux: DriverText
    windows: DriverText | None


class FamilyRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Oldest driver on which the runtimes of a CUDA major family work at all."""

    major: int | None = None
    cuda: CudaText | None = None
    linux: DriverText
    windows: DriverText


class Branch(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A driver branch, the newest CUDA it serves and whether it is still looked after."""

    branch: int
    cuda: CudaText
    status: BranchStatus | None = None


class Capability(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """GPUs of one compute capability: their architecture and the toolkits and driver branches that know them."""

    capability: CapabilityText
    architecture: str
    first_cuda: CudaText
    last_cuda: CudaText | None
    first_branch: int | None
    last_branch: int | None
    integrated: bool = False
    open_modules: OpenModules


class ForwardCompatibility(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package that lets an older driver serve a newer CUDA, on some systems and classes of GPU only."""

    package: str
    systems: tuple[System, ...]
    classes: tuple[str, ...]


class DriversFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``drivers.yaml``."""

    toolkits: tuple[ToolkitRow, ...]
    families: tuple[FamilyRow, ...]
    branches: tuple[Branch, ...]
    capabilities: tuple[Capability, ...]
    forward_compatibility: tuple[ForwardCompatibility, ...]


class DriverFloor(msgspec.Struct, frozen=True, kw_only=True):
    """Oldest drivers for one CUDA runtime.

    ``family`` is enough for minor-version compatibility (no PTX, nothing the driver lacks); from ``exact`` on the
    runtime is used directly. ``exact`` is unknown where the toolkit names no driver (Windows since CUDA 13).
    """

    cuda: CudaVersion
    family: DriverVersion
    exact: DriverVersion | None
    confidence: Confidence
    source: str

    def compatibility(self, driver: DriverVersion) -> Literal["direct", "minor"] | None:
        """How this driver serves the runtime; None when it is too old for it."""
        if self.exact is not None and driver >= self.exact:
            return "direct"
        return "minor" if driver >= self.family else None


class Drivers:
    """Questions about drivers; answers come from ``drivers.yaml``."""

    def __init__(self, file: DriversFile) -> None:
        self.file = file
        self._exact = {CudaVersion.parse(row.cuda): row for row in reversed(file.toolkits) if row.update == 0}
        self._families = {row.major: row for row in file.families if row.major is not None}
        self._special = {CudaVersion.parse(row.cuda): row for row in file.families if row.cuda is not None}
        self._branches = sorted(file.branches, key=lambda row: row.branch)
        self._capabilities = {ComputeCapability.parse(row.capability): row for row in file.capabilities}

    def floor(self, cuda: CudaVersion, system: Literal["linux", "windows"]) -> DriverFloor | None:
        """Oldest drivers for a runtime; None for a CUDA that no row covers."""
        exact = self._exact.get(cuda)
        family = self._special.get(cuda) or self._families.get(cuda.major)
        exact_text = getattr(exact, system) if exact else None
        family_text = getattr(family, system) if family else exact_text
        row = family or exact
        if row is None or family_text is None:
            return None
        return DriverFloor(
            cuda=cuda,
            family=DriverVersion.parse(family_text),
            exact=DriverVersion.parse(exact_text) if exact_text else None,
            confidence=exact.confidence if exact else row.confidence,
            source=row.source if exact is None or exact is row else f"{row.source} + {exact.source}",
        )

    def minimums(self, system: Literal["linux", "windows"]) -> tuple[DriverVersion, ...]:
        """Every driver that is the oldest one for some runtime or family of runtimes, the oldest first."""
        texts = {getattr(row, system) for row in (*self.file.toolkits, *self.file.families)}
        return tuple(sorted(DriverVersion.parse(text) for text in texts if text))

    def branch(self, driver: DriverVersion) -> Branch | None:
        """The listed branch that a driver belongs to, on Windows too; None for drivers older than the table."""
        position = bisect_right([row.branch for row in self._branches], driver.branch)
        return self._branches[position - 1] if position else None

    def branches(self) -> tuple[Branch, ...]:
        """Every listed branch, the oldest first."""
        return tuple(self._branches)

    def newest_cuda(self, driver: DriverVersion) -> CudaVersion | None:
        """Newest CUDA that a driver serves directly, as nvidia-smi prints it; None for drivers older than the table."""
        row = self.branch(driver)
        return CudaVersion.parse(row.cuda) if row else None

    def first_branch_serving(self, cuda: CudaVersion) -> int | None:
        """The oldest driver branch that serves this CUDA directly; None when no listed branch does."""
        return next((row.branch for row in self._branches if CudaVersion.parse(row.cuda) >= cuda), None)

    def capability(self, cc: ComputeCapability) -> Capability | None:
        """What is known about GPUs of this capability; None when nothing is."""
        return self._capabilities.get(cc)

    def capabilities(self) -> tuple[ComputeCapability, ...]:
        """Every known capability, the oldest first."""
        return tuple(sorted(self._capabilities))

    def first_branch_for(self, cc: ComputeCapability) -> int | None:
        """The oldest driver branch that knows such GPUs; None when the table does not say."""
        row = self.capability(cc)
        return row.first_branch if row else None

    def last_branch_for(self, cc: ComputeCapability) -> int | None:
        """The newest driver branch that still knows such GPUs; None when all do, or the table does not say."""
        row = self.capability(cc)
        return row.last_branch if row else None

    def open_module_needed(self, cc: ComputeCapability) -> bool:
        """Whether such GPUs work only with the open kernel modules; False for an unknown capability."""
        row = self.capability(cc)
        return row is not None and row.open_modules == "required"

    def open_module_possible(self, cc: ComputeCapability) -> bool:
        """Whether such GPUs can work with the open kernel modules; True for an unknown, newer capability."""
        row = self.capability(cc)
        return row is None or row.open_modules != "impossible"

    def forward_compatibility(self, system: System, gpu_class: str) -> ForwardCompatibility | None:
        """The compatibility package that may help on such a machine, or None; never for GeForce."""
        return next(
            (row for row in self.file.forward_compatibility if system in row.systems and gpu_class in row.classes), None
        )
