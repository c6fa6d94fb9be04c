"""``conda-lock.yml``: conda packages and wheels with addresses and checksums, in version 1 of conda-lock's format."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from packaging.utils import canonicalize_name

from envfix.lockers.conda_family import (
    END,
    absent_lines,
    address_here,
    also_line,
    assembled,
    beside,
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
    last_line,
    listed_wheels,
    named,
    ready,
    require_addresses,
    subdir_of,
    wheel,
    wheel_address,
)
from envfix.lockers.header import bare, comments, needs_json
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.lockers.yaml_parts import Part, as_yaml, read_yaml, required
from envfix.model.language import say
from envfix.model.lock import Lock, LockedPackage, Needs

VERSION = "1"
NEEDS = "envfix_needs"


class CondaLockLocker:
    """What ``conda-lock install``, mamba and micromamba take. The needs stand in its metadata too, where conda-lock keeps them."""

    name = "conda-lock"
    filename = "conda-lock.yml"

    def lock(self, lock: Lock) -> str:
        """The file's text. Raises ``LockError`` for a package without address, or a conda package without MD5."""
        lock = ready(lock)
        subdir = subdir_of(lock)
        require_addresses(lock.conda(), self.name)
        without = [one for one in lock.conda() if not (one.file and one.file.md5)]
        if without:
            raise LockError(
                say(
                    "conda-lock needs the MD5 of every conda package, and none is known for {named}",
                    named=named(without),
                ),
                hint=say("pixi does without: envfix lock --format pixi"),
            )
        wheels, absent = listed_wheels(lock, self.name)
        if subdir.startswith("win-") and beside(wheels):
            raise LockError(
                say(
                    "conda-lock needs the address of every wheel on Windows, and a lock does not"
                    " name those of your default index: {named}",
                    named=named(list(beside(wheels).values())),
                ),
                hint=say("pixi and environment.yml do without: envfix lock --format pixi"),
            )
        packages = [
            *(_conda(package, subdir) for package in lock.conda()),
            *(_wheel(package, subdir) for package in wheels),
        ]
        content = msgspec.json.encode([msgspec.structs.asdict(lock.needs), packages])
        document = {
            "version": 1,
            "metadata": {
                "content_hash": {subdir: hashlib.sha256(content).hexdigest()},
                "channels": [{"url": url, "used_env_vars": []} for url in channel_urls(lock)],
                "platforms": [subdir],
                "sources": [],
                "custom_metadata": {NEEDS: needs_json(lock.needs)},
            },
            "package": packages,
        }
        head = [
            *comments(lock),
            also_line(lock, [*lock.conda(), *wheels], absent),
            *absent_lines(absent),
            *disk_lines(lock),
            *beside_lines(wheels),
        ]
        if beside(wheels):
            head.append("# Run conda-lock install in the folder of this file, whose path must be without blanks.")
        return "\n".join([*head, as_yaml(document) + END]) + "\n"

    def is_this(self, text: str, filename: str) -> bool:
        """Whether it has conda-lock's sections, or is called so."""
        sections = all(re.search(rf"^{key}\s*:", text, re.MULTILINE) for key in ("version", "metadata", "package"))
        return sections or re.split(r"[/\\]", filename)[-1].endswith("conda-lock.yml")

    def read(self, text: str) -> Lock:
        """The packages of its main part, for one platform. Raises ``LockFileError``."""
        document = read_yaml(text).fields("the file")
        _check_version(document)
        metadata = required(document, "metadata", last_line(text)).fields("metadata")
        platforms = [
            one.text("a platform")
            for one in required(metadata, "platforms", document["metadata"].line).rows("platforms")
        ]
        rows = required(document, "package", last_line(text)).rows("package")
        if not platforms:
            raise LockFileError(say("it is for no platform"), line=metadata["platforms"].line, hint=ANEW)
        subdir = chosen_platform(platforms)
        packages: dict[tuple[str, str], LockedPackage] = {}
        for row in rows:
            package = _read_package(row, subdir, platforms)
            if package is not None:
                packages.setdefault((package.name, package.origin), package)
        if not packages:
            raise LockFileError(
                say("it has no package for {subdir}", subdir=subdir), line=document["package"].line, hint=ANEW
            )
        several = say(", its part for {subdir}", subdir=subdir) if len(platforms) > 1 else ""
        return assembled(
            text,
            list(packages.values()),
            subdir=subdir,
            fallback=f"a conda-lock.yml{several}",
            needs=_needs(metadata),
            channels=_channels(metadata),
        )


