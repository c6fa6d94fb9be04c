"""Reports to be shown to others: no names in them, nothing in facts is obeyed, and the command line writes them safely."""

from __future__ import annotations

import itertools
import json
import re
import stat
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from envfix.app.sharing import redacted, shareable, shareable_answer
from envfix.app.stacking import links
from envfix.model.documents import Redactor
from envfix.model.explanation import Cause, Explanation
from envfix.model.facts import found
from envfix.model.finding import Finding, Remedy, Severity
from envfix.model.plan import GpuChoice, Plan, PlanTarget, TargetGpu
from envfix.model.stack import SharedReport
from envfix.model.words import readable
from envfix.render.elements import document, element
from envfix.render.html import HtmlReport
from envfix.render.html_answers import HtmlAnswers
from envfix.render.html_style import DARK, LIGHT, PAIRS
from envfix.render.interface import ReportFormat
from envfix.render.markdown import MarkdownReport, escaped, fenced
from envfix.render.report_parts import chains, spoken
from envfix.render.stack_picture import NAMES as PARTS
from envfix.render.stack_picture import WORDS
from envfix.render.terminal_picture import TerminalPicture
from envfix.render.words import command_line
from envfix.tables.loader import load
from tests.conftest import CHECKOUT
from tests.fakes.running import ENVFIX, Finished, cleaned_environment, envfix
from tests.fakes.targets import base_python, make_venv, write_torch
from tests.shown_reports import HOSTILE, NAMES, STATES, healthy, hostile, judged, shared
from tests.small_disk import small_disk
from tests.test_machines import FOLDER

FORMATS: dict[str, ReportFormat] = {"html": HtmlReport(), "markdown": MarkdownReport(), "svg": TerminalPicture()}
VOID = {"meta", "br", "link", "img", "input", "hr", "wbr"}


class Page(HTMLParser):
    """A page as a browser takes it apart: elements with attributes and the text of all that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See ``HTMLParser``."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Every element ends where it should."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """See ``HTMLParser``."""
        if not {"style", "title", "desc"}.intersection(self.open):
            self.shown.append(data)

    @property
    def text(self) -> str:
        """All that is shown, with single spaces."""
        return " ".join("".join(self.shown).split())

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of all elements with one of these names."""
        return [attributes for tag, attributes in self.elements if tag in tags]


def page(name: str) -> Page:
    return Page(FORMATS["html"].diagnosis(shared(name)))


# --- no names ---


@pytest.mark.parametrize("form", FORMATS)
def test_report_of_a_machine_full_of_names_and_secrets_tells_none(form: str) -> None:
    before = hostile()
    raw = repr(before)
    assert all(name in raw for name in NAMES), "the machine holds them all"
    text = FORMATS[form].diagnosis(shared("hostile"))
    for name in NAMES:
        if name != "zzhostzz":  # the host of another machine is not known to be one: see the next test
            assert name not in text


def test_own_user_home_and_host_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/data/zzuserzz")
    monkeypatch.setenv("LOGNAME", "zzuserzz")
    monkeypatch.setattr("platform.node", lambda: "zzhostzz.lab.example")
    report = shareable(hostile())
    for form in FORMATS.values():
        text = form.diagnosis(report)
        for name in NAMES:
            assert name not in text


def test_command_that_is_pasted_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/zzuserzz")
    report = shareable(hostile())
    commands = [
        command_line(argv)
        for finding in report.report.diagnosis.findings
        for remedy in finding.remedies
        for argv in remedy.commands
    ]
    assert "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1" in commands, "a stand-in would choose no card"
    assert any(line.startswith("~/'envs/my env/bin/python' ") for line in commands), commands


def test_number_of_a_card_is_that_of_the_card_whose_id_was_named() -> None:
    text = FORMATS["markdown"].diagnosis(shared("memory full"))
    assert "→ Use GPU 1, of which 24.0 GiB are free." in text
    assert "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1\n" in text


