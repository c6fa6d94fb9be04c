"""ultralytics is installed, but the command ``yolo`` is not found or cannot start.

What you see
    "yolo: command not found", "'yolo' is not recognized as an internal or external command", "The term 'yolo' is not recognized as
    the name of a cmdlet", "bad interpreter: No such file or directory", though everything is installed.

Why
    pip puts commands into a folder of the Python that it belongs to (``~/.local/bin``, ``Scripts``, an environment's ``bin``). A
    shell looks only into the folders of PATH, and a command names its Python by its path, which a moved environment changes.

How envfix knows
    The target has ultralytics, and no ``yolo`` is on PATH; or the ``yolo`` that is found names in its first line a
    Python that does not exist (any more), as after an environment was moved, renamed or deleted. In a log: what shells say of a
    command that they do not know, in several languages.

How to mend
    Activate the environment, or call its ``yolo`` by its path, or through the interpreter.

What not to do
    Reinstalling is needed only where the command itself is damaged. The command is no privilege of Python programs: it works in
    every shell that finds it.

Sources
    PATH; the first lines of the commands; the target's own folder of commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Command, Environment, Interpreter, Machine, Startup
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, retold, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import in_place
from envfix.rules._environments import NEW_ENV, activation, command, has, is_of_shell, own_command, startup_of
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_patterns import not_found
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
        message=say(
            "The command `yolo` ({path}) cannot start: {problem}.", path=dead.path, problem=retold(dead.problem or "")
        ),
        because=(
            Evidence(
                fact="machine.commands",
                value=f"{dead.path}: {retold(dead.problem or '')}",
                source=say("first line of {real}", real=dead.real),
            ),
        ),
        remedies=tuple(_revive(environment, dead, own)),
    )


def _revive(environment: Environment, dead: Command, own: Command | None) -> Iterator[Remedy]:
    version = next(
        (row.version for row in environment.distributions.value or () if row.name.lower() == "ultralytics"), None
    )
    if own is not None and own.problem is None and own.path != dead.path:
        yield Remedy(text=say("Call this Python's own `yolo` by its path."), commands=((own.path, "checks"),))
    elif version is not None:
        again = ("install", "--force-reinstall", "--no-deps", f"ultralytics=={version}")
        yield in_place(environment, say("Write the command anew."), *again)
    else:
        yield Remedy(
            text=say("Make an environment with ultralytics anew; the one this command belonged to is gone."),
            commands=(NEW_ENV,),
        )
    if own is None or own.path != dead.path:
        yield Remedy(
            text=say("Put the dead command out of the way."), commands=(("mv", dead.path, f"{dead.path}.dead"),)
        )


def _not_found(machine: Machine, environment: Environment, interpreter: Interpreter, own: Command | None) -> Finding:
    startup = startup_of(environment)
    where = own.path if own is not None else interpreter.scripts or say("an unknown folder")
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        # Whoever named an environment that is not active knows that its commands are not found.
        severity=Severity.WARNING if is_of_shell(interpreter) else Severity.INFO,
        message=say(
            "The package ultralytics is installed, but this shell does not find its command `yolo` ({where}).",
            where=where,
        ),
        because=(
            cite("machine.commands", machine.commands, say("no `yolo` on PATH")),
            cite(
                "environment.distributions",
                environment.distributions,
                say("ultralytics is in {prefix}", prefix=interpreter.prefix),
            ),
        ),
        remedies=tuple(_to_command(startup, interpreter, own)),
    )


def _to_command(startup: Startup, interpreter: Interpreter, own: Command | None) -> Iterator[Remedy]:
    if own is not None:
        yield Remedy(text=say("Call it by its path."), commands=((own.path, "checks"),))
    else:
        code = "from ultralytics.cfg import entrypoint; entrypoint()"
        yield Remedy(
            text=say("Call it through the interpreter, with the words that you give to yolo."),
            commands=((interpreter.executable, "-c", code, "checks"),),
        )
    script = f"{interpreter.prefix}/bin/activate" if interpreter.kind == "venv" else None
    lines = activation(startup, interpreter.prefix, conda=interpreter.kind in ("conda", "base"), activate=script)
    if lines and not is_of_shell(interpreter):
        yield Remedy(text=say("Or activate the environment first."), commands=lines)


# --- in a log ---

_TOOLS = "pip3?|torchrun|accelerate|tensorboard|jupyter|jupyter-lab|mim|labelImg|labelme|deepspeed|huggingface-cli|wandb|ipython"
YOLO = not_found("yolo|ultralytics|yolov5")
TOOL = not_found(_TOOLS)
NOT_INSTALLED = r"No matching distribution found for ultralytics|No module named '?ultralytics"


def _weigh_yolo(hit: Hit, log: Log) -> float | None:
    """Sure, unless the log says that the package is not there at all."""
    del hit
    return 0.5 if log.found(NOT_INSTALLED) else 0.94


def _log_remedies(reading: Reading) -> tuple[Remedy, ...]:
    """Through the Python that has the command, whichever command it is."""
    tool = re.search(rf"\b({_TOOLS})\b", reading.hits[0].text) if reading.hits[0].pattern == TOOL else None
    if tool and tool[1].startswith("pip"):
        call: tuple[str, ...] = ("python", "-m", "pip", "--version")
    elif tool:
        call = ("python", "-m", "pip", "show", "--files", tool[1])
    else:
        call = ("python", "-c", "from ultralytics.cfg import entrypoint; entrypoint()", "checks")
    return (
        Remedy(
            text=say("Activate the environment in which it was installed; its commands are found then."),
            commands=(("conda", "activate", "ENV"),),
        ),
        Remedy(
            text=say("Or go through the Python that has it, which needs no PATH, with the words that you give to it."),
            commands=(call,),
        ),
        Remedy(
            text=say("Or add pip's folder of commands to PATH: `bin` below this folder (`Scripts` on Windows)."),
            commands=(("python", "-m", "site", "--user-base"),),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=YOLO, weigh=_weigh_yolo, looks_at=(NOT_INSTALLED,)),
        Signature(pattern=TOOL, confidence=0.8),
        Signature(
            pattern=r"[^\s:]{0,160}[/\\](?P<command>yolo|pip3?|ultralytics|torchrun)[\w.]{0,6}: [^\n]{0,200}bad interpreter",
            confidence=0.93,
        ),
        Signature(
            pattern=r"Fatal error in launcher: Unable to create process using|failed to create process\."
            r"|Unable to create process using '",
            confidence=0.85,
        ),
        Signature(
            pattern=r"The scripts? [^\n]{0,200}(?:yolo|ultralytics)\b[^\n]{0,60} (?:is|are) installed in"
            r" '(?P<folder>[^'\n]{1,200})' which is not on PATH",
            confidence=0.6,
        ),
        Signature(
            pattern=r"The scripts? [^\n]{1,200} (?:is|are) installed in '(?P<folder>[^'\n]{1,200})' which is not on PATH",
            confidence=0.45,
            unless=(r"Successfully installed ",),
        ),
        Signature(
            pattern=r"No module named '?ultralytics\.__main__|'ultralytics' is a package and cannot be directly executed",
            confidence=0.75,
        ),
    ),
    message=(
        later("pip put the command into {folder}, which is not among the folders that the shell looks into (PATH)."),
        later(
            "The command is not found by this shell, or its Python is gone; the package itself may well be installed."
        ),
    ),
    remedies=_log_remedies,
    tell_apart=Remedy(
        text=later("See whether the package is in the Python that you use, and where its commands go."),
        commands=(
            ("python", "-m", "pip", "show", "ultralytics"),
            ("python", "-c", "import sysconfig; print(sysconfig.get_path('scripts'))"),
        ),
    ),
)

RULE = Rule(
    code="INT107",
    cause="cli_not_on_path",
    title=later("the command yolo is not found or cannot start"),
    needs=("environment.interpreter", "environment.distributions", "machine.commands"),
    check=check,
    rank=25,
    log=LOG,
)
