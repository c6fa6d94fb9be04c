"""A later installation has replaced the torch that fitted.

What you see
    "Attempting uninstall: torch", "Found existing installation: torch 2.3.0+cu121" while something else is
    installed; afterwards "Torch not compiled with CUDA enabled" or an extension that no longer loads.

Why
    ``pip install -r requirements.txt`` with an unpinned or another torch takes the build of the default index
    over a working one. Packages that ask for one exact torch (torchaudio, xformers) do the same. Its companions
    then fail to load, or the GPU is no longer used.

How envfix knows
    torchvision, torchaudio or another package built for one torch was installed first, for another release or
    another kind of build (CPU, one CUDA) than the torch that is there now, and the metadata of torch is newer
    than theirs. Or the constraints file that envfix has left in the environment holds another torch in place than the one
    that is there. In a log the lines of pip, uv or conda that name the torch that goes and the one that comes.

How to mend
    Install the wanted build with its companions in one command, and keep it: pass the constraints file that
    envfix writes (``pip install -c envfix-constraints.txt -r requirements.txt``).

What not to do
    Do not reinstall torch alone: that lasts until the next installation. ``--no-deps`` everywhere breaks other
    packages.

Sources
    Versions, labels, pins and times of the metadata folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules import _log_patterns as texts
from envfix.rules._family import EXTENSIONS, NEW_ENVIRONMENT, installed, requirements, version
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# Seconds: packages of one installation are written within a minute, slow disks included.
LATER = 60.0
# Who asked for torch was installed with it.
TOGETHER = 600.0


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    lost = _lost(environment)
    if lost is not None:
        yield lost
        return
    torch, item = environment.torch.value, installed(environment).get("torch")
    if torch is None or item is None or item.modified is None or item.installer not in ("pip", "uv"):
        return
    older = [sibling for sibling in _left_behind(environment, torch, item) if sibling.location == item.location]
    if not older:
        return
    culprit = _who_asked(environment, item)
    by = (
        say(", by the installation of {culprit} {version}", culprit=culprit.name, version=culprit.version)
        if culprit
        else ""
    )
    names = ", ".join(f"{sibling.name} {sibling.build or sibling.version}" for sibling in older)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "A later installation replaced torch with {build}{by}: {names} was installed for another one.",
            build=torch.build,
            by=by,
            names=names,
        ),
        because=tuple(_dated(one) for one in (*older, item, *((culprit,) if culprit else ()))),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text=say(
                    "Later, pass its constraints file to each pip install (-c"
                    " envfix-constraints.txt), so that torch stays."
                )
            ),
        ),
    )


def _lost(environment: Environment) -> Finding | None:
    """What envfix has installed and is no longer there in that version."""
    there = installed(environment)
    for line in environment.held.value or ():
        wanted = Requirement(line)
        item = there.get(canonicalize_name(wanted.name))
        now = version(item.version) if item else None
        if wanted.name not in ("torch", "torchvision", "torchaudio") or item is None or now is None:
            continue
        if wanted.specifier.contains(now, prereleases=True):
            continue
        target = environment.interpreter.value
        file = f"{target.prefix}/envfix-constraints.txt" if target else "envfix-constraints.txt"
        exact = _exact(str(wanted.specifier)) or str(wanted.specifier)
        return Finding(
            code=RULE.code,
            cause=RULE.cause,
            severity=Severity.ERROR,
            message=say(
                "A later installation replaced {wanted} {exact}, which envfix had installed, with {version}.",
                wanted=wanted.name,
                exact=exact,
                version=item.version,
            ),
            because=(
                Evidence(fact="environment.held", value=line, source=environment.held.source),
                *((_dated(item),) if item.modified is not None else ()),
            ),
            remedies=(
                Remedy(
                    text=say("Put the stack back."),
                    commands=(("envfix", "install", "--torch", _torch_of(environment)),),
                ),
                Remedy(
                    text=say("Later, pass the constraints file to each pip install, so that torch stays."),
                    commands=(("python", "-m", "pip", "install", "-c", file, "PACKAGE"),),
                ),
            ),
        )
    return None


def _torch_of(environment: Environment) -> str:
    """The specifier of torch in the constraints file."""
    held = (Requirement(line) for line in environment.held.value or ())
    return next((str(one.specifier) for one in held if one.name == "torch"), ">0")


def _left_behind(environment: Environment, torch: TorchBuild, item: Distribution) -> Iterator[Distribution]:
    """Packages for another torch that were there before this one came."""
    pins = {
        asked.by.name: version(_exact(str(asked.requirement.specifier)))
        for asked in requirements(environment, of=("torch",))
        if asked.requirement.name == "torch" and asked.extra is None
    }
    now = version(torch.build)
    for name, sibling in installed(environment).items():
        if name not in EXTENSIONS | {"torchvision", "torchaudio"} or sibling.modified is None or item.modified is None:
            continue
        pin = pins.get(sibling.name)
        other = pin is not None and now is not None and Version(pin.public) != Version(now.public)
        if (other or _other_kind(sibling, torch)) and item.modified - sibling.modified > LATER:
            yield sibling


def _exact(specifier: str) -> str | None:
    return specifier[2:] if specifier.startswith("==") and "," not in specifier and "*" not in specifier else None


def _other_kind(sibling: Distribution, torch: TorchBuild) -> bool:
    """Its label says CPU or one CUDA, and torch is the other kind."""
    own = version(sibling.build or sibling.version)
    label = own.local if own else None
    if label is None or torch.hip:
        return False
    if label == "cpu" or torch.cuda is None:
        return (label == "cpu") != (torch.cuda is None) and (label == "cpu" or label.startswith("cu"))
    return label.startswith("cu") and label[2:].isdigit() and label[2:-1] != str(torch.cuda.major)


def _who_asked(environment: Environment, torch: Distribution) -> Distribution | None:
    """The package that came last together with torch and asks for it."""
    asking = [
        asked.by
        for asked in requirements(environment, of=("torch",))
        if asked.requirement.name == "torch"
        and asked.by.name.lower() not in ("torchvision", "torchaudio")
        and asked.by.modified is not None
        and torch.modified is not None
        and 0 <= asked.by.modified - torch.modified < TOGETHER
    ]
    return max(asking, key=lambda one: one.modified or 0.0, default=None)


def _dated(item: Distribution) -> Evidence:
    when = datetime.fromtimestamp(item.modified or 0.0, tz=timezone.utc)
    return Evidence(
        fact="environment.distributions",
        value=say(
            "{item} {build}, installed {when:%Y-%m-%d %H:%M} UTC",
            item=item.name,
            build=item.build or item.version,
            when=when,
        ),
        source=f"{item.location}/{item.metadata}",
    )


PIP = r"Found existing installation: (?:torch|pytorch) (?P<old>\d[\w.+]*)"
ASKED = r"Collecting torch(?P<asked>[=<>!~]=?[^\s(]*|) \(from (?P<by>[\w.-]+)"
UV = r"- torch==(?P<old>\d[\w.+]*)\s+\+ torch==(?P<new>\d[\w.+]*)"
CONDA = r"\bpytorch\s+(?P<old>\d[\w.]*-\w*cu(?:da)?\d[\w.]*) --> (?P<new>\d[\w.]*-\w*cpu\w*)"
AFTERWARDS = (texts.NOT_AVAILABLE, texts.NOT_COMPILED, texts.INVALID_DEVICE)
# Who installs torch itself knows what they do: its family does not come by surprise.
_OWN = regex(r"whl/(?:nightly/)?cu\d{2,3}|whl/cpu|(?:pip3?|uv) (?:pip )?install [^\n]*\btorch(?:==|\s|$)")


_INSTALLED = regex(r"Successfully installed [^\n]*?\btorch-(\d[\w.+]*)")
# A row of `pip list`: "torch   2.0.1+cu118".
_LISTED = regex(r"(?m)^\s*torch\s+(\d[\d.]*\+cu\d+)\s*$")


def _kind(build: str) -> str | None:
    """The label of a build that says what it can use."""
    label = build.partition("+")[2]
    return re.sub(r"\d$", "", label) if re.match(r"cu\d", label) else label or None


def _by_pip(hit: Hit, log: Log) -> float | None:
    """A build with a label that goes for one without is the fault; the same release from a torch index is wanted."""
    old = hit.groups["old"]
    new = _INSTALLED.search(hit.after)
    if new is not None and new[1] == old:
        return None
    lost = (_kind(old) or "").startswith("cu") and (new is None or not (_kind(new[1]) or "").startswith("cu"))
    followed = any(map(log.found, AFTERWARDS))
    if _OWN.search(hit.before[-3000:]):
        return 0.3 if followed else None
    asked = any(not one.groups.get("by", "").startswith(("torchvision", "-r")) for one in log.found(ASKED))
    if lost:
        return 0.9 if asked or followed or new is not None else 0.8
    return 0.75 if asked and followed else 0.5 if followed else 0.35 if asked else None


def _fetched(hit: Hit, log: Log) -> float | None:
    """Another torch is fetched for a package than the one that a list of packages before it shows, which had a label."""
    del log
    there = _LISTED.search(hit.before[-3000:])
    asked = hit.groups["asked"].removeprefix("==")
    return 0.75 if there and hit.groups["asked"].startswith("==") and there[1].partition("+")[0] != asked else None


def _by_uv(hit: Hit, log: Log) -> float | None:
    old, new = hit.groups["old"], hit.groups["new"]
    followed = any(map(log.found, AFTERWARDS))
    if (_kind(old) or "").startswith("cu") and not (_kind(new) or "").startswith("cu"):
        return 0.9
    return 0.85 if followed else 0.5 if old.split(".")[:2] != new.split(".")[:2] else None


def _message(reading: Reading) -> str:
    old, new, by = (reading.groups.get(name) for name in ("old", "new", "by"))
    if not new:
        found = next(filter(None, (_INSTALLED.search(hit.after) for hit in reading.hits)), None)
        new = found[1] if found else None
        asked = reading.groups.get("asked", "")
        new = new or (asked[2:] if asked.startswith("==") else None)
    if not old:
        listed = next(filter(None, (_LISTED.search(hit.before[-3000:]) for hit in reading.hits)), None)
        old = listed[1] if listed else None
    who = say(" ({by} asked for it)", by=by) if by and not by.startswith("-") else ""
    if old and new:
        return say("A later installation replaced torch {old} with {new}{who}.", old=old, new=new, who=who)
    return say(
        "A later installation replaced torch {old}{who}: what was built for it no longer fits, or the GPU is lost.",
        old=old or say("that fitted"),
        who=who,
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=PIP, weigh=_by_pip, looks_at=(ASKED, *AFTERWARDS)),
        Signature(pattern=ASKED, weigh=_fetched),
        Signature(pattern=UV, weigh=_by_uv, looks_at=AFTERWARDS),
        Signature(pattern=CONDA, confidence=0.85),
    ),
    message=_message,
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later("Then pass the constraints file that envfix writes to each pip install, so that torch stays."),
            commands=(("python", "-m", "pip", "install", "-c", "envfix-constraints.txt", "-r", "requirements.txt"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See what an installation would change before it does."),
        commands=(("python", "-m", "pip", "install", "--dry-run", "-r", "requirements.txt"),),
    ),
)


RULE = Rule(
    code="FAM102",
    cause="requirements_replaced_torch",
    title=later("A later installation replaced torch"),
    needs=("environment.distributions",),
    check=check,
    rank=30,
    explains=(
        "torchvision_torch_mismatch",
        "torchvision_cpu_with_cuda_torch",
        "torchaudio_torch_mismatch",
        "cpu_only_build_installed",
        "prebuilt_extension_abi_mismatch",
        "conflicting_pins",
        "torch_import_fails",
    ),
    log=LOG,
)
