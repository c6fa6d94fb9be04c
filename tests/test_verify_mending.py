"""What mends a failed rung: the one command, by what the rung saw, by facts of the machine, or by a library's own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from envfix.app import mending, scene
from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.model.outcome import NOT_TRIED, Rung, Verification
from envfix.render import open_output
from envfix.verifier.interface import Weights
from tests.conftest import interpreter
from tests.fakes.prefixes import make_prefix

Packages = dict[str, tuple[str, ...]]


def environment(folder: Path, packages: Packages, python: str = "3.8") -> str:
    """The interpreter of a prefix in which these packages (``name-version``) are installed, as far as metadata tells."""
    site = make_prefix(folder / "env", interpreter(python))
    for name, requires in {"pip-24.0": (), **packages}.items():
        info = site / f"{name}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name.split('-')[0]}", f"Version: {name.split('-')[1]}"]
        info.joinpath("METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in requires)]) + "\n")
        if name.startswith("torch-"):
            (site / "torch" / "lib").mkdir(parents=True)
            (site / "torch" / "__init__.py").write_text("")
            (site / "torch" / "version.py").write_text(f"__version__ = '{name.split('-')[1]}+cu102'\ncuda = '10.2'\n")
    return str(folder / "env" / "bin" / "python")


OLD_STACK: Packages = {
    "torch-1.9.0": (),
    "torchvision-0.10.0": ("torch (==1.9.0)", "numpy", "pillow>=5.3.0"),
    "numpy-1.22.0": (),
    "ultralytics-8.2.103": (
        "torch>=1.8.0",
        "torchvision>=0.9.0",
        "matplotlib>=3.3.0",
        "opencv-python>=4.6.0",
        "requests>=2.23.0",
        "pytest; extra == 'dev'",
        "colorama; sys_platform == 'win32'",
    ),
    "matplotlib-3.7.5": (),
    "opencv_python_headless-4.8.1.78": ("numpy",),
}
KEPT = ["torch==1.9.0", "torchvision==0.10.0"]


def failed(name: str, **fields: Any) -> Verification:
    rung = Rung(name=name, status="failed", seconds=0.1, **fields)
    return Verification(status="failed", device="cpu", python="python", rungs=(rung,))


def mend(
    python: str, verification: Verification, weights: Weights | None = None
) -> tuple[str, list[list[str]], str | None]:
    """The sentence, the commands and the cause."""
    answer = mending.mended(verification, scene.here(RealHost(), python), weights or Weights(find=True))
    (remedy,) = answer.remedies
    assert answer.failed is not None
    return remedy.text, [list(argv) for argv in remedy.commands], answer.failed.cause


@pytest.mark.parametrize(
    ("rung", "module", "without", "text", "wanted"),
    [
        (
            "yolo_predict",
            "tqdm",
            (),
            "Install it and what else ultralytics lacks, and keep this torch.",
            ["tqdm", "requests>=2.23.0", "pillow>=5.3.0"],
        ),
        (
            "train",
            "cv2",
            ("opencv_python_headless-4.8.1.78",),
            "Install it and what else ultralytics lacks, and keep this torch.",
            ["opencv-python-headless<4.12", "requests>=2.23.0", "pillow>=5.3.0"],
        ),
        ("versions", "numpy", ("numpy-1.22.0",), "Install it, and keep this torch.", ["numpy<2"]),
        ("versions", "PIL", (), "Install it, and keep this torch.", ["pillow"]),
        ("import", "pkg_resources", (), "Install it, and keep this torch.", ["setuptools<81"]),
    ],
)
def test_a_missing_package_comes_with_what_else_is_missing_and_torch_stays(
    tmp_path: Path, rung: str, module: str, without: tuple[str, ...], text: str, wanted: list[str]
) -> None:
    python = environment(tmp_path, {name: needs for name, needs in OLD_STACK.items() if name not in without}, "3.9")
    said, commands, cause = mend(python, failed(rung, detail={"missing": module}, message=f"{module} is not installed"))
    (command,) = commands
    assert (said, cause) == (text, None)
    assert command[:4] == [python, "-m", "pip", "install"]
    assert sorted(command[4:]) == sorted(wanted + KEPT)


@pytest.mark.parametrize("module", ["torchvision", "ultralytics"])
def test_what_belongs_to_torch_is_chosen_by_envfix(tmp_path: Path, module: str) -> None:
    python = environment(tmp_path, OLD_STACK)
    text, commands, _ = mend(python, failed("nms", detail={"missing": module}))
    assert text == f"Let envfix choose the {module} that goes with this torch, and install it."
    assert commands == [["envfix", "install", "--python", python, "--torch", "1.9.0"]]


@pytest.mark.parametrize("module", ["ultralytics", "tqdm"])
def test_a_python_of_the_system_is_left_alone(module: str) -> None:
    if not list(Path("/usr/lib").glob("python3*/EXTERNALLY-MANAGED")):
        pytest.skip("no Python here is marked as the system's")
    text, commands, _ = mend("/usr/bin/python3", failed("yolo_predict", detail={"missing": module}))
    assert text == "Let envfix choose and install a stack that runs here, in an environment of its own."
    assert commands == [["envfix", "install", "--new-env", "yolo-env", "--python", "/usr/bin/python3"]]


def test_a_python_that_no_ultralytics_runs_on_is_told_so(tmp_path: Path) -> None:
    python = environment(tmp_path, {"torch-1.9.0": ()}, "3.6")
    text, commands, _ = mend(python, failed("yolo_predict", detail={"missing": "ultralytics"}))
    assert (
        text == "There is no ultralytics for a Python older than 3.7: let envfix make an environment with a newer one."
    )
    assert commands == [["envfix", "install", "--new-env", "yolo-env", "--python", "3.11"]]


@pytest.mark.parametrize(
    ("problem", "words", "command"),
    [
        ("damaged", "Fetch the file again", []),
        ("web_page", "it may ask for a login", []),
        ("git_lfs_pointer", "Fetch the real file", [["git", "lfs", "pull"]]),
        ("torchscript", "from which it was exported", []),
        ("not_a_yolo_model", "weights of a YOLOv8 model", []),
        (
            "unsafe",
            "only if you know who made this file",
            [["envfix", "verify", "--python", "{python}", "--weights", "a.pt", "--trust-weights"]],
        ),
        (
            "other_release",
            "Take the ultralytics that made the file, or a newer one, and keep this torch.",
            [["{python}", "-m", "pip", "install", "--upgrade", "ultralytics", *KEPT]],
        ),
    ],
)
def test_a_file_of_weights_of_no_use(tmp_path: Path, problem: str, words: str, command: list[list[str]]) -> None:
    python = environment(tmp_path, OLD_STACK)
    text, commands, _ = mend(python, failed("yolo_weights", detail={"problem": problem}), Weights(file="a.pt"))
    assert words in text
    assert commands == [[word.replace("{python}", python) for word in argv] for argv in command]


def test_facts_of_the_machine_bring_the_remedy_of_their_rule(tmp_path: Path) -> None:
    python = environment(tmp_path, {})
    text, commands, cause = mend(python, failed("import", cause="torch_not_installed", detail={"missing": "torch"}))
    assert (text, cause) == (
        "Let envfix choose and install a stack that runs here, in an environment of its own.",
        "torch_not_installed",
    )
    assert commands == [["envfix", "install", "--new-env", "yolo-env", "--python", python]]


def test_an_old_ultralytics_beside_a_new_torch_is_updated(tmp_path: Path) -> None:
    python = environment(tmp_path, {"torch-2.6.0": (), "ultralytics-8.0.100": ("torch>=1.7.0",)}, "3.11")
    detail = {"error": "UnpicklingError", "text": "Weights only load failed. This file can still be loaded"}
    _, commands, cause = mend(python, failed("yolo_predict", cause="library_too_old_for_torch", detail=detail))
    assert cause == "library_too_old_for_torch"
    assert commands == [[python, "-m", "pip", "install", "-U", "ultralytics", "torch==2.6.0"]]


@pytest.mark.parametrize("cause", [None, "torch_import_fails"])
def test_a_cause_that_only_the_words_show_is_named(tmp_path: Path, cause: str | None) -> None:
    python = environment(tmp_path, OLD_STACK)
    detail = {"error": "ImportError", "text": "dlopen: cannot load any more object with static TLS"}
    text, _, named = mend(python, failed("import", cause=cause, detail=detail))
    assert named == "static_tls_exhausted"
    assert text


@pytest.mark.parametrize("cause", [None, "torch_import_fails"])
def test_where_nothing_is_known_the_machine_is_looked_at(tmp_path: Path, cause: str | None) -> None:
    python = environment(tmp_path, OLD_STACK)
    text, commands, named = mend(python, failed("conv", cause=cause, message="the convolution is wrong"))
    assert (text, named) == ("See what envfix finds there.", cause)
    assert commands == [["envfix", "diagnose", "--python", python]]


def test_what_passed_needs_no_mending() -> None:
    verification = Verification(status="passed", device="cpu", python="python", rungs=())
    assert mending.mended(verification, scene.here(RealHost(), "python"), Weights()) is verification


# ---------------------------------------------------------------------------------------------------------------------
# as a user sees it


def envfix(*arguments: str) -> CommandResult:
    import sys

    return RealHost().run([sys.executable, "-m", "envfix", *arguments], timeout=120)


def test_the_stair_ends_with_what_to_do(tmp_path: Path) -> None:
    python = environment(tmp_path, {})
    result = envfix("verify", "--python", python, "--level", "cuda")
    assert result.returncode == 4
    stair, rest = result.stdout.split("not tried: ")
    assert [line.split()[1] for line in stair.splitlines() if line.strip()[:1] in ("✓", "✗")] == [
        "interpreter",
        "import",
    ]
    assert "torch is not installed in this interpreter (torch_not_installed)" in " ".join(stair.split())
    assert rest.splitlines()[0] == "versions, driver, allocate, matmul, conv, nms"
    assert "envfix install --new-env yolo-env --python" in rest
    assert rest.splitlines()[-1].strip() == "envfix causes torch_not_installed"


def test_scripts_get_every_rung_and_the_remedy(tmp_path: Path) -> None:
    python = environment(tmp_path, {})
    document = json.loads(envfix("verify", "--python", python, "--level", "import", "--json").stdout)
    assert [(rung["name"], rung["status"]) for rung in document["rungs"]] == [
        ("interpreter", "passed"),
        ("import", "failed"),
        ("versions", "skipped"),
    ]
    assert document["rungs"][2]["detail"] == {NOT_TRIED: "import"}
    assert document["remedies"][0]["commands"] == [["envfix", "install", "--new-env", "yolo-env", "--python", python]]


def test_a_long_message_stays_in_its_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    rung = Rung(
        name="yolo_predict", status="passed", seconds=61.0, message="one two three four five six seven eight nine"
    )
    open_output(as_json=False, color=False).rung(rung)
    first, second = capsys.readouterr().out.splitlines()
    assert first.index("one") == len(second) - len(second.lstrip())


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nosuch.pt", "there is no file nosuch.pt", "name the .pt file of a YOLOv8 model, or leave --weights out"),
        (".", ". is a folder", "name the .pt file in it"),
        ("", "there is no file ", "name the .pt file of a YOLOv8 model, or leave --weights out"),
        (
            "~nosuchuser/x.pt",
            "there is no file ~nosuchuser/x.pt",
            "name the .pt file of a YOLOv8 model, or leave --weights out",
        ),
    ],
)
def test_weights_that_are_not_there_are_a_wrong_request(name: str, message: str, hint: str) -> None:
    result = envfix("verify", "--weights", name)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == [f"error: {message}", f"hint: {hint}"]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("nosuch/x.jpg", "there is no folder for nosuch/x.jpg", "name another place"),
        (".", ". is a folder", "name a file in it"),
    ],
)
def test_a_picture_needs_a_place_before_anything_is_measured(name: str, message: str, hint: str) -> None:
    result = envfix("verify", "--picture", name)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-2:] == [f"error: {message}", f"hint: {hint}"]
