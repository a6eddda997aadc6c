# SPDX-License-Identifier: Apache-2.0
"""For each rule about updates a fleet and an update in which it finds something, and updates in which none does."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.doctor_case import (
    ANTI_ROLLBACK,
    BOTH,
    ENCRYPTED,
    SIGNED,
    UNSIGNED_APP,
    Case,
    append_data,
    built_with,
    edit_json,
    rows,
)

from secure_ext.build.build import read_build
from secure_ext.bundle.settings import firmware_settings
from secure_ext.doctor import Examination
from secure_ext.doctor.decide import Decision, decide
from secure_ext.doctor.update import Update, examine_update
from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA, Partition, build_partition_table
from secure_ext.formats.secure_boot import sign
from secure_ext.keys.signing import SignatureScheme, generate_signing_key, load_signing_key
from secure_ext.plan.document import plan_document
from secure_ext.plan.fleet import Fleet, FleetImage, read_fleet_facts
from secure_ext.plan.recipe import NvsKeysImage
from secure_ext.policy.profile import check_profile
from secure_ext.sample.build import make_sample_build
from secure_ext.sample.options import SampleOptions, partitions_of
from secure_ext.station.plan_document import PlanDocument

Options = Mapping[str, Any]


@dataclass(frozen=True)
class UpdateCase:
    """A fleet, and an update of it.

    Attributes:
        fleet: what the boards were made of.
        update: options of the sample that is the update; those of the fleet if None.
        chip: of the update; that of the fleet if None.
        change: done to the update's build directory.
        change_document: done to the fleet's plan document.
        recorded: the fleet's bundle has the settings of its firmware, as those of earlier versions have not.
        readable: the fleet's images can be read.
    """

    fleet: Case = field(default_factory=lambda: Case(BOTH))
    update: Options | None = None
    chip: str | None = None
    change: Callable[[Path], None] | None = None
    change_document: Callable[[PlanDocument], PlanDocument] | None = None
    recorded: bool = True
    readable: bool = True


def examine_update_case(case: UpdateCase, folder: Path, accept: tuple[str, ...] = ()) -> Examination:
    """What the doctor says of the pair, made in `folder`."""
    fleet = fleet_of(case, folder / "fleet")
    options = SampleOptions(**dict(case.fleet.options if case.update is None else case.update))
    build_dir = make_sample_build(folder / "update", case.chip or case.fleet.chip, options=options)
    if case.change is not None:
        case.change(build_dir)
    build = read_build(build_dir)
    table = fleet.table or build.partitions
    slots = [row for row in table.partitions if row.type == TYPE_APP and row.subtype >= 0x10]
    signs = fleet.policy.secure_boot.enabled
    file = build.apps[0]
    return examine_update(Update(build, file, file.path.read_bytes(), slots, signs), fleet, frozenset(accept))


def fleet_of(case: UpdateCase, folder: Path) -> Fleet:
    """The facts of the fleet, as they are read from its bundle."""
    decision = decided(case.fleet, folder)
    fingerprints = {key.role: f"{number:032x}" for number, key in enumerate(decision.plan.keys)}
    document = plan_document(decision.plan, decision.chip, fingerprints=fingerprints)
    if case.change_document is not None:
        document = case.change_document(document)
    images = [
        FleetImage(
            image.role,
            image.offset,
            image.content if case.readable else None,
            isinstance(image.recipe, NvsKeysImage),
        )
        for image in decision.images
    ]
    build = decision.build
    return read_fleet_facts(
        document,
        images,
        table=build.partitions if case.readable else None,
        settings=firmware_settings(build.config) if case.recorded else None,
        idf_version=build.idf_version,
        flash_size=build.flash_size,
    )


def decided(case: Case, folder: Path) -> Decision:
    """The decision on the fleet's bundle; what the doctor says of it is not asked here."""
    build_dir = make_sample_build(folder, case.chip, options=SampleOptions(**dict(case.options)))
    if case.change is not None:
        case.change(build_dir)
    document: dict[str, Any] = {"schema": 1, **{name: dict(value) for name, value in case.profile.items()}}
    document.setdefault("secure_boot", {}).setdefault("keys", ["signing.pem"])
    return decide(build_dir, check_profile(document, folder / "profile.yaml"))


def without_requirements(document: PlanDocument) -> PlanDocument:
    """As plans of earlier versions are."""
    return replace(document, requirements=None)


