"""On Windows, Microsoft's C++ compiler is not in this shell, or newer than the CUDA compiler accepts.

What you see
    "Error checking compiler version for cl: [WinError 2]", "Microsoft Visual C++ 14.0 or greater is required", "unsupported
    Microsoft Visual Studio version! Only the versions between 2017 and 2022 (inclusive) are supported!", "STL1002: Unexpected
    compiler version, expected CUDA 12.4 or newer".

Why
    cl.exe is on PATH only in a developer's prompt, and each CUDA release accepts those of its time: late updates of Visual Studio
    2022 (17.10 on) need CUDA 12.4. Ready-made wheels are not touched.

How envfix knows
    Whether cl.exe is on PATH or in Visual Studio's folder, and its version against the range in the toolkit's own
    crt/host_config.h. Judged only where extensions are compiled here. In a log the texts above.

How to mend
    Open the "x64 Native Tools Command Prompt" and build there; install the C++ build tools of a year that nvcc accepts.

What not to do
    The redistributable alone is no compiler. Do not edit host_config.h.

Sources
    PATH and Visual Studio's folder; include/crt/host_config.h of the toolkit; yvals_core.h of the C++ library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine
from envfix.model.finding import Evidence, Finding, Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import Compiling, build_toolkit, compiling
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, place = environment.torch.value, machine.platform.value
    reason = compiling(machine, environment)
    if torch is None or place is None or place.system != "win32" or reason is None or machine.host_compilers.is_unknown:
        return
    mine = [one for one in machine.host_compilers.value or () if _is_cl(one)]
    in_shell = next((one for one in mine if one.name == "cl"), None)
    if in_shell is None:
        yield _not_here(machine, mine, reason)
        return
    kit = build_toolkit(machine)
    known = tables.host_compilers.limits(kit.version) if kit else None
    accepted = (kit.msc or (known.msc if known else None)) if kit else None
    number = msc_number(in_shell.version)
    if kit is None or accepted is None or number is None or accepted[0] <= number <= accepted[1]:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=say(
            "The compiler nvcc {version} does not accept this Visual C++ ({version_2}, _MSC_VER {number}).",
            version=kit.version,
            version_2=in_shell.version,
            number=number,
        ),
        because=(
            Evidence(
                fact="machine.toolkits",
                value=say(
                    "CUDA {release} accepts _MSC_VER {accepted} to {accepted_2}",
                    release=kit.release,
                    accepted=accepted[0],
                    accepted_2=accepted[1],
                ),
                source=kit.limits_from or say("table of compilers"),
            ),
            cite("machine.host_compilers", machine.host_compilers, in_shell.path),
            reason.sign,
        ),
        remedies=(
            Remedy(
                text=say(
                    "Add a toolset that nvcc accepts in the Visual Studio installer and build in"
                    " its prompt, take a newer toolkit, or use a ready-made wheel of the extension."
                ),
                safe=False,
            ),
        ),
    )


def msc_number(version: str) -> int | None:
    """``_MSC_VER`` of a toolset: 14.38 is 1938, 14.4x and 14.5x go on as 194x and 195x."""
    match = re.match(r"14\.(\d{2})", version)
    return 1900 + int(match[1]) if match else None


def _is_cl(compiler: HostCompiler) -> bool:
    return re.search(r"(?:^|[/\\])cl(?:\.exe)?$", compiler.path, re.IGNORECASE) is not None


def _not_here(machine: Machine, found: list[HostCompiler], reason: Compiling) -> Finding:
    installed = bool(found)
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=reason.severity,
        message=say("The C++ compiler (cl.exe) is installed, but not reachable from this shell.")
        if installed
        else say("There is no Microsoft C++ compiler (cl.exe), and something here compiles extensions."),
        because=(
            cite("machine.host_compilers", machine.host_compilers, found[0].path if installed else say("no cl.exe")),
            reason.sign,
        ),
        remedies=(
            Remedy(
                text=say(
                    'Open the "x64 Native Tools Command Prompt for VS", activate the environment there, and build.'
                )
                if installed
                else say(
                    'Install the "Desktop development with C++" part of the Visual Studio Build'
                    " Tools, or use a ready-made wheel of the extension."
                ),
                safe=installed,
            ),
        ),
    )


def _weigh_check(hit: Hit, log: Log) -> float | None:
    """The check of the version failed: there is no cl, or its words are in a language that Python cannot read."""
    del log
    rest = hit.after[:200]
    if "WinError 2" in rest or "Errno 2" in rest or "returned non-zero" in rest:
        return 0.92
    return 0.4 if "codec can't decode" in rest else 0.7


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Error checking compiler version for cl\b", weigh=_weigh_check),
        Signature(pattern=r"Microsoft Visual C\+\+ (?P<vc>\d+\.\d+) (?:or greater )?is required", confidence=0.94),
        Signature(
            pattern=r"Unable to find vcvarsall\.bat|vcvarsall\.bat[^\n]{0,40}not found|Microsoft Visual C\+\+ Build Tools",
            confidence=0.9,
        ),
        Signature(
            pattern=r"unsupported Microsoft Visual Studio version! Only the versions between (?P<first>\d+) and (?P<last>\d+)",
            confidence=0.97,
        ),
        Signature(pattern=r"unsupported Microsoft Visual Studio version", confidence=0.96),
        Signature(
            pattern=r"STL100[0-9]: Unexpected compiler version, expected (?P<expected>[^\n]{3,40}?) or newer",
            confidence=0.94,
            quoted=True,
        ),
        Signature(
            pattern=r"Cannot find compiler 'cl(?:\.exe)?' in PATH|Compiler: cl(?:\.exe)? is not found"
            r"|Failed to find (?:a )?MSVC|MSVC (?:is |was )?not found",
            confidence=0.96,
        ),
        Signature(
            pattern=r"(?:command|unable to execute) '(?:[^'\n]{0,200}[\\/])?(?:cl|link|lib|rc|nmake)(?:\.exe)?'"
            r"(?: failed)?: (?:None|No such file)|'(?:cl|nmake|cl\.exe)' is not recognized"
            r"|Command '\['where', 'cl'\]|No such file or directory: '(?:cl|nmake)(?:\.exe)?'",
            confidence=0.94,
        ),
        Signature(
            pattern=r"could not find (?:any instance of Visual Studio|specified instance of Visual Studio)"
            r"|Running 'nmake' '-\?' failed|Visual Studio configuration file '[^'\n]*' could not be "
            r"found",
            confidence=0.93,
        ),
        Signature(
            pattern=r"It seems that the VC environment is activated but DISTUTILS_USE_SDK is not set", confidence=0.9
        ),
        Signature(pattern=r"Host compiler targets unsupported OS", confidence=0.85),
        Signature(
            pattern=r"C1083: Cannot open include file: '(?:corecrt|io|stdio|stdlib|stddef"
            r"|basetsd|crtdbg|windows|ctype|inttypes|math|string)\.h'"
            r"|fatal error C1083:[^\n]{0,40}[\"'](?:corecrt|io|stdio|stdlib|stddef|basetsd|crtdbg|windows|ctype|inttypes)\.h[\"']"
            r"|LNK1104[^\n]{0,30}[\"']?(?:kernel32|ucrt|msvcrt|libucrt|msvcprt|uuid)\.lib|LNK1158[^\n]{0,20}rc\.exe",
            confidence=0.92,
        ),
        Signature(pattern=r"No CUDA toolset found", confidence=0.4),
        Signature(pattern=r"command '[^'\n]{0,200}[\\/]cl\.exe' failed with exit (?:code|status) 2", confidence=0.15),
        Signature(pattern=r"C1189: #error: ", confidence=0.3, unless=(r"You need C\+\+1",)),
    ),
    message=(
        later(
            "nvcc does not accept this Visual C++: it takes those of Visual Studio {first} to"
            " {last}, up to a certain update."
        ),
        later("Microsoft's C++ compiler ({vc} or newer) is not here, or not reachable from this shell."),
        later("This Visual C++ is newer than the CUDA toolkit: it expects {expected}."),
        later(
            "Microsoft's C++ compiler (cl.exe) is not here, not reachable from this shell, or not"
            " the one that nvcc accepts."
        ),
    ),
    remedies=lambda reading: (
        *(_other_toolset() if {"first", "expected"} & set(reading.groups) else _get_compiler()),
        Remedy(
            text=say(
                "Or take a ready-made wheel of the package, for this Python and torch: nothing has to be compiled then."
            )
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether the compiler is in this shell, and which."), commands=(("where", "cl"), ("cl",))
    ),
)


def _get_compiler() -> tuple[Remedy, ...]:
    return (
        Remedy(
            text=say(
                'Install the "Desktop development with C++" part of the Visual Studio Build Tools,'
                " with a Windows SDK; the redistributable alone is no compiler."
            ),
            safe=False,
        ),
        Remedy(
            text=say(
                'If it is installed, open the "x64 Native Tools Command Prompt for VS", activate'
                " the environment, and build."
            ),
            commands=(("set", "DISTUTILS_USE_SDK=1"),),
        ),
    )


def _other_toolset() -> tuple[Remedy, ...]:
    return (
        Remedy(
            text=say(
                "Add an older toolset (v142 or an earlier v143) in the Visual Studio installer and"
                " build in its prompt, or take a newer toolkit of torch's CUDA family, which"
                " accepts newer compilers."
            ),
            safe=False,
        ),
    )


RULE = Rule(
    code="TKT106",
    cause="msvc_missing_or_unsupported",
    title=later("Microsoft's C++ compiler is missing or not accepted by nvcc"),
    needs=("environment.torch",),
    check=check,
    rank=55,
    log=LOG,
)
