# SPDX-License-Identifier: Apache-2.0
"""The plan as plain data: what ``plan.json`` and the top of ``provision.py`` hold.

Keys are named by file, fingerprint and length, never by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from secure_ext.chips.chip import Chip, revision_bits
from secure_ext.chips.cut_fields import parts_of
from secure_ext.plan.bootloader_efuses import VERSION, told_by
from secure_ext.plan.steps import (
    Action,
    BlockPart,
    BurnData,
    BurnField,
    BurnKey,
    EraseFlash,
    KeepFlash,
    KeyRole,
    Plan,
    Step,
    WriteImages,
    WriteProtect,
)
from secure_ext.station.one_line import one_line
from secure_ext.station.plan_document import (
    DataStep,
    EraseStep,
    FieldStep,
    ImageEntry,
    KeepStep,
    KeyStep,
    PlanDocument,
    PlanStep,
    ProtectStep,
    WriteStep,
)
from secure_ext.station.typed_document import document_data, read_document

SCHEMA = 1
_ESPTOOL_OF_CURVES = (5, 3)
"""The first in which each chip with ECDSA_KEY_P192 and ECDSA_KEY_P384 has them (espefuse, ``fields.py``)."""
_KINDS: Mapping[type[Action], type[PlanStep]] = {
    KeepFlash: KeepStep,
    EraseFlash: EraseStep,
    WriteImages: WriteStep,
    BurnKey: KeyStep,
    BurnData: DataStep,
    BurnField: FieldStep,
    WriteProtect: ProtectStep,
}


def key_file(role: KeyRole) -> str:
    """The path of a key's file inside the bundle."""
    return f"{'keys' if role.is_secret else 'digests'}/{role.value}.bin"


def pem_file(role: KeyRole) -> str:
    """The path inside the bundle of a key as PEM, for espefuse, which takes ECDSA keys of one block so."""
    return f"keys/{role.value}.pem"


def has_pem_file(key: BurnKey) -> bool:
    """Whether espefuse wants a key as PEM; the halves of one of 384 bits it takes as they are."""
    return key.is_ecdsa and "P384" not in key.purpose


def key_length(key: BurnKey) -> int:
    """How many bytes of the key's file go into its block."""
    return 32 if key.part is BlockPart.WHOLE else 16


def plan_document(
    plan: Plan, chip: Chip, *, images: tuple[ImageEntry, ...] = (), fingerprints: Mapping[KeyRole, str] | None = None
) -> PlanDocument:
    """The plan as it is written down; `images` and `fingerprints` are known once a bundle is made."""
    enabling = (chip.crypt_count.name, chip.secure_boot_enable.name)
    burned = {step.action.field for step in plan.steps if isinstance(step.action, BurnField)}
    members = {
        "schema": SCHEMA,
        "chip": plan.chip,
        "min_revision": plan.min_revision,
        "max_revision": plan.max_revision,
        "virtual_revision_bits": [[block, list(bits)] for block, bits in _bits_of_a_new_chip(plan, chip)],
        "least_esptool": list(_least_esptool(plan, chip)),
        "layout": _layout(plan, chip),
        "enabling_fields": [name for name in enabling if name in burned],
        "must_be_clear": document_data(plan.must_be_clear),
        "images": document_data(images),
        "steps": [_members(step, fingerprints or {}) for step in plan.steps],
    }
    return replace(
        read_document(PlanDocument, members), requirements=plan.requirements, carried=plan.carried, places=plan.places
    )


def _least_esptool(plan: Plan, chip: Chip) -> tuple[int, int]:
    """The first that knows the chip, and all purposes of the keys."""
    newer = [_ESPTOOL_OF_CURVES for key in plan.keys if key.is_ecdsa and key.purpose != "ECDSA_KEY"]
    return max([chip.facts.least_esptool, *newer])


def _bits_of_a_new_chip(plan: Plan, chip: Chip) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """What makes a virtual chip one that the firmware runs on."""
    asked = plan.requirements
    if asked is None:
        return revision_bits(chip, plan.min_revision)
    burned = {"FLASH_TYPE": 1} if asked.octal_flash and chip.efuses.find("FLASH_TYPE") else {}
    return revision_bits(chip, plan.min_revision, asked.min_block_revision, burned)


