"""Versions as types: read once, ordered within their kind, never compared with another."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envfix.model.documents import from_builtins, to_builtins
from envfix.model.versions import ComputeCapability, CudaVersion, DriverVersion


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("450.80.02", "450.102.04"),
        ("525.60.13", "1000.1"),
        ("470.57.02", "470.57.20"),
        ("535", "535.1"),
        ("390.157", "455.23.05"),
    ],
)
def test_drivers_are_ordered_by_number_not_by_letter(older: str, newer: str) -> None:
    assert DriverVersion.parse(older) < DriverVersion.parse(newer)
    assert DriverVersion.parse(newer) >= DriverVersion.parse(older)
    assert max(older, newer, key=DriverVersion.parse) == newer


@pytest.mark.parametrize(
    ("text", "version", "variant"),
    [
        ("11.8", "11.8", "cu118"),
        ("11.8.89", "11.8", "cu118"),
        ("cu118", "11.8", "cu118"),
        ("cu92", "9.2", "cu92"),
        ("13.0", "13.0", "cu130"),
        (" 12.10 ", "12.10", "cu1210"),
    ],
)
def test_cuda_is_read_in_every_spelling(text: str, version: str, variant: str) -> None:
    parsed = CudaVersion.parse(text)
    assert (str(parsed), parsed.variant) == (version, variant)


@pytest.mark.parametrize(("number", "version"), [(11040, "11.4"), (9020, "9.2"), (13000, "13.0"), (12080, "12.8")])
def test_number_of_the_driver_interface_is_decoded(number: int, version: str) -> None:
    assert str(CudaVersion.from_number(number)) == version


@pytest.mark.parametrize(
    ("text", "capability", "sm"),
    [
        ("8.6", "8.6", "sm_86"),
        ("sm_86", "8.6", "sm_86"),
        ("sm_90a", "9.0", "sm_90"),
        ("compute_120", "12.0", "sm_120"),
        ("12.1", "12.1", "sm_121"),
        ("sm_37", "3.7", "sm_37"),
    ],
)
def test_capability_is_read_in_every_spelling(text: str, capability: str, sm: str) -> None:
    parsed = ComputeCapability.parse(text)
    assert (str(parsed), parsed.sm) == (capability, sm)


@pytest.mark.parametrize("kind", [DriverVersion, CudaVersion, ComputeCapability])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "new",
        "11",
        "1.2.3.4.5a",
        "-1.0",
        "8.6 Ti",
        "\u0661\u0662.\u0663",
        "1e3",
        "11.8\n12",
        "v11.8",
        "sm_",
        "cu",
        "9" * 5000,
    ],
)
def test_text_that_is_no_version_is_refused(kind: Any, text: str) -> None:
    if (kind, text) == (DriverVersion, "11"):
        assert DriverVersion.parse(text).branch == 11
        return
    with pytest.raises(ValueError, match="not a"):
        kind.parse(text)


KINDS: list[Any] = [
    DriverVersion.parse("11.8"),
    CudaVersion.parse("11.8"),
    ComputeCapability.parse("11.8"),
    "11.8",
    11.8,
    (11, 8),
    None,
]


@pytest.mark.parametrize("compare", [operator.lt, operator.le, operator.gt, operator.ge])
def test_kinds_are_never_compared(compare: Callable[[Any, Any], bool]) -> None:
    for one in KINDS[:3]:
        for other in KINDS:
            if type(one) is type(other):
                continue
            assert one != other
            with pytest.raises(TypeError):
                compare(one, other)


def test_versions_do_not_change_and_can_be_copied_and_keyed() -> None:
    for version in KINDS[:3]:
        with pytest.raises(AttributeError):
            version._text = "0"
        assert copy.deepcopy(version) == version == pickle.loads(pickle.dumps(version))  # noqa: S301 - our own bytes
        assert str(copy.copy(version)) == "11.8"
        assert "11.8" in repr(version)
    assert len({*KINDS[:3], CudaVersion.parse("cu118")}) == 3


@given(numbers=st.lists(st.integers(0, 99999), min_size=1, max_size=4))
def test_driver_comes_back_from_its_text_and_from_json(numbers: list[int]) -> None:
    text = ".".join(map(str, numbers))
    version = DriverVersion.parse(text)
    assert (str(version), version.branch) == (text, numbers[0])
    assert from_builtins(to_builtins(version), DriverVersion) == version


@given(major=st.integers(0, 99), minor=st.integers(0, 9))
def test_capability_and_cuda_come_back_from_their_other_names(major: int, minor: int) -> None:
    capability, cuda = ComputeCapability.of(major, minor), CudaVersion.of(major, minor)
    assert ComputeCapability.parse(capability.sm) == capability == ComputeCapability.parse(str(capability))
    assert (
        CudaVersion.parse(cuda.variant)
        == cuda
        == CudaVersion.parse(str(cuda))
        == CudaVersion.from_number(major * 1000 + minor * 10)
    )
    assert ((capability.major, capability.minor), (cuda.major, cuda.minor)) == ((major, minor), (major, minor))
