"""The installed torch family, read from files: version, CUDA and architectures in milliseconds; then one bounded import."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from envfix.host.interface import ProbeHost
from envfix.host.target import COOKIE, Answer, read_answer
from envfix.model.documents import without_secrets
from envfix.model.facts import (
    Distribution,
    Observed,
    TorchBuild,
    TorchImport,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.language import stated
from envfix.model.versions import ComputeCapability, CudaVersion

IMPORT_SCRIPT = "envfix_torch_import.py"


def distributions(answer: Answer, source: str) -> Observed[tuple[Distribution, ...]]:
    """Every distribution with metadata on the target's path; ``~name`` leftovers of broken removals included."""
    if answer.facts is None:
        return unknown(source, answer.problem or stated("no answer"))
    rows = answer.facts.get("distributions") or []
    keys = set(Distribution.__struct_fields__)
    # An address of direct_url may hold a password.
    known = (without_secrets({k: v for k, v in row.items() if k in keys}) for row in rows)
    return found(tuple(msgspec.convert(row, Distribution) for row in known), source)


def torch_build(answer: Answer, installed: Observed[tuple[Distribution, ...]]) -> Observed[TorchBuild]:
    """The torch that this interpreter would import, by its own version.py and the list of architectures in its library."""
    if answer.facts is None:
        return unknown("torch/version.py", answer.problem or stated("no answer"))
    said = answer.facts.get("torch")
    if said is None:
        return absent(stated("site-packages of the target"))
    source = f"{said['location']}/version.py"
    values = said.get("version_file")
    if not values or "__version__" not in values:
        return unknown(source, stated("the folder torch is there, but its version.py is missing or unreadable"))
    return found(
        TorchBuild(
            version=_metadata_version(installed, "torch") or values["__version__"],
            build=values["__version__"],
            location=said["location"],
            cuda=_cuda(values.get("cuda")),
            hip=values.get("hip"),
            sm=_capabilities(said.get("architectures"), "sm_"),
            ptx=_capabilities(said.get("architectures"), "compute_") or (),
        ),
        source,
    )


def vision_build(answer: Answer, installed: Observed[tuple[Distribution, ...]]) -> Observed[VisionBuild]:
    """The torchvision beside it."""
    if answer.facts is None:
        return unknown("torchvision/version.py", answer.problem or stated("no answer"))
    said = answer.facts.get("torchvision")
    if said is None:
        return absent(stated("site-packages of the target"))
    source = f"{said['location']}/version.py"
    values = said.get("version_file")
    if not values or "__version__" not in values:
        return unknown(source, stated("the folder torchvision is there, but its version.py is missing or unreadable"))
    return found(
        VisionBuild(
            version=_metadata_version(installed, "torchvision") or values["__version__"],
            build=values["__version__"],
            cuda=_cuda(values.get("cuda")) or _label(values["__version__"]),
            torch_pin=_torch_pin(installed),
        ),
        source,
    )


def _metadata_version(installed: Observed[tuple[Distribution, ...]], name: str) -> str | None:
    return next((item.version for item in installed.value or () if item.name.lower() == name), None)


def _torch_pin(installed: Observed[tuple[Distribution, ...]]) -> str | None:
    for item in installed.value or ():
        if item.name.lower() == "torchvision":
            for line in item.requires:
                match = re.match(r"torch\s*\(?\s*==\s*([^\s;)]+)", line)
                if match:
                    return match[1]
    return None


def _label(build: str) -> CudaVersion | None:
    """The CUDA of a local label: torchvision's version.py computes its own only when it is imported."""
    match = re.search(r"\+(cu\d{2,3})\b", build)
    return _cuda(match[1]) if match else None


def _cuda(text: object) -> CudaVersion | None:
    try:
        return CudaVersion.parse(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _capabilities(words: Any, prefix: str) -> tuple[ComputeCapability, ...] | None:
    if not isinstance(words, list):
        return None
    return tuple(ComputeCapability.parse(word) for word in words if word.startswith(prefix))


def torch_import(host: ProbeHost, python: str, *, timeout: float) -> Observed[TorchImport]:
    """One real ``import torch`` in the target; that it hangs, crashes or fails is the fact."""
    source = stated("import torch in {python}", python=python)
    result = host.run_script(python, IMPORT_SCRIPT, (COOKIE,), timeout=timeout)
    answer = read_answer(result, timeout)
    if answer.facts is None:
        if answer.too_old:
            return unknown(source, answer.problem or stated("too old"))
        said = last_words(result.stderr) if (result.returncode or 0) < 0 else None
        error = f"{answer.problem}: {said}" if said else answer.problem
        return found(TorchImport(ok=False, seconds=timeout, error=error), source)
    keys = set(TorchImport.__struct_fields__)
    return found(msgspec.convert({k: v for k, v in answer.facts.items() if k in keys}, TorchImport), source)


def last_words(stderr: str) -> str | None:
    """The telling lines of a program that a signal ended: ``OMP: Error #15: Initializing libiomp5.so, but found ...``."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if re.search(r"error|abort|terminate|illegal", line, re.IGNORECASE)]
    return " ".join((telling or lines)[:2])[:500] or None
