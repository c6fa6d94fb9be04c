"""What is really installed in an environment: packages with their versions, tags and origins, conda's told apart from pip's."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.utils import canonicalize_name

from envfix.host import journal
from envfix.host.real import RealHost
from envfix.installer import changes
from envfix.lockers.header import bare
from envfix.model.facts import Environment, Interpreter
from envfix.model.lock import LockedFile, LockedPackage, Origin
from envfix.model.plan import REGISTRY
from envfix.probes.package_sources import without_credentials

if TYPE_CHECKING:
    from envfix.installer.conda import Package

# What makes an environment rather than being installed into it.
SEEDED = frozenset({"pip"})
_LIMIT = 5_000_000


class There(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that is installed: ``tags`` of the wheel it came from, ``direct_url`` the text of PEP 610's file.

    ``is_linked``: only a link to its sources lies there.
    """

    name: str
    version: str
    tags: tuple[str, ...] = ()
    direct_url: str | None = None
    is_linked: bool = False


Found = tuple[tuple[There, ...], tuple[LockedPackage, ...]]


def rows_here(host: RealHost, interpreter: Interpreter) -> Found:
    """The distributions of an interpreter on this machine, and the conda packages of its prefix."""
    layout = changes.layout_for(interpreter)
    conda, owned = _conda(layout.prefix)
    there = changes.installed(layout, journal.listing(layout.site_packages, ()))
    rows = []
    for name, copies in there.items():
        # Where there are several, the first on the path is the one that is imported.
        row = min(copies, key=lambda one: layout.site_packages.index(one.site))
        if name in SEEDED or os.path.relpath(row.metadata, layout.prefix) in owned:
            continue
        rows.append(_row(host, row))
    return tuple(sorted(rows, key=lambda one: one.name)), conda


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
        and not (one.installer == "conda" or (one.installer is None and canonicalize_name(one.name) in of_conda))
    }
    return tuple(rows[name] for name in sorted(rows)), conda


def directly(row: There) -> LockedPackage | None:
    """The package, where it came from an address or a folder and not from an index; None for the rest."""
    name = canonicalize_name(row.name)
    if row.is_linked:
        return _note(
            row, "editable", "it is linked to a folder of this machine: build a wheel of it, or lock its repository"
        )
    told = _decoded(row.direct_url)
    url = without_credentials(str(told.get("url") or ""))
    if not url:
        return None
    if told.get("dir_info", {}).get("editable"):
        return _note(
            row, "editable", "it is a folder that is worked on: build a wheel of it, or lock its repository", url
        )
    if url.startswith("file:"):
        what = "a folder" if "dir_info" in told else "a file"
        return _note(row, "local", f"it came from {what} of this machine's disk", url)
    version_control = told.get("vcs_info")
    if version_control:
        address = f"{version_control.get('vcs', 'git')}+{url}@{version_control.get('commit_id', '')}"
        return LockedPackage(name=name, version=row.version, origin="direct", direct_url=address, index=REGISTRY)
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    file = LockedFile(filename=filename, url=url.partition("#")[0], sha256=_sha256(told, url))
    return LockedPackage(name=name, version=row.version, origin="direct", direct_url=file.url, file=file)


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


def _sha256(told: dict[str, Any], url: str) -> str | None:
    archive = told.get("archive_info") or {}
    hashes = archive.get("hashes") or {}
    named = re.search(r"sha256[=:]([0-9a-f]{64})", f"{archive.get('hash') or ''} {urlsplit(url).fragment}")
    return hashes.get("sha256") or (named[1] if named else None)


def _decoded(text: str | None) -> dict[str, Any]:
    """What PEP 610's file says; nothing where it is damaged."""
    try:
        told = json.loads(text) if text else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _row(host: RealHost, row: changes.Installed) -> There:
    def read(name: str) -> str:
        return host.read_text(os.path.join(row.metadata, name), limit=_LIMIT).text

    version = row.version or _field(read("PKG-INFO"), "Version")
    return There(
        name=row.name,
        version=version,
        tags=tuple(re.findall(r"^Tag:\s*(\S+)", read("WHEEL"), re.MULTILINE)) if row.is_wheel else (),
        direct_url=read("direct_url.json") or None,
        is_linked=row.metadata.endswith(".egg-link"),
    )


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
