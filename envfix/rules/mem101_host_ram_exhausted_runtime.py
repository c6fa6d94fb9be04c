"""There is too little main memory to train.

What you see
    "DataLoader worker (pid 26455) is killed by signal: Killed.", "Out of memory: Killed process 4711 (python)" in the kernel's log,
    "Detected 1 oom_kill event" of Slurm, "DefaultCPUAllocator: can't allocate memory", exit code 137.

Why
    The kernel, or the control group of a container or batch job, ends processes when main memory runs out. torch alone takes
    several hundred MiB, each loader process of a training as much again.

How envfix knows
    The memory of the machine, or what a control group (container, batch job) allows, is below 2 GiB, or less than 1 GiB is left.
    In a log: the texts above.

How to mend
    Ask for more memory (``--mem`` in Slurm, ``--memory`` in docker), use fewer loader processes (``workers=0``), keep pictures
    out of memory (``cache=False``).

What not to do
    It is neither the card's memory nor /dev/shm: a smaller GPU batch or ``--shm-size`` does not help.

Sources
    /proc/meminfo and the control group of this process; Linux kernel documentation on memory control groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, Resources
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import GIB, allowed_memory
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import WORKER_EXITED
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

SMALL, LITTLE = 2 * GIB, 1 * GIB


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    memory = machine.resources.value
    if memory is None or environment.torch.value is None:
        return
    allowed, left = allowed_memory(memory), memory.memory_available
    small = allowed is not None and allowed < SMALL
    if not small and not (left is not None and left < LITTLE):
        return
    figures = ", ".join(_figures(memory))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say("There is little main memory ({figures}): a training is likely to be killed.", figures=figures),
        because=(cite("machine.resources", machine.resources, figures),),
        remedies=(
            Remedy(
                text=say("Ask for more memory, or train with fewer loader processes and without caching pictures."),
                commands=(("yolo", "train", "workers=0", "cache=False"),) if small else (),
            ),
        ),
    )


def _figures(memory: Resources) -> Iterator[str]:
    if memory.memory_limit is not None:
        yield say("{memory_limit:.1f} GiB allowed by the control group", memory_limit=memory.memory_limit / GIB)
    if memory.memory_total is not None:
        yield say("{memory_total:.1f} GiB in the machine", memory_total=memory.memory_total / GIB)
    if memory.memory_available is not None:
        yield say("{memory_available:.1f} GiB available", memory_available=memory.memory_available / GIB)


# --- in a log ---

INSTALLING = (
    r"\bpip3? (?:install|download)|Downloading torch-|\.whl(?:\s|$)|conda (?:install|create)|Solving environment"
)
TRAINING = r"(?i)epoch|train|dataloader|batch|images/|it/s\]|cuda|torchrun|yolo"
_HUGE = 2**41  # no machine has it: an error of the program


def _weigh_allocator(hit: Hit, log: Log) -> float | None:
    """So much that no machine has it is a program's error."""
    del log
    wanted = re.search(r"tried to allocate (\d+) bytes", hit.text + hit.after[:200])
    return 0.45 if wanted and int(wanted[1]) > _HUGE else 0.88


def _weigh_killed(hit: Hit, log: Log) -> float | None:
    """A line that says only "Killed": by the kernel, if a program of torch ran; an installation is another cause."""
    command = (hit.text[-1:] + hit.after[:80]).lstrip()
    if re.match(r"(?:\S*/)?python[\d.]* (?!-m pip)|torchrun|accelerate|yolo|deepspeed", command):
        return 0.94
    if log.found(INSTALLING) and not log.found(TRAINING):
        return 0.15
    if re.search(r"(?:━|eta \d|whl|MB/s|Solving environment)[^\n]{0,80}\s*$", hit.before[-200:]):
        return None
    return 0.75 if log.found(TRAINING) else 0.45


def _weigh_bare(hit: Hit, log: Log) -> float | None:
    """Python's own word, at the end of a traceback and not of pip's."""
    return None if log.found(INSTALLING) or "Traceback" not in hit.before else 0.7


def _weigh_oom(hit: Hit, log: Log) -> float | None:
    process = hit.groups.get("process", "")
    if process.startswith(("pip", "conda", "cc1plus", "nvcc", "ninja", "cicc", "ptxas")):
        return 0.3
    del log
    return 0.94