def _conda(package: LockedPackage, subdir: str) -> dict[str, Any]:
    conditions: dict[str, str] = {}
    for spec in package.depends:
        name, condition = dependency(spec)
        conditions[name] = ",".join(part for part in (conditions.get(name, ""), condition) if part)
    return _row(package, "conda", subdir, conditions, package.file.url if package.file else None)


def _wheel(package: LockedPackage, subdir: str) -> dict[str, Any]:
    address = wheel_address(package) or address_here(package.file.filename if package.file else "")
    return _row(package, "pip", subdir, dict.fromkeys(sorted(package.requires), "*"), address)


def _row(
    package: LockedPackage, manager: str, subdir: str, conditions: Mapping[str, str], url: str | None
) -> dict[str, Any]:
    file = package.file
    hashes = {"md5": file.md5, "sha256": file.sha256} if file else {}
    return {
        "name": package.name,
        "version": package.version,
        "manager": manager,
        "platform": subdir,
        "dependencies": dict(sorted(conditions.items())),
        "url": bare(url or ""),
        "hash": {kind: digest for kind, digest in hashes.items() if digest},
        "category": "main",
        "optional": False,
    }


def _check_version(document: Mapping[str, Part]) -> None:
    if "version" not in document:
        raise LockFileError(say("it does not say which version of conda-lock's format it has"), line=1, hint=ANEW)
    version = document["version"].text("version")
    if version != VERSION:
        newer = version.isdigit() and int(version) > int(VERSION)
        raise LockFileError(
            say(
                "it has version {clean!r} of conda-lock's format, and envfix reads version {version}",
                clean=clean(version),
                version=VERSION,
            ),
            line=document["version"].line,
            hint=say("a newer envfix may read it") if newer else ANEW,
        )


def _read_package(row: Part, subdir: str, platforms: Sequence[str]) -> LockedPackage | None:
    """One package; None for one of another platform, or of a part that is not always installed."""
    fields = row.fields("a package")
    told = {key: required(fields, key, row.line).text(key) for key in ("name", "version", "manager", "platform", "url")}
    if told["platform"] not in platforms:
        raise LockFileError(
            say(
                "{clean} is for {clean_2}, and this lock is for {platforms}",
                clean=clean(told["name"]),
                clean_2=clean(told["platform"]),
                platforms=", ".join(platforms),
            ),
            line=fields["platform"].line,
            hint=ANEW,
        )
    if told["platform"] != subdir or ("category" in fields and fields["category"].text("category") != "main"):
        return None
    hashes = required(fields, "hash", row.line).fields("hash")
    digests = {
        kind: checked_hash(kind, hashes[kind].text(kind), hashes[kind].line) if kind in hashes else None
        for kind in ("md5", "sha256")
    }
    needed = fields["dependencies"].fields("dependencies") if "dependencies" in fields else {}
    if told["manager"] == "conda":
        package = conda_package(
            told["url"],
            line=fields["url"].line,
            md5=digests["md5"],
            sha256=digests["sha256"],
            depends=tuple(f"{name} {part.text('a condition')}".strip() for name, part in needed.items()),
        )
        check_subdir(package, subdir, fields["url"].line)
        check_said(package, told, fields["version"].line)
        return package
    if told["manager"] != "pip":
        raise LockFileError(
            say("{clean!r} is no kind of package that envfix knows; conda and pip are", clean=clean(told["manager"])),
            line=fields["manager"].line,
            hint=ANEW,
        )
    return wheel(told, digests["sha256"], tuple(sorted(canonicalize_name(name) for name in needed)))


def _needs(metadata: Mapping[str, Part]) -> Needs | None:
    """The needs in the metadata: comments do not outlive conda-lock's own changes."""
    custom = metadata.get("custom_metadata")
    part = (
        custom.fields("custom_metadata").get(NEEDS) if custom is not None and isinstance(custom.value, dict) else None
    )
    if part is None:
        return None
    try:
        return msgspec.json.decode(part.text(NEEDS), type=Needs)
    except msgspec.DecodeError as error:
        raise LockFileError(
            say("what this lock needs is not readable: {error}", error=error), line=part.line, hint=ANEW
        ) from error


def _channels(metadata: Mapping[str, Part]) -> tuple[tuple[str, str], ...]:
    found = []
    for row in metadata["channels"].rows("channels") if "channels" in metadata else ():
        fields = row.fields("a channel") if isinstance(row.value, dict) else {"url": row}
        url = bare(required(fields, "url", row.line).text(say("a channel's url")))
        found.append((channel_name(url), url))
    return tuple(found)


# --- shared with pixi.lock ---
