"""The filters: each looks at one constraint alone and says why a build does not fit, or nothing when it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from envfix.model.language import say
from envfix.model.plan import Constraint, Rejection, TargetGpu
from envfix.resolver import wording
from envfix.resolver.candidates import Candidate, runs
from envfix.resolver.situation import Situation
from envfix.resolver.stack import StackProblem, stack_of
from envfix.tables.drivers import DriverFloor

Filter = Callable[[Candidate, Situation], "Rejection | None"]


def requested(candidate: Candidate, situation: Situation) -> Rejection | None:
    """What the user asked for: a torch version, a CUDA, or a GPU build because there is a GPU."""
    request = situation.request
    if not request.accepts(candidate.version):
        return _no(candidate, "request", say("you asked for torch {torch_text}", torch_text=request.torch_text))
    if situation.unheard_of is not None:
        return _no(candidate, "request", situation.unheard_of)
    if situation.wanted.admits(candidate.cuda):
        return None
    if candidate.cuda is None:
        # Whole sentences: this is said of hundreds of builds in every plan.
        why = (
            say("a build for the CPU only, and this machine has a GPU; it is taken only with --cuda cpu")
            if situation.cards
            else say("a build for the CPU only; it is taken only with --cuda cpu")
        )
        return _no(candidate, "request", why)
    if request.wants == "auto" and request.variant is None:
        return _no(candidate, "request", say("a build for NVIDIA cards; there is none here to use it"))
    meant = f"--torch {request.torch_text}" if request.variant else f"--cuda {request.cuda_text}"
    return _no(
        candidate,
        "request",
        say("{runtime} is not what {meant} means", runtime=wording.runtime(candidate.variant), meant=meant),
    )


def interpreter(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The interpreter: there must be a file for its tag, and the packages asked for must run on it too."""
    tag = situation.target.tag
    if tag not in candidate.build.files:
        text = say(
            "no file for {python_name}: there are files for {pythons}",
            python_name=wording.python_name(tag),
            pythons=candidate.build.pythons,
        )
        return _no(candidate, "interpreter", text)
    package = situation.package_left_out(tag)
    if package is not None:
        return _no(
            candidate,
            "interpreter",
            say("{package} does not run on {python_name}", package=package, python_name=wording.python_name(tag)),
        )
    return None


def platform(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The platform: torch is built against glibc, so a system with musl has no files at all."""
    if situation.target.libc == "musl" and situation.target.platform.startswith("linux"):
        return _no(candidate, "platform", say("built for the GNU C library; this system has musl (Alpine)"))
    return None


def glibc(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The C library: a file names the oldest glibc it runs on."""
    have = situation.glibc
    need = candidate.file_for(situation.target.tag).glibc if have is not None else None
    if have is None or need is None or have >= need:
        return None
    return _no(
        candidate,
        "glibc",
        say(
            "needs glibc {need}.{need_2} or newer; this system has {glibc}",
            need=need[0],
            need_2=need[1],
            glibc=situation.target.glibc,
        ),
    )


def sm(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The cards: the build must hold code that each of them can run, as a binary or as portable code (PTX)."""
    if not situation.cards or candidate.cuda is None:
        return None
    if candidate.build.code is None:
        return _no(candidate, "sm", say("the tables do not know which cards this build has code for"))
    # PTX needs a new enough driver; that is the driver filter's business.
    left_out = [card for card in situation.cards if not _runs(card, candidate, direct=True)]
    if not left_out:
        return None
    return _no(
        candidate,
        "sm",
        say(
            "no code for {cards}: this build has {targets}",
            cards=wording.cards(left_out),
            targets=candidate.build.targets,
        ),
    )


def driver(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The driver: at least the floor of the CUDA family, the exact one for PTX, and one that knows the card."""
    have = situation.driver
    if not situation.cards or candidate.cuda is None or have is None:
        return None
    floor = situation.floor(candidate.cuda)
    if floor is None:
        return _no(
            candidate, "driver", say("the tables do not say which driver CUDA {cuda} needs", cuda=candidate.cuda)
        )
    if have < floor.family:
        return _no(
            candidate,
            "driver",
            say(
                "CUDA {cuda} needs driver {family} or newer; this one is {have}",
                cuda=candidate.cuda,
                family=floor.family,
                have=have,
            ),
        )
    if situation.unknown_card is not None:
        return _no(candidate, "driver", situation.unknown_card)
    return _portable_code(candidate, situation, floor)


def _portable_code(candidate: Candidate, situation: Situation, floor: DriverFloor) -> Rejection | None:
    built = candidate.build.code
    if built is None or not built.ptx or compatibility(candidate, situation) == "direct":
        return None
    needing = [
        card
        for card in situation.cards
        if _runs(card, candidate, direct=True) and not _runs(card, candidate, direct=False)
    ]
    if not needing:
        return None
    text = say(
        "{cards} runs it only through portable code (PTX), which needs driver {exact} or newer",
        cards=wording.cards(needing),
        exact=floor.exact,
    )
    return _no(candidate, "driver", text)


def index(candidate: Candidate, situation: Situation) -> Rejection | None:  # noqa: ARG001 - all filters look alike
    """The index: it must answer, and hold the file."""
    return _no(candidate, "index", candidate.problem) if candidate.problem else None


def companions(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The companions: torchvision and what else was asked for must exist for this very build."""
    stack = stack_of(candidate, situation)
    return _no(candidate, "companion", stack.text) if isinstance(stack, StackProblem) else None


CHEAP: tuple[Filter, ...] = (requested, interpreter, platform, glibc, sm, driver, index)
"""Every filter but the companions', in the order in which a rejection is told."""


def first_rejection(candidate: Candidate, situation: Situation) -> Rejection | None:
    """The first filter that says no, the companions left out."""
    for check in CHEAP:
        rejection = check(candidate, situation)
        if rejection is not None:
            return rejection
    return None


def compatibility(candidate: Candidate, situation: Situation) -> Literal["direct", "minor", "cpu"]:
    """How the driver serves the CUDA inside: ``direct`` from that CUDA's own driver on, ``minor`` below, or ``cpu``."""
    if not situation.cards or candidate.cuda is None:
        return "cpu"
    drivers, have = situation.tables.drivers, situation.driver
    floor = situation.floor(candidate.cuda)
    if have is None:
        # The newest driver is meant; for old cards that is an old one.
        limit, exact = situation.last_branch, floor.exact if floor else None
        return "minor" if limit is not None and exact is not None and exact.branch > limit else "direct"
    if floor is not None and floor.exact is not None:
        return "direct" if have >= floor.exact else "minor"
    # Windows toolkits name no driver since CUDA 13: what the branch serves decides.
    newest = drivers.newest_cuda(have)
    return "direct" if newest is not None and newest >= candidate.cuda else "minor"


def _runs(card: TargetGpu, candidate: Candidate, *, direct: bool) -> bool:
    return card.capability is not None and runs(candidate.build, card.capability, direct=direct)


def _no(candidate: Candidate, because: Constraint, text: str) -> Rejection:
    return Rejection(torch=candidate.build.torch, variant=candidate.variant, because=because, text=text)
