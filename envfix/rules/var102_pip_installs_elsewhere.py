"""A variable makes pip install into another place than this Python looks.

What it checks
    PIP_TARGET or PIP_PREFIX name a folder that is not on the target's path; or PIP_USER is set in a virtual
    environment, which does not see the user's own packages.

Why it matters
    ``pip install torch`` says "Successfully installed", and ``import torch`` finds nothing; or pip refuses ("Can
    not perform a '--user' install").

How to fix
    Unset the variable where environments are used.

Sources
    The variables; the target's own path.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import variable
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

_TRUE = ("1", "true", "yes", "on", "y", "t")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    misleading = [name for name in ("PIP_TARGET", "PIP_PREFIX", "PIP_USER") if _misleads(name, machine, interpreter)]
    if not misleading:
        return
    named = ", ".join(f"{name}={machine.variables[name]}" for name in misleading)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if environment.torch.is_absent else Severity.INFO,
        message=f"{named} makes pip install to where this Python does not look.",
        because=(
            *(variable(name, machine.variables[name]) for name in misleading),
            cite("environment.interpreter", environment.interpreter, f"{interpreter.executable} looks elsewhere"),
        ),
        remedies=(Remedy(text="Unset it before installing into an environment.", commands=(("unset", *misleading),)),),
    )


def _misleads(name: str, machine: Machine, interpreter: Interpreter) -> bool:
    value = machine.variables.get(name)
    if not value:
        return False
    if name == "PIP_USER":
        return value.lower() in _TRUE and interpreter.kind == "venv" and not interpreter.user_site_enabled
    folder = os.path.normpath(value)
    if name == "PIP_PREFIX":
        return os.path.normpath(interpreter.prefix) != folder
    return folder not in [os.path.normpath(entry) for entry in interpreter.search_path]


RULE = Rule(
    code="VAR102",
    cause="pip_installs_elsewhere",
    title="a variable makes pip install elsewhere",
    needs=("environment.interpreter",),
    check=check,
    rank=71,
)
