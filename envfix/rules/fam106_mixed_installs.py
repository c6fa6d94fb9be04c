"""Two installations of torch overlap in one place, or one is only half there.

What you see
    A missing symbol in torch's own libraries ("libtorch_cpu.so: undefined symbol: _ZN..."), "cannot import name
    ... from 'torch' (unknown location)", "Ignoring invalid distribution ~orch", a version that differs from
    tool to tool.

Why
    pip installed over conda, a nightly over a stable release, a removal was interrupted, or NVIDIA packages of
    two CUDA families share file names. ``conda list`` and ``pip list`` show a torch that cannot be imported, or
    libraries of one installation run with code of the other.

How envfix knows
    The files that pip (``RECORD``) and conda (``conda-meta``) list against those that are there; two sets of
    metadata for one package in one folder; a conda record of another version than what pip put over it; NVIDIA
    packages for two CUDA families that share file names; folders such as ``~orch`` that a broken removal left.
    In a log it counts that torch's own library complains of a name of torch.

How to mend
    A new environment filled by one installer. Or remove torch with pip and with conda until neither shows it,
    delete what is left (``torch``, ``~orch``), and install once.

What not to do
    Do not install over it again with ``--force-reinstall``, and do not delete single libraries: both keep the
    mix.

Sources
    Metadata folders and their RECORD, conda-meta, the folders themselves.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator
from typing import NamedTuple

from envfix.model.facts import Distribution, Environment, Machine
from envfix.model.finding import Evidence, Finding, Remedy, Severity
from envfix.model.language import later, say
from envfix.model.log import Hit, Log, Signature
from envfix.model.regex import regex
from envfix.rules import _log_patterns as texts
from envfix.rules._changing import conda, conda_program, pip
from envfix.rules._family import (
    CUDA_LIBRARY,
    NEW_ENVIRONMENT,
    evidence,
    import_evidence,
    import_failure,
    import_works,
    installed,
    key_of,
    records,
    requirements,
    version,
)
from envfix.rules._log import LogSide, Reading
from envfix.rules._log_libraries import library_in, loading, of_torch, owner
from envfix.rules._rule import Rule, cite
from envfix.tables.loader import Tables

WATCHED = ("torch", "torchvision", "torchaudio", "numpy")
# Torch's name in conda.
IN_CONDA = {"pytorch": "torch", "libtorch": "torch", "torchvision": "torchvision", "torchaudio": "torchaudio"}
# Packages of two CUDA families that carry files of the same name in the same folder.
SHARING = regex(r"(?P<stem>nvidia-(?:cudnn|nccl))-cu(?P<major>\d+)$")
LEFTOVER = regex(r"~(orch|orchvision|orchaudio|umpy|riton|vidia)", re.IGNORECASE)


class Trouble(NamedTuple):
    """One thing that is wrong: how bad, in words, by which facts."""

    severity: Severity
    text: str
    because: tuple[Evidence, ...]


def check(machine: Machine, environment: Environment, tables: Tables) -> Iterator[Finding]:
    del tables
    of_torch = [
        *_half_installed(environment),
        *_without_files(environment),
        *_without_version(environment),
        *_without_metadata(environment),
        *_other_version(environment),
        *_conda_without_files(environment),
        *_twice(environment),
        *_two_installers(environment),
    ]
    troubles = [*of_torch, *_two_families(environment), *_leftovers(environment)]
    if not troubles:
        return
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    troubles.sort(key=lambda trouble: order[trouble.severity])
    yield Finding(
        code=RULE.code,
        cause=RULE.cause,
        severity=troubles[0].severity,
        message=troubles[0].text,
        because=(
            *dict.fromkeys(piece for trouble in troubles for piece in trouble.because),
            *import_evidence(environment),
        ),
        remedies=_remedies(machine, environment, torch_itself=bool(of_torch)),
    )


def _worst(environment: Environment, *, else_: Severity = Severity.ERROR) -> Severity:
    """An import that works shows that it is not as bad as the files look."""
    return Severity.WARNING if import_works(environment) else else_


def _half_installed(environment: Environment) -> Iterator[Trouble]:
    """Packages whose modules or libraries are gone; CUDA libraries alone are another cause."""
    for name in WATCHED:
        item = installed(environment).get(name)
        if item is None or not item.missing_code or item.installer == "conda":
            continue
        if item.missing_code <= len(item.missing_examples) and all(map(_is_cuda, item.missing_examples)):
            continue
        vital = any(re.search(r"/lib/|^\w+/(\w+/)?__init__\.py$|\.so$", path) for path in item.missing_examples)
        grave = (
            vital
            or (name == "torch" and import_failure(environment) is not None)
            or item.missing_code > item.listed_files // 20
        )
        severity = _worst(environment) if grave and name != "torchaudio" else Severity.WARNING
        yield Trouble(
            severity,
            say(
                "{item} {version} is only half there: {missing_files} of its {listed_files} files are gone.",
                item=item.name,
                version=item.version,
                missing_files=item.missing_files,
                listed_files=item.listed_files,
            ),
            _of_files(item),
        )


def _is_cuda(path: str) -> bool:
    return CUDA_LIBRARY.match(path.rpartition("/")[2]) is not None


def _of_files(item: Distribution) -> tuple[Evidence, ...]:
    gone = ", ".join(item.missing_examples[:3]) or say("all of them")
    value = say(
        "{item} {version}: {missing_files} of {listed_files} files are gone ({gone})",
        item=item.name,
        version=item.version,
        missing_files=item.missing_files,
        listed_files=item.listed_files,
        gone=gone,
    )
    return (Evidence(fact="environment.distributions", value=value, source=_source(item)),)


def _source(item: Distribution) -> str:
    return f"{item.location}/{item.metadata}" if item.metadata else item.location


def _without_files(environment: Environment) -> Iterator[Trouble]:
    """Metadata that lists no files (egg-info), and no folder torch."""
    item = installed(environment).get("torch")
    if item is not None and environment.torch.is_absent and not item.listed_files and not _elsewhere_by_path_file(item):
        text = say(
            "The metadata of torch {version} is there, but its files are gone: there is no folder torch.",
            version=item.version,
        )
        yield Trouble(Severity.ERROR, text, evidence(item))


def _elsewhere_by_path_file(item: Distribution) -> bool:
    """Installed for development: its files lie in a checkout."""
    return item.direct_url is not None and "editable" in item.direct_url


def _without_version(environment: Environment) -> Iterator[Trouble]:
    """A folder torch in site-packages that holds no torch."""
    interpreter = environment.interpreter.value
    place = os.path.dirname(os.path.dirname(environment.torch.source))
    if environment.torch.is_unknown and interpreter and place in interpreter.site_packages:
        text = say(
            "The folder {place}/torch is what a broken removal or installation left: its"
            " version.py is missing or unreadable.",
            place=place,
        )
        yield Trouble(Severity.ERROR, text, (cite("environment.torch", environment.torch),))


def _without_metadata(environment: Environment) -> Iterator[Trouble]:
    """A torch that lies where pip puts packages, and of which neither pip nor conda knows."""
    torch, interpreter, rows = environment.torch.value, environment.interpreter.value, environment.distributions
    if torch is None or interpreter is None or rows.value is None or interpreter.kind == "system":
        return
    if interpreter.kind != "venv" and environment.conda_records.is_unknown:
        return
    known = "torch" in installed(environment) or {"pytorch", "libtorch"} & records(environment).keys()
    if known or os.path.dirname(torch.location) not in interpreter.site_packages:
        return
    text = say(
        "torch {build} lies in {location}, but pip does not know it: its metadata (.dist-info) is gone.",
        build=torch.build,
        location=torch.location,
    )
    found = cite(
        "environment.distributions", rows, say("no metadata of torch beside {location}", location=torch.location)
    )
    yield Trouble(Severity.WARNING, text, (found, cite("environment.torch", environment.torch, torch.build)))


def _other_version(environment: Environment) -> Iterator[Trouble]:
    """Metadata of one release beside the files of another."""
    torch = environment.torch.value
    told, real = (version(torch.version), version(torch.build)) if torch is not None else (None, None)
    if torch is None or told is None or real is None or told.release == real.release:
        return
    text = say(
        "Two torch installations lie over each other: the metadata says {version}, the files are of {build}.",
        version=torch.version,
        build=torch.build,
    )
    yield Trouble(
        Severity.ERROR,
        text,
        (
            cite(
                "environment.torch",
                environment.torch,
                say("{version} and {build}", version=torch.version, build=torch.build),
            ),
        ),
    )


def _conda_without_files(environment: Environment) -> Iterator[Trouble]:
    for name, row in records(environment).items():
        if name not in IN_CONDA or row.missing_files * 20 <= row.listed_files:
            continue
        gone = environment.torch.is_absent or environment.torch.is_unknown or row.missing_files == row.listed_files
        severity = _worst(environment) if gone and IN_CONDA[name] == "torch" else Severity.WARNING
        counted = say(
            "{missing_files} of the {listed_files} files it lists are gone",
            missing_files=row.missing_files,
            listed_files=row.listed_files,
        )
        shown = ", ".join(row.missing_examples[:2])
        value = f"{name} {row.version} {row.build}: {counted}" + (say(" ({aside})", aside=shown) if shown else "")
        yield Trouble(
            severity,
            say(
                "conda believes that {name} {version} is installed here, but {counted}.",
                name=name,
                version=row.version,
                counted=counted,
            ).replace("conda", "Conda", 1),
            (Evidence(fact="environment.conda_records", value=value, source=environment.conda_records.source),),
        )


def _twice(environment: Environment) -> Iterator[Trouble]:
    """Two sets of metadata for one package in one folder: files of both lie over each other."""
    seen: dict[tuple[str, str], list[Distribution]] = {}
    for item in environment.distributions.value or ():
        if key_of(item.name) in WATCHED:
            seen.setdefault((key_of(item.name), item.location), []).append(item)
    for (name, place), items in seen.items():
        if len(items) > 1:
            both = say(" and ").join(dict.fromkeys(item.version for item in items))
            severity = _worst(environment, else_=Severity.ERROR if name == "torch" else Severity.WARNING)
            text = say(
                "{name} is installed twice in {place} ({both}): files of one lie over files of the other.",
                name=name,
                place=place,
                both=both,
            )
            yield Trouble(severity, text.replace("numpy", "NumPy", 1), evidence(*items))


def _two_installers(environment: Environment) -> Iterator[Trouble]:
    """Conda's record names another version than what pip put there."""
    here = installed(environment)
    for name, row in records(environment).items():
        place = here[IN_CONDA[name]].location if IN_CONDA.get(name) in here else None
        there = version(row.version)
        of_pip = [
            item
            for item in environment.distributions.value or ()
            if key_of(item.name) == IN_CONDA.get(name) and item.location == place and item.installer in ("pip", "uv")
        ]
        others = [item for item in of_pip if there and (own := version(item.version)) and own.release != there.release]
        if name == "libtorch" or not others:
            continue
        item = others[0]
        text = say(
            "Two installers own {item} here: conda believes in {version}, {installer} put {version_2} over it.",
            item=item.name,
            version=row.version,
            installer=item.installer,
            version_2=item.version,
        )
        value = f"{name} {row.version} {row.build}"
        record = Evidence(fact="environment.conda_records", value=value, source=environment.conda_records.source)
        yield Trouble(Severity.WARNING, text, (record, *evidence(item)))


