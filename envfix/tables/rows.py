"""What the rows of all tables have in common: how sure they are, where from, and how a wrong one is reported."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from packaging.version import Version

from envfix.errors import TableError
from envfix.model.language import say

Confidence = Literal["verified", "partly_verified", "inferred"]
"""``verified``: read in the source; ``partly_verified``: in indirect sources; ``inferred``: follows from a rule."""

CONFIDENCES: tuple[Confidence, ...] = ("verified", "partly_verified", "inferred")
"""From the surest to the least sure."""

System = Literal["linux", "windows", "macos"]


class Form:
    """The form that a text in a table must have, as a pattern and in words; checked when a table is compiled."""

    def __init__(self, pattern: str, words: str) -> None:
        self.pattern = pattern
        self.words = words

    def allows(self, text: str) -> bool:
        """Whether the text has this form."""
        return re.fullmatch(self.pattern, text, re.ASCII) is not None


_ARCH = r"(x86_64|aarch64|s390x)"
_MANYLINUX = rf"manylinux(1|2010|2014|_\d+_\d+)_{_ARCH}"
_BOUND = r"(==|!=|<=|>=|<|>|~=)\d+[0-9a-z.]*(\.\*)?"
Day = Annotated[str, Form(r"20\d\d-[01]\d-[0-3]\d", "a day such as 2026-11-23")]
VersionText = Annotated[str, Form(r"\d+(\.\d+)+((a|b|rc)\d+)?", "a version such as 2.7.1")]
ReleaseText = Annotated[str, Form(r"\d+\.\d+\.\d+", "a release in three numbers such as 2.13.0")]
UrlText = Annotated[str, Form(r"https?://[^\s/]+(/\S*)?[^\s/]", "an address such as https://download.pytorch.org/whl")]
CudaText = Annotated[str, Form(r"\d{1,2}\.\d{1,2}(\.\d+)?", "a CUDA version such as 11.8")]
DriverText = Annotated[str, Form(r"\d{3}(\.\d{1,3}){0,2}", "a driver version such as 550.54.14")]
CapabilityText = Annotated[str, Form(r"\d{1,2}\.\d", "a compute capability such as 8.6")]
SmText = Annotated[str, Form(r"sm_\d{2,3}", "a binary target such as sm_86")]
PtxText = Annotated[str, Form(r"compute_\d{2,3}", "a portable target such as compute_86")]
PythonText = Annotated[str, Form(r"3\.\d{1,2}", "a Python version such as 3.11")]
PythonTag = Annotated[str, Form(r"cp3\d{1,2}t?|py3", "an interpreter tag such as cp311 or cp313t")]
TritonTag = Annotated[str, Form(r"cp3\d{1,2}t?|cp3\d{1,2}-abi3", "an interpreter tag such as cp311 or cp312-abi3")]
GlibcText = Annotated[str, Form(r"2\.\d{1,2}", "a glibc version such as 2.28")]
VariantText = Annotated[str, Form(r"cpu|cu\d{2,3}|rocm\d+(\.\d+)+|xpu", "a variant such as cpu or cu118")]
PlatformText = Annotated[
    str,
    Form(
        r"linux_(x86_64|aarch64|s390x)|win_(amd64|arm64)|macosx_(arm64|x86_64)",
        "a platform such as linux_x86_64",
    ),
]
TagText = Annotated[
    str,
    Form(
        rf"linux_{_ARCH}|{_MANYLINUX}(\.{_MANYLINUX})*|win_(amd64|arm64)|macosx_\d+_\d+_(arm64|x86_64)",
        "a platform tag such as manylinux_2_28_x86_64",
    ),
]
SpecifierText = Annotated[str, Form(rf"({_BOUND}(,{_BOUND})*)?", "a version specifier such as >=2.0,<3")]


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a table without a confidence of its own."""


