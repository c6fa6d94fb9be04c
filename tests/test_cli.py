"""The command line as its users and their scripts meet it: exit codes, one JSON document, never a traceback."""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfix.cli import COMMANDS
from tests.conftest import interpreter
from tests.fakes.running import ENVFIX, Finished, cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU118, make_venv, write_script, write_torch

FAST = ("diagnose", "--no-import")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment in which nothing is wrong but the missing card."""
    folder = tmp_path_factory.mktemp("target") / "env"
    write_torch(make_venv(folder), "2.7.1+cu118", "11.8", SM_OF_CU118)
    return str(folder)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, target: str) -> Path:
    """This machine and that environment in a file."""
    path = tmp_path_factory.mktemp("saved") / "machine.json"
    finished = envfix("snapshot", "--no-import", "--python", target, "-o", str(path))
    assert finished.code == 0, finished
    return path


def refused(finished: Finished, code: int, reference: str) -> str:
    """Checks a failure under --json; the answer is its message."""
    assert finished.code == code, finished
    assert finished.document["schema"] == "envfix.error/1"
    error = finished.document["error"]
    assert (error["reference"], error["exit_code"]) == (reference, code)
    assert f"error: {error['message']}" in finished.stderr
    return str(error["message"])


def findings(finished: Finished) -> dict[str, str]:
    """Code and message of every finding of a diagnosis."""
    assert finished.document["schema"] == "envfix.diagnose/1", finished
    return {finding["code"]: finding["message"] for finding in finished.document["findings"]}


# --- targets that are not what they should be ---


def test_unknown_interpreter_is_wrong_usage_in_both_forms() -> None:
    assert "/no/such/python" in refused(envfix(*FAST, "--json", "--python", "/no/such/python"), 2, "usage")
    plain = envfix(*FAST, "--python", "/no/such/python")
    assert (plain.code, plain.stdout) == (2, "")
    assert "hint: give --python PATH, VERSION or an environment's folder" in plain.stderr


def test_python_2_is_recognised_and_told_so() -> None:
    finished = envfix(*FAST, "--json", "--python", interpreter("2.7"))
    assert finished.code == 1
    assert findings(finished)["INT103"].startswith("Python 2.7.")
    assert finished.document["facts"]["environment"]["interpreter"]["value"]["tag"] == "cp27"


def test_python_2_is_found_by_its_version() -> None:
    interpreter("2.7")
    finished = envfix(*FAST, "--json", "--python", "2.7")
    assert "INT103" in findings(finished)


BROKEN_TARGETS = {
    "shim": (
        "echo 'pyenv: python3.9: command not found' >&2; echo 'The `python3.9` command exists in: 3.9.18' >&2; exit 127",
        "exit code 127: pyenv: python3.9: command not found",
    ),
    "hangs": ("exec sleep 60", "no answer within 1 seconds"),
    "hangs and ignores the end": ("trap '' TERM; sleep 60; sleep 60", "no answer within 1 seconds"),
    "crashes": ("kill -SEGV $$", "killed by signal 11"),
    "fails silently": ("exit 3", "exit code 3"),
    "says nothing": ("exit 0", "it ran but did not answer as a Python would"),
    "prints rubbish": ("head -c 3000 /dev/urandom; echo '{]'; exit 0", "it ran but did not answer as a Python would"),
    "answers in another language": ('echo "$2 {} $2"; echo "$2 [1, 2] $2"', "its answer is damaged"),
    "answers half": ('printf "%s" "$2{\\"interpreter\\": {}}$2"', "its answer is damaged (KeyError: 'version')"),
    "answers another type": ('printf "%s" "$2{\\"interpreter\\": 7}$2"', "its answer is damaged"),
}


@pytest.mark.parametrize("kind", BROKEN_TARGETS)
def test_target_that_is_no_working_python_is_a_finding_not_a_failure(tmp_path: Path, kind: str) -> None:
    text, problem = BROKEN_TARGETS[kind]
    python = write_script(tmp_path / "python", text)
    started = time.monotonic()
    finished = envfix(*FAST, "--json", "--python", str(python), env=cleaned_environment(ENVFIX_TIMEOUT="1"))
    assert time.monotonic() - started < 10
    assert finished.code == 1
    assert problem in findings(finished)["INT102"]
    assert "TOR102" not in findings(finished), "nothing is known of the packages of such an interpreter"


def test_answer_with_a_version_that_is_none_is_damaged(tmp_path: Path) -> None:
    python = write_script(tmp_path / "python", 'printf "%s" "$2{\\"too_old\\": \\"x\\"}$2"')
    assert "INT102" in findings(envfix(*FAST, "--json", "--python", str(python)))


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param("import sys; sys.stdout.write('noise ' * 2_000_000)", id="before"),
        pytest.param("import atexit, sys; atexit.register(lambda: sys.stdout.write('noise ' * 2_000_000))", id="after"),
        pytest.param("import sys; sys.stderr.write('noise ' * 2_000_000)", id="on stderr"),
        pytest.param("import os; os.write(1, bytes(range(256)) * 100)", id="not text"),
    ],
)
def test_noise_of_a_sitecustomize_does_not_hide_the_answer(tmp_path: Path, noise: str) -> None:
    site = make_venv(tmp_path / "env")
    write_torch(site, "2.7.1+cu118", "11.8", SM_OF_CU118)
    (site / "sitecustomize.py").write_text(noise)
    finished = envfix(*FAST, "--json", "--python", str(tmp_path / "env"))
    assert finished.document["facts"]["environment"]["torch"]["value"]["build"] == "2.7.1+cu118"


@pytest.mark.parametrize("kind", ["folder", "not executable", "dangling link", "not a program"])
def test_target_that_is_no_program_is_told_without_a_traceback(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "python"
    if kind == "folder":
        place.mkdir()
    elif kind == "dangling link":
        place.symlink_to(tmp_path / "gone")
    else:
        place.write_bytes(b"\x7fELF nonsense")
        place.chmod(0o755 if kind == "not a program" else 0o644)
    finished = envfix(*FAST, "--json", "--python", str(place))
    assert finished.code in (1, 2)
    if finished.code == 1:
        assert "INT102" in findings(finished)


# --- snapshots that are not what they should be ---


def damaged(text: str) -> dict[str, bytes | str]:
    """Ways in which a snapshot can be wrong; ``text`` is a good one."""
    content = json.loads(text)
    facts = content["facts"]
    return {
        "empty": "",
        "half": text[: len(text) // 2],
        "binary": bytes(range(256)) * 20,
        "another document": json.dumps({"schema": "envfix.plan/1"}),
        "no object": "[1, 2, 3]",
        "a later schema": json.dumps({**content, "schema": "envfix.snapshot/2"}),
        "schema of another type": json.dumps({**content, "schema": {"envfix.snapshot/": 1}}),
        "facts missing": json.dumps({key: value for key, value in content.items() if key != "facts"}),
        "facts of another type": json.dumps({**content, "facts": [facts]}),
        "driver of another type": json.dumps(
            {
                **content,
                "facts": {
                    **facts,
                    "machine": {**facts["machine"], "driver": {"source": "x", "value": {"version": "new"}}},
                },
            }
        ),
        "nested without end": "[" * 200_000,
        "number without end": '{"schema": ' + "9" * 20_000 + "}",
        "lone surrogate": json.dumps({**content, "envfix": {"\ud800": "\udfff"}}),
    }


@pytest.mark.parametrize("kind", list(damaged('{"facts": {"machine": {}}}')))
def test_damaged_snapshot_is_refused_with_its_name(saved: Path, tmp_path: Path, kind: str) -> None:
    content = damaged(saved.read_text())[kind]
    path = tmp_path / "damaged.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(path) in refused(envfix("diagnose", "--json", "--from", str(path)), 3, "snapshot")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "huge"])
def test_snapshot_that_cannot_be_read_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "machine.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "huge":
        path.write_bytes(b"")
        os.truncate(path, 3_000_000_000)
    refused(envfix("diagnose", "--json", "--from", str(path)), 3, "snapshot")


def test_snapshot_is_diagnosed_like_the_machine_itself(saved: Path, target: str) -> None:
    live = envfix(*FAST, "--json", "--python", target).document
    again = envfix("diagnose", "--json", "--from", str(saved)).document
    assert again["facts"].pop("origin") == str(saved)
    live["facts"].pop("origin")
    for key in ("verdict", "findings", "skipped"):
        assert again[key] == live[key]


# --- files that cannot be written ---


@pytest.mark.parametrize("kind", ["no such folder", "a folder", "below a file"])
def test_file_that_cannot_be_written_is_an_error_of_its_own(target: str, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    path = {
        "no such folder": tmp_path / "no" / "machine.json",
        "a folder": tmp_path / "folder",
        "below a file": tmp_path / "file" / "machine.json",
    }[kind]
    finished = envfix("snapshot", "--json", "--no-import", "--python", target, "-o", str(path))
    assert str(path) in refused(finished, 3, "envfix-error")
    assert list((tmp_path / "folder").iterdir()) == []


def test_pipe_given_as_the_file_gets_the_document_and_stays_a_pipe(target: str, tmp_path: Path) -> None:
    """As /dev/stdout and /dev/null: what is no regular file is written into, never replaced."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(path.read_text()), daemon=True)
    reader.start()
    finished = envfix("snapshot", "--no-import", "--python", target, "-o", str(path))
    assert finished.code == 0, finished
    assert path.is_fifo()
    reader.join(5)
    assert json.loads(got[0])["schema"] == "envfix.snapshot/1"


