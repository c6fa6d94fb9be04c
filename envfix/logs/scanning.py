"""One pass over a log of any size: where each pattern is found, in bounded memory and linear time.

A window of the log is looked at closely only if it holds a line that was not there before (in a log that takes long: but for its
numbers) and words that the pattern of an error needs. What tells of the errors' surroundings is looked for at the beginning and
around what was found. Closeness has a limit all the same, so that a log made of errors takes no longer than another one: beyond it
only the end is looked at.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from envfix.logs import cleaning
from envfix.logs.patterns import candidates, compiled, expanded
from envfix.logs.speech import is_speech
from envfix.model.log import Hit, Log

# The first places of a pattern are enough to explain; the rest is not looked for.
PLACES = 8
# Of what is found so often, so many places from the end, of so many bytes.
LAST_PLACES, LAST = 16, 1 << 11
# Text around a place that is kept, in bytes, and what neighbouring blocks and windows share, so that nothing is cut in two.
AROUND_BEFORE, AROUND_AFTER, OVERLAP = 4_000, 2_000, 4_000
WINDOW, WINDOW_OVERLAP = 1 << 12, 1 << 10
LINE_SHOWN = 400
# Logs up to this size are also read with cut lines put together.
SMALL = 1 << 21
# The end of a log is looked at closely in any case, in bytes.
END = 1 << 20
# Surroundings: so much at the beginning, and on either side of what was found, in bytes.
BEGINNING, AROUND = 1 << 20, 1 << 15
# How much is looked at closely: bytes times patterns that may be in them. It takes about a second.
CLOSE = 250_000_000
# Lines that are remembered, by their hash.
REMEMBERED = 300_000
# In a window of more lines than that they are too short to be worth remembering.
SHORT_LINES = WINDOW // 10
_DIGITS = bytes.maketrans(b"123456789", b"000000000")


class _Finder:
    """All patterns, what was found of them, what was seen before, and how much may still be looked at closely."""

    def __init__(self, patterns: Sequence[str], context: Sequence[str], name: str | None) -> None:
        self.patterns = tuple(dict.fromkeys((*patterns, *context)))
        self._context = frozenset(range(len(dict.fromkeys(patterns)), len(self.patterns)))
        self.name = name
        self.hits: dict[str, list[Hit]] = {}
        self.left = CLOSE
        self.passed_over = 0
        self._expanded = tuple(expanded(pattern) for pattern in self.patterns)
        self._candidates = candidates(self._expanded)
        self.more = 0
        self._spoken: dict[str, int] = {}
        self._seen: set[int] = set()
        self._plain = False

    def is_new(self, window: bytes, *, is_first: bool, is_last: bool) -> bool:
        """Whether a window holds a line that was not there before; in a log that takes long, other numbers make none.

        Lines that a window cuts are whole in the one before or behind, unless it is the first or last of its text.
        """
        if self.left < CLOSE // 2 and not self._plain:
            self._plain = True
            self._seen.clear()
        plain = window.translate(_DIGITS) if self._plain else window
        lines = plain.split(b"\n") if plain.count(b"\n") <= SHORT_LINES else [plain]
        if len(lines) > 3:
            lines = lines[0 if is_first else 1 : None if is_last else -1]
        new = set(map(hash, lines)) - self._seen
        if len(self._seen) < REMEMBERED:
            self._seen |= new
        return bool(new)

    def forget(self) -> None:
        """Take every line for a new one again: the next text holds the same ones in another order."""
        self._seen.clear()

    def wanted(self, window: bytes, *, errors: bool = True, context: bool = False) -> list[int]:
        """Numbers of the patterns that a window may hold and of which more places are wanted.

        Those of the context only where there may be an error, unless they are asked for.
        """
        numbers = self._candidates.of(window)
        wanted = [number for number in numbers if self._is_wanted(number)]
        aside = self._context | self._candidates.anywhere
        if not context and aside.issuperset(wanted):
            wanted = []
        if not errors:
            wanted = [number for number in wanted if number in self._context]
        self.left -= len(window) * len(wanted)
        return wanted

    def is_error(self, number: int) -> bool:
        """Whether a pattern is that of an error, and not of what stands around."""
        return number not in self._context

    def places(self, number: int, window: bytes) -> Iterator[tuple[int, int, dict[str, str]]]:
        """Where one pattern is found in a window: start, end and named groups."""
        for match in compiled(self._expanded[number]).finditer(window):
            yield (
                match.start(),
                match.end(),
                {_text(k): _text(v) for k, v in match.groupdict().items() if v is not None},
            )

    def add(self, number: int, hit: Hit) -> bool:
        """Keep a place unless it is known; False where no more are wanted. What people write about it takes no place away."""
        pattern = self.patterns[number]
        places = self.hits.setdefault(pattern, [])
        if any(known.offset == hit.offset for known in places):
            return True
        speech = is_speech(hit)
        self._spoken[pattern] = self._spoken.get(pattern, 0) + speech
        if not speech or self._spoken[pattern] <= PLACES:
            places.append(hit)
        return self._is_wanted(number)

    def _is_wanted(self, number: int) -> bool:
        pattern = self.patterns[number]
        spoken = min(self._spoken.get(pattern, 0), PLACES)
        return len(self.hits.get(pattern, ())) - spoken < PLACES + self.more

    def want_more(self, more: int) -> None:
        """Of each pattern so many places more."""
        self.more = more


def scan(
    stream: cleaning.Stream, patterns: Iterable[str], context: Iterable[str] = (), *, name: str | None = None
) -> Log:
    """Find the first places of every pattern in a log; raises nothing for what the log holds (``OSError`` for reading it).

    ``context`` are patterns that matter beside others only; ``name`` is what the log is called where several are read.
    """
    finder = _Finder(tuple(patterns), tuple(context), name)
    offset = lines = 0
    tail = b""
    small: list[bytes] | None = []
    for block in cleaning.blocks(stream):
        text = tail + block
        start, line = offset - len(tail), lines - tail.count(b"\n")
        _scan_block(finder, text, start, line, new_from=len(tail))
        offset += len(block)
        lines += block.count(b"\n")
        end = text
        tail = _tail(text)
        if small is not None:
            small.append(block)
            if offset > SMALL:
                small = None
    passed_over = 0
    full = finder.left > 0 and any(len(places) >= PLACES for places in finder.hits.values())
    if full:
        # What a program died of stands at the end, also where the same was survived before.
        finder.want_more(LAST_PLACES)
        finder.forget()
        _scan_end(finder, end[-LAST:], offset, lines)
    if finder.left <= 0:
        passed_over = max(0, finder.passed_over - END)
        finder.left = 3 * END * len(finder.patterns)  # all of it, whatever it holds
        _scan_end(finder, end[-END:], offset, lines)
    if small is not None:
        _scan_repaired(finder, b"".join(small))
    hits = {
        pattern: tuple(sorted(places, key=lambda hit: hit.offset)) for pattern, places in finder.hits.items() if places
    }
    count = lines + (0 if tail.endswith(b"\n") or not offset else 1)
    return Log(hits=hits, lines=count, bytes=offset, passed_over=passed_over)


def _tail(text: bytes) -> bytes:
    """The end of a block that the next one begins with: whole lines where there are some."""
    if len(text) <= OVERLAP:
        return text
    tail = text[-OVERLAP:]
    cut = tail.find(b"\n") + 1
    return tail[cut:] if 0 < cut < len(tail) else tail


def _scan_block(finder: _Finder, text: bytes, offset: int, line: int, *, new_from: int) -> None:
    """Look through one block, window by window; ``new_from`` is where it goes on behind what was looked at before."""
    around: list[int] = []
    lines = _Lines(text, line)
    for start in range(new_from, len(text), WINDOW):
        if finder.left <= 0:
            finder.passed_over += len(text) - start
            break
        begin = max(0, start - WINDOW_OVERLAP)
        window = text[begin : start + WINDOW]
        if finder.is_new(window, is_first=begin == 0, is_last=start + WINDOW >= len(text)):
            wanted = finder.wanted(window, context=offset + start < BEGINNING)
            if _scan_window(finder, wanted, lines, window, begin, offset):
                around.append(start)
    for start in _places_around(around, len(text)):
        window = text[max(0, start - WINDOW_OVERLAP) : start + WINDOW]
        wanted = finder.wanted(window, errors=False, context=True)
        _scan_window(finder, wanted, lines, window, max(0, start - WINDOW_OVERLAP), offset)


class _Lines:
    """The numbers of the lines of a block, of which ``before`` came earlier; cheap for places that are asked for in order."""

    def __init__(self, text: bytes, before: int) -> None:
        self.text = text
        self._before = before
        self._counted = self._to = 0

    def before(self, place: int) -> int:
        """How many lines end before a place."""
        if place < self._to:
            self._counted = self._to = 0
        self._counted += self.text.count(b"\n", self._to, place)
        self._to = place
        return self._before + self._counted


def _places_around(found: Sequence[int], size: int) -> list[int]:
    """Where the windows begin on either side of what was found, each once."""
    return sorted(
        {
            start
            for place in found
            for start in range(max(0, (place - AROUND) // WINDOW * WINDOW), min(size, place + AROUND), WINDOW)
        }
    )


def _scan_window(finder: _Finder, wanted: Sequence[int], lines: _Lines, window: bytes, begin: int, offset: int) -> bool:
    """Look for these patterns in a window; the answer is whether an error was found."""
    found = False
    for number in wanted:
        for start, end, groups in finder.places(number, window):
            found |= finder.is_error(number)
            line = lines.before(begin) + window.count(b"\n", 0, start) + 1
            hit = _hit(finder, number, lines.text, begin + start, begin + end, offset, line, groups)
            if not finder.add(number, hit):
                break
    return found


def _scan_end(finder: _Finder, text: bytes, offset: int, lines: int) -> None:
    """Look through the end of a log of which too much had to be looked at closely."""
    _scan_block(finder, text, offset - len(text), lines - text.count(b"\n"), new_from=0)


def _hit(  # one place in a block and where the block begins
    finder: _Finder, number: int, text: bytes, start: int, end: int, offset: int, line: int, groups: dict[str, str]
) -> Hit:
    begin, stop = text.rfind(b"\n", 0, start) + 1, text.find(b"\n", end)
    stop = len(text) if stop < 0 else stop
    shown = text[max(begin, start - LINE_SHOWN) : min(stop, end + LINE_SHOWN)]
    return Hit(
        pattern=finder.patterns[number],
        file=finder.name,
        line=line,
        offset=offset + start,
        text=" ".join(_text(text[start:end]).split()),
        shown=_text(shown).strip()[: 2 * LINE_SHOWN],
        groups=groups,
        before=_text(text[max(0, start - AROUND_BEFORE) : start]),
        # A match that takes the line break along ends its line all the same.
        after=("\n" if text[end - 1 : end] == b"\n" else "") + _text(text[end : end + AROUND_AFTER]),
    )


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _scan_repaired(finder: _Finder, text: bytes) -> None:
    """Find what is only there once cut lines are whole again; the line numbers stay those of the log."""
    plain = cleaning.without_prefixes(text)
    apart = cleaning.without_prefixes(cleaning.by_process(text))
    originals = _line_starts(text)
    for whole in dict.fromkeys((plain, apart, cleaning.joined(plain))):
        if whole == text:
            continue
        first = finder.hits
        finder.hits = {}
        finder.forget()
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
