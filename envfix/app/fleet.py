"""fleet: ask many nodes, or read what was gathered, and put those together that are in the same state."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import msgspec

from envfix import snapshots
from envfix.app.detecting import detect
from envfix.app.diagnosing import diagnose as judged
from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.errors import EnvfixError, SnapshotError, UsageError
from envfix.fleet import folding, gathering, nodesets, travelling
from envfix.fleet.asking import Told
from envfix.fleet.gathering import Answered, Limits, Talk
from envfix.fleet.interface import Engine, Listing
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.model import reasons
from envfix.model.documents import Redactor, to_json
from envfix.model.facts import Environment, Machine, unknown
from envfix.model.finding import Diagnosis
from envfix.model.fleet import Behind, FleetReport, FleetSeen, NodeState
from envfix.model.gpu_use import numbers
from envfix.model.language import in_english, say, stated
from envfix.model.reporter import Reporter
from envfix.probes import commands
from envfix.probes.interpreter import literal
from envfix.tables.loader import Tables

# The management library's own bindings, one file of standard means: what a node's driver is asked with.
BINDINGS = "pynvml"
# States that are kept to be compared with what is read next.
KEPT_STATES = 500
# How often it is told how many have answered.
TOLD_TIMES = 20
# What lies in a folder of snapshots for a node that was not reached.
UNREACHED, SHORT = "envfix.unreached/1", 5000
HOST_NAME = "/proc/sys/kernel/hostname"
WHICH_PYTHON = ("/bin/sh", "-c", "command -v python || command -v python3")


class FleetRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Which nodes, by which way, and what of them. Exactly one way is named.

    ``folder`` holds snapshots, ``ssh`` names nodes (empty: those of ``nodes``), ``nodes`` and ``partition`` choose among
    Slurm's, or among those of Kubernetes. ``target`` is the interpreter on each node, as for ``--python``. ``with_card``: a card is
    to be used, so that the scheduler is asked for one.
    """

    folder: str | None = None
    slurm: bool = False
    partition: str | None = None
    nodes: str | None = None
    ssh: str | None = None
    ssh_config: str | None = None
    kubernetes: bool = False
    image: str | None = None
    namespace: str | None = None
    target: str | None = None
    with_import: bool = True
    limits: Limits = Limits()
    save: str | None = None
    with_card: bool = False


def request_of(*, seconds: float | None = None, fan_out: int | None = None, **wishes: Any) -> FleetRequest:
    """What the options of the command line ask for; raises ``UsageError`` where they do not go together."""
    request = FleetRequest(
        limits=Limits(seconds=seconds or gathering.SECONDS, fan_out=fan_out or gathering.FAN_OUT), **wishes
    )
    named = [request.folder is not None, request.slurm, request.ssh is not None, request.kubernetes]
    if sum(named) > 1:
        raise UsageError(
            say("one way to the nodes at a time"), hint=say("give one of --from, --slurm, --ssh and --kubernetes")
        )
    if request.folder is not None and (request.nodes or request.target or request.save):
        raise UsageError(say("--from reads what was gathered: leave out -w, --python and --save"))
    if request.partition is not None and not request.slurm:
        raise UsageError(say("--partition is Slurm's: add --slurm"))
    if (request.image or request.namespace) and not request.kubernetes:
        raise UsageError(say("--image and --namespace are for --kubernetes"))
    if request.ssh_config is not None and request.ssh is None:
        raise UsageError(say("--ssh-config is for --ssh NODES"))
    return request


def way(request: FleetRequest) -> tuple[str, ...]:
    """The same way to the same nodes, in the options of the command line."""
    named = {
        "-p": request.partition,
        "-w": request.nodes,
        "--ssh": request.ssh,
        "--ssh-config": request.ssh_config,
        "--image": request.image,
        "-n": request.namespace,
    }
    first = ("--slurm",) if request.slurm else ("--kubernetes",) if request.kubernetes else ()
    return (*first, *(word for name, value in named.items() if value is not None for word in (name, value) if word))


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen on a node; ``carried`` is the Python that this shell's PATH names there, where that is another one."""

    machine: Machine
    environment: Environment
    people: tuple[str, ...] = ()
    host: str | None = None
    home: str | None = None
    carried: str | None = None


