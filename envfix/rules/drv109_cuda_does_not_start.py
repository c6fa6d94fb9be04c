"""torch says that CUDA does not start, and no better known cause explains its words.

What it checks
    torch was built with CUDA, the driver lists a card, and yet torch itself said, when it was imported just now, that it cannot
    use CUDA. What torch says in known words (driver too old, errors 802, 803, 804, 999, hidden cards) is told by the causes that
    are named after it; this one stands for the rest, such as "Error 304: OS call failed".

Why it matters
    Whatever else looks well: a training runs on the processor, or stops.

How to fix
    Reboot, which loads module and files of the driver anew. In a container start it again with its GPU. If it stays, the
    words of torch are what to show the administrator. Reinstalling torch or a CUDA toolkit rarely helps.

Sources
    torch.cuda.init() in the target; CUDA runtime API, error numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import VISIBLE, batch_without_card, container, shown_cards, torch_said
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# What torch says in words that another rule judges.
JUDGED_ELSEWHERE = (
    "driver on your system is too old",
    "Found no NVIDIA driver",
    "CUDA unknown error",
    "Error 802",
    "Error 803",
    "Error 804",
)
NOTHING_SEEN = "No CUDA GPUs are available"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, imported, cards = environment.torch.value, environment.torch_import.value, machine.gpus.value
    if torch is None or torch.cuda is None or imported is None or imported.cuda_available is not False or not cards:
        return
    if imported.cuda_problem is None or torch_said(environment, *JUDGED_ELSEWHERE) or batch_without_card(machine):
        return
    if not shown_cards(machine.variables.get(VISIBLE, "0"), cards).cards:
        return
    if NOTHING_SEEN in imported.cuda_problem and any(card.mig for card in cards):
        return
    again = (
        "Start the container again with its GPU."
        if container(machine)
        else "Reboot the machine (ask the administrator)."
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message="The driver lists a card, but torch cannot start CUDA on it.",
        because=(
            cite("environment.torch_import", environment.torch_import, imported.cuda_problem.partition("\n")[0][:300]),
            cite("machine.gpus", machine.gpus, ", ".join(card.name for card in cards)),
        ),
        remedies=(Remedy(text=f"{again} If it stays, show the administrator what torch says.", safe=False),),
    )


RULE = Rule(
    code="DRV109",
    cause="cuda_does_not_start",
    title="torch cannot start CUDA",
    needs=("machine.gpus", "environment.torch", "environment.torch_import"),
    check=check,
    rank=33,
)
