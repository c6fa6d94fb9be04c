"""Which Python is this: how bad each finding is, what it says, and that its commands are the ones for this very shell."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envfix.model.facts import (
    Command,
    CondaInstall,
    CondaRecord,
    Distribution,
    Elsewhere,
    Environment,
    Machine,
    Startup,
    TorchImport,
    absent,
    found,
    unknown,
)
from envfix.model.finding import Finding
from envfix.rules._environments import activation, conda_name
from envfix.rules._rule import all_rules, diagnose, judge
from envfix.rules._wheels import is_served
from envfix.tables.loader import Tables
from tests.made_up import NO_TORCH, all_hand_made, card, environment, machine, placed, torch
from tests.made_up.interpreters import (
    CONDA,
    FIRST_OF_USER,
    GONE,
    INTEL_MAC,
    MAC,
    NEWER,
    OF_CONDA,
    OF_SHELL,
    PIP,
    SITE,
    SYSTEM,
    ULTRALYTICS,
    USER_SITE,
    active,
    commands,
    copy,
    installed,
    near,
    of,
    started,
)

HAND_MADE = all_hand_made()


def finding_of(code: str, facts: tuple[Machine, Environment], tables: Tables) -> Finding:
    return next(one for one in diagnose(judge(*facts, tables)).findings if one.code == code)


def of_entry(code: str, name: str, tables: Tables) -> Finding:
    return finding_of(code, HAND_MADE[name][:2], tables)


@pytest.mark.parametrize(
    ("code", "name", "severity"),
    [
        ("INT101", "active environment has torch, python is another", "error"),
        ("INT101", "active environment is passed by, torch works", "warning"),
        ("INT101", "active environment without a Python of its own", "warning"),
        ("INT101", "active environment that was deleted", "info"),
        ("INT101", "pip of another Python hides the target's own", "warning"),
        ("INT101", "pip of another Python beside one without pip", "info"),
        ("INT101", "pip of another Python beside one that shines through from the system", "info"),
        ("INT101", "yolo of another Python hides the target's own", "warning"),
        ("INT101", "active environment has a torch with CUDA, python has the system's CPU build", "error"),
        ("INT101", "active environment whose own python is gone", "error"),
        ("INT101", "active environment has a torch, that of python cannot be imported", "error"),
        ("INT101", "active environment has a CPU build, and python one with CUDA", "warning"),
        ("INT101", "yolo of a Python without torch", "warning"),
        ("INT101", "yolo of a Python that has torch", "info"),
        ("INT101", "yolo of the system's Python, whose torch pip put into /usr/local", "info"),
        ("INT105", "typing_extensions.py in the working folder", "warning"),
        ("INT105", "yaml.py in the working folder of somebody with ultralytics", "warning"),
        ("INT104", "torch of the user hides conda's", "error"),
        ("INT104", "numpy of the user hides conda's", "warning"),
        ("INT105", "torch.py in the working folder", "error"),
        ("INT105", "torch/ in the working folder", "error"),
        ("INT105", "random.py in the working folder", "warning"),
        ("INT106", "Debian's Python without torch", "warning"),
        ("INT106", "Debian's Python with torch and without ultralytics", "info"),
        ("INT107", "ultralytics without yolo on PATH", "warning"),
        ("INT107", "ultralytics of an environment that is not active", "info"),
        ("INT107", "yolo whose Python is gone", "error"),
        ("INT111", "the placeholder pytorch", "error"),
        ("INT122", "Windows without the C++ runtime", "warning"),
        ("VAR102", "PIP_USER in a virtual environment", "info"),
        ("VAR102", "PIP_TARGET that Python does not look into", "warning"),
        ("CND101", "conda is near, and the shell does not know it", "warning"),
        ("CND101", "conda is near and nobody needs it", "info"),
    ],
)
def test_finding_is_as_bad_as_it_is(code: str, name: str, severity: str, tables: Tables) -> None:
    assert of_entry(code, name, tables).severity.value == severity


def test_base_of_conda_is_nobodys_environment_to_mean(tables: Tables) -> None:
    """Many shells activate it always; a Python of pyenv before it is no fault."""
    startup = started(
        active=(active(prefix="/opt/conda"),), conda_roots=("/opt/conda",), variables={"CONDA_SHLVL": "1"}
    )
    assert finding_of("INT101", (machine(), of(SYSTEM, startup=startup)), tables).severity.value == "info"


def test_story_of_the_seed_is_told_in_its_order(tables: Tables) -> None:
    """Conda shows torch, the terminal has none: which record, which variable, which Python, which came first."""
    python = Command(
        name="python", path="/usr/bin/python3", real="/usr/bin/python3", kind="program", prefix="/usr",
        later=(f"{CONDA}/bin/python",),
    )  # fmt: skip
    pip = Command(name="pip", path="/usr/bin/pip", real="/usr/bin/pip", kind="script", prefix="/usr")
    yolo = Command(name="yolo", path="/home/li/bin/yolo", real="/home/li/bin/yolo", kind="script", prefix="/third")
    startup = started(home="/usr", active=(active(),), variables={"CONDA_SHLVL": "1", "CONDA_PREFIX": CONDA})
    facts = (
        machine(commands=found((python, pip, yolo), "PATH")),
        of(SYSTEM, **GONE, startup=startup, elsewhere=near(record="pytorch 2.0.1 py3.8_cuda11.7_0", conda=True)),
    )
    finding = finding_of("INT101", facts, tables)
    assert finding.message == (
        f"The environment {CONDA} is active and has torch 2.0.1, but `python` is /usr/bin/python3, which has none."
    )
    assert [evidence.value for evidence in finding.because] == [
        "`conda list` of that environment shows pytorch 2.0.1 py3.8_cuda11.7_0",
        f"CONDA_PREFIX={CONDA}",
        "/usr/bin/python3 runs, whose packages are in /usr",
        "there is no folder named torch in /usr/lib/p",
        f"{CONDA}/bin/python comes only later on PATH",
        "`yolo` is /home/li/bin/yolo and belongs to /third",
    ]
    assert finding.remedies[0].commands == (("conda", "deactivate"), ("conda", "activate", "yolov8_env"))
    assert finding.remedies[1].commands[0][0] == f"{CONDA}/bin/python"
    assert all(remedy.safe for remedy in finding.remedies)


def test_alias_and_pythonhome_are_part_of_the_chain(tables: Tables) -> None:
    startup = started(
        active=(active(),), aliases={"python": "/usr/bin/python3 (~/.bashrc)"}, variables={"PYTHONHOME": "/usr"}
    )
    finding = finding_of("INT101", (machine(), of(SYSTEM, startup=startup)), tables)
    said = [evidence.value for evidence in finding.because]
    assert "alias python=/usr/bin/python3 (~/.bashrc)" in said
    assert "PYTHONHOME=/usr" in said


def test_never_advised_is_what_makes_it_worse(tables: Tables) -> None:
    """No reinstalling into the wrong place, no sudo, no --user, no --break-system-packages, nothing about toolkits."""
    own = {rule.code for rule in all_rules() if rule.code.startswith(("INT", "VAR", "CND101"))}
    for machine_facts, environment_facts, _ in HAND_MADE.values():
        for one in diagnose(judge(machine_facts, environment_facts, tables)).findings:
            if one.code in own:
                words = [word for remedy in one.remedies for argv in remedy.commands for word in argv]
                assert not {"sudo", "--user", "--break-system-packages", "--trusted-host"} & set(words)
                assert not ("install" in words and "torch" in words)


def test_wrapper_without_a_python_behind_it_is_put_back_by_conda(tables: Tables) -> None:
    facts = (
        machine(conda=found(CondaInstall(program="/opt/conda/bin/conda"), "PATH")),
        of(SYSTEM, **GONE, startup=started(bypassed=active(variable="-", python=None)), elsewhere=near()),
    )
    (remedy,) = finding_of("INT101", facts, tables).remedies
    assert remedy.commands == (("/opt/conda/bin/conda", "install", "--prefix", CONDA, "--force-reinstall", "python"),)
    assert remedy.safe is False


def test_torch_that_lies_in_another_python_by_chance_is_not_the_only_way(tables: Tables) -> None:
    facts = (
        machine(),
        of(OF_SHELL, **GONE, elsewhere=near("/usr/local", kind="system", python="/usr/local/bin/python3")),
    )
    remedies = finding_of("INT101", facts, tables).remedies
    assert [remedy.commands[0][0] for remedy in remedies] == ["/usr/local/bin/python3", "envfix"]


def test_place_without_a_python_is_not_offered_to_be_run(tables: Tables) -> None:
    place = Elsewhere(prefix="/home/li/.local", torch="2.0.1", kind="user", python_version="3.11")
    finding = finding_of("INT101", (machine(), of(OF_SHELL, **GONE, elsewhere=found((place,), "near"))), tables)
    assert [remedy.commands for remedy in finding.remedies] == [(("envfix", "install", "--new-env", "yolo-env"),)]


@pytest.mark.parametrize(
    ("said", "conda", "activate", "expected"),
    [
        ({"shell": "bash"}, False, "/e/bin/activate", [("source", "/e/bin/activate")]),
        ({"shell": "zsh"}, False, "/e/bin/activate", [("source", "/e/bin/activate")]),
        ({"shell": "fish"}, False, "/e/bin/activate", [("source", "/e/bin/activate.fish")]),
        ({"shell": "tcsh"}, False, "/e/bin/activate", [("source", "/e/bin/activate.csh")]),
        ({"shell": "dash"}, False, "/e/bin/activate", [(".", "/e/bin/activate")]),
        ({}, False, "C:\\e\\Scripts\\activate.bat", [("C:\\e\\Scripts\\activate.bat",)]),
        ({"variables": {"CONDA_SHLVL": "0"}}, True, None, [("conda", "activate", "yolov8_env")]),
        (
            {"conda_roots": ("/opt/conda",), "shell": "bash"},
            True,
            None,
            [("source", "/opt/conda/etc/profile.d/conda.sh"), ("conda", "activate", "yolov8_env")],
        ),
        ({}, True, None, []),
        ({}, False, None, []),
    ],
)
def test_activation_is_the_one_of_this_shell(
    said: dict[str, Any],
    conda: bool,  # noqa: FBT001
    activate: str | None,
    expected: list[tuple[str, ...]],
) -> None:
    assert list(activation(Startup(**said), CONDA, conda=conda, activate=activate)) == expected


def test_environment_of_conda_is_named_where_it_has_a_name() -> None:
    assert conda_name("/home/li/.conda/envs/yolov8_env") == "yolov8_env"
    assert conda_name("/data/projects/env") == "/data/projects/env"


def test_build_of_the_user_explains_what_is_wrong_with_it(tables: Tables) -> None:
    """On a machine with a card the user's CPU build is the symptom, and its being there the cause."""
    facts = (
        machine(cards=[card()]),
        of(
            OF_CONDA,
            startup=started(copies=FIRST_OF_USER),
            torch=torch("2.1.2+cpu", None, None),
            torchvision=absent("-"),
        ),
    )
    ordered = diagnose(judge(*facts, tables)).findings
    assert [(one.code, one.follows_from) for one in ordered] == [("INT104", None), ("TOR101", "INT104")]
    assert ordered[0].remedies[0].commands == (("export", "PYTHONNOUSERSITE=1"),)
    assert [remedy.safe for remedy in ordered[0].remedies] == [True, False]
    with_conda = (machine(commands=commands(("conda", "/opt/conda/bin/conda", "/opt/conda"))), facts[1])
    argv = finding_of("INT104", with_conda, tables).remedies[1].commands[0]
    assert argv == ("conda", "env", "config", "vars", "set", "--prefix", "/env", "PYTHONNOUSERSITE=1")


