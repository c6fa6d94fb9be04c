"""What envfix knows of a machine and of one interpreter on it; every fact carries where it comes from."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec

from envfix.model.language import later, stated
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

T = TypeVar("T")
# The problem of a fact that nobody asked for (`--no-import`): unknown, but by choice.
NOT_ASKED = later("not asked")
# The problem of a fact that a pasted report never holds: nobody could have asked, and that is no doubt of this machine.
NOT_TOLD = later("such a report does not say")


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
NOT_RECORDED: Observed[Any] = unknown(stated("a snapshot of an older envfix"), NOT_ASKED)


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
    """A process that holds memory on a GPU (bytes); owner and command are unknown (None) when they cannot be read.

    ``own`` says whether it belongs to the user who runs envfix.
    """

    pid: int
    memory: int | None = None
    user: str | None = None
    command: str | None = None
    since: str | None = None
    own: bool | None = None


class MigInstance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One slice of a card in MIG mode (memory in bytes); a process can use a single one, named by its UUID."""

    uuid: str
    name: str | None = None
    memory_total: int | None = None
    memory_free: int | None = None


ComputeMode = Literal["default", "exclusive-thread", "exclusive-process", "prohibited"]
Virtualization = Literal["none", "passthrough", "vgpu", "host-vgpu", "host-vsga"]
FabricState = Literal["not-supported", "not-started", "in-progress", "completed"]


