"""An installed library needs a newer torch.

What you see
    "Disabling PyTorch because PyTorch >= 2.1 is required but found 2.0.1", "No module named 'torch.ao'",
    "module 'torch' has no attribute 'compiler'".

Why
    The library switches its torch parts off, or fails on names and modules that are not there yet. Drivers,
    cards and exact pins of other packages are what holds torch back.

How envfix knows
    What installed packages ask for in their metadata, transformers' optional torch included, against the
    installed torch. In a log the texts above, and the names that came with newer releases of torch.

How to mend
    A newer torch, as new as driver and card allow; where they do not, hold the library back.

What not to do
    Do not edit the check away: what the library needs is still not there.

Sources
    Requires-Dist in the metadata of the installed packages; torch's release notes.
"""

from __future__ import annotations

from collections.abc import Iterator

from envfix.model.facts import Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.rules import _log_patterns as texts
from envfix.rules._changing import pip
from envfix.rules._family import NEW_ENVIRONMENT, Asked, requirements, version
from envfix.rules._log import LogSide
from envfix.rules._log_libraries import loading
from envfix.rules._rule import Rule, cite
from envfix.rules.fam105_conflicting_pins import only_too_old, unsatisfied
from envfix.rules.fam109_library_too_old_for_torch import DROPPED_MODULES, DROPPED_NAMES, too_basic
from envfix.tables.loader import Tables

# Their torch is an extra, yet they look for it whenever it is installed.
OPTIONAL = ("transformers", "diffusers", "accelerate")


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del machine, tables
    torch = environment.torch.value
    if torch is None:
        return
    broken = [
        asked
        for asked, has in unsatisfied(environment)
        if asked.requirement.name == "torch" and only_too_old(asked, has)
    ]
    broken += [asked for asked in _optional(environment) if only_too_old(asked, torch.build)]
    if not broken:
        return
    first = broken[0]
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=Severity.WARNING,
        message=say(
            "torch {build} is too old for {by} {version}, which asks for torch {specifier}.",
            build=torch.build,
            by=first.by.name,
            version=first.by.version,
            specifier=first.requirement.specifier,
        ),
        because=(
            cite("environment.torch", environment.torch, torch.build),
            *(
                Evidence(
                    fact="environment.distributions",
                    value=say(
                        "{by} {version} asks for torch {specifier}",
                        by=asked.by.name,
                        version=asked.by.version,
                        specifier=asked.requirement.specifier,
                    ),
                    source=f"{asked.by.location}/{asked.by.metadata}",
                )
                for asked in broken[:5]
            ),
        ),
        remedies=(
            NEW_ENVIRONMENT,
            Remedy(
                text=say("Or hold {by} back to a release that goes with this torch.", by=first.by.name),
                commands=pip(environment, "install", f"{first.by.name}<{first.by.version}", f"torch=={torch.version}"),
            ),
        ),
    )


def _optional(environment: Environment) -> Iterator[Asked]:
    torch = environment.torch.value
    here = version(torch.build) if torch else None
    for asked in requirements(environment, of=("torch",)):
        wanted = asked.requirement
        optional = asked.by.name.lower() in OPTIONAL and wanted.name == "torch" and asked.extra == "torch"
        if optional and here is not None and not wanted.specifier.contains(here.public, prereleases=True):
            yield asked


# Names that came with a release of torch since 1.3.
CAME_WITH = frozenset(
    [
        "float8_e4m3fn",
        "float8_e5m2",
        "uint16",
        "uint32",
        "uint64",
        "int1",
        "uint4",
        "xpu",
        "compiler",
        "compile",
        "_dynamo",
        "vmap",
        "func",
        "scaled_dot_product_attention",
        "inference_mode",
        "concat",
        "frombuffer",
        "special",
        "linalg",
        "RMSNorm",
        "get_default_device",
        "custom_op",
        "GradScaler",
        "custom_fwd",
        "custom_bwd",
        "register_pytree_node",
        "LRScheduler",
        "sdpa_kernel",
        "flex_attention",
        "init_device_mesh",
        "DeviceMesh",
        "Mish",
        "SiLU",
        "mps",
        "amp",
        "bfloat16",
        "is_autocast_available",
        "is_available",
        "wrap_triton",
        "triton_op",
        "asarray",
        "nan_to_num",
        "parametrizations",
        "get_autocast_dtype",
    ]
)


def _not_yet(hit: Hit, log: Log) -> float | None:
    """A name that came later, or one that nobody knows: then newer is likelier than dropped."""
    del log
    name, module = hit.groups["attribute"], hit.groups["module"]
    if name in DROPPED_NAMES or module in DROPPED_MODULES:
        return None
    if name in ("register_fake", "impl_abstract"):
        return None if loading(hit) in ("torchvision", "unknown") else 0.7
    if (
        too_basic(name, module)
        or "partially initialized" in hit.text
        or "unknown location" in (hit.groups.get("where") or "")
    ):
        return None
    return 0.85 if name in CAME_WITH else 0.6


