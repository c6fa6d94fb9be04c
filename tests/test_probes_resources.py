"""Memory, disks and network settings: real text, real files, and hostile ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.host.replay import ReplayHost
from envfix.model.facts import Disk, NetworkSetting, NetworkSettings
from envfix.probes import interpreter, network_settings, resources

MEMINFO = (
    "MemTotal:       24684084 kB\nMemFree:         1000000 kB\nMemAvailable:   22758400 kB\nHugePages_Total:       0\n"
)


def test_memory_is_read_in_bytes() -> None:
    memory = resources.parse_meminfo(MEMINFO)
    assert memory["MemTotal"] == 24684084 * 1024
    assert memory["MemAvailable"] == 22758400 * 1024
    assert "HugePages_Total" not in memory, "it is a number of pages, not of kB"
    assert resources.parse_meminfo("") == resources.parse_meminfo("\ufffd" * 100) == {}


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("0::/user.slice/user-1000.slice/session-2.scope\n", (None, "/user.slice/user-1000.slice/session-2.scope")),
        ("9:memory:/slurm/uid_1000/job_7\n1:name=systemd:/x\n", ("/slurm/uid_1000/job_7", None)),
        ("5:cpu,memory,pids:/docker/abc\n0::/init.scope\n", ("/docker/abc", "/init.scope")),
        ("", (None, None)),
        ("memory\n::\n", (None, None)),
    ],
)
def test_control_groups_of_both_versions(text: str, groups: tuple[str | None, str | None]) -> None:
    assert resources.parse_cgroup(text) == groups


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("8589934592\n", 8589934592),
        ("max\n", None),
        ("9223372036854771712\n", None),
        ("", None),
        ("-1\n", None),
        ("9" * 5000, None),
    ],
)
def test_limit_of_a_control_group(text: str, limit: int | None) -> None:
    assert resources.parse_limit(text) == limit


MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /tmp tmpfs rw,nosuid,nodev,noexec,size=1024k 0 0
/dev/sdb1 /home ext4 rw 0 0
nas:/x /home/my\\040folder nfs rw,noexec 0 0
"""


@pytest.mark.parametrize(
    ("path", "noexec"),
    [
        ("/tmp", True),
        ("/tmp/deep/er", True),
        ("/tmpfolder", False),
        ("/home/li", False),
        ("/home/my folder/x", True),
        ("/", False),
    ],
)
def test_options_of_the_file_system_that_holds_a_path(path: str, noexec: bool) -> None:  # noqa: FBT001
    assert ("noexec" in resources.parse_mount_options(MOUNTS, path)) is noexec


def test_hostile_mounts_tell_nothing() -> None:
    assert resources.parse_mount_options("", "/tmp") == ()
    assert resources.parse_mount_options("x\n\n/dev/sda1\n\\777 \\8 \n", "/tmp") == ()


def cluster(limits: dict[str, str]) -> ReplayHost:
    """A machine with a job's control group; ``limits`` by file."""
    files = {
        "/proc/meminfo": MEMINFO,
        "/proc/self/mounts": MOUNTS,
        "/proc/self/cgroup": "9:memory:/slurm/job_7\n",
        **limits,
    }
    asked = [f"/sys/fs/cgroup/memory{group}/memory.limit_in_bytes" for group in ("/slurm/job_7", "/slurm", "")]
    calls: list[dict[str, Any]] = [
        {
            "ask": ["read_text", path],
            "answer": {"outcome": "read", "text": files[path]} if path in files else {"outcome": "absent"},
        }
        for path in dict.fromkeys([*files, *asked])
    ]
    variables = dict.fromkeys(("TEMP", "TMP", "XDG_CACHE_HOME", "PIP_CACHE_DIR", "UV_CACHE_DIR"))
    calls += [{"ask": ["getenv", name], "answer": value} for name, value in {**variables, "TMPDIR": "/tmp"}.items()]
    calls += [{"ask": ["system_facts"], "answer": {"home": "/home/li", "system": "linux"}}]
    calls += [{"ask": ["glob", "/dev/shm"], "answer": ["/dev/shm"]}, {"ask": ["real_path", "/tmp"], "answer": "/tmp"}]
    places = ("/tmp", "/home/li/.cache/pip", "/home/li/.cache/uv", "/dev/shm")
    space = {"free": 5, "total": 10, "writable": True, "problem": None}
    return ReplayHost(calls + [{"ask": ["disk_space", path], "answer": space} for path in places])


def test_limit_of_a_job_is_the_least_above_it() -> None:
    group = "/sys/fs/cgroup/memory/slurm"
    host = cluster(
        {f"{group}/job_7/memory.limit_in_bytes": "9223372036854771712", f"{group}/memory.limit_in_bytes": "8000000000"}
    )
    value = resources.probe(host).value
    assert value is not None
    assert (value.memory_total, value.memory_limit) == (24684084 * 1024, 8_000_000_000)


def test_places_are_those_of_pip_and_uv() -> None:
    value = resources.probe(cluster({})).value
    assert value is not None
    assert [(disk.purpose, disk.path) for disk in value.disks] == [
        ("temporary files", "/tmp"),
        ("pip cache", "/home/li/.cache/pip"),
        ("uv cache", "/home/li/.cache/uv"),
        ("shared memory", "/dev/shm"),
    ]
    assert value.disks[0].problem == "programs cannot be started there (noexec)"
    assert value.disks[1].problem is None
    assert value.memory_limit is None


