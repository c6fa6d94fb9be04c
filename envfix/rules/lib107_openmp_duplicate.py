"""Two copies of the OpenMP library lie in the environment.

What you see
    "OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized.", "mkl-service + Intel(R) MKL:
    MKL_THREADING_LAYER=INTEL is incompatible with libgomp".

Why
    conda's MKL and pip's torch each bring one. The library ends the program when it finds a second copy of itself in the process.
    On Linux the loader mostly takes one for both, so there it is worth knowing only.

How envfix knows
    Files libiomp5 and libomp in the prefix and beside torch; an import, or a log, with "OMP: Error #15".

How to mend
    Keep one copy: numpy and torch from one installer.

What not to do
    KMP_DUPLICATE_LIB_OK=TRUE silences the message and may give wrong results.

Sources
    The files themselves; what the import said before it ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"OMP: Error #15|Initializing lib(iomp5|omp)\S*, but found")


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
        message=say("Two copies of the OpenMP library meet in one process")
        + (say(": it ends the program.") if said else say(", if both are loaded.")),
        because=(
            *(Evidence(fact="environment.binaries", value=path, source=environment.binaries.source) for path in copies),
            *import_evidence(environment),
        ),
        remedies=(NEW_ENVIRONMENT,),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"OMP: Error #15\b(?:: Initializing (?P<second>[\w.+-]+), but found (?P<first>[\w.+-]+) already initialized)?",
            confidence=0.98,
        ),
        Signature(
            pattern=r"Initializing (?P<second>lib(?:iomp5?|omp|gomp)[\w.+-]*), but found (?P<first>[\w.+-]+) already initialized",
            confidence=0.97,
        ),
        Signature(
            pattern=r"multiple copies of the OpenMP runtime have been linked into the program",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=r"MKL_THREADING_LAYER=INTEL is incompatible with lib(?P<first>gomp[\w.-]*) library", confidence=0.8
        ),
        Signature(
            pattern=r"Found Intel OpenMP \('libiomp'\) and LLVM OpenMP \('libomp'\) loaded at the same time",
            confidence=0.75,
        ),
        Signature(pattern=r"OMP: Error #13\b", confidence=0.5),
    ),
    message=(
        later("Two copies of the OpenMP library meet in one process: {second} finds {first} there already."),
        later("Two copies of the OpenMP library meet in one process."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Keep one copy: take numpy, torch and opencv from one installer, in an environment of their own."
            ),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later(
                "In a conda environment with a torch of pip, see which copies lie there; drop"
                " conda's numpy and MKL for pip's, which brings no OpenMP of Intel."
            ),
            commands=(("conda", "list", "openmp|mkl|numpy"),),
        ),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB107",
    cause="openmp_duplicate",
    title=later("Two copies of the OpenMP library"),
    needs=("environment.torch",),
    check=check,
    rank=44,
    explains=("torch_import_fails",),
    log=LOG,
)
