"""A requirements file with hashes, for every pip from Python 3.6 on and for uv.

pip has no index for one package: a second index could supply anything. So a file of another index than the user's own is
named by its address, with its hash behind a ``#``: the one spelling that pip 18 and uv read alike, and both check it. Where no
address is known, the page of that one package is a ``--find-links``. The user's own index is never named.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from envfix.lockers import header
from envfix.lockers.header import bare
from envfix.lockers.interface import ANEW, LockFileError
from envfix.lockers.pip_family import (
    SCHEMA,
    THIS_FILE,
    canonical,
    derived_needs,
    filename_of,
    is_elsewhere,
    must_be_complete,
    must_be_single,
    must_be_this_schema,
    must_fit,
    name_and_version,
    origin_of,
    pin,
    sha256_of,
    version_of,
    why_elsewhere,
    writable,
)
from envfix.model.language import say
from envfix.model.lock import Lock, LockedFile, LockedPackage, Origin
from envfix.model.plan import REGISTRY

_MARK = "envfix-lock:"
_END = "# end of the lock"
_NOT_HERE, _LATER = "# not here: ", "# afterwards: "
_NOTE = re.compile(r"^\s+#\s(file|bytes|from|page|needs|version|is|note|came from|md5): (.*)$")
_OPTION = re.compile(r"^(-\w|--[\w-]+)(?:[ =]\s*|$)(.*)$")
_PASSED_OVER = {"--require-hashes", "--no-binary", "--only-binary", "--prefer-binary", "--pre", "--trusted-host"}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HASH = re.compile(r"--hash[= ] ?(\w+):(\S*)")
_COMMENT = re.compile(r"(?:^|(?<=\s))#")
# Characters beyond which nothing is a requirement: what reads these takes minutes for 200,000 of them.
_LONGEST = 8000
_INDEXES = {"-i": "--index-url", "-f": "--find-links"}


class RequirementsLocker:
    """Writes and reads ``name==version --hash=sha256:...`` (implements ``Locker``)."""

    name = "requirements"
    filename = "requirements-lock.txt"

    def lock(self, lock: Lock) -> str:
        """See ``Locker.lock``."""
        lock = writable(lock, self.name)
        first, later, strict = steps(lock.packages)
        return "\n".join(
            [
                *header.comments(lock),
                f"# {_MARK} {_mark(lock)}",
                *_how_to(first, later, strict=strict),
                *_pages(first),
                *(line for package in first for line in _entry(package)),
                *(line for package in later for line in _comment_entry(_LATER, package)),
                *(
                    line
                    for package in filter(is_elsewhere, lock.packages)
                    for line in _comment_entry(_NOT_HERE, package)
                ),
                _END,
                "",
            ]
        )

    def is_this(self, text: str, filename: str) -> bool:
        """See ``Locker.is_this``."""
        if re.search(r"^(@EXPLICIT|FROM |\[|\w[\w-]*: ?$)", text, re.MULTILINE) or filename.endswith(
            (".toml", ".yml", ".yaml")
        ):
            return False
        if re.fullmatch(r"(.*[-_.])?requirements([-_.].*)?\.(txt|in)", filename):
            return True
        return re.search(r"^[A-Za-z0-9][\w.-]*(\[[^\]\n]*\])? ?(===?\s*\d|@ ?\w+[:+])", text, re.MULTILINE) is not None

    def read(self, text: str) -> Lock:
        """See ``Locker.read``."""
        return read_lines(text)


def read_lines(text: str, before: int = 0) -> Lock:
    """The lock of a requirements file that begins after so many lines of another; raises ``LockFileError``."""
    reader = _Reader(before)
    for line, entry in _logical_lines(text, before):
        reader.take(line, entry)
    packages = tuple(sorted(reader.packages(), key=lambda package: package.name))
    mark = reader.mark
    if mark is not None:
        if reader.last != _END:
            raise LockFileError(
                say("the end of this lock is not there: it was cut off"), line=reader.last_line, hint=ANEW
            )
        must_be_complete(mark.get("packages"), len(packages), reader.mark_line)
    elif not packages:
        raise LockFileError(say("no package is locked here"), line=before + 1)
    try:
        needs = header.read_needs(text)
    except LockFileError as error:
        raise LockFileError(error.reason, line=(error.line or 1) + before, hint=error.hint) from error
    source = str(mark["source"]) if mark else say("a requirements file")
    asked = tuple(map(str, mark["asked"])) if mark else ()
    return Lock(needs=needs or derived_needs(packages), packages=packages, asked=asked, source=source)


# Writing.


def steps(packages: Sequence[LockedPackage]) -> tuple[list[LockedPackage], list[LockedPackage], bool]:
    """What is installed first, what afterwards, and whether the first has hashes: one, and pip takes nothing without."""
    here = [package for package in packages if not is_elsewhere(package)]
    strict = any(map(_has_hash, here))
    later = [package for package in here if strict and not _has_hash(package)]
    return [package for package in here if package not in later], later, strict


def _has_hash(package: LockedPackage) -> bool:
    return (
        package.file is not None
        and package.file.sha256 is not None
        and not (package.direct_url or "").startswith("git+")
    )


def _mark(lock: Lock) -> str:
    content = {"schema": SCHEMA, "packages": len(lock.packages), "source": lock.source, "asked": lock.asked}
    return json.dumps(content, separators=(",", ":"))


def _how_to(first: Sequence[LockedPackage], later: Sequence[LockedPackage], *, strict: bool) -> list[str]:
    hashes = " --require-hashes" if strict else ""
    lines = [f"# Install it with:  pip install --no-deps{hashes} -r {THIS_FILE}"]
    if not strict and first:
        lines.append("# No hash is known for any of these packages: nothing checks that the files are the same.")
    if later:
        lines.append(
            "# No hash is known for some packages, and pip refuses them beside others. Install them afterwards:"
        )
        lines += [f"#   pip install --no-deps {_quoted(requirement(package))}" for package in later]
    return lines


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w.=+-]+", text) else f"'{text}'"


def requirement(package: LockedPackage) -> str:
    """The package as pip is asked for it: by version from the user's own index, by address from any other."""
    file = package.file
    address = package.direct_url if package.origin == "direct" else (file.url if file and package.index_url else None)
    if address is None:
        return pin(package)
    if not _has_hash(package) or file is None:
        return f"{package.name} @ {address}"
    place, _, fragment = address.partition("#")
    kept = "".join(f"&{part}" for part in fragment.split("&") if part and not part.startswith(("sha256=", "egg=")))
    return f"{package.name} @ {place}#sha256={file.sha256}{kept}"


