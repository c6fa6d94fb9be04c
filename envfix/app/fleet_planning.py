"""plan and lock for a folder of snapshots: one stack that runs on all nodes, or the fewest stacks and their nodes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from envfix.app import choosing, locking, planning
from envfix.app.fleet import make_folder, snapshot_files, why_unreached
from envfix.app.locking import LockRequest
from envfix.app.planning import PlanRequest
from envfix.app.settings import NOBODY, tables_for
from envfix.errors import SnapshotError, UsageError
from envfix.fleet.folding import by_reason
from envfix.fleet.nodesets import fold
from envfix.host.real import RealHost
from envfix.model.fleet import FleetLocking, FleetPlan, Stack, StackLock, Stuck
from envfix.model.language import say
from envfix.model.plan import Plan, PlanTarget, TargetGpu
from envfix.model.reporter import Reporter
from envfix.resolver import sharing
from envfix.resolver.target import Elsewhere, describe
from envfix.tables.loader import Tables

if TYPE_CHECKING:
    from envfix.app.indexing import LiveIndexes


class _Kind(msgspec.Struct):
    """Nodes that are the same for a stack; ``path`` is the snapshot of one of them."""

    target: PlanTarget
    path: str
    nodes: list[str]


def plan(request: PlanRequest, *, reporter: Reporter = NOBODY) -> FleetPlan:
    """The fewest stacks; nodes that no stack runs on as they are are named with the reason. Raises ``UsageError``."""
    found, requests = _decided(request, reporter)
    stacks = []
    for stack, asked in zip(found.stacks, requests, strict=True):
        reporter.stage(say("planning for {nodes}", nodes=stack.nodes))
        stacks.append(msgspec.structs.replace(stack, plan=planning.plan(asked, reporter=reporter)))
    return msgspec.structs.replace(found, stacks=tuple(stacks))


def lock(request: LockRequest, *, reporter: Reporter = NOBODY) -> FleetLocking:
    """A lock for each of these stacks, in a folder of its own where there are several."""
    found, requests = _decided(request.plan, reporter)
    if len(requests) > 1 and request.out is None:
        raise UsageError(
            say("{number} stacks do not fit on one screen", number=len(requests)),
            hint=say("name a folder for them with -o FOLDER"),
        )
    locks = []
    for number, (stack, asked) in enumerate(zip(found.stacks, requests, strict=True), start=1):
        reporter.stage(say("locking for {nodes}", nodes=stack.nodes))
        out = request.out
        if len(requests) > 1 and out is not None:
            out = os.path.join(out, f"stack{number}", "")
            make_folder(out)
        made = locking.lock(msgspec.structs.replace(request, plan=asked, planned=True, out=out), reporter=reporter)
        if isinstance(made, Plan):
            locks.append(StackLock(nodes=stack.nodes, count=stack.count, plan=made))
        else:
            locks.append(StackLock(nodes=stack.nodes, count=stack.count, locking=made))
    return FleetLocking(locks=tuple(locks), stuck=found.stuck, unreached=found.unreached)


def _decided(request: PlanRequest, reporter: Reporter) -> tuple[FleetPlan, list[PlanRequest]]:
    """Which nodes share a stack, and each of these as a machine that can be planned for."""
    host = RealHost()
    tables = tables_for(host)
    assert request.snapshot is not None  # noqa: S101 - it is the folder
    if request.why_not is not None or request.new_env is not None or request.driver or request.gpus:
        raise UsageError(
            say("--from FOLDER plans for the nodes as they are"),
            hint=say("leave out --driver, --gpu, --why-not and --new-env, or name one snapshot"),
        )
    kinds, unreached, unusable = _kinds(host, request, tables, reporter)
    live = _live(host, request, tables, reporter)

    def choose(target: PlanTarget) -> Plan:
        return choosing.settled(target, request.goal, live, tables)[0]

    plans = [choose(kind.target) for kind in kinds]
    well = [number for number, made in enumerate(plans) if made.status == "ok"]
    stuck = [Stuck(nodes=row.nodes, count=row.count, reason=row.reason) for row in by_reason(unusable)]
    blocked: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for kind, made in zip(kinds, plans, strict=True):
        if made.status != "ok":
            blocked.setdefault((made.reasons[0], made.ways_out), []).extend(kind.nodes)
    for (reason, ways_out), nodes in blocked.items():
        stuck.append(Stuck(nodes=fold(nodes), count=len(nodes), reason=reason, ways_out=ways_out))
    shares = sharing.shares([kinds[number].target for number in well], lambda target: _fits(choose(target)))
    stacks, requests = [], []
    for group in shares.groups:
        members = [kinds[well[position]] for position in group]
        nodes = [node for kind in members for node in kind.nodes]
        machine = sharing.joined([kind.target for kind in members])
        assert machine is not None  # noqa: S101 - it was planned for
        stacks.append(Stack(nodes=fold(nodes), count=len(nodes), names=tuple(nodes), plan=choose(machine)))
        requests.append(_request(request, machine, members))
    order = sorted(range(len(stacks)), key=lambda number: -stacks[number].count)
    return (
        FleetPlan(
            stacks=tuple(stacks[number] for number in order),
            fewest=shares.fewest,
            stuck=tuple(stuck),
            unreached=tuple(by_reason(unreached)),
        ),
        [requests[number] for number in order],
    )


def _fits(made: Plan) -> bool:
    """A stack for every card: a plan that leaves one out is none for all."""
    return made.status == "ok" and made.gpu is None


def _kinds(
    host: RealHost, request: PlanRequest, tables: Tables, reporter: Reporter
) -> tuple[list[_Kind], dict[str, str], dict[str, str]]:
    """Nodes by what they are for a stack; those of which nothing is known, and those that cannot be planned for, with reasons."""
    files = snapshot_files(host, request.snapshot or "")
    reporter.stage(say("reading {number} snapshots", number=len(files)))
    kinds: dict[PlanTarget, _Kind] = {}
    unreached: dict[str, str] = {}
    unusable: dict[str, str] = {}
    said = Elsewhere(platform=request.platform, glibc=request.glibc, python=request.target)
    for node, path in files.items():
        target = _target(host, path, request, said, tables)
        if isinstance(target, SnapshotError):
            unreached[node] = target.message
        elif isinstance(target, UsageError):
            unusable[node] = target.message
        else:
            kinds.setdefault(target, _Kind(target=target, path=path, nodes=[])).nodes.append(node)
    return list(kinds.values()), unreached, unusable


def _target(
    host: RealHost, path: str, request: PlanRequest, said: Elsewhere, tables: Tables
) -> PlanTarget | SnapshotError | UsageError:
    """A node as a machine to plan for, or why it is none."""
    lost = why_unreached(host, path)
    if lost is not None:
        return SnapshotError(lost)
    try:
        machine, environment = planning.look(msgspec.structs.replace(request, snapshot=path), host, tables, NOBODY)
        target = describe(machine, environment.interpreter, said, tables)
    except (SnapshotError, UsageError) as error:
        return error
    # Patch releases of Python share their wheels.
    short = ".".join(target.python.split(".")[:2])
    return msgspec.structs.replace(sharing.same(target), python=short)


def _live(host: RealHost, request: PlanRequest, tables: Tables, reporter: Reporter) -> LiveIndexes | None:
    if request.goal.offline:
        return None
    from envfix.app.indexing import LiveIndexes

    _, environment = planning.look(
        PlanRequest(goal=request.goal), host, tables, reporter
    )  # the indexes are those that answer from here
    return LiveIndexes(host, environment, planning.named_indexes(request, host), reporter)


def _card(card: TargetGpu) -> str:
    """As ``--gpu`` takes it; what a node calls a card may be anything."""
    name = " ".join(card.name.replace(":", " ").replace(";", " ").split()) or "GPU"
    return f"{name}:{card.capability}" if card.capability else name


def _request(request: PlanRequest, machine: PlanTarget, members: list[_Kind]) -> PlanRequest:
    """The stack's machine in the options of ``envfix plan``: the snapshot of a member, with what the others ask for."""
    base = next((kind for kind in members if kind.target.gpus), members[0])
    cards = tuple(_card(card) for card in machine.gpus)
    alone = len(members) == 1
    return msgspec.structs.replace(
        request,
        snapshot=base.path,
        driver=None if alone or machine.driver is None else str(machine.driver),
        gpus=() if alone else cards,
        glibc=request.glibc if alone else machine.glibc,
    )
