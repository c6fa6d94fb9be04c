"""Measures envfix against what it stands on and against its peers, side by side in one run: medians and ratios.

    python -m scripts.bench [PART ...] [--runs 5] [--online] [--markdown FILE] [--json FILE] [--torch-python PATH]

Without a PART all of them. ``--online`` also takes what needs the configured package registry: the peers (each into an
environment of its own in a temporary folder), the real torch 1.9.0, a lock of real packages. What is compared takes turns, so
a busy machine slows both; bars are those the project set itself. Ends with 1 where a bar is not kept.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from envfix import __version__
from envfix.model.documents import to_json
from scripts import _bench_commands, _bench_fleet, _bench_install, _bench_peers
from scripts._bench_base import Options, Row, Rows, Skip, has_torch

# Every part; another one is one line.
PARTS: dict[str, Callable[[Options], Rows]] = {
    "start": _bench_commands.start,
    "diagnose": _bench_commands.diagnose,
    "torch": _bench_commands.torch,
    "plan": _bench_commands.plan,
    "plans": _bench_commands.plans,
    "judge": _bench_commands.judge,
    "explain": _bench_commands.explain,
    "install": _bench_install.install,
    "lock": _bench_install.lock,
    "fleet": _bench_fleet.fleet,
    "peers": _bench_peers.peers,
}
SYSTEM_PYTHON = "/usr/bin/python3"
HEAD = ("what", "envfix", "best", "processors", "compared with", "theirs", "ratio", "bar", "kept", "their answer")


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the bench: when, on what machine, and what came of it; ``load`` is before and after."""

    date: str
    version: str
    machine: str
    load: tuple[float, float]
    runs: int
    rows: tuple[Row, ...]
    skipped: tuple[Skip, ...]


def run(parts: Sequence[str], options: Options) -> Bench:
    """Measure these parts, telling each row on standard error as it comes."""
    load = os.getloadavg()[0]
    rows: list[Row] = []
    skipped: list[Skip] = []
    for part in parts:
        for one in PARTS[part](options):
            if isinstance(one, Skip):
                skipped.append(one)
                print(f"{part}: left out: {one.reason}", file=sys.stderr, flush=True)
            else:
                rows.append(one)
                print(f"{part}: {' | '.join(cells(one))}", file=sys.stderr, flush=True)
    return Bench(
        date=dt.datetime.now(dt.timezone.utc).date().isoformat(),
        version=__version__,
        machine=_machine(),
        load=(round(load, 1), round(os.getloadavg()[0], 1)),
        runs=options.runs,
        rows=tuple(rows),
        skipped=tuple(skipped),
    )


def markdown(bench: Bench) -> str:
    """The table, to be pasted into a README."""
    how = f"medians of {bench.runs} interleaved runs, load {bench.load[0]} before and {bench.load[1]} after"
    lines = [
        f"envfix {bench.version}, {bench.date}, {bench.machine}; {how}.",
        "",
        _line(HEAD),
        _line(["---"] * len(HEAD)),
        *(_line(cells(row)) for row in bench.rows),
    ]
    if bench.skipped:
        lines += ["", "Left out:", "", *(f"- {one.part}: {one.reason}" for one in bench.skipped)]
    return "\n".join(lines) + "\n"


def cells(row: Row) -> list[str]:
    """One line of the table."""
    return [
        row.what,
        _value(row.ours, row.unit),
        _value(row.best, row.unit),
        _value(row.cpu, "s"),
        row.against or "",
        _value(row.theirs, row.unit),
        "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.4f}",
        "" if row.bar is None else row.bar.text(row.unit),
        row.met or "",
        "" if row.answer is None else f"{_RIGHT[row.right]}{row.answer}",
    ]


_RIGHT = {True: "right: ", False: "wrong: ", None: ""}


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = 0 if value >= 100 else 1 if unit != "s" else 2 if value >= 10 else 3 if value >= 0.01 else 6
    return f"{value:.{digits}f} {unit}"


def _line(values: Sequence[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|").replace("\n", " ") for value in values) + " |"


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    python = platform.python_version()
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, Python {python}"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", metavar="PART", nargs="*", help=f"default: all of {', '.join(PARTS)}")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--online", action="store_true")
    parser.add_argument("--markdown", type=Path, help="also write the table there (it is printed anyway)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--torch-python", default=SYSTEM_PYTHON, help="an interpreter with a real torch")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch_python = arguments.torch_python if has_torch(arguments.torch_python) else None
    options = Options(runs=arguments.runs, online=arguments.online, torch_python=torch_python)
    bench = run(arguments.parts or list(PARTS), options)
    print(markdown(bench), end="")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(bench), encoding="utf-8")
    if arguments.json:
        rows = [{**msgspec.to_builtins(row), "ratio": row.ratio, "met": row.met} for row in bench.rows]
        document = {"schema": "envfix.bench/1", **msgspec.to_builtins(bench), "rows": rows}
        arguments.json.write_text(to_json(document) + "\n", encoding="utf-8")
    sys.exit(1 if any(row.met == "no" for row in bench.rows) else 0)


if __name__ == "__main__":
    main()
