"""On a Jetson board lies a torch that was not made for it.

What it checks
    The board's L4T release (``/etc/nv_tegra_release``) is known, and the installed torch has no CUDA at all, or code for none
    of the Jetson chips (5.3, 6.2, 7.2, 8.7). Up to JetPack 6 a Jetson needs the builds made for its release; from JetPack 7 on
    (L4T R38) the ordinary aarch64 wheels are for it as well.

Why it matters
    ``torch.cuda.is_available()`` is False, or the first computation fails, although the board has a GPU.

How to fix
    Install the torch that NVIDIA builds for this JetPack and Python, and a torchvision built for it; then ultralytics without its
    dependencies, so that it does not replace them. A CUDA from the desktop repository does not belong on a Jetson.

Sources
    NVIDIA: PyTorch for the Jetson platform.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.versions import ComputeCapability
from envfix.rules._devices import cuda_works
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

JETSON_CHIPS = tuple(map(ComputeCapability.parse, ("5.3", "6.2", "7.2", "8.7", "10.1", "11.0")))
# From this L4T release on the server wheels run.
FIRST_ORDINARY = 38


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    place, torch = machine.platform.value, environment.torch.value
    if place is None or place.jetson is None or torch is None or cuda_works(environment):
        return
    release = re.match(r"R(\d+)", place.jetson)
    if release is None or int(release[1]) >= FIRST_ORDINARY or not _is_generic(torch):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"torch {torch.build} was not built for this Jetson ({place.jetson}): it cannot use the board's GPU.",
        because=(
            cite("machine.platform", machine.platform, f"L4T {place.jetson}"),
            cite("environment.torch", environment.torch, _code_of(torch)),
        ),
        remedies=(
            Remedy(
                text=f"Install the torch that NVIDIA builds for L4T {place.jetson} and this Python, with its torchvision.",
                safe=False,
            ),
        ),
    )


def _is_generic(torch: TorchBuild) -> bool:
    if re.search(r"nv\d\d\.", torch.build) or torch.hip:
        return False
    return torch.cuda is None or (torch.sm is not None and not set(torch.sm) & set(JETSON_CHIPS))


def _code_of(torch: TorchBuild) -> str:
    if torch.cuda is None:
        return "torch.version.cuda is None"
    return "built for " + " ".join(sm.sm for sm in torch.sm or ())


RULE = Rule(
    code="GPU108",
    cause="jetson_generic_wheel",
    title="This torch was not built for a Jetson",
    needs=("machine.platform", "environment.torch"),
    check=check,
    rank=30,
    explains=("cpu_only_build_installed", "sm_too_old_for_wheel", "sm_too_new_for_wheel"),
)
