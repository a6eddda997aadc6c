# SPDX-License-Identifier: Apache-2.0
"""Can the firmware read an NVS image that was made of a CSV, with the NVS keys that it will have?"""

from __future__ import annotations

from secure_ext.bundle.files import BundleFiles
from secure_ext.checks import Check
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.nvs_keys import KEYS_SIZE, NvsKeys, derive_nvs_keys, parse_nvs_keys
from secure_ext.formats.nvs_reader import read_nvs
from secure_ext.plan.document import key_file
from secure_ext.plan.steps import KeyRole
from secure_ext.prove.verify.check import passed, refused, unseen
from secure_ext.prove.verify.documents import Documents

_NAME = "image-nvs"
_HMAC_KEY = key_file(KeyRole.NVS_HMAC)


def check_nvs(files: BundleFiles, documents: Documents, image: ManifestImage, readable: dict[str, bytes]) -> Check:
    """Reads every page, entry and CRC; the keys are derived from the HMAC key, or stand in the nvs_keys image."""
    by_hmac = any(step.role == KeyRole.NVS_HMAC.value for step in documents.plan.keys)
    key_images = [other.name for other in documents.images if other.recipe == "nvs-keys"]
    keys: NvsKeys | None = None
    try:
        if by_hmac:
            hmac_key = files.read(_HMAC_KEY)
            if hmac_key is None:
                return unseen(_NAME, image.name, f"the HMAC key is not given ({_HMAC_KEY})")
            keys = derive_nvs_keys(hmac_key)
        elif key_images:
            content = readable.get(key_images[0])
            if content is None:
                return unseen(_NAME, image.name, f"{key_images[0]} cannot be decrypted without the chip's key")
            keys = parse_nvs_keys(content[:KEYS_SIZE], place=key_images[0])
        found = read_nvs(readable[image.name], keys, place=image.file)
    except SecureProvisionError as error:
        return refused(_NAME, image.name, error)
    how = "in plaintext" if keys is None else f"with the NVS keys {keys.fingerprint}"
    return passed(_NAME, image.name, f"{len(found.values)} values can be read, {how}")
