"""Fixtures that more than one test module uses."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envfix.tables.loader import Tables, load
from tests.fakes.machines import MACHINES, FakeDrivers

if TYPE_CHECKING:
    from tests.conda_channel import Channels, CondaChannel

CHECKOUT = Path(__file__).resolve().parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"


@pytest.fixture(scope="session", autouse=True)
def _can_be_interrupted() -> None:
    """A shell starts what runs in its background with Ctrl-C switched off, which all children would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tables() -> Tables:
    """Envfix's own tables."""
    return load()


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests see neither the caller's overrides nor its cache."""
    for name in [name for name in os.environ if name.startswith("ENVFIX_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENVFIX_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "envfix-cache"))


def interpreter(version: str) -> str:
    """The path of a real CPython ``X.Y``; the test is skipped where this machine has none."""
    for path in sorted(PYENV.glob(f"{version}.*/bin/python"), reverse=True):
        return str(path)
    pytest.skip(f"no CPython {version} under {PYENV}")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden`` rewrites the expected answers instead of comparing with them."""
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/machines/*/expected instead of comparing"
    )


@pytest.fixture(scope="session")
def fake_drivers(tmp_path_factory: pytest.TempPathFactory) -> FakeDrivers:
    """The fake NVIDIA driver, compiled once; tests that need it are skipped where there is no C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the fake NVIDIA driver needs Linux and a C compiler (gcc or cc)")
    return FakeDrivers.compile(tmp_path_factory.mktemp("fake-driver"), compiler)


@pytest.fixture
def fake_machine(fake_drivers: FakeDrivers, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Called with a machine's name and what differs on it: the environment of a process that runs there."""

    def make(name: str, **changes: Any) -> dict[str, str]:
        machine = dataclasses.replace(MACHINES[name], **changes)
        return fake_drivers.environment(machine, tmp_path / "machine")

    return make


@pytest.fixture
def channels(monkeypatch: pytest.MonkeyPatch) -> Iterator[Channels]:
    """A running server of conda channels, without any."""
    from tests.conda_channel import serve

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as running:
        yield running


@pytest.fixture
def yolo(tmp_path: Path) -> CondaChannel:
    """A conda channel with all that YOLO needs."""
    from tests.conda_channel import yolo_channel

    return yolo_channel(tmp_path / "channel")


@pytest.fixture(scope="session")
def torch_190(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One environment with torch 1.9.0 of the default registry (CUDA 10.2), its folder."""
    from uv import find_uv_bin

    folder = tmp_path_factory.mktemp("torch-1.9") / "env"
    # uv must see the machine's own index and cache settings, not the tests' cleaned ones.
    for arguments in (
        ["venv", "-q", "--python", interpreter("3.8"), str(folder)],
        ["pip", "install", "-q", "--python", str(folder), "torch==1.9.0", "numpy<1.25"],
    ):
        done = subprocess.run([find_uv_bin(), *arguments], capture_output=True, check=False, timeout=1800)
        if done.returncode != 0:
            pytest.skip(f"torch 1.9.0 cannot be installed here: {done.stderr.decode(errors='replace')[-200:]}")
    return str(folder)
