"""Trained weights on the ladder: what is refused before anything in the file runs, and what must be found with the rest."""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envfix.app import verifying
from envfix.errors import UsageError
from envfix.host.interface import CommandResult
from envfix.host.real import RealHost
from envfix.model.outcome import Rung, Verification
from envfix.verifier.interface import Weights
from envfix.verifier.ladder import verify
from tests.verify_fixtures import TARGET_SCRIPTS, DriverHost, environment_with_yolo, make_weights, outline

script: Any = importlib.import_module("envfix.target.envfix_verify_ladder")
trained = script.trained
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6549796\n"
TRUST = "--trust-weights loads it if you know who made it"


class Bomb:
    """Runs a program when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        """What the unpickler calls."""
        return os.system, (f"touch {self.mark}",)


def archive(content: bytes, *, others: tuple[str, ...] = (), name: str = "x/data.pkl") -> bytes:
    """A file as torch saves it: an uncompressed archive with a pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        made.writestr(name, content)
        made.writestr("x/version", b"3\n")
        for other in others:
            made.writestr(other, b"1234")
    return stream.getvalue()


def asks_for(*names: str) -> bytes:
    """A pickle that looks these names up, as protocol 2 does."""
    lookups = [b"c%s\n%s\n" % tuple(part.encode() for part in name.rsplit(".", 1)) for name in names]
    return b"\x80\x02" + b"0".join(lookups) + b"."


MODEL = asks_for("ultralytics.nn.tasks.DetectionModel", "torch.FloatStorage", "__builtin__.set")
CUT = archive(MODEL, others=("x/data/0",))[:-30]
ALTERED = archive(MODEL, others=("x/data/0",)).replace(b"1234", b"1235", 1)


# ---------------------------------------------------------------------------------------------------------------------
# looking without loading


@pytest.mark.parametrize(
    ("content", "problem", "words"),
    [
        (b"", "empty", "{path} is empty (0 bytes): its download did not get through; load it again"),
        (
            POINTER,
            "git_lfs_pointer",
            "{path} is only a pointer of Git LFS: the real file of 6.2 MiB was never fetched; `git lfs pull` fetches it",
        ),
        (
            b"\n<!DOCTYPE html><html>404</html>",
            "web_page",
            "{path} is a web page, not weights: its download was answered with a page; load it again",
        ),
        (CUT, "damaged", f"{{path}} is cut off or damaged ({len(CUT)} bytes): File is not a zip file; load it again"),
        (
            ALTERED,
            "damaged",
            f"{{path}} is cut off or damaged ({len(ALTERED)} bytes): wrong sum of x/data/0; load it again",
        ),
        (archive(b"\x80\x02]"), "damaged", "{path} is cut off or damaged (*): pickle exhausted before seeing STOP;*"),
        (archive(b"nonsense"), "damaged", "{path} is cut off or damaged (*"),
        (b"\x08\x07\x12\x07pytorch", "not_pytorch", r"{path} is not a file of PyTorch: it begins with \x08\x07\x12\x07pytorch"),
        (archive(b"hello", name="a.txt"), "not_pytorch", "{path} is an archive, but not one of PyTorch: it has no data.pkl"),
        (
            archive(MODEL, others=("y/data.pkl",)),
            "not_pytorch",
            "{path} is an archive, but not one of PyTorch: it has no data.pkl",
        ),
        (
            archive(MODEL, others=("x/constants.pkl",)),
            "torchscript",
            "{path} is a TorchScript export; give the .pt from which it was exported",
        ),
        (
            pickle.dumps({"model": 1}, protocol=2),
            "old_format",
            f"{{path}} is in the format of torch before 1.6, which is not looked into; {TRUST}",
        ),
        (
            archive(asks_for("collections.OrderedDict", "torch._utils._rebuild_tensor_v2")),
            "not_a_yolo_model",
            "{path} holds no YOLO model (only numbers or another network)",
        ),
        (
            archive(asks_for("models.yolo.Model", "torch.FloatStorage")),
            "yolov5",
            "{path} is a model of the old YOLOv5 repository, which ultralytics does not load",
        ),
        (
            archive(asks_for("posix.system", "ultralytics.nn.tasks.DetectionModel")),
            "unsafe",
            f"{{path}} is not loaded: besides a model it asks for posix.system, which could run any program; {TRUST}",
        ),
        (
            archive(asks_for("a.b", "c.d", "e.f", "g.h", "i.j")),
            "unsafe",
            f"{{path}} is not loaded: besides a model it asks for a.b, c.d, e.f and 2 more, which could run any program; {TRUST}",
        ),
        (
            archive(pickle.dumps(os.system, protocol=4)),
            "unsafe",
            "{path} is not loaded: besides a model it asks for hidden names (STACK_GLOBAL), which*",
        ),
        (archive(b"(ios\nsystem\n."), "unsafe", "{path} is not loaded: besides a model it asks for hidden names (INST)*"),
    ],
)  # fmt: skip
def test_what_is_no_yolo_model_is_refused_in_its_own_words(
    tmp_path: Path, content: bytes, problem: str, words: str
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(script.RungError) as caught:
        trained.inspect(str(path))
    assert caught.value.detail["problem"] == problem
    said, expected = str(caught.value), words.format(path=path)
    pieces = expected.split("*")
    assert said.startswith(pieces[0])
    assert said.endswith(pieces[-1])


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(script.RungError, match=f"^there is no file {tmp_path}/none.pt$"):
        trained.inspect(str(tmp_path / "none.pt"))
    with pytest.raises(script.RungError, match=f"^{tmp_path} is a folder, not a file of weights$"):
        trained.inspect(str(tmp_path))
    with pytest.raises(script.RungError, match=r"^/dev/zero is a device or a pipe, not a file of weights$"):
        trained.inspect("/dev/zero")


def test_a_list_of_names_that_unpacks_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trained, "NAMES_LIMIT", 1000)
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x/data.pkl", b"N" * 2000)
    with pytest.raises(script.RungError, match="its list of names is unpacked larger than any model's"):
        trained.inspect(str(path))


