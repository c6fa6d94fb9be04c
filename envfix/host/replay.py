"""A host that answers from a transcript; a question that was never recorded is an error, not an empty answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from envfix.errors import SnapshotError, UnrecordedCallError
from envfix.host.interface import CommandResult, DiskSpace, FileResult
from envfix.host.recording import run_question
from envfix.model.language import say

A = TypeVar("A")


class ReplayHost:
    """A recorded machine (implements ``ProbeHost``)."""

    def __init__(self, transcript: Sequence[Mapping[str, Any]]) -> None:
        try:
            self._answers = {repr(call["ask"]): call["answer"] for call in transcript}
        except (KeyError, TypeError) as error:
            raise SnapshotError(
                say("the transcript has an entry without 'ask' and 'answer' ({error})", error=error)
            ) from error

    def _answer(self, question: list[Any], kind: type[A]) -> A:
        key = repr(question)
        if key not in self._answers:
            raise UnrecordedCallError(say("the recording holds no answer to {key}", key=key[:300]))
        try:
            return msgspec.convert(self._answers[key], kind)
        except msgspec.ValidationError as error:
            raise SnapshotError(
                say("the recorded answer to {key} is damaged: {error}", key=key[:300], error=error)
            ) from error

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> CommandResult:
        return self._answer(run_question(argv, env, cwd), CommandResult)

    def run_script(
        self, python: str | None, script: str, arguments: Sequence[str] = (), *, timeout: float
    ) -> CommandResult:
        return self._answer(["run_script", python, script, list(arguments)], CommandResult)

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        return self._answer(["read_text", path], FileResult)

    def glob(self, pattern: str) -> tuple[str, ...]:
        return self._answer(["glob", pattern], tuple[str, ...])

    def which(self, name: str) -> tuple[str, ...]:
        return self._answer(["which", name], tuple[str, ...])

    def real_path(self, path: str) -> str:
        return self._answer(["real_path", path], str)

    def getenv(self, name: str) -> str | None:
        return self._answer(["getenv", name], str | None)  # type: ignore[arg-type]

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        return self._answer(["environ", list(prefixes)], dict[str, str])

    def system_facts(self) -> dict[str, str]:
        return self._answer(["system_facts"], dict[str, str])

    def find_interpreter(self, spec: str) -> str | None:
        return self._answer(["find_interpreter", spec], str | None)  # type: ignore[arg-type]

    def disk_space(self, path: str) -> DiskSpace:
        return self._answer(["disk_space", path], DiskSpace)

    def interrupt(self) -> None:
        """Nothing runs in a replay."""
