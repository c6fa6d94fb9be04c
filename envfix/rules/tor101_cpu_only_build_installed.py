"""The installed torch was built without CUDA, on a machine that has an NVIDIA GPU.

What you see
    "Torch not compiled with CUDA enabled", a version that ends in ``+cpu``, "Could not run
    'aten::empty_strided' with arguments from the 'CUDA' backend"; or training that silently takes days on the
    processor.

Why
    The wheel itself holds no GPU code: a ``+cpu`` wheel, the default index on Windows and macOS, a CPU wheel
    that pip had cached, or a build for the cards of AMD (``+rocm``) or Intel (``+xpu``) where there is none of
    them. With ``--extra-index-url`` pip takes the highest version of both indexes, and that may be the CPU
    build.

How envfix knows
    ``torch.version.cuda`` in the installed files is None while the machine has an NVIDIA card. In a log the
    texts above; "is_available() False" alone has other causes too.

How to mend
    Remove torch, torchvision and torchaudio together and install all three from one CUDA index that the driver
    can run.

What not to do
    Do not install a CUDA toolkit or cuDNN and do not set CUDA_HOME: they change nothing. ``device=cpu`` only
    hides it.

Sources
    version.py of the installed torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.words import counted
from envfix.rules import _log_patterns as texts
from envfix.rules._cards import nvidia_displays
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import has_nvidia_card
from envfix.rules._log import LogSide
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

# Makers of other cards, by their number on the PCI bus.
MAKERS = {"AMD": "1002", "Intel": "8086"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch = environment.torch.value
    if torch is None or torch.cuda is not None or not has_nvidia_card(machine):
        return
    maker = _maker(torch)
    if maker is not None and any(display.vendor_id == MAKERS[maker] for display in machine.displays.value or ()):
        return  # Of two makers' cards this torch was chosen for the other's.
    cards = _cards(machine)
    built = say("for cards of {maker}", maker=maker) if maker else say("without CUDA")
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR,
        message=say(
            "torch {build} was built {built}: it cannot use the GPU of this machine ({cards}).",
            build=torch.build,
            built=built,
            cards=cards,
        ),
        because=(
            cite("environment.torch", environment.torch, say("{build}, torch.version.cuda is None", build=torch.build)),
            _seen(machine, cards),
        ),
        remedies=(
            Remedy(
                text=say("Install a CUDA build that the driver can run, in an environment of its own."),
                commands=(NEW_ENV,),
            ),
        ),
    )


def _maker(torch: TorchBuild) -> str | None:
    """Whose cards a build is for that is neither for NVIDIA's nor for the processor alone."""
    if torch.hip is not None or "+rocm" in torch.build:
        return "AMD"
    return "Intel" if "+xpu" in torch.build else None


def _cards(machine: Machine) -> str:
    names = [gpu.name for gpu in machine.gpus.value or ()]
    return counted(names or [display.name or say("NVIDIA card") for display in nvidia_displays(machine)])


def _seen(machine: Machine, cards: str) -> Evidence:
    """By the driver, or on the PCI bus where it does not answer."""
    if machine.gpus.value:
        return cite("machine.gpus", machine.gpus, cards)
    return cite("machine.displays", machine.displays, say("{cards} on the PCI bus", cards=cards))


# What shows beside a version without CUDA that the GPU was wanted.
WANTED = (texts.NOT_AVAILABLE, texts.NOT_COMPILED, texts.INVALID_DEVICE, texts.NO_DRIVER, texts.OLD_INVALID_DEVICE)
CPU_BUILD = r"(?i)\b(?:py)?torch(?:[\s_]?version)?(?:\s|[-:=\"'])*v?\d+\.\d+\.\d+[\w.]*\+cpu\b"
BARE_BUILD = r"\b(?P<build>[12]\.\d{1,2}\.\d[\w.]*\+cpu)\b"
# ultralytics ended in the step that looks for the device.
CHOOSES_DEVICE = r"device=select_device\(|in select_device\b"
NO_CUDA_VERSION = r"CUDA used to build PyTorch: None|torch\.version\.cuda\)?\s{0,3}(?:[:=>-]{0,3}\s?)None\b"
OTHER_SYSTEM = r"macosx_\d|/Users/\w+/|MPS available|\bDarwin\b|/opt/homebrew"


