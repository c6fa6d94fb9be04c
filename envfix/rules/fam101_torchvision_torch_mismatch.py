"""torchvision was built for another torch than the one beside it.

What it checks
    Each torchvision release is compiled against one torch release, and for the same kind of build (CPU or one CUDA). The
    versions, the pin in torchvision's metadata and the CUDA in both version files are compared, and what torchvision's library
    needs and takes from torch.

Why it matters
    Its operators do not load: "operator torchvision::nms does not exist". YOLO needs exactly that operator.

How to fix
    Reinstall the matching pair in one command from one index; torchvision alone is not enough.

Sources
    METADATA and version.py of both packages; the table of companions; the ELF header of torchvision's library.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import Environment, Machine, TorchBuild, VisionBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._family import compiled
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, vision = environment.torch.value, environment.torchvision.value
    if torch is None or vision is None:
        return
    problem = _version_problem(torch, vision, tables) or _build_problem(torch, vision) or _file_problem(environment)
    if problem is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=f"torchvision {vision.build} does not belong to torch {torch.build}: {problem}.",
        because=(
            cite("environment.torch", environment.torch, torch.build),
            cite("environment.torchvision", environment.torchvision, vision.build),
        ),
        remedies=(
            Remedy(
                text="Install a matching pair, in an environment of its own.",
                commands=(("envfix", "install", "--new-env", "yolo-env"),),
            ),
        ),
    )


def _version_problem(torch: TorchBuild, vision: VisionBuild, tables: Tables) -> str | None:
    try:
        installed, beside = Version(torch.build), Version(vision.build)
        if vision.torch_pin is not None:
            wanted = Version(vision.torch_pin)
            return None if wanted.public == installed.public else f"it was built for torch {vision.torch_pin}"
    except InvalidVersion:
        return None
    companions = tables.companions.of(Version(installed.public))
    if companions is None or not companions.torchvision:
        return None
    if any(known.release[:2] == beside.release[:2] for known in companions.torchvision):
        return None
    return f"torch {installed.public} goes with torchvision {companions.torchvision_recommended}"


def _build_problem(torch: TorchBuild, vision: VisionBuild) -> str | None:
    if torch.cuda is None and torch.hip is None and vision.cuda is not None:
        return f"it needs the CUDA {vision.cuda} libraries of a CUDA torch, and this torch has none"
    if torch.cuda is not None and vision.cuda is not None and torch.cuda.major != vision.cuda.major:
        return f"it was built with CUDA {vision.cuda}, torch with CUDA {torch.cuda}"
    return None


def _file_problem(environment: Environment) -> str | None:
    """What torchvision's own library needs and this torch does not have."""
    for file in compiled(environment, "torchvision"):
        of_torch = [name for name in file.unresolved if name.startswith(("libtorch", "libc10"))]
        if of_torch:
            return f"its library needs {of_torch[0]}, which this torch does not have"
        if file.missing_symbols:
            return f"its library takes {file.missing_symbols[0]} from torch, which this torch does not have"
    return None


RULE = Rule(
    code="FAM101",
    cause="torchvision_torch_mismatch",
    title="torchvision was built for another torch",
    needs=("environment.torch", "environment.torchvision"),
    check=check,
    rank=35,
)
