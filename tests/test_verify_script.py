"""The parts of the script in the target that need no torch."""

from __future__ import annotations

import ast
import importlib
import json
import math
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.verifier.interface import rungs_of
from envfix.verifier.ladder import SCRIPT
from tests.conftest import interpreter

# The script is written for any Python and has no annotations, so it is Any to the type checker.
script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
SOURCE = Path(RealHost().script_path(SCRIPT)).read_text(encoding="ascii")


def ladder(device: str, visible: str | None = None) -> Any:
    made = script.Ladder({"rungs": [], "device": device, "scratch": "/nowhere"})
    made.user_visible = visible
    return made


def test_script_and_verifier_name_the_same_rungs() -> None:
    assert tuple(name for name, _ in script.RUNGS) == rungs_of("train", memory=True)


def test_nothing_but_sys_is_imported_before_the_version_is_known() -> None:
    body = ast.parse(SOURCE).body
    gate = next(index for index, node in enumerate(body) if isinstance(node, ast.If))
    imported = [node for node in body[:gate] if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [alias.name for node in imported for alias in node.names] == ["sys"]


@pytest.mark.parametrize("part", ["ladder", "basics", "weights", "train", "memory"])
def test_only_the_standard_library_is_imported_at_the_top(part: str) -> None:
    source = Path(RealHost().script_path(f"envfix_verify_{part}.py")).read_text(encoding="ascii")
    top = [node for node in ast.parse(source).body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    nodes = [node for statement in top for node in ast.walk(statement)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name for name in names if not name.startswith("envfix_verify_")} <= sys.stdlib_module_names


@pytest.mark.parametrize("part", ["basics", "weights", "train", "memory"])
def test_the_parts_are_understood_by_python_3_6(part: str) -> None:
    path = RealHost().script_path(f"envfix_verify_{part}.py")
    program = f"import sys; sys.dont_write_bytecode = True; sys.path.insert(0, {str(Path(path).parent)!r})"
    result = RealHost().run([interpreter("3.6"), "-c", f"{program}; import envfix_verify_{part}"], timeout=60)
    assert result.ok, result.stderr


@pytest.mark.parametrize(
    ("device", "visible", "expected", "index"),
    [
        ("auto", None, None, 0),
        ("auto", "1,2", None, 0),
        ("1", None, "1", 0),
        ("1", "4, 5", "5", 0),
        ("2", "4,5", None, 2),
        ("GPU-1234", "4,5", "GPU-1234", 0),
        ("MIG-1234", None, "MIG-1234", 0),
    ],
)
def test_only_the_asked_card_is_shown_to_cuda(
    device: str, visible: str | None, expected: str | None, index: int
) -> None:
    environ: dict[str, str] = {}
    made = ladder(device, visible)
    script.show_one_gpu(made, environ)
    assert environ.get("CUDA_VISIBLE_DEVICES") == expected
    assert made.gpu_index == index


def test_the_environment_is_quiet_and_offline() -> None:
    environ = {"PIP_FIND_LINKS": "/somewhere", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "PYTHONPATH": "/kept"}
    script.prepare_environment(ladder("auto"), environ)
    assert environ["PYTHONPATH"] == "/kept"
    assert environ["YOLO_OFFLINE"] == environ["PIP_NO_INDEX"] == "1"
    assert environ["YOLO_CONFIG_DIR"] == environ["MPLCONFIGDIR"] == "/nowhere"
    assert {environ[name] for name in ("TMPDIR", "TEMP", "TMP")} == {"/nowhere"}
    assert environ["NVIDIA_TF32_OVERRIDE"] == "0"
    assert environ["https_proxy"] == environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert not {"PIP_FIND_LINKS", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUDA_VISIBLE_DEVICES"} & set(environ)


def test_suppression_keeps_the_best_of_each_pile() -> None:
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 5, 10, 15]]
    assert script.suppress(boxes, [0.5, 0.9, 0.1, 0.4], 0.5) == [1, 3, 2]


def test_an_overlap_of_exactly_the_limit_is_kept() -> None:
    assert script.overlap([0, 0, 10, 10], [0, 0, 10, 5]) == 0.5
    assert script.suppress([[0, 0, 10, 10], [0, 0, 10, 5]], [0.9, 0.8], 0.5) == [0, 1]
    assert script.overlap([0, 0, 10, 10], [20, 20, 30, 30]) == 0.0


def test_the_boxes_of_the_nms_rung_exercise_it() -> None:
    boxes, scores = script.overlapping_boxes()
    assert len(set(scores)) == len(boxes) == 200
    assert 10 < len(boxes) - len(script.suppress(boxes, scores, 0.5)) < 190
    assert script.overlapping_boxes() == (boxes, scores)


@pytest.mark.parametrize(
    ("version", "expected", "same"),
    [
        ("2.4.1+cu121", "2.4.1", True),
        ("2.4.1+cu121", "2.4.1+cu121", True),
        ("2.4.1+cu121", "2.4.1+cu118", False),
        ("2.4.1", "2.4.1+cu118", False),
        ("2.4.10", "2.4.1", False),
    ],
)
def test_a_local_label_counts_only_when_it_is_asked_for(version: str, expected: str, *, same: bool) -> None:
    assert script.same_version(version, expected) is same


def test_distributions_are_found_by_their_metadata_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Some_Thing-1.2+cu118.dist-info", "debian.one-3.4-py3.11.egg-info", "some_thing_else-9.dist-info"):
        (tmp_path / "[odd]" / name).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "[odd]")])
    assert script.distribution_version("some-thing") == "1.2+cu118"
    assert script.distribution_version("debian-one") == "3.4"
    assert script.distribution_version("absent") is None


