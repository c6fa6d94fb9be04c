"""Installing conda packages for real: made-up channels on 127.0.0.1, rattler, prefixes on this disk."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from envfix.app.lock_environment import of_conda
from envfix.errors import InstallError, UsageError
from envfix.host.real import RealHost
from envfix.installer.conda import (
    CondaInstaller,
    ProtectedPrefixError,
    Solution,
    Source,
    Unsolvable,
    Wish,
    environment_path,
    installed,
    refuse_base,
)
from envfix.installer.interface import DownloadError, PermissionsError, StalledError
from envfix.lockers.conda_explicit import CondaExplicitLocker
from envfix.model.facts import CondaSettings
from envfix.model.lock import Lock, Needs
from tests.conda_channel import Channels, CondaChannel, serve

pytest.importorskip("rattler", reason="py-rattler is not installed")

CHECKOUT = Path(__file__).resolve().parent.parent
TORCH_FILE = "pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0.tar.bz2"
SITE = "lib/python3.8/site-packages"
VIRTUAL = {"__unix": ("0", "0"), "__linux": ("5.10", "0"), "__glibc": ("2.31", "0"), "__cuda": ("11.4", "0")}


class Recorder:
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.bytes: list[tuple[int, int | None]] = []
        self.counts: list[tuple[int, int]] = []

    def stage(self, text: str) -> None:
        """Keep it."""
        self.stages.append(text)

    def progress(self, done: int, total: int | None) -> None:
        """Keep it."""
        self.bytes.append((done, total))

    def packages(self, done: int, total: int) -> None:
        """Keep it."""
        self.counts.append((done, total))

    def note(self, text: str) -> None:
        """Nothing of the kind is expected."""
        raise AssertionError(text)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., CondaInstaller]:
    """An installer with a cache of its own and no configuration of the user's."""

    def installer(reporter: Recorder | None = None, **options: object) -> CondaInstaller:
        options.setdefault("settings", CondaSettings())
        return CondaInstaller(
            RealHost(),
            reporter or Recorder(),
            cache_dir=str(tmp_path / "cache"),
            **options,  # type: ignore[arg-type]
        )

    return installer


def wish(url: str, *specs: str, prefix: Path | None = None, **virtual: tuple[str, str]) -> Wish:
    return Wish(
        specs=specs
        or (f'pytorch[version="==1.8.0",build="*cuda11.1*",channel="{url}"]', "python 3.8.*", "ultralytics"),
        sources=(Source(name="lab", url=url),),
        subdir="linux-64",
        virtual={**VIRTUAL, **virtual},
        prefix=str(prefix) if prefix else None,
    )


def solved(installer: CondaInstaller, asked: Wish) -> Solution:
    answer = installer.solve(asked)
    assert isinstance(answer, Solution), answer
    return answer


def tree(prefix: Path) -> dict[str, bytes]:
    """Every file of a prefix by its path in it."""
    return {str(path.relative_to(prefix)): path.read_bytes() for path in prefix.rglob("*") if not path.is_dir()}


def paths_that_differ(before: dict[str, bytes], after: dict[str, bytes]) -> tuple[set[str], set[str], set[str]]:
    both = before.keys() & after.keys()
    return set(before) - set(after), {path for path in both if before[path] != after[path]}, set(after) - set(before)


