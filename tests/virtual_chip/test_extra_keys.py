# SPDX-License-Identifier: Apache-2.0
"""The firmware's own keys: burned as the chip wants them, hidden, and seen by all that looks at a board."""

from __future__ import annotations

import hmac
import json
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from chip_tools import espefuse, new_chip, succeed
from click.testing import Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secure_ext.bundle.read import FinishedBundle, read_bundle
from secure_ext.documents.rehearsal import FAILED
from secure_ext.keys.symmetric import generate_secret
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.prove.rehearsal.power_cuts import power_cuts
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.fuses import Fuses
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.options import SampleOptions

LONG = pytest.mark.long
Run = Callable[..., Result]
MakeBundle = Callable[..., FinishedBundle]
CURVES: dict[str, ec.EllipticCurve] = {
    "ECDSA_KEY": ec.SECP256R1(),
    "ECDSA_KEY_P192": ec.SECP192R1(),
    "ECDSA_KEY_P384": ec.SECP384R1(),
}


def key_file(folder: Path, purpose: str) -> Path:
    """A key of the owner's: raw bytes, or a PEM file."""
    path = folder / f"{purpose}.{'pem' if purpose in CURVES else 'bin'}"
    if purpose in CURVES:
        key = ec.generate_private_key(CURVES[purpose])
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.write_bytes(key.private_bytes(*form))
    else:
        path.write_bytes(generate_secret(purpose, 32).data)
    return path


def blocks_of(chip: ChipProcess) -> set[bytes]:
    """What is in the chip's key blocks, hidden or not."""
    fuses = Fuses(chip.state / "efuses.json")
    return {fuses.decoded(block).data for block in range(4, 10)} - {bytes(32)}


@pytest.fixture
def make_bundle(
    tmp_path: Path, new_build: Callable[..., Path], signing_key_for: Callable[[str], Path], run_cli: Run
) -> MakeBundle:
    def make(chip: str, extra: dict[str, dict[str, str]], *more: str) -> FinishedBundle:
        profile = tmp_path / f"{chip}.yaml"
        lines = ["schema: 1", f"extra_keys: {json.dumps(extra)}", *more]
        profile.write_text("\n".join(lines) + "\n", encoding="utf-8")
        build = new_build(chip, SampleOptions(flash_encryption="release", secure_boot=True))
        words = ("-B", build, "--profile", profile, "--signing-key", signing_key_for(chip))
        done = run_cli("bundle", *words, "-o", tmp_path / f"bundle-{chip}")
        assert done.exit_code == 0, done.output
        verified = run_cli("verify", tmp_path / f"bundle-{chip}", *words)
        assert verified.exit_code == 0, verified.output
        return read_bundle(tmp_path / f"bundle-{chip}")

    return make


@pytest.mark.parametrize(
    ("chip", "purposes"),
    [
        ("esp32c3", ["HMAC_DOWN_DIGITAL_SIGNATURE", "HMAC_UP"]),
        *(
            pytest.param(chip, purposes, marks=LONG)
            for chip, purposes in (
                ("esp32c5", ["ECDSA_KEY"]),
                ("esp32s2", ["HMAC_DOWN_ALL", "HMAC_DOWN_JTAG"]),
                ("esp32s3", ["HMAC_DOWN_JTAG", "HMAC_UP", "HMAC_UP"]),
                ("esp32c6", ["HMAC_DOWN_ALL"]),
                ("esp32c5", ["ECDSA_KEY_P384", "ECDSA_KEY_P192"]),
                ("esp32c61", ["ECDSA_KEY", "ECDSA_KEY"]),
                ("esp32h2", ["ECDSA_KEY", "HMAC_DOWN_DIGITAL_SIGNATURE"]),
                ("esp32p4", ["ECDSA_KEY", "HMAC_UP"]),
            )
        ),
    ],
)
def test_they_are_burned_hidden_and_seen(
    chip: str, purposes: Sequence[str], make_bundle: MakeBundle, run_cli: Run, tmp_path: Path
) -> None:
    bundle = make_bundle(chip, {f"key{n}": {"purpose": one, "key": "generate"} for n, one in enumerate(purposes)})
    assert rehearse_bundle(bundle, lambda _: None).passed
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        done = run_script(bundle, board.url, tmp_path / "journal", "--until", "burn")
        assert done.exit_code == 0, done.output
        audited = run_cli("audit", bundle.folder, "--port", board.url, "--before", "no-reset", "--until", "burn")
        assert audited.exit_code == 0, audited.output
        done = run_script(bundle, board.url, tmp_path / "journal")
        assert done.exit_code == 0, done.output
        report = boot_check(board.state, bundle.folder)
        assert report.boots, report.faults


