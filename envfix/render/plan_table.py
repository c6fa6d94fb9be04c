"""A plan as rows of name and value: the same for every text format."""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.language import later, look_up, say
from envfix.model.plan import Plan, PlanTarget
from envfix.model.words import counted
from envfix.render.facts_table import Row
from envfix.render.words import duration, size

# What blocks a plan, as people call it; scripts get the short word.
BLOCKERS: dict[str, str] = {
    "request": later("what was asked for"),
    "interpreter": later("the version of Python"),
    "platform": later("the operating system"),
    "glibc": later("the C library of the system (glibc)"),
    "sm": later("the card, for which no build holds code"),
    "driver": later("the driver"),
    "index": later("the indexes"),
    "companion": later("a package that belongs with torch"),
}


def blocker(plan: Plan) -> str:
    """What blocks, in words."""
    return look_up(BLOCKERS.get(plan.blocked_by or "", plan.blocked_by or later("nothing that is known")))


def plan_rows(plan: Plan) -> Iterator[Row]:
    """For which machine the plan is, and what it costs."""
    yield ("for", _target(plan.target), "")
    if plan.download_bytes is not None:
        yield ("price", _price(plan, plan.download_bytes), "")
    elif plan.choice is not None:
        yield ("price", say("not known: no dry resolution was made"), "")
    if plan.gpu is not None:
        yield ("use", f"export {plan.gpu.export}", "")


def _price(plan: Plan, everything: int) -> str:
    cached = plan.cached_bytes or 0
    files = say("{number} files, {everything}", number=len(plan.downloads), everything=size(everything))
    download = (
        say("{files} to download", files=files)
        if not cached
        else say("{files}, of which {cached} are in the cache already", files=files, cached=size(cached))
    )
    missing = max(everything - cached, 0)
    if plan.download_seconds:
        rate = size(int(missing / plan.download_seconds))
        download += say(
            "; about {download_seconds} at the {rate}/s measured just now",
            download_seconds=duration(plan.download_seconds),
            rate=rate,
        )
    return download + (say("; about {disk_bytes} on disk", disk_bytes=size(plan.disk_bytes)) if plan.disk_bytes else "")


def _target(target: PlanTarget) -> str:
    names = (f"{gpu.name} ({gpu.capability})" if gpu.capability else gpu.name for gpu in target.gpus)
    cards = counted(names) or say("no NVIDIA GPU")
    driver = (
        say("driver {driver}", driver=target.driver)
        if target.driver
        else say("no driver")
        if target.driver_state == "absent"
        else say("driver {driver_state}", driver_state=target.driver_state)
    )
    libc = f", {target.libc or 'glibc'} {target.glibc}" if target.glibc else ""
    nothing = not target.gpus and target.driver_state in ("absent", "works") and target.driver is None
    return f"Python {target.python}, {target.platform}{libc}, {cards if nothing else f'{driver}, {cards}'}"


def rejections(plan: Plan) -> Iterator[tuple[str, str]]:
    """What was not chosen, folded by reason: the newest builds that it ruled out and how many more, then the reason."""
    by_reason: dict[str, dict[str, list[str]]] = {}
    for row in plan.rejected:
        by_reason.setdefault(row.text, {}).setdefault(row.torch, []).append(row.variant)
    for text, builds in by_reason.items():
        newest = [f"{torch} ({', '.join(variants)})" for torch, variants in builds.items()]
        more = say(" and {number} more releases", number=len(newest) - 2) if len(newest) > 2 else ""
        yield f"torch {', '.join(newest[:2])}{more}", text
