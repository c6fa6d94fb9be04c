"""The facts of a diagnosis as rows of name, value and source: the same for every text format.

The short form is what decides; with ``verbose`` every fact is there, and every source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from envfix.model.facts import (
    NOT_ASKED,
    Command,
    Distribution,
    Driver,
    Environment,
    Gpu,
    IndexState,
    Interpreter,
    Machine,
    NetworkSettings,
    Observed,
    Platform,
    Resources,
    Scheduler,
    TorchImport,
)
from envfix.model.report import Report
from envfix.model.words import time_span
from envfix.render.words import size

T = TypeVar("T")
Row = tuple[str, str, str]
GIB = 1024**3
FAMILY = ("torch", "torchvision", "torchaudio", "ultralytics", "numpy")


def rows(report: Report, *, verbose: bool) -> Iterator[Row]:
    """One row a fact; unknown ones say why, absent ones where was looked (the source is empty in the short form)."""
    found = _all(report) if verbose else _decisive(report)
    for name, value, source in found:
        unknown = value.startswith("unknown")
        yield name, value, source if verbose or unknown else ""


def _decisive(report: Report) -> Iterator[Row]:
    machine, environment = report.machine, report.environment
    yield _row("machine", machine.platform, _platform)
    yield from _nvidia(machine)
    if machine.scheduler.value is not None:
        yield _row("batch system", machine.scheduler, _scheduler)
    yield from _toolchain(machine)
    yield _row("python", environment.interpreter, _interpreter)
    yield from _packages(environment)
    yield from _conda(machine, verbose=False)
    yield from _sources(environment)
    yield from map(_index, report.indexes)


def _all(report: Report) -> Iterator[Row]:
    machine, environment = report.machine, report.environment
    yield _row("machine", machine.platform, _platform)
    yield from _nvidia(machine)
    for display in machine.displays.value or ():
        held = f", held by {display.driver}" if display.driver else ""
        text = f"{display.vendor} {display.name or display.device_id} at {display.bus}{held}"
        yield ("on the bus", text, machine.displays.source)
    yield _row("batch system", machine.scheduler, _scheduler)
    yield from _toolchain(machine)
    for library in machine.libraries.value or ():
        yield ("library", f"{library.path}{f' {library.version}' if library.version else ''}", library.found_by)
    yield _row("memory, disks", machine.resources, _resources)
    yield _row("python", environment.interpreter, _interpreter)
    for command in machine.commands.value or ():
        yield ("command", _command(command), machine.commands.source)
    yield from _startup(environment)
    yield from _packages(environment)
    for place in environment.elsewhere.value or ():
        yield ("also near by", f"torch {place.torch} in {place.prefix}", environment.elsewhere.source)
    yield from _conda(machine, verbose=True)
    yield from _sources(environment)
    yield _row("network", machine.network, _network)
    yield from map(_index, report.indexes)
    for name, value in sorted(machine.variables.items()):
        yield ("variable", f"{name}={value}", "")


def _row(name: str, fact: Observed[T], show: Callable[[T], str], when_absent: str = "none") -> Row:
    if fact.value is not None:
        return (name, show(fact.value), fact.source)
    if fact.is_absent:
        return (name, when_absent, f"looked at: {fact.source}")
    if fact.problem == NOT_ASKED:
        return (name, NOT_ASKED, fact.source)
    return (name, f"unknown: {fact.problem}", fact.source)


def _platform(value: Platform) -> str:
    parts = [value.distribution or value.system, value.machine]
    if value.libc:
        parts.append(f"{value.libc.family} {value.libc.version or ''}".strip())
    if value.wsl:
        parts.append("WSL")
    if value.container:
        parts.append(f"in a {value.container} container")
    if value.jetson:
        parts.append(f"Jetson {value.jetson}")
    return ", ".join(parts)


def _nvidia(machine: Machine) -> Iterator[Row]:
    yield _row("driver", machine.driver, _driver, "no NVIDIA driver")
    if machine.gpus.value:
        for gpu in machine.gpus.value:
            yield (f"GPU {gpu.index}", _gpu(gpu), machine.gpus.source)
        return
    seen = [
        display.name or display.device_id for display in machine.displays.value or () if display.vendor_id == "10de"
    ]
    if seen and machine.gpus.is_absent:
        yield ("GPU", f"{', '.join(seen)} on the PCI bus, opened by no driver", machine.displays.source)
    else:
        yield _row("GPU", machine.gpus, str, "no NVIDIA GPU")


def _driver(value: Driver) -> str:
    serves = f", serves CUDA up to {value.cuda}" if value.cuda else ""
    module = f", {value.module} kernel module" if value.module else ""
    return f"NVIDIA {value.version}{serves}{module}"


def _gpu(gpu: Gpu) -> str:
    return ", ".join((gpu.name, *_memory(gpu), *_state(gpu)))


def _memory(gpu: Gpu) -> Iterator[str]:
    if gpu.capability:
        yield f"compute capability {gpu.capability}"
    if gpu.memory_total is not None and gpu.memory_free is not None:
        yield f"{gpu.memory_free / GIB:.1f} of {gpu.memory_total / GIB:.1f} GiB free"
    elif gpu.memory_total is not None:
        yield f"{gpu.memory_total / GIB:.1f} GiB"
    if gpu.processes:
        yield f"{len(gpu.processes)} process{'es' if len(gpu.processes) > 1 else ''}"


def _state(gpu: Gpu) -> Iterator[str]:
    """What is out of the ordinary."""
    if gpu.mig:
        yield f"MIG with {len(gpu.mig_instances)} instance{'' if len(gpu.mig_instances) == 1 else 's'}"
    if gpu.compute_mode not in (None, "default"):
        yield f"compute mode {gpu.compute_mode}"
    if gpu.ecc_errors:
        yield f"{gpu.ecc_errors} uncorrectable memory errors"
    if gpu.repair is not None:
        yield f"memory repair {gpu.repair}"
    if gpu.virtualization not in (None, "none"):
        yield f"virtual ({gpu.virtualization})"


def _scheduler(value: Scheduler) -> str:
    job = f"job {value.job}" if value.job else "no job: a login node"
    granted = {None: "", "": ", no card granted"}.get(value.granted, f", cards {value.granted}")
    return f"{value.kind}, {job}{granted}"


def _toolchain(machine: Machine) -> Iterator[Row]:
    yield _row(
        "toolkits", machine.toolkits, lambda kits: ", ".join(f"CUDA {kit.release} ({kit.nvcc})" for kit in kits), "none"
    )
    yield _row(
        "compilers", machine.host_compilers, lambda all_: ", ".join(f"{one.name} {one.version}" for one in all_), "none"
    )


def _resources(value: Resources) -> str:
    parts = []
    if value.memory_total is not None:
        parts.append(f"{size(value.memory_total)} of memory")
    if value.memory_limit is not None:
        parts.append(f"limited to {size(value.memory_limit)}")
    parts += [
        f"{size(disk.free)} free for {disk.purpose} ({disk.path})" for disk in value.disks if disk.free is not None
    ]
    return ", ".join(parts) or "not told"


def _interpreter(value: Interpreter) -> str:
    kind = {
        "venv": "virtual environment",
        "conda": "conda environment",
        "base": "conda base",
        "system": "not in an environment",
        "unknown": "environment not known",
    }
    return f"{value.version} at {value.executable} ({kind[value.kind]}; {value.asked})"


def _command(value: Command) -> str:
    starts = f" starts {value.interpreter}" if value.interpreter else ""
    problem = f": {value.problem}" if value.problem else ""
    return f"{value.name} is {value.path} ({value.kind}){starts}{problem}"


def _startup(environment: Environment) -> Iterator[Row]:
    value, source = environment.startup.value, environment.startup.source
    if value is None:
        return
    for copy in value.copies:
        yield ("copy on path", f"{copy.name} {copy.version or ''} {copy.location}".replace("  ", " "), source)
    for path_file in value.path_files:
        adds = f" adds {', '.join(path_file.adds)}" if path_file.adds else " runs code at every start"
        yield ("path file", f"{path_file.path}{adds}", source)
    for path in value.customised_by:
        yield ("at the start", f"{path} runs at every start", source)
    for name, meaning in sorted(value.aliases.items()):
        yield ("alias", f"{name} = {meaning}", source)


def _packages(environment: Environment) -> Iterator[Row]:
    torch = environment.torch
    if torch.value is not None:
        inside = (
            f"CUDA {torch.value.cuda} inside" if torch.value.cuda else "CPU build" if not torch.value.hip else "ROCm"
        )
        built = f", for {' '.join(sm.sm for sm in torch.value.sm)}" if torch.value.sm else ""
        yield ("torch", f"{torch.value.build} ({inside}{built})", torch.source)
    else:
        yield _row("torch", torch, str, "not installed")
    imported = environment.torch_import
    if imported.value is not None:
        yield ("import torch", _import(imported.value), imported.source)
    installed: dict[str, Distribution] = {}
    for item in environment.distributions.value or ():
        installed.setdefault(
            item.name.lower().replace("_", "-"), item
        )  # of several, Python takes the first on its path
    for name in FAMILY[1:]:
        if name in installed:
            yield (name, installed[name].version, installed[name].location)


def _import(value: TorchImport) -> str:
    if not value.ok:
        return f"fails: {value.error}"
    return "works" + {True: ", CUDA available", False: ", CUDA not available", None: ""}[value.cuda_available]


def _conda(machine: Machine, *, verbose: bool) -> Iterator[Row]:
    value, source = machine.conda.value, machine.conda.source
    if value is None:
        yield _row("conda", machine.conda, str, "not found")
        return
    parts = [(value.program or "no program on PATH") + (f" {value.version}" if value.version else "")]
    if value.active_prefix:
        parts.append(f"active: {value.active_name or value.active_prefix}")
    if value.channels:
        parts.append(f"channels: {', '.join(value.channels)}")
    yield ("conda", ", ".join(parts), source)
    for channel in value.states:
        if channel.suggested and not channel.reachable and not verbose:
            continue
        answer = "answers" if channel.reachable else "does not answer"
        problem = f": {channel.problem}" if channel.problem else ""
        name = "could be had" if channel.suggested else "channel"
        yield (name, f"{channel.name} ({channel.location}): {answer}{problem}", source)


def _sources(environment: Environment) -> Iterator[Row]:
    if environment.package_sources.is_unknown and environment.package_sources.problem != NOT_ASKED:
        yield ("pip takes", f"unknown: {environment.package_sources.problem}", environment.package_sources.source)
    for source in environment.package_sources.value or ():
        yield ("pip takes", f"{source.kind} {source.location}", source.configured_in)


def _network(value: NetworkSettings) -> str:
    return ", ".join(f"{one.name}={one.value}" for one in value.settings) or "nothing set"


def _index(index: IndexState) -> Row:
    state = f"answers in {index.seconds:.1f} s" if index.seconds else "answers"
    if index.age is not None:
        state = f"answered {time_span(index.age)} ago"
    if index.reachable and index.problem:
        state += f"; {index.problem.removeprefix('answers, but ')}"
    text = state if index.reachable else f"does not answer: {index.problem}"
    return ("index", f"{index.name}: {text}", index.location)
