"""Bytes of a log as plain UTF-8 lines: no colours, no progress bars, no marks of the place it was copied from."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Protocol

# As much as is read at once; a block ends with a line where it can.
BLOCK = 1 << 20
# The quotation marks of other fonts, spaces that are none, and characters without a width.
_PLAIN = (
    (b"\xe2\x80\x98", b"'"),
    (b"\xe2\x80\x99", b"'"),
    (b"\xe2\x80\x9c", b'"'),
    (b"\xe2\x80\x9d", b'"'),
    (b"\xe2\x80\x8b", b""),
    (b"\xc2\xa0", b" "),
    (b"\xef\xbb\xbf", b""),
)
_ENTITIES = (
    (b"&nbsp;", b" "),
    (b"&lt;", b"<"),
    (b"&gt;", b">"),
    (b"&quot;", b'"'),
    (b"&#34;", b'"'),
    (b"&#39;", b"'"),
    (b"&#x27;", b"'"),
    (b"&apos;", b"'"),
    (b"&#x2F;", b"/"),
    (b"&amp;", b"&"),
)
# A string of JSON (notebooks, logs of containers) holds its line breaks and colours as escapes.
_ESCAPES = ((b"\\u001b", b"\x1b"), (b"\\r\\n", b"\n"), (b"\\n", b"\n"), (b'\\"', b'"'), (b"\\t", b"\t"))
_COLOURS = re.compile(
    rb"\x1b(?:\[[0-9;:?<=>]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[()*+][A-Za-z0-9]|[@-Z\\^_=>78])"
)
# The same where the escape character was lost on the way, as in text copied from a page of a CI system.
_LOST_COLOURS = re.compile(rb"\[[0-9]{1,3}(?:;[0-9]{1,3}){0,4}m|\[0?[mK]")
_TAGS = re.compile(rb"(?i)</?(?:span|pre|code|div|p|b|i|a|td|tr|font|tt|strong|em|li)(?:\s[^<>\n]{0,300})?>")
_ESCAPED_BREAKS = re.compile(rb"\\n(?=[ ]{2}|Traceback|\w+Error|\\n)")
_LINE_BREAKS = re.compile(rb"(?i)<br\s*/?>")


class Stream(Protocol):
    """What can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def blocks(stream: Stream, *, size: int = BLOCK) -> Iterator[bytes]:
    """The log, cleaned, in blocks of about ``size`` bytes that end with a line (unless a line is longer than that)."""
    raw = stream.read(size)
    decoder, escaped = _decoder(raw), _is_json(raw)
    rest = b""
    while raw:
        # One is read ahead: the last line, which need not end, belongs to the block before it.
        ahead = stream.read(size)
        whole = rest + (raw if decoder is None else decoder.decode(raw, final=not ahead).encode("utf-8", "replace"))
        end = len(whole) if not ahead else max(whole.rfind(b"\n"), whole.rfind(b"\r")) + 1
        if end == 0 and len(whole) >= size:
            end = len(whole)
        if end:
            yield clean(whole[:end], escaped=escaped)
        rest, raw = whole[end:], ahead


