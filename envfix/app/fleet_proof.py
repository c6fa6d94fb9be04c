"""fleet verify: the ladder on every node."""

from __future__ import annotations

from contextlib import closing

import msgspec

from envfix.app.fleet import FleetRequest, ask_nodes, engine_for
from envfix.app.settings import NOBODY, time_limit
from envfix.errors import TargetError
from envfix.fleet.asking import FOLDER, AskingHost
from envfix.fleet.folding import by_reason
from envfix.fleet.gathering import Answered, Ask, Talk
from envfix.host.interface import CommandResult, ProbeHost
from envfix.host.real import RealHost
from envfix.model.fleet import FleetVerified, NodeVerified
from envfix.model.reporter import Reporter
from envfix.probes import commands, displays, interpreter, nvidia_driver
from envfix.verifier import ladder
from envfix.verifier.interface import Level, Weights

# Seconds beside those of the ladder itself.
AROUND = 60.0


def verify(
    request: FleetRequest, *, level: Level = "yolo", device: str = "auto", reporter: Reporter = NOBODY
) -> FleetVerified:
    """Climb the ladder with the interpreter that is meant on each node; a node without one says so.

    Where a scheduler gives out the cards, it is asked for one: nobody else's is used.
    """
    host, limit = RealHost(), time_limit(RealHost())
    climb = ladder.prepare(level=level, device=device, weights=Weights(find=True))
    limits = msgspec.structs.replace(request.limits, seconds=max(request.limits.seconds, climb.seconds + AROUND))
    request = msgspec.structs.replace(request, limits=limits, with_card=device != "cpu" and level != "import")
    engine = engine_for(host, request)
    with closing(engine):
        listing = engine.nodes()
        unreached = dict(listing.unreached)
        nodes = []
        talk = _talk(request.target, limit, climb)
        for answer in ask_nodes(host, engine, listing, talk, limits, reporter, more=ladder.SCRIPTS):
            if answer.problem is None:
                nodes.append(_verified(answer))
            else:
                unreached[answer.node] = answer.problem
    nodes.sort(key=lambda node: node.node)
    return FleetVerified(origin=engine.name, nodes=tuple(nodes), unreached=tuple(by_reason(unreached)))


def _talk(target: str | None, limit: float, climb: ladder.Prepared) -> Talk:
    """First which interpreter it is and whether there are cards, then the ladder: that is climbed once only."""

    def look(host: ProbeHost) -> tuple[str | None, str, bool]:
        chosen = interpreter.resolve(host, target)
        path = chosen.path
        if target is None and path is not None:
            path = commands.without_shim(host, path)
        nvidia, pci = nvidia_driver.probe(host, timeout=limit), displays.probe(host, timeout=limit)
        on_bus = any(row.vendor_id == "10de" for row in pci.value or ())
        return path, chosen.how, bool(nvidia.gpus.value) or nvidia.gpus.is_unknown or on_bus

    def talk(ask: Ask) -> NodeVerified:
        (path, how, has_gpu), _ = ask(look)
        if path is None:
            return NodeVerified(node="", problem=f"there is no Python (looked at: {how})")

        def climbed(host: ProbeHost) -> CommandResult:
            assert isinstance(host, AskingHost)  # noqa: S101 - nodes are asked in no other way
            words = climb.arguments(FOLDER, gpu_expected=has_gpu)
            return host.run_in_folder(path, ladder.SCRIPT, words, timeout=climb.seconds)

        result, _ = ask(climbed)
        try:
            return NodeVerified(node="", verification=climb.read(path, result, gpu_expected=has_gpu))
        except TargetError as error:
            return NodeVerified(node="", problem=error.message)

    return talk


def _verified(answer: Answered) -> NodeVerified:
    seen: NodeVerified = answer.seen
    return NodeVerified(node=answer.node, verification=seen.verification, problem=seen.problem)
