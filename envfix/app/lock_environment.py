"""What is really installed in an environment: packages with their versions, tags and origins, conda's told apart from pip's."""

from __future__ import annotations

import contextlib
import glob
import os.path
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.host.real import RealHost
from envfix.installer import changes
from envfix.lockers.conda_family import on_this_disk
from envfix.lockers.header import bare
from envfix.lockers.interface import LockError
from envfix.lockers.pip_family import danger_of, encoded, printable
from envfix.model.facts import Environment, Interpreter
from envfix.model.language import retold, say, stated
from envfix.model.lock import LockedFile, LockedPackage, Origin
from envfix.model.plan import REGISTRY

if TYPE_CHECKING:
    from envfix.installer.conda import Package

# What makes an environment rather than being installed into it.
SEEDED = frozenset({"pip"})
_LIMIT = 5_000_000
# A record names every file of its package: that of a large one has some million characters.
_RECORD_LIMIT = 100_000_000
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_WORD = re.compile(r"[\w.!+-]{1,100}", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVISIONS = {"git": _COMMIT, "hg": _COMMIT, "svn": re.compile(r"\d+"), "bzr": re.compile(r"\d+")}
_SUBFOLDER = re.compile(r"(?!\.\.?(?:/|$))[\w.+][\w.+-]*(?:/(?!\.\.?(?:/|$))[\w.+][\w.+-]*)*", re.ASCII)
# The first pip that writes down where a package came from (PEP 610).
_REMEMBERS = Version("20.1")


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
    conda, owned = _conda(host, layout.prefix)
    there = changes.there_now(layout)
    rows, notes = [], []
    for name, copies in there.items():
        # Where there are several, the first on the path is the one that is imported.
        row = min(copies, key=lambda one: layout.site_packages.index(one.site))
        if name in SEEDED or os.path.relpath(row.metadata, layout.prefix) in owned:
            continue
        if not _NAME.fullmatch(row.name):
            notes.append(
                say(
                    "{metadata} is no package (what an installer that broke off has left?): left out",
                    metadata=repr(row.metadata),
                )
            )
            continue
        rows.append(_row(host, row))
        if len(copies) > 1:
            notes.append(
                say(
                    "{name} is there {count} times: the one that Python finds first is locked",
                    name=name,
                    count=len(copies),
                )
            )
    rows += _eggs(host, layout)
    notes += _unreadable(host, layout, {row.metadata for copies in there.values() for row in copies}, owned)
    notes += _beside(host, layout)
    notes += _forgetful(there.get("pip", ()))
    notes += map(retold, on_this_disk(conda))
    return Found(rows=tuple(sorted(rows, key=lambda one: one.name)), conda=conda, notes=tuple(notes))


def _forgetful(copies: Sequence[changes.Installed]) -> Iterator[str]:
    """That the pip which is there did not write down what it installed from a folder or an address."""
    for row in copies:
        with contextlib.suppress(InvalidVersion):
            if Version(row.version) >= _REMEMBERS:
                return
            yield (
                say(
                    "pip {version} does not write down what it installed from a folder or a file: anything of that kind"
                    " is locked as the package of the same name and version in the index",
                    version=row.version,
                )
            )


def _eggs(host: RealHost, layout: changes.Layout) -> Iterator[There]:
    """What ``setup.py install`` has put into folders and archives of their own."""
    for site in layout.site_packages:
        for path in host.glob(os.path.join(glob.escape(site), "*.egg")):
            name, _, rest = os.path.basename(path).removesuffix(".egg").partition("-")
            if _NAME.fullmatch(name):
                version = rest.partition("-py")[0] or "0"
                yield _told(
                    There(
                        name=str(canonicalize_name(name)),
                        version=version,
                        note=stated("it is an egg: no wheel of it is known"),
                    )
                )


def _unreadable(
    host: RealHost, layout: changes.Layout, known: Collection[str], owned: Collection[str]
) -> Iterator[str]:
    """Metadata whose name says neither a package nor a version."""
    for site in layout.site_packages:
        for ending in ("dist-info", "egg-info"):
            for path in host.glob(os.path.join(glob.escape(site), f"*.{ending}")):
                if path not in known and os.path.relpath(path, layout.prefix) not in owned:
                    yield say(
                        "{basename} is unreadable: which package and version it is cannot be told: left out",
                        basename=repr(os.path.basename(path)),
                    )


def _told(row: There) -> There:
    """The row as it can be locked: a version that is none is the reason why it cannot, and stays if it is one plain word."""
    try:
        Version(row.version)
    except InvalidVersion:
        version = row.version if _WORD.fullmatch(row.version) else "0"
        note = stated(
            "its version {version} is none that pip and uv read today, so no index can be asked for it",
            version=repr(row.version),
        )
        note = note if row.version else stated("it does not say its version")
        return msgspec.structs.replace(row, version=version, note=note)
    return row


def _beside(host: RealHost, layout: changes.Layout) -> Iterator[str]:
    """Packages that Python finds outside of the environment: they are not in its lock."""
    settings = host.read_text(os.path.join(layout.prefix, "pyvenv.cfg")).text
    if re.search(r"^include-system-site-packages\s*=\s*true", settings, re.MULTILINE | re.IGNORECASE):
        yield say("the environment also sees the packages of the Python below it: these are not in the lock")
    for site in layout.site_packages:
        for path in host.glob(os.path.join(glob.escape(site), "*.pth")):
            for line in host.read_text(path, limit=100_000).text.splitlines():
                folder = line.strip()
                if os.path.isabs(folder) and host.glob(os.path.join(glob.escape(folder), "*.dist-info")):
                    yield say(
                        "{folder} (named in {basename}) holds packages that are not in the lock",
                        folder=folder,
                        basename=os.path.basename(path),
                    )


def rows_saved(environment: Environment) -> Found:
    """The distributions that a snapshot names, and its conda packages, of which it has no addresses.

    Raises ``LockError`` for a pasted report, which names only some of what is installed.
    """
    from envfix.report_reader.facts import SOURCE

    if environment.distributions.source == SOURCE:
        raise LockError(
            say(
                "a {source} names only the packages that torch thinks relevant: what is locked"
                " from it would miss the others",
                source=SOURCE,
            ),
            hint=say(
                "lock a plan for that machine: envfix lock --from REPORT {same_torch} (or a file"
                " of `envfix snapshot -o`)",
                same_torch=_same_torch(environment),
            ),
        )
    conda = tuple(
        LockedPackage(
            name=record.name,
            version=record.version,
            origin="conda",
            build=record.build,
            index=_channel_name(record.channel or ""),
        )
        for record in environment.conda_records.value or ()
    )
    of_conda = {canonicalize_name(record.name) for record in conda} | {"torch"} if conda else set()
    rows = {
        canonicalize_name(one.name): _told(
            There(name=one.name, version=one.version, tags=one.tags, direct_url=one.direct_url)
        )
        for one in reversed(environment.distributions.value or ())
        if canonicalize_name(one.name) not in SEEDED
        and _NAME.fullmatch(one.name)
        and not (one.installer == "conda" or (one.installer is None and canonicalize_name(one.name) in of_conda))
    }
    note = say("a saved machine does not tell from which files its packages came: locked are those that fit it best")
    return Found(rows=tuple(rows[name] for name in sorted(rows)), conda=conda, notes=(note,))


def _same_torch(environment: Environment) -> str:
    """The options that ask for the torch of a report."""
    torch = environment.torch.value
    if torch is None:
        return "--torch VERSION --cuda VARIANT"
    return f"--torch =={torch.version.partition('+')[0]} --cuda {torch.variant or 'auto'}"


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
    if row.is_linked:
        return _note(
            row,
            "editable",
            stated("it is linked to a folder of this machine: build a wheel of it, or lock its repository"),
        )
    if row.note is not None:
        return _note(row, "unknown", row.note)
    if row.direct_url is None:
        return None
    try:
        told = msgspec.json.decode(row.direct_url, type=_DirectUrl)
        place = urlsplit(told.url)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError):
        return _note(row, "unknown", stated("its direct_url.json is damaged, so nobody can say where it came from"))
    return _from_address(row, told, place)


