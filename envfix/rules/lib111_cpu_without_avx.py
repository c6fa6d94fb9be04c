"""The processor lacks instructions that a library uses.

What it checks
    An import that ended with "Illegal instruction" (signal 4); the instruction sets that the processor, or the
    virtual machine, offers.

Why it matters
    The program ends at once and without a Python message. Old processors and some virtual machines offer no AVX.

How to fix
    Have the virtual machine pass the processor's features on, or use another machine, or an older build. Drivers
    have nothing to do with it.

Sources
    How the import ended; /proc/cpuinfo.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(r"killed by signal 4\b|Illegal instruction|SIGILL", re.IGNORECASE)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    platform = machine.platform.value
    del tables
    said = bool(SAYS.search(import_failure(environment) or ""))
    flags = environment.binaries.value.cpu_flags if environment.binaries.value else None
    intel = platform is not None and platform.machine in ("x86_64", "AMD64")
    lacks = intel and flags is not None and "avx" not in flags
    if not said and (not lacks or import_works(environment) or environment.torch.value is None):
        return
    offers = f"it offers {', '.join(flags)}" if flags else "which instruction sets it offers is not known"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said else Severity.INFO,
        message="Importing torch ends with an instruction that this processor does not have."
        if said
        else "This processor offers no AVX instructions: some libraries end with 'Illegal instruction' here.",
        because=(
            Evidence(fact="environment.binaries", value=offers, source="/proc/cpuinfo"),
            *import_evidence(environment),
        ),
        remedies=(
            Remedy(
                text="In a virtual machine, ask its administrator to pass the processor's features (AVX, AVX2) on.",
                safe=False,
            ),
            NEW_ENVIRONMENT,
        ),
    )


RULE = Rule(
    code="LIB111",
    cause="cpu_without_avx",
    title="The processor lacks instructions",
    needs=("environment.torch",),
    check=check,
    rank=40,
    explains=("torch_import_fails",),
)