def test_link_given_as_the_file_stays_a_link(target: str, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    assert envfix("snapshot", "--no-import", "--python", target, "-o", str(tmp_path / "link.json")).code == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["schema"] == "envfix.snapshot/1"


# --- configuration files that are not what they should be ---


@pytest.mark.parametrize(
    ("content", "readable"),
    [
        pytest.param(b"channels: [unclosed\n  - x: :", False, id="broken YAML"),
        pytest.param(b"channels:\n\t- tab", False, id="tab"),
        pytest.param(b"[" * 100_000, False, id="nested without end"),
        pytest.param(b"\x00\x01\x02", False, id="binary"),
        pytest.param(b"date: 2024-99-99\n", False, id="impossible date"),
        pytest.param(b"channels:\n  - caf\xe9\n", True, id="latin 1"),
        pytest.param(b"just words", False, id="no mapping"),
        pytest.param(b"channels: defaults\n", True, id="one word"),
        pytest.param(b"", True, id="empty"),
        pytest.param(b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nchannels: [*c]\n", True, id="nested lists"),
        pytest.param(b"!!python/object/apply:os.system ['true']\n", False, id="code"),
    ],
)
def test_condarc_of_any_content_leaves_a_diagnosis(
    tmp_path: Path,
    target: str,
    content: bytes,
    readable: bool,  # noqa: FBT001
) -> None:
    (tmp_path / ".condarc").write_bytes(content)
    finished = envfix(*FAST, "--json", "--python", target, env=cleaned_environment(HOME=str(tmp_path)))
    conda = finished.document["facts"]["machine"]["conda"]["value"]
    problems = conda["settings"].get("problems", [])
    assert [".condarc is no configuration that conda can read" in problem for problem in problems] == [True] * (
        not readable
    )
    told = [row for row in finished.document["findings"] if row["cause"] == "conda_channel_unreachable"]
    assert [row["severity"] for row in told] == ["info"] * (not readable), "there is no conda here that could need it"


def test_file_of_any_encoding_is_read(tmp_path: Path, target: str) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_bytes(b"[global]\nindex-url = https://caf\xe9.example/simple\n")
    env = cleaned_environment(HOME=str(tmp_path))
    del env["PIP_CONFIG_FILE"]
    finished = envfix(*FAST, "--json", "--python", target, env=env)
    assert finished.document["schema"] == "envfix.diagnose/1"


def test_bytes_that_are_no_text_never_spoil_the_document(tmp_path: Path, target: str) -> None:
    """Variables, folders and files of this machine may have names in any encoding."""
    odd = os.fsdecode(b"/caf\xe9")
    (tmp_path / os.fsdecode(b"d\xe9j\xe0")).mkdir()
    env = cleaned_environment(HOME=str(tmp_path), CUDA_HOME=odd, VIRTUAL_ENV=odd, LD_LIBRARY_PATH=odd)
    for arguments in ((*FAST, "--json"), FAST):
        finished = envfix(*arguments, "--python", target, env=env, cwd=tmp_path / os.fsdecode(b"d\xe9j\xe0"))
        assert finished.code == 0, finished
    saved = tmp_path / "saved.json"
    assert envfix("snapshot", "--no-import", "--python", target, "-o", str(saved), env=env).code == 0
    assert envfix("diagnose", "--from", str(saved), "--json").document["schema"] == "envfix.diagnose/1"


def test_folder_that_was_deleted_while_standing_in_it_is_no_obstacle(tmp_path: Path, target: str) -> None:
    (tmp_path / "gone").mkdir()
    start = ["/bin/sh", "-c", f'cd "{tmp_path}/gone" && rmdir "{tmp_path}/gone" && exec "$@"', "sh", *ENVFIX]
    finished = envfix(*FAST, "--json", "--python", target, start=start)
    assert finished.document["schema"] == "envfix.diagnose/1"


# --- usage ---


def test_unknown_command_offers_the_nearest() -> None:
    finished = envfix("diagnos")
    assert finished.code == 2
    assert "Did you mean 'diagnose'?" in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense", "--json"),
        ("diagnose", "--json", "--no-such-option"),
        ("diagnose", "--json", "superfluous"),
        ("snapshot", "--json"),
        ("causes", "--json", "no_such_cause"),
        ("diagnose", "--json", "--python"),
    ],
)
def test_wrong_usage_under_json_is_one_document_and_code_2(arguments: tuple[str, ...]) -> None:
    refused(envfix(*arguments), 2, "usage")


