"""Bringing a Python that is not on the machine, with the real uv, from a mirror on 127.0.0.1 or from a file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from envfix.errors import EnvfixError
from envfix.host.real import RealHost
from envfix.installer.interface import DownloadError, PermissionsError, StalledError
from envfix.installer.pythons import PythonError, bring
from tests.conftest import interpreter
from tests.small_disk import small_disk
from tests.test_installer_act import Heard

# Not needed to start: leaves the archive small.
_LEFT_OUT = {"test", "site-packages", "idlelib", "lib2to3", "ensurepip", "__pycache__", "tkinter", "share", "include"}
MACHINE = platform.machine()
REQUEST = f"linux-{MACHINE}-gnu"


@dataclass
class Mirror:
    """A server of one archive, and how it behaves."""

    address: str
    data: bytes
    behaviour: str = ""
    requests: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real Python laid out as uv expects it: everything below ``python/``."""
    root = Path(interpreter("3.8")).parent.parent
    path = tmp_path_factory.mktemp("archive") / "python.tar.gz"

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        parts = set(Path(entry.name).parts)
        return None if parts & _LEFT_OUT or entry.name.endswith(".a") or "config-3.8" in entry.name else entry

    with tarfile.open(path, "w:gz", compresslevel=1) as packed:
        packed.add(root, "python", filter=wanted)
    return path


@pytest.fixture
def mirror(archive: Path) -> Iterator[Mirror]:
    """The archive on a free port of 127.0.0.1."""
    held = Mirror(address="", data=archive.read_bytes())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            pass

        def do_GET(self) -> None:
            held.requests.append(self.path)
            if held.behaviour.isdigit():
                self.send_error(int(held.behaviour))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(held.data)))
            self.end_headers()
            half = len(held.data) // 2
            with contextlib.suppress(OSError):
                self.wfile.write(held.data[:half])
                self.close_connection = held.behaviour in ("cut", "stall")
                if held.behaviour == "stall":
                    held.stopping.wait(60)
                if not held.behaviour:
                    self.wfile.write(held.data[half:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    held.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield held
    held.stopping.set()
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "pythons"))
    monkeypatch.setenv("UV_PYTHON_BIN_DIR", str(tmp_path / "bin"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Neither may be taken for the answer.
    monkeypatch.setenv("VIRTUAL_ENV", str(Path(interpreter("3.8")).parent.parent))
    monkeypatch.setenv("UV_PYTHON", "3.11")


def offered(folder: Path, url: str, *, sha256: str | None = None, machine: str = MACHINE) -> Path:
    """A list of Pythons for uv with just one, at ``url``."""
    row = {
        "name": "cpython",
        "arch": {"family": machine, "variant": None},
        "os": "linux",
        "libc": "gnu",
        "major": 3,
        "minor": 8,
        "patch": int(Path(interpreter("3.8")).parent.parent.name.split(".")[2]),
        "prerelease": "",
        "url": url,
        "sha256": sha256,
        "variant": None,
        "build": "1",
    }
    path = folder / "downloads.json"
    path.write_text(json.dumps({f"cpython-3.8-linux-{machine}-gnu": row}))
    return path


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: Mirror) -> Mirror:
    """The mirror, whose Python is the only one that uv knows."""
    path = offered(tmp_path, f"http://{mirror.address}/python.tar.gz")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(path))
    return mirror


def failure(version: str = "3.8", *, idle_limit: float = 30.0, offline: bool = False) -> EnvfixError:
    with pytest.raises(EnvfixError) as caught:
        bring(RealHost(), version, offline=offline, idle_limit=idle_limit)
    return caught.value


def nothing_is_left(tmp_path: Path) -> bool:
    return not list(tmp_path.glob("pythons/cpython*")) and not list(tmp_path.glob("pythons/.temp/*"))


