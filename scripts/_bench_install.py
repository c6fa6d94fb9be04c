"""``install`` against the bare ``uv pip install`` and ``pip install`` of the same pins; ``lock`` against what uv locks.

``install`` is what envfix does between the answer to its question and the proof (everything on this disk first, then lock,
journal, installer, commit), into a fresh environment and over an older stack, with warm and cold cache. The resolution, which
comes before the question, is told in rows of its own: uv and pip resolve in the same call. Made-up wheels of a loopback index,
or the real torch 1.9.0 from the default registry (``--online``).
"""

from __future__ import annotations

import os
import shutil
import subprocess  # noqa: TID251 - the programs that envfix is compared with are started as they are
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.installer import acting, changes, lock_reader
from envfix.installer.interface import Resolution, Sources
from envfix.installer.uv import UvInstaller
from envfix.model.outcome import Installation
from envfix.model.plan import PackagePin, PlanTarget
from envfix.model.reporter import NullReporter
from scripts._bench_base import Bar, Options, Row, Rows, Skip, checked, compared, envfix, interleaved, timed, uv
from tests.loopback_index import make_wheel, serve

FILES = 4000
WITHIN_UV = Bar(limit=1.05, of="ratio")


class Stack:
    """An older and a newer stack for one Python, resolved; ``pip`` are the options by which pip finds them."""

    def __init__(
        self,
        python: str,
        target: PlanTarget,
        sources: Sources,
        old: dict[str, str],
        new: dict[str, str],
        pip: tuple[str, ...] = (),
    ) -> None:
        self.python, self.target, self.sources, self.pip = python, target, sources, pip
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

    @property
    def pins(self) -> list[str]:
        """The newer stack as a user would type it."""
        return [f"{name}=={version}" for name, version in self.new.versions.items()]


