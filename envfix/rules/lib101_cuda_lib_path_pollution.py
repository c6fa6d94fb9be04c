"""A CUDA library from outside is loaded before the one that came with torch.

What you see
    "libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12", "undefined symbol: cublasLt...",
    "libtorch_cuda.so: undefined symbol: ncclCommRegister". Or all seems to work, with libraries that nobody tested together.

Why
    LD_LIBRARY_PATH (or a module, a line in ~/.bashrc, an activation script) makes the loader take an older copy first. A newer
    library of the wheel then misses a symbol in its older companion.

How envfix knows
    Folders on LD_LIBRARY_PATH that hold a CUDA library of the same name as one that torch brought; what the import really loaded;
    an import, or a log, that misses a symbol of such a library. A log with NCCL's symbols alone may also come from two mixed
    installations.

How to mend
    Unset the variable for that program, and take the toolkit's folders out of the profile that sets it.

What not to do
    More folders in the variable, an older torch or links to other names make it worse.

Sources
    LD_LIBRARY_PATH and the files in its folders; the libraries mapped into the process after the import; pytorch issues 131312,
    134929 and 141063.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._family import NEW_ENVIRONMENT, import_evidence, import_failure
from envfix.rules._libraries import (
    is_bundled,
    loaded,
    loaded_from_outside,
    older,
    placed,
    shadowing,
    without_path,
)
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import CUDA_SYMBOL_MISSING
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(
    r"undefined symbol: (__nvJitLink|nvJitLink|cublas|nccl|cusparse|cusolver|cufft)\w+|symbol \w+,? version libnvJitLink"
)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    failure = import_failure(environment) or ""
    shadows = shadowing(machine, environment, cudnn=False)
    outside = tuple(path for path in loaded_from_outside(environment, cudnn=False) if is_bundled(path, environment))
    if SAYS.search(failure) and (shadows or _on_path(machine)):
        severity, message = (
            Severity.ERROR,
            say("Importing torch fails, for LD_LIBRARY_PATH puts another CUDA library before torch's own."),
        )
    elif outside:
        severity = Severity.WARNING
        message = say(
            "torch runs with CUDA libraries from outside ({outside}) instead of those that came with it.",
            outside=outside[0],
        )
    elif environment.torch_import.is_unknown and any(older(library, environment) for library in shadows):
        severity = Severity.WARNING
        message = say("An older CUDA library on LD_LIBRARY_PATH is found before the one that came with torch.")
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            *placed(machine, shadows),
            *loaded(environment, outside),
            *_variable(machine),
            *import_evidence(environment),
        ),
        remedies=(without_path(environment), NEW_ENVIRONMENT),
    )


def _on_path(machine: Machine) -> bool:
    return any(library.found_by == "LD_LIBRARY_PATH" for library in machine.libraries.value or ())


def _variable(machine: Machine) -> tuple[Evidence, ...]:
    value = machine.variables.get("LD_LIBRARY_PATH")
    return (
        (Evidence(fact="machine.variables", value=f"LD_LIBRARY_PATH={value}", source=say("environment of this shell")),)
        if value
        else ()
    )


def _weigh_symbol(hit: Hit, log: Log) -> float | None:
    """Two packages of one library in the log speak for a mixed installation; NCCL's is the usual one of those."""
    del log
    symbol = hit.groups.get("symbol", "")
    around = f"{hit.before[-300:]}{hit.after[:300]}"
    if re.search(r"/usr/local/cuda|/opt/(?:cuda|conda)/|LD_LIBRARY_PATH|/usr/lib/", around):
        return 0.93
    if symbol.startswith(("nccl", "cupti", "nvshmem")):
        return 0.6
    return 0.9 if "nvJitLink" in symbol or symbol.startswith("cublasLt") else 0.8


LOG = LogSide(
    signatures=(
        Signature(pattern=CUDA_SYMBOL_MISSING, weigh=_weigh_symbol),
        Signature(
            pattern=r"symbol (?P<symbol>(?:__)?(?:cublas|cusparse|cusolver|nvJitLink|nccl"
            r"|cuda)\w+),? version (?P<companion>lib\w+\.so\.\d+)"
            r" not defined in file",
            confidence=0.92,
        ),
        Signature(
            pattern=r"undefined symbol: (?P<symbol>\w+), version (?P<companion>lib(?:cublas(?:Lt)?"
            r"|cusparse|cusolver|nvJitLink|cudart|cufft)\.so\.\d+)",
            confidence=0.92,
        ),
        Signature(pattern=r"Could not load symbol (?P<symbol>cublas\w+|cusparse\w+)", confidence=0.85),
        Signature(
            pattern=r"version '?`?(?P<companion>lib(?:nvJitLink|cublas(?:Lt)?|cusparse|cudart)\.so\.\d+)'? not found",
            confidence=0.85,
        ),
        # A library of the toolkit in the traceback of an import of torch.
        Signature(
            pattern=r"ImportError: /usr/local/cuda[\w./-]*/(?P<companion>lib\w+\.so[.\d]*): undefined symbol",
            confidence=0.9,
        ),
    ),
    message=(
        later(
            "A CUDA library of torch misses {symbol} in {companion}: an older copy, from outside,"
            " is loaded before torch's own."
        ),
        later(
            "A CUDA library of torch misses the symbol {symbol}: an older copy of its companion is"
            " loaded before torch's own."
        ),
        later("A CUDA library from outside is loaded before torch's own, and they do not fit together."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Start the program without LD_LIBRARY_PATH: torch brings its own CUDA libraries."
                " Where that helps, take the CUDA folders out of ~/.bashrc, of the module or of the"
                " activation script that sets it."
            ),
            commands=(
                ("env", "-u", "LD_LIBRARY_PATH", "python", "-c", "import torch; print(torch.zeros(1))"),
                ("unset", "LD_LIBRARY_PATH"),
            ),
        ),
        NEW_ENVIRONMENT,
    ),
    tell_apart=Remedy(
        text=later(
            "See whether the same import works without the variable; if not, two installations are"
            " mixed in one environment."
        ),
        commands=(("env", "-u", "LD_LIBRARY_PATH", "python", "-c", "import torch; print(torch.__version__)"),),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB101",
    cause="cuda_lib_path_pollution",
    title=later("A CUDA library from outside comes before torch's own"),
    needs=("environment.torch",),
    check=check,
    rank=40,
    explains=("torch_import_fails",),
    log=LOG,
)
