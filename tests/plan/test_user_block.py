# SPDX-License-Identifier: Apache-2.0
"""A custom MAC address and user data of a profile: in their block as espefuse and ESP-IDF have them, or refused."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from secure_ext.bundle.read import read_bundle
from secure_ext.chips.chip import load_chip
from secure_ext.chips.mac_address import parse_mac
from secure_ext.chips.user_block import user_block
from secure_ext.doctor.decide import decide
from secure_ext.errors import CheckError
from secure_ext.plan.diff import compare
from secure_ext.plan.document import plan_document
from secure_ext.plan.make import burn_field, make_plan
from secure_ext.plan.order import PlanBuilder, PlanOrderError
from secure_ext.plan.release import release
from secure_ext.plan.replay import replay_plan
from secure_ext.plan.steps import BurnData, Stage, Step
from secure_ext.policy.profile import Profile, Value
from secure_ext.policy.resolve import resolve_policy
from secure_ext.policy.user_block import UserBlockPolicy
from secure_ext.prove.rehearsal.rehearse import rehearse_bundle
from secure_ext.prove.rehearsal.script_run import chip_for, run_script
from secure_ext.prove.virtual_chip.process import ChipProcess
from secure_ext.sample.options import SampleOptions
from secure_ext.station.chip_facts import FACTS
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import DocumentFault, document_data, read_document

Run = Callable[..., Result]
Write = Callable[..., Path]
MAC = "02:11:22:33:44:55"
ANTI_ROLLBACK = {"BOOTLOADER_APP_ROLLBACK_ENABLE": True, "BOOTLOADER_APP_ANTI_ROLLBACK": True}
ADDRESS, DATA, LOCK = f"custom_mac: '{MAC}'", "user_data: data.bin", "write_protect_user_block: true"


@pytest.fixture
def profile(tmp_path: Path) -> Write:
    def write(*lines: str, data: bytes = b"") -> Path:
        (tmp_path / "data.bin").write_bytes(data)
        path = tmp_path / "profile.yaml"
        path.write_text("\n".join(["schema: 1", *lines]) + "\n", encoding="utf-8")
        return path

    return write


class StubConfig:
    """An sdkconfig in which nothing is set."""

    def enabled(self, _: str) -> bool:
        return False

    def integer(self, _: str) -> int | None:
        return None

    def text(self, _: str) -> str | None:
        return None


@pytest.fixture(scope="module")
def document(sample_project: Callable[[str], Path]) -> dict[str, Any]:
    """The plan of an esp32c3 with both, and the protection."""
    values: dict[str, Value] = {"custom_mac": MAC, "write_protect_user_block": True}
    decision = decide(sample_project("esp32c3") / "build", Profile(Path(), values))
    written: dict[str, Any] = json.loads(json.dumps(document_data(plan_document(decision.plan, decision.chip))))
    return written


def dumped(chip: str, efuses: Path, *command: str) -> dict[int, bytes]:
    """The blocks of a virtual chip after a command of espefuse."""
    line = [sys.executable, "-m", "espefuse", "--chip", chip, "--virt", "--path-efuse-file", str(efuses)]
    done = subprocess.run([*line, "--do-not-confirm", *command, "dump"], capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "] dump: " in line]
    words = [line.split("dump: ")[1].split() for line in lines]
    return {number: b"".join(bytes.fromhex(word)[::-1] for word in row) for number, row in enumerate(words)}


@pytest.mark.parametrize("chip", sorted(FACTS))
def test_the_address_is_where_espefuse_burns_it(chip: str, tmp_path: Path) -> None:
    block = user_block(load_chip(chip, FACTS[chip].least_revision))
    found = dumped(chip, tmp_path / "efuses", "burn-custom-mac", MAC)[block.number]
    assert found == block.with_mac(bytes(block.size), parse_mac(MAC))
    assert block.has_mac(found) and not block.has_mac(bytes(block.size))


@pytest.mark.parametrize(
    ("lines", "data", "code", "why"),
    [
        (["custom_mac: '03:00:00:00:00:01'"], b"", "SE430", "multicast"),
        (["custom_mac: '00:00:00:00:00:00'"], b"", "SE430", "all zeros"),
        (["custom_mac: 'FF-FF-FF-FF-FF-FF'"], b"", "SE430", "broadcast"),
        (["custom_mac: '02:00:00:00:01'"], b"", "SE430", "not written as an address"),
        (["user_data: nowhere.bin"], b"", "SE431", "cannot be read"),
        ([DATA], b"", "SE432", "nothing but zeros"),
        ([DATA], b"\1" * 33, "SE432", "33 bytes"),
        ([ADDRESS, DATA], b"\1" * 26, "SE432", "the bytes 25, 26, 27, 28, 29, 30"),
        ([LOCK], b"", "SE433", "nothing is burned"),
    ],
)
def test_what_cannot_be_burned(  # noqa: PLR0917 (fixtures)
    lines: list[str],
    data: bytes,
    code: str,
    why: str,
    profile: Write,
    new_build: Callable[..., Path],
    run_cli: Run,
) -> None:
    done = run_cli("plan", "-B", new_build(), "--profile", profile(*lines, data=data))
    assert done.exit_code in (2, 3) and code in done.stderr and why in done.stderr, done.output


@pytest.mark.parametrize(
    ("lines", "data", "code"), [([DATA], b"\1" * 17, "SE432"), ([DATA, LOCK], b"\1" * 16, "SE433")]
)
def test_an_esp32_counts_its_secure_version_in_the_same_block(  # noqa: PLR0917 (fixtures)
    lines: list[str], data: bytes, code: str, profile: Write, new_build: Callable[..., Path], run_cli: Run
) -> None:
    options = SampleOptions(flash_encryption="release", secure_boot=True, config=ANTI_ROLLBACK)
    done = run_cli("plan", "-B", new_build("esp32", options), "--profile", profile(*lines, data=data))
    assert done.exit_code == 2 and code in done.stderr and "SECURE_VERSION" in done.stderr, done.output


@pytest.mark.parametrize(
    ("chip", "lines", "data"),
    [
        ("esp32c3", [ADDRESS, DATA, LOCK], b"serial 0001"),
        ("esp32", [ADDRESS, LOCK], b""),
        pytest.param("esp32", [ADDRESS, DATA], bytes(8) + b"data", marks=pytest.mark.long),
        pytest.param("esp32c2", [ADDRESS, DATA, LOCK], bytes(8) + b"abc", marks=pytest.mark.long),
        pytest.param("esp32c6", [DATA], b"\1" * 32, marks=pytest.mark.long),
    ],
)
def test_they_are_burned_rehearsed_verified_and_audited(  # noqa: PLR0917 (fixtures)
    chip: str,
    lines: list[str],
    data: bytes,
    profile: Write,
    new_build: Callable[..., Path],
    signing_key_for: Callable[[str], Path],
    run_cli: Run,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bundle"
    words = ("-B", new_build(chip), "--profile", profile(*lines, data=data), "--signing-key", signing_key_for(chip))
    made = run_cli("bundle", *words, "-o", folder)
    assert made.exit_code == 0, made.output
    bundle = read_bundle(folder)
    assert rehearse_bundle(bundle, lambda _: None).passed
    verified = run_cli("verify", folder, *words)
    assert verified.exit_code == 0, verified.output
    (step,) = bundle.plan.data
    with ChipProcess(chip_for(bundle), tmp_path / "chip") as board:
        assert run_script(bundle, board.url, tmp_path / "journal", "--until", "burn").exit_code == 0
        audited = run_cli("audit", folder, "--port", board.url, "--before", "no-reset", "--format", "json")
    checks = {check["name"]: check for check in json.loads(audited.stdout)["checks"]}
    assert checks["efuse-data"]["outcome"] == "passed", checks["efuse-data"]
    assert data.lstrip(b"\0") in step.content
    (folder / step.file).write_bytes(bytes(len(step.content)))
    spoiled = run_cli("verify", folder, *words, "--format", "json")
    assert {"data-file", "file-hash"} <= {one["name"] for one in json.loads(spoiled.stdout)["checks"] if is_bad(one)}


def is_bad(check: dict[str, Any]) -> bool:
    return bool(check["outcome"] == "failed")


def without_a_mac(step: dict[str, Any]) -> None:
    step["data"] = "01" + step["data"][2:50] + "00" * 7


CHANGES: tuple[tuple[str, Callable[[dict[str, Any]], object]], ...] = (
    ("another block", lambda step: step.update(block="BLOCK4", block_number=4)),
    ("a key block", lambda step: step.update(block_number=4)),
    ("burned twice", lambda step: step.update(once=False)),
    ("half of the block", lambda step: step.update(mask="ff" * 16 + "00" * 16)),
    ("no bit", lambda step: step.update(data="00" * 32)),
    ("a multicast address", lambda step: step.update(data=step["data"].replace("0211", "0311"))),
    ("no address", without_a_mac),
    ("another protection", lambda step: step.update(wr_dis_bit=21)),
    ("hidden", lambda step: step.update(rd_dis_bits=[3])),
    ("another file", lambda step: step.update(file="efuse_data/other.bin")),
    ("a file elsewhere", lambda step: step.update(file="../block3.bin")),
    ("a stage later", lambda step: step.update(stage="seal")),
    ("for later chips", lambda step: step.update(min_revision=9999)),
    ("too long", lambda step: step.update(data=step["data"] + "00")),
)


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name for name, _ in CHANGES])
def test_a_document_that_says_something_else(
    name: str, change: Callable[[dict[str, Any]], object], document: dict[str, Any]
) -> None:
    """Whoever wrote it: it is not read, or not carried out."""
    replay_plan(read_document(PlanDocument, document))
    changed = copy.deepcopy(document)
    change(next(step for step in changed["steps"] if step["kind"] == "burn_data"))
    with pytest.raises((DocumentFault, CheckError)):
        replay_plan(read_document(PlanDocument, changed))


def test_a_protection_of_a_block_that_is_not_burned(document: dict[str, Any]) -> None:
    changed = {**document, "steps": [step for step in document["steps"] if step["kind"] != "burn_data"]}
    with pytest.raises(CheckError, match="which the plan does not burn"):
        replay_plan(read_document(PlanDocument, changed))


@pytest.mark.parametrize("data_first", [True, False])
def test_a_field_in_the_bits_of_the_data_is_not_burned_beside_them(data_first: bool) -> None:
    chip = load_chip("esp32", 300)
    data = BurnData(user_block(chip), b"\1" * 20 + bytes(12), b"\xff" * 20 + bytes(12), ("user_data",))
    steps = [Step("data", Stage.BURN, data, "a test", "a test", "a test"), burn_field("SECURE_VERSION", 1, "-", "-")]
    builder = PlanBuilder(chip)
    builder.add(steps[not data_first])
    with pytest.raises(PlanOrderError):
        builder.add(steps[data_first])


def test_a_release_that_burns_no_data_any_more_is_not_weaker() -> None:
    chip = load_chip("esp32c2", 100)
    policy = replace(resolve_policy(StubConfig(), chip, Profile(Path()), None), efuses={"UART_PRINT_CONTROL": 3})
    with_data = replace(policy, user_block=UserBlockPolicy(custom_mac=parse_mac(MAC)))
    plans = [make_plan(chip, one, min_revision=100, max_revision=None) for one in (with_data, policy)]
    old, new = (release(plan_document(plan, chip), {}) for plan in plans)
    subjects = {"burn-data-block1", "burn-custom-mac-used"}
    assert {one.subject for one in compare(old, new).no_longer_done} == subjects and not compare(old, new).is_weaker
    assert {one.subject for one in compare(new, old).newly_irreversible} == subjects


def test_the_calibration_values_of_an_esp32() -> None:
    """They are where data may be; a board that has them is refused, one byte before they are no matter."""
    chip = load_chip("esp32", 300)
    for room, asked in ((12, False), (13, True)):
        policy = resolve_policy(StubConfig(), chip, Profile(Path()), None)
        policy = replace(policy, user_block=UserBlockPolicy(user_data=b"\1" * room))
        plan = make_plan(chip, policy, min_revision=300, max_revision=None)
        assert ("BLK3_PART_RESERVE" in {item.field for item in plan.must_be_clear}) == asked
