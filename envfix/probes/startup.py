"""What decides which interpreter runs and where it looks for modules: variables, path files, customising modules, copies."""

from __future__ import annotations

import os.path
from typing import Any

import msgspec

from envfix.host.interface import ProbeHost
from envfix.host.target import Answer
from envfix.model.documents import without_secrets
from envfix.model.facts import (
    ActiveEnvironment,
    Command,
    Interpreter,
    ModuleCopy,
    Observed,
    PathFile,
    Startup,
    found,
    unknown,
)
from envfix.model.language import stated
from envfix.probes.commands import describe, home_of, own_python
from envfix.probes.interpreter import conda_roots, literal, without_own

SOURCE = stated("variables of this shell and files of the target")
# Those that decide which Python runs, where it looks, and where pip puts packages.
VARIABLES = (
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CONDA_DEFAULT_ENV",
    "CONDA_SHLVL",
    "PYENV_VERSION",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONUSERBASE",
    "PYTHONSAFEPATH",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
    "PIP_PYTHON",
)
ACTIVATING = ("VIRTUAL_ENV", "CONDA_PREFIX")
STARTED = "the path that was started"
OWN_NAMES = ("yolo", "pip", "torchrun")


def probe(host: ProbeHost, interpreter: Interpreter, answer: Answer) -> Observed[Startup]:
    """What the shell and the target's own files say; of the target's answer only the part about its start."""
    said = (answer.facts or {}).get("startup") or {}
    try:
        copies = msgspec.convert(said.get("copies") or (), tuple[ModuleCopy, ...])
        path_files = msgspec.convert(said.get("path_files") or (), tuple[PathFile, ...])
        folders = msgspec.convert(said.get("script_folders") or (), tuple[str, ...])
    except msgspec.ValidationError as error:
        return unknown(SOURCE, stated("the target's answer is damaged: {error}", error=error))
    variables = {name: host.getenv(name) for name in VARIABLES}
    shell = host.getenv("SHELL")
    return found(
        Startup(
            home=home_of(host, interpreter.executable)
            if interpreter.executable
            else host.real_path(interpreter.prefix),
            path_files=path_files,
            customised_by=tuple(said.get("customised_by") or ()),
            variables=without_secrets({name: value for name, value in variables.items() if value is not None}),
            active=active(host, interpreter),
            bypassed=bypassed(host, interpreter),
            copies=copies,
            abi=((answer.facts or {}).get("interpreter") or {}).get("soabi") or None,
            own_commands=own_commands(host, interpreter, folders, said.get("launchers") or {}),
            aliases=without_secrets(said.get("aliases") or {}),
            conda_roots=tuple(root for root in conda_roots(host) if host.glob(literal(f"{root}/condabin/conda"))),
            uv=_uv(host, answer),
            shell=os.path.basename(shell) if shell else None,
            working_folder=host.system_facts().get("working_folder") or None,
            **_windows(said.get("windows")),
        ),
        SOURCE,
    )


def _uv(host: ProbeHost, answer: Answer) -> str | None:
    """The uv on PATH, where the target has no pip that could change its packages."""
    facts = answer.facts or {}
    rows = facts.get("distributions") or []
    # A recording of an older envfix neither asked this nor what the target's standard library holds.
    if "ensurepip" not in (facts.get("interpreter") or {}) or any(row.get("name") == "pip" for row in rows):
        return None
    return next(iter(without_own(host, host.which("uv"))), None)


def _windows(said: Any) -> dict[str, Any]:
    if not isinstance(said, dict):
        return {}
    return {
        "windows_long_paths": said.get("long_paths"),
        "windows_missing_dlls": tuple(said.get("missing_dlls") or ()),
        "windows_script_policy": said.get("script_policy"),
        "windows_commit_limit": said.get("commit_limit"),
    }


def active(host: ProbeHost, interpreter: Interpreter) -> tuple[ActiveEnvironment, ...]:
    """The environments that variables declare active, against the one the target really runs in."""
    named = [(variable, host.getenv(variable)) for variable in ACTIVATING]
    return tuple(_environment(host, variable, prefix, interpreter) for variable, prefix in named if prefix)


def bypassed(host: ProbeHost, interpreter: Interpreter) -> ActiveEnvironment | None:
    """The environment that the started path lies in, where the Python behind it runs in another one."""
    if not interpreter.started:
        return None
    top = os.path.dirname(os.path.dirname(interpreter.started))
    if not top or not (host.glob(literal(f"{top}/conda-meta")) or host.glob(literal(f"{top}/pyvenv.cfg"))):
        return None
    environment = _environment(host, STARTED, top, interpreter)
    return None if environment.is_target else environment


def _environment(host: ProbeHost, variable: str, prefix: str, interpreter: Interpreter) -> ActiveEnvironment:
    exists = bool(host.glob(literal(prefix)))
    return ActiveEnvironment(
        variable=variable,
        prefix=prefix,
        is_target=host.real_path(prefix) == host.real_path(interpreter.prefix),
        exists=exists,
        python=own_python(host, prefix) if exists else None,
        conda=exists and bool(host.glob(literal(f"{prefix}/conda-meta"))),
        conda_record=conda_record(host, prefix) if exists else None,
        activate=activate_script(host, prefix) if exists else None,
    )


def activate_script(host: ProbeHost, prefix: str) -> str | None:
    """The script that activates a virtual environment, for POSIX shells or for Windows."""
    for place in ("bin/activate", "Scripts/activate.bat"):
        if host.glob(literal(f"{prefix}/{place}")) and host.glob(literal(f"{prefix}/pyvenv.cfg")):
            return f"{prefix}/{place}"
    return None


def conda_record(host: ProbeHost, prefix: str) -> str | None:
    """What ``conda list`` shows of torch in a prefix: ``pytorch 2.0.1 py3.8_cuda11.7_cudnn8.5.0_0``, by the record's file name."""
    for record in host.glob(f"{literal(prefix)}/conda-meta/pytorch-[0-9]*.json"):
        parts = os.path.basename(record).removesuffix(".json").rsplit("-", 2)
        if len(parts) == 3 and parts[0] == "pytorch":
            return " ".join(parts)
    return None


def own_commands(
    host: ProbeHost, interpreter: Interpreter, folders: tuple[str, ...], launchers: dict[str, str]
) -> tuple[Command, ...]:
    """The commands that packages of the target have put beside it, and whether the Python they start is still there."""
    beside = [os.path.dirname(interpreter.executable)] if interpreter.executable else []
    commands: dict[str, Command] = {}
    for folder in dict.fromkeys([*beside, *folders]):
        for name in OWN_NAMES:
            if host.glob(literal(f"{folder}/{name}")):
                commands.setdefault(name, describe(host, name, f"{folder}/{name}"))
    for path, python in launchers.items():
        name = os.path.basename(path).removesuffix(".exe")
        commands.setdefault(name, _launcher(host, name, path, python))
    return tuple(commands.values())


def _launcher(host: ProbeHost, name: str, path: str, python: str) -> Command:
    gone = not host.glob(literal(python))
    return Command(
        name=name,
        path=path,
        real=path,
        kind="script",
        interpreter=python,
        prefix=None if gone else home_of(host, python),
        problem=stated("it starts {python}, which does not exist (any more)", python=python) if gone else None,
    )
