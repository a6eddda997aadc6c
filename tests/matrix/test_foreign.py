# SPDX-License-Identifier: Apache-2.0
"""Foreign: a chip that was used for something else is refused, and not one bit of it changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from matrix_boards import ESP32, ESP32C2, ESP32C6, ESP32C6_BOOT, Board, Boards, new_board  # noqa: F401 (a fixture)
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Bundles, Cell


@dataclass(frozen=True)
class Foreign:
    """A way to make a chip unfit for the ESP32-C6's bundle: espefuse's words, and the error that must refuse it."""

    name: str
    words: tuple[str, ...]
    code: str = "SE819"
    quick: bool = False
    said: str = ""

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        return [] if self.quick else [pytest.mark.long]


FOREIGN = (
    Foreign(
        "a key for the same use in a block outside the plan",
        ("burn-key", "BLOCK_KEY3", "{other}", "XTS_AES_128_KEY"),
        quick=True,
    ),
    Foreign(
        "a digest outside the plan whose slot is not revoked",
        ("burn-key", "BLOCK_KEY3", "{other}", "SECURE_BOOT_DIGEST0"),
    ),
    Foreign("another readable key", ("burn-key", "BLOCK_KEY0", "{other}", "USER")),
    Foreign(
        "another hidden key",
        ("burn-key", "BLOCK_KEY0", "{other}", "XTS_AES_128_KEY"),
        code="SE822",
    ),
    Foreign(
        "own key, hidden, but no journal",
        ("burn-key", "BLOCK_KEY0", "{flash}", "XTS_AES_128_KEY"),
        code="SE822",
        quick=True,
    ),
    Foreign("hidden key for another use", ("burn-key", "BLOCK_KEY0", "{other}", "HMAC_DOWN_JTAG")),
    Foreign(
        "an identity where the digest goes",
        ("burn-key", "BLOCK_KEY1", "{other}", "HMAC_DOWN_DIGITAL_SIGNATURE"),
        said="BLOCK_KEY1 holds a hidden key with another purpose (HMAC_DOWN_DIGITAL_SIGNATURE)",
        quick=True,
    ),
    Foreign(
        "a readable key for another use where the digest goes",
        ("burn-key", "BLOCK_KEY1", "{other}", "HMAC_UP", "--no-read-protect"),
        said="BLOCK_KEY1 holds another key with another purpose (HMAC_UP)",
    ),
    Foreign(
        "half of another key where the digest goes",
        ("burn-key", "BLOCK_KEY1", "{other}", "XTS_AES_128_KEY"),
        said="BLOCK_KEY1 holds a hidden key with another purpose (XTS_AES_128_KEY)",
    ),
    Foreign(
        "a digest where the flash encryption key goes",
        ("burn-key", "BLOCK_KEY0", "{digest}", "SECURE_BOOT_DIGEST0"),
        said="BLOCK_KEY0 holds another key with another purpose (SECURE_BOOT_DIGEST0)",
    ),
    Foreign(
        "hidden, and nobody knows for what",
        ("burn-bit", "BLOCK0", "32"),
        said="BLOCK_KEY0 is read-protected and has no purpose",
    ),
    Foreign(
        "an identity beside the plan",
        ("burn-key", "BLOCK_KEY4", "{other}", "HMAC_DOWN_DIGITAL_SIGNATURE"),
        code="SE860",
        said="BLOCK_KEY4 holds something hidden (KEY_PURPOSE_4 = HMAC_DOWN_DIGITAL_SIGNATURE)",
        quick=True,
    ),
    Foreign("a custom MAC address", ("burn-custom-mac", "AA:CD:EF:01:02:03"), code="SE860", said="CUSTOM_MAC = aa:cd"),
    Foreign("user data", ("burn-block-data", "BLOCK_USR_DATA", "{other}"), code="SE860", said="BLOCK3 holds user data"),
    Foreign("system data", ("burn-block-data", "BLOCK_SYS_DATA2", "{other}"), code="SE860"),
    Foreign("the firmware's version", ("burn-efuse", "SECURE_VERSION", "1"), code="SE860", said="SECURE_VERSION = 1"),
    Foreign("a key block locked empty", ("write-protect-efuse", "BLOCK_KEY4"), code="SE860", said="BLOCK_KEY4"),
    Foreign("a key block hidden empty", ("burn-bit", "BLOCK0", "36"), code="SE860", said="BLOCK_KEY4"),
    Foreign("own digest for another slot", ("burn-key", "BLOCK_KEY1", "{digest}", "SECURE_BOOT_DIGEST1")),
    Foreign("another digest", ("burn-key", "BLOCK_KEY1", "{other}", "SECURE_BOOT_DIGEST0")),
    Foreign("empty block with a purpose", ("burn-efuse", "KEY_PURPOSE_0", "XTS_AES_128_KEY")),
    Foreign("block locked empty", ("write-protect-efuse", "BLOCK_KEY5")),
    Foreign("empty digest block read-protected", ("burn-bit", "BLOCK0", "33")),
    Foreign("empty key block read-protected", ("burn-bit", "BLOCK0", "37")),
    Foreign("used slot revoked", ("burn-efuse", "SECURE_BOOT_KEY_REVOKE0", "1"), code="SE818", quick=True),
    Foreign("cache turned off", ("burn-efuse", "DIS_ICACHE", "1"), code="SE818"),
    Foreign("download mode closed already", ("burn-efuse", "DIS_DOWNLOAD_MODE", "1"), code="SE818"),
    Foreign("JTAG fields locked open", ("write-protect-efuse", "DIS_ICACHE")),
    Foreign("crypt count locked at 0", ("write-protect-efuse", "SPI_BOOT_CRYPT_CNT")),
    Foreign("chip too new", ("burn-bit", "BLOCK1", "118"), code="SE817"),
    Foreign("keys cannot be hidden any more", ("write-protect-efuse", "RD_DIS")),
    Foreign(
        "digest the wrong way round",
        ("burn-key", "BLOCK_KEY1", "{digest_reversed}", "SECURE_BOOT_DIGEST0"),
    ),
    Foreign(
        "own key the wrong way round",
        ("burn-block-data", "BLOCK_KEY0", "{flash}"),
    ),
    Foreign(
        "own key, its purpose locked as another",
        ("burn-key", "BLOCK_KEY0", "{flash}", "USER"),
    ),
)


@pytest.mark.parametrize(
    "foreign",
    [pytest.param(case, id=case.name, marks=case.marks) for case in FOREIGN],
)
def test_a_foreign_chip_is_refused_and_left_alone(foreign: Foreign, board: Boards, tmp_path: Path) -> None:
    """The chip was used for something else: nothing is burned on top of that."""
    fresh = board(ESP32C6)
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(range(100, 132)))
    turned = tmp_path / "turned.bin"
    turned.write_bytes(Path(fresh.digest).read_bytes()[::-1])
    files = {"other": str(other), "flash": fresh.key("flash_encryption_key.bin"), "digest": fresh.digest}
    files["digest_reversed"] = str(turned)
    fresh.burn(*(word.format(**files) for word in foreign.words))
    assert foreign.said in fresh.expect_refusal(foreign.code)


@pytest.mark.long
def test_a_read_protected_digest_is_refused(board: Boards) -> None:
    """The ROM could not read the digest any more: enabling secure boot would be the end of the chip."""
    fresh = board(ESP32C6)
    fresh.burn("burn-key", "BLOCK_KEY1", fresh.digest, "SECURE_BOOT_DIGEST0")
    fresh.burn("burn-bit", "BLOCK0", "33")  # espefuse itself refuses to read-protect it
    fresh.expect_refusal("SE819")


@pytest.mark.long
def test_a_read_protected_digest_of_an_esp32c2_is_refused(board: Boards) -> None:
    """The same where the digest is half of a block."""
    fresh = board(ESP32C2)
    fresh.burn(
        "burn-key",
        *("BLOCK_KEY0", fresh.key("flash_encryption_key.bin"), "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"),
        *("BLOCK_KEY0", fresh.digest, "SECURE_BOOT_DIGEST"),
    )
    fresh.burn("burn-efuse", "RD_DIS", "3")
    fresh.expect_refusal("SE819")


@pytest.mark.long
def test_half_of_the_shared_block_of_an_esp32c2_is_refused(board: Boards) -> None:
    """The block has been burned with the digest alone, and can be burned only once."""
    fresh = board(ESP32C2)
    fresh.burn("burn-key", "BLOCK_KEY0", fresh.digest, "SECURE_BOOT_DIGEST")
    fresh.expect_refusal("SE819")


@pytest.mark.long
def test_secure_boot_v1_on_an_esp32_is_refused(board: Boards) -> None:
    """ABS_DONE_0: the ROM verifies another kind of signature."""
    fresh = board(ESP32)
    fresh.burn("burn-efuse", "ABS_DONE_0", "1")
    fresh.expect_refusal("SE818")


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32", "boot"), ESP32C6_BOOT], ids=str)
def test_flash_encryption_that_the_bundle_does_not_expect_is_refused(cell: Cell, board: Boards) -> None:
    """The bundle's images are plain: a chip that decrypts them would run noise."""
    fresh = board(cell)
    fresh.burn("burn-efuse", "FLASH_CRYPT_CNT" if cell.chip == "esp32" else "SPI_BOOT_CRYPT_CNT", "1")
    fresh.expect_refusal("SE818")


