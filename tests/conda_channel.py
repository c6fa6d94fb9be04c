"""Conda channels on 127.0.0.1 or in a folder, with small made-up packages laid out as conda-build does, and faults to order."""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import io
import json
import ssl
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LOGIN_PAGE = b"<html><body><h1>Campus network login</h1></body></html>"
CUDA_TOOLKITS = ("10.2.89", "11.1.74", "11.8.0")


@dataclass
class CondaChannel:
    """A channel in a folder. ``write`` makes its lists of packages; ``promise`` changes what these say of a file."""

    folder: Path
    rows: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The channel as an address of this machine's disk."""
        return self.folder.as_uri()

    def add(
        self,
        name: str,
        version: str,
        build: str,
        *,
        files: Mapping[str, str | bytes] | None = None,
        depends: Sequence[str] = (),
        constrains: Sequence[str] = (),
        noarch: str | None = None,
        entry_points: Sequence[str] = (),
        padding: int = 0,
    ) -> str:
        """A ``.tar.bz2`` package with these files below the prefix; its file name. ``padding`` makes it that much bigger."""
        subdir = "noarch" if noarch else "linux-64"
        number = build.rpartition("_")[2]
        index: dict[str, Any] = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": int(number) if number.isdigit() else 0,
            "depends": list(depends),
            "constrains": list(constrains),
            "subdir": subdir,
        }
        if noarch:
            index["noarch"] = noarch
        contents = {path: text.encode() if isinstance(text, str) else text for path, text in (files or {}).items()}
        if padding:
            contents[f"share/{name}/padding.bin"] = _noise(padding)
        data = _package(index, contents, entry_points)
        filename = f"{name}-{version}-{build}.tar.bz2"
        place = self.folder / subdir
        place.mkdir(parents=True, exist_ok=True)
        (place / filename).write_bytes(data)
        told = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}  # noqa: S324 - what conda tells
        self.rows.setdefault(subdir, {})[filename] = {**index, **told}
        return filename

    def promise(self, filename: str, **values: Any) -> None:
        """Say something else of a file than what is true."""
        next(rows for rows in self.rows.values() if filename in rows)[filename].update(values)

    def write(self) -> CondaChannel:
        """Write ``repodata.json`` for both parts."""
        for subdir in ("linux-64", "noarch"):
            place = self.folder / subdir
            place.mkdir(parents=True, exist_ok=True)
            document = {
                "info": {"subdir": subdir},
                "packages": self.rows.get(subdir, {}),
                "packages.conda": {},
                "repodata_version": 1,
            }
            (place / "repodata.json").write_text(json.dumps(document))
        return self


def _noise(size: int) -> bytes:
    """Bytes that cannot be made smaller, the same ones each time."""
    blocks = (hashlib.sha256(str(number).encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def _package(index: Mapping[str, Any], contents: Mapping[str, bytes], entry_points: Sequence[str]) -> bytes:
    rows = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(data).hexdigest(),
            "size_in_bytes": len(data),
        }
        for path, data in contents.items()
    ]
    described = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": rows, "paths_version": 1}),
        "info/files": "\n".join(contents) + "\n",
        "info/about.json": "{}",
    }
    if index.get("noarch") == "python":
        link = {
            "noarch": {"type": "python", "entry_points": list(entry_points)},
            "package_metadata_version": 1,
        }
        described["info/link.json"] = json.dumps(link)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, data in {**{path: text.encode() for path, text in described.items()}, **contents}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            entry.mode = 0o755 if path.startswith("bin/") else 0o644
            archive.addfile(entry, io.BytesIO(data))
    return bz2.compress(raw.getvalue())


