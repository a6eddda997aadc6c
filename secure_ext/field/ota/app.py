# SPDX-License-Identifier: Apache-2.0
"""The app of an update: fit for the boards by the doctor's word, and signed by a key that they accept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field

from secure_ext.build.build import Build, BuildFile
from secure_ext.build.files import read_bytes
from secure_ext.checks import Check, Outcome
from secure_ext.doctor import ALL_RULES, Examination
from secure_ext.doctor.rule import Concern, Finding
from secure_ext.doctor.update import Update, examine_update, require_fit
from secure_ext.errors import CheckError, InputError, UsageError
from secure_ext.field.ota.fleet import FleetBundle
from secure_ext.formats.app_description import AppDescription, read_app_description
from secure_ext.formats.image import parse_image, without_padding
from secure_ext.formats.partition_table import Partition
from secure_ext.formats.secure_boot import (
    add_signatures,
    is_signed,
    public_key_digest,
    read_signature_blocks,
    sign,
    valid_signers,
    verify,
)
from secure_ext.keys.signer import Signer
from secure_ext.plan.fleet import Fleet, signs_in_software
from secure_ext.plan.trusted_keys import accepting_slots
from secure_ext.station.frozen import frozen

_TEE = "tee_"


@frozen
class Wanted:
    """What the user asks of an update.

    Attributes:
        signing_keys: to sign with; none if the build has signed the app.
        accepted: codes of findings that the user accepts.
    """

    signing_keys: Sequence[Signer] = ()
    accepted: frozenset[str] = frozenset()


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
    signers = _signers_to_be(content, wanted, fleet, file.source) if verified else ()
    update = Update(build, file, content, slots, verified, _scheme(content, wanted, fleet, file.source))
    found = examine_update(update, fleet, wanted.accepted)
    require_fit(found)
    if verified:
        _require_accepted(signers, content, wanted, fleet, file.source)
        content = _signed(content, wanted, file.source)
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


def _digests(wanted: Wanted) -> list[bytes]:
    return [public_key_digest(key.verification_key) for key in wanted.signing_keys]


def _signers_to_be(content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> tuple[bytes, ...]:
    """The digests of the keys that will have signed, as far as the chip looks at their blocks."""
    present = [block.key_digest for block in read_signature_blocks(content, place)]
    valid = valid_signers(content, place)
    order = [*present, *(digest for digest in _digests(wanted) if digest not in present)]
    looked_at = order[: fleet.chip.facts.digest_slots]
    return tuple(digest for digest in looked_at if digest in valid or digest not in present)


def _scheme(content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> str | None:
    """The scheme of a signature by one of the boards' keys."""
    schemes = {block.key_digest: block.scheme.value for block in read_signature_blocks(content, place)}
    keys = (key.verification_key for key in wanted.signing_keys)
    schemes |= {public_key_digest(key): key.scheme.value for key in keys}
    held = (scheme for digest, scheme in schemes.items() if any(slot.holds(digest) for slot in fleet.slots))
    return next(held, None)


def _require_accepted(signers: tuple[bytes, ...], content: bytes, wanted: Wanted, fleet: Fleet, place: str) -> None:
    if not is_signed(content) and not wanted.signing_keys:
        raise InputError(
            "SE756",
            "the fleet has secure boot, the app is not signed, and no signing key is given",
            cure="give the key with --signing-key",
            place=place,
        )
    if accepting_slots(fleet.slots, signers):
        return
    if not signers:  # damaged, or changed since
        blocks = read_signature_blocks(content, place)
        verify(content, [block.verification_key(place=place) for block in blocks], place=place)
    digests = signers or tuple(_digests(wanted))
    slot = next((slot.number for slot in fleet.slots if any(slot.holds(digest) for digest in digests)), None)
    why = "is not burned on the fleet's boards" if slot is None else f"in slot {slot} is revoked"
    raise CheckError(
        "SE757",
        "the fleet does not boot what this key signs: its digest "
        f"{', '.join(digest.hex() for digest in digests)} {why}",
        cure="sign with a key of the fleet that is not revoked; `secure-provision keys digest` shows a key's digest",
        place=place,
    )


def _signed(source: bytes, wanted: Wanted, place: str) -> bytes:
    if not is_signed(source):
        return sign(source, wanted.signing_keys, place=place)
    present = {block.key_digest for block in read_signature_blocks(source, place)}
    missing = [key for key in wanted.signing_keys if public_key_digest(key.verification_key) not in present]
    return add_signatures(source, missing, place=place) if missing else source


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