@pytest.mark.parametrize(
    ("interpreter", "copies", "severity"),
    [
        (OF_SHELL, FIRST_OF_USER, "error"),
        (OF_CONDA, (copy("torch", USER_SITE, "1.8.0", user_site=True), copy("torch", SITE, "1.8.0")), "info"),
        (msgspec.structs.replace(OF_CONDA, kind="system"), FIRST_OF_USER, "info"),
    ],
)
def test_copy_of_the_user_is_as_bad_as_it_differs(interpreter: Any, copies: Any, severity: str, tables: Tables) -> None:
    finding = finding_of("INT104", (machine(), of(interpreter, startup=started(copies=copies))), tables)
    assert finding.severity.value == severity


def test_pythonpath_is_left_without_the_folder_that_hides(tables: Tables) -> None:
    finding = of_entry("INT105", "torch of PYTHONPATH hides the environment's", tables)
    assert finding.remedies[0].commands == (("export", "PYTHONPATH=/data/more"),)
    alone = started(
        variables={"PYTHONPATH": "old"},
        working_folder="/data",
        copies=(copy("torch", "/data/old", "1.4.0"), copy("torch", SITE, "1.9.0")),
    )
    assert finding_of("INT105", (machine(), of(OF_SHELL, startup=alone)), tables).remedies[0].commands == (
        ("unset", "PYTHONPATH"),
    )
    windows = started(
        variables={"PYTHONPATH": "C:\\old;D:\\more;D:\\last"},
        copies=(copy("torch", "C:\\old", "1.4.0"), copy("torch", SITE, "1")),
    )
    assert finding_of("INT105", (machine(), of(OF_SHELL, startup=windows)), tables).remedies[0].commands == (
        ("export", "PYTHONPATH=D:\\more;D:\\last"),
    )