def test_real_machine_has_memory_and_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "not" / "yet"))
    value = resources.probe(RealHost()).value
    assert value is not None
    temporary = value.disks[0]
    assert isinstance(temporary, Disk)
    assert (temporary.path, temporary.writable) == (str(tmp_path / "not" / "yet"), True)
    assert temporary.free is not None
    assert temporary.free > 0
    if sys.platform == "linux":
        assert value.memory_total is not None
        assert value.memory_total > (value.memory_available or 0) > 0


def test_room_in_the_target_is_that_of_its_packages() -> None:
    target = interpreter.probe(RealHost(), interpreter.Target(sys.executable, "a test"), timeout=20)[0].value
    assert target is not None
    disk = resources.probe_prefix(RealHost(), target).value
    assert disk is not None
    assert (disk.purpose, disk.path) == ("prefix", target.site_packages[0])
    assert disk.free


# --- network settings ---


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any setting."""
    fetching = ("PIP_", "UV_", "CONDA", "SSL_", "XDG_", "VIRTUAL_ENV")
    exact = {"HTTP_TIMEOUT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    for name in list(os.environ):
        if name.startswith(fetching) or name in exact or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    return tmp_path


def settings() -> NetworkSettings:
    value = network_settings.probe(RealHost()).value
    assert value is not None
    # What this machine's administrator has set is not the test's.
    return NetworkSettings(settings=tuple(one for one in value.settings if not one.configured_in.startswith("/etc/")))


def test_proxies_are_told_without_passwords_and_in_both_spellings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del home
    monkeypatch.setenv("https_proxy", "http://li:hunter2@proxy.example:8080")
    monkeypatch.setenv("HTTPS_PROXY", "li:hunter2@proxy.example:8080")
    monkeypatch.setenv("no_proxy", "localhost")
    value = settings()
    assert "hunter2" not in repr(value)
    assert [(each.name, each.configured_in) for each in value.of("proxy")] == [
        ("https_proxy", "environment variable https_proxy"),
        ("https_proxy", "environment variable HTTPS_PROXY"),
        ("no_proxy", "environment variable no_proxy"),
    ]
    assert value.of("proxy")[0].value == "http://proxy.example:8080"


def certificate(home: Path, monkeypatch: pytest.MonkeyPatch, text: str | None) -> NetworkSetting:
    path = home / "ca.pem"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    (each,) = settings().of("certificates")
    return each


@pytest.mark.parametrize(
    ("text", "problem"),
    [("-----BEGIN CERTIFICATE-----\n", None), (None, "there is no such file"), ("", "the file is empty")],
)
def test_certificate_file_is_looked_for(
    text: str | None, problem: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certificate(home, monkeypatch, text).problem == problem


def test_folder_of_certificates_is_no_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "ca.pem").mkdir()
    assert certificate(home, monkeypatch, None).problem is None


def test_several_folders_of_certificates_are_not_looked_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", f"{home}/a:{home}/b")
    (each,) = settings().of("certificates")
    assert each.problem is None


def test_files_of_pip_uv_and_conda_are_read(home: Path) -> None:
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "uv").mkdir()
    pip = home / ".config" / "pip" / "pip.conf"
    pip.write_text("[global]\nproxy = http://li:hunter2@a.example:1\ncert = ~/gone.pem\ntimeout = 2\ntarget = ~/more\n")
    (home / ".config" / "uv" / "uv.toml").write_text('index-strategy = "unsafe-best-match"\n')
    (home / ".condarc").write_text(
        "ssl_verify: /etc/gone.pem\nproxy_servers: {https: 'http://li:hunter2@b.example:2'}\nremote_read_timeout_secs: 3\n"
    )
    value = settings()
    assert "hunter2" not in repr(value)
    assert [(each.tool, each.value) for each in value.of("proxy")] == [
        ("pip", "http://a.example:1"),
        ("conda", "http://b.example:2"),
    ]
    assert [(each.tool, each.name, each.problem) for each in value.of("certificates")] == [
        ("pip", "cert", "there is no such file"),
        ("conda", "ssl_verify", "there is no such file"),
    ]
    assert value.of("option", "pip", "timeout")[0].configured_in == f"{pip} [global]"
    place = value.of("option", "pip", "target")[0]
    assert (place.value, place.configured_in) == (f"{home}/more", f"{pip} [global]")
    assert value.of("option", "uv", "index-strategy")[0].value == "unsafe-best-match"
    assert value.of("option", "conda", "timeout")[0].value == "3"


@pytest.mark.parametrize("text", ["true", "false", "truststore"])
def test_words_of_ssl_verify_are_no_files(text: str, home: Path) -> None:
    (home / ".condarc").write_text(f"ssl_verify: {text}\n")
    value = settings()
    assert value.of("certificates") == ()
    assert value.of("option", "conda", "ssl_verify")[0].value == text


def test_hostile_settings_are_passed_over(home: Path) -> None:
    (home / ".condarc").write_text("[" * 5000)
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_bytes(b"\xff\xfe no section\n" * 100)
    assert settings() == NetworkSettings()
