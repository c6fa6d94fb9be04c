"""fit: the sums on recorded numbers, the measuring loop on a pretended card, and real steps of training on the CPU."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from envfix.app import fitting, holding
from envfix.cli import main
from envfix.errors import UsageError
from envfix.host.interface import CommandResult, Deadline
from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.host.target import COOKIE
from envfix.model.facts import Machine, Scheduler, absent, found, unknown
from envfix.model.fit import (
    GIB,
    LARGEST_TRIED,
    MIB,
    SMALL_BATCHES,
    Fit,
    Line,
    Step,
    best_proven,
    candidates,
    fit_line,
    largest_batch,
    smaller_model,
    taken_meanwhile,
    ways,
)
from tests.conftest import interpreter
from tests.test_gpus import card, held, machine
from tests.verify_fixtures import SYSTEM_PYTHON, TARGET_SCRIPTS, environment_with_yolo, make_weights

script: Any = importlib.import_module("envfix.target.envfix_fit")
PLENTY = 20 * GIB
FIRST_BATCHES = [(batch, 0) for batch in SMALL_BATCHES]


def step(batch: int, peak: float, outcome: Any = "ok", **more: Any) -> Step:
    facts = {"limit": PLENTY, "available": 25 * GIB, "seconds": 0.01 * batch, **more}
    return Step(batch=batch, outcome=outcome, peak_reserved=int(peak * GIB), **facts)


# ---------------------------------------------------------------------------------------------------------------------
# the sums


# Peaks of allocators in MiB, rounded by them to 2 MiB and more; the first row is what a line would give exactly.
MEASURED = {
    "a line": ((1, 700), (2, 1000), (4, 1600), (8, 2800)),
    "rounded blocks": ((1, 698), (2, 1042), (4, 1594), (8, 2846), (16, 5202)),
    "workspaces that come later": ((1, 512), (2, 640), (4, 1500), (8, 2600)),
    "hardly any growth at first": ((1, 600), (2, 602), (4, 820)),
}


@pytest.mark.parametrize("points", MEASURED.values(), ids=MEASURED)
def test_no_measured_batch_lies_above_the_line(points: Sequence[tuple[int, int]]) -> None:
    line = fit_line([step(batch, size / 1024) for batch, size in points])
    assert line is not None
    assert all(line.at(batch) >= int(size / 1024 * GIB) for batch, size in points)
    assert line.at(points[-1][0]) <= points[-1][1] * MIB * 1.15


def test_the_line_through_exact_points_is_that_line() -> None:
    line = fit_line([step(batch, 400 / 1024 + batch * 300 / 1024) for batch in (1, 2, 4)])
    assert line == Line(fixed=400 * MIB, per_image=300 * MIB)
    assert largest_batch(line, 20 * GIB) == (20 * 1024 - 400) // 300 == 66


def test_one_batch_alone_promises_too_little_rather_than_too_much() -> None:
    assert fit_line([step(1, 2.0)]) == Line(fixed=0, per_image=2 * GIB)


def test_memory_that_falls_with_the_batch_is_noise() -> None:
    assert fit_line([step(1, 3.0), step(2, 2.0)]) == Line(fixed=0, per_image=GIB)


def test_without_a_batch_that_fitted_there_is_no_line() -> None:
    assert fit_line([step(1, 1.0, "oom"), step(2, 3.0, "over")]) is None
    assert best_proven([step(1, 1.0, "oom")]) is None


def test_the_largest_batch_has_bounds() -> None:
    line = Line(fixed=GIB, per_image=MIB)
    assert largest_batch(line, GIB // 2) == 0
    assert largest_batch(line, GIB + MIB) == 1
    assert largest_batch(line, 10**15) == LARGEST_TRIED


def test_what_is_tried_goes_down_from_the_promise_and_stays_above_what_is_proven() -> None:
    line = Line(fixed=0, per_image=GIB)
    assert candidates(line, 20 * GIB, [step(4, 4), step(8, 8)]) == (20, 19, 18, 17, 15, 14, 11)
    assert candidates(line, 9 * GIB, [step(8, 8)]) == (9,)
    assert candidates(line, 8 * GIB, [step(8, 8)]) == ()


def test_what_did_not_fit_is_not_tried_again() -> None:
    line = Line(fixed=0, per_image=GIB)
    assert candidates(line, 20 * GIB, [step(4, 4), step(8, 8, "oom")]) == (7, 6, 5)


def test_memory_that_others_took_is_told_and_little_is_not() -> None:
    few = [step(1, 1), step(2, 2, available=24 * GIB), step(4, 4, available=24 * GIB - 100 * MIB)]
    assert taken_meanwhile((25 * GIB, [])) == 0
    assert taken_meanwhile((25 * GIB, few), (25 * GIB - 200 * MIB, few[:1])) == 0
    assert taken_meanwhile((25 * GIB, few), (20 * GIB, [])) == 5 * GIB
    assert taken_meanwhile((25 * GIB, [*few, step(8, 8, available=20 * GIB)])) == 4 * GIB


def test_what_cuda_takes_for_its_first_kernels_is_not_taken_by_others() -> None:
    assert taken_meanwhile((25 * GIB, [step(1, 1), step(2, 2, available=24 * GIB)])) == 0


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        ("yolov8m.pt", "yolov8s.pt"),
        ("yolo11x", "yolo11l"),
        ("yolov8n.pt", None),
        ("best.pt", None),
        ("runs/yolo/train.pt", None),
        ("", None),
    ],
)
def test_smaller_model_of_the_family(name: str, smaller: str | None) -> None:
    assert smaller_model(name) == smaller


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("activation: nn.ReLU()\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]] # (0)\n", False),
        ("activation: nn.SiLU(inplace=True)\nhead:\n  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]\n", False),
        ("activation: open('/tmp/x', 'w').close() or nn.SiLU()\n", True),
        ("backbone:\n  - [-1, 1, Conv, [\"__import__('os').getpid()\", 3, 2]]\n", True),
    ],
)
def test_a_model_file_that_would_run_something_is_refused(tmp_path: Path, text: str, *, refused: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    if not refused:
        script.refuse_code(str(path), "mine.yaml")
        return
    with pytest.raises(script.Problem, match=r"mine\.yaml holds code that ultralytics would run"):
        script.refuse_code(str(path), "mine.yaml")


def result(**more: Any) -> Fit:
    facts: dict[str, Any] = {
        "status": "fits",
        "model": "yolov8s.pt",
        "imgsz": 640,
        "card": "NVIDIA GeForce RTX 3090",
        "device": "0",
        "share": 0.8,
        "amp": True,
        "batch": 10,
        "total": 24 * GIB,
        "free": 12 * GIB,
        "limit": int(9.6 * GIB),
        "peak": 9 * GIB,
        "line": Line(fixed=GIB, per_image=GIB * 4 // 5),
        "seconds_per_image": 0.004,
        "measured": (),
    }
    return Fit(**{**facts, **more})


def test_ways_to_a_larger_batch_say_how_large() -> None:
    assert [(way.text, way.batch) for way in ways(result())] == [
        ("an empty card: others and CUDA itself held 12.0 GiB of it (`envfix gpus` names who)", 22),
        ("smaller pictures: imgsz=512", 16),
        ("a larger share of what is free: --share 0.9, which leaves less for peaks and for others", 12),
        ("the smaller model yolov8n.pt", None),
        ("gradients of several batches added up: ultralytics does that by itself, to 64 pictures (nbs=64)", None),
    ]


def test_a_way_that_leads_to_no_larger_batch_is_left_out() -> None:
    texts = [way.text for way in ways(result(model="best.pt", free=24 * GIB, batch=LARGEST_TRIED, amp=False))]
    assert texts[0] == "half precision: leave out --no-amp, and train with amp=True"
    assert len(texts) == 2


def test_where_nothing_fits_the_ways_have_no_numbers() -> None:
    found = list(ways(result(status="nothing_fits", batch=None, line=None, share=0.9)))
    assert [(way.text.partition(":")[0], way.batch) for way in found] == [
        ("an empty card", None),
        ("smaller pictures", None),
        ("the smaller model yolov8n.pt", None),
    ]


# ---------------------------------------------------------------------------------------------------------------------
# the measuring loop, on a pretended card


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


class Pretended:
    """A card whose memory is numbers: what others hold, and what torch has reserved; it keeps to the fraction it is given."""

    def __init__(self, total: int = 24 * GIB, others: int = 0, *, keeps_limit: bool = True) -> None:
        self.total, self.others = total, others
        self.reserved = self.peak = self.most_used = 0
        self.cap = total
        if keeps_limit:
            self.set_per_process_memory_fraction = self._set_fraction

    def mem_get_info(self, _device: object) -> tuple[int, int]:
        """Free and total."""
        return self.total - self.others - self.reserved, self.total

    def memory_reserved(self, _device: object) -> int:
        """What torch has."""
        return self.reserved

    def max_memory_reserved(self, _device: object) -> int:
        """The most since the last reset."""
        return self.peak

    def max_memory_allocated(self, _device: object) -> int:
        """The part of it in tensors."""
        return self.peak - MIB

    def _set_fraction(self, fraction: float, _device: object) -> None:
        self.cap = int(fraction * self.total)

    def synchronize(self, _device: object) -> None:
        """Nothing is ever under way."""

    def empty_cache(self) -> None:
        """All is given back."""
        self.reserved = 0

    def reset_peak_memory_stats(self, _device: object) -> None:
        """Count from here."""
        self.peak = 0

    def take(self, size: int) -> None:
        """What a step of training does."""
        if size > min(self.cap, self.total - self.others):
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nmore")
        self.reserved = size
        self.peak = max(self.peak, size)
        self.most_used = max(self.most_used, size + self.others)


def torch_on(cuda: Pretended, zeros: Callable[..., None] = lambda *_size, **_options: None) -> Any:
    return SimpleNamespace(cuda=cuda, zeros=zeros)


def run(
    cuda: Pretended,
    *,
    mode: str = "climb",
    batches: Sequence[tuple[int, int]] = FIRST_BATCHES,
    each: int = 300 * MIB,
    before: Callable[[int], None] = lambda _batch: None,
    share: float = 0.8,
) -> list[dict[str, Any]]:
    """The steps of one run on the pretended card; a batch takes 400 MiB and ``each`` for every picture."""
    answer: dict[str, Any] = {"steps": []}
    said: list[int] = []

    def work(batch: int) -> None:
        before(batch)
        cuda.take(400 * MIB + each * batch)

    request = {"mode": mode, "batches": [{"batch": batch, "bytes": size} for batch, size in batches]}
    pretended = script.Card(torch_on(cuda), "cuda:0", share)
    script.run(pretended, lambda: work, request, answer, lambda: said.append(len(answer["steps"])))
    assert said == list(range(1, len(answer["steps"]) + 1))
    steps: list[dict[str, Any]] = json.loads(json.dumps(answer["steps"]))
    return steps


def outcomes(steps: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    return [(one["batch"], one["outcome"]) for one in steps]


def test_climbing_ends_before_the_next_batch_could_pass_the_limit() -> None:
    cuda = Pretended(total=8 * GIB)
    steps = run(cuda)
    assert outcomes(steps) == [(1, "ok"), (2, "ok"), (4, "ok"), (8, "ok"), (16, "ok")][: len(steps)]
    assert 2 * steps[-2]["peak_reserved"] <= steps[-2]["limit"] < 2 * steps[-1]["peak_reserved"]
    assert cuda.most_used <= 0.8 * cuda.total
    assert cuda.reserved == 0
    assert fit_line([msgspec.convert(one, Step) for one in steps]) == Line(fixed=400 * MIB, per_image=300 * MIB)


def test_a_large_card_ends_the_small_batches_at_the_last() -> None:
    assert outcomes(run(Pretended(total=140 * GIB)))[-1] == (32, "ok")


def test_running_out_of_memory_in_the_middle_ends_the_climb_and_gives_all_back() -> None:
    cuda = Pretended(total=24 * GIB)

    def growing(batch: int) -> None:
        if batch == 4:  # a library that suddenly wants a workspace
            cuda.take(100 * GIB)

    steps = run(cuda, before=growing)
    assert outcomes(steps) == [(1, "ok"), (2, "ok"), (4, "oom")]
    assert steps[-1]["text"] == "CUDA out of memory. Tried to allocate 20.00 MiB.\nmore"
    assert "seconds" not in steps[-1]
    assert cuda.reserved == 0


def test_the_largest_batch_is_tried_once_and_steps_down_where_it_does_not_fit() -> None:
    cuda = Pretended(total=10 * GIB)
    wishes = [(30, 7 * GIB), (28, 6 * GIB), (25, 5 * GIB), (20, 4 * GIB)]
    steps = run(cuda, mode="descend", batches=wishes)
    assert outcomes(steps) == [(30, "oom"), (28, "oom"), (25, "ok")]
    assert cuda.most_used <= 0.8 * cuda.total


def test_what_others_took_meanwhile_is_left_to_them() -> None:
    cuda = Pretended(total=24 * GIB)
    wishes = [(60, 18 * GIB), (30, 10 * GIB), (15, 5 * GIB)]
    cuda.others = 16 * GIB
    steps = run(cuda, mode="descend", batches=wishes)
    assert outcomes(steps) == [(60, "skipped"), (30, "skipped"), (15, "ok")]
    assert cuda.most_used - cuda.others <= 0.8 * 8 * GIB


def test_the_limit_falls_while_others_take_memory_in_the_middle() -> None:
    cuda = Pretended(total=24 * GIB)

    def another_user(batch: int) -> None:
        cuda.others = min(16, 4 * batch) * GIB

    steps = run(cuda, before=another_user)
    assert [one["available"] // GIB for one in steps] == [24, 20, 16, 8, 8]
    assert all(one["limit"] == int(0.8 * one["available"]) for one in steps)
    assert outcomes(steps)[-1] == (16, "ok")  # 5 of 8 GiB: a batch of 32 might pass the limit
    assert taken_meanwhile((24 * GIB, [msgspec.convert(one, Step) for one in steps])) == 12 * GIB


def test_a_card_that_is_nearly_full_fits_nothing() -> None:
    assert outcomes(run(Pretended(total=24 * GIB, others=24 * GIB - 500 * MIB))) == [(1, "oom")]


def test_a_card_on_which_cuda_does_not_start_is_full() -> None:
    def full(*_size: int, **_options: Any) -> None:
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(script.Problem, match="the card is so full that CUDA does not even start on it") as raised:
        script.Card(torch_on(Pretended(), full), "cuda:0", 0.8)
    assert raised.value.kind == "full"


def test_a_card_that_does_not_work_is_no_full_one() -> None:
    def broken(*_size: int, **_options: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    with pytest.raises(script.Problem, match="no kernel image") as raised:
        script.Card(torch_on(Pretended(), broken), "cuda:0", 0.8)
    assert raised.value.kind == "no_gpu"


def test_torch_that_keeps_to_no_limit_is_watched() -> None:
    cuda = Pretended(total=10 * GIB, keeps_limit=False)
    assert outcomes(run(cuda, mode="descend", batches=[(31, 8 * GIB), (25, 7 * GIB)])) == [(31, "over"), (25, "ok")]


def test_an_error_that_is_not_about_memory_is_told_in_its_own_words() -> None:
    def broken(_batch: int) -> None:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    with pytest.raises(script.Problem, match="a step of training failed: RuntimeError: cuDNN error") as raised:
        run(Pretended(), before=broken)
    assert raised.value.kind == "model"


def test_a_model_too_large_for_the_card_by_itself_is_a_step_that_does_not_fit() -> None:
    answer: dict[str, Any] = {"steps": []}

    def too_large() -> None:
        raise RuntimeError("CUDA out of memory.")

    request = {"mode": "climb", "batches": [{"batch": 1, "bytes": 0}]}
    script.run(script.Card(torch_on(Pretended()), "cuda:0", 0.8), too_large, request, answer, lambda: None)
    assert outcomes(answer["steps"]) == [(1, "oom")]


def test_only_the_card_that_is_asked_for_is_seen() -> None:
    for wanted, before, after, index in (
        ("GPU-1234", None, "GPU-1234", 0),
        ("1", None, "1", 0),
        ("1", "3,5", "5", 0),
        ("2", "3,5", "3,5", 2),
        ("0", "", "", 0),
        ("0", "-1", "-1", 0),
        ("1", "0,-1,2", "0,-1,2", 1),  # CUDA drops what stands behind an entry that names no card
        ("0", "MIG-77", "MIG-77", 0),
        ("auto", "7", "7", 0),
    ):
        environ = {} if before is None else {"CUDA_VISIBLE_DEVICES": before}
        assert script.accounts.show_one_gpu(wanted, before, environ) == index
        assert environ.get("CUDA_VISIBLE_DEVICES") == after


def test_which_model_is_measured(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"x")
    (tmp_path / "mine.yaml").write_text("nc: 1\n")
    assert script.source_of("mine.pt", str(tmp_path)) == (str(tmp_path / "mine.pt"), True, None)
    assert script.source_of("mine.yaml", str(tmp_path)) == (str(tmp_path / "mine.yaml"), False, None)
    assert script.source_of("yolov8n.yaml", str(tmp_path)) == ("yolov8n.yaml", False, None)
    assert script.source_of("yolo11s", str(tmp_path)) == ("yolo11s.yaml", False, None)
    source, weights, note = script.source_of("yolov8n.pt", str(tmp_path))
    assert (source, weights) == ("yolov8n.yaml", False)
    assert note == "yolov8n.pt is not here; yolov8n.yaml, which takes the same memory, was measured in its place"
    for name in ("runs/last.pt", "model.onnx", "."):
        with pytest.raises(script.Problem) as raised:
            script.source_of(name, str(tmp_path))
        assert raised.value.kind == "model"


# ---------------------------------------------------------------------------------------------------------------------
# the command, with canned answers of the target


class CannedHost(RealHost):
    """Runs no script: gives one prepared answer after the other, and keeps the requests."""

    answers: Sequence[dict[str, Any] | CommandResult] = ()
    requests: list[dict[str, Any]]

    def stream(
        self,
        argv: Sequence[str],
        *,
        on_text: Callable[[str], None],
        deadline: Deadline,
        env: Mapping[str, str] | None = None,
        drop_env: Sequence[str] = (),
        cwd: str | None = None,
        terminal: bool = False,
        lock: EnvironmentLock | None = None,
    ) -> CommandResult:
        """The next answer."""
        del on_text, env, drop_env, cwd, terminal, lock
        assert argv[:3] == [SYSTEM_PYTHON, self.script_path(fitting.SCRIPT), COOKIE]
        assert 0 < deadline.left <= fitting.SECONDS
        request = json.loads(argv[3])
        assert Path(request["scratch"]).is_dir()
        type(self).requests.append(request)
        answer = self.answers[len(self.requests) - 1]
        if isinstance(answer, CommandResult):
            return answer
        return CommandResult(outcome="exited", returncode=0, stdout=f"noise\n{COOKIE}{json.dumps(answer)}{COOKIE}\n")


GOOD = {"done": True, "torch": "2.4.1+cu121", "card": "NVIDIA GeForce RTX 3090", "total": 24 * GIB, "free": 23 * GIB}


def canned(batch: int, size: int, outcome: str = "ok", **more: Any) -> dict[str, Any]:
    limit = int(0.8 * 23 * GIB)
    facts = {"batch": batch, "outcome": outcome, "limit": limit, "available": 23 * GIB, "peak_reserved": size * MIB}
    return {**facts, "peak_allocated": size * MIB, "seconds": 0.004 * batch, **more}


SMALL = [canned(batch, 400 + 300 * batch) for batch in SMALL_BATCHES]


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Called with what the target will answer: the list that the requests will be in."""

    def prepare(*answers: dict[str, Any] | CommandResult, seen: Machine | None = None) -> list[dict[str, Any]]:
        there = seen or machine(card(0, 2, held(21)), card(1, 23), variables={})
        monkeypatch.setattr(CannedHost, "answers", answers)
        monkeypatch.setattr(CannedHost, "requests", [], raising=False)
        monkeypatch.setattr(fitting, "RealHost", CannedHost)
        monkeypatch.setattr(holding, "ask", lambda _host, _limit: there)
        return CannedHost.requests

    return prepare


