"""What several rules ask of device files, of CUDA_VISIBLE_DEVICES and of what torch said when it was imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from envfix.model.facts import Environment, Gpu, Machine, Resources, Scheduler
from envfix.model.finding import Evidence, Remedy
from envfix.rules._cards import nvidia_displays
from envfix.rules._rule import cite

VISIBLE = "CUDA_VISIBLE_DEVICES"
# The words by which Slurm hides every card, beside an empty value.
NO_CARDS = ("", "NoDevFiles")
BATCH = ("slurm", "pbs", "lsf")
GIB = 1024**3


class Shown(NamedTuple):
    """Entries of CUDA_VISIBLE_DEVICES that name a card, and the rest from the first one that does not: CUDA drops it."""

    cards: tuple[str, ...]
    dropped: tuple[str, ...]


def shown_cards(value: str, cards: Sequence[Gpu]) -> Shown:
    """What CUDA makes of the variable: it stops at the first entry that names no card, and takes none if one is repeated."""
    entries = tuple(part.strip() for part in value.split(","))
    end = next((place for place, entry in enumerate(entries) if not names_a_card(entry, cards)), len(entries))
    if repeated(entries[:end], cards) is not None:
        return Shown((), entries)
    return Shown(entries[:end], entries[end:])


def repeated(entries: Sequence[str], cards: Sequence[Gpu]) -> str | None:
    """The first entry that names a card which one before it named: CUDA then shows no card at all."""
    seen: set[str] = set()
    for entry in entries:
        if not names_a_card(entry, cards):
            return None
        named = cards_named(entry, cards) if entry.startswith("GPU-") else ()
        key = str(named[0].uuid).lower() if len(named) == 1 else str(int(entry)) if entry.isdecimal() else entry
        if key in seen:
            return entry
        seen.add(key)
    return None


def cards_named(entry: str, cards: Sequence[Gpu]) -> tuple[Gpu, ...]:
    """The cards that one entry may mean: by number, by the beginning of a UUID, or as the card of a MIG instance."""
    if entry.isdecimal():
        by_index = tuple(card for card in cards if card.index == int(entry))
        return by_index or tuple(cards[int(entry) : int(entry) + 1])
    if entry.startswith("MIG-") and not entry.startswith("MIG-GPU-"):
        return tuple(card for card in cards if any(one.uuid.startswith(entry) for one in card.mig_instances))
    uuid = entry.removeprefix("MIG-").partition("/")[0].lower()
    return tuple(card for card in cards if card.uuid is not None and card.uuid.lower().startswith(uuid))


def visible_cards(machine: Machine) -> tuple[Gpu, ...]:
    """The cards that a program of this shell may get; all that are possible where a number may mean several."""
    cards, value = machine.gpus.value or (), machine.variables.get(VISIBLE)
    if value is None:
        return cards
    shown = shown_cards(value, cards).cards
    # Without an order CUDA counts from the fastest card on, which nobody can tell from here where they differ.
    by_bus = machine.variables.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({card.name for card in cards}) == 1
    if not by_bus and any(entry.isdecimal() for entry in shown):
        return cards
    named = [card for entry in shown for card in cards_named(entry, cards)]
    return tuple(card for card in cards if card in named)


def cards_to_choose(machine: Machine) -> tuple[Gpu, ...]:
    """The cards that this shell may be told to use: in a job only those that it was given."""
    cards, scheduler = machine.gpus.value or (), machine.scheduler.value
    if scheduler is None or (scheduler.job is None and scheduler.kind != "kubernetes"):
        return cards
    if machine.variables.get(VISIBLE) is not None:
        return visible_cards(machine)
    # Slurm also tells how many cards there are, which names none: then a card is the job's own if there is no other.
    return cards if len(cards) == 1 or scheduler.kind == "kubernetes" else ()


def names_a_card(entry: str, cards: Sequence[Gpu]) -> bool:
    """Whether an entry is the number of a card, the beginning of a card's UUID or of a MIG instance's."""
    if entry.isdecimal():
        # A job that may use some of the cards only has them renumbered or not: both numbers are believed.
        return int(entry) < max([len(cards), *(card.index + 1 for card in cards)])
    if entry.startswith("MIG-"):
        told = [instance.uuid for card in cards for instance in card.mig_instances]
        return not told or entry.startswith("MIG-GPU-") or any(uuid.startswith(entry) for uuid in told)
    if entry.startswith("GPU-"):
        return any(card.uuid is None or card.uuid.lower().startswith(entry.lower()) for card in cards)
    return False


def cuda_works(environment: Environment) -> bool:
    """Whether torch itself said just now that it can use CUDA: then nothing that only facts suggest is wrong."""
    imported = environment.torch_import.value
    return imported is not None and imported.cuda_available is True


def torch_said(environment: Environment, *words: str) -> Evidence | None:
    """What torch said when CUDA did not start, if it holds one of the words."""
    imported = environment.torch_import.value
    said = (imported.cuda_problem if imported else None) or ""
    if any(word.lower() in said.lower() for word in words):
        return cite("environment.torch_import", environment.torch_import, said.partition("\n")[0][:300])
    return None


def container(machine: Machine) -> str | None:
    """The kind of container that envfix runs in, None outside."""
    place = machine.platform.value
    return place.container if place is not None else None


def under_wsl(machine: Machine) -> bool:
    """Whether this Linux runs inside Windows."""
    place = machine.platform.value
    return place is not None and place.wsl


def on_jetson(machine: Machine) -> bool:
    """Whether this is a Jetson board."""
    place = machine.platform.value
    return place is not None and place.jetson is not None


def use_card(card: Gpu, why: str) -> Remedy:
    """The line that makes programs started from this shell use one card, by its serial id."""
    return Remedy(text=why, commands=(("export", "CUDA_DEVICE_ORDER=PCI_BUS_ID", f"{VISIBLE}={card.visible_as}"),))


def batch_without_card(machine: Machine) -> Scheduler | None:
    """The batch system, where it is the reason that this shell sees no card: a job without cards, or a node to log in."""
    scheduler = machine.scheduler.value
    if scheduler is None or scheduler.kind not in BATCH:
        return None
    if scheduler.job is None:
        return scheduler if machine.gpus.is_absent and not nvidia_displays(machine) else None
    if scheduler.granted not in (None, *NO_CARDS):
        return None
    hidden = machine.variables.get(VISIBLE) in NO_CARDS
    return scheduler if hidden or not machine.gpus.value else None


def allowed_memory(memory: Resources) -> int | None:
    """Bytes of main memory that a process may use at most: the machine's, or the control group's if that is less."""
    known = [value for value in (memory.memory_total, memory.memory_limit) if value is not None]
    return min(known) if known else None
