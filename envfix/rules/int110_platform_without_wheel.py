"""There is no torch wheel for this operating system or processor.

What it checks
    The table of wheels holds none for the target's platform (32-bit ARM, POWER ...), the C library is musl (Alpine
    Linux), or the Mac has an Intel processor, or the Python on an Apple one is translated, and this Python is newer
    than the last torch for it.

Why it matters
    pip finds no matching distribution, whatever the version of Python or pip. A wheel for another C library does
    not load.

How to fix
    Use a platform that is served: an image with glibc (Debian, Ubuntu) instead of Alpine, a native arm64 Python on
    Apple processors, the last torch that was made for an Intel Mac. A compatibility layer on Alpine or building
    from source is no first step.

Sources
    The table of torch wheels; the interpreter's own platform.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import (
    dotted,
    is_newer_than,
    is_served,
    libc_family,
    needs_a_wheel,
    pythons_with_wheels,
    with_python,
)
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter.value
    if interpreter is None or interpreter.bits == 0 or not needs_a_wheel(environment):
        return
    if libc_family(machine) == "musl":
        yield _finding(environment, interpreter, "torch wheels need glibc, and this system has musl", (_IMAGE,))
        return
    # What is installed came from somewhere; that it fails has another reason.
    if not environment.torch.is_absent or is_served(tables, interpreter):
        return
    served = pythons_with_wheels(tables, interpreter.platform_tag)
    if not served:
        why = "none was ever made for this platform, as far as envfix knows"
        yield _finding(environment, interpreter, why, (_OTHER_MACHINE,))
    elif interpreter.platform_tag == "macosx_x86_64" and is_newer_than(interpreter, served[-1]):
        yield _intel_mac(machine, environment, interpreter, tables)


_IMAGE = Remedy(
    text="Use an image or a machine with glibc: Debian or Ubuntu instead of Alpine (python:3.11-slim, not python:3.11-alpine)."
)
_OTHER_MACHINE = Remedy(
    text="Use a 64-bit system with an x86_64 or ARM processor, or a build of torch by the maker of this system."
)


def _finding(environment: Environment, interpreter: Interpreter, why: str, remedies: tuple[Remedy, ...]) -> Finding:
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"There is no torch wheel for this platform ({interpreter.platform_tag}): {why}.",
        because=(
            cite("environment.interpreter", environment.interpreter, interpreter.platform_tag),
            Evidence(fact="tables.wheels", value=why, source="the table of torch wheels"),
        ),
        remedies=remedies,
    )


def _intel_mac(machine: Machine, environment: Environment, interpreter: Interpreter, tables: Tables) -> Finding:
    newest = tables.wheels.find("torch", platform="macosx_x86_64")[0].version
    last = pythons_with_wheels(tables, "macosx_x86_64")[-1]
    why = f"the last torch for Intel Macs is {newest}, for Python up to {dotted(last)}"
    if machine.platform.value is not None and machine.platform.value.machine == "arm64":
        native = Remedy(text="This Python is translated: use a native arm64 Python, for which current wheels exist.")
        return _finding(environment, interpreter, why, (native,))
    return _finding(environment, interpreter, why, (with_python(dotted(last)),))


RULE = Rule(
    code="INT110",
    cause="platform_without_wheel",
    title="no torch wheel for this platform",
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=29,
    explains=("torch_not_installed", "torch_import_fails", "wheel_python_mismatch"),
)
