"""The answer on a screen: readable in narrow and wide windows, with and without Unicode, without trailing spaces."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from typing import get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envfix.model.facts import Display, found
from envfix.model.finding import Diagnosis, Evidence, Finding, Remedy, Severity, Skipped
from envfix.model.outcome import Rung, Verification
from envfix.model.plan import Choice, Constraint, PackagePin, Plan, PlanTarget
from envfix.model.report import Afterwards, CausePage, Report
from envfix.model.words import readable
from envfix.render import open_output
from envfix.render.console import ConsoleOutput
from envfix.render.interface import Output
from envfix.render.json_doc import JsonOutput
from envfix.render.plan_table import BLOCKERS
from envfix.render.text import Text
from envfix.render.words import command_line, duration, size
from tests.made_up import all_hand_made, card, environment, machine
from tests.test_machines import MACHINES, console_text, snapshot

HAND_MADE = all_hand_made()

LONG = "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000000"
FINDING = Finding(
    code="X101",
    cause="made_up",
    severity=Severity.WARNING,
    message="Something is not as it should be, and this sentence is long enough to need a second line on every screen there is.",
    because=(Evidence(fact="machine.driver", value="455.23.05", source="NVML"),),
    remedies=(
        Remedy(
            text="Do this.", commands=(tuple(LONG.split()), ("python", "-c", "import torch; print(torch.__version__)"))
        ),
    ),
)


def report(*findings: Finding, skipped: tuple[Skipped, ...] = ()) -> Report:
    verdict = "degraded" if findings else "healthy"
    diagnosis = Diagnosis(verdict=verdict, findings=findings, skipped=skipped)  # type: ignore[arg-type]
    return Report(machine=machine(), environment=environment(), diagnosis=diagnosis)


def shown(what: Report, *, width: int = 80, encoding: str = "utf-8", verbose: bool = False) -> str:
    """What is written to a file or pipe of that encoding."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="\n")
    ConsoleOutput(color=False, stream=stream, width=width, verbose=verbose).diagnosis(what)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_line_fits_the_window_but_those_to_be_copied(width: int) -> None:
    text = shown(report(FINDING), width=width)
    long = [line for line in text.splitlines() if len(line) > width]
    assert all(line.strip() in (LONG, "python -c 'import torch; print(torch.__version__)'") for line in long)
    assert re.sub(r"\s+", " ", FINDING.message) in re.sub(r"\s+", " ", text)


@pytest.mark.parametrize("width", [40, 80])
def test_line_to_be_copied_is_never_broken(width: int) -> None:
    lines = [line.strip() for line in shown(report(FINDING), width=width).splitlines()]
    assert LONG in lines
    assert "python -c 'import torch; print(torch.__version__)'" in lines


@pytest.mark.parametrize("slug", MACHINES)
@pytest.mark.parametrize("width", [60, 120])
def test_recorded_machine_is_readable_in_a_narrow_and_a_wide_window(slug: str, width: int, tables: object) -> None:
    text = console_text(snapshot(slug), slug, tables, width)  # type: ignore[arg-type]
    for line in text.splitlines():
        assert line == line.rstrip()
        assert len(line) <= width or "export " in line or line.startswith("      ")
    assert text.endswith(
        ("healthy. Everything fits together.\n", "as well as it could.\n", "likely\nroot.\n", "likely root.\n")
    )


def test_answer_is_plain_ascii_where_the_terminal_knows_no_more() -> None:
    text = shown(report(FINDING), encoding="ascii")
    assert "! Something is not" in text
    assert "> Do this." in text
    assert "\\u" not in text, "marks have plain forms of their own"


@pytest.mark.parametrize("name", HAND_MADE)
def test_every_finding_is_written_in_plain_ascii(name: str, tables: object) -> None:
    from envfix.app.diagnosing import diagnose

    facts = HAND_MADE[name][:2]
    diagnosis = diagnose(*facts, tables)  # type: ignore[arg-type]
    text = shown(Report(machine=facts[0], environment=facts[1], diagnosis=diagnosis), encoding="ascii")
    assert "\\u" not in text
    for finding in diagnosis.findings:
        assert f"{finding.code} {finding.cause}" in re.sub(r"\s+", " ", text)


def test_colour_stands_on_marks_and_first_words_only() -> None:
    """What is to be read has the terminal's own colour: yellow and green letters are hardly seen on white."""
    stream = io.StringIO()
    out = ConsoleOutput(stream=stream, width=80, record=True)
    out.diagnosis(report(FINDING))
    coloured = {segment.text.strip() for segment in out.console._record_buffer if segment.style and segment.style.color}
    assert coloured == {"!", "export", "python", "degraded"}


