# SPDX-License-Identifier: Apache-2.0
"""Is a board in release mode? ESP-IDF's own conditions, and those that its two functions do not look at.

From ESP-IDF v6.1, ``components/bootloader_support/src``: ``esp_flash_encryption_cfg_verify_release_mode``
(``flash_encrypt.c``) and ``esp_secure_boot_cfg_verify_release_mode`` (``secure_boot.c``). Beyond them: all parts of the
flash encryption key are there, nothing can be put into an unused slot for a signing key, an NVS key is protected, the
download mode is closed on every chip, SPI_DOWNLOAD_MSPI_DIS is burned wherever ESP-IDF's bootloader burns it, and the
flash has power in secure download mode (esptool, ``espefuse/efuse/esp32p4/fields.py``).
"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.checks import Check, Outcome
from secure_ext.chips.chip import Chip, KeyBlock, load_chip
from secure_ext.plan.key_blocks import EXTRA_PURPOSES
from secure_ext.policy.extra_key import OPENS_JTAG
from secure_ext.prove.audit.against_plan import EfuseCheck, coding_errors_check, efuse_check
from secure_ext.prove.audit.board import SEALED, Board
from secure_ext.station.efuse_features import DOWNLOAD_FIELDS, JTAG_FIELDS
from secure_ext.station.frozen import frozen

_P256_ONLY_LOCKED = 3
_FLASH_KEYS = ("XTS_AES_128_KEY", "XTS_AES_256_KEY_1", "XTS_AES_256_KEY_2")
_DIGEST = "SECURE_BOOT_DIGEST"
_NEWEST = 9999
_CURE = (
    "make a bundle of this board's firmware and run its provision.py: these eFuses are right only all together and in "
    "its order. One of them burned alone can stop the chip for good"
)
_TOO_LATE = "set this board aside: what is burned cannot be cleared, and what is sealed cannot be burned any more"
_DOWNLOAD = {
    "uart-encryption-closed": ("DISABLE_DL_ENCRYPT", "DIS_DOWNLOAD_MANUAL_ENCRYPT"),
    "uart-decryption-closed": ("DISABLE_DL_DECRYPT",),
    "download-cache-closed": (
        *("DISABLE_DL_CACHE", "DIS_DOWNLOAD_ICACHE", "DIS_DOWNLOAD_DCACHE", "SPI_DOWNLOAD_MSPI_DIS"),
    ),
}
_DOWNLOAD_MEANING = {
    "uart-encryption-closed": "nobody can have the ROM encrypt flash of their choice",
    "uart-decryption-closed": "nobody can have the ROM decrypt the flash",
    "download-cache-closed": "nobody can read decrypted flash in download mode",
}


def release_checks(board: Board) -> tuple[Check, ...]:
    """A check for each condition, with or without a plan.

    Raises InputError SE204 and the ToolErrors of `load_chip`, when the chip is not known.
    """
    chip = load_chip(board.chip, board.revision or 0)
    conditions = _Conditions(board, chip)
    return (
        coding_errors_check(board),
        *conditions.flash_encryption(),
        *conditions.secure_boot(),
        *conditions.both(),
    )


@frozen
class _Conditions:
    board: Board
    chip: Chip

    @property
    def _revision(self) -> int:
        """A board that hides its revision has to fulfil what the newest has to."""
        return _NEWEST if self.board.revision is None else self.board.revision

    def flash_encryption(self) -> Iterator[Check]:
        """``esp_flash_encryption_cfg_verify_release_mode``, and the key with all of its parts."""
        count = self.chip.crypt_count
        value, full = self.board.value(count.name), (1 << count.bits) - 1
        yield self._check(
            "flash-encryption-enabled",
            count.name,
            None if value is None else bin(value).count("1") % 2 == 1,
            wanted="an odd number of bits",
            found=value,
            meaning="flash encryption is on",
        )
        locked = self._is_locked(count.name)
        permanent = True if value == full or locked else None if value is None or locked is None else False
        yield self._check(
            "flash-encryption-permanent",
            count.name,
            permanent,
            wanted=f"{full}, or write-protected",
            found=None if value is None else f"{value}, {'' if locked else 'not '}write-protected",
            meaning="flash encryption cannot be turned off, as it can in development mode",
        )
        if not self.chip.facts.has_xts:
            yield self._equals("flash-crypt-config", "FLASH_CRYPT_CONFIG", 0xF, "all bits of the key are tweaked")
        for name, fields in _DOWNLOAD.items():
            for field in filter(self.chip.uses, fields):
                yield self._burned(name, field, _DOWNLOAD_MEANING[name])
        for field in ("DIS_CACHE", "DIS_ICACHE"):
            if self.chip.efuses.find(field):
                yield self._locked("cache-write-protected", field, "nobody can turn the cache off and stop the chip")
        facts = self.chip.facts
        if self.chip.uses("XTS_DPA_PSEUDO_LEVEL") and self._revision >= facts.pseudo_round_revision:
            yield self._burned("pseudo-rounds", "XTS_DPA_PSEUDO_LEVEL", "dummy rounds hide the key from power analysis")
        yield from self._flash_keys()

    def _flash_keys(self) -> Iterator[Check]:
        if self.chip.has_fixed_key_blocks:
            yield from self._secret(self.chip.key_blocks[0], "flash-encryption-key")
        elif self.chip.has_one_key_block:
            yield from self._shared_block_key()
        else:
            blocks = self._blocks_for(*_FLASH_KEYS)
            purposes = sorted(purpose for purpose, _ in blocks)
            seen = all(self._purpose(block) is not None for block in self.chip.key_blocks)
            legal = purposes in ([*_FLASH_KEYS[:1]], [*_FLASH_KEYS[1:]])
            yield self._check(
                "flash-encryption-key",
                "KEY_PURPOSE_n",
                legal if seen else None,
                wanted="XTS_AES_128_KEY alone, or both halves of XTS_AES_256_KEY",
                found=" and ".join(purposes) or "none",
                meaning="without all parts of the key the chip does not decrypt its flash",
            )
            for _, block in blocks:
                yield from self._secret(block, "flash-encryption-key")

    def _shared_block_key(self) -> Iterator[Check]:
        """ESP32-C2: the key fills the lower half of the block, or with XTS_KEY_LENGTH_256 all of it."""
        block = self.chip.key_blocks[0]
        whole = self.board.value("XTS_KEY_LENGTH_256")
        yield from self._secret(block, "flash-encryption-key", block.rd_dis_bits if whole else block.rd_dis_bits[:1])

    def secure_boot(self) -> Iterator[Check]:
        """``esp_secure_boot_cfg_verify_release_mode``, and slots that nobody can use any more."""
        enable = self.chip.secure_boot_enable.name
        value = self.board.value(enable)
        old = self._revision < self.chip.facts.secure_boot_revision
        found = "a chip too old for Secure Boot V2" if old else value
        on = None if value is None else value == 1 and not old
        yield self._check(
            "secure-boot-enabled", enable, on, wanted="1", found=found, meaning="only signed firmware boots"
        )
        if "ABS_DONE_0" in self.chip.efuses.fields:
            yield self._equals("secure-boot-v1-off", "ABS_DONE_0", 0, "the chip verifies V2 signatures", _TOO_LATE)
        for field in ("DIS_DIRECT_BOOT", "DIS_LEGACY_SPI_BOOT", "DIS_BOOT_REMAP"):
            if self.chip.uses(field):
                yield self._burned("legacy-boot-closed", field, "legacy boot modes run code that nothing verified")
        yield self._locked("read-protection-locked", "RD_DIS", "nobody can hide the digest and stop the chip")
        if self.chip.efuses.find("ECDSA_CURVE_MODE") and self._revision >= self.chip.facts.ecdsa_curve_mode_revision:
            yield self._curve()
        sha384 = self.chip.efuses.find("SECURE_BOOT_SHA384_EN")
        if sha384 and sha384.wr_dis_bit is not None and not self.board.value("SECURE_BOOT_SHA384_EN"):
            yield self._locked("sha384-locked", "SECURE_BOOT_SHA384_EN", "nobody can switch the hash and stop the chip")
        if self.chip.has_fixed_key_blocks or self.chip.has_one_key_block:
            yield from self._digest(self.chip.key_blocks[-1], "the digest of the signing key")
        else:
            yield from self._slots()

    def _curve(self) -> EfuseCheck:
        value, locked = self.board.value("ECDSA_CURVE_MODE"), self._is_locked("ECDSA_CURVE_MODE")
        fixed = True if locked or value == _P256_ONLY_LOCKED else None if locked is None else False
        found = None if value is None else f"{value}, {'' if locked else 'not '}write-protected"
        meaning = "nobody can switch the curve and stop the chip"
        return self._check(
            "ecdsa-curve-locked", "ECDSA_CURVE_MODE", fixed, wanted="write-protected", found=found, meaning=meaning
        )

    def _slots(self) -> Iterator[Check]:
        in_use = []
        for slot in range(self.chip.facts.digest_slots):
            blocks = self._blocks_for(f"{_DIGEST}{slot}")
            revoke = f"SECURE_BOOT_KEY_REVOKE{slot}"
            revoked = self.board.value(revoke)
            if not blocks:
                meaning = f"nobody can add a signing key in the free slot {slot + 1}"
                yield self._burned("unused-slot-revoked", revoke, meaning)
            elif not revoked:
                in_use.append(slot)
                for _, block in blocks:
                    yield from self._digest(block, f"the digest in slot {slot + 1}")
        seen = all(self._purpose(block) is not None for block in self.chip.key_blocks)
        yield self._check(
            "signing-key-digest",
            "KEY_PURPOSE_n",
            bool(in_use) if seen else None,
            wanted="at least one digest that is not revoked",
            found=f"{len(in_use)} in use",
            meaning="without a digest the chip does not boot",
        )

    def _digest(self, block: KeyBlock, what: str) -> Iterator[Check]:
        content = self.board.block(block.number)
        bit = block.rd_dis_bits[-1]
        hidden = self.board.is_read_protected(bit)
        part = content if content is None or len(block.rd_dis_bits) == 1 else content[16:]
        yield self._check(
            "digest-readable",
            f"{block.name}, RD_DIS bit {bit}",
            None if hidden is None else not hidden,
            wanted="not read-protected",
            found=None if hidden is None else "read-protected" if hidden else "not read-protected",
            meaning=f"the ROM must read {what}",
            cure=_TOO_LATE,
        )
        yield self._check(
            "digest-there",
            block.name,
            None if part is None else any(part),
            wanted="a digest",
            found="zeros" if part is not None and not any(part) else "a digest; whose it is, only a plan can tell",
            meaning=f"{what} has to be one",
        )
        yield from self._block_locked(block, "digest")

    def both(self) -> Iterator[Check]:
        """What both of ESP-IDF's functions ask for, and what neither does."""
        yield from self._second_digests()
        yield from self._jtag()
        if self.chip.uses("CONSOLE_DEBUG_DISABLE"):
            yield self._burned("rom-basic-closed", "CONSOLE_DEBUG_DISABLE", "the ROM must not fall back to BASIC")
        yield self._download_mode()
        power = self.chip.facts.flash_power_revision
        if power and self._revision >= power and self.board.value("ENABLE_SECURITY_DOWNLOAD"):
            meaning = "the ROM powers the flash in secure download mode"
            yield self._burned("flash-power", "DOWNLOAD_MODE_XPD_ON", meaning)
        for _, block in self._blocks_for("HMAC_UP"):
            yield from self._secret(block, "nvs-key")
        for _, block in self._blocks_for(*(purpose for purpose in EXTRA_PURPOSES if purpose != "HMAC_UP")):
            yield from self._secret(block, "own-key")

    def _second_digests(self) -> Iterator[Check]:
        """The ROM takes the first block that it finds with a purpose."""
        if self.chip.has_fixed_key_blocks or self.chip.has_one_key_block:
            return
        name, place = "one-digest-a-slot", "all key blocks"
        shown = [one for one in self.board.purposes.values() if one.startswith(_DIGEST)]
        twice = sorted({one for one in shown if shown.count(one) > 1})
        if not self.board.purposes:
            yield Check(name, place, Outcome.NOT_VERIFIABLE, SEALED)
        elif twice:
            yield Check(name, place, Outcome.FAILED, f"two blocks have the purpose {', '.join(twice)}", _TOO_LATE)
        else:
            yield Check(name, place, Outcome.PASSED, "no two blocks hold a digest for the same slot")

    def _jtag(self) -> Iterator[Check]:
        soft = self.chip.efuses.find("SOFT_DIS_JTAG")
        if soft and self.board.value(soft.name) == (1 << soft.bits) - 1:
            if self._blocks_for(*OPENS_JTAG):
                return  # closed until the firmware opens it with an HMAC key: ESP-IDF takes that, too
        for field in JTAG_FIELDS:
            if self.chip.uses(field):
                yield self._burned("jtag-closed", field, "a debugger could read keys and memory")

    def _download_mode(self) -> EfuseCheck:
        names = [name for name in DOWNLOAD_FIELDS if self.chip.uses(name)]
        values = [self.board.value(name) for name in names]
        closed = True if any(values) else None if None in values else False
        shown = ", ".join(f"{name} = {value}" for name, value in zip(names, values, strict=True))
        meaning = "nobody can talk to the ROM, or only in secure download mode"
        return self._check(
            "download-mode-closed",
            " or ".join(names),
            closed,
            wanted="one of them burned",
            found=shown,
            meaning=meaning,
        )

    # ---- parts ----

    def _secret(self, block: KeyBlock, name: str, rd_dis_bits: tuple[int, ...] | None = None) -> Iterator[Check]:
        for bit in block.rd_dis_bits if rd_dis_bits is None else rd_dis_bits:
            hidden = self.board.is_read_protected(bit)
            found = None if hidden is None else "read-protected" if hidden else "not read-protected"
            place = f"{block.name}, RD_DIS bit {bit}"
            yield self._check(
                f"{name}-hidden", place, hidden, wanted="read-protected", found=found, meaning="nobody can read it"
            )
            if hidden:
                why = "the block is read-protected: nobody can see whether it holds a key"
                meaning = "an empty block is a key of zeros"
                yield efuse_check(f"{name}-there", place, None, wanted="a key", found=why, meaning=meaning, cure="")
        yield from self._block_locked(block, name)

    def _block_locked(self, block: KeyBlock, name: str) -> Iterator[Check]:
        bits = [(block.name, block.wr_dis_bit), (block.purpose_field, block.purpose_wr_dis_bit)]
        for place, bit in bits:
            if bit is not None:
                locked = self.board.is_write_protected(bit)
                yield self._protected(f"{name}-write-protected", str(place), locked, "nobody can make it useless")

    def _purpose(self, block: KeyBlock) -> str | None:
        return self.board.purpose(block.purpose_field) if block.purpose_field else None

    def _blocks_for(self, *purposes: str) -> list[tuple[str, KeyBlock]]:
        """Every block with one of the purposes. Chips with fixed purposes have none."""
        found = [(self._purpose(block), block) for block in self.chip.key_blocks]
        return [(purpose, block) for purpose, block in found if purpose in purposes]

    def _is_locked(self, field: str) -> bool | None:
        bit = self.chip.efuses.require(field).wr_dis_bit
        return False if bit is None else self.board.is_write_protected(bit)

    def _burned(self, name: str, field: str, meaning: str) -> EfuseCheck:
        value = self.board.value(field)
        return self._check(
            name, field, None if value is None else value > 0, wanted="burned", found=value, meaning=meaning
        )

    def _equals(self, name: str, field: str, wanted: int, meaning: str, cure: str = _CURE) -> EfuseCheck:
        value = self.board.value(field)
        fits = None if value is None else value == wanted
        return self._check(name, field, fits, wanted=str(wanted), found=value, meaning=meaning, cure=cure)

    def _locked(self, name: str, field: str, meaning: str) -> EfuseCheck:
        return self._protected(name, field, self._is_locked(field), meaning)

    def _protected(self, name: str, place: str, locked: bool | None, meaning: str) -> EfuseCheck:
        found = None if locked is None else "write-protected" if locked else "not write-protected"
        return self._check(name, place, locked, wanted="write-protected", found=found, meaning=meaning)

    def _check(
        self,
        name: str,
        place: str,
        fits: bool | None,
        *,
        wanted: str,
        found: str | int | None,
        meaning: str,
        cure: str = _CURE,
    ) -> EfuseCheck:
        """A check of this board; on a sealed one nothing can be burned any more, whatever is missing."""
        cure = _TOO_LATE if self.board.state is None else cure
        if fits is None:
            unseen = SEALED if self.board.state is None else self.board.why_unseen(place)
            return efuse_check(name, place, None, wanted=wanted, found=unseen, meaning=meaning, cure="")
        return efuse_check(name, place, fits, wanted=wanted, found=str(found), meaning=meaning, cure=cure)
