"""A host that writes down every question and its answer, so that a machine can be looked at again elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from envfix.host.interface import CommandResult, DiskSpace, FileResult, ProbeHost
from envfix.model.documents import to_builtins


class RecordingHost:
    """Passes every question on to another host and keeps the transcript (implements ``ProbeHost``; asks may run side by side)."""

    def __init__(self, host: ProbeHost) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._calls: dict[str, dict[str, Any]] = {}

    @property
    def transcript(self) -> list[dict[str, Any]]:
        """Every question once, with its answer, as plain values ordered by question."""
        with self._lock:
            return [self._calls[key] for key in sorted(self._calls)]

    def _keep(self, question: list[Any], answer: Any) -> None:
        with self._lock:
            self._calls[repr(question)] = {"ask": question, "answer": to_builtins(answer)}

    def run(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> CommandResult:
        answer = self._host.run(argv, timeout=timeout, env=env, cwd=cwd)
        self._keep(run_question(argv, env, cwd), answer)
        return answer

    def run_script(
        self, python: str | None, script: str, arguments: Sequence[str] = (), *, timeout: float
    ) -> CommandResult:
        answer = self._host.run_script(python, script, arguments, timeout=timeout)
        self._keep(["run_script", python, script, list(arguments)], answer)
        return answer

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        answer = self._host.read_text(path, limit=limit)
        self._keep(["read_text", path], answer)
        return answer

    def glob(self, pattern: str) -> tuple[str, ...]:
        answer = self._host.glob(pattern)
        self._keep(["glob", pattern], answer)
        return answer

    def which(self, name: str) -> tuple[str, ...]:
        answer = self._host.which(name)
        self._keep(["which", name], answer)
        return answer

    def real_path(self, path: str) -> str:
        answer = self._host.real_path(path)
        self._keep(["real_path", path], answer)
        return answer

    def getenv(self, name: str) -> str | None:
        answer = self._host.getenv(name)
        self._keep(["getenv", name], answer)
        return answer

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        answer = self._host.environ(prefixes)
        self._keep(["environ", list(prefixes)], answer)
        return answer

    def system_facts(self) -> dict[str, str]:
        answer = self._host.system_facts()
        self._keep(["system_facts"], answer)
        return answer

    def find_interpreter(self, spec: str) -> str | None:
        answer = self._host.find_interpreter(spec)
        self._keep(["find_interpreter", spec], answer)
        return answer

    def disk_space(self, path: str) -> DiskSpace:
        answer = self._host.disk_space(path)
        self._keep(["disk_space", path], answer)
        return answer

    def interrupt(self) -> None:
        self._host.interrupt()


def run_question(argv: Sequence[str], env: Mapping[str, str] | None, cwd: str | None) -> list[Any]:
    """How a started program is named in a transcript."""
    return ["run", list(argv), dict(env or {}), cwd]
