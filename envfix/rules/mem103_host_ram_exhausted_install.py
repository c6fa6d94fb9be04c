"""There is too little main memory for pip to install torch the usual way.

What you see
    "Killed" right after the progress bar of the torch wheel, "MemoryError" out of pip, "returned a non-zero code:
    137" for a line with ``pip install`` of a Dockerfile.

Why
    pip keeps a wheel in memory while it puts it into its cache, and wheels of torch have one to three GB. Small
    virtual machines, boards and build containers have less, and the kernel ends the process. Compiling an extension
    with many jobs does the same.

How envfix knows
    In a log: the end of the process right after the download, under pip, conda or docker build. On a machine: torch
    is not installed yet, and less than 2 GiB of main memory can be had.

How to mend
    ``pip install --no-cache-dir``, a newer pip, or uv, which writes to the disk as it downloads; more memory for the
    container or some swap; fewer jobs (``MAX_JOBS=2``) where something is compiled.

What not to do
    Another index or another torch changes nothing.

Sources
    pip's HTTP cache; /proc/meminfo; messages of the kernel, docker and pip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._devices import GIB, allowed_memory
from envfix.rules._downloads import installs, runs, succeeded
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

ENOUGH = 2 * GIB


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    memory, interpreter = machine.resources.value, environment.interpreter.value
    if memory is None or interpreter is None or not environment.torch.is_absent:
        return
    known = [value for value in (allowed_memory(memory), memory.memory_available) if value is not None]
    if not known or min(known) >= ENOUGH:
        return
    figure = f"{min(known) / GIB:.1f} GiB"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say(
            "Only {figure} of main memory can be had: pip may be killed while it caches the big torch wheel.",
            figure=figure,
        ),
        because=(cite("machine.resources", machine.resources, say("{figure} can be had", figure=figure)),),
        remedies=(
            Remedy(text=say("envfix installs with uv, which needs no such memory."), commands=(("envfix", "install"),)),
            Remedy(
                text=say("With pip, go without its cache."),
                commands=((interpreter.executable, "-m", "pip", "install", "--no-cache-dir", "torch"),),
            ),
        ),
    )


def _ended(hit: Hit, log: Log) -> float | None:
    """A process was ended: one that installs, not a worker or a training."""
    del log
    near = hit.before[-700:]
    if re.search(r"by signal:\s?$|signal: $|DataLoader worker|LocalRank|local_rank", near[-120:]) or succeeded(hit):
        return None
    last = [line for line in near.splitlines() if line.strip()][-6:]
    return (
        0.9
        if _INSTALLER.search("\n".join(last))
        else 0.6
        if installs(hit, before=1500, after=300) and not runs(hit, before=500)
        else None
    )


# What a shell says of a program that the kernel ended, in the languages in which it was met.
KILLED = "Killed|已杀死|已终止|已砍掉|強制終了|Getötet|Tué|Processus arrêté|Terminado \\(killed\\)|Matado|Убито|죽었음"
_INSTALLER = regex(
    r"\d [kMG]B/s|\.whl|Downloading|Collecting|Installing collected|Building wheel|Solving environment"
    r"|Collecting package metadata"
    r"|pip3? install|conda (?:install|create|env)|Preparing|eta \d|Extracting"
)


def _code(hit: Hit, log: Log) -> float | None:
    """Exit code 137 of a line that installs."""
    del log
    near = hit.before[-500:] + hit.after[:120]
    return (
        0.88
        if re.search(r"pip3? install|pip install|conda |uv (?:pip|sync)|poetry install|requirements", near)
        else None
    )


def _memory(hit: Hit, log: Log) -> float | None:
    """Python's MemoryError: out of pip, or out of a program that runs."""
    del log
    if succeeded(hit):
        return None
    near = hit.before[-2500:]
    if re.search(
        r"pip[/\\]_|cachecontrol|msgpack|ERROR: Exception:|\.whl\b|Downloading|\d [kMG]B/s|pip3? install", near
    ):
        return 0.95
    return None


LOG = LogSide(
    signatures=(
        Signature(pattern=rf"(?:{KILLED})(?:\s|\n|\.|$)|Killed: 9", weigh=_ended, quoted=True),
        Signature(
            pattern=r"(?:exit(?:ed with)?(?:\sstatus|\scode)?|exitcode|returned a non-zero code|did not complete"
            r" successfully: exit code|status|return\s?code)[:=]?\s?137\b",
            weigh=_code,
            quoted=True,
        ),
        Signature(pattern=r"MemoryError", weigh=_memory, quoted=True),
        Signature(
            pattern=r"[Oo]ut of memory: Kill(?:ed)? process \d+ \((?:pip3?|conda|mamba|uv|cc1plus|cicc|ptxas|nvcc"
            r"|ninja)[\d.]*\)",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"fatal error: Killed signal terminated program|nvcc error\s?: '(?:cicc|ptxas|cudafe\+\+)' died"
            r" due to signal 9",
            confidence=0.7,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:signal: 9|died with <Signals\.SIGKILL|SIGKILL)",
            beside=(r"(?i)Building wheel|pip install|Installing build dependencies|subprocess-exited-with-error",),
            confidence=0.6,
            quoted=True,
        ),
    ),
    message=later(
        "The installation was ended for want of main memory: pip keeps the whole wheel in memory"
        " while it fills its cache."
    ),
    remedies=(
        Remedy(
            text=later("Install with uv, which writes to the disk as it downloads; envfix does so."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later("With pip, go without its cache."),
            commands=(("python", "-m", "pip", "install", "--no-cache-dir", "torch", "torchvision"),),
        ),
        Remedy(
            text=later(
                "Give the container or the virtual machine more memory or some swap; where"
                " something is compiled, use fewer jobs."
            ),
            commands=(("export", "MAX_JOBS=2"),),
        ),
    ),
    tell_apart=Remedy(text=later("See what the kernel ended and why."), commands=(("dmesg", "-T"), ("free", "-h"))),
)

RULE = Rule(
    code="MEM103",
    cause="host_ram_exhausted_install",
    title=later("Too little main memory for pip's cache"),
    needs=("machine.resources", "environment.torch"),
    check=check,
    rank=63,
    log=LOG,
)
