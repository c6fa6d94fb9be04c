"""Questions asked side by side, none of which can hold up the others or the end of the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Question(Future[R]):
    """An answer to come, with the moment (``time.monotonic``) at which nobody waits for it any longer."""

    deadline: float = float("inf")


class Beside:
    """Starts each question in a thread of its own, which Python does not wait for when it ends.

    Programs have time limits of their own; this one is for what has none: a file on a network disk that does not answer,
    a text that takes ages to read.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._asked: list[Future[Any]] = []

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Question[R]:
        """Ask, and wait ``patience`` seconds at most for the answer."""
        return self.submit_for(self._patience, function, *args, **kwargs)

    def submit_for(self, seconds: float, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Question[R]:
        """Ask, and wait ``seconds`` at most for the answer."""
        question: Question[R] = Question()
        question.deadline = time.monotonic() + seconds
        self._asked.append(question)

        def answer() -> None:
            try:
                question.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
                question.set_exception(error)

        threading.Thread(target=answer, daemon=True).start()
        return question

    def settle(self, seconds: float) -> None:
        """Give all that were asked so long to end: after an interrupt, each must still see its program ended."""
        wait(self._asked, timeout=seconds)


def result(question: Future[R]) -> R:
    """The answer; raises ``TimeoutError`` after its deadline. Looks up now and then: Python may miss a Ctrl-C while it sleeps."""
    deadline = question.deadline if isinstance(question, Question) else float("inf")
    while not question.done():
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer within the time limit; does a disk not answer?")
        wait((question,), timeout=min(0.2, left))
    return question.result()
