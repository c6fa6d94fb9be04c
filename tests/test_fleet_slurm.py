"""A real Slurm cluster of two nodes with pretended cards: what is true of each node, and what srun does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.app.fleet import collector_files
from envfix.fleet.gathering import Limits, gather
from envfix.fleet.slurm import Slurm, parse_sinfo
from envfix.host.real import RealHost
from tests.fakes.machines import FakeDrivers
from tests.fakes.running import ENVFIX, Finished, cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU111, SM_OF_CU128, make_venv
from tests.fleet_nodes import SlurmCluster, furnish, settled, slurm, wait_for

pytestmark = pytest.mark.slow
Fleet = Callable[..., Finished]


@pytest.fixture(scope="module")
def cluster(fake_drivers: FakeDrivers) -> Iterator[SlurmCluster]:
    """``gpu1`` is well but for somebody's training; on ``gpu2`` the torch has no code for the card."""
    with slurm() as running:
        furnish(running.home, "gpu1", "seed-server", fake_drivers, torch=("1.9.0+cu111", "11.1", SM_OF_CU111))
        furnish(running.home, "gpu2", "pascal-535-gtx1080ti", fake_drivers, torch=("2.8.0+cu128", "12.8", SM_OF_CU128))
        (running.home / ".bash_profile").write_text('. "$HOME/$SLURMD_NODENAME.sh"\n')
        yield running


@pytest.fixture
def fleet(cluster: SlurmCluster) -> Fleet:
    """``envfix fleet`` as a user of that cluster."""

    def run(*arguments: str, timeout: float = 60, **variables: str) -> Finished:
        environment = cleaned_environment(**cluster.environment, **variables)
        return envfix("fleet", *arguments, env=environment, timeout=timeout)

    return run


