# SPDX-License-Identifier: Apache-2.0
"""What an update writes, made and checked on the host before any board is looked at."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from secure_ext.build.build import Build, Role
from secure_ext.bundle.files import open_bundle_files
from secure_ext.bundle.read import read_documents_of
from secure_ext.checks import Check
from secure_ext.doctor.rule import Finding
from secure_ext.errors import InputError
from secure_ext.field.cable.bootloader import bootloader_piece
from secure_ext.field.cable.data import data_pieces
from secure_ext.field.cable.pieces import Piece
from secure_ext.field.cable.slot import possible_slots
from secure_ext.field.cable.wish import CableWish
from secure_ext.field.ota.app import UpdateApp, make_app
from secure_ext.field.ota.fleet import FleetBundle
from secure_ext.field.ota.slots import size_checks
from secure_ext.formats.flash_encryption import FlashEncryptionKey
from secure_ext.formats.partition_table import Partition, PartitionTable
from secure_ext.formats.secure_boot import valid_signers
from secure_ext.keys.symmetric import load_secret
from secure_ext.plan.recipe import IDENTITY
from secure_ext.prove.verify.keys import cipher_key
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen
from secure_ext.station.plan_document import PlanDocument

_ROLE = "flash_encryption_key"


@frozen
class Prepared:
    """An update before it meets a board.

    Attributes:
        fleet: the boards, as their bundle tells.
        plan: what was done to them.
        table: their partition table.
        key: their flash encryption key, None if they have none.
        app: the app, and what was found out about it; None if it is not written.
        app_piece: the same to be written, in a slot that is not decided yet.
        slots: the app partitions that it may go to.
        named_slot: the one that was asked for.
        bootloader: None if it is not written.
        data: the data partitions.
    """

    fleet: FleetBundle
    plan: PlanDocument
    table: PartitionTable
    key: FlashEncryptionKey | None = field(repr=False)
    app: UpdateApp | None
    app_piece: Piece | None
    slots: tuple[Partition, ...]
    named_slot: Partition | None
    bootloader: Piece | None
    data: tuple[Piece, ...]
    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the doctor says of the app."""
        return () if self.app is None else self.app.findings

    @property
    def bootloader_signers(self) -> tuple[bytes, ...]:
        """The digests of the keys that have validly signed the bootloader."""
        return () if self.bootloader is None else valid_signers(self.bootloader.plain, self.bootloader.name)

    @property
    def rolls_back(self) -> bool:
        """Whether the boards' bootloader goes back to the old app unless the new one confirms itself."""
        return self.fleet.boards.setting("BOOTLOADER_APP_ROLLBACK_ENABLE") is True


def prepare(build: Build, fleet: FleetBundle, place: Path, wish: CableWish, key_file: Path | None) -> Prepared:
    """Makes and checks what is to be written; the fleet's plan is the policy.

    Args:
        build: what the images come from.
        fleet: the boards.
        place: of their bundle.
        wish: what is to be written.
        key_file: their flash encryption key, if one was given.

    Raises InputError SE971 (the flash encryption key is not at hand); what `possible_slots`, `make_app`, `data_pieces`
    and `bootloader_piece` raise.
    """
    manifest, plan = read_documents_of(open_bundle_files(place))
    key = _flash_key(fleet, plan, key_file)
    table = fleet.boards.table
    if table is None:
        raise AssertionError("the table of a bundle is readable if its key is at hand")
    slots = possible_slots(table, wish.slot) if wish.has_app or wish.slot else ()
    identities = {image.partition for image in manifest.images if image.recipe == IDENTITY and image.partition}
    data = data_pieces(build, fleet.boards, {step.label for step in plan.kept} | identities, wish)
    app = make_app(build, fleet, slots, wish.wanted) if wish.has_app else None
    bootloader = bootloader_piece(build, fleet.boards, wish.wanted) if wish.has_bootloader else None
    return Prepared(
        fleet=fleet,
        plan=plan,
        table=table,
        key=key,
        app=app,
        app_piece=None if app is None else Piece("app", Role.APP, 0, app.content, covered=True),
        slots=slots,
        named_slot=slots[0] if wish.slot else None,
        bootloader=bootloader,
        data=data,
        checks=() if app is None else (*app.checks, *size_checks(slots, app.content)),
    )


def _flash_key(fleet: FleetBundle, plan: PlanDocument, file: Path | None) -> FlashEncryptionKey | None:
    """The bundle's key, the owner's file, or the unsealed copy of a board with a key of its own."""
    if not fleet.boards.policy.flash_encryption.enabled:
        return None
    own = any(step.role.startswith(_ROLE) and step.fingerprint is None for step in plan.keys)
    key = fleet.key
    if own and file is not None:
        lengths = sorted({size.key_bytes for size in KeySize})
        key = cipher_key(load_secret(file, _ROLE, lengths).data, plan.chip)
    if key is not None:
        return key
    if own:
        raise InputError(
            "SE971",
            "each board of this fleet has a flash encryption key of its own, and none is given",
            cure="give the board's with --flash-encryption-key, if a sealed copy of it was kept (`secure-provision "
            "keys unseal`). If it was destroyed, the board takes updates over the air only: `secure-provision ota`",
        )
    raise InputError(
        "SE971",
        "the boards encrypt their flash, and their key is not at hand",
        cure="give it with --flash-encryption-key: an archive holds no keys. If it was destroyed, the boards take "
        "updates over the air only: `secure-provision ota`",
    )
