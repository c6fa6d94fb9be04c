"""fleet verify: the ladder on every node."""

from __future__ import annotations

from contextlib import closing

import msgspec

from envfix.app import holding
from envfix.app.fleet import FleetRequest, ask_nodes, engine_for
from envfix.app.settings import NOBODY, time_limit
from envfix.app.verifying import has_gpu, idle_device
from envfix.errors import TargetError, UsageError
from envfix.fleet.asking import FOLDER, AskingHost
from envfix.fleet.folding import by_reason
from envfix.fleet.gathering import Answered, Ask, Talk
from envfix.host.interface import CommandResult, ProbeHost
from envfix.host.real import RealHost
from envfix.model.facts import Machine
from envfix.model.fleet import FleetVerified, NodeVerified
from envfix.model.language import say
from envfix.model.reporter import Reporter
from envfix.probes import commands, interpreter
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
    if request.folder is not None:
        raise UsageError(
            say("a snapshot cannot be verified: nothing runs there"), hint=say("name nodes: --slurm, --ssh NODES")
        )
    host, limit = RealHost(), time_limit(RealHost())
    climb = ladder.prepare(level=level, weights=Weights(find=True))
    limits = msgspec.structs.replace(request.limits, seconds=max(request.limits.seconds, climb.seconds + AROUND))
    request = msgspec.structs.replace(request, limits=limits, with_card=device != "cpu" and level != "import")
    engine = engine_for(host, request)
    with closing(engine):
        listing = engine.nodes()
        unreached = dict(listing.unreached)
        nodes = []
        talk = _talk(request.target, device, limit, climb)
        with closing(ask_nodes(host, engine, listing, talk, limits, reporter, more=ladder.SCRIPTS)) as answers:
            for answer in answers:
                if answer.problem is None:
                    nodes.append(_verified(answer))
                else:
                    unreached[answer.node] = answer.problem
    nodes.sort(key=lambda node: node.node)
    return FleetVerified(origin=engine.name, nodes=tuple(nodes), unreached=tuple(by_reason(unreached)))


def _talk(target: str | None, device: str, limit: float, climb: ladder.Prepared) -> Talk:
    """First which interpreter it is and which card is idle, then the ladder: that is climbed once only."""

    def look(host: ProbeHost) -> tuple[str | None, str, Machine]:
        chosen = interpreter.resolve(host, target)
        path = chosen.path
        if target is None and path is not None:
            path = commands.without_shim(host, path)
        return path, chosen.how, holding.ask(host, limit)

    def talk(ask: Ask) -> NodeVerified:
        (path, how, machine), _ = ask(look)
        if path is None:
            return NodeVerified(node="", problem=say("there is no Python (looked at: {how})", how=how))
        with_gpu = has_gpu(machine)
        card = idle_device(machine, NOBODY) if device == "auto" else device
        words = climb.arguments(FOLDER, device=card, gpu_expected=with_gpu)

        def climbed(host: ProbeHost) -> CommandResult:
            assert isinstance(host, AskingHost)  # noqa: S101 - nodes are asked in no other way
            return host.run_in_folder(path, ladder.SCRIPT, words, timeout=climb.seconds)

        result, _ = ask(climbed)
        try:
            return NodeVerified(node="", verification=climb.read(path, result, gpu_expected=with_gpu))
        except TargetError as error:
            return NodeVerified(node="", problem=error.message)

    return talk


def _verified(answer: Answered) -> NodeVerified:
    seen: NodeVerified = answer.seen
    return NodeVerified(node=answer.node, verification=seen.verification, problem=seen.problem)
