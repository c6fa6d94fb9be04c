"""Facts from what people say of their machine: a mapping of free texts (``gpu: 2x Tesla K40m``) as the records rules judge.

Only what is said becomes a fact; what is not said is unknown, as in a report that does not tell it. Nothing here knows a
single case: every key is read by one general rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from envfix.model import facts as records
from envfix.model.facts import (
    NOT_TOLD,
    Display,
    Distribution,
    Driver,
    DriverLayers,
    Environment,
    Gpu,
    HostCompiler,
    Interpreter,
    Libc,
    Machine,
    NativeLibrary,
    Observed,
    Platform,
    Toolkit,
    TorchBuild,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.probes.os_libc import platform_tag
from envfix.report_reader import facts, lines
from envfix.tables.loader import Tables

SOURCE = "description"
Said = Mapping[str, str]
# Keys that name a distribution; their value is its version.
PACKAGES = (
    "torchvision",
    "torchaudio",
    "ultralytics",
    "numpy",
    "triton",
    "setuptools",
    "xformers",
    "onnxruntime",
    "mkl",
)
OTHER_MAKERS = {
    "AMD": ("1002", "AMD|Radeon"),
    "Intel": ("8086", r"Intel|Iris|\bArc\b"),
    "Apple": ("106b", r"Apple|\bM[1-4]\b"),
}
SITE = "/env/lib/python3/site-packages"


def described(said: Said, tables: Tables, collect_env: str | None = None) -> tuple[Machine, Environment]:
    """The facts that a description states; an excerpt of torch's own report comes first where there is one."""
    report = lines.find(collect_env) if collect_env else None
    machine, environment = facts.read(report, tables) if report else (unknown_all(Machine), unknown_all(Environment))
    for field, read in MACHINE.items():
        fact = read(said, tables)
        if fact is not None:
            machine = msgspec.structs.replace(machine, **{field: fact})
    for field, read in ENVIRONMENT.items():
        fact = read(said, tables)
        if fact is not None:
            environment = msgspec.structs.replace(environment, **{field: fact})
    return machine, environment


def unknown_all(kind: type[Any]) -> Any:
    """A record of which nothing is known."""
    names = [name for name, hint in get_type_hints(kind).items() if getattr(hint, "__origin__", None) is Observed]
    return kind(**dict.fromkeys(names, unknown(SOURCE, NOT_TOLD)))


# --- the machine ---


def platform(said: Said, _: Tables) -> Observed[Platform] | None:
    """``os: Ubuntu container``, ``arch: aarch64``; people who do not name a processor have the usual one."""
    os, arch = said.get("os", ""), said.get("arch", "")
    text = " ".join((os, arch, said.get("python", "")))
    if not os and not arch:
        return None
    system = "win32" if re.search("windows", os, re.IGNORECASE) and "WSL" not in os else "linux"
    system = "darwin" if re.search("mac", os, re.IGNORECASE) and "linux" not in os.lower() else system
    arm = re.search(r"aarch64|arm64|jetson|jetpack", text, re.IGNORECASE)
    machine = ("arm64" if system == "darwin" else "aarch64") if arm else "x86_64"
    glibc = re.match(r"2\.\d+", said.get("glibc", ""))
    release = re.search(r"L4T (\d+[\d.]*)", os)
    return found(
        Platform(
            system=system,
            machine=machine,
            tag=platform_tag(system, machine),
            distribution=os or None,
            kernel=said.get("kernel"),
            libc=Libc(family="glibc", version=glibc[0]) if glibc else None,
            wsl="WSL" in os,
            container=container(said),
            jetson=f"R{release[1]}"
            if release
            else ("of this board" if re.search("jetson|jetpack", os, re.IGNORECASE) else None),
        ),
        SOURCE,
    )


def container(said: Said) -> str | None:
    """The kind of container that the operating system, the command or an image speak of."""
    text = " ".join(
        (said.get("os", ""), started_with(said) or "", said.get("container", ""), said.get("container_runtime", ""))
    )
    for word, kind in (
        ("kubernetes", "kubernetes"),
        ("singularity", "apptainer"),
        ("docker", "docker"),
        ("container", "docker"),
    ):
        if word in text.lower():
            return kind
    return None


def started_with(said: Said) -> str | None:
    """The command that started the container, whatever key it stands under."""
    return next((value for value in said.values() if re.match(r"(?:docker|podman|nvidia-docker) run\b", value)), None)


def has_no_gpu_access(said: Said) -> bool:
    """Whether the container was started by a command that asks for no GPU."""
    command = started_with(said)
    return command is not None and not re.search(r"--gpus|--runtime[ =]nvidia|nvidia-docker|nvidia\.com/gpu", command)


