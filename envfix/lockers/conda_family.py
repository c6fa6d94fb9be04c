"""What the conda formats share: how packages are addressed, and what is written about a lock besides its packages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from packaging.utils import canonicalize_name

from envfix.lockers.header import bare, read_needs
from envfix.lockers.interface import ANEW, LockError, LockFileError
from envfix.lockers.pip_family import danger_of, is_elsewhere, is_plain, pin, printable, why_elsewhere
from envfix.model.conda_names import SUBDIRS
from envfix.model.language import retold, say, stated
from envfix.model.lock import Lock, LockedFile, LockedPackage, Needs, Origin
from envfix.model.lock_signs import variant_of

_SUBDIRS = {**SUBDIRS, "linux_ppc64le": "linux-ppc64le"}
BOTH = "environment.yml, conda-lock and pixi hold both: envfix lock --format environment.yml"
# The last line of a lock: a file that was cut off may be whole for YAML, and lack a checksum.
END = "# envfix-end"
# Where files lie that have no address, because they come from the user's own index: beside the lock, as for pylock.toml.
FOLDER = "wheels"
# Pip reads the folder that it runs in from the variable; a relative address it takes from 24.1 on only.
HERE = f"file://${{PWD}}/{FOLDER}/"
_PLATFORMS = {subdir: platform for platform, subdir in _SUBDIRS.items()}
_ADDRESS = re.compile(
    r"(?:(?P<channel>.+)/)?(?P<subdir>noarch|(?:linux|osx|win|freebsd|emscripten|wasi|zos)-\w+)/(?P<file>[^/]+)"
)
_FILE = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)(?P<ending>\.conda|\.tar\.bz2)")
_ALSO = re.compile(r"^\s*#+\s*envfix-also:[ \t]*(.*?)\s*$", re.MULTILINE)
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


def ready(lock: Lock) -> Lock:
    """The lock as it may be written: what stands in comments alone is one printable line, and nothing in it is a secret.

    Raises ``LockError`` for a line break, a quote or the like anywhere else: whoever reads the file would take it for more lines.
    """
    needs = lock.needs
    addresses = [word for channel in lock.channels for word in channel]
    for value in (needs.python, needs.tag, needs.platform, needs.libc, *addresses):
        if value is not None and not _is_plain(value):
            raise LockError(
                say("this lock cannot be written: {clean!r} has a character that no lock can hold", clean=clean(value))
            )
    return msgspec.structs.replace(
        lock,
        packages=tuple(_ready(one) for one in lock.packages),
        asked=tuple(map(bare, lock.asked)),
        specs=tuple(map(bare, lock.specs)),
        channels=tuple((bare(name), bare(url)) for name, url in lock.channels),
        source=printable(lock.source),
    )


def _ready(package: LockedPackage) -> LockedPackage:
    if is_elsewhere(package):
        told = msgspec.to_builtins(msgspec.structs.replace(package, file=None))
        return msgspec.convert(_printable(told), LockedPackage)
    file = package.file
    words = [package.name, package.version, package.build, package.subdir, package.index, package.index_url]
    words += [package.direct_url, *package.requires]
    words += [file.filename, file.url, file.sha256, file.md5] if file is not None else []
    for value in words:
        if value is not None and not _is_plain(value):
            raise _unwritable(package, value, say("has a character that no lock can hold"))
    for value in (*package.depends, *package.constrains):
        if not value.isprintable():
            raise _unwritable(package, value, say("has a character that no lock can hold"))
    if file is not None and "/" in file.filename:
        raise _unwritable(package, file.filename, say("is not the name of a file"))
    danger = danger_of(package.direct_url or "") if package.origin == "direct" else None
    if danger is not None:
        raise _unwritable(package, package.direct_url or "", retold(danger))
    return package


def _is_plain(text: str) -> bool:
    """An apostrophe may be in the name of a folder. Conda and conda-lock put variables into addresses at a ``$``."""
    return is_plain(text.replace("'", "")) and "$" not in text


def _unwritable(package: LockedPackage, value: str, why: str) -> LockError:
    return LockError(
        say("{clean!r} cannot be written: {clean_2!r} {why}", clean=clean(package.name), clean_2=clean(value), why=why)
    )


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(bare(value))
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return {key: _printable(one) for key, one in value.items()} if isinstance(value, dict) else value


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
            say(
                "{name} needs the address of every conda package, and none is known for {named}",
                name=name,
                named=named(without),
            ),
            hint=say("environment.yml does without: envfix lock --format environment.yml"),
        )


def clean(text: str) -> str:
    """What a file says, short enough and without secrets, to be repeated in a message."""
    # Not with a question mark at once: what follows it would be the query of an address.
    shown = bare("".join(one if one.isprintable() else "\ufffd" for one in text)).replace("\ufffd", "?")
    return shown if len(shown) <= 80 else shown[:77] + "..."


def subdir_of(lock: Lock) -> str:
    """Conda's name for the platform of a lock. Raises ``LockError`` where it has none."""
    platform = re.sub(r"^macosx_\d+_\d+_", "macosx_", lock.needs.platform)
    found = _SUBDIRS.get(platform) or own_subdir(lock.conda())
    if found is None:
        raise LockError(
            say("conda has no name for the platform {platform}", platform=lock.needs.platform or "(not known)")
        )
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
            say(
                "{clean!r} is no conda package: these are called name-version-build.conda or"
                " .tar.bz2; is the file cut off?",
                clean=clean(filename),
            ),
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
            say(
                "a {kind} checksum has {hashes} digits, and this is {clean!r}; is the file cut off?",
                kind=kind,
                hashes=_HASHES[kind],
                clean=clean(told),
            ),
            line=line,
            hint=ANEW,
        )
    return told.lower()


