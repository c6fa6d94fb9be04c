"""conda's torch is older than a change in MKL that took a symbol away.

What you see
    "libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent" (or iJIT_IsProfilingActive): torch cannot be imported, right after an
    installation that went well.

Why
    The pytorch channel's builds up to 2.2 call profiling symbols that MKL dropped in 2024.1, and ask for no older MKL.

How envfix knows
    The build of the pytorch channel against the mkl beside it, by the table of known traps; or an import, or a log, that misses
    iJIT_....

How to mend
    Hold mkl below 2024.1 in that environment, or take a newer torch.

What not to do
    Reinstalling torch brings the same mkl back; LD_LIBRARY_PATH has nothing to do with it.

Sources
    conda-meta of the target's prefix; the message of the import; the table of conda's traps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import CondaRecord, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._changing import conda, in_place
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    import_evidence,
    import_failure,
    import_works,
    records,
    version,
)
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"undefined symbol: iJIT_\w+")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    said = bool(SAYS.search(import_failure(environment) or ""))
    pair = None if import_works(environment) else _trapped(environment, tables)
    if not said and pair is None:
        return
    what = (
        say(
            "torch {version} of conda needs an mkl older than {version_2}",
            version=pair[0].version,
            version_2=pair[1].version,
        )
        if pair
        else say("torch needs an older mkl")
    )
    commands = conda(machine, environment, "install", "mkl<2024.1") if pair or records(environment) else ()
    text = say("Hold mkl below 2024.1 in this environment.")
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("{what}: newer ones lack a symbol that it imports.", what=what),
        because=(
            *(
                Evidence(
                    fact="environment.conda_records",
                    value=f"{row.name} {row.version} {row.build}",
                    source=environment.conda_records.source,
                )
                for row in pair or ()
            ),
            *import_evidence(environment),
        ),
        remedies=(
            Remedy(text=text, commands=commands) if commands else in_place(environment, text, "install", "mkl<2024.1"),
            NEW_ENVIRONMENT,
        ),
    )


def _trapped(environment: Environment, tables: Tables) -> tuple[CondaRecord, CondaRecord] | None:
    known = records(environment)
    torch, mkl = known.get("pytorch"), known.get("mkl")
    release, own = version(torch.version) if torch else None, version(mkl.version) if mkl else None
    if torch is None or mkl is None or release is None or own is None:
        return None
    channel = _channel(torch)
    traps = tables.conda.traps(channel, release) if channel else ()
    return (torch, mkl) if any(trap.package == "mkl" and own >= Version(trap.below) for trap in traps) else None


def _channel(row: CondaRecord) -> str | None:
    """``pytorch`` of ``https://conda.anaconda.org/pytorch/linux-64``, of a mirror's ``.../cloud/pytorch/linux-64`` or alone."""
    parts = [
        part
        for part in (row.channel or "").rstrip("/").split("/")
        if not re.fullmatch(r"noarch|(linux|osx|win)-\w+", part)
    ]
    return parts[-1] if parts else None


LOG = LogSide(
    signatures=(
        Signature(pattern=r"undefined symbol: (?P<symbol>iJIT_\w+)", confidence=0.98),
        Signature(pattern=r"Symbol not found: _?(?P<symbol>iJIT_\w+)", confidence=0.95),
    ),
    message=(
        later("This torch of conda needs {symbol}, which MKL took away in 2024.1."),
        later("This torch of conda needs an MKL older than 2024.1."),
    ),
    remedies=(
        Remedy(
            text=later("Hold MKL below 2024.1 in this environment."),
            commands=(("conda", "install", "mkl<2024.1", "intel-openmp<2024.1"),),
        ),
        Remedy(
            text=later("Or take a newer torch, by pip's wheel in an environment of its own."),
            commands=(NEW_ENV,),
        ),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB104",
    cause="mkl_ijit_symbol",
    title=later("conda's torch needs an older MKL"),
    needs=("environment.torch",),
    check=check,
    rank=40,
    explains=("torch_import_fails",),
    log=LOG,
)
