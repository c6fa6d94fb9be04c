"""Two copies of the OpenMP library lie in the environment.

What it checks
    Files libiomp5 and libomp in the prefix and beside torch; an import that ended with "OMP: Error #15".

Why it matters
    The library ends the program when it finds a second copy of itself in the process. On Linux the loader mostly
    takes one for both, so there it is worth knowing only.

How to fix
    Keep one copy: numpy and torch from one installer. KMP_DUPLICATE_LIB_OK=TRUE silences the message and may give
    wrong results.

Sources
    The files themselves; what the import said before it ended.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(r"OMP: Error #15|Initializing lib(iomp5|omp)\S*, but found")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = bool(SAYS.search(import_failure(environment) or ""))
    copies = environment.binaries.value.openmp if environment.binaries.value else ()
    beside_torch = [path for path in copies if "/torch/" in path.replace("\\", "/")]
    elsewhere = [path for path in copies if path not in beside_torch]
    if not said and not (beside_torch and elsewhere):
        return
    linux = machine.platform.value is None or machine.platform.value.system == "linux"
    harmless = linux or import_works(environment)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said else Severity.INFO if harmless else Severity.WARNING,
        message="Two copies of the OpenMP library meet in one process"
        + (": it ends the program." if said else ", if both are loaded."),
        because=(
            *(Evidence(fact="environment.binaries", value=path, source=environment.binaries.source) for path in copies),
            *import_evidence(environment),
        ),
        remedies=(NEW_ENVIRONMENT,),
    )


RULE = Rule(
    code="LIB107",
    cause="openmp_duplicate",
    title="Two copies of the OpenMP library",
    needs=("environment.torch",),
    check=check,
    rank=44,
    explains=("torch_import_fails",),
)
