"""From the state of each node to groups of equal state, what differs between them, and which difference matters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from envfix.fleet.nodesets import fold
from envfix.model.facts import Environment, Gpu, Libc, Machine, Observed, TorchImport
from envfix.model.finding import Diagnosis, Finding, Severity
from envfix.model.fleet import (
    LINKS,
    Behind,
    Difference,
    Everywhere,
    Explains,
    FleetReport,
    Group,
    NodeState,
    Unreached,
    Value,
    VerdictWord,
)

T = TypeVar("T")
LONGEST = 200
# Words of a link that name something: a version, a model, a path.
_TELLING = re.compile(r"(?:\S*\d\S{2,}|/\S+|\S+\d\S*\.\S*)")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}\b", re.IGNORECASE)
# The link that a fact belongs to, by which evidence is read.
_LINK_OF = {
    "machine.platform": "system",
    "machine.libraries": "system",
    "machine.driver": "driver",
    "machine.driver_layers": "driver",
    "machine.device_state": "driver",
    "machine.gpus": "cards",
    "machine.displays": "cards",
    "environment.interpreter": "python",
    "environment.startup": "python",
    "environment.elsewhere": "python",
    "machine.commands": "python",
    "environment.torch": "torch",
    "environment.distributions": "torch",
    "environment.binaries": "torch",
    "environment.torchvision": "torchvision",
    "environment.torch_import": "import",
}


def state_of(node: str, machine: Machine, environment: Environment, diagnosis: Diagnosis) -> NodeState:
    """One node in words."""
    return NodeState(
        node=node, links=links(machine, environment), verdict=diagnosis.verdict, findings=diagnosis.findings
    )


def links(machine: Machine, environment: Environment) -> dict[str, str]:
    """Each link of the stack as one short text; an unknown one says why, one that is not there is ``none``."""
    texts = {
        "system": _text(
            machine.platform, lambda one: _joined(one.distribution or one.system, one.machine, _libc(one.libc))
        ),
        "driver": _text(machine.driver, lambda one: str(one.version)),
        "cards": _text(machine.gpus, _cards),
        "python": _text(
            environment.interpreter, lambda one: f"{one.version} at {one.started or one.executable} ({one.kind})"
        ),
        "torch": _text(
            environment.torch, lambda one: one.build if "+" in one.build else f"{one.build} ({one.variant})"
        ),
        "torchvision": _text(environment.torchvision, lambda one: one.build),
        "import": _text(environment.torch_import, _import),
    }
    return {name: " ".join(text.split())[:LONGEST] for name, text in texts.items()}


def _text(fact: Observed[T], show: Callable[[T], str]) -> str:
    if fact.value is not None:
        return show(fact.value)
    return "none" if fact.is_absent else f"unknown: {fact.problem}"


def _joined(*words: str) -> str:
    return ", ".join(word for word in words if word)


def _libc(libc: Libc | None) -> str:
    return f"{libc.family} {libc.version or ''}".strip() if libc else ""


def _cards(cards: tuple[Gpu, ...]) -> str:
    """``4 x NVIDIA A100-SXM4-40GB``, in the order of the cards."""
    counted: dict[str, int] = {}
    for card in cards:
        name = f"{card.name} in MIG mode" if card.mig else card.name
        counted[name] = counted.get(name, 0) + 1
    return ", ".join(f"{count} x {name}" for name, count in counted.items()) or "none"


def _import(said: TorchImport) -> str:
    if not said.ok:
        return f"fails: {said.error or 'no reason given'}"
    if said.cuda_available is None:
        return "works"
    return "works with the GPU" if said.cuda_available else "works without a GPU"


class Fold:
    """Takes in one node after the other and keeps no more of it than its name, once its state is known."""

    def __init__(self) -> None:
        self._groups: dict[object, tuple[NodeState, list[str]]] = {}

    def add(self, state: NodeState) -> None:
        """Put a node with those that are in the same state."""
        found = tuple((one.code, one.severity, one.follows_from) for one in state.findings)
        key = (tuple(state.links.items()), state.verdict, found)
        self._groups.setdefault(key, (state, []))[1].append(state.node)

    def behind(self) -> dict[str, Behind]:
        """What lies behind each group, by the node that is shown of it."""
        return {state.node: state.behind for state, _ in self._groups.values() if state.behind is not None}

    def groups(self) -> tuple[Group, ...]:
        """The largest first."""
        groups = [
            Group(
                name=fold(nodes),
                nodes=tuple(sorted(nodes, key=in_order)),
                shown=state.node,
                links=state.links,
                verdict=state.verdict,
                findings=state.findings,
            )
            for state, nodes in self._groups.values()
        ]
        return tuple(sorted(groups, key=lambda group: (-len(group.nodes), in_order(group.nodes[0]))))


def in_order(name: str) -> list[tuple[int, str]]:
    """gpu2 before gpu10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def report(
    origin: str,
    groups: tuple[Group, ...],
    unreached: Mapping[str, str],
    *,
    notes: Iterable[str] = (),
    saved: str | None = None,
) -> FleetReport:
    """The whole: a node that was not reached is a doubt, and a doubt is never healthy."""
    verdicts = {group.verdict for group in groups}
    verdict: VerdictWord = "healthy"
    if "broken" in verdicts:
        verdict = "broken"
    elif "degraded" in verdicts or unreached or not groups:
        verdict = "degraded"
    return FleetReport(
        origin=origin,
        verdict=verdict,
        count=sum(len(group.nodes) for group in groups),
        groups=groups,
        causes=tuple(causes(groups)),
        differences=tuple(differences(groups)),
        unreached=tuple(by_reason(unreached)),
        notes=tuple(notes),
        saved=saved,
    )


