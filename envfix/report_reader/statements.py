"""What a log says of the machine it was made on: banners, nvidia-smi's table, a report pasted along with the error.

It becomes a ``collect_env`` report, as far as it goes, and is read by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from envfix.model.facts import NOT_TOLD, Environment, Machine, Observed, unknown
from envfix.model.language import later, say
from envfix.model.log import Log
from envfix.report_reader import facts, lines
from envfix.tables.loader import Tables

SOURCE = later("the log")
# "Ultralytics YOLOv8.0.222 Python-3.10.12 torch-1.12.0+cu113 CUDA:0 (NVIDIA A100, 81100MiB)", and YOLOv5's older form of it.
_CARD = r"(?:\s?\((?P<card>[^,()\n]{3,60}),)?"
BANNER = r"Python-(?P<python>[23]\.\d+\.\d+\S*) torch-(?P<torch>[\d.]+[\w.+]*) (?P<device>CUDA:\d|CPU|MPS)" + _CARD
OLD_BANNER = r"torch (?P<torch>\d\.[\d.]+[\w.+]*) (?P<device>CUDA:\d|CPU)" + _CARD
SMI = r"Driver Version: (?P<driver>\d{3}\.\d+(?:\.\d+)?)\s+CUDA Version: (?P<cuda>\d+\.\d+)"
# A row of nvidia-smi's table of cards, and torch's own words about a card.
SMI_CARD = (
    r"\|\s+(?P<index>\d{1,2})\s+(?P<card>(?:NVIDIA|GeForce|Tesla|Quadro|TITAN|RTX|GRID)[\x20\w-]{2,40}?)\s{1,20}"
    r"(?:On|Off|N/A|TCC|WDDM)\s+\|"
)
UNFIT = (
    r"(?P<card>(?:NVIDIA|GeForce|Tesla|Quadro|TITAN|RTX)[\x20\w-]{2,50}) with CUDA capability sm_(?P<sm>\d{2,3}) is not"
    r" compatible"
)
# The size of the card that ran out of memory, and the newest CUDA that a driver serves, in torch's words.
CAPACITY = r"(?:total capaci?ty of (?P<total>[\d.]{1,8}) GiB|(?P<total2>[\d.]{1,8}) GiB total capacity)"
SERVES = r"driver on your system is too old \(found version (?P<found>\d{4,5})\)"
REPORT = r"PyTorch version: \S+"
WINDOWS = (
    r"[A-Za-z]:(?:\\{1,2}|/)(?:Users|Program Files|ProgramData|Windows)|win_amd64|\[WinError \d+\]|\.dll\b|PS [A-Z]:\\"
)
MAC = r"/Users/\w+/|macosx_\d|\bDarwin\b|/opt/homebrew/"
LINUX = r"linux_x86_64|x86_64-linux-gnu"
PATTERNS = (BANNER, OLD_BANNER, SMI, SMI_CARD, UNFIT, CAPACITY, SERVES, REPORT, WINDOWS, MAC, LINUX)


class Stated(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that a log states; ``told`` is False where it states none that could be judged."""

    machine: Machine
    environment: Environment
    told: bool


def read(log: Log, tables: Tables) -> Stated:
    """What the log says of its machine; everything else is unknown."""
    report = _report(log) or lines.Lines(fields={})
    said = dict(_fields(log))
    # The report pasted along was made on purpose; a banner fills its gaps.
    fields = {**{key: (value,) for key, value in said.items()}, **report.fields}
    pip = report.pip or tuple(f"{name}=={version}" for name, version in _packages(said))
    machine, environment = facts.read(lines.Lines(fields=fields, pip=pip, conda=report.conda), tables)
    if "PyTorch version" not in fields:
        environment = msgspec.structs.replace(environment, torch_import=unknown(SOURCE, NOT_TOLD))
    told = any(key in fields for key in ("PyTorch version", "Nvidia driver version", "GPU models and configuration"))
    if not report.fields:
        machine, environment = _called(machine), _called(environment)
    return Stated(machine=machine, environment=environment, told=told)


def _report(log: Log) -> lines.Lines | None:
    for hit in log.found(REPORT):
        report = lines.find(hit.before.rpartition("\n")[2] + hit.text + hit.after)
        if report is not None:
            return report
    return None


def _fields(log: Log) -> Iterator[tuple[str, str]]:
    """Lines of a report, from what other programs print."""
    for pattern in (OLD_BANNER, BANNER):
        for hit in log.found(pattern)[:1]:
            yield "PyTorch version", hit.groups["torch"]
            yield from _runtime(hit.groups["torch"], hit.groups["device"])
            if "python" in hit.groups:
                yield "Python version", f"{hit.groups['python']} (64-bit runtime)"
            if hit.groups.get("card"):
                yield "GPU models and configuration", f"GPU 0: {hit.groups['card']}"
    for pattern in (UNFIT, SMI_CARD):
        for hit in log.found(pattern)[:1]:
            yield "GPU models and configuration", f"GPU 0: {hit.groups['card'].strip()}"
    for hit in log.found(SMI)[:1]:
        yield "Nvidia driver version", hit.groups["driver"]
    system = _system(log)
    if system is not None:
        yield "OS", system


