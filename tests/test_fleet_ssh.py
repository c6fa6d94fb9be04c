"""Nodes behind real servers of ssh on loopback: what a log-in there finds, who does not answer, who is hostile."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.machines import FakeDrivers
from tests.fakes.running import ENVFIX, Finished, cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU111, SM_OF_CU128
from tests.fleet_nodes import Sshd, furnish, settled, sshd

pytestmark = pytest.mark.slow
GOOD = ("2.0.1+cu117", "11.7", SM_OF_CU111)


@pytest.fixture(scope="module")
def servers(fake_drivers: FakeDrivers) -> Iterator[Sshd]:
    """Three nodes, of which two are in the same state."""
    with sshd("node1", "node2", "node3", "node4") as running:
        for node in ("node1", "node2"):
            furnish(running.home, node, "lab-470-rtx3090", fake_drivers, torch=GOOD)
        furnish(
            running.home, "node3", "blackwell-580-rtx5090", fake_drivers, torch=("2.8.0+cu128", "12.8", SM_OF_CU128)
        )
        furnish(running.home, "node4", "no-driver", fake_drivers, torch=("2.8.0+cpu", "", ""))
        (running.home / ".bash_profile").write_text('. "$HOME/$ENVFIX_NODE.sh"\n')
        yield running


@pytest.fixture
def fleet(servers: Sshd) -> Callable[..., Finished]:
    """``envfix fleet COMMAND --ssh NODES``."""

    def run(command: str, nodes: str, *arguments: str, timeout: float = 60) -> Finished:
        ways = ("--ssh", nodes, "--ssh-config", str(servers.configuration))
        return envfix("fleet", command, *ways, *arguments, env=cleaned_environment(), timeout=timeout)

    return run


def test_nodes_of_the_same_state_are_one_group(fleet: Callable[..., Finished]) -> None:
    done = fleet("diagnose", "node[1-3],dead", "--no-import", "--json")
    document = done.document
    found = {group["name"]: group["links"] for group in document["groups"]}
    assert {name: (links["driver"], links["cards"], links["torch"]) for name, links in found.items()} == {
        "node1": ("470.57.02", "1 x NVIDIA GeForce RTX 3090", "2.0.1+cu117"),
        "node2": ("470.57.02", "1 x NVIDIA GeForce RTX 3090", "2.0.1+cu117"),
        "node3": ("580.95.05", "1 x NVIDIA GeForce RTX 5090", "2.8.0+cu128"),
    }
    (lost,) = document["unreached"]
    assert lost["nodes"] == "dead"
    assert lost["reason"].startswith("exit code 255: ssh: connect to host 127.0.0.1 port ")


def test_same_python_makes_it_one_group(fleet: Callable[..., Finished], servers: Sshd) -> None:
    """A shared home: the very same environment on each node."""
    python = f"{servers.home}/nodes/node1/env"
    document = fleet("diagnose", "node[1-2]", "--no-import", "--python", python, "--json").document
    assert [(group["name"], group["nodes"]) for group in document["groups"]] == [("node[1-2]", ["node1", "node2"])]


def test_snapshots_of_nodes_are_english_whatever_is_spoken(fleet: Callable[..., Finished], tmp_path: Path) -> None:
    done = fleet("diagnose", "node[1,4],dead", "--no-import", "--save", str(tmp_path), "--lang", "zh")
    told = "没有联系上：dead:退出码255：ssh:connecttohost127.0.0.1port"
    assert told in "".join(done.stdout.split())
    lost = json.loads((tmp_path / "dead.json").read_text(encoding="utf-8"))["reason"]
    assert lost.startswith("exit code 255: ssh: connect to host 127.0.0.1 ")
    (tmp_path / "gpu9.json").write_text("{}")
    older = fleet("diagnose", "node4", "--no-import", "--save", str(tmp_path), "--json").document["notes"]
    assert older == [f"{tmp_path} holds files of nodes that were not asked now as well: dead,gpu9,node1."]
    again = envfix("fleet", "diagnose", "--from", str(tmp_path), "--lang", "zh").stdout
    assert told.replace("没有联系上：", "") in "".join(again.split())
    for node in ("node1", "node4"):
        text = (tmp_path / f"{node}.json").read_text(encoding="utf-8")
        assert "envfix.snapshot/" in text
        assert not [letter for letter in text if "一" <= letter <= "鿿"]


def test_hostile_node_does_not_hurt_the_others(fleet: Callable[..., Finished], servers: Sshd) -> None:
    profile = servers.home / "node2.sh"
    text = profile.read_text()
    for trick, reason in (
        ("yes flood", "it sent more than 16 MB, and was left"),
        ("sleep 600", "no answer within 10 seconds"),
        ("exit 3", "exit code 3"),
        ("exec /bin/echo rubbish", "it ended before it answered: does a log-in there start another program?"),
    ):
        profile.write_text(f"{text}{trick}\n")
        started = time.monotonic()
        document = fleet("diagnose", "node[1-2]", "--no-import", "--timeout", "10", "--json").document
        assert time.monotonic() - started < 25
        assert [group["name"] for group in document["groups"]] == ["node1"]
        assert [(row["nodes"], row["reason"]) for row in document["unreached"]] == [("node2", reason)]
    profile.write_text(text)


def test_cards_of_all_nodes_now(fleet: Callable[..., Finished], servers: Sshd) -> None:
    """The freest card first; a node without cards says so."""
    profile = servers.home / "node2.sh"
    text = profile.read_text()
    full = "NVIDIA GeForce RTX 3090|8.6|24268|24000|2204|"
    holder = f"0|{os.getpid()}|23900|python train.py"
    profile.write_text(f"{text}export FAKE_CARDS={shlex.quote(full)} FAKE_HOLDERS={shlex.quote(holder)}\n")
    done = fleet("gpus", "node[1-4],dead", "--json")
    profile.write_text(text)
    document = done.document
    assert (done.code, document["schema"], document["origin"]) == (0, "envfix.fleet-gpus/1", "ssh")
    assert [node["node"] for node in document["nodes"]] == ["node3", "node1", "node2", "node4"]
    assert [node["gpus"][0]["name"] for node in document["nodes"][:3]] == [
        "NVIDIA GeForce RTX 5090",
        "NVIDIA GeForce RTX 3090",
        "NVIDIA GeForce RTX 3090",
    ]
    (holder_told,) = document["nodes"][2]["gpus"][0]["processes"]
    # Nothing is installed on a node: the kernel's own files tell whose it is.
    assert (holder_told["pid"], holder_told["user"], holder_told["own"]) == (os.getpid(), "root", True)
    assert holder_told["since"].startswith("20")
    assert document["nodes"][3] == {
        "node": "node4",
        "problem": "there is no NVIDIA card and no NVIDIA driver",
        "gpus": [],
    }
    assert [row["nodes"] for row in document["unreached"]] == ["dead"]
    assert (document["best"]["node"], document["best"]["index"]) == ("node3", 0)
    shown = fleet("gpus", "node[3-4]").stdout
    assert "\nnode3  1 x NVIDIA GeForce RTX 5090\n   0 [" in shown
    assert "node4\n  there is no NVIDIA card and no NVIDIA driver\n" in shown
    assert shown.endswith("Freest: GPU 0 of node3, 31.5 of 31.8 GiB free.\n")


def test_ladder_is_climbed_on_every_node(fleet: Callable[..., Finished], servers: Sshd) -> None:
    """The system's own torch is a real one: it holds on the node without cards, and finds no driver where one pretends."""
    if subprocess.run(
        ["/usr/bin/python3", "-c", "import torch, torchvision"], check=False, capture_output=True
    ).returncode:
        pytest.skip("the system's Python has no torch (python3-torch, python3-torchvision)")
    done = fleet("verify", "node3,node4", "--level", "cuda", "--python", "/usr/bin/python3", "--json", timeout=300)
    document = done.document
    assert (done.code, document["schema"]) == (4, "envfix.fleet-verify/1")
    node3, node4 = document["nodes"]
    climbed = [(rung["name"], rung["status"]) for rung in node4["verification"]["rungs"]]
    assert [name for name, status in climbed if status == "passed"] == [
        "interpreter",
        "import",
        "versions",
        "matmul",
        "conv",
        "nms",
    ]
    assert [name for name, status in climbed if status == "skipped"] == ["driver", "allocate"]
    assert node4["verification"]["device"] == "cpu"
    failed = next(rung for rung in node3["verification"]["rungs"] if rung["status"] == "failed")
    assert (failed["name"], failed["cause"]) == ("driver", "cpu_only_build_installed")
    assert list((servers.home / "temporary").iterdir()) == []
    (failure,) = document["failures"]
    assert (failure["nodes"], failure["rung"], failure["cause"]) == ("node3", "driver", "cpu_only_build_installed")
    (remedy,) = failure["remedies"]
    assert remedy["commands"] == [["envfix", "install", "--new-env", "yolo-env", "--python", "/usr/bin/python3"]]
    shown = fleet("verify", "node4,dead", "--level", "import", "--python", "/usr/bin/python3", timeout=300)
    assert (shown.code, shown.stdout.splitlines()[0]) == (0, "✓ node4: all rungs up to versions hold on cpu")
    assert shown.stdout.endswith("Verified on 1 of 2 nodes.\n")


