"""Many nodes as few groups: what is the same, what differs, which difference matters; from snapshots of any kind."""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from babel.messages.pofile import read_po

from envfix import snapshots
from envfix.app import fleet
from envfix.app.settings import tables_for
from envfix.cli import main
from envfix.errors import SnapshotError, UsageError
from envfix.fleet import folding, nodesets
from envfix.host.real import RealHost
from envfix.model import reasons
from envfix.model.facts import absent
from envfix.model.fleet import FleetReport
from envfix.model.language import STATED, speak
from envfix.render.console import ConsoleOutput
from scripts.translations import LOCALE
from tests.fakes.running import ENVFIX

MACHINES = Path(__file__).resolve().parent / "machines"
GOOD, OLD_DRIVER = "seed-lab-server", "driver-470-torch-cu121"


@pytest.fixture(params=["ClusterShell", "without"])
def with_and_without_clustershell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """ClusterShell is an extra: names are folded without it too."""
    if request.param == "without":
        real = builtins.__import__

        def refuse(name: str, *rest: Any) -> Any:
            if name.startswith("ClusterShell"):
                raise ImportError(name)
            return real(name, *rest)

        monkeypatch.setattr(builtins, "__import__", refuse)
    return str(request.param)


@pytest.mark.usefixtures("with_and_without_clustershell")
@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("node[1-3],gpu9", ["node1", "node2", "node3", "gpu9"]),
        ("gpu[08-11]", ["gpu08", "gpu09", "gpu10", "gpu11"]),
        ("a[1,3-4]-ib", ["a1-ib", "a3-ib", "a4-ib"]),
        ("one", ["one"]),
        ("one,one", ["one"]),
        ("host.example.org", ["host.example.org"]),
    ],
)
def test_names_of_many_nodes_are_read(text: str, nodes: list[str]) -> None:
    assert sorted(nodesets.expand(text)) == sorted(nodes)


@pytest.mark.usefixtures("with_and_without_clustershell")
@pytest.mark.parametrize(
    ("nodes", "text"),
    [
        (["gpu1", "gpu2", "gpu3", "gpu10"], "gpu[1-3,10]"),
        (["gpu08", "gpu09", "gpu10"], "gpu[08-10]"),
        (["gpu7"], "gpu7"),
        (["login", "gpu1"], "gpu1,login"),
        (["a2-ib", "a1-ib"], "a[1-2]-ib"),
        (["x,[y", "gpu1", "-oProxyCommand=x"], "gpu1,-oProxyCommand=x,x,[y"),
        ([], ""),
    ],
)
def test_names_of_many_nodes_are_one_text(nodes: list[str], text: str) -> None:
    assert nodesets.fold(nodes) == text


