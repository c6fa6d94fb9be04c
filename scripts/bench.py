"""Measures envfix against what it stands on, side by side in one run: medians and ratios.

    python -m scripts.bench install [--runs 5] [--online]
    python -m scripts.bench fleet

``install``: what envfix does between the answer to its question and the proof (everything on this disk first, then lock,
journal, installer, commit) against the bare ``uv pip install`` of the same pins, into a fresh environment and over an older
stack, with warm and cold cache; the last column has the resolution, which comes before the question, on both sides.
``fleet``: see ``bench_fleet.py``.
Without ``--online`` made-up wheels from a loopback index, with it the real torch 1.9.0 from the default registry.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess  # noqa: TID251 - the programs that envfix is compared with are started as they are
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting, changes
from envfix.installer.interface import Resolution, Sources
from envfix.installer.uv import UvInstaller, find_uv
from envfix.model.outcome import Installation
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter
from scripts import bench_fleet
from tests.loopback_index import make_wheel, serve

FILES = 4000


class Stack:
    """An older and a newer stack for one Python, resolved."""

    def __init__(
        self, python: str, target: PlanTarget, sources: Sources, old: dict[str, str], new: dict[str, str]
    ) -> None:
        self.python, self.target, self.sources = python, target, sources
        self.old, self.new = self.resolved(old), self.resolved(new)

    def resolved(self, wanted: dict[str, str]) -> Resolution:
        """The exact files, by uv."""
        pins = [
            PackagePin(
                name=name,
                specifier=f"=={version}",
                index="torch" if self.sources.torch_url and name == "torch" else "pypi",
                because="bench",
            )
            for name, version in wanted.items()
        ]
        answer = UvInstaller(RealHost()).resolve(pins, self.sources, self.target, python=self.python)
        if not isinstance(answer, Resolution):
            sys.exit(f"cannot be resolved: {answer.text}")
        return answer


class Bench:
    """One folder to work in."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.env = folder / "env"
        self.uv = find_uv(RealHost())

    def fresh(self, *, with_old: bool, cold: bool) -> None:
        """An environment, empty or with the older stack; a cold cache has nothing of the newer one."""
        shutil.rmtree(self.env, ignore_errors=True)
        subprocess.run([self.uv, "venv", "-q", "--python", self.stack.python, str(self.env)], check=True)
        if with_old:
            installer = UvInstaller(RealHost())
            installer.install(self.stack.old, python=self._python, prefix=str(self.env))
        if cold:
            shutil.rmtree(str(self.folder / "uv-cache"), ignore_errors=True)

    @property
    def _python(self) -> str:
        return f"{self.env}/bin/python"

    def bare(self) -> None:
        """``uv pip install`` of the same pins."""
        pins = [f"{name}=={version}" for name, version in self.stack.new.versions.items()]
        index = ["--index", self.stack.sources.torch_url] if self.stack.sources.torch_url else []
        subprocess.run([self.uv, "pip", "install", "-q", "--python", self._python, *index, *pins], check=True)

    def resolve(self) -> None:
        """What comes before the question."""
        self.stack.resolved(self.stack.new.versions)

    def envfix(self) -> None:
        """What envfix does after it."""
        uv, stack = UvInstaller(RealHost(), store=str(self.folder / "wheels")), self.stack
        fetched = uv.fetch(stack.new, python=self._python)

        def work(python: str, lock: EnvironmentLock) -> Installation:
            return uv.install(fetched, python=python, prefix=str(self.env), constraints="# held\n", lock=lock)

        layout = changes.layout_of(str(self.env))
        acting.into_existing(
            acting.by_wheels(RealHost(), layout, fetched.versions, uv.incoming(fetched)),
            self._python,
            what="bench",
            work=work,
            prove=lambda _: None,
            keep=False,
            reporter=NullReporter(),
        )


def timed(action: Callable[[], None]) -> float:
    """Seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


@contextmanager
def made_up() -> Iterator[Stack]:
    """Wheels of a loopback index: a torch of many files, and two packages beside it."""
    with serve() as index:
        for version in ("2.0.1+cu118", "2.1.2+cu118"):
            index.add("cu118", make_wheel("torch", version, requires=("numpy",), padding=50_000_000, files=FILES))
        for version in ("1.0", "2.0"):
            index.add("main", make_wheel("numpy", version, padding=1_000_000))
        os.environ["UV_DEFAULT_INDEX"] = index.url("simple", "main")  # noqa: TID251
        target = PlanTarget(python="{}.{}".format(*sys.version_info), tag="cp3", platform="linux_x86_64", glibc="2.31")
        sources = Sources(torch_url=index.url("simple", "cu118"))
        old, new = {"torch": "2.0.1+cu118", "numpy": "1.0"}, {"torch": "2.1.2+cu118", "numpy": "2.0"}
        yield Stack(sys.executable, target, sources, old, new)


@contextmanager
def real() -> Iterator[Stack]:
    """The real torch 1.9.0 over 1.8.0, for Python 3.8."""
    python = RealHost().find_interpreter("3.8")
    if python is None:
        sys.exit("there is no Python 3.8 on this machine")
    target = PlanTarget(python="3.8", tag="cp38", platform="linux_x86_64", libc="glibc", glibc="2.31")
    old, new = {"torch": "1.8.0", "torchvision": "0.9.0"}, {"torch": "1.9.0", "torchvision": "0.10.0"}
    yield Stack(python, target, Sources(), old, new)


def install(*, runs: int, online: bool) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        os.environ["UV_CACHE_DIR"] = f"{folder}/uv-cache"  # noqa: TID251
        with real() if online else made_up() as stack:
            bench = Bench(Path(folder), stack)
            bench.fresh(with_old=True, cold=False)
            bench.bare()
            print("| environment | cache | bare uv (s) | envfix (s) | ratio | with resolving |")
            print("| --- | --- | --- | --- | --- | --- |")
            for cold in (False, True):
                for with_old in (False, True):
                    bare, ours, whole = [], [], []
                    for _ in range(runs):
                        bench.fresh(with_old=with_old, cold=cold)
                        bare.append(timed(bench.bare))
                        bench.fresh(with_old=with_old, cold=cold)
                        resolving = timed(bench.resolve)
                        ours.append(timed(bench.envfix))
                        whole.append(ours[-1] + resolving)
                    one, other, more = (statistics.median(row) for row in (bare, ours, whole))
                    names = ("older stack" if with_old else "fresh", "cold" if cold else "warm")
                    print(
                        f"| {names[0]} | {names[1]} | {one:.3f} | {other:.3f} | {other / one:.2f} | {more / one:.2f} |"
                    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["install", "fleet"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--online", action="store_true")
    arguments = parser.parse_args()
    if arguments.what == "fleet":
        bench_fleet.main()
        return
    install(runs=arguments.runs, online=arguments.online)


if __name__ == "__main__":
    main()
