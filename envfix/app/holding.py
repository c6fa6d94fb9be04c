"""gpus: who holds which card, and which one to take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from envfix.app.settings import NOBODY, tables_for, time_limit
from envfix.host.interface import ProbeHost
from envfix.host.real import RealHost
from envfix.model.documents import without_secrets
from envfix.model.facts import NOT_ASKED, Gpu, Machine, Observed, unknown
from envfix.model.gpu_use import CardUse, GpuUse
from envfix.model.language import say
from envfix.model.reporter import Reporter
from envfix.probes import displays, nvidia_driver, os_libc, scheduler
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import cards_to_choose, container, under_wsl

# From here on a card counts as free to take.
FREE_SHARE = 0.1
# Cards with so much of the most free memory are alike in that: then processes tell which one is idler.
ALIKE = 0.9
# What no process holds, up to so many bytes, is the driver's own.
DRIVER_PART = 700 << 20
VARIABLES = ("CUDA_", "NVIDIA_", "SLURM_")


def gpu_use(snapshot: str | None = None, reporter: Reporter = NOBODY, *, explain: bool = False) -> GpuUse:
    """Who holds which card of this machine, or of a saved one; raises ``SnapshotError`` for a file that holds none.

    With ``explain`` also what each of nvidia-smi's fields says, in plain words.
    """
    host = RealHost()
    if snapshot is not None:
        from envfix.app.snapshotting import read_snapshot

        machine = read_snapshot(host, snapshot, tables_for(host)).machine
    else:
        reporter.stage(say("asking the driver"))
        machine = ask(host, time_limit(host))
    use = judge(machine, origin=snapshot)
    if explain:
        from envfix.app.card_fields import explained

        return explained(use, machine)
    return use


def watch(every: float, sleep: Callable[[float], None] = time.sleep) -> Iterator[GpuUse]:
    """The same again and again, ``every`` so many seconds, without an end."""
    host = RealHost()
    limit = time_limit(host)
    while True:
        yield judge(ask(host, limit))
        sleep(every)


def ask(host: ProbeHost, timeout: float) -> Machine:
    """The machine as far as its cards go; everything else is not asked."""
    driver, gpus, layers = nvidia_driver.probe(host, timeout=timeout)
    rest: Observed[Any] = unknown("machine", NOT_ASKED)
    return Machine(
        platform=os_libc.probe(host),
        driver=driver,
        gpus=gpus,
        driver_layers=layers,
        displays=displays.probe(host, timeout=timeout),
        toolkits=rest,
        host_compilers=rest,
        conda=rest,
        scheduler=scheduler.probe(host),
        variables=without_secrets(host.environ(VARIABLES)),
    )


def judge(machine: Machine, origin: str | None = None) -> GpuUse:
    """Whose memory it is on each card, and the one to take."""
    cards = tuple(map(_clean, machine.gpus.value or ()))
    if not cards:
        on_bus = ", ".join(display.name or say("an NVIDIA card") for display in nvidia_displays(machine))
        problem = machine.gpus.problem or machine.driver.problem
        if on_bus and not machine.gpus.is_unknown:
            problem = say("{on_bus} is on the PCI bus, and no driver opens it here", on_bus=on_bus)
        return GpuUse(
            cards=(),
            problem=(problem or say("there is no NVIDIA card and no NVIDIA driver")).rstrip("."),
            failed=machine.gpus.is_unknown or bool(on_bus),
            origin=origin,
        )
    allowed = cards_to_choose(machine)
    uses = tuple(_use(card, allowed=card in allowed) for card in cards)
    return GpuUse(cards=uses, best=_best(uses), notes=tuple(_notes(machine, uses)), origin=origin)


def _clean(card: Gpu) -> Gpu:
    """Without passwords in commands and line breaks in names; numbers that cannot be are not told."""
    processes = tuple(
        msgspec.structs.replace(process, command=_one_line(process.command)) for process in card.processes
    )
    absurd = card.memory_total is not None and card.memory_free is not None and card.memory_free > card.memory_total
    free = None if absurd else card.memory_free
    return msgspec.structs.replace(card, name=_one_line(card.name) or "", memory_free=free, processes=processes)


def _one_line(text: str | None) -> str | None:
    return None if text is None else " ".join(str(without_secrets(text)).split())[:300]


def _use(card: Gpu, *, allowed: bool) -> CardUse:
    obstacle = _obstacle(card, allowed=allowed)
    if card.memory_total is None or card.memory_free is None:
        return CardUse(card=card, obstacle=obstacle)
    used = max(0, card.memory_total - card.memory_free)
    named = sum(process.memory or 0 for process in card.processes)
    yours = min(used, sum(process.memory or 0 for process in card.processes if process.own))
    nameless = max(0, used - named)
    own = nameless if nameless <= DRIVER_PART else 0
    return CardUse(
        card=card, yours=yours, own=own, others=used - yours - own, nameless=nameless - own, obstacle=obstacle
    )


def _obstacle(card: Gpu, *, allowed: bool) -> str | None:
    return closed(card) if allowed else say("not given to this job, or hidden by CUDA_VISIBLE_DEVICES")


def closed(card: Gpu) -> str | None:
    """Why the card lets no further program in, whatever memory is free; None where it does."""
    if card.compute_mode == "prohibited":
        return say("its compute mode lets no program in")
    if card.compute_mode in ("exclusive-process", "exclusive-thread") and card.processes:
        return say("its compute mode lets one process in, and one is there")
    if card.licensed is False:
        return say("a virtual card without a licence")
    return None


def _best(uses: tuple[CardUse, ...]) -> CardUse | None:
    """The idlest card that this shell may use; none where all of them are full."""
    free = [use for use in uses if use.obstacle is None and _free_share(use.card) >= FREE_SHARE]
    best = idlest([use.card for use in free])
    return next((use for use in free if use.card == best), None)


def idlest(cards: Sequence[Gpu]) -> Gpu | None:
    """Of the cards with nearly the most free memory the one with the fewest processes, and the least to do."""
    most = max(map(room, cards), default=0)
    alike = [card for card in cards if room(card) >= ALIKE * most]
    return min(alike, key=lambda card: (len(card.processes), _busy(card), -room(card), card.index), default=None)


def _busy(card: Gpu) -> int:
    return (card.activity.utilization or 0) if card.activity is not None else 0


def room(card: Gpu) -> int:
    """Bytes that a program finds free there, 0 where the driver does not tell; in MIG mode those of the emptiest instance."""
    if card.mig:
        return max((one.memory_free or one.memory_total or 0 for one in card.mig_instances), default=0)
    return card.memory_free or 0


def _free_share(card: Gpu) -> float:
    if card.memory_free is None or not card.memory_total or card.mig:
        return 1.0  # the driver does not tell, or only instances have memory of their own
    return card.memory_free / card.memory_total


def _notes(machine: Machine, uses: tuple[CardUse, ...]) -> Iterator[str]:
    nameless = [use for use in uses if use.nameless]
    if under_wsl(machine):
        yield say("Inside WSL the driver names no processes: the Task Manager of Windows does.")
    elif nameless and container(machine) is not None:
        yield say("In a container only its own processes are named: nvidia-smi on the host knows the others.")
    elif nameless:
        names = ", ".join(f"GPU {use.card.index}" for use in nameless)
        yield say(
            "The driver names no process for much of the memory of {names}: a desktop, or a"
            " leftover that has the card open.",
            names=names,
        )
    if any(use.card.mig for use in uses):
        yield say("A card in MIG mode is used by instance: CUDA_VISIBLE_DEVICES=MIG-..., `nvidia-smi -L` lists them.")
    if any(use.card.memory_free is None for use in uses):
        yield say("The driver does not tell how much memory of some cards is free.")
