"""Whether a program said something, or a person writes about it: prose, quotations and source code raise no alarm."""

from __future__ import annotations

import re

from envfix.model.log import Hit

# What is looked at of the line before and after the place, in characters.
_NEAR = 300
# The name of an error right before its message, with the colon.
_EMITTER = re.compile(
    r"(?:[\w.]*(?:Error|Exception|Warning|Interrupt|Failure)|ERROR|WARNING|CRITICAL|FATAL|FAILED|[Ee]rror|[Ww]arning|[Ff]atal|what\(\)|E)"
    r"(?: \d+)?(?:: ?|\s+)$"
)
# How what a program writes before a message ends: a mark, or a word that announces it.
_ANNOUNCES = re.compile(
    r"(?:[:\]|>)}%=*/\\,;-]|\b(?:error|exception|failed|fails|failure|reason|message|got|with|an?|[Dd]ue to|[Cc]aused by))\s*$"
)
# Words as people write them; names of cards, files and errors are not among them.
_WORD = re.compile(r"(?<![\w./\\-])[A-Za-z][a-z]*(?![\w/\\(=.:-])")
# How sentences about an error begin, and words that programs hardly ever say before one.
_PROSE = re.compile(
    r"\s*(?:[-*>]+\s+)?(?:\d+[.)]\s+)?(?:If|When|Whenever|This|The|You|I|We|It|In|To|For|Fix|Fixed|Fixes|Avoid|Note|See|My|Why|How"
    r"|What|Sometimes|Most|Some|Here|After|Before|Then|But|And|So|Also|Because|Please|Hi|Hello|Solved|Handle|Add|Added)\b"
)
_PERSON = re.compile(
    r"(?i)\b(?:i|i'm|you|your|we|my|if|when|whenever|because|although|usually|sometimes|often|please|should|means?|avoid|fix(?:e[sd])?"
    r"|handles?|raises?|such as|about|typical|common|how to|keeps?|getting|that|prints?|says?|reports?|complains?)\b"
)
_PRONOUN = re.compile(r"\b(?:I|I'm|[Yy]ou|[Yy]our|[Ww]e|[Mm]y)\b")
# Sentences that programs do say before the error itself.
_OF_A_PROGRAM = re.compile(
    r"Unexpected error from \w+\(\)|Did you run some cuda functions|Call to \w+ results in|failed call to \w+"
)
# How a sentence goes on that begins with the message itself.
_ABOUT = re.compile(
    r"[\"'`]?\s+(?:is|are|was|means?|can|may|might|will|happens?|occurs?|appears?|usually|often|errors?|issues?|problems?"
    r"|when (?:you|I))\b"
)
_HEADING = re.compile(r"\s*#{1,6}\s+$")
# Code that raises, prints or looks for the text.
_CODE = re.compile(
    r"(?:\braise |\bprint\(|\bassert |\breturn |\bthrow |logger\.|logging\.|warnings?\.|TORCH_CHECK|AT_ERROR|\bre\.\w+\(|match="
    r"|in str\(|f?printf\()[^:]*$|[(,] ?[rbfu]{0,2}[\"'`]{1,3}$"
)
_JSON = re.compile(r"[\"']\s*[:,]\s*\[?\s*[\"'](?:[\w.]+: )?$")
_QUOTES = "\"'`"
_ENOUGH_WORDS = 3


def is_speech(hit: Hit) -> bool:
    """Whether the place is within somebody's sentence, quotation or source code rather than said by a program."""
    before = hit.before.rpartition("\n")[2][-_NEAR:]
    after = hit.after.partition("\n")[0][:_NEAR]
    if _JSON.search(before) or before.lstrip().startswith(("File ", "Traceback ")):
        return False
    if _CODE.search(before) or _HEADING.fullmatch(before):
        return True
    introduction = _EMITTER.sub("", before)
    if introduction[-1:] in _QUOTES and introduction:
        return _is_quoted(hit, introduction, after)
    if not introduction.strip():
        return _ABOUT.match(after) is not None
    if _OF_A_PROGRAM.search(before):
        return False
    words = len(_WORD.findall(introduction))
    begins = _PROSE.match(introduction) is not None
    if _ANNOUNCES.search(introduction):
        return words >= _ENOUGH_WORDS and (begins or _PRONOUN.search(introduction) is not None)
    return (begins and words >= 1) or (words >= _ENOUGH_WORDS and _PERSON.search(introduction) is not None)


def _is_quoted(hit: Hit, introduction: str, after: str) -> bool:
    """In quotation marks, and in a sentence; a program quotes what another one said."""
    mark = introduction[-1]
    _, closed, rest = after.partition(mark)
    around = introduction[:-1].strip(" *_-#>(")
    if not closed and mark not in hit.text:
        return False
    if not around:
        return len(_WORD.findall(rest)) >= _ENOUGH_WORDS
    return _PROSE.match(introduction) is not None or _PERSON.search(around) is not None
