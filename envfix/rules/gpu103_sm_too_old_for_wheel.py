"""The card is older than anything this torch was built for.

What you see
    "PyTorch no longer supports this GPU because it is too old", "with CUDA capability sm_61 is not compatible with
    the current PyTorch installation", then "no kernel image is available" at the first computation.

Why
    Each torch release drops old GPU generations from its wheels. A card whose generation is not in the list of
    machine code inside the library has nothing to run.

How envfix knows
    The card's number against the list inside the installed library, in a log against the list that torch prints.
    "no kernel image" alone is judged by the cards that the log names.

How to mend
    The last wheel that still has the generation: for GTX 10 and V100 cards that is usually the cu126 or cu118
    variant of a recent torch; else the processor.

What not to do
    Do not update to the newest torch or CUDA: that is the wrong direction.

Sources
    The list inside the installed library; release notes of PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.language import later
from envfix.model.log import Hit, Log, Signature
from envfix.rules._cards import unfit_cards
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._log_context import (
    FIRST_NEW_MAJOR,
    KERNELS,
    NEW_CARD,
    OLD_CARD,
    RANGE,
    UNFIT,
    by_card,
    of_kernel,
    of_range,
    of_unfit,
)
from envfix.rules._log_patterns import NO_BINARY, NO_KERNEL_IMAGE, ON_JETSON
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    return unfit_cards(RULE, machine, environment, tables, newer=False)


def _unfit(hit: Hit, log: Log) -> float | None:
    del log
    return of_unfit(hit).older


def _range(hit: Hit, log: Log) -> float | None:
    del log
    return of_range(hit).older


def _kernel(hit: Hit, log: Log) -> float | None:
    return None if log.found(ON_JETSON) else of_kernel(hit, log).older


def _kernels(hit: Hit, log: Log) -> float:
    """What torch 2.13 says: it has no code for the card."""
    del log
    return 0.9 if int(hit.groups["major"]) < FIRST_NEW_MAJOR else 0.1


def _half(hit: Hit, log: Log) -> float | None:
    older = of_kernel(hit, log).older
    return older * 0.8 if older else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Support for [^\n]{3,60} architectures? is removed for CUDA \d+\.\d\+? builds", confidence=0.95
        ),
        Signature(pattern=r"PyTorch no longer supports this GPU because it is too old", confidence=0.97),
        Signature(
            pattern=r"(?:The )?minimum cuda capability (?:supported by this library|that we support) is (?P<least>\d\.\d)",
            confidence=0.95,
        ),
        Signature(pattern=UNFIT, weigh=_unfit),
        Signature(pattern=RANGE, weigh=_range),
        Signature(pattern=KERNELS, weigh=_kernels),
        Signature(pattern=r"which is too old to be supported by the [Tt]riton", confidence=0.85),
        Signature(
            pattern=(
                r"with Cuda compute capability (?P<major>\d)\.(?P<minor>\d)\. The minimum required Cuda capability is "
                r"(?P<least>\d\.\d)"
            ),
            confidence=0.93,
        ),
        Signature(pattern=NO_KERNEL_IMAGE, weigh=_kernel, looks_at=(NEW_CARD, OLD_CARD, ON_JETSON)),
        Signature(pattern=NO_BINARY, weigh=_half, looks_at=(NEW_CARD, OLD_CARD)),
        Signature(pattern=r"CUBLAS_STATUS_ARCH_MISMATCH|CUDNN_STATUS_ARCH_MISMATCH", confidence=0.45),
    ),
    message=(
        later("The card (compute capability {major}.{minor}) is older than anything this torch was built for."),
        later("The card (sm_{sm}) is older than anything this torch was built for: newer builds have dropped it."),
        later(
            "The card is older than anything this torch was built for: newer builds have dropped"
            " it (this one begins at {least})."
        ),
        later("The card is older than anything this torch was built for: newer builds have dropped it."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Let envfix choose the newest torch that still has code for this card (often a cu126 or cu118 build)."
            ),
            commands=(NEW_ENV,),
        ),
        Remedy(text=later("Where no build is left for it, run on the processor (device='cpu').")),
    ),
    tell_apart=Remedy(
        text=later("Compare the card with the list of what this torch has code for."),
        commands=(
            ("python", "-c", "import torch; print(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())"),
        ),
    ),
    with_facts=lambda reading, by_log: by_card(reading, by_log, newer=False),
)


RULE = Rule(
    code="GPU103",
    cause="sm_too_old_for_wheel",
    title=later("The card is too old for this torch"),
    needs=("machine.gpus", "environment.torch"),
    check=check,
    rank=31,
    log=LOG,
)