def _asked_for_cuda(hit: Hit, log: Log) -> float | None:
    """A build without CUDA is no fault where nobody wanted a GPU."""
    del hit
    if log.found(OTHER_SYSTEM):
        return None
    return 0.92 if any(log.found(pattern) for pattern in WANTED) else None


def _not_compiled(hit: Hit, log: Log) -> float:
    """On a Mac there is no CUDA build at all."""
    del hit
    return 0.4 if log.found(OTHER_SYSTEM) else 0.92


def _not_available(hit: Hit, log: Log) -> float:
    """No for many reasons; on Windows the default index has nothing else."""
    return 0.25 if log.found(OTHER_SYSTEM) else 0.45 if "win" in hit.before.lower() else 0.35


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.NOT_COMPILED, weigh=_not_compiled, looks_at=(OTHER_SYSTEM,)),
        Signature(pattern=CPU_BUILD, weigh=_asked_for_cuda, looks_at=(*WANTED, OTHER_SYSTEM)),
        Signature(pattern=CPU_BUILD, confidence=0.7, beside=(CHOOSES_DEVICE,), unless=(OTHER_SYSTEM,)),
        Signature(pattern=BARE_BUILD, weigh=_asked_for_cuda, looks_at=(*WANTED, OTHER_SYSTEM)),
        Signature(pattern=NO_CUDA_VERSION, weigh=_asked_for_cuda, looks_at=(*WANTED, OTHER_SYSTEM)),
        Signature(pattern=r"\(you have (?P<build>[\d.]+\w*\+cpu)\)", confidence=0.95),
        Signature(pattern=r"module 'torch\._C' has no attribute '_cuda_?\w+'", confidence=0.9),
        Signature(
            pattern=r"Tried to instantiate dummy base class (?:_?Cuda\w+|_?CUDA\w+|Stream|Event)", confidence=0.85
        ),
        Signature(
            pattern=r"Could not run 'aten::[\w.]+' with arguments from the 'CUDA' backend"
            r"|Cannot initialize CUDA without ATen_cuda",
            confidence=0.85,
        ),
        Signature(
            pattern=r"libtorch_cuda\.so: cannot open shared object file|libc10_cuda\.so: cannot open shared object file",
            confidence=0.5,
        ),
        Signature(
            pattern=r"Attempting to deserialize object on a CUDA device but torch\.cuda\.is_available\(\) is False",
            confidence=0.4,
        ),
        Signature(pattern=r"(?:Error|Exception): CUDA (?:is not|isn't|not) available", confidence=0.3),
        Signature(pattern=texts.NOT_AVAILABLE, weigh=_not_available, looks_at=(OTHER_SYSTEM,)),
        Signature(pattern=texts.INVALID_DEVICE, confidence=0.35),
        Signature(pattern=texts.OLD_INVALID_DEVICE, confidence=0.35),
        Signature(pattern=texts.HALF_ON_CPU, confidence=0.35),
        Signature(pattern=texts.BITSANDBYTES_CPU, confidence=0.25),
    ),
    message=(
        later("torch {build} was built without CUDA: it cannot use any GPU."),
        later("This torch was built without CUDA: it cannot use any GPU."),
    ),
    remedies=(
        Remedy(
            text=later("Install a CUDA build that the driver can run, in an environment of its own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later(
                "Or replace it where it is: remove all three packages, then install them from one"
                " CUDA index that the driver can run."
            ),
            commands=(
                ("python", "-m", "pip", "uninstall", "-y", "torch", "torchvision", "torchaudio"),
                (
                    "python",
                    "-m",
                    "pip",
                    "install",
                    "torch",
                    "torchvision",
                    "torchaudio",
                    "--index-url",
                    "CUDA_INDEX_URL",
                ),
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether this torch has any CUDA inside (None means it has not)."),
        commands=(("python", "-c", "import torch; print(torch.__version__, torch.version.cuda)"),),
    ),
)


RULE = Rule(
    code="TOR101",
    cause="cpu_only_build_installed",
    title=later("torch was built without CUDA"),
    needs=("environment.torch",),
    check=check,
    rank=32,
    log=LOG,
)
