"""nvcc and torch are of different CUDA families, which stops every build of a CUDA extension.

What it checks
    The major number of the nvcc that torch's extension builder would take (CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda)
    against the CUDA inside torch. Judged only where something shows that extensions are compiled here: a package that
    compiles when it is used, ninja, or variables such as TORCH_CUDA_ARCH_LIST.

Why it matters
    torch refuses the build: "The detected CUDA version mismatches the version that was used to compile PyTorch". A
    different minor number only warns. Ready-made wheels do not care: they bring their own CUDA and need only the driver,
    so for them nvcc 11.1 beside a torch for CUDA 12 is no fault.

How to fix
    Point CUDA_HOME to a toolkit of torch's family, get the compiler package of that family into the environment, or take
    the torch variant of the toolkit's family. The driver and the "CUDA Version" of nvidia-smi have nothing to do with it.

Sources
    version.json, version.txt or cuda.h of the toolkit; torch's version.py; torch/utils/cpp_extension.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.versions import CudaVersion
from envfix.rules._changing import conda
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, home
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, kit = environment.torch.value, build_toolkit(machine)
    reason = compiling(machine, environment)
    if torch is None or torch.cuda is None or kit is None or reason is None or kit.version.major == torch.cuda.major:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=f"Extensions cannot be compiled here: nvcc is of CUDA {kit.version}, torch {torch.build} of CUDA {torch.cuda}.",
        because=(
            cite("machine.toolkits", machine.toolkits, f"{kit.nvcc} is of CUDA {kit.release} ({kit.found_by})"),
            cite("environment.torch", environment.torch, f"torch {torch.build} has CUDA {torch.cuda} inside"),
            reason.sign,
        ),
        remedies=tuple(_remedies(machine, environment, torch.cuda)),
    )


def _remedies(machine: Machine, environment: Environment, wanted: CudaVersion) -> Iterator[Remedy]:
    others = [kit for kit in machine.toolkits.value or () if kit.version.major == wanted.major]
    interpreter = environment.interpreter.value
    get = conda(machine, environment, "install", "-c", "nvidia", f"cuda-nvcc={wanted}")
    if others:
        best = min(others, key=lambda kit: (kit.version != wanted, kit.version))
        yield Remedy(
            text=f"Before building, choose the toolkit of CUDA {best.version} that is here already.",
            commands=(("export", f"CUDA_HOME={home(best)}"),),
        )
    elif interpreter is not None and interpreter.kind == "conda" and get:
        yield Remedy(
            text=f"Before building, get an nvcc of CUDA {wanted} into the environment.",
            commands=(
                *get,
                ("export", f"CUDA_HOME={interpreter.prefix}"),
            ),
        )
    else:
        yield Remedy(
            text=f"Before building, ask for a CUDA {wanted} toolkit and point CUDA_HOME to it, or use a ready-made wheel of"
            " the extension.",
            safe=False,
        )
    yield Remedy(text="If you compile nothing, do nothing: ready-made wheels bring their own CUDA.")


RULE = Rule(
    code="TKT101",
    cause="nvcc_torch_mismatch",
    title="nvcc and torch are of different CUDA families",
    needs=("environment.torch",),
    check=check,
    rank=50,
)
