"""Downloading against servers that cut, lie, stall, refuse and trickle: resumed, checked, told plainly, never endless."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from envfix.host.fetch import FetchError, NetworkSettings, WantedFile, fetch, path_of
from envfix.host.hashing import sha256_of
from envfix.host.real import RealHost
from tests.conftest import CHECKOUT
from tests.loopback_index import make_wheel, serve_proxy
from tests.small_disk import small_disk

WHEEL = make_wheel("torch", "2.1.2+cu118", padding=3_000_000)
OTHER = make_wheel("torch", "2.1.2+cu118", padding=2_000_000)
SIZE = len(WHEEL.data)
QUICK = NetworkSettings(back_off=0.01, timeout=0.5)
PAGE = b"<!DOCTYPE html><html><body><h1>Campus network login</h1></body></html>"


@dataclass
class Asked:
    """One request: which part was asked for, on what condition, with which login; and how much was sent."""

    range: str | None
    if_range: str | None
    login: str | None
    path: str
    sent: int = 0


@dataclass
class Liar:
    """A server that answers each request by the next of ``ways`` (``status:503``, ``cut:1000``...), then honestly."""

    base: str = ""
    data: bytes = WHEEL.data
    etag: str | None = '"one"'
    ways: list[str] = field(default_factory=list)
    always: str = "honest"
    retry_after: str | None = None
    asked: list[Asked] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    # An answer waits until this says so.
    ready: Callable[[], bool] = lambda: True

    @property
    def sent(self) -> int:
        """Bytes of bodies, all requests together."""
        return sum(asked.sent for asked in self.asked)

    @property
    def ranges(self) -> list[str | None]:
        """What each request asked for."""
        return [asked.range for asked in self.asked]

    @property
    def host(self) -> str:
        """As messages name it."""
        return urllib.parse.urlsplit(self.base).netloc

    def file(self, **changes: Any) -> WantedFile:
        """The wheel as an honest index tells of it."""
        told = {
            "url": f"{self.base}/{urllib.parse.quote(WHEEL.filename)}",
            "filename": WHEEL.filename,
            "size": SIZE,
            "sha256": WHEEL.sha256,
        }
        return WantedFile(**{**told, **changes})


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    liar: Liar
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Stay silent."""

    def do_GET(self) -> None:
        """Take the next way to answer."""
        liar, headers = self.liar, self.headers
        self.asked = Asked(headers.get("Range"), headers.get("If-Range"), headers.get("Authorization"), self.path)
        liar.asked.append(self.asked)
        while not liar.ready() and not liar.stopping.wait(0.01):
            pass
        way, _, detail = (liar.ways.pop(0) if liar.ways else liar.always).partition(":")
        with contextlib.suppress(OSError):
            getattr(self, f"_{way}")(detail)

    def _part(self, *, ranges: bool = True) -> tuple[int, bytes]:
        """Status and body; a condition that no longer holds gets the whole file."""
        unchanged = self.asked.if_range in (None, self.liar.etag)
        if ranges and self.asked.range and unchanged:
            start = int(self.asked.range.removeprefix("bytes=").removesuffix("-"))
            return (206, self.liar.data[start:]) if start < len(self.liar.data) else (416, b"")
        return 200, self.liar.data

    def _head(self, status: int, length: int | None, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        else:
            self.close_connection = True
        if self.liar.etag:
            self.send_header("ETag", self.liar.etag)
        if status == 206:
            whole = len(self.liar.data)
            self.send_header("Content-Range", f"bytes {whole - (length or 0)}-{whole - 1}/{whole}")
        if self.liar.retry_after is not None:
            self.send_header("Retry-After", self.liar.retry_after)
        self.end_headers()

    def _body(self, data: bytes) -> None:
        for start in range(0, len(data), 65536):
            piece = data[start : start + 65536]
            self.wfile.write(piece)
            self.asked.sent += len(piece)

    def _honest(self, _: str) -> None:
        status, data = self._part()
        self._head(status, len(data))
        self._body(data)

    def _noranges(self, _: str) -> None:
        status, data = self._part(ranges=False)
        self._head(status, len(data))
        self._body(data)

    def _status(self, number: str) -> None:
        self._head(int(number), 2)
        self._body(b"no")

    def _cut(self, after: str) -> None:
        status, data = self._part()
        self._head(status, len(data))
        self._body(data[: int(after)])
        self.close_connection = True

    def _cutnoranges(self, after: str) -> None:
        status, data = self._part(ranges=False)
        self._head(status, len(data))
        self._body(data[: int(after)])
        self.close_connection = True

    def _reset(self, after: str) -> None:
        """The connection is broken by force."""
        if int(after):
            status, data = self._part()
            self._head(status, len(data))
            self._body(data[: int(after)])
            time.sleep(0.1)  # what was sent must not be lost with the connection
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _told(self, difference: str) -> None:
        """Content-Length is wrong by so much."""
        status, data = self._part()
        self._head(status, len(data) + int(difference))
        self._body(data)
        self.close_connection = True

    def _cheat(self, _: str) -> None:
        """A part that is not the one asked for."""
        self.send_response(206)
        self.send_header("Content-Range", f"bytes 0-{SIZE - 1}/{SIZE}")
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self._body(self.liar.data)

    def _page(self, _: str) -> None:
        self._head(200, len(PAGE), "text/html; charset=utf-8")
        self._body(PAGE)

    def _rubbish(self, _: str) -> None:
        self._head(200, SIZE)
        self._body(b"\x00" * SIZE)

    def _endless(self, _: str) -> None:
        self._head(200, None)
        self._body(WHEEL.data[:1000])
        while not self.liar.stopping.is_set():
            self._body(b"\x00" * 65536)

    def _nolength(self, _: str) -> None:
        self._head(200, None)
        self._body(self.liar.data)

    def _stall(self, after: str) -> None:
        if int(after):
            status, data = self._part()
            self._head(status, len(data))
            self._body(data[: int(after)])
        self.liar.stopping.wait(60)
        self.close_connection = True

    def _drip(self, rate: str) -> None:
        status, data = self._part()
        self._head(status, len(data))
        step = int(rate) // 20
        for start in range(0, len(data), step):
            self._body(data[start : start + step])
            if self.liar.stopping.wait(0.05):
                return

    def _redirect(self, where: str) -> None:
        self.send_response(302)
        self.send_header("Location", where or f"{self.path.partition('?')[0]}?{time.monotonic()}")
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextlib.contextmanager
def lying(certificate: tuple[str, str] | None = None) -> Iterator[Liar]:
    liar = Liar()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"liar": liar}))
    server.daemon_threads, server.block_on_close = True, False
    liar.base = f"http://127.0.0.1:{server.server_address[1]}"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        liar.base = liar.base.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield liar
    finally:
        liar.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with lying() as server:
        yield server


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


