"""Interrupted, foreign and staged: the bundle's script goes on from every state it made, and from no other."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hardware_writes import Write, after_each_write
from matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from matrix_cells import Bundles, Cell, Made
from matrix_tools import Done, espefuse, provision, read_efuses
from release_oracle import not_release

ESP32 = Cell("esp32", "both")
ESP32C2 = Cell("esp32c2", "both")
ESP32C6 = Cell("esp32c6", "both")
ESP32C6_BOOT = Cell("esp32c6", "boot")
ESP32S3 = Cell("esp32s3", "both", key_bits=256)

WRITES = {
    # highest key block first; then BLOCK0: what is harmless, what hides and enables, what write-protects, and the seal
    ESP32: [-1, 2, 1, 0, 0, 0, 0],
    ESP32C2: [-1, 3, 0, 0, 0, 0],
    ESP32C6: [-1, 9, 5, 4, 0, 0, 0, 0],
    ESP32S3: [-1, 9, 6, 5, 4, 0, 0, 0, 0],
}
QUICK_CUTS = {(ESP32C6, 2), (ESP32C6, 4)}
"""After some of the keys; with purposes but without protections."""

CUTS = [
    pytest.param(cell, cut, id=f"{cell}-{cut}", marks=[] if (cell, cut) in QUICK_CUTS else [pytest.mark.long])
    for cell, blocks in WRITES.items()
    for cut in range(len(blocks))
]
States = Callable[[Cell], list[Write]]


@dataclass
class Board:
    """A virtual chip of one's own, and the bundle that is for it."""

    made: Made
    chip_file: Path

    @property
    def chip(self) -> str:
        return self.made.cell.chip

    def provision(self, *options: str, yes: bool = True) -> Done:
        return provision(self.made.folder, self.chip_file, *options, yes=yes)

    def burn(self, *words: str) -> None:
        espefuse(self.chip, self.chip_file, *words)

    def unmet(self) -> list[str]:
        return not_release(self.chip, read_efuses(self.chip, self.chip_file), self.made.wanted)

    def key(self, name: str) -> str:
        return str(self.made.folder / "keys" / name)

    @property
    def digest(self) -> str:
        return str(self.made.folder / "digests" / "secure_boot_digest_0.bin")


