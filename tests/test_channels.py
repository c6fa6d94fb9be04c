"""Asking conda channels: a loopback server with good, dead, slow and odd channels, and the whole command."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.host.channels import ChannelQuestion, check_channels
from envfix.model.facts import ChannelState
from tests.fakes.running import ENVFIX
from tests.fakes.targets import base_python


class _Server(http.server.BaseHTTPRequestHandler):
    """Channels by the first part of the path; ``/good/...`` has both parts, ``/half/...`` only noarch ..."""

    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        """The head alone."""
        self._answer()

    def do_GET(self) -> None:
        """The list itself, which nobody should read to the end."""
        self._answer()

    def _answer(self) -> None:
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}".strip())
        channel, _, part = self.path.strip("/").partition("/")
        if channel == "hang":
            time.sleep(5)
        status = {"dead": 404, "closed": 403, "private": 401, "sick": 500}.get(channel, 200)
        if channel == "half" and not part.startswith("noarch"):
            status = 404
        if channel == "headless" and self.command == "HEAD":
            status = 405
        if channel == "circle":
            status = 302
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    """The address of a running server, and what it was asked."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked: list[str] = []
    handler = type("Handler", (_Server,), {"asked": asked})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        running.block_on_close = False
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", asked
        running.shutdown()


def ask(*urls: str, timeout: float = 3.0) -> tuple[ChannelState, ...]:
    return check_channels([ChannelQuestion(name=url, url=url) for url in urls], "linux-64", timeout=timeout)


@pytest.mark.parametrize(
    ("channel", "reachable", "problem"),
    [
        ("good", True, None),
        ("headless", True, None),
        ("half", True, "holds nothing for linux-64"),
        ("dead", False, "there is no such channel (404)"),
        ("closed", False, "refuses (403)"),
        ("private", False, "refuses (401)"),
        ("sick", False, "answers with error 500"),
        ("circle", False, "redirects more than 5 times"),
    ],
)
def test_each_kind_of_answer_has_its_words(
    channel: str,
    reachable: bool,  # noqa: FBT001
    problem: str | None,
    server: tuple[str, list[str]],
) -> None:
    (state,) = ask(f"{server[0]}/{channel}")
    assert (state.reachable, state.problem) == (reachable, problem)


def test_both_parts_are_asked_for_by_their_head_only(server: tuple[str, list[str]]) -> None:
    ask(f"{server[0]}/good")
    assert sorted(server[1]) == ["HEAD /good/linux-64/repodata.json", "HEAD /good/noarch/repodata.json"]


def test_slow_and_absent_servers_do_not_hold_up_the_others(server: tuple[str, list[str]]) -> None:
    started = time.monotonic()
    states = ask(f"{server[0]}/hang", f"{server[0]}/good", "http://127.0.0.1:9/x", "no address", timeout=1.0)
    assert time.monotonic() - started < 3
    assert [state.reachable for state in states] == [False, True, False, False]
    assert states[0].problem == "no answer within 1 s"
    assert states[2].problem == "refuses the connection"
    assert all(state.problem for state in states if not state.reachable)


def test_credentials_are_used_and_not_shown(server: tuple[str, list[str]]) -> None:
    (state,) = ask(server[0].replace("://", "://li:hunter2@") + "/good")
    assert state.reachable
    assert all(line.endswith("Basic bGk6aHVudGVyMg==") for line in server[1])
    assert "hunter2" not in repr(state)


def test_channel_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch" / "repodata.json").write_text("{}")
    good, bad = ask(tmp_path.as_uri(), (tmp_path / "gone").as_uri())
    assert (good.reachable, good.problem) == (True, "holds nothing for linux-64")
    assert (bad.reachable, bad.problem) == (False, "there is no such channel in this folder")


def test_diagnose_names_the_dead_channel_and_prints_a_working_file(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    base = server[0]
    (tmp_path / ".condarc").write_text(
        f"channels: [good, dead, '{base.replace('://', '://li:hunter2@')}/half']\nchannel_alias: {base}\n"
    )
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "NO_PROXY": "*", "PIP_NO_INDEX": "1"}
    environment["ENVFIX_CACHE_DIR"] = str(tmp_path / "cache")
    argv = [*ENVFIX, "diagnose", "--no-import", "--network", "--json", "--python", base_python()]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    (finding,) = [row for row in report["findings"] if row["cause"] == "conda_channel_unreachable"]
    assert "dead (there is no such channel (404))" in finding["message"]
    assert "good (" not in finding["message"]
    assert f"channels:\n  - {base}/good\n  - {base}/half\nchannel_priority: strict" in finding["remedies"][0]["text"]
    assert "hunter2" not in done.stdout + done.stderr
    assert [row["reachable"] for row in report["facts"]["machine"]["conda"]["value"]["states"]] == [True, False, True]
