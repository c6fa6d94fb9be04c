"""Another cuDNN is used than the one torch was built with.

What you see
    "cuDNN version incompatibility: PyTorch was compiled against (8, 3, 2) but found runtime version (8, 0, 3)", "Could not load
    library libcudnn_cnn_train.so.8 ... undefined symbol", "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH", "FIND was unable to find an
    engine". Convolutions fail, everything else works.

Why
    A cuDNN of the system, of a cluster's module, of conda or of another pip package (onnxruntime, tensorflow, ctranslate2) comes
    before torch's own, or replaced it.

How envfix knows
    The version of the installed nvidia-cudnn package against the one that torch's metadata pins; a cuDNN on LD_LIBRARY_PATH or
    loaded by the import from outside the environment, of the same major number as torch's own. In logs the texts above.
    CUDNN_STATUS_NOT_INITIALIZED, CUDNN_STATUS_EXECUTION_FAILED and "unable to find an engine" also stand for a full card, so alone
    they are believed little.

How to mend
    Take the external cuDNN off the path, or bring the pip package back to the version that torch names.

What not to do
    Copying cuDNN files into torch or installing cuDNN system-wide makes it worse; switching cuDNN off for good hides it.

Sources
    Requires-Dist of torch, metadata of nvidia-cudnn, the files on LD_LIBRARY_PATH, the libraries of the process;
    torch/backends/cudnn/__init__.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Distribution, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules._changing import in_place
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import (
    NEW_ENVIRONMENT,
    evidence,
    import_evidence,
    import_failure,
    import_works,
    installed,
    key_of,
    requirements,
    version,
)
from envfix.rules._libraries import is_bundled, loaded, loaded_from_outside, older, placed, shadowing, without_path
from envfix.rules._log import LogSide
from envfix.rules._log_patterns import (
    CUDNN_EXECUTION_FAILED,
    CUDNN_INTERNAL_ERROR,
    CUDNN_NO_ALGORITHM,
    CUDNN_NO_ENGINE,
    CUDNN_NOT_INITIALIZED,
)
from envfix.rules._rule import Rule
from envfix.tables.loader import Tables

SAYS = regex(r"cuDNN version incompatibility|Could not load library libcudnn|undefined symbol: cudnn\w+", re.IGNORECASE)


class Pinned(NamedTuple):
    """The cuDNN package that torch asks for and the one that is installed."""

    item: Distribution
    wanted: str
    too_old: bool
    other_major: bool


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    said = environment.torch_import.value
    text = f"{import_failure(environment) or ''} {said.cuda_problem if said else ''}"
    pinned, shadows = pin(environment), shadowing(machine, environment, cudnn=True)
    outside = tuple(path for path in loaded_from_outside(environment, cudnn=True) if is_bundled(path, environment))
    if pinned is not None and (pinned.too_old or pinned.other_major):
        severity = Severity.WARNING if import_works(environment) and not pinned.other_major else Severity.ERROR
        message = say(
            "torch was built with cuDNN {wanted}, but {item} {version} is installed.",
            wanted=pinned.wanted,
            item=pinned.item.name,
            version=pinned.item.version,
        )
    elif SAYS.search(text):
        severity, message = Severity.ERROR, say("torch meets another cuDNN than the one it was built with.")
    elif outside:
        severity = Severity.WARNING
        message = say(
            "torch loads a cuDNN from outside ({outside}) instead of the one that came with it.", outside=outside[0]
        )
    elif environment.torch_import.is_unknown and any(older(library, environment) for library in shadows):
        severity, message = (
            Severity.WARNING,
            say("An older cuDNN on LD_LIBRARY_PATH is found before the one that came with torch."),
        )
    else:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=severity,
        message=message,
        because=(
            *(evidence(pinned.item) if pinned else ()),
            *placed(machine, shadows),
            *loaded(environment, outside),
            *(_said(environment) if SAYS.search(text) else ()),
        ),
        remedies=(*_remedies(environment, pinned, shadowed=bool(shadows or outside)), NEW_ENVIRONMENT),
    )


def pin(environment: Environment) -> Pinned | None:
    """The cuDNN that torch pins against what is installed under that name; None where it pins nothing or nothing is installed."""
    here = installed(environment)
    torch = here.get("torch")
    for asked in requirements(environment, iter((torch,))) if torch else ():
        name, exact = key_of(asked.requirement.name), re.fullmatch(r"==([\d.]+)", str(asked.requirement.specifier))
        item = here.get(name)
        if not name.startswith("nvidia-cudnn") or exact is None or item is None:
            continue
        wanted, own = version(exact[1]), version(item.version)
        if wanted is not None and own is not None:
            too_old = own.release[:2] < wanted.release[:2]
            return Pinned(item, exact[1], too_old, own.major != wanted.major)
    return None


def _said(environment: Environment) -> tuple[Evidence, ...]:
    said = environment.torch_import.value
    problem = said.cuda_problem if said else None
    cuda = Evidence(fact="environment.torch_import", value=problem or "", source=environment.torch_import.source)
    return (*import_evidence(environment), *((cuda,) if problem else ()))


def _remedies(environment: Environment, pinned: Pinned | None, *, shadowed: bool) -> Iterator[Remedy]:
    if pinned is not None and (pinned.too_old or pinned.other_major):
        yield in_place(
            environment,
            say("Bring cuDNN back to what this torch names."),
            "install",
            f"{pinned.item.name}=={pinned.wanted}",
        )
    if shadowed:
        yield without_path(environment)


def _weigh_load(hit: Hit, log: Log) -> float | None:
    """What the loader says behind "Could not load library libcudnn...": a symbol, a missing file or another library."""
    del log
    rest = hit.after[:600].partition("Could not load")[0]
    if re.search(r"libcuda\.so|libnvrtc|1455|pagefile|paging file", rest):
        return None
    if re.search(r"undefined symbol|symbol \w+|Cannot load symbol|version `?libcudnn|error code 127", rest):
        return 0.93
    if re.search(r"cannot open shared object|No such file|[Ee]rror code 126", rest):
        return 0.4
    return 0.6


def _weigh_missing(hit: Hit, log: Log) -> float | None:
    """A full number (9.4.0) that torch's code does not ask for by itself comes from a cuDNN that lies elsewhere."""
    if log.found(_CTRANSLATE):
        return 0.3
    return 0.6 if re.search(r"\.so\.\d+\.\d+\.\d+", hit.text) else 0.5


