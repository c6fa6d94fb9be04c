"""The official torch index on loopback, for programs whose addresses are built in: a proxy that leads every name to one server.

Its pages hold the wheels that envfix's tables know, as names and metadata without files: enough for a dry run.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import ssl
import subprocess  # noqa: TID251 - openssl makes a throw-away certificate
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote

from envfix.tables.loader import Tables, load
from tests.loopback_index import _ProxyHandler, _Server

HOST = "download.pytorch.org"
_PAGE = re.compile(r"/whl/(?P<variant>[a-z]+[0-9.]*)/(?P<package>torch|torchvision)/$")
_METADATA = re.compile(r"/(?P<package>torch|torchvision)-(?P<version>[^-/]+)-[^/]+\.whl\.metadata$")


class TorchIndex:
    """Where the index is reached: ``variables`` send a program there, ``ca`` is the certificate that it must trust."""

    def __init__(self, proxy: str, ca: Path) -> None:
        self.ca = ca
        self.variables = {
            "HTTPS_PROXY": f"http://{proxy}",
            "SSL_CERT_FILE": str(ca),
            "PIP_CERT": str(ca),
            "NO_PROXY": "127.0.0.1",
        }


@contextlib.contextmanager
def serve_official(folder: Path) -> Iterator[TorchIndex]:
    """Run it until the block ends; raises ``OSError`` where there is no openssl."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    tables = load()

    class Pages(_Pages):
        held = tables

    server = _Server(("127.0.0.1", 0), Pages)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)

    class Detour(_Detour):
        there_port = server.server_address[1]

    proxy = _Server(("127.0.0.1", 0), Detour)
    with _running(server), _running(proxy):
        yield TorchIndex(f"127.0.0.1:{proxy.server_address[1]}", certificate)


@contextlib.contextmanager
def _running(server: ThreadingHTTPServer) -> Iterator[None]:
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


def _certificate(folder: Path) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError("there is no openssl to make a certificate with")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = [
        "-subj",
        f"/CN={HOST}",
        "-addext",
        f"subjectAltName=DNS:{HOST}",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made, *name, *files], check=True, capture_output=True)
    return certificate, key


class _Detour(_ProxyHandler):
    """Every tunnel ends at the one server."""

    there_port = 0

    def do_CONNECT(self) -> None:  # noqa: N802 (the base class calls it so)
        """Open it."""
        with socket.create_connection(("127.0.0.1", self.there_port), timeout=10) as there:
            self.send_response(200)
            self.end_headers()
            self._pass_on(there)


class _Pages(BaseHTTPRequestHandler):
    """The pages of torch and torchvision for each variant, and the metadata of each wheel."""

    held: Tables
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Stay silent."""

    def do_GET(self) -> None:
        """Answer."""
        path = unquote(self.path.partition("?")[0])
        page, metadata = _PAGE.search(path), _METADATA.search(path)
        if metadata:
            lines = ["Metadata-Version: 2.1", f"Name: {metadata['package']}", f"Version: {metadata['version']}", "", ""]
            self._say(200, "\n".join(lines))
        elif page:
            package: Literal["torch", "torchvision"] = "torch" if page["package"] == "torch" else "torchvision"
            wheels = self.held.wheels.find(package, variant=page["variant"], index="official", platform="linux_x86_64")
            names = sorted({wheel.filename for wheel in wheels})
            rows = [f"<a href='/whl/{page['variant']}/{quote(n)}' data-core-metadata='true'>{n}</a><br>" for n in names]
            self._say(200, "<!DOCTYPE html><html><body>" + "\n".join(rows) + "</body></html>")
        else:
            self._say(404, "not here")

    def _say(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
