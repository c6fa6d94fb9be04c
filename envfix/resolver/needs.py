"""What machine a lock needs, from its files and the tables; and whether another machine is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from packaging.version import InvalidVersion, Version

from envfix.model.language import say
from envfix.model.lock import Answer, Lock, Needs, Suitability
from envfix.model.lock_signs import CPU, LABEL, least_glibc
from envfix.model.plan import PlanTarget, TargetGpu
from envfix.model.versions import CudaVersion, DriverVersion
from envfix.tables.architectures import SmList, runs_on
from envfix.tables.loader import Tables


def needs_of(
    target: PlanTarget,
    torch: str | None,
    variant: str,
    files: Iterable[str],
    tables: Tables,
    *,
    code: SmList | None = None,
    depends: Iterable[str] = (),
) -> Needs:
    """What a stack needs that was chosen for ``target``.

    ``torch`` is its version without label (None: there is none), ``variant`` the CUDA inside or ``cpu``, ``files`` the names of
    its wheels, ``depends`` what its conda packages depend on, ``code`` what the torch that is there was compiled for (None: by
    the tables).
    """
    python = ".".join(target.python.split(".")[:2])
    glibc = least_glibc(files, depends) if target.platform.startswith("linux") and target.libc != "musl" else None
    needs = Needs(
        python=python, tag=target.tag, platform=target.platform, libc=target.libc, glibc=glibc, variant=variant
    )
    if not variant.startswith("cu") or torch is None:
        return needs
    floor = tables.drivers.floor(
        CudaVersion.parse(variant), "windows" if target.platform.startswith("win") else "linux"
    )
    code = code or _compiled(torch, variant, target.platform, tables)
    return msgspec.structs.replace(
        needs,
        driver=str(floor.family) if floor else None,
        driver_direct=str(floor.exact) if floor and floor.exact else None,
        sm=tuple(sm_names(code)) if code else (),
    )


def sm_names(code: SmList) -> Iterator[str]:
    """As torch prints them: ``sm_80``, ``sm_90a``, ``compute_90``."""
    yield from (f"sm_{_number(one)}" for one in code.sm)
    yield from (f"sm_{_number(one)}a" for one in code.only)
    yield from (f"compute_{_number(one)}" for one in code.ptx)


def suitability(lock: Lock, target: PlanTarget) -> tuple[Suitability, ...]:
    """Whether what is locked runs on a machine, one answer for each thing it needs; what the lock does not say is left out."""
    needs = lock.needs
    rows = [_platform(needs, target), _python(lock, target), _glibc_there(needs, target)]
    contradiction = _contradiction(lock)
    if contradiction is not None:
        rows.append(contradiction)
    elif needs.variant == CPU:
        rows.append(_idle_card(target))
    elif needs.variant.startswith("cu"):
        rows.append(_driver(needs, target))
        rows += [_card(needs, card, target) for card in target.gpus] or [_no_card(target)]
    else:
        what = (
            say("it is built for {variant}", variant=needs.variant)
            if needs.variant
            else say("it does not say which CUDA is inside")
        )
        rows.append(
            Suitability(
                need="gpu",
                answer="unknown",
                text=say("{what}: whether it runs on these cards cannot be told", what=what),
            )
        )
    return tuple(row for row in rows if row is not None)


def _contradiction(lock: Lock) -> Suitability | None:
    """What torch's own label says against the needs: somebody has edited one of them."""
    torch = next((one for one in lock.wheels() if one.name == "torch"), None)
    label = torch.version.partition("+")[2] if torch is not None else ""
    if torch is None or not LABEL.fullmatch(label) or label == lock.needs.variant:
        return None
    said = lock.needs.variant or say("nothing")
    text = say(
        "it says that it needs {said}, and its torch is {version}: one of them was changed by hand",
        said=said,
        version=torch.version,
    )
    return Suitability(need="gpu", answer="unknown", text=text)


def _number(capability: object) -> str:
    return str(capability).replace(".", "")


def _compiled(torch: str, variant: str, platform: str, tables: Tables) -> SmList | None:
    try:
        return tables.architectures.built(Version(torch.partition("+")[0]), variant, platform)
    except InvalidVersion:
        return None


