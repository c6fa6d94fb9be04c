"""A ``pyproject.toml`` for uv: every package exactly, and for each its index, which can supply nothing else.

A project has no place for a hash but behind an address, where uv does check it: so a file of another index than the user's
own is named by its address. The hashes of the rest stand in the table ``[tool.envfix]``, and uv takes none of them: it
writes those that it finds when it first locks into its own ``uv.lock``. A header says so, and how to compare the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from envfix.lockers.header import bare
from envfix.lockers.interface import ANEW, LockFileError
from envfix.lockers.pip_family import (
    EnvfixTable,
    canonical,
    derived_needs,
    envfix_table,
    head,
    is_elsewhere,
    line_of,
    marker_of,
    must_be_complete,
    must_be_single,
    pin,
    python_of,
    read_envfix_table,
    read_toml,
    table_of,
    toml,
    toml_key,
    version_of,
    why_elsewhere,
    writable,
)
from envfix.model.language import say, stated
from envfix.model.lock import Lock, LockedPackage
from envfix.model.plan import REGISTRY

_PROJECT = "locked-environment"


class UvProjectLocker:
    """Writes and reads a project of uv's that has nothing but its dependencies (implements ``Locker``)."""

    name = "uv"
    filename = "pyproject.toml"

    def lock(self, lock: Lock) -> str:
        """See ``Locker.lock``."""
        lock = writable(lock, self.name)
        here = [package for package in lock.packages if not is_elsewhere(package)]
        indexes = _indexes(here)
        lines = [*head(lock), *_how_to(here), *_absent(lock.packages)]
        lines += ["", "[project]", f"name = {toml(_PROJECT)}", 'version = "0"']
        if python_of(lock.needs):
            lines.append(f"requires-python = {toml(f'=={python_of(lock.needs)}.*')}")
        lines += ["dependencies = [", *(f"    {toml(_dependency(package))}," for package in here), "]"]
        lines += ["", "[tool.uv]", "package = false"]
        marker = marker_of(lock.needs)
        if marker:
            lines += [f"environments = [{toml(marker)}]", f"required-environments = [{toml(marker)}]"]
        # A source would count before an address, and uv would not look at the hash behind it.
        by_index = [package for package in here if _address(package) is None and _place(package) in indexes]
        sources = {package.name: indexes[_place(package)] for package in by_index}
        if sources:
            lines += ["", "[tool.uv.sources]"]
            lines += [f"{toml_key(name)} = {toml({'index': index})}" for name, index in sources.items()]
        for (url, pages), name in indexes.items():
            lines += ["", "[[tool.uv.index]]", f"name = {toml(name)}", f"url = {toml(url)}"]
            lines += ['format = "flat"'] if pages else []
            lines += ["explicit = true"]
        locked = tuple(_told(package) for package in here)
        return "\n".join([*lines, "", *envfix_table(lock, locked=locked), ""])

    def is_this(self, text: str, filename: str) -> bool:
        """See ``Locker.is_this``."""
        if filename == self.filename:
            return True
        project = re.search(r"^\[project\]", text, re.MULTILINE)
        return bool(project and re.search(r"^\[+tool\.uv[\].]", text, re.MULTILINE))

    def read(self, text: str) -> Lock:
        """See ``Locker.read``."""
        text = text.removeprefix("\ufeff")
        document = read_toml(text)
        table = read_envfix_table(text, document)
        dependencies = _dependencies(text, document)
        if table is None:
            packages = _foreign(text, document, dependencies)
            python = re.fullmatch(
                r"==(\d+\.\d+)(?:\.\*|\.\d+)?", str(table_of(document, "project").get("requires-python", ""))
            )
            needs = derived_needs(packages)
            needs = msgspec.structs.replace(needs, python=python[1]) if python else needs
            return Lock(needs=needs, packages=packages, source=stated("a pyproject.toml"))
        _must_agree(text, dependencies, table)
        packages = tuple(sorted((*table.locked, *table.elsewhere), key=lambda package: package.name))
        must_be_complete(table.packages, len(packages), line_of(text, r"^\[tool\.envfix\]"))
        return Lock(needs=table.needs, packages=packages, asked=table.asked, source=table.source)


# Writing.


def _how_to(here: Sequence[LockedPackage]) -> Iterator[str]:
    yield "# Call this file pyproject.toml, in a folder of its own, and install it with:  uv sync"
    if any(one.file is not None and one.file.sha256 and _address(one) is None for one in here):
        yield "# uv checks the hash of what is named by an address below. What comes from your own package index is pinned by its"
        yield "# version alone: uv takes the file that it finds when it first locks, and the same one from then on. Whether those"
        yield "# are the files that were locked here, this tells after uv lock:  envfix lock --check pyproject.toml"


def _place(package: LockedPackage) -> tuple[str, bool]:
    """The address of a package's index and whether that is a plain page; empty for the user's own index."""
    return ("", False) if package.origin == "direct" else (package.index_url or "", package.find_links)


