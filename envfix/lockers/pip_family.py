"""What the formats of pip and uv share: pins, addresses without logins, TOML text, and the table ``[tool.envfix]``."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from envfix.lockers import header
from envfix.lockers.header import bare
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.model.language import later, retold, say, stated
from envfix.model.lock import Lock, LockedPackage, Needs, Origin
from envfix.model.lock_signs import least_glibc, variant_of
from envfix.model.plan import REGISTRY

SCHEMA = 1
# A lock's text does not know what its file is called.
THIS_FILE = "THIS_FILE"
UPDATE = later("update envfix: pip install -U envfix")
_ELSEWHERE: tuple[Origin, ...] = ("editable", "local", "unknown")
# White space, what a shell reads, and what pip takes for a variable.
_NOT_PLAIN = re.compile(r"[\s\x00-\x1f\x7f'\"`\\<>{}]")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def writable(lock: Lock, format_name: str) -> Lock:
    """The lock as pip and uv can have it: without logins, and what is only named in it harmless as a comment.

    Raises ``LockError`` for a lock that holds other packages, or none, or something that would be read as a command.
    """
    conda = [package.name for package in lock.conda()]
    if conda:
        some = ", ".join(conda[:3]) + (", ..." if len(conda) > 3 else "")
        raise LockError(
            say(
                "the format {format_name} holds no conda packages, and this lock has {number} of them ({some})",
                format_name=format_name,
                number=len(conda),
                some=some,
            ),
            hint=say("take a format of conda: environment.yml, conda-explicit, conda-lock.yml or pixi.lock"),
        )
    if not lock.packages:
        raise LockError(say("there is nothing to lock: no package is there"))
    if re.search(r"[\r\n]", lock.source):
        raise LockError(say("what was locked cannot be said in two lines: {source!r}", source=lock.source))
    source = printable(lock.source)
    return msgspec.structs.replace(lock, packages=tuple(map(_writable, lock.packages)), source=source)


def _writable(package: LockedPackage) -> LockedPackage:
    package = without_logins(package)
    if package.index_url and (package.index == REGISTRY or "://" in package.index):
        # "pypi" is what envfix calls the user's default index, and this one may be a private one.
        package = msgspec.structs.replace(package, index=host_of(package.index_url) or package.index)
    if is_elsewhere(package):
        package = _only_named(package)
    _must_be_plain(package)
    return package


def _only_named(package: LockedPackage) -> LockedPackage:
    """A package that stands in comments alone: whatever its path or version is, it ends up as one harmless word."""
    file = package.file
    if file is not None:
        file = msgspec.structs.replace(
            file, filename=encoded(file.filename.rpartition("/")[2]), url=encoded(file.url) if file.url else file.url
        )
    return msgspec.structs.replace(
        package,
        version=encoded(package.version),
        file=file,
        direct_url=encoded(package.direct_url) if package.direct_url else package.direct_url,
        note=why_elsewhere(package) if package.note is not None else None,
    )


def _must_be_plain(package: LockedPackage) -> None:
    """A line break or a quote in one of these would be another line, or a command, for whoever reads the file."""
    file = package.file
    words = (package.name, package.version, package.index_url, package.direct_url, package.index, *package.requires)
    for value in (*words, *((file.url, file.sha256, file.md5) if file else ())):
        if value and not is_plain(value):
            raise LockError(
                say(
                    "{package!r} cannot be written: {value!r} has a character that no lock can hold",
                    package=package.name,
                    value=value,
                )
            )
    if file is not None and ("/" in file.filename or not file.filename.isprintable()):
        raise LockError(
            say(
                "{package!r} cannot be written: {filename!r} is not the name of a file",
                package=package.name,
                filename=file.filename,
            )
        )
    if package.origin == "direct" and not is_elsewhere(package):
        danger = danger_of(package.direct_url or "")
        if danger is not None:
            raise LockError(
                say(
                    "{package!r} cannot be written: {direct_url!r} {danger}",
                    package=package.name,
                    direct_url=package.direct_url,
                    danger=retold(danger),
                )
            )


def is_plain(text: str) -> bool:
    """Whether a text is one printable word that neither a shell nor pip sees anything else in."""
    return text.isprintable() and not _NOT_PLAIN.search(text)


def encoded(text: str) -> str:
    """The text as one plain word: what is not plain in it stands there as an address would spell it, such as ``%20``."""
    return "".join(one if is_plain(one) else quote(one, safe="", errors="surrogatepass") for one in text)


def printable(text: str) -> str:
    """The text on one line, with what no terminal prints (control characters, marks that turn the reading order) escaped."""
    words = " ".join(text.split())
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in words)


def danger_of(address: str) -> str | None:
    """What keeps an address from being written down as an instruction; None where nothing does."""
    if not is_plain(address) or not unquote(address).isprintable():
        return stated("has a character that no lock can hold")
    try:
        place = urlsplit(address)
        host, _ = place.hostname, place.port
    except ValueError:
        return stated("is no address")
    if not host:
        return stated("names no host")
    revision = place.path.rpartition("@")[2] if "@" in place.path else ""
    if any(part.startswith("-") for part in (*place.netloc.split("@"), revision)):
        return stated("would be read as an option by the program that fetches it")
    return None


def host_of(address: str) -> str:
    """The host of an address, which is what an index of somebody's own is called by; empty where there is none."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def head(lock: Lock) -> list[str]:
    """The sentences of the header, for a file that has another place for what envfix reads back."""
    return [line for line in header.comments(lock) if not line.startswith("# envfix-needs:")]