def yolo_channel(folder: Path) -> CondaChannel:
    """Python 3.8, torch 1.8.0 for CUDA 10.2, 11.1 and the CPU, torchvision for each, and ultralytics."""
    channel = CondaChannel(folder)
    site = "lib/python3.8/site-packages"
    for version in ("3.8.20", "3.9.19"):
        short = version.rpartition(".")[0]
        channel.add(
            "python",
            version,
            "h0_0",
            files={"bin/python": "#!/bin/sh\nexit 0\n", f"lib/python{short}/os.py": "# not the real one\n"},
        )
    for version in CUDA_TOOLKITS:
        major_minor = ".".join(version.split(".")[:2])
        channel.add(
            "cudatoolkit",
            version,
            "h0_0",
            files={f"lib/libcudart.so.{version}": version},
            constrains=[f"__cuda >={major_minor.partition('.')[0]}"],
        )
    channel.add("cpuonly", "1.0", "0", noarch="generic")
    python = "python >=3.8,<3.9.0a0"
    builds = {
        "py3.8_cuda10.2_cudnn7.6.5_0": ("cudatoolkit >=10.2,<10.3", "py38_cu102"),
        "py3.8_cuda11.1_cudnn8.0.5_0": ("cudatoolkit >=11.1,<11.2", "py38_cu111"),
        "py3.8_cpu_0": ("cpuonly", "py38_cpu"),
    }
    for build, (needs, vision) in builds.items():
        channel.add(
            "pytorch",
            "1.8.0",
            build,
            files={
                f"{site}/torch/__init__.py": f"__version__ = '1.8.0'  # {build}\n",
                f"{site}/torch/{build.split('_')[1]}.py": "",
            },
            depends=[python, needs],
        )
        channel.add(
            "torchvision",
            "0.9.0",
            vision,
            files={f"{site}/torchvision/__init__.py": f"# {vision}\n"},
            depends=[python, needs, "pytorch 1.8.0"],
        )
    channel.add(
        "ultralytics",
        "8.0.0",
        "pyh0_0",
        noarch="python",
        files={"site-packages/ultralytics/__init__.py": "", "python-scripts/yolo-old": "#!/bin/sh\n"},
        depends=["python >=3.7", "pytorch >=1.7", "torchvision"],
        entry_points=["yolo = ultralytics:main"],
    )
    return channel.write()


@dataclass
class Channels:
    """The running server: channels by name, what was asked, and how some of them misbehave.

    ``faults`` maps the beginning of a path to ``404``, ``html``, ``damaged``, ``slow`` (1 kB/s) or ``stall``.
    """

    base: str = ""
    folders: dict[str, Path] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)

    def add(self, name: str, channel: CondaChannel) -> str:
        """Serve a channel; its address."""
        self.folders[name] = channel.folder
        return f"{self.base}/{name}"

    def downloads(self) -> list[str]:
        """The packages that were fetched."""
        return [path.rpartition("/")[2] for path in self.asked if path.startswith("GET") and path.endswith(".bz2")]


@contextlib.contextmanager
def serve(certificate: tuple[str, str] | None = None) -> Iterator[Channels]:
    """Run the server on a free port of 127.0.0.1 until the block ends; ``certificate`` is a file and its key."""
    channels = Channels()

    class Handler(_Handler):
        held = channels

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    channels.base = f"http://127.0.0.1:{server.server_address[1]}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # The handshake belongs to the connection's own thread: a client that breaks it off must not stop the server.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        channels.base = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield channels
    finally:
        channels.stopping.set()
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

    held: Channels
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Stay silent."""

    def do_HEAD(self) -> None:
        """Answer like GET, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Find the file, or the fault that was ordered for it."""
        path = self.path.partition("?")[0]
        if path.startswith("http://"):  # asked as a proxy
            path = "/" + path.split("/", 3)[3]
            self.held.asked.append("PROXY")
        self.held.asked.append(f"{self.command} {path}")
        fault = next((what for begin, what in self.held.faults.items() if path.startswith(begin)), None)
        name, _, rest = path.strip("/").partition("/")
        folder = self.held.folders.get(name)
        file = folder / rest if folder is not None else None
        if fault in ("404", "503"):
            self._say(int(fault), b"no")
        elif fault == "html":
            self._say(200, LOGIN_PAGE, kind="text/html")
        elif file is None or not file.is_file():
            self._say(404, b"not here")
        elif fault == "damaged":
            self._say(200, file.read_bytes()[:-40])
        elif fault in ("slow", "stall"):
            self._slowly(file.read_bytes(), fault)
        else:
            self._say(200, file.read_bytes())

    def _say(self, status: int, body: bytes, *, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    def _slowly(self, data: bytes, fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            for at in range(0, len(data), 100):
                self.wfile.write(data[at : at + 100])
                self.wfile.flush()
                if at:
                    self.held.stalled.set()
                    if self.held.stopping.wait(60.0 if fault == "stall" else 0.1):
                        return
        self.close_connection = True
