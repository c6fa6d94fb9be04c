"""All nodes as one page: a row a state, a column a link of the stack, then what differs, what mends it, who was not reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

from envfix._version import __version__
from envfix.model.finding import Severity
from envfix.model.fleet import Difference, Explains, FleetReport, Group, SharedFleet, Unreached
from envfix.model.language import later, look_up, say
from envfix.model.reasons import spoken
from envfix.model.stack import Link
from envfix.render import fleet_table
from envfix.render.elements import Child, element
from envfix.render.html import TITLES, cause, folded, footer, page, prose, reasons, table, where
from envfix.render.report_parts import VERDICTS, chains
from envfix.render.stack_picture import NAMES, WORDS, sign

NODES_KEPT = later("Names of nodes were kept where a list or a heading names them: they are the answer.")
# What there is room for to be read.
GROUPS_SHOWN, ROWS_SHOWN = 40, 20
# Names that are written in small letters everywhere.
NAMES_OF = {"torch": "torch", "torchvision": "torchvision"}
# A comma within brackets, after which no blank stands.
_COMMA = re.compile(r"(?<=,)(?=\S)")


def fleet_page(shared: SharedFleet) -> str:
    """One self-contained page."""
    report = shared.report
    header = element(
        "header",
        element("p", f"envfix {__version__}, {shared.made}", class_="brand"),
        element("h1", sign(VERDICTS[report.verdict]), look_up(TITLES[report.verdict])),
        element("p", say("{sentence}.", sentence=fleet_table.headline(report)), class_="lead"),
        element("p", fleet_table.counts(report), class_="muted"),
    )
    shown = fleet_table.worst(report.groups, GROUPS_SHOWN)
    stacks = [(report.groups[number], shared.stacks[number]) for number in shown]
    left = len(report.groups) - len(stacks)
    first = _places(stacks)
    sections = [
        *(_matrix(stacks, left) if stacks else ()),
        *(_causes(report, first) if left else ()),
        *_differences(report, first),
        *(_group(number, group, links) for number, (group, links) in enumerate(stacks, start=1)),
        *_unreached(report.unreached),
        *_notes(report.notes),
    ]
    return page(
        say("envfix fleet: {verdict}", verdict=look_up(report.verdict)),
        header,
        element("main", *sections),
        footer(NODES_KEPT),
    )


def _places(stacks: list[tuple[Group, tuple[Link, ...]]]) -> dict[str, int]:
    """The number of the first group with a finding, by code."""
    first: dict[str, int] = {}
    for number, (group, _) in enumerate(stacks, start=1):
        for finding in group.findings:
            first.setdefault(finding.code, number)
    return first


def _place(number: int) -> str:
    """What the names of a group's findings begin with: the same finding may be in several groups."""
    return f"g{number}-"


def _matrix(stacks: list[tuple[Group, tuple[Link, ...]]], left: int) -> Iterator[Element]:
    """Nodes down, the stack across; as many states are left out."""
    head = element("tr", *(element("th", name, scope="col") for name in (say("Nodes"), *map(look_up, NAMES.values()))))
    rows = [
        element("tr", _nodes(number, group), *(_cell(link, _place(number)) for link in links))
        for number, (group, links) in enumerate(stacks, start=1)
    ]
    words = say("A row for nodes in the same state, a column for each link of the stack, from the card up.")
    caption = element("caption", element("span", words))
    grid = element("table", caption, element("thead", head), element("tbody", *rows), class_="matrix")
    # A part that scrolls is reached by the keyboard as well.
    box = element("div", grid, class_="scroll", role="region", aria_label=say("The nodes and their stacks"), tabindex=0)
    more = element("p", say("... and {number} more states; --json has all", number=left), class_="muted")
    yield element("section", element("h2", say("The nodes and their stacks")), box, more if left else None)


def _causes(report: FleetReport, first: Mapping[str, int]) -> Iterator[Element]:
    """Each with all its nodes: that of a state which is not shown is told at least."""
    rows = [
        element(
            "tr",
            element("th", *_code(one.code, first), f" {one.cause}", scope="row"),
            element("td", *_names(fleet_table.nodes(one.nodes, one.count))),
        )
        for one in report.causes
    ]
    made = table((say("Cause"), say("Nodes")), rows)
    made.set("class", "values")
    yield element("section", element("h2", say("All causes")), made)


def _code(code: str, first: Mapping[str, int]) -> Iterator[Child]:
    """A link to the finding, where it is on this page."""
    yield element("a", code, href=f"#{_place(first[code])}{code}") if code in first else code


