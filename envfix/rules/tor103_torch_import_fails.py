"""torch is installed, but importing it fails.

What you see
    A traceback that ends within ``torch/__init__.py``, whatever its last line says.

Why
    A library that torch loads at its start is missing, too old, or another one than it was built with. The last
    line is often not the cause.

How envfix knows
    One real ``import torch`` in the target, limited in time. Whatever it says when it fails is shown as it is.
    Where envfix knows the cause, it is shown before this finding, and this one follows from it.

How to mend
    Mend the cause that is named. Where none is, install a stack into an environment made for it and compare.

What not to do
    Do not reinstall torch over itself, and do not copy single libraries into its folder.

Sources
    The message of the import itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, shortened
from envfix.rules._log import LogSide
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule
from envfix.rules.fam118_required_package_missing import stops_torch
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
        follows_from=root_of_torch(machine, environment) or ("FAM118" if stops_torch(environment) else None),
        severity=Severity.ERROR,
        message=say("Importing torch fails: {shortened}.", shortened=shortened(text, 200).rstrip(".")),
        because=import_evidence(environment),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(text=say("See the whole message, or after 30 seconds the line that hangs."), commands=again),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"torch[/\\]__init__\.py\"?, line \d+, in (?:<module>|_load_global_deps|_load_dll_libraries"
            r"|_preload_cuda_deps)"
            r"\s+[^\n]{1,160}\s+(?:\^+\s+)?(?:[A-Za-z.]*(?:ImportError|OSError|RuntimeError|AttributeError)): ",
            confidence=0.25,
        ),
        Signature(
            pattern=r"Error loading \"[^\"\n]*[/\\]torch[/\\]lib[/\\][^\"\n]*\" or one of its dependencies",
            confidence=0.2,
        ),
        Signature(pattern=r"Failed to load PyTorch C extensions", confidence=0.3),
    ),
    message=later("Importing torch itself fails."),
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later("See the whole message, or after 30 seconds the line that hangs."),
            commands=(("python", "-X", "faulthandler", "-c", SHOW),),
        ),
    ),
    tell_apart=Remedy(text=later("Let envfix look at this machine."), commands=(("envfix", "diagnose"),)),
)


RULE = Rule(
    code="TOR103",
    cause="torch_import_fails",
    title=later("Importing torch fails"),
    needs=("environment.torch_import",),
    check=check,
    rank=49,
    log=LOG,
)
