"""The installed torch was built without CUDA, on a machine that has an NVIDIA GPU.

What it checks
    ``torch.version.cuda`` in the installed files is None while the machine has an NVIDIA card: a ``+cpu`` wheel, the
    default index on Windows and macOS, or a build for the cards of AMD (``+rocm``) or Intel (``+xpu``) where there is none of them.

Why it matters
    Every CUDA call fails ("Torch not compiled with CUDA enabled") or training silently takes days on the processor.

How to fix
    Remove torch, torchvision and torchaudio together and install all three from one CUDA index that the driver can run.
    A CUDA toolkit, cuDNN or CUDA_HOME change nothing: the wheel itself has no GPU code.

Sources
    version.py of the installed torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._family import has_nvidia_card
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# Makers of other cards, by their number on the PCI bus.
MAKERS = {"AMD": "1002", "Intel": "8086"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch = environment.torch.value
    if torch is None or torch.cuda is not None or not has_nvidia_card(machine):
        return
    maker = _maker(torch)
    if maker is not None and any(display.vendor_id == MAKERS[maker] for display in machine.displays.value or ()):
        return  # Of two makers' cards this torch was chosen for the other's.
    cards = _cards(machine)
    built = f"for cards of {maker}" if maker else "without CUDA"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=f"torch {torch.build} was built {built}: it cannot use the GPU of this machine ({cards}).",
        because=(
            cite("environment.torch", environment.torch, f"{torch.build}, torch.version.cuda is None"),
            _seen(machine, cards),
        ),
        remedies=(
            Remedy(
                text="Install a CUDA build that the driver can run, in an environment of its own.",
                commands=(("envfix", "install", "--new-env", "yolo-env"),),
            ),
        ),
    )


def _maker(torch: TorchBuild) -> str | None:
    """Whose cards a build is for that is neither for NVIDIA's nor for the processor alone."""
    if torch.hip is not None or "+rocm" in torch.build:
        return "AMD"
    return "Intel" if "+xpu" in torch.build else None


def _cards(machine: Machine) -> str:
    names = [gpu.name for gpu in machine.gpus.value or ()]
    names = names or [display.name or "NVIDIA card" for display in nvidia_displays(machine)]
    return ", ".join(
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )


def _seen(machine: Machine, cards: str) -> Evidence:
    """By the driver, or on the PCI bus where it does not answer."""
    if machine.gpus.value:
        return cite("machine.gpus", machine.gpus, cards)
    return cite("machine.displays", machine.displays, f"{cards} on the PCI bus")


RULE = Rule(
    code="TOR101",
    cause="cpu_only_build_installed",
    title="torch was built without CUDA",
    needs=("environment.torch",),
    check=check,
    rank=32,
)
