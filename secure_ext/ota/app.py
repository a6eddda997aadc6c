"""The app of an update: signed by keys that the fleet accepts, for its chip, not older than it allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from secure_ext.checks import Check, Outcome
from secure_ext.errors import CheckError, InputError, UsageError
from secure_ext.images.secure_boot import (
    add_signatures,
    is_signed,
    public_key_digest,
    read_signature_blocks,
    sign,
    verify,
)
from secure_ext.keys.signer import Signer
from secure_ext.ota.fleet import Fleet
from secure_ext.project.app_description import AppDescription, read_app_description
from secure_ext.project.build import Build, BuildFile
from secure_ext.project.files import read_bytes
from secure_ext.project.image import ImageHeader, parse_image, without_padding

_TEE = "tee_"


@dataclass(frozen=True)
class Wanted:
    """What the user asks of an update.

    Attributes:
        signing_keys: to sign with; none if the build has signed the app.
        revoked: digest slots that were revoked in the field since.
        least_secure_version: the least that boards in the field accept; None takes that of the fleet's own app.
    """

    signing_keys: Sequence[Signer] = ()
    revoked: frozenset[int] = frozenset()
    least_secure_version: int | None = None


@dataclass(frozen=True)
class UpdateApp:
    """A finished app: its content, where it comes from, what it says, and the digests of the keys that signed it."""

    content: bytes = field(repr=False)
    source: bytes = field(repr=False)
    description: AppDescription
    signed_by: tuple[bytes, ...]
    checks: tuple[Check, ...]


def make_app(build: Build, fleet: Fleet, wanted: Wanted) -> UpdateApp:
    """Signs the build's app if it is not signed yet, and checks that the fleet would boot it.

    Raises CheckError SE754 (another chip), SE755 (needs a later chip revision), SE757 (a key that the fleet does not
    accept), SE758 (older than the fleet allows); InputError SE756 (not signed, no key), SE764 (no app description);
    UsageError SE765 (a key for a fleet without secure boot); CheckError SE767 (built without a feature of the
    fleet); what `parse_image`, `sign` and `verify` raise.
    """
    file = _app_file(build)
    source = without_padding(read_bytes(file.path))
    header = parse_image(source, place=file.source)
    description = read_app_description(source)
    if description is None:
        raise InputError("SE764", "the app has no app description", cure="give the build of an app", place=file.source)
    _check_chip(header, fleet, file.source)
    _check_configuration(build, fleet, file.source)
    content = _signed(source, fleet, wanted, file.source)
    signed_by = _signers(content, fleet, wanted, file.source) if fleet.digests else ()
    checks = tuple(_evidence(description, signed_by, fleet, wanted, file.source))
    return UpdateApp(content, source, description, signed_by, checks)


def _app_file(build: Build) -> BuildFile:
    """The project's own app, and not a TEE beside it."""
    for file in build.apps:
        row = build.partitions.labelled(file.partition or "")
        if row is None or not row.subtype_name.startswith(_TEE):
            return file
    return build.apps[0]


def _check_chip(header: ImageHeader, fleet: Fleet, place: str) -> None:
    if header.chip != fleet.chip:
        raise CheckError(
            "SE754",
            f"the app is for {header.chip}, the fleet is of {fleet.chip}",
            cure="build for the fleet's chip, or give the bundle of the other fleet",
            place=place,
        )
    if header.min_revision > fleet.min_revision:
        need, have = (f"v{number // 100}.{number % 100}" for number in (header.min_revision, fleet.min_revision))
        raise CheckError(
            "SE755",
            f"the app needs chip revision {need}, and the fleet's boards begin at {have}",
            cure="set the minimum chip revision to that of the fleet in menuconfig, and build again",
            place=place,
        )


def _check_configuration(build: Build, fleet: Fleet, place: str) -> None:
    """An app without a feature of its board boots, and then cannot take the next update."""
    wanted = (
        ("SECURE_FLASH_ENC_ENABLED", fleet.encrypts, "flash encryption"),
        ("SECURE_BOOT_V2_ENABLED", bool(fleet.digests), "secure boot"),
    )
    for symbol, has, feature in wanted:
        if has and not build.config.enabled(symbol):
            raise CheckError(
                "SE767",
                f"the app is built without {feature}, which the fleet's boards have: it could not take another update",
                cure=f"enable CONFIG_{symbol} in menuconfig and build again",
                place=place,
            )


