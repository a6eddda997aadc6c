# SPDX-License-Identifier: Apache-2.0
"""The firmware's own keys of one bundle: loaded from their files, found where generated keys are kept, or generated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from secure_ext.bundle.generated_keys import GeneratedKeys
from secure_ext.chips.facts import chip_facts
from secure_ext.errors import UsageError
from secure_ext.keys.ecdsa_key import generate_ecdsa_key, key_as_pem, key_parts, load_ecdsa_key, pem_of_block
from secure_ext.keys.secret_source import NO_SECRETS, SecretSource
from secure_ext.keys.symmetric import generate_secret, load_secret, refuse_weak
from secure_ext.plan.key_blocks import burned_purposes, extra_key_roles
from secure_ext.plan.steps import KeyRole
from secure_ext.policy.extra_key import HMAC_PURPOSES
from secure_ext.policy.policy import ExtraKeyPolicy, Policy

HMAC_BYTES = 32


def load_extra_keys(
    policy: Policy, chip: str, generated: GeneratedKeys, secrets: SecretSource = NO_SECRETS
) -> dict[KeyRole, bytes]:
    """What the blocks of the keys hold that are not each board's own, by role.

    Raises the InputErrors SE601 to SE641 of a bad key file and SE734 to SE736 of keys that were generated before;
    UsageError SE711 for the same key twice.
    """
    roles = tuple(extra_key_roles(policy.extra_keys))
    burned: dict[KeyRole, bytes] = {}
    for extra in policy.extra_keys:
        if extra.key.per_device:
            continue
        parts = _parts(extra, chip, generated, secrets)
        if set(parts) & set(burned.values()):
            raise UsageError(
                "SE711",
                f"the extra key {extra.name} and another one are the same",
                cure="use two independent keys",
                place=f"extra_keys.{extra.name}",
            )
        burned |= dict(zip((role for role, other in roles if other is extra), parts, strict=True))
    return burned


def pem_files(policy: Policy, chip: str, burned: Mapping[KeyRole, bytes]) -> dict[KeyRole, bytes]:
    """Those of the `burned` keys as PEM that espefuse takes so, by role."""
    curves = chip_facts(chip).ecdsa_curves
    return {
        role: pem_of_block(burned[role], curves[extra.purpose])
        for role, extra in extra_key_roles(policy.extra_keys)
        if role in burned and extra.purpose in curves and len(burned_purposes(extra.purpose)) == 1
    }


def check_extra_key_files(policy: Policy, chip: str) -> None:
    """Loads every file that the policy names, and forgets it. Raises what `load_extra_keys` raises for these files."""
    for extra in policy.extra_keys:
        if extra.key.path is not None:
            _from_file(extra, chip, extra.key.path, NO_SECRETS)


def _parts(extra: ExtraKeyPolicy, chip: str, generated: GeneratedKeys, secrets: SecretSource) -> tuple[bytes, ...]:
    if extra.key.path is not None:
        return _from_file(extra, chip, extra.key.path, secrets)
    is_hmac = extra.purpose in HMAC_PURPOSES
    name = f"extra_key_{extra.name}.{'bin' if is_hmac else 'pem'}"
    before = generated.find(name)
    if before is not None:
        return _from_file(extra, chip, before, NO_SECRETS)
    if is_hmac:
        data = generate_secret(name, HMAC_BYTES).data
        generated.add(name, data)
        return (data,)
    key = generate_ecdsa_key(chip_facts(chip).ecdsa_curves[extra.purpose][0])
    generated.add(name, key_as_pem(key))
    return key_parts(key)


def _from_file(extra: ExtraKeyPolicy, chip: str, path: Path, secrets: SecretSource) -> tuple[bytes, ...]:
    if extra.purpose in HMAC_PURPOSES:
        return (load_secret(path, extra.name, (HMAC_BYTES,)).data,)
    parts = key_parts(load_ecdsa_key(path, chip_facts(chip).ecdsa_curves[extra.purpose], secrets))
    for part in parts:
        number = part.lstrip(b"\0")
        refuse_weak(number, (len(number),), str(path))
    return parts
