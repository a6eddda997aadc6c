# SPDX-License-Identifier: Apache-2.0
"""Read and decide, in one call: from a build directory and a profile to everything a bundle is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from secure_ext.build.build import Build, Role, read_build
from secure_ext.chips.chip import Chip, load_chip
from secure_ext.doctor import examine, examine_making, in_order
from secure_ext.doctor.rule import Finding, Making, Subject
from secure_ext.errors import CheckError
from secure_ext.formats.image import NO_REVISION_LIMIT
from secure_ext.formats.partition_table import Partition
from secure_ext.plan.boot_slot import boot_slot
from secure_ext.plan.bootloader_versions import bootloader_efuses
from secure_ext.plan.first_boot import FirstBootBurn, first_boot_burns
from secure_ext.plan.images import BlankPartition, PlannedImage, blank_partitions, plan_images
from secure_ext.plan.kept import kept_ranges
from secure_ext.plan.make import make_plan
from secure_ext.plan.requirements import board_requirements
from secure_ext.plan.steps import Plan
from secure_ext.policy.policy import Policy
from secure_ext.policy.profile import Profile
from secure_ext.policy.refusals import no_signing_key
from secure_ext.policy.resolve import resolve_policy
from secure_ext.station.frozen import frozen


@frozen
class Decision:
    """What was read, what is wanted, what will be done and what the firmware adds, and what the doctor says.

    `boot` is the app partition that the profile has a new board start; None if it leaves that to the build.
    """

    build: Build
    chip: Chip
    policy: Policy
    images: tuple[PlannedImage, ...]
    blanks: tuple[BlankPartition, ...]
    plan: Plan
    first_boot: tuple[FirstBootBurn, ...]
    findings: tuple[Finding, ...]
    profile: Profile
    boot: Partition | None = None

    def with_making(self, making: Making) -> Decision:
        """The same, with what only the run that makes the bundle can find among the findings."""
        subject = Subject(
            self.build, self.chip, self.policy, self.images, self.blanks, self.plan, self.first_boot, making=making
        )
        return replace(self, findings=in_order((*self.findings, *examine_making(subject))))

    def require_healthy(self) -> None:
        """Raises InputError SE318 without a signing key, CheckError SE404 if a finding stops the making of a bundle."""
        if any(key.is_missing for key in self.policy.secure_boot.keys):
            raise no_signing_key()
        stopping = [finding for finding in self.findings if finding.stops]
        if stopping:
            raise CheckError(
                "SE404",
                f"the doctor found {len(stopping)} error{'s' if len(stopping) > 1 else ''}, the first: "
                f"{stopping[0].code} {stopping[0].cause}",
                cure=stopping[0].cure,
                place=stopping[0].place,
            )


def decide(build_dir: Path, profile: Profile) -> Decision:
    """Reads a build, resolves the policy, examines both and makes the plan; no private key is needed.

    Without a signing key the plan is that of one key, and the doctor says so.
    """
    return decide_on(read_build(build_dir), profile)


def decide_on(build: Build, profile: Profile) -> Decision:
    """The same of a build that was read; one that is configured and not made yet has no files, and no images."""
    chip = load_chip(build.chip, build.min_revision)
    policy = resolve_policy(build.config, chip, profile, build.project_dir, key_may_be_missing=True)
    images = plan_images(build, policy)
    blanks = blank_partitions(build, policy, images)
    kept = kept_ranges(build, policy, images)
    plan = make_plan(
        chip,
        policy,
        min_revision=max([build.min_revision, *(image.header.min_revision for image in images if image.header)]),
        max_revision=_max_revision(build, images),
        requirements=board_requirements(build, chip, policy, images, kept),
        kept=kept,
        bootloaders=bootloader_efuses(build, chip, images),
    )
    boot = boot_slot(build, policy)
    first_boot = first_boot_burns(build, chip, plan, images, boot)
    findings = examine(Subject(build, chip, policy, images, blanks, plan, first_boot))
    return Decision(build, chip, policy, images, blanks, plan, first_boot, findings, profile, boot)


def _max_revision(build: Build, images: tuple[PlannedImage, ...]) -> int | None:
    """The greatest chip revision that all apps start on; the bootloader's own limit is compared by nobody."""
    apps = [image.header.max_revision for image in images if image.role is Role.APP and image.header is not None]
    limits = [limit for limit in apps if limit != NO_REVISION_LIMIT]
    return min([*limits, *([] if build.max_revision is None else [build.max_revision])], default=None)
