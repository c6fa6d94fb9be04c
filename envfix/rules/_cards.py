"""What several rules ask of cards and drivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from envfix.model.facts import Display, Environment, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.versions import CudaVersion
from envfix.rules._rule import Rule, cite
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables

System = Literal["linux", "windows"]


def driver_system(machine: Machine) -> System:
    """Whose driver numbers count: under WSL the driver is the one of Windows."""
    place = machine.platform.value
    return "windows" if place is not None and (place.wsl or place.system == "win32") else "linux"


def nvidia_displays(machine: Machine) -> tuple[Display, ...]:
    """NVIDIA controllers on the PCI bus, driver or not."""
    return tuple(display for display in machine.displays.value or () if display.vendor_id == "10de")


def unfit_cards(
    rule: Rule, machine: Machine, environment: Environment, tables: Tables, *, newer: bool
) -> Iterator[Finding]:
    """Cards for which the installed torch holds no code: newer than its whole list, or older (one finding for all of them)."""
    torch, cards = environment.torch.value, machine.gpus.value
    if torch is None or torch.cuda is None or not torch.sm or not cards:
        return
    direct, newest = _is_direct(machine, torch.cuda, tables), max(torch.sm)
    unfit = []
    for card in cards:
        answers = (card.capability,) if card.capability else tables.gpus.capability_of(card.name)
        runs = [bool(runs_on(answer, _sm_list(torch), driver_is_direct=direct)) for answer in answers]
        if answers and not any(runs) and all((answer > newest) == newer for answer in answers):
            unfit.append((card, answers[0]))
    if not unfit:
        return
    names = ", ".join(f"{card.name} ({capability.sm})" for card, capability in unfit)
    built = " ".join(sm.sm for sm in torch.sm)
    yield Finding(
        code=rule.code,
        cause=rule.cause,
        severity=Severity.ERROR if len(unfit) == len(cards) else Severity.WARNING,
        message=f"torch {torch.build} holds no code for {names}: it was built for {'older' if newer else 'newer'} cards only.",
        because=(
            cite("machine.gpus", machine.gpus, names),
            cite("environment.torch", environment.torch, f"built for {built}"),
        ),
        remedies=(
            Remedy(
                text="Let envfix choose a torch that has code for this card and runs on this driver.",
                commands=(("envfix", "install", "--new-env", "yolo-env"),),
            ),
        ),
    )


def _is_direct(machine: Machine, runtime: CudaVersion, tables: Tables) -> bool:
    driver = machine.driver.value
    floor = tables.drivers.floor(runtime, driver_system(machine))
    return driver is not None and floor is not None and floor.compatibility(driver.version) == "direct"


def _sm_list(torch: TorchBuild) -> SmList:
    return SmList(sm=torch.sm or (), ptx=torch.ptx, cuda=torch.cuda)
