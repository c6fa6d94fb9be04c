"""run: the program's own streams, terminal, signals and exit code; an explanation on standard error only if it fails."""

from __future__ import annotations

import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo-terminals of POSIX")

ENVFIX = (sys.executable, "-m", "envfix", "run", "--no-machine")
SAYS = "RuntimeError: The NVIDIA driver on your system is too old (found version 11040)."


def run(*program: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ENVFIX, "--", *program], input=text, capture_output=True, text=True, timeout=60, check=False
    )


def script(tmp_path: Path, body: str) -> str:
    path = tmp_path / "program.py"
    path.write_text(f"import os, sys, time, signal\n{body}\n", encoding="utf-8")
    return str(path)


def test_program_that_works_is_left_alone(tmp_path: Path) -> None:
    body = 'print(sys.stdin.read().upper()); print("to the other", file=sys.stderr)'
    answer = run(sys.executable, script(tmp_path, body), text="hello")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "HELLO\n", "to the other\n")


def test_bytes_pass_unchanged_in_large_numbers(tmp_path: Path) -> None:
    body = "sys.stdout.buffer.write(bytes(range(256)) * 100_000)"
    command = [*ENVFIX, "--", sys.executable, script(tmp_path, body)]
    answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert answer.stdout == bytes(range(256)) * 100_000


def test_program_that_fails_is_explained_on_standard_error(tmp_path: Path) -> None:
    answer = run(sys.executable, script(tmp_path, f'print("epoch 1"); sys.exit("{SAYS}")'))
    assert answer.returncode == 1
    assert answer.stdout == "epoch 1\n"
    assert answer.stderr.startswith(SAYS)
    assert "driver_too_old_for_wheel" in answer.stderr


@pytest.mark.parametrize("code", [1, 2, 3, 77, 255])
def test_exit_code_is_the_programs_own(code: int) -> None:
    assert run(sys.executable, "-c", f"raise SystemExit({code})").returncode == code


def test_exit_code_of_a_signal_is_that_of_a_shell() -> None:
    answer = run(sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert answer.returncode == 128 + signal.SIGKILL


def test_program_that_is_not_there_ends_as_in_a_shell() -> None:
    answer = run("no-such-program-anywhere")
    assert answer.returncode == 127
    assert "cannot run no-such-program-anywhere" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_options_of_the_program_are_its_own() -> None:
    answer = run(sys.executable, "-c", "import sys; print(sys.argv[1:])", "--json", "-v", "--", "--python", "x")
    assert answer.stdout == "['--json', '-v', '--', '--python', 'x']\n"


def test_reader_that_goes_away_leaves_no_traceback() -> None:
    command = [*ENVFIX, "--", sys.executable, "-c", "print('x\\n' * 1_000_000)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        assert "envfix/host" not in said, "the traceback is the program's own, as without envfix"
        process.wait(timeout=20)


def test_program_whose_reader_goes_away_ends_as_in_a_pipe() -> None:
    command = [*ENVFIX, "--", "yes"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=20) in (128 + signal.SIGPIPE, 1)


def test_both_streams_into_one_place_keep_their_order(tmp_path: Path) -> None:
    body = "for n in range(500): os.write(1, b'out%d\\n' % n); os.write(2, b'err%d\\n' % n)"
    command = [*ENVFIX, "--", sys.executable, script(tmp_path, body)]
    answer = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
    )
    assert answer.stdout.split() == [f"{name}{n}" for n in range(500) for name in ("out", "err")]


def test_child_that_goes_on_alone_loses_nothing(tmp_path: Path) -> None:
    body = "sys.stdout.flush()\nif os.fork() == 0:\n    time.sleep(1.5); print('late', flush=True)\nelse:\n    print('parent')"
    answer = subprocess.run(
        [*ENVFIX, "--", sys.executable, script(tmp_path, body)], stdout=subprocess.PIPE, timeout=60, check=False
    )
    assert answer.stdout.split() == [b"parent", b"late"]


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "<&- >&-", ">/dev/full"])
def test_closed_and_full_streams_do_not_stop_the_program(closing: str, tmp_path: Path) -> None:
    mark = tmp_path / "done"
    program = f"echo hi; echo err >&2; sleep 0.2; touch {mark}; exit 7"
    line = " ".join([*map(shlex.quote, ENVFIX), "--", "sh", "-c", shlex.quote(program), closing])
    answer = subprocess.run(["/bin/sh", "-c", line], timeout=60, check=False)
    assert answer.returncode == 7
    assert mark.exists()


