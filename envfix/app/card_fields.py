"""gpus --explain: what each of nvidia-smi's fields says on this card now, and whether training cares."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from envfix.model.facts import Gpu, GpuActivity, Machine, MigInstance
from envfix.model.gpu_use import CardField, CardUse, GpuUse
from envfix.model.language import later, retold, say
from envfix.rules._devices import container, under_wsl

GIB = 1 << 30
# Less of a card than this is free: training will hardly fit.
SCARCE = 0.1
# From this temperature (Celsius) on most cards slow down; what the driver says of it (slowed by) is what counts.
HOT = 85
IDLE_STATE, WORK_STATE = 8, 2
# From this utilization (percent) on somebody else's program is at work.
BUSY = 30
ON_THE_CARD = ("sudo", "nvidia-smi", "-i")


class Place(NamedTuple):
    """Where the card is looked at: why the driver's silence is silence, and who may change a setting."""

    silence: str
    admin: Literal["admin", "admin of the host"]
    windows: bool


def explained(use: GpuUse, machine: Machine) -> GpuUse:
    """The same with the fields of each card in plain words; what is not known says why."""
    place = Place(
        silence=_silence(machine, use.origin),
        admin="admin of the host" if under_wsl(machine) or container(machine) is not None else "admin",
        windows=machine.platform.value is not None and machine.platform.value.system == "windows",
    )
    cards = tuple(msgspec.structs.replace(card, fields=tuple(fields(card, place))) for card in use.cards)
    best = next((card for card in cards if use.best is not None and card.card == use.best.card), None)
    return msgspec.structs.replace(use, cards=cards, best=best)


def _silence(machine: Machine, origin: str | None) -> str:
    """Why a value is not there."""
    source = retold(machine.gpus.source)
    if source == "ENVFIX_GPU":
        return say("the card is only named by ENVFIX_GPU")
    if origin is not None:
        if source == "NVML":
            return say("the snapshot does not hold it")
        return say("the saved report does not say it")
    if source == "NVML":
        return say("the driver does not tell it for this card")
    return say("only {source} answers here, and does not tell it", source=source)


def fields(use: CardUse, place: Place) -> Iterator[CardField]:
    """nvidia-smi's fields in the order in which it shows them."""
    card = use.card
    now = card.activity or GpuActivity()
    yield _bus(card, place)
    yield _persistence(card, place)
    yield _fan(now, place)
    yield _performance(now, place)
    yield _temperature(now, place)
    yield _power(now, place)
    yield _clocks(card, now, place)
    yield _display(card, place)
    yield from _memory(use, place)
    yield _utilization(card, now, place)
    yield _ecc(card, place)
    yield _compute_mode(card, place)
    yield _mig(card, place)


def _not_told(name: str, meaning: str, why: str) -> CardField:
    return CardField(name=name, value=None, unknown=why, meaning=meaning, training=say("cannot be said"))


def _bus(card: Gpu, place: Place) -> CardField:
    meaning = say(
        "the slot of the card in this machine; CUDA_DEVICE_ORDER=PCI_BUS_ID numbers cards by it, as nvidia-smi does"
    )
    if card.pci_bus is None:
        return _not_told("Bus-Id", meaning, place.silence)
    return CardField(name="Bus-Id", value=card.pci_bus, meaning=meaning, training=say("no difference"))


def _fan(now: GpuActivity, place: Place) -> CardField:
    meaning = say("how fast the fan is meant to turn")
    if now.fan is None:
        return _not_told(
            "Fan", say("{meaning}; nvidia-smi shows N/A on cards that the server cools", meaning=meaning), place.silence
        )
    return CardField(name="Fan", value=f"{now.fan}%", meaning=meaning, training=say("no difference"))


def _persistence(card: Gpu, place: Place) -> CardField:
    name = "Persistence-M"
    if place.windows:
        return _not_told(name, say("keeps the driver loaded while nothing runs"), say("Windows has no such mode"))
    if card.persistence is None:
        return _not_told(name, say("keeps the driver loaded while nothing runs"), place.silence)
    if card.persistence:
        meaning = say("the driver stays loaded while nothing runs, so programs start at once")
        return CardField(name=name, value="On", meaning=meaning, training=say("no difference"))
    return CardField(
        name=name,
        value="Off",
        meaning=say("the driver lets go of the card when its last program ends"),
        training=say("no difference, except that the first start takes a few seconds longer"),
        commands=((*ON_THE_CARD, str(card.index), "-pm", "1"),),
        by=place.admin,
    )


def _performance(now: GpuActivity, place: Place) -> CardField:
    name = "Perf"
    state = now.performance_state
    if state is None:
        return _not_told(name, say("the speed step of the card, P0 is the fastest"), place.silence)
    meaning = (
        say("full speed")
        if state <= WORK_STATE
        else say("resting, with low clocks")
        if state >= IDLE_STATE
        else say("reduced speed")
    )
    return CardField(
        name=name,
        value=f"P{state}",
        meaning=say("{meaning} (P0 is the fastest step, P8 and above are rest)", meaning=meaning),
        training=say("the card chooses it by itself; while training it should say P0 to P2"),
    )


