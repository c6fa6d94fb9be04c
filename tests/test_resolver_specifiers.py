"""Several version specifiers together: what they leave, whether anything is left, which of them are needless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envfix.resolver.specifiers import contradict, joined


@pytest.mark.parametrize(
    ("parts", "together"),
    [
        ((">=8.3", ">=8.2.88"), ">=8.3"),
        ((">=8.2.88", ">=8.3"), ">=8.3"),
        (("", ">=8.0"), ">=8.0"),
        (("<9", ">=8.0"), "<9,>=8.0"),
        (("==8.3.1", ">=8.2.64", "<8.4"), "==8.3.1"),
        ((">=8.3", "!=8.1.0"), ">=8.3"),
        ((">=8.3", "!=8.4.0"), ">=8.3,!=8.4.0"),
        (("~=8.3.5", ">=8.3.4"), "~=8.3.5"),
        (("==8.*", ">=8.0"), "==8.*"),
        ((">8.3", ">=8.3"), ">8.3"),
        (("", ""), ""),
    ],
)
def test_what_the_others_say_already_is_left_out(parts: tuple[str, ...], together: str) -> None:
    assert joined(*parts) == together


@pytest.mark.parametrize(
    ("text", "empty"),
    [
        (">=8.3,<8.3", True),
        (">=8.3,<=8.3", False),
        (">8.3,<=8.3", True),
        ("==8.3,==8.4", True),
        ("==8.3,!=8.3", True),
        ("==8.3.1,!=8.3.*", True),
        ("==8.*,>=9", True),
        ("==8.*,>=8.9", False),
        ("~=8.3.5,<8.3", True),
        ("~=8.3,>=9", True),
        ("<8", False),
        ("", False),
        ("!=8.0", False),
    ],
)
def test_contradictions_are_seen(text: str, *, empty: bool) -> None:
    assert contradict(SpecifierSet(text)) is empty


VERSIONS = [f"{major}.{minor}" for major in range(3) for minor in range(3)]
ITEMS = st.lists(
    st.builds(str.__add__, st.sampled_from(["==", "!=", ">=", "<=", ">", "<", "~="]), st.sampled_from(VERSIONS)),
    max_size=4,
)


@given(ITEMS)
def test_a_version_meets_the_joined_specifier_if_it_meets_all_parts(parts: list[str]) -> None:
    together, apart = SpecifierSet(joined(*parts)), SpecifierSet(",".join(parts))
    met = [text for text in VERSIONS if apart.contains(Version(text))]
    assert [text for text in VERSIONS if together.contains(Version(text))] == met
    if met:
        assert not contradict(apart)
