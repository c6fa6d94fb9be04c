"""torch is not installed in the interpreter that is meant.

What you see
    "ModuleNotFoundError: No module named 'torch'", "requires the PyTorch library but it was not found in your
    environment".

Why
    This Python has no torch: it was never installed there, or it was installed for another Python.

How envfix knows
    No folder ``torch`` lies on the module path of the target interpreter. A log alone leaves open whether torch
    is installed elsewhere (see the cause wrong_interpreter).

How to mend
    Install a stack into an environment made for it. If torch is installed elsewhere, use that interpreter
    instead.

What not to do
    Do not copy site-packages from one Python to another, and do not extend PYTHONPATH to another Python's
    packages.

Sources
    The target's own ``sys.path``.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules.fam114_build_isolation_no_torch import while_building
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
        message=say(
            "torch is not installed in this Python ({version}, {executable}).",
            version=interpreter.version,
            executable=interpreter.executable,
        ),
        because=(
            cite("environment.torch", environment.torch, say("there is no folder named torch")),
            cite("environment.interpreter", environment.interpreter, interpreter.executable),
        ),
        remedies=(
            Remedy(
                text=say("Let envfix choose and install a stack that runs here, in an environment of its own."),
                commands=(NEW_ENV,),
            ),
        ),
    )


def _imported(hit: Hit, log: Log) -> float | None:
    """Where a package is being built, the builder's own environment lacks it: another cause."""
    del log
    return None if while_building(hit) else 0.35


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.NO_MODULE_TORCH, weigh=_imported),
        Signature(pattern=texts.NO_TORCH_FOR_LIBRARY, confidence=0.35),
        Signature(pattern=r"Package\(s\) not found: torch\b", confidence=0.6),
    ),
    message=later("The Python that ran this has no torch, or it is installed for another Python."),
    remedies=(
        Remedy(
            text=later("Let envfix choose and install a stack that runs here, in an environment of its own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later("Or start the program with the Python that has torch: this shows which one runs now."),
            commands=(("python", "-c", "import sys; print(sys.executable, sys.path)"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether torch is installed for the Python that ran the program."),
        commands=(("python", "-m", "pip", "show", "torch"),),
    ),
)


RULE = Rule(
    code="TOR102",
    cause="torch_not_installed",
    title=later("torch is not installed in this Python"),
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=40,
    log=LOG,
)
