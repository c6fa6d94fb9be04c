"""The catalogue of causes as a file: fresh, whole, and readable as Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envfix.rules._rule import all_rules
from scripts import catalogue

TEXT = catalogue.text()


def test_file_is_what_the_rules_say() -> None:
    assert catalogue.FILE.read_text(encoding="utf-8") == TEXT, "run `python -m scripts.catalogue`"


def test_every_cause_has_its_page_and_its_link() -> None:
    pages = re.findall(r"^### (\w+) (\w+)$", TEXT, re.MULTILINE)
    links = re.findall(r"^- \[.*?\]\(#(\S+)\): ", TEXT, re.MULTILINE)
    assert sorted(pages) == sorted((rule.code, rule.cause) for rule in all_rules())
    assert links == [f"{code.lower()}-{cause}" for code, cause in pages]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("``pip install <x>`` brings *one*", r"`pip install <x>` brings \*one\*"),
        ("version `GLIBC_2.32' not found", r"version \`GLIBC_2.32' not found"),
        ('"<html", _ZN3c10, libcudnn_', r'"&lt;html", \_ZN3c10, libcudnn\_'),
        (r"[WinError 126] C:\torch", r"\[WinError 126\] C:\\torch"),
    ],
)
def test_message_is_not_taken_for_markup(line: str, expected: str) -> None:
    assert catalogue._prose(line) == expected


def test_file_that_is_not_fresh_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["catalogue", "--check"])
    catalogue.main()
    monkeypatch.setattr(catalogue, "FILE", tmp_path / "CATALOGUE.md")
    with pytest.raises(SystemExit, match="is not what the rules say"):
        catalogue.main()
