"""Runs one of the ``target/`` scripts and finds its answer between whatever else was printed."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from envfix.host.interface import CommandResult, ProbeHost
from envfix.model.language import say, stated

# Fixed, so that a recorded machine can be replayed; it only has to be something that nobody else prints.
COOKIE = "envfix-5d1f0c7ab2e94d36"


class Said(msgspec.Struct, frozen=True):
    """A sentence of a script in the target, which speaks English only: what the catalogues know, and what is filled in."""

    sentence: str
    values: dict[str, str | Said] = {}


def told(words: str | Said) -> str:
    """The sentence in the chosen language; the words of a library as they are."""
    if isinstance(words, str):
        return words
    return say(words.sentence, **{name: told(value) for name, value in words.values.items()})


class Answer:
    """The facts a script printed, or why there are none."""

    def __init__(self, facts: dict[str, Any] | None, problem: str | None = None, *, too_old: str | None = None) -> None:
        self.facts = facts
        self.problem = problem
        self.too_old = too_old


def ask(host: ProbeHost, python: str | None, script: str, *arguments: str, timeout: float) -> Answer:
    """Run ``script`` with ``python`` (None: envfix's own) and read its answer; never raises for a bad target."""
    return read_answer(host.run_script(python, script, (COOKIE, *arguments), timeout=timeout), timeout)


def read_answer(result: CommandResult, timeout: float) -> Answer:
    """The JSON between the two cookies, or the reason in words."""
    parts = result.stdout.split(COOKIE)
    if len(parts) < 3:
        if result.outcome == "exited" and result.returncode == 0:
            return Answer(None, stated("it ran but did not answer as a Python would"))
        if result.outcome == "timed-out":
            return Answer(None, stated("no answer within {timeout} seconds", timeout=f"{timeout:g}"))
        return Answer(None, result.failure)
    try:
        facts = json.loads(parts[-2])
    except ValueError:
        return Answer(None, stated("its answer is damaged"))
    if not isinstance(facts, dict):
        return Answer(None, stated("its answer is damaged"))
    if re.fullmatch(r"\d+\.\d+\.\d+", str(facts.get("too_old"))):
        return Answer(
            None, stated("Python {too_old} is too old", too_old=facts["too_old"]), too_old=str(facts["too_old"])
        )
    return Answer(facts)
