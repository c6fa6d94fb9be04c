"""``environment.yml``: conda packages with their exact builds, and wheels with their checksums in its ``pip:`` section.

The reader of YAML that keeps the line of everything is here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from packaging.utils import canonicalize_name

from envfix.lockers.conda_family import (
    END,
    absent_lines,
    also_line,
    assembled,
    channel_name,
    check_subdir,
    checked_hash,
    clean,
    conda_package,
    derived_needs,
    direct_package,
    disk_lines,
    file_of,
    own_subdir,
    read_also,
    ready,
    wheel_address,
)
from envfix.lockers.header import bare, comments, read_needs
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.lockers.pip_family import is_elsewhere, pin
from envfix.lockers.yaml_parts import Part, read_yaml
from envfix.model.language import say
from envfix.model.lock import Lock, LockedFile, LockedPackage

_PLAIN = re.compile(r"[A-Za-z0-9_./<>=+\-][\w./:=<>+@~!;\[\],()%?&#*'\"\- ]*")
_HASH = re.compile(r"\s--hash[= ](?P<kind>\w+):(?P<digest>\S+)")
_FILE_NOTE = re.compile(r"\s#\s(?P<file>\S+\.(?:whl|tar\.gz|zip))(?: sha256:(?P<sha256>[0-9a-f]{64}))?\s*$")
_CONDA_NOTE = re.compile(
    r"\s#\s(?P<url>\S+\.(?:conda|tar\.bz2))(?: sha256:(?P<sha256>[0-9a-f]{64}))?(?: md5:(?P<md5>[0-9a-f]{32}))?\s*$"
)
_SPEC = re.compile(
    r"(?:(?P<channel>\S+)::)?(?P<name>[\w.\-]+)"
    r"(?:\s*==?\s*(?P<version>[\w.!+]+)\s*=\s*(?P<build>[\w.+]+)|\s*==\s*(?P<exact>[\w.!+]+))"
)


class EnvironmentYmlLocker:
    """What ``conda env create``, mamba and micromamba take: conda packages by name, version and build, wheels by pip."""

    name = "environment.yml"
    filename = "environment.yml"

    def lock(self, lock: Lock) -> str:
        """The file's text. Raises ``LockError`` for a conda package without its build: its version alone is not exact."""
        lock = ready(lock)
        vague = [package.name for package in lock.conda() if package.build is None]
        if vague:
            raise LockError(
                say(
                    "environment.yml needs the exact build of every conda package, and there is none for {vague}",
                    vague=vague[0],
                )
            )
        wheels = [package for package in lock.wheels() if not is_elsewhere(package)]
        absent = [package for package in lock.wheels() if is_elsewhere(package)]
        lines = [
            *comments(lock),
            also_line(lock, [*lock.conda(), *wheels], absent),
            *absent_lines(absent),
            *disk_lines(lock),
            f"name: {quoted(_environment_name(lock))}",
            *_channel_lines(lock),
            "dependencies:",
            *_conda_lines(lock, pip=bool(wheels)),
        ]
        if wheels:
            lines += ["  - pip:", *_pip_lines(wheels)]
        return "\n".join([*lines, END]) + "\n"

    def is_this(self, text: str, filename: str) -> bool:
        """Whether it lists ``dependencies`` as conda's environment files do, or is called so."""
        lists = re.search(r"^dependencies\s*:", text, re.MULTILINE) is not None
        return (lists and not re.search(r"^package\s*:", text, re.MULTILINE)) or bool(
            re.fullmatch(r"environment\.ya?ml", re.split(r"[/\\]", filename)[-1])
        )

    def read(self, text: str) -> Lock:
        """The exact packages of such a file; what is not exact is only what somebody asked for. Raises ``LockFileError``."""
        lines = text.splitlines()
        document = read_yaml(text).fields("the file")
        if "dependencies" not in document:
            raise LockFileError(say("there is no list of dependencies in it"), line=1, hint=ANEW)
        packages: list[LockedPackage] = []
        specs: list[str] = []
        asked: list[str] = []
        channels = tuple(
            (channel_name(bare(row.text("a channel"))), bare(row.text("a channel")))
            for row in _optional(document, "channels")
            if row.text("a channel") != "nodefaults"
        )
        for row in document["dependencies"].rows("dependencies"):
            if isinstance(row.value, dict):
                found, wanted = _read_pip(row, lines)
                packages += found
                asked += wanted
                continue
            package = _read_conda(row, lines, channels)
            if package is None:
                specs.append(row.text("a dependency"))
                continue
            packages.append(package)
            check_subdir(package, own_subdir(packages), row.line)
        if not packages and read_also(text) is None:
            raise LockFileError(
                say(
                    "no package in it is exact (name=version=build, for pip name==version): it"
                    " says what is wanted, not what is locked"
                ),
                line=document["dependencies"].line,
                hint=say("write a lock: envfix lock --format environment.yml"),
            )
        needs = None
        if read_needs(text) is None:
            needs = _with_wanted_python(packages, specs)
        return assembled(
            text,
            packages,
            subdir=own_subdir(packages),
            fallback="an environment.yml",
            needs=needs,
            channels=channels,
            asked=tuple(asked),
            specs=tuple(specs),
        )


