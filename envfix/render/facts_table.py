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
from envfix.model.language import later, look_up, retold, say
from envfix.model.report import Report
from envfix.model.words import time_span
from envfix.render.words import size

T = TypeVar("T")
Row = tuple[str, str, str]
GIB = 1024**3
# Words of facts that people read: kernel modules, commands, repairs of a card's memory.
WORDS = (
    later("open"),
    later("proprietary"),
    later("program"),
    later("script"),
    later("shim"),
    later("wrapper"),
    later("pending"),
    later("failed"),
)
FAMILY = ("torch", "torchvision", "torchaudio", "ultralytics", "numpy")


def rows(report: Report, *, verbose: bool) -> Iterator[Row]:
    """One row a fact; unknown ones say why, absent ones where was looked (the source is empty in the short form)."""
    found = _all(report) if verbose else _decisive(report)
    for name, value, source in found:
        unknown = value.startswith(say("unknown"))
        yield name, value, retold(source) if verbose or unknown else ""


def _decisive(report: Report) -> Iterator[Row]:
    machine, environment = report.machine, report.environment
    yield _row("machine", machine.platform, _platform)
    yield from _nvidia(machine)
    if machine.scheduler.value is not None:
        yield _row(say("batch system"), machine.scheduler, _scheduler)
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
        held = say(", held by {driver}", driver=display.driver) if display.driver else ""
        name = display.name or display.device_id
        whole = name if name.startswith(display.vendor) else f"{display.vendor} {name}"
        text = say("{display} at {bus}{held}", display=whole, bus=display.bus, held=held)
        yield (say("on the bus"), text, machine.displays.source)
    yield _row(say("batch system"), machine.scheduler, _scheduler)
    yield from _toolchain(machine)
    for library in machine.libraries.value or ():
        yield ("library", f"{library.path}{f' {library.version}' if library.version else ''}", library.found_by)
    yield _row(say("memory, disks"), machine.resources, _resources)
    yield _row("python", environment.interpreter, _interpreter)
    for command in machine.commands.value or ():
        yield ("command", _command(command), machine.commands.source)
    yield from _startup(environment)
    yield from _packages(environment)
    for place in environment.elsewhere.value or ():
        yield (
            say("also near by"),
            say("torch {torch} in {prefix}", torch=place.torch, prefix=place.prefix),
            environment.elsewhere.source,
        )
    yield from _conda(machine, verbose=True)
    yield from _sources(environment)
    yield _row("network", machine.network, _network)
    yield from map(_index, report.indexes)
    for name, value in sorted(machine.variables.items()):
        yield ("variable", f"{name}={value}", "")


def _row(name: str, fact: Observed[T], show: Callable[[T], str], when_absent: str = later("none")) -> Row:
    if fact.value is not None:
        return (name, show(fact.value), fact.source)
    if fact.is_absent:
        return (name, look_up(when_absent), say("looked at: {source}", source=retold(fact.source)))
    if fact.problem == NOT_ASKED:
        return (name, look_up(NOT_ASKED), fact.source)
    return (name, say("unknown: {problem}", problem=retold(fact.problem or "")), fact.source)


def _platform(value: Platform) -> str:
    parts = [value.distribution or value.system, value.machine]
    if value.libc:
        parts.append(f"{value.libc.family} {value.libc.version or ''}".strip())
    if value.wsl:
        parts.append("WSL")
    if value.container:
        parts.append(say("in a {container} container", container=value.container))
    if value.jetson:
        parts.append(say("Jetson {jetson}", jetson=value.jetson))
    return ", ".join(parts)


def _nvidia(machine: Machine) -> Iterator[Row]:
    yield _row("driver", machine.driver, _driver, say("no NVIDIA driver"))
    if machine.gpus.value:
        for gpu in machine.gpus.value:
            yield (f"GPU {gpu.index}", _gpu(gpu), machine.gpus.source)
        return
    seen = [
        display.name or display.device_id for display in machine.displays.value or () if display.vendor_id == "10de"
    ]
    if seen and machine.gpus.is_absent:
        yield ("GPU", say("{seen} on the PCI bus, opened by no driver", seen=", ".join(seen)), machine.displays.source)
    else:
        yield _row("GPU", machine.gpus, str, say("no NVIDIA GPU"))


def _driver(value: Driver) -> str:
    serves = say(", serves CUDA up to {cuda}", cuda=value.cuda) if value.cuda else ""
    module = say(", {module} kernel module", module=look_up(value.module)) if value.module else ""
    return f"NVIDIA {value.version}{serves}{module}"


def _gpu(gpu: Gpu) -> str:
    return ", ".join((gpu.name, *_memory(gpu), *_state(gpu)))


def _memory(gpu: Gpu) -> Iterator[str]:
    if gpu.capability:
        yield say("compute capability {capability}", capability=gpu.capability)
    if gpu.memory_total is not None and gpu.memory_free is not None:
        yield say(
            "{memory_free:.1f} of {memory_total:.1f} GiB free",
            memory_free=gpu.memory_free / GIB,
            memory_total=gpu.memory_total / GIB,
        )
    elif gpu.memory_total is not None:
        yield f"{gpu.memory_total / GIB:.1f} GiB"
    if gpu.processes:
        yield say("{count} process{es}", count=len(gpu.processes), es="es" if len(gpu.processes) > 1 else "")


