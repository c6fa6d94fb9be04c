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
from envfix.model.language import later, say
from envfix.model.plan import Goal, TargetGpu
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.resolver.specifiers import contradict, joined
from envfix.tables.indexes import Indexes
from envfix.tables.loader import Tables

_CUDA_EXAMPLES = later("write it as 11.8 or cu118, or use cpu or auto")
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
            say("--torch {torch} and --cuda {cuda} contradict each other", torch=goal.torch, cuda=goal.cuda),
            hint=say("give only one of them"),
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
        raise UsageError(say("--cuda is empty"), hint=_CUDA_EXAMPLES)
    if cleaned == "auto":
        return "auto", None
    if cleaned == "cpu":
        return "cpu", None
    if cleaned.startswith(("rocm", "xpu")):
        raise UsageError(
            say("--cuda {text}: envfix plans for NVIDIA cards and for the CPU only", text=text), hint=_CUDA_EXAMPLES
        )
    try:
        cuda = CudaVersion.parse(cleaned)
    except ValueError:
        raise UsageError(say("--cuda {text}: not a CUDA version", text=text[:40]), hint=_CUDA_EXAMPLES) from None
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
        raise UsageError(
            say("--cuda {text}: there is no such CUDA; the minor number may be missing", text=text), hint=_CUDA_EXAMPLES
        )
    family = [str(release) for release in known if release.major == cuda.major]
    what = (
        say("CUDA {major} came as {family}", major=cuda.major, family=", ".join(family))
        if family
        else say("the newest one known is {newest}", newest=newest)
    )
    raise UsageError(say("--cuda {text}: there is no such CUDA; {what}", text=text, what=what), hint=_CUDA_EXAMPLES)


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
            say("--torch {text}: not a version or version range", text=text[:60]),
            hint=say("write it as 2.4.1, '==1.9.0+cu111' or '>=2.4,<2.6'"),
        ) from None
    if not cleaned:
        raise UsageError(say("--torch is empty"), hint=say("leave it out to take the newest that fits"))
    labels = {label for item in specifiers if (label := _label(item)) is not None}
    if len(labels) > 1:
        raise UsageError(
            say(
                "--torch {text}: asks for several builds at once ({labels})",
                text=text[:60],
                labels=", ".join(sorted(labels)),
            )
        )
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
            say("--torch {item}: no official build is called +{label}", item=item, label=label),
            hint=say("builds are called +cpu, +cu118 and so on"),
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
            said = say(" and ").join(f"--with '{text.strip()[:60]}'" for text in texts if _names(text, requirement))
            raise UsageError(
                say("{said}: no version of {requirement} meets that", said=said, requirement=requirement.name),
                hint=say("give one range"),
            )
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
            say("--with {text}: not a package name with a version range", text=text[:60]),
            hint=say("write it as 'ultralytics<9'"),
        ) from None
    name = canonicalize_name(requirement.name)
    if name == "torch":
        raise UsageError(say("--with torch: torch itself is chosen with --torch"), hint="--torch '==2.4.1'")
    if name == "none":
        raise UsageError(say("--with none cannot be combined with other packages"))
    for item in requirement.specifier:
        if item.operator == "===":
            raise UsageError(say("--with {text}: write == instead of ===", text=text[:60]))
    if requirement.marker is not None:
        raise UsageError(say("--with {text}: conditions behind a semicolon are not supported", text=text[:60]))
    if requirement.url is not None:
        raise UsageError(
            say("--with {text}: packages come from an index by name; an address is not supported", text=text[:60])
        )
    return requirement


def check_index(text: str, indexes: Indexes) -> None:
    """Refuse ``--index`` that is neither ``auto``, the name of an index with torch wheels, an address, nor a path."""
    row = indexes.by_name(text)
    if row is not None and row.kind == "none":
        raise UsageError(
            say(
                "--index {text}: {title} holds no torch variants ({note})",
                text=text,
                title=row.title,
                note=row.note or say("registry mirror only"),
            )
        )
    if row is not None and row.kind == "special":
        raise UsageError(
            say("--index {text}: the wheels of {title} are not planned", text=text, title=row.title),
            hint=_indexes(indexes),
        )
    if row is not None or text in ("auto", *_CONFIGURED) or _ADDRESS.fullmatch(text) or _PATH.match(text):
        return
    if "," in text:
        hint = say("give --index once for each index")
    elif text.strip().lower() != text:
        hint = say("names of indexes are written small: {indexes}", indexes=_indexes(indexes))
    else:
        hint = _indexes(indexes)
    raise UsageError(say("--index {text!r} is neither the name of an index nor an address", text=text[:60]), hint=hint)


def _indexes(indexes: Indexes) -> str:
    return say("auto, {names}, an address or a folder", names=", ".join(indexes.names()))


def parse_gpu(text: str, tables: Tables) -> TargetGpu:
    """Read ``--gpu``: a name such as ``RTX 3090``, or ``name:8.6`` for a card that the tables do not know."""
    name, colon, rest = (part.strip() for part in text.strip().partition(":"))
    if not name:
        raise UsageError(
            say("--gpu {text!r}: the name of the card is missing", text=text[:60]), hint=_with_capability("NAME")
        )
    if _OTHER_MAKERS.match(name):
        raise UsageError(
            say("--gpu {name}: envfix plans for NVIDIA cards only", name=name[:60]),
            hint=say("for the CPU: --gpu none, or --cuda cpu"),
        )
    if colon:
        try:
            return TargetGpu(name=name, capability=ComputeCapability.parse(rest.split(":")[0]))
        except ValueError:
            raise UsageError(
                say("--gpu {text}: not a compute capability", text=text[:60]), hint=_with_capability(name)
            ) from None
    capabilities = tables.gpus.capability_of(name)
    if not capabilities:
        raise UsageError(
            say("--gpu {name}: this card is not in the tables", name=name[:60]), hint=_nearest_cards(name, tables)
        )
    if len(capabilities) > 1:
        several = say(" or ").join(map(str, sorted(capabilities)))
        raise UsageError(
            say("--gpu {name}: cards of this name have compute capability {several}", name=name[:60], several=several),
            hint=_with_capability(name),
        )
    return TargetGpu(name=name, capability=capabilities[0])


def _with_capability(name: str) -> str:
    return say(
        'name the compute capability of your card: --gpu "{name}:CAPABILITY"; NVIDIA\'s list'
        ' "CUDA GPUs" has it, and on the machine itself `nvidia-smi --query-gpu=compute_cap'
        " --format=csv` prints it",
        name=name[:40],
    )


def _nearest_cards(name: str, tables: Tables) -> str:
    known = {_BRAND.sub("", model.name).lower(): model.name for model in tables.gpus.all()}
    nearest = [known[match] for match in get_close_matches(_BRAND.sub("", name).lower(), known, cutoff=_NEAR)]
    meant = say("did you mean {nearest}? Otherwise ", nearest=say(" or ").join(nearest)) if nearest else ""
    return meant + _with_capability(name)
