"""The card is newer than anything this torch was built for.

What it checks
    A torch wheel holds machine code for a list of GPU generations (sm_80, sm_86 ...). Code runs on a card of the same major
    number and an equal or higher minor number; code for no other major runs. A card whose major number is above the whole
    list finds nothing to run, unless the wheel carries portable PTX code.

Why it matters
    torch sees the card and ``is_available()`` says True, but the first computation fails: "no kernel image is available".

How to fix
    Take a torch built with a CUDA new enough for the card (RTX 50: CUDA 12.8 or newer). A newer driver alone does not help.

Sources
    NVIDIA CUDA programming guide, binary and PTX compatibility; the list inside the installed library.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding
from envfix.rules._cards import unfit_cards
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    return unfit_cards(RULE, machine, environment, tables, newer=True)


RULE = Rule(
    code="GPU102",
    cause="sm_too_new_for_wheel",
    title="The card is too new for this torch",
    needs=("machine.gpus", "environment.torch"),
    check=check,
    rank=31,
)
