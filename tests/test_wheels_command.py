"""`envfix wheels`: which files exist, where they lie, and which filters make no sense."""

from __future__ import annotations

import json

import pytest

from envfix.cli import main


def test_the_lts_release_is_listed_with_its_own_index(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheels", "--torch", "1.8.2", "--python", "3.8", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["wheels"]
    assert {row["variant"] for row in rows} == {"cpu", "cu102", "cu111"}
    assert all(row["url"].startswith("https://download.pytorch.org/whl/lts/1.8/") for row in rows)


@pytest.mark.parametrize("platform", ["win_arm64", "linux_s390x"])
def test_platforms_with_rows_can_be_asked_for(platform: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheels", "--torch", "2.13.0", "--platform", platform]) == 0
    assert "torch-2.13.0+cpu-cp311-cp311" in capsys.readouterr().out


def test_addresses_are_shown_with_v_and_a_dash_where_none_can_be_computed(capsys: pytest.CaptureFixture[str]) -> None:
    build = ["wheels", "--package", "torch", "--torch", "2.7.1", "--python", "3.11", "--platform", "linux_x86_64"]
    assert main([*build, "-v"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[5]: line.split()[-1] for line in lines if " cu" in line}
    assert shown["official"].startswith("https://download.pytorch.org/whl/cu")
    assert shown["pypi"] == "-"
    assert main(build) == 0
    assert "https://" not in capsys.readouterr().out


@pytest.mark.parametrize("index", ["foo", "nju", "", "OFFICIAL"])
def test_an_index_that_is_not_in_the_table_is_wrong_usage(index: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wheels", "--torch", "2.13.0", "--index", index]) == 2
    assert "'official', 'pypi'" in capsys.readouterr().err
