"""What judging, folding and drawing a whole cluster takes: snapshots made from the recorded machines.

Each node is one of `tests/machines` with numbers of its own (free memory, serial ids), so that no two snapshots are equal;
in the last row each is one of twelve files, as where a cluster is installed from one image.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from scripts._bench_base import Bar, Options, Rows, checked, compared, envfix, memory, plain_environment
from tests.fakes.running import CHECKOUT

MACHINES = Path(CHECKOUT) / "tests" / "machines"
MOST = 5000
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


def fleet(options: Options) -> Rows:
    """``fleet diagnose --from FOLDER``; more nodes must not take more memory."""
    runs = max(1, min(options.runs, 2))
    for count, equal in ((MOST // 10, False), (MOST, False), (MOST, True)):
        with tempfile.TemporaryDirectory(prefix="envfix-bench-") as name:
            folder = Path(name) / "nodes"
            folder.mkdir()
            write(folder, count, equal=equal)
            env = plain_environment(Path(name))
            argv = envfix("fleet", "diagnose", "--from", str(folder), "-q")
            took = [checked(argv, codes=(0, 1), env=env) for _ in range(runs)]
            kind = "of one image" if equal else "all different"
            bar = Bar(limit=15) if count == MOST else None
            yield compared("fleet", f"{count} nodes, {kind}", took, bar=bar)
            yield compared("fleet", f"{count} nodes, {kind}: peak memory", memory(took), unit="MB")
