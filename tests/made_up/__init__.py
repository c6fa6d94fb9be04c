"""Made-up facts for rules: a lab server and an environment in which all is well, changed one thing at a time.

Each module beside this one holds ``HAND_MADE``: facts, and the codes of exactly those findings that they must give.
Names are sentences that start with "it is found". ``ALL`` holds them all; a new part of the house adds a module.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import Any

import msgspec

from envfix.model.facts import (
    NOT_ASKED,
    Display,
    Driver,
    DriverLayers,
    Environment,
    Gpu,
    GpuProcess,
    Interpreter,
    Libc,
    Machine,
    Observed,
    Platform,
    TorchBuild,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion

HandMade = dict[str, tuple[Machine, Environment, tuple[str, ...]]]

GIB = 1024**3
LINUX = Platform(system="linux", machine="x86_64", tag="linux_x86_64", libc=Libc(family="glibc", version="2.31"))
RTX_3090 = Display(
    vendor="NVIDIA", vendor_id="10de", device_id="2204", bus="0000:01:00.0", name="GA102 [GeForce RTX 3090]"
)
RADEON = Display(vendor="AMD", vendor_id="1002", device_id="744c", bus="0000:03:00.0")
PYTHON = Interpreter(
    executable="/env/bin/python", asked="a test", version="3.8.18", implementation="cpython", tag="cp38", abi_tag="cp38",
    platform_tag="linux_x86_64", bits=64, prefix="/env", base_prefix="/usr", kind="venv",
)  # fmt: skip


def card(
    name: str = "NVIDIA GeForce RTX 3090",
    capability: str | None = "8.6",
    free: int | None = 23,
    total: int | None = 24,
    **more: Any,
) -> Gpu:
    """A card with memory in GiB."""
    return Gpu(
        index=more.pop("index", 0),
        name=name,
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        capability=ComputeCapability.parse(capability) if capability else None,
        memory_total=None if total is None else total * GIB,
        memory_free=None if free is None else free * GIB,
        **more,
    )


def torch(
    build: str = "1.9.0+cu111",
    cuda: str | None = "11.1",
    sm: str | None = "sm_37 sm_70 sm_80 sm_86",
    ptx: str = "",
    hip: str | None = None,
) -> Observed[TorchBuild]:
    """An installed torch."""
    return found(
        TorchBuild(
            version=build.partition("+")[0],
            build=build,
            location="/env/lib/torch",
            cuda=CudaVersion.parse(cuda) if cuda else None,
            hip=hip,
            sm=None if sm is None else tuple(map(ComputeCapability.parse, sm.split())),
            ptx=tuple(map(ComputeCapability.parse, ptx.split())),
        ),
        "version.py",
    )


def vision(build: str, cuda: str | None = None, pin: str | None = None) -> Observed[VisionBuild]:
    """The torchvision beside it."""
    value = VisionBuild(
        version=build.partition("+")[0], build=build, cuda=CudaVersion.parse(cuda) if cuda else None, torch_pin=pin
    )
    return found(value, "version.py")


def machine(version: str | None = "455.23.05", cards: Iterable[Gpu] | None = None, **facts: Any) -> Machine:
    """A lab server on which all is well, but for what is given."""
    well: dict[str, Any] = {
        "platform": found(LINUX, "kernel"),
        "driver": found(Driver(version=DriverVersion.parse(version)), "NVML") if version else absent("NVML"),
        "gpus": found((card(),) if cards is None else tuple(cards), "NVML") if version else absent("NVML"),
        "driver_layers": found(
            DriverLayers(
                nvml="works" if version else "absent",
                device_nodes=("/dev/nvidia0", "/dev/nvidia-uvm") if version else (),
            ),
            "NVML",
        ),
        "displays": found((RTX_3090,), "lspci") if version else absent("lspci"),
        "toolkits": absent("PATH"),
        "host_compilers": absent("PATH"),
        "conda": absent("PATH"),
    }
    return Machine(**{**well, **facts})


def environment(**facts: Any) -> Environment:
    """An environment in which all is well, but for what is given."""
    well: dict[str, Any] = {
        "interpreter": found(PYTHON, "asked"),
        "distributions": found((), "files"),
        "torch": torch(),
        "torchvision": vision("0.10.0+cu111", "11.1", "1.9.0"),
        "torch_import": unknown("import torch", NOT_ASKED),
        "package_sources": found((), "files"),
        "elsewhere": absent("near by"),
    }
    return Environment(**{**well, **facts})


def layers(**said: Any) -> Observed[DriverLayers]:
    return found(DriverLayers(**{"nvml": "error", **said}), "NVML")


def placed(**changes: Any) -> Observed[Platform]:
    return found(msgspec.structs.replace(LINUX, **changes), "kernel")


BROKEN: dict[str, Any] = {"driver": unknown("NVML", "broken"), "gpus": unknown("NVML", "broken")}
NO_TORCH: Observed[TorchBuild] = absent("site-packages")
OLD_PYTHON = msgspec.structs.replace(PYTHON, version="2.7.18", tag="cp27")
VIA_POLICY = card("NVIDIA GeForce RTX 5090", "12.0")
IDLE = card(index=1)
FULL = card(
    free=1, processes=(GpuProcess(pid=4242, memory=22 * GIB, user="li", command="python train.py", since="2024-05-01"),)
)


def all_hand_made() -> HandMade:
    """Every entry of every module of this package."""
    found_here: HandMade = {}
    for info in pkgutil.iter_modules(__path__):
        entries: HandMade = importlib.import_module(f"{__name__}.{info.name}").HAND_MADE
        assert not found_here.keys() & entries.keys(), info.name
        found_here |= entries
    return found_here