class Bench:
    """One folder to work in."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.env = folder / "env"
        self.uv = uv()

    def fresh(self, *, with_old: bool, cold: bool) -> None:
        """An environment, empty or with the older stack; a cold cache has nothing of the newer one."""
        shutil.rmtree(self.env, ignore_errors=True)
        subprocess.run([self.uv, "venv", "-q", "--python", self.stack.python, str(self.env)], check=True)
        if with_old:
            installer = UvInstaller(RealHost())
            installer.install(self.stack.old, python=self._python, prefix=str(self.env))
        if cold:
            for cache in ("uv-cache", "pip-cache", "wheels"):
                shutil.rmtree(self.folder / cache, ignore_errors=True)
        os.sync()  # what the one before has written is not to be waited for by the next

    @property
    def _python(self) -> str:
        return f"{self.env}/bin/python"

    def bare_uv(self) -> None:
        """``uv pip install`` of the same pins."""
        index = ["--index", self.stack.sources.torch_url] if self.stack.sources.torch_url else []
        subprocess.run(
            [self.uv, "pip", "install", "-q", "--python", self._python, *index, *self.stack.pins], check=True
        )

    def checking_uv(self) -> None:
        """The same with every file checked by its hash, as envfix has it done."""
        index = ["--index", self.stack.sources.torch_url] if self.stack.sources.torch_url else []
        files = lock_reader.files(self.stack.new.lock, self.stack.target)
        pins = self.folder / "hashed.txt"
        pins.write_text("".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in files))
        hashed = ["--require-hashes", "-r", str(pins)]
        subprocess.run([self.uv, "pip", "install", "-q", "--python", self._python, *index, *hashed], check=True)

    def bare_pip(self) -> None:
        """``pip install`` of the same pins, by the pip of this environment; uv writes no bytecode either."""
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self._python,
            "install",
            "-q",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        argv = [*command, "--cache-dir", str(self.folder / "pip-cache"), *self.stack.pip, *self.stack.pins]
        subprocess.run(argv, check=True)

    def resolve(self) -> None:
        """What comes before the question."""
        self.stack.resolved(self.stack.new.versions)

    def envfix(self) -> None:
        """What envfix does after it."""
        installer, stack = UvInstaller(RealHost(), store=str(self.folder / "wheels")), self.stack
        fetched = installer.fetch(stack.new, python=self._python)

        def work(python: str, lock: EnvironmentLock) -> Installation:
            return installer.install(fetched, python=python, prefix=str(self.env), constraints="# held\n", lock=lock)

        layout = changes.layout_of(str(self.env))
        acting.into_existing(
            acting.by_wheels(RealHost(), layout, fetched.versions, installer.incoming(fetched)),
            self._python,
            what="bench",
            work=work,
            prove=lambda _: None,
            keep=False,
            reporter=NullReporter(),
        )

    def after_preparing(self, action: Callable[[], None], *, with_old: bool, cold: bool) -> Callable[[], float]:
        """Times an action on a fresh environment."""

        def run() -> float:
            self.fresh(with_old=with_old, cold=cold)
            return timed(action)

        return run


@contextmanager
def made_up() -> Iterator[Stack]:
    """Wheels of a loopback index: a torch of many files, and a package beside it."""
    with serve() as index:
        for version in ("2.0.1+cu118", "2.1.2+cu118"):
            index.add("cu118", make_wheel("torch", version, requires=("numpy",), padding=50_000_000, files=FILES))
        for version in ("1.0", "2.0"):
            index.add("main", make_wheel("numpy", version, padding=1_000_000))
        os.environ["UV_DEFAULT_INDEX"] = index.url("simple", "main")  # noqa: TID251
        target = PlanTarget(python="{}.{}".format(*sys.version_info), tag="cp3", platform="linux_x86_64", glibc="2.31")
        torch_url = index.url("simple", "cu118")
        old, new = {"torch": "2.0.1+cu118", "numpy": "1.0"}, {"torch": "2.1.2+cu118", "numpy": "2.0"}
        pip = ("--isolated", "--index-url", index.url("simple", "main"), "--extra-index-url", torch_url)
        try:
            yield Stack(sys.executable, target, Sources(torch_url=torch_url), old, new, pip)
        finally:
            del os.environ["UV_DEFAULT_INDEX"]  # noqa: TID251


@contextmanager
def real(python: str) -> Iterator[Stack]:
    """The real torch 1.9.0 over 1.8.0, for Python 3.8."""
    target = PlanTarget(python="3.8", tag="cp38", platform="linux_x86_64", libc="glibc", glibc="2.31")
    old, new = {"torch": "1.8.0", "torchvision": "0.9.0"}, {"torch": "1.9.0", "torchvision": "0.10.0"}
    yield Stack(python, target, Sources(), old, new)


def install(options: Options) -> Rows:
    """The made-up stack, and with ``--online`` the real one."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder, made_up() as stack:
        yield from _installs(Path(folder), stack, options.runs, f"{FILES} files, loopback index")
    if not options.online:
        yield Skip(part="install", reason="the real torch 1.9.0 needs --online")
        return
    python = RealHost().find_interpreter("3.8")
    if python is None:
        yield Skip(part="install", reason="the real torch 1.9.0 needs a Python 3.8, and there is none on this machine")
        return
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder, real(python) as stack:
        yield from _installs(Path(folder), stack, options.runs, "real torch 1.9.0")


def _installs(folder: Path, stack: Stack, runs: int, name: str) -> Iterator[Row]:
    os.environ["UV_CACHE_DIR"] = f"{folder}/uv-cache"  # noqa: TID251
    try:
        bench = Bench(folder, stack)
        bench.fresh(with_old=True, cold=False)
        bench.bare_uv()  # the cache is warm from now on
        for cold in (False, True):
            for with_old in (False, True):
                yield from _one_kind(bench, runs, name, with_old=with_old, cold=cold)
    finally:
        del os.environ["UV_CACHE_DIR"]  # noqa: TID251


