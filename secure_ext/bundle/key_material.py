# SPDX-License-Identifier: Apache-2.0
"""The keys of one bundle: loaded from the files the policy names, found where generated keys are kept, or generated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from secure_ext.bundle.extra_key_material import check_extra_key_files, load_extra_keys, pem_files
from secure_ext.bundle.generated_keys import GeneratedKeys, superseded_name
from secure_ext.bundle.key_home import KEYS_IGNORED, SUPERSEDED
from secure_ext.errors import InputError, UsageError
from secure_ext.formats.flash_encryption import FlashEncryptionKey, FlashEncryptionScheme, flash_encryption_key
from secure_ext.formats.nvs_keys import NVS_KEYS, NvsKeys, derive_nvs_keys, generate_nvs_keys, load_nvs_keys
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.sealing import load_sealing_key
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.keys.signer import Signer
from secure_ext.keys.symmetric import SecretKey, generate_secret, load_secret
from secure_ext.plan.document import pem_file
from secure_ext.plan.steps import KeyRole
from secure_ext.policy.policy import KeySource, NvsScheme, Policy
from secure_ext.reading import IMAGE_LIMIT, read_file
from secure_ext.sign.signers import BundleSigner, load_signers, signers_without_secrets
from secure_ext.station.chip_facts import KeySize
from secure_ext.station.frozen import frozen

_DIGESTS = (KeyRole.DIGEST_0, KeyRole.DIGEST_1, KeyRole.DIGEST_2)


@frozen
class KeyMaterial:
    """Every key of the bundle; None for one that is not wanted, or that each device gets for itself.

    `detached` has the signatures made elsewhere, by image name and public key digest.
    """

    flash_encryption: SecretKey | None
    flash_encryption_scheme: FlashEncryptionScheme
    nvs_hmac: SecretKey | None
    signers: tuple[BundleSigner, ...]
    detached: Mapping[tuple[str, bytes], Signer] = field(default_factory=dict)
    nvs_partition: NvsKeys | None = None
    """What the nvs_keys partition holds; None with the HMAC scheme, and if it is left to the device."""
    extra: Mapping[KeyRole, bytes] = field(default_factory=dict, repr=False)
    """What the blocks of the firmware's own keys hold."""

    @property
    def nvs_keys(self) -> NvsKeys | None:
        """The keys that the device encrypts NVS with; None if it does not, or makes them itself."""
        return self.nvs_partition if self.nvs_hmac is None else derive_nvs_keys(self.nvs_hmac.data)

    @property
    def cipher_key(self) -> FlashEncryptionKey | None:
        """The flash encryption key as the cipher takes it."""
        if self.flash_encryption is None:
            return None
        return flash_encryption_key(self.flash_encryption_scheme, self.flash_encryption.data)

    def burned(self) -> dict[KeyRole, bytes]:
        """What is burned, by role: the content of the files that espefuse gets."""
        burned: dict[KeyRole, bytes] = {}
        if self.flash_encryption is not None:
            data = self.flash_encryption.data
            if len(data) == KeySize.XTS_256.key_bytes:
                burned[KeyRole.FLASH_ENCRYPTION_1] = data[:32]
                burned[KeyRole.FLASH_ENCRYPTION_2] = data[32:]
            else:
                burned[KeyRole.FLASH_ENCRYPTION] = data
        if self.nvs_hmac is not None:
            burned[KeyRole.NVS_HMAC] = self.nvs_hmac.data
        burned |= self.extra
        burned |= {_DIGESTS[slot]: signer.digest for slot, signer in enumerate(self.signers)}
        return burned


