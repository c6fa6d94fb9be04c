"""What a command on PATH really is, by its first bytes: entry points, shims, wrappers, and hostile files."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from envfix.host.real import RealHost
from envfix.host.target import Answer
from envfix.model.facts import Command
from envfix.probes import commands, elsewhere, startup
from envfix.probes.commands import Head, describe, home_of, own_python, parse_head, parse_pyenv_versions
from envfix.probes.interpreter import Target, parse
from tests.fakes.prefixes import make_prefix
from tests.fakes.targets import base_python, make_venv, write_script, write_torch
from tests.test_target_scripts import facts

PYENV_SHIM = """\
#!/usr/bin/env bash
set -e
[ -n "$PYENV_DEBUG" ] && set -x

program="${0##*/}"

export PYENV_ROOT="%s"
exec "%s/libexec/pyenv" exec "$program" "$@"
"""


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("#!/home/li/env/bin/python\n# -*- coding: utf-8 -*-\nimport re\n", Head("script", "/home/li/env/bin/python")),
        ("#!/opt/conda/bin/python3.8 -E\n", Head("script", "/opt/conda/bin/python3.8")),
        ("#! /usr/bin/python3\n", Head("script", "/usr/bin/python3")),
        ("#!/usr/bin/env python\nimport sys\n", Head("script", "python")),
        ("#!/usr/bin/env -S python3 -u\n", Head("script", "python3")),
        ("#!/usr/bin/pypy3\n", Head("script", "/usr/bin/pypy3")),
        # pip, where the path is too long for a first line or holds a space
        (
            "#!/bin/sh\n'''exec' \"/home/li/my env/bin/python\" \"$0\" \"$@\"\n' '''\nimport sys\n",
            Head("script", "/home/li/my env/bin/python"),
        ),
        (
            "#!/bin/sh\n'''exec' /data/env/bin/python3.11 \"$0\" \"$@\"\n' '''\n",
            Head("script", "/data/env/bin/python3.11"),
        ),
        # conda
        ("#!/bin/sh\n'''exec' \"/data/x/bin/python\" \"$0\" \"$@\" #'''\n", Head("script", "/data/x/bin/python")),
        # uv, and uv where an environment may be moved
        ("#!/bin/sh\n'''exec' '/data/env/bin/python3' \"$0\" \"$@\"\n' '''\n", Head("script", "/data/env/bin/python3")),
        (
            "#!/bin/sh\n'''exec' \"$(dirname -- \"$(realpath -- \"$0\")\")\"/'python' \"$0\" \"$@\"\n' '''\n",
            Head("script", "./python"),
        ),
        (PYENV_SHIM % ("/root/.pyenv", "/root/.pyenv"), Head("shim", "/root/.pyenv")),
        ('#!/usr/bin/env bash\n# asdf-plugin: python 3.11.7\nexec asdf exec "python" "$@"\n', Head("shim")),
        ('#!/bin/sh\nexec "/opt/other/bin/python" "$@"\n', Head("wrapper", "/opt/other/bin/python")),
        (
            '#!/bin/bash\nexport A=1\nPYTHONPATH="/x y" exec /opt/bin/python3.8 "$@"\n',
            Head("wrapper", "/opt/bin/python3.8"),
        ),
        ("#!/bin/sh\n/usr/bin/env LANG=C /opt/bin/python3 $*\n", Head("wrapper", "/opt/bin/python3")),
        ('#!/bin/sh\nexec "$HOME/python" "$@"\n', Head("wrapper")),
        ("#!/bin/sh\necho python is not installed; exit 127\n", Head("wrapper")),
        ("#!/usr/bin/perl\n", Head("wrapper")),
        ("#!\n", Head("wrapper")),
        ("\x7fELF\x02\x01\x01\0\0", Head("program")),
        ("#!/usr/bin/python\0\n", Head("program")),
        ("", Head("program")),
        ("\ufffd\ufffd", Head("program")),
    ],
)
def test_first_bytes_tell_what_a_command_starts(text: str, head: Head) -> None:
    assert parse_head(text) == head


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("3.8.18\n", ("3.8.18",)),
        ("3.8.18:3.11.7", ("3.8.18", "3.11.7")),
        ("yolo  # for the old model\n\n3.11\n", ("yolo", "3.11")),
        ("../../etc 3.8\0\n", ()),
        ("", ()),
    ],
)
def test_versions_that_pyenv_is_told(text: str, versions: tuple[str, ...]) -> None:
    assert parse_pyenv_versions(text) == versions


# --- through a real host ---


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home and a working folder with nothing on PATH but the folder that is the answer."""
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT", "PYENV_VERSION", "PYTHONUSERBASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("bin", "home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "bin"


def entry_point(path: Path, line: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{line}\nprint('started')\n")
    path.chmod(0o755)
    return path


def of_path(name: str) -> Command:
    found = {one.name: one for one in commands.probe(RealHost()).value or ()}
    return found[name]


def test_command_belongs_to_the_environment_of_the_python_in_its_first_line(shell: Path, tmp_path: Path) -> None:
    make_venv(tmp_path / "env")
    entry_point(shell / "pip", f"#!{tmp_path}/env/bin/python")
    command = of_path("pip")
    assert (command.kind, command.interpreter, command.prefix, command.problem) == (
        "script",
        f"{tmp_path}/env/bin/python",
        f"{tmp_path}/env",
        None,
    )


def test_command_whose_python_is_gone_says_so(shell: Path, tmp_path: Path) -> None:
    entry_point(shell / "yolo", f"#!{tmp_path}/gone/bin/python")
    assert of_path("yolo").problem == f"it starts {tmp_path}/gone/bin/python, which does not exist (any more)"
    # A virtual environment whose base was removed: the name is there, what it points to is not.
    make_venv(tmp_path / "env", str(tmp_path / "removed" / "python3"), "3.8")
    entry_point(shell / "pip", f"#!{tmp_path}/env/bin/python")
    assert "does not exist (any more)" in (of_path("pip").problem or "")


def test_python_of_the_shell_is_looked_up_on_path_for_env(shell: Path, tmp_path: Path) -> None:
    entry_point(shell / "yolo", "#!/usr/bin/env python")
    assert of_path("yolo").problem == "it starts python, which is not on PATH"
    make_venv(tmp_path / "env")
    write_script(shell / "python", f'exec "{tmp_path}/env/bin/python" "$@"')
    command = of_path("yolo")
    assert (command.interpreter, command.prefix, command.problem) == (
        f"{tmp_path}/env/bin/python",
        f"{tmp_path}/env",
        None,
    )
    assert of_path("python").kind == "wrapper"


def test_wrapper_that_starts_itself_ends(shell: Path) -> None:
    write_script(shell / "python", f'exec "{shell}/python" "$@"')
    assert of_path("python").prefix is None


def test_later_hits_are_told(shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_venv(tmp_path / "env")
    make_venv(tmp_path / "other")
    monkeypatch.setenv("PATH", f"{shell}:{tmp_path}/env/bin:{tmp_path}/other/bin")
    command = of_path("python")
    assert (command.path, command.later) == (f"{tmp_path}/env/bin/python", (f"{tmp_path}/other/bin/python",))


def test_own_commands_of_envfix_are_no_commands_of_the_user(shell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands.probe(RealHost()).is_absent
    monkeypatch.setenv("PATH", f"{os.path.join(sys.prefix, 'bin')}:{shell}")
    assert commands.probe(RealHost()).is_absent


@pytest.fixture
def pyenv(shell: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pyenv with two versions and shims on PATH."""
    root = tmp_path / "pyenv"
    (root / "shims").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{root}/shims:{shell}")
    for version in ("3.8.18", "3.11.7"):
        make_prefix(root / "versions" / version, base_python())
    entry_point(root / "versions" / "3.8.18" / "bin" / "yolo", f"#!{root}/versions/3.8.18/bin/python")
    for name in ("python", "yolo"):
        (root / "shims" / name).write_text(PYENV_SHIM % (root, root))
        (root / "shims" / name).chmod(0o755)
    return root


@pytest.mark.parametrize(
    ("place", "text", "chosen"),
    [
        ("work/.python-version", "3.8.18\n", "3.8.18"),
        ("work/.python-version", "3.8\n", "3.8.18"),
        (".python-version", "3.11.7\n", "3.11.7"),
        ("pyenv/version", "3.9.1\n3.11.7\n", "3.11.7"),
    ],
)
def test_shim_is_followed_to_the_version_chosen_here(
    pyenv: Path, tmp_path: Path, place: str, text: str, chosen: str
) -> None:
    (tmp_path / place).write_text(text)
    command = of_path("python")
    assert (command.kind, command.prefix, command.problem) == ("shim", f"{pyenv}/versions/{chosen}", None)


def test_shim_of_a_command_that_the_chosen_version_has_not_got(pyenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_VERSION", "3.11.7")
    assert of_path("yolo").problem == "pyenv has no yolo in the version chosen here (3.11.7, by PYENV_VERSION)"
    monkeypatch.setenv("PYENV_VERSION", "3.8.18")
    assert of_path("yolo").prefix == f"{pyenv}/versions/3.8.18"
    monkeypatch.delenv("PYENV_VERSION")
    assert "system, by no choice being made" in (of_path("python").problem or "")


@pytest.mark.parametrize(
    "content",
    [
        b"#!" + b"x" * 3_000_000,
        b"#!/\xff\xfe/python\n",
        b"#!/usr/bin/env\n",
        b"#!" + b"\0" * 99,
        b"#!/a\x01/python\n",
        b"",
    ],
)
def test_hostile_command_is_described_all_the_same(shell: Path, content: bytes) -> None:
    (shell / "pip").write_bytes(content)
    (shell / "pip").chmod(0o755)
    assert of_path("pip").name == "pip"


def test_file_that_may_not_be_read_or_is_gone_is_told(tmp_path: Path) -> None:
    assert describe(RealHost(), "yolo", str(tmp_path / "none")).problem == "it does not exist"
    assert (describe(RealHost(), "yolo", str(tmp_path)).problem or "").startswith("it cannot be read")


def test_environment_has_a_python_of_its_own_or_not(tmp_path: Path) -> None:
    host = RealHost()
    make_prefix(tmp_path / "env", base_python())
    assert own_python(host, str(tmp_path / "env")) == f"{tmp_path}/env/bin/python"
    (tmp_path / "env" / "bin" / "python").unlink()
    write_script(tmp_path / "env" / "bin" / "python", 'exec "/usr/bin/python3" "$@"')
    assert own_python(host, str(tmp_path / "env")) == f"{tmp_path}/env/bin/python3"
    make_venv(tmp_path / "venv")
    assert own_python(host, str(tmp_path / "venv")) == f"{tmp_path}/venv/bin/python"
    (tmp_path / "empty" / "bin").mkdir(parents=True)
    (tmp_path / "empty" / "bin" / "python").symlink_to(base_python())
    (tmp_path / "empty" / "bin" / "python3.8-config").write_text("#!/bin/sh\n")
    assert own_python(host, str(tmp_path / "empty")) is None, "it belongs to where it is installed"
    assert home_of(host, f"{tmp_path}/empty/bin/python") == os.path.dirname(os.path.dirname(base_python()))


# --- what decides the start ---


def started(python: Path, **variables: str) -> Any:
    said = facts(python, cwd=None, **variables)
    target = Target(str(python), "a test")
    return startup.probe(RealHost(), parse(said, target, {"system": "linux"}), Answer(said)).value


def test_path_files_and_customising_modules_are_told(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    site = make_venv(tmp_path / "env")
    (tmp_path / "src").mkdir()
    (site / "sitecustomize.py").write_text("print('a banner')\n")
    (site / "more.pth").write_text(f"# a comment\n{tmp_path}/src\n/not/there\n")
    (site / "code.pth").write_text("import sys; sys.stdout.write('')\n")
    (site / "empty.pth").write_text("\n")
    found = started(tmp_path / "env" / "bin" / "python")
    assert found.customised_by == (f"{site}/sitecustomize.py",)
    assert [(Path(one.path).name, one.adds, one.runs_code) for one in found.path_files] == [
        ("code.pth", (), True),
        ("more.pth", (f"{tmp_path}/src",), False),
    ]


def test_every_copy_on_the_path_is_told_in_pythons_order(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    site = make_venv(tmp_path / "env")
    write_torch(site, "1.9.0+cu111", "11.1")
    (site / "torch" / "_C.cpython-38-x86_64-linux-gnu.so").write_bytes(b"")
    write_torch(tmp_path / "first", "1.4.0", None)
    (tmp_path / "module").mkdir()
    (tmp_path / "module" / "torch.py").write_text("")
    (tmp_path / "bare" / "torch").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "first")
    path = ":".join(f"{tmp_path}/{name}" for name in ("bare", "first", "link", "module"))
    found = started(tmp_path / "env" / "bin" / "python", PYTHONPATH=path)
    assert [(one.location, one.kind, one.version, one.built_for) for one in found.copies] == [
        (f"{tmp_path}/bare/torch", "folder", None, ()),
        (f"{tmp_path}/first/torch", "package", "1.4.0", ()),
        (f"{tmp_path}/module/torch.py", "module", None, ()),
        (f"{site}/torch", "package", "1.9.0+cu111", ("cpython-38-x86_64-linux-gnu",)),
    ]


def test_only_aliases_of_the_shells_files_are_told(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    make_venv(tmp_path / "env")
    (tmp_path / "home" / ".bashrc").write_text(
        "export MY_TOKEN=geheim\nalias ll='ls -l'\n  alias python=/usr/bin/python3\nalias python3.8=x\n#alias pip=no\n"
    )
    (tmp_path / "home" / ".bash_aliases").write_bytes(b"alias pip='pip3 --user'\nalias \xff=1\n")
    (tmp_path / "home" / ".zshrc").mkdir()
    found = started(tmp_path / "env" / "bin" / "python", HOME=str(tmp_path / "home"))
    assert found.aliases == {
        "python": f"/usr/bin/python3 ({tmp_path}/home/.bashrc)",
        "pip": f"pip3 --user ({tmp_path}/home/.bash_aliases)",
    }


def test_package_installed_from_its_sources_by_a_hook_is_found(shell: Path, tmp_path: Path) -> None:
    """Newer setuptools put a finder into the interpreter instead of a folder on the path."""
    assert shell.exists()
    site = make_venv(tmp_path / "env")
    write_torch(tmp_path / "sources", "2.4.0a0+git1", None, record=False)
    (site / "__editable___torch_finder.py").write_text(
        "import sys\nfrom importlib.machinery import PathFinder\n"
        "class Finder:\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        f"        return PathFinder.find_spec(name, [{str(tmp_path / 'sources')!r}]) if name == 'torch' else None\n"
        "Finder.__module__ = __name__\nsys.meta_path.append(Finder)\n"
    )
    (site / "__editable__.torch.pth").write_text("import __editable___torch_finder\n")
    said = facts(tmp_path / "env" / "bin" / "python")
    assert said["torch"]["location"] == f"{tmp_path}/sources/torch"
    inside = facts(tmp_path / "env" / "bin" / "python", cwd=tmp_path / "sources")
    assert inside["shadows"] == [], "it is the installed one"


def test_damaged_answer_makes_the_start_unknown(shell: Path, tmp_path: Path) -> None:
    assert shell.exists()
    make_venv(tmp_path / "env")
    said = facts(tmp_path / "env" / "bin" / "python")
    value = parse(said, Target("python", "a test"), {"system": "linux"})
    broken = startup.probe(RealHost(), value, Answer({**said, "startup": {"copies": [{"name": 7}]}}))
    assert broken.is_unknown
    assert "damaged" in (broken.problem or "")


def test_windows_launcher_names_the_python_behind_the_program(tmp_path: Path) -> None:
    script = runpy.run_path(RealHost().script_path("envfix_interpreter_facts.py"))
    (tmp_path / "yolo.exe").write_bytes(b"MZ" + b"\0#!x\n" * 999 + b"#!C:\\envs\\my yolo\\python.exe\r\nPK\x03\x04zip")
    (tmp_path / "pip.exe").write_bytes(b'MZ\0#!"C:\\Program Files\\Python\\python.exe"\nPK\x03\x04zip')
    (tmp_path / "torchrun.exe").write_bytes(b"MZ")
    assert script["launchers"]([str(tmp_path)]) == {
        str(tmp_path / "yolo.exe"): "C:\\envs\\my yolo\\python.exe",
        str(tmp_path / "pip.exe"): "C:\\Program Files\\Python\\python.exe",
    }


# --- places near by ---


def test_above_ones_own_home_nothing_is_looked_for(
    shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_torch(make_venv(tmp_path / "venv"), "1.0", None)
    write_torch(make_venv(tmp_path / "home" / ".venv"), "2.0", None)
    (tmp_path / "home" / "yolo").mkdir()
    make_venv(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    interpreter = parse(facts(python), Target(str(python), "a test"), {"system": "linux"})
    monkeypatch.chdir(tmp_path / "home" / "yolo")
    found = elsewhere.probe(RealHost(), interpreter).value or ()
    assert shell.exists()
    assert [one.prefix for one in found if one.kind == "folder"] == [f"{tmp_path}/home/.venv"]


def test_places_near_by_come_in_the_order_in_which_they_are_meant(
    shell: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the target's own is not among them."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    places = {
        "active": tmp_path / "active",
        "command": tmp_path / "of yolo",
        "folder": tmp_path / "work" / "venv",
        "conda": tmp_path / "data" / "envs" / "yolo",
        "pyenv": tmp_path / "home" / ".pyenv" / "versions" / "3.8.18",
        "user": tmp_path / "home" / ".local",
    }
    for number, place in enumerate(places.values()):
        write_torch(make_venv(place), f"1.{number}.0", None)
    monkeypatch.setenv("CONDA_PREFIX", str(places["active"]))
    (tmp_path / "work" / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "work" / "deeper")
    entry_point(shell / "yolo", f"#!/bin/sh\n'''exec' \"{places['command']}/bin/python\" \"$0\" \"$@\"\n' '''")
    (tmp_path / "home" / ".conda").mkdir()
    (tmp_path / "home" / ".conda" / "environments.txt").write_text(f"\0\n/gone\n{places['conda']}\n")
    make_venv(tmp_path / "work" / "env")
    write_torch(tmp_path / "work" / "env" / "lib" / f"python{version}" / "site-packages", "9.9", None)
    python = tmp_path / "work" / "env" / "bin" / "python"
    interpreter = parse(facts(python), Target(str(python), "a test"), {"system": "linux"})
    found = [one for one in elsewhere.probe(RealHost(), interpreter).value or () if one.kind != "system"]
    assert [(one.kind, one.prefix) for one in found] == [(kind, str(place)) for kind, place in places.items()]
    assert [one.python for one in found[:-1]] == [f"{place}/bin/python" for place in list(places.values())[:-1]]
    assert (found[-1].python, found[-1].python_version) == (None, version), "no Python of that version is on PATH"


# --- the Python behind pyenv's shim ---


@pytest.fixture
def chosen_pyenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pyenv by its files: a shim, and a version that is chosen for everything."""
    root = tmp_path / "pyenv"
    (root / "versions" / "3.11.7" / "bin").mkdir(parents=True)
    (root / "versions" / "3.11.7" / "bin" / "python").symlink_to(base_python())
    (root / "version").write_text("3.11.7\n")
    shim = f'export PYENV_ROOT="{root}"\nexec "{root}/libexec/pyenv" exec "${{0##*/}}" "$@"\n'
    write_script(root / "shims" / "python", shim)
    monkeypatch.delenv("PYENV_VERSION", raising=False)
    monkeypatch.delenv("PYENV_HOOK_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    return root


def behind(root: Path) -> str:
    return commands.without_shim(RealHost(), str(root / "shims" / "python"))


def test_python_behind_a_shim_is_found_without_running_it(chosen_pyenv: Path) -> None:
    assert behind(chosen_pyenv) == str(chosen_pyenv / "versions" / "3.11.7" / "bin" / "python")


def test_shim_is_run_where_another_may_be_chosen(chosen_pyenv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = str(chosen_pyenv / "shims" / "python")
    for name, runs in (("pip-rehash.bash", False), ("conda.bash", False), ("which-ext.bash", True)):
        hook = chosen_pyenv / "plugins" / "extra" / "etc" / "pyenv.d" / "which" / name
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.touch()
        assert (behind(chosen_pyenv) == shim) == runs, name
        hook.unlink()
    monkeypatch.setenv("PYENV_HOOK_PATH", "/hooks")
    assert behind(chosen_pyenv) == shim
    monkeypatch.delenv("PYENV_HOOK_PATH")
    monkeypatch.setenv("PYENV_VERSION", "3.12.99")
    assert behind(chosen_pyenv) == shim, "a version that is chosen and not there must fail as the user sees it fail"


def test_what_is_no_shim_comes_back_as_it_is(tmp_path: Path) -> None:
    for path in (
        base_python(),
        str(write_script(tmp_path / "python", 'exec /usr/bin/env python3 "$@"')),
        "/no/such/python",
    ):
        assert commands.without_shim(RealHost(), path) == path
