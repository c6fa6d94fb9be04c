"""What one round of choosing is about: the target, the cards to serve, their driver, the builds that are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec
from packaging.specifiers import Specifier

from envfix.model.language import say
from envfix.model.plan import PlanTarget, TargetGpu
from envfix.model.versions import CudaVersion, DriverVersion
from envfix.resolver import wording
from envfix.resolver.request import Request
from envfix.resolver.specifiers import range_of
from envfix.tables.drivers import DriverFloor
from envfix.tables.loader import Tables
from envfix.tables.ultralytics import Requirements


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which builds come into question: CPU builds, CUDA builds of one release or one major family, or any CUDA build.

    ``exact`` is False for a second best: what is taken when the builds that were meant do not exist or do not fit.
    """

    kind: Literal["cpu", "cuda", "any"]
    release: CudaVersion | None = None
    major: int | None = None
    exact: bool = True

    def admits(self, cuda: CudaVersion | None) -> bool:
        """Whether a build with this CUDA inside (None: a CPU build) comes into question."""
        if self.kind == "any":
            return True
        if cuda is None or self.kind == "cpu":
            return cuda is None and self.kind == "cpu"
        if self.release is not None:
            return cuda == self.release
        return self.major is None or cuda.major == self.major


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """One round of choosing; ``cards`` empty: torch runs on the CPU, ``driver`` None: no driver bounds it.

    ``releases`` holds the ultralytics releases that run on each interpreter (None: not asked for);
    ``last_branch`` is the newest driver branch that serves all cards (None: all do),
    ``unknown_card`` says why the driver cannot work with one of the cards at all (None: it can), ``unheard_of`` why there
    is no release of a package as it was asked for (None: there is), ``numpy_python`` is the oldest Python of the NumPy that
    was asked for (None: any).
    """

    target: PlanTarget
    request: Request
    tables: Tables
    wanted: Wanted
    cards: tuple[TargetGpu, ...]
    driver: DriverVersion | None
    releases: dict[str, tuple[Requirements, ...]] | None
    glibc: tuple[int, ...] | None
    last_branch: int | None
    unknown_card: str | None
    unheard_of: str | None = None
    numpy_python: tuple[int, int] | None = None

    def packages_run_on(self, tag: str) -> bool:
        """Whether the packages asked for beside torch run on an interpreter."""
        return self.package_left_out(tag) is None

    def package_left_out(self, tag: str) -> str | None:
        """The first of the packages asked for that does not run on an interpreter; None when all do."""
        if self.releases is not None and not self.releases.get(tag):
            return str(self.request.asked("ultralytics"))
        python = wording.python_of(tag)
        if self.numpy_python is not None and python is not None and python < self.numpy_python:
            return str(self.request.asked("numpy"))
        return None

    def floor(self, cuda: CudaVersion) -> DriverFloor | None:
        """The oldest drivers for a CUDA; None when the tables do not say."""
        return _floor(self.tables, cuda, system_of_driver(self.target))


def situations(
    target: PlanTarget,
    request: Request,
    tables: Tables,
    *,
    cards: tuple[TargetGpu, ...],
    releases: dict[str, tuple[Requirements, ...]] | None,
) -> tuple[Situation, ...]:
    """The rounds of a search: what was meant, then the second best."""
    driver = target.driver if cards else None
    unknown = _unknown_card(cards, driver, tables)
    return tuple(
        Situation(
            target=target,
            request=request,
            tables=tables,
            wanted=wanted,
            cards=cards,
            driver=driver,
            releases=releases,
            glibc=_glibc(target),
            last_branch=_last_branch(cards, tables),
            unknown_card=unknown,
            unheard_of=unheard_of(request, tables),
            numpy_python=_numpy_python(request, tables),
        )
        for wanted in rounds(request, has_cards=bool(cards))
    )


def unheard_of(request: Request, tables: Tables) -> str | None:
    """Why no release of ultralytics that the user would take is known; None when one is, or none is asked for.

    Releases newer than the table may exist: only offline, where nobody can be asked, they count as not known.
    """
    asked = request.asked("ultralytics")
    if asked is None:
        return None
    oldest, newest = tables.ultralytics.oldest(), tables.ultralytics.newest()
    if range_of([*asked.specifier, Specifier(f">={oldest}")]).is_empty:
        return say("there is no release {asked}: the first was {oldest}", asked=asked, oldest=oldest)
    if request.offline and range_of([*asked.specifier, Specifier(f"<={newest}")]).is_empty:
        return say(
            "the tables know no release {asked}: the newest they know is {newest}, reviewed on"
            " {reviewed}; without --offline the index is asked",
            asked=asked,
            newest=newest,
            reviewed=tables.ultralytics.reviewed(),
        )
    return None


