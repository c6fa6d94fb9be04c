"""Planning with conda packages: .condarc, channels that die, solves that fail, environments that are there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from envfix.app import conda_stack
from envfix.app.conda_stack import CondaDecision, plan_conda, working_condarc
from envfix.app.planning import PlanRequest, goal
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.installer.conda import CondaInstaller
from envfix.model.facts import ChannelState, CondaSettings
from tests.conda_channel import Channels, CondaChannel
from tests.conftest import interpreter

pytest.importorskip("rattler", reason="py-rattler is not installed")

BUILD = "py3.8_cuda11.1_cudnn8.0.5_0"
Plan = Callable[..., CondaDecision]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without any conda; what rattler downloads goes there too."""
    place = tmp_path / "home"
    place.mkdir()
    for name in [name for name in os.environ if name.startswith(("CONDA", "MAMBA", "RATTLER"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / ".cache"))
    return place


@pytest.fixture
def plan(home: Path, tmp_path: Path) -> Plan:
    """Plan a new environment of Python 3.8 for driver 470 and an RTX 3090, unless said otherwise."""

    def call(
        condarc: str = "",
        *,
        installer: CondaInstaller | None = None,
        request: PlanRequest | None = None,
        **changes: object,
    ) -> CondaDecision:
        if condarc:
            (home / ".condarc").write_text(condarc)
        wanted = {
            name: changes.pop(name)
            for name in ("cuda", "cuda_exact", "torch", "packages", "indexes", "offline")
            if name in changes
        }
        defaults: dict[str, object] = {
            "target": interpreter("3.8"),
            "new_env": str(tmp_path / "env"),
            "driver": "470.57.02",
            "gpus": ("RTX 3090",),
        }
        asked = request or PlanRequest(goal=goal(**wanted), **{**defaults, **changes})  # type: ignore[arg-type]
        return plan_conda(asked, installer=installer)

    return call


def test_the_seed_case_is_planned_from_the_users_own_channel(
    yolo: CondaChannel, channels: Channels, plan: Plan, tmp_path: Path
) -> None:
    url = channels.add("pytorch", yolo)

    decision = plan(f"channels: [{url}]\n", cuda="11.1")

    found = decision.plan
    assert found.status == "ok", found.reasons
    assert found.choice is not None
    assert (found.choice.torch, found.choice.variant, found.choice.torchvision) == ("1.8.0", "cu111", "0.9.0")
    assert (found.choice.index, found.choice.index_url) == (url, url)
    assert [(pin.name, pin.specifier, pin.because) for pin in found.packages] == [
        ("python", "==3.8.20=h0_0", "the Python that was asked for"),
        ("pytorch", f"==1.8.0={BUILD}", "the build for CUDA 11.1"),
        ("torchvision", "==0.9.0=py38_cu111", "the build that goes with torch 1.8.0 (CUDA 11.1 inside)"),
        ("ultralytics", "==8.0.0=pyh0_0", "asked for"),
    ]
    assert [row.filename for row in found.downloads] == [
        "cudatoolkit-11.1.74-h0_0.tar.bz2",
        "python-3.8.20-h0_0.tar.bz2",
        f"pytorch-1.8.0-{BUILD}.tar.bz2",
        "torchvision-0.9.0-py38_cu111.tar.bz2",
        "ultralytics-8.0.0-pyh0_0.tar.bz2",
    ]
    assert found.download_bytes == sum(row.size or 0 for row in found.downloads)
    assert found.cached_bytes == 0
    assert all(row.sha256 for row in found.downloads)
    assert found.reasons[-1] == "driver 470.57.02 serves CUDA 11.1 fully"
    assert decision.prefix == str(tmp_path / "env")
    assert decision.is_new
    assert decision.condarc == ""
    assert channels.downloads() == []
    assert not (tmp_path / "env").exists()


def test_each_channel_is_asked_once_before_it_is_read(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    url = channels.add("pytorch", yolo)

    plan(f"channels: [{url}]\n")

    assert sorted(channels.asked[:2]) == ["HEAD /pytorch/linux-64/repodata.json", "HEAD /pytorch/noarch/repodata.json"]
    assert channels.asked.count("GET /pytorch/linux-64/repodata.json") == 1


def test_mirrors_of_condarc_stand_for_the_names(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    channels.add("pytorch", yolo)

    decision = plan(f"channels: [pytorch]\ncustom_channels:\n  pytorch: {channels.base}\n")

    assert decision.plan.choice is not None
    assert decision.plan.choice.index == "pytorch"
    assert decision.plan.choice.index_url == f"{channels.base}/pytorch"


def test_a_mirrored_channel_uses_the_first_address_that_answers(
    yolo: CondaChannel, channels: Channels, plan: Plan
) -> None:
    url = channels.add("second", yolo)

    decision = plan(f"channels: [lab]\nmirrored_channels:\n  lab: [{channels.base}/first, {url}, {url}/again]\n")

    assert decision.plan.choice is not None
    assert decision.plan.choice.index_url == url
    assert [source.url for source in decision.sources] == [url]


def test_a_dead_channel_is_named_with_a_condarc_that_works(
    yolo: CondaChannel, channels: Channels, plan: Plan, home: Path
) -> None:
    url, dead = channels.add("good", yolo), f"{channels.base}/dead"
    text = f"channels: [{dead}, {url}]\n"

    decision = plan(text)

    assert decision.plan.status == "ok"
    assert decision.plan.reasons[-2:] == (
        f"the channel {dead} ({dead}) is left out: there is no such channel (404)",
        (
            "a .condarc with channels that answer (envfix does not write it):\n"
            f"channels:\n  - {url}\nchannel_priority: strict"
        ),
    )
    assert decision.condarc == f"channels:\n  - {url}\nchannel_priority: strict"
    assert (home / ".condarc").read_text() == text


@pytest.mark.parametrize("fault", ["html", "damaged"])
def test_a_channel_that_answers_rubbish_is_left_out(
    yolo: CondaChannel, channels: Channels, plan: Plan, fault: str
) -> None:
    good, bad = channels.add("good", yolo), channels.add("bad", yolo)
    channels.faults["/bad/"] = fault

    decision = plan(f"channels: [{bad}, {good}]\n")

    assert decision.plan.status == "ok"
    assert decision.plan.reasons[-2].startswith(
        f"the channel {bad} ({bad}) is left out: what it answers is no list of packages (a login page, or damaged): "
    )


def test_a_slow_channel_is_given_up_and_told(yolo: CondaChannel, channels: Channels, plan: Plan, home: Path) -> None:
    good, slow = channels.add("good", yolo), channels.add("slow", yolo)
    channels.faults["/slow/linux-64/"] = "slow"
    driver = CondaInstaller(RealHost(), settings=CondaSettings(), cache_dir=str(home / "cache"), list_limit=2.0)

    decision = plan(f"channels: [{slow}, {good}]\n", installer=driver)

    assert decision.plan.status == "ok"
    assert decision.plan.reasons[-2] == (
        f"the channel {slow} ({slow}) is left out: its list of packages had not arrived after 2 s: it is too slow"
    )


def test_without_any_channel_that_answers_it_is_a_conflict(channels: Channels, plan: Plan) -> None:
    dead = f"{channels.base}/dead"

    found = plan(f"channels: [{dead}]\n").plan

    assert (found.status, found.blocked_by) == ("conflict", "index")
    assert found.reasons == (
        "no conda channel can be used",
        f"the channel {dead} ({dead}) is left out: there is no such channel (404)",
    )
    assert found.ways_out == (
        "name one that answers: --index ADDRESS",
        "install the wheels instead, which bring their own CUDA: leave out --backend conda",
    )


def test_channels_can_be_named_instead(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    url = channels.add("lab", yolo)

    decision = plan("channels: [http://127.0.0.1:9/never]\n", indexes=(url,))

    assert decision.plan.choice is not None
    assert (decision.plan.choice.index, decision.plan.choice.index_url) == ("lab", url)


def test_a_folder_can_be_a_channel(yolo: CondaChannel, plan: Plan) -> None:
    decision = plan(indexes=(str(yolo.folder),))

    assert decision.plan.choice is not None
    assert decision.plan.choice.index_url == yolo.url


def test_without_condarc_conda_forge_is_asked(
    yolo: CondaChannel, channels: Channels, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels.add("conda-forge", yolo)
    monkeypatch.setenv("CONDA_CHANNEL_ALIAS", channels.base)

    decision = plan()

    assert [source.url for source in decision.sources] == [f"{channels.base}/conda-forge"]


def test_a_driver_too_old_for_a_package_of_the_stack_is_a_conflict(
    yolo: CondaChannel, channels: Channels, plan: Plan
) -> None:
    for name in ("cudatoolkit-11.1.74-h0_0.tar.bz2", "cudatoolkit-10.2.89-h0_0.tar.bz2"):
        yolo.promise(name, constrains=["__cuda >=99"])
    url = channels.add("lab", yolo.write())

    found = plan(f"channels: [{url}]\n").plan

    assert (found.status, found.blocked_by) == ("conflict", "driver")
    assert found.reasons[0] == (
        "torch 1.8.0 (CUDA 11.1 inside): cudatoolkit 11.1.74 needs __cuda >=99, and here it is 11.4"
    )
    assert found.nearest is not None
    assert found.nearest.variant == "cu111"


def test_the_next_best_build_is_taken_where_the_best_has_no_stack(
    yolo: CondaChannel, channels: Channels, plan: Plan
) -> None:
    yolo.add(
        "pytorch",
        "1.9.0",
        "py3.8_cuda11.1_cudnn8.0.5_0",
        files={"share/torch": "new"},
        depends=["python >=3.8,<3.9.0a0", "gone ==1"],
    )
    url = channels.add("lab", yolo.write())

    found = plan(f"channels: [{url}]\n").plan

    assert found.choice is not None
    assert found.choice.torch == "1.8.0"
    text = (
        "torch 1.9.0 (CUDA 11.1 inside) is not taken: pytorch 1.9.0 needs gone ==1, for which no candidates were found"
    )
    assert text in found.reasons
    assert [(row.torch, row.because) for row in found.rejected[:1]] == [("1.9.0", "companion")]


def test_torchvision_is_of_the_same_build_as_torch(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    # A newer torchvision for the CPU that the solver alone would take.
    yolo.add(
        "torchvision", "0.9.1", "py38_cpu", files={"share/tv": ""}, depends=["python >=3.8,<3.9.0a0", "pytorch 1.8.0"]
    )
    url = channels.add("lab", yolo.write())

    decision = plan(f"channels: [{url}]\n")

    assert decision.solution is not None
    vision = decision.solution.package("torchvision")
    assert vision is not None
    assert vision.build == "py38_cu111"


def test_a_new_environment_has_its_own_pip(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    yolo.add("pip", "23.3", "pyh0_0", noarch="python", files={"site-packages/pip/__init__.py": ""})
    url = channels.add("lab", yolo.write())

    decision = plan(f"channels: [{url}]\n")

    assert decision.solution is not None
    assert decision.solution.versions["pip"] == "23.3"


def test_a_package_that_no_channel_holds_is_named(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    url = channels.add("lab", yolo)

    found = plan(f"channels: [{url}]\n", packages=("no-such-thing",)).plan

    assert (found.status, found.blocked_by) == ("conflict", "companion")
    assert found.reasons == (f"{url} holds no no-such-thing",)
    assert found.ways_out[1] == (
        "without it: --with none, and later `pip install no-such-thing` with the environment's own pip"
    )


def test_a_card_never_gets_a_cpu_build(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    for name in [name for name in yolo.rows["linux-64"] if "cuda" in name]:
        del yolo.rows["linux-64"][name]
    url = channels.add("lab", yolo.write())

    found = plan(f"channels: [{url}]\n").plan

    assert (found.status, found.blocked_by) == ("conflict", "request")
    assert "to run on the CPU all the same, say so: --cuda cpu" in found.ways_out
    on_cpu = plan(cuda="cpu")
    assert on_cpu.plan.choice is not None
    assert (on_cpu.plan.choice.variant, on_cpu.plan.choice.compatibility) == ("cpu", "cpu")
    assert on_cpu.solution is not None
    assert on_cpu.solution.package("cpuonly") is not None


@pytest.mark.parametrize(
    ("condarc", "reason", "way"),
    [
        ("", "--offline forbids that", "leave out --offline"),
        (
            "offline: true\n",
            "`offline: true` in {home}/.condarc forbids that",
            "take `offline: true` out of {home}/.condarc",
        ),
    ],
)
def test_offline_is_a_conflict_that_says_why(plan: Plan, home: Path, condarc: str, reason: str, way: str) -> None:
    found = plan(condarc, offline=not condarc).plan

    assert (found.status, found.blocked_by) == ("conflict", "index")
    assert found.reasons == (f"a conda plan needs the channels' lists of packages, and {reason.format(home=home)}",)
    assert found.ways_out[0] == way.format(home=home)


def test_an_environment_that_is_not_condas_is_refused(plan: Plan) -> None:
    python = interpreter("3.8")

    with pytest.raises(UsageError) as refused:
        plan(new_env=None)

    prefix = os.path.dirname(os.path.dirname(python))
    assert refused.value.message == f"{prefix} is not a conda environment, so --backend conda cannot change it"
    assert refused.value.hint == "make one with --new-env PATH, or leave out --backend conda"


def test_a_name_for_a_new_environment_is_a_folder_of_condas(
    yolo: CondaChannel, channels: Channels, plan: Plan, home: Path
) -> None:
    url = channels.add("lab", yolo)

    assert plan(f"channels: [{url}]\n", new_env="yolo").prefix == f"{home}/.conda/envs/yolo"


def test_the_users_own_program_is_told(
    yolo: CondaChannel, channels: Channels, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin/mamba"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    url = channels.add("lab", yolo).replace("http://", "http://me:geheim@")

    found = plan(f"channels: [{url}]\n").plan

    assert found.commands == (
        (
            "mamba",
            "create",
            "-p",
            str(tmp_path / "env"),
            "--override-channels",
            "-c",
            f"{channels.base}/lab",
            "python==3.8.20=h0_0",
            f"pytorch==1.8.0={BUILD}",
            "torchvision==0.9.0=py38_cu111",
            "ultralytics==8.0.0=pyh0_0",
        ),
    )
    assert "geheim" not in repr(found)


@pytest.fixture
def conda_prefix(tmp_path: Path, yolo: CondaChannel, channels: Channels, plan: Plan) -> Path:
    """A conda environment with a Python that runs: torch for CUDA 10.2 by conda, made by the installer itself."""
    real = Path(interpreter("3.8"))
    prefix = tmp_path / "env"
    url = channels.add("lab", yolo)
    decision = plan(f"channels: [{url}]\n", gpus=("GTX 1080 Ti",), cuda="10.2")
    assert decision.solution is not None, decision.plan.reasons
    driver = CondaInstaller(RealHost(), settings=decision.settings)
    driver.install(decision.solution, str(prefix))
    # The made-up python package is a stand-in: what runs are the interpreter and the library of a real one.
    (prefix / "bin/python").unlink()
    shutil.copy2(os.path.realpath(real), prefix / "bin/python")
    (prefix / "lib/python3.8/os.py").unlink()
    for entry in (real.parent.parent / "lib/python3.8").iterdir():
        if entry.name != "site-packages":
            (prefix / "lib/python3.8" / entry.name).symlink_to(entry)
    return prefix


def test_an_existing_environment_changes_its_torch_and_keeps_its_python(conda_prefix: Path, plan: Plan) -> None:
    python = str(conda_prefix / "bin/python")

    decision = plan(target=python, new_env=None, cuda="11.1")

    found = decision.plan
    assert found.status == "ok", found.reasons
    assert (decision.prefix, decision.python, decision.is_new) == (str(conda_prefix), python, False)
    assert [(pin.name, pin.because) for pin in found.packages[:2]] == [
        ("python", "the Python of this environment"),
        ("pytorch", "the build for CUDA 11.1"),
    ]
    assert found.cached_bytes is not None
    assert found.download_bytes is not None
    assert 0 < found.cached_bytes < found.download_bytes


def test_what_pip_has_installed_there_is_told(conda_prefix: Path, plan: Plan) -> None:
    metadata = conda_prefix / "lib/python3.8/site-packages/torch-2.1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.1.2\n")
    (metadata / "INSTALLER").write_text("pip\n")
    (metadata / "RECORD").write_text("torch/__init__.py,,\n")
    python = str(conda_prefix / "bin/python")

    found = plan(target=python, new_env=None, cuda="11.1").plan

    assert found.reasons[-1] == (
        "pip has installed torch 2.1.2 there: conda's pytorch 1.8.0 is written over it; take it away first:"
        f" `{python} -m pip uninstall torch`"
    )


def test_a_working_condarc_names_other_places_that_answer() -> None:
    states = (
        ChannelState(name="pytorch", location="http://dead/pytorch", reachable=False, problem="no answer within 5 s"),
        ChannelState(name="lab", location="http://good/lab", reachable=True),
        ChannelState(name="pytorch", location="http://mirror/pytorch", reachable=True, suggested=True),
        ChannelState(name="pytorch", location="http://other/pytorch", reachable=True, suggested=True),
    )

    assert working_condarc(states) == (
        "channels:\n  - http://mirror/pytorch\n  - http://good/lab\nchannel_priority: strict"
    )
    assert working_condarc(states[:1]) == ""


def test_the_number_of_tries_is_bounded(yolo: CondaChannel, channels: Channels, plan: Plan) -> None:
    for minor in range(10, 20):
        yolo.add("pytorch", f"1.{minor}.0", BUILD, depends=["python >=3.8,<3.9.0a0", "gone ==1"])
    url = channels.add("lab", yolo.write())

    found = plan(f"channels: [{url}]\n", torch=">=1.9").plan

    assert found.status == "conflict"
    assert len([text for text in found.reasons if "needs gone ==1" in text]) == conda_stack.MOST_TRIES
    assert found.blocked_by == "companion"
