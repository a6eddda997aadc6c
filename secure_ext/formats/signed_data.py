# SPDX-License-Identifier: Apache-2.0
"""Data that is signed like an app: padded to whole sectors, with the signatures in a sector behind it.

An app that wants data signed looks for the signature in the last whole sector of what was written, whatever the data
look like; an app's own signature stands where its header says. Source: ESP-IDF ``components/app_update/esp_ota_ops.c``
(ota_verify_data_partition_signature).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from secure_ext.errors import InputError
from secure_ext.formats.image import starts_signature_block
from secure_ext.formats.secure_boot import check_keys, read_signature_blocks, signature_sector, signed_block
from secure_ext.formats.signature_block import BLOCK_SIZE, SECTOR
from secure_ext.keys.signer import Signer
from secure_ext.station.flash_sectors import whole_sectors


def signed_size(size: int) -> int:
    """Bytes that so many bytes of data have when they are signed."""
    return whole_sectors(size) + SECTOR


def sign_data(content: bytes, keys: Sequence[Signer], *, place: str) -> bytes:
    """Pads data with 0xFF to whole sectors and appends a sector with one signature a key, in that order.

    Raises InputError SE520 to SE522 as `sign` does, SE523 if the data end with signatures already.
    """
    is_whole = len(content) >= SECTOR and len(content) % SECTOR == 0
    if is_whole and starts_signature_block(content[-SECTOR:][:BLOCK_SIZE]):
        raise InputError(
            "SE523",
            "the data are signed already; signing them once more would make the first signatures a part of the data",
            cure="give the data as they are, without a signature",
            place=place,
        )
    check_keys([], keys, place)
    padded = content + b"\xff" * (whole_sectors(len(content)) - len(content))
    return padded + signature_sector([signed_block(padded, key) for key in keys])


def data_signers(signed: bytes, place: str) -> tuple[bytes, ...]:
    """The public key digest of each key that has validly signed these data, in the order of its signature.

    Raises the errors of `read_signature_blocks` and of `SignatureBlock.verification_key`.
    """
    content, signers = signed[:-SECTOR], []
    for block in read_signature_blocks(signed[-SECTOR:], place):
        key = block.verification_key(place=place)
        digest = hashlib.new(block.scheme.hash_name, content).digest()
        if block.crc_valid and block.image_digest == digest and key.is_valid_signature(block.signature, digest):
            signers.append(block.key_digest)
    return tuple(signers)
