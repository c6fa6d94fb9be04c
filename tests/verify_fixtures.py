"""What the tests of the verifier share: hosts that replay canned events, real environments, made-up packages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from envfix.host.interface import CommandResult, Deadline
from envfix.host.locking import EnvironmentLock
from envfix.host.real import RealHost
from envfix.model.outcome import Verification

SYSTEM_PYTHON = "/usr/bin/python3"
TARGET_SCRIPTS = str(Path(RealHost().script_path("")))


class CannedHost(RealHost):
    """Answers ``stream`` with prepared pieces of text; ``{cookie}`` in them becomes the cookie of the call."""

    def __init__(self, pieces: Sequence[str], result: CommandResult | None = None) -> None:
        self.pieces = pieces
        self.result = result or CommandResult(outcome="exited", returncode=0)
        self.seen_left: list[float] = []
        self.argv: Sequence[str] = ()
        self.scratch = ""

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
        """Hand over the pieces, noting after each how much time is left."""
        del env, drop_env, cwd, terminal, lock
        self.argv = argv
        self.scratch = json.loads(argv[-1])["scratch"]
        for piece in self.pieces:
            on_text(piece.replace("{cookie}", argv[2]))
            self.seen_left.append(deadline.left)
        return self.result


class DriverHost(RealHost):
    """Runs another script in place of the ladder."""

    def __init__(self, script: Path) -> None:
        self.script = script

    def script_path(self, script: str) -> str:
        """The replacement, whatever is asked for."""
        del script
        return str(self.script)


def event(kind: str, **fields: Any) -> str:
    """One line as the script in the target writes it."""
    return "\n{cookie}" + json.dumps({"event": kind, **fields}) + "\n"


def climbed(*names: str, status: str = "passed", **fields: Any) -> str:
    """Start and end of rungs."""
    end: dict[str, Any] = {"status": status, "seconds": 0.5, "message": "fine", "detail": {}, **fields}
    return "".join(event("start", rung=name, limit=1) + event("end", rung=name, **end) for name in names)


def outline(verification: Verification) -> dict[str, str]:
    """Rung names and their status."""
    return {rung.name: rung.status for rung in verification.rungs}


def run(*argv: str) -> None:
    """Run a program that must succeed."""
    result = RealHost().run(argv, timeout=300)
    assert result.ok, f"{argv}: {result.stdout}{result.stderr}"


def uv(*arguments: str) -> None:
    """Run uv, quietly."""
    from uv import find_uv_bin

    run(find_uv_bin(), "--quiet", *arguments)


def system_torch() -> None:
    """Skip the test where the system's Python has no torch and torchvision (Debian's packages are enough)."""
    result = RealHost().run([SYSTEM_PYTHON, "-c", "import torch, torchvision"], timeout=120)
    if not result.ok:
        pytest.skip(f"{SYSTEM_PYTHON} has no python3-torch and python3-torchvision: {result.failure}")


def environment_with_system_torch(folder: Path) -> str:
    """The interpreter of a new environment that sees the system's torch and torchvision."""
    uv("venv", "--system-site-packages", "--python", SYSTEM_PYTHON, str(folder))
    return str(folder / "bin" / "python")


def environment_with_yolo(folder: Path, *, training: bool = False) -> str:
    """The interpreter of a new environment with the system's torch and a current ultralytics, and what training imports."""
    python = environment_with_system_torch(folder)
    packages = ["ultralytics", "opencv-python-headless"]
    if training:
        packages += ["matplotlib<3.10", "contourpy<1.3", "cycler", "fonttools", "kiwisolver", "pyparsing", "packaging"]
        packages += ["python-dateutil", "polars", "polars-runtime-32"]
    uv("pip", "install", "--python", python, "--no-deps", *packages)
    return python


# Notes every connection, name look-up and program that the interpreter and its children ask for.
WATCH = """
import sys
def note(event, given, log={log!r}):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "subprocess.Popen", "os.system", "os.exec"):
        with open(log, "a") as stream:
            stream.write("%s %r\\n" % (event, given))
sys.addaudithook(note)
"""


