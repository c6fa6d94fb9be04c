"""kubectl against a small fake API server: Jobs on GPU nodes, the conversation with their pods, and that nothing stays."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.errors import EnvfixError
from envfix.fleet.kubernetes import parse_nodes, parse_pods
from tests.fakes.machines import MACHINES, FakeDrivers
from tests.fakes.running import Finished, cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU111, make_venv, write_torch
from tests.kubernetes_server import Cluster, FakeNode, need_kubectl, serve

Fleet = Callable[..., Finished]


@pytest.fixture
def cluster(tmp_path: Path, fake_drivers: FakeDrivers) -> Iterator[Cluster]:
    """Two GPU nodes of different drivers, one that is not ready, one whose image is missing, one without cards."""
    need_kubectl()
    site = make_venv(tmp_path / "env")
    write_torch(site, "2.0.1+cu117", "11.7", SM_OF_CU111)

    def pod(machine: str) -> dict[str, str]:
        variables = drivers_of(machine)
        return {
            **variables,
            "PATH": f"{tmp_path}/env/bin:{variables['PATH']}:/usr/bin:/bin",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        }

    def drivers_of(machine: str) -> dict[str, str]:
        return fake_drivers.environment(MACHINES[machine], tmp_path / machine)

    nodes = {
        "gpu-a": FakeNode(pod("lab-470-rtx3090")),
        "gpu-b": FakeNode(pod("workstation-550-rtx4090")),
        "gpu-c": FakeNode({}, not_ready="Kubelet stopped posting node status."),
        "gpu-d": FakeNode({}, waiting="ImagePullBackOff"),
        "hidden": FakeNode(pod("nouveau-rtx3090"), not_ready="not asked for"),
        "cpu-1": FakeNode(pod("no-driver"), cards=0),
    }
    with serve(tmp_path, nodes) as running:
        yield running


@pytest.fixture
def fleet(tmp_path: Path, cluster: Cluster) -> Fleet:
    """``envfix fleet`` with kubectl pointed at that server."""
    del cluster

    def run(*arguments: str) -> Finished:
        environment = cleaned_environment(KUBECONFIG=str(tmp_path / "config"), NO_PROXY="127.0.0.1", HOME=str(tmp_path))
        return envfix("fleet", *arguments, env=environment, timeout=90)

    return run


def test_gpu_nodes_are_asked_through_a_job_on_each(fleet: Fleet, cluster: Cluster) -> None:
    document = fleet("diagnose", "--kubernetes", "--no-import", "--json").document
    links = {group["name"]: group["links"] for group in document["groups"]}
    assert {name: (row["driver"], row["cards"], row["torch"]) for name, row in links.items()} == {
        "gpu-a": ("470.57.02", "1 x NVIDIA GeForce RTX 3090", "2.0.1+cu117"),
        "gpu-b": ("550.54.14", "1 x NVIDIA GeForce RTX 4090", "2.0.1+cu117"),
    }
    assert {row["nodes"]: row["reason"] for row in document["unreached"]} == {
        "gpu-c": "it is not ready: Kubelet stopped posting node status.",
        "hidden": "it is not ready: not asked for",
        "gpu-d": "its pod has not started: ImagePullBackOff: no such image",
    }
    assert document["origin"] == "Kubernetes"
    jobs = [job["spec"]["template"]["spec"] for job in cluster.made]
    assert [job["nodeName"] for job in jobs] == ["gpu-a", "gpu-b", "gpu-d"]
    assert {job["containers"][0]["image"] for job in jobs} == {"python:3-slim"}
    assert all("resources" not in job["containers"][0] for job in jobs)
    assert cluster.jobs == {}


def test_pod_that_is_shown_no_card_of_its_node_is_a_doubt(fleet: Fleet, cluster: Cluster) -> None:
    cluster.nodes["gpu-b"].cards = 8
    document = fleet("diagnose", "--kubernetes", "-w", "gpu-b", "--no-import", "--json").document
    assert document["groups"][0]["links"]["cards"] == (
        "unknown: Kubernetes lists 8 cards, and shows 1 of them to a job that asks for none"
    )


def test_pod_that_is_shown_nothing_of_the_driver_finds_no_fault_with_the_node(fleet: Fleet, cluster: Cluster) -> None:
    """A pod that asks for no card may get neither driver files nor devices, although the card is on the bus."""
    cluster.nodes["gpu-b"] = FakeNode(cluster.nodes["hidden"].variables)
    document = fleet("diagnose", "--kubernetes", "-w", "gpu-b", "--json").document
    (group,) = document["groups"]
    problem = "Kubernetes lists 1 card, and shows none of them to a job that asks for none"
    assert (group["links"]["driver"], group["links"]["cards"]) == (f"unknown: {problem}", f"unknown: {problem}")
    assert group["verdict"] == "degraded"
    assert [finding["code"] for finding in group["findings"] if finding["severity"] != "info"] == []


def test_pods_that_use_a_card_ask_for_one(fleet: Fleet, cluster: Cluster) -> None:
    fleet("verify", "--kubernetes", "-w", "gpu-a", "--level", "cuda", "--json")
    fleet("verify", "--kubernetes", "-w", "gpu-a", "--level", "cuda", "--device", "cpu", "--json")
    containers = [job["spec"]["template"]["spec"]["containers"][0] for job in cluster.made]
    assert [row.get("resources") for row in containers] == [{"limits": {"nvidia.com/gpu": 1}}, None]


def test_named_nodes_need_no_cards(fleet: Fleet) -> None:
    document = fleet("diagnose", "--kubernetes", "-w", "cpu-1,gone", "--no-import", "--json").document
    assert [group["links"]["driver"] for group in document["groups"]] == ["none"]
    assert document["unreached"] == [{"nodes": "gone", "count": 1, "reason": "Kubernetes lists no node of that name"}]


def test_printed_manifest_is_used_where_somebody_has_applied_it(fleet: Fleet, cluster: Cluster) -> None:
    printed = fleet("diagnose", "--kubernetes", "-w", "gpu-a", "--image", "lab/torch:1", "--print")
    assert (printed.code, cluster.made) == (0, [])
    import yaml

    (job,) = yaml.safe_load(printed.stdout)["items"]
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "lab/torch:1"
    cluster.jobs[job["metadata"]["name"]] = job
    document = fleet("diagnose", "--kubernetes", "-w", "gpu-a", "--no-import", "--json").document
    assert [group["name"] for group in document["groups"]] == ["gpu-a"]
    assert cluster.made == []
    assert list(cluster.jobs) == [job["metadata"]["name"]]


def test_who_may_not_make_jobs_is_told(fleet: Fleet, cluster: Cluster) -> None:
    cluster.forbidden = True
    done = fleet("diagnose", "--kubernetes", "--no-import")
    assert done.code == 3
    assert "error: the Jobs cannot be made: kubectl: exit code 1: " in done.stderr
    assert "jobs.batch is forbidden" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "hint: `envfix fleet diagnose --kubernetes --print` writes them for somebody who may"
    )


def test_who_may_not_see_pods_is_told_before_any_is_made(fleet: Fleet, cluster: Cluster) -> None:
    cluster.hides_pods = True
    done = fleet("diagnose", "--kubernetes", "--no-import")
    assert (done.code, cluster.made) == (3, [])
    assert "error: Kubernetes does not tell its pods: kubectl: exit code 1: " in done.stderr
    assert "pods is forbidden" in done.stderr


STRANGE: list[dict[str, Any]] = [
    {"status": 3},
    {"status": {"conditions": [3]}},
    {"status": {"capacity": []}},
    {"status": {"containerStatuses": [{"state": {"waiting": 4}}]}},
    {"spec": {"nodeName": [1]}},
    {"metadata": {}},
]


@pytest.mark.parametrize("strange", STRANGE)
def test_answers_of_another_shape_are_not_readable(strange: dict[str, Any]) -> None:
    text = json.dumps({"items": [{"metadata": {"name": "a"}, **strange}]})
    for parse in (parse_nodes, parse_pods):
        with contextlib.suppress(EnvfixError):
            assert parse(text)
    with pytest.raises(EnvfixError, match="kubectl's answer is not readable"):
        (parse_pods if "spec" in strange or "containerStatuses" in str(strange) else parse_nodes)(text)


def test_cluster_that_does_not_answer_is_told(tmp_path: Path) -> None:
    need_kubectl()
    environment = cleaned_environment(KUBECONFIG=str(tmp_path / "none"), HOME=str(tmp_path))
    done = envfix("fleet", "diagnose", "--kubernetes", env=environment, timeout=60)
    assert done.code == 3
    assert "error: Kubernetes does not tell its nodes: kubectl: exit code 1: " in done.stderr