LOG = LogSide(
    signatures=(
        Signature(pattern=r"(?i)DataLoader worker[^\n]{0,60} is killed by signal:\s?Killed", confidence=0.97),
        Signature(
            pattern=r"(?:Out of memory|Memory cgroup out of memory): Kill(?:ed)? process \d+ \((?P<process>[\w.\x20-]{1,40})",
            weigh=_weigh_oom,
        ),
        Signature(pattern=r"invoked oom-killer|oom-kill:constraint=|oom_reaper: reaped process", confidence=0.9),
        Signature(
            pattern=r"[Dd]etected \d+ oom[-_]kill event|[Ee]xceeded (?:job|step) memory limit|\bOOMKilled\b"
            r"|State[^\n]{0,20}OUT_OF_ME"
            r"|cgroup out-of-memory handler",
            confidence=0.94,
        ),
        Signature(
            pattern=r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory)[^\n]{0,80}"
            r"|enforce fail at [^\n]{0,60}alloc_?cpu[^\n]{0,80}",
            weigh=_weigh_allocator,
        ),
        Signature(
            pattern=r"(?:Your )?session crashed after using all available RAM"
            r"|Task was killed due to the node running low on memory"
            r"|used all available RAM",
            confidence=0.95,
        ),
        Signature(pattern=r"zsh: killed ", confidence=0.85),
        Signature(pattern=r"\sMemoryError\s", weigh=_weigh_bare, looks_at=(INSTALLING,)),
        Signature(
            pattern=r"(?:MemoryError: )?Unable to allocate \d[\d.]* [KMGT]iB for an array|_ArrayMemoryError: ",
            confidence=0.85,
        ),
        Signature(
            pattern=r"\[Errno 12\] Cannot allocate memory"
            r"|BlockingIOError: \[Errno 11\] Resource temporarily unavailable",
            confidence=0.75,
        ),
        Signature(
            pattern=r"(?:(?:command terminated|Process finished|exited|failed|finished) with )?"
            r"(?:exited with code|exit (?:code|status):?|exited:|Exit Code:?|ExitCode:?) 137\b",
            confidence=0.7,
        ),
        Signature(pattern=r"returned non-zero exit status 137\b", confidence=0.65, quoted=True),
        Signature(
            pattern=r"exitcode\s{0,4}:? -9\b|[Ss]ignal 9 \(SIGKILL\)|signal 9: SIGKILL"
            r"|SIGKILL\(-9\)",
            confidence=0.75,
        ),
        Signature(
            pattern=r"(?:\n|: line \d+: \d+ )(?:\[\d+\]\s+)?(?:\d+ )?[Kk]illed(?:\s*\n|\s{2,}\S)",
            weigh=_weigh_killed,
            looks_at=(INSTALLING, TRAINING),
            quoted=True,
        ),
        Signature(
            pattern=r"died with <Signals\.SIGKILL: 9>|process \d+ terminated with signal SIGKILL",
            confidence=0.75,
            quoted=True,
        ),
        Signature(
            pattern=r"std::bad_alloc|torch\.cuda\.[^\n]{0,30}cudaHostAlloc[^\n]{0,30}out of memory", confidence=0.5
        ),
        Signature(pattern=r"OpenBLAS[^\n]{0,60}Memory allocation still failed", confidence=0.5),
        Signature(pattern=WORKER_EXITED, confidence=0.3),
    ),
    message=(
        later("The kernel ended {process} because main memory (RAM) ran out."),
        later(
            "Main memory (RAM) ran out, and the system ended a process; the card's memory and /dev/shm are not meant."
        ),
    ),
    remedies=(
        Remedy(
            text=later("Use fewer loader processes and keep pictures out of memory."),
            commands=(("yolo", "train", "model=MODEL.pt", "data=DATA.yaml", "workers=0", "cache=False"),),
        ),
        Remedy(
            text=later(
                "Or ask for more main memory: `--mem=32G` in Slurm, `--memory` in docker,"
                " `limits.memory` in Kubernetes."
            )
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether the kernel ended it, and how much memory there is."),
        commands=(("dmesg",), ("free", "-h")),
    ),
)

RULE = Rule(
    code="MEM101",
    cause="host_ram_exhausted_runtime",
    title=later("Too little main memory to train"),
    needs=("machine.resources",),
    check=check,
    rank=62,
    log=LOG,
)
