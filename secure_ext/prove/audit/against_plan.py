# SPDX-License-Identifier: Apache-2.0
"""Compares a board with a plan, eFuse by eFuse: wanted, found, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from secure_ext.checks import Check, Outcome
from secure_ext.prove.audit.board import SEALED, Board
from secure_ext.prove.audit.unplanned_efuses import MEANING, unplanned_fields
from secure_ext.station.board_needs import board_needs, needed_flash, size_text
from secure_ext.station.frozen import frozen
from secure_ext.station.journal import Journal
from secure_ext.station.key_places import place_keys, place_keys_as_shown
from secure_ext.station.plan_document import (
    DataStep,
    EfuseStep,
    FieldStep,
    KeyStep,
    MustBeClear,
    PlanDocument,
    ProtectStep,
)
from secure_ext.station.refusals import other_key
from secure_ext.station.revision import revision_text
from secure_ext.station.step_status import Status, StepStatus, compare, holds, key_content
from secure_ext.station.verdict import Condition, Verdict, classify, sealed_verdict

_CONTINUE = "run the bundle's script again: it burns what is missing"
_SET_ASIDE = "set this board aside: eFuses cannot be cleared"


@frozen
class EfuseCheck(Check):
    """A check of one eFuse: besides what every check has, what was wanted, what was found, and what it is for."""

    wanted: str = ""
    found: str = ""
    meaning: str = ""


def efuse_check(
    name: str, place: str, fits: bool | None, *, wanted: str, found: str, meaning: str, cure: str
) -> EfuseCheck:
    """The check whose outcome is `fits`; None when nobody can see it, and `found` then says why."""
    if fits is None:
        return EfuseCheck(name, place, Outcome.NOT_VERIFIABLE, f"{found} (wanted: {wanted})", "", wanted, "", meaning)
    outcome = Outcome.PASSED if fits else Outcome.FAILED
    evidence = f"wanted {wanted}, found {found}. Why: {meaning}"
    return EfuseCheck(name, place, outcome, evidence, "" if fits else cure, wanted, found, meaning)


def coding_errors_check(board: Board) -> EfuseCheck:
    """Whether what is burned fits its own check bytes: a key that does not is another key."""
    seen = board.state is not None and board.errors_looked_for
    errors = board.state.coding_errors if board.state else ()
    return efuse_check(
        "coding-errors",
        "all blocks",
        not errors if seen or errors else None,
        wanted="none",
        found="; ".join(errors)
        or ("none" if seen else SEALED if board.state is None else "nobody asked the chip for coding errors"),
        meaning="what is burned fits the check bytes beside it",
        cure=_SET_ASIDE,
    )


def audit_plan(
    board: Board, plan: PlanDocument, journal: Journal | None, key_of: Callable[[KeyStep], bytes]
) -> tuple[Verdict, tuple[Check, ...]]:
    """What kind of board it is, as the script would say it, and a check of each eFuse.

    Args:
        board: what was read.
        plan: the plan document.
        journal: what is known of this board from before; None for a sealed board, which tells no MAC address.
        key_of: the bytes of a key step as they lie in its block, zeros if they are not known here.
    """
    state = board.state
    if state is None or journal is None:
        plan = place_keys_as_shown(plan, board.purposes)
        verdict = sealed_verdict(plan, board.security.text if board.security else "")
        comparison = _Comparison(board, plan, {}, False, _SET_ASIDE)
        return verdict, (_sealed_check(verdict), *comparison.checks())
    plan = place_keys(plan, state)
    statuses = compare(plan.efuse_steps, state)
    verdict = classify(plan, state, statuses, journal, key_of)
    by_id = {item.step.id: item for item in statuses}
    comparison = _Comparison(board, plan, by_id, journal.burning_begun, _cure(verdict))
    fits = verdict.condition is Condition.DONE
    cure = "" if fits else (verdict.stop.cure if verdict.stop else _CONTINUE)
    check = Check("board", "verdict", Outcome.PASSED if fits else Outcome.FAILED, str(verdict), cure)
    return verdict, (check, *comparison.checks())


def flash_note(plan: PlanDocument) -> str:
    """What the audit leaves open: it reads eFuses, and these do not tell how large the flash is."""
    return (
        f"the firmware asks for {size_text(needed_flash(plan))} of flash or more; no eFuse tells how much the board "
        "has, the script and `esptool flash-id` do"
    )


def _cure(verdict: Verdict) -> str:
    """What to do about an eFuse that is not as planned; a board that carries something is not to be thrown away."""
    if verdict.condition in (Condition.CARRYING, Condition.OTHER_RELEASE) and verdict.stop:
        return verdict.stop.cure
    return _SET_ASIDE if verdict.stop else _CONTINUE


def _sealed_check(verdict: Verdict) -> Check:
    """That a sealed board is finished nobody can see; that it is foreign it may show."""
    if verdict.condition is Condition.FOREIGN and verdict.stop:
        return Check("board", "verdict", Outcome.FAILED, str(verdict), verdict.stop.cure)
    evidence = f"the board is sealed, and what it still shows is as planned: {'; '.join(verdict.evidence)}"
    return Check("board", "verdict", Outcome.NOT_VERIFIABLE, evidence)


@frozen
class _Comparison:
    """The checks of one board."""

    board: Board
    plan: PlanDocument
    statuses: dict[str, StepStatus]
    in_journal: bool
    cure: str

    def checks(self) -> Iterator[Check]:
        yield from self._needs()
        yield coding_errors_check(self.board)
        for step in self.plan.efuse_steps:
            if isinstance(step, KeyStep):
                yield from self._key(step)
            elif isinstance(step, DataStep):
                yield self._data(step)
            elif isinstance(step, FieldStep):
                yield self._field(step)
            else:
                yield self._write_protection(step)
        for item in self.plan.must_be_clear:
            yield self._clear(item)
        yield from self._other_keys()
        yield from self._unplanned()

    def _needs(self) -> Iterator[Check]:
        """What the firmware asks of the board, the chip revision first of all."""
        for need in board_needs(self.plan, self.board.value, self.board.revision):
            if need.name == "flash-size":
                continue  # no eFuse tells it: `flash_note`
            yield efuse_check(
                need.name,
                need.place,
                need.fits,
                wanted=need.wanted,
                found=need.found or (self.board.why_unseen(need.place) if self.board.state else SEALED),
                meaning=need.why,
                cure=need.cure,
            )

    def _is_needed(self, step: EfuseStep) -> bool | None:
        """Whether a step is for this chip's revision; None where that cannot be seen."""
        if not step.min_revision:
            return True
        return None if self.board.revision is None else self.board.revision >= step.min_revision

    def _not_needed(self, name: str, place: str, step: EfuseStep) -> EfuseCheck:
        why = f"not for this chip, which is older than {revision_text(step.min_revision)}"
        return EfuseCheck(name, place, Outcome.PASSED, why, "", "", "", step.why)

    def _field(self, step: FieldStep) -> Check:
        field, wanted = step.field, step.value
        needed, value = self._is_needed(step), self.board.value(field)
        if needed is False:
            return self._not_needed("efuse", field, step)
        reason = self.statuses[step.id].reason if step.id in self.statuses else ""
        return efuse_check(
            "efuse",
            field,
            None if value is None or needed is None else holds(field, value, wanted) and not reason,
            wanted=str(wanted),
            found=self.board.why_unseen(field) if value is None else str(value),
            meaning=step.why,
            cure=self.cure,
        )

    def _data(self, step: DataStep) -> Check:
        status, state = self.statuses.get(step.id), self.board.state
        content = b"" if state is None else state.blocks.get(step.block_number, b"")
        own = int.from_bytes(content, "little") & step.own_bits
        found = own.to_bytes(len(step.content), "little").hex()
        return efuse_check(
            "efuse-data",
            step.block,
            None if status is None else status.is_done,
            wanted=step.data,
            found=SEALED if status is None else status.reason or found,
            meaning=step.why,
            cure=self.cure,
        )

    def _write_protection(self, step: ProtectStep) -> Check:
        needed = self._is_needed(step)
        if needed is False:
            return self._not_needed("write-protection", step.field, step)
        seen = self.board.is_write_protected(step.wr_dis_bit)
        return self._protection("write-protection", step.field, seen, True, step.why)

    def _protection(self, name: str, place: str, seen: bool | None, wanted: bool, meaning: str) -> Check:
        kind = "read-protected" if name == "read-protection" else "write-protected"
        return efuse_check(
            name,
            place,
            None if seen is None else seen == wanted,
            wanted=kind if wanted else f"not {kind}",
            found=SEALED if seen is None else kind if seen else f"not {kind}",
            meaning=meaning,
            cure=self.cure,
        )

    def _key(self, step: KeyStep) -> Iterator[Check]:
        place = step.block + ("" if step.part == "whole" else f" ({step.part} half)")
        protections = [*self._key_protections(step, place)]
        yield self._key_content(step, place, all(check.outcome is not Outcome.FAILED for check in protections))
        yield from protections

    def _key_content(self, step: KeyStep, place: str, rest_fits: bool) -> Check:
        """The key itself; also what `step_status` finds wrong and none of the single protections shows."""
        status = self.statuses.get(step.id)
        wanted = f"the key with fingerprint {step.fingerprint}"
        if status is None:
            return efuse_check("key", place, None, wanted=wanted, found=SEALED, meaning=step.why, cure="")
        if status.hidden and (status.is_done or not rest_fits):
            known = (
                "the journal has a record that this bundle's keys were burned on this board"
                if self.in_journal
                else "the journal has no record of this board"
            )
            found = f"the block is read-protected: nobody can see whether it holds this key, or any; {known}"
            return efuse_check("key", place, None, wanted=wanted, found=found, meaning=step.why, cure="")
        is_empty = self.board.state is not None and not any(key_content(step, self.board.state))
        fits = status.status in (Status.DONE, Status.BEGUN)
        found = "this key" if fits else status.reason or ("an empty block" if is_empty else "another key")
        return efuse_check("key", place, fits, wanted=wanted, found=found, meaning=step.why, cure=self.cure)

    def _key_protections(self, step: KeyStep, place: str) -> Iterator[Check]:
        board = self.board
        if step.purpose_field:
            purpose = board.purpose(step.purpose_field)
            yield efuse_check(
                "key-purpose",
                step.purpose_field,
                None if purpose is None else purpose == step.purpose,
                wanted=step.purpose,
                found=purpose or board.why_unseen(step.purpose_field),
                meaning="the chip finds a key by its purpose, and uses it for nothing else",
                cure=self.cure,
            )
        for bit in step.rd_dis_bits:
            seen = board.is_read_protected(bit)
            yield self._protection("read-protection", f"{place}, RD_DIS bit {bit}", seen, True, "nobody can read it")
        for bit in step.readable_bits:
            meaning = "the ROM must read the digest, or the chip does not boot"
            seen = board.is_read_protected(bit)
            yield self._protection("read-protection", f"{place}, RD_DIS bit {bit}", seen, False, meaning)
        for bit, what in zip(step.wr_dis_bits, (place, step.purpose_field), strict=False):
            meaning = "nobody can burn more bits of it, and make it useless"
            yield self._protection("write-protection", str(what), board.is_write_protected(bit), True, meaning)

    def _clear(self, item: MustBeClear) -> Check:
        value = self.board.value(item.field)
        return efuse_check(
            "must-be-clear",
            item.field,
            None if value is None else value == 0,
            wanted="0",
            found=self.board.why_unseen(item.field) if value is None else str(value),
            meaning=f"burned it means that {item.why}",
            cure=_SET_ASIDE,
        )

    def _other_keys(self) -> Iterator[Check]:
        name, place = "other-keys", "key blocks that the plan does not use"
        purposes = self.board.purposes
        cause = other_key(self.plan, purposes)
        if cause is not None:
            yield Check(name, place, Outcome.FAILED, cause, _SET_ASIDE)
        elif self.board.state is None and not purposes:
            yield Check(name, place, Outcome.NOT_VERIFIABLE, SEALED)
        else:
            yield Check(name, place, Outcome.PASSED, "none of them holds a key for a feature of the plan")

    def _unplanned(self) -> Iterator[Check]:
        if self.board.state is None:
            yield Check("unplanned-efuse", "fields that the plan does not name", Outcome.NOT_VERIFIABLE, SEALED)
        for field in unplanned_fields(self.plan, self.board):
            yield efuse_check(
                "unplanned-efuse",
                field,
                False,
                wanted="0, for the plan does not name it",
                found=str(self.board.value(field)),
                meaning=MEANING[field],
                cure="find out who burned it; if it is as it should be, put it into the profile",
            )
