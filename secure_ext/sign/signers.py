# SPDX-License-Identifier: Apache-2.0
"""The signers of one bundle: the secure boot keys that the policy names, loaded, kept or generated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from secure_ext.errors import UsageError
from secure_ext.formats.secure_boot import public_key_digest
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.pem import read_pem_key
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.keys.signer import Signer
from secure_ext.keys.signing import (
    SignatureScheme,
    VerificationKey,
    generate_signing_key,
    load_signing_key,
    load_verification_key,
)
from secure_ext.keys.uri_signers import open_uri_signer
from secure_ext.plan.images import PlannedImage
from secure_ext.policy.key_uri import is_key_uri, parse_key_uri
from secure_ext.policy.policy import KeySource, Policy
from secure_ext.policy.signing_entry import Signs
from secure_ext.station.frozen import frozen


class KeptKeys(Protocol):
    """Where generated keys are kept from one bundle to the next (`secure_ext.bundle.generated_keys`)."""

    def find(self, name: str) -> Path | None:
        """The file of a key that was generated before."""

    def add(self, name: str, data: bytes) -> None:
        """Keeps a new one."""


@frozen
class SigningHelp:
    """What signing needs besides the policy.

    Attributes:
        secrets: is asked for passphrases and PINs.
        answers: folder with the signatures that were made elsewhere, None if there are none.
    """

    secrets: SecretSource = NO_SECRETS
    answers: Path | None = None


NO_HELP = SigningHelp()

_SCHEME_CHANGED = (
    "the key was generated for this output before the scheme was changed: change it back if boards carry that key; for "
    "boards of another kind give another directory with -o"
)


@frozen
class BundleSigner:
    """One secure boot key.

    Attributes:
        digest: the 32 bytes that are burned.
        public: its public half; None for a key that signs nothing, of which only the digest is given.
        private: who signs with it; None if that is done elsewhere, or not at all.
        signs: which images it signs.
    """

    digest: bytes
    public: VerificationKey | None
    private: Signer | None
    signs: Signs = Signs.ALL

    @classmethod
    def of(cls, public: VerificationKey, private: Signer | None, signs: Signs) -> BundleSigner:
        """A key whose public half is at hand; one that signs nothing keeps no private half."""
        return cls(public_key_digest(public), public, None if signs is Signs.NOTHING else private, signs)


def keys_that_sign(image: PlannedImage, signers: Sequence[BundleSigner]) -> tuple[VerificationKey, ...]:
    """The public halves of the keys whose signatures an image needs, in the order of `signers`."""
    return tuple(s.public for s in signers if s.public is not None and image.needs_signature_by(s.signs))


def open_signer(key: str, secrets: SecretSource, key_number: int, *, place: str) -> Signer:
    """The signer that an option names: a PEM file, or the URI of a key in a token.

    Raises the errors of `load_signers` for one key; UsageError SE642, SE643 for a bad PKCS#11 URI.
    """
    if is_key_uri(key):
        return open_uri_signer(parse_key_uri(key, place=place), secrets, key_number)
    return load_signing_key(Path(key), secrets, key_number)


def load_signers(
    policy: Policy, keys_folder: Path, generated: KeptKeys, secrets: SecretSource = NO_SECRETS
) -> tuple[BundleSigner, ...]:
    """The signers of `policy`, in its order; generated ones are written to `keys_folder`, see `load_key_material`.

    Raises the InputErrors SE601 to SE611, SE640, SE641 of a bad key file, SE734 to SE736 of keys that were generated
    before; the errors SE644 to SE653 of a token; UsageError SE710 for a key of another scheme, SE711 for the same key
    twice.
    """
    scheme = SignatureScheme(policy.secure_boot.scheme)

    def load() -> Iterator[tuple[KeySource, BundleSigner]]:
        for slot, source in enumerate(policy.secure_boot.keys):
            if source.digest is not None:
                yield source, BundleSigner(source.digest, None, None, source.signs)
            elif source.uri is not None:
                token = open_uri_signer(source.uri, secrets, slot + 1)
                yield source, BundleSigner.of(token.verification_key, token, source.signs)
            else:
                path = source.path or _generated_signing_key(slot, scheme, keys_folder, generated)
                yield source, _signer(path, secrets, slot + 1, source.signs)

    return tuple(signer for signer in _checked(scheme, load()) if signer is not None)


def signers_without_secrets(policy: Policy) -> tuple[BundleSigner | None, ...]:
    """The signers of `policy` in its order, None where one is generated, locked or in a token: nothing is unlocked.

    Raises what `load_signers` raises for the key files.
    """
    scheme = SignatureScheme(policy.secure_boot.scheme)

    def load() -> Iterator[tuple[KeySource, BundleSigner | None]]:
        for source in policy.secure_boot.keys:
            known: BundleSigner | None = None
            if source.digest is not None:
                known = BundleSigner(source.digest, None, None, source.signs)
            elif source.path is not None and not read_pem_key(source.path).is_locked:
                known = _signer(source.path, NO_SECRETS, 0, source.signs)
            yield source, known

    return tuple(_checked(scheme, load()))


def _checked(
    scheme: SignatureScheme, signers: Iterable[tuple[KeySource, BundleSigner | None]]
) -> Iterator[BundleSigner | None]:
    seen: set[bytes] = set()
    for source, signer in signers:
        if signer is not None:
            if signer.public is not None and signer.public.scheme is not scheme:
                raise UsageError(
                    "SE710",
                    f"the signing key is for {signer.public.scheme.value}, secure boot is set to {scheme.value}",
                    cure=_SCHEME_CHANGED
                    if source.describe() == "generated"
                    else "give a key of that scheme, or change secure_boot.scheme and the firmware's configuration",
                    place=source.describe(),
                )
            if signer.digest in seen:
                raise UsageError(
                    "SE711", "the same signing key is given twice", cure="give different keys", place=source.describe()
                )
            seen.add(signer.digest)
        yield signer


def _signer(path: Path, secrets: SecretSource, key_number: int, signs: Signs) -> BundleSigner:
    if not read_pem_key(path).is_private:
        return BundleSigner.of(load_verification_key(path), None, signs)
    private = load_signing_key(path, secrets, key_number)
    return BundleSigner.of(private.verification_key, private, signs)


def _generated_signing_key(slot: int, scheme: SignatureScheme, keys_folder: Path, generated: KeptKeys) -> Path:
    name = f"secure_boot_signing_key_{slot}.pem"
    before = generated.find(name)
    pem = generate_signing_key(scheme) if before is None else before.read_bytes()
    if before is None:
        generated.add(name, pem)
    write_secret_file(keys_folder / name, pem)
    return keys_folder / name
