"""pip, uv or conda asks a place that does not have the torch that is wanted.

What you see
    "Could not find a version that satisfies the requirement torch==2.3.1+cu121 (from versions: 2.3.1, 2.3.1+cpu,
    ...)", "there is no version of torch==2.1.0+cpu", "HTTP error 404 while getting ...torch-...whl", conda's
    "PackagesNotFoundError: The following packages are not available from current channels: pytorch-cuda=12.6".

Why
    A build with a label such as +cu121 exists only in its folder of torch's own index, and each folder holds some
    releases only. A folder that was never published, an old listing of files that is no longer kept, a mirror that
    lags and a default registry without labels cannot serve the wish. torch's own conda channel ended with 2.5.

How envfix knows
    In a log: the wish, the list of what could be had and the places that were asked. The list has the wished release
    but without its label, or begins later or ends earlier than the folder that was asked.
    On a machine: the configured indexes against the table of known ones, while torch still has to be installed (or is
    a CPU build beside a card): no index and no folder at all, a listing of files given as an index, addresses that
    circulate and hold nothing, a CUDA variant that was never published, and a CPU-only index beside a card.

How to mend
    Take the setting back, or use the index that carries the variant, or the nearest variant that was published and
    that the driver can run. envfix asks the indexes and names a build that exists.

What not to do
    Do not install the CUDA toolkit of that number, and do not look for new releases in torch_stable.html. Neither
    upgrading pip nor a toolkit changes what an index holds.

Sources
    Configuration files and variables of pip and uv; the tables of indexes and wheels; the messages of pip, uv, Poetry
    and conda.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine, PackageSource
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.versions import CudaVersion
from envfix.rules._cards import nvidia_displays
from envfix.rules._choices import (
    FAMILY,
    NO_DISTRIBUTION,
    POETRY_NO_CANDIDATES,
    TELL_APART,
    UV_FIRST,
    UV_NO_FILE,
    UV_NO_TAG,
    WISH,
    as_text,
    first_choice,
    of_candidates,
    of_file,
    of_tag,
    weighing,
    weight,
)
from envfix.rules._environments import NEW_ENV
from envfix.rules._fetching import take_back, torch_is_wanted
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_context import as_by_log
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
        return None if folders else say("No index may be used and no folder is named, so nothing can be installed")
    if source.kind == "find-links":
        return None
    location = source.location.rstrip("/")
    index = tables.indexes.by_url(location)
    if index is None or index.kind == "registry":
        return None
    if index.kind == "none":
        return say(
            "The index {location} holds no torch wheels ({title} mirrors the default registry only)",
            location=location,
            title=index.title,
        )
    if not index.index_url:
        return say(
            "The address {location} is a listing of files, not an index: pip finds nothing there except by find-links",
            location=location,
        )
    return _problem_of_variant(location, index, tables, has_card=has_card)


def _problem_of_variant(location: str, index: Index, tables: Tables, *, has_card: bool) -> str | None:
    if index.kind not in ("official", "mirror"):
        return None
    variant = location.rsplit("/", 1)[-1]
    if variant == "cpu" and has_card:
        return say(
            "The index {location} has only builds without CUDA, and there is an NVIDIA card here", location=location
        )
    published = tables.wheels.variants()
    if re.fullmatch(r"cu\d{2,3}", variant) and variant not in published:
        newest = max(CudaVersion.parse(name) for name in published if name.startswith("cu"))
        if CudaVersion.parse(variant) < newest:
            return say(
                "There is no index {location}: torch was never published for CUDA {parse}",
                location=location,
                parse=CudaVersion.parse(variant),
            )
    return None


def _finding(environment: Environment, source: PackageSource, problem: str) -> Finding:
    # A place that is only asked besides the usual one does no harm by holding nothing.
    decides = source.kind != "extra-index" or say("without CUDA") in problem
    value = f"{source.kind} {source.location}".strip()
    return Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING if decides else Severity.INFO,
        message=say("{problem}.", problem=problem),
        because=(Evidence(fact="environment.package_sources", value=value, source=source.configured_in),),
        remedies=(
            take_back(source.configured_in, source.kind),
            Remedy(
                text=say("See which builds exist for this machine and where they come from."),
                commands=(("envfix", "plan", *_target(environment)),),
            ),
        ),
    )


def _target(environment: Environment) -> tuple[str, ...]:
    interpreter = environment.interpreter.value
    return ("--python", interpreter.executable) if interpreter else ()


def _message(reading: Reading) -> str:
    """What was asked for, and what could be had."""
    choice = first_choice(reading)
    if choice is None or not choice.wished:
        missing = reading.groups.get("missing") or reading.groups.get("which")
        return (
            say("The places that were asked do not have {missing}.", missing=missing.strip().strip(".,"))
            if missing
            else say("The places that were asked do not have the wanted torch.")
        )
    name = f"{choice.package} {choice.wished}"
    if choice.kind == "label":
        return say(
            "There is a {name} where it was looked for, but none with the label +{label}.",
            name=name,
            label=choice.label,
        )
    asked = f"{name}+{choice.label}" if choice.label else name
    if choice.kind == "above":
        return say(
            "The newest {package} where it was looked for is {last_text}; {asked} is not there.",
            package=choice.package,
            last_text=choice.last_text,
            asked=asked,
        )
    if choice.kind == "below":
        return say(
            "The oldest {package} where it was looked for is {first_text}; {asked} is not there.",
            package=choice.package,
            first_text=choice.first_text,
            asked=asked,
        )
    return say("The places that were asked have no {asked}.", asked=asked)


def _mends(reading: Reading) -> tuple[Remedy, ...]:
    choice = first_choice(reading)
    wish = ("--torch", f"=={as_text(choice.wish)}") if choice is not None and choice.wish else ()
    return (
        Remedy(
            text=say("See which builds exist for this machine and where they come from."),
            commands=(("envfix", "plan", *wish),),
        ),
        Remedy(
            text=say(
                "Let envfix choose a build that exists and that the driver can run, and install it from its own index."
            ),
            commands=((*NEW_ENV, *wish),),
        ),
    )


def _no_version(hit: Hit, log: Log) -> float | None:
    """Uv names a version that no place has; that another index has it is another cause."""
    if log.found(UV_FIRST):
        return 0.4
    if hit.groups["package"] in FAMILY and "+" in hit.groups["which"]:
        return 0.9
    return 0.65


def _only_these(hit: Hit, log: Log) -> float | None:
    """Uv lists what there is; where wheels are missing it says so below."""
    if log.found(UV_FIRST) or "no wheels" in hit.after or "no wheels" in hit.before[-600:]:
        return None
    return 0.35 if "depends on" in hit.after[:1500] else 0.65


def _conda(hit: Hit, log: Log) -> float | None:
    """Conda has no such package; for macOS there never was one with CUDA."""
    del log
    return 0.3 if "/osx-" in hit.after else 0.75


def _not_torch(hit: Hit, log: Log) -> float | None:
    """Pip asks torch's index alone for packages that it does not carry."""
    del log
    looking = re.findall(r"Looking in indexes: ([^\n]*)", hit.before)
    if hit.groups["other"].lower() in FAMILY or not looking:
        return None
    return 0.75 if "/whl/" in looking[-1] and "," not in looking[-1] else None


