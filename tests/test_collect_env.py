"""Pasted ``torch.utils.collect_env`` reports: what is read from them, what stays unknown, and what is made of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envfix.app.diagnosing import diagnose
from envfix.app.snapshotting import read_snapshot
from envfix.errors import SnapshotError
from envfix.host.real import RealHost
from envfix.model.facts import NOT_TOLD, Environment, Machine
from envfix.model.finding import Diagnosis
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion
from envfix.report_reader import facts, lines
from envfix.tables.loader import Tables

REPORTS = Path(__file__).parent / "collect_env_reports"
NAMES = sorted(path.stem for path in REPORTS.glob("*.txt"))


def text_of(name: str) -> str:
    return (REPORTS / f"{name}.txt").read_text(encoding="utf-8")


def read(text: str, tables: Tables) -> tuple[Machine, Environment]:
    found = lines.find(text)
    assert found is not None
    return facts.read(found, tables)


def judged(text: str, tables: Tables) -> Diagnosis:
    return diagnose(*read(text, tables), tables)


# What each report must be read as: platform, driver, cards, python, torch (build, CUDA), CUDA available.
SAID: dict[str, tuple[str | None, str | None, tuple[str, ...], str, tuple[str, str | None] | None, bool | None]] = {
    "debian-torch-1.13-cpu": ("linux_x86_64", None, (), "3.11.2", ("1.13.0a0", None), False),
    "torch-1.0-two-cards": (
        None, "410.79", ("GeForce GTX 1080 Ti", "TITAN Xp"), "3.6", ("1.0.1.post2", "9.0"), True,
    ),
    "torch-1.7-conda": ("linux_x86_64", "450.102.04", ("GeForce RTX 2080 Ti",), "3.8", ("1.7.1", "11.0"), True),
    "torch-2.0-windows": (
        "win_amd64", "531.79", ("NVIDIA GeForce GTX 1660 Ti",), "3.10.11", ("2.0.1+cu117", "11.7"), True,
    ),
    "torch-2.1-driver-too-old": (
        "linux_x86_64", "470.57.02", ("NVIDIA GeForce RTX 3090",) * 2, "3.8.18", ("2.1.2+cu121", "12.1"), False,
    ),
    "torch-2.2-macos": ("macosx_arm64", None, (), "3.11.8", ("2.2.2", None), False),
    "torch-2.6-rtx5090": (
        "linux_x86_64", "570.124.06", ("NVIDIA GeForce RTX 5090",), "3.12.3", ("2.6.0+cu126", "12.6"), True,
    ),
    "torch-2.7-rocm": ("linux_x86_64", None, (), "3.12.3", ("2.7.0+rocm6.3", None), True),
    "torch-2.9-wsl-mig": (
        "linux_x86_64", "572.16", ("NVIDIA A100-SXM4-40GB",) * 2, "3.11.9", ("2.9.1+cu128", "12.8"), True,
    ),
    "torch-not-importable": (
        "linux_x86_64", "470.57.02", ("Tesla V100-PCIE-32GB",) * 2, "3.9.16", None, None,
    ),
}  # fmt: skip
VERDICTS = {
    "debian-torch-1.13-cpu": ("degraded", []),  # no findings, but nvidia-smi gave no answer: a doubt
    "torch-1.0-two-cards": ("degraded", []),  # the processor is not named
    "torch-1.7-conda": ("healthy", []),
    "torch-2.0-windows": ("healthy", []),
    "torch-2.1-driver-too-old": ("broken", ["driver_too_old_for_wheel"]),
    "torch-2.2-macos": ("healthy", ["no_nvidia_gpu"]),
    "torch-2.6-rtx5090": ("broken", ["sm_too_new_for_wheel"]),
    "torch-2.7-rocm": ("healthy", []),
    "torch-2.9-wsl-mig": ("healthy", []),
    "torch-not-importable": ("broken", ["torch_not_installed"]),
}


def summary(machine: Machine, environment: Environment) -> tuple[Any, ...]:
    torch, imported = environment.torch.value, environment.torch_import.value
    python = environment.interpreter.value
    return (
        machine.platform.value.tag if machine.platform.value else None,
        str(machine.driver.value.version) if machine.driver.value else None,
        tuple(card.name for card in machine.gpus.value or ()),
        python.version if python else None,
        (torch.build, str(torch.cuda) if torch.cuda else None) if torch else None,
        imported.cuda_available if imported else None,
    )


@pytest.mark.parametrize("name", NAMES)
def test_report_is_read_as_what_it_says(name: str, tables: Tables) -> None:
    assert summary(*read(text_of(name), tables)) == SAID[name]


@pytest.mark.parametrize("name", NAMES)
def test_report_is_judged(name: str, tables: Tables) -> None:
    diagnosis = judged(text_of(name), tables)
    expected, causes = VERDICTS[name]
    # Other rules may add what is good to know; the first finding and the verdict stay.
    assert diagnosis.verdict == expected, [finding.code for finding in diagnosis.findings]
    assert [finding.cause for finding in diagnosis.findings][: len(causes)] == causes


def quoted(text: str) -> str:
    return "I get this:\n\n" + "\n".join(f"> {line}" for line in text.splitlines()) + "\n\nwhat now?"


PASTED: dict[str, Callable[[str], str]] = {
    "in a fence, in prose": lambda text: f"Hello,\n### Versions\n<details>\n\n```text\n{text}```\n</details>\nThanks!",
    "quoted": quoted,
    "quoted twice": lambda text: quoted(quoted(text)),
    "with the line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "indented": lambda text: "\n".join(f"    {line}" for line in text.splitlines()),
    "as headings, without a fence": lambda text: "\n".join(f"# {line}" for line in text.splitlines()),
    "as a list": lambda text: "\n".join(f"- {line}" for line in text.splitlines()),
    "with no-break spaces": lambda text: text.replace(" ", "\xa0"),
    "with spaces before the colon": lambda text: re.sub(rf"(?m)({'|'.join(lines.KEYS)}):", r"\1       :", text),
    "behind a log": lambda text: "epoch 1 loss 0.3\n" * 5000 + text,
    "after the words of a form": lambda text: " - PyTorch Version (e.g., 1.0): 1.4\n - OS: Linux\n\n" + text,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", PASTED)
def test_report_is_read_however_it_was_pasted(name: str, how: str, tables: Tables) -> None:
    assert summary(*read(PASTED[how](text_of(name)), tables)) == SAID[name]


@pytest.mark.parametrize("name", NAMES)
def test_truncated_report_says_less_and_nothing_else(name: str, tables: Tables) -> None:
    whole = text_of(name)
    for end in range(0, len(whole), 97):
        found = lines.find(whole[:end])
        if found is None:
            continue
        machine, environment = facts.read(found, tables)
        for said, true in zip(summary(machine, environment), SAID[name], strict=True):
            # Lists grow by whole entries; a half line says nothing.
            assert said in (None, (), true) or (isinstance(true, tuple) and said == true[: len(said)]), (
                end,
                said,
                true,
            )
        diagnose(machine, environment, tables)


def test_facts_carry_the_report_as_their_source(tables: Tables) -> None:
    machine, environment = read(text_of("torch-2.6-rtx5090"), tables)
    assert machine.driver.source == environment.interpreter.source == "collect_env report"
    assert environment.torch.source.startswith("collect_env report; architectures of that wheel by envfix's table")
    assert machine.device_state.problem == machine.resources.problem == environment.elsewhere.problem == NOT_TOLD
    assert machine.variables == {"CUDA_MODULE_LOADING": "LAZY"}


def test_details(tables: Tables) -> None:
    machine, environment = read(text_of("torch-2.9-wsl-mig"), tables)
    assert machine.platform.value is not None
    assert (machine.platform.value.wsl, machine.platform.value.kernel) == (True, "5.15.167.4-microsoft-standard-WSL2")
    assert machine.platform.value.libc is not None
    assert machine.platform.value.libc.version == "2.35"
    assert [card.mig for card in machine.gpus.value or ()] == [None, None], "the ids of instances are cut off"
    assert {card.capability for card in machine.gpus.value or ()} == {ComputeCapability.parse("8.0")}
    assert machine.toolkits.value is not None
    assert machine.toolkits.value[0].version == CudaVersion.parse("12.4"), "the runtime version is nvcc's"
    assert environment.interpreter.value is not None
    assert environment.interpreter.value.kind == "conda"
    assert environment.torch.value is not None
    assert (environment.torch.value.version, environment.torch.value.build) == ("2.9.1", "2.9.1+cu128")
    assert environment.conda_records.is_unknown, "all that conda lists was installed by pip"


def test_compilers_are_read_from_their_first_lines(tables: Tables) -> None:
    machine, _ = read(text_of("torch-not-importable"), tables)
    assert [(one.name, one.version) for one in machine.host_compilers.value or ()] == [("gcc", "8.5.0")]
    machine, _ = read(text_of("torch-1.7-conda"), tables)
    assert [(one.name, one.version) for one in machine.host_compilers.value or ()] == [
        ("gcc", "7.5.0"),
        ("clang", "6.0.0"),
    ]


def test_conda_list_counts_only_for_the_python_of_conda_that_ran_the_report(tables: Tables) -> None:
    text = text_of("torch-1.7-conda")
    assert read(text, tables)[1].conda_records.is_unknown, "this Python does not say that it is conda's"
    of_conda = text.replace("3.8 (64-bit runtime)", "3.8.5 | packaged by conda-forge | (default) (64-bit runtime)")
    records = read(of_conda, tables)[1].conda_records.value
    assert records is not None
    row = next(record for record in records if record.name == "pytorch")
    assert (row.version, row.build, row.channel) == ("1.7.1", "py3.8_cuda11.0.221_cudnn8.0.5_0", "pytorch")
    assert next(record for record in records if record.name == "mkl").channel == "defaults"
    other = of_conda.replace("PyTorch version: 1.7.1", "PyTorch version: 1.8.0")
    assert read(other, tables)[1].conda_records.is_unknown, "the list of another environment"


def test_pip_of_another_python_says_nothing(tables: Tables) -> None:
    text = text_of("torch-1.7-conda").replace("[pip3] torch==1.7.1\n", "")
    environment = read(text, tables)[1]
    assert environment.distributions.is_unknown
    assert environment.torchvision.is_unknown
    assert environment.torch.value is not None


def test_two_torches_are_both_told(tables: Tables) -> None:
    text = text_of("debian-torch-1.13-cpu").replace("PyTorch version: 1.13.0a0", "PyTorch version: 1.12.1+cpu")
    torch = read(text, tables)[1].torch.value
    assert torch is not None
    assert (torch.version, torch.build) == ("1.13.0a0+gitunknown", "1.12.1+cpu")


def test_torch_that_pip_lists_but_that_cannot_be_imported_is_not_absent(tables: Tables) -> None:
    text = text_of("torch-not-importable")
    assert read(text, tables)[1].torch.is_absent
    listed = read(text.replace("[pip3] numpy", "[pip3] torch==2.0.1\n[pip3] numpy"), tables)[1]
    assert listed.torch.is_unknown
    assert listed.torch_import.value is not None
    assert not listed.torch_import.value.ok


def test_architectures_are_those_of_official_wheels_only(tables: Tables) -> None:
    text = text_of("torch-2.6-rtx5090")
    for build in ("2.6.0", "2.6.0a0+git1234567", "2.6.0a0+ecf3bae40a.nv25.01", "2.6.0+cu126.custom"):
        torch = read(text.replace("2.6.0+cu126", build), tables)[1].torch.value
        assert torch is not None
        assert (torch.sm, torch.cuda) == (None, CudaVersion.parse("12.6")), build


def test_silence_of_nvidia_smi_is_no_proof_that_there_is_no_card(tables: Tables) -> None:
    text = text_of("torch-2.1-driver-too-old")
    start, end = text.index("GPU models"), text.index("cuDNN")
    silent = text[:start] + "GPU models and configuration: No CUDA\nNvidia driver version: No CUDA\n" + text[end:]
    machine, environment = read(silent, tables)
    assert machine.driver.is_unknown
    assert machine.gpus.is_unknown
    assert 'nvidia-smi gave no answer (the report says "No CUDA")' in (machine.driver.problem or "")
    assert diagnose(machine, environment, tables).verdict != "healthy"


def test_driver_without_a_card(tables: Tables) -> None:
    text = text_of("torch-2.0-windows").replace("GPU 0: NVIDIA GeForce GTX 1660 Ti", "No devices found.")
    assert read(text, tables)[0].gpus.is_absent


@pytest.mark.parametrize("version", ["N/A", "Could not collect", "No CUDA", "abc", "", "551.", "9" * 400])
def test_driver_that_cannot_be_read_is_unknown(version: str, tables: Tables) -> None:
    text = text_of("torch-2.0-windows").replace("531.79", version)
    assert read(text, tables)[0].driver.is_unknown


def test_passwords_in_package_lists_are_hidden(tables: Tables) -> None:
    address = "https://conda.example/t/tk-1234567890/pytorch"
    text = (
        text_of("torch-1.7-conda")
        .replace("3.8 (64", "3.8.5 | packaged by x | (64")
        .replace("cudnn8.0.5_0    pytorch", f"cudnn8.0.5_0    {address}")
    )
    machine, environment = read(text, tables)
    assert environment.conda_records.value is not None
    assert "tk-1234567890" not in repr((machine, environment))


def test_free_threaded_and_32_bit_and_pypy(tables: Tables) -> None:
    for said, tag, bits in (
        ("3.13.1 experimental free-threading build (main, Dec  4 2024) [GCC 13] (64-bit runtime)", "cp313t", 64),
        ("3.9.13 (tags/v3.9.13) [MSC v.1929 32 bit (Intel)] (32-bit runtime)", "cp39", 32),
        ("3.9.16 (7.3.11, 2022) [PyPy 7.3.11 with GCC 10.2.1] (64-bit runtime)", "pp39", 64),
        ("3.7.9 (default, Aug 31 2020) [GCC 7.3.0] (64-bit runtime)", "cp37", 64),
        ("2.7", "cp27", 0),
    ):
        text = text_of("torch-2.6-rtx5090").replace(
            "3.12.3 (main, Feb  4 2025, 14:48:35) [GCC 13.3.0] (64-bit runtime)", said
        )
        python = read(text, tables)[1].interpreter.value
        assert python is not None
        assert (python.tag, python.bits) == (tag, bits)


# --- files ---


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "neither an envfix snapshot nor a collect_env report"),
        ("hello", "neither an envfix snapshot nor a collect_env report"),
        ("PyTorch version: 2.0.1\nPython version: 3.8", "neither an envfix snapshot nor a collect_env report"),
        ("PyTorch version\n" * 100_000, "neither an envfix snapshot nor a collect_env report"),
        ("[1, 2]", "neither an envfix snapshot nor a collect_env report"),
        ("{", "is not JSON"),
        ('{"schema": "other/1"}', "is not an envfix snapshot"),
    ],
)
def test_other_files_are_refused_with_what_is_accepted(
    content: str, words: str, tables: Tables, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SnapshotError, match=words) as caught:
        read_snapshot(RealHost(), str(file), tables)
    assert "envfix snapshot -o" in (caught.value.hint or "")


def test_folder_pipe_and_missing_file_are_refused(tables: Tables, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (".", "pipe", "missing"):
        with pytest.raises(SnapshotError, match="cannot read"):
            read_snapshot(RealHost(), str(tmp_path / name), tables)


HOSTILE = {
    "one endless line": "PyTorch version: 1.0\nOS: x\nPython version: " + "3.8." * 5_000_000,
    "a list without end": text_of("torch-2.6-rtx5090") + "[pip3] torch==2.6.0\n" * 500_000,
    "cards without end": text_of("torch-1.0-two-cards").replace("GPU 1", "GPU 7: x\n" * 300_000 + "GPU 1"),
    "brackets": "PyTorch version: 1.0\nOS: "
    + "(" * 100_000
    + "\nGCC version: "
    + "((" * 100_000
    + "\nPython version: 3",
    "reports without end": "PyTorch version: 1.0\nOS: Linux\nPython version: 3.8\n" * 200_000,
    "passwords without end": text_of("torch-2.6-rtx5090") + "[conda] token=://a://b://c\n" * 200_000,
    "control characters": text_of("torch-2.6-rtx5090").replace("RTX 5090", "\x1b]0;owned\x07\x00\u202e" * 50),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_report_is_read_in_time(name: str, tables: Tables) -> None:
    start = time.monotonic()
    found = lines.find(HOSTILE[name])
    assert found is not None
    diagnose(*facts.read(found, tables), tables)
    assert time.monotonic() - start < 5


def test_bytes_that_are_no_text(tables: Tables, tmp_path: Path) -> None:
    file = tmp_path / "report.txt"
    file.write_bytes(text_of("torch-2.0-windows").replace("Education", "\u4e13\u4e1a\u7248").encode("gbk"))
    saved = read_snapshot(RealHost(), str(file), tables)
    assert summary(saved.machine, saved.environment) == SAID["torch-2.0-windows"]


# --- the commands ---


def envfix(*arguments: str) -> tuple[int, dict[str, Any]]:
    answer = subprocess.run([sys.executable, "-m", "envfix", *arguments], capture_output=True, text=True, check=False)
    document: dict[str, Any] = json.loads(answer.stdout)
    return answer.returncode, document


def test_diagnose_from_a_report() -> None:
    code, document = envfix("diagnose", "--from", str(REPORTS / "torch-2.1-driver-too-old.txt"), "--json")
    assert code == 1
    assert document["findings"][0]["cause"] == "driver_too_old_for_wheel"
    assert document["facts"]["machine"]["driver"] == {
        "source": "collect_env report", "value": {"version": "470.57.02"},
    }  # fmt: skip


def test_plan_from_a_report() -> None:
    code, document = envfix("plan", "--from", str(REPORTS / "torch-2.1-driver-too-old.txt"), "--offline", "--json")
    assert (code, document["status"]) == (0, "ok")
    target = document["target"]
    assert (target["python"], target["tag"], target["platform"]) == ("3.8.18", "cp38", "linux_x86_64")
    assert (target["driver"], len(target["gpus"])) == ("470.57.02", 2)
    assert (document["choice"]["torch"], document["choice"]["variant"]) == ("2.4.1", "cu118")


def test_plan_from_a_report_without_a_processor_asks_for_it() -> None:
    report = str(REPORTS / "torch-1.0-two-cards.txt")
    code, document = envfix("plan", "--from", report, "--offline", "--json")
    assert code == 2
    assert "the report names no processor" in document["error"]["message"]
    code, document = envfix("plan", "--from", report, "--platform", "linux_x86_64", "--offline", "--json")
    assert document["target"]["platform"] == "linux_x86_64"
    assert document["target"]["driver"] == "410.79"


def test_real_report_of_this_machine_is_read(tables: Tables) -> None:
    python = "/usr/bin/python3"
    argv = [python, "-m", "torch.utils.collect_env"]
    if not os.path.exists(python):
        pytest.skip("no /usr/bin/python3 here")
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")
    if answer.returncode != 0:
        pytest.skip("the system's Python has no torch (python3-torch)")
    machine, environment = read(answer.stdout, tables)
    assert environment.torch.value is not None
    assert environment.torch.value.build == answer.stdout.split("PyTorch version: ")[1].split("\n")[0]
    assert machine.platform.value is not None
    assert machine.platform.value.machine == os.uname().machine
    assert machine.driver.value is None or machine.driver.value.version > DriverVersion.parse("300")