FULL = str(FOLDER / "seed-lab-server" / "snapshot.json")
OUT_OF_MEMORY = (
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity;"
    " 1.71 GiB already allocated; 13.12 MiB free; 1.84 GiB reserved in total by PyTorch)\n"
)
NUMBERED = "export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=1"


@pytest.mark.parametrize("command", [("diagnose",), ("explain", "log")])
def test_card_of_a_saved_machine_is_named_by_its_number(command: tuple[str, ...], tmp_path: Path) -> None:
    """Its serial ids are stand-ins: pasted, they would hide every card."""
    (tmp_path / "log").write_text(OUT_OF_MEMORY)
    text = envfix(*command, "--from", FULL, cwd=tmp_path).stdout
    assert [line.strip() for line in text.splitlines() if "export" in line] == [NUMBERED]
    findings = envfix(*command, "--from", FULL, "--json", cwd=tmp_path).document
    assert '"CUDA_VISIBLE_DEVICES=1"' in json.dumps(findings.get("findings", findings.get("causes")))


def test_page_of_an_explanation_names_the_card_by_its_number(
    fake_machine: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(OUT_OF_MEMORY)
    env = fake_machine("seed-server")
    finished = envfix("explain", "log", "--python", base_python(), "--html", "a.html", env=env, cwd=tmp_path)
    assert "CUDA_VISIBLE_DEVICES=GPU-5eed0001-" in finished.stdout
    assert NUMBERED in Page((tmp_path / "a.html").read_text(encoding="utf-8")).text


def test_page_of_a_plan_names_cards_by_their_numbers() -> None:
    cards = tuple(
        TargetGpu(name="RTX 3090", uuid=f"GPU-8a1b2c3{at}-1111-2222-3333-0123456789ab", index=at) for at in (4, 5)
    )
    target = PlanTarget(python="3.11", tag="cp311", platform="linux_x86_64", gpus=cards)
    gpu = GpuChoice(uuid=None, export=f"CUDA_VISIBLE_DEVICES={cards[1].uuid},{cards[0].uuid}")
    read = Page(HtmlAnswers().plan(shareable_answer(Plan(status="ok", target=target, gpu=gpu))))
    assert "export CUDA_VISIBLE_DEVICES=5,4" in read.text
    assert ", 2 x RTX 3090" in read.text


def test_id_that_two_cards_share_is_no_number() -> None:
    before = hostile()
    cards = [
        msgspec.structs.replace(one, uuid="GPU-8a1b2c3d-1111-2222-3333-0123456789ab")
        for one in before.machine.gpus.value or ()
    ]
    there = msgspec.structs.replace(before.machine, gpus=found(tuple(cards), "NVML"))
    assert "CUDA_VISIBLE_DEVICES=GPU-00000000-" in FORMATS["markdown"].diagnosis(
        shareable(judged(there, before.environment))
    )


def test_names_of_the_catalogue_are_never_redacted() -> None:
    finding = Finding(code="MEM102", cause="oom_other_process", severity=Severity.ERROR, message="other holds it")
    clean = redacted((finding,), Redactor(people=["anna", "other", "oom_other_process", "MEM102"]))[0]
    assert (clean.code, clean.cause, clean.severity) == ("MEM102", "oom_other_process", Severity.ERROR)
    assert clean.message == "user2 holds it"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("C:\\Users\\Anna Müller\\envs", "C:\\Users\\user2\\envs"),
        ("in C:\\Users\\anna is the", "in C:\\Users\\user2 is the"),
        ("/home/山田/x of 山田", "/home/user2/x of user2"),
        ("/Users/li-wei.2/x", "/Users/user2/x"),
        ("(yolo) zzanna@zzgpu7.lab:~$ python", "(yolo) user3@user2:~$ python"),
        ("git@github.com:/lab/yolo", "git@github.com:/lab/yolo"),
    ],
)
def test_homes_and_prompts_of_others_name_nobody(said: str, shown: str) -> None:
    """Logs and pasted reports are of any machine."""
    cause = Cause(cause="x", code="X101", title="t", severity=Severity.ERROR, confidence=1, message=said)
    answer = Explanation(causes=(cause,), ambiguous=False, facts="none", lines=1, bytes=1)
    assert shareable_answer(answer).answer.causes[0].message == shown


