"""Plans over live indexes, as a user types them: the official index and its mirrors on loopback, with the real tables.

The tables are envfix's own with other addresses for the official index and the three mirrors.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import interpreter
from tests.fakes.running import cleaned_environment, envfix
from tests.loopback_index import Index
from tests.loopback_world import BASES, CU118, MACHINE, OLDER, World, stack, world_in


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with world_in(tmp_path) as made:
        yield made


def chosen(plan: dict[str, Any]) -> tuple[str, str, str]:
    choice = plan["choice"]
    assert isinstance(choice, dict), plan
    return choice["torch"], choice["variant"], choice["index"]


def asked(index: Index) -> list[str]:
    """The pages an index was asked for by envfix itself (uv comes afterwards)."""
    return list(
        dict.fromkeys(
            request.path for request in index.requests if request.user_agent == "envfix" and request.method == "GET"
        )
    )


def reasons(plan: dict[str, Any]) -> str:
    assert isinstance(plan["reasons"], list)
    return "\n".join(plan["reasons"])


def test_the_official_index_is_asked_for_one_variant_only(world: World) -> None:
    world["official"].add("cu118", *CU118)
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "official")
    assert asked(world["official"]) == [f"/simple/cu118/{name}/" for name in ("torch", "torchvision", "torchaudio")]
    assert [asked(world[name]) for name in ("nju", "sjtu", "aliyun")] == [[], [], []], "it answers: mirrors stay out"
    downloads = {row["name"]: (row["version"], row["index"]) for row in plan["downloads"]}
    assert downloads["torch"] == ("2.7.1+cu118", "official")
    assert downloads["numpy"] == ("1.26.4", "pypi"), "a torch index supplies nothing else"


def test_a_page_that_lacks_the_newest_release_gives_the_one_it_has(world: World) -> None:
    world["official"].add("cu118", *OLDER)
    plan = world.json()
    assert chosen(plan) == ("2.6.0", "cu118", "official")
    row = next(row for row in plan["rejected"] if (row["torch"], row["variant"]) == ("2.7.1", "cu118"))
    assert row["because"] == "index"
    assert "does not hold torch-2.7.1+cu118" in row["text"]


def test_a_missing_variant_page_leads_to_the_next_variant(world: World) -> None:
    world["nju"].missing_status = 403
    world["nju"].add("cu117", *stack("2.0.1", "0.15.2", "+cu117"))
    plan = world.json("--index", "nju")
    assert chosen(plan) == ("2.0.1", "cu117", "nju")
    pages = [path for path in asked(world["nju"]) if path.endswith("/torch/")]
    assert pages[0] == "/simple/cu118/torch/", "403 means that there is no such page"


@pytest.mark.parametrize("status", [403, 404])
def test_an_official_index_that_is_blocked_is_told_from_one_that_lacks_a_page(world: World, status: int) -> None:
    """A firewall that answers 403 to everything, or a login page: the tables know that the page exists."""
    world["official"].missing_status = status
    world["sjtu"].add("cu118", *CU118)
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "sjtu")
    assert (
        f"the official index answers, but has no torch ({status}), although it has cu118: is it blocked here?"
        in reasons(plan)
    )


def test_a_mirror_without_any_page_is_an_index_conflict_from_the_start(world: World) -> None:
    world["nju"].missing_status = 403
    plan = world.json("--index", "nju")
    assert plan["status"] == "conflict"
    assert plan["blocked_by"] == "index", plan["reasons"]


def test_second_extra_index_is_the_one_that_uv_asks(world: World) -> None:
    world.dead |= set(BASES)
    world["nju"].missing_status = 403
    world["sjtu"].add("cu118", *CU118)
    both = f"{world['nju'].base}/simple/cu118 {world['sjtu'].base}/simple/cu118"
    plan = world.json(PIP_EXTRA_INDEX_URL=both)
    assert chosen(plan) == ("2.7.1", "cu118", "extra-index-2")
    assert {row["name"]: row["version"] for row in plan["downloads"]}["torch"] == "2.7.1+cu118"


def test_index_of_the_user_comes_before_a_mirror_nobody_named(world: World) -> None:
    world.dead |= {"official"}
    world["nju"].add("cu118", *CU118)
    world["sjtu"].add("cu118", *CU118)
    plan = world.json(PIP_EXTRA_INDEX_URL=world["sjtu"].url("simple", "cu118"))
    assert chosen(plan) == ("2.7.1", "cu118", "extra-index")


def test_torch_index_in_place_of_the_default_one_is_a_conflict(world: World) -> None:
    """`PIP_INDEX_URL` set to a torch index: nothing else is there, and it says 403 for what it lacks."""
    world["nju"].missing_status = 403
    world["nju"].add("cu118", *CU118)
    environment = {**world.environment(), "UV_DEFAULT_INDEX": world["nju"].url("simple", "cu118")}
    finished = envfix("plan", "--json", "--python", str(world.folder / "env"), *MACHINE, env=environment, timeout=90)
    plan = finished.document
    assert (finished.code, plan["blocked_by"]) == (1, "index"), plan["reasons"]
    assert any("PIP_EXTRA_INDEX_URL" in way for way in plan["ways_out"])


def test_an_index_that_was_named_and_failed_is_told_in_a_plan_that_succeeds(world: World) -> None:
    address = f"{world['nju'].base}/broken/500"
    plan = world.json("--index", address, "--index", "pypi")
    assert chosen(plan) == ("2.0.1", "cu117", "pypi")
    assert f"the index {address} answers with error 500" in reasons(plan)


@pytest.mark.parametrize("status", [403, 404])
def test_mirrors_step_in_and_the_one_that_lacks_the_file_loses(world: World, status: int) -> None:
    world.dead.add("official")
    world["aliyun"].missing_status = world["nju"].missing_status = status
    world["nju"].add("cu118", *OLDER)
    world["sjtu"].add("cu118", *CU118)
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "sjtu")
    assert "the official index does not answer (refuses the connection)" in reasons(plan)
    assert "the index nju does not hold torch-2.7.1+cu118" in reasons(plan)
    assert plan["choice"]["index_url"] == f"{world['sjtu'].base}/simple/cu118"
    assert {row["name"]: row["version"] for row in plan["downloads"]}["torch"] == "2.7.1+cu118"


def test_a_mirror_without_the_torchvision_loses_to_one_that_has_both(world: World) -> None:
    world.dead |= {"official", "aliyun"}
    world["nju"].add("cu118", CU118[0])
    world["sjtu"].add("cu118", *CU118)
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "sjtu")
    assert "the index nju holds no torchvision for torch 2.7.1+cu118" in reasons(plan)


def test_a_mirror_that_is_only_a_list_of_files_is_used_as_one(world: World) -> None:
    world.dead |= {"official", "nju", "sjtu"}
    world["aliyun"].add("cu118", *CU118)
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "aliyun")
    assert {row["name"]: row["index"] for row in plan["downloads"]}["torch"] == "aliyun", "uv resolved it from there"


def test_a_mirror_that_keeps_silent_costs_its_time_limit_and_no_more(world: World) -> None:
    world.dead |= {"official", "aliyun"}
    world["nju"].delay = 30
    world["nju"].add("cu118", *CU118)
    world["sjtu"].add("cu118", *CU118)
    started = time.monotonic()
    plan = world.json()
    assert chosen(plan) == ("2.7.1", "cu118", "sjtu")
    assert "the index nju does not answer (no answer within 5 s)" in reasons(plan)
    assert time.monotonic() - started < 25


def test_a_mirror_may_be_named_and_then_nothing_else_is_asked(world: World) -> None:
    world["official"].add("cu118", *CU118)
    world["nju"].add("cu118", *OLDER)
    assert chosen(world.json("--index", "nju")) == ("2.6.0", "cu118", "nju")
    assert asked(world["official"]) == []


def test_nothing_answers_but_the_registry(world: World) -> None:
    world.dead |= set(BASES)
    plan = world.json()
    assert chosen(plan) == ("2.0.1", "cu117", "pypi")
    assert "the official index does not answer" in reasons(plan)


# --- what was said before ---


def test_an_answer_is_kept_for_ten_minutes_and_its_age_is_shown(world: World) -> None:
    world["official"].add("cu118", *CU118)
    first = world.json()
    count = len(asked(world["official"])) + len(asked(world["pypi"]))
    world["official"].requests.clear()
    world["pypi"].requests.clear()
    assert chosen(world.json()) == chosen(first)
    assert count > 0
    assert asked(world["official"]) + asked(world["pypi"]) == []
    grow_old(world.folder / "cache", minutes=5)
    again = world.json()
    assert "what the official index holds was asked 5 minutes ago" in reasons(again)
    grow_old(world.folder / "cache", minutes=10)
    world.json()
    assert asked(world["official"]) != []


def grow_old(cache: Path, *, minutes: float) -> None:
    for path in (cache / "indexes").iterdir():
        kept = json.loads(path.read_text())
        path.write_text(json.dumps({**kept, "at": kept["at"] - 60 * minutes}))


def test_what_is_left_of_a_dead_network_is_the_last_answer_and_its_age(world: World) -> None:
    world["official"].add("cu118", *CU118)
    world.json()
    grow_old(world.folder / "cache", minutes=180)
    for server in world.servers.values():
        server.missing_status = 500
        server.repositories.clear()
    plan = world.json()
    assert chosen(plan)[:2] == ("2.7.1", "cu118")
    assert "answers with error 500; its list of files is 3 hours old" in reasons(plan)
    assert "the price is not known" in reasons(plan)


def test_what_answers_now_is_better_than_an_old_list(world: World) -> None:
    world["official"].add("cu118", *CU118)
    world.json()
    grow_old(world.folder / "cache", minutes=180)
    world["official"].missing_status = 500
    world["official"].repositories.clear()
    world.dead |= {"nju", "sjtu", "aliyun"}
    assert chosen(world.json()) == ("2.0.1", "cu117", "pypi")


# --- addresses given by hand ---


@pytest.mark.parametrize(
    ("path", "page"),
    [
        pytest.param("/simple/cu118/", "/simple/cu118", id="PEP 503"),
        pytest.param("/json/cu118", "/json/cu118", id="PEP 691"),
        pytest.param("/flat/cu118/", "/flat/cu118", id="listing"),
        pytest.param("/flat/cu118.html", "/flat/cu118.html", id="page such as torch_stable.html"),
        pytest.param("/simple", "/simple/cu118", id="tree"),
        pytest.param("/flat", "/flat/cu118", id="tree of listings"),
    ],
)
def test_an_address_is_used_whatever_its_layout(world: World, path: str, page: str) -> None:
    world["nju"].missing_status = 403
    world["nju"].add("cu118", *CU118)
    plan = world.json("--index", f"{world['nju'].base}{path}")
    assert chosen(plan)[:2] == ("2.7.1", "cu118")
    assert plan["choice"]["index_url"].rstrip("/") == f"{world['nju'].base}{page}"
    assert {row["name"]: row["version"] for row in plan["downloads"]}["torch"] == "2.7.1+cu118"


@pytest.mark.parametrize("path", ["/simple", "/simple/cu118"])
def test_a_password_in_an_address_is_used_by_uv_too_and_never_shown(world: World, path: str) -> None:
    world["nju"].add("cu118", *CU118)
    world["nju"].password = "s3cret"  # noqa: S105
    address = f"{world['nju'].base}{path}".replace("//", "//user:s3cret@")
    finished = world.plan("--json", "--index", address)
    plan = finished.document
    assert chosen(plan)[:2] == ("2.7.1", "cu118")
    assert plan["download_bytes"], plan["reasons"]
    assert "s3cret" not in finished.stdout + finished.stderr
    assert "s3cret" not in "".join(path.read_text() for path in (world.folder / "cache" / "indexes").iterdir())


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("garbage", "answers, but not with a list of packages"),
        ("login", "answers, but not with a list of packages (a login page, or a broken proxy?)"),
        ("huge", "does not answer (its page is larger than 20 MB: not read to the end)"),
        ("redirect", "does not answer (redirects more than 5 times)"),
        ("badjson", "answers with broken JSON"),
        ("hang", "does not answer (no answer within 5 s)"),
        ("500", "answers with error 500"),
        ("simple/cu118", "answers, but has no torch"),
    ],
)
def test_an_address_that_misbehaves_is_a_conflict_with_the_reason(world: World, how: str, words: str) -> None:
    started = time.monotonic()
    address = f"{world['nju'].base}/broken/{how}"
    finished = world.plan("--json", "--index", address)
    plan = finished.document
    assert (finished.code, plan["blocked_by"]) == (1, "index")
    assert f"the index {address} {words}" in reasons(plan)
    assert time.monotonic() - started < 15


def test_the_index_of_the_environment_is_the_one_asked(world: World) -> None:
    world["official"].add("cu118", *CU118)
    world["nju"].add("cu118", *OLDER)
    assert chosen(world.json(ENVFIX_INDEX="nju")) == ("2.6.0", "cu118", "nju")
    assert chosen(world.json("--index", "official", ENVFIX_INDEX="nju"))[2] == "official", "what is typed counts more"


def test_diagnose_tells_which_of_them_answer(world: World) -> None:
    world.dead |= {"official"}
    world["nju"].add("cpu", *CU118)
    finished = envfix(
        "diagnose", "--no-import", "--network", "--python", str(world.folder / "env"), env=world.environment()
    )
    lines = " ".join(finished.stdout.split())
    assert "official: does not answer: refuses the connection" in lines
    assert "nju: answers in" in lines


def test_diagnose_never_takes_an_earlier_answer_for_one_of_now(world: World) -> None:
    arguments = ("diagnose", "--no-import", "--network", "--python", str(world.folder / "env"))
    world["official"].add("cpu", *CU118)
    assert "official: answers in" in " ".join(envfix(*arguments, env=world.environment()).stdout.split())
    world["official"].missing_status = 503
    world["official"].repositories.clear()
    lines = " ".join(envfix(*arguments, env=world.environment()).stdout.split())
    assert "official: does not answer" in lines
    assert "its list of files is " in lines


# --- the plan's own commands, by the real pip ---


@pytest.mark.parametrize("name", ["official", "aliyun"])
def test_the_printed_commands_give_the_planned_torch_with_the_real_pip(world: World, name: str) -> None:
    world[name].add("cu118", *CU118)
    plan = world.json("--index", name)
    folder = world.folder / "pip-env"
    subprocess.run([interpreter("3.11"), "-m", "venv", str(folder)], check=True, timeout=120)
    environment = cleaned_environment(PIP_INDEX_URL=world["pypi"].url("simple", "main"), NO_PROXY="127.0.0.1")
    for program, *arguments in plan["commands"]:
        assert program == "python"
        subprocess.run([str(folder / "bin" / "python"), *arguments], check=True, env=environment, timeout=120)
    listed = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "list", "--format", "json"],
        check=True,
        env=environment,
        capture_output=True,
        timeout=60,
    )
    installed = {row["name"]: row["version"] for row in json.loads(listed.stdout)}
    assert (installed["torch"], installed["torchvision"]) == ("2.7.1+cu118", "0.22.1+cu118")
    assert installed["numpy"] == "1.26.4"
    assert installed["ultralytics"] == "8.4.80"