def check_subdir(package: LockedPackage, subdir: str | None, line: int) -> None:
    """Raises ``LockFileError`` for a package of another platform than the lock's."""
    if subdir is not None and package.subdir not in (None, "noarch", subdir):
        raise LockFileError(
            say(
                "{which} is for {subdir}, and this lock is for {subdir_2}",
                which=package.file.filename if package.file else package.name,
                subdir=package.subdir,
                subdir_2=subdir,
            ),
            line=line,
            hint=say("take the package of the right platform, or write the lock anew: envfix lock"),
        )


def also_line(lock: Lock, written: Sequence[LockedPackage], absent: Sequence[LockedPackage] = ()) -> str:
    """A comment with what a format has no place for, read back by ``assembled``; in ASCII, since YAML knows more line breaks."""
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
    return f"# envfix-also: {json.dumps(_plain(also), separators=(',', ':'))}".replace("\x7f", "\\u007f")


def _plain(value: Any) -> Any:
    """Names with values, without the empty ones. Msgspec leaves out what *is* the default, which equal text need not be."""
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        return {name: _plain(one) for name, one in fields.items() if one not in (None, False, ())}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def absent_lines(absent: Sequence[LockedPackage]) -> list[str]:
    """A comment for each package that cannot come back elsewhere."""
    return [f"# Not in this lock: {package.name} {package.version}: {why_elsewhere(package)}" for package in absent]


def on_this_disk(packages: Iterable[LockedPackage]) -> Iterator[str]:
    """A sentence for each channel that is a folder of this disk: what comes from it comes from nowhere else."""
    rows: dict[str, list[LockedPackage]] = {}
    for package in packages:
        address = package.index_url or (package.file.url if package.file else None) or ""
        if package.origin == "conda" and address.startswith("file:"):
            rows.setdefault(bare(address), []).append(package)
    for address, there in rows.items():
        yield stated(
            "{named}: from the folder {address} of this machine's disk, and nowhere else without that folder",
            named=named(there),
            address=address,
        )


