"""There is no torch wheel for this Python, or the torch found was built for another one.

What it checks
    The tables of wheels hold none for the target's version and kind of Python (too new, too old, PyPy) on this
    platform, while torch is not installed. And where a torch is found: the ending of its compiled core
    (``_C.cpython-311-...``) against what this interpreter loads.

Why it matters
    pip says "no matching distribution found for torch", whatever its own version. A torch of another Python
    (through PYTHONPATH, a shared folder, PyPy over the system's packages) is listed, but ``import torch`` cannot
    load its core.

How to fix
    Make an environment with a Python that torch supports. Upgrading pip or renaming a wheel changes nothing.

Sources
    The table of torch wheels; the files of the installed torch; the interpreter's own ABI.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from envfix.model.facts import Environment, Interpreter, Machine, ModuleCopy
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._environments import startup_of
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import (
    dotted,
    is_newer_than,
    is_served,
    libc_family,
    pythons_with_wheels,
    well_served,
    with_python,
)
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    foreign = _built_for_another(environment)
    if foreign is not None:
        finding = _foreign(environment, interpreter, foreign, tables)
        yield msgspec.structs.replace(finding, follows_from=root_of_torch(machine, environment))
    elif environment.torch.is_absent and interpreter.bits == 64 and libc_family(machine) != "musl":
        yield from _no_wheel(environment, interpreter, tables)


def _built_for_another(environment: Environment) -> ModuleCopy | None:
    """The torch that would be imported, if none of its cores is for this interpreter."""
    startup = startup_of(environment)
    copies = [one for one in startup.copies if one.name == "torch" and one.kind != "folder"]
    if not copies or not copies[0].built_for or not startup.abi:
        return None
    return None if any(_loads(startup.abi, ending) for ending in copies[0].built_for) else copies[0]


def _loads(abi: str, ending: str) -> bool:
    """Whether an interpreter of this ABI takes a core with this ending; one without a name, or with abi3, is taken by many."""
    return (
        ending in ("", "abi3") or ending.startswith(abi) or abi.startswith(ending) or not ending.startswith("cpython-")
    )


def _foreign(environment: Environment, interpreter: Interpreter, torch: ModuleCopy, tables: Tables) -> Finding:
    abi = startup_of(environment).abi or ""
    name = "PyPy" if interpreter.implementation == "pypy" else "Python"
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The torch in {torch.location} was built for another Python ({', '.join(torch.built_for)}) than this"
        f" {name} {interpreter.version}.",
        because=(
            Evidence(fact="environment.startup", value=f"{torch.location}/_C.{torch.built_for[0]}", source="its files"),
            cite("environment.interpreter", environment.interpreter, f"this interpreter loads {abi}"),
        ),
        remedies=(with_python(well_served(tables, interpreter.platform_tag)),),
    )


def _no_wheel(environment: Environment, interpreter: Interpreter, tables: Tables) -> Iterator[Finding]:
    platform = interpreter.platform_tag
    served = () if is_served(tables, interpreter) else pythons_with_wheels(tables, platform)
    if not served:
        return
    if not interpreter.tag.startswith("cp"):
        why = f"wheels are for CPython, this is {interpreter.implementation}"
    elif is_newer_than(interpreter, served[-1]):
        why = (
            f"this Python is newer than any that envfix knows wheels for ({dotted(served[0])} to {dotted(served[-1])})"
        )
    else:
        why = f"wheels exist for Python {dotted(served[0])} to {dotted(served[-1])}"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"There is no torch wheel for this Python ({interpreter.tag}, {interpreter.version}) on {platform}: {why}.",
        because=(
            cite("environment.interpreter", environment.interpreter, f"{interpreter.tag} at {interpreter.executable}"),
            Evidence(fact="tables.wheels", value=why, source=f"tables of {tables.origin}"),
        ),
        remedies=(with_python(well_served(tables, platform)),),
    )


RULE = Rule(
    code="INT109",
    cause="wheel_python_mismatch",
    title="no torch wheel for this Python",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=30,
    explains=("torch_not_installed", "torch_import_fails"),
)