class Heard:
    """Remembers what it was told; ``interrupt_at`` bytes acts like Ctrl-C."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        self.stages: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []
        self.counts: list[tuple[int, int]] = []
        self.notes: list[str] = []
        self._interrupt_at = interrupt_at

    def stage(self, text: str) -> None:
        """See ``Reporter.stage``."""
        self.stages.append(text)

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``."""
        self.bytes.append((done, total))
        if self._interrupt_at is not None and done >= self._interrupt_at:
            raise KeyboardInterrupt

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""
        self.counts.append((done, total))

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self.notes.append(text)


def get(folder: Path, *files: WantedFile, settings: NetworkSettings = QUICK, heard: Heard | None = None) -> list[Path]:
    """Fetch; what is there must be the wheel, and nothing unfinished beside it."""
    found = fetch(files, str(folder), settings=settings, reporter=heard or Heard())
    paths = [Path(found[file.url]) for file in files]
    assert [path.read_bytes() for path in paths] == [WHEEL.data] * len(files)
    assert [entry for path in paths for entry in path.parent.iterdir()] == paths
    return paths


def failure(
    folder: Path, *files: WantedFile, settings: NetworkSettings = QUICK, heard: Heard | None = None
) -> FetchError:
    """What fetching raises, without the beginning that all share."""
    with pytest.raises(FetchError) as caught:
        fetch(files, str(folder), settings=settings, reporter=heard or Heard())
    error = caught.value
    start = f"downloading {WHEEL.filename} failed: "
    assert error.message.startswith(start)
    assert error.hint
    error.message = error.message.removeprefix(start)
    return error


def part_of(folder: Path, file: WantedFile) -> Path:
    return Path(f"{path_of(file, str(folder))}.part")


def test_a_file_is_fetched_once_privately_and_known_again(liar: Liar, tmp_path: Path) -> None:
    heard = Heard()
    (path,) = get(tmp_path / "store", liar.file(), heard=heard)
    assert path == tmp_path / "store" / WHEEL.sha256 / WHEEL.filename
    assert [stat.S_IMODE(os.stat(place).st_mode) for place in (path, path.parent, path.parent.parent)] == [
        0o600,
        0o700,
        0o700,
    ]
    assert heard.bytes[-1] == (SIZE, SIZE)
    assert [done for done, _ in heard.bytes] == sorted({done for done, _ in heard.bytes})
    assert heard.counts == [(1, 1)]
    assert heard.notes == []
    again = Heard()
    get(tmp_path / "store", liar.file(), heard=again)
    assert len(liar.asked) == 1
    assert again.bytes == []


