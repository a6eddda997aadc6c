# SPDX-License-Identifier: Apache-2.0
"""The partition of a board's identity: where ``esp_secure_cert_mgr`` looks for it.

Source: espressif/esp_secure_cert_mgr, ``docs/format.md``, ``private_include/esp_secure_cert_tlv_private.h``.
"""

from __future__ import annotations

from secure_ext.errors import UsageError
from secure_ext.formats.partition_table import Partition, PartitionTable

IDENTITY_TYPE = 0x3F
IDENTITY_LABEL = "esp_secure_cert"


def identity_partition(table: PartitionTable) -> Partition:
    """The row of the table. Raises UsageError SE453 if there is none."""
    row = table.labelled(IDENTITY_LABEL)
    if row is None or row.type != IDENTITY_TYPE:
        found = "there is none" if row is None else f"it is of type {row.type_name}"
        raise UsageError(
            "SE453",
            f"the identity of a board needs a partition {IDENTITY_LABEL} of type 0x3f, and {found}",
            cure="add the line `esp_secure_cert, 0x3F, , , 0x2000, encrypted` to the partition table, and build again",
            place="profile: identity",
        )
    return row
