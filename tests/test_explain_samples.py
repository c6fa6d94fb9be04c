"""Samples of what programs print, one file a cause: each is explained by its own cause first.

The samples are our own: put together from what the programs print, as their sources and documentation tell it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from envfix.rules._rule import all_rules
from envfix.tables.loader import Tables
from scripts.confusion import explained


def _content(file: Path) -> dict[str, Any]:
    import yaml

    content: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return content


FILES = sorted((Path(__file__).resolve().parent / "logs").glob("*.yaml"))
CONTENT = [(file, _content(file)) for file in FILES]
CASES = [case for _, content in CONTENT for case in content.get("cases", ())]
INNOCENT = [text for _, content in CONTENT for text in content.get("texts", ())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_sample_is_explained_by_its_cause(case: dict[str, Any], tables: Tables) -> None:
    said = [cause.cause for cause in explained(case, tables, with_facts=True).causes]
    assert said[:1] == [case["cause"]] or said[0] in case.get("also_acceptable", ()), said


@pytest.mark.parametrize("text", INNOCENT, ids=lambda text: text["id"])
def test_innocent_text_raises_no_alarm(text: dict[str, str], tables: Tables) -> None:
    said = explained({"symptom": text["text"]}, tables, with_facts=False).causes
    assert [(cause.cause, cause.because) for cause in said] == []


def test_every_cause_has_a_sample() -> None:
    with_texts = {rule.cause for rule in all_rules() if rule.log is not None}
    assert with_texts <= {case["cause"] for case in CASES}


def test_sample_files_are_named_by_their_cause() -> None:
    for file, content in CONTENT:
        assert {case["cause"] for case in content.get("cases", ())} <= {file.stem}
