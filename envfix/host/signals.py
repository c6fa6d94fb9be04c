"""Signals that end a program, made harmless for the time in which files are half changed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK") if hasattr(signal, name)
]
_Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def as_interruptions() -> Iterator[None]:
    """``kill``, a lost connection and the like act as Ctrl-C does: what was begun is taken back first."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    with _handled([number for number in _ENDING if number != signal.SIGINT], interrupt):
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """None of them has an effect: it takes a moment only, and half of it is worse than all."""
    with _handled(_ENDING, lambda number, frame: None):  # noqa: ARG005 - what a handler takes
        yield


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """They have their effect at the end: a program that was just started must be known before it can be ended."""
    came: list[int] = []
    with _handled(_ENDING, lambda number, frame: came.append(number)):  # noqa: ARG005 - what a handler takes
        yield
    for number in came[:1]:
        signal.raise_signal(number)


@contextlib.contextmanager
def _handled(numbers: list[int], handler: _Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread decide
        yield
        return
    # What is ignored already stays so: the user has started envfix with nohup, or in the background.
    mine = [number for number in numbers if signal.getsignal(number) not in (None, signal.SIG_IGN)]
    before = {number: signal.signal(number, handler) for number in mine}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
