"""What every installer promises: resolve without changing anything, make an environment, install; and its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec

from envfix.errors import InstallError
from envfix.host.locking import EnvironmentLock
from envfix.model.outcome import Installation
from envfix.model.plan import Download, PlanTarget

# The packages that a torch index may supply; everything else comes from the default registry only.
# pytorch-triton and its kin exist on the torch index alone; triton and nvidia-* are on the default registry as well.
TORCH_FAMILY = frozenset(
    {
        "torch",
        "torchvision",
        "torchaudio",
        "torchtext",
        "torchdata",
        "pytorch-triton",
        "pytorch-triton-rocm",
        "pytorch-triton-xpu",
        "triton-rocm",
        "triton-xpu",
    }
)


class ResolutionError(InstallError):
    """The installer cannot be asked for a resolution (not: the request has none)."""

    reference = "resolution"


class SpaceError(InstallError):
    """There is not enough room on a disk; nothing was changed."""

    reference = "no-space"


class PathError(InstallError):
    """The new environment cannot be made at that path; nothing was changed."""

    reference = "environment-path"


class StalledError(InstallError):
    """Nothing moved for too long, and the installer was ended."""

    reference = "stalled"


class DownloadError(InstallError):
    """A file could not be fetched, or was not the file it should be."""

    reference = "download"


class BrokenOffError(DownloadError):
    """It came in part, or not now: worth going on with what is there, or a little later."""


class PermissionsError(InstallError):
    """The user may not write where the packages belong."""

    reference = "permission"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """The only places a plan takes packages from.

    ``torch_url`` supplies the torch family and nothing else (None: the default registry does). ``torch_layout`` tells
    an index (PEP 503/691) from a page or folder of files; ``torch_name`` is what the plan calls it. ``find_links`` are
    pages or folders that may supply anything; ``registry`` says whether the default registry may. Addresses have no
    credentials: these are looked up in the user's own configuration when needed.
    """

    torch_url: str | None = None
    torch_layout: Literal["index", "find-links"] = "index"
    torch_name: str = "torch"
    find_links: tuple[str, ...] = ()
    registry: bool = True


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """The exact set of files the installer would use.

    ``lock`` is the text of a pylock.toml with addresses and hashes, ``target`` the machine and interpreter it is for, and
    ``sources`` are the places it may come from. ``total_bytes`` counts
    the downloads whose size is known, ``unknown_sizes`` says how many are not, and ``cached_bytes`` of them lie on this
    disk already.
    """

    downloads: tuple[Download, ...]
    lock: str
    target: PlanTarget
    sources: Sources
    total_bytes: int
    unknown_sizes: int
    cached_bytes: int
    seconds: float

    @property
    def versions(self) -> dict[str, str]:
        """Name to exact version, local label included."""
        return {download.name: download.version for download in self.downloads}

    @property
    def bytes_to_download(self) -> int:
        """What has to come over the network."""
        return max(self.total_bytes - self.cached_bytes, 0)


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The installer found no way: ``unsatisfiable`` (the request), ``network`` (an index), ``machine`` or ``other``.

    ``machine``: a full disk, or a folder that may not be written. ``unchecked``: it cannot be asked about such a
    Python. ``message`` is one sentence, ``text`` the installer's own words.
    """

    kind: Literal["unsatisfiable", "network", "machine", "unchecked", "other"]
    message: str
    text: str
    hint: str | None = None


Answer: TypeAlias = Resolution | Refusal


class NewEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """An environment envfix made: its folder, its interpreter, and whether it has a pip of its own."""

    path: str
    python: str
    has_pip: bool


class Installer(Protocol):
    """A program that installs what was resolved. Everything it can fail at over the network is over after ``fetch``."""

    name: str

    def fetch(self, resolution: Resolution, *, python: str) -> Resolution:
        """Bring every file onto this disk, hash-checked; the answer is what ``install`` takes. Raises ``InstallError``."""

    def incoming(self, resolution: Resolution) -> Mapping[str, Sequence[str]] | None:
        """The paths that each package's wheel lays down, by canonical name; None where that is not known."""

    def refusal(self, resolution: Resolution, *, options: Sequence[str] = ()) -> str | None:
        """Why the installer would refuse what was fetched, by a dry run of its own; None where it would not."""

    def install(
        self,
        resolution: Resolution,
        *,
        python: str,
        prefix: str,
        constraints: str | None = None,
        options: Sequence[str] = (),
        lock: EnvironmentLock | None = None,
    ) -> Installation:
        """Install exactly what was fetched, with the environment's ``lock`` held; raises ``InstallError``.

        ``constraints`` is what holds the stack in place later, ``options`` are further ones for the program.
        """
