"""The operating system keeps this Python for itself: pip refuses to install into it.

What it checks
    The target's standard library holds the marker EXTERNALLY-MANAGED (PEP 668), it is no virtual environment, and
    torch or ultralytics would still have to be installed.

Why it matters
    ``pip install`` ends with "error: externally-managed-environment". ultralytics, too, installs what it misses by
    pip at run time.

How to fix
    Make an environment of its own and install there. ``--break-system-packages`` or deleting the marker lets pip
    overwrite files that belong to the operating system.

Sources
    The marker file beside the standard library; https://peps.python.org/pep-0668/
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Severity
from envfix.rules._environments import IN_NEW_ENVIRONMENT, has
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or not interpreter.externally_managed or interpreter.kind == "venv":
        return
    missing = "torch" if environment.torch.is_absent else "ultralytics"
    if missing == "ultralytics" and has(environment, missing):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if missing == "torch" else Severity.INFO,
        message=f"This Python ({interpreter.executable}) belongs to the operating system: pip refuses to install {missing} there.",
        because=(
            cite("environment.interpreter", environment.interpreter, "marked EXTERNALLY-MANAGED"),
            cite("environment.interpreter", environment.interpreter, f"{interpreter.prefix} is no virtual environment"),
        ),
        remedies=(IN_NEW_ENVIRONMENT,),
    )


RULE = Rule(
    code="INT106",
    cause="externally_managed_python",
    title="pip may not install into this Python",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=92,  # only good to know where torch is there; without it a warning comes before what is only information
)
