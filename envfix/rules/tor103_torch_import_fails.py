"""torch is installed, but importing it fails.

What it checks
    One real ``import torch`` in the target, limited in time. Whatever it says when it fails is shown as it is.

Why it matters
    Nothing built on torch starts. The last line of such a message is often not the cause: where envfix knows the
    cause, it is shown before this finding, and this one follows from it.

How to fix
    Mend the cause that is named. Where none is, install a stack into an environment made for it and compare.

Sources
    The message of the import itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, shortened
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# An import that hangs must not hang again: the traceback shows where.
SHOW = "import faulthandler; faulthandler.dump_traceback_later(30, exit=True); import torch"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    text, interpreter = import_failure(environment), environment.interpreter.value
    if text is None:
        return
    again = ((interpreter.executable, "-X", "faulthandler", "-c", SHOW),) if interpreter else ()
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=f"Importing torch fails: {shortened(text, 200).rstrip('.')}.",
        because=import_evidence(environment),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(text="See the whole message, or after 30 seconds the line that hangs.", commands=again),
        ),
    )


RULE = Rule(
    code="TOR103",
    cause="torch_import_fails",
    title="Importing torch fails",
    needs=("environment.torch_import",),
    check=check,
    rank=49,
)
