"""uv takes a package from the first index that has it, and that index is the wrong one for it.

What you see
    "`torch` was found on <an index>, but not at the requested version", "By default, uv will only consider versions
    that are published on the first index that contains a given package", "Distribution `markupsafe==3.0.2 @
    registry+.../whl/cu126` can't be installed". Or nothing: torch comes from the default index although a torch index
    was named.

Why
    uv takes a package from the first index that has it, and asks additional indexes before the default one. A torch
    index also carries a few helper packages, but not for every Python, so a line that works with pip ends with "can't
    be installed because it doesn't have a source distribution or wheel". As default it holds no ultralytics at all.
    Early releases of uv did not match a plain version with the labelled ones of a torch index.

How envfix knows
    In a log: uv's own words about indexes, and packages other than torch that it takes from a torch index.
    On a machine: uv (UV_INDEX, UV_DEFAULT_INDEX and their like, uv.toml) has a torch index as default, or as an
    additional one without ``explicit`` and with the usual strategy, while torch or ultralytics still has to be
    installed.

How to mend
    Bind the torch index to the torch family (``explicit = true`` and ``[tool.uv.sources]``), or choose the build by
    ``--torch-backend``.

What not to do
    Do not make the torch index the only one. The strategy unsafe-best-match mixes indexes and lets any of them supply
    any package, which is why uv calls it unsafe.

Sources
    uv's variables and configuration files; uv's documentation on indexes.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, PackageSource
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._choices import FAMILY, UV_FIRST, UV_NO_FILE, UV_NO_TAG, of_file, of_tag, weighing
from envfix.rules._fetching import holds, is_of_uv, settings_of, take_back, torch_is_wanted
from envfix.rules._log import LogSide
from envfix.rules._log_context import as_by_log
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
            message = say("All packages are taken by uv from a torch index, which does not have ultralytics.")
            yield _finding(source, message, Severity.WARNING if wanted else Severity.INFO)
        elif source.kind == "extra-index" and (strategy is None or strategy.value == "first-index"):
            message = say("A torch index is asked first by uv for every package, also for those it has only in part.")
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
                text=say("Then let uv choose the torch build, and take everything else from the default index."),
                commands=(("uv", "pip", "install", "--torch-backend=auto", "torch", "torchvision", "ultralytics"),),
            ),
        ),
    )


def _not_found(hit: Hit, log: Log) -> float | None:
    """A package that a torch index has not, where uv asks that one only."""
    del log
    other = hit.groups["other"]
    if other in FAMILY or "/whl/" not in hit.before + hit.after:
        return None
    return 0.8


_BACKEND = Remedy(
    text=later("Let uv choose the torch build, and take everything else from the default index."),
    commands=(("uv", "pip", "install", "--torch-backend=auto", "torch", "torchvision", "ultralytics"),),
)

LOG = LogSide(
    signatures=(
        Signature(pattern=UV_FIRST, confidence=0.95, quoted=True),
        Signature(
            pattern=r"uv will (?:only consider|not consider) versions[^\n]{0,20} (?:that are )?published on (?:the"
            r" first index"
            r"|other indexes)",
            confidence=0.9,
            quoted=True,
        ),
        Signature(pattern=r"A compatible version may be available on a subsequent index", confidence=0.9, quoted=True),
        Signature(pattern=UV_NO_FILE, weigh=weighing("uv_first_index_only", of_file), quoted=True),
        Signature(pattern=UV_NO_TAG, weigh=weighing("uv_first_index_only", of_tag), quoted=True),
        Signature(
            pattern=r"Because (?P<other>[a-z][\w.-]{1,40}) was not found in the (?:package registry|provided package"
            r" locations)",
            weigh=_not_found,
            quoted=True,
        ),
        Signature(
            pattern=r"there is no version of (?P<other>certifi|requests|urllib3|idna|numpy|pillow|tqdm|jinja2|markupsafe|packaging)"
            r"[=<>]",
            beside=(r"download\.pytorch\.org|/whl/c(?:u\d|pu)",),
            confidence=0.85,
            quoted=True,
        ),
        Signature(
            pattern=r"\+ torchvision==0\.[12]\.\d",
            beside=(r"\buv (?:pip|add|sync)|\+ torch==\d",),
            confidence=0.85,
            quoted=True,
        ),
        Signature(
            pattern=r"--(?:extra-index-url|index)[\s=]\S{0,60}/whl/cpu\b",
            beside=(r"nvidia-cu[a-z]{2,12}-cu1[123]==\d",),
            unless=(r"torch==[\w.]{1,20}\+cpu", r"Looking in indexes", r"CUDA error|CUDA out of memory"),
            confidence=0.55,
            quoted=True,
        ),
    ),
    message=(
        later(
            "uv takes {package} from the first index that has that name, and there it finds no version that will do."
        ),
        later("uv takes every package from the first index that has its name, and here that is the wrong one."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Bind the torch index to the torch family: mark it `explicit = true` and name it"
                " for torch and torchvision in [tool.uv.sources] of pyproject.toml."
            )
        ),
        _BACKEND,
    ),
    explains=("wheel_not_on_index", "wheel_python_mismatch", "cpu_only_build_installed"),
    with_facts=as_by_log,
)

RULE = Rule(
    code="NET102",
    cause="uv_first_index_only",
    title=later("uv takes other packages from a torch index"),
    needs=("environment.package_sources", "environment.torch"),
    check=check,
    rank=71,
    log=LOG,
)
