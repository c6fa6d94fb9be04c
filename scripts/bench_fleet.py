"""How long `envfix fleet diagnose --from FOLDER` takes for many nodes, and how much memory: made from the recorded machines.

Each node is one of `tests/machines` with numbers of its own (free memory, serial ids), so that no two snapshots are equal;
in the last row each is one of twelve files, as where a cluster is installed from one image.
"""

from __future__ import annotations

import os
import re
import subprocess  # noqa: TID251 - envfix is started as a user starts it
import sys
import tempfile
import time
from pathlib import Path

MACHINES = Path(__file__).resolve().parent.parent / "tests" / "machines"
SIZES = (500, 1000, 5000)
_NUMBER = re.compile(r'("(?:memory_available|memory_free|free)": )(\d+)')
_SERIAL = re.compile(r"(?:GPU|MIG)-0000")


def write(folder: Path, count: int, *, equal: bool) -> None:
    """So many snapshots, gpu0001.json and on."""
    bases = [path.read_text(encoding="utf-8") for path in sorted(MACHINES.glob("*/snapshot.json"))]
    for number in range(count):
        text = bases[number % len(bases)]
        if not equal:
            # Upwards: what is nearly full must stay so for the same reason on every node.
            text = _NUMBER.sub(lambda match, by=number: f"{match[1]}{int(match[2]) + by}", text)
            text = _SERIAL.sub(f"GPU-{number:04x}", text)
        (folder / f"gpu{number:04d}.json").write_text(text, encoding="utf-8")


def measured(folder: Path, *options: str) -> tuple[float, float, int]:
    """Seconds, seconds of processor, and peak memory in bytes."""
    argv = [sys.executable, "-m", "envfix", "fleet", "diagnose", "--from", str(folder), "-q", *options]
    started = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None  # noqa: S101
    process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"{' '.join(argv)} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    """Print the table."""
    print("| snapshots | all different | text (s) | of processor (s) | JSON (s) | peak memory (MB) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for size, equal in (*((size, False) for size in SIZES), (SIZES[-1], True)):
        with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
            write(Path(name), size, equal=equal)
            seconds, processor, memory = measured(Path(name))
            as_json, _, _ = measured(Path(name), "--json")
            row = f"{seconds:.1f} | {processor:.1f} | {as_json:.1f} | {memory / 1e6:.0f}"
            print(f"| {size} | {'no' if equal else 'yes'} | {row} |", flush=True)
