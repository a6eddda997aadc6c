# SPDX-License-Identifier: Apache-2.0
"""Consistent forgeries, each with what it needs to be seen: nothing, the build, or the owner's keys."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from forger import Forged

from secure_ext.bundle.script import render_script
from secure_ext.formats.secure_boot import SECTOR, public_key_digest, sign
from secure_ext.keys.signing import load_signing_key, load_verification_key
from secure_ext.station.fingerprint import fingerprint

JTAG = ("burn-dis-pad-jtag", "burn-dis-usb-jtag", "burn-soft-dis-jtag")
ALONE, BUILD, KEYS = "the bundle alone", "the build", "the build and the keys"


@dataclass(frozen=True)
class Forgery:
    """What is forged, and with what it is seen at the least."""

    name: str
    seen_with: str
    forge: Callable[[Forged], object]


FORGERIES: list[Forgery] = []


def forgery(seen_with: str) -> Callable[[Callable[[Forged], object]], Callable[[Forged], object]]:
    def add(forge: Callable[[Forged], object]) -> Callable[[Forged], object]:
        FORGERIES.append(Forgery(forge.__name__.replace("_", " "), seen_with, forge))
        return forge

    return add


def add(name: str, seen_with: str, forge: Callable[[Forged], object]) -> None:
    FORGERIES.append(Forgery(name, seen_with, forge))


def dropped(*steps: str) -> Callable[[Forged], object]:
    return lambda it: it.drop(*steps)


def members(step: str, **values: object) -> Callable[[Forged], object]:
    return lambda it: it.rename_step(step, **values)


def plan(**values: object) -> Callable[[Forged], object]:
    return lambda it: it.plan.update(values)


def asked(**values: object) -> Callable[[Forged], object]:
    return lambda it: it.plan["requirements"].update(values)


def option(name: str, value: object, *steps: str) -> Callable[[Forged], object]:
    """A step is left out, and the manifest says that somebody wanted that."""

    def forge(it: Forged) -> None:
        it.manifest["inputs"]["options"][name] = value
        it.drop(*steps)

    return forge


# ---- a weaker plan, which ends no board

add("no JTAG fuses", BUILD, dropped(*JTAG))
add("no seal", BUILD, dropped("burn-enable-security-download"))
add("no revocation of free slots", BUILD, dropped("burn-secure-boot-key-revoke1", "burn-secure-boot-key-revoke2"))
add("none of the three", BUILD, dropped(*JTAG, "burn-enable-security-download", "burn-secure-boot-key-revoke2"))
add("no erased flash", BUILD, dropped("erase-flash"))
add("no protection of RD_DIS", BUILD, dropped("write-protect-rd-dis"))
add("no protection of the cache", BUILD, dropped("write-protect-dis-icache"))
add("the ROM may encrypt", BUILD, dropped("burn-dis-download-manual-encrypt"))
add("the ROM reads the cache", BUILD, dropped("burn-dis-download-icache"))
add("direct boot", BUILD, dropped("burn-dis-direct-boot"))
add("development instead of release", BUILD, members("burn-spi-boot-crypt-cnt", value=1))
add("an older esptool", BUILD, plan(least_esptool=[0, 1]))
add("words that say otherwise", BUILD, members("burn-secure-boot-en", why="can be undone at any time"))
add("the flash size unknown", BUILD, asked(flash_size=None))
add("a board of any size", BUILD, asked(flash_size=0x100000))
add("JTAG by option", BUILD, option("lockdown.jtag", "open", *JTAG))
add("no seal by option", BUILD, option("lockdown.download_mode", "open", "burn-enable-security-download"))
add(
    "no revocation by option",
    BUILD,
    option("secure_boot.revoke_unused", False, "burn-secure-boot-key-revoke1", "burn-secure-boot-key-revoke2"),
)
add(
    "RD_DIS writable by option",
    BUILD,
    option("secure_boot.keep_read_protection_writable", True, "write-protect-rd-dis"),
)
add("findings accepted by option", BUILD, option("doctor.accept", ["SP020", "SP022"]))


@forgery(BUILD)
def development_by_option(it: Forged) -> None:
    it.manifest["inputs"]["options"]["flash_encryption.mode"] = "development"
    it.rename_step("burn-spi-boot-crypt-cnt", value=1)


@forgery(BUILD)
def another_build(it: Forged) -> None:
    """So that it cannot be held against the right one."""
    it.drop(*JTAG)
    it.manifest["inputs"]["sdkconfig"] = "0" * 64


@forgery(BUILD)
def another_profile(it: Forged) -> None:
    it.drop(*JTAG)
    it.manifest["inputs"]["profile"] = "0" * 64


@forgery(BUILD)
def no_findings(it: Forged) -> None:
    it.manifest["findings"] = []


@forgery(BUILD)
def settings_left_out(it: Forged) -> None:
    del it.manifest["settings"]


@forgery(BUILD)
def another_source(it: Forged) -> None:
    it.image("sample")["source"] = "other.bin"


@forgery(BUILD)
def a_spare_key_of_the_forger(it: Forged) -> None:
    """The second slot trusts a key that has signed nothing here."""
    digest = public_key_digest(load_verification_key(it.made.keys["rsa_2"]))
    it.drop("burn-secure-boot-key-revoke1")
    own = it.step("burn-key-secure-boot-digest-0")
    spare = {
        **own,
        "id": "burn-key-secure-boot-digest-1",
        "role": "secure_boot_digest_1",
        "file": "digests/secure_boot_digest_1.bin",
        "fingerprint": fingerprint(digest),
        "block": "BLOCK_KEY2",
        "block_number": own["block_number"] + 1,
        "burn_name": "BLOCK_KEY2",
        "purpose": "SECURE_BOOT_DIGEST1",
        "purpose_field": "KEY_PURPOSE_2",
        "wr_dis_bits": [bit + 1 for bit in own["wr_dis_bits"]],
        "readable_bits": [bit + 1 for bit in own["readable_bits"]],
        "signs": "nothing",
    }
    position = it.plan["steps"].index(own) + 1
    it.plan["steps"].insert(position, spare)
    clear = it.plan["must_be_clear"]
    asked_now = next(item for item in clear if item["field"] == "SECURE_BOOT_KEY_REVOKE0")
    clear.insert(clear.index(asked_now) + 1, {**asked_now, "field": "SECURE_BOOT_KEY_REVOKE1"})
    layout = it.plan["layout"]
    revoke = next(row for row in layout if row["field"] == "SECURE_BOOT_KEY_REVOKE0")
    layout.insert(
        layout.index(revoke) + 1, {**revoke, "field": "SECURE_BOOT_KEY_REVOKE1", "start": revoke["start"] + 1}
    )
    purpose = next(row for row in layout if row["field"] == "KEY_PURPOSE_1")
    layout.insert(layout.index(purpose) + 1, {**purpose, "field": "KEY_PURPOSE_2", "start": purpose["start"] + 4})
    names = ("role", "fingerprint", "block", "purpose")
    rows = it.manifest["keys"]
    rows.insert(
        1 + next(n for n, row in enumerate(rows) if row["role"] == "secure_boot_digest_0"), {n: spare[n] for n in names}
    )
    it.manifest["inputs"]["options"]["secure_boot.keys"] = 2
    it.content["digests/secure_boot_digest_1.bin"] = digest


# ---- keys: nothing but the keys themselves tells whose they are


@forgery(KEYS)
def the_signing_key_of_the_forger(it: Forged) -> None:
    key = load_signing_key(it.made.keys["rsa_2"])
    digest = public_key_digest(key.verification_key)
    it.content["digests/secure_boot_digest_0.bin"] = digest
    it.key("secure_boot_digest_0", fingerprint=fingerprint(digest))
    for name in ("bootloader", "sample"):
        it.write(name, sign(it.plaintext(name)[:-SECTOR], [key], place=""))


@forgery(KEYS)
def the_flash_encryption_key_of_the_forger(it: Forged) -> None:
    it.new_flash_key(hashlib.sha256(b"the forger's").digest())


# ---- what would end a board, or run what nobody checked

add("no flash encryption key", ALONE, dropped("burn-key-flash-encryption-key"))
add("no digest", ALONE, dropped("burn-key-secure-boot-digest-0"))
add("no images written", ALONE, dropped("write-images"))
add("no switch of secure boot", ALONE, dropped("burn-secure-boot-en"))
add("an even number of bits", ALONE, members("burn-spi-boot-crypt-cnt", value=3))
add("a switch for no chip", ALONE, members("burn-spi-boot-crypt-cnt", min_revision=9999))
add("the cache turned off", ALONE, members("burn-dis-direct-boot", field="DIS_ICACHE"))
add("secure version spent", ALONE, members("burn-dis-direct-boot", field="SECURE_VERSION", value=0xFFFF))
add("the slot in use revoked", ALONE, members("burn-secure-boot-key-revoke1", field="SECURE_BOOT_KEY_REVOKE0"))
add("a readable flash encryption key", ALONE, members("burn-key-flash-encryption-key", rd_dis_bits=[]))
add("a flash encryption key turned round", ALONE, members("burn-key-flash-encryption-key", reversed=False))
add("RD_DIS locked first", ALONE, lambda it: it.plan["steps"].insert(2, it.plan["steps"].pop(16)))
add("a layout moved", ALONE, lambda it: it.plan["layout"][2].update(start=0))
add("nothing must be clear", ALONE, plan(must_be_clear=[]))
add("a revoked slot is not looked for", ALONE, lambda it: it.plan["must_be_clear"].pop())
add("a lower chip revision", ALONE, plan(min_revision=0))
add("any chip revision", ALONE, plan(max_revision=None))
add("a later chip revision", ALONE, plan(max_revision=999))
add("no requirements", ALONE, lambda it: it.plan.pop("requirements"))
add("a second key is not looked for", ALONE, asked(exclusive_purposes=[]))
add("less flash than partitions", ALONE, asked(flash_end=0x10000))
add("no enabling fields", ALONE, plan(enabling_fields=[]))
add("per device", ALONE, lambda it: it.key("flash_encryption_key", fingerprint=None))


@forgery(ALONE)
def the_nvs_key_in_another_block(it: Forged) -> None:
    it.key("nvs_hmac_key", block="BLOCK_KEY4", block_number=8, burn_name="BLOCK_KEY4", purpose_field="KEY_PURPOSE_4")
    step = it.step("burn-key-nvs-hmac-key")
    step["wr_dis_bits"] = [bit - 1 for bit in step["wr_dis_bits"]]
    step["rd_dis_bits"] = [bit - 1 for bit in step["rd_dis_bits"]]
    row = next(row for row in it.plan["layout"] if row["field"] == "KEY_PURPOSE_5")
    row.update(field="KEY_PURPOSE_4", start=row["start"] - 4)


@forgery(ALONE)
def a_program_beside_the_script(it: Forged) -> None:
    it.content["argparse.py"] = b"print('foreign')\n"


@forgery(ALONE)
def a_configuration_of_esptool(it: Forged) -> None:
    it.content["esptool.cfg"] = b"[esptool]\ncustom_reset_sequence = R0\n"


@forgery(ALONE)
def an_image_that_no_plan_writes(it: Forged) -> None:
    it.content["images/more.bin"] = bytes(4096)


@forgery(ALONE)
def another_version(it: Forged) -> None:
    it.manifest["tool"] = "idf-secure-provision 99.0"


@forgery(ALONE)
def the_first_release(it: Forged) -> None:
    """Whose plans asked for less."""
    it.manifest["tool"] = "idf-secure-provision 0.1.0"
    del it.plan["requirements"]


@forgery(ALONE)
def an_image_in_plain(it: Forged) -> None:
    content = it.plaintext("otadata")
    it.image("otadata")["encrypted"] = False
    it.write("otadata", content)
    it.manifest["checks"] = [
        proof
        for proof in it.manifest["checks"]
        if (proof["name"], proof["image"]) != ("decrypts to the source", "otadata")
    ]


@forgery(ALONE)
def values_said_to_be_ciphertext(it: Forged) -> None:
    """An image in plain, and whoever believes the manifest gives it away."""
    an_image_in_plain(it)
    assert all(row["holds"] == "ciphertext" for row in it.manifest["readable"])


@forgery(ALONE)
def nothing_said_of_what_can_be_read(it: Forged) -> None:
    del it.manifest["readable"]


@forgery(ALONE)
def an_image_elsewhere(it: Forged) -> None:
    content = it.plaintext("sample")
    it.image("sample")["offset"] = 0x30000
    it.write("sample", content)
    for proof in it.manifest["checks"]:
        if (proof["name"], proof["image"]) == ("decrypts to the source", "sample"):
            proof["evidence"] = "at flash offset 0x30000"


@forgery(ALONE)
def images_swapped(it: Forged) -> None:
    one, other = it.plaintext("bootloader"), it.plaintext("sample")
    it.write("sample", one)
    it.write("bootloader", other)


@forgery(ALONE)
def a_digest_exchanged(it: Forged) -> None:
    digest = public_key_digest(load_verification_key(it.made.keys["rsa_2"]))
    it.content["digests/secure_boot_digest_0.bin"] = digest
    it.key("secure_boot_digest_0", fingerprint=fingerprint(digest))


@forgery(ALONE)
def a_signature_of_the_forger(it: Forged) -> None:
    key = load_signing_key(it.made.keys["rsa_2"])
    it.write("sample", sign(it.plaintext("sample")[:-SECTOR], [key], place=""))


@forgery(ALONE)
def a_flash_encryption_key_exchanged(it: Forged) -> None:
    raw = hashlib.sha256(b"another").digest()
    it.content["keys/flash_encryption_key.bin"] = raw
    it.key("flash_encryption_key", fingerprint=fingerprint(raw))


@forgery(ALONE)
def each_board_its_own_key(it: Forged) -> None:
    it.manifest["per_device"] = {"keys": ["flash_encryption_key"], "keep": "destroy", "seal_to": None}


@forgery(ALONE)
def encrypted_later(it: Forged) -> None:
    for image in it.manifest["images"]:
        image.update(encrypted=False, encrypt_per_device=True)


@forgery(ALONE)
def another_script(it: Forged) -> object:
    return lambda document, project: render_script(document, project).replace("actual != expected", "False", 1)