def by_reason(unreached: Mapping[str, str]) -> Iterator[Unreached]:
    """Nodes that were not reached for the same reason stand together, with the words that were said of the first of them."""
    reasons: dict[str, tuple[str, list[str]]] = {}
    for node in sorted(unreached, key=in_order):
        reason = " ".join(unreached[node].split())[:300]
        reasons.setdefault(_without_address(reason, node), (reason, []))[1].append(node)
    for reason, nodes in sorted(reasons.values(), key=lambda row: -len(row[1])):
        yield Unreached(nodes=fold(nodes), count=len(nodes), reason=reason)


def _without_address(reason: str, node: str) -> str:
    """A program like ssh names the node and its address in whatever it says."""
    return _ADDRESS.sub("*", re.sub(rf"(?<![\w.-]){re.escape(node)}(?![\w-])", "*", reason))


def causes(groups: tuple[Group, ...]) -> Iterator[Everywhere]:
    """What is wrong and follows from nothing else, with all its nodes."""
    found: dict[tuple[str, str, Severity], list[str]] = {}
    for group in groups:
        for key in dict.fromkeys((one.code, one.cause, one.severity) for one in group.findings if _is_root(one)):
            found.setdefault(key, []).extend(group.nodes)
    for (code, cause, severity), nodes in sorted(found.items(), key=lambda row: -len(row[1])):
        yield Everywhere(code=code, cause=cause, severity=severity, nodes=fold(nodes), count=len(nodes))


def _is_root(finding: Finding) -> bool:
    return finding.severity != Severity.INFO and finding.follows_from is None


def differences(groups: tuple[Group, ...]) -> Iterator[Difference]:
    """The links that are not the same everywhere; those that a finding rests on first."""
    values = {link: _values(groups, link) for link in LINKS}
    differing = [link for link in LINKS if len(values[link]) > 1]
    explained: dict[str, list[Explains]] = {link: [] for link in differing}
    for code, finding in _parting(groups).items():
        having = [group for group in groups if any(one.code == code for one in group.findings)]
        others = [group for group in groups if group not in having]
        nodes = fold(node for group in having for node in group.nodes)
        for link in _responsible(finding, differing, having, others):
            explained[link].append(Explains(code=code, cause=finding.cause, nodes=nodes))
    rows = [Difference(link=link, values=tuple(values[link]), explains=tuple(explained[link])) for link in differing]
    yield from sorted(rows, key=lambda row: not row.matters)


def _values(groups: tuple[Group, ...], link: str) -> list[Value]:
    nodes: dict[str, list[str]] = {}
    for group in groups:
        nodes.setdefault(group.links.get(link, ""), []).extend(group.nodes)
    found = [Value(value=value, nodes=fold(names), count=len(names)) for value, names in nodes.items()]
    return sorted(found, key=lambda value: -value.count)


def _parting(groups: tuple[Group, ...]) -> dict[str, Finding]:
    """Root causes that stand in the way on some nodes and not on others."""
    found: dict[str, Finding] = {}
    for group in groups:
        for finding in group.findings:
            if _is_root(finding):
                found.setdefault(finding.code, finding)
    return {
        code: finding
        for code, finding in found.items()
        if not all(any(one.code == code for one in group.findings) for group in groups)
    }


def _responsible(finding: Finding, differing: list[str], having: list[Group], others: list[Group]) -> list[str]:
    """The links that part the nodes with this finding from those without it, and that its evidence speaks of.

    A card's memory is no reason to call the card's model the difference that matters: what the link says must be spoken of.
    """
    found = []
    for link in differing:
        here, there = ({group.links.get(link, "") for group in row} for row in (having, others))
        if not here & there and any(_speaks_of(finding, link, text) for text in here):
            found.append(link)
    return found


def _speaks_of(finding: Finding, link: str, text: str) -> bool:
    values = [one.value for one in finding.because if _LINK_OF.get(one.fact) == link]
    if not values:
        return False
    said = " ".join([finding.message, *values])
    # What is not there, or not known, has no words of its own.
    return text == "none" or text.startswith("unknown: ") or any(word in said for word in _TELLING.findall(text))