def _weigh_symbol(hit: Hit, log: Log) -> float | None:
    """CTranslate2 says so too where the library is not there at all."""
    return 0.55 if "Cannot load" in hit.text and log.found(_CTRANSLATE) else 0.88


_CTRANSLATE = r"ctranslate2|faster[_-]whisper|whisperx"

LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"cuDNN version incompatibility: PyTorch was compiled against \((?P<built>[\d,\x20]+)\) but"
            r" (?:found runtime version|linked against) \((?P<found>[\d,\x20]+)\)",
            confidence=0.98,
        ),
        Signature(
            pattern=r"Found cuDNN version (?P<found>\d{4,6}), but \w+ was built against version (?P<built>\d{4,6})",
            confidence=0.97,
        ),
        Signature(
            pattern=r"(?i)cuDNN version (?:incompatibility|mismatch: PyTorch was compiled against)", confidence=0.95
        ),
        Signature(
            pattern=r"Loaded runtime CuDNN library: (?P<found>[\d.]+) but source was compiled with: (?P<built>[\d.]+)",
            confidence=0.95,
        ),
        Signature(
            pattern=r"CUDNN_STATUS_(?:SUBLIBRARY_)?VERSION_MISMATCH|CUDNN_STATUS_RUNTIME_PREREQUISITE_MISSING",
            confidence=0.9,
        ),
        Signature(pattern=r"CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED", confidence=0.7),
        Signature(
            pattern=r"undefined symbol: \w*cudnn\w*|undefined symbol: \w+, version libcudnn\w*\.so"
            r"|symbol \w+,? version libcudnn\w*\.so\.\d+ not defined"
            r"|Could not load symbol cudnn\w+|Cannot load symbol cudnn\w+",
            weigh=_weigh_symbol,
            looks_at=(_CTRANSLATE,),
        ),
        Signature(
            pattern=r"Could not load library (?:libcudnn\w*\.so[.\d]*|cudnn\w*\.dll)\.? (?:Error|error)",
            weigh=_weigh_load,
        ),
        Signature(pattern=r"Unable to load any of \{libcudnn[^}\n]*", weigh=_weigh_missing, looks_at=(_CTRANSLATE,)),
        Signature(pattern=r"(?i)CUDNN_BACKEND_\w+:?\s?cudnnFinalize\s?failed", confidence=0.65),
        Signature(pattern=CUDNN_NO_ENGINE, confidence=0.5),
        Signature(pattern=CUDNN_NO_ALGORITHM, confidence=0.2),
        Signature(pattern=CUDNN_NOT_INITIALIZED, confidence=0.4),
        Signature(pattern=CUDNN_EXECUTION_FAILED, confidence=0.3),
        Signature(pattern=CUDNN_INTERNAL_ERROR, confidence=0.3),
        Signature(pattern=r"CUDNN_STATUS_MAPPING_ERROR|CUDNN_STATUS_BAD_PARAM", confidence=0.2),
        Signature(pattern=r"No execution plans support the graph|No valid engine configs", confidence=0.3),
        Signature(
            pattern=r"Failed to get convolution algorithm\. This is probably because cuDNN failed to initialize"
            r"|DNN library initialization failed"
            r"|Could not create cudnn handle|DNN library is not found",
            confidence=0.4,
        ),
        Signature(
            pattern=r"LD_LIBRARY_PATH`?\.?[^\n]{0,60}PyTorch (?:already )?comes (?:bundled )?with cuDNN",
            confidence=0.9,
        ),
    ),
    message=(
        later("torch was built with cuDNN ({built}), and ({found}) is loaded instead."),
        later("Another cuDNN seems to be loaded than the one that the program was built with."),
    ),
    remedies=(
        Remedy(
            text=later(
                "Start the program without LD_LIBRARY_PATH: torch brings its own cuDNN. Where that"
                " helps, take the folder with libcudnn out of the variable for good."
            ),
            commands=(
                (
                    "env",
                    "-u",
                    "LD_LIBRARY_PATH",
                    "python",
                    "-c",
                    "import torch; print(torch.backends.cudnn.version())",
                ),
                ("unset", "LD_LIBRARY_PATH"),
            ),
        ),
        Remedy(
            text=later(
                "If the variable is empty, another package has replaced nvidia-cudnn: see which"
                " version torch asks for, and bring that one back, or let envfix choose a stack"
                " that fits together."
            ),
            commands=(
                ("python", "-m", "pip", "check"),
                NEW_ENV,
            ),
        ),
    ),
    tell_apart=Remedy(
        text=later(
            "Run one small convolution without LD_LIBRARY_PATH: if it works, another cuDNN was in"
            " the way; if the same message comes only with the full model, the card's memory is"
            " full."
        ),
        commands=(
            (
                "env",
                "-u",
                "LD_LIBRARY_PATH",
                "python",
                "-c",
                "import torch; torch.nn.Conv2d(3, 8, 3).cuda()(torch.ones(1, 3, 32, 32).cuda()); print('works')",
            ),
        ),
    ),
    explains=("torch_import_fails",),
)


RULE = Rule(
    code="LIB102",
    cause="cudnn_version_conflict",
    title=later("Another cuDNN than torch's own"),
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=41,
    explains=("torch_import_fails",),
    log=LOG,
)
