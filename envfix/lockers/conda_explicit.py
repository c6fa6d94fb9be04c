"""``conda-explicit.txt``: the address of every conda package with its checksum; ``conda create --file`` solves nothing then.

What conda addresses look like, and what every conda format writes about a lock besides its packages, is here as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import msgspec
from packaging.utils import canonicalize_name

from envfix.lockers.header import comments, read_needs
from envfix.lockers.interface import LockError, LockFileError
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs

SUBDIRS = {
    "linux_x86_64": "linux-64",
    "linux_aarch64": "linux-aarch64",
    "linux_ppc64le": "linux-ppc64le",
    "linux_s390x": "linux-s390x",
    "win_amd64": "win-64",
    "win_arm64": "win-arm64",
    "macosx_arm64": "osx-arm64",
    "macosx_x86_64": "osx-64",
}
BOTH = "environment.yml, conda-lock and pixi hold both: envfix lock --format environment.yml"
ANEW = "write it anew: envfix lock"
# The last line of a lock: a file that was cut off may be whole for YAML, and lack a checksum.
END = "# envfix-end"
_PLATFORMS = {subdir: platform for platform, subdir in SUBDIRS.items()}
_ADDRESS = re.compile(
    r"(?:(?P<channel>.+)/)?(?P<subdir>noarch|(?:linux|osx|win|freebsd|emscripten|wasi|zos)-\w+)/(?P<file>[^/]+)"
)
_FILE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?P<ending>\.conda|\.tar\.bz2)")
_ALSO = re.compile(r"^\s*#+\s*envfix-also:[ \t]*(.*?)\s*$", re.MULTILINE)
_SHA256 = re.compile(r"^#\s*sha256:(?P<sha256>[0-9a-f]{64})\s+(?P<file>\S+)$")
_PIP = re.compile(r"^#\s*pip\s+(?P<name>\S+)\s+@\s+(?P<url>\S+)$")
_PLATFORM = re.compile(r"^#\s*platform:\s*(?P<subdir>\S+)\s*$")
# cuda11.1 and cuda10.2.89 of the pytorch channel, cuda118 of conda-forge and defaults, cu111 of torchvision.
_CUDA = re.compile(r"(?:^|_)(?:cuda|cu)(?:(?P<dotted>\d{1,2}\.\d{1,2})(?:\.\d+)*|(?P<short>\d{2,3}))(?=_|py|$)")
_HASHES = {"md5": 32, "sha256": 64}


class IndexRow(msgspec.Struct, frozen=True, kw_only=True):
    """Packages that come from an index other than the client's own."""

    index: str
    url: str | None = None
    find_links: bool = False
    packages: tuple[str, ...]


class Also(msgspec.Struct, frozen=True, kw_only=True):
    """What a format has no place for; ``count`` is how many packages were written.

    ``direct`` are those that were named by their address, ``absent`` those that the format cannot hold.
    """

    count: int
    source: str
    asked: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    indexes: tuple[IndexRow, ...] = ()
    direct: tuple[str, ...] = ()
    absent: tuple[LockedPackage, ...] = ()


class CondaExplicitLocker:
    """The list that conda, mamba, micromamba and rattler install from. MD5 is what all of them read; SHA-256 stands beside it."""

    name = "conda-explicit"
    filename = "conda-explicit.txt"

    def lock(self, lock: Lock) -> str:
        """The file's text. Raises ``LockError`` where anything but conda packages is in the lock, or one has no address."""
        packages = lock.conda()
        if not packages:
            raise LockError(
                "conda-explicit holds conda packages, and there is none in this lock",
                hint="requirements and pylock hold wheels: envfix lock --format requirements",
            )
        if lock.wheels():
            raise LockError(
                f"conda-explicit holds conda packages only, and would leave out {named(lock.wheels())}", hint=BOTH
            )
        require_addresses(packages, self.name)
        lines = [*comments(lock), also_line(lock, packages), f"# platform: {subdir_of(lock)}", "@EXPLICIT"]
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
            missing = "a package is named before any line says @EXPLICIT" if marks else "no line says @EXPLICIT"
            raise LockFileError(f"{missing}, so this is no list of exact files", line=where, hint=ANEW)
        packages = list(said.wheels)
        for number, line in named:
            packages.append(_read_line(line, number, said.hashes))
            check_subdir(packages[-1], said.subdir, number)
        if not packages:
            raise LockFileError("there is no package after @EXPLICIT", line=last_line(text), hint=ANEW)
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
                    raise LockFileError(f"{clean(self.subdir)!r} is no platform of conda", line=number, hint=ANEW)
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
                f"the checksum of {clean(address.rpartition('/')[2])} is neither MD5 (32 digits) nor SHA-256 (64 digits);"
                " is the file cut off?",
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
            f"{clean(filename)!r} is no wheel and no source archive; is the file cut off?", line=number, hint=ANEW
        )
    return LockedPackage(
        name=canonicalize_name(name),
        version=version[1] if filename.endswith(".whl") else version[-1],
        origin="wheel" if filename.endswith(".whl") else "sdist",
        file=LockedFile(filename=filename, url=bare(address), sha256=checked_hash("sha256", digest, number)),
    )


