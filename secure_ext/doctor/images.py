# SPDX-License-Identifier: Apache-2.0
"""Rules about the images themselves."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.build.idf_version import parse_idf_version
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.formats.image import is_secure_padded
from secure_ext.plan.fleet import signs_in_software

_LOOKS_FOR_ECDSA_SIGNATURE = {(5, 0): 5, (5, 1): 2, (5, 2): 0}
"""First patch release of each branch whose app aborts without one (components/bootloader_support/src/secure_boot.c)."""


def _right_chip(subject: Subject) -> Iterator[Match]:
    for image in subject.images:
        if image.header is not None and image.header.chip != subject.chip.name:
            yield Match(
                image.source,
                f"the image is for {image.header.chip}, the {'fleet' if subject.fleet else 'project'} for "
                f"{subject.chip.name}",
            )


def _padded(subject: Subject) -> Iterator[Match]:
    page = subject.build.config.integer("MMU_PAGE_SIZE") or subject.chip.facts.mmu_page_size
    for image in subject.images:
        if image.role is Role.APP and image.sign and image.header is not None:
            if not is_secure_padded(image.content, image.header, page):
                yield Match(
                    image.source,
                    f"the app does not end on a {page // 1024} KB page, so bytes behind it are mapped but not signed",
                )


def _signed_without_secure_boot(subject: Subject) -> Iterator[Match]:
    for image in subject.images:
        if image.signed_already and not image.sign:
            yield Match(
                image.source,
                "the image is signed, but secure boot is off: the chip will not check the signature",
            )


def _unsigned_app_aborts(subject: Subject) -> Iterator[Match]:
    checks = signs_in_software(subject.build.config)
    for image in subject.images:
        if checks and image.role is Role.APP and not image.sign and not image.signed_already:
            yield Match(
                image.source,
                "the app is built to verify the signature of updates with its own, and it has none: it aborts at every "
                "boot",
            )


def _starts_unsigned(subject: Subject) -> bool:
    """Whether this ESP-IDF does not look for the app's own signature: with ECDSA, in its first releases."""
    version = parse_idf_version(subject.build.idf_version)
    looks = version is None or version.has(_LOOKS_FOR_ECDSA_SIGNATURE)
    return not looks and subject.build.config.enabled("SECURE_SIGNED_APPS_ECDSA_V2_SCHEME")


RULES = (
    Rule(
        "SP010",
        Severity.ERROR,
        "image is for another chip",
        _right_chip,
        explanation="Every image names in its header the chip that it was built for. ROM and bootloader refuse an "
        "image for another one. A build directory that was used for two targets can hold such a mixture.",
        source="ESP-IDF components/bootloader_support/include/esp_app_format.h (esp_chip_id_t); "
        "components/bootloader_support/src/bootloader_common_loader.c (bootloader_common_check_chip_validity)",
        cure="build again from scratch: idf.py fullclean build",
        acceptable=False,
        why="ROM and bootloader refuse the image at every start",
        concerns=Concern.BOTH,
        stops_update="SE754",
        needs_images=True,
    ),
    Rule(
        "SP011",
        Severity.WARNING,
        "app is not padded for secure boot",
        _padded,
        explanation="The chip maps flash by pages of 64 KB (less on some). If the app ends inside a page, the bytes "
        "behind it are mapped, too, but no signature covers them: whoever can write flash can place code or data "
        "there. ESP-IDF pads the app of a secure boot build to the end of a page.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_ALLOW_SHORT_APP_PARTITION); esptool, "
        "elf2image --secure-pad-v2",
        cure="set CONFIG_SECURE_BOOT=y, CONFIG_SECURE_BOOT_V2_ENABLED=y and "
        "CONFIG_SECURE_BOOT_ALLOW_SHORT_APP_PARTITION=n (menuconfig, Security features), and build again",
        needs_images=True,
        settings=(
            ("SECURE_BOOT", True),
            ("SECURE_BOOT_V2_ENABLED", True),
            ("SECURE_BOOT_ALLOW_SHORT_APP_PARTITION", False),
        ),
    ),
    Rule(
        "SP013",
        Severity.WARNING,
        "signed image without secure boot",
        _signed_without_secure_boot,
        explanation="The image is signed, but the chip will not be told to verify signatures: secure boot is off in "
        "the plan. The signature then protects updates at best, and nothing at boot.",
        source="ESP-IDF manual, Secure Boot V2, Signed App Verification Without Hardware Secure Boot",
        cure="set secure_boot.enabled: true in the profile (or give --secure-boot), if that was meant",
        needs_images=True,
    ),
    Rule(
        "SP014",
        Severity.ERROR,
        "app will abort, because it is not signed",
        _unsigned_app_aborts,
        explanation="Without hardware secure boot, an app can verify the signature of updates with the key that "
        "signed itself. At every start it looks for its own signature, and aborts if there is none, since it could "
        "never accept an update. Here secure boot is off, so nothing signs the app, and the build has not done so "
        "either: the board restarts for ever. With ECDSA, the first releases of ESP-IDF 5.0 and 5.1 do start, and then "
        "refuse every update.",
        source="ESP-IDF components/bootloader_support/src/secure_boot.c (check_signature_on_update_check); ESP-IDF "
        "issue 10917",
        cure="set CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=y with CONFIG_SECURE_BOOT_SIGNING_KEY (menuconfig, "
        "Security features), or plan secure boot, which signs the app here",
        acceptable=_starts_unsigned,
        why="the app aborts at every start; only with ECDSA, before ESP-IDF 5.0.5, 5.1.2 and 5.2, it does not look",
        concerns=Concern.BOTH,
        needs_images=True,
    ),
)
