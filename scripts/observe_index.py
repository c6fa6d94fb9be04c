"""Compares the tables with what the live indexes hold and prints the rows to add: `python -m scripts.observe_index`.

Asks the official index of torch (its root page and the page of every variant) and the default registry, for torch,
torchvision, torchaudio, triton and ultralytics, and opens wheels only as far as needed: METADATA by its own address
where the index has it, else a few kilobytes out of the wheel. It never edits a table: it prints

- rows to add, in the very form of compat_tables/*.yaml, with the list they belong to;
- drift: files that a table has and the index has not, and columns that the wheels contradict;
- what names and METADATA cannot tell, and what else a person should look at.

`--thorough` opens a wheel of each known group of files too. Exit codes: 0 no drift, 1 something to add or to correct,
2 wrong usage, 3 an index could not be asked (the others were still compared).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import io
import re
import sys
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from email.parser import HeaderParser
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec
import pypi_simple
import requests
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from envfix.host.index import IndexCandidate, check_indexes, default_registry
from envfix.model.versions import CudaVersion
from envfix.tables.companions import PackageRelease
from envfix.tables.loader import Tables, load
from envfix.tables.rows import System
from envfix.tables.wheels import PACKAGES, Package, Wheel, platform_of

PROJECTS = (*PACKAGES, "triton", "ultralytics")
SYSTEMS: tuple[System, ...] = ("linux", "windows", "macos")
BOUNDS = {"python": "", "torch": "torch", "torchvision": "torchvision", "numpy": "numpy", "opencv": "opencv-python"}
LIVE = "live-index"
Kind = Literal["official", "registry"]
Companion = Literal["torchvision", "torchaudio"]
COMPANIONS: tuple[Companion, ...] = ("torchvision", "torchaudio")
NOWHERE = (403, 404, 410)

_VARIANT = re.compile(r"cpu|cu\d{2,3}|rocm\d+(\.\d+)+|xpu")
_PLAIN = re.compile(r"[A-Za-z_][\w.+ -]*|\d+\.\d+\.\d[\w.]*")
_RUNTIME = re.compile(r"nvidia-cuda-(runtime|nvrtc)(-cu\d+)?")


# What is seen, and what is found


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel on an index. ``directory``: its folder below the base of a torch index, None where that cannot be told."""

    package: str
    version: str
    label: str
    build: str
    python: str
    abi: str
    tag: str
    filename: str
    url: str = ""
    directory: str | None = None
    day: str | None = None
    requires_python: str | None = None
    yanked: bool = False
    index: Kind = "registry"

    @property
    def platform(self) -> str:
        """The platform behind its tag."""
        return platform_of(self.tag.split(".")[-1])

    @property
    def interpreter(self) -> str:
        """The interpreter as the tables write it: ``cp313t``, ``py3``."""
        return f"{self.python}t" if self.abi == f"{self.python}t" else self.python

    @property
    def variant(self) -> str | None:
        """What runs inside a file of a torch index, from its label or its folder; None: they do not tell."""
        told = _VARIANT.match(self.label.removeprefix("+")) or _VARIANT.match(self.directory or "")
        return told[0] if told else "cpu" if self.platform.startswith("macosx") else None


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """What a wheel says about itself: its METADATA and its ``version.py``, None where they could not be read."""

    metadata: str | None = None
    version_py: str | None = None


class Addition(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="add"):
    """Lines to add at the end of a list of a table; ``place`` leads to the list: ``releases``, ``2.14.1``, ``official``.

    ``instead``: they take the place of all that the list holds now.
    """

    table: str
    place: tuple[str, ...]
    lines: str
    instead: bool = False


class Remark(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="remark"):
    """What else there is to say about a table.

    ``about``: ``gone`` (the table has files that the index has not) and ``wrong`` (a column is contradicted) are drift;
    ``unknown`` could not be told; ``confirmed`` (inferred files were seen) and ``note`` are for a person to look at.
    """

    about: Literal["gone", "wrong", "unknown", "confirmed", "note"]
    table: str
    text: str
    files: tuple[str, ...] = ()


Finding = Addition | Remark
Bounds = dict[tuple[str, System], SpecifierSet]
Open = Callable[[Sequence[Seen]], Sequence[Inside]]
Files = tuple[Seen, ...]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An index that was asked: its files by project, and what is wrong with the answer."""

    name: str
    address: str
    kind: Kind = "registry"
    files: dict[str, tuple[Seen, ...]] = msgspec.field(default_factory=dict)
    problem: str | None = None


# Reading names and texts


def seen_file(filename: str, **more: Any) -> Seen | None:
    """What a file name says; None for what is no wheel of a release."""
    with contextlib.suppress(InvalidWheelFilename):
        name, version, build, _ = parse_wheel_filename(filename)
        if version.is_prerelease or version.is_postrelease:
            return None
        python, abi, tag = filename.removesuffix(".whl").split("-")[-3:]
        if python.startswith("pp"):
            return None
        return Seen(
            package=str(name),
            version=version.public,
            label=f"+{version.local}" if version.local else "",
            build="".join(map(str, build)),
            python=python,
            abi=abi,
            tag=tag,
            filename=filename,
            **more,
        )
    return None


def requirements(metadata: str, platform: str) -> dict[str, SpecifierSet]:
    """What METADATA requires on a platform without any extra: several lines about one package are joined."""
    machine = platform.removeprefix("linux_").removeprefix("win_").removeprefix("macosx_").upper()
    system, short = {"l": ("Linux", "linux"), "w": ("Windows", "win32"), "m": ("Darwin", "darwin")}[platform[0]]
    where = {
        "platform_system": system,
        "sys_platform": short,
        "platform_machine": machine if system == "Windows" else machine.lower(),
        "os_name": "nt" if system == "Windows" else "posix",
        "python_version": "3.11",
        "python_full_version": "3.11.9",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    found: dict[str, dict[str, None]] = {}
    for line in HeaderParser().parsestr(metadata).get_all("Requires-Dist", []):
        with contextlib.suppress(InvalidRequirement):
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate(where):
                name = asked.name.lower().replace("_", "-")
                found.setdefault(name, {}).update(dict.fromkeys(map(str, asked.specifier)))
    return {name: SpecifierSet(",".join(bounds)) for name, bounds in found.items()}


def pinned(asked: Mapping[str, SpecifierSet], pattern: str | re.Pattern[str]) -> str | None:
    """The version that the first requirement whose name fits is pinned to."""
    names = (name for name in asked if re.fullmatch(pattern, name))
    pins = (bound.version for name in names for bound in asked[name] if bound.operator == "==")
    return next(pins, None)


def variant_by_metadata(metadata: str, platform: str) -> str | None:
    """The CUDA variant that a wheel's requirements give away; None when they do not, as for a build without CUDA."""
    asked = requirements(metadata, platform)
    pin = pinned(asked, "cuda-toolkit") or pinned(asked, _RUNTIME)
    return CudaVersion.of(*Version(pin).release[:2]).variant if pin else None


