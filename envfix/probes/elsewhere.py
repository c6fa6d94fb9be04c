"""Other places near by that do have torch, found by files."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from envfix.host.interface import ProbeHost
from envfix.model.facts import Elsewhere, Interpreter, Observed, absent, found
from envfix.model.language import stated
from envfix.probes.commands import describe, own_python, upwards
from envfix.probes.interpreter import conda_roots, literal, without_own
from envfix.probes.startup import ACTIVATING, activate_script, conda_record

SOURCE = stated("files of environments near by")
Kind: TypeAlias = Literal["active", "asked", "command", "folder", "conda", "pyenv", "user", "system"]
# Folders above the working folder in which an environment is looked for.
ABOVE = 4
ENVIRONMENT_NAMES = (".venv", "venv", "env")
_VERSION = re.compile(r"__version__[^=\n]*= *['\"]([^'\"]+)")


class _Place(NamedTuple):
    kind: Kind
    pattern: str


def probe(host: ProbeHost, interpreter: Interpreter) -> Observed[tuple[Elsewhere, ...]]:
    """Environments and other places with a torch that the target does not use, the likeliest to be meant first.

    Looked at are the environments that are active or belong to a command on PATH, those in this folder and above it, conda's,
    pyenv's, the user's own packages and those of the operating system.
    """
    seen = {host.real_path(interpreter.prefix)}
    hits = []
    for place in _places(host, interpreter):
        for prefix, version_file in _torches(host, place):
            real = host.real_path(prefix)
            if real in seen or _is_on_path(interpreter, version_file):
                continue
            seen.add(real)
            hits.append(_describe(host, place.kind, prefix, version_file))
    return found(tuple(hits), SOURCE) if hits else absent(SOURCE)


def _is_on_path(interpreter: Interpreter, version_file: str) -> bool:
    return os.path.dirname(os.path.dirname(version_file)) in interpreter.search_path


def _torches(host: ProbeHost, place: _Place) -> Iterator[tuple[str, str]]:
    endings = ["lib/python3*/site-packages"]
    if place.kind == "system":
        endings += ["lib/python3*/dist-packages"]
    if host.system_facts().get("system") == "win32":
        endings += ["Lib/site-packages"]
    for ending in endings:
        for path in host.glob(f"{place.pattern}/{ending}/torch/version.py"):
            yield re.split(r"[/\\][Ll]ib[/\\](?=python3|site-packages)", path)[0], path


def _describe(host: ProbeHost, kind: Kind, prefix: str, version_file: str) -> Elsewhere:
    version = _VERSION.search(host.read_text(version_file).text)
    of_python = re.search(r"[/\\]python(3\.\d+)[/\\]", version_file)
    python_version = of_python[1] if of_python else None
    return Elsewhere(
        prefix=prefix,
        torch=version[1] if version else stated("of unknown version"),
        kind=kind,
        python=_user_python(host, python_version) if kind == "user" else own_python(host, prefix),
        python_version=python_version,
        record=conda_record(host, prefix),
        conda=bool(host.glob(literal(f"{prefix}/conda-meta"))),
        activate=activate_script(host, prefix),
    )


def _user_python(host: ProbeHost, version: str | None) -> str | None:
    """A Python of the version that the user's own packages are for."""
    for path in host.which(f"python{version}") if version else ():
        command = describe(host, f"python{version}", path)
        if command.problem is None:
            return path
    return None


def _places(host: ProbeHost, interpreter: Interpreter) -> Iterator[_Place]:
    """Where to look, the likeliest first."""
    for variable in ACTIVATING:
        prefix = host.getenv(variable)
        if prefix:
            yield _Place("active", literal(prefix))
    if interpreter.started:
        yield _Place("asked", literal(os.path.dirname(os.path.dirname(interpreter.started))))
    for prefix in _of_commands(host):
        yield _Place("command", literal(prefix))
    yield from _around(host)
    yield from _conda(host)
    facts = host.system_facts()
    home = facts.get("home", "~")
    yield _Place("pyenv", f"{literal(host.getenv('PYENV_ROOT') or home + '/.pyenv')}/versions/*")
    yield _Place("user", literal(host.getenv("PYTHONUSERBASE") or f"{home}/.local"))
    yield _Place("system", "/usr/local")
    yield _Place("system", "/usr")


def _of_commands(host: ProbeHost) -> Iterator[str]:
    for name in ("yolo", "pip", "python3"):
        hits = without_own(host, host.which(name))
        command = describe(host, name, hits[0]) if hits else None
        if command is not None and command.prefix not in (None, "/usr", "/usr/local"):
            yield command.prefix or ""


def _around(host: ProbeHost) -> Iterator[_Place]:
    facts = host.system_facts()
    folder = facts.get("working_folder", "")
    if not folder:
        return
    yield _Place("folder", f"{literal(folder)}/.venv")
    yield _Place("folder", f"{literal(folder)}/*")
    home = facts.get("home", "~")
    for above in list(upwards(folder))[1 : ABOVE + 1]:
        if home.startswith(f"{above}/"):
            return  # above one's home lies nothing of one's own
        for name in ENVIRONMENT_NAMES:
            yield _Place("folder", f"{literal(above)}/{name}")


def _conda(host: ProbeHost) -> Iterator[_Place]:
    home = host.system_facts().get("home", "~")
    for line in host.read_text(f"{home}/.conda/environments.txt").text.splitlines():
        if line.strip() and "\0" not in line:
            yield _Place("conda", literal(line.strip()))
    for root in conda_roots(host):
        yield _Place("conda", f"{literal(root)}/envs/*")
        yield _Place("conda", literal(root))
