"""What every part of the bench is made of: rows, bars, programs that are measured, and runs that are interleaved.

The machine may be busy with something else: what is compared takes turns within each round, and a ratio is one of medians of
the same rounds. A bar in seconds is judged by the median; where only the fastest round keeps it, or only the seconds that
processors really worked, the row says so.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess  # noqa: TID251 - programs are measured as a shell would start them
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from envfix.host.real import RealHost
from envfix.installer.uv import find_uv
from tests.fakes.running import ENVFIX

T = TypeVar("T")
Met = Literal["yes", "only the fastest run", "only in processor time", "no"]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """How good is good enough: a limit for the value itself or for its ratio to what it is compared with."""

    limit: float
    of: Literal["value", "ratio"] = "value"
    at_least: bool = False

    def kept_by(self, value: float) -> bool:
        """Whether a value, or a ratio, is within the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def text(self, unit: str) -> str:
        """The bar in a table."""
        sign = ">=" if self.at_least else "<="
        return f"{sign} {self.limit:g} {'x' if self.of == 'ratio' else unit}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison; ``best`` is the best of the runs, ``theirs`` None where there is nothing to compare with.

    ``cpu`` is the median of the seconds that processors worked, where a program was measured.
    ``answer`` is what the other one says of the pretended machine, ``right`` whether that is so.
    """

    part: str
    what: str
    ours: float | None
    best: float | None = None
    cpu: float | None = None
    unit: str = "s"
    against: str | None = None
    theirs: float | None = None
    bar: Bar | None = None
    answer: str | None = None
    right: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Ours to theirs."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None

    @property
    def met(self) -> Met | None:
        """Whether the bar is kept; None without one."""
        if self.bar is None or self.ours is None:
            return None
        if self.bar.of == "ratio":
            return None if self.ratio is None else "yes" if self.bar.kept_by(self.ratio) else "no"
        if self.bar.kept_by(self.ours):
            return "yes"
        if self.best is not None and self.bar.kept_by(self.best):
            return "only the fastest run"
        return "only in processor time" if self.cpu is not None and self.bar.kept_by(self.cpu) else "no"


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be measured here, and why."""

    part: str
    reason: str


Rows = Iterator[Row | Skip]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asked for; ``torch_python`` is an interpreter with a real torch, if there is one."""

    runs: int = 5
    online: bool = False
    torch_python: str | None = None


class Measured(msgspec.Struct, frozen=True):
    """One run of a program: seconds on the clock, seconds of all processors, and the memory of its biggest process."""

    wall: float
    cpu: float
    megabytes: float
    code: int


# Starts the program from a process that is small itself: a child's peak counts from what its parent was at the fork.
_STARTER = """
import json, os, sys, time
started = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
took = time.perf_counter() - started
with open(sys.argv[1], "w") as stream:
    json.dump([took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)], stream)
"""


def measured(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    output: Path | None = None,
    timeout: float = 600,
) -> Measured:
    """Run a program, by its absolute path, and tell what it took; ``output`` gets all that it printed."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        numbers = Path(folder) / "numbers.json"
        said = output or Path(folder) / "output.txt"
        with said.open("wb") as stream:
            subprocess.run(
                [sys.executable, "-I", "-S", "-c", _STARTER, str(numbers), *argv],
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=True,
            )
        return Measured(*json.loads(numbers.read_text()))


def checked(argv: Sequence[str], *, codes: Sequence[int] = (0,), **more: object) -> Measured:
    """The same, but a program that ends with an unexpected code ends the bench with what it said: a failure is no result."""
    with tempfile.TemporaryDirectory(prefix="envfix-bench-") as folder:
        output = Path(folder) / "output.txt"
        result = measured(argv, output=output, **more)  # type: ignore[arg-type]
        if result.code not in codes:
            sys.exit(f"{' '.join(argv)} ended with {result.code}:\n{output.read_text(errors='replace')[-2000:]}")
        return result


def said(argv: Sequence[str], env: Mapping[str, str]) -> str:
    """What a program prints; raises ``CalledProcessError`` where it fails."""
    return subprocess.run(argv, env=dict(env), capture_output=True, text=True, check=True).stdout


def timed(action: Callable[[], object]) -> float:
    """Seconds on the clock."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def interleaved(runs: int, actions: Mapping[str, Callable[[], T]], *, warm: bool = True) -> dict[str, list[T]]:
    """Every action in every round, each round beginning with another one; ``warm``: one round before that does not count."""
    results: dict[str, list[T]] = {name: [] for name in actions}
    names = list(actions)
    if warm:
        for action in actions.values():
            action()
    for turn in range(runs):
        at = turn % len(names)
        for name in (*names[at:], *names[:at]):
            results[name].append(actions[name]())
    return results


def memory(results: Sequence[Measured]) -> list[float]:
    """The peaks of several runs, in MB."""
    return [result.megabytes for result in results]


def compared(
    part: str,
    what: str,
    ours: Sequence[float] | Sequence[Measured],
    against: str | None = None,
    theirs: Sequence[float] | Sequence[Measured] | None = None,
    *,
    bar: Bar | None = None,
    unit: str = "s",
    answer: str | None = None,
    right: bool | None = None,
) -> Row:
    """A row of medians; of programs, their seconds on the clock."""
    values, others = _seconds(ours), _seconds(theirs or ())
    higher = bar is not None and bar.at_least and bar.of == "value"
    worked = [one.cpu for one in ours if isinstance(one, Measured)]
    return Row(
        part=part,
        what=what,
        ours=statistics.median(values),
        best=max(values) if higher else min(values),
        cpu=statistics.median(worked) if worked else None,
        unit=unit,
        against=against,
        theirs=statistics.median(others) if others else None,
        bar=bar,
        answer=answer,
        right=right,
    )


def _seconds(results: Sequence[float] | Sequence[Measured]) -> list[float]:
    return [one.wall if isinstance(one, Measured) else one for one in results]


def envfix(*arguments: str) -> list[str]:
    """The argv of this checkout's envfix."""
    return [*ENVFIX, *arguments]


def bare_python() -> list[str]:
    """A Python that does nothing, started as envfix is."""
    return [sys.executable, "-I", "-c", "pass"]


def uv() -> str:
    """The uv that envfix uses."""
    return find_uv(RealHost())


def plain_environment(folder: Path, **more: str) -> dict[str, str]:
    """The variables of a process with a home and a cache of its own, and nothing that steers Python, pip or envfix."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "ENVFIX_CACHE_DIR": str(folder / "envfix-cache"),
        "NO_PROXY": "127.0.0.1",
        **more,
    }


def has_torch(python: str) -> bool:
    """Whether a real torch can be imported there."""
    if not os.path.exists(python):
        return False
    done = subprocess.run([python, "-c", "import torch; torch.ones(2).sum()"], capture_output=True, check=False)
    return done.returncode == 0
