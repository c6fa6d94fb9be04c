"""The driver's files and the loaded kernel module are of different versions.

What you see
    "Failed to initialize NVML: Driver/library version mismatch" from nvidia-smi, "API mismatch: the client has the
    version ..., but this kernel module has the version ..." in the kernel's log, and from torch "Error 803: system
    has unsupported display driver / cuda driver combination".

Why
    After an update of the driver packages the old kernel module stays loaded until a reboot, and nothing can use
    the GPU. Inside a container the same happens when the image carries driver files of its own. The card and the
    packages are in order.

How envfix knows
    NVML's answer (error 18), the version of the loaded module against that of the driver's files; in a log the
    texts above.

How to mend
    Reboot (or unload and reload the nvidia modules while nothing uses the card). In a container, remove the driver
    packages from the image.

What not to do
    Do not reinstall CUDA or torch, and do not restart only the container: the module belongs to the host.

Sources
    NVML API reference (NVML_ERROR_LIB_RM_VERSION_MISMATCH).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.model.versions import DriverVersion
from envfix.rules._cards import is_compat, running_version
from envfix.rules._devices import container, cuda_works, torch_said, under_wsl
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

MISMATCH = "version mismatch"
NVML_CODE = 18
OWN_FILES = Remedy(
    text=later(
        "If the host itself is well (nvidia-smi works there): remove NVIDIA driver packages from"
        " this container's image and start it again, so that it gets the host's files."
    ),
    safe=False,
)
REBOOT = Remedy(text=later("Reboot the machine (ask the administrator), then run `envfix diagnose` again."), safe=False)


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers = machine.driver_layers.value
    if layers is None or cuda_works(environment):
        return
    said = torch_said(environment, "Error 803", "unsupported display driver / cuda driver combination")
    if not (_nvml_says(layers) or _libcuda_differs(machine, layers) or (said and not is_compat(machine))):
        return
    inside, versions = container(machine) is not None, _versions(layers, machine)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=_message(versions, inside=inside),
        because=(
            *((said,) if said else ()),
            cite("machine.driver_layers", machine.driver_layers, layers.smi or layers.nvml_problem or versions),
        ),
        remedies=(REBOOT, OWN_FILES) if inside else (REBOOT,),
    )


def _nvml_says(layers: DriverLayers) -> bool:
    said = f"{layers.nvml_problem or ''} {layers.smi or ''}"
    differ = layers.kernel is not None and layers.library is not None and layers.kernel != layers.library
    return layers.nvml_code == NVML_CODE or MISMATCH in said or (differ and layers.nvml == "error")


def _libcuda_differs(machine: Machine, layers: DriverLayers) -> bool:
    """Whether NVML fits the module and libcuda does not: two driver packages side by side, in a container or on a host."""
    running = running_version(machine)
    if layers.nvml != "works" or running is None or layers.libcuda_version is None or under_wsl(machine):
        return False
    return DriverVersion.parse(layers.libcuda_version) != running and not is_compat(machine)


def _message(versions: str | None, *, inside: bool) -> str:
    behind = say(" ({aside})", aside=versions) if versions else ""
    if inside:
        return say(
            "The driver files in this container do not fit the host's kernel module{behind}: the GPU cannot be used.",
            behind=behind,
        )
    return say(
        "The driver was updated, but its old kernel module is still loaded{behind}: the GPU"
        " cannot be used until it is reloaded.",
        behind=behind,
    )


def _versions(layers: DriverLayers, machine: Machine) -> str | None:
    loaded = layers.kernel or str(running_version(machine) or "")
    files = layers.library if layers.library != loaded else layers.libcuda_version
    if not files or not loaded or files == loaded:
        return None
    return say("files {files}, loaded module {kernel}", files=files, kernel=loaded)


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"API mismatch: (?:this is a |the )?client (?:has the version "
            r"|\(?version )(?P<client>\d{3}\.[\d.]*\d)[^\n]{0,80}\n?[^\n]{0,60}"
            r"(?:kernel )?(?:module|component)[^\n\d]{0,40}(?P<kernel>\d{3}\.[\d.]*\d)",
            confidence=0.97,
        ),
        Signature(pattern=r"NVRM: API mismatch", confidence=0.95),
        Signature(
            pattern=r"(?i)driver/library version mismatch(?: NVML library version: (?P<client>\d{3}[\d.]*))?",
            confidence=0.96,
        ),
        Signature(
            pattern=r"RM has detected an NVML/RM version mismatch|NVMLError_LibRmVersionMismatch", confidence=0.95
        ),
        Signature(
            pattern=r"kernel version (?P<kernel>\d{3}\.[\d.]*\d) does not match DSO version (?P<client>\d{3}\.[\d.]*\d)",
            confidence=0.95,
        ),
        Signature(
            pattern=r"(?:(?:(?:Unexpected error from cudaGetDeviceCount\(\)\. )?Did you run some cuda functions before "
            r"calling NumCudaDevices\(\) )?that might have already set an error\? )?(?:Error 803: )?(?:system has "
            r")?unsupported display driver\s?/\s?cuda driver combination|cudaErrorSystemDriverMismatch"
            r"|(?:failed call to \w+: |Call to \w+ results in )?CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
            r"|[Ee]rror 803\b",
            confidence=0.88,
        ),
        # The image carries files that the toolkit wants to put there.
        Signature(
            pattern=r"mount error: file creation failed: [^\n]{0,200}lib(?:nvidia|cuda)[^\n]{0,60}: file exists",
            confidence=0.8,
        ),
    ),
    message=(
        (
            later(
                "The driver's files are of version {client}, the loaded kernel module of {kernel}:"
                " nothing can use the GPU until both are the same."
            )
        ),
        (
            later(
                "The driver's files ({client}) and the loaded kernel module are of different"
                " versions: nothing can use the GPU until both are the same."
            )
        ),
        (
            later(
                "The driver's files and the loaded kernel module are of different versions:"
                " nothing can use the GPU until both are the same."
            )
        ),
    ),
    remedies=(REBOOT, OWN_FILES),
    explains=(
        "no_nvidia_gpu",
        "container_without_gpu",
        "nvidia_kernel_module_not_loaded",
        "cuda_unknown_error_uvm",
        "cuda_does_not_start",
        "container_lost_gpu_cgroup",
        "cuda_compat_unsupported_hw",
    ),
)


RULE = Rule(
    code="DRV102",
    cause="driver_library_version_mismatch",
    title=later("Driver files and loaded kernel module differ"),
    needs=("machine.driver_layers",),
    check=check,
    rank=10,
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start"),
    log=LOG,
)