def _numpy_python(request: Request, tables: Tables) -> tuple[int, int] | None:
    asked = request.asked("numpy")
    oldest = range_of(asked.specifier).lower if asked is not None else None
    return tables.companions.numpy_python(oldest) if oldest is not None else None


def _last_branch(cards: Iterable[TargetGpu], tables: Tables) -> int | None:
    """The newest driver branch that still serves all cards; None when every newer one does."""
    known = (tables.drivers.last_branch_for(card.capability) for card in cards if card.capability is not None)
    return min((branch for branch in known if branch is not None), default=None)


def first_branch(cards: Iterable[TargetGpu], tables: Tables) -> int | None:
    """The oldest driver branch that knows all cards; None when the tables do not say."""
    known = (tables.drivers.first_branch_for(card.capability) for card in cards if card.capability is not None)
    return max((branch for branch in known if branch is not None), default=None)


def _glibc(target: PlanTarget) -> tuple[int, ...] | None:
    if target.glibc is None or target.libc == "musl":
        return None
    return tuple(int(part) for part in target.glibc.split(".") if part.isdigit())


def _unknown_card(cards: Iterable[TargetGpu], have: DriverVersion | None, tables: Tables) -> str | None:
    """Why the driver cannot work with one of the cards at all; None when it can.

    A card with a serial id was seen through its driver, so that driver knows it whatever the tables say.
    """
    drivers = tables.drivers
    branch = drivers.branch(have) if have is not None else None
    if have is None or branch is None:
        return None
    for card in cards:
        if card.uuid is not None or card.capability is None:
            continue
        first, last = drivers.first_branch_for(card.capability), drivers.last_branch_for(card.capability)
        if first is not None and branch.branch < first:
            return say(
                "driver {have} does not know the {card_name}; drivers from {first} on do",
                have=have,
                card_name=wording.card_name(card),
                first=first,
            )
        if last is not None and branch.branch > last:
            return say(
                "driver {have} has dropped the {card_name}; {last} was the last branch that serves it",
                have=have,
                card_name=wording.card_name(card),
                last=last,
            )
    return None


@lru_cache(maxsize=256)
def newest_cuda(tables: Tables, driver: DriverVersion) -> CudaVersion | None:
    """The newest CUDA that a driver serves fully; None for drivers older than the tables."""
    return tables.drivers.newest_cuda(driver)


@lru_cache(maxsize=256)
def _floor(tables: Tables, cuda: CudaVersion, system: Literal["linux", "windows"]) -> DriverFloor | None:
    return tables.drivers.floor(cuda, system)


def system_of_driver(target: PlanTarget) -> Literal["linux", "windows"]:
    """Whose driver numbers count: inside WSL it is the driver of Windows that serves the card."""
    return "windows" if target.wsl or target.platform.startswith("win") else "linux"


def rounds(request: Request, *, has_cards: bool) -> tuple[Wanted, ...]:
    """The builds to try, the ones meant first; a later round is tried only when the one before gives nothing."""
    if request.variant is not None:
        return (_of_variant(request.variant),)
    if request.wants == "cuda" and request.cuda is not None:
        meant = Wanted(kind="cuda", release=request.cuda)
        return (meant,) if request.exact else (meant, Wanted(kind="cuda", major=request.cuda.major, exact=False))
    if request.wants == "cpu" and request.exact:
        return (Wanted(kind="cpu"),)
    if request.wants == "cpu" or not has_cards:
        # Where only the default registry answers, its CUDA build is what there is; it runs on the CPU as well.
        return (Wanted(kind="cpu"), Wanted(kind="any", exact=False))
    return (Wanted(kind="cuda"),)


def _of_variant(variant: str) -> Wanted:
    return Wanted(kind="cpu") if variant == "cpu" else Wanted(kind="cuda", release=CudaVersion.parse(variant))
