"""Where pip and uv are told to take packages from, and which file or variable says so."""

from __future__ import annotations

import configparser
import importlib
import os.path
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.facts import Observed, PackageSource, found, unknown
from envfix.model.language import stated

SOURCE = stated("configuration of pip and uv")
Kind: TypeAlias = Literal["index", "extra-index", "find-links", "no-index"]
_PIP_KINDS: dict[str, Kind] = {
    "index-url": "index",
    "extra-index-url": "extra-index",
    "find-links": "find-links",
    "no-index": "no-index",
}
_UV_VARIABLES: dict[str, Kind] = {
    "UV_DEFAULT_INDEX": "index",
    "UV_INDEX_URL": "index",
    "UV_INDEX": "extra-index",
    "UV_EXTRA_INDEX_URL": "extra-index",
    "UV_FIND_LINKS": "find-links",
    "UV_NO_INDEX": "no-index",
}
_TRUE = ("1", "true", "yes", "on", "y", "t")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One option as written by the user, credentials included, and where; never put into a record that is shown."""

    value: str
    configured_in: str


class RawSource(msgspec.Struct, frozen=True, kw_only=True):
    """One place to take packages from as the user wrote it, credentials included; never in a record that is shown."""

    kind: Kind
    location: str
    configured_in: str


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What pip and uv are told, each option as its tool would take it; ``problems`` are files that cannot be used."""

    pip: Mapping[str, Setting]
    uv: Mapping[str, Setting]
    sources: tuple[RawSource, ...]
    problems: tuple[str, ...] = ()

    def default_index(self) -> RawSource | None:
        """The index that replaces the client's own default: uv's setting before pip's, since uv installs."""
        indexes = [source for source in self.sources if source.kind == "index"]
        of_uv = [source for source in indexes if _is_of_uv(source)]
        return next(iter(of_uv or indexes), None)

    def with_credentials(self, location: str) -> str:
        """The address as the user wrote it, where a configured one is the same but for user name and password."""
        wanted = location.rstrip("/")
        for source in self.sources:
            if without_credentials(source.location).rstrip("/") == wanted:
                return source.location
        return location


def probe(host: ProbeHost, prefix: str | None) -> Observed[tuple[PackageSource, ...]]:
    """Every place pip in the environment ``prefix`` (None: none known) and uv are told to use, without credentials.

    A configuration file that cannot be used makes the fact unknown: pip itself stops there, and what it would have said
    is not known.
    """
    settings = read_settings(host, prefix)
    if settings.problems:
        return unknown(SOURCE, "; ".join(settings.problems))
    records = (
        PackageSource(
            kind=source.kind, location=without_credentials(source.location), configured_in=source.configured_in
        )
        for source in settings.sources
    )
    return found(tuple(records), SOURCE)


def read_settings(host: ProbeHost, prefix: str | None) -> Settings:
    """What pip and uv are told on this machine, as their users wrote it; files that cannot be used are ``problems``."""
    facts = host.system_facts()
    home, system = facts.get("home", "~"), facts.get("system", "linux")
    problems: list[str] = []
    pip = _pip_settings(host, _pip_files(host, home, system, prefix), problems)
    uv, uv_sources = _uv_settings(host, home, system, problems)
    sources = [*_pip_sources(pip, home), *uv_sources]
    return Settings(pip=pip, uv=uv, sources=tuple(sources), problems=tuple(problems))


def without_credentials(location: str) -> str:
    """The address without user name and password; a path or a word comes back as it is."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return re.sub(r"(?<=://).*@", "", location)
    if "@" in parts.netloc:
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    host, colon, port = parts.netloc.rpartition(":")
    if host and colon and "@" in location and not port.isdigit() and not port.endswith("]"):
        # A password with a bare slash in it: the address is broken, the secret is still one.
        return f"{parts.scheme}://{location.rpartition('@')[2]}"
    return location


def parse_pip_conf(text: str, path: str) -> dict[tuple[str, str], str]:
    """Section and option of a pip.conf to the value, options with dashes; raises ``ValueError`` naming the file."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text.removeprefix("\ufeff"), path)
    except configparser.Error as error:
        raise ValueError(
            stated("{path} is not a configuration file pip can read: {where}", path=path, where=_where(error))
        ) from error
    return {
        (section.lower(), option.lower().replace("_", "-").removeprefix("--")): value
        for section in parser.sections()
        for option, value in parser.items(section)
        if value is not None
    }