def _indexes(packages: list[LockedPackage]) -> dict[tuple[str, bool], str]:
    """A name for each index: what envfix calls it with the last part of its address, such as ``official-cu118``."""
    names: dict[tuple[str, bool], str] = {}
    for package in packages:
        place = _place(package)
        if not place[0] or place in names:
            continue
        last = place[0].rstrip("/").rpartition("/")[2].removesuffix(".html")
        parts = [package.index] if last == "simple" else [package.index, last]
        base = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts)).strip("-.")
        number, name = 2, base
        while name in names.values():
            number, name = number + 1, f"{base}-{number}"
        names[place] = name
    return names


def _address(package: LockedPackage) -> str | None:
    """Where the file lies, with its hash, where that is to be said: uv checks it there, and nowhere else in a project."""
    file = package.file
    if package.origin == "direct":
        address, sha256 = package.direct_url, file.sha256 if file else None
    else:
        address, sha256 = (file.url, file.sha256) if file and file.sha256 and package.index_url else (None, None)
    if address is None or sha256 is None or address.startswith("git+") or "sha256=" in address:
        return address
    return f"{address}{'&' if '#' in address else '#'}sha256={sha256}"


def _dependency(package: LockedPackage) -> str:
    address = _address(package)
    return pin(package) if address is None else f"{package.name} @ {address}"


def _told(package: LockedPackage) -> LockedPackage:
    """The package without the address of a file in the user's own index, which no lock names."""
    if package.file is None or package.index_url or package.origin == "direct":
        return package
    return msgspec.structs.replace(package, file=msgspec.structs.replace(package.file, url=None))


def _absent(packages: Sequence[LockedPackage]) -> list[str]:
    return [f"# Not here: {one.name} {one.version}: {why_elsewhere(one)}" for one in packages if is_elsewhere(one)]


# Reading.


def _dependencies(text: str, document: Mapping[str, Any]) -> dict[str, tuple[Requirement, int | None]]:
    """What the project wants, by name, with the lines."""
    listed = table_of(document, "project").get("dependencies")
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise LockFileError(say("the list project.dependencies is not there"), line=line_of(text, r"^\[project\]"))
    found: dict[str, tuple[Requirement, int | None]] = {}
    rows = []
    for wanted in listed:
        line = line_of(text, re.escape(wanted))
        try:
            parsed = Requirement(wanted)
        except InvalidRequirement as error:
            raise LockFileError(
                say("{bare!r} is not a requirement", bare=bare(wanted)), line=line, hint=ANEW
            ) from error
        name = canonical(parsed.name)
        rows.append((name, line))
        found[name] = (parsed, line)
    must_be_single(rows)
    return found


def _must_agree(text: str, dependencies: Mapping[str, tuple[Requirement, int | None]], table: EnvfixTable) -> None:
    """What uv would install must be what was locked."""
    locked = {package.name: package for package in table.locked}
    for name, (wanted, line) in dependencies.items():
        package = locked.get(name)
        if package is None or _bare(str(wanted)) != _bare(_dependency(package)):
            was = (
                say("{dependency} was locked", dependency=_dependency(package)) if package else say("it was not locked")
            )
            raise LockFileError(
                say("{bare} stands here, but {was}: edited by hand", bare=bare(str(wanted)), was=was),
                line=line,
                hint=ANEW,
            )
    absent = next((name for name in locked if name not in dependencies), None)
    if absent is not None:
        raise LockFileError(
            say("{absent} was locked and is not among the dependencies: edited by hand", absent=absent),
            line=line_of(text, r"^dependencies\s*="),
            hint=ANEW,
        )


def _bare(text: str) -> str:
    return "".join(text.split())


def _foreign(
    text: str, document: Mapping[str, Any], dependencies: Mapping[str, tuple[Requirement, int | None]]
) -> tuple[LockedPackage, ...]:
    """The exact pins of a project that somebody else has written; raises ``LockFileError`` for one that is not exact."""
    if not dependencies:
        raise LockFileError(say("no package is locked here"), line=line_of(text, r"^dependencies\s*="))
    sources = table_of(document, "tool", "uv", "sources")
    chosen = {canonical(name): table_of(source).get("index") for name, source in sources.items()}
    listed = table_of(document, "tool", "uv").get("index")
    indexes = {one.get("name"): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
    found = []
    for name, (wanted, line) in dependencies.items():
        if wanted.url:
            found.append(LockedPackage(name=name, version="", origin="direct", direct_url=bare(wanted.url)))
            continue
        exact = list(wanted.specifier)
        if len(exact) != 1 or exact[0].operator not in ("==", "===") or exact[0].version.endswith(".*"):
            raise LockFileError(
                say("{bare} is not locked: a lock says {name}==VERSION", bare=bare(str(wanted)), name=name), line=line
            )
        index = indexes.get(chosen.get(name), {})
        url = index.get("url")
        found.append(
            LockedPackage(
                name=name,
                version=version_of(exact[0].version, line),
                index=index.get("name", REGISTRY),
                index_url=bare(url) if isinstance(url, str) else None,
                find_links=index.get("format") == "flat",
            )
        )
    return tuple(sorted(found, key=lambda package: package.name))