@pytest.mark.parametrize(
    "user", ["broken", "degraded", "healthy", "works", "absent", "conda", "index", "error", "compute"]
)
def test_person_named_like_a_word_of_envfix_spoils_no_report(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", user)
    for name in ("healthy", "memory full", "seed-wrong-interpreter"):
        report = shared(name)
        assert report.report.diagnosis.verdict == STATES[name]().diagnosis.verdict
        assert [link.state for link in report.links] == [
            link.state
            for link in links(STATES[name]().machine, STATES[name]().environment, STATES[name]().diagnosis, load())
        ]
        for form in FORMATS.values():
            assert form.diagnosis(report)


# --- HTML ---


@pytest.mark.parametrize("name", STATES)
def test_page_is_whole_and_takes_nothing_from_elsewhere(name: str) -> None:
    text = FORMATS["html"].diagnosis(shared(name))
    read = Page(text)
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert not read.open, "every element ends"
    assert not read.all("script", "link", "iframe", "img", "object", "embed", "form", "base", "use", "image")
    policy = next(meta["content"] for meta in read.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    for attributes in (attributes for _, attributes in read.elements):
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "src", "action")]
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text


@pytest.mark.parametrize("name", STATES)
def test_page_can_be_read_without_eyes_for_colour_or_pictures(name: str) -> None:
    report = shared(name)
    read = Page(FORMATS["html"].diagnosis(report))
    headings = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    pictures = [attributes for attributes in read.all("svg") if attributes.get("role") == "img"]
    assert len(pictures) >= 2
    assert all(one.get("aria-labelledby") or one.get("aria-label") for one in pictures)
    assert all(one.get("role") == "img" or one.get("aria-hidden") == "true" for one in read.all("svg"))
    identities = [str(attributes["id"]) for _, attributes in read.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    targets = [str(one["href"])[1:] for one in read.all("a")]
    assert set(targets) <= set(identities)
    assert all(one.get("scope") in ("col", "row") for one in read.all("th"))
    assert all(one.get("tabindex") == "0" for one in read.all("pre")), "reached by the keyboard"
    for link in report.links:
        assert f"{WORDS[link.state]}" in read.text
        assert PARTS[link.part] in read.text


@pytest.mark.parametrize("name", STATES)
def test_page_says_all_that_was_found(name: str) -> None:
    report, read = shared(name), page(name)
    for finding in report.report.diagnosis.findings:
        parts = [finding.message, *(one.value for one in finding.because), *(one.text for one in finding.remedies)]
        for text in parts:
            bare = "".join(piece for piece, _ in spoken(text))
            assert " ".join(readable(bare).split()) in read.text or " ".join(readable(text).split()) in read.text
        for remedy in finding.remedies:
            for argv in remedy.commands:
                assert " ".join(readable(command_line(argv)).split()) in read.text
    for link in report.links:
        assert " ".join(readable("".join(piece for piece, _ in spoken(link.reason))).split()) in read.text


def luminance(colour: str) -> float:
    """WCAG 2: relative luminance of ``#rrggbb``."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), PAIRS)
def test_letters_stand_out_from_their_ground_in_both_themes(theme: dict[str, str], ink: str, ground: str) -> None:
    lighter, darker = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_findings_of_one_code_have_one_place_to_go_to() -> None:
    before = healthy()
    twice = (one("FAM105"), one("FAM105"), one("X101", "FAM105"))
    diagnosis = msgspec.structs.replace(before.diagnosis, verdict="broken", findings=twice)
    read = Page(FORMATS["html"].diagnosis(shareable(msgspec.structs.replace(before, diagnosis=diagnosis))))
    identities = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert {"FAM105", "X101"} <= set(identities)


@settings(deadline=None)
@given(st.text(), st.text())
def test_no_text_becomes_an_element_or_an_attribute(text: str, value: str) -> None:
    read = Page(document(element("p", text, element("b", text), text, title=value)))
    assert [tag for tag, _ in read.elements] == ["p", "b"]
    assert read.elements[0][1].keys() == {"title"}
    normal = readable(text).replace("\r\n", "\n").replace("\r", "\n")
    assert "".join(read.shown).strip("\n") == (normal * 3).strip("\n")


# --- Markdown ---


def as_html(text: str) -> Page:
    """As a reader of CommonMark with tables and HTML shows it."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


ALLOWED = {
    "h2", "h3", "p", "strong", "code", "pre", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "details", "summary",
    "sub",
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_markdown_swallows_nothing_and_obeys_nothing(name: str) -> None:
    report = shared(name)
    text = FORMATS["markdown"].diagnosis(report)
    read = as_html(text)
    assert {tag for tag, _ in read.elements} <= ALLOWED
    for finding in report.report.diagnosis.findings:
        for said in (finding.message, *(one.value for one in finding.because)):
            bare = "".join(piece for piece, _ in spoken(" ".join(readable(said).split())))
            assert bare in read.text
        for remedy in finding.remedies:
            for argv in remedy.commands:
                assert " ".join(readable(command_line(argv)).split()) in read.text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for line in rows:
        assert re.search(r"(?<!\\)\|$", line)
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"(?<![\w`])[@#]\w", re.sub(r"(?s)```.*?\n```", "", text)), "nobody is called by a report"


@given(st.text() | st.text(alphabet="_*`~[]()<>!#@-+=1.a \\|&;"))
@example("__0__")
@example("- 1. a")
@settings(max_examples=400, deadline=None)
def test_any_text_in_markdown_is_shown_as_it_is(text: str) -> None:
    line = " ".join(readable(text).split())
    read = as_html(f"- {escaped(text)}\n")
    assert {tag for tag, _ in read.elements} <= {"ul", "li", "code"}
    assert "".join(read.shown).strip() == "".join(piece for piece, _ in spoken(line))


@settings(deadline=None)
@given(st.lists(st.text(alphabet="|`\\a <*_~[]#@-1."), min_size=2, max_size=2))
def test_any_text_in_a_table_stays_in_its_cell(cells: list[str]) -> None:
    table = f"| a | b |\n| --- | --- |\n| {escaped(cells[0])} | {escaped(cells[1])} |\n"
    read = as_html(table)
    assert [tag for tag, _ in read.elements].count("td") == 2
    shown = " ".join("".join(piece for piece, _ in spoken(" ".join(readable(cell).split()))) for cell in cells)
    assert read.text == " ".join(f"a b {shown}".split())


@settings(deadline=None)
@given(st.text(alphabet="`~a\n <>"))
def test_any_command_stays_between_its_marks(line: str) -> None:
    read = as_html(fenced(line))
    assert [tag for tag, _ in read.elements] == ["pre", "code"]
    assert "".join(read.shown).rstrip("\n") == line.rstrip("\n")


# --- the picture of a terminal ---


@pytest.mark.parametrize("name", STATES)
def test_picture_is_well_formed_and_names_no_other_host(name: str) -> None:
    text = FORMATS["svg"].diagnosis(shared(name))
    root = ET.fromstring(text)  # noqa: S314 - made here, and the point of the test
    assert (root.get("role"), root.tag) == ("img", "{http://www.w3.org/2000/svg}svg")
    assert (root.get("aria-label") or "").startswith("envfix diagnose: ")
    assert not [
        one.tag for one in root.iter() if one.tag.rpartition("}")[2] in ("script", "image", "foreignObject", "a")
    ]
    assert "@font-face" not in text
    assert "url(http" not in text


def test_picture_is_as_wide_as_the_longest_command() -> None:
    long = Finding(
        code="X101",
        cause="made_up",
        severity=Severity.ERROR,
        message="Something.",
        remedies=(Remedy(text="Do this.", commands=(("python", "-m", "pip", "install", "x" * 150),)),),
    )
    before = healthy()
    diagnosis = msgspec.structs.replace(before.diagnosis, verdict="broken", findings=(long,))
    text = FORMATS["svg"].diagnosis(shareable(msgspec.structs.replace(before, diagnosis=diagnosis)))
    width = float((ET.fromstring(text).get("viewBox") or "").split()[2])  # noqa: S314
    assert f"&#160;-m&#160;pip&#160;install&#160;{'x' * 150}" in text
    assert width > 170 * 12


def test_chinese_characters_have_two_columns_each_in_the_picture() -> None:
    from rich.cells import cell_len

    text = envfix("--lang", "zh", "diagnose", "--from", SAVED, "--svg", "-", "-q").stdout
    told = [
        (float(one.get("textLength") or 0), one.text or "")
        for one in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314
        if one.get("textLength")
    ]
    assert any(cell_len(words) > len(words) for _, words in told)
    for length, words in told:
        assert length == pytest.approx(12.2 * cell_len(words), rel=0.001), words


def test_picture_shows_a_line_whole_whatever_is_in_it() -> None:
    text = FORMATS["svg"].diagnosis(shared("hostile"))
    assert "?gnp.exe" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)


