"""Something here compiles CUDA code, and there is no nvcc where it would be looked for.

What it checks
    CUDA_HOME or CUDA_PATH that name a folder without bin/nvcc; or no nvcc at all (PATH, /usr/local/cuda, the environment)
    where a package that compiles when it is used, ninja, or a variable such as TORCH_CUDA_ARCH_LIST shows that extensions
    are built.

Why it matters
    torch wheels and conda's cudatoolkit hold the CUDA libraries, not the compiler: a build ends with "CUDA_HOME environment
    variable is not set" or "nvcc: not found". Running torch needs no nvcc.

How to fix
    Only if something really must be compiled: get the compiler of torch's own CUDA and point CUDA_HOME to it. Otherwise use
    a ready-made wheel. A CUDA_HOME that leads nowhere is better unset.

Sources
    CUDA_HOME and CUDA_PATH; nvcc on PATH and in /usr/local; torch/utils/cpp_extension.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._changing import conda
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
        message="There is no CUDA compiler (nvcc), and something here compiles CUDA code.",
        because=(reason.sign, cite("machine.toolkits", machine.toolkits)),
        remedies=(_get_compiler(machine, environment, torch),),
    )


def _leads_nowhere(machine: Machine, variable: str) -> Finding:
    value = f"{variable}={machine.variables[variable]}"
    others = machine.toolkits.value or ()
    where = f" (there is one at {others[0].nvcc})" if others else ""
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=f"{variable} names {machine.variables[variable]}, where there is no nvcc: building an extension would fail.",
        because=(
            Evidence(fact="machine.variables", value=value, source="the shell's environment"),
            cite("machine.toolkits", machine.toolkits, f"no nvcc below it{where}"),
        ),
        remedies=(
            Remedy(
                text=f"Take {variable} out of your shell's start file; torch itself does not need it.",
                commands=(("unset", variable),),
            ),
        ),
    )


def _get_compiler(machine: Machine, environment: Environment, torch: TorchBuild) -> Remedy:
    interpreter = environment.interpreter.value
    get = conda(machine, environment, "install", "-c", "nvidia", f"cuda-nvcc={torch.cuda}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text=f"If you need to compile, get the compiler of torch's CUDA {torch.cuda} into the environment; a ready-made"
            " wheel of the extension needs none.",
            commands=(
                *get,
                ("export", f"CUDA_HOME={interpreter.prefix}"),
            ),
        )
    return Remedy(
        text=f"If you need to compile, ask the administrator for the CUDA {torch.cuda} toolkit; a ready-made wheel of the"
        " extension needs none.",
        safe=False,
    )


RULE = Rule(
    code="TKT102",
    cause="cuda_home_or_nvcc_missing",
    title="There is no nvcc where a build would look for it",
    needs=("environment.torch",),
    check=check,
    rank=51,
)
