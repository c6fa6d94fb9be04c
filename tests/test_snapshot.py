"""A machine in a file: whatever is in it, it is read or refused, never half believed."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envfix import snapshots
from envfix.app.diagnosing import diagnose
from envfix.errors import SnapshotError
from envfix.model.documents import to_json
from envfix.model.report import Report
from envfix.render import facts_table
from envfix.snapshots import Snapshot
from envfix.tables.loader import Tables
from tests.test_machines import FOLDER

TEXT = (FOLDER / "seed-lab-server" / "snapshot.json").read_text(encoding="utf-8")
CONTENT: dict[str, Any] = json.loads(TEXT)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.just([]),
    st.just({}),
    st.just(["x"]),
    st.just({"x": 1}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


PLACES = [place for place in places(CONTENT) if place[0] != "transcript" or len(place) < 3]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(PLACES), value=ANYTHING, remove=st.booleans())
def test_damage_anywhere_is_refused_or_diagnosed_and_shown(
    tables: Tables,
    place: tuple[Any, ...],
    value: Any,
    remove: bool,  # noqa: FBT001
) -> None:
    content = copy.deepcopy(CONTENT)
    parent = content
    for step in place[:-1]:
        parent = parent[step]
    if remove:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    saved = read_or_refuse(json.dumps(content))
    if saved is None:
        return
    diagnosis = diagnose(saved.machine, saved.environment, tables)
    for row in diagnosis.skipped:
        assert "TypeError" not in row.reason, "what passed the reading has the right type"
    report = Report(machine=saved.machine, environment=saved.environment, diagnosis=diagnosis, origin="damaged.json")
    assert list(facts_table.rows(report, verbose=True))
    assert to_json(report)


def read_or_refuse(text: str) -> Snapshot | None:
    """The snapshot, or None where it was refused with its name and the right exit code."""
    refusal = None
    try:
        return snapshots.read(text, "damaged.json")
    except SnapshotError as error:
        refusal = error
    assert "damaged.json" in refusal.message
    assert refusal.exit_code == 3
    return None


@given(text=st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    assert read_or_refuse(text) is None


def test_fields_of_a_later_envfix_are_ignored() -> None:
    later = {**CONTENT, "mood": "good"}
    assert snapshots.read(json.dumps(later), "x.json") == snapshots.read(TEXT, "x.json")


def test_snapshot_says_who_wrote_it_and_how_it_was_asked() -> None:
    saved = snapshots.read(TEXT, "x.json")
    assert (saved.target, saved.with_import) == ("~/.conda/envs/yolov8_env", False)
    assert saved.envfix
    assert next(iter(CONTENT)) == "schema"
