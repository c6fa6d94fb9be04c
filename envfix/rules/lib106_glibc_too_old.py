"""The system's C library is older than the one that torch, or something built on it, needs.

What it checks
    The newest GLIBC version that the ELF files of torch and of what is built on it ask for, and the manylinux tag
    of torch's wheel, against the C library of this system; or an import that misses one.

Why it matters
    "version `GLIBC_2.28' not found": the file was built on a newer system. The C library cannot be updated in
    place.

How to fix
    An older build for this system, a container, or a newer system. A C library of one's own on LD_LIBRARY_PATH
    breaks every program.

Sources
    The version tables of the ELF files, the WHEEL file of torch, the running C library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Libc, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    import_evidence,
    import_failure,
    import_works,
    installed,
    version,
)
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(r"version .?GLIBC_([\d.]+).? not found(?: \(required by ([^)]*)\))?")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = SAYS.search(import_failure(environment) or "")
    needed = (said[1], said[2] or "torch", None) if said else _by_files(machine, environment)
    if needed is None:
        return
    wanted, by, because = needed
    libc = machine.platform.value.libc if machine.platform.value else None
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The C library of this system ({_name(libc)}) is too old: {by} needs {wanted}.",
        because=(*((because,) if because else ()), *import_evidence(environment)),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(text="Or run it in a container, or ask the administrator for a newer system.", safe=False),
        ),
    )


def _name(libc: Libc | None) -> str:
    return f"{libc.family} {libc.version}" if libc and libc.version else "of unknown version"


def _by_files(machine: Machine, environment: Environment) -> tuple[str, str, Evidence] | None:
    platform = machine.platform.value
    libc = platform.libc if platform else None
    own = version(libc.version) if libc and libc.family == "glibc" else None
    if own is None:
        return None
    value = environment.binaries.value
    for file in value.files if value else ():
        wanted = version(file.glibc)
        if wanted is not None and wanted > own and not (file.package == "torch" and import_works(environment)):
            return (
                str(wanted),
                file.package,
                Evidence(fact="environment.binaries", value=f"asks for GLIBC_{wanted}", source=file.path),
            )
    item = installed(environment).get("torch")
    tags = [match for tag in (item.tags if item else ()) if (match := re.search(r"manylinux_(\d+)_(\d+)_", tag))]
    floor = min(((int(tag[1]), int(tag[2])) for tag in tags), default=None)
    if item is None or floor is None or floor <= own.release[:2] or value is not None or import_works(environment):
        return None
    wheel = Evidence(
        fact="environment.distributions", value=" ".join(item.tags), source=f"{item.location}/{item.metadata}/WHEEL"
    )
    return f"{floor[0]}.{floor[1]}", "torch", wheel


RULE = Rule(
    code="LIB106",
    cause="glibc_too_old",
    title="The system's C library is too old",
    needs=("machine.platform",),
    check=check,
    rank=42,
    explains=("torch_import_fails", "glibcxx_missing"),
)
