"""The batch system that decides which cards this shell may see."""

from __future__ import annotations

from collections.abc import Mapping

from envfix.host.interface import ProbeHost
from envfix.model.facts import Observed, Scheduler, absent, found
from envfix.model.language import stated

SOURCE = stated("SLURM_*, PBS_*, LSB_* and KUBERNETES_* variables")
PREFIXES = ("SLURM_", "PBS_", "LSB_", "KUBERNETES_SERVICE_HOST", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
# Slurm tells the cards of a step, else those of the job, else how many.
SLURM_CARDS = (
    "SLURM_STEP_GPUS",
    "SLURM_JOB_GPUS",
    "SLURM_GPUS_ON_NODE",
    "SLURM_GPUS",
    "SLURM_GPUS_PER_NODE",
    "SLURM_GPUS_PER_TASK",
)


def parse_variables(variables: Mapping[str, str]) -> Scheduler | None:
    """The batch system by the variables it sets in a job; None where there are none of any."""
    slurm = variables.get("SLURM_JOB_ID") or variables.get("SLURM_JOBID")
    if slurm:
        granted = next((variables[name] for name in SLURM_CARDS if variables.get(name)), "")
        return Scheduler(kind="slurm", job=slurm, granted=granted)
    visible = variables.get("CUDA_VISIBLE_DEVICES")
    if variables.get("PBS_JOBID"):
        return Scheduler(kind="pbs", job=variables["PBS_JOBID"], granted=visible)
    if variables.get("LSB_JOBID"):
        return Scheduler(kind="lsf", job=variables["LSB_JOBID"], granted=visible)
    if variables.get("KUBERNETES_SERVICE_HOST"):
        return Scheduler(kind="kubernetes", granted=_of_the_pod(variables.get("NVIDIA_VISIBLE_DEVICES")))
    return None


def _of_the_pod(visible: str | None) -> str | None:
    """The device plugin names the pod's cards; ``void`` and ``none`` are its words for no card."""
    return "" if visible in ("void", "none", "") else visible


def probe(host: ProbeHost) -> Observed[Scheduler]:
    """The batch system: inside a job by its variables, outside by its commands on PATH."""
    scheduler = parse_variables(host.environ(PREFIXES))
    if scheduler is not None:
        return found(scheduler, SOURCE)
    if host.which("sbatch"):
        return found(Scheduler(kind="slurm"), stated("{name} on PATH", name="sbatch"))
    if host.which("bsub"):
        return found(Scheduler(kind="lsf"), stated("{name} on PATH", name="bsub"))
    if host.which("pbsnodes"):
        return found(Scheduler(kind="pbs"), stated("{name} on PATH", name="pbsnodes"))
    return absent(SOURCE)
