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

from envfix.app.explaining import explain, read
from envfix.model.explanation import Explanation
from envfix.report_reader import statements
from envfix.tables.loader import Tables, load

SAMPLES = Path(__file__).resolve().parent.parent / "tests" / "logs"


def explained(case: dict[str, Any], tables: Tables, *, with_facts: bool) -> Explanation:
    """What envfix says of one described failure."""
    log = read(io.BytesIO(case["symptom"].encode()))
    if with_facts and case.get("environment"):
        from tests.described_facts import described

        machine, environment = described(case["environment"], tables, case.get("collect_env"))
        return explain(log, machine, environment, tables, facts="file")
    stated = statements.read(log, tables)
    return explain(log, stated.machine, stated.environment, tables, facts="log" if stated.told else "none")


def main() -> int:
    """Print the table of confusions and the shares of right answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path, default=[SAMPLES])
    parser.add_argument("--facts", action="store_true")
    parser.add_argument("--cause", default="")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    tables = load()
    confused: Counter[tuple[str, str]] = Counter()
    bins: dict[int, list[bool]] = {}
    right = among = total = alarms = innocents = 0
    for file in sorted(path for folder in options.folders for path in folder.glob("*.yaml")):
        content = yaml.safe_load(file.read_text("utf-8")) or {}
        for text in content.get("texts", ()):
            said = explained({"symptom": text["text"]}, tables, with_facts=False)
            innocents += 1
            loud = [f"{one.cause} {one.confidence} {[e.value[:150] for e in one.because]}" for one in said.causes]
            alarms += bool(loud)
            if loud:
                print(f"ALARM {file.stem} {text['id']}: {loud}")
        for case in content.get("cases", ()):
            if options.cause not in case["cause"]:
                continue
            said = explained(case, tables, with_facts=options.facts)
            names, good = [one.cause for one in said.causes], {case["cause"], *(case.get("also_acceptable") or ())}
            first = names[0] if names else "(nothing)"
            total += 1
            right += first in good
            among += bool(good & set(names))
            if names:
                bins.setdefault(int(said.causes[0].confidence * 10), []).append(first in good)
            if first not in good:
                confused[case["cause"], first] += 1
                rest = [(one.cause, one.confidence) for one in said.causes[:4]]
                print(f"WRONG {case.get('id')}: {rest}  [{case.get('decidable_from', 'log')}]")
                if options.verbose:
                    print("    " + case["symptom"].strip().replace("\n", "\n    "))
    for (cause, first), count in sorted(confused.items()):
        print(f"{count:3}  {cause} taken for {first}")
    for tenth, answers in sorted(bins.items()):
        print(f"confidence {tenth / 10:.1f}-{tenth / 10 + 0.1:.1f}: {sum(answers)} of {len(answers)} right")
    print(
        f"{right} of {total} right first, {among} among the answers; {alarms} false alarms in {innocents} innocent texts"
    )
    return 0 if right == total and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
