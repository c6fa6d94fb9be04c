"""The patterns of all rules: RE2 takes them, they are written as the reader expects, and none is lost on the way."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from envfix import explaining
from envfix.logs.patterns import candidates, compiled, expanded
from envfix.report_reader import statements
from envfix.rules._log import LogSide, patterns
from envfix.rules._rule import Rule, all_rules
from tests.test_explain_samples import CASES

RULES = tuple(rule for rule in all_rules() if rule.log is not None)
PATTERNS = tuple(dict.fromkeys((*patterns(RULES)[0], *patterns(RULES)[1], *statements.PATTERNS)))


def side(rule: Rule) -> LogSide:
    assert rule.log is not None
    return rule.log


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_is_one_that_re2_takes(pattern: str) -> None:
    compiled(expanded(pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_blank_is_never_repeated_nor_in_a_set(pattern: str) -> None:
    plain = re.sub(r"\\.", "x", pattern)
    assert not re.search(r" [?*+{]", plain), "a blank stands for any white space already"
    assert not re.search(r"\[[^\]]* [^\]]*\]", plain), "write \\x20 in a set"
    assert not re.search(r"(?<!\[)\^", plain), "logs have no line of their own for a message"


def test_every_sign_of_the_catalogue_is_looked_for() -> None:
    causes = {rule.cause for rule in all_rules()}
    without = causes - {rule.cause for rule in RULES}
    assert without == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_log_side_is_complete(rule: Rule) -> None:
    log = side(rule)
    assert log.signatures
    assert callable(log.remedies) or log.remedies, "what mends it"
    assert all(0 <= signature.confidence <= 1 for signature in log.signatures)
    sentences = () if callable(log.message) else (log.message,) if isinstance(log.message, str) else log.message
    assert all(sentence.endswith((".", "?")) for sentence in sentences)
    looked_for = [each for one in log.signatures for each in (one.pattern, *one.beside, *one.looks_at)]
    known = {name for pattern in looked_for for name in compiled(expanded(pattern)).groupindex}
    for sentence in sentences:
        named = set(re.findall(r"\{(\w+)\}", sentence))
        assert named <= {name.decode() if isinstance(name, bytes) else name for name in known}
    last = sentences[-1] if sentences else ""
    assert "{" not in last, "the last sentence is for a log that names nothing"


def test_words_that_a_pattern_needs_never_hide_it() -> None:
    """Looking for all patterns at once finds at least what each of them finds alone."""
    together = candidates(tuple(expanded(pattern) for pattern in PATTERNS))
    for case in CASES:
        text = case["symptom"].encode()
        alone = {number for number, pattern in enumerate(PATTERNS) if compiled(expanded(pattern)).search(text)}
        assert alone - together.anywhere <= set(together.of(text)), case["id"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_sample_is_found_in_the_middle_of_a_long_log(case: dict[str, Any]) -> None:
    noise = b"".join(
        b"2024-01-01 00:00:00,%03d INFO step %d loss 0.1\n" % (number % 1000, number) for number in range(3000)
    )
    text = case["symptom"].encode()
    short = explaining.read(io.BytesIO(text))
    long = explaining.read(io.BytesIO(noise + text + b"\n" + noise))
    assert short.hits.keys() <= long.hits.keys()


def test_manual_pages_of_the_catalogue_are_what_the_folder_holds() -> None:
    folder = Path(explaining.__file__).parent / "rules"
    assert len(all_rules()) == sum(1 for path in folder.glob("[a-z]*.py"))
