"""The shared memory of this container is too small for loader processes.

What it checks
    In a container with torch the file system ``/dev/shm`` has its default size of 64 MB. Loader processes hand pictures over
    through it, NCCL its buffers.

Why it matters
    "DataLoader worker is killed by signal: Bus error", or NCCL "No space left on device". The size cannot be changed in a
    running container, and free space on other disks does not help.

How to fix
    Start the container with ``--ipc=host`` or ``--shm-size=8g`` (in Kubernetes an emptyDir with medium Memory on /dev/shm), or
    load in the process itself: ``workers=0``.

Sources
    Docker run reference (--shm-size, 64 MB by default); PyTorch documentation on docker images.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.rules._devices import container
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

MIB = 1024**2
SMALL = 128 * MIB
_WAYS = {
    "kubernetes": "Mount an emptyDir with `medium: Memory` at /dev/shm in the pod.",
}
_DOCKER = "Start the container again with `--ipc=host` or `--shm-size=8g`."


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
        message=f"The shared memory of this container has {disk.total / MIB:.0f} MiB: a training with loader processes will stop.",
        because=(cite("machine.resources", machine.resources, f"{disk.path}: {disk.total / MIB:.0f} MiB"),),
        remedies=(
            Remedy(text=_WAYS.get(kind, _DOCKER), safe=False),
            Remedy(text="Until then train without loader processes.", commands=(("yolo", "train", "workers=0"),)),
        ),
    )


RULE = Rule(
    code="MEM104",
    cause="shm_too_small",
    title="The container's shared memory is too small",
    needs=("machine.resources", "machine.platform"),
    check=check,
    rank=64,
)
