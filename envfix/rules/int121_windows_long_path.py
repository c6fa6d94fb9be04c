r"""Windows refuses the long paths that installing torch here would make.

What it checks
    On Windows: long paths are not enabled in the registry, torch is still to be installed, and the target's
    site-packages and the longest file name in a torch wheel make more than 260 characters together.

Why it matters
    pip stops while unpacking with "No such file or directory" about a file with a very long name, or with "WinError
    206".

How to fix
    Use an environment in a short folder (``C:\envs\yolo``), or let the administrator enable long paths. Creating
    the missing file by hand leads to the next one.

Sources
    The registry value LongPathsEnabled;
    https://learn.microsoft.com/windows/win32/fileio/maximum-file-path-limitation
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import startup_of
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
        message=f"Windows allows no paths longer than {LIMIT} characters, and torch needs longer ones in this folder.",
        because=(
            cite("environment.interpreter", environment.interpreter, f"{folder} has {len(folder)} characters"),
            cite("environment.startup", environment.startup, "LongPathsEnabled is 0 in the registry"),
        ),
        remedies=(
            Remedy(
                text="Make the environment in a short folder.",
                commands=(("envfix", "install", "--new-env", "C:\\envs\\yolo"),),
            ),
            Remedy(text="Or let the administrator enable long paths in Windows and restart.", safe=False),
        ),
    )


RULE = Rule(
    code="INT121",
    cause="windows_long_path",
    title="paths too long for Windows",
    needs=("environment.interpreter", "environment.torch", "environment.startup"),
    check=check,
    rank=74,
)
