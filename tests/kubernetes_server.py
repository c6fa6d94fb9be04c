"""As much of a Kubernetes API server as kubectl needs to list nodes, make Jobs, speak to their pods and delete them.

A pod is nothing but a set of variables: ``kubectl exec`` in it starts the program here with those. Spoken over WebSockets
(``v5.channel.k8s.io``), which kubectl does by itself since 1.31.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STDIN, STDOUT, STDERR, ERROR, CLOSE = 0, 1, 2, 3, 255
RESOURCES = {
    "/api/v1": ("v1", [("nodes", "Node", False), ("pods", "Pod", True)]),
    "/apis/batch/v1": ("batch/v1", [("jobs", "Job", True)]),
}


class FakeNode:
    """A node: the variables of a pod there, how many cards it has to give, and what is wrong with it."""

    def __init__(
        self, variables: Mapping[str, str], *, cards: int = 1, not_ready: str | None = None, waiting: str | None = None
    ) -> None:
        self.variables, self.cards, self.not_ready, self.waiting = dict(variables), cards, not_ready, waiting

    def document(self, name: str) -> dict[str, Any]:
        """As the API tells it."""
        ready = {
            "type": "Ready",
            "status": "False" if self.not_ready else "True",
            "message": self.not_ready or "kubelet is ready",
        }
        capacity = {"cpu": "8", **({"nvidia.com/gpu": str(self.cards)} if self.cards else {})}
        return {"metadata": {"name": name}, "status": {"conditions": [ready], "capacity": capacity}}


class Cluster:
    """The state of the server, and where it listens."""

    def __init__(self, nodes: Mapping[str, FakeNode]) -> None:
        self.nodes = dict(nodes)
        self.jobs: dict[str, dict[str, Any]] = {}
        self.made: list[dict[str, Any]] = []
        self.forbidden = False
        self.hides_pods = False
        self.address = ""

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """A pod for each Job that bears these labels."""
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        found = []
        for name, job in self.jobs.items():
            spec = job["spec"]["template"]["spec"]
            if wanted.items() <= job["metadata"]["labels"].items():
                waiting = self.nodes[spec["nodeName"]].waiting
                state: dict[str, Any] = (
                    {"waiting": {"reason": waiting, "message": "no such image"}} if waiting else {"running": {}}
                )
                found.append(
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {
                            "name": f"{name}-pod",
                            "namespace": "default",
                            "labels": job["metadata"]["labels"],
                        },
                        "spec": spec,
                        "status": {
                            "phase": "Pending" if waiting else "Running",
                            "containerStatuses": [{"name": "envfix", "state": state}],
                        },
                    }
                )
        return found


class _Handler(BaseHTTPRequestHandler):
    """Answers for the ``cluster`` that its subclass names."""

    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        place = urlsplit(self.path).path
        if place.endswith("/exec"):
            self._speak(place.split("/")[-2], parse_qs(urlsplit(self.path).query)["command"])
            return
        if self.cluster.hides_pods and place.endswith("/pods"):
            self._refuse(403, "Forbidden", "pods is forbidden: you may not")
            return
        document = _discovery(place) or self._listed(place)
        if document is None:
            self._refuse(404, "NotFound", f"there is no {place}")
        else:
            self._tell(document)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.cluster.forbidden or not self.path.partition("?")[0].endswith("/jobs"):
            self._refuse(403, "Forbidden", "jobs.batch is forbidden: you may not")
            return
        job = json.loads(body)
        self.cluster.jobs[job["metadata"]["name"]] = job
        self.cluster.made.append(job)
        self._tell(job, 201)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.cluster.jobs.pop(urlsplit(self.path).path.rpartition("/")[2], None)
        self._tell({"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def _listed(self, place: str) -> dict[str, Any] | None:
        selector = parse_qs(urlsplit(self.path).query).get("labelSelector", [""])[0]
        last = place.rpartition("/")[2]
        if last == "nodes":
            return _list("NodeList", "v1", [node.document(name) for name, node in self.cluster.nodes.items()])
        if last == "pods":
            return _list("PodList", "v1", self.cluster.pods(selector))
        if last == "jobs":
            run = selector.partition("=")[2]
            jobs = [job for job in self.cluster.jobs.values() if job["metadata"]["labels"]["envfix-run"] == run]
            return _list("JobList", "batch/v1", jobs)
        return next((pod for pod in self.cluster.pods("") if pod["metadata"]["name"] == last), None)

    def _tell(self, document: Mapping[str, Any], code: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, code: int, reason: str, message: str) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
        self._tell({**status, "code": code}, code)

    def _speak(self, pod: str, command: list[str]) -> None:
        if self.headers.get("Upgrade", "").lower() != "websocket":
            self._refuse(400, "BadRequest", "this server speaks WebSockets only")
            return
        key = (self.headers["Sec-WebSocket-Key"] + MAGIC).encode()
        accepted = hashlib.sha1(key).digest()  # noqa: S324 - as RFC 6455 says
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", base64.b64encode(accepted).decode()),
            ("Sec-WebSocket-Protocol", "v5.channel.k8s.io"),
        ):
            self.send_header(name, value)
        self.end_headers()
        spec = self.cluster.jobs[pod.removesuffix("-pod")]["spec"]["template"]["spec"]
        _Session(self.rfile, self.wfile).run(command, self.cluster.nodes[spec["nodeName"]].variables)
        self.close_connection = True


def _discovery(place: str) -> dict[str, Any] | None:
    """What kinds of things there are."""
    if place == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if place == "/apis":
        version = {"groupVersion": "batch/v1", "version": "v1"}
        group = {"name": "batch", "versions": [version], "preferredVersion": version}
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]}
    if place not in RESOURCES:
        return None
    group_version, rows = RESOURCES[place]
    verbs = ["create", "delete", "get", "list"]
    resources = [
        {"name": name, "singularName": "", "kind": kind, "namespaced": inside, "verbs": verbs}
        for name, kind, inside in rows
    ]
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": resources}


def _list(kind: str, version: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": version, "metadata": {}, "items": items}


class _Session:
    """One program at the other end of a WebSocket."""

    def __init__(self, reading: Any, writing: Any) -> None:
        self._reading, self._writing, self._lock = reading, writing, threading.Lock()

    def run(self, command: list[str], variables: Mapping[str, str]) -> None:
        process = subprocess.Popen(
            command,
            env=dict(variables),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        outputs = [
            threading.Thread(target=self._hand_on, args=(stream, channel), daemon=True)
            for stream, channel in ((process.stdout, STDOUT), (process.stderr, STDERR))
        ]
        for thread in (*outputs, threading.Thread(target=self._listen, args=(process,), daemon=True)):
            thread.start()
        code = process.wait()
        for thread in outputs:
            thread.join(5)
        status: dict[str, Any] = {"metadata": {}, "status": "Success"}
        if code:
            causes = [{"reason": "ExitCode", "message": str(code)}]
            message = f"command terminated with exit code {code}"
            status = {
                "metadata": {},
                "status": "Failure",
                "reason": "NonZeroExitCode",
                "message": message,
                "details": {"causes": causes},
            }
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()
        with contextlib.suppress(OSError):
            self._send(bytes([ERROR]) + json.dumps(status).encode())
            self._send(struct.pack("!H", 1000), opcode=8)

    def _hand_on(self, stream: Any, channel: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := os.read(stream.fileno(), 32768):
                self._send(bytes([channel]) + chunk)

    def _send(self, data: bytes, opcode: int = 2) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack("!H", len(data))
        with self._lock:
            self._writing.write(bytes([0x80 | opcode]) + size + data)
            self._writing.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError, struct.error, IndexError):
            while True:
                opcode, data = self._frame()
                if opcode == 9:
                    self._send(data, opcode=10)
                elif opcode == 8 or (opcode == 2 and data[:2] == bytes([CLOSE, STDIN])):
                    break
                elif opcode == 2 and data[0] == STDIN:
                    process.stdin.write(data[1:])
                    process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._reading.read(2)
        size = second & 0x7F
        if size >= 126:
            (size,) = struct.unpack("!H" if size == 126 else "!Q", self._reading.read(2 if size == 126 else 8))
        mask = self._reading.read(4)
        data = self._reading.read(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return first & 0x0F, (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")


@contextlib.contextmanager
def serve(folder: Path, nodes: Mapping[str, FakeNode]) -> Iterator[Cluster]:
    """A running server, and ``config`` in the folder, which tells kubectl where it is."""
    cluster = Cluster(nodes)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    cluster.address = f"http://127.0.0.1:{server.server_address[1]}"
    (folder / "config").write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": {"server": cluster.address}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
                "users": [{"name": "me", "user": {}}],
                "current-context": "fake",
            }
        )
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()


def need_kubectl() -> None:
    """Skip where there is no kubectl that speaks WebSockets."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not installed")
    told = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"v1\.(\d+)", told)
    if version is None or int(version[1]) < 31:
        pytest.skip(f"kubectl speaks SPDY to exec before 1.31, and the fake server does not ({told.split(chr(10))[0]})")
