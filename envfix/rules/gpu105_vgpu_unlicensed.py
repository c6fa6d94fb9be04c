"""A virtual GPU has no licence.

What it checks
    The card is a slice of a host's card (vGPU), and NVML says that its licence is supported and not acquired.

Why it matters
    nvidia-smi shows the card. Without a licence computing is slowed down and then refused: "all CUDA-capable devices are busy
    or unavailable".

How to fix
    The provider of the virtual machine restores the licence. A driver from NVIDIA's public site is the wrong one for a vGPU.

Sources
    NVIDIA virtual GPU licensing guide; NVML API reference (nvmlGridLicensableFeatures_t).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = machine.gpus.value or ()
    without = [card for card in cards if card.virtualization == "vgpu" and card.licensed is False]
    if not without:
        return
    names = ", ".join(card.name for card in without)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The virtual GPU {names} has no licence: computing on it is slowed down or refused.",
        because=(cite("machine.gpus", machine.gpus, f"{names}: virtual, licence not acquired"),),
        remedies=(
            Remedy(
                text="Ask the provider of this virtual machine to restore the vGPU licence (`nvidia-smi -q` shows its state).",
                commands=(("nvidia-smi", "-q"),),
            ),
        ),
    )


RULE = Rule(
    code="GPU105",
    cause="vgpu_unlicensed",
    title="The virtual GPU has no licence",
    needs=("machine.gpus",),
    check=check,
    rank=17,
    explains=("cuda_does_not_start",),
)
