"""What deciding yields: the stack, or the one constraint that blocks; and what was not chosen, with reasons."""

from __future__ import annotations

from typing import Literal

import msgspec

from envfix.model.language import later
from envfix.model.versions import ComputeCapability, DriverVersion

# What the two indexes that every plan knows are called.
OFFICIAL, REGISTRY = "official", "pypi"

Constraint = Literal["request", "interpreter", "platform", "glibc", "sm", "driver", "index", "companion"]
# The same for people; glibc and sm are called so everywhere.
CONSTRAINT_WORDS = (
    later("request"),
    later("interpreter"),
    later("platform"),
    later("driver"),
    later("index"),
    later("companion"),
)


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for.

    ``cuda`` is ``auto``, ``cpu`` or a CUDA release (``11.1``, ``cu118``), an intent unless ``cuda_exact``; ``torch`` a
    version specifier or None; ``packages`` the requirements beside torch; ``indexes`` names or addresses, or ``auto``.
    """

    cuda: str = "auto"
    cuda_exact: bool = False
    torch: str | None = None
    packages: tuple[str, ...] = ("ultralytics",)
    indexes: tuple[str, ...] = ("auto",)
    offline: bool = False


class TargetGpu(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A card the stack must run on; ``capability`` None means it could not be told."""

    name: str
    capability: ComputeCapability | None = None
    uuid: str | None = None
    index: int | None = None


class PlanTarget(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and interpreter a plan is for.

    ``python`` is a full or short version, ``tag`` such as ``cp311`` or ``cp313t``, ``platform`` as in
    ``linux_x86_64``, ``glibc`` such as ``2.35`` (None: unknown), ``libc`` the family. ``gpus`` empty means no NVIDIA
    card; ``gpu_problem`` says why cards or driver could not be told, or what is broken about them.
    """

    python: str
    tag: str
    platform: str
    libc: str | None = None
    glibc: str | None = None
    driver: DriverVersion | None = None
    gpus: tuple[TargetGpu, ...] = ()
    driver_state: Literal["works", "absent", "broken", "unknown"] = "works"
    gpu_problem: str | None = None
    gpu_problem_cause: str | None = None
    wsl: bool = False
    jetson: str | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The wheels chosen. ``variant`` is the CUDA that runs inside, also where the file name hides it.

    ``compatibility``: ``direct`` the driver is at least that CUDA's own, ``minor`` it serves the family only, ``cpu``.
    """

    torch: str
    variant: str
    local_label: str
    torchvision: str | None
    torchaudio: str | None
    index: str
    index_url: str | None
    compatibility: Literal["direct", "minor", "cpu"]
    confidence: str = "verified"


class PackagePin(msgspec.Struct, frozen=True, kw_only=True):
    """One package of the stack, how it is pinned or bounded, from which index, and why.

    ``bound_only``: not asked for itself; the bound holds where another package brings it.
    """

    name: str
    specifier: str
    index: str
    because: str
    bound_only: bool = False


class Rejection(msgspec.Struct, frozen=True, kw_only=True):
    """A wheel that was not chosen, and the one constraint that ruled it out."""

    torch: str
    variant: str
    because: Constraint
    text: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What one filter says of one build; ``text`` is the reason where it does not fit."""

    constraint: Constraint
    fits: bool
    text: str


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """One build looked at filter by filter (``envfix plan --why-not``); ``verdict`` says in one sentence what came of it."""

    torch: str
    variant: str
    local_label: str
    index: str
    checks: tuple[Check, ...]
    verdict: str


class GpuChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The card to use and the line to paste for it."""

    uuid: str | None
    export: str


class Download(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file that the resolved plan would fetch: bytes, and its sha256 where the index gives one."""

    name: str
    version: str
    filename: str
    index: str
    size: int | None = None
    sha256: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A stack that runs on the target (``ok``), or what blocks and the nearest way out (``conflict``).

    ``download_bytes`` is the size of all files, of which ``cached_bytes`` are on this disk already; ``disk_bytes`` is an
    estimate of the room they take once unpacked, ``download_seconds`` one of the time, by a rate measured just now. None:
    not asked. ``nearest_python`` is the Python of ``nearest`` where another one is all that it takes. ``pages`` are the
    indexes and variants that the choice and the ways out rest on.
    """

    status: Literal["ok", "conflict"]
    target: PlanTarget
    choice: Choice | None = None
    packages: tuple[PackagePin, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    downloads: tuple[Download, ...] = ()
    download_bytes: int | None = None
    cached_bytes: int | None = None
    download_seconds: float | None = None
    disk_bytes: int | None = None
    reasons: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    blocked_by: Constraint | None = None
    nearest: Choice | None = None
    nearest_python: str | None = None
    ways_out: tuple[str, ...] = ()
    gpu: GpuChoice | None = None
    why_not: tuple[Examination, ...] = ()
    pages: tuple[tuple[str, str], ...] = ()