def test_a_new_prefix_gets_files_records_and_history(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, tmp_path: Path
) -> None:
    reporter, prefix = Recorder(), tmp_path / "env"
    installer = make(reporter)
    url = channels.add("lab", yolo)
    solution = solved(installer, wish(url))
    assert solution.versions == {
        "cudatoolkit": "11.1.74",
        "python": "3.8.20",
        "pytorch": "1.8.0",
        "torchvision": "0.9.0",
        "ultralytics": "8.0.0",
    }
    assert solution.cached_bytes == 0

    installer.fetch(solution)

    assert sorted(channels.downloads()) == sorted(one.filename for one in solution.packages)
    assert reporter.bytes[-1] == (solution.total_bytes, solution.total_bytes)
    assert reporter.counts[-1] == (5, 5)
    assert not prefix.exists()
    told = installer.changes(solution, str(prefix))
    assert (told.removed, told.overwritten, told.foreign) == ((), (), ())

    done = installer.install(solution, str(prefix), command="envfix install --backend conda")

    after = tree(prefix)
    assert set(after) == set(told.created)
    assert after[f"{SITE}/torch/__init__.py"] == b"__version__ = '1.8.0'  # py3.8_cuda11.1_cudnn8.0.5_0\n"
    assert after[f"{SITE}/ultralytics/__init__.py"] == b""
    assert "bin/yolo" in after
    assert len(channels.downloads()) == 5, "nothing is fetched twice"
    record = json.loads(after[f"conda-meta/{TORCH_FILE.removesuffix('.tar.bz2')}.json"])
    assert (record["name"], record["version"], record["build"]) == ("pytorch", "1.8.0", "py3.8_cuda11.1_cudnn8.0.5_0")
    assert record["sha256"] == solution.packages[2].sha256
    history = after["conda-meta/history"].decode().splitlines()
    assert re.fullmatch(r"==> \d{4}-\d\d-\d\d \d\d:\d\d:\d\d <==", history[0])
    assert history[1] == "# cmd: envfix install --backend conda"
    assert f"+{url}/linux-64::pytorch-1.8.0-py3.8_cuda11.1_cudnn8.0.5_0" in history
    assert history[-1] == (
        "# update specs: ['pytorch==1.8.0=py3.8_cuda11.1_cudnn8.0.5_0', 'python 3.8.*', 'ultralytics']"
    )
    assert done.installed == solution.versions
    assert (done.python, done.backend, done.made) == (f"{prefix}/bin/python", "conda", True)
    assert reporter.stages == ["downloading 5 conda packages", "installing 5 conda packages"]


def test_another_cuda_in_an_existing_prefix_changes_only_what_was_told(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path
) -> None:
    prefix, installer = tmp_path / "env", make()
    old = wish(yolo.url, "pytorch 1.8.0 *cuda10.2*", "python 3.8.*", "ultralytics")
    installer.install(solved(installer, old), str(prefix))
    (prefix / SITE / "mine").mkdir()
    (prefix / SITE / "mine/__init__.py").write_text("# installed by pip\n")
    (prefix / SITE / "torch/cuda11.1.py").write_text("# pip was here\n")
    compiled = f"{SITE}/torch/__pycache__/__init__.cpython-38.pyc"
    for path in (compiled, f"{SITE}/mine/__pycache__/__init__.cpython-38.pyc"):
        (prefix / path).parent.mkdir()
        (prefix / path).write_text("compiled")
    before = tree(prefix)
    solution = solved(installer, wish(yolo.url, prefix=prefix))
    installer.fetch(solution)
    assert tree(prefix) == before

    told = installer.changes(solution, str(prefix))
    done = installer.install(solution, str(prefix))

    removed, differing, created = paths_that_differ(before, tree(prefix))
    assert removed == set(told.removed)
    assert created == set(told.created)
    assert differing <= set(told.overwritten)
    assert set(told.overwritten) - differing <= {f"{SITE}/torchvision/__init__.py"}
    assert told.foreign == (f"{SITE}/torch/cuda11.1.py",)
    assert told.added == {}
    assert told.replaced == {
        "cudatoolkit": ("10.2.89", "11.1.74"),
        "pytorch": ("1.8.0", "1.8.0"),
        "torchvision": ("0.9.0", "0.9.0"),
    }
    assert done.replaced == {"cudatoolkit": "10.2.89", "pytorch": "1.8.0", "torchvision": "0.9.0"}
    assert tree(prefix)[f"{SITE}/mine/__init__.py"] == b"# installed by pip\n"
    assert compiled in removed
    assert f"{SITE}/mine/__pycache__/__init__.cpython-38.pyc" in tree(prefix)
    assert "conda-meta/history" in told.overwritten
    history = (prefix / "conda-meta/history").read_text()
    assert history.count("==> ") == 2
    assert f"-{yolo.url}/linux-64::pytorch-1.8.0-py3.8_cuda10.2_cudnn7.6.5_0\n" in history
    assert {row.name for row in installed(str(prefix))} == set(solution.versions)


