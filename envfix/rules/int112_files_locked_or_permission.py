"""The environment's packages may not be changed by this user.

What it checks
    torch is still to be installed, and the target is an environment whose site-packages this user may not write.

Why it matters
    pip stops with "Permission denied", or quietly installs into the user's own packages, which then shine through
    into every other Python of the same version.

How to fix
    Install into an environment of one's own. ``sudo pip``, ``--user`` and changed permissions break it for the
    others who use it.

Sources
    Write permission on the target's site-packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Severity
from envfix.rules._environments import IN_NEW_ENVIRONMENT
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or interpreter.writable is not False or not environment.torch.is_absent:
        return
    if interpreter.kind == "system" or interpreter.bits == 0:
        return  # the operating system's Python is nobody's to write: that is no surprise
    where = ", ".join(interpreter.site_packages) or interpreter.prefix
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=f"You may not install into {interpreter.prefix}: its packages belong to another account.",
        because=(cite("environment.interpreter", environment.interpreter, f"no permission to write {where}"),),
        remedies=(IN_NEW_ENVIRONMENT,),
    )


RULE = Rule(
    code="INT112",
    cause="files_locked_or_permission",
    title="the environment may not be changed",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=73,
)
