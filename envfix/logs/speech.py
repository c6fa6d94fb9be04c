"""Whether a program said something, or a person writes about it: prose, quotations and source code raise no alarm."""

from __future__ import annotations

import re

from envfix.model.log import Hit
from envfix.model.regex import regex

# What is looked at of the line before and after the place, in characters.
_NEAR = 300
# The name of an error right before its message, with the colon.
_EMITTER = regex(
    r"(?:[\w.]*(?:Error|Exception|Warning|Interrupt|Failure)|ERROR|WARNING|CRITICAL|FATAL|FAILED|[Ee]rror|[Ww]arning|[Ff]atal|what\(\)|E)"
    r"(?: \d+)?(?:: ?|\s+)$"
)
# The same earlier in the line: what follows is what the program goes on to say.
_EMITTED = regex(r"[\w.]{3,60}(?:Error|Exception|Warning): \S")
# How what a program writes before a message ends: a mark, or a word that announces it.
_ANNOUNCES = regex(
    r"(?:[:\]|>)}%=*/\\,;-]|\b(?:error|exception|failed|fails|failure|reason|message|got|with|an?|[Dd]ue to|[Cc]aused by))\s*$"
)
# Words as people write them; names of cards, files and errors are not among them.
_WORD = regex(r"(?<![\w./\\-])[A-Za-z][a-z]*(?![\w/\\(=.:-])")
# How sentences about an error begin, and words that programs hardly ever say before one.
_PROSE = regex(
    r"\s*(?:[-*>]+\s+)?(?:\d+[.)]\s+)?(?:If|When|Whenever|This|The|You|I|We|It|In|To|For|Fix|Fixed|Fixes|Avoid|Note|See|My|Why|How"
    r"|What|Sometimes|Most|Some|Here|After|Before|Then|But|And|So|Also|Because|Please|Hi|Hello|Solved|Handle|Add|Added)\b"
)
_PERSON = regex(
    r"(?i)\b(?:i|i'm|you|your|we|my|if|when|whenever|because|although|usually|sometimes|often|please|should|means?|avoid|fix(?:e[sd])?"
    r"|handles?|raises?|such as|about|typical|common|how to|keeps?|getting|that|prints?|says?|reports?|complains?)\b"
)
_SENTENCES = regex(r"[a-z)][.!?] [A-Z][a-z]+ [a-z]+ [a-z]")
_PRONOUN = regex(r"\b(?:I|I'm|[Yy]ou|[Yy]our|[Ww]e|[Mm]y)\b")
# Sentences that programs do say before the error itself.
_OF_A_PROGRAM = regex(
    r"Unexpected error from \w+\(\)|Did you run some cuda functions|Call to \w+ results in|failed call to \w+"
)
# How a sentence goes on that begins with the message itself.
_ABOUT = regex(
    r"[\"'`]?\s+(?:is|are|was|means?|can|may|might|will|happens?|occurs?|appears?|usually|often|errors?|issues?|problems?"
    r"|when (?:you|I))\b"
)
# What a message may begin with before the words that a pattern looks for.
_ARTICLE = regex(r"\s*(?:[Tt]he|[Aa]n?|[Tt]his|[Yy]our|[Ss]ome|[Aa]ll|[Nn]o)?\s*")
# A comment in source code; a shell of root shows commands behind such a mark, and a compiler's message has no blank.
_COMMENT = regex(r"\s*(?://|#) [a-z]+ (?!-)")
# A name that is given a number, or an item of a numbered list or a table.
_NUMBERED = regex(r"\s*=\s*(?:0x)?\d+\s*,?\s*(?://|/\*|$)")
_DEFINED = regex(r"\s*#\s*define\s+\w*$")
_ITEM = regex(r"\s*(?:\d{1,2}[.)]|\|)\s+$")
_HEADING = regex(r"\s*#{1,6}\s+$")
# Code that raises, prints or looks for the text.
_CODE = regex(
    r"(?:\braise |\bprint\(|\bassert |\breturn |\bthrow |logger\.|logging\.|warnings?\.|TORCH_CHECK|AT_ERROR|\bre\.\w+\(|match="
    r"|in str\(|f?printf\()[^:]*$|[(,] ?[rbfu]{0,2}[\"'`]{1,3}$"
)
_JSON = regex(r"[\"']\s*[:,]\s*\[?\s*[\"'](?:[\w.]+: )?$")
_QUOTES = "\"'`"
_ENOUGH_WORDS = 3


