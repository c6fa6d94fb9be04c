"""``pixi.lock``: conda packages and wheels with addresses and checksums, in version 6 of pixi's format.

Version 6 is read by pixi from 0.40 on; the newer version 7 has nothing more to say of these packages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from packaging.utils import canonicalize_name

from envfix.lockers.conda_family import (
    END,
    FOLDER,
    absent_lines,
    also_line,
    assembled,
    beside_lines,
    channel_name,
    channel_urls,
    check_said,
    check_subdir,
    checked_hash,
    chosen_platform,
    clean,
    conda_package,
    dependency,
    disk_lines,
    file_of,
    last_line,
    listed_wheels,
    ready,
    require_addresses,
    subdir_of,
    version_of,
    wheel,
    wheel_address,
)
from envfix.lockers.header import bare, comments
from envfix.lockers.interface import ANEW, LockFileError
from envfix.lockers.yaml_parts import Part, as_yaml, read_yaml, required
from envfix.model.language import say, stated
from envfix.model.lock import Lock, LockedFile, LockedPackage

WRITTEN, OLDEST, NEWEST = 6, 4, 7


class PixiLockLocker:
    """What ``pixi install --frozen`` takes beside a ``pixi.toml``, and rattler."""

    name = "pixi"
    filename = "pixi.lock"

    def lock(self, lock: Lock) -> str:
        """The file's text. Raises ``LockError`` for a package without address."""
        lock = ready(lock)
        subdir = subdir_of(lock)
        require_addresses(lock.conda(), self.name)
        wheels, absent = listed_wheels(lock, self.name)
        # By their addresses, as pixi sorts them itself: its own changes then show what has changed, and nothing else.
        packages = [
            *sorted((_conda(one) for one in lock.conda()), key=lambda row: str(row["conda"])),
            *sorted((_wheel(one) for one in wheels), key=lambda row: str(row["pypi"])),
        ]
        environment: dict[str, Any] = {"channels": [{"url": url} for url in channel_urls(lock)]}
        urls = dict.fromkeys(one.index_url for one in wheels if one.index_url and not one.find_links)
        pages = dict.fromkeys(one.index_url for one in wheels if one.index_url and one.find_links)
        if urls or pages:
            environment["indexes"] = [bare(url) for url in urls if url]
        if pages:
            environment["find-links"] = [{"url": bare(url)} for url in pages if url]
        kinds = ("conda", "pypi")
        environment["packages"] = {subdir: [{kind: one[kind] for kind in kinds if kind in one} for one in packages]}
        document = {"version": WRITTEN, "environments": {"default": environment}, "packages": packages}
        head = [
            *comments(lock),
            also_line(lock, [*lock.conda(), *wheels], absent),
            *absent_lines(absent),
            *disk_lines(lock),
            *beside_lines(wheels),
        ]
        return "\n".join([*head, as_yaml(document) + END]) + "\n"

    def is_this(self, text: str, filename: str) -> bool:
        """Whether it has pixi's sections, or is called so."""
        sections = all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in ("version", "environments", "packages"))
        return sections or re.split(r"[/\\]", filename)[-1] == self.filename

    def read(self, text: str) -> Lock:
        """The packages of its default environment, for one platform. Raises ``LockFileError``."""
        document = read_yaml(text).fields("the file")
        _check_version(document)
        environments = required(document, "environments", last_line(text))
        title, environment = _environment(environments)
        described = _described(required(document, "packages", last_line(text)))
        listed = required(environment, "packages", environments.line)
        by_platform = listed.fields(say("the packages of an environment"))
        if not by_platform:
            raise LockFileError(say("it is for no platform"), line=listed.line, hint=ANEW)
        name = chosen_platform(list(by_platform))
        subdir = _subdirs(document).get(name, name)
        packages = [
            _package(selector, described, subdir)
            for selector in by_platform[name].rows(say("the packages of a platform"))
        ]
        if not packages:
            raise LockFileError(say("it has no package for {clean}", clean=clean(name)), line=listed.line, hint=ANEW)
        part = [f"its environment {title}"] if title != "default" else []
        part += [say("its part for {name}", name=name)] if len(by_platform) > 1 else []
        channels = [one.fields("a channel") for one in required(environment, "channels", listed.line).rows("channels")]
        urls = [bare(required(one, "url", listed.line).text(say("a channel's url"))).rstrip("/") for one in channels]
        return assembled(
            text,
            packages,
            subdir=subdir,
            fallback=", ".join(["a pixi.lock", *part]),
            channels=tuple((channel_name(url), url) for url in urls),
        )


def _conda(package: LockedPackage) -> dict[str, Any]:
    file = package.file
    row: dict[str, Any] = {"conda": bare(file.url or "") if file else ""}
    # Rattler tells Python's packages from others that run everywhere by the build; where that says nothing, it is told.
    needs_python = any(dependency(spec)[0] == "python" for spec in package.depends)
    if package.subdir == "noarch" and needs_python and "py" not in (package.build or ""):
        row["noarch"] = "python"
    # Rattler sees the platform in the address of a server's channel, and not in that of a folder.
    if row["conda"].startswith("file:"):
        row["subdir"] = package.subdir
    row |= _hashes(package)
    row |= {
        key: list(value) for key, value in (("depends", package.depends), ("constrains", package.constrains)) if value
    }
    if file and file.size is not None:
        row["size"] = file.size
    return row


def _wheel(package: LockedPackage) -> dict[str, Any]:
    row: dict[str, Any] = {
        "pypi": bare(wheel_address(package) or f"{FOLDER}/{package.file.filename if package.file else ''}"),
        "name": package.name,
        "version": package.version,
        **_hashes(package),
    }
    if package.requires:
        row["requires_dist"] = sorted(package.requires)
    return row


