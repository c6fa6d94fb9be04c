"""Turns a hand-written YAML table into the compiled JSON that is read at every start.

Imports nothing of envfix and, besides the standard library, only PyYAML: the build of the wheel uses this module too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

NAMES = (
    "architectures",
    "companions",
    "conda",
    "drivers",
    "gpus",
    "host_compilers",
    "indexes",
    "ultralytics",
    "wheels",
)
"""Every table, by the name of its file without ``.yaml``."""

# Versions are text: 2.10 must not become the number 2.1, nor a day a date. Only these plain words mean something else.
_PLAIN = (
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), "tf"),
    ("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""]),
    ("tag:yaml.org,2002:int", re.compile(r"^[0-9]+$"), "0123456789"),
)


class SourceError(ValueError):
    """A table is not readable YAML; ``row`` is the line it happens on, counted from 1, and ``key`` the key, if any."""

    def __init__(self, problem: str, *, row: int | None = None, key: str | None = None) -> None:
        super().__init__(problem)
        self.row = row
        self.key = key


def compile_table(source: bytes) -> bytes:
    """The JSON of one table; raises ``SourceError`` on broken YAML, a key given twice, or text that is not UTF-8."""
    return json.dumps(parse_table(source), ensure_ascii=False, separators=(",", ":")).encode()


def parse_table(source: bytes) -> dict[str, Any]:
    """The plain data of one table, every version still text; raises ``SourceError``."""
    import yaml

    try:
        data = yaml.load(_decode(source), Loader=_loader())  # noqa: S506 - the loader is a safe one
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SourceError(f"broken YAML: {error.problem}", row=mark.line + 1 if mark else None) from error
    except yaml.YAMLError as error:
        raise SourceError(f"broken YAML: {error}") from error
    if not isinstance(data, dict):
        raise SourceError("a table is a mapping of names to rows")
    return data


def _decode(source: bytes) -> str:
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = source.count(b"\n", 0, error.start) + 1
        raise SourceError("the file is not UTF-8", row=line) from error


@lru_cache(maxsize=1)
def _loader() -> Any:
    """The safe loader, in C where PyYAML has it, with versions left as text and repeated keys refused."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """A safe loader of tables."""

        yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name

    for tag, pattern, first in _PLAIN:
        Loader.add_implicit_resolver(tag, pattern, list(first))
    construct: Callable[[Any, Any], Any] = _construct_mapping
    Loader.add_constructor("tag:yaml.org,2002:map", construct)
    return Loader


def _construct_mapping(loader: Any, node: Any) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise SourceError(f"the key {key!r} is not text", row=key_node.start_mark.line + 1, key=str(key))
        if key in pairs:
            raise SourceError(f"the key {key!r} is given twice", row=key_node.start_mark.line + 1, key=key)
        pairs[key] = loader.construct_object(value_node, deep=True)
    return pairs
