"""What the command names that people type really are: shims, scripts with a dead interpreter, other environments."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from envfix.host.interface import ProbeHost
from envfix.model.facts import Command, Observed, absent, found
from envfix.model.language import stated
from envfix.probes.interpreter import literal, without_own

SOURCE = "PATH"
NAMES = ("python", "python3", "pip", "pip3", "conda", "mamba", "yolo", "torchrun")
# Bytes that are read of a command: entry points, shims and wrappers are short, and of a binary the beginning is enough.
HEAD = 2048
# A wrapper may start a wrapper; nobody means more of them than this.
DEEPEST = 4
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*[tdw]?(?:\.exe)?$")
# What comes with pyenv (after pip) and with pyenv-virtualenv (only for a command that was not found).
_HARMLESS_HOOKS = frozenset({"pip-rehash.bash", "conda.bash", "python-config.bash", "system-site-packages.bash"})
_SHIM = re.compile(r"\b(pyenv|asdf|mise|rtx)\b[\"']?\s+exec\b")
_SHIM_PROGRAMS = ("mise", "rtx", "asdf")
_TRAMPOLINE = re.compile(r"^'''exec'\s+(?P<rest>.*?)(?:\s+\"\$0\")?\s+\"\$@\"", re.MULTILINE)
_WRAPPED = re.compile(
    r"^\s*(?:[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|\S*)\s+)*(?:exec\s+(?:-a\s+\S+\s+)?)?"
    r"(?:(?:/usr)?/bin/env\s+(?:[A-Za-z_]\w*=\S*\s+)*)?(?P<quote>[\"']?)(?P<path>/[^\"'$\n]*?/(?:python|pypy)[\d.]*)(?P=quote)(?:\s|$)",
    re.MULTILINE,
)
_PYENV_ROOT = re.compile(r"^export PYENV_ROOT=(?P<quote>[\"']?)(?P<root>/[^\"'\n]*?)(?P=quote)\s*$", re.MULTILINE)


class Head(msgspec.Struct, frozen=True):
    """What the beginning of a file says it starts: ``target`` is a path, a bare name for PATH, or None where it is not plain."""

    kind: Literal["program", "script", "shim", "wrapper"]
    target: str | None = None


def parse_head(text: str) -> Head:
    r"""What a file on PATH is, by its first bytes.

    Entry points begin with ``#!/path/bin/python3.8`` or ``#!/usr/bin/env python``; where that path is too long or holds a
    space, with ``#!/bin/sh`` and then ``'''exec' "/path/bin/python" "$0" "$@"``. A pyenv shim ends with
    ``exec "/path/libexec/pyenv" exec "$program" "$@"``. Another shell script is a wrapper, which may name a Python.
    """
    if not text.startswith("#!") or "\0" in text:
        return Head("program")
    words = text.splitlines()[0][2:].split()
    if not words:
        return Head("wrapper")
    if os.path.basename(words[0]) == "env":
        asked = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        if asked and _PYTHON.match(asked[0]):
            return Head("script", asked[0])
    if _PYTHON.match(os.path.basename(words[0])):
        return Head("script", words[0])
    return _parse_shell(text)


def _parse_shell(text: str) -> Head:
    trampoline = _TRAMPOLINE.search(text)
    if trampoline:
        return Head("script", _unquoted(trampoline["rest"]))
    if _SHIM.search(text):
        root = _PYENV_ROOT.search(text)
        return Head("shim", root["root"] if root else None)
    wrapped = _WRAPPED.search(text)
    return Head("wrapper", wrapped["path"] if wrapped else None)


def _unquoted(word: str) -> str | None:
    """The path in a trampoline; uv's relocatable ones name only a file beside the script: ``"$(dirname ...)"/'python'``."""
    beside = re.search(r"\)\"?/['\"]?(?P<name>[\w.]+)['\"]?$", word) if "dirname" in word else None
    if beside:
        return f"./{beside['name']}"
    plain = word.strip("\"'")
    return plain if plain and "$" not in plain else None


