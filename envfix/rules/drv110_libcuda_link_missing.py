"""The driver's library is there as libcuda.so.1, and the name without a number is missing.

What you see
    "/usr/bin/ld: cannot find -lcuda", triton's "libcuda.so cannot found!", "libcuda.so: cannot open shared object
    file" from what opens the library by its bare name.

Why
    Programs that run need libcuda.so.1, which comes with the driver. The bare name is for building; it is missing
    in containers and where only the driver's package for running is installed. triton links a small file when it
    first compiles a kernel, and some libraries open the bare name.

How envfix knows
    The words above in a log, or in what torch said when it was imported, while the loader finds libcuda.so.1. After
    "Could not load library libcudnn_" it is mostly WSL (the cause wsl_libcuda_path); "libcuda.so.1: cannot open" is
    a driver that is altogether absent; where -lcudart is missing too, the toolkit is not found.

How to mend
    Make the name as a link to libcuda.so.1 in a folder of your own, and put that folder on LIBRARY_PATH and
    LD_LIBRARY_PATH. For building alone the toolkit's folder ``stubs`` on LIBRARY_PATH does as well.

What not to do
    Do not put the folder stubs on LD_LIBRARY_PATH: programs would then load the stub instead of the driver. Do not
    install a driver in a container for it.

Sources
    triton: python/triton/common/build.py; NVIDIA CUDA installation guide (stub libraries); CMake, FindCUDAToolkit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import container, under_wsl
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import IN_CONTAINER, UNDER_WSL
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

WORDS = ("libcuda.so: cannot open", "libcuda.so cannot found", "cannot find -lcuda")
STUBS = "/usr/local/cuda/lib64/stubs"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers, imported = machine.driver_layers.value, environment.torch_import.value
    if layers is None or not layers.libcuda or under_wsl(machine) or imported is None:
        return
    said = " ".join(filter(None, (imported.error, imported.cuda_problem)))
    if not any(word in said for word in WORDS):
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "The driver's library is here as libcuda.so.1, but something asks for libcuda.so without a number."
        ),
        because=(
            cite(
                "machine.driver_layers", machine.driver_layers, say("libcuda.so.1 is {libcuda}", libcuda=layers.libcuda)
            ),
            cite("environment.torch_import", environment.torch_import, said.partition("\n")[0][:300]),
        ),
        remedies=_remedies(inside=container(machine) is not None),
    )


def _remedies(*, inside: bool) -> tuple[Remedy, ...]:
    link = Remedy(
        text=say("Make the name in a folder here, and show it to linker and loader as long as you work in this one."),
        commands=(
            ("mkdir", "-p", "lib"),
            ("ln", "-s", "/usr/lib/x86_64-linux-gnu/libcuda.so.1", "lib/libcuda.so"),
            ("export", "LIBRARY_PATH=lib", "LD_LIBRARY_PATH=lib"),
        ),
    )
    stubs = Remedy(
        text=(
            say(
                "Only for linking, where a toolkit is installed: its stub does as well, through"
                " LIBRARY_PATH (never through LD_LIBRARY_PATH)."
            )
        ),
        commands=(("export", f"LIBRARY_PATH={STUBS}"),),
    )
    again = Remedy(
        text=say(
            "In a container that was started without its GPU not even libcuda.so.1 is there: start"
            " it with `--gpus all`."
        ),
        safe=False,
    )
    return (link, stubs, again) if inside else (link, stubs)


# cuDNN 8 under WSL has a cause of its own.
_MISSING = 700


def _bare_name(hit: Hit, log: Log) -> float | None:
    """Less sure after cuDNN's words, which mostly come from WSL."""
    if "libcudnn" in hit.text:
        return None if log.found(UNDER_WSL) else 0.5
    return 0.35 if log.found(UNDER_WSL) else 0.9 if log.found(IN_CONTAINER) else 0.5


def _not_linked(hit: Hit, log: Log) -> float:
    """Where the linker misses the toolkit's libraries too, the toolkit is what is missing."""
    del log
    around = hit.before[-_MISSING:] + hit.after[:_MISSING]
    return 0.35 if re.search(r"cannot find -l(?:cudart|cublas|curand|cudnn|cusparse)", around) else 0.92


LOG = LogSide(
    signatures=(
        Signature(pattern=r"(?:cannot|could not|unable to) find (?:library )?-lcuda\b(?:[\s:]|$)", weigh=_not_linked),
        Signature(
            pattern=r"libcuda\.so cannot found!?(?: Possible files are located at \[(?P<files>[^\]\n]*)\])?",
            confidence=0.95,
        ),
        Signature(
            pattern=r"(?:Could not load library libcudnn\S{0,40} Error: )?libcuda\.so: cannot open shared object file",
            weigh=_bare_name,
            looks_at=(UNDER_WSL, IN_CONTAINER),
        ),
        Signature(
            pattern=(
                r"CUDA_CUDA_LIBRARY(?: \(ADVANCED\))? (?:linked by|set to NOTFOUND)|CUDA_CUDA_LIBRARY-NOTFOUND"
                r"|missing: CUDA_CUDA_LIBRARY"
            ),
            confidence=0.75,
        ),
        Signature(
            pattern=(
                r"Target [^\n]{0,80} links to target [\"']CUDA::cuda_driver[\"'] but the target was not found"
                r"|CUDA_cuda_driver_LIBRARY[-:]\S*NOTFOUND"
            ),
            confidence=0.85,
        ),
        Signature(
            pattern=(
                r"(?:CUDA driver library cannot be found|Possible CUDA driver libraries are found but error occurred "
                r"during load)"
            ),
            weigh=by_place(0.4, answers=0.6, container=0.4, mac=None),
            looks_at=LOOKS_AT,
        ),
        Signature(
            pattern=r"Could not find libcuda\.so(?:[\s!,]|$)|libcuda\.so not found|libcuda\.so: No such file or directory",
            confidence=0.75,
        ),
    ),
    message=(
        later(
            "The driver's library is here only as {files}; what links or loads the name libcuda.so"
            " without a number fails."
        ),
        later(
            "There is no file libcuda.so (the name without a number), by which programs link to"
            " the driver's library or load it."
        ),
    ),
    remedies=_remedies(inside=True),
    tell_apart=Remedy(
        text=later(
            "See which names of the library the loader knows: libcuda.so.1 alone is this cause,"
            " none at all is a missing driver."
        ),
        commands=(("ldconfig", "-p"),),
    ),
)


RULE = Rule(
    code="DRV110",
    cause="libcuda_link_missing",
    title=later("libcuda.so, the name without a number, is missing"),
    needs=("machine.driver_layers", "environment.torch_import"),
    check=check,
    rank=32,
    log=LOG,
)