def test_what_is_there_already_is_left_alone(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path
) -> None:
    prefix, installer = tmp_path / "env", make()
    solution = solved(installer, wish(yolo.url))
    installer.install(solution, str(prefix))
    before = {path: os.stat(prefix / path).st_ino for path in tree(prefix)}
    again = solved(installer, wish(yolo.url, prefix=prefix))

    told = installer.changes(again, str(prefix))
    installer.install(again, str(prefix))

    assert told.kept == ("conda-meta/history",)
    assert told.created == ()
    assert {path: os.stat(prefix / path).st_ino for path in tree(prefix)} == before
    assert again.cached_bytes == again.total_bytes


def test_files_that_are_gone_come_back_though_the_record_is_there(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path
) -> None:
    prefix, installer = tmp_path / "env", make()
    installer.install(solved(installer, wish(yolo.url)), str(prefix))
    (prefix / SITE / "torch/__init__.py").unlink()
    again = solved(installer, wish(yolo.url, prefix=prefix))
    before = tree(prefix)

    told = installer.changes(again, str(prefix))
    installer.install(again, str(prefix))

    assert told.mended == ("pytorch",)
    assert told.created == (f"{SITE}/torch/__init__.py",)
    removed, differing, created = paths_that_differ(before, tree(prefix))
    assert (removed, created) == (set(), {f"{SITE}/torch/__init__.py"})
    assert differing <= set(told.overwritten)


def test_other_packages_of_an_environment_stay(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path
) -> None:
    yolo.add("mytool", "2.0", "0", files={"share/mytool": "mine"}, depends=["python >=3.8"])
    yolo.write()
    prefix, installer = tmp_path / "env", make()
    before = wish(yolo.url, "pytorch 1.8.0 *cpu*", "python 3.8.*", "mytool")
    installer.install(solved(installer, before), str(prefix))
    assert "cpuonly" in {row.name for row in installed(str(prefix))}
    del yolo.rows["linux-64"]["mytool-2.0-0.tar.bz2"]  # the channel has it no more
    yolo.write()

    installer = make()

    solution = solved(installer, wish(yolo.url, prefix=prefix))

    assert solution.versions["mytool"] == "2.0"
    assert "cpuonly" not in solution.versions
    installer.fetch(solution)
    assert installer.changes(solution, str(prefix)).gone == {"cpuonly": "1.0"}
    installer.install(solution, str(prefix))
    assert tree(prefix)["share/mytool"] == b"mine"


def test_a_file_that_two_packages_bring_is_told_wherever_it_ends(
    tmp_path: Path, make: Callable[..., CondaInstaller]
) -> None:
    channel = CondaChannel(tmp_path / "channel")
    channel.add("first", "1", "0", files={"share/same": "1"})
    channel.add("second", "1", "0", files={"share/same": "2"})
    installer, prefix = make(), tmp_path / "env"
    solution = solved(installer, wish(channel.write().url, "first", "second"))
    installer.fetch(solution)

    told = installer.changes(solution, str(prefix))
    installer.install(solution, str(prefix))

    assert set(tree(prefix)) <= set(told.created)
    assert {path for path in tree(prefix) if path.startswith("__clobbers__/")}


