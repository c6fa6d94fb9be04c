"""What a rule is, how the rule files are found, and the one place that runs them all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal

import msgspec

from envfix.errors import TableError
from envfix.model.facts import NOT_ASKED, NOT_TOLD, Environment, Machine, Observed
from envfix.model.finding import Diagnosis, Evidence, Finding, Remedy, Severity, Skipped, Verdict
from envfix.model.language import look_up, retold, say
from envfix.rules._log import LogSide
from envfix.tables.loader import Tables

Check = Callable[[Machine, Environment, Tables], Iterable[Finding]]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One cause: how facts prove it (``check``, and which facts it ``needs`` to be known), how a ``log`` shows it.

    ``check`` is None where only a log can show it. The docstring of its module is the manual page.
    ``rank`` orders root causes: a lower one explains more (a broken driver before a torch that finds no GPU).
    """

    code: str
    cause: str
    title: str
    needs: tuple[str, ...]
    check: Check | None
    rank: int = 50
    explains: tuple[str, ...] = ()
    log: LogSide | None = None


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule in this package, found by its file, ordered by rank and code."""
    package = importlib.import_module(__package__)
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_"))
    rules = [importlib.import_module(f"{__package__}.{name}").RULE for name in names]
    return tuple(sorted(rules, key=lambda rule: (rule.rank, rule.code)))


def manual(rule: Rule) -> str:
    """The manual page of a rule: the docstring of its file."""
    return importlib.import_module(f"{__package__}.{rule.code.lower()}_{rule.cause}").__doc__ or ""


def cite(name: str, fact: Observed[Any], value: object | None = None) -> Evidence:
    """Evidence from an observed fact; ``value`` replaces its own text where only a part matters."""
    if value is None:
        value = (
            say("unknown: {problem}", problem=retold(fact.problem or ""))
            if fact.is_unknown
            else retold(fact.problem or "") or say("nothing found")
            if fact.is_absent
            else fact.value
        )
    return Evidence(fact=name, value=str(value), source=fact.source)


def judge(
    machine: Machine, environment: Environment, tables: Tables, rules: Sequence[Rule] | None = None
) -> tuple[Verdict, ...]:
    """What each rule says; a rule whose facts are unknown is skipped with the reason, never passed."""
    facts = {"machine": machine, "environment": environment}
    return tuple(_judge_one(rule, facts, tables) for rule in (all_rules() if rules is None else rules))


def _judge_one(rule: Rule, facts: dict[str, Any], tables: Tables) -> Verdict:
    if rule.check is None:
        return Verdict(code=rule.code, cause=rule.cause, status="passed")
    for need in rule.needs:
        record, _, field = need.partition(".")
        fact: Observed[Any] = getattr(facts[record], field)
        if fact.is_unknown:
            return Verdict(
                code=rule.code,
                cause=rule.cause,
                status="skipped",
                reason=say("{need} is unknown: {problem}", need=need, problem=retold(fact.problem or "")),
            )
    try:
        findings = tuple(map(_spoken, rule.check(facts["machine"], facts["environment"], tables)))
    except TableError:
        raise  # not the rule's fault, and nothing can be judged by such a table
    except Exception as error:  # noqa: BLE001 - a broken rule must be seen by the user and must not hide the others
        reason = say(
            "the rule itself failed ({name}: {error}); please report it", name=type(error).__name__, error=error
        )
        return Verdict(code=rule.code, cause=rule.cause, status="crashed", reason=reason)
    return Verdict(code=rule.code, cause=rule.cause, status="found" if findings else "passed", findings=findings)


def spoken(remedy: Remedy) -> Remedy:
    """A remedy that was written down at import, in the language that has been chosen since."""
    text = look_up(remedy.text)
    return remedy if text == remedy.text else msgspec.structs.replace(remedy, text=text)


def _spoken(finding: Finding) -> Finding:
    remedies = tuple(map(spoken, finding.remedies))
    return finding if remedies == finding.remedies else msgspec.structs.replace(finding, remedies=remedies)


def diagnose(verdicts: Sequence[Verdict], rules: Sequence[Rule] | None = None) -> Diagnosis:
    """Order the findings: root causes first, each symptom after the finding it follows from."""
    findings = _ordered([finding for verdict in verdicts for finding in verdict.findings], rules)
    skipped = tuple(
        Skipped(code=verdict.code, reason=verdict.reason or "")
        for verdict in verdicts
        if verdict.status in ("skipped", "crashed")
    )
    worst = {finding.severity for finding in findings}
    # A rule that could not be judged leaves a doubt, and a doubt is never "healthy"; what the user chose not to ask is none.
    by_choice = (NOT_ASKED, NOT_TOLD, look_up(NOT_ASKED), look_up(NOT_TOLD))
    doubt = any(not row.reason.endswith(by_choice) for row in skipped)
    verdict: Literal["healthy", "degraded", "broken"] = "healthy"
    if Severity.ERROR in worst:
        verdict = "broken"
    elif Severity.WARNING in worst or doubt:
        verdict = "degraded"
    return Diagnosis(verdict=verdict, findings=findings, skipped=skipped)


_WEIGHT = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def _ordered(found: Sequence[Finding], rules: Sequence[Rule] | None) -> tuple[Finding, ...]:
    """Roots before their symptoms: what is only good to know, or less grave than the symptom, is never its root."""
    known = all_rules() if rules is None else rules
    rank = {rule.code: rule.rank for rule in known}
    weight = {finding.code: _WEIGHT[finding.severity] for finding in reversed(found)}

    def root_of(finding: Finding) -> str | None:
        limit = min(_WEIGHT[finding.severity], _WEIGHT[Severity.WARNING])
        explaining = (rule.code for rule in known if finding.cause in rule.explains)
        return next((code for code in explaining if code in weight and weight[code] <= limit), None)

    roots = {finding.code: finding.follows_from or root_of(finding) for finding in found}

    def depth(code: str | None) -> int:
        passed: list[str] = []
        while code is not None and code not in passed:
            passed.append(code)
            code = roots.get(code)
        return len(passed)

    findings = [msgspec.structs.replace(finding, follows_from=roots[finding.code]) for finding in found]
    findings.sort(key=lambda one: (_WEIGHT[one.severity], depth(one.code), rank.get(one.code, 50), one.code))
    return tuple(findings)
