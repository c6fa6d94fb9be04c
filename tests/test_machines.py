"""Recorded machines, replayed: the transcript gives the facts, the facts give the judgement, the judgement gives the text.

``scripts/record_machine.py`` made them; ``--update-golden`` rewrites what is expected (read the difference before believing it).
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envfix import snapshots
from envfix._version import __version__
from envfix.app.detecting import detect
from envfix.app.diagnosing import diagnose, judge
from envfix.errors import UnrecordedCallError
from envfix.host.replay import ReplayHost
from envfix.model.documents import to_builtins, to_json
from envfix.model.finding import Diagnosis
from envfix.model.report import Report
from envfix.render.console import ConsoleOutput
from envfix.rules import _rule
from envfix.snapshots import Snapshot
from envfix.tables.loader import Tables
from tests.made_up import all_hand_made

FOLDER = Path(__file__).resolve().parent / "machines"
MACHINES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
WIDTH = 100


def snapshot(slug: str) -> Snapshot:
    path = FOLDER / slug / "snapshot.json"
    return snapshots.read(path.read_text(encoding="utf-8"), str(path))


def compare(path: Path, actual: str, request: pytest.FixtureRequest) -> None:
    """Against a file of expected text, which ``--update-golden`` rewrites."""
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(actual, encoding="utf-8")
    assert actual == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("slug", MACHINES)
def test_transcript_of_a_machine_gives_its_facts(slug: str, request: pytest.FixtureRequest) -> None:
    saved = snapshot(slug)
    machine, environment = detect(ReplayHost(saved.transcript), saved.target, with_import=saved.with_import)
    if request.config.getoption("--update-golden"):
        path = FOLDER / slug / "snapshot.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content["facts"] = {"machine": to_builtins(machine), "environment": to_builtins(environment)}
        path.write_text(to_json(content) + "\n", encoding="utf-8")
        saved = snapshot(slug)
    assert to_builtins(machine) == to_builtins(saved.machine)
    assert to_builtins(environment) == to_builtins(saved.environment)


@pytest.mark.parametrize("slug", MACHINES)
def test_facts_of_a_machine_give_its_findings(slug: str, tables: Tables, request: pytest.FixtureRequest) -> None:
    saved = snapshot(slug)
    diagnosis = diagnose(saved.machine, saved.environment, tables)
    compare(FOLDER / slug / "expected" / "findings.json", to_json(diagnosis) + "\n", request)


@pytest.mark.parametrize("slug", MACHINES)
def test_findings_of_a_machine_are_readable(slug: str, tables: Tables, request: pytest.FixtureRequest) -> None:
    text = console_text(snapshot(slug), slug, tables, WIDTH)
    assert max(len(line) for line in text.splitlines()) <= WIDTH or "export CUDA_" in text
    compare(FOLDER / slug / "expected" / "console.txt", text.replace(__version__, "VERSION"), request)


def console_text(saved: Snapshot, slug: str, tables: Tables, width: int) -> str:
    diagnosis = diagnose(saved.machine, saved.environment, tables)
    stream = io.StringIO()
    output = ConsoleOutput(color=False, stream=stream, width=width)
    output.diagnosis(Report(machine=saved.machine, environment=saved.environment, diagnosis=diagnosis, origin=slug))
    return stream.getvalue()


# What each machine is there to show, written by hand: the golden files hold the rest.
ROOTS = {
    "amd-card-python27": ("INT103", "broken"),
    "docker-without-gpus": ("CTR101", "broken"),
    "driver-470-torch-cu121": ("DRV101", "broken"),
    "driver-mismatch-needs-reboot": ("DRV102", "broken"),
    "gtx1080ti-torch-cu128": ("GPU103", "broken"),
    "module-not-loaded": ("DRV103", "broken"),
    "pyenv-shim": ("INT102", "broken"),
    "rtx3090-without-driver-cpu-torch": ("DRV103", "broken"),
    "rtx5090-torch-cu118": ("GPU102", "broken"),
    "seed-lab-server": ("MEM102", "degraded"),
    "seed-wrong-interpreter": ("INT101", "broken"),
    "debian12-container-cpu": ("GPU101", "healthy"),
}


@pytest.mark.parametrize("slug", MACHINES)
def test_first_finding_is_the_root(slug: str, tables: Tables) -> None:
    saved = snapshot(slug)
    diagnosis = diagnose(saved.machine, saved.environment, tables)
    assert (diagnosis.findings[0].code, diagnosis.verdict) == ROOTS[slug]
    assert diagnosis.findings[0].follows_from is None


def test_every_rule_fires_somewhere_and_is_silent_elsewhere(tables: Tables) -> None:
    """On a recorded machine, or on the facts that tests/test_rules.py makes up for it."""
    fired: set[str] = set()
    silent: set[str] = set()
    facts = [(saved.machine, saved.environment) for saved in map(snapshot, MACHINES)]
    facts += [(machine, environment) for machine, environment, _ in all_hand_made().values()]
    for machine, environment in facts:
        for verdict in judge(machine, environment, tables):
            assert verdict.status != "crashed", verdict.reason
            if verdict.status == "found":
                fired.add(verdict.code)
            elif verdict.status == "passed":
                silent.add(verdict.code)
    codes = {rule.code for rule in _rule.all_rules() if rule.check is not None}
    assert codes - fired == set(), "rules that no machine and no made-up fact makes fire"
    assert codes - silent == set(), "rules that are never silent"


@pytest.mark.parametrize("slug", MACHINES)
def test_recording_names_nobody_and_no_place_of_its_making(slug: str) -> None:
    text = (FOLDER / slug / "snapshot.json").read_text(encoding="utf-8")
    # Addresses, home folders, temporary folders, serial ids other than stand-ins.
    assert not re.search(
        r"https?://(?!\w+\.(?:debian|ubuntu)\.)|/home/|/root/|/tmp/|(?<!~/)\.pyenv/versions|/pytest-", text
    )
    assert not re.search(r"GPU-(?!0000)[0-9a-f]{8}", text)
    assert "root" not in json.loads(text)["facts"]["machine"]["variables"].values()


def test_question_that_was_not_recorded_is_an_error_not_an_empty_answer() -> None:
    saved = snapshot("debian12-container-cpu")
    without = [call for call in saved.transcript if call["ask"] != ["read_text", "/etc/os-release"]]
    with pytest.raises(UnrecordedCallError, match="os-release"):
        detect(ReplayHost(without), saved.target, with_import=False)
    with pytest.raises(UnrecordedCallError):
        detect(ReplayHost(saved.transcript), "/another/python", with_import=False)


@pytest.mark.parametrize("slug", MACHINES)
def test_snapshot_survives_a_round_trip(slug: str) -> None:
    saved = snapshot(slug)
    assert snapshots.read(to_json({"schema": snapshots.SCHEMA, **facts_of(saved)}), slug) == saved


def facts_of(saved: Snapshot) -> dict[str, Any]:
    fields: dict[str, Any] = to_builtins(saved)
    return {**fields, "facts": {"machine": fields.pop("machine"), "environment": fields.pop("environment")}}


@pytest.mark.parametrize("slug", MACHINES)
def test_expected_findings_are_valid_findings(slug: str) -> None:
    """A golden file that was edited by hand is still what the program could say."""
    text = (FOLDER / slug / "expected" / "findings.json").read_bytes()
    assert json.loads(to_json(msgspec.json.decode(text, type=Diagnosis))) == json.loads(text)
