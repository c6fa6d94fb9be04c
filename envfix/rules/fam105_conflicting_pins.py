"""Two packages, or two lines of a list, ask for different torch, torchvision or NumPy.

What you see
    "ERROR: Cannot install torch==2.2.2 and torchvision==0.16.2 because these package versions have conflicting" "
    dependencies", uv's "torchvision==0.16.2 depends on torch==2.1.2 and you require torch==2.2.2", Poetry's "version
    solving failed", or after an installation "torchaudio 2.0.2 requires torch==2.0.1, but you have torch 2.1.0 which
    is incompatible".

Why
    Each torchvision and torchaudio belongs to one release of torch, and many packages pin torch. Where the list
    contradicts itself nothing can be installed. Where it comes about one after the other, pip says so once and goes
    on; the next installation may replace torch again, in one direction or the other.

How envfix knows
    In a log: the words of pip, uv, Poetry and conda about what depends on what, if it is about torch's family.
    On a machine: what installed packages state in their metadata for this platform and Python, against the versions
    that are installed. torchvision, torchaudio and compiled extensions have causes of their own.

How to mend
    Correct the pair, keeping the member the project really needs: take the release of the other package that belongs
    to it, or resolve both in one command.

What not to do
    ``--no-deps``, ``--force-reinstall`` and the legacy resolver hide the conflict only.

Sources
    Requires-Dist in the metadata of the installed packages; messages of pip, uv, Poetry and conda.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules._changing import in_place
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import EXTENSIONS, NEW_ENVIRONMENT, Asked, installed, key_of, requirements, version
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_context import as_by_log
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

JUDGED = ("torch", "torchvision", "torchaudio", "numpy")
ELSEWHERE = EXTENSIONS | {"torchvision", "torchaudio"}


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    broken = [(asked, has) for asked, has in unsatisfied(environment) if not only_too_old(asked, has)]
    if not broken:
        return
    asked, has = broken[0]
    name = asked.requirement.name
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "The package {by} {version} asks for {name}{specifier}, but {name} {has} is installed.",
            by=asked.by.name,
            version=asked.by.version,
            name=name,
            specifier=asked.requirement.specifier,
            has=has,
        ),
        because=tuple(_stated(one, version_here) for one, version_here in broken[:5]),
        remedies=(
            in_place(
                environment,
                say(
                    "Take a release of that package which goes with what is installed: this finds"
                    " it and leaves the rest as it is.",
                ),
                "install", "-U", asked.by.name, f"{name}=={has}",
            ),
            NEW_ENVIRONMENT,
        ),
    )  # fmt: skip


def unsatisfied(environment: Environment) -> Iterator[tuple[Asked, str]]:
    """Requirements on the torch family that what is installed does not meet, with the version that is installed."""
    here = {name: item.version for name, item in installed(environment).items() if name in JUDGED}
    if environment.torch.value:
        here["torch"] = environment.torch.value.build
    for asked in requirements(environment, of=here):
        name = key_of(asked.requirement.name)
        has = version(here.get(name))
        if has is None or asked.requirement.url or key_of(asked.by.name) in ELSEWHERE or asked.extra is not None:
            continue
        if not asked.requirement.specifier.contains(has.public, prereleases=True) and not _met(asked, str(has)):
            yield asked, str(has)


def _met(asked: Asked, has: str) -> bool:
    """A pin with a local label (torch==2.1.2+cu118) is met only by that very build."""
    return asked.requirement.specifier.contains(has, prereleases=True)


def only_too_old(asked: Asked, has: str) -> bool:
    """Whether what is installed only is not new enough."""
    here = version(has)
    for clause in asked.requirement.specifier:
        if here is not None and not clause.contains(here.public, prereleases=True):
            bound = version(clause.version)
            if clause.operator not in (">=", ">", "~=") or bound is None or here > bound:
                return False
    return True


def _stated(asked: Asked, has: str) -> Evidence:
    value = say(
        "{by} {version} asks for {requirement}{specifier}; installed: {has}",
        by=asked.by.name,
        version=asked.by.version,
        requirement=asked.requirement.name,
        specifier=asked.requirement.specifier,
        has=has,
    )
    return Evidence(fact="environment.distributions", value=value, source=f"{asked.by.location}/{asked.by.metadata}")


def _depends(hit: Hit, log: Log) -> float | None:
    """A program explains why it finds no way: by a conflict, or because a version does not exist or fit."""
    del log
    around = hit.before[-900:] + hit.text + hit.after[:900]
    missing = re.search(
        r"no wheels|no versions? of (?:torch|torchvision|torchaudio)\b|doesn't match any versions|not found in the",
        around,
    )
    return 0.35 if missing else 0.88


def _but_has(hit: Hit, log: Log) -> float | None:
    """Pip warns that what it left does not go together; that torch was replaced just now is told better by another cause."""
    del log
    replaced = "Attempting uninstall: torch" in hit.before
    return 0.4 if replaced else 0.65


def _conda(hit: Hit, log: Log) -> float | None:
    del log
    return 0.3 if hit.groups["what"].startswith("python") else 0.72


def _message(reading: Reading) -> str:
    groups = reading.groups
    if "has" in groups and "by" in groups:
        asked = f"{groups['what']}{groups['spec'].strip()}"
        return say(
            "{by} asks for {asked}, but {what} {has} is installed.",
            by=groups["by"],
            asked=asked,
            what=groups["what"],
            has=groups["has"],
        )
    if "by" in groups and "spec" in groups:
        version = f" {groups['by_version']}" if groups.get("by_version") else ""
        asked = f"{groups['what']}{groups['spec'].rstrip(',')}"
        return say(
            "{by}{version} needs {asked}, and something else asks for another {what}.",
            by=groups["by"],
            version=version,
            asked=asked,
            what=groups["what"],
        )
    return say("What was asked for contradicts itself: no torch fits all of it.")


_BY = r"(?P<by>[A-Za-z][\w.-]{1,40})"
_WHAT = r"(?P<what>torch|torchvision|torchaudio)"

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"Cannot install [^\n]{0,500}\b(?:torch|torchvision|torchaudio|pytorch-lightning"
            r"|ultralytics)\b[^\n]{0,500} because these package versions"
            r" have conflicting dependencies",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=_BY + r" (?P<by_version>\d[\w.+!-]{0,30}) depends on " + _WHAT + r"(?P<spec>[=<>~!][^\s]{1,60})",
            beside=(r"ResolutionImpossible|conflicting dependencies",),
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=_BY
            + r" (?P<by_version>\d[\w.+!-]{0,30}) (?:requires|has requirement) "
            + _WHAT
            + r"(?P<spec>[=<>~!][^\n]{1,60}?), but you(?:'ll)? have (?:torch|torchvision|torchaudio)"
            r" (?P<has>[^\s]{1,40}) which is incompatible",
            weigh=_but_has,
            quoted=True,
        ),
        Signature(
            pattern=_BY
            + r"(?:\{[^}\n]{0,80}\})?(?P<by_version>[=<>][^\s]{1,40})? depends on "
            + _WHAT
            + r"(?:\{[^}\n]{0,80}\})?(?P<spec>[=<>~!][^\s,]{1,60})",
            beside=(r"No solution found|requirements are unsatisfiable",),
            weigh=_depends,
            quoted=True,
        ),
        Signature(
            pattern=r"depends on " + _WHAT + r" \((?P<spec>[^)\n]{1,60})\)",
            beside=(r"version solving failed",),
            weigh=_depends,
            quoted=True,
        ),
        Signature(
            pattern=r"requires (?P<what>pytorch-cuda|pytorch-mutex|pytorch|cudatoolkit|torchvision|torchaudio"
            r"|python)(?P<spec> [^\n]{0,80}?),? but none of the"
            r" providers can be installed",
            weigh=_conda,
            quoted=True,
        ),
        Signature(
            pattern=r"(?P<what>pytorch|pytorch-cuda|pytorch-mutex|torchvision|torchaudio|cudatoolkit) [^\n]{0,80},?"
            r" which conflicts with any installable versions",
            confidence=0.75,
            quoted=True,
        ),
        Signature(
            pattern=r"UnsatisfiableError: The following specifications were found",
            beside=(r"(?:pytorch|torchvision|cudatoolkit)[=<>]|Package (?:pytorch|cudatoolkit|torchvision)",),
            confidence=0.5,
            quoted=True,
        ),
        Signature(
            pattern=r"Double requirement given: (?P<what>torch|torchvision|torchaudio)\b",
            confidence=0.93,
        ),
        Signature(
            pattern=r"There are incompatible versions in the resolved dependencies",
            beside=(r"\btorch(?:vision|audio)?[=<>~]",),
            confidence=0.7,
        ),
        Signature(
            pattern=r"ResolutionImpossible",
            beside=(r"(?:requested|depends on) torch(?:vision|audio)?\b",),
            confidence=0.8,
            quoted=True,
        ),
        Signature(
            pattern=r"Unable to find a resolution (?:for|because)",
            beside=(r"\btorch(?:vision|audio)?[=<>~]",),
            confidence=0.7,
        ),
    ),
    message=_message,
    remedies=(
        Remedy(
            text=later("Let envfix choose a torch with the siblings that belong to it, in an environment of its own."),
            commands=(NEW_ENV,),
        ),
        Remedy(
            text=later(
                "Or correct the list: give torch one pin, take those of torchvision and torchaudio"
                " away, and see what comes out."
            ),
            commands=(("python", "-m", "pip", "install", "--dry-run", "torch==VERSION", "torchvision", "torchaudio"),),
        ),
    ),
    tell_apart=Remedy(text=later("See what does not go together now."), commands=(("python", "-m", "pip", "check"),)),
    with_facts=as_by_log,
)

RULE = Rule(
    code="FAM105",
    cause="conflicting_pins",
    title=later("An installed package asks for another torch"),
    needs=("environment.distributions", "environment.interpreter"),
    check=check,
    rank=38,
    log=LOG,
)
