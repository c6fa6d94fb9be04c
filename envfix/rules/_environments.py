"""What several rules ask of an environment: how it is activated in this shell, and how it is called."""

from __future__ import annotations

import os.path
import re

from envfix.model.facts import Command, Environment, Interpreter, Machine, Startup
from envfix.model.finding import Evidence, Remedy
from envfix.model.language import later, say

Commands = tuple[tuple[str, ...], ...]
# The command that mends most things, as it is shown.
NEW_ENV = ("envfix", "install", "--new-env", "yolo-env")
IN_NEW_ENVIRONMENT = Remedy(
    text=later("Let envfix choose and install a stack that runs here, in an environment of its own."),
    commands=(NEW_ENV,),
)
_FROM_SHELL = ("python on PATH", "python3 on PATH")


def startup_of(environment: Environment) -> Startup:
    """What decides which Python runs; an empty record where it is not known, so that nothing follows from it."""
    return environment.startup.value or Startup()


def is_of_shell(interpreter: Interpreter) -> bool:
    """Whether the target is what ``python`` means in the user's shell, and was not named by the user."""
    return interpreter.asked in _FROM_SHELL


def command(machine: Machine, *names: str) -> Command | None:
    """The first of these commands that is on PATH."""
    known = {one.name: one for one in machine.commands.value or ()}
    return next((known[name] for name in names if name in known), None)


def has(environment: Environment, name: str) -> bool:
    """Whether a distribution of this name is installed."""
    return any(item.name.lower() == name for item in environment.distributions.value or ())


def has_own(environment: Environment, name: str) -> bool:
    """The same in the target's own site-packages: one that shines through from another Python brings no command here."""
    interpreter = environment.interpreter.value
    own = interpreter.site_packages if interpreter is not None else ()
    return any(item.name.lower() == name and item.location in own for item in environment.distributions.value or ())


def own_command(environment: Environment, name: str) -> Command | None:
    """A command that a package of the target brought: one in a folder that several Pythons share may be another's."""
    interpreter = environment.interpreter.value
    rows = [one for one in startup_of(environment).own_commands if one.name == name]
    return next((one for one in rows if interpreter is not None and _is_own(one, interpreter, environment)), None)


def _is_own(one: Command, interpreter: Interpreter, environment: Environment) -> bool:
    home = startup_of(environment).home
    if one.prefix is not None and home is not None and one.prefix != home:
        return False
    # /usr/bin/python3.11 and /usr/bin/python3.8 lie in one prefix.
    named = re.search(r"python(3\.\d+)", os.path.basename(one.interpreter or ""))
    if named is not None:
        return named[1].split(".") == interpreter.version.split(".")[:2]
    beside = {os.path.dirname(interpreter.executable), interpreter.scripts}
    return one.prefix is not None or os.path.dirname(one.path) in beside


def conda_name(prefix: str) -> str:
    """What ``conda activate`` takes: the name of an environment among others, else its folder."""
    return os.path.basename(prefix) if os.path.basename(os.path.dirname(prefix)) == "envs" else prefix


def activation(startup: Startup, prefix: str, *, conda: bool, activate: str | None) -> Commands:
    """The commands that activate an environment in the user's shell; nothing where none is known to work."""
    if activate is not None:
        return (_activate(activate, startup.shell),)
    if not conda:
        return ()
    lines: list[tuple[str, ...]] = []
    if "CONDA_SHLVL" not in startup.variables:
        if not startup.conda_roots:
            return ()
        lines.append((_source(startup.shell), f"{startup.conda_roots[0]}/etc/profile.d/conda.sh"))
    elif startup.variables.get("CONDA_PREFIX") == prefix:
        lines.append(("conda", "deactivate"))
    return (*lines, ("conda", "activate", conda_name(prefix)))


def _source(shell: str | None) -> str:
    return "." if shell in ("sh", "dash", "ash") else "source"


def _activate(script: str, shell: str | None) -> tuple[str, ...]:
    if script.endswith(".bat"):
        return (script,)
    ending = {"fish": ".fish", "csh": ".csh", "tcsh": ".csh"}.get(shell or "", "")
    return (_source(shell), script + ending)


def variable(name: str, value: str) -> Evidence:
    """A variable of the user's shell as evidence."""
    return Evidence(fact="environment.startup", value=f"{name}={value}", source=say("environment variable"))


def about_commands(machine: Machine, startup: Startup, names: tuple[str, ...]) -> tuple[Evidence, ...]:
    """Which of these commands belong to another Python than the target."""
    return tuple(
        Evidence(
            fact="machine.commands",
            value=say("`{one}` is {path} and belongs to {prefix}", one=one.name, path=one.path, prefix=one.prefix),
            source=machine.commands.source,
        )
        for one in machine.commands.value or ()
        if one.name in names and is_foreign(one, startup)
    )


def is_foreign(one: Command, startup: Startup) -> bool:
    """Whether a command that works is known to belong to another Python than the target."""
    return one.problem is None and one.prefix is not None and startup.home is not None and one.prefix != startup.home
