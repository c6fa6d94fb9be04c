"""conda uses its old, slow solver, with channels that make it search for hours.

What you see
    "Solving environment: failed with initial frozen solve. Retrying with flexible solve.", "failed with repodata from
    current_repodata.json, will retry with next repodata source", or "Solving environment" that does not end.

Why
    The classic solver tries combinations of all builds of all channels one after another. Many channels, an old base environment
    and flexible priority make their number huge.

How envfix knows
    conda's version (libmamba is the usual solver from 23.10), the solver in its configuration, how many channels it searches
    and with which priority. Judged only where conda itself, not mamba, would do the work. In a log: the texts above, unless the
    solver went on to an answer.

How to mend
    The libmamba solver, strict channel priority, a new environment instead of base, or torch from pip wheels, which need no
    solver.

What not to do
    Waiting overnight is no cure.

Sources
    The record of conda in its base environment; conda's configuration files; conda's documentation of its solvers.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import CondaInstall, CondaSettings, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._environments import NEW_ENV
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# libmamba is there to be chosen, and is chosen by itself, from these releases on.
CAN_CHOOSE, BY_ITSELF = Version("22.11"), Version("23.10")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    conda, interpreter = machine.conda.value, environment.interpreter.value
    settings = conda.settings if conda else None
    if conda is None or settings is None or not _searches_slowly(conda, settings):
        return
    waiting = torch_is_wanted(environment) and interpreter is not None and interpreter.kind in ("conda", "base")
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if waiting else Severity.INFO,
        message=say(
            "The old solver of conda {version} may search {number} channels for hours.",
            version=conda.version,
            number=len(settings.channels),
        ),
        because=(
            Evidence(
                fact="machine.conda",
                value=say("{program} {version}, solver classic", program=conda.program, version=conda.version),
                source=machine.conda.source,
            ),
            Evidence(
                fact="machine.conda",
                value=say(
                    "channels {channels}; priority {channel_priority}",
                    channels=", ".join(settings.channels),
                    channel_priority=settings.channel_priority or "flexible",
                ),
                source=settings.set_in.get("channels", machine.conda.source),
            ),
        ),
        remedies=tuple(_remedies(conda)),
    )


def _searches_slowly(conda: CondaInstall, settings: CondaSettings) -> bool:
    name = (conda.program or "").replace("\\", "/").rpartition("/")[2]
    version = _version(conda)
    if not name.startswith("conda") or version is None or len(settings.channels) < 2:
        return False
    if settings.channel_priority == "strict":
        return False
    return settings.solver == "classic" or (settings.solver is None and version < BY_ITSELF)


def _version(conda: CondaInstall) -> Version | None:
    try:
        return Version(conda.version or "")
    except InvalidVersion:
        return None


def _remedies(conda: CondaInstall) -> Iterator[Remedy]:
    version = _version(conda)
    if conda.libmamba and version is not None and version >= CAN_CHOOSE:
        yield Remedy(
            text=say("Switch to the fast solver, which is installed already."),
            commands=(("conda", "config", "--set", "solver", "libmamba"),),
        )
    yield Remedy(
        text=say("Search each package in one channel only."),
        commands=(("conda", "config", "--set", "channel_priority", "strict"),),
    )
    yield Remedy(
        text=say("Or install torch from wheels, which need no solver."),
        commands=(NEW_ENV,),
    )


# --- in a log ---

SOLVED = r"Solving environment:[^\n]{0,60}done|The following (?:NEW )?packages will be (?:INSTALLED|downloaded)"
NOT_FOUND = r"PackagesNotFoundError"
CONFLICT = (
    r"UnsatisfiableError|LibMambaUnsatisfiableError|Could not solve for environment specs"
    r"|found to be incompatible with (?:each other|your)"
)
_SPINNER = regex(
    r"[\s/\\|.\-^C]*(?:\.\.\.working\.\.\.)?[\s/\\|.\-]*(?:\^C|Killed|KeyboardInterrupt|Terminated"
    r"|CondaError: KeyboardInterrupt)?"
)


def _weigh_failed(hit: Hit, log: Log) -> float | None:
    """The solver went on after this: to an answer, to a conflict, to a package that nobody has, or to nothing."""
    if any(one.offset > hit.offset for one in log.found(SOLVED)):
        return None
    if log.found(NOT_FOUND):
        return 0.25
    return 0.45 if log.found(CONFLICT) else 0.88


def _weigh_search(hit: Hit, log: Log) -> float | None:
    if any(one.offset > hit.offset for one in log.found(SOLVED)):
        return None
    return 0.35 if log.found(CONFLICT) else 0.7


def _weigh_silence(hit: Hit, log: Log) -> float | None:
    """A log that ends with the spinner: nothing came any more."""
    del log
    if not _SPINNER.fullmatch(hit.after[:300]) or hit.after[300:].strip():
        return None
    return 0.8 if hit.text.startswith("Solving") else 0.4


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"failed with initial frozen solve|[Rr]etrying with flexible solve",
            weigh=_weigh_failed,
            looks_at=(SOLVED, NOT_FOUND, CONFLICT),
            unless=(r"PackagesNotFoundError|PackageNotFoundError",),
        ),
        Signature(
            pattern=r"failed with (?:current_)?repodata from (?:current_)?repodata\.json, will retry with next repodata source"
            r"|failed with repodata from",
            weigh=_weigh_failed,
            looks_at=(SOLVED, NOT_FOUND, CONFLICT),
        ),
        Signature(
            pattern=r"Found conflicts! Looking for incompatible packages|Examining conflict for"
            r"|Determining conflicts|Comparing specs that have this"
            r" dependency|Finding shortest conflict path|Finding conflict paths",
            weigh=_weigh_search,
            looks_at=(SOLVED, CONFLICT),
        ),
        Signature(
            pattern=r"(?:Solving environment|Collecting package metadata \([\w.]{4,30}\)):", weigh=_weigh_silence
        ),
    ),
    message=later(
        "conda's solver searches without coming to an end: too many builds of too many channels for the old solver."
    ),
    remedies=(
        Remedy(
            text=later("Leave the solver aside: wheels of torch in an environment of their own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later("Or switch to the fast solver and search each package in one channel only."),
            commands=(
                ("conda", "update", "-n", "base", "conda"),
                ("conda", "install", "-n", "base", "conda-libmamba-solver"),
                ("conda", "config", "--set", "solver", "libmamba"),
                ("conda", "config", "--set", "channel_priority", "strict"),
            ),
            safe=False,
        ),
        Remedy(
            text=later("And solve in a new, empty environment, not in base."),
            commands=(("conda", "create", "-n", "ENV", "python=3.11"),),
        ),
    ),
    tell_apart=Remedy(text=later("See which solver and which channels conda uses."), commands=(("conda", "info"),)),
)

RULE = Rule(
    code="CND121",
    cause="conda_solve_stuck",
    title=later("conda searches with its old solver"),
    needs=("machine.conda",),
    check=check,
    rank=75,
    log=LOG,
)
