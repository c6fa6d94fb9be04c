"""Several machines as one: what a stack must fit to run on all of them, and the fewest stacks for those that cannot share one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import msgspec
from packaging.version import Version

from envfix.model.plan import PlanTarget, TargetGpu

# Up to so many different machines every way to part them is tried; above, the oldest drivers choose first.
MOST_EXACT = 8


def joined(targets: Sequence[PlanTarget]) -> PlanTarget | None:
    """One machine that asks for all that any of these does; None where no wheel could be for all of them.

    The oldest driver, the oldest C library, every kind of card. A machine without a card and without a driver runs whatever
    its Python takes.
    """
    first = targets[0]
    kinds = {
        (one.tag, one.platform, one.libc, one.wsl, one.jetson, one.driver_state == "absent" or one.driver_state)
        for one in targets
    }
    working = {kind for kind in kinds if kind[-1] is not True}
    if len({kind[:-1] for kind in kinds}) > 1 or len(working) > 1:
        return None
    with_cards = [one for one in targets if one.driver_state != "absent"]
    base = with_cards[0] if with_cards else first
    return msgspec.structs.replace(
        base,
        python=min((one.python for one in targets), key=lambda text: (len(text), text)),
        glibc=_oldest([one.glibc for one in targets]),
        driver=min((one.driver for one in with_cards if one.driver is not None), default=None),
        gpus=_every_kind(with_cards),
    )


def _oldest(versions: Sequence[str | None]) -> str | None:
    """Not known on one is not known at all."""
    known = [text for text in versions if text is not None]
    return min(known, key=Version) if len(known) == len(versions) else None


def _every_kind(targets: Sequence[PlanTarget]) -> tuple[TargetGpu, ...]:
    kinds = {(card.name, card.capability): card for target in targets for card in target.gpus}
    return tuple(msgspec.structs.replace(card, index=index, uuid=None) for index, card in enumerate(kinds.values()))


def same(target: PlanTarget) -> PlanTarget:
    """Without what does not matter for a stack: which of equal cards it is, and how many there are."""
    return msgspec.structs.replace(target, gpus=_every_kind([target]))


def fewest(targets: Sequence[PlanTarget], fits: Callable[[PlanTarget], bool]) -> list[tuple[int, ...]]:
    """The fewest groups of machines (by position) such that one stack fits each; large groups first.

    ``fits`` says whether any stack runs on a machine; every single one must fit.
    """
    known: dict[tuple[int, ...], bool] = {}

    def together(group: tuple[int, ...]) -> bool:
        if len(group) == 1:
            return True
        if group not in known:
            machine = joined([targets[index] for index in group])
            known[group] = machine is not None and fits(machine)
        return known[group]

    everything = tuple(range(len(targets)))
    groups = _parted(everything, together) if len(everything) <= MOST_EXACT else _first_fit(targets, together)
    return sorted(groups, key=lambda group: (-len(group), group))


def _parted(left: tuple[int, ...], together: Callable[[tuple[int, ...]], bool]) -> list[tuple[int, ...]]:
    """By trying: of equally few groups those whose first is largest."""
    best: list[tuple[int, ...]] | None = None
    for group in _with_first(left):
        if not together(group):
            continue
        rest = tuple(index for index in left if index not in group)
        whole = [group, *(_parted(rest, together) if rest else [])]
        if best is None or len(whole) < len(best):
            best = whole
        if len(best) == 1:
            break
    return best or []


def _with_first(left: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Every group that holds the first, the largest first."""
    for size in range(len(left), 0, -1):
        yield from ((left[0], *more) for more in combinations(left[1:], size - 1))


def _first_fit(targets: Sequence[PlanTarget], together: Callable[[tuple[int, ...]], bool]) -> list[tuple[int, ...]]:
    """Oldest drivers first: what fits them is most likely to fit others."""
    order = sorted(range(len(targets)), key=lambda index: str(targets[index].driver or "9999").zfill(16))
    groups: list[tuple[int, ...]] = []
    for index in order:
        for number, group in enumerate(groups):
            wider = tuple(sorted((*group, index)))
            if together(wider):
                groups[number] = wider
                break
        else:
            groups.append((index,))
    return groups
