"""How progress is shown: one calm line on a terminal, plain lines in a pipe, JSON lines for scripts, nothing when quiet."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from envfix.host.interface import Deadline
from envfix.host.real import RealHost
from envfix.installer.progress import StallNotice, UvProgress, Waiting, span
from envfix.installer.route import Route, find_route, hosts_of
from envfix.model.reporter import NullReporter, Reporter
from envfix.render import open_output
from envfix.render.json_doc import JsonOutput
from envfix.render.progress import ConsoleReporter, JsonLinesReporter

GB, MB = 10**9, 10**6


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time it shows."""
        return self.now


class Heard(NullReporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.counts: list[tuple[int, int]] = []

    def packages(self, done: int, total: int) -> None:
        """See ``Reporter.packages``."""
        self.counts.append((done, total))

    def note(self, text: str) -> None:
        """See ``Reporter.note``."""
        self.notes.append(text)


def shown(*, terminal: bool, width: int = 100, quiet: bool = False) -> tuple[io.StringIO, ConsoleReporter, Clock]:
    from rich.console import Console

    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=width, color_system=None, _environ={"TERM": "xterm"})
    return stream, ConsoleReporter(console, quiet=quiet, clock=clock), clock


def download(reporter: Reporter, clock: Clock, *, seconds: int, rate: int, start: int = 0, total: int = 2 * GB) -> int:
    done = start
    for _ in range(seconds * 2):
        clock.now += 0.5
        done += rate // 2
        reporter.progress(done, total)
    return done


def lines_of(text: str) -> list[str]:
    """What a terminal would have shown one after the other."""
    return [line for line in re.split(r"\r\x1b\[2K|\n", text) if line]


# --- a terminal ---


def test_one_line_tells_stage_packages_bytes_rate_and_time_left() -> None:
    stream, reporter, clock = shown(terminal=True)
    reporter.stage("downloading packages")
    reporter.packages(3, 13)
    download(reporter, clock, seconds=10, rate=50 * MB)
    assert "\n" not in stream.getvalue()
    assert lines_of(stream.getvalue())[0] == "downloading packages"
    assert lines_of(stream.getvalue())[-1] == "downloading packages  3/13  500.0 MB of 2.0 GB  50.0 MB/s  30.0 s left"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    stream, reporter, clock = shown(terminal=True)
    reporter.stage("downloading packages")
    done = download(reporter, clock, seconds=10, rate=100 * MB)
    download(reporter, clock, seconds=6, rate=10 * MB, start=done)
    assert "  10.0 MB/s  1 min 34 s left" in lines_of(stream.getvalue())[-1]


def test_without_a_total_no_time_is_promised() -> None:
    stream, reporter, clock = shown(terminal=True)
    reporter.stage("x")
    for done in (0, 5 * MB):
        clock.now += 1
        reporter.progress(done, None)
    assert lines_of(stream.getvalue())[-1] == "x  5.0 MB  5.0 MB/s"


def test_it_is_not_drawn_more_often_than_an_eye_sees() -> None:
    stream, reporter, clock = shown(terminal=True)
    reporter.stage("x")
    for done in range(1000):
        clock.now += 0.001
        reporter.progress(done, 1000)
    assert len(lines_of(stream.getvalue())) <= 12


def test_a_note_stays_above_the_line() -> None:
    stream, reporter, clock = shown(terminal=True)
    reporter.stage("downloading packages")
    download(reporter, clock, seconds=1, rate=MB)
    line = lines_of(stream.getvalue())[-1]
    reporter.note("the mirror a.example was left for b.example")
    assert stream.getvalue().endswith(f"\r\x1b[2Kthe mirror a.example was left for b.example\n\r\x1b[2K{line}")
    reporter.done()
    assert stream.getvalue().endswith(f"{line}\r\x1b[2K")


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (70, "downloading packages  500.0 MB of 2.0 GB  50.0 MB/s  30.0 s left"),
        (60, "downloading packages  500.0 MB of 2.0 GB  30.0 s left"),
        (40, "500.0 MB of 2.0 GB  30.0 s left"),
        (20, "500.0 MB of 2.0 GB"),
        (10, "500.0 MB "),
        (1, "5"),
    ],
)
def test_a_narrow_window_gets_what_matters_most(width: int, line: str) -> None:
    stream, reporter, clock = shown(terminal=True, width=width)
    reporter.stage("downloading packages")
    reporter.packages(3, 13)
    download(reporter, clock, seconds=10, rate=50 * MB)
    assert lines_of(stream.getvalue())[-1] == line
    assert all(len(one) <= max(width - 1, 1) for one in lines_of(stream.getvalue()))


