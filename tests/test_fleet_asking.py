"""What travels to a node of a cluster: it answers as this machine would, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from envfix import snapshots
from envfix.app.detecting import detect
from envfix.app.fleet import FleetRequest, Seen, collector_files, look_at, save
from envfix.errors import SnapshotError
from envfix.fleet import asking, travelling
from envfix.fleet.gathering import Answered, Limits, gather
from envfix.fleet.interface import Listing
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.host.replay import ReplayHost
from envfix.model import reasons
from envfix.model.documents import to_builtins
from envfix.model.facts import Environment, Machine
from tests.conftest import interpreter
from tests.fakes.running import CHECKOUT, cleaned_environment
from tests.fakes.targets import SM_OF_CU111, make_venv, write_torch
from tests.fleet_nodes import running_with, settled, wait_for

BOOT = ("-B", "-s", "-E", "-c", "import sys; del sys.path[:1]; exec(sys.stdin.readline())")
FILES = collector_files(RealHost())
# What is another one a moment later.
PASSING = ("memory_available", "free", "seconds")


class Local:
    """An engine whose nodes are programs here, by name."""

    name = "programs"

    def __init__(self, **commands: Sequence[str]) -> None:
        self._commands = commands

    def nodes(self) -> Listing:
        """All of them."""
        return Listing(nodes=tuple(self._commands))

    def command(self, node: str) -> Sequence[str]:
        """Its program."""
        return self._commands[node]

    def close(self) -> None:
        """Nothing was made."""


class Heard(NamedTuple):
    """What was seen on a node, and all that it told for it."""

    seen: Any
    told: asking.Told


def ask_all(
    look: Callable[[ProbeHost], Any], *, seconds: float = 60, most_bytes: int = 16_000_000, **commands: Sequence[str]
) -> dict[str, Answered]:
    limits = Limits(seconds=seconds, most_bytes=most_bytes)
    answers = gather(Local(**commands), list(commands), lambda ask: Heard(*ask(look)), FILES, limits)
    return {answer.node: answer for answer in answers}


def ask_one(command: Sequence[str], look: Callable[[ProbeHost], Any], **limits: Any) -> Answered:
    return ask_all(look, node=command, **limits)["node"]


def lasting(value: Any) -> Any:
    """Without what is another number a moment later."""
    if isinstance(value, dict):
        return {key: lasting(item) for key, item in value.items() if key not in PASSING}
    return [lasting(item) for item in value] if isinstance(value, (list, tuple)) else value


def facts(seen: tuple[Machine, Environment]) -> Any:
    return lasting([to_builtins(one) for one in seen])


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An environment with an old torch, and a bare set of variables."""
    site = make_venv(tmp_path / "env", interpreter("3.8"), "3.8")
    write_torch(site, "1.9.0+cu111", "11.1", SM_OF_CU111)
    (tmp_path / "home").mkdir()
    for name in list(os.environ):
        if name not in ("ENVFIX_CACHE_DIR", "LANG"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", f"{tmp_path}/env/bin:/usr/local/bin:/usr/bin:/bin")
    return str(tmp_path / "env")


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.13"])
@pytest.mark.parametrize("target", [None, "env"])
def test_node_tells_what_this_machine_would_see_itself(
    version: str,
    target: str | None,
    node: str,
    fake_machine: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = interpreter(version)
    pretended = fake_machine("seed-server")
    pretended["PATH"] = f"{pretended['PATH'].split(':')[0]}:{os.environ['PATH']}"
    for name in set(pretended) - {"HOME"}:
        monkeypatch.setenv(name, pretended[name])
    wanted = node if target else None
    here = detect(RealHost(), wanted)
    answer = ask_one([python, *BOOT], lambda host: detect(host, wanted))
    assert answer.problem is None
    machine = facts(here)[0]
    assert [card["name"] for card in machine["gpus"]["value"]] == ["GeForce RTX 3090"] * 2
    assert facts(answer.seen.seen) == facts(here)
    assert answer.seen.told.rounds < 12
    replayed = detect(ReplayHost(answer.seen.told.transcript), wanted)
    assert facts(replayed) == facts(here)


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.13"])
def test_nothing_is_left_behind(version: str, node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    answer = ask_one([interpreter(version), *BOOT], lambda host: detect(host, node))
    assert answer.problem is None
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


FIRST_USE_IN_THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
from envfix.app.detecting import detect
from envfix.fleet.gathering import Limits, gather
from envfix.model.documents import from_builtins, to_builtins
from envfix.model.facts import Machine
from envfix.host.real import RealHost
from tests.test_fleet_asking import BOOT, FILES, Local
machine = to_builtins(detect(RealHost(), sys.executable, with_import=False)[0])
together = threading.Barrier(8)
def talk(ask):
    together.wait()
    return from_builtins(machine, Machine)
nodes = {f"node{number}": ["/bin/cat"] for number in range(8)}
answers = list(gather(Local(**nodes), list(nodes), talk, FILES, Limits()))
print(sum(answer.problem is None for answer in answers))
"""


def test_records_are_known_before_threads_make_them() -> None:
    """The first use of a record in several threads at once brings Python down, with msgspec 0.22."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE_IN_THREADS],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "8\n"), done


def test_hostile_nodes_do_not_hurt_the_others(node: str, tmp_path: Path) -> None:
    mark = f"envfix-hostile-{tmp_path.name}"
    rubbish = 'import sys\nfor line in sys.stdin:\n c = line.partition("main(ENVFIX_FILES, \'")[2].partition("\'")[0]\n'
    write = f" sys.stdout.write(c + %s + c + chr(10)); sys.stdout.flush()\nimport time; time.sleep(600)  # {mark}"
    python = interpreter("3.8")
    started = time.monotonic()
    answers = ask_all(
        lambda host: detect(host, node, with_import=False),
        seconds=8,
        most_bytes=5_000_000,
        good=[python, *BOOT],
        never=["/bin/sh", "-c", f"sleep 600; : {mark}"],
        deaf=["/bin/sh", "-c", f"exec 0<&-; sleep 600; : {mark}"],
        flood=["/bin/sh", "-c", f"yes {mark}"],
        complains=["/bin/sh", "-c", f"yes {mark} >&2"],
        silent=["/bin/true"],
        refused=[
            "/bin/sh",
            "-c",
            "echo banner; echo 'ssh: connect to host n port 22: Connection refused' >&2; exit 255",
        ],
        missing=["/nonexistent/ssh"],
        rubbish=[python, "-c", rubbish + write % "'{\"\\\\ud800'"],
        short=[python, "-c", rubbish + write % "'[null]'"],
        wrong=[python, "-c", rubbish + write % "str([{'answer': 7}] * 200).replace(chr(39), chr(34))"],
        deep=[python, "-c", rubbish + write % "'[' * 100000"],
    )
    assert time.monotonic() - started < 30
    assert answers.pop("good").problem is None
    assert {name: answer.problem for name, answer in answers.items()} == {
        "never": "no answer within 8 seconds",
        "deaf": "no answer within 8 seconds",
        "flood": "it sent more than 5 MB, and was left",
        "complains": "it sent more than 5 MB, and was left",
        "silent": reasons.ENDED_EARLY,
        "refused": "exit code 255: ssh: connect to host n port 22: Connection refused",
        "missing": "/nonexistent/ssh cannot be started: No such file or directory",
        "rubbish": "its answer is damaged",
        "short": "its answer is damaged: not as many answers as questions",
        "wrong": "its answer is damaged: not as many answers as questions",
        "deep": "its answer is damaged",
    }
    assert settled(mark) == []


def test_answers_of_another_shape_are_refused() -> None:
    def lie(asked: Sequence[asking.Asked]) -> list[dict[str, Any]]:
        return [{"answer": ["a", "list"]} for _ in asked]

    with pytest.raises(SnapshotError, match=r"the recorded answer to .* is damaged"):
        asking.ask(lambda host: host.read_text("/etc/os-release"), lie)


def test_answers_that_lead_on_and_on_are_not_followed() -> None:
    def onwards(host: ProbeHost) -> str:
        path = "/"
        for _ in range(10_000):
            path, before = host.real_path(path) + "x", path
            if path == before:
                break
        return path

    def further(asked: Sequence[asking.Asked]) -> list[dict[str, Any]]:
        return [{"answer": question[1] + "y"} for question, _ in asked]

    with pytest.raises(SnapshotError, match="more questions than any machine needs"):
        asking.ask(onwards, further)


def test_question_without_an_answer_makes_its_own_fact_unknown(node: str) -> None:
    """A disk that does not answer is told as such, and is no reason to lose the rest."""
    host = RealHost()

    def without_one(asked: Sequence[asking.Asked]) -> list[Any]:
        return [
            None if row[0] == ["read_text", "/etc/os-release"] else {"answer": _real(host, row[0])} for row in asked
        ]

    (machine, environment), _ = asking.ask(lambda asked: detect(asked, node, with_import=False), without_one)
    assert machine.platform.problem == (
        "looking for it failed: no answer within the time limit; does a disk not answer?"
    )
    assert environment.interpreter.value is not None


def _real(host: RealHost, question: list[Any]) -> Any:
    name, *arguments = question
    if name == "run":
        answer: Any = host.run(arguments[0], timeout=10, env=arguments[1], cwd=arguments[2])
    elif name == "run_script":
        answer = host.run_script(*arguments, timeout=10)
    elif name == "environ":
        answer = host.environ(tuple(arguments[0]))
    else:
        answer = getattr(host, name)(*arguments)
    return to_builtins(answer)


def test_questions_are_those_of_the_probes_on_this_machine(node: str) -> None:
    """Not one more, and not one less but where envfix itself lies, which is not there."""
    from envfix.host.recording import RecordingHost

    recording = RecordingHost(RealHost())
    detect(recording, node, with_import=False)
    answer = ask_one([interpreter("3.8"), *BOOT], lambda host: detect(host, node, with_import=False))
    there = [call["ask"] for call in answer.seen.told.transcript]
    here = [call["ask"] for call in recording.transcript]
    assert [question for question in there if question not in here] == []
    assert {question[0] for question in here if question not in there} == {"real_path"}
    assert len(there) > 200


@pytest.mark.parametrize("state", ["as it is", "log-in", "fresh log-in"])
def test_collector_finds_a_python_by_itself(state: Any, tmp_path: Path) -> None:
    """A shim that stands first on PATH and changes variables is passed over."""
    shim = tmp_path / "bin" / "python3"
    shim.parent.mkdir()
    shim.write_text('#!/bin/sh\nexport CHANGED=yes\nexec /usr/bin/python3 "$@"\n')
    shim.chmod(0o755)
    (tmp_path / ".profile").write_text("export FROM_PROFILE=1\necho Welcome to this node\n")
    environment = cleaned_environment(HOME=str(tmp_path), PATH=f"{shim.parent}:/usr/bin:/bin", CARRIED="1")
    words = [
        "/usr/bin/env",
        "-i",
        *(f"{name}={value}" for name, value in environment.items()),
        *travelling.start(state),
    ]
    names = ("CHANGED", "FROM_PROFILE", "CARRIED")
    answer = ask_one(words, lambda host: [host.getenv(name) for name in names])
    assert answer.problem is None
    assert (
        answer.seen.seen
        == {
            "as it is": [None, None, "1"],
            "log-in": [None, "1", "1"],
            "fresh log-in": [None, "1", None],
        }[state]
    )


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "ksh", "zsh", "tcsh", "fish"])
def test_command_goes_through_any_log_in_shell(shell: str) -> None:
    """A server of ssh hands it to the shell of the account, which may be of any kind."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    answer = ask_one([program, "-c", shlex.join(travelling.start("log-in"))], lambda host: host.system_facts())
    assert (answer.problem, answer.seen.seen["system"]) == (None, "linux")


def test_node_without_python_says_so() -> None:
    words = list(travelling.start("as it is"))
    words[-1] = words[-1].replace("/usr/bin/", "/nonexistent/").replace("/usr/libexec/", "/nonexistent/")
    answer = ask_one(["/usr/bin/env", "-i", "PATH=/nonexistent", *words], lambda host: host.system_facts())
    assert answer.problem == "exit code 127: there is no Python on this node"


@pytest.mark.parametrize("version", ["2.7", "3.8"])
@pytest.mark.parametrize("how", ["time", "input", "hang-up"])
def test_collector_ends_with_its_time_and_with_who_asks(how: str, version: str, tmp_path: Path) -> None:
    """Whatever it has started ends too: nobody waits for a ladder of an hour after a Ctrl-C."""
    mark = f"envfix-ends-{tmp_path.name}"
    language = travelling.Language(FILES, lifetime=2 if how == "time" else 300)
    asked: list[asking.Asked] = [(["run", ["/bin/sh", "-c", f"sleep 600; : {mark}"], {}, None], 300.0)]
    process = subprocess.Popen(
        [interpreter(version), *BOOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write((language.program + language.round(asked, 300)).encode())
    process.stdin.flush()
    wait_for("the program", lambda: running_with(mark))
    if how == "hang-up":
        process.send_signal(signal.SIGHUP)
    if how == "time":
        process.wait(20)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"")
    assert settled(mark) == []


def test_answers_come_all_the_same_where_nobody_stays() -> None:
    """Ansible gives a program its whole input at once, and reads the answer when it has ended."""
    language = travelling.Language(FILES, lifetime=60)
    asked: list[asking.Asked] = [(["run", ["/bin/sh", "-c", "sleep 0.3; echo done"], {}, None], 20.0)]
    given = language.program + language.round(asked, 20, together=False)
    done = subprocess.run([interpreter("3.8"), *BOOT], input=given.encode(), capture_output=True, check=True)
    assert language.answers(done.stdout.decode())[0]["answer"]["stdout"] == "done\n"


def test_long_output_keeps_its_beginning_and_its_end() -> None:
    script = "import sys; sys.stdout.write('first' + 'x' * 3000000 + 'last')"
    command = [interpreter("3.8"), "-c", script]
    for version in ("2.7", "3.13"):
        answer = ask_one([interpreter(version), *BOOT], lambda host: host.run(command, timeout=20))
        result = answer.seen.seen
        assert (result.outcome, result.truncated, len(result.stdout)) == ("exited", True, 1_000_000)
        assert (result.stdout[:5], result.stdout[-4:]) == ("first", "last")


def test_what_is_kept_of_a_node_names_nobody(node: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its user, home, host and secrets are taken out, though they are not those of this machine."""
    home = tmp_path / "home" / "annatester"
    home.mkdir()
    for name, value in {
        "HOME": str(home),
        "USER": "annatester",
        "LOGNAME": "annatester",
        "PIP_INDEX_URL": "https://anna:hunter2@index.example/simple",
        "PATH": f"{home}/bin:{os.environ['PATH']}",
    }.items():
        monkeypatch.setenv(name, value)
    request = FleetRequest(target=node, with_import=False, save=str(tmp_path / "kept"))
    (tmp_path / "kept").mkdir()
    answer = ask_one([interpreter("3.8"), *BOOT], lambda host: look_at(host, request, 10.0, None))
    seen: Seen = answer.seen.seen
    assert (seen.people, seen.home, seen.host) == (("annatester",), str(home), socket.gethostname())
    save(RealHost(), request, "gpu1", seen, answer.seen.told)
    text = (tmp_path / "kept" / "gpu1.json").read_text()
    assert [word for word in ("annatester", "hunter2") if word in text] == []
    assert snapshots.read(text, "gpu1").environment.interpreter.value is not None


def test_names_that_are_no_text_come_back_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "ümlaut.txt").write_text("grün")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.txt", os.O_CREAT | os.O_WRONLY))
    pattern = f"{tmp_path}/*.txt"
    here = RealHost()
    answer = ask_one(
        [interpreter("3.13"), *BOOT], lambda host: [(path, host.read_text(path)) for path in host.glob(pattern)]
    )
    assert answer.seen.seen == [(path, here.read_text(path)) for path in here.glob(pattern)]
    assert json.dumps(answer.seen.seen[0][0])