# --- what every conda format shares ---


def named(packages: Sequence[LockedPackage]) -> str:
    """The names of a few packages, and how many more there are."""
    names = [package.name for package in packages]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def counted(number: int) -> str:
    """So many packages, in words that fit one as well."""
    return "1 package" if number == 1 else f"{number} packages"


def require_addresses(packages: Sequence[LockedPackage], name: str) -> None:
    """Raises ``LockError`` for conda packages of which nobody says where they lie."""
    without = [package for package in packages if package.file is None or package.file.url is None]
    if without:
        raise LockError(
            f"{name} needs the address of every conda package, and none is known for {named(without)}",
            hint="environment.yml does without: envfix lock --format environment.yml",
        )


def bare(address: str) -> str:
    """An address without user name, password and conda's token."""
    plain = re.sub(r"(?<=://)[^/\s]*@", "", address)
    return re.sub(r"(?<=[^/:])/t/[^/\s]+(?=/)", "", plain)


def clean(text: str) -> str:
    """What a file says, short enough and without secrets, to be repeated in a message."""
    shown = bare("".join(character if character.isprintable() else "?" for character in text))
    return shown if len(shown) <= 80 else shown[:77] + "..."


def subdir_of(lock: Lock) -> str:
    """Conda's name for the platform of a lock. Raises ``LockError`` where it has none."""
    platform = re.sub(r"^macosx_\d+_\d+_", "macosx_", lock.needs.platform)
    found = SUBDIRS.get(platform) or own_subdir(lock.conda())
    if found is None:
        raise LockError(f"conda has no name for the platform {lock.needs.platform or '(not known)'}")
    return found


def own_subdir(packages: Iterable[LockedPackage]) -> str | None:
    """The platform that packages are built for; None where they run everywhere."""
    return next((package.subdir for package in packages if package.subdir not in (None, "noarch")), None)


def in_order(packages: Sequence[LockedPackage]) -> list[LockedPackage]:
    """Each package after what it depends on: not every client sorts a list of addresses, and scripts need their Python."""
    by_name = {package.name: package for package in sorted(packages, key=lambda one: one.name)}
    done: dict[str, LockedPackage] = {}
    seen: set[str] = set()
    for name in by_name:
        open_ = [name]
        while open_:
            here = open_[-1]
            needed = sorted({dependency(row)[0] for row in by_name[here].depends} & by_name.keys() - seen - {here})
            seen.add(here)
            if needed:
                open_.append(needed[0])
            else:
                done.setdefault(here, by_name[here])
                open_.pop()
    return list(done.values())


def dependency(spec: str) -> tuple[str, str]:
    """Name and condition of what a conda package depends on."""
    found = re.match(r"\s*([\w.\-]+)\s*(.*)$", spec, re.DOTALL)
    return (found[1].lower(), found[2].strip()) if found else (spec.strip(), "")


