"""A diagnosis as Markdown to paste into an issue: short, details folded, nothing of a fact is read as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from envfix.model.finding import Finding, Severity
from envfix.model.gpu_use import GpuUse
from envfix.model.language import look_up, retold, say
from envfix.model.stack import Link, SharedReport, State
from envfix.model.words import readable
from envfix.render import facts_table, gpu_table
from envfix.render.console import VERDICTS as VERDICT_WORDS
from envfix.render.report_parts import (
    SEVERITIES,
    STAND_INS,
    VERDICTS,
    Chain,
    afterwards_lines,
    afterwards_title,
    chains,
    machine_line,
    made_by,
    spoken,
)
from envfix.render.stack_picture import NAMES, WORDS
from envfix.render.words import command_line

SIGNS: dict[State, str] = {"ok": "✓", "doubtful": "!", "broken": "✗", "unknown": "?", "absent": "–"}  # noqa: RUF001
BAR = 30
# What begins markup, _ but within a word; a backslash before it makes it a letter again.
_MARKUP = re.compile(r"[\\`*\[\]<>|~&]|(?<![^\W_])_|_(?![^\W_])")
# What begins a list or a heading at the start of a line.
_LEADING = re.compile(r"^([-+=#]|\d{1,9}(?=[.)](?:\s|$)))")
# @somebody and #12 would tell people who have nothing to do with it; the comment between shows nothing.
_MENTION = re.compile(r"([@#])(?=\w)")


class MarkdownReport:
    """Markdown as GitHub and GitLab read it (implements ``ReportFormat``)."""

    def diagnosis(self, shared: SharedReport) -> str:
        """The verdict, the chain, what is wrong and how to mend it; facts are folded."""
        report = shared.report
        verdict = report.diagnosis.verdict
        blocks = [
            f"## {SIGNS[VERDICTS[verdict]]} envfix: {look_up(verdict)}",
            f"{look_up(VERDICT_WORDS[verdict][0])} {escaped(machine_line(report))}",
            _table(("", say("Link"), say("There"), say("State"), say("Why")), map(_link, shared.links)),
            *_findings(chains(report.diagnosis.findings)),
        ]
        if report.afterwards is not None:
            lines = "\n".join(f"- {escaped(line)}" for line in afterwards_lines(report.afterwards))
            blocks += [f"### {afterwards_title(report.afterwards)}", lines]
        facts = (tuple(map(escaped, (look_up(row[0]), *row[1:]))) for row in facts_table.rows(report, verbose=True))
        blocks += [
            *_memory(shared.use),
            *_folded(say("All facts with their sources"), [_table((say("Fact"), say("Found"), say("Source")), facts)]),
        ]
        skipped = [(escaped(one.code), escaped(one.reason)) for one in report.diagnosis.skipped]
        if skipped:
            blocks += _folded(
                say("Not judged ({number})", number=len(skipped)), [_table((say("Cause"), say("Why not")), skipped)]
            )
        made = say("{sentence}.", sentence=escaped(made_by(shared)))
        blocks.append(f"<sub>{made} {escaped(look_up(STAND_INS))}</sub>")
        return "\n\n".join(block for block in blocks if block) + "\n"


def escaped(text: str) -> str:
    """The text in one line, as letters only: what a fact holds is never markup, HTML or a mention."""
    pieces = spoken(" ".join(readable(text).split()))
    line = "".join(f"`{piece}`" if code else _letters(piece) for piece, code in pieces)
    return _LEADING.sub(lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", line)


def _letters(text: str) -> str:
    return _MENTION.sub(r"\1<!-- -->", _MARKUP.sub(lambda match: f"\\{match[0]}", text))


def fenced(line: str) -> str:
    """Lines to copy, between marks that are longer than any inside."""
    line = readable(line)
    marks = "`" * max(3, 1 + max(map(len, re.findall(r"`+", line)), default=0))
    return f"{marks}sh\n{line}\n{marks}"


def _table(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table whose cells are escaped already."""
    lines = [names, ("---",) * len(names), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _folded(title: str, blocks: Iterable[str]) -> Iterator[str]:
    """Blocks that a reader opens; ``title`` is envfix's own words."""
    yield f"<details><summary>{title}</summary>"
    yield from blocks
    yield "</details>"


def _link(link: Link) -> tuple[str, ...]:
    why = f"{link.reason} ({link.code})" if link.code else link.reason
    return (SIGNS[link.state], look_up(NAMES[link.part]), escaped(link.value), look_up(WORDS[link.state]), escaped(why))


def _findings(found: tuple[Chain, ...]) -> Iterator[str]:
    wrong = [chain for chain in found if chain.root.severity != Severity.INFO]
    known = [chain.root for chain in found if chain.root.severity == Severity.INFO]
    if wrong:
        yield say("### What is wrong")
    for chain in wrong:
        yield from _finding(chain.root)
        if chain.symptoms:
            inside = [block for finding in chain.symptoms for block in _finding(finding)]
            yield from _folded(say("From this follows ({number})", number=len(chain.symptoms)), inside)
    if known:
        inside = [block for finding in known for block in _finding(finding)]
        yield from _folded(say("Good to know ({number})", number=len(known)), inside)


def _finding(finding: Finding) -> Iterator[str]:
    state = SEVERITIES[finding.severity]
    sign = SIGNS[state] if finding.severity != Severity.INFO else "·"
    yield f"{sign} **{escaped(finding.message)}** ({look_up(finding.severity.value)} {finding.code} `{finding.cause}`)"
    yield "\n".join(f"- {escaped(one.value)} \\[{escaped(retold(one.source))}\\]" for one in finding.because)
    for remedy in finding.remedies:
        yield f"→ {escaped(remedy.text)}"
        for argv in remedy.commands:
            yield fenced(command_line(argv))


def _memory(use: GpuUse) -> Iterator[str]:
    if not use.cards:
        return
    yield say("### GPU memory")
    rows = [
        (
            str(one.card.index),
            escaped(one.card.name),
            f"`{gpu_table.bar(one, BAR, unicode=True).plain}`",
            escaped(gpu_table.numbers(one)),
        )
        for one in use.cards
    ]
    legend = gpu_table.legend(unicode=True).plain.split()
    yield _table(("GPU", say("Card"), say("Memory ({legend})", legend=" ".join(legend)), say("In numbers")), rows)
    held = [(str(one.card.index), *map(escaped, row)) for one in use.cards for row in gpu_table.process_rows(one)]
    if held:
        yield from _folded(
            say("Programs on the cards ({number})", number=len(held)),
            [_table(("GPU", say("Memory"), say("Whose"), say("Program")), held)],
        )
