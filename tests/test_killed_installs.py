"""An installation that is ended at any moment leaves the old environment or the new one, whole: killed here for real."""

from __future__ import annotations

import collections
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from envfix.host import journal
from envfix.host.locking import BusyError, locked
from envfix.host.real import RealHost
from envfix.installer import acting
from envfix.installer.interface import Resolution, Sources
from envfix.installer.uv import UvInstaller
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter
from tests.conftest import CHECKOUT, interpreter
from tests.loopback_index import Index, make_wheel, serve
from tests.trees import differences, tree

KILLS = 120
REAL_KILLS = 12
TARGET = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", libc="glibc", glibc="2.31")
QUIET = NullReporter()


class Bed:
    """An environment with the old stack, and the command that installs the new one into it."""

    def __init__(self, env: Path, old: Resolution, new: Resolution) -> None:
        self.env = env
        folder = env.parent
        (folder / "new.json").write_bytes(msgspec.json.encode(new))
        self.command = [sys.executable, "-m", "tests.install_once", str(env), str(folder / "new.json")]
        UvInstaller(RealHost()).install(
            old, python=f"{env}/bin/python", prefix=str(env), constraints="# the old stack\n"
        )
        (env / ".lock").unlink(missing_ok=True)
        self.old = tree(env)
        started = time.monotonic()
        running = self._begin()
        began = self._change_begins(running)
        assert running.wait() == 0
        self.seconds, self.window = time.monotonic() - started, time.monotonic() - began
        self.new = tree(env)
        acting.undo(str(env), QUIET)

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command, cwd=CHECKOUT, stderr=subprocess.DEVNULL)

    def _change_begins(self, running: subprocess.Popen[bytes]) -> float:
        """Wait for the first sign of a change."""
        while not journal.has_pending(str(self.env)) and running.poll() is None:
            time.sleep(0.001)
        return time.monotonic()

    def kill_once(self, chance: random.Random) -> str:
        """End an installation at a random moment, let the next envfix look, and say what is there then.

        Three in four aim at the change itself, the others anywhere.
        """
        number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        running = self._begin()
        if chance.random() < 0.75:
            self._change_begins(running)
            time.sleep(chance.uniform(0, 1.1) * self.window)
        else:
            time.sleep(chance.uniform(0.1, 1.1) * self.seconds)
        running.send_signal(number)
        running.wait()
        unfinished = journal.has_pending(str(self.env))
        acting.take_back(str(self.env), QUIET)
        now = tree(self.env)
        if not differences(now, self.new):
            acting.undo(str(self.env), QUIET)
            now = tree(self.env)
            state = "new"
        else:
            state = "old, put back" if unfinished else "old"
        assert differences(now, self.old) == []
        return state


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    with serve() as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url("simple", "main"))
        for version in ("2.0.1+cu118", "2.1.2+cu118"):
            index.add("cu118", make_wheel("torch", version, requires=("numpy",), padding=300_000))
        for version in ("1.0", "2.0"):
            index.add("main", make_wheel("numpy", version, padding=1000))
        for name in ("pip", "setuptools", "wheel", "unchanged"):
            index.add("main", make_wheel(name, "99.0"))
        yield index


def pins(torch: str, **others: str) -> list[PackagePin]:
    rows = {"torch": f"=={torch}", **{name: f"=={version}" for name, version in others.items()}}
    return [
        PackagePin(name=name, specifier=spec, index="torch" if name == "torch" else "pypi", because="test")
        for name, spec in rows.items()
    ]


def resolved(
    uv: UvInstaller, wanted: list[PackagePin], sources: Sources, target: PlanTarget, python: str
) -> Resolution:
    answer = uv.resolve(wanted, sources, target, python=python)
    assert isinstance(answer, Resolution), answer
    return answer


