"""There is no room on a disk that installing needs: the environment, a cache, or the folder for temporary files.

What you see
    "[Errno 28] No space left on device", often with plenty of room on another disk; "[Errno 122] Disk quota
    exceeded", "[WinError 112]", conda's NoSpaceLeftError, "no space left on device" from docker build, uv's "(os
    error 28)".

Why
    A CUDA stack takes about 6 GiB unpacked and 3 GiB while it is downloaded. pip unpacks below TMPDIR, and /tmp is
    sometimes a piece of main memory or a small disk; caches and environments lie in a home with a quota.

How envfix knows
    In a log: the messages above, where they are not about shared memory. On a machine: free bytes where the target's
    packages lie, in the caches of pip and uv, and where temporary files go. Nothing free is an error wherever one may
    write. Little room is a warning, and only while torch still has to be installed: a CUDA stack takes about 6 GiB
    unpacked (1.5 GiB without CUDA), and downloading it 3 GiB (0.5 GiB) of cache or temporary files. Quotas of users
    are not seen there.

How to mend
    Clear caches, or name folders on a bigger disk: TMPDIR for temporary files, PIP_CACHE_DIR and UV_CACHE_DIR for
    caches, a new environment elsewhere.

What not to do
    Do not look at the disk of the home only: temporary files, caches and the environment may lie on three others.

Sources
    The file systems' own figures; sizes measured on torch 1.8 to 2.15 with ultralytics; messages of the programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Disk, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, look_up, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._cards import nvidia_displays
from envfix.rules._downloads import succeeded
from envfix.rules._fetching import torch_is_wanted
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

GIB = 1024**3
# Nothing can be done with less.
NOTHING = 1024**2
# Room in GiB with and without a CUDA build. A cache that is too small costs time, not the installation: pip goes on without.
NEEDED = {"prefix": (6.0, 1.5), "temporary files": (3.0, 0.5), "uv cache": (6.0, 1.5)}
WHERE = {
    "prefix": later("in the environment"),
    "temporary files": later("for temporary files"),
    "uv cache": later("in uv's cache"),
    "pip cache": later("in pip's cache"),
    "shared memory": later("in shared memory"),
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
    room = say("no room at all") if full else say("only {free:.1f} GiB free", free=(disk.free or 0) / GIB)
    demand = "" if full else say(", and installing torch takes about {needed:g} GiB there", needed=needed / GIB)
    fact = "environment.disk" if disk.purpose == "prefix" else "machine.resources"
    size = say("{total:.1f} GiB in all", total=(disk.total or 0) / GIB) if disk.total else say("size unknown")
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR if full else Severity.WARNING,
        message=say(
            "There is {room} {where} ({path}){demand}.",
            room=room,
            where=look_up(WHERE[disk.purpose]),
            path=disk.path,
            demand=demand,
        ),
        because=(
            Evidence(
                fact=fact,
                value=say("{path}: {free} bytes free, {size}", path=disk.path, free=disk.free, size=size),
                source=say("the file system"),
            ),
        ),
        remedies=tuple(_remedies(disk, roomy)),
    )


def _remedies(disk: Disk, roomy: Disk | None) -> Iterator[Remedy]:
    if disk.purpose == "temporary files" and roomy is not None:
        folder = roomy.path.rpartition("/")[0] + "/temporary"
        yield Remedy(
            text=say(
                "Let temporary files go to a disk with more room ({free:.0f} GiB free).", free=(roomy.free or 0) / GIB
            ),
            commands=(("mkdir", "-p", folder), ("export", f"TMPDIR={folder}")),
        )
    elif disk.purpose == "temporary files":
        yield Remedy(text=say("Clear old files there, or name a folder on a bigger disk in TMPDIR."))
    elif disk.purpose == "uv cache":
        yield Remedy(
            text=say("Clear uv's cache, or name a folder on a bigger disk in UV_CACHE_DIR."),
            commands=(("uv", "cache", "clean"),),
        )
    elif disk.purpose == "pip cache":
        yield Remedy(
            text=say("Clear pip's cache, or name a folder on a bigger disk in PIP_CACHE_DIR."),
            commands=(("pip", "cache", "purge"),),
        )
    else:
        yield Remedy(
            text=say("Make room by clearing caches, or make the environment on a bigger disk."),
            commands=(("pip", "cache", "purge"), ("uv", "cache", "clean"), ("conda", "clean", "--all")),
        )


def _full(hit: Hit, log: Log) -> float | None:
    """No space: on a disk, or in the shared memory of a container, which is another cause."""
    del log
    near = hit.before[-300:] + hit.after[:250]
    if _SHARED.search(near):
        return 0.1
    return 0.5 if succeeded(hit) else 0.95


_SHARED = regex(
    r"posix_fallocate|shared memory|/dev/shm|NCCL|/torch_\d+|shm_open|bus error|shmem|SemLock", re.IGNORECASE
)


def _where(reading: Reading) -> str:
    text = " ".join(hit.shown + hit.before[-1500:] for hit in reading.hits[:1])
    if "quota" in " ".join(hit.text for hit in reading.hits).lower():
        return say("The quota of this account is used up.")
    if re.search(r"pip|whl|Collecting|/tmp", text):
        return say(
            "There is no room left on a disk that installing needs; it may be the one for temporary files (/tmp)."
        )
    return say("There is no room left on a disk.")


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"\[Errno 28\]|\(os error 28\)|OSError\(28|\bENOSPC\b|[Nn]o space left on device",
            weigh=_full,
            quoted=True,
        ),
        Signature(
            pattern=r"\[Errno 122\]|\(os error 122\)|[Dd]isk quota exceeded|EDQUOT",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"WinError 112\b|\(os error 112\)|[Tt]here is not enough space on the disk",
            confidence=0.96,
            quoted=True,
        ),
        Signature(
            pattern=r"NoSpaceLeftError|[Nn]ot enough free (?:disk )?space|don't have enough free space in",
            confidence=0.95,
            quoted=True,
        ),
        Signature(pattern=r"[Ii]nsufficient (?:free )?disk space", confidence=0.93, quoted=True),
        Signature(
            pattern=r"PytorchStreamWriter failed writing file|inline_container\.cc:\d+\] \. unexpected pos \d+ vs",
            confidence=0.7,
            quoted=True,
        ),
        Signature(pattern=r"(?:disk|file\s?system) is full\b|database or disk is full", confidence=0.8),
    ),
    message=_where,
    remedies=(
        Remedy(
            text=later("See which of the disks is full: temporary files, cache, environment."),
            commands=(("df", "-h"),),
        ),
        Remedy(
            text=later("Let temporary files and caches go to a disk with room, and try again."),
            commands=(
                ("mkdir", "-p", "BIG-DISK/tmp"),
                ("export", "TMPDIR=BIG-DISK/tmp", "PIP_CACHE_DIR=BIG-DISK/pip", "UV_CACHE_DIR=BIG-DISK/uv"),
            ),
        ),
        Remedy(
            text=later("Or make room by clearing caches."),
            commands=(("pip", "cache", "purge"), ("uv", "cache", "clean"), ("conda", "clean", "--all")),
        ),
    ),
    explains=("corrupt_download_hash", "torch_import_fails"),
)

RULE = Rule(
    code="MEM120",
    cause="disk_or_tmp_full",
    title=later("No room on a disk that installing needs"),
    needs=("machine.resources",),
    check=check,
    rank=65,
    log=LOG,
)
