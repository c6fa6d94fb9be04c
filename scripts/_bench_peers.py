"""Other programs that look at such machines, on one pretended machine: how long they take, and whether what they say is so.

The machine: an RTX 3090 whose driver, 470.57.02, runs the CUDA 11 builds, and a torch that was built without CUDA. Who
diagnoses is right when it names that build as the cause; who chooses is right when such a wheel exists for the Python and the
driver runs it. Each peer comes from the configured registry into an environment of its own that sees the same torch.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess  # noqa: TID251 - peers are installed as their users would
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from envfix.model.versions import CudaVersion, DriverVersion
from envfix.tables.loader import load
from scripts._bench_base import (
    Bar,
    Measured,
    Options,
    Row,
    Rows,
    Skip,
    compared,
    envfix,
    interleaved,
    measured,
    uv,
)
from scripts._bench_torch_index import serve_official
from tests.fakes.machines import MACHINES, FakeDrivers

PRETENDED = "lab-470-rtx3090"
NOT_SLOWER = Bar(limit=1.0, of="ratio")
Judgement = tuple[str, bool | None]


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One program: what it is called, what is installed for it, how it is run in its environment, how its answer is judged.

    ``like`` is what of envfix it is compared with. ``variables`` and ``extra`` (options of uv) are for this one alone.
    """

    name: str
    install: tuple[str, ...]
    argv: tuple[str, ...]
    judged: Callable[[str, int], Judgement]
    like: str
    bar: Bar | None = None
    extra: tuple[str, ...] = ()


_CAUSE = re.compile(r"CPU.only|(?:built|compiled) without CUDA", re.IGNORECASE)


def _diagnosis(output: str, code: int) -> Judgement:
    """Whether the cause is named; a list of facts without a cause, or a traceback, is no answer."""
    if "Traceback (most recent call last)" in output:
        last = [line for line in output.splitlines() if line.strip()][-1]
        return f"no answer: {last.strip()}", None
    found = _CAUSE.search(output)
    return (f"names it: {found[0]}", True) if found else (f"no answer: names no cause (ends with {code})", None)


def _choice(output: str, code: int) -> Judgement:
    """Whether the build that is chosen exists for CPython 3.11 and runs on the driver, by envfix's tables."""
    exact = re.search(r"torch[=-]=?(\d+\.\d+\.\d+)(?:\+|%2B)(cu\d+)", output)
    variant = exact[2] if exact else next(iter(re.findall(r"\bcu\d{2,3}\b", output)), None)
    if variant is None:
        return f"no answer: chooses no CUDA build (ends with {code})", None
    tables, driver = load(), DriverVersion.parse(MACHINES[PRETENDED].driver or "")
    chosen = f"torch {exact[1]}+{variant}" if exact else variant
    floor = tables.drivers.floor(CudaVersion.parse(variant.removeprefix("cu")[:-1] + "." + variant[-1]), "linux")
    if floor is not None and driver < floor.family:
        return f"{chosen}, which needs driver {floor.family}", False
    version = exact[1] if exact else None
    if not tables.wheels.find("torch", version=version, variant=variant, python="cp311", platform="linux_x86_64"):
        return f"{chosen}, of which there is no wheel for Python 3.11", False
    return chosen, True


PEERS = (
    Peer(
        name="cuda-doctor diagnose",
        install=("cuda-doctor",),
        argv=("{bin}/cuda-doctor", "diagnose"),
        judged=_diagnosis,
        like="diagnose",
        bar=NOT_SLOWER,
    ),
    Peer(
        name="env-doctor check",
        install=("env-doctor",),
        argv=("{bin}/env-doctor", "check"),
        judged=_diagnosis,
        like="diagnose",
        bar=NOT_SLOWER,
    ),
    Peer(
        name="torch.utils.collect_env",
        install=(),
        argv=("{bin}/python", "-m", "torch.utils.collect_env"),
        judged=_diagnosis,
        like="diagnose",
    ),
    Peer(
        name="yolo checks",
        install=("ultralytics", "ultralytics-thop", "opencv-python-headless"),
        extra=("--no-deps",),
        argv=("{bin}/yolo", "checks"),
        judged=_diagnosis,
        like="diagnose",
    ),
    Peer(
        name="env-doctor install torch",
        install=("env-doctor",),
        argv=("{bin}/env-doctor", "install", "torch"),
        judged=_choice,
        like="plan",
    ),
    Peer(
        name="torchruntime info",
        install=("torchruntime",),
        argv=("{bin}/python", "-m", "torchruntime", "info"),
        judged=_choice,
        like="plan",
    ),
    Peer(
        name="ltt install --dry-run",
        install=("light-the-torch",),
        argv=("{bin}/ltt", "install", "--dry-run", "--ignore-installed", "--no-deps", "torch"),
        judged=_choice,
        like="plan",
    ),
    Peer(
        name="uv --torch-backend=auto --dry-run",
        install=(),
        argv=(
            "{uv}",
            "pip",
            "install",
            "--torch-backend=auto",
            "--dry-run",
            "--reinstall",
            "--python",
            "{bin}/python",
            "torch",
        ),
        judged=_choice,
        like="plan",
    ),
)


