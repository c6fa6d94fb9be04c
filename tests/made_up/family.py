"""The torch family and native libraries: what files prove, and what a failed import says."""

from __future__ import annotations

from typing import Any

import msgspec

from envfix.model.facts import (
    NOT_TOLD,
    Binaries,
    Binary,
    CondaInstall,
    CondaRecord,
    CppLibrary,
    Distribution,
    Environment,
    HostCompiler,
    Libc,
    Machine,
    NativeLibrary,
    Observed,
    TorchImport,
    absent,
    found,
    unknown,
)
from envfix.model.versions import ComputeCapability
from tests.made_up import (
    PYTHON,
    RTX_3090,
    HandMade,
    card,
    environment,
    machine,
    placed,
    torch,
    vision,
)

SITE = "/env/lib/python3.11/site-packages"
PYTHON_311 = msgspec.structs.replace(
    PYTHON, version="3.11.7", tag="cp311", abi_tag="cp311", site_packages=(SITE,), writable=True
)
IN_CONDA = msgspec.structs.replace(PYTHON_311, kind="conda", base_prefix="/env")
T0 = 1_700_000_000.0


def dist(name: str, version: str, *requires: str, **more: Any) -> Distribution:
    """An installed package, by pip into the site-packages of the environment."""
    return Distribution(
        **{
            "name": name,
            "version": version,
            "location": SITE,
            "installer": "pip",
            "requires": requires,
            "metadata": f"{name}-{version}.dist-info",
            "modified": T0,
            "listed_files": 1000,
            **more,
        }
    )


def packages(*items: Distribution) -> Observed[tuple[Distribution, ...]]:
    return found(items, "metadata folders")


def imported(error: str | None = None, **more: Any) -> Observed[TorchImport]:
    """An import that works, or what it said when it failed."""
    return found(TorchImport(ok=error is None, seconds=1.0, error=error, **more), "import torch in /env/bin/python")


def binaries(*files: Binary, **more: Any) -> Observed[Binaries]:
    return found(Binaries(files=files, **{"pkg_resources": True, **more}), "ELF headers")


def binary(package: str, name: str = "_C.so", **more: Any) -> Binary:
    return Binary(path=f"{SITE}/{package}/{name}", package=package, **more)


def modern(**facts: Any) -> Environment:
    """Python 3.11 with torch 2.4.1+cu121 and its torchvision, all whole, but for what is given."""
    well: dict[str, Any] = {
        "interpreter": found(PYTHON_311, "asked"),
        "torch": TORCH,
        "torchvision": vision("0.19.1+cu121", "12.1", "2.4.1"),
        "distributions": packages(*WELL),
    }
    return environment(**{**well, **facts})


def in_conda(*rows: CondaRecord, **facts: Any) -> Environment:
    """The same, as conda installed it."""
    well: dict[str, Any] = {
        "interpreter": found(IN_CONDA, "asked"),
        "conda_records": found(rows, "conda-meta"),
        "distributions": packages(dist("torch", "2.4.1", installer="conda"), PIP),
    }
    return modern(**{**well, **facts})


def record(name: str, version: str, build: str, **more: Any) -> CondaRecord:
    return CondaRecord(name=name, version=version, build=build, prefix="/env", **{"listed_files": 1000, **more})


def outside(name: str, version: str, found_by: str = "LD_LIBRARY_PATH") -> NativeLibrary:
    return NativeLibrary(name=name, path=f"/usr/local/cuda-12.0/lib64/{name}", found_by=found_by, version=version)


def libraries(*items: NativeLibrary) -> Observed[tuple[NativeLibrary, ...]]:
    return found(items, "LD_LIBRARY_PATH and ldconfig")


PIP = dist("pip", "24.0")
TORCH = torch("2.4.1+cu121", "12.1", "sm_50 sm_80 sm_86 sm_90")
CUDNN_PIN = 'nvidia-cudnn-cu12==9.1.0.70; platform_system == "Linux" and platform_machine == "x86_64"'
TORCH_DIST = dist("torch", "2.4.1+cu121")
VISION_DIST = dist("torchvision", "0.19.1+cu121", "torch==2.4.1")
NUMPY = dist("numpy", "1.26.4")
WELL = (TORCH_DIST, VISION_DIST, PIP)
ULTRALYTICS = dist(
    "ultralytics",
    "8.3.40",
    "numpy>=1.23.0",
    "matplotlib>=3.3.0",
    "opencv-python>=4.6.0",
    "pyyaml>=5.3.1",
    "torch>=1.8.0",
    "torchvision>=0.9.0",
    "psutil",
    "py-cpuinfo",
    'lap; extra == "solutions"',
)
PINNING = dist("torch", "2.4.1", CUDNN_PIN)
NO_CARD: dict[str, Any] = {"version": None}
SERVER = machine("550.54.14")
CPU_TORCH = torch("2.1.2+cpu", None, None)
CUDNN_GONE = ("nvidia/cudnn/lib/libcudnn.so.9", "nvidia/cudnn/lib/libcudnn_ops.so.9")
NVJITLINK = (
    "ImportError: /env/lib/libcusparse.so.12: undefined symbol: __nvJitLinkAddData_12_1, version libnvJitLink.so.12"
)
BUNDLED = {"bundled": ("libcublas.so.12", "libcudnn.so.9", "libnvJitLink.so.12")}