def test_a_fetched_file_that_went_bad_is_fetched_anew(liar: Liar, tmp_path: Path) -> None:
    (path,) = get(tmp_path, liar.file())
    path.write_bytes(WHEEL.data[:-1] + b"x")
    get(tmp_path, liar.file())
    assert liar.ranges == [None, None]


def test_many_files_have_one_total(tmp_path: Path) -> None:
    with lying() as one, lying() as two:
        heard = Heard()
        files = [server.file(url=f"{server.base}/{number}/x.whl") for server in (one, two) for number in range(4)]
        hashless = [WantedFile(url=file.url, filename=WHEEL.filename, size=SIZE, sha256=None) for file in files]
        get(tmp_path, *hashless, heard=heard)
    assert heard.bytes[-1] == (8 * SIZE, 8 * SIZE)
    assert [done for done, _ in heard.bytes] == sorted({done for done, _ in heard.bytes})
    assert heard.counts[-1] == (8, 8)


def test_two_addresses_of_one_file_are_fetched_once(liar: Liar, tmp_path: Path) -> None:
    get(tmp_path, liar.file(), liar.file(url=f"{liar.base}/mirror/{WHEEL.filename}"))
    assert liar.sent <= SIZE + 1


@pytest.mark.parametrize("way", ["cut", "reset"])
def test_a_broken_download_is_resumed_where_it_broke(liar: Liar, tmp_path: Path, way: str) -> None:
    liar.ways, heard = [f"{way}:1000000"] * 2, Heard()
    get(tmp_path, liar.file(), heard=heard)
    assert liar.ranges == [None, "bytes=1000000-", "bytes=2000000-"]
    assert [asked.if_range for asked in liar.asked] == [None, '"one"', '"one"']
    assert liar.sent == SIZE
    # One line for all the cuts: the rest is seen by the bytes going on.
    assert heard.notes == [
        f"{liar.host} broke off after 1.0 MB of 3.0 MB of {WHEEL.filename}; going on from there",
    ]


def test_any_number_of_cuts_is_borne_as_long_as_bytes_come(liar: Liar, tmp_path: Path) -> None:
    liar.always = "cut:250000"
    get(tmp_path, liar.file())
    assert len(liar.asked) == 13
    assert liar.sent == SIZE


def test_five_tries_without_a_byte_are_enough(liar: Liar, tmp_path: Path) -> None:
    liar.ways, liar.always, heard = ["cut:1000000"], "cut:0", Heard()
    error = failure(tmp_path, liar.file(), heard=heard)
    assert error.message == f"{liar.host} broke off after 1.0 MB of 3.0 MB of {WHEEL.filename} (5 tries)"
    assert error.kind == "network"
    assert error.hint == "try again: what has arrived is kept; or choose another index with --index"
    assert len(liar.asked) == 6
    assert part_of(tmp_path, liar.file()).stat().st_size == 1_000_000
    assert [note.rpartition("; ")[2] for note in heard.notes] == [
        "going on from there",
        "trying again (2 of 5)",
        "trying again (3 of 5)",
        "trying again (4 of 5)",
        "trying again (5 of 5)",
    ]


def test_a_later_run_goes_on_where_the_first_was_interrupted(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["drip:4000000"]
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, liar.file(), heard=Heard(interrupt_at=1_000_000))
    part = part_of(tmp_path, liar.file())
    assert 1_000_000 <= part.stat().st_size < SIZE
    assert stat.S_IMODE(part.stat().st_mode) == 0o600
    assert {entry.name for entry in part.parent.iterdir()} == {part.name, f"{part.name}.origin"}
    heard = Heard()
    get(tmp_path, liar.file(), heard=heard)
    assert liar.asked[1].range is not None
    start = int(liar.asked[1].range.removeprefix("bytes=").removesuffix("-"))
    assert start >= 1_000_000
    assert liar.asked[1].sent == SIZE - start
    assert heard.bytes[-1] == (SIZE - start, SIZE - start)


def test_a_killed_run_leaves_what_the_next_one_resumes(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["drip:2000000"]
    program = (
        "import sys; from envfix.host.fetch import *; from envfix.model.reporter import NullReporter\n"
        "url, name, size, sha256, folder = sys.argv[1:]\n"
        "file = WantedFile(url=url, filename=name, size=int(size), sha256=sha256)\n"
        "fetch([file], folder, settings=NetworkSettings(), reporter=NullReporter())\n"
    )
    file = liar.file()
    argv = [sys.executable, "-c", program, file.url, file.filename, str(SIZE), WHEEL.sha256, str(tmp_path)]
    part = part_of(tmp_path, file)
    with subprocess.Popen(argv, cwd=CHECKOUT) as process:
        give_up = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size > 500_000) and time.monotonic() < give_up:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    kept = part.stat().st_size
    assert 500_000 < kept < SIZE
    get(tmp_path, file)
    assert liar.ranges == [None, f"bytes={kept}-"]


