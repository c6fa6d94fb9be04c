"""Machines in all kinds of states, as reports show them; and one whose facts hold every name and mark that could do harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from envfix.app.diagnosing import diagnose
from envfix.app.foreseeing import foresee
from envfix.app.sharing import shareable
from envfix.model.facts import (
    Distribution,
    Driver,
    Elsewhere,
    Environment,
    GpuProcess,
    Machine,
    Observed,
    PackageSource,
    TorchImport,
    absent,
    found,
)
from envfix.model.report import Report
from envfix.model.stack import SharedReport
from envfix.model.versions import CudaVersion, DriverVersion
from envfix.tables.loader import load
from tests.made_up import GIB, PYTHON, card, environment, machine, torch, vision
from tests.test_machines import MACHINES, snapshot

SITE = "/env/lib/python3.11/site-packages"
ULTRALYTICS = Distribution(
    name="ultralytics", version="8.3.40", location=SITE, requires=("torch>=1.8.0", "numpy; python_version < '3'")
)
DRIVER = found(Driver(version=DriverVersion.parse("550.54.14"), cuda=CudaVersion.parse("12.4")), "NVML")
PYTHON_311 = msgspec.structs.replace(PYTHON, version="3.11.9", tag="cp311", abi_tag="cp311")


def imported(*, cuda: bool | None = True, **more: Any) -> Observed[TorchImport]:
    """One real import of torch, as it went."""
    return found(TorchImport(ok=True, seconds=1.94, cuda_available=cuda, **more), "import torch")


def working(**facts: Any) -> Environment:
    """An environment in which every link was seen to hold, but for what is given."""
    well: dict[str, Any] = {
        "interpreter": found(PYTHON_311, "asked"),
        "torch": torch("2.4.1+cu121", "12.1", "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"),
        "torchvision": vision("0.19.1+cu121", "12.1", "2.4.1"),
        "torch_import": imported(),
        "distributions": found((ULTRALYTICS,), "files"),
    }
    return environment(**{**well, **facts})


def serving(**facts: Any) -> Machine:
    """A machine whose driver runs that environment."""
    return machine(**{"version": "550.54.14", "driver": DRIVER, **facts})


def judged(there: Machine, inside: Environment, **more: Any) -> Report:
    """The diagnosis of made-up facts, with what an installation would bring."""
    tables = load()
    diagnosis = diagnose(there, inside, tables)
    afterwards = foresee(there, inside, diagnosis, tables) if diagnosis.verdict == "broken" else None
    return Report(machine=there, environment=inside, diagnosis=diagnosis, afterwards=afterwards, **more)


def recorded(slug: str) -> Report:
    """A recorded machine."""
    saved = snapshot(slug)
    return judged(saved.machine, saved.environment, origin=f"{slug}.json")


def healthy() -> Report:
    """All is well, and seen to be."""
    return judged(serving(cards=(card("NVIDIA GeForce RTX 4090", "8.9"),)), working())


def memory_full() -> Report:
    """Somebody's training fills the first card, something of one's own the third."""
    theirs = GpuProcess(
        pid=4242, memory=20 * GIB, user="chen", command="python train.py --epochs 300", since="2026-11-26T07:12:00"
    )
    mine = GpuProcess(pid=5001, memory=14 * GIB, user="anna", own=True, command="python predict.py")
    cards = (
        card(index=0, free=1, processes=(theirs,)),
        card(index=1, free=24),
        card(index=2, free=9, processes=(mine,)),
    )
    named = (msgspec.structs.replace(one, uuid=f"GPU-0000000{one.index}-0000-4000-8000-000000000000") for one in cards)
    return judged(serving(cards=tuple(named)), working())


def cpu_build() -> Report:
    """A torch without CUDA on a machine with a card."""
    inside = working(
        torch=torch("2.4.1+cpu", None, None),
        torchvision=vision("0.19.1+cpu", None, "2.4.1"),
        torch_import=imported(cuda=False),
    )
    return judged(serving(), inside)


def no_card() -> Report:
    """A machine without any card, and a torch that fits it."""
    inside = working(torch=torch("2.4.1+cpu", None, None), torchvision=vision("0.19.1+cpu", None, "2.4.1"))
    there = machine(None, displays=absent("lspci"))
    return judged(there, msgspec.structs.replace(inside, torch_import=imported(cuda=False)))


NAMES = ("zzuserzz", "zzotherzz", "zzhostzz", "zzT0KENzz", "8a1b2c3d")
# What HTML, SVG, Markdown, a terminal and a reader's eyes must not obey.
HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(2)> \"'&lt; `|` ``` **b** _i_ [l](http://x.example) "
    "@everyone #1 <!-- --> </details> \x1b[31m\x00 \u202egnp.exe ]]> &amp;"
)


def hostile() -> Report:
    """Every name and mark that could do harm, in every kind of fact."""
    uuid = "GPU-8a1b2c3d-1111-2222-3333-0123456789ab"
    process = GpuProcess(
        pid=1,
        memory=22 * GIB,
        user="zzotherzz",
        command=f"python /home/zzotherzz/train.py --api-key zzT0KENzz --host zzhostzz {HOSTILE}",
    )
    evil = card(f"RTX {HOSTILE}", free=1, processes=(process,))
    cards = (msgspec.structs.replace(evil, uuid=uuid), card(index=1, free=24))
    near = Elsewhere(
        prefix=f"/home/zzuserzz/envs/{HOSTILE}",
        torch="2.0.1",
        python="/home/zzuserzz/envs/my env/bin/python",
        conda=True,
    )
    there = serving(
        cards=cards,
        variables={
            "CUDA_VISIBLE_DEVICES": uuid[:12],
            "NVIDIA_API_KEY": "zzT0KENzz",
            "PIP_INDEX_URL": "https://zzuserzz:zzT0KENzz@pypi.example/simple",
            "VIRTUAL_ENV": f"/data/zzuserzz/{HOSTILE}",
        },
    )
    sources = (
        PackageSource(
            kind="index", location="https://zzT0KENzz@pypi.example/simple", configured_in="/home/zzuserzz/pip.conf"
        ),
    )
    inside = environment(
        interpreter=found(
            msgspec.structs.replace(PYTHON_311, executable=f"/home/zzuserzz/bin/{HOSTILE}"), f"zzhostzz {HOSTILE}"
        ),
        torch=absent("/home/zzuserzz/site"),
        torchvision=absent("/home/zzuserzz/site"),
        elsewhere=found((near,), "files"),
        package_sources=found(sources, "pip"),
    )
    return judged(there, inside, origin=f"/home/zzuserzz/{HOSTILE}.json")


STATES: dict[str, Callable[[], Report]] = {
    "healthy": healthy,
    "memory full": memory_full,
    "cpu build": cpu_build,
    "no card": no_card,
    "hostile": hostile,
    **{slug: (lambda slug=slug: recorded(slug)) for slug in MACHINES},  # type: ignore[misc]
}


def shared(name: str) -> SharedReport:
    """The report of a state as others see it."""
    return shareable(STATES[name]())
