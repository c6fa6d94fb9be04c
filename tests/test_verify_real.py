"""The ladder climbed by real interpreters, most of them with a real torch; broken ones are really broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envfix.errors import TargetError
from envfix.host.real import RealHost
from envfix.model.outcome import Rung
from envfix.verifier.interface import rungs_of
from envfix.verifier.ladder import verify
from tests.conftest import interpreter
from tests.verify_fixtures import (
    SYSTEM_PYTHON,
    TARGET_SCRIPTS,
    Desk,
    DriverHost,
    environment_with_system_torch,
    environment_with_yolo,
    make_wheel,
    outline,
    system_torch,
    uv,
)


@pytest.fixture(scope="module")
def yolo_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with the system's torch and a current ultralytics."""
    system_torch()
    return environment_with_yolo(tmp_path_factory.mktemp("yolo") / "env")


# ---------------------------------------------------------------------------------------------------------------------
# a healthy environment


@pytest.mark.online
@pytest.mark.slow
def test_a_healthy_environment_predicts(yolo_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path, monkeypatch, yolo_python)
    (desk.work / "yolov8n.yaml").write_text("nc: 'a model of the user that must not be taken'\n")
    heard: list[Rung] = []

    verification = verify(RealHost(), yolo_python, level="yolo", on_rung=heard.append)

    assert verification.status == "passed", verification
    assert verification.device == "cpu"
    assert tuple(heard) == verification.rungs
    status = outline(verification)
    assert list(status) == list(rungs_of("yolo", weights=False))
    assert {name for name in status if status[name] == "skipped"} == {"driver", "allocate"}
    predict = verification.rungs[-1].detail
    assert predict["parameters"] == 3_157_200
    assert predict["pictures"] == ["bus.jpg", "zidane.jpg"]
    assert 0 < predict["box_difference"] < 0.02  # exactly 0 would mean that something is compared with itself
    assert predict["score_difference"] < 2e-4
    assert predict["picture_box_difference"] > 50
    assert min(predict["boxes"]) > 50
    assert predict["speed_ms"]["inference"] > 0
    assert (verification.memory["peak_process"] or 0) > 100e6
    assert desk.changes() == [str(desk.work / "yolov8n.yaml")]
    assert desk.asked() == []


def test_whatever_a_library_leaves_in_the_folder_for_temporary_files_goes(
    fake_torch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch 2.6 leaves a folder of its own there, and torch 2.15 one of its compiler's."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    fake_torch.write_text(
        "import os, tempfile\nplace = tempfile.mkdtemp()\nopen(os.path.join(place, 'left.py'), 'w').close()\n"
        "raise ImportError('%s %s' % (place, os.environ.get('TORCHINDUCTOR_CACHE_DIR')))\n"
    )
    message = failed_import().message
    place, cache = message.removeprefix("ImportError: ").split()
    assert "/envfix-" in place
    assert not Path(place).parent.exists()
    assert cache == "None"
    assert list(temporary.iterdir()) == []
    assert list(fake_torch.parent.rglob("__pycache__")) == []


@pytest.mark.online
def test_versions_are_compared(yolo_python: str) -> None:
    installed = verify(RealHost(), yolo_python, level="import").rungs[-1].detail
    right = {
        "torch": installed["torch"],
        "numpy": installed["numpy"],
        "opencv-python-headless": installed_opencv(yolo_python),
    }
    assert verify(RealHost(), yolo_python, level="import", expect=right).status == "passed"
    wrong = verify(RealHost(), yolo_python, level="import", expect={"torch": "1.0.0+cu90", "no-such-package": "2"})
    assert wrong.failed is not None
    assert wrong.failed.message == (
        f"no-such-package is not installed, expected 2; torch is {installed['torch']}, expected 1.0.0+cu90"
    )


def installed_opencv(python: str) -> str:
    program = "import importlib.metadata as m; print(m.version('opencv-python-headless'))"
    return RealHost().run([python, "-c", program], timeout=60).stdout.strip()