def groups(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {group["name"]: group for group in document["groups"]}


def test_nodes_are_told_as_a_log_in_there_would_find_them(fleet: Fleet, tmp_path: Path) -> None:
    """Neither this shell's environment nor the step's empty CUDA_VISIBLE_DEVICES is the node's."""
    make_venv(tmp_path / "mine")
    path = f"{tmp_path}/mine/bin:{os.environ['PATH']}"
    done = fleet("diagnose", "--slurm", "--no-import", "--json", PATH=path, VIRTUAL_ENV=str(tmp_path / "mine"))
    document = done.document
    assert (document["origin"], document["unreached"]) == ("Slurm", [])
    found = groups(document)
    links = {
        name: (group["links"]["driver"], group["links"]["cards"], group["links"]["torch"])
        for name, group in found.items()
    }
    assert links == {
        "gpu1": ("455.23.05", "2 x GeForce RTX 3090", "1.9.0+cu111"),
        "gpu2": ("535.183.01", "1 x NVIDIA GeForce GTX 1080 Ti", "2.8.0+cu128"),
    }
    assert found["gpu2"]["findings"][0]["code"] == "GPU103"
    assert "cuda_visible_devices_hides_gpu" not in json.dumps(document)
    (note,) = document["notes"]
    assert note.startswith(
        f"On gpu[1-2] a job sent from here runs {tmp_path}/mine/bin/python: srun carries this shell's PATH"
    )
    assert done.code == 1
    assert {row["link"] for row in document["differences"] if row["matters"]} >= {"cards", "torch"}


def test_cards_that_slurm_lists_and_a_job_is_not_shown_are_unknown(fleet: Fleet, cluster: SlurmCluster) -> None:
    """The driver shows one card to a job that asked for none, and Slurm knows of two."""
    profile = cluster.home / "gpu1.sh"
    text = profile.read_text()
    profile.write_text(f'{text}export FAKE_CARDS=$(echo "$FAKE_CARDS" | head -n 1)\n')
    found = groups(fleet("diagnose", "--slurm", "-w", "gpu1", "--no-import", "--json").document)
    (node,) = fleet("gpus", "--slurm", "-w", "gpu1", "--json").document["nodes"]
    profile.write_text(text)
    assert (len(node["gpus"]), node["problem"]) == (
        1,
        "Slurm lists 2 cards, and shows 1 of them to a job that asks for none",
    )
    assert found["gpu1"]["links"]["cards"] == (
        "unknown: Slurm lists 2 cards, and shows 1 of them to a job that asks for none"
    )


def test_node_that_is_down_does_not_keep_the_others(fleet: Fleet, cluster: SlurmCluster) -> None:
    cluster.told("scontrol", "update", "NodeName=gpu2", "State=DOWN", "Reason=fan is broken")
    try:
        started = time.monotonic()
        document = fleet("diagnose", "--slurm", "-p", "gpu", "-w", "gpu[1-3]", "--no-import", "--json").document
        assert time.monotonic() - started < 30
    finally:
        cluster.told("scontrol", "update", "NodeName=gpu2", "State=RESUME")
        cluster.settle()
    assert list(groups(document)) == ["gpu1"]
    assert {row["nodes"]: row["reason"] for row in document["unreached"]} == {
        "gpu2": "it is down: fan is broken",
        "gpu3": "Slurm lists no node of that name here",
    }
    assert document["origin"] == "Slurm, partition gpu"


def test_node_that_is_full_is_told_so_within_seconds(fleet: Fleet, cluster: SlurmCluster) -> None:
    cluster.told(
        "scontrol",
        "create",
        "reservation",
        "ReservationName=busy",
        "StartTime=now",
        "Duration=10",
        "Users=root",
        "Nodes=gpu2",
        "Flags=IGNORE_JOBS",
    )
    try:
        document = fleet("diagnose", "--slurm", "--no-import", "--json", timeout=90).document
    finally:
        cluster.told("scontrol", "delete", "ReservationName=busy")
        cluster.settle()
    assert list(groups(document)) == ["gpu1"]
    (lost,) = document["unreached"]
    assert (lost["nodes"], lost["reason"]) == (
        "gpu2",
        "exit code 1: srun: error: Unable to allocate resources: Requested nodes are busy",
    )


def test_what_is_saved_names_nobody_and_tells_the_same(fleet: Fleet, tmp_path: Path, cluster: SlurmCluster) -> None:
    first = fleet(
        "diagnose", "--slurm", "-p", "gpu", "--no-import", "--json", "--save", str(tmp_path / "kept")
    ).document
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["gpu1.json", "gpu2.json"]
    text = (tmp_path / "kept" / "gpu1.json").read_text()
    assert str(cluster.home) not in text
    again = fleet("diagnose", "--from", str(tmp_path / "kept"), "--json").document
    codes = [
        [(group["name"], [one["code"] for one in group["findings"]]) for group in one["groups"]]
        for one in (first, again)
    ]
    assert codes[0] == codes[1]
    assert first["unreached"] == again["unreached"]


def test_who_uses_cards_asks_for_one_and_gets_no_other(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that only looks has none, and is let see what is there; one that computes has the one it was given."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    files = collector_files(RealHost())
    for with_card, visible in ((True, "0"), (False, None)):
        engine = Slurm(RealHost(), partition="gpu", with_card=with_card)
        answers = gather(
            engine,
            ["gpu1", "gpu2"],
            lambda ask: ask(lambda host: (host.getenv("CUDA_VISIBLE_DEVICES"), host.getenv("SLURM_JOB_ID")))[0],
            files,
            Limits(seconds=30),
        )
        assert {answer.node: answer.seen for answer in answers} == dict.fromkeys(["gpu1", "gpu2"], (visible, None))


def test_partition_that_does_not_exist_is_said(fleet: Fleet) -> None:
    done = fleet("diagnose", "--slurm", "-p", "nope", "-q")
    assert (done.code, done.stderr) == (
        2,
        "error: Slurm lists no nodes in a partition nope\nhint: `sinfo` shows partitions and nodes\n",
    )


def test_interrupt_cancels_the_jobs(cluster: SlurmCluster) -> None:
    profile, mark = cluster.home / "gpu1.sh", cluster.home / "began"
    text = profile.read_text()
    profile.write_text(f"{text}touch {mark}\nsleep 602\n")
    argv = [*ENVFIX, "fleet", "diagnose", "--slurm", "-w", "gpu1", "--no-import", "--json"]
    environment = cleaned_environment(**cluster.environment)
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    wait_for("the log-in", mark.exists)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    profile.write_text(text)
    assert (process.returncode, json.loads(out)["error"]["message"]) == (130, "interrupted")
    wait_for("the end of the job", lambda: cluster.told("squeue", "-h") == "")
    assert settled("sleep 602") == []
    cluster.settle()


def test_slurm_that_is_not_there_is_said(tmp_path: Path) -> None:
    environment = cleaned_environment(PATH="/nonexistent", HOME=str(tmp_path))
    done = envfix("fleet", "diagnose", "--slurm", env=environment)
    assert (done.code, done.stderr.splitlines()[-2:]) == (
        3,
        ["error: Slurm does not tell its nodes: sinfo: program not found", "hint: try `sinfo` by itself"],
    )


def test_states_of_nodes_are_read() -> None:
    listing = parse_sinfo(
        "gpu1|idle|gpu:a100:2(S:0)|none\ngpu1|idle|gpu:a100:2(S:0)|none\ngpu2|mix-|gpu:4,license:1|none\n"
        "gpu3|down*|gpu:v100:1|Not responding\ngpu4|idle*|(null)|none\ngpu5|drain|gpu:h100:8(IDX:0-7)|kernel update\n"
        "gpu6|alloc|gpu:1g.5gb:7,gpu:a100:1|none\ngpu8|resv|gpu:a100:1,gpu:v100:2|none\n"
        "gpu7|planned|(null)|none\n-w bad|idle|(null)|none\nshort\n"
    )
    assert listing.nodes == ("gpu1", "gpu2", "gpu6", "gpu8")
    assert listing.unreached == {
        "gpu3": "it is down: Not responding",
        "gpu4": "it does not respond",
        "gpu5": "it is drained: kernel update",
        "gpu7": "its state is planned",
        "short": "its state is ",
    }
    assert {name: count for name, count in listing.cards.items() if count} == {
        "gpu1": 2,
        "gpu2": 4,
        "gpu3": 1,
        "gpu5": 8,
        "gpu8": 3,
    }
