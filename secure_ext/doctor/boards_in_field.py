# SPDX-License-Identifier: Apache-2.0
"""Rules about updates: what is compiled into the new app, against the boards' chips, eFuses and bootloader."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import NOT_RECORDED, Concern, Match, Rule, Severity, Subject, Unseen, of_update
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.image import NO_REVISION_LIMIT
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import PlannedImage
from secure_ext.station.revision import revision_text

_MENU = "build again with the fleet's setting"


def _described(image: PlannedImage) -> AppDescription:
    description = read_app_description(image.content)
    if description is None:
        raise AssertionError("an update without an app description is refused before it is examined")
    return description


def _least_revision(_: Subject, fleet: Fleet, image: PlannedImage) -> Iterator[Match | Unseen]:
    needed = image.header.min_revision if image.header else 0
    if needed > fleet.plan.min_revision:
        yield Match(
            image.source,
            f"the app needs chip revision {revision_text(needed)}, and the fleet's boards begin at "
            f"{revision_text(fleet.plan.min_revision)}",
        )


def _greatest_revision(_: Subject, fleet: Fleet, image: PlannedImage) -> Iterator[Match | Unseen]:
    most = image.header.max_revision if image.header else NO_REVISION_LIMIT
    if most == NO_REVISION_LIMIT:
        return
    if fleet.plan.max_revision is None:
        yield Unseen(
            "maximum chip revision", f"the app runs up to {revision_text(most)}; which revisions there are, nobody says"
        )
    elif most < fleet.plan.max_revision:
        yield Match(
            image.source,
            f"the app runs up to chip revision {revision_text(most)}, and the fleet's boards may be of up to "
            f"{revision_text(fleet.plan.max_revision)}",
        )


def _block_revision(_: Subject, fleet: Fleet, image: PlannedImage) -> Iterator[Match | Unseen]:
    app = _described(image)
    least, most = app.min_block_revision, app.max_block_revision
    if fleet.chip.efuses.find("BLK_VERSION_MINOR") is None or (not least and most is None):
        return
    known = fleet.block_revisions
    if known is None:
        yield Unseen("eFuse block revision", NOT_RECORDED)
        return
    if least > known[0]:
        yield Match(
            image.source,
            f"the app needs eFuse block revision {revision_text(least)}, and the fleet's boards begin at "
            f"{revision_text(known[0])}",
        )
    if most is not None and known[1] is None:
        limit = f"the app runs up to {revision_text(most)}; the fleet's own app sets no limit"
        yield Unseen("eFuse block revision", limit)
    elif most is not None and known[1] is not None and most < known[1]:
        yield Match(
            image.source,
            f"the app runs up to eFuse block revision {revision_text(most)}, and the fleet's boards may be of up to "
            f"{revision_text(known[1])}",
        )


def _encryption_only_in_app(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    built = subject.build.config.enabled("SECURE_FLASH_ENC_ENABLED")
    if not built or fleet.policy.flash_encryption.enabled:
        return
    if fleet.setting("SECURE_FLASH_ENC_ENABLED"):
        yield Unseen("flash encryption", "the plan leaves it off, and the fleet's bootloader turns it on by itself")
        return
    yield Match(
        "CONFIG_SECURE_FLASH_ENC_ENABLED",
        "the app is built for flash encryption, which the boards do not have"
        + (": it aborts at every start" if _looks_for_encryption(subject) else ""),
    )


def _looks_for_encryption(subject: Subject) -> bool:
    return subject.build.config.enabled("SECURE_FLASH_CHECK_ENC_EN_IN_APP")


def _key_manager(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    symbol = "SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR"
    if subject.build.config.enabled(symbol) and fleet.policy.flash_encryption.enabled:
        yield Match(
            f"CONFIG_{symbol}", "the app takes its flash encryption key from the Key Manager, the boards from eFuse"
        )


def _secure_version(_: Subject, fleet: Fleet, image: PlannedImage) -> Iterator[Match | Unseen]:
    version, least = _described(image).secure_version, fleet.least_secure_version
    if least is not None and version < least:
        yield Match(
            image.source,
            f"the app's secure version is {version}, and the fleet's boards want at least {least}",
        )


def _anti_rollback(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    config, symbol = subject.build.config, "BOOTLOADER_APP_ANTI_ROLLBACK"
    built, there = config.enabled(symbol), fleet.setting(symbol)
    if there is None or fleet.settings is None:
        if built:
            yield Unseen("anti-rollback", NOT_RECORDED)
    elif built != there:
        words = {True: "with", False: "without"}
        yield Match(
            f"CONFIG_{symbol}",
            f"the app is built {words[built]} anti-rollback, and the fleet's bootloader {words[there]}",
        )
    elif built:
        size = "BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD"
        ours, theirs = config.integer(size), fleet.settings.integer(size)
        if None not in (ours, theirs) and ours != theirs:
            yield Match(
                f"CONFIG_{size}",
                f"the app counts {ours} bits of SECURE_VERSION, and the fleet's bootloader {theirs}",
            )


def _rollback(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    symbol = "BOOTLOADER_APP_ROLLBACK_ENABLE"
    there = fleet.setting(symbol)
    if there is not None and there != subject.build.config.enabled(symbol):
        yield Match(
            f"CONFIG_{symbol}",
            "the fleet's bootloader goes back to the old app unless the new one confirms itself, and the app is built "
            "without that"
            if there
            else "the app is built to roll back, and the fleet's bootloader never does",
        )


def _cores(subject: Subject, fleet: Fleet, _: PlannedImage) -> Iterator[Match | Unseen]:
    config, there = subject.build.config, fleet.setting("FREERTOS_UNICORE")
    if subject.chip.facts.one_core_field == "DISABLE_APP_CPU" and there and not config.enabled("FREERTOS_UNICORE"):
        yield Match("CONFIG_FREERTOS_UNICORE", "the app starts two cores, and the fleet's own app only one")


RULES = (
    Rule(
        "SP121",
        Severity.ERROR,
        "update needs a later chip revision",
        of_update(_least_revision),
        explanation="The header of an app names the least chip revision. Boards of an older one refuse it: the running "
        "app does not install it, and the bootloader does not start it.",
        source="ESP-IDF components/bootloader_support/src/bootloader_common_loader.c",
        cure="set the minimum chip revision to that of the fleet in menuconfig, and build again",
        why="boards of the later revision start it, and the others keep the app they have",
        concerns=Concern.UPDATES,
        stops_update="SE755",
    ),
    Rule(
        "SP122",
        Severity.ERROR,
        "update runs only up to an earlier chip revision",
        of_update(_greatest_revision),
        explanation="The header of an app names the greatest chip revision, too. The fleet's own app allows a later "
        "one, so that there may be boards which refuse the update, unless their eFuse DISABLE_WAFER_VERSION_MAJOR is "
        "burned.",
        source="ESP-IDF components/bootloader_support/src/bootloader_common_loader.c",
        cure="build with the ESP-IDF that the fleet was made with, or a later one",
        why="boards of an earlier revision start it, and the others keep the app they have",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP123",
        Severity.ERROR,
        "update wants another eFuse block revision",
        of_update(_block_revision),
        explanation="An app's description names the least and the greatest revision of the eFuse blocks. The fleet's "
        "own app allows more, so that there may be boards which refuse the update.",
        source="ESP-IDF components/bootloader_support/src/esp_image_format.c, bootloader_common_loader.c "
        "(bootloader_common_check_efuse_blk_validity)",
        cure="set CONFIG_ESP_EFUSE_BLOCK_REV_MIN_FULL to that of the fleet, and build with the fleet's ESP-IDF or a "
        "later one",
        why="boards that have such a revision start it, and the others keep the app they have",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP124",
        Severity.ERROR,
        "update is built for flash encryption, the boards are not",
        of_update(_encryption_only_in_app),
        explanation="An app that was built for flash encryption looks at its start whether it is on, and aborts if it "
        "is not. No update turns flash encryption on: that is the bootloader's work.",
        source="ESP-IDF components/bootloader_support/src/flash_encrypt.c (esp_flash_encryption_init_checks)",
        cure="set CONFIG_SECURE_FLASH_ENC_ENABLED=n (menuconfig, Security features) and build again",
        acceptable=lambda subject: not _looks_for_encryption(subject),
        why="with CONFIG_SECURE_FLASH_CHECK_ENC_EN_IN_APP, the default, the app aborts at every start; without, it "
        "runs",
        concerns=Concern.UPDATES,
        settings=(("SECURE_FLASH_ENC_ENABLED", False),),
    ),
    Rule(
        "SP126",
        Severity.ERROR,
        "update takes its flash encryption key from elsewhere",
        of_update(_key_manager),
        explanation="Firmware is built for a flash encryption key in eFuse or in the Key Manager. The boards have "
        "theirs in eFuse; an app that prepares the Key Manager for its writes stores what the chip cannot read back.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_FLASH_ENCRYPTION_KEY_SOURCE); "
        "components/esp_security/src/init.c",
        cure="set CONFIG_SECURE_FLASH_ENCRYPTION_KEY_SOURCE_EFUSES=y (menuconfig, Security features) and build again",
        acceptable=False,
        why="what the app writes encrypted, an update above all, cannot be read back",
        concerns=Concern.UPDATES,
        settings=(("SECURE_FLASH_ENCRYPTION_KEY_SOURCE_EFUSES", True),),
    ),
    Rule(
        "SP128",
        Severity.ERROR,
        "update's secure version is too low",
        of_update(_secure_version),
        explanation="Anti-rollback never goes back: the bootloader starts no app whose secure version is below the "
        "number in eFuse, and the running app does not install it.",
        source="ESP-IDF components/bootloader_support/src/bootloader_utility.c; components/app_update/esp_ota_ops.c",
        cure="raise CONFIG_BOOTLOADER_APP_SECURE_VERSION and build again; anti-rollback never goes back",
        acceptable=False,
        why="boards with anti-rollback start no such app; --least-secure-version says what the boards really want",
        concerns=Concern.UPDATES,
        stops_update="SE758",
    ),
    Rule(
        "SP129",
        Severity.ERROR,
        "update and bootloader differ in anti-rollback",
        of_update(_anti_rollback),
        explanation="The bootloader compares secure versions, the app burns them, and both count the same bits of an "
        "eFuse. If they are built differently, the app burns what nobody compares, or never burns what the bootloader "
        "waits for, or the two read different numbers. The bootloader cannot be changed by an update.",
        source="ESP-IDF components/bootloader/Kconfig.app_rollback; components/efuse/src/esp_efuse_fields.c",
        cure=f"{_MENU} of CONFIG_BOOTLOADER_APP_ANTI_ROLLBACK and CONFIG_BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD",
        why="the app starts; but eFuses are burned, or not, otherwise than the boards expect",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP134",
        Severity.WARNING,
        "update and bootloader differ in rollback",
        of_update(_rollback),
        explanation="With rollback the bootloader starts a new app once, and goes back to the old one unless the new "
        "one has confirmed that it works. Whether it does is compiled into the bootloader, which no update changes.",
        source="ESP-IDF components/bootloader/Kconfig.app_rollback; components/app_update/esp_ota_ops.c",
        cure=f"{_MENU} of CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE; where it is on, the app must call "
        "esp_ota_mark_app_valid_cancel_rollback",
        concerns=Concern.UPDATES,
    ),
    Rule(
        "SP138",
        Severity.WARNING,
        "update starts a second core",
        of_update(_cores),
        explanation="Some ESP32 have one core only (an eFuse says so). An app that starts two aborts there. The "
        "fleet's own app starts one, so that there may be such boards.",
        source="ESP-IDF components/esp_system/port/cpu_start.c (DISABLE_APP_CPU)",
        cure="set CONFIG_FREERTOS_UNICORE=y (menuconfig, Component config, FreeRTOS) and build again, unless all "
        "boards have two cores",
        concerns=Concern.UPDATES,
    ),
)