def conda_package(
    address: str,
    *,
    line: int,
    md5: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    depends: tuple[str, ...] = (),
    constrains: tuple[str, ...] = (),
) -> LockedPackage:
    """The package at an address; its name says everything. Raises ``LockFileError`` for what is none."""
    place = _ADDRESS.fullmatch(address)
    filename = unquote(place["file"] if place else re.split(r"[/\\]", address)[-1])
    found = _FILE.fullmatch(filename)
    if found is None:
        raise LockFileError(
            f"{clean(filename)!r} is no conda package: these are called name-version-build.conda or .tar.bz2;"
            " is the file cut off?",
            line=line,
            hint=ANEW,
        )
    channel = bare(place["channel"]).rstrip("/") if place and place["channel"] else None
    return LockedPackage(
        name=found["name"].lower(),
        version=found["version"],
        origin="conda",
        build=found["build"],
        subdir=place["subdir"] if place else None,
        file=LockedFile(filename=filename, url=bare(address), size=size, sha256=sha256, md5=md5),
        index=channel_name(channel) if channel else "",
        index_url=channel,
        depends=depends,
        constrains=constrains,
    )


def channel_name(url: str) -> str:
    """What people call a channel: the end of its address."""
    return url.rstrip("/").rpartition("/")[2] or url


def checked_hash(kind: str, told: str | None, line: int) -> str | None:
    """A checksum as it must look, or None. Raises ``LockFileError``."""
    if told is None or told == "":
        return None
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_HASHES[kind]}}}", told):
        raise LockFileError(
            f"a {kind} checksum has {_HASHES[kind]} digits, and this is {clean(told)!r}; is the file cut off?",
            line=line,
            hint=ANEW,
        )
    return told.lower()


def check_subdir(package: LockedPackage, subdir: str | None, line: int) -> None:
    """Raises ``LockFileError`` for a package of another platform than the lock's."""
    if subdir is not None and package.subdir not in (None, "noarch", subdir):
        raise LockFileError(
            f"{package.file.filename if package.file else package.name} is for {package.subdir}, and this lock is for"
            f" {subdir}",
            line=line,
            hint="take the package of the right platform, or write the lock anew: envfix lock",
        )


def also_line(lock: Lock, written: Sequence[LockedPackage], absent: Sequence[LockedPackage] = ()) -> str:
    """A comment with what a format has no place for, read back by ``assembled``."""
    rows: dict[tuple[str, str | None, bool], list[str]] = {}
    for package in written:
        key = (package.index, package.index_url, package.find_links)
        if package.origin != "conda" and key != ("pypi", None, False):
            rows.setdefault(key, []).append(package.name)
    also = Also(
        count=len(written),
        source=lock.source,
        asked=lock.asked,
        specs=lock.specs,
        channels=lock.channels,
        indexes=tuple(
            IndexRow(index=index, url=url, find_links=find_links, packages=tuple(names))
            for (index, url, find_links), names in rows.items()
        ),
        direct=tuple(package.name for package in written if package.origin == "direct"),
        absent=tuple(absent),
    )
    return f"# envfix-also: {msgspec.json.encode(_plain(also)).decode()}"


def _plain(value: Any) -> Any:
    """Names with values, without the empty ones. Msgspec leaves out what *is* the default, which equal text need not be."""
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: _plain(one) for name, one in fields.items() if one not in (None, False, ())}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def absent_lines(absent: Sequence[LockedPackage]) -> list[str]:
    """A comment for each package that cannot come back elsewhere."""
    return [
        f"# Not in this lock: {package.name} {package.version}: {' '.join((package.note or 'no index holds it').split())}"
        for package in absent
    ]


def read_also(text: str) -> Also | None:
    """What ``also_line`` wrote. Raises ``LockFileError`` where it is damaged."""
    found = _ALSO.search(text)
    if found is None:
        return None
    try:
        return msgspec.json.decode(found[1], type=Also)
    except (msgspec.DecodeError, UnicodeError) as error:
        line = text[: found.start(1)].count("\n") + 1
        raise LockFileError(
            f"what envfix noted beside the packages is not readable: {error}", line=line, hint=ANEW
        ) from error


