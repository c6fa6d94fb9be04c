"""Facts of the torch family by files: ELF headers, conda's records, RECORD, libraries outside, and the one import."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.host.replay import ReplayHost
from envfix.host.target import COOKIE, Answer, read_answer
from envfix.model.facts import NOT_ASKED, Binaries, CondaRecord, NativeLibrary
from envfix.probes import binaries, conda_records, native_libraries, torch_install
from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment
from tests.fakes.targets import make_venv, write_distribution, write_torch

GCC = shutil.which("gcc")
FACTS = "envfix_interpreter_facts.py"


def asked(site: Path, script: str, *arguments: str, **variables: str) -> dict[str, Any]:
    """What a script says when the interpreter of this environment runs it."""
    result = subprocess.run(
        [str(site.parent.parent.parent / "bin" / "python"), RealHost().script_path(script), COOKIE, *arguments],
        capture_output=True,
        env=cleaned_environment(PYTHONDONTWRITEBYTECODE="1", **variables),
        timeout=60,
        check=False,
    )
    answer = read_answer(
        CommandResult(outcome="exited", returncode=result.returncode, stdout=result.stdout.decode(errors="replace")), 60
    )
    assert answer.facts is not None, result
    return answer.facts


def native(site: Path, **variables: str) -> Binaries:
    return binaries.parse(asked(site, FACTS, "binaries", **variables)["binaries"])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return make_venv(tmp_path / "env")


def compiled(path: Path, source: str, *options: str) -> Path:
    """A shared library from C source, as its own name unless ``options`` say otherwise."""
    if GCC is None or sys.platform != "linux":
        pytest.skip("needs Linux and gcc to make a library")
    path.parent.mkdir(parents=True, exist_ok=True)
    code = path.with_suffix(".c")
    code.write_text(source)
    command = [GCC, "-shared", "-fPIC", "-Wl,--hash-style=gnu", "-o", str(path), str(code), *options]
    subprocess.run(command, check=True, capture_output=True)
    code.unlink()
    return path


def torch_with_library(site: Path, source: str = "void _ZN3c105helloEv(void) {}\n") -> Path:
    """A torch by its files whose libc10 is a real library."""
    write_torch(site, "2.4.1+cu121", "12.1")
    return compiled(site / "torch" / "lib" / "libc10.so", source, "-Wl,-soname,libc10.so")


def torchvision(site: Path, source: str, *options: str) -> Path:
    (site / "torchvision").mkdir()
    (site / "torchvision" / "__init__.py").write_text("")
    return compiled(site / "torchvision" / "_C.so", source, *options)


# --- ELF headers ---


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.13"])
def test_library_tells_what_it_takes_from_torch(version: str, tmp_path: Path) -> None:
    site = make_venv(tmp_path / "env", interpreter(version), version)
    c10 = torch_with_library(site)
    source = (
        "extern void _ZN3c105helloEv(void), _ZN3c107missingEv(void), other(void);\n"
        "void f(void) { _ZN3c105helloEv(); _ZN3c107missingEv(); other(); }\n"
    )
    torchvision(site, source, str(c10), "-Wl,--allow-shlib-undefined")
    (file,) = [one for one in native(site).files if one.package == "torchvision"]
    assert file.missing_symbols == ("_ZN3c107missingEv",)
    assert "libc10.so" in file.needs
    assert (file.unresolved, file.sm) == ((), None)


def test_library_whose_names_are_all_there_misses_none(site: Path) -> None:
    c10 = torch_with_library(site)
    torchvision(site, "extern void _ZN3c105helloEv(void); void f(void) { _ZN3c105helloEv(); }\n", str(c10))
    (file,) = [one for one in native(site).files if one.package == "torchvision"]
    assert file.missing_symbols == ()


def test_names_of_a_library_beside_it_count(site: Path) -> None:
    """An extension may define names in torch's own namespaces in a second library."""
    c10 = torch_with_library(site)
    own = compiled(site / "torchvision" / "libown.so", "void _ZN5torch5ownedEv(void) {}\n")
    (site / "torchvision" / "__init__.py").write_text("")
    source = "extern void _ZN3c105helloEv(void), _ZN5torch5ownedEv(void);\n"
    source += "void f(void) { _ZN3c105helloEv(); _ZN5torch5ownedEv(); }\n"
    options = (str(c10), "-L" + str(own.parent), "-lown", "-Wl,-rpath,$ORIGIN")
    compiled(site / "torchvision" / "_C.so", source, *options)
    (file,) = [one for one in native(site).files if one.package == "torchvision"]
    assert file.missing_symbols == ()


