"""The driver answers, but its CUDA library (libcuda) is not there.

What it checks
    NVML works, and the loader finds no ``libcuda.so.1``, or only the stub of a CUDA toolkit, which is for linking alone. In a
    container this is what ``NVIDIA_DRIVER_CAPABILITIES=utility`` gives: nvidia-smi, and nothing to compute with. On a
    host the package with the compute libraries is not installed.

Why it matters
    nvidia-smi shows the card; torch says "Found no NVIDIA driver on your system".

How to fix
    In a container: start it with ``NVIDIA_DRIVER_CAPABILITIES=compute,utility``. On a host the administrator installs the compute
    package of the driver, in the driver's own version. A CUDA toolkit does not contain libcuda.

Sources
    NVIDIA container toolkit documentation (driver capabilities); NVIDIA driver packages of distributions.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import container, cuda_works, under_wsl
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
    seen = f"the loader takes {layers.libcuda}, a stub for linking" if stub else "the loader finds no libcuda.so.1"
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message="The driver answers, but its CUDA library libcuda.so.1 is not here: torch cannot see the card.",
        because=(
            cite("machine.driver_layers", machine.driver_layers, seen + (f"; {CAPABILITIES}={said}" if said else "")),
        ),
        remedies=(_remedy(machine, stub=stub),),
    )


def _remedy(machine: Machine, *, stub: bool) -> Remedy:
    if stub:
        return Remedy(text="Take the toolkit's folder `stubs` off LD_LIBRARY_PATH; it is for building only.")
    if container(machine):
        return Remedy(text=f"Start the container with `-e {CAPABILITIES}=compute,utility`.", safe=False)
    return Remedy(
        text="Ask the administrator to install the driver's compute libraries in the driver's version.", safe=False
    )


RULE = Rule(
    code="DRV108",
    cause="cuda_driver_library_missing",
    title="The driver's CUDA library is missing",
    needs=("machine.driver_layers",),
    check=check,
    rank=14,
    explains=("cuda_does_not_start",),
)
