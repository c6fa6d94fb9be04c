"""Toolkits and compilers, places packages come from, disks, conda's configuration."""

from __future__ import annotations

from typing import Any

import msgspec

from envfix.model.facts import (
    ChannelState,
    CondaInstall,
    CondaSettings,
    Disk,
    Distribution,
    HostCompiler,
    Interpreter,
    NetworkSetting,
    NetworkSettings,
    Observed,
    PackageSource,
    Resources,
    Toolkit,
    absent,
    found,
    unknown,
)
from envfix.model.versions import CudaVersion
from tests.made_up import GIB, NO_TORCH, PYTHON, HandMade, card, environment, machine, placed, torch

OFFICIAL = "https://download.pytorch.org/whl"
FULL_SIZE = 500 * GIB


def kit(release: str, found_by: str = "PATH", nvcc: str | None = None, **limits: Any) -> Toolkit:
    version = CudaVersion.parse(release)
    return Toolkit(
        nvcc=nvcc or f"/usr/local/cuda-{version}/bin/nvcc",
        version=version,
        release=release,
        found_by=found_by,
        **limits,
    )


def kits(*these: Toolkit) -> Observed[tuple[Toolkit, ...]]:
    return found(these, "files of the toolkit")


def compilers(*these: tuple[str, str], **chosen: tuple[str, str]) -> Observed[tuple[HostCompiler, ...]]:
    """Compilers by name and version; ``CC=("/opt/bin/gcc", "9.4.0")`` is one that a variable names."""
    rows = [HostCompiler(name=name, path=f"/usr/bin/{name}", version=version) for name, version in these]
    rows += [
        HostCompiler(name=path.rpartition("/")[2], path=path, version=version, chosen_by=variable)
        for variable, (path, version) in chosen.items()
    ]
    return found(tuple(rows), "compilers on PATH")


def holding(*names: str) -> Observed[tuple[Distribution, ...]]:
    return found(tuple(Distribution(name=name, version="1.0", location="/env/lib") for name in names), "files")


NINJA = holding("ninja")
DEEPSPEED = holding("deepspeed")
GCC_94 = compilers(("gcc", "9.4.0"), ("g++", "9.4.0"))


def python(**changes: Any) -> Observed[Interpreter]:
    return found(msgspec.structs.replace(PYTHON, **changes), "asked")


def sources(*rows: tuple[str, str, str]) -> Observed[tuple[PackageSource, ...]]:
    values = [{"kind": kind, "location": location, "configured_in": where} for kind, location, where in rows]
    return found(tuple(msgspec.convert(value, PackageSource) for value in values), "configuration of pip and uv")


def network(*rows: dict[str, Any]) -> Observed[NetworkSettings]:
    usual = {"tool": "everything", "configured_in": "environment variable X"}
    return found(
        NetworkSettings(settings=tuple(msgspec.convert({**usual, **row}, NetworkSetting) for row in rows)), "variables"
    )


def proxy(name: str, value: str, tool: str = "everything") -> dict[str, Any]:
    return {
        "kind": "proxy",
        "name": name,
        "value": value,
        "tool": tool,
        "configured_in": f"environment variable {name}",
    }


def of_pip(option: str, value: str) -> dict[str, Any]:
    return {
        "kind": "option",
        "name": option,
        "value": value,
        "tool": "pip",
        "configured_in": "/home/li/.config/pip/pip.conf [global]",
    }


def certificate(name: str, problem: str = "there is no such file") -> dict[str, Any]:
    where = f"environment variable {name}"
    return {"kind": "certificates", "name": name, "value": "/gone.pem", "problem": problem, "configured_in": where}


def disks(**free: float) -> Observed[Resources]:
    """Free GiB by purpose (``temporary_files=0.2``)."""
    rows = [
        msgspec.convert(
            {
                "purpose": name.replace("_", " "),
                "path": f"/home/li/{name}/here",
                "free": int(size * GIB),
                "total": FULL_SIZE,
            },
            Disk,
        )
        for name, size in free.items()
    ]
    return found(Resources(disks=tuple(rows)), "file systems")


def prefix(free: float, *, writable: bool = True) -> Observed[Disk]:
    value = Disk(purpose="prefix", path="/env/lib", free=int(free * GIB), total=20 * GIB, writable=writable)
    return found(value, "/env/lib")