def diagnose(request: FleetRequest, *, reporter: Reporter = NOBODY) -> FleetReport:
    """Every node's facts judged by today's rules, and nodes of equal state folded.

    Raises ``UsageError`` for a request that makes no sense and ``EnvfixError`` where the way to the nodes itself fails.
    """
    return look(request, with_stack=False, reporter=reporter).report


def look(request: FleetRequest, *, with_stack: bool, reporter: Reporter = NOBODY) -> FleetSeen:
    """The same; ``with_stack`` with what a page of it needs besides."""
    host = RealHost()
    judge = _Judge(host, tables_for(host), with_stack=with_stack)
    if request.folder is not None:
        return _from_folder(host, request.folder, judge, reporter)
    return _from_nodes(host, request, judge, reporter)


def playbook_request(request: FleetRequest) -> FleetRequest:
    """The same, for a playbook, which finds its nodes itself; raises ``UsageError`` where another way is named too."""
    if request.folder or request.slurm or request.ssh is not None or request.kubernetes or request.nodes:
        raise UsageError(
            say("--ansible writes a playbook, whose inventory names the nodes"),
            hint=say("leave out the other ways; `ansible-playbook -e nodes=GROUP` chooses among them"),
        )
    return request


def manifest(request: FleetRequest) -> str:
    """The Jobs that ``--kubernetes`` would make, as YAML; nothing is made."""
    from envfix.fleet.kubernetes import Kubernetes

    engine = engine_for(RealHost(), request) if request.folder is None else None
    if not isinstance(engine, Kubernetes):
        raise UsageError(say("--print writes the Jobs of --kubernetes: add that"))
    return engine.print()


# --- snapshots in a folder ---


def snapshot_files(host: RealHost, folder: str) -> dict[str, str]:
    """The snapshots of a folder by the node they are of: ``gpu7.json``, ``gpu7/snapshot.json``; pasted reports as ``.txt``."""
    place = literal(folder.rstrip("/") or "/")
    found: dict[str, str] = {}
    for path in (*host.glob(f"{place}/*.json"), *host.glob(f"{place}/*.txt"), *host.glob(f"{place}/*/snapshot.json")):
        name = os.path.basename(path)
        name = os.path.basename(os.path.dirname(path)) if name == "snapshot.json" else os.path.splitext(name)[0]
        # Of two files for the same node none is passed over in silence.
        found[name if name not in found else os.path.relpath(path, folder)] = path
    if not found:
        there = host.glob(place + "/.")
        raise SnapshotError(
            say("{folder} holds no snapshots", folder=folder)
            if there
            else say("there is no folder {folder}", folder=folder),
            hint=say(
                "a folder of files written by `envfix snapshot -o NODE.json`, or by `envfix fleet diagnose --save`"
            ),
        )
    return found


def _from_folder(host: RealHost, folder: str, judge: _Judge, reporter: Reporter) -> FleetSeen:
    files, unreached = snapshot_files(host, folder), dict[str, str]()
    reporter.stage(say("judging {number} snapshots", number=len(files)))
    fold = folding.Fold()
    for node, path in files.items():
        read = judge.file(node, path)
        if isinstance(read, NodeState):
            fold.add(read)
        else:
            unreached[node] = read
    report = folding.report(say("the snapshots in {folder}", folder=folder), fold.groups(), unreached)
    return FleetSeen(report=report, behind=fold.behind())