def test_names_from_outside_cannot_steer_the_terminal() -> None:
    stream, reporter, _ = shown(terminal=True)
    reporter.stage("asking \x1b]0;evil\x07\x1b[2J")
    reporter.note("left \x1b[31mevil\nfake line")
    assert "\x1b]" not in stream.getvalue()
    assert "\x1b[31m" not in stream.getvalue()
    assert "evil?fake line" in stream.getvalue()


def test_a_dumb_terminal_gets_plain_lines() -> None:
    from rich.console import Console

    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, _environ={"TERM": "dumb"})
    reporter = ConsoleReporter(console)
    reporter.stage("x")
    assert stream.getvalue() == "x\n"


# --- pipes, quiet, scripts ---


def test_without_a_terminal_there_are_stages_notes_and_a_line_every_ten_seconds() -> None:
    stream, reporter, clock = shown(terminal=False)
    reporter.stage("working out the packages")
    reporter.stage("downloading packages")
    reporter.packages(1, 4)
    download(reporter, clock, seconds=25, rate=20 * MB)
    reporter.note("the mirror a.example was left for b.example")
    reporter.stage("installing packages")
    reporter.done()
    assert stream.getvalue().splitlines() == [
        "working out the packages",
        "downloading packages",
        "downloading packages  1/4  200.0 MB of 2.0 GB  20.0 MB/s  1 min 30 s left",
        "downloading packages  1/4  400.0 MB of 2.0 GB  20.0 MB/s  1 min 20 s left",
        "the mirror a.example was left for b.example",
        "installing packages",
    ]


def test_a_short_download_in_a_pipe_is_one_line() -> None:
    stream, reporter, clock = shown(terminal=False)
    reporter.stage("downloading packages")
    download(reporter, clock, seconds=9, rate=20 * MB)
    assert stream.getvalue() == "downloading packages\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_is_silent(terminal: bool) -> None:  # noqa: FBT001
    stream, reporter, clock = shown(terminal=terminal, quiet=True)
    reporter.stage("x")
    reporter.packages(1, 2)
    download(reporter, clock, seconds=30, rate=MB)
    reporter.note("y")
    reporter.done()
    assert stream.getvalue() == ""


def test_scripts_get_json_lines_four_times_a_second_and_the_last_one_always() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = JsonLinesReporter(stream, clock=clock)
    reporter.stage("downloading packages")
    reporter.stage("downloading packages")
    reporter.packages(3, 13)
    for done in range(100):
        clock.now += 0.01
        reporter.progress(done, 99)
    reporter.note("caf\u00e9")
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert events[0] == {
        "event": "stage", "text": "downloading packages", "done": None, "total": None, "packages": None, "seconds": 0.0,
    }  # fmt: skip
    progress = [event for event in events if event["event"] == "progress"]
    assert 4 <= len(progress) <= 6
    assert progress[-1] == {
        "event": "progress", "text": "downloading packages", "done": 99, "total": 99, "packages": [3, 13], "seconds": 1.0,
    }  # fmt: skip
    assert (events[-1]["event"], events[-1]["text"]) == ("note", "caf\u00e9")
    assert len(events) == len(progress) + 2