@pytest.mark.long
def test_secure_boot_that_the_bundle_does_not_expect_is_refused(board: Boards) -> None:
    """The bundle's images are not signed."""
    fresh = board(Cell("esp32c6", "release"))
    fresh.burn("burn-efuse", "SECURE_BOOT_EN", "1")
    fresh.expect_refusal("SE818")


@pytest.mark.long
def test_a_chip_too_old_for_secure_boot_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    """An ESP32 before v3.0 would ignore ABS_DONE_1."""
    old = Board(bundles(ESP32), tmp_path / "old.bin")
    old.burn("dump")
    old.expect_refusal("SE817")


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32s3", "both"), ESP32C2], ids=str)
def test_the_efuses_of_another_kind_of_chip_are_refused(cell: Cell, board: Boards, bundles: Bundles) -> None:
    """A finished chip of another kind, read as if it were an ESP32-C6, is not one to go on with."""
    finished = board(cell)
    assert finished.provision().exit_code == 0
    Path(f"{finished.chip_file}.journal.json").unlink()
    stranger = Board(bundles(ESP32C6), finished.chip_file)
    code = "SE819" if cell.chip == "esp32s3" else "SE818"
    stranger.expect_refusal(code)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("SPI_BOOT_CRYPT_CNT", "1"), id="flash encryption on"),
        pytest.param(("SPI_BOOT_CRYPT_CNT", "3"), id="flash encryption off again", marks=pytest.mark.long),
        pytest.param(("SECURE_BOOT_EN", "1"), id="secure boot on", marks=pytest.mark.long),
        pytest.param(("SPI_BOOT_CRYPT_CNT", "7", "SECURE_BOOT_EN", "1"), id="both", marks=pytest.mark.long),
    ],
)
def test_a_feature_that_was_turned_on_before_its_key_gets_its_key(words: tuple[str, ...], board: Boards) -> None:
    """The key block is empty and can be burned: the board is not lost, and nothing is called done that was not seen."""
    fresh = board(ESP32C6)
    fresh.burn("burn-efuse", *words)
    done = fresh.provision()
    assert done.exit_code == 0, done.output
    assert "was burned before its key" in done.output
    assert "   flash  not known" in done.output
    assert fresh.unmet() == []