class GpuActivity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a card does at this moment: watts, degrees Celsius, percent. Anything the driver did not answer is None.

    ``performance_state`` is the number in P0 (fastest) to P15, ``slowed_by`` what holds the clocks down now (empty: nothing).
    """

    performance_state: int | None = None
    utilization: int | None = None
    temperature: int | None = None
    fan: int | None = None
    power: float | None = None
    power_limit: float | None = None
    slowed_by: tuple[str, ...] | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One NVIDIA card; memory in bytes. Anything the driver did not answer is None.

    ``ecc_errors`` counts uncorrectable memory errors since the driver was loaded, ``repair`` says that damaged memory
    waits to be taken out of use at the next reset (``pending``) or can no longer be (``failed``). ``licensed`` is asked of
    a vGPU only; ``fabric`` is how far the NVSwitch fabric has come with this card. ``memory_reserved`` is what the driver
    and the card's firmware keep of it, which newer drivers tell apart from what programs use.
    """

    index: int
    name: str
    uuid: str | None = None
    capability: ComputeCapability | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    pci_bus: str | None = None
    pci_id: str | None = None
    mig: bool | None = None
    mig_instances: tuple[MigInstance, ...] = ()
    compute_mode: ComputeMode | None = None
    persistence: bool | None = None
    display_active: bool | None = None
    ecc: bool | None = None
    ecc_errors: int | None = None
    repair: Literal["pending", "failed"] | None = None
    virtualization: Virtualization | None = None
    licensed: bool | None = None
    fabric: FabricState | None = None
    memory_reserved: int | None = None
    activity: GpuActivity | None = None
    processes: tuple[GpuProcess, ...] = ()

    @property
    def visible_as(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it: its UUID, in MIG mode that of the instance with most free memory."""
        if self.mig and self.mig_instances:
            return max(self.mig_instances, key=lambda one: (one.memory_free or 0, one.memory_total or 0)).uuid
        return self.uuid or str(self.index)


class UnopenedCard(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A card that NVML counts but does not open, with its error (4: not permitted, 15: lost, 16: needs a reset)."""

    index: int
    code: int | None = None
    problem: str | None = None


class DeviceFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of /dev/nvidia* with its mode (``crw-rw----``) and owners; ``usable``: this user may read and write it.

    ``in_group`` says whether this user is a member of the file's group now, ``listed`` whether the account is listed
    there (a membership counts only from the next login on).
    """

    path: str
    mode: str
    owner: str
    group: str
    usable: bool
    in_group: bool = False
    listed: bool = False


class DriverLayers(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What each layer of the NVIDIA driver says, so that broken is never taken for absent.

    ``nvml`` is the driver's management library, ``kernel`` the version of the loaded kernel module, ``library`` that of
    the user-space files (they must be equal), ``smi`` what the nvidia-smi program said when it was asked. ``libcuda`` is
    the file that the loader takes for libcuda.so.1 (empty: none), ``libcuda_cuda`` the newest CUDA it serves, ``libcuda_bare``
    whether ``libcuda.so`` without a number loads (asked under WSL only). ``control_error`` is the error number of opening
    /dev/nvidiactl, which NVML does first (asked only when NVML fails). ``kernel_log`` holds the driver's own complaints.
    """

    nvml: Literal["works", "absent", "error", "no-answer"]
    nvml_code: int | None = None
    nvml_problem: str | None = None
    kernel: str | None = None
    library: str | None = None
    smi: str | None = None
    smi_exit: int | None = None
    device_nodes: tuple[str, ...] = ()
    unopened: tuple[UnopenedCard, ...] = ()
    files: tuple[DeviceFile, ...] = ()
    control_error: int | None = None
    libcuda: str | None = None
    libcuda_version: str | None = None
    libcuda_cuda: CudaVersion | None = None
    libcuda_bare: bool | None = None
    kernel_log: tuple[str, ...] = ()

    def __str__(self) -> str:
        code = "" if self.nvml_code is None else f" (code {self.nvml_code})"
        return f"NVML: {self.nvml}{code}, library: {self.library or 'none'}, kernel module: {self.kernel or 'none'}"


class Display(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A display or compute controller seen on the PCI bus, by vendor and device number (hexadecimal, lower case).

    ``driver`` is the kernel driver that holds it (nvidia, nouveau, vfio-pci ...), None where none does or none is told.
    """

    vendor: str
    vendor_id: str
    device_id: str
    bus: str
    name: str | None = None
    driver: str | None = None


class Toolkit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A CUDA toolkit on disk (nvcc and headers); several may coexist. ``found_by`` names every way that leads to it.

    ``gcc_max`` and ``clang_max`` are the newest major versions that its own header ``limits_from`` accepts, ``msc`` the
    range of ``_MSC_VER`` (both ends included); None: the header does not say, or there is none.
    """

    nvcc: str
    version: CudaVersion
    release: str
    found_by: str
    gcc_max: int | None = None
    clang_max: int | None = None
    msc: tuple[int, int] | None = None
    limits_from: str | None = None


class HostCompiler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A C or C++ compiler that nvcc could call; ``chosen_by`` are the variables that name it (None: it is found by name)."""

    name: str
    path: str
    version: str
    chosen_by: str | None = None


class CondaSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What conda's configuration files and variables say together, the strongest first; no secrets.

    Names of channels become addresses by ``mirrored_channels``, ``custom_channels``, ``default_channels`` and
    ``channel_alias``; ``set_in`` tells for each key the file or variable that set it. Left out: not configured.
    """

    channels: tuple[str, ...] = ()
    default_channels: tuple[str, ...] = ()
    custom_channels: dict[str, str] = {}
    mirrored_channels: dict[str, tuple[str, ...]] = {}
    channel_alias: str | None = None
    channel_priority: str | None = None
    solver: str | None = None
    ssl_verify: str | None = None
    proxies: dict[str, str] = {}
    read_timeout: str | None = None
    offline: bool = False
    set_in: dict[str, str] = {}
    problems: tuple[str, ...] = ()


class ChannelState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a conda channel answered just now at one of its addresses; ``suggested``: not configured, but it would work."""

    name: str
    location: str
    reachable: bool
    problem: str | None = None
    suggested: bool = False


class CondaInstall(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """conda, mamba or micromamba: which program answers, and what its configuration files say.

    ``libmamba``: the fast solver is installed beside conda (None: not known). ``states`` is empty unless they were asked.
    """

    program: str | None = None
    version: str | None = None
    active_prefix: str | None = None
    active_name: str | None = None
    configuration_files: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    settings: CondaSettings | None = None
    libmamba: bool | None = None
    states: tuple[ChannelState, ...] = ()


class PackageSource(msgspec.Struct, frozen=True, kw_only=True):
    """One place pip is told to take packages from, and where that is configured.

    ``kind`` is ``index`` (replaces the default), ``extra-index`` or ``find-links``; ``location`` has no credentials.
    """

    kind: Literal["index", "extra-index", "find-links", "no-index"]
    location: str
    configured_in: str


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a command name on PATH really is.

    ``path`` is the first hit on PATH, ``real`` the file behind it; ``interpreter`` is the Python that it starts in the
    end, ``prefix`` the environment that one belongs to, as real folder (None: its files do not say). ``problem`` says
    why it cannot run (None: nothing was seen). ``later`` are further hits on PATH, which the first one hides.
    """

    name: str
    path: str
    real: str
    kind: Literal["program", "script", "shim", "wrapper"]
    interpreter: str | None = None
    prefix: str | None = None
    problem: str | None = None
    later: tuple[str, ...] = ()


class ContainerTools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What this host needs to give its GPUs to containers: engines on PATH, NVIDIA's programs and their configuration.

    ``runtime`` says whether docker's daemon.json names an nvidia runtime; ``cdi`` are device descriptions.
    """

    engines: tuple[str, ...] = ()
    toolkit: tuple[str, ...] = ()
    runtime: bool = False
    cdi: tuple[str, ...] = ()


class DeviceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stands between a loaded driver and a program that wants the card: modules, device files, services, faults.

    ``modules`` are the loaded kernel modules of interest (nvidia, nvidia_uvm, nouveau); None: not readable. The next
    two are asked only where no nvidia module is loaded: ``module_files`` are nvidia modules built for the running kernel,
    ``other_kernels`` the kernels that have one. ``nvswitches`` counts NVSwitch bridges, ``fabric_manager`` says whether
    their service runs (None: it cannot be seen from here). ``suspended`` counts suspensions since the start.
    """

    modules: tuple[str, ...] | None = None
    module_files: tuple[str, ...] = ()
    other_kernels: tuple[str, ...] = ()
    secure_boot: bool | None = None
    suspended: int | None = None
    modprobe: str | None = None
    nvswitches: int = 0
    fabric_manager: bool | None = None
    wsl_libraries: tuple[str, ...] = ()
    containers: ContainerTools | None = None


class Scheduler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The batch system or orchestrator that decides which cards this shell may see, and what it granted.

    ``job`` is None outside a job (a login node). ``granted`` is how it names the cards of the job, empty for a job that
    was given none, None where it does not tell.
    """

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


class NetworkSetting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One setting that decides how packages are fetched, where it is set, and what is wrong with it (None: nothing seen)."""

    kind: Literal["proxy", "certificates", "option"]
    tool: Literal["everything", "pip", "uv", "conda"]
    name: str
    value: str
    configured_in: str
    problem: str | None = None


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides how packages are fetched: proxies, certificates, time limits and strategies; no secrets."""

    settings: tuple[NetworkSetting, ...] = ()

    def of(self, kind: str, tool: str | None = None, name: str | None = None) -> tuple[NetworkSetting, ...]:
        """The settings of one kind, of one tool and name where they are given."""
        return tuple(
            one for one in self.settings if one.kind == kind and tool in (None, one.tool) and name in (None, one.name)
        )


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
    """The target: one Python interpreter, as it describes itself when run the way the user runs it.

    ``started`` is the path that was run: a wrapper's differs from ``executable``. ``scripts`` is where pip puts commands.
    ``shadows`` are files of the working folder that hide modules of the same name from programs started there.
    """

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
    started: str | None = None
    scripts: str | None = None
    # Why its ssl module does not load (None: it does, or the answer is of an older envfix).
    ssl_problem: str | None = None
    # Whether its Python.h is there (None: not asked).
    headers: bool | None = None
    # Whether its standard library can put pip into it (None: not asked).
    ensurepip: bool | None = None


class Distribution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An installed distribution by its metadata folder; ``missing_files`` counts RECORD entries that are gone.

    Of those, ``missing_code`` counts modules and libraries, and ``missing_examples`` names some, libraries first.
    ``build`` is the ``__version__`` in its version.py, ``tags`` the platforms of its wheel, ``modified`` when its metadata
    was written (seconds since 1970). All but name, version and location are read for what torch depends on only.
    """

    name: str
    version: str
    location: str
    installer: str | None = None
    direct_url: str | None = None
    requires: tuple[str, ...] = ()
    missing_files: int = 0
    listed_files: int = 0
    missing_code: int = 0
    missing_examples: tuple[str, ...] = ()
    metadata: str | None = None
    modified: float | None = None
    build: str | None = None
    tags: tuple[str, ...] = ()


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
    """What one real ``import torch`` in the target said (bounded in time).

    ``foreign_libraries`` are CUDA libraries that it loaded from outside the environment; ``numpy_problem`` is what torch
    said when it was to hand an array to NumPy.
    """

    ok: bool
    seconds: float
    error: str | None = None
    version: str | None = None
    cuda_available: bool | None = None
    cuda_problem: str | None = None
    numpy_problem: str | None = None
    foreign_libraries: tuple[str, ...] = ()


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Another place near by that does have torch, found by files; the likeliest to be meant comes first.

    ``python`` runs it (None: none in that place does), ``python_version`` is the ``3.8`` of its folder; ``record`` is
    what ``conda list`` shows of torch there, ``activate`` the script that activates a virtual environment. ``kind`` is
    how it was found: ``active`` in this shell, the environment that was ``asked`` for, of a ``command`` on PATH, in the
    working ``folder`` or above it ...
    """

    prefix: str
    torch: str
    kind: Literal["active", "asked", "command", "folder", "conda", "pyenv", "user", "system"] | None = None
    python: str | None = None
    python_version: str | None = None
    record: str | None = None
    conda: bool = False
    activate: str | None = None


class ActiveEnvironment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An environment that a variable declares active: whether it exists, and whether the target's Python is its own.

    ``python`` is its own Python (None: it has none), ``conda_record`` what ``conda list`` shows of torch there.
    """

    variable: str
    prefix: str
    is_target: bool
    exists: bool = True
    python: str | None = None
    conda_record: str | None = None
    conda: bool = False
    activate: str | None = None


class ModuleCopy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One copy of a module on the target's path, in the order in which Python looks.

    ``kind``: a ``package``, a ``module`` (one file), or a ``folder`` that Python takes only where there is nothing else.
    ``built_for`` are the endings of its compiled core: ``cpython-311-x86_64-linux-gnu``.
    """

    name: str
    location: str
    kind: Literal["package", "module", "folder"]
    version: str | None = None
    user_site: bool = False
    built_for: tuple[str, ...] = ()


class PathFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A .pth file of the target that adds folders to its path or runs code at every start."""

    path: str
    adds: tuple[str, ...] = ()
    runs_code: bool = False


class Startup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What decides which interpreter runs and where it looks for modules before a program starts.

    ``home`` is the real folder that the target's commands belong to, to be compared with ``Command.prefix``.
    ``bypassed`` is the environment in which the Python that was started lies, when it runs another one. ``copies`` are
    the copies of torch and what it needs on the path; ``own_commands`` the entry points in the target's folders of
    commands. ``aliases`` are those of the user's shell files that name such a command. ``conda_roots`` are the conda
    installations near by, ``shell`` the user's login shell, ``uv`` the uv on PATH (asked where the target has no pip only).
    ``variables`` are those that steer Python, pip and conda.
    The commit limit of Windows is in bytes, its script policy in PowerShell's word (None: not set).
    """

    home: str | None = None
    path_files: tuple[PathFile, ...] = ()
    customised_by: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    active: tuple[ActiveEnvironment, ...] = ()
    bypassed: ActiveEnvironment | None = None
    copies: tuple[ModuleCopy, ...] = ()
    abi: str | None = None
    own_commands: tuple[Command, ...] = ()
    aliases: dict[str, str] = {}
    conda_roots: tuple[str, ...] = ()
    uv: str | None = None
    shell: str | None = None
    working_folder: str | None = None
    windows_long_paths: bool | None = None
    windows_missing_dlls: tuple[str, ...] = ()
    windows_script_policy: str | None = None
    windows_commit_limit: int | None = None


class CondaRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A package that conda believes to be installed in the prefix, against the files it lists (``missing_files`` are gone)."""

    name: str
    version: str
    build: str
    channel: str | None = None
    listed_files: int = 0
    missing_files: int = 0
    missing_examples: tuple[str, ...] = ()
    prefix: str | None = None


class Binary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A compiled library of the target that belongs to torch or is built upon it, as its own ELF header tells.

    ``unresolved`` are libraries it needs which lie nowhere that the loader looks; ``missing_symbols`` are names it takes
    from torch which the installed torch does not have (some of them; None: not told). ``cuda`` is the major number of
    the CUDA libraries it needs. ``glibc`` and ``glibcxx`` are the newest versions of the C and C++ library it asks for.
    """

    path: str
    package: str
    needs: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    missing_symbols: tuple[str, ...] | None = None
    cuda: int | None = None
    glibc: str | None = None
    glibcxx: str | None = None
    sm: tuple[ComputeCapability, ...] | None = None
    ptx: tuple[ComputeCapability, ...] = ()


class CppLibrary(msgspec.Struct, frozen=True, kw_only=True):
    """A libstdc++ that the target may load, in the loader's order; ``glibcxx`` is the newest version it offers."""

    path: str
    glibcxx: str | None


class Binaries(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the compiled files of the target need and offer.

    ``openmp`` are copies of the Intel and LLVM OpenMP libraries, ``bundled`` names the CUDA libraries that came with torch
    (file names), ``built_for`` says for which torch an extension was built where it says so itself ("xformers": "2.1.2+cu121"),
    ``pkg_resources_wanted_by`` names installed packages whose start imports pkg_resources, ``pkg_resources`` whether it is there.
    ``cpu_flags`` are the instruction sets of interest that the processor offers (None: not told).
    """

    files: tuple[Binary, ...] = ()
    cpp_libraries: tuple[CppLibrary, ...] = ()
    openmp: tuple[str, ...] = ()
    bundled: tuple[str, ...] = ()
    built_for: dict[str, str] = {}
    pkg_resources: bool = False
    pkg_resources_wanted_by: tuple[str, ...] = ()
    cpu_flags: tuple[str, ...] | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is true of one target interpreter; ``held`` are the pins and bounds that envfix has left to keep torch."""

    interpreter: Observed[Interpreter]
    distributions: Observed[tuple[Distribution, ...]]
    torch: Observed[TorchBuild]
    torchvision: Observed[VisionBuild]
    torch_import: Observed[TorchImport]
    package_sources: Observed[tuple[PackageSource, ...]]
    elsewhere: Observed[tuple[Elsewhere, ...]]
    startup: Observed[Startup] = NOT_RECORDED
    conda_records: Observed[tuple[CondaRecord, ...]] = NOT_RECORDED
    binaries: Observed[Binaries] = NOT_RECORDED
    disk: Observed[Disk] = NOT_RECORDED
    held: Observed[tuple[str, ...]] = NOT_RECORDED


class IndexState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a package index answered just now, and what it holds of torch.

    ``name`` is ``official``, ``pypi``, a mirror's name, ``find-links`` or the address given; ``files`` are torch-family
    wheel names seen (None: not listed). A ``tree`` has a page for each variant, of which ``pages`` were asked (None: not
    asked by page); ``flat``: these are lists of files. ``seconds`` is how long the answer took, ``age`` how many seconds
    ago it was given (None: now).
    """

    name: str
    location: str
    reachable: bool
    configured_in: str | None = None
    problem: str | None = None
    seconds: float | None = None
    files: tuple[str, ...] | None = None
    layout: Literal["index", "find-links", "tree"] = "index"
    pages: tuple[str, ...] | None = None
    flat: bool = False
    age: float | None = None