def driver(said: Said, tables: Tables) -> Observed[Driver] | None:
    if has_no_gpu_access(said) or is_of_other_maker(said, tables):
        return absent(SOURCE)
    match = re.search(r"\b\d{3}\.\d+(?:\.\d+)?\b", said.get("driver", ""))
    if match is None:
        return None
    serves = re.match(r"\d+\.\d+", said.get("driver_cuda", ""))
    cuda = CudaVersion.parse(serves[0]) if serves else None
    return found(Driver(version=DriverVersion.parse(match[0]), cuda=cuda), SOURCE)


def driver_layers(said: Said, tables: Tables) -> Observed[DriverLayers] | None:
    if has_no_gpu_access(said):
        return found(DriverLayers(nvml="absent", kernel=said.get("driver_host")), SOURCE)
    return found(DriverLayers(nvml="absent"), SOURCE) if is_of_other_maker(said, tables) else None


def is_of_other_maker(said: Said, tables: Tables) -> bool:
    """A card that no NVIDIA driver serves: of another maker, or in a Mac."""
    on_mac = "mac" in said.get("os", "").lower() and "linux" not in said.get("os", "").lower()
    return "gpu" in said and (on_mac or (bool(displays(said, tables)) and not nvidia_cards(said, tables)))


def displays(said: Said, _: Tables) -> Observed[tuple[Display, ...]] | None:
    shown = tuple(
        Display(vendor=vendor, vendor_id=number, device_id="", bus="", name=said["gpu"])
        for vendor, (number, words) in OTHER_MAKERS.items()
        if re.search(words, said.get("gpu", ""))
    )
    return found(shown, SOURCE) if shown else None


def gpus(said: Said, tables: Tables) -> Observed[tuple[Gpu, ...]] | None:
    if has_no_gpu_access(said) or is_of_other_maker(said, tables):
        return absent(SOURCE)
    cards = nvidia_cards(said, tables)
    return found(cards, SOURCE) if cards else None


def nvidia_cards(said: Said, tables: Tables) -> tuple[Gpu, ...]:
    """``2x Tesla K40m``, ``RTX 3090 and GT 710``, ``TITAN X (compute capability 5.2)``, ``single GPU``, ``MIG slice``."""
    cards: list[Gpu] = []
    for part in re.split(r",| and | \+ |;", said.get("gpu", "")):
        match = re.match(r"\s*(?:(\d{1,2}) ?x ?)?(.+?)\s*$", part)
        if match is None or re.search("|".join(words for _, words in OTHER_MAKERS.values()), part):
            continue
        name = re.sub(r"\([^)]*\)", "", match[2]).strip()
        if tables.gpus.find(name) or re.search(r"GeForce|RTX|GTX|Tesla|Quadro|TITAN|NVIDIA|GPU|MIG|[AVH]\d00", part):
            card = Gpu(index=0, name=name, capability=capability(said, part), **card_state(said, part))
            cards += [card] * int(match[1] or 1)
    return tuple(msgspec.structs.replace(card, index=index) for index, card in enumerate(cards))


def card_state(said: Said, part: str) -> dict[str, Any]:
    """MIG instances and the licence of a virtual card, as far as this build has facts for them."""
    state: dict[str, Any] = {}
    instance = getattr(records, "MigInstance", None)
    if "MIG" in part and instance is not None:
        count = 2 if re.search(r"several|instances", part) else 1
        state = {"mig": True, "mig_instances": tuple(instance(uuid=f"MIG-{number}") for number in range(count))}
    if "vGPU" in part:
        state = {"virtualization": "vgpu", "licensed": "unlicensed" not in said.get("license", "")}
    return {name: value for name, value in state.items() if name in Gpu.__struct_fields__}


def capability(said: Said, part: str) -> ComputeCapability | None:
    match = re.search(r"\b\d{1,2}\.\d\b", said.get("compute_capability", "")) or re.search(
        r"capability (\d{1,2}\.\d)", part
    )
    return ComputeCapability.parse(match[match.lastindex or 0]) if match else None


def toolkits(said: Said, _: Tables) -> Observed[tuple[Toolkit, ...]] | None:
    match = re.search(r"\d{1,2}\.\d(?:\.\d+)*", said.get("nvcc") or said.get("cuda_toolkit") or "")
    if match is None:
        return None
    kit = Toolkit(nvcc="nvcc", version=CudaVersion.parse(match[0]), release=match[0], found_by="PATH")
    return found((kit,), SOURCE)


def host_compilers(said: Said, _: Tables) -> Observed[tuple[HostCompiler, ...]] | None:
    match = re.fullmatch(r"\d+(?:\.\d+)*", said.get("gcc", ""))
    return found((HostCompiler(name="gcc", path="gcc", version=match[0]),), SOURCE) if match else None


