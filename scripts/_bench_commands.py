"""What envfix takes to start, look, decide and explain: start, diagnose, torch, plan, plans, judge, explain."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from scripts._bench_base import (
    Bar,
    Measured,
    Options,
    Row,
    Rows,
    Skip,
    bare_python,
    checked,
    compared,
    envfix,
    interleaved,
    memory,
    plain_environment,
    said,
)
from tests.fakes.running import CHECKOUT
from tests.fakes.targets import SM_OF_CU118, base_python, make_venv, write_torch

BARE = "bare Python start"
NO_TORCH = Skip(part="torch", reason="there is no Python with a real torch here: name one with --torch-python PATH")


def start(options: Options) -> Rows:
    """``--version`` and ``--help``."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        env = plain_environment(Path(folder))
        programs = {"bare": bare_python(), "--version": envfix("--version"), "--help": envfix("--help")}
        took = interleaved(options.runs, {name: _program(argv, env) for name, argv in programs.items()})
        for name in ("--version", "--help"):
            yield compared("start", name, took[name], BARE, took["bare"], bar=Bar(limit=0.06))


def diagnose(options: Options) -> Rows:
    """``diagnose --no-import`` of an environment without torch and of one with it, and the whole diagnosis of a real torch."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
        folder = Path(name)
        env = plain_environment(folder)
        make_venv(folder / "without")
        write_torch(make_venv(folder / "with"), "2.7.1+cu118", "11.8", SM_OF_CU118)
        programs = {"bare": _program(bare_python(), env)}
        for kind in ("without", "with"):
            argv = envfix("diagnose", "--no-import", "--python", str(folder / kind))
            programs[kind] = _program(argv, env, codes=(0, 1))
        took = interleaved(options.runs, programs)
        for kind in ("without", "with"):
            what = f"diagnose --no-import, {kind} torch (files only)"
            yield from _time_and_memory("diagnose", what, took[kind], BARE, took["bare"], seconds=0.20, megabytes=45)
        if options.torch_python is None:
            yield NO_TORCH
        else:
            yield from _with_import(options.torch_python, env, options.runs)


def _with_import(python: str, env: dict[str, str], runs: int) -> Iterator[Row]:
    programs = {
        "fast": _program(envfix("diagnose", "--no-import", "--python", python), env, codes=(0, 1)),
        "whole": _program(envfix("diagnose", "--python", python), env, codes=(0, 1)),
        "import": _program([python, "-c", "import torch"], env),
    }
    took = interleaved(runs, programs)
    parts = [one.wall + other.wall for one, other in zip(took["fast"], took["import"], strict=True)]
    yield compared("diagnose", "diagnose --no-import, a real torch", took["fast"], bar=Bar(limit=0.20))
    within = Bar(limit=1.0, of="ratio")
    against = "diagnose --no-import + the target's import torch"
    yield compared("diagnose", "diagnose with the import of torch", took["whole"], against, parts, bar=within)


# Read, in a process of its own, what an installed torch is: by its files, as envfix's script does, and by importing it.
_BY_FILES = """
import json, os, sys, time
script = {script!r}
space = {{"__name__": "read", "__file__": script}}
started = time.perf_counter()
exec(compile(open(script).read(), script, "exec"), space)
said = space["torch_build"]([entry for entry in sys.path if os.path.isdir(entry)])
took = time.perf_counter() - started
assert said["version_file"]["__version__"], said
print(took)
"""
_BY_IMPORT = """
import time
started = time.perf_counter()
import torch
said = torch.__version__, torch.version.cuda, torch.cuda.get_arch_list()
print(time.perf_counter() - started)
"""


def torch(options: Options) -> Rows:
    """Version, CUDA and SM list of an installed torch, by files against by importing it, timed inside the target."""
    python = options.torch_python
    if python is None:
        yield NO_TORCH
        return
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
        env = plain_environment(Path(name), PYTHONDONTWRITEBYTECODE="1")
        script = str(CHECKOUT / "envfix" / "target" / "envfix_interpreter_facts.py")
        programs = {"files": _BY_FILES.format(script=script), "import": _BY_IMPORT}

        def inside(program: str) -> Callable[[], float]:
            return lambda: float(said([python, "-c", program], env).split()[-1])

        took = interleaved(options.runs, {key: inside(program) for key, program in programs.items()})
        bar = Bar(limit=1 / 20, of="ratio")
        what = "version, CUDA and SM list of an installed torch"
        yield compared("torch", what, took["files"], "importing it", took["import"], bar=bar)


def plan(options: Options) -> Rows:
    """``plan --offline`` for a described machine and an environment of this one."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
        folder = Path(name)
        env = plain_environment(folder)
        make_venv(folder / "env")
        machine = ["--driver", "470.57.02", "--gpu", "RTX 3090"]
        argv = envfix("plan", "--offline", "--python", str(folder / "env"), *machine)
        took = interleaved(options.runs, {"bare": _program(bare_python(), env), "plan": _program(argv, env)})
        yield from _time_and_memory("plan", "plan --offline", took["plan"], BARE, took["bare"], seconds=0.25)


