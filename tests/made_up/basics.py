"""Driver, cards, torch and its companions, the interpreter: the rules that every machine meets."""

from __future__ import annotations

from envfix.model.facts import NOT_TOLD, Elsewhere, absent, found, unknown
from tests.made_up import (
    BROKEN,
    FULL,
    IDLE,
    NO_TORCH,
    OLD_PYTHON,
    RADEON,
    RTX_3090,
    VIA_POLICY,
    HandMade,
    card,
    environment,
    layers,
    machine,
    placed,
    torch,
    vision,
)

HAND_MADE: HandMade = {
    "nothing: all is well": (machine(), environment(), ()),
    "nothing: a newer driver than needed": (machine("580.95.05"), environment(), ()),
    # DRV101
    "driver one build below the floor of its family": (machine("450.80.01"), environment(), ("DRV101",)),
    "nothing: driver exactly at the floor": (machine("450.80.02"), environment(), ()),
    "CPU build, however old the driver": (
        machine("390.157", cards=[]),
        environment(torch=torch("1.9.0+cpu", None, None), torchvision=absent("-")),
        ("TOR101",),
    ),
    "driver too old for CUDA 13": (
        machine("570.86.15"),
        environment(torch=torch("2.14.1+cu130", "13.0", "sm_80 sm_86"), torchvision=absent("-")),
        ("DRV101",),
    ),
    # DRV102
    "mismatch by NVML's number": (
        machine(driver_layers=layers(nvml_code=18, nvml_problem="Driver/library version mismatch"), **BROKEN),
        environment(),
        ("DRV102",),
    ),
    "mismatch by nvidia-smi's words": (
        machine(
            driver_layers=layers(smi="Failed to initialize NVML: Driver/library version mismatch", smi_exit=18),
            **BROKEN,
        ),
        environment(),
        ("DRV102",),
    ),
    "mismatch by the versions themselves": (
        machine(driver_layers=layers(nvml_code=999, kernel="550.54.14", library="550.163.01"), **BROKEN),
        environment(),
        ("DRV102",),
    ),
    "nothing: versions differ, but the driver works": (
        machine(driver_layers=layers(nvml="works", kernel="550.54.14", library="550.163.01")),
        environment(),
        (),
    ),
    # DRV103
    "module refused by NVML": (machine(driver_layers=layers(nvml_code=9), **BROKEN), environment(), ("DRV103",)),
    "module refused by nvidia-smi": (
        machine(driver_layers=layers(nvml="absent", smi_exit=9, smi="NVIDIA-SMI has failed"), **BROKEN),
        environment(),
        ("DRV103",),
    ),
    "card on the bus, no driver at all": (
        machine(None, displays=found((RTX_3090,), "lspci")),
        environment(),
        ("DRV103",),
    ),
    "nothing of the module: it is loaded, something else is wrong": (
        machine(driver_layers=layers(nvml_code=999, kernel="550.54.14"), **BROKEN),
        environment(),
        (),
    ),
    # CTR101
    "container that was started without the card": (
        machine(None, displays=found((RTX_3090,), "lspci"), platform=placed(container="docker")),
        environment(),
        ("CTR101",),
    ),
    # GPU101
    "no card, and that is no fault": (machine(None), environment(), ("GPU101",)),
    "card of another maker": (machine(None, displays=found((RADEON,), "lspci")), environment(), ("GPU101",)),
    "nothing: device files are there": (
        machine(None, driver_layers=layers(nvml="absent", device_nodes=("/dev/nvidia0",))),
        environment(),
        (),
    ),
    # GPU102, GPU103
    "card newer than the list": (machine("580.95.05", [VIA_POLICY]), environment(), ("GPU102",)),
    "nothing: portable code for a newer card": (
        machine("580.95.05", [VIA_POLICY]),
        environment(torch=torch(sm="sm_80 sm_86", ptx="compute_86")),
        (),
    ),
    "nothing: higher minor number of the same major": (
        machine("550.54.14", [card("NVIDIA GeForce RTX 4090", "8.9")]),
        environment(),
        (),
    ),
    "card newer than the list, known by its name only": (
        machine("580.95.05", [card("NVIDIA GeForce RTX 5090", None)]),
        environment(),
        ("GPU102",),
    ),
    "one of two cards is newer than the list": (
        machine("580.95.05", [card(), card("NVIDIA GeForce RTX 5090", "12.0", index=1)]),
        environment(),
        ("GPU102",),
    ),
    "card older than the list": (
        machine("535.183.01", [card("NVIDIA GeForce GTX 1080 Ti", "6.1")]),
        environment(torch=torch(sm="sm_70 sm_80 sm_86")),
        ("GPU103",),
    ),
    "nothing: the list is not known": (machine("580.95.05", [VIA_POLICY]), environment(torch=torch(sm=None)), ()),
    "nothing: a card nobody knows, without a capability": (
        machine("580.95.05", [card("NVIDIA Unheard-of", None)]),
        environment(),
        (),
    ),
    # TOR101, TOR102, INT101
    "CPU build beside a card": (
        machine(),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("TOR101",),
    ),
    "CPU build beside a card that has no driver": (
        machine(None, displays=found((RTX_3090,), "lspci")),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("DRV103", "TOR101"),
    ),
    "nothing of torch: CPU build where there is no card": (
        machine(None),
        environment(torch=torch("2.1.2+cpu", None, None), torchvision=absent("-")),
        ("GPU101",),
    ),
    "ROCm build beside an NVIDIA card only": (
        machine(),
        environment(torch=torch("2.4.1+rocm6.1", None, None, hip="6.1"), torchvision=absent("-")),
        ("TOR101",),
    ),
    "build for Intel's cards beside an NVIDIA card only": (
        machine(),
        environment(torch=torch("2.6.0+xpu", None, None), torchvision=absent("-")),
        ("TOR101",),
    ),
    "nothing: a ROCm build where there is a card of AMD as well": (
        machine(displays=found((RTX_3090, RADEON), "lspci")),
        environment(torch=torch("2.4.1+rocm6.1", None, None, hip="6.1"), torchvision=absent("-")),
        (),
    ),
    "nothing of torch: a ROCm build for a card of AMD": (
        machine(None, displays=found((RADEON,), "lspci")),
        environment(torch=torch("2.4.1+rocm6.1", None, None, hip="6.1"), torchvision=absent("-")),
        ("GPU101",),
    ),
    "torch is missing": (machine(), environment(torch=NO_TORCH, torchvision=absent("-")), ("TOR102",)),
    "torch is elsewhere": (
        machine(),
        environment(
            torch=NO_TORCH,
            torchvision=absent("-"),
            elsewhere=found((Elsewhere(prefix="/other", torch="2.0.1"),), "near by"),
        ),
        ("INT101", "TOR102"),
    ),
    "nothing: torch is here and elsewhere": (
        machine(),
        environment(elsewhere=found((Elsewhere(prefix="/other", torch="2.0.1"),), "near by")),
        (),
    ),
    # INT102, INT103
    "no interpreter": (
        machine(),
        environment(
            interpreter=absent("python on PATH", "no such interpreter"),
            torch=unknown("-", "no answer"),
            torchvision=unknown("-", "no answer"),
        ),
        ("INT102",),
    ),
    "interpreter that does not answer": (
        machine(),
        environment(
            interpreter=unknown("/env/bin/python", "exit code 127"),
            torch=unknown("-", "no answer"),
            torchvision=unknown("-", "no answer"),
        ),
        ("INT102",),
    ),
    "nothing: a report that does not say which Python": (
        machine(),
        environment(interpreter=unknown("report", NOT_TOLD), torch=unknown("-", "-"), torchvision=unknown("-", "-")),
        (),
    ),
    "interpreter of another age": (
        machine(),
        environment(
            interpreter=found(OLD_PYTHON, "asked"), torch=unknown("-", "too old"), torchvision=unknown("-", "too old")
        ),
        ("INT103",),
    ),
    # FAM101
    "torchvision pinned to another torch": (
        machine(),
        environment(torchvision=vision("0.15.2", None, "2.0.1")),
        ("FAM101",),
    ),
    "torchvision of another age without a pin": (machine(), environment(torchvision=vision("0.15.2")), ("FAM101",)),
    "torchvision with CUDA beside a CPU torch": (
        machine(None),
        environment(torch=torch("1.9.0+cpu", None, None)),
        ("FAM101", "GPU101"),
    ),
    "torchvision of another CUDA family": (
        machine("580.95.05"),
        environment(torch=torch("2.4.1+cu118", "11.8"), torchvision=vision("0.19.1+cu121", "12.1", "2.4.1")),
        ("FAM101",),
    ),
    "nothing: torchvision whose label differs only in the minor": (
        machine("580.95.05"),
        environment(torch=torch("2.4.1+cu124", "12.4"), torchvision=vision("0.19.1+cu121", "12.1", "2.4.1")),
        (),
    ),
    "nothing: a version nobody can read": (
        machine(),
        environment(torch=torch("1.9.0a0+gitd69c22d"), torchvision=vision("0.10.0a0+abc")),
        (),
    ),
    # MEM102
    "card full of somebody's training": (machine(cards=[FULL, IDLE]), environment(), ("MEM102",)),
    "all cards are full": (machine(cards=[FULL]), environment(), ("MEM102",)),
    "nothing: a tenth is free": (machine(cards=[card(free=3, total=24)]), environment(), ()),
    "nothing: memory is not told": (machine(cards=[card(free=None, total=None)]), environment(), ()),
}
