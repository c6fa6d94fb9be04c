"""Toolkits, compilers and conda's configuration: real text, real files, and hostile ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.model.facts import CondaSettings, Observed, Toolkit
from envfix.probes import conda, cuda_toolkit, host_compiler, interpreter
from envfix.probes.cuda_toolkit import Limits
from tests.conftest import interpreter as real_python
from tests.fakes.targets import write_script

USE_AT_OWN_RISK = (
    " The nvcc flag '-allow-unsupported-compiler' can be used to override this version check; however, using an unsupported"
    " host compiler may cause compilation failure or incorrect run time execution. Use at your own risk."
)
# As in CUDA 10.2: no flag to override, no word on clang around it.
HEADER_10_2 = """\
#if defined (__GNUC__)
#if __GNUC__ > 8
#error -- unsupported GNU version! gcc versions later than 8 are not supported!
#endif /* __GNUC__ > 8 */
#endif
"""
# The lines of the check as in CUDA 11.8; the headers of 12 and 13 differ in the numbers and in more branches before them.
HEADER_11_8 = f"""\
/* check host compiler version  */
#if !__NV_NO_HOST_COMPILER_CHECK
#if defined(__GNUC__)

#if __GNUC__ > 11

#error -- unsupported GNU version! gcc versions later than 11 are not supported!{USE_AT_OWN_RISK}

#endif /* __GNUC__ > 11 */

#if defined(__clang__) && !defined(__ibmxl_vrm__) && !defined(__ICC) && !defined(__HORIZON__) && !defined(__APPLE__)

#if (__clang_major__ >= 15) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported clang version! clang version must be less than 15 and greater than 3.2 .{USE_AT_OWN_RISK}

#endif

#if _MSC_VER < 1910 || _MSC_VER >= 1940

#error -- unsupported Microsoft Visual Studio version! Only the versions between 2017 and 2022 (inclusive) are supported!

#elif _MSC_VER >= 1910 && _MSC_VER < 1910
"""
# Branches for other compilers of CUDA 13.0, which come before clang's own and must not be taken for it.
HEADER_13_0 = f"""\
#if defined(__GRCO_CLANG_COMPILER__)
#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 20))
#error -- unsupported Grace clang version! The version must be 16.x to 20.x.{USE_AT_OWN_RISK}
#endif
#if __GNUC__ > 15