def test_nodes_that_fail_alike_are_told_once_with_what_to_do(fleet: Callable[..., Finished], servers: Sshd) -> None:
    """Each node as soon as it is through; then the cause and the one command, for all of them."""
    missing = fleet("verify", "node[1-2]", "--level", "import", "--python", "3.99")
    assert (missing.code, missing.stdout.splitlines()[3:]) == (
        4,
        [
            "node[1-2] (2 nodes): there is no Python (looked at: Python 3.99 on this machine)",
            "",
            "Verified on 0 of 2 nodes.",
        ],
    )
    done = fleet("verify", "node[1-2]", "--level", "import")
    lines = done.stdout.splitlines()
    assert sorted(line[:8] for line in lines if line.startswith("✗")) == ["✗ node1:", "✗ node2:"]
    assert lines[lines.index("") :] == [
        "",
        "node[1-2] (2 nodes): failed at import (local_name_shadowing)",
        "  → See what envfix finds there.",
        f"      envfix fleet diagnose --ssh 'node[1-2]' --ssh-config {servers.configuration}",
        "  envfix causes local_name_shadowing",
        "",
        "Verified on 0 of 2 nodes.",
    ]


def test_group_of_nodes_is_named_beside_others(servers: Sshd, tmp_path: Path) -> None:
    (tmp_path / "groups.conf").write_text(f"[Main]\ndefault: lab\nautodir: {tmp_path}\n")
    (tmp_path / "lab.yaml").write_text("lab:\n    gpu: node[1-2]\n")
    environment = cleaned_environment(CLUSTERSHELL_CFGDIR=str(tmp_path))
    for named, nodes in ((["node3"], ["node1", "node2", "node3"]), ([], ["node1", "node2"])):
        ways = ("--ssh", *named, "-w", "@gpu", "--ssh-config", str(servers.configuration))
        document = envfix("fleet", "gpus", *ways, "--json", env=environment).document
        assert sorted(node["node"] for node in document["nodes"]) == nodes


