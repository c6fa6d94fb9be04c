"""The C++ compiler is too old for the headers of the installed torch.

What you see
    "#error C++17 or later compatible compiler is required to use PyTorch", "You need C++17 to compile PyTorch", "You're trying to
    build PyTorch with a too old version of GCC", "unrecognized command line option '-std=c++17'".

Why
    torch's headers ask for a standard of C++ and a release of gcc: gcc 5 from torch 1.5, C++17 and gcc 7 from 2.1, gcc 9 from 2.3,
    C++20 in the newest. Often the compiler is good and the project's setup.py sets -std=c++14 by hand. Ready-made wheels are not
    touched.

How envfix knows
    The version of g++ (or what CXX names) against what the installed torch's headers demand. Judged only where extensions are
    compiled here. In a log the texts above.

How to mend
    A newer compiler: a module of the cluster, conda's gxx in the environment, or the administrator's. An older torch also works; a
    project that asks for -std=c++14 needs -std=c++17 instead, or no such flag.

What not to do
    No older gcc: that is the remedy for "gcc versions later than ... are not supported", the opposite.

Sources
    c10/util/C++17.h in torch's headers; the compiler's own version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import conda
from envfix.rules._log import LogSide
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
        message=say(
            "Extensions for torch {build} need gcc {needed} or newer, and {path} is {version}.",
            build=torch.build,
            needed=needed,
            path=compiler.path,
            version=compiler.version,
        ),
        because=(
            cite(
                "machine.host_compilers",
                machine.host_compilers,
                say("{path} is version {version}", path=compiler.path, version=compiler.version),
            ),
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
            text=say("Before building, choose the newer compiler that is here already."),
            commands=(("export", f"CC={path.replace('g++', 'gcc')}", f"CXX={path}"),),
        )
    get = conda(machine, environment, "install", "-c", "conda-forge", f"gxx_linux-64={max(needed, 11)}")
    if interpreter is not None and interpreter.kind == "conda" and get:
        return Remedy(
            text=say("Before building, get a newer compiler into the environment, and activate it again."),
            commands=get,
        )
    return Remedy(
        text=say(
            "Use a ready-made wheel of the extension, load a module with gcc {needed} or newer, or"
            " ask the administrator for one.",
            needed=needed,
        ),
        safe=False,
    )


def _weigh_std(hit: Hit, log: Log) -> float | None:
    """Parts of the standard library that are missing: the compiler, or the flag, is older than torch's headers need."""
    del log
    return 0.85 if re.search(r"torch[/\\]include|c10[/\\]|ATen[/\\]", f"{hit.before[-600:]}{hit.after[:200]}") else 0.5


