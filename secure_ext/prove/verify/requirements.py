# SPDX-License-Identifier: Apache-2.0
"""Does the plan ask of a board what its own images need? One that is burned and cannot start them is lost.

What the images say of themselves is read from them, as `secure_ext.plan.requirements` does when a plan is made; what
only the configuration says, from the manifest's settings, which a build alone can confirm.
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.bundle.file_names import PLAN
from secure_ext.checks import Check
from secure_ext.chips.facts import chip_facts
from secure_ext.documents.manifest import ManifestImage
from secure_ext.errors import SecureProvisionError
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.bootloader_description import read_bootloader_description
from secure_ext.formats.image import NO_REVISION_LIMIT, ImageHeader, parse_image
from secure_ext.plan.bootloader_efuses import ROLLBACK_ENABLE, recovery_offset_of
from secure_ext.prove.verify.check import judged, unseen
from secure_ext.prove.verify.documents import Documents

_NAME = "plan-requirements"
_PROGRAMS = ("app", "bootloader")


def check_requirements(documents: Documents, readable: dict[str, bytes]) -> Check:
    """`readable` is what `read_images` returns."""
    programs = [image for image in documents.images if image.role in _PROGRAMS]
    wrong = [*_of_documents(documents), *_of_recovery(documents)]
    for image in programs:
        content = readable.get(image.name)
        if content is not None:
            wrong += [f"{image.name} {text}" for text in _of_image(documents, image, content)]
    if not wrong and any(image.name not in readable for image in programs):
        return unseen(_NAME, PLAN, "what encrypted images need cannot be read without their key")
    return judged(_NAME, PLAN, not wrong, "it asks of a board what its images need", "; ".join(wrong))


def _of_documents(documents: Documents) -> Iterator[str]:
    manifest, asked = documents.manifest, documents.plan.requirements
    if asked is None:
        if not documents.is_of_first_release:
            yield "it asks nothing of a board's flash and eFuses"
        return
    end = max((row.offset + row.size for row in manifest.partitions), default=0)
    if asked.flash_end < end:
        yield f"the partitions need flash up to 0x{end:x}"
    settings = manifest.settings or {}
    single = settings.get("FREERTOS_UNICORE") or settings.get("ESP_SYSTEM_SINGLE_CORE_MODE")
    if not single and asked.cores < chip_facts(documents.plan.chip).cores:
        yield "the app starts both cores"
    octal = settings.get("ESPTOOLPY_OCT_FLASH") and not settings.get("ESPTOOLPY_FLASH_MODE_AUTO_DETECT")
    if octal and not asked.octal_flash:
        yield "the app needs octal flash"

    number = settings.get("NVS_SEC_HMAC_EFUSE_KEY_ID")
    blocks = [step.block for step in documents.plan.keys if step.role == "nvs_hmac_key"]
    if blocks and isinstance(number, int) and number >= 0 and blocks != [f"BLOCK_KEY{number}"]:
        yield f"the firmware looks for its NVS key in BLOCK_KEY{number}"


def _of_recovery(documents: Documents) -> Iterator[str]:
    place = recovery_offset_of(documents.plan)
    if place is not None and place not in [image.offset for image in documents.images if image.role == "bootloader"]:
        yield f"the ROM is told of a recovery bootloader at 0x{place:x}, where the bundle has none"


def _of_image(documents: Documents, image: ManifestImage, content: bytes) -> Iterator[str]:
    plan, asked = documents.plan, documents.plan.requirements
    try:
        header = parse_image(content, place=image.file)
    except SecureProvisionError:
        return  # the check of its content says so
    if header.min_revision > plan.min_revision:
        yield f"needs at least revision {header.min_revision} of the chip"
    if image.role == "app":
        yield from _of_app(documents, header, read_app_description(content))
    described = None if asked is None else read_bootloader_description(content)
    if image.role == "bootloader" and asked is not None:
        yield from _of_bootloader(documents, image, 0 if described is None else described.secure_version)


def _of_bootloader(documents: Documents, image: ManifestImage, version: int) -> Iterator[str]:
    """A recovery bootloader may be newer than the first one, whose version is asked for."""
    plan, asked = documents.plan, documents.plan.requirements
    least = 0 if asked is None else asked.bootloader_secure_version
    if image.offset == chip_facts(plan.chip).bootloader_offset and version != least:
        yield f"has secure version {version}, and {least} is asked for"
    compared = any(step.field == ROLLBACK_ENABLE for step in plan.fields)
    if compared and image.offset == recovery_offset_of(plan) and version < least:
        yield f"has secure version {version}; the ROM starts no bootloader below {least}"


def _of_app(documents: Documents, header: ImageHeader, app: AppDescription | None) -> Iterator[str]:
    plan, asked = documents.plan, documents.plan.requirements
    if header.max_revision != NO_REVISION_LIMIT and not _at_most(plan.max_revision, header.max_revision):
        yield f"needs at most revision {header.max_revision} of the chip"
    if app is None or asked is None:
        return
    if chip_facts(plan.chip).has_block_revision:
        if app.min_block_revision > asked.min_block_revision:
            yield f"needs at least revision {app.min_block_revision} of the eFuse blocks"
        if app.max_block_revision is not None and not _at_most(asked.max_block_revision, app.max_block_revision):
            yield f"needs at most revision {app.max_block_revision} of the eFuse blocks"
    if (documents.manifest.settings or {}).get("BOOTLOADER_APP_ANTI_ROLLBACK") and not _at_most(
        asked.secure_version, app.secure_version
    ):
        yield f"has secure version {app.secure_version}, which a board's must not exceed"


def _at_most(value: int | None, limit: int) -> bool:
    return value is not None and value <= limit