def _signed(source: bytes, fleet: Fleet, wanted: Wanted, place: str) -> bytes:
    if not fleet.digests:
        if wanted.signing_keys:
            raise UsageError(
                "SE765",
                "a signing key is given, and the fleet has no secure boot",
                cure="leave --signing-key out, or give the bundle of the other fleet",
                place=place,
            )
        return source
    for key in wanted.signing_keys:
        _check_key(public_key_digest(key.verification_key), fleet, wanted, place)
    if not is_signed(source):
        if not wanted.signing_keys:
            raise InputError(
                "SE756",
                "the fleet has secure boot, the app is not signed, and no signing key is given",
                cure="give the key with --signing-key",
                place=place,
            )
        return sign(source, wanted.signing_keys, place=place)
    present = {block.key_digest for block in read_signature_blocks(source, place)}
    missing = [key for key in wanted.signing_keys if public_key_digest(key.verification_key) not in present]
    return add_signatures(source, missing, place=place) if missing else source


def _signers(content: bytes, fleet: Fleet, wanted: Wanted, place: str) -> tuple[bytes, ...]:
    """The digests of the keys that have signed; each is verified, each is the fleet's, and one is not revoked."""
    blocks = read_signature_blocks(content, place)
    verify(content, [block.verification_key(place=place) for block in blocks], place=place)
    for block in blocks:
        if block.key_digest not in fleet.digests.values():
            _check_key(block.key_digest, fleet, wanted, place)
    if not any(_is_accepted(block.key_digest, fleet, wanted) for block in blocks):
        _check_key(blocks[0].key_digest, fleet, wanted, place)
    return tuple(block.key_digest for block in blocks)


def _is_accepted(digest: bytes, fleet: Fleet, wanted: Wanted) -> bool:
    return any(digest == known and slot not in wanted.revoked for slot, known in fleet.digests.items())


def _check_key(digest: bytes, fleet: Fleet, wanted: Wanted, place: str) -> None:
    if _is_accepted(digest, fleet, wanted):
        return
    slot = next((slot for slot, known in fleet.digests.items() if known == digest), None)
    why = "is not burned on the fleet's boards" if slot is None else f"in slot {slot} is revoked"
    raise CheckError(
        "SE757",
        f"the fleet does not boot what this key signs: its digest {digest.hex()} {why}",
        cure="sign with a key of the fleet that is not revoked; `secure-provision keys digest` shows a key's digest",
        place=place,
    )


def _evidence(
    description: AppDescription, signed_by: tuple[bytes, ...], fleet: Fleet, wanted: Wanted, place: str
) -> Iterator[Check]:
    """What was checked, and what could not be. Raises CheckError SE758."""
    yield Check("app-chip", place, Outcome.PASSED, fleet.chip)
    signatures = ", ".join(digest.hex() for digest in signed_by) or "the fleet has no secure boot"
    yield Check("app-signatures", place, Outcome.PASSED, signatures)
    least = wanted.least_secure_version
    if least is None and fleet.app is not None:
        least = fleet.app.secure_version
    if least is None:
        why = "the fleet's app cannot be read; give --least-secure-version"
        yield Check("app-secure-version", place, Outcome.NOT_VERIFIABLE, why)
    elif description.secure_version < least:
        raise CheckError(
            "SE758",
            f"the app's secure version is {description.secure_version}, and the fleet's boards want at least {least}",
            cure="raise CONFIG_BOOTLOADER_APP_SECURE_VERSION and build again; anti-rollback never goes back",
            place=place,
        )
    else:
        evidence = f"{description.secure_version}, at least {least}"
        yield Check("app-secure-version", place, Outcome.PASSED, evidence)
    if description.project == fleet.project:
        yield Check("app-project", place, Outcome.PASSED, description.project)
    else:
        why = f"it says that it is {description.project!r}, the fleet's bundle says {fleet.project!r}: is that meant?"
        yield Check("app-project", place, Outcome.NOT_VERIFIABLE, why)
