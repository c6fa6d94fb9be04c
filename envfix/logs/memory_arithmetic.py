"""The sum behind "CUDA out of memory": whose memory it is, from the numbers of the message itself.

torch has told them in three ways: "cached" (1.0 to 1.3: what it holds without using), "reserved in total by PyTorch"
(1.4 to 2.0) and sentences (2.1 on: "GPU 0 has a total capacity of ... of which ... is free"). The tip about fragmentation is
printed whatever the numbers say.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

GIB = 1 << 30
_UNITS = {"bytes": 1, "byte": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": GIB, "TiB": 1 << 40}
_UNITS |= {"KB": 1 << 10, "MB": 1 << 20, "GB": GIB}
_SIZE = r"(?<![\d.])(\d{1,9}(?:\.\d{1,3})?) ?(bytes|byte|[KMGT]i?B|B)\b"

# No card has so much; torch prints such numbers where it counts below zero.
ABSURD = 1 << 50

# What CUDA itself takes for a process that uses a card (libraries, kernels): measured 0.2 to 0.6 GiB.
CONTEXT = int(0.6 * GIB)
# What a desktop holds at most; more than that belongs to somebody.
DESKTOP = int(1.75 * GIB)
# Shares of the card: from here on others are the reason, and unused reserved memory is more than the allocator's usual rest.
OTHERS_SHARE, SMALL_CARD_SHARE, UNUSED_SHARE = 0.15, 0.35, 0.1
SMALL_CARD = 6 * GIB


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """The memory of one card when an allocation failed, in bytes.

    ``total`` is the card's capacity (``allowed`` what this process may have of it), ``allocated`` what this process uses,
    ``reserved`` what it holds (used or not), ``free`` what is left on the card, ``asked`` the request that failed.
    ``process`` is everything that this process holds, with CUDA's own part, where the message tells it; ``holders`` are
    other processes that the message names.
    """

    asked: int
    total: int
    allocated: int
    reserved: int
    free: int
    gpu: int | None = None
    allowed: int | None = None
    process: int | None = None
    holders: tuple[tuple[int, int], ...] = ()
    wording: Literal["cached", "reserved", "sentences"] = "reserved"

    @property
    def others(self) -> int:
        """What other processes hold, with CUDA's own part for this one where the message does not tell it apart."""
        mine = self.process if self.process is not None else self.reserved
        return max(0, self.total - mine - self.free)

    @property
    def unused(self) -> int:
        """What this process holds without using it."""
        return max(0, self.reserved - self.allocated)

    @property
    def usable(self) -> int:
        """What is there for the request: free, or held without being used, in however many pieces."""
        return self.unused + self.free


Verdict = Literal["other_process", "too_big", "fragmentation"]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """Whose memory it is, by the numbers; ``confidence`` (0 to 1) for each of the three answers."""

    verdict: Verdict
    confidence: dict[Verdict, float]


def read(text: str) -> Shares | None:
    """The numbers of a message (it may go on over several lines); None where it holds none."""
    text = " ".join(text.split())
    asked = _amount(rf"(?:Tried to allocate|Requested *:) {_SIZE}", text) or 0
    for read_one in (_sentences, _brackets, _list):
        shares = read_one(text, asked)
        if shares is not None and 0 < shares.total < ABSURD:
            return shares
    return None


def _bytes(number: str, unit: str) -> int:
    return int(float(number) * _UNITS[unit])


def _amount(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text)
    return _bytes(match[1], match[2]) if match else None


def _brackets(text: str, asked: int) -> Shares | None:
    """``(GPU 0; 23.69 GiB total capacity; 1.71 GiB already allocated; 13.12 MiB free; 1.84 GiB reserved in total by PyTorch)``."""
    total, allocated = _amount(rf"{_SIZE} total capacity", text), _amount(rf"{_SIZE} already allocated", text)
    free = _amount(rf"{_SIZE} free", text)
    if total is None or allocated is None or free is None:
        return None
    reserved, cached = _amount(rf"{_SIZE} reserved in total", text), _amount(rf"{_SIZE} cached", text)
    gpu = re.search(r"\(GPU (\d+);", text)
    return Shares(
        asked=asked,
        total=total,
        allocated=allocated,
        reserved=reserved if reserved is not None else allocated + (cached or 0),
        free=free,
        gpu=int(gpu[1]) if gpu else None,
        allowed=_amount(rf"{_SIZE} allowed", text),
        wording="cached" if reserved is None else "reserved",
    )


