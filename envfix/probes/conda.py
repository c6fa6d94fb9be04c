"""conda, mamba and micromamba: which program answers, which environment is active, what their configuration says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.documents import from_builtins, to_builtins, without_secrets
from envfix.model.facts import CondaInstall, CondaSettings, Observed, absent, found
from envfix.model.language import stated

SOURCE = stated("PATH, CONDA_* variables and .condarc files")
PROGRAMS = ("conda", "mamba", "micromamba")
# Keys that other tools and older releases spell differently.
_ALIASES = {"solver": ("experimental_solver",), "ssl_verify": ("verify_ssl",), "channels": ("channel",)}
# No configuration is that long, and reading YAML takes a second a megabyte.
_LIMIT = 65_536
# Brackets within brackets cost the square of their number.
_BRACKETS = 1000
_TRUE = ("1", "true", "yes", "on")


def parse_condarc(text: str) -> dict[str, Any]:
    """What a .condarc says, by key; raises ``ValueError`` where it is not a YAML mapping.

    It reads ``channels: [conda-forge, defaults]``, ``custom_channels: {pytorch: https://mirror.example/cloud}``,
    ``channel_priority: strict``, ``ssl_verify: false``, ``proxy_servers: {https: http://proxy.example:8080}`` ...
    """
    import yaml

    if len(text) >= _LIMIT:
        raise ValueError(stated("it is longer than {value} KB", value=_LIMIT // 1024))
    if text.count("[") + text.count("{") > _BRACKETS:
        raise ValueError(stated("it has more brackets than any configuration needs"))
    try:
        # Not the C loader: a few lines need no speed, and text nested without end would end this very process.
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(_where(error)) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(stated("it is a list or a single word, not settings with values"))  # noqa: TRY004 - of the text
    return {str(key): value for key, value in content.items() if value is not None}


def _where(error: Exception) -> str:
    """``line 3: mapping values are not allowed here``; the line where the parser tells it."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is not None and problem:
        return f"line {mark.line + 1}: {problem}"
    return " ".join(str(error).split())[:300]


def merge_condarcs(documents: list[tuple[str, Mapping[str, Any]]]) -> CondaSettings:
    """Settings from files given by rising strength: lists are joined, the stronger first; of the rest the stronger counts."""
    strongest_first = [(path, document) for path, document in reversed(documents)]
    merged: dict[str, Any] = {"set_in": {}}
    for name, kind in _KINDS.items():
        spelled = (name, *_ALIASES.get(name, ()))
        given = [(path, document[key]) for path, document in strongest_first for key in spelled if key in document]
        value = _joined(kind, [one for _, one in given])
        if value:
            merged[_FIELDS.get(name, name)] = value
            merged["set_in"][name] = ", ".join(dict.fromkeys(path for path, _ in given))
    return CondaSettings(**merged)


# How each key is joined over several files.
_KINDS = {
    "channels": "list",
    "default_channels": "list",
    "custom_channels": "map",
    "mirrored_channels": "lists",
    "channel_alias": "text",
    "channel_priority": "text",
    "solver": "text",
    "ssl_verify": "text",
    "proxy_servers": "map",
    "remote_read_timeout_secs": "text",
    "offline": "flag",
}
_FIELDS = {"proxy_servers": "proxies", "remote_read_timeout_secs": "read_timeout"}


def _joined(kind: str, values: list[Any]) -> Any:
    if kind == "list":
        return tuple(dict.fromkeys(text for value in values for text in _texts(value)))
    if kind in ("map", "lists"):
        joined: dict[str, Any] = {}
        for value in values:
            for key, item in value.items() if isinstance(value, dict) else ():
                if kind == "lists":
                    joined.setdefault(str(key), _texts(item))
                elif isinstance(item, str):
                    joined.setdefault(str(key), item)
        return joined
    first = next((value for value in values if isinstance(value, (str, int, float, bool))), None)
    if kind == "flag":
        return str(first).lower() in _TRUE
    return None if first is None else str(first).lower() if isinstance(first, bool) else str(first)


def _texts(value: Any) -> tuple[str, ...]:
    rows = value if isinstance(value, list) else [value]
    return tuple(str(row) for row in rows if isinstance(row, str))


def condarc_paths(host: ProbeHost, prefix: str | None, root: str | None) -> list[str]:
    """Where conda reads its configuration, the weakest first (its own search path)."""
    home = host.system_facts().get("home", "~")
    folders = ["/etc/conda", "/var/lib/conda"]
    if host.system_facts().get("system") == "win32":
        folders = ["C:/ProgramData/conda"]
    folders += [root] if root else []
    folders += [f"{host.getenv('XDG_CONFIG_HOME')}/conda"] if host.getenv("XDG_CONFIG_HOME") else []
    folders += [f"{home}/.config/conda", f"{home}/.conda"]
    paths = [path for folder in folders for path in _in_folder(host, folder)]
    paths.append(f"{home}/.condarc")
    paths += _in_folder(host, prefix) if prefix else []
    named = host.getenv("CONDARC")
    return list(dict.fromkeys([*paths, named] if named else paths))


def _in_folder(host: ProbeHost, folder: str) -> Iterator[str]:
    yield from (f"{folder}/.condarc", f"{folder}/condarc")
    yield from (path for path in host.glob(f"{folder}/condarc.d/*") if path.endswith((".yml", ".yaml")))


def read_settings(host: ProbeHost) -> tuple[CondaSettings, tuple[str, ...]]:
    """What the files and variables say, as written (secrets included: not for a record that is shown), and the files."""
    documents: list[tuple[str, Mapping[str, Any]]] = []
    problems: list[str] = []
    for path in condarc_paths(host, host.getenv("CONDA_PREFIX"), _root(host, _program(host))):
        answer = host.read_text(path, limit=_LIMIT)
        if answer.outcome == "unreadable":
            problems.append(stated("{path} cannot be read: {problem}", path=path, problem=answer.problem))
        if answer.outcome != "read":
            continue
        try:
            documents.append((path, parse_condarc(answer.text)))
        except ValueError as error:
            problems.append(stated("{path} is no configuration that conda can read: {error}", path=path, error=error))
    files = tuple(path for path, _ in documents)
    documents.append(("CONDA_* variables", _from_variables(host)))
    return msgspec.structs.replace(merge_condarcs(documents), problems=tuple(problems)), files


def _from_variables(host: ProbeHost) -> dict[str, Any]:
    """CONDA_CHANNELS (by commas), CONDA_SOLVER and their like, which are stronger than every file."""
    variables = {name.removeprefix("CONDA_").lower(): text for name, text in host.environ(("CONDA_",)).items() if text}
    listed = {"channels", "default_channels"}
    plain = {key for key, kind in _KINDS.items() if kind in ("text", "flag")} | {"experimental_solver"}
    return {
        key: [word.strip() for word in text.split(",") if word.strip()] if key in listed else text
        for key, text in variables.items()
        if key in listed | plain
    }


def probe(host: ProbeHost) -> Observed[CondaInstall]:
    """What is known of conda without starting it (it needs a second to say its version)."""
    program, prefix = _program(host), host.getenv("CONDA_PREFIX")
    settings, files = read_settings(host)
    if program is None and prefix is None and not files and not settings.problems:
        return absent(SOURCE)
    root = _root(host, program)
    shown = from_builtins(without_secrets(to_builtins(settings)), CondaSettings)
    return found(
        CondaInstall(
            program=program,
            version=_version(host, root),
            active_prefix=prefix,
            active_name=host.getenv("CONDA_DEFAULT_ENV"),
            configuration_files=files,
            channels=shown.channels,
            settings=shown,
            libmamba=bool(host.glob(f"{root}/conda-meta/conda-libmamba-solver-*.json")) if root else None,
        ),
        SOURCE,
    )


def _program(host: ProbeHost) -> str | None:
    return next((path for name in PROGRAMS for path in host.which(name)), None) or host.getenv("CONDA_EXE")


def _root(host: ProbeHost, program: str | None) -> str | None:
    """The base environment, in which the program lies."""
    return host.real_path(program).rpartition("/")[0].rpartition("/")[0] if program else None


def _version(host: ProbeHost, root: str | None) -> str | None:
    """The version by the record in the base environment."""
    for record in host.glob(f"{root}/conda-meta/conda-[0-9]*.json") if root else ():
        match = re.search(r"/conda-(\d[\w.]*)-[^/]*\.json$", record)
        if match:
            return match[1]
    return None
