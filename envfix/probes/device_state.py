"""What stands between a loaded driver and a program: kernel modules, device files, services, faults."""

from __future__ import annotations

import json
import re
from typing import Any

from envfix.host.interface import ProbeHost
from envfix.model.facts import ContainerTools, DeviceState, Observed, absent, found
from envfix.model.language import stated

SOURCE = stated("/proc/modules, /lib/modules, /sys, /run and PATH")
MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nouveau", "nova_core")
# Where distributions, DKMS and NVIDIA's own installer put the module of a kernel.
MODULE_PLACES = (
    "updates/dkms/nvidia.ko*",
    "updates/nvidia.ko*",
    "extra/nvidia.ko*",
    "extra/nvidia/nvidia.ko*",
    "extra/drivers/video/nvidia/nvidia.ko*",
    "kernel/drivers/video/nvidia.ko*",
    "kernel/drivers/video/nvidia/nvidia.ko*",
    "kernel/nvidia-*/nvidia.ko*",
    "weak-updates/nvidia*/nvidia.ko*",
)
SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
SUSPENDED = "/sys/power/suspend_stats/success"
# An active unit has such a link, whatever process it has become.
FABRIC_UNIT = "/run/systemd/units/invocation:nvidia-fabricmanager.service"
FABRIC_PID = "/run/nvidia-fabricmanager/nv-fabricmanager.pid"
# The kernel keeps 15 characters of a process's name.
FABRIC_PROCESS = "nv-fabricmanage"
ENGINES = ("docker", "podman")
TOOLKIT = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-runtime-hook", "nvidia-container-toolkit")
WSL_FOLDER = "/usr/lib/wsl/lib"


def parse_modules(text: str) -> tuple[str, ...]:
    """The modules of interest in /proc/modules: ``nvidia_uvm 1540096 0 - Live 0xffffffffc1a5f000 (PO)``."""
    loaded = {line.partition(" ")[0] for line in text.splitlines()}
    return tuple(name for name in MODULES if name in loaded)


def parse_secure_boot(text: str) -> bool | None:
    """The EFI variable SecureBoot: four bytes of attributes, then 1 for on and 0 for off."""
    return {"\x01": True, "\x00": False}.get(text[4:5]) if len(text) == 5 else None


def parse_daemon(text: str) -> bool:
    """Whether docker's daemon.json names NVIDIA's runtime: ``{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}``."""
    try:
        settings: Any = json.loads(text)
    except (ValueError, RecursionError):
        return False
    runtimes = settings.get("runtimes") if isinstance(settings, dict) else None
    return isinstance(runtimes, dict) and "nvidia" in runtimes


def probe(host: ProbeHost) -> Observed[DeviceState]:
    """What stands between a loaded driver and a program; on Linux only, elsewhere there are no such files."""
    if host.system_facts().get("system") != "linux":
        return absent(SOURCE, stated("only Linux has them"))
    listing = host.read_text("/proc/modules")
    modules = parse_modules(listing.text) if listing.outcome == "read" else None
    nvidia_runs = bool(modules) and "nvidia" in (modules or ())
    files, kernels = ((), ()) if nvidia_runs else _module_files(host)
    switches = host.glob("/dev/nvidia-nvswitch[0-9]*")
    return found(
        DeviceState(
            modules=modules,
            module_files=files,
            other_kernels=kernels,
            secure_boot=None if nvidia_runs else parse_secure_boot(host.read_text(SECURE_BOOT).text),
            suspended=_number(host.read_text(SUSPENDED).text),
            modprobe=next(iter(host.which("nvidia-modprobe")), None),
            nvswitches=len(switches),
            fabric_manager=_fabric_manager(host) if switches else None,
            wsl_libraries=host.glob(f"{WSL_FOLDER}/libcuda.so*"),
            containers=_containers(host),
        ),
        SOURCE,
    )


def _module_files(host: ProbeHost) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The nvidia modules built for the running kernel, and the other kernels that have one."""
    running = host.system_facts().get("release", "")
    own: list[str] = []
    others: set[str] = set()
    for place in MODULE_PLACES:
        for path in host.glob(f"/lib/modules/*/{place}"):
            kernel = path.split("/")[3]
            if kernel == running:
                own.append(path)
            else:
                others.add(kernel)
    return tuple(own), tuple(sorted(others))


def _number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,9}\s*", text) else None


def _fabric_manager(host: ProbeHost) -> bool | None:
    """Whether the fabric manager runs; unknown (None) where services cannot be seen, as in a container."""
    if host.glob(FABRIC_UNIT) or host.glob(FABRIC_PID):
        return True
    if not host.glob("/run/systemd/units") or host.read_text("/proc/1/comm").outcome != "read":
        return None
    # In a driver container it is no unit of the host, but a process of it all the same.
    return any(host.read_text(path).text.startswith(FABRIC_PROCESS) for path in host.glob("/proc/[0-9]*/comm"))


def _containers(host: ProbeHost) -> ContainerTools | None:
    engines = tuple(name for name in ENGINES if host.which(name))
    if not engines:
        return None
    return ContainerTools(
        engines=engines,
        toolkit=tuple(path for name in TOOLKIT for path in host.which(name)[:1]),
        runtime=parse_daemon(host.read_text("/etc/docker/daemon.json").text),
        cdi=(*host.glob("/etc/cdi/*nvidia*"), *host.glob("/run/cdi/*nvidia*")),
    )
