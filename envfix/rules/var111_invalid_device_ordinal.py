"""CUDA_VISIBLE_DEVICES names a card that is not there.

What it checks
    The variable names some cards that exist and then one that does not: CUDA drops that entry and everything behind it. What
    is left is numbered from 0 again.

Why it matters
    A program that asks for ``cuda:1`` or ``device=0,1`` stops with "invalid device ordinal", because fewer cards are visible than
    the variable seems to say.

How to fix
    Name only cards that exist; in the program count from 0 within the visible ones. A newer driver changes nothing.

Sources
    CUDA programming guide, environment variables.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._devices import VISIBLE, shown_cards
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
        message=f"{VISIBLE} names a card that is not there ({dropped[0]}): CUDA sees {len(shown.cards)} of"
        f" {len(shown.cards) + len(dropped)}, numbered from 0.",
        because=(
            Evidence(fact="machine.variables", value=f"{VISIBLE}={value}", source="the environment of this shell"),
            cite("machine.gpus", machine.gpus, f"{len(cards)} cards"),
        ),
        remedies=(
            Remedy(text="Name only cards that exist.", commands=(("export", f"{VISIBLE}={','.join(shown.cards)}"),)),
        ),
    )


RULE = Rule(
    code="VAR111",
    cause="invalid_device_ordinal",
    title="CUDA_VISIBLE_DEVICES names a card that is not there",
    needs=("machine.gpus",),
    check=check,
    rank=21,
)
