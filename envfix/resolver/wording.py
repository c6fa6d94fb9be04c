"""How the resolver names things to people: Pythons, CUDA builds, cards, lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from envfix.model.language import later, say
from envfix.model.plan import TargetGpu
from envfix.model.versions import CudaVersion

_TAG = re.compile(r"(?P<kind>cp|pp|py)(?P<major>\d)(?P<minor>\d*)(?P<threads>t?)")


@lru_cache(maxsize=128)
def python_of(tag: str) -> tuple[int, int] | None:
    """The Python release of an interpreter tag: ``cp313t`` is (3, 13); None for a tag of another form."""
    match = _TAG.fullmatch(tag)
    return (int(match["major"]), int(match["minor"] or 0)) if match else None


@lru_cache(maxsize=128)
def python_name(tag: str) -> str:
    """An interpreter in words: ``cp311`` is Python 3.11, ``cp313t`` the free-threaded Python 3.13."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return tag
    name = f"{match['major']}.{match['minor']}" if match["minor"] else match["major"]
    kind = "PyPy" if match["kind"] == "pp" else "Python"
    return say("free-threaded {kind} {name}", kind=kind, name=name) if match["threads"] else f"{kind} {name}"


def release_of(tag: str) -> str:
    """The release of an interpreter tag as ``--python`` takes it: ``cp313t`` is 3.13t."""
    match = _TAG.fullmatch(tag)
    return f"{match['major']}.{match['minor'] or 0}{match['threads']}" if match else tag


def pythons(tags: Iterable[str]) -> str:
    """Interpreter tags in words, runs folded: ``Python 3.8 to 3.11``."""
    known = sorted({number for tag in tags if not tag.endswith("t") and (number := python_of(tag)) is not None})
    if not known:
        return listed(sorted({python_name(tag) for tag in tags})) or say("no Python")
    return f"Python {listed([_span(run) for run in _runs(known)])}"


def _runs(numbers: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    runs: list[list[tuple[int, int]]] = []
    for number in numbers:
        if runs and runs[-1][-1] == (number[0], number[1] - 1):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _span(run: Sequence[tuple[int, int]]) -> str:
    first, last = (".".join(map(str, end)) for end in (run[0], run[-1]))
    if len(run) == 1:
        return first
    return (
        say("{first} and {last}", first=first, last=last)
        if len(run) == 2
        else say("{first} to {last}", first=first, last=last)
    )


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a list in a sentence: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    sentence = later("{most} or {last}") if last == "or" else later("{most} and {last}")
    return say(sentence, most=", ".join(words[:-1]), last=words[-1])


@lru_cache(maxsize=128)
def runtime(variant: str) -> str:
    """What runs inside a build: ``CUDA 11.8`` for cu118, ``no CUDA`` for cpu."""
    return f"CUDA {CudaVersion.parse(variant)}" if variant.startswith("cu") else say("no CUDA")


def build_name(torch: str, variant: str, label: str) -> str:
    """A torch build by name: ``torch 2.7.1+cu118``, or ``torch 2.0.1 (CUDA 11.7 inside)`` where the name hides it."""
    if label or variant == "cpu":
        return f"torch {torch}{label}"
    return say("torch {torch} ({runtime} inside)", torch=torch, runtime=runtime(variant))


def card_name(card: TargetGpu) -> str:
    """A card with what it can execute: ``NVIDIA GeForce RTX 3090 (compute capability 8.6)``."""
    return (
        say("{card} (compute capability {capability})", card=card.name, capability=card.capability)
        if card.capability
        else card.name
    )


def cards(gpus: Iterable[TargetGpu]) -> str:
    """Cards in a sentence, equal ones counted: ``2 x RTX 3090 (compute capability 8.6)``."""
    return _cards(tuple(gpus))


@lru_cache(maxsize=128)
def _cards(gpus: tuple[TargetGpu, ...]) -> str:
    counts: dict[str, int] = {}
    for card in gpus:
        counts[card_name(card)] = counts.get(card_name(card), 0) + 1
    return listed([name if count == 1 else f"{count} x {name}" for name, count in counts.items()])
