"""ultralytics is older than a change in torch that it does not know of.

What it checks
    torch 2.6 and newer load only plain weights unless they are told otherwise; the installed ultralytics is from
    before the release that tells them.

Why it matters
    ``yolo predict model=yolov8n.pt`` ends with "Weights only load failed" or "Unsupported global: GLOBAL
    ultralytics...".

How to fix
    Update ultralytics, or hold torch below 2.6. Do not switch the check off for files of unknown origin: such a
    file can run any code.

Sources
    Metadata of ultralytics; the table of its releases.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import NEW_ENVIRONMENT, evidence, installed, version
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

REFUSES_SINCE = Version("2.6")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine
    torch, item = environment.torch.value, installed(environment).get("ultralytics")
    here, own = version(torch.build) if torch else None, version(item.version) if item else None
    if torch is None or item is None or here is None or own is None or here < REFUSES_SINCE:
        return
    asks = tables.ultralytics.requirements(own)
    if asks is None or asks.loads_weights_with_torch_2_6:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The package ultralytics {item.version} is too old for torch {torch.build}:"
        " it cannot load model files (.pt) with it.",
        because=(*evidence(item), cite("environment.torch", environment.torch, torch.build)),
        remedies=(
            in_place(
                environment,
                "Update ultralytics and leave torch as it is.",
                "install", "-U", "ultralytics", f"torch=={torch.version}",
            ),
            NEW_ENVIRONMENT,
        ),
    )  # fmt: skip


RULE = Rule(
    code="FAM109",
    cause="library_too_old_for_torch",
    title="ultralytics is too old for this torch",
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=39,
)
