"""The installed torch was built without CUDA, on a machine that has an NVIDIA GPU.

What it checks
    ``torch.version.cuda`` in the installed files is None while the machine has an NVIDIA card: a ``+cpu`` wheel, or the
    default index on Windows and macOS.

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

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch = environment.torch.value
    if torch is None or torch.cuda is not None or torch.hip is not None:
        return
    if not machine.gpus.value and not nvidia_displays(machine):
        return
    names = [gpu.name for gpu in machine.gpus.value or ()]
    counted = (f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names))
    cards = ", ".join(counted) or "an NVIDIA card on the PCI bus"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=f"torch {torch.build} was built without CUDA: it cannot use the GPU of this machine ({cards}).",
        because=(
            cite("environment.torch", environment.torch, f"{torch.build}, torch.version.cuda is None"),
            cite("machine.gpus", machine.gpus, cards),
        ),
        remedies=(
            Remedy(
                text="Install a CUDA build that the driver can run, in an environment of its own.",
                commands=(("envfix", "install", "--new-env", "yolo-env"),),
            ),
        ),
    )


RULE = Rule(
    code="TOR101",
    cause="cpu_only_build_installed",
    title="torch was built without CUDA",
    needs=("environment.torch",),
    check=check,
    rank=32,
)
