"""The stack as a picture: six boxes joined by arrows, from left to right, or from top to bottom where the window is narrow."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from envfix.model.language import later, look_up, say
from envfix.model.stack import Link, Part, State
from envfix.render.elements import element

NAMES: dict[Part, str] = {
    "card": later("Card"),
    "driver": later("Driver"),
    "cuda": later("CUDA runtime"),
    "torch": "torch",
    "torchvision": "torchvision",
    "ultralytics": "ultralytics",
}
WORDS: dict[State, str] = {
    "ok": later("fine"),
    "doubtful": later("doubtful"),
    "broken": later("broken"),
    "unknown": later("not known"),
    "absent": later("not there"),
}
# Signs are drawn, so that they need no font.
_MARKS: dict[State, str] = {
    "ok": "M5.5 10.5 9 14 14.5 7",
    "doubtful": "M10 4.8V11",
    "broken": "M6.5 6.5 13.5 13.5M13.5 6.5 6.5 13.5",
    "unknown": "M7.2 7.6C7.4 3.9 12.8 4.1 12.8 7.4 12.8 9.6 10 9.5 10 11.8",
    "absent": "M6 10H14",
}
_DOTTED = ("doubtful", "unknown")


def sign(state: State, **place: str | float) -> Element:
    """A disc with the sign of a state; the word beside it says the same."""
    marks = [element("path", d=_MARKS[state], class_="mark")]
    if state in _DOTTED:
        marks.append(element("circle", cx=10, cy=14.8, r=1.4, class_="dot"))
    disc = element("circle", cx=10, cy=10, r=10, class_="disc")
    return element("svg", disc, *marks, class_=f"sign {state}", viewBox="0 0 20 20", aria_hidden="true", **place)


def in_words(links: Sequence[Link]) -> str:
    """The whole picture in one sentence, for those who do not see it."""
    said = (f"{look_up(NAMES[link.part])} {link.value}".strip() + f": {look_up(WORDS[link.state])}" for link in links)
    return say("{sentence}.", sentence="; ".join(said))


def wide(links: Sequence[Link]) -> Element:
    """From left to right."""
    width, gap, height = 146.0, 24.8, 104.0
    drawn: list[Element] = []
    for number, link in enumerate(links):
        x = 1 + number * (width + gap)
        if number:
            drawn.extend(_arrow(x - gap + 2, 53, x - 3, 53, link))
        lines = _lines(link, 17)
        drawn.append(
            element(
                "g",
                element("rect", x=x, y=1, width=width, height=height, rx=10, class_="box"),
                sign(link.state, x=x + 10, y=11, width=18, height=18),
                element("text", look_up(NAMES[link.part]), x=x + 34, y=25, font_size=13, class_="name"),
                *(element("text", line, x=x + 11, y=49 + 17 * row, font_size=13) for row, line in enumerate(lines)),
                element("text", look_up(WORDS[link.state]), x=x + 11, y=93, font_size=13, class_="word"),
                class_=link.state,
            )
        )
    return _picture(drawn, links, "wide", 6 * width + 5 * gap + 2, height + 2)


def tall(links: Sequence[Link]) -> Element:
    """From top to bottom."""
    width, gap, height = 318.0, 20.0, 52.0
    drawn: list[Element] = []
    for number, link in enumerate(links):
        y = 1 + number * (height + gap)
        if number:
            drawn.extend(_arrow(24, y - gap + 2, 24, y - 3, link))
        lines = _lines(link, 36, rows=1)
        drawn.append(
            element(
                "g",
                element("rect", x=1, y=y, width=width, height=height, rx=10, class_="box"),
                sign(link.state, x=13, y=y + 15, width=22, height=22),
                element("text", look_up(NAMES[link.part]), x=48, y=y + 22, font_size=15, class_="name"),
                element(
                    "text",
                    look_up(WORDS[link.state]),
                    x=width - 11,
                    y=y + 22,
                    font_size=14,
                    text_anchor="end",
                    class_="word",
                ),
                *(element("text", line, x=48, y=y + 41, font_size=14) for line in lines),
                class_=link.state,
            )
        )
    return _picture(drawn, links, "tall", width + 2, 6 * height + 5 * gap + 2)


def _picture(drawn: Sequence[Element], links: Sequence[Link], name: str, width: float, height: float) -> Element:
    title, description = f"stack-{name}-title", f"stack-{name}-words"
    return element(
        "svg",
        element("title", say("The stack, from the card to ultralytics"), id=title),
        element("desc", in_words(links), id=description),
        *drawn,
        class_=f"picture {name}",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_labelledby=f"{title} {description}",
    )


def _arrow(x1: float, y1: float, x2: float, y2: float, link: Link) -> Iterator[Element]:
    """To the next link; a whole line only where that one holds."""
    gap = "" if link.state == "ok" else " gap"
    across = x2 > x1
    end_x, end_y = (x2 - 5, y2) if across else (x2, y2 - 5)
    yield element("path", d=f"M{x1:g} {y1:g}L{end_x:g} {end_y:g}", class_=f"arrow{gap}")
    head = f"M{x2:g} {y2:g}l-7-4.5v9z" if across else f"M{x2:g} {y2:g}l-4.5-7h9z"
    yield element("path", d=head, class_="head")


def _lines(link: Link, width: int, rows: int = 2) -> list[str]:
    """What is there, in as many lines as there is room for."""
    text = (link.value or "—").replace("NVIDIA ", "")
    return textwrap.wrap(text, width, max_lines=rows, placeholder=" …")
