# SPDX-License-Identifier: Apache-2.0
"""The rules about NVS keep quiet where nothing is wrong; what they find is in tests/plan/test_doctor.py."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_ext.bundle.nvs_image import make_nvs_image
from secure_ext.doctor.decide import decide
from secure_ext.formats.nvs_csv import read_nvs_csv
from secure_ext.formats.nvs_keys import NvsKeys, derive_nvs_keys, generate_nvs_keys
from secure_ext.policy.profile import check_profile
from secure_ext.sample.options import SampleOptions

HMAC_KEY = os.urandom(32)
KEYS = generate_nvs_keys()


@pytest.fixture
def found(new_build: Callable[..., Path], tmp_path: Path) -> Callable[..., set[str]]:
    """The codes SP09x that the doctor finds, for images of the build and a section nvs of the profile."""

    def run(chip: str, images: dict[str, bytes], nvs: dict[str, Any] | None = None, **config: object) -> set[str]:
        options = SampleOptions(flash_encryption="release", secure_boot=True, data_images=images, config=config)
        (tmp_path / "hmac.bin").write_bytes(HMAC_KEY)
        document = {"schema": 1, "secure_boot": {"keys": ["signing.pem"]}, "nvs": nvs}
        decision = decide(new_build(chip, options), check_profile(document, tmp_path / "profile.yaml"))
        return {finding.code for finding in decision.findings if finding.code.startswith("SP09")}

    return run


@pytest.fixture
def image(tmp_path: Path) -> Callable[[NvsKeys | None], bytes]:
    """An NVS image of a value, made outside of a bundle."""
    path = tmp_path / "nvs.csv"
    path.write_text("key,type,encoding,value\napp,namespace,,\npin,data,u16,4711\n", encoding="utf-8")
    return lambda keys: make_nvs_image(read_nvs_csv(path), 0x6000, keys)


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
@pytest.mark.parametrize("content", [None, b"\xff" * 0x6000, b"\xff" * 0x1000], ids=["none", "erased", "short"])
def test_no_or_an_erased_image_is_nothing(content: bytes | None, chip: str, found: Callable[..., set[str]]) -> None:
    assert found(chip, {} if content is None else {"nvs": content}) == set()


def test_an_encrypted_image_with_the_hmac_key_it_was_made_with(
    found: Callable[..., set[str]], image: Callable[..., bytes]
) -> None:
    given = {"nvs": image(derive_nvs_keys(HMAC_KEY))}
    assert found("esp32c3", given, {"key": "hmac.bin"}) == set()


def test_an_encrypted_image_with_its_keys_image(found: Callable[..., set[str]], image: Callable[..., bytes]) -> None:
    assert found("esp32", {"nvs": image(KEYS), "nvs_keys": KEYS.image()}) == set()


def test_a_plain_image_for_firmware_without_nvs_encryption(
    found: Callable[..., set[str]], image: Callable[..., bytes]
) -> None:
    off = {"NVS_ENCRYPTION": False, "NVS_SEC_KEY_PROTECT_USING_HMAC": False}
    assert found("esp32c3", {"nvs": image(None)}, **off) == set()
