"""torch.compile, or the build of an extension, needs a C compiler and the Python headers, and one of them is missing.

What you see
    "Failed to find C compiler. Please specify via CC environment variable", "fatal error: Python.h: No such file or directory",
    "error: command 'gcc' failed: No such file or directory", "Ninja is required to load C++ extensions".

Why
    Triton, which torch.compile uses on the card, compiles a small piece of C at run time. Training and prediction of YOLO do not
    need it unless compile is switched on, so on a machine it is for your information. Packages without a wheel are compiled when
    they are installed.

How envfix knows
    On a Linux machine with a card and a torch that has triton beside it: whether there is a C compiler (gcc, clang or what CC
    names), and whether the target's own Python.h exists. In a log the texts above.

How to mend
    Install a compiler and the headers of this very Python (python3.X-dev), or conda's compilers. Or do not use torch.compile.

What not to do
    Reinstalling triton or torch brings no compiler; headers of another Python do not fit.

Sources
    PATH; CC; the target's own include folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import conda
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.rules._toolchain import release
from envfix.tables.loader import Tables

TRITON = ("triton", "pytorch-triton")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    torch, interpreter, place = environment.torch.value, environment.interpreter.value, machine.platform.value
    triton = any(one.name.lower().replace("_", "-") in TRITON for one in environment.distributions.value or ())
    on_card = torch is not None and torch.cuda is not None and bool(machine.gpus.value)
    if torch is None or interpreter is None or place is None or place.system != "linux" or not on_card or not triton:
        return
    if release(torch) < (2, 0):
        return
    no_compiler = machine.host_compilers.is_absent
    if not no_compiler and interpreter.headers is not False:
        return
    what = say("C compiler") if no_compiler else say("Python.h of Python {version}", version=interpreter.version)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=say("There is no {what} here: torch.compile would fail; everything else works without it.", what=what),
        because=(
            cite("machine.host_compilers", machine.host_compilers)
            if no_compiler
            else cite("environment.interpreter", environment.interpreter, say("its include folder holds no Python.h")),
        ),
        remedies=(_remedy(machine, environment, interpreter, no_compiler=no_compiler),),
    )


def _remedy(machine: Machine, environment: Environment, interpreter: Interpreter, *, no_compiler: bool) -> Remedy:
    get = conda(machine, environment, "install", "-c", "conda-forge", "gcc_linux-64")
    if interpreter.kind in ("conda", "base") and no_compiler and get:
        return Remedy(
            text=say("If you use torch.compile, get a compiler into the environment, and activate it again."),
            commands=get,
        )
    minor = ".".join(interpreter.version.split(".")[:2])
    package = (
        say("a C compiler")
        if no_compiler
        else say("the development files of this Python (python{minor}-dev)", minor=minor)
    )
    return Remedy(
        text=say("If you use torch.compile, ask the administrator to install {package}.", package=package), safe=False
    )


def _weigh_triton(hit: Hit, log: Log) -> float | None:
    """Triton's own small C program did not compile: what the compiler says beside it tells why."""
    near = f"{hit.before[-1500:]}{hit.after[:1500]}"
    if re.search(r"Python\.h|stdio\.h|stdlib\.h|cc1|execvp", near) or log.found(_PYTHON_H):
        return 0.93
    return 0.3 if re.search(r"-lcuda\b|libcuda", near) and "cannot find" in near else 0.6


def _weigh_not_found(hit: Hit, log: Log) -> float | None:
    """Called by a build, or typed by somebody who only looks."""
    del log
    return 0.92 if re.search(r"/bin/sh|make|ninja|error|Error|\d: $", hit.before[-200:]) else 0.75


_PYTHON_H = r"Python\.h: No such file"