def _sharing(environment: Environment) -> list[list[Distribution]]:
    """Packages of several CUDA families that write files of the same name into one folder."""
    families: dict[str, list[Distribution]] = {}
    for name, item in installed(environment).items():
        match = SHARING.match(name)
        if match:
            families.setdefault(match["stem"] + item.location, []).append(item)
    return [items for items in families.values() if len(items) > 1]


def _two_families(environment: Environment) -> Iterator[Trouble]:
    failure = import_failure(environment) or ""
    for items in _sharing(environment):
        names = say(" and ").join(item.name for item in items)
        severity = Severity.ERROR if re.search(r"nccl|cudnn", failure, re.IGNORECASE) else Severity.WARNING
        text = say(
            "The packages {names} put libraries of the same name into the same folder: one has"
            " overwritten the other's.",
            names=names,
        )
        yield Trouble(severity, text, evidence(*items))


def _one_family(environment: Environment) -> Iterator[Remedy]:
    """Both of two such packages go, for the files that are left are a mixture; the one that torch asks for comes back."""
    for items in _sharing(environment):
        wanted = _asked_by_torch(environment, items)
        removed = pip(environment, "uninstall", "-y", *(item.name for item in items))
        if wanted is not None and removed:
            back = pip(environment, "install", "--no-deps", wanted)
            text = say("Remove both and put back the one that goes with torch ({wanted}).", wanted=wanted)
            yield Remedy(text=text, commands=tuple(dict.fromkeys((*removed, *back))), safe=False)