class _Judge:
    """Judges facts, the very same ones once only."""

    def __init__(self, host: RealHost, tables: Tables, *, with_stack: bool = False) -> None:
        self._host, self._tables, self._with_stack = host, tables, with_stack
        self._known: dict[bytes, NodeState] = {}

    def file(self, node: str, path: str) -> NodeState | str:
        """One saved machine, or why it cannot be read: a file that somebody else has written may be anything."""
        try:
            return self._file(node, path)
        except SnapshotError as error:
            return error.message

    def _file(self, node: str, path: str) -> NodeState:
        text = self._host.read_text(path, limit=snapshots.SIZE_LIMIT).text
        lost = _why_unreached(text)
        if lost is not None:
            raise SnapshotError(lost)
        sealed = snapshots.sealed_facts(text)
        if sealed is None:
            return self._read(node, path)  # a pasted report, or damaged: said there
        key = hashlib.blake2b(sealed).digest()
        if key not in self._known:
            if len(self._known) >= KEPT_STATES:
                self._known.clear()
            facts = snapshots.open_facts(sealed)
            if facts is None:
                return self._read(node, path)
            self._known[key] = self.facts(node, facts.machine, facts.environment)
        return msgspec.structs.replace(self._known[key], node=node)

    def _read(self, node: str, path: str) -> NodeState:
        from envfix.app.snapshotting import read_snapshot

        saved = read_snapshot(self._host, path, self._tables)
        return self.facts(node, saved.machine, saved.environment)

    def facts(self, node: str, machine: Machine, environment: Environment) -> NodeState:
        """What the rules say of one node."""
        diagnosis = judged(machine, environment, self._tables)
        state = folding.state_of(node, machine, environment, diagnosis)
        if not self._with_stack:
            return state
        return msgspec.structs.replace(state, behind=self._behind(machine, environment, diagnosis))

    def _behind(self, machine: Machine, environment: Environment, diagnosis: Diagnosis) -> Behind:
        from envfix.app.stacking import links

        return Behind(
            stack=links(machine, environment, diagnosis, self._tables),
            cards=numbers(machine.gpus.value or ()),
            people=_users(machine),
        )


def _users(machine: Machine) -> tuple[str, ...]:
    """Who holds the cards."""
    users = [process.user for card in machine.gpus.value or () for process in card.processes]
    return tuple(dict.fromkeys(filter(None, users)))


def unreached_document(reason: str) -> str:
    """What lies in the folder in place of a node's snapshot, where there is none."""
    return to_json({"schema": UNREACHED, "reason": reason}) + "\n"


def why_unreached(host: RealHost, path: str) -> str | None:
    """The reason that lies in place of a snapshot; None where there is one."""
    return _why_unreached(host.read_text(path, limit=SHORT).text)


def _why_unreached(text: str) -> str | None:
    if len(text) >= SHORT or UNREACHED not in text:
        return None
    try:
        return msgspec.json.decode(text, type=_Unreached).reason[:300]
    except msgspec.DecodeError:
        return reasons.REASON_DAMAGED


class _Unreached(msgspec.Struct):
    reason: str


# --- nodes that are asked ---


def engine_for(host: RealHost, request: FleetRequest) -> Engine:
    """The way to the nodes that was named."""
    seconds, with_card = request.limits.seconds, request.with_card
    if request.slurm:
        from envfix.fleet.slurm import Slurm

        return Slurm(host, partition=request.partition, nodes=request.nodes, seconds=seconds, with_card=with_card)
    if request.kubernetes:
        from envfix.fleet.kubernetes import Kubernetes

        return Kubernetes(
            host,
            nodes=request.nodes,
            image=request.image,
            namespace=request.namespace,
            seconds=seconds,
            with_card=with_card,
        )
    if request.ssh is not None:
        from envfix.fleet.ssh import Ssh

        named = ",".join(filter(None, [request.ssh, request.nodes]))
        if not named:
            raise UsageError(say("--ssh needs nodes"), hint=say("for example --ssh 'node[1-8],gpu9', or -w @group"))
        return Ssh(named, configuration=request.ssh_config)
    raise UsageError(
        say("which nodes is not said"), hint=say("give one of --slurm, --ssh NODES, --kubernetes or --from FOLDER")
    )