def test_worst_shadow_leads_and_all_are_put_away(tables: Tables) -> None:
    shadows = ("random.py", "torch.py", "ultralytics/")
    facts = of(
        msgspec.structs.replace(OF_SHELL, shadows=shadows),
        startup=started(working_folder="/data/of/li"),
        distributions=installed(ULTRALYTICS),
    )
    finding = finding_of("INT105", (machine(), facts), tables)
    assert finding.message.startswith("The file torch.py in /data/of/li hides")
    assert [remedy.commands for remedy in finding.remedies] == [
        (("mv", "/data/of/li/torch.py", "/data/of/li/my_torch.py"),),
        (("mv", "/data/of/li/random.py", "/data/of/li/my_random.py"),),
        (("cd", "/data/of"),),
    ]


def test_clone_of_ultralytics_beside_an_installed_one_is_only_good_to_know(tables: Tables) -> None:
    facts = of(
        msgspec.structs.replace(OF_SHELL, shadows=("ultralytics/",)),
        distributions=installed(ULTRALYTICS),
    )
    diagnosis = diagnose(judge(machine(), facts, tables))
    assert (diagnosis.verdict, [one.code for one in diagnosis.findings]) == ("healthy", ["INT105"])


@pytest.mark.parametrize(
    ("rows", "begin"),
    [
        ((ULTRALYTICS, PIP), "/env/bin/python -m pip install --force-reinstall"),
        ((ULTRALYTICS,), "/env/bin/python -m ensurepip --upgrade"),
    ],
)
def test_damaged_command_is_written_anew_by_what_is_there(rows: Any, begin: str, tables: Tables) -> None:
    yolo = Command(name="yolo", path="/env/bin/yolo", real="/env/bin/yolo", kind="script", problem="it is gone")
    facts = (
        machine(commands=absent("PATH")),
        of(
            msgspec.structs.replace(OF_SHELL, ensurepip=True),
            distributions=installed(*rows),
            startup=started(own_commands=(yolo,)),
        ),
    )
    (remedy,) = finding_of("INT107", facts, tables).remedies
    assert " ".join(remedy.commands[0]).startswith(begin)
    assert remedy.commands[-1][-1] == "ultralytics==8.2.0"