def assembled(
    text: str,
    packages: Sequence[LockedPackage],
    *,
    subdir: str | None,
    fallback: str,
    needs: Needs | None = None,
    channels: tuple[tuple[str, str], ...] = (),
    asked: tuple[str, ...] = (),
    specs: tuple[str, ...] = (),
) -> Lock:
    """A lock from what a file says; what it leaves open is derived from its packages. ``fallback`` says what was read."""
    also = read_also(text)
    found = read_needs(text) or needs or derived_needs(packages, subdir)
    _check_platform(found, subdir, text)
    if also is None:
        own = dict.fromkeys((one.index, one.index_url) for one in packages if one.origin == "conda" and one.index_url)
        # A channel that is only named lies where its packages do.
        by_name = {name: url for name, url in own if url}
        told = tuple((name, by_name.get(name, url)) for name, url in channels) or tuple(own)
        return Lock(needs=found, packages=_sorted(packages), asked=asked, specs=specs, channels=told, source=fallback)
    if text.rstrip().rpartition("\n")[2] != END:
        raise LockFileError(f"its last line, {END!r}, is missing: it is cut off", line=last_line(text), hint=ANEW)
    if also.count != len(packages):
        raise LockFileError(
            f"it holds {counted(len(packages))} and was written with {also.count}: it was changed by hand",
            line=last_line(text),
            hint=ANEW,
        )
    return Lock(
        needs=found,
        packages=_sorted([*(_placed(one, also) for one in packages), *also.absent]),
        asked=also.asked,
        specs=also.specs,
        channels=also.channels,
        source=also.source,
    )


def derived_needs(packages: Sequence[LockedPackage], subdir: str | None) -> Needs:
    """What the packages themselves say: Python, platform, and the CUDA in the build or label of torch."""
    python = next((one.version for one in packages if one.name == "python" and one.origin == "conda"), "")
    minor = ".".join(python.split(".")[:2])
    return Needs(
        python=minor,
        tag=f"cp{minor.replace('.', '')}" if minor else "",
        platform=_PLATFORMS.get(subdir or "", ""),
        variant=_variant(packages),
    )


def _variant(packages: Sequence[LockedPackage]) -> str:
    """The CUDA inside torch; ``cpu`` without torch, empty where nobody says."""
    wheel = next((one for one in packages if one.name == "torch" and one.origin != "conda"), None)
    if wheel is not None:
        return wheel.version.partition("+")[2]
    torch = next((one for one in packages if one.name in ("pytorch", "pytorch-gpu", "pytorch-cpu")), None)
    if torch is None:
        return "cpu"
    cuda = _CUDA.search(torch.build or "")
    if cuda is not None:
        return "cu" + (cuda["dotted"] or cuda["short"]).replace(".", "")
    return "cpu" if "cpu" in (torch.build or "") else ""


def _check_platform(needs: Needs, subdir: str | None, text: str) -> None:
    wanted = SUBDIRS.get(re.sub(r"^macosx_\d+_\d+_", "macosx_", needs.platform))
    if wanted is not None and subdir is not None and wanted != subdir:
        at = text.find("envfix-needs:")
        raise LockFileError(
            f"it says that it needs {needs.platform}, and its packages are for {subdir}",
            line=text[: max(at, 0)].count("\n") + 1,
            hint=ANEW,
        )


def _placed(package: LockedPackage, also: Also) -> LockedPackage:
    """The package with the index, or the channel's name, that envfix noted."""
    if package.origin == "conda":
        name = next((name for name, url in also.channels if url.rstrip("/") == package.index_url), package.index)
        return msgspec.structs.replace(package, index=name)
    if package.name in also.direct and package.file is not None and package.origin != "direct":
        package = msgspec.structs.replace(
            package,
            origin="direct",
            direct_url=package.file.url,
            file=package.file if package.file.sha256 else None,
        )
    row = next((row for row in also.indexes if package.name in row.packages), None)
    if row is None:
        return package
    return msgspec.structs.replace(package, index=row.index, index_url=row.url, find_links=row.find_links)


def _sorted(packages: Sequence[LockedPackage]) -> tuple[LockedPackage, ...]:
    return tuple(sorted(packages, key=lambda one: (one.name, one.origin == "conda")))


def last_line(text: str) -> int:
    """The number of a file's last line."""
    return max(len(text.splitlines()), 1)
