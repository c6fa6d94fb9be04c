"""Elements of HTML and SVG: a tree of the standard library, so that no text can ever become markup.

Every string is escaped where the tree is written; there is no way around it but ``style``, which holds envfix's own words.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, tostring

# Control characters, halves of characters, and those that turn the direction of writing: what is read must be what is copied.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
Child = Element | str | None


def plain(text: str) -> str:
    """The text with ``?`` for what is not meant to be read."""
    return _UNSAFE.sub("?", text)


def element(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element with its children, strings among them; ``class_`` and ``aria_label`` are written as HTML writes them."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, {name: plain(_number(value)) for name, value in names.items() if value is not None})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child:
            _append_text(made, plain(child))
    return made


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _append_text(parent: Element, text: str) -> None:
    """Text stands before the first child, or behind the last one."""
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def document(root: Element) -> str:
    """A whole page."""
    return f"<!doctype html>\n{tostring(root, encoding='unicode', method='html')}\n"
