"""Whether cards and driver can be planned for at all: what is broken, missing or unknown stops a plan at once."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.plan import Constraint, PlanTarget
from envfix.resolver import wording

_MISMATCH = "driver_library_version_mismatch"
_NOT_LOADED = "nvidia_kernel_module_not_loaded"
_PLEASE_LOAD = "The NVIDIA kernel module is not loaded; please build it for the running kernel and load it."
_OVERRIDE = "name it yourself, if you know it: --driver 550.54.14 (or ENVFIX_DRIVER=550.54.14)"


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
    problem = target.gpu_problem or "the NVIDIA driver does not answer"
    return Closed(
        by="driver",
        text=f"the NVIDIA driver is broken: {problem}",
        ways_out=_repairs(target),
        afterwards=_mended(target),
    )


def _repairs(target: PlanTarget) -> tuple[str, ...]:
    cause = target.gpu_problem_cause or ""
    if target.wsl:
        return ("run `wsl --shutdown` in Windows and start again; if that does not help, update the driver of Windows",)
    if cause == _NOT_LOADED:
        return (
            "load the kernel module: `sudo modprobe nvidia`",
            f'if that fails, ask the administrator: "{_PLEASE_LOAD}"',
        )
    reboot = (
        "reboot the machine: the driver was updated while the old one was still loaded"
        if cause == _MISMATCH or "mismatch" in (target.gpu_problem or "").lower()
        else "reboot the machine; if that does not help, install the NVIDIA driver again"
    )
    detail = (target.gpu_problem or "no detail").rstrip(".")
    please = f"The NVIDIA driver does not answer ({detail}); please reboot this machine."
    return (
        reboot,
        f'if you may not, ask the administrator: "{please}"',
    )


def _unknown_cards(names: list[str]) -> Closed:
    options = " ".join(f'--gpu "{name}:CAPABILITY"' for name in names)
    return Closed(
        by="sm",
        text=f"what the {wording.listed(names)} can execute (its compute capability) could not be told",
        ways_out=(f'name it ({options}); NVIDIA\'s list "CUDA GPUs" has it for every card',),
        afterwards=None,
    )


def _unknown_driver(target: PlanTarget) -> Closed:
    problem = f": {target.gpu_problem}" if target.gpu_problem else ""
    if target.driver is not None:
        return Closed(
            by="driver",
            text=f"what the NVIDIA driver {target.driver} serves could not be read{problem}",
            ways_out=('if you know the cards, name them: --gpu "RTX 3090"',),
            afterwards=_mended(target),
        )
    what = "the NVIDIA driver" if target.gpus else "the NVIDIA driver and which cards there are"
    return Closed(
        by="driver",
        text=f"{what} could not be read{problem}",
        ways_out=(_OVERRIDE, *(() if target.gpus else ("if there is no NVIDIA card here: --gpu none",))),
        afterwards=_unbounded(target),
        asks="name",
    )


def _no_driver(target: PlanTarget) -> Closed:
    return Closed(
        by="driver",
        text=f"there is no NVIDIA driver for the {wording.cards(target.gpus)}",
        ways_out=(),
        afterwards=_unbounded(target),
        asks="install",
    )


def _no_cards(target: PlanTarget) -> Closed:
    return Closed(
        by="driver",
        text=f"the NVIDIA driver {target.driver or ''} shows no card: {target.gpu_problem}".replace("  ", " "),
        ways_out=(
            'name the card to plan for it: --gpu "RTX 3090"',
            "if there is no NVIDIA card here: --gpu none, or --cuda cpu",
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