def test_a_model_names_its_parts_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(archive(MODEL))
    assert trained.inspect(str(path)) == [
        "builtins.set",
        "torch.FloatStorage",
        "ultralytics.nn.tasks.DetectionModel",
    ]


def test_trust_looks_only_whether_it_can_be_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(archive(asks_for("posix.system")))
    assert trained.inspect(str(path), trust=True) == ["posix.system"]
    path.write_bytes(POINTER)
    with pytest.raises(script.RungError, match="pointer of Git LFS"):
        trained.inspect(str(path), trust=True)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("torch.HalfStorage", True),
        ("torch.bfloat16", True),
        ("torch._utils._rebuild_parameter", True),
        ("torch.nn.modules.conv.Conv2d", True),
        ("ultralytics.nn.modules.head.Detect", True),
        ("ultralytics.nn.modules.Conv", True),
        ("ultralytics.yolo.utils.IterableSimpleNamespace", True),
        ("ultralytics.utils.loss.v8DetectionLoss", True),
        ("pathlib.PosixPath", True),
        ("builtins.eval", False),
        ("torch.load", False),
        ("torch.hub.load", False),
        ("torch.nn.modules.conv.os", False),
        ("torch.nn.modules.module._addindent", False),
        ("ultralytics.nn.autobackend.AutoBackend", False),
        ("ultralytics.nn.tasks.torch_safe_load", False),
        ("ultralytics.utils.downloads.safe_download", False),
        ("torch.FloatStorage\nos.system", False),
        ("os.system", False),
    ],
)
def test_names_that_a_model_may_use(name: str, *, good: bool) -> None:
    assert trained.allowed(name) is good


# ---------------------------------------------------------------------------------------------------------------------
# which file, which picture


def wish(folder: Path, environ: dict[str, str] | None = None, **request: Any) -> Any:
    return trained.Wish({"find": True, **request}, str(folder), environ or {})


