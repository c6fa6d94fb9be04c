"""The interpreter is a 32-bit program; torch exists for 64 bits only.

What it checks
    The target's pointers have 32 bits while the processor has 64, and torch is not installed.

Why it matters
    There is no 32-bit wheel: pip says "no matching distribution", or falls back to an ancient source package
    (0.1.2) and fails to build it.

How to fix
    Install a 64-bit Python and make a new environment with it. Build tools or another pip change nothing.

Sources
    The size of a pointer in the interpreter; the table of torch wheels.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Severity
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import needs_a_wheel, well_served, with_python
from envfix.tables.loader import Tables

WIDE = ("x86_64", "AMD64", "aarch64", "arm64", "ARM64")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter, platform = environment.interpreter.value, machine.platform.value
    if interpreter is None or platform is None or interpreter.bits != 32 or platform.machine not in WIDE:
        return
    if not needs_a_wheel(environment):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"This Python ({interpreter.executable}) is a 32-bit program: torch exists for 64-bit Python only.",
        because=(
            cite("environment.interpreter", environment.interpreter, f"32 bits, {interpreter.platform_tag}"),
            cite("machine.platform", machine.platform, f"the processor has 64 bits ({platform.machine})"),
        ),
        remedies=(with_python(well_served(tables, platform.tag)),),
    )


RULE = Rule(
    code="INT108",
    cause="python_32bit",
    title="the Python has 32 bits",
    needs=("environment.interpreter", "environment.torch", "machine.platform"),
    check=check,
    rank=23,
    explains=("platform_without_wheel", "torch_not_installed", "wheel_python_mismatch"),
)
