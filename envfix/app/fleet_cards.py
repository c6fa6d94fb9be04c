"""fleet gpus: the cards of many nodes, now."""

from __future__ import annotations

from contextlib import closing

from envfix.app import holding
from envfix.app.fleet import FleetRequest, ask_nodes, cards_unseen, engine_for, snapshot_files, why_unreached
from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.errors import SnapshotError
from envfix.fleet.folding import by_reason
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.model.facts import Machine
from envfix.model.fleet import FleetCards, FreestCard, NodeCards
from envfix.model.gpu_use import CardUse
from envfix.model.language import say
from envfix.model.reporter import Reporter


def cards(request: FleetRequest, *, reporter: Reporter = NOBODY) -> FleetCards:
    """Who holds which card of which node; the node with the freest card first."""
    host = RealHost()
    if request.folder is not None:
        origin, seen, unreached = _from_folder(host, request.folder, reporter)
    else:
        origin, seen, unreached = _asked(host, request, reporter)
    nodes = sorted(seen, key=_freest)
    best = next((FreestCard(node=node.node, card=_free(node)[0]) for node in nodes[:1] if _free(node)), None)
    return FleetCards(origin=origin, nodes=tuple(nodes), best=best, unreached=tuple(by_reason(unreached)))


def _asked(host: RealHost, request: FleetRequest, reporter: Reporter) -> tuple[str, list[NodeCards], dict[str, str]]:
    engine, limit = engine_for(host, request), time_limit(host)

    def look(node: ProbeHost) -> Machine:
        return holding.ask(node, limit)

    with closing(engine):
        listing = engine.nodes()
        seen, unreached = list[NodeCards](), dict(listing.unreached)
        with closing(ask_nodes(host, engine, listing, lambda ask: ask(look), request.limits, reporter)) as answers:
            for answer in answers:
                if answer.problem is None:
                    machine: Machine = answer.seen[0]
                    hidden = cards_unseen(machine, listing.cards.get(answer.node, 0), engine.name)
                    seen.append(_of_node(answer.node, machine, hidden))
                else:
                    unreached[answer.node] = answer.problem
    return engine.name, seen, unreached


def _from_folder(host: RealHost, folder: str, reporter: Reporter) -> tuple[str, list[NodeCards], dict[str, str]]:
    from envfix.app.snapshotting import read_snapshot

    seen, unreached, tables = list[NodeCards](), dict[str, str](), tables_for(host)
    files = snapshot_files(host, folder)
    reporter.stage(say("reading {number} snapshots", number=len(files)))
    for node, path in files.items():
        lost = why_unreached(host, path)
        if lost is not None:
            unreached[node] = lost
            continue
        try:
            seen.append(_of_node(node, read_snapshot(host, path, tables).machine))
        except SnapshotError as error:
            unreached[node] = error.message
    return say("the snapshots in {folder}", folder=folder), seen, unreached


def _of_node(node: str, machine: Machine, hidden: str | None = None) -> NodeCards:
    use = holding.judge(machine, origin=node)
    return NodeCards(node=node, cards=use.cards, problem=hidden or use.problem)


def _free(node: NodeCards) -> list[CardUse]:
    """The cards that can be used, the freest first."""
    usable = [use for use in node.cards if use.obstacle is None and use.card.memory_free is not None]
    return sorted(usable, key=lambda use: -(use.card.memory_free or 0))


def _freest(node: NodeCards) -> tuple[int, str]:
    free = _free(node)
    return -(free[0].card.memory_free or 0) if free else 1, node.node