@pytest.fixture(scope="module")
def states(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> States:
    """What the chip of a cell is after each hardware write; found out when first asked for."""
    found: dict[Cell, list[Write]] = {}

    def states_of(cell: Cell) -> list[Write]:
        if cell not in found:
            folder = tmp_path_factory.mktemp(f"writes-{cell}")
            found[cell] = after_each_write(bundles(cell).folder, folder / "whole.bin", folder)
        return found[cell]

    return states_of


@pytest.fixture
def board(bundles: Bundles, tmp_path: Path) -> Callable[[Cell], Board]:
    """Makes a board with a blank chip of the right revision."""

    def blank(cell: Cell) -> Board:
        new = Board(bundles(cell), tmp_path / f"{cell}.bin")
        assert new.provision("--dry-run").exit_code == 0
        return new

    return blank


# ---- interrupted ----


@pytest.mark.parametrize(("cell", "cut"), CUTS)
def test_a_power_cut_after_any_write_is_mended_by_the_next_run(
    cell: Cell, cut: int, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Whatever a cut between two hardware writes leaves, running the script again completes the chip."""
    writes = states(cell)
    assert [write.block for write in writes] == WRITES[cell]
    board = at_state(writes[cut], bundles(cell), tmp_path)
    resumed = board.provision()
    assert resumed.exit_code == 0, resumed.output
    assert board.unmet() == []


def at_state(write: Write, made: Made, folder: Path) -> Board:
    board = Board(made, folder / "chip.bin")
    shutil.copy(write.chip_file, board.chip_file)
    shutil.copy(f"{write.chip_file}.journal.json", f"{board.chip_file}.journal.json")
    return board


@pytest.mark.long
@pytest.mark.parametrize("cell", [ESP32C6, ESP32C2, ESP32], ids=str)
def test_a_power_cut_in_the_run_that_mends_is_mended_as_well(
    cell: Cell, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """The run that mends can be cut as well: every interrupted run leaves what the next one mends."""
    writes = states(cell)
    keys_only = max(number for number, write in enumerate(writes) if write.block > 0)
    board = at_state(writes[keys_only], bundles(cell), tmp_path)
    second = tmp_path / "second"
    second.mkdir()
    for number, write in enumerate(after_each_write(board.made.folder, board.chip_file, second)):
        folder = tmp_path / str(number)
        folder.mkdir()
        again = at_state(write, board.made, folder)
        resumed = again.provision()
        assert resumed.exit_code == 0, resumed.output
        assert again.unmet() == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("cell", [ESP32C6, ESP32C2], ids=str)
def test_a_cut_inside_a_write_is_completed_or_refused(
    cell: Cell, seed: int, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Some bits of one write of BLOCK0 are burned, others are not: the script never takes such a chip for done."""
    chance = random.Random(seed)
    writes = states(cell)
    last = len(writes) - 2  # the write that protects and enables
    number = chance.choice([last - 1, last])
    before = read_efuses(cell.chip, writes[number - 1].chip_file).blocks[0]
    after = read_efuses(cell.chip, writes[number].chip_file).blocks[0]
    new_bits = [bit for bit in range(len(after) * 8) if (after[bit // 8] & ~before[bit // 8]) >> bit % 8 & 1]
    burned = [str(bit) for bit in new_bits if chance.random() < chance.choice([0.1, 0.5, 0.9])]
    board = at_state(writes[number - 1], bundles(cell), tmp_path)
    if burned:
        board.burn("burn-bit", "BLOCK0", *burned)
    resumed = board.provision()
    unmet = board.unmet()
    assert (resumed.exit_code == 0) == (unmet == []), (burned, resumed.output, unmet)
    if resumed.exit_code:
        assert resumed.exit_code in (4, 5)
        assert "STOP SE8" in resumed.output


@pytest.mark.long
@pytest.mark.parametrize("lost", ["nothing", "journal"])
def test_only_the_journal_tells_own_hidden_keys_from_foreign_ones(
    lost: str, states: States, bundles: Bundles, tmp_path: Path
) -> None:
    """Cut after the keys were hidden but before the chip was sealed: the keys cannot be compared any more."""
    writes = states(ESP32C6)
    board = at_state(writes[4], bundles(ESP32C6), tmp_path)
    board.burn("read-protect-efuse", "BLOCK_KEY0", "BLOCK_KEY5")
    if lost == "journal":
        Path(f"{board.chip_file}.journal.json").unlink()
        expect_refusal(board, "SE822")
    else:
        assert board.provision().exit_code == 0
        assert board.unmet() == []


# ---- foreign ----


def expect_refusal(board: Board, code: str) -> None:
    """Exit code 5 with this error, and not one bit changed."""
    before = board.chip_file.read_bytes()
    done = board.provision()
    assert (done.exit_code, f"STOP {code}" in done.output) == (5, True), done.output
    assert board.chip_file.read_bytes() == before
    assert not Path(f"{board.chip_file}.journal.json").exists()


@dataclass(frozen=True)
class Foreign:
    """A way to make a chip unfit for the ESP32-C6's bundle: espefuse's words, and the error that must refuse it."""

    name: str
    words: tuple[str, ...]
    code: str = "SE819"
    quick: bool = False

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
    Foreign("flash encryption on without a key", ("burn-efuse", "SPI_BOOT_CRYPT_CNT", "1")),
    Foreign("flash encryption off again", ("burn-efuse", "SPI_BOOT_CRYPT_CNT", "3")),
    Foreign("secure boot on without a digest", ("burn-efuse", "SECURE_BOOT_EN", "1")),
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
def test_a_foreign_chip_is_refused_and_left_alone(
    foreign: Foreign, board: Callable[[Cell], Board], tmp_path: Path
) -> None:
    """The chip was used for something else: nothing is burned on top of that."""
    fresh = board(ESP32C6)
    other = tmp_path / "other.bin"
    other.write_bytes(bytes(range(100, 132)))
    turned = tmp_path / "turned.bin"
    turned.write_bytes(Path(fresh.digest).read_bytes()[::-1])
    files = {"other": str(other), "flash": fresh.key("flash_encryption_key.bin"), "digest": fresh.digest}
    files["digest_reversed"] = str(turned)
    fresh.burn(*(word.format(**files) for word in foreign.words))
    expect_refusal(fresh, foreign.code)


@pytest.mark.long
def test_a_read_protected_digest_is_refused(board: Callable[[Cell], Board]) -> None:
    """The ROM could not read the digest any more: enabling secure boot would be the end of the chip."""
    fresh = board(ESP32C6)
    fresh.burn("burn-key", "BLOCK_KEY1", fresh.digest, "SECURE_BOOT_DIGEST0")
    fresh.burn("burn-bit", "BLOCK0", "33")  # espefuse itself refuses to read-protect it
    expect_refusal(fresh, "SE819")


@pytest.mark.long
def test_a_read_protected_digest_of_an_esp32c2_is_refused(board: Callable[[Cell], Board]) -> None:
    """The same where the digest is half of a block."""
    fresh = board(ESP32C2)
    fresh.burn(
        "burn-key",
        *("BLOCK_KEY0", fresh.key("flash_encryption_key.bin"), "XTS_AES_128_KEY_DERIVED_FROM_128_EFUSE_BITS"),
        *("BLOCK_KEY0", fresh.digest, "SECURE_BOOT_DIGEST"),
    )
    fresh.burn("burn-efuse", "RD_DIS", "3")
    expect_refusal(fresh, "SE819")


@pytest.mark.long
def test_half_of_the_shared_block_of_an_esp32c2_is_refused(board: Callable[[Cell], Board]) -> None:
    """The block has been burned with the digest alone, and can be burned only once."""
    fresh = board(ESP32C2)
    fresh.burn("burn-key", "BLOCK_KEY0", fresh.digest, "SECURE_BOOT_DIGEST")
    expect_refusal(fresh, "SE819")


@pytest.mark.long
def test_secure_boot_v1_on_an_esp32_is_refused(board: Callable[[Cell], Board]) -> None:
    """ABS_DONE_0: the ROM verifies another kind of signature."""
    fresh = board(ESP32)
    fresh.burn("burn-efuse", "ABS_DONE_0", "1")
    expect_refusal(fresh, "SE818")


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32", "boot"), ESP32C6_BOOT], ids=str)
def test_flash_encryption_that_the_bundle_does_not_expect_is_refused(
    cell: Cell, board: Callable[[Cell], Board]
) -> None:
    """The bundle's images are plain: a chip that decrypts them would run noise."""
    fresh = board(cell)
    fresh.burn("burn-efuse", "FLASH_CRYPT_CNT" if cell.chip == "esp32" else "SPI_BOOT_CRYPT_CNT", "1")
    expect_refusal(fresh, "SE818")


@pytest.mark.long
def test_secure_boot_that_the_bundle_does_not_expect_is_refused(board: Callable[[Cell], Board]) -> None:
    """The bundle's images are not signed."""
    fresh = board(Cell("esp32c6", "release"))
    fresh.burn("burn-efuse", "SECURE_BOOT_EN", "1")
    expect_refusal(fresh, "SE818")


@pytest.mark.long
def test_a_chip_too_old_for_secure_boot_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    """An ESP32 before v3.0 would ignore ABS_DONE_1."""
    old = Board(bundles(ESP32), tmp_path / "old.bin")
    old.burn("dump")
    expect_refusal(old, "SE817")


@pytest.mark.long
@pytest.mark.parametrize("cell", [Cell("esp32s3", "both"), ESP32C2], ids=str)
def test_the_efuses_of_another_kind_of_chip_are_refused(
    cell: Cell, board: Callable[[Cell], Board], bundles: Bundles
) -> None:
    """A finished chip of another kind, read as if it were an ESP32-C6, is not one to go on with."""
    finished = board(cell)
    assert finished.provision().exit_code == 0
    Path(f"{finished.chip_file}.journal.json").unlink()
    stranger = Board(bundles(ESP32C6), finished.chip_file)
    code = "SE819" if cell.chip == "esp32s3" else "SE818"
    expect_refusal(stranger, code)


# ---- what the user asks for ----


def test_stages_can_be_run_one_by_one(board: Callable[[Cell], Board]) -> None:
    """Up to flash: no eFuse. Up to burn: everything but the seal. Without a limit: done."""
    fresh = board(ESP32C6)
    blank = fresh.chip_file.read_bytes()
    flashed = fresh.provision("--until", "flash")
    assert (flashed.exit_code, fresh.chip_file.read_bytes()) == (0, blank)
    assert "on a board: esptool write" in flashed.output
    assert fresh.provision("--until", "burn").exit_code == 0
    assert fresh.unmet() == ["the download mode is closed"]
    sealed = fresh.provision()
    assert sealed.exit_code == 0
    assert "write-flash" not in sealed.output  # the chip decrypts already
    assert fresh.unmet() == []


def test_a_dry_run_and_a_run_that_nobody_confirms_change_nothing(board: Callable[[Cell], Board]) -> None:
    """Neither bits nor journal; without a terminal to ask on, the exit code says that usage was wrong."""
    fresh = board(ESP32C6)
    blank = fresh.chip_file.read_bytes()
    for options, exit_code, words in ((["--dry-run"], 0, "Dry run"), ([], 2, "STOP SE823")):
        done = fresh.provision(*options, yes=False)
        assert (done.exit_code, words in done.output) == (exit_code, True), done.output
        assert fresh.chip_file.read_bytes() == blank
    assert not Path(f"{fresh.chip_file}.journal.json").exists()


@pytest.mark.skipif(importlib.util.find_spec("pty") is None or os.name != "posix", reason="needs a pseudo terminal")
@pytest.mark.parametrize(
    ("word", "exit_code"),
    [pytest.param("burn", 2, marks=pytest.mark.long), pytest.param("", 2, marks=pytest.mark.long), ("BURN", 0)],
)
def test_the_word_at_the_prompt_decides(word: str, exit_code: int, board: Callable[[Cell], Board]) -> None:
    """Exactly BURN burns; anything else changes nothing."""
    fresh = board(ESP32C6_BOOT)
    blank = fresh.chip_file.read_bytes()
    done = on_a_terminal(fresh, word)
    assert done.exit_code == exit_code, done.output
    if exit_code:
        assert fresh.chip_file.read_bytes() == blank
    else:
        assert fresh.unmet() == []


def on_a_terminal(board: Board, answer: str) -> Done:
    import pty

    ours, theirs = pty.openpty()
    line = [sys.executable, str(board.made.folder / "provision.py"), "--virt", str(board.chip_file)]
    with subprocess.Popen(line, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        os.close(theirs)
        os.write(ours, answer.encode() + b"\n")
        output, _ = process.communicate(timeout=120)
    os.close(ours)
    return Done(process.returncode, output.decode())


@pytest.mark.parametrize(
    "name",
    [
        "images/sample.bin",
        pytest.param("images/otadata.bin", marks=pytest.mark.long),
        pytest.param("keys/flash_encryption_key.bin", marks=pytest.mark.long),
        pytest.param("keys/nvs_hmac_key.bin", marks=pytest.mark.long),
        pytest.param("digests/secure_boot_digest_0.bin", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("damage", ["one bit", pytest.param("missing", marks=pytest.mark.long)])
def test_a_damaged_bundle_is_noticed_before_anything(name: str, damage: str, bundles: Bundles, tmp_path: Path) -> None:
    """A changed or missing image, key or digest ends the run before the chip is even looked at."""
    bundle = tmp_path / "bundle"
    shutil.copytree(bundles(ESP32C6).folder, bundle)
    content = bytearray((bundle / name).read_bytes())
    content[-1] ^= 1
    (bundle / name).write_bytes(content)
    if damage == "missing":
        (bundle / name).unlink()
    done = provision(bundle, tmp_path / "chip.bin")
    assert (done.exit_code, "STOP SE820" in done.output) == (3, True), done.output
    assert not (tmp_path / "chip.bin").exists()


def test_two_runs_at_once_do_not_mix(bundles: Bundles, tmp_path: Path) -> None:
    """Two stations, one bundle, two chips, at the same time: both are as they should be, each with its own journal."""
    made = bundles(ESP32C6)
    boards = [Board(made, tmp_path / f"chip{number}.bin") for number in range(2)]
    script = str(made.folder / "provision.py")
    runs = []
    for board in boards:
        line = [sys.executable, script, "--virt", str(board.chip_file), "--yes"]
        runs.append(subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.1)
    assert [run.wait(timeout=120) for run in runs] == [0, 0]
    assert [board.unmet() for board in boards] == [[], []]
    assert sorted(path.name for path in tmp_path.glob("*.journal.json")) == [
        "chip0.bin.journal.json",
        "chip1.bin.journal.json",
    ]
