"""torchvision is a CPU build beside a torch with CUDA.

What it checks
    The installed torch was built with CUDA, while torchvision's label is ``+cpu``, or its library needs no CUDA
    library at all.

Why it matters
    Its operators have no GPU version: "Could not run 'torchvision::nms' with arguments from the 'CUDA' backend".
    Every YOLO prediction on the GPU ends there.

How to fix
    Install torchvision from the same place and for the same CUDA as torch, both in one command. Running nms on the
    processor, or reinstalling ultralytics, changes nothing.

Sources
    version.py of both packages; the libraries that torchvision's own library needs.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Severity
from envfix.rules._family import NEW_ENVIRONMENT, compiled, has_nvidia_card, version
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, vision = environment.torch.value, environment.torchvision.value
    if torch is None or vision is None or torch.cuda is None or vision.cuda is not None:
        return
    proof = _proof(environment)
    if proof is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR if has_nvidia_card(machine) else Severity.INFO,
        message=f"torchvision {vision.build} is a CPU build, torch {torch.build} has CUDA: its operators cannot run on the GPU.",
        because=(cite("environment.torch", environment.torch, f"{torch.build}, CUDA {torch.cuda}"), proof),
        remedies=(NEW_ENVIRONMENT,),
    )


def _proof(environment: Environment) -> Evidence | None:
    """What shows that torchvision was built without CUDA; None where nothing does."""
    vision = environment.torchvision.value
    own = version(vision.build) if vision else None
    if own is not None and own.local == "cpu":
        return cite("environment.torchvision", environment.torchvision, str(own))
    files = [file for file in compiled(environment, "torchvision") if any("torch" in name for name in file.needs)]
    if files and not any("cuda" in name or "cudart" in name for file in files for name in file.needs):
        value = (
            f"needs {', '.join(name for name in files[0].needs if 'torch' in name or 'c10' in name)}, no CUDA library"
        )
        return Evidence(fact="environment.binaries", value=value, source=files[0].path)
    return None


RULE = Rule(
    code="FAM103",
    cause="torchvision_cpu_with_cuda_torch",
    title="torchvision is a CPU build beside a CUDA torch",
    needs=("environment.torch", "environment.torchvision"),
    check=check,
    rank=36,
)
