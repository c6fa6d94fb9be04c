"""Asks many nodes side by side, each within its own limits: one that hangs, floods or lies does not hurt the others."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import msgspec

from envfix.errors import EnvfixError
from envfix.fleet import asking, travelling
from envfix.fleet.asking import Told
from envfix.fleet.interface import Engine
from envfix.host.dialogue import Dialogue, DialogueError
from envfix.host.interface import CommandResult, DiskSpace, FileResult, ProbeHost
from envfix.model import reasons
from envfix.model.documents import learn
from envfix.model.facts import Environment, Machine

# One look at a node, asked to its end; and all looks that are wanted of it.
Ask = Callable[[Callable[[ProbeHost], Any]], tuple[Any, Told]]
Talk = Callable[[Ask], Any]
FAN_OUT = 32
SECONDS = 180.0
MOST_BYTES = 16_000_000
# How much earlier than the node's time is over its rounds end: what was not answered by then is unknown, and the rest is told.
MARGIN = 5.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one node may take: seconds and bytes; and how many are asked at the same time."""

    seconds: float = SECONDS
    most_bytes: int = MOST_BYTES
    fan_out: int = FAN_OUT


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen on a node, or why it told nothing (``problem``)."""

    node: str
    seen: Any = None
    problem: str | None = None


def gather(
    engine: Engine,
    nodes: Sequence[str],
    talk: Talk,
    files: Mapping[str, str],
    limits: Limits,
) -> Generator[Answered, None, None]:
    """What comes of ``talk`` with each node, as they answer; whoever stops listening ends all that still runs."""
    learn(CommandResult, FileResult, DiskSpace, Machine, Environment)
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for node in nodes:
        waiting.put(node)
    answers: queue.Queue[Answered] = queue.Queue(maxsize=2 * limits.fan_out)
    running: dict[str, Dialogue] = {}
    stopped = threading.Event()
    # Who stops finds every program that was started, also one of this moment.
    starting = threading.Lock()

    def begin(node: str) -> Dialogue:
        with starting:
            if stopped.is_set():
                raise DialogueError("interrupted")
            running[node] = Dialogue(engine.command(node), seconds=limits.seconds, most_bytes=limits.most_bytes)
            return running[node]

    def work() -> None:
        while not stopped.is_set():
            try:
                node = waiting.get_nowait()
            except queue.Empty:
                return
            answer = _ask(node, begin, talk, files, limits)
            running.pop(node, None)
            answers.put(answer)

    for _ in range(min(limits.fan_out, len(nodes))):
        threading.Thread(target=work, daemon=True).start()
    try:
        for _ in nodes:
            yield _next(answers)
    finally:
        with starting:
            stopped.set()
        for dialogue in list(running.values()):
            dialogue.interrupt()


def _next(answers: queue.Queue[Answered]) -> Answered:
    """The next one; Python may miss a Ctrl-C that comes while it falls asleep for good."""
    while True:
        with contextlib.suppress(queue.Empty):
            return answers.get(timeout=0.2)


def _ask(node: str, begin: Callable[[str], Dialogue], talk: Talk, files: Mapping[str, str], limits: Limits) -> Answered:
    try:
        dialogue = begin(node)
    except DialogueError as error:
        return Answered(node=node, problem=str(error))
    try:
        seen = talk(_asker(dialogue, files, limits))
    except DialogueError as error:
        return Answered(node=node, problem=str(error))
    except EnvfixError as error:
        return Answered(node=node, problem=error.message)
    except Exception as error:  # noqa: BLE001 - what a node answers may bring down a probe; the other nodes go on
        return Answered(
            node=node,
            problem=reasons.UNREADABLE.format(name=type(error).__name__, error=error)[:300],
        )
    finally:
        dialogue.close()
    return Answered(node=node, seen=seen)


def _asker(dialogue: Dialogue, files: Mapping[str, str], limits: Limits) -> Ask:
    language = travelling.Language(dict(files), lifetime=limits.seconds)
    greeting = [language.program]

    def ask_round(asked: Sequence[asking.Asked]) -> Any:
        text = (greeting.pop() if greeting else "") + language.round(asked, max(1.0, dialogue.left - MARGIN))
        return language.answers(dialogue.exchange(text, language.cookie))

    return lambda look: asking.ask(look, ask_round)
