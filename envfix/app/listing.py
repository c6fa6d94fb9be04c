"""wheels: which wheels exist, by the tables."""

from __future__ import annotations

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envfix.app.settings import tables_for
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.model.language import say
from envfix.model.report import WheelRow
from envfix.resolver.request import parse_cuda, parse_torch
from envfix.resolver.target import PLATFORMS, PYTHON
from envfix.tables.loader import Tables
from envfix.tables.wheels import PACKAGES, Package, Wheel


def wheels(
    *,
    packages: tuple[str, ...] = (),
    torch: str | None = None,
    cuda: str | None = None,
    python: str | None = None,
    platform: str | None = None,
    index: str | None = None,
) -> tuple[WheelRow, ...]:
    """Every known wheel that passes all filters, the newest first; raises ``UsageError`` for a filter that makes no sense."""
    tables = tables_for(RealHost())
    wanted, label = parse_torch(torch)
    variant = _variant(cuda, tables) or label
    tag = _tag(python)
    if platform is not None and platform not in PLATFORMS:
        raise UsageError(
            say("--platform {platform!r} is not known", platform=platform),
            hint=say("one of {platforms}", platforms=", ".join(PLATFORMS)),
        )
    return tuple(
        _row(wheel)
        for package in _packages(packages)
        for wheel in tables.wheels.all(package)
        if _belongs(wheel, wanted, tables)
        and variant in (None, wheel.variant)
        and tag in (None, wheel.python)
        and platform in (None, wheel.platform)
        and index in (None, wheel.index)
    )


def _packages(asked: tuple[str, ...]) -> tuple[Package, ...]:
    for name in asked:
        if name not in PACKAGES:
            raise UsageError(
                say("--package {name!r} is not in the tables", name=name),
                hint=say("one of {packages}", packages=", ".join(PACKAGES)),
            )
    return tuple(package for package in PACKAGES if not asked or package in asked)


def _variant(cuda: str | None, tables: Tables) -> str | None:
    if cuda is None or cuda.startswith(("rocm", "xpu")):
        return cuda
    wants, version = parse_cuda(cuda, tables)
    if version is not None:
        return version.variant
    return "cpu" if wants == "cpu" else None


def _tag(python: str | None) -> str | None:
    if python is None or python.startswith("cp"):
        return python
    match = PYTHON.fullmatch(python)
    if match is None:
        raise UsageError(
            say("--python {python!r} is not a Python version", python=python),
            hint=say("for example --python 3.11, 3.13t or cp311"),
        )
    return f"cp{match['major']}{match['minor']}{match['free']}"


def _belongs(wheel: Wheel, wanted: SpecifierSet, tables: Tables) -> bool:
    """Whether a wheel is of a wanted torch, or is the companion of one."""
    if not wanted:
        return True
    versions: tuple[Version, ...] = (wheel.version,)
    if wheel.package == "torchvision":
        versions = tables.companions.torch_of_torchvision(wheel.version)
    elif wheel.package == "torchaudio":
        versions = tables.companions.torch_of_torchaudio(wheel.version)
    return any(wanted.contains(version, prereleases=True) for version in versions)


def _row(wheel: Wheel) -> WheelRow:
    return WheelRow(
        package=wheel.package,
        version=str(wheel.version),
        local_label=wheel.local_label,
        variant=wheel.variant,
        python=wheel.python,
        platform=wheel.platform,
        filename=wheel.filename,
        index=wheel.index,
        url=wheel.url,
        confidence=wheel.confidence,
    )