def _hashes(package: LockedPackage) -> dict[str, str]:
    file = package.file
    told = {"sha256": file.sha256, "md5": file.md5} if file else {}
    return {kind: digest for kind, digest in told.items() if digest}


def _check_version(document: Mapping[str, Part]) -> None:
    if "version" not in document:
        raise LockFileError(say("it does not say which version of pixi's format it has"), line=1, hint=ANEW)
    version = document["version"].text("version")
    if not re.fullmatch(r"\d{1,6}", version) or not OLDEST <= int(version) <= NEWEST:
        newer = version.isdigit() and int(version) > NEWEST
        raise LockFileError(
            say(
                "it has version {clean!r} of pixi's format, and envfix reads versions {oldest} to {newest}",
                clean=clean(version),
                oldest=OLDEST,
                newest=NEWEST,
            ),
            line=document["version"].line,
            hint=say("a newer envfix may read it") if newer else say("let pixi write it anew: pixi lock"),
        )


def _environment(part: Part) -> tuple[str, dict[str, Part]]:
    environments = part.fields("environments")
    if "default" not in environments and len(environments) != 1:
        names = ", ".join(map(clean, environments)) or "none"
        raise LockFileError(say("it has no default environment, only: {names}", names=names), line=part.line, hint=ANEW)
    title = "default" if "default" in environments else next(iter(environments))
    return title, environments[title].fields("an environment")


def _subdirs(document: Mapping[str, Part]) -> dict[str, str]:
    """Version 7 lets people name their platforms: the name to conda's."""
    rows = (
        [one.fields("a platform") for one in document["platforms"].rows("platforms")] if "platforms" in document else []
    )
    return {one["name"].text("name"): one["subdir"].text("subdir") for one in rows if {"name", "subdir"} <= one.keys()}


def _described(part: Part) -> dict[str, Part]:
    """What the section ``packages`` says, by address; in versions 4 and 5 the kind stands beside it."""
    found: dict[str, Part] = {}
    for row in part.rows("packages"):
        fields = row.fields("a package")
        address = next((fields[key] for key in ("conda", "pypi", "conda_source", "url", "path") if key in fields), None)
        if address is None:
            raise LockFileError(say("a package has no address; is the file cut off?"), line=row.line, hint=ANEW)
        found.setdefault(address.text("an address"), row)
    return found


def _package(selector: Part, described: Mapping[str, Part], subdir: str) -> LockedPackage:
    fields = selector.fields("a package")
    kind = next((one for one in ("conda", "pypi", "conda_source") if one in fields), None)
    if kind is None:
        raise LockFileError(say("a package is neither conda's nor pypi's"), line=selector.line, hint=ANEW)
    address = fields[kind].text("an address")
    if address not in described:
        raise LockFileError(
            say(
                "nothing under packages describes {clean}; is the file cut off?",
                clean=clean(file_of(address) or address),
            ),
            line=selector.line,
            hint=ANEW,
        )
    row = described[address]
    if kind == "pypi":
        return _read_wheel(row, address)
    if kind == "conda_source" or not address.endswith((".conda", ".tar.bz2")):
        return _from_source(row, address)
    package = _read_conda(row, address)
    check_subdir(package, subdir, row.line)
    return package


def _read_conda(row: Part, address: str) -> LockedPackage:
    fields = row.fields("a package")
    size = fields["size"].text("size") if "size" in fields else None
    if size is not None and not re.fullmatch(r"\d{1,15}", size):
        raise LockFileError(
            say("{clean!r} is no size in bytes", clean=clean(size)), line=fields["size"].line, hint=ANEW
        )
    package = conda_package(
        address,
        line=row.line,
        sha256=_digest(fields, "sha256"),
        md5=_digest(fields, "md5"),
        size=int(size) if size is not None else None,
        depends=_texts(fields, "depends"),
        constrains=_texts(fields, "constrains"),
    )
    told = {key: fields[key].text(key) for key in fields if key in ("name", "version")}
    told.setdefault("name", package.name)
    check_said(package, told, row.line)
    return package


def _read_wheel(row: Part, address: str) -> LockedPackage:
    fields = row.fields("a package")
    told = {"name": required(fields, "name", row.line).text("name"), "url": address}
    # Version 7 leaves the version of a folder out.
    told["version"] = fields["version"].text("version") if "version" in fields else version_of(file_of(address)) or ""
    if "://" not in address:
        return LockedPackage(
            name=canonicalize_name(told["name"]),
            version=told["version"],
            origin="local",
            file=LockedFile(filename=file_of(address), sha256=_digest(fields, "sha256")),
            requires=_names(fields),
            note=stated("it is a file or folder beside the lock"),
        )
    return wheel(told, _digest(fields, "sha256"), _names(fields))


def _names(fields: Mapping[str, Part]) -> tuple[str, ...]:
    """The packages that a wheel requires."""
    requires = _texts(fields, "requires_dist")
    names = {canonicalize_name(found[0]) for text in requires if (found := re.match(r"[A-Za-z0-9][\w.\-]*", text))}
    return tuple(sorted(names))


def _from_source(row: Part, address: str) -> LockedPackage:
    fields = row.fields("a package")
    name = fields["name"].text("name") if "name" in fields else re.split(r"[\[ @]", address)[0]
    return LockedPackage(
        name=name,
        version=fields["version"].text("version") if "version" in fields else "",
        origin="local",
        note=stated("pixi builds it from its source"),
    )


def _digest(fields: Mapping[str, Part], kind: str) -> str | None:
    return checked_hash(kind, fields[kind].text(kind), fields[kind].line) if kind in fields else None


def _texts(fields: Mapping[str, Part], key: str) -> tuple[str, ...]:
    return tuple(one.text(key) for one in fields[key].rows(key)) if key in fields else ()