def load_key_material(
    policy: Policy, chip: str, keys_folder: Path, generated: GeneratedKeys, secret_source: SecretSource = NO_SECRETS
) -> KeyMaterial:
    """Loads or generates every key of the policy and puts what the bundle needs into its ``keys`` folder.

    Args:
        policy: names the keys.
        chip: the target.
        keys_folder: the ``keys`` folder of the bundle in the making.
        generated: knows the keys that were generated before, which boards may have been burned with, and is told of
            new ones.
        secret_source: is asked for the passphrases and PINs of signing keys.

    Raises the InputErrors SE601 to SE641 and SE544 of a bad key file, SE734 to SE736 of keys that were generated
    before; the errors SE644 to SE653 of a token; UsageError SE710 for a key of another scheme, SE711 for the same key
    twice.
    """
    flash_encryption = None
    scheme = FlashEncryptionScheme.XTS
    if policy.flash_encryption.enabled and not policy.flash_encryption.key.per_device:
        size = policy.flash_encryption.key_size
        scheme = _cipher(size)
        role = KeyRole.FLASH_ENCRYPTION.value
        flash_encryption = _secret(policy.flash_encryption.key, role, size.key_bytes, generated)
    hmac = None
    if policy.nvs.scheme is NvsScheme.HMAC and not policy.nvs.key.per_device:
        hmac = _secret(policy.nvs.key, KeyRole.NVS_HMAC.value, 32, generated)
    if hmac is not None and flash_encryption is not None and hmac.data in flash_encryption.data:
        raise UsageError(
            "SE711",
            "the NVS HMAC key and the flash encryption key are the same",
            cure="use two independent keys",
            place="nvs.key",
        )
    extra = load_extra_keys(policy, chip, generated, secret_source)
    if any(part in (hmac.data if hmac else b"", *_blocks(flash_encryption)) for part in extra.values()):
        raise UsageError(
            "SE711",
            "one of extra_keys is the flash encryption key or the NVS HMAC key",
            cure="use independent keys",
            place="extra_keys",
        )
    nvs_keys = _nvs_keys(policy.nvs.key, generated) if policy.nvs.has_keys_partition else None
    signers = load_signers(policy, keys_folder, generated, secret_source) if policy.secure_boot.enabled else ()
    material = KeyMaterial(flash_encryption, scheme, hmac, signers, nvs_partition=nvs_keys, extra=extra)
    secrets = {role.value: data for role, data in material.burned().items() if role.is_secret}
    if flash_encryption is not None:
        secrets[flash_encryption.role] = flash_encryption.data
    if nvs_keys is not None:
        secrets[NVS_KEYS] = nvs_keys.image()
    for name, data in secrets.items():
        write_secret_file(keys_folder / f"{name}.bin", data)
    for role, pem in pem_files(policy, chip, extra).items():
        write_secret_file(keys_folder / Path(pem_file(role)).name, pem)
    _keep_superseded(generated.earlier_keys, keys_folder)
    if keys_folder.is_dir():
        write_secret_file(keys_folder / KEYS_IGNORED, generated.home.ignored)
    return material


def _keep_superseded(earlier_keys: Iterable[Path], keys_folder: Path) -> None:
    """Saves what the new bundle does not use any more: it may be the only copy of a key that boards carry."""
    present = {read_file(path, IMAGE_LIMIT) for path in keys_folder.glob("*") if path.is_file()}
    for path in earlier_keys:
        if (data := read_file(path, IMAGE_LIMIT)) not in present:
            present.add(data)
            write_secret_file(keys_folder / SUPERSEDED / superseded_name(path, data), data)


def check_key_files(policy: Policy, chip: str) -> None:
    """Loads every key file that the policy names, and forgets it: for the doctor, which makes nothing.

    No passphrase is asked for and no token is opened: of what is locked, only the file's form is looked at.

    Raises what `load_key_material` raises for these files.
    """
    if policy.flash_encryption.enabled and policy.flash_encryption.key.path is not None:
        size = policy.flash_encryption.key_size
        role = KeyRole.FLASH_ENCRYPTION.value
        load_secret(policy.flash_encryption.key.path, role, (size.key_bytes,))
    if policy.nvs.scheme is NvsScheme.HMAC and policy.nvs.key.path is not None:
        load_secret(policy.nvs.key.path, KeyRole.NVS_HMAC.value, (32,))
    if policy.nvs.has_keys_partition and policy.nvs.key.path is not None:
        load_nvs_keys(policy.nvs.key.path)
    check_extra_key_files(policy, chip)
    if policy.secure_boot.enabled:
        signers_without_secrets(policy)
    if policy.per_device.seal_to is not None:
        load_sealing_key(policy.per_device.seal_to)


def _blocks(key: SecretKey | None) -> tuple[bytes, ...]:
    return () if key is None else (key.data, key.data[:32], key.data[32:])


def _cipher(size: KeySize) -> FlashEncryptionScheme:
    return FlashEncryptionScheme.ESP32 if size is KeySize.ESP32 else FlashEncryptionScheme.XTS


def _secret(source: KeySource, role: str, length: int, generated: GeneratedKeys) -> SecretKey:
    if source.path is not None:
        return load_secret(source.path, role, (length,))
    name = f"{role}.bin"
    before = generated.find(name)
    if before is None:
        secret = generate_secret(role, length)
        generated.add(name, secret.data)
        return secret
    try:
        return load_secret(before, role, (length,))
    except InputError as error:
        raise _of_another_kind(error, length) if error.code == "SE621" else error from None


def _nvs_keys(source: KeySource, generated: GeneratedKeys) -> NvsKeys:
    if source.path is not None:
        return load_nvs_keys(source.path)
    name = f"{NVS_KEYS}.bin"
    before = generated.find(name)
    if before is not None:
        return load_nvs_keys(before)
    keys = generate_nvs_keys()
    generated.add(name, keys.image())
    return keys


def _of_another_kind(error: InputError, length: int) -> InputError:
    """A key that was generated before does not fit: somebody changed what is wanted, not a file."""
    return InputError(
        "SE621",
        f"the key that was generated for this output before is of another kind: {error.cause.partition(',')[0]}, and "
        f"the present settings want {length} bytes (flash_encryption.key_size)",
        cure="set the key size back if boards carry that key; for others give another directory with -o",
        place=error.place,
    )