def test_json_is_silent_unless_progress_is_asked_for(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for wanted, quiet, count in ((False, False, 0), (True, True, 0), (True, False, 1)):
        output = open_output(as_json=True, progress=wanted, quiet=quiet)
        assert isinstance(output, JsonOutput)
        output.reporter.stage("x")
        out, err = capsysbinary.readouterr()
        assert out == b""
        assert len(err.splitlines()) == count


CODE = """
import sys
from envfix.render import open_output
out = open_output(as_json={json}, progress=True)
for number in range(50):
    out.reporter.stage(f"stage {{number}}")
    out.reporter.progress(number, 50)
    out.reporter.note("a note")
out.saved("/x")
"""


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("how", ["2>&-", "2>/dev/full", "closed pipe"])
def test_standard_error_that_nobody_reads_changes_nothing(how: str, as_json: bool, tmp_path: Path) -> None:  # noqa: FBT001
    (tmp_path / "code.py").write_text(CODE.format(json=as_json))
    if how == "closed pipe":
        program = [sys.executable, "code.py"]
        with subprocess.Popen(["/bin/true"], stdin=subprocess.PIPE) as reader:
            reader.wait()
            answer = subprocess.run(program, stdout=subprocess.PIPE, stderr=reader.stdin, cwd=tmp_path, check=False)
    else:
        line = f"exec '{sys.executable}' code.py {how}"
        answer = subprocess.run(["/bin/sh", "-c", line], stdout=subprocess.PIPE, cwd=tmp_path, check=False)
    assert answer.returncode == 0
    assert b"/x" in answer.stdout
    assert b"stage" not in answer.stdout


def test_an_error_does_not_stand_behind_the_line_that_was_drawn_last() -> None:
    code = (
        "import click\n"
        "from envfix.render import open_output\n"
        "with click.Context(click.Command('x')):\n"
        "    open_output(as_json=False).reporter.stage('downloading packages')\n"
        "click.echo('error: no', err=True)\n"
    )
    pieces: list[str] = []
    RealHost().stream(
        [sys.executable, "-c", code],
        on_text=pieces.append,
        deadline=Deadline(20),
        env={"TERM": "xterm", "NO_COLOR": "1"},
        terminal=True,
    )
    assert "".join(pieces) == "\r\x1b[2Kdownloading packages\r\x1b[2Kerror: no\r\n"


# --- stalls ---


def frame(counter: str, *rows: str) -> str:
    pad = " " * 40
    return f"\x1b[1A\r\x1b[2K⠙ Preparing packages... ({counter}){pad}" + "".join(
        f"{row.split()[0]:<12} ------------------------------ {row.split(maxsplit=1)[1]}{pad}" for row in rows
    )


ROUTE = Route(hosts={"torch": "wheels.example", "numpy": "main.example:8080"})


def test_a_stall_is_told_at_growing_distance_and_so_is_its_end() -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, 10 * 1024**2, route=ROUTE, limit=600, clock=clock)
    progress.feed(frame("1/2", "torch 1.00 MiB/10.00 MiB"))
    progress.feed(frame("1/2", "torch 2.00 MiB/10.00 MiB"))
    for _ in range(400):
        clock.now += 1
        progress.feed("")
        progress.feed(frame("1/2", "torch 2.00 MiB/10.00 MiB"))
    end = "from wheels.example (torch): still waiting (envfix gives up after 10 min at most; Ctrl-C is safe)"
    assert heard.notes == [
        f"nothing has arrived for 10 s {end}",
        f"nothing has arrived for 60 s {end}",
        f"nothing has arrived for 3 min {end}",
        f"nothing has arrived for 5 min {end}",
    ]
    progress.feed(frame("1/2", "torch 3.00 MiB/10.00 MiB"))
    assert heard.notes[4:] == ["it moves again, after 7 min"]
    assert heard.counts == [(1, 2)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("torch 1.00 MiB/9.00 MiB", "numpy 1.00 MiB/9.00 MiB"), "from main.example:8080 and wheels.example: still"),
        (("torch 9.00 MiB/9.00 MiB", "numpy 1.00 MiB/9.00 MiB"), "from main.example:8080 (numpy): still"),
        (("other 1.00 MiB/9.00 MiB",), "from the package index (other): still"),
        ((), "from main.example:8080 and wheels.example: still"),
    ],
)
def test_a_stall_names_who_is_silent(rows: tuple[str, ...], words: str) -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, route=ROUTE, clock=clock)
    progress.feed(frame("0/2", *rows))
    progress.feed(frame("0/2", *rows))
    clock.now += 11
    progress.feed("")
    (note,) = heard.notes
    assert words in note


def test_a_stall_while_packages_are_laid_down_does_not_blame_the_network() -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, route=ROUTE, clock=clock)
    progress.feed("Prepared 2 packages in 1s\r\nInstalling wheels...")
    clock.now += 11
    progress.feed("")
    assert heard.notes == ["uv has not got on (installing packages) for 11 s: still waiting (Ctrl-C is safe)"]


def test_a_program_that_draws_nothing_is_waited_for_aloud() -> None:
    heard, clock = Heard(), Clock()
    waiting = Waiting(heard, 180, clock)
    for _ in range(12):
        clock.now += 1
        assert not waiting.feed("")
    assert not waiting.feed("at last")
    assert heard.notes == [
        "there is no answer for 10 s: still waiting (envfix gives up after 3 min at most; Ctrl-C is safe)",
        "it moves again, after 12 s",
    ]


