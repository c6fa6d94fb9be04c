"""Toolchain, fetching, disks and conda: how bad a finding is, what it says, and what it advises."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envfix.model.facts import CondaInstall, Environment, Machine, found
from envfix.model.finding import Finding, Severity
from envfix.rules import _channels
from envfix.rules._rule import diagnose, judge
from envfix.rules.cnd120_conda_channel_unreachable import working_condarc
from envfix.rules.tkt106_msvc_missing_or_unsupported import msc_number
from envfix.tables.loader import Tables
from tests.made_up import PYTHON, card, environment, machine
from tests.made_up.toolchain import (
    BROKEN_CONFIGURATION,
    DEEPSPEED,
    HAND_MADE,
    NEW,
    NINJA,
    OFFICIAL,
    TO_INSTALL,
    TORCH_2,
    certificate,
    channel,
    compilers,
    conda,
    disks,
    kit,
    kits,
    network,
    of_pip,
    prefix,
    proxy,
    python,
    sources,
)


def one(code: str, facts: tuple[Machine, Environment], tables: Tables) -> Finding:
    (found_here,) = (each for each in diagnose(judge(*facts, tables)).findings if each.code == code)
    return found_here


def commands(finding: Finding) -> list[str]:
    return [" ".join(argv) for remedy in finding.remedies for argv in remedy.commands]


def texts(finding: Finding) -> str:
    return "\n".join([finding.message, *(remedy.text for remedy in finding.remedies), *commands(finding)])


# --- compiling ---


def test_nothing_about_the_toolchain_changes_a_healthy_verdict_unless_a_package_compiles(tables: Tables) -> None:
    for signs, verdict in ((NINJA, "healthy"), (DEEPSPEED, "degraded")):
        facts = (machine(NEW, toolkits=kits(kit("11.1.105"))), environment(**TORCH_2, distributions=signs))
        diagnosis = diagnose(judge(*facts, tables))
        assert [each.code for each in diagnosis.findings] == ["TKT101"]
        assert diagnosis.verdict == verdict


def test_mismatch_names_both_cudas_the_sign_and_the_toolkit_that_is_here(tables: Tables) -> None:
    here = machine(NEW, toolkits=kits(kit("11.1.105"), kit("12.4.131", "/usr/local"), kit("12.1.66", "/usr/local")))
    finding = one("TKT101", (here, environment(**TORCH_2, distributions=NINJA)), tables)
    assert "CUDA 11.1" in finding.message
    assert "CUDA 12.1" in finding.message
    assert any("ninja" in evidence.value for evidence in finding.because)
    assert commands(finding) == ["export CUDA_HOME=/usr/local/cuda-12.1"]
    assert "driver" not in texts(finding)


def test_mismatch_in_a_conda_environment_is_mended_there(tables: Tables) -> None:
    facts = (
        machine(
            NEW,
            toolkits=kits(kit("11.1.105")),
            conda=found(CondaInstall(program="/opt/conda/bin/conda"), "PATH"),
        ),
        environment(**TORCH_2, distributions=NINJA, interpreter=python(kind="conda")),
    )
    assert commands(one("TKT101", facts, tables)) == [
        "/opt/conda/bin/conda install -p /env -c nvidia cuda-nvcc=12.1",
        "export CUDA_HOME=/env",
    ]


def test_toolkits_that_are_unknown_leave_no_doubt_about_ready_made_wheels(tables: Tables) -> None:
    broken, here = HAND_MADE["nothing: whether there is an nvcc is not known"][:2]
    diagnosis = diagnose(judge(broken, here, tables))
    assert diagnosis.verdict == "healthy"
    assert not [row for row in diagnosis.skipped if row.code.startswith("TKT")]


def test_variable_that_leads_nowhere_is_named_with_the_toolkit_that_exists(tables: Tables) -> None:
    here = machine(NEW, toolkits=kits(kit("12.1.66", "/usr/local")), variables={"CUDA_HOME": "/opt/gone"})
    finding = one("TKT102", (here, environment(**TORCH_2)), tables)
    assert finding.severity == Severity.INFO
    assert "/opt/gone" in finding.message
    assert any("/usr/local/cuda-12.1/bin/nvcc" in evidence.value for evidence in finding.because)
    assert commands(finding) == ["unset CUDA_HOME"]


def test_compiler_that_nvcc_accepts_is_offered_when_it_is_here(tables: Tables) -> None:
    kits_ = kits(kit("11.1.105", gcc_max=10, limits_from="/usr/local/cuda/include/crt/host_config.h"))
    here = machine(toolkits=kits_, host_compilers=compilers(("g++", "13"), ("g++-9", "9"), ("g++-10", "10")))
    finding = one("TKT104", (here, environment(distributions=NINJA)), tables)
    assert "up to 10" in finding.message
    assert finding.because[0].source == "/usr/local/cuda/include/crt/host_config.h"
    assert commands(finding) == ["export CC=/usr/bin/gcc-10 CXX=/usr/bin/g++-10 CUDAHOSTCXX=/usr/bin/g++-10"]
    assert "allow-unsupported" not in texts(finding)


def test_clang_is_replaced_by_clang(tables: Tables) -> None:
    here = machine(
        toolkits=kits(kit("11.1.105", clang_max=10)),
        host_compilers=compilers(("clang++-9", "9"), ("g++-9", "9"), CC=("/usr/bin/clang-14", "14")),
        variables={"CC": "clang-14"},
    )
    finding = one("TKT104", (here, environment(distributions=NINJA)), tables)
    assert commands(finding) == ["export CC=/usr/bin/clang-9 CXX=/usr/bin/clang++-9 CUDAHOSTCXX=/usr/bin/clang++-9"]


@pytest.mark.parametrize(("version", "number"), [("14.38.33130", 1938), ("14.44.35207", 1944), ("19.0", None)])
def test_msc_number_of_a_toolset(version: str, number: int | None) -> None:
    assert msc_number(version) == number


def test_missing_headers_are_asked_for_by_the_minor_version(tables: Tables) -> None:
    finding = one("TKT107", HAND_MADE["no headers for triton"][:2], tables)
    assert "python3.8-dev" in texts(finding)
    assert finding.severity == Severity.INFO
    assert not finding.remedies[0].safe


# --- fetching ---


@pytest.mark.parametrize(
    ("kind", "location", "severity"),
    [
        ("index", f"{OFFICIAL}/cu131", Severity.WARNING),
        ("extra-index", f"{OFFICIAL}/cu131", Severity.INFO),
        ("extra-index", f"{OFFICIAL}/cpu", Severity.WARNING),
    ],
)
def test_place_that_is_only_asked_besides_does_less_harm(
    kind: str, location: str, severity: Severity, tables: Tables
) -> None:
    facts = environment(**TO_INSTALL, package_sources=sources((kind, location, "/home/li/pip.conf [global]")))
    finding = one("NET101", (machine(), facts), tables)
    assert finding.severity == severity
    assert "/home/li/pip.conf [global]" in finding.remedies[0].text


def test_cuda_newer_than_the_table_may_exist(tables: Tables) -> None:
    facts = environment(**TO_INSTALL, package_sources=sources(("index", f"{OFFICIAL}/cu990", "pip.conf")))
    assert "NET101" not in {each.code for each in diagnose(judge(machine(), facts, tables)).findings}


def test_setting_from_a_variable_is_unset(tables: Tables) -> None:
    finding = one("NET101", HAND_MADE["no index and no folder"][:2], tables)
    assert "unset PIP_NO_INDEX" in commands(finding)
    assert "envfix plan --python /env/bin/python" in commands(finding)


def test_uv_advice_binds_the_index_instead_of_mixing_indexes(tables: Tables) -> None:
    finding = one("NET102", HAND_MADE["uv with a torch index as its only one"][:2], tables)
    assert finding.severity == Severity.WARNING
    assert "unset UV_INDEX_URL" in commands(finding)
    assert "unsafe" not in texts(finding)


def test_python_without_ssl_is_an_error_only_while_torch_is_to_be_had(tables: Tables) -> None:
    without = python(ssl_problem="libssl.so.1.1: cannot open shared object file")
    wanted = one("NET103", (machine(network=network()), environment(**TO_INSTALL, interpreter=without)), tables)
    assert wanted.severity == Severity.ERROR
    assert "libssl.so.1.1" in wanted.because[0].value
    has = one("NET103", (machine(network=network()), environment(interpreter=without)), tables)
    assert has.severity == Severity.WARNING
    in_conda = python(ssl_problem="DLL load failed", kind="conda")
    activate = one("NET103", (machine(network=network()), environment(interpreter=in_conda)), tables)
    assert commands(activate) == ["conda activate /env"]


def test_local_proxy_is_rewritten_to_http(tables: Tables) -> None:
    finding = one("NET103", HAND_MADE["local proxy addressed by https"][:2], tables)
    assert commands(finding)[0] == "export https_proxy=http://127.0.0.1:7890 HTTPS_PROXY=http://127.0.0.1:7890"
    assert "trusted-host" not in texts(finding)


def test_certificate_that_only_openssl_passes_over_is_an_info(tables: Tables) -> None:
    def told(name: str) -> Severity:
        setting = {"kind": "certificates", "name": name, "value": "/gone.pem", "problem": "there is no such file"}
        return one("NET103", (machine(network=network(setting)), environment()), tables).severity

    assert told("SSL_CERT_FILE") == Severity.INFO
    assert told("REQUESTS_CA_BUNDLE") == told("cert") == told("ssl_verify") == Severity.WARNING


def test_proxy_of_another_host_may_well_speak_https(tables: Tables) -> None:
    facts = (machine(network=network(proxy("https_proxy", "https://proxy.example:443"))), environment())
    assert diagnose(judge(*facts, tables)).findings == ()


def test_variables_with_one_fault_are_one_finding_that_names_them(tables: Tables) -> None:
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
    facts = (machine(network=network(*map(certificate, names))), environment())
    finding = one("NET103", facts, tables)
    assert "set by REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE and SSL_CERT_FILE, cannot be used" in finding.message
    assert finding.severity == Severity.WARNING
    assert commands(finding) == ["unset REQUESTS_CA_BUNDLE CURL_CA_BUNDLE SSL_CERT_FILE"]
    local = (proxy(name, "https://127.0.0.1:7890") for name in ("http_proxy", "https_proxy", "all_proxy"))
    finding = one("NET103", (machine(network=network(*local)), environment()), tables)
    assert finding.message.startswith(
        "The proxy https://127.0.0.1:7890, set by http_proxy, https_proxy and all_proxy, is"
    )
    assert len(commands(finding)[0].split()) == 7, "both spellings of all three"


def test_broken_configuration_of_pip_names_file_line_and_ways_out(tables: Tables) -> None:
    facts = (machine(), environment(**TO_INSTALL, package_sources=BROKEN_CONFIGURATION))
    own, of_all = (row for row in diagnose(judge(*facts, tables)).findings if row.code == "NET105")
    path = "/home/li/.config/pip/pip.conf"
    assert f"{path} is broken" in own.message
    assert "(line 1: the file contains no section headers)" in own.message
    assert own.severity == Severity.ERROR
    assert commands(own) == [f"mv {path} {path}.broken", "export PIP_CONFIG_FILE=/dev/null"]
    assert "administrator" in texts(of_all)
    assert commands(of_all) == ["export PIP_CONFIG_FILE=/dev/null"]
    here = one_of_pip(environment(package_sources=BROKEN_CONFIGURATION), tables)
    assert here.severity == Severity.WARNING, "torch is here already"


def one_of_pip(made: Environment, tables: Tables) -> Finding:
    return next(row for row in diagnose(judge(machine(), made, tables)).findings if row.code == "NET105")


def test_folder_in_the_configuration_of_pip_is_seen_and_a_variable_is_stronger(tables: Tables) -> None:
    setting = network(of_pip("target", "/data/packages"))
    finding = one("VAR102", (machine(network=setting), environment()), tables)
    where = "/home/li/.config/pip/pip.conf [global]"
    assert finding.message.startswith(f"The setting target = /data/packages in {where} makes pip install")
    assert finding.because[0].source == where
    assert "line with target" in texts(finding)
    both = machine(network=setting, variables={"PIP_TARGET": "/data/more"})
    assert one("VAR102", (both, environment()), tables).message.startswith("PIP_TARGET=/data/more makes pip install")


def test_pip_user_in_a_virtual_environment_is_refused(tables: Tables) -> None:
    finding = one("VAR102", (machine(variables={"PIP_USER": "1"}), environment()), tables)
    assert finding.message.startswith("PIP_USER=1 makes pip refuse")
    assert commands(finding) == ["unset PIP_USER"]


# --- disks ---


def test_temporary_files_go_where_there_is_room(tables: Tables) -> None:
    finding = one("MEM120", HAND_MADE["no room for temporary files"][:2], tables)
    assert finding.severity == Severity.WARNING
    assert "only 0.2 GiB free" in finding.message
    assert "3 GiB" in finding.message
    assert commands(finding) == [
        "mkdir -p /home/li/uv_cache/temporary",
        "export TMPDIR=/home/li/uv_cache/temporary",
    ]


def test_full_file_system_is_told_once_and_is_an_error(tables: Tables) -> None:
    facts = (machine(resources=disks(temporary_files=0, pip_cache=0, uv_cache=0)), environment(disk=prefix(5)))
    finding = one("MEM120", facts, tables)
    assert finding.severity == Severity.ERROR
    assert "no room at all for temporary files" in finding.message


def test_room_that_is_needed_depends_on_a_card(tables: Tables) -> None:
    facts = (machine(resources=disks(), cards=[card()]), environment(**TO_INSTALL, disk=prefix(5)))
    assert "6 GiB" in one("MEM120", facts, tables).message
    without = (machine(None, resources=disks()), facts[1])
    assert "MEM120" not in {each.code for each in diagnose(judge(*without, tables)).findings}


# --- conda ---

MIRROR = "https://mirror.example/anaconda"


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("conda-forge", {}, ["{conda-forge}"]),
        ("lab", {}, ["{alias}/lab"]),
        ("lab", {"channel_alias": MIRROR + "/"}, [f"{MIRROR}/lab"]),
        ("pytorch", {"custom_channels": {"pytorch": f"{MIRROR}/cloud"}}, [f"{MIRROR}/cloud/pytorch"]),
        ("pytorch/label/test", {"custom_channels": {"pytorch": MIRROR}}, [f"{MIRROR}/pytorch/label/test"]),
        ("https://a.example/b/", {"channel_alias": MIRROR}, ["https://a.example/b"]),
        ("defaults", {}, ["{defaults}"]),
        (
            "defaults",
            {"default_channels": (f"{MIRROR}/pkgs/main", f"{MIRROR}/pkgs/r")},
            [f"{MIRROR}/pkgs/main", f"{MIRROR}/pkgs/r"],
        ),
        (
            "conda-forge",
            {"mirrored_channels": {"conda-forge": ("https://a/x", "https://b/x/")}},
            ["https://a/x", "https://b/x"],
        ),
        ("defaults", {"default_channels": ("defaults",)}, []),
    ],
)
def test_name_of_a_channel_becomes_the_address_conda_asks(
    name: str, settings: dict[str, Any], expected: list[str], tables: Tables
) -> None:
    value = conda(**settings).value
    assert value is not None
    assert value.settings is not None
    official = {row.name: row.url for row in tables.conda.channels()}
    official["alias"] = official["conda-forge"].removesuffix("/conda-forge")
    assert list(_channels.addresses(name, value.settings, tables)) == [text.format(**official) for text in expected]


def test_channels_without_configuration_are_the_defaults(tables: Tables) -> None:
    value = conda().value
    assert value is not None
    assert value.settings is not None
    assert [name for name, _ in _channels.places(value.settings, tables)] == ["defaults"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pytorch", "pytorch"),
        (f"{MIRROR}/cloud/pytorch/", "pytorch"),
        (f"{MIRROR}/pkgs/main", "defaults"),
        (f"{MIRROR}/pkgs/free/", "defaults"),
    ],
)
def test_channel_is_known_by_the_end_of_its_address(name: str, known: str, tables: Tables) -> None:
    assert _channels.canonical(name) == known
    assert _channels.alternatives(name, tables)
    assert _channels.alternatives("https://lab.example/li", tables) == ()


def test_dead_channel_is_named_and_a_working_condarc_printed(tables: Tables) -> None:
    import yaml

    states = (
        channel("conda-forge"),
        channel("pytorch", "there is no such channel (404)"),
        channel("lab", "refuses the connection"),
        msgspec.structs.replace(channel("pytorch", suggested=True), location="https://official.example/pytorch"),
    )
    facts = machine(conda=conda(states, channels=("conda-forge", "pytorch", "lab")))
    assert one("CND120", (facts, environment()), tables).severity == Severity.INFO, "torch is here, and not by conda"
    finding = one("CND120", (facts, environment(interpreter=python(kind="conda"))), tables)
    assert finding.severity == Severity.WARNING
    assert "pytorch (there is no such channel (404)), lab (refuses the connection)" in finding.message
    content = finding.remedies[0].text.partition(":\n")[2]
    assert yaml.safe_load(content) == {
        "channels": ["https://mirror.example/conda-forge", "https://official.example/pytorch"],
        "channel_priority": "strict",
    }
    assert commands(finding)[:2] == ["cp ~/.condarc ~/.condarc.before", "/opt/conda/bin/conda clean --index-cache"]
    assert "ssl_verify" not in texts(finding)


def test_no_condarc_is_printed_when_nothing_answers(tables: Tables) -> None:
    dead = (channel("conda-forge", "no answer within 5 s"),)
    assert working_condarc(dead) == ""
    finding = one("CND120", (machine(conda=conda(dead, channels=("conda-forge",))), environment()), tables)
    assert commands(finding) == ["envfix install --new-env yolo-env"]


def test_old_solver_is_a_warning_only_where_torch_waits_for_it(tables: Tables) -> None:
    old = conda(version="22.11.1", channels=("conda-forge", "defaults"))
    assert one("CND121", (machine(conda=old), environment()), tables).severity == Severity.INFO
    waiting = environment(**TO_INSTALL, interpreter=found(msgspec.structs.replace(PYTHON, kind="conda"), "asked"))
    finding = one("CND121", (machine(conda=old), waiting), tables)
    assert finding.severity == Severity.WARNING
    assert "conda config --set solver libmamba" in commands(finding)
    older = one("CND121", (machine(conda=conda(version="4.10.3", channels=("a", "b"))), waiting), tables)
    assert "libmamba" not in texts(older), "conda 4.10 cannot be switched"
