"""How the torches near by would run on this machine: the one that is offered must not be the next fault."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import InvalidVersion, Version

from envfix.model.facts import Elsewhere, Environment, Gpu, Machine
from envfix.model.language import say
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.rules._cards import driver_system, nvidia_displays, uses_supported_compat
from envfix.rules._roots import is_cpu
from envfix.tables.architectures import runs_on
from envfix.tables.loader import Tables

# Best first: a build that runs, one of which that is not known, one that does not run, one without CUDA.
RUNS, UNTOLD, FAILS, NO_CUDA = range(4)


def ranked(machine: Machine, environment: Environment, tables: Tables) -> list[Elsewhere]:
    """Places with torch: what runs on these cards first, and the likeliest to be meant first among equals."""
    return sorted(environment.elsewhere.value or (), key=lambda place: rank(machine, tables, place))


def rank(machine: Machine, tables: Tables, place: Elsewhere) -> int:
    """How well a torch near by would serve; all alike on a machine without an NVIDIA card."""
    if not machine.gpus.value and not nvidia_displays(machine):
        return RUNS
    if is_cpu(place):
        return NO_CUDA
    if "rocm" in place.torch:
        return FAILS
    cuda = cuda_of(place)
    if cuda is None:
        return UNTOLD
    return _under_driver(machine, tables, place, cuda)


def _under_driver(machine: Machine, tables: Tables, place: Elsewhere, cuda: CudaVersion) -> int:
    driver, floor = machine.driver.value, tables.drivers.floor(cuda, driver_system(machine))
    if driver is None or floor is None:
        return UNTOLD
    if driver.version < floor.family and not uses_supported_compat(machine, tables, floor.family):
        return FAILS
    direct = floor.compatibility(driver.version) == "direct"
    fits = list(_fits(machine, tables, place, cuda, direct=direct))
    return FAILS if fits and not any(fits) else RUNS


def _fits(machine: Machine, tables: Tables, place: Elsewhere, cuda: CudaVersion, *, direct: bool) -> Iterator[bool]:
    """For each card whether the build has code for it, where both are known."""
    system = machine.platform.value
    try:
        built = tables.architectures.built(Version(place.torch), cuda.variant, system.tag) if system else None
    except InvalidVersion:
        built = None
    for card in (machine.gpus.value or ()) if built is not None else ():
        yield any(built is not None and runs_on(answer, built, driver_is_direct=direct) for answer in _of(card, tables))


def _of(card: Gpu, tables: Tables) -> tuple[ComputeCapability, ...]:
    return (card.capability,) if card.capability else tables.gpus.capability_of(card.name)


def cuda_of(place: Elsewhere) -> CudaVersion | None:
    """The CUDA of a build by its label or by conda's record; None where neither says."""
    label = re.search(r"\+cu(\d{2,3})\b", place.torch)
    record = re.search(r"cuda_?(\d+\.\d+)", place.record or "")
    if label:
        return CudaVersion.parse(f"cu{label[1]}")
    return CudaVersion.parse(record[1]) if record else None


def misfit(machine: Machine, tables: Tables, place: Elsewhere) -> str | None:
    """What is wrong with a torch near by on this machine, as the end of a sentence; None: nothing that is known."""
    return {
        NO_CUDA: say("that one is a CPU build, which cannot use the GPU of this machine"),
        FAILS: say("that one does not run on this driver and card"),
    }.get(rank(machine, tables, place))