def _from_address(row: There, told: _DirectUrl, place: SplitResult) -> LockedPackage:
    url = bare(told.url)
    if told.dir_info is not None and told.dir_info.editable:
        return _note(
            row,
            "editable",
            stated("it is a folder that is worked on: build a wheel of it, or lock its repository"),
            url,
        )
    commit = told.vcs_info.commit_id if told.vcs_info is not None else ""
    if place.scheme == "file":
        what = stated("a folder") if told.dir_info else stated("a file")
        if told.vcs_info and not told.dir_info:
            what = stated("commit {commit} of a repository", commit=commit)
        return _note(row, "local", printable(stated("it came from {what} of this machine's disk", what=what)), url)
    danger = _danger(told, url)
    if danger is not None:
        return _note(row, "unknown", danger, url)
    within = f"#subdirectory={told.subdirectory}" if told.subdirectory else ""
    url = url.partition("#")[0]
    if told.vcs_info is not None:
        return _direct(row, f"{told.vcs_info.vcs}+{url}@{commit}{within}", None)
    filename = unquote(place.path).rpartition("/")[2]
    file = LockedFile(filename=filename, url=url, sha256=_sha256(told, place.fragment))
    return _direct(row, f"{url}{within}", file if not within else None)


def _danger(told: _DirectUrl, url: str) -> str | None:
    """What keeps an address from being written into a lock: it is no address, no pin, or a command in disguise."""
    vcs = told.vcs_info
    schemes = ("http", "https") if vcs is None else ("http", "https", "ssh")
    if url.partition(":")[0] not in schemes:
        return stated("it came from {url}, which is no address that every installer can fetch from", url=repr(url))
    reason = danger_of(url)
    if reason is not None:
        return stated("it came from {url}, which {reason}", url=repr(url), reason=reason)
    if vcs is not None and vcs.vcs not in _REVISIONS:
        return stated("it came from a repository of {vcs}, which no installer knows", vcs=repr(vcs.vcs))
    if vcs is not None and not _REVISIONS[vcs.vcs].fullmatch(vcs.commit_id):
        return stated(
            "it came from {commit_id} of a repository, which is no commit: it can be another one tomorrow",
            commit_id=repr(vcs.commit_id),
        )
    if told.subdirectory and not _SUBFOLDER.fullmatch(told.subdirectory):
        return stated(
            "it came from {subdirectory} of its sources, which is no plain folder", subdirectory=repr(told.subdirectory)
        )
    return None


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
    """A conda package as it is locked, from the channel of this name and address; without logins and tokens."""
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
        name=canonicalize_name(row.name),
        version=row.version,
        origin=origin,
        note=note,
        direct_url=encoded(url) if url else None,
    )