@pytest.mark.parametrize(
    ("words", "meant"), [("help", "--help"), ("help verify", "verify --help"), ("version", "--version")]
)
def test_what_other_programs_have_as_commands_is_understood(words: str, meant: str) -> None:
    assert envfix(*words.split()).raw == envfix(*meant.split()).raw != b""


def test_a_group_without_a_command_shows_its_help_and_ends_with_2() -> None:
    finished = envfix("fleet")
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == envfix("fleet", "--help").stdout
    assert refused(envfix("fleet", "--json"), 2, "usage")


def test_unknown_cause_offers_the_nearest() -> None:
    finished = envfix("causes", "driver_to_old")
    assert finished.code == 2
    assert "did you mean driver_too_old_for_wheel?" in finished.stderr


def test_every_cause_has_a_page_that_can_be_read() -> None:
    pages = envfix("causes", "--json").document["causes"]
    assert len(pages) > 10
    for page in pages:
        assert page["manual"].startswith(page["manual"].strip()[:20])
        for heading in ("What you see", "Why", "How envfix knows", "How to mend", "What not to do", "Sources"):
            assert heading in page["manual"], page["code"]
    by_code = envfix("causes", pages[0]["code"].lower())
    assert pages[0]["cause"] in by_code.stdout


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "1e9", "inf"])
def test_time_limit_that_is_none_is_wrong_usage(value: str, target: str) -> None:
    finished = envfix(*FAST, "--json", "--python", target, env=cleaned_environment(ENVFIX_TIMEOUT=value))
    assert "ENVFIX_TIMEOUT" in refused(finished, 2, "usage")


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_tables_that_are_missing_are_an_error_of_envfix(tmp_path: Path, target: str, folder: str) -> None:
    """Not a rule that failed: nothing can be judged without them."""
    (tmp_path / "empty").mkdir()
    variables = {
        "ENVFIX_TABLES": str(tmp_path / folder),
        "ENVFIX_DRIVER": "470.57.02",
        "ENVFIX_GPU": "RTX 3090:8.6:24268",
    }
    refused(envfix(*FAST, "--json", "--python", target, env=cleaned_environment(**variables)), 3, "table")