def _platform(needs: Needs, target: PlanTarget) -> Suitability | None:
    if not needs.platform:
        return None
    same = needs.platform == target.platform
    text = say("it is for {platform}", platform=needs.platform) + (
        "" if same else say(", and this machine is {platform}", platform=target.platform)
    )
    return Suitability(need="platform", answer="yes" if same else "no", text=text)


def _python(lock: Lock, target: PlanTarget) -> Suitability | None:
    needs = lock.needs
    if not needs.tag or any(one.name == "python" for one in lock.conda()):
        return None  # it brings its own
    same = needs.tag == target.tag
    text = say("it is for Python {python} ({tag})", python=needs.python, tag=needs.tag) + (
        "" if same else say(", and the Python there is {python} ({tag})", python=target.python, tag=target.tag)
    )
    return Suitability(need="python", answer="yes" if same else "no", text=text)


def _glibc_there(needs: Needs, target: PlanTarget) -> Suitability | None:
    if not target.platform.startswith("linux") or (needs.glibc is None and needs.libc != "musl"):
        return None
    wanted = say("it needs glibc {glibc} or newer", glibc=needs.glibc)
    if needs.libc == "musl":
        return (
            None
            if target.libc == "musl"
            else Suitability(need="glibc", answer="no", text=say("it is for musl, not glibc"))
        )
    if target.libc == "musl":
        return Suitability(need="glibc", answer="no", text=say("{wanted}, and this machine has musl", wanted=wanted))
    if target.glibc is None:
        return Suitability(
            need="glibc", answer="unknown", text=say("{wanted}, and the one there is not known", wanted=wanted)
        )
    fits = Version(target.glibc) >= Version(needs.glibc or "0")
    return Suitability(
        need="glibc",
        answer="yes" if fits else "no",
        text=say("{wanted}; there is {glibc}", wanted=wanted, glibc=target.glibc),
    )


def _idle_card(target: PlanTarget) -> Suitability | None:
    if not target.gpus:
        return None
    names = say(" and ").join(dict.fromkeys(card.name for card in target.gpus))
    return Suitability(
        need="gpu",
        answer="warning",
        text=say("it is for the CPU: {names} would not be used", names=names),
    )


def _driver(needs: Needs, target: PlanTarget) -> Suitability | None:
    if needs.driver is None:
        return Suitability(
            need="driver",
            answer="unknown",
            text=say("which driver {variant} needs is not known", variant=needs.variant),
        )
    wanted = say("it needs NVIDIA driver {driver} or newer", driver=needs.driver)
    if target.driver is None:
        answer: Answer = "no" if target.driver_state in ("absent", "broken") else "unknown"
        reason = target.gpu_problem or say("no NVIDIA driver was found there")
        return Suitability(need="driver", answer=answer, text=f"{wanted}: {reason}")
    fits = target.driver >= DriverVersion.parse(needs.driver)
    return Suitability(
        need="driver",
        answer="yes" if fits else "no",
        text=say("{wanted}; there is {driver}", wanted=wanted, driver=target.driver),
    )


def _no_card(target: PlanTarget) -> Suitability:
    if target.driver_state == "unknown" or (target.driver is not None and target.gpu_problem):
        return Suitability(
            need="gpu",
            answer="unknown",
            text=say("whether a card is there is not known: {gpu_problem}", gpu_problem=target.gpu_problem),
        )
    return Suitability(need="gpu", answer="no", text=say("there is no NVIDIA card: it would run on the CPU only"))


def _card(needs: Needs, card: TargetGpu, target: PlanTarget) -> Suitability:
    if not needs.sm:
        return Suitability(
            need="gpu",
            answer="unknown",
            text=say("which cards it was compiled for is not known: {card} may run it", card=card.name),
        )
    if card.capability is None:
        return Suitability(
            need="gpu", answer="unknown", text=say("the compute capability of {card} is not known", card=card.name)
        )
    cuda = CudaVersion.parse(needs.variant)
    direct = (
        target.driver is not None
        and needs.driver_direct is not None
        and target.driver >= DriverVersion.parse(needs.driver_direct)
    )
    fit = runs_on(card.capability, SmList.parse(needs.sm, cuda=cuda), driver_is_direct=direct)
    text = say(
        "{card} has compute capability {capability}; it was compiled for {sm}",
        card=card.name,
        capability=card.capability,
        sm=" ".join(needs.sm),
    )
    return Suitability(need="gpu", answer="yes" if fit else "no", text=text)
