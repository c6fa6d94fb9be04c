"""The C++ compiler is newer than the CUDA compiler accepts.

What it checks
    The version of the compiler that nvcc would call (NVCC_CCBIN, CUDAHOSTCXX, CC, else g++ on PATH) against the limit that
    the toolkit's own header crt/host_config.h states, or the table of compilers where the header cannot be read. Judged
    only where extensions are compiled here.

Why it matters
    nvcc refuses: "unsupported GNU version! gcc versions later than N are not supported". Ready-made wheels are not touched.

How to fix
    Let nvcc call an older compiler (CC and CUDAHOSTCXX), or take a newer toolkit. -allow-unsupported-compiler only turns the
    check off, and the system's gcc should stay as it is.

Sources
    include/crt/host_config.h of the toolkit; the compiler's own version.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine, Toolkit
from envfix.model.finding import Evidence, Finding, Remedy
from envfix.rules._changing import conda
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import build_toolkit, compiling, is_clang, major, nvcc_host_compiler
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, kit, compiler = environment.torch.value, build_toolkit(machine), nvcc_host_compiler(machine)
    reason = compiling(machine, environment)
    if torch is None or torch.cuda is None or kit is None or compiler is None or reason is None:
        return
    kind = "clang" if is_clang(compiler) else "gcc"
    limit = newest_accepted(kit, kind, tables)
    if limit is None or major(compiler) <= limit[0]:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=f"The compiler nvcc {kit.version} accepts {kind} up to {limit[0]}, and would call {compiler.path}, which is"
        f" {compiler.version}.",
        because=(
            Evidence(
                fact="machine.toolkits", value=f"CUDA {kit.release} accepts {kind} up to {limit[0]}", source=limit[1]
            ),
            cite("machine.host_compilers", machine.host_compilers, f"{compiler.path} is version {compiler.version}"),
            reason.sign,
        ),
        remedies=(_remedy(machine, environment, kind, limit[0]),),
    )


def newest_accepted(kit: Toolkit, kind: str, tables: Tables) -> tuple[int, str] | None:
    """The newest major version of ``gcc`` or ``clang`` that a toolkit accepts, and who says so."""
    own = kit.clang_max if kind == "clang" else kit.gcc_max
    if own is not None:
        return own, kit.limits_from or kit.nvcc
    known = tables.host_compilers.limits(kit.version)
    if known is None or known.confidence == "inferred":
        return None
    value = known.clang_max if kind == "clang" else known.gcc_max
    return None if value is None else (value, "table of compilers")


def _remedy(machine: Machine, environment: Environment, kind: str, limit: int) -> Remedy:
    accepted = [one for one in machine.host_compilers.value or () if _is_cxx(one, kind) and major(one) <= limit]
    interpreter = environment.interpreter.value
    if accepted:
        best = max(accepted, key=major)
        cc = best.path.replace("clang++", "clang").replace("g++", "gcc")
        return Remedy(
            text=f"Before building, let nvcc call {best.name}, which is here already.",
            commands=(("export", f"CC={cc}", f"CXX={best.path}", f"CUDAHOSTCXX={best.path}"),),
        )
    get = conda(machine, environment, "install", "-c", "conda-forge", f"gxx_linux-64={limit}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text="Before building, get a compiler that nvcc accepts into the environment, and activate it again.",
            commands=get,
        )
    return Remedy(
        text=f"Use a ready-made wheel of the extension, or ask the administrator to add g++-{limit} beside the usual one.",
        safe=False,
    )


def _is_cxx(compiler: HostCompiler, kind: str) -> bool:
    return compiler.name.startswith("clang++" if kind == "clang" else "g++")


RULE = Rule(
    code="TKT104",
    cause="gcc_too_new_for_nvcc",
    title="The C++ compiler is newer than nvcc accepts",
    needs=("environment.torch",),
    check=check,
    rank=53,
)