def test_python_that_is_advised_has_wheels(tables: Tables) -> None:
    for facts in ((machine(), of(NEWER, **GONE)), (machine(platform=MAC), of(INTEL_MAC, **GONE))):
        platform = facts[1].interpreter.value.platform_tag if facts[1].interpreter.value else ""
        for one in diagnose(judge(*facts, tables)).findings:
            for remedy in one.remedies:
                for argv in remedy.commands:
                    if "--python" in argv:
                        tag = "cp" + argv[argv.index("--python") + 1].replace(".", "")
                        assert tables.wheels.find("torch", python=tag, platform=platform), argv


def test_missing_platform_explains_the_missing_python(tables: Tables) -> None:
    ordered = diagnose(judge(machine(platform=MAC), of(INTEL_MAC, **GONE), tables)).findings
    assert [(one.code, one.follows_from) for one in ordered][:2] == [("INT110", None), ("INT109", "INT110")]
    assert "2.2.2" in ordered[0].message
    silicon = placed(system="darwin", machine="arm64", tag="macosx_arm64", libc=None)
    translated = finding_of("INT110", (machine(platform=silicon), of(INTEL_MAC, **GONE)), tables)
    assert "native arm64" in translated.remedies[0].text


def test_runtime_of_windows_is_an_error_once_the_import_failed(tables: Tables) -> None:
    facts = of(
        OF_SHELL,
        startup=started(windows_missing_dlls=("vcruntime140_1.dll",)),
        torch_import=found(TorchImport(ok=False, seconds=1, error="[WinError 126] fbgemm.dll"), "import torch"),
    )
    finding = finding_of("INT122", (machine(), facts), tables)
    assert finding.severity.value == "error"
    assert "[WinError 126] fbgemm.dll" in [evidence.value for evidence in finding.because]