LOG = LogSide(
    signatures=(
        Signature(pattern=r"You need C\+\+(?P<std>\d\d) to compile (?:PyTorch|ATen)", confidence=0.97),
        Signature(
            pattern=r"C\+\+(?P<std>\d\d) or later compatible compiler is required to (?:use"
            r"|compile|build) (?:PyTorch|ATen|libtorch)",
            confidence=0.97,
        ),
        Signature(
            pattern=r"(?:You're trying to build PyTorch with a )?too old (?:a )?version of GCC(?:\. We need GCC (?"
            r"P<needed>\d+))?",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"The current installed version of (?P<name>[\w+/.-]+) \((?P<own>[\w.-]+)\) is less than "
            r"the minimum required version by"
            r" CUDA (?P<cuda>[\d.]+)(?: \((?P<needed>[\d.]+)\))?",
            confidence=0.97,
        ),
        Signature(
            pattern=r"unrecognized (?:command[\x20-]line )?(?:option|argument)[^\n]{0,12}['\"]?-std=(?:c"
            r"|gnu)\+\+(?P<std>1[147zy]|2[0a3b])",
            confidence=0.94,
        ),
        Signature(pattern=r"error: invalid value '(?:c|gnu)\+\+(?P<std>1[47z]|2[0a])' in '-std=", confidence=0.92),
        Signature(
            pattern=r"A compiler (?:that supports|with support for)(?: at least)? C\+\+(?P<std>\d\d)"
            r"|C\+\+ versions? less than C\+\+(?P<std2>\d\d) are not supported"
            r"|C\+\+(?P<std3>1[47]|20) (?:or (?:later|higher|newer|greater) )?(?:is required|required|support is required)",
            confidence=0.9,
        ),
        Signature(
            pattern=r"This file requires compiler and library support for the ISO C\+\+ (?P<iso>201\d) standard",
            confidence=0.8,
        ),
        Signature(
            pattern=r"requires the language dialect \"?(?:CXX|CUDA)(?P<std>\d\d)\"?[^\n]{0,60} CMake does not "
            r"know the compile flags",
            confidence=0.85,
        ),
        Signature(
            pattern=r"may be ABI-incompatible with PyTorch! Please use a compiler that is ABI-compatible with "
            r"GCC (?P<needed>[\d.]+)",
            confidence=0.55,
        ),
        Signature(
            pattern=r"(?i)(?:requires|needs|need) (?:at least )?(?:gcc|g\+\+|GNU)(?: version)?\s?(?:>=?\s?"
            r"|at least )?(?P<needed>\d+(?:\.\d+)?)"
            r"|(?:gcc|g\+\+|GNU compiler)(?: version)? must be (?:at least|>=|newer than) (?P<needed2>\d+(?:\.\d+)?)",
            confidence=0.8,
        ),
        Signature(
            pattern=r"'(?P<member>optional|variant|string_view|is_same_v|is_convertible_v"
            r"|is_integral_v|enable_if_t|void_t|invoke_result(?:_t)?|conjunction"
            r"|disjunction|make_index_sequence|index_sequence|filesystem|apply"
            r"|any|byte)'"
            r" (?:is not a member of|in namespace|is not a template|does not name)[^\n]{0,30}(?:'std'|std)"
            r"|namespace \"std\" has no member \"(?P<member2>optional|variant|string_view"
            r"|is_same_v|is_convertible_v|enable_if_t|void_t|invoke_result|index_sequence"
            r"|conjunction|any|byte)\"",
            weigh=_weigh_std,
        ),
        Signature(
            pattern=r"no template named '(?:is_same_v|is_convertible_v|optional|variant"
            r"|string_view|enable_if_t|void_t|conjunction)' in namespace 'std'",
            weigh=_weigh_std,
        ),
    ),
    message=(
        later("The C++ compiler is too old: {name} is {own}, and CUDA {cuda} needs a newer one."),
        later("The C++ compiler is too old for torch's headers: gcc {needed} or newer is needed."),
        later("torch's headers need C++{std}, and the compiler, or the flag that the project gives it, is older."),
        later("The C++ compiler, or the standard that the project asks for, is too old for torch's headers."),
    ),
    remedies=(
        Remedy(
            text=later(
                "If the project asks for an older standard by hand (-std=c++14 in setup.py or"
                " CMake), take that flag out or make it what the message names: torch's builder"
                " sets the right one itself."
            ),
        ),
        Remedy(
            text=later(
                "If g++ itself is old, get a newer one: a module of the cluster, or conda's in the environment."
            ),
            commands=(
                ("g++", "--version"),
                ("conda", "install", "-c", "conda-forge", "gxx_linux-64=11"),
                ("export", "CXX=FOLDER_OF_THE_ENVIRONMENT/bin/x86_64-conda-linux-gnu-g++"),
            ),
        ),
        Remedy(text=later("Or use a ready-made wheel of the extension, or a torch of the time of the project.")),
    ),
    tell_apart=Remedy(
        text=later(
            "See how old the compiler is: from gcc 9 on it knows C++17, and then the project's flag is at fault."
        ),
        commands=(("g++", "--version"),),
    ),
)


RULE = Rule(
    code="TKT105",
    cause="host_compiler_too_old",
    title=later("The C++ compiler is too old for torch's headers"),
    needs=("environment.torch",),
    check=check,
    rank=54,
    log=LOG,
)
