"""What several version specifiers say together: the range they leave, whether anything is left, and which are needless."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """The versions from ``lower`` to ``upper`` (None: open) without the ``excluded`` ones.

    ``with_lower`` and ``with_upper`` say whether the ends belong to it.
    """

    lower: Version | None = None
    with_lower: bool = True
    upper: Version | None = None
    with_upper: bool = True
    excluded: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        """Whether no version can be in it."""
        if self.lower is None or self.upper is None:
            return False
        if self.lower == self.upper:
            shut_out = any(SpecifierSet(f"=={text}").contains(self.lower, prereleases=True) for text in self.excluded)
            return shut_out or not (self.with_lower and self.with_upper)
        return self.lower > self.upper


def range_of(items: Iterable[Specifier]) -> Range:
    """The range that all of these leave together."""
    found = Range()
    for item in items:
        found = _meet(found, _range_of(item.operator, item.version))
    return found


def contradict(specifiers: SpecifierSet) -> bool:
    """Whether no version can meet all of these."""
    return range_of(specifiers).is_empty


@lru_cache(maxsize=1024)
def joined(*parts: str) -> str:
    """Several specifiers as one, without what the others say already: ``>=8.3`` and ``>=8.2.88`` are ``>=8.3``."""
    items = [Specifier(text.strip()) for part in parts for text in part.split(",") if text.strip()]
    meant = _boundaries(items)
    for item in reversed(items):
        rest = [other for other in items if other is not item]
        if _boundaries(rest) == meant:
            items = rest
    return ",".join(map(str, items))


def _boundaries(items: Sequence[Specifier]) -> Range:
    """The range, without exclusions that lie outside it anyway."""
    found = range_of(items)
    ends = msgspec.structs.replace(found, excluded=frozenset())
    inside = frozenset(text for text in found.excluded if text.endswith(".*") or _holds(ends, Version(text)))
    return msgspec.structs.replace(found, excluded=inside)


def _holds(span: Range, version: Version) -> bool:
    above = span.lower is None or version > span.lower or (version == span.lower and span.with_lower)
    below = span.upper is None or version < span.upper or (version == span.upper and span.with_upper)
    return above and below


@lru_cache(maxsize=1024)
def _range_of(operator: str, text: str) -> Range:
    try:
        version = Version(text.removesuffix(".*"))
    except InvalidVersion:
        raise InvalidSpecifier(f"{operator}{text}") from None
    if operator == "!=":
        return Range(excluded=frozenset({text}))
    if operator in ("==", "===") and not text.endswith(".*"):
        return Range(lower=version, upper=version)
    if operator == "==":
        return Range(lower=version, upper=_next(version.release), with_upper=False)
    if operator == "~=":  # at least two numbers, or it is no specifier
        return Range(lower=version, upper=_next(version.release[:-1]), with_upper=False)
    if operator.startswith(">"):
        return Range(lower=version, with_lower=operator == ">=")
    return Range(upper=version, with_upper=operator == "<=")


def _next(release: tuple[int, ...]) -> Version:
    """The first version after every one that begins like this: 8.3 for 8.2."""
    return Version(".".join(map(str, (*release[:-1], release[-1] + 1))))


def _meet(one: Range, other: Range) -> Range:
    lower, with_lower = _higher((one.lower, one.with_lower), (other.lower, other.with_lower))
    upper, with_upper = _smaller((one.upper, one.with_upper), (other.upper, other.with_upper))
    return Range(
        lower=lower,
        with_lower=with_lower,
        upper=upper,
        with_upper=with_upper,
        excluded=one.excluded | other.excluded,
    )


End = tuple["Version | None", bool]


def _higher(one: End, other: End) -> End:
    if one[0] is None or other[0] is None:
        return other if one[0] is None else one
    if one[0] == other[0]:
        return one[0], one[1] and other[1]
    return max(one, other, key=lambda end: end[0] or Version("0"))


def _smaller(one: End, other: End) -> End:
    if one[0] is None or other[0] is None:
        return other if one[0] is None else one
    if one[0] == other[0]:
        return one[0], one[1] and other[1]
    return min(one, other, key=lambda end: end[0] or Version("0"))
