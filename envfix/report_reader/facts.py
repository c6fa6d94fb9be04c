"""A ``torch.utils.collect_env`` report as facts: what it says with that source, what it cannot say as *unknown* by nature.

The report asks ``nvidia-smi``, ``nvcc --version``, ``gcc --version``, ``pip list`` and ``conda list``. "Could not collect"
means that such a program gave no answer, "No CUDA" that neither nvidia-smi nor nvcc did while torch sees no GPU, and
"N/A" that torch could not be imported (or that the line does not apply). None of them proves that there is no card.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envfix.model.documents import from_builtins, to_builtins, without_secrets
from envfix.model.facts import (
    NOT_TOLD,
    CondaRecord,
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
    Observed,
    Platform,
    Toolkit,
    TorchBuild,
    TorchImport,
    VisionBuild,
    absent,
    found,
    unknown,
)
from envfix.model.language import stated
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.probes.os_libc import platform_tag
from envfix.report_reader.lines import Lines
from envfix.tables.loader import Tables

SOURCE = "collect_env report"
# Where the environment lies is not in the report; commands in remedies need a place to point at.
PREFIX = "/path/to/environment"
T = TypeVar("T")
_NOTHING = ("Could not collect", "No CUDA", "N/A", "None", "No relevant packages", "")


def read(lines: Lines, tables: Tables) -> tuple[Machine, Environment]:
    """The machine and the environment a report is about; never raises for what it says."""
    place = platform(lines)
    pip = pip_list(lines)
    machine = _all_unknown(Machine) | {
        "platform": place,
        "driver": driver(lines),
        "gpus": gpus(lines, tables),
        "toolkits": toolkits(lines),
        "host_compilers": host_compilers(lines),
        "displays": displays(lines),
        "driver_layers": driver_layers(lines),
        "variables": variables(lines),
    }
    environment = _all_unknown(Environment) | {
        "interpreter": interpreter(lines, place.value),
        "distributions": pip,
        "torch": torch(lines, pip, place.value, tables),
        "torchvision": torchvision(pip),
        "torch_import": torch_import(lines),
        "conda_records": conda_records(lines),
    }
    return _clean(Machine, machine), _clean(Environment, environment)


def _all_unknown(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Every fact of a record as one that such a report never holds."""
    facts = [name for name, hint in get_type_hints(kind).items() if getattr(hint, "__origin__", None) is Observed]
    return {name: unknown(SOURCE, NOT_TOLD) for name in facts}


def _clean(kind: type[T], facts: dict[str, Any]) -> T:
    """The record without the passwords that a package list or a variable may hold."""
    return from_builtins(without_secrets(to_builtins(facts)), kind)


def _said(lines: Lines, key: str) -> str | None:
    """What the report really says behind a key; None for its ways to say nothing."""
    text = lines.text(key)
    return None if text in _NOTHING else text


def _silent(lines: Lines, key: str, program: str) -> Observed[Any]:
    """Why there is no such fact although a whole report would hold it."""
    text = lines.text(key)
    if text is None:
        return unknown(SOURCE, stated('the report has no line "{key}"', key=key))
    return unknown(SOURCE, stated('{program} gave no answer (the report says "{text}")', program=program, text=text))


def _is_mac(lines: Lines) -> bool:
    return (lines.text("OS") or "").lower().startswith("mac")


def _is_rocm(lines: Lines) -> bool:
    return _said(lines, "ROCM used to build PyTorch") is not None