# --- chains of findings ---


def one(code: str, after: str | None = None) -> Finding:
    return Finding(code=code, cause=code.lower(), severity=Severity.ERROR, message=code, follows_from=after)


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([one("A"), one("B", "A"), one("C", "B")], [("A", "BC")]),
        ([one("A"), one("B"), one("C", "A")], [("A", "C"), ("B", "")]),
        ([one("B", "gone")], [("B", "")]),
        ([one("A", "B"), one("B", "A")], [("A", ""), ("B", "")]),
    ],
)
def test_symptoms_stand_below_their_root(findings: list[Finding], expected: list[tuple[str, str]]) -> None:
    told = [(chain.root.code, "".join(symptom.code for symptom in chain.symptoms)) for chain in chains(findings)]
    assert told == expected


# --- the command ---


SAVED = str(FOLDER / "seed-wrong-interpreter" / "snapshot.json")


def test_reports_are_written_beside_the_answer(tmp_path: Path) -> None:
    names = ("--html", "a.html", "--markdown", "a.md", "--svg", "a.svg")
    plainly = envfix("diagnose", "--from", SAVED)
    finished = envfix("diagnose", "--from", SAVED, *names, cwd=tmp_path)
    assert (finished.code, finished.stdout) == (1, plainly.stdout)
    assert finished.stderr.splitlines()[-3:] == ["saved: a.html", "saved: a.md", "saved: a.svg"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "a.md", "a.svg"]
    for path, start in (("a.html", "<!doctype html>"), ("a.md", "## ✗ envfix: broken"), ("a.svg", "<svg ")):
        assert (tmp_path / path).read_text(encoding="utf-8").startswith(start)
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) & 0o111 == 0


