"""Why a node told nothing: written down in English, as facts are, and said in the reader's language where it is shown."""

from __future__ import annotations

from envfix.model.language import retold, stated

# What a scheduler says of a node.
NO_RESPONSE = stated("it does not respond")
DOWN, DRAINED, DRAINING = stated("it is down"), stated("it is drained"), stated("it is being drained")
FAILED, MAINTENANCE, BOOTING = stated("it has failed"), stated("it is in maintenance"), stated("it is booting")
STATE_UNKNOWN, STATE = stated("Slurm does not know its state"), stated("its state is {state}")
NOT_IN_SLURM = stated("Slurm lists no node of that name here")
NOT_IN_KUBERNETES = stated("Kubernetes lists no node of that name")
NOT_READY, NO_REASON = stated("it is not ready: {reason}"), stated("no reason given")
NOT_STARTED, NO_POD = stated("its pod has not started: {reason}"), stated("no pod was made there")
# What the conversation with it came to.
NOT_STARTABLE = stated("{program} cannot be started: {reason}")
NO_ANSWER = stated("no answer within {seconds} seconds")
TOO_MUCH = stated("it sent more than {most} MB, and was left")
ENDED, SIGNALLED = stated("exit code {code}: {reason}"), stated("killed by signal {number}")
ENDED_SILENTLY = stated("exit code {code}")
ENDED_EARLY = stated("it ended before it answered: does a log-in there start another program?")
NO_PYTHON = stated("there is no Python on this node")
# What its answers were worth.
DAMAGED, MISCOUNTED = stated("its answer is damaged"), stated("its answer is damaged: not as many answers as questions")
ENDLESS = stated("its answers lead to more questions than any machine needs")
UNREADABLE = stated("its answers cannot be read ({name}: {error})")
UNFINISHED = stated("it had not told everything after the last round")
LOST_TRACK = stated("what is known of it so far is damaged ({file})")
NOTHING_SAID, REASON_DAMAGED = stated("no answer"), stated("it was not reached, and the reason is damaged")
ALL = tuple(text for name, text in globals().items() if name.isupper() and isinstance(text, str))


def spoken(reason: str) -> str:
    """A reason in the reader's language, and what others have said in their words: an administrator, ssh, Python."""
    said = retold(reason)
    head, colon, rest = reason.partition(": ")
    return f"{retold(head)}: {rest}" if colon and said == reason else said
