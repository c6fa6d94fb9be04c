"""A package with compiled code was built for another torch, CUDA or Python.

What you see
    "undefined symbol: _ZN3c10..." from a package such as flash-attn, "xFormers was built for: PyTorch
    2.2.0+cu121 ... (you have 2.3.0+cu121)", "No module named 'mmcv._ext'".

Why
    Compiled code for torch fits one torch release, one CUDA, one Python and one C++ ABI. torch was changed
    later, or the wheel was chosen for another one.

How envfix knows
    For flash-attn, xformers, mmcv, torch-scatter and their like: the torch and CUDA in the label or in the name
    of the wheel, the exact pin in the metadata, what xformers writes down about its build; and in their
    libraries the names they take from torch, and the CUDA libraries they need, against the installed torch. In
    a log it counts whose library complains, and that what it misses is a name of torch.

How to mend
    Install the build for exactly this torch, CUDA and Python, or build it again.

What not to do
    Do not put the CUDA runtime it asks for beside the other, and do not link libraries to other names.

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
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
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
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_libraries import (
    is_extension,
    library_in,
    loading,
    named,
    of_python,
    of_torch,
    owner,
    package_at,
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
        message=say(
            "The compiled code of {name} does not fit torch {build}: {text}.",
            name=ordered[0].name,
            build=torch.build,
            text=ordered[0].text,
        ),
        because=(
            *(piece for misfit in ordered for piece in misfit.because),
            cite("environment.torch", environment.torch, f"{torch.build}, {torch.variant}"),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Install the build of {name} for torch {build}, {variant} and this Python; or"
                    " remove it, if nothing needs it.",
                    name=ordered[0].name,
                    build=torch.build,
                    variant=torch.variant,
                ),
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
            text = say("it needs {lacking}, which came with no package here", lacking=lacking[0])
        elif file.missing_symbols:
            text = say("it takes names from torch that this torch does not have")
        elif file.cuda is not None and torch.cuda is not None and file.cuda != torch.cuda.major:
            text = say("it was built with CUDA {cuda}, torch with CUDA {cuda_2}", cuda=file.cuda, cuda_2=torch.cuda)
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
            text = say("it was built for torch {wanted}.{wanted_2}", wanted=wanted[0], wanted_2=wanted[1])
        elif cuda is not None and torch.cuda is not None and cuda != torch.cuda.major:
            text = say("it was built for CUDA {cuda}, torch for CUDA {cuda_2}", cuda=cuda, cuda_2=torch.cuda)
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
                say("it was built for torch {pin}", pin=pin),
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
                fact="environment.binaries",
                value=say("{name}: built for torch {text}", name=name, text=text),
                source="cpp_lib.json",
            )
            yield Misfit(name, say("it was built for torch {text}", text=text), (because,), proven=False)


def _symbol(hit: Hit, log: Log) -> float | None:
    """The library of an extension misses a name of torch, of Python, or nobody says which."""
    del log
    path, symbol = hit.groups.get("library", ""), hit.groups.get("symbol", "")
    whose = owner(path)
    if whose not in ("extension", "other"):
        return None
    if of_torch(symbol):
        return 0.95 if whose == "extension" else 0.85
    if symbol.startswith(("__cuda", "cuda")):
        return 0.7
    if of_python(symbol):
        return 0.75 if whose == "extension" else 0.4
    if whose == "extension" or is_extension(path):
        return 0.85 if not symbol else 0.65
    return None


def _loaded(hit: Hit, log: Log) -> float | None:
    """A library is missing while an extension is loaded: it was built beside another CUDA or torch."""
    whose = loading(hit)
    if whose in ("torch", "torchvision", "torchaudio"):
        return None
    if whose == "extension":
        return 0.85
    around = f"{hit.before[-1500:]} {hit.after[:400]}"
    return (
        0.7
        if is_extension(around) and "bitsandbytes" not in around
        else None
        if whose == "other" and log.lines > 5
        else 0.2
    )


def _torch_library(hit: Hit, log: Log) -> float | None:
    del log
    return {"extension": 0.9, "torch": None, "torchvision": 0.3, "torchaudio": None}.get(loading(hit), 0.65)


def _xformers(hit: Hit, log: Log) -> float:
    """With a torch without CUDA, torch is the wrong one."""
    del log
    return 0.6 if hit.groups["have"].endswith("+cpu") else 0.96


def _dll(hit: Hit, log: Log) -> float | None:
    """Windows says the same for a missing library (126); only modules of extensions are meant here."""
    del log
    module = hit.groups.get("module") or ""
    if module in ("_C", "_ext", "_C_flashattention") or is_extension(f"/{module}/") or module.endswith("_cuda"):
        return 0.8
    return None


def _operator(hit: Hit, log: Log) -> float | None:
    del log
    whose = hit.groups.get("library") or hit.groups.get("namespace") or ""
    if hit.text.startswith("operator") and hit.after.split()[:1] != ["does"]:
        return None
    if whose in ("torchvision", "torchaudio", "image", "aten", "prim", "prims", "c10d", "std"):
        return None
    return 0.7


def _other_cuda(hit: Hit, log: Log) -> float | None:
    del log
    return None if hit.groups["library"].lower() in ("torchvision", "torchaudio") else 0.97


def _without_cuda(hit: Hit, log: Log) -> float | None:
    """torch-scatter, pytorch3d and detectron2 say so of themselves, old torchvision too."""
    del log
    return None if loading(hit) == "torchvision" or "torchvision" in hit.after[:300] else 0.8


def _message(reading: Reading) -> str:
    built, have = reading.groups.get("built"), reading.groups.get("have")
    if built and have:
        return say(
            "xformers was built for torch {built}, and torch is {have}: its fast code cannot be loaded.",
            built=built,
            have=have,
        )
    groups = reading.groups
    library: str | None = (
        library_in(reading) or groups.get("namespace") or (groups.get("module") or "").partition(".")[0]
    )
    if library in ("", "_ext", "_C") or owner(groups.get("library", "")) in ("cuda", "torch"):
        library = next(filter(None, map(package_at, reading.hits)), None)
    if library:
        return say(
            "The compiled code of {named} does not fit this torch, CUDA or Python: it was built for another one.",
            named=named(library),
        )
    return say("A package with compiled code was built for another torch, CUDA or Python than those here.")


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.XFORMERS_BUILT, weigh=_xformers),
        Signature(pattern=texts.UNDEFINED_SYMBOL, weigh=_symbol),
        Signature(pattern=texts.SYMBOL_NOT_FOUND, weigh=_symbol),
        Signature(pattern=texts.OTHER_CUDA, weigh=_other_cuda),
        Signature(pattern=r"[Cc]an't load C\+\+/CUDA extensions", confidence=0.7),
        Signature(
            pattern=r"No module named '?(?P<module>(?:mmcv|detectron2|pytorch3d|xformers|vllm|natten|flash_attn"
            r"|maskrcnn_benchmark)\.(?:_ext|_C\w*)"
            r"|flash_attn_2_cuda|flash_attn_3_cuda|flash_attn_cuda)\b",
            confidence=0.92,
        ),
        Signature(
            pattern=r"No module named '?(?P<module>amp_C|apex_C|fused_layer_norm_cuda|MultiScaleDeformableAttention)\b",
            confidence=0.5,
        ),
        Signature(
            pattern=r"cannot import name '_C' from '(?P<module>detectron2|pytorch3d|xformers|groundingdino\S*)'",
            confidence=0.8,
        ),
        Signature(pattern=r"name '_C' is not defined", confidence=0.75),
        Signature(pattern=r"implementation for device cuda:\d not found", confidence=0.9),
        Signature(pattern=r"Not compiled with (?:GPU|CUDA) support", weigh=_without_cuda),
        Signature(pattern=r"xFormers wasn't build with CUDA support", confidence=0.75),
        Signature(pattern=texts.TORCH_LIBRARY_MISSING, weigh=_torch_library),
        Signature(pattern=texts.CUDA_LIBRARY_MISSING, weigh=_loaded),
        Signature(pattern=texts.DLL_LOAD_FAILED, weigh=_dll),
        Signature(pattern=texts.NO_OPERATOR, weigh=_operator),
        Signature(
            pattern=r"Could not load this library: (?P<library>[^\n]{0,300}(?:torch_\w+|pyg_lib|natten|mmcv"
            r"|xformers)[/\\]\S+)",
            confidence=0.8,
        ),
        Signature(
            pattern=r"(?:Could not find the bitsandbytes CUDA binary at|Configured (?:CUDA|ROCm) binary not found at"
            r"|Required library version not found: libbitsandbytes_cuda)",
            confidence=0.8,
        ),
        Signature(pattern=texts.BITSANDBYTES_CPU, confidence=0.4),
        Signature(
            pattern=r"'NoneType' object has no attribute '(?:c(?:quantize|dequantize|adam|gemm|get_col|extract)\w+"
            r"|split_torch_launch)'",
            confidence=0.7,
        ),
        Signature(
            pattern=r"Python version mismatch: module was compiled for Python (?P<compiled>[\d.]*\d)"
            r"|Module use of python3\d+\.dll conflicts with this version",
            confidence=0.9,
        ),
        Signature(
            pattern=r"(?:torch_scatter|torch_sparse|torch_cluster|torch_spline_conv"
            r"|pyg_lib)[/\\]__init__\.py\"?, line \d+[^\n]{0,80}\s+[^\n]{1,200}\s+(?:\^+\s+)?"
            r"AttributeError: 'NoneType' object has no attribute 'origin'",
            confidence=0.88,
        ),
        Signature(pattern=r"undefined reference to [`'](?:c10|at|torch|caffe2)::", confidence=0.6),
    ),
    message=_message,
    remedies=(
        Remedy(
            text=later(
                "Install the build of that package for exactly this torch, CUDA and Python; or"
                " remove it, if nothing needs it."
            ),
            commands=(
                (
                    "python",
                    "-c",
                    "import torch; print(torch.__version__, torch.version.cuda, torch.compiled_with_cxx11_abi())",
                ),
                ("python", "-m", "pip", "install", "--force-reinstall", "--no-deps", "WHEEL_FOR_THIS_TORCH"),
            ),
            safe=False,
        ),
        Remedy(
            text=later("Or build it again against the installed torch (needs a CUDA toolkit of torch's CUDA)."),
            commands=(
                (
                    "python",
                    "-m",
                    "pip",
                    "install",
                    "--no-build-isolation",
                    "--no-cache-dir",
                    "--no-binary",
                    "PACKAGE",
                    "--force-reinstall",
                    "--no-deps",
                    "PACKAGE",
                ),
            ),
            safe=False,
        ),
        NEW_ENVIRONMENT,
    ),
    tell_apart=Remedy(
        text=later("Compare what torch is with what the package was built for."),
        commands=(
            ("python", "-c", "import torch; print(torch.__version__, torch.version.cuda)"),
            ("python", "-m", "pip", "show", "PACKAGE"),
        ),
    ),
    explains=("missing_cuda_runtime_lib",),
)


RULE = Rule(
    code="FAM108",
    cause="prebuilt_extension_abi_mismatch",
    title=later("An extension was built for another torch"),
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=39,
    log=LOG,
)