def _decoder(start: bytes) -> codecs.IncrementalDecoder | None:
    """A decoder for what is not UTF-8 or one of its relatives: PowerShell redirects as UTF-16, with a mark or without."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return codecs.getincrementaldecoder("utf-32")("replace")
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.getincrementaldecoder("utf-16")("replace")
    sample = start[:4000]
    for place, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros = sample[place::2].count(0)
        if zeros > len(sample) // 4 and sample[1 - place :: 2].count(0) < zeros // 4:
            return codecs.getincrementaldecoder(name)("replace")
    return None


def _is_json(start: bytes) -> bool:
    """Whether the text is JSON whose strings hold the log: a notebook, or a line for each message."""
    head = start.lstrip()[:20_000]
    return head.startswith((b'{"', b"[{", b"{\n", b"{\r\n")) and (
        b'"cells"' in head or b'"log":' in head or b'"nbformat"' in head or b'"msg":' in head or b'"message":' in head
    )


def clean(block: bytes, *, escaped: bool = False) -> bytes:
    """One block as plain lines; each part of a progress bar that was drawn over is a line of its own."""
    if escaped:
        block = _replaced(block, _ESCAPES)
    return _without_markup(_without_control(block))


def _without_control(block: bytes) -> bytes:
    """Without what steers a terminal."""
    if b"\x1b" in block:
        block = _COLOURS.sub(b"", block)
    if b"[0m" in block or b"[39m" in block or b"[K" in block or b"[m" in block:
        block = _LOST_COLOURS.sub(b"", block)
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"\0" in block:
        block = block.replace(b"\0", b"")
    if b"\x08" in block:
        block = block.replace(b"\x08", b"")
    return block


def _without_markup(block: bytes) -> bytes:
    """Without what a page, a typesetter or another program's quotation put in."""
    if b"\xe2\x80" in block or b"\xc2\xa0" in block or b"\xef\xbb\xbf" in block:
        block = _replaced(block, _PLAIN)
    if b"\\n  " in block or b"\\nTraceback" in block:
        # A message within a message is shown with its line breaks as escapes.
        block = _ESCAPED_BREAKS.sub(b"\n", block)
    if b"</" in block:
        block = _LINE_BREAKS.sub(b"\n", block)
        block = _TAGS.sub(b"", block)
    if b"&" in block and b";" in block:
        block = _replaced(block, _ENTITIES)
    return block


def _replaced(block: bytes, pairs: tuple[tuple[bytes, bytes], ...]) -> bytes:
    for old, new in pairs:
        if old in block:
            block = block.replace(old, new)
    return block


# What other programs put before each line: a time, a rank, the name of a container or worker, a mark of a quotation.
_PREFIX = re.compile(
    rb"(?m)^(?:[ \t]*(?:"
    rb"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*(?:Z|[+-]\d\d:?\d\d)?\]?"
    rb"|\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?"
    rb"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]+ [\w./-]+(?:\[\d+\])?:"
    rb"|\[(?:default|rank|stage-\d+ )?\d*\]:|\[\d+,\d+\]<std(?:err|out)>:|\[(?:rank|worker|node)[ =:]?\d+\]"
    rb"|(?:rank|node|worker)[-_ ]?\d+:|\d{1,4}:"
    rb"|\([\w.]+ pid=\d+(?:, ip=[\d.]+)?\)|\(pid=\d+\)"
    rb"|[\w.-]{1,40}\s*\|(?: |$)|#\d+ \d+\.\d+|\d{1,5}\.\d{3}\s|E  |>+"
    rb")[ \t]?)+"
)


# What marks the lines of one of several processes that write into one log.
_RANK = re.compile(
    rb"[ \t]*(?:\[(?:default|rank|stage-\d+ )?(\d+)\]:|\[\d+,(\d+)\]<std(?:err|out)>:|\[?(?:rank|worker|node)[-_ =:]?(\d+)\]?:?"
    rb"|(\d{1,4}):|\([\w.]+ pid=(\d+)[^)\n]*\))[ \t]"
)


def by_process(text: bytes) -> bytes:
    """A small log to which several processes wrote at once, one process after the other; the same where none is marked."""
    lines: dict[bytes, list[bytes]] = {}
    for line in text.split(b"\n"):
        mark = _RANK.match(line)
        whose = next((part for part in mark.groups() if part), b"") if mark else b""
        lines.setdefault(whose, []).append(line)
    return b"\n".join(line for own in lines.values() for line in own) if len(lines) > 2 else text


def without_prefixes(text: bytes) -> bytes:
    """A small log without what other programs put before each of its lines."""
    return _PREFIX.sub(b"", text)


def joined(text: bytes) -> bytes:
    """A small log with lines put together that a terminal cut: those that are as wide as the widest one."""
    lines = text.split(b"\n")
    longest = max((len(line) for line in lines), default=0)
    if not 40 <= longest <= 400:
        return text
    whole: list[bytes] = []
    cut = False
    for line in lines:
        if cut:
            whole[-1] += line
        else:
            whole.append(line)
        cut = len(line) == longest
    return b"\n".join(whole)
