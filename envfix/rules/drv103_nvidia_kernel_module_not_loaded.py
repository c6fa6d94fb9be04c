"""There is an NVIDIA card, but its kernel module is not running.

What it checks
    The PCI bus shows an NVIDIA controller (or nvidia-smi is installed), yet no loaded kernel module answers: nvidia-smi says it
    "couldn't communicate with the NVIDIA driver", NVML answers "Driver Not Loaded" (error 9), or there is no driver at all.
    Usual reasons: a new kernel without a rebuilt module, Secure Boot refusing an unsigned one, nouveau bound to the card,
    Blackwell cards with the proprietary instead of the open module, or a driver that was never installed.

Why it matters
    No torch build can reach the card until the module is loaded.

How to fix
    The administrator installs or rebuilds the driver for the running kernel, signs it where Secure Boot is on, and reboots.

Sources
    NVIDIA driver installation guide; NVML API reference (NVML_ERROR_DRIVER_NOT_LOADED).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

NVML_CODE = 9
SMI_EXIT = 9


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    if layers is None or layers.nvml == "works" or layers.kernel is not None:
        return
    cards = nvidia_displays(machine)
    refused = layers.nvml_code == NVML_CODE or layers.smi_exit == SMI_EXIT
    place = machine.platform.value
    if not refused and not (cards and machine.driver.is_absent and not (place and place.container)):
        return
    names = ", ".join(card.name or f"{card.vendor} [{card.vendor_id}:{card.device_id}]" for card in cards)
    if names:
        because = Evidence(fact="machine.displays", value=names, source=machine.displays.source)
    else:
        because = cite("machine.displays", machine.displays)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message="The NVIDIA driver is installed, but its kernel module is not loaded."
        if refused
        else "There is an NVIDIA card, but no NVIDIA driver is running.",
        because=(cite("machine.driver_layers", machine.driver_layers, layers.smi or layers.nvml_problem), because),
        remedies=(
            Remedy(
                text="Ask the administrator to install or rebuild the NVIDIA driver for the running kernel (signed, where"
                " Secure Boot is on) and to reboot. Nothing that pip or conda can install helps before.",
                safe=False,
            ),
        ),
    )


RULE = Rule(
    code="DRV103",
    cause="nvidia_kernel_module_not_loaded",
    title="The NVIDIA kernel module is not running",
    needs=("machine.driver_layers",),
    check=check,
    rank=11,
)
