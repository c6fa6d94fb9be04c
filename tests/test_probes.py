"""Parsing what programs and files say: pure functions of text, on samples as they are found."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from envfix.app.detecting import detect
from envfix.host.real import RealHost
from envfix.host.replay import ReplayHost
from envfix.model.facts import Display
from envfix.probes import conda, cuda_toolkit, displays, host_compiler, os_libc
from tests.fakes.targets import write_script


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 20.04.6 LTS"\nID=ubuntu\n', "Ubuntu 20.04.6 LTS"),
        ("PRETTY_NAME=Alpine\n", "Alpine"),
        ("PRETTY_NAME='Arch Linux'\n", "Arch Linux"),
        ('PRETTY_NAME=""\n', ""),
        ("NAME=Ubuntu\n", None),
        ("", None),
    ],
)
def test_distribution_is_read_from_os_release(text: str, name: str | None) -> None:
    assert os_libc.parse_os_release(text) == name


def test_jetson_is_read_from_its_release_file() -> None:
    assert (
        os_libc.parse_jetson("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64\n")
        == "R35.4.1"
    )
    assert os_libc.parse_jetson("") is None


@pytest.mark.parametrize(
    ("system", "cpu", "tag"),
    [
        ("linux", "x86_64", "linux_x86_64"),
        ("linux", "aarch64", "linux_aarch64"),
        ("linux", "ppc64le", "linux_ppc64le"),
        ("win32", "AMD64", "win_amd64"),
        ("win32", "ARM64", "win_arm64"),
        ("darwin", "arm64", "macosx_arm64"),
        ("darwin", "x86_64", "macosx_x86_64"),
    ],
)
def test_platform_is_named_as_wheels_name_it(system: str, cpu: str, tag: str) -> None:
    assert os_libc.platform_tag(system, cpu) == tag


def recorded(**changes: Any) -> ReplayHost:
    """A machine that answers the questions of ``os_libc``; ``changes`` are files, folders and variables that it has."""
    files = {path: changes.get(path, "") for path in ("/etc/os-release", "/etc/nv_tegra_release", "/proc/1/cgroup")}
    variables = ("KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER")
    facts = {
        "system": "linux",
        "machine": "x86_64",
        "release": "5.4.0",
        "libc": "glibc",
        "libc_version": "2.31",
        **changes.get("facts", {}),
    }
    calls: list[dict[str, Any]] = [{"ask": ["system_facts"], "answer": facts}]
    calls += [{"ask": ["read_text", path], "answer": {"outcome": "read", "text": text}} for path, text in files.items()]
    calls += [
        {"ask": ["glob", path], "answer": [path] if path in changes else []}
        for path in ("/.dockerenv", "/run/.containerenv")
    ]
    calls += [{"ask": ["getenv", name], "answer": changes.get(name)} for name in variables]
    return ReplayHost(calls)


@pytest.mark.parametrize(
    ("changes", "container"),
    [
        ({}, None),
        ({"/.dockerenv": True}, "docker"),
        ({"/run/.containerenv": True}, "podman"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "/.dockerenv": True}, "kubernetes"),
        ({"APPTAINER_CONTAINER": "/x.sif"}, "apptainer"),
        ({"SINGULARITY_CONTAINER": "/x.sif"}, "apptainer"),
        ({"/proc/1/cgroup": "12:cpu:/docker/0123abcd\n"}, "docker"),
        ({"/proc/1/cgroup": "12:cpu:/kubepods/besteffort/pod1\n"}, "kubernetes"),
        ({"/proc/1/cgroup": "1:name=systemd:/init.scope\n"}, None),
    ],
)
def test_container_is_known_by_its_traces(changes: dict[str, Any], container: str | None) -> None:
    value = os_libc.probe(recorded(**changes)).value
    assert value is not None
    assert value.container == container


def test_windows_subsystem_and_musl_are_told() -> None:
    wsl = os_libc.probe(recorded(facts={"release": "5.15.153.1-microsoft-standard-WSL2"})).value
    assert wsl is not None
    assert wsl.wsl is True
    musl = os_libc.probe(recorded(facts={"libc": "musl", "libc_version": ""})).value
    assert musl is not None
    assert (musl.libc.family, musl.libc.version) == ("musl", None) if musl.libc else False
    assert os_libc.probe(recorded(facts={"machine": ""})).is_unknown


LSPCI = """\
00:00.0 Host bridge [0600]: Intel Corporation Device [8086:3e0f] (rev 08)
00:02.0 VGA compatible controller [0300]: Intel Corporation CoffeeLake-S GT2 [UHD Graphics 630] [8086:3e92] (rev 02)
01:00.0 VGA compatible controller [0300]: NVIDIA Corporation GA102 [GeForce RTX 3090] [10de:2204] (rev a1)
01:00.1 Audio device [0403]: NVIDIA Corporation GA102 High Definition Audio Controller [10de:1aef] (rev a1)
0001:04:00.0 3D controller [0302]: NVIDIA Corporation GV100GL [Tesla V100 SXM2 32GB] [10de:1db5] (rev a1)
05:00.0 Processing accelerators [1200]: Habana Labs Ltd. Device [1da3:1000]
"""


def test_display_controllers_are_read_from_lspci() -> None:
    assert displays.parse_lspci(LSPCI) == (
        Display(
            vendor="Intel",
            vendor_id="8086",
            device_id="3e92",
            bus="0000:00:02.0",
            name="Intel Corporation CoffeeLake-S GT2 [UHD Graphics 630]",
        ),
        Display(
            vendor="NVIDIA",
            vendor_id="10de",
            device_id="2204",
            bus="0000:01:00.0",
            name="NVIDIA Corporation GA102 [GeForce RTX 3090]",
        ),
        Display(
            vendor="NVIDIA",
            vendor_id="10de",
            device_id="1db5",
            bus="0001:04:00.0",
            name="NVIDIA Corporation GV100GL [Tesla V100 SXM2 32GB]",
        ),
        Display(
            vendor="another vendor",
            vendor_id="1da3",
            device_id="1000",
            bus="0000:05:00.0",
            name="Habana Labs Ltd. Device",
        ),
    )
    assert displays.parse_lspci("") == displays.parse_lspci("lspci: Cannot open /proc/bus/pci\n") == ()


def test_display_controllers_are_found_without_lspci() -> None:
    folder = "/sys/bus/pci/devices/0000:01:00.0"
    bridge = "/sys/bus/pci/devices/0000:00:00.0"
    texts = {
        f"{folder}/class": "0x030000\n",
        f"{folder}/vendor": "0x10de\n",
        f"{folder}/device": "0x2204\n",
        f"{bridge}/class": "0x060000\n",
    }
    calls: list[dict[str, Any]] = [
        {"ask": ["glob", "/sys/bus/pci/devices/*/class"], "answer": [f"{bridge}/class", f"{folder}/class"]},
        {"ask": ["which", "lspci"], "answer": []},
        *({"ask": ["read_text", path], "answer": {"outcome": "read", "text": text}} for path, text in texts.items()),
        {"ask": ["real_path", f"{folder}/driver"], "answer": "/sys/bus/pci/drivers/nouveau"},
    ]
    fact = displays.probe(ReplayHost(calls), timeout=1)
    assert fact.value == (
        Display(vendor="NVIDIA", vendor_id="10de", device_id="2204", bus="0000:01:00.0", driver="nouveau"),
    )
    nothing = displays.probe(
        ReplayHost([{"ask": ["glob", "/sys/bus/pci/devices/*/class"], "answer": []}, calls[1]]), timeout=1
    )
    assert nothing.is_unknown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cuda compilation tools, release 11.1, V11.1.105\nBuild cuda_11.1.TC455_06.29190527_0", ("11.1", "11.1.105")),
        ("Cuda compilation tools, release 13.0, V13.0.88", ("13.0", "13.0.88")),
        ("Cuda compilation tools, release 9.2", ("9.2", "9.2")),
        ("nvcc: command not found", None),
    ],
)
def test_release_of_a_toolkit_is_read(text: str, expected: tuple[str, str] | None) -> None:
    parsed = cuda_toolkit.parse_nvcc(text)
    assert (None if parsed is None else (str(parsed[0]), parsed[1])) == expected


def test_toolkits_are_listed_once_in_the_order_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_script(tmp_path / "bin" / "nvcc", "echo 'Cuda compilation tools, release 11.1, V11.1.74'")
    write_script(tmp_path / "cuda-12.1" / "bin" / "nvcc", "echo 'Cuda compilation tools, release 12.1, V12.1.66'")
    (tmp_path / "link").symlink_to(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{tmp_path}/link")
    monkeypatch.setenv("CUDA_HOME", f"{tmp_path}/cuda-12.1/")
    toolkits = cuda_toolkit.probe(RealHost(), timeout=5).value or ()
    assert [(kit.release, kit.found_by) for kit in toolkits[:2]] == [("11.1.74", "PATH"), ("12.1.66", "CUDA_HOME")]
    assert toolkits[0].nvcc == str(first)


def test_toolkit_that_does_not_answer_is_unknown_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_script(tmp_path / "nvcc", "echo 'cannot execute' >&2; exit 126")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    fact = cuda_toolkit.probe(RealHost(), timeout=5)
    if fact.value:
        pytest.skip("this machine has a toolkit of its own under /usr/local")
    assert "exit code 126: cannot execute" in (fact.problem or "")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("9.4.0\n", "9.4.0"),
        ("9\n", "9"),
        ("12.2.0\n12\n", None),
        ("gcc (GCC) 9.4.0", None),
        ("", None),
        ("17.0.6\n", "17.0.6"),
    ],
)
def test_version_of_a_compiler_is_read(text: str, version: str | None) -> None:
    assert host_compiler.parse_version(text) == version


def test_compilers_are_those_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(tmp_path / "gcc", "echo 9.4.0")
    write_script(tmp_path / "clang", "echo 'clang: no input files' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [(one.name, one.version) for one in host_compiler.probe(RealHost(), timeout=5).value or ()] == [
        ("gcc", "9.4.0")
    ]
    (tmp_path / "gcc").unlink()
    assert host_compiler.probe(RealHost(), timeout=5).is_absent


def test_conda_is_known_without_starting_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting conda costs a second, and a broken one hangs: everything is in files and variables."""
    base = tmp_path / "miniconda3"
    program = write_script(base / "bin" / "conda", "touch started; sleep 60")
    (base / "conda-meta").mkdir()
    (base / "conda-meta" / "conda-23.11.0-py311h06a4308_0.json").write_text("{}")
    (base / "conda-meta" / "conda-libmamba-solver-23.12.0-pyhd3eb1b0_1.json").write_text("{}")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".condarc").write_text("channels: [defaults]\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(base / "bin"))
    monkeypatch.setenv("CONDA_PREFIX", "/envs/yolov8_env")
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "yolov8_env")
    value = conda.probe(RealHost()).value
    assert value is not None
    assert (value.program, value.version) == (str(program), "23.11.0")
    assert (value.active_prefix, value.active_name, value.channels) == ("/envs/yolov8_env", "yolov8_env", ("defaults",))
    assert value.configuration_files == (str(tmp_path / "home" / ".condarc"),)
    assert not Path("started").exists()


def test_probe_that_fails_leaves_one_fact_unknown_and_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("envfix.probes.displays.probe", fail)
    monkeypatch.setattr("envfix.probes.nvidia_driver.probe", fail)
    machine, _ = detect(RealHost(), sys.executable, with_import=False)
    assert machine.platform.value is not None
    for fact in (machine.displays, machine.driver, machine.gpus, machine.driver_layers):
        assert fact.is_unknown
        assert "ZeroDivisionError: oops" in (fact.problem or "")