def _one_kind(bench: Bench, runs: int, name: str, *, with_old: bool, cold: bool) -> Iterator[Row]:
    actions = {
        "uv": bench.bare_uv,
        "checking": bench.checking_uv,
        "envfix": bench.envfix,
        "resolving": bench.resolve,
        "pip": bench.bare_pip,
    }
    took = interleaved(
        runs,
        {key: bench.after_preparing(action, with_old=with_old, cold=cold) for key, action in actions.items()},
        warm=not cold,
    )
    kind = f"{name}, {'over an older stack' if with_old else 'fresh environment'}, {'cold' if cold else 'warm'} cache"
    whole = [one + other for one, other in zip(took["envfix"], took["resolving"], strict=True)]
    yield compared("install", kind, took["envfix"], "uv pip install", took["uv"], bar=WITHIN_UV)
    if cold:
        yield compared("install", kind, took["envfix"], "uv pip install --require-hashes", took["checking"])
    yield compared("install", f"{kind}, with resolving", whole, "uv pip install", took["uv"])
    yield compared("install", f"{kind}, with resolving", whole, "pip install --no-compile", took["pip"])


MACHINE = ("--python", "3.11", "--driver", "470.57.02", "--gpu", "RTX 3090", "--glibc", "2.31")


def lock(options: Options) -> Rows:
    """A lock of a plan against ``uv pip compile --generate-hashes`` of the pins that came out of it."""
    from _pytest.outcomes import Skipped

    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        try:
            yield from _loopback_lock(Path(folder), options.runs)
        except Skipped as reason:  # raised where the loopback world finds no Python 3.11
            yield Skip(part="lock", reason=str(reason))
    if not options.online:
        yield Skip(part="lock", reason="locking from the default registry needs --online")
        return
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        yield from _real_lock(Path(folder), options.runs)


def _loopback_lock(folder: Path, runs: int) -> Iterator[Row]:
    from tests.loopback_world import CU118, world_in

    with world_in(folder) as world:
        for name in ("official", "nju"):
            world[name].add("cu118", *CU118)
        env = world.environment()
        ours = ["lock", *MACHINE[2:], "--python", str(folder / "env"), "-o", str(folder / "ours.txt")]
        # Exact pins may come from any index: the torch index of this world has a numpy of its own, as a hostile one would.
        index = ["--index", f"{world.base('official')}/cu118", "--index-strategy", "unsafe-best-match"]
        yield from _locks(folder, ours, env, index, runs, "a plan, loopback indexes")


def _real_lock(folder: Path, runs: int) -> Iterator[Row]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("ENVFIX_")}  # noqa: TID251
    env |= {"ENVFIX_CACHE_DIR": str(folder / "cache"), "UV_CACHE_DIR": str(folder / "uv-cache")}
    ours = ["lock", *MACHINE, "--index", "pypi", "-o", str(folder / "ours.txt")]
    yield from _locks(folder, ours, env, [], runs, "a plan, default registry")


def _locks(folder: Path, ours: list[str], env: dict[str, str], index: list[str], runs: int, name: str) -> Iterator[Row]:
    checked(envfix(*ours), env=env, timeout=300)
    pins = folder / "pins.in"
    pins.write_text("".join(f"{line}\n" for line in _pins(folder / "ours.txt")))
    output = ["--output-file", str(folder / "theirs.txt")]
    where = ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_31"]
    theirs = [uv(), "pip", "compile", "-q", "--generate-hashes", *where, *index, *output, str(pins)]
    took = interleaved(
        runs,
        {
            "envfix": lambda: checked(envfix(*ours), env=env, timeout=300),
            "uv": lambda: checked(theirs, env=env, timeout=300),
        },
    )
    yield compared("lock", name, took["envfix"], "uv pip compile --generate-hashes", took["uv"])


def _pins(lock_file: Path) -> list[str]:
    """What a lock in the form of requirements pins, as names and versions."""
    from envfix.lockers import formats

    text = lock_file.read_text()
    return [f"{one.name}=={one.version}" for one in formats.recognised(text, lock_file.name).read(text).packages]
