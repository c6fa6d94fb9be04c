"""Something here compiles CUDA code, and there is no nvcc where it would be looked for.

What you see
    "CUDA_HOME environment variable is not set", "flash_attn was requested, but nvcc was not found", "No such file or directory:
    '/usr/local/cuda/bin/nvcc'", "fatal error: cuda_runtime.h: No such file or directory".

Why
    torch wheels and conda's cudatoolkit hold the CUDA libraries, not the compiler. Running torch needs no nvcc. Container images
    named "runtime" have none; those named "devel" do.

How envfix knows
    CUDA_HOME or CUDA_PATH that name a folder without bin/nvcc; or no nvcc at all (PATH, /usr/local/cuda, the environment) where a
    package that compiles when it is used, ninja, or a variable such as TORCH_CUDA_ARCH_LIST shows that extensions are built. In a
    log the texts above; "nvcc: command not found" typed at a prompt is believed less.

How to mend
    Only if something really must be compiled: get the compiler of torch's own CUDA and point CUDA_HOME to it. Otherwise use a
    ready-made wheel. A CUDA_HOME that leads nowhere is better unset.

What not to do
    A CUDA_HOME set to a folder without nvcc, or conda's cudatoolkit, changes nothing.

Sources
    CUDA_HOME and CUDA_PATH; nvcc on PATH and in /usr/local; torch/utils/cpp_extension.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import conda
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch = environment.torch.value
    known = machine.toolkits.value is not None or machine.toolkits.is_absent
    if torch is None or torch.cuda is None or not known or build_toolkit(machine) is not None:
        return
    variable = next((name for name in ("CUDA_HOME", "CUDA_PATH") if machine.variables.get(name)), None)
    if variable is not None:
        yield _leads_nowhere(machine, variable)
        return
    reason = compiling(machine, environment)
    if reason is None or machine.toolkits.value:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=say("There is no CUDA compiler (nvcc), and something here compiles CUDA code."),
        because=(reason.sign, cite("machine.toolkits", machine.toolkits)),
        remedies=(_get_compiler(machine, environment, torch),),
    )


def _leads_nowhere(machine: Machine, variable: str) -> Finding:
    value = f"{variable}={machine.variables[variable]}"
    others = machine.toolkits.value or ()
    where = say(" (there is one at {nvcc})", nvcc=others[0].nvcc) if others else ""
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say(
            "{variable} names {variables}, where there is no nvcc: building an extension would fail.",
            variable=variable,
            variables=machine.variables[variable],
        ),
        because=(
            Evidence(fact="machine.variables", value=value, source=say("the shell's environment")),
            cite("machine.toolkits", machine.toolkits, say("no nvcc below it{where}", where=where)),
        ),
        remedies=(
            Remedy(
                text=say(
                    "Take {variable} out of your shell's start file; torch itself does not need it.", variable=variable
                ),
                commands=(("unset", variable),),
            ),
        ),
    )


def _get_compiler(machine: Machine, environment: Environment, torch: TorchBuild) -> Remedy:
    interpreter = environment.interpreter.value
    get = conda(machine, environment, "install", "-c", "nvidia", f"cuda-nvcc={torch.cuda}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text=say(
                "If you need to compile, get the compiler of torch's CUDA {cuda} into the"
                " environment; a ready-made wheel of the extension needs none.",
                cuda=torch.cuda,
            ),
            commands=(
                *get,
                ("export", f"CUDA_HOME={interpreter.prefix}"),
            ),
        )
    return Remedy(
        text=say(
            "If you need to compile, ask the administrator for the CUDA {cuda} toolkit; a"
            " ready-made wheel of the extension needs none.",
            cuda=torch.cuda,
        ),
        safe=False,
    )


def _weigh_shell(hit: Hit, log: Log) -> float | None:
    """Typed by somebody who looks for a number, or called by a build."""
    del log
    return 0.9 if re.search(r"/bin/(?:ba)?sh|\bmake\b|ninja|FAILED|setup\.py|\d: $", hit.before[-200:]) else 0.65


def _weigh_said(hit: Hit, log: Log) -> float | None:
    """Installers warn of it where they go on without; an error is one."""
    del log
    line = (hit.before.rpartition("\n")[2] + hit.text + hit.after.partition("\n")[0]).lower()
    if re.search(r"warn|info|notice|optional|cpu mode", line):
        return None
    return 0.85 if re.search(r"error|fail|fatal|panick", line) else 0.6


def _weigh_path(hit: Hit, log: Log) -> float | None:
    """Nvcc that was called and failed was there."""
    del log
    return None if re.match(r"['\s]{0,2}(?:failed with|returned)", hit.after) else 0.94


def _weigh_none(hit: Hit, log: Log) -> float | None:
    """A path made of nothing: only where the line above speaks of CUDA_HOME."""
    del log
    return 0.85 if re.search(r"CUDA_HOME|CUDA_PATH|cuda_dir|nvcc", hit.before[-400:]) else None


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"CUDA_HOME (?:or CUDA_PATH )?(?:environment variable (?:is )?not set"
            r"|is (?:not (?:set|configured)|unset|undefined|None, please|unavailable|required)"
            r"|not found|does not exist, unable to compile)"
            r"|Cannot find CUDA_HOME|CUDA_HOME (?:environment variable )?(?:needs|has) to be (?:set|defined)|MissingCUDAException",
            confidence=0.95,
        ),
        Signature(
            pattern=r"was requested, but nvcc was not found|nvcc binary could not be located"
            r"|nvcc was not found\.? Are you sure your environment has nvcc available",
            confidence=0.96,
        ),
        Signature(pattern=r"Could not find nvcc and default cuda_home", confidence=0.96),
        Signature(
            pattern=r"(?:No such file or directory:\s?|unable to execute |[Cc]ould not find "
            r"|command )'(?P<nvcc>[^'\n]{0,200}nvcc(?:\.exe)?)'(?:: No such file"
            r"|\b|$)?",
            weigh=_weigh_path,
        ),
        Signature(
            pattern=r"nvcc: (?:command )?not found|command not found: nvcc|'nvcc' is not recognized"
            r"|nvcc : The term 'nvcc'|Command 'nvcc' not found"
            r"|nvcc: No such file or directory",
            weigh=_weigh_shell,
        ),
        Signature(
            pattern=r"(?i)\b(?:error|failed|fatal)[^\n]{0,40}\bnvcc (?:was )?not found"
            r"|\bnvcc not found\b|\bCUDA toolkit (?:was )?not found\b",
            weigh=_weigh_said,
        ),
        # CMake.
        Signature(
            pattern=r"(?:Failed to|Could not) find nvcc\b|No CMAKE_CUDA_COMPILER could be found|CMAKE_CUDA_COMPILER-NOTFOUND"
            r"|CMAKE_CUDA_COMPILER not set"
            r"|Could not find compiler set in environment variable CUDACXX|CUDA_TOOLKIT_ROOT_DIR not found",
            confidence=0.93,
        ),
        Signature(
            pattern=r"(?i)Could NOT find CUDA(?:Toolkit)? \(missing: [^)\n]{2,200}\)|Specify "
            r"CUDA_TOOLKIT_ROOT_DIR|Caffe2: CUDA cannot be found",
            confidence=0.87,
        ),
        Signature(pattern=r"No CUDA toolset found", confidence=0.6),
        # The runtime's packages have no headers and no stubs either.
        Signature(
            pattern=r"fatal error: (?P<header>cuda(?:_runtime(?:_api)?|_fp16|_profiler_api)?\.h"
            r"|cublas_v2\.h|cublasLt\.h|cusparse\.h|cusolverDn\.h|curand(?:_kernel)?\.h"
            r"|nvrtc\.h|cuda/[\w/.]+|thrust/[\w/.]+|nvToolsExt\.h|nvtx3/[\w/.]+|crt/host_defines\.h): No such file",
            confidence=0.85,
        ),
        Signature(
            pattern=r"cannot find -l(?P<library>cudart|cublas|cusparse|cusolver|curand|cudadevrt)\b", confidence=0.8
        ),
        Signature(pattern=r"Cannot find ptxas|'ptxas' not found|Couldn't find ptxas|ptxas: not found", confidence=0.6),
        Signature(
            pattern=r"expected str, bytes or os\.PathLike object, not NoneType"
            r"|unsupported operand type\(s\) for \+: 'NoneType' and 'str'|join\(\) argument must be str[^"
            r"\n]{0,30}not 'NoneType'",
            weigh=_weigh_none,
        ),
    ),
    message=(
        later("Something here compiles CUDA code and looks for the compiler at {nvcc}, where there is none."),
        later("Something here compiles CUDA code, and the toolkit's {header} is not there."),
        later(
            "Something here compiles CUDA code, and there is no CUDA compiler (nvcc) where it"
            " looks: torch's wheels bring none."
        ),
    ),
    remedies=(
        Remedy(
            text=later(
                "If a ready-made wheel of the package exists for your torch, Python and CUDA, take"
                " that: nothing has to be compiled."
            ),
        ),
        Remedy(
            text=later(
                "If it must be compiled, get the compiler of torch's own CUDA (print"
                " torch.version.cuda) and point CUDA_HOME to it."
            ),
            commands=(
                ("python", "-c", "import torch; print(torch.version.cuda)"),
                ("conda", "install", "-c", "nvidia", "cuda-nvcc=TORCH_CUDA", "cuda-cudart-dev=TORCH_CUDA"),
                ("export", "CUDA_HOME=FOLDER_OF_THE_ENVIRONMENT"),
            ),
        ),
        Remedy(
            text=later(
                "If a toolkit is installed already (often /usr/local/cuda), point CUDA_HOME to it; one folder, no list."
            ),
            commands=(("export", "CUDA_HOME=/usr/local/cuda"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether there is a compiler anywhere."),
        commands=(("which", "-a", "nvcc"), ("ls", "/usr/local")),
    ),
)


RULE = Rule(
    code="TKT102",
    cause="cuda_home_or_nvcc_missing",
    title=later("There is no nvcc where a build would look for it"),
    needs=("environment.torch",),
    check=check,
    rank=51,
    log=LOG,
)
