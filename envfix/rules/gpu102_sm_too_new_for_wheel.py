"""The card is newer than anything this torch was built for.

What you see
    "with CUDA capability sm_120 is not compatible with the current PyTorch installation", "no kernel image is
    available for execution on the device", "nvrtc: error: invalid value for --gpu-architecture". ``is_available()``
    says True.

Why
    A torch wheel holds machine code for a list of GPU generations (sm_80, sm_86 ...). Code runs on a card of the
    same major number and an equal or higher minor number; code for no other major runs. A card whose major number
    is above the whole list finds nothing to run, unless the wheel carries portable PTX code.

How envfix knows
    The card's number against the list inside the installed library. In a log the number of the card against the
    list that torch prints behind it; "no kernel image" alone is judged by the cards that the log names, and may
    also be an extension's.

How to mend
    Take a torch built with a CUDA new enough for the card (RTX 50: CUDA 12.8 or newer).

What not to do
    Do not change the driver only, set TORCH_CUDA_ARCH_LIST at run time, or reinstall the same build.

Sources
    NVIDIA CUDA programming guide, binary and PTX compatibility; the list inside the installed library.
"""

from __future__ import annotations

import re
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
    return unfit_cards(RULE, machine, environment, tables, newer=True)


def _unfit(hit: Hit, log: Log) -> float | None:
    del log
    return of_unfit(hit).newer


def _named(hit: Hit, log: Log) -> float | None:
    """The end of torch's sentence about a card that it has no code for: by the card's name which of the two it is."""
    del log
    return 0.85 if re.search(NEW_CARD, hit.text) else None


def _range(hit: Hit, log: Log) -> float | None:
    del log
    return of_range(hit).newer


def _kernel(hit: Hit, log: Log) -> float | None:
    return None if log.found(ON_JETSON) else of_kernel(hit, log).newer


def _kernels(hit: Hit, log: Log) -> float:
    """What torch 2.13 says: it has no code for the card."""
    del log
    return 0.85 if int(hit.groups["major"]) >= FIRST_NEW_MAJOR else 0.1


def _half(hit: Hit, log: Log) -> float | None:
    newer = of_kernel(hit, log).newer
    return newer * 0.6 if newer else None


LOG = LogSide(
    signatures=(
        Signature(pattern=UNFIT, weigh=_unfit),
        Signature(pattern=RANGE, weigh=_range),
        Signature(pattern=KERNELS, weigh=_kernels),
        Signature(
            pattern=r"If you want to use the (?:NVIDIA )?[^\n]{3,60} GPU with PyTorch, please check the instructions at",
            weigh=_named,
            quoted=True,
        ),
        Signature(pattern=r"nvrtc: error: invalid value for --gpu-architecture", confidence=0.95),
        Signature(pattern=r"NVRTC_ERROR_INVALID_OPTION", confidence=0.6),
        Signature(pattern=NO_KERNEL_IMAGE, weigh=_kernel, looks_at=(NEW_CARD, OLD_CARD, ON_JETSON)),
        Signature(pattern=NO_BINARY, weigh=_half, looks_at=(NEW_CARD, OLD_CARD)),
        Signature(
            pattern=(
                r"not built with CUDA kernel binaries compatible with compute capability (?P<capability>(?:8|9"
                r"|1\d)\.\d)"
            ),
            confidence=0.8,
        ),
        Signature(
            pattern=r"ptxas fatal\s{0,3}: Value '(?P<arch>sm_(?:9|1)\d{1,2}a?f?)' is not defined for option 'gpu-name'",
            confidence=0.6,
        ),
        Signature(
            pattern=r"which requires CUDA_VERSION >= \d{4,5} (?:to work properly|for optimal performance)",
            confidence=0.7,
        ),
        Signature(pattern=r"cublas runtime error : the GPU program failed to execute", confidence=0.4),
        Signature(pattern=r"CUBLAS_STATUS_ARCH_MISMATCH|CUDNN_STATUS_ARCH_MISMATCH", confidence=0.25),
        Signature(pattern=r"(?:sm_|compute_)(?P<sm>1[02]\d)a? (?:is not|isn't|not) (?:yet )?supported", confidence=0.6),
    ),
    message=(
        later(
            "The card (sm_{sm}) is newer than anything this torch was built for: it holds no code"
            " that the card can run."
        ),
        later("The card (compute capability {major}.{minor}) is newer than anything this torch was built for."),
        later("The card is newer than anything this torch was built for: it holds no code that the card can run."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Let envfix choose a torch that has code for this card (RTX 50: CUDA 12.8 or"
                " newer) and runs on this driver."
            ),
            commands=(NEW_ENV,),
        ),
    ),
    tell_apart=Remedy(
        text=later("Compare the card with the list of what this torch has code for."),
        commands=(
            ("python", "-c", "import torch; print(torch.cuda.get_device_capability(), torch.cuda.get_arch_list())"),
        ),
    ),
    with_facts=lambda reading, by_log: by_card(reading, by_log, newer=True),
)


RULE = Rule(
    code="GPU102",
    cause="sm_too_new_for_wheel",
    title=later("The card is too new for this torch"),
    needs=("machine.gpus", "environment.torch"),
    check=check,
    rank=31,
    log=LOG,
)
