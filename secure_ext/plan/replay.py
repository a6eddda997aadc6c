# SPDX-License-Identifier: Apache-2.0
"""A plan document, read back through the builder: whoever wrote it, no step stands where it would damage a chip.

The rules of `secure_ext.plan.order` guard what this process builds. A document comes from a folder that anybody may
have changed, with all its hashes made right; so every reader that goes on to use it replays it here. What a step says
of the chip (bits of protection, layout) is compared with espefuse's own tables, which the document has no say in, and
what it asks of a board with what the chip demands (`secure_ext.plan.demands`).
"""

from __future__ import annotations

from dataclasses import replace

from secure_ext.chips.chip import Chip, load_chip
from secure_ext.errors import CheckError, SecureProvisionError
from secure_ext.plan.bootloader_efuses import told_by
from secure_ext.plan.carried import known_blocks
from secure_ext.plan.demands import demand_fault
from secure_ext.plan.document import document_step, plan_document
from secure_ext.plan.key_blocks import key_places
from secure_ext.plan.order import PlanBuilder, PlanOrderError
from secure_ext.plan.read_document import step_of
from secure_ext.plan.steps import BurnField, Plan, Step
from secure_ext.station.flash_sectors import whole_sectors
from secure_ext.station.plan_document import PlanDocument, PlanStep
from secure_ext.station.typed_document import document_data

_WORDS = ("title", "why", "source", "fingerprint")
"""Members of a step that no chip has a say in."""


def replay_plan(document: PlanDocument) -> Plan:
    """The plan of a document, if it does no harm.

    Raises CheckError SE412 if it would damage a chip, or says of the chip what is not so; InputError SE204 and the
    ToolErrors of `load_chip` if the chip is not known here.
    """
    chip = load_chip(document.chip, document.min_revision)
    builder = PlanBuilder(chip)
    try:
        for written in document.steps:
            step = _step(written, chip)
            builder.add(step)
            _compare(written, step)
        enabling = {step.action.field for step in builder.steps if isinstance(step.action, BurnField)} & {
            chip.crypt_count.name,
            chip.secure_boot_enable.name,
        }
        if set(document.enabling_fields) != enabling:
            raise _harmful("enabling_fields", "it does not name what turns the features on")
        plan = replace(
            builder.build(
                min_revision=document.min_revision,
                max_revision=document.max_revision,
                must_be_clear=document.must_be_clear,
            ),
            requirements=document.requirements,
            carried=document.carried,
            places=document.places,
        )
    except PlanOrderError as error:
        raise _harmful(error.step, error.reason) from None
    _check_demands(document, plan, chip)
    return plan


def _check_demands(document: PlanDocument, plan: Plan, chip: Chip) -> None:
    fault = demand_fault(chip, plan)
    if fault is not None:
        raise _harmful(*fault)
    try:
        again = plan_document(plan, chip)
    except SecureProvisionError as error:
        raise _harmful("must_be_clear", error.cause) from None
    if sorted(map(repr, document.layout)) != sorted(map(repr, again.layout)):
        raise _harmful("layout", "it says of the chip what espefuse does not say")
    if sorted(document.virtual_revision_bits) != sorted(again.virtual_revision_bits):
        raise _harmful("virtual_revision_bits", "it says of the chip what espefuse does not say")
    for block in document.carried or ():
        if block not in known_blocks(chip):
            raise _harmful("carried", f"it says of {block.block} what espefuse does not say")
        burned = {key.block.number for key in plan.keys} | {data.block_number for data in document.data}
        if block.number in burned:
            raise _harmful("carried", f"the plan burns {block.block}")
    if not set(document.places or ()) <= set(key_places(chip)):
        raise _harmful("places", "it says of a key block what espefuse does not say")
    end = max([0, *(image.end for image in document.images), *(kept.end for kept in plan.kept)])
    if plan.requirements is not None and plan.requirements.flash_end < end:
        raise _harmful("requirements", f"images and what is kept need flash up to 0x{end:x}")
    recovery = told_by(chip, plan.steps).recovery_offset
    if recovery is not None and document.images and recovery not in [image.offset for image in document.images]:
        raise _harmful("images", f"none is at 0x{recovery:x}, where the ROM would look for a recovery bootloader")
    for kept in plan.kept:
        if any(image.offset < kept.end and kept.offset < whole_sectors(image.end) for image in document.images):
            raise _harmful("images", f"one is written over {kept.label}, which is kept")


def _step(written: PlanStep, chip: Chip) -> Step:
    try:
        return step_of(written, chip)
    except (ValueError, SecureProvisionError) as error:
        raise _harmful(written.id, f"it is not a step for {chip.name} ({error})") from None


def _compare(written: PlanStep, step: Step) -> None:
    """What the step says must be what this tool would write down for it."""
    found, expected = document_data(written), document_data(document_step(step))
    for name in sorted((found.keys() | expected.keys()) - set(_WORDS)):
        if found.get(name) != expected.get(name):
            raise _harmful(step.id, f"{name} is {found.get(name)!r}, and should be {expected.get(name)!r}")


def _harmful(step: str, reason: str) -> CheckError:
    return CheckError(
        "SE412",
        f"the plan would damage a board: {step}: {reason}",
        cure="do not use this bundle; make it again from the build, and ask who has changed it",
        place="plan.json",
    )