def _entry(package: LockedPackage) -> list[str]:
    line = requirement(package)
    if "@" in line or not _has_hash(package) or package.file is None:
        return [line, *_notes(package)]
    return [f"{line} \\", f"    --hash=sha256:{package.file.sha256}", *_notes(package)]


def _comment_entry(mark: str, package: LockedPackage) -> list[str]:
    reason = [f"    # note: {why_elsewhere(package)}"] if is_elsewhere(package) else []
    came = [f"    # came from: {package.direct_url}"] if is_elsewhere(package) and package.direct_url else []
    # What is not here may have a version that no installer reads today.
    what = f"{package.name}=={package.version}" if is_elsewhere(package) else requirement(package)
    return [f"{mark}{what}", *_notes(package), *reason, *came]


def _notes(package: LockedPackage) -> list[str]:
    file = package.file
    notes: list[tuple[str, object]] = []
    if package.origin not in ("wheel", "sdist"):
        notes.append(("is", package.origin))
    if package.origin == "direct":
        notes.append(("version", package.version))
    if file is not None:
        notes += [("file", file.filename), ("bytes", file.size), ("md5", file.md5)]
    if package.index_url or package.index != REGISTRY:
        notes.append(("page" if package.find_links else "from", f"{package.index} {package.index_url or ''}".strip()))
    notes.append(("needs", ", ".join(package.requires)))
    return [f"    # {key}: {value}" for key, value in notes if value not in (None, "")]


def _pages(packages: Sequence[LockedPackage]) -> list[str]:
    """Where the files lie whose address nobody knows: a page that lists this one package and no other."""
    pages = set()
    for package in packages:
        if package.index_url and package.origin != "direct" and not (package.file and package.file.url):
            own = package.index_url if package.find_links else f"{package.index_url.rstrip('/')}/{package.name}/"
            pages.add(f"--find-links {own}")
    return sorted(pages)


# Reading.


