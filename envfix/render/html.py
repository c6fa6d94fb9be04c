"""A diagnosis as one HTML file: no scripts, nothing from elsewhere, both themes, every text escaped.

A tree of elements instead of templates: with three kinds of sections a template language would be one more dependency, and
here nothing can be forgotten to be escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.gpu_use import CardUse, GpuUse
from envfix.model.language import later, look_up, retold, say, web_tag
from envfix.model.stack import Link, SharedReport
from envfix.render import facts_table, gpu_table
from envfix.render.console import VERDICTS as VERDICT_WORDS
from envfix.render.elements import Child, document, element
from envfix.render.html_style import css
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
from envfix.render.stack_picture import NAMES, WORDS, sign, tall, wide
from envfix.render.words import command_line

# A bar of memory is this wide in its own units.
BAR = 1000.0
TITLES = {"healthy": later("Healthy"), "degraded": later("Degraded"), "broken": later("Broken")}


class HtmlReport:
    """One self-contained page (implements ``ReportFormat``)."""

    def diagnosis(self, shared: SharedReport) -> str:
        """The verdict, the stack, what is wrong and how to mend it, memory, and every fact with its source."""
        report = shared.report
        verdict = report.diagnosis.verdict
        sections = [_stack(shared.links), *findings(chains(report.diagnosis.findings))]
        if report.afterwards is not None:
            lines = [element("li", *prose(line)) for line in afterwards_lines(report.afterwards)]
            title = element("h2", afterwards_title(report.afterwards))
            sections.append(element("section", title, element("ul", *lines)))
        sections += [*_memory(shared.use), _facts(shared), *_not_judged(shared)]
        header = element(
            "header",
            element("p", made_by(shared), class_="brand"),
            element("h1", sign(VERDICTS[verdict]), look_up(TITLES[verdict])),
            element("p", look_up(VERDICT_WORDS[verdict][0]), class_="lead"),
            element("p", machine_line(report), class_="muted"),
        )
        return page(f"envfix: {look_up(verdict)}", header, element("main", *sections), footer())


def page(title: str, *body: Element) -> str:
    """The whole file: policy, style, then what is shown."""
    style = css()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", style),
    )
    return document(_each_once(element("html", head, element("body", *body), lang=web_tag())))


def _each_once(root: Element) -> Element:
    """Of findings with the same code the first one is where links lead."""
    seen: set[str] = set()
    for one in root.iter():
        if one.get("id") in seen:
            del one.attrib["id"]
        seen.add(one.get("id", ""))
    return root


def footer(*more: str) -> Element:
    """What was taken out."""
    return element("footer", *(element("p", *prose(look_up(line))) for line in (STAND_INS, *more)))


def _stack(links: tuple[Link, ...]) -> Element:
    """The picture, then each link with its reason."""
    return element("section", element("h2", say("The stack")), wide(links), tall(links), reasons(links))


def reasons(links: tuple[Link, ...], place: str = "") -> Element:
    """Each link with its reason; ``place`` begins the names of the findings of these links, where there are several stacks."""
    rows = [
        element(
            "li",
            sign(link.state),
            element(
                "p",
                element("strong", f"{look_up(NAMES[link.part])} {_short(link)}".strip()),
                " ",
                element("span", look_up(WORDS[link.state]), class_=f"state {link.state}"),
            ),
            element("p", *prose(link.reason), *where(link, place), class_="why"),
        )
        for link in links
    ]
    return element("ol", *rows, class_="links")


def _short(link: Link) -> str:
    """What is there, without the part's own name again."""
    return link.value.removeprefix("CUDA ") if link.part == "cuda" else link.value


def where(link: Link, place: str = "") -> Iterator[Child]:
    """A way to the finding that says so."""
    if link.code:
        yield " "
        yield element("a", link.code, href=f"#{place}{link.code}")


def findings(found: tuple[Chain, ...]) -> Iterator[Element]:
    """What is wrong, the root first and its consequences folded below it; then what is only good to know."""
    wrong = [chain for chain in found if chain.root.severity != Severity.INFO]
    known = [chain.root for chain in found if chain.root.severity == Severity.INFO]
    if wrong:
        hint = element("p", say("One click on a command selects all of it."), class_="source")
        yield element("section", element("h2", say("What is wrong")), *map(cause, wrong), hint)
    if known:
        yield element("section", element("h2", say("Good to know")), *map(folded, known))


def prose(text: str) -> Iterator[Child]:
    """A sentence in which `words like this` are set as code."""
    for piece, code in spoken(text):
        yield element("code", piece) if code else piece


def cause(chain: Chain, place: str = "") -> Element:
    """A root cause with what mends it and what follows from it."""
    state = SEVERITIES[chain.root.severity]
    head = element("h3", sign(state), element("span", *prose(chain.root.message)))
    symptoms = [folded(finding, place) for finding in chain.symptoms]
    after = [element("p", element("strong", say("From this follows:"))), *symptoms] if symptoms else []
    parts = [head, _meta(chain.root), *_body(chain.root), *after]
    return element("article", *parts, class_=f"finding {state}", id=f"{place}{chain.root.code}")