def test_reports_go_with_json(tmp_path: Path) -> None:
    finished = envfix("diagnose", "--from", SAVED, "--json", "--html", "a.html", cwd=tmp_path)
    assert (finished.code, finished.document["verdict"]) == (1, "broken")
    assert (tmp_path / "a.html").stat().st_size > 5000
    assert finished.stderr == "saved: a.html\n"


@pytest.mark.parametrize("form", ["--html", "--svg", "--markdown"])
def test_report_on_standard_output_is_all_there_is(form: str) -> None:
    arguments = (form,) if form == "--markdown" else (form, "-")
    finished = envfix("diagnose", "--from", SAVED, "-q", *arguments)
    assert finished.code == 1
    assert finished.stdout.startswith({"--html": "<!doctype", "--svg": "<svg", "--markdown": "## "}[form])
    assert "Verdict:" not in finished.stdout or form == "--svg"
    assert finished.stderr == ""


def test_bare_options_are_those_of_diagnose(fake_machine: Callable[..., dict[str, str]]) -> None:
    env = fake_machine("seed-server")
    finished = envfix("--markdown", "--no-import", "--python", base_python(), env=env)
    assert finished.stdout.startswith("## ")
    assert "| ! | Card | 2 x GeForce RTX 3090 | doubtful |" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "where", "option"),
    [
        (("--markdown", "--json"), "standard output", "--markdown"),
        (("--html", "-", "--json"), "standard output", "--html"),
        (("--html", "-", "--svg", "-"), "standard output", "--html"),
        (("--html", "x", "--svg", "x"), "x", "--html"),
        (("--html", "x", "--svg", "./no/../x"), "x", "--html"),
        (("--html", "/dev/stdout", "--svg", "-"), "standard output", "--html"),
        (("--svg", "/dev/stdout", "--json"), "standard output", "--svg"),
    ],
)
def test_two_answers_in_one_place_are_refused_before_anything(
    arguments: tuple[str, ...], where: str, option: str, tmp_path: Path
) -> None:
    finished = envfix("diagnose", "--from", SAVED, *arguments, cwd=tmp_path)
    assert finished.code == 2
    message, hint = f"two answers cannot both go to {where}", f"name a file of its own: {option} FILE"
    if "--json" in arguments:
        assert finished.document["error"] | {} == {
            "reference": "usage", "message": message, "hint": hint, "exit_code": 2,
        }  # fmt: skip
    assert finished.stderr == f"error: {message}\nhint: {hint}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["html", "markdown", "svg"])
