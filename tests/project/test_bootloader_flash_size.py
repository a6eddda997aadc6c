# SPDX-License-Identifier: Apache-2.0
"""How much flash a bootloader believes in, against the tables in ESP-IDF's own sources, release by release."""

from __future__ import annotations

import pytest

from secure_ext.build.flash_size import MEGABYTE, FlashSize, bootloader_flash_size
from secure_ext.build.idf_version import parse_idf_version
from secure_ext.chips.facts import CHIP_NAMES

LARGEST_KNOWN = {
    ("esp32", "v5.0"): 16,
    ("esp32", "v5.3.2"): 16,
    ("esp32", "v5.4.3"): 16,
    ("esp32", "v5.4.3-120-g0123abc"): 16,
    ("esp32", "v5.4.4"): 128,
    ("esp32c3", "v5.5.1-dirty"): 16,
    ("esp32c3", "v5.5.2"): 128,
    ("esp32c6", "v6.0-dev-100-g0123abc"): 16,
    ("esp32c6", "v6.0-beta1"): 128,
    ("esp32h2", "v6.1-dev-5-g0123abc"): 128,
    ("esp32c61", "v5.5.1"): 16,
    ("esp32c2", "v6.0"): 128,
    ("esp32c5", "v5.4.3"): 16,
    ("esp32c5", "v5.4.4"): 128,
    ("esp32c5", "v5.5"): 32,
    ("esp32c5", "v5.5.1"): 32,
    ("esp32c5", "v5.5.2"): 128,
    ("esp32p4", "v5.3.1"): 16,
    ("esp32p4", "v5.3.2"): 128,
    ("esp32p4", "v5.4"): 128,
    ("esp32h4", "v5.5.1"): 16,
    ("esp32h21", "v5.5.2"): 128,
    ("esp32s31", "v6.1-beta1"): 128,
    ("esp32s2", "v5.0"): 128,
    ("esp32s3", "v5.0.9"): 128,
}
"""Megabytes, as the switch in bootloader_flash_config_<chip>.c of that release lists them."""


@pytest.mark.parametrize(("chip", "version"), LARGEST_KNOWN)
def test_a_size_that_the_release_does_not_know_is_2_mb(chip: str, version: str) -> None:
    for code in range(16):
        size = MEGABYTE << code
        known = size <= LARGEST_KNOWN[chip, version] * MEGABYTE
        believed = size if known else 2 * MEGABYTE
        assert bootloader_flash_size(chip, code, version) == FlashSize(size if code < 8 else None, believed, believed)


@pytest.mark.parametrize("chip", CHIP_NAMES)
@pytest.mark.parametrize("version", [None, "0123abcd", "HEAD-HASH-NOTFOUND"])
def test_an_unknown_release_is_trusted_only_with_what_all_know(chip: str, version: str | None) -> None:
    knows_all = chip in ("esp32s2", "esp32s3", "esp32s31")
    assert bootloader_flash_size(chip, 4, version).least == 16 * MEGABYTE
    large = bootloader_flash_size(chip, 5, version)
    assert (large.least, large.most) == ((32 if knows_all else 2) * MEGABYTE, 32 * MEGABYTE)


@pytest.mark.parametrize("text", ["v5.5.1", "v5.5.1-dirty", "5.5.1", "v5.5.1-12-gabcdef0"])
def test_what_follows_a_release_counts_as_that_release(text: str) -> None:
    release = parse_idf_version(text)
    assert release is not None and (release.branch, release.patch) == ((5, 5), 1)