@pytest.mark.parametrize(
    ("options", "cause", "words"),
    [
        pytest.param(
            {"gpu_expected": True}, "cpu_only_build_installed", "NVIDIA GPU: this torch is a CPU build", id="GPU"
        ),
        pytest.param({"device": "0"}, "cpu_only_build_installed", "GPU 0: this torch is a CPU build", id="number"),
        pytest.param({"device": "GPU-5b"}, "cpu_only_build_installed", "GPU GPU-5b: this torch", id="UUID"),
    ],
)
def test_a_gpu_machine_never_passes_silently_on_the_cpu(options: dict[str, str], cause: str, words: str) -> None:
    system_torch()
    rung = verify(RealHost(), SYSTEM_PYTHON, level="cuda", **options).failed  # type: ignore[arg-type]
    assert rung is not None
    assert (rung.name, rung.cause) == ("driver", cause)
    assert words in rung.message


def test_the_cpu_may_be_asked_for_on_a_gpu_machine() -> None:
    system_torch()
    verification = verify(RealHost(), SYSTEM_PYTHON, level="cuda", device="cpu", gpu_expected=True)
    assert (verification.status, verification.device) == ("passed", "cpu")


# ---------------------------------------------------------------------------------------------------------------------
# a device that computes wrongly

DRIVER = f"""
import sys
sys.path.insert(0, {TARGET_SCRIPTS!r})
import envfix_verify_ladder as ladder
import torch

%s
ladder.main(sys.argv[1:])
"""

DAMAGED_COPY = """
healthy_copy = ladder.device_copy
def device_copy(model, device):
    copied = healthy_copy(model, device)
    answer = copied.forward
    with torch.no_grad():
        %s
    return copied
ladder.device_copy = device_copy
"""


def damaged(tmp_path: Path, damage: str) -> DriverHost:
    script = tmp_path / "damaged.py"
    script.write_text(DRIVER % damage)
    return DriverHost(script)


# Each convolution rounds what it is given, as a GPU that computes so does.
COARSE = """rounding = lambda one: {0}
        for module in copied.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.copy_(rounding(module.weight))
                module.register_forward_pre_hook(lambda _module, given: (rounding(given[0]),))
"""
TEN_BITS = "(one.view(torch.int32) + 4096).bitwise_and(-8192).view(torch.float32)"


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "looks", "words", "boxes", "scores"),
    [
        pytest.param(
            "copied.model[4].cv1.conv.weight[0].mul_(2)", "wrong", "no rounding", (20, 999), (0.1, 1), id="filter"
        ),
        pytest.param(COARSE.format(TEN_BITS), "tf32", "as much as with TF32", (0.5, 8), (0.005, 0.1), id="TF32"),
        pytest.param(COARSE.format("one.bfloat16().float()"), "half", "half precision", (8, 80), (0.1, 0.6), id="bf16"),
        pytest.param(
            "copied.forward = lambda pictures: answer(pictures.flip(1))",
            "swapped_channels",
            "red and blue were swapped",
            (8, 999),
            (0.1, 1),
            id="channels",
        ),
        pytest.param(
            "copied.forward = lambda pictures: answer(pictures.flip(0))",
            "other_picture",
            "given another picture",
            (20, 999),
            (0.5, 1),
            id="picture",
        ),
        pytest.param(
            "copied.forward = lambda pictures: answer(pictures)[0] * 0",
            "zero",
            "all zero",
            (20, 999),
            (0.5, 1),
            id="zero",
        ),
    ],
)
def test_a_damaged_network_is_noticed(
    yolo_python: str,
    tmp_path: Path,
    damage: str,
    looks: str,
    words: str,
    boxes: tuple[float, float],
    scores: tuple[float, float],
) -> None:
    rung = verify(damaged(tmp_path, DAMAGED_COPY % damage), yolo_python, level="yolo").failed
    assert rung is not None
    assert (rung.name, rung.cause, rung.detail["looks_like"]) == ("yolo_predict", None, looks)
    assert rung.message.startswith("YOLOv8n computes wrong numbers on cpu: boxes differ by ")
    assert words in rung.message
    # The limits lie between rounding, which is ten times smaller, and the least of these damages.
    assert boxes[0] < rung.detail["box_difference"] < boxes[1]
    assert scores[0] < rung.detail["score_difference"] < scores[1]
    assert (rung.detail["box_limit"], rung.detail["score_limit"]) == (0.1, 1e-3)