@pytest.fixture
def cudart(tmp_path: Path) -> Path:
    """A libcudart.so.12 that lies nowhere the loader looks."""
    return compiled(
        tmp_path / "toolkit" / "libcudart.so.12", "void cudaMalloc(void) {}\n", "-Wl,-soname,libcudart.so.12"
    )


CALLS_CUDA = "extern void cudaMalloc(void); void _ZN3c105helloEv(void) { cudaMalloc(); }\n"


def test_library_that_lies_nowhere_is_told(site: Path, cudart: Path) -> None:
    write_torch(site, "2.4.1+cu121", "12.1")
    compiled(site / "torch" / "lib" / "libc10.so", CALLS_CUDA, str(cudart))
    (file,) = native(site).files
    assert (file.unresolved, file.cuda) == (("libcudart.so.12",), 12)


@pytest.mark.parametrize("place", ["nvidia/cuda_runtime/lib", "torch/lib", "some.libs", "LD_LIBRARY_PATH", "rpath"])
def test_library_is_found_where_the_loader_finds_it(site: Path, cudart: Path, place: str, tmp_path: Path) -> None:
    write_torch(site, "2.4.1+cu121", "12.1")
    options = [str(cudart)] + (["-Wl,-rpath,$ORIGIN/../../far"] if place == "rpath" else [])
    compiled(site / "torch" / "lib" / "libc10.so", CALLS_CUDA, *options)
    folder = tmp_path / "outside" if place == "LD_LIBRARY_PATH" else site / ("far" if place == "rpath" else place)
    folder.mkdir(parents=True, exist_ok=True)
    # A wheel renames what it bundles.
    shutil.copy(cudart, folder / ("libcudart-d0da41ae.so.12" if place == "some.libs" else "libcudart.so.12"))
    variables = {"LD_LIBRARY_PATH": str(folder)} if place == "LD_LIBRARY_PATH" else {}
    said = native(site, **variables)
    assert said.files[0].unresolved == ()
    assert ("libcudart.so.12" in said.bundled) == (place.startswith("nvidia") or place == "torch/lib")


def test_link_whose_end_was_moved_away_is_no_library(site: Path, cudart: Path) -> None:
    write_torch(site, "2.4.1+cu121", "12.1")
    compiled(site / "torch" / "lib" / "libc10.so", CALLS_CUDA, str(cudart))
    (site / "torch" / "lib" / "libcudart.so.12").symlink_to("libcudart.so.12.1.105")
    assert native(site).files[0].unresolved == ("libcudart.so.12",)


def test_opencv_is_followed_into_the_libraries_it_brings(site: Path, tmp_path: Path) -> None:
    gl = compiled(tmp_path / "x" / "libGLmadeup.so.1", "void gl(void) {}\n", "-Wl,-soname,libGLmadeup.so.1")
    source = "extern void gl(void); void qt(void) { gl(); }\n"
    qt = compiled(
        site / "opencv_python.libs" / "libQt5-1234abcd.so.5", source, str(gl), "-Wl,-soname,libQt5-1234abcd.so.5"
    )
    (site / "cv2").mkdir()
    (site / "cv2" / "__init__.py").write_text("")
    compiled(
        site / "cv2" / "cv2.abi3.so",
        "extern void qt(void); void f(void) { qt(); }\n",
        str(qt),
        "-Wl,--allow-shlib-undefined",
    )
    (file,) = native(site).files
    assert (file.package, file.unresolved) == ("cv2", ("libGLmadeup.so.1",))


TAKES_30 = '#include <stdio.h>\nextern void f30(void); void f(void) { f30(); puts("x"); }\n'


