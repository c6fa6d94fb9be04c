"""decide: the choice for a target, confirmed page by page by the indexes it rests on.

A module of its own, so that it is imported (with the resolver and the tables) while the machine answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from envfix.errors import EnvfixError
from envfix.model.facts import IndexState
from envfix.model.language import retold, say
from envfix.model.plan import REGISTRY, Examination, Goal, Plan, PlanTarget
from envfix.resolver.choose import choose, why_not
from envfix.resolver.sources import title
from envfix.tables.loader import Tables

if TYPE_CHECKING:
    from envfix.app.indexing import LiveIndexes


def read_ahead(tables: Tables) -> None:
    """Read the tables that every choice needs; one that is wrong is reported when it is used."""
    try:
        tables.wheels.find("torch", platform="linux_x86_64")
        _ = tables.drivers, tables.architectures, tables.companions, tables.ultralytics
    except EnvfixError:
        pass


def examined(
    build: str, target: PlanTarget, goal: Goal, indexes: tuple[IndexState, ...], tables: Tables
) -> tuple[Examination, ...]:
    """One build (or several) filter by filter: ``--why-not``."""
    return why_not(build, target, goal, indexes, tables)


def settled(
    target: PlanTarget, goal: Goal, live: LiveIndexes | None, tables: Tables
) -> tuple[Plan, tuple[IndexState, ...]]:
    """Choose, ask the index for the page the choice rests on, and choose again until it is confirmed."""
    plan = choose(target, goal, (), tables)
    if live is None:
        return plan, ()
    first = plan.choice or plan.nearest
    live.ask(first.variant if first is not None and first.index != REGISTRY else None)
    while True:
        plan = choose(target, goal, live.states, tables)
        variant = live.unasked(plan)
        if variant is None:
            break
        if live.late:
            live.give_up()
        else:
            live.ask(variant)
    if plan.status == "conflict":
        plan = _by_kept_lists(plan, target, goal, live.states, tables)
    return plan, live.states


def _by_kept_lists(plan: Plan, target: PlanTarget, goal: Goal, states: tuple[IndexState, ...], tables: Tables) -> Plan:
    """The plan by what indexes held when they last answered, where those that answer now give none."""
    kept = [state for state in states if not state.reachable and state.files is not None]
    if not kept:
        return plan
    trusted = [msgspec.structs.replace(state, reachable=state.reachable or state in kept) for state in states]
    again = choose(target, goal, trusted, tables)
    state = next((state for state in kept if again.choice and state.name == again.choice.index), None)
    if state is None:
        return plan
    return msgspec.structs.replace(
        again,
        reasons=(
            *again.reasons,
            say("{title} does not answer now: {problem}", title=title(state.name), problem=retold(state.problem or "")),
        ),
    )
