"""On Windows, Microsoft's C++ compiler is not in this shell, or newer than the CUDA compiler accepts.

What it checks
    Whether cl.exe is on PATH (it is only in a developer's prompt) or in Visual Studio's folder, and its version against the
    range in the toolkit's own crt/host_config.h. Judged only where extensions are compiled here.

Why it matters
    Builds end with "Error checking compiler version for cl", "Microsoft Visual C++ 14.0 or greater is required" or
    "unsupported Microsoft Visual Studio version". Ready-made wheels are not touched.

How to fix
    Open the "x64 Native Tools Command Prompt" and build there; install the C++ build tools of a year that nvcc accepts. The
    redistributable alone is no compiler.

Sources
    PATH and Visual Studio's folder; include/crt/host_config.h of the toolkit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, HostCompiler, Machine
from envfix.model.finding import Evidence, Finding, Remedy
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
        message=f"The compiler nvcc {kit.version} does not accept this Visual C++ ({in_shell.version}, _MSC_VER {number}).",
        because=(
            Evidence(
                fact="machine.toolkits",
                value=f"CUDA {kit.release} accepts _MSC_VER {accepted[0]} to {accepted[1]}",
                source=kit.limits_from or "table of compilers",
            ),
            cite("machine.host_compilers", machine.host_compilers, in_shell.path),
            reason.sign,
        ),
        remedies=(
            Remedy(
                text="Add a toolset that nvcc accepts in the Visual Studio installer and build in its prompt, take a newer"
                " toolkit, or use a ready-made wheel of the extension.",
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
        message="The C++ compiler (cl.exe) is installed, but not reachable from this shell."
        if installed
        else "There is no Microsoft C++ compiler (cl.exe), and something here compiles extensions.",
        because=(
            cite("machine.host_compilers", machine.host_compilers, found[0].path if installed else "no cl.exe"),
            reason.sign,
        ),
        remedies=(
            Remedy(
                text='Open the "x64 Native Tools Command Prompt for VS", activate the environment there, and build.'
                if installed
                else 'Install the "Desktop development with C++" part of the Visual Studio Build Tools, or use a ready-made'
                " wheel of the extension.",
                safe=installed,
            ),
        ),
    )


RULE = Rule(
    code="TKT106",
    cause="msvc_missing_or_unsupported",
    title="Microsoft's C++ compiler is missing or not accepted by nvcc",
    needs=("environment.torch",),
    check=check,
    rank=55,
)