def test_two_programs_do_not_fetch_the_same_file_twice(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["drip:4000000"]
    first, second = Heard(), Heard()
    thread = threading.Thread(target=get, args=(tmp_path, liar.file()), kwargs={"heard": first})
    thread.start()
    while not first.bytes:
        time.sleep(0.01)
    found = fetch([liar.file()], str(tmp_path), settings=QUICK, reporter=second)
    thread.join()
    assert sha256_of(found[liar.file().url]) == WHEEL.sha256
    assert len(liar.asked) == 1
    assert second.notes == [f"waiting for {WHEEL.filename}: another program is fetching it"]


def test_a_server_that_ignores_ranges_is_taken_from_the_start(liar: Liar, tmp_path: Path) -> None:
    liar.ways, heard = ["cut:1000000", "noranges"], Heard()
    get(tmp_path, liar.file(), heard=heard)
    assert liar.ranges == [None, "bytes=1000000-"]
    assert liar.sent == 1_000_000 + SIZE
    assert [done for done, _ in heard.bytes] == sorted({done for done, _ in heard.bytes})
    assert heard.bytes[-1] == (SIZE, SIZE)


def test_a_server_that_ignores_ranges_and_always_cuts_is_given_up(liar: Liar, tmp_path: Path) -> None:
    liar.always = "cutnoranges:1000000"
    assert failure(tmp_path, liar.file()).message.endswith(f"1.0 MB of 3.0 MB of {WHEEL.filename} (5 tries)")
    assert len(liar.asked) == 6


def test_a_file_that_changed_since_is_taken_from_the_start(liar: Liar, tmp_path: Path) -> None:
    liar.data, liar.etag, liar.ways = OTHER.data, '"old"', ["cut:1000000", *["cut:0"] * 5]
    failure(tmp_path, liar.file(size=None))
    liar.data, liar.etag = WHEEL.data, '"new"'
    get(tmp_path, liar.file(size=None))
    assert liar.asked[-1].if_range == '"old"'
    assert liar.asked[-1].sent == SIZE


def test_another_mirror_goes_on_where_the_first_broke(tmp_path: Path) -> None:
    with lying() as first, lying() as second:
        first.ways, first.always = ["cut:1000000"], "cut:0"
        failure(tmp_path, first.file())
        second.etag = '"its own"'
        get(tmp_path, second.file())
        assert second.asked[0].range == "bytes=1000000-"
        assert second.asked[0].if_range is None


@pytest.mark.parametrize("etag", ["one", None])
def test_without_a_hash_only_what_the_server_vouches_for_is_resumed(
    liar: Liar, tmp_path: Path, etag: str | None
) -> None:
    liar.etag = f'"{etag}"' if etag else None
    liar.ways = ["cut:1000000"]
    get(tmp_path, liar.file(sha256=None))
    assert liar.ranges == [None, "bytes=1000000-" if etag else None]


def test_a_part_that_is_not_the_one_asked_for_is_thrown_away(liar: Liar, tmp_path: Path) -> None:
    liar.ways, heard = ["cut:1000000", "cheat"], Heard()
    get(tmp_path, liar.file(), heard=heard)
    assert heard.notes[-1] == (
        f"{WHEEL.filename}: {liar.host} sent another part than it was asked for; fetching it anew"
    )
    assert liar.ranges[-1] is None


def test_a_kept_part_that_is_too_long_is_thrown_away(liar: Liar, tmp_path: Path) -> None:
    part = part_of(tmp_path, liar.file())
    part.parent.mkdir()
    part.write_bytes(b"x" * (SIZE + 1))
    get(tmp_path, liar.file())
    assert liar.ranges == [None]


def test_a_spoilt_part_is_found_out_by_its_hash(liar: Liar, tmp_path: Path) -> None:
    part, heard = part_of(tmp_path, liar.file()), Heard()
    part.parent.mkdir()
    part.write_bytes(b"x" * 1_000_000)
    get(tmp_path, liar.file(), heard=heard)
    assert liar.ranges == ["bytes=1000000-", None]
    assert heard.notes == [
        f"{WHEEL.filename}: {liar.host} sent another file than its index promised (wrong hash); fetching it anew"
    ]


def test_a_wrong_file_is_fetched_twice_and_then_refused(liar: Liar, tmp_path: Path) -> None:
    liar.data = WHEEL.data[:-4] + b"evil"
    error = failure(tmp_path, liar.file())
    assert error.message == f"{liar.host} sent another file than its index promised (wrong hash)"
    assert error.kind == "content"
    assert error.hint == "a mirror is damaged or stale: try again later, or choose another index with --index"
    assert liar.ranges == [None, None]
    assert [entry.name for entry in tmp_path.rglob("*") if entry.is_file() and entry.suffix != ".origin"] == []


@pytest.mark.parametrize("sha256", [WHEEL.sha256, None])
@pytest.mark.parametrize("size", [SIZE, None])
def test_a_web_page_instead_of_the_file_is_told(
    liar: Liar, tmp_path: Path, sha256: str | None, size: int | None
) -> None:
    liar.always = "page"
    error = failure(tmp_path, liar.file(sha256=sha256, size=size))
    assert error.message == f"{liar.host} sent a web page instead of the file"
    assert error.kind == "content"
    assert error.hint == "a login page of this network? Open it in a browser; or choose another index with --index"


def test_a_web_page_does_not_cost_what_has_arrived(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["cut:2000000", "page"]
    failure(tmp_path, liar.file())
    get(tmp_path, liar.file())
    assert liar.ranges == [None, "bytes=2000000-", "bytes=2000000-"]


def test_what_is_no_wheel_is_refused_at_its_first_bytes(liar: Liar, tmp_path: Path) -> None:
    liar.always = "rubbish"
    error = failure(tmp_path, liar.file(sha256=None))
    assert error.message == f"{liar.host} sent something that is no wheel"
    assert len(liar.asked) == 1


def test_without_a_hash_a_damaged_wheel_is_told(liar: Liar, tmp_path: Path) -> None:
    liar.data = WHEEL.data[:1_000_000] + b"x" + WHEEL.data[1_000_001:]
    error = failure(tmp_path, liar.file(sha256=None))
    assert error.message == f"{liar.host} sent a damaged file"


def test_a_length_that_is_told_too_short_is_made_up_for(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["told:-1000"]
    get(tmp_path, liar.file())
    assert liar.ranges == [None, f"bytes={SIZE - 1000}-"]


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1])
def test_a_file_of_another_size_than_promised_is_refused_early(liar: Liar, tmp_path: Path, size: int) -> None:
    error = failure(tmp_path, liar.file(size=size, sha256="0" * 64 if size < SIZE else None))
    assert error.message == f"{liar.host} has {SIZE} bytes of it, its index promised {size}"
    assert error.kind == "content"
    assert len(liar.asked) == 1


def test_a_size_told_wrong_does_not_matter_where_the_hash_is_right(liar: Liar, tmp_path: Path) -> None:
    get(tmp_path, liar.file(size=SIZE + 1000))
    assert len(liar.asked) == 1


def test_a_length_told_too_long_is_noticed_by_the_hash(liar: Liar, tmp_path: Path) -> None:
    liar.ways = ["told:1000"]
    get(tmp_path, liar.file(size=None))
    assert len(liar.asked) == 1


def test_an_endless_file_is_not_read_beyond_its_size(liar: Liar, tmp_path: Path) -> None:
    liar.always = "endless"
    error = failure(tmp_path, liar.file())
    assert error.message == f"{liar.host} sent another file than its index promised (wrong hash)"
    assert liar.sent < 2 * SIZE + 20_000_000  # what the buffers of two connections hold


def test_an_endless_file_of_unknown_size_does_not_fill_the_disk(liar: Liar, tmp_path: Path) -> None:
    liar.always = "endless"
    with small_disk(tmp_path / "disk", "size=220m") as disk:
        error = failure(disk, liar.file(size=None, sha256=None))
        assert error.message == f"{liar.host} sends more than fits on this disk"
        assert error.kind == "space"
        assert shutil.disk_usage(disk).free > 150_000_000


def test_a_file_without_a_length_is_taken_to_its_end(liar: Liar, tmp_path: Path) -> None:
    liar.always, heard = "nolength", Heard()
    get(tmp_path, liar.file(sha256=None, size=None), heard=heard)
    assert heard.bytes[-1] == (SIZE, None)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(liar: Liar, tmp_path: Path, status: int) -> None:
    liar.ways, heard = [f"status:{status}"], Heard()
    get(tmp_path, liar.file(), heard=heard)
    what = "answers that it was asked too often (429)" if status == 429 else f"answers with error {status}"
    assert heard.notes == [f"{liar.host} {what}; trying again (2 of 5)"]


def test_a_server_that_stays_busy_is_given_up(liar: Liar, tmp_path: Path) -> None:
    liar.always = "status:503"
    error = failure(tmp_path, liar.file())
    assert error.message == f"{liar.host} answers with error 503 (5 tries)"
    assert error.kind == "network"
    assert error.hint == "try again later, or choose another index with --index"
    assert len(liar.asked) == 5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_for_patience_gets_it(liar: Liar, tmp_path: Path, form: str) -> None:
    liar.ways = ["status:503"]
    liar.retry_after = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
    started = time.monotonic()
    get(tmp_path, liar.file())
    assert 0.9 < time.monotonic() - started < 6


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (
            401,
            "{} asks for a user name and password (401)",
            "check user name and password of the index, or choose another one with --index",
        ),
        (
            403,
            "{} refuses access (403)",
            "check user name and password of the index, or choose another one with --index",
        ),
        (
            404,
            "{} does not have it (404)",
            "its index names a file that is not there: choose another index with --index",
        ),
        (
            410,
            "{} has it no longer (410)",
            "its index names a file that is not there: choose another index with --index",
        ),
        (
            407,
            "the proxy asks for a user name and password (407)",
            "check the proxy in HTTPS_PROXY or in pip's configuration",
        ),
        (418, "{} answers with error 418", "try again later, or choose another index with --index"),
    ],
)
def test_a_refusal_is_told_at_once(liar: Liar, tmp_path: Path, status: int, message: str, hint: str) -> None:
    liar.always = f"status:{status}"
    error = failure(tmp_path, liar.file())
    assert error.message == message.format(liar.host)
    assert error.hint == hint
    assert len(liar.asked) == 1


