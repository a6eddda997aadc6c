# SPDX-License-Identifier: Apache-2.0
"""Further eFuses of a profile: those that are safe are burned in their place, what is not is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result

from secure_ext.bundle.read import read_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.user_block import user_block
from secure_ext.doctor.decide import decide
from secure_ext.errors import CheckError
from secure_ext.plan.document import plan_document
from secure_ext.plan.further_efuses import RISKY, SAFE
from secure_ext.plan.make import burn_field
from secure_ext.plan.replay import replay_plan
from secure_ext.plan.steps import BurnData, BurnField, Stage, Step
from secure_ext.policy.profile import Profile
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.options import SampleOptions
from secure_ext.station.chip_facts import FACTS

Run = Callable[..., Result]
ANTI_ROLLBACK = {"BOOTLOADER_APP_ROLLBACK_ENABLE": True, "BOOTLOADER_APP_ANTI_ROLLBACK": True}


@pytest.fixture
def profile(tmp_path: Path) -> Callable[[str], Path]:
    def write(efuses: str) -> Path:
        path = tmp_path / "profile.yaml"
        path.write_text(f"schema: 1\nefuses: {efuses}\n", encoding="utf-8")
        return path

    return write


def test_each_of_them_is_on_some_chip_and_has_a_single_place() -> None:
    fields = {name for chip, facts in FACTS.items() for name in load_chip(chip, facts.least_revision).efuses.fields}
    assert SAFE | RISKY.keys() <= fields
    assert not SAFE & RISKY.keys()


@pytest.mark.parametrize(
    ("efuses", "why"),
    [
        ("{NO_SUCH_FIELD: 1}", "esp32c3 has no such eFuse"),
        ("{SECURE_BOOT_EN: 1}", "use secure_boot.enabled"),
        ("{DIS_PAD_JTAG: 1}", "use lockdown.jtag"),
        ("{DIS_USB_SERIAL_JTAG: 1}", "a profile may set: CRYPT"),
        ("{UART_PRINT_CONTROL: 4}", "4 is no value for its 2 bits"),
        ("{SECURE_VERSION: 2}", "0x2 is no version"),
    ],
)
def test_what_is_not_for_a_profile(
    efuses: str, why: str, profile: Callable[[str], Path], new_build: Callable[..., Path], run_cli: Run
) -> None:
    done = run_cli("plan", "-B", new_build(), "--profile", profile(efuses))
    assert done.exit_code == 2 and "SE408" in done.stderr
    assert why.replace("CRYPT", "DIS_FORCE_DOWNLOAD") in done.stderr


@pytest.mark.parametrize(
    "efuses", ["{UART_PRINT_CONTROL: yes}", "[UART_PRINT_CONTROL]", "{UART_PRINT_CONTROL: 0}", "{1: 1}"]
)
def test_what_is_no_map_of_numbers(
    efuses: str, profile: Callable[[str], Path], new_build: Callable[..., Path], run_cli: Run
) -> None:
    done = run_cli("plan", "-B", new_build(), "--profile", profile(efuses))
    assert (done.exit_code, "SE304" in done.stderr) == (2, True)


def test_a_version_that_the_app_does_not_have(
    profile: Callable[[str], Path], new_build: Callable[..., Path], run_cli: Run
) -> None:
    """The app of the sample is of version 0."""
    build = new_build("esp32c3", SampleOptions(flash_encryption="release", secure_boot=True, config=ANTI_ROLLBACK))
    done = run_cli("plan", "-B", build, "--profile", profile("{SECURE_VERSION: 1}"))
    assert (done.exit_code, "it would never start" in done.stderr) == (2, True), done.output


def test_a_risky_one_wants_its_finding_accepted(
    profile: Callable[[str], Path], new_build: Callable[..., Path], signing_keys: dict[str, Path], run_cli: Run
) -> None:
    words = ("--profile", profile("{VDD_SPI_AS_GPIO: 1}"), "--signing-key", signing_keys["rsa_0"])
    build = new_build()
    refused = run_cli("bundle", "-B", build, *words)
    assert refused.exit_code == 1 and "SP165" in refused.stderr
    taken = run_cli("bundle", "-B", build, *words, "--accept", "SP165")
    assert taken.exit_code == 0, taken.output


@pytest.mark.parametrize(
    ("chip", "efuses"),
    [
        ("esp32c3", "{UART_PRINT_CONTROL: 3, DIS_TWAI: 1, SECURE_VERSION: 1}"),
        pytest.param("esp32c6", "{SEC_DPA_LEVEL: 2, SECURE_BOOT_DISABLE_FAST_WAKE: 1}", marks=pytest.mark.long),
    ],
)
def test_they_are_burned_rehearsed_verified_and_audited(  # noqa: PLR0917 (fixtures)
    chip: str,
    efuses: str,
    profile: Callable[[str], Path],
    new_build: Callable[..., Path],
    signing_keys: dict[str, Path],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    """DIS_TWAI shares its write protection with others, and has to come before it."""
    folder = tmp_path / "bundle"
    words = ("-B", new_build(chip), "--profile", profile(efuses), "--signing-key", signing_keys["rsa_0"])
    made = run_cli("bundle", *words, "-o", folder)
    assert made.exit_code == 0, made.output
    bundle = read_bundle(folder)
    assert rehearse_bundle(bundle, lambda _: None).passed
    assert run_cli("verify", folder, *words).exit_code == 0
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        assert run_script(bundle, board.url, tmp_path / "journal", "--until", "burn").exit_code == 0
        audited = run_cli("audit", folder, "--port", board.url, "--before", "no-reset", "--format", "json")
        assert audited.exit_code in (0, 1), audited.output
        for name in efuses.strip("{}").split(", "):
            assert name.partition(":")[0] in json.dumps(json.loads(audited.stdout))


@pytest.mark.parametrize("chip", ["esp32c3", "esp32"])
def test_a_document_that_spends_the_secure_version(chip: str, new_build: Callable[..., Path]) -> None:
    """Whoever wrote it: no app of this bundle would start any more. An esp32 has the field in its user data."""
    build = new_build(chip, SampleOptions(flash_encryption="release", config=ANTI_ROLLBACK))
    decision = decide(build, Profile(Path()))
    block, spent = user_block(decision.chip), b"\0" * 16 + b"\xff" * 4
    own = spent.ljust(block.size, b"\0")
    burns = [burn_field("SECURE_VERSION", 0xFFFF, "a test", "a test")]
    if not block.once:
        data = BurnData(block, own, own, ("user_data",))
        burns.append(Step("burn-data-block3", Stage.BURN, data, "a test", "a test", "a test"))
    steps = decision.plan.steps
    at = next(number for number, step in enumerate(steps) if isinstance(step.action, BurnField))
    for burn in burns:
        plan = replace(decision.plan, steps=(*steps[:at], burn, *steps[at:]))
        with pytest.raises(CheckError, match="would be above that of the app"):
            replay_plan(plan_document(plan, decision.chip))