LOG = LogSide(
    signatures=(
        Signature(pattern=r"Failed to find C compiler", confidence=0.95),
        Signature(pattern=_PYTHON_H, confidence=0.97),
        Signature(
            pattern=r"include file 'Python\.h' not found|include file: 'Python\.h'|Failed to find Python libs"
            r"|cannot open file '(?P<library>python\d+\.lib)'",
            confidence=0.85,
        ),
        Signature(
            pattern=r"[Cc]ompiler: (?P<compiler>(?:[\w-]*g\+\+|c\+\+|gcc|cc|clang(?:\+\+)?)[\w.-]*) is not "
            r"found|No working C\+\+ compiler found",
            confidence=0.95,
        ),
        Signature(
            pattern=r"(?:command|unable to execute) '(?P<compiler>[\w./-]{0,60}?(?:gcc|g\+\+|cc|c\+\+"
            r"|clang|clang\+\+))(?:-\d+)?'(?: failed)?: (?:No such file|Permission denied"
            r"|None)",
            confidence=0.96,
        ),
        Signature(
            pattern=r"No such file or directory: '(?P<compiler>[\w./-]{0,60}?(?:gcc|g\+\+"
            r"|cc|c\+\+|clang|clang\+\+|ninja|cmake|make))(?:-\d+)?'",
            confidence=0.93,
        ),
        Signature(
            pattern=r"(?P<compiler>\b(?:gcc|g\+\+|cc|c\+\+|make|cmake|ninja|x86_64-linux-gnu-gcc"
            r"|clang)): (?:[Cc]ommand )?not found|command not found: (?P<compiler2>gcc"
            r"|g\+\+|cc|cmake|ninja|make)\b"
            r"|make(?:\[\d\])?: (?P<compiler3>gcc|g\+\+|cc|c\+\+): (?:Command not found|No such file)",
            weigh=_weigh_not_found,
        ),
        Signature(
            pattern=r"error trying to exec 'cc1(?:plus)?': execvp|cannot execute '?cc1(?:plus)?'?", confidence=0.95
        ),
        Signature(
            pattern=r"Error checking compiler version for (?P<compiler>c\+\+|g\+\+|gcc|x86_64[\w-]+): \[Errno 2\]",
            confidence=0.93,
        ),
        Signature(pattern=r"Ninja is required to load C\+\+ extensions", confidence=0.9),
        Signature(
            pattern=r"No CMAKE_C(?:XX)?_COMPILER could be found|CMAKE_C(?:XX)?_COMPILER not set"
            r"|CMAKE_MAKE_PROGRAM is not set|Unknown compiler\(s\): \[\["
            r"|no acceptable C compiler found|C\+\+ compiler cannot create executables|C compiler cannot create executables",
            confidence=0.9,
        ),
        Signature(
            pattern=r"CMake must be installed|Could not find (?:the )?CMake|Problem with the CMake "
            r"installation|Cannot find CMake executable",
            confidence=0.86,
        ),
        Signature(
            pattern=r"Could NOT find Python3? \(missing: [^)\n]{0,80}(?:Development|Python3?_INCLUDE_DIRS?"
            r"|Python3?_LIBRARIES)|Could NOT find PythonLibs",
            confidence=0.86,
        ),
        Signature(
            pattern=r"fatal error: (?P<header>stdio\.h|stdlib\.h|limits\.h|features\.h"
            r"|bits/libc-header-start\.h|sys/cdefs\.h|math\.h|linux/limits\.h|pyconfig\.h"
            r"|zlib\.h): No such file"
            r"|cannot find (?:S?crt1|crti)\.o",
            confidence=0.88,
        ),
        Signature(
            pattern=r"xcrun: error: invalid active developer path|linker `cc` not found|linker 'cc' not found",
            confidence=0.9,
        ),
        Signature(
            pattern=r"Command '\['[\w./-]*(?:gcc|cc|clang)', '[^'\n]{0,120}(?:main|cuda_utils|__triton_launcher|launcher)\.c'",
            weigh=_weigh_triton,
            looks_at=(_PYTHON_H,),
        ),
    ),
    message=(
        later("Something here compiles C code, and there is no {compiler} on this machine, or not on PATH."),
        later("Something here compiles C code, and the header {header} is not installed."),
        later("Something here compiles C code, and the compiler or the headers of this Python are not installed."),
    ),
    remedies=(
        Remedy(
            text=later("Get a compiler into the conda environment; its Python has the headers already."),
            commands=(("conda", "install", "-c", "conda-forge", "gcc_linux-64", "gxx_linux-64", "ninja"),),
        ),
        Remedy(
            text=later(
                "Or have the system's packages installed, in the image or by the administrator:"
                " build-essential and python3.X-dev (Debian, Ubuntu) or gcc-c++ and python3.X-devel"
                " (Fedora, Rocky), X as in the Python that runs the program."
            ),
            safe=False,
        ),
        Remedy(
            text=later("Only where torch.compile asks for it and you can do without: leave the compilation out."),
            commands=(("export", "TORCHDYNAMO_DISABLE=1"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether there is a compiler and where this Python looks for its headers."),
        commands=(
            ("which", "gcc", "g++", "ninja"),
            ("python", "-c", "import sysconfig; print(sysconfig.get_path('include'))"),
        ),
    ),
)


RULE = Rule(
    code="TKT107",
    cause="compiler_or_headers_missing",
    title=later("torch.compile has no C compiler or no Python headers"),
    needs=("environment.torch",),
    check=check,
    rank=56,
    log=LOG,
)
