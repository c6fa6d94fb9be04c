"""Pretended NVIDIA machines: C sources compiled once, each machine a folder of programs and a set of variables."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Which of the driver's questions a library knows (see nvml.c), by the driver's branch.
HARDLY_ANY, FIRST_LISTS, BEFORE_510, RECENT = 1, 2, 3, 4
# No Linux hands out a process number this big: its owner cannot be looked up, as for a process of another container.
FOREIGN_PID = 4_194_999


@dataclasses.dataclass(frozen=True, kw_only=True)
class Card:
    """One pretended card; memory in MiB, ``device`` is its PCI device number in hexadecimal.

    ``states`` are NVML's own numbers for what the card is in (see description.h): ``mode=3;ecc=1``.
    """

    name: str
    capability: str
    memory: int
    used: int = 0
    device: str = "2204"
    states: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds memory of a card; 0 MiB: the driver does not tell how much."""

    card: int
    memory: int
    name: str
    pid: int = FOREIGN_PID


@dataclasses.dataclass(frozen=True, kw_only=True)
class FakeMachine:
    """What is pretended. ``nvml``: empty or how it fails; ``libraries`` and ``smi_installed`` say which files exist."""

    driver: str | None = None
    cuda: int = 0
    cards: tuple[Card, ...] = ()
    holders: tuple[Holder, ...] = ()
    nvml: str = ""
    smi: str = ""
    cuinit: int = 0
    libraries: tuple[str, ...] = ("nvml", "cuda")
    smi_installed: bool = True
    files_version: str | None = None
    age: int | None = None
    nvcc: str | None = None
    gcc: str | None = None
    lspci: tuple[str, ...] | None = None

    @property
    def nvml_age(self) -> int:
        """Which NVML functions a driver of this version has."""
        if self.age is not None:
            return self.age
        return RECENT if int((self.driver or "999").split(".")[0]) >= 510 else BEFORE_510


def lspci_line(
    bus: str, name: str, device: str, *, vendor: str = "10de", kind: str = "VGA compatible controller [0300]"
) -> str:
    """One line of ``lspci -nn``."""
    maker = {
        "10de": "NVIDIA Corporation",
        "1002": "Advanced Micro Devices, Inc. [AMD/ATI]",
        "8086": "Intel Corporation",
    }[vendor]
    return f"{bus} {kind}: {maker} {name} [{vendor}:{device}] (rev a1)"


RTX_3090 = lspci_line("01:00.0", "GA102 [GeForce RTX 3090]", "2204")
MACHINES = {
    # The lab server of the story: a driver that came with CUDA 11.1, two cards, somebody's training on the first.
    "seed-server": FakeMachine(
        driver="455.23.05",
        cuda=11010,
        cards=(
            Card(name="GeForce RTX 3090", capability="8.6", memory=24268, used=22950),
            Card(name="GeForce RTX 3090", capability="8.6", memory=24268, used=310),
        ),
        holders=(Holder(card=0, memory=22630, name="python train.py"),),
        nvcc="11.1.74",
        gcc="9.4.0",
        lspci=(RTX_3090, lspci_line("02:00.0", "GA102 [GeForce RTX 3090]", "2204")),
    ),
    "lab-470-rtx3090": FakeMachine(
        driver="470.57.02",
        cuda=11040,
        cards=(Card(name="NVIDIA GeForce RTX 3090", capability="8.6", memory=24268, used=412),),
        nvcc="11.1.105",
        gcc="9.4.0",
        lspci=(RTX_3090,),
    ),
    "workstation-550-rtx4090": FakeMachine(
        driver="550.54.14",
        cuda=12040,
        cards=(Card(name="NVIDIA GeForce RTX 4090", capability="8.9", memory=24564, used=300, device="2684"),),
        gcc="11.4.0",
        lspci=(lspci_line("01:00.0", "AD102 [GeForce RTX 4090]", "2684"),),
    ),
    "blackwell-580-rtx5090": FakeMachine(
        driver="580.95.05",
        cuda=13000,
        cards=(Card(name="NVIDIA GeForce RTX 5090", capability="12.0", memory=32607, used=300, device="2b85"),),
        gcc="13.3.0",
        lspci=(lspci_line("01:00.0", "GB202 [GeForce RTX 5090]", "2b85"),),
    ),
    "pascal-535-gtx1080ti": FakeMachine(
        driver="535.183.01",
        cuda=12020,
        cards=(Card(name="NVIDIA GeForce GTX 1080 Ti", capability="6.1", memory=11264, used=200, device="1b06"),),
        gcc="11.4.0",
        lspci=(lspci_line("01:00.0", "GP102 [GeForce GTX 1080 Ti]", "1b06"),),
    ),
    "volta-580-v100": FakeMachine(
        driver="580.95.05",
        cuda=13000,
        cards=(Card(name="Tesla V100-SXM2-32GB", capability="7.0", memory=32768, device="1db5"),),
        gcc="11.4.0",
        lspci=(lspci_line("04:00.0", "GV100GL [Tesla V100 SXM2 32GB]", "1db5", kind="3D controller [0302]"),),
    ),
    "no-driver": FakeMachine(libraries=(), smi_installed=False, gcc="12.2.0", lspci=()),
    "nouveau-rtx3090": FakeMachine(libraries=(), smi_installed=False, gcc="11.4.0", lspci=(RTX_3090,)),
    "amd-card": FakeMachine(
        libraries=(),
        smi_installed=False,
        lspci=(lspci_line("03:00.0", "Navi 31 [Radeon RX 7900 XTX]", "744c", vendor="1002"),),
    ),
    # After an update of the packages: files of the new driver, module of the old one, needs a reboot.
    "driver-mismatch": FakeMachine(
        driver="550.163.01",
        cuda=12040,
        cards=(Card(name="NVIDIA GeForce RTX 3090", capability="8.6", memory=24268, used=412),),
        nvml="18",
        cuinit=803,
        gcc="11.4.0",
        lspci=(RTX_3090,),
    ),
    "module-not-loaded": FakeMachine(
        driver="535.183.01", cuda=12020, nvml="9", cuinit=100, gcc="11.4.0", lspci=(RTX_3090,)
    ),
}