@pytest.mark.online
@pytest.mark.slow
def test_answers_that_are_no_numbers_are_noticed(yolo_python: str, tmp_path: Path) -> None:
    damage = "copied.forward = lambda pictures: answer(pictures)[0] + float('nan')"
    rung = verify(damaged(tmp_path, DAMAGED_COPY % damage), yolo_python, level="yolo").failed
    assert rung is not None
    assert (rung.name, rung.detail["looks_like"]) == ("yolo_predict", "not_a_number")
    assert rung.message.endswith("boxes differ by nan px, scores by nan from the reference: they are no numbers at all")


@pytest.mark.online
@pytest.mark.slow
def test_a_network_that_ignores_the_picture_is_noticed(yolo_python: str, tmp_path: Path) -> None:
    host = damaged(tmp_path, "ladder.raw_answer = lambda torch, model, pictures: torch.ones(2, 84, 2100).double()")
    rung = verify(host, yolo_python, level="yolo").failed
    assert rung is not None
    assert rung.message == "YOLOv8n gives two different pictures the same answer on cpu"


@pytest.mark.online
@pytest.mark.slow
def test_pictures_are_drawn_where_ultralytics_has_none(yolo_python: str, tmp_path: Path) -> None:
    host = damaged(
        tmp_path, "ladder.os.path.isfile = lambda path: 'assets' not in path and ladder.os.path.exists(path)"
    )
    verification = verify(host, yolo_python, level="yolo")
    assert verification.status == "passed", verification.failed
    assert verification.rungs[-1].detail["pictures"] == ["drawn1.png", "drawn2.png"]


NOT_LOADED = """
def refused(*_given, **_named):
    raise {0}
ladder.trained.Loader.__call__ = refused
"""


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "words", "cause"),
    [
        pytest.param(
            "ladder.trained.pickle.UnpicklingError('Weights only load failed. This file can still be loaded')",
            "ultralytics {0} is too old for torch {1}: it does not say that a .pt file is a whole model, so torch refuses it",
            "library_too_old_for_torch",
            id="old-ultralytics",
        ),
        pytest.param(
            "EOFError('nothing there')",
            "ultralytics cannot load a file that it has just written: EOFError: nothing there",
            None,
            id="other",
        ),
    ],
)
def test_an_ultralytics_that_loads_no_file_is_noticed_without_one(
    yolo_python: str, tmp_path: Path, error: str, words: str, cause: str | None
) -> None:
    """As 8.0.100 beside torch 2.6: random weights predict, and no ``.pt`` file can be loaded."""
    verification = verify(damaged(tmp_path, NOT_LOADED.format(error)), yolo_python, level="yolo")
    rung, versions = verification.failed, verification.rungs[2].detail
    assert rung is not None
    assert (rung.name, rung.cause) == ("yolo_predict", cause)
    assert rung.message == words.format(versions["ultralytics"], versions["torch"])


ROUNDED = """
exact = {0}
def rounded(one, other, **options):
    return exact(one if one.dtype == torch.float64 else one.half().float(), other, **options)
{0} = rounded
"""


@pytest.mark.parametrize(
    ("rung_name", "damage", "words"),
    [
        ("matmul", ROUNDED.format("torch.matmul"), "the matrix product is wrong: relative error 2."),
        ("conv", ROUNDED.format("torch.nn.functional.conv2d"), "the convolution is wrong: relative error 2."),
        (
            "nms",
            "from torchvision import ops\nexact = ops.nms\nops.nms = lambda boxes, scores, _: exact(boxes, scores, .6)",
            "NMS kept the wrong boxes",
        ),
    ],
)
def test_wrong_arithmetic_is_noticed(tmp_path: Path, rung_name: str, damage: str, words: str) -> None:
    system_torch()
    rung = verify(damaged(tmp_path, damage), SYSTEM_PYTHON, level="cuda").failed
    assert rung is not None
    assert rung.name == rung_name
    assert words in rung.message


