r"""Windows can promise too little memory for several processes with torch and CUDA.

What you see
    'OSError: [WinError 1455] The paging file is too small for this operation to complete. Error loading "...\\torch\lib\...dll"',
    mostly out of ``multiprocessing\spawn.py``; "os error 1455" when a model file is opened.

Why
    Every worker that loads data imports torch, and its CUDA libraries are counted with several GiB each, used or not. Where
    the limit (main memory and page file together) is reached, Windows refuses.

How envfix knows
    On Windows: the commit limit (main memory and page file together) is below 16 GiB, and the target's torch carries CUDA. In a
    log: the error's number 1455, whatever the language.

How to mend
    Fewer workers (``workers=0`` or ``workers=2`` for YOLO), or a larger page file.

What not to do
    Installing torch again or a smaller batch changes nothing.

Sources
    GlobalMemoryStatusEx of Windows; https://learn.microsoft.com/windows/client-management/introduction-page-file
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._environments import startup_of
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import WORKER_EXITED
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

GIB = 1024**3
ENOUGH = 16 * GIB


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    torch, limit = environment.torch.value, startup_of(environment).windows_commit_limit
    if torch is None or torch.cuda is None or limit is None or limit >= ENOUGH:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say(
            "Windows can promise {limit:.1f} GiB of memory here: several data workers with CUDA may not start.",
            limit=limit / GIB,
        ),
        because=(
            cite("environment.startup", environment.startup, say("commit limit {limit:.1f} GiB", limit=limit / GIB)),
            cite(
                "environment.torch",
                environment.torch,
                say("torch {build} with CUDA {cuda}", build=torch.build, cuda=torch.cuda),
            ),
        ),
        remedies=(
            Remedy(text=say("Use fewer workers: `workers=2` (or 0) for YOLO.")),
            Remedy(text=say("Or enlarge the page file in the advanced system settings and restart."), safe=False),
        ),
    )


WINDOWS = r"[A-Za-z]:[/\\]{1,2}(?:Users|Program|\w+[/\\])|win32|Windows|\.dll\b"


def _weigh_exit(hit: Hit, log: Log) -> float | None:
    """Under Windows a worker that ends without a word often could not get its memory."""
    del hit
    return 0.3 if log.found(WINDOWS) else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"WinError 1455\b[^\n]{0,300}?(?:Error loading \"[^\"\n]{0,260}?(?P<dll>[\w.+-]{2,60}\.dll))?",
            confidence=0.97,
        ),
        Signature(pattern=r"(?:os error|error code:?|Error code|errno) 1455\b|ERROR_COMMITMENT_LIMIT", confidence=0.95),
        Signature(
            pattern=r"paging file is too small|archivo de paginación es demasiado pequeño|页面文件太小", confidence=0.95
        ),
        Signature(pattern=WORKER_EXITED, weigh=_weigh_exit, looks_at=(WINDOWS,)),
        Signature(pattern=r"DefaultCPUAllocator: not enough memory", confidence=0.25),
    ),
    message=later(
        "Windows can promise no more memory: main memory and page file together are too small for so many processes."
    ),
    remedies=(
        Remedy(
            text=later("Use fewer loader processes (2, or 0 for none)."),
            commands=(("yolo", "train", "model=MODEL.pt", "data=DATA.yaml", "workers=0"),),
        ),
        Remedy(
            text=later(
                "Or enlarge the page file: advanced system settings, performance, virtual memory, then restart."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See how much memory Windows can promise (its commit limit)."), commands=(("systeminfo",),)
    ),
    explains=("windows_dll_dependency_missing", "torch_import_fails", "host_ram_exhausted_runtime"),
)

RULE = Rule(
    code="MEM105",
    cause="windows_pagefile_too_small",
    title=later("the page file of Windows is small"),
    needs=("environment.torch", "environment.startup"),
    check=check,
    rank=91,
    log=LOG,
)