def test_a_python_that_is_not_there_is_brought_and_runs(listed: Mirror, tmp_path: Path) -> None:
    heard = Heard()
    path = bring(RealHost(), "3.8", heard)
    assert path.startswith(f"{tmp_path}/pythons/cpython-3.8")
    answer = RealHost().run([path, "-c", "import sys; print(sys.version_info[:2], sys.prefix)"], timeout=20)
    assert answer.stdout.startswith(f"(3, 8) {tmp_path}/pythons/cpython-3.8")
    assert heard.stages == ["fetching Python 3.8"]
    done = [so_far for so_far, _ in heard.bytes]
    assert done == sorted(done)
    assert done[-1] > 0
    assert not (tmp_path / "bin").exists()  # no command on PATH
    assert listed.requests == ["/python.tar.gz"]


def test_what_was_brought_before_is_not_fetched_again(listed: Mirror) -> None:
    first = bring(RealHost(), "3.8")
    assert bring(RealHost(), "3.8") == first
    assert len(listed.requests) == 1


def test_a_file_on_this_machine_will_do_and_its_hash_is_checked(
    archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right = hashlib.sha256(archive.read_bytes()).hexdigest()
    path = offered(tmp_path, archive.as_uri(), sha256="0" * 64)
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(path))
    error = failure()
    assert isinstance(error, DownloadError)
    assert error.message == "the file of Python 3.8 is not the one that was promised (wrong hash)"
    assert error.hint == (
        "the download or a mirror is damaged: try again, or name another mirror in UV_PYTHON_INSTALL_MIRROR"
    )
    assert nothing_is_left(tmp_path)
    offered(tmp_path, archive.as_uri(), sha256=right)
    assert bring(RealHost(), "3.8").startswith(str(tmp_path))