#error -- unsupported GNU version! gcc versions later than 15 are not supported!{USE_AT_OWN_RISK}
#if defined(__HORIZON__)
#if (__clang_major__ >= 99) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- unsupported HOS clang version! The version must be must be less than 99 and greater than 3.2 .{USE_AT_OWN_RISK}
#endif
""" + HEADER_11_8.replace("__GNUC__ > 11", "__GNUC__ > 15").replace(">= 15)", ">= 21)")


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (HEADER_10_2, Limits(gcc_max=8)),
        (HEADER_11_8, Limits(gcc_max=11, clang_max=14, msc=(1910, 1939))),
        (HEADER_13_0, Limits(gcc_max=15, clang_max=20, msc=(1910, 1939))),
        ("#if __GNUC__ > 4\n#include <x>\n#endif\n", Limits()),
        ("", Limits()),
        ("\ufffd" * 50_000, Limits()),
    ],
)
def test_limits_are_read_from_the_header(text: str, limits: Limits) -> None:
    assert cuda_toolkit.parse_host_config(text) == limits


def test_limits_of_the_real_toolkit_are_what_its_compiler_enforces(tmp_path: Path) -> None:
    toolkits = cuda_toolkit.probe(RealHost(), timeout=10).value or ()
    kit = next((each for each in toolkits if each.limits_from), None)
    if kit is None or kit.gcc_max is None:
        pytest.skip("there is no CUDA toolkit here")
    (tmp_path / "k.cu").write_text("__global__ void k() {}\n")

    def said(gcc: int) -> str:
        argv = [kit.nvcc, "-Xcompiler", "-w", f"-D__GNUC__={gcc}", "-c", "k.cu", "-o", "k.o"]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False).stderr

    assert f"gcc versions later than {kit.gcc_max} are not supported" in said(kit.gcc_max + 1)
    assert "unsupported GNU version" not in said(kit.gcc_max)


def test_version_of_the_real_toolkit_is_that_of_its_nvcc() -> None:
    kit = next(iter(cuda_toolkit.probe(RealHost(), timeout=10).value or ()), None)
    if kit is None:
        pytest.skip("there is no CUDA toolkit here")
    parsed = cuda_toolkit.parse_nvcc(RealHost().run([kit.nvcc, "--version"], timeout=10).stdout)
    assert parsed is not None
    assert parsed[0] == kit.version
    assert parsed[1].startswith(kit.release)


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            '{"cuda": {"name": "CUDA SDK", "version": "11.8.20220929"}, "cuda_nvcc": {"name": "CUDA NVCC", "version": "11.8.89"}}',
            "11.8.89",
        ),
        ('{"cuda": {"version": "11.8.0"}}', None),
        ('{"cuda_nvcc": {"version": ', None),
        ("[" * 100_000, None),
        ('{"cuda_nvcc": {"version": 11}}', None),
        ('{"cuda_nvcc": {"version": "eleven"}}', None),
        ("", None),
    ],
)
def test_release_is_read_from_version_json(text: str, release: str | None) -> None:
    assert cuda_toolkit.parse_version_json(text) == release


@pytest.mark.parametrize(
    ("text", "release"),
    [("CUDA Version 10.2.89\n", "10.2.89"), ("CUDA Version\n", None), ("CUDA Version x\n", None), ("", None)],
)
def test_release_is_read_from_version_txt(text: str, release: str | None) -> None:
    assert cuda_toolkit.parse_version_txt(text) == release


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("/**\n * CUDA API version number\n */\n#define CUDA_VERSION 11080\n", "11.8"),
        ("#define CUDA_VERSION 9020\n", "9.2"),
        ("#if CUDA_VERSION >= 11000\n", None),
    ],
)
def test_release_is_read_from_cuda_h(text: str, release: str | None) -> None:
    assert cuda_toolkit.parse_cuda_h(text) == release


def toolkit(root: Path, **files: str) -> Path:
    """A toolkit whose nvcc must not be started; files by path, ``__`` for a slash."""
    write_script(root / "bin" / "nvcc", "exit 99")
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_h", ".h").replace("_json", ".json").replace("_txt", ".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def found_in(monkeypatch: pytest.MonkeyPatch, path: str, **variables: str) -> list[Toolkit]:
    for name in ("CUDA_HOME", "CUDA_PATH", "CONDA_PREFIX", "VIRTUAL_ENV"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fact: Observed[tuple[Toolkit, ...]] = cuda_toolkit.probe(RealHost(), timeout=5)
    return [kit for kit in fact.value or () if not kit.nvcc.startswith("/usr/local/cuda")]


def test_files_tell_the_release_without_starting_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = toolkit(tmp_path / "cuda-10.2", version_txt="CUDA Version 10.2.89", include__crt__host_config_h=HEADER_10_2)
    new = toolkit(
        tmp_path / "cuda-11.8",
        version_json='{"cuda_nvcc": {"version": "11.8.89"}}',
        targets__x86_64__include__crt__host_config_h=HEADER_11_8,
    )
    kits = found_in(monkeypatch, f"{old}/bin", CUDA_HOME=str(new))
    assert [(kit.release, kit.found_by, kit.gcc_max) for kit in kits] == [
        ("10.2.89", "PATH", 8),
        ("11.8.89", "CUDA_HOME", 11),
    ]
    assert kits[1].limits_from == f"{new}/targets/x86_64/include/crt/host_config.h"


def test_one_toolkit_found_in_two_ways_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toolkit(tmp_path / "cuda-11.8", include__cuda_h="#define CUDA_VERSION 11080\n")
    (tmp_path / "cuda").symlink_to(root)
    wrapper = write_script(tmp_path / "bin" / "nvcc", f'exec {root}/bin/nvcc "$@"')
    (kit,) = found_in(monkeypatch, f"{tmp_path}/bin:{root}/bin", CUDA_HOME=f"{tmp_path}/cuda/")
    assert (kit.nvcc, kit.found_by, kit.release) == (str(wrapper), "PATH, CUDA_HOME", "11.8")


@pytest.mark.parametrize(
    ("record", "release"),
    [
        ("cuda-nvcc-11.8.89-0.json", "11.8.89"),
        ("cuda-nvcc_linux-64-12.4.131-he92618c_0.json", "12.4.131"),
        ("cuda-nvcc-impl-12.9.86-h85509e4_2.json", "12.9.86"),
    ],
)
def test_conda_tells_the_release_by_its_record(
    record: str, release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = toolkit(tmp_path / "env")
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta" / record).write_text("{}")
    (kit,) = found_in(monkeypatch, "/nowhere", CONDA_PREFIX=str(prefix))
    assert (kit.release, kit.found_by) == (release, "CONDA_PREFIX")


def test_packages_of_pip_bring_a_toolkit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toolkit(
        tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "nvidia" / "cu13",
        include__cuda_h="#define CUDA_VERSION 13020\n",
    )
    (kit,) = found_in(monkeypatch, "/nowhere", VIRTUAL_ENV=str(tmp_path / "venv"))
    assert (kit.nvcc, kit.release) == (f"{root}/bin/nvcc", "13.2")


# --- compilers ---


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/usr/bin/x86_64-linux-gnu-gcc-12", "12"),
        ("/usr/bin/g++-9", "9"),
        ("/usr/lib/llvm-14/bin/clang-14", "14"),
        ("/usr/bin/clang++-18", "18"),
        ("/opt/gcc-9.4.0/bin/gcc", None),
        ("/usr/bin/gcc-ar-12", None),
        ("/usr/bin/gcc", None),
    ],
)
def test_version_by_the_name_of_the_file(path: str, version: str | None) -> None:
    assert host_compiler.version_by_name(path) == version


def test_version_of_microsofts_compiler_by_its_folder() -> None:
    path = r"C:\Program Files\Microsoft Visual Studio\2022\Community\VC\Tools\MSVC\14.38.33130\bin\Hostx64\x64\cl.exe"
    assert host_compiler.msvc_version(path) == "14.38.33130"
    assert host_compiler.msvc_version("/usr/bin/cl") is None


def test_compilers_that_variables_name_are_told_with_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(tmp_path / "usual" / "gcc", "echo 13.3.0")
    chosen = write_script(tmp_path / "chosen" / "g++", "echo 9.4.0")
    monkeypatch.setenv("PATH", f"{tmp_path}/usual")
    monkeypatch.setenv("CC", "ccache gcc -pthread")
    monkeypatch.setenv("CXX", str(chosen))
    monkeypatch.setenv("CUDAHOSTCXX", str(chosen))
    compilers = host_compiler.probe(RealHost(), timeout=5).value or ()
    assert [(each.name, each.version, each.chosen_by) for each in compilers] == [
        ("gcc", "13.3.0", None),
        ("gcc", "13.3.0", "CC"),
        ("g++", "9.4.0", "CXX and CUDAHOSTCXX"),
    ]


def test_compiler_that_hangs_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(tmp_path / "gcc", "sleep 30")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    for name in host_compiler.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert "gcc" not in {each.name for each in host_compiler.probe(RealHost(), timeout=0.3).value or ()}


# --- the target ---


def test_target_tells_of_ssl_and_headers() -> None:
    target = interpreter.Target(sys.executable, "a test")
    value = interpreter.probe(RealHost(), target, timeout=20)[0].value
    assert value is not None
    assert value.ssl_problem is None
    assert isinstance(value.headers, bool)


def test_old_python_tells_of_ssl_and_headers() -> None:
    value = interpreter.probe(RealHost(), interpreter.Target(real_python("3.6"), "a test"), timeout=20)[0].value
    assert value is not None
    assert value.headers is True, "pyenv builds from source and installs the headers"


def test_python_without_ssl_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_ssl.py").write_text("raise ImportError('libssl.so.1.1: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    value = interpreter.probe(RealHost(), interpreter.Target(sys.executable, "a test"), timeout=20)[0].value
    assert value is not None
    assert value.ssl_problem == "libssl.so.1.1: cannot open shared object file"


# --- conda ---


def settings(*texts: str) -> CondaSettings:
    """The files by rising strength."""
    return conda.merge_condarcs([(f"file {number}", conda.parse_condarc(text)) for number, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("channels:\n  - defaults\n  - conda-forge\n", ("defaults", "conda-forge")),
        ("channels: defaults\n", ("defaults",)),
        ("channels:\n", ()),
        ("show_channel_urls: true\n", ()),
        ("channels: {a: b}\n", ()),
        ("channels: [1, null, [x], defaults]\n", ("defaults",)),
        ("", ()),
    ],
)
def test_channels_are_read(text: str, channels: tuple[str, ...]) -> None:
    assert settings(text).channels == channels


def test_stronger_files_come_first_and_win() -> None:
    value = settings(
        "channels: [defaults, lab]\nchannel_priority: flexible\nssl_verify: true\nproxy_servers: {http: http://old:1}\n",
        "channels: [conda-forge, lab]\nchannel_priority: strict\nsolver: libmamba\nproxy_servers: {https: http://new:2}\n"
        "custom_channels: {pytorch: https://mirror.example/cloud}\nmirrored_channels: {conda-forge: [https://a, https://b]}\n",
    )
    assert value.channels == ("conda-forge", "lab", "defaults")
    assert (value.channel_priority, value.solver, value.ssl_verify) == ("strict", "libmamba", "true")
    assert value.proxies == {"http": "http://old:1", "https": "http://new:2"}
    assert value.custom_channels == {"pytorch": "https://mirror.example/cloud"}
    assert value.mirrored_channels == {"conda-forge": ("https://a", "https://b")}
    assert (value.set_in["channels"], value.set_in["solver"]) == ("file 1, file 0", "file 1")


def test_older_spellings_are_understood() -> None:
    value = settings(
        "experimental_solver: libmamba\nverify_ssl: /etc/lab.pem\nremote_read_timeout_secs: 3.5\noffline: on\n"
    )
    assert (value.solver, value.ssl_verify, value.read_timeout, value.offline) == (
        "libmamba",
        "/etc/lab.pem",
        "3.5",
        True,
    )


@pytest.mark.parametrize(
    "text", ["- a\n- b\n", "channels: [", "just words", "a: b: c", "[" * 5000, "x" * 70_000, "\ta: b"]
)
def test_hostile_configuration_is_a_problem_not_a_crash(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        conda.parse_condarc(text)


def test_configuration_that_is_no_yaml_is_told_by_its_line() -> None:
    with pytest.raises(ValueError, match=r"^line 2: mapping values are not allowed here$"):
        conda.parse_condarc("channels: [a]\nb: c: d\n")


def conda_here(home: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> CondaSettings:
    for name in [name for name in os.environ if name.startswith("CONDA") or name == "XDG_CONFIG_HOME"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", str(home / "bin"))
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    value = conda.probe(RealHost()).value
    assert value is not None
    assert value.settings is not None
    return value.settings


def test_files_are_read_in_condas_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, env = tmp_path / "miniconda3", tmp_path / "env"
    write_script(base / "bin" / "conda", "sleep 60")
    places: dict[str, Path] = {
        "base": base / ".condarc",
        "folder": tmp_path / ".conda" / "condarc.d" / "lab.yaml",
        "home": tmp_path / ".condarc",
        "environment": env / ".condarc",
        "named": tmp_path / "elsewhere.yml",
    }
    for name, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"channels: [{name}]\n")
    (tmp_path / ".conda" / "condarc.d" / "notes.txt").write_text("no configuration")
    found_here = conda_here(
        tmp_path,
        monkeypatch,
        CONDA_EXE=str(base / "bin" / "conda"),
        CONDA_PREFIX=str(env),
        CONDARC=str(places["named"]),
        CONDA_CHANNELS="variable,other",
    )
    assert found_here.channels == ("variable", "other", "named", "environment", "home", "folder", "base")


def test_secrets_are_not_in_the_facts_but_in_what_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".condarc").write_text(
        "channels: ['https://li:hunter2@conda.example/lab', 'https://conda.example/t/to-ken-123/lab']\n"
        "proxy_servers: {https: 'http://li:hunter2@proxy.example:8080'}\n"
        "custom_channels: {lab: 'https://li:hunter2@conda.example'}\n"
    )
    shown = conda_here(tmp_path, monkeypatch)
    assert "hunter2" not in repr(shown)
    assert "to-ken-123" not in repr(shown)
    assert conda.read_settings(RealHost())[0].channels[0] == "https://li:hunter2@conda.example/lab"


def test_broken_and_forbidden_files_are_problems_beside_what_is_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".condarc").write_bytes(b"channels: [\xff\xfe")
    (tmp_path / ".conda").mkdir()
    (tmp_path / ".conda" / ".condarc").mkdir()
    (tmp_path / ".conda" / "condarc").write_text("channels: [lab]\n")
    found_here = conda_here(tmp_path, monkeypatch)
    assert found_here.channels == ("lab",)
    assert [problem.partition(" ")[0] for problem in found_here.problems] == [
        str(tmp_path / ".conda" / ".condarc"),
        str(tmp_path / ".condarc"),
    ]


def test_fast_solver_is_known_by_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "miniconda3"
    write_script(base / "bin" / "conda", "sleep 60")
    (base / "conda-meta").mkdir()
    (base / "conda-meta" / "conda-23.11.0-py311h06a4308_0.json").write_text("{}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(base / "bin"))

    def told() -> Any:
        value = conda.probe(RealHost()).value
        return value and (value.version, value.libmamba)

    assert told() == ("23.11.0", False)
    (base / "conda-meta" / "conda-libmamba-solver-23.12.0-pyhd3eb1b0_1.json").write_text("{}")
    assert told() == ("23.11.0", True)
