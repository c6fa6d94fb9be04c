"""A lock: the exact files of a stack, where each of them comes from, and what machine they need."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from envfix.model.language import stated

Answer = Literal["yes", "no", "warning", "unknown"]
# What --format takes, as --help lists it.
Format = Literal[
    "requirements", "pylock", "environment.yml", "conda-explicit", "conda-lock", "pixi", "uv", "dockerfile"
]
Status = Literal["ok", "differs", "unfit", "unknown"]
# What a package is: a wheel or source archive of an index, a conda package, or something that no index holds.
Origin = Literal["wheel", "sdist", "conda", "direct", "editable", "local", "unknown"]


_SHAPES = {
    "driver": r"\d{1,5}(?:\.\d{1,6}){1,3}",
    "driver_direct": r"\d{1,5}(?:\.\d{1,6}){1,3}",
    "glibc": r"\d\.\d{1,3}",
    "variant": r"cpu|cu\d{2,3}|rocm\d[\d.]*|xpu",
    "sm": r"(?:sm|compute)_\d{2,3}[af]?",
}


class LockedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a package: ``size`` in bytes, hashes in hexadecimal. None: nobody says.

    ``url`` has no credentials, and is None where the client's own default index says it.
    """

    filename: str
    url: str | None = None
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True):
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


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that a lock is for.

    ``python`` is a version such as ``3.8``, ``tag`` its ABI (``cp38``), ``platform`` as in ``linux_x86_64``, ``libc`` its family
    and ``glibc`` the oldest that all files run on. ``variant`` is the CUDA inside (``cu118``) or ``cpu``; ``driver`` is the oldest
    NVIDIA driver that runs it, ``driver_direct`` the oldest that does without the compatibility within a CUDA family. ``sm`` are
    the architectures compiled in, as torch prints them. None and empty: not known, or not needed (``cpu``).
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

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for what no machine can have: a lock may have been edited by hand."""
        for name, pattern in _SHAPES.items():
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one and not re.fullmatch(pattern, one):
                    raise ValueError(f"{one!r} cannot be its {name}")

    def in_words(self) -> list[str]:
        """What the machine must have, a sentence each."""
        on = {"python": self.python, "tag": self.tag, "platform": self.platform}
        sentences = []
        if self.tag and self.glibc:
            sentences.append(
                stated(
                    "Needs Python {python} ({tag}) on {platform} with glibc {glibc} or newer.", **on, glibc=self.glibc
                )
            )
        elif self.tag:
            sentences.append(stated("Needs Python {python} ({tag}) on {platform}.", **on))
        if self.variant == "cpu":
            return [*sentences, stated("Runs on the CPU; needs no NVIDIA card.")]
        if not self.variant:
            return sentences
        if not self.variant.startswith("cu"):
            words = stated("Built for {variant}, which is not CUDA: NVIDIA cards do not run it.", variant=self.variant)
            return [*sentences, words]
        held = [stated("Holds code for these cards: {cards}.", cards=" ".join(self.sm))] if self.sm else []
        return [*sentences, self._driver_in_words(), *held]

    def _driver_in_words(self) -> str:
        driver, direct, variant = self.driver, self.driver_direct, self.variant
        if not driver:
            return stated("Needs an NVIDIA driver for the CUDA inside, {variant}.", variant=variant)
        if not direct or direct == driver:
            return stated(
                "Needs NVIDIA driver {driver} or newer for the CUDA inside, {variant}.", driver=driver, variant=variant
            )
        return stated(
            "Needs NVIDIA driver {driver} or newer for the CUDA inside, {variant}; cards newer than its code need {direct}.",
            driver=driver,
            variant=variant,
            direct=direct,
        )


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A whole stack with its needs. Packages are sorted by name; nothing in it depends on the time or the machine of its making.

    ``asked`` are the requirements that somebody named (the rest came with them), ``specs`` the same for conda packages.
    ``source`` says in a few words what was locked. A lock may hold wheels, conda packages, or both.
    """

    needs: Needs
    packages: tuple[LockedPackage, ...]
    asked: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    channels: tuple[tuple[str, str], ...] = ()
    source: str = stated("a plan")

    def wheels(self) -> tuple[LockedPackage, ...]:
        """The packages that are not conda's."""
        return tuple(package for package in self.packages if package.origin != "conda")

    def conda(self) -> tuple[LockedPackage, ...]:
        """The packages that are conda's."""
        return tuple(package for package in self.packages if package.origin == "conda")

    def package(self, name: str) -> LockedPackage | None:
        """The package of this canonical name; a wheel before a conda package."""
        return next((one for one in (*self.wheels(), *self.conda()) if one.name == name), None)


class Suitability(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a machine has one thing that a lock needs: ``platform``, ``python``, ``glibc``, ``driver`` or ``gpu``, and why.

    ``warning``: it runs, but not as somebody with that machine would want; ``unknown``: nobody can say.
    """

    need: Literal["platform", "python", "glibc", "driver", "gpu"]
    answer: Answer
    text: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A package that is not as the lock says: ``missing``, ``changed`` (another version or build) or ``extra``."""

    name: str
    kind: Literal["missing", "changed", "extra"]
    locked: str | None = None
    there: str | None = None


class LockCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What came of comparing a lock with a machine, and with the environment on it.

    ``suitability`` has an answer for each thing it needs. ``differences`` are packages that are not as locked; None: there was
    no environment to look at. ``status``: ``ok``, ``differs`` (it runs there, but is not what is installed), ``unfit`` (it does
    not run there) or ``unknown`` (nobody can say whether it does).
    """

    file: str
    format: str
    status: Status
    suitability: tuple[Suitability, ...]
    differences: tuple[Difference, ...] | None = None
    checked: str = ""
    notes: tuple[str, ...] = ()


class LockedAs(msgspec.Struct, frozen=True, kw_only=True):
    """A lockfile that was written: its format, its path (None: only its text was asked for) and its text."""

    format: str
    path: str | None
    text: str


class Locking(msgspec.Struct, frozen=True, kw_only=True):
    """What came of ``envfix lock``: the lock, the files, and what the user should know.

    ``left_out`` are the packages that no lockfile brings back elsewhere, named in the files with the reason. ``changed`` are
    the packages that an update has changed: name, old version, new version (None: it came, or went).
    """

    lock: Lock
    files: tuple[LockedAs, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    changed: tuple[tuple[str, str | None, str | None], ...] | None = None
