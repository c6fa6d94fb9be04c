"""``--allow-download``: ultralytics fetches its own weights, from a stand-in for its host, and nothing else goes out."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from envfix.host.real import RealHost
from envfix.model.outcome import Verification
from envfix.verifier.interface import Weights
from envfix.verifier.ladder import verify
from tests.verify_fixtures import environment_with_yolo, make_weights, run

HOST = "github.com"


@dataclass
class World:
    """What lies beyond the proxy: the one file that the host has, and what was asked for."""

    proxy: str
    content: bytes | None = None
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for the host, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    file, key = folder / "host.pem", folder / "host.key"
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}",
        "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out", str(file),
    )  # fmt: skip
    return file, key


@pytest.fixture
def world(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A proxy that leads every connection to a stand-in for the host, which the clients trust."""
    made = World(proxy="")

    class Host(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
            """Stay silent."""

        def do_GET(self) -> None:
            """Give the file."""
            made.asked.append(f"GET {self.path}")
            self.send_response(200 if made.content else 404)
            self.send_header("Content-Length", str(len(made.content or b"")))
            self.end_headers()
            self.wfile.write(made.content or b"")

    behind = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    behind.socket = context.wrap_socket(behind.socket, server_side=True, do_handshake_on_connect=False)

    class Proxy(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
            """Stay silent."""

        def do_CONNECT(self) -> None:
            """Open a tunnel to the stand-in, whatever was asked for."""
            made.asked.append(f"CONNECT {self.path}")
            with socket.create_connection(("127.0.0.1", behind.server_address[1]), timeout=10) as there:
                self.send_response(200)
                self.end_headers()
                hand_on(self.connection, there)
            self.close_connection = True

    front = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    made.proxy = f"http://127.0.0.1:{front.server_address[1]}"
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, made.proxy)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(certificate[0]))
    with serving(behind), serving(front):
        yield made


def hand_on(here: socket.socket, there: socket.socket) -> None:
    """Pass bytes both ways until one side ends."""
    with contextlib.suppress(OSError):
        while True:
            ready, _, _ = select.select([here, there], [], [], 20)
            for one in ready:
                data = one.recv(65536)
                if not data:
                    return
                (there if one is here else here).sendall(data)
            if not ready:
                return


@pytest.fixture(scope="module")
def yolo_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with the system's torch and a current ultralytics."""
    return environment_with_yolo(tmp_path_factory.mktemp("yolo") / "env")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and home."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    return folder


def verified(python: str, *, download: bool) -> Verification:
    return verify(RealHost(), python, weights=Weights(find=True, download=download))


@pytest.mark.online
@pytest.mark.slow
def test_weights_are_fetched_for_those_who_allow_it(yolo_python: str, world: World, work: Path, tmp_path: Path) -> None:
    world.content = make_weights(yolo_python, tmp_path / "w.pt", "person,bus", tmp_path).read_bytes()
    verification = verified(yolo_python, download=True)
    assert verification.status == "passed", verification.failed
    assert verification.weights == "yolov8n.pt"
    assert {line.split("?")[0].rsplit("/", 1)[-1] for line in world.asked if line.startswith("GET")} == {"yolov8n.pt"}
    assert {line for line in world.asked if line.startswith("CONNECT")} == {f"CONNECT {HOST}:443"}
    # The weights went with the scratch folder.
    assert [path.name for path in work.rglob("*")] == ["envfix-verify.jpg"]


@pytest.mark.online
@pytest.mark.slow
def test_nothing_is_asked_for_without_being_allowed(yolo_python: str, world: World, work: Path) -> None:
    verification = verified(yolo_python, download=False)
    assert (verification.status, verification.rungs[-1].status) == ("passed", "skipped")
    assert world.asked == []
    assert list(work.rglob("*")) == []


@pytest.mark.online
@pytest.mark.slow
def test_a_download_that_fails_is_told(yolo_python: str, world: World, work: Path) -> None:
    verification = verified(yolo_python, download=True)
    failed = verification.failed
    assert failed is not None
    assert failed.name == "yolo_weights"
    assert failed.message.startswith("yolov8n.pt could not be downloaded: ")
    assert verification.weights == "random"
    assert list(work.rglob("*")) == []
    assert world.asked