def test_endless_redirects_are_told(liar: Liar, tmp_path: Path) -> None:
    liar.always = "redirect"
    assert failure(tmp_path, liar.file()).message == f"{liar.host} redirects more than 5 times"
    assert len(liar.asked) == 6


def test_silence_is_told_and_ended(liar: Liar, tmp_path: Path) -> None:
    liar.always, heard = "stall:0", Heard()
    settings = NetworkSettings(back_off=0.01, timeout=0.2)
    error = failure(tmp_path, liar.file(), settings=settings, heard=heard)
    assert error.message == f"nothing has arrived from {liar.host} for 0.2 s (5 tries)"
    assert error.kind == "stalled"
    assert error.hint == "try again: what has arrived is kept; or choose another index with --index"
    assert heard.notes == [
        f"nothing has arrived from {liar.host} for 0.2 s; trying again ({number} of 5)" for number in range(2, 6)
    ]


def test_a_download_that_stalls_goes_on_with_another_connection(liar: Liar, tmp_path: Path) -> None:
    liar.ways, heard = ["stall:1000000"], Heard()
    get(tmp_path, liar.file(), settings=NetworkSettings(back_off=0.01, timeout=0.2), heard=heard)
    assert liar.ranges == [None, "bytes=1000000-"]
    assert heard.notes == [f"nothing has arrived from {liar.host} for 0.2 s; going on from there"]


