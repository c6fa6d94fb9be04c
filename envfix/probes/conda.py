"""conda, mamba and micromamba: which program answers, which environment is active, which channels are configured."""

from __future__ import annotations

import re
from typing import Any

from envfix.host.interface import ProbeHost
from envfix.model.documents import without_secrets
from envfix.model.facts import CondaInstall, Observed, absent, found, unknown

SOURCE = "PATH, CONDA_* variables and .condarc files"
PROGRAMS = ("conda", "mamba", "micromamba")


def parse_condarc(text: str) -> tuple[str, ...]:
    """The channels that a .condarc names, without credentials; raises ``ValueError`` where it is not YAML."""
    import yaml

    try:
        # Not the C loader: a few lines need no speed, and text nested without end would end this very process.
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    if not isinstance(content, dict):
        return ()
    return tuple(without_secrets(channel) for channel in _listed(content.get("channels")) if isinstance(channel, str))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def condarc_paths(host: ProbeHost, prefix: str | None) -> list[str]:
    """Where conda reads its configuration, in its own order."""
    home = host.system_facts().get("home", "~")
    places = ["/etc/conda/.condarc", "/etc/conda/condarc", f"{home}/.conda/.condarc", f"{home}/.condarc"]
    if prefix:
        places.append(f"{prefix}/.condarc")
    configured = host.getenv("CONDARC")
    return [*places, configured] if configured else places


def probe(host: ProbeHost) -> Observed[CondaInstall]:
    """What is known of conda without starting it (it needs a second to say its version)."""
    program = next((path for name in PROGRAMS for path in host.which(name)), None) or host.getenv("CONDA_EXE")
    prefix = host.getenv("CONDA_PREFIX")
    files: list[str] = []
    channels: list[str] = []
    for path in condarc_paths(host, prefix):
        answer = host.read_text(path)
        if answer.outcome == "absent":
            continue
        if answer.outcome == "unreadable":
            return unknown(path, answer.problem or "not readable")
        try:
            channels += parse_condarc(answer.text)
        except ValueError as error:
            return unknown(path, f"not valid YAML: {error}")
        files.append(path)
    if program is None and prefix is None and not files:
        return absent(SOURCE)
    return found(
        CondaInstall(
            program=program,
            version=_version(host, program),
            active_prefix=prefix,
            active_name=host.getenv("CONDA_DEFAULT_ENV"),
            configuration_files=tuple(files),
            channels=tuple(channels),
        ),
        SOURCE,
    )


def _version(host: ProbeHost, program: str | None) -> str | None:
    """The version by the record in the base environment, which lies beside the program."""
    if program is None:
        return None
    base = host.real_path(program).rpartition("/")[0].rpartition("/")[0]
    for record in host.glob(f"{base}/conda-meta/conda-[0-9]*.json"):
        match = re.search(r"/conda-(\d[\w.]*)-[^/]*\.json$", record)
        if match:
            return match[1]
    return None