def _temperature(now: GpuActivity, place: Place) -> CardField:
    name = "Temp"
    if now.temperature is None:
        return _not_told(name, say("how hot the chip is"), place.silence)
    hot = now.temperature >= HOT
    return CardField(
        name=name,
        value=f"{now.temperature} C",
        meaning=say("hot: many cards slow down from here on") if hot else say("how hot the chip is"),
        training=say("it slows down if `slowed by` below says heat: look at fans, dust and air")
        if hot
        else say("no difference"),
        matters=hot and any("heat" in reason for reason in now.slowed_by or ()),
    )


def _power(now: GpuActivity, place: Place) -> CardField:
    name = "Pwr:Usage/Cap"
    meaning = say("watts it takes now, and the most it may take")
    if now.power is None and now.power_limit is None:
        return _not_told(name, meaning, place.silence)
    usage, cap = (say("not told") if watts is None else f"{watts:.0f} W" for watts in (now.power, now.power_limit))
    return CardField(
        name=name,
        value=f"{usage} / {cap}",
        meaning=meaning,
        training=say("only where `slowed by` below says power limit, which is usual under full load"),
    )


def _clocks(card: Gpu, now: GpuActivity, place: Place) -> CardField:
    name = later("Slowed by")
    if now.slowed_by is None:
        return _not_told(name, say("what holds the clocks down now"), place.silence)
    reasons = [reason for reason in now.slowed_by if reason != "idle"]
    value = ", ".join(now.slowed_by) or say("nothing")
    if any("heat" in reason for reason in reasons):
        meaning, training, matters = (
            say("the card is too hot and slows itself down"),
            say("slower until it cools"),
            True,
        )
    elif "hardware slowdown" in reasons or "power brake" in reasons:
        meaning = say("the hardware protects itself: heat, or too little power from supply or cable")
        training, matters = say("much slower: check cables, power supply and cooling"), True
    elif "power limit" in reasons:
        meaning, training, matters = (
            say("the card is at its power limit"),
            say("a little slower, usual under full load"),
            False,
        )
    elif reasons:
        meaning, training, matters = say("a setting fixes the clocks"), say("as fast as the setting allows"), False
    elif now.slowed_by:
        meaning, training, matters = say("nothing to do, so the clocks rest"), say("no difference"), False
    else:
        meaning, training, matters = say("the clocks are free"), say("no difference"), False
    changes = "clocks set by hand" in reasons
    return CardField(
        name=name,
        value=value,
        meaning=meaning,
        training=training,
        matters=matters,
        commands=((*ON_THE_CARD, str(card.index), "-rac"),) if changes else (),
        by=place.admin if changes else None,
    )


def _display(card: Gpu, place: Place) -> CardField:
    name = "Disp.A"
    if card.display_active is None:
        return _not_told(name, say("whether a screen is drawn by this card"), place.silence)
    if card.display_active:
        meaning, training = (
            say("a screen is drawn by this card"),
            say("the desktop takes some hundred MiB, and may stutter"),
        )
        return CardField(name=name, value="On", meaning=meaning, training=training)
    return CardField(
        name=name, value="Off", meaning=say("no screen is drawn by this card"), training=say("no difference")
    )


def _memory(use: CardUse, place: Place) -> Iterator[CardField]:
    total, free, reserved = use.card.memory_total, use.card.memory_free, use.card.memory_reserved
    if total is None or free is None or use.card.mig:
        why = say("in MIG mode each slice has memory of its own") if use.card.mig else place.silence
        told = "" if total is None else say(" (the card has {gib})", gib=_gib(total))
        yield _not_told("Memory-Usage", say("memory that programs hold{told}", told=told), why)
        yield _not_told(say("Memory free"), say("memory that a new program can take"), why)
    else:
        scarce = free < SCARCE * total
        meaning = say("memory that programs hold, and the whole card")
        if reserved is None:
            meaning += say(" (with what the driver keeps for itself)")
        yield CardField(
            name="Memory-Usage",
            value=f"{_gib(max(0, total - free - (reserved or 0)))} / {_gib(total)}",
            meaning=meaning,
            training=say("what others hold is missing for you"),
            matters=scarce,
        )
        yield CardField(
            name=later("Memory free"),
            value=_gib(free),
            meaning=say("memory that a new program can take"),
            training=say("too little for most training")
            if scarce
            else say("it limits the batch: `envfix fit` measures which one"),
            matters=scarce,
        )
    meaning = say("kept by driver and firmware (with ECC also for check bits); no program can take it")
    if reserved is None:
        yield _not_told(later("Memory reserved"), meaning, place.silence)
    else:
        yield CardField(
            name=later("Memory reserved"), value=_gib(reserved), meaning=meaning, training=say("no difference")
        )


