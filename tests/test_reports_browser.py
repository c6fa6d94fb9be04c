"""Reports in a real Chromium: both themes, wide and narrow; nothing is asked for, nothing runs, nothing is cut off.

``ENVFIX_SCREENSHOTS=folder`` keeps the pictures, for a person to look at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from envfix.render.html import HtmlReport
from envfix.render.html_style import DARK, LIGHT
from envfix.render.markdown import MarkdownReport
from envfix.render.terminal_picture import TerminalPicture
from tests.fakes.running import cleaned_environment
from tests.shown_reports import STATES, shared
from tests.test_reports import ANSWERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
KEPT = os.environ.get("ENVFIX_SCREENSHOTS")
NARROW, WIDE = 360, 1280
Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The Chromium of this machine."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on PATH (Debian's package is called chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each state."""
    folder = tmp_path_factory.mktemp("pages")
    files = {}
    for number, name in enumerate(STATES):
        files[name] = folder / f"{number}.html"
        files[name].write_text(HtmlReport().diagnosis(shared(name)), encoding="utf-8")
    return files


@pytest.fixture
def opened(browser: Browser, pages: dict[str, Path]) -> Iterator[Opened]:
    """Opens reports, and sees what they ask for and complain about."""
    opener = Opened(browser, pages)
    yield opener
    for page in opener.pages:
        page.context.close()


class Opened:
    """Opens a report in a window of its own."""

    def __init__(self, browser: Browser, files: dict[str, Path]) -> None:
        self._browser, self._files = browser, files
        self.pages: list[Page] = []
        self.asked: list[str] = []
        self.said: list[str] = []

    def __call__(self, name: str | Path, theme: Theme = "light", width: int = WIDE) -> Page:
        """A window that shows a state, or a file."""
        path = name if isinstance(name, Path) else self._files[name]
        context = self._browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
        page = context.new_page()
        self.pages.append(page)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("console", lambda message: self.said.append(message.text))
        page.on("dialog", lambda dialog: self.said.append(dialog.message))
        page.goto(path.as_uri())
        return page


@pytest.mark.parametrize(
    ("name", "theme", "width"),
    [
        *((name, "light", WIDE) for name in STATES),
        *((name, "dark", NARROW) for name in STATES),
        ("memory full", "dark", WIDE),
        ("memory full", "light", NARROW),
    ],
)
def test_page_fits_its_window_and_asks_for_nothing(
    opened: Opened, pages: dict[str, Path], name: str, theme: Theme, width: int
) -> None:
    page = opened(name, theme, width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    assert opened.asked == [pages[name].as_uri()]
    assert opened.said == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == rgb((LIGHT if theme == "light" else DARK)["page"])
    if KEPT:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")
        page.screenshot(path=f"{KEPT}/{name.replace(' ', '-')}-{theme}-{width}.png", full_page=True)


@pytest.mark.parametrize("width", [NARROW, WIDE])
@pytest.mark.parametrize("name", ANSWERS)
def test_pages_of_other_answers_fit_as_well(opened: Opened, name: str, width: int, tmp_path: Path) -> None:
    ANSWERS[name][0](tmp_path, cleaned_environment())
    page = opened(tmp_path / "a.html", "dark" if width == NARROW else "light", width)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CUT_OFF) == []
    assert opened.said == []
    if KEPT:
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)")
        page.screenshot(path=f"{KEPT}/answer-{name}-{width}.png", full_page=True)


# Texts of the picture that leave their box, and elements that are wider than their section.
CUT_OFF = """() => {
  const wrong = [];
  for (const box of document.querySelectorAll('.picture g')) {
    const frame = box.querySelector('rect').getBoundingClientRect();
    if (!frame.width) continue;
    for (const text of box.querySelectorAll('text')) {
      const own = text.getBoundingClientRect();
      if (own.left < frame.left || own.right > frame.right - 2 || own.bottom > frame.bottom) wrong.push(text.textContent);
    }
  }
  for (const section of document.querySelectorAll('section')) {
    const edge = section.getBoundingClientRect().right;
    for (const one of section.querySelectorAll('p, li, td, th, pre, summary, h3, svg'))
      if (one.getBoundingClientRect().right > edge) wrong.push(one.textContent.slice(0, 80));
  }
  return wrong;
}"""


def rgb(colour: str) -> str:
    """As a browser writes ``#rrggbb``."""
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.mark.parametrize("theme", THEMES)
def test_letters_stand_out_as_they_are_drawn(opened: Opened, theme: Theme) -> None:
    """The colours that a browser computes are those whose contrast is tested."""
    page = opened("seed-wrong-interpreter", theme)
    palette = {rgb(value) for value in (LIGHT if theme == "light" else DARK).values()}
    drawn = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => one.textContent.trim() && !one.closest('svg'))"
        ".map(one => getComputedStyle(one).color)"
    )
    assert drawn
    assert set(drawn) <= palette


def test_paper_is_white_whatever_the_theme(opened: Opened) -> None:
    page = opened("seed-wrong-interpreter", "dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor") == rgb(LIGHT["sheet"])
    assert page.evaluate("getComputedStyle(document.body).color") == rgb(LIGHT["text"])


