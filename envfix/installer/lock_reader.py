"""Reads uv's pylock.toml (PEP 751): which files it would fetch for a target, how big, and from where."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from envfix.model.plan import Download, PlanTarget
from envfix.probes.package_sources import read_toml, without_credentials

_OLDEST_MANYLINUX = 5
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_FIRST_WITHOUT_M = (3, 8)


class LockedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a lock; ``size`` in bytes, None where the index does not tell."""

    name: str
    version: str
    filename: str
    url: str
    size: int | None = None
    sha256: str | None = None

    def sized(self, sizes: Mapping[str, int]) -> LockedFile:
        """The same with a size that was asked for separately."""
        return self if self.size is not None else msgspec.structs.replace(self, size=sizes.get(self.url))

    def download(self, index: str) -> Download:
        """As the plan tells it."""
        return Download(
            name=self.name,
            version=self.version,
            filename=self.filename,
            index=index,
            size=self.size,
            sha256=self.sha256,
        )


def files(lock: str, target: PlanTarget) -> list[LockedFile]:
    """The one file of each package that the target would get; raises ``ValueError`` for text that is no lock."""
    ranks = {tag: rank for rank, tag in enumerate(_tags(target))}
    return [_file(package, ranks) for package in read_toml(lock).get("packages", [])]


def candidates(lock: str) -> dict[str, tuple[LockedFile, ...]]:
    """All files that the lock has for each package, by its name: the wheels first; raises ``ValueError``."""
    found: dict[str, tuple[LockedFile, ...]] = {}
    for package in read_toml(lock).get("packages", []):
        entries = [*(package.get("wheels") or []), *(package[kind] for kind in ("sdist", "archive") if kind in package)]
        found[package["name"]] = tuple(_locked(package, entry) for entry in entries)
    return found


def indexes(lock: str) -> dict[str, str]:
    """Which index each package is from, by its name, where the lock tells."""
    return {one["name"]: one["index"] for one in read_toml(lock).get("packages", []) if "index" in one}


def with_indexes(lock: str, index: Callable[[str], str | None]) -> str:
    """The lock with the index of each package named.

    uv leaves it out when it compiles, and then would not find in its cache what it has already downloaded from there.
    """

    def add(match: re.Match[str]) -> str:
        address = index(match[2])
        return match[0] if address is None else f"{match[0]}\nindex = {json.dumps(address)}"

    return re.sub(r'^(\[\[packages\]\]\nname = "([^"\n]+)")$', add, lock, flags=re.MULTILINE)


def with_credentials(lock: str, secret: str) -> str:
    """The lock with the user name and password of the address ``secret`` in every address of the same server."""
    parts = urlsplit(secret)
    login, at, place = parts.netloc.rpartition("@")
    if not at:
        return lock
    return lock.replace(f'url = "{parts.scheme}://{place}/', f'url = "{parts.scheme}://{login}@{place}/')


def with_files(lock: str, paths: Mapping[str, str]) -> str:
    """The lock with addresses replaced by files on this disk; hashes and indexes stay."""
    for address, path in paths.items():
        lock = lock.replace(f"url = {json.dumps(address)}", f"url = {json.dumps(Path(path).as_uri())}")
    return lock


EMPTY = 'lock-version = "1.0"\ncreated-by = "uv"\n'


def with_unhashed(
    lock: str, versions: Mapping[str, str], addresses: Mapping[str, str], target: PlanTarget
) -> str | None:
    """The lock with these packages (name to exact version), each with the file that suits the target best and no hash.

    ``addresses`` are those of the files that there are, by name. None where there is no such file.
    """
    ranks = {tag: rank for rank, tag in enumerate(_tags(target))}
    for name, version in versions.items():
        fitting = [file for file in addresses if _is_of(file, name, version) and _rank(file, ranks) < len(ranks)]
        if not fitting:
            return None
        best = min(fitting, key=lambda file: _rank(file, ranks))
        wheel = (
            f"{{ name = {json.dumps(best)}, url = {json.dumps(without_credentials(addresses[best]))}, hashes = {{}} }}"
        )
        lock += f"\n[[packages]]\nname = {json.dumps(name)}\nversion = {json.dumps(version)}\nwheels = [{wheel}]\n"
    return lock


