"""All nodes on one page: what it says, that nothing in facts is obeyed, no names but those of nodes, and how it looks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from envfix.app import fleet
from envfix.app.settings import tables_for
from envfix.app.sharing import shareable_fleet
from envfix.cli import main
from envfix.fleet import folding
from envfix.host.real import RealHost
from envfix.model.fleet import FleetSeen, SharedFleet
from envfix.model.report import Report
from envfix.render.html_fleet import fleet_page
from envfix.render.html_style import DARK, LIGHT
from tests.fakes.machines import FakeDrivers
from tests.fakes.running import cleaned_environment, envfix
from tests.fakes.targets import SM_OF_CU111
from tests.fleet_nodes import furnish, sshd
from tests.shown_reports import HOSTILE, NAMES, hostile, memory_full
from tests.test_fleet_folding import GOOD, MACHINES, OLD_DRIVER, gathered, many
from tests.test_reports import Page
from tests.test_reports_browser import KEPT, NARROW, WIDE, Theme, browser, rgb  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Window

COLUMNS = ["Nodes", "Card", "Driver", "CUDA runtime", "torch", "torchvision", "ultralytics"]
LOST = '{"schema": "envfix.unreached/1", "reason": "no answer within 60 seconds"}'
NODE = "<img src=x onerror=alert(1)>"


def folder_of(place: Path, **nodes: str) -> Path:
    """Six nodes in three states, and one that was not reached."""
    states = {"gpu7": OLD_DRIVER, "login": "debian12-container-cpu", **nodes}
    folder = gathered(place, **{f"gpu{number}": GOOD for number in (1, 2, 3, 10)}, **states)
    (folder / "gpu8.json").write_text(LOST)
    return folder


def page_of(folder: Path) -> str:
    seen = fleet.look(fleet.request_of(folder=str(folder)), with_stack=True)
    return fleet_page(shareable_fleet(seen))


def seen_of(**reports: Report) -> FleetSeen:
    """Nodes that were asked, by their facts."""
    host = RealHost()
    judge, fold = fleet._Judge(host, tables_for(host), with_stack=True), folding.Fold()
    for node, report in reports.items():
        fold.add(judge.facts(node, report.machine, report.environment))
    return FleetSeen(report=folding.report("ssh", fold.groups(), {}), behind=fold.behind())


# --- what it says ---


def test_matrix_has_a_row_for_each_state_and_a_column_for_each_link(tmp_path: Path) -> None:
    text = page_of(folder_of(tmp_path / "all"))
    page = Page(text)
    matrix = Page(text.partition('<table class="matrix">')[2].partition("</table>")[0])
    assert [one.get("scope") for one in matrix.all("th")] == ["col"] * 7 + ["row"] * 3
    assert len(matrix.all("td")) == 18
    assert len(matrix.all("caption")) == 1
    assert " ".join(COLUMNS) in " ".join(" ".join(matrix.shown).split())
    assert "gpu[1-3,10] (4 nodes)" in page.text
    rows = [re.sub(r"<[^>]*>|\s+", " ", row).split() for row in text.replace("<wbr>", "").split('scope="row">')[1:4]]
    told = [" ".join(row) for row in rows]
    assert told[0].startswith(
        "gpu[1-3,10] (4 nodes) degraded doubtful 2 x GeForce RTX 3090 MEM102 fine 455.23.05 fine 11.1"
    )
    assert told[1].startswith("gpu7 broken fine GeForce RTX 3090 fine 470.57.02 broken 12.1 DRV101")
    assert told[2].startswith("login healthy not there not there not there not known 1.13.0a0")


def test_links_lead_to_findings_on_the_page_and_no_id_is_there_twice(tmp_path: Path) -> None:
    page = Page(page_of(folder_of(tmp_path / "all", gpu9="gtx1080ti-torch-cu128", gpu6="driver-mismatch-needs-reboot")))
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    leads = [str(one["href"]) for one in page.all("a")]
    assert "#g3-DRV101" in leads
    assert {one.removeprefix("#") for one in leads} <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_matters_comes_first_and_the_unreached_have_their_reason(tmp_path: Path) -> None:
    text = Page(page_of(folder_of(tmp_path / "all"))).text
    places = [
        text.index(part)
        for part in (
            "Nodes: 1 healthy, 4 degraded, 1 broken, 1 not reached.",
            "What differs",
            "driver: this difference matters",
            "DRV101 driver_too_old_for_wheel on gpu7",
            "no finding rests on it",
            "gpu7: broken",
            "envfix install --new-env yolo-env",
            "gpu8no answer within 60 seconds",
            "Names of nodes were kept",
        )
    ]
    assert places == sorted(places)


def test_links_are_those_of_a_diagnosis_of_the_same_machine() -> None:
    from envfix.app.sharing import shareable

    (stack,) = shareable_fleet(seen_of(gpu1=memory_full())).stacks
    assert stack == shareable(memory_full()).links


def test_nothing_but_unreached_nodes_is_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "gpu8.json").write_text(LOST)
    page = Page(page_of(tmp_path))
    assert "no answer within 60 seconds" in page.text
    assert page.text.startswith("envfix ")
    assert "matrix" not in [one.get("class") for one in page.all("table")]


# --- nothing is obeyed, no names ---


def test_names_of_nodes_and_facts_are_letters() -> None:
    text = fleet_page(shareable_fleet(seen_of(**{NODE: hostile(), f"{NODE}2": memory_full()})))
    page = Page(text)
    assert {tag for tag, _ in page.elements} & {"script", "img", "b", "iframe", "object"} == set()
    assert NODE in page.text
    assert "<script>alert(1)</script>" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", text)
    assert HOSTILE not in text


def test_people_secrets_and_serial_ids_are_taken_out_and_cards_keep_their_number() -> None:
    text = fleet_page(shareable_fleet(seen_of(gpu1=hostile(), gpu2=memory_full())))
    assert not [name for name in NAMES if name != "zzhostzz" and name in text]
    assert not [name for name in ("chen", "anna") if re.search(rf"\b{name}\b", text)]
    assert "CUDA_VISIBLE_DEVICES=1<" in text
    assert "GPU-0000" not in Page(text).text


def test_home_and_people_of_each_node_are_taken_out_and_its_own_name_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = seen_of(zznodezz=hostile())
    behind = msgspec.structs.replace(seen.behind["zznodezz"], home="/data/zzuserzz", people=("zzotherzz",))
    monkeypatch.setattr("platform.node", lambda: "zznodezz")
    text = fleet_page(shareable_fleet(msgspec.structs.replace(seen, behind={"zznodezz": behind})))
    assert not [name for name in NAMES if name != "zzhostzz" and name in text]
    assert "zznodezz" in text


def test_pasted_report_that_nobody_redacted_tells_no_home(tmp_path: Path) -> None:
    folder = gathered(tmp_path / "all", gpu1=GOOD)
    path = folder / "gpu1.json"
    path.write_text(path.read_text().replace("~/", "/home/zzuserzz/"))
    assert "zzuserzz" in path.read_text()
    assert "zzuserzz" not in page_of(folder)


# --- the command ---


def test_page_goes_with_the_answer_as_text_and_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = folder_of(tmp_path / "all"), tmp_path / "nodes.html"
    assert main(["fleet", "diagnose", "--from", str(folder)]) == 1
    plainly = capsys.readouterr().out
    assert main(["fleet", "diagnose", "--from", str(folder), "--html", str(path)]) == 1
    told = capsys.readouterr()
    assert told.out == plainly
    assert told.err.splitlines()[-1] == f"saved: {path}"
    first = path.read_bytes()
    assert main(["fleet", "diagnose", "--from", str(folder), "--html", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [group["name"] for group in document["groups"]] == ["gpu[1-3,10]", "gpu7", "login"]
    assert "behind" not in document
    assert path.read_bytes() == first
    assert first.startswith(b"<!doctype html>")


@pytest.mark.slow
def test_page_of_nodes_that_were_asked_tells_no_home(fake_drivers: FakeDrivers, tmp_path: Path) -> None:
    with sshd("node1", "node2") as servers:
        for node in ("node1", "node2"):
            furnish(servers.home, node, "lab-470-rtx3090", fake_drivers, torch=("2.4.1+cu121", "12.1", SM_OF_CU111))
        (servers.home / ".bash_profile").write_text(
            '. "$HOME/$ENVFIX_NODE.sh"\nexport LOGNAME=zzuserzz USER=zzuserzz\n'
        )
        configuration, home = str(servers.configuration), str(servers.home)
        finished = envfix(
            "fleet", "diagnose", "--ssh", "node[1-2],dead", "--ssh-config", configuration, "--no-import",
            "--save", "kept", "--html", "a.html", "--json", env=cleaned_environment(), cwd=tmp_path,
        )  # fmt: skip
    assert finished.code == 1, finished
    assert finished.stderr.splitlines()[-1] == "saved: a.html"
    assert [group["name"] for group in finished.document["groups"]] == ["node1", "node2"]
    assert home in finished.stdout, "the answer for oneself names it"
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert home not in text
    assert "~/nodes/node1/env/" in text
    assert 'href="#g2-DRV101"' in text
    assert re.search(r'scope="row">dead</th><td>exit code 255: ssh: ', text)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["dead.json", "node1.json", "node2.json"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--html", "-"], "the page needs a file of its own"),
        (["--html", "x", "--kubernetes", "--print"], "--html shows what nodes told: leave out --print and --ansible"),
        (["--html", "x", "--ansible", "y"], "--html shows what nodes told: leave out --print and --ansible"),
    ],
)
def test_page_of_nothing_is_refused(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "diagnose", *options]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_page_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = gathered(tmp_path / "all", gpu1=GOOD)
    assert main(["fleet", "diagnose", "--from", str(folder), "--html", f"{tmp_path}/no/a.html"]) == 3
    assert f"cannot write {tmp_path}/no/a.html: No such file or directory" in " ".join(capsys.readouterr().err.split())


def test_links_are_made_once_for_each_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = fleet._Judge._behind

    def counted(self: fleet._Judge, *rest: Any) -> Any:
        calls.append(1)
        return original(self, *rest)

    monkeypatch.setattr(fleet._Judge, "_behind", counted)
    folder = gathered(tmp_path / "all", **{f"gpu{number}": (GOOD, OLD_DRIVER)[number % 2] for number in range(100)})
    seen = fleet.look(fleet.request_of(folder=str(folder)), with_stack=True)
    assert (len(calls), sorted(seen.behind)) == (2, ["gpu0", "gpu1"])


def test_hundreds_of_states_stay_readable() -> None:
    """The worst are on the page; what the others suffer from is named with its nodes."""
    report = many(300)
    (behind,) = seen_of(gpu0=memory_full()).behind.values()
    text = fleet_page(SharedFleet(report=report, stacks=(behind.stack,) * 300, made="2026-01-01"))
    page = Page(text)
    shown = " ".join(" ".join(page.shown).split())
    assert len(page.all("section")) == 40 + 4
    assert "... and 260 more states; --json has all" in shown
    assert "DRV101 driver_too_old_for_wheel gpu[20-299] (280 nodes)" in shown
    assert "MEM102 oom_other_process gpu[0-19] (20 nodes)" in shown
    assert 'href="#g1-DRV101"' in text
    assert "MEM102 oom_other_process</th>" in text, "no link: it is on no node that is shown"
    assert "... and 280 more; --json has all" in shown
    assert "Torch" not in shown
    assert len(text) < 400_000


# --- how it looks ---


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cluster in many states, one of its names long."""
    place = tmp_path_factory.mktemp("fleet")
    folder = folder_of(place / "all", **{"gpu9": "gtx1080ti-torch-cu128", "a-node-with-a-long-name.example.org": GOOD})
    for number in range(20, 40, 2):
        shutil.copy(MACHINES / "rtx5090-torch-cu118" / "snapshot.json", folder / f"gpu{number}.json")
    path = place / "nodes.html"
    path.write_text(page_of(folder), encoding="utf-8")
    return path


