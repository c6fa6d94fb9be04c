"""``conda-explicit.txt``: the address of every conda package with its checksum; ``conda create --file`` solves nothing then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from envfix.lockers.conda_family import (
    _HASHES,
    _PLATFORMS,
    BOTH,
    END,
    also_line,
    assembled,
    check_subdir,
    checked_hash,
    clean,
    conda_package,
    disk_lines,
    in_order,
    last_line,
    named,
    own_subdir,
    ready,
    require_addresses,
    subdir_of,
)
from envfix.lockers.header import bare, comments
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.model.language import say
from envfix.model.lock import Lock, LockedFile, LockedPackage

_SHA256 = re.compile(r"^#\s*sha256:(?P<sha256>[0-9a-f]{64})\s+(?P<file>\S+)$")
_PIP = re.compile(r"^#\s*pip\s+(?P<name>\S+)\s+@\s+(?P<url>\S+)$")
_PLATFORM = re.compile(r"^#\s*platform:\s*(?P<subdir>\S+)\s*$")


class CondaExplicitLocker:
    """The list that conda, mamba, micromamba and rattler install from. MD5 is what all of them read; SHA-256 stands beside it."""

    name = "conda-explicit"
    filename = "conda-explicit.txt"

    def lock(self, lock: Lock) -> str:
        """The file's text. Raises ``LockError`` where anything but conda packages is in the lock, or one has no address."""
        lock = ready(lock)
        packages = lock.conda()
        if not packages:
            raise LockError(
                say("conda-explicit holds conda packages, and there is none in this lock"),
                hint=say("requirements and pylock hold wheels: envfix lock --format requirements"),
            )
        if lock.wheels():
            raise LockError(
                say(
                    "conda-explicit holds conda packages only, and would leave out {named}", named=named(lock.wheels())
                ),
                hint=BOTH,
            )
        require_addresses(packages, self.name)
        lines = [
            *comments(lock),
            also_line(lock, packages),
            *disk_lines(lock),
            f"# platform: {subdir_of(lock)}",
            "@EXPLICIT",
        ]
        for package in in_order(packages):
            lines += _lines(package)
        return "\n".join([*lines, END]) + "\n"

    def is_this(self, text: str, filename: str) -> bool:
        """Whether a line says ``@EXPLICIT``, or the file is called so."""
        marked = re.search(r"^\s*@EXPLICIT\s*$", text, re.MULTILINE) is not None
        return marked or re.split(r"[/\\]", filename)[-1] == self.filename

    def read(self, text: str) -> Lock:
        """The lock in such a list, also one of conda, mamba or conda-lock. Raises ``LockFileError``."""
        lines = [
            (number, line.strip()) for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1)
        ]
        said = _Comments(lines)
        marks = [number for number, line in lines if line == "@EXPLICIT"]
        named = [(number, line) for number, line in lines if line and not line.startswith("#") and line != "@EXPLICIT"]
        if not marks or (named and named[0][0] < marks[0]):
            where = named[0][0] if marks else 1
            missing = (
                say("a package is named before any line says @EXPLICIT") if marks else say("no line says @EXPLICIT")
            )
            raise LockFileError(
                say("{missing}, so this is no list of exact files", missing=missing), line=where, hint=ANEW
            )
        packages = list(said.wheels)
        for number, line in named:
            packages.append(_read_line(line, number, said.hashes))
            check_subdir(packages[-1], said.subdir, number)
        if not packages:
            raise LockFileError(say("there is no package after @EXPLICIT"), line=last_line(text), hint=ANEW)
        return assembled(text, packages, subdir=said.subdir or own_subdir(packages), fallback=f"a {self.name} list")


class _Comments:
    """What the comments of a list say: its platform, more checksums, and conda-lock's packages for pip."""

    def __init__(self, lines: Sequence[tuple[int, str]]) -> None:
        self.subdir: str | None = None
        self.hashes: dict[str, str] = {}
        self.wheels: list[LockedPackage] = []
        for number, line in lines:
            if found := _PLATFORM.match(line):
                self.subdir = found["subdir"]
                if self.subdir not in _PLATFORMS:
                    raise LockFileError(
                        say("{clean!r} is no platform of conda", clean=clean(self.subdir)), line=number, hint=ANEW
                    )
            elif found := _SHA256.match(line):
                self.hashes[found["file"]] = found["sha256"]
            elif found := _PIP.match(line):
                self.wheels.append(_wheel(found["name"], found["url"], number))


def _lines(package: LockedPackage) -> Iterator[str]:
    file = package.file
    if file is None or file.url is None:  # refused before
        return
    if file.md5:
        if file.sha256:
            yield f"# sha256:{file.sha256} {file.filename}"
        yield f"{bare(file.url)}#{file.md5}"
    elif file.sha256:
        yield f"{bare(file.url)}#sha256:{file.sha256}"
    else:
        yield f"# no checksum is known for {file.filename}: whatever lies at its address is taken"
        yield bare(file.url)


def _read_line(line: str, number: int, hashes: dict[str, str]) -> LockedPackage:
    address, mark, told = line.partition("#")
    md5: str | None = None
    sha256: str | None = None
    if mark:
        digest = told.removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-fA-F]+", digest) or len(digest) not in _HASHES.values():
            raise LockFileError(
                say(
                    "the checksum of {clean} is neither MD5 (32 digits) nor SHA-256 (64 digits); is the file cut off?",
                    clean=clean(address.rpartition("/")[2]),
                ),
                line=number,
                hint=ANEW,
            )
        md5, sha256 = (digest.lower(), None) if len(digest) == _HASHES["md5"] else (None, digest.lower())
    sha256 = sha256 or hashes.get(address.rpartition("/")[2])
    return conda_package(address, line=number, md5=md5, sha256=sha256)


def _wheel(name: str, url: str, number: int) -> LockedPackage:
    """What conda-lock writes for pip: a comment with name and address."""
    address, _, told = url.partition("#")
    digest = told.removeprefix("sha256=") or None
    filename = unquote(address.rpartition("/")[2])
    version = filename.removesuffix(".tar.gz").removesuffix(".zip").split("-")
    if len(version) < 2:
        raise LockFileError(
            say("{clean!r} is no wheel and no source archive; is the file cut off?", clean=clean(filename)),
            line=number,
            hint=ANEW,
        )
    return LockedPackage(
        name=canonicalize_name(name),
        version=version[1] if filename.endswith(".whl") else version[-1],
        origin="wheel" if filename.endswith(".whl") else "sdist",
        file=LockedFile(filename=filename, url=bare(address), sha256=checked_hash("sha256", digest, number)),
    )
