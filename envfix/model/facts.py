"""What envfix knows of a machine and of one interpreter on it; every fact carries where it comes from."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

T = TypeVar("T")
# The problem of a fact that nobody asked for (`--no-import`): unknown, but by choice.
NOT_ASKED = "not asked"
# The problem of a fact that a pasted report never holds: nobody could have asked, and that is no doubt of this machine.
NOT_TOLD = "such a report does not say"


class Observed(msgspec.Struct, Generic[T], frozen=True, kw_only=True, omit_defaults=True):
    """A fact in one of three states: a value, *absent* (looked, it is not there) or *unknown* (could not look, and why)."""

    source: str
    value: T | None = None
    missing: Literal["absent", "unknown"] | None = None
    problem: str | None = None

    @property
    def is_absent(self) -> bool:
        """Looked, and it is not there."""
        return self.missing == "absent"

    @property
    def is_unknown(self) -> bool:
        """Could not look; ``problem`` says why."""
        return self.missing == "unknown"


def found(value: T, source: str) -> Observed[T]:
    """A fact with its source."""
    return Observed(source=source, value=value)


def absent(source: str, problem: str | None = None) -> Observed[T]:
    """Looked there, and it does not exist."""
    return Observed(source=source, missing="absent", problem=problem)


def unknown(source: str, problem: str) -> Observed[T]:
    """Could not look there, and why."""
    return Observed(source=source, missing="unknown", problem=problem)


# What a snapshot says of a fact that the envfix of its day did not ask for.
NOT_RECORDED: Observed[Any] = unknown("a snapshot of an older envfix", NOT_ASKED)


class Libc(msgspec.Struct, frozen=True, kw_only=True):
    """The C library: ``glibc`` or ``musl`` and its version; wheels name the oldest glibc they run on."""

    family: str
    version: str | None = None


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Operating system and processor. ``tag`` is the platform in wheel terms, such as ``linux_x86_64``."""

    system: str
    machine: str
    tag: str
    distribution: str | None = None
    kernel: str | None = None
    libc: Libc | None = None
    wsl: bool = False
    container: str | None = None
    jetson: str | None = None


