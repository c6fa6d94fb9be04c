"""The languages of envfix: every sentence has its translation, and nothing but sentences depends on the language."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from babel.messages.pofile import read_po

import envfix
from envfix.app.beside import Beside
from envfix.app.diagnosing import diagnose, report
from envfix.app.foreseeing import foresee
from envfix.cli import COMMANDS
from envfix.commands import _help
from envfix.host.target import Said, told
from envfix.model import language
from envfix.model.documents import to_builtins
from envfix.model.language import in_english, later, look_up, retold, say, speak, stated, wished
from envfix.model.lock import Needs
from envfix.render.console import ConsoleOutput
from envfix.render.wrapping import breaks, width_of, wrapped
from envfix.tables.loader import Tables
from scripts import translations
from tests.conftest import interpreter
from tests.fakes.running import CHECKOUT, ENVFIX, cleaned_environment
from tests.fakes.running import envfix as run
from tests.made_up import all_hand_made
from tests.test_machines import MACHINES, snapshot

PO = translations.LOCALE / "zh_CN" / "LC_MESSAGES" / "envfix.po"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LOGS = CHECKOUT / "tests" / "logs"
FIT_SCRIPT = CHECKOUT / "envfix" / "target" / "envfix_fit.py"
# Which argument of these is a sentence for people.
SENTENCE_OF = {"RungError": 0, "NotApplicableError": 0, "UnsafeNameError": 0, "Problem": 1, "refuse": 1}
# Parts of click that ask questions, edit files and complete words; envfix uses none of their sentences.
NOT_OF_CLICK = ("_termui_impl", "_winconsole", "shell_completion", "termui", "testing", "utils")
# Faults of a program that uses click, kinds of parameters that envfix has not got, and what envfix says in its own words.
NEVER_SAID = re.compile(
    r"^(Aborted!|Usage:|Positional arguments|deprecated|Could not open file|file|directory|path|unknown error)$|^%"
    r"|UUID|boolean|Choice\(|Value must be an iterable|declaration|defined twice|DeprecationWarning|env var: "
    r"|Could not (determine|open)|^No options defined|start character|same flag|\{filename!r\}|values are required"
    r"|does not match the format|Do you want|without prompting|^Error: |^Try '|^Missing parameter: "
)
# Arguments that people may read, and when they hold a sentence.
READ_BY_PEOPLE = ("hint", "message", "problem", "reason", "note", "because", "text")
SENTENCE = re.compile(r"\b[A-Za-z][a-z']* [a-z']+ [a-z']{2,}\b")
# What no person reads: faults of envfix itself, and why uv is asked for a package.
OF_PROGRAMS = (
    "cannot write a x as JSON",
    "it is installed",
    "no such place: x",
    "there is nothing planned to be applied",
    "x cannot be its x",
    "x is immutable",
)
# What Python says when it is asked; no sentence.
CODE = "torch.cuda.is_available() is False"


@pytest.fixture
def chinese() -> Iterator[None]:
    speak("zh")
    yield
    speak("en")


# Names, numbers, places and the texts of other programs.
_NO_PROSE = re.compile(
    r"`[^`]*`|“[^”]*”|\[[^\]]*\]|\([^()]*\)|https?://\S+|[~/]\S+|\S*[=_/.\\]\S*|\S*\d\S*"
    # Texts of other programs stay as they are, to be searched for.
    r"|NVIDIA-SMI has failed .*|cannot open shared object file.*"
)
_PROSE = re.compile(r"(?:\b[a-z]{2,}\b ){3}\b[a-z]{2,}\b")


# --- the catalogue ---


def test_every_sentence_is_translated_and_names_nothing_else() -> None:
    assert list(translations.faults(translations.updated(PO))) == []


def test_catalogue_is_that_of_todays_sources() -> None:
    """Else: python -m scripts.translations."""
    updated = translations.updated(PO)
    assert PO.read_bytes() == translations.as_po(updated)
    assert PO.with_suffix(".mo").read_bytes() == translations.as_mo(updated)


def test_no_translation_is_a_guess() -> None:
    with PO.open("rb") as file:
        assert [message.id for message in read_po(file) if message.fuzzy] == []


def test_a_missing_translation_and_one_with_wrong_names_are_faults() -> None:
    catalog = translations.template()
    sentence = next(message for message in catalog if message.id and "{" in message.id)
    assert f"not translated: {sentence.id}" in list(translations.faults(catalog))
    sentence.string = "{nobody}"
    assert f"other names in braces: {sentence.id}: {{nobody}}" in list(translations.faults(catalog))


def test_sentences_are_written_out_where_they_are_said() -> None:
    """What is put together first is in no catalogue: ``say`` and ``later`` take a literal, or one that ``later`` marked."""
    built = []
    for path in sorted((CHECKOUT / "envfix").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in translations.KEYWORDS:
                first = node.args[0] if node.args else None
                if isinstance(first, (ast.JoinedStr, ast.BinOp)):
                    built.append(f"{path.name}:{node.lineno}")
    assert built == []


def spoken_in(call: ast.Call) -> Iterator[ast.expr]:
    """The arguments of a call that people may read."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    yield from (one.value for one in call.keywords if one.arg in READ_BY_PEOPLE)
    if name.endswith("Error") or name in ("stage", "note", "unknown", "absent"):
        yield from call.args


