"""A package index on 127.0.0.1 with small made-up wheels, to watch the unmodified uv choose and download.

Layouts, for a repository called REPO (``cu118``, ``main``...):
``/simple/REPO/`` PEP 503 with metadata · ``/json/REPO/`` PEP 691 · ``/nometa/REPO/`` PEP 503 without metadata ·
``/flat/REPO/`` and ``/flat/REPO.html`` one find-links page · ``/files/REPO/FILE`` the wheels ·
``/broken/HOW/torch/`` pages that misbehave. With repositories named by variants, ``/simple`` and ``/flat`` are trees
as the official index and its mirrors are. ``serve`` speaks TLS when it is given a certificate, ``serve_proxy`` is a proxy
as companies have them, and ``Index.file_fault`` says how the files misbehave.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import html
import io
import json
import random
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
LOGIN_PAGE = b"<html><body><h1>Campus network login</h1><a href='/login'>enter</a></body></html>"


@dataclass(frozen=True)
class Wheel:
    """One made-up wheel: its file name, its bytes and its METADATA."""

    name: str
    filename: str
    data: bytes
    metadata: bytes

    @property
    def sha256(self) -> str:
        """The hash an honest index tells."""
        return hashlib.sha256(self.data).hexdigest()


def make_wheel(
    name: str,
    version: str,
    tag: str = "py3-none-any",
    *,
    requires: tuple[str, ...] = (),
    padding: int = 0,
    files: int = 0,
    metadata_name: str | None = None,
    more: Mapping[str, bytes] | None = None,
) -> Wheel:
    """A wheel with ``NAME/__init__.py`` and the files in ``more``.

    ``padding`` adds that many incompressible bytes, ``files`` so many small modules.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {metadata_name or name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    metadata = ("\n".join(lines) + "\n").encode()
    python, abi, platform = tag.split("-")
    tags = "".join(f"Tag: {python}-{abi}-{single}\n" for single in platform.split("."))
    content = {
        f"{module}/__init__.py": f"__version__ = {version!r}\n".encode(),
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: made-up\nRoot-Is-Purelib: true\n{tags}".encode(),
    }
    if padding:
        content[f"{module}/padding.bin"] = random.Random(0).randbytes(padding)  # noqa: S311
    content |= more or {}
    content |= {f"{module}/part{number // 100}/m{number}.py": b"x = 1\n" * number for number in range(files)}
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, data in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data)
    return Wheel(name, f"{module}-{version}-{tag}.whl", buffer.getvalue(), metadata)


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Request:
    """One request the server saw."""

    method: str
    path: str
    range: str | None
    user_agent: str
    unchanged: bool = False


@dataclass
class Index:
    """The running server: what it holds, how it misbehaves, and what it was asked.

    ``file_fault`` is what a request for a wheel of ``fault_in`` gets: a status (``"503"``), ``cut`` (the connection ends
    in the middle), ``short`` or ``long`` (a wrong Content-Length), ``login`` (a page instead) or ``redirect`` (for ever);
    ``faults_left`` is how many requests get it (None: all). ``cut_files_after`` cuts every file that is longer.
    """

    base: str = ""
    repositories: dict[str, dict[str, Wheel]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    wrong_hashes: bool = False
    no_hashes: bool = False
    file_fault: str | None = None
    fault_in: str = "cu118"
    faults_left: int | None = None
    retry_after: int | None = None
    cut_files_after: int | None = None
    stall_files: bool = False
    bytes_per_second: int | None = None
    password: str | None = None
    missing_status: int = 404
    delay: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)

    def add(self, repository: str, *wheels: Wheel) -> None:
        """Put wheels into a repository."""
        self.repositories.setdefault(repository, {}).update({wheel.filename: wheel for wheel in wheels})

    def url(self, layout: str, repository: str) -> str:
        """The address of a repository in one of the layouts."""
        return f"{self.base}/{layout}/{repository}/"

    def asked(self, text: str) -> list[str]:
        """The paths asked for that contain ``text``."""
        return [request.path for request in self.requests if text in request.path]

    def downloads(self) -> list[str]:
        """The wheels that were fetched, whole or in part."""
        return [
            request.path
            for request in self.requests
            if request.method == "GET" and request.path.endswith(".whl") and not request.unchanged
        ]

    def ranges(self) -> list[str | None]:
        """Which part of a wheel each download asked for; None is the whole."""
        return [request.range for request in self.requests if request.method == "GET" and request.path.endswith(".whl")]

    def next_fault(self) -> str | None:
        """What the next request for a wheel gets; counts ``faults_left`` down."""
        if self.file_fault is None or self.faults_left == 0:
            return None
        if self.faults_left is not None:
            self.faults_left -= 1
        return self.file_fault


