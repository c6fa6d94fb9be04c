"""What the rules for drivers, cards, containers and memory say and advise, on made-up facts."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from envfix.model.facts import NOT_ASKED, GpuProcess, unknown
from envfix.model.finding import Finding, Severity
from envfix.rules._devices import shown_cards
from envfix.rules._rule import all_rules, diagnose, judge
from envfix.rules.ctr103_container_cuda_newer_than_driver import parse_requirement
from envfix.tables.loader import Tables
from tests.made_up import FULL, IDLE, card, environment, layers, machine, placed
from tests.made_up.devices import (
    HAND_MADE,
    HELD,
    IN_DOCKER,
    INSTANCES,
    OTHER_ID,
    TWO,
    facts,
    job,
    said,
    state,
    visible,
    works,
)


def finding(name: str, code: str, tables: Tables) -> Finding:
    """The finding of this code that an entry of the made-up facts gives."""
    return next(one for one in diagnose(judge(*facts(name), tables)).findings if one.code == code)


def text_of(one: Finding) -> str:
    commands = (" ".join(argv) for remedy in one.remedies for argv in remedy.commands)
    return "\n".join(itertools.chain((remedy.text for remedy in one.remedies), commands))


MINE = ("DRV", "GPU", "CTR", "MEM", "VAR")


@pytest.mark.parametrize("name", HAND_MADE)
def test_nobody_is_told_to_install_cuda_or_to_use_sudo(name: str, tables: Tables) -> None:
    for one in diagnose(judge(*facts(name), tables)).findings:
        if one.code.startswith(MINE):
            assert "sudo" not in text_of(one)
            assert not any(word in text_of(one) for word in ("install CUDA", "CUDA toolkit", "NVIDIA_DISABLE_REQUIRE"))
            assert not any(
                argv[0] in ("modprobe", "rmmod", "reboot", "usermod") for r in one.remedies for argv in r.commands
            )


@pytest.mark.parametrize(
    ("name", "code", "message", "advice"),
    [
        ("nouveau holds the card", "DRV103", "nouveau holds the card", "keeps nouveau from loading"),
        ("card given to a virtual machine", "DRV103", "virtual machine", "give it back"),
        ("module of an older kernel only", "DRV103", "none for the running kernel", "rebuild the driver"),
        ("module is there, and Secure Boot is on", "DRV103", "Secure Boot", "sign the module"),
        ("new card under the proprietary module", "DRV103", "works only with the open one", "open kernel modules"),
        ("card that could not be started", "DRV103", "could not start the card", "NVRM"),
        ("unknown error of CUDA while the driver answers", "DRV104", "in a bad state", "reload the module nvidia_uvm"),
        ("container without the file of nvidia_uvm", "DRV104", "/dev/nvidia-uvm is missing", "--gpus all"),
        ("control file is closed to this user", "DRV105", "may not open /dev/nvidiactl", "to the group video"),
        ("member of the group since the last login only", "DRV105", "/dev/nvidiactl", "newgrp video"),
        ("compatibility library on a card for players", "DRV106", "cannot start", "export LD_LIBRARY_PATH=/opt/lib"),
        ("torch says 804", "DRV106", "cannot start", "image"),
        ("NVSwitches without their manager", "DRV107", "fabric manager", "version 535.183.01"),
        ("driver without its library for computing", "DRV108", "libcuda.so.1", "compute libraries"),
        ("torch says what no other rule knows", "DRV109", "torch cannot start CUDA", "Reboot"),
        ("libcuda of another version than everything else", "DRV102", "files 535.183.01, loaded module 550.54.14", "Reboot"),
        ("card that computes for nobody", "GPU104", "GPU 0", "CUDA_VISIBLE_DEVICES=GPU-"),
        ("virtual card without a licence", "GPU105", "has no licence", "provider"),
        ("two instances, none named", "GPU106", "one MIG instance", f"CUDA_VISIBLE_DEVICES={INSTANCES[0].uuid}"),
        ("MIG without an instance", "GPU106", "no instance was made", "administrator"),
        ("memory that can no longer be repaired", "GPU107", "no software", "Use GPU 1 meanwhile"),
        ("CPU wheel on a Jetson", "GPU108", "R35.4.1", "NVIDIA builds for L4T R35.4.1"),
        ("docker without NVIDIA's toolkit", "CTR102", "container toolkit", "nvidia-container-toolkit"),
        ("image for a newer CUDA, on cards for players", "CTR103", "CUDA 12.8", "CUDA 12.4 or older"),
        ("container that lost its card", "CTR104", "has lost its GPU", "start it again"),
        ("Linux driver over Windows'", "CTR105", "over the one of Windows", "LD_LIBRARY_PATH=/usr/lib/wsl/lib"),
        ("control group allows 1 GiB", "MEM101", "1.0 GiB allowed by the control group", "workers=0"),
        ("little memory to install with", "MEM103", "1.0 GiB", "--no-cache-dir"),
        ("docker's 64 MB of shared memory", "MEM104", "64 MiB", "--shm-size"),
        ("card that is full of one's own leftovers", "MEM102", "Your own", "kill 77"),
        ("all cards hidden by a number that is not there", "VAR110", "'2'", "unset CUDA_VISIBLE_DEVICES"),
        ("all cards hidden by a number that is repeated", "VAR110", "twice (0)", "export CUDA_VISIBLE_DEVICES=0\n"),
        ("full card that a number may mean", "MEM102", "GPU 0", f"PCI_BUS_ID CUDA_VISIBLE_DEVICES={OTHER_ID}"),
        ("full card that was given to the job", "MEM102", "GPU 0", "No card is free that this shell may use"),
        ("second card is not there", "VAR111", "(1)", "export CUDA_VISIBLE_DEVICES=0"),
        ("Slurm job without a card, which hides them", "VAR112", "Slurm job was given no GPU", "srun --gres=gpu:1"),
        ("node to log in", "VAR112", "where the jobs run", "srun --gres=gpu:1"),
        ("job on a node without a card", "VAR112", "PBS job", "ngpus=1"),
        ("card of another maker, named", "GPU101", "Radeon RX 7900 XTX", "Nothing to mend"),
    ],
)  # fmt: skip
def test_finding_names_what_is_wrong_and_what_to_do(
    name: str, code: str, message: str, advice: str, tables: Tables
) -> None:
    one = finding(name, code, tables)
    assert message in one.message
    assert advice in text_of(one)
    assert one.because


@pytest.mark.parametrize(
    ("name", "code", "severity"),
    [
        ("exclusive mode, nobody there", "GPU104", Severity.INFO),
        ("card that computes for nobody", "GPU104", Severity.WARNING),
        ("only card is in exclusive mode and taken", "GPU104", Severity.ERROR),
        ("two instances, none named", "GPU106", Severity.INFO),
        ("two instances, both named", "GPU106", Severity.WARNING),
        ("uncorrectable memory errors", "GPU107", Severity.WARNING),
        ("card that is lost", "GPU107", Severity.ERROR),
        ("docker without NVIDIA's toolkit", "CTR102", Severity.INFO),
        ("image for a newer CUDA, on cards for players", "CTR103", Severity.INFO),
        ("host without nvidia_uvm and without the program that loads it", "DRV104", Severity.WARNING),
        ("cards that wait for the fabric", "DRV107", Severity.WARNING),
        ("little memory to install with", "MEM103", Severity.INFO),
        ("all cards hidden by -1", "VAR110", Severity.WARNING),
        ("all cards hidden by a number that is not there", "VAR110", Severity.ERROR),
        ("node to log in", "VAR112", Severity.INFO),
        ("job on a node without a card", "VAR112", Severity.INFO),
        ("Slurm job without a card, which hides them", "VAR112", Severity.WARNING),
    ],
)
def test_severity_is_what_it_costs_the_user(name: str, code: str, severity: Severity, tables: Tables) -> None:
    assert finding(name, code, tables).severity == severity


@pytest.mark.parametrize(
    ("name", "symptom", "root"),
    [
        ("card that could not be started", "DRV103", "GPU107"),
        ("CPU wheel on a Jetson", "TOR101", "GPU108"),
        ("server wheel on a Jetson", "GPU103", "GPU108"),
    ],
)
def test_symptom_follows_from_its_root(name: str, symptom: str, root: str, tables: Tables) -> None:
    findings = diagnose(judge(*facts(name), tables)).findings
    assert findings[0].code == root
    assert finding(name, symptom, tables).follows_from == root


@pytest.mark.parametrize(
    ("value", "cards", "dropped"),
    [
        ("0", ("0",), ()),
        ("1,0", ("1", "0"), ()),
        ("0,2,1", ("0",), ("2", "1")),
        ("2,0", (), ("2", "0")),
        ("", (), ("",)),
        ("-1", (), ("-1",)),
        ("all", (), ("all",)),
        ("GPU-00000000-0000", ("GPU-00000000-0000",), ()),
        ("gpu-0", (), ("gpu-0",)),
        ("GPU-1", (), ("GPU-1",)),
    ],
)
def test_variable_is_read_as_cuda_reads_it(value: str, cards: tuple[str, ...], dropped: tuple[str, ...]) -> None:
    assert tuple(shown_cards(value, TWO)) == (cards, dropped)


def test_numbers_are_believed_where_a_job_has_some_cards_only() -> None:
    """The driver numbers the job's only card 2, CUDA may number it 0."""
    assert shown_cards("0", [card(index=2)]).cards == ("0",)
    assert shown_cards("2", [card(index=2)]).cards == ("2",)
    assert shown_cards("3", [card(index=2)]).cards == ()


