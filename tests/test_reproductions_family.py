"""Broken environments built for real, diagnosed by the program itself, mended by the printed command, and diagnosed again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.running import cleaned_environment, envfix
from tests.fakes.targets import make_venv, write_torch, write_torchvision

DEBIAN = Path("/usr/bin/python3")
MINE = ("FAM", "LIB", "CND", "TOR")
GCC = shutil.which("gcc")


class Reproduction:
    """An environment with pip, a folder of wheels that pip may install from, and the diagnosis of both."""

    def __init__(self, folder: Path, python: str | None = None) -> None:
        self.prefix, self.wheels = folder / "env", folder / "wheels"
        self.wheels.mkdir()
        self.site = make_venv(self.prefix, python)
        # pip comes from the interpreter behind it, as with --system-site-packages.
        configuration = self.prefix / "pyvenv.cfg"
        configuration.write_text(configuration.read_text().replace("packages = false", "packages = true"))
        self.python = self.prefix / "bin" / "python"
        self.variables: dict[str, str] = {}

    def environment(self, *, online: bool = False) -> dict[str, str]:
        """The user's shell; ``online``: with the machine's own package registry instead of the folder of wheels."""
        source = {} if online else {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PYTHONNOUSERSITE": "1"}
        return cleaned_environment(**source, **quiet, **self.variables)

    def pip(self, *arguments: str) -> None:
        """Run the environment's pip on the folder of wheels."""
        self.run((str(self.python), "-m", "pip", *arguments))

    def run(self, argv: Sequence[str], *, online: bool = False) -> None:
        """Run a command as the user would paste it."""
        result = subprocess.run(
            argv, env=self.environment(online=online), cwd=self.prefix, capture_output=True, timeout=300, check=False
        )
        assert result.returncode == 0, (argv, result.stdout.decode(), result.stderr.decode())

    def diagnose(self, *options: str) -> dict[str, Any]:
        """What envfix says of it."""
        result = envfix(
            "diagnose",
            "--json",
            *options,
            "--python",
            str(self.prefix),
            env=self.environment(),
            cwd=self.prefix,
            timeout=120,
        )
        return result.document

    def codes(self, *options: str) -> list[str]:
        """Findings of this part of the house that are more than worth knowing, the first cause first."""
        return [
            finding["code"]
            for finding in self.diagnose(*options)["findings"]
            if finding["code"].startswith(MINE) and finding["severity"] != "info"
        ]

    def wheel(self, name: str, version: str, files: Mapping[str, bytes], requires: Sequence[str] = ()) -> None:
        """A wheel that pip can install, for any Python."""
        folder = f"{name}-{version}.dist-info"
        head = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}",
            *(f"Requires-Dist: {line}" for line in requires),
        ]
        content = {
            **files,
            f"{folder}/METADATA": ("\n".join(head) + "\n").encode(),
            f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        rows = [
            f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
            for path, data in content.items()
        ]
        with zipfile.ZipFile(self.wheels / f"{name}-{version}-py3-none-any.whl", "w") as archive:
            for path, data in content.items():
                archive.writestr(path, data)
            archive.writestr(f"{folder}/RECORD", "\n".join([*rows, f"{folder}/RECORD,,"]) + "\n")

    def torch_wheel(self, version: str, cuda: str | None, requires: Sequence[str] = ()) -> None:
        """A torch that imports a part of its own."""
        lines = f"__version__ = {version!r}\ncuda = {cuda!r}\nhip = None\n".encode()
        files = {
            "torch/__init__.py": b"from .version import __version__\nfrom . import nn\n",
            "torch/version.py": lines,
        }
        files |= {f"torch/nn/{name}.py": b"" for name in ("__init__", "functional", "modules", "init", "parameter")}
        self.wheel("torch", version, files, requires)


@pytest.fixture
def made(tmp_path: Path) -> Reproduction:
    """An environment of the Python that runs the tests."""
    made = Reproduction(tmp_path)
    result = subprocess.run(
        [str(made.python), "-m", "pip", "--version"], capture_output=True, env=made.environment(), check=False
    )
    if result.returncode != 0:
        pytest.skip("the interpreter behind the tests has no pip")
    if made.codes("--no-import") != ["TOR102"]:
        pytest.skip("the interpreter behind the tests has a torch of its own, or another fault")
    return made


def commands(document: Mapping[str, Any], code: str) -> list[list[str]]:
    """The printed commands of a finding, without envfix's own (they need an index)."""
    finding = next(one for one in document["findings"] if one["code"] == code)
    return [argv for remedy in finding["remedies"] for argv in remedy.get("commands", []) if argv[0] != "envfix"]


def first(document: Mapping[str, Any]) -> str:
    return str(document["findings"][0]["cause"])


def shared_library(path: Path, source: str, *options: str) -> Path:
    if GCC is None or sys.platform != "linux":
        pytest.skip("needs Linux and gcc to make a library")
    path.parent.mkdir(parents=True, exist_ok=True)
    code = path.with_suffix(".c")
    code.write_text(source)
    subprocess.run(
        [GCC, "-shared", "-fPIC", "-o", str(path), str(code), f"-Wl,-soname,{path.name}", *options], check=True
    )
    code.unlink()
    return path


def test_half_uninstalled_torch(made: Reproduction) -> None:
    """An uninstallation that was interrupted: a third of the files is gone, the record is whole."""
    made.torch_wheel("2.4.1", "12.1")
    made.pip("install", "torch")
    assert made.codes() == []
    shutil.rmtree(made.site / "torch" / "nn")
    (made.site / "~orch").mkdir()
    broken = made.diagnose()
    assert first(broken) == "mixed_installs"
    assert [one["code"] for one in broken["findings"] if one.get("follows_from") == "FAM106"] == ["TOR103"]
    assert made.codes("--no-import")[0] == "FAM106"
    for argv in commands(broken, "FAM106"):
        made.run(argv)
    assert made.codes() == ["TOR102"], "clean: nothing of torch is left"
    assert not (made.site / "~orch").exists()
    made.pip("install", "torch")
    assert made.codes() == []


def test_torch_whose_files_are_gone_altogether(made: Reproduction) -> None:
    made.torch_wheel("2.4.1", "12.1")
    made.pip("install", "torch")
    shutil.rmtree(made.site / "torch")
    broken = made.diagnose()
    assert first(broken) == "mixed_installs"
    assert [one["code"] for one in broken["findings"] if one.get("follows_from") == "FAM106"] == ["TOR102"]
    for argv in commands(broken, "FAM106"):
        made.run(argv)
    made.pip("install", "torch")
    assert made.codes() == []


def conda_record(made: Reproduction, version: str, files: Sequence[str]) -> Path:
    path = made.prefix / "conda-meta" / f"pytorch-{version}-py3.11_cuda11.7_cudnn8.5.0_0.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": "pytorch", "version": version, "channel": "pytorch", "files": list(files)}))
    return path


