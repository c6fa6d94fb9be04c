"""What the user asks for is read once; nonsense is refused with a sentence that helps."""

from __future__ import annotations

import re

import pytest

from envfix.errors import UsageError
from envfix.model.plan import Goal
from envfix.model.versions import ComputeCapability, CudaVersion
from envfix.resolver.choose import choose
from envfix.resolver.request import check_index, parse_cuda, parse_gpu, parse_packages, parse_torch
from envfix.tables.loader import Tables
from tests.resolver_fixtures import BOTH, RTX_4090, target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("auto", ("auto", None), id="auto"),
        pytest.param(" CPU ", ("cpu", None), id="cpu"),
        pytest.param("11.8", ("cuda", "11.8"), id="release"),
        pytest.param("11.8.89", ("cuda", "11.8"), id="full-release"),
        pytest.param("cu118", ("cuda", "11.8"), id="variant"),
        pytest.param("12.7", ("cuda", "12.7"), id="only-printed-by-nvidia-smi"),
        pytest.param("8.0", ("cuda", "8.0"), id="before-the-driver-branches"),
        pytest.param("13.7", ("cuda", "13.7"), id="younger-than-the-tables"),
    ],
)
def test_cuda_is_read(text: str, expected: tuple[str, str | None], tables: Tables) -> None:
    wants, cuda = parse_cuda(text, tables)
    assert (wants, str(cuda) if isinstance(cuda, CudaVersion) else None) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("99", "not a CUDA version", id="no-minor"),
        pytest.param("99.0", "there is no such CUDA; the newest one known is 13.4", id="no-such-major"),
        pytest.param("14.0", "there is no such CUDA", id="not-yet"),
        pytest.param("11.9", "CUDA 11 came as 11.0, 11.1", id="no-such-minor"),
        pytest.param("rocm6.4", "NVIDIA cards and for the CPU only", id="rocm"),
        pytest.param("eleven", "not a CUDA version", id="words"),
        pytest.param("cu", "not a CUDA version", id="cut-short"),
        pytest.param("cu11", "--cuda cu11: .*the minor number may be missing", id="no-minor-in-a-variant"),
        pytest.param("", "--cuda is empty", id="empty"),
    ],
)
def test_nonsense_cuda_is_refused(text: str, message: str, tables: Tables) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse_cuda(text, tables)
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "specifier", "variant"),
    [
        pytest.param(None, "", None, id="nothing"),
        pytest.param("2.4.1", "==2.4.1", None, id="bare"),
        pytest.param("2.4.1+cu118", "==2.4.1", "cu118", id="bare-with-label"),
        pytest.param("==1.9.0+cu111", "==1.9.0", "cu111", id="label"),
        pytest.param("torch==1.9.0+cpu", "==1.9.0", "cpu", id="with-the-name"),
        pytest.param(">=2.4,<2.6", "<2.6,>=2.4", None, id="range"),
        pytest.param("==2.4.*", "==2.4.*", None, id="wildcard"),
    ],
)
def test_torch_is_read(text: str | None, specifier: str, variant: str | None) -> None:
    found, label = parse_torch(text)
    assert (str(found), label) == (specifier, variant)


@pytest.mark.parametrize("text", ["", "  ", "torch", "newest", "==", ">=2.0+cu118", "==2.0.1+rocm5.4.2", "1.0+a+b"])
def test_nonsense_torch_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--torch"):
        parse_torch(text)


def test_packages_are_read() -> None:
    assert parse_packages(()) == parse_packages(("none",)) == ()
    assert [str(item) for item in parse_packages(("ultralytics<9", "pandas"))] == ["ultralytics<9", "pandas"]


@pytest.mark.parametrize(
    "texts",
    [("torch==2",), ("ultralytics", "none"), ("!!",), ("a @ https://example.org/a.whl",), ("a; os_name == 'nt'",)],
)
def test_nonsense_packages_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--with"):
        parse_packages(texts)


def test_all_that_is_said_of_one_package_counts() -> None:
    texts = ("ultralytics>=8.2", "Ultralytics[export]>=8.3", "pandas", "ultralytics<9")
    assert [str(item) for item in parse_packages(texts)] == ["ultralytics[export]<9,>=8.3", "pandas"]


