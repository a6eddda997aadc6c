# SPDX-License-Identifier: Apache-2.0
"""Rules about updates and signatures: would the boards take this app, and the one after it?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject, Unseen
from secure_ext.formats.image import is_secure_padded, stray_bytes
from secure_ext.formats.secure_boot import read_signature_blocks
from secure_ext.plan.fleet import Fleet, signs_in_software


def _secure_boot_only_in_app(subject: Subject) -> Iterator[Match | Unseen]:
    fleet, config = subject.fleet, subject.build.config
    if fleet is None or fleet.policy.secure_boot.enabled or not config.enabled("SECURE_BOOT"):
        return
    if fleet.setting("SECURE_BOOT"):
        yield Unseen("secure boot", "the plan leaves it off, and the fleet's bootloader turns it on by itself")
        return
    yield Match(
        "CONFIG_SECURE_BOOT",
        "the app is built for secure boot, which the boards do not have: it verifies the next update with key digests "
        "that no board holds",
    )


def _signature_in_software(subject: Subject) -> Iterator[Match | Unseen]:
    fleet = subject.fleet
    if fleet is None or fleet.policy.secure_boot.enabled:
        return
    image = subject.images[0]
    blocks = read_signature_blocks(image.content, image.source) if image.signed_already else ()
    theirs = None if fleet.app_blocks is None else next((block.key_digest for block in fleet.app_blocks), None)
    ours = next((block.key_digest for block in blocks), None)
    verifies = _verifies(fleet)
    if verifies is None and (theirs is not None or ours is not None) and ours != theirs:
        yield Unseen(
            "signature of the update", "whether the fleet's app verifies updates is not recorded in its bundle"
        )
    if not verifies or image.sign:
        return
    if ours is None:
        yield Match(
            image.source, "the running app verifies updates with the key that signed itself, and this one is unsigned"
        )
    elif fleet.app_blocks is None:
        yield Unseen("signature of the update", "the fleet's app cannot be read, so its key is not known")
    elif ours != theirs:
        known = "none" if theirs is None else theirs.hex()
        yield Match(
            image.source,
            f"the running app takes updates whose first signature is by its own key (digest {known}); here it is by "
            f"that of digest {ours.hex()}",
        )


def _verifies(fleet: Fleet) -> bool | None:
    """Whether the fleet's app verifies updates by itself; None if its bundle does not say."""
    return None if fleet.settings is None else signs_in_software(fleet.settings)


def _unpadded(subject: Subject) -> Iterator[Match | Unseen]:
    if subject.fleet is None or not subject.fleet.policy.secure_boot.enabled:
        return
    image = subject.images[0]
    page = subject.build.config.integer("MMU_PAGE_SIZE") or subject.chip.facts.mmu_page_size
    if image.header is not None and not is_secure_padded(image.content, image.header, page):
        yield Match(
            image.source,
            f"the app does not end on a {page // 1024} KB page, so bytes behind it would be mapped and not signed",
        )


def _bytes_behind(subject: Subject) -> Iterator[Match | Unseen]:
    for image in subject.images:
        if image.header is not None and image.sign and stray_bytes(image.content):
            yield Match(
                image.source,
                f"{stray_bytes(image.content)} bytes lie behind the image, where "
                + ("nothing signs them" if image.signed_already else "chip and bootloader look for its signature"),
            )


RULES = (
    Rule(
        "SP125",
        Severity.ERROR,
        "update is built for secure boot, the boards are not",
        _secure_boot_only_in_app,
        explanation="An app that was built for secure boot verifies the next update with the key digests in eFuse. "
        "Boards without secure boot have none: the app starts, and takes no update ever again.",
        source="ESP-IDF components/bootloader_support/src/secure_boot_v2/secure_boot_signatures_app.c "
        "(get_secure_boot_key_digests)",
        cure="set CONFIG_SECURE_BOOT=n (menuconfig, Security features) and build again",
        acceptable=False,
        why="no board would take another update",
        concerns=Concern.UPDATES,
        settings=(("SECURE_BOOT", False),),
    ),
    Rule(
        "SP127",
        Severity.ERROR,
        "running app refuses the update's signature",
        _signature_in_software,
        explanation="Without secure boot an app can verify updates by itself: it takes those whose first signature is "
        "by the key that signed its own image first. An update that is unsigned, or signed by another key, is refused.",
        source="ESP-IDF components/bootloader_support/src/secure_boot_v2/secure_boot_signatures_app.c "
        "(esp_secure_boot_verify_sbv2_signature_block)",
        cure="sign it with the key that signed the fleet's app: --signing-key, or CONFIG_SECURE_BOOT_SIGNING_KEY with "
        "CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=y",
        acceptable=False,
        why="no board would take it",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP137",
        Severity.ERROR,
        "bytes behind an image that is signed",
        _bytes_behind,
        explanation="Chip and bootloader look for the signature right behind the image, as long as its header says, "
        "at the next sector. Bytes that somebody has appended there stand where the signature belongs, or behind it, "
        "where nothing covers them. Erased flash and zeros are cut off here.",
        source="ESP-IDF components/bootloader_support/src/esp_image_format.c (verify_secure_boot_signature)",
        cure="take the image as the build made it; data of its own goes into a partition of its own",
        acceptable=False,
        why="where the signature belongs, chip and bootloader find none and start nothing",
        concerns=Concern.BOTH,
        needs_images=True,
    ),
    Rule(
        "SP139",
        Severity.ERROR,
        "update is not padded for secure boot",
        _unpadded,
        explanation="The chip maps flash by whole pages. If the app ends inside a page, the bytes behind it are "
        "mapped, too, and no signature covers them. ESP-IDF pads the app of a secure boot build to the end of a page; "
        "one that is not padded comes from another kind of build, and should not be signed for boards with secure "
        "boot.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_ALLOW_SHORT_APP_PARTITION); esptool, "
        "elf2image --secure-pad-v2",
        cure="set CONFIG_SECURE_BOOT=y, CONFIG_SECURE_BOOT_V2_ENABLED=y and "
        "CONFIG_SECURE_BOOT_ALLOW_SHORT_APP_PARTITION=n (menuconfig, Security features), and build again",
        why="boards start it; whoever can write the flash can place code behind it",
        concerns=Concern.UPDATES,
        settings=(
            ("SECURE_BOOT", True),
            ("SECURE_BOOT_V2_ENABLED", True),
            ("SECURE_BOOT_ALLOW_SHORT_APP_PARTITION", False),
        ),
    ),
)
