"""A later installation has replaced the torch that fitted.

What it checks
    torchvision, torchaudio or another package built for one torch was installed first, for another release or
    another kind of build (CPU, one CUDA) than the torch that is there now, and the metadata of torch is newer than
    theirs.

Why it matters
    ``pip install -r requirements.txt`` with an unpinned or another torch takes the build of the default index over
    a working one. Its companions then fail to load, or the GPU is no longer used. Reinstalling torch alone lasts
    until the next installation.

How to fix
    Install the wanted build with its companions in one command, and keep it: pass the constraints file that envfix
    writes (``pip install -c envfix-constraints.txt -r requirements.txt``).

Sources
    Versions, labels, pins and times of the metadata folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine, TorchBuild
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.rules._family import EXTENSIONS, NEW_ENVIRONMENT, installed, requirements, version
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

# Seconds: packages of one installation are written within a minute, slow disks included.
LATER = 60.0
# Who asked for torch was installed with it.
TOGETHER = 600.0


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    torch, item = environment.torch.value, installed(environment).get("torch")
    if torch is None or item is None or item.modified is None or item.installer not in ("pip", "uv"):
        return
    older = [sibling for sibling in _left_behind(environment, torch, item) if sibling.location == item.location]
    if not older:
        return
    culprit = _who_asked(environment, item)
    by = f", by the installation of {culprit.name} {culprit.version}" if culprit else ""
    names = ", ".join(f"{sibling.name} {sibling.build or sibling.version}" for sibling in older)
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=f"A later installation replaced torch with {torch.build}{by}: {names} was installed for another one.",
        because=tuple(_dated(one) for one in (*older, item, *((culprit,) if culprit else ()))),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text="Later, pass its constraints file to each pip install (-c envfix-constraints.txt), so that torch stays."
            ),
        ),
    )


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
        value=f"{item.name} {item.build or item.version}, installed {when:%Y-%m-%d %H:%M} UTC",
        source=f"{item.location}/{item.metadata}",
    )


RULE = Rule(
    code="FAM102",
    cause="requirements_replaced_torch",
    title="A later installation replaced torch",
    needs=("environment.distributions", "environment.torch"),
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
)
