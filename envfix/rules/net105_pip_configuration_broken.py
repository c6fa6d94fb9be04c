"""A configuration file of pip is broken, so that no pip starts.

What it checks
    Every file that pip reads before it does anything (pip.conf, pip.ini, the one that PIP_CONFIG_FILE names), in the way
    pip reads it.

Why it matters
    pip stops before it does anything, ``pip --version`` included: "Configuration file could not be loaded", "File contains
    no section headers". Nothing can be installed, updated or removed by it. The same goes for every Python of this user.

How to fix
    Correct the line that is named, or move the file aside. ``PIP_CONFIG_FILE=/dev/null`` makes pip pass over all of them.

Sources
    The files themselves; pip's documentation on its configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# The words of the probe; several problems are joined by a semicolon.
BROKEN = re.compile(
    r"(?:^|; )(?P<path>[^;]+?) is not a configuration file pip can read: (?P<why>.+?)(?=; [~/]|; [A-Z]:|$)"
)
# Files that the administrator looks after.
OF_ALL = ("/etc/", "/usr/", "/Library/", "C:/ProgramData/")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    sources = environment.package_sources
    for broken in BROKEN.finditer(sources.problem or "") if sources.is_unknown else ():
        path, why = broken["path"], broken["why"].rstrip(".")
        yield Finding(
            code=RULE.code,
            cause=RULE.cause,
            severity=Severity.ERROR if torch_is_wanted(environment) else Severity.WARNING,
            message=f"The configuration file {path} is broken and keeps every pip from starting ({why}).",
            because=(Evidence(fact="environment.package_sources", value=why, source=path),),
            remedies=(_aside(path), _bypass(machine)),
        )


def _aside(path: str) -> Remedy:
    if path.startswith(OF_ALL):
        return Remedy(text=f"Ask the administrator to correct {path}.", safe=False)
    return Remedy(text="Correct that line, or move the file aside.", commands=(("mv", path, f"{path}.broken"),))


def _bypass(machine: Machine) -> Remedy:
    place = machine.platform.value
    windows = place is not None and place.system == "win32"
    line = ("Set-Item", "Env:PIP_CONFIG_FILE", "nul") if windows else ("export", "PIP_CONFIG_FILE=/dev/null")
    return Remedy(text="Or let pip pass over all its configuration files in this shell.", commands=(line,))


RULE = Rule(
    code="NET105",
    cause="pip_configuration_broken",
    title="A configuration file keeps pip from starting",
    needs=(),
    check=check,
    rank=70,
)