def folded(finding: Finding, place: str = "") -> Element:
    """A finding of which only the sentence is seen at first."""
    summary = element("summary", *prose(finding.message))
    return element("details", summary, _meta(finding), *_body(finding), id=f"{place}{finding.code}")


def _meta(finding: Finding) -> Element:
    return element("p", f"{look_up(finding.severity.value)} · {finding.code} · {finding.cause}", class_="source")


def _body(finding: Finding) -> Iterator[Element]:
    if finding.because:
        rows = [
            element("li", one.value, " ", element("span", f"[{retold(one.source)}]", class_="source"))
            for one in finding.because
        ]
        yield element("ul", *rows, class_="because")
    yield from map(_remedy, finding.remedies)


def _remedy(remedy: Remedy) -> Element:
    commands = [element("pre", element("code", command_line(argv)), tabindex=0) for argv in remedy.commands]
    return element("div", element("p", element("strong", "→ "), *prose(remedy.text)), *commands, class_="remedy")


def _memory(use: GpuUse) -> Iterator[Element]:
    if use.cards:
        legend = [
            element("li", _swatch(kind), look_up(name)) for kind, name in zip(KINDS, gpu_table.NAMES, strict=True)
        ]
        cards = [_card(one) for one in use.cards]
        yield element("section", element("h2", say("GPU memory")), element("ul", *legend, class_="key"), *cards)


# Others, yours, the driver's own and free, told apart by their hatching as well; each with the distance of its lines.
KINDS = ("others", "yours", "own", "free")
_HATCH = {"yours": 14.0, "own": 6.0}


def _swatch(kind: str) -> Element:
    return element("svg", *_part(kind, 0, 32, 18), viewBox="0 0 32 18", aria_hidden="true")


def _part(kind: str, x: float, width: float, height: float) -> Iterator[Element]:
    """One part of a bar."""
    yield element("rect", x=x, y=0, width=width, height=height, class_="ground" if kind == "free" else kind)
    step = _HATCH.get(kind)
    if step:
        for number in range(1, int(width / step) + 1):
            at = x + number * step
            yield element("path", d=f"M{at:g} 0L{max(x, at - height):g} {height:g}", class_="hatch")


def _card(use: CardUse) -> Element:
    words = gpu_table.numbers(use)
    head = element("h3", f"GPU {use.card.index} {use.card.name}")
    parts = [head, element("p", words)]
    total = use.card.memory_total
    if total and use.others is not None and use.yours is not None and use.own is not None:
        parts.insert(1, _bar(use.others, use.yours, use.own, total, f"GPU {use.card.index}: {words}"))
    if use.obstacle:
        parts.append(element("p", say("Not usable from there: {obstacle}.", obstacle=use.obstacle)))
    if use.card.processes:
        parts.append(_processes(use))
    return element("div", *parts, class_="card")


def _bar(others: int, yours: int, own: int, total: int, words: str) -> Element:
    drawn: list[Child] = [element("title", words)]
    drawn.extend(_part("free", 0, BAR, 22))
    at = 0.0
    for kind, amount in zip(KINDS, (others, yours, own), strict=False):
        width = min(BAR * amount / total, BAR - at)
        if width > 0:
            drawn.extend(_part(kind, at, width, 22))
        at += width
    shape = {"viewBox": f"0 0 {BAR:g} 22", "preserveAspectRatio": "none"}
    return element("svg", *drawn, class_="bar", role="img", aria_label=words, **shape)


def _processes(use: CardUse) -> Element:
    rows = [
        element("tr", element("th", memory, scope="row"), element("td", who), element("td", command))
        for memory, who, command in gpu_table.process_rows(use)
    ]
    return table((say("Memory"), say("Whose"), say("Program")), rows)


def table(names: tuple[str, ...], rows: list[Element]) -> Element:
    """A table with its headings."""
    head = element("thead", element("tr", *(element("th", name, scope="col") for name in names)))
    return element("table", head, element("tbody", *rows))


def _facts(shared: SharedReport) -> Element:
    rows = [
        element(
            "tr",
            element("th", look_up(name), scope="row"),
            element("td", value, *([element("br"), element("span", source, class_="source")] if source else [])),
        )
        for name, value, source in facts_table.rows(shared.report, verbose=True)
    ]
    summary = element("summary", element("h2", say("All facts with their sources")))
    return element("section", element("details", summary, table((say("Fact"), say("What was found, and where")), rows)))


def _not_judged(shared: SharedReport) -> Iterator[Element]:
    skipped = shared.report.diagnosis.skipped
    if skipped:
        rows = [element("tr", element("th", one.code, scope="row"), element("td", one.reason)) for one in skipped]
        summary = element("summary", element("h2", say("Not judged ({number})", number=len(skipped))))
        yield element("section", element("details", summary, table((say("Cause"), say("Why not")), rows)))
