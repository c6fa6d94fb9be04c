"""GPU names: which compute capability a card has when its driver cannot be asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec
from packaging.version import Version

from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.tables.indexes import Indexes
from envfix.tables.rows import (
    CapabilityText,
    Confidence,
    CudaText,
    PythonTag,
    Row,
    TableFile,
    VersionText,
    least,
    version_of,
)

GpuClass = Literal["geforce", "laptop", "workstation", "datacenter", "jetson"]
JetsonWheelsOf = Literal["own", "server"]


class GpuRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product: its name without the maker's, other names it goes by, and what it can be."""

    name: str
    aliases: tuple[str, ...] = ()
    capabilities: tuple[CapabilityText, ...]
    klass: GpuClass = msgspec.field(name="class")
    memory: tuple[int, ...]


class JetsonRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Wheels made for one JetPack release."""

    jetpack: str
    folder: str
    cuda: CudaText
    python: PythonTag
    torch: tuple[str, ...]


class JetPackRow(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JetPack behind an L4T release, from that one on, and whose torch wheels it runs."""

    l4t: VersionText
    jetpack: VersionText
    wheels: JetsonWheelsOf


class GpusFile(TableFile, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of ``gpus.yaml``."""

    gpus: tuple[GpuRow, ...]
    jetson_wheels: tuple[JetsonRow, ...]
    jetpacks: tuple[JetPackRow, ...]


class GpuModel(msgspec.Struct, frozen=True, kw_only=True):
    """A product as the table knows it; ``memory`` (GiB) is general knowledge and decides nothing."""

    name: str
    capabilities: tuple[ComputeCapability, ...]
    gpu_class: GpuClass
    memory: tuple[int, ...]
    confidence: Confidence
    source: str


class JetsonWheels(msgspec.Struct, frozen=True, kw_only=True):
    """The folder of the Jetson index that serves one JetPack release, and what lies there."""

    jetpack: str
    folder: str
    cuda: CudaVersion
    python: str
    torch: tuple[Version, ...]
    confidence: Confidence


class JetPack(msgspec.Struct, frozen=True, kw_only=True):
    """A JetPack release and the torch wheels that its boards run.

    ``runs_server_wheels``: from JetPack 7 on the ordinary wheels of linux_aarch64 run where they have code for the board.
    Before, ``wheels`` is the folder of NVIDIA's own ones and ``address`` where it lies; both None where none is known.
    """

    jetpack: Version
    runs_server_wheels: bool
    wheels: JetsonWheels | None
    address: str | None
    confidence: Confidence
    note: str | None


# Words in front of a name that people leave out. "RTX 3090" and "V100" still name one product; what is shorter may be the
# beginning of others too: "RTX 6000" is said for Quadro RTX 6000 and for RTX 6000 Ada Generation.
_MAKERS = frozenset(("nvidia", "geforce", "tesla", "jetson"))
_BRANDS = _MAKERS | {"quadro", "rtx", "gtx", "gt", "agx", "grid"}
# Form factor, memory size and board marks behind a name, as drivers print them.
_SUFFIX = re.compile(
    r"[ -]+(?:pcie|sxm\d?|nvl|hbm\d?\w?|fhhl|dgxs|pg\d+|ac|n|ls|\d+ ?(?:gb|mb|gib|g)|\d{3}|\d+[qcab]|mig \S+"
    r"|with max-q design|max-q|laptop gpu|mobile|\(nvgpu\)|\([^)]*pci[^)]*\))$"
)
# No product has a longer name; what is behind that is not looked at.
_LONGEST = 120
_L4T = re.compile(r"\s*R?(?P<release>\d+(?:\.\d+){1,3})", re.IGNORECASE)
# What the index of NVIDIA's wheels for Jetson boards is called in indexes.yaml.
_JETSON_INDEX = "jetson"
_MEMORY = re.compile(r" \d+gb$")
_TESLA_K_MARK = re.compile(r"\b(k\d0x?)[mcst]$")


class Gpus:
    """Questions about GPU names; answers come from ``gpus.yaml``."""

    def __init__(self, file: GpusFile) -> None:
        self.file = file
        self._own: dict[str, dict[str, GpuRow]] = {}
        self._short: dict[str, dict[str, GpuRow]] = {}
        for row in file.gpus:
            for name in map(_plain, (row.name, *row.aliases)):
                for alias, is_own in (*_aliases(name), *_aliases(_MEMORY.sub("", name))):
                    (self._own if is_own else self._short).setdefault(alias, {})[row.name] = row
        self._found: dict[str, tuple[GpuModel, ...]] = {}

    def all(self) -> tuple[GpuModel, ...]:
        """Every known product."""
        return tuple(map(_model, self.file.gpus))

    def find(self, name: str) -> tuple[GpuModel, ...]:
        """The products that a name may mean, empty when it is unknown.

        Understands what drivers print ("NVIDIA A100-SXM4-80GB", "Tesla V100-PCIE-16GB") and what people write
        ("RTX 3090", "RTX3090"). A short name means every product that begins with it: "RTX PRO 6000" is three of them.
        """
        plain = _plain(name)
        if plain not in self._found:
            self._found[plain] = tuple(map(_model, self._rows(plain).values()))
        return self._found[plain]

    def _rows(self, name: str) -> dict[str, GpuRow]:
        for spelling in _spellings(name):
            if spelling in self._own:
                return self._own[spelling]
            if spelling in self._short:
                return {**self._short[spelling], **self._beginning(spelling)}
        compact = {_compact(spelling) for spelling in _spellings(name)}
        for names in (self._own, self._short):
            for alias, rows in names.items():
                if _compact(alias) in compact:
                    return rows
        return next((rows for spelling in _spellings(name) if (rows := self._beginning(spelling))), {})

    def _beginning(self, name: str) -> dict[str, GpuRow]:
        """The products whose name begins with these words, brand words alone left aside."""
        if not set(name.split()) - _BRANDS:
            return {}
        names = [*self._own.items(), *self._short.items()]
        return {key: row for alias, rows in names if alias.startswith(f"{name} ") for key, row in rows.items()}

    def capability_of(self, name: str) -> tuple[ComputeCapability, ...]:
        """The compute capabilities that a card of this name may have, the commonest first; empty when it is unknown."""
        return tuple(dict.fromkeys(cc for model in self.find(name) for cc in model.capabilities))

    def class_of(self, name: str) -> GpuClass | None:
        """What kind of card this is; None when the name is unknown or means cards of several kinds."""
        classes = {model.gpu_class for model in self.find(name)}
        return classes.pop() if len(classes) == 1 else None

    def jetson_wheels(self) -> tuple[JetsonWheels, ...]:
        """The wheels made for Jetson boards, by JetPack release."""
        return tuple(
            JetsonWheels(
                jetpack=row.jetpack,
                folder=row.folder,
                cuda=CudaVersion.parse(row.cuda),
                python=row.python,
                torch=tuple(map(Version, row.torch)),
                confidence=row.confidence,
            )
            for row in self.file.jetson_wheels
        )

    def jetpack_of(self, l4t: str, indexes: Indexes) -> JetPack | None:
        """The JetPack of a board by its L4T release (``R36.3``, ``R36.4.3`` or ``36.3.0``), and its torch wheels.

        ``indexes`` knows where the folder of the wheels lies. None for text that is no release, and for releases older
        than the table. A release newer than the table is taken for the newest JetPack of the table.
        """
        match = _L4T.match(l4t)
        release = Version(match["release"]) if match else None
        begun = [row for row in self.file.jetpacks if release is not None and version_of(row.l4t) <= release]
        if not begun:
            return None
        row = max(begun, key=lambda row: version_of(row.l4t))
        wheels = self._jetson_wheels_for(version_of(row.jetpack)) if row.wheels == "own" else None
        index = indexes.by_name(_JETSON_INDEX)
        return JetPack(
            jetpack=version_of(row.jetpack),
            runs_server_wheels=row.wheels == "server",
            wheels=wheels,
            address=index.url(wheels.folder) if index and wheels else None,
            confidence=least(row.confidence, wheels.confidence) if wheels else row.confidence,
            note=row.note,
        )

    def _jetson_wheels_for(self, jetpack: Version) -> JetsonWheels | None:
        """The folder of this JetPack, else the nearest older one of the same major number."""
        older = [
            wheels
            for wheels in self.jetson_wheels()
            if Version(wheels.jetpack).major == jetpack.major and Version(wheels.jetpack) <= jetpack
        ]
        return max(older, key=lambda wheels: Version(wheels.jetpack), default=None)


def _model(row: GpuRow) -> GpuModel:
    return GpuModel(
        name=row.name,
        capabilities=tuple(map(ComputeCapability.parse, row.capabilities)),
        gpu_class=row.klass,
        memory=row.memory,
        confidence=row.confidence,
        source=row.source,
    )


def _plain(name: str) -> str:
    """A name in small letters and single spaces, without trademark signs; ``(laptop)`` as drivers write it."""
    words = re.sub(r"\s+", " ", name[:_LONGEST].replace("(R)", "").replace("(TM)", "").strip().lower())
    return re.sub(r" (?:\(laptop\)|laptop)$", " laptop gpu", words)


def _compact(name: str) -> str:
    """A name without the spaces that people leave out or put in: ``rtx3090``, ``1080ti``, ``4090d``."""
    return name.replace(" ", "")


def _aliases(name: str) -> Iterator[tuple[str, bool]]:
    """A plain name, then the same with one brand word after the other left out in front.

    With each, whether it is still the product's own name: only makers and families that add nothing were left out.
    """
    words = name.split(" ")
    own = True
    yield name, own
    while len(words) > 1 and words[0] in _BRANDS:
        own = own and words[0] in _MAKERS
        words = words[1:]
        yield " ".join(words), own


def _spellings(name: str) -> Iterator[str]:
    """What to look a name up as: as it is, without the maker, then with one mark after the other left out behind."""
    rest = name
    while rest:
        yield rest
        yield rest.removeprefix("nvidia ")
        yield rest.removeprefix("nvidia ").removeprefix("grid ")
        yield _TESLA_K_MARK.sub(r"\1", rest)
        shorter = _SUFFIX.sub("", rest)
        if shorter == rest:
            return
        rest = shorter