@contextlib.contextmanager
def serve(certificate: tuple[str, str] | None = None) -> Iterator[Index]:
    """Run an empty index on a free port of 127.0.0.1 until the block ends; ``certificate`` is a file and its key."""
    index = Index()

    class Handler(_Handler):
        held = index

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    index.base = f"http://127.0.0.1:{server.server_address[1]}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # The handshake belongs to the connection's own thread: a client that breaks it off must not stop the server.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        index.base = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Server(ThreadingHTTPServer):
    """Is not disturbed by clients that break off."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a broken connection; everything else is a mistake of the test."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    held: Index
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Stay silent."""

    def do_HEAD(self) -> None:
        """Answer like GET, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Find the layout and answer."""
        path = urllib.parse.unquote(self.path.partition("?")[0])
        agent = self.headers.get("User-Agent", "")
        unchanged = "If-None-Match" in self.headers
        self.held.requests.append(Request(self.command, path, self.headers.get("Range"), agent, unchanged))
        parts = path.strip("/").split("/")
        if self.held.delay and "/files/" not in path:
            self.held.stopping.wait(self.held.delay)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            if not self._may_enter():
                self._say(401, "text/plain", b"who are you?")
            elif parts[0] == "broken" and len(parts) > 1:
                self._misbehave(parts[1])
            elif parts[0] in ("simple", "json", "nometa") and len(parts) == 3:
                self._project(parts[0], parts[1], parts[2])
            elif parts[0] == "flat" and len(parts) == 2 and parts[1].removesuffix(".html") in self.held.repositories:
                name = parts[1].removesuffix(".html")
                self._page(name, list(self.held.repositories[name].values()), with_metadata=False)
            elif parts[0] == "files" and len(parts) == 3:
                self._file(parts[1], parts[2])
            else:
                self._say(self.held.missing_status, "text/plain", b"not here")

    def _may_enter(self) -> bool:
        if self.held.password is None:
            return True
        wanted = "Basic " + base64.b64encode(f"user:{self.held.password}".encode()).decode()
        return self.headers.get("Authorization") == wanted

    def _say(self, status: int, kind: str, body: bytes, **more: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _project(self, layout: str, repository: str, project: str) -> None:
        wheels = [
            wheel
            for wheel in self.held.repositories.get(repository, {}).values()
            if wheel.name.replace("_", "-").lower() == project
        ]
        if not wheels:
            self._say(self.held.missing_status, "text/plain", b"no such project")
        elif layout == "json":
            self._json(repository, project, wheels)
        else:
            self._page(repository, wheels, with_metadata=layout == "simple")

    def _told_hash(self, wheel: Wheel) -> str:
        """What the index says of the file."""
        return "0" * 64 if self.held.wrong_hashes else wheel.sha256

    def _json(self, repository: str, project: str, wheels: list[Wheel]) -> None:
        files = [
            {
                "filename": wheel.filename,
                "url": f"/files/{repository}/{urllib.parse.quote(wheel.filename)}",
                "hashes": {"sha256": self._told_hash(wheel)},
                "size": len(wheel.data),
                "core-metadata": {"sha256": hashlib.sha256(wheel.metadata).hexdigest()},
            }
            for wheel in wheels
        ]
        document = {"meta": {"api-version": "1.1"}, "name": project, "files": files, "versions": []}
        self._say(200, JSON_TYPE, json.dumps(document).encode())

    def _page(self, repository: str, wheels: list[Wheel], *, with_metadata: bool) -> None:
        links = []
        for wheel in wheels:
            metadata = (
                f' data-core-metadata="sha256={hashlib.sha256(wheel.metadata).hexdigest()}"' if with_metadata else ""
            )
            address = f"/files/{repository}/{urllib.parse.quote(wheel.filename)}"
            address += "" if self.held.no_hashes else f"#sha256={self._told_hash(wheel)}"
            links.append(f'<a href="{address}"{metadata}>{html.escape(wheel.filename).replace("+", "&#43;")}</a><br/>')
        body = "<!DOCTYPE html><html><body>\n" + "\n".join(links) + "\n</body></html>"
        self._say(200, "text/html", body.encode())

    def _file(self, repository: str, filename: str) -> None:
        wheels = self.held.repositories.get(repository, {})
        if filename.endswith(".metadata") and filename[: -len(".metadata")] in wheels:
            self._say(200, "application/octet-stream", wheels[filename[: -len(".metadata")]].metadata)
            return
        wheel = wheels.get(filename)
        if wheel is None:
            self._say(404, "text/plain", b"no such file")
            return
        etag = f'"{wheel.sha256[:16]}"'
        if self.headers.get("If-None-Match") == etag:
            self._say(304, "application/octet-stream", b"", ETag=etag)
            return
        data, status, more = wheel.data, 200, {"ETag": etag, "Accept_Ranges": "bytes"}
        wanted = self.headers.get("Range", "")
        if wanted.startswith("bytes="):
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start = int(first) if first else max(len(data) - int(last), 0)
            end = min(int(last), len(data) - 1) if first and last else len(data) - 1
            more["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
            data, status = data[start : end + 1], 206
        fault = self.held.next_fault() if self.command == "GET" and repository == self.held.fault_in else None
        if fault is not None:
            self._fail(fault, status, data, more)
            return
        self._send_file(status, data, more)

    def _send_file(self, status: int, data: bytes, more: dict[str, str]) -> None:
        limit = self.held.cut_files_after
        slow = self.held.stall_files or self.held.bytes_per_second
        if not slow and (limit is None or len(data) <= limit):
            self._say(status, "application/octet-stream", data, **more)
            return
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data)))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if limit is not None:
            self.wfile.write(data[:limit])
        elif self.held.stall_files:
            self.wfile.write(data[: len(data) // 4])
            self.wfile.flush()
            self.held.stopping.wait(60)
        else:
            self._drip(data, self.held.bytes_per_second or 1)
            return
        self.close_connection = True

    def _fail(self, fault: str, status: int, data: bytes, more: dict[str, str]) -> None:
        """One wheel that does not come as it should."""
        if fault.isdigit():
            wait = {} if self.held.retry_after is None else {"Retry_After": str(self.held.retry_after)}
            self._say(int(fault), "text/plain", b"no", **wait)
        elif fault == "login":
            self._say(200, "text/html", LOGIN_PAGE)
        elif fault == "redirect":
            self._say(302, "text/plain", b"", Location=f"{self.path.partition('?')[0]}?{time.monotonic()}")
        else:
            self.close_connection = True
            told = {"cut": len(data), "short": len(data) - 1000, "long": len(data) + 1000}[fault]
            self.send_response(status)
            self.send_header("Content-Length", str(told))
            for name, value in more.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault == "cut" else data)

    def _drip(self, data: bytes, rate: int) -> None:
        step = max(rate // 10, 1)
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            if self.held.stopping.wait(0.1):
                return

    def _misbehave(self, how: str) -> None:
        if how.isdigit():
            self._say(int(how), "text/plain", b"no")
        elif how == "garbage":
            self._say(200, "text/html", random.Random(1).randbytes(50_000))  # noqa: S311
        elif how == "login":
            self._say(200, "text/html", LOGIN_PAGE)
        elif how == "badjson":
            self._say(200, JSON_TYPE, b'{"meta": {"api-version": "1.0"}, "files": [{"url"')
        elif how == "binary":
            self._say(200, "application/octet-stream", b"\x00" * 100)
        elif how == "redirect":
            self._say(302, "text/plain", b"", Location=f"/broken/redirect/torch/?{time.monotonic()}")
        elif how == "hang":
            self.held.stopping.wait(30)
            self.close_connection = True
        elif how == "huge":
            self._endless(pause=0.0)
        elif how == "drip":
            self._endless(pause=0.05)
        else:
            self._say(404, "text/plain", b"")

    def _endless(self, *, pause: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(10**12))
        self.end_headers()
        self.close_connection = True
        block = b"<a href='x'>x</a>\n" * (4096 if not pause else 1)
        while not self.held.stopping.wait(pause):
            self.wfile.write(block)


@dataclass
class Proxy:
    """A running proxy: its address, the login it wants (``user:password``), and what went through it."""

    address: str = ""
    login: str | None = None
    requests: list[str] = field(default_factory=list)


@contextlib.contextmanager
def serve_proxy() -> Iterator[Proxy]:
    """Run a proxy (CONNECT, and GET of whole addresses) on a free port of 127.0.0.1 until the block ends."""
    proxy = Proxy()

    class Handler(_ProxyHandler):
        held = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    proxy.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _ProxyHandler(BaseHTTPRequestHandler):
    """Hands one connection on to where it wants to go."""

    held: Proxy
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Stay silent."""

    def do_CONNECT(self) -> None:
        """Open a tunnel."""
        if self._may_pass():
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=10) as there:
                self.send_response(200)
                self.end_headers()
                self._pass_on(there)

    def do_HEAD(self) -> None:
        """See ``do_GET``."""
        self.do_GET()

    def do_GET(self) -> None:
        """Fetch a whole address."""
        if not self._may_pass():
            return
        parts = urllib.parse.urlsplit(self.path)
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=10) as there:
            kept = [f"{name}: {value}" for name, value in self.headers.items() if not name.lower().startswith("proxy")]
            kept = [line for line in kept if not line.lower().startswith("connection")]
            place = urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))
            head = [f"{self.command} {place} HTTP/1.1", *kept, "Connection: close", "", ""]
            there.sendall("\r\n".join(head).encode())
            # The client must hear that this connection ends, or it sends the next request into it.
            answer = there.recv(65536)
            while b"\r\n" not in answer:
                answer += there.recv(65536)
            self.connection.sendall(answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            self._pass_on(there)

    def _may_pass(self) -> bool:
        self.held.requests.append(f"{self.command} {self.path}")
        if self.held.login is None:
            return True
        wanted = "Basic " + base64.b64encode(self.held.login.encode()).decode()
        if self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="company"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _pass_on(self, there: socket.socket) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                ready, _, _ = select.select([self.connection, there], [], [], 20)
                if not ready:
                    return
                for one in ready:
                    data = one.recv(65536)
                    if not data:
                        return
                    (there if one is self.connection else self.connection).sendall(data)
