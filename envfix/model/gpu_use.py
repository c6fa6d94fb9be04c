"""What ``gpus`` answers: who holds which card, which one is free, and the line that chooses it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, TypeVar

import msgspec

from envfix.model.explanation import Cause
from envfix.model.facts import Gpu
from envfix.model.finding import Finding, Remedy
from envfix.model.plan import TargetGpu

Told = TypeVar("Told", Finding, Cause)


class CardField(msgspec.Struct, frozen=True, kw_only=True):
    """One of nvidia-smi's fields in plain words: what it says now, what that means, and whether training cares.

    ``value`` is None where it is not known, and ``unknown`` says why. ``matters``: it slows or stops training as it is now.
    ``commands`` change it, or show what there is to choose, and ``by`` says who may: the user, or an admin.
    """

    name: str
    value: str | None
    meaning: str
    training: str
    matters: bool = False
    unknown: str | None = None
    commands: tuple[tuple[str, ...], ...] = ()
    by: Literal["user", "admin", "admin of the host"] | None = None


class CardUse(msgspec.Struct, frozen=True, kw_only=True):
    """One card and whose memory it is, in bytes (None where the driver does not tell how much is free).

    ``yours`` is held by processes of this user, ``own`` by the driver itself, ``others`` by everything else, which may be a
    desktop or processes that the driver does not name (``nameless``: their part). ``obstacle`` says why this shell cannot use
    the card (None: it can). ``fields`` are nvidia-smi's fields in plain words, where they were asked for.
    """

    card: Gpu
    yours: int | None = None
    own: int | None = None
    others: int | None = None
    nameless: int | None = None
    obstacle: str | None = None
    fields: tuple[CardField, ...] = ()


class GpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """All cards, the best to take now (None: none is free that this shell may use), and what cannot be known here.

    ``problem`` says why there are no cards to show; ``failed``: because the driver gives no answer, not because there is none.
    """

    cards: tuple[CardUse, ...]
    best: CardUse | None = None
    notes: tuple[str, ...] = ()
    problem: str | None = None
    failed: bool = False
    origin: str | None = None

    @property
    def export(self) -> tuple[str, ...]:
        """The variables that make a program use the best card, as ``NAME=VALUE``."""
        if self.best is None:
            return ()
        card = self.best.card
        if self.origin is not None:  # ids of a saved machine are not the real ones
            return ("CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={card.index}")
        return ("CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={card.visible_as}")


def numbers(cards: Iterable[Gpu | TargetGpu]) -> dict[str, str]:
    """The number of each card by its serial id, where that is its own."""
    cards = tuple(cards)
    count = Counter(card.uuid for card in cards)
    return {card.uuid: str(card.index) for card in cards if card.uuid and count[card.uuid] == 1}


def by_number(rows: Iterable[Told], cards: Mapping[str, str]) -> tuple[Told, ...]:
    """The same rows, whose commands name cards by their numbers: the stand-in of a serial id would choose none."""
    return tuple(
        msgspec.structs.replace(row, remedies=tuple(_by_number(remedy, cards) for remedy in row.remedies))
        for row in rows
    )


def _by_number(remedy: Remedy, cards: Mapping[str, str]) -> Remedy:
    commands = tuple(tuple(numbered(word, cards) for word in argv) for argv in remedy.commands)
    return msgspec.structs.replace(remedy, commands=commands)


def numbered(text: str, cards: Mapping[str, str]) -> str:
    """The text with numbers in place of serial ids."""
    for uuid, number in cards.items():
        text = text.replace(uuid, number)
    return text
