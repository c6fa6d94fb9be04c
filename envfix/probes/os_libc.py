"""The platform: operating system, processor, C library, container and WSL."""

from __future__ import annotations

import re
from collections.abc import Mapping

from envfix.host.interface import ProbeHost
from envfix.model.facts import Libc, Observed, Platform, found, unknown
from envfix.model.language import stated

SOURCE = stated("the running kernel and /etc/os-release")
_SYSTEMS = {"linux": "linux", "win32": "win", "darwin": "macosx"}
_MACHINES = {"AMD64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64", "ARM64": "aarch64"}


def platform_tag(system: str, machine: str) -> str:
    """The platform in the words of ``--platform``: ``linux_x86_64``, ``win_amd64``, ``macosx_arm64``."""
    cpu = _MACHINES.get(machine, machine)
    if system == "win32":
        return {"x86_64": "win_amd64", "aarch64": "win_arm64"}.get(cpu, f"win_{cpu}")
    if system == "darwin":
        return {"aarch64": "macosx_arm64"}.get(cpu, f"macosx_{cpu}")
    return f"{_SYSTEMS.get(system, system)}_{cpu}"


def parse_os_release(text: str) -> str | None:
    """``PRETTY_NAME`` of /etc/os-release, such as ``Ubuntu 20.04.6 LTS``."""
    match = re.search(r"^PRETTY_NAME=([\"']?)(.*?)\1\s*$", text, re.MULTILINE)
    return match[2] if match else None


def parse_jetson(text: str) -> str | None:
    """The L4T release in /etc/nv_tegra_release: ``# R35 (release), REVISION: 4.1`` is ``R35.4.1``."""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"R{match[1]}.{match[2]}" if match else None


def container_of(host: ProbeHost) -> str | None:
    """The kind of container envfix runs in, by the traces container engines leave; None when there is no such trace."""
    if host.getenv("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if host.getenv("APPTAINER_CONTAINER") or host.getenv("SINGULARITY_CONTAINER"):
        return "apptainer"
    for path, name in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if host.glob(path):
            return name
    first = host.read_text("/proc/1/cgroup").text
    for word, name in (("docker", "docker"), ("kubepods", "kubernetes"), ("lxc", "lxc"), ("podman", "podman")):
        if word in first:
            return name
    return None


def probe(host: ProbeHost) -> Observed[Platform]:
    """What machine this is."""
    facts = host.system_facts()
    system, machine = facts.get("system", ""), facts.get("machine", "")
    if not system or not machine:
        return unknown(SOURCE, stated("the kernel does not say what it is"))
    release = facts.get("release", "")
    linux = system == "linux"
    return found(
        Platform(
            system=system,
            machine=machine,
            tag=platform_tag(system, machine),
            distribution=parse_os_release(host.read_text("/etc/os-release").text) if linux else None,
            kernel=release or None,
            libc=_libc(facts),
            wsl=linux and "microsoft" in release.lower(),
            container=container_of(host) if linux else None,
            jetson=parse_jetson(host.read_text("/etc/nv_tegra_release").text) if linux else None,
        ),
        SOURCE,
    )


def _libc(facts: Mapping[str, str]) -> Libc | None:
    family = facts.get("libc")
    return Libc(family=family, version=facts.get("libc_version") or None) if family else None
