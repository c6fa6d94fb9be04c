"""A chosen build as an answer: the choice, the commands a user could type, the line that picks the cards."""

from __future__ import annotations

from collections.abc import Sequence

from envfix.model.plan import REGISTRY, Choice, GpuChoice, PackagePin, TargetGpu
from envfix.resolver.candidates import Candidate
from envfix.resolver.filters import compatibility
from envfix.resolver.pins import FAMILY
from envfix.resolver.request import Request
from envfix.resolver.situation import Situation
from envfix.resolver.sources import Source
from envfix.resolver.stack import Stack

_PIP = ("python", "-m", "pip", "install")


def choice_of(candidate: Candidate, stack: Stack | None, situation: Situation) -> Choice:
    """The wheels of a build and its companions, and where they come from."""
    torch = candidate.file_for(stack.tag if stack else situation.target.tag)
    vision, audio = (stack.torchvision, stack.torchaudio) if stack else (None, None)
    return Choice(
        torch=candidate.build.torch,
        variant=candidate.variant,
        local_label=candidate.build.label,
        torchvision=str(vision.version) if vision else None,
        torchaudio=str(audio.version) if audio else None,
        index=candidate.source.name,
        index_url=address(candidate.source, candidate.variant),
        compatibility=compatibility(candidate, situation),
        confidence="observed" if candidate.source.saw(torch.filename) else torch.confidence,
    )


def address(source: Source, variant: str) -> str | None:
    """The address to give to pip or uv for a variant; None for the default registry, which needs none."""
    if source.part == "registry":
        return source.location if source.location and "://" in source.location else None
    if not source.tree or source.location is None:
        return source.location
    row = source.row
    template = row.variant_url if row is not None and row.variant_url is not None else "{base}/{variant}"
    return template.format(base=source.location.rstrip("/"), variant=variant)


def commands(packages: Sequence[PackagePin], candidate: Candidate, request: Request) -> tuple[tuple[str, ...], ...]:
    """What a user could type instead of letting envfix do it.

    The torch family comes first, from its own index and without dependencies, so that nothing else can come from
    there; the second call takes the rest from the default registry with the same pins, so that nothing replaces torch.
    A package that is only bounded is named where ultralytics brings it anyway: a bare command has no constraints file.
    """
    own = [pin for pin in packages if pin.name in FAMILY and pin.index != REGISTRY]
    brought = request.asked("ultralytics") is not None
    everything = tuple(f"{pin.name}{pin.specifier}" for pin in packages if brought or not pin.bound_only)
    if candidate.source.part == "registry" or not own:
        return ((*_PIP, *everything),)
    family = tuple(f"{pin.name}{pin.specifier}" for pin in own)
    return ((*_PIP, "--no-deps", *_from(candidate), *family), (*_PIP, *everything))


def _from(candidate: Candidate) -> tuple[str, ...]:
    source = candidate.source
    url = address(source, candidate.variant) or ""
    return ("--no-index", "--find-links", url) if source.is_page else ("--index-url", url)


def pick_cards(kept: Sequence[TargetGpu], cards: Sequence[TargetGpu]) -> GpuChoice:
    """The line that makes programs see only the kept ones of all cards, in the order nvidia-smi shows them."""
    kinds = {card.capability for card in kept}
    shown = [(at, card) for at, card in enumerate(cards) if card.capability in kinds]
    # Serial ids and numbers cannot be mixed in one line.
    if all(card.uuid for _, card in shown):
        names = [str(card.uuid) for _, card in shown]
    else:
        names = [str(at if card.index is None else card.index) for at, card in shown]
    uuid = shown[0][1].uuid if len(shown) == 1 else None
    return GpuChoice(uuid=uuid, export=f"CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={','.join(names)}")
