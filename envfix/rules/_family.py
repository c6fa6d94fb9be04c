"""What several rules ask of installed packages, of the one import of torch, and of the commands that mend them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.version import InvalidVersion, Version

from envfix.model.facts import Binary, CondaRecord, Distribution, Environment, Interpreter, Machine
from envfix.model.finding import Evidence, Remedy
from envfix.model.language import later, say
from envfix.model.regex import regex
from envfix.rules._cards import nvidia_displays
from envfix.rules._environments import NEW_ENV
from envfix.rules._rule import cite

if TYPE_CHECKING:
    # Takes longer to load than all rules to judge; most environments have no line to read.
    from packaging.requirements import Requirement

NEW_ENVIRONMENT = Remedy(
    text=later("Let envfix choose a stack that fits together, in an environment of its own."),
    commands=(NEW_ENV,),
)
# Families of CUDA libraries, by the beginning of their file names.
CUDA_LIBRARY = regex(
    r"lib(cudart|cublas|cublasLt|cudnn\w*|cufft|cufftw|cupti|curand|cusolver\w*|cusparse\w*|nccl|nvJitLink|nvrtc|nvToolsExt)\b"
)
# Packages of compiled code that fits one torch only; their own rules judge them.
EXTENSIONS = frozenset(
    (
        "xformers",
        "flash-attn",
        "mmcv",
        "mmcv-full",
        "torch-scatter",
        "torch-sparse",
        "torch-cluster",
        "torch-spline-conv",
        "pyg-lib",
        "detectron2",
        "pytorch3d",
        "natten",
        "torchtext",
    )
)


@lru_cache(maxsize=8192)
def key_of(name: str) -> str:
    """The one way to write a package's name: ``nvidia_cudnn_cu12`` is ``nvidia-cudnn-cu12``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def version(text: str | None) -> Version | None:
    """A version, or None for what is none."""
    try:
        return Version(text) if text else None
    except InvalidVersion:
        return None


def installed(environment: Environment) -> dict[str, Distribution]:
    """Packages by name as an import finds them: of several the first on the path; leftovers of removals are none."""
    seen: dict[str, Distribution] = {}
    for item in environment.distributions.value or ():
        if not item.name.startswith("~"):
            seen.setdefault(key_of(item.name), item)
    return seen


def evidence(*items: Distribution) -> tuple[Evidence, ...]:
    """Each package with its version and where its metadata lies."""
    return tuple(
        Evidence(
            fact="environment.distributions",
            value=f"{item.name} {item.version}",
            source=f"{item.location}/{item.metadata}" if item.metadata else item.location,
        )
        for item in items
    )


def import_failure(environment: Environment) -> str | None:
    """What ``import torch`` said when it failed; None when it worked or was not tried."""
    said = environment.torch_import.value
    return None if said is None or said.ok else said.error or say("no reason was given")


def import_works(environment: Environment) -> bool:
    """Whether torch was imported and it worked: what files made likely did not come true."""
    said = environment.torch_import.value
    return said is not None and said.ok


def import_evidence(environment: Environment) -> tuple[Evidence, ...]:
    """What the import said, where it failed."""
    text = import_failure(environment)
    return (cite("environment.torch_import", environment.torch_import, shortened(text)),) if text else ()


def shortened(text: str, most: int = 300) -> str:
    """One line of at most ``most`` letters; the end is kept, for it names the file and the symbol."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most // 2 - 2]} ... {line[-(most // 2 - 3) :]}"


def has_nvidia_card(machine: Machine) -> bool:
    """Whether there is an NVIDIA card, with a driver or without."""
    return bool(machine.gpus.value or nvidia_displays(machine))


_NAME = regex(r"[\w.-]+")


class Asked(NamedTuple):
    """A requirement that an installed package states and that holds here; ``extra`` names the extra it belongs to."""

    by: Distribution
    requirement: Requirement
    extra: str | None


def requirements(
    environment: Environment, items: Iterator[Distribution] | None = None, *, of: Container[str] | None = None
) -> Iterator[Asked]:
    """What installed packages ask for on this platform and Python; lines that nobody can read are passed over.

    ``of`` are the names that matter (None: all): what is not read costs nothing.
    """
    interpreter = environment.interpreter.value
    markers = _markers(interpreter) if interpreter else {}
    for item in items or iter(installed(environment).values()):
        for line in item.requires:
            named = _NAME.match(line)
            if of is not None and (named is None or key_of(named[0]) not in of):
                continue
            extra = re.search(r"extra == ['\"]([\w.-]+)['\"]", line)
            requirement = _read(line)
            if requirement is not None and _holds(requirement, {**markers, "extra": extra[1] if extra else ""}):
                yield Asked(item, requirement, extra[1] if extra else None)


def _read(line: str) -> Requirement | None:
    """A line of Requires-Dist, the old form ``torch (>=1.7)`` included; None for what nobody can read."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(re.sub(r"^([\w.-]+) \((.*?)\)", r"\1 \2", line))
    except InvalidRequirement:
        return None


def _holds(requirement: Requirement, markers: dict[str, str]) -> bool:
    from packaging.markers import UndefinedEnvironmentName

    try:
        return requirement.marker is None or requirement.marker.evaluate(markers)
    except UndefinedEnvironmentName:
        return False


def _markers(interpreter: Interpreter) -> dict[str, str]:
    """The target's own values, so that a snapshot is judged alike on any machine."""
    number = re.match(r"\d+(\.\d+)*", interpreter.version)
    whole = number[0] if number else "3.8"
    system, _, machine = interpreter.platform_tag.partition("_")
    linux, windows = system == "linux", system == "win"
    return {
        "python_version": ".".join(whole.split(".")[:2]),
        "python_full_version": whole,
        "implementation_name": interpreter.implementation,
        "platform_python_implementation": {"cpython": "CPython", "pypy": "PyPy"}.get(interpreter.implementation, ""),
        "sys_platform": "linux" if linux else "win32" if windows else "darwin",
        "platform_system": "Linux" if linux else "Windows" if windows else "Darwin",
        "os_name": "nt" if windows else "posix",
        "platform_machine": {"amd64": "AMD64"}.get(machine, machine),
    }


def compiled(environment: Environment, package: str) -> tuple[Binary, ...]:
    """The compiled files of a package whose headers were read."""
    value = environment.binaries.value
    return tuple(file for file in value.files if file.package == package) if value else ()


def records(environment: Environment) -> dict[str, CondaRecord]:
    """What conda believes to be installed in the target's own prefix."""
    interpreter = environment.interpreter.value
    prefix = interpreter.prefix if interpreter else None
    return {row.name: row for row in environment.conda_records.value or () if row.prefix in (None, prefix)}
