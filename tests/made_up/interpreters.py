"""Which Python is this: active environments, copies of torch, commands on PATH, Pythons and platforms without wheels."""

from __future__ import annotations

from typing import Any

import msgspec

from envfix.model.facts import (
    ActiveEnvironment,
    Command,
    CondaRecord,
    Distribution,
    Elsewhere,
    Environment,
    Libc,
    ModuleCopy,
    Observed,
    Startup,
    TorchImport,
    absent,
    found,
    unknown,
)
from tests.made_up import GIB, NO_TORCH, PYTHON, HandMade, environment, machine, placed, torch

SITE = "/env/lib/python3.8/site-packages"
USER_SITE = "/home/li/.local/lib/python3.8/site-packages"
CONDA = "/opt/conda/envs/yolov8_env"
OF_SHELL = msgspec.structs.replace(PYTHON, asked="python on PATH", site_packages=(SITE,), search_path=(SITE,))
OF_CONDA = msgspec.structs.replace(OF_SHELL, kind="conda", base_prefix="/env")
SYSTEM = msgspec.structs.replace(
    OF_SHELL,
    executable="/usr/bin/python3",
    prefix="/usr",
    base_prefix="/usr",
    kind="system",
    site_packages=("/usr/lib/p",),
)
NEWER = msgspec.structs.replace(OF_SHELL, version="3.19.0", tag="cp319", abi_tag="cp319")
PYPY = msgspec.structs.replace(OF_SHELL, version="3.9.16", tag="pp39", abi_tag="pypy39_pp73", implementation="pypy")
NARROW = msgspec.structs.replace(OF_SHELL, bits=32, platform_tag="win32")
INTEL_MAC = msgspec.structs.replace(OF_SHELL, version="3.13.1", tag="cp313", platform_tag="macosx_x86_64")
MAC = placed(system="darwin", machine="x86_64", tag="macosx_x86_64", libc=None)
GONE: dict[str, Any] = {"torch": NO_TORCH, "torchvision": absent("-")}
ULTRALYTICS = Distribution(name="ultralytics", version="8.2.0", location=SITE)
PIP = Distribution(name="pip", version="24.0", location=SITE)


def started(**said: Any) -> Observed[Startup]:
    """What decides the start; ``home`` is where the made-up target's commands belong."""
    return found(Startup(**{"home": "/env", **said}), "the shell")


def active(**said: Any) -> ActiveEnvironment:
    """An active conda environment that is not the target."""
    said = {"variable": "CONDA_PREFIX", "prefix": CONDA, "is_target": False, "python": f"{CONDA}/bin/python", **said}
    return ActiveEnvironment(**{"conda": True, **said})


def commands(*rows: tuple[str, str, str | None], problem: str | None = None) -> Observed[tuple[Command, ...]]:
    """Commands on PATH: name, path, the environment each belongs to."""
    return found(
        tuple(
            Command(name=name, path=path, real=path, kind="script", prefix=prefix, problem=problem)
            for name, path, prefix in rows
        ),
        "PATH",
    )


def copy(name: str, folder: str, version: str, **more: Any) -> ModuleCopy:
    return ModuleCopy(**{"name": name, "location": f"{folder}/{name}", "kind": "package", "version": version, **more})


def of(interpreter: Any, **facts: Any) -> Environment:
    """An environment of this interpreter."""
    return environment(interpreter=found(interpreter, "/env/bin/python asked about itself"), **facts)


def near(prefix: str = CONDA, **more: Any) -> Observed[tuple[Elsewhere, ...]]:
    return found(
        (Elsewhere(**{"prefix": prefix, "torch": "2.0.1", "python": f"{prefix}/bin/python", **more}),), "near by"
    )


def installed(*rows: Distribution) -> Observed[tuple[Distribution, ...]]:
    return found(rows, "metadata folders")


FIRST_OF_USER = (
    copy("torch", USER_SITE, "2.1.2+cpu", user_site=True),
    copy("torch", SITE, "1.8.0"),
)
PYTHONPATH = {"PYTHONPATH": "/data/old:/data/more"}

