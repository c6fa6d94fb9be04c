"""The CUDA compiler is older than the card and cannot compile for it.

What you see
    "nvcc fatal   : Unsupported gpu architecture 'compute_86'" (75, 80, 86, 89, 90, 120), "ptxas fatal   : Value 'sm_121a' is not
    defined for option 'gpu-name'". With a low number (35, 37; 50 to 70 with CUDA 13) the same words mean that nvcc is too new.

Why
    Each toolkit knows the cards of its time: 7.5 came with CUDA 10.0, 8.0 with 11.0, 8.6 with 11.1, 8.9 and 9.0 with 11.8, 12.0
    with 12.8. Ready-made wheels are not touched by it.

How envfix knows
    The release of the nvcc that a build would take against the first release that knows the card's architecture. Judged only where
    extensions are compiled here, and not where TORCH_CUDA_ARCH_LIST asks for older architectures. In a log the number decides, with
    the release of nvcc where it is named.

How to mend
    A newer toolkit (and torch for it), or TORCH_CUDA_ARCH_LIST with the newest architecture the compiler knows, plus +PTX.

What not to do
    The driver does not matter here.

Sources
    version.json, version.txt or cuda.h of the toolkit; the driver's answer about the card; the table of compilers.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.rules._log import LogSide, Reading
from envfix.rules._nvcc_architectures import RELEASES, UNSUPPORTED, is_dropped, number_of
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, home, nvcc_there
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, kit = environment.torch.value, build_toolkit(machine)
    reason = compiling(machine, environment)
    asked = machine.variables.get("TORCH_CUDA_ARCH_LIST")
    if torch is None or torch.cuda is None or kit is None or reason is None or asked:
        return
    unknown = [(card, since) for card, since in _firsts(machine, tables) if kit.version < since]
    if not unknown:
        return
    card, since = max(unknown, key=lambda pair: pair[1])
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=say(
            "The compiler nvcc {version} cannot compile for the {card} ({sm}): that needs CUDA {since}.",
            version=kit.version,
            card=card.name,
            sm=_sm(card),
            since=since,
        ),
        because=(
            nvcc_there(machine, kit),
            cite(
                "machine.gpus",
                machine.gpus,
                say("{card}, compute capability {capability}", card=card.name, capability=card.capability),
            ),
            reason.sign,
        ),
        remedies=tuple(_remedies(machine, since)),
    )


def _firsts(machine: Machine, tables: Tables) -> Iterator[tuple[Gpu, CudaVersion]]:
    for card in machine.gpus.value or ():
        since = tables.host_compilers.oldest_cuda_for(card.capability) if card.capability else None
        if since is not None:
            yield card, since


def _sm(card: Gpu) -> str:
    return card.capability.sm if card.capability else say("unknown")


def _remedies(machine: Machine, since: CudaVersion) -> Iterator[Remedy]:
    newer = [kit for kit in machine.toolkits.value or () if kit.version >= since]
    if newer:
        yield Remedy(
            text=say(
                "Before building, choose the toolkit of CUDA {version} that is here already.", version=newer[0].version
            ),
            commands=(("export", f"CUDA_HOME={home(newer[0])}"),),
        )
        return
    yield Remedy(
        text=say(
            "Use a ready-made wheel of the extension, or ask for a toolkit of CUDA {since} or"
            " newer that is of the same family as torch.",
            since=since,
        ),
        safe=False,
    )


def _weigh_architecture(hit: Hit, log: Log) -> float | None:
    """The same words say that nvcc is too old and that it is too new: the number decides, and nvcc's release."""
    old = 1 - is_dropped(hit, log)
    return round(0.97 * old, 2) if old > OFTEN else None


OFTEN = 0.2


def _message(reading: Reading) -> str:
    hit = next((one for one in reading.hits if number_of(one)), None)
    if hit is None:
        return say("The CUDA compiler is older than the card and cannot compile for it.")
    release = next((one for pattern in RELEASES for one in reading.log.found(pattern)), None)
    which = say("of CUDA {release} ", release=release.groups["release"]) if release else ""
    number = number_of(hit)
    since = reading.tables.host_compilers.oldest_cuda_for(ComputeCapability.parse(f"sm_{number}"))
    need = say("; that needs CUDA {since}", since=since) if since else ""
    return say(
        "The CUDA compiler {which}is older than the card: it knows no architecture {number}.{number_2}{need}.",
        which=which,
        number=number // 10,
        number_2=number % 10,
        need=need,
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=UNSUPPORTED, weigh=_weigh_architecture, looks_at=RELEASES),
        Signature(
            pattern=r"unsupported CUDA gpu architecture: sm_(?P<arch>\d{2,3})|Unknown CUDA Architecture Name (?P<name>[\d.]+)",
            confidence=0.8,
        ),
        Signature(
            pattern=r"Unknown CUDA arch \((?P<name>[\d.]+[af]?)(?:\+PTX)?\) or GPU not supported", confidence=0.5
        ),
        Signature(
            pattern=r"CUDA (?P<needed>\d+\.\d) or higher is required for compute capability (?P<name>[\d.]+)",
            confidence=0.9,
        ),
        Signature(pattern=r"Unsupported \.version [\d.]+; current version is '[\d.]+'", confidence=0.4),
    ),
    message=_message,
    remedies=(
        Remedy(
            text=later(
                "Take a ready-made wheel of the extension, or a toolkit that knows the card and is"
                " of torch's own CUDA family; print that first."
            ),
            commands=(("python", "-c", "import torch; print(torch.version.cuda)"),),
        ),
        Remedy(
            text=later(
                "Or compile for the newest architecture that this nvcc knows and let the driver do the rest (+PTX)."
            ),
            commands=(("nvcc", "--list-gpu-arch"), ("export", "TORCH_CUDA_ARCH_LIST=NEWEST_KNOWN+PTX")),
        ),
    ),
    tell_apart=Remedy(text=later("See which release of nvcc the build takes."), commands=(("nvcc", "--version"),)),
)


RULE = Rule(
    code="TKT103",
    cause="nvcc_too_old_for_gpu",
    title=later("nvcc is older than the card"),
    needs=("environment.torch",),
    check=check,
    rank=52,
    log=LOG,
)
