"""The target: which interpreter the user means, and what it says of itself."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from envfix.host.interface import CommandResult, ProbeHost
from envfix.host.target import Answer, ask
from envfix.model.facts import Interpreter, Observed, absent, found, unknown
from envfix.model.language import stated
from envfix.probes.os_libc import platform_tag

SCRIPT = "envfix_interpreter_facts.py"
# What the host says of a path that nothing can be started from.
NOT_FOUND = CommandResult(outcome="not-found").failure


# How wheel tags name implementations (PEP 425).
_SHORT_NAMES = {"cpython": "cp", "pypy": "pp", "ironpython": "ip", "jython": "jy"}


class Target(NamedTuple):
    """An interpreter to ask: its path and how it was found (``None``: nothing was found, ``how`` says where was looked)."""

    path: str | None
    how: str


def resolve(host: ProbeHost, asked: str | None) -> Target:
    """The interpreter that ``--python`` names, or the one that ``python`` means in the user's shell.

    ``asked`` is a path, an environment's folder, a version such as ``3.9``, a conda environment's name, or None.
    envfix's own interpreter is never taken for the user's, unless the user has activated that environment.
    """
    if asked is None:
        return _from_shell(host)
    if re.fullmatch(r"\d+(\.\d+){0,2}t?", asked):
        path = host.find_interpreter(asked)
        return Target(path, stated("Python {asked} on this machine", asked=asked))
    if os.path.sep in asked or host.glob(literal(asked)):
        return _from_path(host, _absolute(host, asked))
    named = _conda_environment(host, asked)
    if named is not None:
        return Target(named, stated("conda environment {asked}", asked=asked))
    hits = host.which(asked)
    return Target(
        hits[0] if hits else None, stated("{asked} on PATH, as a path and as a conda environment", asked=asked)
    )


def _from_shell(host: ProbeHost) -> Target:
    passed_over = None
    for name in ("python", "python3"):
        hits = host.which(name)
        left = without_own(host, hits)
        if left:
            return Target(left[0], stated("{name} on PATH", name=name))
        passed_over = next(iter(hits), passed_over)
    if passed_over:
        return Target(None, stated("python and python3 on PATH ({own} is envfix's own)", own=passed_over))
    return Target(None, stated("python and python3 on PATH"))


def without_own(host: ProbeHost, paths: Iterable[str]) -> list[str]:
    """These commands without those of envfix's own environment, unless the user has activated that one."""
    own = host.system_facts().get("own_prefix", "")
    if not own or own in (host.getenv("VIRTUAL_ENV"), host.getenv("CONDA_PREFIX")):
        return list(paths)
    own_folder = host.real_path(f"{own}/bin")
    return [path for path in paths if host.real_path(os.path.dirname(path)) != own_folder]


def _absolute(host: ProbeHost, path: str) -> str:
    """The path as the user's shell would have it; home and working folder are the host's, which may be a recorded one."""
    facts = host.system_facts()
    home = facts.get("home", "~")
    if path == "~" or path.startswith("~/"):
        path = home + path[1:]
    if path.startswith(home + "/"):
        return path
    return os.path.normpath(os.path.join(facts.get("working_folder", ""), path))


def _from_path(host: ProbeHost, path: str) -> Target:
    for inside in ("bin/python", "bin/python3", "python.exe", "Scripts/python.exe"):
        if host.glob(literal(f"{path}/{inside}")):
            return Target(f"{path}/{inside}", path)
    if host.glob(f"{literal(path)}/."):
        return Target(None, stated("{path}, a folder that holds no Python", path=path))
    return Target(path if host.glob(literal(path)) else None, path)


def _conda_environment(host: ProbeHost, name: str) -> str | None:
    home = host.system_facts().get("home", "~")
    prefixes = [line.strip() for line in host.read_text(f"{home}/.conda/environments.txt").text.splitlines()]
    prefixes += [f"{root}/envs/{name}" for root in conda_roots(host)]
    for prefix in prefixes:
        if prefix and os.path.basename(prefix) == name and host.glob(literal(f"{prefix}/bin/python")):
            return f"{prefix}/bin/python"
    return None


def conda_roots(host: ProbeHost) -> list[str]:
    """Folders in which conda keeps its environments on this machine."""
    home = host.system_facts().get("home", "~")
    roots = [f"{home}/.conda"]
    program = host.getenv("CONDA_EXE")
    if program:
        roots.append(os.path.dirname(os.path.dirname(program)))
    for pattern in (f"{home}/*conda*", f"{home}/miniforge*", f"{home}/mambaforge*", "/opt/*conda*", "/opt/miniforge*"):
        roots += host.glob(pattern)
    return list(dict.fromkeys(roots))


def literal(path: str) -> str:
    """A glob pattern that matches only this very path."""
    return re.sub(r"([*?[])", r"[\1]", path)