def disk_lines(lock: Lock) -> list[str]:
    """The same as comments."""
    return [f"# {sentence}" for sentence in on_this_disk(lock.conda())]


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
            say("what envfix noted beside the packages is not readable: {error}", error=error), line=line, hint=ANEW
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
        raise LockFileError(
            say("its last line, {end!r}, is missing: it is cut off", end=END), line=last_line(text), hint=ANEW
        )
    if also.count != len(packages):
        raise LockFileError(
            say(
                "it holds {counted} and was written with {count}: it was changed by hand",
                counted=counted(len(packages)),
                count=also.count,
            ),
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
        variant=variant_of(packages),
    )


def _check_platform(needs: Needs, subdir: str | None, text: str) -> None:
    wanted = _SUBDIRS.get(re.sub(r"^macosx_\d+_\d+_", "macosx_", needs.platform))
    if wanted is not None and subdir is not None and wanted != subdir:
        at = text.find("envfix-needs:")
        raise LockFileError(
            say(
                "it says that it needs {platform}, and its packages are for {subdir}",
                platform=needs.platform,
                subdir=subdir,
            ),
            line=text[: max(at, 0)].count("\n") + 1,
            hint=ANEW,
        )


def _placed(package: LockedPackage, also: Also) -> LockedPackage:
    """The package with the index, or the channel's name, that envfix noted."""
    if package.origin == "conda":
        name = next((name for name, url in also.channels if url.rstrip("/") == package.index_url), package.index)
        return msgspec.structs.replace(package, index=name)
    if package.origin in ("direct", "local") and package.name not in also.direct:
        package = _from_index(package)
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


def _from_index(package: LockedPackage) -> LockedPackage:
    """What is named by its address, or lies beside the lock, and is a file of an index all the same."""
    url = package.direct_url
    file = package.file or LockedFile(filename=file_of(url or ""), url=url)
    origin: Origin = "wheel" if file.filename.endswith(".whl") else "sdist"
    return msgspec.structs.replace(package, origin=origin, file=file, direct_url=None, note=None)


def _sorted(packages: Sequence[LockedPackage]) -> tuple[LockedPackage, ...]:
    return tuple(sorted(packages, key=lambda one: (one.name, one.origin == "conda")))


def last_line(text: str) -> int:
    """The number of a file's last line."""
    return max(len(text.splitlines()), 1)


def direct_package(name: str, url: str, version: str | None = None, sha256: str | None = None) -> LockedPackage:
    """A package that is named by its address; the version is the file's where nobody says it."""
    address, _, fragment = url.partition("#sha256=")
    filename = file_of(address)
    digest = sha256 or fragment or None
    return LockedPackage(
        name=canonicalize_name(name),
        version=version or version_of(filename) or "",
        origin="direct",
        direct_url=bare(address),
        file=LockedFile(filename=filename, url=bare(address), sha256=digest) if digest else None,
    )


def file_of(address: str) -> str:
    """The file's name in an address, as it is on the disk."""
    return unquote(re.split(r"[?#]", address)[0].rpartition("/")[2])


def version_of(filename: str) -> str | None:
    """The version in the name of a wheel or source archive; None where it is neither."""
    found = re.fullmatch(r"[^-]+-(?P<wheel>[^-]+)-.*\.whl|.+-(?P<source>[^-]+)\.(?:tar\.gz|zip)", filename)
    return (found["wheel"] or found["source"]) if found else None


def chosen_platform(platforms: Sequence[str]) -> str:
    """The platform that is read where a file has several: 64-bit Linux, else the first."""
    return "linux-64" if "linux-64" in platforms else platforms[0]


def channel_urls(lock: Lock) -> list[str]:
    """The addresses of the channels, the strongest first."""
    urls = [url for _, url in lock.channels] or [one.index_url for one in lock.conda() if one.index_url]
    return [bare(url) for url in dict.fromkeys(urls)]


def wheel_address(package: LockedPackage) -> str | None:
    """Where a wheel lies; what was installed from an address has that one."""
    if package.origin == "direct":
        return package.direct_url
    return package.file.url if package.file else None


