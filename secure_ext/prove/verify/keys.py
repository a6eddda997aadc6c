# SPDX-License-Identifier: Apache-2.0
"""Are the key and digest files those of the plan; and the flash encryption key, if it is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from secure_ext.bundle.files import BundleFiles
from secure_ext.bundle.mac_list_file import MAC_LIST, list_of
from secure_ext.checks import Check
from secure_ext.chips.facts import chip_facts
from secure_ext.errors import InputError
from secure_ext.formats.flash_encryption import (
    KEY_LENGTHS,
    FlashEncryptionKey,
    FlashEncryptionScheme,
    flash_encryption_key,
)
from secure_ext.keys.ecdsa_key import pem_of_block
from secure_ext.keys.symmetric import load_secret, refuse_weak
from secure_ext.prove.verify.check import COPY_AGAIN, failed, judged
from secure_ext.prove.verify.documents import Documents
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.fingerprint import fingerprint
from secure_ext.station.plan_document import KeyStep

KEY_FILE = "keys/flash_encryption_key.bin"
_ROLE = "flash_encryption_key"


def check_key_files(files: BundleFiles, documents: Documents) -> Iterator[Check]:
    """The files that are burned; one that is not there is the inventory's business."""
    for step in documents.plan.keys:
        content = files.read(step.file)
        if content is not None and step.role in documents.per_device_roles:
            wrong = f"{step.file} is there, and each board gets a key of its own"
            yield failed("key-fingerprint", step.role, wrong, "find out what that is, and remove it")
        elif content is not None:
            fits = fingerprint(content[: step.length]) == step.fingerprint
            padded = step.purpose.startswith("ECDSA_")
            if not step.is_digest and (weakness := _weakness(content.lstrip(b"\0") if padded else content)):
                yield failed("key-fingerprint", step.role, weakness, "make the bundle again with another key")
                continue
            evidence = f"fingerprint {step.fingerprint}"
            wrong = f"{step.file} is another key than the plan's"
            yield judged("key-fingerprint", step.role, fits, evidence, wrong, cure=COPY_AGAIN)
            if fits:
                yield from _pem(step, content[: step.length], files, documents.plan.chip)


def _pem(step: KeyStep, key: bytes, files: BundleFiles, chip: str) -> Iterator[Check]:
    """What espefuse burns of an ECDSA key is its PEM file, and not the one whose fingerprint the plan has."""
    if step.pem is not None:
        text = files.read(step.pem)
        is_key = text is not None and text == pem_of_block(key, chip_facts(chip).ecdsa_curves[step.purpose])
        wrong = f"{step.pem} is missing, or is another key than {step.file}"
        yield judged("key-fingerprint", step.pem, is_key, f"the key in {step.file}", wrong, cure=COPY_AGAIN)


def check_data_files(files: BundleFiles, documents: Documents) -> Iterator[Check]:
    """The files of what goes into the block of user data; one that is not there is the inventory's business."""
    for data in documents.plan.data:
        content = files.read(data.file)
        if content is not None:
            wrong = f"{data.file} is not what the plan burns into {data.block}"
            yield judged("data-file", data.file, content == data.content, "the plan's data", wrong, cure=COPY_AGAIN)
    wanted, macs = list_of(documents.plan), files.read(MAC_LIST)
    if wanted is not None and macs is not None:
        fits = hashlib.sha256(macs).hexdigest() == wanted
        yield judged("data-file", MAC_LIST, fits, "the plan's list", "it is not the plan's list", cure=COPY_AGAIN)


def find_flash_key(
    files: BundleFiles, documents: Documents, given: Path | None, checks: list[Check]
) -> FlashEncryptionKey | None:
    """The chip's flash encryption key: the given file's, or the one in the bundle; None if it is not at hand.

    Raises the InputErrors SE620 to SE625 for a given file that is no key.
    """
    steps = [step for step in documents.plan.keys if step.role.startswith(_ROLE)]
    if not steps or documents.encrypts_per_device:
        return None
    raw = files.read(KEY_FILE)
    if given is not None:
        raw = load_secret(given, _ROLE, sorted({size.key_bytes for size in KeySize})).data
    if raw is None:
        return None
    place = str(given or KEY_FILE)
    fits = matches_plan(raw, documents)
    checks.append(
        judged("key-fingerprint", place, fits, "the plan's flash encryption key", "it is another key than the plan's")
    )
    return cipher_key(raw, documents.plan.chip) if fits else None


def matches_plan(raw: bytes, documents: Documents) -> bool:
    """Whether a flash encryption key is the one whose fingerprints the plan names."""
    steps = [step for step in documents.plan.keys if step.role.startswith(_ROLE)]
    parts = [raw[32 * index : 32 * index + 32] for index in range(len(steps))] if len(steps) > 1 else [raw]
    return sum(map(len, parts)) == len(raw) and all(
        fingerprint(part) == step.fingerprint and len(part) == step.length
        for part, step in zip(parts, steps, strict=True)
    )


def cipher_key(raw: bytes, chip: str) -> FlashEncryptionKey | None:
    """The key as the cipher of `chip` takes it; None if it is none."""
    scheme = FlashEncryptionScheme.XTS if chip_facts(chip).has_xts else FlashEncryptionScheme.ESP32
    return flash_encryption_key(scheme, raw) if len(raw) in KEY_LENGTHS[scheme] else None


def _weakness(key: bytes) -> str:
    """Why nobody can have meant this key; empty if nothing speaks against it."""
    try:
        refuse_weak(key, (len(key),), "")
    except InputError as error:
        return error.cause
    return ""
