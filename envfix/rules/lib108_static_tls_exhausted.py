"""A library that is loaded late finds no room for its thread-local data.

What it checks
    An import that says "cannot allocate memory in static TLS block".

Why it matters
    libgomp and a few others need a place that is small and given away at the start; mostly on aarch64 and with an
    older glibc. It has nothing to do with main memory.

How to fix
    Load that library first: LD_PRELOAD with the path that the message names, or import torch before the other
    packages. More memory or swap changes nothing.

Sources
    The message of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(r"(?P<path>/[^\s:]+)?:? ?cannot allocate memory in static TLS block")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    said = SAYS.search(import_failure(environment) or "")
    interpreter = environment.interpreter.value
    if said is None or interpreter is None:
        return
    library = said["path"] or "libgomp.so.1"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The library {library} is loaded too late: there is no room left for its thread-local data.",
        because=import_evidence(environment),
        remedies=(
            Remedy(
                text="Load it before everything else.",
                commands=(
                    ("env", f"LD_PRELOAD={library}", interpreter.executable, "-c", "import torch"),
                    ("export", f"LD_PRELOAD={library}"),
                ),
            ),
            NEW_ENVIRONMENT,
        ),
    )


RULE = Rule(
    code="LIB108",
    cause="static_tls_exhausted",
    title="No room for thread-local data",
    needs=("environment.torch_import",),
    check=check,
    rank=45,
    explains=("torch_import_fails",),
)