def test_name_alone_is_diagnose(target: str) -> None:
    """`envfix` in the folder of a project, with the environment on PATH."""
    env = cleaned_environment(PATH=f"{target}/bin:/usr/bin:/bin", VIRTUAL_ENV=target)
    finished = envfix(env=env)
    assert finished.code == 0, finished
    assert f"{target}/bin/python" in finished.stdout.replace("\n", "").replace(" ", "")


# --- streams ---


def test_stdout_is_the_answer_and_stderr_the_progress(target: str) -> None:
    finished = envfix(*FAST, "--python", target)
    assert "looking at this machine" in finished.stderr
    assert "looking at this machine" not in finished.stdout
    assert envfix(*FAST, "-q", "--python", target).stderr == ""


@pytest.mark.parametrize(
    "arguments", [("--from", "{saved}", "-v"), ("--from", "{saved}", "--json")], ids=["text", "json"]
)
def test_reader_that_stops_reading_ends_envfix_silently(saved: Path, arguments: tuple[str, ...]) -> None:
    """As in `envfix diagnose | head -1`, with more output than a pipe holds."""
    big = json.loads(saved.read_text())
    big["facts"]["machine"]["variables"] = {f"CUDA_{number}": "x" * 500 for number in range(1000)}
    path = saved.with_name("big.json")
    path.write_text(json.dumps(big))
    argv = [*ENVFIX, "diagnose", *(argument.format(saved=path) for argument in arguments)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cleaned_environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    stderr = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(10) in (0, 1)
    assert stderr == ""


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_small_answer_to_a_closed_pipe_ends_silently(form: tuple[str, ...]) -> None:
    """The answer fits into the buffer, so that the pipe is found closed only at the very end."""
    reading, writing = os.pipe()
    os.close(reading)
    argv = [*ENVFIX, "causes", "DRV101", *form]
    process = subprocess.run(
        argv, stdout=writing, stderr=subprocess.PIPE, env=cleaned_environment(), check=False, timeout=20
    )
    os.close(writing)
    assert process.stderr.decode() == ""
    assert process.returncode in (0, 1)


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_disk_that_is_full_is_told(saved: Path, form: tuple[str, ...]) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "wb") as full:
        argv = [*ENVFIX, "diagnose", "--from", str(saved), *form]
        process = subprocess.run(
            argv, stdout=full, stderr=subprocess.PIPE, env=cleaned_environment(), check=False, timeout=20
        )
    assert process.returncode == 3
    assert b"Traceback" not in process.stderr
    assert b"No space left on device" in process.stderr