@pytest.mark.parametrize(("width", "seen", "hidden"), [(NARROW, "tall", "wide"), (WIDE, "wide", "tall")])
def test_one_picture_is_seen_by_eyes_and_by_screen_readers(opened: Opened, width: int, seen: str, hidden: str) -> None:
    page = opened("healthy", width=width)
    assert page.locator(f".picture.{seen}").is_visible()
    assert not page.locator(f".picture.{hidden}").is_visible()
    picture = page.get_by_role("img", name="The stack, from the card to ultralytics")
    assert picture.count() == 1
    told = page.locator("body").aria_snapshot()
    assert told.count("The stack, from the card to ultralytics") == 1
    assert "Driver 550.54.14: fine" in told


def test_order_for_a_screen_reader_is_verdict_stack_findings_memory_facts(opened: Opened) -> None:
    page = opened("memory full")
    headings = page.get_by_role("heading").all_inner_texts()
    assert headings[:3] == ["Degraded", "The stack", "What is wrong"]
    assert headings[4:9] == [
        "GPU memory", "GPU 0 NVIDIA GeForce RTX 3090", "GPU 1 NVIDIA GeForce RTX 3090", "GPU 2 NVIDIA GeForce RTX 3090",
        "All facts with their sources",
    ]  # fmt: skip
    assert page.get_by_role("table").first.get_by_role("columnheader").all_inner_texts() == [
        "Memory",
        "Whose",
        "Program",
    ]
    assert page.get_by_role("img", name="GPU 0: 1.0 of 24.0 GiB free, 0.0 yours, 23.0 others").count() == 1


def test_keyboard_reaches_commands_and_folded_parts_and_shows_where_it_is(opened: Opened) -> None:
    page = opened("seed-wrong-interpreter")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle,"
            " parseFloat(getComputedStyle(document.activeElement).outlineWidth)]"
        )
        if where[0] == "BODY":
            break
        assert where[1:] == ["solid", 3]
        reached.append(where[0])
    assert {"A", "PRE", "SUMMARY"} <= set(reached)


def test_one_click_selects_the_whole_command_and_nothing_else(opened: Opened) -> None:
    page = opened("seed-wrong-interpreter")
    command = page.locator("pre").first
    command.click(position={"x": 60, "y": 16})
    selected = page.evaluate("getSelection().toString()")
    assert selected.strip() == "~/.conda/envs/yolov8_env/bin/python -c 'import torch; print(torch.__version__)'"


def test_folded_facts_open_by_the_keyboard(opened: Opened) -> None:
    page = opened("healthy")
    table = page.get_by_role("table")
    assert table.count() == 0
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert table.first.is_visible()
    assert "NVIDIA GeForce RTX 4090, compute capability 8.9, 23.0 of 24.0 GiB free" in table.first.inner_text()


def test_policy_keeps_what_is_smuggled_in_from_running(opened: Opened, pages: dict[str, Path], tmp_path: Path) -> None:
    """As if escaping had failed: the page itself forbids scripts, styles and pictures from elsewhere."""
    smuggled = (
        "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x' onerror=\"document.title='owned'\">"
        "<style>body{background:red!important}</style><p style='color:red'>x</p>"
    )
    path = tmp_path / "smuggled.html"
    text = pages["healthy"].read_text(encoding="utf-8")
    path.write_text(text.replace("<main>", f"<main>{smuggled}"), encoding="utf-8")
    page = opened(path)
    assert page.title() == "envfix: healthy"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == rgb(LIGHT["page"])
    assert len([said for said in opened.said if "Content Security Policy" in said]) >= 4


def test_hostile_names_are_letters(opened: Opened) -> None:
    page = opened("hostile")
    assert page.title() == "envfix: broken"
    assert opened.said == []
    assert "<script>alert(1)</script>" in page.locator("main").inner_text()
    assert page.locator("main b, main img, main script").count() == 0


@pytest.mark.parametrize("name", ["seed-wrong-interpreter", "hostile"])
def test_picture_of_the_terminal_is_drawn_and_asks_for_nothing(opened: Opened, name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text(TerminalPicture().diagnosis(shared(name)), encoding="utf-8")
    page = opened(path)
    assert opened.asked == [path.as_uri()]
    assert "Verdict:" in re.sub(r"\s", " ", page.evaluate("document.documentElement.textContent"))
    if KEPT:
        page.screenshot(path=f"{KEPT}/{name}-terminal.png")


def test_markdown_is_a_page_that_reads_well(opened: Opened, tmp_path: Path) -> None:
    """As a site renders it: tables are tables, folded parts fold."""
    from markdown_it import MarkdownIt

    text = MarkdownReport().diagnosis(shared("seed-wrong-interpreter"))
    path = tmp_path / "a.html"
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{body}", encoding="utf-8")
    page = opened(path)
    assert page.get_by_role("table").count() == 2
    assert page.locator("details").count() == 3
    assert page.locator("details > table, details > p").count() >= 3
    if KEPT:
        page.screenshot(path=f"{KEPT}/markdown.png", full_page=True)
