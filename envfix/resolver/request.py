"""What the user asked for, read once into checked values; nonsense is refused here with a sentence that helps."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.errors import UsageError
from envfix.model.plan import Goal, TargetGpu
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.resolver.specifiers import contradict, joined
from envfix.tables.indexes import Indexes
from envfix.tables.loader import Tables

_CUDA_EXAMPLES = "write it as 11.8 or cu118, or use cpu or auto"
_NEWEST_MINOR = 9
_BRAND = re.compile(r"^(?:NVIDIA )?(?:GeForce |Tesla |Quadro )?", re.IGNORECASE)
_OTHER_MAKERS = re.compile(r"(?:AMD|ATI|Radeon|Instinct|FirePro|Intel|Arc|Apple)\b", re.IGNORECASE)
# What pip's configuration calls the indexes that have no name of their own.
_CONFIGURED = ("extra-index", "find-links")
_ADDRESS = re.compile(r"(?:https?|file)://[^\s,/]*[^\s,:/@][^\s]*|file:///\S+", re.IGNORECASE)
_PATH = re.compile(r"(?:/|\.{1,2}/|~|[A-Za-z]:[\\/])(?!\s*$)|\.{1,2}$|/$")
# Names are suggested only from here on: one or two wrong letters in a name of ten.
_NEAR = 0.85


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The goal in checked values.

    ``wants`` is ``auto`` (whatever fits), ``cpu`` or ``cuda``; ``cuda`` is then the release meant, by major and minor.
    ``torch`` has no local label; where the user gave one it is in ``variant``. ``alone``: torch without companions.
    """

    wants: Literal["auto", "cpu", "cuda"]
    cuda: CudaVersion | None
    cuda_text: str
    exact: bool
    torch: SpecifierSet
    torch_text: str | None
    variant: str | None
    packages: tuple[Requirement, ...]
    by_name: dict[str, Requirement]
    alone: bool
    indexes: tuple[str, ...]
    offline: bool

    def asked(self, name: str) -> Requirement | None:
        """The requirement the user gave for a package, if any."""
        return self.by_name.get(name)

    def accepts(self, version: Version) -> bool:
        """Whether the asked torch specifier holds for a version."""
        return self.torch_text is None or self.torch.contains(version, prereleases=True)


def read_request(goal: Goal, tables: Tables) -> Request:
    """Check a goal; raises ``UsageError`` that says what is wrong with it."""
    wants, cuda = parse_cuda(goal.cuda, tables)
    torch, variant = parse_torch(goal.torch)
    packages = parse_packages(goal.packages)
    for index in goal.indexes:
        check_index(index, tables.indexes)
    if variant is not None and wants != "auto" and variant != (cuda.variant if cuda else "cpu"):
        raise UsageError(
            f"--torch {goal.torch} and --cuda {goal.cuda} contradict each other", hint="give only one of them"
        )
    return Request(
        wants=wants,
        cuda=cuda,
        cuda_text=goal.cuda.strip(),
        exact=goal.cuda_exact,
        torch=torch,
        torch_text=goal.torch,
        variant=variant,
        packages=packages,
        by_name={canonicalize_name(item.name): item for item in packages},
        alone=not packages,
        indexes=goal.indexes,
        offline=goal.offline,
    )


def parse_cuda(text: str, tables: Tables) -> tuple[Literal["auto", "cpu", "cuda"], CudaVersion | None]:
    """Read ``--cuda``: ``auto``, ``cpu``, ``11.8`` or ``cu118``; refuses a CUDA that never existed."""
    cleaned = text.strip().lower()
    if not cleaned:
        raise UsageError("--cuda is empty", hint=_CUDA_EXAMPLES)
    if cleaned == "auto":
        return "auto", None
    if cleaned == "cpu":
        return "cpu", None
    if cleaned.startswith(("rocm", "xpu")):
        raise UsageError(f"--cuda {text}: envfix plans for NVIDIA cards and for the CPU only", hint=_CUDA_EXAMPLES)
    try:
        cuda = CudaVersion.parse(cleaned)
    except ValueError:
        raise UsageError(f"--cuda {text[:40]}: not a CUDA version", hint=_CUDA_EXAMPLES) from None
    _check_exists(cuda, text.strip()[:40], tables)
    return "cuda", cuda


