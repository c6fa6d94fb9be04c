"""The CUDA compiler is older than the card and cannot compile for it.

What it checks
    The release of the nvcc that a build would take against the first release that knows the card's architecture. Judged
    only where extensions are compiled here, and not where TORCH_CUDA_ARCH_LIST asks for older architectures.

Why it matters
    The build ends with "nvcc fatal : Unsupported gpu architecture". Ready-made wheels are not touched by it.

How to fix
    A newer toolkit (and torch for it), or TORCH_CUDA_ARCH_LIST with the newest architecture the compiler knows, plus +PTX.
    The driver does not matter here.

Sources
    version.json, version.txt or cuda.h of the toolkit; the driver's answer about the card; the table of compilers.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Gpu, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.versions import CudaVersion
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, home
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
        message=f"The compiler nvcc {kit.version} cannot compile for the {card.name} ({_sm(card)}): that needs CUDA {since}.",
        because=(
            cite("machine.toolkits", machine.toolkits, f"{kit.nvcc} is of CUDA {kit.release} ({kit.found_by})"),
            cite("machine.gpus", machine.gpus, f"{card.name}, compute capability {card.capability}"),
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
    return card.capability.sm if card.capability else "unknown"


def _remedies(machine: Machine, since: CudaVersion) -> Iterator[Remedy]:
    newer = [kit for kit in machine.toolkits.value or () if kit.version >= since]
    if newer:
        yield Remedy(
            text=f"Before building, choose the toolkit of CUDA {newer[0].version} that is here already.",
            commands=(("export", f"CUDA_HOME={home(newer[0])}"),),
        )
        return
    yield Remedy(
        text=f"Use a ready-made wheel of the extension, or ask for a toolkit of CUDA {since} or newer that is of the same"
        " family as torch.",
        safe=False,
    )


RULE = Rule(
    code="TKT103",
    cause="nvcc_too_old_for_gpu",
    title="nvcc is older than the card",
    needs=("environment.torch",),
    check=check,
    rank=52,
)