def with_app(edit: Callable[[bytearray], None]) -> Callable[[Path], None]:
    """Changes bytes of the app, whose checksum and hash are made right again."""

    def change(build_dir: Path) -> None:
        path = build_dir / "sample.bin"
        before = path.read_bytes()
        content = bytearray(before)
        edit(content)
        end = len(content) - 33
        for old, new in zip(before[0x20:end], content[0x20:end], strict=True):
            content[end] ^= old ^ new
        content[-32:] = hashlib.sha256(content[:-32]).digest()
        path.write_bytes(content)

    return change


def block_revisions(least: int, most: int) -> Callable[[Path], None]:
    def edit(content: bytearray) -> None:
        at = 0x20 + 176
        content[at : at + 4] = least.to_bytes(2, "little") + most.to_bytes(2, "little")

    return with_app(edit)


def greatest_revision(revision: int) -> Callable[[Path], None]:
    def edit(content: bytearray) -> None:
        content[17:19] = revision.to_bytes(2, "little")

    return with_app(edit)


@functools.cache
def pem(number: int) -> bytes:
    """One of a few signing keys."""
    return generate_signing_key(SignatureScheme.RSA3072)


def signed_with(number: int) -> Callable[[Path], None]:
    def change(build_dir: Path) -> None:
        key = build_dir / "key.pem"
        key.write_bytes(pem(number))
        path = build_dir / "sample.bin"
        path.write_bytes(sign(path.read_bytes(), [load_signing_key(key)], place="app"))

    return change


def unpadded(build_dir: Path) -> None:
    other = make_sample_build(build_dir.parent / "unpadded", "esp32c3", options=SampleOptions())
    (build_dir / "sample.bin").write_bytes((other / "sample.bin").read_bytes())


def without_md5(build_dir: Path) -> None:
    path = build_dir / "partition_table" / "partition-table.bin"
    path.write_bytes(build_partition_table(partitions_of(SampleOptions()), md5=False))


def config(options: Options, **values: object) -> dict[str, Any]:
    """The options with more Kconfig symbols."""
    return {**options, "config": {**options.get("config", {}), **values}}


SOFTWARE = config(ENCRYPTED, **UNSIGNED_APP)
ECDSA_SOFTWARE = config(SOFTWARE, SECURE_SIGNED_APPS_RSA_SCHEME=False, SECURE_SIGNED_APPS_ECDSA_V2_SCHEME=True)
NO_PHY = rows(without=("phy_init",))
CLOSED = config(BOTH, SECURE_DISABLE_ROM_DL_MODE=True, SECURE_ENABLE_SECURE_ROM_DL_MODE=False)
COUNTING = config(BOTH, **ANTI_ROLLBACK)
SIGNED_SOFTWARE = Case(SOFTWARE, change=signed_with(0))
HMAC_OFF = Case(config(BOTH, NVS_ENCRYPTION=False), {"nvs": {"scheme": "off"}})
TEE_TABLE = rows(Partition("tee_0", TYPE_APP, 0x30, 0x320000, 0x40000))
ECDSA = {"scheme": "ecdsa256"}
PLAIN_FLEET = Case(SIGNED)
ENCRYPTED_FLEET = Case(ENCRYPTED)
NVS_FLAGGED = {"partitions": rows(Partition("nvs", TYPE_DATA, 2, 0xD000, 0x6000, 1))}

