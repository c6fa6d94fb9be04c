"""The lock of an environment: nothing but its own file is written, and nobody is ended who does not hold it."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil  # noqa: TID253 - the test wants no quick start
import pytest

from envfix.errors import EnvfixError
from envfix.host import locking
from envfix.host.locking import BusyError, Holder, LockFileError, locked
from envfix.installer import acting
from envfix.model.reporter import NullReporter

VICTIM = "what somebody wrote\n" * 20
# Says that it runs, and ends when its input does. Its children do the same.
WAITS = "import sys; print('runs', flush=True); sys.stdin.read()"
# The same with two children, of which only the first has the file that this program was given.
STARTS_TWO = f"""
import subprocess, sys
for descriptors in ((int(sys.argv[1]),), ()):
    child = subprocess.Popen([sys.executable, "-c", {WAITS!r}], stdin=0, stdout=subprocess.PIPE, pass_fds=descriptors)
    child.stdout.readline()
    print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def env(tmp_path: Path) -> Path:
    folder = tmp_path / "env"
    folder.mkdir()
    return folder


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not give a lost installer the half minute in which it would end by itself."""
    monkeypatch.setattr(locking, "_LEAVING", 0.3)


def take(env: Path) -> None:
    with locked(str(env), patience=0.2, on_wait=lambda _: None):
        pass


def plant(env: Path) -> Path:
    """The place of the lock, in its folder."""
    (env / ".envfix").mkdir()
    return env / ".envfix" / "lock"


# --- what lies there ---


def test_a_link_in_the_place_of_the_lock_is_not_written_through(env: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text(VICTIM)
    plant(env).symlink_to(victim)
    with pytest.raises(LockFileError) as caught:
        take(env)
    assert caught.value.message == f"{env}/.envfix/lock is a link, which envfix does not follow"
    assert caught.value.hint == "remove the link"
    assert victim.read_text() == VICTIM


def test_a_link_to_nothing_makes_no_file_elsewhere(env: Path, tmp_path: Path) -> None:
    plant(env).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockFileError):
        take(env)
    assert not (tmp_path / "elsewhere").exists()


def test_a_link_that_comes_while_the_lock_is_held_is_not_followed(env: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text(VICTIM)
    with locked(str(env), patience=1, on_wait=lambda _: None) as lock:
        (env / ".envfix" / "lock").unlink()
        (env / ".envfix" / "lock").symlink_to(victim)
        lock.sign(os.getpid())
        with pytest.raises(LockFileError):
            take(env)
    assert victim.read_text() == VICTIM
    assert (env / ".envfix" / "lock").is_symlink()  # not envfix's own, so it is not removed either


def test_a_second_name_of_another_file_is_not_written_into(env: Path, tmp_path: Path) -> None:
    """Also: a backup by hard links that was made while an installation ran."""
    victim = tmp_path / "victim"
    victim.write_text(VICTIM)
    plant(env).hardlink_to(victim)
    with locked(str(env), patience=1, on_wait=lambda _: None):
        holder = msgspec.json.decode((env / ".envfix" / "lock").read_bytes(), type=Holder)
        assert holder.envfix == os.getpid()
        assert victim.read_text() == VICTIM
    assert victim.read_text() == VICTIM
    assert list(env.iterdir()) == []


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(path.parent)  # the whole path may be too long for a socket
        listening.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(Path.mkdir, "a folder", id="folder"),
        pytest.param(os.mkfifo, "a device, pipe or socket", id="pipe"),
        pytest.param(make_socket, "a device, pipe or socket", id="socket"),
    ],
)
def test_anything_else_in_the_place_of_the_lock_is_named(env: Path, make: Callable[[Path], None], kind: str) -> None:
    make(plant(env))
    with pytest.raises(LockFileError) as caught:
        take(env)
    assert caught.value.message == f"{env}/.envfix/lock is {kind}, and envfix keeps its lock in a file of that name"
    assert caught.value.hint == "move it away"


def test_a_file_in_the_place_of_the_folder_is_told_as_what_it_is(env: Path) -> None:
    """It was taken for a full disk."""
    (env / ".envfix").write_text(VICTIM)
    with pytest.raises(EnvfixError) as caught:
        acting.forget(str(env), NullReporter())
    assert caught.value.message == f"{env}/.envfix is a file, and envfix keeps its journal in a folder of that name"
    assert (caught.value.hint, caught.value.reference) == ("move it away", "lock-file")
    assert (env / ".envfix").read_text() == VICTIM


def test_a_link_in_the_place_of_the_folder_is_not_followed(env: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (env / ".envfix").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockFileError) as caught:
        take(env)
    assert caught.value.message == f"{env}/.envfix is a link, which envfix does not follow"
    assert caught.value.hint == "remove the link"
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_lock_that_a_dead_envfix_has_left_is_taken(env: Path) -> None:
    plant(env).write_bytes(signed_by_the_dead(installer=None))
    take(env)
    assert list(env.iterdir()) == []


# --- who is ended ---


def a_dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def signed_by_the_dead(installer: int | None) -> bytes:
    now = time.time()
    holder = Holder(envfix=a_dead_process(), since=now, signed=now, where=locking._here(), installer=installer)
    return msgspec.json.encode(holder)


class Waiting:
    """A program that runs until it is told to end, with the file it was given, if any."""

    def __init__(self, code: str, descriptors: tuple[int, ...] = ()) -> None:
        argv = [sys.executable, "-c", code, *map(str, descriptors)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors, text=True, start_new_session=True
        )

    def line(self) -> str:
        """The next line it writes."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def start() -> Iterator[Callable[..., Waiting]]:
    """Starts such programs; all have ended after the test."""
    running: list[Waiting] = []

    def begin(code: str, descriptors: tuple[int, ...] = ()) -> Waiting:
        running.append(Waiting(code, descriptors))
        return running[-1]

    yield begin
    for waiting in running:
        waiting.process.communicate(timeout=10)


