"""A ``pylock.toml`` (PEP 751), for pip from 26 on and for uv.

The standard wants an address or a path for every file. A file whose address the lock does not have (it is in the user's own
index, which no lock names) is looked for in the folder ``wheels`` beside the lock; the header says how to fill it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import structs
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockUnsupportedVersionError,
    PylockValidationError,
)

from envfix.lockers.header import bare
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.lockers.pip_family import (
    THIS_FILE,
    UPDATE,
    EnvfixTable,
    derived_needs,
    envfix_table,
    filename_of,
    head,
    is_elsewhere,
    line_of,
    lines_of,
    marker_of,
    must_be_complete,
    must_be_single,
    must_fit,
    pin,
    python_of,
    read_envfix_table,
    read_toml,
    sha256_of,
    toml,
    toml_key,
    why_elsewhere,
    writable,
)
from envfix.model.language import say
from envfix.model.lock import Lock, LockedFile, LockedPackage
from envfix.model.plan import REGISTRY

_FOLDER = "wheels"
_PACKAGE = r"^\[\[packages\]\]"


class PylockLocker:
    """Writes and reads the standard's lockfile (implements ``Locker``)."""

    name = "pylock"
    filename = "pylock.toml"

    def lock(self, lock: Lock) -> str:
        """See ``Locker.lock``."""
        lock = writable(lock, self.name)
        here = [package for package in lock.packages if not is_elsewhere(package)]
        document = _document(lock, here)
        try:
            Pylock.from_dict(document)
        except PylockValidationError as error:
            raise LockError(say("this lock does not fit into a pylock.toml: {error}", error=error)) from error
        lines = [*head(lock), *_how_to(lock.packages), ""]
        lines += [f"{key} = {toml(value)}" for key, value in document.items() if key != "packages"]
        if not here:
            lines.append("packages = []")
        lines += ["", *envfix_table(lock)]
        for package in document["packages"]:
            lines += ["", "[[packages]]", *_package_lines(package)]
        return "\n".join(lines) + "\n"

    def is_this(self, text: str, filename: str) -> bool:
        """See ``Locker.is_this``."""
        if re.fullmatch(r"pylock(\.[^.]+)?\.toml", filename):
            return True
        return bool(
            re.search(r"^lock-version\s*=", text, re.MULTILINE) and re.search(r"^created-by\s*=", text, re.MULTILINE)
        )

    def read(self, text: str) -> Lock:
        """See ``Locker.read``."""
        text = text.removeprefix("\ufeff")
        document = read_toml(text)
        pylock = _validated(text, document)
        table = read_envfix_table(text, document)
        lines = _lines_of_packages(text, len(pylock.packages))
        must_be_single((package.name, line) for package, line in zip(pylock.packages, lines, strict=True))
        found = [_read_package(one, line, table) for one, line in zip(pylock.packages, lines, strict=True)]
        if table is not None:
            found += table.elsewhere
            must_be_complete(table.packages, len(found), line_of(text, r"^\[tool\.envfix\]"))
        packages = tuple(sorted(found, key=lambda package: package.name))
        return Lock(
            needs=table.needs if table else derived_needs(packages),
            packages=packages,
            asked=table.asked if table else (),
            source=table.source if table else f"a pylock.toml of {pylock.created_by}",
        )


# Writing.


def _document(lock: Lock, packages: Sequence[LockedPackage]) -> dict[str, Any]:
    marker, python = marker_of(lock.needs), python_of(lock.needs)
    return {
        "lock-version": "1.0",
        **({"environments": [marker]} if marker else {}),
        **({"requires-python": f"=={python}.*"} if python else {}),
        "created-by": "envfix",
        "packages": [_entry(package) for package in packages],
    }


