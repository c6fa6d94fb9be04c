"""The work of one process needs more memory than the card has.

What you see
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated ...", with most
    of the card already allocated by this very program. Also "Unable to find a valid cuDNN algorithm to run convolution",
    ``CUBLAS_STATUS_ALLOC_FAILED`` and ``CUBLAS_STATUS_NOT_INITIALIZED`` when a library finds no room for its workspace.

Why
    Weights, gradients, the optimizer's state and above all the activations of a batch must be on the card at once. What
    is allocated, plus the request, plus what CUDA itself takes (0.3 to 0.6 GiB) is more than the card has. On Windows the driver
    lends main memory, so that "allocated" may even exceed the card.

How envfix knows
    By the sum in the message: total - reserved - free is what others hold; allocated + request + CUDA's own part is what
    this process needs. If that does not fit on the empty card, or others hold next to nothing and nothing much is reserved
    without being used, the work is too big.

How to mend
    A smaller batch first (for YOLO ``batch=8`` or ``batch=-1``), then a smaller image size, a smaller model, mixed precision,
    gradient checkpointing.

What not to do
    ``max_split_size_mb`` and ``expandable_segments`` are printed with every such message and help against fragmentation only.
    ``torch.cuda.empty_cache()`` and restarting change nothing: the memory is in use.

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
        return say("The card's memory does not hold what this program wants to put there.")
    need = say(
        "{allocated} in use and {asked} more asked for",
        allocated=in_words(found.allocated),
        asked=in_words(found.asked),
    )
    unused = say(
        "only {unused} of it is held without being used, so it is not fragmentation", unused=in_words(found.unused)
    )
    if found.allowed is not None and found.reserved + found.asked > found.allowed < found.total:
        return say(
            "This process may have {allowed} of {card} (a limit that the program sets, as by"
            " torch.cuda.set_per_process_memory_fraction), and needs more: {need}.",
            allowed=in_words(found.allowed),
            card=_memory.card(found),
            need=need,
        )
    if found.allocated > found.total:
        unused = say("the rest is main memory, which Windows lends")
    return say(
        "The work is too big for {card}: {need}. {whole}; {unused}.",
        card=_memory.card(found),
        need=need,
        whole=_memory.whole(found),
        unused=unused,
    )


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    return _memory.smaller(reading)


LOG = LogSide(
    signatures=_memory.signatures("too_big"),
    message=_message,
    remedies=_remedies,
    tell_apart=Remedy(
        text=later("See how much of the card is free before the program starts, and who holds the rest."),
        commands=(("envfix", "gpus"),),
    ),
)

RULE = Rule(
    code="MEM106",
    cause="oom_workload_too_big",
    title=later("The work needs more memory than the card has"),
    needs=(),
    check=None,  # no fact shows it: what a program will ask for is seen when it asks
    rank=62,
    log=LOG,
)
