"""How a rule reads logs: what it looks for, what it says then, and the one place where all rules judge a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from string import Formatter
from typing import TYPE_CHECKING

import msgspec

from envfix.logs.speech import is_speech
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Remedy, Severity
from envfix.model.language import look_up
from envfix.model.log import Hit, Log, Signature
from envfix.rules._symptoms import SYMPTOMS, UNTOLD, symptoms_of
from envfix.tables.loader import Tables

if TYPE_CHECKING:
    from envfix.rules._rule import Rule

# From here on a log alone is believed whatever the facts of the machine are: they may have changed since.
PLAIN = 0.85


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule found in a log: its places (the surest first) and the facts that are known beside it.

    ``groups`` are the named parts of all its patterns, the surest place first. ``machine`` and ``environment`` are those of
    the machine that is looked at, or what the log itself states; all of them may be unknown. ``proved``: the rule finds its
    cause among them.
    """

    hits: tuple[Hit, ...]
    groups: Mapping[str, str]
    log: Log
    machine: Machine
    environment: Environment
    tables: Tables
    proved: bool = False


Words = str | tuple[str, ...] | Callable[[Reading], str]


class LogSide(msgspec.Struct, frozen=True, kw_only=True):
    """How a cause shows in logs, and what is said then.

    ``message`` is one sentence; ``{name}`` in it is filled in from a pattern's named group, and of several sentences the first
    is taken whose names are all known. ``remedies`` are those that hold whatever the machine is; facts bring better ones.
    ``tell_apart`` is the one command that shows whether it is this cause, where the log leaves it open.
    ``explains`` are causes whose texts are only consequences of this one where both are found in one log.
    Facts that prove the cause make it sure, and those among which it is not found speak against it; where that is not so, or
    other facts speak for it, ``with_facts`` tells how sure it is with them (None: as by the log alone).
    """

    signatures: tuple[Signature, ...]
    message: Words
    remedies: tuple[Remedy, ...] | Callable[[Reading], tuple[Remedy, ...]] = ()
    severity: Severity | Callable[[Reading], Severity] = Severity.ERROR
    tell_apart: Remedy | None = None
    explains: tuple[str, ...] = ()
    with_facts: Callable[[Reading, float], float | None] | None = None

    def says(self, reading: Reading) -> str:
        """The message with what the log says filled in."""
        if callable(self.message):
            return self.message(reading)
        sentences = (self.message,) if isinstance(self.message, str) else self.message
        known = (one for one in sentences if _names(one) <= reading.groups.keys())
        return look_up(next(known, sentences[-1])).format_map(reading.groups)

    def mends(self, reading: Reading) -> tuple[Remedy, ...]:
        """The remedies for what was read."""
        return self.remedies(reading) if callable(self.remedies) else self.remedies

    def gravity(self, reading: Reading) -> Severity:
        """How bad it is."""
        return self.severity(reading) if callable(self.severity) else self.severity


def _names(sentence: str) -> set[str]:
    """What is to be filled into a sentence."""
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


class Suspicion(msgspec.Struct, frozen=True, kw_only=True):
    """A rule whose texts a log holds, and how sure the log alone makes it (0 to 1)."""

    rule: Rule
    confidence: float
    hits: tuple[Hit, ...]

    def groups(self, log: Log) -> dict[str, str]:
        """The named parts of all its patterns, the surest place first; then those of the patterns beside them."""
        side = self.rule.log
        others = [] if side is None else [each for one in side.signatures for each in (*one.beside, *one.looks_at)]
        named: dict[str, str] = {}
        for hit in (*self.hits, *(hit for pattern in dict.fromkeys(others) for hit in log.found(pattern))):
            named = {**{name: value for name, value in hit.groups.items() if value}, **named}
        return named


def patterns(rules: Iterable[Rule]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every pattern that any rule looks for, once: those of errors, and those that matter beside them only."""
    signatures = [one for rule in rules if rule.log is not None for one in rule.log.signatures]
    errors = dict.fromkeys([*(one.pattern for one in signatures), *SYMPTOMS])
    beside = dict.fromkeys(each for one in signatures for each in (*one.beside, *one.unless, *one.looks_at))
    return tuple(errors), tuple(pattern for pattern in beside if pattern not in errors)


def suspicions(log: Log, rules: Iterable[Rule]) -> tuple[Suspicion, ...]:
    """The rules whose texts a log holds, the surest first; sentences about an error are left out."""
    said = {pattern: tuple(hit for hit in hits if not is_speech(hit)) for pattern, hits in log.hits.items()}
    found = []
    for rule in rules:
        weighed = sorted(_weighed(rule, log, said), key=lambda pair: (-pair[0], pair[1].offset))
        if weighed:
            surest, *others = _best_of_each(weighed)
            doubt = 1 - surest
            for other in others:
                doubt *= 1 - other * SUPPORT
            found.append(
                Suspicion(
                    rule=rule, confidence=min(1 - doubt, max(surest, CERTAIN)), hits=tuple(hit for _, hit in weighed)
                )
            )
    return tuple(sorted(found, key=lambda one: (-one.confidence, one.hits[0].offset)))


# How much a second text for the same cause adds, and how sure a log can make anybody.
SUPPORT, CERTAIN = 0.3, 0.98


def _best_of_each(weighed: Sequence[tuple[float, Hit]]) -> list[float]:
    best: dict[str, float] = {}
    for confidence, hit in weighed:
        best.setdefault(hit.pattern, confidence)
    return list(best.values())


def _weighed(rule: Rule, log: Log, said: Mapping[str, tuple[Hit, ...]]) -> Iterator[tuple[float, Hit]]:
    for signature in rule.log.signatures if rule.log is not None else ():
        hits = log.found(signature.pattern) if signature.quoted else said.get(signature.pattern, ())
        if not hits or not all(map(log.found, signature.beside)) or any(map(log.found, signature.unless)):
            continue
        for hit in hits:
            confidence = signature.confidence if signature.weigh is None else signature.weigh(hit, log)
            if confidence:
                yield confidence, hit
    if rule.log is not None:
        for pattern in symptoms_of(rule.code):
            yield from ((UNTOLD, hit) for hit in said.get(pattern, ()))
