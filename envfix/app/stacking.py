"""The links of the stack, from facts and findings alone: the same for every report that draws them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from packaging.version import Version

from envfix.model.facts import (
    NOT_ASKED,
    NOT_TOLD,
    Display,
    Distribution,
    Driver,
    Environment,
    Machine,
    Observed,
    TorchBuild,
    VisionBuild,
)
from envfix.model.finding import Diagnosis, Finding, Severity
from envfix.model.language import look_up, retold, say
from envfix.model.stack import Link, Part, State
from envfix.model.words import counted
from envfix.rules._cards import driver_system, nvidia_displays, uses_supported_compat
from envfix.rules._family import installed, key_of, requirements, version
from envfix.tables.loader import Tables

TORCH_FACTS = frozenset(("environment.torch", "environment.torch_import"))
DRIVER_FACTS = frozenset(("machine.driver_layers", "machine.device_state"))
# Packages whose state is torch's own.
OF_TORCH = re.compile(r"(torch|pytorch|numpy|nvidia[-_][\w-]+)(?![\w-])")
CUDA_LIBRARIES = re.compile(r"\blib(cu|nccl|nv)|\bnvidia[-_]|cudnn", re.IGNORECASE)
# What ultralytics does not start without: itself and OpenCV; and its command, which is no folder of that name.
OF_ULTRALYTICS = re.compile(r"\bultralytics\b|\bcv2\b|\bopencv\b")
ITS_COMMAND = re.compile(r"(?<![\w-])yolo(?:\.exe)?(?![\w/\\-])")


def links(machine: Machine, environment: Environment, diagnosis: Diagnosis, tables: Tables) -> tuple[Link, ...]:
    """Card, driver, CUDA runtime, torch, torchvision, ultralytics: each by its own facts, then by what was found wrong."""
    chain = (
        _card(machine),
        _driver(machine),
        _cuda(machine, environment, tables),
        _torch(environment),
        _torchvision(environment, tables),
        _ultralytics(environment),
    )
    said: dict[Part, Finding] = {}
    for finding in sorted(diagnosis.findings, key=lambda one: one.severity != Severity.ERROR):
        part = part_of(finding)
        if part is not None and finding.severity != Severity.INFO:
            said.setdefault(part, finding)
    judged = tuple(_judged(link, said.get(link.part)) for link in chain)
    seen = environment.torch_import.value
    if any(link.state == "broken" for link in judged[:2]) and not (seen is not None and seen.cuda_available):
        return tuple(_only_by_version(link) if link.part == "cuda" else link for link in judged)
    return judged


def _only_by_version(link: Link) -> Link:
    """A CUDA that the tables allow, behind a card or a driver that does not work: nobody has seen it start."""
    if link.state != "ok":
        return link
    reason = say("{fits} But nothing starts it while what stands before it is broken.", fits=link.reason)
    return msgspec.structs.replace(link, state="unknown", reason=reason)


def _judged(link: Link, finding: Finding | None) -> Link:
    """The link as a finding makes it: an error breaks it, a warning leaves a doubt."""
    if finding is None:
        return link
    # An import that works is stronger than what versions let fear.
    works = link.part == "torch" and link.state == "ok" and finding.code.startswith("FAM")
    broken = finding.severity == Severity.ERROR and not works
    # What is wrong with OpenCV is nothing to an ultralytics that is not there.
    beside = link.part == "ultralytics" and link.state == "absent" and finding.code.startswith("LIB")
    if beside or (link.state == "broken" and not broken):
        return link
    return msgspec.structs.replace(
        link, state="broken" if broken else "doubtful", reason=finding.message, code=finding.code
    )


def part_of(finding: Finding) -> Part | None:
    """The link that a finding is about, by the part of the house that its code names and the facts it rests on."""
    facts = {one.fact for one in finding.because}
    family = finding.code[:3]
    if family in ("DRV", "CTR"):
        return "cuda" if facts & TORCH_FACTS and not facts & DRIVER_FACTS else "driver"
    if family in ("GPU", "MEM", "VAR"):
        if "environment.torch" in facts:
            return "torch"
        return "card" if facts & {"machine.gpus", "machine.driver_layers", "machine.scheduler"} else None
    if family in ("TOR", "CND"):
        without_cuda = facts & {"machine.gpus", "machine.displays", "environment.conda_records"}
        return None if not facts & TORCH_FACTS else "cuda" if without_cuda else "torch"
    if family == "INT":
        if any(one.fact == "machine.commands" and ITS_COMMAND.search(one.value) for one in finding.because):
            return "ultralytics"
        lost = facts & {*TORCH_FACTS, "environment.elsewhere"} or finding.severity == Severity.ERROR
        return "torch" if lost else None
    return _of_package(finding, facts) if family in ("FAM", "LIB") else None


def _of_package(finding: Finding, facts: set[str]) -> Part | None:
    """The package that evidence names; None for one that is no link of the chain."""
    named = [one.value for one in finding.because if one.fact == "environment.distributions"]
    files = " ".join(f"{one.value} {one.source}" for one in finding.because if one.fact == "environment.binaries")
    everything = " ".join([*named, files])
    if "environment.torchvision" in facts or re.search(r"\btorchvision\b", everything):
        return "torchvision"
    if OF_ULTRALYTICS.search(everything):
        return "ultralytics"
    if not all(map(OF_TORCH.match, named)):
        return None
    libraries = " ".join(one.value for one in finding.because if one.fact != "environment.conda_records")
    if finding.code.startswith("LIB") and (CUDA_LIBRARIES.search(libraries) or "machine.libraries" in facts):
        return "cuda"
    of_torch = named or "/torch/" in files or facts & {"environment.torch_import", "environment.conda_records"}
    return "torch" if of_torch or facts <= TORCH_FACTS else None


def _link(part: Part, fact: Observed[Any], *, nothing: str) -> Link:
    """A link whose fact has no value: absent, or unknown with the reason."""
    if fact.is_absent:
        return Link(
            part=part,
            state="absent",
            reason=say("{nothing} (looked at: {source}).", nothing=nothing, source=retold(fact.source)),
        )
    if fact.problem == NOT_ASKED:
        return Link(part=part, state="unknown", reason=say("This was not asked."))
    return Link(part=part, state="unknown", reason=_sentence(retold(fact.problem or "") or say("it could not be told")))


def _card(machine: Machine) -> Link:
    cards = machine.gpus.value
    if cards:
        names = counted(one.name for one in cards)
        it = say("it") if len(cards) == 1 else say("them")
        reason = (
            say("The driver lists {it} ({source}).", it=it, source=retold(machine.gpus.source))
            if _heard(machine)
            else _told(machine.gpus)
        )
        return Link(part="card", state="ok", value=names, reason=reason)
    seen = nvidia_displays(machine)
    if seen:
        names = counted(map(_of_bus, seen))
        source = retold(machine.displays.source)
        return Link(
            part="card",
            state="doubtful",
            value=names,
            reason=say("On the bus ({source}), but no driver opens it.", source=source),
        )
    others = ", ".join(f"{one.vendor} {_of_bus(one)}" for one in machine.displays.value or ())
    beside = say(", but {others}", others=others) if others else ""
    return _link("card", machine.gpus, nothing=say("No NVIDIA card was found{beside}", beside=beside))


def _of_bus(display: Display) -> str:
    """``GA102 [GeForce RTX 3090]`` as people call it."""
    sold_as = re.findall(r"\[([^\[\]]+)\]", display.name or "")
    return sold_as[-1] if sold_as else display.name or f"{display.vendor} {display.device_id}"


def _driver(machine: Machine) -> Link:
    driver, layers = machine.driver, machine.driver_layers.value
    if driver.value is None:
        link = _link("driver", driver, nothing=say("No NVIDIA driver was found"))
        needed = link.state == "absent" and bool(nvidia_displays(machine))
        return msgspec.structs.replace(link, state="broken") if needed else link
    value = str(driver.value.version)
    if layers is not None and layers.nvml in ("error", "no-answer"):
        problem = layers.nvml_problem or say("its library does not answer")
        return Link(part="driver", state="doubtful", value=value, reason=_sentence(problem))
    serves = say(", and serves CUDA up to {cuda}", cuda=driver.value.cuda) if driver.value.cuda else ""
    reason = (
        say("It answers ({source}){serves}.", source=retold(driver.source), serves=serves)
        if _heard(machine)
        else _told(driver)
    )
    return Link(part="driver", state="ok", value=value, reason=reason)


def _heard(machine: Machine) -> bool:
    """Whether the driver itself was asked, and not a report or a variable."""
    layers = machine.driver_layers.value
    return layers is not None and layers.nvml == "works"


def _told(fact: Observed[Any]) -> str:
    return say("So says {source}; the driver itself was not asked.", source=retold(fact.source))


def _cuda(machine: Machine, environment: Environment, tables: Tables) -> Link:
    torch = environment.torch.value
    if torch is None:
        reason = say("and there is none") if environment.torch.is_absent else say("of which nothing is known")
        state: State = "absent" if environment.torch.is_absent else "unknown"
        return Link(part="cuda", state=state, reason=say("It comes with torch, {reason}.", reason=reason))
    if torch.cuda is None:
        inside = say("ROCm, for cards of AMD") if torch.hip else say("no CUDA (a build for the processor)")
        return Link(
            part="cuda", state="absent", reason=say("torch {build} carries {inside}.", build=torch.build, inside=inside)
        )
    value = f"CUDA {torch.cuda}"
    imported = environment.torch_import.value
    if imported is not None and imported.cuda_available:
        reason = say("torch started it on this driver ({source}).", source=retold(environment.torch_import.source))
        return Link(part="cuda", state="ok", value=value, reason=reason)
    if imported is not None and imported.cuda_available is False and machine.gpus.value:
        problem = imported.cuda_problem or say("torch finds no card to start it on")
        return Link(part="cuda", state="broken", value=value, reason=_sentence(problem))
    return _by_floor(machine, machine.driver.value, torch, tables, value)


def _by_floor(machine: Machine, driver: Driver | None, torch: TorchBuild, tables: Tables, value: str) -> Link:
    """Whether the driver is new enough, where torch has not tried."""
    floor = tables.drivers.floor(torch.cuda, driver_system(machine)) if torch.cuda else None
    if driver is None or floor is None:
        missing = (
            say("No driver answers to run it")
            if driver is None
            else say("No table knows which driver {value} needs", value=value)
        )
        return Link(part="cuda", state="unknown", value=value, reason=say("{missing}.", missing=missing))
    how = floor.compatibility(driver.version)
    if how is None and uses_supported_compat(machine, tables, floor.family):
        reason = say(
            "Driver {version} is too old for it, but NVIDIA's compatibility library {library} stands in.",
            version=driver.version,
            library=machine.driver_layers.value.libcuda_version if machine.driver_layers.value else "",
        )
        return Link(part="cuda", state="ok", value=value, reason=reason)
    if how is None:
        reason = say(
            "It needs driver {family} or newer, and there is {version}.", family=floor.family, version=driver.version
        )
        return Link(part="cuda", state="doubtful", value=value, reason=reason)
    least = floor.exact if how == "direct" else floor.family
    within = (
        "" if how == "direct" else say(" within CUDA {major}, without what newer drivers add", major=floor.cuda.major)
    )
    reason = say(
        "Driver {version} is new enough: {least} or newer runs it{within}.",
        version=driver.version,
        least=least,
        within=within,
    )
    return Link(part="cuda", state="ok", value=value, reason=reason)


def _torch(environment: Environment) -> Link:
    torch, imported = environment.torch.value, environment.torch_import
    if torch is None:
        return _link("torch", environment.torch, nothing=say("torch is not installed in this Python"))
    if imported.value is None:
        asked = imported.problem == NOT_ASKED
        why = (
            say("it was not imported, so nothing says that it starts")
            if asked
            else retold(imported.problem or "") or say("no answer")
        )
        return Link(part="torch", state="unknown", value=torch.build, reason=say("It is installed; {why}.", why=why))
    if not imported.value.ok:
        reason = say("Importing it fails: {error}", error=imported.value.error or say("no reason was given"))
        return Link(part="torch", state="broken", value=torch.build, reason=_sentence(reason))
    time = say(" in {seconds:.1f} s", seconds=imported.value.seconds) if imported.value.seconds else ""
    reason = say("Importing it worked{time} ({source}).", time=time, source=retold(imported.source))
    return Link(part="torch", state="ok", value=torch.build, reason=reason)


def _torchvision(environment: Environment, tables: Tables) -> Link:
    vision, torch = environment.torchvision.value, environment.torch.value
    if vision is None:
        return _link("torchvision", environment.torchvision, nothing=say("torchvision is not installed in this Python"))
    here = version(torch.build if torch else None)
    if torch is None or here is None:
        return Link(part="torchvision", state="unknown", value=vision.build, reason=say("There is no torch to fit to."))
    meant = _meant_for(vision, tables)
    if not meant:
        reason = say("Neither its metadata nor a table says for which torch it was built.")
        return Link(part="torchvision", state="unknown", value=vision.build, reason=reason)
    fits = here.public in {one.public for one in meant}
    reason = say(
        "It was built for torch {public}, which is {public_2}.",
        public=meant[0].public,
        public_2=say("there") if fits else say("not {public}", public=here.public),
    )
    return Link(part="torchvision", state="ok" if fits else "doubtful", value=vision.build, reason=reason)


def _meant_for(vision: VisionBuild, tables: Tables) -> tuple[Version, ...]:
    """The torch that its metadata pins, else those that its release goes with."""
    pin, release = version(vision.torch_pin), version(vision.version)
    if pin is not None:
        return (pin,)
    return tables.companions.torch_of_torchvision(release) if release is not None else ()


def _ultralytics(environment: Environment) -> Link:
    found = environment.distributions
    package = installed(environment).get("ultralytics")
    if found.value is None or package is None:
        nothing = say("ultralytics is not installed in this Python")
        if found.value is None:
            return _link("ultralytics", found, nothing=nothing)
        if environment.binaries.problem == NOT_TOLD:  # a pasted report lists some packages only
            return Link(part="ultralytics", state="unknown", reason=_sentence(look_up(NOT_TOLD)))
        return Link(
            part="ultralytics",
            state="absent",
            reason=say("{nothing} (looked at: {source}).", nothing=nothing, source=retold(found.source)),
        )
    return _ultralytics_fits(environment, package)


def _ultralytics_fits(environment: Environment, package: Distribution) -> Link:
    """What its files and its metadata say."""
    torch = environment.torch.value
    here = version(torch.build if torch else None)
    if package.missing_code:
        reason = say("{missing_code} of its files are gone.", missing_code=package.missing_code)
        return Link(part="ultralytics", state="broken", value=package.version, reason=reason)
    if here is None:
        return Link(
            part="ultralytics", state="unknown", value=package.version, reason=say("There is no torch to fit to.")
        )
    needs = [one.requirement for one in requirements(environment, iter((package,))) if one.extra is None]
    asked = [one.specifier for one in needs if key_of(one.name) == "torch"]
    unmet = [one for one in asked if not one.contains(here.public, prereleases=True)]
    lacking = _lacking([one.name for one in needs], environment)
    if lacking and not unmet:
        reason = say("It asks for {lacking}, which this Python does not have.", lacking=", ".join(lacking))
        return Link(part="ultralytics", state="unknown", value=package.version, reason=reason)
    if not asked:
        reason = say("It is installed; its metadata do not say which torch it takes.")
        return Link(part="ultralytics", state="unknown", value=package.version, reason=reason)
    said = say("It asks for torch {map}", map=", ".join(map(str, unmet or asked)))
    reason = say(
        "{said}, and {which} torch {public}.",
        said=said,
        which=say("there is") if unmet else say("takes"),
        public=here.public,
    )
    return Link(part="ultralytics", state="doubtful" if unmet else "ok", value=package.version, reason=reason)


def _lacking(names: list[str], environment: Environment) -> list[str]:
    """Packages that are asked for and not there; each OpenCV stands for any, and a pasted report does not list them all."""
    if environment.binaries.problem == NOT_TOLD:
        return []
    here = {"opencv-python" if "opencv" in name else name for name in installed(environment)}
    return [name for name in dict.fromkeys(map(key_of, names)) if name not in here | {"torch", "torchvision"}]


def _sentence(text: str) -> str:
    """One line that begins with a capital and ends with a stop."""
    line = " ".join(text.split())[:300]
    return say("{sentence}.", sentence=f"{line[:1].upper()}{line[1:]}".rstrip(".。"))
