"""The card is older than anything this torch was built for.

What it checks
    Each torch release drops old GPU generations from its wheels. A card whose generation is not in the list of machine code
    inside the library has nothing to run.

Why it matters
    "PyTorch no longer supports this GPU because it is too old", then "no kernel image is available" at the first computation.

How to fix
    The last wheel that still has the generation: for GTX 10 and V100 cards that is usually the cu126 or cu118 variant of a
    recent torch. The newest torch is the wrong direction.

Sources
    The list inside the installed library; release notes of PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding
from envfix.rules._cards import unfit_cards
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    return unfit_cards(RULE, machine, environment, tables, newer=False)


RULE = Rule(
    code="GPU103",
    cause="sm_too_old_for_wheel",
    title="The card is too old for this torch",
    needs=("machine.gpus", "environment.torch"),
    check=check,
    rank=31,
)