def variant_by_version_py(text: str, platform: str) -> str | None:
    """The variant that ``version.py`` inside a wheel names, in its label or as ``cuda = '13.2'``."""
    label = re.search(r"^__version__ = ['\"][^'\"+]*\+(\w[\w.]*)", text, re.MULTILINE)
    cuda = re.search(r"^cuda(?:: [\w\[\]]+)? = (?:None|['\"]([\d.]+)['\"])", text, re.MULTILINE)
    if label and (told := _VARIANT.match(label[1])):
        return told[0]
    if cuda:
        return CudaVersion.of(*Version(cuda[1]).release[:2]).variant if cuda[1] else "cpu"
    return "cpu" if platform.startswith("macosx") else None


def variant_inside(inside: Inside, platform: str) -> str | None:
    """The variant of a wheel whose name hides it; None: neither ``version.py`` nor METADATA tells."""
    told = variant_by_version_py(inside.version_py, platform) if inside.version_py else None
    return told or (variant_by_metadata(inside.metadata, platform) if inside.metadata else None)


def bounds_of(metadata: str, system: System) -> dict[str, SpecifierSet]:
    """What an ultralytics release asks for on a system, in the columns of ``ultralytics.yaml``."""
    platform = {"linux": "linux_x86_64", "windows": "win_amd64", "macos": "macosx_arm64"}[system]
    asked = requirements(metadata, platform)
    found = {column: asked.get(name, SpecifierSet()) for column, name in BOUNDS.items()}
    found["python"] = SpecifierSet(HeaderParser().parsestr(metadata).get("Requires-Python", ""))
    return found


# Writing rows as the tables write them


def flow(value: dict[str, Any] | Sequence[str] | str) -> str:
    """A value as it stands in a line of a table: ``{variant: cu130, pythons: [cp311]}``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
    if not isinstance(value, str):
        return "[" + ", ".join(map(flow, value)) + "]"
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "''") + "'"


def row(**columns: Any) -> str:
    """One line of a list; columns that are None are left out."""
    return f"- {flow({key: value for key, value in columns.items() if value is not None})}"


def specifier(asked: SpecifierSet) -> str:
    """A specifier in the order of the tables: lower bound, upper bound, exclusions."""
    order = ("==", "~=", ">=", ">", "<=", "<", "!=")
    return ",".join(map(str, sorted(asked, key=lambda bound: (order.index(bound.operator), bound.version))))


def _pythons(files: Iterable[Seen]) -> list[str]:
    return sorted({file.interpreter for file in files}, key=_interpreter_order)


def _interpreter_order(name: str) -> tuple[int, str]:
    return int((re.search(r"\d\d+", name) or ["0"])[0]), name


def _usual_abi(python: str, interpreter: str) -> str:
    if python in ("cp36", "cp37"):
        return f"{python}m"
    return "none" if python == "py3" else interpreter


def _group(files: Iterable[Seen]) -> dict[tuple[str, str, str, str, str, str, str], list[Seen]]:
    """Files that differ in the interpreter only: one row each."""
    groups: dict[tuple[str, str, str, str, str, str, str], list[Seen]] = {}
    for file in files:
        abi = "" if file.abi == _usual_abi(file.python, file.interpreter) else file.abi
        key = (file.package, file.version, file.directory or "", file.label, file.tag, abi, file.build)
        groups.setdefault(key, []).append(file)
    return groups


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A group of files that makes one row; no ``variant``, no row: nobody told what runs inside."""

    variant: str | None
    files: tuple[Seen, ...]

    @property
    def text(self) -> str:
        """The row as it stands in ``wheels.yaml`` (official and registry) or ``companions.yaml`` (registry)."""
        (_, _, directory, label, tag, abi, build) = next(iter(_group(self.files)))
        shared = {"tag": tag, "abi": abi or None, "build": build or None, "pythons": _pythons(self.files)}
        if self.files[0].index == "registry":
            return row(variant=self.variant, **shared)
        return row(
            variant=self.variant,
            directory=directory if directory != self.variant and self.files[0].directory is not None else None,
            label=label if label != f"+{self.variant}" else None,
            **shared,
            confidence="verified",
            source=LIVE,
        )


# Comparing


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one package on one index against the table."""

    new: tuple[Seen, ...]
    gone: tuple[Wheel, ...]
    confirmed: tuple[Wheel, ...]


def compare_files(seen: Sequence[Seen], known: Sequence[Wheel], oldest: Version) -> Difference:
    """Which files only one side has; releases older than the tables are left out."""
    by_place = {(wheel.directory, wheel.filename): wheel for wheel in known}
    folders = {wheel.filename: wheel.directory for wheel in known}
    met: set[tuple[str, str]] = set()
    new = []
    for file in seen:
        directory = file.directory if file.index == "official" else ""
        if directory is None:
            directory = folders.get(file.filename, "")
        met.add((directory, file.filename))
        if (directory, file.filename) not in by_place and Version(file.version) >= oldest:
            new.append(file)
    return Difference(
        new=tuple(new),
        gone=tuple(wheel for place, wheel in by_place.items() if place not in met),
        confirmed=tuple(wheel for place, wheel in by_place.items() if place in met and wheel.confidence == "inferred"),
    )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What METADATA of torch says about what comes with it."""

    triton: str | None = None
    triton_on: tuple[str, ...] = ()
    cudnn: dict[str, str] = msgspec.field(default_factory=dict)
    cuda: dict[str, str] = msgspec.field(default_factory=dict)


