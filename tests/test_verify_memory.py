"""The ledger of GPU memory: the parts add up, whoever tells them, and each is told in the words of nvidia-smi and torch."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from envfix.app import verifying
from envfix.errors import UsageError
from envfix.host.real import RealHost
from envfix.model.outcome import Rung, Verification
from envfix.render.console import ConsoleOutput
from envfix.verifier.ladder import verify
from tests.fakes.machines import Holder
from tests.verify_fixtures import SYSTEM_PYTHON, TARGET_SCRIPTS, system_torch

script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
accounts = script.accounts
MIB = 1 << 20
# Linear(1024, 1024): 1024 x 1024 numbers of 4 bytes, and 1024 of the bias.
LAYER = 4 * MIB + 4096
WORKSPACE = 8_519_680  # what cuBLAS takes from torch at the first matrix product

# Allocated and reserved as the rules of torch's allocator give them: 512 bytes, blocks of 2 MiB for what is below 1 MiB and of
# 20 MiB for what is below 10 MiB.
STEPS = [
    ("start", WORKSPACE, 20 * MIB),
    ("one byte", WORKSPACE + 512, 22 * MIB),
    ("one byte deleted", WORKSPACE, 22 * MIB),
    ("weights", WORKSPACE + LAYER, 22 * MIB),
    ("activations", WORKSPACE + LAYER + MIB // 2, 22 * MIB),
    ("gradients", WORKSPACE + 2 * LAYER + MIB // 2, 22 * MIB),
    ("optimizer", WORKSPACE + 4 * LAYER + MIB // 2, 42 * MIB),
    ("deleted", WORKSPACE, 42 * MIB),
    ("emptied", WORKSPACE, 20 * MIB),
]
ALLOCATED = WORKSPACE + 4 * LAYER + MIB // 2
HELD = 575 * MIB


def card(index: int, free: int, *, driver: int | None = 600, processes: dict[int, int | None] | None = None) -> Any:
    told = {"index": index, "name": "NVIDIA H100", "total": 81559 * MIB, "free": free * MIB}
    own = None if driver is None else driver * MIB
    return {**told, "driver": own, "processes": processes or {}}


MINE: dict[int, int | None] = {os.getpid(): HELD, 77: 5 * MIB}


@pytest.mark.parametrize("driver", [600, None])
def test_the_parts_of_a_card_add_up(driver: int | None) -> None:
    ledger = accounts.card_ledger(card(0, 80_000, driver=driver, processes=MINE), HELD)
    parts = [ledger[name] for name in ("free", "driver", "others", "this_process")]
    assert sum(part or 0 for part in parts) == ledger["total"]
    assert ledger["others"] == (81559 - 80_000 - (driver or 0)) * MIB - HELD


def test_the_parts_of_a_process_add_up() -> None:
    ledger = accounts.process_ledger(HELD, 42 * MIB, ALLOCATED)
    assert ledger["context"] + ledger["reserved"] == ledger["held"] == HELD
    assert ledger["allocated"] + ledger["cached"] == ledger["reserved"]
    assert ledger["context"] == 533 * MIB
    unknown = accounts.process_ledger(None, 42 * MIB, ALLOCATED)
    assert (unknown["context"], unknown["cached"]) == (None, 42 * MIB - ALLOCATED)


def test_what_each_step_added() -> None:
    added = accounts.growth(STEPS)
    assert added["one byte"] == {"allocated": 512, "reserved": 2 * MIB}
    assert added["weights"] == added["gradients"] | {"reserved": 0} == {"allocated": LAYER, "reserved": 0}
    assert added["optimizer"] == {"allocated": 2 * LAYER, "reserved": 20 * MIB}
    assert added["emptied"] == {"allocated": 0, "reserved": -22 * MIB}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([], [card(0, 1), card(1, 2, processes=MINE)], (1, HELD, "the driver's list of processes")),
        # a container: the driver counts processes by other numbers
        (
            [card(0, 900), card(1, 800)],
            [card(0, 895, processes={1: 9}), card(1, 200)],
            (1, 600 * MIB, "the growth since this process started"),
        ),
        # Windows: the process is listed, its bytes are not
        (
            [card(0, 900)],
            [card(0, 800, processes={os.getpid(): None})],
            (0, 100 * MIB, "the growth since this process started"),
        ),
        # a container in which somebody outside has this very number
        (
            [card(0, 900, processes=MINE), card(1, 800)],
            [card(0, 900, processes=MINE), card(1, 200)],
            (1, 600 * MIB, "the growth since this process started"),
        ),
        ([card(0, 900)], [card(0, 950)], (None, None, None)),
        ([], [card(0, 900)], (None, None, None)),
        ([], [], (None, None, None)),
    ],
)
def test_how_this_process_is_found(before: list[Any], after: list[Any], expected: tuple[Any, ...]) -> None:
    assert accounts.place(before, after, os.getpid()) == expected


def test_the_ledger_in_words() -> None:
    ledgers = [accounts.card_ledger(card(0, 80_000), HELD), accounts.card_ledger(card(1, 900, driver=None), 0)]
    process = accounts.process_ledger(HELD, 42 * MIB, ALLOCATED)
    assert accounts.lines(ledgers, process, STEPS, "the driver's list of processes") == [
        (
            "GPU 0 NVIDIA H100: 81559.0 MiB = 80000.0 MiB free + 600.0 MiB of the driver's own + 384.0 MiB of others"
            " + 575.0 MiB of this process"
        ),
        "GPU 1 NVIDIA H100: 81559.0 MiB = 900.0 MiB free + 80659.0 MiB of others and the driver + 0 bytes of this process",
        (
            "this process: 575.0 MiB = context 533.0 MiB + reserved 42.0 MiB; nvidia-smi shows the sum in the row of this process"
            " (here from the driver's list of processes)"
        ),
        (
            "context: 533.0 MiB for CUDA itself, its kernels and libraries; torch does not count it, and empty_cache() cannot give"
            " it back"
        ),
        "reserved: 42.0 MiB = allocated 24.6 MiB + cached 17.4 MiB; torch took it from the driver in blocks of 2 MiB and more",
        "cached: 17.4 MiB that the next tensors may take; nvidia-smi counts it as used",
        "allocated, step by step (each tensor rounded up to 512 bytes):",
        "  8.1 MiB there before: what the libraries keep, such as the workspace of cuBLAS",
        "  512 bytes for a tensor of one byte; torch reserved 2.0 MiB more for it",
        "  4.0 MiB weights, when Linear(1024, 1024) went to the card: 1024 x 1024 numbers of 4 bytes, and the bias",
        "  0.5 MiB activations, after a forward pass of 64 rows: its input and output, kept for the backward pass",
        "  4.0 MiB gradients, after the first backward pass: as large as the weights, and there until zero_grad()",
        "  8.0 MiB optimizer, state of the optimizer, after its first step: Adam keeps two numbers for each weight",
        "  16.5 MiB freed when the tensors were deleted, of which nvidia-smi sees 0 bytes: the rest is cached",
        "  22.0 MiB given back by torch.cuda.empty_cache(): only blocks in which nothing lives",
    ]


def test_a_card_in_slices_is_told_to_be_one() -> None:
    line = accounts.card_line(accounts.card_ledger({**card(0, 80_000), "mig": True}, None))
    assert line == (
        "GPU 0 NVIDIA H100 (all of it; in MIG mode programs run on a slice): 81559.0 MiB = 80000.0 MiB free + 600.0 MiB of the"
        " driver's own + 959.0 MiB used (how much of it by this process is not told)"
    )


# The rung with torch's own layers, gradients and optimizer on the CPU: what lives is counted as the GPU's allocator counts it,
# each tensor rounded up to 512 bytes. Adam's count of steps stays on the CPU in real life.
COUNT_ON_THE_CPU = f"""
import gc, json, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {TARGET_SCRIPTS!r})
import torch, types
import envfix_verify_memory as accounts