def test_requirement_of_an_image_is_read_as_alternatives() -> None:
    assert parse_requirement("cuda>=12.4 brand=tesla,driver>=470,driver<471") == (
        (("cuda", ">=", "12.4"),),
        (("brand", "=", "tesla"), ("driver", ">=", "470"), ("driver", "<", "471")),
    )
    assert parse_requirement("") == parse_requirement("nonsense") == ()


def test_variable_of_windows_is_removed_as_windows_does(tables: Tables) -> None:
    facts_there = machine(platform=placed(system="win32", tag="win_amd64"), **visible("7"))
    one = next(f for f in diagnose(judge(facts_there, environment(), tables)).findings if f.code == "VAR110")
    assert one.remedies[0].commands == (("Remove-Item", "Env:CUDA_VISIBLE_DEVICES"),)


def test_holders_of_a_full_card_are_told_apart(tables: Tables) -> None:
    mine = GpuProcess(pid=77, user="me", command="python old.py", own=True)
    both = msgspec.structs.replace(FULL, processes=(*FULL.processes, mine))
    one = next(f for f in diagnose(judge(machine(cards=[both, IDLE]), environment(), tables)).findings)
    assert (one.code, one.message.startswith("Other processes")) == ("MEM102", True)
    assert [argv for remedy in one.remedies for argv in remedy.commands][1:] == [("kill", "77")]
    assert "of me (you)" in one.because[1].value
    assert "4242" not in text_of(one), "nobody is told to end what is another's"


