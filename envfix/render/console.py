"""Answers for people in a terminal: readable without colour, in narrow windows and in pipes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

import msgspec
from rich.console import Console, ConsoleOptions
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table

from envfix._version import __version__
from envfix.model.explanation import Cause, Explanation
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.fit import Fit
from envfix.model.fleet import (
    Difference,
    FleetCards,
    FleetLocking,
    FleetPlan,
    FleetReport,
    FleetVerified,
    Group,
    NodeCards,
    NodeVerified,
    Stuck,
    Unreached,
)
from envfix.model.gpu_use import GpuUse
from envfix.model.language import language, later, look_up, retold, say
from envfix.model.lock import LockCheck, Locking
from envfix.model.outcome import NOT_TRIED, Installation, Rung, Undone, Verification
from envfix.model.plan import Choice, Examination, Plan
from envfix.model.report import Afterwards, CausePage, Report, WheelRow
from envfix.model.reporter import Reporter
from envfix.model.started import as_started
from envfix.model.words import readable
from envfix.render import facts_table, fleet_table, gpu_table, plan_table
from envfix.render.facts_table import FAMILY
from envfix.render.progress import ConsoleReporter
from envfix.render.text import Text
from envfix.render.words import command_line, duration, size
from envfix.render.wrapping import filled

MARKS = {
    Severity.ERROR: ("✗", "x", "bold red"),
    Severity.WARNING: ("!", "!", "bold yellow"),
    Severity.INFO: ("·", "-", "cyan"),
}
VERDICTS = {
    "healthy": (later("Everything fits together."), "bold green"),
    "degraded": (later("It works, but not as well as it could."), "bold yellow"),
    "broken": (later("Something is broken; the first finding is the most likely root."), "bold red"),
}
# What the tables call rows, verdicts and severities, which scripts read in English.
NAMES = (
    later("machine"),
    later("driver"),
    later("toolkits"),
    later("compilers"),
    later("library"),
    later("command"),
    later("network"),
    later("index"),
    later("variable"),
    later("for"),
    later("price"),
    later("use"),
    later("healthy"),
    later("degraded"),
    later("broken"),
    later("error"),
    later("warning"),
    later("info"),
    later("prefix"),
    later("temporary files"),
    later("pip cache"),
    later("uv cache"),
    later("shared memory"),
)
REASONS_SHOWN = 6
DIFFERENCES_SHOWN = 12
GROUPS_SHOWN, ROWS_SHOWN, NODES_SHOWN = 12, 12, 24
# In a narrower window a table of four columns is a heap of letters.
FOUR_COLUMNS = 60
# Lines to copy.
COMMAND = "green"
# Behind a sentence: how it is called.
ASIDE = "not bold dim"
RUNGS = {"passed": ("✓", "ok", "green"), "failed": ("✗", "FAILED", "bold red"), "skipped": ("·", "skipped", "dim")}


class _SafeConsole(Console):
    """Never obeys what a driver, a file or a snapshot of somebody else wants to do to the terminal."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments, with ``?`` for what is not to be read; rich's own styles are added later and stay."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(readable(segment.text), segment.style)


