"""A card is cut into MIG instances, of which a process can use one.

What you see
    "device >= 0 && device < num_gpus INTERNAL ASSERT FAILED", "No CUDA GPUs are available" beside lines such as
    "MIG 3g.20gb", "invalid literal for int() with base 10: 'MIG-...'"; torch counts one device however many
    instances there are.

Why
    MIG mode cuts an A100 or H100 into instances with serial ids of their own. One process uses one instance; they
    do not add up, and numbers do not name them reliably. With MIG on and no instance made, nothing can use the card
    at all.

How envfix knows
    NVML's list of instances and CUDA_VISIBLE_DEVICES; in a log the texts above beside traces of MIG. The assertion
    alone may also be an index that is not there.

How to mend
    Give each process one instance by its serial id. The administrator can make instances or switch MIG off.

What not to do
    Do not ask for device_ids=[0, 1] of one card: instances are not cards.

Sources
    NVIDIA MIG user guide (CUDA device enumeration); public reports on torch with MIG.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine, MigInstance
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import VISIBLE
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import DEVICE_ASSERT, NO_CUDA_GPUS, NO_MIG_DEVICES, NOT_AVAILABLE
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = machine.gpus.value or ()
    cut = [card for card in cards if card.mig]
    if not cut:
        return
    instances = [instance for card in cut for instance in card.mig_instances]
    named = [entry for entry in machine.variables.get(VISIBLE, "").split(",") if entry]
    # NVML of a container tells no instances of cards that it may not look into: only a card of one's own proves that none is there.
    if not instances and machine.platform.value is not None and machine.platform.value.container is None:
        yield _without_instances(machine, cut, alone=len(cut) == len(cards))
    elif len(named) == 1 or not instances:
        return
    else:
        yield _choose_one(machine, instances, named=len(named), cards=len(cards))


def _without_instances(machine: Machine, cut: list[Gpu], *, alone: bool) -> Finding:
    names = ", ".join(f"GPU {card.index}" for card in cut)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if alone else Severity.WARNING,
        message=say("{names}: MIG mode is on, but no instance was made, so no program can use the card.", names=names),
        because=(cite("machine.gpus", machine.gpus, say("{names}: MIG on, no instance is told", names=names)),),
        remedies=(
            Remedy(
                text=say("Ask the administrator to make an instance, or to switch MIG off (nvidia-smi -mig 0)."),
                safe=False,
            ),
        ),
    )


def _choose_one(machine: Machine, instances: list[MigInstance], *, named: int, cards: int) -> Finding:
    first = instances[0]
    risky = named > 1 or cards > 1
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if risky else Severity.INFO,
        message=say("A process uses one MIG instance only: ")
        + (
            say("of the {named} entries in {visible} the first counts.", named=named, visible=VISIBLE)
            if named > 1
            else say("{visible} should name it.", visible=VISIBLE)
        ),
        because=(
            cite("machine.gpus", machine.gpus, ", ".join(f"{one.name or 'MIG'} {one.uuid}" for one in instances)),
        ),
        remedies=(
            Remedy(
                text=say("Give each process one instance by its serial id."),
                commands=(("export", f"{VISIBLE}={first.uuid}"),),
            ),
        ),
    )


_MIG = (
    r"\bMIG \d{1,2}c?\.?\d?g\.\d{1,3}gb|\bMIG-(?:GPU-)?[0-9a-f]{8}|MIG devices?:"
    r"|CUDA_VISIBLE_DEVICES['\"]?\]?\s?[:=]\s?['\"]?MIG-|\bMIG [Mm]ode\b"
)


def _assert(hit: Hit, log: Log) -> float:
    """The check of an index fails with any wrong one; MIG in the log, or an index that exists, points to instances."""
    if log.found(_MIG):
        return 0.93
    numbers = re.search(r"device=(\d+), num_gpus=(\d+)", hit.after[:300])
    return 0.15 if numbers and int(numbers[1]) >= int(numbers[2]) > 0 else 0.45


LOG = LogSide(
    signatures=(
        Signature(pattern=DEVICE_ASSERT, weigh=_assert, looks_at=(_MIG,)),
        Signature(pattern=NO_CUDA_GPUS, confidence=0.75, beside=(_MIG,)),
        Signature(pattern=NO_CUDA_GPUS, confidence=0.9, beside=(NO_MIG_DEVICES,)),
        Signature(pattern=NOT_AVAILABLE, confidence=0.6, beside=(_MIG,)),
        Signature(pattern=r"invalid device ordinal", confidence=0.75, beside=(_MIG,)),
        Signature(pattern=r"invalid literal for int\(\) with base 10: [b'\"]{1,2}MIG-", confidence=0.92),
        Signature(
            pattern=r"specifies more device ids than the number of GPUs present|there are 1 visible CUDA devices",
            confidence=0.85,
            beside=(_MIG,),
        ),
        Signature(pattern=NO_MIG_DEVICES, confidence=0.7),
        Signature(
            pattern=r"MIG[-\s](?:enabled|mode)[^\n]{0,60}(?:not supported|no (?:compute|GPU) instance|cannot)",
            confidence=0.6,
        ),
        Signature(pattern=r"(?:torch\.cuda\.)?device_count\(\)\)?:? 1\b", confidence=0.7, beside=(_MIG,)),
    ),
    message=(
        later(
            "The card is cut into MIG instances: one process can use one of them, and"
            " CUDA_VISIBLE_DEVICES must name it by its serial id."
        )
    ),
    remedies=(
        Remedy(
            text=later("Take the serial id of one instance from the list and give it to the process."),
            commands=(("nvidia-smi", "-L"), ("export", f"{VISIBLE}=MIG-UUID")),
        ),
        Remedy(text=later("Or ask the administrator to make an instance, or to switch MIG off."), safe=False),
    ),
    tell_apart=Remedy(
        text=later("See whether the card is cut and which instances there are."), commands=(("nvidia-smi", "-L"),)
    ),
    explains=("invalid_device_ordinal", "cuda_visible_devices_hides_gpu", "no_nvidia_gpu", "cuda_does_not_start"),
)


RULE = Rule(
    code="GPU106",
    cause="mig_single_instance",
    title=later("A process uses one MIG instance only"),
    needs=("machine.gpus",),
    check=check,
    rank=19,
    log=LOG,
)
