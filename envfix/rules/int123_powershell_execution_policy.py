r"""PowerShell refuses the script that would activate this environment.

What it checks
    On Windows: the script policy that is set for this user or this computer is ``Restricted`` or ``AllSigned``, and the
    target is a virtual environment, which PowerShell activates by the script ``Activate.ps1``.

Why it matters
    Activating stops with "running scripts is disabled on this system" (in your own language), and whatever is typed
    afterwards runs outside the environment.

How to fix
    Allow the scripts of this computer for your own account, or use ``activate.bat`` in cmd, or call the environment's python by
    its path. Switching the policy off for the whole machine, or working as administrator, is not needed.

Sources
    The registry value ExecutionPolicy; PowerShell's page about_Execution_Policies.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import startup_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

REFUSING = ("restricted", "allsigned")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter, policy = environment.interpreter.value, startup_of(environment).windows_script_policy
    if interpreter is None or interpreter.kind != "venv" or policy is None or policy.lower() not in REFUSING:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message="PowerShell is not allowed to run Activate.ps1 here: activating this environment in it fails.",
        because=(cite("environment.startup", environment.startup, f"ExecutionPolicy is {policy} in the registry"),),
        remedies=(
            Remedy(
                text="Allow it for your own account, in PowerShell.",
                commands=(("Set-ExecutionPolicy", "-Scope", "CurrentUser", "RemoteSigned"),),
            ),
            Remedy(
                text="Or activate it in cmd.",
                commands=((f"{interpreter.prefix}\\Scripts\\activate.bat",),),
            ),
        ),
    )


RULE = Rule(
    code="INT123",
    cause="powershell_execution_policy",
    title="PowerShell may not run the activation script",
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=90,
)
