"""The CUDA compiler is older than the extension's source code needs.

What you see
    "FlashAttention is only supported on CUDA 11.7 and above", "nvcc fatal   : Value 'c++17' is not defined for option 'std'",
    "nvcc fatal   : Unknown option '-compress-mode=size'", "fatal error: cuda_bf16.h: No such file or directory".

Why
    The source uses what a later toolkit brought: C++17 and bfloat16 (11.0), parts of cub (11.0), FP8 and Hopper (11.8, 12.0),
    C++20 (12.0), FP4 and Blackwell (12.8). Distributions install an old one: Ubuntu 20.04 has nvcc 10.1, Ubuntu 22.04 has 11.5.
    The card and torch may well be new enough.

How envfix knows
    From logs alone: what the build's own check says, which option nvcc does not know, which header is not there. No fact of the
    machine tells what a source will need.

How to mend
    A newer toolkit of torch's own CUDA family, with CUDA_HOME naming it; a ready-made wheel; or an older release of the
    extension.

What not to do
    Do not delete the option or the check: the next line fails. A newer driver does not bring a newer nvcc, and nvidia-smi's
    number is not nvcc's.

Sources
    NVIDIA CUDA Toolkit release notes; setup.py of flash-attention, mamba, Transformer Engine and SageAttention.
"""

from __future__ import annotations

import re

from envfix.model.finding import Remedy
from envfix.model.language import later
from envfix.model.log import Hit, Log, Signature
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule


def _weigh_requires(hit: Hit, log: Log) -> float | None:
    """A demand counts where something is built; a driver's demand is another cause."""
    if re.search(r"Successfully (?:installed|built)", hit.after):
        return None
    if re.match(r"[^\n]{0,20}compute capability", hit.after):
        # The check is about the card.
        return 0.5
    near = f"{hit.before[-300:]} {hit.after[:200]}".lower()
    if "driver" in near[-500:] and "nvcc" not in near:
        return None
    built = log.found(_BUILDING)
    return 0.86 if built else 0.5


def _weigh_only(hit: Hit, log: Log) -> float | None:
    """A README says so too."""
    del log
    return None if re.search(r"(?:note|tip|hint|requirements?):?\s*$", hit.before[-30:].lower()) else 0.97