def test_an_installation_killed_at_any_moment_leaves_the_old_or_the_new_environment(
    server: Index, tmp_path: Path
) -> None:
    python, env, uv = interpreter("3.11"), tmp_path / "env", UvInstaller(RealHost())
    sources = Sources(torch_url=server.url("simple", "cu118"))
    old = resolved(uv, pins("2.0.1+cu118", numpy="1.0", unchanged="99.0"), sources, TARGET, python)
    new = resolved(uv, pins("2.1.2+cu118", numpy="2.0", unchanged="99.0"), sources, TARGET, python)
    uv.create_environment(python, str(env))
    bed = Bed(env, old, new)
    assert "lib/python3.11/site-packages/torch/padding.bin" in bed.old
    assert differences(bed.old, bed.new) != []
    chance = random.Random()  # noqa: S311 - when to kill is no secret
    counts = collections.Counter(bed.kill_once(chance) for _ in range(KILLS))
    print(dict(counts))  # noqa: T201 - seen with -s: how many kills hit what
    assert counts.total() == KILLS
    assert counts["old, put back"] > 0, "no kill has hit the installation itself"


@pytest.mark.online
@pytest.mark.slow
def test_the_same_with_the_real_torch(tmp_path: Path) -> None:
    python, env, uv = interpreter("3.8"), tmp_path / "env", UvInstaller(RealHost())
    target = PlanTarget(python="3.8", tag="cp38", platform="linux_x86_64", libc="glibc", glibc="2.31")
    old = resolved(uv, pins("1.8.0", torchvision="0.9.0", numpy="1.23.5"), Sources(), target, python)
    new = resolved(uv, pins("1.9.0", torchvision="0.10.0", numpy="1.24.4"), Sources(), target, python)
    uv.create_environment(python, str(env))
    bed = Bed(env, old, new)
    assert "lib/python3.8/site-packages/torch/version.py" in bed.old
    chance = random.Random()  # noqa: S311
    counts = collections.Counter(bed.kill_once(chance) for _ in range(REAL_KILLS))
    print(dict(counts))  # noqa: T201 - seen with -s: how many kills hit what
    assert imported(env) == "1.8.0"
    assert_consistent(env)


def imported(env: Path) -> str:
    """The version of the torch that really loads."""
    code = "import torch, torchvision; torch.ones(2).sum(); print(torch.__version__.partition('+')[0])"
    result = RealHost().run([f"{env}/bin/python", "-E", "-W", "ignore", "-c", code], timeout=120)
    assert result.ok, result.stderr
    return result.stdout.strip()


def assert_consistent(env: Path) -> None:
    """No package of the environment misses another one, or wants another version of it."""
    result = RealHost().run([f"{env}/bin/python", "-E", "-m", "pip", "check"], timeout=60)
    assert result.ok, result.stdout


def test_a_second_envfix_waits_for_the_first_one_and_names_it(tmp_path: Path) -> None:
    env = tmp_path / "env"
    env.mkdir()
    heard: list[str] = []
    with locked(str(env), patience=1, on_wait=heard.append):
        with pytest.raises(BusyError) as caught, locked(str(env), patience=0.2, on_wait=heard.append):
            pytest.fail("the lock was given twice")
        assert f"another envfix (process {os.getpid()}, since " in caught.value.message
        assert caught.value.message.endswith(f" works on {env}")
        assert heard == [f"waiting: {caught.value.message}"]
    with locked(str(env), patience=0, on_wait=heard.append):
        pass
    assert list(env.iterdir()) == []


def test_a_lock_of_another_machine_ends_nobody_here(tmp_path: Path) -> None:
    """A shared folder: the numbers of its processes are those of other programs here."""
    env = tmp_path / "env"
    (env / ".envfix").mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as bystander:
        held = {"envfix": 2**22 + 1, "since": 0.0, "signed": time.time(), "where": "node7", "installer": bystander.pid}
        lock = env / ".envfix" / "lock"
        lock.write_bytes(msgspec.json.encode(held))
        with open(lock, "rb+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            with pytest.raises(BusyError) as caught, locked(str(env), patience=0.2, on_wait=lambda _: None):
                pytest.fail("the lock was given twice")
        assert bystander.poll() is None
        bystander.communicate(b"")
    assert f"another envfix (process {2**22 + 1} on node7, since " in caught.value.message
