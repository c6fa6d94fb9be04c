"""What every report that is shared says in the same words and the same order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from envfix._version import __version__
from envfix.model.finding import Finding, Severity
from envfix.model.language import later, say
from envfix.model.report import Afterwards, Report
from envfix.model.stack import SharedReport, State

VERDICTS: dict[str, State] = {"healthy": "ok", "degraded": "doubtful", "broken": "broken"}
SEVERITIES: dict[Severity, State] = {
    Severity.ERROR: "broken",
    Severity.WARNING: "doubtful",
    Severity.INFO: "unknown",
}
STAND_INS = later(
    "Names of people and hosts, home folders, serial ids of cards and secrets were taken out:"
    " ~ stands for the home folder, user for a name, and a card is named by its number, or by"
    " an id of noughts."
)
# What may stand between two marks, in Markdown as well.
_CODE = re.compile(r"[^\s`|<>\\](?:[^`|<>\\]*[^\s`|<>\\])?")


class Chain(NamedTuple):
    """A root cause and what follows from it, the nearest first."""

    root: Finding
    symptoms: tuple[Finding, ...]


def chains(findings: Sequence[Finding]) -> tuple[Chain, ...]:
    """Findings by their root, in the order of the diagnosis; one whose root is not among them is a root itself."""
    by_code = {finding.code: finding for finding in reversed(findings)}
    symptoms: dict[int, list[Finding]] = {id(finding): [] for finding in findings}
    roots = []
    for finding in findings:
        root = _root(finding, by_code)
        if root is finding:
            roots.append(finding)
        else:
            symptoms[id(root)].append(finding)
    return tuple(Chain(root, tuple(symptoms[id(root)])) for root in roots)


def _root(finding: Finding, by_code: dict[str, Finding]) -> Finding:
    """What a finding follows from in the end; findings that follow from each other are each their own."""
    root, seen = finding, {finding.code}
    while root.follows_from in by_code:
        root = by_code[root.follows_from]
        if root.code in seen:
            return finding
        seen.add(root.code)
    return root


def spoken(text: str) -> Iterator[tuple[str, bool]]:
    """A sentence in pieces, and whether each is `code like this`; all of it is letters where the marks leave any doubt."""
    pieces = text.split("`")
    inside, between = pieces[1::2], pieces[2:-1:2]
    clear = len(pieces) % 2 and all(between) and all(_CODE.fullmatch(piece) for piece in inside)
    for number, piece in enumerate(pieces if clear else [text]):
        yield piece, number % 2 == 1


def made_by(shared: SharedReport) -> str:
    """Which program looked at what, and when."""
    return f"envfix {__version__}, {shared.made}: {shared.where}"


def machine_line(report: Report) -> str:
    """The machine in one line: system, driver, cards, Python."""
    machine, interpreter = report.machine, report.environment.interpreter.value
    place, driver, cards = machine.platform.value, machine.driver.value, machine.gpus.value or ()
    parts = [
        f"{place.distribution or place.system} {place.machine}" if place else None,
        say("NVIDIA driver {version}", version=driver.version) if driver else None,
        say("{count} card{s}", count=len(cards), s="s" if len(cards) != 1 else "") if cards else None,
        f"Python {interpreter.version}" if interpreter else None,
    ]
    return " · ".join(part for part in parts if part)


def afterwards_title(afterwards: Afterwards) -> str:
    """Whether anything can be installed as things are."""
    return say("After an installation") if afterwards.plan.choice else say("No stack runs here as things are")


def afterwards_lines(afterwards: Afterwards) -> Iterator[str]:
    """What installing would bring, or what keeps it away; then what would still be wrong."""
    choice = afterwards.plan.choice
    if choice is not None:
        inside = (
            say("a CPU build") if choice.variant == "cpu" else say("CUDA inside: {variant}", variant=choice.variant)
        )
        beside = f", torchvision {choice.torchvision}" if choice.torchvision else ""
        yield say(
            "By the tables `envfix install` would bring torch {torch}{local_label} ({inside}){beside}.",
            torch=choice.torch,
            local_label=choice.local_label,
            inside=inside,
            beside=beside,
        )
    else:
        yield from (*afterwards.plan.reasons[:1], *afterwards.plan.ways_out)
    for finding in afterwards.findings:
        yield say("Then there would still be to mend: {finding} ({code})", finding=finding.message, code=finding.code)
