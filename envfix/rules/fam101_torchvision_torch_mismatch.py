"""torchvision was built for another torch than the one beside it.

What you see
    "operator torchvision::nms does not exist", "Couldn't load custom C++ ops", "partially initialized module
    'torchvision' has no attribute 'extension'".

Why
    Each torchvision release is compiled against one torch release, and for the same kind of build (CPU or one
    CUDA). With another torch its operators do not load, and YOLO needs exactly one of them.

How envfix knows
    The versions, the pin in torchvision's metadata and the CUDA in both version files are compared, and what
    torchvision's library needs and takes from torch. In a log the texts above, or a missing symbol that
    torchvision's library asks for.

How to mend
    Reinstall the matching pair in one command from one index.

What not to do
    Do not reinstall torchvision alone from the default index, and do not edit its files.

Sources
    METADATA and version.py of both packages; the table of companions; the ELF header of torchvision's library.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import Environment, Machine, TorchBuild, VisionBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import compiled
from envfix.rules._log import LogSide
from envfix.rules._log_libraries import loading, of_torch, owner
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
        message=say(
            "torchvision {build} does not belong to torch {build_2}: {problem}.",
            build=vision.build,
            build_2=torch.build,
            problem=problem,
        ),
        because=(
            cite("environment.torch", environment.torch, torch.build),
            cite("environment.torchvision", environment.torchvision, vision.build),
        ),
        remedies=(
            Remedy(
                text=say("Install a matching pair, in an environment of its own."),
                commands=(NEW_ENV,),
            ),
        ),
    )


def _version_problem(torch: TorchBuild, vision: VisionBuild, tables: Tables) -> str | None:
    try:
        installed, beside = Version(torch.build), Version(vision.build)
        if vision.torch_pin is not None:
            wanted = Version(vision.torch_pin)
            return (
                None
                if wanted.public == installed.public
                else say("it was built for torch {torch_pin}", torch_pin=vision.torch_pin)
            )
    except InvalidVersion:
        return None
    companions = tables.companions.of(Version(installed.public))
    if companions is None or not companions.torchvision:
        return None
    if any(known.release[:2] == beside.release[:2] for known in companions.torchvision):
        return None
    return say(
        "torch {public} goes with torchvision {torchvision_recommended}",
        public=installed.public,
        torchvision_recommended=companions.torchvision_recommended,
    )


def _build_problem(torch: TorchBuild, vision: VisionBuild) -> str | None:
    if torch.cuda is None and torch.hip is None and vision.cuda is not None:
        return say("it needs the CUDA {cuda} libraries of a CUDA torch, and this torch has none", cuda=vision.cuda)
    if torch.cuda is not None and vision.cuda is not None and torch.cuda.major != vision.cuda.major:
        return say("it was built with CUDA {cuda}, torch with CUDA {cuda_2}", cuda=vision.cuda, cuda_2=torch.cuda)
    return None


def _file_problem(environment: Environment) -> str | None:
    """What torchvision's own library needs and this torch does not have."""
    for file in compiled(environment, "torchvision"):
        of_torch = [name for name in file.unresolved if name.startswith(("libtorch", "libc10"))]
        if of_torch:
            return say("its library needs {of_torch}, which this torch does not have", of_torch=of_torch[0])
        if file.missing_symbols:
            return say(
                "its library takes {missing_symbols} from torch, which this torch does not have",
                missing_symbols=file.missing_symbols[0],
            )
    return None


IMAGE = r"Failed to load image Python extension:?(?P<why>[^\n]{0,300})"
PINNED = r"torchvision \S+ requires torch==(?P<wanted>[\d.]+), but you have torch (?P<have>\S+) which is incompatible"


def _symbol(hit: Hit, log: Log) -> float | None:
    del log
    if owner(hit.groups.get("library", "")) != "torchvision":
        return None
    return 0.93 if of_torch(hit.groups.get("symbol", "2at1")) else 0.5