def _module(hit: Hit, log: Log) -> float | None:
    del log
    module = hit.groups["module"]
    if module.startswith(("torch._C", "torch.version", *DROPPED_MODULES)):
        return None
    return 0.88


LOG = LogSide(
    signatures=(
        Signature(
            pattern=r"PyTorch >= (?P<needs>[\d.]*\d) is required but found (?P<have>\d[\w.+]*)"
            r"|PyTorch version >=\s?(?P<least>[\d.]*\d) is required",
            confidence=0.97,
        ),
        Signature(
            pattern=r"PyTorch >= [\d.]*\d is required|requires? (?:at least )?PyTorch (?:version )?(?:>="
            r"|at least)\s?v?[\d.]*\d",
            confidence=0.85,
        ),
        Signature(
            pattern=r"requires? (?:Py)?[Tt]orch\s?(?:version\s)?>=?\s?v?(?P<needs>[\d.]*\d),?"
            r" but (?:found|got|version) v?(?P<have>\d[\w.+]*)",
            confidence=0.93,
            quoted=True,
        ),
        Signature(
            pattern=r"torch(?P<needs>[>=]=[\d.]*\d) is required, but torch==(?P<have>\S+) is currently installed",
            confidence=0.93,
        ),
        Signature(pattern=r"upgrade torch to at least v?(?P<needs>\d\.\d+)", confidence=0.95, quoted=True),
        Signature(
            pattern=r"\S+"
            r" \S+ requires torch>=?(?P<needs>[\d.]*\d)\S*, but you have torch (?P<have>\S+) which is incompatible",
            confidence=0.45,
        ),
        Signature(pattern=texts.TORCH_MODULE, weigh=_module),
        Signature(pattern=texts.TORCH_ATTRIBUTE, weigh=_not_yet),
        Signature(pattern=texts.TORCH_NAME, weigh=_not_yet),
        Signature(
            pattern=r"scaled_dot_product_attention\(\) got an unexpected keyword argument '(?:enable_gqa|scale)'"
            r"|(?:load_state_dict\(\) got an unexpected keyword argument 'assign')|(?:load\(\)"
            r"|Unpickler) got an unexpected keyword argument '(?:weights_only|mmap)'"
            r"|'(?:weights_only|mmap)' is an invalid keyword argument for Unpickler\(\)"
            r"|checkpoint\(\) got an unexpected keyword argument 'use_reentrant'",
            confidence=0.88,
        ),
        Signature(pattern=r"infer_schema\(func\): Parameter \w+ has unsupported type torch\.Tensor", confidence=0.8),
        Signature(
            pattern=r"Attempted"
            r" to read a PyTorch file with version \d+, but the maximum supported version for reading is \d+"
            r"|version_ <= kMaxSupportedFileFormatVersion INTERNAL ASSERT FAILED",
            confidence=0.95,
        ),
        Signature(pattern=r"is a zip archive \(did you mean to use torch\.jit\.load\(\)\?\)", confidence=0.93),
        Signature(pattern=r"Unknown builtin op: (?:aten|prim)::", confidence=0.7),
        Signature(
            pattern=r"Dynamo is not supported on Python 3\.\d+\+?|Python 3\.1\d\+? not yet supported for torch\.compile"
            r"|torch\.compile is not supported on Python 3\.1\d",
            confidence=0.55,
        ),
        Signature(pattern=r"cannot import name 'triton_key' from 'triton\.compiler", confidence=0.5),
        Signature(pattern=texts.NO_TORCH_FOR_LIBRARY, confidence=0.3),
    ),
    message=(
        later("A library needs torch {needs} or newer, and torch is {have}."),
        later("A library needs torch {needs} or newer."),
        later("A library uses {module}.{attribute}, which this torch does not have yet."),
        later("A library uses the module {module}, which this torch does not have yet."),
        later("A library or a file needs a newer torch than the one here."),
    ),
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later("Or hold the library that complains back to a release that goes with this torch."),
            commands=(("python", "-m", "pip", "install", "LIBRARY<ITS_VERSION", "torch==TORCH_VERSION"),),
        ),
    ),
    tell_apart=Remedy(
        text=later("See which torch is loaded, and from where."),
        commands=(("python", "-c", "import torch; print(torch.__version__, torch.__file__)"),),
    ),
)


RULE = Rule(
    code="FAM110",
    cause="torch_too_old_for_library",
    title=later("A library needs a newer torch"),
    needs=("environment.torch", "environment.distributions", "environment.interpreter"),
    check=check,
    rank=39,
    log=LOG,
)
