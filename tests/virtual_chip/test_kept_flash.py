# SPDX-License-Identifier: Apache-2.0
"""What a board carries in its flash is kept, byte for byte as the chip will read it, whatever happens on the way."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chip_tools import espefuse, esptool, new_chip, succeed
from hand_made import CALIBRATION, CERTIFICATE, KEEP, PARTITIONS
from support.matrix_tools import espsecure

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.documents.rehearsal import FAILED
from secure_ext.policy.profile import Profile, Value
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.power_cuts import power_cuts
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import ScriptRun, carry, chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess, events
from secure_ext.sample import SampleOptions, make_sample_build
from secure_ext.station.chip_facts import FACTS

LONG = pytest.mark.long
MakeBundle = Callable[..., FinishedBundle]


@pytest.fixture
def make_bundle(tmp_path: Path, signing_key_for: Callable[[str], Path]) -> MakeBundle:
    def make(
        chip: str = "esp32c3", *, keep: tuple[str, ...] | None = KEEP, folder: str = "made", **profile: Value
    ) -> FinishedBundle:
        options = SampleOptions(flash_encryption="release", secure_boot=True, partitions=PARTITIONS, app_size=40_000)
        build = make_sample_build(tmp_path / folder / f"project-{chip}", chip, options=options)
        values: dict[str, Value] = {"secure_boot.keys": (str(signing_key_for(chip)),), **profile}
        values |= {} if keep is None else {"keep": keep}
        decision = decide(build, Profile(tmp_path, values))
        made = write_bundle(decision, tmp_path / folder / f"bundle-{chip}", lambda _: None)
        return read_bundle(made.folder)

    return make


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., ChipProcess]:
    """A board with something in all that is kept."""

    def new(bundle: FinishedBundle, folder: str = "chip", **options: object) -> ChipProcess:
        wanted = replace(chip_for(bundle), **options)  # type: ignore[arg-type]
        carry(bundle, wanted, tmp_path / folder)
        return ChipProcess(wanted, tmp_path / folder)

    return new


def before(chip: ChipProcess) -> bytes:
    return (chip.state / "flash_before.bin").read_bytes()


def check_kept(bundle: FinishedBundle, chip: ChipProcess, tmp_path: Path) -> None:
    """Plain where the chip does not decrypt; and espsecure, as a judge, decrypts the other back to what it was."""
    flash, was = chip.flash, before(chip)
    for start in (CALIBRATION, 0x3F0000):
        assert flash[start : start + 0x1000] == was[start : start + 0x1000]
    keys = [key for key in bundle.plan.keys if key.role.startswith("flash_encryption")]
    key, cipher, plain = (tmp_path / name for name in ("key", "cipher", "plain"))
    key.write_bytes(b"".join((bundle.folder / one.file).read_bytes() for one in keys))
    cipher.write_bytes(flash[CERTIFICATE : CERTIFICATE + 0x1000])
    cipher_of = ["--aes-xts"] if FACTS[bundle.plan.chip].has_xts else ["--flash-crypt-conf", "0xF"]
    words = ["--keyfile", str(key), "--address", hex(CERTIFICATE), "--output", str(plain), *cipher_of]
    espsecure(["decrypt-flash-data", *words, str(cipher)])
    assert plain.read_bytes() == was[CERTIFICATE : CERTIFICATE + 0x1000]


def provision(bundle: FinishedBundle, chip: ChipProcess, *options: str) -> ScriptRun:
    return run_script(bundle, chip.url, chip.state.parent / "journal", *options)


@pytest.mark.parametrize(
    "chip",
    ["esp32c3", *(pytest.param(chip, marks=LONG) for chip in ("esp32", "esp32c2", "esp32s3"))],
)
def test_what_is_kept_is_as_it_was(
    chip: str, make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path
) -> None:
    """And nothing of the copies is left."""
    bundle = make_bundle(chip)
    with board(bundle) as new:
        done = provision(bundle, new)
        assert done.exit_code == 0, done.output
        check_kept(bundle, new, tmp_path)
        report = boot_check(new.state, bundle.folder)
        assert report.boots, report.faults
    assert [path.suffix for path in (tmp_path / "journal").iterdir() if path.suffix not in (".json", ".log")] == []


@LONG
def test_a_key_of_two_halves(make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path) -> None:
    bundle = make_bundle("esp32s3", **{"flash_encryption.key_size": "256"})
    with board(bundle) as new:
        done = provision(bundle, new)
        assert done.exit_code == 0, done.output
        check_kept(bundle, new, tmp_path)


def test_copies_are_for_their_owner_alone_and_a_cut_costs_nothing(
    make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path
) -> None:
    """Cut in the last flash write, which is that of the certificate; the copy makes it whole."""
    bundle = make_bundle()
    log = tmp_path / "events"
    with board(bundle, "whole", log=log) as new:
        assert run_script(bundle, new.url, tmp_path / "other").exit_code == 0
    writes = max(event["flash"] for event in events(log))
    with board(bundle, cut=f"flash:{writes}") as new:
        assert provision(bundle, new).exit_code
    (copies,) = (tmp_path / "journal").glob("*.kept")
    assert stat.S_IMODE(copies.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in copies.iterdir()} == {0o600}
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as again:
        assert again.flash != before(again)
        done = provision(bundle, again)
        assert done.exit_code == 0, done.output
        check_kept(bundle, again, tmp_path)
    assert not copies.exists()


@pytest.fixture
def other_certificate(tmp_path: Path) -> Path:
    path = tmp_path / "other.bin"
    path.write_bytes(b"another certificate".ljust(0x1000, b"\1"))
    return path


def test_a_board_that_has_changed_since_the_copy(
    make_bundle: MakeBundle, board: Callable[..., ChipProcess], other_certificate: Path, tmp_path: Path
) -> None:
    """Somebody gave it another certificate meanwhile: neither of the two is lost."""
    bundle = make_bundle()
    with board(bundle) as new:
        assert provision(bundle, new, "--until", "flash").exit_code == 0
        succeed(esptool(new, "write-flash", hex(CERTIFICATE), str(other_certificate)))
        flash = new.flash
        done = provision(bundle, new)
        assert done.stop_code == "SE862", done.output
        assert new.flash == flash
        assert next((tmp_path / "journal").glob("*.kept")).is_dir()


@LONG
@pytest.mark.parametrize("right", ["board", "copy"])
def test_what_to_do_when_it_has_changed(
    right: str, make_bundle: MakeBundle, board: Callable[..., ChipProcess], other_certificate: Path, tmp_path: Path
) -> None:
    """As the message says: the copies are deleted, or written back."""
    bundle = make_bundle()
    with board(bundle) as new:
        assert provision(bundle, new, "--until", "flash").exit_code == 0
        succeed(esptool(new, "write-flash", hex(CERTIFICATE), str(other_certificate)))
        (copies,) = (tmp_path / "journal").glob("*.kept")
        if right == "copy":
            succeed(esptool(new, "write-flash", hex(CERTIFICATE), str(copies / f"{CERTIFICATE:x}.bin")))
        else:
            for path in copies.iterdir():
                path.unlink()
            (new.state / "flash_before.bin").write_bytes(new.flash)
        done = provision(bundle, new)
        assert done.exit_code == 0, done.output
        check_kept(bundle, new, tmp_path)


@LONG
def test_copies_that_were_lost(make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path) -> None:
    """With their folder: what is in flash may be ciphertext already."""
    bundle = make_bundle()
    with board(bundle) as new:
        assert provision(bundle, new, "--until", "flash").exit_code == 0
        shutil.rmtree(next((tmp_path / "journal").glob("*.kept")))
        flash = new.flash
        done = provision(bundle, new)
        assert done.stop_code == "SE862", done.output
        assert new.flash == flash


@LONG
def test_copies_that_another_bundle_made(
    make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path
) -> None:
    """What is in flash now may be ciphertext already: it is not copied over what it was."""
    bundle = make_bundle()
    with board(bundle) as new:
        assert provision(bundle, new, "--until", "flash").exit_code == 0
        (copies,) = (tmp_path / "journal").glob("*.kept")
        before = {path.name: path.read_bytes() for path in copies.iterdir()}
        other = make_bundle("esp32c3", keep=("esp_secure_cert",), folder="other")
        done = provision(other, new)
        assert done.stop_code == "SE862", done.output
        assert {path.name: path.read_bytes() for path in copies.iterdir()} == before


def test_encryption_is_on_and_there_is_no_copy(
    make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path
) -> None:
    """What is in flash may be ciphertext or not, and nobody can tell."""
    bundle = make_bundle()
    with board(bundle) as new:
        succeed(espefuse(new, "burn-efuse", "SPI_BOOT_CRYPT_CNT", "1"))
        flash = new.flash
        done = provision(bundle, new)
        assert done.stop_code == "SE861", done.output
        assert new.flash == flash


IDENTITY = "burn-key BLOCK_KEY4 {key} HMAC_DOWN_DIGITAL_SIGNATURE"
USER_DATA = "burn-block-data BLOCK_USR_DATA {key}"


@pytest.mark.parametrize(
    ("reserved", "keep", "code"),
    [
        pytest.param(("KEY4",), KEEP, None, id="reserved and kept"),
        pytest.param(("KEY4",), (), None, id="nothing to keep", marks=LONG),
        pytest.param((), KEEP, "SE860", id="not reserved", marks=LONG),
        pytest.param(("KEY4",), None, "SE860", id="nobody says what to keep", marks=LONG),
    ],
)
def test_a_board_that_carries_an_identity(  # noqa: PLR0917 (a row of the table)
    reserved: tuple[str, ...],
    keep: tuple[str, ...] | None,
    code: str | None,
    make_bundle: MakeBundle,
    board: Callable[..., ChipProcess],
    tmp_path: Path,
) -> None:
    """A key in eFuse, and user data: taken where the profile reserves the block and says what stays in flash."""
    bundle = make_bundle(keep=keep, reserved_key_blocks=reserved)
    key = tmp_path / "identity.bin"
    key.write_bytes(bytes(range(100, 132)))
    with board(bundle) as new:
        succeed(espefuse(new, *IDENTITY.format(key=key).split()))
        succeed(espefuse(new, *USER_DATA.format(key=key).split()))
        carried = new.efuses["3"], new.efuses["8"]
        done = provision(bundle, new)
        assert done.stop_code == code, done.output
        assert (new.efuses["3"], new.efuses["8"]) == carried
        if code is None:
            assert done.exit_code == 0, done.output
            if keep:
                check_kept(bundle, new, tmp_path)


def test_the_rehearsal_knows_it(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    outcome = rehearse_bundle(bundle, lambda _: None)
    assert outcome.passed, outcome.means
    assert any("esp_secure_cert at 0x1e000, decrypted, is kept" in line for line in outcome.boot_log)


@LONG
@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
def test_power_cuts_cost_nothing(chip: str, make_bundle: MakeBundle) -> None:
    cuts = power_cuts(make_bundle(chip), lambda _: None)
    assert cuts.passed, [cut for cut in cuts.cuts if cut.outcome == FAILED]


@LONG
def test_the_boot_check_sees_what_was_lost(
    make_bundle: MakeBundle, board: Callable[..., ChipProcess], tmp_path: Path
) -> None:
    bundle = make_bundle()
    with board(bundle) as new:
        assert provision(bundle, new).exit_code == 0
    flash = bytearray((tmp_path / "chip" / "flash.bin").read_bytes())
    flash[CERTIFICATE + 5] ^= 1
    (tmp_path / "chip" / "flash.bin").write_bytes(flash)
    report = boot_check(tmp_path / "chip", bundle.folder)
    assert [fault.code for fault in report.faults] == ["BC23"]


@LONG
def test_a_chip_without_anything_in_its_flash_is_named_blank(make_bundle: MakeBundle, tmp_path: Path) -> None:
    bundle = make_bundle()
    with new_chip("esp32c3", tmp_path / "chip", bits=chip_for(bundle).bits) as new:
        done = run_script(bundle, new.url, tmp_path / "journal", "--until", "flash")
        assert done.exit_code == 0, done.output
        assert "esp_secure_cert is kept, and is BLANK on this board" in done.output
