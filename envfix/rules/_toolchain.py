"""What several rules ask of toolkits and compilers: whether anything is compiled here at all, and by which of them.

A ready-made wheel needs neither nvcc nor gcc, so these rules keep silent unless something shows that this user compiles.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.version import InvalidVersion, Version

from envfix.model.facts import Environment, HostCompiler, Machine, Toolkit, TorchBuild
from envfix.model.finding import Evidence, Severity
from envfix.model.language import say
from envfix.rules._rule import cite

# Packages that compile CUDA code at the user's when they are used.
COMPILE_WHEN_USED = frozenset({"deepspeed", "flashinfer-python"})
# Installed by people who build extensions, and by packages that may never build one.
BUILD_TOOLS = frozenset({"ninja"})
VARIABLES = (
    "TORCH_CUDA_ARCH_LIST",
    "CUDAHOSTCXX",
    "NVCC_CCBIN",
    "NVCC_PREPEND_FLAGS",
    "NVCC_APPEND_FLAGS",
    "FORCE_CUDA",
    "TORCH_EXTENSIONS_DIR",
    "MAX_JOBS",
)


class Compiling(NamedTuple):
    """A sign that CUDA code is compiled here, and how bad it is if that fails."""

    sign: Evidence
    severity: Severity


def compiling(machine: Machine, environment: Environment) -> Compiling | None:
    """Why we believe that this user compiles CUDA extensions; None: nothing shows it."""
    distributions = environment.distributions.value or ()
    for names, severity in ((COMPILE_WHEN_USED, Severity.WARNING), (BUILD_TOOLS, Severity.INFO)):
        for one in distributions:
            if one.name.lower().replace("_", "-") in names:
                what = (
                    say("compiles CUDA code when it is used")
                    if severity == Severity.WARNING
                    else say("is for compiling")
                )
                value = say("{one} {version} is installed, which {what}", one=one.name, version=one.version, what=what)
                sign = Evidence(fact="environment.distributions", value=value, source=one.location)
                return Compiling(sign, severity)
    for name in VARIABLES:
        if machine.variables.get(name):
            value = f"{name}={machine.variables[name]}"
            sign = Evidence(fact="machine.variables", value=value, source=say("the shell's environment"))
            return Compiling(sign, Severity.INFO)
    return None


def build_toolkit(machine: Machine) -> Toolkit | None:
    """The toolkit that torch's extension builder takes: CUDA_HOME, CUDA_PATH, nvcc on PATH, /usr/local/cuda."""
    toolkits = machine.toolkits.value or ()
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if machine.variables.get(variable):
            return next((kit for kit in toolkits if variable in kit.found_by.split(", ")), None)
    on_path = next((kit for kit in toolkits if "PATH" in kit.found_by.split(", ")), None)
    return on_path or next((kit for kit in toolkits if kit.nvcc == "/usr/local/cuda/bin/nvcc"), None)


def nvcc_there(machine: Machine, kit: Toolkit) -> Evidence:
    """Which nvcc compiles here, and of which CUDA it is."""
    text = say("{nvcc} is of CUDA {release} ({found_by})", nvcc=kit.nvcc, release=kit.release, found_by=kit.found_by)
    return cite("machine.toolkits", machine.toolkits, text)


def home(kit: Toolkit) -> str:
    """The folder that CUDA_HOME would name."""
    return re.sub(r"[/\\]bin[/\\]nvcc(\.exe)?$", "", kit.nvcc)


def nvcc_host_compiler(machine: Machine) -> HostCompiler | None:
    """The compiler that nvcc calls; None where flags choose another, or it is not known."""
    flags = " ".join(machine.variables.get(name, "") for name in ("NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"))
    if "ccbin" in flags or "allow-unsupported-compiler" in flags:
        return None
    compilers = machine.host_compilers.value or ()
    for variable in ("NVCC_CCBIN", "CUDAHOSTCXX", "CC"):
        if machine.variables.get(variable):
            return next((one for one in compilers if variable in (one.chosen_by or "").split(" and ")), None)
    by_name = {one.name: one for one in compilers if one.chosen_by is None}
    return by_name.get("g++") or by_name.get("gcc")


def major(compiler: HostCompiler) -> int:
    """The major number of its version."""
    return int(compiler.version.split(".")[0])


def is_clang(compiler: HostCompiler) -> bool:
    """Whether it is clang under any of its names."""
    return "clang" in compiler.name


def release(torch: TorchBuild) -> tuple[int, ...]:
    """Torch's version as numbers, (2, 1, 0); (0,) where it cannot be read."""
    try:
        return Version(torch.version).release
    except InvalidVersion:
        return (0,)