def is_elsewhere(package: LockedPackage) -> bool:
    """Whether nothing that a lockfile can say brings this package back on another machine."""
    if package.origin == "direct":
        return not (package.direct_url or "").startswith(("http://", "https://", "git+http", "git+ssh://"))
    return package.origin in _ELSEWHERE


def why_elsewhere(package: LockedPackage) -> str:
    """What keeps a package from coming back, on one line."""
    default = {"editable": stated("it is a folder that is worked on"), "local": stated("it is a file of one disk")}
    return printable(package.note or default.get(package.origin, stated("nobody says where it came from")))


def pin(package: LockedPackage) -> str:
    """``NAME==VERSION``; an unlabelled torch by ``===``, since ``==2.7.1`` would also take a ``2.7.1+cu118``."""
    exact = package.name.startswith("torch") and "+" not in package.version
    return f"{package.name}{'===' if exact else '=='}{package.version}"


def filename_of(url: str) -> str:
    """The name of the file at an address."""
    return unquote(re.split(r"[?#]", url, maxsplit=1)[0].rpartition("/")[2])


def name_and_version(filename: str) -> tuple[str, str] | None:
    """The canonical name and the version that a wheel or source archive is called by; None for other files."""
    try:
        if filename.endswith(".whl"):
            name, version = parse_wheel_filename(filename)[:2]
        else:
            name, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return name, str(version)


def origin_of(filename: str) -> Origin:
    """What kind of file it is, by its name."""
    return "sdist" if filename.endswith((".tar.gz", ".zip", ".tar.bz2")) else "wheel"


def sha256_of(value: str, line: int | None) -> str:
    """A hash as the model has it; raises ``LockFileError`` for one that is cut off or no hash at all."""
    lowered = value.lower()
    if not _SHA256.fullmatch(lowered):
        raise LockFileError(
            say("{value!r} is not a SHA-256: 64 hexadecimal digits are needed", value=value), line=line, hint=ANEW
        )
    return lowered


def version_of(value: str, line: int | None) -> str:
    """A version as it stands; raises ``LockFileError`` for what is none."""
    try:
        Version(value)
    except InvalidVersion as error:
        raise LockFileError(say("{value!r} is not a version", value=value), line=line, hint=ANEW) from error
    return value


def derived_needs(packages: Iterable[LockedPackage]) -> Needs:
    """What the files themselves say of the machine, for a lock that states no needs; empty words where they say nothing."""
    packages = list(packages)
    python = tag = platform = ""
    filenames = [package.file.filename for package in packages if package.file]
    for filename in filenames:
        found = re.search(r"-cp(3)(\d+)-(cp3\d+t?)m?-(.+)\.whl$", filename)
        if found and not tag:
            python, tag = f"{found[1]}.{found[2]}", found[3]
            platform = re.sub(r"^.*?(?:many|musl)?linux\w*?_(x86_64|aarch64)\b.*$", r"linux_\1", found[4])
    glibc = least_glibc(filenames) if platform.startswith("linux") else None
    return Needs(python=python, tag=tag, platform=platform, glibc=glibc, variant=variant_of(packages))