def test_no_standard_output_at_all_is_survived(saved: Path) -> None:
    for form in ("", "--json"):
        start = ["/bin/sh", "-c", f'exec "$@" {form} >&-', "sh", *ENVFIX]
        finished = envfix("diagnose", "--from", str(saved), start=start)
        assert finished.code in (0, 3), finished


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_interrupt_ends_everything_with_code_130(tmp_path: Path, form: tuple[str, ...], name: str) -> None:
    running = tmp_path / "running"
    python = write_script(tmp_path / "python", f"echo $$ > {running}.part; mv {running}.part {running}; exec sleep 60")
    with subprocess.Popen(
        [*ENVFIX, *FAST, *form, "--python", str(python)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cleaned_environment(),
        # Whoever runs the tests in the background has them ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        try:
            wait_until(running.exists, 10)
            child = int(running.read_text())
            started = time.monotonic()
            process.send_signal(getattr(signal, name))
            stdout, stderr = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 130
    assert time.monotonic() - started < 5
    assert b"Traceback" not in stderr
    assert b"error: interrupted" in stderr
    if form:
        assert json.loads(stdout)["error"]["exit_code"] == 130
    wait_until(lambda: not os.path.exists(f"/proc/{child}") or "Z" in process_state(child), 5)


def process_state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def wait_until(happened: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# --- terminals ---


def in_a_terminal(*arguments: str, **variables: str) -> str:
    """What envfix writes to a terminal of 80 columns."""
    parent, child = pty.openpty()
    env = cleaned_environment(TERM="xterm-256color", COLUMNS="80", **variables)
    process = subprocess.Popen([*ENVFIX, *arguments], stdin=child, stdout=child, stderr=child, env=env, close_fds=True)
    os.close(child)
    text = b""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ready, _, _ = select.select([parent], [], [], 0.2)
        if ready:
            try:
                chunk = os.read(parent, 65536)
            except OSError:
                break
            if not chunk:
                break
            text += chunk
        elif process.poll() is not None:
            break
    process.wait(5)
    os.close(parent)
    return text.decode()


def test_terminal_gets_colours_and_its_wishes_are_respected(saved: Path) -> None:
    arguments = ("diagnose", "--from", str(saved))
    assert "\x1b[" in in_a_terminal(*arguments)
    assert "\x1b[" not in in_a_terminal(*arguments, "--no-color")
    assert "\x1b[" not in in_a_terminal(*arguments, NO_COLOR="1")


def test_control_characters_of_a_strange_snapshot_do_not_reach_the_terminal(saved: Path) -> None:
    """Clearing the screen, changing the title, moving the cursor: a file from somebody else must not do that."""
    content = json.loads(saved.read_text())
    evil = "\x1b[2J\x1b]0;title\x07\x9b31m\rwell"
    content["facts"]["machine"]["gpus"] = {"source": "NVML", "value": [{"index": 0, "name": evil}]}
    content["facts"]["machine"]["variables"] = {f"CUDA_{evil}": evil}
    content["facts"]["environment"]["torch"] = {"source": evil, "missing": "unknown", "problem": evil}
    path = saved.with_name("evil.json")
    path.write_text(json.dumps(content))
    for arguments in (("-v", "--no-color"), ("--no-color",)):
        text = in_a_terminal("diagnose", "--from", str(path), *arguments)
        assert "well" in text
        for character in ("\x1b", "\x07", "\x9b"):
            assert character not in text
        assert "\rwell" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_terminal_without_unicode_gets_a_readable_answer(saved: Path, encoding: str) -> None:
    content = json.loads(saved.read_text())
    content["facts"]["machine"]["gpus"] = {
        "source": "NVML",
        "value": [{"index": 0, "name": "Karte \u20ac \u4e2d\u6587"}],
    }
    content["facts"]["environment"]["torch"] = {"source": "site-packages", "missing": "absent"}
    path = saved.with_name("unicode.json")
    path.write_text(json.dumps(content))
    env = cleaned_environment(PYTHONIOENCODING=encoding)
    # PYTHONIOENCODING counts only outside isolated mode.
    start = [sys.executable, "-c", ENVFIX[-1]]
    text = envfix("diagnose", "--from", str(path), "-v", env=env, start=start)
    assert text.code == 1, text
    assert text.raw.decode(encoding)
    assert "x torch is not installed in this Python" in " ".join(text.stdout.split()) or encoding == "utf-8"
    document = envfix("diagnose", "--from", str(path), "--json", env=env, start=start)
    assert document.document["facts"]["machine"]["gpus"]["value"][0]["name"] == "Karte \u20ac \u4e2d\u6587"
    failure = envfix(*FAST, "--json", "--python", "/no/p\u00e4th", env=env, start=start)
    assert (failure.code, "/no/p\u00e4th" in failure.document["error"]["message"]) == (2, True)
    assert envfix("causes", env=env, start=start).code == 0


# --- the start ---

# What a user waits for at every start; each of these costs more than all the rest.
HEAVY = {
    "rich", "yaml", "requests", "pypi_simple", "psutil", "packaging", "msgspec", "pynvml", "python_discovery", "urllib3", "bs4",
    "concurrent",
    "envfix.probes", "envfix.rules", "envfix.tables", "envfix.resolver", "envfix.host", "envfix.render", "envfix.app",
}  # fmt: skip


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("-h",), ("no-such-command",)], ids=" ".join)
def test_help_and_version_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    code = f"{ENVFIX[-1].rpartition('; ')[0]}"
    program = (
        f"{code}\nimport atexit, json, os\n"
        "atexit.register(lambda: os.write(2, b'MODULES' + json.dumps(sorted(sys.modules)).encode()))\n"
        "sys.argv = ['envfix'] + sys.argv[1:]\nrun()\n"
    )
    finished = envfix(*arguments, start=[sys.executable, "-I", "-c", program])
    modules: list[Any] = json.loads(finished.stderr.partition("MODULES")[2])
    loaded = {name for name in modules if name in HEAVY or name.partition(".")[0] in HEAVY}
    assert loaded == set()


@pytest.mark.parametrize("more", [("envfix.resolver",), ()], ids=["fast", "from a snapshot"])
def test_diagnose_imports_no_network_and_when_fast_no_resolver(saved: Path, target: str, more: tuple[str, ...]) -> None:
    code = f"{ENVFIX[-1].rpartition('; ')[0]}"
    program = (
        f"{code}\nimport atexit, json, os\n"
        "atexit.register(lambda: os.write(2, b'MODULES' + json.dumps(sorted(sys.modules)).encode()))\n"
        "sys.argv = ['envfix'] + sys.argv[1:]\nrun()\n"
    )
    where = ("--no-import", "--python", target) if more else ("--from", str(saved))
    finished = envfix("diagnose", *where, start=[sys.executable, "-I", "-c", program])
    modules = set(json.loads(finished.stderr.partition("MODULES")[2]))
    assert modules.isdisjoint({"requests", "pypi_simple", "urllib3", "envfix.installer", "pynvml", "yaml", *more})


def test_version_is_that_of_the_package() -> None:
    from envfix import __version__

    assert envfix("--version").stdout == f"envfix {__version__}\n"


def test_help_names_every_command_and_its_exit_codes() -> None:
    from envfix.cli import COMMANDS

    text = envfix("--help").stdout
    for name in COMMANDS:
        assert name in text
        page = envfix(name, "--help")
        assert (page.code, page.stderr) == (0, "")
    assert "130 interrupted" in " ".join(text.split())


def test_options_without_a_command_are_those_of_diagnose(saved: Path) -> None:
    finished = envfix("--json", "--from", str(saved))
    assert json.loads(finished.stdout)["schema"] == "envfix.diagnose/1"


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_of_every_command_shows_examples_one_a_line(command: str) -> None:
    lines = [line.strip() for line in envfix(command, "--help").stdout.splitlines()]
    examples = [line for line in lines if line.startswith("envfix ")]
    assert len(examples) >= 2
    assert all(line.count("envfix ") == 1 for line in examples)
    assert not any("\b" in line for line in lines)


def test_help_fits_on_a_screen() -> None:
    lines = envfix("--help").stdout.splitlines()
    assert len(lines) <= 26
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("envfix ins", "install"),
        ("envfix verify --lev", "--level"),
        ("envfix verify --level ", "yolo"),
        ("envfix lock --format pix", "pixi"),
        ("envfix causes driver_too", "driver_too_old_for_wheel"),
        ("envfix plan --cuda cu11", "cu118"),
        ("envfix plan --platform win", "win_amd64"),
    ],
)
def test_bash_completes_commands_options_and_values(words: str, offered: str, tmp_path: Path) -> None:
    """As bash does it: the printed script is sourced, and the function that it registers is called."""
    program = tmp_path / "envfix"
    program.write_text('#!/bin/sh\nexec {} "$@"\n'.format(" ".join(map(shlex.quote, ENVFIX))))
    program.chmod(0o755)
    script = envfix("completion", "bash").stdout
    line = words.split(" ")
    asked = f"""{script}
COMP_WORDS=({" ".join(map(shlex.quote, line))})
COMP_CWORD={len(line) - 1}
_envfix_completion {shlex.quote(str(program))}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    finished = subprocess.run(
        ["/bin/bash", "--norc", "-c", asked], capture_output=True, text=True, timeout=30, check=False
    )
    assert offered in finished.stdout.split(), finished


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(shell: str, tmp_path: Path) -> None:
    script = envfix("completion", shell)
    assert (script.code, script.stderr) == (0, "")
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "completion"
    path.write_text(script.stdout)
    assert subprocess.run([program, "-n", str(path)], capture_output=True, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(
    "words", ["verify --device cpu", "fit yolov8n.yaml", "install --new-env {folder}/env --with none --offline --yes"]
)
def test_a_working_folder_that_was_deleted_is_told_as_such(words: str, tmp_path: Path) -> None:
    """torch, ultralytics and uv ask for it and fail: the interpreter is not to blame."""
    command = shlex.join([*ENVFIX, *words.format(folder=tmp_path).split(), "--python", sys.executable])
    finished = subprocess.run(
        ["/bin/sh", "-c", f"mkdir gone && cd gone && rmdir ../gone && exec {command}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2, finished
    assert finished.stderr.endswith(
        "error: the folder you are in has been deleted: nothing can be run from here\nhint: cd ~\n"
    )