def libraries(said: Said, _: Tables) -> Observed[tuple[NativeLibrary, ...]] | None:
    match = re.match(r"\d+(?:\.\d+)+", said.get("cudnn_system", ""))
    if match is None:
        return None
    name = f"libcudnn.so.{match[0].partition('.')[0]}"
    found_there = NativeLibrary(name=name, path=f"/usr/lib/{name}", found_by="ldconfig", version=match[0])
    return found((found_there,), SOURCE)


def variables(said: Said, _: Tables) -> dict[str, str]:
    """``cuda_visible_devices: 2 (exported by the launch script)``, ``ld_library_path: /usr/local/cuda/lib64``."""
    shown = {}
    visible = re.match(r"-?[\w,-]*", said.get("cuda_visible_devices", "unset"))
    if visible is not None and visible[0] != "unset":
        shown["CUDA_VISIBLE_DEVICES"] = visible[0]
    if "ld_library_path" in said:
        shown["LD_LIBRARY_PATH"] = said["ld_library_path"]
    return shown


# --- the environment ---


def interpreter(said: Said, tables: Tables) -> Observed[Interpreter] | None:
    match = re.search(r"\b([23])\.(\d{1,2})(?:\.\d+)?\b", said.get("python", ""))
    if match is None:
        return None
    place = platform(said, tables)
    return found(
        Interpreter(
            executable="/env/bin/python", asked=SOURCE, version=match[0], implementation="cpython",
            tag=f"cp{match[1]}{match[2]}", abi_tag=f"cp{match[1]}{match[2]}",
            platform_tag=place.value.tag if place and place.value else "",
            bits=32 if re.search(r"32.?bit", said["python"]) else 64,
            prefix="/env", base_prefix="/env", kind="unknown", site_packages=(SITE,),
        ),
        SOURCE,
    )  # fmt: skip


def torch(said: Said, tables: Tables) -> Observed[TorchBuild] | None:
    """``torch: 1.12.0+cu113``, ``2.2.0 with cu121``, ``2.0.1+cpu``; without any word on its CUDA it stays unknown.

    ``collect_env`` and ``pip_list`` may each name another one: what runs, and what pip believes.
    """
    text = re.sub(r"^PyTorch version: ", "", said.get("collect_env", "")) or said.get("torch", said.get("result", ""))
    version = re.search(r"\d+\.\d+(?:\.\d+)?(?:\.dev\d*|a0)?(?:\+\w+)?", text)
    cpu = re.search(r"\+cpu|CPU|generic", text) is not None
    label = re.search(r"cu\d{2,3}", text)
    stated = re.match(r"\d+\.\d", said.get("torch_cuda", ""))
    cuda = CudaVersion.parse((label or stated or ("",))[0]) if label or stated else None
    if not text or (cuda is None and not cpu):
        return None
    build = version[0] if version else "unspecified"
    listed = re.search(r"torch (\d[\w.+]*)", said.get("pip_list", ""))
    place = platform(said, tables)
    sm, ptx, more = facts.architectures(build, cuda, place.value if place else None, tables)
    value = TorchBuild(
        version=listed[1] if listed else build,
        build=build,
        location=f"{SITE}/torch",
        cuda=None if cpu else cuda,
        sm=sm,
        ptx=ptx,
    )
    return found(value, SOURCE + more)


def torchvision(said: Said, _: Tables) -> Observed[VisionBuild] | None:
    match = re.match(r"\d+\.\d+[\w.+]*", said.get("torchvision", ""))
    if match is None:
        return None
    label = re.search(r"cu\d{2,3}", match[0])
    cuda = CudaVersion.parse(label[0]) if label else None
    return found(VisionBuild(version=match[0], build=match[0], cuda=cuda), SOURCE)


def distributions(said: Said, tables: Tables) -> Observed[tuple[Distribution, ...]] | None:
    """Every package whose version is named; not all that are installed."""
    named = [(name, re.match(r"\d+\.[\w.+]*", said.get(name, ""))) for name in PACKAGES]
    rows = [Distribution(name=name, version=match[0], location=SITE) for name, match in named if match]
    build = torch(said, tables)
    if build is not None and build.value is not None:
        rows.append(Distribution(name="torch", version=build.value.version, location=SITE))
    return found(tuple(rows), SOURCE) if rows else None


MACHINE: dict[str, Callable[[Said, Tables], Any]] = {
    "platform": platform,
    "driver": driver,
    "gpus": gpus,
    "driver_layers": driver_layers,
    "displays": displays,
    "toolkits": toolkits,
    "host_compilers": host_compilers,
    "libraries": libraries,
    "variables": variables,
}
ENVIRONMENT: dict[str, Callable[[Said, Tables], Any]] = {
    "interpreter": interpreter,
    "torch": torch,
    "torchvision": torchvision,
    "distributions": distributions,
}
