"""A compiled extension holds no code for the card that torch itself can use.

What you see
    torch runs on the card, and the first call of the extension ends with "no kernel image is available for
    execution on the device".

Why
    The extension was compiled for other cards: a hand-written list of architectures, an image that was built
    without a GPU, or a wheel from before this card.

How envfix knows
    The GPU code inside the libraries of packages built on torch (torchvision included) against the compute
    capability of the cards. In a log it counts whose code the traceback ends in; the message alone may also be
    torch's own.

How to mend
    Build the extension again with TORCH_CUDA_ARCH_LIST set to this card, or take a wheel that was built for it.

What not to do
    Do not take another torch: it has code for the card already. TORCH_CUDA_ARCH_LIST changes nothing while a
    program runs.

Sources
    The section .nv_fatbin of the extension's libraries.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Binary, Environment, Gpu, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.model.versions import ComputeCapability
from envfix.rules import _log_patterns as texts
from envfix.rules._cards import has_code_for_cards
from envfix.rules._family import NEW_ENVIRONMENT
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_libraries import is_extension, last_frames, loading, package_at
from envfix.rules._rule import Rule, cite
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    cards = [(card, card.capability) for card in machine.gpus.value or () if card.capability is not None]
    packages: dict[str, list[Binary]] = {}
    for file in environment.binaries.value.files if environment.binaries.value else ():
        if file.sm or file.ptx:
            packages.setdefault(file.package, []).append(file)
    for package, files in packages.items():
        unfit = [(card, capability) for card, capability in cards if not _runs(files, capability)]
        if unfit:
            yield _finding(machine, package, files, unfit, len(cards))
            return


def _runs(files: list[Binary], capability: ComputeCapability) -> bool:
    """Whether any library of the package has code for the card; portable code counts, for the driver may compile it."""
    sm = tuple(sorted({one for file in files for one in file.sm or ()}))
    ptx = tuple(sorted({one for file in files for one in file.ptx}))
    return bool(runs_on(capability, SmList(sm=sm, ptx=ptx), driver_is_direct=True))


def _finding(
    machine: Machine, package: str, files: list[Binary], unfit: list[tuple[Gpu, ComputeCapability]], cards: int
) -> Finding:
    names = ", ".join(f"{card.name} ({capability.sm})" for card, capability in unfit)
    wanted = ";".join(dict.fromkeys(str(capability) for _, capability in unfit))
    built = " ".join(sorted({one.sm for file in files for one in file.sm or ()}))
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if len(unfit) == cards else Severity.WARNING,
        message=say(
            "The compiled code of {package} holds nothing for {names}: its GPU functions cannot run there.",
            package=package,
            names=names,
        ),
        because=(
            Evidence(
                fact="environment.binaries",
                value=say("built for {built}", built=built or say("portable code only")),
                source=files[0].path,
            ),
            cite("machine.gpus", machine.gpus, names),
        ),
        remedies=(
            Remedy(
                text=say(
                    'Build {package} again for this card, with TORCH_CUDA_ARCH_LIST="{wanted}" set.',
                    package=package,
                    wanted=wanted,
                )
            ),
            NEW_ENVIRONMENT,
        ),
    )


# torch itself says that it has no code for the card: then nothing is the extension's fault.
TORCH_ITSELF = (
    r"is not compatible with the current PyTorch installation",
    r"PyTorch no longer supports this GPU",
    r"minimum cuda capability supported by this library",
)


_SOURCE = regex(r"[^\s'\"]*\.cuh?\b")
_TORCHS_OWN = regex(r"aten[/\\]|c10[/\\]|[/\\]THC[/\\]|pytorch[/\\]|[/\\]torch[/\\]")


def _ends_in(hit: Hit, log: Log) -> float | None:
    """Where the traceback ends, or which C++ file complains."""
    del log
    line = hit.before.rpartition("\n")[2] + hit.after.partition("\n")[0]
    # What extensions print of their own: "error in x_cuda_kernel: ...", "CUDA kernel failed : ...", "... in file .../csrc/ops.cu".
    if "cudaCheckError" in line or "CUDA kernel failed" in line or is_extension(line):
        return 0.85
    source = _SOURCE.search(line + hit.after[:400])
    if source is not None or "error in " in line.lower():
        return 0.85 if source is None or not _TORCHS_OWN.search(source[0]) else 0.1
    whose = loading(hit)
    if whose == "extension" or _is_local_build(hit):
        return 0.88
    if whose == "other" and package_at(hit) not in (None, *PURE_PYTHON):
        return 0.6
    return {"torchvision": 0.6, "torch": 0.1, "unknown": 0.3}.get(whose, 0.2)


# Packages that call torch and compile nothing for cards themselves.
PURE_PYTHON = (
    "ultralytics",
    "transformers",
    "diffusers",
    "accelerate",
    "lightning",
    "pytorch_lightning",
    "timm",
    "whisper",
    "easyocr",
    "fastai",
    "sentence_transformers",
    "segment_anything",
    "kornia",
    "torchmetrics",
    "einops",
    "peft",
    "trl",
)


def _is_local_build(hit: Hit) -> bool:
    """A function of a compiled module is called in the last line: ``_ext.forward(...)``."""
    calls = ("_ext", "ext_module", "_C.", "_cuda.", "cuda_forward")
    return any(call in source for _, source in last_frames(hit)[:2] for call in calls)


def _with_facts(reading: Reading, by_log: float) -> float | None:
    """Where torch has code for the card, it is another library that has none."""
    if reading.proved or not has_code_for_cards(reading.machine, reading.environment, reading.tables):
        return None
    return max(by_log, 0.7)


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.NO_KERNEL_IMAGE, weigh=_ends_in, unless=TORCH_ITSELF),
        Signature(pattern=texts.NO_BINARY, weigh=_ends_in, unless=TORCH_ITSELF),
        Signature(pattern=r"FlashAttention only supports Ampere GPUs or newer", confidence=0.6),
    ),
    message=later("A compiled extension holds no code for this card: its GPU functions cannot run there."),
    remedies=(
        Remedy(
            text=later("Build the extension again with TORCH_CUDA_ARCH_LIST set to the card's compute capability."),
            commands=(
                ("python", "-c", "import torch; print(torch.cuda.get_device_capability())"),
                (
                    "env",
                    "TORCH_CUDA_ARCH_LIST=CAPABILITY",
                    "python",
                    "-m",
                    "pip",
                    "install",
                    "--no-build-isolation",
                    "--no-cache-dir",
                    "--force-reinstall",
                    "--no-deps",
                    "PACKAGE",
                ),
            ),
            safe=False,
        ),
        Remedy(text=later("Or take a wheel of the extension that was built for this card.")),
    ),
    tell_apart=Remedy(
        text=later(
            "Calculate something with torch alone: if that works on the card, the extension is at"
            " fault; otherwise torch is."
        ),
        commands=(
            ("python", "-c", "import torch; print(torch.ones(1, device='cuda') + 1, torch.cuda.get_arch_list())"),
        ),
    ),
    with_facts=_with_facts,
)


RULE = Rule(
    code="FAM111",
    cause="extension_missing_arch",
    title=later("An extension has no code for this card"),
    needs=("machine.gpus", "environment.binaries"),
    check=check,
    rank=39,
    log=LOG,
)