class Driver(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The NVIDIA kernel driver. ``cuda`` is the newest CUDA it serves, which nvidia-smi prints as "CUDA Version"."""

    version: DriverVersion
    cuda: CudaVersion | None = None
    module: Literal["open", "proprietary"] | None = None


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A process that holds memory on a GPU (bytes); owner and command are unknown (None) when they cannot be read."""

    pid: int
    memory: int | None = None
    user: str | None = None
    command: str | None = None
    since: str | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One NVIDIA card; memory in bytes. Anything the driver did not answer is None."""

    index: int
    name: str
    uuid: str | None = None
    capability: ComputeCapability | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    pci_bus: str | None = None
    pci_id: str | None = None
    mig: bool | None = None
    processes: tuple[GpuProcess, ...] = ()


class DriverLayers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What each layer of the NVIDIA driver says, so that broken is never taken for absent.

    ``nvml`` is the driver's management library, ``kernel`` the version of the loaded kernel module, ``library`` that of
    the user-space files (they must be equal), ``smi`` what the nvidia-smi program said when it was asked.
    """

    nvml: Literal["works", "absent", "error", "no-answer"]
    nvml_code: int | None = None
    nvml_problem: str | None = None
    kernel: str | None = None
    library: str | None = None
    smi: str | None = None
    smi_exit: int | None = None
    device_nodes: tuple[str, ...] = ()


class Display(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A display or compute controller seen on the PCI bus, by vendor and device number (hexadecimal, lower case)."""

    vendor: str
    vendor_id: str
    device_id: str
    bus: str
    name: str | None = None


class Toolkit(msgspec.Struct, frozen=True, kw_only=True):
    """A CUDA toolkit on disk (nvcc and headers); several may coexist."""

    nvcc: str
    version: CudaVersion
    release: str
    found_by: str


class HostCompiler(msgspec.Struct, frozen=True, kw_only=True):
    """A C or C++ compiler that nvcc could call."""

    name: str
    path: str
    version: str


class CondaInstall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """conda, mamba or micromamba: which program answers, and which channels its configuration files name."""

    program: str | None = None
    version: str | None = None
    active_prefix: str | None = None
    active_name: str | None = None
    configuration_files: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()


class PackageSource(msgspec.Struct, frozen=True, kw_only=True):
    """One place pip is told to take packages from, and where that is configured.

    ``kind`` is ``index`` (replaces the default), ``extra-index`` or ``find-links``; ``location`` has no credentials.
    """

    kind: Literal["index", "extra-index", "find-links", "no-index"]
    location: str
    configured_in: str


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a command name on PATH really is.

    ``path`` is the first hit on PATH, ``real`` the file behind it; ``interpreter`` is the Python that its first line
    names, ``prefix`` the environment it belongs to. ``problem`` says why it cannot run (None: nothing was seen).
    """

    name: str
    path: str
    real: str
    kind: Literal["program", "script", "shim", "wrapper"]
    interpreter: str | None = None
    prefix: str | None = None
    problem: str | None = None


class DeviceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands between a loaded driver and a program that wants the card: modules, device files, services, faults.

    ``modules`` are the loaded kernel modules of interest (nvidia, nvidia_uvm, nouveau); None: not readable.
    """

    modules: tuple[str, ...] | None = None


class Scheduler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The batch system or orchestrator that decides which cards this shell may see, and what it granted."""

    kind: Literal["slurm", "pbs", "lsf", "kubernetes"]
    job: str | None = None
    granted: str | None = None


class Disk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Room at a place that installing needs (bytes): the prefix, a package cache, the temporary folder, /dev/shm."""

    purpose: Literal["prefix", "pip cache", "uv cache", "temporary files", "shared memory"]
    path: str
    free: int | None = None
    total: int | None = None
    writable: bool = True
    problem: str | None = None


class Resources(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Main memory (bytes; ``memory_limit`` is what a control group allows, None: no limit) and disks."""

    memory_total: int | None = None
    memory_available: int | None = None
    memory_limit: int | None = None
    disks: tuple[Disk, ...] = ()


class NativeLibrary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A CUDA, cuDNN, NCCL or C++ library that the loader finds outside the target; ``found_by`` is LD_LIBRARY_PATH, ldconfig ..."""

    name: str
    path: str
    found_by: str
    version: str | None = None


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides how packages are fetched: proxies, certificates and time limits, each with where it is set (no secrets)."""

    proxies: dict[str, str] = {}
    certificates: dict[str, str] = {}
    options: dict[str, str] = {}


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is true of the machine, whatever interpreter is looked at."""

    platform: Observed[Platform]
    driver: Observed[Driver]
    gpus: Observed[tuple[Gpu, ...]]
    driver_layers: Observed[DriverLayers]
    displays: Observed[tuple[Display, ...]]
    toolkits: Observed[tuple[Toolkit, ...]]
    host_compilers: Observed[tuple[HostCompiler, ...]]
    conda: Observed[CondaInstall]
    commands: Observed[tuple[Command, ...]] = NOT_RECORDED
    device_state: Observed[DeviceState] = NOT_RECORDED
    scheduler: Observed[Scheduler] = NOT_RECORDED
    resources: Observed[Resources] = NOT_RECORDED
    libraries: Observed[tuple[NativeLibrary, ...]] = NOT_RECORDED
    network: Observed[NetworkSettings] = NOT_RECORDED
    variables: dict[str, str] = {}


class Interpreter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The target: one Python interpreter, as it describes itself when run the way the user runs it."""

    executable: str
    asked: str
    version: str
    implementation: str
    tag: str
    abi_tag: str
    platform_tag: str
    bits: int
    prefix: str
    base_prefix: str
    kind: Literal["venv", "conda", "base", "system", "unknown"]
    site_packages: tuple[str, ...] = ()
    user_site: str | None = None
    user_site_enabled: bool = False
    externally_managed: bool = False
    writable: bool | None = None
    search_path: tuple[str, ...] = ()
    shadows: tuple[str, ...] = ()


class Distribution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed distribution by its metadata folder; ``missing_files`` counts RECORD entries that are gone."""

    name: str
    version: str
    location: str
    installer: str | None = None
    direct_url: str | None = None
    requires: tuple[str, ...] = ()
    missing_files: int = 0
    listed_files: int = 0


class TorchBuild(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed torch, read from its files: ``build`` is torch.version.__version__ (with the label pip loses).

    ``cuda`` is the runtime it carries (None: a CPU or ROCm build), ``sm`` what its binaries run on (None: not readable).
    """

    version: str
    build: str
    location: str
    cuda: CudaVersion | None = None
    hip: str | None = None
    sm: tuple[ComputeCapability, ...] | None = None
    ptx: tuple[ComputeCapability, ...] = ()

    @property
    def variant(self) -> str:
        """The wheel variant in the field's words: ``cu118``, ``cpu`` or ``rocm``."""
        if self.cuda is not None:
            return self.cuda.variant
        return "rocm" if self.hip else "cpu"


class VisionBuild(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed torchvision, read from its files; ``torch_pin`` is the torch its metadata asks for."""

    version: str
    build: str
    cuda: CudaVersion | None = None
    torch_pin: str | None = None


class TorchImport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one real ``import torch`` in the target said (bounded in time)."""

    ok: bool
    seconds: float
    error: str | None = None
    version: str | None = None
    cuda_available: bool | None = None
    cuda_problem: str | None = None
    foreign_libraries: tuple[str, ...] = ()


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """Another interpreter near by that does have torch, found by files."""

    prefix: str
    torch: str


class Startup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What changes where the target looks for modules before a program starts: path files and customising modules."""

    path_files: tuple[str, ...] = ()
    customised_by: tuple[str, ...] = ()


class CondaRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A package that conda believes to be installed in the prefix, against the files it lists (``missing_files`` are gone)."""

    name: str
    version: str
    build: str
    channel: str | None = None
    listed_files: int = 0
    missing_files: int = 0


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is true of one target interpreter."""

    interpreter: Observed[Interpreter]
    distributions: Observed[tuple[Distribution, ...]]
    torch: Observed[TorchBuild]
    torchvision: Observed[VisionBuild]
    torch_import: Observed[TorchImport]
    package_sources: Observed[tuple[PackageSource, ...]]
    elsewhere: Observed[tuple[Elsewhere, ...]]
    startup: Observed[Startup] = NOT_RECORDED
    conda_records: Observed[tuple[CondaRecord, ...]] = NOT_RECORDED


class IndexState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a package index answered just now, and what it holds of torch.

    ``name`` is ``official``, ``pypi``, a mirror's name or ``find-links``; ``files`` are torch-family wheel names seen
    (None: not listed). ``seconds`` is how long the answer took.
    """

    name: str
    location: str
    reachable: bool
    configured_in: str | None = None
    problem: str | None = None
    seconds: float | None = None
    files: tuple[str, ...] | None = None
