"""Asking indexes: what an honest one holds, and that a broken, slow or malicious one costs little time and says why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.host import index as module
from envfix.host.index import IndexCandidate, candidates_from, check_indexes, default_registry, file_sizes
from envfix.model.facts import IndexState, PackageSource
from tests.loopback_index import Index, make_wheel, serve

TORCH = "torch-2.1.2+cu118-cp311-cp311-linux_x86_64.whl"


@pytest.fixture
def index() -> Iterator[Index]:
    with serve() as server:
        server.add(
            "cu118",
            make_wheel("torch", "2.1.2+cu118", "cp311-cp311-linux_x86_64"),
            make_wheel("torchvision", "0.16.2+cu118", "cp311-cp311-linux_x86_64"),
            make_wheel("numpy", "1.26.4"),
        )
        yield server


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def ask(url: str, layout: str = "index", **options: object) -> IndexState:
    candidate = IndexCandidate(name="x", url=url, layout="find-links" if layout == "find-links" else "index")
    return check_indexes([candidate], **options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["simple", "json", "nometa"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_project_index_tells_its_torch_files(index: Index, layout: str, slash: str) -> None:
    state = ask(index.url(layout, "cu118").rstrip("/") + slash)
    assert state.reachable
    assert state.problem is None
    assert state.files == (TORCH, "torchvision-0.16.2+cu118-cp311-cp311-linux_x86_64.whl")
    assert state.seconds is not None
    assert state.seconds < 2


def test_a_page_of_files_tells_its_torch_files_and_no_others(index: Index) -> None:
    state = ask(index.url("flat", "cu118"), "find-links")
    assert state.files == (TORCH, "torchvision-0.16.2+cu118-cp311-cp311-linux_x86_64.whl")


@pytest.mark.parametrize("how", ["403", "404"])
def test_no_torch_page_is_an_answer(index: Index, how: str) -> None:
    state = ask(f"{index.base}/broken/{how}/")
    assert state.reachable
    assert state.files == ()
    assert state.problem == f"answers, but has no torch ({how})"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("500", "answers with error 500"),
        ("401", "asks for a user name and password (401)"),
        ("429", "asked too often"),
        ("garbage", "not with a list of packages"),
        ("login", "not with a list of packages"),
        ("badjson", "broken JSON"),
        ("binary", "application/octet-stream, which is no list of packages"),
        ("redirect", "redirects more than 5 times"),
        ("huge", "larger than 20 MB"),
    ],
)
def test_a_broken_index_is_not_reachable_and_says_why(index: Index, how: str, words: str) -> None:
    state = ask(f"{index.base}/broken/{how}/")
    assert not state.reachable
    assert state.files is None
    assert state.problem is not None
    assert words in state.problem
    assert "\n" not in state.problem


@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_slow_index_is_given_up_in_time(index: Index, how: str) -> None:
    started = time.monotonic()
    state = ask(f"{index.base}/broken/{how}/", timeout=0.8)
    assert time.monotonic() - started < 2
    assert not state.reachable
    assert state.problem == "no answer within 0.8 s"


def test_slow_ones_do_not_hold_up_the_others(index: Index) -> None:
    started = time.monotonic()
    urls = [f"{index.base}/broken/hang/", index.url("simple", "cu118"), f"{index.base}/broken/drip/"]
    states = check_indexes([IndexCandidate(name=url, url=url) for url in urls], timeout=1)
    assert time.monotonic() - started < 2.5
    assert [state.reachable for state in states] == [False, True, False]
    assert [state.name for state in states] == urls


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9/", "refuses the connection"),
        ("http://no.such.host.invalid/", "DNS"),
        ("ftp://host/x", "no address that can be asked over HTTP"),
        ("http://[::1/x", "cannot be asked"),
        ("http:///x", "no valid address"),
    ],
)
def test_an_address_that_leads_nowhere_says_why(url: str, words: str) -> None:
    state = ask(url)
    assert not state.reachable
    assert state.problem is not None
    assert words in state.problem


def test_plain_http_behind_an_https_address_is_recognised(index: Index) -> None:
    state = ask(index.url("simple", "cu118").replace("http:", "https:"))
    assert state.problem == "does not speak TLS: http instead of https?"


def test_a_password_is_used_and_never_shown(index: Index) -> None:
    index.password = "secret"  # noqa: S105
    state = ask(index.url("simple", "cu118").replace("//", "//user:secret@"))
    assert state.reachable
    assert "secret" not in repr(state)
    assert state.location == index.url("simple", "cu118")


def test_a_page_that_breaks_off_after_torch_is_still_an_answer(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = module._Asker._page

    def page(self: module._Asker, session: object, url: str) -> object:
        if "torchvision" in url:
            raise module._Failure("no answer within 4 s")
        return whole(self, session, url)  # type: ignore[arg-type]

    monkeypatch.setattr(module._Asker, "_page", page)
    state = ask(index.url("simple", "cu118"))
    assert state.reachable
    assert state.files == (TORCH,)
    assert state.problem == "its page of torchvision: no answer within 4 s"


@pytest.mark.parametrize("written", ["{}", "file://{}"])
def test_a_folder_is_listed_even_offline(tmp_path: Path, written: str) -> None:
    folder = tmp_path / "my wheels"
    folder.mkdir()
    for name in (TORCH, "numpy-1.26.4-py3-none-any.whl", "notes.txt"):
        (folder / name).touch()
    url = written.format(str(folder).replace(" ", "%20") if "file" in written else folder)
    assert ask(url, "find-links", offline=True).files == (TORCH,)


def test_an_index_on_disk_has_one_folder_for_each_project(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "index.html").write_text(f'<a href="../files/{TORCH.replace("+", "%2B")}#sha256=0">x</a>')
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "torchvision-0.1-py3-none-any.whl").touch()
    assert ask(f"file://{tmp_path}").files == (TORCH, "torchvision-0.1-py3-none-any.whl")


@pytest.mark.parametrize("layout", ["find-links", "index"])
def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path, layout: str) -> None:
    state = ask(str(tmp_path / "nothing"), layout)
    assert not state.reachable
    assert state.problem is not None
    assert state.problem.startswith("there is no such folder")


def test_offline_asks_nobody(index: Index) -> None:
    state = ask(index.url("simple", "cu118"), offline=True)
    assert (state.reachable, state.problem) == (False, "not asked: offline")
    assert index.requests == []


def test_a_fresh_answer_is_not_asked_for_again(index: Index, tmp_path: Path) -> None:
    first = ask(index.url("simple", "cu118"), cache_dir=str(tmp_path))
    asked = len(index.requests)
    second = ask(index.url("simple", "cu118"), cache_dir=str(tmp_path))
    assert len(index.requests) == asked
    assert second.reachable
    assert second.files == first.files


def test_an_old_list_is_told_along_with_the_failure(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = index.url("simple", "cu118")
    ask(url, cache_dir=str(tmp_path))
    index.password = "now closed"  # noqa: S105
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3 * 3600)
    state = ask(url, cache_dir=str(tmp_path))
    assert not state.reachable
    assert state.files is not None
    assert state.problem == "asks for a user name and password (401); its list of files is 3 hours old"


def test_failures_are_not_remembered(index: Index, tmp_path: Path) -> None:
    index.password = "closed"  # noqa: S105
    assert not ask(index.url("simple", "cu118"), cache_dir=str(tmp_path)).reachable
    index.password = None
    assert ask(index.url("simple", "cu118"), cache_dir=str(tmp_path)).reachable


@pytest.mark.parametrize("rubbish", ["", "{", '{"at": "x"}', '{"at": 1e99, "location": 3, "files": 4}', "[]"])
def test_a_broken_cache_is_as_good_as_none(index: Index, tmp_path: Path, rubbish: str) -> None:
    ask(index.url("simple", "cu118"), cache_dir=str(tmp_path))
    for kept in (tmp_path / "indexes").iterdir():
        kept.write_text(rubbish)
    assert ask(index.url("simple", "cu118"), cache_dir=str(tmp_path)).files is not None


def test_a_cache_that_cannot_be_written_is_no_problem(index: Index, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    assert ask(index.url("simple", "cu118"), cache_dir=str(blocked)).reachable


def test_candidates_come_in_the_order_they_are_worth() -> None:
    official = IndexCandidate(name="official", url="https://official/whl/cu118")
    sources = [
        PackageSource(kind="find-links", location="/wheels", configured_in="a"),
        PackageSource(kind="extra-index", location="https://lab/simple", configured_in="b"),
        PackageSource(kind="index", location="https://pip/simple", configured_in="pip.conf"),
        PackageSource(kind="index", location="https://uv/simple", configured_in="environment variable UV_INDEX_URL"),
        PackageSource(kind="extra-index", location="https://lab/simple", configured_in="twice"),
    ]
    chosen = candidates_from(sources, [official])
    assert [(one.name, one.url, one.layout) for one in chosen] == [
        ("official", "https://official/whl/cu118", "index"),
        ("pypi", "https://uv/simple", "index"),
        ("find-links", "/wheels", "find-links"),
        ("extra-index", "https://lab/simple", "index"),
    ]
    assert candidates_from([], [])[0].url is None


def test_sizes_are_asked_for_where_a_page_does_not_tell(index: Index) -> None:
    wheel = make_wheel("torch", "2.1.2+cu118", "cp311-cp311-linux_x86_64")
    url = f"{index.base}/files/cu118/{wheel.filename.replace('+', '%2B')}"
    assert file_sizes([url, f"{index.base}/nothing", "http://127.0.0.1:9/x"]) == {url: len(wheel.data)}


@pytest.mark.online
def test_the_default_registry_has_torch() -> None:
    state = check_indexes([IndexCandidate(name="pypi", url=None)], timeout=20)[0]
    assert state.reachable, state.problem
    assert state.files is not None
    assert "torch-2.0.1-cp311-cp311-manylinux1_x86_64.whl" in state.files
    assert state.location == default_registry()
