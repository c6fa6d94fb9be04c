"""torch says that CUDA does not start, and no better known cause explains its words.

What you see
    "Error 304: OS call failed or operation not supported on this OS", "Failed to initialize NVML: GPU access
    blocked by the operating system", or another number behind "Unexpected error from cudaGetDeviceCount()".

Why
    What the driver needs from the system fails: after an update, in a container that lost its devices, under WSL
    with a Windows driver that does not fit. Training then runs on the processor, or stops.

How envfix knows
    torch was built with CUDA, the driver lists a card, and yet torch itself said, when it was imported just now,
    that it cannot use CUDA. What torch says in known words (driver too old, errors 802, 803, 804, 999, hidden
    cards) is told by the causes that are named after it.

How to mend
    Reboot, which loads module and files of the driver anew. In a container start it again with its GPU. If it
    stays, the words of torch are what to show the administrator.

What not to do
    Do not reinstall torch or a CUDA toolkit first: it rarely helps.

Sources
    torch.cuda.init() in the target; CUDA runtime API, error numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.words import counted
from envfix.rules._devices import VISIBLE, batch_without_card, container, shown_cards, torch_said
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import CANNOT_START
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
        say("Start the container again with its GPU.")
        if container(machine)
        else say("Reboot the machine (ask the administrator).")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("The driver lists a card, but torch cannot start CUDA on it."),
        because=(
            cite("environment.torch_import", environment.torch_import, imported.cuda_problem.partition("\n")[0][:300]),
            cite("machine.gpus", machine.gpus, counted(card.name for card in cards)),
        ),
        remedies=(
            Remedy(text=say("{again} If it stays, show the administrator what torch says.", again=again), safe=False),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?:(?:(?:Unexpected error from cudaGetDeviceCount\(\)\. )?Did you run some cuda functions before "
            r"calling NumCudaDevices\(\) )?that might have already set an error\? )?(?:Error 304: )?OS call "
            r"failed or "
            r"operation not supported on this OS|cudaErrorOperatingSystem"
            r"|CUDA_ERROR_OPERATING_SYSTEM|[Ee]rror 304\b",
            confidence=0.85,
        ),
        Signature(pattern=r"GPU access blocked by the operating system", confidence=0.8),
        Signature(pattern=CANNOT_START, confidence=0.25),
    ),
    message=later("CUDA does not start, although a driver is there: what the driver needs from the system fails."),
    remedies=(
        Remedy(text=later("Reboot (ask the administrator); in a container, start it again with its GPU."), safe=False),
        Remedy(
            text=later("Under WSL: update the NVIDIA driver of Windows, then restart WSL."),
            commands=(("wsl", "--shutdown"),),
            safe=False,
        ),
    ),
    tell_apart=Remedy(text=later("See what this machine's driver answers."), commands=(("envfix", "diagnose"),)),
)


RULE = Rule(
    code="DRV109",
    cause="cuda_does_not_start",
    title=later("torch cannot start CUDA"),
    needs=("machine.gpus", "environment.torch", "environment.torch_import"),
    check=check,
    rank=33,
    log=LOG,
)
