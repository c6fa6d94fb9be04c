"""The stack as packages: the torch family pinned with its local labels, the rest bounded so that nothing replaces it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envfix.model.language import later, look_up, say
from envfix.model.plan import REGISTRY, PackagePin
from envfix.resolver import ultralytics, wording
from envfix.resolver.candidates import Candidate
from envfix.resolver.situation import Situation
from envfix.resolver.specifiers import joined
from envfix.resolver.stack import Stack, numpy_1_bounds, place
from envfix.tables.wheels import Wheel

FAMILY = ("torch", "torchvision", "torchaudio")
BECAUSE_ASKED = later("you asked for it")
_ALWAYS_BOUNDED = ("numpy", "opencv-python")


def pins(candidate: Candidate, stack: Stack, situation: Situation) -> tuple[PackagePin, ...]:
    """The whole stack: torch and its family pinned with their local labels, the rest bounded, each with its reason."""
    source = candidate.source.name
    found = [
        PackagePin(
            name="torch", specifier=_exact(candidate.file_for(stack.tag)), index=source, because=_why_torch(candidate)
        )
    ]
    request = situation.request
    if stack.torchvision is not None and not request.alone:
        why = say("the torchvision that was built with torch {version}", version=candidate.version)
        found.append(PackagePin(name="torchvision", specifier=_exact(stack.torchvision), index=source, because=why))
    if stack.torchaudio is not None and request.asked("torchaudio") is not None:
        why = say("you asked for it; it goes with torch {version}", version=candidate.version)
        specifier = _exact(stack.torchaudio)
        found.append(PackagePin(name="torchaudio", specifier=specifier, index=stack.audio_source, because=why))
    found += _bounds(candidate, stack, situation)
    found += _others(request.packages, {pin.name for pin in found})
    return tuple(found)


def _exact(wheel: Wheel) -> str:
    return f"=={wheel.version}{wheel.local_label}"


def _why_torch(candidate: Candidate) -> str:
    if candidate.build.label:
        return say("the exact build, local label included, so that no other one can take its place")
    return say(
        "the build of {place}, with {runtime} inside",
        place=place(candidate.source),
        runtime=wording.runtime(candidate.variant),
    )


def _bounds(candidate: Candidate, stack: Stack, situation: Situation) -> Iterator[PackagePin]:
    asked = situation.request.asked
    for name, bound in numpy_1_bounds(candidate, situation, stack.tag).items():
        if name in _ALWAYS_BOUNDED or asked(name) is not None:
            because = say("torch {version} was built against NumPy 1", version=candidate.version)
            because += (
                say(" and cannot exchange arrays with NumPy 2")
                if name == "numpy"
                else say("; newer ones ask for NumPy 2")
            )
            yield PackagePin(
                name=_with_extras(name, asked(name)),
                specifier=_joined(asked(name), bound),
                index=REGISTRY,
                because=because,
                bound_only=asked(name) is None,
            )
    if asked("ultralytics") is not None:
        specifier, because = ultralytics.bound(candidate, situation, stack.tag)
        name, specifier = _with_extras("ultralytics", asked("ultralytics")), _joined(asked("ultralytics"), specifier)
        yield PackagePin(name=name, specifier=specifier, index=REGISTRY, because=because)


def _with_extras(name: str, asked: Requirement | None) -> str:
    return f"{name}[{','.join(sorted(asked.extras))}]" if asked is not None and asked.extras else name


def _joined(asked: Requirement | None, bound: str) -> str:
    """The user's own specifier and ours in one, without what the other says already."""
    return joined(str(asked.specifier) if asked is not None else "", bound)


def _others(packages: Iterable[Requirement], named: set[str]) -> Iterator[PackagePin]:
    for requirement in packages:
        name = _with_extras(canonicalize_name(requirement.name), requirement)
        if name not in named:
            specifier = str(requirement.specifier)
            yield PackagePin(name=name, specifier=specifier, index=REGISTRY, because=look_up(BECAUSE_ASKED))