def fit_json(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["fit", "--json", "--python", SYSTEM_PYTHON, *arguments])
    document: dict[str, Any] = json.loads(capsysbinary.readouterr().out)
    return code, document


def test_the_batch_that_was_predicted_and_tried(
    target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    requests = target({**GOOD, "steps": SMALL}, {**GOOD, "steps": [canned(61, 18700)]})
    code, document = fit_json(capsysbinary, "yolov8n.pt")
    assert code == 0
    assert next(iter(document)) == "schema"
    assert document["schema"] == "envfix.fit/1"
    assert (document["status"], document["batch"], document["imgsz"]) == ("fits", 61, 640)
    assert document["line"] == {"fixed": 400 * MIB, "per_image": 300 * MIB}
    assert document["seconds_per_image"] == pytest.approx(0.004)
    assert [one["batch"] for one in document["measured"]] == [*SMALL_BATCHES, 61]
    assert document["command"] == ["yolo", "detect", "train", "model=yolov8n.pt", "imgsz=640", "batch=61"]
    assert document["export"][1] == "CUDA_VISIBLE_DEVICES=GPU-10000000-0000-0000-0000-000000000000"
    climb, descend = requests
    assert (climb["mode"], climb["device"]) == ("climb", "GPU-10000000-0000-0000-0000-000000000000")
    assert [one["batch"] for one in climb["batches"]] == list(SMALL_BATCHES)
    assert descend["mode"] == "descend"
    assert descend["batches"][0] == {"batch": 61, "bytes": (400 + 300 * 61) * MIB}
    assert not Path(climb["scratch"]).exists()
    assert not Path(descend["scratch"]).exists()


def test_text_says_batch_memory_time_and_ways(
    target: Callable[..., list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    target({**GOOD, "steps": SMALL}, {**GOOD, "steps": [canned(61, 19000, "oom"), canned(59, 18200)]})
    assert main(["fit", "yolov8s.pt", "--python", SYSTEM_PYTHON, "--device", "1", "--quiet", "--no-color"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith(
        "Batch 59 fits: yolov8s.pt with pictures of 640 pixels on NVIDIA GeForce RTX 3090."
        " Memory: 17.77 GiB at most, measured; allowed were 18.4 GiB (80% of what was free; the card has 24.0 GiB)."
        " About 0.39 GiB for the model, and 0.293 GiB for each picture."
        " Time: 4.0 ms a picture on the card alone, without reading pictures from the disk."
        " Measured: steps of training in half precision with AdamW and 32 boxes a picture. batch 1 0.68 GiB; "
    )
    assert "batch 61 too large; batch 59 17.77 GiB." in text
    assert "Note: a batch of 61 was tried and needs more than the limit." in text
    assert "- smaller pictures: imgsz=512 (about 96)" in text
    assert text.endswith("yolo detect train model=yolov8s.pt imgsz=640 batch=59 device=1")


def test_where_not_even_one_picture_fits_it_ends_with_one(
    target: Callable[..., list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    target({**GOOD, "free": 500 * MIB, "steps": [canned(1, 300, "oom", limit=400 * MIB, available=500 * MIB)]})
    assert main(["fit", "yolov8s.pt", "--python", SYSTEM_PYTHON, "--quiet", "--no-color"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("Not even one picture fits: yolov8s.pt with pictures of 640 pixels on NVIDIA GeForce")
    assert "What may help: - an empty card: others and CUDA itself held 23.5 GiB of it" in text
    assert "yolo detect train" not in text


def test_others_that_took_memory_meanwhile_are_told(
    target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    less = {"available": 10 * GIB, "limit": 8 * GIB}
    skipped = {"batch": 61, "outcome": "skipped", **less}
    target({**GOOD, "steps": SMALL}, {**GOOD, "free": 10 * GIB, "steps": [skipped, canned(40, 12000, "oom", **less)]})
    code, document = fit_json(capsysbinary, "yolov8n.yaml")
    assert (code, document["batch"]) == (0, 32)
    assert document["notes"] == [
        "others took 13.0 GiB of this card meanwhile; measure again when they are done",
        "a batch of 40 was tried and needs more than the limit",
    ]


LIMIT = (
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 24.00 GiB total capacity; 17.00 GiB already allocated; 5.50 GiB free;"
    " 18.40 GiB allowed; 17.50 GiB reserved in total by PyTorch)"
)
CROWDED = (
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 24.00 GiB total capacity; 6.00 GiB already allocated; 0.10 GiB free;"
    " 18.40 GiB allowed; 6.20 GiB reserved in total by PyTorch)"
)
TOO_BIG = (
    "CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 4.00 GiB total capacity; 3.32 GiB already allocated; 0 bytes free;"
    " 3.42 GiB reserved in total by PyTorch)"
)


@pytest.mark.parametrize(
    ("text", "why"),
    [(LIMIT, "needs more than the limit"), (CROWDED, "ran out of memory that others took at that moment")],
)
def test_a_batch_that_others_made_fail_is_not_called_too_large(
    text: str, why: str, target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    target({**GOOD, "steps": SMALL}, {**GOOD, "steps": [canned(61, 18700, "oom", text=text), canned(40, 12400)]})
    _, document = fit_json(capsysbinary, "yolov8n.pt")
    assert document["batch"] == 40
    assert f"a batch of 61 was tried and {why}" in document["notes"]


@pytest.mark.parametrize(
    ("text", "cause", "words"),
    [
        (LIMIT, "oom_other_process", None),  # more of the card was held than free before
        (CROWDED.replace("18.40 GiB allowed; ", ""), "oom_other_process", "Others hold 17.70 GiB of GPU 0"),
        (TOO_BIG, "oom_workload_too_big", "The work is too big for GPU 0"),
    ],
)
def test_whose_memory_it_is_where_nothing_fits(
    text: str,
    cause: str,
    words: str | None,
    target: Callable[..., list[dict[str, Any]]],
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    target({**GOOD, "free": 7 * GIB, "steps": [canned(1, 300, "oom", text=text)]})
    code, document = fit_json(capsysbinary, "yolov8x.pt")
    assert (code, document["status"], document["cause"]) == (1, "nothing_fits", cause)
    assert document["notes"][:1] == [] if words is None else document["notes"][0].startswith(words)


def test_a_full_card_comes_with_who_holds_it_and_the_line_to_paste(
    fake_machine: Callable[..., dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    target: Callable[..., list[dict[str, Any]]],
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    for name, value in fake_machine("seed-server").items():
        monkeypatch.setenv(name, value)
    target({"done": True, "problem": {"kind": "full", "text": "GPU 0 has 1.3 GiB of 23.7 GiB free"}})
    code, document = fit_json(capsysbinary, "yolov8n.pt", "--device", "0")
    assert code == 3
    assert document["error"]["message"] == (
        "GPU 0 has 1.3 GiB of 23.7 GiB free; GPU 0: process 4194999 (python train.py) holds 22.1 GiB"
    )
    assert document["error"]["hint"] == (
        "Use GPU 1, of which 23.4 GiB are free. `export CUDA_DEVICE_ORDER=PCI_BUS_ID"
        " CUDA_VISIBLE_DEVICES=GPU-5eed0001-0000-4bad-9caf-0123456789ab`"
    )


def test_a_card_with_hardly_anything_free_is_left_alone() -> None:
    with pytest.raises(script.Problem) as raised:
        script.leave_full({"index": 0, "name": "RTX 3090", "free": GIB - 1, "total": 24 * GIB})
    assert raised.value.kind == "full"
    assert str(raised.value) == (
        "GPU 0 (RTX 3090) has 1.0 GiB of 24.0 GiB free, half a GiB of which CUDA itself would take: nothing was tried on it"
    )
    script.leave_full({"index": 0, "name": "RTX 3090", "free": GIB, "total": 24 * GIB})
    script.leave_full(None)
    assert script.LEAST_FREE == fitting.LEAST_FREE  # what is chosen is not refused there


def test_why_other_cards_were_left_alone_is_told(
    target: Callable[..., list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    target({**GOOD, "steps": SMALL}, {**GOOD, "steps": [canned(61, 18700)]})
    assert main(["fit", "yolov8n.pt", "--python", SYSTEM_PYTHON, "--no-color"]) == 0
    said = capsys.readouterr().err
    assert "left alone: GPU 0: 2.0 GiB of 24.0 GiB free, anna's python train.py holds 21.0 GiB" in said
    assert "taken: GPU 1, the idlest card that this shell may use" in said


def test_small_batches_hold_where_the_large_one_cannot_be_tried(
    target: Callable[..., list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    target({**GOOD, "steps": SMALL}, CommandResult(outcome="exited", returncode=-9))
    assert main(["fit", "yolov8n.pt", "--python", SYSTEM_PYTHON, "--no-color"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Batch 32 fits")
    assert "the large batch could not be tried" in said.err


def test_what_was_measured_before_a_crash_counts(
    target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    target({**GOOD, "done": False, "steps": SMALL[:2]}, {**GOOD, "steps": []})
    _, document = fit_json(capsysbinary, "yolov8n.pt")
    assert document["batch"] == 2
    assert "measuring ended early; this is what was measured until then" in document["notes"]


PROBLEMS = {
    "no_gpu": ("this torch is a CPU build", "no-gpu", "torch cannot use the card: this torch is a CPU build"),
    "model": ("best.pt does not load: KeyError: 'model'", "fit", "best.pt does not load: KeyError: 'model'"),
    "full": ("the card is so full", "fit", "the card is so full"),
    "no_ultralytics": ("ultralytics is not installed", "fit", "ultralytics is not installed"),
    "error": ("ValueError: odd", "fit", "ValueError: odd"),
}


@pytest.mark.parametrize("kind", PROBLEMS)
def test_what_cannot_be_measured_ends_with_three(
    kind: str, target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    text, reference, message = PROBLEMS[kind]
    target({"done": True, "problem": {"kind": kind, "text": text}})
    code, document = fit_json(capsysbinary, "best.pt")
    assert (code, document["schema"]) == (3, "envfix.error/1")
    assert (document["error"]["reference"], document["error"]["message"]) == (reference, message)
    hints = fitting.HINTS | {
        "no_gpu": "`envfix causes cpu_only_build_installed` explains it, and `envfix verify` says what mends it here"
    }
    assert document["error"]["hint"] == hints.get(kind)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CommandResult(outcome="timed-out"), "cannot be asked: no answer within 600 seconds"),
        ({"done": True, "steps": [{"batch": "many"}]}, "its answer is damaged"),
        ({"done": True, "steps": []}, "its answer is damaged"),
        ({"done": False, "steps": [], "total": 1, "free": 1}, "measuring ended early: exit code 0"),
        ({"too_old": "2.7.18"}, "Python 2.7.18 is too old to be measured"),
    ],
)
def test_a_target_that_does_not_answer(
    answer: Any, words: str, target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    target(answer)
    code, document = fit_json(capsysbinary, "yolov8n.pt")
    assert code == 3
    assert words in document["error"]["message"]


def test_on_a_cpu_it_refuses_kindly(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "yolov8n.pt", "--device", "cpu", "--python", SYSTEM_PYTHON]) == 3
    assert capsys.readouterr().err == (
        "error: fit measures the memory of a GPU; on the CPU there is nothing to measure\n"
        "hint: on a CPU the time limits the batch, not memory: begin with batch=4\n"
    )


def test_no_card_and_no_free_card_are_told_apart() -> None:
    with pytest.raises(fitting.NoGpuError, match="there is no GPU to measure on: there is no NVIDIA card") as none:
        fitting.free_card(machine(gpus=absent("NVML"), driver=absent("NVML"), displays=absent("PCI")))
    assert (none.value.hint, none.value.exit_code) == (fitting.CPU_HINT, 3)
    with pytest.raises(fitting.NoGpuError, match="version mismatch") as broken:
        fitting.free_card(machine(gpus=unknown("NVML", "version mismatch"), displays=absent("PCI")))
    assert broken.value.hint == "`envfix diagnose` says more"
    with pytest.raises(fitting.NoGpuError) as full:
        fitting.free_card(machine(card(0, 0.5, held(23)), variables={}))
    assert full.value.message == (
        "no card is free that this shell may use: GPU 0: 0.5 GiB of 24.0 GiB free, anna's python train.py holds 23.0 GiB"
    )


def test_a_job_without_a_card_and_a_variable_that_hides_all_are_told() -> None:
    job = found(Scheduler(kind="slurm", job="7", granted=""), "SLURM_JOB_ID")
    with pytest.raises(fitting.NoGpuError, match="this job was given no GPU") as raised:
        fitting.free_card(machine(card(0, 23), scheduler=job, variables={"CUDA_VISIBLE_DEVICES": ""}))
    assert raised.value.hint == "ask for one when you start it: `srun --gres=gpu:1 --pty bash`"
    with pytest.raises(fitting.NoGpuError, match="CUDA_VISIBLE_DEVICES='-1' hides every card from this shell"):
        fitting.free_card(machine(card(0, 23), variables={"CUDA_VISIBLE_DEVICES": "-1"}))


def test_a_card_that_is_named_is_taken_as_it_is(
    target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    for device, export, more in (("0", [], ["device=0"]), ("GPU-1a", ["CUDA_VISIBLE_DEVICES=GPU-1a"], [])):
        requests = target({**GOOD, "steps": [canned(1, 19000)]})
        _, document = fit_json(capsysbinary, "yolov8n.pt", "--device", device, "--no-amp")
        assert (requests[0]["device"], requests[0]["amp"]) == (device, False)
        assert document["export"] == export
        assert document["command"][6:] == [*more, "amp=False"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"imgsz": 8}, "--imgsz 8 is not between 64 and 4096"),
        ({"share": 1.0}, "--share 1 is not between 0.05 and 0.95"),
        ({"device": "cuda:0"}, "--device 'cuda:0' is no card"),
        ({"model": " "}, "MODEL is empty"),
    ],
)
def test_requests_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fitting.fit(**{"model": "yolov8n.pt", **options})


def test_sides_are_rounded_as_training_does(
    target: Callable[..., list[dict[str, Any]]], capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    requests = target({**GOOD, "steps": [canned(1, 19000)]})
    _, document = fit_json(capsysbinary, "yolov8n.pt", "--imgsz", "650")
    assert (requests[0]["imgsz"], document["imgsz"], document["batch"]) == (672, 672, 1)
    assert document["notes"][0] == "sides of pictures are multiples of 32: 672 instead of 650, as in training"


# ---------------------------------------------------------------------------------------------------------------------
# the script in real interpreters


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.13"])
def test_the_script_answers_in_every_python(version: str, tmp_path: Path) -> None:
    request = {"mode": "climb", "model": "yolov8n.pt", "imgsz": 64, "device": "0", "share": 0.8, "amp": True}
    text = json.dumps({**request, "trust": False, "batches": [], "scratch": str(tmp_path)})
    result = RealHost().run_script(interpreter(version), fitting.SCRIPT, (COOKIE, text), timeout=60)
    facts = json.loads(result.stdout.split(COOKIE)[-2])
    if version == "2.7":
        assert facts["too_old"].startswith("2.7.")
    else:
        assert facts["problem"]["kind"] == "torch"
        assert facts["problem"]["text"]["sentence"] == "torch cannot be imported: {error}"


# Real steps of training on the CPU; only the card's numbers are pretended: 1 GiB and half a GiB for each picture, of 12 GiB.
PRETENDED_CARD = f"""\
import sys
sys.path.insert(0, {TARGET_SCRIPTS!r})
import envfix_fit as script

GIB = 1 << 30
script.OWN_FOLDER = ""


def find_device(torch, index):
    cuda, held = torch.cuda, {{"now": 0, "peak": 0, "cap": 12 * GIB}}
    cuda.mem_get_info = lambda device: (12 * GIB - held["now"], 12 * GIB)
    cuda.memory_reserved = lambda device: held["now"]
    cuda.max_memory_reserved = cuda.max_memory_allocated = lambda device: held["peak"]
    cuda.set_per_process_memory_fraction = lambda part, device: held.update(cap=int(part * 12 * GIB))
    cuda.synchronize = lambda device: None
    cuda.empty_cache = lambda: held.update(now=0)
    cuda.reset_peak_memory_stats = lambda device: held.update(peak=0)
    cuda.get_device_name = lambda device: "Pretended"
    call = script.Training.__call__

    def training(self, batch):
        size = GIB + batch * GIB // 2
        if size > held["cap"]:
            raise RuntimeError("CUDA out of memory.")
        before = [weight.detach().clone() for weight in self.model.parameters()]
        call(self, batch)
        moved = sum(not torch.equal(*pair) for pair in zip(before, self.model.parameters()))
        assert moved > len(before) / 2, moved
        held.update(now=size, peak=max(held["peak"], size))

    script.Training.__call__ = training
    return torch.device("cpu")


script.find_device = find_device
script.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def yolo_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with the system's torch and a current ultralytics."""
    return environment_with_yolo(tmp_path_factory.mktemp("fit") / "env")


class DriverHost(RealHost):
    """Runs the pretended card in place of the script."""

    def __init__(self, driver: Path) -> None:
        super().__init__()
        self._driver = driver

    def script_path(self, script: str) -> str:
        """The replacement for one script."""
        return str(self._driver) if script == fitting.SCRIPT else super().script_path(script)


def test_ctrl_c_leaves_nobody_on_the_card_and_no_folder(tmp_path: Path) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(
        "import json, os, signal, sys, time\n"
        f"with open({str(tmp_path / 'seen')!r}, 'w') as stream:\n"
        "    json.dump([os.getpid(), json.loads(sys.argv[2])['scratch']], stream)\n"
        "os.kill(os.getppid(), signal.SIGINT)\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(KeyboardInterrupt):
        fitting.fit("yolov8n.pt", target=SYSTEM_PYTHON, device="0", host=DriverHost(driver))
    pid, scratch = json.loads((tmp_path / "seen").read_text())
    assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    assert not Path(scratch).exists()


@pytest.fixture
def pretended(tmp_path: Path) -> RealHost:
    driver = tmp_path / "driver.py"
    driver.write_text(PRETENDED_CARD)
    return DriverHost(driver)


def test_real_steps_of_training_on_a_pretended_card(yolo_python: str, pretended: RealHost) -> None:
    found = fitting.fit("yolov8n.pt", target=yolo_python, imgsz=64, device="0", host=pretended)
    # 80% of 12 GiB are 9.6; 1 + 17 / 2 are 9.5.
    assert [(one.batch, one.outcome) for one in found.measured] == [
        (1, "ok"),
        (2, "ok"),
        (4, "ok"),
        (8, "ok"),
        (17, "ok"),
    ]
    assert (found.batch, found.card, found.line) == (17, "Pretended", Line(fixed=GIB, per_image=GIB // 2))
    assert found.seconds_per_image is not None
    assert found.parameters is not None
    assert found.parameters > 3_000_000
    assert found.notes[0].startswith("yolov8n.pt is not here; yolov8n.yaml")


def test_trained_weights_are_loaded_and_others_refused(yolo_python: str, pretended: RealHost, tmp_path: Path) -> None:
    weights = make_weights(yolo_python, tmp_path / "best.pt", "untrained", tmp_path / "private")
    found = fitting.fit(str(weights), target=yolo_python, imgsz=64, device="0", host=pretended)
    assert found.batch == 17
    (tmp_path / "page.pt").write_text("<html>404</html>")
    with pytest.raises(fitting.FitError, match="is a web page, not weights"):
        fitting.fit(str(tmp_path / "page.pt"), target=yolo_python, imgsz=64, device="0", host=pretended)
    with pytest.raises(fitting.FitError, match="is a model for the task segment; only detection is measured"):
        fitting.fit("yolov8n-seg.yaml", target=yolo_python, imgsz=64, device="0", host=pretended)
    with pytest.raises(fitting.FitError, match=r"yolov9999n\.yaml does not load: "):
        fitting.fit("yolov9999n.yaml", target=yolo_python, imgsz=64, device="0", host=pretended)
