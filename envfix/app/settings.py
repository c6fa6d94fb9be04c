"""What every verb needs of this machine: the tables, the time limit, and which interpreter is meant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from envfix.errors import UsageError
from envfix.host.interface import ProbeHost
from envfix.model.language import later, look_up, retold, say
from envfix.model.reporter import NullReporter
from envfix.probes import interpreter

if TYPE_CHECKING:
    from envfix.tables.loader import Tables

NOBODY = NullReporter()
# No index has failed to deliver so far.
NOTHING_FAILED: Mapping[str, str] = MappingProxyType({})
PROBE_TIMEOUT = 10.0


def tables_for(host: ProbeHost) -> Tables:
    """The compatibility tables: those named by ``ENVFIX_TABLES``, else envfix's own."""
    from envfix.tables.loader import load

    folder, cache = host.getenv("ENVFIX_TABLES"), host.getenv("ENVFIX_CACHE_DIR")
    return load(Path(folder) if folder else None, cache=Path(cache) if cache else None)


def cache_folder(host: ProbeHost) -> str:
    """Where envfix keeps what it may ask for again: ``ENVFIX_CACHE_DIR``, else the user's cache folder."""
    named = host.getenv("ENVFIX_CACHE_DIR")
    if named:
        return named
    import platformdirs

    return platformdirs.user_cache_dir("envfix", appauthor=False)


def time_limit(host: ProbeHost) -> float:
    """Seconds a single question to the machine may take: ``ENVFIX_TIMEOUT``, else 10."""
    text = host.getenv("ENVFIX_TIMEOUT")
    try:
        seconds = float(text) if text else PROBE_TIMEOUT
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:
        raise UsageError(say("ENVFIX_TIMEOUT={text!r} is not a number of seconds between 0 and 3600", text=text))
    return seconds


NAME_A_PYTHON = later("give --python PATH, VERSION or an environment's folder")


def standing(host: ProbeHost) -> None:
    """Raises ``UsageError`` where the working folder was deleted: torch, ultralytics and installers ask for it and fail."""
    if not host.system_facts().get("working_folder"):
        raise UsageError(say("the folder you are in has been deleted: nothing can be run from here"), hint="cd ~")


def named_target(host: ProbeHost, target: str | None) -> str:
    """The path of the interpreter that is meant; raises ``UsageError`` where there is none."""
    chosen = interpreter.resolve(host, target)
    if chosen.path is None:
        meant = f"--python {target}" if target else "python"
        raise UsageError(
            say("there is no Python for {meant} (looked at: {how})", meant=meant, how=retold(chosen.how)),
            hint=look_up(NAME_A_PYTHON),
        )
    return chosen.path