def facts_of(metadata: str | None, by_variant: Mapping[str, str], platform: str) -> Facts:
    """Columns of torch in ``companions.yaml``: triton from the METADATA given, the rest from that of each variant."""
    asked = {place: requirements(metadata, place) for place in ("linux_x86_64", "linux_aarch64")} if metadata else {}
    wanted = {place: found["triton"] for place, found in asked.items() if "triton" in found}
    inside = {variant: requirements(text, platform) for variant, text in by_variant.items()}
    cudnn = {variant: pinned(found, r"nvidia-cudnn-cu\d+") for variant, found in inside.items()}
    cuda = {variant: pinned(found, "cuda-toolkit") for variant, found in inside.items()}
    return Facts(
        triton=specifier(next(iter(wanted.values()))) if wanted else None,
        triton_on=tuple(wanted),
        cudnn={variant: version for variant, version in cudnn.items() if version},
        cuda={variant: version for variant, version in cuda.items() if version},
    )


def triton_findings(tables: Tables, files: Sequence[Seen]) -> Iterator[Finding]:
    """Interpreters of triton: rows for releases newer than the table's, and rows that say something else."""
    known = {(row.platform, row.version): tuple(row.pythons) for row in tables.companions.file.triton}
    oldest = min(Version(version) for _, version in known)
    found: dict[tuple[str, str], list[Seen]] = {}
    for file in files:
        if Version(file.version) >= oldest:
            found.setdefault((file.platform, file.version), []).append(file)
    for (platform, version), group in sorted(found.items(), key=lambda item: (Version(item[0][1]), item[0][0])):
        pythons = sorted({_triton_python(file) for file in group}, key=_interpreter_order)
        if (platform, version) not in known:
            text = row(
                platform=platform, version=version, pythons=pythons, confidence="verified", source="registry-list"
            )
            yield Addition(table="companions", place=("triton",), lines=text)
        elif set(known[platform, version]) != set(pythons):
            yield _wrong(f"triton {version} for {platform}", "pythons", known[platform, version], pythons)
    for platform, version in known.keys() - found.keys():
        yield Remark(about="gone", table="companions", text=f"triton {version} for {platform} is not on the registry")


def _triton_python(file: Seen) -> str:
    return f"{file.python}-{file.abi}" if file.abi.startswith("abi3") else file.interpreter


def known_bounds(tables: Tables, version: Version) -> Bounds:
    """What the table says that an ultralytics release asks for."""
    found: Bounds = {}
    for system in SYSTEMS:
        known = tables.ultralytics.requirements(version, system)
        found.update({(column, system): SpecifierSet(getattr(known, column, "")) for column in BOUNDS})
    return found


def bound_rows(before: Bounds, metadata: Mapping[str, str]) -> dict[str, list[str]]:
    """By column, a row for each release that asks for something else than the one before it; the oldest comes first."""
    rows: dict[str, list[str]] = {column: [] for column in BOUNDS}
    for version, text in metadata.items():
        now = {(column, system): asked for system in SYSTEMS for column, asked in bounds_of(text, system).items()}
        for column in BOUNDS:
            changed = [one for one in SYSTEMS if now[column, one] != before.get((column, one), SpecifierSet())]
            for asked in dict.fromkeys(now[column, system] for system in changed):
                alike = [system for system in SYSTEMS if now[column, system] == asked]
                columns = {"since": version, "systems": alike if len(alike) < len(SYSTEMS) else None}
                sure = {"confidence": "verified", "source": "wheel-metadata"}
                rows[column].append(row(**columns, specifier=specifier(asked), **sure))
        before = now
    return rows


def new_bounds(tables: Tables, metadata: Mapping[str, str]) -> Iterator[Finding]:
    """What ultralytics releases newer than the table change."""
    if not metadata:
        return
    newest = tables.ultralytics.newest()
    for column, rows in bound_rows(known_bounds(tables, newest), metadata).items():
        if rows:
            yield Addition(table="ultralytics", place=(column,), lines="\n".join(rows))
    yield _remark("note", f"newest: {newest} may become {max(metadata, key=Version)}", "ultralytics")


def wrong_bounds(tables: Tables, metadata: Mapping[str, str]) -> Iterator[Remark]:
    """Runs of ultralytics releases that ask for something else than the table says, the oldest release first."""
    runs: dict[tuple[str, System], list[tuple[str, str, str, str]]] = {}
    for version, text in metadata.items():
        known = known_bounds(tables, Version(version))
        for system in SYSTEMS:
            for column, asked in bounds_of(text, system).items():
                _lengthen(runs.setdefault((column, system), []), version, known[column, system], asked)
    systems: dict[tuple[str, str, str, str, str], list[str]] = {}
    for (column, system), found in runs.items():
        for first, last, before, now in found:
            if before != now:
                systems.setdefault((column, first, last, before, now), []).append(system)
    for (column, first, last, before, now), where in systems.items():
        span = first if first == last else f"{first} to {last}"
        on = "" if len(where) == len(SYSTEMS) else f" on {' and '.join(where)}"
        yield _wrong(f"ultralytics {span}{on}", column, before, now, "ultralytics")


def _lengthen(runs: list[tuple[str, str, str, str]], version: str, known: SpecifierSet, asked: SpecifierSet) -> None:
    """Add a release to the last run (first release, last one, table, METADATA) if the same holds there."""
    says = (specifier(known), specifier(known if known == asked else asked))
    first = runs.pop()[0] if runs and runs[-1][2:] == says else version
    runs.append((first, version, *says))


