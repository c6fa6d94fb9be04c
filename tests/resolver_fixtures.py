"""Pretend machines and indexes for the tests of the resolver."""

from __future__ import annotations

from typing import Any

from envfix.model.facts import IndexState
from envfix.model.plan import PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, DriverVersion

Card = tuple[str, str | None]
RTX_3090: Card = ("NVIDIA GeForce RTX 3090", "8.6")
RTX_4090: Card = ("NVIDIA GeForce RTX 4090", "8.9")
RTX_5090: Card = ("NVIDIA GeForce RTX 5090", "12.0")
GTX_1080_TI: Card = ("NVIDIA GeForce GTX 1080 Ti", "6.1")
V100: Card = ("Tesla V100-SXM2-16GB", "7.0")
K80: Card = ("Tesla K80", "3.7")
K40: Card = ("Tesla K40m", "3.5")
GT_710: Card = ("NVIDIA GeForce GT 710", "3.5")

BASE = "https://download.pytorch.org/whl"
OFFICIAL = IndexState(name="official", location=BASE, reachable=True)
UNREACHABLE = IndexState(name="official", location=BASE, reachable=False, problem="timed out after 2 s")
REGISTRY = IndexState(name="pypi", location="", reachable=True)
BOTH = (OFFICIAL, REGISTRY)
REGISTRY_ONLY = (UNREACHABLE, REGISTRY)


def capability(text: str | None) -> ComputeCapability | None:
    return ComputeCapability.parse(text) if text else None


def target(driver: str | None = None, *cards: Card, python: str = "3.11", **rest: Any) -> PlanTarget:
    """A Linux machine with a recent glibc unless said otherwise; without a driver it has none."""
    facts: dict[str, Any] = {
        "python": python,
        "tag": f"cp{python.replace('.', '')}",
        "platform": "linux_x86_64",
        "libc": "glibc",
        "glibc": "2.31",
        "driver": DriverVersion.parse(driver) if driver else None,
        "gpus": tuple(TargetGpu(name=name, capability=capability(cc), index=at) for at, (name, cc) in enumerate(cards)),
        "driver_state": "works" if driver else "absent",
    }
    return PlanTarget(**{**facts, **rest})


BROKEN: dict[str, Any] = {
    "driver_state": "broken",
    "gpu_problem": "Failed to initialize NVML: Driver/library version mismatch",
    "gpu_problem_cause": "driver_library_version_mismatch",
}


def machine(letter: str, python: str = "3.11") -> PlanTarget:
    """One of the eight machines that every tool was tried on."""
    driver, cards = MACHINES[letter]
    return target(driver, *cards, python=python, **(BROKEN if letter == "H" else {}))


MACHINES: dict[str, tuple[str | None, tuple[Card, ...]]] = {
    "A": ("470.57.02", (RTX_3090,)),
    "B": ("550.54.14", (RTX_4090,)),
    "C": ("580.95.05", (RTX_5090,)),
    "D": ("455.23.05", (RTX_3090, RTX_3090)),
    "E": ("535.183.01", (GTX_1080_TI,)),
    "F": ("580.95.05", (V100,)),
    "G": (None, ()),
    "H": ("550.163.01", (RTX_3090,)),
}