def _runtime(build: str, device: str) -> Iterator[tuple[str, str]]:
    """The CUDA of a build by its label, and whether it was in use."""
    label = build.partition("+")[2]
    match = re.fullmatch(r"cu(\d{1,2})(\d)", label)
    if match or label == "cpu":
        yield "CUDA used to build PyTorch", f"{match[1]}.{match[2]}" if match else "None"
    if device.startswith("CUDA"):
        yield "Is CUDA available", "True"


def _system(log: Log) -> str | None:
    """The operating system by the paths that are named; None where they are of several."""
    seen = [
        name
        for name, pattern in (
            ("Microsoft Windows (AMD64)", WINDOWS),
            ("macOS (arm64)", MAC),
            ("Linux (x86_64)", LINUX),
        )
        if log.found(pattern)
    ]
    return seen[0] if len(seen) == 1 and "mac" not in seen[0] else None


def _packages(said: dict[str, str]) -> Iterator[tuple[str, str]]:
    if "PyTorch version" in said:
        yield "torch", said["PyTorch version"]


def _called(record: Any) -> Any:
    """The same facts with the log as their source."""
    changed = {}
    for name in record.__struct_fields__:
        fact = getattr(record, name)
        if isinstance(fact, Observed) and fact.source == facts.SOURCE:
            problem = fact.problem
            if problem is not None and "report" in problem:
                problem = NOT_TOLD
            changed[name] = msgspec.structs.replace(fact, source=SOURCE, problem=problem)
    return msgspec.structs.replace(record, **changed)


def differs(log: Log, stated: Stated, machine: Machine) -> str | None:
    """Why the log cannot be of this machine, in a sentence; None where nothing speaks against it."""
    return (
        _other_card(stated, machine)
        or _other_driver(log, machine)
        or _other_size(log, machine)
        or _other_system(log, machine)
    )


def _other_driver(log: Log, machine: Machine) -> str | None:
    driver = machine.driver.value
    for hit in log.found(SERVES)[:1]:
        number = int(hit.groups["found"])
        cuda = f"{number // 1000}.{number % 1000 // 10}"
        have = (
            say("one for CUDA {cuda}", cuda=driver.cuda)
            if driver is not None and driver.cuda
            else say("no NVIDIA driver")
        )
        if machine.driver.is_absent or (driver is not None and driver.cuda is not None and str(driver.cuda) != cuda):
            return say(
                "The log speaks of a driver for CUDA {cuda} and this machine has {have}: its facts are left out.",
                cuda=cuda,
                have=have,
            )
    return None


def _other_size(log: Log, machine: Machine) -> str | None:
    sizes = [card.memory_total / (1 << 30) for card in machine.gpus.value or () if card.memory_total]
    for hit in log.found(CAPACITY)[:1]:
        total = float((hit.groups.get("total") or hit.groups["total2"]).strip("."))
        if sizes and not any(abs(size - total) < 0.05 * size for size in sizes):
            have = ", ".join(f"{size:.1f}" for size in dict.fromkeys(sizes))
            return say(
                "The log speaks of a card of {total} GiB and this machine has {have} GiB: its facts are left out.",
                total=f"{total:.1f}",
                have=have,
            )
    return None


def _other_system(log: Log, machine: Machine) -> str | None:
    place = machine.platform.value
    names = {"win32": "Windows", "darwin": "macOS", "linux": "Linux"}
    seen = [name for name, pattern in (("win32", WINDOWS), ("darwin", MAC), ("linux", LINUX)) if log.found(pattern)]
    if place is None or place.wsl or len(seen) != 1 or seen[0] == place.system or place.system not in names:
        return None
    return say(
        "The log was written under {names} and this machine runs {names_2}: its facts are left out.",
        names=names[seen[0]],
        names_2=names[place.system],
    )


def _other_card(stated: Stated, machine: Machine) -> str | None:
    theirs, ours = stated.machine.gpus.value or (), machine.gpus.value or ()
    names = {_model(card.name) for card in ours}
    strange = [card.name for card in theirs if _model(card.name) not in names]
    if strange:
        have = ", ".join(sorted({card.name for card in ours})) or say("no NVIDIA card that answers")
        return say(
            "The log speaks of a {strange} and this machine has {have}: its facts are left out.",
            strange=strange[0],
            have=have,
        )
    driver, own = stated.machine.driver.value, machine.driver.value
    if driver is not None and own is not None and driver.version != own.version:
        return say(
            "The log speaks of driver {version} and this machine has {version_2}: its facts are left out.",
            version=driver.version,
            version_2=own.version,
        )
    return None


def _model(name: str) -> str:
    """A card's name without its maker's words: a table cuts it, a banner adds to it."""
    return re.sub(r"\b(?:NVIDIA|GeForce|Tesla|Quadro)\b|[^A-Za-z0-9]", "", name).lower()
