"""Reading logs: any encoding, any size, whatever other programs put into them."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envfix.logs import cleaning, scanning
from envfix.logs.cleaning import BLOCK
from envfix.model.log import Log

MISMATCH = (
    r"The detected CUDA version \((?P<toolkit>\S+)\) mismatches the version that was used to compile PyTorch"
    r" \((?P<torch>\S+)\)"
)
NOT_COMPILED = r"Torch not compiled with CUDA enabled"
LINE = "AssertionError: Torch not compiled with CUDA enabled"


def scan(data: bytes, *patterns: str) -> Log:
    return scanning.scan(io.BytesIO(data), patterns or (NOT_COMPILED, MISMATCH))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(LINE.encode(), id="plain"),
        pytest.param(LINE.encode("utf-8-sig"), id="utf-8-with-a-mark"),
        pytest.param(LINE.encode("utf-16"), id="utf-16-of-powershell"),
        pytest.param(LINE.encode("utf-16-le"), id="utf-16-without-a-mark"),
        pytest.param(LINE.encode("utf-16-be"), id="utf-16-big-endian"),
        pytest.param(LINE.encode("utf-32"), id="utf-32"),
        pytest.param(
            b"\xff\xfe\x00broken\xc3\x28 \n" * 0 + b"caf\xe9 \xd6\xd0\xce\xc4\n" + LINE.encode(), id="not-utf-8"
        ),
        pytest.param(
            b"\x1b[1;31mAssertionError\x1b[0m: Torch not \x1b[33mcompiled\x1b[39m with CUDA enabled", id="colours"
        ),
        pytest.param(b"AssertionError: [31mTorch not compiled[0m with CUDA enabled[0m", id="colours-without-escape"),
        pytest.param(b"  0%|  | 0/8\r 10%|# | 1/8\r" + LINE.encode() + b"\r\n", id="progress-bar"),
        pytest.param(b"<pre>AssertionError: Torch <b>not</b> compiled with CUDA&nbsp;enabled</pre>", id="html"),
        pytest.param(b"AssertionError: Torch not compiled\n    with CUDA enabled", id="wrapped-at-a-blank"),
        pytest.param(b"x" * 60 + b"AssertionError: Torch not comp\niled with CUDA enabled\n", id="cut-by-the-terminal"),
        pytest.param(
            b"2024-05-01T10:00:00.123Z Error: Torch not compiled\n2024-05-01T10:00:00.124Z with CUDA enabled",
            id="times",
        ),
        pytest.param(b"[rank0]: AssertionError: Torch not compiled\n[rank0]: with CUDA enabled", id="ranks"),
        pytest.param(
            b"[rank0]: AssertionError: Torch not compiled\n[rank1]: RuntimeError: other\n[rank0]: with CUDA enabled\n",
            id="ranks-that-write-at-once",
        ),
        pytest.param(b"0: Error: Torch not compiled\n1: hello\n0: with CUDA enabled\n1: bye\n", id="labels-of-srun"),
        pytest.param(b"trainer-1  | AssertionError: Torch not compiled\ntrainer-1  | with CUDA enabled", id="compose"),
        pytest.param(b"> AssertionError: Torch not compiled\n> with CUDA enabled", id="quotation"),
        pytest.param(
            json.dumps({"cells": [{"outputs": [{"traceback": ["\x1b[0;31mx", LINE]}]}]}).encode(), id="notebook"
        ),
        pytest.param(b"\0" * 7 + LINE.encode(), id="zeros"),
        pytest.param(b"AssertionError: Torch\xc2\xa0not compiled with CUDA enabled", id="no-break-space"),
    ],
)
def test_message_is_found_in_whatever_it_comes(data: bytes) -> None:
    assert len(scan(data).found(NOT_COMPILED)) == 1


def test_named_parts_and_lines_are_told() -> None:
    log = scan(
        b"one\ntwo\nThe detected CUDA version (10.1) mismatches the version that was used to compile\nPyTorch (11.3). Please\n"
    )
    (hit,) = log.found(MISMATCH)
    assert (hit.line, dict(hit.groups), log.lines) == (3, {"toolkit": "10.1", "torch": "11.3"}, 4)
    assert hit.before == "one\ntwo\n"
    assert hit.place == "line 3"


@pytest.mark.parametrize("gap", [BLOCK - 30, BLOCK - 5, BLOCK, 3 * BLOCK - 17, scanning.WINDOW - 20])
def test_message_across_the_edge_of_a_block_is_found_once(gap: int) -> None:
    for filler in (b"x", b"line of a log\n"):
        data = (filler * gap)[:gap] + b"\n" + LINE.encode() + b"\n"
        log = scan(data)
        (hit,) = log.found(NOT_COMPILED)
        assert hit.line == data[: data.index(LINE.encode())].count(b"\n") + 1


def test_the_first_places_and_those_at_the_end_are_kept() -> None:
    log = scan((LINE.encode() + b"\n") * 5_000)
    lines = [hit.line for hit in log.found(NOT_COMPILED)]
    assert lines[: scanning.PLACES] == list(range(1, scanning.PLACES + 1))
    assert len(lines) <= scanning.PLACES + scanning.LAST_PLACES
    assert lines[scanning.PLACES] > 4_900


@pytest.mark.parametrize("end", [b"", b"\n", b"\n" + b"a line of a log\n" * 50])
@pytest.mark.parametrize("count", [10, 500, 80_000, 200_001])
def test_one_error_among_lines_that_repeat_is_found(count: int, end: bytes) -> None:
    data = b"a line of a log\n" * count + LINE.encode() + end
    assert [hit.line for hit in scan(data).found(NOT_COMPILED)] == [count + 1]


def test_what_people_write_about_it_hides_no_error() -> None:
    prose = b"".join(
        b"If you see Torch not compiled with CUDA enabled, install it (%d).\n" % number for number in range(50)
    )
    assert scan(prose + LINE.encode()).found(NOT_COMPILED)[-1].line == 51


def test_stream_is_read_block_by_block() -> None:
    class Endless(io.RawIOBase):
        """Ten gigabytes would not fit into memory: a stream that is asked for little at a time."""

        def __init__(self) -> None:
            self.asked: list[int] = []
            self.left = 20

        def read(self, size: int = -1, /) -> bytes:
            self.asked.append(size)
            self.left -= 1
            return b"y" * size if self.left > 0 else b""

    stream = Endless()
    log = scanning.scan(stream, (NOT_COMPILED,))
    assert set(stream.asked) == {BLOCK}
    assert log.bytes == 19 * BLOCK


def _hostile(size: int) -> Iterator[tuple[str, bytes]]:
    yield "blank lines", b"\n" * size
    yield "one line", b"a" * size
    yield "returns and colours", (b"\r\x1b[31m" + b"#" * 40) * (size // 46)
    yield "beginnings of messages", b"The detected CUDA version (Torch not compiled with " * (size // 51)
    yield "messages", (LINE.encode() + b"\n") * (size // 53)
    yield "escapes without an end", b"\x1b]" * (size // 2)
    yield "entities", b"&lt;&amp;" * (size // 9)


@pytest.mark.parametrize("name", [name for name, _ in _hostile(100)])
def test_time_grows_with_the_size_and_no_faster(name: str) -> None:
    def seconds(size: int) -> float:
        data = dict(_hostile(size))[name]
        best = 9.0
        for _ in range(3):
            start = time.process_time()
            scan(data)
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(500_000), seconds(8_000_000)
    assert large < 60 * max(small, 0.002)  # 16 times the size


@given(st.binary(max_size=2_000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read(data: bytes) -> None:
    log = scan(data)
    assert log.bytes >= 0
    for block in cleaning.blocks(io.BytesIO(data), size=64):
        assert isinstance(block, bytes)


@given(
    st.lists(
        st.sampled_from([LINE, "\x1b[0m", "\r\n", "é", "x" * 70, "[rank0]: ", "&amp;", " | ", "\u2018"]), max_size=40
    )
)
@settings(max_examples=200, deadline=None)
def test_pieces_of_logs_are_read_alike_in_any_blocks(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    once = b"".join(cleaning.blocks(io.BytesIO(data), size=1 << 20))
    assert once.count(LINE.encode()) == b"".join(cleaning.blocks(io.BytesIO(data), size=50)).count(LINE.encode())


def test_log_made_of_near_misses_is_read_at_its_beginning_and_end_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "CLOSE", 200_000)
    words = (str(number).translate(str.maketrans("0123456789", "abcdefghij")) for number in range(60_000))
    near = "".join(f"enabled CUDA with compiled not Torch {word} {word * 5}\n" for word in words).encode()
    log = scan(
        LINE.encode() + b"\n" + near + b"\nThe detected CUDA version (10.1) mismatches the version that was used to"
        b" compile PyTorch (11.3)\n"
    )
    assert len(log.found(NOT_COMPILED)) == len(log.found(MISMATCH)) == 1
    assert 0 < log.passed_over < log.bytes