def _is_of(filename: str, name: str, version: str) -> bool:
    try:
        found, released = parse_wheel_filename(filename)[:2]
    except InvalidWheelFilename:
        return False
    return found == name and released == Version(version)


def preferences(installed: Mapping[str, str]) -> str:
    """A lock that says nothing but which versions are there."""
    lines = ['lock-version = "1.0"', 'created-by = "envfix"']
    for name, version in sorted(installed.items()):
        lines += ["[[packages]]", f"name = {json.dumps(name)}", f"version = {json.dumps(version)}"]
    return "\n".join(lines) + "\n"


def pinned(installed: Mapping[str, str]) -> str:
    """The same as a list of pins."""
    return "".join(f"{name}=={version}\n" for name, version in sorted(installed.items()))


def _file(package: Mapping[str, Any], ranks: Mapping[Tag, int]) -> LockedFile:
    wheels = package.get("wheels") or []
    chosen = min(wheels, key=lambda wheel: _rank(_filename(wheel), ranks)) if wheels else None
    return _locked(package, chosen or package.get("sdist") or package.get("archive") or {})


def _locked(package: Mapping[str, Any], entry: Mapping[str, Any]) -> LockedFile:
    return LockedFile(
        name=package["name"],
        version=str(package.get("version", "")),
        filename=_filename(entry),
        url=entry.get("url") or entry.get("path") or "",
        size=entry.get("size"),
        sha256=(entry.get("hashes") or {}).get("sha256"),
    )


def _filename(entry: Mapping[str, Any]) -> str:
    return str(
        entry.get("name") or unquote(urlsplit(entry.get("url") or entry.get("path") or "").path.rpartition("/")[2])
    )


def _rank(filename: str, ranks: Mapping[Tag, int]) -> int:
    try:
        tags = parse_wheel_filename(filename)[3]
    except InvalidWheelFilename:
        return len(ranks)
    return min((ranks.get(tag, len(ranks)) for tag in tags), default=len(ranks))


def _tags(target: PlanTarget) -> Iterator[Tag]:
    """The tags of the target's interpreter, best first."""
    match = re.fullmatch(r"cp(\d)(\d+)(t?)", target.tag)
    version = (int(match[1]), int(match[2])) if match else tuple(int(part) for part in target.python.split(".")[:2])
    threaded = match[3] if match else ""
    interpreter = f"cp{version[0]}{version[1]}"
    abi = f"{interpreter}{threaded}" if version >= _FIRST_WITHOUT_M else f"{interpreter}m"
    platforms = list(_platforms(target))
    yield from cpython_tags(version, [abi], platforms)
    yield from compatible_tags(version, interpreter, platforms)


def _platforms(target: PlanTarget) -> Iterator[str]:
    machine = "aarch64" if target.platform.endswith("aarch64") else "x86_64"
    if target.platform.startswith("macosx"):
        yield from mac_platforms((15, 0), "arm64" if target.platform.endswith("arm64") else "x86_64")
    elif not target.platform.startswith("linux"):
        yield target.platform
    else:
        if target.libc == "musl":
            yield from (f"musllinux_1_{minor}_{machine}" for minor in (2, 1, 0))
        else:
            known = re.match(r"2\.(\d+)", target.glibc or "")
            for minor in range(int(known[1]) if known else 40, _OLDEST_MANYLINUX - 1, -1):
                yield f"manylinux_2_{minor}_{machine}"
                if minor in _LEGACY:
                    yield f"{_LEGACY[minor]}_{machine}"
        yield f"linux_{machine}"
