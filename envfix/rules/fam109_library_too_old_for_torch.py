"""A library is older than a change in torch that it does not know of.

What you see
    "Weights only load failed", "Unsupported global: GLOBAL ultralytics.nn.tasks.DetectionModel", "No module
    named 'torch._six'", "'Upsample' object has no attribute 'recompute_scale_factor'".

Why
    torch 2.6 and newer load only plain weights unless they are told otherwise; older releases have dropped
    names, functions and headers. A library from before such a change still uses them, YOLOv5 and other old
    projects among them.

How envfix knows
    The installed ultralytics is from before the release that tells torch to load whole models, and torch is 2.6
    or newer. In a log the texts above, and the names that torch has dropped.

How to mend
    Update the library, or hold torch below the change (``torch<2.6`` for weights).

What not to do
    Do not switch the check off (``weights_only=False``) for files of unknown origin: such a file can run any
    code.

Sources
    Metadata of ultralytics; the table of its releases; torch's release notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._changing import in_place
from envfix.rules._environments import NEW_ENV
from envfix.rules._family import NEW_ENVIRONMENT, evidence, installed, version
from envfix.rules._log import LogSide, Reading
from envfix.rules._rule import Rule, cite
from envfix.rules.fam106_mixed_installs import BASICS
from envfix.tables.loader import Tables

REFUSES_SINCE = Version("2.6")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine
    torch, item = environment.torch.value, installed(environment).get("ultralytics")
    here, own = version(torch.build) if torch else None, version(item.version) if item else None
    if torch is None or item is None or here is None or own is None or here < REFUSES_SINCE:
        return
    asks = tables.ultralytics.requirements(own)
    if asks is None or asks.loads_weights_with_torch_2_6:
        return
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.ERROR,
        message=say(
            "The package ultralytics {version} is too old for torch {build}: it cannot load model"
            " files (.pt) with it.",
            version=item.version,
            build=torch.build,
        ),
        because=(*evidence(item), cite("environment.torch", environment.torch, torch.build)),
        remedies=(
            in_place(
                environment,
                say(
                    "Update ultralytics and leave torch as it is.",
                ),
                "install", "-U", "ultralytics", f"torch=={torch.version}",
            ),
            NEW_ENVIRONMENT,
        ),
    )  # fmt: skip


# What torch has dropped; a name that is in neither list is more often too new than too old.
DROPPED_NAMES = frozenset(
    [
        "symeig",
        "eig",
        "lstsq",
        "solve",
        "matrix_rank",
        "gels",
        "gesv",
        "potrf",
        "potrs",
        "trtrs",
        "btrifact",
        "rfft",
        "irfft",
        "zero_gradients",
        "container_abcs",
        "string_classes",
        "int_classes",
        "inf",
        "PY3",
        "PY37",
        "_DataLoaderIter",
        "load_state_dict_from_url",
        "_accumulate",
        "_export",
        "symbolic_registry",
        "_six",
    ]
)
DROPPED_MODULES = (
    "torch._six",
    "torch.utils.ffi",
    "torch.legacy",
    "torch.onnx.symbolic_registry",
    "torch.distributed.deprecated",
    "torch.utils.trainer",
)
_WEIGHTS = re.compile(r"(?i)weights.only|Unsupported (?:global|class)|Can only build Tensor")
FOREIGN = (r"Unsupported operand (?:118|60|123)\b", r"invalid load key, ")


def _dropped(hit: Hit, log: Log) -> float | None:
    """Names that are gone, against those that are not there yet."""
    del log
    name, module = hit.groups["attribute"], hit.groups["module"]
    if name in DROPPED_NAMES or module in DROPPED_MODULES:
        return 0.93
    return None if too_basic(name, module) else 0.35


def too_basic(name: str, module: str) -> bool:
    """What every torch has, or one without CUDA or without its distributed part lacks: not a question of age."""
    return (
        module.startswith("torch._C")
        or (module == "torch" and name in BASICS)
        or name in ("register_fake", "impl_abstract")
        or (
            module == "torch.distributed"
            and name in ("ReduceOp", "is_initialized", "init_process_group", "group", "is_available")
        )
        or name == "_C"
    )


def _gone(hit: Hit, log: Log) -> float | None:
    del log
    return 0.95 if hit.groups["module"].startswith(DROPPED_MODULES) else None


def _remedies(reading: Reading) -> tuple[Remedy, ...]:
    """The library is ultralytics where it is named, or whatever the traceback names."""
    yolo = any("ultralytics" in hit.shown or "ultralytics" in hit.before[-1500:] for hit in reading.hits)
    library = "ultralytics" if yolo else "LIBRARY"
    weights = any(_WEIGHTS.search(hit.text) for hit in reading.hits)
    release = str(REFUSES_SINCE) if weights else "RELEASE"
    change = (
        say("{release}, which refuses such files,", release=release)
        if weights
        else say("the RELEASE that changed what the library needs,")
    )
    text = (
        say("Update ultralytics")
        if yolo
        else say("Update the library that the traceback names, or take newer sources of it")
    )
    return (
        Remedy(
            text=say("{text}, and leave torch as it is.", text=text),
            commands=(("python", "-m", "pip", "install", "-U", library),),
        ),
        Remedy(
            text=say("Or hold torch below {change} in an environment of its own.", change=change),
            commands=((*NEW_ENV, "--torch", f"<{release}"),),
        ),
    )


LOG = LogSide(
    signatures=(
        Signature(pattern=r"Weights only load failed", confidence=0.9, unless=FOREIGN),
        Signature(pattern=r"Unsupported (?:global: GLOBAL|class) (?P<needs>[\w.]+)", confidence=0.93),
        Signature(
            pattern=r"In PyTorch 2\.6, we changed the default value of the `weights_only` argument",
            confidence=0.9,
            unless=FOREIGN,
        ),
        Signature(pattern=r"Can only build Tensor, [Pp]arameter", confidence=0.85),
        Signature(pattern=texts.TORCH_MODULE, weigh=_gone),
        Signature(pattern=texts.TORCH_ATTRIBUTE, weigh=_dropped),
        Signature(pattern=texts.TORCH_NAME, weigh=_dropped),
        Signature(pattern=r"torch\.utils\.ffi is deprecated", confidence=0.95),
        Signature(
            pattern=r"No module named '?torchvision\.(?:transforms\.functional_tensor|models\.utils)", confidence=0.92
        ),
        Signature(
            pattern=r"module 'torchvision(?:\.\w+)*' has no attribute '(?:Scale|RandomSizedCrop|model_urls)'",
            confidence=0.8,
        ),
        Signature(
            pattern=r"No module named '?torchtext\.legacy|module 'torchtext\.data' has no attribute '(?:Field"
            r"|BucketIterator|TabularDataset)'",
            confidence=0.88,
        ),
        Signature(
            pattern=r"No module named '?torchaudio\.backend\b|module 'torchaudio' has no attribute '(?:set_audio_backend"
            r"|list_audio_backends|get_audio_backend|AudioMetaData|info)'",
            confidence=0.85,
        ),
        Signature(pattern=r"No module named '?triton\.ops\b", confidence=0.75),
        Signature(
            pattern=r"'Upsample' object has no attribute 'recompute_scale_factor'"
            r"|'GELU' object has no attribute 'approximate'",
            confidence=0.93,
        ),
        Signature(pattern=r"Legacy autograd function with non-static forward method is deprecated", confidence=0.93),
        Signature(pattern=r"This function was deprecated since version [\d.]+ and is now removed", confidence=0.9),
        Signature(
            pattern=r"stft requires the return_complex parameter be given for real inputs"
            r"|istft requires a complex-valued input tensor",
            confidence=0.92,
        ),
        Signature(pattern=r"Integer division of tensors using div or / is no longer supported", confidence=0.92),
        Signature(
            pattern=r"Subtraction, the `-` operator, with (?:a|two) bool tensors? is not supported", confidence=0.9
        ),
        Signature(
            pattern=r"result type Float can't be cast to the desired output type (?:long|__int64)", confidence=0.9
        ),
        Signature(
            pattern=r"a view of a leaf Variable that requires grad is being used in an in-place operation",
            confidence=0.8,
        ),
        Signature(pattern=r"\w+\.__init__\(\) got an unexpected keyword argument 'verbose'", confidence=0.6),
        Signature(
            pattern=r"THC/\w+\.(?:h|cuh): No such file or directory|Cannot open include file: 'THC/", confidence=0.93
        ),
        Signature(
            pattern=r".AT_CHECK. was not declared in this scope|identifier \"AT_CHECK\" is undefined", confidence=0.95
        ),
        Signature(
            pattern=r"DeprecatedTypeProperties[^\n]{0,60} to .(?:c10|at)::ScalarType|THCState_getCurrentStream",
            confidence=0.9,
        ),
    ),
    message=(
        (
            later(
                "The library that loads this file is older than torch's rule to load only plain"
                " weights: torch refuses {needs}."
            )
        ),
        later("A library is too old for this torch: it uses what torch has changed or dropped."),
    ),
    remedies=_remedies,
    tell_apart=Remedy(
        text=later("See the versions of both."), commands=(("python", "-m", "pip", "show", "torch", "LIBRARY"),)
    ),
)


RULE = Rule(
    code="FAM109",
    cause="library_too_old_for_torch",
    title=later("A library is too old for this torch"),
    needs=("environment.torch", "environment.distributions"),
    check=check,
    rank=39,
    log=LOG,
)
