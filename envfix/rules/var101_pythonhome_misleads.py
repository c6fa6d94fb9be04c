"""PYTHONHOME sends the interpreter to another Python's library, and it cannot start.

What it checks
    PYTHONHOME is set in the user's shell, and the target interpreter does not answer.

Why it matters
    Every Python started in this shell looks for its own library in that folder: "Fatal Python error:
    init_fs_encoding", "No module named 'encodings'". Virtual and conda environments are affected as well.

How to fix
    Unset the variable, and take it out of the shell's start files. It is meant for embedding Python, not for
    choosing one.

Sources
    The variable; the interpreter's own end.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import variable
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    home = machine.variables.get("PYTHONHOME")
    if not home or not environment.interpreter.is_unknown:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"PYTHONHOME={home} sends Python to that folder for its own library, and it does not start.",
        because=(variable("PYTHONHOME", home), cite("environment.interpreter", environment.interpreter)),
        remedies=(
            Remedy(
                text="Unset it here, and take it out of the shell's start files.", commands=(("unset", "PYTHONHOME"),)
            ),
        ),
    )


RULE = Rule(
    code="VAR101",
    cause="pythonhome_misleads",
    title="PYTHONHOME keeps Python from starting",
    needs=(),
    check=check,
    rank=5,
    explains=("interpreter_not_answering",),
)