@pytest.mark.usefixtures("with_and_without_clustershell")
def test_name_of_a_user_goes_with_a_node_and_is_no_group() -> None:
    assert sorted(nodesets.expand("root@gpu1,gpu2")) == ["gpu2", "root@gpu1"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("gpu[1-1000000]", "'gpu[1-1000000]' names 1000000 nodes, more than 100000", None),
        ("fe80::1", "'fe80::1' is not the name of a node", nodesets.ADDRESS),
        ("a;b", "'a;b' is not the name of a node", nodesets.EXAMPLE),
    ],
)
def test_why_it_is_no_name_is_said(text: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        nodesets.expand(text)
    assert (refused.value.message, refused.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("groups.conf", "[Main"),
        ("lab.yaml", "lab: ["),
        ("lab.yaml", "lab:\n  gpu: [1, 2]\n"),
        ("lab.yaml", "lab:\n  gpu: '@gpu'\n"),
    ],
)
def test_groups_that_cannot_be_read_are_no_fault_of_envfix(file: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "groups.conf").write_text(f"[Main]\ndefault: lab\nautodir: {tmp_path}\n")
    (tmp_path / file).write_text(content)
    environment = {"PATH": "/usr/bin:/bin", "CLUSTERSHELL_CFGDIR": str(tmp_path)}
    told = subprocess.run(
        [*ENVFIX, "fleet", "gpus", "--ssh", "-w", "@gpu"], env=environment, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2, told
    assert told.stderr.startswith("error: '@gpu'"), told


@pytest.mark.usefixtures("with_and_without_clustershell")
@pytest.mark.parametrize("text", ["", "node[1-", "node[a-b]", "-oProxyCommand=touch", "a b", "n[1-9999999]", "$(id)"])
def test_what_is_no_name_of_a_node_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        nodesets.expand(text)


def test_groups_need_clustershell(with_and_without_clustershell: str, tmp_path: Path) -> None:
    if with_and_without_clustershell == "without":
        with pytest.raises(UsageError, match="'@gpu' is a group") as refused:
            nodesets.expand("@gpu")
        assert refused.value.hint == "pip install 'envfix[fleet]'"
        return
    (tmp_path / "groups.d").mkdir()
    (tmp_path / "groups.conf").write_text(f"[Main]\ndefault: lab\nautodir: {tmp_path}/groups.d\n")
    (tmp_path / "groups.d" / "lab.yaml").write_text("lab:\n    gpu: node[1-2]\n")
    script = "from envfix.fleet import nodesets; print(nodesets.expand('@gpu,x'))"
    told = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", "CLUSTERSHELL_CFGDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "('node1', 'node2', 'x')\n"


@pytest.fixture
def _in_chinese() -> Iterator[None]:
    """Chinese, for one test."""
    speak("zh")
    yield
    speak("en")


def gathered(folder: Path, **nodes: str) -> Path:
    """A folder with a snapshot of one of the recorded machines for each node."""
    folder.mkdir(exist_ok=True)
    for node, slug in nodes.items():
        shutil.copy(MACHINES / slug / "snapshot.json", folder / f"{node}.json")
    return folder


def answer(folder: Path) -> FleetReport:
    return fleet.diagnose(fleet.request_of(folder=str(folder)))


def text_of(report: FleetReport, *, width: int = 100, verbose: bool = False) -> str:
    stream = io.StringIO()
    ConsoleOutput(color=False, stream=stream, width=width, verbose=verbose).fleet(report)
    return stream.getvalue()


def test_nodes_of_equal_state_are_one_group(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu7=OLD_DRIVER, **{f"gpu{number}": GOOD for number in (1, 2, 3, 10)})
    report = answer(folder)
    assert [(group.name, group.nodes, group.shown, group.verdict) for group in report.groups] == [
        ("gpu[1-3,10]", ("gpu1", "gpu2", "gpu3", "gpu10"), "gpu1", "degraded"),
        ("gpu7", ("gpu7",), "gpu7", "broken"),
    ]
    assert (report.count, report.verdict, report.unreached) == (5, "broken", ())
    assert report.groups[1].links == {
        "system": "Ubuntu 20.04.6 LTS, x86_64, glibc 2.31",
        "driver": "470.57.02",
        "cards": "1 x NVIDIA GeForce RTX 3090",
        "python": "3.8.18 at ~/.conda/envs/yolov8_env/bin/python (conda)",
        "torch": "2.4.1+cu121",
        "torchvision": "0.15.2+cu118",
        "import": "unknown: not asked",
    }


def test_difference_that_matters_is_told_from_others() -> None:
    """Two nodes that differ in the driver only: the driver is why."""
    text = (MACHINES / OLD_DRIVER / "snapshot.json").read_text()
    saved = snapshots.read(text, "saved")
    newer = (
        text.replace("470.57.02", "550.54.14").replace('"11.4"', '"12.4"').replace("Ubuntu 20.04.6 LTS", "Debian 12")
    )
    updated = snapshots.read(newer, "newer")
    fold, judge = folding.Fold(), fleet._Judge(RealHost(), tables_for(RealHost()))
    for node in ("gpu1", "gpu2"):
        fold.add(judge.facts(node, updated.machine, updated.environment))
    fold.add(judge.facts("gpu7", saved.machine, saved.environment))
    report = folding.report("a test", fold.groups(), {"gpu9": "it is down", "gpu8": "it is down"})
    driver, system = report.differences
    assert (driver.link, driver.matters, system.link, system.matters) == ("driver", True, "system", False)
    assert [(value.value, value.nodes, value.count) for value in driver.values] == [
        ("550.54.14", "gpu[1-2]", 2),
        ("470.57.02", "gpu7", 1),
    ]
    assert [(one.code, one.cause, one.nodes) for one in driver.explains] == [
        ("DRV101", "driver_too_old_for_wheel", "gpu7")
    ]
    text = text_of(report)
    assert "  ✗ driver\n    550.54.14: gpu[1-2] (2 nodes)\n    470.57.02: gpu7\n" in text
    assert "    → DRV101 driver_too_old_for_wheel on gpu7\n" in text
    assert "  · system  (no finding rests on it)\n" in text
    assert "Not reached:\n  gpu[8-9] (2 nodes): it is down\n" in text
    assert text.endswith("Verdict: broken. Nodes: 3 broken, 2 not reached.\n")


def many(count: int) -> FleetReport:
    """So many nodes, each with an Ubuntu of its own; the first twenty are well but for a full card, the others broken."""
    judge = fleet._Judge(RealHost(), tables_for(RealHost()))
    states = [
        judge.facts("", saved.machine, saved.environment)
        for saved in (
            snapshots.read((MACHINES / slug / "snapshot.json").read_text(), "saved") for slug in (GOOD, OLD_DRIVER)
        )
    ]
    fold = folding.Fold()
    for number in range(count):
        state = states[number >= 20]
        links = {**state.links, "system": f"Ubuntu {number}"}
        fold.add(msgspec.structs.replace(state, node=f"gpu{number}", links=links))
    lost = {f"lost{number}": f"it is down: reason {chr(97 + number)}" for number in range(20)}
    return folding.report("a test", fold.groups(), lost)


def test_hundreds_of_states_stay_readable() -> None:
    """The worst are shown; what the others suffer from is named with its nodes."""
    text = text_of(many(300))
    heads = re.findall(r"^(gpu\d+) (\w+): driver", text, re.MULTILINE)
    assert heads == [(f"gpu{number}", "broken") for number in range(20, 32)]
    assert "... and 288 more states; -v shows all\n" in text
    assert "\nAll causes:\n  ✗ DRV101 driver_too_old_for_wheel: gpu[20-299] (280 nodes)\n" in text
    assert "  ! MEM102 oom_other_process: gpu[0-19] (20 nodes)\n\nWhat differs:\n" in text
    assert "  lost11: it is down: reason l\n  ... and 8 more nodes; -v shows all\nVerdict: broken." in text
    assert len(text.splitlines()) < 300
    everything = text_of(many(300), verbose=True)
    assert len(re.findall(r"^gpu\d+ \w+: driver", everything, re.MULTILINE)) == 300
    assert "-v shows all" not in everything
    assert "lost19: it is down: reason t\n" in everything


def test_states_are_all_shown_where_there_is_room_for_them() -> None:
    text = text_of(many(12))
    assert len(re.findall(r"^gpu\d+ degraded: driver", text, re.MULTILINE)) == 12
    assert "All causes" not in text


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("ssh: Could not resolve hostname gpu1: unknown", "ssh: Could not resolve hostname gpu2: unknown", True),
        ("ssh: connect to host 10.0.0.1 port 22: refused", "ssh: connect to host 10.0.0.2 port 22: refused", True),
        ("ssh: connect to host fe80::1 port 22: refused", "ssh: connect to host fe80::22 port 22: refused", True),
        ("exit code 1", "exit code 2", False),
        ("it is down: gpu1x", "it is down: gpu2x", False),
    ],
)
def test_same_reason_is_told_once_whatever_the_address(one: str, other: str, together: bool) -> None:  # noqa: FBT001 - a case
    rows = list(folding.by_reason({"gpu2": other, "gpu1": one}))
    assert [(row.nodes, row.count, row.reason) for row in rows] == (
        [("gpu[1-2]", 2, one)] if together else [("gpu1", 1, one), ("gpu2", 1, other)]
    )