@pytest.mark.parametrize(
    ("chip", "purpose"),
    [
        ("esp32c5", "ECDSA_KEY"),
        *(
            pytest.param(chip, purpose, marks=LONG)
            for chip, purpose in (
                ("esp32c3", "HMAC_DOWN_ALL"),
                ("esp32s2", "HMAC_UP"),
                ("esp32c5", "ECDSA_KEY_P384"),
                ("esp32c5", "ECDSA_KEY_P192"),
                ("esp32p4", "ECDSA_KEY"),
                ("esp32h2", "ECDSA_KEY"),
                ("esp32c61", "ECDSA_KEY"),
            )
        ),
    ],
)
def test_the_bits_are_those_that_espefuse_burns_from_the_owners_file(
    chip: str, purpose: str, make_bundle: MakeBundle, tmp_path: Path
) -> None:
    own = key_file(tmp_path, purpose)
    bundle = make_bundle(chip, {"own": {"purpose": purpose, "key": str(own)}})
    with ChipProcess(chip_for(bundle), tmp_path / "ours") as board:
        done = run_script(bundle, board.url, tmp_path / "journal", "--until", "burn")
        assert done.exit_code == 0, done.output
    with new_chip(chip, tmp_path / "theirs") as judge:
        succeed(espefuse(judge, "burn-key", "BLOCK_KEY0", str(own), purpose))
        assert blocks_of(judge) and blocks_of(judge) <= blocks_of(board)


@LONG
@pytest.mark.parametrize("purpose", ["HMAC_UP", "ECDSA_KEY", "ECDSA_KEY_P384"])
def test_a_key_that_the_power_was_cut_off_from(purpose: str, make_bundle: MakeBundle) -> None:
    """Finished, or found to be damaged; never taken for done."""
    bundle = make_bundle("esp32c5", {"own": {"purpose": purpose, "key": "generate"}})
    report = power_cuts(bundle, lambda _: None)
    assert report.passed, [str(cut) for cut in report.cuts if cut.outcome == FAILED]


