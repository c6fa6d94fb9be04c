"""The interpreter that is meant cannot be asked.

What it checks
    The target interpreter is run with a short script that only describes itself. It must answer within the time limit.

Why it matters
    A ``python`` that hangs, crashes or is only a shim ("command not found", exit code 127) can run nothing, and nothing about its
    packages can be told.

How to fix
    Name another interpreter with ``--python``, or repair this one: activate the environment it belongs to, choose a version in
    pyenv, or recreate the environment.

Sources
    The interpreter's own exit code and output.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import NOT_ASKED, NOT_TOLD, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter
    if interpreter.value is not None or (interpreter.problem or "").endswith((NOT_ASKED, NOT_TOLD)):
        return
    if interpreter.is_absent:
        message = f"There is no Python to look at: {interpreter.problem or 'nothing found'} ({interpreter.source})."
    else:
        message = f"The Python at {interpreter.source} cannot be used: {interpreter.problem}."
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=message,
        because=(cite("environment.interpreter", interpreter),),
        remedies=(
            Remedy(
                text="Name a Python that works.",
                commands=(("envfix", "diagnose", "--python", "/path/to/python"),),
            ),
        ),
    )


RULE = Rule(
    code="INT102",
    cause="interpreter_not_answering",
    title="The interpreter cannot be asked",
    needs=(),
    check=check,
    rank=15,
)