def test_nothing_that_people_read_passes_by_the_catalogues() -> None:
    """Errors, hints, notes, reasons and sources of facts; tables and the interface for programs speak English alone."""
    unsaid = []
    for path in sorted((CHECKOUT / "envfix").rglob("*.py")):
        place = path.relative_to(CHECKOUT / "envfix")
        if place.parts[0] in ("target", "tables", "api.py", "__init__.py"):
            continue
        calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
        for argument in (argument for call in calls for argument in spoken_in(call)):
            parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts)
            if (
                isinstance(argument, (ast.Constant, ast.JoinedStr))
                and SENTENCE.search(text)
                and text not in OF_PROGRAMS
            ):
                unsaid.append(f"{place}:{argument.lineno}: {text}")
    assert unsaid == []


def test_scripts_in_the_target_give_their_sentences_in_parts() -> None:
    """They know English only; the caller says a sentence in its own language, but not one that is put together already."""
    loose = []
    for path in [*sorted((CHECKOUT / "envfix" / "target").glob("envfix_verify_*.py")), FIT_SCRIPT]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SENTENCE_OF:
                words = node.args[SENTENCE_OF[node.func.id]]
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
                words = node.value.elts[0] if ast.unparse(node.value.elts[1]) == "detail" else None
            if isinstance(words, (ast.Constant, ast.BinOp, ast.JoinedStr)) and ast.unparse(words) != repr(CODE):
                loose.append(f"{path.name}:{words.lineno}")
    assert loose == []


def asked_of_click() -> set[str]:
    """What the click that is installed here asks gettext for."""
    asked = set()
    for path in Path(click.__file__).parent.glob("*.py"):
        if path.stem not in NOT_OF_CLICK:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("_", "ngettext"):
                    asked |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return {word for word in asked if isinstance(word, str)}


def test_every_sentence_that_click_may_say_is_known() -> None:
    unsaid = asked_of_click() - set(_help.WORDS)
    assert {word for word in unsaid if not NEVER_SAID.search(word)} == set()


# --- saying ---


def test_english_is_what_stands_in_the_sources() -> None:
    assert say("no answer") == "no answer"
    assert say("a {{brace}} and {name!r:>5}", name="x") == "a {brace} and   'x'"
    assert say("a {brace} that is meant") == "a {brace} that is meant"


@pytest.mark.usefixtures("chinese")
def test_chinese_is_said_once_it_is_chosen() -> None:
    assert say("process {pid}", pid=7) == "进程 7"
    assert look_up(later("no brace")) == "no brace"
    assert language.language() == "zh"


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("sentence", ["a {thing} that nobody translated", "{thing}"])
def test_what_is_not_translated_stays_english(sentence: str) -> None:
    assert say(sentence, thing="word") == sentence.format(thing="word")


def test_a_translation_that_cannot_be_filled_in_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envfix.model.language._Chosen.look_up", lambda _text: "{nobody} {0}")
    assert say("{count} files", count=2) == "2 files"


