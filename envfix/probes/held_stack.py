"""The stack that envfix has put into the target and that is to stay: its constraints file."""

from __future__ import annotations

from packaging.requirements import InvalidRequirement, Requirement

from envfix.host.target import Answer
from envfix.model.facts import NOT_RECORDED, Observed, absent, found, unknown
from envfix.model.language import stated

SOURCE = stated("envfix-constraints.txt of the target")


def parse_constraints(text: str) -> tuple[str, ...]:
    """The pins and bounds of a constraints file, one requirement each; a line that is none is left out.

    The lines ``# torch 1.9.0 ...``, ``torch==1.9.0+cu111`` and ``numpy<2`` give ``("torch==1.9.0+cu111", "numpy<2")``.
    """
    return tuple(line for line in (raw.partition("#")[0].strip() for raw in text.splitlines()) if _is_requirement(line))


def probe(answer: Answer) -> Observed[tuple[str, ...]]:
    """What holds the stack in place; absent where envfix has installed nothing."""
    if answer.facts is None:
        return unknown(SOURCE, answer.problem or stated("no answer"))
    if "held" not in answer.facts:
        return NOT_RECORDED
    text = answer.facts["held"]
    return found(parse_constraints(text), SOURCE) if isinstance(text, str) else absent(SOURCE)


def _is_requirement(line: str) -> bool:
    try:
        Requirement(line)
    except InvalidRequirement:
        return False
    return True
