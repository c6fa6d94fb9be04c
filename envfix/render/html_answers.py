"""The answers of plan, explain and verify as pages like that of a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from envfix._version import __version__
from envfix.model.explanation import Cause, Explanation
from envfix.model.finding import Finding
from envfix.model.language import later, look_up, say
from envfix.model.outcome import Rung, Verification
from envfix.model.plan import Plan
from envfix.model.stack import SharedAnswer, State
from envfix.render import plan_table
from envfix.render.elements import element
from envfix.render.html import findings, footer, page, prose, table
from envfix.render.report_parts import chains
from envfix.render.stack_picture import sign
from envfix.render.words import command_line, duration

RUNGS: dict[str, State] = {later("passed"): "ok", later("failed"): "broken", later("skipped"): "absent"}


class HtmlAnswers:
    """One self-contained page for each answer."""

    def explanation(self, shared: SharedAnswer[Explanation]) -> str:
        """The root cause with the lines that prove it and what mends it, then what follows."""
        answer = shared.answer
        if not answer.causes:
            words = say("Nothing in this log is a failure that envfix knows.")
            return _answer("absent", say("Not recognised"), words, shared.made, [])
        words = say("The most likely cause of what this log shows.")
        notes = [element("p", *prose(note)) for note in answer.notes]
        if answer.ambiguous:
            notes.append(element("p", say("The log leaves open which of these it is; the likeliest comes first.")))
        causes = chains([_finding(cause, ambiguous=answer.ambiguous) for cause in answer.causes])
        sections = [*([element("section", element("h2", say("Notes")), *notes)] if notes else []), *findings(causes)]
        return _answer(
            "broken" if answer.is_error else "doubtful", answer.causes[0].title, words, shared.made, sections
        )

    def verification(self, shared: SharedAnswer[Verification]) -> str:
        """The ladder, rung by rung, and where memory went if that was asked."""
        answer = shared.answer
        rungs = element("section", element("h2", say("The ladder")), _ladder(answer.rungs))
        sections = [rungs]
        lines = answer.memory.get("lines") or ()
        if lines:
            told = element("pre", element("code", "\n".join(lines)), tabindex=0)
            sections.append(element("section", element("h2", say("Memory")), told))
        failed = answer.failed
        if failed is None:
            words = say("On {device}, by {python}.", device=answer.device, python=answer.python)
            return _answer("ok", say("Verified"), words, shared.made, sections)
        return _answer("broken", say("Failed at {failed}", failed=failed.name), failed.message, shared.made, sections)

    def plan(self, shared: SharedAnswer[Plan]) -> str:
        """The stack, its price and the reasons; or what blocks, and the ways out."""
        plan = shared.answer
        rows = [_row(look_up(name), value) for name, value, _ in plan_table.plan_rows(plan)]
        sections = [
            element("section", element("h2", say("For what, and its price")), table((say("What"), say("Value")), rows))
        ]
        sections += [
            *_list(say("Why"), plan.reasons),
            *_list(say("Ways out"), plan.ways_out),
            *_packages(plan),
            *_rejected(plan),
        ]
        commands = [element("pre", element("code", command_line(argv)), tabindex=0) for argv in plan.commands]
        if commands:
            sections.append(element("section", element("h2", say("What would be run")), *commands))
        choice = plan.choice
        if choice is None:
            words = say("Blocked by: {blocked_by}.", blocked_by=plan_table.blocker(plan))
            return _answer("broken", say("No stack fits"), words, shared.made, sections)
        inside = (
            say("a CPU build") if choice.variant == "cpu" else say("CUDA inside: {variant}", variant=choice.variant)
        )
        beside = say(", with torchvision {torchvision}", torchvision=choice.torchvision) if choice.torchvision else ""
        words = say(
            "{inside}{beside}, from {which}.",
            inside=inside,
            beside=beside,
            which=say("the default registry") if choice.index == "pypi" else choice.index,
        )
        return _answer("ok", f"torch {choice.torch}{choice.local_label}", words, shared.made, sections)


def _answer(state: State, title: str, words: str, made: str, sections: list[Element]) -> str:
    header = element(
        "header",
        element("p", f"envfix {__version__}, {made}", class_="brand"),
        element("h1", sign(state), title),
        element("p", *prose(words), class_="lead"),
    )
    return page(f"envfix: {title}", header, element("main", *sections), footer())


def _finding(cause: Cause, *, ambiguous: bool) -> Finding:
    """A cause of a log has all that a finding has; where the log leaves it open, the command that decides comes last."""
    decides = (cause.tell_apart,) if ambiguous and cause.tell_apart else ()
    return Finding(
        code=cause.code,
        cause=cause.cause,
        severity=cause.severity,
        message=cause.message,
        because=cause.because,
        remedies=(*cause.remedies, *decides),
        follows_from=cause.follows_from,
    )


def _ladder(rungs: tuple[Rung, ...]) -> Element:
    rows = []
    for rung in rungs:
        state = RUNGS[rung.status]
        name = element(
            "p", element("strong", rung.name), " ", element("span", look_up(rung.status), class_=f"state {state}")
        )
        cause = f" ({rung.cause})" if rung.cause else ""
        why = element(
            "p",
            *prose(rung.message),
            f"{cause} ",
            element("span", duration(rung.seconds) if rung.status != "skipped" else None, class_="source"),
            class_="why",
        )
        rows.append(element("li", sign(state), name, why))
    return element("ol", *rows, class_="links")


def _row(name: str, *cells: str) -> Element:
    return element("tr", element("th", name, scope="row"), *(element("td", cell) for cell in cells))


def _list(title: str, lines: tuple[str, ...]) -> Iterator[Element]:
    if lines:
        rows = [element("li", *prose(line)) for line in lines]
        yield element("section", element("h2", title), element("ul", *rows))


def _packages(plan: Plan) -> Iterator[Element]:
    if plan.packages:
        rows = []
        for pin in plan.packages:
            why = element("span", pin.because, class_="source")
            value = element(
                "td",
                say("{specifier} from {index}", specifier=pin.specifier or say("any"), index=pin.index),
                element("br"),
                why,
            )
            rows.append(element("tr", element("th", pin.name, scope="row"), value))
        yield element(
            "section",
            element("h2", say("Packages")),
            table((say("Package"), say("Version, from where, and why")), rows),
        )


def _rejected(plan: Plan) -> Iterator[Element]:
    groups = list(plan_table.rejections(plan))
    if groups:
        rows = [element("li", f"{builds}: {text}") for builds, text in groups]
        summary = element("summary", element("h2", say("Not chosen ({number} reasons)", number=len(groups))))
        yield element("section", element("details", summary, element("ul", *rows)))