@pytest.mark.usefixtures("chinese")
def test_what_is_saved_for_others_is_english() -> None:
    with in_english():
        assert say("process {pid}", pid=7) == "process 7"
    assert say("process {pid}", pid=7) == "进程 7"


@pytest.mark.usefixtures("chinese")
def test_others_go_on_in_their_language_meanwhile() -> None:
    """What a node is asked for is saved; meanwhile another thread tells people about it."""
    said = []
    with in_english():
        other = threading.Thread(target=lambda: said.append(say("process {pid}", pid=7)))
        other.start()
        other.join()
        said.append(Beside(10).submit(say, "process {pid}", pid=7).result())
    assert said == ["进程 7", "process 7"]


# --- which language ---


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.GB18030@pinyin"}, "zh"),
        ({"LANG": "zh-Hans"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zhx_XX"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8", "LANGUAGE": "de:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en:zh"}, "en"),
        ({"LANG": "C", "LANGUAGE": "zh_CN"}, "en"),
    ],
    ids=str,
)
def test_environment_chooses_as_gettext_reads_it(variables: dict[str, str], expected: str) -> None:
    assert wished(variables.get) == expected


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("files of environments near by", "附近各环境中的文件"),
        ("no answer within 20 seconds", "20 秒内没有应答"),
        ("/x/pip.conf cannot be read: not a regular file", "无法读取 /x/pip.conf：不是普通文件"),
        ("exit code 127: pyenv: python: command not found", "退出码 127：pyenv: python: command not found"),
        (
            "it starts /a/python; it starts /b, which is not on PATH",
            "它启动的是 /a/python；它启动的是 /b，而 PATH 中没有",
        ),
        ("NVML", "NVML"),
        ("Unable to determine the device handle for GPU", "Unable to determine the device handle for GPU"),
        ("", ""),
    ],
)
def test_what_a_fact_says_is_kept_in_english_and_told_in_chinese(text: str, said: str) -> None:
    assert retold(text) == said
    with in_english():
        assert retold(text) == text


@pytest.mark.usefixtures("chinese")
def test_what_no_sentence_of_ours_can_be_takes_no_time() -> None:
    """The patterns alone would take minutes for it."""
    text = "Needs Python " + " () on  with glibc " * 1000 + "\0"
    started = time.process_time()
    assert retold(text) == text
    assert time.process_time() - started < 1


@pytest.mark.usefixtures("chinese")
def test_what_a_fact_says_is_english_whoever_finds_it() -> None:
    assert stated("no answer within {timeout} seconds", timeout=20) == "no answer within 20 seconds"
    assert Needs(python="3.8", tag="cp38", platform="linux_x86_64").in_words() == [
        "Needs Python 3.8 (cp38) on linux_x86_64.",
        "Runs on the CPU; needs no NVIDIA card.",
    ]


@pytest.mark.parametrize(
    ("translated", "value", "said"),
    [
        ("但{x}损坏", "NVIDIA 驱动", "但 NVIDIA 驱动损坏"),
        ("{x} 的显存", "GPU 0（空闲 1 GiB）", "GPU 0（空闲 1 GiB）的显存"),
        ("来自 {x} 的包", "默认软件源", "来自默认软件源的包"),
        ("来自 {x} 的包", "official", "来自 official 的包"),
        ("{x} 已启动", "/home/用户1/bin", "/home/用户1/bin 已启动"),
        ("它说：{x}。", "It failed.", "它说：It failed。"),
        ("它说：{x}。", "wait...", "它说：wait...。"),
        ("共 {x:.1f} GiB", 2.0, "共 2.0 GiB"),
        ("值 {x!r}", "a", "值 'a'"),
        ("{x}", "  indented", "  indented"),
    ],
)
def test_blanks_stand_between_chinese_and_latin_letters_only(
    monkeypatch: pytest.MonkeyPatch, translated: str, value: object, said: str
) -> None:
    monkeypatch.setattr("envfix.model.language._Chosen.look_up", lambda _text: translated)
    assert say("{x}", x=value) == said