def python_of(needs: Needs) -> str:
    """The interpreter's version as ``3.8``; empty where nobody says."""
    return ".".join(needs.python.split(".")[:2])


def marker_of(needs: Needs) -> str | None:
    """The environment marker of the lock's platform; None where nobody says."""
    platform = needs.platform
    machine = next((name for name in ("x86_64", "aarch64", "arm64", "amd64") if platform.endswith(name)), None)
    system = {"linux": "linux", "macosx": "darwin", "win": "win32"}
    known = next((value for start, value in system.items() if platform.startswith(start)), None)
    if machine is None or known is None:
        return None
    if known == "win32":
        machine = machine.upper()
    return f"sys_platform == '{known}' and platform_machine == '{machine}'"


def must_be_this_schema(schema: object, line: int | None) -> None:
    """Raises ``LockFileError`` for what a newer envfix has written, or for a number that is none."""
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise LockFileError(
            say("the schema of this lock is {schema!r}, not a number", schema=schema), line=line, hint=ANEW
        )
    if schema > SCHEMA:
        raise LockFileError(
            say(
                "a newer envfix wrote this lock (schema {schema}; this one reads up to {schema_2})",
                schema=schema,
                schema_2=SCHEMA,
            ),
            line=line,
            hint=UPDATE,
        )


def must_be_complete(expected: object, found: int, line: int | None) -> None:
    """Raises ``LockFileError`` where a lock does not hold as many packages as it says."""
    if not isinstance(expected, int) or isinstance(expected, bool):
        raise LockFileError(
            say(
                "the number of packages in this lock is written as {expected!r}, not as a plain"
                " number: it was edited by hand",
                expected=expected,
            ),
            line=line,
            hint=ANEW,
        )
    if expected != found:
        raise LockFileError(
            say(
                "this lock says that it has {expected} packages, and {found} are there: it was cut"
                " off, or edited by hand",
                expected=expected,
                found=found,
            ),
            line=line,
            hint=ANEW,
        )


def must_be_single(names: Iterable[tuple[str, int | None]]) -> None:
    """Raises ``LockFileError`` where a package stands twice."""
    seen: dict[str, int | None] = {}
    for name, line in names:
        if name in seen:
            where = say(" (first in line {seen})", seen=seen[name]) if seen[name] is not None else ""
            raise LockFileError(
                say("{name} stands twice{where}: envfix reads locks for one machine", name=name, where=where), line=line
            )
        seen[name] = line


def must_fit(name: str, version: str, filename: str, line: int | None) -> None:
    """Raises ``LockFileError`` where a file is by its name another package or version than the lock says."""
    known = name_and_version(filename)
    if known is not None and (known[0] != name or not _is_same(known[1], version)):
        raise LockFileError(
            say("the file {filename} is not {name} {version}", filename=filename, name=name, version=version).rstrip(),
            line=line,
            hint=ANEW,
        )


def _is_same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return False


# TOML: what the standard library reads but does not write.


def toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, Mapping):
        said = {key: item for key, item in value.items() if not _is_unsaid(item)}
        return "{ " + ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in said.items()) + " }"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(toml, value)) + "]"
    # JSON writes a string as TOML does, but for one character.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_unsaid(value: Any) -> bool:
    """What TOML has no word for, and what is meant where nothing is said."""
    return value is None or value is False or value in ([], (), {})


def toml_key(key: str) -> str:
    """A key, in quotes where it needs them."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)


def toml_lines(values: Mapping[str, Any]) -> list[str]:
    """``key = value`` for each of them; a list of several has a line for each element."""
    lines = []
    for key, value in values.items():
        if _is_unsaid(value):
            continue
        if isinstance(value, (list, tuple)) and len(value) > 1:
            lines += [f"{toml_key(key)} = [", *(f"    {toml(item)}," for item in value), "]"]
        else:
            lines.append(f"{toml_key(key)} = {toml(value)}")
    return lines


def read_toml(text: str) -> dict[str, Any]:
    """A TOML document as plain values; raises ``LockFileError`` with the line."""
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        document: dict[str, Any] = reader.loads(text)
    except ValueError as error:
        found = re.search(r"^(.*?) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
        reason = found[1] if found else str(error)
        last = text.count("\n") + (not text.endswith("\n"))
        line = int(found[2]) if found and found[2] else max(last, 1)
        cut = say(": the file is cut off there") if found and not found[2] else ""
        raise LockFileError(
            say("this is not readable as TOML{cut} ({reason})", cut=cut, reason=reason), line=line, hint=ANEW
        ) from error
    return document


def table_of(value: object, *keys: str) -> dict[str, Any]:
    """The table inside a TOML document; empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def line_of(text: str, pattern: str) -> int | None:
    """The line in which the pattern is first found; None where it is not."""
    return next(lines_of(text, pattern), None)


