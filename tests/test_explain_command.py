"""explain: what a user pastes or pipes, what comes back, and what the facts of a machine change."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envfix
from envfix import explaining
from envfix.errors import SnapshotError, UsageError
from envfix.model.explanation import Explanation
from tests.test_explain_samples import CASES

MACHINES = Path(__file__).resolve().parent / "machines"
SHARED_SERVER = (
    "RuntimeError: CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity; 1.71 GiB already allocated;"
    " 13.12 MiB free; 1.84 GiB reserved in total by PyTorch)\n"
)
LAPTOP = (
    "RuntimeError: CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated;"
    " 0 bytes free; 3.42 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting"
    " max_split_size_mb\n"
)
NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
TOO_OLD = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).\n"
NO_TORCH = "ModuleNotFoundError: No module named 'torch'\n"


def run(*arguments: str, text: str | bytes = "", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    data = text.encode() if isinstance(text, str) else text
    command = [sys.executable, "-m", "envfix", "explain", *arguments]
    return subprocess.run(command, input=data, capture_output=True, timeout=120, check=False, cwd=cwd)


def document(*arguments: str, text: str | bytes = "") -> dict[str, Any]:
    answer = run("--json", *arguments, text=text)
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed


def test_two_messages_of_the_story_get_two_answers_with_the_sum_written_out() -> None:
    server, laptop = document("--no-machine", text=SHARED_SERVER), document("--no-machine", text=LAPTOP)
    assert server["causes"][0]["cause"] == "oom_other_process"
    assert (
        "23.69 GiB = 1.84 GiB this process (1.71 GiB in use) + 13 MiB free + 21.84 GiB others"
        in server["causes"][0]["message"]
    )
    assert laptop["causes"][0]["cause"] == "oom_workload_too_big"
    assert "4.00 GiB = 3.42 GiB this process (3.32 GiB in use)" in laptop["causes"][0]["message"]
    said = json.dumps(laptop)
    assert "max_split_size_mb:" not in said
    assert "expandable_segments" not in said


def test_document_is_what_the_contract_says() -> None:
    answer = run("--no-machine", "--json", text=TOO_OLD)
    parsed = json.loads(answer.stdout)
    assert answer.returncode == 1
    assert next(iter(parsed)) == "schema"
    assert parsed["schema"] == "envfix.explain/1"
    first = parsed["causes"][0]
    assert {"cause", "code", "confidence", "message", "because", "remedies"} <= first.keys()
    assert first["because"][0] == {"fact": "log", "value": TOO_OLD.strip(), "source": "line 1"}
    assert 0.9 <= first["confidence"] <= 1
    assert all({"text", "commands", "safe"} <= remedy.keys() for remedy in first["remedies"])


@pytest.mark.parametrize(
    "text", ["", "hello world\n", "100%|##########| 8/8 [00:03<00:00]\nResults saved to runs/detect\n"]
)
def test_nothing_recognised_is_an_empty_list_and_zero(text: str) -> None:
    answer = run("--json", text=text)
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["causes"] == []
    assert b"othing" in run(text=text).stdout


def test_what_is_not_the_environments_fault_is_an_answer_and_no_error() -> None:
    answer = run(
        "--no-machine", "--json", text="RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)\n"
    )
    assert answer.returncode == 0
    assert json.loads(answer.stdout)["causes"][0]["severity"] == "warning"


def test_lines_are_named_by_file_where_there_are_several(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("all is well\n", encoding="utf-8")
    (tmp_path / "b.log").write_bytes(("one\r\ntwo\r\n" + TOO_OLD).encode("utf-16"))
    parsed = json.loads(run("--no-machine", "--json", "a.log", "b.log", cwd=tmp_path).stdout)
    assert parsed["causes"][0]["because"][0]["source"] == "b.log, line 3"


@pytest.mark.parametrize("name", ["no-such-file.log", "."])
def test_file_that_cannot_be_read_is_told_with_what_to_do(name: str, tmp_path: Path) -> None:
    answer = run(name, cwd=tmp_path)
    assert answer.returncode == 3
    assert b"cannot read" in answer.stderr
    assert b"hint:" in answer.stderr
    assert b"Traceback" not in answer.stderr


def test_input_that_is_no_text_is_read_all_the_same() -> None:
    data = gzip.compress(os.urandom(300_000)) + b"\n" + TOO_OLD.encode()
    assert document("--no-machine", text=data)["causes"][0]["cause"] == "driver_too_old_for_wheel"


def test_python_and_another_machine_together_make_no_sense() -> None:
    answer = run("--python", sys.executable, "--from", str(MACHINES / "pyenv-shim" / "snapshot.json"), text=NO_TORCH)
    assert answer.returncode == 2


def test_log_cannot_steer_the_terminal() -> None:
    answer = run(
        "--no-machine", text=b"\x1b]0;owned\x07\x1b[2J" + TOO_OLD.encode().replace(b"too old", b"too old\x9b31m")
    )
    assert b"\x1b" not in answer.stdout
    assert b"\x9b" not in answer.stdout.replace("\u009b".encode(), b"")


def test_secrets_in_a_line_are_not_shown() -> None:
    text = f"https://anna:s3cret-pass@mirror.example/simple {TOO_OLD}"
    said = run("--no-machine", text=text).stdout + run("--no-machine", "--json", text=text).stdout
    assert b"s3cret-pass" not in said


def explained(text: str, machine: str) -> Explanation:
    return envfix.explain(text, snapshot=MACHINES / machine / "snapshot.json")


@pytest.mark.parametrize(
    ("machine", "text", "cause"),
    [
        ("seed-wrong-interpreter", NO_TORCH, "wrong_interpreter"),
        ("docker-without-gpus", "RuntimeError: No CUDA GPUs are available\n", "container_without_gpu"),
        (
            "rtx5090-torch-cu118",
            NO_KERNEL,
            "sm_too_new_for_wheel",
        ),
        (
            "gtx1080ti-torch-cu128",
            NO_KERNEL,
            "sm_too_old_for_wheel",
        ),
        ("driver-470-torch-cu121", ">>> torch.cuda.is_available()\nFalse\n", "driver_too_old_for_wheel"),
        ("seed-lab-server", "torch.cuda.OutOfMemoryError: CUDA out of memory.\n", "oom_other_process"),
    ],
)
def test_facts_of_the_machine_decide_what_the_log_leaves_open(machine: str, text: str, cause: str) -> None:
    alone, joined = envfix.explain(text), explained(text, machine)
    assert joined.causes[0].cause == cause
    assert joined.causes[0].confidence > max((one.confidence for one in alone.causes if one.cause == cause), default=0)
    assert any(evidence.fact != "log" for evidence in joined.causes[0].because)
    assert joined.facts == "file"


@pytest.mark.parametrize(
    "text",
    [
        NO_TORCH,
        "RuntimeError: No CUDA GPUs are available\n",
        NO_KERNEL,
    ],
)
def test_ambiguous_log_gives_candidates_and_the_command_that_decides(text: str) -> None:
    answer = envfix.explain(text)
    assert answer.ambiguous
    assert len(answer.causes) > 1
    assert answer.causes[0].tell_apart is not None
    assert answer.causes[0].tell_apart.commands
    shown = run("--no-machine", text=text).stdout.decode()
    assert "leaves open" in shown
    assert "  ? " in shown


def test_consequences_come_after_their_cause() -> None:
    text = (
        "Failed to initialize NVML: Driver/library version mismatch\n"
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU\n"
    )
    first, *others = envfix.explain(text).causes
    assert first.cause == "driver_library_version_mismatch"
    assert all(one.follows_from == first.code for one in others)


def test_generic_last_line_is_no_cause() -> None:
    text = "error: subprocess-exited-with-error\nError code: 2\nCUDA kernel errors might be asynchronously reported\n"
    assert envfix.explain(text).causes == ()


def test_what_the_log_says_of_its_machine_is_judged() -> None:
    text = (
        "Ultralytics 8.3.95 Python-3.10.12 torch-2.6.0+cu124 CUDA:0 (NVIDIA GeForce RTX 5090, 32120MiB)\n"
        "platform: manylinux linux_x86_64\n"
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
    )
    answer = envfix.explain(text)
    assert (answer.facts, answer.causes[0].cause) == ("log", "sm_too_new_for_wheel")
    assert "RTX 5090" in json.dumps([evidence.value for evidence in answer.causes[0].because])


def test_log_of_another_machine_is_not_joined_with_this_one() -> None:
    text = f"| NVIDIA-SMI 123.45    Driver Version: 123.45    CUDA Version: 9.9 |\n|   0  NVIDIA Moonshot 9000  Off  |\n{TOO_OLD}"
    parsed = document(text=text)
    assert parsed["facts"] == "log"
    assert "its facts are left out" in parsed["notes"][0]


def test_report_of_torch_is_explained_like_a_log() -> None:
    report = (
        "Collecting environment information...\nPyTorch version: 2.3.1+cu121\nIs debug build: False\n"
        "CUDA used to build PyTorch: 12.1\nOS: Ubuntu 20.04.6 LTS (x86_64)\nGCC version: (Ubuntu 9.4.0) 9.4.0\n"
        "Python version: 3.10.12 (64-bit runtime)\nPython platform: Linux-5.4.0-150-generic-x86_64-with-glibc2.31\n"
        "Is CUDA available: False\nGPU models and configuration: GPU 0: NVIDIA GeForce RTX 3090\n"
        "Nvidia driver version: 450.51.06\n\nVersions of relevant libraries:\n[pip3] torch==2.3.1+cu121\n"
    )
    answer = envfix.explain(report)
    assert answer.causes[0].cause == "driver_too_old_for_wheel"


def test_api_takes_text_bytes_and_nothing_else() -> None:
    assert envfix.explain(TOO_OLD.encode("utf-16")).causes[0].cause == "driver_too_old_for_wheel"
    assert envfix.explain("\ud800" + TOO_OLD).causes[0].cause == "driver_too_old_for_wheel"
    with pytest.raises(UsageError, match="neither text nor bytes"):
        envfix.explain(3)  # type: ignore[arg-type]
    with pytest.raises(SnapshotError):
        envfix.explain("x", snapshot="no-such-file.json")


def test_silent_log_starts_no_program() -> None:
    assert explaining.is_silent(explaining.read(io.BytesIO(b"all is well\n")))


# Pieces of what programs print, of which a hostile log may be made.
PIECES = [line for case in CASES for line in case["symptom"].splitlines() if line.strip()]
NOISE = [
    *("\x1b[31m", "\r", "\0", "\ufeff", "&lt;", "\\n", "\u2018", "{", '"', "x" * 5_000, "\ud800"),
    "Traceback (most recent call last):",
]


@given(st.lists(st.sampled_from(PIECES) | st.sampled_from(NOISE) | st.text(max_size=30), max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_log_is_explained_without_a_failure(pieces: list[str]) -> None:
    answer = envfix.explain("\n".join(pieces))
    assert all(0 < one.confidence <= 1 for one in answer.causes)
    assert all(one.message and one.because and one.remedies for one in answer.causes)
    codes = [one.code for one in answer.causes]
    assert all(one.follows_from in (None, *codes[:place]) for place, one in enumerate(answer.causes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["errors", "words of errors", "progress"])
def test_large_hostile_log_takes_bounded_time_and_memory(kind: str, tmp_path: Path) -> None:
    """A third of the 100 MB that are to take four seconds and 150 MB, on whatever machine this runs."""
    resource = pytest.importorskip("resource", reason="counts of POSIX")
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc that tells the peak of a process")
    chance = random.Random(7)  # noqa: S311 - the same log each time
    words = " ".join(PIECES).split()
    with (tmp_path / "big.log").open("w", encoding="utf-8", errors="replace") as stream:
        size = 0
        while size < 33_000_000:
            if kind == "errors":
                line = chance.choice(PIECES)
            elif kind == "words of errors":
                line = " ".join(chance.choices(words, k=12))
            else:
                line = f"\r\x1b[K{chance.random():.1%}|{'#' * chance.randrange(40)}| {chance.randrange(999)}/999"
            size += stream.write(line + "\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", _MEASURED, "explain", "--no-machine", "--json", str(tmp_path / "big.log")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(done.stdout)["schema"] == "envfix.explain/1", done.stderr
    assert int(done.stderr.rpartition("peak ")[2]) < 150_000, "kilobytes"
    assert after.ru_utime - before.ru_utime < 12


# envfix, and at the end how much memory it took at most (what getrusage tells begins with the parent's).
_MEASURED = """
import re, sys
from envfix.cli import main
code = main(sys.argv[1:])
sys.stderr.write("peak " + re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
raise SystemExit(code)
"""