def peers(options: Options) -> Rows:
    """Each peer beside what of envfix does the same."""
    if not options.online:
        yield Skip(part="peers", reason="peers are installed from the configured registry: --online")
        return
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None or options.torch_python is None:
        yield Skip(part="peers", reason="the pretended machine needs a C compiler, and a Python with a real torch")
        return
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name, ExitStack() as running:
        folder = Path(name)
        (folder / "compiled").mkdir()
        drivers = FakeDrivers.compile(folder / "compiled", compiler)
        env = drivers.environment(MACHINES[PRETENDED], folder / "machine")
        env["PATH"] += f"{os.pathsep}/usr/bin{os.pathsep}/bin"
        index = running.enter_context(serve_official(folder))
        env |= {**index.variables, "UV_CACHE_DIR": str(folder / "uv-cache"), "YOLO_AUTOINSTALL": "0"}
        place = _Place(folder, env, options.torch_python)
        for peer in PEERS:
            yield from place.compared(peer, options.runs)


class _Place:
    """The pretended machine and the environments on it."""

    def __init__(self, folder: Path, env: dict[str, str], torch_python: str) -> None:
        self.folder, self.env, self.torch_python = folder, env, torch_python

    def compared(self, peer: Peer, runs: int) -> Iterator[Row | Skip]:
        """Install a peer, run it in turns with envfix, and judge what it says."""
        environment = self.folder / peer.name.replace(" ", "-").replace("/", "-")
        problem = self._installed(peer, environment)
        if problem is not None:
            yield Skip(part="peers", reason=f"{peer.name} cannot be installed: {problem}")
            return
        bin_folder = str(environment / "bin")
        theirs = [word.format(bin=bin_folder, uv=uv()) for word in peer.argv]
        python = f"{bin_folder}/python"
        output = self.folder / "output.txt"
        ours = {
            "diagnose": ["diagnose --no-import", "diagnose"],
            "plan": ["plan --offline"],
        }[peer.like]
        programs: dict[str, Callable[[], Measured]] = {
            words: _run(envfix(*words.split(), "--python", python), self.env) for words in ours
        }
        programs[peer.name] = _run(theirs, self.env, output)
        took = interleaved(runs, programs)
        answer, right = peer.judged(_plain(output.read_text(errors="replace")), took[peer.name][-1].code)
        for words in ours:
            bar = peer.bar if words != "diagnose" else None
            what = f"{words} ({self._own_answer(words, python)})"
            yield compared("peers", what, took[words], peer.name, took[peer.name], bar=bar, answer=answer, right=right)

    def _installed(self, peer: Peer, environment: Path) -> str | None:
        made = [uv(), "venv", "-q", "--system-site-packages", "--python", self.torch_python, str(environment)]
        subprocess.run(made, check=True)
        if not peer.install:
            return None
        argv = [uv(), "pip", "install", "-q", "--python", f"{environment}/bin/python", *peer.extra, *peer.install]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no reason given"])[-1]

    def _own_answer(self, words: str, python: str) -> str:
        """What envfix says there, in a few words."""
        argv = envfix(*words.split(), "--python", python, "--json")
        document = json.loads(subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False).stdout)
        if words.startswith("plan"):
            choice = document["choice"]
            return f"torch {choice['torch']}+{choice['variant']}" if choice else "no plan"
        first = document["findings"][0]
        return f"{first['code']} {first['cause']}"


def _run(argv: Sequence[str], env: dict[str, str], output: Path | None = None) -> Callable[[], Measured]:
    return lambda: measured(argv, env=env, output=output, timeout=120)


def _plain(text: str) -> str:
    """Without colours, on one line where a terminal's width broke it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
