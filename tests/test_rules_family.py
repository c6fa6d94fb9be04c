"""The rules of the torch family and of native libraries: how bad, in which order, with which commands."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from envfix.model.facts import CondaInstall, Environment, Machine, Startup, absent, found
from envfix.model.finding import Diagnosis, Finding, Severity
from envfix.rules._family import requirements, shortened
from envfix.rules._rule import diagnose, judge
from envfix.rules.fam108_prebuilt_extension_abi_mismatch import built_for
from envfix.tables.loader import Tables
from tests.made_up import card, machine, torch, vision
from tests.made_up.family import (
    BUNDLED,
    CUDNN_GONE,
    HAND_MADE,
    NVJITLINK,
    PINNING,
    PIP,
    PYTHON_311,
    SERVER,
    T0,
    TORCH_DIST,
    VISION_DIST,
    WELL,
    binaries,
    binary,
    dist,
    imported,
    in_conda,
    libraries,
    modern,
    outside,
    packages,
    record,
)


def judged(tables: Tables, environment: Environment, on: Machine = SERVER) -> Diagnosis:
    return diagnose(judge(on, environment, tables))


def only(tables: Tables, code: str, environment: Environment, on: Machine = SERVER) -> Finding:
    """The finding of this code, which must be there."""
    (finding,) = [one for one in judged(tables, environment, on).findings if one.code == code]
    return finding


def commands(finding: Finding) -> list[str]:
    return [" ".join(argv) for remedy in finding.remedies for argv in remedy.commands]


def evidence(finding: Finding) -> str:
    return "\n".join(f"{piece.value} [{piece.source}]" for piece in finding.because)


# --- an import that fails ---

SAID = {
    "LIB105": "ImportError: /env/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /env/x.so)",
    "LIB106": "ImportError: /lib/libm.so.6: version `GLIBC_2.29' not found (required by /env/x.so)",
    "LIB104": "ImportError: /env/lib/libtorch_cpu.so: undefined symbol: iJIT_IsProfilingActive",
    "LIB103": "OSError: libcublas.so.11: cannot open shared object file: No such file or directory",
    "LIB108": "ImportError: /env/torch/lib/../../torch.libs/libgomp-804f19d4.so.1.0.0: cannot allocate memory in static TLS block",
    "LIB107": "killed by signal 6: OMP: Error #15: Initializing libomp.dylib, but found libiomp5.dylib already initialized.",
    "LIB111": "killed by signal 4",
    "TOR103": "ImportError: something nobody has seen",
}


@pytest.mark.parametrize("code", SAID)
def test_import_that_fails_is_an_error_whose_cause_comes_first(tables: Tables, code: str) -> None:
    findings = judged(tables, modern(torch_import=imported(SAID[code]))).findings
    assert findings[0].code == code
    assert findings[0].severity == Severity.ERROR
    symptom = next(one for one in findings if one.code == "TOR103")
    assert symptom.follows_from == (None if code == "TOR103" else code)
    assert SAID[code][:60] in evidence(symptom)


def test_long_message_keeps_its_end() -> None:
    text = "ImportError: " + "a/" * 300 + "libx.so: undefined symbol: _ZN3c10"
    assert shortened(text).endswith("libx.so: undefined symbol: _ZN3c10")
    assert len(shortened(text)) <= 300
    assert shortened("two\nlines") == "two lines"


def test_library_to_load_first_is_the_one_that_the_message_names(tables: Tables) -> None:
    finding = only(tables, "LIB108", modern(torch_import=imported(SAID["LIB108"])))
    path = "/env/torch/lib/../../torch.libs/libgomp-804f19d4.so.1.0.0"
    assert f"env LD_PRELOAD={path} /env/bin/python -c import torch" in commands(finding)


# --- half there, twice there ---


def test_torch_that_works_with_files_gone_is_a_warning_only(tables: Tables) -> None:
    gone = dist(
        "torch",
        "2.4.1",
        missing_files=60,
        missing_code=60,
        missing_examples=("torch/nn/__init__.py",),
        listed_files=1000,
    )
    unknown = only(tables, "FAM106", modern(distributions=packages(gone)))
    works = only(tables, "FAM106", modern(distributions=packages(gone), torch_import=imported()))
    fails = judged(
        tables,
        modern(distributions=packages(gone), torch_import=imported("ModuleNotFoundError: No module named 'torch.nn'")),
    ).findings
    assert (unknown.severity, works.severity) == (Severity.ERROR, Severity.WARNING)
    assert [(one.code, one.follows_from) for one in fails] == [("FAM106", None), ("TOR103", "FAM106")]
    assert "60 of its 1000 files" in unknown.message
    assert "torch/nn/__init__.py" in evidence(unknown)


def test_cleaning_uses_the_tools_that_installed(tables: Tables) -> None:
    finding = only(
        tables,
        "FAM106",
        in_conda(record("pytorch", "2.0.1", "py3.11_cuda11.7_0"), distributions=packages(*WELL, dist("~orch", "0"))),
        machine("550.54.14", conda=found(CondaInstall(program="/opt/conda/bin/mamba"), "PATH")),
    )
    assert commands(finding) == [
        "envfix install --new-env yolo-env",
        "/env/bin/python -m pip uninstall -y torch torchvision",
        "/opt/conda/bin/mamba remove -p /env pytorch",
        "rm -r /env/lib/python3.11/site-packages/~orch",
    ]
    assert not finding.remedies[-1].safe
    assert "--force-reinstall" not in str(finding.remedies)


def test_leftover_alone_leaves_the_machine_healthy(tables: Tables) -> None:
    diagnosis = judged(tables, modern(distributions=packages(*WELL, dist("~orch", "0"))))
    assert diagnosis.verdict == "healthy"
    assert diagnosis.findings[0].severity == Severity.INFO


def test_two_families_of_nccl_are_an_error_when_the_import_names_it(tables: Tables) -> None:
    both = packages(*WELL, dist("nvidia-nccl-cu11", "2.14.3"), dist("nvidia-nccl-cu12", "2.20.5"))
    quiet = only(tables, "FAM106", modern(distributions=both))
    loud = judged(
        tables,
        modern(
            distributions=both,
            torch_import=imported("ImportError: libtorch_cuda.so: undefined symbol: ncclCommRegister"),
        ),
    ).findings
    assert quiet.severity == Severity.WARNING
    assert [(one.code, one.severity) for one in loud] == [("FAM106", Severity.ERROR), ("TOR103", Severity.ERROR)]


def test_record_without_files_explains_that_there_is_no_torch(tables: Tables) -> None:
    findings = judged(tables, *reversed(HAND_MADE["conda's record without files"][:2])).findings
    assert [(one.code, one.follows_from) for one in findings] == [("FAM106", None), ("TOR102", "FAM106")]
    assert "Conda believes that pytorch 1.8.0 is installed here, but 1000 of the 1000 files" in findings[0].message


# --- replaced ---


def test_replacement_names_who_asked_and_explains_what_follows(tables: Tables) -> None:
    later = T0 + 86400
    findings = judged(
        tables,
        modern(
            torch=torch("2.1.2+cpu", None, None),
            torchvision=vision("0.16.2+cu118", "11.8", "2.1.2"),
            distributions=packages(
                dist("torch", "2.1.2+cpu", modified=later),
                dist("torchvision", "0.16.2+cu118", "torch==2.1.2"),
                dist("some-lib", "3.1", "torch>=1.7", modified=later + 5),
                dist("older-lib", "1.0", "torch>=1.7"),
                PIP,
            ),
        ),
    ).findings
    assert [(one.code, one.follows_from) for one in findings] == [
        ("FAM102", None),
        ("TOR101", "FAM102"),
        ("FAM101", "FAM102"),
    ]
    assert "by the installation of some-lib 3.1" in findings[0].message
    assert "torchvision 0.16.2+cu118, installed 2023-11-14 22:13 UTC" in evidence(findings[0])
    assert "constraints" in findings[0].remedies[1].text


def test_conda_that_chose_a_cpu_build_explains_the_cpu_build(tables: Tables) -> None:
    findings = judged(
        tables,
        in_conda(record("pytorch", "2.1.2", "py3.11_cpu_0"), torch=torch("2.1.2", None, None), torchvision=absent("-")),
        machine("550.54.14", conda=found(CondaInstall(program="/opt/conda/bin/conda"), "PATH")),
    ).findings
    assert [(one.code, one.follows_from) for one in findings] == [("CND110", None), ("TOR101", "CND110")]
    assert "/opt/conda/bin/conda install -p /env pytorch=*=*cuda*" in commands(findings[0])


# --- required and missing ---


@pytest.mark.parametrize(
    ("name", "severity", "message", "command"),
    [
        (
            "ultralytics whose OpenCV and matplotlib are missing",
            Severity.ERROR,
            (
                "The package ultralytics 8.3.40 asks for matplotlib, opencv-python, pyyaml, psutil, py-cpuinfo, which this Python"
                " does not have: it cannot be imported without matplotlib, opencv-python, pyyaml."
            ),
            "/env/bin/python -m pip install matplotlib>=3.3.0 opencv-python>=4.6.0 pyyaml>=5.3.1 psutil py-cpuinfo",
        ),
        (
            "ultralytics that lacks what is imported later only",
            Severity.WARNING,
            (
                "The package ultralytics 8.3.40 asks for psutil, py-cpuinfo, which this Python does not have: what uses it stops"
                " with \"No module named 'psutil'\"."
            ),
            "/env/bin/python -m pip install psutil py-cpuinfo",
        ),
        (
            "torchvision without Pillow",
            Severity.ERROR,
            (
                "The package torchvision 0.19.1+cu121 asks for pillow, which this Python does not have: it cannot be imported"
                " without pillow."
            ),
            "/env/bin/python -m pip install pillow!=8.3.*,>=5.3.0",
        ),
        (
            "torch that imports without one of them",
            Severity.INFO,
            (
                "The package torch 2.4.1+cu121 asks for networkx, which this Python does not have: what uses it stops with"
                " \"No module named 'networkx'\"."
            ),
            "/env/bin/python -m pip install networkx",
        ),
        (
            "ultralytics that conda has brought, without matplotlib",
            Severity.ERROR,
            (
                "The package ultralytics 8.3.40 asks for matplotlib, opencv-python, which this Python does not have: it cannot be"
                " imported without matplotlib, opencv-python."
            ),
            "/opt/conda/bin/conda install -p /env --freeze-installed -c conda-forge matplotlib py-opencv",
        ),
    ],
)
def test_what_is_required_and_missing_is_told_with_exactly_that(
    name: str, severity: Severity, message: str, command: str, tables: Tables
) -> None:
    there, inside, _ = HAND_MADE[name]
    finding = next(one for one in judged(tables, inside, there).findings if one.code == "FAM118")
    assert (finding.severity, finding.message) == (severity, message)
    assert commands(finding) == [command]


def test_import_of_torch_that_misses_what_it_requires_follows_from_that(tables: Tables) -> None:
    there, inside, _ = HAND_MADE["torch whose import misses what it requires"]
    findings = judged(tables, inside, there).findings
    assert [(one.code, one.severity, one.follows_from) for one in findings] == [
        ("FAM118", Severity.ERROR, None),
        ("TOR103", Severity.ERROR, "FAM118"),
    ]


def test_what_is_missing_is_installed_under_the_constraints_of_envfix(tables: Tables) -> None:
    _, inside, _ = HAND_MADE["torchvision without Pillow"]
    held = msgspec.structs.replace(inside, held=found(("torch==2.4.1+cu121",), "/env/envfix-constraints.txt"))
    finding = only(tables, "FAM118", held)
    assert commands(finding) == ["/env/bin/python -m pip install -c /env/envfix-constraints.txt pillow!=8.3.*,>=5.3.0"]


# --- companions ---


def test_cpu_torchvision_matters_only_where_there_is_a_card(tables: Tables) -> None:
    mixed = modern(torchvision=vision("0.19.1+cpu", None, "2.4.1"))
    assert only(tables, "FAM103", mixed).severity == Severity.ERROR
    diagnosis = judged(tables, mixed, machine(None))
    assert diagnosis.verdict == "healthy"


def test_numpy_is_held_back_with_what_depends_on_it(tables: Tables) -> None:
    environment = modern(
        torch=torch("2.0.1", "11.7"),
        torchvision=absent("-"),
        distributions=packages(dist("numpy", "2.1.0"), dist("opencv-python", "4.12.0.88"), PIP),
    )
    assert (
        commands(only(tables, "FAM107", environment))[0] == "/env/bin/python -m pip install numpy<2 opencv-python<4.12"
    )


UV = found(Startup(uv="/bin/uv"), "PATH")


@pytest.mark.parametrize(
    ("python", "facts", "expected"),
    [
        ({"ensurepip": True}, {"startup": UV}, ["uv pip install --python /env/bin/python numpy<2"]),
        (
            {"ensurepip": True},
            {},
            ["/env/bin/python -m ensurepip --upgrade", "/env/bin/python -m pip install numpy<2"],
        ),
        ({"ensurepip": False}, {}, []),
        ({}, {}, []),
        ({"ensurepip": True, "kind": "system"}, {}, []),
    ],
)
def test_environment_without_pip_is_changed_by_what_is_there(
    python: dict[str, Any], facts: dict[str, Any], expected: list[str], tables: Tables
) -> None:
    environment = modern(
        interpreter=found(msgspec.structs.replace(PYTHON_311, **python), "asked"),
        torch=torch("2.0.1", "11.7"),
        torchvision=absent("-"),
        distributions=packages(dist("numpy", "2.1.0")),
        **facts,
    )
    finding = only(tables, "FAM107", environment)
    assert commands(finding) == [*expected, "envfix install --new-env yolo-env"]
    assert ("has no pip" in finding.remedies[0].text) == (not expected)


def test_conda_that_is_not_found_is_not_called(tables: Tables) -> None:
    rows = (record("pytorch", "2.0.1", "py3.11_cuda11.7_0"), record("cpuonly", "2.0", "0"))
    mixed = in_conda(*rows, distributions=packages(*WELL))
    finding = only(tables, "FAM106", mixed)
    assert not [line for line in commands(finding) if "conda" in line]
    assert "which is not found" in finding.remedies[-1].text
    by_root = msgspec.structs.replace(mixed, startup=found(Startup(conda_roots=("/opt/conda",)), "files"))
    assert "/opt/conda/condabin/conda remove -p /env pytorch" in commands(only(tables, "FAM106", by_root))


def test_of_two_cudnn_packages_the_one_that_torch_asks_for_comes_back(tables: Tables) -> None:
    both = (dist("nvidia_cudnn_cu11", "8.7.0.84"), dist("nvidia_cudnn_cu12", "9.1.0.70"))
    asked = [
        packages(PINNING, VISION_DIST, PIP, *both),  # in the words of its metadata
        packages(*WELL, *both),  # by the CUDA inside
    ]
    for distributions in asked:
        finding = only(tables, "FAM106", modern(distributions=distributions))
        assert commands(finding) == [
            "/env/bin/python -m pip uninstall -y nvidia_cudnn_cu11 nvidia_cudnn_cu12",
            "/env/bin/python -m pip install --no-deps nvidia-cudnn-cu12==9.1.0.70",
            "envfix install --new-env yolo-env",
        ]
        assert not finding.remedies[0].safe


def test_python_of_the_system_is_not_changed(tables: Tables) -> None:
    system = msgspec.structs.replace(PYTHON_311, kind="system", externally_managed=True)
    numpy = packages(dist("numpy", "2.1.0"), PIP)
    common = {"torch": torch("2.0.1", "11.7"), "torchvision": absent("-"), "distributions": numpy}
    finding = only(tables, "FAM107", modern(interpreter=found(system, "asked"), **common))
    assert commands(finding) == ["envfix install --new-env yolo-env"]
    assert "not yours to change" in finding.remedies[0].text
    # A virtual environment shares the marked standard library and is the user's own all the same.
    inside = msgspec.structs.replace(PYTHON_311, externally_managed=True)
    assert (
        "pip install numpy<2"
        in commands(only(tables, "FAM107", modern(interpreter=found(inside, "asked"), **common)))[0]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.1.2+pt21cu118", ((2, 1), 11)),
        ("0.6.3+pt113cu117", ((1, 13), 11)),
        ("2.1.2+pt210cu128", ((2, 10), 12)),
        ("1.6.1+pt20cpu", ((2, 0), None)),
        ("flash_attn-2.5.8+cu122torch2.3cxx11abiFALSE-cp310-cp310-linux_x86_64.whl", ((2, 3), 12)),
        ("flash_attn-2.8.3+cu12torch2.10cxx11abiTRUE-cp312-cp312-linux_x86_64.whl", ((2, 10), 12)),
        ("2.1.0+cu121", (None, 12)),
        ("1.7.2", (None, None)),
        ("2.0+local.build", (None, None)),
    ],
)
def test_labels_of_extensions_are_understood(text: str, expected: object) -> None:
    assert built_for(text) == expected


def test_xformers_goes_on_without_its_fast_code(tables: Tables) -> None:
    pinned = modern(distributions=packages(*WELL, dist("xformers", "0.0.23", "torch==2.1.1")))
    assert only(tables, "FAM108", pinned).severity == Severity.WARNING
    broken = modern(binaries=binaries(binary("mmcv", "_ext.so", missing_symbols=("_ZN2at5zerosE",))))
    assert only(tables, "FAM108", broken).severity == Severity.ERROR


def test_requirements_are_read_as_the_target_would() -> None:
    lines = (
        'torch==2.4.1; python_version < "3.12" and sys_platform == "linux"',
        'torch==1.0; python_version < "3.9"',
        'torch==1.1; platform_machine == "aarch64"',
        'torch (>=2.0) ; extra == "gpu"',
        "torch (==2.4.1)",
        "torch=2.4",
        "torch @ file:///tmp/torch.whl",
        'torch==9; nonsense == "1"',
    )
    environment = modern(distributions=packages(dist("a", "1", *lines)))
    asked = [(str(one.requirement.specifier), one.extra) for one in requirements(environment)]
    assert asked == [("==2.4.1", None), (">=2.0", "gpu"), ("==2.4.1", None), ("", None)]


# --- libraries ---


def test_variable_is_unset_not_extended(tables: Tables) -> None:
    on = machine(
        "550.54.14",
        libraries=libraries(outside("libnvJitLink.so.12", "12.0.76")),
    )
    finding = only(tables, "LIB101", modern(torch_import=imported(NVJITLINK), binaries=binaries(**BUNDLED)), on)
    assert finding.severity == Severity.ERROR
    assert "unset LD_LIBRARY_PATH" in commands(finding)
    assert "libnvJitLink.so.12 (version 12.0.76) in /usr/local/cuda-12.0/lib64, by LD_LIBRARY_PATH" in evidence(finding)


def test_what_is_missing_is_put_back_in_the_version_that_torch_names(tables: Tables) -> None:
    damaged = dist("nvidia_cudnn_cu12", "9.1.0.70", missing_files=2, missing_code=2, missing_examples=CUDNN_GONE)
    environment = modern(distributions=packages(TORCH_DIST, VISION_DIST, PIP, damaged))
    finding = only(tables, "LIB103", environment)
    assert (
        commands(finding)[0] == "/env/bin/python -m pip install --force-reinstall --no-deps nvidia_cudnn_cu12==9.1.0.70"
    )
    assert "libcudnn.so.9 of nvidia_cudnn_cu12 9.1.0.70 is gone" in finding.message
    working = only(tables, "LIB103", msgspec.structs.replace(environment, torch_import=imported()))
    assert working.severity == Severity.WARNING


def test_window_build_of_opencv_gives_way_to_the_other(tables: Tables) -> None:
    lacking = binaries(binary("cv2", "cv2.abi3.so", unresolved=("libGL.so.1", "libgthread-2.0.so.0")))
    both = packages(*WELL, dist("opencv-python", "4.9.0.80"), dist("opencv-python-headless", "4.9.0.80"))
    finding = only(tables, "LIB109", modern(distributions=both, binaries=lacking))
    assert commands(finding)[:2] == [
        "/env/bin/python -m pip uninstall -y opencv-python opencv-python-headless",
        "/env/bin/python -m pip install --no-deps opencv-python-headless==4.9.0.80",
    ]
    assert any("libgl1" in remedy.text and not remedy.safe for remedy in finding.remedies)


def test_two_openmp_libraries_on_linux_are_worth_knowing_only(tables: Tables) -> None:
    copies = binaries(openmp=("/env/lib/libiomp5.so", "/env/lib/python3.11/site-packages/torch/lib/libiomp5.so"))
    assert judged(tables, modern(binaries=copies)).verdict == "healthy"


def test_extension_without_code_for_one_of_two_cards_is_a_warning(tables: Tables) -> None:
    files = binaries(binary("detectron2", sm=torch(sm="sm_70").value.sm))  # type: ignore[union-attr]
    both = machine("550.54.14", [card("Tesla V100", "7.0"), card(index=1)])
    assert only(tables, "FAM111", modern(binaries=files), both).severity == Severity.WARNING
    alone = only(tables, "FAM111", modern(binaries=files))
    assert alone.severity == Severity.ERROR
    assert 'TORCH_CUDA_ARCH_LIST="8.6"' in alone.remedies[0].text


def test_no_remedy_repeats_the_advice_that_makes_it_worse(tables: Tables) -> None:
    wrong = ("sudo", "KMP_DUPLICATE_LIB_OK=TRUE", "weights_only=False", "ln -s", "--break-system-packages", "--user")
    for machine_facts, environment, _ in HAND_MADE.values():
        for finding in diagnose(judge(machine_facts, environment, tables)).findings:
            said = "\n".join([*commands(finding), *(remedy.text for remedy in finding.remedies)])
            assert not [word for word in wrong if word in said], finding.code