def _entry(package: LockedPackage) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": package.name, "version": package.version}
    if package.origin == "direct":
        return {**entry, **_dependencies(package), **_direct(package)}
    file = package.file
    if file is None or not (file.sha256 or file.md5):
        raise LockError(
            say(
                "no hash is known for {package} {version}, and a pylock.toml must have one",
                package=package.name,
                version=package.version,
            ),
            hint=say("take --format requirements, which can say so"),
        )
    if package.index_url:
        entry["index"] = package.index_url
    source: dict[str, Any] = {"name": file.filename}
    source |= {"url": file.url} if file.url else {"path": f"{_FOLDER}/{file.filename}"}
    source |= {"size": file.size} if file.size is not None else {}
    source["hashes"] = _hashes(file)
    kind = {"sdist": source} if package.origin == "sdist" else {"wheels": [source]}
    return {**entry, **_dependencies(package), **kind}


def _dependencies(package: LockedPackage) -> dict[str, Any]:
    return {"dependencies": [{"name": name} for name in package.requires]} if package.requires else {}


def _hashes(file: LockedFile) -> dict[str, str]:
    known = {"sha256": file.sha256, "md5": file.md5}
    return {name: value for name, value in known.items() if value}


def _direct(package: LockedPackage) -> dict[str, Any]:
    """A file or repository that no index holds."""
    address = package.direct_url or ""
    if address.startswith("git+"):
        found = re.fullmatch(r"git\+(.+)@([0-9a-f]{7,64})(?:#(.*))?", address)
        if found is None:
            raise LockError(
                say(
                    "{package} comes from {address}, which names no commit: it can be another one tomorrow",
                    package=package.name,
                    address=address,
                )
            )
        folder = re.search(r"(?:^|&)subdirectory=([^&]+)", found[3] or "")
        more = {"subdirectory": folder[1]} if folder else {}
        return {"vcs": {"type": "git", "url": found[1], "commit-id": found[2], **more}}
    file = package.file
    if file is None or not (file.sha256 or file.md5):
        raise LockError(
            say(
                "no hash is known for {package} from {address}, and a pylock.toml must have one",
                package=package.name,
                address=address,
            ),
            hint=say("take --format requirements, which can say so"),
        )
    size = {"size": file.size} if file.size is not None else {}
    return {"archive": {"url": address.partition("#")[0], **size, "hashes": _hashes(file)}}