def test_facts_that_an_older_envfix_did_not_record_raise_no_doubt(tables: Tables) -> None:
    diagnosis = diagnose(judge(machine(), environment(), tables))
    assert diagnosis.verdict == "healthy"
    assert {row.code for row in diagnosis.skipped} >= {"INT104", "INT107", "CND101"}


def test_pythonhome_is_blamed_only_where_python_does_not_start(tables: Tables) -> None:
    absent_python = environment(interpreter=absent("python on PATH", "none"), torch=NO_TORCH, torchvision=absent("-"))
    facts = (machine(variables={"PYTHONHOME": "/x"}), absent_python)
    assert "VAR101" not in {one.code for one in diagnose(judge(*facts, tables)).findings}
    silent = environment(
        interpreter=unknown("/p", "exit code 1"), torch=unknown("-", "-"), torchvision=unknown("-", "-")
    )
    assert "VAR101" not in {one.code for one in diagnose(judge(machine(), silent, tables)).findings}


@pytest.mark.parametrize(
    "platform", ["linux_x86_64", "linux_aarch64", "win_amd64", "win_arm64", "macosx_x86_64", "win32"]
)
@pytest.mark.parametrize("tag", ["cp36", "cp38", "cp311", "cp313", "cp313t", "cp314t", "cp319", "pp39"])
def test_quick_look_into_the_rows_agrees_with_the_list_of_wheels(tag: str, platform: str, tables: Tables) -> None:
    asked = msgspec.structs.replace(OF_SHELL, tag=tag, platform_tag=platform)
    assert is_served(tables, asked) == bool(tables.wheels.find("torch", python=tag, platform=platform))


# --- another environment is meant ---


@pytest.mark.parametrize(
    ("name", "order"),
    [
        (
            "active environment has a torch with CUDA, python has the system's CPU build",
            [("INT101", None), ("TOR101", "INT101")],
        ),
        (
            "active environment has a torch, that of python cannot be imported",
            [("INT101", None), ("TOR103", "INT101")],
        ),
        (
            "torch.py in the working folder beside faults of the installed torch",
            [("INT105", None), ("TOR101", None)],
        ),
    ],
)
def test_root_is_what_really_explains(name: str, order: list[tuple[str, str | None]], tables: Tables) -> None:
    ordered = diagnose(judge(*HAND_MADE[name][:2], tables)).findings
    assert [(one.code, one.follows_from) for one in ordered] == order


def test_torch_of_the_active_environment_is_named_beside_that_of_python(tables: Tables) -> None:
    finding = of_entry("INT101", "active environment has a torch with CUDA, python has the system's CPU build", tables)
    assert finding.message == (
        "The environment /data/env is active and has torch 1.9.0+cu111, but `python` is /usr/bin/python3, which has"
        " torch 1.13.0a0."
    )
    assert finding.remedies[0].commands == (("source", "/data/env/bin/activate"),)
    assert finding.remedies[1].commands[0][0] == "/data/env/bin/python"


