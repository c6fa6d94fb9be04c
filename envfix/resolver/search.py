"""Finding the best build that fits one situation, and keeping what was ruled out on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from envfix.model.plan import Constraint, Rejection
from envfix.resolver.candidates import Candidate
from envfix.resolver.filters import companions, first_rejection
from envfix.resolver.ranking import rank
from envfix.resolver.situation import Situation
from envfix.resolver.stack import Stack, stack_of
from envfix.tables.rows import version_of

CONSTRAINTS: tuple[Constraint, ...] = (
    "request",
    "interpreter",
    "platform",
    "glibc",
    "sm",
    "driver",
    "index",
    "companion",
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The best build with its stack, the builds that fit but are less good, and those that were ruled out."""

    situation: Situation
    candidate: Candidate
    stack: Stack
    fitting: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]


def best(candidates: Sequence[Candidate], situation: Situation) -> Found | tuple[Rejection, ...]:
    """The best build that passes every filter, or the rejections of all."""
    fitting: list[Candidate] = []
    rejected: list[Rejection] = []
    for candidate in candidates:
        rejection = first_rejection(candidate, situation)
        if rejection is None:
            fitting.append(candidate)
        else:
            rejected.append(rejection)
    fitting.sort(key=lambda candidate: rank(candidate, situation), reverse=True)
    for number, candidate in enumerate(fitting):
        stack = stack_of(candidate, situation)
        if isinstance(stack, Stack):
            rest = tuple(fitting[number + 1 :])
            return Found(situation=situation, candidate=candidate, stack=stack, fitting=rest, rejected=tuple(rejected))
        rejected += filter(None, [companions(candidate, situation)])
    return tuple(rejected)


def folded(rejected: Iterable[Rejection], fitting: Iterable[Candidate] = ()) -> tuple[Rejection, ...]:
    """One row for each torch and variant, newest first: the reason of the place where it came furthest."""
    keep: dict[tuple[str, str], Rejection] = {}
    for row in rejected:
        known = keep.get((row.torch, row.variant))
        if known is None or CONSTRAINTS.index(row.because) > CONSTRAINTS.index(known.because):
            keep[row.torch, row.variant] = row
    for candidate in fitting:
        # What fits but is less good was not ruled out, unless it fell only at its companions.
        if candidate.key in keep and keep[candidate.key].because != "companion":
            del keep[candidate.key]
    return tuple(sorted(keep.values(), key=_newest_first, reverse=True))


def _newest_first(row: Rejection) -> tuple[tuple[int, ...], int]:
    return version_of(row.torch).release, int(row.variant[2:]) if row.variant.startswith("cu") else 0