def lines_of(text: str, pattern: str) -> Iterator[int]:
    """The lines in which the pattern is found, one after the other."""
    line, end = 1, 0
    for found in re.finditer(pattern, text, re.MULTILINE):
        line, end = line + text.count("\n", end, found.start()), found.start()
        yield line


class EnvfixTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """The table ``[tool.envfix]`` of a TOML lock: what no other tool asks for.

    ``packages`` is how many the lock has, ``indexes`` which packages come from an index of that name, ``pages`` the packages
    whose index is a plain page of files, ``elsewhere`` those that the lock cannot bring back, whole.
    """

    schema: int
    packages: int
    needs: Needs
    source: str = "a plan"
    asked: tuple[str, ...] = ()
    indexes: dict[str, tuple[str, ...]] = {}
    pages: tuple[str, ...] = ()
    elsewhere: tuple[LockedPackage, ...] = ()
    locked: tuple[LockedPackage, ...] = ()

    def index_of(self, name: str) -> str:
        """The name of the index that a package comes from."""
        return next((index for index, names in self.indexes.items() if name in names), REGISTRY)


def envfix_table(lock: Lock, *, locked: tuple[LockedPackage, ...] = ()) -> list[str]:
    """The lines of ``[tool.envfix]``, of a lock that is writable."""
    indexes: dict[str, list[str]] = {}
    for package in lock.packages:
        if package.index != REGISTRY and not is_elsewhere(package):
            indexes.setdefault(package.index, []).append(package.name)
    table = EnvfixTable(
        schema=SCHEMA,
        packages=len(lock.packages),
        needs=lock.needs,
        source=lock.source,
        asked=lock.asked,
        indexes={name: tuple(indexes[name]) for name in sorted(indexes)},
        pages=tuple(package.name for package in lock.packages if package.find_links),
        elsewhere=tuple(filter(is_elsewhere, lock.packages)),
        locked=locked,
    )
    return ["[tool.envfix]", *toml_lines(msgspec.to_builtins(table))]


def without_logins(package: LockedPackage) -> LockedPackage:
    """The package with no user name or password in its addresses."""
    file = package.file
    if file is not None and file.url:
        file = msgspec.structs.replace(file, url=bare(file.url))
    return msgspec.structs.replace(
        package,
        file=file,
        index_url=bare(package.index_url) if package.index_url else None,
        direct_url=bare(package.direct_url) if package.direct_url else None,
    )


def read_envfix_table(text: str, document: Mapping[str, Any]) -> EnvfixTable | None:
    """The table ``[tool.envfix]``; None where another tool wrote the file. Raises ``LockFileError``."""
    tool = document.get("tool")
    table = tool.get("envfix") if isinstance(tool, dict) else None
    if table is None and re.search(r"^# Locked by envfix from ", text, re.MULTILINE):
        last = len(text.splitlines())
        raise LockFileError(
            say("envfix wrote this lock, and its table [tool.envfix] is not there: it was cut off"),
            line=last,
            hint=ANEW,
        )
    if table is None:
        return None
    line = line_of(text, r"^\[tool\.envfix\]")
    if isinstance(table, dict):
        must_be_this_schema(table.get("schema"), line_of(text, r"^schema\s*=") or line)
    try:
        return msgspec.convert(table, EnvfixTable)
    except msgspec.ValidationError as error:
        raise LockFileError(
            say("the table [tool.envfix] is not readable: {error}", error=error),
            line=_line_of_key(text, str(error)) or line,
            hint=ANEW,
        ) from error


def _line_of_key(text: str, message: str) -> int | None:
    found = re.search(r"at `\$\.([\w-]+)", message)
    return line_of(text, rf"^{found[1]}\s*=") if found else None


def canonical(name: str) -> str:
    """A package's name as the model has it."""
    return str(canonicalize_name(name))
