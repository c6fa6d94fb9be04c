"""There is no room on a disk that installing needs: the environment, a cache, or the folder for temporary files.

What it checks
    Free bytes where the target's packages lie, in the caches of pip and uv, and where temporary files go. Nothing free is an
    error wherever one may write. Little room is a warning, and only while torch still has to be installed: a CUDA stack takes
    about 6 GiB unpacked (1.5 GiB without CUDA), and downloading it 3 GiB (0.5 GiB) of cache or temporary files.

Why it matters
    "[Errno 28] No space left on device", often with plenty of room on another disk: pip unpacks below TMPDIR, and /tmp is
    sometimes a piece of main memory. Quotas of users are not seen here.

How to fix
    Clear caches, or name folders on a bigger disk: TMPDIR for temporary files, PIP_CACHE_DIR and UV_CACHE_DIR for caches, a
    new environment elsewhere.

Sources
    The file systems' own figures; sizes measured on torch 1.8 to 2.15 with ultralytics.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Disk, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._cards import nvidia_displays
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

GIB = 1024**3
# Nothing can be done with less.
NOTHING = 1024**2
# Room in GiB with and without a CUDA build. A cache that is too small costs time, not the installation: pip goes on without.
NEEDED = {"prefix": (6.0, 1.5), "temporary files": (3.0, 0.5), "uv cache": (6.0, 1.5)}
WHERE = {
    "prefix": "in the environment",
    "temporary files": "for temporary files",
    "uv cache": "in uv's cache",
    "pip cache": "in pip's cache",
    "shared memory": "in shared memory",
}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    with_cuda = bool(machine.gpus.value or nvidia_displays(machine))
    wanted = torch_is_wanted(environment)
    reported: set[tuple[int | None, int | None]] = set()
    for disk in _disks(machine, environment):
        needed = NEEDED.get(disk.purpose, (0.0, 0.0))[0 if with_cuda else 1] * GIB if wanted else 0
        # A read-only image is always full, and that is no fault.
        if disk.free is None or not disk.writable or (disk.free, disk.total) in reported:
            continue
        if disk.free >= max(needed, NOTHING):
            continue
        # One full file system is one finding, however many folders lie on it.
        reported.add((disk.free, disk.total))
        roomy = next((one for one in caches(machine) if (one.free or 0) >= max(needed, GIB)), None)
        yield _finding(disk, needed, roomy)


def caches(machine: Machine) -> tuple[Disk, ...]:
    """The caches' places, where the user may keep files too."""
    resources = machine.resources.value
    return tuple(one for one in (resources.disks if resources else ()) if "cache" in one.purpose and one.writable)


def _disks(machine: Machine, environment: Environment) -> Iterator[Disk]:
    if environment.disk.value is not None:
        yield environment.disk.value
    resources = machine.resources.value
    yield from (disk for disk in (resources.disks if resources else ()) if disk.purpose != "shared memory")


def _finding(disk: Disk, needed: float, roomy: Disk | None) -> Finding:
    full = (disk.free or 0) < NOTHING
    room = "no room at all" if full else f"only {(disk.free or 0) / GIB:.1f} GiB free"
    demand = "" if full else f", and installing torch takes about {needed / GIB:g} GiB there"
    fact = "environment.disk" if disk.purpose == "prefix" else "machine.resources"
    size = f"{(disk.total or 0) / GIB:.1f} GiB in all" if disk.total else "size unknown"
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if full else Severity.WARNING,
        message=f"There is {room} {WHERE[disk.purpose]} ({disk.path}){demand}.",
        because=(Evidence(fact=fact, value=f"{disk.path}: {disk.free} bytes free, {size}", source="the file system"),),
        remedies=tuple(_remedies(disk, roomy)),
    )


def _remedies(disk: Disk, roomy: Disk | None) -> Iterator[Remedy]:
    if disk.purpose == "temporary files" and roomy is not None:
        folder = roomy.path.rpartition("/")[0] + "/temporary"
        yield Remedy(
            text=f"Let temporary files go to a disk with more room ({(roomy.free or 0) / GIB:.0f} GiB free).",
            commands=(("mkdir", "-p", folder), ("export", f"TMPDIR={folder}")),
        )
    elif disk.purpose == "temporary files":
        yield Remedy(text="Clear old files there, or name a folder on a bigger disk in TMPDIR.")
    elif disk.purpose == "uv cache":
        yield Remedy(
            text="Clear uv's cache, or name a folder on a bigger disk in UV_CACHE_DIR.",
            commands=(("uv", "cache", "clean"),),
        )
    elif disk.purpose == "pip cache":
        yield Remedy(
            text="Clear pip's cache, or name a folder on a bigger disk in PIP_CACHE_DIR.",
            commands=(("pip", "cache", "purge"),),
        )
    else:
        yield Remedy(
            text="Make room by clearing caches, or make the environment on a bigger disk.",
            commands=(("pip", "cache", "purge"), ("uv", "cache", "clean"), ("conda", "clean", "--all")),
        )


RULE = Rule(
    code="MEM120",
    cause="disk_or_tmp_full",
    title="No room on a disk that installing needs",
    needs=("machine.resources",),
    check=check,
    rank=65,
)