def _asked_by_torch(environment: Environment, items: list[Distribution]) -> str | None:
    """What to install of these packages: as the metadata of torch says it, or the one for the CUDA inside torch."""
    torch, item = environment.torch.value, installed(environment).get("torch")
    names = {key_of(one.name): one for one in items}
    for asked in requirements(environment, iter((item,)), of=names) if item else ():
        return f"{key_of(asked.requirement.name)}{asked.requirement.specifier}"
    major = torch.cuda.major if torch is not None and torch.cuda is not None else None
    fitting = (f"{name}=={one.version}" for name, one in names.items() if name.endswith(f"-cu{major}"))
    return next(fitting, None)


def _leftovers(environment: Environment) -> Iterator[Trouble]:
    for item in environment.distributions.value or ():
        if LEFTOVER.match(item.name):
            place = f"{item.location}/{item.name}"
            found = Evidence(fact="environment.distributions", value=item.name, source=item.location)
            yield Trouble(
                Severity.INFO,
                say("A removal that was interrupted left {place}: pip warns about it each time.", place=place),
                (found,),
            )


def _remedies(machine: Machine, environment: Environment, *, torch_itself: bool) -> tuple[Remedy, ...]:
    one_family = tuple(_one_family(environment))
    if one_family and not torch_itself:
        return (*one_family, NEW_ENVIRONMENT)
    present = [name for name in ("torch", "torchvision", "torchaudio") if name in installed(environment)]
    commands = pip(environment, "uninstall", "-y", *present) if present else ()
    known = [name for name in ("pytorch", "torchvision", "torchaudio") if name in records(environment)]
    commands += conda(machine, environment, "remove", *known) if known else ()
    for item in environment.distributions.value or ():
        if LEFTOVER.match(item.name):
            commands += (("rm", "-r", f"{item.location}/{item.name}"),)
    if not commands and not known:
        return (NEW_ENVIRONMENT,)
    text = say("Or clean this one: repeat this until nothing of torch is found, then install once, with one installer.")
    if known and conda_program(machine, environment) is None:
        text = say(
            "{text} What conda installed here ({known}) must be removed by conda, which is not found.",
            text=text,
            known=", ".join(known),
        )
    return (NEW_ENVIRONMENT, Remedy(text=text, commands=commands, safe=False))


