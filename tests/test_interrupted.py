"""Ctrl-C in a terminal, ``kill`` and a closed terminal at every stage of a command: it ends at once and leaves nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from envfix.host.real import RealHost
from envfix.installer.uv import find_uv
from tests.conftest import CHECKOUT
from tests.fakes.running import ENVFIX, cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU118, make_venv, write_script, write_torch
from tests.loopback_index import make_wheel
from tests.loopback_world import CU118, MACHINE, World, world_in
from tests.trees import differences, tree

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")

WAYS = ["Ctrl-C", "SIGTERM", "hang-up"]
CARD = {"ENVFIX_DRIVER": "470.57.02", "ENVFIX_GPU": "NVIDIA GeForce RTX 3090:8.6:24576"}
# Who has pressed Ctrl-C presses it again after so many seconds.
PATIENCE = 3.0
HANGS = "import os, time; open(os.environ['REACHED'], 'w').close(); time.sleep(600)\n"


@dataclass
class Stage:
    """A command that will stay at this stage; ``reached`` tells when it is there, from what the terminal has shown."""

    command: Sequence[str]
    reached: Callable[[bytes], bool]
    env: Mapping[str, str] = field(default_factory=cleaned_environment)
    unchanged: Path | None = None
    absent: Path | None = None
    code: int = 130
    says: str = "error: interrupted"


class Terminal:
    """A program in a terminal of its own, with a folder of its own for temporary files."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.mark = f"MARK_OF_THE_TEST={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        env = {**stage.env, "TMPDIR": str(self.temporary), "REACHED": str(folder / "reached"), name: value}
        self.seen = b""
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
                os.chdir(folder)
                os.execvpe(stage.command[0], list(stage.command), env)  # noqa: S606
            finally:
                os._exit(99)
        fcntl.ioctl(self.screen, termios.TIOCSWINSZ, struct.pack("HHHH", 45, 80, 0, 0))

    def read(self, seconds: float) -> bool:
        """Take what is shown, waiting so long at most; the answer is whether the program goes on."""
        if self.screen < 0:
            time.sleep(seconds)
            return True
        if not select.select([self.screen], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.screen, 65536)
        except OSError:
            data = b""
        self.seen += data
        return bool(data)

    def until(self, reached: Callable[[bytes], bool]) -> None:
        """Go on until the stage is reached."""
        limit = time.monotonic() + 60
        while not reached(self.seen):
            assert self.read(0.02), self
            assert time.monotonic() < limit, self

    def end(self, way: str) -> tuple[int, float]:
        """End it in one of the WAYS; the answer is its exit code and the seconds which that took."""
        self.seen, started = b"", time.monotonic()
        if way == "Ctrl-C":
            os.write(self.screen, b"\x03")
        elif way == "SIGTERM":
            os.kill(self.pid, signal.SIGTERM)
        else:
            self.close()
        while True:
            self.read(0.01)
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                seconds = time.monotonic() - started
                while self.screen >= 0 and self.read(0.05) and select.select([self.screen], [], [], 0.05)[0]:
                    pass
                return os.waitstatus_to_exitcode(status), seconds
            if time.monotonic() - started > 30:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                pytest.fail(f"it does not end\n{self}")

    def close(self) -> None:
        """The window is closed."""
        if self.screen >= 0:
            os.close(self.screen)
        self.screen = -1

    def left_running(self) -> list[str]:
        """The commands of all programs that were started by it and still run: what was told to end takes a moment."""
        limit = time.monotonic() + PATIENCE
        while (left := self._running()) and time.monotonic() < limit:
            time.sleep(0.02)
        return left

    def _running(self) -> list[str]:
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.mark.encode() in (place / "environ").read_bytes().split(b"\0"):
                    found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return [command for command in found if command]

    def __repr__(self) -> str:
        return self.seen.decode("utf-8", "replace")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Indexes on loopback with a stack whose torch hangs when it is imported."""
    with world_in(tmp_path) as made:
        tail = "cp311-cp311-manylinux_2_28_x86_64"
        torch = {
            "torch/__init__.py": HANGS.encode(),
            "torch/version.py": b"cuda = '11.8'\n__version__ = '2.7.1+cu118'\n",
        }
        hangs = make_wheel("torch", "2.7.1+cu118", tail, requires=("numpy",), more=torch, padding=3_000_000)
        made["official"].add("cu118", hangs, *CU118[1:])
        yield made


def asked(world: World, name: str, path: str) -> Callable[[bytes], bool]:
    """Whether that index was asked for something of this name."""
    return lambda _seen: bool(world[name].asked(path))


def shown(*words: str) -> Callable[[bytes], bool]:
    """Whether these words have been shown."""
    return lambda seen: any(word.encode() in seen for word in words)


def hanging_torch(folder: Path) -> str:
    site = make_venv(folder / "hangs")
    write_torch(site, "2.7.1+cu118", "11.8", SM_OF_CU118, init=HANGS)
    return str(folder / "hangs")


def set_up(folder: Path, world: World) -> Stage:
    """The first start in a checkout, which fetches what envfix needs itself."""
    world["pypi"].delay = 30
    ignored = shutil.ignore_patterns("__pycache__", "locale")
    for name in ("scripts", "envfix"):
        shutil.copytree(CHECKOUT / name, folder / "checkout" / name, ignore=ignored)
    shutil.copy(CHECKOUT / "pyproject.toml", folder / "checkout")
    env = cleaned_environment(
        PIP_INDEX_URL=f"{world['pypi'].base}/simple/main", ENVFIX_BOOTSTRAP_PYTHON=os.path.realpath(sys.executable)
    )
    command = (str(folder / "checkout" / "scripts" / "run"), "--version")
    return Stage(command, asked(world, "pypi", "hatchling"), env, absent=folder / "checkout" / ".venv")


def diagnose(folder: Path, _world: World) -> Stage:
    command = (*ENVFIX, "diagnose", "--python", hanging_torch(folder))
    return Stage(command, lambda _: (folder / "reached").exists(), unchanged=folder / "hangs")


def network(folder: Path, world: World) -> Stage:
    for server in world.servers.values():
        server.delay = 30
    command = (*ENVFIX, "diagnose", "--network", "--no-import", "--python", str(folder / "env"))
    return Stage(command, asked(world, "pypi", "torch"), world.environment(**CARD))


def plan_asking(folder: Path, world: World) -> Stage:
    for server in world.servers.values():
        server.delay = 30
    command = (*ENVFIX, "plan", "--python", str(folder / "env"), *MACHINE)
    return Stage(command, asked(world, "official", "torch"), world.environment())


def plan_resolving(folder: Path, world: World) -> Stage:
    def reached(_seen: bytes) -> bool:
        if not asked(world, "pypi", "torch")(b""):
            return False
        world["pypi"].delay = 30
        return asked(world, "pypi", "numpy")(b"") or asked(world, "pypi", "ultralytics")(b"")

    command = (*ENVFIX, "plan", "--python", str(folder / "env"), *MACHINE)
    return Stage(command, reached, world.environment())


def install_question(folder: Path, world: World) -> Stage:
    command = (*ENVFIX, "install", "--new-env", "fresh", "--with", "none")
    return Stage(command, shown("[y/N]"), world.environment(**CARD), absent=folder / "fresh")


def installing(folder: Path, world: World, reached: Callable[[bytes], bool]) -> Stage:
    command = (*ENVFIX, "install", "--new-env", "fresh", "--with", "none", "--yes")
    return Stage(command, reached, world.environment(**CARD), absent=folder / "fresh")


def install_resolving(folder: Path, world: World) -> Stage:
    stage = plan_resolving(folder, world)
    return installing(folder, world, stage.reached)


def install_downloading(folder: Path, world: World) -> Stage:
    world["official"].bytes_per_second = 50_000
    return installing(folder, world, lambda _: bool(world["official"].downloads()))


def install_making(folder: Path, world: World) -> Stage:
    return installing(folder, world, lambda _: (folder / "fresh").exists())


def install_writing(folder: Path, world: World) -> Stage:
    return installing(folder, world, lambda _: any(folder.glob("fresh/lib/*/site-packages/torch")))


def install_proving(folder: Path, world: World) -> Stage:
    return installing(folder, world, lambda _: (folder / "reached").exists())


def install_proving_there(folder: Path, world: World) -> Stage:
    """Into an environment that was there before."""
    stage = install_proving(folder, world)
    command = (*ENVFIX, "install", "--python", str(folder / "env"), "--with", "none", "--yes")
    return Stage(command, stage.reached, stage.env, unchanged=folder / "env")


def undo_question(folder: Path, world: World) -> Stage:
    """What was installed later would be lost with it, so it asks."""
    world["pypi"].add("main", make_wheel("numpy", "1.26.3"))
    env = world.environment(**CARD)
    where = ("--python", str(folder / "env"))
    install = ("install", "--yes", "--keep", "--with", "none", "--index", "pypi", *where)
    assert envfix(*install, env=env, timeout=120).code in (0, 4)
    pip = (find_uv(RealHost()), "pip", "install", "-q", "--python", f"{folder}/env/bin/python", "numpy==1.26.3")
    subprocess.run(pip, env=env, check=True, timeout=60)
    return Stage((*ENVFIX, "undo", *where), shown("[y/N]"), env, unchanged=folder / "env")


def lock_asking(folder: Path, world: World) -> Stage:
    stage = plan_resolving(folder, world)
    command = (*ENVFIX, "lock", "--python", str(folder / "env"), *MACHINE, "-o", "requirements-lock.txt")
    return Stage(command, stage.reached, stage.env, absent=folder / "requirements-lock.txt")


def lock_downloading(folder: Path, world: World) -> Stage:
    """Files of which no index tells the hash are fetched to find it."""
    world["official"].no_hashes, world["official"].bytes_per_second = True, 50_000
    options = ("--with", "none", "--index", "official", "--download", "-o", "requirements-lock.txt")
    command = (*ENVFIX, "lock", "--python", str(folder / "env"), *MACHINE, *options)
    absent = folder / "requirements-lock.txt"
    return Stage(command, lambda _: bool(world["official"].downloads()), world.environment(), absent=absent)


def explain_file(folder: Path, _world: World) -> Stage:
    with (folder / "err.log").open("wb") as log:
        for _ in range(100):
            log.write(b"epoch 1/3  box_loss 1.2  cls_loss 3.4  CUDA error: out of luck\n" * 16_000)
    began = time.monotonic()
    command = (*ENVFIX, "explain", "--no-machine", "err.log")
    return Stage(command, lambda _: time.monotonic() - began > 0.6)


def explain_pipe(folder: Path, _world: World) -> Stage:
    # More than a pipe holds: when it is written, envfix reads.
    line = 'exec "$@" explain --no-machine < <(yes "epoch 1/3" | head -c 300000; touch "$REACHED"; exec sleep 600)'
    return Stage(("/bin/bash", "-c", line, "bash", *ENVFIX), lambda _: (folder / "reached").exists())


def gpus(folder: Path, _world: World) -> Stage:
    """A driver that hangs, as one does whose card has fallen off the bus."""
    write_script(folder / "bin" / "nvidia-smi", 'touch "$REACHED"; exec sleep 600')
    env = cleaned_environment(PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    return Stage((*ENVFIX, "gpus"), lambda _: (folder / "reached").exists(), env)


def fit(folder: Path, _world: World) -> Stage:
    command = (*ENVFIX, "fit", "yolov8n.pt", "--python", hanging_torch(folder))
    return Stage(command, lambda _: (folder / "reached").exists(), cleaned_environment(**CARD))


def verify(folder: Path, _world: World) -> Stage:
    command = (*ENVFIX, "verify", "--python", hanging_torch(folder))
    return Stage(command, lambda _: (folder / "reached").exists(), unchanged=folder / "hangs")


def fleet(folder: Path, _world: World) -> Stage:
    write_script(folder / "bin" / "ssh", 'touch "$REACHED"; exec sleep 600')
    env = cleaned_environment(PATH=f"{folder / 'bin'}:{os.environ['PATH']}")
    return Stage((*ENVFIX, "fleet", "diagnose", "--ssh", "node[1-3]"), lambda _: (folder / "reached").exists(), env)


STAGES = [
    set_up,
    diagnose,
    network,
    plan_asking,
    plan_resolving,
    install_question,
    install_resolving,
    install_downloading,
    install_making,
    install_writing,
    install_proving,
    install_proving_there,
    undo_question,
    lock_asking,
    lock_downloading,
    explain_file,
    explain_pipe,
    gpus,
    fit,
    verify,
    fleet,
]


# To a command ``kill`` is what Ctrl-C is; where files have changed, it is tried as well.
CASES = [
    pytest.param(stage, way, id=f"{stage.__name__}, {way}")
    for stage in STAGES
    for way in WAYS
    if way != "SIGTERM" or stage in (set_up, diagnose, gpus, fleet, install_making, install_proving_there)
]


@pytest.mark.parametrize(("stage_of", "way"), CASES)
def test_it_ends_at_once_and_leaves_nothing(
    stage_of: Callable[[Path, World], Stage], way: str, world: World, tmp_path: Path
) -> None:
    stage = stage_of(tmp_path, world)
    before = tree(stage.unchanged) if stage.unchanged else {}
    terminal = Terminal(stage, tmp_path)
    try:
        terminal.until(stage.reached)
        code, seconds = terminal.end(way)
    finally:
        terminal.close()
    assert (code, seconds < PATIENCE) == (stage.code, True), (seconds, terminal)
    # Nobody reads what is said to a closed window.
    assert way == "hang-up" or stage.says in repr(terminal).splitlines()[-1], terminal
    assert "Traceback" not in repr(terminal)
    assert terminal.left_running() == []
    assert list(terminal.temporary.iterdir()) == []
    if stage.unchanged:
        assert differences(before, tree(stage.unchanged)) == []
    assert stage.absent is None or not stage.absent.exists(), list(stage.absent.rglob("*"))


@pytest.mark.parametrize(("way", "code"), [("Ctrl-C", 5), ("SIGTERM", 128 + signal.SIGTERM)])
def test_a_program_that_is_run_is_ended_and_its_code_is_the_answer(way: str, code: int, tmp_path: Path) -> None:
    program = (
        "import os, sys, time\ntry:\n    open(os.environ['REACHED'], 'w').close(); time.sleep(600)\n"
        "except KeyboardInterrupt:\n    sys.exit(5)\n"
    )
    command = (*ENVFIX, "run", "--no-machine", "--", sys.executable, "-c", program)
    terminal = Terminal(Stage(command, lambda _: (tmp_path / "reached").exists()), tmp_path)
    try:
        terminal.until(lambda _: (tmp_path / "reached").exists())
        assert terminal.end(way)[0] == code, terminal
    finally:
        terminal.close()
    assert terminal.left_running() == []
    assert "Traceback" not in repr(terminal)


def test_a_program_that_is_just_being_started_is_ended_as_well(tmp_path: Path) -> None:
    """The signal comes while the system starts it: what is not known yet could not be ended."""
    code = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(CHECKOUT)!r})
from envfix.host.real import RealHost
from envfix.host.interface import Deadline
start = subprocess.Popen._execute_child
def started(self, *arguments, **options):
    start(self, *arguments, **options)
    print(self.pid, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen._execute_child = started
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    if sys.argv[1] == "run":
        RealHost().run(["sleep", "600"], timeout=600)
    else:
        RealHost().stream(["sleep", "600"], on_text=print, deadline=Deadline(600))
except KeyboardInterrupt:
    sys.exit(130)
"""
    for how in ("run", "stream"):
        finished = subprocess.run(
            [sys.executable, "-I", "-c", code, how],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=tmp_path,
        )
        assert finished.returncode == 130, finished
        assert not Path("/proc", finished.stdout.strip()).exists()


@pytest.mark.parametrize("moment", ["mkdtemp", "rmtree"])
def test_a_temporary_folder_goes_whenever_the_signal_comes(moment: str, tmp_path: Path) -> None:
    """Before its user knows of it, and while it is removed."""
    code = f"""
import os, shutil, signal, sys, tempfile
sys.path.insert(0, {str(CHECKOUT)!r})
from envfix.host.real import RealHost
def at(function):
    def then(*arguments, **options):
        if function.__name__ == "rmtree":
            os.kill(os.getpid(), signal.SIGINT)
        answer = function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return answer
    return then
signal.signal(signal.SIGINT, signal.default_int_handler)
host = RealHost()
try:
    if sys.argv[1] == "mkdtemp":
        tempfile.mkdtemp = at(tempfile.mkdtemp)
        host.make_temporary_folder()
    else:
        folder = host.make_temporary_folder()
        os.mkdir(folder + "/more")
        shutil.rmtree = at(shutil.rmtree)
        host.remove_tree(folder)
except KeyboardInterrupt:
    sys.exit(130)
"""
    env = {**cleaned_environment(), "TMPDIR": str(tmp_path)}
    finished = subprocess.run(
        [sys.executable, "-I", "-c", code, moment], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (finished.returncode, finished.stderr, list(tmp_path.iterdir())) == (130, "", [])