def parse_pyenv_versions(text: str) -> tuple[str, ...]:
    """The versions that a ``.python-version`` file or PYENV_VERSION names, separated by lines, blanks or colons.

    A ``#`` begins a comment: ``3.8.18:3.11.7  # for the old model``.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    return tuple(word for line in lines for word in re.split(r"[\s:]+", line) if re.fullmatch(r"[\w.+-]+", word))


def probe(host: ProbeHost) -> Observed[tuple[Command, ...]]:
    """What the command names that people type really are: shims, scripts with a dead interpreter, other environments."""
    commands = []
    for name in NAMES:
        hits = without_own(host, host.which(name))
        if hits:
            command = describe(host, name, hits[0])
            commands.append(msgspec.structs.replace(command, later=tuple(hits[1:])))
    return found(tuple(commands), SOURCE) if commands else absent(SOURCE)


def describe(host: ProbeHost, name: str, path: str, depth: int = 0) -> Command:
    """What one file is that a command name stands for, and what it starts in the end."""
    real = host.real_path(path)
    answer = host.read_text(real, limit=HEAD)
    if answer.outcome != "read":
        problem = (
            stated("it does not exist")
            if answer.outcome == "absent"
            else stated("it cannot be read ({problem})", problem=answer.problem)
        )
        return Command(name=name, path=path, real=real, kind="program", problem=problem)
    head = parse_head(answer.text)
    command = Command(name=name, path=path, real=real, kind=head.kind)
    if depth >= DEEPEST:
        return command
    if head.kind == "shim":
        return _through_pyenv(host, command, head.target, depth)
    if head.kind == "program":
        return _program(host, command)
    if head.target is None:
        return command
    return _through(host, command, head.target, depth)


def _program(host: ProbeHost, command: Command) -> Command:
    if os.path.basename(command.real) in _SHIM_PROGRAMS:
        return msgspec.structs.replace(command, kind="shim")
    if _PYTHON.match(os.path.basename(command.path)) or _PYTHON.match(os.path.basename(command.real)):
        return msgspec.structs.replace(command, interpreter=command.path, prefix=home_of(host, command.path))
    return msgspec.structs.replace(command, prefix=_above(command.real))


def _through(host: ProbeHost, command: Command, target: str, depth: int) -> Command:
    """A command that starts ``target``: what that is in its turn."""
    if target.startswith("./"):
        target = f"{os.path.dirname(command.real)}/{target[2:]}"
    named = target
    if "/" not in target:
        hits = without_own(host, host.which(target))
        if not hits:
            return msgspec.structs.replace(
                command, problem=stated("it starts {target}, which is not on PATH", target=target)
            )
        target = hits[0]
    elif not host.glob(literal(host.real_path(target))):
        return msgspec.structs.replace(
            command,
            interpreter=target,
            problem=stated("it starts {named}, which does not exist (any more)", named=named),
        )
    inner = describe(host, os.path.basename(target), target, depth + 1)
    problem = stated("it starts {target}; {problem}", target=target, problem=inner.problem) if inner.problem else None
    return msgspec.structs.replace(
        command, interpreter=inner.interpreter or target, prefix=inner.prefix, problem=problem
    )


def _through_pyenv(host: ProbeHost, command: Command, root: str | None, depth: int) -> Command:
    """The command of the version that pyenv would choose in this folder."""
    if root is None:
        return command
    chosen, chosen_by = pyenv_choice(host, root)
    for version in chosen:
        path = _of_version(host, root, version, command.name)
        if path is not None:
            inner = describe(host, command.name, path, depth + 1)
            return msgspec.structs.replace(
                command, interpreter=inner.interpreter, prefix=inner.prefix, problem=inner.problem
            )
    problem = stated(
        "pyenv has no {name} in the version chosen here ({value}, by {chosen_by})",
        name=command.name,
        value=", ".join(chosen),
        chosen_by=chosen_by,
    )
    return msgspec.structs.replace(command, problem=problem)


def without_shim(host: ProbeHost, path: str) -> str:
    """The Python that pyenv's shim would start, so that its shell scripts need not run; any other path comes back as it is.

    They do run where the choice is not plain: an extension of pyenv (a hook) may choose otherwise, and a version that is
    chosen and not there must fail as the user sees it fail.
    """
    if not _PYTHON.match(os.path.basename(path)):
        return path
    head = parse_head(host.read_text(path, limit=HEAD).text)
    if head.kind != "shim" or head.target is None or _has_hooks(host, head.target):
        return path
    command = describe(host, os.path.basename(path), path)
    plain = command.problem is None and command.interpreter is not None and command.prefix is not None
    return command.interpreter if plain and command.interpreter is not None else path


def _has_hooks(host: ProbeHost, root: str) -> bool:
    """Whether something hooks into what pyenv starts that may choose another Python than the version says."""
    if host.getenv("PYENV_HOOK_PATH"):
        return True
    places = (
        f"{literal(root)}/pyenv.d",
        f"{literal(root)}/plugins/*/etc/pyenv.d",
        "/etc/pyenv.d",
        "/usr/local/etc/pyenv.d",
    )
    hooks = (
        hook
        for place in (*places, "/usr/lib/pyenv/hooks")
        for kind in ("exec", "which")
        for hook in host.glob(f"{place}/{kind}/*.bash")
    )
    return any(os.path.basename(hook) not in _HARMLESS_HOOKS for hook in hooks)


def _of_version(host: ProbeHost, root: str, version: str, name: str) -> str | None:
    if version == "system":
        shims = f"{root}/shims/"
        return next((path for path in host.which(name) if not path.startswith(shims)), None)
    folder = literal(f"{root}/versions/{version}")
    hits = host.glob(f"{folder}/bin/{name}") or host.glob(f"{folder}.*/bin/{name}")
    return hits[-1] if hits else None


def pyenv_choice(host: ProbeHost, root: str) -> tuple[tuple[str, ...], str]:
    """The versions that pyenv takes in the working folder, and what says so."""
    variable = host.getenv("PYENV_VERSION")
    if variable:
        return parse_pyenv_versions(variable), "PYENV_VERSION"
    places = [f"{folder}/.python-version" for folder in upwards(host.system_facts().get("working_folder", ""))]
    for place in [*places, f"{root}/version"]:
        versions = parse_pyenv_versions(host.read_text(place).text)
        if versions:
            return versions, place
    return ("system",), stated("no choice being made")


def upwards(folder: str) -> Iterator[str]:
    """The folder and those above it."""
    while folder:
        yield folder.rstrip("/")
        above = os.path.dirname(folder)
        folder = above if above != folder else ""


def _above(path: str) -> str:
    """The environment of a command by its place: the folder above ``bin``, ``condabin`` or ``Scripts``."""
    folder = os.path.dirname(path)
    return os.path.dirname(folder) if os.path.basename(folder).lower() in ("bin", "condabin", "scripts") else folder


def home_of(host: ProbeHost, python: str) -> str:
    """The real folder of the environment that an interpreter belongs to: its virtual environment, or where it is installed."""
    top = _above(python)
    if host.glob(literal(f"{top}/pyvenv.cfg")):
        return host.real_path(top)
    return _above(host.real_path(python))


def own_python(host: ProbeHost, prefix: str) -> str | None:
    """A Python of this environment that really runs it: no wrapper or link to another one, and not gone."""
    real = host.real_path(prefix)
    inside = literal(prefix)
    named = [f"{inside}/bin/python", f"{inside}/bin/python3", f"{inside}/bin/python3.*"]
    named += [f"{inside}/python.exe", f"{inside}/Scripts/python.exe"]
    for pattern in named:
        for path in host.glob(pattern):
            if _PYTHON.match(os.path.basename(path)):
                command = describe(host, "python", path)
                if command.problem is None and command.kind != "wrapper" and command.prefix == real:
                    return path
    return None
