"""uv is configured so that a torch index answers for other packages as well.

What it checks
    Whether uv (UV_INDEX, UV_DEFAULT_INDEX and their like, uv.toml) has a torch index as default, or as an additional one
    without ``explicit`` and with the usual strategy, while torch or ultralytics still has to be installed.

Why it matters
    uv takes a package from the first index that has it, and asks additional indexes before the default one. A torch index
    also carries a few helper packages, but not for every Python, so a line that works with pip ends with "can't be installed
    because it doesn't have a source distribution or wheel". As default it holds no ultralytics at all.

How to fix
    Bind the torch index to the torch family (``explicit = true``), or choose the build by ``--torch-backend``. The strategy
    unsafe-best-match mixes indexes, which also lets any of them supply any package.

Sources
    uv's variables and configuration files; uv's documentation on indexes.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, PackageSource
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._fetching import holds, is_of_uv, settings_of, take_back, torch_is_wanted
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    wanted = torch_is_wanted(environment)
    if not wanted and holds(environment, "ultralytics"):
        return
    strategy = next(iter(settings_of(machine, "option", tool="uv", name="index-strategy")), None)
    for source in environment.package_sources.value or ():
        if not is_of_uv(source) or not _is_torch_index(source, tables):
            continue
        if source.kind == "index":
            message = "All packages are taken by uv from a torch index, which does not have ultralytics."
            yield _finding(source, message, Severity.WARNING if wanted else Severity.INFO)
        elif source.kind == "extra-index" and (strategy is None or strategy.value == "first-index"):
            message = "A torch index is asked first by uv for every package, also for those it has only in part."
            yield _finding(source, message, Severity.INFO)


def _is_torch_index(source: PackageSource, tables: Tables) -> bool:
    index = tables.indexes.by_url(source.location.rstrip("/"))
    return index is not None and index.kind in ("official", "mirror", "special")


def _finding(source: PackageSource, message: str, severity: Severity) -> Finding:
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            Evidence(
                fact="environment.package_sources",
                value=f"{source.kind} {source.location}",
                source=source.configured_in,
            ),
        ),
        remedies=(
            take_back(source.configured_in, source.kind),
            Remedy(
                text="Then let uv choose the torch build, and take everything else from the default index.",
                commands=(("uv", "pip", "install", "--torch-backend=auto", "torch", "torchvision", "ultralytics"),),
            ),
        ),
    )


RULE = Rule(
    code="NET102",
    cause="uv_first_index_only",
    title="uv takes other packages from a torch index",
    needs=("environment.package_sources", "environment.torch"),
    check=check,
    rank=71,
)
