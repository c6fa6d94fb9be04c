"""The first minutes in a fresh checkout: the scripts make their own environment, or say in a line why not and what to do."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT, interpreter
from tests.fakes.running import ENVFIX, START, cleaned_environment, envfix
from tests.fakes.targets import make_venv, write_script
from tests.loopback_index import serve
from tests.loopback_world import CU118, MACHINE, World, world_in

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the scripts are of a POSIX shell")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the checkout, on a path that is hard to quote, in which no Python of this machine is known by its address."""
    copy = tmp_path / "my söftware" / "envfix"
    ignored = shutil.ignore_patterns("__pycache__", "locale", "rules")
    for name in ("scripts", "envfix"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=ignored)
    shutil.copy(CHECKOUT / "pyproject.toml", copy)
    python = copy / "scripts" / "_python.sh"
    text = python.read_text()
    assert "/usr/bin/python3 /usr/local/bin/python3" in text
    python.write_text(text.replace("/usr/bin/python3 /usr/local/bin/python3", ""))
    return copy


def start(checkout: Path, script: str = "run", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script with no other programs than those of the system, and with the Pythons of ``only`` beside the checkout."""
    only = checkout.parent / "only"
    only.mkdir(exist_ok=True)
    for name in ("dirname", "rm", "sh"):
        program = shutil.which(name)
        assert program is not None
        if not (only / name).exists():
            (only / name).symlink_to(program)
    env = cleaned_environment(PATH=str(only), **variables)
    command = [str(checkout / "scripts" / script), "--version"]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_no_python_at_all_is_told(checkout: Path) -> None:
    finished = start(checkout)
    assert (finished.returncode, finished.stdout) == (3, "")
    assert finished.stderr == (
        "error: envfix needs Python 3.10 or newer, and there is none on PATH\n"
        "hint: install one (Debian, Ubuntu: apt-get install python3-venv), or set"
        " ENVFIX_BOOTSTRAP_PYTHON=/path/to/python3\n"
    )


@pytest.mark.parametrize("script", ["run", "test"])
def test_a_python_that_is_too_old_is_named(checkout: Path, script: str) -> None:
    old = interpreter("3.8")
    write_script(checkout.parent / "only" / "python3", f'exec "{old}" "$@"')
    finished = start(checkout, script)
    assert finished.returncode == 3
    version = re.escape("error: envfix needs Python 3.10 or newer, and there is none on PATH; python3 is 3.8.")
    assert re.match(version + r"\d+\n", finished.stderr), finished.stderr


def test_a_python_without_venv_is_told_apart_from_none(checkout: Path) -> None:
    """As Debian and Ubuntu have it: Python is there, and its venv is a package of its own."""
    real = os.path.realpath(sys.executable)
    blocked = "import sys; sys.modules['ensurepip'] = None; code = sys.argv.pop(1); exec(code)"
    write_script(checkout.parent / "only" / "python3", f'shift; exec "{real}" -c "{blocked}" "$1"')
    finished = start(checkout)
    version = ".".join(map(str, sys.version_info[:3]))
    assert finished.returncode == 3
    assert finished.stderr == (
        f"error: python3 ({version}) has no venv module, so that envfix cannot have an environment of its own\n"
        "hint: install it (Debian, Ubuntu: apt-get install python3-venv), or set"
        " ENVFIX_BOOTSTRAP_PYTHON=/path/to/python3\n"
    )


@pytest.mark.parametrize("what", ["proxy", "http", "index", "package"])
def test_what_is_in_the_way_of_the_packages_is_told_in_a_line(checkout: Path, what: str) -> None:
    with serve() as index:
        index.repositories["main"] = {}
        variables = {
            "proxy": {"PIP_INDEX_URL": "https://index.invalid/simple", "https_proxy": "http://127.0.0.1:9"},
            "http": {"PIP_INDEX_URL": "http://index.invalid/simple"},
            "index": {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"},
            "package": {"PIP_INDEX_URL": f"{index.base}/simple/main"},
        }[what]
        finished = start(
            checkout, ENVFIX_BOOTSTRAP_PYTHON=os.path.realpath(sys.executable), PIP_RETRIES="1", **variables
        )
    told = {
        "proxy": (
            "the proxy does not answer, or refuses\n"
            "hint: correct or unset the proxy: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, or proxy in pip.conf\n"
        ),
        "http": (
            "pip asks no index without encryption (http)\n"
            "hint: use its https address, or tell pip to trust it: PIP_TRUSTED_HOST=HOST\n"
        ),
        "index": (
            "the package index cannot be reached from here\n"
            "hint: check the network, or name a mirror that answers: PIP_INDEX_URL=https://... or index-url in pip.conf\n"
        ),
        "package": (
            "the package index has no hatchling>=1.26 for this Python\n"
            "hint: name an index that has all packages: PIP_INDEX_URL=https://... or index-url in pip.conf\n"
        ),
    }[what]
    assert (finished.returncode, finished.stdout) == (3, "")
    assert finished.stderr == (
        f"envfix: preparing its own environment in {checkout}/.venv (once) ...\n"
        f"error: envfix cannot fetch what it needs itself: {told}"
    )
    assert not (checkout / ".venv").exists()


def test_a_checkout_that_cannot_be_written_is_told(checkout: Path) -> None:
    (checkout / ".venv").write_text("a file is in the way")
    finished = start(checkout, ENVFIX_BOOTSTRAP_PYTHON=os.path.realpath(sys.executable))
    assert finished.returncode == 3
    assert finished.stderr.splitlines()[1:] == [
        f"error: Not a directory: {checkout}/.venv",
        "hint: envfix keeps its own environment in its checkout: put that where you may write",
    ]


# --- a home that nobody may write, as containers have it ---


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        (tmp_path / "file").write_text("")
        made["official"].add("cu118", *CU118)
        yield made


def no_cache(world: World) -> dict[str, str]:
    """Caches in a folder that cannot be made: root could write into any other."""
    return {"UV_CACHE_DIR": f"{world.folder}/file/uv", "ENVFIX_CACHE_DIR": f"{world.folder}/file/envfix"}


def test_a_plan_needs_no_cache(world: World) -> None:
    target = ("--python", str(world.folder / "env"), *MACHINE)
    document = envfix(
        "plan", "--json", "--with", "none", *target, env={**world.environment(), **no_cache(world)}
    ).document
    assert (document["status"], document["choice"]["local_label"]) == ("ok", "+cu118")
    assert document["download_bytes"] > 0


def test_an_installation_names_the_cache_that_it_cannot_write(world: World) -> None:
    env = {**world.environment(ENVFIX_DRIVER="470.57.02", ENVFIX_GPU="RTX 3090:8.6:24576"), **no_cache(world)}
    fresh = world.folder / "fresh"
    finished = envfix("install", "--yes", "--with", "none", "--new-env", str(fresh), env=env, timeout=120)
    assert finished.code == 3, finished
    assert f"uv cannot write into its cache {world.folder}/file/uv" in finished.stderr
    assert finished.stderr.endswith("hint: name a folder that you may write: UV_CACHE_DIR=FOLDER\n")
    assert not fresh.exists()


def test_a_full_disk_is_no_conflict_of_versions(world: World, tmp_path: Path) -> None:
    """Of what is not right on this machine nobody is told that no stack fits."""
    write_script(
        tmp_path / "bin" / "uv", "echo 'error: failed to write `/x`: No space left on device (os error 28)' >&2; exit 2"
    )
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import uv;"
        f"uv.find_uv_bin = lambda: {str(tmp_path / 'bin' / 'uv')!r}; from envfix.__main__ import run; run()"
    )
    arguments = ("plan", "--json", "--with", "none", "--python", str(world.folder / "env"), *MACHINE)
    finished = envfix(*arguments, env=world.environment(), start=(sys.executable, "-I", "-c", program, str(CHECKOUT)))
    assert finished.document["status"] == "ok", finished
    assert finished.document["reasons"][-1] == "the price is not known: the disk is full (or your quota is used up)"


# --- started as ./scripts/run, the commands that it tells to paste begin with that ---


def started_as(name: str, *arguments: str) -> str:
    start = (sys.executable, "-I", "-X", f"envfix={name}", "-c", START)
    return envfix(*arguments, start=start).stdout


def test_commands_to_paste_begin_with_what_was_typed(tmp_path: Path) -> None:
    (tmp_path / "err.log").write_text("ModuleNotFoundError: No module named 'torch'\n")
    arguments = ("explain", "--no-machine", str(tmp_path / "err.log"))
    plain = envfix(*arguments).stdout
    assert "\n      envfix " in plain
    assert started_as("./scripts/run", *arguments) == plain.replace("\n      envfix ", "\n      ./scripts/run ")


def test_a_name_with_blanks_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "err.log").write_text("ModuleNotFoundError: No module named 'torch'\n")
    shown = started_as("/my files/run", "explain", "--no-machine", str(tmp_path / "err.log"))
    assert "\n      '/my files/run' " in shown


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_examples_of_the_help_do_so_as_well(lang: str) -> None:
    shown = started_as("./scripts/run", "explain", "--help", "--lang", lang).splitlines()
    assert "  ./scripts/run explain err.log" in shown
    assert "  yolo train data=coco128.yaml 2>&1 | ./scripts/run explain -" in shown
    assert "  ./scripts/run gpus" in "\n".join(started_as("./scripts/run", "--help", "--lang", lang).splitlines())


def test_json_says_envfix_whatever_was_typed(tmp_path: Path) -> None:
    (tmp_path / "err.log").write_text("ModuleNotFoundError: No module named 'torch'\n")
    arguments = ("explain", "--no-machine", "--json", str(tmp_path / "err.log"))
    assert started_as("./scripts/run", *arguments) == envfix(*arguments).stdout


def test_envfix_itself_is_what_is_started_without_a_checkout() -> None:
    assert envfix("--help", start=ENVFIX).stdout.startswith("Usage: envfix ")


# --- completion, by the keys of a real shell that knows nothing but what `envfix completion` prints ---

PLACES = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/completions/envfix.fish"}


@pytest.mark.parametrize("shell", PLACES)
def test_a_shell_completes_commands_values_and_files(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "error.log").write_text("")
    write_script(tmp_path / "bin" / "envfix", f'exec {shlex.join(ENVFIX)} "$@"')
    place = tmp_path / PLACES[shell]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(envfix("completion", shell).stdout)
    env = cleaned_environment(HOME=str(tmp_path), ZDOTDIR=str(tmp_path), PATH=f"{tmp_path}/bin:/usr/bin:/bin")
    env.pop("XDG_CONFIG_HOME", None)
    lines = {
        "envfix snap": "snapshot",
        "envfix lock --format pix": "pixi",
        "envfix explain err": "error.log",
    }
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(program, [shell, "-i"], {**env, "TERM": "dumb" if shell != "fish" else "xterm"})  # noqa: S606
    try:
        for typed, completed in lines.items():
            # Also while the shell still starts: what is typed then waits for it.
            os.write(screen, typed.encode() + b"\t")
            assert completed in read_until(screen, completed, 15), typed
            os.write(screen, b"\x15")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.close(screen)
        os.waitpid(pid, 0)


def read_until(screen: int, wanted: str, seconds: float) -> str:
    seen, limit = "", time.monotonic() + seconds
    while wanted not in seen and time.monotonic() < limit:
        if select.select([screen], [], [], 0.1)[0]:
            seen += re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", os.read(screen, 65536).decode("utf-8", "replace"))
    return seen


# --- streams that are closed ---


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("explain", 0),
        ("explain --json --no-machine", 0),
        ("causes DRV101 --json", 0),
        ("run -- true", 0),
        ("plan --offline --json --driver 470.57.02 --gpu none --python 3.11", 0),
        ("nonsense --json", 2),
    ],
)
def test_a_closed_stream_is_one_that_has_nothing_and_takes_everything(arguments: str, code: int, closed: str) -> None:
    finished = envfix(*arguments.split(), start=["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *ENVFIX])
    assert (finished.code, "fault in envfix" in finished.stderr) == (code, False), finished


def test_a_question_that_nobody_can_answer_is_not_asked(world: World) -> None:
    env = world.environment(ENVFIX_DRIVER="470.57.02", ENVFIX_GPU="RTX 3090:8.6:24576")
    start = ["/bin/sh", "-c", 'exec "$@" <&-', "sh", *ENVFIX]
    finished = envfix("install", "--with", "none", "--new-env", str(world.folder / "fresh"), env=env, start=start)
    assert (finished.code, finished.stderr.splitlines()[-1]) == (2, "hint: add --yes to install without being asked")


# --- what a new user types ---


def test_an_environment_that_is_not_there_can_be_made() -> None:
    finished = envfix("install", "--python", "my-env")
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.splitlines()[-2:] == [
        "error: there is no Python for --python my-env (looked at: my-env on PATH, as a path and as a conda environment)",
        "hint: give --python PATH, VERSION or an environment's folder; --new-env my-env makes that environment",
    ]
    assert "--new-env" not in envfix("install", "--python", "3.4").stderr
    assert "--new-env" not in envfix("verify", "--python", "my-env").stderr


def test_without_its_packages_envfix_says_how_to_get_them(tmp_path: Path) -> None:
    """As with `python -m envfix` in a fresh checkout."""
    site = make_venv(tmp_path / "env")
    python = site.parent.parent.parent / "bin" / "python"
    done = subprocess.run(
        [str(python), "-m", "envfix"], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"error: click, which envfix needs, is not installed for {python}\n"
        "hint: start ./scripts/run in the checkout: it makes an environment that has all; or: pipx install .\n"
    )
