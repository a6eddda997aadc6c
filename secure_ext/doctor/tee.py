# SPDX-License-Identifier: Apache-2.0
"""Rules about ESP-TEE, ESP-IDF's trusted execution environment, and the keys that it expects in eFuse."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Match, Rule, Severity, Subject


def _tee_storage_mode(subject: Subject) -> Iterator[Match]:
    config, policy = subject.build.config, subject.policy
    development = config.enabled("SECURE_ENABLE_TEE") and config.enabled("SECURE_TEE_SEC_STG_MODE_DEVELOPMENT")
    if development and (policy.flash_encryption.release or policy.secure_boot.enabled):
        yield Match(
            "CONFIG_SECURE_TEE_SEC_STG_MODE_DEVELOPMENT",
            "the TEE's secure storage is encrypted with a constant that stands in ESP-IDF's source",
        )


def _tee_keys(subject: Subject) -> Iterator[Match]:
    config = subject.build.config
    purpose = "HMAC_UP" if subject.chip.facts.hmac else "USER"
    planned = {key.block.name: key.purpose for key in subject.plan.keys}
    for name in ("SECURE_TEE_SEC_STG_EFUSE_HMAC_KEY_ID", "SECURE_TEE_PBKDF2_EFUSE_HMAC_KEY_ID"):
        key_id = config.integer(name)
        if not config.enabled("SECURE_ENABLE_TEE") or key_id is None or key_id < 0 or not subject.policy.locks_down:
            continue
        found = planned.get(f"BLOCK_KEY{key_id}")
        if found != purpose:
            held = f"burns another key there ({found})" if found else "burns nothing there"
            yield Match(
                f"CONFIG_{name}",
                f"the TEE expects a key with purpose {purpose} in BLOCK_KEY{key_id}, and the plan {held}",
                f"set CONFIG_{name} to the block of the planned HMAC key (nvs.scheme: hmac, nvs.key_id), or burn the "
                "key before the chip is provisioned"
                if purpose == "HMAC_UP"
                else "burn the key before the chip is provisioned, and keep its block free",
            )


RULES = (
    Rule(
        "SP071",
        Severity.WARNING,
        "TEE storage in development mode",
        _tee_storage_mode,
        explanation="ESP-TEE keeps keys for the application in a storage that the application cannot read. In "
        "development mode the storage is encrypted with a fixed key that is the same for everybody, so that a copy "
        "of the flash gives all of it away.",
        source="ESP-IDF components/esp_tee/Kconfig.projbuild (SECURE_TEE_SEC_STG_MODE); "
        "components/esp_tee/subproject/components/tee_sec_storage/tee_sec_storage.c",
        cure="set CONFIG_SECURE_TEE_SEC_STG_MODE_RELEASE=y and CONFIG_SECURE_TEE_SEC_STG_EFUSE_HMAC_KEY_ID "
        "(menuconfig, ESP-TEE) and build again",
    ),
    Rule(
        "SP072",
        Severity.ERROR,
        "TEE's key is not burned",
        _tee_keys,
        explanation="In release mode the TEE derives the key of its storage from a key block, which somebody must "
        "have burned: the TEE never does it itself. Without it every access to secure storage fails. With secure "
        "boot RD_DIS is write-protected once the chip is provisioned, and a key that is burned later could be read.",
        source="ESP-IDF components/esp_tee/subproject/components/tee_sec_storage/tee_sec_storage.c "
        "(read_security_cfg_hmac)",
        cure="set the TEE's key id to the block of the planned HMAC key, or burn the key before",
        why="the board runs; only secure storage fails, and the key may have been burned before",
    ),
)
