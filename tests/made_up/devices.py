"""Drivers, cards, containers, memory and batch systems: what keeps a program off a card that is there."""

from __future__ import annotations

import errno
from typing import Any

import msgspec

from envfix.model.facts import (
    ContainerTools,
    DeviceFile,
    DeviceState,
    Disk,
    Display,
    Driver,
    DriverLayers,
    Environment,
    GpuProcess,
    Machine,
    MigInstance,
    Observed,
    Resources,
    Scheduler,
    TorchImport,
    UnopenedCard,
    absent,
    found,
    unknown,
)
from envfix.model.versions import CudaVersion, DriverVersion
from tests.made_up import (
    BROKEN,
    FULL,
    GIB,
    IDLE,
    NO_TORCH,
    RADEON,
    RTX_3090,
    HandMade,
    card,
    environment,
    layers,
    machine,
    placed,
    torch,
    vision,
)

MIB = 1024**2
NODES = ("/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
NO_UVM = NODES[:2]
IN_DOCKER: dict[str, Any] = {"platform": placed(container="docker")}
IN_WSL: dict[str, Any] = {"platform": placed(wsl=True)}
ON_JETSON: dict[str, Any] = {
    "platform": placed(machine="aarch64", tag="linux_aarch64", jetson="R35.4.1"),
    "driver": absent("/etc/nv_tegra_release"),
    "gpus": found((card("Orin", "8.7", None, None),), "libcuda"),
    "displays": absent("/sys/bus/pci"),
}
H100 = "NVIDIA H100 80GB HBM3"
INSTANCES = (
    MigInstance(uuid="MIG-00000000-0000-0000-0000-000000000001", name="MIG 1g.5gb"),
    MigInstance(uuid="MIG-00000000-0000-0000-0000-000000000002", name="MIG 1g.5gb"),
)
HELD = (GpuProcess(pid=4242, user="li", command="python train.py"),)
XID_79 = "NVRM: Xid (PCI:0000:01:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
XID_31 = "NVRM: Xid (PCI:0000:01:00): 31, pid=4242, name=python, Ch 00000008, intr 10000000. MMU Fault"
INIT_FAILED = "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x26:0x56:1463)"
REQUIRED = (
    "cuda>=12.8 brand=unknown,driver>=470,driver<471 brand=tesla,driver>=470,driver<471"
    " brand=unknown,driver>=550,driver<551 brand=tesla,driver>=550,driver<551"
)
NO_LIBCUDA = TorchImport(ok=False, seconds=1.0, error="ImportError: libcuda.so: cannot open shared object file")


def works(**said: Any) -> Observed[DriverLayers]:
    """A driver that answers."""
    return layers(**{"nvml": "works", "kernel": "455.23.05", "library": "455.23.05", "device_nodes": NODES, **said})


def state(**said: Any) -> Observed[DeviceState]:
    return found(DeviceState(**{"modules": ("nvidia", "nvidia_uvm"), **said}), "/proc/modules")


def said(problem: str | None, *, available: bool = False) -> Environment:
    """An environment whose torch was imported, with what it said of CUDA."""
    imported = TorchImport(ok=True, seconds=1.0, cuda_available=available, cuda_problem=problem)
    return environment(torch_import=found(imported, "import torch"))


def file(path: str, *, usable: bool = False, mode: str = "crw-rw----", **more: Any) -> DeviceFile:
    return DeviceFile(path=path, **{"mode": mode, "owner": "root", "group": "video", "usable": usable, **more})


def memory(*, shared: int | None = None, **said: int) -> Observed[Resources]:
    """Main memory in GiB, /dev/shm in MiB."""
    disks = (Disk(purpose="shared memory", path="/dev/shm", total=shared * MIB),) if shared is not None else ()
    return found(Resources(**{name: int(value * GIB) for name, value in said.items()}, disks=disks), "/proc/meminfo")


def visible(value: str) -> dict[str, Any]:
    return {"variables": {"CUDA_VISIBLE_DEVICES": value}}


def job(kind: Any = "slurm", number: str | None = "77", granted: str | None = "") -> Observed[Scheduler]:
    return found(Scheduler(kind=kind, job=number, granted=granted), "SLURM_*")


def driver(version: str, cuda: str | None = None, module: Any = None) -> Observed[Driver]:
    value = Driver(version=DriverVersion.parse(version), cuda=CudaVersion.parse(cuda) if cuda else None, module=module)
    return found(value, "NVML")


def held(**more: Any) -> tuple[Display, ...]:
    return (msgspec.structs.replace(RTX_3090, **more),)


TWO = (card(), card(index=1))
OTHER_ID = "GPU-11111111-0000-0000-0000-000000000000"
# The first card is full, the second one free.
FULL_AND_FREE = (FULL, msgspec.structs.replace(IDLE, uuid=OTHER_ID))
CPU_TORCH: dict[str, Any] = {"torch": torch("2.1.2+cpu", None, None), "torchvision": absent("-")}
CU121: dict[str, Any] = {"torch": torch("2.4.1+cu121", "12.1", "sm_80 sm_86 sm_90"), "torchvision": absent("-")}
MACHINES_THAT_ARE_WELL: HandMade = {
    "nothing: a working CUDA 11.7 on driver 470": (
        machine("470.57.02", driver_layers=works(kernel="470.57.02", library="470.57.02")),
        environment(torch=torch("2.0.1", "11.7", "sm_80 sm_86"), torchvision=vision("0.15.2", "11.7", "2.0.1")),
        (),
    ),
    "nothing: an RTX 4090 on code for sm_86": (
        machine("550.54.14", [card("NVIDIA GeForce RTX 4090", "8.9")]),
        environment(torch=torch("2.0.1", "11.7", "sm_80 sm_86"), torchvision=vision("0.15.2", "11.7", "2.0.1")),
        (),
    ),
    "a V100 beside a wheel without code for it": (
        machine("580.95.05", [card("Tesla V100-SXM2-32GB", "7.0")]),
        environment(torch=torch("2.9.0+cu130", "13.0", "sm_75 sm_80 sm_86 sm_90 sm_120"), torchvision=absent("-")),
        ("GPU103",),
    ),
    "nothing: every state told, and all is well": (
        machine(
            cards=[
                card(
                    compute_mode="default",
                    persistence=True,
                    display_active=True,
                    ecc=True,
                    ecc_errors=0,
                    virtualization="none",
                    fabric="completed",
                )
            ],
            driver_layers=works(files=tuple(file(node, usable=True) for node in NODES)),
            device_state=state(suspended=3, nvswitches=4, fabric_manager=False),
            scheduler=absent("-"),
            resources=memory(shared=64, memory_total=32, memory_available=16),
        ),
        environment(),
        (),
    ),
}
DRIVERS: HandMade = {
    # DRV101
    "nothing: a compatibility library stands in for the older driver of a data-centre card": (
        machine(
            "470.57.02",
            [card("NVIDIA A100-SXM4-80GB", "8.0")],
            driver_layers=works(
                kernel="470.57.02", libcuda="/usr/local/cuda/compat/libcuda.so.535.104.05", libcuda_version="535.104.05"
            ),
        ),
        environment(**CU121),
        (),
    ),
    "nothing: torch itself says that CUDA works": (
        machine("470.57.02"),
        msgspec.structs.replace(said(None, available=True), **CU121),
        (),
    ),
    "torch says that the driver is too old": (
        machine("470.57.02"),
        msgspec.structs.replace(said("The NVIDIA driver on your system is too old (found version 11040)."), **CU121),
        ("DRV101",),
    ),
    # DRV102
    "libcuda of another version than everything else": (
        machine(
            "550.54.14",
            driver_layers=works(
                kernel="550.54.14",
                library="550.54.14",
                libcuda="/usr/lib/libcuda.so.535.183.01",
                libcuda_version="535.183.01",
            ),
        ),
        environment(),
        ("DRV102",),
    ),
    "libcuda of another version than the driver, whose module told none": (
        machine(
            "550.54.14",
            driver_layers=works(
                kernel=None,
                library="550.54.14",
                libcuda="/usr/lib/libcuda.so.535.183.01",
                libcuda_version="535.183.01",
            ),
        ),
        environment(),
        ("DRV102",),
    ),
    "torch says 803": (
        machine(driver_layers=works()),
        said("Error 803: system has unsupported display driver / cuda driver combination"),
        ("DRV102",),
    ),
    "nothing: libcuda of the driver's own version": (
        machine(driver_layers=works(libcuda="/usr/lib/libcuda.so.455.23.05", libcuda_version="455.23.05")),
        environment(),
        (),
    ),
    "nothing: the toolkit gave a container on a data-centre card the image's own compatibility library": (
        machine(
            "470.57.02",
            [card("NVIDIA A100-SXM4-80GB", "8.0")],
            driver_layers=works(
                kernel="470.57.02", libcuda="/usr/lib/libcuda.so.535.104.05", libcuda_version="535.104.05"
            ),
            **IN_DOCKER,
        ),
        environment(**CU121),
        (),
    ),
    "older libcuda of its own in a container": (
        machine(
            "550.54.14",
            driver_layers=works(
                kernel="550.54.14",
                library="550.54.14",
                libcuda="/usr/lib/libcuda.so.535.183.01",
                libcuda_version="535.183.01",
            ),
            **IN_DOCKER,
        ),
        environment(),
        ("DRV102",),
    ),
    # DRV103
    "nouveau holds the card": (
        machine(None, displays=found(held(driver="nouveau"), "/sys")),
        environment(),
        ("DRV103",),
    ),
    "card given to a virtual machine": (
        machine(None, displays=found(held(driver="vfio-pci"), "/sys")),
        environment(),
        ("DRV103",),
    ),
    "module of an older kernel only": (
        machine(
            driver_layers=layers(nvml_code=9),
            device_state=state(modules=(), other_kernels=("5.4.0-150-generic",)),
            **BROKEN,
        ),
        environment(),
        ("DRV103",),
    ),
    "module is there, and Secure Boot is on": (
        machine(
            driver_layers=layers(nvml_code=9),
            device_state=state(modules=(), module_files=("/lib/modules/5/updates/dkms/nvidia.ko",), secure_boot=True),
            **BROKEN,
        ),
        environment(),
        ("DRV103",),
    ),
    "new card under the proprietary module": (
        machine(
            driver=driver("575.51.03", "12.9", "proprietary"),
            gpus=absent("NVML", "the driver works but sees no card"),
            driver_layers=works(),
            displays=found(held(name="NVIDIA Corporation GB202 [GeForce RTX 5090]", driver="nvidia"), "/sys"),
        ),
        environment(),
        ("DRV103",),
    ),
    "nothing of the module: a job that was given no card": (
        machine(
            driver=driver("575.51.03"),
            gpus=absent("NVML", "the driver works but sees no card"),
            driver_layers=works(),
            displays=found(held(driver="nvidia"), "/sys"),
            scheduler=job(),
        ),
        environment(),
        ("VAR112",),
    ),
    # DRV104
    "unknown error of CUDA while the driver answers": (
        machine(driver_layers=works(), device_state=state(suspended=2)),
        said("CUDA unknown error - this may be due to an incorrectly set up environment"),
        ("DRV104",),
    ),
    "container without the file of nvidia_uvm": (
        machine(driver_layers=works(device_nodes=NO_UVM), **IN_DOCKER),
        environment(),
        ("DRV104",),
    ),
    "host without nvidia_uvm and without the program that loads it": (
        machine(driver_layers=works(device_nodes=NO_UVM), device_state=state(modules=("nvidia",))),
        environment(),
        ("DRV104",),
    ),
    "nothing: nvidia_uvm is loaded when CUDA starts": (
        machine(
            driver_layers=works(device_nodes=NO_UVM),
            device_state=state(modules=("nvidia",), modprobe="/usr/bin/nvidia-modprobe"),
        ),
        environment(),
        (),
    ),
    "nothing: no card has a device file under WSL": (
        machine("580.95.05", driver_layers=works(device_nodes=()), **IN_WSL),
        environment(),
        (),
    ),
    # DRV105
    "control file is closed to this user": (
        machine(driver_layers=layers(nvml_code=4, device_nodes=NODES, files=tuple(map(file, NODES))), **BROKEN),
        environment(),
        ("DRV105",),
    ),
    "member of the group since the last login only": (
        machine(driver_layers=layers(nvml_code=4, device_nodes=NODES, files=(file(NODES[1], listed=True),)), **BROKEN),
        environment(),
        ("DRV105",),
    ),
    "nothing: one of two cards is kept from this job": (
        machine(
            driver_layers=works(
                files=(file(NODES[0]), file("/dev/nvidia1", usable=True), file(NODES[1], usable=True)),
                unopened=(UnopenedCard(index=0, code=4),),
            )
        ),
        environment(),
        (),
    ),
    # DRV106
    "compatibility library on a card for players": (
        machine(
            "470.57.02",
            driver_layers=works(
                kernel="470.57.02",
                libcuda="/usr/local/cuda-12.1/compat/libcuda.so.530.30.02",
                libcuda_version="530.30.02",
            ),
            variables={"LD_LIBRARY_PATH": "/usr/local/cuda-12.1/compat:/opt/lib"},
        ),
        environment(),
        ("DRV106",),
    ),
    "torch says 804": (
        machine(driver_layers=works(), **IN_DOCKER),
        said("Error 804: forward compatibility was attempted on non supported HW"),
        ("DRV106",),
    ),
    "nothing: compatibility library of the driver's own version": (
        machine(
            "530.30.02",
            driver_layers=works(libcuda="/usr/local/cuda/compat/libcuda.so.530.30.02", libcuda_version="530.30.02"),
        ),
        environment(),
        (),
    ),
    "nothing: compatibility library on a card of an unknown kind": (
        machine(
            "470.57.02",
            [card("NVIDIA Unheard-of", "8.6")],
            driver_layers=works(libcuda="/usr/local/cuda/compat/libcuda.so.530.30.02", libcuda_version="530.30.02"),
        ),
        environment(),
        (),
    ),
    "the toolkit gave a container on a card for players the image's own compatibility library": (
        machine(
            "470.57.02",
            driver_layers=works(
                kernel="470.57.02", libcuda="/usr/lib/libcuda.so.535.104.05", libcuda_version="535.104.05"
            ),
            **IN_DOCKER,
        ),
        environment(),
        ("DRV106",),
    ),
    # DRV107
    "NVSwitches without their manager": (
        machine("535.183.01", [card(H100, "9.0")], device_state=state(nvswitches=4, fabric_manager=False)),
        environment(**CU121),
        ("DRV107",),
    ),
    "cards that wait for the fabric": (
        machine("535.183.01", [card(H100, "9.0", fabric="in-progress")]),
        environment(**CU121),
        ("DRV107",),
    ),
    "torch says 802": (machine(driver_layers=works()), said("Error 802: system not yet initialized"), ("DRV107",)),
    "nothing: NVSwitches, and services cannot be seen": (
        machine(device_state=state(nvswitches=4)),
        environment(),
        (),
    ),
    "nothing: a card in progress that torch can use": (
        machine(cards=[card(fabric="in-progress")]),
        said(None, available=True),
        (),
    ),
    # DRV109
    "torch says what no other rule knows": (
        machine(driver_layers=works()),
        said("Error 304: OS call failed or operation not supported on this OS"),
        ("DRV109",),
    ),
    "nothing: torch says nothing, and no card is there": (
        machine(None),
        said("Error 304: OS call failed or operation not supported on this OS"),
        ("GPU101",),
    ),
    "cards hidden, and torch says so": (
        machine(driver_layers=works(), **visible("7")),
        said("No CUDA GPUs are available"),
        ("VAR110",),
    ),
    # DRV108
    "driver without its library for computing": (machine(driver_layers=works(libcuda="")), environment(), ("DRV108",)),
    "stub of a toolkit for libcuda": (
        machine(driver_layers=works(libcuda="/usr/local/cuda/lib64/stubs/libcuda.so")),
        environment(),
        ("DRV108",),
    ),
    # DRV110
    "name of libcuda without a number is asked for": (
        machine(driver_layers=works(libcuda="/usr/lib/x86_64-linux-gnu/libcuda.so.1")),
        environment(torch_import=found(NO_LIBCUDA, "import torch")),
        ("DRV110", "TOR103"),
    ),
    "nothing: libcuda was not asked for": (machine(driver_layers=works(libcuda=None)), environment(), ()),
}
CARDS: HandMade = {
    # GPU104
    "only card is in exclusive mode and taken": (
        machine(cards=[card(compute_mode="exclusive-process", processes=HELD)]),
        environment(),
        ("GPU104",),
    ),
    "card that computes for nobody": (
        machine(cards=[card(compute_mode="prohibited"), card(index=1)]),
        environment(),
        ("GPU104",),
    ),
    "exclusive mode, nobody there": (
        machine(cards=[card(compute_mode="exclusive-process")]),
        environment(),
        ("GPU104",),
    ),
    "nothing: taken, but in the default mode": (
        machine(cards=[card(compute_mode="default", processes=HELD)]),
        environment(),
        (),
    ),
    # GPU105
    "virtual card without a licence": (
        machine(cards=[card("GRID A100-8Q", "8.0", virtualization="vgpu", licensed=False)]),
        environment(),
        ("GPU105",),
    ),
    "nothing: virtual card, licence not told": (
        machine(cards=[card("GRID A100-8Q", "8.0", virtualization="vgpu")]),
        environment(),
        (),
    ),
    "nothing: virtual card with its licence": (
        machine(cards=[card("GRID A100-8Q", "8.0", virtualization="vgpu", licensed=True)]),
        environment(),
        (),
    ),
    # GPU106
    "two instances, none named": (
        machine(cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True, mig_instances=INSTANCES)]),
        environment(),
        ("GPU106",),
    ),
    "two instances, both named": (
        machine(
            cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True, mig_instances=INSTANCES)],
            **visible(",".join(one.uuid for one in INSTANCES)),
        ),
        environment(),
        ("GPU106",),
    ),
    "nothing: two instances, one named": (
        machine(
            cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True, mig_instances=INSTANCES)],
            **visible(INSTANCES[1].uuid),
        ),
        environment(),
        (),
    ),
    "MIG without an instance": (
        machine(cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True, free=0)]),
        environment(),
        ("GPU106",),
    ),
    "nothing: MIG in a container that does not tell": (
        machine(cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True)], **IN_DOCKER),
        environment(),
        (),
    ),
    # GPU107
    "card that is lost": (
        machine(
            gpus=unknown("NVML", "1 of 2 cards cannot be opened"),
            driver_layers=works(
                unopened=(UnopenedCard(index=1, code=15, problem="GPU is lost"),), kernel_log=(XID_79,)
            ),
        ),
        environment(),
        ("GPU107",),
    ),
    "card that could not be started": (
        machine(
            gpus=absent("NVML", "the driver works but sees no card"),
            driver_layers=works(kernel_log=(INIT_FAILED,)),
            displays=found(held(driver="nvidia"), "/sys"),
        ),
        environment(),
        ("DRV103", "GPU107"),
    ),
    "uncorrectable memory errors": (machine(cards=[card(ecc=True, ecc_errors=2)]), environment(), ("GPU107",)),
    "memory that can no longer be repaired": (
        machine(cards=[card(repair="failed"), card(index=1)]),
        environment(),
        ("GPU107",),
    ),
    "fault in the kernel's log": (machine(driver_layers=works(kernel_log=(XID_79,))), environment(), ("GPU107",)),
    "nothing: a fault of another card of the host": (
        machine(cards=[card(pci_bus="00000000:41:00.0")], driver_layers=works(kernel_log=(XID_79,)), **IN_DOCKER),
        environment(),
        (),
    ),
    "nothing: a fault that a program caused": (machine(driver_layers=works(kernel_log=(XID_31,))), environment(), ()),
    "nothing: a card that is not permitted is not lost": (
        machine(driver_layers=works(unopened=(UnopenedCard(index=1, code=4),))),
        environment(),
        (),
    ),
    # GPU108
    "CPU wheel on a Jetson": (machine(**ON_JETSON), environment(**CPU_TORCH), ("GPU108", "TOR101")),
    "server wheel on a Jetson": (machine(**ON_JETSON), environment(**CU121), ("GPU103", "GPU108")),
    "nothing: NVIDIA's wheel on a Jetson": (
        machine(**ON_JETSON),
        environment(torch=torch("2.1.0a0+41361538.nv23.06", "11.4", "sm_72 sm_87"), torchvision=absent("-")),
        (),
    ),
    "nothing: code for the chip in a wheel of another maker": (
        machine(**ON_JETSON),
        environment(torch=torch("2.3.0", "11.4", "sm_87"), torchvision=absent("-")),
        (),
    ),
    "nothing of Jetson: JetPack 7 runs the server wheels": (
        machine(**{**ON_JETSON, "platform": placed(jetson="R38.2.0")}),
        environment(torch=torch("2.9.0+cu130", "13.0", "sm_80 sm_87 sm_110"), torchvision=absent("-")),
        (),
    ),
}
PLACES: HandMade = {
    # CTR102
    "docker without NVIDIA's toolkit": (
        machine(device_state=state(containers=ContainerTools(engines=("docker",)))),
        environment(),
        ("CTR102",),
    ),
    "nothing: docker with NVIDIA's toolkit": (
        machine(device_state=state(containers=ContainerTools(engines=("docker",), toolkit=("/usr/bin/nvidia-ctk",)))),
        environment(),
        (),
    ),
    "nothing: docker where there is no card": (
        machine(None, device_state=state(containers=ContainerTools(engines=("docker",)))),
        environment(),
        ("GPU101",),
    ),
    # CTR103
    "image for a newer CUDA, on cards for players": (
        machine(
            "550.144.03",
            driver=driver("550.144.03", "12.4"),
            variables={"NVIDIA_REQUIRE_CUDA": REQUIRED},
            **IN_DOCKER,
        ),
        environment(),
        ("CTR103",),
    ),
    "nothing: image for a newer CUDA that names this driver, on a data-centre card": (
        machine(
            "550.144.03",
            [card("NVIDIA A100-SXM4-80GB", "8.0")],
            variables={"NVIDIA_REQUIRE_CUDA": REQUIRED},
            **IN_DOCKER,
        ),
        environment(),
        (),
    ),
    "nothing: the variable outside of a container": (
        machine("470.57.02", variables={"NVIDIA_REQUIRE_CUDA": REQUIRED}),
        environment(),
        (),
    ),
    "nothing: an image that wants what no one can read": (
        machine("470.57.02", variables={"NVIDIA_REQUIRE_CUDA": "cuda>=new cuda driver>=1.2.3.4.5"}, **IN_DOCKER),
        environment(),
        (),
    ),
    # CTR104
    "container that lost its card": (
        machine(
            driver_layers=layers(
                nvml_code=999,
                nvml_problem="Unknown Error",
                device_nodes=NODES,
                files=tuple(file(node, usable=True) for node in NODES),
                control_error=errno.EPERM,
            ),
            **IN_DOCKER,
            **BROKEN,
        ),
        environment(),
        ("CTR104",),
    ),
    "container that lost its card, by nvidia-smi's words": (
        machine(
            driver_layers=layers(smi="Failed to initialize NVML: Unknown Error", device_nodes=NODES),
            **IN_DOCKER,
            **BROKEN,
        ),
        environment(),
        ("CTR104",),
    ),
    "nothing of containers: unknown error, and the device opens": (
        machine(
            driver_layers=layers(nvml_code=999, device_nodes=NODES, files=(file(NODES[1], usable=True),)),
            **IN_DOCKER,
            **BROKEN,
        ),
        environment(),
        (),
    ),
    # CTR105
    "Linux driver over Windows'": (
        machine("580.95.05", driver_layers=works(libcuda="/usr/lib/x86_64-linux-gnu/libcuda.so.535.1"), **IN_WSL),
        environment(),
        ("CTR105",),
    ),
    "torch does not find Windows' driver": (
        machine(
            "580.95.05",
            driver_layers=works(device_nodes=(), libcuda="/usr/lib/wsl/drivers/nv/libcuda.so.1.1"),
            device_state=state(modules=None, wsl_libraries=("/usr/lib/wsl/lib/libcuda.so.1",)),
            **IN_WSL,
        ),
        said("Found no NVIDIA driver on your system."),
        ("CTR105",),
    ),
    "bare name of libcuda leads nowhere": (
        machine(
            "580.95.05",
            driver_layers=works(device_nodes=(), libcuda="/usr/lib/wsl/drivers/nv/libcuda.so.1.1", libcuda_bare=False),
            **IN_WSL,
        ),
        environment(),
        ("CTR105",),
    ),
    "nothing: bare name leads nowhere, and nobody asks for it": (
        machine(
            "580.95.05",
            driver_layers=works(device_nodes=(), libcuda="/usr/lib/wsl/lib/libcuda.so.1.1", libcuda_bare=False),
            **IN_WSL,
        ),
        environment(**CU121),
        (),
    ),
    # MEM101, MEM103, MEM104
    "control group allows 1 GiB": (
        machine(resources=memory(memory_total=256, memory_available=128, memory_limit=1)),
        environment(),
        ("MEM101",),
    ),
    "machine whose memory is taken": (
        machine(resources=memory(memory_total=64, memory_available=0)),
        environment(),
        ("MEM101",),
    ),
    "nothing: 4 GiB are enough to start with": (
        machine(resources=memory(memory_total=4, memory_available=2)),
        environment(),
        (),
    ),
    "little memory to install with": (
        machine(resources=memory(memory_total=1, memory_available=1)),
        environment(torch=NO_TORCH, torchvision=absent("-")),
        ("MEM103", "TOR102"),
    ),
    "nothing of memory: enough to install with": (
        machine(resources=memory(memory_total=4, memory_available=3)),
        environment(torch=NO_TORCH, torchvision=absent("-")),
        ("TOR102",),
    ),
    "docker's 64 MB of shared memory": (
        machine(resources=memory(shared=64, memory_total=64, memory_available=32), **IN_DOCKER),
        environment(),
        ("MEM104",),
    ),
    "nothing: 8 GB of shared memory": (
        machine(resources=memory(shared=8192, memory_total=64, memory_available=32), **IN_DOCKER),
        environment(),
        (),
    ),
    "nothing of shared memory: no torch": (
        machine(resources=memory(shared=64, memory_total=64, memory_available=32), **IN_DOCKER),
        environment(torch=NO_TORCH, torchvision=absent("-")),
        ("TOR102",),
    ),
    # MEM102
    "card that is full of one's own leftovers": (
        machine(cards=[card(free=1, processes=(GpuProcess(pid=77, user="me", command="python", own=True),))]),
        environment(),
        ("MEM102",),
    ),
    "nothing: a card in MIG mode has no memory of its own to give": (
        machine(cards=[card("NVIDIA A100-SXM4-40GB", "8.0", free=0, mig=True)], **IN_DOCKER),
        environment(),
        (),
    ),
}
VARIABLES: HandMade = {
    # VAR110, VAR111
    "all cards hidden by an empty value": (machine(**visible("")), environment(), ("VAR110",)),
    "all cards hidden by -1": (machine(**visible("-1")), environment(), ("VAR110",)),
    "all cards hidden by a number that is not there": (machine(**visible("2")), environment(), ("VAR110",)),
    "all cards hidden by a number in front": (machine(**visible("4,0")), environment(), ("VAR110",)),
    "all cards hidden by another machine's card": (machine(**visible("GPU-ffffffff")), environment(), ("VAR110",)),
    "all cards hidden by a number that is repeated": (machine(cards=TWO, **visible("0,0")), environment(), ("VAR110",)),
    "all cards hidden by a serial id that is repeated": (
        machine(cards=FULL_AND_FREE, **visible(f"{OTHER_ID},GPU-1111")),
        environment(),
        ("VAR110",),
    ),
    "nothing: a repetition behind the end of the list": (
        machine(cards=TWO, **visible("0,-1,0")),
        environment(),
        (),
    ),
    "nothing: the full card is hidden by the other's serial id": (
        machine(cards=FULL_AND_FREE, **visible(OTHER_ID)),
        environment(),
        (),
    ),
    "nothing: the full card is hidden by the beginning of a serial id": (
        machine(cards=FULL_AND_FREE, **visible("GPU-1111")),
        environment(),
        (),
    ),
    "nothing: the full card is hidden by number": (
        machine(
            cards=(FULL_AND_FREE[0], msgspec.structs.replace(FULL_AND_FREE[1], name="NVIDIA TITAN RTX")),
            variables={"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        ),
        environment(),
        (),
    ),
    "full card that a number may mean": (
        machine(
            cards=(FULL_AND_FREE[0], msgspec.structs.replace(FULL_AND_FREE[1], name="NVIDIA TITAN RTX")),
            **visible("1"),
        ),
        environment(),
        ("MEM102",),
    ),
    "full card that was given to the job": (
        machine(cards=FULL_AND_FREE, scheduler=job(granted="0"), **visible("0")),
        environment(),
        ("MEM102",),
    ),
    "second card is not there": (machine(**visible("0,1")), environment(), ("VAR111",)),
    "nothing: the variable names the card": (machine(**visible("0")), environment(), ()),
    "nothing: two cards the other way round": (machine(cards=TWO, **visible("1, 0")), environment(), ()),
    "nothing: the beginning of a serial id": (machine(**visible("GPU-0000")), environment(), ()),
    "nothing: the list is ended on purpose": (machine(cards=TWO, **visible("1,-1")), environment(), ()),
    "nothing: a MIG instance that exists": (
        machine(
            cards=[card("NVIDIA A100-SXM4-40GB", "8.0", mig=True, mig_instances=INSTANCES)],
            **visible("MIG-00000000-0000-0000-0000-000000000002"),
        ),
        environment(),
        (),
    ),
    "nothing of variables: there is no card to hide": (machine(None, **visible("")), environment(), ("GPU101",)),
    # VAR112
    "Slurm job without a card, which hides them": (machine(scheduler=job(), **visible("")), environment(), ("VAR112",)),
    "Slurm of old says NoDevFiles": (machine(scheduler=job(), **visible("NoDevFiles")), environment(), ("VAR112",)),
    "node to log in": (machine(None, scheduler=job(number=None, granted=None)), environment(), ("VAR112",)),
    "job on a node without a card": (machine(None, scheduler=job("pbs", granted=None)), environment(), ("VAR112",)),
    "cards hidden in a job that has them": (
        machine(scheduler=job(granted="0"), **visible("")),
        environment(),
        ("VAR110",),
    ),
    "nothing: Slurm job with its card": (machine(scheduler=job(granted="0"), **visible("0")), environment(), ()),
    "nothing: Slurm job on a cluster that counts no cards": (machine(scheduler=job()), environment(), ()),
    "nothing: Slurm's commands on a server with a card": (
        machine(scheduler=job(number=None, granted=None)),
        environment(),
        (),
    ),
    "card of another maker, named": (
        machine(None, displays=found((msgspec.structs.replace(RADEON, name="Navi 31 [Radeon RX 7900 XTX]"),), "lspci")),
        environment(),
        ("GPU101",),
    ),
}
HAND_MADE: HandMade = {**MACHINES_THAT_ARE_WELL, **DRIVERS, **CARDS, **PLACES, **VARIABLES}


def facts(name: str) -> tuple[Machine, Environment]:
    """The facts of one entry."""
    return HAND_MADE[name][:2]
