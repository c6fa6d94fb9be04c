"""Main memory, the control group's limit, and room on the disks that installing needs."""

from __future__ import annotations

import re

from envfix.host.interface import ProbeHost
from envfix.model.facts import Disk, Interpreter, Observed, Resources, found
from envfix.model.language import stated

SOURCE = stated("/proc/meminfo, control groups and file systems")
_KIB = 1024
# What the first version of control groups shows for "no limit": the largest page-aligned number of 63 bits.
_NO_LIMIT = 1 << 62


def parse_meminfo(text: str) -> dict[str, int]:
    """Sizes in bytes by name; a line of /proc/meminfo reads ``MemAvailable:   24576000 kB``."""
    return {name: int(size) * _KIB for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)}


def parse_cgroup(text: str) -> tuple[str | None, str | None]:
    """The groups of a process (first version's memory group, second version's group) in /proc/self/cgroup.

    Lines read ``9:memory:/slurm/uid_1000/job_7`` (first version) and ``0::/user.slice/session-2.scope`` (second version).
    """
    first = re.search(r"^\d+:(?:[\w=]+,)*memory(?:,[\w=]+)*:(/.*)$", text, re.MULTILINE)
    second = re.search(r"^0::(/.*)$", text, re.MULTILINE)
    return (first[1] if first else None, second[1] if second else None)


def parse_limit(text: str) -> int | None:
    """Bytes in memory.max or memory.limit_in_bytes; None for ``max``, which is no limit."""
    match = re.fullmatch(r"\d{1,20}", text.strip(), re.ASCII)
    limit = int(match[0]) if match else None
    return None if limit is None or limit >= _NO_LIMIT else limit


def parse_mount_options(text: str, path: str) -> tuple[str, ...]:
    r"""The options of the file system that holds ``path``, from /proc/self/mounts.

    A line reads ``tmpfs /tmp tmpfs rw,nosuid,nodev,noexec 0 0``; a blank in a folder's name is written ``\040``. Of two
    mounts on one folder the later one counts.
    """
    best, options = "", ""
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) < 4:
            continue
        folder = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), words[1])
        inside = path == folder or path.startswith(folder.rstrip("/") + "/")
        if inside and len(folder) >= len(best):
            best, options = folder, words[3]
    return tuple(options.split(",")) if options else ()


def probe(host: ProbeHost) -> Observed[Resources]:
    """Main memory and its limit, and room where packages are unpacked and kept; a disk that cannot be asked says why."""
    memory = parse_meminfo(host.read_text("/proc/meminfo").text)
    mounts = host.read_text("/proc/self/mounts").text
    return found(
        Resources(
            memory_total=memory.get("MemTotal"),
            memory_available=memory.get("MemAvailable"),
            memory_limit=_memory_limit(host),
            disks=tuple(_disk(host, purpose, path, mounts) for purpose, path in _places(host)),
        ),
        SOURCE,
    )


def probe_prefix(host: ProbeHost, interpreter: Interpreter) -> Observed[Disk]:
    """Room in the target's own environment."""
    path = interpreter.site_packages[0] if interpreter.site_packages else interpreter.prefix
    return found(_disk(host, "prefix", path, ""), path)


def _memory_limit(host: ProbeHost) -> int | None:
    """The least of the limits of the group and those above it; in a container its own group is the root of what is seen."""
    first, second = parse_cgroup(host.read_text("/proc/self/cgroup").text)
    files = [f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes" for group in _upwards(first)]
    files += [f"/sys/fs/cgroup{group}/memory.max" for group in _upwards(second)]
    limits = [parse_limit(host.read_text(path, limit=100).text) for path in files]
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(group: str | None) -> list[str]:
    if group is None:
        return []
    parts = [part for part in group.split("/") if part]
    return ["".join(f"/{part}" for part in parts[:count]) for count in range(len(parts), -1, -1)]


def _places(host: ProbeHost) -> list[tuple[str, str]]:
    """Purpose and folder, as pip, uv and Python choose them."""
    facts = host.system_facts()
    home, system = facts.get("home", "~"), facts.get("system", "linux")
    named = next((value for name in ("TMPDIR", "TEMP", "TMP") if (value := host.getenv(name))), None)
    places = [("temporary files", named or ("/tmp" if system != "win32" else f"{home}/AppData/Local/Temp"))]  # noqa: S108
    caches = host.getenv("XDG_CACHE_HOME") or f"{home}/.cache"
    pip, uv = f"{caches}/pip", f"{caches}/uv"
    if system == "win32":
        pip, uv = f"{home}/AppData/Local/pip/Cache", f"{home}/AppData/Local/uv/cache"
    elif system == "darwin":
        pip = f"{home}/Library/Caches/pip"
    places += [
        ("pip cache", host.getenv("PIP_CACHE_DIR") or pip),
        ("uv cache", host.getenv("UV_CACHE_DIR") or uv),
    ]
    return [*places, *(("shared memory", path) for path in host.glob("/dev/shm"))]  # noqa: S108


def _disk(host: ProbeHost, purpose: str, path: str, mounts: str) -> Disk:
    space = host.disk_space(path)
    noexec = "noexec" in parse_mount_options(mounts, host.real_path(path)) if purpose == "temporary files" else False
    return Disk(
        purpose=purpose,  # type: ignore[arg-type] # one of the words in _places, or "prefix"
        path=path,
        free=space.free,
        total=space.total,
        writable=space.writable,
        problem=space.problem or (stated("programs cannot be started there (noexec)") if noexec else None),
    )