def _check_exists(cuda: CudaVersion, text: str, tables: Tables) -> None:
    known = sorted({CudaVersion.parse(branch.cuda) for branch in tables.drivers.branches()})
    newest = known[-1]
    if cuda in known or (cuda.major == newest.major and cuda.minor <= _NEWEST_MINOR):
        return  # one younger than the tables is still an intent that its family can serve
    if cuda < known[0] and tables.drivers.floor(cuda, "linux") is not None:
        return
    if re.fullmatch(r"cu\d\d", text, re.IGNORECASE):
        raise UsageError(f"--cuda {text}: there is no such CUDA; the minor number may be missing", hint=_CUDA_EXAMPLES)
    family = [str(release) for release in known if release.major == cuda.major]
    what = f"CUDA {cuda.major} came as {', '.join(family)}" if family else f"the newest one known is {newest}"
    raise UsageError(f"--cuda {text}: there is no such CUDA; {what}", hint=_CUDA_EXAMPLES)


def parse_torch(text: str | None) -> tuple[SpecifierSet, str | None]:
    """Read ``--torch``: ``2.4.1``, ``==1.9.0+cu111`` or ``>=2.4,<2.6``; a local label becomes a variant."""
    if text is None:
        return SpecifierSet(), None
    cleaned = re.sub(r"^torch(?=[\s=<>!~\d]|$)", "", text.strip()).strip()
    if re.match(r"\d", cleaned):
        cleaned = f"=={cleaned}"
    try:
        specifiers = SpecifierSet(cleaned)
    except InvalidSpecifier:
        raise UsageError(
            f"--torch {text[:60]}: not a version or version range",
            hint="write it as 2.4.1, '==1.9.0+cu111' or '>=2.4,<2.6'",
        ) from None
    if not cleaned:
        raise UsageError("--torch is empty", hint="leave it out to take the newest that fits")
    labels = {label for item in specifiers if (label := _label(item)) is not None}
    if len(labels) > 1:
        raise UsageError(f"--torch {text[:60]}: asks for several builds at once ({', '.join(sorted(labels))})")
    plain = SpecifierSet(",".join(str(item).split("+")[0] for item in specifiers))
    return plain, labels.pop() if labels else None


def _label(item: Specifier) -> str | None:
    if item.operator not in ("==", "==="):
        return None
    try:
        label = Version(item.version.removesuffix(".*")).local
    except InvalidVersion:
        return None
    if label is not None and not re.fullmatch(r"cpu|cu\d{2,3}", label):
        raise UsageError(
            f"--torch {item}: no official build is called +{label}", hint="builds are called +cpu, +cu118 and so on"
        )
    return label


def parse_packages(texts: tuple[str, ...]) -> tuple[Requirement, ...]:
    """Read ``--with``: requirements such as ``ultralytics<9``; ``none`` alone means torch with nothing beside it.

    A package that is named several times must meet all that is said of it.
    """
    if not texts or [text.strip().lower() for text in texts] == ["none"]:
        return ()
    found: dict[str, Requirement] = {}
    for requirement in map(_package, texts):
        name = canonicalize_name(requirement.name)
        found[name] = _both(found[name], requirement) if name in found else requirement
    for requirement in found.values():
        if contradict(requirement.specifier):
            said = " and ".join(f"--with '{text.strip()[:60]}'" for text in texts if _names(text, requirement))
            raise UsageError(f"{said}: no version of {requirement.name} meets that", hint="give one range")
    return tuple(found.values())


def _both(one: Requirement, other: Requirement) -> Requirement:
    """Two requirements of one package as one."""
    extras = ",".join(sorted(one.extras | other.extras))
    specifier = joined(str(one.specifier), str(other.specifier))
    return Requirement(one.name + (f"[{extras}]" if extras else "") + specifier)