def conda(states: tuple[ChannelState, ...] = (), **settings: Any) -> Observed[CondaInstall]:
    version, program = settings.pop("version", "24.9.0"), settings.pop("program", "/opt/conda/bin/conda")
    files = tuple(settings.pop("files", ("~/.condarc",)))
    set_in = dict.fromkeys(settings, "~/.condarc")
    settings.pop("libmamba", None)
    value = CondaInstall(
        program=program,
        version=version,
        configuration_files=files,
        channels=settings.get("channels", ()),
        settings=CondaSettings(set_in=set_in, **settings),
        libmamba=True,
        states=states,
    )
    return found(value, "PATH and .condarc")


def channel(name: str, problem: str | None = None, **more: Any) -> ChannelState:
    return ChannelState(
        name=name, location=f"https://mirror.example/{name}", reachable=problem is None, problem=problem, **more
    )


TO_INSTALL: dict[str, Any] = {"torch": NO_TORCH, "torchvision": absent("-")}
TORCH_2: dict[str, Any] = {"torch": torch("2.4.1+cu121", "12.1"), "torchvision": absent("-")}
NEW = "580.95.05"
BROKEN_CONFIGURATION: Observed[tuple[PackageSource, ...]] = unknown(
    "configuration of pip and uv",
    "/home/li/.config/pip/pip.conf is not a configuration file pip can read: line 1: the file contains no section headers;"
    " /etc/pip.conf is not a configuration file pip can read: line 3: option 'a' in section 'global' already exists",
)