def _environment_name(lock: Lock) -> str:
    torch = lock.package("torch") or lock.package("pytorch")
    if torch is None:
        return "locked"
    return re.sub(r"[^\w.-]+", "-", f"torch-{torch.version.partition('+')[0]}-{lock.needs.variant or 'locked'}")


def _channel_lines(lock: Lock) -> Iterator[str]:
    urls = [url for _, url in lock.channels] or [one.index_url for one in lock.conda() if one.index_url]
    if urls and lock.conda():
        yield "channels:"
        yield from (f"  - {quoted(bare(url))}" for url in dict.fromkeys(urls))
        # Otherwise conda adds the channel it was set up with, which may be out of reach.
        yield "  - nodefaults"


def _conda_lines(lock: Lock, *, pip: bool) -> Iterator[str]:
    conda = lock.conda()
    for package in conda:
        yield f"  - {quoted(f'{package.name}={package.version}={package.build}')}{_conda_note(package)}"
    names = {package.name for package in conda}
    if pip and "python" not in names:
        yield f"  - {quoted(f'python={lock.needs.python}')}" if lock.needs.python else "  - python"
    if pip and "pip" not in names:
        yield "  - pip"


def _conda_note(package: LockedPackage) -> str:
    """Conda itself takes no address and no checksum here; envfix and people do."""
    file = package.file
    if file is None or file.url is None:
        return ""
    sha256 = f" sha256:{file.sha256}" if file.sha256 else ""
    return f"  # {bare(file.url)}{sha256}{f' md5:{file.md5}' if file.md5 else ''}"


def _pip_lines(wheels: Sequence[LockedPackage]) -> Iterator[str]:
    """A requirements file, line by line: conda writes it to a file as it is and gives it to pip.

    A second index could supply any package of the first: a file of another index than the user's own is named by its address, as in
    the format ``requirements``. Where no address is known, the page of that one package is a ``--find-links``.
    """
    without = [one.name for one in wheels if not (one.file and one.file.sha256)]
    if without:
        yield f"      # pip checks no checksums here, because none is known for: {', '.join(without)}"
    pages = dict.fromkeys(_page(one) for one in wheels if one.index_url and _address(one) is None)
    yield from (f"      - {quoted(f'--find-links {page}')}" for page in pages)
    for one in wheels:
        yield f"      - {quoted(_requirement(one, checked=not without))}{_pip_note(one, checked=not without)}"


def _page(package: LockedPackage) -> str:
    url = bare(package.index_url or "")
    return url if package.find_links else f"{url.rstrip('/')}/{package.name}/"


def _address(package: LockedPackage) -> str | None:
    """What a package is named by that the user's own index does not have."""
    return wheel_address(package) if package.origin == "direct" or package.index_url else None


def _requirement(package: LockedPackage, *, checked: bool) -> str:
    digest = package.file.sha256 if package.file else None
    address = _address(package)
    if address is not None:
        address = bare(address)
        mark = f"#sha256={digest}" if digest and "#" not in address else ""
        return f"{package.name} @ {address}{mark}"
    return pin(package) + (f" --hash=sha256:{digest}" if digest and checked else "")


def _pip_note(package: LockedPackage, *, checked: bool) -> str:
    file = package.file
    if _address(package) is not None:
        return f"  # version {package.version}"
    if file is None or not (file.url or file.filename):
        return ""
    kept = f" sha256:{file.sha256}" if file.sha256 and not checked else ""
    return f"  # {bare(file.url) if file.url else file.filename}{kept}"


def _read_conda(row: Part, lines: Sequence[str], channels: Sequence[tuple[str, str]]) -> LockedPackage | None:
    """A conda package that is exact; None for one that leaves a choice."""
    spec = row.text("a dependency")
    found = _SPEC.fullmatch(spec.strip())
    if found is None or (found["version"] or found["exact"]).endswith(".*"):
        return None
    version = found["version"] or found["exact"]
    note = _CONDA_NOTE.search(lines[row.line - 1]) if row.line <= len(lines) else None
    if note is None:
        named = next((one for one in channels if found["channel"] in one), ("", None))
        url = named[1] if named[1] and "://" in named[1] else None
        return LockedPackage(
            name=found["name"].lower(),
            version=version,
            origin="conda",
            build=found["build"],
            index=named[0] or found["channel"] or "",
            index_url=url,
        )
    package = conda_package(note["url"], line=row.line, sha256=note["sha256"], md5=note["md5"])
    if (package.name, package.version, package.build) != (found["name"], version, found["build"]):
        raise LockFileError(
            say(
                "{clean} is not the file named beside it, {clean_2}: was it changed by hand?",
                clean=clean(spec),
                clean_2=clean(note["url"].rpartition("/")[2]),
            ),
            line=row.line,
            hint=ANEW,
        )
    return package


