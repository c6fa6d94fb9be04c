"""Which package indexes answer, and what they hold of torch: asked page by page, as far as a plan rests on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from envfix.app.settings import NOTHING_FAILED, cache_folder, tables_for
from envfix.errors import UsageError
from envfix.host import index
from envfix.host.index import IndexCandidate
from envfix.host.real import RealHost
from envfix.installer.environment import certificates
from envfix.model.facts import Environment, IndexState
from envfix.model.language import say
from envfix.model.plan import OFFICIAL, Plan
from envfix.model.reporter import Reporter
from envfix.probes import package_sources
from envfix.tables.indexes import Index
from envfix.tables.loader import Tables

INDEX_TIMEOUT = 5.0
# After this many seconds no further page is asked for; the plan rests on what is known by then.
PATIENCE = 20.0
AUTO = "auto"


class LiveIndexes:
    """The indexes that a plan may use, with what each has answered so far.

    The official index and its mirrors have a page for each variant: they count as reachable until the page that a plan
    rests on is asked for. Mirrors nobody named come into play when the official index does not answer.
    """

    def __init__(
        self,
        host: RealHost,
        environment: Environment,
        wanted: tuple[str, ...],
        reporter: Reporter,
        *,
        failed: Mapping[str, str] = NOTHING_FAILED,
    ) -> None:
        interpreter = environment.interpreter.value
        prefix = interpreter.prefix if interpreter else None
        settings = package_sources.read_settings(host, prefix)
        tables = tables_for(host)
        self._reporter = reporter
        self._failed = failed
        self._certificates = certificates(host, prefix)
        self._cache = cache_folder(host)
        self._candidates = _candidates(environment, wanted, tables, settings.with_credentials)
        known = {candidate.name for candidate in self._candidates}
        mirrors = [_tree(row) for row in tables.indexes.mirrors() if row.name not in known]
        self._mirrors = mirrors if AUTO in wanted else []
        self._states: dict[str, IndexState] = {}
        self._until = time.monotonic() + PATIENCE
        self._begin(self._candidates)

    @property
    def states(self) -> tuple[IndexState, ...]:
        """What is known now, in order of preference; one that could not deliver a file counts as not reachable."""
        known = [self._states[_key(one)] for one in self._candidates if _key(one) in self._states]
        return tuple(
            msgspec.structs.replace(state, reachable=False, problem=self._failed[state.name], files=None)
            if state.name in self._failed
            else state
            for state in known
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address as it was given, credentials included: for the installer only."""
        return tuple(candidate.url for candidate in self._candidates if candidate.url is not None)

    def unasked(self, plan: Plan) -> str | None:
        """A variant whose page the plan or a way out rests on though nobody asked for it; None when all are confirmed."""
        states = {state.name: state for state in self.states}
        for index_name, variant in plan.pages:
            state = states.get(index_name)
            if state is not None and state.reachable and state.pages is not None and variant not in state.pages:
                return variant
        return None

    def ask(self, variant: str | None) -> None:
        """Ask everything that was not asked yet, trees for the page of ``variant`` (None: they are left alone)."""
        asked = [candidate for candidate in self._candidates if self._is_open(candidate, variant)]
        self._ask(asked, variant or "cpu")
        official = next((state for state in self.states if state.name == OFFICIAL), None)
        if self._mirrors and official is not None and not official.reachable:
            self._begin(self._mirrors)
            self._candidates += tuple(self._mirrors)
            self._mirrors = []

    def ask_everything(self) -> None:
        """Ask each index once, mirrors of the official one included: for a report of which of them answer."""
        self._candidates += tuple(self._mirrors)
        self._mirrors = []
        # Whether they answer now is the question: what they said before is no answer to it.
        self._ask(list(self._candidates), "cpu", fresh=0.0)

    def give_up(self) -> None:
        """From now on, what was not asked counts as not answering."""
        for key, state in self._states.items():
            if state.pages is not None:
                problem = say("not asked for more pages after {patience:g} s", patience=PATIENCE)
                self._states[key] = msgspec.structs.replace(state, reachable=False, problem=problem)

    @property
    def late(self) -> bool:
        """Whether it is time to give up."""
        return time.monotonic() > self._until

    def _begin(self, candidates: Sequence[IndexCandidate]) -> None:
        for one in candidates:
            if one.layout == "tree":
                location = package_sources.without_credentials(one.url or "")
                self._states[_key(one)] = IndexState(
                    name=one.name, location=location, reachable=True, layout="tree", pages=()
                )

    def _is_open(self, candidate: IndexCandidate, variant: str | None) -> bool:
        state = self._states.get(_key(candidate))
        if state is None:
            return True
        return variant is not None and state.reachable and state.pages is not None and variant not in state.pages

    def _ask(self, candidates: list[IndexCandidate], variant: str, fresh: float = index.FRESH) -> None:
        if not candidates:
            return
        names = ", ".join(dict.fromkeys(candidate.name for candidate in candidates))
        self._reporter.stage(say("asking {names} which torch wheels they have", names=names))
        answers = index.check_indexes(
            candidates,
            timeout=INDEX_TIMEOUT,
            cache_dir=self._cache,
            certificates=self._certificates,
            variant=variant,
            fresh=fresh,
        )
        for candidate, answered in zip(candidates, answers, strict=True):
            answer = _blocked(answered, variant)
            before = self._states.get(_key(candidate))
            self._states[_key(candidate)] = answer if before is None else _joined(before, answer)
            if answer.layout == "tree" and candidate.layout != "tree":
                at = self._candidates.index(candidate)
                tree = msgspec.structs.replace(candidate, layout="tree", flat=answer.flat)
                self._candidates = (*self._candidates[:at], tree, *self._candidates[at + 1 :])


