"""A lock: the exact files of a stack, where each of them comes from, and what machine they need."""

from __future__ import annotations

from typing import Literal

import msgspec

# What a package is: a wheel or source archive of an index, a conda package, or something that no index holds.
Origin = Literal["wheel", "sdist", "conda", "direct", "editable", "local", "unknown"]


class LockedFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a package: ``size`` in bytes, hashes in hexadecimal. None: nobody says.

    ``url`` has no credentials, and is None where the client's own default index says it.
    """

    filename: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One package: canonical ``name``, exact ``version`` with its local label, and the one file that the needs ask for.

    ``index`` is what envfix calls the place it comes from (``pypi``, ``official``, a mirror, a conda channel); ``index_url`` is
    its address without credentials, None for the client's own default index. ``find_links``: that address is a plain page of
    files. ``requires`` are names of other packages in this lock. ``build``, ``subdir``, ``depends`` and ``constrains`` are conda's.
    ``note`` says in one sentence what keeps it from coming back elsewhere (an editable folder, a file of this disk);
    ``direct_url`` is where such a package came from, by PEP 610.
    """

    name: str
    version: str
    origin: Origin = "wheel"
    file: LockedFile | None = None
    index: str = "pypi"
    index_url: str | None = None
    find_links: bool = False
    requires: tuple[str, ...] = ()
    build: str | None = None
    subdir: str | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    direct_url: str | None = None
    note: str | None = None


class Needs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine that a lock is for.

    ``python`` is a version such as ``3.8``, ``tag`` its ABI (``cp38``), ``platform`` as in ``linux_x86_64``, ``libc`` its family
    and ``glibc`` the oldest that all files run on. ``variant`` is the CUDA inside (``cu118``) or ``cpu``; ``driver`` is the oldest
    NVIDIA driver that runs it, ``driver_direct`` the oldest that does without the compatibility within a CUDA family. ``sm`` are
    the architectures compiled in (``sm_80``, ``compute_90``). None and empty: not known, or not needed (``cpu``).
    """

    python: str
    tag: str
    platform: str
    libc: str | None = None
    glibc: str | None = None
    variant: str = "cpu"
    driver: str | None = None
    driver_direct: str | None = None
    sm: tuple[str, ...] = ()


class Lock(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole stack with its needs. Packages are sorted by name; nothing in it depends on the time or the machine of its making.

    ``asked`` are the requirements that somebody named (the rest came with them), ``specs`` the same for conda packages.
    ``source`` says in a few words what was locked. A lock may hold wheels, conda packages, or both.
    """

    needs: Needs
    packages: tuple[LockedPackage, ...]
    asked: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    source: str = "a plan"

    def wheels(self) -> tuple[LockedPackage, ...]:
        """The packages that are not conda's."""
        return tuple(package for package in self.packages if package.origin != "conda")

    def conda(self) -> tuple[LockedPackage, ...]:
        """The packages that are conda's."""
        return tuple(package for package in self.packages if package.origin == "conda")

    def package(self, name: str) -> LockedPackage | None:
        """The package of this canonical name; a wheel before a conda package."""
        return next((one for one in (*self.wheels(), *self.conda()) if one.name == name), None)
