"""CUDA_VISIBLE_DEVICES hides every card.

What it checks
    CUDA shows a process only the cards that the variable names, and stops reading at the first entry that names none. It is empty,
    -1, begins with a number or serial id that this machine has not, or names one card twice, so that no card is left.

Why it matters
    "No CUDA GPUs are available", although nvidia-smi shows the card. Nothing is wrong with driver or torch.

How to fix
    Remove the variable, or name cards that exist. It may be set in ~/.bashrc, by a launch script, in the program itself, or as
    a variable of the conda environment.

Sources
    CUDA programming guide, environment variables; torch/cuda/__init__.py, which reads the variable as the driver does, on
    repeated entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import VISIBLE, batch_without_card, names_a_card, repeated, shown_cards
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
            Evidence(fact="machine.variables", value=f"{VISIBLE}={value}", source="the environment of this shell"),
            cite("machine.gpus", machine.gpus, ", ".join(f"GPU {card.index} {card.name}" for card in cards)),
        ),
        remedies=(*_each_once(value, cards), unset(machine)),
    )


def _message(value: str, twice: str | None) -> str:
    if twice is not None:
        return f"{VISIBLE} is {value!r} and names a card twice ({twice}): CUDA then shows none, so torch finds no GPU."
    return f"{VISIBLE} is {value!r} and hides every card from CUDA: torch finds no GPU."


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
    yield Remedy(text="Name each card once.", commands=(("export", f"{VISIBLE}={','.join(once)}"),))


def unset(machine: Machine) -> Remedy:
    """Remove the variable from this shell."""
    place = machine.platform.value
    windows = place is not None and place.system == "win32"
    return Remedy(
        text="Remove the variable, also where it is set (~/.bashrc, a launch script, `conda env config vars list`).",
        commands=(("Remove-Item", f"Env:{VISIBLE}") if windows else ("unset", VISIBLE),),
    )


RULE = Rule(
    code="VAR110",
    cause="cuda_visible_devices_hides_gpu",
    title="CUDA_VISIBLE_DEVICES hides every card",
    needs=("machine.gpus",),
    check=check,
    rank=20,
)
