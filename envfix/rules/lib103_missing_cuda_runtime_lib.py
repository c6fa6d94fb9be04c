"""A CUDA library that torch needs is not there.

What it checks
    The nvidia-* packages that torch's metadata names; the files that they and torch list; the libraries that
    torch's own libraries need, against every place the loader looks; what the import said, and what it took from
    outside instead.

Why it matters
    "libcudnn.so.9: cannot open shared object file": torch cannot be imported. Or a system-wide CUDA of another
    release fills the gap in silence, which nobody has tested together.

How to fix
    Install the nvidia package that torch names, in the version it names. A link from another major number under the
    wanted name, or a toolkit of some version, does not make it fit.

Sources
    Requires-Dist of torch, RECORD of the nvidia packages, ELF headers of torch's libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import in_place
from envfix.rules._family import (
    CUDA_LIBRARY,
    NEW_ENVIRONMENT,
    compiled,
    import_evidence,
    import_failure,
    import_works,
    installed,
    key_of,
    requirements,
)
from envfix.rules._libraries import is_bundled, loaded_from_outside
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = re.compile(
    r"(lib(?:cudart|cublas|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink|cupti|nvToolsExt|nvshmem|cufile)[^\s:]*)"
    r": cannot open"
)


class Gap(NamedTuple):
    """Something that is not there: in words, by which facts, and what to ask pip for (None: torch itself)."""

    text: str
    because: tuple[Evidence, ...]
    package: str | None


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    if environment.torch.value is None:
        return
    gaps = [*_damaged(environment), *_unresolved(environment), *_not_installed(environment), *_by_import(environment)]
    outside = tuple(
        path
        for cudnn in (False, True)
        for path in loaded_from_outside(environment, cudnn=cudnn)
        if not is_bundled(path, environment)
    )
    if not gaps or (import_works(environment) and not outside and not list(_damaged(environment))):
        return
    text = gaps[0].text
    if outside:
        text += f"; {outside[0]} is used instead"
    packages = tuple(dict.fromkeys(gap.package for gap in gaps if gap.package))
    taken = tuple(
        Evidence(fact="environment.torch_import", value=f"loaded {path}", source=environment.torch_import.source)
        for path in outside[:3]
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if import_works(environment) else Severity.ERROR,
        message=f"A CUDA library that torch needs is missing: {text}.",
        because=(
            *dict.fromkeys(piece for gap in gaps for piece in gap.because),
            *taken,
            *import_evidence(environment),
        ),
        remedies=(*_remedies(environment, packages), NEW_ENVIRONMENT),
    )


def _damaged(environment: Environment) -> Iterator[Gap]:
    """Packages whose libraries are gone though their metadata is there."""
    for name, item in installed(environment).items():
        gone = [path for path in item.missing_examples if CUDA_LIBRARY.match(path.rpartition("/")[2])]
        if gone and item.installer != "conda" and (name.startswith("nvidia-") or name == "torch"):
            text = f"{gone[0].rpartition('/')[2]} of {item.name} {item.version} is gone"
            because = Evidence(
                fact="environment.distributions",
                value=f"{item.name} {item.version}: {', '.join(gone[:3])} is listed and not there",
                source=f"{item.location}/{item.metadata}/RECORD",
            )
            yield Gap(text, (because,), f"{item.name}=={item.version}" if name != "torch" else None)


def _unresolved(environment: Environment) -> Iterator[Gap]:
    """Libraries that torch's own libraries need and that lie nowhere."""
    for file in compiled(environment, "torch"):
        lacking = [name for name in file.unresolved if CUDA_LIBRARY.match(name)]
        if lacking:
            because = Evidence(fact="environment.binaries", value=f"needs {', '.join(lacking)}", source=file.path)
            yield Gap(f"{lacking[0]} is nowhere", (because,), None)


def _not_installed(environment: Environment) -> Iterator[Gap]:
    """NVIDIA packages that torch's metadata names; where all that its libraries need is found, none is missed."""
    here = installed(environment)
    torch, files = here.get("torch"), compiled(environment, "torch")
    if torch is None or (files and not any(file.unresolved for file in files) and not _silent_mix(environment)):
        return
    for asked in requirements(environment, iter((torch,))):
        name = key_of(asked.requirement.name)
        if name.startswith("nvidia-") and name not in here and asked.extra is None:
            wanted = f"{asked.requirement.name}{asked.requirement.specifier}"
            because = Evidence(
                fact="environment.distributions",
                value=f"torch {torch.version} asks for {wanted}, which is not installed",
                source=f"{torch.location}/{torch.metadata}",
            )
            yield Gap(f"{asked.requirement.name} is not installed", (because,), wanted)


def _silent_mix(environment: Environment) -> bool:
    return any(
        not is_bundled(path, environment)
        for cudnn in (False, True)
        for path in loaded_from_outside(environment, cudnn=cudnn)
    )


def _by_import(environment: Environment) -> Iterator[Gap]:
    match = SAYS.search(import_failure(environment) or "")
    if match:
        yield Gap(f"{match[1].rpartition('/')[2]} cannot be opened", (), None)


def _remedies(environment: Environment, packages: tuple[str, ...]) -> Iterator[Remedy]:
    if packages:
        # What is listed as installed is put there again only with this option, and nothing else is touched.
        arguments = ("install", "--force-reinstall", "--no-deps", *packages)
        yield in_place(environment, "Put the missing libraries back, in the versions that torch names.", *arguments)


RULE = Rule(
    code="LIB103",
    cause="missing_cuda_runtime_lib",
    title="A CUDA library that torch needs is missing",
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=42,
    explains=("torch_import_fails",),
)
