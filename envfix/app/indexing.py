"""Which package indexes answer from here, and what they hold of torch."""

from __future__ import annotations

from collections.abc import Callable

from envfix.app.settings import tables_for
from envfix.errors import UsageError
from envfix.host import index
from envfix.host.index import IndexCandidate
from envfix.host.real import RealHost
from envfix.model.facts import Environment, IndexState
from envfix.model.reporter import Reporter
from envfix.probes import package_sources
from envfix.tables.loader import Tables

INDEX_TIMEOUT = 5.0


def ask_indexes(
    host: RealHost, environment: Environment, reporter: Reporter, wanted: tuple[str, ...] = ("auto",)
) -> tuple[IndexState, ...]:
    """Which indexes answer from here and what they hold of torch: those named in ``wanted``, or all that are configured."""
    interpreter_value = environment.interpreter.value
    settings = package_sources.read_settings(host, interpreter_value.prefix if interpreter_value else None)
    candidates = _index_candidates(environment, wanted, tables_for(host), settings.with_credentials)
    reporter.stage(
        "asking "
        + ", ".join(dict.fromkeys(candidate.name for candidate in candidates))
        + " which torch wheels they have"
    )
    return index.check_indexes(candidates, timeout=INDEX_TIMEOUT, cache_dir=host.getenv("ENVFIX_CACHE_DIR"))


def _index_candidates(
    environment: Environment, wanted: tuple[str, ...], tables: Tables, credentials: Callable[[str], str]
) -> tuple[IndexCandidate, ...]:
    official = tables.indexes.official()
    known = index.candidates_from(
        environment.package_sources.value or (),
        [IndexCandidate(name="official", url=official.base)],
        credentials=credentials,
    )
    if "auto" in wanted:
        return known
    chosen = [candidate for candidate in known if candidate.name in wanted]
    for name in wanted:
        row = tables.indexes.by_name(name)
        if row is not None and row.kind == "mirror":
            chosen.append(IndexCandidate(name=name, url=row.base))
        elif "://" in name or name.startswith(("/", "./", "~")):
            chosen.append(IndexCandidate(name=name, url=name, configured_in="--index"))
        elif not any(candidate.name == name for candidate in known):
            hint = "auto, official, pypi, an address, or one of " + ", ".join(
                row.name for row in tables.indexes.mirrors()
            )
            raise UsageError(f"--index {name!r} is not known", hint=hint)
    return tuple(chosen)
