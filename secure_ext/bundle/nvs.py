# SPDX-License-Identifier: Apache-2.0
"""Makes the NVS images and the nvs_keys image of a bundle, and proves them."""

from __future__ import annotations

from collections.abc import Iterable

from secure_ext.bundle.key_material import KeyMaterial
from secure_ext.bundle.nvs_image import check_nvs_image, make_nvs_image
from secure_ext.errors import CheckError
from secure_ext.formats.nvs_keys import KEYS_SIZE, NvsKeys, parse_nvs_keys
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recipe import NvsFromCsv, NvsKeysImage


def made_nvs(recipe: NvsFromCsv | NvsKeysImage, keys: KeyMaterial) -> bytes:
    """The image of a recipe, as the NVS library of the firmware will read it.

    Raises the errors of `make_nvs_image`.
    """
    if isinstance(recipe, NvsFromCsv):
        return make_nvs_image(recipe.csv, recipe.size, _needed(keys) if recipe.encrypted else None)
    return _needed(keys).image()


def proved_nvs(readable: bytes, recipe: NvsFromCsv | NvsKeysImage, keys: KeyMaterial) -> tuple[str, str]:
    """Reads an image back as the firmware will; `readable` is not flash-encrypted any more. Proof and evidence.

    Raises the errors of `check_nvs_image`, InputError SE544 for keys that the firmware would replace by its own,
    CheckError SE713 for other keys.
    """
    if isinstance(recipe, NvsFromCsv):
        used = _needed(keys) if recipe.encrypted else None
        content = check_nvs_image(readable, recipe.csv, used)
        by = "in plaintext" if used is None else f"decrypted with the NVS keys {used.fingerprint}"
        return "holds the values of the CSV", f"{len(content.values)} values, {by}"
    found = parse_nvs_keys(readable[:KEYS_SIZE], place="nvs_keys")
    if found != _needed(keys):
        raise CheckError(
            "SE713",
            "the nvs_keys image holds other keys",
            cure="this is a defect of secure-provision; do not use the bundle, and report it",
            place="nvs_keys",
        )
    return "holds the NVS keys", found.fingerprint


def check_nvs_images(images: Iterable[PlannedImage]) -> None:
    """Makes every NVS image of the plan without encryption, and forgets it: for the doctor, which makes nothing.

    Raises what `make_nvs_image` and `check_nvs_image` raise.
    """
    for image in images:
        if isinstance(image.recipe, NvsFromCsv):
            check_nvs_image(make_nvs_image(image.recipe.csv, image.recipe.size, None), image.recipe.csv, None)


def _needed(keys: KeyMaterial) -> NvsKeys:
    if keys.nvs_keys is None:
        raise CheckError(
            "SE338",
            "an NVS image is to be encrypted here, but its keys are left to the device",
            cure="use nvs.key: generate, or a key file",
            place="nvs.key",
        )
    return keys.nvs_keys