@pytest.mark.parametrize(
    ("reason", "chinese"),
    [
        (reasons.DOWN, "它已停机（down）"),
        (f"{reasons.DOWN}: fan is broken", "它已停机（down）: fan is broken"),
        (reasons.NO_ANSWER.format(seconds=10), "10 秒内没有应答"),
        (reasons.NOT_STARTED.format(reason=reasons.NO_POD), "它的 pod 没有启动：那里没有创建 pod"),
        (reasons.ENDED.format(code=127, reason=reasons.NO_PYTHON), "退出码 127：这个节点上没有 Python"),
        ("exit code 255: ssh: connect to host a port 1: refused", "退出码 255：ssh: connect to host a port 1: refused"),
        ("what others say", "what others say"),
        ("", ""),
    ],
)
@pytest.mark.usefixtures("_in_chinese")
def test_reasons_are_said_in_the_language_of_who_reads_them(reason: str, chinese: str) -> None:
    assert reasons.spoken(reason) == chinese


@pytest.mark.usefixtures("_in_chinese")
def test_every_reason_is_read_as_itself() -> None:
    """None is taken for another one, and each has a translation."""
    with (LOCALE / "zh_CN" / "LC_MESSAGES" / "envfix.po").open("rb") as file:
        catalogue = read_po(file)
    for template in reasons.ALL:
        names = re.findall(r"{(\w+)}", template)
        message = catalogue.get(template, context=STATED if names else None)
        assert message is not None
        assert message.string
        values = {name: f"<{name}>" for name in names}
        assert reasons.spoken(template.format(**values)) == str(message.string).format(**values)


