"""PYTHONHOME sends the interpreter to another Python's library, and it cannot start.

What you see
    "Fatal Python error: init_fs_encoding: failed to get the Python codec of the filesystem encoding", "No module
    named 'encodings'", whatever Python is started in this shell.

Why
    Every Python started with the variable looks for its own library in that folder. Virtual and conda environments
    are affected as well.

How envfix knows
    PYTHONHOME is set in the user's shell, and the target interpreter does not answer. In a log the texts above;
    Python 3.8 and newer print whether the variable is set.

How to mend
    Unset the variable, and take it out of the shell's start files. It is meant for embedding Python, not for
    choosing one.

What not to do
    Do not reinstall Python, and do not point the variable to another folder.

Sources
    The variable; the interpreter's own end.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._environments import variable
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    home = machine.variables.get("PYTHONHOME")
    if not home or not environment.interpreter.is_unknown:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "PYTHONHOME={home} sends Python to that folder for its own library, and it does not start.", home=home
        ),
        because=(variable("PYTHONHOME", home), cite("environment.interpreter", environment.interpreter)),
        remedies=(
            Remedy(
                text=say("Unset it here, and take it out of the shell's start files."),
                commands=(("unset", "PYTHONHOME"),),
            ),
        ),
    )


_HOME = r"PYTHONHOME(?: =|=| is set to) ['\"]?(?P<home>[/A-Za-z][^\s'\"]{2,120})"
_NOT_SET = r"PYTHONHOME = \(not set\)"


def _encodings(hit: Hit, log: Log) -> float:
    """Python 3.8 and newer print whether the variable is set."""
    del hit
    if log.found(_HOME):
        return 0.95
    return 0.1 if log.found(_NOT_SET) else 0.55


LOG = LogSide(
    signatures=(
        Signature(pattern=r"No module named '?encodings'?", weigh=_encodings, looks_at=(_HOME, _NOT_SET)),
        Signature(
            pattern=(
                r"init_?fs_?encoding: (?:failed to get the Python codec|unable to load the file system codec)"
                r"|Unable to get the locale encoding"
            ),
            weigh=_encodings,
            looks_at=(_HOME, _NOT_SET),
        ),
        Signature(
            pattern=_HOME,
            confidence=0.4,
            beside=(r"Fatal Python error|No module named '?(?:encodings|_ctypes|site)'?|SRE module mismatch",),
        ),
        Signature(
            pattern=(
                r"Could not find platform (?:in)?dependent libraries <(?:exec_)?prefix>"
                r"|Consider setting \$PYTHONHOME to"
            ),
            confidence=0.35,
        ),
        Signature(pattern=r"SRE module mismatch", confidence=0.5),
    ),
    message=(
        later("PYTHONHOME={home} sends Python to that folder for its own library, and it cannot start."),
        later(
            "Python looks for its own library in the wrong folder and cannot start; mostly"
            " PYTHONHOME is set and names another Python."
        ),
    ),
    remedies=(
        Remedy(
            text=later("Unset it here, and take it out of the shell's start files."),
            commands=(("unset", "PYTHONHOME", "PYTHONPATH"),),
        ),
        Remedy(
            text=later("On Windows: remove it in PowerShell, and from the user's environment variables."),
            commands=(("Remove-Item", "Env:PYTHONHOME"),),
        ),
    ),
    tell_apart=Remedy(text=later("See whether the variable is set."), commands=(("printenv", "PYTHONHOME"),)),
    explains=("interpreter_not_answering",),
)


RULE = Rule(
    code="VAR101",
    cause="pythonhome_misleads",
    title=later("PYTHONHOME keeps Python from starting"),
    needs=(),
    check=check,
    rank=5,
    explains=("interpreter_not_answering",),
    log=LOG,
)
