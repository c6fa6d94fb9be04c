"""A configuration file of pip is broken, so that no pip starts.

What you see
    "ERROR: Configuration file could not be loaded. File contains no section headers. file:" "
    '/home/me/.config/pip/pip.conf', line: 1", or a UnicodeDecodeError out of ``pip/_internal/configuration.py``.

Why
    pip reads its files (pip.conf, pip.ini, the one that PIP_CONFIG_FILE names) before it does anything, ``pip
    --version`` included. Nothing can be installed, updated or removed by it. The same goes for every Python of this
    user.

How envfix knows
    In a log: pip's words about its configuration. On a machine: every file that pip reads, in the way pip reads it.

How to mend
    Correct the line that is named, or move the file aside. ``PIP_CONFIG_FILE=/dev/null`` makes pip pass over all of
    them.

What not to do
    Do not reinstall pip or Python: the file stays.

Sources
    The files themselves; pip's documentation on its configuration.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.regex import regex
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# The words of the probe; several problems are joined by a semicolon.
BROKEN = regex(r"(?:^|; )(?P<path>[^;]+?) is not a configuration file pip can read: (?P<why>.+?)(?=; [~/]|; [A-Z]:|$)")
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
            message=say(
                "The configuration file {path} is broken and keeps every pip from starting ({why}).", path=path, why=why
            ),
            because=(Evidence(fact="environment.package_sources", value=why, source=path),),
            remedies=(_aside(path), _bypass(machine)),
        )


def _aside(path: str) -> Remedy:
    if path.startswith(OF_ALL):
        return Remedy(text=say("Ask the administrator to correct {path}.", path=path), safe=False)
    return Remedy(text=say("Correct that line, or move the file aside."), commands=(("mv", path, f"{path}.broken"),))


def _bypass(machine: Machine) -> Remedy:
    place = machine.platform.value
    windows = place is not None and place.system == "win32"
    line = ("Set-Item", "Env:PIP_CONFIG_FILE", "nul") if windows else ("export", "PIP_CONFIG_FILE=/dev/null")
    return Remedy(text=say("Or let pip pass over all its configuration files in this shell."), commands=(line,))


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Configuration file (?:could not be loaded|contains invalid \S{1,20} characters"
            r" in)(?:[^\n]*\n)?[^\n]{0,160}?(?:'(?P<file>[^'\n]{1,200}pip\.(?:conf|ini))')?",
            confidence=0.95,
        ),
        Signature(pattern=r"ConfigurationFileCouldNotBeLoaded", confidence=0.95, quoted=True),
        Signature(
            pattern=r"(?:MissingSectionHeaderError|ParsingError|DuplicateOptionError"
            r"|DuplicateSectionError)[^\n]{0,40}(?:[^\n]*\n)?[^\n]{0,160}pip\.(?:conf|ini)",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"UnicodeDecodeError: ",
            beside=(r"pip[/\\]_internal[/\\]configuration\.py",),
            confidence=0.9,
        ),
    ),
    message=(
        later("The configuration file {file} is broken and keeps every pip from starting."),
        later("A configuration file is broken and keeps every pip from starting."),
    ),
    remedies=(
        Remedy(
            text=later("See which files pip reads, and correct the line that is named or move the file aside."),
            commands=(("python", "-m", "pip", "config", "debug"),),
        ),
        Remedy(
            text=later("Or let pip pass over all its configuration files in this shell."),
            commands=(("export", "PIP_CONFIG_FILE=/dev/null"),),
        ),
    ),
)

RULE = Rule(
    code="NET105",
    cause="pip_configuration_broken",
    title=later("A configuration file keeps pip from starting"),
    needs=(),
    check=check,
    rank=70,
    log=LOG,
)
