"""fleet verify: the ladder on every node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

import msgspec

from envfix.app import holding
from envfix.app.detecting import detect
from envfix.app.fleet import FleetRequest, ask_nodes, engine_for, way
from envfix.app.scene import Scene
from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.app.verifying import has_gpu, idle_device, why
from envfix.errors import SnapshotError, TargetError, UsageError
from envfix.fleet.asking import FOLDER, AskingHost
from envfix.fleet.folding import by_reason, in_order
from envfix.fleet.gathering import Ask, Talk
from envfix.fleet.nodesets import fold
from envfix.host.dialogue import DialogueError
from envfix.host.interface import CommandResult, ProbeHost
from envfix.host.real import RealHost
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Remedy
from envfix.model.fleet import Failure, FleetVerified, NodeVerified
from envfix.model.language import say
from envfix.model.outcome import Verification
from envfix.model.reporter import Reporter
from envfix.probes import commands, interpreter
from envfix.rules._environments import NEW_ENV
from envfix.tables.loader import Tables
from envfix.verifier import ladder
from envfix.verifier.interface import Level, Weights

# Seconds beside those of the ladder itself.
AROUND = 60.0


def verify(
    request: FleetRequest,
    *,
    level: Level = "yolo",
    device: str = "auto",
    reporter: Reporter = NOBODY,
    on_node: Callable[[NodeVerified], None] = lambda _: None,
) -> FleetVerified:
    """Climb the ladder with the interpreter that is meant on each node; a node without one says so.

    Where a scheduler gives out the cards, it is asked for one: nobody else's is used. ``on_node`` hears of each node as soon
    as it has told how far it came.
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
        talk, tables = _talk(request, device, limit, climb), tables_for(host)
        target = () if request.target is None else ("--python", request.target)
        diagnose = ("envfix", "fleet", "diagnose", *way(request), *target)
        with closing(ask_nodes(host, engine, listing, talk, limits, reporter, more=ladder.SCRIPTS)) as answers:
            for answer in answers:
                if answer.problem is None:
                    nodes.append(_judged(answer.node, answer.seen, tables, diagnose))
                    on_node(nodes[-1])
                else:
                    unreached[answer.node] = answer.problem
    nodes.sort(key=lambda node: in_order(node.node))
    return FleetVerified(
        origin=engine.name,
        nodes=tuple(nodes),
        failures=tuple(_failures(nodes)),
        unreached=tuple(by_reason(unreached)),
    )


def _failures(nodes: Sequence[NodeVerified]) -> Iterator[Failure]:
    """Those that fail alike together, the commonest first."""
    alike: dict[tuple[object, ...], list[NodeVerified]] = {}
    for node in nodes:
        if not node.holds:
            failed = node.failed
            key = (node.problem,) if failed is None else (failed.name, failed.cause, _remedies(node))
            alike.setdefault(key, []).append(node)
    for row in sorted(alike.values(), key=lambda row: -len(row)):
        failed = row[0].failed
        yield Failure(
            nodes=fold(node.node for node in row),
            count=len(row),
            shown=row[0].node,
            rung=failed.name if failed is not None else None,
            cause=failed.cause if failed is not None else None,
            message=failed.message if failed is not None else row[0].problem or "",
            remedies=_remedies(row[0]),
        )


def _remedies(node: NodeVerified) -> tuple[Remedy, ...]:
    return node.verification.remedies if node.verification is not None else ()


class _Climbed(msgspec.Struct, frozen=True, kw_only=True):
    """How far a node came, and where a rung failed what the node is like afterwards; ``taken`` are files there."""

    verification: Verification | None = None
    problem: str | None = None
    facts: tuple[Machine, Environment] | None = None
    taken: tuple[str, ...] = ()


def _judged(node: str, climbed: _Climbed, tables: Tables, diagnose: tuple[str, ...]) -> NodeVerified:
    """With the cause and what mends it."""
    verification, facts = climbed.verification, climbed.facts
    if verification is not None and facts is not None:
        scene = Scene(verification.python, tables, lambda: facts, climbed.taken.__contains__, diagnose=diagnose)
        verification = why(verification, scene, Weights(find=True))
    return NodeVerified(node=node, verification=verification, problem=climbed.problem)


def _talk(request: FleetRequest, device: str, limit: float, climb: ladder.Prepared) -> Talk:
    """First which interpreter it is and which card is idle, then the ladder: that is climbed once only; last what it failed on."""

    def look(host: ProbeHost) -> tuple[str | None, str, Machine]:
        chosen = interpreter.resolve(host, request.target)
        path = chosen.path
        if request.target is None and path is not None:
            path = commands.without_shim(host, path)
        return path, chosen.how, holding.ask(host, limit)

    def talk(ask: Ask) -> _Climbed:
        (path, how, machine), _ = ask(look)
        if path is None:
            return _Climbed(problem=say("there is no Python (looked at: {how})", how=how))
        with_gpu = has_gpu(machine)
        card = idle_device(machine, NOBODY) if device == "auto" else device
        words = climb.arguments(FOLDER, device=card, gpu_expected=with_gpu)

        def climbed(host: ProbeHost) -> CommandResult:
            assert isinstance(host, AskingHost)  # noqa: S101 - nodes are asked in no other way
            return host.run_in_folder(path, ladder.SCRIPT, words, timeout=climb.seconds)

        result, _ = ask(climbed)
        try:
            verification = climb.read(path, result, gpu_expected=with_gpu)
        except TargetError as error:
            return _Climbed(problem=error.message)
        facts, taken = None, ()
        if verification.failed is not None:
            with suppress(DialogueError, SnapshotError):  # how far it came is known all the same
                facts, _ = ask(lambda host: detect(host, path, with_import=False, timeout=limit))
                taken, _ = ask(lambda host: host.glob(NEW_ENV[-1] + "*"))
        return _Climbed(verification=verification, facts=facts, taken=taken)

    return talk