@pytest.mark.parametrize(
    "line",
    [
        "read answer",
        "cat",
        "export PYTHONHOME=/nowhere",
        "head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2",
    ],
)
def test_profile_neither_takes_nor_spoils_what_goes_to_the_collector(
    line: str, fleet: Callable[..., Finished], servers: Sshd
) -> None:
    profile = servers.home / "node2.sh"
    text = profile.read_text()
    profile.write_text(f"{text}{line}\n")
    document = fleet("diagnose", "node2", "--no-import", "--timeout", "20", "--json").document
    profile.write_text(text)
    assert [(group["name"], group["links"]["driver"]) for group in document["groups"]] == [("node2", "470.57.02")]


def test_nothing_is_left_on_a_node(fleet: Callable[..., Finished], servers: Sshd) -> None:
    def files() -> dict[Path, int]:
        return {path: path.lstat().st_mtime_ns for path in servers.home.rglob("*")}

    before = files()
    assert fleet("diagnose", "node[1-3]", "-q").code in (0, 1)
    assert files() == before


def test_nobody_reached_is_a_failure(fleet: Callable[..., Finished]) -> None:
    done = fleet("diagnose", "dead", "--no-import")
    assert done.code == 3
    assert "Not reached:\n  dead: exit code 255: ssh: connect to host 127.0.0.1" in done.stdout


def test_interrupt_ends_all_conversations(servers: Sshd) -> None:
    profile = servers.home / "node1.sh"
    text = profile.read_text()
    mark = servers.home / "began"
    profile.write_text(f"{text}touch {mark}\nsleep 601\n")
    argv = [*ENVFIX, "fleet", "diagnose", "--ssh", "node1", "--ssh-config", str(servers.configuration), "--json"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cleaned_environment())
    until = time.monotonic() + 30
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    profile.write_text(text)
    mark.unlink()
    assert process.returncode == 130
    assert json.loads(out)["error"]["message"] == "interrupted"
    assert settled(f"-F {servers.configuration}") == []
