r"""The interpreter that is meant cannot be asked.

What you see
    "python: command not found", "No Python at 'C:\...'", "Python was not found; run without arguments to install from the
    Microsoft Store", pyenv's "version `3.9.1' is not installed", "bad interpreter".

Why
    A ``python`` that hangs, crashes or is only a shim ("command not found", exit code 127) can run nothing, and nothing about its
    packages can be told. A virtual environment's Python is a link to another one, which may have been removed or updated.

How envfix knows
    The target interpreter is run with a short script that only describes itself. It must answer within the time limit. In a log:
    the texts above.

How to mend
    Name another interpreter with ``--python``, or repair this one: activate the environment it belongs to, choose a version in
    pyenv, or recreate the environment. One that hangs is often held by a path file or a sitecustomize that it reads at each
    start: with ``-S`` it reads none of them.

What not to do
    Do not mend a virtual environment by copying another Python's files into it: make it anew.

Sources
    The interpreter's own exit code and output; what the other commands on PATH start, and environments near by.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import NOT_ASKED, NOT_TOLD, Environment, Interpreter, Machine, Observed
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, retold, say
from envfix.model.log import Signature
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import not_found
from envfix.rules._rule import Rule, cite
from envfix.rules._wheels import well_served, with_python
from envfix.tables.loader import Tables

# Named on one screen.
MOST = 3


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    interpreter = environment.interpreter
    if interpreter.value is not None or (interpreter.problem or "").endswith((NOT_ASKED, NOT_TOLD)):
        return
    if interpreter.is_absent:
        message = say(
            "There is no Python to look at: {problem} ({source}).",
            problem=retold(interpreter.problem or "") or say("nothing found"),
            source=interpreter.source,
        )
    else:
        message = say(
            "The Python at {source} cannot be used: {problem}.",
            source=interpreter.source,
            problem=retold(interpreter.problem or ""),
        )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=message,
        because=(cite("environment.interpreter", interpreter),),
        remedies=(*_if_it_hangs(interpreter), *_others(machine, environment, tables)),
    )


def _if_it_hangs(interpreter: Observed[Interpreter]) -> Iterator[Remedy]:
    """Without its start files it answers at once where one of them is what hangs."""
    if interpreter.is_unknown and (interpreter.problem or "").startswith("no answer within"):
        yield Remedy(
            text=say(
                "See whether a path file (.pth) or a sitecustomize holds it at its start: with -S"
                " it reads none, with -I it passes over PYTHONPATH and your own packages."
            ),
            commands=((interpreter.source, "-S", "-c", "pass"), (interpreter.source, "-I", "-c", "pass")),
        )


def _others(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Remedy]:
    """Pythons near by that work, as far as files tell; where there is none, a new one."""
    pythons = list(_pythons(machine, environment))[:MOST]
    if pythons:
        text = say("Take a Python that works") + (say(": one of these.") if len(pythons) > 1 else ".")
        yield Remedy(text=text, commands=tuple(("envfix", "diagnose", "--python", path) for path in pythons))
    if not pythons or "does not exist" in (environment.interpreter.problem or ""):
        platform = machine.platform.value
        yield with_python(well_served(tables, platform.tag) if platform is not None else None)


def _pythons(machine: Machine, environment: Environment) -> Iterator[str]:
    """Each once: those of places that have torch, of `python` on PATH, of the other commands there, later ones on PATH."""
    rows = [one for one in machine.commands.value or () if one.problem is None]
    places = [place.python for place in environment.elsewhere.value or ()]
    named = [one for one in rows if one.name in ("python", "python3")]
    starts = [one.interpreter for one in (*named, *rows)]
    later = [path for one in machine.commands.value or () if one.name in ("python", "python3") for path in one.later]
    failed = {environment.interpreter.source}
    failed |= {
        path for one in machine.commands.value or () if one.path in failed for path in (one.real, one.interpreter or "")
    }
    yield from dict.fromkeys(path for path in (*places, *starts, *later) if path and path not in failed)


LOG = LogSide(
    signatures=(
        Signature(pattern=not_found("python3?|python\\.exe|py"), confidence=0.8),
        Signature(pattern=r"No Python at '\"?[^'\n]{3,200}|did not find executable at '[^'\n]{3,200}", confidence=0.93),
        Signature(pattern=r"Python was not found; run without arguments to install", confidence=0.93),
        Signature(
            pattern=r"pyenv: (?:version `[^'\n]{1,40}' is not installed|python\d?: command not found)", confidence=0.9
        ),
    ),
    message=later("The Python that is called does not exist or does not start."),
    remedies=(
        Remedy(
            text=later("Activate the environment that has a Python, or name one by its path; see which there are."),
            commands=(("which", "-a", "python", "python3"), ("conda", "env", "list")),
        ),
        Remedy(
            text=later("Or make a new environment with a Python of its own."),
            commands=(NEW_ENV,),
        ),
    ),
)

RULE = Rule(
    code="INT102",
    cause="interpreter_not_answering",
    title=later("The interpreter cannot be asked"),
    needs=(),
    check=check,
    rank=15,
    log=LOG,
)
