# SPDX-License-Identifier: Apache-2.0
"""Rules about NVS: will the firmware be able to read what is written there, and nobody else?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject, Unseen
from secure_ext.formats.nvs_format import LEAST_WRITABLE, first_written, is_entry_intact
from secure_ext.formats.partition_table import DATA_NVS, DATA_NVS_KEYS, TYPE_DATA, Partition
from secure_ext.plan.fleet import Fleet, nvs_scheme
from secure_ext.plan.images import PlannedImage
from secure_ext.plan.recipe import NvsFromCsv
from secure_ext.policy.policy import NvsScheme
from secure_ext.station.flash_sectors import SECTOR_SIZE

_DEFAULT = "nvs"
"""Label of the partition that ``nvs_flash_init`` opens; it encrypts this one only (``nvs_flash/src/nvs_api.cpp``)."""


def _partitions(subject: Subject, subtype: int) -> list[Partition]:
    rows = subject.build.partitions.partitions
    return [row for row in rows if (row.type, row.subtype) == (TYPE_DATA, subtype)]


def _nvs_images(subject: Subject) -> Iterator[PlannedImage]:
    labels = {row.label for row in _partitions(subject, DATA_NVS)}
    return (image for image in subject.images if image.partition in labels)


def _is_encrypted(image: PlannedImage) -> bool | None:
    """Whether NVS has encrypted the image; None if nothing is in it."""
    if isinstance(image.recipe, NvsFromCsv):
        return image.recipe.encrypted
    entry = first_written(image.content)
    return None if entry is None else not is_entry_intact(entry)


def _is_encrypting(subject: Subject) -> bool:
    """Whether the firmware encrypts its default NVS partition, by its build or by the profile."""
    return subject.policy.nvs.scheme is not NvsScheme.OFF or subject.build.config.enabled("NVS_ENCRYPTION")


def _plain_default(subject: Subject) -> Iterator[Match]:
    for image in _nvs_images(subject):
        if image.partition == _DEFAULT and _is_encrypted(image) is False and _is_encrypting(subject):
            yield Match(
                f"{image.source} in partition {image.partition}",
                "the NVS image is plaintext, and firmware with NVS encryption cannot read it: the values would be lost",
            )


def _plain_kept(subject: Subject) -> Iterator[Match]:
    for kept in subject.plan.kept:
        for row in _partitions(subject, DATA_NVS):
            if row.offset < kept.end and kept.offset < row.end and _is_encrypting(subject):
                yield Match(
                    f"partition {row.label}",
                    "boards keep what is in this NVS partition, and the firmware encrypts NVS: what was written there "
                    "in plaintext, or with other keys, it cannot read",
                )


def _plain_other(subject: Subject) -> Iterator[Match]:
    for image in _nvs_images(subject):
        if image.partition != _DEFAULT and _is_encrypted(image) is False and _is_encrypting(subject):
            yield Match(
                f"{image.source} in partition {image.partition}",
                "the NVS image is plaintext: anybody with the flash in hand can read it, and the firmware only if it "
                "opens the partition with nvs_flash_init_partition()",
            )


def _without_keys(subject: Subject) -> Iterator[Match]:
    nvs = subject.policy.nvs
    keys = {row.label for row in _partitions(subject, DATA_NVS_KEYS)}
    has_keys_image = any(image.partition in keys for image in subject.images)
    for image in _nvs_images(subject):
        if not _is_encrypted(image):
            continue
        if nvs.scheme is NvsScheme.FLASH_ENCRYPTION and not has_keys_image:
            yield Match(
                f"{image.source} in partition {image.partition}",
                "the NVS image is encrypted, but its keys are not in the bundle: the device would make its own at the "
                "first boot and could never read the image",
                "use nvs.key: generate, or the file of keys, and have a partition of subtype nvs_keys for them",
            )
        elif nvs.key.path is None and image.recipe is None and nvs.scheme is not NvsScheme.OFF and not has_keys_image:
            yield Match(
                f"{image.source} in partition {image.partition}",
                "the NVS image is encrypted already, but the key it depends on is generated with the bundle",
                "give the HMAC key as nvs.key, or the CSV of the image under nvs.images",
            )


def _small_keys(subject: Subject) -> Iterator[Match]:
    for partition in _partitions(subject, DATA_NVS_KEYS):
        if partition.size < SECTOR_SIZE:
            yield Match(
                f"partition {partition.label}",
                f"the partition has {partition.size} bytes; NVS keys take a flash sector of 0x{SECTOR_SIZE:x}",
            )


def _unflagged_keys(subject: Subject) -> Iterator[Match]:
    for partition in _partitions(subject, DATA_NVS_KEYS):
        if not partition.encrypted_flag and subject.policy.flash_encryption.enabled:
            yield Match(
                f"partition {partition.label}",
                "the partition of the NVS keys is not flagged encrypted; firmware and bundle encrypt it nevertheless",
            )


def _built_for_other_scheme(subject: Subject) -> Iterator[Match | Unseen]:
    config, scheme = subject.build.config, subject.policy.nvs.scheme
    if subject.fleet is not None:
        yield from _other_scheme_on_boards(subject.fleet, nvs_scheme(config))
        return
    if scheme is NvsScheme.OFF:
        return
    if not config.enabled("NVS_ENCRYPTION"):
        yield Match(
            "CONFIG_NVS_ENCRYPTION",
            "the firmware is built without NVS encryption: it writes plaintext, and cannot read an encrypted NVS image",
            "enable NVS encryption in menuconfig (Component config, NVS) and build again",
        )
    elif scheme is NvsScheme.FLASH_ENCRYPTION and config.enabled("NVS_SEC_KEY_PROTECT_USING_HMAC"):
        yield Match(
            "CONFIG_NVS_SEC_KEY_PROTECT_USING_HMAC",
            "the firmware derives its NVS keys from an HMAC key, the profile has them in the nvs_keys partition",
        )


def _other_scheme_on_boards(fleet: Fleet, built: NvsScheme) -> Iterator[Match | Unseen]:
    if fleet.nvs is None:
        yield Unseen("CONFIG_NVS_ENCRYPTION", "how the boards encrypt NVS is not recorded in the fleet's bundle")
    elif fleet.nvs.scheme is not built:
        words = {
            NvsScheme.OFF: "no NVS encryption",
            NvsScheme.HMAC: "NVS keys from the HMAC key in eFuse",
            NvsScheme.FLASH_ENCRYPTION: "NVS keys in the nvs_keys partition",
        }
        yield Match(
            "CONFIG_NVS_ENCRYPTION",
            f"the app is built for {words[built]}, and the boards have {words[fleet.nvs.scheme]}: it cannot read what "
            "they hold",
        )


def _small_writable(subject: Subject) -> Iterator[Match]:
    for partition in _partitions(subject, DATA_NVS):
        if partition.size < LEAST_WRITABLE and not partition.readonly_flag:
            yield Match(
                f"partition {partition.label}",
                f"the NVS partition has 0x{partition.size:x} bytes; less than 0x{LEAST_WRITABLE:x} can only be read, "
                "and the firmware refuses to open it for writing",
            )


def _opened_securely(subject: Subject) -> Iterator[Match]:
    for image in _nvs_images(subject):
        if image.partition != _DEFAULT and isinstance(image.recipe, NvsFromCsv) and image.recipe.encrypted:
            yield Match(
                f"{image.source} in partition {image.partition}",
                "the NVS image is encrypted; nvs_flash_init() opens the partition 'nvs' only",
            )


RULES = (
    Rule(
        "SP090",
        Severity.ERROR,
        "plaintext NVS image for firmware that encrypts NVS",
        _plain_default,
        explanation="Firmware with NVS encryption decrypts every entry it reads. Entries written in plaintext fail "
        "their CRC, the page counts as damaged, and nvs_flash_init() starts over with an empty partition: the "
        "values of the factory are gone, and nothing says so.",
        source="ESP-IDF components/nvs_flash/src/nvs_encrypted_partition.cpp; manual, NVS Encryption",
        cure="give its CSV under nvs.images and leave nvs.scheme to sdkconfig, so that it is encrypted here",
        why="the board runs; only the values of the image are lost",
        needs_images=True,
    ),
    Rule(
        "SP091",
        Severity.WARNING,
        "plaintext image of a further NVS partition",
        _plain_other,
        explanation="nvs_flash_init() encrypts the partition 'nvs' alone. Another one is encrypted only if the "
        "firmware opens it with nvs_flash_secure_init_partition(). An image in plaintext there can be read by anybody "
        "who holds the flash, flash encryption or not: flash encryption never covers NVS.",
        source="ESP-IDF components/nvs_flash/src/nvs_api.cpp (nvs_flash_init)",
        cure="give its CSV under nvs.images, and open it with nvs_flash_secure_init_partition()",
        needs_images=True,
    ),
    Rule(
        "SP092",
        Severity.ERROR,
        "encrypted NVS image without its keys",
        _without_keys,
        acceptable=False,
        explanation="An encrypted NVS image is worth nothing on a device with other keys. If the keys are left to the "
        "device, it makes its own at the first boot, finds an image it cannot read, and erases it.",
        source="ESP-IDF components/nvs_flash/src/nvs_api.cpp (nvs_flash_generate_keys, nvs_flash_init)",
        cure="use nvs.key: generate, or the file of keys that the image was encrypted with",
        why="the device erases the image at its first boot, and what it held is lost",
        needs_images=True,
    ),
    Rule(
        "SP093",
        Severity.ERROR,
        "nvs_keys partition is too small",
        _small_keys,
        acceptable=False,
        explanation="NVS keys are written and erased by flash sectors. A partition of less than one sector cannot hold "
        "them, and an image for it would reach into the next partition.",
        source="ESP-IDF manual, NVS Encryption, NVS key partition",
        cure="make it 0x1000 in the partition table's CSV and build again",
        why="the keys reach into the next partition",
    ),
    Rule(
        "SP094",
        Severity.INFO,
        "nvs_keys partition is not flagged encrypted",
        _unflagged_keys,
        explanation="Partitions of subtype nvs_keys are always encrypted when flash encryption is on, whatever their "
        "flag says. Without the flag a reader of the CSV, and older tools, take them for plaintext.",
        source="ESP-IDF components/esp_partition/partition.c (is_partition_encrypted)",
        cure="nothing to do; the flag in the CSV shows readers and other tools the same",
    ),
    Rule(
        "SP095",
        Severity.ERROR,
        "firmware is built for another NVS scheme",
        _built_for_other_scheme,
        explanation="Which keys the firmware uses for NVS is fixed when it is built. If the bundle prepares the other "
        "scheme, or the firmware has no NVS encryption at all, it cannot read what the bundle encrypts, and the key in "
        "eFuse or flash serves nothing.",
        source="ESP-IDF components/nvs_sec_provider/Kconfig, components/nvs_flash/Kconfig",
        cure="choose the same scheme in menuconfig (Component config, NVS Security Provider) and in the profile",
        why="the board runs; only what NVS holds cannot be read",
        concerns=Concern.BOTH,
    ),
    Rule(
        "SP096",
        Severity.ERROR,
        "small NVS partition is not flagged readonly",
        _small_writable,
        explanation="NVS needs three sectors to write: it keeps one free to move values. A smaller partition can only "
        "be read, and the firmware refuses to open it for writing unless the table flags it readonly.",
        source="ESP-IDF manual, Partition Tables, Flags; components/partition_table/gen_esp32part.py",
        cure="make it 0x3000 or more, or flag it readonly, and build again",
        why="the board runs; only this partition cannot be written",
    ),
    Rule(
        "SP097",
        Severity.INFO,
        "encrypted image of a further NVS partition",
        _opened_securely,
        explanation="nvs_flash_init() opens the partition 'nvs' and no other. For a further encrypted partition the "
        "firmware has to read the keys itself and call nvs_flash_secure_init_partition().",
        source="ESP-IDF manual, NVS Encryption, API",
        cure="nothing to do, if the firmware opens it with nvs_flash_secure_init_partition() and the same keys",
        needs_images=True,
    ),
    Rule(
        "SP164",
        Severity.WARNING,
        "kept NVS partition cannot be read",
        _plain_kept,
        explanation="NVS encrypts with keys of its own, which flash encryption has no part in. A partition that was "
        "written before, by a firmware without NVS encryption, stays as it is when it is kept; firmware with NVS "
        "encryption finds nothing valid in it, and erases the default one.",
        source="ESP-IDF manual, NVS Encryption; components/nvs_flash/src/nvs_api.cpp (nvs_flash_init)",
        cure="open it without NVS encryption (nvs_flash_init_partition() under another label than nvs), or take it out "
        "of keep; accept this if its content was encrypted with the key that these boards will have",
    ),
)
