"""What is shown to others: a diagnosis without names and secrets, its links and its memory."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from envfix import snapshots
from envfix.app import holding
from envfix.app.settings import tables_for
from envfix.app.stacking import links
from envfix.host.real import RealHost
from envfix.model.documents import Redactor, to_json
from envfix.model.explanation import Cause, Explanation
from envfix.model.facts import Machine
from envfix.model.finding import Finding
from envfix.model.fleet import Difference, Explains, FleetSeen, Group, SharedFleet, Unreached, Value
from envfix.model.gpu_use import by_number, numbered, numbers
from envfix.model.language import say
from envfix.model.outcome import Rung
from envfix.model.plan import Plan
from envfix.model.report import Report
from envfix.model.stack import Link, SharedAnswer, SharedReport
from envfix.model.words import readable

# Whose homes facts speak of, in other alphabets as well, and on Windows with blanks; and who sat at a prompt, on which host:
# `--from` and `explain` read what nobody has redacted.
HOMES = re.compile(r"(?:/home/|/Users/|\\+Users\\+)([^\W_][\w.-]*)(?:((?: [\w.-]+){1,5})(?=\\))?")
PROMPTS = re.compile(r"(?<![\w.@/-])(?!git@)([^\W\d][\w.-]{0,60})@([\w.-]{1,60}):(?=[~/])")
# Names of the catalogue stay as they are: people look them up.
KEPT: dict[type, frozenset[str]] = {
    Finding: frozenset(("code", "cause", "follows_from")),
    Cause: frozenset(("code", "cause", "follows_from")),
    Rung: frozenset(("name", "cause")),
    # Names of nodes are the answer.
    Group: frozenset(("name", "nodes", "shown")),
    Value: frozenset(("nodes",)),
    Explains: frozenset(("code", "cause", "nodes")),
    Difference: frozenset(("link",)),
    Unreached: frozenset(("nodes",)),
    Link: frozenset(("code",)),
}
T = TypeVar("T")


def shareable(report: Report) -> SharedReport:
    """The diagnosis as it may be shown to anybody."""
    host = RealHost()
    clean = by_index(redacted(report, _redactor(host, report, report.machine)))
    here = clean.origin is None
    return SharedReport(
        report=clean,
        links=links(clean.machine, clean.environment, clean.diagnosis, tables_for(host)),
        use=holding.judge(clean.machine, clean.origin),
        made=_today(),
        where=say("the machine it ran on")
        if here
        else say("the machine saved in {origin}", origin=(clean.origin or "").rpartition("/")[2]),
    )


def shareable_answer(answer: T) -> SharedAnswer[T]:
    """A plan, an explanation or a verification as it may be shown to anybody."""
    clean: Any = redacted(answer, _redactor(RealHost(), answer))
    if isinstance(clean, Explanation):
        clean = msgspec.structs.replace(clean, causes=by_number(clean.causes, clean.cards))
    if isinstance(clean, Plan) and clean.gpu is not None:
        export = numbered(clean.gpu.export, numbers(clean.target.gpus))
        clean = msgspec.structs.replace(clean, gpu=msgspec.structs.replace(clean.gpu, export=export))
    return SharedAnswer(answer=clean, made=_today())


def shareable_fleet(seen: FleetSeen) -> SharedFleet:
    """All nodes as they may be shown to anybody; their own names are kept, what stands in sentences is not."""
    behind = [seen.behind[group.shown] for group in seen.report.groups]
    groups = [
        msgspec.structs.replace(group, findings=by_number(group.findings, there.cards))
        for group, there in zip(seen.report.groups, behind, strict=True)
    ]
    report = msgspec.structs.replace(seen.report, groups=tuple(groups))
    shared = SharedFleet(report=report, stacks=tuple(there.stack for there in behind), made=_today())
    for home in dict.fromkeys(there.home for there in behind):
        shared = redacted(shared, Redactor(home=home))
    people = dict.fromkeys(name for there in behind for name in there.people)
    others = [*people, *_people_in(shared)]
    clean: SharedFleet = redacted(shared, snapshots.redactor_here(RealHost().system_facts()["home"], None, others))
    return clean


def _redactor(host: RealHost, record: object, machine: Machine | None = None) -> Redactor:
    """For the people of this machine, and for those whose homes the record speaks of."""
    return snapshots.redactor_here(host.system_facts()["home"], machine, _people_in(record))


def _people_in(record: object) -> list[str]:
    """Names that stand in homes and prompts, the longest first: one may begin another."""
    text = to_json(record)
    names = {whole for first, more in HOMES.findall(text) for whole in (first, first + more)}
    names.update(name for pair in PROMPTS.findall(text) for name in pair)
    return sorted(names, key=lambda name: (-len(name), name))


def _today() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d}"


def by_index(report: Report) -> Report:
    """Commands name cards by their number."""
    findings = by_number(report.diagnosis.findings, numbers(report.machine.gpus.value or ()))
    return msgspec.structs.replace(report, diagnosis=msgspec.structs.replace(report.diagnosis, findings=findings))


@cache
def _words(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Fields that hold one of envfix's own words, such as a verdict: somebody may be called like it."""
    fields = msgspec.structs.fields(kind)
    return frozenset(
        field.name for field in fields if any(get_origin(one) is Literal for one in (field.type, *get_args(field.type)))
    )


def redacted(value: Any, redactor: Redactor) -> Any:
    """The same record with every text redacted and readable; values keep their types, names of the catalogue stay."""
    if isinstance(value, msgspec.Struct):
        kept = KEPT.get(type(value), frozenset()) | _words(type(value))
        fields = {name: getattr(value, name) for name in value.__struct_fields__ if name not in kept}
        return msgspec.structs.replace(value, **{name: redacted(item, redactor) for name, item in fields.items()})
    if type(value) is str:  # members of an Enum are names of envfix's own
        return readable(redactor.text(value))
    if isinstance(value, (tuple, list)):
        return type(value)(redacted(item, redactor) for item in value)
    if isinstance(value, dict):
        # Of variables, what is named like a secret is hidden whole.
        texts = {key: item for key, item in value.items() if type(item) is str}
        others = {redactor.text(key): redacted(item, redactor) for key, item in value.items() if key not in texts}
        return {**redactor.value(texts), **others}
    return value