def test_conda_record_without_files(made: Reproduction) -> None:
    """`conda list` shows torch, `import torch` finds none."""
    where = made.site.relative_to(made.prefix)
    record = conda_record(made, "2.0.1", [f"{where}/torch/__init__.py", f"{where}/torch/version.py"])
    broken = made.diagnose()
    assert first(broken) == "mixed_installs"
    assert "believes that pytorch 2.0.1 is installed here" in broken["findings"][0]["message"]
    assert "conda, which is not found" in broken["findings"][0]["remedies"][-1]["text"]
    record.unlink()  # what conda remove does where nothing else is left
    made.torch_wheel("2.4.1", "12.1")
    made.pip("install", "torch")
    assert made.codes() == []


def test_two_torches_in_one_prefix(made: Reproduction) -> None:
    """Torch of conda, and pip's over it: --ignore-installed leaves both metadata folders."""
    write_torch(made.site, "2.3.1", "12.1", record=False)
    (made.site / "torch-2.3.1.dist-info").rename(made.site / "torch-2.3.1-py3.11.egg-info")
    os.replace(
        made.site / "torch-2.3.1-py3.11.egg-info" / "METADATA", made.site / "torch-2.3.1-py3.11.egg-info" / "PKG-INFO"
    )
    record = conda_record(made, "2.3.1", [f"{made.site.relative_to(made.prefix)}/torch/version.py"])
    assert made.codes() == [], "conda's torch alone is whole"
    made.torch_wheel("2.4.1", "12.1")
    made.pip("install", "--ignore-installed", "torch")
    broken = made.diagnose("--no-import")
    assert first(broken) == "mixed_installs"
    assert broken["verdict"] == "broken"
    said = "\n".join(piece["value"] for piece in broken["findings"][0]["because"])
    assert "torch 2.3.1" in said
    assert "torch 2.4.1" in said
    assert "pytorch 2.3.1 py3.11_cuda11.7" in said
    argv = [str(made.python), "-m", "pip", "uninstall", "-y", "torch"]
    assert argv in commands(broken, "FAM106")
    shutil.rmtree(made.site / "torch-2.3.1-py3.11.egg-info")  # what conda remove does
    record.unlink()
    made.run(argv)
    made.pip("install", "torch")
    assert made.codes() == []