def _nodes(number: int, group: Group) -> Element:
    state = VERDICTS[group.verdict]
    return element(
        "th",
        element("p", element("a", *_names(fleet_table.nodes(group.name, len(group.nodes))), href=f"#g{number}")),
        element("p", sign(state), look_up(group.verdict), class_=f"state {state}"),
        scope="row",
    )


def _names(folded: str) -> Iterator[Child]:
    """``gpu[1,3,12]``: a line ends at a comma, not within a number."""
    first, *others = _COMMA.split(folded)
    yield first
    for one in others:
        yield element("wbr")
        yield one


def _cell(link: Link, place: str) -> Element:
    value = link.value.removeprefix("CUDA ") if link.part == "cuda" else link.value.replace("NVIDIA ", "")
    return element(
        "td",
        element("p", sign(link.state), look_up(WORDS[link.state]), class_=f"state {link.state}"),
        element("p", value) if value else None,
        element("p", *where(link, place)) if link.code else None,
    )


def _differences(report: FleetReport, first: Mapping[str, int]) -> Iterator[Element]:
    """Those that matter in full; the others folded."""
    if not report.differences:
        return
    matter = [_that_matters(one, first) for one in report.differences if one.matters]
    others = [_other(one) for one in report.differences if not one.matters]
    none = [] if matter else [element("p", say("No finding rests on what differs."))]
    yield element("section", element("h2", say("What differs")), *matter, *none, *others)


def _that_matters(difference: Difference, first: Mapping[str, int]) -> Element:
    head = element(
        "h3", sign("broken"), element("span", say("{link}: this difference matters", link=look_up(difference.link)))
    )
    lines = [element("p", "→ ", *_explains(one, first)) for one in difference.explains]
    return element("article", head, *lines, _values(difference), class_="finding broken")


def _explains(one: Explains, first: Mapping[str, int]) -> Iterator[Child]:
    """The finding that rests on it, and where it is."""
    yield from _code(one.code, first)
    yield from _names(say(" {cause} on {names}", cause=one.cause, names=fleet_table.names(one.nodes)))


def _other(difference: Difference) -> Element:
    words = say(
        "{link}: {number} values, no finding rests on it", link=look_up(difference.link), number=len(difference.values)
    )
    return element("details", element("summary", words), _values(difference))


def _values(difference: Difference) -> Element:
    rows = [(fleet_table.said(value.value), fleet_table.nodes(value.nodes, value.count)) for value in difference.values]
    return _pairs((NAMES_OF.get(difference.link) or look_up(difference.link).capitalize(), say("Nodes")), rows)


def _pairs(names: tuple[str, str], rows: list[tuple[str, str]]) -> Element:
    """Two columns, each with as much room as the other; the first rows of them."""
    lines = [
        element("tr", element("th", *_names(one), scope="row"), element("td", *_names(other)))
        for one, other in rows[:ROWS_SHOWN]
    ]
    if len(rows) > ROWS_SHOWN:
        words = say("... and {number} more; --json has all", number=len(rows) - ROWS_SHOWN)
        lines.append(element("tr", element("td", words, colspan=2, class_="muted")))
    made = table(names, lines)
    made.set("class", "values")
    return made


def _group(number: int, group: Group, links: tuple[Link, ...]) -> Element:
    """What is wrong on these nodes, what is good to know, and each link with its reason."""
    place = _place(number)
    wrong = [chain for chain in chains(group.findings) if chain.root.severity != Severity.INFO]
    known = [chain.root for chain in chains(group.findings) if chain.root.severity == Severity.INFO]
    nodes = fleet_table.nodes(group.name, len(group.nodes))
    parts = [element("p", fleet_table.stack(group), class_="muted")]
    if len(group.nodes) > 1:
        parts.append(
            element("p", say("Sentences and numbers are those of {shown}.", shown=group.shown), class_="source")
        )
    if not wrong:
        parts.append(element("p", say("Nothing wrong was found.")))
    parts += [cause(chain, place) for chain in wrong]
    parts += [folded(finding, place) for finding in known]
    parts.append(element("details", element("summary", say("Each link with its reason")), reasons(links, place)))
    head = element("h2", sign(VERDICTS[group.verdict]), element("span", *_names(f"{nodes}: {look_up(group.verdict)}")))
    return element("section", head, *parts, class_="group", id=f"g{number}")


def _unreached(rows: tuple[Unreached, ...]) -> Iterator[Element]:
    if rows:
        told = [(fleet_table.nodes(row.nodes, row.count), spoken(row.reason)) for row in rows]
        yield element("section", element("h2", say("Not reached")), _pairs((say("Nodes"), say("Why")), told))


def _notes(notes: tuple[str, ...]) -> Iterator[Element]:
    if notes:
        lines = [element("li", *prose(note)) for note in notes]
        yield element("section", element("h2", say("Good to know")), element("ul", *lines))
