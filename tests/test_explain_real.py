"""Real programs that really fail here, explained by what they really print."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import envfix
from envfix.model.explanation import Explanation
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compilers, shells and devices of Linux")


def said(argv: Sequence[str], cwd: Path, **variables: str) -> str:
    """What a program that fails prints on both streams."""
    done = subprocess.run(
        list(argv),
        cwd=cwd,
        env={**cleaned_environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=180,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    return done.stdout.decode(errors="replace")


def first(explanation: Explanation) -> str | None:
    return explanation.causes[0].cause if explanation.causes else None


def wheel(
    folder: Path, version: str, tag: str = "py3-none-any", name: str = "torch", requires: str | None = None
) -> Path:
    """A wheel as small as pip takes."""
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh virtual environment with pip and nothing else."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([interpreter("3.11"), "-m", "venv", str(folder)], check=True, timeout=120)
    return str(folder / "bin" / "python")


@pytest.fixture
def compiler() -> str:
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("no gcc on this machine")
    return found


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.11", "3.13"])
def test_python_without_torch(version: str, tmp_path: Path) -> None:
    text = said([interpreter(version), "-I", "-c", "import torch"], tmp_path)
    answer = envfix.explain(text)
    assert {"torch_not_installed", "wrong_interpreter"} <= {one.cause for one in answer.causes}
    assert answer.ambiguous


@pytest.mark.parametrize("version", ["3.8", "3.11", "3.13"])
def test_own_file_called_torch(version: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import torch\nprint(torch.nn)\n", encoding="utf-8")
    text = said([interpreter(version), "torch.py"], tmp_path)
    assert first(envfix.explain(text)) == "local_name_shadowing"


def test_import_of_pytorch(python: str, tmp_path: Path) -> None:
    assert first(envfix.explain(said([python, "-c", "import pytorch"], tmp_path))) == "wrong_import_name"


def test_pip_finds_only_newer_releases(python: str, tmp_path: Path) -> None:
    for version in ("2.0.0", "2.0.1", "2.1.0"):
        wheel(tmp_path, version)
    pip = (python, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path), "torch==1.13.1")
    text = said(pip, tmp_path)
    assert "from versions: 2.0.0, 2.0.1, 2.1.0" in text
    assert first(envfix.explain(text)) == "wheel_python_mismatch"


def test_uv_finds_wheels_of_another_python_only(python: str, tmp_path: Path) -> None:
    from uv import find_uv_bin

    wheel(tmp_path, "1.9.0", "cp38-cp38-linux_x86_64")
    uv = (
        find_uv_bin(),
        "pip",
        "install",
        "--python",
        python,
        "--no-index",
        "--find-links",
        str(tmp_path),
        "torch==1.9.0",
    )
    assert first(envfix.explain(said(uv, tmp_path))) == "wheel_python_mismatch"


def test_pip_refuses_a_file_with_another_hash(python: str, tmp_path: Path) -> None:
    wheel(tmp_path, "2.1.0")
    (tmp_path / "requirements.txt").write_text(f"torch==2.1.0 --hash=sha256:{'0' * 64}\n", encoding="utf-8")
    pip = (python, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path), "-r", "requirements.txt")
    assert first(envfix.explain(said(pip, tmp_path))) == "corrupt_download_hash"


def test_pip_refuses_pins_that_contradict_each_other(python: str, tmp_path: Path) -> None:
    for version in ("2.1.0", "2.2.0"):
        wheel(tmp_path, version)
    wheel(tmp_path, "0.17.0", name="torchvision", requires="torch==2.2.0")
    pip = (
        python,
        "-m",
        "pip",
        "install",
        "--no-index",
        "--find-links",
        str(tmp_path),
        "torch==2.1.0",
        "torchvision==0.17.0",
    )
    assert first(envfix.explain(said(pip, tmp_path))) == "conflicting_pins"


def test_pip_gets_a_damaged_wheel(python: str, tmp_path: Path) -> None:
    whole = wheel(tmp_path, "2.1.0")
    whole.write_bytes(whole.read_bytes()[:-40])
    pip = (python, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path), "torch==2.1.0")
    assert first(envfix.explain(said(pip, tmp_path))) == "corrupt_download_hash"


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    kept.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for one in kept:
            one.close()


def test_index_that_never_answers(python: str, tmp_path: Path) -> None:
    with silent_server() as port:
        index = f"http://127.0.0.1:{port}/simple"
        pip = (python, "-m", "pip", "install", "--timeout", "1", "--retries", "1", "--index-url", index, "torch")
        text = said(pip, tmp_path, PIP_CONFIG_FILE="/dev/null", PIP_FIND_LINKS="")
    assert "Read timed out" in text
    assert first(envfix.explain(text)) == "download_timeout"


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_yolo_is_not_on_path(shell: str, tmp_path: Path) -> None:
    assert (
        first(envfix.explain(said([shell, "-c", "yolo predict"], tmp_path, PATH="/usr/bin:/bin"))) == "cli_not_on_path"
    )


def test_full_device(tmp_path: Path) -> None:
    code = "open('/dev/full', 'w').write('x' * 1_000_000)"
    assert first(envfix.explain(said([sys.executable, "-c", code], tmp_path))) == "disk_or_tmp_full"


def test_linker_misses_the_driver(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }\n", encoding="utf-8")
    text = said([compiler, "main.c", "-lcuda", "-L", str(tmp_path)], tmp_path)
    assert first(envfix.explain(text)) == "libcuda_link_missing"


def test_compiler_misses_headers_of_python(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "module.c").write_text("#include <Python.h>\n", encoding="utf-8")
    assert first(envfix.explain(said([compiler, "-c", "module.c"], tmp_path))) == "compiler_or_headers_missing"


def test_loader_misses_a_library_of_cuda(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "runtime.c").write_text("int cudaFree(void *p) { return p != 0; }\n", encoding="utf-8")
    (tmp_path / "ops.c").write_text("int cudaFree(void *); int f(void) { return cudaFree(0); }\n", encoding="utf-8")
    soname = "-Wl,-soname,libcudart.so.11.0"
    subprocess.run([compiler, "-shared", "-fPIC", "runtime.c", "-o", "libcudart.so", soname], cwd=tmp_path, check=True)
    subprocess.run([compiler, "-shared", "-fPIC", "ops.c", "-o", "ops.so", "-L.", "-lcudart"], cwd=tmp_path, check=True)
    text = said([sys.executable, "-c", "import ctypes; ctypes.CDLL('./ops.so')"], tmp_path)
    assert "libcudart.so.11.0: cannot open shared object file" in text
    assert first(envfix.explain(text)) in ("missing_cuda_runtime_lib", "prebuilt_extension_abi_mismatch")


def test_program_that_the_kernel_kills_while_it_installs(tmp_path: Path) -> None:
    script = tmp_path / "pip-install"
    script.write_text(
        "#!/bin/sh\necho 'Downloading torch-2.4.1-cp311-cp311-manylinux1_x86_64.whl (797.1 MB)'\nkill -9 $$\n",
        encoding="utf-8",
    )
    script.chmod(0o755)
    command = [sys.executable, "-m", "envfix", "run", "--no-machine", "--", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=cleaned_environment())
    assert done.returncode == 137
    assert "host_ram_exhausted_install" in done.stderr
