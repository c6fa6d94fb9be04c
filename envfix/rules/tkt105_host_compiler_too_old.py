"""The C++ compiler is too old for the headers of the installed torch.

What it checks
    The version of g++ (or what CXX names) against what the installed torch's headers demand: gcc 5 from torch 1.5, gcc 7
    (C++17) from 2.1, gcc 9 from 2.3. Judged only where extensions are compiled here.

Why it matters
    Every build against torch ends with "too old version of GCC" or "You need C++17 to compile PyTorch". Ready-made wheels are
    not touched.

How to fix
    A newer compiler: a module of the cluster, conda's gxx in the environment, or the administrator's. An older torch also
    works; a project that asks for -std=c++14 needs -std=c++17 instead.

Sources
    c10/util/C++17.h in torch's headers; the compiler's own version.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy
from envfix.rules._changing import conda
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import compiling, is_clang, major, release
from envfix.tables.loader import Tables

# torch release from which a gcc is demanded, the newest first.
NEEDED = (((2, 3), 9), ((2, 1), 7), ((1, 5), 5))


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, compiler = environment.torch.value, _cxx(machine)
    reason = compiling(machine, environment)
    if torch is None or compiler is None or reason is None or is_clang(compiler):
        return
    needed = _needed(torch)
    if needed is None or major(compiler) >= needed:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=f"Extensions for torch {torch.build} need gcc {needed} or newer, and {compiler.path} is {compiler.version}.",
        because=(
            cite("machine.host_compilers", machine.host_compilers, f"{compiler.path} is version {compiler.version}"),
            cite("environment.torch", environment.torch, torch.build),
            reason.sign,
        ),
        remedies=(_remedy(machine, environment, needed),),
    )


def _needed(torch: TorchBuild) -> int | None:
    return next((gcc for since, gcc in NEEDED if release(torch)[:2] >= since), None)


def _cxx(machine: Machine) -> HostCompiler | None:
    compilers = machine.host_compilers.value or ()
    if machine.variables.get("CXX"):
        return next((one for one in compilers if "CXX" in (one.chosen_by or "").split(" and ")), None)
    by_name = {one.name: one for one in compilers if one.chosen_by is None}
    return by_name.get("g++") or by_name.get("gcc")


def _remedy(machine: Machine, environment: Environment, needed: int) -> Remedy:
    newer = [one for one in machine.host_compilers.value or () if one.name.startswith("g++-") and major(one) >= needed]
    interpreter = environment.interpreter.value
    if newer:
        path = min(newer, key=major).path
        return Remedy(
            text="Before building, choose the newer compiler that is here already.",
            commands=(("export", f"CC={path.replace('g++', 'gcc')}", f"CXX={path}"),),
        )
    get = conda(machine, environment, "install", "-c", "conda-forge", f"gxx_linux-64={max(needed, 11)}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text="Before building, get a newer compiler into the environment, and activate it again.",
            commands=get,
        )
    return Remedy(
        text=f"Use a ready-made wheel of the extension, load a module with gcc {needed} or newer, or ask the administrator for"
        " one.",
        safe=False,
    )


RULE = Rule(
    code="TKT105",
    cause="host_compiler_too_old",
    title="The C++ compiler is too old for torch's headers",
    needs=("environment.torch",),
    check=check,
    rank=54,
)
