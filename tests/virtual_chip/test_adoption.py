# SPDX-License-Identifier: Apache-2.0
"""From development to release: a board whose key is hidden goes on with a bundle of that key, if it can show it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from chip_tools import espefuse, succeed
from support.matrix_tools import esptool_version

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.keys.symmetric import generate_secret
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.script_run import ScriptRun, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.station.adoption import KeyProof
from secure_ext.station.chip_facts import FACTS, KeySize
from secure_ext.station.esp_tools import Stop, ToolResult

LONG = pytest.mark.long
OVER_SECURE_BOOT = pytest.mark.skipif(
    esptool_version() < (5, 2), reason="esptool before 5.2 writes no bootloader over secure boot (SE831)"
)
Mode = Literal["development", "release"]
MakeBundle = Callable[..., FinishedBundle]
CHIPS = ["esp32c3", *(pytest.param(chip, marks=LONG) for chip in ("esp32", "esp32c2", "esp32c6", "esp32s3"))]


@pytest.fixture
def make_bundle(tmp_path: Path, signing_key_for: Callable[[str], Path]) -> MakeBundle:
    """Bundles of one signing key; of one flash encryption key, unless `key` names another file."""

    def make(
        mode: Mode, chip: str = "esp32c3", *, key: str = "flash.bin", nvs: bool = False, placed: bool = False
    ) -> FinishedBundle:
        size = FACTS[chip].key_sizes[-1]
        path = tmp_path / key
        if not path.exists():
            path.write_bytes(generate_secret("flash", KeySize(size).key_bytes).data)
        config = {"NVS_ENCRYPTION": nvs, "NVS_SEC_KEY_PROTECT_USING_HMAC": nvs}
        options = SampleOptions(flash_encryption=mode, secure_boot=True, config=config)
        if nvs and not (tmp_path / "nvs.bin").exists():
            (tmp_path / "nvs.bin").write_bytes(generate_secret("nvs", 32).data)
        name = f"{mode}-{chip}-{key}"
        build = make_sample_build(tmp_path / f"project-{name}", chip, options=options)
        values: dict[str, Value] = {
            "secure_boot.keys": (str(signing_key_for(chip)),),
            "flash_encryption.key": str(path),
            "flash_encryption.key_size": size.value,
        }
        values |= {"nvs.key": str(tmp_path / "nvs.bin")} if nvs else {}
        values |= {"place": "station", "keep": ()} if placed else {}
        made = write_bundle(decide(build, Profile(tmp_path, values)), tmp_path / f"bundle-{name}", lambda _: None)
        return read_bundle(made.folder)

    return make


def provision(bundle: FinishedBundle, chip: ChipProcess, journal: str, *options: str) -> ScriptRun:
    return run_script(bundle, chip.url, chip.state.parent / journal, *options)


@pytest.fixture
def developed(tmp_path: Path) -> Callable[[FinishedBundle], ChipProcess]:
    """A board that was provisioned with a bundle, by somebody else."""

    def board(bundle: FinishedBundle) -> ChipProcess:
        chip = ChipProcess(chip_for(bundle), tmp_path / "chip")
        with chip as new:
            done = provision(bundle, new, "their-journal")
            assert done.exit_code == 0, done.output
        return chip

    return board


@pytest.mark.parametrize("chip", CHIPS)
@OVER_SECURE_BOOT
def test_a_board_shows_its_key_and_becomes_a_release_board(
    chip: str, make_bundle: MakeBundle, developed: Callable[[FinishedBundle], ChipProcess]
) -> None:
    board, release = developed(make_bundle("development", chip)), make_bundle("release", chip)
    with board as again:
        refused = provision(release, again, "journal")
        assert "SE822" in refused.output, refused.output
        done = provision(release, again, "journal", "--adopt")
        assert done.exit_code == 0, done.output
        assert "the board holds this key" in done.output
        report = boot_check(again.state, release.folder)
        assert report.boots, report.faults


@pytest.mark.parametrize("chip", CHIPS)
def test_another_key_is_found_out_and_nothing_of_the_board_is_changed(
    chip: str, make_bundle: MakeBundle, developed: Callable[[FinishedBundle], ChipProcess]
) -> None:
    board, release = developed(make_bundle("development", chip)), make_bundle("release", chip, key="other.bin")
    flash, efuses = board.flash, (board.state / "efuses.json").read_bytes()
    with board as again:
        done = provision(release, again, "journal", "--adopt")
        assert (done.exit_code, "SE868" in done.output) == (5, True), done.output
        once_more = provision(release, again, "journal")
        assert "SE822" in once_more.output
    assert board.flash == flash
    assert (board.state / "efuses.json").read_bytes() == efuses


@LONG
@OVER_SECURE_BOOT
@pytest.mark.parametrize("placed", [False, pytest.param(True, marks=LONG)])
def test_who_cannot_show_it_is_not_believed(
    placed: bool, make_bundle: MakeBundle, developed: Callable[[FinishedBundle], ChipProcess]
) -> None:
    """A key that only firmware can use; the station that burned it goes on with its journal, may it place keys or not.

    The profile lets it place them only since then.
    """
    board, release = developed(make_bundle("development", nvs=True)), make_bundle("release", nvs=True, placed=placed)
    with board as again:
        done = provision(release, again, "journal", "--adopt")
        assert "SE867" in done.output and "HMAC_UP" in done.output, done.output
        known = provision(release, again, "their-journal")
        assert known.exit_code == 0, known.output
        report = boot_check(again.state, release.folder)
        assert report.boots, report.faults


@LONG
def test_a_chip_that_encrypts_nothing_any_more(
    make_bundle: MakeBundle, developed: Callable[[FinishedBundle], ChipProcess], tmp_path: Path
) -> None:
    """A release board, cut before its seal: nobody can have it show anything."""
    release = make_bundle("release")
    with ChipProcess(chip_for(release), tmp_path / "chip") as board:
        assert provision(release, board, "their-journal", "--until", "burn").exit_code == 0
        done = provision(release, board, "journal", "--adopt")
        assert (done.exit_code, "SE867" in done.output) == (5, True), done.output
        assert "DIS_DOWNLOAD_MANUAL_ENCRYPT is burned" in done.output


@LONG
def test_what_a_board_carries_is_asked_for_as_ever(
    make_bundle: MakeBundle, developed: Callable[[FinishedBundle], ChipProcess]
) -> None:
    """That it has the key does not say that its flash can be erased: nobody here has looked at it before."""
    board, release = developed(make_bundle("development")), make_bundle("release")
    with board as again:
        succeed(espefuse(again, "burn-custom-mac", "02:00:00:12:34:56"))
        before, flash = (board.state / "efuses.json").read_bytes(), board.flash
        for _ in range(2):
            done = provision(release, again, "journal", "--adopt")
            assert (done.exit_code, "SE860" in done.output) == (5, True), done.output
            assert "CUSTOM_MAC" in done.output
    assert ((board.state / "efuses.json").read_bytes(), board.flash) == (before, flash)


@pytest.mark.parametrize("cannot", ["read-flash", "write-flash"])
def test_a_proof_that_breaks_off_leaves_the_sector_blank_or_says_so(cannot: str) -> None:
    """A cable that fails in the middle: what was blank may be a partition of the firmware's."""
    asked: list[str] = []

    def esptool(words: list[str]) -> ToolResult:
        asked.append(words[0])
        return ToolResult(int(words[0] == cannot), "no answer")

    connection = SimpleNamespace(virtual_file=None, resets=False)
    blank = "6ae59e64850377ee5470c854761551ea"
    link: Any = SimpleNamespace(
        esptool=esptool, connection=connection, is_stub=True, flash_md5=lambda places: [blank] * len(places)
    )
    plan: Any = SimpleNamespace(chip="esp32c3")
    files: Any = SimpleNamespace(flash_encryption_key=lambda: bytes(32))
    state: Any = SimpleNamespace(values={})
    with pytest.raises(Stop) as stopped:
        KeyProof(plan, files, link, 0x400000, lambda _: None).require(state, [])
    assert stopped.value.code == "SE867" and asked[-1] == "write-flash"
    assert ("left as it was" in stopped.value.cure) == (cannot == "read-flash")
