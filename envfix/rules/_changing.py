"""How packages of a target are changed: by pip where it is there, by uv, or by conda; with commands that exist here only."""

from __future__ import annotations

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Remedy
from envfix.model.language import say
from envfix.rules._environments import Commands, startup_of
from envfix.rules._family import installed


def pip(environment: Environment, *arguments: str) -> Commands:
    """The commands that change packages of the target in place; none where nothing here can, or it must not be changed."""
    interpreter = environment.interpreter.value
    if interpreter is None or is_of_others(interpreter):
        return ()
    python = interpreter.executable
    own = (python, "-m", "pip", *arguments)
    if not lacks_pip(environment):
        return (own,)
    if startup_of(environment).uv is not None:
        kept = tuple(word for word in arguments if word not in ("-y", "--yes"))
        kept = tuple("--reinstall" if word == "--force-reinstall" else word for word in kept)
        return (("uv", "pip", kept[0], "--python", python, *kept[1:]),)
    # Debian's own Python has the module and refuses it outside of virtual environments.
    if interpreter.ensurepip and interpreter.kind != "system":
        return ((python, "-m", "ensurepip", "--upgrade"), own)
    return ()


def in_place(environment: Environment, text: str, *arguments: str) -> Remedy:
    """A remedy in the target itself, or the sentence alone with why it cannot be done there."""
    commands, interpreter = pip(environment, *arguments), environment.interpreter.value
    if commands:
        return Remedy(text=text, commands=commands)
    if interpreter is not None and not is_of_others(interpreter):
        return Remedy(text=say("{text} This Python has no pip: do it in an environment of your own.", text=text))
    return Remedy(
        text=say("{text} This Python is not yours to change: do it in an environment of your own.", text=text)
    )


def is_of_others(interpreter: Interpreter) -> bool:
    """Whether this user must not change the packages of this Python."""
    # The mark lies in the standard library, which a virtual environment shares; pip heeds it outside of one only.
    return interpreter.writable is False or (interpreter.externally_managed and interpreter.kind != "venv")


def lacks_pip(environment: Environment) -> bool:
    """Whether there is no pip in the target: made by uv, or by a conda that brings none."""
    interpreter = environment.interpreter.value
    # A pasted report never lists pip, nor where the packages lie.
    asked = interpreter is not None and (interpreter.kind == "venv" or bool(interpreter.site_packages))
    return asked and environment.distributions.value is not None and "pip" not in installed(environment)


def conda(machine: Machine, environment: Environment, *arguments: str) -> Commands:
    """The conda command for the target's prefix; none where no conda is found."""
    interpreter, program = environment.interpreter.value, conda_program(machine, environment)
    if interpreter is None or program is None:
        return ()
    return ((program, arguments[0], "-p", interpreter.prefix, *arguments[1:]),)


def conda_program(machine: Machine, environment: Environment) -> str | None:
    """The full path of a conda that can be started here; None where none is found."""
    install, roots = machine.conda.value, startup_of(environment).conda_roots
    if install is not None and install.program is not None:
        return install.program
    return f"{roots[0]}/condabin/conda" if roots else None
