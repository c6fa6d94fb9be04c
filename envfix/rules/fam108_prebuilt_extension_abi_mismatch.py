"""A package with compiled code was built for another torch, CUDA or Python.

What it checks
    For flash-attn, xformers, mmcv, torch-scatter and their like: the torch and CUDA in the label or in the name of
    the wheel, the exact pin in the metadata, what xformers writes down about its build; and in their libraries the
    names they take from torch, and the CUDA libraries they need, against the installed torch.

Why it matters
    "undefined symbol: _ZN3c10...", "No module named 'mmcv._ext'", "xFormers was built for ...": such a library fits
    one torch only.

How to fix
    Install the build for exactly this torch, CUDA and Python, or build it again. Putting the CUDA runtime it asks
    for beside the other, or linking libraries to other names, does not help.

Sources
    Metadata, direct_url.json and the ELF headers of the extension's libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import pip
from envfix.rules._family import (
    CUDA_LIBRARY,
    EXTENSIONS,
    NEW_ENVIRONMENT,
    evidence,
    installed,
    key_of,
    requirements,
    version,
)
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# Judged by rules of their own, or no extensions of torch.
NOT_HERE = ("torch", "torchvision", "torchaudio", "cv2", "onnxruntime")


class Misfit(NamedTuple):
    """An extension that does not fit: in words, by which fact; ``proven`` means that loading it fails."""

    name: str
    text: str
    because: tuple[Evidence, ...]
    proven: bool = True


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    torch = environment.torch.value
    if torch is None:
        return
    misfits: dict[str, Misfit] = {}
    for misfit in (
        *_by_files(environment, torch),
        *_by_name(environment, torch),
        *_by_pin(environment, torch),
        *_own_words(environment, torch),
    ):
        misfits.setdefault(key_of(misfit.name), misfit)
    if not misfits:
        return
    ordered = sorted(misfits.values(), key=lambda misfit: not misfit.proven)
    names = tuple(key for key in misfits if key in installed(environment))
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if ordered[0].proven else Severity.WARNING,
        message=f"The compiled code of {ordered[0].name} does not fit torch {torch.build}: {ordered[0].text}.",
        because=(
            *(piece for misfit in ordered for piece in misfit.because),
            cite("environment.torch", environment.torch, f"{torch.build}, {torch.variant}"),
        ),
        remedies=(
            Remedy(
                text=f"Install the build of {ordered[0].name} for torch {torch.build}, {torch.variant} and this Python;"
                " or remove it, if nothing needs it.",
                commands=pip(environment, "uninstall", "-y", *names) if names else (),
                safe=False,
            ),
            NEW_ENVIRONMENT,
        ),
    )  # fmt: skip


def _by_files(environment: Environment, torch: TorchBuild) -> Iterator[Misfit]:
    """What the loader would say."""
    value = environment.binaries.value
    for file in value.files if value else ():
        if file.package in NOT_HERE:
            continue
        lacking = [name for name in file.unresolved if CUDA_LIBRARY.match(name) or re.match(r"lib(c10|torch)", name)]
        if lacking:
            text = f"it needs {lacking[0]}, which came with no package here"
        elif file.missing_symbols:
            text = "it takes names from torch that this torch does not have"
        elif file.cuda is not None and torch.cuda is not None and file.cuda != torch.cuda.major:
            text = f"it was built with CUDA {file.cuda}, torch with CUDA {torch.cuda}"
        else:
            continue
        detail = ", ".join(lacking or file.missing_symbols or file.needs[:3])
        yield Misfit(file.package, text, (Evidence(fact="environment.binaries", value=detail, source=file.path),))


def _by_name(environment: Environment, torch: TorchBuild) -> Iterator[Misfit]:
    """What label and file name say: 2.1.2+pt21cu118, flash_attn-2.5.8+cu122torch2.3cxx11abiFALSE-cp310-cp310-linux_x86_64.whl."""
    here = version(torch.build)
    for name, item in installed(environment).items():
        if name not in EXTENSIONS or here is None:
            continue
        said = f"{item.version} {(item.direct_url or '').rpartition('/')[2]}".replace("%2B", "+")
        wanted, cuda = built_for(said)
        if wanted is not None and wanted != here.release[:2]:
            text = f"it was built for torch {wanted[0]}.{wanted[1]}"
        elif cuda is not None and torch.cuda is not None and cuda != torch.cuda.major:
            text = f"it was built for CUDA {cuda}, torch for CUDA {torch.cuda}"
        else:
            continue
        yield Misfit(item.name, text, _named(item, said))


def _named(item: Distribution, said: str) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(fact=piece.fact, value=f"{item.name} {said.strip().rstrip('}').rstrip(chr(34))}", source=piece.source)
        for piece in evidence(item)
    )


def built_for(text: str) -> tuple[tuple[int, int] | None, int | None]:
    """The torch release and the CUDA major in a label or file name: ``+pt21cu118`` is ((2, 1), 11)."""
    label = re.search(r"\+\S*", text)
    said = label[0] if label else ""
    dotted, short = re.search(r"torch(\d+)\.(\d+)", said), re.search(r"pt(\d)(\d{1,2})(?=cu|cpu|\b)", said)
    torch = dotted or short
    cuda = re.search(r"cu(\d{2})\d?(?!\d)", said)
    return (int(torch[1]), int(torch[2])) if torch else None, int(cuda[1]) if cuda else None


def _by_pin(environment: Environment, torch: TorchBuild) -> Iterator[Misfit]:
    here = version(torch.build)
    for asked in requirements(environment, of=("torch",)):
        exact = re.fullmatch(r"==([^,*]+)", str(asked.requirement.specifier))
        pin = version(exact[1]) if exact else None
        if (
            key_of(asked.by.name) not in EXTENSIONS
            or asked.requirement.name != "torch"
            or asked.extra
            or pin is None
            or here is None
        ):
            continue
        if Version(pin.public) != Version(here.public):
            yield Misfit(
                asked.by.name,
                f"it was built for torch {pin}",
                evidence(asked.by),
                proven=asked.by.name != "xformers",
            )


def _own_words(environment: Environment, torch: TorchBuild) -> Iterator[Misfit]:
    """Xformers says for which build it was made, and goes on without its fast code where that differs."""
    value, here = environment.binaries.value, version(torch.build)
    for name, text in (value.built_for if value else {}).items():
        made = version(text)
        if made is not None and here is not None and made.release[:2] != here.release[:2]:
            because = Evidence(
                fact="environment.binaries", value=f"{name}: built for torch {text}", source="cpp_lib.json"
            )
            yield Misfit(name, f"it was built for torch {text}", (because,), proven=False)


RULE = Rule(
    code="FAM108",
    cause="prebuilt_extension_abi_mismatch",
    title="An extension was built for another torch",
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=39,
)
