"""A virtual GPU has no licence.

What you see
    "all CUDA-capable devices are busy or unavailable" on a card such as GRID T4-8Q or A10-24Q; "License Status :
    Unlicensed" in ``nvidia-smi -q``.

Why
    The card is a slice of a host's card (vGPU). nvidia-smi shows it; without a licence computing is slowed down and
    then refused.

How envfix knows
    NVML says that the licence is supported and not acquired; in a log the words above beside the name of such a
    card or the state of its licence.

How to mend
    The provider of the virtual machine restores the licence.

What not to do
    Do not install a driver from NVIDIA's public site: it is the wrong one for a vGPU.

Sources
    NVIDIA virtual GPU licensing guide; NVML API reference (nvmlGridLicensableFeatures_t).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.words import counted
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import BUSY, VIRTUAL_CARD
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = machine.gpus.value or ()
    without = [card for card in cards if card.virtualization == "vgpu" and card.licensed is False]
    if not without:
        return
    names = counted(card.name for card in without)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("The virtual GPU {names} has no licence: computing on it is slowed down or refused.", names=names),
        because=(cite("machine.gpus", machine.gpus, say("{names}: virtual, licence not acquired", names=names)),),
        remedies=(
            Remedy(
                text=say(
                    "Ask the provider of this virtual machine to restore the vGPU licence"
                    " (`nvidia-smi -q` shows its state)."
                ),
                commands=(("nvidia-smi", "-q"),),
            ),
        ),
    )


_UNLICENSED = (
    r"Unlicensed(?: \((?:Unrestricted|Restricted)\))?(?:\s|$)|(?i:vGPU is unlicensed"
    r"|failed to acquire (?:a )?licen[sc]e)|License (?:Status|state) : Unlicensed"
)

LOG = LogSide(
    signatures=(
        Signature(pattern=BUSY, confidence=0.9, beside=(_UNLICENSED,)),
        Signature(pattern=BUSY, confidence=0.75, beside=(VIRTUAL_CARD,)),
        Signature(pattern=BUSY, confidence=0.2, unless=(VIRTUAL_CARD,)),
        Signature(
            pattern=r"License (?:Status|state) : Unlicensed(?: \((?:Unrestricted|Restricted)\))?", confidence=0.8
        ),
        Signature(
            pattern=r"nvidia-gridd[^\n]{0,80}(?i:failed to acquire|unlicensed|license expired|no license|invalid response)",
            confidence=0.9,
        ),
        Signature(
            pattern=(
                r"operation not supported(?: \(?cudaErrorNotSupported|[\s.]|$)|cudaErrorNotSupported"
                r"|CUDA_ERROR_NOT_SUPPORTED"
            ),
            confidence=0.35,
            beside=(VIRTUAL_CARD,),
        ),
    ),
    message=(
        later(
            "The virtual GPU of this machine has no licence: computing on it is slowed down or"
            " refused although nvidia-smi shows it."
        )
    ),
    remedies=(
        Remedy(
            text=(
                later(
                    "Ask the provider of this virtual machine to restore the vGPU licence; a"
                    " driver from the public site is the wrong one for it."
                )
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(text=later("See the state of the licence."), commands=(("nvidia-smi", "-q"),)),
    explains=("compute_mode_exclusive", "cuda_does_not_start"),
)


RULE = Rule(
    code="GPU105",
    cause="vgpu_unlicensed",
    title=later("The virtual GPU has no licence"),
    needs=("machine.gpus",),
    check=check,
    rank=17,
    explains=("cuda_does_not_start",),
    log=LOG,
)
