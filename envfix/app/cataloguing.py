"""causes: the catalogue, made from the rule files."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from envfix.errors import UsageError
from envfix.model.language import look_up, say
from envfix.model.report import CausePage
from envfix.rules import _rule


def causes(words: Sequence[str] = ()) -> tuple[CausePage, ...]:
    """The catalogue of causes, the one of that name or code, or those whose pages hold all of the words.

    Raises ``UsageError`` where there is none.
    """
    pages = [
        CausePage(code=r.code, cause=r.cause, title=look_up(r.title), manual=_rule.manual(r)) for r in _rule.all_rules()
    ]
    pages.sort(key=lambda page: page.code)
    if not words:
        return tuple(pages)
    wanted = [word.lower() for word in words]
    named = tuple(page for page in pages if len(wanted) == 1 and wanted[0] in (page.cause, page.code.lower()))
    if named:
        return named
    # The likeliest first: those that have the words in their name or title.
    told = [page for page in pages if all(word in _text(page) for word in wanted)]
    told.sort(key=lambda page: not all(word in f"{page.cause} {page.title}".lower() for word in wanted))
    if not told:
        near = get_close_matches(wanted[0], [page.cause for page in pages], n=1)
        raise UsageError(
            say("no cause is named or described by {words!r}", words=" ".join(words)),
            hint=say("did you mean {near}?", near=near[0]) if near else say("`envfix causes` lists them all"),
        )
    return tuple(told)


def _text(page: CausePage) -> str:
    return " ".join(f"{page.code} {page.cause} {page.title} {page.manual}".lower().split())