def _sentences(text: str, asked: int) -> Shares | None:
    """``GPU 0 has a total capacity of 15.60 GiB of which 700.88 MiB is free. Process 2514 has 14.91 GiB memory in use. ...``.

    torch 2.1 wrote "capacty". Where this process is not told apart ("this process has"), the one that holds about as much as
    torch has reserved is this process itself.
    """
    total = _amount(rf"has a total capaci?ty of {_SIZE}", text)
    free = _amount(rf"of which {_SIZE} is free", text)
    allocated = _amount(rf"{_SIZE} is allocated by PyTorch", text)
    unused = _amount(rf"{_SIZE} is reserved by PyTorch but unallocated", text)
    if total is None or free is None or allocated is None:
        return None
    reserved = allocated + (unused or 0)
    process = _amount(rf"this process has {_SIZE} memory in use", text)
    process = process if process is not None and process <= total else None
    named = tuple(
        (int(match[1]), _bytes(match[2], match[3]))
        for match in re.finditer(rf"Process (\d+) has {_SIZE} memory in use", text)
    )
    if process is None:
        own = next(((pid, held) for pid, held in named if 0 <= held - reserved + GIB // 20 <= 2 * CONTEXT), None)
        process = own[1] if own else None
        named = tuple(one for one in named if one != own)
    gpu = re.search(r"GPU (\d+) has a total", text)
    return Shares(
        asked=asked,
        total=total,
        allocated=allocated,
        reserved=reserved,
        free=free,
        gpu=int(gpu[1]) if gpu else None,
        allowed=_amount(rf"{_SIZE} allowed", text),
        process=process,
        holders=named,
        wording="sentences",
    )


def _list(text: str, asked: int) -> Shares | None:
    """``Currently allocated : 14.81 GiB Requested : 320.00 MiB Device limit : 15.92 GiB Free (according to CUDA): 0 bytes``.

    CUDA's own asynchronous allocator, which torch can use, tells nothing of what is held without being used.
    """
    allocated, total = _amount(rf"Currently allocated *: {_SIZE}", text), _amount(rf"Device limit *: {_SIZE}", text)
    if allocated is None or total is None:
        return None
    free = _amount(rf"Free \(according to CUDA\): {_SIZE}", text) or 0
    return Shares(asked=asked, total=total, allocated=allocated, reserved=allocated, free=free)


def judge(shares: Shares) -> Judgement:
    """Whose memory it is.

    What does not fit on the empty card is too big, whoever else is there. What would fit in the memory that this process holds
    without using is fragmented, if that is much; what others hold is the reason if the request would fit without them.
    """
    limit = min(shares.allowed or shares.total, shares.total)
    others = shares.others - (0 if shares.process is not None else CONTEXT)
    threshold = (
        max(DESKTOP, OTHERS_SHARE * shares.total) if shares.total >= SMALL_CARD else SMALL_CARD_SHARE * shares.total
    )
    fits_alone = shares.allocated + shares.asked + CONTEXT <= limit
    crowded = shares.others >= threshold and others > 0
    fragmented = 0 < shares.asked <= shares.usable and shares.unused >= max(
        UNUSED_SHARE * shares.total, shares.asked / 2
    )
    if shares.asked and shares.asked <= shares.free:
        # There was room: a limit of this process, or another one that took it in between.
        beyond = shares.allowed is not None and shares.reserved + shares.asked > limit
        return _answer("too_big", 0.9 if beyond else 0.45, other_process=0.05 if beyond else 0.4, fragmentation=0.05)
    if not fits_alone:
        by_others = 0.25 if crowded and others > shares.allocated else 0.05
        return _answer("too_big", 0.95 - by_others, other_process=by_others, fragmentation=0.02)
    if fragmented and not (crowded and others > shares.unused):
        return _answer("fragmentation", 0.93, too_big=0.2, other_process=0.1 if crowded else 0.03)
    if crowded:
        clear = others > shares.allocated
        return _answer("other_process", 0.97 if clear else 0.8, too_big=0.12 if clear else 0.4, fragmentation=0.02)
    doubtful = shares.unused >= shares.asked and shares.unused > GIB // 2
    return _answer("too_big", 0.7 if doubtful else 0.95, fragmentation=0.4 if doubtful else 0.03, other_process=0.1)


def _answer(verdict: Verdict, confidence: float, **others: float) -> Judgement:
    return Judgement(verdict=verdict, confidence={verdict: confidence, **others})  # type: ignore[dict-item]


def in_words(size: int) -> str:
    """A size as torch and nvidia-smi write it: ``21.84 GiB``, ``84 MiB``."""
    if size >= GIB:
        return f"{size / GIB:.2f} GiB"
    return f"{size / (1 << 20):.0f} MiB"
