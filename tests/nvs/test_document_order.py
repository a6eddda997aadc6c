# SPDX-License-Identifier: Apache-2.0
"""The workflow document's own order fails for the HMAC key, which is why the plan has it before secure boot."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.matrix_tools import espefuse, read_efuses

from secure_ext.keys.symmetric import generate_secret


@pytest.mark.long
def test_after_rd_dis_is_write_protected_no_hmac_key_can_be_hidden(tmp_path: Path) -> None:
    """espefuse refuses it, and burns it readable if it is told to."""
    chip, key = tmp_path / "chip.bin", tmp_path / "hmac.bin"
    key.write_bytes(generate_secret("nvs_hmac_key", 32).data)
    espefuse("esp32c3", chip, "write-protect-efuse", "RD_DIS")
    with pytest.raises(AssertionError):
        espefuse("esp32c3", chip, "burn-key", "BLOCK_KEY5", str(key), "HMAC_UP")
    assert read_efuses("esp32c3", chip).words["KEY_PURPOSE_5"] == "USER"
    espefuse("esp32c3", chip, "burn-key", "BLOCK_KEY5", str(key), "HMAC_UP", "--no-read-protect")
    efuses = read_efuses("esp32c3", chip)
    assert efuses.words["KEY_PURPOSE_5"] == "HMAC_UP" and "BLOCK_KEY5" not in efuses.hidden