def beside(wheels: Iterable[LockedPackage]) -> dict[str, LockedPackage]:
    """The wheels that have no address and lie in a folder beside the lock, by the names of their files."""
    return {one.file.filename: one for one in wheels if wheel_address(one) is None and one.file and one.file.filename}


def beside_lines(wheels: Sequence[LockedPackage]) -> list[str]:
    """How to fill the folder beside the lock, as comments; none where all wheels have addresses."""
    absent = list(beside(wheels).values())
    if not absent:
        return []
    lines = [
        f"# Files of your own package index have no address here: they are read from the folder {FOLDER} beside this file.",
        "# envfix lock --download fills it, and so does a pip of the same Python on the same platform:",
    ]
    by_index: dict[tuple[str, bool], list[str]] = {}
    for one in absent:
        by_index.setdefault((one.index_url or "", one.find_links), []).append(pin(one))
    for (url, is_page), pins in by_index.items():
        option = f" --no-index --find-links {bare(url)}" if is_page else f" --index-url {bare(url)}" if url else ""
        lines.append(f"#   pip download --no-deps -d {FOLDER}{option} {' '.join(pins)}")
    return lines


def files_beside(text: str) -> list[str]:
    """The names of the files that a lock of pixi or conda-lock looks for in the folder beside it."""
    found = re.findall(
        rf"^\s*(?:- )?(?:pypi: |url: )['\"]?(?:file://\$\{{PWD\}}/)?{FOLDER}/([^/'\"\s]+)", text, re.MULTILINE
    )
    return list(dict.fromkeys(map(unquote, found)))


def address_here(filename: str) -> str:
    """The address of a file in the folder beside the lock, for a pip that runs in the folder of the lock."""
    return f"{HERE}{quote(filename, safe='+')}"


def listed_wheels(lock: Lock, name: str) -> tuple[list[LockedPackage], list[LockedPackage]]:
    """The wheels that the format can hold, and what comes from no index. Raises ``LockError`` for those it cannot install."""
    wheels = [one for one in lock.wheels() if not is_elsewhere(one)]
    if wheels and not any(one.name == "python" for one in lock.conda()):
        raise LockError(
            say("{name} puts wheels into a Python of conda's, and there is none in this lock", name=name),
            hint=say("requirements and pylock hold wheels alone: envfix lock --format requirements"),
        )
    without = [one for one in wheels if wheel_address(one) is None and not (one.file and one.file.filename)]
    if without:
        raise LockError(
            say(
                "{name} needs the address or the file of every wheel, and none is known for {named}",
                name=name,
                named=named(without),
            ),
            hint=say("environment.yml does without: envfix lock --format environment.yml"),
        )
    return wheels, [one for one in lock.wheels() if one not in wheels]


def wheel(told: Mapping[str, str], sha256: str | None, requires: tuple[str, ...]) -> LockedPackage:
    """A wheel, source archive or other address that pip installs from."""
    url = told["url"].partition("#sha256=")[0]
    filename = file_of(url)
    is_here = url.startswith(HERE)
    if not filename.endswith((".whl", ".tar.gz", ".zip")):
        return direct_package(told["name"], url, told["version"], sha256)
    return LockedPackage(
        name=canonicalize_name(told["name"]),
        version=told["version"],
        origin="wheel" if filename.endswith(".whl") else "sdist",
        file=LockedFile(filename=filename, url=None if is_here else bare(url), sha256=sha256),
        requires=requires,
    )


def check_said(package: LockedPackage, told: Mapping[str, str], line: int) -> None:
    """Raises ``LockFileError`` where name and version are not those of the file, as when somebody changed one by hand."""
    for key, own in (("name", package.name), ("version", package.version)):
        if key in told and told[key] != own:
            raise LockFileError(
                say(
                    "{clean} {clean_2} is not the package at its address, {which}: was it changed by hand?",
                    clean=clean(told["name"]),
                    clean_2=clean(told.get("version", "")),
                    which=package.file.filename if package.file else own,
                ),
                line=line,
                hint=ANEW,
            )
