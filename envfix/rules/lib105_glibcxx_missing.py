"""The C++ library that is loaded is older than the one a compiled file needs.

What you see
    "libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by ...)", the same with CXXABI_1.3.15, "undefined symbol:
    _ZSt28__throw_bad_array_new_lengthv, version GLIBCXX_3.4.29".

Why
    One old copy, of the system or in a conda environment, is loaded first and then serves all.

How envfix knows
    The newest GLIBCXX version that torch's libraries ask for against the libstdc++ that comes first (LD_LIBRARY_PATH, then the
    environment, then the system); or an import, or a log, that misses one. GLIBC_... (without XX) is the C library, another cause.

How to mend
    A newer libstdc++ in the environment (conda: libstdcxx-ng), or let the right copy be found first.

What not to do
    Never replace the system's own, and never link a file to another name.

Sources
    The version tables of the ELF files; the message of the import.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Binary, CppLibrary, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._changing import conda
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure, import_works, version
from envfix.rules._libraries import without_path
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"version .?((?:GLIBCXX|CXXABI)_[\d.]+).? not found")
JUDGED = ("torch", "torchvision")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = SAYS.search(import_failure(environment) or "")
    gap = None if import_works(environment) else _gap(environment)
    if said is None and gap is None:
        return
    wanted = said[1] if said else f"GLIBCXX_{gap[0].glibcxx}" if gap else ""
    where = say(" ({path} offers {glibcxx} at most)", path=gap[1].path, glibcxx=gap[1].glibcxx) if gap else ""
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if said else Severity.WARNING,
        message=say(
            "The C++ library that is loaded is too old: torch needs {wanted}{where}.", wanted=wanted, where=where
        ),
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
        Evidence(
            fact="environment.binaries",
            value=say("{path} asks for GLIBCXX_{glibcxx}", path=gap[0].path, glibcxx=gap[0].glibcxx),
            source=source,
        ),
        Evidence(
            fact="environment.binaries",
            value=say("{path} offers GLIBCXX_{glibcxx}", path=gap[1].path, glibcxx=gap[1].glibcxx),
            source=source,
        ),
    )


def _remedies(machine: Machine, environment: Environment, gap: tuple[Binary, CppLibrary] | None) -> Iterator[Remedy]:
    interpreter = environment.interpreter.value
    if machine.variables.get("LD_LIBRARY_PATH") and not (
        gap and interpreter and gap[1].path.startswith(interpreter.prefix)
    ):
        yield without_path(environment)
    if interpreter is not None and interpreter.kind in ("conda", "base"):
        commands = conda(machine, environment, "install", "-c", "conda-forge", "libstdcxx-ng")
        yield Remedy(text=say("Put a newer libstdc++ into this conda environment."), commands=commands)


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?P<loaded>[^\s:]*libstdc\+\+\.so\.6): version [`'\"]?(?P<version>(?:GLIBCXX|CXXABI)_[\w.]+)[`'\"]? not found"
            r"(?: \(required by (?P<by>[^)\n]{1,300})\))?",
            confidence=0.97,
        ),
        Signature(
            pattern=r"version [`'\"]?(?P<version>(?:GLIBCXX|CXXABI)_[\w.]+)[`'\"]? not found"
            r"(?: \(required by (?P<by>[^)\n]{1,300})\))?",
            confidence=0.95,
        ),
        Signature(
            pattern=r"undefined symbol: \w+,? version (?P<version>(?:GLIBCXX|CXXABI)_[\d.]+)"
            r"|symbol \w+,? version (?P<version2>(?:GLIBCXX|CXXABI)_[\d.]+) not defined in file",
            confidence=0.92,
        ),
        Signature(pattern=r"undefined symbol: _ZSt28__throw_bad_array_new_length", confidence=0.85),
        Signature(pattern=r"libgcc_s\.so\.1: version [`'\"]?(?P<version>GCC_[\d.]+)[`'\"]? not found", confidence=0.85),
        Signature(pattern=r"lib(?:stdc\+\+\.so\.6|gcc_s\.so\.1): cannot open shared object file", confidence=0.8),
    ),
    message=(
        later("The C++ library {loaded} is loaded and is too old: {by} needs {version}."),
        later("The C++ library that is loaded is too old: {version} is needed."),
        later("The C++ library that is loaded is too old or not there."),
    ),
    remedies=(
        Remedy(
            text=later("In a conda environment, put a newer libstdc++ into it and let the loader find that one first."),
            commands=(
                ("conda", "install", "-c", "conda-forge", "libstdcxx-ng"),
                ("export", "LD_LIBRARY_PATH=FOLDER_OF_THE_ENVIRONMENT/lib"),
            ),
        ),
        Remedy(
            text=later("Where the old copy comes from a folder on LD_LIBRARY_PATH, start the program without it."),
            commands=(("unset", "LD_LIBRARY_PATH"),),
        ),
        Remedy(
            text=later(
                "Or take wheels that were built for this system, in an environment of their own;"
                " leave the system's own library as it is."
            ),
            commands=(NEW_ENV,),
        ),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB105",
    cause="glibcxx_missing",
    title=later("The C++ library is too old"),
    needs=("environment.torch",),
    check=check,
    rank=43,
    explains=("torch_import_fails",),
    log=LOG,
)