def allocated(device):
    gc.collect()
    living = [one for one in gc.get_objects() if isinstance(one, torch.Tensor)]
    living += [one.grad for one in living if one.grad is not None]
    sizes = {{one.data_ptr(): one.nelement() * one.element_size() for one in living if one.dim() and one.nelement()}}
    return sum(-(-size // 512) * 512 for size in sizes.values())


class Proxy(types.ModuleType):
    def __getattr__(self, name):
        return getattr(torch, name)


proxy = Proxy("torch")
proxy.cuda = types.SimpleNamespace(
    synchronize=lambda device: None, empty_cache=lambda: None, memory_allocated=allocated, memory_reserved=lambda device: 0
)
steps, _ = accounts.measure(proxy, torch.device("cpu"))
print(json.dumps(accounts.growth(steps)))
"""


def test_a_real_layer_takes_what_the_ledger_says() -> None:
    system_torch()
    result = RealHost().run([SYSTEM_PYTHON, "-B", "-c", COUNT_ON_THE_CPU], timeout=120)
    assert result.ok, result.stderr
    added = {name: step["allocated"] for name, step in json.loads(result.stdout).items()}
    assert added["one byte"] == 512
    assert added["one byte deleted"] == -512
    assert added["weights"] == added["gradients"] == LAYER
    assert added["activations"] == MIB // 2  # 64 rows of 1024 numbers, in and out
    assert added["optimizer"] == 2 * LAYER
    assert added["deleted"] == -(4 * LAYER + MIB // 2)


# ---------------------------------------------------------------------------------------------------------------------
# the rung on a stand-in for a GPU


class Layer:
    """Stands for a layer, its answer, and the sum of it."""

    def to(self, _device: Any) -> Layer:
        """Itself."""
        return self

    def __call__(self, _rows: Any) -> Layer:
        """Itself."""
        return self

    def parameters(self) -> list[Any]:
        """None."""
        return []

    def sum(self) -> Layer:
        """Itself."""
        return self

    def backward(self) -> None:
        """Nothing."""


def stand_in() -> Any:
    """A torch whose allocator answers as ``STEPS`` say, step by step."""
    at: list[int] = []

    def synchronize(_device: Any) -> None:
        at.append(1)

    return SimpleNamespace(
        uint8=None,
        empty=lambda *_, **__: None,
        ones=lambda *_, **__: None,
        nn=SimpleNamespace(Linear=lambda *_: Layer()),
        optim=SimpleNamespace(Adam=lambda _parameters: SimpleNamespace(step=lambda: None)),
        cuda=SimpleNamespace(
            synchronize=synchronize,
            empty_cache=lambda: None,
            memory_allocated=lambda _device: STEPS[len(at) - 1][1],
            memory_reserved=lambda _device: STEPS[len(at) - 1][2],
            mem_get_info=lambda _device: (80_000 * MIB, 81_000 * MIB),
            get_device_properties=lambda _device: SimpleNamespace(name="NVIDIA H100"),
        ),
    )


def gpu_ladder() -> Any:
    return SimpleNamespace(on_gpu=True, torch=stand_in(), device=SimpleNamespace(index=0), cards_before=[], ledger={})


def test_the_rung_measures_with_everything_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "cards_now", lambda: [card(0, 80_000, processes=MINE), card(1, 900)])
    made = gpu_ladder()
    message, detail = accounts.check_memory(made)
    assert message == "this process holds 575.0 MiB = context 533.0 MiB + allocated 24.6 MiB + cached 17.4 MiB"
    assert detail["known_by"] == "the driver's list of processes"
    assert [one["this_process"] for one in made.ledger["cards"]] == [HELD, 0]
    assert made.ledger["process"]["allocated"] == ALLOCATED
    assert json.loads(json.dumps(made.ledger)) == made.ledger


def test_without_the_driver_s_word_torch_s_own_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "cards_now", list)
    made = gpu_ladder()
    message, _ = accounts.check_memory(made)
    assert message == "this process holds ? = context ? + allocated 24.6 MiB + cached 17.4 MiB"
    assert made.ledger["lines"][:2] == [
        "GPU 0 NVIDIA H100: 81000.0 MiB = 80000.0 MiB free + 1000.0 MiB used (how much of it by this process is not told)",
        (
            "this process: not told by the driver = context unknown + reserved 42.0 MiB; nvidia-smi shows the sum in the row of"
            " this process"
        ),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# the driver's side

ASK = f"""
import json, os, sys
sys.path.insert(0, {TARGET_SCRIPTS!r})
os.environ["FAKE_HOLDERS"] += "\\n1|%d|900|python" % os.getpid()
import envfix_verify_memory as accounts
cards = accounts.cards_now()
print(json.dumps([[card["name"], card["total"], card["free"], sorted(map(str, card["processes"]))] for card in cards]))
print(json.dumps(accounts.place([], cards, os.getpid())))
"""


def test_the_driver_tells_which_card_is_which_and_what_is_cut(fake_machine: Callable[..., dict[str, str]]) -> None:
    whole, other = fake_cards()
    env = fake_machine("workstation-550-rtx4090", cards=(whole, dataclasses.replace(other, states="mig=2")))
    program = (
        f"import sys; sys.path.insert(0, {TARGET_SCRIPTS!r}); import envfix_verify_memory as accounts;"
        " print([(card['index'], card['uuid'], card['mig']) for card in accounts.cards_now()])"
    )
    result = RealHost().run([sys.executable, "-B", "-c", program], env=env, timeout=60)
    assert result.stdout.strip() == str(
        [(0, "GPU-5eed0000-0000-4bad-9caf-0123456789ab", False), (1, "GPU-5eed0001-0000-4bad-9caf-0123456789ab", True)]
    )


@pytest.mark.parametrize("age", [2, 3, 4])
def test_a_driver_of_any_age_is_asked(fake_machine: Callable[..., dict[str, str]], age: int) -> None:
    cards = fake_cards()
    env = fake_machine(
        "workstation-550-rtx4090", cards=cards, holders=(Holder(card=0, pid=7, memory=64, name="x"),), age=age
    )
    result = RealHost().run([sys.executable, "-B", "-c", ASK], env=env, timeout=60)
    assert result.ok, result.stderr
    told, mine = map(json.loads, result.stdout.splitlines())
    assert told[0] == ["NVIDIA GeForce RTX 4090", 24564 * MIB, (24564 - 300) * MIB, ["7"]]
    assert told[1][:3] == ["NVIDIA GeForce RTX 4090", 24564 * MIB, (24564 - 1300) * MIB]
    assert mine == [1, 900 * MIB, "the driver's list of processes"]


def fake_cards() -> tuple[Any, ...]:
    from tests.fakes.machines import Card

    return tuple(
        Card(name="NVIDIA GeForce RTX 4090", capability="8.9", memory=24564, used=used, device="2684")
        for used in (300, 1300)
    )


def test_without_a_driver_there_are_no_cards(fake_machine: Callable[..., dict[str, str]]) -> None:
    env = fake_machine("no-driver")
    program = ASK.replace('os.environ["FAKE_HOLDERS"] +=', "unused =")
    result = RealHost().run([sys.executable, "-B", "-c", program], env=env, timeout=60)
    assert result.ok, result.stderr
    assert result.stdout.splitlines() == ["[]", "[null, null, null]"]


# ---------------------------------------------------------------------------------------------------------------------
# what a user sees


def test_on_the_cpu_there_is_no_gpu_memory_to_tell() -> None:
    system_torch()
    verification = verify(RealHost(), SYSTEM_PYTHON, level="cuda", device="cpu", memory=True)
    assert verification.status == "passed"
    assert (verification.rungs[-1].name, verification.rungs[-1].status) == ("memory", "skipped")
    assert verification.memory["lines"] == ["this ran on the CPU, so there is no GPU memory to tell"]


def test_the_ledger_is_printed_above_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    rung = Rung(name="memory", status="passed", seconds=0.1)
    memory = {"lines": ["cached: 1.0 MiB", "  4.0 MiB weights"]}
    told = Verification(status="passed", device="cuda:0", python="py", rungs=(rung,), memory=memory)
    ConsoleOutput(color=False, width=100).verification(told)
    assert capsys.readouterr().out.splitlines() == [
        "  cached: 1.0 MiB",
        "    4.0 MiB weights",
        "Verified on cuda:0: all rungs up to memory hold (py).",
    ]


def test_torch_of_any_age_tells_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    new = SimpleNamespace(cuda=SimpleNamespace(mem_get_info=lambda _device: (1, 2)))
    assert accounts.free_and_total(new, "cuda:0") == (1, 2)

    def tell(free: Any, total: Any, code: int = 0) -> int:
        free._obj.value, total._obj.value = 3 * MIB, 4 * MIB
        return code

    synchronized: list[Any] = []
    old = SimpleNamespace(cuda=SimpleNamespace(synchronize=synchronized.append))
    library = SimpleNamespace(cuMemGetInfo_v2=tell)
    monkeypatch.setattr(accounts.ctypes, "CDLL", lambda _name: library)
    assert accounts.free_and_total(old, "cuda:0") == (3 * MIB, 4 * MIB)
    assert synchronized == ["cuda:0"]
    library.cuMemGetInfo_v2 = lambda free, total: tell(free, total, 201)
    with pytest.raises(OSError, match=r"the driver does not tell how much memory is free \(error 201\)"):
        accounts.free_and_total(old, "cuda:0")
    del library.cuMemGetInfo_v2
    with pytest.raises(OSError, match="nobody tells how much memory is free: AttributeError"):
        accounts.free_and_total(old, "cuda:0")


def test_importing_alone_measures_no_memory() -> None:
    with pytest.raises(UsageError, match="memory is not measured at --level import") as caught:
        verifying.verify("3", level="import", memory=True)
    assert caught.value.hint == "take --level cuda or higher"


@pytest.mark.gpu
def test_the_ledger_of_a_real_gpu_adds_up() -> None:
    probe = "import torch; assert torch.cuda.is_available()"
    result = RealHost().run(["python3", "-c", probe], timeout=300)
    if not result.ok:
        pytest.skip(f"python3 on PATH has no working GPU stack: {result.failure}")
    verification = verify(RealHost(), "python3", level="cuda", gpu_expected=True, memory=True)
    assert verification.status == "passed", verification.failed
    process, steps = verification.memory["process"], verification.memory["steps"]
    assert process["allocated"] + process["cached"] == process["reserved"]
    assert steps["weights"]["allocated"] == steps["gradients"]["allocated"] == LAYER
    assert steps["optimizer"]["allocated"] >= 2 * LAYER
    assert steps["one byte"]["allocated"] == 512
    for one in verification.memory["cards"]:
        if one["this_process"]:
            assert one["others"] >= 0
            assert process["context"] > 50 * MIB