def _parsed(parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return parse(text) if text else None
    except ValueError:
        return None


# --- the machine ---


def platform(lines: Lines) -> Observed[Platform]:
    """Operating system and processor; unknown where an old report names no processor.

    ``OS: Ubuntu 20.04.6 LTS (x86_64)``, ``OS: Microsoft Windows 10 Pro``, ``OS: macOS 14.5 (arm64)``;
    ``Python platform: Linux-5.15.0-113-generic-x86_64-with-glibc2.35``
    """
    os, kernel = _said(lines, "OS") or "", _said(lines, "Python platform") or ""
    system = _system(lines, os, kernel)
    machine = _machine(lines, system, os, kernel)
    if system is None or machine is None:
        missing = "no operating system" if system is None else f"no processor ({os})"
        return unknown(SOURCE, stated("the report names {missing}", missing=missing))
    release = re.match(r"Linux-([^-]+(?:-[^-]+)*?)-(?:x86_64|aarch64|ppc64le)", kernel)
    libc = re.search(r"(glibc|musl)-?(\d+\.\d+)", f"{_said(lines, 'Libc version') or ''} {kernel}")
    return found(
        Platform(
            system=system,
            machine=machine,
            tag=platform_tag(system, machine),
            distribution=re.sub(r" \([^()]*\)$", "", os) or None,
            kernel=release[1] if release else None,
            libc=Libc(family=libc[1], version=libc[2]) if libc and system == "linux" else None,
            wsl="microsoft" in kernel.lower(),
            jetson="board, of a release that the report does not name" if "-tegra" in kernel else None,
        ),
        SOURCE,
    )


def _system(lines: Lines, os: str, kernel: str) -> str | None:
    if "windows" in os.lower() or kernel.startswith("Windows") or "[MSC " in (lines.text("Python version") or ""):
        return "win32"
    if _is_mac(lines) or kernel.startswith(("macOS", "Darwin")):
        return "darwin"
    return "linux" if os or kernel.startswith("Linux") else None


def _machine(lines: Lines, system: str | None, os: str, kernel: str) -> str | None:
    """The processor by the operating system's line, by Python's own or by lscpu."""
    cpu = [line for line in lines.fields.get("CPU", ()) if line.startswith("Architecture")]
    for text in (os, kernel, *cpu, lines.text("Python version") or ""):
        match = re.search(r"x86_64|amd64|aarch64|arm64|ppc64le|i[36]86", text, re.IGNORECASE)
        if match:
            return {"amd64": "AMD64", "x86_64": "x86_64"}.get(match[0].lower(), match[0])
    # Reports of that age come from a torch that Windows had for no other processor.
    return "AMD64" if system == "win32" else None


def driver(lines: Lines) -> Observed[Driver]:
    """The driver by nvidia-smi. On macOS the line names another thing (the CUDA driver of old Macs)."""
    if _is_mac(lines):
        return absent(SOURCE, stated("macOS has no NVIDIA driver that a wheel could use"))
    text = _said(lines, "Nvidia driver version")
    if text is None and _is_rocm(lines):
        return unknown(SOURCE, NOT_TOLD)
    version = _parsed(DriverVersion.parse, (text or "").partition(" ")[0])
    if version is not None:
        return found(Driver(version=version), SOURCE)
    if text is not None:
        return unknown(SOURCE, stated("the report gives no readable driver version ({text})", text=repr(text[:40])))
    return _silent(lines, "Nvidia driver version", "nvidia-smi")


def gpus(lines: Lines, tables: Tables) -> Observed[tuple[Gpu, ...]]:
    """The cards by ``nvidia-smi -L``; their compute capability by their names, where a name leaves no doubt.

    ``GPU 0: NVIDIA A100-SXM4-40GB``, below it ``MIG 3g.20gb     Device  0:`` for each MIG instance, whose id torch has cut off:
    which instances there are is not known from it.
    """
    if _is_mac(lines):
        return absent(SOURCE, stated("macOS has no NVIDIA driver that a wheel could use"))
    if _is_rocm(lines):
        return unknown(SOURCE, NOT_TOLD)  # such a build is asked for its own card, and nvidia-smi is not
    if _said(lines, "GPU models and configuration") is None:
        return _silent(lines, "GPU models and configuration", "nvidia-smi")
    shown = (
        re.match(r"GPU (\d{1,3}): (.+?)(?: \(UUID: [^)]*\))?$", line)
        for line in lines.fields["GPU models and configuration"]
    )
    cards = [_card(int(match[1]), match[2], tables) for match in shown if match]
    if cards:
        return found(tuple(cards), SOURCE)
    text = _said(lines, "GPU models and configuration") or ""
    if "no devices" in text.lower():
        return absent(SOURCE, stated("the driver works but sees no card"))
    return unknown(SOURCE, stated("the report lists no NVIDIA card ({text})", text=repr(text[:60])))


def _card(index: int, name: str, tables: Tables) -> Gpu:
    answers = tables.gpus.capability_of(name)
    return Gpu(index=index, name=name, capability=answers[0] if len(answers) == 1 else None)


def displays(lines: Lines) -> Observed[tuple[Display, ...]]:
    """Only what a build for another maker's cards says: the PCI bus is not in the report."""
    name = _said(lines, "GPU models and configuration")
    if name is not None and _is_rocm(lines):
        return found((Display(vendor="AMD", vendor_id="1002", device_id="", bus="", name=name),), SOURCE)
    return unknown(SOURCE, NOT_TOLD)


def driver_layers(lines: Lines) -> Observed[DriverLayers]:
    """What each layer of the driver says is in no report; on macOS there is none."""
    return found(DriverLayers(nvml="absent"), SOURCE) if _is_mac(lines) else unknown(SOURCE, NOT_TOLD)


def toolkits(lines: Lines) -> Observed[tuple[Toolkit, ...]]:
    """The nvcc on PATH, which the report calls "CUDA runtime version": ``11.7.64``.

    Silence proves nothing: reports of torch 1.7 could not read the nvcc of CUDA 11, and nvcc need not be on PATH.
    """
    text = _said(lines, "CUDA runtime version")
    match = re.match(r"(\d{1,2}\.\d{1,2})(?:\.\d+)*", text or "")
    if match is None:
        return unknown(SOURCE, NOT_TOLD)
    kit = Toolkit(nvcc="nvcc", version=CudaVersion.parse(match[1]), release=match[0], found_by="PATH")
    return found((kit,), SOURCE)


def host_compilers(lines: Lines) -> Observed[tuple[HostCompiler, ...]]:
    """Compilers by their first line: ``(Ubuntu 9.4.0-1ubuntu1~20.04.1) 9.4.0``, ``(GCC) 4.8.5 20150623 (Red Hat 4.8.5-39)``."""
    compilers = []
    for name, key in (("gcc", "GCC version"), ("clang", "Clang version")):
        text = re.sub(r"\([^()]*\)", "", _said(lines, key) or "")
        match = re.search(r"\d+(?:\.\d+)+", text)
        if match:
            compilers.append(HostCompiler(name=name, path=name, version=match[0]))
    return found(tuple(compilers), SOURCE) if compilers else unknown(SOURCE, NOT_TOLD)


def variables(lines: Lines) -> dict[str, str]:
    """The variables that newer reports show, where they are set."""
    shown = {
        "CUDA_MODULE_LOADING": _said(lines, "CUDA_MODULE_LOADING set to"),
        "PYTORCH_CUDA_ALLOC_CONF": _said(lines, "Caching allocator config"),
    }
    return {name: value for name, value in shown.items() if value}


# --- the environment ---


def interpreter(lines: Lines, place: Platform | None) -> Observed[Interpreter]:
    """The Python that ran the report.

    ``3.8``, ``3.8 (64-bit runtime)``, ``3.10.14 | packaged by conda-forge | (main, Mar 20 2024) [GCC 12.3.0] (64-bit runtime)``
    """
    text = _said(lines, "Python version") or ""
    match = re.match(r"(\d)\.(\d{1,2})(?:\.\d+\S*)?", text)
    if match is None:
        return unknown(
            SOURCE, stated('the report has no readable line "Python version": {not_told}', not_told=NOT_TOLD)
        )
    free = "t" if "free-threading" in text else ""
    short = f"{'pp' if 'PyPy' in text else 'cp'}{match[1]}{match[2]}"
    bits = re.search(r"\((32|64)-bit runtime\)", text)
    return found(
        Interpreter(
            executable="python",
            asked=SOURCE,
            version=match[0],
            implementation="pypy" if "PyPy" in text else "cpython",
            tag=short + free,
            abi_tag=short + (free or ("m" if (int(match[1]), int(match[2])) <= (3, 7) else "")),
            platform_tag=place.tag if place else "",
            bits=int(bits[1]) if bits else 0,
            prefix=PREFIX,
            base_prefix=PREFIX,
            kind="conda" if _is_of_conda(text) else "unknown",
            site_packages=(f"{PREFIX}/site-packages",),
        ),
        SOURCE,
    )


def _is_of_conda(python: str) -> bool:
    return any(word in python for word in ("packaged by", "Anaconda", "Continuum"))


def pip_list(lines: Lines) -> Observed[tuple[Distribution, ...]]:
    """The packages that pip lists: ``numpy==1.23.5``, in reports of 2018 ``numpy (1.15.4)``; only those that matter to torch.

    Old reports ask the first pip on PATH. Where its list lacks the torch that was imported it is another Python's.
    """
    pairs = [match.groups() for line in lines.pip if (match := re.match(r"([\w.-]+)(?:==| \()([^\s)]+)\)?$", line))]
    if not pairs:
        text = " ".join(lines.pip)
        return unknown(
            SOURCE,
            stated('pip gave no answer (the report says "{text}")', text=text)
            if text
            else stated("the report lists no packages"),
        )
    if _said(lines, "PyTorch version") and "torch" not in {canonicalize_name(name) for name, _ in pairs}:
        return unknown(
            SOURCE,
            stated("the pip that was asked belongs to another Python: its list lacks the torch that was imported"),
        )
    place = f"{PREFIX}/site-packages"
    return found(tuple(Distribution(name=name, version=version, location=place) for name, version in pairs), SOURCE)


def torch(
    lines: Lines, pip: Observed[tuple[Distribution, ...]], place: Platform | None, tables: Tables
) -> Observed[TorchBuild]:
    """The torch that was imported; its architectures by the table where it is a wheel of the official index."""
    build = _said(lines, "PyTorch version")
    listed = _version_in(pip, "torch")
    if build is None:
        if (
            lines.text("PyTorch version") is None
            or listed
            or pip.is_unknown
            or any("torch" in row for row in lines.conda)
        ):
            return unknown(SOURCE, stated("torch could not be imported, and the report does not say why"))
        return absent(SOURCE, stated("torch cannot be imported, and pip lists none"))
    cuda, hip = _said(lines, "CUDA used to build PyTorch"), _said(lines, "ROCM used to build PyTorch")
    runtime = _parsed(CudaVersion.parse, cuda)
    if lines.text("CUDA used to build PyTorch") is None or (cuda and runtime is None):
        return unknown(SOURCE, stated("the report does not say for which CUDA torch was built"))
    sm, ptx, more = architectures(build, runtime, place, tables)
    value = TorchBuild(
        version=listed or build,
        build=build,
        location=f"{PREFIX}/site-packages/torch",
        cuda=runtime,
        hip=hip,
        sm=sm,
        ptx=ptx,
    )
    return found(value, more or SOURCE)


def architectures(
    build: str, cuda: CudaVersion | None, place: Platform | None, tables: Tables
) -> tuple[tuple[ComputeCapability, ...] | None, tuple[ComputeCapability, ...], str]:
    """What an official wheel was compiled for. Its label is the mark: other builds (conda, NGC, own ones) have none or another."""
    version = _parsed(Version, build)
    if version is None or cuda is None or place is None or version.local != cuda.variant:
        return None, (), ""
    row = tables.architectures.built(version, cuda.variant, place.tag)
    if row is None or row.confidence == "inferred":
        return None, (), ""
    source = stated("collect_env report; architectures of that wheel by envfix's table ({source})", source=row.source)
    return row.sm, row.ptx, source


def torchvision(pip: Observed[tuple[Distribution, ...]]) -> Observed[VisionBuild]:
    """The torchvision that pip lists; its CUDA by its label."""
    if pip.is_unknown:
        return unknown(SOURCE, pip.problem or NOT_TOLD)
    version = _version_in(pip, "torchvision")
    if version is None:
        return absent(SOURCE)
    label = version.partition("+")[2]
    return found(VisionBuild(version=version, build=version, cuda=_parsed(CudaVersion.parse, label)), SOURCE)


def _version_in(pip: Observed[tuple[Distribution, ...]], name: str) -> str | None:
    return next((one.version for one in pip.value or () if canonicalize_name(one.name) == name), None)


def torch_import(lines: Lines) -> Observed[TorchImport]:
    """What importing torch said: ``Is CUDA available: True`` (``Yes`` in old reports)."""
    build, available = _said(lines, "PyTorch version"), _said(lines, "Is CUDA available")
    if build is None:
        return found(
            TorchImport(ok=False, seconds=0.0, error=stated("torch could not be imported (the report says no more)")),
            SOURCE,
        )
    if available not in ("True", "Yes", "False", "No"):
        return _silent(lines, "Is CUDA available", "torch")
    works = available in ("True", "Yes")
    problem = None if works else stated("torch.cuda.is_available() is False (the report does not say why)")
    return found(TorchImport(ok=True, seconds=0.0, version=build, cuda_available=works, cuda_problem=problem), SOURCE)


def conda_records(lines: Lines) -> Observed[tuple[CondaRecord, ...]]:
    """What ``conda list`` shows of the active environment, if that is surely the one whose Python ran the report.

    ``pytorch  1.10.2  py3.8_cuda11.3_cudnn8.2.0_0  pytorch``; packages of pip stand there too, with ``pypi``, and are no records.
    """
    rows = [row for row in (line.split() for line in lines.conda) if len(row) >= 3 and row[1][0].isdigit()]
    own = [row for row in rows if row[-1] not in ("pypi", "<pip>", "<develop>")]
    if not own or not _is_of_conda(lines.text("Python version") or "") or not _same_torch(lines, rows):
        return unknown(SOURCE, NOT_TOLD)
    return found(
        tuple(
            CondaRecord(name=name, version=version, build=build, channel=more[0] if more else "defaults")
            for name, version, build, *more in own
        ),
        SOURCE,
    )


def _same_torch(lines: Lines, rows: list[list[str]]) -> bool:
    """Whether conda's list holds the very torch that was imported, by whichever installer."""
    try:
        running = Version(lines.text("PyTorch version") or "").public
        return running in {Version(row[1]).public for row in rows if row[0] in ("pytorch", "torch")}
    except InvalidVersion:
        return False
