"""`envfix install` into an environment that is there, as a user types it, against indexes on loopback: real uv, real Python.

The wheels of torch are made up, so the proof fails at its first real computation: what comes of that is tested as well.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from envfix.app import installing
from envfix.host import journal
from envfix.host.locking import locked
from envfix.host.real import RealHost
from envfix.installer.acting import AS_BEFORE
from envfix.installer.uv import find_uv
from tests.conftest import interpreter
from tests.fakes.running import ENVFIX, Finished, envfix
from tests.loopback_index import make_wheel
from tests.loopback_world import CU118, World, stack, world_in
from tests.trees import differences, tree

CARD = {"ENVFIX_DRIVER": "470.57.02", "ENVFIX_GPU": "NVIDIA GeForce RTX 3090:8.6:24576"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        for name in ("official", "nju"):
            made[name].add("cu118", *CU118)
        more = (("extra", "1.0"), ("extra", "2.0"), ("later", "1.0"), ("numpy", "1.25.0"), ("numpy", "1.20.0"))
        made["pypi"].add("main", *(make_wheel(name, version) for name, version in more))
        yield made


def env_of(world: World) -> Path:
    return world.folder / "env"


def run(world: World, *arguments: str, **changes: str) -> Finished:
    return envfix(*arguments, "--python", str(env_of(world)), env=world.environment(**CARD, **changes), timeout=120)


def install(world: World, *arguments: str, **changes: str) -> Finished:
    return run(world, "install", "--yes", *arguments, **changes)


def versions(world: World) -> dict[str, str]:
    """What is installed, by the metadata folders."""
    folders = env_of(world).glob("lib/*/site-packages/*.dist-info")
    return dict(folder.name.removesuffix(".dist-info").split("-", 1) for folder in folders)


def pip_install(world: World, *packages: str) -> None:
    """Install packages as a user does without envfix."""
    target = ("--python", str(env_of(world) / "bin" / "python"))
    command = [find_uv(RealHost()), "pip", "install", "-q", *target, *packages]
    subprocess.run(command, env=world.environment(), check=True, timeout=60)


def with_old_stack(world: World) -> None:
    """Put an older numpy and a package of the user's own into the environment."""
    pip_install(world, "numpy==1.25.0", "extra==1.0")
    (env_of(world) / ".lock").unlink(missing_ok=True)


def test_a_stack_that_fails_its_proof_is_taken_back_and_exit_code_4_says_so(world: World) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    finished = install(world)
    assert finished.code == 4, finished
    assert "Taken back: the environment is as it was before." in finished.stdout
    assert "--keep leaves such an environment as it is, to look at." in finished.stdout
    assert differences(before, tree(env_of(world))) == []
    assert not (env_of(world) / ".envfix").exists()


def test_json_says_in_one_document_that_it_was_taken_back(world: World) -> None:
    finished = install(world, "--json")
    document = finished.document
    assert (finished.code, document["schema"], document["taken_back"]) == (4, "envfix.install/1", True)
    assert document["verification"]["status"] == "failed"
    assert versions(world) == {}


def test_keep_leaves_it_and_undo_puts_it_back_byte_for_byte(world: World) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    kept = install(world, "--keep", "--json")
    assert kept.code == 4, kept
    assert kept.document["taken_back"] is False
    assert versions(world)["torch"] == "2.7.1+cu118"
    assert versions(world)["extra"] == "1.0", "what is not of the stack stays"
    undone = run(world, "undo", "--json")
    assert (undone.code, undone.document["schema"], undone.document["differing"]) == (0, "envfix.undo/1", [])
    assert undone.document["files_removed"] > 0
    assert differences(before, tree(env_of(world))) == []


def test_what_is_there_and_fits_is_left_alone(world: World) -> None:
    with_old_stack(world)
    install(world, "--keep")
    assert versions(world)["numpy"] == "1.25.0"


def test_a_damaged_package_is_laid_down_anew(world: World) -> None:
    install(world, "--keep")
    (code,) = env_of(world).glob("lib/*/site-packages/torch/__init__.py")
    code.unlink()
    install(world, "--keep")
    assert code.exists()