def probe(
    host: ProbeHost, target: Target, *, timeout: float, with_binaries: bool = False
) -> tuple[Observed[Interpreter], Answer]:
    """What the interpreter is; the whole answer too, from which other probes read installed packages and compiled files."""
    if target.path is None:
        problem = "; ".join([stated("no such interpreter"), *_dead_links_of_active(host)])
        return absent(target.how, problem), Answer(None, problem)
    answer = ask(host, target.path, SCRIPT, *(["binaries"] if with_binaries else []), timeout=timeout)
    if answer.too_old is not None:
        value = too_old(target.path, target, answer.too_old, host.system_facts())
        return found(value, stated("{path} asked about itself", path=target.path)), answer
    if answer.facts is None:
        dead = _dead_link(host, target.path) if answer.problem == NOT_FOUND else None
        return unknown(target.path, dead or answer.problem or "no answer"), answer
    try:
        return found(
            parse(answer.facts, target, host.system_facts()), stated("{path} asked about itself", path=target.path)
        ), answer
    except (KeyError, TypeError, ValueError) as error:
        broken = Answer(None, stated("its answer is damaged ({kind}: {error})", kind=type(error).__name__, error=error))
        return unknown(target.path, broken.problem or ""), broken


def _dead_link(host: ProbeHost, path: str) -> str | None:
    """What is wrong with a link whose target is gone, as in a virtual environment after its Python was removed."""
    real = host.real_path(path)
    if real == path or not host.glob(literal(path)) or host.glob(literal(real)):
        return None
    return stated("it is a link to {real}, which does not exist (any more)", real=real)


def _dead_links_of_active(host: ProbeHost) -> Iterator[str]:
    """A shell passes over such a link in an active environment, and finds another Python or none."""
    for prefix in (host.getenv("VIRTUAL_ENV"), host.getenv("CONDA_PREFIX")):
        path = f"{prefix}/bin/python"
        dead = _dead_link(host, path) if prefix else None
        if dead is not None:
            yield stated("{path} is there, but {dead}", path=path, dead=dead)


def too_old(path: str, target: Target, version: str, system: Mapping[str, str]) -> Interpreter:
    """An interpreter that can say no more than its version (before 3.6)."""
    major, minor = version.split(".")[:2]
    prefix = os.path.dirname(os.path.dirname(path))
    return Interpreter(
        executable=path,
        asked=target.how,
        version=version,
        implementation="cpython",
        tag=f"cp{major}{minor}",
        abi_tag=f"cp{major}{minor}",
        platform_tag=platform_tag(system.get("system", ""), system.get("machine", "")),
        bits=0,
        prefix=prefix,
        base_prefix=prefix,
        kind="system",
        started=path,
    )


def parse(facts: Mapping[str, Any], target: Target, system: Mapping[str, str]) -> Interpreter:
    """The script's answer as a record; raises KeyError, TypeError or ValueError on a damaged one."""
    said = facts["interpreter"]
    version = str(said["version"])
    major, minor = (int(part) for part in version.split(".")[:2])
    free_threaded = "t" if said["free_threaded"] else ""
    short = f"{_SHORT_NAMES.get(said['implementation'], said['implementation'])}{major}{minor}"
    old_abi = "m" if (major, minor) <= (3, 7) else ""
    return Interpreter(
        executable=said["executable"],
        asked=target.how,
        version=version if said["releaselevel"] == "final" else f"{version} ({said['releaselevel']})",
        implementation=said["implementation"],
        tag=short + free_threaded,
        abi_tag=short + (free_threaded or old_abi),
        platform_tag=_platform(said["platform"], system),
        bits=int(said["bits"]),
        prefix=said["prefix"],
        base_prefix=said["base_prefix"],
        kind=_kind(said),
        site_packages=tuple(said["site_packages"]),
        user_site=said["user_site"],
        user_site_enabled=bool(said["user_site_enabled"]),
        externally_managed=bool(said["externally_managed"]),
        writable=bool(said["purelib_writable"]),
        search_path=tuple(said["path"]),
        shadows=tuple(facts.get("shadows") or ()),
        started=target.path,
        scripts=said.get("scripts"),
        ssl_problem=said.get("ssl_problem"),
        headers=said.get("headers"),
        ensurepip=said.get("ensurepip"),
    )


def _platform(said: str, system: Mapping[str, str]) -> str:
    """The interpreter's own platform: a translated or 32-bit Python differs from the machine's."""
    name, _, machine = said.rpartition("-")
    if name.startswith("macosx"):
        return platform_tag("darwin", machine)
    if said.startswith("win"):
        return said.replace("-", "_")
    return platform_tag(system.get("system", "linux"), machine)


def _kind(said: Mapping[str, Any]) -> Literal["venv", "conda", "base", "system"]:
    if said["prefix"] != said["base_prefix"]:
        return "venv"
    if said["conda_meta"]:
        return "base" if said["conda_base"] else "conda"
    return "system"
