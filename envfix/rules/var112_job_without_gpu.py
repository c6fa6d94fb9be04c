"""The batch system gave this job no card, or this is the node where one only logs in.

What you see
    "CUDA_VISIBLE_DEVICES=NoDevFiles", or "Found no NVIDIA driver on your system" and "No CUDA GPUs are available"
    in the output of a job.

Why
    The cluster has cards, this shell has none: the job did not ask for one, or the node is for logging in. That is
    no fault of torch or of the driver.

How envfix knows
    Slurm, PBS or LSF run here. Either this shell is in a job that was given no card (no granted cards, or an empty
    CUDA_VISIBLE_DEVICES), or it is in no job at all on a node that has no card. In a log the texts above beside
    traces of a batch system.

How to mend
    Ask for a card when the job is started; envfix can plan for the cards of the cluster with ``--driver`` and
    ``--gpu``.

What not to do
    Do not install a CPU build for it.

Sources
    Slurm documentation (generic resources, --gres and --gpus), PBS and LSF documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, Scheduler
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import batch_without_card
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import NO_CUDA_GPUS, NO_DRIVER, NO_NVIDIA_SMI, NOT_AVAILABLE
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
        remedies=(Remedy(text=say("Ask for a card when you start the job."), commands=(ASK[scheduler.kind],)),),
    )


def _message(scheduler: Scheduler) -> str:
    name = NAMES[scheduler.kind]
    if scheduler.job:
        return say("This {name} job was given no GPU: torch runs on the processor in it.", name=name)
    return say("This node of a {name} cluster has no GPU: the cards are where the jobs run.", name=name)


def _seen(scheduler: Scheduler) -> str:
    return say("job {job}, no card granted", job=scheduler.job) if scheduler.job else say("in no job")


# The prompt of a node to log in.
_LOGIN = r"@(?:login|head|frontend|submit)[\w.-]*[\s:~\]]"

LOG = LogSide(
    signatures=(
        Signature(pattern=r"CUDA_VISIBLE_DEVICES['\"]?\]?\s?[:=]\s?['\"]?NoDevFiles", confidence=0.97),
        Signature(pattern=NO_CUDA_GPUS, weigh=by_place(None, batch=0.55, answers=0.1), looks_at=LOOKS_AT),
        Signature(pattern=NO_DRIVER, weigh=by_place(None, batch=0.6, answers=None), looks_at=LOOKS_AT),
        Signature(pattern=NO_NVIDIA_SMI, weigh=by_place(None, batch=0.5, answers=None), looks_at=LOOKS_AT),
        Signature(pattern=NO_DRIVER, confidence=0.75, beside=(_LOGIN,)),
        Signature(pattern=NOT_AVAILABLE, confidence=0.6, beside=(_LOGIN,)),
        Signature(pattern=NOT_AVAILABLE, weigh=by_place(None, batch=0.35, answers=None), looks_at=LOOKS_AT),
        Signature(
            pattern=(
                r"Invalid generic resource \(gres\) specification"
                r"|Unable to allocate resources: Requested node configuration is not available"
            ),
            confidence=0.6,
        ),
    ),
    message=(
        later(
            "The batch system gave this job no GPU, or this is a node where one only logs in: the"
            " cards are where jobs that ask for one run."
        )
    ),
    remedies=(
        Remedy(
            text=later("Ask Slurm for a card when you start the job."),
            commands=(ASK["slurm"], ("sbatch", "--gres=gpu:1", "JOB_SCRIPT")),
        ),
        Remedy(text=later("With PBS or LSF likewise."), commands=(ASK["pbs"], ASK["lsf"])),
    ),
    tell_apart=Remedy(
        text=later("See on which node this runs and what the job was given."),
        commands=(
            ("hostname",),
            ("printenv", "SLURM_JOB_ID", "SLURM_JOB_GPUS", "CUDA_VISIBLE_DEVICES"),
            ("nvidia-smi", "-L"),
        ),
    ),
    explains=("no_nvidia_gpu", "cuda_visible_devices_hides_gpu", "cuda_does_not_start"),
)


RULE = Rule(
    code="VAR112",
    cause="job_without_gpu",
    title=later("The batch system gave this job no GPU"),
    needs=("machine.scheduler",),
    check=check,
    rank=17,
    explains=("no_nvidia_gpu", "cuda_visible_devices_hides_gpu"),
    log=LOG,
)