def _state(gpu: Gpu) -> Iterator[str]:
    """What is out of the ordinary."""
    if gpu.mig:
        yield say(
            "MIG with {number} instance{s}", number=len(gpu.mig_instances), s="" if len(gpu.mig_instances) == 1 else "s"
        )
    if gpu.compute_mode not in (None, "default"):
        yield say("compute mode {compute_mode}", compute_mode=gpu.compute_mode)
    if gpu.ecc_errors:
        yield say("{ecc_errors} uncorrectable memory errors", ecc_errors=gpu.ecc_errors)
    if gpu.repair is not None:
        yield say("memory repair {repair}", repair=look_up(gpu.repair))
    if gpu.virtualization not in (None, "none"):
        yield say("virtual ({virtualization})", virtualization=gpu.virtualization)


def _scheduler(value: Scheduler) -> str:
    job = say("job {job}", job=value.job) if value.job else say("no job: a login node")
    granted = {None: "", "": say(", no card granted")}.get(
        value.granted, say(", cards {granted}", granted=value.granted)
    )
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
        parts.append(say("{memory_total} of memory", memory_total=size(value.memory_total)))
    if value.memory_limit is not None:
        parts.append(say("limited to {memory_limit}", memory_limit=size(value.memory_limit)))
    parts += [
        say("{free} free for {purpose} ({path})", free=size(disk.free), purpose=look_up(disk.purpose), path=disk.path)
        for disk in value.disks
        if disk.free is not None
    ]
    return ", ".join(parts) or say("not told")


def _interpreter(value: Interpreter) -> str:
    kind = {
        "venv": say("virtual environment"),
        "conda": say("conda environment"),
        "base": say("conda base"),
        "system": say("not in an environment"),
        "unknown": say("environment not known"),
    }
    return say(
        "{version} at {executable} ({kind}; {asked})",
        version=value.version,
        executable=value.executable,
        kind=kind[value.kind],
        asked=retold(value.asked),
    )


def _command(value: Command) -> str:
    starts = say(" starts {interpreter}", interpreter=value.interpreter) if value.interpreter else ""
    problem = f": {retold(value.problem)}" if value.problem else ""
    return say(
        "{value} is {path} ({kind}){starts}{problem}",
        value=value.name,
        path=value.path,
        kind=look_up(value.kind),
        starts=starts,
        problem=problem,
    )


def _startup(environment: Environment) -> Iterator[Row]:
    value, source = environment.startup.value, environment.startup.source
    if value is None:
        return
    for copy in value.copies:
        yield (say("copy on path"), f"{copy.name} {copy.version or ''} {copy.location}".replace("  ", " "), source)
    for path_file in value.path_files:
        adds = (
            say(" adds {adds}", adds=", ".join(path_file.adds)) if path_file.adds else say(" runs code at every start")
        )
        yield (say("path file"), f"{path_file.path}{adds}", source)
    for path in value.customised_by:
        yield (say("at the start"), say("{path} runs at every start", path=path), source)
    for name, meaning in sorted(value.aliases.items()):
        yield ("alias", f"{name} = {meaning}", source)


def _packages(environment: Environment) -> Iterator[Row]:
    torch = environment.torch
    if torch.value is not None:
        inside = (
            say("CUDA {cuda} inside", cuda=torch.value.cuda)
            if torch.value.cuda
            else say("CPU build")
            if not torch.value.hip
            else "ROCm"
        )
        built = say(", for {sms}", sms=" ".join(sm.sm for sm in torch.value.sm)) if torch.value.sm else ""
        yield (
            "torch",
            say("{build} ({inside}{built})", build=torch.value.build, inside=inside, built=built),
            torch.source,
        )
    else:
        yield _row("torch", torch, str, say("not installed"))
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
        return say("fails: {error}", error=retold(value.error or ""))
    return {True: say("works, CUDA available"), False: say("works, CUDA not available"), None: say("works")}[
        value.cuda_available
    ]


def _conda(machine: Machine, *, verbose: bool) -> Iterator[Row]:
    value, source = machine.conda.value, machine.conda.source
    if value is None:
        yield _row("conda", machine.conda, str, say("not found"))
        return
    parts = [(value.program or say("no program on PATH")) + (f" {value.version}" if value.version else "")]
    if value.active_prefix:
        parts.append(say("active: {active_name}", active_name=value.active_name or value.active_prefix))
    if value.channels:
        parts.append(say("channels: {channels}", channels=", ".join(value.channels)))
    yield ("conda", ", ".join(parts), source)
    for channel in value.states:
        if channel.suggested and not channel.reachable and not verbose:
            continue
        answer = say("answers") if channel.reachable else say("does not answer")
        problem = f": {retold(channel.problem)}" if channel.problem else ""
        name = say("could be had") if channel.suggested else say("channel")
        yield (name, f"{channel.name} ({channel.location}): {answer}{problem}", source)


def _sources(environment: Environment) -> Iterator[Row]:
    if environment.package_sources.is_unknown and environment.package_sources.problem != NOT_ASKED:
        yield (
            say("pip takes"),
            say("unknown: {problem}", problem=retold(environment.package_sources.problem or "")),
            environment.package_sources.source,
        )
    for source in environment.package_sources.value or ():
        yield (say("pip takes"), f"{source.kind} {source.location}", source.configured_in)


def _network(value: NetworkSettings) -> str:
    return ", ".join(f"{one.name}={one.value}" for one in value.settings) or say("nothing set")


def _index(index: IndexState) -> Row:
    state = say("answers in {seconds:.1f} s", seconds=index.seconds) if index.seconds else say("answers")
    if index.age is not None:
        state = say("answered {time_span} ago", time_span=time_span(index.age))
    if index.reachable and index.problem:
        state += "; " + retold(index.problem).removeprefix(say("answers, but "))
    text = state if index.reachable else say("does not answer: {problem}", problem=retold(index.problem or ""))
    return ("index", f"{index.name}: {text}", index.location)