def _about_wheels(about: Literal["gone", "confirmed"], index: Asked, wheels: Iterable[Wheel]) -> Iterator[Remark]:
    """One remark for each row of the table whose files the index has not, or has although they were inferred."""
    groups: dict[tuple[str, ...], list[Wheel]] = {}
    for wheel in wheels:
        release = f"{wheel.package} {wheel.version}{wheel.local_label}"
        groups.setdefault((release, wheel.variant, wheel.directory, wheel.platform_tag, wheel.build), []).append(wheel)
    for (release, variant, directory, tag, build), group in groups.items():
        where = f", folder {directory}" if directory not in ("", variant) else ""
        again = f", build {build}" if build else ""
        pythons = [f"{one.python} ({one.confidence})" for one in group]
        does = "not on" if about == "gone" else "inferred, seen on"
        text = f"{release} ({variant}{where}) {tag}{again}: {', '.join(pythons)}: {does} {index.name}"
        names = tuple(one.filename for one in group)
        yield Remark(about=about, table=_table_of(group[0].package), text=text, files=names)


def _yanked(package: Package, index: Asked, planned: set[str]) -> Iterator[Remark]:
    """Releases that were taken back as a whole and that the table would still plan."""
    for version, files in _by_version(index.files[package]).items():
        if version in planned and all(file.yanked for file in files):
            text = f"{package} {version} is yanked on {index.name}, and the table does not avoid it"
            yield Remark(about="wrong", table=_table_of(package), text=text)


def _unknown(lines: Iterable[Line]) -> Iterator[Remark]:
    for line in lines:
        if line.variant is None:
            text = f"{_shown(line.files)}: its CUDA is unknown: read version.py of the wheel"
            names = tuple(file.filename for file in line.files)
            yield Remark(about="unknown", table=_table_of(line.files[0].package), text=text, files=names)


def _remark(about: Literal["unknown", "note"], text: str, table: str = "companions") -> Remark:
    return Remark(about=about, table=table, text=text)


def _wrong(what: str, column: str, before: object, now: object, table: str = "companions") -> Remark:
    """A column that the index contradicts."""
    texts = [
        ", ".join(value) if isinstance(value, (list, tuple)) else str(value or "nothing") for value in (before, now)
    ]
    return Remark(about="wrong", table=table, text=f"{what}, column {column}: {texts[0]} in the table, {texts[1]} seen")


def _shown(files: Sequence[Seen]) -> str:
    first = files[0]
    build = f", build {first.build}" if first.build else ""
    return f"{first.package} {first.version}{first.label} {first.tag}{build}, {' '.join(_pythons(files))}"


def _list(name: str, rows: Sequence[str]) -> str:
    return "\n".join((f"  {name}:", *(f"  {line}" for line in rows))) if rows else f"  {name}: []"


