"""What is really installed in an environment: packages with their versions, tags and origins, conda's told apart from pip's."""

from __future__ import annotations

import glob
import os.path
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.host.real import RealHost
from envfix.installer import changes
from envfix.lockers.header import bare
from envfix.model.facts import Environment, Interpreter
from envfix.model.lock import LockedFile, LockedPackage, Origin
from envfix.model.plan import REGISTRY

if TYPE_CHECKING:
    from envfix.installer.conda import Package

# What makes an environment rather than being installed into it.
SEEDED = frozenset({"pip"})
_LIMIT = 5_000_000
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_OF_FOLDER = "build a wheel of it, or lock its repository"


class There(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that is installed: ``tags`` of the wheel it came from, ``direct_url`` the text of PEP 610's file.

    ``is_linked``: only a link to its sources lies there. ``note`` says why nobody can say where it came from.
    """

    name: str
    version: str
    tags: tuple[str, ...] = ()
    direct_url: str | None = None
    is_linked: bool = False
    note: str | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed: distributions, conda packages, and what the user should know of the rest."""

    rows: tuple[There, ...]
    conda: tuple[LockedPackage, ...]
    notes: tuple[str, ...] = ()


def rows_here(host: RealHost, interpreter: Interpreter) -> Found:
    """The distributions of an interpreter on this machine, and the conda packages of its prefix."""
    layout = changes.layout_for(interpreter)
    conda, owned = _conda(layout.prefix)
    there = changes.there_now(layout)
    rows, notes = [], []
    for name, copies in there.items():
        # Where there are several, the first on the path is the one that is imported.
        row = min(copies, key=lambda one: layout.site_packages.index(one.site))
        if name in SEEDED or os.path.relpath(row.metadata, layout.prefix) in owned:
            continue
        if not _NAME.fullmatch(row.name):
            notes.append(f"{row.metadata!r} is no package (what an installer that broke off has left?): left out")
            continue
        rows.append(_row(host, row))
        if len(copies) > 1:
            notes.append(f"{name} is there {len(copies)} times: the one that Python finds first is locked")
    rows += _eggs(host, layout)
    notes += _beside(host, layout)
    return Found(rows=tuple(sorted(rows, key=lambda one: one.name)), conda=conda, notes=tuple(notes))


def _eggs(host: RealHost, layout: changes.Layout) -> Iterator[There]:
    """What ``setup.py install`` has put into folders and archives of their own."""
    for site in layout.site_packages:
        for path in host.glob(os.path.join(glob.escape(site), "*.egg")):
            name, _, rest = os.path.basename(path).removesuffix(".egg").partition("-")
            if _NAME.fullmatch(name):
                version = rest.partition("-py")[0] or "0"
                yield There(
                    name=str(canonicalize_name(name)), version=version, note="it is an egg: no wheel of it is known"
                )


def _beside(host: RealHost, layout: changes.Layout) -> Iterator[str]:
    """Packages that Python finds outside of the environment: they are not in its lock."""
    settings = host.read_text(os.path.join(layout.prefix, "pyvenv.cfg")).text
    if re.search(r"^include-system-site-packages\s*=\s*true", settings, re.MULTILINE | re.IGNORECASE):
        yield "the environment also sees the packages of the Python below it: these are not in the lock"
    for site in layout.site_packages:
        for path in host.glob(os.path.join(glob.escape(site), "*.pth")):
            for line in host.read_text(path, limit=100_000).text.splitlines():
                folder = line.strip()
                if os.path.isabs(folder) and host.glob(os.path.join(glob.escape(folder), "*.dist-info")):
                    yield f"{folder} (named in {os.path.basename(path)}) holds packages that are not in the lock"


def rows_saved(environment: Environment) -> Found:
    """The distributions that a snapshot names, and its conda packages, of which it has no addresses."""
    conda = tuple(
        LockedPackage(
            name=record.name,
            version=record.version,
            origin="conda",
            build=record.build,
            index=(record.channel or "").rstrip("/").rpartition("/")[2] or "conda",
        )
        for record in environment.conda_records.value or ()
    )
    of_conda = {canonicalize_name(record.name) for record in conda} | {"torch"} if conda else set()
    rows = {
        canonicalize_name(one.name): There(name=one.name, version=one.version, tags=one.tags, direct_url=one.direct_url)
        for one in reversed(environment.distributions.value or ())
        if canonicalize_name(one.name) not in SEEDED
        and _NAME.fullmatch(one.name)
        and not (one.installer == "conda" or (one.installer is None and canonicalize_name(one.name) in of_conda))
    }
    note = "a saved machine does not tell from which files its packages came: locked are those that fit it best"
    return Found(rows=tuple(rows[name] for name in sorted(rows)), conda=conda, notes=(note,))


class _Folder(msgspec.Struct, frozen=True):
    editable: bool = False


class _Archive(msgspec.Struct, frozen=True):
    hash: str = ""
    hashes: dict[str, str] = {}


class _Repository(msgspec.Struct, frozen=True):
    vcs: str = "git"
    commit_id: str = ""


class _DirectUrl(msgspec.Struct, frozen=True):
    """PEP 610's ``direct_url.json``."""

    url: str
    dir_info: _Folder | None = None
    archive_info: _Archive | None = None
    vcs_info: _Repository | None = None
    subdirectory: str | None = None


def directly(row: There) -> LockedPackage | None:
    """The package, where it came from an address or a folder and not from an index; None for the rest."""
    if row.note is not None:
        return _note(row, "unknown", row.note)
    if row.is_linked:
        return _note(row, "editable", f"it is linked to a folder of this machine: {_OF_FOLDER}")
    if row.direct_url is None:
        return None
    try:
        told = msgspec.json.decode(row.direct_url, type=_DirectUrl)
        place = urlsplit(told.url)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return _note(row, "unknown", "its direct_url.json is damaged, so nobody can say where it came from")
    url = bare(told.url)
    if told.dir_info is not None and told.dir_info.editable:
        return _note(row, "editable", f"it is a folder that is worked on: {_OF_FOLDER}", url)
    commit = told.vcs_info.commit_id if told.vcs_info is not None else ""
    if place.scheme == "file":
        what = "a folder" if told.dir_info else f"commit {commit} of a repository" if told.vcs_info else "a file"
        return _note(row, "local", f"it came from {what} of this machine's disk", url)
    within = f"#subdirectory={told.subdirectory}" if told.subdirectory else ""
    if told.vcs_info is not None:
        address = f"{told.vcs_info.vcs}+{url}@{commit}{within}"
        return _direct(row, address, None)
    file = LockedFile(
        filename=unquote(place.path.rpartition("/")[2]), url=url.partition("#")[0], sha256=_sha256(told, place.fragment)
    )
    return _direct(row, f"{file.url}{within}", file if not within else None)


def _direct(row: There, address: str, file: LockedFile | None) -> LockedPackage:
    name = str(canonicalize_name(row.name))
    return LockedPackage(name=name, version=row.version, origin="direct", direct_url=address, file=file, index=REGISTRY)


def _sha256(told: _DirectUrl, fragment: str) -> str | None:
    archive = told.archive_info or _Archive()
    said = f"{archive.hash} sha256={archive.hashes.get('sha256', '')} {fragment}"
    named = re.search(r"sha256=([0-9a-f]{64})(?![0-9a-f])", said)
    return named[1] if named else None


def by_name(one: Package) -> str:
    """What conda packages are sorted by."""
    return one.name


def of_conda(one: Package, channel: str, address: str) -> LockedPackage:
    """A conda package as it is locked, from the channel of this name and address; without logins."""
    file = LockedFile(filename=one.filename, url=bare(one.url) or None, size=one.size, sha256=one.sha256, md5=one.md5)
    return LockedPackage(
        name=one.name,
        version=one.version,
        origin="conda",
        file=file,
        index=bare(channel),
        index_url=bare(address) or None,
        build=one.build,
        subdir=one.subdir,
        depends=one.depends,
        constrains=one.constrains,
    )


def _note(row: There, origin: Origin, note: str, url: str | None = None) -> LockedPackage:
    return LockedPackage(
        name=canonicalize_name(row.name), version=row.version, origin=origin, note=note, direct_url=url
    )


def _row(host: RealHost, row: changes.Installed) -> There:
    def read(name: str) -> str:
        return host.read_text(os.path.join(row.metadata, name), limit=_LIMIT).text

    if row.metadata.endswith(".egg-link"):
        return There(name=row.name, version=_linked_version(host, row.metadata), is_linked=True)
    version = row.version or _field(read("PKG-INFO"), "Version")
    tags = tuple(re.findall(r"^Tag:\s*(\S+)", read("WHEEL"), re.MULTILINE)) if row.is_wheel else ()
    try:
        Version(version)
    except InvalidVersion:
        return There(name=row.name, version="0", note=f"its version {version!r} is none")
    note = None if tags else "it was not installed from a wheel, so nothing says where it came from"
    return There(name=row.name, version=version, tags=tags, direct_url=read("direct_url.json") or None, note=note)


def _linked_version(host: RealHost, link: str) -> str:
    """The version of the sources that an egg-link leads to."""
    folder = host.read_text(link, limit=10_000).text.partition("\n")[0].strip()
    for path in host.glob(os.path.join(glob.escape(folder), "*.egg-info", "PKG-INFO")) if folder else ():
        return _field(host.read_text(path, limit=_LIMIT).text, "Version")
    return "0"


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else "0"


def _conda(prefix: str) -> tuple[tuple[LockedPackage, ...], frozenset[str]]:
    """The conda packages of a prefix, and the metadata folders of Python packages that are theirs."""
    if not os.path.isdir(os.path.join(prefix, "conda-meta")):
        return (), frozenset()
    from envfix.installer import conda

    packages = tuple(
        of_conda(one, one.channel.rpartition("/")[2] or "conda", _channel(one.url, one.subdir) or one.address)
        for one in sorted(conda.listed_in(prefix), key=by_name)
    )
    owned = frozenset(_metadata(path for one in conda.installed(prefix) for path in one.files))
    return packages, owned


def _channel(url: str, subdir: str) -> str:
    """The channel's address, from that of one of its packages."""
    return bare(url).partition(f"/{subdir}/")[0] if f"/{subdir}/" in url else ""


def _metadata(paths: Iterator[str]) -> Iterator[str]:
    for path in paths:
        folder = os.path.dirname(path)
        if folder.endswith((".dist-info", ".egg-info")):
            yield folder
        elif path.endswith((".egg-info", ".egg-link")):
            yield path
