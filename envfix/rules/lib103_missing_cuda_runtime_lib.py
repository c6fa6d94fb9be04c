"""A CUDA library that a program needs is not there.

What you see
    "libcudnn.so.9: cannot open shared object file", "Library libcublas.so.12 is not found or cannot be loaded", "CUDA_SETUP:
    WARNING! libcudart.so not found in any environmental path", "nvrtc: error: failed to open libnvrtc-builtins.so.11.7".

Why
    torch's wheel brings its libraries in nvidia-* packages; programs beside it (bitsandbytes, CTranslate2, CuPy, TensorFlow) need
    files of one CUDA family and do not look there, or one of those packages was never installed or is damaged. A system-wide CUDA
    of another release may fill the gap in silence, which nobody has tested together.

How envfix knows
    The nvidia-* packages that torch's metadata names; the files that they and torch list; the libraries that torch's own libraries
    need, against every place the loader looks; what the import said, and what it took from outside instead. In a log also who asks:
    an extension that was compiled for another CUDA (mmcv, flash-attn, torch-scatter) asks with the same words.

How to mend
    Install the nvidia package that carries the library, in the version that torch names, or the release of the program for the
    CUDA that is here.

What not to do
    A link from another major number under the wanted name, or a toolkit of some version, does not make it fit.

Sources
    Requires-Dist of torch, RECORD of the nvidia packages, ELF headers of torch's libraries; the messages of bitsandbytes 0.35 to
    0.45 and of CTranslate2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._askers import BUILT_FOR_TORCH, OWN, asker, carried_by
from envfix.rules._changing import in_place
from envfix.rules._environments import NEW_ENV
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
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_patterns import CUDA_LIBRARY_MISSING
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(
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
        text += say("; {outside} is used instead", outside=outside[0])
    packages = tuple(dict.fromkeys(gap.package for gap in gaps if gap.package))
    taken = tuple(
        Evidence(
            fact="environment.torch_import",
            value=say("loaded {path}", path=path),
            source=environment.torch_import.source,
        )
        for path in outside[:3]
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if import_works(environment) else Severity.ERROR,
        message=say("A CUDA library that torch needs is missing: {text}.", text=text),
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
            text = say(
                "{gone} of {item} {version} is gone",
                gone=gone[0].rpartition("/")[2],
                item=item.name,
                version=item.version,
            )
            because = Evidence(
                fact="environment.distributions",
                value=say(
                    "{item} {version}: {gone} is listed and not there",
                    item=item.name,
                    version=item.version,
                    gone=", ".join(gone[:3]),
                ),
                source=f"{item.location}/{item.metadata}/RECORD",
            )
            yield Gap(text, (because,), f"{item.name}=={item.version}" if name != "torch" else None)


def _unresolved(environment: Environment) -> Iterator[Gap]:
    """Libraries that torch's own libraries need and that lie nowhere."""
    for file in compiled(environment, "torch"):
        lacking = [name for name in file.unresolved if CUDA_LIBRARY.match(name)]
        if lacking:
            because = Evidence(
                fact="environment.binaries", value=say("needs {lacking}", lacking=", ".join(lacking)), source=file.path
            )
            yield Gap(say("{lacking} is nowhere", lacking=lacking[0]), (because,), None)


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
                value=say(
                    "torch {version} asks for {wanted}, which is not installed", version=torch.version, wanted=wanted
                ),
                source=f"{torch.location}/{torch.metadata}",
            )
            yield Gap(say("{requirement} is not installed", requirement=asked.requirement.name), (because,), wanted)


def _silent_mix(environment: Environment) -> bool:
    return any(
        not is_bundled(path, environment)
        for cudnn in (False, True)
        for path in loaded_from_outside(environment, cudnn=cudnn)
    )


def _by_import(environment: Environment) -> Iterator[Gap]:
    match = SAYS.search(import_failure(environment) or "")
    if match:
        yield Gap(say("{match} cannot be opened", match=match[1].rpartition("/")[2]), (), None)


def _remedies(environment: Environment, packages: tuple[str, ...]) -> Iterator[Remedy]:
    if packages:
        # What is listed as installed is put there again only with this option, and nothing else is touched.
        arguments = ("install", "--force-reinstall", "--no-deps", *packages)
        yield in_place(
            environment, say("Put the missing libraries back, in the versions that torch names."), *arguments
        )


def _weigh_library(hit: Hit, log: Log) -> float | None:
    """Who asks: torch and programs with a CUDA of their own miss it; what was compiled for torch is of another CUDA."""
    library, by = hit.groups.get("library", ""), asker(hit)
    if by == "torchcodec" or log.found(_WHILE_TRYING):
        return 0.5
    if by == "onnxruntime" or "onnxruntime" in hit.before[-300:]:
        return 0.25
    if "dlerror" in hit.before[-80:]:
        return 0.4 if log.found(_NO_MATTER) else 0.7
    if re.search(r"Could not load library libcudnn\w*\S* Error: *$", hit.before[-120:]):
        return 0.6
    if by in BUILT_FOR_TORCH or by == OWN:
        return 0.3
    if library.startswith("libnvinfer"):
        return 0.6
    if not by:
        return 0.62
    return 0.9


_WHILE_TRYING = r"\[start of libtorchcodec loading traceback\]"
# TensorFlow's own words for a machine without a card, printed by TensorBoard in logs of torch too.
_NO_MATTER = r"Ignore above cudart dlerror if you do not have a GPU"


def _weigh_dynamic(hit: Hit, log: Log) -> float | None:
    """TensorFlow looks for its libraries at every import, with a card or without."""
    del hit
    return 0.4 if log.found(_NO_MATTER) else 0.75


