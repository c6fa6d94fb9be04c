"""What the ladder does with a GPU: with a stand-in for torch everywhere, with the real thing where there is one."""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.verifier.ladder import verify

script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
CARD = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=150_000_000_000)


class Device:
    """Looks like a ``torch.device``."""

    def __init__(self, kind: str, index: int | None = None) -> None:
        self.type = kind
        self.index = index


def stand_in(*, count: int = 1, error: str | None = None, cuda: str | None = "12.6", hip: str | None = None) -> Any:
    """As much of torch as the driver rung asks; ``error`` is what the first use of CUDA says."""

    def zeros(*_size: int, device: str) -> None:
        del device
        if error:
            raise RuntimeError(error)

    return SimpleNamespace(
        version=SimpleNamespace(cuda=cuda, hip=hip),
        device=Device,
        zeros=zeros,
        backends=SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 90501)),
        cuda=SimpleNamespace(
            device_count=lambda: count,
            is_available=lambda: count > 0 and not error,
            get_device_properties=lambda _index: CARD,
            get_arch_list=lambda: ["sm_80", "sm_90"],
            mem_get_info=lambda _device: (3 << 30, 4 << 30),
            memory_allocated=lambda _device: 1,
            memory_reserved=lambda _device: 2,
            max_memory_allocated=lambda _device: 3,
            max_memory_reserved=lambda _device: 4,
        ),
    )


def ladder(torch: Any, device: str = "auto", *, gpu_expected: bool = False) -> Any:
    request = {"rungs": [], "device": device, "scratch": "/nowhere", "gpu_expected": gpu_expected}
    made = script.Ladder(request)
    made.user_visible = None
    made.torch = torch
    made.device = Device("cpu")
    script.show_one_gpu(made, {})
    return made


def test_the_card_is_described() -> None:
    made = ladder(stand_in())
    message, detail = script.check_driver(made)
    assert message == "torch sees NVIDIA H200"
    assert made.on_gpu
    assert (detail["device"], detail["capability"], detail["cudnn"]) == ("cuda:0", "9.0", 90501)
    assert detail["arch_list"] == ["sm_80", "sm_90"]


def test_a_card_keeps_the_number_its_user_knows() -> None:
    made = ladder(stand_in(), "1")
    _, detail = script.check_driver(made)
    assert detail["device"] == "cuda:1"
    assert made.device.index == 0  # the only one CUDA is shown


def test_a_number_beyond_the_visible_cards_fails() -> None:
    made = ladder(stand_in(count=2), "2")
    made.gpu_index = 2
    with pytest.raises(script.RungError, match="torch cannot use GPU 2: invalid device ordinal: torch sees 2"):
        script.check_driver(made)


@pytest.mark.parametrize(
    ("torch", "options", "outcome", "words"),
    [
        (stand_in(cuda=None), {}, "NotApplicableError", "no usable GPU: this torch is a CPU build"),
        (stand_in(cuda=None), {"gpu_expected": True}, "RungError", "NVIDIA GPU: this torch is a CPU build"),
        (stand_in(count=0, error="Found no NVIDIA driver"), {}, "NotApplicableError", "Found no NVIDIA driver"),
        (stand_in(count=0, error="Found no NVIDIA driver"), {"gpu_expected": True}, "RungError", "Found no NVIDIA"),
        (stand_in(count=0), {"device": "0"}, "RungError", r"GPU 0: torch.cuda.is_available\(\) is False"),
        (stand_in(), {"device": "cpu", "gpu_expected": True}, "NotApplicableError", "the CPU was asked for"),
        (stand_in(cuda=None, hip="6.4", count=0, error="No HIP GPUs"), {}, "NotApplicableError", "No HIP GPUs"),
    ],
)
def test_why_there_is_no_gpu(torch: Any, options: dict[str, Any], outcome: str, words: str) -> None:
    with pytest.raises(getattr(script, outcome), match=words):
        script.check_driver(ladder(torch, **options))


def test_a_warning_is_the_reason_where_nothing_is_raised() -> None:
    made = ladder(stand_in(count=0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("CUDA initialization: the NVIDIA driver on your system is too old", stacklevel=1)
    made.warnings = caught
    with pytest.raises(script.NotApplicableError, match="driver on your system is too old"):
        script.check_driver(made)


def test_memory_is_told_in_bytes() -> None:
    made = ladder(stand_in())
    script.check_driver(made)
    assert script.memory_used(made) == {
        "allocated": 1,
        "reserved": 2,
        "peak_allocated": 3,
        "peak_reserved": 4,
        "free": 3 << 30,
        "total": 4 << 30,
    }


@pytest.mark.gpu
def test_a_real_gpu_predicts() -> None:
    probe = "import torch, torchvision, ultralytics; assert torch.cuda.is_available()"
    result = RealHost().run(["python3", "-c", probe], timeout=300)
    if not result.ok:
        pytest.skip(f"python3 on PATH has no working GPU stack: {result.failure}")
    verification = verify(RealHost(), "python3", level="yolo", gpu_expected=True)
    assert verification.status == "passed", verification.failed
    assert verification.device == "cuda:0"
    assert {rung.status for rung in verification.rungs} == {"passed"}
    assert 0 < verification.rungs[-1].detail["box_difference"] < 0.1