def test_everything_can_be_written_as_json() -> None:
    value = {1: (math.nan, math.inf, 1.5), "path": Path("/x"), "ok": True, "none": None, "bytes": "/\udce4n"}
    text = json.dumps(script.jsonable(value), allow_nan=False)
    assert json.loads(text) == {"1": ["nan", "inf", 1.5], "path": "/x", "ok": True, "none": None, "bytes": "/?n"}


def test_long_texts_keep_their_beginning_and_end() -> None:
    short = script.shorten("begin" + "x" * 10_000 + "end")
    assert short.startswith("begin")
    assert short.endswith("end")
    assert len(short) < 1300


def test_an_import_error_inside_an_installed_package_is_not_taken_for_its_absence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "envfix_test_broken.py").write_text("import envfix_test_absent\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert script.import_if_installed("envfix_test_absent") is None
    with pytest.raises(ModuleNotFoundError, match="envfix_test_absent"):
        script.import_if_installed("envfix_test_broken")


def test_who_may_download_keeps_the_way_out() -> None:
    environ = {"https_proxy": "http://proxy:3128"}
    made = ladder("auto")
    made.weights.download = True
    script.prepare_environment(made, environ)
    assert environ["https_proxy"] == "http://proxy:3128"
    assert "HTTPS_PROXY" not in environ


def test_no_connection_is_made_once_the_network_is_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, getattr(socket, name))  # put back after the test
    made = ladder("auto")
    made.network = script.forbid_network()
    with pytest.raises(OSError, match="no network connections"):
        urllib.request.urlopen("http://127.0.0.1:9/yolov8n.pt")
    with made.network_allowed(), pytest.raises(OSError, match="refused"):
        urllib.request.urlopen("http://127.0.0.1:9/yolov8n.pt")
    with pytest.raises(OSError, match="no network connections"):
        urllib.request.urlopen("http://127.0.0.1:9/yolov8n.pt")


def test_settings_and_caches_go_to_the_scratch_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/user")
    environ = {"XDG_CONFIG_HOME": "/home/user/.config"}
    script.move_home(str(tmp_path), environ)
    assert environ["HOME"] == environ["XDG_CONFIG_HOME"] == environ["APPDATA"] == str(tmp_path)
    assert environ["CUDA_CACHE_PATH"] == "/home/user/.nv/ComputeCache"
    # Where the folder is missing, ultralytics 8.0 takes /tmp.
    assert (tmp_path / ".config").is_dir()


GUESS = (
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that might"
    " have already set an error?"
)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from x",
            "Found no NVIDIA driver on your system.",
        ),
        (
            f"{GUESS} Error 803: system has unsupported display driver",
            "Error 803: system has unsupported display driver",
        ),
        (
            "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable",
            "CUDA unknown error",
        ),
        ("No CUDA GPUs are available", "No CUDA GPUs are available"),
    ],
)
def test_what_torch_advises_is_left_out(said: str, kept: str) -> None:
    assert script.without_advice(said) == kept


def test_a_missing_package_is_told_with_the_one_that_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "site-packages" / "envfix_test_library"
    library.mkdir(parents=True)
    library.joinpath("__init__.py").write_text("import envfix_test_absent\n")
    monkeypatch.syspath_prepend(str(library.parent))
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module("envfix_test_library")
    assert script.first_line(caught.value) == "envfix_test_absent is not installed, and envfix_test_library needs it"
    assert script.error_detail(caught.value)["missing"] == "envfix_test_absent"
    part = ModuleNotFoundError("No module named 'torch.amp'", name="torch.amp")
    assert script.first_line(part) == "ModuleNotFoundError: No module named 'torch.amp'"
    assert "missing" not in script.error_detail(part)
