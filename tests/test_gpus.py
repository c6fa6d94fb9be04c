"""gpus: whose memory it is on each card, which one to take, and what cannot be known."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from envfix.app.holding import judge, watch
from envfix.model.facts import Gpu, GpuProcess, Machine, Observed, Scheduler, absent, found, unknown
from envfix.model.versions import ComputeCapability
from tests.described_facts import unknown_all

GIB = 1 << 30


def card(index: int, free: float, *processes: GpuProcess, total: float = 24.0, **more: Any) -> Gpu:
    return Gpu(
        index=index,
        name="NVIDIA GeForce RTX 3090",
        uuid=f"GPU-{index}0000000-0000-0000-0000-000000000000",
        capability=ComputeCapability.parse("8.6"),
        memory_total=int(total * GIB),
        memory_free=int(free * GIB),
        processes=processes,
        **more,
    )


def held(memory: float, *, own: bool | None = False, user: str | None = "anna") -> GpuProcess:
    return GpuProcess(pid=4242, memory=int(memory * GIB), user=user, command="python train.py", own=own)


def machine(*cards: Gpu, **facts: Any) -> Machine:
    blank: Machine = unknown_all(Machine)
    return msgspec.structs.replace(blank, **{"gpus": found(cards, "NVML"), **facts})


def test_idle_card_is_the_one_to_take() -> None:
    use = judge(machine(card(0, 0.1, held(23.5)), card(1, 23.6)))
    assert use.best is not None
    assert use.best.card.index == 1
    assert use.export == (
        "CUDA_DEVICE_ORDER=PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES=GPU-10000000-0000-0000-0000-000000000000",
    )


def test_memory_is_divided_into_yours_and_others() -> None:
    (one,) = judge(machine(card(0, 4, held(12), held(7, own=True)))).cards
    assert (one.yours, one.own, one.others) == (7 * GIB, 0, 13 * GIB)


def test_no_card_is_taken_where_all_are_full() -> None:
    assert judge(machine(card(0, 0.5), card(1, 1.0))).best is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"compute_mode": "prohibited"}, "lets no program in"),
        ({"licensed": False}, "licence"),
    ],
)
def test_card_that_lets_nobody_in_is_not_usable(more: dict[str, Any], words: str) -> None:
    (one,) = judge(machine(card(0, 23, **more))).cards
    assert words in (one.obstacle or "")


def test_exclusive_card_is_usable_only_while_nobody_is_there() -> None:
    free, taken = judge(
        machine(card(0, 20, compute_mode="exclusive-process"), card(1, 20, held(3), compute_mode="exclusive-process"))
    ).cards
    assert free.obstacle is None
    assert taken.obstacle is not None


def test_hidden_card_is_not_proposed_in_a_job() -> None:
    job = found(Scheduler(kind="slurm", job="7", granted="0"), "SLURM_JOB_ID")
    use = judge(machine(card(0, 3), card(1, 23), scheduler=job, variables={"CUDA_VISIBLE_DEVICES": "0"}))
    assert use.best is not None
    assert use.best.card.index == 0
    assert use.cards[1].obstacle is not None


def test_processes_that_nobody_names_are_told() -> None:
    (note,) = judge(machine(card(0, 4))).notes
    assert "names no process" in note


@pytest.mark.parametrize(
    ("gpus", "failed"),
    [(absent("NVML"), False), (unknown("NVML", "Driver/library version mismatch"), True)],
)
def test_broken_driver_is_not_an_absent_card(gpus: Observed[tuple[Gpu, ...]], failed: bool) -> None:  # noqa: FBT001
    use = judge(machine(gpus=gpus))
    assert (use.cards, use.failed) == ((), failed)
    assert use.problem


def test_watching_asks_again_each_time() -> None:
    waited: list[float] = []
    assert len(list(itertools.islice(watch(2.0, waited.append), 3))) == 3
    assert waited == [2.0, 2.0]


def envfix(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envfix", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_shared_server_of_the_story(fake_machine: Callable[..., dict[str, str]]) -> None:
    env = fake_machine("seed-server")
    document = json.loads(envfix("gpus", "--json", env=env).stdout)
    assert document["schema"] == "envfix.gpus/1"
    first = document["gpus"][0]
    assert {
        "index",
        "uuid",
        "name",
        "compute_capability",
        "memory_total",
        "memory_free",
        "processes",
        "usable",
    } <= first.keys()
    assert first["processes"][0]["command"] == "python train.py"
    assert document["best"]["index"] == 1
    assert document["best"]["export"].startswith("CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-")
    text = envfix("gpus", env=env).stdout
    assert "GPU 0" in text
    assert f"export {document['best']['export']}" in text


def test_broken_driver_ends_with_three(fake_machine: Callable[..., dict[str, str]]) -> None:
    answer = envfix("gpus", env=fake_machine("driver-mismatch"))
    assert answer.returncode == 3
    assert "Driver/library version mismatch" in answer.stdout


def test_watching_ends_with_ctrl_c(fake_machine: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "envfix", "gpus", "--watch"]
    with subprocess.Popen(command, env=fake_machine("seed-server"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "GPU 0" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0


def test_what_no_process_holds_is_the_drivers_own_if_it_is_little() -> None:
    idle, busy = judge(machine(card(0, 23.6), card(1, 20))).cards
    assert (idle.others, idle.nameless) == (0, 0)
    assert busy.others == busy.nameless == 4 * GIB
