"""What several rules ask of cards and drivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from envfix.model.facts import Display, Environment, Gpu, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import say
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.model.words import counted
from envfix.rules._environments import NEW_ENV
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables

System = Literal["linux", "windows"]
# Where NVIDIA's packages cuda-compat put their libcuda.
COMPAT_FOLDERS = ("/compat/", "/cuda-compat")


def driver_system(machine: Machine) -> System:
    """Whose driver numbers count: under WSL the driver is the one of Windows."""
    place = machine.platform.value
    return "windows" if place is not None and (place.wsl or place.system == "win32") else "linux"


def nvidia_displays(machine: Machine) -> tuple[Display, ...]:
    """NVIDIA controllers on the PCI bus, driver or not."""
    return tuple(display for display in machine.displays.value or () if display.vendor_id == "10de")


def is_compat(machine: Machine) -> bool:
    """Whether the loader's libcuda is one of NVIDIA's compatibility packages.

    In a container the toolkit puts the image's own among the driver's files: there a newer one than the driver is such.
    """
    layers, place = machine.driver_layers.value, machine.platform.value
    if layers is None or not layers.libcuda:
        return False
    running = running_version(machine)
    inside = place is not None and place.container is not None
    newer = running and layers.libcuda_version and DriverVersion.parse(layers.libcuda_version) > running
    return any(folder in layers.libcuda for folder in COMPAT_FOLDERS) or bool(inside and newer)


def running_version(machine: Machine) -> DriverVersion | None:
    """The version of the loaded kernel module, else what NVML says of the driver."""
    layers, driver = machine.driver_layers.value, machine.driver.value
    if layers is not None and layers.kernel is not None:
        try:
            return DriverVersion.parse(layers.kernel)
        except ValueError:
            return None
    return driver.version if driver is not None else None


def compat_supported(machine: Machine, tables: Tables) -> bool | None:
    """Whether the cards work with compatibility libraries; None where a card's kind is not known."""
    kinds = {tables.gpus.class_of(card.name) for card in machine.gpus.value or ()}
    answers = {
        None
        if kind is None or kind == "workstation"  # some of these are supported: NVIDIA names no list
        else tables.drivers.forward_compatibility(driver_system(machine), kind) is not None
        for kind in kinds
    }
    return answers.pop() if len(answers) == 1 else None


def uses_supported_compat(machine: Machine, tables: Tables, floor: DriverVersion) -> bool:
    """Whether a compatibility library of at least this version stands in for the older driver, on cards that allow it."""
    layers = machine.driver_layers.value
    if layers is None or layers.libcuda_version is None or not is_compat(machine):
        return False
    return DriverVersion.parse(layers.libcuda_version) >= floor and compat_supported(machine, tables) is not False


def unfit_cards(
    rule: Rule, machine: Machine, environment: Environment, tables: Tables, *, newer: bool
) -> Iterator[Finding]:
    """Cards for which the installed torch holds no code: newer than its whole list, or older (one finding for all of them)."""
    torch, cards = environment.torch.value, machine.gpus.value
    if torch is None or torch.cuda is None or not torch.sm or not cards:
        return
    newest = max(torch.sm)
    unfit = []
    for card in cards:
        answers = _capabilities(card, tables)
        runs = _runs(torch, answers, machine, tables)
        if answers and not any(runs) and all((answer > newest) == newer for answer in answers):
            unfit.append((card, answers[0]))
    if not unfit:
        return
    names = counted(f"{card.name} ({capability.sm})" for card, capability in unfit)
    built = " ".join(sm.sm for sm in torch.sm)
    yield Finding(
        code=rule.code,
        cause=rule.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.ERROR if len(unfit) == len(cards) else Severity.WARNING,
        message=say(
            "torch {build} holds no code for {names}: it was built for {which} cards only.",
            build=torch.build,
            names=names,
            which=say("older") if newer else say("newer"),
        ),
        because=(
            cite("machine.gpus", machine.gpus, names),
            Evidence(
                fact="environment.torch",
                value=say("built for {built}", built=built),
                source=_source_of_sm(environment, torch),
            ),
        ),
        remedies=(
            Remedy(
                text=say("Let envfix choose a torch that has code for this card and runs on this driver."),
                commands=(NEW_ENV,),
            ),
        ),
    )


def has_code_for_cards(machine: Machine, environment: Environment, tables: Tables) -> bool:
    """Whether the installed torch is known to hold code for every card; False also where one of both is not known."""
    torch, cards = environment.torch.value, machine.gpus.value
    if torch is None or torch.cuda is None or not torch.sm or not cards:
        return False
    each = [_runs(torch, _capabilities(card, tables), machine, tables) for card in cards]
    return all(runs and all(runs) for runs in each)


def _capabilities(card: Gpu, tables: Tables) -> tuple[ComputeCapability, ...]:
    """The card's own answer, or all that its name leaves open."""
    return (card.capability,) if card.capability else tables.gpus.capability_of(card.name)


def _runs(
    torch: TorchBuild, capabilities: tuple[ComputeCapability, ...], machine: Machine, tables: Tables
) -> list[bool]:
    direct = torch.cuda is not None and _is_direct(machine, torch.cuda, tables)
    return [bool(runs_on(answer, _sm_list(torch), driver_is_direct=direct)) for answer in capabilities]


def _source_of_sm(environment: Environment, torch: TorchBuild) -> str:
    """Where the list of cards was read: in torch's library, unless a report told it."""
    source = environment.torch.source
    return (
        say("{location}/lib (libtorch_python or libtorch_cuda)", location=torch.location)
        if source.endswith("version.py")
        else source
    )


def _is_direct(machine: Machine, runtime: CudaVersion, tables: Tables) -> bool:
    driver = machine.driver.value
    floor = tables.drivers.floor(runtime, driver_system(machine))
    return driver is not None and floor is not None and floor.compatibility(driver.version) == "direct"


def _sm_list(torch: TorchBuild) -> SmList:
    return SmList(sm=torch.sm or (), ptx=torch.ptx, cuda=torch.cuda)
