"""From the texts of a log and the facts of a machine to the causes, the first of which explains the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from envfix.model.documents import without_secrets
from envfix.model.explanation import Cause
from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity, Verdict
from envfix.model.language import look_up, say
from envfix.model.log import Log
from envfix.rules._log import PLAIN, LogSide, Reading, Suspicion, suspicions
from envfix.rules._rule import Rule, judge, spoken
from envfix.tables.loader import Tables

# What facts do to the confidence that a log alone gives: a rule that finds its cause on the machine, one that does not.
CONFIRMED, DENIED = 0.3, 0.5
# A finding that is only good to know speaks for a cause, and does not prove it.
SUGGESTED = 0.7
# Facts that find a cause whose text is in the log are at least so sure; those without a text are worth a line.
AT_LEAST = 0.8
# Weaker ones are not told; what is at least half as sure as the first is a candidate beside it.
WORTH_TELLING, NEAR, LIKELY, SURE = 0.1, 0.5, 0.6, 0.8
# A root is about as sure as what it explains.
AS_SURE = 0.9
TOLD = 6
LINES_SHOWN = 3


def causes(
    log: Log,
    rules: Sequence[Rule],
    machine: Machine,
    environment: Environment,
    tables: Tables,
    *,
    stated: bool = False,
) -> tuple[Cause, ...]:
    """What a log shows, joined with facts, the surest root first.

    ``stated``: the facts are what the log itself states (a report in it), so that what they prove is an answer too.
    """
    suspected = suspicions(log, rules)
    verdicts = {verdict.code: verdict for verdict in judge(machine, environment, tables, rules)}
    found = []
    for one in suspected:
        verdict = verdicts[one.rule.code]
        reading = Reading(
            hits=one.hits,
            groups=one.groups(log),
            log=log,
            machine=machine,
            environment=environment,
            tables=tables,
            proved=any(finding.severity is not Severity.INFO for finding in verdict.findings),
        )
        cause = _cause(one, reading, verdict)
        if cause.confidence >= WORTH_TELLING:
            found.append(cause)
    found = _without_lesser_readings(found, {one.rule.code: one for one in suspected})
    if stated:
        named = {one.cause for one in found}
        for verdict in verdicts.values():
            found += [_from_facts(finding, rules) for finding in verdict.findings if finding.cause not in named]
    return _ordered(found, rules, {one.rule.cause: one for one in suspected})[:TOLD]


def _without_lesser_readings(found: Sequence[Cause], suspected: Mapping[str, Suspicion]) -> list[Cause]:
    """Without what reads the very lines that a much surer cause explains."""
    kept: list[Cause] = []
    for one in sorted(found, key=lambda cause: -cause.confidence):
        places = {hit.offset for hit in suspected[one.code].hits}
        surer = (
            other
            for other in kept
            if one.confidence < other.confidence * NEAR and places <= {hit.offset for hit in suspected[other.code].hits}
        )
        if next(surer, None) is None:
            kept.append(one)
    return kept


def _cause(one: Suspicion, reading: Reading, verdict: Verdict) -> Cause:
    side = one.rule.log
    assert side is not None  # noqa: S101 - only rules with one are suspected
    finding = next((each for each in verdict.findings if each.severity is not Severity.INFO), None)
    return Cause(
        cause=one.rule.cause,
        code=one.rule.code,
        title=look_up(one.rule.title),
        severity=side.gravity(reading),
        confidence=round(_confidence(one, reading, verdict), 2),
        message=side.says(reading),
        because=(*_lines(one), *((_told(finding), *finding.because) if finding is not None else ())),
        remedies=_remedies(side, reading, finding),
        tell_apart=None if side.tell_apart is None else spoken(side.tell_apart),
    )


def _confidence(one: Suspicion, reading: Reading, verdict: Verdict) -> float:
    """How sure it is with the facts: proved, weighed by the rule, not found where it was looked for, or as the log alone says."""
    by_log, side = one.confidence, one.rule.log
    hook = side.with_facts if side is not None and by_log >= WORTH_TELLING else None
    weighed = hook(reading, by_log) if hook is not None else None
    if weighed is not None:
        return weighed
    if reading.proved:
        return max(1 - (1 - by_log) * CONFIRMED, AT_LEAST)
    if verdict.findings:
        return 1 - (1 - by_log) * SUGGESTED
    refuted = verdict.status == "passed" and one.rule.check is not None
    return by_log * DENIED if refuted and by_log < PLAIN else by_log


def _remedies(side: LogSide, reading: Reading, finding: Finding | None) -> tuple[Remedy, ...]:
    """Those for this machine where facts prove the cause, those that always hold otherwise."""
    by_facts = finding.remedies if finding is not None else ()
    return by_facts or tuple(map(spoken, side.mends(reading)))


def _told(finding: Finding) -> Evidence:
    return Evidence(fact=f"finding.{finding.code}", value=finding.message, source=say("facts of the machine"))


def _lines(one: Suspicion) -> Iterator[Evidence]:
    """The lines that prove it, each once."""
    shown: list[str] = []
    places: list[str] = []
    for hit in one.hits:
        line = str(without_secrets(hit.shown))
        known = {*shown, *places}
        if line not in known and hit.place not in known and len(shown) < LINES_SHOWN:
            shown.append(line)
            places.append(hit.place)
            yield Evidence(fact="log", value=line, source=hit.place)


def _from_facts(finding: Finding, rules: Sequence[Rule]) -> Cause:
    rule = next(rule for rule in rules if rule.code == finding.code)
    sure = {Severity.ERROR: 0.85, Severity.WARNING: 0.5, Severity.INFO: 0.2}
    return Cause(
        cause=finding.cause,
        code=finding.code,
        title=look_up(rule.title),
        severity=finding.severity,
        confidence=sure[finding.severity],
        message=finding.message,
        because=finding.because,
        remedies=finding.remedies,
        follows_from=finding.follows_from,
    )


def _ordered(found: Sequence[Cause], rules: Sequence[Rule], suspected: Mapping[str, Suspicion]) -> tuple[Cause, ...]:
    """The surest first, each consequence behind the cause that explains it."""
    confidence = {one.cause: one.confidence for one in found}
    roots = {one.cause: _root(one, confidence, rules, suspected) for one in found}
    codes = {one.cause: one.code for one in found}

    def chain(cause: str) -> list[str]:
        """The cause and what it follows from, the root first."""
        passed: list[str] = []
        step: str | None = cause
        while step is not None and step not in passed:
            passed.append(step)
            step = roots.get(step)
        return passed[::-1]

    def key(one: Cause) -> tuple[float, list[float], int]:
        way = chain(one.cause)
        # A root is as sure as the surest of what it explains.
        sure = max((c for name, c in confidence.items() if chain(name)[0] == way[0]), default=one.confidence)
        return (-sure, [-confidence[name] for name in way[:1]], len(way))

    ordered = sorted(found, key=lambda one: (key(one), -one.confidence))
    return tuple(msgspec.structs.replace(one, follows_from=codes.get(roots[one.cause] or "")) for one in ordered)


def _root(
    one: Cause, confidence: Mapping[str, float], rules: Sequence[Rule], suspected: Mapping[str, Suspicion]
) -> str | None:
    """The surest of the other causes that explain this one, if it is about as sure and shows by more than the same lines."""
    explaining = [
        rule.cause
        for rule in rules
        if rule.cause in confidence
        and rule.cause != one.cause
        and one.cause in (*(rule.log.explains if rule.log is not None else ()), *rule.explains)
        and confidence[rule.cause] >= max(NEAR, AS_SURE * one.confidence)
        and not _is_another_reading(rule.cause, one.cause, confidence, suspected)
    ]
    return max(explaining, key=lambda name: confidence[name], default=None)


def _is_another_reading(
    cause: str, other: str, confidence: Mapping[str, float], suspected: Mapping[str, Suspicion]
) -> bool:
    """Whether two causes are only two readings of the same lines, of which neither is proved."""
    if cause not in suspected or other not in suspected or confidence[cause] >= SURE:
        return False
    return {hit.offset for hit in suspected[cause].hits} <= {hit.offset for hit in suspected[other].hits}


def is_ambiguous(found: Sequence[Cause]) -> bool:
    """Whether the log leaves open which of several causes it is, or whether it is this one at all."""
    roots = [one for one in found if one.follows_from is None]
    if not roots or roots[0].confidence >= SURE:
        return False
    return roots[0].confidence < LIKELY or (len(roots) > 1 and roots[1].confidence >= roots[0].confidence * NEAR)