def ask_indexes(host: RealHost, environment: Environment, reporter: Reporter) -> tuple[IndexState, ...]:
    """Whether each index answers from here: those that are configured, the official one and its mirrors."""
    live = LiveIndexes(host, environment, (AUTO,), reporter)
    live.ask_everything()
    return live.states


def _key(candidate: IndexCandidate) -> str:
    return f"{candidate.name} {candidate.url}"


def _joined(before: IndexState, answer: IndexState) -> IndexState:
    """Two answers of one tree as one; the later one says whether it answers."""
    ages = [age for age in (before.age, answer.age) if age is not None]
    return msgspec.structs.replace(
        answer,
        files=(*(before.files or ()), *(answer.files or ())),
        pages=(*(before.pages or ()), *(answer.pages or ())),
        age=max(ages, default=None),
        configured_in=before.configured_in or answer.configured_in,
    )


def _blocked(answer: IndexState, variant: str) -> IndexState:
    """The official index has a page for every variant that is asked for: one without torch is somebody else's answer."""
    if answer.name != OFFICIAL or not answer.reachable or answer.pages is None or answer.files or not answer.pages:
        return answer
    problem = say(
        "{problem}, although it has {variant}: is it blocked here?",
        problem=answer.problem or say("answers, but has no torch"),
        variant=variant,
    )
    return msgspec.structs.replace(answer, reachable=False, files=None, problem=problem)


def _tree(row: Index) -> IndexCandidate:
    return IndexCandidate(name=row.name, url=row.base, layout="tree", flat=not row.index_url)


def _candidates(
    environment: Environment, wanted: tuple[str, ...], tables: Tables, credentials: Callable[[str], str]
) -> tuple[IndexCandidate, ...]:
    known = index.candidates_from(
        environment.package_sources.value or (), [_tree(tables.indexes.official())], credentials=credentials
    )
    if AUTO in wanted:
        return known + tuple(_named(name, known, tables) for name in wanted if name != AUTO)
    chosen: list[IndexCandidate] = []
    for name in wanted:
        configured = [candidate for candidate in known if candidate.name == name]
        chosen += configured or [_named(name, known, tables)]
    return tuple(chosen)


def _named(name: str, known: tuple[IndexCandidate, ...], tables: Tables) -> IndexCandidate:
    """The index that ``--index`` names or whose address it gives; raises ``UsageError``."""
    row = tables.indexes.by_name(name)
    if row is not None and row.kind == "mirror":
        return _tree(row)
    if "://" in name or name.startswith(("/", "./", "../", "~")):
        bare = package_sources.without_credentials(name)
        row = tables.indexes.by_url(bare.rstrip("/"))
        if row is not None and bare.rstrip("/") in (row.base, *row.aliases):
            return msgspec.structs.replace(_tree(row), name=bare, url=name, configured_in="--index")
        layout: index.Layout = "find-links" if row is not None and not row.index_url else "any"
        return IndexCandidate(name=bare, url=name, layout=layout, configured_in="--index")
    if row is not None and row.kind == "none":
        raise UsageError(
            say(
                "--index {name}: {title} holds no torch variants ({note})",
                name=name,
                title=row.title,
                note=row.note or say("registry mirror only"),
            )
        )
    offered = dict.fromkeys([AUTO, *(one.name for one in known), *(row.name for row in tables.indexes.mirrors())])
    raise UsageError(
        say("--index {name!r} is not known", name=name),
        hint=say("{offered}, or an address", offered=", ".join(offered)),
    )