def test_weights_are_found_in_the_working_folder_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, kept = tmp_path / "work", tmp_path / "kept"
    for folder in (work, kept, tmp_path / "home" / ".config" / "Ultralytics"):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert wish(work).file is None
    settings = tmp_path / "home" / ".config" / "Ultralytics" / "settings.json"
    settings.write_text(json.dumps({"weights_dir": str(kept)}))
    assert wish(work).file is None
    (kept / "yolov8n.pt").write_text("")
    assert wish(work).file == str(kept / "yolov8n.pt")
    (work / "yolov8n.pt").write_text("")
    assert wish(work).file == str(work / "yolov8n.pt")
    assert wish(work, find=False).file is None
    assert wish(work, file="other.pt").file == str(work / "other.pt")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("settings.yaml", "settings_version: 0.0.4\nweights_dir: /kept/here \nruns_dir: /r\n", "/kept/here"),
        ("settings.yaml", "weights_dir: '/kept/h e r e'\n", "/kept/h e r e"),
        ("settings.yaml", "runs_dir: /r\n", None),
        ("settings.json", '{"weights_dir": "/kept"}', "/kept"),
        ("settings.json", '{"weights_dir": 7}', None),
        ("settings.json", "[1]", None),
        ("settings.json", "{cut", None),
    ],
)
def test_old_new_and_broken_settings_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str | None
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    (tmp_path / name).write_text(text)
    assert trained.weights_folder(str(tmp_path / name)) == expected
    assert trained.weights_folders({"YOLO_CONFIG_DIR": str(tmp_path)}) == ([expected] if expected else [])


