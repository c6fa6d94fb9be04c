"""The indexes a plan may take torch from: the part each plays, whether it can be used now, what it was seen to hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec
from packaging.version import Version

from envfix.model.facts import IndexState
from envfix.model.language import later, look_up, retold, say
from envfix.model.plan import OFFICIAL, REGISTRY
from envfix.resolver.request import Request
from envfix.tables.indexes import Index
from envfix.tables.loader import Tables
from envfix.tables.wheels import Wheel

_TITLES = {
    OFFICIAL: later("the official index"),
    REGISTRY: later("the default registry"),
    "extra-index": later("pip's extra index"),
    "find-links": later("pip's find-links"),
}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One place that may hold torch wheels.

    ``part``: ``official`` for the official index and its mirrors, ``registry`` for the default registry, ``files`` for
    a folder or page of which only the listed files are known. ``problem`` says why it cannot be used (None: it can);
    ``note`` what it said that is odd, ``asked`` whether anybody asked. ``files`` are names seen there (None: not listed).
    ``is_page``: a client takes it as find-links, not as an index. A ``tree`` has a page for each variant: ``listed`` are
    the packages and labels seen, ``pages`` the variants whose page was asked (None: it is not asked page by page).
    ``age`` is how many seconds ago it said so (None: just now).
    """

    name: str
    part: Literal["official", "registry", "files"]
    location: str | None
    problem: str | None = None
    note: str | None = None
    asked: bool = True
    assumed: bool = False
    row: Index | None = None
    files: frozenset[str] | None = None
    tree: bool = False
    is_page: bool = False
    listed: frozenset[tuple[str, str]] = frozenset()
    pages: frozenset[str] | None = None
    age: float | None = None

    @property
    def holds_everything(self) -> bool:
        """Whether every file of the tables can be expected here: nothing was listed, and it is no mirror."""
        if self.pages is not None:
            return not self.pages
        return self.files is None and (self.row is None or self.row.kind != "mirror")

    def holds(self, wheel: Wheel) -> bool:
        """Whether a file can be expected here, by the listing where there is one."""
        if self._covers(wheel):
            return wheel.filename in (self.files or ())
        row = self.row
        if self.part == "official" and not self.tree:
            # The address of one variant, of which nothing was listed.
            return (self.location or "").rstrip("/").endswith(f"/{wheel.directory}")
        if self.pages is not None or row is None or row.kind != "mirror":
            return True
        # A mirror may lag behind or lack builds: only what was seen there counts.
        fits_variant = not row.variants or wheel.variant in row.variants
        too_new = (
            wheel.package == "torch" and row.newest_torch is not None and wheel.version > Version(row.newest_torch)
        )
        return fits_variant and not too_new

    def saw(self, filename: str) -> bool:
        """Whether this very file was seen in a listing of this index."""
        return self.files is not None and filename in self.files

    def _covers(self, wheel: Wheel) -> bool:
        """Whether what was listed would show the file if it were here; pages that were not fetched prove nothing."""
        if self.pages is not None:
            return wheel.directory in self.pages
        if self.files is None:
            return False
        if self.tree:
            return (wheel.package, wheel.local_label.removeprefix("+")) in self.listed
        return self.part == "files" or any(name == wheel.package for name, _ in self.listed)


def read_sources(indexes: Sequence[IndexState], request: Request, tables: Tables) -> tuple[Source, ...]:
    """The sources in order of preference: the official index, its mirrors, the default registry, folders and pages."""
    sources = [_source(state, request, tables) for state in indexes]
    looked = bool(indexes) and not request.offline
    named = {source.name for source in sources} | {source.row.name for source in sources if source.row is not None}
    unsaid = [name for name in (OFFICIAL, *_mirrors_asked(request, tables), REGISTRY) if name not in named]
    sources += [_unsaid(name, request, tables, looked=looked) for name in unsaid]
    order = ("official", "registry", "files")
    return tuple(sorted(sources, key=lambda source: (order.index(source.part), source.name != OFFICIAL)))


def _source(state: IndexState, request: Request, tables: Tables) -> Source:
    by_name, by_url = tables.indexes.by_name(state.name), tables.indexes.by_url(state.location)
    row = by_name or by_url
    kind = row.kind if row else None
    # An address such as .../whl/cu118 is that one variant; only the base stands for the whole index.
    whole = row is not None and state.location.rstrip("/") in ("", *(row.base or "", *row.aliases))
    tree = state.layout == "tree" or (kind in ("official", "mirror") and whole)
    part: Literal["official", "registry", "files"] = (
        "registry" if kind == "registry" else "official" if tree or kind in ("official", "mirror") else "files"
    )
    names = None if state.files is None else [name.replace("%2B", "+").replace("%2b", "+") for name in state.files]
    files = None if names is None else frozenset(names)
    return Source(
        name=state.name,
        part=part,
        location=state.location or (row.base if row else None),
        problem=_not_reachable(state) or _not_asked(state.name, state.location, request),
        note=f"{title(state.name)} {retold(state.problem)}" if state.reachable and state.problem else None,
        row=row,
        files=frozenset() if files is None and part == "files" else files,
        tree=tree,
        is_page=state.flat
        or state.layout == "find-links"
        or state.name.startswith("find-links")
        or (row is not None and not row.index_url),
        listed=frozenset(filter(None, map(_page, names or ()))),
        pages=None if state.pages is None else frozenset(state.pages),
        age=state.age,
    )


def _mirrors_asked(request: Request, tables: Tables) -> list[str]:
    rows = [tables.indexes.by_name(index) or tables.indexes.by_url(index) for index in request.indexes]
    return [row.name for row in rows if row is not None and row.kind == "mirror"]


def _unsaid(name: str, request: Request, tables: Tables, *, looked: bool) -> Source:
    """An index of which nothing was said: taken as reachable when no index was looked at, else as not."""
    row = tables.indexes.by_name(name)
    base = row.base if row else None
    return Source(
        name=name,
        part="registry" if name == REGISTRY else "official",
        location=base,
        problem=_not_asked(name, base, request)
        or (say("{title} was not asked", title=title(name)) if looked else None),
        asked=False,
        assumed=not looked,
        row=row,
        tree=name != REGISTRY,
        is_page=row is not None and not row.index_url,
    )


def _not_reachable(state: IndexState) -> str | None:
    if state.reachable:
        return None
    if state.problem and state.problem.startswith("answers"):
        return f"{title(state.name)} {retold(state.problem)}"
    return say("{title} does not answer", title=title(state.name)) + (
        say(" ({aside})", aside=retold(state.problem)) if state.problem else ""
    )


def _not_asked(name: str, location: str | None, request: Request) -> str | None:
    asked = {index.rstrip("/") for index in request.indexes}
    if not asked or "auto" in asked or name in asked or (location or "").rstrip("/") in asked:
        return None
    return say("{title} is left out by --index {indexes}", title=title(name), indexes=" --index ".join(request.indexes))


def title(name: str) -> str:
    """An index in words."""
    known, number = re.fullmatch(r"(.+?)(?:-(\d+))?", name).groups()  # type: ignore[union-attr]
    if known in _TITLES:
        return look_up(_TITLES[known]) + (say(" (number {number})", number=number) if number else "")
    return say("the index {name}", name=name)


def _page(filename: str) -> tuple[str, str] | None:
    """The package and variant page that a file name belongs to: ``torch-2.7.1+cu118-…`` is (torch, cu118)."""
    parts = filename.split("-")
    if len(parts) < 2:
        return None
    return parts[0].replace("_", "-").lower(), parts[1].partition("+")[2]
