"""The verifier follows the stream of events and makes a rung of whatever happens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from envfix.errors import TargetError
from envfix.host.interface import CommandResult
from envfix.model.outcome import NOT_TRIED, Rung
from envfix.model.reporter import NullReporter
from envfix.verifier.interface import STAGES, TIME_LIMITS, Level, Weights, rungs_of
from envfix.verifier.ladder import EventReader, verify
from tests.verify_fixtures import CannedHost, climbed, event, outline

IMPORT_RUNGS = ("interpreter", "import", "versions")
DONE = event("done", device="cpu", weights="random", memory={"peak_process": 7})
TIMED_OUT = CommandResult(outcome="timed-out")


def crashed(code: int, stdout: str = "") -> CommandResult:
    return CommandResult(outcome="exited", returncode=code, stdout=stdout)


@pytest.mark.parametrize(
    ("level", "last", "count"),
    [("import", "versions", 3), ("cuda", "nms", 8), ("yolo", "yolo_weights", 10), ("train", "train", 11)],
)
def test_a_level_contains_the_lower_ones(level: Level, last: str, count: int) -> None:
    rungs = rungs_of(level)
    assert (rungs[0], rungs[-1], len(rungs)) == ("interpreter", last, count)


def test_weights_and_memory_are_rungs_for_those_who_wish_for_them() -> None:
    assert rungs_of("yolo", weights=False)[-2:] == ("nms", "yolo_predict")
    assert rungs_of("train", memory=True)[-5:] == ("nms", "memory", "yolo_predict", "yolo_weights", "train")
    assert "memory" not in rungs_of("import", memory=True)


def test_every_rung_has_a_time_limit_and_a_stage() -> None:
    assert set(TIME_LIMITS) == set(STAGES) == set(rungs_of("train", memory=True))


def test_the_wishes_reach_the_target() -> None:
    host = CannedHost([climbed(*IMPORT_RUNGS), DONE])
    verify(host, "python", level="import", weights=Weights(file="a.pt", trust=True), memory=True)
    request = json.loads(host.argv[-1])
    assert request["rungs"] == list(IMPORT_RUNGS)
    assert request["weights"] == {"file": "a.pt", "find": False, "download": False, "trust": True, "picture": None}


def test_the_ledger_is_handed_on() -> None:
    ledger = {"cards": [{"index": 0, "total": 7}], "lines": ["GPU 0: 7 bytes"]}
    host = CannedHost([climbed(*IMPORT_RUNGS), event("done", device="cuda:0", weights="yolov8n.pt", memory=ledger)])
    verification = verify(host, "python", level="import")
    assert (verification.memory, verification.weights) == (ledger, "yolov8n.pt")


def test_all_rungs_passed() -> None:
    host = CannedHost([climbed(*IMPORT_RUNGS), DONE])
    verification = verify(host, "python", level="import", reporter=NullReporter())
    assert verification.status == "passed"
    assert verification.failed is None
    assert verification.device == "cpu"
    assert verification.memory == {"peak_process": 7}
    assert [rung.name for rung in verification.rungs] == list(IMPORT_RUNGS)
    assert not Path(host.scratch).exists()


def test_a_failed_rung_gets_its_cause_and_the_rest_is_skipped() -> None:
    detail = {"error": "ModuleNotFoundError", "text": "No module named 'torch'"}
    failed = climbed("import", status="failed", detail=detail, message="ModuleNotFoundError: No module named 'torch'")
    verification = verify(CannedHost([climbed("interpreter"), failed, DONE]), "python", level="cuda")
    assert verification.status == "failed"
    assert verification.failed is not None
    assert verification.failed.cause == "torch_not_installed"
    assert verification.rungs[2].status == "skipped"
    assert verification.rungs[2].message == "an earlier rung failed: import"
    assert verification.rungs[2].detail == {NOT_TRIED: "import"}
    assert [rung.name for rung in verification.rungs] == list(rungs_of("cuda"))


def test_a_rung_that_never_ends_is_a_failed_rung() -> None:
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3)], TIMED_OUT)
    verification = verify(host, "python", level="import", limits={"import": 3.0})
    assert verification.failed is not None
    assert (verification.failed.name, verification.failed.message) == ("import", "no answer in 3 s")
    assert verification.failed.cause == "torch_import_fails"
    assert outline(verification)["versions"] == "skipped"


@pytest.mark.parametrize(
    ("code", "words", "cause"),
    [
        (-11, "killed by SIGSEGV", "torch_import_fails"),
        (-4, "killed by SIGILL", "cpu_without_avx"),
        (-9, "most likely by the system for lack of memory", "host_ram_exhausted_runtime"),
        (-64, "killed by SIGRTMAX", "torch_import_fails"),
        (-999, "killed by signal 999", "torch_import_fails"),
        (0xC0000005, "killed by SIGSEGV", "torch_import_fails"),
        (0xC000001D, "killed by SIGILL", "cpu_without_avx"),
        (7, "the process ended early with exit code 7", "torch_import_fails"),
        (0, "the process ended early with exit code 0", "torch_import_fails"),
    ],
)
def test_a_process_that_ends_in_a_rung_fails_it(code: int, words: str, cause: str | None) -> None:
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3)], crashed(code, "some output"))
    rung = verify(host, "python", level="import").failed
    assert rung is not None
    assert rung.name == "import"
    assert words in rung.message
    assert rung.cause == cause
    assert rung.detail == {"output": "some output"}


STACK = (
    "Timeout (0:00:03)!\nThread 0x7f02 (most recent call first):\n"
    '  File "/usr/lib/python3.11/threading.py", line 320 in wait\n'
    "{current}Thread 0x7f01 (most recent call first):\n"
    '  File "<frozen importlib._bootstrap>", line 241 in _call_with_frames_removed\n'
    '  File "/e/torch/__init__.py", line 289 in <module>\n'
    '  File "/envfix/envfix_verify_ladder.py", line 160 in check_import\n'
)
CURRENT = 'Current thread 0x7f03 (most recent call first):\n  File "/e/numpy/core.py", line 7 in load\n'


@pytest.mark.parametrize(
    ("result", "output", "message"),
    [
        (TIMED_OUT, STACK.format(current=""), "no answer in 3 s; it hangs in /e/torch/__init__.py, line 289"),
        (crashed(-11), STACK.format(current=CURRENT), "killed by SIGSEGV; it was in /e/numpy/core.py, line 7"),
        (crashed(-11), "a stack of nothing (most recent call first)\n", "killed by SIGSEGV"),
        (
            TIMED_OUT,
            'Thread 0x1 (most recent call first):\n  File "/x/envfix_verify_ladder.py", line 1 in climb\n',
            "no answer in 3 s",
        ),
    ],
)
def test_where_it_hangs_or_crashes_is_told(result: CommandResult, output: str, message: str) -> None:
    ended = CommandResult(outcome=result.outcome, returncode=result.returncode, stdout=output)
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3)], ended)
    rung = verify(host, "python", level="import", limits={"import": 3.0}).failed
    assert rung is not None
    assert rung.message == message


def test_the_last_words_of_a_crash_name_the_cause() -> None:
    words = "OMP: Error #15: Initializing libiomp5.so, but found libiomp5.so already initialized."
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3)], crashed(-6, words))
    rung = verify(host, "python", level="import").failed
    assert rung is not None
    assert (rung.message, rung.cause) == ("killed by SIGABRT", "openmp_duplicate")


def test_a_crash_while_leaving_proves_nothing() -> None:
    assert verify(CannedHost([climbed(*IMPORT_RUNGS), DONE], crashed(-11)), "python", level="import").status == "passed"
    assert verify(CannedHost([climbed(*IMPORT_RUNGS), DONE], TIMED_OUT), "python", level="import").status == "passed"


def test_a_lost_answer_is_a_failure_never_a_pass() -> None:
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3), climbed("versions"), DONE])
    verification = verify(host, "python", level="import")
    assert outline(verification) == {"interpreter": "passed", "import": "failed", "versions": "skipped"}


@pytest.mark.parametrize(
    "damage",
    [
        '\n{cookie}{"event": "end", "rung": "import", "stat\n',
        '\n{cookie}{"event": "end", "rung": "import", "status": "healthy", "seconds": 1, "message": ""}\n',
        "\n{cookie}[]\n",
        '\n{cookie}{"event": "party"}\n',
        '\n{"event": "end", "rung": "import", "status": "passed", "seconds": 1, "message": "", "detail": {}}\n',
    ],
)
def test_damaged_and_forged_events_are_ignored(damage: str) -> None:
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3), damage, DONE])
    assert outline(verify(host, "python", level="import"))["import"] == "failed"


def test_events_are_found_between_noise_and_in_pieces() -> None:
    reader = EventReader("c00k1e")
    text = "".join(
        [
            "hello from sitecustomize, no newline",
            climbed("interpreter").replace("\n", "", 1),
            "noise \u2603 {}\r\n",
            climbed("import", "versions"),
        ]
    ).replace("{cookie}", "c00k1e")
    assert len([found for letter in text for found in reader.feed(letter)]) == 6
    assert "c00k1e" not in reader.noise(text)
    assert "noise \u2603 {}" in reader.noise(text)


def test_a_line_without_end_does_not_fill_the_memory() -> None:
    reader = EventReader("c00k1e")
    for _ in range(200):
        assert not list(reader.feed("x" * 65536))
    assert len(reader._rest) <= 65536
    assert len(list(reader.feed(climbed("import").replace("{cookie}", "c00k1e")))) == 2


def test_each_rung_gets_its_own_time() -> None:
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3), DONE])
    verify(host, "python", level="import", limits={"interpreter": 50.0, "import": 400.0})
    before, during, after = host.seen_left
    assert 45 < before <= 50
    assert 395 < during <= 400
    assert 5 < after <= 10


def test_the_stair_can_be_drawn_live() -> None:
    heard: list[tuple[str, str]] = []

    class Listener(NullReporter):
        def stage(self, text: str) -> None:
            heard.append(("stage", text))

    def on_rung(rung: Rung) -> None:
        heard.append((rung.name, rung.status))

    failed = climbed("import", status="failed", message="no")
    verify(CannedHost([climbed("interpreter"), failed]), "python", level="import", reporter=Listener(), on_rung=on_rung)
    assert heard == [
        ("stage", "starting the interpreter"),
        ("interpreter", "passed"),
        ("stage", "importing torch"),
        ("import", "failed"),
        ("versions", "skipped"),
    ]


def test_the_scratch_folder_goes_also_when_interrupted() -> None:
    host = CannedHost([climbed("interpreter")])

    def interrupt(_rung: Rung) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(host, "python", level="import", on_rung=interrupt)
    assert host.scratch
    assert not Path(host.scratch).exists()


def test_the_device_of_a_crash_is_the_one_the_driver_rung_found() -> None:
    names = ("interpreter", "import", "versions")
    driver = climbed("driver", detail={"device": "cuda:1"})
    host = CannedHost([climbed(*names), driver, event("start", rung="allocate", limit=1)], crashed(-11))
    assert verify(host, "python", level="cuda").device == "cuda:1"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (CommandResult(outcome="not-found"), "program not found"),
        (CommandResult(outcome="not-permitted"), "not permitted"),
        (CommandResult(outcome="timed-out"), "no answer in 5 s"),
        (CommandResult(outcome="exited", returncode=0), "did not answer as a Python would"),
        (CommandResult(outcome="exited", returncode=2, stdout="boom"), "exit code 2: boom"),
        (CommandResult(outcome="exited", returncode=-11), "killed by signal 11"),
    ],
)
def test_an_interpreter_that_says_nothing_cannot_be_asked(result: CommandResult, words: str) -> None:
    with pytest.raises(TargetError, match="cannot be asked") as caught:
        verify(CannedHost(["garbage\n"], result), "/no/python", level="import", limits={"interpreter": 5.0})
    assert words in caught.value.message
    assert "/no/python" in caught.value.message


def test_an_old_python_is_told_so() -> None:
    with pytest.raises(TargetError, match=r"Python 2\.7\.18 is too old") as caught:
        verify(CannedHost([event("too_old", version="2.7.18")], crashed(88)), "python2", level="import")
    assert caught.value.hint == "envfix verifies Python 3.6 and newer"


def test_of_a_long_crash_report_the_innermost_frames_are_shown() -> None:
    frames = "".join(f'  File "/e/outer{number}.py", line 1 in call\n' for number in range(200))
    report = (
        "x" * 9000
        + "\nterminate called after throwing an instance of 'std::system_error'\nFatal Python error: Aborted\n"
        + 'Thread 0x1 (most recent call first):\n  File "<frozen importlib._bootstrap>", line 1 in load\n'
        + f'  File "/e/innermost.py", line 7 in load_library\n{frames}Extension modules: numpy (total: 1)\n'
    )
    host = CannedHost([climbed("interpreter"), event("start", rung="import", limit=3)], crashed(-6, report))
    rung = verify(host, "python", level="import").failed
    assert rung is not None
    shown = rung.detail["output"]
    assert len(shown) <= 1500
    assert "terminate called" in shown
    assert '"/e/innermost.py", line 7' in shown
    assert "frozen" not in shown
