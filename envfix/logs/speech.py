"""Whether a program said something, or a person writes about it: prose, quotations and source code raise no alarm."""

from __future__ import annotations

import re

from envfix.model.log import Hit

# What a program puts right before its message: the name of an error, a path, a mark, the name of a logger.
_EMITTED = re.compile(
    r"(?:^|[:>|=\]})*/\\-]|\b(?:Error|Exception|Warning|error|warning|fatal|FAILED|E|failed|INFO|WARN|ERROR|CRITICAL))\s*$"
)
# Words as people write them; names of cards, files and errors are not among them.
_WORD = re.compile(r"(?<![\w./\\-])[a-z]{2,}(?![\w/\\(=.:-])")
_QUOTES = "\"'`"
# Code that raises, prints or looks for the text.
_CODE = re.compile(
    r"(?:raise |print\(|assert |return |throw |logger\.|logging\.|warnings?\.|TORCH_CHECK|AT_ERROR|re\.\w+\(|match=|in str\(|f?printf\(|== ?)"
    r"[^:]*$|[(,] ?[rbfu]{0,2}[\"'`]{1,3}$"
)
_JSON = re.compile(r"[\"']\s*[:,]\s*\[?\s*[\"'](?:\w+: )?$")
_ENOUGH_WORDS = 3
_NEAR = 300


def is_speech(hit: Hit) -> bool:
    """Whether the place is within somebody's sentence, quotation or source code rather than said by a program."""
    before = hit.before.rpartition("\n")[2][-_NEAR:]
    after = hit.after.partition("\n")[0][:_NEAR]
    if _JSON.search(before):
        return False
    if _CODE.search(before):
        return True
    quote = before[-1:]
    if quote and quote in _QUOTES:
        # In quotes with words around: said about it. A quoted message that ends the line after a colon is a program's.
        rest = after.lstrip()
        closed = quote in after[:200]
        around = before[:-1].rstrip()
        return closed and (_words(around) >= 1 and not around.endswith(":") or _words(rest.partition(quote)[2]) >= 2)
    if _EMITTED.search(before):
        # "If you see RuntimeError: CUDA out of memory, then ..." is still a sentence.
        return _words(
            re.sub(r"[\w.]+(?:Error|Exception|Warning): $", "", before)
        ) >= _ENOUGH_WORDS and _starts_like_prose(before)
    return _words(before) >= _ENOUGH_WORDS or (_words(before) >= 1 and _starts_like_prose(before))


def _words(text: str) -> int:
    return len(_WORD.findall(text))


# How sentences about an error begin.
_PROSE = re.compile(
    r"^\s*(?:[-*#>]+\s+)?(?:\d+[.)]\s+)?(?:(?:If|When|This|The|You|I|We|It|In|To|For|Fix|Fixed|Fixes|Avoid|Note|See|My|Why|How|What|Error"
    r"|Sometimes|Most|Some|Here|After|Before|Then|But|And|So|Also|Because|Please|Hi|Hello|Solved|Handle|Add|Added)\b|[a-z]+ [a-z]+ )"
)


def _starts_like_prose(before: str) -> bool:
    return _PROSE.search(before) is not None
