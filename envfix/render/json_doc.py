"""The JSON documents that users' scripts read: schema name and number first in each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from envfix.model.documents import to_builtins, to_json
from envfix.model.explanation import Explanation
from envfix.model.fit import Fit
from envfix.model.fleet import FleetCards, FleetLocking, FleetPlan, FleetReport, FleetVerified, NodeCards, NodeVerified
from envfix.model.gpu_use import CardUse, GpuUse
from envfix.model.lock import LockCheck, Locking
from envfix.model.outcome import Installation, Rung, Undone, Verification
from envfix.model.plan import Plan
from envfix.model.report import CausePage, Report, WheelRow
from envfix.model.reporter import NullReporter, Reporter
from envfix.render.progress import JsonLinesReporter, NotesReporter


class JsonOutput:
    """Writes exactly one JSON document to standard output (implements ``Output``)."""

    def __init__(self, *, progress: bool = False, quiet: bool = False) -> None:
        self._reporter: Reporter = NullReporter() if quiet else JsonLinesReporter() if progress else NotesReporter()

    @property
    def reporter(self) -> Reporter:
        """Scripts get progress only where they ask for it, as JSON lines on standard error; what matters is told there."""
        return self._reporter

    def diagnosis(self, report: Report) -> None:
        """``envfix.diagnose/1``."""
        facts = {
            "machine": report.machine,
            "environment": report.environment,
            "indexes": report.indexes,
            "origin": report.origin,
        }
        rows = [_finding(row) for row in to_builtins(report.diagnosis.findings)]
        self._write(
            "envfix.diagnose/1",
            {
                "verdict": report.diagnosis.verdict,
                "facts": facts,
                "findings": rows,
                "skipped": report.diagnosis.skipped,
                "afterwards": _afterwards(report),
            },
        )

    def shared(self, text: str) -> None:
        """Scripts name a file."""

    def fleet(self, report: FleetReport) -> None:
        """``envfix.fleet/1``."""
        fields: dict[str, Any] = to_builtins(report)
        for group in fields["groups"]:
            group["findings"] = [_finding(row) for row in group["findings"]]
        for row, difference in zip(fields["differences"], report.differences, strict=True):
            row["matters"] = difference.matters
        self._write("envfix.fleet/1", fields)

    def fleet_plan(self, plan: FleetPlan) -> None:
        """``envfix.fleet-plan/1``."""
        stacks = [{**to_builtins(stack), "plan": plan_fields(stack.plan)} for stack in plan.stacks]
        status = "ok" if plan.complete else "conflict"
        fields = {"status": status, **to_builtins(plan), "stacks": stacks}
        self._write("envfix.fleet-plan/1", fields)

    def fleet_locked(self, locking: FleetLocking) -> None:
        """``envfix.fleet-lock/1``."""
        locks = [
            {
                "nodes": one.nodes,
                "count": one.count,
                "lock": None if one.locking is None else _locked(one.locking),
                "plan": None if one.plan is None else plan_fields(one.plan),
            }
            for one in locking.locks
        ]
        rest = {"stuck": to_builtins(locking.stuck), "unreached": to_builtins(locking.unreached)}
        self._write("envfix.fleet-lock/1", {"locks": locks, **rest})

    def fleet_playbook(self, path: str, folder: str) -> None:
        """``envfix.fleet-playbook/1``."""
        self._write("envfix.fleet-playbook/1", {"file": path, "folder": folder})

    def fleet_gpus(self, cards: FleetCards) -> None:
        """``envfix.fleet-gpus/1``."""
        nodes = [_node_cards(node) for node in cards.nodes]
        best = None
        if cards.best is not None:
            card = cards.best.card.card
            best = {"node": cards.best.node, "index": card.index, "uuid": card.uuid, "memory_free": card.memory_free}
        fields = {"origin": cards.origin, "nodes": nodes, "best": best, "unreached": to_builtins(cards.unreached)}
        self._write("envfix.fleet-gpus/1", fields)

    def fleet_node(self, node: NodeVerified) -> None:
        """Scripts read it in the document."""

    def fleet_verified(self, verified: FleetVerified) -> None:
        """``envfix.fleet-verify/1``."""
        self._write("envfix.fleet-verify/1", to_builtins(verified))

    def explanation(self, explanation: Explanation) -> None:
        """``envfix.explain/1``."""
        fields = to_builtins(explanation)
        del fields["cards"]
        fields["causes"] = [_finding(row) for row in fields["causes"]]
        self._write("envfix.explain/1", fields)

    def gpus(self, use: GpuUse) -> None:
        """``envfix.gpus/1``."""
        best = None if use.best is None else {"index": use.best.card.index, "export": " ".join(use.export)}
        fields = {"notes": use.notes, "problem": use.problem, "origin": use.origin}
        self._write("envfix.gpus/1", {"gpus": [_card(one) for one in use.cards], "best": best, **fields})

    def watch_gpus(self, uses: Iterator[GpuUse]) -> None:
        """Scripts ask again themselves."""

    def fit(self, fit: Fit) -> None:
        """``envfix.fit/1``."""
        self._write("envfix.fit/1", to_builtins(fit))

    def plan(self, plan: Plan) -> None:
        """``envfix.plan/1``."""
        self._write("envfix.plan/1", plan_fields(plan))

    def confirm(self, question: str) -> bool:
        """A script answers with ``--yes`` or not at all."""
        del question
        return False

    def rung(self, rung: Rung) -> None:
        """Scripts read the whole ladder at the end."""

    def verification(self, verification: Verification) -> None:
        """``envfix.verify/1``."""
        self._write("envfix.verify/1", to_builtins(verification))

    def installation(self, plan: Plan, installation: Installation) -> None:
        """``envfix.install/1``: the plan that was carried out, and what came of it."""
        self._write("envfix.install/1", {"plan": plan_fields(plan), **to_builtins(installation)})

    def locked(self, locking: Locking) -> None:
        """``envfix.lock/1``: needs, packages, files; the text stands here where no file was written."""
        self._write("envfix.lock/1", _locked(locking))

    def lock_check(self, check: LockCheck) -> None:
        """``envfix.lock-check/1``."""
        self._write("envfix.lock-check/1", to_builtins(check))

    def undone(self, undone: Undone) -> None:
        """``envfix.undo/1``."""
        self._write("envfix.undo/1", to_builtins(undone))

    def saved(self, path: str) -> None:
        """``envfix.snapshot-saved/1``."""
        self._write("envfix.snapshot-saved/1", {"file": path})

    def wheels(self, rows: Sequence[WheelRow]) -> None:
        """``envfix.wheels/1``."""
        self._write("envfix.wheels/1", {"wheels": to_builtins(rows)})

    def causes(self, pages: Sequence[CausePage], *, page: bool) -> None:
        """``envfix.causes/1``."""
        del page
        self._write("envfix.causes/1", {"causes": to_builtins(pages)})

    def _write(self, schema: str, fields: dict[str, Any]) -> None:
        # JSON is UTF-8, whatever the terminal speaks.
        sys.stdout.buffer.write((to_json({"schema": schema, **fields}) + "\n").encode())


def plan_fields(plan: Plan) -> dict[str, Any]:
    """A plan in the fields of the contract; absent answers are null, never missing."""
    fields: dict[str, Any] = to_builtins(plan)
    del fields["pages"]
    for name in ("choice", "nearest"):
        if fields[name] is not None:
            fields[name] = {"torchvision": None, "torchaudio": None, "index_url": None, **fields[name]}
    return fields


def _locked(locking: Locking) -> dict[str, Any]:
    files = [
        {"format": one.format, "path": one.path, **({"text": one.text} if one.path is None else {})}
        for one in locking.files
    ]
    changed = None
    if locking.changed is not None:
        changed = [{"name": name, "old": old, "new": new} for name, old, new in locking.changed]
    lock = to_builtins(locking.lock)
    told = {"files": files, "left_out": locking.left_out, "changed": changed, "notes": locking.notes}
    return {**lock, **told}


def _card(use: CardUse) -> dict[str, Any]:
    """A card in the fields of the contract; what the driver does not tell is null."""
    card = use.card
    unknown = {"user": None, "command": None, "memory": None, "since": None, "own": None}
    return {
        "index": card.index,
        "uuid": card.uuid,
        "name": card.name,
        "compute_capability": str(card.capability) if card.capability else None,
        "memory_total": card.memory_total,
        "memory_free": card.memory_free,
        "yours": use.yours,
        "others": use.others,
        "processes": [{**unknown, **to_builtins(process)} for process in card.processes],
        "usable": use.obstacle is None,
        "obstacle": use.obstacle,
        **({"fields": to_builtins(use.fields)} if use.fields else {}),
    }


def _node_cards(node: NodeCards) -> dict[str, Any]:
    return {"node": node.node, "problem": node.problem, "gpus": [_card(card) for card in node.cards]}


def _afterwards(report: Report) -> dict[str, Any] | None:
    if report.afterwards is None:
        return None
    plan = plan_fields(report.afterwards.plan)
    kept = ("status", "choice", "reasons", "blocked_by", "nearest", "ways_out")
    rows = [_finding(row) for row in to_builtins(report.afterwards.findings)]
    return {**{name: plan[name] for name in kept}, "findings": rows}


def _finding(row: dict[str, Any]) -> dict[str, Any]:
    remedies = [{"commands": [], "safe": True, **remedy} for remedy in row.get("remedies", [])]
    return {"because": [], **row, "remedies": remedies}