def test_absent_driver_and_unknown_facts_are_words() -> None:
    saved = snapshots.read((MACHINES / GOOD / "snapshot.json").read_text(), "saved")
    machine = msgspec.structs.replace(saved.machine, driver=absent("NVML"), gpus=absent("NVML"))
    links = folding.links(machine, saved.environment)
    assert (links["driver"], links["cards"], links["torch"]) == ("none", "none", "1.9.0+cu111")


def test_whoever_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", good=GOOD)
    (folder / "damaged.json").write_text("{")
    (folder / "deep.json").write_text("[" * 100_000)
    (folder / "deeper.json").write_text(
        '{"schema": "envfix.snapshot/1", "facts": ' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    (folder / "newer.json").write_text('{"schema": "envfix.snapshot/9", "facts": {}}')
    (folder / "wrong.json").write_text('{"schema": "envfix.snapshot/1", "facts": {"machine": 7}, "envfix": "1"}')
    (folder / "pasted.txt").write_text("nothing of torch")
    (folder / "note.md").write_text("not looked at")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    shutil.copytree(MACHINES / OLD_DRIVER, folder / "gpu7")
    shutil.copytree(MACHINES / OLD_DRIVER, folder / "good")
    report = answer(folder)
    # Two files for one node: none is passed over.
    assert sorted(node for group in report.groups for node in group.nodes) == ["good", "good/snapshot.json", "gpu7"]
    reasons = {row.nodes: re.sub(re.escape(str(folder)), "", row.reason) for row in report.unreached}
    assert set(reasons) == {"damaged", "deep", "deeper", "newer", "wrong", "pasted", "folder,pipe"}
    assert reasons["newer"] == "/newer.json has the schema envfix.snapshot/9, this envfix reads envfix.snapshot/1"
    assert reasons["folder,pipe"] == "cannot read /folder.json: not a regular file"
    assert reasons["pasted"] == "/pasted.txt holds neither an envfix snapshot nor a collect_env report"
    assert reasons["wrong"].startswith("/wrong.json is damaged: ")
    assert report.verdict == "broken"


def test_pasted_reports_are_nodes_too(tmp_path: Path) -> None:
    reports = sorted((Path(__file__).resolve().parent / "collect_env_reports").glob("*.txt"))
    folder = gathered(tmp_path / "all", gpu1=GOOD)
    shutil.copy(reports[0], folder / "gpu2.txt")
    assert answer(folder).count == 2


@pytest.mark.parametrize("wrong", ["missing", "empty"])
def test_folder_without_snapshots_is_refused(wrong: str, tmp_path: Path) -> None:
    folder = tmp_path / wrong
    if wrong == "empty":
        folder.mkdir()
    message = f"there is no folder {folder}" if wrong == "missing" else f"{folder} holds no snapshots"
    with pytest.raises(SnapshotError, match=re.escape(message)):
        answer(folder)


def test_snapshot_of_somebody_else_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=GOOD)
    path = folder / "gpu1.json"
    path.write_text(path.read_text().replace("GeForce RTX 3090", "Card\\u001b]0;owned\\u0007[bold]x[/bold]\\u202eback"))
    path.rename(folder / "gpu\x1b[2J\n1.json")
    lost = '{"schema": "envfix.unreached/1", "reason": "\\u001b[31m\\u0000red to the end"}'
    (folder / "lost.json").write_text(lost)
    text = text_of(answer(folder))
    assert not set(text) & set("\x1b\x07\x00\u202e")
    assert "[bold]x[/bold]?back" in text
    assert "gpu?[2J 1 degraded: " in text
    assert "  lost: ?[31m?red to the end\n" in text