HAND_MADE: HandMade = {
    "nothing: a whole modern stack": (SERVER, modern(), ()),
    "nothing: a whole modern stack whose import works": (SERVER, modern(torch_import=imported()), ()),
    "nothing: a whole conda environment": (
        SERVER,
        in_conda(record("pytorch", "2.4.1", "py3.11_cuda12.1_cudnn9.1.0_0"), record("mkl", "2023.1.0", "h1")),
        (),
    ),
    # TOR103 and what recognises the words of an import
    "import that says something nobody knows": (
        SERVER,
        modern(torch_import=imported("RuntimeError: a cosmic ray")),
        ("TOR103",),
    ),
    "import that hangs": (SERVER, modern(torch_import=imported("no answer within 120 seconds")), ("TOR103",)),
    "import that misses a C++ symbol version": (
        SERVER,
        modern(
            torch_import=imported(
                "ImportError: /env/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by x)"
            )
        ),
        ("LIB105", "TOR103"),
    ),
    "import that misses a C library version": (
        SERVER,
        modern(
            torch_import=imported("ImportError: /lib/libc.so.6: version `GLIBC_2.32' not found (required by /env/x.so)")
        ),
        ("LIB106", "TOR103"),
    ),
    "import that misses MKL's symbol": (
        SERVER,
        modern(torch_import=imported("ImportError: libtorch_cpu.so: undefined symbol: iJIT_NotifyEvent")),
        ("LIB104", "TOR103"),
    ),
    "import without room for thread-local data": (
        SERVER,
        modern(
            torch_import=imported(
                "ImportError: /env/x/libgomp-d22c30c5.so.1: cannot allocate memory in static TLS block"
            )
        ),
        ("LIB108", "TOR103"),
    ),
    "import that two OpenMP libraries end": (
        SERVER,
        modern(
            torch_import=imported("killed by signal 6: OMP: Error #15: Initializing libiomp5.so, but found libiomp5.so")
        ),
        ("LIB107", "TOR103"),
    ),
    "import that ends with an illegal instruction": (
        SERVER,
        modern(torch_import=imported("killed by signal 4")),
        ("LIB111", "TOR103"),
    ),
    "import that cannot open cuDNN": (
        SERVER,
        modern(torch_import=imported("ImportError: libcudnn.so.9: cannot open shared object file: No such file")),
        ("LIB103", "TOR103"),
    ),
    # FAM102
    "torch replaced by a later CPU build": (
        SERVER,
        modern(
            torch=CPU_TORCH,
            torchvision=vision("0.16.2+cu118", "11.8", "2.1.2"),
            distributions=packages(
                dist("torch", "2.1.2+cpu", modified=T0 + 86400), dist("torchvision", "0.16.2+cu118", "torch==2.1.2")
            ),
        ),
        ("FAM101", "FAM102", "TOR101"),
    ),
    "torch replaced by another release": (
        SERVER,
        modern(
            torchvision=vision("0.16.2+cu121", "12.1", "2.1.2"),
            distributions=packages(
                dist("torch", "2.4.1+cu121", modified=T0 + 3600),
                dist("torchvision", "0.16.2+cu121", "torch==2.1.2"),
            ),
        ),
        ("FAM101", "FAM102"),
    ),
    "nothing of a replacement: the misfit came in one installation": (
        SERVER,
        modern(
            torchvision=vision("0.16.2+cu121", "12.1", "2.1.2"),
            distributions=packages(
                dist("torch", "2.4.1+cu121", modified=T0 + 20), dist("torchvision", "0.16.2+cu121", "torch==2.1.2")
            ),
        ),
        ("FAM101",),
    ),
    "nothing: torch was updated together with what fits": (
        SERVER,
        modern(distributions=packages(dist("torch", "2.4.1+cu121", modified=T0 + 86400), VISION_DIST)),
        (),
    ),
    # FAM103
    "CPU torchvision by its label": (SERVER, modern(torchvision=vision("0.19.1+cpu", None, "2.4.1")), ("FAM103",)),
    "CPU torchvision by what its library needs": (
        SERVER,
        modern(
            torchvision=vision("0.19.1", None, "2.4.1"),
            binaries=binaries(binary("torchvision", needs=("libc10.so", "libtorch_cpu.so", "libc.so.6"))),
        ),
        ("FAM103",),
    ),
    "nothing: torchvision without a label whose library needs CUDA": (
        SERVER,
        modern(
            torchvision=vision("0.19.1", None, "2.4.1"),
            binaries=binaries(binary("torchvision", needs=("libc10.so", "libtorch_cpu.so", "libc10_cuda.so"), cuda=12)),
        ),
        (),
    ),
    "nothing: torchvision without a label of which nothing is known": (
        SERVER,
        modern(torchvision=vision("0.19.1", None, "2.4.1")),
        (),
    ),
    # FAM101 by files
    "torchvision that needs CUDA parts of torch": (
        machine(**NO_CARD),
        modern(
            torch=torch("2.13.0+cpu", None, None),
            torchvision=vision("0.28.0", None, "2.13.0"),
            binaries=binaries(binary("torchvision", needs=("libc10.so",), unresolved=("libc10_cuda.so",))),
        ),
        ("FAM101", "GPU101"),
    ),
    "torchvision that takes names torch does not have": (
        SERVER,
        modern(
            torch=torch("2.4.1a0+gitabc", "12.1"),
            torchvision=vision("0.19.1a0+def"),
            binaries=binaries(binary("torchvision", needs=("libc10_cuda.so",), missing_symbols=("_ZN3c105errorE",))),
        ),
        ("FAM101",),
    ),
    # FAM104
    "torchaudio pinned to another torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("torchaudio", "2.1.2+cu121", "torch==2.1.2"))),
        ("FAM104",),
    ),
    "torchaudio of another release without a pin": (
        SERVER,
        modern(distributions=packages(*WELL, dist("torchaudio", "2.1.2", installer="conda"))),
        ("FAM104",),
    ),
    "torchaudio of another CUDA": (
        SERVER,
        modern(distributions=packages(*WELL, dist("torchaudio", "2.4.1", "torch==2.4.1", build="2.4.1+cu124"))),
        ("FAM104",),
    ),
    "nothing: the torchaudio that belongs to it": (
        SERVER,
        modern(distributions=packages(*WELL, dist("torchaudio", "2.4.1", "torch==2.4.1", build="2.4.1+cu121"))),
        (),
    ),
    "nothing: torchaudio that goes with newer ones": (
        machine("580.95.05"),
        modern(
            torch=torch("2.13.0+cu130", "13.0", "sm_80 sm_86"),
            torchvision=absent("-"),
            distributions=packages(dist("torch", "2.13.0"), dist("torchaudio", "2.11.0", build="2.11.0+cu130")),
        ),
        (),
    ),
    # FAM105, FAM110
    "package that pins another torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("thop", "0.1", "torch==1.13.1"))),
        ("FAM105",),
    ),
    "package that wants an older torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("lightning", "1.9", "torch (<2.0,>=1.10)"))),
        ("FAM105",),
    ),
    "package that wants a newer torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("lightning", "2.6", "torch>=2.6"))),
        ("FAM110",),
    ),
    "transformers whose optional torch is newer": (
        SERVER,
        modern(distributions=packages(*WELL, dist("transformers", "5.0", 'torch>=2.6; extra == "torch"'))),
        ("FAM110",),
    ),
    "nothing: extra of a package that was not asked for": (
        SERVER,
        modern(distributions=packages(*WELL, dist("somelib", "5.0", 'torch>=2.6; extra == "torch"'))),
        (),
    ),
    "nothing: requirement of another system": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("ultralytics", "8.3.0", 'torch!=2.4.1,>=1.8; sys_platform == "win32"'))
        ),
        (),
    ),
    "nothing: pins that are met, and lines nobody can read": (
        SERVER,
        modern(
            distributions=packages(
                *WELL, dist("a", "1", "torch==2.4.1", "torch>=2.0,<2.5", "torch @@ nonsense", "torch~=2.4.0")
            )
        ),
        (),
    ),
    # FAM106
    "torch whose libraries are gone": (
        SERVER,
        modern(
            distributions=packages(
                dist(
                    "torch",
                    "2.4.1",
                    missing_files=3,
                    missing_code=2,
                    missing_examples=("torch/lib/libtorch_cpu.so", "torch/a.py"),
                )
            )
        ),
        ("FAM106",),
    ),
    "nothing: headers and tests were stripped": (
        SERVER,
        modern(
            distributions=packages(dist("torch", "2.4.1", missing_files=300, missing_examples=("torch/include/a.h",)))
        ),
        (),
    ),
    "nothing: conda's own list is the one that counts": (
        SERVER,
        in_conda(
            record("pytorch", "2.4.1", "py3.11_cuda12.1_cudnn9.1.0_0"),
            distributions=packages(
                dist(
                    "torch",
                    "2.4.1",
                    installer="conda",
                    missing_files=9,
                    missing_code=9,
                    missing_examples=("torch/lib/a.so",),
                ),
                PIP,
            ),
        ),
        (),
    ),
    "metadata of torch without its folder": (
        SERVER,
        modern(
            torch=absent("site-packages"),
            torchvision=absent("-"),
            distributions=packages(dist("torch", "1.8.0", listed_files=0)),
        ),
        ("FAM106", "TOR102"),
    ),
    "folder torch that a removal left": (
        SERVER,
        modern(
            torch=unknown(f"{SITE}/torch/version.py", "the folder torch is there, but its version.py is missing"),
            torchvision=absent("-"),
            distributions=packages(),
        ),
        ("FAM106",),
    ),
    "nothing of leftovers: a folder torch in somebody's own place": (
        SERVER,
        modern(
            torch=unknown("/home/li/src/torch/version.py", "the folder torch is there, but its version.py is missing"),
            torchvision=absent("-"),
            distributions=packages(),
        ),
        (),
    ),
    "two torches in one folder": (
        SERVER,
        modern(
            distributions=packages(
                TORCH_DIST, dist("torch", "1.8.0", metadata="torch-1.8.0-py3.8.egg-info"), VISION_DIST
            )
        ),
        ("FAM106",),
    ),
    "nothing: another torch further on the path": (
        SERVER,
        modern(
            distributions=packages(
                TORCH_DIST, dist("torch", "1.13.0", location="/usr/lib/python3/dist-packages"), VISION_DIST
            )
        ),
        (),
    ),
    "conda's record without files": (
        SERVER,
        in_conda(
            record(
                "pytorch",
                "1.8.0",
                "py3.8_cuda11.1_cudnn8.0.5_0",
                missing_files=1000,
                missing_examples=("lib/a/torch/__init__.py",),
            ),
            torch=absent("site-packages"),
            torchvision=absent("-"),
            distributions=packages(PIP),
        ),
        ("FAM106", "TOR102"),
    ),
    "nothing: a few of conda's files are gone": (
        SERVER,
        in_conda(record("pytorch", "2.4.1", "py3.11_cuda12.1_cudnn9.1.0_0", missing_files=9)),
        (),
    ),
    "nothing of it: the record is of another environment": (
        SERVER,
        in_conda(
            msgspec.structs.replace(
                record("pytorch", "1.8.0", "py3.8_cuda11.1_0", missing_files=1000), prefix="/other"
            ),
        ),
        (),
    ),
    "pip put another torch over conda's": (
        SERVER,
        in_conda(record("pytorch", "2.0.1", "py3.11_cuda11.7_cudnn8.5.0_0"), distributions=packages(*WELL)),
        ("FAM106",),
    ),
    "two families of cuDNN in one folder": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("nvidia-cudnn-cu11", "8.5.0.96"), dist("nvidia_cudnn_cu12", "9.1.0.70"))
        ),
        ("FAM106",),
    ),
    "nothing: packages of two families whose files differ in name": (
        SERVER,
        modern(
            distributions=packages(
                *WELL, dist("nvidia-cublas-cu11", "11.10.3.66"), dist("nvidia-cublas-cu12", "12.1.3.1")
            )
        ),
        (),
    ),
    "leftover of a removal": (SERVER, modern(distributions=packages(*WELL, dist("~orch", "0"))), ("FAM106",)),
    "nothing: leftover of something else": (SERVER, modern(distributions=packages(*WELL, dist("~ip", "0"))), ()),
    # FAM107
    "NumPy 2 beside torch 2.0": (
        SERVER,
        modern(
            torch=torch("2.0.1", "11.7"),
            torchvision=vision("0.15.2", None, "2.0.1"),
            distributions=packages(dist("torch", "2.0.1"), dist("numpy", "2.1.0"), PIP),
        ),
        ("FAM107",),
    ),
    "NumPy 2 by torch's own words": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("numpy", "2.1.0")),
            torch_import=imported(numpy_problem="Numpy is not available"),
        ),
        ("FAM107",),
    ),
    "NumPy 2 beside an old OpenCV": (
        SERVER,
        modern(distributions=packages(*WELL, dist("numpy", "2.1.0"), dist("opencv-python-headless", "4.8.1.78"))),
        ("FAM107",),
    ),
    "nothing: NumPy 2 beside torch 2.4": (
        SERVER,
        modern(distributions=packages(*WELL, dist("numpy", "2.1.0"), dist("opencv-python-headless", "4.10.0.84"))),
        (),
    ),
    "nothing: the NumPy that is found first is 1": (
        SERVER,
        modern(
            torch=torch("2.0.1", "11.7"),
            torchvision=vision("0.15.2", None, "2.0.1"),
            distributions=packages(
                dist("numpy", "1.26.4"), dist("numpy", "2.1.0", location="/usr/lib/python3/dist-packages")
            ),
        ),
        (),
    ),
    "nothing: a build of one's own that works with NumPy 2": (
        SERVER,
        modern(
            torch=torch("2.1.0a0+git1234", "12.1"),
            torchvision=absent("-"),
            distributions=packages(dist("torch", "2.1.0a0+git1234"), dist("numpy", "2.1.0")),
            torch_import=imported(),
        ),
        (),
    ),
    # FAM108
    "torch-scatter for another torch by its label": (
        SERVER,
        modern(distributions=packages(*WELL, dist("torch_scatter", "2.1.2+pt21cu121"))),
        ("FAM108",),
    ),
    "flash-attn for another torch by the name of its wheel": (
        SERVER,
        modern(
            distributions=packages(
                *WELL,
                dist(
                    "flash_attn",
                    "2.5.8",
                    direct_url='{"url": "https://x.example/flash_attn-2.5.8%2Bcu122torch2.3cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"}',
                ),
            )
        ),
        ("FAM108",),
    ),
    "xformers that pins another torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("xformers", "0.0.23", "torch==2.1.1"))),
        ("FAM108",),
    ),
    "xformers built for another torch by its own words": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("xformers", "0.0.30")),
            binaries=binaries(built_for={"xformers": "2.7.0+cu126"}),
        ),
        ("FAM108",),
    ),
    "extension that takes names torch does not have": (
        SERVER,
        modern(binaries=binaries(binary("mmcv", "_ext.so", missing_symbols=("_ZN2at4_ops5zerosE",)))),
        ("FAM108",),
    ),
    "extension that needs the CUDA runtime of another major": (
        SERVER,
        modern(binaries=binaries(binary("selective_scan_cuda", unresolved=("libcudart.so.11.0",), cuda=11))),
        ("FAM108",),
    ),
    "nothing: extensions that fit": (
        SERVER,
        modern(
            distributions=packages(
                *WELL, dist("torch_scatter", "2.1.2+pt24cu121"), dist("xformers", "0.0.28", "torch==2.4.1")
            ),
            binaries=binaries(
                binary("mmcv", "_ext.so", missing_symbols=(), cuda=12), built_for={"xformers": "2.4.1+cu121"}
            ),
        ),
        (),
    ),
    # FAM109
    "ultralytics from before torch 2.6": (
        SERVER,
        modern(
            torch=torch("2.7.1+cu118", "11.8"),
            torchvision=vision("0.22.1+cu118", "11.8", "2.7.1"),
            distributions=packages(dist("torch", "2.7.1+cu118"), dist("ultralytics", "8.0.230"), PIP),
        ),
        ("FAM109",),
    ),
    "nothing: a newer ultralytics with torch 2.7": (
        SERVER,
        modern(
            torch=torch("2.7.1+cu118", "11.8"),
            torchvision=vision("0.22.1+cu118", "11.8", "2.7.1"),
            distributions=packages(dist("torch", "2.7.1+cu118"), dist("ultralytics", "8.3.100")),
        ),
        (),
    ),
    "nothing: an old ultralytics with an old torch": (
        SERVER,
        modern(distributions=packages(*WELL, dist("ultralytics", "8.0.230"))),
        (),
    ),
    # FAM111
    "extension without code for the card": (
        SERVER,
        modern(binaries=binaries(binary("detectron2", sm=(ComputeCapability.parse("7.0"),)))),
        ("FAM111",),
    ),
    "nothing: extension with portable code": (
        SERVER,
        modern(binaries=binaries(binary("detectron2", sm=(), ptx=(ComputeCapability.parse("7.0"),)))),
        (),
    ),
    "nothing: one file of several has it": (
        SERVER,
        modern(
            binaries=binaries(
                binary("detectron2", "a.so", sm=(ComputeCapability.parse("7.0"),)),
                binary("detectron2", "b.so", sm=(ComputeCapability.parse("8.0"),)),
            )
        ),
        (),
    ),
    # FAM118
    "ultralytics whose OpenCV and matplotlib are missing": (
        SERVER,
        modern(distributions=packages(*WELL, NUMPY, ULTRALYTICS)),
        ("FAM118",),
    ),
    "ultralytics that lacks what is imported later only": (
        SERVER,
        modern(
            distributions=packages(
                *WELL,
                NUMPY,
                ULTRALYTICS,
                dist("opencv_python", "4.10.0.84"),
                dist("matplotlib", "3.9.0"),
                dist("pyyaml", "6.0"),
            )
        ),
        ("FAM118",),
    ),
    "torchvision without Pillow": (
        SERVER,
        modern(
            distributions=packages(
                TORCH_DIST,
                dist("torchvision", "0.19.1+cu121", "numpy", "pillow!=8.3.*,>=5.3.0", "torch==2.4.1"),
                PIP,
                NUMPY,
            )
        ),
        ("FAM118",),
    ),
    "torch whose import misses what it requires": (
        SERVER,
        modern(
            distributions=packages(dist("torch", "2.4.1+cu121", "typing-extensions>=4.8.0"), VISION_DIST, PIP, NUMPY),
            torch_import=imported("ModuleNotFoundError: No module named 'typing_extensions'"),
        ),
        ("FAM118", "TOR103"),
    ),
    "torch that imports without one of them": (
        SERVER,
        modern(
            distributions=packages(dist("torch", "2.4.1+cu121", "networkx"), VISION_DIST, PIP, NUMPY),
            torch_import=imported(),
        ),
        ("FAM118",),
    ),
    "ultralytics that conda has brought, without matplotlib": (
        machine("550.54.14", conda=found(CondaInstall(program="/opt/conda/bin/conda"), "PATH")),
        in_conda(
            record("pytorch", "2.4.1", "py3.11_cuda12.1_cudnn9.1.0_0"),
            distributions=packages(
                dist("torch", "2.4.1", installer="conda"),
                dist("ultralytics", "8.3.40", "matplotlib>=3.3.0", "opencv-python>=4.6.0", installer="conda"),
                PIP,
            ),
        ),
        ("FAM118",),
    ),
    "nothing of what is required: all is there, by other names, or a module says so": (
        SERVER,
        modern(
            distributions=packages(
                *WELL,
                NUMPY,
                msgspec.structs.replace(ULTRALYTICS, findable=("psutil", "py-cpuinfo")),
                dist("opencv_contrib_python_headless", "4.10.0.84"),
                dist("PyYAML", "6.0"),
                dist("matplotlib", "3.9.0"),
            )
        ),
        (),
    ),
    "nothing of what is required: conda's OpenCV has a module only": (
        SERVER,
        in_conda(
            record("pytorch", "2.4.1", "py3.11_cuda12.1_cudnn9.1.0_0"),
            distributions=packages(
                dist("torch", "2.4.1", installer="conda"),
                dist("ultralytics", "8.3.40", "opencv-python>=4.6.0", installer="conda", findable=("opencv-python",)),
                PIP,
            ),
        ),
        (),
    ),
    "nothing of what is required: only an extra, another Python or another platform asks": (
        SERVER,
        modern(
            distributions=packages(
                *WELL,
                dist(
                    "ultralytics",
                    "8.3.40",
                    "torch>=1.8.0",
                    'lap; extra == "solutions"',
                    'polars; python_version < "3.8"',
                    'psutil; sys_platform == "win32"',
                ),
            )
        ),
        (),
    ),
    "nothing of what is required: a pasted report does not list all packages": (
        SERVER,
        modern(distributions=packages(*WELL, NUMPY, ULTRALYTICS), binaries=unknown("collect_env report", NOT_TOLD)),
        (),
    ),
    "nothing of what is required: an egg-info of the system": (
        SERVER,
        modern(
            distributions=packages(
                dist("torch", "2.4.1", "typing-extensions", metadata="torch-2.4.1.egg-info"), VISION_DIST, PIP, NUMPY
            )
        ),
        (),
    ),
    "nothing of what is required: CUDA's packages, triton and setuptools are other causes'": (
        SERVER,
        modern(
            distributions=packages(
                dist("torch", "2.4.1", CUDNN_PIN, "setuptools"),
                VISION_DIST,
                PIP,
                NUMPY,
                dist("nvidia-cudnn-cu12", "9.1.0.70"),
            )
        ),
        (),
    ),
    # FAM112
    "triton that torch names is missing": (
        SERVER,
        modern(
            distributions=packages(dist("torch", "2.4.1", 'triton==3.0.0; platform_system == "Linux"'), VISION_DIST)
        ),
        ("FAM112",),
    ),
    "nothing: triton is there": (
        msgspec.structs.replace(
            SERVER, host_compilers=found((HostCompiler(name="gcc", path="/usr/bin/gcc", version="11"),), "PATH")
        ),
        modern(
            distributions=packages(
                dist("torch", "2.4.1", 'triton==3.0.0; platform_system == "Linux"'), dist("triton", "3.0.0")
            )
        ),
        (),
    ),
    "nothing: triton of another platform": (
        SERVER,
        modern(distributions=packages(dist("torch", "2.4.1", 'triton==3.0.0; platform_machine == "aarch64"'))),
        (),
    ),
    # FAM113
    "ultralytics that wants pkg_resources": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("setuptools", "82.0.0")),
            binaries=binaries(pkg_resources=False, pkg_resources_wanted_by=("ultralytics",)),
        ),
        ("FAM113",),
    ),
    "builder of extensions that wants pkg_resources": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("setuptools", "82.0.0")),
            binaries=binaries(pkg_resources=False, pkg_resources_wanted_by=("torch.utils.cpp_extension",)),
        ),
        ("FAM113",),
    ),
    "nothing: who has no setuptools compiles nothing": (
        SERVER,
        modern(binaries=binaries(pkg_resources=False, pkg_resources_wanted_by=("torch.utils.cpp_extension",))),
        (),
    ),
    "nothing: pkg_resources is gone and nobody misses it": (SERVER, modern(binaries=binaries(pkg_resources=False)), ()),
    # CND110
    "conda's CPU build beside a card": (
        SERVER,
        in_conda(record("pytorch", "2.1.2", "py3.11_cpu_0"), torch=torch("2.1.2", None, None), torchvision=absent("-")),
        ("CND110", "TOR101"),
    ),
    "cpuonly beside a card without a driver": (
        machine(None, displays=found((RTX_3090,), "lspci")),
        in_conda(record("cpuonly", "2.0", "0"), torch=torch("2.1.2", None, None), torchvision=absent("-")),
        ("CND110", "DRV103", "TOR101"),
    ),
    "nothing of it: conda's CPU build where there is no card": (
        machine(**NO_CARD),
        in_conda(
            record("pytorch", "2.1.2", "cpu_generic_py311_0"), torch=torch("2.1.2", None, None), torchvision=absent("-")
        ),
        ("GPU101",),
    ),
    "nothing: pip's CUDA torch over conda's CPU record of the same version": (
        SERVER,
        in_conda(record("pytorch", "2.4.1", "py3.11_cpu_0")),
        (),
    ),
    # LIB101
    "nvJitLink of another CUDA on the path": (
        machine("550.54.14", libraries=libraries(outside("libnvJitLink.so.12", "12.0.76"))),
        modern(torch_import=imported(NVJITLINK), binaries=binaries(**BUNDLED)),
        ("LIB101", "TOR103"),
    ),
    "nothing of the path: the same words without a folder on it": (
        SERVER,
        modern(torch_import=imported(NVJITLINK), binaries=binaries(**BUNDLED)),
        ("TOR103",),
    ),
    "torch that runs with a library from outside": (
        SERVER,
        modern(
            torch_import=imported(foreign_libraries=("/usr/local/cuda-12.0/lib64/libcublas.so.12",)),
            binaries=binaries(**BUNDLED),
        ),
        ("LIB101",),
    ),
    "older library on the path, before anybody has looked": (
        machine("550.54.14", libraries=libraries(outside("libcublas.so.12", "12.0.1.189"))),
        modern(binaries=binaries(**BUNDLED), distributions=packages(*WELL, dist("nvidia-cublas-cu12", "12.1.3.1"))),
        ("LIB101",),
    ),
    "nothing: a library on the path that the import did not take": (
        machine("550.54.14", libraries=libraries(outside("libcublas.so.12", "12.0.1.189"))),
        modern(
            binaries=binaries(**BUNDLED),
            distributions=packages(*WELL, dist("nvidia-cublas-cu12", "12.1.3.1")),
            torch_import=imported(),
        ),
        (),
    ),
    "nothing: a newer library, and one of another major, on the path": (
        machine(
            "550.54.14", libraries=libraries(outside("libcublas.so.12", "12.8.1"), outside("libcublas.so.11", "11.1"))
        ),
        modern(binaries=binaries(**BUNDLED), distributions=packages(*WELL, dist("nvidia-cublas-cu12", "12.1.3.1"))),
        (),
    ),
    "nothing: a library that only ldconfig knows": (
        machine("550.54.14", libraries=libraries(outside("libcublas.so.12", "12.0.1", "ldconfig"))),
        modern(binaries=binaries(**BUNDLED), distributions=packages(*WELL, dist("nvidia-cublas-cu12", "12.1.3.1"))),
        (),
    ),
    # LIB102
    "cuDNN older than torch's pin": (
        SERVER,
        modern(distributions=packages(PINNING, VISION_DIST, dist("nvidia-cudnn-cu12", "8.9.2.26"))),
        ("LIB102",),
    ),
    "nothing: cuDNN newer than torch's pin": (
        SERVER,
        modern(distributions=packages(PINNING, VISION_DIST, dist("nvidia-cudnn-cu12", "9.5.1.17"))),
        (),
    ),
    "cuDNN from outside": (
        SERVER,
        modern(torch_import=imported(foreign_libraries=("/opt/cudnn/libcudnn.so.9",)), binaries=binaries(**BUNDLED)),
        ("LIB102",),
    ),
    "cuDNN that torch refuses": (
        SERVER,
        modern(
            torch_import=imported(
                cuda_problem="cuDNN version incompatibility: PyTorch was compiled against (9, 1, 0) but found (8, 9, 7)"
            )
        ),
        ("LIB102",),
    ),
    # LIB103
    "cuDNN moved away": (
        SERVER,
        modern(
            distributions=packages(
                PINNING,
                VISION_DIST,
                dist("nvidia_cudnn_cu12", "9.1.0.70", missing_files=2, missing_code=2, missing_examples=CUDNN_GONE),
            )
        ),
        ("LIB103",),
    ),
    "cuDNN of an old torch moved away": (
        machine(),
        environment(
            distributions=packages(
                dist("torch", "1.9.0", missing_files=1, missing_code=1, missing_examples=("torch/lib/libcudnn.so.8",))
            )
        ),
        ("LIB103",),
    ),
    "package with cuDNN was never installed": (
        SERVER,
        modern(distributions=packages(PINNING, VISION_DIST)),
        ("LIB103",),
    ),
    "nothing: not installed, and found elsewhere": (
        SERVER,
        modern(
            distributions=packages(PINNING, VISION_DIST),
            binaries=binaries(binary("torch", "lib/libtorch_cuda.so", needs=("libcudnn.so.9",))),
        ),
        (),
    ),
    "library of torch that needs what is nowhere": (
        SERVER,
        modern(binaries=binaries(binary("torch", "lib/libtorch_cuda.so", unresolved=("libcudnn.so.9",)))),
        ("LIB103",),
    ),
    "gap that the system fills in silence": (
        SERVER,
        modern(
            distributions=packages(
                TORCH_DIST,
                VISION_DIST,
                dist(
                    "nvidia_cuda_runtime_cu12",
                    "12.1.105",
                    missing_code=1,
                    missing_files=1,
                    missing_examples=("nvidia/cuda_runtime/lib/libcudart.so.12",),
                ),
            ),
            torch_import=imported(foreign_libraries=("/usr/local/cuda-12.0/lib64/libcudart.so.12",)),
            binaries=binaries(**BUNDLED),
        ),
        ("LIB103",),
    ),
    # LIB104
    "conda's torch beside a newer MKL": (
        SERVER,
        in_conda(
            record(
                "pytorch",
                "2.2.0",
                "py3.11_cuda12.1_cudnn8.9.2_0",
                channel="https://conda.anaconda.org/pytorch/linux-64",
            ),
            record("mkl", "2024.2.0", "h1"),
            torch=torch("2.2.0", "12.1"),
            torchvision=absent("-"),
            distributions=packages(),
        ),
        ("LIB104",),
    ),
    "nothing: conda's torch beside a newer MKL, and it works": (
        SERVER,
        in_conda(
            record("pytorch", "2.2.0", "py3.11_cuda12.1_cudnn8.9.2_0", channel="pytorch"),
            record("mkl", "2024.2.0", "h1"),
            torch=torch("2.2.0", "12.1"),
            torchvision=absent("-"),
            distributions=packages(),
            torch_import=imported(),
        ),
        (),
    ),
    "nothing: conda-forge's torch beside a newer MKL": (
        SERVER,
        in_conda(
            record("pytorch", "2.2.0", "cuda120_py311_0", channel="conda-forge"),
            record("mkl", "2024.2.0", "h1"),
            torch=torch("2.2.0", "12.0"),
            torchvision=absent("-"),
            distributions=packages(),
        ),
        (),
    ),
    # LIB105, LIB106
    "C++ library of the environment is older than torch needs": (
        SERVER,
        modern(
            binaries=binaries(
                binary("torch", "lib/libc10.so", glibcxx="3.4.30"),
                cpp_libraries=(
                    CppLibrary(path="/env/lib/libstdc++.so.6", glibcxx="3.4.29"),
                    CppLibrary(path="/lib/x", glibcxx="3.4.33"),
                ),
            )
        ),
        ("LIB105",),
    ),
    "nothing: C++ library of the environment is newer": (
        SERVER,
        modern(
            binaries=binaries(
                binary("torch", "lib/libc10.so", glibcxx="3.4.9"),
                cpp_libraries=(CppLibrary(path="/env/lib/libstdc++.so.6", glibcxx="3.4.29"),),
            )
        ),
        (),
    ),
    "C library older than a file of torch": (
        machine("550.54.14", platform=placed(libc=Libc(family="glibc", version="2.17"))),
        modern(binaries=binaries(binary("torch", "lib/libc10.so", glibc="2.27"))),
        ("LIB106",),
    ),
    "C library older than the tag of the wheel": (
        machine("550.54.14", platform=placed(libc=Libc(family="glibc", version="2.17"))),
        modern(
            distributions=packages(dist("torch", "2.7.1", tags=("cp311-cp311-manylinux_2_28_x86_64",)), VISION_DIST)
        ),
        ("LIB106",),
    ),
    "nothing: C library as old as the oldest tag": (
        machine("550.54.14", platform=placed(libc=Libc(family="glibc", version="2.17"))),
        modern(
            distributions=packages(
                dist("torch", "2.4.1", tags=("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_28_x86_64")),
                VISION_DIST,
            ),
            binaries=binaries(binary("torch", "lib/libc10.so", glibc="2.17")),
        ),
        (),
    ),
    # LIB107
    "two copies of the OpenMP library": (
        SERVER,
        modern(binaries=binaries(openmp=("/env/lib/libiomp5.so", f"{SITE}/torch/lib/libiomp5.so"))),
        ("LIB107",),
    ),
    "nothing: one copy of the OpenMP library": (
        SERVER,
        modern(binaries=binaries(openmp=("/env/lib/libiomp5.so",))),
        (),
    ),
    # LIB109
    "OpenCV without libGL": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("opencv-python", "4.9.0.80")),
            binaries=binaries(binary("cv2", "cv2.abi3.so", unresolved=("libGL.so.1",))),
        ),
        ("LIB109",),
    ),
    "nothing: OpenCV with all it needs": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("opencv-python", "4.9.0.80")),
            binaries=binaries(binary("cv2", "cv2.abi3.so")),
        ),
        (),
    ),
    # LIB110
    "onnxruntime for another CUDA": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("onnxruntime-gpu", "1.17.0")),
            binaries=binaries(
                binary("onnxruntime", "capi/libonnxruntime_providers_cuda.so", unresolved=("libcublasLt.so.11",))
            ),
        ),
        ("LIB110",),
    ),
    "both packages of onnxruntime": (
        SERVER,
        modern(
            distributions=packages(*WELL, dist("onnxruntime-gpu", "1.20.0"), dist("onnxruntime", "1.20.0")),
            binaries=binaries(),
        ),
        ("LIB110",),
    ),
    "nothing: onnxruntime for another CUDA where there is no card": (
        machine(**NO_CARD),
        modern(
            torch=torch("2.4.1+cpu", None, None),
            torchvision=vision("0.19.1+cpu", None, "2.4.1"),
            distributions=packages(dist("onnxruntime-gpu", "1.17.0")),
            binaries=binaries(
                binary("onnxruntime", "capi/libonnxruntime_providers_cuda.so", unresolved=("libcublasLt.so.11",))
            ),
        ),
        ("GPU101",),
    ),
    # LIB111
    "processor without AVX": (SERVER, modern(binaries=binaries(cpu_flags=("sse4_1", "sse4_2"))), ("LIB111",)),
    "nothing: processor with AVX": (SERVER, modern(binaries=binaries(cpu_flags=("avx", "avx2"))), ()),
    "nothing: processor without AVX on which torch works": (
        SERVER,
        modern(binaries=binaries(cpu_flags=()), torch_import=imported()),
        (),
    ),
    "nothing: conda is there and knows nothing of torch": (
        machine("550.54.14", [card()], conda=found(CondaInstall(program="/opt/conda/bin/mamba"), "PATH")),
        in_conda(distributions=packages(*WELL)),
        (),
    ),
}


def facts(name: str) -> tuple[Machine, Environment]:
    """The facts of an entry."""
    return HAND_MADE[name][:2]
