"""causes: the catalogue, made from the rule files."""

from __future__ import annotations

from difflib import get_close_matches

from envfix.errors import UsageError
from envfix.model.report import CausePage
from envfix.rules import _rule


def causes(name: str | None = None) -> tuple[CausePage, ...]:
    """The catalogue of causes, or the one of that name or code; raises ``UsageError`` for an unknown one."""
    pages = [CausePage(code=r.code, cause=r.cause, title=r.title, manual=_rule.manual(r)) for r in _rule.all_rules()]
    if name is None:
        return tuple(sorted(pages, key=lambda page: page.code))
    chosen = [page for page in pages if name.lower() in (page.cause, page.code.lower())]
    if not chosen:
        near = get_close_matches(name, [page.cause for page in pages], n=1)
        raise UsageError(
            f"there is no cause named {name!r}",
            hint=f"did you mean {near[0]}?" if near else "`envfix causes` lists them all",
        )
    return tuple(chosen)
