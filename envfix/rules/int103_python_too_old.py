"""The interpreter is older than any that current torch wheels and tools support.

What it checks
    The version the target interpreter reports. envfix looks into CPython 3.6 and newer; Python 2.7 ended in 2020.

Why it matters
    No torch of the last years exists for it.

How to fix
    Make an environment with a newer Python; the old one stays untouched.

Sources
    The interpreter's own version.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

OLDEST = (3, 6)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or tuple(map(int, interpreter.version.split(".")[:2])) >= OLDEST:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"Python {interpreter.version} is too old: envfix works with Python 3.6 and newer, and so does torch.",
        because=(
            cite(
                "environment.interpreter", environment.interpreter, f"{interpreter.version}, {interpreter.executable}"
            ),
        ),
        remedies=(
            Remedy(
                text="Make an environment with a newer Python.",
                commands=(("envfix", "install", "--new-env", "yolo-env", "--python", "3.11"),),
            ),
        ),
    )


RULE = Rule(
    code="INT103",
    cause="python_too_old",
    title="The Python is too old",
    needs=("environment.interpreter",),
    check=check,
    rank=16,
)
