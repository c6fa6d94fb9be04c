"""The stack as a chain of six links, from the card to ultralytics: what is there, whether it holds, and how that is known."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from envfix.model.gpu_use import GpuUse
from envfix.model.report import Report

T = TypeVar("T")
Part = Literal["card", "driver", "cuda", "torch", "torchvision", "ultralytics"]
State = Literal["ok", "doubtful", "broken", "unknown", "absent"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One link of the chain and how it holds to those before it.

    ``ok`` only where a fact says so; ``doubtful``: there, but something speaks against it; ``unknown``: nothing says either
    way. ``value`` is what is there (empty: nothing), ``reason`` a sentence, ``code`` that of the finding which says so.
    """

    part: Part
    state: State
    reason: str
    value: str = ""
    code: str | None = None


class SharedReport(msgspec.Struct, frozen=True, kw_only=True):
    """A diagnosis that may be shown to anybody: names of people and hosts, serial ids and secrets were taken out of it.

    ``made`` is the day, ``where`` says in words which machine was looked at.
    """

    report: Report
    links: tuple[Link, ...]
    use: GpuUse
    made: str
    where: str


class SharedAnswer(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Any other answer that may be shown to anybody, and the day it was given."""

    answer: T
    made: str
