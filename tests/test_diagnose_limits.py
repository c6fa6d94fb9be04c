"""What diagnose promises of a hostile machine: it ends in time, says one JSON document, and only the fact concerned is unknown."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.app.beside import Beside
from envfix.app.detecting import detect
from envfix.host.interface import FileResult
from envfix.host.real import RealHost
from envfix.host.recording import RecordingHost
from tests.fakes.running import Finished, envfix
from tests.fakes.targets import SM_OF_CU118, make_venv, write_script, write_torch

# Seconds a question may take here, and all of them together: some probes ask two or three programs one after the other,
# each of which is ended politely first (2 seconds).
QUESTION, ALL = 2.0, 25.0
MEGABYTE = 1_000_000
PROGRAMS = tuple(
    name
    for line in ("nvidia-smi nvcc gcc g++ clang lspci ldconfig", "conda mamba pip pip3 yolo torchrun python python3")
    for name in line.split()
)
HANGS = "trap '' TERM\nwhile :; do sleep 1; done\n"
TALKS_WITHOUT_END = "exec yes 'GPU 0: a card, and another, and another'\n"


class Place:
    """A user's machine in a folder: a home, programs on PATH, and an environment with a torch."""

    def __init__(self, root: Path) -> None:
        self.home, self.bin, self.work = root / "home", root / "bin", root / "work"
        for folder in (self.home, self.bin, self.work):
            folder.mkdir()
        self.env = root / "env"
        self.site = make_venv(self.env)
        write_torch(self.site, "2.7.1+cu118", "11.8", SM_OF_CU118)
        self.variables: dict[str, str] = {}

    def program(self, name: str, text: str) -> None:
        """A program on PATH."""
        write_script(self.bin / name, text)

    def diagnose(self, *arguments: str) -> Finished:
        """The whole command, with nothing of the machine that runs the test on PATH and in HOME."""
        for name in ("sh", "sleep", "yes", "head", "cat"):  # what the programs above need
            if not (self.bin / name).exists():
                (self.bin / name).symlink_to(
                    next(f"{root}/{name}" for root in ("/usr/bin", "/bin") if os.path.exists(f"{root}/{name}"))
                )
        env = {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "ENVFIX_TIMEOUT": str(QUESTION),
            "ENVFIX_CACHE_DIR": os.environ["ENVFIX_CACHE_DIR"],
            "PYENV_ROOT": str(self.home / ".pyenv"),
            **self.variables,
        }
        start = time.monotonic()
        finished = envfix(
            "diagnose",
            "--no-import",
            "--json",
            "--python",
            str(self.env),
            *arguments,
            env=env,
            cwd=self.work,
            timeout=60,
        )
        assert time.monotonic() - start < ALL, finished
        assert finished.code in (0, 1), finished
        assert finished.document["schema"] == "envfix.diagnose/1"
        return finished


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def facts(finished: Finished) -> dict[str, Any]:
    """Every fact of machine and environment by its name."""
    said = finished.document["facts"]
    return {**said["machine"], **said["environment"]}


def concerned(finished: Finished, *names: str) -> dict[str, Any]:
    """Checks that the named facts are unknown with a reason, and that the torch and the Python are told all the same."""
    said = facts(finished)
    for name in names:
        assert said[name]["missing"] == "unknown", (name, said[name])
        assert said[name]["problem"], name
    if "torch" not in names:
        assert said["torch"]["value"]["build"] == "2.7.1+cu118"
    if "interpreter" not in names:
        assert said["interpreter"]["value"]["prefix"]
    assert not any(
        "please report it" in (fact.get("problem") or "") for fact in said.values() if isinstance(fact, dict)
    ), said
    return said


def test_quiet_machine_is_told_in_full(place: Place) -> None:
    said = concerned(place.diagnose())
    assert said["driver"]["missing"] == "absent"
    assert said["toolkits"].get("missing") != "unknown"


# --- programs ---


def test_hanging_nvidia_smi(place: Place) -> None:
    place.program("nvidia-smi", HANGS)
    said = concerned(place.diagnose(), "driver", "gpus")
    assert "no answer within the time limit" in said["driver"]["problem"]


def test_hanging_nvcc(place: Place) -> None:
    place.program("nvcc", HANGS)
    toolkits = facts(place.diagnose())["toolkits"]
    # One that answers may lie elsewhere (/usr/local); the one that hangs is not among them.
    assert toolkits.get("missing") == "unknown" or all(
        kit["nvcc"] != str(place.bin / "nvcc") for kit in toolkits["value"]
    )


@pytest.mark.parametrize("name", ["gcc", "yolo"])
def test_other_programs_that_hang(place: Place, name: str) -> None:
    place.program(name, HANGS)
    concerned(place.diagnose())


def test_all_programs_hang_at_once(place: Place) -> None:
    for name in PROGRAMS:
        place.program(name, HANGS)
    concerned(place.diagnose(), "driver")
    time.sleep(0.5)
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(place.bin).encode() in _read(path)]
    assert left == [], "a program that hangs outlives envfix"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has just ended
        return b""


