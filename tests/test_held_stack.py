"""The constraints file that envfix leaves in an environment, read back as a fact."""

from __future__ import annotations

from envfix.host.target import Answer
from envfix.model.facts import NOT_RECORDED
from envfix.probes.held_stack import SOURCE, parse_constraints, probe


def test_pins_and_bounds_are_read_and_what_is_none_is_left_out() -> None:
    text = "# torch 1.9.0 (cu111)\ntorch==1.9.0+cu111\n\nnumpy<2  # NumPy 1\n-r other.txt\n\x00\ud800 what\n"
    assert parse_constraints(text) == ("torch==1.9.0+cu111", "numpy<2")


def test_no_file_is_absent_and_an_older_answer_says_nothing() -> None:
    assert probe(Answer({"held": None})).is_absent
    assert probe(Answer({})) == NOT_RECORDED
    unknown = probe(Answer(None, "it hangs"))
    assert (unknown.source, unknown.problem) == (SOURCE, "it hangs")
