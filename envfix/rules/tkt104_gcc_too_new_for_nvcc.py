"""The C++ compiler is newer than the CUDA compiler accepts.

What you see
    "crt/host_config.h:132:2: error: #error -- unsupported GNU version! gcc versions later than 12 are not supported!", "The current
    installed version of g++ (13.2.0) is greater than the maximum required version by CUDA 11.8",
    "/usr/include/c++/11/bits/std_function.h:435:145: error: parameter packs not expanded".

Why
    nvcc reads the headers of the C++ compiler and knows those of its own time. Ready-made wheels are not touched.

How envfix knows
    The version of the compiler that nvcc would call (NVCC_CCBIN, CUDAHOSTCXX, CC, else g++ on PATH) against the limit that the
    toolkit's own header crt/host_config.h states, or the table of compilers where the header cannot be read. Judged only where
    extensions are compiled here. In a log the texts above.

How to mend
    Let nvcc call an older compiler (CC and CUDAHOSTCXX), or take a newer toolkit.

What not to do
    -allow-unsupported-compiler only turns the check off, and the system's gcc should stay as it is.

Sources
    include/crt/host_config.h of the toolkit; the compiler's own version; torch/utils/cpp_extension.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine, Toolkit
from envfix.model.finding import Evidence, Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._changing import conda
from envfix.rules._log import LogSide, Reading
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
        message=say(
            "The compiler nvcc {version} accepts {kind} up to {limit}, and would call {path}, which is {version_2}.",
            version=kit.version,
            kind=kind,
            limit=limit[0],
            path=compiler.path,
            version_2=compiler.version,
        ),
        because=(
            Evidence(
                fact="machine.toolkits",
                value=say(
                    "CUDA {release} accepts {kind} up to {limit}", release=kit.release, kind=kind, limit=limit[0]
                ),
                source=limit[1],
            ),
            cite(
                "machine.host_compilers",
                machine.host_compilers,
                say("{path} is version {version}", path=compiler.path, version=compiler.version),
            ),
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
    return None if value is None else (value, say("table of compilers"))


def _remedy(machine: Machine, environment: Environment, kind: str, limit: int) -> Remedy:
    accepted = [one for one in machine.host_compilers.value or () if _is_cxx(one, kind) and major(one) <= limit]
    interpreter = environment.interpreter.value
    if accepted:
        best = max(accepted, key=major)
        cc = best.path.replace("clang++", "clang").replace("g++", "gcc")
        return Remedy(
            text=say("Before building, let nvcc call {best}, which is here already.", best=best.name),
            commands=(("export", f"CC={cc}", f"CXX={best.path}", f"CUDAHOSTCXX={best.path}"),),
        )
    get = conda(machine, environment, "install", "-c", "conda-forge", f"gxx_linux-64={limit}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text=say("Before building, get a compiler that nvcc accepts into the environment, and activate it again."),
            commands=get,
        )
    return Remedy(
        text=say(
            "Use a ready-made wheel of the extension, or ask the administrator to add g++-{limit}"
            " beside the usual one.",
            limit=limit,
        ),
        safe=False,
    )


def _is_cxx(compiler: HostCompiler, kind: str) -> bool:
    return compiler.name.startswith("clang++" if kind == "clang" else "g++")


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"unsupported GNU version! gcc versions later than (?P<limit>[\d.]+) are not supported",
            confidence=0.98,
        ),
        Signature(pattern=r"unsupported GNU version! gcc (?P<limit>[\d.]+) and up are not supported", confidence=0.97),
        Signature(pattern=r"unsupported (?:GNU|clang|ICC|PGI) version!|unsupported GNU compiler", confidence=0.94),
        Signature(
            pattern=r"The current installed version of (?P<name>[\w+/.-]+) \((?P<own>[\w.-]+)\) is greater "
            r"than the maximum required version by"
            r" CUDA (?P<cuda>[\d.]+)",
            confidence=0.97,
        ),
        Signature(
            pattern=r"nvcc fatal[^\n:]{0,5}: The version \('(?P<own>[^'\n]*)'\) of the host compiler \('[^'\n]"
            r"*'\) is not supported",
            confidence=0.92,
        ),
        # The compiler's own headers use what this nvcc does not understand.
        Signature(
            pattern=r"/include/c\+\+/(?P<own>1\d)(?:\.\d)*/[\w/.]+(?::\d+:\d+: error:|\(\d+\): error:)[^\n]{0,"
            r"20}(?:parameter packs not expanded|identifier \"__|expected|no instance"
            r"|wrong number of template|this declaration)",
            confidence=0.85,
        ),
        Signature(pattern=r"error: parameter packs not expanded with '\.\.\.'", confidence=0.88),
        Signature(
            pattern=r"(?:amx|avx512|bmm|serialize|mwaitx|movdir|ia32|immintrin|xmmintrin)\w*\.h\(\d+\): error:"
            r" identifier \"__builtin_ia32_\w+\" is undefined"
            r"|error: identifier \"__builtin_ia32_\w+\" is undefined",
            confidence=0.8,
        ),
        Signature(
            pattern=r"error: identifier \"_Float(?:32|64|128)x?\" is undefined|exception specification is "
            r"incompatible with that of previous function \"(?:cospi|sinpi|rsqrt)f?\"",
            confidence=0.75,
        ),
    ),
    message=(
        later("The C++ compiler is newer than nvcc accepts: this nvcc takes gcc up to {limit}."),
        later("The C++ compiler is newer than nvcc accepts: {name} is {own}, too new for CUDA {cuda}."),
        later("The C++ compiler, or its headers, are newer than this nvcc understands."),
    ),
    remedies=lambda reading: tuple(_mends(reading)),
    tell_apart=Remedy(
        text=later("Compare nvcc with the compiler that it calls."),
        commands=(("nvcc", "--version"), ("g++", "--version")),
    ),
)


def _mends(reading: Reading) -> Iterator[Remedy]:
    limit = reading.groups.get("limit", "LIMIT").partition(".")[0]
    yield Remedy(
        text=say(
            "Let nvcc call an older compiler, where one is installed beside the usual one (gcc"
            " {limit} or older); in a conda environment install gxx_linux-64={limit} from"
            " conda-forge.",
            limit=limit,
        ),
        commands=(
            (
                "export",
                f"CC=gcc-{limit}",
                f"CXX=g++-{limit}",
                f"CUDAHOSTCXX=g++-{limit}",
                f"NVCC_PREPEND_FLAGS=-ccbin g++-{limit}",
            ),
        ),
    )
    yield Remedy(
        text=say(
            "Or take a newer toolkit of torch's own CUDA family, which accepts newer compilers, or"
            " a ready-made wheel of the extension."
        ),
        safe=False,
    )


RULE = Rule(
    code="TKT104",
    cause="gcc_too_new_for_nvcc",
    title=later("The C++ compiler is newer than nvcc accepts"),
    needs=("environment.torch",),
    check=check,
    rank=53,
    log=LOG,
)
