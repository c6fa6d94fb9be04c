"""Asks a node what the probes ask a machine, without a word of it written twice: in rounds, until nothing more is asked.

The probes need envfix's Python and libraries, a node has neither: only a small collector runs there, which knows files and
programs and nothing of what they mean. So the probes run here, against a host that answers from what the node has told so
far. What it has not told yet is noted, and answered as an empty machine would (no such file, no such program), so that one
run notes all questions that depend on nothing else. The node gets them as one round, the probes run again, and so on until
a run asks nothing new: seven or eight rounds for a whole diagnosis, of some 300 questions. That last run *is* the diagnosis
of the node; what was asked only because an answer was missing is dropped.

The alternatives: a list of all questions for every kind of machine would be a second copy of the probes; a dialogue question
by question pays the way to the node 300 times. One node's answers never decide what another node is asked: a hostile one
could otherwise have its programs started elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from envfix.errors import SnapshotError
from envfix.host.interface import CommandResult, FileResult, ProbeHost
from envfix.host.recording import run_question
from envfix.host.replay import ReplayHost
from envfix.model import reasons
from envfix.model.language import say

A = TypeVar("A")
R = TypeVar("R")
# More than any machine has needed; whoever leads to more is not one that should be followed.
MOST_ROUNDS, MOST_QUESTIONS = 25, 5000
# How long one question may take where its asker does not say, and how much is read of a file.
PATIENCE, FILE_LIMIT = 10.0, 1_000_000
# What stands for a folder on the node that is made for one script.
FOLDER = "{envfix-folder}"
_NOTHING: dict[str, Any] = {
    "run": {"outcome": "not-found"},
    "run_script": {"outcome": "not-found"},
    "run_in_folder": {"outcome": "not-found"},
    "read_text": {"outcome": "absent"},
    "glob": [],
    "which": [],
    "getenv": None,
    "environ": {},
    "system_facts": {},
    "find_interpreter": None,
    "disk_space": {"free": None, "total": None, "writable": False},
}
# A question, and the seconds it may take (of a file: the bytes that are read).
Asked = tuple[list[Any], float]
Round = Callable[[Sequence[Asked]], Sequence[Mapping[str, Any] | None]]


class AskingHost(ReplayHost):
    """Answers as far as a node has told; notes what else is asked, and answers that as an empty machine would."""

    def __init__(self, transcript: Sequence[Mapping[str, Any]]) -> None:
        told = [call for call in transcript if "answer" in call]
        super().__init__(told)
        self._failed = {repr(call["ask"]): call.get("problem") for call in transcript if "answer" not in call}
        self._bounds: dict[str, float] = {}
        self.asked: dict[str, list[Any]] = {}
        self.wanted: dict[str, Asked] = {}

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> CommandResult:
        self._bound(run_question(argv, env, cwd), timeout)
        return super().run(argv, timeout=timeout, env=env, cwd=cwd)

    def run_script(
        self, python: str | None, script: str, arguments: Sequence[str] = (), *, timeout: float
    ) -> CommandResult:
        self._bound(["run_script", python, script, list(arguments)], timeout)
        return super().run_script(python, script, arguments, timeout=timeout)

    def run_in_folder(self, python: str, script: str, arguments: Sequence[str], *, timeout: float) -> CommandResult:
        """``run_script`` with an empty folder, in the arguments where ``FOLDER`` stands, which goes with the script."""
        question = ["run_in_folder", python, script, list(arguments)]
        self._bound(question, timeout)
        return self._answer(question, CommandResult)

    def read_text(self, path: str, *, limit: int = FILE_LIMIT) -> FileResult:
        self._bound(["read_text", path], limit)
        return super().read_text(path, limit=limit)

    def _bound(self, question: list[Any], bound: float) -> None:
        key = repr(question)
        self._bounds[key] = max(bound, self._bounds.get(key, 0))

    def _answer(self, question: list[Any], kind: type[A]) -> A:
        key = repr(question)
        self.asked[key] = question
        if key in self._answers:
            return super()._answer(question, kind)
        if key in self._failed:
            raise TimeoutError(self._failed[key] or say("no answer within the time limit; does a disk not answer?"))
        self.wanted[key] = (question, self._bounds.get(key, PATIENCE))
        nothing = question[1] if question[0] == "real_path" else _NOTHING[question[0]]
        return msgspec.convert(nothing, kind)


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a node answered: every question of the last look with its answer, ordered as in a snapshot."""

    transcript: tuple[dict[str, Any], ...]
    rounds: int


class Asking:
    """The answers of one node so far. ``look`` is what is wanted of it: probes, as they are run on this machine.

    It is called again and again, and must bear what an empty machine answers.
    """

    def __init__(self, look: Callable[[ProbeHost], R], transcript: Sequence[dict[str, Any]] = ()) -> None:
        self._look = look
        self._calls = {repr(call["ask"]): call for call in transcript}
        self._asked: dict[str, list[Any]] = {}
        self.rounds = 0

    def look(self) -> tuple[Any, Sequence[Asked]]:
        """What is seen by the answers so far, and what would have to be asked to see all of it.

        Raises ``SnapshotError`` for answers of a shape that no machine gives, or that lead on and on.
        """
        host = AskingHost(list(self._calls.values()))
        seen = self._look(host)
        self._asked = dict(host.asked)
        wanted = list(host.wanted.values())
        if len(self._calls) + len(wanted) > MOST_QUESTIONS or (wanted and self.rounds >= MOST_ROUNDS):
            raise SnapshotError(reasons.ENDLESS)
        return seen, wanted

    def take(self, asked: Sequence[Asked], answers: Any) -> None:
        """Keep the answers to a round; raises ``SnapshotError`` where they are none."""
        if not isinstance(answers, list) or len(answers) != len(asked):
            raise SnapshotError(reasons.MISCOUNTED)
        self.rounds += 1
        for (question, _), answer in zip(asked, answers, strict=True):
            call: dict[str, Any] = {"ask": question}
            if isinstance(answer, dict) and "answer" in answer:
                call["answer"] = answer["answer"]
            elif isinstance(answer, dict) and isinstance(answer.get("problem"), str):
                call["problem"] = answer["problem"][:300]
            self._calls[repr(question)] = call

    @property
    def all_calls(self) -> list[dict[str, Any]]:
        """Everything that was answered so far, to go on from later."""
        return list(self._calls.values())

    @property
    def told(self) -> Told:
        """What the last look was answered."""
        calls = (self._calls[key] for key in sorted(self._asked) if key in self._calls)
        return Told(transcript=tuple(calls), rounds=self.rounds)


def ask(look: Callable[[ProbeHost], R], ask_round: Round) -> tuple[R, Told]:
    """Ask until nothing more is asked: what ``look`` sees there, and all that was told for it."""
    asking = Asking(look)
    while True:
        seen, wanted = asking.look()
        if not wanted:
            return seen, asking.told
        asking.take(wanted, ask_round(wanted))
