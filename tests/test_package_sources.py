"""Where pip and uv are told to take packages from: which setting wins, where it stands, and no password gets out."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from envfix.host.interface import FileResult
from envfix.host.real import RealHost
from envfix.model.facts import PackageSource
from envfix.probes.package_sources import (
    parse_pip_conf,
    parse_uv_toml,
    probe,
    read_settings,
    without_credentials,
)


@dataclass
class Machine(RealHost):
    """A machine that has only these files and variables."""

    files: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    system: str = "linux"

    def read_text(self, path: str, *, limit: int = 1_000_000) -> FileResult:
        """See ``ProbeHost.read_text``."""
        text = self.files.get(path)
        if text is None:
            return FileResult(outcome="absent")
        if text == "unreadable":
            return FileResult(outcome="unreadable", problem="Permission denied")
        return FileResult(outcome="read", text=text[:limit])

    def getenv(self, name: str) -> str | None:
        """See ``ProbeHost.getenv``."""
        return self.variables.get(name)

    def environ(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        """See ``ProbeHost.environ``."""
        return {name: value for name, value in self.variables.items() if name.startswith(prefixes)}

    def system_facts(self) -> dict[str, str]:
        """See ``ProbeHost.system_facts``."""
        return {"home": "/home/li", "system": self.system}


def seen(machine: Machine, prefix: str | None = None) -> list[tuple[str, str, str]]:
    value = probe(machine, prefix).value
    assert value is not None
    return [(source.kind, source.location, source.configured_in) for source in value]


def test_nothing_configured_is_an_empty_answer_and_not_an_unknown() -> None:
    answer = probe(Machine(), None)
    assert answer.value == ()
    assert answer.missing is None


def test_each_file_of_pip_is_read_and_the_nearer_one_wins() -> None:
    files = {
        "/etc/xdg/pip/pip.conf": "[global]\nindex-url = https://one/simple\n",
        "/etc/pip.conf": "[global]\nindex-url = https://two/simple\n",
        "/home/li/.pip/pip.conf": "[global]\nindex-url = https://three/simple\n",
        "/home/li/.config/pip/pip.conf": "[global]\nindex-url = https://four/simple\n",
        "/env/pip.conf": "[global]\nindex-url = https://five/simple\n",
    }
    order = ["one", "two", "three", "four", "five"]
    for number, path in enumerate(files):
        machine = Machine(files=dict(list(files.items())[: number + 1]))
        assert seen(machine, "/env") == [("index", f"https://{order[number]}/simple", f"{path} [global]")]


def test_the_install_section_beats_global_even_of_a_nearer_file() -> None:
    machine = Machine(
        files={
            "/etc/pip.conf": "[install]\nindex_url = https://a/simple\n",
            "/env/pip.conf": "[global]\nindex-url = https://b/simple\n",
        }
    )
    assert seen(machine, "/env") == [("index", "https://a/simple", "/etc/pip.conf [install]")]


def test_a_variable_beats_every_file_and_an_empty_one_counts_for_nothing() -> None:
    files = {"/etc/pip.conf": "[global]\nfind-links = /a\n"}
    machine = Machine(files=files, variables={"PIP_FIND_LINKS": "/wheels ~/more"})
    where = "environment variable PIP_FIND_LINKS"
    assert seen(machine) == [("find-links", "/wheels", where), ("find-links", "/home/li/more", where)]
    assert seen(Machine(files=files, variables={"PIP_FIND_LINKS": ""})) == [
        ("find-links", "/a", "/etc/pip.conf [global]")
    ]


def test_lists_may_be_separated_by_spaces_or_lines() -> None:
    text = "[global]\nextra-index-url = https://a/simple https://b/simple\n    https://c/simple\n"
    assert [place for _, place, _ in seen(Machine(files={"/etc/pip.conf": text}))] == [
        "https://a/simple",
        "https://b/simple",
        "https://c/simple",
    ]


def test_a_config_file_named_by_a_variable_replaces_the_users_own() -> None:
    files = {
        "/home/li/.config/pip/pip.conf": "[global]\nindex-url = https://own/simple\n",
        "/x.conf": "[global]\nno-index = true\n",
    }
    assert seen(Machine(files=files, variables={"PIP_CONFIG_FILE": "/x.conf"})) == [
        ("no-index", "", "/x.conf [global]")
    ]
    assert seen(Machine(files=files, variables={"PIP_CONFIG_FILE": "/dev/null"})) == []


def test_no_index_counts_only_when_it_is_true() -> None:
    assert seen(Machine(variables={"PIP_NO_INDEX": "0"})) == []
    assert seen(Machine(variables={"PIP_NO_INDEX": "1"})) == [("no-index", "", "environment variable PIP_NO_INDEX")]


def test_uv_is_asked_too_and_its_default_comes_before_pips() -> None:
    toml = (
        'find-links = ["/w"]\n[[index]]\nurl = "https://lab/simple"\ndefault = true\n'
        '[[index]]\nurl = "https://more/simple"\n[[index]]\nurl = "https://torch/whl"\nexplicit = true\n'
    )
    machine = Machine(
        files={"/home/li/.config/uv/uv.toml": toml},
        variables={"PIP_INDEX_URL": "https://pip/simple", "UV_INDEX": "a=https://a/simple https://b/simple"},
    )
    where = "/home/li/.config/uv/uv.toml"
    assert seen(machine) == [
        ("index", "https://pip/simple", "environment variable PIP_INDEX_URL"),
        ("extra-index", "https://a/simple", "environment variable UV_INDEX"),
        ("extra-index", "https://b/simple", "environment variable UV_INDEX"),
        ("index", "https://lab/simple", where),
        ("extra-index", "https://more/simple", where),
        ("find-links", "/w", where),
    ]
    default = read_settings(machine, None).default_index()
    assert default is not None
    assert default.location == "https://lab/simple"


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        pytest.param(
            "/etc/pip.conf", "index-url = x\n", "line 1: the file contains no section headers", id="no section"
        ),
        pytest.param(
            "/etc/pip.conf",
            "[global]\na = 1\na = 2\n",
            "line 3: option 'a' in section 'global' already exists",
            id="twice",
        ),
        pytest.param("/etc/pip.conf", "unreadable", "Permission denied", id="not readable"),
        pytest.param("/etc/uv/uv.toml", "a = = 1", "uv can read", id="broken toml"),
    ],
)
def test_a_broken_file_makes_the_fact_unknown_and_is_named(path: str, text: str, words: str) -> None:
    answer = probe(Machine(files={path: text}), None)
    assert answer.is_unknown
    assert answer.problem is not None
    assert path in answer.problem
    assert words in answer.problem


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("https://user:secret@host:8080/simple/", "https://host:8080/simple/"),
        ("https://secret@host/simple", "https://host/simple"),
        ("https://user:sec/ret@host/simple", "https://host/simple"),
        ("https://user:secret@[::1", "https://[::1"),
        ("https://host/@scope/simple", "https://host/@scope/simple"),
        ("https://host:8080/@scope/simple", "https://host:8080/@scope/simple"),
        ("/folder/with@sign", "/folder/with@sign"),
        ("file:///opt/x", "file:///opt/x"),
        ("", ""),
    ],
)
def test_no_password_stays_in_an_address(written: str, shown: str) -> None:
    assert without_credentials(written) == shown


def test_records_have_no_password_and_the_installer_finds_it_again() -> None:
    machine = Machine(variables={"PIP_INDEX_URL": "https://li:secret@lab/simple/"})
    value = probe(machine, None).value
    assert value == (
        PackageSource(kind="index", location="https://lab/simple/", configured_in="environment variable PIP_INDEX_URL"),
    )
    settings = read_settings(machine, None)
    assert settings.with_credentials("https://lab/simple") == "https://li:secret@lab/simple/"
    assert settings.with_credentials("https://other/simple") == "https://other/simple"


def test_windows_and_macos_have_their_own_places() -> None:
    text = "[global]\nindex-url = https://a/simple\n"
    windows = Machine(files={"C:/Users/li/pip/pip.ini": text}, variables={"APPDATA": "C:/Users/li"}, system="win32")
    assert seen(windows) == [("index", "https://a/simple", "C:/Users/li/pip/pip.ini [global]")]
    path = "/home/li/Library/Application Support/pip/pip.conf"
    assert seen(Machine(files={path: text}, system="darwin")) == [("index", "https://a/simple", f"{path} [global]")]


def test_pip_conf_is_read_as_pip_reads_it() -> None:
    text = "\ufeff[Install]\nExtra_Index_Url: a%(x)s\n; comment\n[list]\nformat = columns\n"
    assert parse_pip_conf(text, "p") == {
        ("install", "extra-index-url"): "a%(x)s",
        ("list", "format"): "columns",
    }


def test_the_pip_table_of_uv_toml_counts_as_well() -> None:
    plain, places = parse_uv_toml('native-tls = true\n[pip]\nindex-url = "https://a"\nno-index = true\n', "p")
    assert plain["native-tls"] == "True"
    assert places == [("index", "https://a"), ("no-index", "")]
