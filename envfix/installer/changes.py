"""Which files of an environment an installation will touch: worked out from lists of files, before anything is changed."""

from __future__ import annotations

import base64
import contextlib
import csv
import glob
import os.path
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.host.hashing import sha256_of
from envfix.host.journal import Listing, listing
from envfix.lockers.constraints import FILENAME
from envfix.model.facts import Interpreter
from envfix.model.language import say

# torch-1.9.0.dist-info; what setuptools leaves has a version or none, and a link to sources ends in egg-link.
_METADATA = re.compile(
    r"(?P<name>[^-]+?)(?:-(?P<version>[^-]+?)(?:-py[\d.]+)?)?\.(?P<kind>dist-info|egg-info|egg-link)"
)
_PYTHON = re.compile(r"python[\d.]*w?(?:\.exe)?")
_DATA = re.compile(r"(?P<name>[^/-]+)[^/]*\.data/(?P<scheme>purelib|platlib|scripts|data|headers)/(?P<path>.+)")
# What wheels may put beside packages and commands.
_SHARED = ("share", "etc", "include", "man")
# Bytes up to which a file may be a module that somebody has edited.
_EDITABLE = 1_000_000
# Bytes up to which a command is a script and not a program of its own: copying it costs nothing.
_SCRIPT_SIZE = 1_000_000
# uv's own lock of an environment, and what holds the stack in place.
_SINGLES = (".lock", FILENAME)


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Where an interpreter keeps things: its prefix, the folders of packages, the folder of commands."""

    prefix: str
    site_packages: tuple[str, ...]
    scripts: str

    @property
    def zones(self) -> tuple[str, ...]:
        """The folders that an installation may change."""
        return (*self.site_packages, self.scripts, *(os.path.join(self.prefix, name) for name in _SHARED))

    @property
    def singles(self) -> tuple[str, ...]:
        """The files outside of them that it may change."""
        return tuple(os.path.join(self.prefix, name) for name in _SINGLES)

    @property
    def litter(self) -> tuple[str, ...]:
        """What is left in the prefix by a killed uv or rattler (they try there whether links can be made) and by envfix itself."""
        return (".tmp*", "symtest_*", f".{FILENAME}.*")


def layout_of(environment: str) -> Layout:
    """The layout of a virtual environment, by its folders."""
    if os.path.isdir(os.path.join(environment, "Scripts")):
        site = (os.path.join(environment, "Lib", "site-packages"),)
        return Layout(prefix=environment, site_packages=site, scripts=os.path.join(environment, "Scripts"))
    sites = sorted(glob.glob(os.path.join(glob.escape(environment), "lib", "python*", "site-packages")))
    return Layout(prefix=environment, site_packages=tuple(sites), scripts=os.path.join(environment, "bin"))


def layout_for(interpreter: Interpreter) -> Layout:
    """Where an interpreter keeps things, as it says itself."""
    is_own = interpreter.kind in ("venv", "conda", "base") or interpreter.scripts is None
    scripts = interpreter.scripts or os.path.join(interpreter.prefix, "bin")
    # A system Python installs beside itself: /usr/local for one whose prefix is /usr.
    prefix = interpreter.prefix if is_own else os.path.dirname(scripts)
    return Layout(prefix=prefix, site_packages=interpreter.site_packages, scripts=scripts)


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution by its metadata folder; ``is_wheel``: it has a list of its files that an installer can go by."""

    name: str
    version: str
    site: str
    metadata: str
    is_wheel: bool


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation does to an environment, package by package and file by file.

    ``replaced`` and ``mended`` are names: of another version, or of the same one whose files are damaged. ``move`` is what is
    replaced, ``keep`` what may be overwritten, ``as_bytes`` what programs write into.
    """

    added: dict[str, str]
    replaced: dict[str, tuple[str, str]]
    mended: tuple[str, ...]
    move: tuple[str, ...]
    keep: tuple[str, ...]
    as_bytes: tuple[str, ...] = ()


def in_words(versions: Mapping[str, str]) -> str:
    """What is installed, in one line: the torch family first."""
    parts = [f"{name} {version}" for name, version in sorted(versions.items(), key=_family_first)]
    return ", ".join(parts[:3]) + (say(" and {number} more", number=len(parts) - 3) if len(parts) > 3 else "")


class Arriving(msgspec.Struct, frozen=True, kw_only=True):
    """What an installation brings: files, and folders with all that is in them."""

    files: tuple[str, ...]
    folders: tuple[str, ...]


def arriving(layout: Layout, incoming: Mapping[str, Sequence[str]] | None) -> Arriving | None:
    """Where wheels put their files; None where that is not known beforehand."""
    if incoming is None:
        return None
    files = [place for paths in incoming.values() for path in paths for place in places(path, layout)]
    metadata = {os.path.dirname(path) for path in files if os.path.dirname(path).endswith(".dist-info")}
    # Where an installer breaks off in between, the parts that belong elsewhere still lie beside the package.
    metadata |= {f"{path.removesuffix('.dist-info')}.data" for path in metadata}
    within = layout.prefix + os.sep
    return Arriving(
        files=(*(path for path in files if path.startswith(within)), *layout.singles),
        folders=tuple(sorted(path for path in metadata if path.startswith(within))),
    )


def commands_of(entry_points: str) -> Iterator[str]:
    """The commands that an ``entry_points.txt`` asks for, as paths inside a wheel that brings scripts."""
    section = ""
    for line in entry_points.splitlines():
        if line.strip().startswith("["):
            section = line.strip()
        elif section in ("[console_scripts]", "[gui_scripts]") and "=" in line:
            name = line.partition("=")[0].strip()
            yield from (f"x.data/scripts/{name}{ending}" for ending in ("", ".exe", "-script.py"))


def installed(layout: Layout, before: Listing) -> dict[str, list[Installed]]:
    """The distributions of an environment by canonical name: one each, unless something has gone wrong there."""
    found: dict[str, list[Installed]] = {}
    for path, told in before.items():
        site, name = os.path.split(path)
        match = _METADATA.fullmatch(name) if site in layout.site_packages else None
        if match is None:
            continue
        row = Installed(
            name=canonicalize_name(match["name"]),
            version=match["version"] or "",
            site=site,
            metadata=path,
            is_wheel=told.kind == "d" and match["kind"] == "dist-info" and f"{path}{os.sep}RECORD" in before,
        )
        found.setdefault(row.name, []).append(row)
    return found


def there_now(layout: Layout) -> dict[str, list[Installed]]:
    """The same of what is there at this moment; looks at metadata folders alone, not at the files of the packages."""
    metadata = [
        os.path.join(site, name)
        for site in reversed(layout.site_packages)
        for name in _names_in(site)
        if _METADATA.fullmatch(name)
    ]
    return installed(layout, listing((), [one for path in metadata for one in (path, f"{path}{os.sep}RECORD")]))


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def changes(
    layout: Layout,
    before: Listing,
    wanted: Mapping[str, str],
    incoming: Mapping[str, Sequence[str]] | None,
    read: Callable[[str], str],
) -> Changes:
    """What installing ``wanted`` (name to exact version) changes.

    ``incoming`` are the paths that each new wheel lays down, None where that is not known beforehand: then everything that
    could be overwritten is kept. ``read`` gives the text of a file.
    """
    there = installed(layout, before)
    replaced: dict[str, tuple[str, str]] = {}
    added: dict[str, str] = {}
    mended: list[str] = []
    move: list[str] = []
    unlisted = False
    for name, version in ((canonicalize_name(name), version) for name, version in wanted.items()):
        olds = there.get(name, [])
        if not olds:
            added[name] = version
            continue
        owned = {old.metadata: set(_owned(old, read)) if old.is_wheel else set() for old in olds}
        same = len(olds) == 1 and same_version(olds[0].version, version)
        if same and all(_is_there(path, before) for path in owned[olds[0].metadata] if not path.endswith(".pyc")):
            continue
        if same:
            mended.append(name)
        else:
            replaced[name] = (say(" and ").join(old.version for old in olds), version)
        for old in olds:
            move += _movable(old, owned[old.metadata], layout, before) if old.is_wheel else ()
        # Without a list the installer finds out by itself what belongs to it.
        unlisted |= not all(old.is_wheel for old in olds)
    within = _Below(move)
    aside = tuple(path for path in dict.fromkeys(move) if os.path.dirname(path) not in within)
    coming = None if incoming is None or unlisted else [*added, *replaced, *mended]
    laid_down: set[str] = set()
    if coming is None or incoming is None or any(name not in incoming for name in coming):
        at_risk = [path for path, told in before.items() if told.kind != "d"]
    else:
        laid_down = {place for name in coming for path in incoming[name] for place in places(path, layout)}
        at_risk = [path for path in before if path in laid_down and before[path].kind != "d"]
        # Which commands a wheel brings is not among its files.
        at_risk += [path for path in before if path.startswith(layout.scripts + os.sep) and before[path].kind != "d"]
    gone = _Below(aside)
    written = tuple(
        path
        for path, told in before.items()
        if told.kind == "f"
        and _is_written(path, layout)
        and (told.size <= _SCRIPT_SIZE or path in laid_down)
        and path not in gone
    )
    keep = tuple(path for path in dict.fromkeys(at_risk) if path not in gone and path not in written)
    return Changes(added=added, replaced=replaced, mended=tuple(mended), move=aside, keep=keep, as_bytes=written)


def files_of(layout: Layout, names: Collection[str], read: Callable[[str], str]) -> tuple[str, ...]:
    """The files of these packages (canonical names) as they are installed now, by their RECORD."""
    there = there_now(layout)
    rows = [row for name in names for row in there.get(name, ()) if row.is_wheel]
    return tuple(path for row in rows for path in _owned(row, read) if path.startswith(layout.prefix + os.sep))


def digests_of(layout: Layout, names: Collection[str], read: Callable[[str], str]) -> dict[str, str]:
    """The sha256 of the files of these packages, in hexadecimal and by path, as their RECORD tells."""
    there = there_now(layout)
    rows = [row for name in names for row in there.get(canonicalize_name(name), ()) if row.is_wheel]
    return {
        os.path.normpath(os.path.join(row.site, path)): digest
        for row in rows
        for path, digest, _ in record_rows(read(f"{row.metadata}{os.sep}RECORD"))
        if digest
    }


def damaged_files(rows: Sequence[Installed], read: Callable[[str], str]) -> tuple[int, int]:
    """How many files of a package are gone, and how many are not what its RECORD says.

    Sizes are compared, and the content of files that are small enough for a program to have been edited. Compiled
    bytecode is no evidence: installers and Python itself write it anew.
    """
    gone = other = 0
    for row in rows:
        for path, digest, size in record_rows(read(f"{row.metadata}{os.sep}RECORD") if row.is_wheel else ""):
            if path.endswith(".pyc"):
                continue
            place = os.path.normpath(os.path.join(row.site, path))
            try:
                there = os.stat(place).st_size
            except OSError:
                gone += 1
                continue
            is_same = not size or there == size
            if is_same and digest and there <= _EDITABLE and place.startswith(row.site + os.sep):
                is_same = sha256_of(place) == digest
            other += not is_same
    return gone, other


def damaged_conda_files(prefix: str, name: str, read: Callable[[str], str]) -> tuple[int, int]:
    """The same for a conda package, by the record in ``conda-meta``."""
    gone = other = 0
    for record in glob.glob(os.path.join(glob.escape(prefix), "conda-meta", f"{glob.escape(name)}-*-*.json")):
        try:
            told = msgspec.json.decode(read(record), type=_CondaRecord)
        except (msgspec.DecodeError, UnicodeError):
            continue  # damaged records are told where the environment is read
        if told.name != name:
            continue
        for row in told.paths_data.paths:
            place = os.path.normpath(os.path.join(prefix, row.path))
            digest = row.sha256_in_prefix or (None if row.prefix_placeholder else row.sha256)
            if row.path.endswith(".pyc") or not place.startswith(prefix + os.sep):
                continue
            try:
                size = os.lstat(place).st_size
                if digest and row.path_type == "hardlink" and size <= _EDITABLE:
                    other += sha256_of(place) != digest
            except OSError:
                gone += 1
    return gone, other


class _CondaPath(msgspec.Struct, frozen=True, kw_only=True):
    """A file in a conda record."""

    path: str = msgspec.field(name="_path")
    path_type: str = "hardlink"
    sha256: str | None = None
    sha256_in_prefix: str | None = None
    prefix_placeholder: str | None = None


class _CondaPaths(msgspec.Struct, frozen=True, kw_only=True):
    """The list of files in a conda record."""

    paths: tuple[_CondaPath, ...] = ()


class _CondaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What conda wrote down of a package, as far as its files go."""

    name: str = ""
    paths_data: _CondaPaths = _CondaPaths()


