"""What the ladder does with a GPU: with a stand-in for torch everywhere, with the real thing where there is one.

Which card is taken, how much of it, and whose memory it was where it ran out is tried on pretended machines, up to where a
kernel would run.
"""

from __future__ import annotations

import importlib
import io
import json
import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from envfix import explaining
from envfix.app import holding, idle_card, installing, verifying
from envfix.app.explaining import explain_log
from envfix.errors import UsageError
from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.model.facts import Gpu, GpuActivity, MigInstance, Scheduler, absent, found
from envfix.model.finding import Remedy
from envfix.model.outcome import Rung, Verification
from envfix.model.reporter import NullReporter
from envfix.render.console import ConsoleOutput
from envfix.verifier.causes import classify
from envfix.verifier.interface import Level
from envfix.verifier.ladder import verify
from tests.test_gpus import GIB, card, held, machine
from tests.verify_fixtures import SYSTEM_PYTHON, CannedHost, climbed

script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
accounts: Any = script.accounts
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


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine that the tests run on."""
    monkeypatch.setattr(accounts, "cards_now", list)
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)


def test_the_card_is_described() -> None:
    made = ladder(stand_in())
    message, detail = script.check_driver(made)
    assert message == "torch sees NVIDIA H200 (3.0 GiB free)"
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


# ---------------------------------------------------------------------------------------------------------------------
# how much of the card is taken

TOTAL = CARD.total_memory


def told(index: int, free: float, *, name: str = "NVIDIA H200", mig: bool = False) -> dict[str, Any]:
    """A card as the driver tells it."""
    uuid = f"GPU-{index}{index}00-abcd"
    facts = {"index": index, "name": name, "uuid": uuid, "mig": mig, "driver": None, "processes": {}}
    return {**facts, "total": TOTAL, "free": int(free * GIB)}


def with_limit(torch: Any) -> list[tuple[float, Any]]:
    """What torch is told of the part that it may take."""
    limits: list[tuple[float, Any]] = []
    torch.cuda.set_per_process_memory_fraction = lambda part, device: limits.append((part, device))
    return limits


@pytest.mark.parametrize(
    ("free", "budget"),
    [(100.0, 4.0), (5.0, 3.5), (1.5, 0.7)],  # 80 % without what CUDA itself takes, and never more than 4 GiB
)
def test_no_more_than_a_part_of_what_is_free_is_taken(
    monkeypatch: pytest.MonkeyPatch, free: float, budget: float
) -> None:
    monkeypatch.setattr(accounts, "cards_now", lambda: [told(0, free)])
    torch = stand_in()
    limits = with_limit(torch)
    made = ladder(torch)
    message, detail = script.check_driver(made)
    ((part, device),) = limits
    assert part * TOTAL == pytest.approx(budget * GIB, rel=1e-6)
    assert device is made.device
    assert detail["memory_budget"] == pytest.approx(budget * GIB, abs=1)
    assert message == f"torch sees NVIDIA H200 ({free:.1f} GiB free; at most {budget:.1f} GiB of it are taken)"


def test_a_full_card_is_left_alone_before_anything_is_put_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "cards_now", lambda: [told(0, 1.4)])
    torch = stand_in()
    limits = with_limit(torch)
    torch.cuda.mem_get_info = lambda _device: pytest.fail("makes a context")
    with pytest.raises(script.RungError) as raised:
        script.check_driver(ladder(torch))
    assert str(raised.value) == (
        "GPU 0 (NVIDIA H200) has 1.4 GiB of 139.7 GiB free, and these rungs may need 1.5 GiB: it is left alone, so that nothing"
        " on it runs out of memory"
    )
    assert raised.value.detail["refused"] is True
    assert raised.value.detail["name"] == "NVIDIA H200"
    assert not limits
    assert classify("driver", raised.value.detail["error"], {}) == "oom_other_process"


def test_without_the_driver_s_word_torch_is_asked_what_is_free() -> None:
    torch = stand_in()
    torch.cuda.mem_get_info = lambda _device: (GIB, TOTAL)
    with pytest.raises(script.RungError, match=r"the card has 1\.0 GiB of 139\.7 GiB free"):
        script.check_driver(ladder(torch))


def test_where_nobody_tells_what_is_free_the_next_rung_finds_out() -> None:
    torch = stand_in()

    def full(_device: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    torch.cuda.mem_get_info = full
    message, detail = script.check_driver(ladder(torch))
    assert message == "torch sees NVIDIA H200"
    assert detail["memory_unknown"] == "RuntimeError: CUDA error: out of memory"


def test_a_slice_of_a_card_is_not_judged_by_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "cards_now", lambda: [told(0, 0.1, mig=True)])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1234")
    _, detail = script.check_driver(ladder(stand_in(), "MIG-1234"))
    assert detail["memory_free"] == 3 * GIB  # what torch says of the slice


TWO = [told(0, 100), told(1, 90)]
MIXED = [told(0, 100), told(1, 90, name="NVIDIA L4")]


@pytest.mark.parametrize(
    ("cards", "visible", "order", "index", "expected"),
    [
        (TWO, None, None, 1, 1),
        (TWO, "1", None, 0, 1),
        (TWO, "1,0", None, 1, 0),
        (TWO, "gpu-11", None, 0, 1),
        (TWO, "GPU-9", None, 0, None),
        (TWO, "GPU-", None, 0, None),  # may be both
        (TWO, "", None, 0, None),
        (TWO, "0,-1,1", None, 1, None),
        (MIXED, None, None, 0, None),  # CUDA counts from the fastest on
        (MIXED, None, "PCI_BUS_ID", 1, 1),
        (MIXED, "GPU-11", None, 0, 1),
        (TWO, "MIG-GPU-1100", None, 0, None),
        ([], None, None, 0, None),
    ],
)
def test_which_of_the_driver_s_cards_cuda_shows(
    cards: list[Any], visible: str | None, order: str | None, index: int, expected: int | None
) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": order}
    environ = {name: value for name, value in environ.items() if value is not None}
    card = accounts.shown_card(cards, environ, index)
    assert (None if card is None else card["index"]) == expected


@pytest.mark.parametrize(
    ("visible", "expected"), [(None, "cuda:1"), ("1,0", "cuda:0"), ("0", "cuda:0"), ("0,1", "cuda:1")]
)
def test_the_card_that_was_found_has_the_number_that_its_user_knows(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: str
) -> None:
    monkeypatch.setattr(accounts, "cards_now", lambda: TWO)
    request = {"rungs": [], "device": "auto:GPU-1100-abcd", "scratch": "/nowhere", "gpu_expected": True}
    made = script.Ladder(request)
    made.user_visible, made.torch, made.device = visible, stand_in(), Device("cpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1100-abcd")
    message, detail = script.check_driver(made)
    assert (detail["device"], detail["asked"], detail["card"]) == (expected, "auto", 1)
    assert message.startswith("torch sees NVIDIA H200 (GPU 1 of nvidia-smi, 90.0 GiB free")


# ---------------------------------------------------------------------------------------------------------------------
# whose memory it was

SEED = (
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity; 1.71 GiB already allocated;"
    " 13.12 MiB free; {} reserved in total by PyTorch)"
)
SENTENCES = (
    "CUDA out of memory. Tried to allocate 84.00 MiB. GPU 0 has a total capacity of 23.69 GiB of which 13.12 MiB is free. Process"
    " 2514 has 21.30 GiB memory in use. Including non-PyTorch memory, this process has 2.37 GiB memory in use. Of the allocated"
    " memory 1.71 GiB is allocated by PyTorch, and 133.12 MiB is reserved by PyTorch but unallocated."
)
WORDINGS = {
    "torch 1.0 to 1.3": SEED.replace("{} reserved in total by PyTorch", "133.12 MiB cached"),
    "torch 1.4 to 2.0": SEED.format("1.84 GiB"),
    "torch 2.1 and newer": SENTENCES,
}
TOO_BIG = (
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated; 0 bytes free;"
    " 3.42 GiB reserved in total by PyTorch)"
)
FRAGMENTED = (
    "CUDA out of memory. Tried to allocate 2.93 GiB (GPU 0; 23.80 GiB total capacity; 12.04 GiB already allocated; 2.82 GiB free;"
    " 19.69 GiB reserved in total by PyTorch)"
)
LIMITED = (
    "CUDA out of memory. Tried to allocate 600.00 MiB (GPU 0; 23.69 GiB total capacity; 400.00 MiB already allocated; {} free;"
    " {} allowed; 420.00 MiB reserved in total by PyTorch)"
)
# The names of the seed's second card, and of everything on it.
SECOND = "GPU-5eed0001-0000-4bad-9caf-0123456789ab"
USE_IT = ("export", "CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={SECOND}")


class Told:
    """What came of a verification whose ladder's words were prepared."""

    def __init__(self) -> None:
        self.rungs: list[Rung] = []
        self.notes: list[str] = []
        self.device = ""
        self.gone = False