def plans(options: Options) -> Rows:
    """10 000 plans by the API, out of every driver with every card and every Python; once."""
    del options
    import envfix
    from envfix.tables.loader import load

    tables = load()
    drivers = [str(version) for version in tables.drivers.minimums("linux")]
    cards = [f"{model.name}:{capability}" for model in tables.gpus.all() for capability in model.capabilities]
    pythons = [f"3.{minor}" for minor in range(6, 15)]
    every = list(itertools.product(drivers, cards, pythons))
    chosen = random.Random(7).sample(every, min(10_000, len(every)))  # noqa: S311 - the same ones each time
    started, worked = time.perf_counter(), time.process_time()
    outcomes = [envfix.plan(python=python, driver=driver, gpus=[card]).status for driver, card, python in chosen]
    took = Measured(time.perf_counter() - started, time.process_time() - worked, 0, 0)
    good = outcomes.count("ok")
    what = f"{len(chosen)} plans of {len(every)} (driver, card, Python); {good} ok, {len(chosen) - good} conflicts"
    yield compared("plans", what, [took], bar=Bar(limit=60))


def judge(options: Options) -> Rows:
    """1 000 recorded machines: reading and judging, and judging alone, one process."""
    from envfix import snapshots
    from envfix.app.diagnosing import diagnose as judged
    from envfix.tables.loader import load

    tables = load()
    texts = [path.read_text("utf-8") for path in sorted((CHECKOUT / "tests" / "machines").glob("*/snapshot.json"))]
    thousand = [texts[number % len(texts)] for number in range(1000)]
    saved = [snapshots.read(text, "bench") for text in texts]
    machines = [saved[number % len(saved)] for number in range(1000)]

    def reading() -> float:
        started = time.process_time()
        for text in thousand:
            one = snapshots.read(text, "bench")
            judged(one.machine, one.environment, tables)
        return 1000 / (time.process_time() - started)

    def judging() -> float:
        started = time.process_time()
        for one in machines:
            judged(one.machine, one.environment, tables)
        return 1000 / (time.process_time() - started)

    took = interleaved(options.runs, {"reading": reading, "judging": judging})
    bar = Bar(limit=500, at_least=True)
    yield compared("judge", f"judging 1000 recorded machines ({len(texts)} kinds)", took["judging"], unit="/s", bar=bar)
    size = sum(map(len, thousand)) / 1e6
    yield compared("judge", f"reading and judging them ({size:.0f} MB of JSON)", took["reading"], unit="/s", bar=bar)


_LOOK_AT_LINES = "import sys\nfor line in open(sys.argv[1], 'rb'): pass"


def explain(options: Options) -> Rows:
    """``explain`` on 100 MB of lines that programs print when they fail, and of single words of such lines."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
        folder = Path(name)
        env = plain_environment(folder)
        for kind, write in (("lines of errors", _error_line), ("words of errors", _error_words)):
            log = folder / "hostile.log"
            _write_log(log, write)
            programs = {
                "explain": _program(envfix("explain", "--no-machine", "--json", str(log)), env, codes=(0, 1)),
                "lines": _program([base_python(), "-I", "-c", _LOOK_AT_LINES, str(log)], env),
            }
            took = interleaved(options.runs, programs, warm=False)
            what, against = f"explain, 100 MB of {kind}", "Python reading its lines"
            yield from _time_and_memory(
                "explain", what, took["explain"], against, took["lines"], seconds=4, megabytes=150
            )


def _pieces() -> list[str]:
    """Lines of what programs print, from the samples of the tests."""
    files = sorted((CHECKOUT / "tests" / "logs").glob("*.yaml"))
    cases = [case for file in files for case in yaml.safe_load(file.read_text("utf-8")).get("cases", ())]
    return [line for case in cases for line in case["symptom"].splitlines() if line.strip()]


def _error_line(chance: random.Random, pieces: list[str], words: list[str]) -> str:
    del words
    return chance.choice(pieces)


def _error_words(chance: random.Random, pieces: list[str], words: list[str]) -> str:
    del pieces
    return " ".join(chance.choices(words, k=12))


def _write_log(path: Path, line: Callable[[random.Random, list[str], list[str]], str]) -> None:
    chance = random.Random(7)  # noqa: S311 - the same log each time
    pieces = _pieces()
    words = " ".join(pieces).split()
    size = 0
    with path.open("w", encoding="utf-8", errors="replace") as stream:
        while size < 100_000_000:
            size += stream.write(line(chance, pieces, words) + "\n")


def _program(argv: list[str], env: dict[str, str], *, codes: tuple[int, ...] = (0,)) -> Callable[[], Measured]:
    return lambda: checked(argv, env=env, codes=codes)


def _time_and_memory(
    part: str,
    what: str,
    ours: list[Measured],
    against: str,
    theirs: list[Measured],
    *,
    seconds: float,
    megabytes: float | None = None,
) -> Iterator[Row]:
    yield compared(part, what, ours, against, theirs, bar=Bar(limit=seconds))
    bar = None if megabytes is None else Bar(limit=megabytes)
    yield compared(part, what, memory(ours), against, memory(theirs), unit="MB", bar=bar)