def test_a_file_that_brings_nothing_for_too_long_is_given_up(liar: Liar, tmp_path: Path) -> None:
    liar.always = "stall:0"
    settings = NetworkSettings(back_off=0.01, timeout=0.2, idle_limit=0.3)
    assert failure(tmp_path, liar.file(), settings=settings).message == (
        f"nothing has arrived from {liar.host} for 0.2 s (2 tries)"
    )
    assert len(liar.asked) == 2


def test_a_trickle_is_left_alone(liar: Liar, tmp_path: Path) -> None:
    small = make_wheel("torch", "2.1.2+cu118").data
    liar.data, liar.always, heard = small, "drip:1000", Heard()
    file = liar.file(size=len(small), sha256=hashlib.sha256(small).hexdigest())
    settings = NetworkSettings(timeout=0.5, idle_limit=0.5)
    fetch([file], str(tmp_path), settings=settings, reporter=heard)
    assert len(liar.asked) == 1
    assert len(heard.bytes) >= 3
    assert heard.notes == []


def test_a_connection_that_is_refused_is_told(tmp_path: Path) -> None:
    with lying() as gone:
        file, host = gone.file(), gone.host
    heard = Heard()
    error = failure(tmp_path, file, heard=heard)
    assert error.message == f"{host} refuses the connection (5 tries)"
    assert error.hint == "check the network and the proxy, or choose another index with --index"
    assert heard.notes[0] == f"{host} refuses the connection; trying again (2 of 5)"


def test_a_connection_that_is_dropped_is_told(liar: Liar, tmp_path: Path) -> None:
    liar.always = "reset:0"
    assert failure(tmp_path, liar.file()).message == f"{liar.host} drops the connection (5 tries)"


def test_a_name_that_is_not_found_is_told(liar: Liar, tmp_path: Path) -> None:
    error = failure(tmp_path, liar.file(url="http://nowhere.invalid/x.whl"))
    assert error.message.removesuffix(" (5 tries)") == "the name of nowhere.invalid cannot be found (DNS)"
    assert error.hint == "check the network, or the index set for pip or uv"


def test_an_address_that_is_none_is_told(liar: Liar, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"^the address that the index gives for .* is broken$"):
        fetch([liar.file(url="https://[broken/x.whl")], str(tmp_path), settings=QUICK, reporter=Heard())
    error = failure(tmp_path, liar.file(url="gopher://127.0.0.1/x.whl"))
    assert error.message == "127.0.0.1 or its proxy is no address that can be asked"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that only those trust who are told to, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    own = (str(folder / "own.pem"), str(folder / "own.key"))
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=envfix test"]
    argv += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", own[0], "-keyout", own[1]]
    made = RealHost().run(argv, timeout=60)
    if not made.ok:
        pytest.skip(f"openssl cannot make a certificate: {made.failure}")
    return own