def test_versions_of_c_and_cpp_library_are_read(site: Path, tmp_path: Path) -> None:
    """A library that offers GLIBCXX_3.4.30, one that asks for it, and an older copy that comes first."""
    script = tmp_path / "versions"
    script.write_text("GLIBCXX_3.4.9 { global: old; local: *; };\nGLIBCXX_3.4.30 { global: f30; } GLIBCXX_3.4.9;\n")
    source = "void old(void) {} void f30(void) {}\n"
    new = compiled(
        tmp_path / "new" / "libstdc++.so.6", source, f"-Wl,--version-script={script}", "-Wl,-soname,libstdc++.so.6"
    )
    script.write_text("GLIBCXX_3.4.9 { global: old; local: *; };\n")
    compiled(tmp_path / "first" / "libstdc++.so.6", "void old(void) {}\n", f"-Wl,--version-script={script}")
    write_torch(site, "2.4.1+cu121", "12.1")
    compiled(site / "torch" / "lib" / "libc10.so", TAKES_30, str(new))
    said = native(site, LD_LIBRARY_PATH=str(tmp_path / "first"))
    assert said.files[0].glibcxx == "3.4.30"
    assert (said.files[0].glibc or "").startswith("2.")
    assert (said.cpp_libraries[0].path, said.cpp_libraries[0].glibcxx) == (
        str(tmp_path / "first" / "libstdc++.so.6"),
        "3.4.9",
    )


def fatbin(*entries: tuple[int, int]) -> bytes:
    """GPU code as nvcc lays it out: a container with one entry for each kind (1 portable, 2 binary) and architecture."""
    body = b"".join(
        struct.pack("<HHIQ", kind, 0x101, 64, 16) + bytes(12) + struct.pack("<I", number) + bytes(32) + bytes(16)
        for kind, number in entries
    )
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def test_gpu_code_of_an_extension_is_listed(site: Path) -> None:
    c10 = torch_with_library(site)
    code = fatbin((2, 70), (2, 86)) + bytes(24) + fatbin((1, 90), (2, 120))
    numbers = ",".join(str(byte) for byte in code)
    source = (
        f'const unsigned char gpu[] __attribute__((section(".nv_fatbin"), used)) = {{{numbers}}};\n'
        "extern void _ZN3c105helloEv(void); void f(void) { _ZN3c105helloEv(); }\n"
    )
    torchvision(site, source, str(c10))
    (file,) = [one for one in native(site).files if one.package == "torchvision"]
    assert [one.sm for one in file.sm or ()] == ["sm_120", "sm_70", "sm_86"]
    assert [one.sm for one in file.ptx] == ["sm_90"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\x02\x01" + bytes(58),
        b"\x7fELF\x02\x01" + b"\xff" * 4000,
        b"\xcf\xfa\xed\xfe" * 50,
        b"MZ" * 99,
    ],
    ids=["empty", "four bytes", "zeros", "ones", "Mach-O", "PE"],
)
def test_what_is_no_library_is_passed_over(site: Path, content: bytes) -> None:
    write_torch(site, "2.4.1+cu121", "12.1")
    (site / "torch" / "lib").mkdir()
    (site / "torch" / "lib" / "libc10.so").write_bytes(content)
    (site / "torch" / "lib" / "libtorch_cpu.so").mkdir()
    assert native(site).files == ()