FOUND: tuple[tuple[str, UpdateCase], ...] = (
    ("SP120", UpdateCase(update=BOTH | {"table_offset": 0x10000})),
    ("SP120", UpdateCase(update=BOTH | {"table_offset": 0x10000}, recorded=False, readable=False)),
    ("SP121", UpdateCase(update=BOTH | {"min_revision": 101})),
    ("SP122", UpdateCase(change=greatest_revision(50))),
    ("SP123", UpdateCase(change=block_revisions(3, 0))),
    ("SP123", UpdateCase(Case(BOTH, change=block_revisions(0, 199)), change=block_revisions(0, 99))),
    ("SP124", UpdateCase(PLAIN_FLEET, update=BOTH)),
    ("SP125", UpdateCase(ENCRYPTED_FLEET, update=BOTH)),
    ("SP126", UpdateCase(Case(BOTH, chip="esp32c5"), config(BOTH, SECURE_FLASH_ENCRYPTION_KEY_SOURCE_KEY_MGR=True))),
    ("SP127", UpdateCase(SIGNED_SOFTWARE)),
    ("SP127", UpdateCase(SIGNED_SOFTWARE, change=signed_with(1))),
    ("SP127", UpdateCase(SIGNED_SOFTWARE, update=ENCRYPTED)),
    ("SP128", UpdateCase(Case(BOTH, change=with_app(lambda content: content.__setitem__(0x24, 2))))),
    ("SP129", UpdateCase(Case(COUNTING), update=BOTH)),
    ("SP129", UpdateCase(update=COUNTING)),
    (
        "SP129",
        UpdateCase(
            Case(COUNTING),
            config(COUNTING, BOOTLOADER_APP_SEC_VER_SIZE_EFUSE_FIELD=8),
        ),
    ),
    ("SP130", UpdateCase(update=BOTH | {"partitions": rows(Partition("storage", TYPE_DATA, 0x82, 0x220000, 0x80000))})),
    ("SP130", UpdateCase(update=BOTH | {"partitions": rows(Partition("more", TYPE_DATA, 0x82, 0x320000, 0x8000))})),
    ("SP131", UpdateCase(Case(BOTH, chip="esp32c6"), config(BOTH, SECURE_ENABLE_TEE=True))),
    ("SP131", UpdateCase(Case(config(BOTH, SECURE_ENABLE_TEE=True), chip="esp32c6"), BOTH)),
    (
        "SP131",
        UpdateCase(
            Case(config(BOTH, SECURE_ENABLE_TEE=True, SECURE_TEE_IRAM_SIZE=0x8000), chip="esp32c6"),
            config(BOTH, SECURE_ENABLE_TEE=True, SECURE_TEE_IRAM_SIZE=0x9000),
        ),
    ),
    ("SP131", UpdateCase(Case(BOTH | {"partitions": TEE_TABLE}, chip="esp32c6"), BOTH, recorded=False)),
    ("SP169", UpdateCase(update=config(BOTH, ESP_MAC_USE_CUSTOM_MAC_AS_BASE_MAC=True))),
    ("SP132", UpdateCase(update=config(BOTH, SPI_FLASH_SIZE_OVERRIDE=True) | {"flash_size": "8MB"})),
    ("SP132", UpdateCase(Case(BOTH, chip="esp32s3"), config(BOTH, ESPTOOLPY_OCT_FLASH=True))),
    (
        "SP132",
        UpdateCase(Case(BOTH, chip="esp32c6", change=built_with("v5.3.2")), config(BOTH, MMU_PAGE_SIZE=0x8000)),
    ),
    (
        "SP133",
        UpdateCase(Case(BOTH | {"partitions": NO_PHY}), config(BOTH, ESP_PHY_INIT_DATA_IN_PARTITION=True)),
    ),
    ("SP134", UpdateCase(Case(config(BOTH, BOOTLOADER_APP_ROLLBACK_ENABLE=True)), BOTH)),
    ("SP134", UpdateCase(update=config(BOTH, BOOTLOADER_APP_ROLLBACK_ENABLE=True))),
    ("SP135", UpdateCase(Case(config(BOTH, WL_SECTOR_SIZE=4096)), config(BOTH, WL_SECTOR_SIZE=512))),
    ("SP136", UpdateCase(Case(config(BOTH, PARTITION_TABLE_MD5=False), change=without_md5), BOTH)),
    ("SP137", UpdateCase(change=append_data)),
    ("SP138", UpdateCase(Case(config(BOTH, FREERTOS_UNICORE=True), chip="esp32"), BOTH)),
    ("SP139", UpdateCase(change=unpadded)),
    # rules that bundles are asked about, too
    ("SP002", UpdateCase(update=BOTH | {"app_size": 0x100000})),
    ("SP010", UpdateCase(chip="esp32c6")),
    ("SP014", UpdateCase(ENCRYPTED_FLEET, SOFTWARE)),
    ("SP020", UpdateCase(update=SIGNED)),
    ("SP021", UpdateCase(update=ENCRYPTED)),
    ("SP021", UpdateCase(update=config(BOTH, SECURE_BOOT_V2_ENABLED=False))),
    ("SP022", UpdateCase(update=BOTH | {"flash_encryption": "development"})),
    ("SP024", UpdateCase(Case(BOTH, chip="esp32c6"), BOTH | ECDSA)),
    (
        "SP024",
        UpdateCase(Case(BOTH | {"scheme": "ecdsa384"}, chip="esp32c5"), BOTH | ECDSA, recorded=False, readable=False),
    ),
    (
        "SP024",
        UpdateCase(
            Case(SOFTWARE, chip="esp32c6", change=signed_with(0)),
            config(SOFTWARE, SECURE_SIGNED_APPS_RSA_SCHEME=False, SECURE_SIGNED_APPS_ECDSA_V2_SCHEME=True),
            change=signed_with(0),
        ),
    ),
    (
        "SP026",
        UpdateCase(change=edit_json("config/sdkconfig.json", lambda values: values.update(SECURE_BOOT_INSECURE=True))),
    ),
    ("SP027", UpdateCase(update=config(BOTH, NVS_SEC_HMAC_EFUSE_KEY_ID=4))),
    ("SP030", UpdateCase(update=config(BOTH, EFUSE_VIRTUAL=True))),
    ("SP030", UpdateCase(update=config(BOTH, EFUSE_VIRTUAL=True, EFUSE_VIRTUAL_KEEP_IN_FLASH=True))),
    ("SP031", UpdateCase(Case(BOTH, chip="esp32c5"), config(BOTH, ESP_DEFAULT_CPU_FREQ_MHZ=240))),
    ("SP032", UpdateCase(update=config(BOTH, SECURE_DISABLE_ROM_DL_MODE=True))),
    ("SP034", UpdateCase(HMAC_OFF, BOTH)),
    (
        "SP110",
        UpdateCase(
            Case(CLOSED),
            BOTH,
            change=built_with("v5.5.1"),
        ),
    ),
    ("SP111", UpdateCase(Case(BOTH | {"flash_size": "32MB"}, chip="esp32c6"), BOTH)),
    ("SP036", UpdateCase(update=config(BOTH, SECURE_BOOT_INSECURE=True, SECURE_BOOT_ALLOW_JTAG=True))),
    (
        "SP039",
        UpdateCase(Case(COUNTING), config(COUNTING, BOOTLOADER_APP_SECURE_VERSION=17)),
    ),
    ("SP057", UpdateCase(update=config(BOTH, ESP_SYSTEM_GDBSTUB_RUNTIME=True))),
    ("SP058", UpdateCase(update=config(BOTH, ESP_COREDUMP_ENABLE_TO_UART=True))),
    (
        "SP060",
        UpdateCase(Case(config(BOTH, NVS_COMPATIBLE_PRE_V4_3_ENCRYPTION_FLAG=True) | NVS_FLAGGED), BOTH),
    ),
    ("SP095", UpdateCase(update=config(BOTH, NVS_ENCRYPTION=False))),
    ("SP095", UpdateCase(HMAC_OFF, BOTH)),
    (
        "SP095",
        UpdateCase(
            update=config(BOTH, NVS_SEC_KEY_PROTECT_USING_HMAC=False, NVS_SEC_KEY_PROTECT_USING_FLASH_ENC=True),
            recorded=False,
        ),
    ),
)
"""Each with the code of what the doctor must find."""

