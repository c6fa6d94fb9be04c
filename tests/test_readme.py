"""The README says what is so: its examples print what it shows, its commands exist, its picture is today's."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from envfix.cli import COMMANDS
from scripts.terminal_picture import draw
from tests.conftest import CHECKOUT
from tests.fakes.running import ENVFIX, cleaned_environment, envfix
from tests.fakes.targets import write_script

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
EXAMPLES: list[str] = re.findall(r"^```console\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
# What is left out of an output.
ELISION = "..."


def steps(block: str) -> list[tuple[str, list[str]]]:
    """The commands of an example, each with the lines that it shows."""
    found: list[tuple[str, list[str]]] = []
    lines = iter(block.splitlines())
    for line in lines:
        if line.startswith("$ "):
            command = line[2:]
            while "<<'END'" in command and not command.endswith("\nEND"):
                command += "\n" + next(lines)
            found.append((command, []))
        else:
            found[-1][1].append(line)
    return found


def about(what: str) -> str:
    """The example that calls this command."""
    (block,) = (block for block in EXAMPLES if block.startswith(f"$ envfix {what} "))
    return block


def pattern(lines: list[str], *, numbers: bool) -> str:
    """An expression for an output with these lines; counts may differ where the packages of a registry are counted."""
    told = [r"(?:.*\n)*?" if line == ELISION else re.escape(line) + r"\n" for line in lines]
    text = "".join(told)
    return text if numbers else re.sub(r"(?m)^(\\ )+\d+\\ packages", r"  \\d+ packages", text)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A checkout with an ``envfix`` on PATH, and the snapshots of two nodes."""
    write_script(tmp_path / "bin" / "envfix", f'exec {shlex.join(ENVFIX)} "$@"')
    (tmp_path / "tests").symlink_to(CHECKOUT / "tests")
    (tmp_path / "today").mkdir()
    for node, machine in (("gpu1", "seed-lab-server"), ("gpu2", "driver-470-torch-cu121")):
        shutil.copy(CHECKOUT / "tests" / "machines" / machine / "snapshot.json", tmp_path / "today" / f"{node}.json")
    return tmp_path


def shows_what_it_says(block: str, place: Path, *, numbers: bool = True) -> None:
    env = cleaned_environment(PATH=f"{place}/bin:/usr/bin:/bin", COLUMNS="80")
    for command, lines in steps(block):
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=place, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        # An empty line before the end of an example is a matter of taste.
        assert re.fullmatch(pattern(lines, numbers=numbers) + r"\n*", done.stdout), (
            f"{command}\n{done.stdout}{done.stderr}"
        )


@pytest.mark.parametrize("what", ["explain", "gpus", "plan", "fleet diagnose"])
def test_an_example_prints_what_it_shows(what: str, place: Path) -> None:
    shows_what_it_says(about(what), place)


@pytest.mark.online
def test_so_does_the_one_that_asks_the_registry(place: Path) -> None:
    shows_what_it_says(about("lock"), place, numbers=False)


def test_there_are_six_and_all_but_the_installation_are_run_here() -> None:
    assert [steps(block)[0][0].split()[1] for block in EXAMPLES] == [
        "explain",
        "gpus",
        "plan",
        "install",
        "lock",
        "fleet",
    ]


def test_an_output_that_is_another_fails() -> None:
    assert re.fullmatch(pattern(["a", ELISION, "c"], numbers=True), "a\nb\nc\n")
    assert not re.fullmatch(pattern(["a", "c"], numbers=True), "a\nb\nc\n")
    assert re.fullmatch(pattern(["  54 packages from a plan"], numbers=False), "  55 packages from a plan\n")


def test_the_picture_is_what_is_drawn_today(tmp_path: Path) -> None:
    drawn = tmp_path / "diagnose.svg"
    draw(str(CHECKOUT / "tests" / "machines" / "seed-wrong-interpreter" / "snapshot.json"), str(drawn))
    again = (
        "python -m scripts.terminal_picture tests/machines/seed-wrong-interpreter/snapshot.json .github/diagnose.svg"
    )
    assert words_of(drawn) == words_of(CHECKOUT / ".github" / "diagnose.svg"), f"run `{again}`"


def words_of(picture: Path) -> list[str]:
    """What is to be read in it: how rich draws it changes from release to release."""
    text = picture.read_text("utf-8")
    label = re.findall(r'aria-label="([^"]*)"', text)
    return [*label, *re.findall(r"<text [^>]*>([^<]+)</text>", text)]


def test_the_python_of_the_readme_prints_what_its_comments_say() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    said = re.findall(r"# (.*)$", code, re.MULTILINE)
    ast.parse(code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == said, done


def commands() -> list[str]:
    """Every line or piece of the README that calls envfix."""
    inline = re.findall(r"`(envfix [^`]*)`", README)
    blocks = [
        line
        for block in re.findall(r"^```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
        for line in re.findall(r"^(?:\$ | {4,6})?(envfix .*?)(?:   *#.*)?$", block, re.MULTILINE)
    ]
    return sorted({line.split("|")[0].strip() for line in (*inline, *blocks) if " 0.1.0" not in line})


@pytest.mark.parametrize("line", commands())
def test_every_command_and_option_of_the_readme_exists(line: str) -> None:
    words = shlex.split(line.partition("<<")[0].replace("\\", ""))[1:]
    command = [
        word for word in words[:2] if word in (*COMMANDS, "diagnose", "gpus", "verify") and not word.startswith("-")
    ]
    assert command, line
    name = command[: 2 if command[0] == "fleet" else 1]
    text = envfix(*name, "--help").stdout
    for option in [word for word in words if word.startswith("-") and word not in ("-", "--")]:
        assert re.search(rf"(?<!\S){re.escape(option)}\b", text), f"{option} in {line}"


def test_the_first_screen_says_why_how_and_what_it_looks_like() -> None:
    lines = README.splitlines()
    assert len(lines) <= 330, "what is longer than that nobody reads"
    first = "\n".join(lines[:20])
    for piece in ("./scripts/run", "./scripts/test", ".github/diagnose.svg"):
        assert piece in first