def test_environment_whose_python_is_gone_gets_one_of_its_own_version(tables: Tables) -> None:
    machine_facts, facts, _ = HAND_MADE["active environment whose own python is gone"]
    finding = finding_of("INT101", (machine_facts, facts), tables)
    assert "but no Python of its own that works: `python` is /usr/bin/python3" in finding.message
    assert [remedy.commands[0][0] for remedy in finding.remedies] == ["envfix"]
    (place,) = facts.elsewhere.value or ()
    same = found((msgspec.structs.replace(place, python_version="3.8"),), "near by")
    first = finding_of("INT101", (machine_facts, msgspec.structs.replace(facts, elsewhere=same)), tables).remedies[0]
    assert first.commands[1] == ("/usr/bin/python3", "-m", "venv", "--upgrade", "--without-pip", "/data/env")
    assert not first.safe


def test_pythonpath_explains_the_build_that_it_brings(tables: Tables) -> None:
    startup = started(
        variables={"PYTHONPATH": "/data/old"},
        copies=(copy("torch", "/data/old", "1.4.0"), copy("torch", SITE, "1.9.0")),
    )
    facts = of(OF_SHELL, startup=startup, torch=torch("1.4.0+cpu", None, None), torchvision=absent("-"))
    ordered = diagnose(judge(machine(), facts, tables)).findings
    assert [(one.code, one.follows_from) for one in ordered] == [("INT105", None), ("TOR101", "INT105")]


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ((("/usr", "1.13.0a0", "system"), ("/a", "1.9.0+cu111", "conda")), "/a"),
        ((("/a", "2.1.2+cpu", "folder"), ("/b", "2.14.1+cu130", "folder"), ("/c", "1.9.0+cu111", "conda")), "/c"),
        ((("/a", "2.1.2+cpu", "folder"), ("/b", "2.0.1", "folder")), "/b"),
        ((("/a", "2.1.2+cpu", "folder"), ("/b", "2.14.1+cu130", "folder")), "/b"),
        ((("/a", "1.9.0", "folder"), ("/b", "1.9.0+cu111", "folder")), "/b"),
    ],
)
def test_torch_that_runs_on_the_card_is_offered_first(places: Any, first: str, tables: Tables) -> None:
    rows = tuple(
        Elsewhere(prefix=prefix, torch=build, kind=kind, python=f"{prefix}/bin/python")
        for prefix, build, kind in places
    )
    finding = finding_of("INT101", (machine(), of(OF_SHELL, **GONE, elsewhere=found(rows, "near by"))), tables)
    assert f"is installed in {first}," in finding.message
    without = finding_of("INT101", (machine(None), of(OF_SHELL, **GONE, elsewhere=found(rows, "near by"))), tables)
    assert f"is installed in {rows[0].prefix}," in without.message


def test_record_of_conda_tells_a_cpu_build(tables: Tables) -> None:
    rows = (
        Elsewhere(prefix="/a", torch="2.0.1", python="/a/bin/python", record="pytorch 2.0.1 py3.8_cpu_0", kind="conda"),
        Elsewhere(
            prefix="/b", torch="1.9.0", python="/b/bin/python", record="pytorch 1.9.0 py3.8_cuda11.1_cudnn8.0.5_0"
        ),
    )
    facts = (machine(), of(OF_SHELL, **GONE, elsewhere=found(rows, "near by")))
    assert "is installed in /b," in finding_of("INT101", facts, tables).message


def test_only_cpu_builds_near_a_card_are_called_so(tables: Tables) -> None:
    rows = near("/a", torch="2.1.2+cpu", kind="folder")
    finding = finding_of("INT101", (machine(), of(OF_SHELL, **GONE, elsewhere=rows)), tables)
    assert finding.message.endswith("; that one is a CPU build, which cannot use the GPU of this machine.")
    assert [remedy.commands[0][0] for remedy in finding.remedies] == ["envfix", "/a/bin/python"]


# --- whose command ---


@pytest.mark.parametrize(
    ("interpreter", "prefix", "expected"),
    [
        ("/usr/bin/python3.11", "/usr", "/env/bin/python"),
        ("/usr/bin/python3.11", "/env", "/env/bin/python"),
        ("/env/bin/python3.8", "/env", "/home/li/.local/bin/yolo"),
        ("/env/bin/python", "/env", "/home/li/.local/bin/yolo"),
    ],
)
def test_own_command_is_one_that_starts_this_python(
    interpreter: str, prefix: str, expected: str, tables: Tables
) -> None:
    path = "/home/li/.local/bin/yolo"
    own = Command(name="yolo", path=path, real=path, kind="script", interpreter=interpreter, prefix=prefix)
    facts = (
        machine(commands=commands(("yolo", "/third/bin/yolo", "/third"))),
        of(OF_SHELL, distributions=installed(ULTRALYTICS), startup=started(own_commands=(own,))),
    )
    assert finding_of("INT101", facts, tables).remedies[-1].commands[0][0] == expected


