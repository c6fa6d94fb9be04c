"""conda uses its old, slow solver, with channels that make it search for hours.

What it checks
    conda's version (libmamba is the usual solver from 23.10), the solver in its configuration, how many channels it searches
    and with which priority. Judged only where conda itself, not mamba, would do the work.

Why it matters
    "Solving environment" does not end, or ends in "failed with initial frozen solve. Retrying with flexible solve".

How to fix
    The libmamba solver, strict channel priority, a new environment instead of base, or torch from pip wheels, which need no
    solver. Waiting overnight is no cure.

Sources
    The record of conda in its base environment; conda's configuration files.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import CondaInstall, CondaSettings, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import torch_is_wanted
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
        message=f"The old solver of conda {conda.version} may search {len(settings.channels)} channels for hours.",
        because=(
            Evidence(
                fact="machine.conda",
                value=f"{conda.program} {conda.version}, solver classic",
                source=machine.conda.source,
            ),
            Evidence(
                fact="machine.conda",
                value=f"channels {', '.join(settings.channels)}; priority {settings.channel_priority or 'flexible'}",
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
            text="Switch to the fast solver, which is installed already.",
            commands=(("conda", "config", "--set", "solver", "libmamba"),),
        )
    yield Remedy(
        text="Search each package in one channel only.",
        commands=(("conda", "config", "--set", "channel_priority", "strict"),),
    )
    yield Remedy(
        text="Or install torch from wheels, which need no solver.",
        commands=(("envfix", "install", "--new-env", "yolo-env"),),
    )


RULE = Rule(
    code="CND121",
    cause="conda_solve_stuck",
    title="conda searches with its old solver",
    needs=("machine.conda",),
    check=check,
    rank=75,
)