def _is_written(path: str, layout: Layout) -> bool:
    """Whether installers write into it where others replace it: lists of folders, and commands (pip 18)."""
    folder, name = os.path.split(path)
    if folder == layout.scripts:
        return _PYTHON.fullmatch(name) is None
    return name.endswith((".pth", ".egg-link")) and folder in layout.site_packages


def _is_there(path: str, before: Listing) -> bool:
    """Whether a file was there, or lies behind a folder that is a link."""
    return path in before or os.path.lexists(path)


def record_paths(text: str) -> Iterator[str]:
    """The paths in a RECORD, up to a line that is none."""
    with contextlib.suppress(csv.Error):
        yield from (row[0] for row in csv.reader(text.splitlines()) if row and row[0])


def record_rows(text: str) -> Iterator[tuple[str, str, int]]:
    """The rows of a RECORD, up to a line that is none: path, sha256 in hexadecimal (empty: not told) and size in bytes."""
    with contextlib.suppress(csv.Error):
        for row in csv.reader(text.splitlines()):
            if not row or not row[0]:
                continue
            kind, _, encoded = row[1].partition("=") if len(row) > 1 else ("", "", "")
            digest = ""
            with contextlib.suppress(ValueError):
                digest = base64.urlsafe_b64decode(f"{encoded}==").hex() if kind == "sha256" else ""
            yield row[0], digest, int(row[2]) if len(row) > 2 and row[2].isdigit() else 0


