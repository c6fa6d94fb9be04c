"""What stands around an ambiguous text in a log: where it was made, which card it speaks of."""

from __future__ import annotations

import re
from typing import NamedTuple

from envfix.model.log import Hit, Log, Weigh
from envfix.model.regex import regex
from envfix.rules import _log_patterns as texts
from envfix.rules._cards import has_code_for_cards
from envfix.rules._log import PLAIN, Reading

# Traces of a place, the most telling first.
PLACES = {
    "answers": texts.DRIVER_ANSWERS,
    "jetson": texts.ON_JETSON,
    "wsl": texts.UNDER_WSL,
    "other": texts.OTHER_CARD,
    "batch": texts.IN_BATCH_JOB,
    "container": texts.IN_CONTAINER,
    "colab": texts.IN_COLAB,
    "mac": texts.ON_MAC,
    "windows": texts.ON_WINDOWS,
}
LOOKS_AT = tuple(PLACES.values())


def by_place(otherwise: float | None, **places: float | None) -> Weigh:
    """The confidence by the first place of which the log shows a trace; a signature with it ``looks_at`` ``LOOKS_AT``."""
    unknown = set(places) - set(PLACES)
    if unknown:
        raise ValueError(f"no such place: {', '.join(sorted(unknown))}")

    def weigh(hit: Hit, log: Log) -> float | None:
        del hit
        for name, pattern in PLACES.items():
            if name in places and log.found(pattern):
                return places[name]
        return otherwise

    return weigh


class Sure(NamedTuple):
    """How sure it is that a card is too new for a build, and that it is too old."""

    newer: float | None
    older: float | None


# Cards that torch builds have left behind, and those that came after older builds.
NEW_CARD = (
    r"RTX\s?(?:PRO\s)?[3-6]0[5-9]0|RTX\s?(?:PRO|A)\s?\d{4}|RTX\s6000\sAda"
    r"|\b(?:A10|A30|A40|A100|A800|L4|L20|L40S?|H20|H100|H200|H800|B200|B300|GB10|GB200|GH200)\b"
)
OLD_CARD = (
    r"\bGT[XS]?\s?(?:[4-9]\d\d|10[1-8]0)(?:\s?Ti|M)?\b|Tesla\s[CMKP]\d+|\bK[248]0m?\b|\bM[46]0\b|\bP(?:4"
    r"|40|100)\b|\bV100\b"
    r"|Quadro\s[KMP]\d+|TITAN\s?(?:X|Z|Black|Xp|V)\b|\bMX\d{3}\b|\b9[234]0MX?\b"
)
# Compute capabilities from here on are newer than what older builds knew; those below are dropped by newer builds.
FIRST_NEW_MAJOR = 8
# The two halves of what torch says of a card that it has no code for.
UNFIT = (
    r"(?:(?:NVIDIA|GeForce|Tesla|Quadro|TITAN|RTX|Orin"
    r"|Xavier)[^\n]{0,60} )?with CUDA capability sm_(?P<sm>\d{2,3}) is not compatible"
)
RANGE = (
    r"(?:Found GPU\d+ [^\n]{0,60} )?which is of cuda capability (?P<major>\d{1,2})\.(?P<minor>\d)\.? "
    r"Minimum and Maximum cuda capability"
    r" supported by this version of PyTorch is \((?P<low>[\d.]+)\) - \((?P<high>[\d.]+)\)"
)
KERNELS = r"(?:Found GPU\d+ [^\n]{0,60} )?which is of compute capability \(CC\) (?P<major>\d{1,2})\.(?P<minor>\d)"
# Native libraries beside torch: what fails in them is their own code for cards.
EXTENSION = regex(
    r"flash_?attn|xformers|mmcv|bitsandbytes|detectron2|apex|spconv|pytorch3d|torch_scatter|torch_sparse"
    r"|MultiScaleDeformable|causal_conv1d"
    r"|mamba_ssm|tiny-?cuda-?nn|diff_gaussian|nvdiffrast|torch_extensions|_ext\b|\.cu\b"
)
_FIRST_NEW, _LAST_OLD = 80, 59
_NEAR = 1_500


def of_unfit(hit: Hit) -> Sure:
    """By the number of the card and the list of what the build has code for, which torch prints behind it."""
    sm = int(hit.groups["sm"])
    listed = re.search(r"supports\s+CUDA\s+capabilities\s+([^.]*)", hit.after)
    known = [int(number) for number in re.findall(r"sm_(\d+)", listed[1])] if listed else []
    if known:
        return _compared(sm, min(known), max(known))
    if sm >= _FIRST_NEW:
        return Sure(0.93, 0.05)
    return Sure(0.05, 0.93) if sm <= _LAST_OLD else Sure(0.3, 0.65)


def of_range(hit: Hit) -> Sure:
    """By the range that torch 2.8 and newer print; within one major number the code runs all the same."""
    low, high = (round(float(hit.groups[name]) * 10) for name in ("low", "high"))
    sm = int(hit.groups["major"]) * 10 + int(hit.groups["minor"])
    if sm // 10 == high // 10 and sm > high:
        return Sure(None, None)
    return _compared(sm, low, high)


def _compared(sm: int, least: int, most: int) -> Sure:
    if sm > most:
        return Sure(0.97, None)
    if sm < least:
        return Sure(None, 0.97)
    # A gap in the list: a build of one's own, or the chip of a Jetson.
    return Sure(0.4, 0.4)


def of_kernel(hit: Hit, log: Log) -> Sure:
    """Where only "no kernel image" stands: by the cards that the log names, and by whose code failed."""
    new, old = bool(log.found(NEW_CARD)), bool(log.found(OLD_CARD))
    by_card = {(True, False): (0.6, 0.08), (False, True): (0.1, 0.6)}
    newer, older = by_card.get((new, old), (0.42, 0.3))
    if EXTENSION.search(hit.before[-_NEAR:]):
        return Sure(newer * 0.5, older * 0.5)
    return Sure(newer, older)


def by_card(reading: Reading, by_log: float, *, newer: bool) -> float | None:
    """By the cards and torch where both are known.

    Where only the cards are: whether they are of the newer ones, or of those that builds have dropped.
    """
    if reading.proved:
        return None
    if has_code_for_cards(reading.machine, reading.environment, reading.tables):
        return by_log if by_log >= PLAIN else by_log * 0.2
    cards = [card.capability for card in reading.machine.gpus.value or () if card.capability is not None]
    if not cards or reading.environment.torch.value is not None:
        return None
    fits = all((card.major >= FIRST_NEW_MAJOR) == newer for card in cards)
    return max(by_log, 0.6) if fits else by_log * 0.3


def as_by_log(reading: Reading, by_log: float) -> float | None:
    """What was asked for and was not there is no fact of a machine: facts say nothing against it."""
    return None if reading.proved else by_log
