"""The facts of a diagnosis and of a plan as rows of name, value and source: the same for every text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from envfix.model.facts import Driver, Environment, Gpu, Interpreter, Machine, Observed, Platform, TorchImport
from envfix.model.plan import Plan, PlanTarget
from envfix.model.report import Report
from envfix.model.words import time_span
from envfix.render.words import size

T = TypeVar("T")
Row = tuple[str, str, str]
GIB = 1024**3
FAMILY = ("torch", "torchvision", "torchaudio", "ultralytics", "numpy")


def rows(report: Report, *, verbose: bool) -> Iterator[Row]:
    """One row a fact; unknown ones say why, absent ones where was looked."""
    machine, environment = report.machine, report.environment
    yield _row("machine", machine.platform, _platform)
    yield from _nvidia(machine)
    yield _row(
        "toolkits", machine.toolkits, lambda all_: ", ".join(f"CUDA {kit.release} ({kit.nvcc})" for kit in all_), "none"
    )
    yield _row(
        "compilers", machine.host_compilers, lambda all_: ", ".join(f"{one.name} {one.version}" for one in all_), "none"
    )
    yield _row("python", environment.interpreter, _interpreter)
    yield from _packages(environment)
    yield _row(
        "conda",
        machine.conda,
        lambda one: (
            (one.program or "no program on PATH")
            + (f" {one.version}" if one.version else "")
            + (f", active: {one.active_name or one.active_prefix}" if one.active_prefix else "")
            + (f", channels: {', '.join(one.channels)}" if one.channels else "")
        ),
        "not found",
    )
    for channel in machine.conda.value.states if machine.conda.value else ():
        if channel.suggested and not channel.reachable and not verbose:
            continue
        answer = "answers" if channel.reachable else "does not answer"
        problem = f": {channel.problem}" if channel.problem else ""
        yield (
            "could be had" if channel.suggested else "channel",
            f"{channel.name}: {answer}{problem}",
            channel.location,
        )
    for source in environment.package_sources.value or ():
        yield ("pip takes", f"{source.kind} {source.location}", source.configured_in)
    if environment.package_sources.is_unknown:
        yield ("pip takes", f"unknown: {environment.package_sources.problem}", environment.package_sources.source)
    for index in report.indexes:
        state = f"answers in {index.seconds:.1f} s" if index.seconds else "answers"
        if index.age is not None:
            state = f"answered {time_span(index.age)} ago"
        if index.reachable and index.problem:
            state += f"; {index.problem.removeprefix('answers, but ')}"
        yield (
            "index",
            f"{index.name}: {state if index.reachable else f'does not answer: {index.problem}'}",
            index.location,
        )
    if verbose:
        for display in machine.displays.value or ():
            yield (
                "on the bus",
                f"{display.vendor} {display.name or display.device_id} at {display.bus}",
                machine.displays.source,
            )
        for name, value in sorted(machine.variables.items()):
            yield ("variable", f"{name}={value}", "")


def _row(name: str, fact: Observed[T], show: Callable[[T], str], when_absent: str = "none") -> Row:
    if fact.value is not None:
        return (name, show(fact.value), fact.source)
    if fact.is_absent:
        return (name, when_absent, f"looked at: {fact.source}")
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
    else:
        yield _row("GPU", machine.gpus, str, "no NVIDIA GPU")


def _driver(value: Driver) -> str:
    serves = f", serves CUDA up to {value.cuda}" if value.cuda else ""
    module = f", {value.module} kernel module" if value.module else ""
    return f"NVIDIA {value.version}{serves}{module}"


def _gpu(gpu: Gpu) -> str:
    parts = [gpu.name]
    if gpu.capability:
        parts.append(f"compute capability {gpu.capability}")
    if gpu.memory_total is not None and gpu.memory_free is not None:
        parts.append(f"{gpu.memory_free / GIB:.1f} of {gpu.memory_total / GIB:.1f} GiB free")
    elif gpu.memory_total is not None:
        parts.append(f"{gpu.memory_total / GIB:.1f} GiB")
    if gpu.processes:
        parts.append(f"{len(gpu.processes)} process{'es' if len(gpu.processes) > 1 else ''}")
    return ", ".join(parts)


def _interpreter(value: Interpreter) -> str:
    kind = {
        "venv": "virtual environment",
        "conda": "conda environment",
        "base": "conda base",
        "system": "not in an environment",
        "unknown": "environment not known",
    }
    return f"{value.version} at {value.executable} ({kind[value.kind]}; {value.asked})"


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
        yield (
            "import torch",
            _import(imported.value),
            imported.source,
        )
    installed = {item.name.lower().replace("_", "-"): item for item in environment.distributions.value or ()}
    for name in FAMILY[1:]:
        if name in installed:
            yield (name, installed[name].version, installed[name].location)


def _import(value: TorchImport) -> str:
    if not value.ok:
        return f"fails: {value.error}"
    return "works" + {True: ", CUDA available", False: ", CUDA not available", None: ""}[value.cuda_available]


def plan_rows(plan: Plan) -> Iterator[Row]:
    """For which machine the plan is, and what it costs."""
    yield ("for", _target(plan.target), "")
    if plan.download_bytes is not None:
        yield ("price", _price(plan, plan.download_bytes), "")
    elif plan.choice is not None:
        yield ("price", "not known: no dry resolution was made", "")
    if plan.gpu is not None:
        yield ("use", f"export {plan.gpu.export}", "")


def _price(plan: Plan, everything: int) -> str:
    cached = plan.cached_bytes or 0
    files = f"{len(plan.downloads)} files, {size(everything)}"
    download = f"{files} to download" if not cached else f"{files}, of which {size(cached)} are in the cache already"
    return download + (f"; about {size(plan.disk_bytes)} on disk" if plan.disk_bytes else "")


def _target(target: PlanTarget) -> str:
    cards = (
        ", ".join(f"{gpu.name}{f' ({gpu.capability})' if gpu.capability else ''}" for gpu in target.gpus)
        or "no NVIDIA GPU"
    )
    driver = (
        f"driver {target.driver}"
        if target.driver
        else "no driver"
        if target.driver_state == "absent"
        else f"driver {target.driver_state}"
    )
    libc = f", {target.libc or 'glibc'} {target.glibc}" if target.glibc else ""
    nothing = not target.gpus and target.driver_state in ("absent", "works") and target.driver is None
    return f"Python {target.python}, {target.platform}{libc}, {cards if nothing else f'{driver}, {cards}'}"


def rejections(plan: Plan) -> Iterator[tuple[str, str]]:
    """What was not chosen, folded by reason: the newest builds that it ruled out and how many more, then the reason."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for row in plan.rejected:
        by_reason.setdefault(row.text, {}).setdefault(row.torch, []).append(row.variant)
    for text, builds in by_reason.items():
        newest = [f"{torch} ({', '.join(variants)})" for torch, variants in builds.items()]
        more = f" and {len(newest) - 2} more releases" if len(newest) > 2 else ""
        yield f"torch {', '.join(newest[:2])}{more}", text
