"""There is too little main memory for pip to install torch the usual way.

What it checks
    torch is not installed yet, and less than 2 GiB of main memory can be had. pip keeps a wheel in memory while it puts it into its
    cache, and wheels of torch have one to three GB.

Why it matters
    The download ends at its last percent with "Killed" or MemoryError.

How to fix
    ``pip install --no-cache-dir``, a newer pip, or uv, which writes to the disk as it downloads. Another index changes nothing.

Sources
    pip's HTTP cache; /proc/meminfo.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import GIB, allowed_memory
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

ENOUGH = 2 * GIB


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    memory, interpreter = machine.resources.value, environment.interpreter.value
    if memory is None or interpreter is None or not environment.torch.is_absent:
        return
    known = [value for value in (allowed_memory(memory), memory.memory_available) if value is not None]
    if not known or min(known) >= ENOUGH:
        return
    figure = f"{min(known) / GIB:.1f} GiB"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=f"Only {figure} of main memory can be had: pip may be killed while it caches the big torch wheel.",
        because=(cite("machine.resources", machine.resources, f"{figure} can be had"),),
        remedies=(
            Remedy(text="envfix installs with uv, which needs no such memory.", commands=(("envfix", "install"),)),
            Remedy(
                text="With pip, go without its cache.",
                commands=((interpreter.executable, "-m", "pip", "install", "--no-cache-dir", "torch"),),
            ),
        ),
    )


RULE = Rule(
    code="MEM103",
    cause="host_ram_exhausted_install",
    title="Too little main memory for pip's cache",
    needs=("machine.resources", "environment.torch"),
    check=check,
    rank=63,
)