@pytest.fixture
def show(browser: Browser, written: Path) -> Iterator[Callable[[Theme, int], Window]]:  # noqa: F811 - the fixture
    """The page in a window of its own."""
    opened: list[Window] = []

    def open_it(theme: Theme, width: int) -> Window:
        context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
        opened.append(context.new_page())
        opened[-1].goto(written.as_uri())
        return opened[-1]

    yield open_it
    for one in opened:
        one.context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_page_never_scrolls_sideways_but_the_matrix_does(
    show: Callable[[Theme, int], Window], theme: Theme, width: int
) -> None:
    window = show(theme, width)
    if KEPT:
        window.screenshot(path=f"{KEPT}/fleet-{theme}-{width}.png", full_page=True)
    window.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert window.evaluate("document.documentElement.scrollWidth") <= width
    assert window.evaluate(CUT_OFF) == []
    inside = window.evaluate("(one => [one.scrollWidth > one.clientWidth])(document.querySelector('.scroll'))")
    assert inside == [width == NARROW]
    ground = window.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == rgb((LIGHT if theme == "light" else DARK)["page"])


# What is wider than its section, outside of the part that scrolls, or wider than its cell within it.
CUT_OFF = """() => {
  const wrong = [];
  for (const one of document.querySelectorAll('section p, section li, section td, section th, section pre')) {
    const range = document.createRange();
    range.selectNodeContents(one);
    const box = one.closest('.matrix') ? one.closest('td, th') : one.closest('section');
    if (range.getBoundingClientRect().right > box.getBoundingClientRect().right) wrong.push(one.textContent.slice(0, 80));
  }
  return wrong;
}"""


