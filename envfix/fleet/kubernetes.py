"""GPU nodes of a Kubernetes cluster: a Job on each that only waits, and kubectl exec to speak to it.

A Job is put on its node by name, past the scheduler: it asks for no card, so it takes none from anybody and waits for none.
Its pod is shown the cards all the same where NVIDIA's runtime is the default one; where it is shown fewer than the node
has, that is told as not known. What is seen of Python and torch is that of the image.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec

from envfix.errors import EnvfixError, UsageError
from envfix.fleet import nodesets
from envfix.fleet.interface import Listing
from envfix.fleet.travelling import start
from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.model import reasons
from envfix.model.language import retold, say

R = TypeVar("R")
T = TypeVar("T")
IMAGE = "python:3-slim"
KUBECTL_SECONDS = 30.0
# How long pods may take to start: images are fetched first.
STARTING_SECONDS = 120.0
LOOK_EVERY = 0.5
APP, RUN = "app.kubernetes.io/name", "envfix-run"
# The label of Jobs that somebody else has made from what `--print` wrote.
PRINTED = "printed"
CARDS = "nvidia.com/gpu"


class _Condition(msgspec.Struct, frozen=True):
    type: str
    status: str
    message: str | None = None
    reason: str | None = None


class _NodeStatus(msgspec.Struct, frozen=True):
    conditions: list[_Condition] | None = None
    capacity: dict[str, Any] | None = None


class _Waiting(msgspec.Struct, frozen=True):
    reason: str | None = None
    message: str | None = None


class _ContainerState(msgspec.Struct, frozen=True):
    waiting: _Waiting | None = None


class _Container(msgspec.Struct, frozen=True):
    state: _ContainerState = _ContainerState()


class _PodStatus(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = "Pending"
    message: str | None = None
    reason: str | None = None
    container_statuses: list[_Container] | None = None


class _Named(msgspec.Struct, frozen=True):
    name: str


class _PodSpec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: str | None = None


class _Node(msgspec.Struct, frozen=True):
    metadata: _Named
    status: _NodeStatus = _NodeStatus()


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Named
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _Items(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]


def parse_nodes(text: str) -> dict[str, tuple[int, str | None]]:
    """The nodes in ``kubectl get nodes -o json``: how many cards each has to give, and why it cannot be asked."""
    found: dict[str, tuple[int, str | None]] = {}
    for node in _read(text, _Items[_Node]).items:
        ready = next((row for row in node.status.conditions or () if row.type == "Ready"), None)
        problem = None
        if ready is None or ready.status != "True":
            reason = (ready.message or ready.reason if ready is not None else None) or reasons.NO_REASON
            problem = reasons.NOT_READY.format(reason=reason)
        cards = str((node.status.capacity or {}).get(CARDS, "0"))
        if nodesets.NAME.fullmatch(node.metadata.name):
            found[node.metadata.name] = (int(cards) if cards.isdecimal() else 0, problem)
    return found


def parse_pods(text: str) -> dict[str, tuple[str, str, str | None]]:
    """By node: the name of its pod, its phase, and what keeps it from starting."""
    found = {}
    for pod in _read(text, _Items[_Pod]).items:
        status = pod.status
        waiting = [row.state.waiting for row in status.container_statuses or () if row.state.waiting is not None]
        reason = next((f"{row.reason}: {row.message or ''}".rstrip(": ") for row in waiting if row.reason), None)
        if status.phase == "Failed":
            reason = status.message or status.reason or reasons.FAILED
        found[pod.spec.node_name or ""] = (pod.metadata.name, status.phase, reason)
    return found


def _read(text: str, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise EnvfixError(
            say("kubectl's answer is not readable"), hint=say("try `kubectl get nodes -o json` by itself")
        ) from error


def manifest(nodes: tuple[str, ...], image: str, run: str, *, seconds: int, with_card: bool = False) -> dict[str, Any]:
    """A Job for each node that waits so long to be spoken to, and goes by itself; with a card only where one is to be used."""
    jobs = [_job(node, f"envfix-{run}-{number}", run, image, seconds) for number, node in enumerate(nodes)]
    for job in jobs if with_card else ():
        job["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {CARDS: 1}}
    return {"apiVersion": "v1", "kind": "List", "items": jobs}


def _job(node: str, name: str, run: str, image: str, seconds: int) -> dict[str, Any]:
    labels = {APP: "envfix", RUN: run}
    container = {
        "name": "envfix",
        "image": image,
        "command": ["sleep", str(seconds)],
        "env": [
            {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"},
            {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"},
        ],
    }
    pod = {
        "nodeName": node,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": 60,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


class Kubernetes:
    """Needs kubectl here with the right to make Jobs and to exec, and an image with any Python (implements ``Engine``)."""

    name = "Kubernetes"

    def __init__(
        self,
        host: RealHost,
        *,
        nodes: str | None = None,
        image: str | None = None,
        namespace: str | None = None,
        seconds: float = 300.0,
        with_card: bool = False,
    ) -> None:
        self._host, self._image, self._with_card = host, image or IMAGE, with_card
        self._seconds = int(seconds + STARTING_SECONDS) + 60
        self._named = None if nodes is None else nodesets.expand(nodes)
        self._where = ("-n", namespace) if namespace else ()
        self._run = secrets.token_hex(4)
        self._pods: dict[str, str] = {}
        self._made = False

    def nodes(self) -> Listing:
        """Those with cards, or those that are named; a pod of each has started then."""
        wanted, unreached, cards = self._wanted()
        pods = self._running(PRINTED)
        if not pods and wanted:
            self._create(wanted)
            pods = self._started(wanted)
        self._pods = {node: name for node, (name, phase, _) in pods.items() if phase == "Running"}
        for node in wanted:
            if node not in self._pods:
                _, phase, reason = pods.get(node, ("", reasons.NO_POD, None))
                unreached[node] = reasons.NOT_STARTED.format(reason=reason or phase)
        return Listing(nodes=tuple(node for node in wanted if node in self._pods), unreached=unreached, cards=cards)

    def print(self) -> str:
        """What would be made, as one text for ``kubectl apply -f -``: with those Jobs there, nothing else is made."""
        import yaml

        wanted, _, _ = self._wanted()
        return str(yaml.safe_dump(self._manifest(wanted, PRINTED), sort_keys=False))

    def command(self, node: str) -> tuple[str, ...]:
        """The collector in the pod on that node."""
        return ("kubectl", "exec", "-i", *self._where, self._pods[node], "-c", "envfix", "--", *start("as it is"))

    def close(self) -> None:
        """Delete the Jobs and, with them, their pods."""
        if self._made:
            self._kubectl("delete", "jobs", "-l", f"{RUN}={self._run}", "--wait=false", "--ignore-not-found")

    def _wanted(self) -> tuple[tuple[str, ...], dict[str, str], dict[str, int]]:
        answer = self._kubectl("get", "nodes", "-o", "json")
        if not answer.ok:
            raise EnvfixError(
                say("Kubernetes does not tell its nodes: kubectl: {failure}", failure=retold(answer.failure)),
                hint=say("try `kubectl get nodes` by itself"),
            )
        known = parse_nodes(answer.stdout)
        named = self._named or tuple(name for name, (cards, _) in known.items() if cards)
        if not named:
            raise UsageError(say("no node here has NVIDIA cards to give"), hint=say("name others with -w NODES"))
        unreached = dict(_lost(named, known))
        wanted = tuple(name for name in named if name not in unreached)
        return wanted, unreached, {name: cards for name, (cards, _) in known.items()}

    def _manifest(self, nodes: tuple[str, ...], run: str) -> dict[str, Any]:
        return manifest(nodes, self._image, run, seconds=self._seconds, with_card=self._with_card)

    def _create(self, nodes: tuple[str, ...]) -> None:
        folder = self._host.make_temporary_folder()
        try:
            path = f"{folder}/jobs.json"
            self._host.write_text(path, json.dumps(self._manifest(nodes, self._run)))
            self._made = True
            answer = self._kubectl("create", "--validate=false", "-f", path)
        finally:
            self._host.remove_tree(folder)
        if not answer.ok:
            raise EnvfixError(
                say("the Jobs cannot be made: kubectl: {failure}", failure=retold(answer.failure)),
                hint=say("`envfix fleet diagnose --kubernetes --print` writes them for somebody who may"),
            )

    def _started(self, nodes: tuple[str, ...]) -> dict[str, tuple[str, str, str | None]]:
        until = time.monotonic() + STARTING_SECONDS
        pods: dict[str, tuple[str, str, str | None]] = {}
        while True:
            with suppress(EnvfixError):  # it has answered before: once more is asked in a moment
                pods = self._running(self._run)
            settled = [
                node for node in nodes if node in pods and (pods[node][1] != "Pending" or _hopeless(pods[node][2]))
            ]
            if len(settled) == len(nodes) or time.monotonic() > until:
                return pods
            time.sleep(LOOK_EVERY)

    def _running(self, run: str) -> dict[str, tuple[str, str, str | None]]:
        answer = self._kubectl("get", "pods", "-l", f"{APP}=envfix,{RUN}={run}", "-o", "json")
        if not answer.ok:
            raise EnvfixError(
                say("Kubernetes does not tell its pods: kubectl: {failure}", failure=answer.failure),
                hint=say("try `kubectl get pods` by itself"),
            )
        return parse_pods(answer.stdout)

    def _kubectl(self, *words: str) -> CommandResult:
        return self._host.run(["kubectl", *self._where, *words], timeout=KUBECTL_SECONDS)


def _lost(named: tuple[str, ...], known: dict[str, tuple[int, str | None]]) -> Iterator[tuple[str, str]]:
    for name in named:
        _, problem = known.get(name, (0, reasons.NOT_IN_KUBERNETES))
        if problem is not None:
            yield name, problem


def _hopeless(reason: str | None) -> bool:
    """Whether a pod will not start however long one waits."""
    return reason is not None and reason.startswith(("ErrImage", "ImagePullBackOff", "InvalidImage", "CreateContainer"))
