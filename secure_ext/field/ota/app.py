# SPDX-License-Identifier: Apache-2.0
"""The app of an update: fit for the boards by the doctor's word, and signed by a key that they accept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from secure_ext.build.build import Build, BuildFile
from secure_ext.build.files import read_bytes
from secure_ext.checks import Check, Outcome
from secure_ext.doctor import ALL_RULES, Examination
from secure_ext.doctor.rule import Concern, Finding
from secure_ext.doctor.update import Update, examine_update, require_fit
from secure_ext.errors import InputError, UsageError
from secure_ext.field.fleet_signatures import (
    Wanted,
    require_accepted,
    scheme_of,
    signed,
    signers_to_be,
)
from secure_ext.field.ota.fleet import FleetBundle
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.image import parse_image, without_padding
from secure_ext.formats.partition_table import Partition
from secure_ext.formats.secure_boot import is_signed, sign, valid_signers
from secure_ext.plan.fleet import Fleet, signs_in_software
from secure_ext.station.frozen import frozen

_TEE = "tee_"


@frozen
class UpdateApp:
    """A finished app: its content, where it comes from, what it says, and the digests of the keys that signed it."""

    content: bytes = field(repr=False)
    source: bytes = field(repr=False)
    description: AppDescription
    signed_by: tuple[bytes, ...]
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]


def make_app(build: Build, bundle: FleetBundle, slots: tuple[Partition, ...], wanted: Wanted) -> UpdateApp:
    """Has the doctor look at the pair, and signs the build's app if it is not signed yet.

    Raises what `require_fit` and `examine_update` raise; CheckError SE757 (no signature by a key that the boards
    accept); InputError SE756 (not signed, no key), SE764 (no app description); UsageError SE765 (a key for boards that
    verify nothing); what `parse_image`, `sign` and `verify` raise.
    """
    fleet, file = bundle.boards, _app_file(build)
    source = without_padding(read_bytes(file.path))
    parse_image(source, place=file.source)
    description = read_app_description(source)
    if description is None:
        raise InputError("SE764", "the app has no app description", cure="give the build of an app", place=file.source)
    verified = fleet.policy.secure_boot.enabled
    content = source if verified else _signed_for_software(source, build, fleet, wanted, file.source)
    signers = signers_to_be(content, wanted, fleet, file.source) if verified else ()
    update = Update(build, file, content, slots, verified, scheme_of(content, wanted, fleet, file.source))
    found = examine_update(update, fleet, wanted.accepted)
    require_fit(found)
    if verified:
        require_accepted(signers, content, wanted, fleet, file.source)
        content = signed(content, wanted, file.source)
    signed_by = valid_signers(content, file.source) if verified else ()
    checks = (*_evidence(description, signed_by, bundle, file.source), *_rule_checks(found, file.source))
    findings = tuple(finding for finding in found.findings if not finding.stops)
    return UpdateApp(content, source, description, signed_by, checks, findings)


def _app_file(build: Build) -> BuildFile:
    """The project's own app, and not a TEE beside it."""
    for file in build.apps:
        row = build.partitions.labelled(file.partition or "")
        if row is None or not row.subtype_name.startswith(_TEE):
            return file
    return build.apps[0]


def _signed_for_software(source: bytes, build: Build, fleet: Fleet, wanted: Wanted, place: str) -> bytes:
    """The app for boards without secure boot: signed if they, or the app, verify updates in software."""
    verifies = signs_in_software(build.config) or (fleet.settings is not None and signs_in_software(fleet.settings))
    if wanted.signing_keys and not verifies:
        raise UsageError(
            "SE765",
            "a signing key is given, and the fleet has no secure boot",
            cure="leave --signing-key out, or give the bundle of the other fleet",
            place=place,
        )
    if is_signed(source) or not wanted.signing_keys:
        return source
    return sign(source, wanted.signing_keys, place=place)


def _evidence(
    description: AppDescription, signed_by: tuple[bytes, ...], bundle: FleetBundle, place: str
) -> Iterator[Check]:
    """What was checked, and what could not be."""
    fleet = bundle.boards
    yield Check("app-chip", place, Outcome.PASSED, fleet.chip.name)
    signatures = ", ".join(digest.hex() for digest in signed_by) or "the fleet has no secure boot"
    yield Check("app-signatures", place, Outcome.PASSED, signatures)
    if fleet.least_secure_version is None:
        why = "the fleet's app cannot be read; give --least-secure-version"
        yield Check("app-secure-version", place, Outcome.NOT_VERIFIABLE, why)
    else:
        evidence = f"{description.secure_version}, at least {fleet.least_secure_version}"
        yield Check("app-secure-version", place, Outcome.PASSED, evidence)
    if description.project == bundle.project:
        yield Check("app-project", place, Outcome.PASSED, description.project)
    else:
        why = f"it says that it is {description.project!r}, the fleet's bundle says {bundle.project!r}: is that meant?"
        yield Check("app-project", place, Outcome.NOT_VERIFIABLE, why)


def _rule_checks(found: Examination, place: str) -> Iterator[Check]:
    """One check for each rule that can stop an update, and one for each thing that a rule could not see."""
    unseen = {rule.code for rule, _ in found.unseen}
    accepted = {finding.code: finding.cause for finding in found.findings if finding.accepted}
    for rule, one in found.unseen:
        yield Check(rule.code, one.place, Outcome.NOT_VERIFIABLE, f"{rule.title}: {one.why}")
    for rule in ALL_RULES:
        if not rule.is_error or rule.concerns is Concern.BUNDLES or rule.code in unseen:
            continue
        if rule.code in accepted:
            yield Check(rule.code, place, Outcome.NOT_VERIFIABLE, f"accepted: {accepted[rule.code]}")
        else:
            yield Check(rule.code, place, Outcome.PASSED, f"not found: {rule.title}")
