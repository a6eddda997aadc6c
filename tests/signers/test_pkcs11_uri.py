# SPDX-License-Identifier: Apache-2.0
"""PKCS#11 URIs: what is read, what is refused, and that no value of a refused one is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.errors import UsageError
from secure_ext.policy.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri

TEXT = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)


def test_all_that_a_uri_can_say() -> None:
    text = "pkcs11:token=The%20Token;serial=0a;manufacturer=M;model=v2;slot-id=7;object=boot;id=%01%FF;type=private"
    uri = parse_pkcs11_uri(text + "?module-path=/usr/lib/m.so", place="profile")
    assert uri == Pkcs11Uri("The Token", "0a", "M", "v2", 7, "boot", b"\x01\xff", "/usr/lib/m.so")
    assert str(uri) == "pkcs11:token=The%20Token;serial=0a;manufacturer=M;model=v2;slot-id=7;object=boot;id=%01%ff"


@given(TEXT | st.none(), TEXT, st.binary(min_size=1, max_size=8) | st.none(), st.integers(0, 2**32) | st.none())
def test_what_is_shown_names_the_same_key(
    token: str | None, label: str, key_id: bytes | None, slot: int | None
) -> None:
    uri = Pkcs11Uri(token=token, key_label=label, key_id=key_id, slot_id=slot)
    assert parse_pkcs11_uri(str(uri), place="") == uri


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pkcs11:", "no key"),
        ("pkcs11:token=a", "no key"),
        ("pkcs11:object=", "without a value"),
        ("pkcs11:object", "without a value"),
        ("pkcs11:object=a;object=b", "twice"),
        ("pkcs11:object=a;colour=b", "not supported"),
        ("pkcs11:object=a?module-name=b", "not supported"),
        ("pkcs11:module-path=a;object=b", "not supported"),
        ("pkcs11:object=a;type=cert", "type"),
        ("pkcs11:object=a;slot-id=-1", "number"),
        ("pkcs11:object=a;slot-id=" + "9" * 5000, "number"),
        ("pkcs11:object=%f", "percent"),
        ("pkcs11:object=%ff", "UTF-8"),
        ("pkcs11:object=%00", "unprintable"),
    ],
)
def test_malformed(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pkcs11_uri(text, place="secure_boot.keys")
    assert caught.value.code == "SE642"
    assert says in caught.value.cause


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:object=a?pin-value=87654",
        "pkcs11:object=a;pin-value=87654",
        "pkcs11:pin-value=87654",
        "pkcs11:object=a?pin-source=file:87654",
        "pkcs11:token=87654;pin-value=1;object",
        "pkcs11:object=a&pin-value=87654?x",
        "pkcs11:object=%z87654",
        "pkcs11:87654",
        "pkcs11:object=a;87654=b",
    ],
)
def test_a_pin_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_pkcs11_uri(text, place="secure_boot.keys")
    error = caught.value
    assert error.code in ("SE642", "SE643")
    assert "87654" not in f"{error!r}{error.as_dict()}"


@given(st.text(max_size=40))
def test_no_text_ends_in_anything_but_a_coded_error(text: str) -> None:
    try:
        parse_pkcs11_uri("pkcs11:" + text, place="")
    except UsageError as error:
        assert error.code in ("SE642", "SE643")