class FakeDrivers:
    """The compiled fakes, and folders that look like machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def compile(cls, folder: Path, compiler: str) -> FakeDrivers:
        """Build the libraries and nvidia-smi into ``folder``; raises ``CalledProcessError`` when the sources are wrong."""
        shared = ["-shared", "-fPIC"]
        jobs = [(f"nvml-{age}.so", "nvml.c", [*shared, f"-DNVML_AGE={age}"]) for age in range(HARDLY_ANY, RECENT + 1)]
        jobs += [("cuda.so", "cuda.c", shared), ("nvidia-smi", "nvidia_smi.c", [])]
        for name, source, options in jobs:
            argv = [compiler, "-O1", "-w", *options, "-o", str(folder / name), str(HERE / source)]
            subprocess.run(argv, check=True, capture_output=True)
        return cls(folder)

    def environment(self, machine: FakeMachine, root: Path) -> dict[str, str]:
        """Put the machine's programs and libraries under ``root``; the answer is the whole environment of a process on it."""
        bin_folder, lib_folder, home = root / "bin", root / "lib", root / "home"
        for folder in (bin_folder, lib_folder, home):
            folder.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": str(bin_folder),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PIP_CONFIG_FILE": os.devnull,
            "ENVFIX_CACHE_DIR": str(root / "cache"),
            "FAKE_DRIVER": machine.driver or "",
            "FAKE_CUDA": str(machine.cuda),
            "FAKE_CARDS": "\n".join(
                f"{card.name}|{card.capability}|{card.memory}|{card.used}|{card.device}|{card.states}"
                for card in machine.cards
            ),
            "FAKE_HOLDERS": "\n".join(f"{one.card}|{one.pid}|{one.memory}|{one.name}" for one in machine.holders),
            "FAKE_NVML": machine.nvml,
            "FAKE_SMI": machine.smi,
            "FAKE_CUINIT": str(machine.cuinit),
        }
        if machine.libraries:
            environment["LD_LIBRARY_PATH"] = str(lib_folder)
        self._libraries(machine, lib_folder)
        if machine.smi_installed:
            shutil.copy(self.folder / "nvidia-smi", bin_folder / "nvidia-smi")
        environment.update(_programs(machine, bin_folder))
        return environment

    def _libraries(self, machine: FakeMachine, folder: Path) -> None:
        """The libraries under their real names: the file name carries the version of the user-space driver."""
        version = machine.files_version or machine.driver
        for kind, source, name in (
            ("nvml", f"nvml-{machine.nvml_age}.so", "libnvidia-ml.so"),
            ("cuda", "cuda.so", "libcuda.so"),
        ):
            if kind in machine.libraries:
                shutil.copy(self.folder / source, folder / f"{name}.{version}")
                (folder / f"{name}.1").symlink_to(f"{name}.{version}")


def _programs(machine: FakeMachine, folder: Path) -> dict[str, str]:
    """Install the stand-ins that this machine has; the answer is the variables they read."""
    wanted: dict[str, tuple[tuple[str, ...], str | None]] = {
        "FAKE_NVCC": (("nvcc",), machine.nvcc),
        "FAKE_GCC": (("gcc", "g++"), machine.gcc),
        "FAKE_LSPCI": (("lspci",), None if machine.lspci is None else "\n".join(machine.lspci)),
    }
    variables = {}
    for variable, (names, value) in wanted.items():
        if value is not None:
            variables[variable] = value
            for name in names:
                shutil.copy(HERE / "programs" / names[0], folder / name)
                (folder / name).chmod(0o755)
    return variables
