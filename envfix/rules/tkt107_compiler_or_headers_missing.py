"""torch.compile cannot work here: it needs a C compiler and the Python headers, and one of them is missing.

What it checks
    On a Linux machine with a card and a torch that has triton beside it: whether there is a C compiler (gcc, clang or what CC
    names), and whether the target's own Python.h exists.

Why it matters
    Triton, which torch.compile uses on the card, compiles a small piece of C at run time: "Failed to find C compiler" or
    "Python.h: No such file or directory". Training and prediction of YOLO do not need it unless compile is switched on, so
    this is for your information.

How to fix
    Install a compiler and the headers of this very Python (python3.X-dev), or conda's compilers. Or do not use
    torch.compile.

Sources
    PATH; CC; the target's own include folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Interpreter, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._changing import conda
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
    what = "C compiler" if no_compiler else f"Python.h of Python {interpreter.version}"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.INFO,
        message=f"There is no {what} here: torch.compile would fail; everything else works without it.",
        because=(
            cite("machine.host_compilers", machine.host_compilers)
            if no_compiler
            else cite("environment.interpreter", environment.interpreter, "its include folder holds no Python.h"),
        ),
        remedies=(_remedy(machine, environment, interpreter, no_compiler=no_compiler),),
    )


def _remedy(machine: Machine, environment: Environment, interpreter: Interpreter, *, no_compiler: bool) -> Remedy:
    get = conda(machine, environment, "install", "-c", "conda-forge", "gcc_linux-64")
    if interpreter.kind in ("conda", "base") and no_compiler and get:
        return Remedy(
            text="If you use torch.compile, get a compiler into the environment, and activate it again.",
            commands=get,
        )
    minor = ".".join(interpreter.version.split(".")[:2])
    package = "a C compiler" if no_compiler else f"the development files of this Python (python{minor}-dev)"
    return Remedy(text=f"If you use torch.compile, ask the administrator to install {package}.", safe=False)


RULE = Rule(
    code="TKT107",
    cause="compiler_or_headers_missing",
    title="torch.compile has no C compiler or no Python headers",
    needs=("environment.torch",),
    check=check,
    rank=56,
)