@pytest.mark.usefixtures("chinese")
def test_a_sentence_of_the_target_is_said_in_parts() -> None:
    inner = Said(
        sentence="{package} is not installed, and {user} needs it", values={"package": "cv2", "user": "ultralytics"}
    )
    outer = Said(sentence="training fails although predicting works: {error}", values={"error": inner})
    assert told(outer) == "能预测，但训练失败：没有安装 cv2，而 ultralytics 需要它"
    with in_english():
        assert told(outer) == "training fails although predicting works: cv2 is not installed, and ultralytics needs it"
    assert told("RuntimeError: CUDA error") == "RuntimeError: CUDA error"


def chosen(*arguments: str, **variables: str) -> str:
    """What ``envfix`` prints, on both streams."""
    finished = run(*arguments, env=cleaned_environment(PYTHONIOENCODING="utf-8", **variables))
    return finished.stdout + finished.stderr


SAVED = ("--from", str(CHECKOUT / "tests" / "machines" / "seed-lab-server" / "snapshot.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--lang", "zh", "diagnose", *SAVED),
        ("--lang=zh", "diagnose", *SAVED),
        ("diagnose", *SAVED, "--lang", "zh"),
        ("--lang", "zh", *SAVED),
        ("diagnose", "--json", *SAVED, "--lang", "zh"),
    ],
    ids=" ".join,
)
def test_lang_may_stand_anywhere(arguments: tuple[str, ...]) -> None:
    assert "其他进程占用了" in chosen(*arguments) or "进程占用了" in chosen(*arguments)


def test_variable_chooses_and_lang_overrules_it() -> None:
    assert CHINESE.search(chosen("diagnose", *SAVED, LANG="zh_CN.UTF-8"))
    assert not CHINESE.search(chosen("diagnose", *SAVED, "--lang", "en", LANG="zh_CN.UTF-8"))
    assert CHINESE.search(chosen("diagnose", *SAVED, "--lang", "zh", LANG="C"))


def test_no_variable_changes_json() -> None:
    assert not CHINESE.search(chosen("diagnose", *SAVED, "--json", LANG="zh_CN.UTF-8"))
    assert not CHINESE.search(chosen("plan", "--cuda", "nonsense", "--json", LANG="zh_CN.UTF-8"))


@pytest.mark.parametrize("spelled", ["zh", "zh_CN", "zh-CN", "ZH", "zh_CN.GB18030", "zh-Hans"])
def test_lang_may_be_spelled_as_a_locale(spelled: str) -> None:
    assert run("--help", "--lang", spelled).stdout.startswith("用法：")


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "gbk"])
def test_bytes_are_those_that_the_terminal_reads(encoding: str) -> None:
    start = (sys.executable, "-c", ENVFIX[-1])  # not -I, which would leave PYTHONIOENCODING alone
    env = cleaned_environment(PYTHONIOENCODING=encoding)
    shown = run("--lang", "zh", "gpus", *SAVED, env=env, start=start).raw.decode(encoding)
    assert "GPU 1 空闲最多。" in shown
    assert ("█" in shown) is (encoding == "utf-8")
    assert "用法：" in run("--lang", "zh", "--help", env=env, start=start).raw.decode(encoding)


@pytest.mark.parametrize("spelled", ["zh_TW", "zh-Hant", "fr", "C", "zhx", ""])
def test_no_other_language_and_no_other_characters_are_pretended(spelled: str) -> None:
    finished = run("--lang", spelled, "gpus", *SAVED)
    assert (finished.code, finished.stdout) == (2, "")
    assert finished.stderr.startswith(f"error: Invalid value for '--lang': {spelled!r} is not one of 'en', 'zh'.")


