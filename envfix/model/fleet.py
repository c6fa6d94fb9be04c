"""What ``fleet`` answers: nodes put together by their state, what differs between them, and who was not reached."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.gpu_use import CardUse
from envfix.model.lock import Locking
from envfix.model.outcome import Rung, Verification
from envfix.model.plan import Plan
from envfix.model.stack import Link

VerdictWord = Literal["healthy", "degraded", "broken"]
# The links of the stack, from the ground up; each is one short text per node.
LINKS = ("system", "driver", "cards", "python", "torch", "torchvision", "import")


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """What a page to be shown to others needs of a node besides its state.

    ``stack`` is the chain of a diagnosis, ``cards`` the number of each card by its serial id; ``people`` and ``home`` are to be
    taken out.
    """

    stack: tuple[Link, ...]
    cards: dict[str, str]
    people: tuple[str, ...] = ()
    home: str | None = None


class NodeState(msgspec.Struct, frozen=True, kw_only=True):
    """One node: the links of its stack in words, and what was found; ``behind`` only where a page is to be made."""

    node: str
    links: dict[str, str]
    verdict: VerdictWord
    findings: tuple[Finding, ...] = ()
    behind: Behind | None = None


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes in the same state. ``name`` is all of them as one text (``gpu[1-6]``).

    The findings are the same on each, by code; their sentences and numbers are those of ``shown``, the first of the nodes.
    """

    name: str
    nodes: tuple[str, ...]
    shown: str
    links: dict[str, str]
    verdict: VerdictWord
    findings: tuple[Finding, ...] = ()


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a link and the nodes that have it."""

    value: str
    nodes: str
    count: int


class Explains(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that some nodes have and others do not, and on which nodes it is."""

    code: str
    cause: str
    nodes: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A link that is not the same everywhere, the commonest value first. It matters where it ``explains`` a finding."""

    link: str
    values: tuple[Value, ...]
    explains: tuple[Explains, ...] = ()

    @property
    def matters(self) -> bool:
        """Whether a finding rests on it."""
        return bool(self.explains)


class Everywhere(msgspec.Struct, frozen=True, kw_only=True):
    """A root cause that is not only good to know, and all the nodes that it was found on."""

    code: str
    cause: str
    severity: Severity
    nodes: str
    count: int


class Unreached(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes that told nothing, and why."""

    nodes: str
    count: int
    reason: str


class FleetReport(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes, folded; ``causes`` the commonest first. ``origin`` says how they were asked, ``count`` how many told something."""

    origin: str
    verdict: VerdictWord
    count: int
    groups: tuple[Group, ...]
    causes: tuple[Everywhere, ...] = ()
    differences: tuple[Difference, ...] = ()
    unreached: tuple[Unreached, ...] = ()
    notes: tuple[str, ...] = ()
    saved: str | None = None


class FleetSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The report, and for a page what lies behind the node that is ``shown`` of each group."""

    report: FleetReport
    behind: dict[str, Behind]


class SharedFleet(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes as they may be shown to anybody: as for one machine, but that the names of nodes are kept.

    ``stacks`` holds the chain of each group, in the order of the report; ``made`` is the day.
    """

    report: FleetReport
    stacks: tuple[tuple[Link, ...], ...]
    made: str


class NodeCards(msgspec.Struct, frozen=True, kw_only=True):
    """The cards of one node and whose memory it is, or why there are none to show."""

    node: str
    cards: tuple[CardUse, ...] = ()
    problem: str | None = None


class FreestCard(msgspec.Struct, frozen=True, kw_only=True):
    """The card with most free memory of all, and its node."""

    node: str
    card: CardUse


class FleetCards(msgspec.Struct, frozen=True, kw_only=True):
    """Cards across nodes now, those with most free memory first."""

    origin: str
    nodes: tuple[NodeCards, ...]
    best: FreestCard | None = None
    unreached: tuple[Unreached, ...] = ()


class NodeVerified(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder of one node, or why it could not be climbed."""

    node: str
    verification: Verification | None = None
    problem: str | None = None

    @property
    def failed(self) -> Rung | None:
        """The rung that failed, if one was climbed and did."""
        return self.verification.failed if self.verification is not None else None

    @property
    def holds(self) -> bool:
        """Whether no rung failed."""
        return self.verification is not None and self.failed is None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes on which the same rung fails for the same reason; ``rung`` None: it could not be climbed at all.

    The sentence is that of ``shown``, the first of them; ``remedies`` mend all of them.
    """

    nodes: str
    count: int
    shown: str
    rung: str | None
    cause: str | None
    message: str
    remedies: tuple[Remedy, ...] = ()


class FleetVerified(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder on every node, and those on which it fails by why it does."""

    origin: str
    nodes: tuple[NodeVerified, ...]
    failures: tuple[Failure, ...] = ()
    unreached: tuple[Unreached, ...] = ()


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """One stack and the nodes it runs on, all of them."""

    nodes: str
    count: int
    names: tuple[str, ...]
    plan: Plan


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes on which no stack runs as they are, and what would change that."""

    nodes: str
    count: int
    reason: str
    ways_out: tuple[str, ...] = ()


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The fewest stacks that serve all nodes for which there is one; not ``fewest``: perhaps fewer would do."""

    stacks: tuple[Stack, ...]
    fewest: bool = True
    stuck: tuple[Stuck, ...] = ()
    unreached: tuple[Unreached, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every node has a stack."""
        planned = bool(self.stacks) and all(stack.plan.status == "ok" for stack in self.stacks)
        return planned and not self.stuck and not self.unreached


class StackLock(msgspec.Struct, frozen=True, kw_only=True):
    """The lock of one stack, or the plan that says why there is none."""

    nodes: str
    count: int
    locking: Locking | None = None
    plan: Plan | None = None


class FleetLocking(msgspec.Struct, frozen=True, kw_only=True):
    """A lock for each stack."""

    locks: tuple[StackLock, ...]
    stuck: tuple[Stuck, ...] = ()
    unreached: tuple[Unreached, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every node has a lock."""
        return bool(self.locks) and all(one.locking for one in self.locks) and not self.stuck and not self.unreached