def test_library_cut_short_anywhere_gives_an_answer(site: Path) -> None:
    """Half a download: every length gives facts or none, never an end of the script."""
    whole = torch_with_library(site).read_bytes()
    vision = torchvision(
        site, "extern void _ZN3c105helloEv(void); void f(void) { _ZN3c105helloEv(); }\n", "-Wl,-z,lazy"
    )
    content = vision.read_bytes()
    for part in (70, 300, 700, len(content) // 2, len(content) - 100):
        vision.write_bytes(content[:part])
        (site / "torch" / "lib" / "libc10.so").write_bytes(whole[:part])
        native(site)


def test_small_facts_beside_them(site: Path) -> None:
    write_torch(site, "2.0.1", "11.7")
    (site / "torch" / "lib").mkdir()
    (site / "torch" / "lib" / "libiomp5.so").write_text("")
    (site.parent.parent / "libiomp5.so").write_text("")
    (site.parent.parent / "libomp.so").symlink_to("libiomp5.so")
    (site / "ultralytics" / "utils").mkdir(parents=True)
    (site / "ultralytics" / "__init__.py").write_text("")
    (site / "ultralytics" / "utils" / "checks.py").write_text("import os\nimport pkg_resources as pkg\n")
    (site / "xformers").mkdir()
    (site / "xformers" / "__init__.py").write_text("")
    (site / "xformers" / "cpp_lib.json").write_text(json.dumps({"version": {"torch": "2.1.2+cu121", "cuda": 1201}}))
    said = native(site)
    assert len(said.openmp) == 2
    assert said.built_for == {"xformers": "2.1.2+cu121"}
    assert (said.pkg_resources, said.pkg_resources_wanted_by) == (False, ("ultralytics",))
    for damaged in ("", "{", "[]", '{"version": 1}'):
        (site / "xformers" / "cpp_lib.json").write_text(damaged)
        assert native(site).built_for == {}
    (site / "pkg_resources").mkdir()
    (site / "pkg_resources" / "__init__.py").write_text("")
    assert native(site).pkg_resources_wanted_by == ()


def test_answers_without_binaries_say_why() -> None:
    too_old = Answer(None, "Python 2.7.18 is too old", too_old="2.7.18")
    assert "too old" in (binaries.read(too_old).problem or "")
    assert binaries.read(Answer({})).problem == NOT_ASKED
    assert "damaged" in (binaries.read(Answer({"binaries": {"files": [1]}})).problem or "")
    assert "please report it" in (binaries.read(Answer({"binaries": {"problem": "OSError: x"}})).problem or "")


# --- conda's records ---


def conda_meta(site: Path, name: str, content: str) -> None:
    folder = site.parent.parent.parent / "conda-meta"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(content)


def test_records_are_compared_with_the_files_they_list(site: Path) -> None:
    write_torch(site, "1.8.0", "11.1")
    here = f"lib/{site.parent.name}/site-packages/torch/__init__.py"
    listed = [here, f"lib/{site.parent.name}/site-packages/torch/__pycache__/x.pyc", "lib/libgone.so", "share/gone.txt"]
    said = {"channel": "https://user:word@conda.example/t/TOKEN/pytorch/linux-64", "files": listed}
    conda_meta(site, "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.json", json.dumps(said))
    conda_meta(site, "mkl-2024.2.0-h1.json", "{half")
    conda_meta(site, "numpy-1.21.0-py38_0.json", "[]")
    conda_meta(site, "zlib-1.3-h2.json", "{}")
    conda_meta(site, "history", "")
    fact = conda_records.probe(Answer(asked(site, FACTS)))
    known = {row.name: row for row in fact.value or ()}
    assert set(known) == {"pytorch", "mkl", "numpy"}
    torch = known["pytorch"]
    assert (torch.version, torch.build) == ("1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0")
    assert (torch.listed_files, torch.missing_files, torch.missing_examples) == (3, 2, ("lib/libgone.so",))
    assert torch.prefix == str(site.parent.parent.parent)
    assert "word" not in (torch.channel or "")
    assert "TOKEN" not in (torch.channel or "")
    assert (known["mkl"].version, known["mkl"].listed_files) == ("2024.2.0", 0)


def test_records_of_the_active_environment_are_told_as_its_own(site: Path, tmp_path: Path) -> None:
    """The environment's python may be a wrapper to another one: conda list speaks of the first, the import of the second."""
    other = make_venv(tmp_path / "other")
    conda_meta(other, "pytorch-2.0.1-py3.11_cuda11.7_0.json", "{}")
    assert conda_records.probe(Answer(asked(site, FACTS))).is_absent
    fact = conda_records.probe(Answer(asked(site, FACTS, CONDA_PREFIX=str(tmp_path / "other"))))
    assert [(row.name, row.prefix) for row in fact.value or ()] == [("pytorch", str(tmp_path / "other"))]


@pytest.mark.parametrize(
    "rows", [None, {}, "x", [1, None, {"name": "pytorch"}, {"name": 1, "version": "1", "build": "0"}]]
)
def test_damaged_rows_are_left_out(rows: object) -> None:
    assert conda_records.parse_records(rows) == ()
    whole = {"name": "mkl", "version": "1", "build": "0", "of": "tomorrow"}
    assert conda_records.parse_records([whole]) == (CondaRecord(name="mkl", version="1", build="0"),)
    assert conda_records.probe(Answer(None, "no answer")).is_unknown


# --- RECORD and metadata ---


def installed(site: Path) -> Mapping[str, Any]:
    fact = torch_install.distributions(Answer(asked(site, FACTS)), "files")
    return {item.name: item for item in fact.value or ()}


def test_files_that_are_gone_are_counted_libraries_first(site: Path) -> None:
    files = {
        "torch/__init__.py": "", "torch/version.py": "", "torch/lib/libtorch_cpu.so": "", "torch/nn/x.py": "",
        "torch/include/a.h": "", "torch/lib/libcudnn.so.9": "",
    }  # fmt: skip
    write_distribution(site, "torch", "2.4.1", files=files)
    for name in ("torch/lib/libtorch_cpu.so", "torch/nn/x.py", "torch/include/a.h", "torch/lib/libcudnn.so.9"):
        (site / name).unlink()
    torch = installed(site)["torch"]
    assert (torch.listed_files, torch.missing_files, torch.missing_code) == (8, 4, 3)
    assert torch.missing_examples == ("torch/lib/libcudnn.so.9", "torch/lib/libtorch_cpu.so", "torch/nn/x.py")
    assert torch.metadata == "torch-2.4.1.dist-info"
    assert torch.modified is not None


def test_what_others_ask_of_torch_is_read_and_nothing_else(site: Path) -> None:
    write_distribution(
        site, "some_lib", "1.0", requires=["torch>=1.7", "torch-scatter", "numpy", "torchvision (>=0.9)"]
    )
    write_distribution(site, "nothing_here", "1.0", requires=["numpy"])
    write_distribution(site, "old_egg", "1.0")
    egg = "Metadata-Version: 1.1\nName: egg\nVersion: 2.0\nRequires-Dist: torch==1.8.0\n"
    (site / "egg-2.0-py3.8.egg-info").write_text(egg)
    said = installed(site)
    assert said["some_lib"].requires == ("torch>=1.7", "torchvision (>=0.9)")
    assert said["nothing_here"].requires == ()
    assert said["egg"].requires == ("torch==1.8.0",)


def test_required_package_without_metadata_is_known_by_its_module(site: Path) -> None:
    """As some of conda's, and those that an import hook or a folder of a .pth brings; an empty folder is none."""
    requires = [
        "opencv-python>=4.6",
        "PyYAML",
        "matplotlib",
        "psutil",
        "py-cpuinfo",
        "lap; extra == 'solutions'",
        "scipy",
    ]
    write_distribution(site, "ultralytics", "8.3.40", requires=requires)
    write_distribution(site, "psutil", "6.0", files={"psutil/__init__.py": ""})
    for path in ("cv2/__init__.py", "lap.py", "cpuinfo/cpuinfo.py"):
        (site / path).parent.mkdir(exist_ok=True)
        (site / path).write_text("")
    (site / "matplotlib").mkdir()
    extra = site.parent / "extra"
    (extra / "yaml").mkdir(parents=True)
    (extra / "yaml" / "__init__.py").write_text("")
    (site / "more.pth").write_text(f"{extra}\n")
    assert installed(site)["ultralytics"].findable == ("opencv-python", "pyyaml")


def test_wheel_tags_build_and_address_of_an_extension_are_read(site: Path) -> None:
    folder = write_distribution(site, "flash_attn", "2.5.8")
    (folder / "WHEEL").write_text("Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n")
    (folder / "direct_url.json").write_text(json.dumps({"url": "https://li:word@x.example/flash_attn-2.5.8.whl"}))
    write_distribution(site, "torchaudio", "2.4.1", files={"torchaudio/version.py": "__version__ = '2.4.1+cu124'\n"})
    said = installed(site)
    assert said["flash_attn"].tags == ("cp311-cp311-linux_x86_64",)
    assert said["flash_attn"].direct_url == '{"url": "https://***@x.example/flash_attn-2.5.8.whl"}'
    assert said["torchaudio"].build == "2.4.1+cu124"


def test_cuda_of_torchvision_is_read_from_its_label(site: Path) -> None:
    """Its version.py computes the CUDA release only when it is imported."""
    text = (
        "__version__ = '0.16.2+cu121'\ngit_version = 'c6f3977'\nfrom torchvision.extension import _check_cuda_version\n"
        "if _check_cuda_version() > 0:\n    cuda = _check_cuda_version()\n"
    )
    write_distribution(
        site, "torchvision", "0.16.2", files={"torchvision/__init__.py": "", "torchvision/version.py": text}
    )
    said = Answer(asked(site, FACTS))
    vision = torch_install.vision_build(said, torch_install.distributions(said, "files")).value
    assert vision is not None
    assert (vision.build, str(vision.cuda)) == ("0.16.2+cu121", "12.1")


def test_hostile_metadata_costs_nothing_but_itself(site: Path) -> None:
    for number, content in enumerate([b"", b"\xff\xfe" * 5000, b"Requires-Dist: torch" * 20_000, b"\0" * 100_000]):
        folder = site / f"hostile{number}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_bytes(content)
    broken = write_distribution(site, "torch", "2.4.1")
    (broken / "RECORD").write_bytes(
        b'"unclosed,,\n,,\n' + b"x" * 300 + b",sha256=0,1\n\xff\xff,,\n../../../../etc/passwd,,\n"
    )
    said = installed(site)
    assert said["torch"].missing_files >= 2
    assert set(said) >= {"hostile0", "hostile3"}


# --- libraries outside ---


def test_configuration_of_the_loader_is_read() -> None:
    text = "# libc default\ninclude /etc/ld.so.conf.d/*.conf\ninclude more.conf\n/usr/local/lib # a comment\n"
    text += "\n/a:/b, /c\nhwcap 0 x\n"
    assert native_libraries.parse_ld_so_conf(text) == (
        ["/usr/local/lib", "/a", "/b", "/c"],
        ["/etc/ld.so.conf.d/*.conf", "/etc/more.conf"],
    )
    assert native_libraries.parse_ld_so_conf("") == ([], [])


def test_libraries_are_known_by_the_names_of_their_files() -> None:
    names = [
        "libcudnn.so.8", "libcudnn.so.8.9.7", "libcudnn.so", "libcudart.so.11.0", "libcudart.so.11.8.89", "libcudart.so.12",
        "libcups.so.2", "libnccl.so.2", "libcublasLt.so.12.1.3.1", "libcublasLt.so.12", "libstdc++.so.6.0.30-gdb.py",
    ]  # fmt: skip
    found = [(one.name, one.version) for one in native_libraries.libraries_in("/x", names, "ldconfig")]
    assert found == [
        ("libcublasLt.so.12", "12.1.3.1"), ("libcudart.so.11.0", "11.8.89"), ("libcudart.so.12", "12"), ("libcudnn.so.8", "8.9.7"),
        ("libnccl.so.2", "2"),
    ]  # fmt: skip


def test_path_comes_before_what_the_loader_is_configured_with() -> None:
    def listing(folder: str, *names: str) -> dict[str, Any]:
        return {
            "ask": ["glob", f"{folder}/{native_libraries.PATTERN}"],
            "answer": [f"{folder}/{name}" for name in names],
        }

    calls: list[dict[str, Any]] = [
        {"ask": ["getenv", "LD_LIBRARY_PATH"], "answer": "/usr/local/cuda-11.8/lib64:"},
        {"ask": ["system_facts"], "answer": {"system": "linux"}},
        {
            "ask": ["read_text", "/etc/ld.so.conf"],
            "answer": {"outcome": "read", "text": "include /etc/ld.so.conf.d/*.conf\n"},
        },
        {"ask": ["glob", "/etc/ld.so.conf.d/*.conf"], "answer": ["/etc/ld.so.conf.d/cuda.conf"]},
        {
            "ask": ["read_text", "/etc/ld.so.conf.d/cuda.conf"],
            "answer": {"outcome": "read", "text": "/usr/local/cuda-12.1/lib64/\n"},
        },
        listing("/usr/local/cuda-11.8/lib64", "libcublas.so.11", "libcublas.so.11.11.3.6"),
        listing("/usr/local/cuda-12.1/lib64", "libcublas.so.12"),
        listing("/lib64"),
        {"ask": ["real_path", "/usr/lib"], "answer": "/usr/lib"},
        {"ask": ["real_path", "/usr/lib64"], "answer": "/usr/lib64"},
        {"ask": ["real_path", "/lib64"], "answer": "/usr/lib64"},
        {"ask": ["real_path", "/usr/local/cuda-12.1/lib64/"], "answer": "/usr/local/cuda-12.1/lib64"},
        {"ask": ["real_path", "/usr/local/cuda-11.8/lib64"], "answer": "/usr/local/cuda-11.8/lib64"},
        listing("/usr/lib", "libcurl.so.4"),
    ]
    fact = native_libraries.probe(ReplayHost(calls))
    assert fact.value == (
        NativeLibrary(
            name="libcublas.so.11",
            path="/usr/local/cuda-11.8/lib64/libcublas.so.11",
            found_by="LD_LIBRARY_PATH",
            version="11.11.3.6",
        ),
        NativeLibrary(
            name="libcublas.so.12", path="/usr/local/cuda-12.1/lib64/libcublas.so.12", found_by="ldconfig", version="12"
        ),
    )


def test_libraries_of_this_machine_are_listed_without_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libcudnn.so.9").write_text("")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}/:/does/not/exist:{tmp_path}")
    fact = native_libraries.probe(RealHost())
    assert [one.path for one in fact.value or () if one.found_by == "LD_LIBRARY_PATH"] == [f"{tmp_path}/libcudnn.so.9"]