def _message(reading: Reading) -> str:
    library = reading.groups.get("library")
    by = next((asker(hit) for hit in reading.hits if hit.groups.get("library")), "")
    who = by if by not in ("", OWN) else say("The program")
    if library is None:
        return say("A CUDA library that this program needs is not where the loader looks.")
    return say("{who} needs the CUDA library {library}, and the loader finds it nowhere.", who=who, library=library)


def _mends(reading: Reading) -> Iterator[Remedy]:
    library = reading.groups.get("library", "")
    by = next((asker(hit) for hit in reading.hits if hit.groups.get("library")), "")
    package = carried_by(library)
    if by == "torch":
        yield Remedy(
            text=say(
                "Put torch's own CUDA libraries back: install torch anew from its CUDA index, with what it asks for."
            ),
            commands=(NEW_ENV,),
        )
    if package is not None:
        number = say(" (cuNN: the CUDA that the program was built for, such as cu12)") if "cuNN" in package else ""
        yield Remedy(
            text=say(
                "Install the package that carries {library}{number}, and let the loader see its"
                " folder (nvidia/*/lib in site-packages) if the program does not find it by itself.",
                library=library,
                number=number,
            ),
            commands=(("python", "-m", "pip", "install", package),),
        )
    yield Remedy(
        text=say(
            "Or take the release of the asking package that was built for the CUDA that is here; a"
            " link from another number to this name does not help."
        )
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"third-party dynamic library \((?P<library>(?:lib)?(?:cublas|cudnn|cudart|curand|cusolver|cusparse|cufft)"
            r"[^)\n]{0,80})\)"
            r" that Paddle depends on is not configured correctly",
            confidence=0.9,
        ),
        Signature(pattern=CUDA_LIBRARY_MISSING, weigh=_weigh_library, looks_at=(_WHILE_TRYING, _NO_MATTER)),
        # CTranslate2 (faster-whisper) and others that open them by name.
        Signature(
            pattern=r"(?:Library|library) (?P<library>lib(?:cublas|cudnn|cudart|cufft|curand)\w*\.so[.\d]*"
            r"|(?:cublas|cudnn|cudart|cufft|curand)\w*\.dll)"
            r" (?:is )?not found(?: or cannot be loaded)?",
            confidence=0.92,
        ),
        Signature(pattern=r"Could not locate (?P<library>(?:cudnn|cublas|zlibwapi|cudart)\w*\.dll)", confidence=0.88),
        Signature(
            pattern=r"Unable to load any of \{(?P<library>libcudnn\w*\.so[.\d]*)|Unable to load any of \{libcudnn",
            confidence=0.62,
        ),
        Signature(
            pattern=r"Could not load dynamic library '(?P<library>(?:lib)?(?:cudart|cublas"
            r"|cudnn|cufft|curand|cusolver|cusparse)\w*\.(?:so[.\d]*|dll))'",
            weigh=_weigh_dynamic,
            looks_at=(_NO_MATTER,),
        ),
        Signature(pattern=r"Cannot dlopen some GPU libraries", confidence=0.6),
        # torch's own search for its companions.
        Signature(
            pattern=r"(?P<library>lib(?:cublas(?:Lt)?|cudnn|cudart|nvrtc|cusparse|cufft"
            r"|curand|cusolver|nccl|nvJitLink|nvtx|cupti))\.so\.?[^\s]{0,20}"
            r" not found in the system path",
            confidence=0.93,
        ),
        Signature(pattern=r"No module named 'nvidia\.(?P<module>\w+)'", confidence=0.6),
        # The compiler at run time and its tables.
        Signature(pattern=r"nvrtc: error: failed to open (?P<library>(?:lib)?nvrtc-builtins[\w.-]*)", confidence=0.93),
        Signature(
            pattern=r"CuPy failed to load (?P<library>[\w.-]+)|Could not find module '[^'\n]*?(?P<dll>(?:cudar"
            r"t|cublas|cudnn|nvrtc)\w*\.dll)'",
            confidence=0.85,
        ),
        Signature(
            pattern=r"(?:libNVVM|libnvvm) cannot be found|Could not find libnvToolsExt|Can't find libdevice directory",
            confidence=0.5,
        ),
        # bitsandbytes 0.35 to 0.45.
        Signature(
            pattern=r"(?P<library>libcudart\.so) not found in any environmental path|No libcudart\.so found! Install CUDA",
            confidence=0.7,
        ),
        Signature(pattern=r"CUDA Setup failed despite (?:GPU being available|CUDA being available)", confidence=0.55),
        Signature(
            pattern=r"CUDA SETUP: (?:CUDA detection failed|Required library version not found"
            r"|Setup Failed|WARNING! CUDA runtime files not found)"
            r"|CUDA_SETUP: WARNING! (?:CUDA runtime files|libcudart)",
            confidence=0.5,
        ),
        Signature(
            pattern=r"bitsandbytes library load error|Could not load bitsandbytes native library"
            r"|CUDA runtime path was not found|cuBLAS library was not found",
            confidence=0.4,
        ),
        Signature(pattern=r"Could not find the bitsandbytes CUDA binary at", confidence=0.35),
    ),
    message=_message,
    remedies=lambda reading: tuple(_mends(reading)),
    tell_apart=Remedy(
        text=later(
            "See which libraries of the environment and of the system the loader knows, and which"
            " package asks for one of them."
        ),
        commands=(("python", "-m", "pip", "list"), ("ldconfig", "-p")),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB103",
    cause="missing_cuda_runtime_lib",
    title=later("A CUDA library that torch needs is missing"),
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=42,
    explains=("torch_import_fails",),
    log=LOG,
)
