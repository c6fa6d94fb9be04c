"""A package imports torch while it is being built, and the builder's own environment has none.

What you see
    "Getting requirements to build wheel ... error" and "ModuleNotFoundError: No module named 'torch'", although
    torch is installed; with uv "Failed to build `flash-attn`" and "depends on `torch`, but doesn't declare it
    as a build dependency".

Why
    pip, uv and poetry build a package in an environment of its own, with only what the package declares.
    flash-attn, detectron2, mmcv, torch-scatter, pytorch3d, apex and others import torch in their setup.py and
    do not declare it.

How envfix knows
    The missing module in the lines of a build (``pip-build-env``, ``build_meta.py``, "Getting requirements to
    build wheel"). No facts of a machine show it.

How to mend
    Install torch first, then the package with ``--no-build-isolation`` (uv: ``no-build-isolation-package``), or
    take a wheel of it that was built for this torch.

What not to do
    Do not reinstall torch: it is installed, and the build does not look there.

Sources
    PEP 517 and PEP 518; the documentation of pip and uv.
"""

from __future__ import annotations

from envfix.model.finding import Remedy
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules import _log_patterns as texts
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule

# What stands around a build's own messages.
_BUILDING = (
    "pip-build-env",
    "build_meta.py",
    "Getting requirements to build",
    "get_requires_for_build",
    "The build backend returned an error",
    "Build backend failed",
    "builds-v0",
    "Preparing metadata",
    "prepare_metadata_for_build",
    "metadata-generation-failed",
    "setuptools.build_meta",
    "Failed to build",
    "Failed building",
    "Backend subprocess exited",
    "pyproject_hooks",
    "setup.py egg_info",
    "egg_info did not run",
    "ChefBuildError",
    "pep517",
    "Failed to download and build",
    "setup.py bdist_wheel",
    "bdist_wheel did not run",
    "PEP517",
)
_ISOLATED = (
    "pip-build-env",
    "build_meta",
    "get_requires_for_build",
    "builds-v0",
    "build backend",
    "Build backend",
    "Backend subprocess",
    "Getting requirements to build",
)
_BEFORE, _AFTER = 3000, 900


def while_building(hit: Hit) -> bool:
    """Whether a place stands among the lines of a package that is being built."""
    around = hit.before[-_BEFORE:] + hit.text + hit.after[:_AFTER]
    return any(mark in around for mark in _BUILDING)


def _in_a_build(hit: Hit, log: Log) -> float | None:
    """Without isolation (``setup.py egg_info``) torch is missing from the environment itself; the remedy begins alike."""
    del log
    if not while_building(hit):
        return None
    around = hit.before[-_BEFORE:] + hit.after[:_AFTER]
    return 0.95 if any(mark in around for mark in _ISOLATED) else 0.75


def _named_by_installer(hit: Hit, log: Log) -> float | None:
    """Only the package whose build missed torch."""
    del hit
    return 0.6 if any(map(while_building, log.found(texts.NO_MODULE_TORCH))) else None


_NAMED = regex(r"(?:Collecting|Building wheel for|Installing|Building|Preparing) ([A-Za-z][\w.-]*)(?=[\s=<>!~(@\[])")


def _package(reading: Reading) -> str | None:
    """The package that is being built: as the installer names it in its error, or above it."""
    package = reading.groups.get("package")
    if package:
        return package
    names = [
        name for name in _NAMED.findall(reading.hits[0].before[-_BEFORE:]) if name not in ("build", "wheel", "metadata")
    ]
    return names[-1] if names else None


def _message(reading: Reading) -> str:
    package = _package(reading)
    who = say("{package} imports", package=package) if package else say("A package imports")
    return say(
        "{who} torch while it is being built, and the builder's own environment has no torch"
        " (the one that is installed does not count).",
        who=who,
    )


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    package = _package(reading) or "PACKAGE"
    text = say("Install torch first, then build the package with what is installed.")
    torch, again = ("torch",), ("--no-build-isolation", package)
    if reading.log.found(BY_UV):
        commands = (("uv", "pip", "install", *torch, "setuptools"), ("uv", "pip", "install", *again))
        return (
            Remedy(text=text, commands=commands),
            Remedy(
                text=say(
                    "In a project of uv, name it in pyproject.toml under [tool.uv]:"
                    ' no-build-isolation-package = ["{package}"].',
                    package=package,
                )
            ),
            WHEEL,
        )
    python = ("python", "-m", "pip", "install")
    return (Remedy(text=text, commands=((*python, *torch, "setuptools", "wheel"), (*python, *again))), WHEEL)


WHEEL = Remedy(
    text=later(
        "Or install a wheel of the package that was built for this torch, CUDA and Python: nothing is built then."
    )
)
BY_UV = (
    r"The build backend returned an error|Build backend failed|builds-v0|Failed to (?:build"
    r"|download and build) `|no-build-isolation-package"
)
FAILED = r"Failed to (?:build|download and build)[:\s]{1,3}[`']?(?P<package>[A-Za-z][\w.-]*)"

LOG = LogSide(
    signatures=(
        Signature(pattern=texts.NO_MODULE_TORCH, weigh=_in_a_build, looks_at=(BY_UV,)),
        Signature(
            pattern=r"`?(?P<package>[A-Za-z][\w.-]*?)(?:@[\w.+-]+"
            r"|` \(v[\w.+-]+\))?`? depends on `torch`, but doesn't declare it as a build dependency",
            confidence=0.97,
            quoted=True,
        ),
        Signature(pattern=FAILED, weigh=_named_by_installer, looks_at=(texts.NO_MODULE_TORCH,)),
    ),
    message=_message,
    remedies=_remedies,
    tell_apart=Remedy(
        text=later("See whether torch is there outside of the build."),
        commands=(("python", "-c", "import torch; print(torch.__version__)"),),
    ),
    explains=("torch_not_installed", "wrong_interpreter"),
)

RULE = Rule(
    code="FAM114",
    cause="build_isolation_no_torch",
    title=later("A build in isolation does not see torch"),
    needs=(),
    check=None,  # no facts of a machine show it: it is over when the build ends
    rank=39,
    log=LOG,
)