def _names(text: str, requirement: Requirement) -> bool:
    return canonicalize_name(Requirement(text).name) == canonicalize_name(requirement.name)


def _package(text: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise UsageError(
            f"--with {text[:60]}: not a package name with a version range", hint="write it as 'ultralytics<9'"
        ) from None
    name = canonicalize_name(requirement.name)
    if name == "torch":
        raise UsageError("--with torch: torch itself is chosen with --torch", hint="--torch '==2.4.1'")
    if name == "none":
        raise UsageError("--with none cannot be combined with other packages")
    for item in requirement.specifier:
        if item.operator == "===":
            raise UsageError(f"--with {text[:60]}: write == instead of ===")
    if requirement.marker is not None:
        raise UsageError(f"--with {text[:60]}: conditions behind a semicolon are not supported")
    if requirement.url is not None:
        raise UsageError(f"--with {text[:60]}: packages come from an index by name; an address is not supported")
    return requirement


def check_index(text: str, indexes: Indexes) -> None:
    """Refuse ``--index`` that is neither ``auto``, the name of an index with torch wheels, an address, nor a path."""
    row = indexes.by_name(text)
    if row is not None and row.kind == "none":
        raise UsageError(f"--index {text}: {row.title} holds no torch variants ({row.note or 'registry mirror only'})")
    if row is not None and row.kind == "special":
        raise UsageError(f"--index {text}: the wheels of {row.title} are not planned", hint=_indexes(indexes))
    if row is not None or text in ("auto", *_CONFIGURED) or _ADDRESS.fullmatch(text) or _PATH.match(text):
        return
    if "," in text:
        hint = "give --index once for each index"
    elif text.strip().lower() != text:
        hint = f"names of indexes are written small: {_indexes(indexes)}"
    else:
        hint = _indexes(indexes)
    raise UsageError(f"--index {text[:60]!r} is neither the name of an index nor an address", hint=hint)


def _indexes(indexes: Indexes) -> str:
    return f"auto, {', '.join(indexes.names())}, an address or a folder"


def parse_gpu(text: str, tables: Tables) -> TargetGpu:
    """Read ``--gpu``: a name such as ``RTX 3090``, or ``name:8.6`` for a card that the tables do not know."""
    name, colon, rest = (part.strip() for part in text.strip().partition(":"))
    if not name:
        raise UsageError(f"--gpu {text[:60]!r}: the name of the card is missing", hint=_with_capability("NAME"))
    if _OTHER_MAKERS.match(name):
        raise UsageError(
            f"--gpu {name[:60]}: envfix plans for NVIDIA cards only", hint="for the CPU: --gpu none, or --cuda cpu"
        )
    if colon:
        try:
            return TargetGpu(name=name, capability=ComputeCapability.parse(rest.split(":")[0]))
        except ValueError:
            raise UsageError(f"--gpu {text[:60]}: not a compute capability", hint=_with_capability(name)) from None
    capabilities = tables.gpus.capability_of(name)
    if not capabilities:
        raise UsageError(f"--gpu {name[:60]}: this card is not in the tables", hint=_nearest_cards(name, tables))
    if len(capabilities) > 1:
        several = " or ".join(map(str, sorted(capabilities)))
        raise UsageError(
            f"--gpu {name[:60]}: cards of this name have compute capability {several}", hint=_with_capability(name)
        )
    return TargetGpu(name=name, capability=capabilities[0])


def _with_capability(name: str) -> str:
    return (
        f'name the compute capability of your card: --gpu "{name[:40]}:CAPABILITY"; NVIDIA\'s list "CUDA GPUs" has it, and'
        " on the machine itself `nvidia-smi --query-gpu=compute_cap --format=csv` prints it"
    )


def _nearest_cards(name: str, tables: Tables) -> str:
    known = {_BRAND.sub("", model.name).lower(): model.name for model in tables.gpus.all()}
    nearest = [known[match] for match in get_close_matches(_BRAND.sub("", name).lower(), known, cutoff=_NEAR)]
    meant = f"did you mean {' or '.join(nearest)}? Otherwise " if nearest else ""
    return meant + _with_capability(name)