def test_undo_leaves_what_was_installed_since_and_names_it(world: World) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    install(world, "--keep")
    pip_install(world, "later==1.0", "extra==2.0")
    undone = run(world, "undo")
    assert undone.code == 0, undone
    assert "installed since, and left: extra 2.0, later 1.0" in undone.stdout
    assert versions(world) == {"extra": "2.0", "later": "1.0", "numpy": "1.25.0"}
    changed = [
        path for path in differences(before, tree(env_of(world))) if "/extra" not in path and "later" not in path
    ]
    assert changed == []
    assert "not as it was" not in undone.stdout


def test_undo_asks_where_its_own_packages_were_changed_since(world: World) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    install(world, "--keep", "--torch", "==2.7.1", "--with", "numpy==1.26.4")
    pip_install(world, "numpy==1.20.0")
    asked = run(world, "undo")
    assert asked.code == 2
    assert asked.stderr.endswith(
        "error: nothing was undone: it would remove what was changed since: numpy\n"
        "hint: add --yes to do it without being asked\n"
    )
    assert run(world, "undo", "--yes").code == 0
    assert versions(world) == {"extra": "1.0", "numpy": "1.25.0"}
    assert differences(before, tree(env_of(world))) == []


def test_undo_leaves_the_users_own_files(world: World) -> None:
    install(world, "--keep")
    site = next(env_of(world).glob("lib/*/site-packages"))
    (site / "notes.txt").write_text("mine")
    (env_of(world) / "data").mkdir()
    (env_of(world) / "data" / "photo.jpg").write_bytes(b"mine")
    assert run(world, "undo").code == 0
    assert (site / "notes.txt").read_text() == "mine"
    assert (env_of(world) / "data" / "photo.jpg").read_bytes() == b"mine"
    assert not (site / "torch").exists()


def test_undo_can_be_given_up_and_then_says_that_there_is_nothing(world: World) -> None:
    install(world, "--keep")
    forgotten = run(world, "undo", "--forget")
    assert forgotten.code == 0
    assert f"{env_of(world)} stays as it is" in " ".join(forgotten.stdout.split())
    assert versions(world)["torch"] == "2.7.1+cu118"
    again = run(world, "undo")
    assert again.code == 3
    assert f"error: there is no installation of envfix to undo in {env_of(world)}\n" in again.stderr


def test_a_constraints_file_that_is_a_link_is_replaced_and_its_target_left(world: World) -> None:
    mine = world.folder / "mine.txt"
    mine.write_text("numpy<2\n")
    (env_of(world) / "envfix-constraints.txt").symlink_to(mine)
    install(world, "--keep")
    assert mine.read_text() == "numpy<2\n"
    assert not (env_of(world) / "envfix-constraints.txt").is_symlink()
    assert run(world, "undo").code == 0
    assert (env_of(world) / "envfix-constraints.txt").is_symlink()


def test_an_index_that_cannot_deliver_is_left_for_the_next_one_and_the_user_is_told(world: World) -> None:
    world["official"].file_fault = "500"
    finished = install(world, "--keep", UV_HTTP_RETRIES="0")
    assert finished.code == 4, finished
    assert "official failed (" in finished.stderr
    assert finished.stderr.count("going on with nju") == 1
    assert versions(world)["torch"] == "2.7.1+cu118"


def test_when_no_other_index_has_the_same_stack_nothing_is_changed(world: World) -> None:
    world["official"].file_fault = "500"
    world.dead |= {"nju", "sjtu", "aliyun"}
    finished = install(world, UV_HTTP_RETRIES="0")
    assert finished.code == 3, finished
    assert "500" in finished.stderr
    assert "hint: the next index has another stack, torch 2.0.1: take it with --index pypi\n" in finished.stderr
    assert versions(world) == {}


