"""conda chose a build without CUDA, on a machine that has an NVIDIA card.

What you see
    Build strings like ``cpu_generic_py311``, ``py3.8_cpu_0`` or ``cpu_mkl`` behind pytorch or torchvision in conda's tables, the
    package ``cpuonly``; or "__cuda ..., which is missing on the system" when a CUDA build is asked for.

Why
    conda takes a CPU build without a word where it saw no driver (login node, container, before the driver was
    installed: its virtual package ``__cuda`` is missing) or where a channel with CPU builds only comes first.

How envfix knows
    The build string in conda's record of pytorch or torchvision says ``cpu``, or the package ``cpuonly`` is
    installed, while there is an NVIDIA card and torch has no CUDA. In a log: such rows, surer beside signs of a card.

How to mend
    Ask for the CUDA variant by its build string, with CONDA_OVERRIDE_CUDA set where conda sees no driver, or put a
    pip wheel into the environment.

What not to do
    The same command again chooses the same build. Installing cudatoolkit afterwards does not change it.

Sources
    conda-meta of the target's prefix; conda's documentation on virtual packages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import CondaRecord, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import conda
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import NEW_ENVIRONMENT, has_nvidia_card, records
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import NOT_AVAILABLE, NOT_COMPILED
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, known = environment.torch.value, records(environment)
    chosen = [
        row for name, row in known.items() if name in ("pytorch", "libtorch", "torchvision") and "cpu" in row.build
    ]
    chosen += [row for name, row in known.items() if name == "cpuonly"]
    if not chosen or torch is None or torch.cuda is not None or torch.hip or not has_nvidia_card(machine):
        return
    first = chosen[0]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "Conda chose a build of {first} without CUDA ({version} {build}), although there is an NVIDIA card.",
            first=first.name,
            version=first.version,
            build=first.build,
        ),
        because=(
            *(_recorded(environment, row) for row in chosen),
            cite("environment.torch", environment.torch, torch.build),
        ),
        remedies=_remedies(machine, environment, known),
    )


def _recorded(environment: Environment, row: CondaRecord) -> Evidence:
    value = f"{row.name} {row.version} {row.build}" + (
        say(" from {channel}", channel=row.channel) if row.channel else ""
    )
    return Evidence(fact="environment.conda_records", value=value, source=environment.conda_records.source)


def _remedies(machine: Machine, environment: Environment, known: dict[str, CondaRecord]) -> tuple[Remedy, ...]:
    commands = conda(machine, environment, "remove", "cpuonly") if "cpuonly" in known else ()
    commands += conda(machine, environment, "install", "pytorch=*=*cuda*")
    text = say(
        "Or ask conda for a CUDA build by its build string, on a machine where nvidia-smi works"
        " (else set CONDA_OVERRIDE_CUDA)."
    )
    return (NEW_ENVIRONMENT, Remedy(text=text, commands=commands, safe=False))


# --- in a log ---

_PACKAGE = (
    r"pytorch|libtorch|torchvision|torchaudio|pyg|pytorch-(?:scatter|sparse|cluster|spline-conv)|dgl|jaxlib"
    r"|tensorflow(?:-base)?"
)
# A row of conda's tables, or a name of a package's file: name, version, and a build with "cpu" in it.
ROW = (
    rf"\b(?P<package>{_PACKAGE})[-=\x20\t|]{{1,60}}(?P<version>\d[\w.]{{0,20}})[-=\x20\t|]{{1,60}}"
    r"(?P<build>(?:[\w.]{1,40}_)?cpu(?:_[\w.*]{1,40}|py\w{0,20}|\b)[\w.]{0,20})"
)
# The same where the version was cut off.
SHORT_ROW = rf"\b(?P<package>{_PACKAGE})[=\x20\t|]{{1,60}}(?P<build>[\w.]{{1,40}}_cpu[\w.]{{0,40}}|cpu_[\w.]{{1,40}})"
# That there is a card, or that one was asked for.
CARD = (
    r"NVIDIA-SMI|GeForce|\bRTX\b|\bGTX\b|Tesla|Quadro|pytorch-cuda|cudatoolkit|pytorch-gpu|CUDA Version"
    r"|__cuda(?:=| virtual)|\.cuda\(\)"
    r"|device='?cuda|cuda-version"
)
ASKED_FOR = r"(?:conda|mamba|micromamba) (?:install|create)[^\n]{0,200}\b(?:cpuonly|pytorch-cpu)\b"

MAC = r"osx-(?:64|arm64)|/Users/\w+/|macosx_\d"


def _weigh_row(hit: Hit, log: Log) -> float | None:
    """A row alone may be meant so, on a machine without a card; what says that CUDA is missed makes it sure."""
    missed = log.found(NOT_COMPILED) or log.found(NOT_AVAILABLE)
    if log.found(ASKED_FOR) or log.found(MAC):
        return 0.35 if missed else None
    if hit.groups["package"].startswith(("jax", "tensor")):
        return 0.3
    if missed or log.found(CARD):
        return 0.93
    return 0.78


def _weigh_missing(hit: Hit, log: Log) -> float | None:
    """Conda sees no driver, or only an older CUDA than the build needs."""
    del log
    return 0.85 if "missing" in hit.text or re.search("not available", hit.after[:1500]) else 0.6


LOG = LogSide(
    signatures=(
        Signature(pattern=ROW, weigh=_weigh_row, looks_at=(ASKED_FOR, MAC, NOT_COMPILED, NOT_AVAILABLE, CARD)),
        Signature(pattern=SHORT_ROW, weigh=_weigh_row, looks_at=(ASKED_FOR, MAC, NOT_COMPILED, NOT_AVAILABLE, CARD)),
        Signature(pattern=r"[Pp]y[Tt]orch\s['\"]?cpu_py\d+h\w+_\d", confidence=0.85),
        Signature(pattern=r"pytorch-nightly-[\w.]+\+cpu-py[\d.]+_cpu_\d", confidence=0.9),
        Signature(pattern=r"pytorch-mutex-[\d.]+-cpu\b|pytorch-mutex[\s|]+[\d.]+[\s|]+cpu\b", confidence=0.8),
        Signature(pattern=r"\bcpu-?only(?:-\d[\d.]*|[\x20\t|]+\d[\d.]*)", confidence=0.6, unless=(ASKED_FOR,)),
        Signature(pattern=r"__cuda[^\n]{0,80}which is missing on the system", weigh=_weigh_missing, quoted=True),
        Signature(pattern=r"nothing provides __cuda|feature:[^\n]{0,40}::__cuda[=<>][^\n]{0,80}", weigh=_weigh_missing),
    ),
    message=(
        later("conda chose a build of {package} without CUDA ({build})."),
        later(
            "conda sees no NVIDIA driver here (its package __cuda), so it takes builds without"
            " CUDA or refuses those with it."
        ),
    ),
    remedies=(
        Remedy(
            text=later("Put wheels with CUDA into an environment of their own; they need no solver."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later(
                "Or ask conda for a CUDA build by its build string; where it sees no card (login"
                " node, image), say which CUDA it will have."
            ),
            commands=(
                ("export", "CONDA_OVERRIDE_CUDA=12.6"),
                ("conda", "create", "-n", "ENV", "-c", "conda-forge", "python=3.11", "pytorch=*=*cuda*", "torchvision"),
            ),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether conda knows of the card (`__cuda`) and which builds are installed."),
        commands=(("conda", "info"), ("conda", "list", "torch")),
    ),
    explains=("cpu_only_build_installed",),
)

RULE = Rule(
    code="CND110",
    cause="conda_resolved_cpu_build",
    title=later("conda chose a build without CUDA"),
    needs=("environment.conda_records", "environment.torch"),
    check=check,
    rank=31,
    explains=("cpu_only_build_installed",),
    log=LOG,
)
