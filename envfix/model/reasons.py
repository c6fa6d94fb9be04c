"""Why a node told nothing: written down in English, as facts are, and said in the reader's language where it is shown."""

from __future__ import annotations

import re
from functools import cache

from envfix.model.language import later, look_up, say

# What a scheduler says of a node.
NO_RESPONSE = later("it does not respond")
DOWN, DRAINED, DRAINING = later("it is down"), later("it is drained"), later("it is being drained")
FAILED, MAINTENANCE, BOOTING = later("it has failed"), later("it is in maintenance"), later("it is booting")
STATE_UNKNOWN, STATE = later("Slurm does not know its state"), later("its state is {state}")
NOT_IN_SLURM = later("Slurm lists no node of that name here")
NOT_IN_KUBERNETES = later("Kubernetes lists no node of that name")
NOT_READY, NO_REASON = later("it is not ready: {reason}"), later("no reason given")
NOT_STARTED, NO_POD = later("its pod has not started: {reason}"), later("no pod was made there")
# What the conversation with it came to.
NOT_STARTABLE = later("{program} cannot be started: {reason}")
NO_ANSWER = later("no answer within {seconds} seconds")
TOO_MUCH = later("it sent more than {most} MB, and was left")
ENDED, SIGNALLED = later("exit code {code}: {reason}"), later("killed by signal {number}")
ENDED_SILENTLY = later("exit code {code}")
ENDED_EARLY = later("it ended before it answered: does a log-in there start another program?")
NO_PYTHON = later("there is no Python on this node")
# What its answers were worth.
DAMAGED, MISCOUNTED = later("its answer is damaged"), later("its answer is damaged: not as many answers as questions")
ENDLESS = later("its answers lead to more questions than any machine needs")
UNREADABLE = later("its answers cannot be read ({name}: {error})")
UNFINISHED = later("it had not told everything after the last round")
LOST_TRACK = later("what is known of it so far is damaged ({file})")
NOTHING_SAID, REASON_DAMAGED = later("no answer"), later("it was not reached, and the reason is damaged")
ALL = tuple(text for name, text in globals().items() if name.isupper() and isinstance(text, str))
_BLANK = re.compile(r"\\\{(\w+)\\\}")


def spoken(reason: str) -> str:
    """A reason in the reader's language, and what others have said in their words: an administrator, ssh, Python."""
    for template, pattern in _patterns():
        match = pattern.fullmatch(reason)
        if match is not None:
            values = {name: spoken(value) for name, value in match.groupdict().items()}
            return say(template, **values) if values else look_up(template)
    head, colon, rest = reason.partition(": ")
    return f"{spoken(head)}: {rest}" if colon else reason


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Those that say most first."""
    ordered = sorted(ALL, key=lambda text: len(_BLANK.sub("", re.escape(text))), reverse=True)
    return tuple((text, re.compile(_BLANK.sub(r"(?P<\1>.+?)", re.escape(text)), re.DOTALL)) for text in ordered)