def test_packages_of_a_plan_are_lines_where_a_table_has_no_room() -> None:
    target = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64")
    pins = tuple(
        PackagePin(name=name, specifier="==2.7.1+cu118", index="official", because="the one that was built with it")
        for name in ("torch", "torchvision")
    )
    texts = {}
    choice = Choice(
        torch="2.7.1", variant="cu118", local_label="+cu118", torchvision="0.22.1", torchaudio=None, index="official",
        index_url=None, compatibility="minor",
    )  # fmt: skip
    for width in (24, 59, 60):
        stream = io.StringIO()
        ConsoleOutput(stream=stream, width=width).plan(Plan(status="ok", target=target, choice=choice, packages=pins))
        texts[width] = stream.getvalue()
        assert all(len(line) <= width for line in texts[width].splitlines())
    assert "torchvision ==2.7.1+cu118 (official): the one that was" in texts[59]
    assert "torchvision" in texts[24]
    assert "package" in texts[60]


@pytest.mark.parametrize("sign", ["\x1b[31m", "\u202e", "\u200b", "\U000e0041", "\udce9"])
def test_terminal_is_told_nothing_that_is_not_to_be_read(sign: str) -> None:
    odd = machine(cards=[card(f"RTX {sign} 3090")])
    text = shown(Report(machine=odd, environment=environment(), diagnosis=report().diagnosis), width=120)
    assert sign not in text
    assert f"RTX {readable(sign)} 3090" in text


def test_names_written_with_joiners_stay_as_they_are() -> None:
    for name in ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👩\u200d💻", "显卡"):
        assert readable(name) == name


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("Verified on cpu: x", "Verified"),
        ("    ~/.conda/bin/python -c 1", "~/.conda/bin/python"),
        ("! a note", "!"),
        ("结论：损坏", "结论"),  # noqa: RUF001
        ("one", "one"),
        ("", None),
    ],
)
def test_first_word_of_a_line(line: str, word: str | None) -> None:
    text = Text(line, style="bold green")
    assert text.plain == line
    assert [line[one.start : one.end] for one in text.spans] == ([] if word is None else [word])
    assert text.style == "bold"


def test_plan_names_what_blocks_in_words() -> None:
    target = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64")
    for word in get_args(Constraint):
        stream = io.StringIO()
        ConsoleOutput(stream=stream, width=80).plan(Plan(status="conflict", target=target, blocked_by=word))
        assert f"blocked by {BLOCKERS[word]}." in stream.getvalue()


def test_maker_of_a_card_is_named_once() -> None:
    names = ("NVIDIA Corporation GA102", "Navi 31", None)
    seen = tuple(
        Display(bus=f"0{at}:00.0", vendor="NVIDIA", vendor_id="10de", device_id="2204", name=name)
        for at, name in enumerate(names)
    )
    text = shown(
        msgspec.structs.replace(report(), machine=machine(displays=found(seen, "lspci"))), width=120, verbose=True
    )
    assert "NVIDIA Corporation GA102 at 00:00.0" in text
    assert "NVIDIA NVIDIA" not in text
    assert "NVIDIA Navi 31 at 01:00.0" in text
    assert "NVIDIA 2204 at 02:00.0" in text


def test_symptom_is_short_unless_details_are_asked_for() -> None:
    symptom = Finding(
        code="X102",
        cause="follows",
        severity=Severity.ERROR,
        message="A symptom.",
        follows_from="X101",
        remedies=(Remedy(text="Not now."),),
    )
    assert "follows from X101" in shown(report(FINDING, symptom))
    assert "Not now." not in shown(report(FINDING, symptom))
    assert "Not now." in shown(report(FINDING, symptom), verbose=True)


def test_what_could_not_be_judged_is_told_on_request() -> None:
    doubt = report(skipped=(Skipped(code="X103", reason="machine.driver is unknown: broken"),))
    assert "X103" not in shown(doubt)
    assert "not judged: X103: machine.driver is unknown: broken" in shown(doubt, verbose=True)


def test_facts_that_are_absent_or_unknown_say_so() -> None:
    facts = HAND_MADE["mismatch by NVML's number"]
    text = re.sub(r"\s+", " ", shown(Report(machine=facts[0], environment=facts[1], diagnosis=report().diagnosis)))
    assert "driver unknown: broken [NVML]" in text
    facts = HAND_MADE["no card, and that is no fault"]
    absent_here = Report(machine=facts[0], environment=facts[1], diagnosis=report().diagnosis)
    assert "driver no NVIDIA driver GPU" in re.sub(r"\s+", " ", shown(absent_here))
    text = re.sub(r"\s+", " ", shown(absent_here, verbose=True))
    assert "driver no NVIDIA driver [looked at: NVML]" in text


def test_square_brackets_of_names_are_no_markup() -> None:
    odd = machine(cards=[card("NVIDIA [bold red]T4[/] :warning: [link=x]")])
    text = shown(Report(machine=odd, environment=environment(), diagnosis=report().diagnosis))
    assert "NVIDIA [bold red]T4[/] :warning: [link=x]" in re.sub(r"\s+", " ", text)