ACTIVE_VENV = active(
    variable="VIRTUAL_ENV",
    prefix="/data/env",
    python="/data/env/bin/python",
    conda=False,
    activate="/data/env/bin/activate",
)
GOOD = near("/data/env", torch="1.9.0+cu111", kind="active", activate="/data/env/bin/activate", python_version="3.8")
DEBIANS: dict[str, Any] = {"torch": torch("1.13.0a0", None, None), "torchvision": absent("-")}

HAND_MADE: HandMade = {
    # INT101
    "active environment has torch, python is another": (
        machine(),
        of(
            SYSTEM, **GONE, startup=started(active=(active(),)), elsewhere=near(record="pytorch 2.0.1 py3.8_cuda11.7_0")
        ),
        ("INT101", "TOR102"),
    ),
    "active environment is passed by, and nothing has torch": (
        machine(),
        of(SYSTEM, **GONE, startup=started(active=(active(),))),
        ("INT101", "TOR102"),
    ),
    "active environment is passed by, torch works": (
        machine(),
        of(SYSTEM, startup=started(active=(active(),))),
        ("INT101",),
    ),
    "active environment without a Python of its own": (
        machine(),
        of(SYSTEM, startup=started(active=(active(python=None),))),
        ("INT101",),
    ),
    "active environment that was deleted": (
        machine(),
        of(SYSTEM, startup=started(active=(active(exists=False, python=None, conda=False),))),
        ("INT101",),
    ),
    "nothing: the active environment is the target": (
        machine(),
        of(OF_SHELL, startup=started(active=(active(variable="VIRTUAL_ENV", prefix="/env", is_target=True),))),
        (),
    ),
    "nothing: a virtual environment on top of conda's base": (
        machine(),
        of(
            OF_SHELL,
            startup=started(
                active=(active(variable="VIRTUAL_ENV", prefix="/env", is_target=True), active(prefix="/opt/conda"))
            ),
        ),
        (),
    ),
    "nothing: another Python than the active one was asked for by name": (
        machine(),
        of(PYTHON, startup=started(active=(active(),))),
        (),
    ),
    "environment whose python is a wrapper": (
        machine(),
        of(SYSTEM, **GONE, startup=started(bypassed=active(variable="-")), elsewhere=near(kind="asked")),
        ("INT101", "TOR102"),
    ),
    "torch among the user's own packages for another Python": (
        machine(),
        of(OF_SHELL, **GONE, elsewhere=near("/home/li/.local", kind="user", python=None, python_version="3.11")),
        ("INT101", "TOR102"),
    ),
    "torch in an environment of conda's base": (
        machine(),
        of(msgspec.structs.replace(SYSTEM, kind="base"), **GONE, elsewhere=near(conda=True)),
        ("INT101", "TOR102"),
    ),
    "pip of another Python hides the target's own": (
        machine(commands=commands(("pip", "/usr/bin/pip", "/usr"))),
        of(OF_SHELL, distributions=installed(PIP), startup=started()),
        ("INT101",),
    ),
    "pip of another Python beside one without pip": (
        machine(commands=commands(("pip", "/usr/bin/pip", "/usr"))),
        of(OF_SHELL, startup=started()),
        ("INT101",),
    ),
    "pip of another Python beside one that shines through from the system": (
        machine(commands=commands(("pip", "/other/bin/pip", "/other"))),
        of(OF_SHELL, distributions=installed(msgspec.structs.replace(PIP, location="/usr/lib/p")), startup=started()),
        ("INT101",),
    ),
    "yolo of another Python hides the target's own": (
        machine(commands=commands(("yolo", "/usr/bin/yolo", "/usr"))),
        of(OF_SHELL, distributions=installed(ULTRALYTICS), startup=started()),
        ("INT101",),
    ),
    "nothing: pip and yolo are the target's": (
        machine(commands=commands(("pip", "/env/bin/pip", "/env"), ("yolo", "/env/bin/yolo", "/env"))),
        of(OF_SHELL, distributions=installed(ULTRALYTICS, PIP), startup=started()),
        (),
    ),
    "nothing: whose pip it is cannot be told": (
        machine(commands=commands(("pip", "/usr/bin/pip", None))),
        of(OF_SHELL, distributions=installed(PIP), startup=started()),
        (),
    ),
    "nothing: pip of the shell, but another Python was asked for": (
        machine(commands=commands(("pip", "/usr/bin/pip", "/usr"))),
        of(PYTHON, distributions=installed(PIP), startup=started()),
        (),
    ),
    "active environment has a torch with CUDA, python has the system's CPU build": (
        machine(),
        of(SYSTEM, **DEBIANS, startup=started(active=(ACTIVE_VENV,)), elsewhere=GOOD),
        ("INT101", "TOR101"),
    ),
    "active environment whose own python is gone": (
        machine(),
        of(
            SYSTEM,
            **DEBIANS,
            startup=started(active=(msgspec.structs.replace(ACTIVE_VENV, python=None),)),
            elsewhere=near("/data/env", torch="1.9.0+cu111", kind="active", python=None, activate=ACTIVE_VENV.activate),
        ),
        ("INT101", "TOR101"),
    ),
    "active environment has a torch, that of python cannot be imported": (
        machine(),
        of(
            SYSTEM,
            startup=started(active=(ACTIVE_VENV,)),
            elsewhere=GOOD,
            torch_import=found(TorchImport(ok=False, seconds=1, error="ImportError: libmkl"), "import torch"),
        ),
        ("INT101", "TOR103"),
    ),
    "active environment has a CPU build, and python one with CUDA": (
        machine(),
        of(
            SYSTEM,
            startup=started(active=(ACTIVE_VENV,)),
            elsewhere=near("/data/env", torch="2.0.1+cpu", kind="active"),
        ),
        ("INT101",),
    ),
    "yolo of a Python without torch": (
        machine(commands=commands(("yolo", "/opt/tools/bin/yolo", "/opt/tools"))),
        of(OF_SHELL, startup=started()),
        ("INT101",),
    ),
    "yolo of a Python that has torch": (
        machine(commands=commands(("yolo", "/opt/tools/bin/yolo", "/opt/tools"))),
        of(OF_SHELL, startup=started(), elsewhere=near("/opt/tools", kind="command")),
        ("INT101",),
    ),
    "yolo of the system's Python, whose torch pip put into /usr/local": (
        machine(commands=commands(("yolo", "/usr/bin/yolo", "/usr"))),
        of(OF_SHELL, startup=started(), elsewhere=near("/usr/local", kind="system")),
        ("INT101",),
    ),
    "torch.py in the working folder beside faults of the installed torch": (
        machine(),
        of(
            msgspec.structs.replace(OF_SHELL, shadows=("torch.py",)),
            torch=torch("2.1.2+cpu", None, None),
            torchvision=absent("-"),
        ),
        ("INT105", "TOR101"),
    ),
    "typing_extensions.py in the working folder": (
        machine(),
        of(
            msgspec.structs.replace(OF_SHELL, shadows=("typing_extensions.py",)),
            distributions=installed(Distribution(name="typing_extensions", version="4.12.2", location=SITE)),
        ),
        ("INT105",),
    ),
    "yaml.py in the working folder of somebody with ultralytics": (
        machine(commands=commands(("yolo", "/env/bin/yolo", "/env"))),
        of(
            msgspec.structs.replace(OF_SHELL, shadows=("yaml.py",)),
            distributions=installed(ULTRALYTICS, Distribution(name="PyYAML", version="6.0", location=SITE)),
            startup=started(),
        ),
        ("INT105",),
    ),
    "nothing: yaml.py where no ultralytics is": (
        machine(),
        of(
            msgspec.structs.replace(OF_SHELL, shadows=("yaml.py", "sympy.py")),
            distributions=installed(Distribution(name="PyYAML", version="6.0", location=SITE)),
        ),
        (),
    ),
    # INT104
    "torch of the user hides conda's": (
        machine(),
        of(
            OF_CONDA,
            startup=started(copies=FIRST_OF_USER),
            conda_records=found(
                (CondaRecord(name="pytorch", version="1.8.0", build="py3.8_cuda11.1_0"),), "conda-meta"
            ),
        ),
        ("INT104",),
    ),
    "numpy of the user hides conda's": (
        machine(),
        of(
            OF_CONDA,
            startup=started(copies=(copy("numpy", USER_SITE, "2.1.0", user_site=True), copy("numpy", SITE, "1.26.4"))),
        ),
        ("INT104",),
    ),
    "nothing: the user's torch comes later": (machine(), of(OF_CONDA, startup=started(copies=FIRST_OF_USER[::-1])), ()),
    "nothing: the user's torch is the only one": (
        machine(),
        of(OF_CONDA, startup=started(copies=FIRST_OF_USER[:1])),
        (),
    ),
    "nothing: the user's copy is newer than the operating system's": (
        machine(),
        of(
            SYSTEM,
            startup=started(copies=(*FIRST_OF_USER[:1], copy("torch", "/usr/lib/python3/dist-packages", "1.13.0"))),
        ),
        (),
    ),
    # INT105
    "torch.py in the working folder": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, shadows=("torch.py",)), startup=started(working_folder="/data/of/li")),
        ("INT105",),
    ),
    "torch/ in the working folder": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, shadows=("torch/",))),
        ("INT105",),
    ),
    "random.py in the working folder": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, shadows=("random.py",))),
        ("INT105",),
    ),
    "nothing: a clone of ultralytics, and no other": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, shadows=("ultralytics/",))),
        (),
    ),
    "nothing of it: the sources of torch where no torch is installed": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, shadows=("torch/",)), **GONE),
        ("TOR102",),
    ),
    "torch of PYTHONPATH hides the environment's": (
        machine(),
        of(
            OF_SHELL,
            startup=started(
                variables=PYTHONPATH, copies=(copy("torch", "/data/old", "1.4.0"), copy("torch", SITE, "1.9.0+cu111"))
            ),
        ),
        ("INT105",),
    ),
    "nothing: the only torch is PYTHONPATH's": (
        machine(),
        of(OF_SHELL, startup=started(variables=PYTHONPATH, copies=(copy("torch", "/data/old", "1.4.0"),))),
        (),
    ),
    "nothing: PYTHONPATH holds a folder named torch that Python passes over": (
        machine(),
        of(
            OF_SHELL,
            startup=started(
                variables=PYTHONPATH,
                copies=(copy("torch", "/data/old", "-", kind="folder"), copy("torch", SITE, "1.9.0+cu111")),
            ),
        ),
        (),
    ),
    # INT106
    "Debian's Python without torch": (
        machine(),
        of(msgspec.structs.replace(SYSTEM, externally_managed=True), **GONE),
        ("INT106", "TOR102"),
    ),
    "Debian's Python with torch and without ultralytics": (
        machine(),
        of(msgspec.structs.replace(SYSTEM, externally_managed=True)),
        ("INT106",),
    ),
    "nothing: Debian's Python that has all": (
        machine(commands=commands(("yolo", "/usr/bin/yolo", None))),
        of(msgspec.structs.replace(SYSTEM, externally_managed=True), distributions=installed(ULTRALYTICS)),
        (),
    ),
    "nothing of it: a virtual environment made from Debian's Python": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, externally_managed=True), **GONE),
        ("TOR102",),
    ),
    # INT107
    "ultralytics without yolo on PATH": (
        machine(commands=commands(("pip", "/env/bin/pip", "/env"))),
        of(OF_SHELL, distributions=installed(ULTRALYTICS), startup=started()),
        ("INT107",),
    ),
    "ultralytics of an environment that is not active": (
        machine(commands=absent("PATH")),
        of(PYTHON, distributions=installed(ULTRALYTICS), startup=started()),
        ("INT107",),
    ),
    "yolo whose Python is gone": (
        machine(
            commands=commands(("yolo", "/home/li/bin/yolo", None), problem="it starts /old/bin/python, which is gone")
        ),
        of(OF_SHELL, startup=started()),
        ("INT107",),
    ),
    "own yolo whose Python is gone": (
        machine(commands=absent("PATH")),
        of(
            OF_SHELL,
            distributions=installed(ULTRALYTICS, PIP),
            startup=started(
                own_commands=(
                    Command(
                        name="yolo", path="/env/bin/yolo", real="/env/bin/yolo", kind="script", problem="it is gone"
                    ),
                )
            ),
        ),
        ("INT107",),
    ),
    "nothing: no ultralytics, no yolo": (machine(commands=absent("PATH")), of(OF_SHELL, startup=started()), ()),
    # INT108, INT109, INT110
    "32-bit Python on a 64-bit Windows": (
        machine(platform=placed(system="win32", machine="AMD64", tag="win_amd64", libc=None)),
        of(NARROW, **GONE),
        ("INT108", "INT110", "TOR102"),
    ),
    "nothing: a torch that somebody built for 32 bits": (machine(), of(msgspec.structs.replace(NARROW)), ()),
    "Python newer than every wheel": (machine(), of(NEWER, **GONE), ("INT109", "TOR102")),
    "PyPy has no wheels": (machine(), of(PYPY, **GONE), ("INT109", "TOR102")),
    "PyPy over the system's torch": (
        machine(),
        of(
            PYPY,
            startup=started(
                abi="pypy39-pp73", copies=(copy("torch", SITE, "1.13.0", built_for=("cpython-311-x86_64-linux-gnu",)),)
            ),
        ),
        ("INT109",),
    ),
    "torch of another CPython": (
        machine(),
        of(
            OF_SHELL,
            startup=started(
                abi="cpython-38-x86_64-linux-gnu",
                copies=(copy("torch", "/data/old", "1.4.0", built_for=("cpython-36m-x86_64-linux-gnu",)),),
            ),
        ),
        ("INT109",),
    ),
    "nothing: torch of this CPython, and one core without a name": (
        machine(),
        of(
            OF_SHELL,
            startup=started(
                abi="cpython-38-x86_64-linux-gnu",
                copies=(copy("torch", SITE, "1.9.0", built_for=("cpython-38-x86_64-linux-gnu",)),),
            ),
        ),
        (),
    ),
    "nothing: torch that was built for a Python newer than every wheel": (machine(), of(NEWER), ()),
    "Alpine": (
        machine(platform=placed(libc=Libc(family="musl"))),
        of(OF_SHELL, **GONE),
        ("INT110", "TOR102"),
    ),
    "glibc torch on Alpine that cannot be imported": (
        machine(platform=placed(libc=Libc(family="musl"))),
        of(OF_SHELL, torch_import=found(TorchImport(ok=False, seconds=1, error="symbol not found"), "import torch")),
        ("INT110", "TOR103"),
    ),
    "POWER has no wheels": (
        machine(platform=placed(machine="ppc64le", tag="linux_ppc64le")),
        of(msgspec.structs.replace(OF_SHELL, platform_tag="linux_ppc64le"), **GONE),
        ("INT110", "TOR102"),
    ),
    "Intel Mac with a new Python": (machine(platform=MAC), of(INTEL_MAC, **GONE), ("INT109", "INT110", "TOR102")),
    "nothing of it: Intel Mac with an older Python": (
        machine(platform=MAC),
        of(msgspec.structs.replace(INTEL_MAC, version="3.11.9", tag="cp311"), **GONE),
        ("TOR102",),
    ),
    # INT111
    "the placeholder pytorch": (
        machine(),
        of(OF_SHELL, **GONE, distributions=installed(Distribution(name="pytorch", version="1.0.2", location=SITE))),
        ("INT111", "TOR102"),
    ),
    "nothing: a pytorch that is the real one": (
        machine(),
        of(OF_SHELL, distributions=installed(Distribution(name="pytorch", version="2.0.1", location=SITE))),
        (),
    ),
    # INT112
    "environment of another account": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, writable=False), **GONE),
        ("INT112", "TOR102"),
    ),
    "nothing: environment of another account that has all": (
        machine(),
        of(msgspec.structs.replace(OF_SHELL, writable=False)),
        (),
    ),
    "nothing of it: the operating system's Python is nobody's to write": (
        machine(),
        of(msgspec.structs.replace(SYSTEM, writable=False), **GONE),
        ("TOR102",),
    ),
    # INT121, INT122
    "Windows without long paths, far down": (
        machine(),
        of(
            msgspec.structs.replace(OF_SHELL, site_packages=("C:\\" + "x" * 130,)),
            **GONE,
            startup=started(windows_long_paths=False),
        ),
        ("INT121", "TOR102"),
    ),
    "nothing of it: Windows without long paths, in a short folder": (
        machine(),
        of(OF_SHELL, **GONE, startup=started(windows_long_paths=False)),
        ("TOR102",),
    ),
    "PowerShell that runs no scripts": (
        machine(),
        of(OF_SHELL, startup=started(windows_script_policy="Restricted")),
        ("INT123",),
    ),
    "nothing: PowerShell that runs local scripts": (
        machine(),
        of(OF_SHELL, startup=started(windows_script_policy="RemoteSigned")),
        (),
    ),
    "Windows with a small page file": (
        machine(),
        of(OF_SHELL, startup=started(windows_commit_limit=9 * GIB)),
        ("MEM105",),
    ),
    "nothing: Windows with a large page file": (
        machine(),
        of(OF_SHELL, startup=started(windows_commit_limit=40 * GIB)),
        (),
    ),
    "Windows without the C++ runtime": (
        machine(),
        of(OF_SHELL, startup=started(windows_missing_dlls=("msvcp140.dll",))),
        ("INT122",),
    ),
    "nothing: torch can be imported all the same": (
        machine(),
        of(
            OF_SHELL,
            startup=started(windows_missing_dlls=("msvcp140.dll",)),
            torch_import=found(TorchImport(ok=True, seconds=1), "import torch"),
        ),
        (),
    ),
    # VAR101, VAR102
    "PYTHONHOME of another Python": (
        machine(variables={"PYTHONHOME": "/opt/old"}),
        environment(
            interpreter=unknown("/env/bin/python", "exit code 1: <no Python frame>"),
            torch=unknown("-", "no answer"),
            torchvision=unknown("-", "no answer"),
        ),
        ("INT102", "VAR101"),
    ),
    "nothing: PYTHONHOME that does no harm": (machine(variables={"PYTHONHOME": "/env"}), of(OF_SHELL), ()),
    "PIP_TARGET that Python does not look into": (
        machine(variables={"PIP_TARGET": "/data/packages"}),
        of(OF_SHELL, **GONE),
        ("TOR102", "VAR102"),
    ),
    "PIP_USER in a virtual environment": (machine(variables={"PIP_USER": "1"}), of(OF_SHELL), ("VAR102",)),
    "nothing: PIP_TARGET is on the path": (machine(variables={"PIP_TARGET": SITE + "/"}), of(OF_SHELL), ()),
    # CND101
    "conda is near, and the shell does not know it": (
        machine(),
        of(SYSTEM, **GONE, startup=started(conda_roots=("/opt/conda",)), elsewhere=near(conda=True)),
        ("CND101", "INT101", "TOR102"),
    ),
    "conda is near and nobody needs it": (
        machine(),
        of(SYSTEM, startup=started(conda_roots=("/opt/conda",))),
        ("CND101",),
    ),
    "nothing: conda's hook is loaded": (
        machine(),
        of(SYSTEM, startup=started(conda_roots=("/opt/conda",), variables={"CONDA_SHLVL": "0"})),
        (),
    ),
    "nothing: a virtual environment is used beside conda": (
        machine(),
        of(OF_SHELL, startup=started(conda_roots=("/opt/conda",))),
        (),
    ),
}
