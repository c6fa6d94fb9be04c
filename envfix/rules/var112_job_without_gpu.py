"""The batch system gave this job no card, or this is the node where one only logs in.

What it checks
    Slurm, PBS or LSF run here. Either this shell is in a job that was given no card (no granted cards, or an empty
    CUDA_VISIBLE_DEVICES), or it is in no job at all on a node that has no card.

Why it matters
    The cluster has cards, this shell has none. That is no fault of torch or of the driver, and no reason to install a CPU build.

How to fix
    Ask for a card when the job is started; envfix can plan for the cards of the cluster with ``--driver`` and ``--gpu``.

Sources
    Slurm documentation (generic resources, --gres and --gpus), PBS and LSF documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, Scheduler
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import batch_without_card
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

NAMES = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF"}
ASK = {
    "slurm": ("srun", "--gres=gpu:1", "--pty", "bash"),
    "pbs": ("qsub", "-I", "-l", "select=1:ngpus=1"),
    "lsf": ("bsub", "-Is", "-gpu", "num=1", "bash"),
}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    scheduler = batch_without_card(machine)
    if scheduler is None:
        return
    torch = environment.torch.value
    wants_card = torch is not None and torch.cuda is not None
    node_has_some = machine.driver.value is not None or bool(nvidia_displays(machine))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if scheduler.job and wants_card and node_has_some else Severity.INFO,
        message=_message(scheduler),
        because=(cite("machine.scheduler", machine.scheduler, _seen(scheduler)),),
        remedies=(Remedy(text="Ask for a card when you start the job.", commands=(ASK[scheduler.kind],)),),
    )


def _message(scheduler: Scheduler) -> str:
    name = NAMES[scheduler.kind]
    if scheduler.job:
        return f"This {name} job was given no GPU: torch runs on the processor in it."
    return f"This node of a {name} cluster has no GPU: the cards are where the jobs run."


def _seen(scheduler: Scheduler) -> str:
    return f"job {scheduler.job}, no card granted" if scheduler.job else "in no job"


RULE = Rule(
    code="VAR112",
    cause="job_without_gpu",
    title="The batch system gave this job no GPU",
    needs=("machine.scheduler",),
    check=check,
    rank=17,
    explains=("no_nvidia_gpu", "cuda_visible_devices_hides_gpu"),
)