def test_rich_is_imported_when_something_is_shown_and_no_sooner() -> None:
    code = (
        "import sys; from envfix.render import open_output; out = open_output(as_json=False, quiet=True);"
        "early = 'rich' in sys.modules; out.reporter.stage('x'); out.saved('/x');"
        "print(early, 'rich' in sys.modules, type(out.console).__name__)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split()[-3:] == ["False", "True", "ConsoleOutput"]


def test_both_forms_implement_the_same_interface(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    outputs: list[Output] = [open_output(as_json=True), open_output(as_json=False, color=False, quiet=True)]
    assert isinstance(outputs[0], JsonOutput)
    rung = Rung(
        name="import", status="failed", seconds=0.5, cause="torch_not_installed", message="No module named 'torch'"
    )
    verification = Verification(status="failed", device="cpu", python="/env/bin/python", rungs=(rung,))
    for output in outputs:
        output.diagnosis(report(FINDING))
        output.rung(rung)
        output.verification(verification)
        output.saved("/x.json")
        output.causes([CausePage(code="X101", cause="made_up", title="Made up", manual="A page.")], page=True)
        output.reporter.stage("working")
        output.reporter.progress(1, 2)
        assert output.confirm("Really?") is False
    out, err = capsysbinary.readouterr()
    documents = out.decode().split("\n}\n")
    assert [json.loads(text + "\n}")["schema"] for text in documents[:4]] == [
        "envfix.diagnose/1",
        "envfix.verify/1",
        "envfix.snapshot-saved/1",
        "envfix.causes/1",
    ]
    assert b"envfix causes torch_not_installed" in out
    assert err == b"", "quiet is quiet, and scripts get no progress"


@pytest.mark.parametrize("verbose", [False, True])
def test_what_a_rung_measured_is_shown_on_request(capsys: pytest.CaptureFixture[str], *, verbose: bool) -> None:
    detail = {"relative_error": 4.070364e-7, "file": "/env/torch", "cards": [{"index": 0}], "reason": None}
    open_output(as_json=False, color=False, verbose=verbose).rung(
        Rung(name="matmul", status="passed", seconds=0.5, detail=detail, message="right")
    )
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert told[1:] == (["relative_error: 4.07e-07", "file: /env/torch", 'cards: [{"index":0}]'] if verbose else [])


def test_json_names_every_field_of_the_contract(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    bare = Finding(
        code="X101", cause="made_up", severity=Severity.ERROR, message="Bare.", remedies=(Remedy(text="Do."),)
    )
    JsonOutput().diagnosis(report(bare))
    document = json.loads(capsysbinary.readouterr().out)
    assert list(document)[:2] == ["schema", "verdict"]
    assert set(document["facts"]) >= {"machine", "environment"}
    (finding,) = document["findings"]
    assert finding == {
        "because": [],
        "code": "X101",
        "cause": "made_up",
        "severity": "error",
        "message": "Bare.",
        "remedies": [{"commands": [], "safe": True, "text": "Do."}],
    }


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_999, "1.0 MB"),
        (2_533_000_000, "2.5 GB"),
        (999_960_000, "1.0 GB"),
        (10**15, "1000.0 TB"),
    ],
)
def test_bytes_are_told_in_the_unit_people_read(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.038, "38 ms"),
        (0.9996, "1.0 s"),
        (4.23, "4.2 s"),
        (59.97, "1 min 0 s"),
        (60, "1 min 0 s"),
        (125.9, "2 min 5 s"),
        (7322, "122 min 2 s"),
    ],
)
def test_time_is_told_in_the_unit_people_read(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@example(words=["='", "='"])
@given(words=st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1), min_size=1, max_size=4))
def test_command_line_is_read_back_by_a_shell(words: list[str]) -> None:
    import shlex

    assert shlex.split(command_line(words)) == words


def test_what_comes_after_the_first_cause_is_told() -> None:
    choice = Choice(
        torch="2.7.1", variant="cu118", local_label="+cu118", torchvision="0.22.1", torchaudio=None, index="official",
        index_url=None, compatibility="minor",
    )  # fmt: skip
    target = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64")
    then = Afterwards(plan=Plan(status="ok", target=target, choice=choice), findings=(FINDING,))
    text = re.sub(r"\s+", " ", shown(msgspec.structs.replace(report(FINDING), afterwards=then)))
    assert (
        "By the tables `envfix install` would bring torch 2.7.1+cu118 (CUDA inside: cu118), torchvision 0.22.1;" in text
    )
    assert "Then there would still be to mend:" in text
    blocked = Plan(status="conflict", target=target, reasons=("the driver is too old",), ways_out=("a newer driver",))
    text = shown(msgspec.structs.replace(report(FINDING), afterwards=Afterwards(plan=blocked)))
    assert "No stack runs here as things are:" in text
    assert "→ a newer driver" in text


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("=a", "'=a'"),
        ("='", '"=\'"'),
        ("plain", "plain"),
        ("~/my env/bin", "~/'my env/bin'"),
        ("import torch; print(1)", "'import torch; print(1)'"),
        ("print(find('torch'))", "\"print(find('torch'))\""),
        ("print('$HOME')", "'print('\"'\"'$HOME'\"'\"')'"),
        ("a'b\"c", "'a'\"'\"'b\"c'"),
        ("it's!", "'it'\"'\"'s!'"),
    ],
)
def test_word_of_a_command_is_what_the_shell_reads(word: str, shown: str) -> None:
    assert command_line((word,)) == shown
    assert shlex.split(shown.replace("~/", "")) == [word.replace("~/", "")]
