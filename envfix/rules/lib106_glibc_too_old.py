"""The system's C library is older than the one that torch, or something built on it, needs.

What you see
    "/lib64/libc.so.6: version `GLIBC_2.32' not found (required by ...)"; uv says "no wheels with a matching platform tag (e.g.,
    `manylinux_2_17_x86_64`)", conda "__glibc >=2.28, which is missing on the system".

Why
    The file was built on a newer system. The C library cannot be updated in place: it is the system.

How envfix knows
    The newest GLIBC version that the ELF files of torch and of what is built on it ask for, and the manylinux tag of torch's
    wheel, against the C library of this system; or an import, or a log, that misses one.

How to mend
    An older build for this system, a build from source on it, a container, or a newer system.

What not to do
    A C library of one's own on LD_LIBRARY_PATH breaks every program.

Sources
    The version tables of the ELF files, the WHEEL file of torch, the running C library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Libc, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    import_evidence,
    import_failure,
    import_works,
    installed,
    version,
)
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"version .?GLIBC_([\d.]+).? not found(?: \(required by ([^)]*)\))?")


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
        message=say(
            "The C library of this system ({name}) is too old: {by} needs {wanted}.",
            name=_name(libc),
            by=by,
            wanted=wanted,
        ),
        because=(*((because,) if because else ()), *import_evidence(environment)),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(text=say("Or run it in a container, or ask the administrator for a newer system."), safe=False),
        ),
    )


def _name(libc: Libc | None) -> str:
    return f"{libc.family} {libc.version}" if libc and libc.version else say("of unknown version")


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
                Evidence(
                    fact="environment.binaries", value=say("asks for GLIBC_{wanted}", wanted=wanted), source=file.path
                ),
            )
    item = installed(environment).get("torch")
    tags = [match for tag in (item.tags if item else ()) if (match := re.search(r"manylinux_(\d+)_(\d+)_", tag))]
    floor = min(((int(tag[1]), int(tag[2])) for tag in tags), default=None)
    if item is None or floor is None or floor <= own.release[:2] or value is not None or import_works(environment):
        return None
    wheel = Evidence(
        fact="environment.distributions",
        value=" ".join((item.name, item.version, *item.tags)),
        source=f"{item.location}/{item.metadata}/WHEEL",
    )
    return f"{floor[0]}.{floor[1]}", "torch", wheel


def _weigh_tag(hit: Hit, log: Log) -> float | None:
    """Uv names the tag of this system: below 2.28 the newer wheels of torch are out of reach."""
    del log
    here = int(hit.groups["here"])
    offered = [int(number) for number in re.findall(r"manylinux_2_(\d+)", hit.after[:1500])]
    if offered and all(number > here for number in offered):
        return 0.9
    return 0.6 if here < 28 else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"version [`'\"]?GLIBC_(?P<wanted>2[\d.]+)[`'\"]? not found(?: \(required by (?P<by>[^)\n]{1,300})\))?",
            confidence=0.97,
        ),
        Signature(
            pattern=r"undefined symbol: \w+,? version GLIBC_(?P<wanted>2[\d.]+)"
            r"|symbol \w+,? version GLIBC_(?P<wanted2>2[\d.]+) not defined in file",
            confidence=0.88,
        ),
        Signature(
            pattern=r"__glibc(?:\[version=')?[\s=]*>=?\s?(?P<wanted>2\.\d+)[^\n]{0,80}(?:is missing on the "
            r"system|which does not exist|Your installed version is: [\d.]+)",
            confidence=0.85,
        ),
        Signature(pattern=r"Your installed version is: (?P<own>2\.(?:5|1[0-9]|2[0-7]))\b", confidence=0.4),
        Signature(
            pattern=r"no wheels with a matching platform tag \(e\.g\., `manylinux_2_(?P<here>\d+)_\w+`\)",
            weigh=_weigh_tag,
            quoted=True,
        ),
        Signature(pattern=r"manylinux_2_(?:28|3\d)_\w+\.whl is not a supported wheel on this platform", confidence=0.4),
        Signature(
            pattern=r"(?i)(?:requires|needs|need) glibc (?:version )?(?:>=?\s?)?(?P<wanted>2\.\d+)", confidence=0.6
        ),
    ),
    message=(
        later("The C library of this system is too old: {by} needs glibc {wanted}."),
        later("The C library of this system is too old: glibc {wanted} or newer is needed."),
        later("The C library (glibc) of this system is too old for this build."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Let envfix choose the newest torch that this system can load, in an environment"
                " of its own; take the extension's release that fits it, or compile the extension"
                " here."
            ),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later(
                "Or run it in a container of a newer system (apptainer on clusters), or move to a machine with one."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(text=later("See the version of the C library here."), commands=(("ldd", "--version"),)),
    explains=("glibcxx_missing", "torch_import_fails"),
)


RULE = Rule(
    code="LIB106",
    cause="glibc_too_old",
    title=later("The system's C library is too old"),
    needs=("machine.platform",),
    check=check,
    rank=42,
    explains=("torch_import_fails", "glibcxx_missing"),
    log=LOG,
)