class ConsoleOutput:
    """Text on standard output, progress on standard error (implements ``Output``)."""

    def __init__(
        self,
        *,
        color: bool = True,
        quiet: bool = False,
        verbose: bool = False,
        stream: IO[str] | None = None,
        width: int | None = None,
        record: bool = False,
        errors: bool = False,
    ) -> None:
        options: dict[str, Any] = {"highlight": False, "soft_wrap": False, "emoji": False, "markup": False}
        if not color or Console().no_color:  # which is how rich reads NO_COLOR; bold and dim are codes as well
            options["color_system"] = None
        if width is not None:
            options["width"] = width
        if record:
            options |= {"record": True, "force_terminal": True, "color_system": "truecolor"}
        self.console: Console = _SafeConsole(file=sys.stderr if errors else stream, **options)
        self._progress = ConsoleReporter(_SafeConsole(file=sys.stderr, **options), quiet=quiet)
        self._verbose = verbose

    @property
    def reporter(self) -> Reporter:
        """Progress on standard error."""
        return self._progress

    @property
    def _unicode(self) -> bool:
        return (self.console.encoding or "").lower().startswith("utf")

    def diagnosis(self, report: Report) -> None:
        """Facts first, then what is wrong, then the one next step."""
        self._progress.done()
        where = (
            say("this machine") if report.origin is None else say("the machine saved in {origin}", origin=report.origin)
        )
        self._say(Text(f"envfix {__version__}: {where}", style="bold"))
        self._say("")
        self._facts(facts_table.rows(report, verbose=self._verbose))
        self._say("")
        for finding in report.diagnosis.findings:
            self._finding(finding)
        for skipped in report.diagnosis.skipped if self._verbose else ():
            self._say(Text(say("not judged: {code}: {reason}", code=skipped.code, reason=skipped.reason), style="dim"))
        if report.afterwards is not None:
            self._afterwards(report.afterwards)
        text, style = VERDICTS[report.diagnosis.verdict]
        verdict = look_up(report.diagnosis.verdict)
        line = Text(say("Verdict: {verdict}. {text}", verdict=verdict, text=look_up(text)), style="bold")
        line.highlight_words([verdict], style)
        self._say(line)

    def shared(self, text: str) -> None:
        """As it is, and in UTF-8 whatever the terminal speaks."""
        self._progress.done()
        buffer = getattr(self.console.file, "buffer", None)
        if buffer is None:
            self.console.file.write(text)
            return
        self.console.file.flush()
        buffer.write(text.encode())
        buffer.flush()

    def _afterwards(self, afterwards: Afterwards) -> None:
        """What installing would bring, or what keeps it away; then what would still be wrong."""
        plan = afterwards.plan
        if plan.choice is not None:
            stack = _stack(plan.choice, with_index=False)
            self._say(
                Text(
                    say(
                        "By the tables `envfix install` would bring {stack}; `envfix plan` asks the indexes.",
                        stack=stack,
                    )
                )
            )
        else:
            self._say(Text(say("No stack runs here as things are:"), style="bold"))
            for line in (*plan.reasons[:1], *plan.ways_out):
                self._indented(Text(f"{'→' if self._unicode else '>'} {line}"))
        if afterwards.findings:
            self._say(Text(say("Then there would still be to mend:"), style="bold"))
        for finding in afterwards.findings:
            self._indented(Text(f"{finding.message}  ({finding.code} {finding.cause})"))
            for argv in finding.remedies[0].commands if finding.remedies else ():
                self._command(command_line(argv), by=6)
        self._say("")

    def _facts(self, rows: Iterator[tuple[str, str, str]]) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value, source in rows:
            cell = Text(value)
            if source:
                cell.append(f"  [{source}]", style="dim")
            table.add_row(look_up(name), cell)
        self._say(Padding(table, (0, 0, 0, 2), expand=False))

    def _finding(self, finding: Finding) -> None:
        mark, plain, style = MARKS[finding.severity]
        head = Text(f"{mark if self._unicode else plain} ", style=style)
        head.append(finding.message, style="bold")
        head.append(f"  ({look_up(finding.severity.value)} {finding.code} {finding.cause})", style=ASIDE)
        if finding.follows_from:
            head.append(say("  follows from {follows_from}", follows_from=finding.follows_from), style=ASIDE)
        self._say(head)
        # What follows from another finding, or is only good to know, takes one line.
        if self._verbose or (not finding.follows_from and finding.severity != Severity.INFO):
            for evidence in finding.because:
                self._because(evidence)
            for remedy in finding.remedies:
                self._remedy(remedy)
        self._say("")

    def _because(self, evidence: Evidence) -> None:
        self._indented(
            Text(
                say("because {evidence}  [{source}]", evidence=evidence.value, source=retold(evidence.source)),
                style="dim",
            )
        )

    def _remedy(self, remedy: Remedy) -> None:
        self._indented(Text(f"{'→' if self._unicode else '>'} {remedy.text}"))
        for argv in remedy.commands:
            self._command(command_line(argv), by=6)

    def fleet(self, report: FleetReport) -> None:
        """A group of nodes each with what is wrong there; then what differs; then who was not reached."""
        self._progress.done()
        self._say(Text(f"envfix {__version__}: {fleet_table.headline(report)}", style="bold"))
        self._say("")
        shown = fleet_table.worst(report.groups, len(report.groups) if self._verbose else GROUPS_SHOWN)
        for number in shown:
            self._group(report.groups[number])
        if len(shown) < len(report.groups):
            left = len(report.groups) - len(shown)
            self._say(Text(say("... and {number} more states; -v shows all", number=left), style="dim"))
            self._say("")
            self._causes(report)
        if report.differences:
            self._say(Text(say("What differs:"), style="bold"))
        for difference in report.differences:
            self._difference(difference)
        self._unreached(report.unreached)
        for note in report.notes:
            self._say(Text(f"{'•' if self._unicode else '-'} {note}"))
        if report.saved is not None:
            self._say(Text(say("saved: {saved}", saved=report.saved), style="green"))
        self._say(Text(fleet_table.verdict(report), style=VERDICTS[report.verdict][1]))

    def _causes(self, report: FleetReport) -> None:
        """Each with all its nodes: that of a group which is not shown is told at least."""
        self._say(Text(say("All causes:"), style="bold"))
        for one in report.causes:
            mark, plain, style = MARKS[one.severity]
            line = Text(f"{mark if self._unicode else plain} ", style=style)
            line.append(f"{one.code} {one.cause}: {fleet_table.nodes(one.nodes, one.count)}", style="not bold")
            self._indented(line)
        self._say("")

    def _group(self, group: Group) -> None:
        head = Text(f"{fleet_table.nodes(group.name, len(group.nodes))} ", style="bold")
        head.append(look_up(group.verdict), style=VERDICTS[group.verdict][1])
        head.append(f": {fleet_table.stack(group)}", style="not bold")
        self._say(head)
        for name, text in group.links.items():
            if self._verbose or fleet_table.is_doubt(text):
                self._indented(Text(f"{filled(look_up(name), 12)} {fleet_table.said(text)}", style="dim"))
        shown = [
            finding
            for finding in group.findings
            if self._verbose or (finding.severity != Severity.INFO and not finding.follows_from)
        ]
        if shown and len(group.nodes) > 1:
            self._indented(Text(say("sentences and numbers are those of {shown}", shown=group.shown), style="dim"))
        for finding in shown:
            self._finding(finding)
        if not shown:
            self._say("")

    def _difference(self, difference: Difference) -> None:
        mark, plain, style = MARKS[Severity.ERROR if difference.matters else Severity.INFO]
        head = Text(f"{mark if self._unicode else plain} ", style=style)
        head.append(look_up(difference.link), style="bold" if difference.matters else "dim")
        if not difference.matters:
            head.append(say("  (no finding rests on it)"), style=ASIDE)
        self._indented(head)
        for line in fleet_table.values(difference, everything=self._verbose):
            self._indented(Text(line, style="" if difference.matters else "dim"), by=4)
        for one in difference.explains:
            self._indented(
                Text(
                    say(
                        "{which} {code} {cause} on {names}",
                        which="→" if self._unicode else ">",
                        code=one.code,
                        cause=one.cause,
                        names=fleet_table.names(one.nodes),
                    )
                ),
                by=4,
            )

    def _unreached(self, rows: Sequence[Unreached]) -> None:
        if rows:
            self._say(Text(say("Not reached:"), style="bold yellow"))
        shown = rows if self._verbose else rows[:ROWS_SHOWN]
        for row in shown:
            self._indented(Text(f"{fleet_table.lost(row)}"))
        if len(shown) < len(rows):
            left = sum(row.count for row in rows[ROWS_SHOWN:])
            self._indented(Text(say("... and {number} more nodes; -v shows all", number=left), style="dim"))

    def fleet_plan(self, plan: FleetPlan) -> None:
        """A stack with its nodes each; with -v as `envfix plan` shows it."""
        self._progress.done()
        if len(plan.stacks) == 1 and plan.complete:
            self._say(Text(say("One stack runs on all nodes."), style="bold green"))
        elif plan.stacks:
            self._say(Text(fleet_table.number_of_stacks(plan), style="bold"))
        for stack in plan.stacks:
            head = Text(f"{fleet_table.nodes(stack.nodes, stack.count)}: ", style="bold")
            choice = stack.plan.choice
            head.append(
                _stack(choice)
                if choice
                else say("no stack fits: blocked by {blocked_by}", blocked_by=plan_table.blocker(stack.plan))
            )
            self._say(head)
            if self._verbose:
                self.plan(stack.plan)
                continue
            for reason in stack.plan.reasons[:1]:
                self._indented(Text(reason, style="dim"))
            if stack.plan.download_bytes is not None:
                self._indented(
                    Text(say("download {download_bytes}", download_bytes=size(stack.plan.download_bytes)), style="dim")
                )
        self._stuck(plan.stuck)
        self._unreached(plan.unreached)

    def _stuck(self, rows: Sequence[Stuck]) -> None:
        if rows:
            self._say(Text(say("No stack runs, as things are, on:"), style="bold red"))
        for row in rows:
            self._indented(Text(f"{fleet_table.nodes(row.nodes, row.count)}: {row.reason}"))
            for way in row.ways_out:
                self._indented(Text(f"{'→' if self._unicode else '>'} {way}"), by=4)

    def fleet_locked(self, locking: FleetLocking) -> None:
        """Which lock is for which nodes."""
        for one in locking.locks:
            if one.locking is None or one.locking.files[0].path is not None:
                self._say(Text(say("for {nodes}:", nodes=fleet_table.nodes(one.nodes, one.count)), style="bold"))
            if one.locking is not None:
                self.locked(one.locking)
            elif one.plan is not None:
                self.plan(one.plan)
        self._stuck(locking.stuck)
        self._unreached(locking.unreached)

    def fleet_playbook(self, path: str, folder: str) -> None:
        """Where it is and what to do with it."""
        self._say(Text(say("saved: {path}", path=path), style="bold green"))
        self._indented(Text(say("Run it, then look at what it has collected:")))
        self._command(command_line(("ansible-playbook", "-i", "INVENTORY", path)), by=4)
        self._command(command_line(("envfix", "fleet", "diagnose", "--from", folder)), by=4)

    def fleet_gpus(self, cards: FleetCards) -> None:
        """A line a card with its bar, node by node, the freest first."""
        self._progress.done()
        if any(node.cards for node in cards.nodes):
            self._say(gpu_table.legend(unicode=self._unicode))
        shown = cards.nodes if self._verbose else cards.nodes[:NODES_SHOWN]
        for node in shown:
            self._node_cards(node)
        if len(shown) < len(cards.nodes):
            left = len(cards.nodes) - len(shown)
            self._say(Text(say("... and {number} more nodes; -v shows all", number=left), style="dim"))
        self._unreached(cards.unreached)
        if cards.best is not None:
            free = gpu_table.numbers(cards.best.card).partition(",")[0]
            self._say(
                Text(
                    say(
                        "Freest: GPU {index} of {node}, {free}.",
                        index=cards.best.card.card.index,
                        node=cards.best.node,
                        free=free,
                    ),
                    style="bold green",
                )
            )

    def _node_cards(self, node: NodeCards) -> None:
        """The model is told once where all cards are of one."""
        models = fleet_table.models(node)
        head = Text(node.node, style="bold")
        if models is not None:
            head.append(f"  {models}", style="not bold")
        self._say(head)
        if node.problem is not None:
            self._indented(Text(node.problem, style="yellow"))
        for use in node.cards:
            line = Text(f"{use.card.index:>2} ")
            line.append_text(gpu_table.bar(use, 24, unicode=self._unicode))
            line.append(f" {gpu_table.numbers(use)}")
            if models is None:
                line.append(f"  {use.card.name}")
            self._indented(line)
            if use.obstacle:
                self._indented(Text(use.obstacle, style="yellow"), by=6)

    def fleet_node(self, node: NodeVerified) -> None:
        """A line a node: how far its ladder holds."""
        self._progress.done()
        mark, plain, style = RUNGS["passed" if node.holds else "failed"]
        line = Text(f"{mark if self._unicode else plain} ", style=style)
        line.append(node.node, style="bold")
        line.append(f": {fleet_table.proof(node)}")
        self._say(line)

    def fleet_verified(self, verified: FleetVerified) -> None:
        """What mends those that fail alike; who was not reached; the last line: on how many it holds."""
        self._progress.done()
        failures = verified.failures if self._verbose else verified.failures[:ROWS_SHOWN]
        for failure in failures:
            self._say("")
            self._say(Text(fleet_table.failure(failure), style="bold"))
            for remedy in failure.remedies:
                self._remedy(remedy)
            if failure.cause:
                self._command(command_line(("envfix", "causes", failure.cause)))
        if len(failures) < len(verified.failures):
            left = sum(row.count for row in verified.failures[ROWS_SHOWN:])
            self._say("")
            self._say(Text(say("... and {number} more nodes; -v shows all", number=left), style="dim"))
        if verified.failures:
            self._say("")
        self._unreached(verified.unreached)
        good = not verified.failures and not verified.unreached and bool(verified.nodes)
        self._say(Text(fleet_table.proven(verified), style="bold green" if good else "bold red"))

    def explanation(self, explanation: Explanation) -> None:
        """The root cause with the lines that prove it and what mends it; consequences and other candidates after it."""
        self._progress.done()
        for note in explanation.notes:
            self._say(Text(note, style="yellow"))
        if not explanation.causes:
            where = {0: say("There is no text in it, and so nothing"), 1: say("Nothing in this line")}.get(
                explanation.lines
            )
            self._say(
                Text(
                    say(
                        "{where} is a failure that envfix knows.",
                        where=where or say("Nothing in these {lines} lines", lines=explanation.lines),
                    )
                )
            )
            self._say(say("`envfix diagnose` looks at the machine itself."))
            return
        first, *others = explanation.causes
        if explanation.ambiguous:
            self._say(
                Text(say("The log leaves open which of these it is; the likeliest comes first."), style="bold yellow")
            )
            self._say("")
        self._cause(first, ambiguous=explanation.ambiguous)
        for cause in others:
            self._cause(cause, ambiguous=explanation.ambiguous and cause.follows_from is None)

    def not_started(self, program: str, problem: str | None) -> None:
        """A program that could not be run at all."""
        self._say(
            Text(
                say(
                    "envfix: cannot run {program}: {problem}",
                    program=program,
                    problem=retold(problem or "") or say("it does not start"),
                )
            )
        )

    def failure(self, program: str, code: int, how: str, explanation: Explanation) -> None:
        """A line between the program's own output and why it failed."""
        self._progress.done()
        self._say("")
        self._say(
            Text(
                say(
                    "envfix: {program} ended with {code}{how}.",
                    program=program,
                    code=code,
                    how=f" ({how})" if how else "",
                ),
                style="bold",
            )
        )
        self.explanation(explanation)

    def _cause(self, cause: Cause, *, ambiguous: bool) -> None:
        """One cause; what follows from another one takes one line."""
        mark, plain, style = MARKS[cause.severity]
        head = Text(f"{mark if self._unicode else plain} ", style=style)
        head.append(cause.message, style="bold")
        head.append(
            f"  ({look_up(cause.severity.value)} {cause.code} {cause.cause}, {_likelihood(cause.confidence)})",
            style=ASIDE,
        )
        if cause.follows_from:
            head.append(say("  follows from {follows_from}", follows_from=cause.follows_from), style=ASIDE)
        self._say(head)
        if cause.follows_from and not self._verbose:
            self._say("")
            return
        for evidence in cause.because:
            if evidence.fact == "log":
                self._indented(Text(f"{retold(evidence.source)}: {_shortened(evidence.value)}", style="dim"))
            else:
                self._because(evidence)
        for remedy in cause.remedies:
            self._remedy(remedy)
        if ambiguous and cause.tell_apart is not None:
            self._indented(Text(f"? {cause.tell_apart.text}"))
            for argv in cause.tell_apart.commands:
                self._command(command_line(argv), by=6)
        self._say("")

    def gpus(self, use: GpuUse) -> None:
        """A bar for each card, the processes on it, then the line to paste."""
        self._progress.done()
        for line in self._gpu_lines(use):
            self._say(line)
        if use.best is not None:
            self._command(command_line(("export", *use.export)))

    def watch_gpus(self, uses: Iterator[GpuUse]) -> None:
        """The same in one place of a terminal; without one, one below the other."""
        self._progress.done()
        if not self.console.is_terminal:
            for use in uses:
                self.gpus(use)
                self._say("")
                self.console.file.flush()
            return
        from rich.console import Group
        from rich.live import Live

        with Live(console=self.console, auto_refresh=False, screen=True) as live:
            for use in uses:
                end = Text(say("Ctrl-C ends; `envfix gpus` prints the line to paste"), style="dim")
                live.update(Group(*self._gpu_lines(use, paste=False), end), refresh=True)

    def _gpu_lines(self, use: GpuUse, *, paste: bool = True) -> Iterator[Text | Padding]:
        if not use.cards:
            yield Text(say("No card to show: {problem}.", problem=retold(use.problem or "")), style="bold")
            return
        width = max(10, min(40, self.console.width - 30))
        for one in use.cards:
            head = Text(f"GPU {one.card.index}  {one.card.name}", style="bold")
            head.append(f"  {gpu_table.numbers(one)}", style="")
            yield head
            bar = Text("  ")
            bar.append_text(gpu_table.bar(one, width, unicode=self._unicode))
            yield bar
            if one.obstacle:
                yield Text(say("  not usable from here: {obstacle}", obstacle=one.obstacle), style="yellow")
            for process in gpu_table.processes(one):
                yield Text(f"  {process}")
            yield from gpu_table.fields(one)
            yield Text("")
        yield gpu_table.legend(unicode=self._unicode)
        for note in use.notes:
            yield Text(note, style="dim")
        yield Text("")
        if use.best is None:
            yield Text(say("No card is free that this shell may use."), style="bold yellow")
            return
        if not paste:
            yield Text(say("Most is free on GPU {index}.", index=use.best.card.index), style="bold")
            return
        yield Text(
            say("Most is free on GPU {index}. Paste this before you start your program:", index=use.best.card.index),
            style="bold",
        )

    def fit(self, fit: Fit) -> None:
        """The batch first, then how that is known, and what would let a larger one fit."""
        self._progress.done()
        self._say(Text(gpu_table.fit_headline(fit), style="bold green" if fit.batch else "bold yellow"))
        for line in gpu_table.fit_lines(fit):
            self._indented(Text(line))
        for note in fit.notes:
            self._indented(Text(say("Note: {note}.", note=note), style="dim"))
        if fit.larger:
            self._say(Text(say("A larger batch fits with:") if fit.batch else say("What may help:"), style="bold"))
        for way in fit.larger:
            about = say(" (about {batch})", batch=way.batch) if way.batch is not None else ""
            self._indented(Text(f"- {way.text}{about}"))
        if fit.command:
            self._say(Text(say("Train with this batch:"), style="bold"))
            if fit.export:
                self._command(command_line(("export", *fit.export)))
            self._command(command_line(fit.command))

    def plan(self, plan: Plan) -> None:
        """The answer in the first line, then what it costs and why."""
        self._progress.done()
        if plan.choice is not None:
            self._say(Text(say("Plan: {stack}", stack=_stack(plan.choice)), style="bold green"))
        else:
            self._say(
                Text(
                    say("No stack fits: blocked by {blocked_by}.", blocked_by=plan_table.blocker(plan)),
                    style="bold red",
                )
            )
        self._facts(plan_table.plan_rows(plan))
        for reason in plan.reasons:
            self._indented(Text(f"{'•' if self._unicode else '-'} {reason}"))
        for way in plan.ways_out:
            self._indented(Text(f"{'→' if self._unicode else '>'} {way}"))
        if plan.nearest is not None and plan.choice is None:
            self._indented(Text(say("nearest: {stack}", stack=_stack(plan.nearest))))
        for examination in plan.why_not:
            self._examination(examination)
        self._packages(plan)
        if not plan.why_not:
            self._rejected(plan)
        for argv in plan.commands if self._verbose else ():
            self._command(command_line(argv))

    def _examination(self, examination: Examination) -> None:
        self._say("")
        self._indented(Text(say("Why not: {verdict}.", verdict=examination.verdict), style="bold"))
        for check in examination.checks:
            mark, plain, style = RUNGS["passed" if check.fits else "failed"]
            line = Text(f"{mark if self._unicode else plain} ", style=style)
            line.append(filled(look_up(check.constraint), 12), style="")
            line.append(check.text or say("fits"), style="" if check.text else "dim")
            self._indented(line, by=4)

    def _packages(self, plan: Plan) -> None:
        if not plan.packages:
            return
        self._say("")
        if self.console.width < FOUR_COLUMNS:
            for pin in plan.packages:
                self._indented(Text(f"{pin.name} {pin.specifier or say('any')} ({pin.index}): {pin.because}"))
            return
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in (later("package"), later("version"), later("from"), later("why")):
            table.add_column(look_up(column), overflow="fold")
        for pin in plan.packages:
            table.add_row(pin.name, pin.specifier or say("any"), pin.index, Text(pin.because))
        self._say(Padding(table, (0, 0, 0, 2), expand=False))

    def _rejected(self, plan: Plan) -> None:
        if not plan.rejected:
            return
        self._say("")
        self._indented(Text(say("Not chosen:"), style="bold"))
        if self._verbose:
            for row in plan.rejected:
                self._indented(Text(f"torch {row.torch} ({row.variant}): {row.text}", style="dim"), by=4)
            return
        groups = list(plan_table.rejections(plan))
        for builds, text in groups[:REASONS_SHOWN]:
            self._indented(Text(f"{builds}: {text}", style="dim"), by=4)
        if len(groups) > REASONS_SHOWN:
            self._indented(
                Text(
                    say("... and {number} more reasons; -v shows all", number=len(groups) - REASONS_SHOWN), style="dim"
                ),
                by=4,
            )

    def confirm(self, question: str) -> bool:
        """Ask on the terminal; without one the answer is no."""
        self._progress.done()
        if not sys.stdin.isatty():
            return False
        self.console.print(f"{question} [y/N] ", end="")
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def rung(self, rung: Rung) -> None:
        """One step of the stair; a long message stays in its column, and rungs that were not tried are told at the end."""
        self._progress.done()
        if NOT_TRIED in rung.detail:
            return
        mark, plain, style = RUNGS[rung.status]
        message = Text(rung.message, style=style if rung.status == "failed" else "")
        if rung.cause:
            message.append(f"  ({rung.cause})", style="dim")
        told = [f"{name}: {_value(value)}" for name, value in rung.detail.items() if value is not None]
        if self._verbose and told:
            message.append("\n" + "\n".join(told), style="dim")
        stair = Table.grid(padding=(0, 2, 0, 0))
        stair.add_column(width=1 if self._unicode else 7, style=style)
        stair.add_column(width=12)
        stair.add_column(min_width=7, justify="right", style="dim", no_wrap=True)
        stair.add_column(overflow="fold")
        stair.add_row(mark if self._unicode else plain, rung.name, duration(rung.seconds), message)
        self._say(Padding(stair, (0, 0, 0, 2), expand=False))

    def verification(self, verification: Verification) -> None:
        """Where memory went, if that was asked; the last line: whether this environment proved itself, and on which device."""
        self._progress.done()
        for line in verification.memory.get("lines") or ():
            self._indented(Text(line.strip()), by=2 + len(line) - len(line.lstrip()))
        failed = verification.failed
        if failed is None:
            best = next((rung.name for rung in reversed(verification.rungs) if rung.status == "passed"), "nothing")
            self._say(
                Text(
                    say(
                        "Verified on {device}: all rungs up to {best} hold ({python}).",
                        device=verification.device,
                        best=best,
                        python=verification.python,
                    ),
                    style="bold green",
                )
            )
        else:
            left = ", ".join(rung.name for rung in verification.rungs if NOT_TRIED in rung.detail)
            if left:
                self._indented(Text(say("not tried: {left}", left=left), style="dim"))
            self._say(
                Text(
                    say("Verification failed at {failed}: {failed_2}", failed=failed.name, failed_2=failed.message),
                    style="bold red",
                )
            )
            for remedy in verification.remedies:
                self._remedy(remedy)
            if failed.cause:
                self._command(command_line(("envfix", "causes", failed.cause)))

    def installation(self, plan: Plan, installation: Installation) -> None:
        """What is there now, and how to use it."""
        self._progress.done()
        if installation.taken_back:
            self._say(Text(say("Taken back: the environment is as it was before."), style="bold"))
            self._indented(Text(say("--keep leaves such an environment as it is, to look at.")))
            return
        head = say(
            "Installed into {prefix} in {seconds}: {installed}.",
            prefix=installation.prefix,
            seconds=duration(installation.seconds),
            installed=_installed(installation),
        )
        self._say(Text(head, style="bold green"))
        for note in installation.notes:
            self._indented(Text(f"! {note}", style="yellow"))
        if installation.keep_with:
            self._indented(Text(say("Keep this torch when you add packages:")))
            self._command(command_line(installation.keep_with), by=4)
        if not installation.made:
            self._indented(Text(say("Take it back:")))
            self._command(command_line(("envfix", "undo", "--python", installation.prefix)), by=4)
        elif installation.verification is None or installation.verification.status == "passed":
            self._indented(Text(say("Use it:")))
            self._command(f"source {command_line((f'{installation.prefix}/bin/activate',))}", by=4)
        del plan

    def locked(self, locking: Locking) -> None:
        """The text alone on standard output, or where each file is; what the user should know goes to standard error."""
        self._progress.done()
        for file in locking.files:
            if file.path is None:
                self.console.file.write(file.text)
                continue
            self._say(Text(say("locked: {path} ({format})", path=file.path, format=file.format), style="bold green"))
        if any(file.path for file in locking.files):
            whole, out = len(locking.lock.packages), locking.left_out
            count = say("{whole} of {whole_2}", whole=whole - len(out), whole_2=whole) if out else str(whole)
            self._indented(
                Text(
                    say(
                        "{count} package{s} from {source}",
                        count=count,
                        s="s" if whole != 1 else "",
                        source=retold(locking.lock.source),
                    )
                )
            )
            if out:
                self._indented(Text(say("left out: {out}", out=", ".join(out))))
            for sentence in locking.lock.needs.in_words():
                self._indented(Text(retold(sentence)))
        after, gone = say("new"), say("gone")
        for name, old, new in locking.changed or ():
            self._indented(Text(f"{name}: {old or after} -> {new or gone}"))
        if locking.changed == ():
            self._indented(Text(say("nothing has changed")))
        for note in locking.notes:
            self._progress.note(note)

    def lock_check(self, check: LockCheck) -> None:
        """The verdict, then what the lock needs with the answer to each, then what is not as locked."""
        self._progress.done()
        there = say("runs on {checked}", checked=check.checked)
        verdicts = {
            "ok": (
                say("{there}.", there=there)
                if check.differences is None
                else say("{there}, and is what is installed.", there=there),
                "bold green",
            ),
            "differs": (say("{there}, but is not what is installed.", there=there), "bold yellow"),
            "unfit": (say("does not run on {checked}.", checked=check.checked), "bold red"),
            "unknown": (say("may run on {checked} or not: it cannot be told.", checked=check.checked), "bold yellow"),
        }
        text, style = verdicts[check.status]
        self._say(Text(f"{check.file} {text}", style=style))
        marks = {"yes": ("✓", "ok"), "no": ("✗", "NO"), "warning": ("!", "!"), "unknown": ("?", "?")}
        for row in check.suitability:
            self._indented(Text(f"{marks[row.answer][0 if self._unicode else 1]} {row.text}"))
        differences = check.differences or ()
        words = {"missing": say("is not installed"), "extra": say("is not in the lock")}
        # Where it does not run at all, nobody looks for single packages.
        shown = len(differences) if self._verbose else 0 if check.status == "unfit" else DIFFERENCES_SHOWN
        for one in differences[:shown]:
            said = words.get(one.kind, say("is {there}", there=one.there))
            self._indented(Text(f"- {one.name} {one.locked or one.there} {said}"))
        left = len(differences) - shown
        if left > 0:
            said = say("package is") if left == 1 else say("packages are")
            self._indented(
                Text(
                    say(
                        "{left} {which}{said} not as locked; -v shows them",
                        left=left,
                        which=say("more ") if shown else "",
                        said=said,
                    )
                )
            )
        for note in check.notes:
            self._indented(Text(note))

    def undone(self, undone: Undone) -> None:
        """What was put back, and whether all is as it was."""
        self._progress.done()
        if undone.forgotten_bytes is not None:
            self._say(
                say(
                    "The files kept for undo are gone ({forgotten_bytes}); {prefix} stays as it is.",
                    forgotten_bytes=size(undone.forgotten_bytes),
                    prefix=undone.prefix,
                )
            )
            return
        if undone.removed_environment:
            self._say(
                Text(say("Undone: the environment {prefix} was removed.", prefix=undone.prefix), style="bold green")
            )
            return
        head = say(
            "Undone: {prefix} is as it was before the installation of {what}.", prefix=undone.prefix, what=undone.what
        )
        self._say(Text(head, style="bold yellow" if undone.differing else "bold green"))
        self._indented(
            Text(
                say(
                    "{files_back} files put back, {files_removed} removed",
                    files_back=undone.files_back,
                    files_removed=undone.files_removed,
                )
            )
        )
        if undone.stays:
            self._indented(Text(say("installed since, and left: {stays}", stays=", ".join(undone.stays))))
        if undone.edited_in is not None:
            some = ", ".join(undone.edited[:REASONS_SHOWN])
            more = (
                say(" and {number} more", number=len(undone.edited) - REASONS_SHOWN)
                if len(undone.edited) > REASONS_SHOWN
                else ""
            )
            self._indented(
                Text(
                    say(
                        "changed since by somebody, and put aside in {edited_in}: {some}{more}",
                        edited_in=undone.edited_in,
                        some=some,
                        more=more,
                    ),
                    style="yellow",
                )
            )
        for path in undone.differing[:REASONS_SHOWN]:
            self._indented(Text(say("not as it was: {path}", path=path), style="yellow"))
        if len(undone.differing) > REASONS_SHOWN:
            self._indented(
                Text(say("... and {number} more", number=len(undone.differing) - REASONS_SHOWN), style="yellow")
            )

    def saved(self, path: str) -> None:
        """Where the file is."""
        self._progress.done()
        self._say(say("saved: {path}", path=path))

    def wheels(self, rows: Sequence[WheelRow]) -> None:
        """One line a file: plain columns, because the list is long and people grep in it; ``-v`` adds where it lies."""
        for row in rows:
            sure = "" if row.confidence == "verified" else f"  ({row.confidence})"
            sure += f"  {row.url or '-'}" if self._verbose else ""
            build = f"{row.package:<11} {row.version:<8} {row.variant:<9} {row.python:<6} {row.platform:<14}"
            line = f"{build} {row.index:<8} {row.filename}{sure}"
            self.console.file.write(line + "\n")
        if not rows:
            self._say(say("No such wheel exists, as far as the tables know."))

    def causes(self, pages: Sequence[CausePage], *, page: bool) -> None:
        """One line a cause, or the whole page."""
        if page:
            for item in pages:
                self._say(Text(f"{item.cause} ({item.code})", style="bold"))
                if language() != "en":
                    title = say(
                        "{title}. This page is in English only; what envfix finds it tells in Chinese.",
                        title=item.title,
                    )
                    self._say(Text(title))
                    self._say("")
                self._manual(item.manual)
            return
        self._facts((item.code, f"{item.cause}: {item.title}", "") for item in pages)

    def _manual(self, text: str) -> None:
        """A manual page laid out for this window: headings at the margin, their paragraphs indented."""
        for block in text.replace("``", "`").strip().split("\n\n"):
            lines = block.split("\n")
            if lines[0] and not lines[0].startswith(" ") and len(lines) > 1 and lines[1].startswith(" "):
                self._say(Text(lines.pop(0), style="bold"))
            self._indented(Text(" ".join(line.strip() for line in lines)), by=4 if lines[0].startswith(" ") else 0)
            self._say("")

    def _command(self, line: str, *, by: int = 2) -> None:
        """A line to copy: never broken in two, however narrow the window."""
        self._say(Text(" " * by + as_started(line), style=COMMAND), soft_wrap=True)

    def _say(self, what: Any, *, soft_wrap: bool = False) -> None:
        if isinstance(what, Text) and what.plain and language() != "en" and not soft_wrap:
            what = Padding(
                what, 0, expand=False
            )  # else rich makes a plain text of it, which breaks lines at blanks only
        if self.console.is_terminal:
            self.console.print(what, soft_wrap=soft_wrap)
            return
        # rich fills lines up with spaces; files, pipes and greps are better off without them.
        with self.console.capture() as captured:
            self.console.print(what, soft_wrap=soft_wrap)
        self.console.file.write("\n".join(line.rstrip() for line in captured.get().split("\n")))

    def _indented(self, text: Text, *, by: int = 2) -> None:
        self._say(Padding(text, (0, 0, 0, by), expand=False))


