"""The sum behind "CUDA out of memory", in all the ways in which torch has told its numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfix.logs import memory_arithmetic
from envfix.logs.memory_arithmetic import GIB, Shares, in_words, judge, read

MIB = 1 << 20
SHARED_SERVER = (
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity; 1.71 GiB already allocated; 13.12 MiB free;"
    " 1.84 GiB reserved in total by PyTorch)"
)
LAPTOP = (
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated; 0 bytes free;"
    " 3.42 GiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting max_split_size_mb"
)


def test_shared_server_is_somebody_elses_process() -> None:
    shares = read(SHARED_SERVER)
    assert shares is not None
    assert in_words(shares.others) == "21.84 GiB"
    assert judge(shares).verdict == "other_process"


def test_laptop_is_too_big_although_the_tip_speaks_of_fragmentation() -> None:
    shares = read(LAPTOP)
    assert shares is not None
    assert in_words(shares.unused) == "102 MiB"
    assert judge(shares).verdict == "too_big"


def test_old_wording_counts_cached_memory_beside_the_allocated() -> None:
    shares = read(
        "Tried to allocate 338.00 MiB (GPU 0; 3.95 GiB total capacity; 1.62 GiB already allocated; 23.00 MiB free;"
        " 9.10 MiB cached)"
    )
    assert shares is not None
    assert (shares.wording, in_words(shares.reserved)) == ("cached", "1.63 GiB")


def test_sentences_tell_this_process_from_the_others() -> None:
    shares = read(
        "Tried to allocate 20.00 MiB. GPU 3 has a total capacty of 39.39 GiB of which 8.00 MiB is free. Process 11 has 30.00 GiB"
        " memory in use. Including non-PyTorch memory, this process has 9.38 GiB memory in use. Of the allocated memory 8.70 GiB"
        " is allocated by PyTorch, and 100.00 MiB is reserved by PyTorch but unallocated."
    )
    assert shares is not None
    assert shares.gpu == 3
    assert shares.holders == ((11, 30 * GIB),)
    assert in_words(shares.others) == "30.00 GiB"
    assert judge(shares).verdict == "other_process"


def test_process_that_holds_what_torch_reserved_is_this_one() -> None:
    shares = read(
        "Tried to allocate 1.25 GiB. GPU 0 has a total capacity of 15.60 GiB of which 700.88 MiB is free. Process 2514 has"
        " 14.91 GiB memory in use. Of the allocated memory 14.62 GiB is allocated by PyTorch, and 87.96 MiB is reserved by"
        " PyTorch but unallocated."
    )
    assert shares is not None
    assert shares.holders == ()
    assert judge(shares).verdict == "too_big"


def test_more_allocated_than_the_card_has_is_too_big() -> None:
    shares = read(
        "Tried to allocate 1002.00 MiB. GPU 0 has a total capacity of 8.00 GiB of which 0 bytes is free. Of the allocated memory"
        " 13.98 GiB is allocated by PyTorch, and 129.48 MiB is reserved by PyTorch but unallocated."
    )
    assert shares is not None
    assert judge(shares).verdict == "too_big"


@pytest.mark.parametrize(
    "text", ["", "CUDA out of memory.", "Tried to allocate 2.00 GiB", "Tried to allocate x (GPU 0;"]
)
def test_message_without_numbers_gives_none(text: str) -> None:
    assert read(text) is None


def _card(total: float, allocated: float, reserved: float, free: float, asked: float) -> Shares:
    return Shares(
        total=int(total * GIB),
        allocated=int(allocated * GIB),
        reserved=int(reserved * GIB),
        free=int(free * GIB),
        asked=int(asked * GIB),
    )


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        pytest.param(_card(24, 2, 2.2, 0.01, 0.1), "other_process", id="others-hold-most"),
        pytest.param(_card(24, 22, 22.5, 0.9, 1.5), "too_big", id="alone-and-full"),
        pytest.param(_card(24, 9, 20, 2, 3), "fragmentation", id="half-reserved-for-nothing"),
        pytest.param(_card(8, 6, 6.3, 0.05, 0.1), "too_big", id="desktop-holds-its-usual-part"),
        pytest.param(_card(24, 1, 3, 0.1, 1), "other_process", id="little-unused-many-others"),
        pytest.param(_card(5, 1.4, 1.45, 2.3, 12.9), "too_big", id="asks-for-more-than-the-card"),
    ],
)
def test_verdict_by_shares(shares: Shares, verdict: str) -> None:
    assert judge(shares).verdict == verdict


@given(*(st.floats(min_value=0, max_value=100) for _ in range(5)))
def test_any_numbers_give_a_verdict_of_which_it_is_surest(
    total: float, allocated: float, reserved: float, free: float, asked: float
) -> None:
    answer = judge(_card(total, allocated, max(allocated, reserved), free, asked))
    assert max(answer.confidence.values()) == answer.confidence[answer.verdict]
    assert all(0 <= value <= 1 for value in answer.confidence.values())


@given(st.text(max_size=300))
def test_reading_any_text_never_fails(text: str) -> None:
    memory_arithmetic.read(SHARED_SERVER[:70] + text)
    memory_arithmetic.read(text)