# --- the one import ---

LOADS = "import ctypes\nfrom .version import __version__\nctypes.CDLL({path!r})\n"


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_cuda_library_from_outside_is_told_one_of_its_own_is_not(site: Path, tmp_path: Path, where: str) -> None:
    folder = tmp_path / "toolkit" if where == "outside" else site / "nvidia" / "cudnn" / "lib"
    library = compiled(folder / "libcudnn.so.9", "void f(void) {}\n")
    write_torch(site, "2.4.1+cu121", "12.1", init=LOADS.format(path=str(library)))
    said = asked(site, torch_install.IMPORT_SCRIPT)
    assert said["foreign_libraries"] == ([str(library)] if where == "outside" else [])


def test_driver_belongs_to_no_environment(site: Path, tmp_path: Path) -> None:
    library = compiled(tmp_path / "driver" / "libcuda.so.1", "void f(void) {}\n")
    write_torch(site, "2.4.1+cu121", "12.1", init=LOADS.format(path=str(library)))
    assert asked(site, torch_install.IMPORT_SCRIPT)["foreign_libraries"] == []


def test_torch_that_cannot_hand_an_array_to_numpy_says_so(site: Path) -> None:
    (site / "numpy.py").write_text("")
    init = (
        "import numpy\nfrom .version import __version__\n"
        "class T:\n    def numpy(self): raise RuntimeError('Numpy is not available')\n"
        "def zeros(n): return T()\n"
    )
    write_torch(site, "2.0.1", "11.7", init=init)
    said = asked(site, torch_install.IMPORT_SCRIPT)
    assert (said["ok"], said["numpy_problem"]) == (True, "Numpy is not available")
    (site / "torch" / "__init__.py").write_text(init.replace("import numpy\n", "", 1))
    assert asked(site, torch_install.IMPORT_SCRIPT)["numpy_problem"] is None


@pytest.mark.parametrize(
    ("stderr", "words"),
    [
        (
            "noise\nOMP: Error #15: Initializing libiomp5.so, but found libiomp5.so.\nOMP: Hint\n",
            "OMP: Error #15: Initializing libiomp5.so,",
        ),
        ("terminate called after throwing an instance of 'x'\n", "terminate called"),
        ("one\ntwo\nthree\n", "one two"),
    ],
)
def test_what_a_program_said_before_a_signal_ended_it_is_kept(stderr: str, words: str) -> None:
    assert (torch_install.last_words(stderr) or "").startswith(words)
    assert torch_install.last_words("\n \n") is None
    assert len(torch_install.last_words("error " * 9999) or "") == 500


def test_import_that_aborts_tells_its_last_words(site: Path) -> None:
    init = "import os, sys\nsys.stderr.write('OMP: Error #15: found libiomp5.so\\n')\nsys.stderr.flush()\nos.abort()\n"
    write_torch(site, "2.4.1", None, init=init)
    said = torch_install.torch_import(RealHost(), str(site.parent.parent.parent / "bin" / "python"), timeout=20).value
    assert said is not None
    assert said.error == "killed by signal 6: OMP: Error #15: found libiomp5.so"
