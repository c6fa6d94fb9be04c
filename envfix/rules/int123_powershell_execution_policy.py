r"""PowerShell refuses the script that would activate this environment.

What you see
    "Activate.ps1 cannot be loaded because running scripts is disabled on this system" (in your own language),
    "about_Execution_Policies", "PSSecurityException", "FullyQualifiedErrorId : UnauthorizedAccess".

Why
    Windows lets PowerShell run no scripts until somebody allows it. Activating stops, and whatever is typed afterwards runs and
    installs outside the environment.

How envfix knows
    On Windows: the script policy that is set for this user or this computer is ``Restricted`` or ``AllSigned``, and the
    target is a virtual environment, which PowerShell activates by the script ``Activate.ps1``. In a log: the texts above; those in
    English are the same in every language of Windows.

How to mend
    Allow the scripts of this computer for your own account, or use ``activate.bat`` in cmd, or call the environment's python by
    its path.

What not to do
    Switching the policy off for the whole machine, or working as administrator, is not needed.

Sources
    The registry value ExecutionPolicy; PowerShell's page about_Execution_Policies.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._environments import startup_of
from envfix.rules._log import LogSide
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
        message=say("PowerShell is not allowed to run Activate.ps1 here: activating this environment in it fails."),
        because=(
            cite(
                "environment.startup",
                environment.startup,
                say("ExecutionPolicy is {policy} in the registry", policy=policy),
            ),
        ),
        remedies=(
            Remedy(
                text=say("Allow it for your own account, in PowerShell."),
                commands=(("Set-ExecutionPolicy", "-Scope", "CurrentUser", "RemoteSigned"),),
            ),
            Remedy(
                text=say("Or activate it in cmd."),
                commands=((f"{interpreter.prefix}\\Scripts\\activate.bat",),),
            ),
        ),
    )


SCRIPT = r"\.ps1\b"

LOG = LogSide(
    signatures=(
        Signature(pattern=r"(?:For more information, see )?about_Execution_Policies", confidence=0.95),
        Signature(
            pattern=r"about_Execution_Policies|fwlink/\?LinkID=135170", confidence=0.93, beside=(SCRIPT,), quoted=True
        ),
        Signature(
            pattern=r"(?:(?P<script>[^\s'\"]{0,200}\.ps1) cannot be loaded because )?running scripts is disabled on this system",
            confidence=0.96,
        ),
        Signature(pattern=r"(?P<script>[^\s'\"]{0,200}\.ps1) is not digitally signed", confidence=0.93),
        Signature(pattern=r"PSSecurityException", confidence=0.93, beside=(SCRIPT,)),
        Signature(pattern=r"PSSecurityException", confidence=0.8),
        Signature(pattern=r"FullyQualifiedErrorId : UnauthorizedAccess\b", confidence=0.85),
    ),
    message=(
        later("PowerShell is not allowed to run {script}; what is typed afterwards runs outside the environment."),
        later(
            "PowerShell is not allowed to run the activation script; what is typed afterwards runs"
            " outside the environment."
        ),
    ),
    remedies=(
        Remedy(
            text=later("Allow it for your own account, in PowerShell, then activate again."),
            commands=(("Set-ExecutionPolicy", "-Scope", "CurrentUser", "RemoteSigned"),),
        ),
        Remedy(text=later("Or activate it in cmd."), commands=((".venv\\Scripts\\activate.bat",),)),
        Remedy(
            text=later("Or call the environment's Python by its path; nothing has to be activated then."),
            commands=((".venv\\Scripts\\python.exe", "-m", "pip", "list"),),
        ),
    ),
)

RULE = Rule(
    code="INT123",
    cause="powershell_execution_policy",
    title=later("PowerShell may not run the activation script"),
    needs=("environment.interpreter", "environment.startup"),
    check=check,
    rank=90,
    log=LOG,
)