@pytest.fixture
def seed(fake_machine: Callable[..., dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Verifies on the server of the story (its first card is full) with a ladder of prepared words."""

    def go(*pieces: str, device: str = "auto", level: Level = "cuda", **more: str) -> tuple[Verification, Told]:
        for name, value in {**fake_machine("seed-server"), **more}.items():
            monkeypatch.setenv(name, value)
        seen = Told()

        class Host(CannedHost):
            def __init__(self) -> None:
                RealHost.__init__(self)
                super().__init__(pieces)

            def stream(self, argv: Sequence[str], **options: Any) -> CommandResult:
                seen.device = json.loads(argv[-1])["device"]
                result = super().stream(argv, **options)
                seen.gone = True
                return result

        class Notes(NullReporter):
            def note(self, text: str) -> None:
                seen.notes.append(text)

        def hear(rung: Rung) -> None:
            assert rung.status == "passed" or seen.gone, "told while its process is still on the card"
            seen.rungs.append(rung)

        monkeypatch.setattr(verifying, "RealHost", Host)
        answer = verifying.verify(SYSTEM_PYTHON, level=level, device=device, reporter=Notes(), on_rung=hear)
        return answer, seen

    return go


def driver(**detail: Any) -> str:
    """The rungs up to the driver, as they pass on the seed's first card."""
    known = {"card": 0, "memory_total": 24268 << 20, "memory_free": 23 * GIB, "memory_budget": 4 * GIB, **detail}
    return climbed("interpreter", "import", "versions") + climbed("driver", detail=known)


def out_of_memory(text: str, rung: str = "matmul") -> str:
    """A rung that failed in torch's words."""
    detail = {"error": "OutOfMemoryError", "text": text}
    return climbed("allocate") + climbed(
        rung, status="failed", message=f"OutOfMemoryError: {text}"[:200], detail=detail
    )


@pytest.mark.parametrize("wording", WORDINGS)
def test_the_idlest_card_is_taken_and_an_oom_is_told_as_explain_tells_it(
    seed: Callable[..., tuple[Verification, Told]], wording: str
) -> None:
    text = WORDINGS[wording]
    verification, seen = seed(driver(), out_of_memory(text))
    assert seen.device == f"auto:{SECOND}"
    assert seen.notes == ["left alone: GPU 0: 1.3 GiB of 23.7 GiB free, somebody's python train.py holds 22.1 GiB"]
    failed = verification.failed
    assert failed is not None
    assert (failed.name, failed.cause) == ("matmul", "oom_other_process")
    log = explaining.read(io.BytesIO(text.encode()))
    explanation = explain_log(log, RealHost(), SYSTEM_PYTHON).causes[0]
    assert failed.message == f"out of the card's memory: {explanation.message}"
    assert "of GPU 0" in failed.message
    assert failed.detail["text"] == text
    known = failed.detail["explanation"]
    assert (known["cause"], known["code"], known["confidence"]) == (
        "oom_other_process",
        "MEM102",
        explanation.confidence,
    )
    # what the driver says now: who holds the card, and the line to paste
    assert "python train.py) holds 22.1 GiB" in json.dumps(known["because"])
    assert verification.remedies == explanation.remedies
    assert verification.remedies[0].commands == (USE_IT,)
    assert [rung.name for rung in seen.rungs] == [rung.name for rung in verification.rungs]
    assert seen.rungs[5] == failed


def test_an_oom_while_training_and_one_without_numbers_are_explained_too(
    seed: Callable[..., tuple[Verification, Told]],
) -> None:
    below = climbed("allocate", "matmul", "conv", "nms", "yolo_predict", "yolo_weights")
    text = "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"
    message = "training fails although predicting works: RuntimeError: CUDA error: out of memory"
    failed = climbed("train", status="failed", message=message, detail={"error": "RuntimeError", "text": text})
    verification, _ = seed(driver(), below, failed, level="train")
    assert verification.failed is not None
    assert (verification.failed.name, verification.failed.cause) == ("train", "oom_other_process")
    # no sum in the words: what the driver says of the first card proves it
    assert "holds 22.1 GiB" in json.dumps(verification.failed.detail["explanation"]["because"])
    assert verification.remedies[0].commands == (USE_IT,)


def test_a_failure_of_another_kind_stays_as_it_is(seed: Callable[..., tuple[Verification, Told]]) -> None:
    detail = {"error": "RuntimeError", "text": "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"}
    failed = climbed("allocate", status="failed", message="RuntimeError: cuDNN error", detail=detail)
    verification, seen = seed(driver(), failed)
    assert verification.failed is not None
    assert (verification.failed.message, verification.failed.cause) == ("RuntimeError: cuDNN error", None)
    assert "explanation" not in verification.failed.detail
    assert len(seen.rungs) == len(verification.rungs)


def test_the_message_names_the_card_as_nvidia_smi_does(seed: Callable[..., tuple[Verification, Told]]) -> None:
    verification, _ = seed(driver(card=1), out_of_memory(WORDINGS["torch 2.1 and newer"]))
    assert verification.failed is not None
    assert "of GPU 1" in verification.failed.message
    assert "GPU 0" not in verification.failed.message


@pytest.mark.parametrize(
    ("text", "cause", "words", "command"),
    [
        (
            TOO_BIG,
            "oom_workload_too_big",
            "The work is too big for GPU 0: 3.32 GiB in use",
            "envfix verify --device cpu",
        ),
        (FRAGMENTED, "oom_fragmentation", "The memory of GPU 0 is fragmented", "export PYTORCH_CUDA_ALLOC_CONF="),
    ],
)
def test_a_workload_too_big_and_a_fragmented_card_are_told_apart(
    seed: Callable[..., tuple[Verification, Told]], text: str, cause: str, words: str, command: str
) -> None:
    verification, _ = seed(driver(), out_of_memory(text))
    assert verification.failed is not None
    assert verification.failed.cause == cause
    assert verification.failed.message.startswith(f"out of the card's memory: {words}")
    assert " ".join(verification.remedies[0].commands[0]).startswith(command)


@pytest.mark.parametrize(
    ("free", "budget", "cause", "remedy"),
    [
        (23.0, 4.0, "oom_workload_too_big", "envfix verify --device cpu"),
        (2.0, 1.1, "oom_other_process", "envfix gpus"),
    ],
)
def test_the_ladder_s_own_limit_is_not_taken_for_the_card_s(
    seed: Callable[..., tuple[Verification, Told]], free: float, budget: float, cause: str, remedy: str
) -> None:
    text = LIMITED.format(f"{free:.2f} GiB", f"{min(budget, 0.9):.2f} GiB")
    known = {"memory_free": int(free * GIB), "memory_budget": int(budget * GIB)}
    verification, _ = seed(driver(**known), out_of_memory(text))
    assert verification.failed is not None
    assert verification.failed.cause == cause
    assert verification.failed.message == (
        f"this rung needs more than {budget:.1f} GiB, which is what the ladder takes of the card at most: {free:.1f} of 23.7 GiB"
        " were free, and others shall not run out of memory"
    )
    assert " ".join(verification.remedies[0].commands[0]) == remedy


def test_a_card_that_was_left_alone_comes_with_who_holds_it(seed: Callable[..., tuple[Verification, Told]]) -> None:
    detail = {"card": 0, "memory_total": 24268 << 20, "memory_free": 1318 << 20, "wanted": 3 << 29, "refused": True}
    words = "GPU 0 has 1.3 GiB of 23.7 GiB free: it is left alone"
    failed = climbed("driver", status="failed", message=words, detail={**detail, "error": "OutOfMemoryError"})
    verification, seen = seed(climbed("interpreter", "import", "versions"), failed, device="0")
    assert seen.device == "0"
    assert verification.failed is not None
    assert (verification.failed.message, verification.failed.cause) == (words, "oom_other_process")
    assert verification.remedies[0].commands == (USE_IT,)


NO_GPUS = "torch cannot use this machine's NVIDIA GPU: No CUDA GPUs are available"


@pytest.mark.parametrize(
    ("variables", "cause", "words", "command"),
    [
        (
            {"CUDA_VISIBLE_DEVICES": ""},
            "cuda_visible_devices_hides_gpu",
            "CUDA_VISIBLE_DEVICES is '' and hides every card",
            "unset CUDA_VISIBLE_DEVICES",
        ),
        (
            {"CUDA_VISIBLE_DEVICES": "-1"},
            "cuda_visible_devices_hides_gpu",
            "CUDA_VISIBLE_DEVICES is '-1'",
            "unset CUDA_VISIBLE_DEVICES",
        ),
        (
            {"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_ID": "7"},
            "job_without_gpu",
            "This Slurm job was given no GPU",
            "srun --gres=gpu:1 --pty bash",
        ),
    ],
)
def test_hidden_cards_are_no_reason_to_pass_on_the_cpu(
    seed: Callable[..., tuple[Verification, Told]], variables: dict[str, str], cause: str, words: str, command: str
) -> None:
    detail = {
        "visible_devices": variables["CUDA_VISIBLE_DEVICES"],
        "asked": "auto",
        "reason": "No CUDA GPUs are available",
    }
    failed = climbed("driver", status="failed", message=NO_GPUS, detail=detail)
    verification, seen = seed(climbed("interpreter", "import", "versions"), failed, **variables)
    assert seen.device == "auto"
    assert verification.status == "failed"
    assert verification.failed is not None
    assert verification.failed.cause == cause
    assert verification.failed.message.startswith(f"{NO_GPUS}. {words}")
    assert " ".join(verification.remedies[0].commands[0]) == command


def test_a_card_that_lets_nobody_in_is_named_where_torch_only_says_that_there_is_none(
    seed: Callable[..., tuple[Verification, Told]],
) -> None:
    failed = climbed("driver", status="failed", message=NO_GPUS, detail={"asked": "auto", "visible_devices": None})
    cards = "\n".join(f"NVIDIA A100|8.0|40960|600|20b0|mode={mode}" for mode in (2, 3))
    pieces = climbed("interpreter", "import", "versions"), failed
    verification, seen = seed(*pieces, FAKE_CARDS=cards, FAKE_HOLDERS="1|4194999|400|python a.py")
    assert seen.device == "auto"
    assert seen.notes == [
        "left alone: GPU 0: its compute mode lets no program in",
        "left alone: GPU 1: its compute mode lets one process in, and one is there",
    ]
    assert verification.failed is not None
    assert verification.failed.cause == "compute_mode_exclusive"
    assert verification.failed.message == (
        f"{NO_GPUS}. GPU 0, GPU 1: no further process is let in by the compute mode, however much memory is free."
    )


def test_what_to_do_is_printed_below_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    rung = Rung(
        name="train", status="failed", seconds=0.1, message="out of the card's memory", cause="oom_other_process"
    )
    remedy = Remedy(text="Use GPU 1, of which 22.9 GiB are free.", commands=(USE_IT,))
    told_so = Verification(status="failed", device="cuda:0", python="py", rungs=(rung,), remedies=(remedy,))
    ConsoleOutput(color=False, width=140).verification(told_so)
    assert capsys.readouterr().out.splitlines() == [
        "Verification failed at train: out of the card's memory",
        "  → Use GPU 1, of which 22.9 GiB are free.",
        f"      {' '.join(USE_IT)}",
        "  envfix causes oom_other_process",
    ]


# ---------------------------------------------------------------------------------------------------------------------
# which card


def choice(*cards: Gpu, **variables: str) -> idle_card.Choice:
    """What is chosen among these cards."""
    job = variables.get("SLURM_JOB_ID")
    scheduler = found(Scheduler(kind="slurm", job=job, granted=""), "SLURM_JOB_ID") if job else absent("variables")
    seen = machine(*cards, scheduler=scheduler, variables=variables)
    return idle_card.choose(seen, need=3 * GIB // 2)


def test_the_card_without_programs_is_idler_than_one_with_a_little_more_free() -> None:
    starting = card(0, 23.6, held(0.1))
    assert choice(starting, card(1, 23.2)).device == card(1, 0).uuid
    assert choice(starting, card(1, 15)).device == card(0, 0).uuid


def test_a_card_that_is_chosen_is_not_refused_by_the_ladder() -> None:
    assert verifying.LEAST_FREE == accounts.LEAST_FREE
    assert choice(card(0, 1.6), card(1, 1.4)).left == ("GPU 1: 1.4 GiB of 24.0 GiB free",)


def test_a_card_without_a_uuid_is_left_to_cuda() -> None:
    nameless = msgspec.structs.replace(card(3, 20), uuid=None)
    made = choice(nameless, CUDA_VISIBLE_DEVICES="3")
    assert (made.device, made.card) == ("auto", nameless)


def test_of_two_empty_cards_the_one_that_computes_less_is_taken() -> None:
    assert choice(card(0, 23, activity=GpuActivity(utilization=90)), card(1, 23)).device == card(1, 0).uuid


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "GPU-00000000"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0,-1,1"}, 0),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, None),
        ({"CUDA_VISIBLE_DEVICES": "MIG-1"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}, 0),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1", "SLURM_STEP_GPUS": "0"}, 0),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "2,3"}, 1),  # two of four, numbered anew for this job
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": ""}, None),
    ],
)
def test_only_cards_that_this_shell_may_use_are_taken(variables: dict[str, str], expected: int | None) -> None:
    made = choice(card(0, 20), card(1, 23.5), **variables)
    assert made.device == ("auto" if expected is None else card(expected, 0).uuid)
    assert made.left == ()


def test_numbers_of_unlike_cards_are_left_to_cuda_unless_an_order_is_set() -> None:
    cards = card(0, 20), msgspec.structs.replace(card(1, 23), name="NVIDIA L4")
    assert choice(*cards, CUDA_VISIBLE_DEVICES="0").device == "auto"
    assert choice(*cards, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID").device == cards[0].uuid
    assert choice(*cards).device == cards[1].uuid


def test_why_cards_are_left_alone_is_told() -> None:
    taken = card(1, 23, held(1), compute_mode="exclusive-process")
    made = choice(
        card(0, 0.5, held(22)), taken, card(2, 23, compute_mode="prohibited"), card(3, 23, mig=True), card(4, 9)
    )
    assert made.device == card(4, 0).uuid
    assert made.left == (
        "GPU 0: 0.5 GiB of 24.0 GiB free, anna's python train.py holds 22.0 GiB",
        "GPU 1: its compute mode lets one process in, and one is there",
        "GPU 2: its compute mode lets no program in",
        "GPU 3: it is in MIG mode, and has no instance to use",
    )


def test_where_all_are_full_the_emptiest_is_named_and_told_to_be_full() -> None:
    made = choice(card(0, 0.5), card(1, 1.0, held(22, own=True)))
    assert (made.device, made.full) == (card(1, 0).uuid, True)
    assert made.left[1] == "GPU 1: 1.0 GiB of 24.0 GiB free, your own python train.py holds 22.0 GiB"


SLICES = tuple(
    MigInstance(uuid=f"MIG-{free}", name="MIG 3g.20gb", memory_total=20 * GIB, memory_free=free * GIB)
    for free in (2, 19)
)


def test_of_a_card_in_mig_mode_the_emptiest_slice_is_taken_and_never_the_card() -> None:
    made = choice(card(0, 1.0, mig=True, mig_instances=SLICES))
    assert (made.device, made.full) == ("MIG-19", False)
    assert made.export == ("CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=MIG-19")


@pytest.mark.parametrize(
    ("device", "variables", "words"),
    [
        (
            "GPU-1000",
            {"CUDA_VISIBLE_DEVICES": "0"},
            "GPU 1 was not given to this job, or is hidden by CUDA_VISIBLE_DEVICES=0",
        ),
        ("gpu-1000", {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}, "GPU 1 was not given to this job"),
        ("2", {}, "GPU 2 is in MIG mode: programs use one of its instances, not the card"),
        ("3", {}, "there is no GPU 3: this machine has 3 cards, GPU 0 to GPU 2"),
    ],
)
def test_a_card_that_cannot_be_meant_is_refused(device: str, variables: dict[str, str], words: str) -> None:
    cards = card(0, 20), card(1, 23), card(2, 23, mig=True, mig_instances=SLICES)
    with pytest.raises(UsageError, match=words):
        idle_card.check_named(machine(*cards, variables=variables), device)


def test_a_card_that_may_be_named_is_taken_as_it_is() -> None:
    seen = machine(card(0, 20), card(1, 23), variables={"CUDA_VISIBLE_DEVICES": "1"})
    for device in ("0", "1", "7", "GPU-1000", "GPU-unheard-of", "MIG-1"):
        idle_card.check_named(seen, device)
    idle_card.check_named(machine(variables={"CUDA_VISIBLE_DEVICES": "1"}), "GPU-1")


@pytest.mark.parametrize(
    ("variant", "device"), [("cu118", "auto:GPU-10000000-0000-0000-0000-000000000000"), ("cpu", "cpu")]
)
def test_what_was_installed_is_proven_on_the_idlest_card(
    monkeypatch: pytest.MonkeyPatch, variant: str, device: str
) -> None:
    asked: list[str] = []
    seen = machine(card(0, 1, held(22)), card(1, 23), variables={})
    monkeypatch.setattr(holding, "ask", lambda _host, _limit: seen)
    passed = Verification(status="passed", device=device, python=SYSTEM_PYTHON, rungs=())

    def climb(*_: object, **options: str) -> Verification:
        asked.append(options["device"])
        return passed

    monkeypatch.setattr("envfix.verifier.ladder.verify", climb)
    plan: Any = SimpleNamespace(
        target=SimpleNamespace(gpus=("RTX 3090",)), choice=SimpleNamespace(variant=variant, compatibility="direct")
    )
    prove: Any = installing._proof(RealHost(), plan, {}, NullReporter(), None)
    assert prove(SYSTEM_PYTHON) is passed
    assert asked == [device]


@pytest.mark.parametrize("device", ["cuda:0", "mps", "0,1", ""])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"--device '{device}' is no device"):
        verifying.verify(SYSTEM_PYTHON, device=device)


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