def is_speech(hit: Hit) -> bool:
    """Whether the place is within somebody's sentence, quotation or source code rather than said by a program."""
    line = hit.before.rpartition("\n")[2]
    before, after = line[-_NEAR:], hit.after.partition("\n")[0][:_NEAR]
    if _JSON.search(before) or _is_of_traceback(hit, line):
        return False
    if _CODE.search(before) or _HEADING.fullmatch(line) or _is_literal(hit, line, after) or _is_listed(line, after):
        return True
    introduction = _EMITTER.sub("", before)
    if introduction.count("`") % 2:
        introduction = introduction[: introduction.rindex("`") + 1]
    if introduction and introduction[-1] in _QUOTES:
        return _is_quoted(hit, introduction, after)
    if _ARTICLE.fullmatch(introduction):
        return _ABOUT.match(after) is not None
    if _COMMENT.match(line):
        return True
    words = len(_WORD.findall(introduction))
    begins = _PROSE.match(line) is not None
    if _OF_A_PROGRAM.search(line) or (
        not begins and _EMITTED.search(line[: len(line) - len(before) + len(introduction)])
    ):
        return False
    if _ANNOUNCES.search(introduction):
        return words >= _ENOUGH_WORDS and (begins or _PRONOUN.search(introduction) is not None)
    return (begins and words >= 1) or (words >= _ENOUGH_WORDS and _PERSON.search(introduction) is not None)


_TRACED = re.compile(r"File \"[^\"\n]+\", line \d+(?:, in [^\n]+)?$")


def _is_of_traceback(hit: Hit, line: str) -> bool:
    """Whether the line is one of a traceback: what it shows of the code was run."""
    if line.lstrip().startswith(("File ", "Traceback ")):
        return True
    return _TRACED.search(hit.before.rpartition("\n")[0].rpartition("\n")[2].rstrip()) is not None


# A line of code that is a string, or tells one of several cases.
_LITERAL = regex(r"\s*(?:\(|\[|\{|case \w+:|return|if|elif|[\w.]+ =|[\w.]+\()?\s*[(\[{]?\s*[rbfu]{0,2}(?P<mark>[\"'])")
_CASE = regex(r"\s*case \w*$")


def _is_listed(line: str, after: str) -> bool:
    """Whether the place is one of a list of names, of a numbered list or of a table."""
    if _NUMBERED.match(after) or _DEFINED.fullmatch(line):
        return True
    item = _ITEM.fullmatch(line)
    return item is not None and ("|" not in line or "|" in after)


def _is_literal(hit: Hit, line: str, after: str) -> bool:
    """Whether the place is in a string of source code."""
    if _CASE.fullmatch(line):
        return True
    opened = _LITERAL.match(line)
    if opened is None or line.count(opened["mark"]) % 2 == 0:
        return False
    if hit.text.endswith(opened["mark"]):  # the match took the end of the string along
        return re.match(r"\s*[,)\]};:]", after) is not None
    return re.match(rf"[^{opened['mark']}]*{opened['mark']}\s*[,)\]}};:]", after) is not None


def _is_quoted(hit: Hit, introduction: str, after: str) -> bool:
    """In quotation marks, and in a sentence; a program quotes what another one said."""
    mark = introduction[-1]
    _, closed, rest = after.partition(mark)
    around = introduction[:-1].strip(" *_-#>(")
    if not closed and mark not in hit.text:
        return False
    if not around:
        return len(_WORD.findall(rest)) >= _ENOUGH_WORDS
    listed = mark == "`" and introduction.lstrip()[:2] in ("* ", "- ")
    told = _PROSE.match(introduction) or _PERSON.search(around) or _SENTENCES.search(introduction)
    return listed or told is not None