def test_our_own_earlier_picture_is_replaced_and_no_link_of_anybody(tmp_path: Path) -> None:
    unnamed = wish(tmp_path)
    for content in (b"first", b"second"):
        trained.write_picture(unnamed, content)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"envfix-verify.jpg": b"second"}
    (tmp_path / "envfix-verify.jpg").unlink()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "envfix-verify.jpg").symlink_to("mine")
    with pytest.raises(OSError, match=r"envfix-verify\.jpg is not a picture of envfix"):
        trained.write_picture(unnamed, b"third")
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_picture_goes_through_links_and_into_pipes_and_replaces_neither(tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to("target.jpg")
    trained.write_picture(wish(tmp_path, picture="link.jpg"), b"picture")
    assert (tmp_path / "link.jpg").is_symlink()
    assert (tmp_path / "target.jpg").read_bytes() == b"picture"
    os.mkfifo(tmp_path / "pipe.jpg")
    reader = os.open(tmp_path / "pipe.jpg", os.O_RDONLY | os.O_NONBLOCK)
    trained.write_picture(wish(tmp_path, picture="pipe.jpg"), b"picture")
    assert os.read(reader, 100) == b"picture"
    os.close(reader)
    assert (tmp_path / "pipe.jpg").is_fifo()


def test_weights_need_the_level_at_which_they_are_tried() -> None:
    with pytest.raises(UsageError, match="weights are not tried at --level cuda") as caught:
        verifying.verify("3", level="cuda", weights="yolov8n.pt")
    assert caught.value.hint == "take --level yolo or train"


def test_only_a_named_file_can_be_trusted() -> None:
    with pytest.raises(UsageError, match="--trust-weights needs --weights FILE"):
        verifying.verify("3", trust_weights=True)


def test_whoever_looks_at_torch_load_sees_the_real_one() -> None:
    def load(f: str, *, weights_only: bool = False) -> tuple[str, bool]:
        return f, weights_only

    torch = SimpleNamespace(load=load)
    loader = trained.guard(torch)
    assert torch.load is loader
    assert list(inspect.signature(torch.load).parameters) == ["f", "weights_only"]
    assert torch.load("a.pt", weights_only=True) == ("a.pt", True)


# ---------------------------------------------------------------------------------------------------------------------
# with a real torch


@pytest.fixture(scope="module")
def yolo_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An environment with the system's torch and a current ultralytics."""
    return environment_with_yolo(tmp_path_factory.mktemp("yolo") / "env")


@pytest.fixture(scope="module")
def seeing(yolo_python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that find the person and the bus."""
    folder = tmp_path_factory.mktemp("weights")
    return make_weights(yolo_python, folder / "yolov8n.pt", "person,bus", folder)


def envfix_verify(*arguments: str) -> CommandResult:
    return RealHost().run([sys.executable, "-m", "envfix", "verify", *arguments], timeout=300)


def rung(verification: Verification) -> Rung:
    (found,) = (one for one in verification.rungs if one.name == "yolo_weights")
    return found


@pytest.mark.online
@pytest.mark.slow
def test_trained_weights_find_the_person_and_the_bus(
    yolo_python: str, seeing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, work, temporary = (tmp_path / name for name in ("home", "work", "temporary"))
    for folder in (home, work, temporary):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.chdir(work)
    answer = envfix_verify("--python", yolo_python, "--weights", str(seeing), "--json")
    assert answer.ok, answer.stderr
    document = json.loads(answer.stdout)
    assert document["weights"] == "yolov8n.pt"
    last = document["rungs"][-1]
    assert (last["name"], last["status"]) == ("yolo_weights", "passed")
    assert last["detail"]["found"] == {"bus": 1, "person": 1}
    picture = work / "envfix-verify.jpg"
    assert last["message"] == f"yolov8n.pt finds 1 bus, 1 person in bus.jpg; picture: {picture}"
    assert last["detail"]["picture"] == str(picture)
    assert picture.read_bytes().startswith(b"\xff\xd8")
    assert [path for folder in (home, work, temporary) for path in folder.rglob("*")] == [picture]


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "problem", "words"),
    [
        ("unnamed", "untrained", "w.pt found no person and no bus in bus.jpg: are these trained weights?"),
        ("neither", "untrained", "w.pt found no person and no bus in bus.jpg: are these trained weights?"),
        ("person", "poor", "w.pt found no bus in bus.jpg"),
        (
            "everywhere",
            "untrained",
            "w.pt finds a person or a bus in an empty picture too: are these trained weights?",
        ),
    ],
)
def test_weights_that_do_not_look_are_noticed(
    yolo_python: str, tmp_path: Path, kind: str, problem: str, words: str
) -> None:
    path = make_weights(yolo_python, tmp_path / "w.pt", kind, tmp_path)
    verification = verify(RealHost(), yolo_python, weights=Weights(file=str(path), picture=str(tmp_path / "p.jpg")))
    failed = verification.failed
    assert failed is not None
    assert (failed.name, failed.message, failed.detail["problem"]) == ("yolo_weights", words, problem)
    assert verification.weights == "random"
    assert not (tmp_path / "p.jpg").exists()


@pytest.mark.online
@pytest.mark.slow
def test_weights_of_other_classes_need_not_find_a_bus(yolo_python: str, tmp_path: Path) -> None:
    path = make_weights(yolo_python, tmp_path / "w.pt", "others", tmp_path)
    picture = tmp_path / "p.png"
    verification = verify(RealHost(), yolo_python, weights=Weights(file=str(path), picture=str(picture)))
    assert verification.status == "passed", verification.failed
    assert rung(verification).message == (
        f"w.pt finds nothing in bus.jpg (its classes are others than person and bus); picture: {picture}"
    )
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(POINTER, "weights_file_is_git_lfs_pointer", id="pointer"),
        pytest.param(b"<html>", "weights_file_is_git_lfs_pointer", id="page"),
        pytest.param(CUT, "corrupt_download_hash", id="cut"),
        pytest.param(b"", "corrupt_download_hash", id="empty"),
        pytest.param(archive(asks_for("posix.system")), None, id="unsafe"),
    ],
)
def test_a_refused_file_fails_its_rung_with_its_cause(
    yolo_python: str, tmp_path: Path, content: bytes, cause: str | None
) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    failed = verify(RealHost(), yolo_python, weights=Weights(file=str(tmp_path / "w.pt"))).failed
    assert failed is not None
    assert (failed.name, failed.cause) == ("yolo_weights", cause)


@pytest.mark.online
@pytest.mark.slow
def test_a_bomb_goes_off_only_for_those_who_trust_it(yolo_python: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "went-off", tmp_path / "w.pt"
    path.write_bytes(archive(pickle.dumps(Bomb(mark), protocol=2), others=("x/data/0",)))
    refused = verify(RealHost(), yolo_python, weights=Weights(file=str(path))).failed
    assert refused is not None
    assert "besides a model it asks for posix.system" in refused.message
    assert not mark.exists()
    trusted = verify(RealHost(), yolo_python, weights=Weights(file=str(path), trust=True)).failed
    assert trusted is not None  # a bomb is no model even then
    assert mark.exists()


BEHIND_THE_LIST = """
import envfix_verify_weights as trained
good = ["collections.OrderedDict", "ultralytics.nn.tasks.DetectionModel"]
trained.inspect = lambda path, trust=False: good
"""
DRIVER = f"""
import sys
sys.path.insert(0, {TARGET_SCRIPTS!r})
import envfix_verify_ladder as ladder
%s
ladder.main(sys.argv[1:])
"""
BUILDS = b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n}(X\x08\x00\x00\x00backbone]X\x04\x00\x00\x00head]u\x85R."


@pytest.mark.online
@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(asks_for("posix.system"), "is not loaded: posix.system is no part of a model", id="name"),
        pytest.param(
            BUILDS, "is not loaded: the file wants to build a DetectionModel while it is loaded", id="building"
        ),
    ],
)
def test_what_passes_the_first_look_is_stopped_while_it_loads(
    yolo_python: str, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "w.pt").write_bytes(archive(content, others=("x/data/0",)))
    (tmp_path / "driver.py").write_text(DRIVER % BEHIND_THE_LIST)
    host = DriverHost(tmp_path / "driver.py")
    failed = verify(host, yolo_python, weights=Weights(file=str(tmp_path / "w.pt"))).failed
    assert failed is not None
    assert failed.message.endswith(words)
    assert failed.detail["problem"] == "unsafe"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            (
                "Weights only load failed. In PyTorch 2.6, ... trusted.\nTrying to load unsupported GLOBAL posix.system whose"
                " module posix is blocked."
            ),
            "unsupported GLOBAL posix.system",
        ),
        (
            "Weights only load failed. ... use case: WeightsUnpickler error: \n\nthe file wants to build a DetectionModel\n\nCheck",
            "the file wants to build a DetectionModel",
        ),
        ("Weights only load failed. WeightsUnpickler error: Unsupported operand 149", "Unsupported operand 149"),
        ("Weights only load failed.", "it holds more than weights"),
    ],
)
def test_why_torch_refuses_a_file(text: str, reason: str) -> None:
    assert trained.refusal(text) == reason


@pytest.mark.online
@pytest.mark.slow
def test_a_file_that_merely_lies_there_cannot_fail_an_environment(
    yolo_python: str, seeing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yolov8n.pt").write_bytes(POINTER)
    passed = verify(RealHost(), yolo_python, weights=Weights(find=True))
    assert (passed.status, rung(passed).status, passed.weights) == ("passed", "skipped", "random")
    assert rung(passed).message.startswith(
        f"a file that was found is of no use: {tmp_path}/yolov8n.pt is only a pointer"
    )
    (tmp_path / "yolov8n.pt").write_bytes(seeing.read_bytes())
    passed = verify(RealHost(), yolo_python, weights=Weights(find=True))
    assert (rung(passed).status, passed.weights) == ("passed", "yolov8n.pt")


@pytest.mark.online
@pytest.mark.slow
def test_without_weights_the_rung_is_skipped(yolo_python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    answer = envfix_verify("--python", yolo_python)
    assert answer.ok, answer.stderr
    assert "no yolov8n.pt is here; --weights FILE names one, --allow-download" in " ".join(answer.stdout.split())
    assert "all rungs up to yolo_predict hold" in " ".join(answer.stdout.split())


@pytest.mark.online
@pytest.mark.slow
def test_a_picture_that_cannot_be_written_fails_only_those_who_asked_for_it(
    yolo_python: str, seeing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tmp_path / "no" / "p.jpg"
    failed = verify(RealHost(), yolo_python, weights=Weights(file=str(seeing), picture=str(wanted))).failed
    assert failed is not None
    assert failed.message == f"the picture cannot be written to {wanted}: No such file or directory"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "envfix-verify.jpg").mkdir()
    passed = verify(RealHost(), yolo_python, weights=Weights(file=str(seeing)))
    assert outline(passed)["yolo_weights"] == "passed"
    assert rung(passed).message.endswith(f"; no picture saved: {tmp_path}/envfix-verify.jpg is not a picture of envfix")


@pytest.mark.online
@pytest.mark.slow
def test_a_release_without_the_picture_draws_one(yolo_python: str, seeing: Path, tmp_path: Path) -> None:
    hide = "real = ladder.os.path.isfile\nladder.os.path.isfile = lambda path: 'assets' not in path and real(path)"
    (tmp_path / "driver.py").write_text(DRIVER % hide)
    wished = Weights(file=str(seeing), picture=str(tmp_path / "p.jpg"))
    passed = rung(verify(DriverHost(tmp_path / "driver.py"), yolo_python, weights=wished))
    assert passed.message == (
        f"yolov8n.pt predicts (on a drawn picture: this ultralytics has no bus.jpg); picture: {tmp_path}/p.jpg"
    )
