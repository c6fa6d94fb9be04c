"""Which causes are taken for which: ``python -m scripts.confusion [FOLDER ...]`` over folders of described failures (YAML).

Each file holds ``cases``: a list of mappings with ``cause``, ``symptom``, ``also_acceptable`` and ``environment``; files of
``texts`` must raise no alarm. Default: the samples of the tests. ``--facts`` joins each case with the facts that it states,
``-v`` prints the wrong ones whole.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from envfix import explaining
from envfix.model.explanation import Explanation
from envfix.tables.loader import Tables, load

SAMPLES = Path(__file__).resolve().parent.parent / "tests" / "logs"


def explained(case: dict[str, Any], tables: Tables, *, with_facts: bool) -> Explanation:
    """What envfix says of one described failure."""
    log = explaining.read(io.BytesIO(case["symptom"].encode()))
    if with_facts and case.get("environment"):
        from tests.described_facts import described

        machine, environment = described(case["environment"], tables, case.get("collect_env"))
        return explaining.joined(log, machine, environment, tables, facts="file")
    return explaining.alone(log, tables)


class Tally:
    """What was right, what was taken for what, and how sure envfix was of it."""

    def __init__(self) -> None:
        self.confused: Counter[tuple[str, str]] = Counter()
        self.bins: dict[int, list[bool]] = {}
        self.right = self.among = self.total = self.alarms = self.innocents = 0

    def case(self, case: dict[str, Any], said: Explanation, *, verbose: bool) -> None:
        """Count one described failure."""
        names, good = [one.cause for one in said.causes], {case["cause"], *(case.get("also_acceptable") or ())}
        first = names[0] if names else "(nothing)"
        self.total += 1
        self.right += first in good
        self.among += bool(good & set(names))
        if names:
            self.bins.setdefault(int(said.causes[0].confidence * 10), []).append(first in good)
        if first in good:
            return
        self.confused[case["cause"], first] += 1
        rest = [(one.cause, one.confidence) for one in said.causes[:4]]
        print(f"WRONG {case.get('id')}: {rest}  [{case.get('decidable_from', 'log')}]")
        if verbose:
            print("    " + case["symptom"].strip().replace("\n", "\n    "))

    def innocent(self, name: str, said: Explanation) -> None:
        """Count one text that must raise no alarm."""
        self.innocents += 1
        self.alarms += bool(said.causes)
        for one in said.causes:
            print(f"ALARM {name}: {one.cause} {one.confidence} {[line.value[:150] for line in one.because]}")

    def show(self) -> None:
        """Print the table."""
        for (cause, first), count in sorted(self.confused.items()):
            print(f"{count:3}  {cause} taken for {first}")
        for tenth, answers in sorted(self.bins.items()):
            print(f"confidence {tenth / 10:.1f}-{tenth / 10 + 0.1:.1f}: {sum(answers)} of {len(answers)} right")
        print(
            f"{self.right} of {self.total} right first, {self.among} among the answers;"
            f" {self.alarms} false alarms in {self.innocents} innocent texts"
        )


def main() -> int:
    """Print the table of confusions and the shares of right answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[SAMPLES])
    parser.add_argument("--facts", action="store_true")
    parser.add_argument("--cause", default="")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    tables, tally = load(), Tally()
    for file in sorted(path for folder in options.folders for path in folder.glob("*.yaml")):
        content = yaml.safe_load(file.read_text("utf-8")) or {}
        for text in content.get("texts", ()):
            tally.innocent(f"{file.stem} {text['id']}", explained({"symptom": text["text"]}, tables, with_facts=False))
        for case in content.get("cases", ()):
            if options.cause in case["cause"]:
                said = explained(case, tables, with_facts=options.facts)
                tally.case(case, said, verbose=options.verbose)
    tally.show()
    return 0 if tally.right == tally.total and not tally.alarms else 1


if __name__ == "__main__":
    sys.exit(main())
