"""The one door to the outside: programs, files and variables; expected failures are answers, never exceptions."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from envfix.errors import SnapshotError, UnrecordedCallError
from envfix.host.interface import CommandResult, Deadline
from envfix.host.real import END_LIMIT, HEAD_LIMIT, RealHost
from envfix.host.recording import RecordingHost
from envfix.host.replay import ReplayHost
from tests.fakes.targets import base_python, make_venv, write_script


@pytest.fixture
def host() -> RealHost:
    """This machine."""
    return RealHost()


def alive(pid: int) -> bool:
    """Whether a process runs (one that only waits to be collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_program_answers_with_code_and_both_streams(host: RealHost) -> None:
    result = host.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10)
    assert result == CommandResult(outcome="exited", returncode=3, stdout="out\n", stderr="err\n")
    assert (result.ok, result.failure) == (False, "exit code 3: err")


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("exit 3", "exit code 3"),
        ("echo only out; exit 1", "exit code 1: only out"),
        ("echo first; echo last; exit 1", "exit code 1: last"),
        ("echo not found >&2; echo more >&2; exit 127", "exit code 127: not found"),
        ("kill -9 $$", "killed by signal 9"),
    ],
)
def test_failure_is_told_in_words(host: RealHost, text: str, failure: str) -> None:
    assert host.run(["/bin/sh", "-c", text], timeout=10).failure == failure


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("missing", "not-found"),
        ("folder", "not-permitted"),
        ("not executable", "not-permitted"),
        ("not a program", "not-permitted"),
    ],
)
def test_program_that_cannot_be_started_is_an_answer(host: RealHost, tmp_path: Path, kind: str, outcome: str) -> None:
    path = tmp_path / "program"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"\x7fELF nonsense")
        path.chmod(0o755 if kind == "not a program" else 0o644)
    result = host.run([str(path)], timeout=5)
    assert (result.outcome, result.returncode, result.ok) == (outcome, None, False)


