"""A card is asked for that is not there, or that CUDA_VISIBLE_DEVICES does not show.

What you see
    "CUDA error: invalid device ordinal", "Invalid device id", "Attempting to deserialize object on CUDA device 1
    but torch.cuda.device_count() is 1".

Why
    A program asks for ``cuda:1`` or ``device=0,1``, and fewer cards are visible. Where the variable names cards
    that exist and then one that does not, CUDA drops that entry and everything behind it; what is left is numbered
    from 0 again.

How envfix knows
    The entries of the variable against the list of cards; in a log the texts above, and the number that is asked
    for against the one that is counted.

How to mend
    Name only cards that exist; in the program count from 0 within the visible ones, and start no more processes
    than there are cards.

What not to do
    Do not update the driver: it changes nothing.

Sources
    CUDA programming guide, environment variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import VISIBLE, shown_cards
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import CPU_BUILD, DEVICE_ASSERT, INVALID_DEVICE, OLD_INVALID_DEVICE
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards, value = machine.gpus.value, machine.variables.get(VISIBLE)
    if not cards or value is None:
        return
    shown = shown_cards(value, cards)
    dropped = tuple(entry for entry in shown.dropped if entry)
    # -1 ends the list on purpose.
    if not shown.cards or not dropped or dropped[0] == "-1":
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "{visible} names a card that is not there ({dropped}): CUDA sees {number} of {number_2}, numbered from 0.",
            visible=VISIBLE,
            dropped=dropped[0],
            number=len(shown.cards),
            number_2=len(shown.cards) + len(dropped),
        ),
        because=(
            Evidence(fact="machine.variables", value=f"{VISIBLE}={value}", source=say("the environment of this shell")),
            cite("machine.gpus", machine.gpus, say("{number} cards", number=len(cards))),
        ),
        remedies=(
            Remedy(
                text=say("Name only cards that exist."), commands=(("export", f"{VISIBLE}={','.join(shown.cards)}"),)
            ),
        ),
    )


def _ultralytics(hit: Hit, log: Log) -> float | None:
    """Cards are counted, and the index is beyond them; without any an index above 0 is a hint only."""
    asked = [
        int(number) for number in re.findall(r"\d+", hit.groups.get("device") or hit.groups.get("old_device") or "")
    ]
    count = re.search(r"device_count\(\): (\d+)", hit.after[:900])
    if count and int(count[1]):
        return 0.95 if not asked or max(asked) >= int(count[1]) else 0.3
    if log.found(CPU_BUILD) or not asked:
        return None
    return 0.45 if max(asked) > 0 else None


def _assert(hit: Hit, log: Log) -> float:
    del log
    numbers = re.search(r"device=(\d+), num_gpus=(\d+)", hit.after[:300])
    return 0.9 if numbers and int(numbers[1]) >= int(numbers[2]) > 0 else 0.4


def _asked_for(hit: Hit, log: Log) -> float | None:
    """``[]`` as what is there means that no card is there at all."""
    del log
    return None if hit.groups["there"].strip() == "" else 0.95


def _count_of_load(hit: Hit, log: Log) -> float | None:
    del log
    return 0.93 if int(hit.groups["count"]) else 0.3


# Instances of a card in MIG mode are not counted: their own rule explains it.
MIG_NAMED = r"\bMIG-(?:GPU-)?[0-9a-f]{8}"

LOG = LogSide(
    signatures=(
        Signature(
            pattern=(
                r"(?i)(?:check failed: error == cudasuccess \((?:10|101) vs\. 0\) |cuda failure (?:\d+ )?'"
                r"|already set an error\? (?:error 101: )?)?invalid device ordinal|cudaErrorInvalidDevice\b"
                r"|CUDA_ERROR_INVALID_DEVICE\b"
            ),
            confidence=0.93,
            unless=(MIG_NAMED,),
        ),
        Signature(
            pattern=(
                r"Attempting to deserialize object on CUDA device (?P<index>\d+) but torch\.cuda\.device_count\(\) is "
                r"(?P<count>\d+)"
            ),
            weigh=_count_of_load,
        ),
        Signature(pattern=r"AssertionError: Invalid device id|Invalid device id\b", confidence=0.88),
        Signature(
            pattern=(
                r"You requested (?:gpu|GPUs|GPU): \[(?P<index>[\d,\s]+)\] But your machine only "
                r"has: \[(?P<there>[\d,\s]*)\]"
            ),
            weigh=_asked_for,
        ),
        Signature(pattern=r"Duplicate GPU detected\s?: rank \d+ and rank \d+ both on CUDA device", confidence=0.75),
        Signature(pattern=INVALID_DEVICE, weigh=_ultralytics, looks_at=(CPU_BUILD,)),
        Signature(pattern=OLD_INVALID_DEVICE, weigh=_ultralytics, looks_at=(CPU_BUILD,)),
        Signature(pattern=DEVICE_ASSERT, weigh=_assert),
        Signature(
            pattern=r"nvidia-container-cli: device error: (?:\d+: )?unknown device(?: id)?: (?P<index>[\w-]+)",
            confidence=0.7,
            quoted=True,
        ),
        Signature(
            pattern=(
                r"(?:device|GPU) (?:index|id) (?P<index>\d+) (?:is )?(?:out of range|not available|does not exist"
                r"|is not valid)"
            ),
            confidence=0.7,
        ),
    ),
    message=(
        later(
            "The program asks for card {index}, and torch counts {count}: cards are numbered from"
            " 0 within the visible ones."
        ),
        (
            later(
                "The program asks for card {index}, which is not there: cards are numbered from 0"
                " within those that CUDA_VISIBLE_DEVICES shows."
            )
        ),
        later(
            "The program asks for a card that is not there: cards are numbered from 0 within those"
            " that CUDA_VISIBLE_DEVICES shows."
        ),
    ),
    remedies=(
        Remedy(
            text=later("See how many cards this Python counts, and ask for 0 up to one less (device=0, cuda:0)."),
            commands=(("python", "-c", "import torch; print(torch.cuda.device_count())"),),
        ),
        Remedy(
            text=later("Or show all cards again, if the variable hides the one that is meant."),
            commands=(("unset", VISIBLE),),
        ),
        Remedy(text=later("Start no more processes (ranks) on this machine than it has cards.")),
    ),
    tell_apart=Remedy(
        text=later("See the cards and what the variable leaves of them."),
        commands=(("nvidia-smi", "-L"), ("printenv", VISIBLE)),
    ),
    explains=("cuda_does_not_start",),
)


RULE = Rule(
    code="VAR111",
    cause="invalid_device_ordinal",
    title=later("CUDA_VISIBLE_DEVICES names a card that is not there"),
    needs=("machine.gpus",),
    check=check,
    rank=21,
    log=LOG,
)
