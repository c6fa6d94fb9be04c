"""pip or uv is configured to take packages from a place that cannot have the torch that is needed.

What it checks
    The configured indexes against the table of known ones, while torch still has to be installed (or is a CPU build beside a
    card): no index and no folder at all, a listing of files given as an index, addresses that circulate and hold nothing, a
    CUDA variant that was never published, and a CPU-only index beside a card.

Why it matters
    pip ends with "Could not find a version that satisfies the requirement torch (from versions: none)", or takes a build
    without CUDA. Neither upgrading pip nor installing a CUDA toolkit changes what an index holds.

How to fix
    Take the setting back, or use an index that carries the variant. envfix asks the indexes and names a build that exists.

Sources
    Configuration files and variables of pip and uv; the tables of indexes and wheels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, PackageSource
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.versions import CudaVersion
from envfix.rules._cards import nvidia_displays
from envfix.rules._fetching import take_back, torch_is_wanted
from envfix.rules._rule import Rule
from envfix.tables.indexes import Index
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch = environment.torch.value
    has_card = bool(machine.gpus.value or nvidia_displays(machine))
    cpu_beside_card = torch is not None and torch.cuda is None and torch.hip is None and has_card
    if not torch_is_wanted(environment) and not cpu_beside_card:
        return
    sources = environment.package_sources.value or ()
    for source in sources:
        problem = _problem(source, sources, tables, has_card=has_card)
        if problem is not None:
            yield _finding(environment, source, problem)


def _problem(
    source: PackageSource, sources: tuple[PackageSource, ...], tables: Tables, *, has_card: bool
) -> str | None:
    if source.kind == "no-index":
        folders = [one for one in sources if one.kind == "find-links"]
        return None if folders else "No index may be used and no folder is named, so nothing can be installed"
    if source.kind == "find-links":
        return None
    location = source.location.rstrip("/")
    index = tables.indexes.by_url(location)
    if index is None or index.kind == "registry":
        return None
    if index.kind == "none":
        return f"The index {location} holds no torch wheels ({index.title} mirrors the default registry only)"
    if not index.index_url:
        return (
            f"The address {location} is a listing of files, not an index: pip finds nothing there except by find-links"
        )
    return _problem_of_variant(location, index, tables, has_card=has_card)


def _problem_of_variant(location: str, index: Index, tables: Tables, *, has_card: bool) -> str | None:
    if index.kind not in ("official", "mirror"):
        return None
    variant = location.rsplit("/", 1)[-1]
    if variant == "cpu" and has_card:
        return f"The index {location} has only builds without CUDA, and there is an NVIDIA card here"
    published = tables.wheels.variants()
    if re.fullmatch(r"cu\d{2,3}", variant) and variant not in published:
        newest = max(CudaVersion.parse(name) for name in published if name.startswith("cu"))
        if CudaVersion.parse(variant) < newest:
            return f"There is no index {location}: torch was never published for CUDA {CudaVersion.parse(variant)}"
    return None


def _finding(environment: Environment, source: PackageSource, problem: str) -> Finding:
    # A place that is only asked besides the usual one does no harm by holding nothing.
    decides = source.kind != "extra-index" or "without CUDA" in problem
    value = f"{source.kind} {source.location}".strip()
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if decides else Severity.INFO,
        message=f"{problem}.",
        because=(Evidence(fact="environment.package_sources", value=value, source=source.configured_in),),
        remedies=(
            take_back(source.configured_in, source.kind),
            Remedy(
                text="See which builds exist for this machine and where they come from.",
                commands=(("envfix", "plan", *_target(environment)),),
            ),
        ),
    )


def _target(environment: Environment) -> tuple[str, ...]:
    interpreter = environment.interpreter.value
    return ("--python", interpreter.executable) if interpreter else ()


RULE = Rule(
    code="NET101",
    cause="wheel_not_on_index",
    title="A configured index cannot have the torch that is needed",
    needs=("environment.package_sources", "environment.torch"),
    check=check,
    rank=70,
)