def test_holders_that_nobody_tells_are_looked_for_where_they_can_be_seen(tables: Tables) -> None:
    silent = [card(free=0)]
    here = next(iter(diagnose(judge(machine(cards=silent), environment(), tables)).findings))
    assert ("fuser", "-v", "/dev/nvidia0") in here.remedies[0].commands
    inside = next(iter(diagnose(judge(machine(cards=silent, **IN_DOCKER), environment(), tables)).findings))
    assert "fuser" not in text_of(inside)
    assert "only the host can tell" in inside.because[0].value


def test_mismatch_in_a_container_blames_the_image_as_well(tables: Tables) -> None:
    broken = machine(
        driver_layers=layers(nvml_code=18, kernel="550.54.14", library="535.183.01"),
        driver=unknown("NVML", "broken"),
        gpus=unknown("NVML", "broken"),
        **IN_DOCKER,
    )
    one = next(f for f in diagnose(judge(broken, environment(), tables)).findings if f.code == "DRV102")
    assert "files in this container" in one.message
    assert "Reboot" in one.remedies[0].text
    assert "packages from this container's image" in one.remedies[1].text


def test_exclusive_card_names_its_holder(tables: Tables) -> None:
    one = finding("only card is in exclusive mode and taken", "GPU104", tables)
    assert "process 4242 of li" in one.because[0].value
    assert HELD[0].pid == 4242


def test_suspension_is_evidence_for_a_stale_module(tables: Tables) -> None:
    one = finding("unknown error of CUDA while the driver answers", "DRV104", tables)
    assert [evidence.fact for evidence in one.because] == ["environment.torch_import", "machine.device_state"]
    assert "suspended 2 times" in one.because[1].value


def test_machine_of_an_older_snapshot_raises_no_doubt(tables: Tables) -> None:
    """Facts that the envfix of that day did not ask for are skipped, and the machine stays healthy."""
    old = machine()
    assert old.device_state.problem == old.scheduler.problem == NOT_ASKED
    diagnosis = diagnose(judge(old, environment(), tables))
    assert (diagnosis.verdict, diagnosis.findings) == ("healthy", ())


def test_job_with_a_card_that_cannot_be_used_is_no_job_without_one(tables: Tables) -> None:
    facts_there = machine(
        gpus=unknown("NVML", "none of 1 cards may be used here"),
        driver_layers=works(),
        scheduler=job(granted="0"),
        device_state=state(),
    )
    assert "VAR112" not in [f.code for f in diagnose(judge(facts_there, said(None), tables)).findings]


def test_root_causes_keep_their_bands() -> None:
    """A driver that does not run explains what a wheel or a full memory could only add to."""
    ranks = {rule.code: rule.rank for rule in all_rules()}
    assert max(ranks[code] for code in ("DRV102", "DRV103", "DRV105", "CTR101", "CTR104", "GPU107")) < 20
    assert 20 <= ranks["VAR110"] < ranks["DRV101"] < ranks["MEM101"]


def test_a_card_that_the_job_was_not_given_is_not_proposed(tables: Tables) -> None:
    """Neither by name nor where nobody tells which of several cards is the job's."""
    name = "full card that was given to the job"
    assert OTHER_ID not in text_of(finding(name, "MEM102", tables))
    made, around = facts(name)
    untold = msgspec.structs.replace(made, variables={})
    told = next(one for one in diagnose(judge(untold, around, tables)).findings if one.code == "MEM102")
    assert "export" not in text_of(told)
