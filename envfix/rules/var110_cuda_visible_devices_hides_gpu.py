"""CUDA_VISIBLE_DEVICES hides every card.

What you see
    "No CUDA GPUs are available", "no CUDA-capable device is detected", although nvidia-smi shows the card;
    TensorFlow says "CUDA_VISIBLE_DEVICES is set to -1 - this hides all GPUs from CUDA".

Why
    CUDA shows a process only the cards that the variable names, and stops reading at the first entry that names
    none. It is empty, -1, begins with a number or serial id that this machine has not, or names one card twice, so
    that no card is left. Nothing is wrong with driver or torch.

How envfix knows
    The variable against the list of cards. In a log the value that is printed or set there; without one the words
    are ambiguous: no card in the machine, in the container or in the job says the same.

How to mend
    Remove the variable, or name cards that exist. It may be set in ~/.bashrc, by a launch script, in the program
    itself, or as a variable of the conda environment.

What not to do
    Do not reinstall torch or the driver.

Sources
    CUDA programming guide, environment variables; torch/cuda/__init__.py, which reads the variable as the driver
    does, on repeated entries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature, Weigh
from envfix.rules._devices import VISIBLE, batch_without_card, names_a_card, repeated, shown_cards
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import (
    CANNOT_START,
    CPU_BUILD,
    HIDDEN,
    INVALID_DEVICE,
    NO_CUDA_GPUS,
    NOT_AVAILABLE,
    VISIBLE_SET,
)
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards, value = machine.gpus.value, machine.variables.get(VISIBLE)
    # A batch system that gave no card hides them all on purpose: that is told by the cause job_without_gpu.
    if not cards or value is None or batch_without_card(machine) or shown_cards(value, cards).cards:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if value.strip() in ("", "-1") else Severity.ERROR,
        message=_message(value, repeated([part.strip() for part in value.split(",")], cards)),
        because=(
            Evidence(fact="machine.variables", value=f"{VISIBLE}={value}", source=say("the environment of this shell")),
            cite("machine.gpus", machine.gpus, ", ".join(f"GPU {card.index} {card.name}" for card in cards)),
        ),
        remedies=(*_each_once(value, cards), unset(machine)),
    )


def _message(value: str, twice: str | None) -> str:
    if twice is not None:
        return say(
            "{visible} is {value!r} and names a card twice ({twice}): CUDA then shows none, so torch finds no GPU.",
            visible=VISIBLE,
            value=value,
            twice=twice,
        )
    return say(
        "{visible} is {value!r} and hides every card from CUDA: torch finds no GPU.", visible=VISIBLE, value=value
    )


def _each_once(value: str, cards: Sequence[Gpu]) -> Iterator[Remedy]:
    """The same cards without the repetition, where that is all that is wrong."""
    entries = [part.strip() for part in value.split(",")]
    if repeated(entries, cards) is None:
        return
    once: list[str] = []
    for entry in entries:
        if not names_a_card(entry, cards):
            break
        if repeated([*once, entry], cards) is None:
            once.append(entry)
    yield Remedy(text=say("Name each card once."), commands=(("export", f"{VISIBLE}={','.join(once)}"),))


def unset(machine: Machine) -> Remedy:
    """Remove the variable from this shell."""
    place = machine.platform.value
    windows = place is not None and place.system == "win32"
    return Remedy(
        text=say(
            "Remove the variable, also where it is set (~/.bashrc, a launch script, `conda env config vars list`)."
        ),
        commands=(("Remove-Item", f"Env:{VISIBLE}") if windows else ("unset", VISIBLE),),
    )


_NOTHING = ("", "-1", "NoDevFiles")


def _by_variable(otherwise: float) -> Weigh:
    """By the value of the variable that the log shows, if it does."""
    elsewhere = by_place(otherwise, jetson=0.15, wsl=0.3, other=0.1, batch=0.35, container=0.4, colab=0.15, mac=0.05)

    def weigh(hit: Hit, log: Log) -> float | None:
        shown = log.found(VISIBLE_SET)
        values = {one.groups.get("visible", "") for one in shown}
        if values & set(_NOTHING):
            return 0.85
        if values - {"None", "0", "all"}:
            return 0.75
        if "None" in values:
            return otherwise * 0.3
        if values:
            return otherwise * 0.7
        return elsewhere(hit, log)

    return weigh


def _ultralytics(hit: Hit, log: Log) -> float | None:
    """The variable as it was before: without a card and with a value, the value hides them."""
    after = hit.after[:900]
    count = re.search(r"device_count\(\): (\d+)", after)
    value = re.search(r"CUDA_VISIBLE_DEVICES'\]: *([^\s]*)", after)
    if value is None or value[1].strip("'\"") == "None" or (count and int(count[1])) or log.found(CPU_BUILD):
        return None
    return 0.75 if value[1].strip("'\"") in _NOTHING else 0.45 if value[1] != "0" else 0.25


LOG = LogSide(
    signatures=(
        Signature(pattern=r"CUDA_VISIBLE_DEVICES is set to [^\n]{1,40}this hides all GPUs from CUDA", confidence=0.96),
        Signature(pattern=NO_CUDA_GPUS, weigh=_by_variable(0.5), looks_at=(VISIBLE_SET, *LOOKS_AT)),
        Signature(pattern=CANNOT_START, weigh=_by_variable(0.12), looks_at=(VISIBLE_SET, *LOOKS_AT)),
        Signature(pattern=INVALID_DEVICE, weigh=_ultralytics, looks_at=(CPU_BUILD,)),
        Signature(pattern=NOT_AVAILABLE, confidence=0.7, beside=(HIDDEN,)),
        Signature(pattern=NOT_AVAILABLE, confidence=0.08, unless=(HIDDEN,)),
        Signature(
            pattern=r"nvidia-container-cli: device error: (?:\d: )?unknown device(?: id)?: (?P<device>[\w-]+)",
            confidence=0.5,
            quoted=True,
        ),
    ),
    message=(
        later(
            "CUDA_VISIBLE_DEVICES is '{visible}' and hides every card from CUDA: the program finds"
            " no GPU although there may be one."
        ),
        later(
            "The program finds no GPU; most often CUDA_VISIBLE_DEVICES is empty, -1, or names a"
            " card that this machine has not."
        ),
    ),
    remedies=(
        Remedy(
            text=(
                later(
                    "Remove the variable, also where it is set (~/.bashrc, a launch script, the"
                    " program itself, `conda env config vars list`)."
                )
            ),
            commands=(("unset", VISIBLE),),
        ),
        Remedy(
            text=later("Or name cards that exist, counted from 0, before torch is imported."),
            commands=(("export", f"{VISIBLE}=0"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("Run the same without the variable: if a card is counted now, the variable hid it."),
        commands=(
            ("printenv", VISIBLE),
            ("env", "-u", VISIBLE, "python", "-c", "import torch; print(torch.cuda.device_count())"),
        ),
    ),
    explains=("no_nvidia_gpu", "cuda_does_not_start"),
)


RULE = Rule(
    code="VAR110",
    cause="cuda_visible_devices_hides_gpu",
    title=later("CUDA_VISIBLE_DEVICES hides every card"),
    needs=("machine.gpus",),
    check=check,
    rank=20,
    log=LOG,
)
