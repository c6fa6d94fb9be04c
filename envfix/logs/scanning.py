"""One pass over a log of any size: where each pattern is found, in bounded memory and linear time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from envfix.logs import cleaning
from envfix.logs.patterns import compiled, compiled_set, expanded
from envfix.model.log import Hit, Log

# The first places of a pattern are enough to explain; the rest is not looked for.
PLACES = 8
# Text around a place that is kept, and that two neighbouring blocks share, in bytes.
AROUND_BEFORE, AROUND_AFTER, OVERLAP = 4_000, 2_000, 4_000
WINDOW = 1 << 16
LINE_SHOWN = 400
# Logs up to this size are also read with cut lines put together.
SMALL = 1 << 21


class _Finder:
    """All patterns, and how many places of each are still to be found."""

    def __init__(self, patterns: Sequence[str], name: str | None) -> None:
        self.patterns = tuple(patterns)
        self.name = name
        self._all = compiled_set([expanded(pattern) for pattern in self.patterns])
        self._single: dict[int, object] = {}
        self.hits: dict[str, list[Hit]] = {}

    def wanted(self, text: bytes) -> list[int]:
        """Numbers of the patterns that the text holds and of which more places are wanted."""
        return [number for number in self._all.Match(text) or () if len(self._places(number)) < PLACES]

    def _places(self, number: int) -> list[Hit]:
        return self.hits.get(self.patterns[number], [])

    def places(self, number: int, text: bytes) -> Iterator[tuple[int, int, dict[str, str]]]:
        """Where one pattern is found in a text: start, end and named groups, at most as many as are wanted."""
        if number not in self._single:
            self._single[number] = compiled(expanded(self.patterns[number]))
        left = PLACES - len(self._places(number))
        for match in self._single[number].finditer(text):  # type: ignore[attr-defined]
            if left <= 0:
                return
            left -= 1
            groups = {_text(name): _text(value) for name, value in match.groupdict().items() if value is not None}
            yield match.start(), match.end(), groups


def scan(stream: cleaning.Stream, patterns: Iterable[str], *, name: str | None = None) -> Log:
    """Find the first places of every pattern in a log; raises nothing for what the log holds (``OSError`` for reading it).

    ``name`` is what the log is called where several are read.
    """
    finder = _Finder(tuple(dict.fromkeys(patterns)), name)
    offset = lines = 0
    tail = b""
    small: list[bytes] | None = []
    for block in cleaning.blocks(stream):
        text = tail + block
        start, line = offset - len(tail), lines - tail.count(b"\n")
        _scan_block(finder, text, start, line, new_from=len(tail))
        offset += len(block)
        lines += block.count(b"\n")
        tail = _tail(text)
        if small is not None:
            small.append(block)
            if offset > SMALL:
                small = None
    if small is not None:
        _scan_repaired(finder, b"".join(small))
    hits = {pattern: tuple(sorted(places, key=lambda hit: hit.offset)) for pattern, places in finder.hits.items()}
    return Log(hits=hits, lines=lines + (0 if tail.endswith(b"\n") or not offset else 1), bytes=offset)


def _tail(text: bytes) -> bytes:
    """The end of a block that the next one begins with: whole lines where there are some."""
    if len(text) <= OVERLAP:
        return text
    tail = text[-OVERLAP:]
    cut = tail.find(b"\n") + 1
    return tail[cut:] if 0 < cut < len(tail) else tail


def _scan_block(finder: _Finder, text: bytes, offset: int, line: int, *, new_from: int) -> None:
    """Look through one block; only windows of it that hold something are looked at closely."""
    if not finder.wanted(text):
        return
    for start in range(0, len(text), WINDOW):
        begin, end = max(0, start - OVERLAP), min(len(text), start + WINDOW)
        window = text[begin:end]
        for number in finder.wanted(window):
            places = finder.hits.setdefault(finder.patterns[number], [])
            for found, stop, groups in finder.places(number, window):
                here, there = begin + found, begin + stop
                known = any(hit.offset == offset + here for hit in places)
                if there > max(new_from, start) and not known and len(places) < PLACES:
                    places.append(_hit(finder, number, text, here, there, offset, line, groups))


def _hit(  # one place in a block and where the block begins
    finder: _Finder, number: int, text: bytes, start: int, end: int, offset: int, line: int, groups: dict[str, str]
) -> Hit:
    begin, stop = text.rfind(b"\n", 0, start) + 1, text.find(b"\n", end)
    stop = len(text) if stop < 0 else stop
    shown = text[max(begin, start - LINE_SHOWN) : min(stop, end + LINE_SHOWN)]
    return Hit(
        pattern=finder.patterns[number],
        file=finder.name,
        line=line + text.count(b"\n", 0, start) + 1,
        offset=offset + start,
        text=" ".join(_text(text[start:end]).split()),
        shown=_text(shown).strip()[: 2 * LINE_SHOWN],
        groups=groups,
        before=_text(text[max(0, start - AROUND_BEFORE) : start]),
        after=_text(text[end : end + AROUND_AFTER]),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _scan_repaired(finder: _Finder, text: bytes) -> None:
    """Find what is only there once cut lines are whole again; the line numbers stay those of the log."""
    plain = cleaning.without_prefixes(text)
    originals = _line_starts(text)
    for whole in (plain, cleaning.joined(plain)):
        if whole == text:
            continue
        first = finder.hits
        finder.hits = {}
        _scan_block(finder, whole, 0, 0, new_from=0)
        new = {pattern: hits for pattern, hits in finder.hits.items() if pattern not in first}
        finder.hits = first | {
            pattern: [_placed(hit, text, originals) for hit in hits] for pattern, hits in new.items()
        }


def _line_starts(text: bytes) -> list[int]:
    starts, at = [0], text.find(b"\n")
    while at >= 0:
        starts.append(at + 1)
        at = text.find(b"\n", at + 1)
    return starts


def _placed(hit: Hit, text: bytes, starts: list[int]) -> Hit:
    """The same place in the log as it came: where the beginning of what matched stands."""
    import msgspec

    word = hit.text.split(" ")[0][:20].encode()
    at = text.find(word)
    if at < 0:
        return hit
    return msgspec.structs.replace(hit, line=bisect_right(starts, at), offset=at)
