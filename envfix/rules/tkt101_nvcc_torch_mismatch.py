"""nvcc and torch are of different CUDA families, which stops every build of a CUDA extension.

What you see
    "The detected CUDA version (12.1) mismatches the version that was used to compile PyTorch (11.7)"; DeepSpeed's "Installed CUDA
    version 12.2 does not match the version torch was compiled with 11.8"; apex' "Cuda extensions are being compiled with a version
    of Cuda that does not match".

Why
    torch refuses the build where the major numbers differ. A different minor number only warns. Ready-made wheels do not care: they
    bring their own CUDA and need only the driver, so for them nvcc 11.1 beside a torch for CUDA 12 is no fault.

How envfix knows
    The major number of the nvcc that torch's extension builder would take (CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda) against the
    CUDA inside torch. Judged only where something shows that extensions are compiled here: a package that compiles when it is
    used, ninja, or variables such as TORCH_CUDA_ARCH_LIST. In a log the texts above.

How to mend
    Point CUDA_HOME to a toolkit of torch's family, get the compiler package of that family into the environment, or take the torch
    variant of the toolkit's family.

What not to do
    The driver and the "CUDA Version" of nvidia-smi have nothing to do with it. Taking the check out of torch lets the build go on
    to worse errors.

Sources
    version.json, version.txt or cuda.h of the toolkit; torch's version.py; torch/utils/cpp_extension.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.versions import CudaVersion
from envfix.rules._changing import conda
from envfix.rules._environments import NEW_ENV
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, home, nvcc_there
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
        message=say(
            "Extensions cannot be compiled here: nvcc is of CUDA {version}, torch {build} of CUDA {cuda}.",
            version=kit.version,
            build=torch.build,
            cuda=torch.cuda,
        ),
        because=(
            nvcc_there(machine, kit),
            cite(
                "environment.torch",
                environment.torch,
                say("torch {build} has CUDA {cuda} inside", build=torch.build, cuda=torch.cuda),
            ),
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
            text=say(
                "Before building, choose the toolkit of CUDA {version} that is here already.", version=best.version
            ),
            commands=(("export", f"CUDA_HOME={home(best)}"),),
        )
    elif interpreter is not None and interpreter.kind == "conda" and get:
        yield Remedy(
            text=say("Before building, get an nvcc of CUDA {wanted} into the environment.", wanted=wanted),
            commands=(
                *get,
                ("export", f"CUDA_HOME={interpreter.prefix}"),
            ),
        )
    else:
        yield Remedy(
            text=say(
                "Before building, ask for a CUDA {wanted} toolkit and point CUDA_HOME to it, or"
                " use a ready-made wheel of the extension.",
                wanted=wanted,
            ),
            safe=False,
        )
    yield Remedy(text=say("If you compile nothing, do nothing: ready-made wheels bring their own CUDA."))


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"The detected CUDA version \((?P<nvcc>[\d.]+)\) mismatches the version that was used to compile"
            r" PyTorch \((?P<torch>[\d.]+)\)",
            confidence=0.98,
        ),
        Signature(pattern=r"detected CUDA version [^\n]{0,30}mismatches the version", confidence=0.93),
        # DeepSpeed.
        Signature(
            pattern=r"Installed CUDA version (?P<nvcc>[\d.]+) does not match the version torch was compiled with (?P<torch>[\d.]+)",
            confidence=0.96,
        ),
        Signature(pattern=r"CUDAMismatchException", confidence=0.9),
        # apex and what copied from it.
        Signature(
            pattern=r"Cuda extensions are being compiled with a version of Cuda that does not match the "
            r"version used to compile Py[Tt]orch"
            r"(?: binaries\. Pytorch binaries were compiled with Cuda (?P<torch>[\d.]+))?",
            confidence=0.97,
        ),
        # CMake: nvcc of one release, headers of another.
        Signature(
            pattern=r"FindCUDA says CUDA version is (?P<nvcc>[\d.]+)[^\n]{0,60}but the CUDA headers say the "
            r"version is (?P<torch>[\d.]+)",
            confidence=0.7,
        ),
        Signature(
            pattern=r"(?i)\bnvcc(?: version)? \(?(?P<nvcc>[\d.]+)\)? (?:does not match"
            r"|is different from|mismatche?s)[^\n]{0,40}(?:torch|PyTorch)[^\n]{0,40}?(?P<torch>\d+\.\d"
            r")",
            confidence=0.85,
        ),
    ),
    message=(
        later(
            "nvcc is of CUDA {nvcc} and torch of CUDA {torch}: an extension compiled by it would"
            " not fit, so the build is refused."
        ),
        later("nvcc and torch are of different CUDA families, so the build is refused."),
    ),
    remedies=lambda reading: (
        Remedy(
            text=say("If a ready-made wheel of the extension exists for your torch, take it: nothing is compiled then.")
        ),
        Remedy(
            text=say("Or get the compiler of torch's own CUDA into the environment and let the build use it."),
            commands=(
                ("conda", "install", "-c", "nvidia", f"cuda-nvcc={reading.groups.get('torch', 'TORCH_CUDA')}"),
                ("export", "CUDA_HOME=FOLDER_OF_THE_ENVIRONMENT"),
            ),
        ),
        Remedy(
            text=say("Or install a torch for the CUDA of the nvcc that is here ({nvcc}).", nvcc=reading.groups["nvcc"])
            if "nvcc" in reading.groups
            else say("Or install a torch for the CUDA of the nvcc that is here."),
            commands=(NEW_ENV,),
        ),
    ),
    tell_apart=Remedy(
        text=later("Compare the two numbers; what nvidia-smi shows has nothing to do with it."),
        commands=(("nvcc", "--version"), ("python", "-c", "import torch; print(torch.version.cuda)")),
    ),
)


RULE = Rule(
    code="TKT101",
    cause="nvcc_torch_mismatch",
    title=later("nvcc and torch are of different CUDA families"),
    needs=("environment.torch",),
    check=check,
    rank=50,
    log=LOG,
)
