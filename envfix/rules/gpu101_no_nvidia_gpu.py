"""This machine has no NVIDIA GPU.

What you see
    "Found no NVIDIA driver on your system", "Torch not compiled with CUDA enabled" on a Mac, "nvidia-smi: command
    not found". Each may also be a missing driver or a container without its GPU.

Why
    The machine has no card, or one of AMD, Intel or Apple, for which torch needs another build. torch runs on the
    processor here: that is a fact, not a fault, and no CUDA, driver or toolkit will change it.

How envfix knows
    No driver answers, there are no /dev/nvidia* files, and the PCI bus shows no NVIDIA controller. In a log the
    texts above together with traces of a Mac, of another maker's card, or of a notebook without a GPU.

How to mend
    Nothing is broken. Work on the CPU, take the build for the card that is there (ROCm, XPU, MPS), or move to a
    machine with an NVIDIA card.

What not to do
    Do not install CUDA or an NVIDIA driver.

Sources
    PCI vendor id 10de is NVIDIA's.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._cards import nvidia_displays
from envfix.rules._devices import batch_without_card, container, on_jetson
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import (
    CANNOT_START,
    INVALID_DEVICE,
    NO_CUDA_GPUS,
    NO_DRIVER,
    NO_LIBCUDA,
    NO_NVIDIA_SMI,
    NOT_AVAILABLE,
    NOT_COMPILED,
    OLD_INVALID_DEVICE,
)
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    traces = layers is None or bool(layers.device_nodes) or layers.kernel is not None
    if not (machine.driver.is_absent and machine.gpus.is_absent) or traces or nvidia_displays(machine):
        return
    # A Jetson has its GPU on the chip; a node of a cluster is told by the cause job_without_gpu.
    if on_jetson(machine) or batch_without_card(machine):
        return
    others = _others(machine)
    also = (
        say(" It has a display controller ({others}), which CUDA builds of torch cannot use.", others=", ".join(others))
        if others
        else ""
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say("This machine has no NVIDIA GPU: torch runs on the processor here.{also}", also=also),
        because=(
            cite("machine.driver", machine.driver, say("no trace of an NVIDIA driver")),
            cite("machine.displays", machine.displays, ", ".join(others) or say("no NVIDIA card on the PCI bus")),
        ),
        remedies=(Remedy(text=_advice(machine)),),
    )


def _others(machine: Machine) -> list[str]:
    """Cards of other makers, by name where it is known."""
    cards = (display for display in machine.displays.value or () if display.vendor in ("AMD", "Intel"))
    return sorted({card.name or card.vendor for card in cards})


def _advice(machine: Machine) -> str:
    # From inside a container a card that was not asked for cannot always be seen.
    if container(machine):
        return say("Nothing to mend. If the host has a GPU, start the container with it (`docker run --gpus all ...`).")
    return say("Nothing to mend. To train on a GPU, use a machine that has one.")


LOG = LogSide(
    signatures=(
        Signature(
            pattern=NO_DRIVER,
            weigh=by_place(
                0.4,
                answers=None,
                jetson=0.1,
                wsl=0.25,
                other=0.8,
                batch=0.25,
                container=0.3,
                colab=0.6,
                mac=0.75,
                windows=0.5,
            ),
            looks_at=LOOKS_AT,
        ),
        Signature(
            pattern=NOT_COMPILED,
            weigh=by_place(None, other=0.6, mac=0.85, answers=None),
            looks_at=LOOKS_AT,
        ),
        Signature(
            pattern=NO_CUDA_GPUS,
            weigh=by_place(0.25, answers=None, jetson=0.05, other=0.6, batch=0.15, container=0.15, colab=0.5, mac=0.7),
            looks_at=LOOKS_AT,
        ),
        Signature(pattern=CANNOT_START, weigh=by_place(0.12, answers=None, mac=0.5), looks_at=LOOKS_AT),
        Signature(
            pattern=NO_NVIDIA_SMI,
            weigh=by_place(0.35, answers=None, jetson=None, other=0.6, batch=0.25, container=0.3, colab=0.6, mac=0.7),
            looks_at=LOOKS_AT,
        ),
        Signature(pattern=NO_LIBCUDA, weigh=by_place(0.35, answers=None, container=0.3, batch=0.25), looks_at=LOOKS_AT),
        Signature(pattern=NOT_AVAILABLE, weigh=by_place(0.08, answers=None, other=0.5, mac=0.6), looks_at=LOOKS_AT),
        Signature(pattern=INVALID_DEVICE, weigh=by_place(None, answers=None, other=0.5, mac=0.6), looks_at=LOOKS_AT),
        Signature(
            pattern=OLD_INVALID_DEVICE, weigh=by_place(None, answers=None, other=0.5, mac=0.6), looks_at=LOOKS_AT
        ),
        Signature(pattern=r"No HIP GPUs are available|hipErrorNoBinaryForGpu|hipErrorNoDevice", confidence=0.5),
        Signature(
            pattern=(
                r"(?:VGA compatible|3D|Display) controller(?: \[[^\]]*\])?: (?P<other>(?:Advanced Micro Devices"
                r"|Intel Corporation)[^\n]{0,80})"
            ),
            confidence=0.2,
            beside=(NO_DRIVER,),
        ),
        Signature(
            pattern=r"No NVIDIA GPU (?:was )?(?:found|detected)|NVIDIA GPU not (?:found|detected)", confidence=0.5
        ),
    ),
    message=(
        later(
            "There seems to be no NVIDIA card for CUDA (the display controller is {other}): no"
            " build of CUDA can help here."
        ),
        later(
            "There seems to be no NVIDIA card that CUDA can use in this machine: no driver or toolkit can help then."
        ),
    ),
    remedies=(
        Remedy(text=later("Run on the processor (device='cpu'); on a Mac with Apple's chip use device='mps'.")),
        Remedy(
            text=later("With an AMD or Intel card install the torch made for it (ROCm, XPU) instead of a CUDA build.")
        ),
        Remedy(text=later("On Colab or Kaggle choose a runtime with a GPU in the settings of the notebook.")),
    ),
    tell_apart=Remedy(
        text=later("See whether there is an NVIDIA card and whether its driver answers."),
        commands=(("nvidia-smi",), ("lspci", "-d", "10de:")),
    ),
    explains=("cpu_only_build_installed", "cuda_driver_library_missing", "cuda_does_not_start"),
)


RULE = Rule(
    code="GPU101",
    cause="no_nvidia_gpu",
    title=later("No NVIDIA GPU in this machine"),
    needs=("machine.driver", "machine.gpus", "machine.driver_layers"),
    check=check,
    rank=90,
    log=LOG,
)