def _owned(old: Installed, read: Callable[[str], str]) -> Iterator[str]:
    for path in record_paths(read(f"{old.metadata}{os.sep}RECORD")):
        yield os.path.normpath(os.path.join(old.site, path))


def _movable(old: Installed, owned: set[str], layout: Layout, before: Listing) -> Iterator[str]:
    """The distribution's files: as whole folders where nothing else lies in them, else one by one."""
    yield old.metadata
    begin = old.site + os.sep
    tops = {path[len(begin) :].partition(os.sep)[0] for path in owned if path.startswith(begin)}
    folders = {f"{begin}{top}" for top in tops if top and f"{begin}{top}" != old.metadata}
    shared = set()
    for path, told in before.items():
        if path.startswith(begin) and told.kind == "f" and path not in owned and not path.endswith(".pyc"):
            shared.add(f"{begin}{path[len(begin) :].partition(os.sep)[0]}")
    # A folder that is a link to elsewhere: the link goes aside, and nobody deletes through it.
    whole = {folder for folder in folders - shared if folder in before and before[folder].kind in "dl"}
    yield from sorted(whole)
    within = _Below((*whole, old.metadata))
    zones = tuple(zone + os.sep for zone in layout.zones)
    for path in sorted(owned):
        # Files only, and never the interpreter, whatever a RECORD says.
        is_python = os.path.dirname(path) == layout.scripts and _PYTHON.fullmatch(os.path.basename(path))
        if (
            path in before
            and before[path].kind != "d"
            and path not in within
            and path.startswith(zones)
            and not is_python
        ):
            yield path


