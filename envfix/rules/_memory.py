"""What the three rules about a card's memory share: the texts, the sum, and what to say of a YOLO run."""

from __future__ import annotations

import re

from packaging.version import InvalidVersion, Version

from envfix.logs import memory_arithmetic
from envfix.logs.memory_arithmetic import Shares, Verdict, in_words
from envfix.model.finding import Remedy
from envfix.model.language import say
from envfix.model.log import Hit, Log, Signature, Weigh
from envfix.model.regex import regex
from envfix.rules._log import Reading

# All three generations of the message, for CUDA and ROCm builds; what follows it holds the numbers.
WITH_NUMBERS = (
    r"(?:CUDA|HIP|XPU) out of memory\s?\.\s?Tried to allocate [\d.]+\s?(?:bytes|B|[KMG]i?B)"
    r"|Tried to allocate [\d.]+ (?:bytes|[KMG]iB)\.? (?:\(GPU \d+;|GPU \d+ has a total)"
    r"|\(GPU \d+; [\d.]+ [MG]iB total capacity; [\d.]+ [KMG]iB already allocated"
    r"|Currently allocated : [\d.]+ [KMG]iB Requested : [\d.]+ [KMG]iB"
)
# The same without numbers: a framework's short form, CUDA's own allocations, other frameworks.
WITHOUT_NUMBERS = r"CUDA out of memory\.?(?:\s*\n|\s*$|[\s'\")])|OutOfMemoryError: CUDA out of memory"
RAW = (
    r"CUDA error: out of memory|cuda runtime error \(2\) : out of memory|error=2 : out of memory|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY|CUDA(?: runtime| driver)? (?:error|failure)\s?2\b[^\n]{0,60}out of memory"
    r"|Cuda Runtime \(out of memory\)|Cuda failure[^\n]{0,60}'?out of memory|Failed to CUDA (?:malloc|calloc)[^\n]{0,60}"
)
CHECK_FAILED = r"cudaSuccess \(2 vs\. 0\)[^\n]{0,80}out of memory"
# Servers of language models look before they start, and Apple's cards have a limit of their own.
AT_START = r"Free memory on device(?: \S+)? \((?P<left>[\d.]+)/[\d.]+ GiB\) on startup is less than desired GPU memory utilization"
FOR_CACHE = r"No available memory for the cache blocks"
ON_DEVICE = r"OutOfMemoryError: Allocation on device|Allocation on device \d would exceed allowed memory"
APPLE = r"MPS backend out of memory \(MPS allocated: [\d.]+ [KMG]B, other allocations: [\d.]+ [KMG]B, max allowed: [\d.]+ [KMG]B\)"
# What a full card looks like from inside other libraries.
CUBLAS = r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|CUSOLVER_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
NOT_INITIALIZED = r"CUBLAS_STATUS_NOT_INITIALIZED"
NO_ALGORITHM = r"Unable to find a valid cuDNN algorithm to run convolution"
# nvidia-smi's table of processes and of a card's memory, pasted along.
CARD_IN_USE = r"(?P<used>\d{3,6})MiB /\s+(?P<size>\d{4,6})MiB"
YOLO = r"(?i)\bultralytics\b|\byolo(?:v?\d+\w?)?\b"
BATCH = r"\bbatch(?:[_-]size)?[=\s:]{1,3}(?P<batch>\d{1,4})\b"
NEW_NAME = r"PYTORCH_ALLOC_CONF"
LOOKS_AT = (CARD_IN_USE, YOLO, BATCH, NEW_NAME, WITH_NUMBERS)

# How often each is the reason where a text tells no numbers.
_SHARES: dict[str, dict[Verdict, float]] = {
    WITHOUT_NUMBERS: {"too_big": 0.7, "other_process": 0.3, "fragmentation": 0.05},
    RAW: {"too_big": 0.4, "other_process": 0.55, "fragmentation": 0.02},
    CHECK_FAILED: {"too_big": 0.6, "other_process": 0.4},
    AT_START: {"other_process": 0.85, "too_big": 0.15},
    FOR_CACHE: {"too_big": 0.8, "other_process": 0.2},
    ON_DEVICE: {"too_big": 0.75, "other_process": 0.25},
    APPLE: {"too_big": 0.85, "other_process": 0.15},
    CUBLAS: {"too_big": 0.75, "other_process": 0.3, "fragmentation": 0.02},
    NOT_INITIALIZED: {"too_big": 0.5, "other_process": 0.25},
    NO_ALGORITHM: {"too_big": 0.75, "other_process": 0.2},
}
# How full a card is, in nvidia-smi's table, where hardly anything is left.
_FULL = 0.93


def shares(hit: Hit) -> Shares | None:
    """The numbers of the message at this place."""
    rest = re.split(r"out of memory", hit.after, maxsplit=1)[0]
    return memory_arithmetic.read(hit.text + rest)


def of_reading(reading: Reading) -> Shares | None:
    """The numbers of the message that made the cause sure."""
    own = (hit for hit in reading.hits if hit.pattern == WITH_NUMBERS)
    return next((found for hit in own if (found := shares(hit)) is not None), None)


def signatures(verdict: Verdict) -> tuple[Signature, ...]:
    """The texts of a full card, each as sure as it makes this of the three reasons."""
    plain = tuple(
        Signature(pattern=pattern, weigh=_without_numbers(verdict, known[verdict]), looks_at=LOOKS_AT)
        for pattern, known in _SHARES.items()
        if verdict in known
    )
    return (Signature(pattern=WITH_NUMBERS, weigh=_with_numbers(verdict), looks_at=LOOKS_AT), *plain)