def _read_pip(row: Part, lines: Sequence[str]) -> tuple[list[LockedPackage], list[str]]:
    """What the ``pip:`` section pins, and what it only asks for."""
    packages: list[LockedPackage] = []
    wanted: list[str] = []
    for key, part in row.fields("a dependency").items():
        if key != "pip":
            raise LockFileError(
                say("{clean!r} is no kind of dependency; pip is the only one", clean=clean(key)),
                line=row.line,
                hint=ANEW,
            )
        for entry in part.rows(say("the pip section")):
            line = entry.text(say("a line for pip")).strip()
            option = re.match(r"(-r|-c|--requirement|--constraint)\b", line)
            if option is not None:
                raise LockFileError(
                    say("{option} sends pip to another file, and a lock must hold everything itself", option=option[1]),
                    line=entry.line,
                    hint=ANEW,
                )
            package = _read_requirement(entry, lines)
            if package is not None:
                packages.append(package)
            elif not line.startswith("-") or line.startswith(("-e", "--editable")):
                wanted.append(bare(line))
    return packages, wanted


def _read_requirement(entry: Part, lines: Sequence[str]) -> LockedPackage | None:
    """A wheel that is exact; None for an option, or a requirement that leaves a choice."""
    from packaging.requirements import InvalidRequirement, Requirement

    line = entry.text(say("a line for pip")).strip()
    if line.startswith(("-", ".", "/", "git+", "http://", "https://", "file:")):
        return None
    hashes = [(found["kind"], found["digest"]) for found in _HASH.finditer(line)]
    for kind, digest in hashes:
        if kind == "sha256":
            checked_hash("sha256", digest, entry.line)
    try:
        requirement = Requirement(_HASH.sub("", line).strip())
    except InvalidRequirement as error:
        raise LockFileError(say("pip cannot read {clean!r}", clean=clean(line)), line=entry.line, hint=ANEW) from error
    note = _FILE_NOTE.search(lines[entry.line - 1]) if entry.line <= len(lines) else None
    told = [digest for kind, digest in hashes if kind == "sha256"]
    # Several checksums are those of several files, and nothing says which of them is meant.
    digest = told[0] if len(told) == 1 else note["sha256"] if note else None
    if requirement.url is not None:
        version = re.search(r"\s#\sversion (\S+)\s*$", lines[entry.line - 1]) if entry.line <= len(lines) else None
        return direct_package(requirement.name, requirement.url, version[1] if version else None)
    pins = [spec.version for spec in requirement.specifier if spec.operator in ("==", "===")]
    if len(pins) != 1 or len(requirement.specifier) != 1 or pins[0].endswith(".*"):
        return None
    where = note["file"] if note else ""
    file = LockedFile(filename=file_of(where), url=bare(where) if "://" in where else None, sha256=digest)
    return LockedPackage(
        name=canonicalize_name(requirement.name),
        version=pins[0],
        origin="sdist" if where.endswith((".tar.gz", ".zip")) else "wheel",
        file=file if file.filename or file.sha256 else None,
    )


def _with_wanted_python(packages: Sequence[LockedPackage], specs: Sequence[str]) -> Any:
    """What the packages say; the Python that is only asked for counts where none is exact."""
    needs = derived_needs(packages, own_subdir(packages))
    found = next(
        (match for spec in specs if (match := re.fullmatch(r"python\s*==?\s*(\d+\.\d+)(?:\.[\d*]+)*", spec))), None
    )
    if needs.python or found is None:
        return needs
    return msgspec.structs.replace(needs, python=found[1], tag=f"cp{found[1].replace('.', '')}")


def _optional(document: dict[str, Part], key: str) -> list[Part]:
    return document[key].rows(key) if key in document else []


# --- YAML with lines ---


def quoted(text: str) -> str:
    """Text as YAML reads it back: plain where that is the same, else in double quotes."""
    plain = (
        _PLAIN.fullmatch(text) and not re.search(r":\s|\s#|:$|\s$", text) and not re.match(r"[-?]\s|[-?]$|---", text)
    )
    odd = re.fullmatch(r"[\d.eE+\-_:]+|(?i:true|false|yes|no|on|off|null|y|n)|[=~]|<<|0[xo]\w+|\.\w+", text)
    return text if plain and not odd else msgspec.json.encode(text).decode()
