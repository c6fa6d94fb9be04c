"""What ultralytics asks for, release by release."""

from __future__ import annotations

from typing import Literal

import msgspec
from packaging.version import Version

from envfix.tables.rows import (
    Confidence,
    PlatformText,
    PythonTag,
    ReleaseText,
    Row,
    SpecifierText,
    System,
    TableFile,
    least,
    version_of,
)


class BoundRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bound that holds from one release on, on all systems or some."""

    since: ReleaseText
    systems: tuple[System, ...] = ()
    specifier: SpecifierText
    exact: bool = True


class MilestoneRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that ultralytics can do from one release on, and the torch it matters for."""

    name: Literal["weights_only"]
    since: ReleaseText
    torch: SpecifierText


class Extra(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An optional part whose requirements may replace torch: ``specifier`` holds on some platforms and interpreters only."""

    name: str
    replaces_torch: bool
    specifier: SpecifierText = ""
    platforms: tuple[PlatformText, ...] = ()
    pythons: tuple[PythonTag, ...] = ()
    only: str | None = None


class UltralyticsFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``ultralytics.yaml``."""

    newest: ReleaseText
    python: tuple[BoundRow, ...]
    torch: tuple[BoundRow, ...]
    torchvision: tuple[BoundRow, ...]
    numpy: tuple[BoundRow, ...]
    opencv: tuple[BoundRow, ...]
    milestones: tuple[MilestoneRow, ...]
    extras: tuple[Extra, ...]


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """What the releases from ``first`` to before ``until`` ask for, as specifiers; empty means no bound is known.

    ``loads_weights_with_torch_2_6`` is False for releases whose checkpoints torch 2.6.0 and newer refuse to load.
    """

    first: Version
    until: Version | None
    system: System
    python: str
    torch: str
    torchvision: str
    numpy: str
    opencv: str
    loads_weights_with_torch_2_6: bool
    confidence: Confidence
    source: str


_BOUNDS = ("python", "torch", "torchvision", "numpy", "opencv")


class Ultralytics:
    """Questions about ultralytics; answers come from ``ultralytics.yaml``."""

    def __init__(self, file: UltralyticsFile) -> None:
        self._file = file
        rows = [row for bound in _BOUNDS for row in getattr(file, bound)]
        self._edges = sorted({version_of(row.since) for row in [*rows, *file.milestones]})

    def newest(self) -> Version:
        """The newest release that the table was checked against."""
        return version_of(self._file.newest)

    def oldest(self) -> Version:
        """The first release there was."""
        return self._edges[0]

    def reviewed(self) -> str:
        """The day until which the table knows every release."""
        return self._file.reviewed

    def requirements(self, version: Version, system: System = "linux") -> Requirements | None:
        """What a release asks for; None for releases older than the table. Newer ones are taken to ask the same."""
        edges = [edge for edge in self._edges if edge <= version]
        return self._range(len(edges) - 1, system) if edges else None

    def ranges(self, system: System = "linux") -> tuple[Requirements, ...]:
        """Ranges of releases that ask for the same, the oldest first."""
        return tuple(self._range(number, system) for number in range(len(self._edges)))

    def extras(self) -> tuple[Extra, ...]:
        """Optional parts that may replace torch."""
        return self._file.extras

    def _range(self, number: int, system: System) -> Requirements:
        first = self._edges[number]
        rows = {bound: _row_at(getattr(self._file, bound), first, system) for bound in _BOUNDS}
        confidence: Confidence = "verified"
        for row in rows.values():
            confidence = least(confidence, row.confidence) if row else confidence
        weights = next(row for row in self._file.milestones if row.name == "weights_only")
        specifiers = {bound: row.specifier if row else "" for bound, row in rows.items()}
        return Requirements(
            first=first,
            until=self._edges[number + 1] if number + 1 < len(self._edges) else None,
            system=system,
            loads_weights_with_torch_2_6=first >= version_of(weights.since),
            confidence=confidence,
            source=" + ".join(dict.fromkeys(row.source for row in rows.values() if row)),
            **specifiers,
        )


def _row_at(rows: tuple[BoundRow, ...], version: Version, system: System) -> BoundRow | None:
    """The last row that has begun and speaks for the system; a row without systems speaks for all of them."""
    begun = [row for row in rows if version_of(row.since) <= version and (not row.systems or system in row.systems)]
    return max(begun, key=lambda row: version_of(row.since), default=None)
