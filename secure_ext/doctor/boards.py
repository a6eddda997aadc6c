# SPDX-License-Identifier: Apache-2.0
"""Rules about the boards that the firmware can run on: is there one, and will it be taken for what it is?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.flash_size import MEGABYTE
from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.plan.further_efuses import RISKY
from secure_ext.station.revision import revision_text

_MENU = "menuconfig, Hardware Settings, Chip revision"


def _some_chip_fits(subject: Subject) -> Iterator[Match]:
    plan = subject.plan
    if plan.max_revision is not None and plan.max_revision < plan.min_revision:
        yield Match(
            "chip revision",
            f"the app starts on chips up to {revision_text(plan.max_revision)} only, but boards are provisioned from "
            f"{revision_text(plan.min_revision)} on: there is no board for this bundle",
        )
    asked = plan.requirements
    if asked and asked.max_block_revision is not None and asked.max_block_revision < asked.min_block_revision:
        yield Match(
            "eFuse block revision",
            f"one image wants {revision_text(asked.min_block_revision)} or later, another one "
            f"{revision_text(asked.max_block_revision)} at most: there is no board for this bundle",
        )


def _flash_size_is_known(subject: Subject) -> Iterator[Match]:
    flash = subject.build.bootloader_flash
    if flash is None or flash.header == flash.least:
        return
    said = "a number that stands for no size" if flash.header is None else f"{flash.header // MEGABYTE} MB"
    built = flash.idf_version or "an unknown ESP-IDF"
    sure = "may take" if flash.most != flash.least else "takes"
    yield Match(
        subject.build.bootloader.source,
        f"its header says {said}, which the bootloader of {built} for {subject.chip.name} {sure} for "
        f"{flash.least // MEGABYTE} MB",
    )


def _risky_efuses(subject: Subject) -> Iterator[Match]:
    for name in subject.policy.efuses:
        if name in RISKY:
            yield Match(f"efuses.{name}", f"{name} is burned, and cannot be taken back: {RISKY[name]}")


RULES = (
    Rule(
        "SP100",
        Severity.ERROR,
        "no chip has the revision that is asked for",
        _some_chip_fits,
        explanation="A bundle is for chips from the least revision of the build, or of what the plan burns, up to the "
        "greatest one that its apps start on. Between these two there is none: either the app refuses the chip, or the "
        "plan does not fit its eFuses. The eFuses of an ESP32-C5 below v1.0 lie elsewhere than those of the chips that "
        "are sold; what espefuse burns there are other bits.",
        source="ESP-IDF components/bootloader_support/src/bootloader_common_loader.c "
        "(bootloader_common_check_chip_revision_validity); components/efuse/esp32c5/esp_efuse_table.csv, 5.4.3 and 5.5",
        cure="build with an ESP-IDF that supports the chips you have: raise the greatest revision "
        f"({_MENU}), or leave out what needs a later one",
        acceptable=False,
        why="there is no board that the script and the app both take",
    ),
    Rule(
        "SP101",
        Severity.WARNING,
        "bootloader does not know its flash size",
        _flash_size_is_known,
        explanation="The bootloader compares the size in its header with a list that depends on the chip and on the "
        "version of ESP-IDF. What is not in the list it takes for 2 MB: the flash behind that cannot be used, and a "
        "partition that reaches there stops the board (SP005). Sizes above 16 MB are in the list since 5.4.4, 5.5.2 "
        "and 6.0; on ESP32-S2 and ESP32-S3 always, on ESP32-P4 since 5.3.2; 32 MB on ESP32-C5 since 5.5.",
        source="ESP-IDF components/bootloader_support/bootloader_flash/src/bootloader_flash_config_<chip>.c "
        "(update_flash_config)",
        cure="build with a later ESP-IDF (5.4.4, 5.5.2, 6.0 or later), or set CONFIG_ESPTOOLPY_FLASHSIZE_16MB=y or "
        "less (menuconfig, Serial flasher config)",
        needs_images=True,
    ),
    Rule(
        "SP165",
        Severity.ERROR,
        "an eFuse that can cost the board",
        _risky_efuses,
        explanation="Voltages and pins of the flash are eFuses that a module's maker burns for the parts that are on "
        "it. A wrong one is not seen until the board starts, and then it does not start any more.",
        source="technical reference manuals, eFuse Controller; esp_efuse_table.csv of the chip",
        cure="take it out of efuses; or measure it on a board that you can lose, and accept this",
        why="a board whose flash has no power, or the wrong one, never starts again",
    ),
)
