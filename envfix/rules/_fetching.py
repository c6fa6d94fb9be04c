"""What several rules ask of package sources and network settings."""

from __future__ import annotations

from envfix.model.facts import Environment, Machine, NetworkSetting, PackageSource
from envfix.model.finding import Remedy
from envfix.model.language import say
from envfix.model.regex import regex

_VARIABLE = regex(r"environment variable (\w+)")


def torch_is_wanted(environment: Environment) -> bool:
    """Whether torch still has to be installed into the target."""
    return environment.torch.is_absent and environment.interpreter.value is not None


def holds(environment: Environment, name: str) -> bool:
    """Whether a distribution is installed in the target (names compared as pip does)."""
    return any(one.name.lower().replace("_", "-") == name for one in environment.distributions.value or ())


def is_of_uv(source: PackageSource) -> bool:
    """Whether uv reads this place, not pip."""
    return "UV_" in source.configured_in or source.configured_in.endswith(".toml")


def settings_of(
    machine: Machine, kind: str, *, tool: str | None = None, name: str | None = None
) -> list[NetworkSetting]:
    """Network settings of one kind, the strongest first."""
    network = machine.network.value
    return list(network.of(kind, tool, name)) if network else []


def variable_of(configured_in: str) -> str | None:
    """The variable that holds a setting; None for one in a file."""
    variable = _VARIABLE.search(configured_in)
    return variable[1] if variable else None


def take_back(configured_in: str, what: str) -> Remedy:
    """How to undo a setting: the variable to unset, or the file and line to delete."""
    variable = variable_of(configured_in)
    if variable:
        return Remedy(
            text=say("Unset {variable} (and take it out of your shell's start file).", variable=variable),
            commands=(("unset", variable),),
        )
    return Remedy(
        text=say("Delete or correct the line with {what} in {configured_in}.", what=what, configured_in=configured_in)
    )
