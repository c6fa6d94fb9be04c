"""A library of Microsoft's C++ runtime that torch needs is missing.

What it checks
    On Windows, where torch is installed: vcruntime140.dll, vcruntime140_1.dll and msvcp140.dll lie neither in the
    system folder nor beside the interpreter.

Why it matters
    ``import torch`` fails with "WinError 126 ... or one of its dependencies" about a file of torch that is there:
    what is missing is another one.

How to fix
    Install the Visual C++ redistributable of Microsoft. Single DLLs from the web are a danger and do not last.

Sources
    The system folder of Windows and the interpreter's own.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import startup_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    missing = startup_of(environment).windows_missing_dlls
    imported = environment.torch_import.value
    if environment.torch.value is None or not missing or (imported is not None and imported.ok):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if imported is not None else Severity.WARNING,
        message=f"Libraries of Microsoft's C++ runtime are missing that torch needs: {', '.join(missing)}.",
        because=(
            cite("environment.startup", environment.startup, f"{', '.join(missing)} found nowhere"),
            cite("environment.torch_import", environment.torch_import, imported.error if imported else None),
        ),
        remedies=(
            Remedy(
                text="Install the Visual C++ redistributable (x64) of Microsoft, and start a new terminal.", safe=False
            ),
        ),
    )


RULE = Rule(
    code="INT122",
    cause="windows_dll_dependency_missing",
    title="the C++ runtime of Windows is missing",
    needs=("environment.torch", "environment.startup"),
    check=check,
    rank=44,
    explains=("torch_import_fails",),
)