def test_a_package_that_is_not_the_promised_one_is_refused_and_nothing_changes(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, tmp_path: Path
) -> None:
    prefix, installer = tmp_path / "env", make()
    old = wish(yolo.url, "pytorch 1.8.0 *cuda10.2*", "python 3.8.*", "ultralytics")
    installer.install(solved(installer, old), str(prefix))
    before = tree(prefix)
    true = yolo.rows["linux-64"][TORCH_FILE]["sha256"]
    yolo.promise(TORCH_FILE, sha256="0" * 64)
    url = channels.add("lab", yolo.write())
    solution = solved(installer, wish(url, prefix=prefix))

    with pytest.raises(DownloadError) as refused:
        installer.install(solution, str(prefix))

    assert refused.value.message == (
        f"{TORCH_FILE} from {url} is not the file that the channel promises: its sha256 begins with {true[:12]} instead of"
        " 000000000000; nothing was changed"
    )
    assert refused.value.hint == (
        "try again later, or take another mirror of the channel: its list of packages and its files do not agree"
    )
    assert tree(prefix) == before
    assert not [name for name in os.listdir(installer.cache_dir) if name.startswith(".pytorch")]


@pytest.mark.parametrize(("fault", "cause"), [("404", "answered with error 404"), ("503", "answered with error 503")])
def test_a_package_that_does_not_come_is_told_with_its_channel(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, tmp_path: Path, fault: str, cause: str
) -> None:
    installer = make()
    url = channels.add("lab", yolo)
    solution = solved(installer, wish(url))
    channels.faults[f"/lab/linux-64/{TORCH_FILE}"] = fault

    with pytest.raises(DownloadError) as failed:
        installer.install(solution, str(tmp_path / "env"))

    assert failed.value.message == f"{TORCH_FILE} from {url} could not be downloaded: {cause}; nothing was changed"
    assert not (tmp_path / "env").exists()


def test_a_download_that_stalls_is_ended(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, tmp_path: Path
) -> None:
    installer = make(idle_limit=1.0)
    url = channels.add("lab", yolo)
    solution = solved(installer, wish(url))
    channels.faults[f"/lab/linux-64/{TORCH_FILE}"] = "stall"

    with pytest.raises(StalledError, match=r"^nothing has arrived for 1 s \(pytorch\); nothing was changed$"):
        installer.fetch(solution)

    assert not (tmp_path / "env").exists()
    assert not [name for name in os.listdir(installer.cache_dir) if name.startswith(".pytorch")]


def test_what_arrived_before_a_failure_is_kept(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels
) -> None:
    installer = make(idle_limit=1.0)
    solution = solved(installer, wish(channels.add("lab", yolo)))
    channels.faults[f"/lab/linux-64/{TORCH_FILE}"] = "stall"
    with pytest.raises(StalledError):
        installer.fetch(solution)
    channels.faults.clear()
    channels.asked.clear()

    installer.fetch(solution)

    assert TORCH_FILE in channels.downloads()
    assert len(channels.downloads()) < len(solution.packages)


