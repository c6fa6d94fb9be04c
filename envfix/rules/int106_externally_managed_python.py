"""The operating system keeps this Python for itself: pip refuses to install into it.

What you see
    "error: externally-managed-environment", "This environment is externally managed"; also when ultralytics tries to install by
    itself what it misses ("attempting AutoUpdate").

Why
    Debian 12, Ubuntu 23.04, Fedora, Arch and Homebrew mark their Python as theirs (PEP 668): packages that pip puts there would
    overwrite files of the operating system. ultralytics, too, installs what it misses by pip at run time.

How envfix knows
    The target's standard library holds the marker EXTERNALLY-MANAGED, it is no virtual environment, and
    torch or ultralytics would still have to be installed. In a log: pip's and uv's messages.

How to mend
    Make an environment of its own and install there.

What not to do
    ``--break-system-packages`` or deleting the marker lets pip overwrite files that belong to the operating system.

Sources
    The marker file beside the standard library; https://peps.python.org/pep-0668/
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._environments import IN_NEW_ENVIRONMENT, has
from envfix.rules._log import LogSide
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
        message=say(
            "This Python ({executable}) belongs to the operating system: pip refuses to install {missing} there.",
            executable=interpreter.executable,
            missing=missing,
        ),
        because=(
            cite("environment.interpreter", environment.interpreter, say("marked EXTERNALLY-MANAGED")),
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("{prefix} is no virtual environment", prefix=interpreter.prefix),
            ),
        ),
        remedies=(IN_NEW_ENVIRONMENT,),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=r"externally-managed-environment", confidence=0.96),
        Signature(
            pattern=r"This environment is externally managed|The interpreter at [^\n]{1,200} is externally managed",
            confidence=0.96,
        ),
        Signature(pattern=r"See PEP 668 for the detailed specification", confidence=0.9),
    ),
    message=later("This Python belongs to the operating system, which lets pip install nothing into it."),
    remedies=(
        IN_NEW_ENVIRONMENT,
        Remedy(
            text=later("Or make a virtual environment yourself and install into that."),
            commands=(
                ("python3", "-m", "venv", "yolo-env"),
                ("yolo-env/bin/python", "-m", "pip", "install", "ultralytics"),
            ),
        ),
    ),
    explains=("torch_not_installed",),
)

RULE = Rule(
    code="INT106",
    cause="externally_managed_python",
    title=later("pip may not install into this Python"),
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=92,  # only good to know where torch is there; without it a warning comes before what is only information
    log=LOG,
)
