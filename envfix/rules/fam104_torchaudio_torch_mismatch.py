"""torchaudio was built for another torch than the one beside it.

What it checks
    The pin in torchaudio's metadata, or the table of releases where it pins nothing; the CUDA in the labels of
    both; the names that its library takes from torch.

Why it matters
    Importing torchaudio fails ("undefined symbol", "PyTorch has CUDA version ... whereas TorchAudio has CUDA
    version ..."). YOLO does not need it, other packages import it on the side.

How to fix
    Install the torchaudio that belongs to this torch from the same place, or remove it if nothing needs it.
    Upgrading the library that merely imports torchaudio changes nothing.

Sources
    METADATA and version.py of torchaudio; the table of companions; the ELF header of its library.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, compiled, evidence, installed, requirements, version
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, audio = environment.torch.value, installed(environment).get("torchaudio")
    if torch is None or audio is None:
        return
    problem = _release(environment, torch, audio, tables) or _label(torch, audio) or _symbols(environment)
    if problem is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.WARNING,
        message=f"torchaudio {audio.build or audio.version} does not belong to torch {torch.build}: {problem}.",
        because=(cite("environment.torch", environment.torch, torch.build), *evidence(audio)),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text="Or remove torchaudio, if nothing you run needs it.",
                commands=pip(environment, "uninstall", "-y", "torchaudio"),
                safe=False,
            ),
        ),
    )


def _release(environment: Environment, torch: TorchBuild, audio: Distribution, tables: Tables) -> str | None:
    here, own = version(torch.build), version(audio.version)
    if here is None or own is None:
        return None
    for asked in requirements(environment, iter((audio,))):
        if asked.requirement.name == "torch" and asked.extra is None:
            wanted = asked.requirement.specifier
            return (
                None
                if wanted.contains(here.public, prereleases=True)
                else f"it was built for torch {wanted}".replace("==", "")
            )
    known = tables.companions.torch_of_torchaudio(own)
    if not known or tables.companions.pin_of("torchaudio", own) == "" or Version(here.public) in known:
        return None
    # A release of torch that the table does not know may go with it.
    if tables.companions.of(Version(here.public)) is None:
        return None
    return f"it was built for torch {known[0]}"


def _label(torch: TorchBuild, audio: Distribution) -> str | None:
    """When it is imported, torchaudio itself compares the CUDA releases and refuses any difference."""
    own = version(audio.build or audio.version)
    label = own.local if own else None
    if label is None or torch.hip or not (label == "cpu" or label.startswith("cu")):
        return None
    if label == torch.variant or (label == "cpu" and torch.cuda is not None):
        return None  # a CPU build does its work on the processor beside any torch
    return f"it was built for {label}, torch for {torch.variant}"


def _symbols(environment: Environment) -> str | None:
    for file in compiled(environment, "torchaudio"):
        if file.missing_symbols:
            return f"its library takes {file.missing_symbols[0]} from torch, which this torch does not have"
    return None


RULE = Rule(
    code="FAM104",
    cause="torchaudio_torch_mismatch",
    title="torchaudio was built for another torch",
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=37,
)