def test_the_list_of_the_users_uv_toml_counts_and_a_relative_folder_is_the_users(
    listed: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config" / "uv").mkdir(parents=True)
    toml = f'python-downloads-json-url = "{tmp_path}/downloads.json"\n'
    (tmp_path / "config" / "uv" / "uv.toml").write_text(toml)
    monkeypatch.delenv("UV_PYTHON_DOWNLOADS_JSON_URL")
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", "mine")
    monkeypatch.chdir(tmp_path)
    assert bring(RealHost(), "3.8").startswith(f"{tmp_path}/mine/")
    assert listed.requests == ["/python.tar.gz"]


def test_the_users_mirror_is_asked_instead_of_uvs_server(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mirror.behaviour = "404"
    monkeypatch.setenv("UV_PYTHON_INSTALL_MIRROR", f"http://user:s3cret@{mirror.address}/mirror")
    error = failure("3.11")
    assert isinstance(error, DownloadError)
    assert mirror.requests
    assert mirror.requests[0].startswith("/mirror/")
    assert error.message == f"Python 3.11 cannot be fetched: {mirror.address} answers with error 404 Not Found"
    assert error.hint == (
        "check the network and the proxy; UV_PYTHON_INSTALL_MIRROR can name a mirror, and conda or pyenv can bring it too"
    )
    assert "s3cret" not in str(error)
    assert nothing_is_left(tmp_path)


def test_a_download_that_breaks_off_leaves_nothing(listed: Mirror, tmp_path: Path) -> None:
    listed.behaviour = "cut"
    error = failure()
    assert isinstance(error, DownloadError)
    assert error.message == "Python 3.8 cannot be fetched: the server broke off in the middle"
    assert nothing_is_left(tmp_path)


def test_a_server_that_stops_answering_is_given_up_by_uv(listed: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    listed.behaviour = "stall"
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "1")
    error = failure()
    assert isinstance(error, DownloadError)
    assert error.message == "Python 3.8 cannot be fetched: the server stopped answering in time"


def test_a_download_that_does_not_move_is_ended(listed: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    listed.behaviour = "stall"
    monkeypatch.setenv("UV_HTTP_TIMEOUT", "60")
    error = failure(idle_limit=1.5)
    assert isinstance(error, StalledError)
    assert error.message == "fetching Python 3.8 was given up: nothing moved for 2 s"


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = offered(tmp_path, "http://127.0.0.1:1/python.tar.gz")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(path))
    error = failure()
    assert isinstance(error, DownloadError)
    assert error.message == "Python 3.8 cannot be fetched: 127.0.0.1:1 does not accept connections"


def test_without_a_network_it_is_not_tried(listed: Mirror) -> None:
    error = failure(offline=True)
    assert isinstance(error, PythonError)
    assert error.message == "Python 3.8 is not on this machine, and going to the network is switched off"
    assert error.hint == "leave out --offline, or name an interpreter of yours with --python"
    assert listed.requests == []


@pytest.mark.parametrize("version", ["3.6", "3.7", "2.7", "3.7.16"])
def test_a_python_too_old_for_uv_is_told_with_who_can(version: str) -> None:
    error = failure(version)
    assert isinstance(error, PythonError)
    assert error.message == (f"Python {version} is not on this machine, and uv cannot bring it: it has 3.8 and newer")
    assert error.hint == f"conda or pyenv can: `conda create -p PATH python={version}`; then name it with --python PATH"
    assert error.exit_code == 3


def test_a_version_that_does_not_exist_is_told(tmp_path: Path) -> None:
    error = failure("3.99")
    assert isinstance(error, PythonError)
    assert error.message == f"Python 3.99 is not on this machine, and uv has no build of it for {REQUEST}"
    assert error.hint == "take another version with --python, or bring it with conda or pyenv"
    assert nothing_is_left(tmp_path)


def test_a_version_that_has_builds_for_other_machines_only_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = offered(tmp_path, "http://127.0.0.1:1/python.tar.gz", machine="s390x")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(path))
    assert failure().message == f"Python 3.8 is not on this machine, and uv has no build of it for {REQUEST}"


def test_what_is_no_version_never_reaches_uv(listed: Mirror) -> None:
    error = failure("banana")
    assert error.message == "banana is not a version of Python"
    assert error.hint == "name one such as 3.11 with --python"
    assert listed.requests == []


def test_a_user_who_wants_no_python_from_uv_gets_none(listed: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    error = failure()
    assert error.message == (
        "Python 3.8 is not on this machine, and uv is told not to bring any (UV_PYTHON_DOWNLOADS=never)"
    )
    assert error.hint == "unset that variable, or name an interpreter of yours with --python"
    assert listed.requests == []


def test_a_list_of_pythons_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS_JSON_URL", str(tmp_path / "none.json"))
    error = failure()
    assert isinstance(error, PythonError)
    assert error.message.startswith("Python 3.8 cannot be fetched\nerror: failed to open file")
    assert "none.json" in error.message


def test_a_python_that_does_not_run_here_is_told(listed: Mirror, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    (broken / "bin").mkdir(parents=True)
    (broken / "lib" / "python3.8").mkdir(parents=True)
    (told,) = Path(interpreter("3.8")).parent.parent.glob("lib/python3.8/_sysconfigdata_*.py")
    shutil.copy(told, broken / "lib" / "python3.8")
    program = broken / "bin" / "python3.8"
    program.write_text("#!/bin/sh\necho 'version GLIBC_2.99 not found' >&2\nexit 1\n")
    program.chmod(0o755)
    with tarfile.open(tmp_path / "broken.tar.gz", "w:gz") as packed:
        packed.add(broken, "python")
    listed.data = (tmp_path / "broken.tar.gz").read_bytes()
    error = failure()
    assert isinstance(error, PythonError)
    assert error.message.startswith("Python 3.8 was fetched, but it does not run on this machine\n")
    assert error.hint == "conda or pyenv can bring one that does; then name it with --python"


def test_a_folder_that_cannot_be_written_is_told(
    listed: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "size=1m,ro") as disk:
        monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(disk / "pythons"))
        error = failure()
    assert isinstance(error, PermissionsError)
    assert error.message.startswith("fetching Python 3.8 failed: the file system is read-only")
    assert listed.requests == []
