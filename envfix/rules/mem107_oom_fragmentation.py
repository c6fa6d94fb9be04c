"""Enough of the card's memory is free or unused, but not in one piece.

What you see
    "CUDA out of memory. Tried to allocate 2.93 GiB (GPU 0; 23.80 GiB total capacity; 12.04 GiB already allocated; 2.82 GiB free;
    19.69 GiB reserved in total by PyTorch)": much more is reserved than allocated, and the request would fit in between.

Why
    torch keeps memory that it has freed, in blocks. Where the sizes of tensors change from step to step (sequences, images of
    many shapes) the blocks no longer fit the requests, and a large request finds no block that is long enough.

How envfix knows
    By the sum in the message: reserved - allocated + free is at least the request, and reserved - allocated is a large part of the
    card. Without numbers nothing tells it.

How to mend
    torch 2.1 and newer: ``PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True`` (torch 2.9 and newer call the variable
    ``PYTORCH_ALLOC_CONF``); older ones: ``max_split_size_mb:128``. Not both. Constant shapes avoid it altogether.

What not to do
    Do not set it whenever the tip is printed: it stands in every message. Setting it inside the program after torch has
    started has no effect.

Sources
    The message of torch's caching allocator in its releases; PyTorch documentation, memory management.
"""

from __future__ import annotations

from envfix.logs.memory_arithmetic import in_words
from envfix.model.finding import Remedy
from envfix.model.language import later, say
from envfix.rules import _memory
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule


def _message(reading: Reading) -> str:
    found = _memory.of_reading(reading)
    if found is None:
        return say("The card's memory may be fragmented: enough is free, but not in one piece.")
    return say(
        "The memory of {card} is fragmented: {asked} were asked for, and {unused} are held"
        " without being used (+ {free} free), but not in one piece. {whole}.",
        card=_memory.card(found),
        asked=in_words(found.asked),
        unused=in_words(found.unused),
        free=in_words(found.free),
        whole=_memory.whole(found),
    )


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    return (
        _memory.allocator_setting(reading),
        Remedy(text=say("Or keep shapes constant from step to step (pad, drop the last smaller batch).")),
    )


LOG = LogSide(signatures=_memory.signatures("fragmentation"), message=_message, remedies=_remedies)

RULE = Rule(
    code="MEM107",
    cause="oom_fragmentation",
    title=later("The card's memory is in too many pieces"),
    needs=(),
    check=None,  # no fact shows it: it is in the allocator of a running program
    rank=61,
    log=LOG,
)
