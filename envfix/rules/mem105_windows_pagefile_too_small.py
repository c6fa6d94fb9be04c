"""Windows can promise too little memory for several processes with torch and CUDA.

What it checks
    On Windows: the commit limit (main memory and page file together) is below 16 GiB, and the target's torch carries CUDA.

Why it matters
    Every worker that loads data imports torch, and its CUDA libraries are counted with several GiB each, used or not. Where
    the limit is reached, Windows refuses: "WinError 1455" (the paging file is too small), while importing cudnn or cublas.

How to fix
    Fewer workers (``workers=0`` or ``workers=2`` for YOLO), or a larger page file. Installing torch again or a smaller batch
    changes nothing.

Sources
    GlobalMemoryStatusEx of Windows; https://learn.microsoft.com/windows/client-management/introduction-page-file
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._environments import startup_of
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
        message=f"Windows can promise {limit / GIB:.1f} GiB of memory here: several data workers with CUDA may not start.",
        because=(
            cite("environment.startup", environment.startup, f"commit limit {limit / GIB:.1f} GiB"),
            cite("environment.torch", environment.torch, f"torch {torch.build} with CUDA {torch.cuda}"),
        ),
        remedies=(
            Remedy(text="Use fewer workers: `workers=2` (or 0) for YOLO."),
            Remedy(text="Or enlarge the page file in the advanced system settings and restart.", safe=False),
        ),
    )


RULE = Rule(
    code="MEM105",
    cause="windows_pagefile_too_small",
    title="the page file of Windows is small",
    needs=("environment.torch", "environment.startup"),
    check=check,
    rank=91,
)
