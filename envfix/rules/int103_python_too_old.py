"""The interpreter is older than any that current torch wheels and tools support.

What you see
    "SyntaxError: invalid syntax" at an f-string in pip or in a package just installed, "Python 2.7 reached the end of its life",
    "ERROR: This script does not work on Python 3.5".

Why
    No torch of the last years exists for it.

How envfix knows
    The version the target interpreter reports. envfix looks into CPython 3.6 and newer; Python 2.7 ended in 2020. In a log: pip's
    words about it.

How to mend
    Make an environment with a newer Python; the old one stays untouched.

What not to do
    Do not replace the operating system's own Python: parts of the system are written in it.

Sources
    The interpreter's own version; Python's list of supported versions.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

OLDEST = (3, 6)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    interpreter = environment.interpreter.value
    if interpreter is None or tuple(map(int, interpreter.version.split(".")[:2])) >= OLDEST:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "Python {version} is too old: envfix works with Python 3.6 and newer, and so does torch.",
            version=interpreter.version,
        ),
        because=(
            cite(
                "environment.interpreter", environment.interpreter, f"{interpreter.version}, {interpreter.executable}"
            ),
        ),
        remedies=(
            Remedy(
                text=say("Make an environment with a newer Python."),
                commands=((*NEW_ENV, "--python", "3.11"),),
            ),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Python 2\.7 (?:reached the end of its life|will reach the end of its life)", confidence=0.4
        ),
        Signature(pattern=r"This script does not work on Python (?P<version>[23]\.[0-5])\b", confidence=0.85),
        Signature(pattern=r"Python 3\.[45] (?:support|reached the end of its life)", confidence=0.35),
        Signature(
            pattern=r"[Pp]ython(?P<version>2\.7|3\.[45])[/\\][^\n]{0,200}\n[^\n]{0,200}\n[^\n]{0,120}\n(?:[^\n]{0,120}\n)?"
            r"SyntaxError: invalid syntax",
            confidence=0.6,
        ),
    ),
    message=(
        later("Python {version} is too old for every torch of the last years."),
        later("This Python is too old for every torch of the last years."),
    ),
    remedies=(
        Remedy(
            text=later("Make an environment with a newer Python."),
            commands=((*NEW_ENV, "--python", "3.11"),),
        ),
    ),
)

RULE = Rule(
    code="INT103",
    cause="python_too_old",
    title=later("The Python is too old"),
    needs=("environment.interpreter",),
    check=check,
    rank=16,
    log=LOG,
)