def _with_numbers(verdict: Verdict) -> Weigh:
    def weigh(hit: Hit, log: Log) -> float | None:
        del log
        if hit.text.startswith("(GPU") and "Tried to allocate" in hit.before[-80:]:
            return None  # the rest of a message that was read from its beginning
        found = shares(hit)
        if found is None:
            return _SHARES[WITHOUT_NUMBERS].get(verdict)
        if _went_on(hit):
            return None  # the program had a smaller try in hand
        return memory_arithmetic.judge(found).confidence.get(verdict)

    return weigh


# What follows an allocation that failed where the program goes on with a smaller one.
_SMALLER = regex(r"AutoBatch: Using batch-size|skipping batch|retrying with|epochs completed in|Results saved to")


def _went_on(hit: Hit) -> bool:
    """Whether the program goes on behind the place, and does not fail later."""
    goes_on = _SMALLER.search(hit.after)
    return goes_on is not None and "Traceback" not in hit.after[: goes_on.start()]


def by_numbers(reading: Reading, by_log: float) -> float | None:
    """Facts of today do not change what the numbers of a message say; they may only confirm it."""
    if of_reading(reading) is None:
        return None if reading.proved else by_log
    return None if reading.proved and by_log >= 0.5 else by_log


def _without_numbers(verdict: Verdict, confidence: float) -> Weigh:
    def weigh(hit: Hit, log: Log) -> float | None:
        if log.found(WITH_NUMBERS) or _went_on(hit):
            return None  # the message with numbers decides
        full = any(int(one.groups["used"]) > int(one.groups["size"]) * _FULL for one in log.found(CARD_IN_USE))
        return 0.7 if full and verdict == "other_process" else confidence

    return weigh


def card(found: Shares) -> str:
    """What the card is called in the message."""
    return say("The card") if found.gpu is None else f"GPU {found.gpu}"


def whole(found: Shares) -> str:
    """How the card's memory is divided, as a sum that a reader can check."""
    mine = found.process if found.process is not None else found.reserved
    own = say("{mine} this process ({allocated} in use)", mine=in_words(mine), allocated=in_words(found.allocated))
    others = say("others") if found.process is not None else say("others and CUDA itself")
    return say(
        "{total} = {own} + {free} free + {others} {others_2}",
        total=in_words(found.total),
        own=own,
        free=in_words(found.free),
        others=in_words(found.others),
        others_2=others,
    )


def is_yolo(reading: Reading) -> bool:
    """Whether the log is of a YOLO program, whose options are known."""
    return bool(reading.log.found(YOLO))


def batch(reading: Reading) -> int | None:
    """The batch that the log names; None where it names none."""
    return next((int(hit.groups["batch"]) for hit in reading.log.found(BATCH) if int(hit.groups["batch"]) > 1), None)


def smaller(reading: Reading) -> tuple[Remedy, ...]:
    """How a workload is made to fit, for the program that the log is of."""
    size, found = batch(reading), of_reading(reading)
    fits = _batch_that_may_fit(size, found) if size is not None else None
    if not is_yolo(reading):
        down = say(" (from {size} to {fits}, then lower)", size=size, fits=fits) if fits else ""
        return (
            Remedy(
                text=say(
                    "Make the batch smaller{down}, or the input, or the model; mixed precision"
                    " (autocast) halves much of it.",
                    down=down,
                )
            ),
        )
    to = str(fits) if fits else "8"
    why = say("Train with a smaller batch than {size}", size=size) if size else say("Train with a smaller batch")
    return (
        Remedy(
            text=say(
                "{why}; more of it needs proportionally more memory. Halve it again if that is still too much.", why=why
            ),
            commands=(("yolo", "train", "model=MODEL.pt", "data=DATA.yaml", f"batch={to}"),),
        ),
        Remedy(
            text=say(
                "Or let ultralytics measure what fits (batch=-1 takes about 60 % of the card); a"
                " smaller imgsz, amp=True (the default) and a smaller model (yolov8n) need less as"
                " well."
            ),
            commands=(("yolo", "train", "model=MODEL.pt", "data=DATA.yaml", "batch=-1", "imgsz=512"),),
        ),
    )


def _batch_that_may_fit(size: int, found: Shares | None) -> int | None:
    """The next power of two below, as far down as the numbers demand: the need grows with the batch and was not yet whole."""
    below = 1 << (size - 1).bit_length() - 1
    if found is None or size < 2:
        return below if size > 1 else None
    room = (found.allowed or found.total) - found.others
    while below > 1 and below / size * (found.allocated + found.asked) > room:
        below //= 2
    return below


def allocator_setting(reading: Reading) -> Remedy:
    """The setting against fragmentation that this torch knows, under the name that it reads."""
    found = of_reading(reading)
    newer = bool(reading.log.found(NEW_NAME)) or _is_at_least(reading, "2.9")
    name = "PYTORCH_ALLOC_CONF" if newer else "PYTORCH_CUDA_ALLOC_CONF"
    sentences = found is not None and found.wording == "sentences"
    value = (
        "expandable_segments:True" if sentences or newer or _is_at_least(reading, "2.1") else "max_split_size_mb:128"
    )
    renamed = (
        say(" (torch 2.9 and newer call it PYTORCH_ALLOC_CONF)")
        if not newer
        else say(" (before torch 2.9: PYTORCH_CUDA_ALLOC_CONF)")
    )
    return Remedy(
        text=say(
            "Set this in the shell before the program starts{renamed}; inside a running program it has no effect.",
            renamed=renamed,
        ),
        commands=(("export", f"{name}={value}"),),
    )


def _is_at_least(reading: Reading, version: str) -> bool:
    torch = reading.environment.torch.value
    try:
        return torch is not None and Version(torch.version) >= Version(version)
    except InvalidVersion:
        return False
