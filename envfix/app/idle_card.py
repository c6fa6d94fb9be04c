"""Which card envfix takes for a measurement: the idlest that this shell may use, and why the others are left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from envfix.app.holding import closed, idlest, judge, room
from envfix.errors import UsageError
from envfix.model.facts import Gpu, Machine
from envfix.model.language import say
from envfix.rules._devices import VISIBLE, shown_cards, visible_cards

GIB = 1 << 30
DEVICE = re.compile(r"\d{1,3}|(?:GPU|MIG)-[\w/-]+", re.IGNORECASE)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the script in the target is asked for (``device``), and the ``card`` that it is (None: CUDA itself decides).

    ``export`` are the variables that choose the card. ``left`` says of each card that is left alone why; ``full``: even the
    chosen one has less free than is needed.
    """

    device: str
    card: Gpu | None = None
    export: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    full: bool = False


def choose(machine: Machine, *, need: int, share: float = 0.0) -> Choice:
    """The idlest card with ``need`` bytes and the ``share`` of its memory free, among those that this shell may use.

    Where none is free enough it is the emptiest of them, and ``full`` says so. ``auto`` stands where there is nothing to choose.
    """
    cards = tuple(use.card for use in judge(machine).cards)
    may = _allowed(machine, cards)
    if may is None:
        return Choice(device="auto")
    usable = [card for card in cards if card.index in may and _shut(card) is None]
    enough = [card for card in usable if not _lacks(card, need, share)]
    card = idlest(enough) or idlest(usable)
    left = tuple(_left(cards, may, chosen=card, need=need, share=share))
    if card is None:
        return Choice(device="auto", left=left)
    export = ("CUDA_DEVICE_ORDER=PCI_BUS_ID", f"{VISIBLE}={card.visible_as}")
    # A number would be counted among the cards that the user's own variable shows.
    device = "auto" if card.visible_as.isdecimal() else card.visible_as
    return Choice(device=device, card=card, export=export, left=left, full=not enough)


def may_use_any(machine: Machine) -> bool:
    """Whether CUDA shows this shell any card at all."""
    return _allowed(machine, machine.gpus.value or ()) != frozenset()


def _allowed(machine: Machine, cards: tuple[Gpu, ...]) -> frozenset[int] | None:
    """The numbers of the cards that this shell may use; None where CUDA itself decides which one its variable means."""
    value = machine.variables.get(VISIBLE)
    if value is not None:
        shown = shown_cards(value, cards).cards
        by_bus = machine.variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({card.name for card in cards}) == 1
        if any(entry.startswith("MIG-") for entry in shown) or (
            not by_bus and any(entry.isdecimal() for entry in shown)
        ):
            return None
        return frozenset(card.index for card in visible_cards(machine))
    everyone = frozenset(card.index for card in cards)
    # Slurm counts the cards of the node; where it lets a job see its own only, they are numbered anew.
    given = machine.variables.get("SLURM_STEP_GPUS") or machine.variables.get("SLURM_JOB_GPUS") or ""
    numbers = {int(number) for number in re.findall(r"\d+", given)} if re.fullmatch(r"\d+(,\d+)*", given) else set()
    return frozenset(numbers) if numbers and len(numbers) < len(everyone) and numbers <= everyone else everyone


def _shut(card: Gpu) -> str | None:
    """Why nothing can start on the card, however much of it is free."""
    if card.mig and not card.mig_instances:
        return say("it is in MIG mode, and has no instance to use")
    return closed(card)


def _lacks(card: Gpu, need: int, share: float) -> bool:
    told = card.memory_free is not None or card.mig
    return bool(told) and room(card) < max(need, int(share * (card.memory_total or 0) * (not card.mig)))


def _left(cards: tuple[Gpu, ...], may: frozenset[int], *, chosen: Gpu | None, need: int, share: float) -> Iterator[str]:
    """Why cards that this shell may use are not taken; one that is merely less idle needs no reason."""
    for card in cards:
        lacks = _lacks(card, need, share)
        why = _shut(card)
        if why is None and lacks:
            why = say(
                "{gib} of {gib_2} free{holders}",
                gib=_gib(room(card)),
                gib_2=_gib(card.memory_total or 0),
                holders=_holders(card),
            )
        if card.index in may and why is not None and (card != chosen or lacks):
            yield f"GPU {card.index}: {why}"


def _holders(card: Gpu) -> str:
    most = max(card.processes, key=lambda process: process.memory or 0, default=None)
    if most is None:
        return ""
    owner = say("your own") if most.own else say("{user}'s", user=most.user) if most.user else say("somebody's")
    held = "" if most.memory is None else say(" holds {gib}", gib=_gib(most.memory))
    return say(
        ", {owner} {command}{held}",
        owner=owner,
        command=most.command or say("process {pid}", pid=most.pid),
        held=held or say(" runs there"),
    )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def check_named(machine: Machine, device: str) -> None:
    """Raise ``UsageError`` where a card that the user named is not there, is hidden from this shell, or is cut into instances."""
    cards = machine.gpus.value or ()
    value = machine.variables.get(VISIBLE)
    if device.isdecimal():
        if cards and value is None and int(device) >= len(cards):
            there = (
                say("one card, GPU 0")
                if len(cards) == 1
                else say("{number} cards, GPU 0 to GPU {number_2}", number=len(cards), number_2=len(cards) - 1)
            )
            raise UsageError(
                say("there is no GPU {device}: this machine has {there}", device=device, there=there),
                hint=say("--device auto takes the idlest"),
            )
        alike = len({card.name for card in cards}) == 1
        named = [card for card in cards if card.index == int(device)] if value is None and alike else []
    else:
        named = [card for card in cards if (card.uuid or "").lower().startswith(device.lower())]
        may = _allowed(machine, cards)
        if len(named) == 1 and may is not None and named[0].index not in may:
            raise UsageError(
                say("GPU {index} was not given to this job, or is hidden by CUDA_VISIBLE_DEVICES", index=named[0].index)
                + ("" if value is None else f"={value}"),
                hint=say("name a card that it shows (--device 0 is its first), or take --device auto"),
            )
    if len(named) == 1 and named[0].mig:
        parts = [f"{one.name or 'MIG'} {one.uuid}" for one in named[0].mig_instances]
        raise UsageError(
            say("GPU {index} is in MIG mode: programs use one of its instances, not the card", index=named[0].index),
            hint=say("--device takes one of them: {parts}", parts="; ".join(parts))
            if parts
            else say("ask the administrator to make an instance"),
        )
