"""The signers of one bundle: the secure boot keys that the policy names, loaded, kept or generated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from secure_ext.errors import UsageError
from secure_ext.images.secure_boot import public_key_digest
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.pem import read_pem_key
from secure_ext.keys.signing import (
    SignatureScheme,
    SigningKey,
    VerificationKey,
    generate_signing_key,
    load_signing_key,
    load_verification_key,
)
from secure_ext.policy.policy import KeySource, Policy


@dataclass(frozen=True)
class BundleSigner:
    """One secure boot key: always its public half, and the private one if signing is up to us."""

    public: VerificationKey
    private: SigningKey | None

    @property
    def digest(self) -> bytes:
        """The 32 bytes that are burned."""
        return public_key_digest(self.public)


def load_signers(policy: Policy, keys_folder: Path, earlier_keys: Path | None) -> tuple[BundleSigner, ...]:
    """The signers of `policy`, in its order; generated ones are written to `keys_folder`, see `load_key_material`.

    Raises the InputErrors SE601 to SE611 of a bad key file; UsageError SE710 for a key of another scheme, SE711 for the
    same key twice.
    """
    scheme = SignatureScheme(policy.secure_boot.scheme)
    paths = [
        (source, source.path or _generated_signing_key(slot, scheme, keys_folder, earlier_keys))
        for slot, source in enumerate(policy.secure_boot.keys)
    ]
    return _checked_signers(scheme, paths)


def _checked_signers(scheme: SignatureScheme, paths: list[tuple[KeySource, Path]]) -> tuple[BundleSigner, ...]:
    signers: list[BundleSigner] = []
    for source, path in paths:
        signer = _signer(path)
        if signer.public.scheme is not scheme:
            raise UsageError(
                "SE710",
                f"the signing key is for {signer.public.scheme.value}, secure boot is set to {scheme.value}",
                cure="give a key of that scheme, or change secure_boot.scheme and the firmware's configuration",
                place=source.describe(),
            )
        if any(signer.digest == other.digest for other in signers):
            raise UsageError(
                "SE711", "the same signing key is given twice", cure="give different keys", place=source.describe()
            )
        signers.append(signer)
    return tuple(signers)


def _signer(path: Path) -> BundleSigner:
    if not read_pem_key(path).is_private:
        return BundleSigner(load_verification_key(path), None)
    private = load_signing_key(path)
    return BundleSigner(private.verification_key, private)


def _generated_signing_key(slot: int, scheme: SignatureScheme, keys_folder: Path, earlier_keys: Path | None) -> Path:
    name = f"secure_boot_signing_key_{slot}.pem"
    earlier = earlier_keys / name if earlier_keys else None
    has_earlier = earlier is not None and earlier.is_file()
    pem = earlier.read_bytes() if earlier is not None and has_earlier else generate_signing_key(scheme)
    write_secret_file(keys_folder / name, pem)
    return keys_folder / name


def check_signing_keys(policy: Policy) -> None:
    """Loads every signing key file that the policy names, and forgets it. Raises what `load_signers` raises."""
    given = [(source, source.path) for source in policy.secure_boot.keys if source.path is not None]
    _checked_signers(SignatureScheme(policy.secure_boot.scheme), given)
