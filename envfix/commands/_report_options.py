"""The options that write a report to be shown to others, for each command that has one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from envfix.app import report_files
from envfix.commands import _options as shared
from envfix.errors import UsageError
from envfix.model.language import later, say

if TYPE_CHECKING:
    from envfix.model.explanation import Explanation
    from envfix.model.fleet import FleetSeen
    from envfix.model.outcome import Verification
    from envfix.model.plan import Plan
    from envfix.model.report import Report
    from envfix.render.interface import Output, ReportFormat

# As a FILE: the report takes the place of the answer.
STANDARD_OUTPUT = "-"

ITS_NAMES = ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def _file(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A file that can be written, as far as this can be told before the work is done."""
    name = option.opts[0]
    if value is None or context.resilient_parsing:
        return None
    if not value:
        raise UsageError(say("{option} names no file", option=name), hint=f"{name} FILE")
    if value in (STANDARD_OUTPUT, *ITS_NAMES):
        return STANDARD_OUTPUT
    report_files.check(value, name)
    return value


def _named(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """A file: the answer itself already stands on standard output."""
    path = _file(context, option, value)
    if path == STANDARD_OUTPUT:
        raise UsageError(say("the page needs a file of its own"), hint="--html FILE")
    return path


report_options = shared.options(
    click.option(
        "--html",
        type=shared.FILE,
        metavar="FILE",
        callback=_file,
        help=later("Also write a page to show to others, without names and secrets."),
    ),
    click.option(
        "--markdown",
        type=shared.FILE,
        metavar="[FILE]",
        is_flag=False,
        flag_value=STANDARD_OUTPUT,
        callback=_file,
        help=later("The same as Markdown, to paste into an issue; without FILE it is the answer."),
    ),
    click.option(
        "--svg",
        type=shared.FILE,
        metavar="FILE",
        callback=_file,
        help=later("The same as a picture of the terminal."),
    ),
)
page_option = click.option(
    "--html",
    type=shared.FILE,
    metavar="FILE",
    callback=_named,
    help=later("Also write a page to show to others, without names and secrets."),
)


def spare(read: Iterable[str | None], **reports: str | None) -> None:
    """Refuse a report in place of what is read: a snapshot, or the log that is explained."""
    sources = {_place(path) for path in read if path is not None} - {STANDARD_OUTPUT}
    for name, path in reports.items():
        if path is not None and _place(path) in sources:
            raise UsageError(
                say("{path} is what is read, and would be lost", path=path),
                hint=say("name a file of its own: --{name} FILE", name=name),
            )


def save_page(path: str | None, answer: Explanation | Plan | Verification, out: Output) -> None:
    """The page of an answer, where one was asked for."""
    if path is None:
        return
    from envfix.app.sharing import shareable_answer
    from envfix.model.explanation import Explanation
    from envfix.model.outcome import Verification
    from envfix.render.html_answers import HtmlAnswers

    pages = HtmlAnswers()
    if isinstance(answer, Explanation):
        text = pages.explanation(shareable_answer(answer))
    elif isinstance(answer, Verification):
        text = pages.verification(shareable_answer(answer))
    else:
        text = pages.plan(shareable_answer(answer))
    report_files.write(path, text, "--html")
    out.reporter.note(say("saved: {path}", path=path))


def save_fleet_page(path: str | None, seen: FleetSeen, out: Output) -> None:
    """The page of all nodes, where one was asked for."""
    if path is None:
        return
    from envfix.app.sharing import shareable_fleet
    from envfix.render.html_fleet import fleet_page

    report_files.write(path, fleet_page(shareable_fleet(seen)), "--html")
    out.reporter.note(say("saved: {path}", path=path))


class Reports:
    """The reports that were asked for, with their files."""

    def __init__(self, *, as_json: bool, html: str | None, markdown: str | None, svg: str | None) -> None:
        named = {"html": html, "markdown": markdown, "svg": svg}
        self._files = {name: path for name, path in named.items() if path is not None}
        self._check(as_json=as_json)

    def _check(self, *, as_json: bool) -> None:
        """Before anything is looked at: two answers cannot go to one place."""
        places = [*map(_place, self._files.values()), *([STANDARD_OUTPUT] if as_json else [])]
        for name, path in self._files.items():
            if places.count(_place(path)) > 1:
                where = say("standard output") if path == STANDARD_OUTPUT else path
                raise UsageError(
                    say("two answers cannot both go to {where}", where=where),
                    hint=say("name a file of its own: --{name} FILE", name=name),
                )

    def diagnosis(self, report: Report, out: Output) -> None:
        """Write the files, then give the answer: the text for people, unless a report takes its place."""
        texts = self._texts(report) if self._files else {}
        for name, text in texts.items():
            self._write(name, text)
        answer = next((texts[name] for name, path in self._files.items() if path == STANDARD_OUTPUT), None)
        if answer is None:
            out.diagnosis(report)
        else:
            out.shared(answer)
        for path in self._files.values():
            if path != STANDARD_OUTPUT:
                out.reporter.note(say("saved: {path}", path=path))

    def _texts(self, report: Report) -> dict[str, str]:
        from envfix.app.sharing import shareable

        shared_report = shareable(report)
        return {name: _format(name).diagnosis(shared_report) for name in self._files}

    def _write(self, name: str, text: str) -> None:
        if self._files[name] != STANDARD_OUTPUT:
            report_files.write(self._files[name], text, f"--{name}")


def _place(path: str) -> str:
    return path if path == STANDARD_OUTPUT else report_files.place(path)


def _format(name: str) -> ReportFormat:
    """A format by the name of its option."""
    if name == "html":
        from envfix.render.html import HtmlReport

        return HtmlReport()
    if name == "markdown":
        from envfix.render.markdown import MarkdownReport

        return MarkdownReport()
    from envfix.render.terminal_picture import TerminalPicture

    return TerminalPicture()
