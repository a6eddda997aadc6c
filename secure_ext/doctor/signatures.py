# SPDX-License-Identifier: Apache-2.0
"""Rules about who signs what: the keys of the policy, and the signatures that images of the build carry already."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.build.build import Role
from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.errors import SecureProvisionError
from secure_ext.plan.images import PlannedImage
from secure_ext.policy.signing_entry import Signs

_SHOWN = 16
"""Hexadecimal digits of a digest in a message; `keys digest` shows all."""


def _signed_by_build(subject: Subject) -> Iterator[Match]:
    for image in subject.images:
        if image.signed_already and image.sign and next(_wrong_signatures(subject, image), None) is None:
            yield Match(
                image.source,
                "the build has signed this image; its signatures are verified and kept, missing ones are appended",
            )


def _not_usable(subject: Subject) -> Iterator[Match]:
    for image in subject.images:
        if image.signed_already and image.sign:
            yield from _wrong_signatures(subject, image)


def _wrong_signatures(subject: Subject, image: PlannedImage) -> Iterator[Match]:
    """Why the signatures of an image cannot stay: one that does not fit, or by a key that the plan does not trust."""
    from secure_ext.doctor.known_keys import known_digest  # noqa: PLC0415 (slow to import, seldom needed)
    from secure_ext.formats.secure_boot import MAX_BLOCKS, OTHER_KEY_CURE, proved_blocks  # noqa: PLC0415

    try:
        blocks = proved_blocks(image.content, place=image.source)
    except SecureProvisionError as error:
        yield Match(image.source, f"its signatures cannot be kept: {error.cause}", error.cure)
        return
    policy = subject.policy.secure_boot
    digests = [(source, known_digest(source)) for source in policy.keys]
    known = [digest for _, digest in digests if digest is not None]
    scheme = next((block.scheme.value for block in blocks if block.scheme.value != policy.scheme), None)
    if scheme is not None:
        why = f"the build has signed it with {scheme}, and secure boot is set to {policy.scheme}"
        yield Match(image.source, why, OTHER_KEY_CURE)
        return
    foreign = [block.key_digest for block in blocks if block.key_digest not in known]
    if len(foreign) > len(digests) - len(known):  # keys that cannot be looked at may have signed, too
        configured = subject.build.config.text("SECURE_BOOT_SIGNING_KEY")
        by = f", perhaps {configured} of CONFIG_SECURE_BOOT_SIGNING_KEY" if configured else ""
        trusted = " and ".join(digest.hex()[:_SHOWN] for digest in known) or "not at hand"
        yield Match(
            image.source,
            f"it is signed by another key than yours{by}: the digest of that key begins with "
            f"{foreign[0].hex()[:_SHOWN]}, {'that' if len(known) < 2 else 'those'} of the plan: {trusted}",
            OTHER_KEY_CURE,
        )
        return
    present = [block.key_digest for block in blocks]
    wanted = [digest for source, digest in digests if image.needs_signature_by(source.signs)]
    missing = sum(digest is not None and digest not in present for digest in wanted)
    if missing and (len(set(present)) < len(present) or len(present) + missing > MAX_BLOCKS):
        yield Match(
            image.source,
            f"it carries {len(present)} signatures, and {missing} more would have to be appended: an image holds one "
            f"of each key, and {MAX_BLOCKS} in all",
            "have the build leave the image unsigned (CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=n), so that it is "
            "signed here",
        )


def _several_keys_sign_the_app(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.secure_boot
    number = sum(source.signs is Signs.ALL for source in policy.keys)
    if policy.enabled and number > 1:
        yield Match(
            "secure_boot.keys", f"{number} keys sign the app, so each of them has to be at hand for every release"
        )


def _key_not_given(subject: Subject) -> Iterator[Match]:
    if any(source.is_missing for source in subject.policy.secure_boot.keys):
        yield Match(
            "secure_boot.keys",
            "no signing key is given: whether it fits, is safe, and has signed what is signed already cannot be looked "
            "at; the plan is that of one key",
        )


def _spare_without_bootloader(subject: Subject) -> Iterator[Match]:
    spares = [source for source in subject.policy.secure_boot.keys if source.signs is Signs.NOTHING]
    if not spares or not subject.policy.secure_boot.enabled:
        return
    from secure_ext.doctor.known_keys import known_digest  # noqa: PLC0415 (slow to import, seldom needed)
    from secure_ext.formats.secure_boot import read_signature_blocks  # noqa: PLC0415

    signed: set[bytes | None] = set()
    for image in subject.images:
        if image.role is Role.BOOTLOADER and image.signed_already:
            try:
                signed |= {block.key_digest for block in read_signature_blocks(image.content, image.source)}
            except SecureProvisionError:
                return  # SP151 says so
    without = [source for source in spares if (known_digest(source) or b"") not in signed]
    if without:
        yield Match(
            "secure_boot.keys",
            f"the bootloader carries no signature by the spare key {without[0].describe()}: boards take an app that is "
            "signed with it, but can never revoke another key for it",
        )


RULES = (
    Rule(
        "SP012",
        Severity.INFO,
        "image is signed by the build",
        _signed_by_build,
        explanation="The image carries a signature already, because the build signs "
        "(CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES) or somebody signed it before. Its signatures are verified and "
        "kept, and only those of keys that have not signed yet are appended: a key whose signature is there need not "
        "be at hand. Signing over an existing signature sector would make an image that no chip accepts.",
        source="ESP-IDF manual, Secure Boot V2, Remote Signing of Images; espsecure sign-data --append-signatures",
        cure="nothing to do",
        needs_images=True,
    ),
    Rule(
        "SP150",
        Severity.INFO,
        "several keys sign the app",
        _several_keys_sign_the_app,
        explanation="Every key in secure_boot.keys signs bootloader and app, unless it says otherwise. A chip needs "
        "one signature that it trusts. A spare key that signs every release has to lie where releases are made, and is "
        "lost together with the first one. ESP-IDF's manual: applications should be signed with only one key at a "
        "time, the bootloader with every key that the device will need in its life, because it is not replaced.",
        source="ESP-IDF manual, Secure Boot V2, Multiple Keys and Key Revocation",
        cure="write a spare key as {key: spare.pem, signs: bootloader} in secure_boot.keys; or, if it is to stay in "
        "the safe, signs: nothing (--digest-only-key), for which its public half is enough",
    ),
    Rule(
        "SP151",
        Severity.ERROR,
        "signatures of the build cannot be kept",
        _not_usable,
        explanation="An image of the build is signed already, and its signatures do not go together with the plan: "
        "they are by a key whose digest is not burned, of another scheme, damaged, or leave no room for those that are "
        "missing. The chip would trust other keys than the one that signed, and a signature sector is not replaced "
        "here, because somebody meant it. Most often the build signs with CONFIG_SECURE_BOOT_SIGNING_KEY, and another "
        "key is given for the bundle.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_BUILD_SIGNED_BINARIES, "
        "SECURE_BOOT_SIGNING_KEY); manual, Secure Boot V2, Signature Block Format",
        cure="set CONFIG_SECURE_BOOT_BUILD_SIGNED_BINARIES=n (menuconfig, Security features) and build again, or give "
        "the key that has signed",
        acceptable=False,
        why="the chip trusts none of the keys that have signed, and starts nothing",
        needs_images=True,
    ),
    Rule(
        "SP152",
        Severity.WARNING,
        "signing key is not given",
        _key_not_given,
        explanation="Secure boot is on, and neither the profile, nor an option, nor the build's configuration names a "
        "signing key. Everything that does not need the key is looked at. A bundle needs it: the private key to sign "
        "here, or the public one to have it signed elsewhere.",
        source="docs/signers.md; ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_SIGNING_KEY)",
        cure="name it: --signing-key FILE (a public key will do to look), or secure_boot.keys in the profile; "
        "`secure-provision keys generate` makes one",
    ),
    Rule(
        "SP153",
        Severity.INFO,
        "spare key has not signed the bootloader",
        _spare_without_bootloader,
        explanation="A spare key whose digest alone is burned can sign the app later, and boards take it. But an app "
        "revokes the old key only if the bootloader, too, verifies with another one, and the bootloader is not "
        "replaced over the air. With a bootloader that the spare key has not signed, a key that leaked stays trusted "
        "for ever.",
        source="ESP-IDF components/bootloader_support/src/secure_boot_v2/secure_boot_signatures_app.c and "
        "components/app_update/esp_ota_ops.c (esp_ota_revoke_secure_boot_public_key)",
        cure="have the spare key sign the bootloader once (signs: bootloader): a bootloader that carries the signature "
        "is used again without that key; or accept that the first key can never be revoked",
    ),
)