def _package_lines(package: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in package.items():
        if key == "wheels":
            lines += ["wheels = [", *(f"    {toml(wheel)}," for wheel in value), "]"]
        else:
            lines.append(f"{toml_key(key)} = {toml(value)}")
    return lines


def _how_to(packages: Sequence[LockedPackage]) -> list[str]:
    lines = [
        f"# Install it with:  uv pip install -r {THIS_FILE}  (called pylock.toml or pylock.NAME.toml)",
        f"#              or:  pip install -r {THIS_FILE}  (pip 26 or newer)",
    ]
    absent = [
        one for one in packages if not is_elsewhere(one) and one.origin != "direct" and not (one.file and one.file.url)
    ]
    if absent:
        lines.append(
            f"# Files of your own package index have no address here: they are read from the folder {_FOLDER}."
        )
        lines.append("# Fill it first, with the pip of the environment that is to get them:")
    by_index: dict[str | None, list[LockedPackage]] = {}
    for package in absent:
        by_index.setdefault(package.index_url, []).append(package)
    for index in sorted(by_index, key=lambda url: url or ""):
        pages = any(package.find_links for package in by_index[index])
        option = "" if index is None else f" --no-index --find-links {index}" if pages else f" --index-url {index}"
        lines.append(f"#   pip download --no-deps -d {_FOLDER}{option} {' '.join(map(pin, by_index[index]))}")
    lines += [f"# Not here: {one.name} {one.version}: {why_elsewhere(one)}" for one in packages if is_elsewhere(one)]
    return lines


# Reading.


def _validated(text: str, document: Mapping[str, Any]) -> Pylock:
    try:
        return Pylock.from_dict(document)
    except PylockUnsupportedVersionError as error:
        version = document.get("lock-version")
        raise LockFileError(
            say("this lock is of version {version} of the standard, and this envfix reads 1", version=version),
            line=line_of(text, r"^lock-version\s*="),
            hint=UPDATE,
        ) from error
    except PylockValidationError as error:
        raise LockFileError(
            say("this is not a pylock.toml as PEP 751 says: {error}", error=error),
            line=_line_of(text, error.context),
            hint=ANEW,
        ) from error


def _line_of(text: str, context: str | None) -> int | None:
    """The line of what the validation found: of the package, and of the key where it stands by itself."""
    found = re.match(r"packages\[(\d+)\](?:\.([\w-]+))?", context or "")
    if found is None:
        return line_of(text, rf"^{re.escape(context)}\s*=") if context else None
    line = next(islice(lines_of(text, _PACKAGE), int(found[1]), None), None)
    if line is None or found[2] is None:
        return line
    rest = text.split("\n")[line:]
    for number, content in enumerate(rest, line + 1):
        if content.startswith("["):
            break
        if re.match(rf"{found[2]}\s*=", content):
            return number
    return line


def _lines_of_packages(text: str, count: int) -> list[int | None]:
    """The line of each package; None for one that is not written as a table of its own."""
    lines: list[int | None] = [*islice(lines_of(text, _PACKAGE), count)]
    return lines + [None] * (count - len(lines))


def _read_package(package: Package, line: int | None, table: EnvfixTable | None) -> LockedPackage:
    name, version = str(package.name), str(package.version or "")
    requires = tuple(str(one["name"]) for one in package.dependencies or () if "name" in one)
    index = table.index_of(name) if table else REGISTRY
    locked = LockedPackage(name=name, version=version, requires=requires, index=index)
    if package.vcs or package.archive or package.directory:
        return _read_direct(locked, package, line)
    entry = _entry_of(package)
    if entry is None:
        return locked
    # packaging 26.0 has no property for it.
    filename = entry.name or filename_of(entry.path or entry.url or "")
    if version:
        must_fit(name, version, filename, line)
    file = _file(filename, entry, line)
    if package.index is None and table is None and file.url and "+" in version:
        # uv does not say the index. A label such as +cu118 is none of the user's own: only the address leads there.
        return structs.replace(locked, origin="direct", direct_url=file.url, file=file)
    return structs.replace(
        locked,
        origin="sdist" if isinstance(entry, PackageSdist) else "wheel",
        file=file,
        index_url=bare(package.index) if package.index else None,
        find_links=table is not None and name in table.pages,
    )


def _entry_of(package: Package) -> PackageWheel | PackageSdist | None:
    """The file that is meant; None where there are several wheels, for several machines."""
    if not package.wheels:
        return package.sdist
    return package.wheels[0] if len(package.wheels) == 1 else None


def _read_direct(locked: LockedPackage, package: Package, line: int | None) -> LockedPackage:
    vcs, directory, archive = package.vcs, package.directory, package.archive
    if vcs is not None:
        folder = f"#subdirectory={vcs.subdirectory}" if vcs.subdirectory else ""
        address = f"{vcs.type}+{bare(vcs.url or vcs.path or '')}@{vcs.commit_id}{folder}"
        return structs.replace(locked, origin="direct", direct_url=address)
    if directory is not None:
        origin = "editable" if directory.editable else "local"
        return structs.replace(locked, origin=origin, direct_url=directory.path)
    if archive is None or archive.url is None:
        return structs.replace(locked, origin="local", direct_url=archive.path if archive else None)
    url = bare(archive.url)
    return structs.replace(locked, origin="direct", direct_url=url, file=_file(filename_of(url), archive, line))


def _file(filename: str, entry: PackageWheel | PackageSdist | PackageArchive, line: int | None) -> LockedFile:
    sha256 = entry.hashes.get("sha256")
    return LockedFile(
        filename=filename,
        url=bare(entry.url) if entry.url else None,
        size=entry.size,
        sha256=sha256_of(sha256, line) if sha256 else None,
        md5=entry.hashes.get("md5"),
    )
