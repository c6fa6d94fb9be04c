"""The driver answers, but its CUDA library (libcuda) is not there.

What you see
    nvidia-smi shows the card; torch says "Found no NVIDIA driver on your system", others "libcuda.so.1: cannot open
    shared object file" or "CUDA driver is a stub library".

Why
    In a container this is what ``NVIDIA_DRIVER_CAPABILITIES=utility`` gives: nvidia-smi, and nothing to compute
    with. On a host the package with the compute libraries is not installed, or the stub of a CUDA toolkit, which is
    for linking alone, is found first.

How envfix knows
    NVML works, and the loader finds no ``libcuda.so.1`` or only a stub. In a log the texts above together with a
    table of nvidia-smi; without it the whole driver may be missing.

How to mend
    In a container: start it with ``NVIDIA_DRIVER_CAPABILITIES=compute,utility``. On a host the administrator
    installs the compute package of the driver, in the driver's own version.

What not to do
    Do not install a CUDA toolkit for it: it does not contain libcuda, only the stub.

Sources
    NVIDIA container toolkit documentation (driver capabilities); NVIDIA driver packages of distributions.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._devices import container, cuda_works, under_wsl
from envfix.rules._log import LogSide
from envfix.rules._log_context import LOOKS_AT, by_place
from envfix.rules._log_patterns import NO_DRIVER, NO_LIBCUDA
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

CAPABILITIES = "NVIDIA_DRIVER_CAPABILITIES"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers = machine.driver_layers.value
    if layers is None or layers.nvml != "works" or layers.libcuda is None or cuda_works(environment):
        return
    stub = "/stubs/" in layers.libcuda
    if (layers.libcuda and not stub) or under_wsl(machine):
        return
    said = machine.variables.get(CAPABILITIES)
    seen = (
        say("the loader takes {libcuda}, a stub for linking", libcuda=layers.libcuda)
        if stub
        else say("the loader finds no libcuda.so.1")
    )
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say("The driver answers, but its CUDA library libcuda.so.1 is not here: torch cannot see the card."),
        because=(
            cite("machine.driver_layers", machine.driver_layers, seen + (f"; {CAPABILITIES}={said}" if said else "")),
        ),
        remedies=(_remedy(machine, stub=stub),),
    )


def _remedy(machine: Machine, *, stub: bool) -> Remedy:
    if stub:
        return Remedy(text=say("Take the toolkit's folder `stubs` off LD_LIBRARY_PATH; it is for building only."))
    if container(machine):
        return Remedy(
            text=say("Start the container with `-e {capabilities}=compute,utility`.", capabilities=CAPABILITIES),
            safe=False,
        )
    return Remedy(
        text=say("Ask the administrator to install the driver's compute libraries in the driver's version."), safe=False
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"CUDA driver is a stub library|CUDA_ERROR_STUB_LIBRARY|cudaErrorStubLibrary", confidence=0.85
        ),
        Signature(pattern=NO_LIBCUDA, weigh=by_place(0.25, answers=0.8, container=0.25, mac=None), looks_at=LOOKS_AT),
        Signature(pattern=NO_DRIVER, weigh=by_place(None, answers=0.55), looks_at=LOOKS_AT),
        Signature(pattern=r"NVIDIA_DRIVER_CAPABILITIES=[\"']?utility[\"']?(?:\s|$)", confidence=0.6),
        Signature(pattern=r"load library failed: libcuda\.so\.1", confidence=0.6),
    ),
    message=later(
        "The driver answers, but its CUDA library libcuda.so.1 is not found, so that no program"
        " can compute on the card."
    ),
    remedies=(
        Remedy(
            text=later("In a container: start it with `-e NVIDIA_DRIVER_CAPABILITIES=compute,utility`."), safe=False
        ),
        Remedy(
            text=later("Take a toolkit's folder `stubs` off LD_LIBRARY_PATH, if it is there; it is for building only.")
        ),
        Remedy(
            text=later("On a host: ask the administrator for the driver's compute libraries in the driver's version."),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See whether the driver answers and whether the loader knows its library."),
        commands=(("nvidia-smi",), ("ldconfig", "-p")),
    ),
    explains=("cuda_does_not_start",),
)


RULE = Rule(
    code="DRV108",
    cause="cuda_driver_library_missing",
    title=later("The driver's CUDA library is missing"),
    needs=("machine.driver_layers",),
    check=check,
    rank=14,
    explains=("cuda_does_not_start",),
    log=LOG,
)
