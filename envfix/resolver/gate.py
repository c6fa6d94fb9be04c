"""Whether cards and driver can be planned for at all: what is broken, missing or unknown stops a plan at once."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.language import later, look_up, say
from envfix.model.plan import Constraint, PlanTarget
from envfix.resolver import wording

_MISMATCH = "driver_library_version_mismatch"
_NOT_LOADED = "nvidia_kernel_module_not_loaded"
_PLEASE_LOAD = later("The NVIDIA kernel module is not loaded; please build it for the running kernel and load it.")
_OVERRIDE = later("name it yourself, if you know it: --driver 550.54.14 (or ENVFIX_DRIVER=550.54.14)")


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Why no plan can be made now, what helps, and the target as it would be afterwards (None: that cannot be told).

    ``asks`` says who acts: the driver wants a repair, or one must be installed, or the user must name it.
    """

    by: Constraint
    text: str
    ways_out: tuple[str, ...]
    afterwards: PlanTarget | None
    asks: Literal["repair", "install", "name"] = "repair"


def closed(target: PlanTarget) -> Closed | None:
    """What stands in the way of planning for this machine's cards; None when nothing does, or there is no card."""
    if target.driver_state == "broken":
        return _broken(target)
    unknown = [card.name for card in target.gpus if card.capability is None]
    if unknown:
        return _unknown_cards(unknown)
    if target.driver_state == "unknown" or (target.driver_state == "works" and target.gpus and target.driver is None):
        return _unknown_driver(target)
    if target.driver_state == "absent" and target.gpus:
        return _no_driver(target)
    if target.driver_state == "works" and not target.gpus and target.gpu_problem is not None:
        return _no_cards(target)
    return None


def _broken(target: PlanTarget) -> Closed:
    problem = target.gpu_problem or say("the NVIDIA driver does not answer")
    return Closed(
        by="driver",
        text=say("the NVIDIA driver is broken: {problem}", problem=problem),
        ways_out=_repairs(target),
        afterwards=_mended(target),
    )


def _repairs(target: PlanTarget) -> tuple[str, ...]:
    cause = target.gpu_problem_cause or ""
    if target.wsl:
        return (
            say("run `wsl --shutdown` in Windows and start again; if that does not help, update the driver of Windows"),
        )
    if cause == _NOT_LOADED:
        return (
            say("load the kernel module: `sudo modprobe nvidia`"),
            say('if that fails, ask the administrator: "{please_load}"', please_load=look_up(_PLEASE_LOAD)),
        )
    reboot = (
        say("reboot the machine: the driver was updated while the old one was still loaded")
        if cause == _MISMATCH or "mismatch" in (target.gpu_problem or "").lower()
        else say("reboot the machine; if that does not help, install the NVIDIA driver again")
    )
    detail = (target.gpu_problem or say("no detail")).rstrip(".")
    please = say("The NVIDIA driver does not answer ({detail}); please reboot this machine.", detail=detail)
    return (
        reboot,
        say('if you may not, ask the administrator: "{please}"', please=please),
    )


def _unknown_cards(names: list[str]) -> Closed:
    options = " ".join(f'--gpu "{name}:CAPABILITY"' for name in names)
    return Closed(
        by="sm",
        text=say(
            "what the {names} can execute (its compute capability) could not be told", names=wording.listed(names)
        ),
        ways_out=(say('name it ({options}); NVIDIA\'s list "CUDA GPUs" has it for every card', options=options),),
        afterwards=None,
    )


def _unknown_driver(target: PlanTarget) -> Closed:
    problem = f": {target.gpu_problem}" if target.gpu_problem else ""
    if target.driver is not None:
        return Closed(
            by="driver",
            text=say(
                "what the NVIDIA driver {driver} serves could not be read{problem}",
                driver=target.driver,
                problem=problem,
            ),
            ways_out=(say('if you know the cards, name them: --gpu "RTX 3090"'),),
            afterwards=_mended(target),
        )
    what = say("the NVIDIA driver") if target.gpus else say("the NVIDIA driver and which cards there are")
    return Closed(
        by="driver",
        text=say("{what} could not be read{problem}", what=what, problem=problem),
        ways_out=(look_up(_OVERRIDE), *(() if target.gpus else (say("if there is no NVIDIA card here: --gpu none"),))),
        afterwards=_unbounded(target),
        asks="name",
    )


def _no_driver(target: PlanTarget) -> Closed:
    return Closed(
        by="driver",
        text=say("there is no NVIDIA driver for the {cards}", cards=wording.cards(target.gpus)),
        ways_out=(),
        afterwards=_unbounded(target),
        asks="install",
    )


def _no_cards(target: PlanTarget) -> Closed:
    return Closed(
        by="driver",
        text=say(
            "the NVIDIA driver {driver} shows no card: {gpu_problem}",
            driver=target.driver or "",
            gpu_problem=target.gpu_problem,
        ).replace("  ", " "),
        ways_out=(
            say('name the card to plan for it: --gpu "RTX 3090"'),
            say("if there is no NVIDIA card here: --gpu none, or --cuda cpu"),
        ),
        afterwards=None,
    )


def _mended(target: PlanTarget) -> PlanTarget | None:
    """The target once its driver works again; None when driver or cards are not known."""
    if target.driver is None or not target.gpus or not all(card.capability for card in target.gpus):
        return None
    return msgspec.structs.replace(target, driver_state="works", gpu_problem=None, gpu_problem_cause=None)


def _unbounded(target: PlanTarget) -> PlanTarget | None:
    """The target as if the newest driver were installed; None when its cards are not known."""
    if not target.gpus:
        return None
    return msgspec.structs.replace(target, driver_state="works", driver=None, gpu_problem=None, gpu_problem_cause=None)
