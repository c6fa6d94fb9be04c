"""What is checked before anything is changed: room on the disks, and the place of a new environment."""

from __future__ import annotations

from envfix.host.interface import DiskSpace, Host, ProbeHost
from envfix.installer.interface import PathError, PermissionsError, SpaceError

# Unpacked size of a stack over that of its wheels: measured 1.9 for torch 2.15 with ultralytics, 2.2 for torch 1.8.
UNPACKED = 2.2
_TEMPORARY = 50_000_000
_GB = 1e9


def unpacked_bytes(download_bytes: int) -> int:
    """An estimate of the disk space that wheels of so many bytes take once unpacked."""
    return int(download_bytes * UNPACKED)


def check_space(
    host: ProbeHost,
    prefix: str,
    cache_dir: str | None,
    tmp: str | None,
    needed_bytes: int,
    *,
    new_bytes: int | None = None,
) -> None:
    """Raise ``SpaceError`` unless ``needed_bytes`` (unpacked) fit where they go, ``PermissionsError`` if unwritable.

    uv unpacks into its cache (only what is not there yet: ``new_bytes``, default all) and links from there into
    ``prefix`` where both lie on one file system, else copies. A disk that cannot be asked passes.
    """
    new = needed_bytes if new_bytes is None else min(new_bytes, needed_bytes)
    place = host.disk_space(prefix)
    cache = host.disk_space(cache_dir) if cache_dir else None
    # Free and total bytes tell file systems apart well enough: two that agree in both need the same room anyway.
    linked = cache is not None and (cache.free, cache.total) == (place.free, place.total)
    if not place.writable and place.problem is None:
        raise PermissionsError(
            f"you may not write to {prefix}", hint="make an environment of your own with --new-env PATH"
        )
    both = new + needed_bytes if host.getenv("UV_LINK_MODE") == "copy" else new
    _demand(place, both if linked else needed_bytes, prefix, "--new-env PATH on another disk")
    if cache is not None and cache_dir is not None:
        _demand(cache, new, cache_dir, "UV_CACHE_DIR names a folder on another disk")
    if tmp is not None:
        _demand(host.disk_space(tmp), min(_TEMPORARY, needed_bytes), tmp, "TMPDIR names a folder on another disk")


def _demand(space: DiskSpace, needed: int, path: str, way_out: str) -> None:
    if space.free is not None and space.free < needed:
        raise SpaceError(
            f"not enough room at {path}: {_gb(needed)} needed, {_gb(space.free)} free; nothing was changed",
            hint=f"free some room, or: {way_out}",
        )


def check_new_path(host: Host, path: str) -> None:
    """Raise ``PathError`` or ``PermissionsError`` unless a new environment can be made at ``path``."""
    if host.read_text(path, limit=1).outcome == "read":
        raise PathError(f"{path} is a file", hint="choose a path that does not exist yet")
    if _exists(host, path) and (_exists(host, f"{path}/*", magic=True) or _exists(host, f"{path}/.*", magic=True)):
        raise PathError(
            f"{path} exists and is not empty; nothing was changed",
            hint="choose a path that does not exist yet",
        )
    space = host.disk_space(path)
    if space.problem is not None:
        raise PathError(f"{path} cannot be used: {space.problem}", hint="choose another path")
    if not space.writable:
        raise PermissionsError(
            f"you may not make {path}; nothing was changed", hint="choose a path in your home folder"
        )


def _exists(host: ProbeHost, path: str, *, magic: bool = False) -> bool:
    folder, _, pattern = path.rpartition("/") if magic else (path, "", "")
    # A bracket in a folder's name is no pattern.
    literal = folder.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
    found = host.glob(f"{literal}/{pattern}" if magic else literal)
    return any(hit.rstrip("/").rpartition("/")[2] not in (".", "..") for hit in found)


def _gb(size: int) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB / 10 else f"{max(size / 1e6, 0.1):.1f} MB"
