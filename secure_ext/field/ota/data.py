# SPDX-License-Identifier: Apache-2.0
"""Data of an update for boards whose app takes data only if they are signed (CONFIG_SECURE_SIGNED_DATA_PARTITION).

The app verifies what ``esp_ota_end`` finishes in a partition of type data, subtype undefined, and nothing else: not at
its start, and not what was flashed with it. Source: ESP-IDF ``components/app_update/esp_ota_ops.c``
(ota_verify_partition), ``components/bootloader_support/src/secure_boot_v2/secure_boot_signatures_app.c`` (whose keys).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.build.files import read_bytes
from secure_ext.build.sdkconfig import SdkConfig
from secure_ext.checks import Check, Outcome
from secure_ext.errors import CheckError, InputError, UsageError
from secure_ext.field.fleet_signatures import Wanted
from secure_ext.field.ota.fleet import FleetBundle
from secure_ext.formats.partition_table import DATA_UNDEFINED, TYPE_DATA, Partition, PartitionTable
from secure_ext.formats.signed_data import data_signers, sign_data, signed_size
from secure_ext.plan.fleet import Fleet, signs_in_software
from secure_ext.plan.trusted_keys import accepting_slots
from secure_ext.station.frozen import frozen

SETTING = "SECURE_SIGNED_DATA_PARTITION"


@frozen
class SignedData:
    """Data for one partition, signed: where they go, what they were, whose keys signed them, what was checked."""

    partition: Partition
    content: bytes = field(repr=False)
    source_sha256: str
    signed_by: tuple[bytes, ...]
    checks: tuple[Check, ...]

    @property
    def file(self) -> str:
        """Their path in the package."""
        return f"data/{re.sub(r'[^A-Za-z0-9._-]', '_', self.partition.label)}-at-0x{self.partition.offset:x}.bin"


def sign_all_data(
    files: Sequence[tuple[str, Path]], build: Build, fleet: FleetBundle, table: PartitionTable, wanted: Wanted
) -> tuple[SignedData, ...]:
    """Signs each file for the partition of that label.

    Args:
        files: labels with what goes there.
        build: of the app that comes with them.
        fleet: the boards.
        table: their partition table.
        wanted: the keys.

    Raises UsageError SE442 (no such partition, or one whose updates no app verifies); CheckError SE443 (no room), SE444
    (no app that wants them signed), SE445 (a key that the boards do not trust); InputError SE446 (no key); what
    `sign_data` raises.
    """
    if files:
        verifying = tuple(_verifying_app(build, fleet.boards))
        places = ((_partition(label, table), path) for label, path in files)
        return tuple(_signed(row, path, fleet.boards, wanted, verifying) for row, path in places)
    return ()


def _signed(partition: Partition, path: Path, fleet: Fleet, wanted: Wanted, verifying: tuple[Check, ...]) -> SignedData:
    label = partition.label
    source = read_bytes(path)
    needed = signed_size(len(source))
    if needed > partition.size or not source:
        raise CheckError(
            "SE443",
            f"{path.name} has {len(source)} bytes, with padding and signature {needed}; {label} has {partition.size}",
            cure="make the data smaller: a signature takes a sector of its own; the file must not be empty",
            place=label,
        )
    if not wanted.signing_keys:
        raise InputError(
            "SE446",
            f"{label} has to be signed, and no signing key is given",
            cure="give the key with --signing-key",
            place=label,
        )
    content = sign_data(source, wanted.signing_keys, place=path.name)
    signers = data_signers(content, path.name)
    checks = (
        *verifying,
        Check("data-size", label, Outcome.PASSED, f"{needed} of {partition.size} bytes"),
        _accepted(signers, fleet, label),
    )
    return SignedData(partition, content, hashlib.sha256(source).hexdigest(), signers, checks)


def _partition(label: str, table: PartitionTable) -> Partition:
    row = table.labelled(label)
    if row is None or (row.type, row.subtype) != (TYPE_DATA, DATA_UNDEFINED):
        rows = [row.label for row in table.partitions if (row.type, row.subtype) == (TYPE_DATA, DATA_UNDEFINED)]
        what = "is none of the boards' partitions" if row is None else f"is {row.type_name}, {row.subtype_name}"
        raise UsageError(
            "SE442",
            f"{label} {what}; an app verifies updates of partitions of type data, subtype undefined, and of no others",
            cure=f"name one of: {', '.join(rows) or 'none: the partition table has no such row'}",
            place=f"--data {label}",
        )
    return row


def _verifying_app(build: Build, fleet: Fleet) -> Iterator[Check]:
    """Which app will look at the signature: the boards' own, or the one of this update."""
    if _wants_signatures(fleet.settings):
        yield Check("data-verified", SETTING, Outcome.PASSED, "the boards' own app wants data signed")
    elif build.config.enabled(SETTING):
        why = "the app of this update wants data signed; send it first, the boards' own app may not look"
        yield Check("data-verified", SETTING, Outcome.PASSED, why)
    elif fleet.settings is not None and fleet.settings.defines(SETTING):
        raise CheckError(
            "SE444",
            "neither the boards' app nor the one of this build wants data signed: it would take the signature for data",
            cure=f"send the data as they are; or set CONFIG_{SETTING}=y, build again, and send that app first",
            place=f"CONFIG_{SETTING}",
        )
    else:
        why = "the fleet's bundle does not record it, and the app of this build does not want data signed"
        yield Check("data-verified", SETTING, Outcome.NOT_VERIFIABLE, why)


def _wants_signatures(settings: SdkConfig | None) -> bool:
    return settings is not None and settings.enabled(SETTING)


def _accepted(signers: tuple[bytes, ...], fleet: Fleet, label: str) -> Check:
    """With secure boot the keys of eFuses count; without, an app trusts its own first signer, and no second block."""
    name, shown = "data-signatures", ", ".join(digest.hex() for digest in signers)
    if fleet.policy.secure_boot.enabled:
        if accepting_slots(fleet.slots, signers[: fleet.chip.facts.digest_slots]):
            return Check(name, label, Outcome.PASSED, shown)
        raise _not_trusted(shown, "is burned on them and not revoked", label)
    if fleet.settings is None or fleet.app_blocks is None or not signs_in_software(fleet.settings):
        return Check(name, label, Outcome.NOT_VERIFIABLE, f"{shown}; whose signatures the boards take is not known")
    theirs = next((block.key_digest for block in fleet.app_blocks), None)
    if theirs != next(iter(signers), None):
        raise _not_trusted(shown, "is the first one that has signed their app", label)
    return Check(name, label, Outcome.PASSED, shown)


def _not_trusted(shown: str, which: str, label: str) -> CheckError:
    return CheckError(
        "SE445",
        f"the boards do not take data that these keys sign: none {which} (digests {shown})",
        cure="sign with a key of the fleet that is not revoked; `secure-provision keys digest` shows a key's digest",
        place=label,
    )