def test_hanging_python(place: Place) -> None:
    write_script(place.bin / "hanging-python", HANGS)
    finished = place.diagnose("--python", str(place.bin / "hanging-python"))
    said = concerned(finished, "interpreter", "torch", "distributions")
    assert "within" in said["interpreter"]["problem"]
    assert said["driver"]["missing"] == "absent", "the machine is told all the same"


def test_programs_that_talk_without_end(place: Place) -> None:
    for name in PROGRAMS:
        place.program(name, TALKS_WITHOUT_END)
    concerned(place.diagnose())


def test_programs_that_print_rubbish(place: Place) -> None:
    for name in PROGRAMS:
        place.program(name, "head -c 200000 /dev/urandom; head -c 2000 /dev/urandom >&2\n")
    concerned(place.diagnose())


def test_programs_that_are_no_programs(place: Place) -> None:
    for name in PROGRAMS:
        (place.bin / name).write_bytes(os.urandom(5000))
        (place.bin / name).chmod(0o755)
    concerned(place.diagnose())


SMI_LIES = {
    "no cards": "",
    "columns of another kind": "0, GPU-1, a, b\n",
    "words for numbers": "zero, GPU-1, Card, not-a-version, many, none, bus\n",
    "huge numbers": f"{'9' * 4000}, GPU-1, Card, {'9' * 400}.1, {'9' * 4000}, 5, bus\n",
    "a thousand cards": "".join(f"{n}, GPU-{n}, Card, 550.54.14, 1, 1, bus\n" for n in range(1000)),
    "quotes without end": '0, "GPU-1, Card, 550.54.14\n' * 1000,
    "the reason on standard output": "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n",
    "other digits": "\u0663, GPU-1, Card, 550.54.14, \u0663, \u00b2, bus\n",
}


@pytest.mark.parametrize("name", SMI_LIES)
def test_lying_nvidia_smi(place: Place, name: str) -> None:
    (place.bin / "answer").write_text(SMI_LIES[name], encoding="utf-8")
    place.program("nvidia-smi", f"cat {place.bin / 'answer'}\n")
    concerned(place.diagnose())


# --- files ---

# Files that some probe reads, by where they lie: under the home, the environment or the working folder.
FILES = {
    ".condarc": ("home", ".condarc", "conda"),
    "condarc of the environment": ("env", ".condarc", None),
    ".conda/.condarc": ("home", ".conda/.condarc", "conda"),
    ".conda/environments.txt": ("home", ".conda/environments.txt", None),
    "pip.conf": ("home", ".config/pip/pip.conf", "package_sources"),
    "old pip.conf": ("home", ".pip/pip.conf", "package_sources"),
    "pip.conf of the environment": ("env", "pip.conf", "package_sources"),
    "uv.toml": ("home", ".config/uv/uv.toml", "package_sources"),
    "pyvenv.cfg beside": ("work", "pyvenv.cfg", None),
    "conda-meta record": ("env", "conda-meta/pytorch-2.0.1-py3.8_cuda11.7_0.json", None),
    "conda history": ("env", "conda-meta/history", None),
    "path file": ("site", "zz.pth", None),
    "metadata": ("site", "numpy-1.24.0.dist-info/METADATA", None),
    "record": ("site", "numpy-1.24.0.dist-info/RECORD", None),
    "direct_url": ("site", "numpy-1.24.0.dist-info/direct_url.json", None),
    "torchvision's version": ("site", "torchvision/version.py", None),
    "torch in the working folder": ("work", "torch.py", None),
    ".python-version": ("work", ".python-version", None),
}


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