def _logical_lines(text: str, before: int) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; what a backslash continues is one line."""
    waiting: list[str] = []
    begin = number = before
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), before + 1):
        begin = begin if waiting else number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            waiting.append(line[:-1].rstrip())
            continue
        yield begin, " ".join([*waiting, line.strip()]) if waiting else line
        waiting = []
    if waiting:
        raise LockFileError(say("this line goes on, and the file ends: it was cut off"), line=number, hint=ANEW)


class _Entry(msgspec.Struct):
    """One package as it is being read, with the notes below it."""

    line: int
    name: str
    version: str
    url: str | None = None
    sha256: str | None = None
    several: bool = False
    notes: dict[str, str] = msgspec.field(default_factory=dict)


class _Reader:
    """Takes one logical line after the other."""

    def __init__(self, before: int) -> None:
        self.entries: list[_Entry] = []
        self.mark: dict[str, Any] | None = None
        self.mark_line = self.last_line = before + 1
        self.last = ""
        self._index: str | None = None
        self._several_indexes = False

    def take(self, line: int, text: str) -> None:
        if text.strip():
            self.last, self.last_line = text.strip(), line
        note = _NOTE.match(text)
        if note and self.entries:
            self.entries[-1].notes[note[1]] = note[2].strip()
        elif text.startswith(_NOT_HERE):
            self.entries.append(_only_named(line, text.removeprefix(_NOT_HERE).strip()))
        elif text.startswith(_LATER):
            self.entries.append(_parsed(line, text.removeprefix(_LATER).strip()))
        elif text.lstrip().startswith("#"):
            self._comment(line, text)
        elif text.strip():
            self._requirement(line, _COMMENT.split(text, maxsplit=1)[0].strip())

    def packages(self) -> list[LockedPackage]:
        must_be_single((entry.name, entry.line) for entry in self.entries)
        index = None if self._several_indexes else self._index
        return [_package(entry, index) for entry in self.entries]

    def _comment(self, line: int, text: str) -> None:
        _, marked, content = text.partition(_MARK)
        if not marked:
            return
        try:
            mark = json.loads(content)
        except ValueError as error:
            raise LockFileError(say("envfix's own line is not readable"), line=line, hint=ANEW) from error
        must_be_this_schema(mark.get("schema") if isinstance(mark, dict) else None, line)
        if not isinstance(mark.get("asked"), list) or not isinstance(mark.get("source"), str):
            raise LockFileError(say("envfix's own line is not readable"), line=line, hint=ANEW)
        self.mark, self.mark_line = mark, line

    def _requirement(self, line: int, text: str) -> None:
        option = _OPTION.match(text)
        if option is None:
            self.entries.append(_parsed(line, text))
            return
        name = _INDEXES.get(option[1], option[1])
        if name == "--index-url":
            self._index = bare(option[2].strip())
        elif name in ("--extra-index-url", "--find-links"):
            self._several_indexes = True
        elif name in ("-e", "--editable"):
            raise LockFileError(say("an editable folder is not locked: {option}", option=option[2].strip()), line=line)
        elif name in ("-r", "--requirement", "-c", "--constraint"):
            raise LockFileError(
                say("this file goes on in another one ({option}): envfix reads one", option=option[2].strip()),
                line=line,
            )
        elif name not in _PASSED_OVER:
            raise LockFileError(say("{option} is not an option that a lock can have", option=option[1]), line=line)


def _parsed(line: int, text: str) -> _Entry:
    """One requirement with its options."""
    wanted, options = _divided(text)
    _must_be_short(line, wanted)
    hashes = []
    for option in options:
        found = _HASH.fullmatch(option)
        if found is None:
            name = re.split(r"[= ]", option, maxsplit=1)[0]
            raise LockFileError(say("{name} is not an option that a lock can have", name=name), line=line)
        if found[1].lower() == "sha256":
            hashes.append(sha256_of(found[2], line))
    entry = _by_address(line, wanted) or _by_name(line, wanted)
    if hashes:
        # Several hashes are several files (for several machines): which of them is meant is not said.
        entry.several = len(set(hashes)) > 1
        entry.sha256 = hashes[0]
    return entry


def _must_be_short(line: int, text: str) -> None:
    if len(text) > _LONGEST:
        raise LockFileError(
            say("{number} characters are too many for one requirement", number=len(text)), line=line, hint=ANEW
        )


def _divided(text: str) -> tuple[str, list[str]]:
    """A requirement, and its options with their values; word by word, which is quick however long the spaces are."""
    parts: list[list[str]] = [[]]
    for word in text.split():
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    wanted, *options = (" ".join(words) for words in parts)
    return wanted, options


def _only_named(line: int, text: str) -> _Entry:
    """What the lock only names: its version is as it was found, which may be none that anybody reads today."""
    _must_be_short(line, text)
    name, _, version = text.partition("==")
    if not _NAME.fullmatch(name) or len(version.split()) > 1:
        raise LockFileError(
            say("{bare!r} does not name a package and its version", bare=bare(text)), line=line, hint=ANEW
        )
    return _Entry(line=line, name=canonical(name), version=version)


def _by_address(line: int, wanted: str) -> _Entry | None:
    """A file or repository by its address alone, as pip has read it from the beginning."""
    if not re.match(r"[\w+]+://", wanted):
        return None
    address, _, fragment = bare(wanted).partition("#")
    known = name_and_version(filename_of(address))
    if known is None:
        raise LockFileError(
            say("which package is at this address is not said"), line=line, hint=say("write it as NAME @ ADDRESS")
        )
    return _Entry(
        line=line, name=canonical(known[0]), version=known[1], url=address, sha256=_fragment_hash(fragment, line)
    )


def _by_name(line: int, wanted: str) -> _Entry:
    try:
        parsed = Requirement(wanted)
    except InvalidRequirement as error:
        raise LockFileError(say("{bare!r} is not a requirement", bare=bare(wanted)), line=line, hint=ANEW) from error
    name = canonical(parsed.name)
    if parsed.url:
        address, _, fragment = bare(parsed.url).partition("#")
        known = name_and_version(filename_of(address))
        others = "&".join(part for part in fragment.split("&") if part and not part.startswith("sha256="))
        url = f"{address}#{others}" if others else address
        version = known[1] if known and known[0] == name else ""
        return _Entry(line=line, name=name, version=version, url=url, sha256=_fragment_hash(fragment, line))
    specifiers = list(parsed.specifier)
    if len(specifiers) != 1 or specifiers[0].operator not in ("==", "===") or specifiers[0].version.endswith(".*"):
        raise LockFileError(
            say("{bare} is not locked: a lock says {name}==VERSION", bare=bare(wanted), name=name), line=line
        )
    return _Entry(line=line, name=name, version=version_of(specifiers[0].version, line))


def _fragment_hash(fragment: str, line: int) -> str | None:
    found = re.search(r"(?:^|&)sha256=([^&]*)", fragment)
    return sha256_of(found[1], line) if found else None


def _package(entry: _Entry, index: str | None) -> LockedPackage:
    notes = entry.notes
    place, _, address = (notes.get("page") or notes.get("from") or "").partition(" ")
    origin = _origin(entry)
    direct = origin == "direct"
    index_url = bare(address) if address else (None if entry.url or origin not in ("wheel", "sdist") else index)
    return LockedPackage(
        name=entry.name,
        version=version_of(notes["version"], entry.line) if direct and "version" in notes else entry.version,
        origin=origin,
        file=_file(entry, direct=direct),
        index=place or REGISTRY,
        index_url=index_url,
        find_links="page" in notes,
        requires=tuple(name.strip() for name in notes.get("needs", "").split(",") if name.strip()),
        direct_url=entry.url if direct else notes.get("came from"),
        note=notes.get("note"),
    )


def _origin(entry: _Entry) -> Origin:
    said = entry.notes.get("is")
    if said is not None:
        known: tuple[Origin, ...] = ("direct", "editable", "local", "unknown")
        for origin in known:
            if said == origin:
                return origin
        raise LockFileError(say("{said!r} is nothing that a package can be", said=said), line=entry.line, hint=ANEW)
    if entry.url and "from" not in entry.notes and "page" not in entry.notes:
        return "direct"
    return origin_of(entry.notes.get("file") or filename_of(entry.url or ""))


def _file(entry: _Entry, *, direct: bool) -> LockedFile | None:
    notes = entry.notes
    filename = notes.get("file") or (filename_of(entry.url) if entry.url and not entry.url.startswith("git+") else "")
    if entry.several or not (filename or entry.sha256):
        return None
    size = notes.get("bytes")
    if size is not None and not size.isdigit():
        raise LockFileError(say("{size!r} is not a number of bytes", size=size), line=entry.line, hint=ANEW)
    if not direct:
        must_fit(entry.name, entry.version, filename, entry.line)
    return LockedFile(
        filename=filename, url=entry.url, size=int(size) if size else None, sha256=entry.sha256, md5=notes.get("md5")
    )