def test_another_language_is_a_wrong_usage() -> None:
    finished = run("--lang", "tlh", "diagnose", *SAVED)
    assert finished.code == 2
    assert "'tlh' is not one of 'en', 'zh'" in finished.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diagnose", "--nonsense"), "没有选项 '--nonsense'。"),
        (("plan", "--torchh", "2"), "没有选项 '--torchh'。是不是想用 '--torch'？"),
        (("diagnos",), "没有命令 'diagnos'。您是指 'diagnose' 吗？"),
        (("completion",), "缺少参数 '{bash|zsh|fish}'。可选：\n\tbash,\n\tzsh,\n\tfish"),
        (("run",), "缺少参数 'PROGRAM [ARGUMENTS]...'。"),
        (("verify", "--level", "up"), "'--level' 的值不正确：'up' 不在可选值 'import', 'cuda', 'yolo', 'train' 之中。"),
        (("fleet", "gpus", "--fan-out", "0"), "'--fan-out' 的值不正确：0 不在 1<=x<=512 范围内。"),
        (("fleet", "gpus", "--fan-out", "x"), "'--fan-out' 的值不正确：'x' 不是有效的数值。"),
        (("diagnose", "--python"), "选项 '--python' 后面需要一个值。"),
        (("diagnose", "--json=yes"), "选项 '--json' 不带值。"),
        (("gpus", "a", "b"), "有多余的参数：a b"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_click_refuses_is_told_in_chinese(arguments: tuple[str, ...], message: str) -> None:
    finished = run("--lang", "zh", *arguments)
    assert finished.code == 2
    assert finished.stderr.startswith(f"错误：{message}\n")


def test_the_language_of_a_wrong_call_may_stand_behind_the_fault() -> None:
    assert run("diagnose", "--nonsense", "--lang", "zh").stderr.startswith("错误：没有选项 '--nonsense'。")
    assert run("diagnose", "--nonsense", "--lang=en", env=cleaned_environment(LANG="zh_CN.UTF-8")).stderr.startswith(
        "error: No such option"
    )


def test_rungs_are_told_in_chinese_and_stay_english_in_json() -> None:
    climb = ("verify", "--level", "import", "--device", "cpu", "--python", interpreter("3.8"))
    said = run(*climb, "--lang", "zh", env=cleaned_environment()).stdout
    assert re.search(r"interpreter +\d+ ms  CPython 3\.8\.\d+ 能启动\n", said)
    assert re.search(r"import +\d+ ms  这个解释器中没有安装 torch  \(torch_not_installed\)\n", said)
    document = run(*climb, "--json", env=cleaned_environment(LANG="zh_CN.UTF-8")).document
    assert document["rungs"][1]["message"] == "torch is not installed in this interpreter"


def test_programs_that_are_run_keep_their_own_lang() -> None:
    said = chosen("run", "--", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--lang", "zh")
    assert said == "['--lang', 'zh']\n"


def test_a_wrong_request_is_told_in_chinese() -> None:
    finished = run("plan", "--cuda", "12.99", "--offline", "--lang", "zh", env=cleaned_environment())
    assert finished.code == 2
    assert finished.stderr.startswith("错误：--cuda 12.99：没有这样的 CUDA；")
    assert "\n提示：" in finished.stderr


def test_page_of_a_cause_says_that_it_is_english() -> None:
    lines = run("causes", "wrong_interpreter", "--lang", "zh").stdout.splitlines()
    assert lines[:3] == [
        "wrong_interpreter (INT101)",
        "torch 在另一个 Python 里。（这一页只有英文；envfix 的诊断结果会用中文给出。）",
        "",
    ]
    assert not CHINESE.search(run("causes", "wrong_interpreter").stdout)


def test_every_cause_has_a_chinese_title() -> None:
    for line in run("causes", "--lang", "zh").stdout.splitlines():
        assert CHINESE.search(line), line


def test_cards_stand_apart_and_who_may_is_told_in_chinese() -> None:
    said = run("gpus", "--explain", *SAVED, "--lang", "zh").stdout
    assert "\n\nGPU 1  " in said
    assert "\n  保留显存：" in said
    assert "\n  Bus-Id：" in said
    assert "admin" not in said


# --- help ---


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_is_chinese_and_fits_the_window(command: str | None) -> None:
    arguments = ("--help",) if command is None else (command, "--help")
    english, said = run(*arguments), run("--lang", "zh", *arguments)
    assert (english.code, said.code) == (0, 0)
    assert CHINESE.search(said.stdout)
    examples = [line for line in english.stdout.splitlines() if line in said.stdout.splitlines()]
    for line in said.stdout.splitlines():
        if line not in examples:
            assert not _PROSE.search(_NO_PROSE.sub("", line)), line
            assert width_of(line) <= 80 or len(line.split()) <= 3, line
    for name in re.findall(r"^  +(--[\w-]+)", english.stdout, re.MULTILINE):
        assert name in said.stdout


@pytest.mark.parametrize("arguments", [("--lang", "zh", "fleet"), ("fleet", "--lang", "zh")], ids=" ".join)
def test_help_of_a_group_tells_its_commands_in_chinese(arguments: tuple[str, ...]) -> None:
    said = run(*arguments, "--help").stdout
    assert "\n  diagnose  说明哪些节点状态相同，" in said
    assert "\n选项：\n" in run("--lang", "zh", "fleet", "gpus", "--help").stdout


# --- reports to show to others ---


@pytest.mark.parametrize(("language_name", "tag"), [("en", "en"), ("zh", "zh-CN")])
def test_page_names_its_language_and_speaks_it(tmp_path: Path, language_name: str, tag: str) -> None:
    page, other = tmp_path / "page.html", tmp_path / "plan.html"
    assert run("diagnose", *SAVED, "-q", "--html", str(page), "--lang", language_name).code in (0, 1)
    assert run("plan", "--offline", *SAVED, "-q", "--html", str(other), "--lang", language_name).code == 0
    for path in (page, other):
        text = path.read_text(encoding="utf-8")
        assert f'<html lang="{tag}">' in text
        assert bool(CHINESE.search(text)) is (language_name == "zh")


def test_markdown_in_chinese_has_no_english_sentence_of_envfix() -> None:
    text = run("diagnose", *SAVED, "--markdown", "--lang", "zh").stdout
    assert "### 有什么问题" in text
    judged = re.sub("（查看了：[^）]*）", "", text.partition("<details>")[0])  # sources are facts
    assert not [line for line in judged.splitlines() if _PROSE.search(_NO_PROSE.sub("", line.replace("|", " ")))]


def test_fleet_says_its_states_in_chinese_and_keeps_them_english_in_json(tmp_path: Path) -> None:
    for slug in ("seed-lab-server", "driver-mismatch-needs-reboot"):
        (tmp_path / f"{slug}.json").write_bytes((CHECKOUT / "tests" / "machines" / slug / "snapshot.json").read_bytes())
    said = run("fleet", "diagnose", "--from", str(tmp_path), "-v", "--lang", "zh").stdout
    assert "2 个节点" in said
    assert "  驱动         未知：" in said
    assert "结论：损坏。" in said
    page = tmp_path / "page" / "nodes.html"
    page.parent.mkdir()
    run("fleet", "diagnose", "--from", str(tmp_path), "-q", "--html", str(page), "--lang", "zh")
    text = page.read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in text
    assert '<p class="muted">节点：1 个欠佳, 1 个损坏。</p>' in text
    assert "驱动：这个差别重要" in text
    document = run("fleet", "diagnose", "--from", str(tmp_path), "--json", "--lang", "zh").document
    assert {group["links"]["driver"].partition(": ")[0] for group in document["groups"]} == {"455.23.05", "unknown"}


# --- nothing but sentences depends on the language ---


def skeleton(value: Any) -> Any:
    """A document without its sentences."""
    sentences = {
        "message",
        "text",
        "value",
        "title",
        "reason",
        "reasons",
        "because",
        "ways_out",
        "problem",
        "note",
        "notes",
    }
    if isinstance(value, dict):
        return {key: skeleton(each) for key, each in value.items() if key not in sentences}
    if isinstance(value, (list, tuple)):
        return [skeleton(each) for each in value]
    return value


def in_both(function: Any) -> tuple[Any, Any]:
    english = to_builtins(function())
    speak("zh")
    try:
        return english, to_builtins(function())
    finally:
        speak("en")


FACTS = {slug: (saved.machine, saved.environment) for slug in MACHINES for saved in [snapshot(slug)]}
FACTS |= {name: (machine, environment) for name, (machine, environment, _) in all_hand_made().items()}


@pytest.mark.parametrize("name", FACTS)
def test_judgement_is_the_same_in_both_languages(name: str, tables: Tables) -> None:
    machine, environment = FACTS[name]
    english, said = in_both(lambda: diagnose(machine, environment, tables))
    assert skeleton(english) == skeleton(said)
    for finding in said["findings"]:
        for sentence in (finding["message"], *(remedy["text"] for remedy in finding.get("remedies", ()))):
            assert CHINESE.search(sentence), sentence


@pytest.mark.parametrize("name", FACTS)
def test_plan_is_the_same_in_both_languages(name: str, tables: Tables) -> None:
    machine, environment = FACTS[name]
    english, said = in_both(lambda: foresee(machine, environment, diagnose(machine, environment, tables), tables))
    assert skeleton(english) == skeleton(said)


def samples() -> list[dict[str, Any]]:
    """The logs of every cause."""
    import yaml

    files = sorted(LOGS.glob("*.yaml"))
    return [case for file in files for case in yaml.safe_load(file.read_text("utf-8")).get("cases", ())]


def test_explanations_are_the_same_in_both_languages() -> None:
    for case in samples():
        english, said = in_both(lambda text=case["symptom"]: envfix.explain(text))
        assert skeleton(english) == skeleton(said), case
        for cause in said["causes"]:
            assert CHINESE.search(cause["message"]), cause["message"]


# --- what people see ---


def drawn(slug: str, width: int, *, verbose: bool = False) -> str:
    """The report on a recorded machine, in this language and window."""
    out = io.StringIO()
    path = CHECKOUT / "tests" / "machines" / slug / "snapshot.json"
    ConsoleOutput(color=False, stream=out, width=width, verbose=verbose).diagnosis(report(None, snapshot=str(path)))
    return out.getvalue()


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("slug", MACHINES)
def test_report_in_chinese_has_no_english_sentence_of_envfix(slug: str) -> None:
    text = drawn(slug, 2000)
    assert "结论：" in text
    for line in text.splitlines():
        if not line.startswith("      "):  # a command
            assert not _PROSE.search(_NO_PROSE.sub("", line)), line


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("slug", MACHINES)
def test_every_fact_and_where_it_comes_from_is_told_in_chinese(slug: str) -> None:
    """Sources stand in brackets behind a fact, reasons behind "unknown"."""
    for line in drawn(slug, 2000, verbose=True).splitlines():
        for said in re.findall(r"  \[([^\]]*)\]$|：([^：]*)$", line):
            text = _NO_PROSE.sub("", " ".join(said))
            assert line.startswith("      ") or not re.search(r"\b(the|and|of|on|is|it) [a-z]|, [a-z]+ and ", text), (
                line
            )


@pytest.mark.usefixtures("chinese")
@pytest.mark.parametrize("width", [50, 80, 132])
@pytest.mark.parametrize("slug", MACHINES)
def test_report_in_chinese_fits_the_window(slug: str, width: int) -> None:
    lines = drawn(slug, width).splitlines()
    assert [line for line in lines if width_of(line) > width and not line.startswith("      ")] == []
    # A mark such as a full stop is never alone on a line.
    assert [line for line in lines if re.fullmatch(r"\s*[，。；：）]+", line)] == []


# --- lines of Chinese ---


def test_lines_break_between_chinese_characters_and_not_within_words() -> None:
    text = "让 envfix 选择一个此驱动能运行的 torch，放进单独的环境。"
    lines = wrapped(text, 20)
    assert lines == ["让 envfix 选择一个此", "驱动能运行的 torch，", "放进单独的环境。"]
    assert all(width_of(line) <= 20 for line in lines)


@pytest.mark.parametrize(
    ("text", "width", "places"),
    [("", 10, []), ("short", 10, []), ("中中中，中", 7, [2]), ("（中中）中", 8, [4]), ("abcdefghijkl", 5, [5, 10])],
)
def test_marks_stay_with_what_they_belong_to(text: str, width: int, places: list[int]) -> None:
    assert breaks(text, width) == places


# --- what it costs ---


def test_english_opens_no_catalogue() -> None:
    code = (
        "import sys; from envfix.model.language import say, speak, wished; speak('en'); say('{a} b', a=1);"
        "print([name for name in ('msgspec', 'pathlib', 'babel', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); {code}"],
                          capture_output=True, text=True, check=True, timeout=30)  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_wheel_carries_the_catalogues() -> None:
    assert (Path(envfix.__file__).parent / "locale" / "zh_CN" / "LC_MESSAGES" / "envfix.mo").is_file()
