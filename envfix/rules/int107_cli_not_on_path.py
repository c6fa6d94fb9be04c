"""ultralytics is installed, but the command ``yolo`` is not found or cannot start.

What it checks
    The target has ultralytics, and no ``yolo`` is on PATH; or the ``yolo`` that is found names in its first line a
    Python that does not exist (any more), as after an environment was moved, renamed or deleted.

Why it matters
    "yolo: command not found" or "bad interpreter: No such file or directory", though everything is installed.

How to fix
    Activate the environment, or call its ``yolo`` by its path. Reinstalling is needed only where the command itself
    is damaged.

Sources
    PATH; the first lines of the commands; the target's own folder of commands.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Command, Environment, Interpreter, Machine, Startup
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import in_place
from envfix.rules._environments import activation, command, has, is_of_shell, own_command, startup_of
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    interpreter = environment.interpreter.value
    if interpreter is None:
        return
    on_path = command(machine, "yolo")
    own = own_command(environment, "yolo")
    installed = has(environment, "ultralytics")
    if on_path is not None and on_path.problem is not None:
        yield _dead(environment, on_path, own, Severity.ERROR if is_of_shell(interpreter) else Severity.WARNING)
    elif installed and own is not None and own.problem is not None:
        yield _dead(environment, own, own, Severity.WARNING)
    elif installed and on_path is None:
        yield _not_found(machine, environment, interpreter, own)


def _dead(environment: Environment, dead: Command, own: Command | None, severity: Severity) -> Finding:
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=f"The command `yolo` ({dead.path}) cannot start: {dead.problem}.",
        because=(
            Evidence(
                fact="machine.commands", value=f"{dead.path}: {dead.problem}", source=f"first line of {dead.real}"
            ),
        ),
        remedies=tuple(_revive(environment, dead, own)),
    )


def _revive(environment: Environment, dead: Command, own: Command | None) -> Iterator[Remedy]:
    version = next(
        (row.version for row in environment.distributions.value or () if row.name.lower() == "ultralytics"), None
    )
    if own is not None and own.problem is None and own.path != dead.path:
        yield Remedy(text="Call this Python's own `yolo` by its path.", commands=((own.path, "checks"),))
    elif version is not None:
        again = ("install", "--force-reinstall", "--no-deps", f"ultralytics=={version}")
        yield in_place(environment, "Write the command anew.", *again)
    else:
        yield Remedy(
            text="Make an environment with ultralytics anew; the one this command belonged to is gone.",
            commands=(("envfix", "install", "--new-env", "yolo-env"),),
        )
    if own is None or own.path != dead.path:
        yield Remedy(text="Put the dead command out of the way.", commands=(("mv", dead.path, f"{dead.path}.dead"),))


def _not_found(machine: Machine, environment: Environment, interpreter: Interpreter, own: Command | None) -> Finding:
    startup = startup_of(environment)
    where = own.path if own is not None else interpreter.scripts or "an unknown folder"
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        # Whoever named an environment that is not active knows that its commands are not found.
        severity=Severity.WARNING if is_of_shell(interpreter) else Severity.INFO,
        message=f"The package ultralytics is installed, but this shell does not find its command `yolo` ({where}).",
        because=(
            cite("machine.commands", machine.commands, "no `yolo` on PATH"),
            cite("environment.distributions", environment.distributions, f"ultralytics is in {interpreter.prefix}"),
        ),
        remedies=tuple(_to_command(startup, interpreter, own)),
    )


def _to_command(startup: Startup, interpreter: Interpreter, own: Command | None) -> Iterator[Remedy]:
    if own is not None:
        yield Remedy(text="Call it by its path.", commands=((own.path, "checks"),))
    else:
        code = "from ultralytics.cfg import entrypoint; entrypoint('checks')"
        yield Remedy(text="Call it through the interpreter.", commands=((interpreter.executable, "-c", code),))
    script = f"{interpreter.prefix}/bin/activate" if interpreter.kind == "venv" else None
    lines = activation(startup, interpreter.prefix, conda=interpreter.kind in ("conda", "base"), activate=script)
    if lines and not is_of_shell(interpreter):
        yield Remedy(text="Or activate the environment first.", commands=lines)


RULE = Rule(
    code="INT107",
    cause="cli_not_on_path",
    title="the command yolo is not found or cannot start",
    needs=("environment.interpreter", "environment.distributions", "machine.commands"),
    check=check,
    rank=25,
)
