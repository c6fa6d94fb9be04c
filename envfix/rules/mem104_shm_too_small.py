"""The shared memory of this container is too small for loader processes.

What you see
    "DataLoader worker (pid 13) is killed by signal: Bus error", "Unexpected bus error encountered in worker. This might be caused
    by insufficient shared memory (shm)", NCCL's "Error while creating shared memory segment /dev/shm/nccl-...".

Why
    Loader processes hand pictures over through ``/dev/shm``, NCCL its buffers. A container gets 64 MB of it by default; who writes
    beyond it is ended by the signal SIGBUS.

How envfix knows
    In a container with torch the file system ``/dev/shm`` has its default size of 64 MB. In a log: the texts above.

How to mend
    Start the container with ``--ipc=host`` or ``--shm-size=8g`` (in Kubernetes an emptyDir with medium Memory on /dev/shm), or
    load in the process itself: ``workers=0``.

What not to do
    Free space on other disks does not help ("No space left on device" means /dev/shm here). The size of a running container cannot
    be changed.

Sources
    Docker run reference (--shm-size, 64 MB by default); PyTorch documentation on docker images; NCCL's notes on shared memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._devices import container
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import WORKER_EXITED
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

MIB = 1024**2
SMALL = 128 * MIB
_WAYS = {
    "kubernetes": later("Mount an emptyDir with `medium: Memory` at /dev/shm in the pod."),
}
_DOCKER = later("Start the container again with `--ipc=host` or `--shm-size=8g`.")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    memory, kind = machine.resources.value, container(machine)
    if memory is None or kind is None or environment.torch.value is None:
        return
    disk = next((one for one in memory.disks if one.purpose == "shared memory"), None)
    if disk is None or disk.total is None or disk.total >= SMALL:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "The shared memory of this container has {total:.0f} MiB: a training with loader processes will stop.",
            total=disk.total / MIB,
        ),
        because=(cite("machine.resources", machine.resources, f"{disk.path}: {disk.total / MIB:.0f} MiB"),),
        remedies=(
            Remedy(text=_WAYS.get(kind, _DOCKER), safe=False),
            Remedy(text=say("Until then train without loader processes."), commands=(("yolo", "train", "workers=0"),)),
        ),
    )


# --- in a log ---

# What says that it is about a container, or that its shared memory has the default size.
CONTAINER = r"SHMEM allocation limit is set to the default|docker run|/workspace|\bshm\b[^\n]{0,40}64M|/dev/shm"


def _weigh_exited(hit: Hit, log: Log) -> float | None:
    del hit
    return 0.5 if log.found(CONTAINER) else 0.3


def _weigh_full(hit: Hit, log: Log) -> float | None:
    """No space left on a device: in /dev/shm where processes share memory."""
    del log
    near = hit.before[-1200:] + hit.after[:300]
    shared = re.search(
        r"dev/shm|multiprocessing[/\\](?:heap|synchronize|shared_memory|reductions)|psm_\w+|/nccl-|/torch_\d", near
    )
    return 0.85 if shared else None


LOG = LogSide(
    signatures=(
        Signature(pattern=r"DataLoader worker[^\n]{0,80} killed by signal: Bus error", confidence=0.97),
        Signature(
            pattern=r"[Uu]nexpected bus error encountered in worker|(?:This might be caused by )?insufficient shared memory \(shm\)"
            r"|(?:It is possible that )?dataloader's workers are out of shared memory",
            confidence=0.97,
        ),
        Signature(
            pattern=r"Error while creating shared memory segment|failed to extend /dev/shm/\S{1,40}", confidence=0.95
        ),
        Signature(
            pattern=r"unable to (?:allocate shared memory\(shm\) for file|write to file|resize file"
            r"|open shared memory object) <[^>\n]{1,80}>"
            r"[^\n]{0,60}(?:No space left|Resource temporarily|Cannot allocate|\(28\)|\(11\))",
            confidence=0.95,
        ),
        Signature(
            pattern=r"unable to (?:write to file|allocate shared memory\(shm\) for file) </?torch_", confidence=0.85
        ),
        Signature(pattern=r"unable to mmap \d+ bytes from file </?(?:torch_|filename)", confidence=0.5),
        Signature(
            pattern=r"(?:posix_fallocate|ftruncate|shm_open|fallocate)(?: call)? (?:failed"
            r"|error)[^\n]{0,60}No space left",
            confidence=0.95,
        ),
        Signature(pattern=r"(?:\[Errno 28\]|Errno 28|: )\s?No space left on device", weigh=_weigh_full),
        Signature(
            pattern=r"[Bb]us error \(core dumped\)|SIGBUS|exitcode\s{0,4}:? -7\b|Signal 7 \(SIGBUS\)", confidence=0.7
        ),
        Signature(pattern=WORKER_EXITED, weigh=_weigh_exited, looks_at=(CONTAINER,)),
    ),
    message=later(
        "The shared memory (/dev/shm) is too small for what loader processes or NCCL put into it;"
        " a container has 64 MB by default."
    ),
    remedies=(
        Remedy(
            text=later(
                "Start a new container with more shared memory (in Kubernetes mount an emptyDir"
                " with medium Memory at /dev/shm)."
            ),
            commands=(("docker", "run", "--gpus", "all", "--shm-size=8g", "IMAGE"),),
        ),
        Remedy(
            text=later("Or share the host's."),
            commands=(("docker", "run", "--gpus", "all", "--ipc=host", "IMAGE"),),
        ),
        Remedy(
            text=later("Until then load in the process itself: workers=0 for YOLO, num_workers=0 in a DataLoader."),
            commands=(("yolo", "train", "model=MODEL.pt", "data=DATA.yaml", "workers=0"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See how large it is."),
        commands=(("df", "-h", "/dev/shm"),),  # noqa: S108 - only looked at
    ),
    explains=("disk_or_tmp_full", "host_ram_exhausted_runtime"),
)

RULE = Rule(
    code="MEM104",
    cause="shm_too_small",
    title=later("The container's shared memory is too small"),
    needs=("machine.resources", "machine.platform"),
    check=check,
    rank=64,
    log=LOG,
)