INVALID = r"(?i)Ignoring invalid distribution [-~]+(?P<rest>orch|riton|vidia)\w*"


def _symbol(hit: Hit, log: Log) -> float | None:
    """Torch's own library misses a name of torch: two releases are mixed."""
    del log
    symbol = hit.groups.get("symbol", "")
    if owner(hit.groups.get("library", "")) != "torch" or not of_torch(symbol):
        return None
    return 0.88


def _companion(hit: Hit, log: Log) -> float | None:
    """NCCL comes in packages that overwrite each other; other libraries more often lie on the loader's path."""
    del log
    return 0.5 if hit.groups["symbol"].startswith("nccl") else 0.2


def _two_majors(hit: Hit, log: Log) -> float | None:
    """A library of the same name comes from the packages of two majors."""
    del log
    return 0.85 if len(set(re.findall(r"cu1[123]", hit.text))) > 1 else None


def _nowhere(hit: Hit, log: Log) -> float | None:
    """A folder torch that holds no torch has no location."""
    del log
    where = hit.groups.get("where", "")
    if "unknown location" in where:
        return 0.55
    return 0.45 if hit.groups["module"].startswith("torch._C") else None


def _library(hit: Hit, log: Log) -> float | None:
    """Torch does not find a library of its own."""
    del log
    return 0.65 if loading(hit) == "torch" or "global_deps" in hit.groups["library"] else None


BASICS = frozenset(
    [
        "Tensor",
        "nn",
        "cuda",
        "device",
        "load",
        "no_grad",
        "float",
        "float32",
        "__version__",
        "utils",
        "version",
        "tensor",
        "zeros",
        "ones",
        "from_numpy",
        "manual_seed",
        "optim",
        "is_tensor",
        "randn",
        "rand",
        "jit",
        "autograd",
        "distributed",
        "backends",
        "long",
        "save",
        "stack",
        "cat",
        "dtype",
    ]
)


