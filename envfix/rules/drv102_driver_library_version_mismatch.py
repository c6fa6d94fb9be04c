"""The driver's files and the loaded kernel module are of different versions.

What it checks
    After an update of the driver packages the old kernel module stays loaded until a reboot. NVML then answers
    "Driver/library version mismatch" (error 18), and nothing can use the GPU. Inside a container the same happens when
    the image carries driver files of its own.

Why it matters
    The card and the packages are in order; no reinstallation of torch or CUDA can help.

How to fix
    Reboot (or unload and reload the nvidia modules while nothing uses the card). In a container, remove the driver packages
    from the image.

Sources
    NVML API reference (NVML_ERROR_LIB_RM_VERSION_MISMATCH).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

MISMATCH = "version mismatch"
NVML_CODE = 18
OWN_FILES = Remedy(
    text="If the host itself is well (nvidia-smi works there): remove the NVIDIA driver packages from this container's image.",
    safe=False,
)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del environment, tables
    layers = machine.driver_layers.value
    if layers is None:
        return
    said = f"{layers.nvml_problem or ''} {layers.smi or ''}"
    differ = layers.kernel is not None and layers.library is not None and layers.kernel != layers.library
    if layers.nvml_code != NVML_CODE and MISMATCH not in said and not (differ and layers.nvml == "error"):
        return
    versions = f" (files {layers.library}, loaded module {layers.kernel})" if differ else ""
    place = machine.platform.value
    in_container = place is not None and place.container is not None
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"The driver was updated, but its old kernel module is still loaded{versions}: the GPU cannot be used until it is"
        " reloaded.",
        because=(cite("machine.driver_layers", machine.driver_layers, layers.smi or layers.nvml_problem),),
        remedies=(
            Remedy(text="Reboot the machine (ask the administrator), then run `envfix diagnose` again.", safe=False),
            *((OWN_FILES,) if in_container else ()),
        ),
    )


RULE = Rule(
    code="DRV102",
    cause="driver_library_version_mismatch",
    title="Driver files and loaded kernel module differ",
    needs=("machine.driver_layers",),
    check=check,
    rank=10,
    explains=("cuda_unknown_error_uvm",),
)
