"""A real Ansible runs the playbook that envfix writes, against real servers of ssh on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from envfix.app import fleet_rounds
from envfix.app.fleet import FleetRequest
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.installer.uv import find_uv
from tests.fakes.machines import FakeDrivers
from tests.fakes.running import cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU111
from tests.fleet_nodes import Sshd, furnish, sshd


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``ansible-playbook`` of an environment of its own, from the default registry."""
    uv, place = find_uv(RealHost()), tmp_path_factory.mktemp("ansible")
    done = subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(place / "env")], check=False)
    if done.returncode == 0:
        python = str(place / "env" / "bin" / "python")
        done = subprocess.run([uv, "pip", "install", "-q", "--python", python, "ansible-core>=2.16"], check=False)
    if done.returncode != 0:
        pytest.skip("ansible-core cannot be installed from the default registry")
    return str(place / "env" / "bin" / "ansible-playbook")


@pytest.fixture(scope="module")
def servers(fake_drivers: FakeDrivers) -> Iterator[Sshd]:
    """Two nodes of the same driver."""
    with sshd("node1", "node2") as running:
        for node in ("node1", "node2"):
            furnish(running.home, node, "lab-470-rtx3090", fake_drivers, torch=("2.0.1+cu117", "11.7", SM_OF_CU111))
        (running.home / ".bash_profile").write_text('. "$HOME/$ENVFIX_NODE.sh"\n')
        yield running


@pytest.mark.slow
@pytest.mark.online
def test_playbook_collects_from_every_node(ansible: str, servers: Sshd, tmp_path: Path) -> None:
    book, folder = tmp_path / "collect.yml", tmp_path / "nodes"
    written = envfix("fleet", "diagnose", "--ansible", str(book), "--save", str(folder), "--no-import")
    assert written.code == 0
    assert f"    envfix fleet diagnose --from {folder}\n" in written.stdout
    common = f"ansible_ssh_common_args='-F {servers.configuration}' ansible_python_interpreter=/usr/bin/python3"
    (tmp_path / "inventory").write_text("".join(f"{node} {common}\n" for node in ("node1", "node2", "dead")))
    # Ansible wants a locale of UTF-8, and writes into a home of its own.
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [ansible, "-i", str(tmp_path / "inventory"), str(book)],
        env=cleaned_environment(
            HOME=str(tmp_path / "home"),
            LANG="C.UTF-8",
            LC_ALL="C.UTF-8",
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_SSH_ARGS="-o ControlMaster=no",
        ),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done
    assert sorted(path.name for path in folder.iterdir()) == ["dead.json", "node1.json", "node2.json"]
    document = envfix("fleet", "diagnose", "--from", str(folder), "--json").document
    found = {group["name"]: group["links"] for group in document["groups"]}
    assert {name: (links["driver"], links["torch"]) for name, links in found.items()} == {
        "node1": ("470.57.02", "2.0.1+cu117"),
        "node2": ("470.57.02", "2.0.1+cu117"),
    }
    (lost,) = document["unreached"]
    assert lost["nodes"] == "dead"
    assert "Connection refused" in lost["reason"]


def told(**result: object) -> str:
    return json.dumps(result)


def round_of(folder: Path, said: str, *, last: bool = False) -> str:
    return fleet_rounds.next_round(str(folder), "gpu1", said, FleetRequest(with_import=False), last=last)


def test_rounds_go_on_until_all_is_told(tmp_path: Path) -> None:
    """What Ansible does, without Ansible: each answer comes from a real collector."""
    boot = "import sys; del sys.path[:1]; exec(sys.stdin.readline())"
    given, rounds = round_of(tmp_path, "{}"), 0
    while given:
        rounds += 1
        assert rounds <= 12
        assert [path.name for path in tmp_path.iterdir()] == [".gpu1.asking"]
        answer = subprocess.run(
            [sys.executable, "-B", "-s", "-E", "-c", boot],
            input=given.rstrip("\n") + "\n",
            capture_output=True,
            text=True,
            check=True,
        )
        given = round_of(tmp_path, told(rc=0, stdout=answer.stdout.rstrip("\n")))
    assert rounds > 3
    assert [path.name for path in tmp_path.iterdir()] == ["gpu1.json"]
    assert json.loads((tmp_path / "gpu1.json").read_text())["schema"] == "envfix.snapshot/1"
    assert round_of(tmp_path, told(skipped=True, changed=False)) == ""
    assert round_of(tmp_path, told(skipped=True, changed=False), last=True) == ""
    assert json.loads((tmp_path / "gpu1.json").read_text())["schema"] == "envfix.snapshot/1"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (told(unreachable=True, msg="Failed to connect:\nConnection refused"), "Connection refused"),
        (
            told(rc=127, stdout="", stderr="there is no Python on this node"),
            "exit code 127: there is no Python on this node",
        ),
        (told(rc=0, stdout="rubbish"), "its answer is damaged"),
        (told(rc=0, stdout="x" * 16_000_001), "it sent more than 16 MB, and was left"),
        (told(failed=True, msg="no interpreter"), "no interpreter"),
    ],
)
def test_node_that_tells_nothing_has_its_reason_in_the_folder(said: str, reason: str, tmp_path: Path) -> None:
    assert round_of(tmp_path, "{}")
    assert round_of(tmp_path, said) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["gpu1.json"]
    done = envfix("fleet", "diagnose", "--from", str(tmp_path), "--json")
    assert (done.code, done.document["unreached"]) == (3, [{"nodes": "gpu1", "count": 1, "reason": reason}])


def test_who_has_not_told_all_after_the_last_round_is_not_reached(tmp_path: Path) -> None:
    assert round_of(tmp_path, "", last=True) == ""
    assert json.loads((tmp_path / "gpu1.json").read_text()) == {
        "schema": "envfix.unreached/1",
        "reason": "it had not told everything after the last round",
    }


@pytest.mark.parametrize("name", ["../x", "-n", "a/b", ""])
def test_names_do_not_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the name of a node"):
        fleet_rounds.next_round(str(tmp_path), name, "{}", FleetRequest(), last=False)
    assert os.listdir(tmp_path) == []


def test_other_ways_do_not_go_with_a_playbook(tmp_path: Path) -> None:
    done = envfix("fleet", "diagnose", "--ansible", str(tmp_path / "p.yml"), "--slurm")
    assert (done.code, done.stderr.splitlines()[0]) == (
        2,
        "error: --ansible writes a playbook, whose inventory names the nodes",
    )