def _basics(hit: Hit, log: Log) -> float | None:
    """What every torch has: the module is an empty folder or somebody's file."""
    del log
    return 0.4 if hit.groups["module"] == "torch" and hit.groups["attribute"] in BASICS else None


def _message(reading: Reading) -> str:
    library = library_in(reading)
    if library and reading.log.found(texts.TORCH_LIBRARY_MISSING):
        return say("torch's own library {library} is gone: this installation is only half there.", library=library)
    if library:
        return say(
            "torch's own library {library} does not fit the others: two installations of torch lie over each other.",
            library=library,
        )
    if reading.groups.get("rest"):
        return say(
            "A removal that was interrupted left a folder ~{rest}: torch beside it may be half old, half new.",
            rest=reading.groups["rest"],
        )
    return say("Two installations of torch overlap here, or one is only half there.")


LOG = LogSide(
    signatures=(
        Signature(pattern=texts.UNDEFINED_SYMBOL, weigh=_symbol),
        Signature(pattern=texts.SYMBOL_NOT_FOUND, weigh=_symbol),
        Signature(pattern=texts.CUDA_SYMBOL_MISSING, weigh=_companion),
        Signature(pattern=INVALID, confidence=0.6),
        # One library from the packages of two CUDA majors.
        Signature(
            pattern=r"nvidia-nccl-cu1[123](?P<first>[=\s]{1,40}[\d.]+)[^\n]{0,40}\s[^\n]{0,20}nvidia-nccl-cu1[123]",
            weigh=_two_majors,
        ),
        # Two builds of torch in one list of conda.
        Signature(pattern=r"pytorch\s{2,40}\d[\w.]+\s+\S+\s+\S+\s+pytorch-nightly\s{2,40}\d[\w.]+", confidence=0.9),
        Signature(
            pattern=r"Cannot uninstall '?(?:torch|pytorch)'?(?: [\d.]+\S*)?[.,:] (?:RECORD file not found"
            r"|It is a distutils)|"
            r"[Cc]annot uninstall torch \S+\s+╰─> It is|no RECORD file was found for torch\b",
            confidence=0.75,
        ),
        Signature(
            pattern=r"Found existing installation: torch [\w.+]+\s+(?:Not uninstalling|Can't uninstall) '?torch",
            confidence=0.6,
        ),
        Signature(pattern=r"Clobber(?:Error|Warning): [^\n]{0,300}\s+[^\n]{0,200}(?:torch|libc10)", confidence=0.6),
        Signature(pattern=r"Only a single TORCH_LIBRARY can be used to register the namespace", confidence=0.6),
        Signature(pattern=texts.TORCH_NAME, weigh=_nowhere),
        Signature(pattern=texts.TORCH_ATTRIBUTE, weigh=_basics),
        Signature(pattern=texts.TORCH_LIBRARY_MISSING, weigh=_library),
        Signature(pattern=r"No module named '?torch\._C\b|No module named '?torch\.version\b", confidence=0.35),
    ),
    message=_message,
    remedies=(
        NEW_ENVIRONMENT,
        Remedy(
            text=later(
                "Or clean this one: repeat both until neither finds torch, delete what is left of"
                " it, then install once, with one installer."
            ),
            commands=(
                ("python", "-m", "pip", "uninstall", "-y", "torch", "torchvision", "torchaudio"),
                ("conda", "remove", "pytorch", "torchvision", "torchaudio"),
            ),
            safe=False,
        ),
    ),
    tell_apart=Remedy(
        text=later("See how often torch is there, for pip and for conda, and which one is loaded."),
        commands=(("python", "-m", "pip", "show", "-f", "torch"), ("conda", "list", "torch")),
    ),
)


RULE = Rule(
    code="FAM106",
    cause="mixed_installs",
    title=later("Installations of torch overlap or are half there"),
    needs=("environment.distributions",),
    check=check,
    rank=26,
    explains=(
        "torch_import_fails",
        "torch_not_installed",
        "torchvision_torch_mismatch",
        "torchaudio_torch_mismatch",
        "requirements_replaced_torch",
        "missing_cuda_runtime_lib",
        "cudnn_version_conflict",
        "cuda_lib_path_pollution",
    ),
    log=LOG,
)
