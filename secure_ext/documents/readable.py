# SPDX-License-Identifier: Apache-2.0
"""What a file of a bundle shows to whoever has it: the words of the manifest, and those for people."""

from __future__ import annotations

import enum


class Holds(str, enum.Enum):
    """What an image shows to whoever has its file."""

    CIPHERTEXT = "ciphertext"
    NVS_CIPHERTEXT = "nvs-ciphertext"
    ERASED = "erased"
    PARTITION_TABLE = "partition-table"
    FIRMWARE = "firmware"
    DATA = "data"
    NVS_VALUES = "nvs-values"
    NVS_KEYS = "nvs-keys"
    CORE_DUMP = "core-dump"
    PRIVATE_KEY = "private-key"

    @property
    def is_secret(self) -> bool:
        """Whether its file is the owner's alone, and leaves in an archive only when somebody asks for that."""
        return self in _SECRET

    @property
    def is_closed(self) -> bool:
        """Whether nobody can read it without keys that are not in the file."""
        return self in (Holds.CIPHERTEXT, Holds.NVS_CIPHERTEXT)

    @property
    def words(self) -> str:
        """The same for people."""
        return _WORDS[self]


_SECRET = (Holds.NVS_VALUES, Holds.NVS_KEYS, Holds.CORE_DUMP, Holds.PRIVATE_KEY)
_WORDS = {
    Holds.CIPHERTEXT: "ciphertext of flash encryption",
    Holds.NVS_CIPHERTEXT: "values of NVS, encrypted",
    Holds.ERASED: "erased flash",
    Holds.PARTITION_TABLE: "the partition table",
    Holds.FIRMWARE: "FIRMWARE in the clear",
    Holds.DATA: "DATA in the clear",
    Holds.NVS_VALUES: "VALUES OF NVS in the clear, such as passwords",
    Holds.NVS_KEYS: "KEYS OF NVS in the clear",
    Holds.CORE_DUMP: "A CORE DUMP in the clear: the memory of a device",
    Holds.PRIVATE_KEY: "A PRIVATE KEY in the clear",
}