def test_numpy_2_beside_torch_2_0(made: Reproduction) -> None:
    for version in ("1.26.4", "2.1.0"):
        made.wheel("numpy", version, {"numpy/__init__.py": f"__version__ = {version!r}\n".encode()})
    made.torch_wheel("2.0.1", "11.7", ["numpy"])
    made.pip("install", "torch")
    broken = made.diagnose()
    assert first(broken) == "numpy2_abi"
    made.run(commands(broken, "FAM107")[0])
    assert made.codes() == []


def test_cpu_torch_with_the_torchvision_of_the_registry(made: Reproduction) -> None:
    """The registry's torchvision is built for the registry's torch, which has CUDA."""
    write_torch(made.site, "2.13.0+cpu", None)
    write_torchvision(made.site, "0.28.0+cu130", None, torch_pin="2.13.0")
    assert first(made.diagnose()) == "torchvision_torch_mismatch"
    shutil.rmtree(made.site / "torchvision")
    shutil.rmtree(made.site / "torchvision-0.28.0+cu130.dist-info")
    write_torchvision(made.site, "0.28.0+cpu", None, torch_pin="2.13.0")
    assert made.codes("--no-import") in ([], ["TOR101"]), "on a machine with a card a CPU build is another fault"


def test_ultralytics_without_what_it_requires(made: Reproduction) -> None:
    """Installed with --no-deps: the printed command puts exactly that there, and torch stays."""
    made.torch_wheel("2.4.1", "12.1")
    made.torch_wheel("2.5.0", "12.1")
    needs = ["torch>=1.8.0", "zz-drawing>=3.3.0", "zz-later; python_version < '3'", "zz-extra; extra == 'export'"]
    made.wheel("ultralytics", "8.3.40", {"ultralytics/__init__.py": b"import zz_drawing\n"}, needs)
    for version in ("3.2.0", "3.9.1"):
        made.wheel("zz_drawing", version, {"zz_drawing/__init__.py": b""})
    made.pip("install", "torch==2.4.1")
    made.pip("install", "--no-deps", "ultralytics")
    assert made.codes() == ["FAM118"]
    broken = made.diagnose()
    assert (first(broken), broken["verdict"]) == ("required_package_missing", "degraded")
    assert commands(broken, "FAM118") == [[str(made.python), "-m", "pip", "install", "zz-drawing>=3.3.0"]]
    failed = subprocess.run(
        [str(made.python), "-c", "import ultralytics"],
        env=made.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'zz_drawing'" in failed.stderr
    log = made.prefix / "failed.log"
    log.write_text(failed.stderr)
    said = envfix("explain", "--no-machine", "--json", str(log), env=made.environment()).document
    assert [one["cause"] for one in said["causes"]] == ["required_package_missing"]
    for argv in commands(broken, "FAM118"):
        made.run(argv)
    made.run([str(made.python), "-c", "import ultralytics"])
    assert made.codes() == []
    assert (made.site / "torch-2.4.1.dist-info").is_dir()


def cudnn(made: Reproduction, version: str) -> None:
    """A torch that needs libcudnn.so.9, which comes with a package of its own."""
    folder = made.prefix / "build"
    library = shared_library(
        folder / "nvidia" / "cudnn" / "lib" / "libcudnn.so.9", "int cudnnGetVersion(void) { return 90100; }\n"
    )
    source = "extern int cudnnGetVersion(void); int f(void) { return cudnnGetVersion(); }\n"
    torch = shared_library(
        folder / "torch" / "lib" / "libtorch_cuda.so", source, str(library), "-Wl,-rpath,$ORIGIN/../../nvidia/cudnn/lib"
    )
    made.wheel("nvidia_cudnn_cu12", version, {"nvidia/cudnn/lib/libcudnn.so.9": library.read_bytes()})
    init = (
        b"import ctypes, os\nfrom .version import __version__\n"
        b"ctypes.CDLL(os.path.join(os.path.dirname(__file__), 'lib', 'libtorch_cuda.so'))\n"
    )
    files = {"torch/__init__.py": init, "torch/version.py": b"__version__ = '2.4.1+cu121'\ncuda = '12.1'\n"}
    made.wheel(
        "torch", "2.4.1", {**files, "torch/lib/libtorch_cuda.so": torch.read_bytes()}, [f"nvidia-cudnn-cu12=={version}"]
    )
    shutil.rmtree(folder)
    made.pip("install", "torch")


@pytest.mark.parametrize("options", [(), ("--no-import",)], ids=["import", "files"])
def test_cudnn_moved_away(made: Reproduction, options: tuple[str, ...]) -> None:
    cudnn(made, "9.1.0.70")
    assert made.codes(*options) == []
    os.rename(made.site / "nvidia" / "cudnn", made.prefix / "somewhere-else")
    broken = made.diagnose(*options)
    assert first(broken) == "missing_cuda_runtime_lib"
    if not options:
        assert "libcudnn.so.9: cannot open shared object file" in str(broken["findings"][0]["because"])
    made.run(commands(broken, "LIB103")[0])
    assert made.codes(*options) == []


def test_cudnn_older_than_torch_names(made: Reproduction) -> None:
    """Another package has pulled in an older cuDNN."""
    cudnn(made, "9.1.0.70")
    made.wheel("nvidia_cudnn_cu12", "8.9.2.26", {"nvidia/cudnn/lib/libcudnn.so.8": b""})
    made.pip("install", "--no-deps", "nvidia-cudnn-cu12==8.9.2.26")
    broken = made.diagnose()
    assert first(broken) == "cudnn_version_conflict"
    made.run(commands(broken, "LIB102")[0])
    assert made.codes() == []


def test_older_library_on_the_path(made: Reproduction, tmp_path: Path) -> None:
    """A toolkit's folder on LD_LIBRARY_PATH: its nvJitLink lacks what the wheel's cuSPARSE needs."""
    libraries = made.site / "nvidia" / "nvjitlink" / "lib"
    new = shared_library(libraries / "libnvJitLink.so.12", "int __nvJitLinkAddData_12_1(void) { return 1; }\n")
    old = shared_library(
        tmp_path / "cuda-12.0" / "lib64" / "libnvJitLink.so.12", "int nvJitLinkOld(void) { return 1; }\n"
    )
    source = "extern int __nvJitLinkAddData_12_1(void); int f(void) { return __nvJitLinkAddData_12_1(); }\n"
    options = (str(new), "-Wl,--enable-new-dtags", "-Wl,-rpath,$ORIGIN/../../nvjitlink/lib", "-Wl,-z,now")
    cusparse = shared_library(made.site / "nvidia" / "cusparse" / "lib" / "libcusparse.so.12", source, *options)
    init = f"import ctypes\nfrom .version import __version__\nctypes.CDLL({str(cusparse)!r})\n"
    write_torch(made.site, "2.4.1+cu121", "12.1", init=init)
    assert made.codes() == []
    made.variables = {"LD_LIBRARY_PATH": str(old.parent)}
    broken = made.diagnose()
    assert first(broken) == "cuda_lib_path_pollution"
    assert "undefined symbol: __nvJitLinkAddData_12_1" in str(broken["findings"][0]["because"])
    assert commands(broken, "LIB101")[1] == ["unset", "LD_LIBRARY_PATH"]
    made.variables = {}
    assert made.codes() == []


def debian_torch() -> None:
    if not list(Path("/usr/lib/python3/dist-packages").glob("torch-1.13*")):
        pytest.skip("Debian's torch 1.13 is not installed (python3-torch)")


def test_real_torch_of_debian_is_healthy() -> None:
    debian_torch()
    document = envfix("diagnose", "--json", "--python", str(DEBIAN), env=cleaned_environment(), timeout=120).document
    assert document["facts"]["environment"]["torch_import"]["value"]["ok"] is True
    found = [one for one in document["findings"] if one["code"].startswith(MINE)]
    assert found in ([], [one for one in found if one["code"] == "TOR101"]), "beside a card a CPU build is a fault"


@pytest.mark.online
def test_numpy_2_beside_the_real_torch_of_debian(tmp_path: Path) -> None:
    """The real message of the real torch, and the printed command run as it is."""
    debian_torch()
    made = Reproduction(tmp_path, str(DEBIAN))
    shutil.rmtree(made.prefix / "lib")
    version = subprocess.run(
        [str(DEBIAN), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, check=True
    )
    made.site = made.prefix / "lib" / f"python{version.stdout.decode().strip()}" / "site-packages"
    made.site.mkdir(parents=True)
    assert made.codes() in ([], ["TOR101"])
    made.run((str(made.python), "-m", "pip", "install", "numpy>=2"), online=True)
    broken = made.diagnose()
    assert first(broken) == "numpy2_abi"
    assert "Numpy is not available" in str(broken["findings"][0]["because"])
    made.run(commands(broken, "FAM107")[0], online=True)
    assert made.codes() in ([], ["TOR101"])
