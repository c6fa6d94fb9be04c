"""What ``fleet`` shows, as lines: the same for every text format."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.fleet import Difference, FleetReport, Group, NodeVerified

VALUES_SHOWN = 6
# A comma that is not inside brackets.
_BETWEEN = re.compile(r",(?![^\[]*\])")


def headline(report: FleetReport) -> str:
    """``8 nodes of Slurm in 2 states``."""
    states = f"in {len(report.groups)} states" if len(report.groups) > 1 else "in one state" if report.groups else ""
    return f"{_many(report.count, 'node')} told by {report.origin} {states}".strip()


def names(folded: str) -> str:
    """``gpu[1-6,9], login``: with room to break the line."""
    return _BETWEEN.sub(", ", folded)


def nodes(folded: str, count: int) -> str:
    """``gpu[1-6] (6 nodes)``."""
    return names(folded) if count == 1 else f"{names(folded)} ({count} nodes)"


def stack(group: Group) -> str:
    """``driver 550.54.14, 4 x NVIDIA A100, torch 2.7.1+cu126``: what a stack stands on, in one line."""
    links = {name: text if not text.startswith("unknown: ") else "unknown" for name, text in group.links.items()}
    cards = {"none": "no NVIDIA card", "unknown": "cards unknown"}.get(links["cards"], links["cards"])
    driver = "no NVIDIA driver" if links["driver"] == "none" else f"driver {links['driver']}"
    torch = "no torch" if links["torch"] == "none" else f"torch {links['torch']}"
    return f"{driver}, {cards}, {torch}"


def is_doubt(text: str) -> bool:
    """Whether a link is not known although it was asked for: then that is why the node is not called healthy."""
    return text.startswith("unknown: ") and not text.endswith("not asked")


def values(difference: Difference, *, everything: bool) -> Iterator[str]:
    """``550.54.14: gpu[1-6] (6 nodes)``, the commonest first."""
    shown = difference.values if everything else difference.values[:VALUES_SHOWN]
    for value in shown:
        yield f"{value.value}: {nodes(value.nodes, value.count)}"
    if len(shown) < len(difference.values):
        yield f"... and {len(difference.values) - len(shown)} more; -v shows all"


def verdict(report: FleetReport) -> str:
    """The last line: how many nodes are in which condition."""
    counts = {word: sum(len(group.nodes) for group in report.groups if group.verdict == word) for word in _WORDS}
    parts = [f"{count} {word}" for word, count in counts.items() if count]
    lost = sum(row.count for row in report.unreached)
    if lost:
        parts.append(f"{lost} not reached")
    return f"Verdict: {report.verdict}. Nodes: {', '.join(parts) or 'none'}."


_WORDS = ("healthy", "degraded", "broken")


def proof(node: NodeVerified) -> str:
    """How far the ladder of a node holds."""
    if node.verification is None:
        return node.problem or "not verified"
    failed = node.verification.failed
    if failed is not None:
        cause = f" ({failed.cause})" if failed.cause else ""
        return f"failed at {failed.name}: {failed.message}{cause}"
    best = next((rung.name for rung in reversed(node.verification.rungs) if rung.status == "passed"), "nothing")
    return f"all rungs up to {best} hold on {node.verification.device}"


def _many(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