FINE: dict[str, UpdateCase] = {
    "the same build": UpdateCase(),
    "for boards that nothing is recorded of": UpdateCase(
        recorded=False, readable=False, change_document=without_requirements
    ),
    "of a fleet with secure boot only": UpdateCase(PLAIN_FLEET),
    "of a fleet with flash encryption only": UpdateCase(ENCRYPTED_FLEET),
    "of an esp32": UpdateCase(Case(BOTH, chip="esp32")),
    "of an esp32c6 with ECDSA": UpdateCase(Case(BOTH | ECDSA, chip="esp32c6")),
    "of a fleet whose app verifies updates": UpdateCase(SIGNED_SOFTWARE, change=signed_with(0)),
    "a later ESP-IDF that knows later chips": UpdateCase(change=greatest_revision(299)),
    "no limits of the eFuse blocks": UpdateCase(Case(BOTH, change=block_revisions(0, 199))),
    "the same limits of the eFuse blocks": UpdateCase(
        Case(BOTH, change=block_revisions(3, 199)), change=block_revisions(3, 199)
    ),
    "a higher secure version": UpdateCase(change=with_app(lambda content: content.__setitem__(0x24, 5))),
    "a smaller MMU page on a bootloader that reads it": UpdateCase(
        Case(BOTH, chip="esp32c6", change=built_with("v5.5")), config(BOTH, MMU_PAGE_SIZE=0x8000)
    ),
    "a closed download mode": UpdateCase(
        Case(CLOSED),
        BOTH,
        change=built_with("v5.5.2"),
    ),
}
"""Updates that no rule has an error or a warning for."""


@functools.cache
def _cases_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="update-cases-")


@functools.cache
def found_in(number: int) -> Examination:
    """What the doctor says of a case of `FOUND`, made once."""
    return examine_update_case(FOUND[number][1], Path(_cases_folder().name, str(number)))


def case_of(code: str) -> int:
    """The number of the first case of a code."""
    return next(number for number, (found, _) in enumerate(FOUND) if found == code)