@functools.cache
def _huge_file(folder: Path) -> Path:
    line = b"channels: [a, {b: c}]  # and so on for ever and ever\n"
    (folder / "huge").write_bytes(line * (100 * MEGABYTE // len(line)))
    return folder / "huge"


@pytest.fixture(scope="module", autouse=True)
def _room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One huge file is enough, and does not stay."""
    yield
    (tmp_path_factory.getbasetemp() / "huge").unlink(missing_ok=True)


def _huge(path: Path) -> None:
    # .../pytest-N/test_.../...: its own temporary folder lies under the one of the session.
    path.symlink_to(_huge_file(next(folder for folder in path.parents if folder.parent.name.startswith("pytest-of-"))))


def _rubbish(path: Path) -> None:
    path.write_bytes(os.urandom(300_000))


def _half(path: Path) -> None:
    path.write_text('{"name": "pytorch", "version": "2.0.1", "files": ["lib/python3.8/site-pack', encoding="utf-8")


def _brackets(path: Path) -> None:
    path.write_text("[" * 200_000, encoding="utf-8")


def _unreadable(path: Path) -> None:
    path.write_text("channels: [defaults]\n", encoding="utf-8")
    path.chmod(0)


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _nul(path: Path) -> None:
    path.write_bytes(b"\x00" * 50_000)


MADE: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe,
    "a folder": _folder,
    "100 MB": _huge,
    "rubbish": _rubbish,
    "half written": _half,
    "brackets": _brackets,
    "unreadable": _unreadable,
    "a link to itself": _loop,
    "zero bytes": _nul,
}


# CPython reads path files when it starts, whatever they are: such a Python does not start, and that is the answer.
STOPS_PYTHON = {("path file", "a pipe"), ("path file", "100 MB"), ("path file", "rubbish")}


def spoil(place: Place, which: str, how: str) -> None:
    """Make one file what it should not be."""
    root, name, _ = FILES[which]
    path = {"home": place.home, "env": place.env, "work": place.work, "site": place.site}[root] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    MADE[how](path)


@pytest.mark.parametrize("how", MADE)
def test_no_file_is_what_it_should_be(place: Place, how: str) -> None:
    for which in FILES:
        if (which, how) not in STOPS_PYTHON:
            spoil(place, which, how)
    said = facts(place.diagnose())
    assert said["torch"]["value"]["build"] == "2.7.1+cu118"
    if how in ("a pipe", "a folder", "rubbish", "a link to itself"):
        for name in {concerns for _, _, concerns in FILES.values() if concerns}:
            # A fact of several files may still be told, with the file that cannot be used named in it.
            assert said[name].get("missing") == "unknown" or str(place.home) in repr(said[name]), (name, said[name])


ALONE = [(which, "a pipe") for which in FILES] + [
    (which, "100 MB") for which in (".condarc", "pip.conf", "torchvision's version", "path file")
]


@pytest.mark.parametrize(("which", "how"), ALONE)
def test_one_file_is_not_what_it_should_be(place: Place, which: str, how: str) -> None:
    spoil(place, which, how)
    said = facts(place.diagnose())
    if (which, how) in STOPS_PYTHON:
        assert said["interpreter"]["missing"] == said["torch"]["missing"] == "unknown"
    else:
        assert said["torch"]["value"]["build"] == "2.7.1+cu118"


def test_folder_in_which_the_user_stands_is_gone(place: Place, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    place.variables["PWD"] = str(gone)
    concerned(place.diagnose())


@pytest.mark.parametrize("value", ["", "/no/such/folder", "x" * 20_000, "/dev/zero"])
def test_variables_that_point_nowhere(place: Place, value: str) -> None:
    names = (
        "CONDA_PREFIX",
        "CONDA_EXE",
        "CONDARC",
        "CUDA_HOME",
        "CUDA_PATH",
        "VIRTUAL_ENV",
        "PIP_CONFIG_FILE",
        "LD_LIBRARY_PATH_X",
        "UV_CONFIG_FILE",
        "TMPDIR",
        "XDG_CACHE_HOME",
        "CUDA_VISIBLE_DEVICES",
    )
    place.variables |= dict.fromkeys(names, value)
    concerned(place.diagnose())


# --- what is started ---

# They take half a second and more to say what their files say as well.
SLOW = ("conda", "mamba", "pip", "pip3", "yolo", "torchrun")
STARTS = 12


def test_few_programs_are_started_and_no_slow_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROGRAMS:
        place.program(name, "exit 1")
    monkeypatch.setenv("PATH", str(place.bin))
    monkeypatch.setenv("HOME", str(place.home))
    host = RecordingHost(RealHost())
    detect(host, str(place.env), with_import=False, timeout=10)
    started = [call["ask"] for call in host.transcript if call["ask"][0] in ("run", "run_script")]
    assert len(started) <= STARTS, started
    names = {os.path.basename(ask[1][0] if ask[0] == "run" else ask[1] or "") for ask in started}
    assert not names & set(SLOW)


# --- what has no time limit of its own ---


class SilentDisk(RealHost):
    """A network disk that does not answer."""

    def read_text(self, path: str, *, limit: int = MEGABYTE) -> FileResult:
        """Takes for ever for any file under /etc."""
        if path.startswith("/etc/"):
            time.sleep(30)
        return super().read_text(path, limit=limit)


def test_disk_that_does_not_answer_costs_only_its_own_facts(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.bin))
    monkeypatch.setenv("HOME", str(place.home))
    start = time.monotonic()
    machine, environment = detect(SilentDisk(), str(place.env), with_import=False, timeout=1.0)
    assert time.monotonic() - start < ALL
    assert machine.platform.is_unknown
    assert machine.platform.problem == "looking for it failed: no answer within the time limit; does a disk not answer?"
    assert environment.torch.value is not None
    assert machine.driver.is_absent


def test_question_has_a_deadline_and_its_answer_is_taken_once_it_is_there() -> None:
    beside = Beside(0.2)
    slow, quick = beside.submit(time.sleep, 5), beside.submit(lambda: 42)
    assert quick.result() == 42
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer within the time limit"):
        slow.result()
    assert time.monotonic() - start < 1
    with pytest.raises(ZeroDivisionError):
        beside.submit(lambda: 1 // 0).result()
