"""Everything is on this disk before an environment is touched: uv fetches, and where it breaks off envfix goes on itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting
from envfix.installer import uv as uv_module
from envfix.installer.interface import DownloadError, Resolution, Sources
from envfix.installer.uv import UvInstaller
from envfix.model.outcome import Installation
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter
from tests.conftest import interpreter
from tests.loopback_index import Index, make_wheel, serve

TARGET = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", libc="glibc", glibc="2.31")
PINS = (
    PackagePin(name="torch", specifier="==2.1.2+cu118", index="official", because="test"),
    PackagePin(name="numpy", specifier="", index="pypi", because="test"),
)
SIZE = 1_500_000


class Heard(NullReporter):
    """Remembers what was told to stay on the screen."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.interrupt_at: int | None = None

    def progress(self, done: int, total: int | None) -> None:
        """See ``Reporter.progress``; acts like Ctrl-C once envfix fetches itself and so much has arrived."""
        del total
        if self.interrupt_at is not None and done >= self.interrupt_at and any("itself" in note for note in self.notes):
            raise KeyboardInterrupt

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self.notes.append(text)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url("simple", "main"))
        index.add("cu118", make_wheel("torch", "2.1.2+cu118", requires=("numpy",), padding=SIZE))
        index.add("main", make_wheel("numpy", "1.26.4"))
        yield index


class Case:
    """One fetch, and the installation after it."""

    def __init__(self, server: Index, folder: Path) -> None:
        self.heard = Heard()
        self.store = folder / "wheels"
        self.uv = UvInstaller(RealHost(), self.heard, store=str(self.store))
        self.sources = Sources(torch_url=server.url("simple", "cu118"), torch_name="official")
        self.python = interpreter("3.11")
        answer = self.uv.resolve(PINS, self.sources, TARGET, python=self.python)
        assert isinstance(answer, Resolution)
        self.resolution = answer
        self.server, self.folder = server, folder
        server.requests.clear()

    def fetch(self) -> Resolution:
        """Everything onto this disk."""
        return self.uv.fetch(self.resolution, python=self.python)

    def install(self, resolution: Resolution) -> Path:
        """Offline, from what was fetched."""
        env = self.folder / "env"

        def work(python: str, lock: EnvironmentLock) -> Installation:
            return self.uv.install(resolution, python=python, prefix=str(env), lock=lock)

        acting.into_new(
            str(env),
            lambda lock: (
                UvInstaller(RealHost(), offline=True).create_environment(self.python, str(env), lock=lock).python
            ),
            lambda layout: acting.by_wheels(RealHost(), layout, resolution.versions, self.uv.incoming(resolution)),
            what="torch",
            work=work,
            prove=lambda _: None,
            keep=False,
            reporter=NullReporter(),
        )
        return next(env.glob("lib/*/site-packages"))


def test_after_a_fetch_nothing_more_comes_over_the_network(server: Index, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    fetched = case.fetch()
    assert fetched == case.resolution
    assert len(server.downloads()) == 2
    server.requests.clear()
    assert (case.install(fetched) / "torch" / "padding.bin").stat().st_size == SIZE
    assert server.downloads() == []
    assert case.heard.notes == []
    assert case.uv.incoming(fetched) is not None


def test_a_file_that_breaks_off_is_fetched_to_its_end_from_there(server: Index, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    server.cut_files_after = 400_000
    fetched = case.fetch()
    assert any(note.endswith("envfix goes on itself, and resumes after a break") for note in case.heard.notes)
    ranges = [part for part in server.ranges() if part is not None]
    assert {f"bytes={part}00000-" for part in (4, 8, 12)} <= set(ranges)
    site = case.install(fetched)
    assert (site / "torch" / "padding.bin").stat().st_size == SIZE
    assert not (site / "torch-2.1.2+cu118.dist-info" / "direct_url.json").exists()
    assert list(case.store.rglob("*.whl")) == [], "uv's cache has it now"
    assert case.uv.incoming(fetched) is not None


def test_after_ctrl_c_the_next_try_goes_on_where_it_was(server: Index, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    server.cut_files_after = 400_000
    case.heard.interrupt_at = 300_000
    with pytest.raises(KeyboardInterrupt):
        case.fetch()
    case.heard.interrupt_at = None
    server.requests.clear()
    case.fetch()
    ranges = [part for path, part in zip(server.downloads(), server.ranges(), strict=True) if "torch" in path]
    assert ranges
    assert None not in ranges, "nothing begins anew"


def test_a_download_that_would_take_long_is_one_that_resumes(
    server: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uv_module, "SLOW_AFTER", 0.5)
    monkeypatch.setattr(uv_module, "SLOW_LEFT", 1.0)
    case = Case(server, tmp_path)
    server.bytes_per_second = 250_000
    case.fetch()
    assert case.heard.notes[0].startswith("the network is slow here (")
    assert case.heard.notes[0].endswith(" min left): envfix goes on itself, and resumes after a break")


def test_a_file_that_is_not_what_was_promised_is_not_tried_twice(server: Index, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    server.file_fault = "404"
    with pytest.raises(DownloadError) as caught:
        case.fetch()
    assert "has no longer the file of torch==2.1.2+cu118 (404 Not Found)" in caught.value.message
    assert case.heard.notes == []
    assert not case.store.exists()


def test_the_time_is_told_by_a_rate_that_is_measured(server: Index, tmp_path: Path) -> None:
    case = Case(server, tmp_path)
    server.bytes_per_second = 200_000
    seconds = case.uv.download_seconds(case.resolution)
    assert seconds is not None
    assert 4 < seconds < 16, "1.5 MB at 200 kB a second"


@pytest.mark.parametrize("fault", ["500", "404", "cut"])
def test_no_time_is_told_where_nothing_can_be_measured(server: Index, tmp_path: Path, fault: str) -> None:
    case = Case(server, tmp_path)
    server.file_fault = fault
    seconds = case.uv.download_seconds(case.resolution)
    assert seconds is None or fault == "cut"
