"""Several machines as one: what a stack must fit to run on all of them, and the fewest stacks for those that cannot share one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from packaging.version import Version

from envfix.model.plan import PlanTarget, TargetGpu

# The search for the fewest stacks asks for so many groups whether one fits, and takes so many steps; then it is given up.
MOST_ASKED, MOST_STEPS = 1000, 100_000


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


class Shares(NamedTuple):
    """Machines (by position) that share a stack each, large groups first; ``fewest``: it is sure that fewer do not do."""

    groups: tuple[tuple[int, ...], ...]
    fewest: bool


def shares(targets: Sequence[PlanTarget], fits: Callable[[PlanTarget], bool]) -> Shares:
    """The fewest groups of machines such that one stack fits each.

    ``fits`` says whether a stack runs on every card of a machine. What fits a machine fits one that asks for less: that one
    goes with it and is not looked at again. Wheels for other interpreters or systems are never shared.
    """
    guests = _guests(targets, fits)
    alike: dict[object, list[int]] = {}
    for host in guests:
        one = targets[host]
        alike.setdefault((one.tag, one.platform, one.libc, one.wsl, one.jetson), []).append(host)
    search, groups = _Search(targets, fits), list[tuple[int, ...]]()
    for hosts in alike.values():
        groups += search.fewest(hosts)
    whole = (tuple(sorted((*group, *(guest for host in group for guest in guests[host])))) for group in groups)
    return Shares(tuple(sorted(whole, key=lambda group: (-len(group), group))), not search.given_up)


def _guests(targets: Sequence[PlanTarget], fits: Callable[[PlanTarget], bool]) -> dict[int, list[int]]:
    """Machines that ask for something of their own, and with each those that ask for nothing beside what it asks for."""
    found: dict[int, list[int]] = {}
    for index in range(len(targets)):
        host = next((one for one in found if _covers(targets[one], targets[index], fits)), None)
        if host is not None:
            found[host].append(index)
            continue
        covered = [one for one in found if _covers(targets[index], targets[one], fits)]
        found[index] = [guest for one in covered for guest in (one, *found.pop(one))]
    return found


def _covers(host: PlanTarget, guest: PlanTarget, fits: Callable[[PlanTarget], bool]) -> bool:
    both = joined([host, guest])
    return both is not None and _needs(both) == _needs(host) and fits(same(host))


def _needs(target: PlanTarget) -> tuple[object, ...]:
    """What a stack must fit; of a card, the code that it runs."""
    cards = frozenset(str(card.capability or card.name) for card in target.gpus)
    return target.glibc, target.driver, target.driver_state, cards


class _GivenUpError(Exception):
    """The search has become too long."""


class _Search:
    """Looks for the fewest groups, and remembers which ones fit."""

    def __init__(self, targets: Sequence[PlanTarget], fits: Callable[[PlanTarget], bool]) -> None:
        self._targets, self._fits = targets, fits
        self._known: dict[tuple[int, ...], bool] = {}
        self._steps = 0
        self.given_up = False

    def fewest(self, hosts: Sequence[int]) -> list[tuple[int, ...]]:
        """Those of these machines; where that takes too long, what a quick look gives."""
        try:
            if not self.given_up:
                return next(filter(None, (self._parted(hosts, most) for most in range(1, len(hosts) + 1))))
        except _GivenUpError:
            self.given_up = True
        return self._quickly(hosts)

    def _parted(self, left: Sequence[int], most: int) -> list[tuple[int, ...]] | None:
        """These machines in so many groups at most; None where there is no way to do it."""
        if not left or not most:
            return None if left else []
        for group in sorted(self._largest(left[:1], left[1:], left), key=len, reverse=True):
            rest = self._parted([index for index in left if index not in group], most - 1)
            if rest is not None:
                return [tuple(group), *rest]
        return None

    def _largest(self, group: Sequence[int], more: Sequence[int], left: Sequence[int]) -> Iterator[Sequence[int]]:
        """Every group that holds this one and no further machine fits into."""
        more = [index for index in more if self._together([*group, index])]
        if more and self._together([*group, *more]):
            group, more = [*group, *more], []
        if more:
            yield from self._largest([*group, more[0]], more[1:], left)
            yield from self._largest(group, more[1:], left)
        elif not any(self._together([*group, index]) for index in left if index not in group):
            yield group

    def _quickly(self, hosts: Sequence[int]) -> list[tuple[int, ...]]:
        """Oldest drivers first: what fits them is most likely to fit others."""
        groups: list[list[int]] = []
        for index in sorted(hosts, key=lambda one: str(self._targets[one].driver or "9999").zfill(16)):
            group = next((row for row in groups if self._together([*row, index])), None)
            if group is None:
                groups.append([index])
            else:
                group.append(index)
        return [tuple(group) for group in groups]

    def _together(self, group: Sequence[int]) -> bool:
        """Whether one stack fits all of these."""
        key = tuple(sorted(group))
        self._steps += 1
        if key not in self._known:
            machine = joined([self._targets[index] for index in key])
            self._known[key] = machine is not None and self._fits(machine)
        if not self.given_up and (len(self._known) > MOST_ASKED or self._steps > MOST_STEPS):
            raise _GivenUpError
        return self._known[key]