def test_a_certificate_nobody_trusts_is_told(certificate: tuple[str, str], tmp_path: Path) -> None:
    with lying(certificate) as server:
        error = failure(tmp_path, server.file())
        assert error.message == (f"the certificate of {server.host} is not trusted here: somebody may be in between")
        assert error.hint == "behind a company proxy name its certificate file in SSL_CERT_FILE"
        assert server.asked == []


def test_the_users_bundle_or_trusted_host_makes_it_trusted(certificate: tuple[str, str], tmp_path: Path) -> None:
    with lying(certificate) as server:
        get(tmp_path / "one", server.file(), settings=NetworkSettings(certificates=certificate[0]))
        get(tmp_path / "two", server.file(), settings=NetworkSettings(insecure_hosts=("127.0.0.1",)))
        get(tmp_path / "three", server.file(), settings=NetworkSettings(insecure_hosts=(server.host,)))
        error = failure(tmp_path / "four", server.file(), settings=NetworkSettings(insecure_hosts=("elsewhere",)))
        assert "is not trusted here" in error.message


def test_a_certificate_for_another_name_is_told(certificate: tuple[str, str], tmp_path: Path) -> None:
    with lying(certificate) as server:
        url = server.file().url.replace("127.0.0.1", "localhost")
        error = failure(tmp_path, server.file(url=url), settings=NetworkSettings(certificates=certificate[0]))
    assert error.message.endswith("is for another name: somebody may be in between")


def test_a_bundle_that_is_not_there_is_told(certificate: tuple[str, str], tmp_path: Path) -> None:
    with lying(certificate) as server:
        error = failure(tmp_path, server.file(), settings=NetworkSettings(certificates="/nowhere.pem"))
    assert error.message == "the certificate file /nowhere.pem is not there"


def test_a_server_that_speaks_no_tls_is_told(liar: Liar, tmp_path: Path) -> None:
    error = failure(tmp_path, liar.file(url=liar.file().url.replace("http:", "https:")))
    assert error.message == f"{liar.host} does not speak TLS: http instead of https?"


def test_without_a_hash_nothing_is_taken_unencrypted_that_should_be(
    certificate: tuple[str, str], liar: Liar, tmp_path: Path
) -> None:
    with lying(certificate) as server:
        server.always = f"redirect:{liar.file().url}"
        settings = NetworkSettings(certificates=certificate[0])
        error = failure(tmp_path, server.file(sha256=None), settings=settings)
        assert error.message == (f"it would come unencrypted from {liar.host}, and there is no hash to check it by")
        get(tmp_path, server.file(), settings=settings)


