"""For which machine and interpreter a plan is: the facts, and what the user says of a machine they are not on."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Literal

import msgspec

from envfix.errors import UsageError
from envfix.model.facts import Display, DriverLayers, Gpu, Interpreter, Machine, Observed
from envfix.model.language import retold, say
from envfix.model.plan import PlanTarget, TargetGpu
from envfix.model.versions import ComputeCapability, DriverVersion
from envfix.resolver.request import parse_gpu
from envfix.tables.loader import Tables

PLATFORMS = (
    "linux_x86_64",
    "linux_aarch64",
    "linux_s390x",
    "win_amd64",
    "win_arm64",
    "macosx_arm64",
    "macosx_x86_64",
)
PYTHON = re.compile(r"(?P<major>\d)\.(?P<minor>\d{1,2})(?:\.\d+(?:(?:a|b|rc)\d+)?\+?)?(?P<free>t?)", re.ASCII)
DriverState = Literal["works", "absent", "broken", "unknown"]


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """What the user says of the machine that is planned for; None means: as it is here."""

    driver: str | None = None
    gpus: tuple[str, ...] = ()
    platform: str | None = None
    glibc: str | None = None
    python: str | None = None


def describe(machine: Machine, interpreter: Observed[Interpreter], said: Elsewhere, tables: Tables) -> PlanTarget:
    """Facts and overrides as one target; raises ``UsageError`` where they do not make sense together."""
    python, tag = _python(interpreter, said.python)
    platform = _platform(machine, interpreter, said.platform)
    libc, glibc = _libc(machine, platform, said)
    driver, state, problem, cause = _driver(machine, said, tables)
    gpus, problem = _gpus(machine, said, tables, problem)
    if said.gpus and gpus and said.driver is None and state != "works":
        raise UsageError(
            say("--gpu needs --driver too: the driver decides what the card can run"),
            hint=say("nvidia-smi prints its version"),
        )
    if not said.gpus and state == "works" and machine.gpus.is_absent and _cards_on_bus(machine):
        state, problem = "broken", say("the driver works but opens no card, although the PCI bus shows one")
    if said.driver and not said.gpus and not gpus:
        raise UsageError(
            say("--driver needs --gpu too: this machine has no card to plan for"),
            hint=say('for example --gpu "RTX 3090"'),
        )
    if state == "works" and not said.driver and not gpus and machine.driver.source == "ENVFIX_DRIVER":
        raise UsageError(
            say("ENVFIX_DRIVER needs ENVFIX_GPU too: this machine has no card to plan for"),
            hint='ENVFIX_GPU="RTX 3090"',
        )
    place = machine.platform.value
    return PlanTarget(
        python=python,
        tag=tag,
        platform=platform,
        libc=libc,
        glibc=glibc,
        driver=driver,
        gpus=gpus,
        driver_state=state,
        gpu_problem=problem,
        gpu_problem_cause=cause,
        wsl=bool(place and place.wsl and said.platform is None),
        jetson=place.jetson if place and said.platform is None else None,
    )


def _python(interpreter: Observed[Interpreter], said: str | None) -> tuple[str, str]:
    value = interpreter.value
    if value is not None:
        return value.version, value.tag
    if said is None or not PYTHON.fullmatch(said):
        raise UsageError(
            say(
                "the Python at {source} cannot be used: {problem}",
                source=interpreter.source,
                problem=retold(interpreter.problem or ""),
            ),
            hint=say("name another one, such as --python 3.11 or the path of an environment"),
        )
    return said, read_python(said)


def read_python(text: str) -> str:
    """The interpreter tag of a CPython version: ``3.13t`` is cp313t; raises ``UsageError``."""
    match = PYTHON.fullmatch(text)
    if match is None:
        raise UsageError(
            say("--python {text!r} is not a CPython version", text=text[:40]),
            hint=say("for example 3.11, 3.15.0b2 or 3.13t"),
        )
    return f"cp{match['major']}{match['minor']}{match['free']}"


def check_platform(text: str) -> None:
    """Refuse what is no platform of wheels; raises ``UsageError``."""
    if text not in PLATFORMS:
        raise UsageError(
            say("--platform {text!r} is not known", text=text[:40]),
            hint=say("one of {platforms}", platforms=", ".join(PLATFORMS)),
        )


def check_glibc(text: str) -> None:
    """Refuse what is no release of glibc; raises ``UsageError``."""
    if not re.fullmatch(r"2\.\d{1,2}", text, re.ASCII):
        raise UsageError(say("--glibc {text!r} is not a glibc version", text=text[:40]), hint=say("for example 2.31"))


def _platform(machine: Machine, interpreter: Observed[Interpreter], said: str | None) -> str:
    if said is not None:
        check_platform(said)
        return said
    if interpreter.value is not None and interpreter.value.platform_tag:
        return interpreter.value.platform_tag
    place = machine.platform.value
    if place is None:
        raise UsageError(
            say("the platform is unknown: {problem}", problem=retold(machine.platform.problem or "")),
            hint=say("give --platform, one of {platforms}", platforms=", ".join(PLATFORMS)),
        )
    return place.tag


def _libc(machine: Machine, platform: str, said: Elsewhere) -> tuple[str | None, str | None]:
    if not platform.startswith("linux"):
        return None, None
    if said.glibc is not None:
        check_glibc(said.glibc)
        return "glibc", said.glibc
    place = machine.platform.value
    here = place is not None and place.libc is not None and said.platform in (None, place.tag)
    return (place.libc.family, place.libc.version) if here and place and place.libc else ("glibc", None)


def _driver(
    machine: Machine, said: Elsewhere, tables: Tables
) -> tuple[DriverVersion | None, DriverState, str | None, str | None]:
    if said.driver is not None:
        try:
            return DriverVersion.parse(said.driver), "works", None, None
        except ValueError as error:
            raise UsageError(f"--driver: {error}", hint=say("for example --driver 550.54.14")) from error
    if [text.lower() for text in said.gpus] == ["none"]:
        return None, "absent", None, None
    fact, layers = machine.driver, machine.driver_layers.value
    if fact.value is not None:
        unseen = machine.gpus.is_unknown
        return (
            fact.value.version,
            "unknown" if unseen else "works",
            retold(machine.gpus.problem or "") if unseen else None,
            None,
        )
    if fact.is_absent:
        return None, "absent", None, None
    installed = _installed_driver(layers, tables) if layers else None
    broken = layers is not None and (layers.nvml == "error" or bool(layers.smi))
    cause = None
    if layers is not None and broken:
        mismatch = "mismatch" in f"{layers.nvml_problem} {layers.smi}"
        cause = "driver_library_version_mismatch" if mismatch else "nvidia_kernel_module_not_loaded"
    return installed, "broken" if broken else "unknown", retold(fact.problem or "") or None, cause


def _installed_driver(layers: DriverLayers, tables: Tables) -> DriverVersion | None:
    """The driver that will run once it works: by its files, else the oldest of the branch that serves what libcuda says."""
    told = layers.library or layers.libcuda_version or layers.kernel
    if told:
        with suppress(ValueError):  # a snapshot of somebody else may say anything
            return DriverVersion.parse(told)
    branch = tables.drivers.first_branch_serving(layers.libcuda_cuda) if layers.libcuda_cuda else None
    return DriverVersion.parse(str(branch)) if branch is not None else None


def _gpus(
    machine: Machine, said: Elsewhere, tables: Tables, problem: str | None
) -> tuple[tuple[TargetGpu, ...], str | None]:
    if said.gpus:
        if [text.lower() for text in said.gpus] == ["none"]:
            return (), problem
        return tuple(
            msgspec.structs.replace(parse_gpu(text, tables), index=index) for index, text in enumerate(said.gpus)
        ), problem
    if machine.gpus.value is not None:
        return tuple(_seen(gpu, tables) for gpu in machine.gpus.value), problem
    return tuple(_on_bus(card, tables) for card in _cards_on_bus(machine)), problem


def _seen(gpu: Gpu, tables: Tables) -> TargetGpu:
    return TargetGpu(
        name=gpu.name, capability=gpu.capability or _only(gpu.name, tables), uuid=gpu.uuid, index=gpu.index
    )


def _on_bus(card: Display, tables: Tables) -> TargetGpu:
    """Lspci writes the chip, then the product in brackets: ``NVIDIA Corporation GA102 [GeForce RTX 3090]``."""
    match = re.search(r"\[([^\]]+)\]\s*$", card.name or "")
    name = (
        match[1]
        if match
        else card.name or say("NVIDIA card {vendor_id}:{device_id}", vendor_id=card.vendor_id, device_id=card.device_id)
    )
    return TargetGpu(name=name, capability=_only(name, tables))


def _only(name: str, tables: Tables) -> ComputeCapability | None:
    answers = tables.gpus.capability_of(name)
    return answers[0] if len(answers) == 1 else None


def _cards_on_bus(machine: Machine) -> list[Display]:
    return [display for display in machine.displays.value or () if display.vendor_id == "10de"]