def test_ctrl_c_ends_a_download_and_leaves_nothing_half_done(
    yolo: CondaChannel, channels: Channels, tmp_path: Path
) -> None:
    url = channels.add("lab", yolo)
    channels.faults[f"/lab/linux-64/{TORCH_FILE}"] = "stall"
    cache = tmp_path / "cache"
    program = (
        "import sys\n"
        f"sys.path.insert(0, {str(CHECKOUT)!r})\n"
        "from envfix.host.real import RealHost\n"
        "from envfix.installer.conda import *\n"
        "from envfix.model.facts import CondaSettings\n"
        f"installer = CondaInstaller(RealHost(), settings=CondaSettings(), cache_dir={str(cache)!r})\n"
        f"lab = Source(name='lab', url={url!r})\n"
        "wish = Wish(specs=('pytorch * *cuda11.1*',), sources=(lab,), subdir='linux-64', virtual={})\n"
        "solution = installer.solve(wish)\n"
        "try:\n"
        f"    installer.install(solution, {str(tmp_path / 'env')!r})\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert channels.stalled.wait(20)
    running.send_signal(signal.SIGINT)
    out, problems = running.communicate(timeout=20)

    assert (out, problems, running.returncode) == ("interrupted\n", "", 0)
    assert not (tmp_path / "env").exists()
    assert not [name for name in os.listdir(cache / "pkgs") if name.startswith(".pytorch")]
    assert not [name for name in os.listdir(cache) if name.startswith(".envfix")]


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("404", r"there is no such channel \(404\)"),
        ("503", r"answers with error 503"),
        ("html", r"what it answers is no list of packages \(a login page, or damaged\): .+"),
        ("damaged", r"what it answers is no list of packages \(a login page, or damaged\): EOF while parsing .+"),
        ("slow", r"its list of packages had not arrived after 2 s: it is too slow"),
    ],
)
def test_a_channel_that_cannot_be_read_says_why_and_does_not_take_the_others_along(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, fault: str, problem: str
) -> None:
    bad = Source(name="bad", url=channels.add("bad", yolo))
    good = Source(name="good", url=channels.add("good", yolo))
    channels.faults["/bad/"] = fault
    installer = make(list_limit=2.0 if fault == "slow" else 30.0)

    first, second = installer.listings([bad, good], ["pytorch"], "linux-64")

    assert re.fullmatch(problem, first.problem or "")
    assert second.problem is None
    assert {row.build for row in second.packages} == {
        "py3.8_cpu_0",
        "py3.8_cuda10.2_cudnn7.6.5_0",
        "py3.8_cuda11.1_cudnn8.0.5_0",
    }
    assert {row.channel for row in second.packages} == {"good"}


def test_an_unsatisfiable_cuda_is_told_in_one_sentence(yolo: CondaChannel, make: Callable[..., CondaInstaller]) -> None:
    answer = make().solve(wish(yolo.url, __cuda=("10.2", "0")))

    assert isinstance(answer, Unsolvable)
    assert answer.message == "cudatoolkit 11.1.74 needs __cuda >=11, and here it is 10.2"
    assert not answer.timed_out


def test_the_explicit_list_is_what_conda_takes(yolo: CondaChannel, make: Callable[..., CondaInstaller]) -> None:
    solution = solved(make(), wish(yolo.url))
    md5 = yolo.rows["linux-64"][TORCH_FILE]["md5"]

    packages = tuple(of_conda(one, one.channel, one.address) for one in solution.packages)
    needs = Needs(python="3.8", tag="cp38", platform="linux_x86_64")
    lines = CondaExplicitLocker().lock(Lock(needs=needs, packages=packages)).splitlines()

    assert "# platform: linux-64" in lines
    assert f"{yolo.url}/linux-64/{TORCH_FILE}#{md5}" in lines[lines.index("@EXPLICIT") :]
    assert len([line for line in lines if not line.startswith("#")]) == 1 + len(solution.packages)


def test_passwords_of_channels_are_not_shown(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, tmp_path: Path
) -> None:
    url = channels.add("lab", yolo).replace("http://", "http://me:geheim@")
    installer, prefix = make(), tmp_path / "env"
    solution = solved(installer, wish(url))
    assert "geheim" not in repr([of_conda(one, one.channel, one.address) for one in solution.packages])
    assert all("geheim" not in one.address for one in solution.packages)
    channels.faults[f"/lab/linux-64/{TORCH_FILE}"] = "404"

    with pytest.raises(DownloadError) as failed:
        installer.fetch(solution)

    assert "geheim" not in failed.value.message
    channels.faults.clear()
    installer.install(solution, str(prefix))
    assert "geheim" not in (prefix / "conda-meta/history").read_text()


