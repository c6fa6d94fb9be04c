"""torchaudio was built for another torch than the one beside it.

What you see
    "libtorchaudio.so: undefined symbol", "PyTorch has CUDA version 11.8 whereas TorchAudio has CUDA version
    11.7", and on Windows "[WinError 127]" while torchaudio is imported.

Why
    torchaudio's library is linked against one torch: one release, one maker, one CUDA. YOLO does not need it,
    other packages import it on the side.

How envfix knows
    The pin in torchaudio's metadata, or the table of releases where it pins nothing; the CUDA in the labels of
    both; the names that its library takes from torch. In a log a library of torchaudio that complains.

How to mend
    Install the torchaudio that belongs to this torch from the same place, or remove it if nothing needs it.

What not to do
    Do not upgrade the library that merely imports torchaudio: that changes nothing.

Sources
    METADATA and version.py of torchaudio; the table of companions; the ELF header of its library.
"""

from __future__ import annotations

from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Distribution, Environment, Machine, TorchBuild
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, compiled, evidence, installed, requirements, version
from envfix.rules._log import LogSide
from envfix.rules._log_libraries import loading, of_torch, owner
from envfix.rules._roots import root_of_torch
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    torch, audio = environment.torch.value, installed(environment).get("torchaudio")
    if torch is None or audio is None:
        return
    problem = _release(environment, torch, audio, tables) or _label(torch, audio) or _symbols(environment)
    if problem is None:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        follows_from=root_of_torch(machine, environment),
        severity=Severity.WARNING,
        message=say(
            "torchaudio {build} does not belong to torch {build_2}: {problem}.",
            build=audio.build or audio.version,
            build_2=torch.build,
            problem=problem,
        ),
        because=(cite("environment.torch", environment.torch, torch.build), *evidence(audio)),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text=say("Or remove torchaudio, if nothing you run needs it."),
                commands=pip(environment, "uninstall", "-y", "torchaudio"),
                safe=False,
            ),
        ),
    )


def _release(environment: Environment, torch: TorchBuild, audio: Distribution, tables: Tables) -> str | None:
    here, own = version(torch.build), version(audio.version)
    if here is None or own is None:
        return None
    for asked in requirements(environment, iter((audio,))):
        if asked.requirement.name == "torch" and asked.extra is None:
            wanted = asked.requirement.specifier
            return (
                None
                if wanted.contains(here.public, prereleases=True)
                else say("it was built for torch {wanted}", wanted=wanted).replace("==", "")
            )
    known = tables.companions.torch_of_torchaudio(own)
    if not known or tables.companions.pin_of("torchaudio", own) == "" or Version(here.public) in known:
        return None
    # A release of torch that the table does not know may go with it.
    if tables.companions.of(Version(here.public)) is None:
        return None
    return say("it was built for torch {known}", known=known[0])


def _label(torch: TorchBuild, audio: Distribution) -> str | None:
    """When it is imported, torchaudio itself compares the CUDA releases and refuses any difference."""
    own = version(audio.build or audio.version)
    label = own.local if own else None
    if label is None or torch.hip or not (label == "cpu" or label.startswith("cu")):
        return None
    if label == torch.variant or (label == "cpu" and torch.cuda is not None):
        return None  # a CPU build does its work on the processor beside any torch
    return say("it was built for {label}, torch for {variant}", label=label, variant=torch.variant)


def _symbols(environment: Environment) -> str | None:
    for file in compiled(environment, "torchaudio"):
        if file.missing_symbols:
            return say(
                "its library takes {missing_symbols} from torch, which this torch does not have",
                missing_symbols=file.missing_symbols[0],
            )
    return None


def _symbol(hit: Hit, log: Log) -> float | None:
    """A name of torch; names of codecs are missing from libraries that it was built without."""
    del log
    if owner(hit.groups.get("library", "")) != "torchaudio":
        return None
    symbol = hit.groups.get("symbol")
    return 0.95 if symbol is None or of_torch(symbol) else 0.6


def _loaded(hit: Hit, log: Log) -> float | None:
    del log
    return 0.85 if loading(hit) == "torchaudio" else None


def _in_windows(hit: Hit, log: Log) -> float | None:
    """A function is missing (127), or a library that it needs (126)."""
    del log
    if loading(hit) != "torchaudio" and "torchaudio" not in hit.after[:200]:
        return None
    return 0.92 if "127" in hit.text else 0.5


def _other_cuda(hit: Hit, log: Log) -> float | None:
    del log
    return 0.97 if hit.groups["library"].lower() == "torchaudio" else None


def _operator(hit: Hit, log: Log) -> float | None:
    del log
    return 0.9 if (hit.groups.get("library") or hit.groups.get("namespace")) == "torchaudio" else None


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.OTHER_CUDA, weigh=_other_cuda),
        Signature(
            pattern=r"PyTorch"
            r" has CUDA version (?P<torch_cuda>[\d.]*\d) whereas TorchAudio has CUDA version (?P<other_cuda>[\d.]*\d)",
            confidence=0.97,
        ),
        Signature(pattern=texts.UNDEFINED_SYMBOL, weigh=_symbol),
        Signature(pattern=texts.SYMBOL_NOT_FOUND, weigh=_symbol),
        Signature(pattern=texts.TORCH_LIBRARY_MISSING, weigh=_loaded),
        Signature(pattern=texts.CUDA_LIBRARY_MISSING, weigh=_loaded),
        Signature(pattern=r"WinError 12[67]\b", weigh=_in_windows),
        Signature(pattern=r"Could not load this library: [^\n]{0,300}[/\\]torchaudio[/\\]", confidence=0.85),
        Signature(
            pattern=r"Could not find module '[^'\n]{0,300}torchaudio[/\\][^'\n]{1,100}' \(or one of its dependencies\)",
            confidence=0.7,
        ),
        Signature(pattern=texts.NO_OPERATOR, weigh=_operator),
    ),
    message=(
        (
            later(
                "torch was built with CUDA {torch_cuda}, torchaudio with CUDA {other_cuda}:"
                " torchaudio cannot be imported beside it."
            )
        ),
        later("torchaudio was built for another torch than the one beside it: its library does not load."),
    ),
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later("Or reinstall torchaudio from the index and in the release of the installed torch."),
            commands=(
                (
                    "python",
                    "-m",
                    "pip",
                    "install",
                    "--force-reinstall",
                    "--no-deps",
                    "torchaudio==TORCH_VERSION",
                    "--index-url",
                    "INDEX_URL",
                ),
            ),
            safe=False,
        ),
        Remedy(
            text=later("Or remove torchaudio, if nothing you run needs it."),
            commands=(("python", "-m", "pip", "uninstall", "-y", "torchaudio"),),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See the versions of both."), commands=(("python", "-m", "pip", "show", "torch", "torchaudio"),)
    ),
)


RULE = Rule(
    code="FAM104",
    cause="torchaudio_torch_mismatch",
    title=later("torchaudio was built for another torch"),
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=37,
    log=LOG,
)
