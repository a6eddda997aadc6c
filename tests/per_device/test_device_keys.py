# SPDX-License-Identifier: Apache-2.0
"""Which keys a board gets that an earlier run has begun: those on the chip stay, the missing ones are new."""

from __future__ import annotations

import dataclasses

import pytest
from support.typed_documents import key_data

from secure_ext.errors import DeviceError
from secure_ext.per_device.device_keys import DeviceKeys, completed_keys, new_keys
from secure_ext.station.chip_state import ChipState
from secure_ext.station.plan_document import KeyStep
from secure_ext.station.step_status import Status, StepStatus
from secure_ext.station.typed_document import read_document

KEY = bytes(range(1, 33))
STATE = ChipState({}, {}, {}, {}, {4: KEY[::-1], 5: bytes(32), 9: KEY}, 0, "020000000001")
HALF_1, HALF_2 = "flash_encryption_key_half_1", "flash_encryption_key_half_2"


def step(role: str) -> KeyStep:
    block = {HALF_1: 4, HALF_2: 5, "flash_encryption_key": 4, "nvs_hmac_key": 9}[role]
    return read_document(KeyStep, key_data(role=role, block_number=block, reversed=role != "nvs_hmac_key"))


def item(role: str, status: Status, *, hidden: bool = False) -> StepStatus:
    return StepStatus(step(role), status, hidden=hidden)


def test_all_on_the_chip_means_that_none_is_needed() -> None:
    burned = [item("flash_encryption_key", Status.BEGUN), item("nvs_hmac_key", Status.DONE, hidden=True)]
    assert completed_keys(burned, STATE) is None


def test_what_can_be_read_is_taken_from_the_chip() -> None:
    """In the order of a key file: flash encryption keys are burned with their last byte first."""
    keys = completed_keys([item("flash_encryption_key", Status.BEGUN), item("nvs_hmac_key", Status.MISSING)], STATE)
    assert keys is not None
    assert keys.burned["flash_encryption_key"] == KEY
    assert keys.burned["nvs_hmac_key"] not in (KEY, bytes(32))


def test_what_is_hidden_is_left_out() -> None:
    hidden = item("nvs_hmac_key", Status.BEGUN, hidden=True)
    keys = completed_keys([item("flash_encryption_key", Status.MISSING), hidden], STATE)
    assert keys is not None
    assert set(keys.burned) == {"flash_encryption_key"}


def test_a_half_that_can_be_read_gets_a_new_other_half() -> None:
    keys = completed_keys([item(HALF_1, Status.BEGUN), item(HALF_2, Status.MISSING)], STATE)
    assert keys is not None
    assert keys.whole == {"flash_encryption_key": KEY + keys.burned[HALF_2]}
    cipher_key = keys.cipher_key("esp32s3")
    assert cipher_key is not None and len(cipher_key.key) == 64


def test_a_half_that_is_hidden_without_the_other_is_lost() -> None:
    with pytest.raises(DeviceError) as raised:
        completed_keys([item(HALF_1, Status.BEGUN, hidden=True), item(HALF_2, Status.MISSING)], STATE)
    assert raised.value.code == "SE852"


def test_new_keys_are_new_and_do_not_show() -> None:
    steps = [step("flash_encryption_key"), step("nvs_hmac_key")]
    made = [new_keys(steps) for _ in range(3)]
    assert len({key for keys in made for key in keys.burned.values()}) == 6
    for keys in made:
        assert isinstance(keys, DeviceKeys) and dataclasses.is_dataclass(keys)
        for data in keys.burned.values():
            assert data.hex() not in repr(keys) and repr(data)[2:-1] not in repr(keys)
            assert data.hex() not in str(keys.fingerprints)
