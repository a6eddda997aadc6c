# SPDX-License-Identifier: Apache-2.0
"""An update and its fleet, as the doctor looks at them: the fleet's plan is the policy, the update is the build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace

from secure_ext.build.build import Build, BuildFile, Role
from secure_ext.doctor import ALL_RULES, Examination, examination
from secure_ext.doctor.rule import Finding, Rule, Subject
from secure_ext.errors import CheckError
from secure_ext.formats.image import parse_image, signature_position
from secure_ext.formats.partition_table import Partition
from secure_ext.plan.first_boot import update_burns
from secure_ext.plan.fleet import Fleet
from secure_ext.plan.images import PlannedImage
from secure_ext.station.frozen import frozen

_OTHER_CHIP = "SP010"


@frozen
class Update:
    """A new app for boards in the field.

    Attributes:
        build: that it comes from.
        file: the app in it.
        content: the app, before it is signed here.
        slots: the partitions of the boards that it may be written to.
        sign: it will be signed here, or its signature completed.
        scheme: of a signature that the boards accept, if one is known: their bootloader verifies no other scheme.
    """

    build: Build
    file: BuildFile
    content: bytes = field(repr=False)
    slots: Sequence[Partition]
    sign: bool
    scheme: str | None = None


def examine_update(update: Update, fleet: Fleet, accepted: frozenset[str] = frozenset()) -> Examination:
    """What the doctor says of the pair.

    Raises UsageError SE405 for an accepted code that cannot be accepted; the InputErrors of `parse_image`.
    """
    secure_boot = replace(fleet.policy.secure_boot, scheme=update.scheme or fleet.policy.secure_boot.scheme)
    header = parse_image(update.content, place=update.file.source)
    images = tuple(
        PlannedImage(
            name=slot.label,
            role=Role.APP,
            partition=slot.label,
            offset=slot.offset,
            source=update.file.source,
            content=update.content,
            header=header,
            signed_already=signature_position(update.content) is not None,
            sign=update.sign,
            encrypt=fleet.policy.flash_encryption.enabled,
        )
        for slot in update.slots
    )
    subject = Subject(
        build=update.build,
        chip=fleet.chip,
        policy=replace(fleet.policy, secure_boot=secure_boot, accepted_findings=accepted),
        images=images,
        blanks=(),
        plan=fleet.plan,
        first_boot=update_burns(update.build, fleet.chip, fleet.plan),
        fleet=fleet,
    )
    return examination(subject)


def require_fit(found: Examination) -> None:
    """Raises CheckError SE754, SE755, SE758, SE759, SE767 or SE769 if a finding stops the update."""
    stopping = [finding for finding in found.findings if finding.stops]
    if not stopping:
        return
    first = next((finding for finding in stopping if finding.code == _OTHER_CHIP), stopping[0])
    others = sorted({finding.code for finding in stopping} - {first.code})
    more = f"; also {', '.join(others)}" if others and first.code != _OTHER_CHIP else ""
    raise CheckError(
        _rule(first).stops_update, f"{first.cause} ({first.code}{more})", cure=first.cure, place=first.place
    )


def _rule(finding: Finding) -> Rule:
    return next(rule for rule in ALL_RULES if rule.code == finding.code)
