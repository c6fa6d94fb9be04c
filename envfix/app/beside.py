"""Questions asked side by side, none of which can hold up the others or the end of the program."""

from __future__ import annotations

# Not concurrent.futures: its threads are waited for at the end, and importing it takes as long as asking pyenv for a file.
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from envfix.model.language import say

P = ParamSpec("P")
R = TypeVar("R")
# Python may miss a Ctrl-C that comes while it falls asleep: it looks up as often as this (seconds).
LOOK_UP = 0.2


class Question(Generic[R]):
    """An answer to come, for which nobody waits any longer after ``deadline`` (``time.monotonic``)."""

    def __init__(self, ask: Callable[[], R], deadline: float) -> None:
        self._ask = ask
        self._deadline = deadline
        self._ended = threading.Event()
        self._answer: list[R] = []
        self._error: BaseException | None = None

    def ask(self) -> None:
        """Ask and keep the answer, or why there is none."""
        try:
            self._answer.append(self._ask())
        except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
            self._error = error
        self._ended.set()

    def result(self) -> R:
        """The answer; raises what asking raised, and ``TimeoutError`` after the deadline."""
        if not self.wait(self._deadline):
            raise TimeoutError(say("no answer within the time limit; does a disk not answer?"))
        if self._error is not None:
            raise self._error
        return self._answer[0]

    @property
    def ended(self) -> bool:
        """Whether there is an answer, or a reason why there is none."""
        return self._ended.is_set()

    def wait(self, until: float) -> bool:
        """Whether it has ended, which is waited for until that moment."""
        while not self._ended.is_set():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._ended.wait(min(LOOK_UP, left))
        return True


class Beside:
    """Starts each question in a thread of its own, which Python does not wait for when it ends.

    Programs have time limits of their own; ``patience`` (seconds) is for what has none: a file on a network disk that does
    not answer, a text that takes ages to read.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._asked: list[Question[Any]] = []

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Question[R]:
        """Ask, and wait ``patience`` seconds at most for the answer."""
        return self.submit_for(self._patience, function, *args, **kwargs)

    def submit_for(self, seconds: float, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Question[R]:
        """Ask, and wait ``seconds`` at most for the answer."""
        # In the language of who asks.
        question = Question(partial(copy_context().run, function, *args, **kwargs), time.monotonic() + seconds)
        self._asked.append(question)
        threading.Thread(target=question.ask, daemon=True).start()
        return question

    @property
    def settled(self) -> bool:
        """Whether all that were asked have ended."""
        return all(question.ended for question in self._asked)

    def settle(self, seconds: float) -> None:
        """Give all that were asked so long to end: after an interrupt, each must still see its program ended."""
        until = time.monotonic() + seconds
        for question in self._asked:
            question.wait(until)
