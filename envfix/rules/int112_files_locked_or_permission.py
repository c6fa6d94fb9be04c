r"""Files of the environment may not be changed: another program holds them open, or they belong to another account.

What you see
    "Could not install packages due to an OSError: [WinError 5] Access is denied: '...\\~orch\\lib\\asmjit.dll'",
    "[WinError 32]", "[Errno 13] Permission denied: '/usr/local/lib/python3.10/dist-packages/...'", conda's
    EnvironmentNotWritableError.

Why
    On Windows nobody can delete a file that a running program has loaded: a notebook, an editor or a training with
    torch's DLLs, or a virus scanner that reads the fresh wheel. A removal that stops half-way leaves folders such as
    ``~orch``. Elsewhere the environment belongs to the system or to another account; pip stops, or quietly installs
    into the user's own packages, which then shine through into every other Python of the same version.

How envfix knows
    In a log: the number of the error, whatever the language, while packages are being installed. On a machine: torch
    is still to be installed, and the target is an environment whose site-packages this user may not write.

How to mend
    Close the programs that use this environment (notebooks, editors, other pips), remove the leftovers, try again. Or
    install into an environment of one's own.

What not to do
    ``sudo pip``, an administrator's shell, ``--user`` and changed permissions break it for the others who use it.

Sources
    Write permission on the target's site-packages; messages of pip, uv, conda and Windows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._downloads import installs, succeeded
from envfix.rules._environments import IN_NEW_ENVIRONMENT
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or interpreter.writable is not False or not environment.torch.is_absent:
        return
    if interpreter.kind == "system" or interpreter.bits == 0:
        return  # the operating system's Python is nobody's to write: that is no surprise
    where = ", ".join(interpreter.site_packages) or interpreter.prefix
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "You may not install into {prefix}: its packages belong to another account.", prefix=interpreter.prefix
        ),
        because=(
            cite(
                "environment.interpreter", environment.interpreter, say("no permission to write {where}", where=where)
            ),
        ),
        remedies=(IN_NEW_ENVIRONMENT,),
    )


def _locked(hit: Hit, log: Log) -> float | None:
    """Windows refuses to touch a file: while packages are installed, or in a program that runs."""
    del log
    if succeeded(hit):
        return None
    if installs(hit) or re.search(r"site-packages|[\\/]Scripts[\\/]|\.dll|pip-un", hit.after[:300]):
        return 0.93
    return 0.3


def _denied(hit: Hit, log: Log) -> float | None:
    """An account may not write: into packages, or somewhere else."""
    del log
    if succeeded(hit):
        return None
    path = hit.after[:250]
    into_packages = (
        re.search(r"(?:site|dist)-packages|/usr/|/opt/|conda|/bin/|\.cache/|lib/python|pip-", path) is not None
    )
    if "Could not install packages" in hit.before[-200:] or (into_packages and installs(hit)):
        return 0.9
    return 0.6 if into_packages else 0.25


_CLOSE = Remedy(
    text=later(
        "Close every program that uses this environment (notebook kernels, editors, trainings, a"
        " second pip), then try again; remove folders in site-packages whose names begin with ~"
        " first."
    )
)

LOG = LogSide(
    signatures=(
        Signature(pattern=r"WinError (?:5|32)\b|WindowsError: \[Error (?:5|32)\]", weigh=_locked, quoted=True),
        Signature(
            pattern=r"failed to (?:remove|rename|persist|copy|create|write|open)[^\n]{0,300} \(os error (?:5|32|13)\)",
            confidence=0.93,
            quoted=True,
        ),
        Signature(pattern=r"\(os error (?:32|13)\)", confidence=0.75, quoted=True),
        Signature(pattern=r"\[Errno 13\] |PermissionError\(13", weigh=_denied, quoted=True),
        Signature(
            pattern=r"EnvironmentNotWritableError|NotWritableError|The current user does not have write permissions to",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"The process cannot access the file because it is being used by another process",
            weigh=_locked,
            quoted=True,
        ),
        Signature(pattern=r"site-packages[\\/]{1,2}~\w{2,30}[\\/]", confidence=0.8, quoted=True),
        Signature(
            pattern=r"Consider using the `--user` option or check the permissions|Check the permissions\.",
            confidence=0.5,
        ),
        Signature(
            pattern=r"Ignoring invalid distribution [-~](?P<left>orch\w*|ltralytics|umpy|vidia\S{0,40})",
            confidence=0.35,
        ),
        Signature(
            pattern=r"(?:can't|cannot) (?:create|write to) (?:or remove files in the install|the install)[^\n]{0,20}"
            r" directory",
            confidence=0.85,
            quoted=True,
        ),
    ),
    message=later(
        "Files of this environment may not be changed: another program holds them open, or they"
        " belong to another account."
    ),
    remedies=(_CLOSE, IN_NEW_ENVIRONMENT),
    tell_apart=Remedy(
        text=later("See to whom the packages belong and whether you may write there."),
        commands=(
            (
                "python",
                "-c",
                "import os, sysconfig as s; p = s.get_paths()['purelib']; print(p, os.access(p, os.W_OK))",
            ),
        ),
    ),
)

RULE = Rule(
    code="INT112",
    cause="files_locked_or_permission",
    title=later("the environment may not be changed"),
    needs=("environment.interpreter", "environment.torch"),
    check=check,
    rank=73,
    log=LOG,
)