@pytest.mark.usefixtures("impatient")
def test_a_forged_lock_ends_nobody(env: Path, start: Callable[..., Waiting]) -> None:
    """Whoever can write into the environment could have any process of the caller ended."""
    victim = start(WAITS)
    assert victim.line() == "runs"
    lock = plant(env)
    lock.write_bytes(signed_by_the_dead(victim.process.pid))
    with open(lock, "rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            take(env)
    assert victim.process.poll() is None


@pytest.mark.usefixtures("impatient")
def test_a_forged_lock_does_not_end_the_envfix_that_reads_it(env: Path) -> None:
    lock = plant(env)
    lock.write_bytes(signed_by_the_dead(os.getpid()))
    with open(lock, "rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BusyError):
            take(env)


@pytest.mark.parametrize("number", [-1, 0, 2**31, 2**70])
@pytest.mark.usefixtures("impatient")
def test_a_forged_lock_with_an_impossible_number_is_only_a_lock(env: Path, number: int) -> None:
    lock = plant(env)
    lock.write_text(f'{{"envfix": {number}, "since": 0, "signed": {time.time()}, "installer": {number}}}')
    with open(lock, "rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BusyError) as caught:
            take(env)
    assert caught.value.message == f"another program works on {env}"


def test_the_name_in_a_lock_does_not_steer_the_terminal(env: Path) -> None:
    lock = plant(env)
    lock.write_text('{"envfix": 7, "since": 0, "signed": 0, "where": "\\u001b[2Jnode\\u0007 x"}')
    with open(lock, "rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(BusyError) as caught:
            take(env)
    assert caught.value.message.startswith("another envfix (process 7 on [2Jnode, since ")


def orphan(env: Path, start: Callable[..., Waiting], code: str) -> Waiting:
    """An installer that holds the lock, as a killed envfix leaves it behind."""
    lock = plant(env)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    left = start(code, (descriptor,))
    os.pwrite(descriptor, signed_by_the_dead(left.process.pid), 0)
    os.close(descriptor)
    return left


def test_an_installer_that_a_killed_envfix_has_left_is_ended(env: Path, start: Callable[..., Waiting]) -> None:
    left = orphan(env, start, WAITS)
    assert left.line() == "runs"
    take(env)
    assert left.process.poll() is not None  # its input is still open, so it has not ended by itself
    assert list(env.iterdir()) == []


def test_of_what_it_has_started_only_who_holds_the_lock_is_ended(env: Path, start: Callable[..., Waiting]) -> None:
    left = orphan(env, start, STARTS_TWO)
    holding, free = psutil.Process(int(left.line())), psutil.Process(int(left.line()))
    take(env)
    assert left.process.poll() is not None  # its input is still open, so it has not ended by itself
    assert not holding.is_running() or holding.status() == psutil.STATUS_ZOMBIE
    assert free.is_running()
    assert free.status() != psutil.STATUS_ZOMBIE


@pytest.mark.usefixtures("impatient")
def test_an_installer_that_cannot_be_ended_is_waited_for_no_longer_than_any_other(
    env: Path, start: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one of another user is; it was tried again for ever."""

    def denied(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    monkeypatch.setattr(psutil.Process, "terminate", denied)
    monkeypatch.setattr(psutil.Process, "kill", denied)
    monkeypatch.setattr(psutil, "wait_procs", lambda processes, timeout: ([], list(processes)))  # noqa: ARG005
    left = orphan(env, start, WAITS)
    assert left.line() == "runs"
    with pytest.raises(BusyError):
        take(env)
    assert left.process.poll() is None


def test_without_proc_the_open_files_are_asked_for(
    env: Path, start: Callable[..., Waiting], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS."""
    is_there = os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/proc/self/fd" and is_there(path))
    left = orphan(env, start, WAITS)
    assert left.line() == "runs"
    take(env)
    assert left.process.poll() is not None  # its input is still open, so it has not ended by itself