_CONDA = (
    r"(?P<missing>(?:[\w-]+::)?(?:pytorch|torchvision|torchaudio|cudatoolkit|pytorch-cuda|pytorch-mutex|torchtriton"
    r"|pytorch-gpu)"
    r"\b[^\n]{0,60})"
)

# What torch itself asks for: its own index has it, or has it in another version.
_OF_TORCH = (
    r"(?i)could not find a version that satisfies the requirement (?:cuda-[a-z]+|nvidia-[\w-]+|triton|pytorch-triton)[^\n]{0,80}"
    r"\(from torch"
)

LOG = LogSide(
    signatures=(
        Signature(pattern=WISH, weigh=weighing("wheel_not_on_index", weight)),
        Signature(pattern=NO_DISTRIBUTION, unless=(WISH,), weigh=weighing("wheel_not_on_index", weight)),
        Signature(
            pattern=r"[Tt]here (?:is|are) no versions? of (?P<package>torch|torchvision|torchaudio)(?:\{[^}]{0,90}\})?"
            r"(?P<which>[=<>~][^\s`,]{1,60})",
            weigh=_no_version,
            looks_at=(UV_FIRST,),
            quoted=True,
        ),
        Signature(pattern=_OF_TORCH, confidence=0.8, quoted=True),
        Signature(
            pattern=r"only the following versions of (?:torch|torchvision|torchaudio)(?:\{[^}]{0,90}\})? are"
            r" available:",
            weigh=_only_these,
            looks_at=(UV_FIRST,),
            quoted=True,
        ),
        Signature(
            pattern=r"\b(?P<which>torch|torchvision|torchaudio) was not found in the (?:package registry|provided"
            r" package locations)",
            confidence=0.6,
            quoted=True,
        ),
        Signature(
            pattern=r"HTTP error 40[34] while getting \S{0,200}(?P<which>torch[\w-]*-\d[\w.%+]*)",
            confidence=0.85,
        ),
        Signature(
            pattern=r"40[34] (?:Client Error|Forbidden|Not Found)[^\n]{0,40}(?:for url:? |\()\S{0,120}/whl/\S{0,120}",
            confidence=0.8,
            quoted=True,
        ),
        Signature(
            pattern=r"HTTP status client error \(40[34] [^)]{1,20}\) for url \(\S{0,80}/whl/\S{0,120}\)",
            confidence=0.82,
            quoted=True,
        ),
        Signature(
            pattern=r"(?:PackagesNotFoundError|ResolvePackageNotFound)[^\n]{0,100}\n(?:[^\n]*\n){0,12}?\s*- " + _CONDA,
            weigh=_conda,
            quoted=True,
        ),
        Signature(pattern=r"nothing provides (?:requested )?" + _CONDA, confidence=0.65, quoted=True),
        Signature(
            pattern=_CONDA + r"does not exist \(perhaps a typo or a missing channel\)",
            confidence=0.72,
            quoted=True,
        ),
        Signature(
            pattern=r"\b(?:torch|torchvision|torchaudio) \((?P<which>[^)\n]{1,60})\) which doesn't match any versions",
            confidence=0.82,
            quoted=True,
        ),
        Signature(
            pattern=r"[Nn]o versions of (?:torch|torchvision|torchaudio) match (?P<which>[^\s,]{1,60})",
            confidence=0.6,
            quoted=True,
        ),
        Signature(
            pattern=r"Package (?:torch|torchvision|torchaudio) \((?P<which>[^)\n]{1,40})\) not found", confidence=0.7
        ),
        Signature(pattern=POETRY_NO_CANDIDATES, weigh=weighing("wheel_not_on_index", of_candidates)),
        Signature(
            pattern=r"satisfies the requirement (?P<other>[A-Za-z][\w.-]{1,40})[^\n]{0,120}\(from versions: none\)",
            weigh=_not_torch,
            quoted=True,
        ),
        Signature(
            pattern=r"has no `[^`]{5,200}`-compatible wheels",
            beside=(r"Because (?:torch|torchvision|torchaudio)\b",),
            confidence=0.55,
            quoted=True,
        ),
        Signature(pattern=UV_NO_TAG, weigh=weighing("wheel_not_on_index", of_tag), quoted=True),
        Signature(pattern=UV_NO_FILE, weigh=weighing("wheel_not_on_index", of_file), quoted=True),
    ),
    message=_message,
    remedies=_mends,
    tell_apart=TELL_APART,
    explains=("torch_not_installed",),
    with_facts=as_by_log,
)

RULE = Rule(
    code="NET101",
    cause="wheel_not_on_index",
    title=later("A configured index cannot have the torch that is needed"),
    needs=("environment.package_sources", "environment.torch"),
    check=check,
    rank=70,
    log=LOG,
)