def test_proxies_of_condarc_are_used(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY")
    channels.add("lab", yolo)
    installer = make(settings=CondaSettings(proxies={"http": channels.base}))

    (row,) = installer.listings([Source(name="lab", url="http://channels.invalid/lab")], ["pytorch"], "linux-64")

    assert row.problem is None
    assert len(row.packages) == 3
    assert "PROXY" in channels.asked


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that only those trust who are told to, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the test needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("certificate")
    files = str(folder / "certificate.pem"), str(folder / "key.pem")
    options = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback"]
    names = [
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-out",
        files[0],
        "-keyout",
        files[1],
    ]
    subprocess.run([openssl, *options, *names], check=True, capture_output=True)
    return files


def test_certificates_of_condarc_are_trusted(
    yolo: CondaChannel,
    make: Callable[..., CondaInstaller],
    certificate: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with serve(certificate) as channels:
        source = Source(name="lab", url=channels.add("lab", yolo))
        problems = [
            make(settings=CondaSettings(ssl_verify=verify)).listings([source], ["pytorch"], "linux-64")[0].problem
            for verify in (None, certificate[0], "false")
        ]

    assert problems[0] is not None
    assert problems[0].startswith("its certificate is not trusted: ")
    assert problems[1:] == [None, None]


def test_a_solve_that_takes_too_long_is_ended(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], channels: Channels
) -> None:
    url = channels.add("lab", yolo)
    channels.faults["/lab/linux-64/repodata.json"] = "stall"

    answer = make(solve_limit=1.0).solve(wish(url))

    assert isinstance(answer, Unsolvable)
    assert answer.timed_out
    assert answer.message == "the solver had no answer after 1 s and was ended"


def test_a_folder_that_cannot_be_written_is_told(
    yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    installer, place = make(), tmp_path / "locked"
    place.mkdir()
    place.chmod(stat.S_IRUSR | stat.S_IXUSR)

    with pytest.raises(PermissionsError, match=f"^you may not write to {place}/env"):
        installer.install(solved(installer, wish(yolo.url)), str(place / "env"))


def test_a_file_in_the_way_is_told(yolo: CondaChannel, make: Callable[..., CondaInstaller], tmp_path: Path) -> None:
    installer, prefix = make(), tmp_path / "env"
    (prefix / "lib/libcudart.so.11.1.74/inside").mkdir(parents=True)

    with pytest.raises(InstallError, match=f"^the conda packages could not be put into {prefix}: failed to link"):
        installer.install(solved(installer, wish(yolo.url)), str(prefix))


def test_base_is_refused_unless_it_is_meant(tmp_path: Path) -> None:
    for name in ("conda-meta", "condabin"):
        (tmp_path / name).mkdir()

    with pytest.raises(ProtectedPrefixError) as refused:
        refuse_base(str(tmp_path))

    assert refused.value.message == f"{tmp_path} is conda's own environment (base): a broken base breaks conda itself"
    assert refused.value.hint == (
        "make an environment of your own with --new-env PATH, or add --allow-base if you mean this one"
    )
    refuse_base(str(tmp_path), allow_base=True)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/pytorch-1.8.0-0.json").write_text("{")

    with pytest.raises(
        InstallError, match=r"pytorch-1\.8\.0-0\.json is damaged, so what conda installed there cannot be told"
    ):
        installed(str(tmp_path))


def test_names_of_environments_become_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("CONDA", "MAMBA"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    host = RealHost()
    assert environment_path(host, "yolo") == f"{tmp_path}/.conda/envs/yolo"

    (tmp_path / ".condarc").write_text("envs_dirs:\n  - ~/first\n  - /opt/second\n")
    (tmp_path / "there/yolo/conda-meta").mkdir(parents=True)
    assert environment_path(host, "yolo") == f"{tmp_path}/first/yolo"

    monkeypatch.setenv("CONDA_ENVS_PATH", f"{tmp_path}/there")
    assert environment_path(host, "yolo") == f"{tmp_path}/there/yolo"
    with pytest.raises(UsageError, match="'a/b' is not a name for a conda environment"):
        environment_path(host, "a/b")


def test_work_in_another_thread_is_possible(yolo: CondaChannel, make: Callable[..., CondaInstaller]) -> None:
    found: list[Solution | Unsolvable] = []
    thread = threading.Thread(target=lambda: found.append(make().solve(wish(yolo.url))))
    thread.start()
    thread.join(20)

    assert isinstance(found[0], Solution)
