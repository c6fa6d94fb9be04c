"""The C++ library that is loaded is older than the one torch needs.

What it checks
    The newest GLIBCXX version that torch's libraries ask for against the libstdc++ that comes first
    (LD_LIBRARY_PATH, then the environment, then the system); or an import that misses one.

Why it matters
    "version `GLIBCXX_3.4.30' not found (required by ...)": one old copy, often in a conda environment, is loaded
    for all.

How to fix
    A newer libstdc++ in the environment (conda: libstdcxx-ng), or let the right copy be found first. Never replace
    the system's own, and never link a file to another name.

Sources
    The version tables of the ELF files; the message of the import.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Binary, CppLibrary, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import conda
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works, version
from envfix.rules._libraries import without_path
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(r"version .?((?:GLIBCXX|CXXABI)_[\d.]+).? not found")
JUDGED = ("torch", "torchvision")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = SAYS.search(import_failure(environment) or "")
    gap = None if import_works(environment) else _gap(environment)
    if said is None and gap is None:
        return
    wanted = said[1] if said else f"GLIBCXX_{gap[0].glibcxx}" if gap else ""
    where = f" ({gap[1].path} offers {gap[1].glibcxx} at most)" if gap else ""
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said else Severity.WARNING,
        message=f"The C++ library that is loaded is too old: torch needs {wanted}{where}.",
        because=(*_because(environment, gap), *import_evidence(environment)),
        remedies=(*_remedies(machine, environment, gap), NEW_ENVIRONMENT),
    )


def _gap(environment: Environment) -> tuple[Binary, CppLibrary] | None:
    """A library of torch that asks for more than the first libstdc++ has; one copy alone is the system's."""
    value = environment.binaries.value
    libraries = value.cpp_libraries if value else ()
    offered = version(libraries[0].glibcxx) if libraries else None
    for file in value.files if value else ():
        wanted = version(file.glibcxx)
        if file.package in JUDGED and wanted is not None and offered is not None and wanted > Version(offered.public):
            return file, libraries[0]
    return None


def _because(environment: Environment, gap: tuple[Binary, CppLibrary] | None) -> tuple[Evidence, ...]:
    if gap is None:
        return ()
    source = environment.binaries.source
    return (
        Evidence(fact="environment.binaries", value=f"{gap[0].path} asks for GLIBCXX_{gap[0].glibcxx}", source=source),
        Evidence(fact="environment.binaries", value=f"{gap[1].path} offers GLIBCXX_{gap[1].glibcxx}", source=source),
    )


def _remedies(machine: Machine, environment: Environment, gap: tuple[Binary, CppLibrary] | None) -> Iterator[Remedy]:
    interpreter = environment.interpreter.value
    if machine.variables.get("LD_LIBRARY_PATH") and not (
        gap and interpreter and gap[1].path.startswith(interpreter.prefix)
    ):
        yield without_path(environment)
    if interpreter is not None and interpreter.kind in ("conda", "base"):
        commands = conda(machine, environment, "install", "-c", "conda-forge", "libstdcxx-ng")
        yield Remedy(text="Put a newer libstdc++ into this conda environment.", commands=commands)


RULE = Rule(
    code="LIB105",
    cause="glibcxx_missing",
    title="The C++ library is too old",
    needs=("environment.torch",),
    check=check,
    rank=43,
    explains=("torch_import_fails",),
)