def test_names_of_nodes_stay_in_sight_while_the_matrix_scrolls_by_the_keyboard(
    show: Callable[[Theme, int], Window],
) -> None:
    window = show("dark", NARROW)
    box = window.get_by_role("region", name="The nodes and their stacks")
    box.focus()
    before = window.locator(".matrix tbody th").first.bounding_box()
    box.evaluate("one => { window.scrolled = new Promise(done => one.addEventListener('scroll', done, {once: true})) }")
    window.keyboard.press("ArrowRight")
    limit = "new Promise(done => setTimeout(done, 10000, 'still'))"
    assert window.evaluate(f"Promise.race([window.scrolled.then(() => 'scrolled'), {limit}])") == "scrolled"
    box.evaluate("one => { one.scrollLeft = one.scrollWidth }")
    assert window.locator(".matrix tbody th").first.bounding_box() == before
    if KEPT:
        box.screenshot(path=f"{KEPT}/fleet-scrolled-{NARROW}.png")


def test_screen_reader_hears_rows_columns_and_words(show: Callable[[Theme, int], Window]) -> None:
    window = show("light", WIDE)
    table = window.get_by_role("table").first
    assert table.get_by_role("columnheader").all_inner_texts() == COLUMNS
    assert table.get_by_role("rowheader").count() == 5
    assert 'table "A row for nodes in the same state, a column for each link' in window.locator("body").aria_snapshot()
    cells = [" ".join(one.split()) for one in table.get_by_role("cell").all_inner_texts()]
    assert "broken 12.1 DRV101" in cells
    window.get_by_role("link", name="DRV101").first.click()
    assert window.evaluate("document.querySelector(':target').className") == "finding broken"
