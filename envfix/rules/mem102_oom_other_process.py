"""Somebody else's process holds most of a GPU's memory.

What you see
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity; 1.71 GiB already allocated; 13.12 MiB free;
    1.84 GiB reserved in total by PyTorch)": little is ours, and next to nothing is free. Before it fails ``envfix diagnose`` sees
    a card of which less than a tenth is free.

Why
    Another user's job, an old notebook kernel or the workers of a run that was interrupted hold the rest. GPU 0 is the card
    that programs take by default, and CUDA may count the cards in another order than nvidia-smi does.

How envfix knows
    By the sum in the message: total - reserved - free is what others hold. On the machine NVML tells how much of each card is
    free and which processes hold it; cards that CUDA_VISIBLE_DEVICES hides from this shell are left out.

How to mend
    Use a card that is free, by its serial id (UUID), so that the numbering cannot mislead (``envfix gpus`` prints the line to
    paste); end what is left over of your own; or talk to the owner. In a job of a batch system only the cards that it was
    given are proposed.

What not to do
    Reducing the batch does not help, setting ``max_split_size_mb`` neither. Resetting the card or ending somebody's process
    hurts the others.

Sources
    NVML: memory and processes per card; the message of torch's caching allocator in its releases.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.logs.memory_arithmetic import in_words
from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _memory
from envfix.rules._devices import GIB, cards_to_choose, container, use_card, visible_cards
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

FULL = 0.1


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    cards = visible_cards(machine)
    full = [card for card in cards if _free_share(card) < FULL]
    if not full:
        return
    names = ", ".join(
        say(
            "GPU {index} ({memory_free:.1f} of {memory_total:.1f} GiB free)",
            index=card.index,
            memory_free=(card.memory_free or 0) / GIB,
            memory_total=(card.memory_total or 0) / GIB,
        )
        for card in full
    )
    own = all(process.own for card in full for process in card.processes) and any(card.processes for card in full)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "{which} processes hold nearly all memory of {names}: whatever starts there runs out of memory.",
            which=say("Your own") if own else say("Other"),
            names=names,
        ),
        because=tuple(_holders(full, machine)),
        remedies=tuple(_remedies(full, machine)),
    )


def _remedies(full: list[Gpu], machine: Machine) -> Iterator[Remedy]:
    others = (card for card in cards_to_choose(machine) if card not in full and _free_share(card) >= FULL)
    idle = max(others, key=lambda card: card.memory_free or 0, default=None)
    if idle:
        yield use_card(
            idle,
            say(
                "Use GPU {index}, of which {memory_free:.1f} GiB are free.",
                index=idle.index,
                memory_free=(idle.memory_free or 0) / GIB,
            ),
        )
    mine = [process for card in full for process in card.processes if process.own]
    for process in mine:
        text = say(
            "Process {pid} ({command}) is your own: if you no longer need it, end it.",
            pid=process.pid,
            command=process.command or say("name unknown"),
        )
        yield Remedy(text=text, commands=(("kill", str(process.pid)),), safe=False)
    if not any(card.processes for card in full) and container(machine) is None:
        files = tuple(f"/dev/nvidia{card.index}" for card in full)
        yield Remedy(
            text=say("See who has the card's file open (leftovers of an earlier run?)."),
            commands=(("fuser", "-v", *files),),
        )
    if not idle and not mine:
        yield Remedy(text=say("No card is free that this shell may use: wait, or ask the owners of the processes."))


def _free_share(card: Gpu) -> float:
    # Of a card in MIG mode only its instances have memory that a process can get.
    if card.memory_free is None or not card.memory_total or card.mig:
        return 1.0
    return card.memory_free / card.memory_total


def _holders(full: list[Gpu], machine: Machine) -> Iterator[Evidence]:
    for card in full:
        for process in card.processes or ():
            owner = (
                say(" of {user}{which}", user=process.user, which=" (you)" if process.own else "")
                if process.user
                else ""
            )
            since = say(" since {since}", since=process.since) if process.since else ""
            memory = f"{process.memory / GIB:.1f} GiB" if process.memory is not None else say("an unknown amount")
            value = say(
                "GPU {index}: process {pid}{owner} ({command}) holds {memory}{since}",
                index=card.index,
                pid=process.pid,
                owner=owner,
                command=process.command or say("name unknown"),
                memory=memory,
                since=since,
            )
            yield Evidence(fact="machine.gpus", value=value, source=machine.gpus.source)
        if not card.processes:
            where = say(" (in a container only the host can tell: nvidia-smi there)") if container(machine) else ""
            value = say(
                "GPU {index}: {memory_free:.1f} GiB free, holders not told by the driver{where}",
                index=card.index,
                memory_free=(card.memory_free or 0) / GIB,
                where=where,
            )
            yield Evidence(fact="machine.gpus", value=value, source=machine.gpus.source)


# nvidia-smi shows processes without a name, fuser those that hold a card's file: whoever pastes that has looked for the holder.
NAMELESS = (
    r"\|\s+\d+\s+(?:N/A\s+N/A\s+)?\d+\s+[CG+]{1,3}\s+(?:Unknown Error|\[Not Found\]|\[Insufficient Permissions\]|-)"
    r"\s+\d+MiB \|"
)
HOLDS_FILE = r"/dev/nvidia\d+:\s+\S+\s+\d+\s+[Fmro.]{3,8}\s+\S+"
PADDLE = r"Out of memory error on GPU \d+\. Cannot allocate [^\n]{0,200}available memory is only"


def _message(reading: Reading) -> str:
    found = _memory.of_reading(reading)
    if found is None:
        return say("Another process (or a leftover of an earlier run) holds the memory of this card.")
    named = ", ".join(say("process {pid} {held}", pid=pid, held=in_words(held)) for pid, held in found.holders)
    who = say(" ({aside})", aside=named) if named else ""
    return say(
        "Others hold {others} of {card}{who}, and this program only {reserved}: {whole}. A"
        " smaller batch does not help.",
        others=in_words(found.others),
        card=_memory.card(found),
        who=who,
        reserved=in_words(found.reserved),
        whole=_memory.whole(found),
    )


def _log_remedies(reading: Reading) -> tuple[Remedy, ...]:
    idle = max(
        (card for card in cards_to_choose(reading.machine) if _free_share(card) >= FULL),
        key=lambda card: card.memory_free or 0,
        default=None,
    )
    who = Remedy(
        text=say("See who holds the card and which one is free; the line that chooses it is printed along."),
        commands=(("envfix", "gpus"),),
    )
    if idle is not None:
        who = use_card(
            idle,
            say(
                "Use GPU {index}, of which {memory_free:.1f} GiB are free.",
                index=idle.index,
                memory_free=(idle.memory_free or 0) / GIB,
            ),
        )
    return (
        who,
        Remedy(
            text=say(
                "End it if it is a leftover of yours (a notebook's kernel, workers of a run that"
                " was stopped); else ask its owner."
            )
        ),
    )


def _beside_memory(hit: Hit, log: Log) -> float | None:
    """A table of processes alone is no failure: something must have run out of memory, or it is pasted alone to ask about."""
    del hit
    texts = (_memory.WITH_NUMBERS, _memory.WITHOUT_NUMBERS, _memory.RAW)
    return 0.9 if any(map(log.found, texts[1:])) else 0.6 if not log.found(texts[0]) else None


LOG = LogSide(
    signatures=(
        *_memory.signatures("other_process"),
        Signature(pattern=NAMELESS, weigh=_beside_memory),
        Signature(pattern=HOLDS_FILE, weigh=_beside_memory),
        Signature(pattern=PADDLE, confidence=0.7),
    ),
    message=_message,
    remedies=_log_remedies,
    with_facts=_memory.by_numbers,
    tell_apart=Remedy(
        text=later("See who holds the card's memory while your program does not run."), commands=(("envfix", "gpus"),)
    ),
)

RULE = Rule(
    code="MEM102",
    cause="oom_other_process",
    title=later("Another process fills a card"),
    needs=("machine.gpus",),
    check=check,
    rank=60,
    log=LOG,
)