def _utilization(card: Gpu, now: GpuActivity, place: Place) -> CardField:
    name = "GPU-Util"
    meaning = say("share of the last moment in which anything at all ran; 100% does not mean that the card is full")
    if now.utilization is None:
        return _not_told(name, meaning, place.silence)
    shared = now.utilization >= BUSY and any(not process.own for process in card.processes)
    return CardField(
        name=name,
        value=f"{now.utilization}%",
        meaning=meaning,
        training=say("somebody computes here now, and a second program shares the time with it: both get slower")
        if shared
        else say("low while you train: the card waits for pictures; give the training more workers"),
        matters=shared,
    )


def _ecc(card: Gpu, place: Place) -> CardField:
    name = "Volatile Uncorr. ECC"
    meaning = say("memory that finds and mends flipped bits")
    again = ((*ON_THE_CARD, str(card.index), "-r"),)
    if card.repair is not None:
        waits = card.repair == "pending"
        return CardField(
            name=name,
            value=say("damaged memory waits for a reset") if waits else say("damaged memory cannot be replaced"),
            meaning=say("some of the card's memory is damaged"),
            training=say("programs may end with an error") + ("" if waits else say("; the card needs a replacement")),
            matters=True,
            commands=again if waits else (),
            by=place.admin if waits else None,
        )
    if card.ecc is None:
        return _not_told(
            name, say("{meaning}; nvidia-smi shows N/A on cards that have none", meaning=meaning), place.silence
        )
    if not card.ecc:
        return CardField(
            name=name,
            value="Off",
            meaning=say("{meaning} is switched off", meaning=meaning),
            training=say("no difference, unless a bit flips; on takes effect after a restart"),
            commands=((*ON_THE_CARD, str(card.index), "-e", "1"),),
            by=place.admin,
        )
    if card.ecc_errors:
        return CardField(
            name=name,
            value=str(card.ecc_errors),
            meaning=say("errors in memory that could not be mended since the driver was loaded"),
            training=say("programs end with an error; save your work, then reset the card while nothing uses it"),
            matters=True,
            commands=again,
            by=place.admin,
        )
    count = say("On, number of errors not told") if card.ecc_errors is None else "0"
    return CardField(
        name=name,
        value=count,
        meaning=say("{meaning} is on", meaning=meaning),
        training=say("no difference; leave it on"),
    )


def _compute_mode(card: Gpu, place: Place) -> CardField:
    name = "Compute M."
    mode = card.compute_mode
    if mode is None:
        return _not_told(name, say("how many programs may use the card at once"), place.silence)
    if mode == "default":
        return CardField(
            name=name, value="Default", meaning=say("several programs may share it"), training=say("no difference")
        )
    prohibited = mode == "prohibited"
    taken = any(not process.own for process in card.processes)
    return CardField(
        name=name,
        value={"prohibited": "Prohibited", "exclusive-thread": "E. Thread", "exclusive-process": "E. Process"}[mode],
        meaning=say("no program may compute on it")
        if prohibited
        else say("one program may use it, a second one is refused"),
        training=say("it cannot start here")
        if prohibited
        else say("it cannot start here until the program that is there ends")
        if taken
        else say("fine if the one program is yours"),
        matters=prohibited or bool(card.processes),
        commands=((*ON_THE_CARD, str(card.index), "-c", "0"),),
        by=place.admin,
    )


def _mig(card: Gpu, place: Place) -> CardField:
    name = "MIG M."
    meaning = say("cuts the card into slices that look like small cards")
    if card.mig is None:
        return _not_told(
            name, say("{meaning}; nvidia-smi shows N/A on cards that cannot", meaning=meaning), place.silence
        )
    if not card.mig:
        return CardField(
            name=name, value="Disabled", meaning=say("the card is in one piece"), training=say("no difference")
        )
    if not card.mig_instances:
        return CardField(
            name=name,
            value="Enabled",
            meaning=say("{meaning}; no slice is told here", meaning=meaning),
            training=say("it cannot start here unless the admin makes a slice"),
            matters=True,
            commands=(("nvidia-smi", "mig", "-lgip"),),
            by=place.admin,
        )
    return CardField(
        name=name,
        value="Enabled",
        meaning=say("the card is cut into slices: {map}", map="; ".join(map(_slice, card.mig_instances))),
        training=say("a program cannot use the whole card, only one slice"),
        matters=True,
        commands=(("nvidia-smi", "-L"),),
        by="user",
    )


def _slice(one: MigInstance) -> str:
    told = one.memory_free is not None and one.memory_total is not None
    free = (
        say(", {gib} of {gib_2} free", gib=_gib(one.memory_free or 0), gib_2=_gib(one.memory_total or 0))
        if told
        else ""
    )
    return f"{one.name or 'MIG'} ({one.uuid}{free})"


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
