r"""Windows refuses the long paths that installing torch here would make.

What you see
    "[WinError 206] The filename or extension is too long", "[Errno 2] No such file or directory: 'C:\\...'" about a
    file with a very long name, with pip's hint about "Windows Long Path support"; ninja's "Filename longer than 260
    characters".

Why
    Windows programs take paths up to 260 characters unless long ones are enabled. The Store's Python, deep project
    folders and sources with long names go beyond while pip unpacks or a compiler writes.

How envfix knows
    In a log: the number of the error, pip's hint, or a path that is as long. On a machine: long paths are not enabled
    in the registry, torch is still to be installed, and the target's site-packages and the longest file name in a
    torch wheel make more than 260 characters together.

How to mend
    Use an environment in a short folder (``C:\envs\yolo``), or let the administrator enable long paths and restart.

What not to do
    Creating the missing file by hand leads to the next one.

Sources
    The registry value LongPathsEnabled; https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._downloads import installs
from envfix.rules._environments import startup_of
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

LIMIT = 260
# The longest name in the wheel of torch 2.13.0, below site-packages, counted in its list of files.
LONGEST = 171


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter, startup = environment.interpreter.value, startup_of(environment)
    if interpreter is None or not environment.torch.is_absent or startup.windows_long_paths is not False:
        return
    folder = max(interpreter.site_packages, key=len, default="")
    if len(folder) + 1 + LONGEST < LIMIT:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "Windows allows no paths longer than {limit} characters, and torch needs longer ones in this folder.",
            limit=LIMIT,
        ),
        because=(
            cite(
                "environment.interpreter",
                environment.interpreter,
                say("{folder} has {number} characters", folder=folder, number=len(folder)),
            ),
            cite("environment.startup", environment.startup, say("LongPathsEnabled is 0 in the registry")),
        ),
        remedies=(
            Remedy(
                text=say("Make the environment in a short folder."),
                commands=(("envfix", "install", "--new-env", "C:\\envs\\yolo"),),
            ),
            Remedy(text=say("Or let the administrator enable long paths in Windows and restart."), safe=False),
        ),
    )


def _long(hit: Hit, log: Log) -> float | None:
    """A file that is not there: with a name as long as Windows takes, or of some other reason."""
    del log
    path = re.sub(r"[\\/]+", "/", hit.groups.get("path", ""))
    if len(path) >= LIMIT - 25:
        return 0.93
    return 0.7 if len(path) >= LIMIT - 60 and installs(hit) else None


LOG = LogSide(
    signatures=(
        Signature(pattern=r"WinError 206\b|\[Error 206\]|\(os error 206\)", confidence=0.95, quoted=True),
        Signature(
            pattern=r"does not have Windows Long Path support enabled|enable-long-paths",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"Filename longer than 260 characters|exceeds the OS max path limit|path, file\s?name, or both"
            r" are too long",
            confidence=0.95,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:\[Errno 2\]|\[WinError [23]\])[^'\"\n]{0,120}['\"](?P<path>[A-Za-z]:[^'\"\n]{180}[^'\"\n]*)",
            weigh=_long,
            quoted=True,
        ),
        Signature(
            pattern=r"unable to create file [^\n]{1,400}: Filename too long|error: cannot stat '[^'\n]{1,400}':"
            r" Filename too long",
            confidence=0.9,
            quoted=True,
        ),
        Signature(pattern=r"The filename or extension is too long", confidence=0.9, quoted=True),
    ),
    message=later("A path got longer than the 260 characters that Windows allows here."),
    remedies=(
        Remedy(
            text=later("Make the environment in a short folder."),
            commands=(("envfix", "install", "--new-env", "C:\\envs\\yolo"),),
        ),
        Remedy(
            text=later("Where sources are unpacked, let the temporary folder be short too."),
            commands=(("set", "TEMP=C:\\t"), ("set", "TMP=C:\\t")),
        ),
        Remedy(text=later("Or let the administrator enable long paths in Windows and restart."), safe=False),
    ),
)

RULE = Rule(
    code="INT121",
    cause="windows_long_path",
    title=later("paths too long for Windows"),
    needs=("environment.interpreter", "environment.torch", "environment.startup"),
    check=check,
    rank=74,
    log=LOG,
)