@pytest.mark.parametrize("texts", [("ultralytics>=8.3", "ultralytics<8.3"), ("numpy==1.26", "numpy==2.0"), ("a>2,<1",)])
def test_contradicting_requirements_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"no version of .* meets that") as caught:
        parse_packages(texts)
    assert all(text in caught.value.message for text in texts)


@pytest.mark.parametrize(
    "text",
    [
        *("auto", "official", "pypi", "nju", "find-links", "extra-index"),
        *(
            "https://download.pytorch.org/whl",
            "http://localhost:8080/simple/",
            "https://user:secret@host.example/simple",
        ),
        *("file:///opt/wheels", "/opt/wheels", "./wheels", "../wheels", "~/wheels", "C:\\wheels"),
    ],
)
def test_indexes_that_may_be_named(text: str, tables: Tables) -> None:
    check_index(text, tables.indexes)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("banana", "official, pypi, aliyun"),
        ("AUTO", "written small"),
        ("official,pypi", "once for each"),
        ("http://", "an address"),
        ("https:///simple", "an address"),
        ("ftp://host.example/whl", "an address"),
        ("", "auto"),
        (" ", "auto"),
        ("jetson", "official"),
    ],
)
def test_nonsense_indexes_are_refused_offline_too(text: str, hint: str, tables: Tables) -> None:
    with pytest.raises(UsageError, match="--index") as caught:
        choose(target(), Goal(indexes=(text,), offline=True), (), tables)
    assert hint in str(caught.value.hint)


def test_a_mirror_of_the_registry_alone_is_refused(tables: Tables) -> None:
    with pytest.raises(UsageError, match="Tsinghua TUNA holds no torch variants"):
        check_index("tuna", tables.indexes)


def test_contradicting_options_are_refused(tables: Tables) -> None:
    goal = Goal(cuda="11.8", torch="==2.4.1+cu121")
    with pytest.raises(UsageError, match="contradict"):
        choose(target("550.54.14", RTX_4090), goal, BOTH, tables)


def test_known_card_is_looked_up(tables: Tables) -> None:
    assert parse_gpu("RTX 3090", tables).capability == ComputeCapability.of(8, 6)


def test_unknown_card_may_be_given_with_its_capability(tables: Tables) -> None:
    card = parse_gpu("RTX 9090:13.1", tables)
    assert (card.name, str(card.capability)) == ("RTX 9090", "13.1")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        pytest.param("RTX 3091", "GeForce RTX 3090", id="nearest-names"),
        pytest.param("Banana", '"Banana:CAPABILITY"', id="nothing-near"),
        pytest.param("GT 640", '"GT 640:CAPABILITY"', id="several-chips-under-one-name"),
        pytest.param("RTX 3090:nine", '"RTX 3090:CAPABILITY"', id="not-a-capability"),
        pytest.param("RTX 3090:", '"RTX 3090:CAPABILITY"', id="no-capability"),
        pytest.param(":8.6", '"NAME:CAPABILITY"', id="no-name"),
        pytest.param("", '"NAME:CAPABILITY"', id="nothing"),
        pytest.param("AMD Radeon RX 7900 XTX", "--gpu none", id="amd"),
        pytest.param("Radeon RX 6800", "--gpu none", id="radeon"),
        pytest.param("Intel Arc A770:8.6", "--gpu none", id="intel"),
    ],
)
def test_unknown_card_is_refused_with_a_way_out(text: str, hint: str, tables: Tables) -> None:
    with pytest.raises(UsageError, match="--gpu") as caught:
        parse_gpu(text, tables)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("text", ["RTX 3091", "Banana", "GT 640", "RTX 12345", "Voodoo 2"])
def test_hint_for_an_unknown_card_suggests_no_capability(text: str, tables: Tables) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gpu(text, tables)
    assert not re.search(r":\d", str(caught.value.hint))
    assert "CUDA GPUs" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["Banana", "RTX 12345", "Quadro FX 4800", "Voodoo 2"])
def test_only_near_names_are_offered(text: str, tables: Tables) -> None:
    with pytest.raises(UsageError) as caught:
        parse_gpu(text, tables)
    assert "did you mean" not in str(caught.value.hint)
