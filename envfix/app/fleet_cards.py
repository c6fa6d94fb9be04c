"""fleet gpus: the cards of many nodes, now."""

from __future__ import annotations

from contextlib import closing

from envfix.app import holding
from envfix.app.fleet import FleetRequest, ask_nodes, engine_for, snapshot_files, why_unreached
from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.errors import SnapshotError
from envfix.fleet.folding import by_reason
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.model.facts import Machine
from envfix.model.fleet import FleetCards, NodeCards
from envfix.model.reporter import Reporter


def cards(request: FleetRequest, *, reporter: Reporter = NOBODY) -> FleetCards:
    """Who holds which card of which node; the node with the freest card first."""
    host = RealHost()
    origin, seen, unreached = (
        _from_folder(host, request.folder, reporter) if request.folder is not None else _asked(host, request, reporter)
    )
    nodes = sorted((_of_node(node, machine) for node, machine in seen.items()), key=_freest)
    return FleetCards(origin=origin, nodes=tuple(nodes), unreached=tuple(by_reason(unreached)))


def _asked(host: RealHost, request: FleetRequest, reporter: Reporter) -> tuple[str, dict[str, Machine], dict[str, str]]:
    engine, limit = engine_for(host, request), time_limit(host)

    def look(node: ProbeHost) -> Machine:
        return holding.ask(node, limit)

    with closing(engine):
        listing = engine.nodes()
        seen, unreached = dict[str, Machine](), dict(listing.unreached)
        for answer in ask_nodes(host, engine, listing, lambda ask: ask(look), request.limits, reporter):
            if answer.problem is None:
                seen[answer.node] = answer.seen[0]
            else:
                unreached[answer.node] = answer.problem
    return engine.name, seen, unreached


def _from_folder(host: RealHost, folder: str, reporter: Reporter) -> tuple[str, dict[str, Machine], dict[str, str]]:
    from envfix.app.snapshotting import read_snapshot

    seen, unreached, tables = dict[str, Machine](), dict[str, str](), tables_for(host)
    files = snapshot_files(host, folder)
    reporter.stage(f"reading {len(files)} snapshots")
    for node, path in files.items():
        lost = why_unreached(host, path)
        if lost is not None:
            unreached[node] = lost
            continue
        try:
            seen[node] = read_snapshot(host, path, tables).machine
        except SnapshotError as error:
            unreached[node] = error.message
    return f"the snapshots in {folder}", seen, unreached


def _of_node(node: str, machine: Machine) -> NodeCards:
    use = holding.judge(machine, origin=node)
    return NodeCards(node=node, cards=use.cards, problem=use.problem)


def _freest(node: NodeCards) -> tuple[int, str]:
    free = [use.card.memory_free or 0 for use in node.cards if use.obstacle is None]
    return -max(free, default=-1), node.node