def test_command_tells_it_as_text_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = gathered(tmp_path / "all", gpu1=GOOD, gpu2=GOOD, gpu7=OLD_DRIVER)
    assert main(["fleet", "diagnose", "--from", str(folder), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert next(iter(document)) == "schema"
    assert document["schema"] == "envfix.fleet/1"
    assert (document["verdict"], document["count"], document["unreached"]) == ("broken", 3, [])
    assert [group["name"] for group in document["groups"]] == ["gpu[1-2]", "gpu7"]
    finding = document["groups"][1]["findings"][0]
    assert (finding["code"], finding["cause"], finding["severity"]) == ("DRV101", "driver_too_old_for_wheel", "error")
    assert {"matters", "explains", "link", "values"} == set(document["differences"][0])
    assert main(["fleet", "diagnose", "--from", str(folder)]) == 1
    text = capsys.readouterr().out
    assert f": 3 nodes told by the snapshots in {folder}: 2 states gpu[1-2]" in " ".join(text.split())
    gathered(tmp_path / "good", gpu1=GOOD)
    assert main(["fleet", "diagnose", "--from", str(tmp_path / "good"), "-q"]) == 0


def test_cards_of_many_nodes_stay_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model is told once for each node, so that a line fits; with -v all nodes are there."""
    folder = gathered(tmp_path / "all", **{f"gpu{number}": GOOD for number in range(30)})
    assert main(["fleet", "gpus", "--from", str(folder), "-q"]) == 0
    text = capsys.readouterr().out
    assert text.count("  2 x GeForce RTX 3090\n   0 [") == 24
    assert "\n... and 6 more nodes; -v shows all\nFreest: GPU 1 of gpu0, " in text
    assert max(map(len, text.splitlines())) < 80
    assert main(["fleet", "gpus", "--from", str(folder), "-q", "-v"]) == 0
    assert capsys.readouterr().out.count("  2 x GeForce RTX 3090\n") == 30


def test_folder_that_nobody_may_write_into_is_told_before_nodes_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever runs tests as root may write everywhere
    assert main(["fleet", "diagnose", "--ssh", "nobody.invalid", "--save", str(tmp_path)]) == 3
    assert capsys.readouterr().err.splitlines() == [
        f"error: cannot write into {tmp_path}: Permission denied",
        "hint: name another --save FOLDER",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "which nodes is not said"),
        (["--from", "x", "--slurm"], "one way to the nodes at a time"),
        (["--from", "x", "--save", "y"], "--from reads what was gathered: leave out -w, --python and --save"),
        (["--ssh", "a", "-p", "gpu"], "--partition is Slurm's: add --slurm"),
        (["--slurm", "--ssh-config", "x"], "--ssh-config is for --ssh NODES"),
        (["--ssh"], "--ssh needs nodes"),
        (["--ssh", "node[1-"], "'node[1-' names no nodes"),
    ],
)
def test_wrong_usage_is_said(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "diagnose", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_snapshots_cannot_be_verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "verify", "--from", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: a snapshot cannot be verified: nothing runs there"


def test_five_hundred_snapshots_are_judged_streaming(tmp_path: Path) -> None:
    """Memory does not grow with the number of nodes, and equal facts are judged once (not a measurement of time)."""
    folder = gathered(tmp_path / "all", **{f"gpu{number}": (GOOD, OLD_DRIVER)[number % 2] for number in range(500)})
    calls: list[str] = []
    original = fleet._Judge.facts

    def counted(self: fleet._Judge, node: str, *rest: Any) -> Any:
        calls.append(node)
        return original(self, node, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fleet._Judge, "facts", counted)
        report = answer(folder)
    assert ([group.name for group in report.groups], len(calls)) == (
        ["gpu[{}]".format(",".join(map(str, range(first, 500, 2)))) for first in (0, 1)],
        2,
    )


def test_help_names_the_ways(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "--help"]) == 0
    assert "envfix fleet diagnose --slurm -p gpu" in capsys.readouterr().out
    told = subprocess.run([*ENVFIX, "fleet", "diagnose", "--help"], capture_output=True, text=True, check=True).stdout
    for way in ("--from", "--slurm", "--ssh"):
        assert way in told