def test_file_that_cannot_be_written_is_named_and_nothing_is_left(form: str, tmp_path: Path) -> None:
    finished = envfix("diagnose", "--from", SAVED, f"--{form}", "no/such/a", "--json", cwd=tmp_path)
    assert finished.code == 3
    assert finished.document["error"]["message"] == "cannot write no/such/a: No such file or directory"
    assert finished.document["error"]["hint"] == f"name another file with --{form}"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "name", "message"),
    [
        (("diagnose",), "folder", "cannot write folder: Is a directory"),
        (("verify",), "no/such/a", "cannot write no/such/a: No such file or directory"),
        (("plan",), "file/a", "cannot write file/a: Not a directory"),
        (("explain", "file"), "folder", "cannot write folder: Is a directory"),
    ],
)
def test_file_that_cannot_be_is_told_before_anything_is_looked_at(
    command: tuple[str, ...], name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    finished = envfix(*command, "--html", name, cwd=tmp_path)
    assert (finished.code, finished.stdout) == (3, "")
    assert finished.stderr == f"error: {message}\nhint: name another file with --html\n"


def test_option_without_a_name_says_so(tmp_path: Path) -> None:
    for arguments in (("diagnose", "--svg", ""), ("plan", "--html", ""), ("diagnose", "--markdown", "")):
        finished = envfix(*arguments, cwd=tmp_path)
        assert finished.code == 2
        assert finished.stderr == f"error: {arguments[1]} names no file\nhint: {arguments[1]} FILE\n"


@pytest.mark.parametrize(
    "arguments",
    [("diagnose", "--from", "read", "--svg"), ("plan", "--from", "read", "--html"), ("explain", "read", "--html")],
)
def test_what_is_read_is_never_written_over(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "read").write_bytes(Path(SAVED).read_bytes())
    (tmp_path / "other-name").symlink_to("read")
    for name in ("read", "./read", "other-name"):
        finished = envfix(*arguments, name, cwd=tmp_path)
        assert finished.code == 2
        assert finished.stderr.startswith(f"error: {name} is what is read, and would be lost\nhint: name a file")
    assert (tmp_path / "read").read_bytes() == Path(SAVED).read_bytes()


def test_many_machines_have_no_page_of_a_plan(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir()
    finished = envfix("plan", "--from", "nodes", "--html", "a.html", cwd=tmp_path)
    assert finished.code == 2
    assert "error: there is no page for the plan of many machines\n" in finished.stderr


def test_report_on_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=16k") as disk:
        (disk / "a.html").write_text("old")
        finished = envfix("diagnose", "--from", SAVED, "--html", "disk/a.html", cwd=tmp_path)
        assert finished.code == 3
        assert finished.stderr.startswith("error: cannot write disk/a.html: No space left on device\n")
        assert [(one.name, one.read_text()) for one in disk.iterdir()] == [("a.html", "old")]


def test_file_that_was_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("old")
    before = path.stat().st_ino
    assert envfix("diagnose", "--from", SAVED, "--html", str(path)).code == 1
    assert path.stat().st_ino != before
    assert [one.name for one in tmp_path.iterdir()] == ["a.html"]


def test_without_a_report_nothing_for_it_is_imported() -> None:
    program = (
        f"{ENVFIX[-1].rpartition('; ')[0]}\nimport atexit, json, os\n"
        "atexit.register(lambda: os.write(2, b'MODULES' + json.dumps(sorted(sys.modules)).encode()))\n"
        "sys.argv = ['envfix'] + sys.argv[1:]\nrun()\n"
    )
    finished = envfix("diagnose", "--from", SAVED, start=[sys.executable, "-I", "-c", program])
    modules = set(json.loads(finished.stderr.partition("MODULES")[2]))
    assert modules.isdisjoint(
        {"envfix.app.sharing", "envfix.app.stacking", "envfix.render.html", "envfix.render.markdown"}
    )


def test_error_tells_the_terminal_nothing_that_is_not_to_be_read() -> None:
    finished = envfix("diagnose", "--from", "a\u202e\x1b]0;owned\x07b.json")
    assert finished.code == 3
    assert finished.stderr.startswith("error: cannot read a??]0;owned?b.json: ")


@pytest.mark.parametrize(
    ("encoding", "words"), [("cp437", "the machine saved in"), ("gbk", "中的机器"), ("utf-8", "中的机器")]
)
def test_language_of_the_environment_is_spoken_where_it_can_be_written(encoding: str, words: str) -> None:
    env = cleaned_environment(LANG="zh_CN.UTF-8", PYTHONIOENCODING=encoding)
    finished = envfix("diagnose", "--from", SAVED, env=env, cwd=CHECKOUT, start=[sys.executable, "-m", "envfix"])
    text = finished.raw.decode(encoding)
    assert words in text
    assert "\\u" not in text


# --- the pages of plan, explain and verify ---


def plan_page(folder: Path, env: dict[str, str]) -> Finished:
    return envfix(
        "plan", "--driver", "470.57.02", "--gpu", "RTX 3090", "--python", "3.11", "--offline", "--index", "official",
        "--html", str(folder / "a.html"), env=env,
    )  # fmt: skip


def conflict_page(folder: Path, env: dict[str, str]) -> Finished:
    machine = ("--driver", "340.10", "--gpu", "RTX 3090", "--python", "3.11")
    return envfix("plan", *machine, "--offline", "--html", str(folder / "a.html"), env=env)


def explain_page(folder: Path, env: dict[str, str]) -> Finished:
    log = folder / "zzuserzz.log"
    log.write_text(
        "  File '/home/zzotherzz/train.py', line 1\n<script>alert(1)</script> --api-key zzT0KENzz\n"
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 84.00 MiB (GPU 0; 23.69 GiB total capacity;"
        " 1.71 GiB already allocated; 13.12 MiB free; 1.84 GiB reserved in total by PyTorch) /home/zzotherzz/<b>x</b>\n"
    )
    return envfix("explain", "--no-machine", str(log), "--html", str(folder / "a.html"), env=env)


def unknown_page(folder: Path, env: dict[str, str]) -> Finished:
    (folder / "log").write_text("hello\n")
    return envfix("explain", "--no-machine", str(folder / "log"), "--html", str(folder / "a.html"), env=env)


def verify_page(folder: Path, env: dict[str, str]) -> Finished:
    python = make_venv(folder / "zzuserzz" / "env").parents[2] / "bin" / "python"
    return envfix("verify", "--level", "import", "--python", str(python), "--html", str(folder / "a.html"), env=env)


ANSWERS: dict[str, tuple[Callable[[Path, dict[str, str]], Finished], int, str]] = {
    "plan": (plan_page, 0, "torch 2.7.1+cu118CUDA inside: cu118, with torchvision 0.22.1, from official."),
    "conflict": (conflict_page, 1, "No stack fitsBlocked by: the driver."),
    "explain": (
        explain_page,
        1,
        "Another process fills a cardThe most likely cause of what this log shows.What is wrongOthers hold 21.84 GiB",
    ),
    "unknown": (unknown_page, 0, "Not recognisedNothing in this log is a failure that envfix knows."),
    "verify": (verify_page, 4, "Failed at import"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_other_answers_have_a_page_as_well(name: str, tmp_path: Path) -> None:
    make, code, words = ANSWERS[name]
    env = cleaned_environment(HOME=str(tmp_path / "zzuserzz"), LOGNAME="zzuserzz", USER="zzuserzz")
    finished = make(tmp_path, env)
    assert finished.code == code, finished
    assert finished.stderr.endswith(f"saved: {tmp_path / 'a.html'}\n")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    read = Page(text)
    assert words in read.text
    assert not read.all("script", "b", "img")
    assert read.all("svg")
    for secret in NAMES:
        assert secret not in text


def test_page_of_an_answer_needs_a_file() -> None:
    finished = envfix("plan", "--html", "-", "--offline")
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr == "error: the page needs a file of its own\nhint: --html FILE\n"


# --- the whole way, on a machine as it is ---


def test_reports_of_the_machine_itself_tell_no_names(
    fake_machine: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    home = tmp_path / "home of zzuserzz"
    write_torch(make_venv(home / "env"), "1.9.0+cu111", "11.1")
    secret = "zzT0KENzz"  # noqa: S105
    env = fake_machine("seed-server") | {
        "HOME": str(home),
        "LOGNAME": "zzuserzz",
        "USER": "zzuserzz",
        "PIP_INDEX_URL": f"https://zzuserzz:{secret}@pypi.example/simple",
        "UV_PUBLISH_TOKEN": secret,
        "CUDA_VISIBLE_DEVICES": "GPU-5eed0000",
        "CONDA_PREFIX": "/data/zzuserzz/conda",
        "FAKE_HOLDERS": f"0|4194999|22630|python /home/zzotherzz/train.py --api-key {secret}",
    }
    files = ("--html", "a.html", "--markdown", "a.md", "--svg", "a.svg")
    finished = envfix("diagnose", "--no-import", "--python", str(home / "env"), *files, env=env, cwd=tmp_path)
    assert finished.code in (0, 1), finished
    assert "5eed0001" in finished.stdout, "the answer itself keeps the id that is to be pasted"
    for name in ("a.html", "a.md", "a.svg"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "~/env" in text or "~/env" in text.replace("\\", "").replace("&#160;", " ")
        for told in ("zzuserzz", "zzotherzz", secret, "5eed000", "home of"):
            assert told not in text.replace("&#160;", " ")


def test_same_machine_gives_the_same_bytes() -> None:
    def text(form: ReportFormat) -> str:
        report: SharedReport = shareable(healthy())
        return form.diagnosis(report)

    for form in FORMATS.values():
        assert text(form) == text(form)


def test_hostile_text_is_what_it_should_be() -> None:
    assert {"<", ">", "|", "`", "@", "\x1b", "\u202e"} <= set(HOSTILE)