def _row(host: RealHost, row: changes.Installed) -> There:
    def read(name: str) -> str:
        return host.read_text(os.path.join(row.metadata, name), limit=_LIMIT).text

    if row.metadata.endswith(".egg-link"):
        return _told(There(name=row.name, version=_linked_version(host, row.metadata), is_linked=True))
    version = row.version or _field(read("PKG-INFO") or read("METADATA"), "Version")
    tags = tuple(re.findall(r"^Tag:\s*(\S+)", read("WHEEL"), re.MULTILINE)) if row.is_wheel else ()
    note = None if tags else stated("it was not installed from a wheel, so nothing says where it came from")
    return _told(
        There(name=row.name, version=version, tags=tags, direct_url=read("direct_url.json") or None, note=note)
    )


def _linked_version(host: RealHost, link: str) -> str:
    """The version of the sources that an egg-link leads to."""
    folder = host.read_text(link, limit=10_000).text.partition("\n")[0].strip()
    for path in host.glob(os.path.join(glob.escape(folder), "*.egg-info", "PKG-INFO")) if folder else ():
        return _field(host.read_text(path, limit=_LIMIT).text, "Version") or "0"
    return "0"


def _field(text: str, name: str) -> str:
    found = re.search(rf"^{name}:\s*(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


class _Record(msgspec.Struct, frozen=True):
    """What conda, mamba and rattler write about a package when they install it; old ones do not say everything."""

    name: str
    version: str
    build: str = ""
    build_string: str = ""
    fn: str = ""
    url: str | None = None
    channel: str | None = None
    subdir: str | None = None
    depends: tuple[str, ...] | None = None
    constrains: tuple[str, ...] | None = None
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None
    files: tuple[str, ...] | None = None


def _conda(host: RealHost, prefix: str) -> tuple[tuple[LockedPackage, ...], frozenset[str]]:
    """The conda packages of a prefix, and the metadata folders of Python packages that are theirs.

    Raises ``LockError`` for a record that is damaged: nobody can say what it stands for.
    """
    packages, owned = [], set[str]()
    for path in host.glob(os.path.join(glob.escape(prefix), "conda-meta", "*.json")):
        record = _record(host, path)
        packages.append(_of_record(record))
        owned.update(_metadata(iter(record.files or ())))
    return tuple(sorted(packages, key=lambda one: one.name)), frozenset(owned)


def _record(host: RealHost, path: str) -> _Record:
    answer = host.read_text(path, limit=_RECORD_LIMIT)
    if answer.outcome != "read":
        raise _damaged(path, answer.problem or say("it cannot be read"))
    try:
        record = msgspec.json.decode(answer.text, type=_Record)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    problem = next(_oddities(record), None)
    if problem is not None:
        raise _damaged(path, problem)
    return record


def _damaged(path: str, problem: str) -> LockError:
    return LockError(
        say("{path} is damaged, so what conda installed there cannot be told: {problem}", path=path, problem=problem),
        hint=say("make a fresh environment with --new-env PATH, and lock that"),
    )


def _oddities(record: _Record) -> Iterator[str]:
    """What no record of conda says."""
    words = {"name": record.name, "version": record.version, "build": record.build or record.build_string}
    for key, value in words.items():
        if not re.fullmatch(r"[\w.+!~-]+", value, re.ASCII):
            yield say("its {key} is {value!r}", key=key, value=value)
    if not re.fullmatch(r"[a-z0-9-]*", record.subdir or ""):
        yield say("its subdir is {subdir}", subdir=repr(record.subdir))
    if not re.fullmatch(r"[^\s/\\]*", record.fn):
        yield say("its file is called {fn}", fn=repr(record.fn))
    if not re.fullmatch(r"[a-z]+://\S+|<unknown>|", record.url or "") or not (record.url or "").isprintable():
        yield say("its url is {bare}", bare=repr(bare(record.url or "")))
    for key, digest, length in (("md5", record.md5, 32), ("sha256", record.sha256, 64)):
        if digest and not re.fullmatch(rf"[0-9a-fA-F]{{{length}}}", digest):
            yield say(
                "its {key} is {digest}, and such a checksum has {length} digits",
                key=key,
                digest=repr(digest),
                length=length,
            )
    for spec in (*(record.depends or ()), *(record.constrains or ())):
        if not spec.isprintable():
            yield say("it depends on {spec}", spec=repr(spec))


def _of_record(record: _Record) -> LockedPackage:
    build = record.build or record.build_string
    url = bare(record.url or "") if "://" in (record.url or "") else ""
    filename = record.fn or unquote(url.rpartition("/")[2]) or f"{record.name}-{record.version}-{build}.tar.bz2"
    place = re.fullmatch(r"(.+)/([a-z0-9-]+)/[^/]+", url)
    subdir = record.subdir or (place[2] if place else None)
    # The channel's own word for itself may be a name, an address with a login, or one with the platform behind it.
    address = place[1] if place else bare(record.channel or "").removesuffix(f"/{subdir}").rstrip("/")
    return LockedPackage(
        name=record.name,
        version=record.version,
        origin="conda",
        file=LockedFile(
            filename=filename,
            url=url or None,
            size=record.size,
            sha256=record.sha256.lower() if record.sha256 else None,
            md5=record.md5.lower() if record.md5 else None,
        ),
        index=_channel_name(address),
        index_url=address or None,
        build=build,
        subdir=subdir,
        depends=record.depends or (),
        constrains=record.constrains or (),
    )


def _channel_name(channel: str) -> str:
    """What people call a channel: the end of its address, without login and token."""
    return bare(channel).rstrip("/").rpartition("/")[2] or "conda"


def _metadata(paths: Iterator[str]) -> Iterator[str]:
    for path in paths:
        folder = os.path.dirname(path)
        if folder.endswith((".dist-info", ".egg-info")):
            yield folder
        elif path.endswith((".egg-info", ".egg-link")):
            yield path
