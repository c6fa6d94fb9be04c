"""What ``fleet`` shows, as lines: the same for every text format."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.fleet import Difference, FleetReport, Group, NodeVerified
from envfix.model.language import later, look_up, retold, say

VALUES_SHOWN = 6
# A comma that is not inside brackets.
_BETWEEN = re.compile(r",(?![^\[]*\])")


def headline(report: FleetReport) -> str:
    """``8 nodes of Slurm in 2 states``."""
    states = (
        say("in {number} states", number=len(report.groups))
        if len(report.groups) > 1
        else say("in one state")
        if report.groups
        else ""
    )
    return say(
        "{many} told by {origin} {states}", many=_nodes(report.count), origin=report.origin, states=states
    ).strip()


def names(folded: str) -> str:
    """``gpu[1-6,9], login``: with room to break the line."""
    return _BETWEEN.sub(", ", folded)


def nodes(folded: str, count: int) -> str:
    """``gpu[1-6] (6 nodes)``."""
    return names(folded) if count == 1 else say("{names} ({count} nodes)", names=names(folded), count=count)


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


def _nodes(count: int) -> str:
    return say("{count} node{s}", count=count, s="" if count == 1 else "s")