_BUILDING = r"setup\.py|nvcc|CMakeLists|CMake Error|build_ext|bdist_wheel|Building wheel|cpp_extension"

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?P<package>[\w-]+) is only supported on CUDA (?P<needed>\d+(?:\.\d+)?) and (?:above|newer|higher)",
            weigh=_weigh_only,
        ),
        Signature(
            pattern=r"nvcc fatal[^\n:]{0,5}: (?:Unknown option '-{0,2}std=c\+\+(?P<std>1[47z]"
            r"|2[0a])'|Value 'c\+\+(?P<std2>1[47z]|2[0a])' is not defined for option 'std')",
            confidence=0.96,
        ),
        Signature(
            pattern=r"nvcc fatal[^\n:]{0,5}: Unknown option '-{0,2}(?P<option>generate-dependencies-with-compi"
            r"le|threads|compress-mode=\w+|split-compile[=\d]*"
            r"|static-global-template-stub=\w+|forward-unknown-to-host-compiler"
            r"|forward-unknown-opts|expt-\w[\w-]+|extended-lambda|diag-suppress[=\d]*"
            r"|MD|MMD|MF"
            r"|allow-unsupported-compiler|Xfatbin|ftemplate-backtrace-limit[=\d]*"
            r"|use-local-env|default-stream|relocatable-device-code[=\w]*|lineinfo"
            r"|device-stack-protector[=\w]*|t=?\d*)'",
            confidence=0.9,
        ),
        Signature(
            pattern=r"nvcc fatal[^\n:]{0,5}: Value '(?P<value>native|all|all-major)' is not defined for option 'gpu-architecture'",
            confidence=0.9,
        ),
        Signature(
            pattern=r"(?i)(?:requires|needs|need|require) (?:at least )?(?:NVIDIA )?CUDA(?: toolkit"
            r"| compiler)?(?: version)?\s?(?:>=?\s?)?v?(?P<needed>1\d\.\d)"
            r"(?: or (?:newer|higher|later|above)|\+)?",
            weigh=_weigh_requires,
            looks_at=(_BUILDING,),
        ),
        Signature(
            pattern=r"(?i)CUDA version must be (?:>=|at least) (?P<needed2>1\d\.\d)|CUDA(?: toolkit)?(?: versi"
            r"on)?\s?(?:>=?\s?)?(?P<needed>1\d(?:\.[\dx])?)\+? (?:or (?:"
            r"newer|higher|later|above|greater)|and (?:above|newer|higher)) (?:is "
            r"|are )?(?:required|needed|must be installed)",
            weigh=_weigh_requires,
            looks_at=(_BUILDING,),
        ),
        Signature(
            pattern=r"(?i)#error [^\n]{0,60}CUDA[^\n]{0,30}(?:or (?:newer|higher|later"
            r"|above)|>=\s?\d)[^\n]{0,20}|CUTLASS requires[^\n]{0,20}CUDA|unsupported CUDA version [\d"
            r".]+,? [^\n]{0,30}(?:>=|at least|newer)"
            r"|CUDA versions? (?:lower|older|less) than (?:\d+\.\d+) (?:is|are) not supported",
            confidence=0.9,
        ),
        Signature(
            pattern=r"fatal error: (?P<header>cuda_bf16\.h|cuda_fp8\.h|cuda_fp6\.h|cuda_fp4\.h"
            r"|cub/(?:cub|block/\w+|device/\w+|util_\w+)\.cuh|cuda/(?:std/\w+|barrier"
            r"|pipeline|atomic|functional)"
            r"|cooperative_groups/\w+\.h|nv/target|cuda_pipeline\.h|cuda_awbarrier\.h): No such file",
            confidence=0.88,
        ),
        Signature(
            pattern=r"namespace \"(?:cub|thrust|cuda|nvcuda|cooperative_groups)(?:::[\w:]+)?\" has no member \"(?P<member>\w+)\"",
            confidence=0.55,
        ),
        Signature(
            pattern=r"identifier \"(?P<member>__nv_bfloat16\d?|nv_bfloat16|__nv_fp8\w*"
            r"|__hmax2?|__reduce_\w+_sync|cudaLaunchKernelEx\w*|cudaMallocAsync"
            r"|cusparse\w+|CUSPARSE_\w+|CUBLAS_COMPUTE_\w+|cublasComputeType_t"
            r"|CU_TENSOR_MAP\w*|CUtensorMap|cuTensorMap\w+|CUDA_R_8F_\w+|__grid_constant__)\" is undefined",
            confidence=0.8,
        ),
        Signature(
            pattern=r"'(?P<member>cublasComputeType_t|CUtensorMap|CUBLAS_COMPUTE_\w+|CUDA_R_8F_\w+"
            r"|nv_bfloat16)' (?:was not declared|does not name a type)",
            confidence=0.75,
        ),
    ),
    message=(
        later("{package} needs CUDA {needed} or newer to be compiled, and the nvcc that the build takes is older."),
        later("The source needs CUDA {needed} or newer to be compiled, and the nvcc that the build takes is older."),
        later("The nvcc that the build takes is older than the source needs: it has no {header}."),
        later("The nvcc that the build takes is older than the source needs: it does not know the option {option}."),
        later("The nvcc that the build takes is older than the source needs."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Take a ready-made wheel of the extension for your torch and Python, or the older"
                " release of it that still builds with this nvcc."
            ),
        ),
        Remedy(
            text=later(
                "Or get the compiler of torch's own CUDA (often newer than the nvcc on PATH) and let the build use it."
            ),
            commands=(
                ("python", "-c", "import torch; print(torch.version.cuda)"),
                ("conda", "install", "-c", "nvidia", "cuda-nvcc=TORCH_CUDA", "cuda-libraries-dev=TORCH_CUDA"),
                ("export", "CUDA_HOME=FOLDER_OF_THE_ENVIRONMENT"),
            ),
        ),
        Remedy(
            text=later(
                "If a newer toolkit is installed beside the distribution's (see /usr/local), point CUDA_HOME to it."
            ),
            commands=(("export", "CUDA_HOME=/usr/local/cuda"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See which nvcc the build takes."), commands=(("which", "-a", "nvcc"), ("nvcc", "--version"))
    ),
)

RULE = Rule(
    code="TKT109",
    cause="nvcc_too_old_for_extension",
    title=later("nvcc is older than the source needs"),
    needs=(),
    check=None,  # no fact shows it: what a source needs is seen when it is compiled
    rank=52,
    log=LOG,
)