class Row(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fact of a table: how sure it is, the ids of its sources joined by `` + ``, and a remark for people."""

    confidence: Confidence
    source: str
    note: str | None = None


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a table: the rows it happens in, from outside to inside, the key, and the fault in words."""

    rows: tuple[str, ...]
    key: str
    fault: str


class Source(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where facts were read, and when that was last looked at."""

    id: str
    checked: Day
    what: str


class TableFile(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every table starts with: the day of its last review and its sources."""

    reviewed: Day
    sources: tuple[Source, ...]

    def contradictions(self) -> Iterator[Problem]:
        """What its rows say against each other, where a table has rules of its own."""
        yield from ()


FileT = TypeVar("FileT", bound=TableFile)


@lru_cache(maxsize=512)
def version_of(text: str) -> Version:
    """The version that a table spells as text; each text is parsed once."""
    return Version(text)


def least(first: Confidence, second: Confidence) -> Confidence:
    """The less sure of two confidences."""
    return max(first, second, key=CONFIDENCES.index)


def system_of(platform: str) -> System:
    """The operating system of a platform: ``linux_x86_64`` is linux, ``win_amd64`` windows, ``macosx_arm64`` macos."""
    if platform.startswith("win"):
        return "windows"
    return "macos" if platform.startswith("macos") else "linux"


def decode(name: str, compiled: bytes, kind: type[FileT]) -> FileT:
    """The typed rows of a compiled table; raises ``TableError`` that names file, row and key of the first error."""
    try:
        return msgspec.json.decode(compiled, type=kind)
    except msgspec.ValidationError as error:
        where, problem = _explain(str(error), msgspec.json.decode(compiled))
        raise TableError(f"{name}.yaml{where}: {problem}", hint=_HINT) from error


_HINT = "correct the table, or leave ENVFIX_TABLES unset to use the tables that came with envfix"


def check_rows(name: str, file: TableFile) -> None:
    """Refuse what types cannot: a text of a wrong form, an unlisted source, a repeated row or word, rows that contradict.

    Raises ``TableError`` that names file, row and key.
    """
    known = {source.id for source in file.sources}
    for where, key, value, form in _texts(file, type(file), ()):
        if form is not None and not form.allows(value):
            raise _wrong(name, where, key, f"{value!r} is not {form.words}")
        if key == "source" and not known.issuperset(value.split(" + ")):
            raise _wrong(name, where, key, f"no source has the id {min(set(value.split(' + ')) - known)!r}")
    for where, key, value in (*_repeated(file), *_repeated_words(file, ())):
        raise _wrong(name, where, key, f"{value} is given twice")
    for problem in file.contradictions():
        raise wrong(name, problem)


def wrong(name: str, problem: Problem) -> TableError:
    """The error that says what is wrong with a table, by its file, row and key."""
    return _wrong(name, problem.rows, problem.key, problem.fault)


def _wrong(name: str, where: tuple[str, ...], key: str, problem: str) -> TableError:
    return TableError(
        say("{value}, key {key!r}: {problem}", value=", ".join((f"{name}.yaml", *where)), key=key, problem=problem),
        hint=_HINT,
    )


@lru_cache(maxsize=128)
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(kind)


_Found = tuple[tuple[str, ...], str, str, "Form | None"]


def _texts(value: Any, hint: Any, where: tuple[str, ...], key: str = "") -> Iterator[_Found]:
    """Every text of a table with the row and key it stands at and the form its column asks for."""
    if isinstance(value, str):
        yield where, key, value, next((form for form in _forms(hint)), None)
    elif isinstance(value, msgspec.Struct):
        for field in _fields(type(value)):
            yield from _texts(getattr(value, field.name), field.type, where, field.encode_name)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _texts(name, get_args(hint)[0], where, key)
            yield from _texts(inner, get_args(hint)[1], where, name)
    elif isinstance(value, tuple):
        for number, inner in enumerate(value, start=1):
            row = (*where, row_name(key, number, inner)) if isinstance(inner, msgspec.Struct) else where
            yield from _texts(inner, get_args(hint)[0], row, key)


def _forms(hint: Any) -> Iterator[Form]:
    """The form in an annotation, also inside an optional one."""
    for part in (hint, *get_args(hint)):
        yield from (mark for mark in getattr(part, "__metadata__", ()) if isinstance(mark, Form))


_IDENTITIES = ("id", "name", "version", "branch", "capability")


def _repeated(table: msgspec.Struct, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Rows whose first column is a name that an earlier row of the same list has."""
    for field in _fields(type(table)):
        rows = getattr(table, field.name)
        seen: set[str] = set()
        for number, row in enumerate(rows if isinstance(rows, tuple) else (), start=1):
            if isinstance(row, msgspec.Struct):
                place = (*where, row_name(field.encode_name, number, row))
                key, value = next(iter(_pairs(row)))
                if key in _IDENTITIES and value in seen:
                    yield place, key, value
                seen.add(value)
                yield from _repeated(row, place)


def _pairs(row: Any) -> Iterator[tuple[str, str]]:
    """Keys and values of a row that are text or numbers, facts before what is said about them."""
    if isinstance(row, msgspec.Struct):
        for field in sorted(_fields(type(row)), key=lambda field: field.name in _ABOUT):
            if isinstance(getattr(row, field.name), str | int):
                yield field.encode_name, str(getattr(row, field.name))
    elif isinstance(row, dict):
        yield from ((str(key), str(value)) for key, value in row.items() if isinstance(value, str | int))


_ABOUT = ("confidence", "source", "note")
_MOST_WORDS = 3


def row_name(key: str, number: int, row: Any) -> str:
    """A row for people: its place in its list, and what it is about: ``row 2 of builds (1.7.0 cu101 linux_x86_64)``."""
    label = _label(row)
    return f"row {number} of {key}" + (f" ({label})" if label else "")


def _label(row: Any) -> str:
    """The facts that tell a row from its neighbours: its name, its first text, or the first entries of its lists."""
    facts = _facts(row)
    name = next((facts[key] for key in _IDENTITIES if isinstance(facts.get(key), str | int)), None)
    if name is not None:
        return str(name)
    words: list[str] = []
    for value in facts.values():
        if isinstance(value, str | int):
            return " ".join((*words, str(value)))
        if isinstance(value, list | tuple) and value and isinstance(value[0], str):
            words.append(value[0])
    return " ".join(words[:_MOST_WORDS])


def _facts(row: Any) -> dict[str, Any]:
    """The columns of a row that hold something, without what is said about it."""
    if isinstance(row, msgspec.Struct):
        row = {field.encode_name: getattr(row, field.name) for field in _fields(type(row))}
    return {key: value for key, value in row.items() if key not in _ABOUT and value not in (None, "", (), [])}


def _repeated_words(value: Any, where: tuple[str, ...], key: str = "") -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Words that one list of a row names twice."""
    if isinstance(value, msgspec.Struct):
        for field in _fields(type(value)):
            yield from _repeated_words(getattr(value, field.name), where, field.encode_name)
    elif isinstance(value, tuple):
        seen: set[str] = set()
        for number, inner in enumerate(value, start=1):
            if isinstance(inner, msgspec.Struct):
                yield from _repeated_words(inner, (*where, row_name(key, number, inner)), key)
            elif isinstance(inner, str) and inner in seen:
                yield where, key, inner
            elif isinstance(inner, str):
                seen.add(inner)


_AT = re.compile(r" - at `(?:key in )?(?P<path>\$[^`]*)`$")
_STEP = re.compile(r"\.(?P<key>\w+)|\[(?P<number>\d+)\]|\[\.\.\.\]")
_FIELD = re.compile(r"field `(?P<field>[^`]+)`")


def _explain(message: str, data: Any) -> tuple[str, str]:
    """Where a validation error is, in the words of a person who edits the file, and what is wrong there."""
    at = _AT.search(message)
    problem = message[: at.start()] if at else message
    names, key, value = _follow(at["path"] if at else "$", data)
    field = _FIELD.search(problem)
    if field:
        key = field["field"]
        problem = "is missing" if "missing" in problem else "is not a key of this row"
    else:
        problem = _in_plain_words(problem, value)
    where = "".join(f", {name}" for name in names) + (f", key {key!r}" if key else "")
    return where, problem


def _follow(path: str, data: Any) -> tuple[list[str], str, Any]:
    names: list[str] = []
    key = ""
    value = data
    for step in _STEP.finditer(path):
        if step["key"]:
            key = step["key"]
            value = value.get(key) if isinstance(value, dict) else None
        elif step["number"] and isinstance(value, list):
            value = value[int(step["number"])]
            if isinstance(value, dict):
                names.append(row_name(key, int(step["number"]) + 1, value))
                key = ""
    return names, key, value


def _in_plain_words(problem: str, value: Any) -> str:
    shown = f"{value!r} " if isinstance(value, str | int) else ""
    if problem.startswith("Invalid enum value"):
        return f"{shown}is not one of the allowed words"
    return f"{shown}is of the wrong kind: {problem[0].lower()}{problem[1:]}".replace("`", "")
