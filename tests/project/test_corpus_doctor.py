# SPDX-License-Identifier: Apache-2.0
"""The doctor on builds of real projects (see test_build_corpus): findings that were gone through by hand, no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_build_corpus import CORPUS, EXPECTED
from test_corpus_bundles import with_whole_images

from secure_ext.doctor.decide import decide
from secure_ext.errors import SecureProvisionError
from secure_ext.policy.profile import Profile, Value

pytestmark = pytest.mark.skipif(not CORPUS, reason="SECURE_EXT_CORPUS does not name a folder with builds")


def found(name: str, folder: Path, settings: dict[str, Value]) -> str:
    try:
        decision = decide(with_whole_images(name, folder / name), Profile(folder, settings))
    except SecureProvisionError as error:
        return error.code
    assert decision.first_boot == ()
    return " ".join(sorted({finding.code for finding in decision.findings}))


NOT_BUILT_FOR_BOTH = "SP011 SP021 SP029 SP081"
"""App not padded, no secure boot in the bootloader, NVS in plaintext, one key for all: true of each of them."""
EXPECTED_FINDINGS = {
    "esp32-v5.3": "SP001 SP020 SP049",
    "esp32c3-v5.4-rainmaker": "SP020 SP064 SP070 SP156",
    "esp32c5-v6.1": "SP001 SP020 SP070",
    "esp32c6-v5.3-spaces": "SP020 SP070",
    "esp32c6-v6.1-tee": "SP020 SP071",
    "esp32p4-v5.5": "SP001 SP008 SP020 SP064",
    "esp32s2-v6.0": "SP020 SP064 SP070",
    "esp32s3-v5.0-flashenc-dev": "SP001 SP022 SP064 SP070 SP094",
    "esp32s3-v5.1": "SP020",
}


@pytest.mark.parametrize("name", EXPECTED)
def test_both_features_on_a_real_build(name: str, tmp_path: Path, signing_key_for: Callable[[str], Path]) -> None:
    key = str(signing_key_for(EXPECTED[name][0]))
    settings: dict[str, Value] = {"flash_encryption.mode": "release", "secure_boot.enabled": True}
    outcome = found(name, tmp_path, settings | {"secure_boot.keys": (key,)})
    if name in EXPECTED_FINDINGS:
        assert outcome == " ".join(sorted(f"{EXPECTED_FINDINGS[name]} {NOT_BUILT_FOR_BOTH}".split()))
    else:
        assert outcome == "SE310"


def test_a_development_build_as_it_is(tmp_path: Path) -> None:
    assert found("esp32s3-v5.0-flashenc-dev", tmp_path, {}) == "SP041 SP064 SP094"
