"""What ``gpus`` answers: who holds which card, which one is free, and the line that chooses it."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.facts import Gpu


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
