"""This user may not open the driver's device files.

What you see
    "Failed to initialize NVML: Insufficient Permissions", "/dev/nvidia0: Permission denied"; torch finds no card,
    and for root all is well.

Why
    The files ``/dev/nvidiactl``, ``/dev/nvidia0`` ... and ``/dev/nvidia-uvm`` have an owner, a group and a mode.
    CUDA opens them for reading and writing; where the mode does not let this user do so, no program of theirs
    reaches the card.

How envfix knows
    The modes of the files and the groups of the account. A card that a batch system keeps from a job is no fault as
    long as another one may be used. In a log the texts above.

How to mend
    The administrator adds the account to the files' group, or lets everybody use them (driver option
    NVreg_DeviceFileMode=0666). A new membership counts from the next login on.

What not to do
    Do not run everything as root, and do not change the modes by hand: they come back with the next start.

Sources
    NVIDIA driver README (device file owner, group and mode).
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import DeviceFile, DriverLayers, Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Signature
from envfix.rules._devices import cuda_works
from envfix.rules._log import LogSide
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

CONTROL, UVM = "/dev/nvidiactl", "/dev/nvidia-uvm"


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    layers = machine.driver_layers.value
    if layers is None or cuda_works(environment):
        return
    closed = _closed(layers)
    if not closed:
        return
    shown = ", ".join(f"{file.path} ({file.mode} {file.owner}:{file.group})" for file in closed)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "This user may not open {path}: the driver is in order, but not for this account.", path=closed[0].path
        ),
        because=(cite("machine.driver_layers", machine.driver_layers, shown),),
        remedies=(_remedy(closed[0]),),
    )


def _closed(layers: DriverLayers) -> tuple[DeviceFile, ...]:
    """The files whose mode shuts this user out of every card; none where a card is left."""
    shut = tuple(file for file in layers.files if not file.usable)
    needed = tuple(file for file in shut if file.path in (CONTROL, UVM))
    cards = tuple(file for file in layers.files if file.path.removeprefix("/dev/nvidia").isdecimal())
    if needed:
        return needed
    return cards if cards and all(file in shut for file in cards) else ()


def _remedy(file: DeviceFile) -> Remedy:
    by_group = file.mode[4:6] == "rw" and file.group != "root"
    if by_group and file.listed and not file.in_group:
        return Remedy(
            text=say(
                "The account is in the group {group} since its last login: log in again, or start a new shell with it.",
                group=file.group,
            ),
            commands=(("newgrp", file.group),),
        )
    if by_group:
        return Remedy(
            text=say(
                "Ask the administrator to add this account to the group {group}; then log in again.", group=file.group
            ),
            safe=False,
        )
    return Remedy(
        text=say(
            "Ask the administrator to open the driver's device files to users (driver option"
            " NVreg_DeviceFileMode=0666)."
        ),
        safe=False,
    )


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"(?:(?:Failed to initialize )?NVML: |nvml error: )(?i:insufficient permissions)|NVMLError_NoPermission",
            confidence=0.93,
        ),
        Signature(
            pattern=(
                r"(?:(?:failed to|could not|cannot|can't) open (?:device )?)?['\"]?/dev/nvidia(?P<device>ctl|-uvm"
                r"|\d{1,2})['\"]?[:,)]? [^\n]{0,40}(?i:permission denied)"
            ),
            confidence=0.93,
        ),
        Signature(
            pattern=r"(?i:permission denied)[^\n]{0,20} ['\"]?/dev/nvidia(?P<device>ctl|-uvm|\d{1,2})", confidence=0.93
        ),
        Signature(
            pattern=r"The current user does not have permission for operation|NVML: Insufficient Permissions",
            confidence=0.6,
        ),
        Signature(pattern=r"(?i)permission denied[^\n]{0,60}/dev/nvidia-caps", confidence=0.8),
    ),
    message=(
        later("This account may not open /dev/nvidia{device}: the driver is in order, but not for this user."),
        later("This account may not use the driver's device files: the driver is in order, but not for this user."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Ask the administrator to add this account to the group of /dev/nvidia* (or to let"
                " everybody use them), then log in again."
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See whose the files are and who may open them."), commands=(("ls", "-l", "/dev/nvidiactl"), ("id",))
    ),
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start", "no_nvidia_gpu"),
)


RULE = Rule(
    code="DRV105",
    cause="device_files_no_permission",
    title=later("This user may not open the driver's device files"),
    needs=("machine.driver_layers",),
    check=check,
    rank=13,
    explains=("cuda_unknown_error_uvm", "cuda_does_not_start"),
    log=LOG,
)
