"""YAML with line numbers: read part by part, without anchors and without depth; and written as everybody reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envfix.lockers.conda_family import clean
from envfix.lockers.interface import ANEW, LockFileError
from envfix.model.language import say

DEPTH = 40


class Part:
    """A piece of YAML with the line it begins on: text, a list of parts, or parts by their names."""

    def __init__(self, value: str | list[Part] | dict[str, Part], line: int) -> None:
        self.value = value
        self.line = line

    def text(self, what: str) -> str:
        """Its text. Raises ``LockFileError`` where it is something else; ``what`` names it."""
        if not isinstance(self.value, str):
            raise LockFileError(say("{what} must be text", what=what), line=self.line, hint=ANEW)
        return self.value

    def rows(self, what: str) -> list[Part]:
        """The parts of a list; nothing at all is an empty one."""
        if self.value in ("", "null", "~"):
            return []
        if not isinstance(self.value, list):
            raise LockFileError(say("{what} must be a list", what=what), line=self.line, hint=ANEW)
        return self.value

    def fields(self, what: str) -> dict[str, Part]:
        """The parts by their names."""
        if not isinstance(self.value, dict):
            raise LockFileError(say("{what} must be names with values", what=what), line=self.line, hint=ANEW)
        return self.value


def read_yaml(text: str) -> Part:
    """A YAML document whose values are all text. Raises ``LockFileError`` with the line of what is wrong."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    building = _Building()
    try:
        for event in yaml.parse(text, Loader=loader):
            building.take(event)
    except UnicodeEncodeError as error:
        at = text[: error.start].count("\n") + 1
        raise LockFileError(say("it is no text in UTF-8"), line=at, hint=ANEW) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = mark.line + 1 if mark is not None else text[: getattr(error, "position", 0)].count("\n") + 1
        raise LockFileError(
            say("it is not readable as YAML: {clean}; is the file cut off?", clean=clean(str(problem))),
            line=line,
            hint=ANEW,
        ) from error
    if building.root is None or building.root.value == "":
        raise LockFileError(say("there is nothing in it"), line=1, hint=ANEW)
    return building.root


class _Building:
    """Puts parts together from YAML's events, without recursion: a hostile file costs no more than its length."""

    def __init__(self) -> None:
        self.root: Part | None = None
        self._open: list[tuple[Part, str | None]] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """One event of YAML's parser."""
        import yaml

        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise LockFileError(
                    say("a second document begins here, and a lock is a single one"), line=line, hint=ANEW
                )
        elif isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise LockFileError(say("it uses anchors (& and *), which envfix does not follow"), line=line, hint=ANEW)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(Part(event.value, line))
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            part = Part([] if isinstance(event, yaml.SequenceStartEvent) else {}, line)
            self._add(part)
            if len(self._open) >= DEPTH:
                raise LockFileError(say("it is nested too deeply for a lock"), line=line, hint=ANEW)
            self._open.append((part, None))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            self._open.pop()

    def _add(self, part: Part) -> None:
        if not self._open:
            self.root = part
            return
        parent, key = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(part)
        elif isinstance(parent.value, dict):
            if key is None:
                name = part.text("a name")
                if name in parent.value:
                    raise LockFileError(say("{clean!r} is said twice", clean=clean(name)), line=part.line, hint=ANEW)
                self._open[-1] = (parent, name)
            else:
                parent.value[key] = part
                self._open[-1] = (parent, None)


def required(fields: Mapping[str, Part], key: str, line: int) -> Part:
    """The part of this name. Raises ``LockFileError`` where it is missing."""
    if key not in fields:
        raise LockFileError(say("{key!r} is missing; is the file cut off?", key=key), line=line, hint=ANEW)
    return fields[key]


def as_yaml(document: Mapping[str, Any]) -> str:
    """YAML as pixi and conda-lock lay it out themselves, in the order given."""
    import yaml

    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=2**20, default_flow_style=False))
