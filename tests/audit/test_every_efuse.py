# SPDX-License-Identifier: Apache-2.0
"""A finished board passes; a board that differs from its plan in a single eFuse does not, whichever eFuse it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from audited_boards import (  # noqa: F401 (a fixture is among them)
    EACH_CELL,
    Boards,
    Provisioned,
    burned,
    provisioned_boards,
    with_block,
    without_bit,
)
from click.testing import Result
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell
from support.matrix_tools import espefuse

from secure_ext.checks import Outcome
from secure_ext.prove.audit.report import AuditReport, audit_against_plan
from secure_ext.prove.audit.unplanned_efuses import MEANING
from secure_ext.station.burn_calls import new_chip_calls
from secure_ext.station.chip_state import ChipState
from secure_ext.station.plan_document import KeyStep
from secure_ext.station.verdict import Condition

NOBODY_CAN_SEE = {
    "flash_encryption_key": "the content of a read-protected block",
    "flash_encryption_key_half_1": "the content of a read-protected block",
    "flash_encryption_key_half_2": "the content of a read-protected block",
    "nvs_hmac_key": "the content of a read-protected block",
}
"""By role of the key: the parts of a finished, open board that no check can see. docs/audit.md has the same table."""

Mutation = tuple[str, str, ChipState]
"""What is different, the place whose check must fail, the state."""


def audit(was: Provisioned, state: ChipState) -> AuditReport:
    return audit_against_plan(was.board(state=state), was.plan, was.bundle)


def mutations(was: Provisioned) -> Iterator[Mutation]:
    yield from changed_fields(was)
    for step in was.plan.steps:
        if step.kind == "write_protect" and step.min_revision <= was.state.revision:
            state = without_bit(was, "WR_DIS", step.wr_dis_bit)
            yield f"{step.field} is not write-protected", step.field, state
        if step.kind == "burn_key":
            yield from changed_protections(was, step)
            yield from changed_purposes(was, step)
            yield from changed_content(was, step)


def changed_fields(was: Provisioned) -> Iterator[Mutation]:
    for step in was.plan.fields:
        if step.min_revision > was.state.revision:
            continue
        field, value = step.field, step.value
        for bit in range(was.state.places[field][2]):
            yield f"{field}, bit {bit}", field, burned(was, field, value ^ 1 << bit)
    for item in was.plan.must_be_clear:
        yield f"{item.field} is burned", item.field, burned(was, item.field, 1)
    named = {row.field for row in was.plan.layout}
    for field in set(MEANING) & set(was.state.places) - named:
        yield f"{field} is burned", field, burned(was, field, 1)


def changed_protections(was: Provisioned, step: KeyStep) -> Iterator[Mutation]:
    block = step.block
    for place, bit in zip((block, str(step.purpose_field)), step.wr_dis_bits, strict=False):
        yield f"{place} is not write-protected", place, without_bit(was, "WR_DIS", bit)
    for bit in step.rd_dis_bits:
        yield f"{block} is readable", block, without_bit(was, "RD_DIS", bit)
    for bit in step.readable_bits:
        hidden = burned(was, "RD_DIS", was.state.values["RD_DIS"] | 1 << bit)
        yield f"{block} is hidden", block, hidden


def changed_purposes(was: Provisioned, step: KeyStep) -> Iterator[Mutation]:
    field = step.purpose_field
    if field is not None:
        for number, word in ((0, "USER"), (5, "HMAC_DOWN_ALL")):
            yield f"{field} is {word}", field, burned(was, field, number, word=word)


def changed_content(was: Provisioned, step: KeyStep) -> Iterator[Mutation]:
    """Of what can be read: each bit of a digest, all of it, none of it."""
    block, number = step.block, step.block_number
    if step.rd_dis_bits:
        return
    content = was.state.blocks[number]
    start = 16 if step.part == "high" else 0
    for bit in range(start * 8, len(content) * 8, 5):
        flipped = int.from_bytes(content, "little") ^ 1 << bit
        yield f"{block}, bit {bit}", block, with_block(was, number, flipped.to_bytes(len(content), "little"))
    yield f"{block} is empty", block, with_block(was, number, bytes(len(content)))
    yield f"{block} is full", block, with_block(was, number, b"\xff" * len(content))


@EACH_CELL
def test_a_finished_board_passes(cell: Cell, boards: Boards, run_cli: Callable[..., Result]) -> None:
    """By the command; what it cannot see is what the table says, and it says so."""
    was = boards(cell)
    before = was.efuses.read_bytes()
    done = run_cli("audit", was.bundle, "--virt", was.efuses, "--format", "json")
    report = json.loads(done.stdout)
    assert done.exit_code == 0, done.stdout
    assert (report["passed"], report["chip"], report["verdict"]["condition"]) == (True, cell.chip, "finished")
    unseen = [check["place"].split()[0] for check in report["checks"] if check["outcome"] == "not verifiable"]
    assert unseen == [step.block for step in was.plan.keys if step.role in NOBODY_CAN_SEE]
    assert was.efuses.read_bytes() == before


@EACH_CELL
def test_every_single_deviation_is_found(cell: Cell, boards: Boards) -> None:
    was = boards(cell)
    tried = 0
    for what, place, state in mutations(was):
        report = audit(was, state)
        failed = {check.place for check in report.checks if check.outcome is Outcome.FAILED}
        assert any(where.split()[0].rstrip(",") == place for where in failed), what
        tried += 1
    assert tried > 20


@EACH_CELL
def test_a_dropped_step_is_found_and_its_verdict_is_the_scripts(cell: Cell, boards: Boards) -> None:
    """With the one exception of a key: nobody can see that a read-protected block is empty."""
    was = boards(cell)
    for step in was.plan.fields:
        if step.min_revision <= was.state.revision:
            report = audit(was, burned(was, step.field, 0))
            assert report.verdict is not None
            assert report.verdict.condition is not Condition.DONE, step.id


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_other_deviations(chip: str, boards: Boards) -> None:
    was = boards(Cell(chip, "both"))
    cases = {
        "chip-revision": replace(was.state, revision=0),
        "coding-errors": replace(was.state, coding_errors=("BLOCK4 has coding errors",)),
        "other-keys": burned(was, "KEY_PURPOSE_2", 4, word="XTS_AES_128_KEY"),
    }
    for name, state in cases.items():
        assert name in {c.name for c in audit(was, state).checks if c.outcome is Outcome.FAILED}, name


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_what_somebody_else_burned_is_noted(chip: str, boards: Boards) -> None:
    """A key of the firmware's own and its version are no deviation."""
    was = boards(Cell(chip, "both"))
    (about_flash,) = audit(was, was.state).notes
    assert "4 MB of flash or more" in about_flash
    for field, value, word in (("SECURE_VERSION", 3, ""), ("KEY_PURPOSE_3", 7, "HMAC_DOWN_DIGITAL_SIGNATURE")):
        report = audit(was, burned(was, field, value, word=word))
        assert report.passed
        assert f"{field} = {word or value}" in report.notes[0]


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_before_the_seal_only_what_is_due_is_wanted(chip: str, boards: Boards) -> None:
    was = boards(Cell(chip, "both"))
    open_board = was.board(state=burned(was, "ENABLE_SECURITY_DOWNLOAD", 0))
    assert not audit_against_plan(open_board, was.plan, was.bundle).passed
    assert audit_against_plan(open_board, was.plan, was.bundle, is_sealed=False).passed
    assert not audit_against_plan(
        was.board(state=burned(was, "DIS_PAD_JTAG", 0)), was.plan, was.bundle, is_sealed=False
    ).passed


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_the_journal_is_cited(chip: str, boards: Boards, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    """And no proof: the key stays unseen with it as without it."""
    was = boards(Cell(chip, "both"))
    with_record = run_cli("audit", was.bundle, "--virt", was.efuses).stdout
    without = run_cli("audit", was.bundle, "--virt", was.efuses, "--journal", tmp_path).stdout
    assert "the journal has a record that this bundle's keys were burned on this board" in with_record
    assert "the journal has no record of this board" in without
    assert "What nobody can see, and nobody has checked: 2 of" in with_record
    assert "What nobody can see, and nobody has checked: 2 of" in without


@pytest.mark.parametrize("chip", ["esp32c3"])
def test_a_key_that_can_be_read_is_compared(chip: str, boards: Boards) -> None:
    """Its own key without read protection, another one, and one that lost bits: three kinds of boards."""
    was = boards(Cell(chip, "both"))
    key = (was.bundle / "keys" / "flash_encryption_key.bin").read_bytes()[::-1]
    half = bytes(byte & 0x0F for byte in key)
    kinds = {}
    for name, content in {"own": key, "other": bytes(range(32)), "half": half}.items():
        readable = replace(was, state=without_bit(was, "RD_DIS", 0))
        report = audit(was, with_block(readable, 4, content))
        assert report.verdict is not None
        kinds[name] = report.verdict.condition
        by_key = {c.outcome for c in report.checks if c.name == "key" and c.place == "BLOCK_KEY0"}
        assert by_key == {Outcome.PASSED if name == "own" else Outcome.FAILED} or name == "own"
        text = json.dumps(report.as_dict())
        assert content.hex() not in text and key.hex() not in text
    assert kinds == {"own": Condition.OTHER_RELEASE, "other": Condition.OTHER_RELEASE, "half": Condition.DAMAGED}


@pytest.mark.long
def test_espefuse_burns_all_but_one_step(boards: Boards, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    """The same on real files of virtual eFuses: every step of the plan is left out once."""
    was = boards(Cell("esp32c3", "both"))
    steps = list(was.plan.efuse_steps)
    for left_out in steps:
        efuses = tmp_path / f"{left_out.id}.bin"
        efuses.touch()
        for block, numbers in was.plan.virtual_revision_bits:
            espefuse("esp32c3", efuses, "burn-bit", block, *map(str, numbers))
        for call in new_chip_calls([step for step in steps if step is not left_out]):
            words = [str(was.bundle / word) if word.endswith(".bin") else word for word in call]
            espefuse("esp32c3", efuses, *words)
        done = run_cli("audit", was.bundle, "--virt", efuses, "--format", "json")
        failed = {c["place"] for c in json.loads(done.stdout)["checks"] if c["outcome"] == "failed"}
        assert done.exit_code == 1
        assert any(
            where.startswith(getattr(left_out, "field", "") or getattr(left_out, "block", "")) for where in failed
        )