def test_the_proxy_that_is_set_is_used_and_its_exceptions_count(
    liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_proxy() as proxy:
        proxy.login = "me:s3cret"
        get(tmp_path / "one", liar.file(), settings=NetworkSettings(proxy=f"http://me:s3cret@{proxy.address}"))
        assert proxy.requests == [f"GET {liar.file().url}"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        get(tmp_path / "two", liar.file(), settings=NetworkSettings(proxy=f"http://me:s3cret@{proxy.address}"))
        assert len(proxy.requests) == 1


def test_the_proxy_of_the_environment_is_used(liar: Liar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_proxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        get(tmp_path, liar.file())
        assert proxy.requests == [f"GET {liar.file().url}"]


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_that_wants_a_password_is_told(tmp_path: Path, tls: bool, certificate: tuple[str, str]) -> None:  # noqa: FBT001
    with serve_proxy() as proxy, lying(certificate if tls else None) as server:
        proxy.login = "me:s3cret"
        settings = NetworkSettings(proxy=f"http://me:wr0ng@{proxy.address}")
        error = failure(tmp_path, server.file(), settings=settings)
    assert error.message == "the proxy asks for a user name and password (407)"
    assert error.hint == "check the proxy in HTTPS_PROXY or in pip's configuration"


def test_a_proxy_that_is_not_there_is_told(liar: Liar, tmp_path: Path) -> None:
    with serve_proxy() as proxy:
        address = proxy.address
    heard = Heard()
    settings = NetworkSettings(proxy=f"http://me:s3cret@{address}", back_off=0.01)
    error = failure(tmp_path, liar.file(), settings=settings, heard=heard)
    assert error.message == "the proxy does not answer (5 tries)"
    assert heard.notes[0] == "the proxy does not answer; trying again (2 of 5)"


def test_the_login_goes_to_its_server_only(liar: Liar, tmp_path: Path) -> None:
    with lying() as other:
        liar.always = f"redirect:{other.file().url}"
        # Another name is another server, also at the same address.
        url = liar.file().url.replace("127.0.0.1", "localhost")
        get(tmp_path, liar.file(url=url, login=("me", "s3cret")))
        assert liar.asked[0].login == "Basic " + base64.b64encode(b"me:s3cret").decode()
        assert other.asked[0].login is None
    for place in tmp_path.rglob("*.origin"):
        assert "s3cret" not in place.read_text()


def test_a_full_disk_is_told_and_what_has_arrived_kept(liar: Liar, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        error = failure(disk, liar.file(size=None))
        assert error.message.startswith("3.0 MB needed, ")
        with pytest.raises(FetchError, match=r"^not enough room at .*/disk: 3\.0 MB needed, 2\.\d MB free$") as caught:
            fetch([liar.file()], str(disk), settings=QUICK, reporter=Heard())
        assert caught.value.kind == "space"


def test_a_disk_that_fills_up_meanwhile_is_told_and_what_has_arrived_kept(liar: Liar, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m") as disk:
        liar.ways = ["drip:4000000"]

        class Filling(Heard):
            """Somebody else fills the disk as soon as the first bytes are there."""

            def progress(self, done: int, total: int | None) -> None:
                """See ``Reporter.progress``."""
                if not self.bytes:
                    with contextlib.suppress(OSError):
                        (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - 1_000_000))
                super().progress(done, total)

        error = failure(disk, liar.file(), heard=Filling())
        assert error.message == "the disk is full (or your quota is used up)"
        assert error.kind == "space"
        assert error.hint == "free some room, or keep downloads on another disk; what has arrived is kept"
        kept = part_of(disk, liar.file()).stat().st_size
        assert kept > 500_000
        (disk / "filler").unlink()
        get(disk, liar.file())
        assert liar.ranges == [None, f"bytes={kept}-"]


def test_a_folder_that_cannot_be_written_is_told(liar: Liar, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m,ro") as disk:
        with pytest.raises(FetchError) as caught:
            fetch([liar.file()], str(disk / "store"), settings=QUICK, reporter=Heard())
        assert caught.value.message == f"{disk / 'store'} cannot be made: Read-only file system"
        assert caught.value.kind == "permission"


def test_files_on_this_disk_are_used_where_they_are(liar: Liar, tmp_path: Path) -> None:
    place = tmp_path / "my wheels" / WHEEL.filename
    place.parent.mkdir()
    place.write_bytes(WHEEL.data)
    for url in (place.as_uri(), str(place)):
        found = fetch([liar.file(url=url)], str(tmp_path / "store"), settings=QUICK, reporter=Heard())
        assert found == {url: str(place)}
    place.write_bytes(b"x")
    with pytest.raises(FetchError, match=r"is not the .* it should be \(wrong hash\)$"):
        fetch([liar.file(url=place.as_uri())], str(tmp_path / "store"), settings=QUICK, reporter=Heard())
    place.unlink()
    with pytest.raises(FetchError) as caught:
        fetch([liar.file(url=place.as_uri())], str(tmp_path / "store"), settings=QUICK, reporter=Heard())
    assert caught.value.message == f"{place} cannot be read: No such file or directory"


def test_offline_only_what_is_here_counts(liar: Liar, tmp_path: Path) -> None:
    offline = NetworkSettings(offline=True)
    error = failure(tmp_path, liar.file(), settings=offline)
    assert error.message == "it is not on this disk, and going to the network is switched off"
    get(tmp_path, liar.file())
    get(tmp_path, liar.file(), settings=offline)
    assert len(liar.asked) == 1


@pytest.mark.parametrize("name", ["../x.whl", "a/b.whl", "..\\x.whl", ".hidden.whl", "a\nb.whl"])
def test_a_name_that_leads_elsewhere_is_refused(liar: Liar, tmp_path: Path, name: str) -> None:
    with pytest.raises(FetchError, match="is no name of a file"):
        fetch([liar.file(filename=name)], str(tmp_path), settings=QUICK, reporter=Heard())
    with pytest.raises(FetchError, match="is no hash"):
        fetch([liar.file(sha256="../x")], str(tmp_path), settings=QUICK, reporter=Heard())
    assert liar.asked == []


def test_a_failure_ends_the_others(tmp_path: Path) -> None:
    with lying() as good, lying() as bad:
        good.always, bad.always = "drip:500000", "status:404"
        bad.ready = part_of(tmp_path, good.file()).exists
        started = time.monotonic()
        with pytest.raises(FetchError, match="does not have it"):
            fetch([good.file(), bad.file(sha256="1" * 64)], str(tmp_path), settings=QUICK, reporter=Heard())
        assert time.monotonic() - started < 3
        assert part_of(tmp_path, good.file()).exists()