def test_message_says_whose_the_commands_are(tables: Tables) -> None:
    alone = of_entry("INT101", "pip of another Python beside one without pip", tables)
    assert (
        alone.message
        == "The command `pip` (/usr/bin/pip) belongs to the Python in /usr, not to `python` (/env/bin/python)."
    )
    torchless = of_entry("INT101", "yolo of a Python without torch", tables)
    assert torchless.message.endswith("(/env/bin/python), and that Python of `yolo` has no torch.")
    rows = commands(("pip", "/usr/bin/pip", "/usr"), ("yolo", "/opt/t/bin/yolo", "/opt/t"))
    both = finding_of("INT101", (machine(commands=rows), of(OF_SHELL, startup=started())), tables).message
    assert "`pip` (/usr/bin/pip) to the Python in /usr and `yolo` (/opt/t/bin/yolo) to the Python in /opt/t" in both


# --- an interpreter that cannot be asked ---


def no_answer(problem: str, **facts: Any) -> Environment:
    nothing: Any = unknown("-", "no answer")
    return environment(interpreter=unknown("/env/bin/python", problem), torch=nothing, torchvision=nothing, **facts)


def test_pythons_near_by_are_named_and_not_the_one_that_failed(tables: Tables) -> None:
    rows = tuple(
        Command(name=name, path=path, real=path, kind="script", interpreter=python, problem=problem, later=later)
        for name, path, python, problem, later in (
            ("python", "/env/bin/python", "/env/bin/python", None, ("/opt/py/bin/python",)),
            ("python3", "/usr/bin/python3", "/usr/bin/python3", None, ()),
            ("yolo", "/dead/bin/yolo", "/dead/bin/python", "it is gone", ()),
            ("pip", "/usr/bin/pip", "/usr/bin/python3", None, ()),
        )
    )
    (remedy,) = finding_of(
        "INT102", (machine(commands=found(rows, "PATH")), no_answer("exit code 127")), tables
    ).remedies
    assert [argv[-1] for argv in remedy.commands] == ["/usr/bin/python3", "/opt/py/bin/python"]


def test_where_no_python_is_near_a_new_one_is_made(tables: Tables) -> None:
    (remedy,) = finding_of("INT102", (machine(), no_answer("exit code 127")), tables).remedies
    assert remedy.commands[0][:4] == ("envfix", "install", "--new-env", "yolo-env")


def test_python_that_hangs_is_tried_without_its_start_files(tables: Tables) -> None:
    first = finding_of("INT102", (machine(), no_answer("no answer within 10 seconds")), tables).remedies[0]
    assert first.commands == (
        ("/env/bin/python", "-S", "-c", "pass"),
        ("/env/bin/python", "-I", "-c", "pass"),
    )


# --- a torch that pip does not know ---


def test_torch_without_metadata_is_told(tables: Tables) -> None:
    here = torch().value
    assert here is not None
    lying = found(msgspec.structs.replace(here, location=f"{SITE}/torch"), "version.py")
    finding = finding_of("FAM106", (machine(), of(OF_SHELL, torch=lying)), tables)
    assert finding.severity.value == "warning"
    assert finding.message.startswith(f"torch 1.9.0+cu111 lies in {SITE}/torch, but pip does not know it")
    row = Distribution(name="torch", version="1.9.0+cu111", location=SITE)
    diagnosis = diagnose(judge(machine(), of(OF_SHELL, torch=lying, distributions=installed(row)), tables))
    assert not any(one.code == "FAM106" for one in diagnosis.findings)
    by_conda = of(
        OF_CONDA,
        torch=lying,
        conda_records=found((CondaRecord(name="pytorch", version="1.9.0", build="py3.8_cuda11.1_0"),), "conda-meta"),
    )
    assert not any(one.code == "FAM106" for one in diagnose(judge(machine(), by_conda, tables)).findings)
