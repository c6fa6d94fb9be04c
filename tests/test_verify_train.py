"""Training on the ladder: an environment may predict and still not train, and this rung says which it is."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.model.outcome import Rung, Verification
from envfix.verifier.causes import classify
from envfix.verifier.ladder import verify
from tests.verify_fixtures import TARGET_SCRIPTS, Desk, DriverHost, environment_with_yolo, outline

script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
training = script.training

DRIVER = f"""
import sys
sys.path.insert(0, {TARGET_SCRIPTS!r})
import envfix_verify_ladder as ladder
import torch

%s
ladder.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def training_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with the system's torch, a current ultralytics and what training imports."""
    return environment_with_yolo(tmp_path_factory.mktemp("training") / "env", training=True)


def train(python: str, tmp_path: Path, damage: str = "", limits: dict[str, float] | None = None) -> Verification:
    (tmp_path / "driver.py").write_text(DRIVER % damage)
    return verify(DriverHost(tmp_path / "driver.py"), python, level="train", limits=limits or {})


def failed(verification: Verification) -> Rung:
    rung = verification.failed
    assert rung is not None
    assert rung.name == "train"
    assert outline(verification)["yolo_predict"] == "passed"
    return rung


@pytest.mark.online
@pytest.mark.slow
def test_a_healthy_environment_trains_and_leaves_nothing(
    training_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path, monkeypatch, training_python)
    verification = verify(RealHost(), training_python, level="train")
    assert verification.status == "passed", verification.failed
    rung = verification.rungs[-1]
    assert rung.name == "train"
    assert (rung.detail["pictures"], rung.detail["steps"], rung.detail["amp"]) == (16, 8, False)
    assert 0 < rung.detail["loss"] < 1000
    assert rung.detail["moved"] > rung.detail["tensors"] * 0.9 > 100
    assert rung.detail["peak_process"] > 100e6
    assert rung.message.startswith("YOLOv8n trains on cpu: 8 steps, loss ")
    assert desk.changes() == []
    assert desk.asked() == []


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message", "cause"),
    [
        pytest.param(
            "def backward(*_, **__): raise RuntimeError('GET was unable to find an engine to execute this computation')\n"
            "torch.Tensor.backward = backward",
            "training fails although predicting works: RuntimeError: GET was unable to find an engine to execute this"
            " computation",
            "cudnn_version_conflict",
            id="no-engine",
        ),
        pytest.param(
            "sys.modules['matplotlib'] = None",
            "training needs the package matplotlib, which is not installed; predicting works without it",
            None,
            id="module-missing",
        ),
        pytest.param(
            "torch.optim.SGD.step = lambda *_, **__: None",
            "training moves only 0 of 183 tensors of weights",
            None,
            id="nothing-moves",
        ),
        pytest.param(
            "take = ladder.training.Steps.take\n"
            "def taken(steps, step, optimizer, *given, **named):\n"
            "    for group in optimizer.param_groups:\n"
            "        for weight in group['params']:\n"
            "            if weight.grad is not None: weight.grad.mul_(float('nan'))\n"
            "    return take(steps, lambda *_, **__: None, optimizer, *given, **named)\n"
            "ladder.training.Steps.take = taken",
            "training computes gradients that are no numbers",
            None,
            id="not-a-number",
        ),
    ],
)
def test_training_that_fails_where_predicting_works(
    training_python: str, tmp_path: Path, damage: str, message: str, cause: str | None
) -> None:
    rung = failed(train(training_python, tmp_path, damage))
    assert (rung.message, rung.cause) == (message, cause)


@pytest.mark.online
@pytest.mark.slow
def test_training_that_hangs_is_ended_in_its_own_time(training_python: str, tmp_path: Path) -> None:
    hang = "import time\ntorch.Tensor.backward = lambda *_, **__: time.sleep(600)"
    rung = failed(train(training_python, tmp_path, hang, {"train": 6.0}))
    assert rung.message == f"no answer in 6 s; it hangs in {tmp_path / 'driver.py'}, line 8"
    assert "driver.py" in rung.detail["output"]


def test_a_library_built_beside_torch_may_lack_the_card_at_training() -> None:
    assert classify("train", "CUDA error: no kernel image is available for execution on the device", {}) == (
        "extension_missing_arch"
    )


# ---------------------------------------------------------------------------------------------------------------------
# the judgement, without torch


class Loss:
    """As much of a tensor as the judge looks at."""

    def __init__(self, value: float) -> None:
        self.value = value

    def detach(self) -> Loss:
        """Itself."""
        return self

    def sum(self) -> float:
        """Its value."""
        return self.value


def steps(count: int = 8, moved: int = 10, device: str = "cpu", *, finite: bool = True) -> Any:
    weight = SimpleNamespace(device=SimpleNamespace(type=device))
    return SimpleNamespace(count=count, finite=finite, before=[(weight, None)] * 10, changed=moved)


@pytest.mark.parametrize(
    ("seen", "loss", "words"),
    [
        (steps(0), 1.0, "training ended without a single step of the optimizer"),
        (steps(device="cuda"), 1.0, "training ran on cuda instead of cpu"),
        (steps(), float("inf"), "training computes no number for the loss: inf"),
        (steps(finite=False), 1.0, "training computes gradients that are no numbers"),
        (steps(moved=4), 1.0, "training moves only 4 of 10 tensors of weights"),
    ],
)
def test_what_the_judge_does_not_accept(seen: Any, loss: float, words: str) -> None:
    device = SimpleNamespace(device=SimpleNamespace(type="cpu"), device_name="cpu")
    with pytest.raises(script.RungError, match=words):
        training.judge(seen, SimpleNamespace(loss=Loss(loss)), device, {})
    training.judge(steps(), SimpleNamespace(loss=Loss(1.0)), device, {})


def test_the_root_of_an_error_is_told() -> None:
    error = RuntimeError("Dataset 'data.yaml' error")
    error.__cause__ = ModuleNotFoundError("No module named 'polars'", name="polars")
    assert str(training.failure(error, {})) == (
        "training needs the package polars, which is not installed; predicting works without it"
    )


def test_a_gpu_trains_with_amp_and_tells_torch_s_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = SimpleNamespace(max_memory_allocated=lambda _: 5, max_memory_reserved=lambda _: 9)
    gpu = SimpleNamespace(on_gpu=True, device="cuda:0", torch=SimpleNamespace(cuda=peaks))
    assert training.peak(gpu) == {"peak_allocated": 5, "peak_reserved": 9}
    monkeypatch.setattr(training, "known_options", set)
    wanted = training.options(gpu, "data.yaml", "/scratch")
    assert (wanted["amp"], wanted["device"], wanted["workers"], wanted["plots"]) == (True, "cuda:0", 0, False)


@pytest.mark.parametrize("place", ["cfg", "yolo/cfg", "yolo/configs"])
def test_options_that_a_release_does_not_know_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "default.yaml").write_text("# settings\ndata: null  # data set\nepochs: 100\n  nested: 1\n")
    monkeypatch.setitem(sys.modules, "ultralytics", SimpleNamespace(__file__=str(tmp_path / "__init__.py")))
    cpu = SimpleNamespace(on_gpu=False, device="cpu")
    assert training.options(cpu, "data.yaml", "/scratch") == {"data": "data.yaml", "epochs": 1}