def test_a_download_that_begins_again_is_told() -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, route=ROUTE, clock=clock)
    progress.feed(frame("0/2", "torch 2.00 MiB/10.00 MiB"))
    clock.now += 11
    progress.feed("")
    # uv leaves the bar of the broken try on the screen, below the new one.
    for kib in range(1, 5):
        progress.feed(frame("0/2", f"torch {kib}.00 KiB/10.00 MiB", "torch 2.00 MiB/10.00 MiB"))
    for _ in range(11):
        clock.now += 1
        moved = progress.feed(frame("0/2", "torch 4.00 KiB/10.00 MiB", "torch 2.00 MiB/10.00 MiB"))
    assert not moved
    assert "nothing has arrived for 10 s" in heard.notes.pop()
    # The new try arrives, and only the old bar is left.
    progress.feed(frame("1/2", "torch 9.00 MiB/10.00 MiB", "torch 2.00 MiB/10.00 MiB"))
    for _ in range(2):
        progress.feed(frame("1/2", "torch 2.00 MiB/10.00 MiB"))
    assert progress.done == 10 * 1024**2
    assert heard.notes.pop() == "it moves again, after 11 s"
    assert heard.notes[1:] == ["the download of torch from wheels.example broke off after 2.1 MB and begins again"]


def test_a_trickle_is_no_stall_but_is_told_once() -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, 1000 * 1024, route=ROUTE, clock=clock)
    for kib in range(1, 100):
        clock.now += 1
        progress.feed(frame("0/1", f"torch {kib}.00 KiB/1000.00 KiB"))
    assert heard.notes == ["the download is very slow (1.0 kB/s): 16 min left; another index may be faster: --index"]


@pytest.mark.parametrize(("step", "total"), [(100, 20_000), (1, 70)], ids=["quick enough", "nearly done"])
def test_other_downloads_are_not_called_slow(step: int, total: int) -> None:
    heard, clock = Heard(), Clock()
    progress = UvProgress(heard, total * 1024, route=ROUTE, clock=clock)
    for second in range(1, 60):
        clock.now += 1
        progress.feed(frame("0/1", f"torch {second * step}.00 KiB/{total}.00 KiB"))
    assert heard.notes == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(10.4, "10 s"), (89, "89 s"), (180, "3 min"), (7200, "2 h"), (864_000, "10 days")]
)
def test_a_length_of_time_is_one_number(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_stall_notice_that_never_gives_up_does_not_say_when() -> None:
    heard, clock = Heard(), Clock()
    notice = StallNotice(heard, clock=clock)
    clock.now += 10
    notice.look()
    assert heard.notes == ["nothing has been heard for 10 s: still waiting (Ctrl-C is safe)"]


def test_an_idle_program_ticks_about_once_a_second() -> None:
    ticks: list[str] = []
    RealHost().stream(["/bin/sleep", "3.5"], on_text=ticks.append, deadline=Deadline(20))
    assert ticks in ([""] * 2, [""] * 3)


# --- the way packages come ---


def test_hosts_are_read_from_a_lock_without_passwords() -> None:
    lock = (
        '[[packages]]\nname = "torch"\n'
        'wheels = [{ url = "https://user:s3cret@wheels.example/cu118/torch-2.1.2%2Bcu118-cp311-cp311-linux_x86_64.whl" }]\n'
        '[[packages]]\nname = "typing-extensions"\n'
        'wheels = [{ url = "http://main.example:80/typing_extensions-4.9.0-py3-none-any.whl", size = 1 }]\n'
        '[[packages]]\nname = "thop"\nsdist = { url = "https://main.example/x/thop-0.1.1-2.tar.gz" }\n'
    )
    assert hosts_of(lock)["torch"] == "wheels.example"
    assert hosts_of(lock)["typing-extensions"] == "main.example:80"
    assert "s3cret" not in str(hosts_of(lock))


def test_the_proxy_of_an_address_is_found_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1, .lab.example")
    monkeypatch.setenv("HTTPS_PROXY", "user:s3cret@proxy:3128")
    route = find_route(RealHost(), {"ALL_PROXY": "http://other:1080"})
    assert route.proxy_for("https://wheels.example/x") == "proxy:3128"
    assert route.proxy_for("http://wheels.example/x") == "other:1080"
    assert route.proxy_for("https://pip.lab.example/x") is None
    assert route.proxy_for("http://127.0.0.1:80/") is None
    monkeypatch.setenv("NO_PROXY", "*")
    assert find_route(RealHost(), {"ALL_PROXY": "http://other:1080"}).proxy_for("https://wheels.example/x") is None
