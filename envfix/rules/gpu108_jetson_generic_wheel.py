"""On a Jetson board lies a torch that was not made for it.

What you see
    ``torch.cuda.is_available()`` is False or "Torch not compiled with CUDA enabled" on a board whose kernel has
    tegra in its name; "no kernel image is available", "Orin (nvgpu) with CUDA capability sm_87 is not compatible".

Why
    Up to JetPack 6 a Jetson needs the builds made for its release; the ordinary aarch64 wheel, which ``pip install
    ultralytics`` brings along, has no CUDA or code for servers only. From JetPack 7 on (L4T R38) the ordinary
    aarch64 wheels are for it as well.

How envfix knows
    The board's L4T release (``/etc/nv_tegra_release``) is known, and the installed torch has no CUDA at all, or
    code for none of the Jetson chips (5.3, 6.2, 7.2, 8.7). In a log the texts above beside traces of such a board.

How to mend
    Install the torch that NVIDIA builds for this JetPack and Python, and a torchvision built for it; then
    ultralytics without its dependencies, so that it does not replace them.

What not to do
    Do not install a CUDA from the desktop repository, or a cuXXX wheel for x86.

Sources
    NVIDIA: PyTorch for the Jetson platform.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature, Weigh
from envfix.model.versions import ComputeCapability
from envfix.rules._devices import cuda_works
from envfix.rules._log import LogSide
from envfix.rules._log_context import UNFIT
from envfix.rules._log_patterns import (
    CANNOT_START,
    INVALID_DEVICE,
    NO_CUDA_GPUS,
    NO_DRIVER,
    NO_KERNEL_IMAGE,
    NOT_AVAILABLE,
    NOT_COMPILED,
    ON_JETSON,
)
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
        message=say(
            "torch {build} was not built for this Jetson ({jetson}): it cannot use the board's GPU.",
            build=torch.build,
            jetson=place.jetson,
        ),
        because=(
            cite("machine.platform", machine.platform, f"L4T {place.jetson}"),
            cite("environment.torch", environment.torch, _code_of(torch)),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Install the torch that NVIDIA builds for L4T {jetson} and this Python, with its torchvision.",
                    jetson=place.jetson,
                ),
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
        return say("torch.version.cuda is None")
    return say("built for ") + " ".join(sm.sm for sm in torch.sm or ())


_VENDOR_BUILD = r"torch-?[\d.]+a0\+\w|\+nv\d\d\.\d|nv\d\d\.\d\d-cp\d"


def _on_board(board: float, otherwise: float | None) -> Weigh:
    """Only traces of a Jetson make it this cause; what NVIDIA builds for it is not at fault."""

    def weigh(hit: Hit, log: Log) -> float | None:
        del hit
        if not log.found(ON_JETSON):
            return otherwise
        return board * 0.4 if log.found(_VENDOR_BUILD) else board

    return weigh


_LOOKS_AT = (ON_JETSON, _VENDOR_BUILD)

LOG = LogSide(
    signatures=(
        Signature(pattern=NOT_AVAILABLE, weigh=_on_board(0.85, 0.05), looks_at=_LOOKS_AT),
        Signature(pattern=NOT_COMPILED, weigh=_on_board(0.85, None), looks_at=_LOOKS_AT),
        Signature(pattern=INVALID_DEVICE, weigh=_on_board(0.8, None), looks_at=_LOOKS_AT),
        Signature(pattern=NO_KERNEL_IMAGE, weigh=_on_board(0.85, None), looks_at=_LOOKS_AT),
        Signature(pattern=NO_DRIVER, weigh=_on_board(0.75, None), looks_at=_LOOKS_AT),
        Signature(pattern=NO_CUDA_GPUS, weigh=_on_board(0.6, None), looks_at=_LOOKS_AT),
        Signature(pattern=UNFIT, weigh=_on_board(0.9, None), looks_at=_LOOKS_AT),
        Signature(pattern=CANNOT_START, weigh=_on_board(0.7, None), looks_at=_LOOKS_AT),
        Signature(
            pattern=(
                r"Orin \(nvgpu\) with CUDA capability sm_87|(?:Orin|Xavier"
                r"|Tegra)[^\n]{0,40} with CUDA capability sm_\d\d is not compatible"
            ),
            confidence=0.93,
        ),
        Signature(pattern=r"NvMapMemAllocInternalTagged|NvRmMemInitNvmap failed", confidence=0.12),
        Signature(
            pattern=r"torch-[\d.]+(?:\+\w+)?-cp\d+-\S{2,40}aarch64\.whl",
            confidence=0.6,
            beside=(ON_JETSON, NOT_AVAILABLE),
        ),
        Signature(
            pattern=r"torchvision==(?P<vision>\S+) is incompatible with torch==", confidence=0.35, beside=(ON_JETSON,)
        ),
    ),
    message=later("On this Jetson a torch is installed that was not made for it: it cannot use the board's GPU."),
    remedies=(
        Remedy(
            text=later("See the board's release (L4T); NVIDIA builds one torch for each."),
            commands=(("cat", "/etc/nv_tegra_release"),),
        ),
        Remedy(
            text=later(
                "Uninstall this torch and install the one that NVIDIA builds for that JetPack and"
                " Python, with its torchvision; then ultralytics without dependencies."
            ),
            commands=(
                ("python", "-m", "pip", "uninstall", "torch", "torchvision"),
                ("python", "-m", "pip", "install", "TORCH_WHEEL_FOR_JETPACK"),
                ("python", "-m", "pip", "install", "--no-deps", "ultralytics"),
            ),
        ),
    ),
    tell_apart=Remedy(
        text=later("See which torch this is: NVIDIA's builds for Jetson have nv in their version."),
        commands=(("python", "-c", "import torch; print(torch.__version__, torch.version.cuda)"),),
    ),
    explains=(
        "cpu_only_build_installed",
        "sm_too_old_for_wheel",
        "sm_too_new_for_wheel",
        "no_nvidia_gpu",
        "torchvision_torch_mismatch",
    ),
)


RULE = Rule(
    code="GPU108",
    cause="jetson_generic_wheel",
    title=later("This torch was not built for a Jetson"),
    needs=("machine.platform", "environment.torch"),
    check=check,
    rank=30,
    explains=("cpu_only_build_installed", "sm_too_old_for_wheel", "sm_too_new_for_wheel"),
    log=LOG,
)