# ---------------------------------------------------------------------------------------------------------------------
# broken packages


def test_yolo_without_ultralytics_fails_in_its_own_words(tmp_path: Path) -> None:
    system_torch()
    python = environment_with_system_torch(tmp_path / "env")
    rung = verify(RealHost(), python, level="yolo").failed
    assert rung is not None
    assert (rung.name, rung.message) == ("yolo_predict", "ultralytics is not installed in this interpreter")


BROKEN_VISION = {
    "versions": "raise RuntimeError('operator torchvision::nms does not exist')\n",
    "nms": "__version__ = '0.29.2'\n",
}
BROKEN_NMS = 'def nms(*_):\n    raise RuntimeError("Couldn\'t load custom C++ ops. This can happen if ...")\n'


@pytest.mark.parametrize("rung_name", ["versions", "nms"])
def test_a_torchvision_of_another_torch_is_named(tmp_path: Path, rung_name: str) -> None:
    system_torch()
    python = environment_with_system_torch(tmp_path / "env")
    files = {"torchvision/__init__.py": BROKEN_VISION[rung_name], "torchvision/ops.py": BROKEN_NMS}
    uv(
        "pip",
        "install",
        "--python",
        python,
        "--offline",
        "--no-deps",
        str(make_wheel(tmp_path, "torchvision", "0.29.2", files)),
    )
    rung = verify(RealHost(), python, level="cuda").failed
    assert rung is not None
    assert (rung.name, rung.cause) == (rung_name, "torchvision_torch_mismatch")


@pytest.mark.online
def test_numpy_2_beside_an_old_torch_is_named(tmp_path: Path) -> None:
    system_torch()
    python = environment_with_system_torch(tmp_path / "env")
    uv("pip", "install", "--python", python, "--no-deps", "numpy>=2,<2.4")
    rung = verify(RealHost(), python, level="import").failed
    assert rung is not None
    assert rung.cause == "numpy2_abi"
    assert rung.name == "versions"