class _Below:
    """Answers whether a path is one of these or lies in one of them."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = frozenset(paths)

    def __contains__(self, path: object) -> bool:
        at = str(path)
        while at not in self._paths:
            above = os.path.dirname(at)
            if above == at:
                return False
            at = above
        return True


def places(path: str, layout: Layout) -> Iterator[str]:
    """Where a path inside a wheel ends up."""
    match = _DATA.fullmatch(path)
    scheme, inner = (match["scheme"], match["path"]) if match else ("purelib", path)
    if scheme == "scripts":
        yield os.path.join(layout.scripts, inner)
    elif scheme == "data":
        yield os.path.normpath(os.path.join(layout.prefix, inner))
    elif scheme == "headers":
        name = match["name"] if match else ""
        pythons = (re.search(r"[/\\](python[\d.]+t?)[/\\]site-packages", site) for site in layout.site_packages)
        for folder in ("Include", *(f"include/{kind}{one[1]}" for one in pythons if one for kind in ("site/", ""))):
            yield os.path.normpath(os.path.join(layout.prefix, folder, name, inner))
    else:
        for site in layout.site_packages:
            yield os.path.normpath(os.path.join(site, inner))


def same_version(one: str, other: str) -> bool:
    """Whether two versions are one and the same, local label included."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _family_first(item: tuple[str, object]) -> tuple[int, str]:
    order = ("torch", "torchvision", "torchaudio", "ultralytics", "numpy")
    return (order.index(item[0]) if item[0] in order else len(order), item[0])