def test_open_files_are_the_programs_as_well() -> None:
    line = " ".join([*map(shlex.quote, ENVFIX), "--", "cat /dev/fd/7 7<<END\nhello\nEND"])
    answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout == "hello\n"


def test_signal_of_a_batch_system_is_handed_on(tmp_path: Path) -> None:
    body = (
        "def saved(number, frame):\n    print('saved', flush=True); sys.exit(3)\n"
        "signal.signal(signal.SIGUSR1, saved); print('ready', flush=True); time.sleep(60)"
    )
    command = [*ENVFIX, "--", sys.executable, script(tmp_path, body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.read() == "saved\n"
        assert process.wait(timeout=20) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_wish_to_end_is_handed_on(tmp_path: Path, number: signal.Signals) -> None:
    body = (
        "def end(number, frame):\n    print('ended by', number, flush=True); sys.exit(9)\n"
        f"signal.signal({int(number)}, end); print('ready', flush=True); time.sleep(60)"
    )
    command = [*ENVFIX, "--", sys.executable, script(tmp_path, body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"ended by {int(number)}\n"
        assert process.wait(timeout=20) == 9


def test_child_that_keeps_the_streams_open_does_not_keep_envfix(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.Popen(['sleep', '8']); print('done')"
    command = [*ENVFIX, "--", sys.executable, script(tmp_path, body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        start = time.monotonic()
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - start < 6


def in_terminal(*program: str, keys: bytes = b"", columns: int = 123, resize: int = 0) -> tuple[int, str]:
    """Run a program in a pseudo-terminal of its own: its exit code, and what was seen."""
    import fcntl
    import struct
    import termios

    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 45, columns, 0, 0))
        os.execv(program[0], program)  # noqa: S606 - what a shell would do
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
        if keys and b"ready" in seen:
            os.write(terminal, keys)
            keys = b""
        if resize and b"ready" in seen:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 45, resize, 0, 0))
            resize = 0
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen.decode("utf-8", "replace")


def test_program_in_a_terminal_has_one_of_the_same_size(tmp_path: Path) -> None:
    body = "print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size().columns)"
    code, seen = in_terminal(*ENVFIX, "--", sys.executable, script(tmp_path, body))
    assert (code, seen) == (0, "True True 123\r\n")


def test_control_c_reaches_the_program_alone(tmp_path: Path) -> None:
    body = (
        "try:\n    print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('stopped by the user'); sys.exit(5)"
    )
    code, seen = in_terminal(*ENVFIX, "--", sys.executable, script(tmp_path, body), keys=b"\x03")
    assert code == 5
    assert "stopped by the user" in seen
    assert "Traceback" not in seen


def test_standard_input_is_the_terminal_itself(tmp_path: Path) -> None:
    body = "print('ready', flush=True); print('read:', input())"
    code, seen = in_terminal(*ENVFIX, "--", sys.executable, script(tmp_path, body), keys=b"hello\n")
    assert code == 0
    assert "read: hello" in seen


def test_pager_reads_its_keys(tmp_path: Path) -> None:
    if shutil.which("less") is None:
        pytest.skip("no less on this machine")
    (tmp_path / "long.txt").write_text("ready\n" + "line\n" * 500, encoding="utf-8")
    code, _ = in_terminal(*ENVFIX, "--", "less", str(tmp_path / "long.txt"), keys=b"q")
    assert code == 0


def test_program_learns_of_a_resized_window(tmp_path: Path) -> None:
    body = (
        "def told(number, frame):\n    print('now', os.get_terminal_size().columns); sys.exit(0)\n"
        "signal.signal(signal.SIGWINCH, told); print('ready', flush=True); time.sleep(30)"
    )
    code, seen = in_terminal(*ENVFIX, "--", sys.executable, script(tmp_path, body), resize=77)
    assert code == 0
    assert "now 77" in seen