def test_a_killed_installation_is_put_back_by_the_next_command_which_says_so(world: World) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    command = [*ENVFIX, "install", "--yes", "--python", str(env_of(world))]
    running = subprocess.Popen(
        command, env=world.environment(**CARD), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60
    while not journal.has_pending(str(env_of(world))) and time.monotonic() < until:
        time.sleep(0.005)
    running.kill()
    running.wait()
    assert journal.has_pending(str(env_of(world)))
    finished = run(world, "diagnose", "--no-import", "--json")
    assert "did not end (torch 2.7.1+cu118, torchvision 0.22.1+cu118" in finished.stderr
    assert "the environment is as it was before (" in finished.stderr
    assert differences(before, tree(env_of(world))) == []
    assert run(world, "diagnose", "--no-import", "--json").stderr == ""


def test_an_installation_that_runs_is_told_by_diagnose_and_not_taken_back(world: World) -> None:
    env = str(env_of(world))
    with locked(env, patience=1, on_wait=lambda _: None):
        log = journal.Journal(env)
        log.begin("torch", zones=(f"{env}/lib",), singles=())
        finished = run(world, "diagnose", "--no-import", "--json")
        assert (
            f"an installation into {env} has not ended yet: another envfix (process {os.getpid()}, " in finished.stderr
        )
        assert journal.has_pending(env)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_takes_it_back_at_once_and_ends_with_130(world: World, number: signal.Signals) -> None:
    with_old_stack(world)
    before = tree(env_of(world))
    command = [*ENVFIX, "install", "--yes", "--python", str(env_of(world))]
    with subprocess.Popen(
        command, env=world.environment(**CARD), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "importing torch" in line:
                break
        running.send_signal(number)
        rest = running.stderr.read()
        assert running.wait(60) == 130, rest
    assert "the environment is as it was before" in rest
    assert differences(before, tree(env_of(world))) == []


def test_programs_on_the_torch_that_is_replaced_are_named_and_spared(world: World) -> None:
    install(world, "--keep", "--torch", "==2.7.1")
    (library,) = env_of(world).glob("lib/*/site-packages/torch/__init__.py")
    code = f"import sys; f = open({str(library)!r}); print('ready', flush=True); sys.stdin.read()"
    world["official"].add("cu118", *CU118)
    (record,) = env_of(world).glob("lib/*/site-packages/torch-*.dist-info")
    record.rename(record.with_name("torch-2.6.0+cu118.dist-info"))
    with subprocess.Popen(
        [str(env_of(world) / "bin" / "python"), "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"ready\n"
        finished = install(world)
        user.communicate(b"")
    assert finished.code == 3, finished
    assert "1 program uses this environment's torch now: " in finished.stderr
    assert f"(pid {user.pid}, since " in finished.stderr
    assert "hint: end them first, install beside it with --new-env PATH, or add --even-in-use\n" in finished.stderr


def test_a_python_for_the_whole_machine_is_not_changed_without_a_word(world: World) -> None:
    python = interpreter("3.11")
    finished = envfix("install", "--yes", "--python", python, env=world.environment(**CARD), timeout=120)
    assert finished.code == 3, finished
    assert "not an environment: everything that is run with it shares its packages" in finished.stderr
    assert "or add --allow-base if you mean this one" in finished.stderr


def test_dry_run_shows_the_plan_and_changes_nothing(world: World) -> None:
    before = tree(env_of(world))
    finished = run(world, "install", "--dry-run", "--json")
    assert (finished.code, finished.document["schema"]) == (0, "envfix.plan/1")
    assert differences(before, tree(env_of(world))) == []


def test_without_consent_nothing_is_changed(world: World) -> None:
    finished = run(world, "install")
    assert finished.code == 2
    assert finished.stderr.endswith(
        "error: nothing was installed: it was not confirmed\nhint: add --yes to install without being asked\n"
    )
    assert versions(world) == {}


def test_pip_installs_the_same_when_it_is_asked_for(world: World) -> None:
    subprocess.run(
        [interpreter("3.11"), "-m", "venv", "--clear", str(env_of(world))], check=True, timeout=120, env=os.environ
    )
    before = tree(env_of(world))
    finished = install(world, "--backend", "pip", "--keep", "--json")
    assert finished.code == 4, finished
    assert finished.document["backend"] == "pip"
    assert versions(world)["torch"] == "2.7.1+cu118"
    assert versions(world)["numpy"] == "1.26.4", "the torch index offers numpy 99, and it is not taken"
    assert run(world, "undo").code == 0
    assert differences(before, tree(env_of(world))) == []


@pytest.mark.parametrize("backend", ["uv", "pip"])
def test_what_a_wheel_brings_beside_its_package_goes_with_it(world: World, backend: str) -> None:
    if backend == "pip":
        subprocess.run([env_of(world) / "bin" / "python", "-m", "ensurepip"], check=True, capture_output=True)
    parts = (
        "headers/api.h",
        "scripts/tool.sh",
        "purelib/beside/x.py",
        "data/share/doc/x.txt",
        "data/models/deep/x.bin",
    )
    more = {f"many-1.0.data/{part}": b"#!python\n" for part in parts}
    entry_points = {"many-1.0.dist-info/entry_points.txt": b"[console_scripts]\nmany = many:run\n"}
    world["pypi"].add("main", make_wheel("many", "1.0", more=more | entry_points))
    before = tree(env_of(world))
    arguments = ("--backend", backend, "--with", "many")
    finished = install(world, *arguments)
    assert finished.code == 4, finished
    assert differences(before, tree(env_of(world))) == []
    assert install(world, "--keep", *arguments).code == 4
    assert list(env_of(world).glob("include/**/api.h"))
    assert run(world, "undo").code == 0
    assert differences(before, tree(env_of(world))) == []


def test_a_wheel_that_breaks_off_halfway_leaves_nothing(world: World) -> None:
    more = {"many-1.0.data/data/share/x.txt": b"x", "many-1.0.dist-info/entry_points.txt": b"no section = here\n"}
    world["pypi"].add("main", make_wheel("many", "1.0", more=more))
    before = tree(env_of(world))
    finished = install(world, "--with", "many")
    assert finished.code == 3
    assert "`entry_points.txt` is invalid" in finished.stderr
    assert differences(before, tree(env_of(world))) == []


def test_a_write_protected_package_is_refused_and_left_alone(world: World) -> None:
    world["official"].add("cu118", *stack("2.6.0", "0.21.0", "+cu118"))
    assert install(world, "--keep", "--torch", "==2.7.1").code == 4
    folder = env_of(world) / "lib" / "python3.11" / "site-packages" / "torch"
    folder.chmod(0o555)
    before = tree(env_of(world))
    # Root may write everywhere, unless it gives that up.
    given_up = "-dac_override,-dac_read_search,-fowner"
    start = ("setpriv", f"--bounding-set={given_up}", f"--inh-caps={given_up}", *ENVFIX)
    arguments = ("install", "--yes", "--torch", "==2.6.0", "--python", str(env_of(world)))
    env = world.environment(**CARD)
    finished = envfix(*arguments, env=env, timeout=120, start=start if os.geteuid() == 0 else ENVFIX)
    assert finished.code == 3
    assert finished.stderr.endswith(
        f"error: {folder} is write-protected, and the packages in it are to be replaced\n"
        "the environment is as it was before\n"
        f"hint: allow it with `chmod -R u+w {folder}`, or make an environment of its own with --new-env PATH\n"
    )
    assert differences(before, tree(env_of(world))) == []
    folder.chmod(0o755)
    assert install(world, "--torch", "==2.6.0").code == 4, "nothing of it is in the way"


def test_what_cannot_be_taken_back_after_a_failed_proof_is_told_and_diagnosed(world: World) -> None:
    world["official"].add("cu118", *stack("2.6.0", "0.21.0", "+cu118"))
    assert install(world, "--keep", "--torch", "==2.7.1").code == 4
    assert run(world, "undo", "--forget").code == 0
    before = tree(env_of(world))
    protected = env_of(world) / "lib" / "python3.11" / "site-packages" / "torch" / "__init__.py"
    chattr = shutil.which("chattr")
    if chattr is None or subprocess.run([chattr, "+i", protected], capture_output=True, check=False).returncode:
        pytest.skip("this file system protects no file from root")
    try:
        finished = install(world, "--torch", "==2.6.0", "--json")
        assert finished.code == 3, finished
        message = finished.document["error"]["message"]
        assert message.startswith("it was installed, but verification failed (")
        assert (
            "it could not be taken back: the environment could not be put back yet (Operation not permitted: "
            in message
        )
        assert finished.document["error"]["hint"] == "run `envfix undo` in that environment when the reason is gone"
        diagnosed = run(world, "diagnose", "--no-import", "--json")
        assert diagnosed.document["schema"] == "envfix.diagnose/1"
        assert f"{env_of(world)} is not whole: an installation into it did not end" in diagnosed.stderr
    finally:
        subprocess.run([chattr, "-R", "-i", env_of(world)], capture_output=True, check=False)  # links cannot be
    assert AS_BEFORE in run(world, "diagnose", "--no-import").stderr
    assert differences(before, tree(env_of(world))) == []


def test_undo_needs_no_interpreter_that_works(world: World) -> None:
    before = tree(env_of(world))
    assert install(world, "--keep").code == 4
    python = env_of(world) / "bin" / "python"
    target = python.readlink()
    python.unlink()
    python.symlink_to("/gone/python3")
    assert run(world, "undo").code == 0
    python.unlink()
    python.symlink_to(target)
    assert differences(before, tree(env_of(world))) == []


def test_the_empty_folder_of_a_new_environment_stays_where_it_was_there(world: World) -> None:
    folder = world.folder / "mine"
    folder.mkdir()
    arguments = ("--yes", "--new-env", str(folder), "--python", interpreter("3.11"))
    assert envfix("install", *arguments, env=world.environment(**CARD), timeout=120).code == 4
    assert list(folder.iterdir()) == []
    assert envfix("install", "--keep", *arguments, env=world.environment(**CARD), timeout=120).code == 4
    assert envfix("undo", "--yes", "--python", str(folder), env=world.environment(**CARD), timeout=60).code == 0
    assert list(folder.iterdir()) == []


def test_a_command_that_an_old_pip_writes_into_comes_back(world: World) -> None:
    for name in ("official", "nju"):
        world[name].add("cu113", *stack("1.10.2", "0.11.3", "+cu113", "cp36-cp36m-linux_x86_64"))
    entry_points = {"many-1.0.dist-info/entry_points.txt": b"[console_scripts]\nyolo = many:run\n"}
    world["pypi"].add("main", make_wheel("numpy", "1.19.5"), make_wheel("many", "1.0", more=entry_points))
    folder = world.folder / "old"
    subprocess.run([interpreter("3.6"), "-m", "venv", folder], check=True)
    (folder / "bin" / "yolo").write_text("my own script\n")
    before = tree(folder)
    arguments = (
        "install",
        "--yes",
        "--backend",
        "pip",
        "--torch",
        "==1.10.2",
        "--with",
        "many",
        "--python",
        str(folder),
    )
    finished = envfix(*arguments, env=world.environment(**CARD), timeout=120)
    assert finished.code == 4, finished
    assert differences(before, tree(folder)) == []


def test_the_constraints_file_keeps_torch_when_a_greedy_package_is_added(world: World) -> None:
    subprocess.run([interpreter("3.11"), "-m", "venv", "--clear", str(env_of(world))], check=True, timeout=120)
    kept = install(world, "--keep", "--json").document["keep_with"]
    world["pypi"].add("main", make_wheel("greedy", "1.0", requires=("torch>=99",)), make_wheel("torch", "99.0"))
    assert kept[:3] == [str(env_of(world) / "bin" / "python"), "-m", "pip"]
    assert kept[-3:] == ["-c", str(env_of(world) / "envfix-constraints.txt"), "PACKAGE"]
    environment = {**world.environment(), "PIP_INDEX_URL": world["pypi"].url("simple", "main")}
    refused = subprocess.run(
        [*kept[:-1], "greedy"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode != 0
    assert versions(world)["torch"] == "2.7.1+cu118"
    subprocess.run([*kept[:-3], "greedy"], env=environment, capture_output=True, timeout=60, check=True)
    findings = run(world, "diagnose", "--no-import", "--json").document["findings"]
    lost = next(row for row in findings if row["cause"] == "requirements_replaced_torch")
    assert lost["message"] == (
        "A later installation replaced torch 2.7.1+cu118, which envfix had installed, with 99.0."
    )


def test_the_question_names_what_goes(world: World) -> None:
    with_old_stack(world)
    master, slave = pty.openpty()
    command = [*ENVFIX, "install", "--torch", "==2.7.1", "--with", "numpy==1.26.4", "--python", str(env_of(world))]
    with subprocess.Popen(
        command,
        env=world.environment(**CARD),
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as running:
        os.close(slave)
        os.write(master, b"n\n")
        assert running.stdout is not None
        said = running.stdout.read()
        assert running.wait(60) == 2
    os.close(master)
    assert f"Change {env_of(world)} like this? It replaces numpy 1.25.0. [y/N]" in " ".join(said.split())
    assert versions(world)["numpy"] == "1.25.0"


def test_progress_of_a_script_is_json_lines_on_standard_error(world: World) -> None:
    finished = install(world, "--json", "--progress")
    events: list[dict[str, Any]] = [json.loads(line) for line in finished.stderr.splitlines()]
    assert {"stage"} <= {event["event"] for event in events}
    assert finished.document["schema"] == "envfix.install/1"


def test_quiet_says_nothing_on_standard_error(world: World) -> None:
    assert install(world, "-q").stderr == ""


def test_a_new_environment_is_removed_again_by_undo_after_a_question(world: World) -> None:
    new = world.folder / "fresh"
    environment = world.environment(**CARD)
    made = envfix("install", "--yes", "--keep", "--new-env", str(new), env=environment, cwd=world.folder, timeout=120)
    assert made.code == 4, made
    assert (new / "bin" / "python").exists()
    asked = envfix("undo", "--python", str(new), env=environment)
    assert asked.code == 2
    assert "error: nothing was undone: it would remove the whole environment\n" in asked.stderr
    undone = envfix("undo", "--python", str(new), "--yes", env=environment)
    assert undone.code == 0, undone
    assert not new.exists()


def test_a_new_environment_that_was_killed_is_removed_by_the_next_try(world: World) -> None:
    new = world.folder / "fresh"
    command = [*ENVFIX, "install", "--yes", "--new-env", str(new)]
    environment = world.environment(**CARD)
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not (new / "bin").exists() and time.monotonic() < until:
        time.sleep(0.005)
    running.kill()
    running.wait()
    assert new.exists()
    again = envfix(*command[len(ENVFIX) :], "--keep", env=environment, timeout=120)
    assert "the unfinished environment was removed" in again.stderr
    assert again.code == 4, again
    assert (new / "lib").exists()


def test_offline_takes_what_is_on_this_disk_and_says_what_is_not(world: World) -> None:
    world.dead |= {"official", "nju", "sjtu", "aliyun"}
    refused = install(world, "--offline", "--index", "pypi")
    assert refused.code == 3, refused
    assert (
        "error: uv cannot resolve this plan: a file is needed that is not on this disk, and going to the network is"
        " switched off; nothing was changed\n"
    ) in refused.stderr
    assert install(world, "--index", "pypi", "--keep").code == 4
    assert run(world, "undo").code == 0
    again = install(world, "--offline", "--index", "pypi", "--keep")
    assert again.code == 4, again
    assert versions(world)["torch"] == "2.0.1"


def test_words_of_an_installer_that_only_the_catalogue_knows_are_explained() -> None:
    told = installing._explained("error: command 'gcc' failed: No such file or directory: 'gcc'")
    assert told is not None
    assert told.startswith("Something here compiles C code, and there is no gcc on this machine")
    assert told.endswith("(`envfix causes compiler_or_headers_missing` tells more)")
    assert installing._explained("error: a text that nobody knows") is None