@pytest.fixture
def fake_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that ``import torch`` runs in every interpreter of this test."""
    package = tmp_path / "path" / "torch"
    package.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    return package / "__init__.py"


def failed_import(limits: dict[str, float] | None = None) -> Rung:
    rung = verify(RealHost(), sys.executable, level="import", limits=limits or {}).failed
    assert rung is not None
    assert rung.name == "import"
    return rung


def test_a_hanging_import_is_ended_and_shows_where(fake_torch: Path) -> None:
    fake_torch.write_text("import time\ntime.sleep(600)\n")
    rung = failed_import({"import": 1.0})
    assert rung.message == f"no answer in 1 s; it hangs in {fake_torch}, line 2"
    assert rung.cause == "torch_import_fails"
    assert 0.9 < rung.seconds < 6
    assert f'File "{fake_torch}", line 2' in rung.detail["output"]


@pytest.mark.parametrize(
    ("program", "message", "cause"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
            "killed by SIGSEGV; it was in {place}, line 1",
            "torch_import_fails",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
            "killed by SIGILL: this processor lacks an instruction that the library uses; it was in {place}, line 1",
            "cpu_without_avx",
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "killed by SIGKILL, most likely by the system for lack of memory",
            "host_ram_exhausted_runtime",
        ),
        (
            "import os; os.write(2, b'OMP: Error #15: Initializing libiomp5.so, but found'); os.abort()",
            "killed by SIGABRT; it was in {place}, line 1",
            "openmp_duplicate",
        ),
        ("import os; os._exit(3)", "the process ended early with exit code 3", "torch_import_fails"),
        ("import sys; sys.exit('no way')", "SystemExit: no way", "torch_import_fails"),
        ("raise RuntimeError", "RuntimeError: no reason given", "torch_import_fails"),
        (
            "raise RuntimeError('\\x1b[1mpandas needs:\\x1b[0m\\n\\npytz: no such module\\nand more')",
            "RuntimeError: pandas needs: pytz: no such module",
            "torch_import_fails",
        ),
        ("import no_such_package", "no_such_package is not installed in this interpreter", None),
        (
            "raise OSError('libcublas.so.11: cannot open shared object file: No such file or directory')",
            "OSError: libcublas.so.11: cannot open shared object file: No such file or directory",
            "missing_cuda_runtime_lib",
        ),
    ],
)
def test_an_import_that_dies(fake_torch: Path, program: str, message: str, cause: str | None) -> None:
    fake_torch.write_text(program + "\n")
    rung = failed_import()
    assert (rung.message, rung.cause) == (message.replace("{place}", str(fake_torch)), cause)


def test_a_crash_shows_where_it_happened(fake_torch: Path) -> None:
    fake_torch.write_text("\n\nimport os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert f'File "{fake_torch}", line 4' in failed_import().detail["output"]


def test_something_else_called_torch_is_named(fake_torch: Path) -> None:
    fake_torch.write_text("")
    rung = failed_import()
    assert rung.cause == "local_name_shadowing"
    assert rung.message == f"what is imported as torch is not PyTorch: {fake_torch}"


def test_an_empty_folder_called_torch_is_named(fake_torch: Path) -> None:
    rung = failed_import()
    assert rung.cause == "local_name_shadowing"
    assert str(fake_torch.parent) in rung.message


def test_what_a_sitecustomize_prints_is_ignored(fake_torch: Path) -> None:
    program = (
        "import os, sys\n"
        'print("hello \\u2603", end="")\n'
        'print(\'\\n{"event": "end", "rung": "import", "status": "passed", "seconds": 0, "message": ""}\')\n'
        'os.write(1, b"\\xff\\xfe\\x00 no newline")\n'
    )
    (fake_torch.parent.parent / "sitecustomize.py").write_text(program)
    fake_torch.write_text("raise ImportError('mine')\n")
    assert failed_import().message == "ImportError: mine"


def test_a_flood_of_output_is_survived(fake_torch: Path) -> None:
    fake_torch.write_text(
        "import sys\nfor _ in range(300):\n    sys.stdout.write('x' * 65536)\nraise ImportError('mine')\n"
    )
    assert failed_import().message == "ImportError: mine"


def test_a_replaced_stdout_does_not_matter(fake_torch: Path) -> None:
    fake_torch.write_text("import os, sys\nsys.stdout = None\nos.close(1)\nraise ImportError('mine')\n")
    assert failed_import().message == "ImportError: mine"


# ---------------------------------------------------------------------------------------------------------------------
# interpreters


@pytest.mark.parametrize("version", ["3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_every_python_climbs_until_torch_is_missing(version: str) -> None:
    verification = verify(RealHost(), interpreter(version), level="import")
    assert verification.rungs[0].detail["version"].startswith(version + ".")
    assert outline(verification) == {"interpreter": "passed", "import": "failed", "versions": "skipped"}
    assert verification.rungs[1].cause == "torch_not_installed"


def test_python_2_is_told_that_it_is_too_old() -> None:
    with pytest.raises(TargetError, match=r"Python 2\.7\.\d+ is too old"):
        verify(RealHost(), interpreter("2.7"), level="import")


@pytest.mark.parametrize(
    ("program", "words"), [("/no/such/python", "program not found"), ("/bin/true", "did not answer as a Python would")]
)
def test_what_is_not_a_python_cannot_be_asked(program: str, words: str) -> None:
    with pytest.raises(TargetError, match=words):
        verify(RealHost(), program, level="import")


def test_an_interpreter_that_hangs_at_its_start_cannot_be_asked(fake_torch: Path) -> None:
    (fake_torch.parent.parent / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(TargetError, match="no answer in 1 s"):
        verify(RealHost(), sys.executable, level="import", limits={"interpreter": 1.0})
