"""torch is not installed in the interpreter that is meant.

What it checks
    No folder ``torch`` lies on the module path of the target interpreter.

Why it matters
    ``import torch`` says "No module named 'torch'", and everything built on it fails.

How to fix
    Install a stack into an environment made for it. If torch is installed elsewhere, use that interpreter instead (see the
    cause wrong_interpreter).

Sources
    The target's own ``sys.path``.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or not environment.torch.is_absent:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"torch is not installed in this Python ({interpreter.version}, {interpreter.executable}).",
        because=(
            cite("environment.torch", environment.torch, "there is no folder named torch"),
            cite("environment.interpreter", environment.interpreter, interpreter.executable),
        ),
        remedies=(
            Remedy(
                text="Let envfix choose and install a stack that runs here, in an environment of its own.",
                commands=(("envfix", "install", "--new-env", "yolo-env"),),
            ),
        ),
    )


RULE = Rule(
    code="TOR102",
    cause="torch_not_installed",
    title="torch is not installed in this Python",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=40,
)
