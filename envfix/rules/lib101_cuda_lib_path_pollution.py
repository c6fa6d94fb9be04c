"""A CUDA library from outside is loaded before the one that came with torch.

What it checks
    Folders on LD_LIBRARY_PATH that hold a CUDA library of the same name as one that torch brought; what the import
    really loaded; an import that misses a symbol of such a library.

Why it matters
    A newer library of the wheel then meets an older companion: "undefined symbol: __nvJitLinkAddData_12_1, version
    libnvJitLink.so.12", "undefined symbol: cublasLt...". Or all seems to work, with libraries that nobody tested
    together.

How to fix
    Unset the variable for that program, and take the toolkit's folders out of the profile that sets it. More
    folders in it, an older torch or links to other names make it worse.

Sources
    LD_LIBRARY_PATH and the files in its folders; the libraries mapped into the process after the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure
from envfix.rules._libraries import (
    is_bundled,
    loaded,
    loaded_from_outside,
    older,
    placed,
    shadowing,
    without_path,
)
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(
    r"undefined symbol: (__nvJitLink|nvJitLink|cublas|nccl|cusparse|cusolver|cufft)\w+|symbol \w+,? version libnvJitLink"
)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    failure = import_failure(environment) or ""
    shadows = shadowing(machine, environment, cudnn=False)
    outside = tuple(path for path in loaded_from_outside(environment, cudnn=False) if is_bundled(path, environment))
    if SAYS.search(failure) and (shadows or _on_path(machine)):
        severity, message = (
            Severity.ERROR,
            "Importing torch fails, for LD_LIBRARY_PATH puts another CUDA library before torch's own.",
        )
    elif outside:
        severity = Severity.WARNING
        message = f"torch runs with CUDA libraries from outside ({outside[0]}) instead of those that came with it."
    elif environment.torch_import.is_unknown and any(older(library, environment) for library in shadows):
        severity = Severity.WARNING
        message = "An older CUDA library on LD_LIBRARY_PATH is found before the one that came with torch."
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            *placed(machine, shadows),
            *loaded(environment, outside),
            *_variable(machine),
            *import_evidence(environment),
        ),
        remedies=(without_path(environment), NEW_ENVIRONMENT),
    )


def _on_path(machine: Machine) -> bool:
    return any(library.found_by == "LD_LIBRARY_PATH" for library in machine.libraries.value or ())


def _variable(machine: Machine) -> tuple[Evidence, ...]:
    value = machine.variables.get("LD_LIBRARY_PATH")
    return (
        (Evidence(fact="machine.variables", value=f"LD_LIBRARY_PATH={value}", source="environment of this shell"),)
        if value
        else ()
    )


RULE = Rule(
    code="LIB101",
    cause="cuda_lib_path_pollution",
    title="A CUDA library from outside comes before torch's own",
    needs=("environment.torch",),
    check=check,
    rank=40,
    explains=("torch_import_fails",),
)