def test_jtag_that_a_token_opens(make_bundle: MakeBundle, run_cli: Run, tmp_path: Path) -> None:
    """The pins stay, the soft disable is burned, and an audit without the plan takes it for closed."""
    bundle = make_bundle(
        "esp32c3", {"jtag": {"purpose": "HMAC_DOWN_JTAG", "key": "generate"}}, "lockdown: {jtag: hmac}"
    )
    burned = {step.field: step.value for step in bundle.plan.fields}
    assert burned["SOFT_DIS_JTAG"] == 7 and not {"DIS_PAD_JTAG", "DIS_USB_JTAG"} & burned.keys()
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        done = run_script(bundle, board.url, tmp_path / "journal", "--until", "burn")
        assert done.exit_code == 0, done.output
        words = ("--chip", "esp32c3", "--policy", "release", "--port", board.url, "--before", "no-reset")
        audited = json.loads(run_cli("audit", *words, "--format", "json").stdout)
        failed = {check["name"] for check in audited["checks"] if check["outcome"] == "failed"}
        assert failed <= {"download-mode-closed"}, failed
    key = bundle.folder / "keys" / "extra_key_0.bin"
    token = hmac.new(key.read_bytes(), bytes(32), "sha256").hexdigest()
    assert run_cli("keys", "jtag-token", key).stdout.strip() == token
    assert "opened by the software for whoever has its token" in (bundle.folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("chip", "lines", "code"),
    [
        ("esp32c3", ["lockdown: {jtag: hmac}"], "SE324"),
        ("esp32c61", ["lockdown: {jtag: hmac}"], "SE323"),
        ("esp32", ["extra_keys: {a: {purpose: HMAC_UP, key: generate}}"], "SE325"),
        ("esp32c3", ["extra_keys: {a: {purpose: ECDSA_KEY, key: generate}}"], "SE325"),
        ("esp32c3", ["extra_keys: {a: {purpose: USER, key: generate}}"], "SE304"),
        ("esp32c3", ["extra_keys: {A b: {purpose: HMAC_UP, key: generate}}"], "SE304"),
        ("esp32c3", ["extra_keys: {a: {purpose: HMAC_UP, key: 'pkcs11:object=a'}}"], "SE313"),
        ("esp32c3", ["extra_keys: {a: {purpose: HMAC_UP, key: own.bin}}"], "SE620"),
        ("esp32p4", ["extra_keys: {a: {purpose: ECDSA_KEY_P384, key: generate}}"], "SE325"),
        ("esp32c5", ["extra_keys: {a: {purpose: ECDSA_KEY, key: wrong.pem}}"], "SE612"),
        (
            "esp32c3",
            [f"extra_keys: {{{', '.join(f'k{n}: {{purpose: HMAC_UP, key: generate}}' for n in range(7))}}}"],
            "SE402",
        ),
    ],
)
def test_what_cannot_be_is_refused(  # noqa: PLR0917 (fixtures)
    chip: str,
    lines: list[str],
    code: str,
    new_build: Callable[..., Path],
    signing_key_for: Callable[[str], Path],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    (tmp_path / "wrong.pem").write_bytes(key_file(tmp_path, "ECDSA_KEY_P384").read_bytes())
    profile = tmp_path / "profile.yaml"
    profile.write_text("\n".join(["schema: 1", *lines]) + "\n", encoding="utf-8")
    build = new_build(chip, SampleOptions(flash_encryption="release", secure_boot=True))
    words = ("--profile", profile, "--signing-key", signing_key_for(chip))
    done = run_cli("bundle", "-B", build, *words, "-o", tmp_path / "bundle")
    assert (done.exit_code in (2, 3), code in done.stderr) == (True, True), done.output
    assert not (tmp_path / "bundle").exists()


@pytest.mark.long
@pytest.mark.parametrize("purpose", ["HMAC_UP", "ECDSA_KEY", "ECDSA_KEY_P384"])
def test_each_board_its_own(purpose: str, make_bundle: MakeBundle, run_cli: Run, tmp_path: Path) -> None:
    """Two boards, two keys; nothing of them is left here."""
    bundle = make_bundle("esp32c5", {"own": {"purpose": purpose, "key": "per-device"}})
    assert run_cli("rehearse", bundle.folder).exit_code == 0
    seen = []
    for name in ("one", "two"):
        with ChipProcess(chip_for(bundle), tmp_path / name) as board:
            words = ("--port", board.url, "--before", "no-reset", "--after", "no-reset", "--yes")
            done = run_cli("flash", bundle.folder, *words, "--journal", tmp_path / f"journal-{name}")
            assert done.exit_code == 0, done.output
            seen.append(blocks_of(board))
    assert len(seen[0] - seen[1]) == (2 if "384" in purpose else 1)
    assert not list((bundle.folder / "keys").glob("extra*"))


@LONG
@pytest.mark.parametrize("purpose", ["HMAC_UP", "ECDSA_KEY", "ECDSA_KEY_P384"])
def test_an_unsealed_copy_finishes_the_board(
    purpose: str, make_bundle: MakeBundle, run_cli: Run, tmp_path: Path
) -> None:
    """With all that its script asks for: an ECDSA key also as the PEM file that espefuse takes."""
    run_cli("keys", "sealing-pair", tmp_path / "private.pem", tmp_path / "public.pem")
    own = {"own": {"purpose": purpose, "key": "per-device"}}
    bundle = make_bundle("esp32c5", own, "per_device: {keep: sealed, seal_to: public.pem}")
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        words = ("--port", board.url, "--before", "no-reset", "--after", "no-reset", "--yes", "--without-rehearsal")
        folders = ("--journal", tmp_path / "journal", "--sealed", tmp_path / "sealed")
        assert run_cli("flash", bundle.folder, *words, *folders, "--until", "burn").exit_code == 0
        (copy,) = (tmp_path / "sealed").iterdir()
        opened = run_cli("keys", "unseal", copy, "--key", tmp_path / "private.pem", "-o", tmp_path / "unsealed")
        assert opened.exit_code == 0, opened.output
        (record,) = (tmp_path / "journal" / "boards").iterdir()
        shutil.copy(bundle.folder / "keys" / "flash_encryption_key.bin", tmp_path / "unsealed")
        shutil.copy(bundle.folder / "keys" / "nvs_hmac_key.bin", tmp_path / "unsealed")
        done = run_script(
            read_bundle(record), board.url, tmp_path / "journal", "--keys", str(tmp_path / "unsealed"), "--dry-run"
        )
        assert done.exit_code == 0, done.output


def test_its_files_are_for_their_owner_alone_and_the_log_does_not_show_them(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    bundle = make_bundle("esp32c5", {"own": {"purpose": "ECDSA_KEY", "key": "generate"}})
    files = sorted(path for path in (bundle.folder / "keys").glob("extra_key*"))
    assert [path.name for path in files] == ["extra_key_0.bin", "extra_key_0.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    secret = files[0].read_bytes().hex()
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        done = run_script(bundle, board.url, tmp_path / "journal")
    said = "".join(path.read_text("utf-8", "replace") for path in (tmp_path / "journal").iterdir() if path.is_file())
    text = (
        done.output + said + (bundle.folder / "plan.json").read_text() + (bundle.folder / "manifest.json").read_text()
    )
    assert secret not in text.lower() and "PRIVATE KEY" not in text


def test_another_pem_beside_the_key_is_not_burned(make_bundle: MakeBundle, run_cli: Run, tmp_path: Path) -> None:
    """espefuse would burn it, and nobody could read back that it is another one; nor one that is damaged."""
    bundle = make_bundle("esp32c5", {"own": {"purpose": "ECDSA_KEY", "key": "generate"}})
    pem = bundle.folder / "keys" / "extra_key_0.pem"
    others = (key_file(tmp_path, "ECDSA_KEY").read_bytes(), pem.read_bytes().replace(b"\n", b"", 2), b"-----\na")
    for other in (*others, pem.read_bytes().replace(b"=\n", b"\n").replace(b"A", b"", 1)):
        pem.write_bytes(other)
        with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
            done = run_script(bundle, board.url, tmp_path / "journal")
            assert "SE820" in done.output and not blocks_of(board), done.output
        verified = run_cli("verify", bundle.folder)
        assert (verified.exit_code, "extra_key_0.pem" in verified.output) == (1, True), verified.output


def test_a_file_that_is_no_key_of_the_curve_is_another_key_than_the_plans(
    make_bundle: MakeBundle, run_cli: Run
) -> None:
    bundle = make_bundle("esp32c5", {"own": {"purpose": "ECDSA_KEY", "key": "generate"}})
    for number in (b"\xff" * 16 + bytes(range(16)), generate_secret("long", 48).data, b""):
        (bundle.folder / "keys" / "extra_key_0.bin").write_bytes(number)
        done = run_cli("verify", bundle.folder)
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.output
        assert "extra_key_0" in done.output


@pytest.mark.parametrize("number", [1, 0xD1CE << 300])
def test_a_key_that_nobody_made_from_random_numbers(
    number: int, new_build: Callable[..., Path], run_cli: Run, tmp_path: Path
) -> None:
    """Refused when it is loaded, as `verify` refuses it in a bundle; no board gets it."""
    purpose = "ECDSA_KEY" if number == 1 else "ECDSA_KEY_P384"
    key = ec.derive_private_key(number, CURVES[purpose])
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "weak.pem").write_bytes(key.private_bytes(*form))
    profile = tmp_path / "profile.yaml"
    entry = json.dumps({"own": {"purpose": purpose, "key": "weak.pem"}})
    profile.write_text(f"schema: 1\nextra_keys: {entry}\n", encoding="utf-8")
    build = new_build("esp32c5", SampleOptions())
    for command in ("doctor", "bundle"):
        done = run_cli(command, "-B", build, "--profile", profile)
        assert done.exit_code == 3 and "SE62" in done.stderr, done.output


def test_a_plan_that_closes_nothing_does_not_say_that_it_closes_jtag(
    new_build: Callable[..., Path], run_cli: Run, tmp_path: Path
) -> None:
    profile = tmp_path / "profile.yaml"
    keys = "extra_keys: {jtag: {purpose: HMAC_DOWN_JTAG, key: generate}}"
    build = new_build("esp32c3", SampleOptions())
    profile.write_text(f"schema: 1\n{keys}\n", encoding="utf-8")
    done = run_cli("plan", "-B", build, "--profile", profile)
    assert (done.exit_code, "JTAG OPEN" in done.output) == (0, True), done.output
    profile.write_text(f"schema: 1\n{keys}\nlockdown: {{jtag: hmac}}\n", encoding="utf-8")
    refused = run_cli("plan", "-B", build, "--profile", profile)
    assert (refused.exit_code, "SE324" in refused.stderr) == (2, True), refused.output