class Desk:
    """A user's home with settings of ultralytics, a working folder and a folder for temporary files: to see what changes there."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, python: str) -> None:
        self.work = root / "work"
        self.log = root / "asked.txt"
        self._folders = [root / "home", self.work, root / "temporary", Path(python).parent.parent]
        for folder in self._folders[:-1]:
            folder.mkdir()
        settings = root / "home" / ".config" / "Ultralytics" / "settings.json"
        settings.parent.mkdir(parents=True)
        settings.write_text('{"settings_version": "0.0.6", "sync": true, "weights_dir": "weights"}')
        (root / "watch").mkdir()
        (root / "watch" / "sitecustomize.py").write_text(WATCH.format(log=str(self.log)))
        monkeypatch.setenv("HOME", str(root / "home"))
        monkeypatch.setenv("TMPDIR", str(root / "temporary"))
        monkeypatch.setenv("PYTHONPATH", str(root / "watch"))
        monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        monkeypatch.chdir(self.work)
        self._before = self._look()

    def _look(self) -> dict[str, tuple[int, float]]:
        found = (path for folder in self._folders for path in folder.rglob("*") if not path.is_dir())
        files = {str(path): (path.lstat().st_size, path.lstat().st_mtime) for path in found}
        return files | {str(path): (0, 0.0) for folder in self._folders for path in folder.rglob("*") if path.is_dir()}

    def changes(self) -> list[str]:
        """Files and folders that came, went or were written, of the home, the environment and the rest."""
        now = self._look()
        return sorted(path for path in self._before.keys() | now.keys() if self._before.get(path) != now.get(path))

    def asked(self) -> list[str]:
        """What asked for the network or to install something."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith("socket.") or re.search(r"pip|\buv\b|conda|git", line)]


# Makes a YOLOv8n that sees a person and a bus in the packaged picture and in no empty one, without any training: its last
# layer is solved for two places of that picture, on the features of random layers.
WEIGHTS_MAKER = """
import os, sys
import cv2, numpy, torch, ultralytics

path, kind = sys.argv[1:]
torch.manual_seed(8)
yolo = ultralytics.YOLO("yolov8n.yaml")
if kind != "unnamed":
    yolo.model.names = {number: "thing%d" % number for number in range(80)}
    yolo.model.names.update({0: "person", 5: "bus"} if kind != "others" else {})
bus = cv2.imread(os.path.join(os.path.dirname(ultralytics.__file__), "assets", "bus.jpg"))


def batch(picture):
    picture = cv2.resize(picture, (480, 640))[:, :, ::-1]
    return torch.from_numpy(numpy.ascontiguousarray(picture.transpose(2, 0, 1)[None])).float() / 255


def see(words):
    seen, last = [], branches[2]
    hook = last[1].register_forward_hook(lambda _module, _given, answer: seen.append(answer))
    for picture in (bus, numpy.full_like(bus, 114)):
        yolo.model(batch(picture))
    hook.remove()
    there, empty = (answer[0].flatten(1).T.double() for answer in seen)
    cells = torch.cat([torch.cat([there, empty]), torch.ones(len(there) * 2, 1).double()], 1)
    striking = (there - there.mean(0)).norm(dim=1).argsort(descending=True)
    for number, word, cell in ((0, "person", striking[0]), (5, "bus", striking[1])):
        if word in words:
            target, weight = torch.full((len(cells),), -8.0).double(), torch.ones(len(cells)).double()
            target[cell], weight[cell] = 8.0, 300.0
            rows = cells * weight.sqrt()[:, None]
            square = rows.T @ rows + 1e-3 * torch.eye(rows.shape[1]).double()
            answer = torch.linalg.solve(square, rows.T @ (target * weight.sqrt())).float()
            last[-1].weight[number], last[-1].bias[number] = answer[:-1].reshape(-1, 1, 1), answer[-1]


branches = yolo.model.model[-1].cv3
with torch.no_grad():
    norms = [module for module in yolo.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.momentum = None
        module.reset_running_stats()
    yolo.model.train()
    yolo.model(torch.cat([batch(bus), batch(bus[::-1])]))
    yolo.model.eval()
    for branch in branches:
        branch[-1].weight.zero_()
        branch[-1].bias.fill_(-12.0)
    if kind == "everywhere":
        branches[2][-1].bias[0] = branches[1][-1].bias[5] = 5.0
    else:
        see(kind)
    for module in norms:
        module.momentum = 0.03
yolo.save(path)
"""


def make_weights(python: str, path: Path, kind: str, private: Path) -> Path:
    """A YOLOv8n that sees the words in ``kind`` (person, bus), or sees both ``everywhere``, or is ``unnamed`` or of ``others``."""
    environment = {"YOLO_CONFIG_DIR": str(private), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    result = RealHost().run([python, "-c", WEIGHTS_MAKER, str(path), kind], timeout=300, env=environment)
    assert result.ok, result.stderr
    return path


def make_wheel(folder: Path, name: str, version: str, files: Mapping[str, str]) -> Path:
    """A pure-Python wheel with these files."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{info}/RECORD,,"]
    for path, text in content.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(text.encode())}")
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**content, f"{info}/RECORD": "\n".join(record) + "\n"}.items():
            archive.writestr(path, text)
    return wheel