def _operator(hit: Hit, log: Log) -> float | None:
    """Its own operators only; the bare word is no message."""
    del log
    whose = hit.groups.get("library") or hit.groups.get("namespace")
    if whose not in ("torchvision", "image") or (hit.text.startswith("operator") and hit.after.split()[:1] != ["does"]):
        return None
    return 0.95


def _image(hit: Hit, log: Log) -> float:
    """A warning only; the missing name or function shows that it does not fit."""
    del log
    text = hit.groups.get("why", "") + hit.after[:600]
    if "undefined symbol" in text or "Symbol not found" in text or "WinError 127" in text:
        return 0.85
    return 0.35 if "libjpeg" in text or "libpng" in text or "can ignore this warning" in text else 0.6


def _loaded(hit: Hit, log: Log) -> float | None:
    """A library of torch or CUDA is missing while torchvision is loaded."""
    del log
    return 0.8 if loading(hit) == "torchvision" else None


def _new_name(hit: Hit, log: Log) -> float | None:
    """What torchvision calls at its start since 0.17: an older torch lacks it."""
    del log
    if hit.groups["attribute"] not in ("register_fake", "impl_abstract", "get_ctx"):
        return 0.6 if loading(hit) == "torchvision" else None
    return 0.88 if loading(hit) in ("torchvision", "unknown") else 0.6


def _other_cuda(hit: Hit, log: Log) -> float | None:
    del log
    return 0.97 if hit.groups["library"].lower() == "torchvision" else None


def _incompatible(hit: Hit, log: Log) -> float:
    """Ultralytics compares both; on a Jetson it is torch that came from the wrong place."""
    del log
    around = (hit.before + hit.after).lower()
    return 0.5 if "tegra" in around or "jetson" in around else 0.9


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.NO_OPERATOR, weigh=_operator),
        Signature(pattern=r"Couldn't load custom C\+\+ ops", confidence=0.95),
        Signature(pattern=r"module 'torchvision' has no attribute 'extension'", confidence=0.95),
        Signature(pattern=texts.OTHER_CUDA, weigh=_other_cuda),
        Signature(
            pattern=r"torchvision==(?P<vision>\S+) is incompatible with torch==(?P<torch>[\w.+]*\w)",
            weigh=_incompatible,
        ),
        Signature(pattern=texts.UNDEFINED_SYMBOL, weigh=_symbol),
        Signature(pattern=texts.SYMBOL_NOT_FOUND, weigh=_symbol),
        Signature(pattern=IMAGE, weigh=_image),
        Signature(pattern=r"Could not load this library: [^\n]{0,300}[/\\]torchvision[/\\]", confidence=0.85),
        Signature(pattern=texts.TORCH_LIBRARY_MISSING, weigh=_loaded),
        Signature(pattern=texts.CUDA_LIBRARY_MISSING, weigh=_loaded),
        Signature(pattern=texts.TORCH_ATTRIBUTE, weigh=_new_name),
        Signature(pattern=PINNED, confidence=0.4),
    ),
    message=(
        later("torchvision {vision} does not belong to torch {torch}: its compiled operators do not load."),
        later("torchvision was built for torch {wanted}, and torch is {have}: its compiled operators do not load."),
        later(
            "This torchvision was built for another torch than the one beside it: its compiled operators do not load."
        ),
    ),
    remedies=(
        Remedy(
            text=later("Install a matching pair, in an environment of its own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later("Or reinstall both in one command, from the index that the wanted torch comes from."),
            commands=(
                ("python", "-m", "pip", "uninstall", "-y", "torch", "torchvision"),
                ("python", "-m", "pip", "install", "torch", "torchvision", "--index-url", "INDEX_URL"),
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See both versions and the place that each is loaded from."),
        commands=(
            ("python", "-m", "pip", "list"),
            ("python", "-c", "import torch; print(torch.__version__, torch.version.cuda, torch.__file__)"),
        ),
    ),
    explains=("torch_too_old_for_library",),
)


RULE = Rule(
    code="FAM101",
    cause="torchvision_torch_mismatch",
    title=later("torchvision was built for another torch"),
    needs=("environment.torch", "environment.torchvision"),
    check=check,
    rank=35,
    log=LOG,
)
