"""Triton, which torch.compile uses, is not installed.

What it checks
    torch's metadata asks for triton on this platform, and there is none; on Windows, where it has no official
    wheel, only if xformers is installed, which then prints "A matching Triton is not available".

Why it matters
    It bites only in ``torch.compile`` and in some kernels of xformers. Training and prediction with YOLO do without
    it.

How to fix
    Ignore the warning, or install the triton that torch's metadata names. Another torch or CUDA changes nothing.

Sources
    Requires-Dist of torch; the installed packages.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import evidence, installed, key_of, requirements
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    here, interpreter = installed(environment), environment.interpreter.value
    torch = here.get("torch")
    if torch is None or environment.torch.value is None or any("triton" in name for name in here):
        return
    wanted = [
        asked.requirement
        for asked in requirements(environment, iter((torch,)))
        if "triton" in key_of(asked.requirement.name)
    ]
    on_windows = interpreter is not None and interpreter.platform_tag.startswith("win") and "xformers" in here
    if not wanted and not on_windows:
        return
    remedy = (
        in_place(
            environment,
            "Install it, if you use torch.compile.",
            "install",
            f"{wanted[0].name}{wanted[0].specifier}",
        )
        if wanted
        else Remedy(text="Ignore the warning: xformers only loses an optimisation.")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message="Triton is not installed: torch.compile will not work, everything else does.",
        because=evidence(torch),
        remedies=(remedy,),
    )


RULE = Rule(
    code="FAM112",
    cause="triton_missing",
    title="Triton is not installed",
    needs=("environment.torch", "environment.distributions", "environment.interpreter"),
    check=check,
    rank=90,
)
