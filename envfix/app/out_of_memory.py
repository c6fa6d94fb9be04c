"""Why a card's memory ran out: what torch said, judged by the sum of ``explain`` and by what the driver says now."""

from __future__ import annotations

import io
import re

import msgspec

from envfix import explaining
from envfix.app.scene import Scene
from envfix.logs import memory_arithmetic
from envfix.model.explanation import Cause

CAUSES = ("oom_other_process", "oom_workload_too_big", "oom_fragmentation")
# How torch numbers the card in its three generations of the message.
_NUMBER = re.compile(r"(?<=\(GPU )\d+(?=;)|(?<=GPU )\d+(?= has a total)")


def cause_of(text: str, scene: Scene, *, card: int | None = None) -> Cause | None:
    """What ``envfix explain`` makes of an error there now; None where it is not about a card's memory.

    torch was shown a single card and calls it 0: ``card`` is its number for everybody else.
    """
    if card is not None:
        text = _NUMBER.sub(str(card), text)
    log = explaining.read(io.BytesIO(text.encode()))
    if not any(one.cause in CAUSES for one in explaining.alone(log, scene.tables).causes):
        return None
    answer = explaining.joined(log, *scene.facts, scene.tables, facts="machine")
    cause = next((one for one in answer.causes if one.cause in CAUSES), None)
    return None if cause is None else msgspec.structs.replace(cause, remedies=scene.typed(cause.remedies))


def beyond_limit(text: str) -> bool:
    """Whether torch was refused by a limit that was set for this process, and not by the card."""
    numbers = memory_arithmetic.read(text)
    return numbers is not None and numbers.allowed is not None and numbers.reserved + numbers.asked > numbers.allowed


def is_taken_by_others(text: str) -> bool:
    """Whether the card itself was full when torch was refused, because of others."""
    numbers = memory_arithmetic.read(text)
    return (
        numbers is not None and not beyond_limit(text) and memory_arithmetic.judge(numbers).verdict == "other_process"
    )