HAND_MADE: HandMade = {
    # The story's own belief: nvcc 11.1 and gcc 9.4 bound nothing while nothing is compiled.
    "nothing: an old nvcc and gcc beside a newer torch bound no wheel": (
        machine(NEW, toolkits=kits(kit("11.1.105")), host_compilers=GCC_94),
        environment(**TORCH_2),
        (),
    ),
    "nothing: nvcc newer than the driver serves": (
        machine("550.54.14", toolkits=kits(kit("13.0.88"))),
        environment(**TORCH_2),
        (),
    ),
    # TKT101
    "nvcc of another family where extensions are built": (
        machine(NEW, toolkits=kits(kit("11.1.105"))),
        environment(**TORCH_2, distributions=NINJA),
        ("TKT101",),
    ),
    "nvcc of another family, chosen by CUDA_HOME over the right one on PATH": (
        machine(
            NEW,
            toolkits=kits(kit("12.1.105"), kit("11.8.89", "CUDA_HOME")),
            variables={"CUDA_HOME": "/usr/local/cuda-11.8", "TORCH_CUDA_ARCH_LIST": "8.6"},
        ),
        environment(**TORCH_2),
        ("TKT101",),
    ),
    "nothing: nvcc of the same family, another minor": (
        machine(NEW, toolkits=kits(kit("12.4.131"))),
        environment(**TORCH_2, distributions=NINJA),
        (),
    ),
    "nothing: a toolkit that no build would take": (
        machine(NEW, toolkits=kits(kit("12.1.105"), kit("11.8.89", "/usr/local"))),
        environment(**TORCH_2, distributions=NINJA),
        (),
    ),
    # TKT102
    "CUDA_HOME leads nowhere": (
        machine(NEW, variables={"CUDA_HOME": "/usr/local/cuda-11.8"}),
        environment(**TORCH_2),
        ("TKT102",),
    ),
    "no nvcc for a package that compiles when used": (
        machine(NEW),
        environment(**TORCH_2, distributions=DEEPSPEED),
        ("TKT102",),
    ),
    "nothing: no nvcc, and nothing is compiled": (machine(NEW), environment(**TORCH_2), ()),
    "nothing: no nvcc for a CPU torch": (
        machine(None, displays=absent("lspci"), driver_layers=machine(None).driver_layers),
        environment(torch=torch("2.4.1+cpu", None, None), torchvision=absent("-"), distributions=DEEPSPEED),
        ("GPU101",),
    ),
    "nothing: whether there is an nvcc is not known": (
        machine(NEW, toolkits=unknown("nvcc", "no answer")),
        environment(**TORCH_2, distributions=DEEPSPEED),
        (),
    ),
    # TKT108
    "nvcc that has dropped the card": (
        machine("580.95.05", [card("NVIDIA GeForce GTX 1080 Ti", "6.1")], toolkits=kits(kit("13.0.88"))),
        environment(torch=torch("2.9.0+cu130", "13.0"), torchvision=absent("-"), distributions=NINJA),
        ("GPU103", "TKT108"),
    ),
    "nothing: last nvcc that has the card": (
        machine("580.95.05", [card("NVIDIA GeForce GTX 1080 Ti", "6.1")], toolkits=kits(kit("12.6.85"))),
        environment(
            torch=torch("2.9.0+cu126", "12.6", "sm_50 sm_61 sm_80"), torchvision=absent("-"), distributions=NINJA
        ),
        (),
    ),
    # TKT103
    "nvcc that does not know the card": (
        machine(NEW, [card("NVIDIA GeForce RTX 4090", "8.9")], toolkits=kits(kit("11.1.105"))),
        environment(distributions=NINJA),
        ("TKT103",),
    ),
    "nothing: the first nvcc that knows the card": (
        machine(NEW, [card("NVIDIA GeForce RTX 4090", "8.9")], toolkits=kits(kit("11.8.89"))),
        environment(distributions=NINJA),
        (),
    ),
    "nothing: an older architecture is asked for": (
        machine(
            NEW,
            [card("NVIDIA GeForce RTX 4090", "8.9")],
            toolkits=kits(kit("11.1.105")),
            variables={"TORCH_CUDA_ARCH_LIST": "8.0+PTX"},
        ),
        environment(),
        (),
    ),
    # TKT104
    "gcc newer than the header accepts": (
        machine(
            toolkits=kits(kit("11.1.105", gcc_max=10, limits_from="crt/host_config.h")),
            host_compilers=compilers(("gcc", "11.4.0"), ("g++", "11.4.0")),
        ),
        environment(distributions=NINJA),
        ("TKT104",),
    ),
    "gcc newer than the table accepts, the header being unreadable": (
        machine(toolkits=kits(kit("11.1.105")), host_compilers=compilers(("g++", "13"))),
        environment(distributions=NINJA),
        ("TKT104",),
    ),
    "nothing: the newest gcc that is accepted": (
        machine(toolkits=kits(kit("11.1.105", gcc_max=10)), host_compilers=compilers(("g++", "10.5.0"))),
        environment(distributions=NINJA),
        (),
    ),
    "nothing: a variable chooses an older gcc": (
        machine(
            toolkits=kits(kit("11.1.105", gcc_max=10)),
            host_compilers=compilers(("g++", "13"), CUDAHOSTCXX=("/usr/bin/g++-9", "9")),
            variables={"CUDAHOSTCXX": "/usr/bin/g++-9"},
        ),
        environment(distributions=NINJA),
        (),
    ),
    "nothing: nvcc is told not to check": (
        machine(
            toolkits=kits(kit("11.1.105", gcc_max=10)),
            host_compilers=compilers(("g++", "13")),
            variables={"NVCC_PREPEND_FLAGS": "-allow-unsupported-compiler"},
        ),
        environment(distributions=NINJA),
        (),
    ),
    "clang newer than the header accepts": (
        machine(
            toolkits=kits(kit("11.1.105", gcc_max=10, clang_max=10)),
            host_compilers=compilers(("g++", "9"), CC=("/usr/bin/clang-14", "14")),
            variables={"CC": "clang-14"},
        ),
        environment(distributions=NINJA),
        ("TKT104",),
    ),
    # TKT105
    "gcc too old for the headers of torch": (
        machine(NEW, toolkits=kits(kit("12.1.105")), host_compilers=compilers(("gcc", "8.5.0"), ("g++", "8.5.0"))),
        environment(**TORCH_2, distributions=NINJA),
        ("TKT105",),
    ),
    "nothing: the oldest gcc that torch takes": (
        machine(NEW, toolkits=kits(kit("12.1.105")), host_compilers=GCC_94),
        environment(**TORCH_2, distributions=NINJA),
        (),
    ),
    "nothing: the same gcc is new enough for an older torch": (
        machine(toolkits=kits(kit("11.1.105")), host_compilers=compilers(("g++", "8.5.0"))),
        environment(distributions=NINJA),
        (),
    ),
    # TKT106
    "no Visual C++ where extensions are built": (
        machine(NEW, platform=placed(system="win32", tag="win_amd64"), toolkits=kits(kit("12.1.105"))),
        environment(**TORCH_2, distributions=NINJA),
        ("TKT106",),
    ),
    "Visual C++ outside its prompt": (
        machine(
            NEW,
            platform=placed(system="win32", tag="win_amd64"),
            toolkits=kits(kit("12.1.105")),
            host_compilers=found(
                (HostCompiler(name="C:/VS/MSVC/14.38.33130/bin/cl.exe", path="C:/VS/cl.exe", version="14.38.33130"),),
                "-",
            ),
        ),
        environment(**TORCH_2, distributions=NINJA),
        ("TKT106",),
    ),
    "Visual C++ newer than nvcc accepts": (
        machine(
            NEW,
            platform=placed(system="win32", tag="win_amd64"),
            toolkits=kits(kit("12.1.105", msc=(1910, 1939))),
            host_compilers=found((HostCompiler(name="cl", path="C:/VS/cl.exe", version="14.40.33807"),), "-"),
        ),
        environment(**TORCH_2, distributions=NINJA),
        ("TKT106",),
    ),
    "nothing: Visual C++ that nvcc accepts": (
        machine(
            NEW,
            platform=placed(system="win32", tag="win_amd64"),
            toolkits=kits(kit("12.1.105", msc=(1910, 1939))),
            host_compilers=found((HostCompiler(name="cl", path="C:/VS/cl.exe", version="14.39.33519"),), "-"),
        ),
        environment(**TORCH_2, distributions=NINJA),
        (),
    ),
    # TKT107
    "no compiler for triton": (machine(NEW), environment(**TORCH_2, distributions=holding("triton")), ("TKT107",)),
    "no headers for triton": (
        machine(NEW, host_compilers=GCC_94),
        environment(**TORCH_2, distributions=holding("triton"), interpreter=python(headers=False)),
        ("TKT107",),
    ),
    "nothing: compiler and headers are there": (
        machine(NEW, host_compilers=GCC_94),
        environment(**TORCH_2, distributions=holding("triton"), interpreter=python(headers=True)),
        (),
    ),
    "nothing: an older snapshot does not tell of headers": (
        machine(NEW, host_compilers=GCC_94),
        environment(**TORCH_2, distributions=holding("triton")),
        (),
    ),
    # NET101
    "no index and no folder": (
        machine(),
        environment(**TO_INSTALL, package_sources=sources(("no-index", "", "environment variable PIP_NO_INDEX"))),
        ("NET101", "TOR102"),
    ),
    "nothing of indexes: a folder of wheels instead of an index": (
        machine(),
        environment(
            **TO_INSTALL,
            package_sources=sources(("no-index", "", "/etc/pip.conf [global]"), ("find-links", "/cvmfs/wheels", "-")),
        ),
        ("TOR102",),
    ),
    "listing given as index": (
        machine(),
        environment(
            **TO_INSTALL,
            package_sources=sources(("index", "https://mirrors.aliyun.com/pytorch-wheels/cu118", "pip.conf [global]")),
        ),
        ("NET101", "TOR102"),
    ),
    "address that circulates and holds nothing": (
        machine(),
        environment(
            **TO_INSTALL,
            package_sources=sources(
                ("extra-index", "https://mirrors.tuna.tsinghua.edu.cn/pytorch/whl/cu118", "pip.conf [global]")
            ),
        ),
        ("NET101", "TOR102"),
    ),
    "CUDA that was never published": (
        machine(),
        environment(**TO_INSTALL, package_sources=sources(("index", f"{OFFICIAL}/cu131/", "pip.conf [global]"))),
        ("NET101", "TOR102"),
    ),
    "CPU index beside a card": (
        machine(),
        environment(
            torch=torch("2.1.2+cpu", None, None),
            torchvision=absent("-"),
            package_sources=sources(("index", f"{OFFICIAL}/cpu", "environment variable PIP_INDEX_URL")),
        ),
        ("NET101", "TOR101"),
    ),
    "nothing: CPU index without a card": (
        machine(None),
        environment(
            torch=torch("2.1.2+cpu", None, None),
            torchvision=absent("-"),
            package_sources=sources(("index", f"{OFFICIAL}/cpu", "environment variable PIP_INDEX_URL")),
        ),
        ("GPU101",),
    ),
    "nothing of indexes: a variant that exists, and a foreign mirror": (
        machine(),
        environment(
            **TO_INSTALL,
            package_sources=sources(
                ("extra-index", f"{OFFICIAL}/cu118", "pip.conf [global]"), ("index", "https://lab.example/simple", "-")
            ),
        ),
        ("TOR102",),
    ),
    "nothing: the address holds nothing, but torch is here": (
        machine(),
        environment(package_sources=sources(("index", f"{OFFICIAL}/cu131", "pip.conf [global]"))),
        (),
    ),
    # NET102
    # NET105
    "pip's configuration is broken": (
        machine(),
        environment(**TO_INSTALL, package_sources=BROKEN_CONFIGURATION),
        ("NET105", "NET105", "TOR102"),
    ),
    "nothing of pip: uv's configuration is broken": (
        machine(),
        environment(
            package_sources=unknown("files", "/home/li/uv.toml is not a configuration file uv can read: line 2")
        ),
        (),
    ),
    # VAR102
    "pip's configuration names another folder": (
        machine(network=network(of_pip("target", "/data/packages"))),
        environment(),
        ("VAR102",),
    ),
    "nothing: pip's configuration names the environment itself": (
        machine(network=network(of_pip("prefix", "/env"), of_pip("user", "no"))),
        environment(),
        (),
    ),
    "two variables name one certificate file that is gone": (
        machine(network=network(*(certificate(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")))),
        environment(),
        ("NET103",),
    ),
    "uv with a torch index as its only one": (
        machine(),
        environment(
            **TO_INSTALL, package_sources=sources(("index", f"{OFFICIAL}/cu118", "environment variable UV_INDEX_URL"))
        ),
        ("NET102", "TOR102"),
    ),
    "uv asks a torch index first": (
        machine(),
        environment(package_sources=sources(("extra-index", f"{OFFICIAL}/cu118", "environment variable UV_INDEX"))),
        ("NET102",),
    ),
    "nothing: uv may choose the best of all indexes": (
        machine(
            network=network({"kind": "option", "tool": "uv", "name": "index-strategy", "value": "unsafe-best-match"})
        ),
        environment(package_sources=sources(("extra-index", f"{OFFICIAL}/cu118", "environment variable UV_INDEX"))),
        (),
    ),
    "nothing: everything is installed already": (
        machine(),
        environment(
            distributions=holding("ultralytics"),
            package_sources=sources(("extra-index", f"{OFFICIAL}/cu118", "environment variable UV_INDEX")),
        ),
        (),
    ),
    # NET103
    "Python without ssl, torch still to be had": (
        machine(network=network()),
        environment(**TO_INSTALL, interpreter=python(ssl_problem="No module named '_ssl'")),
        ("NET103", "TOR102"),
    ),
    "certificate file that is gone": (
        machine(
            network=network(
                {
                    "kind": "certificates",
                    "name": "REQUESTS_CA_BUNDLE",
                    "value": "/etc/gone.pem",
                    "problem": "there is no such file",
                }
            )
        ),
        environment(),
        ("NET103",),
    ),
    "nothing: certificate file and plain proxies": (
        machine(
            network=network(
                {"kind": "certificates", "name": "SSL_CERT_FILE", "value": "/etc/ssl/cert.pem"},
                proxy("https_proxy", "http://proxy.example:8080"),
                proxy("https_proxy", "http://proxy.example:8080/"),
                proxy("http_proxy", "proxy.example:8080"),
                proxy("no_proxy", "localhost,127.0.0.1"),
            )
        ),
        environment(),
        (),
    ),
    "proxies that contradict": (
        machine(
            network=network(
                proxy("https_proxy", "http://proxy.example:8080"), proxy("https_proxy", "http://old.example:8080")
            )
        ),
        environment(),
        ("NET103",),
    ),
    "local proxy addressed by https": (
        machine(network=network(proxy("https_proxy", "https://127.0.0.1:7890"))),
        environment(),
        ("NET103",),
    ),
    "proxy whose port is a word": (
        machine(network=network(proxy("https_proxy", "http://proxy.example:port"))),
        environment(),
        ("NET103",),
    ),
    "SOCKS proxy that pip cannot use": (
        machine(network=network(proxy("all_proxy", "socks5://127.0.0.1:1080"))),
        environment(),
        ("NET103",),
    ),
    "nothing: SOCKS proxy with PySocks": (
        machine(network=network(proxy("all_proxy", "socks5://127.0.0.1:1080"))),
        environment(distributions=holding("PySocks")),
        (),
    ),
    "nothing: SOCKS for the rest, http for what pip asks": (
        machine(
            network=network(
                proxy("https_proxy", "http://127.0.0.1:7890"), proxy("all_proxy", "socks5://127.0.0.1:1080")
            )
        ),
        environment(),
        (),
    ),
    # NET104
    "time limit of a second": (
        machine(network=network({"kind": "option", "tool": "pip", "name": "timeout", "value": "1"})),
        environment(),
        ("NET104",),
    ),
    "nothing: a long time limit, and one nobody can read": (
        machine(
            network=network(
                {"kind": "option", "tool": "pip", "name": "timeout", "value": "180"},
                {"kind": "option", "tool": "uv", "name": "timeout", "value": "long"},
            )
        ),
        environment(),
        (),
    ),
    # MEM120
    "no room for temporary files": (
        machine(resources=disks(temporary_files=0.2, uv_cache=200)),
        environment(**TO_INSTALL),
        ("MEM120", "TOR102"),
    ),
    "no room in the environment": (
        machine(resources=disks(temporary_files=50)),
        environment(**TO_INSTALL, disk=prefix(2)),
        ("MEM120", "TOR102"),
    ),
    "nothing of disks: little room, but torch is here": (
        machine(resources=disks(temporary_files=0.2)),
        environment(disk=prefix(2)),
        (),
    ),
    "nothing of disks: enough for a CPU build": (
        machine(None, resources=disks(temporary_files=1)),
        environment(**TO_INSTALL, disk=prefix(2)),
        ("GPU101", "TOR102"),
    ),
    "disk that is full to the last byte": (
        machine(resources=disks(temporary_files=0)),
        environment(),
        ("MEM120",),
    ),
    "nothing: an image that cannot be written is always full": (
        machine(resources=disks(temporary_files=50)),
        environment(disk=prefix(0, writable=False)),
        (),
    ),
    "nothing: a full /dev/shm is another matter": (
        machine(resources=disks(shared_memory=0)),
        environment(),
        (),
    ),
    # CND120
    "condarc that is no YAML": (
        machine(conda=conda(problems=("~/.condarc is no configuration that conda can read: oops",))),
        environment(),
        ("CND120",),
    ),
    "channel that is gone": (
        machine(
            conda=conda((channel("lab", "there is no such channel (404)"), channel("conda-forge")), channels=("lab",))
        ),
        environment(),
        ("CND120",),
    ),
    "conda told to stay offline": (machine(conda=conda(offline=True)), environment(), ("CND120",)),
    "nothing: all channels answer": (
        machine(conda=conda((channel("conda-forge"),), channels=("conda-forge",))),
        environment(),
        (),
    ),
    "nothing: one mirror of a mirrored channel answers": (
        machine(
            conda=conda(
                (channel("conda-forge", "refuses (403)"), channel("conda-forge")),
                channels=("conda-forge",),
                mirrored_channels={"conda-forge": ("https://a.example", "https://b.example")},
            )
        ),
        environment(),
        (),
    ),
    "nothing: channels were not asked": (machine(conda=conda(channels=("lab", "defaults"))), environment(), ()),
    # CND121
    "old conda with many channels": (
        machine(conda=conda(version="4.10.3", channels=("conda-forge", "pytorch", "defaults"))),
        environment(),
        ("CND121",),
    ),
    "classic solver chosen by hand": (
        machine(conda=conda(version="24.9.0", solver="classic", channels=("conda-forge", "defaults"))),
        environment(),
        ("CND121",),
    ),
    "nothing: old conda with the fast solver": (
        machine(conda=conda(version="22.11.1", solver="libmamba", channels=("conda-forge", "defaults"))),
        environment(),
        (),
    ),
    "nothing: new conda": (machine(conda=conda(channels=("conda-forge", "pytorch", "defaults"))), environment(), ()),
    "nothing: old conda with one channel": (
        machine(conda=conda(version="4.10.3", channels=("defaults",))),
        environment(),
        (),
    ),
    "nothing: mamba does the work": (
        machine(
            conda=conda(
                version="4.10.3", program="/opt/conda/bin/mamba", channels=("conda-forge", "pytorch", "defaults")
            )
        ),
        environment(),
        (),
    ),
}