def _layout(plan: Plan, chip: Chip) -> list[dict[str, object]]:
    """Where each field that the plan reads or burns is, so that an espefuse with another layout is found out."""
    revisions = {"WR_DIS": 0, "RD_DIS": 0, **{item.field: 0 for item in plan.must_be_clear}}
    for step in plan.steps:
        if isinstance(step.action, (BurnField, WriteProtect)):
            revisions.setdefault(step.action.field, step.min_revision)
        elif isinstance(step.action, BurnData):
            revisions.setdefault(step.action.block.protected_as, 0)
        elif isinstance(step.action, BurnKey) and step.action.block.purpose_field:
            revisions.setdefault(step.action.block.purpose_field, 0)
    for place in plan.places or ():
        revisions.setdefault(place.purpose_field, 0)
    for name in _read_for_requirements(plan, chip):
        revisions.setdefault(name, 0)
    fields = [(chip.efuses.require(name), revision) for name, revision in revisions.items()]
    return [
        {"field": f.name, "block": f.block, "start": f.start, "bits": f.bits, "min_revision": revision}
        for f, revision in fields
    ]


def _read_for_requirements(plan: Plan, chip: Chip) -> list[str]:
    """The fields in which the script sees whether a board has what the firmware asks for."""
    asked = plan.requirements
    if asked is None:
        return []
    names = ["DISABLE_WAFER_VERSION_MAJOR"] if plan.max_revision is not None else []
    if asked.min_block_revision or asked.max_block_revision is not None:
        names += ["BLK_VERSION_MAJOR", "BLK_VERSION_MINOR", "DISABLE_BLK_VERSION_MAJOR"]
    names += ["DISABLE_APP_CPU", "DIS_APP_CPU"] if asked.cores > 1 else []
    names += ["FLASH_TYPE"] if asked.octal_flash else []
    names += ["SECURE_VERSION"] if asked.secure_version is not None else []
    if told_by(chip, plan.steps).secure_version is not None:
        names += [field.name for field in parts_of(chip, VERSION)]
    return [name for name in names if chip.efuses.find(name) is not None]


def document_step(step: Step) -> PlanStep:
    """One step, as it stands in the document, with no fingerprint."""
    return read_document(_KINDS[type(step.action)], _members(step, {}))


def _members(step: Step, fingerprints: Mapping[KeyRole, str]) -> dict[str, object]:
    return {
        "title": one_line(step.title),
        "why": one_line(step.why),
        "source": one_line(step.source),
        "id": step.id,
        "stage": step.stage.value,
        "irreversible": step.irreversible,
        "min_revision": step.min_revision,
        **_action(step, fingerprints),
    }


def _action(step: Step, fingerprints: Mapping[KeyRole, str]) -> dict[str, object]:
    action = step.action
    if isinstance(action, KeepFlash):
        place = {"offset": action.offset, "size": action.size, "encrypt": action.encrypt}
        return {"kind": "keep_flash", "label": one_line(action.label), **place}
    if isinstance(action, EraseFlash):
        return {"kind": "erase_flash", "offset": action.offset, "size": action.size}
    if isinstance(action, BurnKey):
        return {"kind": "burn_key", **_key(action, fingerprints.get(action.role))}
    if isinstance(action, BurnData):
        return {"kind": "burn_data", **_data(action)}
    if isinstance(action, BurnField):
        return {"kind": "burn_field", "field": action.field, "value": action.value}
    if isinstance(action, WriteProtect):
        return {"kind": "write_protect", "field": action.field, "wr_dis_bit": action.wr_dis_bit}
    return {"kind": "write_images"}


def _data(action: BurnData) -> dict[str, object]:
    block = action.block
    return {
        "file": f"efuse_data/{block.name.lower()}.bin",
        "block": block.name,
        "block_number": block.number,
        "data": action.data.hex(),
        "mask": action.mask.hex(),
        "holds": list(action.holds),
        "once": block.once,
        "wr_dis_bit": block.wr_dis_bit,
        "rd_dis_bits": list(block.rd_dis_bits),
        **({} if action.mac_list is None else {"mac_list": action.mac_list}),
    }


def _key(key: BurnKey, fingerprint: str | None) -> dict[str, object]:
    block = key.block
    purpose_bits = [] if block.purpose_wr_dis_bit is None else [block.purpose_wr_dis_bit]
    readable = (
        [] if key.role.is_secret else list(block.rd_dis_bits[-1:] if key.part is BlockPart.HIGH else block.rd_dis_bits)
    )
    return {
        "role": key.role.value,
        "file": key_file(key.role),
        "fingerprint": fingerprint,
        "length": key_length(key),
        "reversed": key.is_burned_reversed,
        "block": block.name,
        "block_number": block.number,
        "burn_name": block.burn_name,
        "part": key.part.value,
        "purpose": key.purpose,
        "purpose_field": block.purpose_field,
        "wr_dis_bits": [block.wr_dis_bit, *purpose_bits],
        "rd_dis_bits": list(key.rd_dis_bits),
        "readable_bits": readable,
        **({} if key.signs is None else {"signs": key.signs.value}),
        **({"pem": pem_file(key.role)} if has_pem_file(key) else {}),
    }
