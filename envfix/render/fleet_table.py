"""What ``fleet`` shows, as lines: the same for every text format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envfix.model.fleet import (
    Difference,
    Failure,
    FleetPlan,
    FleetReport,
    FleetVerified,
    Group,
    NodeCards,
    NodeVerified,
    Unreached,
)
from envfix.model.language import later, look_up, retold, say

VALUES_SHOWN = 6
# A comma that is not inside brackets.
_BETWEEN = re.compile(r",(?![^\[]*\])")


def headline(report: FleetReport) -> str:
    """``8 nodes told by Slurm, 2 states``."""
    if not report.groups:
        return say("{many} told by {origin}", many=_nodes(report.count), origin=report.origin)
    states = say("{number} states", number=len(report.groups)) if len(report.groups) > 1 else say("one state")
    return say("{many} told by {origin}: {states}", many=_nodes(report.count), origin=report.origin, states=states)


def names(folded: str) -> str:
    """``gpu[1-6,9], login``: with room to break the line."""
    return _BETWEEN.sub(", ", folded)


def nodes(folded: str, count: int) -> str:
    """``gpu[1-6] (6 nodes)``."""
    return names(folded) if count == 1 else say("{names} ({count} nodes)", names=names(folded), count=count)


def lost(row: Unreached) -> str:
    """``gpu[8-9] (2 nodes): it is down``."""
    from envfix.model.reasons import spoken

    return f"{nodes(row.nodes, row.count)}: {spoken(row.reason)}"


def stack(group: Group) -> str:
    """``driver 550.54.14, 4 x NVIDIA A100, torch 2.7.1+cu126``: what a stack stands on, in one line."""
    links = {name: text if not text.startswith("unknown: ") else "unknown" for name, text in group.links.items()}
    cards = {"none": say("no NVIDIA card"), "unknown": say("cards unknown")}.get(links["cards"], links["cards"])
    driver = (
        say("no NVIDIA driver")
        if links["driver"] == "none"
        else say("driver {driver}", driver=look_up(links["driver"]))
    )
    torch = say("no torch") if links["torch"] == "none" else f"torch {look_up(links['torch'])}"
    return f"{driver}, {cards}, {torch}"


def worst(groups: Sequence[Group], most: int) -> list[int]:
    """Where the groups stand that are shown when there is no room for all: those in the worst condition, in their order."""
    ranked = sorted(range(len(groups)), key=lambda number: -_WORDS.index(groups[number].verdict))
    return sorted(ranked[:most])


def is_doubt(text: str) -> bool:
    """Whether a link is not known although it was asked for: then that is why the node is not called healthy."""
    return text.startswith("unknown: ") and not text.endswith("not asked")


# What links say in words of envfix; in documents, and where they are compared, they are English.
LINK_WORDS = (
    later("none"),
    later("unknown"),
    later("works"),
    later("works with the GPU"),
    later("works without a GPU"),
    later("system"),
    later("cards"),
    later("import"),
)


def said(text: str) -> str:
    """The text of a link for people."""
    start, colon, problem = text.partition(": ")
    if colon and start == "unknown":
        return say("unknown: {problem}", problem=retold(problem))
    if colon and start == "fails":
        return say("fails: {error}", error=retold(problem))
    return look_up(text)


def values(difference: Difference, *, everything: bool) -> Iterator[str]:
    """``550.54.14: gpu[1-6] (6 nodes)``, the commonest first."""
    shown = difference.values if everything else difference.values[:VALUES_SHOWN]
    for value in shown:
        yield f"{said(value.value)}: {nodes(value.nodes, value.count)}"
    if len(shown) < len(difference.values):
        yield say("... and {number} more; -v shows all", number=len(difference.values) - len(shown))


def verdict(report: FleetReport) -> str:
    """The last line: the worst that was found, and how many nodes are in which condition."""
    return say("Verdict: {verdict}. {nodes}", verdict=look_up(report.verdict), nodes=counts(report))


def counts(report: FleetReport) -> str:
    """How many nodes are in which condition."""
    found = {word: sum(len(group.nodes) for group in report.groups if group.verdict == word) for word in _WORDS}
    parts = [say("{count} {verdict}", count=count, verdict=look_up(word)) for word, count in found.items() if count]
    lost = sum(row.count for row in report.unreached)
    if lost:
        parts.append(say("{lost} not reached", lost=lost))
    return say("Nodes: {parts}.", parts=", ".join(parts) or say("none"))


_WORDS = ("healthy", "degraded", "broken")


def models(node: NodeCards) -> str | None:
    """``4 x NVIDIA A100``; None where the cards of a node are of several models."""
    found = {use.card.name for use in node.cards}
    return f"{len(node.cards)} x {found.pop()}" if len(found) == 1 else None


def proof(node: NodeVerified) -> str:
    """How far the ladder of a node holds."""
    if node.verification is None:
        return retold(node.problem or "") or say("not verified")
    failed = node.verification.failed
    if failed is not None:
        cause = f" ({failed.cause})" if failed.cause else ""
        return say("failed at {failed}: {failed_2}{cause}", failed=failed.name, failed_2=failed.message, cause=cause)
    best = next((rung.name for rung in reversed(node.verification.rungs) if rung.status == "passed"), say("nothing"))
    return say("all rungs up to {best} hold on {device}", best=best, device=node.verification.device)


def failure(row: Failure) -> str:
    """Which nodes fail alike, where, and what that is called."""
    cause = f" ({row.cause})" if row.cause else ""
    if row.rung is None:
        return f"{nodes(row.nodes, row.count)}: {row.message}"
    return say("{nodes}: failed at {rung}{cause}", nodes=nodes(row.nodes, row.count), rung=row.rung, cause=cause)


def number_of_stacks(plan: FleetPlan) -> str:
    """How many stacks there are, and whether it is sure that fewer do not do."""
    if plan.fewest:
        return say("The fewest stacks: {number}.", number=len(plan.stacks))
    return say(
        "A small set of stacks, perhaps not the smallest: {number}. The nodes differ in too many ways to try all.",
        number=len(plan.stacks),
    )


def proven(verified: FleetVerified) -> str:
    """The last line: on how many of the nodes that were meant the ladder holds."""
    holding = sum(node.holds for node in verified.nodes)
    meant = len(verified.nodes) + sum(row.count for row in verified.unreached)
    return say("Verified on {holding} of {meant}.", holding=holding, meant=_nodes(meant))


def _nodes(count: int) -> str:
    return say("{count} node{s}", count=count, s="" if count == 1 else "s")