def collector_files(host: RealHost, *more: str) -> dict[str, str]:
    """What travels to a node: the collector, the scripts of the probes, and what they import."""
    paths = {name: host.script_path(name) for name in (travelling.COLLECTOR, *travelling.SCRIPTS, *more)}
    bindings = find_spec(BINDINGS)
    if bindings is not None and bindings.origin:
        paths[f"{BINDINGS}.py"] = bindings.origin
    return {name: host.read_text(path).text for name, path in paths.items()}


def ask_nodes(
    host: RealHost,
    engine: Engine,
    listing: Listing,
    talk: Talk,
    limits: Limits,
    reporter: Reporter,
    *,
    more: Sequence[str] = (),
) -> Generator[Answered, None, None]:
    """The answers as they come; ``more`` are scripts that travel too. Closing it ends all conversations."""
    total = len(listing.nodes)
    reporter.stage(say("asking {total} node{s}", total=total, s="" if total == 1 else "s"))
    step = max(1, total // TOLD_TIMES)
    answers = gathering.gather(engine, listing.nodes, talk, collector_files(host, *more), limits)
    with closing(answers):
        for number, answer in enumerate(answers, start=1):
            yield answer
            if number % step == 0 or number == total:
                reporter.stage(say("{number} of {total} have answered", number=number, total=total))


def _from_nodes(host: RealHost, request: FleetRequest, judge: _Judge, reporter: Reporter) -> FleetSeen:
    engine = engine_for(host, request)
    if request.save is not None:
        make_folder(request.save)
    limit, path = time_limit(host), host.getenv("PATH") if request.slurm and request.target is None else None

    def look(node: ProbeHost) -> Seen:
        with in_english():  # what is saved is read by others
            return look_at(node, request, limit, path)

    fold, carried = folding.Fold(), dict[str, list[str]]()
    with closing(engine):
        listing = engine.nodes()
        unreached = dict(listing.unreached)
        with closing(ask_nodes(host, engine, listing, lambda ask: ask(look), request.limits, reporter)) as answers:
            for answer in answers:
                if answer.problem is not None:
                    unreached[answer.node] = answer.problem
                    continue
                whole, told = answer.seen
                seen = _with_cards_unseen(whole, listing.cards.get(answer.node, 0), engine.name)
                fold.add(_with_names(judge.facts(answer.node, seen.machine, seen.environment), whole))
                if seen.carried is not None:
                    carried.setdefault(seen.carried, []).append(answer.node)
                if request.save is not None:
                    save(host, request, answer.node, seen, told)
    for node, reason in unreached.items() if request.save is not None else ():
        write_into(host, request.save or "", node, unreached_document(reason))
    notes = [
        say(
            "On {fold} a job sent from here runs {python}: srun carries this shell's PATH. What is"
            " told here is what a log-in there runs.",
            fold=nodesets.fold(nodes),
            python=python,
        )
        for python, nodes in carried.items()
    ]
    notes += _older(host, request.save, {*listing.nodes, *unreached}) if request.save is not None else ()
    report = folding.report(engine.name, fold.groups(), unreached, notes=notes, saved=request.save)
    return FleetSeen(report=report, behind=fold.behind())


def _older(host: RealHost, folder: str, asked: Collection[str]) -> Iterator[str]:
    """Whoever plans from the folder takes all that lies in it."""
    others = [name for name in snapshot_files(host, folder) if name not in asked]
    if others:
        yield say(
            "{folder} holds files of nodes that were not asked now as well: {names}.",
            folder=folder,
            names=nodesets.fold(others),
        )


def _with_names(state: NodeState, seen: Seen) -> NodeState:
    """Whose names are to be taken out, also where what the cards tell was put aside."""
    if state.behind is None:
        return state
    behind = msgspec.structs.replace(state.behind, people=seen.people, home=seen.home)
    return msgspec.structs.replace(state, behind=behind)


def look_at(host: ProbeHost, request: FleetRequest, limit: float, path: str | None) -> Seen:
    """Everything that is asked of a node: what a diagnosis asks, and whose names are to be taken out of what is saved."""
    machine, environment = detect(host, request.target, with_import=request.with_import, timeout=limit)
    people = [host.getenv("USER"), host.getenv("LOGNAME")]
    people += _users(machine)
    carried = None
    if path is not None:
        carried = _another_python(host, environment, path, limit)
    return Seen(
        machine=machine,
        environment=environment,
        people=tuple(dict.fromkeys(filter(None, people))),
        host=host.read_text(HOST_NAME).text.strip() or None,
        home=host.system_facts().get("home"),
        carried=carried,
    )


def _another_python(host: ProbeHost, environment: Environment, path: str, limit: float) -> str | None:
    """The Python of a job that carries this PATH there, where a log-in on the node finds one in another place."""
    said = host.run(WHICH_PYTHON, timeout=limit, env={"PATH": path}).stdout.strip()
    own = environment.interpreter.value
    if not said.startswith("/") or "\n" in said:
        return None
    places = (os.path.dirname(one) for one in (commands.without_shim(host, said), own.started or "" if own else ""))
    here, there = map(host.real_path, places)
    return None if here == there else said


def cards_unseen(machine: Machine, listed: int, engine: str) -> str | None:
    """That a node has more cards than are shown there, if that is so."""
    shown = len(machine.gpus.value or ())
    if shown >= listed or machine.gpus.is_unknown:
        return None
    many = say("{count} card{s}", count=listed, s="" if listed == 1 else "s")
    return say(
        "{engine} lists {many}, and shows {shown} of them to a job that asks for none",
        engine=engine,
        many=many,
        shown=shown or say("none"),
    )


def _with_cards_unseen(seen: Seen, listed: int, engine: str) -> Seen:
    """A job without cards may be shown none of those that are listed: that they are not there is not known then.

    Nor is anything else that a program without cards finds of a driver: none of it is the node's fault.
    """
    with in_english():  # what is saved is read by others
        problem = cards_unseen(seen.machine, listed, engine)
    if problem is None:
        return seen
    hidden: Any = unknown(stated("{engine} and the driver", engine=engine), problem)
    machine = msgspec.structs.replace(seen.machine, gpus=hidden, driver_layers=hidden, device_state=hidden)
    if machine.driver.value is None:
        machine = msgspec.structs.replace(machine, driver=hidden)
    environment, said = seen.environment, seen.environment.torch_import.value
    if said is not None and said.cuda_available is False:
        without = msgspec.structs.replace(said, cuda_available=None, cuda_problem=None)
        imported = msgspec.structs.replace(environment.torch_import, value=without)
        environment = msgspec.structs.replace(environment, torch_import=imported)
    return msgspec.structs.replace(seen, machine=machine, environment=environment)


def make_folder(path: str) -> None:
    """The folder, where it is not there yet; raises ``EnvfixError``."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise EnvfixError(
            say("cannot make {path}: {strerror}", path=path, strerror=error.strerror or error),
            hint=say("name another --save FOLDER"),
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise EnvfixError(
            say("cannot write into {path}: {strerror}", path=path, strerror=os.strerror(errno.EACCES)),
            hint=say("name another --save FOLDER"),
        )


def save(host: RealHost, request: FleetRequest, node: str, seen: Seen, told: Told) -> None:
    """The node's snapshot, redacted; its file is called as the node is."""
    redactor = Redactor(home=seen.home, people=seen.people, host=seen.host)
    content = snapshots.document(
        seen.machine,
        seen.environment,
        list(told.transcript),
        redactor,
        target=request.target,
        with_import=request.with_import,
    )
    write_into(host, request.save or "", node, to_json(content) + "\n")


def write_into(host: RealHost, folder: str, node: str, text: str) -> None:
    """A node's file in a folder of snapshots; raises ``EnvfixError``."""
    path = os.path.join(folder, f"{node}.json")
    try:
        host.write_text(path, text)
    except OSError as error:
        raise EnvfixError(
            say("cannot write {path}: {strerror}", path=path, strerror=error.strerror or error)
        ) from error