def parse_uv_toml(text: str, path: str) -> tuple[dict[str, str], list[tuple[Kind, str]]]:
    """The plain options of a uv.toml and the places it names; raises ``ValueError`` naming the file."""
    try:
        document = read_toml(text)
    except ValueError as error:
        raise ValueError(
            stated(
                "{path} is not a configuration file uv can read: {first_line}", path=path, first_line=_first_line(error)
            )
        ) from error
    table = document.get("pip")
    merged: dict[str, Any] = {**document, **(table if isinstance(table, dict) else {})}
    plain = {name: str(value) for name, value in merged.items() if isinstance(value, (str, bool, int))}
    return plain, list(_places_of_uv(merged))


def read_toml(text: str) -> dict[str, Any]:
    """A TOML document as plain values; raises ``ValueError``."""
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    document: dict[str, Any] = reader.loads(text)
    return document


def _places_of_uv(options: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    for entry in _list(options.get("index")):
        if isinstance(entry, dict) and isinstance(entry.get("url"), str) and not entry.get("explicit"):
            yield ("index" if entry.get("default") else "extra-index"), entry["url"]
    kinds: tuple[tuple[str, Kind], ...] = (
        ("index-url", "index"),
        ("extra-index-url", "extra-index"),
        ("find-links", "find-links"),
    )
    for name, kind in kinds:
        for value in _list(options.get(name)):
            if isinstance(value, str):
                yield kind, value
    if options.get("no-index") is True:
        yield "no-index", ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _pip_files(host: ProbeHost, home: str, system: str, prefix: str | None) -> list[str]:
    """The configuration files of pip, each overriding those before it (``get_configuration_files`` and its order)."""
    named = host.getenv("PIP_CONFIG_FILE")
    if named in (os.devnull, "/dev/null", "nul"):
        return []  # pip's documented way to switch every file off
    machine, user, name = _pip_folders(host, home, system)
    with_user = not (named and host.read_text(named).outcome != "absent")
    files = [*machine, *(user if with_user else [])]
    if prefix:
        files.append(f"{prefix}/{name}")
    return [*files, named] if named else files


def _pip_folders(host: ProbeHost, home: str, system: str) -> tuple[list[str], list[str], str]:
    """Files for the machine, files for the user, and what the file is called on this system."""
    if system == "win32":
        roaming = host.getenv("APPDATA") or f"{home}/AppData/Roaming"
        common = host.getenv("PROGRAMDATA") or "C:/ProgramData"
        return [f"{common}/pip/pip.ini"], [f"{home}/pip/pip.ini", f"{roaming}/pip/pip.ini"], "pip.ini"
    own = f"{host.getenv('XDG_CONFIG_HOME') or f'{home}/.config'}/pip/pip.conf"
    user = [f"{home}/.pip/pip.conf", own]
    if system == "darwin":
        library = "Library/Application Support/pip/pip.conf"
        return [f"/{library}"], [*user, f"{home}/{library}"], "pip.conf"
    shared = (host.getenv("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    return [*(f"{folder}/pip/pip.conf" for folder in reversed(shared) if folder), "/etc/pip.conf"], user, "pip.conf"


def _pip_settings(host: ProbeHost, files: Iterable[str], problems: list[str]) -> dict[str, Setting]:
    """The options as ``pip install`` takes them: variables before [install] before [global], later files first."""
    sections: dict[str, dict[str, Setting]] = {"global": {}, "install": {}}
    for path in files:
        answer = host.read_text(path)
        if answer.outcome == "unreadable":
            problems.append(stated("{path} cannot be read: {problem}", path=path, problem=answer.problem))
        if answer.outcome != "read":
            continue
        try:
            options = parse_pip_conf(answer.text, path)
        except ValueError as error:
            problems.append(str(error))
            continue
        for (section, option), value in options.items():
            # pip ignores an empty value instead of letting it switch an earlier one off.
            if section in sections and value.strip():
                sections[section][option] = Setting(value=value, configured_in=f"{path} [{section}]")
    settings = {**sections["global"], **sections["install"]}
    for name, value in host.environ(("PIP_",)).items():
        if value.strip() and name != "PIP_CONFIG_FILE":
            option = name.removeprefix("PIP_").lower().replace("_", "-")
            settings[option] = Setting(value=value, configured_in=stated("environment variable {name}", name=name))
    return settings


def _pip_sources(settings: Mapping[str, Setting], home: str) -> Iterator[RawSource]:
    for option, kind in _PIP_KINDS.items():
        setting = settings.get(option)
        if setting is None:
            continue
        if kind == "no-index":
            if setting.value.strip().lower() in _TRUE:
                yield RawSource(kind=kind, location="", configured_in=setting.configured_in)
            continue
        for location in setting.value.split():
            yield RawSource(kind=kind, location=_expand(location, home), configured_in=setting.configured_in)


def _uv_settings(
    host: ProbeHost, home: str, system: str, problems: list[str]
) -> tuple[dict[str, Setting], list[RawSource]]:
    """The options from uv's files (the user's before the machine's), and the places named there and in variables."""
    options: dict[str, Setting] = {}
    sources: list[RawSource] = []
    variables = host.environ(("UV_",))
    for name, kind in _UV_VARIABLES.items():
        where = stated("environment variable {name}", name=name)
        value = variables.get(name, "")
        if kind == "no-index":
            if value.strip().lower() in _TRUE:
                sources.append(RawSource(kind=kind, location="", configured_in=where))
            continue
        # Find-links are separated by commas; an index may carry a name: ``name=https://...``
        for word in value.split("," if kind == "find-links" else None):
            location = re.sub(r"^[A-Za-z0-9_.-]+=(?=\w+://|/)", "", word.strip())
            if location:
                sources.append(RawSource(kind=kind, location=_expand(location, home), configured_in=where))
    for path in _uv_files(host, home, system, variables):
        _read_uv_file(host, path, options, sources, problems)
    return options, sources


def _read_uv_file(
    host: ProbeHost, path: str, options: dict[str, Setting], sources: list[RawSource], problems: list[str]
) -> None:
    answer = host.read_text(path)
    if answer.outcome == "unreadable":
        problems.append(stated("{path} cannot be read: {problem}", path=path, problem=answer.problem))
    if answer.outcome != "read":
        return
    try:
        plain, places = parse_uv_toml(answer.text, path)
    except ValueError as error:
        problems.append(str(error))
        return
    for name, value in plain.items():
        options.setdefault(name, Setting(value=value, configured_in=path))
    sources += [RawSource(kind=kind, location=location, configured_in=path) for kind, location in places]


def _uv_files(host: ProbeHost, home: str, system: str, variables: Mapping[str, str]) -> list[str]:
    """The files of uv, the strongest first; not a project's uv.toml: envfix runs uv outside every project."""
    if variables.get("UV_NO_CONFIG", "").lower() in _TRUE:
        return []
    if named := variables.get("UV_CONFIG_FILE"):
        return [named]
    if system == "win32":
        roaming = host.getenv("APPDATA") or f"{home}/AppData/Roaming"
        return [f"{roaming}/uv/uv.toml", f"{host.getenv('PROGRAMDATA') or 'C:/ProgramData'}/uv/uv.toml"]
    own = f"{host.getenv('XDG_CONFIG_HOME') or f'{home}/.config'}/uv/uv.toml"
    shared = (host.getenv("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
    # uv reads the first machine-wide file that exists, and /etc/uv/uv.toml when there is none.
    machine = [f"{folder}/uv/uv.toml" for folder in shared if folder] + ["/etc/uv/uv.toml"]
    first = next((path for path in machine if host.read_text(path).outcome != "absent"), None)
    return [own, *([first] if first else [])]


def _is_of_uv(source: RawSource) -> bool:
    return "UV_" in source.configured_in or source.configured_in.endswith(".toml")


def _expand(location: str, home: str) -> str:
    return f"{home}{location[1:]}" if location.startswith("~/") else location


def _where(error: configparser.Error) -> str:
    """``line 3: option 'index-url' in section 'global' already exists``; the line where the parser tells it."""
    if isinstance(error, configparser.MissingSectionHeaderError):
        return stated("line {lineno}: the file contains no section headers", lineno=error.lineno)
    if isinstance(error, configparser.ParsingError):
        return (
            stated("line {errors}: it is no setting with a value", errors=error.errors[0][0])
            if error.errors
            else _first_line(error)
        )
    if isinstance(error, (configparser.DuplicateOptionError, configparser.DuplicateSectionError)):
        option = getattr(error, "option", None)
        what = (
            stated("option '{option}' in section '{section}'", option=option, section=error.section)
            if option
            else f"section '{error.section}'"
        )
        return f"line {error.lineno}: {what} already exists"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
