"""The price of a plan: the real installer resolves it without changing anything, which proves it as well."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from envfix.app.planning import Decision
from envfix.app.settings import NOBODY, tables_for
from envfix.host.real import RealHost
from envfix.installer.interface import Refusal, Resolution, Sources
from envfix.installer.preflight import unpacked_bytes
from envfix.installer.uv import UvInstaller
from envfix.lockers.constraints import constraints
from envfix.model.facts import IndexState
from envfix.model.language import later, look_up, say
from envfix.model.plan import REGISTRY, Choice, Constraint, Plan
from envfix.model.reporter import Reporter
from envfix.resolver.pins import BECAUSE_ASKED
from envfix.tables.loader import Tables


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with its price, and the installer's exact resolution of it, or why there is none."""

    plan: Plan
    sources: Sources
    resolution: Resolution | None
    refusal: Refusal | None = None


def price(
    decision: Decision,
    *,
    installed: Mapping[str, str] | None = None,
    offline: bool = False,
    reporter: Reporter = NOBODY,
) -> Priced:
    """Let uv resolve the plan; its refusal turns the plan into a conflict, for a plan that cannot be installed is none.

    ``installed`` are the versions in the environment that is installed into: they are kept where they fit. ``offline``: by
    what is on this disk alone.
    """
    plan = decision.plan
    assert plan.choice is not None  # noqa: S101 - only plans with an answer are priced
    reporter.stage(say("letting uv resolve the plan"))
    sources = sources_of(plan.choice, decision.indexes, tables_for(RealHost()))
    interpreter = decision.environment.interpreter.value
    installer = UvInstaller(
        RealHost(),
        reporter,
        prefix=interpreter.prefix if interpreter else None,
        addresses=decision.addresses,
        offline=offline,
    )
    is_here = (
        decision.python is not None and interpreter is not None and interpreter.platform_tag == plan.target.platform
    )
    answer = installer.resolve(
        [pin for pin in plan.packages if not pin.bound_only],
        sources,
        plan.target,
        python=decision.python if is_here else None,
        constraints=constraints(plan),
        installed=installed,
    )
    if isinstance(answer, Refusal):
        return Priced(plan=_refused(plan, answer), sources=sources, resolution=None, refusal=answer)
    return Priced(plan=_priced(plan, answer), sources=sources, resolution=answer)


def sources_of(choice: Choice, indexes: tuple[IndexState, ...], tables: Tables) -> Sources:
    """The only places this plan may take packages from."""
    if choice.index == REGISTRY:
        return Sources()
    state = next((state for state in indexes if state.name == choice.index), None)
    location = choice.index_url or (state.location if state else None)
    row = tables.indexes.by_url(location or "")
    # Some mirrors are plain lists of files, which no client takes for an index.
    is_page = (state is not None and (state.flat or state.layout == "find-links")) or (
        row is not None and not row.index_url
    )
    return Sources(torch_url=location, torch_layout="find-links" if is_page else "index", torch_name=choice.index)


def _priced(plan: Plan, resolution: Resolution) -> Plan:
    reasons = plan.reasons
    if resolution.unknown_sizes:
        reasons = (
            *reasons,
            say(
                "the index gives no size for {unknown_sizes} of the files: the price is higher than stated",
                unknown_sizes=resolution.unknown_sizes,
            ),
        )
    return msgspec.structs.replace(
        plan,
        downloads=resolution.downloads,
        download_bytes=resolution.total_bytes,
        cached_bytes=min(resolution.cached_bytes, resolution.total_bytes),
        disk_bytes=unpacked_bytes(resolution.total_bytes),
        reasons=reasons,
    )


_NOT_IN_PLACE = later(
    "that index must hold everything beside torch as well: name a torch index as an extra one"
    " (PIP_EXTRA_INDEX_URL, or --index), not in place of the default one (PIP_INDEX_URL,"
    " UV_DEFAULT_INDEX)"
)
_OUR_FAULT = later("report this as a fault of envfix: its tables promised that this stack exists")


def _refused(plan: Plan, refusal: Refusal) -> Plan:
    """The plan with what uv's refusal means for it: nothing but a missing price, or a conflict."""
    if refusal.kind == "unchecked":
        return msgspec.structs.replace(
            plan, reasons=(*plan.reasons, say("not checked by uv: {message}", message=refusal.message))
        )
    if "403 Forbidden" in refusal.message:  # an index that lacks a package may say so
        return _conflict(plan, refusal, "index", look_up(_NOT_IN_PLACE))
    if refusal.kind in ("network", "machine"):
        return msgspec.structs.replace(
            plan, reasons=(*plan.reasons, say("the price is not known: {message}", message=refusal.message))
        )
    named = [name for name in _asked_for(plan) if re.search(rf"\b{re.escape(name)}\b", refusal.message)]
    if named:
        way = say("check the name and version of {named} (--with), or leave it out", named=say(" and ").join(named))
        return _conflict(plan, refusal, "request", way)
    return _conflict(plan, refusal, "companion", look_up(_OUR_FAULT))


def _conflict(plan: Plan, refusal: Refusal, by: Constraint, way: str) -> Plan:
    return msgspec.structs.replace(
        plan,
        status="conflict",
        choice=None,
        nearest=plan.choice,
        blocked_by=by,
        reasons=(say("uv refuses this stack: {message}", message=refusal.message), *plan.reasons),
        ways_out=tuple(filter(None, (refusal.hint, way))),
    )


def _asked_for(plan: Plan) -> list[str]:
    """The packages that the user named: envfix knows nothing of them and promises nothing."""
    return [re.sub(r"\[.*", "", pin.name) for pin in plan.packages if pin.because == look_up(BECAUSE_ASKED)]