def _likelihood(confidence: float) -> str:
    """A confidence in words: people read 0.62 as more than it is."""
    return say("sure") if confidence >= 0.9 else say("likely") if confidence >= 0.6 else say("possible")


def _value(value: object) -> str:
    """A fact of a rung's detail: a number to three digits, a record as JSON on one line."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shortened(line: str, limit: int = 240) -> str:
    """A long line of a log by its beginning and its end."""
    line = " ".join(line.split())
    return line if len(line) <= limit else f"{line[: limit * 2 // 3]} ... {line[-limit // 3 :]}"


def _installed(installation: Installation) -> str:
    """The torch family with what was there before, and how many others."""
    there = [name for name in FAMILY if name in installation.installed]
    names = [
        f"{name} {installation.installed[name]}"
        + (say(" (was {replaced})", replaced=installation.replaced[name]) if name in installation.replaced else "")
        for name in there
    ]
    others = len(installation.installed) - len(there)
    more = say(" and {others} more package{s}", others=others, s="s" if others > 1 else "") if others else ""
    return f"{', '.join(names)}{more}"


def _stack(choice: Choice, *, with_index: bool = True) -> str:
    label, inside = choice.local_label, _inside(choice)
    parts = [say("torch {torch}{label} ({inside})", torch=choice.torch, label=label, inside=inside)]
    if choice.torchvision:
        parts.append(f"torchvision {choice.torchvision}")
    if not with_index:
        return ", ".join(parts)
    return ", ".join(parts) + say(
        ", from {which}", which=say("the default registry") if choice.index == "pypi" else choice.index
    )


def _inside(choice: Choice) -> str:
    return say("CPU build") if choice.variant == "cpu" else say("CUDA inside: {variant}", variant=choice.variant)