def test_program_sees_the_users_variables_and_the_added_ones(
    host: RealHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ONE", "1")
    result = host.run(["/bin/sh", "-c", 'echo "$ONE $TWO"; pwd'], timeout=5, env={"TWO": "2"}, cwd=str(tmp_path))
    assert result.stdout.split() == ["1", "2", os.path.realpath(tmp_path)]
    assert host.run(["/bin/sh", "-c", "read line; echo $?"], timeout=5).stdout == "1\n", "there is nothing to read"


def test_program_and_what_it_started_end_at_the_time_limit(host: RealHost, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/grandchild; trap '' TERM; sleep 60"
    started = time.monotonic()
    result = host.run(["/bin/sh", "-c", script], timeout=0.3)
    assert (result.outcome, result.returncode) == ("timed-out", None)
    assert time.monotonic() - started < 6
    assert not alive(int((tmp_path / "grandchild").read_text()))


def test_grandchild_that_keeps_the_pipe_open_does_not_keep_envfix_waiting(host: RealHost) -> None:
    started = time.monotonic()
    result = host.run(["/bin/sh", "-c", "sleep 60 & echo answer"], timeout=20)
    assert (result.outcome, result.stdout) == ("exited", "answer\n")
    assert time.monotonic() - started < 6


def test_flood_is_drained_and_its_middle_left_out(host: RealHost) -> None:
    program = "import sys; sys.stdout.write('first' + 'x' * 30_000_000 + 'last')"
    result = host.run([sys.executable, "-I", "-c", program], timeout=30)
    assert (result.ok, result.truncated) == (True, True)
    assert len(result.stdout) == HEAD_LIMIT + END_LIMIT
    assert result.stdout.startswith("first")
    assert result.stdout.endswith("last")


@pytest.mark.parametrize("size", [0, 1, HEAD_LIMIT, HEAD_LIMIT + 1, HEAD_LIMIT + END_LIMIT])
def test_output_within_the_limit_is_whole(host: RealHost, size: int) -> None:
    program = f"import sys; sys.stdout.write(''.join(str(n % 10) for n in range({size})))"
    result = host.run([sys.executable, "-I", "-c", program], timeout=30)
    assert (result.truncated, len(result.stdout)) == (False, size)
    assert result.stdout == ("0123456789" * (size // 10 + 1))[:size]


def test_output_that_is_no_text_is_replaced(host: RealHost) -> None:
    assert host.run(["/bin/sh", "-c", r"printf 'caf\351'"], timeout=5).stdout == "caf\ufffd"


def test_interrupt_ends_what_runs_and_lets_nothing_start(host: RealHost, tmp_path: Path) -> None:
    results: list[CommandResult] = []
    script = f"echo $$ > {tmp_path}/part; mv {tmp_path}/part {tmp_path}/pid; exec sleep 60"
    thread = threading.Thread(target=lambda: results.append(host.run(["/bin/sh", "-c", script], timeout=60)))
    thread.start()
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    host.interrupt()
    thread.join(5)
    assert not thread.is_alive()
    assert results[0].returncode == -15
    assert not alive(int((tmp_path / "pid").read_text()))
    assert host.run(["/bin/sh", "-c", "sleep 60"], timeout=60).ok is False


@pytest.mark.parametrize("terminal", [False, True])
def test_streamed_program_hands_over_its_text_as_it_comes(host: RealHost, terminal: bool) -> None:  # noqa: FBT001
    pieces: list[str] = []
    script = 'if [ -t 1 ]; then echo terminal; else echo pipe; fi; echo "$KEPT $GONE"; exit 5'
    result = host.stream(
        ["/bin/sh", "-c", script],
        on_text=pieces.append,
        deadline=Deadline(10),
        env={"KEPT": "kept"},
        drop_env=("HOME",),
        terminal=terminal,
    )
    assert "".join(pieces).split() == ["terminal" if terminal else "pipe", "kept"]
    assert (result.outcome, result.returncode) == ("exited", 5)


def test_streamed_program_ends_at_its_deadline_which_may_be_moved(host: RealHost) -> None:
    deadline = Deadline(0.5)
    started = time.monotonic()
    seen: list[str] = []

    def on_text(text: str) -> None:
        seen.append(text)
        deadline.extend(0.5)

    result = host.stream(
        ["/bin/sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.3; done; sleep 60"], on_text=on_text, deadline=deadline
    )
    assert result.outcome == "timed-out"
    assert "".join(seen).split() == ["1", "2", "3"]
    assert time.monotonic() - started < 6


def test_streamed_program_that_is_missing_is_an_answer(host: RealHost) -> None:
    assert host.stream(["/no/such/program"], on_text=lambda _: None, deadline=Deadline(1)).outcome == "not-found"


# --- files ---


def test_file_is_read_up_to_a_limit_and_in_any_encoding(host: RealHost, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"caf\xe9 and more")
    assert host.read_text(str(tmp_path / "file"), limit=4).text == "caf\ufffd"
    assert host.read_text(str(tmp_path / "none")).outcome == "absent"
    assert host.read_text(str(tmp_path / "file" / "below")).outcome == "absent"
    assert host.read_text(str(tmp_path)).outcome == "unreadable"
    assert host.read_text("a\0b").outcome == "unreadable"
    os.mkfifo(tmp_path / "pipe")
    assert host.read_text(str(tmp_path / "pipe")).problem == "not a regular file"


def test_file_is_written_whole_with_the_rights_of_the_user(host: RealHost, tmp_path: Path) -> None:
    path = tmp_path / "file"
    mask = os.umask(0o027)
    try:
        host.write_text(str(path), "one\n")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    host.write_text(str(path), "caf\u00e9\n")
    assert path.read_text(encoding="utf-8") == "caf\u00e9\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_writing_that_fails_leaves_the_old_file_and_no_other(host: RealHost, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        host.write_text(str(path), "new \ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    with pytest.raises(OSError, match="No such file"):
        host.write_text(str(tmp_path / "none" / "file"), "new")
    with pytest.raises(OSError, match="directory"):
        host.write_text(str(tmp_path), "new")


def test_every_program_on_path_is_found_once_in_its_order(
    host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (write_script(tmp_path / folder / "nvcc", "") for folder in ("a", "b"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "nvcc").write_text("not executable")
    monkeypatch.setenv("PATH", f"{tmp_path}/c::{tmp_path}/a:{tmp_path}/none:{tmp_path}/b:{tmp_path}/a")
    assert host.which("nvcc") == (str(first), str(second))
    assert host.which("nothing") == ()


def test_disk_space_is_asked_of_the_nearest_folder_that_exists(host: RealHost, tmp_path: Path) -> None:
    space = host.disk_space(str(tmp_path / "not" / "yet" / "there"))
    assert space.free
    assert space.total
    assert (space.writable, space.problem) == (True, None)
    (tmp_path / "file").write_text("")
    assert host.disk_space(str(tmp_path / "file")).writable is False


def test_envfix_itself_is_asked_in_isolation_and_the_target_is_not(
    host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PYTHONPATH that breaks the user's Python is a fault to find, and must not break envfix."""
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('broken')\n")
    (tmp_path / "json.py").write_text("raise SystemExit('broken')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "broken" not in host.run_script(None, "envfix_gpu_facts.py", ("COOKIE",), timeout=20).stderr
    assert "broken" in host.run_script(base_python(), "envfix_interpreter_facts.py", ("COOKIE",), timeout=20).stderr


def test_interpreter_by_version_is_never_envfix_itself(
    host: RealHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin")
    found = host.find_interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}")
    if sys.prefix == sys.base_prefix:
        assert found is None
    else:
        assert found is not None
        assert os.path.samefile(found, base_python())
        assert os.path.dirname(found) != os.path.dirname(sys.executable), (
            "the one behind the environment, not the environment"
        )


# --- recording and replaying ---


def test_recording_gives_the_same_answers_again(
    host: RealHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_venv(tmp_path / "env")
    (tmp_path / "file").write_text("text")
    monkeypatch.setenv("CUDA_HOME", "/usr/local/cuda")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "none"))
    recording = RecordingHost(host)

    def ask(one: RecordingHost | ReplayHost) -> list[object]:
        return [
            one.run(["/bin/sh", "-c", "echo $$ > /dev/null; echo out"], timeout=5),
            one.run(["/bin/sh", "-c", 'echo "$A"; pwd'], timeout=5, env={"A": "a"}, cwd="/"),
            one.run(["/no/such"], timeout=5),
            one.run_script(None, "envfix_gpu_facts.py", ("COOKIE",), timeout=20),
            one.read_text(str(tmp_path / "file")),
            one.read_text(str(tmp_path / "none")),
            one.glob(str(tmp_path / "*")),
            one.which("sh"),
            one.real_path(str(tmp_path)),
            one.getenv("CUDA_HOME"),
            one.getenv("NO_SUCH_VARIABLE"),
            one.environ(("CUDA_",)),
            one.system_facts(),
            one.find_interpreter("3.1"),
            one.disk_space(str(tmp_path)),
        ]

    answers = ask(recording)
    assert ask(ReplayHost(recording.transcript)) == answers
    assert len(recording.transcript) == len(answers)


def test_replay_refuses_what_was_not_recorded_or_is_damaged() -> None:
    replay = ReplayHost([{"ask": ["getenv", "A"], "answer": "a"}, {"ask": ["which", "sh"], "answer": 7}])
    assert replay.getenv("A") == "a"
    with pytest.raises(UnrecordedCallError, match="getenv"):
        replay.getenv("B")
    with pytest.raises(SnapshotError, match="damaged"):
        replay.which("sh")
    with pytest.raises(SnapshotError, match="without 'ask' and 'answer'"):
        ReplayHost([{"answer": 1}])
    replay.interrupt()
