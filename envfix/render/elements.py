"""Elements of HTML and SVG: a tree of the standard library, so that no text can ever become markup.

Every string is escaped where the tree is written; there is no way around it but ``style``, which holds envfix's own words.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, tostring

from envfix.model.words import readable

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element with its children, strings among them; ``class_`` and ``aria_label`` are written as HTML writes them."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    made = Element(tag, {name: readable(_number(value)) for name, value in names.items() if value is not None})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child:
            _append_text(made, readable(child))
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
