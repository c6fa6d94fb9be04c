"""There is an NVIDIA card, but its kernel module is not running.

What you see
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver", "nvml error: driver not loaded"
    when a container is started, "could not insert 'nvidia': Key was rejected by service", or nvidia-smi's "No
    devices were found".

Why
    A new kernel without a rebuilt module, Secure Boot refusing an unsigned one, nouveau bound to the card,
    Blackwell cards with the proprietary instead of the open module, or a driver that was never installed. No torch
    build can reach the card until the module is loaded.

How envfix knows
    The PCI bus shows an NVIDIA controller (or nvidia-smi is installed), yet no loaded kernel module answers: exit
    status 9 of nvidia-smi, NVML's error 9, or no driver at all. "No devices were found" may also be a card that is
    broken.

How to mend
    The administrator installs or rebuilds the driver for the running kernel, signs it where Secure Boot is on, and
    reboots.

What not to do
    Do not reinstall torch or the CUDA toolkit: neither contains the module.

Sources
    NVIDIA driver installation guide; NVML API reference (NVML_ERROR_DRIVER_NOT_LOADED).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Display, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, look_up, say
from envfix.model.log import Signature
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import container
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import (
    CLI_NO_LIBRARY,
    NO_CUDA_GPUS,
    NO_DEVICES_FOUND,
    NO_DRIVER,
    NO_MIG_DEVICES,
    NO_NVIDIA_SMI,
)
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

NVML_CODE = 9
SMI_EXIT = 9
CARD_WITHOUT_DRIVER = later("There is an NVIDIA card, but no NVIDIA driver is running")
NOTHING_ELSE = later("Nothing that pip or conda can install helps before.")
REBUILD = later(
    "Ask the administrator to install or rebuild the NVIDIA driver for the running kernel"
    " (signed, where Secure Boot is on) and to reboot."
)
NEW_KERNEL = later(
    "Ask the administrator to rebuild the driver for the running kernel (its headers, dkms), or to boot the older one."
)
SIGN = later(
    "Ask the administrator to sign the module and enrol its key (mokutil), or to switch Secure Boot off, and to reboot."
)
OPEN_MODULE = later(
    "Ask the administrator for the driver with the open kernel modules (its name ends in -open), and to reboot."
)
LOOK = later(
    "Ask the administrator what the driver says in the kernel log (lines with NVRM), and to turn"
    " the machine off and on again."
)
# Other drivers that may hold the card: why, and what to ask for.
HOLDERS = {
    "nouveau": (
        later("the free driver nouveau holds the card"),
        later("Ask the administrator to install the NVIDIA driver, which keeps nouveau from loading, and to reboot."),
    ),
    "vfio-pci": (
        later("the card is set aside for a virtual machine (vfio-pci)"),
        later("Use the card in that virtual machine, or ask the administrator to give it back to the host."),
    ),
}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment
    layers = machine.driver_layers.value
    if layers is None:
        return
    if layers.nvml == "works":
        yield from _cards_not_started(machine, tables)
        return
    cards = nvidia_displays(machine)
    refused = layers.nvml_code == NVML_CODE or layers.smi_exit == SMI_EXIT
    if layers.kernel is not None or not (refused or (cards and machine.driver.is_absent and not container(machine))):
        return
    reason = _reason(machine)
    what = (
        say("The NVIDIA driver is installed, but its kernel module is not loaded")
        if refused
        else look_up(CARD_WITHOUT_DRIVER)
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("{what}: {why}.", what=what, why=reason.why) if reason else say("{what}.", what=what),
        because=(
            cite("machine.driver_layers", machine.driver_layers, layers.smi or layers.nvml_problem),
            cite("machine.displays", machine.displays, ", ".join(map(_named, cards)) or None),
            *((reason.evidence,) if reason else ()),
        ),
        remedies=(Remedy(text=f"{look_up(reason.advice if reason else REBUILD)} {look_up(NOTHING_ELSE)}", safe=False),),
    )


class Reason(NamedTuple):
    """Why no module is loaded, as far as it can be seen."""

    why: str
    advice: str
    evidence: Evidence


def _reason(machine: Machine) -> Reason | None:
    """The first reason that facts show: another driver holds the card, no module for this kernel, Secure Boot."""
    for card in nvidia_displays(machine):
        if card.driver in HOLDERS:
            why, advice = map(look_up, HOLDERS[card.driver])
            return Reason(
                why,
                advice,
                cite(
                    "machine.displays",
                    machine.displays,
                    say("{bus} is held by {driver}", bus=card.bus, driver=card.driver),
                ),
            )
    state = machine.device_state.value
    if state is None:
        return None
    if state.other_kernels and not state.module_files:
        kernel = machine.platform.value.kernel if machine.platform.value else None
        why = say("there is none for the running kernel {kernel}", kernel=kernel or "").rstrip()
        value = say("modules for {other_kernels} only", other_kernels=", ".join(state.other_kernels))
        return Reason(why, NEW_KERNEL, cite("machine.device_state", machine.device_state, value))
    if state.module_files and state.secure_boot:
        value = say("{module_files} is there, Secure Boot is on", module_files=state.module_files[0])
        return Reason(
            say("Secure Boot probably refuses it"), SIGN, cite("machine.device_state", machine.device_state, value)
        )
    return None


def _cards_not_started(machine: Machine, tables: Tables) -> Iterator[Finding]:
    """The module runs and holds a card that NVML does not list: it could not start it."""
    cards = [card for card in nvidia_displays(machine) if card.driver == "nvidia"]
    scheduler = machine.scheduler.value
    if not machine.gpus.is_absent or not cards or container(machine) or (scheduler and scheduler.job):
        return
    driver = machine.driver.value
    closed = driver is not None and driver.module == "proprietary"
    for_open_only = closed and any(_needs_open_module(card, tables) for card in cards)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("The loaded NVIDIA module is the proprietary one, but this card works only with the open one.")
        if for_open_only
        else say("The NVIDIA module is loaded, but it could not start the card."),
        because=(
            cite("machine.gpus", machine.gpus),
            cite("machine.displays", machine.displays, ", ".join(map(_named, cards))),
        ),
        remedies=(Remedy(text=OPEN_MODULE if for_open_only else LOOK, safe=False),),
    )


def _needs_open_module(card: Display, tables: Tables) -> bool:
    """By the product name in brackets: ``NVIDIA Corporation GB202 [GeForce RTX 5090]``."""
    match = re.search(r"\[([^\]]+)\]", card.name or "")
    names = match[1].split(" / ") if match else []
    return any(tables.drivers.open_module_needed(cc) for name in names for cc in tables.gpus.capability_of(name))


def _named(card: Display) -> str:
    return card.name or f"{card.vendor} [{card.vendor_id}:{card.device_id}]"


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?:NVIDIA-SMI has failed because it )?could(?:n't| not) communicate with the NVIDIA driver",
            confidence=0.92,
        ),
        Signature(pattern=r"(?:Failed to initialize NVML: |nvml error: )?(?i:driver not loaded)", confidence=0.9),
        Signature(pattern=r"nvml error: driver not loaded", confidence=0.9, quoted=True),
        Signature(pattern=r"NVMLError_DriverNotLoaded", confidence=0.9),
        Signature(
            pattern=r"NVIDIA Corporation[^\n]{0,120}\n(?:[^\n]{0,120}\n){0,8}\s*Kernel driver in use: nouveau",
            confidence=0.9,
        ),
        Signature(pattern=r"NVIDIA probe routine was not called|nouveau, rivafb, nvidiafb", confidence=0.95),
        Signature(
            pattern=r"(?:(?:could not )?insert (?:module )?'?nvidia[\w-]*'?"
            r"|nvidia[\w-]*(?:\.ko)?'?): (?:Key was rejected by service"
            r"|Required key not available|No such device"
            r"|Exec format error|Operation not permitted|Invalid argument|Unknown symbol|Invalid module format)",
            confidence=0.95,
        ),
        Signature(pattern=r"Module nvidia(?:[_-](?:drm|modeset|current))?(?:/[\d.]+)? not found", confidence=0.92),
        Signature(pattern=r"Unable to (?:load|find) the (?:kernel module )?'?nvidia[\w-]*(?:\.ko)?'?", confidence=0.92),
        Signature(
            pattern=r"NVIDIA kernel module (?:was not created|'nvidia' appears)|Nouveau kernel driver is currently in use",
            confidence=0.9,
        ),
        Signature(
            pattern=r"Bad return status for module build on kernel: [^\n]{0,80}|Error! [^\n]{0,60}nvidia[^\n]{0,80}(?:dkms"
            r"|kernel)",
            confidence=0.75,
        ),
        # The card works with the open modules only, or with none of this release.
        Signature(
            pattern=r"installed in this system requires use of the NVIDIA open"
            r"|requires use of the NVIDIA open kernel modules|not supported by open nvidia\.ko"
            r"|installed in this system is not supported by open"
            r"|installed in this system is not supported by the"
            r"|installed in this vGPU guest is not supported",
            confidence=0.92,
        ),
        Signature(
            pattern=r"kernel driver does not appear to be running on this host",
            weigh=by_place(0.5, container=0.2),
            looks_at=LOOKS_AT,
        ),
        Signature(pattern=NO_DEVICES_FOUND, confidence=0.5, unless=(NO_MIG_DEVICES,)),
        Signature(pattern=CLI_NO_LIBRARY, confidence=0.6, quoted=True),
        Signature(
            pattern=r"nvidia-container-cli: initialization error: driver (?:rpc )?error: "
            r"|WSL environment detected but no adapters were found",
            confidence=0.6,
            quoted=True,
        ),
        Signature(pattern=r"Could not find any nv files on this host", confidence=0.5),
        Signature(
            pattern=NO_DRIVER,
            weigh=by_place(0.25, answers=None, wsl=0.25, container=0.12, mac=0.03, other=0.05, colab=0.1),
            looks_at=LOOKS_AT,
        ),
        Signature(
            pattern=NO_CUDA_GPUS,
            weigh=by_place(0.12, answers=None, container=None, colab=None, mac=None),
            looks_at=LOOKS_AT,
        ),
        Signature(pattern=NO_NVIDIA_SMI, weigh=by_place(0.2, container=None, colab=None, mac=None), looks_at=LOOKS_AT),
    ),
    message=later(
        "The kernel module of the NVIDIA driver does not run (or could not start the card), so"
        " that no program reaches the GPU."
    ),
    remedies=(
        Remedy(
            text=later(
                "Ask the administrator to install or rebuild the NVIDIA driver for the running kernel (signed, where"
                " Secure Boot is on) and to reboot. Nothing that pip or conda can install helps before."
            ),
            safe=False,
        ),
        Remedy(
            text=later(
                "For RTX 50 cards and newer: ask the administrator for the driver with the open kernel modules (its name"
                " ends in -open), and to reboot."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See which driver holds the card, and whether the module is loaded."),
        commands=(("lspci", "-nnk", "-d", "10de:"), ("cat", "/proc/driver/nvidia/version")),
    ),
    explains=("no_nvidia_gpu", "cuda_does_not_start", "cuda_unknown_error_uvm", "container_without_gpu"),
)


RULE = Rule(
    code="DRV103",
    cause="nvidia_kernel_module_not_loaded",
    title=later("The NVIDIA kernel module is not running"),
    needs=("machine.driver_layers",),
    check=check,
    rank=11,
    log=LOG,
)
