"""CUDA_VISIBLE_DEVICES hides every card.

What it checks
    CUDA shows a process only the cards that the variable names, and stops reading at the first entry that names none. It is empty,
    -1, or begins with a number or serial id that this machine has not, so that no card is left.

Why it matters
    "No CUDA GPUs are available", although nvidia-smi shows the card. Nothing is wrong with driver or torch.

How to fix
    Remove the variable, or name cards that exist. It may be set in ~/.bashrc, by a launch script, in the program itself, or as
    a variable of the conda environment.

Sources
    CUDA programming guide, environment variables.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import VISIBLE, batch_without_card, shown_cards
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
        message=f"{VISIBLE} is {value!r} and hides every card from CUDA: torch finds no GPU.",
        because=(
            Evidence(fact="machine.variables", value=f"{VISIBLE}={value}", source="the environment of this shell"),
            cite("machine.gpus", machine.gpus, ", ".join(f"GPU {card.index} {card.name}" for card in cards)),
        ),
        remedies=(unset(machine),),
    )


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