def _by_version(files: Iterable[Seen]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = {}
    for file in files:
        found.setdefault(file.version, []).append(file)
    return found


def _telling(files: Sequence[Seen]) -> Seen:
    """The file whose METADATA says most: that for Linux x86_64."""
    return next((file for file in files if file.platform == "linux_x86_64"), files[0])


def _day(files: Iterable[Seen]) -> str | None:
    return min((file.day for file in files if file.day), default=None)


def _days_apart(first: str | None, second: str | None) -> int:
    if not first or not second:
        return 10_000
    return abs((dt.date.fromisoformat(first) - dt.date.fromisoformat(second)).days)


def _table_of(package: str) -> str:
    return "wheels" if package == "torch" else "companions"


def _is_special(line: Line) -> bool:
    directory = line.files[0].directory
    return line.files[0].index == "official" and directory is not None and directory != line.variant


def _finding_order(one: Finding) -> tuple[bool, str, bool]:
    return isinstance(one, Remark), one.table, isinstance(one, Addition) and one.place != ("sources",)


def _torch_in(metadata: str, platform: str) -> SpecifierSet:
    """Which torch METADATA accepts, whatever its local label."""
    asked = requirements(metadata, platform).get("torch", SpecifierSet())
    return SpecifierSet(",".join(str(bound).partition("+")[0] for bound in asked))


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A torchvision or torchaudio that the tables do not know: which torch it accepts and was released with."""

    version: str
    torch: SpecifierSet
    built_with: str

    def accepts(self, torch: str) -> bool:
        """Whether it goes with a torch; one that asks for none goes with those from its own on."""
        return Version(torch) in self.torch if self.torch else Version(torch) >= Version(self.built_with)


class Ground:
    """The tables, the indexes that answered, and the way into wheels: what every comparison stands on."""

    def __init__(self, tables: Tables, indexes: Sequence[Asked], open_files: Open, *, thorough: bool) -> None:
        self.tables = tables
        self.indexes = indexes
        self.open = open_files
        self.thorough = thorough
        self.companions = tables.companions.file
        self.differences = {
            package: [(index, self._compare(package, index)) for index in indexes if package in index.files]
            for package in PACKAGES
        }

    def _compare(self, package: Package, index: Asked) -> Difference:
        name = "official" if index.kind == "official" else "pypi"
        known = [wheel for wheel in self.tables.wheels.all(package) if wheel.index == name]
        return compare_files(index.files[package], known, self.oldest(package))

    def versions(self, package: Package) -> set[str]:
        """The releases that the tables know."""
        if package == "torch":
            return {release.version for release in self.tables.wheels.file.releases}
        return {release.version for release in self.releases(package)}

    def oldest(self, package: Package) -> Version:
        """The first release that the tables know."""
        return min(map(Version, self.versions(package)))

    def releases(self, package: Companion) -> tuple[PackageRelease, ...]:
        """The rows of a companion."""
        return self.companions.torchvision if package == "torchvision" else self.companions.torchaudio

    def new_files(self, package: Package) -> dict[str, list[Seen]]:
        """The files of releases that the tables do not know, the oldest release first."""
        known = self.versions(package)
        files = {
            (file.index, file.directory, file.filename): file
            for _, difference in self.differences[package]
            for file in difference.new
            if file.version not in known
        }
        found = _by_version(files.values())
        return {version: found[version] for version in sorted(found, key=Version)}

    def lines(self, files: Iterable[Seen]) -> list[Line]:
        """The rows that files make; one file of each row is opened where names hide the variant."""
        groups = [tuple(group) for group in _group(files).values()]
        hidden = [group for group in groups if group[0].index == "registry"]
        insides = dict(zip(hidden, self.open([group[0] for group in hidden]), strict=True))
        return [
            Line(
                variant=variant_inside(insides[group], group[0].platform) if group in insides else group[0].variant,
                files=group,
            )
            for group in groups
        ]


def known_releases(ground: Ground, package: Package) -> Iterator[Finding]:
    """Files that only one side has, of releases that the tables know."""
    for index, difference in ground.differences[package]:
        yield from _about_wheels("gone", index, difference.gone)
        yield from _about_wheels("confirmed", index, difference.confirmed)
        more = [file for file in difference.new if file.version in ground.versions(package)]
        if package != "torch" and index.kind == "official":
            yield from _against_the_rules(more, index)
        else:
            yield from _more_rows(ground, package, more)


def _against_the_rules(files: Iterable[Seen], index: Asked) -> Iterator[Finding]:
    """Companions on a torch index follow from torch's files by rules: there is no row to add."""
    for group in _group(files).values():
        text = f"{_shown(group)}: on {index.name}, and no rule of the list official yields it"
        names = tuple(file.filename for file in group)
        yield Remark(about="wrong", table="companions", text=text, files=names)


def _more_rows(ground: Ground, package: Package, files: Iterable[Seen]) -> Iterator[Finding]:
    lines = ground.lines(files)
    yield from _unknown(lines)
    rows: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.variant:
            rows.setdefault((line.files[0].version, line.files[0].index), []).append(f"  {line.text}")
    for (version, index), texts in rows.items():
        place = ("releases" if package == "torch" else package, version, index)
        yield Addition(table=_table_of(package), place=place, lines="\n".join(texts))


class NewReleases:
    """Rows for releases that the tables do not know."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._torch = ground.new_files("torch")
        self._days = {version: _day(files) for version, files in self._torch.items()}
        self._days.update({known.version: known.released for known in ground.companions.torch})

    def findings(self) -> Iterator[Finding]:
        """Companions first: the rows of torch name them."""
        new: dict[Companion, list[Release]] = {}
        for package in COMPANIONS:
            new[package] = []
            for version, files in self._ground.new_files(package).items():
                registered = [file for file in files if file.index == "registry"]
                release = yield from self._companion_release(package, version, registered)
                new[package] += [release] if release else []
        for version, files in self._torch.items():
            yield from self._torch_release(version, files, new)
        for package, releases in new.items():
            for known in self._ground.companions.torch:
                more = [release.version for release in releases if release.torch and release.accepts(known.version)]
                if more:
                    text = f"torch {known.version}, column {package}: {', '.join(more)} accepts this torch too"
                    yield Remark(about="wrong", table="companions", text=text)

    def _companion_release(
        self, package: Companion, version: str, files: Sequence[Seen]
    ) -> Generator[Finding, None, Release | None]:
        """A block for ``companions.yaml``; yields findings, returns what the rows of torch need."""
        what = f"{package} {version}"
        if not files:
            yield _remark("note", f"{what} is on the official index and not on the registry: no row is made of it")
            return None
        first = _telling(files)
        metadata = self._ground.open([first])[0].metadata
        if metadata is None:
            yield _remark("unknown", f"{what}: which torch it accepts: the METADATA of {first.filename} cannot be read")
            return None
        torch = _torch_in(metadata, first.platform)
        release = Release(version=version, torch=torch, built_with=self._built_with(torch, _day(files)))
        lines = self._ground.lines(files)
        yield from _unknown(lines)
        yanked = ["  avoid: yanked"] if all(file.yanked for file in files) else []
        head = [
            f"- version: {flow(version)}",
            f"  torch: {flow(specifier(torch))}",
            f"  built_with: {release.built_with}",
        ]
        rows = _list("registry", [line.text for line in lines if line.variant])
        yield Addition(table="companions", place=(package,), lines="\n".join((*head, *yanked, rows)))
        return release

    def _built_with(self, torch: SpecifierSet, day: str | None) -> str:
        """Of the torch releases that a companion accepts, the one whose day is nearest to its own."""
        days = self._days
        accepted = [version for version in days if Version(version) in torch] or list(days)
        return min(sorted(accepted, key=Version, reverse=True), key=lambda version: _days_apart(days[version], day))

    def _torch_release(
        self, version: str, files: Sequence[Seen], new: Mapping[Companion, Sequence[Release]]
    ) -> Iterator[Finding]:
        lines = self._ground.lines(files)
        yield from _unknown(lines)
        kinds: tuple[Kind, ...] = ("official", "registry")
        parts = [
            _list(kind, [line.text for line in lines if line.variant and line.files[0].index == kind]) for kind in kinds
        ]
        block = "\n".join((f"- version: {flow(version)}", *parts))
        yield Addition(table="wheels", place=("releases",), lines=block)
        yield from self._torch_row(version, lines, new)
        yield from self._architectures(version, lines)

    def _torch_row(
        self, version: str, lines: Sequence[Line], new: Mapping[Companion, Sequence[Release]]
    ) -> Iterator[Finding]:
        """The line of ``companions.yaml`` for a torch release."""
        registered = [file for line in lines for file in line.files if file.index == "registry"]
        day = _day(registered)
        if day is None:
            text = f"torch {version}: no index tells its day of release, which companions.yaml needs: ask the registry"
            yield _remark("unknown", text)
            return
        first = _telling(registered)
        told = self._facts([line for line in lines if line.variant], first)
        yield Addition(
            table="companions",
            place=("torch",),
            lines=row(
                version=version,
                released=day,
                requires_python=first.requires_python or "",
                torchvision=self._accepting("torchvision", version, new["torchvision"]),
                torchaudio=self._accepting("torchaudio", version, new["torchaudio"]),
                triton=told.triton,
                triton_on=list(told.triton_on) or None,
                cudnn=told.cudnn,
                cuda=told.cuda or None,
                confidence="verified",
                source="wheel-metadata",
            ),
        )

    def _facts(self, lines: Sequence[Line], first: Seen) -> Facts:
        """What METADATA tells: of one file for every variant, and of the file a registry user gets."""
        by_variant = {
            line.variant: line.files[0]
            for line in lines
            if line.variant and line.variant.startswith("cu") and line.files[0].platform == first.platform
        }
        insides = self._ground.open([first, *by_variant.values()])
        texts = {variant: inside.metadata for variant, inside in zip(by_variant, insides[1:], strict=True)}
        return facts_of(insides[0].metadata, {name: text for name, text in texts.items() if text}, first.platform)

    def _accepting(self, package: Companion, torch: str, new: Sequence[Release]) -> list[str]:
        """The releases that accept a torch: the one released with it first, then the newest first."""
        known = [
            Release(version=release.version, torch=SpecifierSet(release.torch), built_with=release.built_with)
            for release in self._ground.releases(package)
        ]
        fitting = [release for release in (*known, *new) if release.accepts(torch)]
        fitting.sort(key=lambda release: (release.built_with == torch, Version(release.version)), reverse=True)
        asking = [release.version for release in fitting if release.torch]
        return asking or [release.version for release in fitting[:1]]

    def _architectures(self, version: str, lines: Sequence[Line]) -> Iterator[Finding]:
        """Rows carried over from the newest release with the same build; no name and no METADATA tells them."""
        builds = {
            (line.variant, line.files[0].platform)
            for line in lines
            if line.variant and line.variant.startswith("cu") and not _is_special(line)
        }
        for variant, platform in sorted(builds):
            before = [
                build
                for build in self._ground.tables.architectures.file.builds
                if variant in build.variants and platform in build.platforms
            ]
            name = f"torch {version}+{variant} for {platform}"
            if not before:
                yield _remark("unknown", f"{name}: its architectures: read them from the binary", "architectures")
            else:
                newest = max(before, key=lambda build: max(map(Version, build.torch)))
                last = max(newest.torch, key=Version)
                note = f"carried over from {last}: read the binary"
                text = row(
                    torch=[version],
                    variants=[variant],
                    platforms=[platform],
                    sm=list(newest.sm),
                    ptx=list(newest.ptx) or None,
                    confidence="inferred",
                    source=newest.source,
                    note=note,
                )
                yield Addition(table="architectures", place=("builds",), lines=text)
            if self._ground.tables.drivers.floor(CudaVersion.parse(variant), "linux") is None:
                yield _remark("unknown", f"{variant}: the oldest driver: see the release notes of its CUDA", "drivers")


class Columns:
    """Columns of releases that the tables know, against what the registry says."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def findings(self, index: Asked) -> Iterator[Finding]:
        """What a registry tells, by name or, thoroughly, by opening wheels."""
        if "torch" in index.files:
            yield from self._torch_columns(_by_version(index.files["torch"]))
        for package in PACKAGES:
            if package in index.files:
                yield from _yanked(package, index, self._planned(package))
                if self._ground.thorough:
                    yield from self._insides(package, index)
        if "triton" in index.files:
            yield from triton_findings(self._ground.tables, index.files["triton"])
        if "ultralytics" in index.files:
            yield from self._ultralytics(_by_version(index.files["ultralytics"]))

    def _planned(self, package: Package) -> set[str]:
        """The releases that the tables know and do not avoid."""
        avoided = {one.version for one in self._ground.releases(package) if one.avoid} if package != "torch" else set()
        return self._ground.versions(package) - avoided

    def _torch_columns(self, files: Mapping[str, Sequence[Seen]]) -> Iterator[Finding]:
        """The columns that the list of files tells."""
        for known in self._ground.companions.torch:
            of_release = files.get(known.version, ())
            day = _day(of_release)
            if day and day != known.released:
                yield _wrong(f"torch {known.version}", "released", known.released, day)
            told = {file.requires_python for file in of_release if file.requires_python}
            if told and SpecifierSet(known.requires_python) not in map(SpecifierSet, told):
                yield _wrong(
                    f"torch {known.version}", "requires_python", known.requires_python, " or ".join(sorted(told))
                )

    def _insides(self, package: Package, index: Asked) -> Iterator[Finding]:
        """The columns that only the inside of a wheel tells: one wheel of each row is opened."""
        known = {wheel.filename: wheel for wheel in self._ground.tables.wheels.all(package) if wheel.index == "pypi"}
        groups = _group(file for file in index.files[package] if file.filename in known).values()
        firsts = [group[0] for group in groups]
        silent = []
        for file, inside in zip(firsts, self._ground.open(firsts), strict=True):
            told = known[file.filename].variant
            variant = variant_inside(inside, file.platform)
            if variant is None:
                silent.append(file.filename)
            elif variant != told:
                yield _wrong(file.filename, "variant", told, variant, _table_of(package))
            if inside.metadata and file.platform == "linux_x86_64":
                yield from self._metadata_columns(package, file, told, inside.metadata)
        if silent:
            text = f"{len(silent)} of {len(firsts)} {package} wheels opened do not say which CUDA is inside"
            yield Remark(about="unknown", table=_table_of(package), text=text, files=tuple(silent))

    def _metadata_columns(self, package: Package, file: Seen, variant: str, metadata: str) -> Iterator[Finding]:
        if package == "torch":
            yield from self._torch_inside(file, variant, metadata)
            return
        known = next(release for release in self._ground.releases(package) if release.version == file.version)
        asked = _torch_in(metadata, file.platform)
        if SpecifierSet(known.torch) != asked:
            yield _wrong(f"{package} {file.version}", "torch", known.torch, specifier(asked))

    def _torch_inside(self, file: Seen, variant: str, metadata: str) -> Iterator[Finding]:
        known = next((release for release in self._ground.companions.torch if release.version == file.version), None)
        if known is None:
            return
        facts = facts_of(metadata, {variant: metadata}, file.platform)
        told: tuple[tuple[str, object, object], ...] = (
            ("triton", known.triton, facts.triton),
            ("triton_on", tuple(known.triton_on), facts.triton_on),
            (f"cudnn, {variant}", known.cudnn.get(variant), facts.cudnn.get(variant, known.cudnn.get(variant))),
            (f"cuda, {variant}", known.cuda.get(variant), facts.cuda.get(variant, known.cuda.get(variant))),
        )
        for column, before, now in told:
            if before != now:
                yield _wrong(f"torch {file.version}", column, before, now)

    def _ultralytics(self, files: Mapping[str, Sequence[Seen]]) -> Iterator[Finding]:
        """Releases newer than the table and its newest one; every release where asked to be thorough."""
        tables = self._ground.tables
        newest = tables.ultralytics.newest()
        versions = sorted(files, key=Version)
        after = [version for version in versions if Version(version) > newest]
        before = versions if self._ground.thorough else [str(newest)]
        asked = [version for version in versions if version in {*before, *after}]
        insides = self._ground.open([files[version][0] for version in asked])
        texts = {version: inside.metadata for version, inside in zip(asked, insides, strict=True) if inside.metadata}
        for version in asked:
            if version not in texts:
                yield _remark("unknown", f"ultralytics {version}: its METADATA cannot be read", "ultralytics")
        known = {version: text for version, text in texts.items() if version not in after}
        wrong = tuple(wrong_bounds(tables, known))
        yield from wrong
        if wrong and self._ground.thorough:
            for column, rows in bound_rows({}, known).items():
                if any(f"column {column}:" in remark.text for remark in wrong):
                    yield Addition(table="ultralytics", place=(column,), lines="\n".join(rows), instead=True)
        yield from new_bounds(tables, {version: texts[version] for version in texts if version in after})


def compare(
    tables: Tables, asked: Sequence[Asked], open_files: Open, *, today: str, thorough: bool = False
) -> tuple[Finding, ...]:
    """Everything there is to say about the tables, given what the indexes hold.

    ``open_files`` reads what is inside wheels; nothing else here reaches outside. ``thorough``: compare what only the
    inside of a wheel tells also for releases that the tables know. Additions come first, table by table.
    """
    ground = Ground(tables, [index for index in asked if index.files], open_files, thorough=thorough)
    found: list[Finding] = []
    for package in PACKAGES:
        found += known_releases(ground, package)
    found += NewReleases(ground).findings()
    for index in ground.indexes:
        if index.kind == "registry":
            found += Columns(ground).findings(index)
    found += _live_source(tables, found, today)
    return tuple(sorted(dict.fromkeys(found), key=_finding_order))


def _live_source(tables: Tables, found: Iterable[Finding], today: str) -> Iterator[Finding]:
    """The source that new official rows name, unless the table has it."""
    rows = [one for one in found if isinstance(one, Addition) and f"source: {LIVE}" in one.lines]
    if rows and LIVE not in {source.id for source in tables.wheels.file.sources}:
        text = row(id=LIVE, checked=today, what="pages of the official index, read by scripts/observe_index.py")
        yield Addition(table="wheels", place=("sources",), lines=text)


# Asking


class Web:
    """Everything that reaches the network."""

    def __init__(self, timeout: float = 30.0) -> None:
        self._timeout = timeout
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "envfix-observe"
        self._insides: dict[str, Inside] = {}

    def ask(self, name: str, address: str, projects: Sequence[str], tables: Tables) -> Asked:
        """The wheels an index holds; a torch index is known by its address or by the local labels of its files."""
        known = tables.indexes.by_url(address.rstrip("/"))
        try:
            pages = {project: self._page(address, project, address) for project in projects}
            labelled = any(file.label for files in pages.values() for file in files)
            if labelled or (known is not None and known.kind in ("official", "mirror")):
                pages = self._with_variants(address, {one: pages[one] for one in PACKAGES if one in pages}, tables)
                kind: Kind = "official"
            else:
                kind = "registry"
        except (requests.RequestException, ValueError):
            return Asked(name=name, address=address, problem=self._why(address))
        missing = [project for project, files in pages.items() if not files]
        return Asked(
            name=name,
            address=address,
            kind=kind,
            files={project: files for project, files in pages.items() if files},
            problem=f"answers, but has no files of {', '.join(missing)}" if missing else None,
        )

    def _why(self, address: str) -> str:
        """Why an index cannot be asked, in words."""
        state = check_indexes([IndexCandidate(name="index", url=address)], timeout=self._timeout)[0]
        return state.problem or "broke off while it was asked"

    def _with_variants(self, address: str, root: Mapping[Package, Files], tables: Tables) -> dict[str, Files]:
        """The files of the root page and those of the page of every variant that it or the tables name."""
        folders = {wheel.directory for package in root for wheel in tables.wheels.all(package)} - {""}
        folders |= {file.variant for files in root.values() for file in files if file.variant}
        wanted = [(package, f"{address.rstrip('/')}/{folder}/") for folder in sorted(folders) for package in root]
        found = {package: list(files) for package, files in root.items()}
        with ThreadPoolExecutor(8) as pool:
            pages = pool.map(lambda one: self._page(one[1], one[0], address), wanted)
            for (package, _), files in zip(wanted, pages, strict=True):
                found[package] += files
        return {
            package: tuple(
                {
                    (file.directory, file.filename): msgspec.structs.replace(file, index="official") for file in files
                }.values()
            )
            for package, files in found.items()
        }

    def _page(self, address: str, project: str, base: str) -> Files:
        """The wheels on a project page; none where there is no such page."""
        try:
            page = pypi_simple.PyPISimple(address, session=self._session).get_project_page(project, self._timeout)
        except pypi_simple.NoSuchProjectError:
            return ()
        except requests.HTTPError as error:
            if error.response is not None and error.response.status_code in NOWHERE:
                return ()
            raise
        found = (seen_package(package, base) for package in page.packages)
        return tuple(file for file in found if file is not None and file.package == project)

    def open(self, files: Sequence[Seen]) -> list[Inside]:
        """What is inside wheels; each is opened once."""
        missing = {file.url: file for file in files if file.url not in self._insides}
        with ThreadPoolExecutor(8) as pool:
            self._insides.update(zip(missing, pool.map(self._inside, missing.values()), strict=True))
        return [self._insides[file.url] for file in files]

    def _inside(self, file: Seen) -> Inside:
        metadata = version_py = None
        with contextlib.suppress(requests.RequestException):
            answer = self._session.get(f"{file.url}.metadata", timeout=self._timeout)
            metadata = answer.content.decode("utf-8", "replace") if answer.ok else None
        with contextlib.suppress(requests.RequestException, OSError, zipfile.BadZipFile, KeyError, UnicodeDecodeError):
            if metadata is None or (file.index == "registry" and file.package in PACKAGES):
                remote = RemoteFile(self._session, file.url, self._timeout)
                with zipfile.ZipFile(io.BufferedReader(remote, 65536)) as wheel:
                    members = {name.partition("/")[2]: name for name in wheel.namelist() if ".dist-info/" in name}
                    if metadata is None and "METADATA" in members:
                        metadata = wheel.read(members["METADATA"]).decode()
                    version_py = wheel.read(f"{file.package}/version.py").decode()
        return Inside(metadata=metadata, version_py=version_py)


class RemoteFile(io.RawIOBase):
    """A file on a server that answers for parts of it, so that a wheel's small members are read without the rest."""

    def __init__(self, session: requests.Session, url: str, timeout: float) -> None:
        self._session, self._url, self._timeout = session, url, timeout
        self._position = 0
        self._size = int(self._part("bytes=0-0").headers["Content-Range"].rpartition("/")[2])

    def _part(self, which: str) -> requests.Response:
        with self._session.get(self._url, headers={"Range": which}, timeout=self._timeout, stream=True) as answer:
            if answer.status_code != 206:
                raise OSError(f"{self._url}: only given as a whole")
            _ = answer.content
            return answer

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to where the next part begins."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Ask for the next part."""
        end = min(self._position + len(buffer), self._size)
        if end <= self._position:
            return 0
        part = self._part(f"bytes={self._position}-{end - 1}").content
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def seen_package(package: pypi_simple.DistributionPackage, base: str) -> Seen | None:
    """What a project page says about a file; its folder is what its link has below ``base``."""
    folder = unquote(urlsplit(package.url).path).rpartition("/")[0] + "/"
    root = urlsplit(base).path.rstrip("/") + "/"
    return seen_file(
        package.filename,
        url=package.url.partition("#")[0],
        directory=folder.removeprefix(root).rstrip("/") if folder.startswith(root) else None,
        day=package.upload_time.date().isoformat() if package.upload_time else None,
        requires_python=package.requires_python,
        yanked=bool(package.is_yanked),
    )


# Showing


_TITLES = {
    "gone": "in the tables and not on the index",
    "wrong": "contradicted",
    "unknown": "not to be told from here",
    "confirmed": "inferred and now seen: may become verified",
    "note": "notes",
}


def in_words(asked: Sequence[Asked], findings: Sequence[Finding]) -> str:
    """What was asked and found, as plain text."""
    lines = []
    for index in asked:
        held = ", ".join(f"{len(files)} of {project}" for project, files in index.files.items())
        lines.append(
            f"{index.name} ({index.address}): {'; '.join(filter(None, (held, index.problem))) or 'nothing to ask'}"
        )
    place = None
    for one in findings:
        if isinstance(one, Addition):
            if (one.table, one.place) != place:
                place = (one.table, one.place)
                todo = "put in place of all of" if one.instead else "add to"
                lines += ["", f"compat_tables/{one.table}.yaml, {todo} {', '.join(one.place)}:"]
            lines.append(one.lines)
    for about, title in _TITLES.items():
        remarks = [one for one in findings if isinstance(one, Remark) and one.about == about]
        if remarks:
            lines += ["", f"{title}:", *(f"compat_tables/{one.table}.yaml: {one.text}" for one in remarks)]
    drift = [one for one in findings if is_drift(one)]
    return "\n".join([*lines, "", f"drift: {len(drift)} findings" if drift else "no drift"])


def is_drift(one: Finding) -> bool:
    """Whether a finding asks for a change of a table."""
    return isinstance(one, Addition) or one.about in ("gone", "wrong")


def in_json(asked: Sequence[Asked], findings: Sequence[Finding]) -> str:
    """The same for programs."""
    document = {
        "schema": "envfix.observation/1",
        "drift": any(map(is_drift, findings)),
        "indexes": [
            {
                "name": index.name,
                "address": index.address,
                "kind": index.kind,
                "problem": index.problem,
                "files": {project: len(files) for project, files in index.files.items()},
            }
            for index in asked
        ],
        "findings": findings,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, compare and print; the exit code."""
    parser = argparse.ArgumentParser(prog="observe_index", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--index", action="append", metavar="official|pypi|URL", help="what to ask (default: both)")
    parser.add_argument("--package", action="append", choices=PROJECTS, help="only this (default: all)")
    parser.add_argument("--thorough", action="store_true", help="open wheels of known releases too (minutes)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    if odd := [name for name in chosen.index or () if name not in ("official", "pypi") and "://" not in name]:
        parser.error(f"--index {odd[0]}: neither official, pypi nor an address")
    tables = load()
    addresses = {"official": tables.indexes.official().base or "", "pypi": default_registry()}
    web = Web()
    asked = [
        web.ask(name, addresses.get(name, name), chosen.package or PROJECTS, tables)
        for name in chosen.index or ("official", "pypi")
    ]
    today = dt.datetime.now(dt.timezone.utc).date().isoformat()
    findings = compare(tables, asked, web.open, today=today, thorough=chosen.thorough)
    print(in_json(asked, findings) if chosen.json else in_words(asked, findings))
    if any(index.problem for index in asked):
        return 3
    return 1 if any(map(is_drift, findings)) else 0


if __name__ == "__main__":
    sys.exit(main())
