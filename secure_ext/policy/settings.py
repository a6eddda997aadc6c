# SPDX-License-Identifier: Apache-2.0
"""The settings of a profile: one table that gives its validation, its JSON Schema and its commented template."""

from __future__ import annotations

import enum

from secure_ext.policy.extra_key import extra_keys_schema
from secure_ext.policy.identity_key import IDENTITY_KEYS
from secure_ext.policy.signing_entry import entry_schema
from secure_ext.station.frozen import frozen


class Kind(enum.Enum):
    """What a setting's value looks like in YAML."""

    CHOICE = "choice"
    FLAG = "flag"
    INTEGER = "integer"
    TEXT = "text"
    TEXT_LIST = "list of texts"
    TEXT_MAP = "map of texts"
    KEY_LIST = "list of keys"
    NUMBER_MAP = "map of numbers"
    EXTRA_KEYS = "map of extra keys"


@frozen
class Setting:
    """One key of a profile.

    Attributes:
        key: dotted path, such as ``flash_encryption.mode``.
        kind: form of the value.
        help: what it decides, for the template and the documentation.
        example: value shown in the template, as YAML.
        choices: allowed values of a CHOICE, or of the entries of a TEXT_LIST or a TEXT_MAP; all where it is empty.
        limits: smallest and largest INTEGER, or number of a NUMBER_MAP.
    """

    key: str
    kind: Kind
    help: str
    example: str
    choices: tuple[str, ...] = ()
    limits: tuple[int, int] = (0, 0)


KEY_BLOCKS = tuple(f"KEY{number}" for number in range(6))
"""espefuse's BLOCK_KEY0 to BLOCK_KEY5."""
SETTINGS = (
    Setting("schema", Kind.INTEGER, "Version of this file format.", "1", limits=(1, 1)),
    Setting(
        "flash_encryption.mode",
        Kind.CHOICE,
        "off, development (can be turned off again, NOT for production) or release (for ever).",
        "release",
        choices=("off", "development", "release"),
    ),
    Setting(
        "flash_encryption.key_size",
        Kind.CHOICE,
        "AES bits of XTS: 128, 256 (esp32s2, esp32s3, esp32p4), 128-derived (esp32c2). esp32 has one kind.",
        "128",
        choices=("128", "256", "128-derived", "esp32"),
    ),
    Setting(
        "flash_encryption.key",
        Kind.TEXT,
        "per-device: each device gets its own; generate: a new random key for this bundle; or a key file.",
        "generate",
    ),
    Setting(
        "flash_encryption.pseudo_round",
        Kind.INTEGER,
        "XTS_DPA_PSEUDO_LEVEL, where the chip has it: 0 off, 1 low, 2 medium, 3 high.",
        "1",
        limits=(0, 3),
    ),
    Setting("secure_boot.enabled", Kind.FLAG, "Secure Boot V2: only signed firmware boots, for ever.", "true"),
    Setting(
        "secure_boot.scheme",
        Kind.CHOICE,
        "Kind of signature; it must be the one the firmware was built for.",
        "rsa3072",
        choices=("rsa3072", "ecdsa256", "ecdsa384"),
    ),
    Setting(
        "secure_boot.keys",
        Kind.KEY_LIST,
        "One to three: private PEM, public PEM (signed elsewhere), pkcs11: URI, or generate; or a map of key and signs "
        "(all, bootloader, or nothing: a spare, of which only the digest is burned). esp32, esp32c2: one.",
        "[signing_key.pem, {key: spare_public.pem, signs: nothing}]",
    ),
    Setting(
        "secure_boot.revoke_unused",
        Kind.FLAG,
        "Revoke the digest slots that hold no key, so that nobody adds one later.",
        "true",
    ),
    Setting(
        "secure_boot.aggressive_revoke",
        Kind.FLAG,
        "Revoke a key the first time a bootloader signed by it fails verification. Can brick a board on a bad update.",
        "false",
    ),
    Setting(
        "secure_boot.keep_read_protection_writable",
        Kind.FLAG,
        "Leave RD_DIS writable so that read-protected keys can be added later. An attacker may then hide the digest.",
        "false",
    ),
    Setting(
        "nvs.scheme",
        Kind.CHOICE,
        "How NVS encryption keys are protected: off, hmac (a key in eFuse) or flash-encryption (nvs_keys partition).",
        "hmac",
        choices=("off", "hmac", "flash-encryption"),
    ),
    Setting(
        "nvs.key",
        Kind.TEXT,
        "hmac: generate, per-device, or a file of 32 bytes. flash-encryption: generate, device, or a file.",
        "generate",
    ),
    Setting(
        "nvs.key_id",
        Kind.INTEGER,
        "Key block for the HMAC key; must equal CONFIG_NVS_SEC_HMAC_EFUSE_KEY_ID.",
        "5",
        limits=(0, 5),
    ),
    Setting(
        "nvs.images",
        Kind.TEXT_MAP,
        "Partition label: CSV of its values, for NVS partitions; the images are made, and encrypted, with the bundle.",
        "{nvs: nvs.csv}",
    ),
    Setting(
        "per_device.keep",
        Kind.CHOICE,
        "What becomes of a per-device key once it is burned: destroy, or sealed (a copy for the owner of seal_to).",
        "destroy",
        choices=("destroy", "sealed"),
    ),
    Setting(
        "per_device.seal_to",
        Kind.TEXT,
        "Public key (PEM, X25519 or RSA) of sealed copies; its private half stays off the station.",
        "sealing_public.pem",
    ),
    Setting(
        "key_blocks",
        Kind.TEXT_MAP,
        "Key: its block, for flash_encryption (of 256 bits flash_encryption_1 and _2) and secure_boot_digest_0 to _2. "
        "The others take the first block that fits. The block of the NVS key is nvs.key_id.",
        "{flash_encryption: KEY2}",
        choices=KEY_BLOCKS,
    ),
    Setting(
        "reserved_key_blocks",
        Kind.TEXT_LIST,
        "Key blocks that the plan leaves alone. With RD_DIS locked, nothing can be added to them that must be hidden.",
        "[KEY1]",
        choices=KEY_BLOCKS,
    ),
    Setting(
        "extra_keys",
        Kind.EXTRA_KEYS,
        "Further keys for the firmware, by a name of yours, with what the chip may use them for. Nobody can read them. "
        "Its key is a file (32 bytes, for ECDSA a private PEM), generate or per-device.",
        "{signature: {purpose: HMAC_DOWN_DIGITAL_SIGNATURE, key: ds.bin, block: KEY4}}",
    ),
    Setting(
        "identity.key",
        Kind.CHOICE,
        "Each board gets a certificate of its own, for a key that only it has: RSA by the digital signature "
        "peripheral, or ECDSA on P-256 in eFuse.",
        "rsa3072",
        choices=IDENTITY_KEYS,
    ),
    Setting("identity.ca", Kind.TEXT, "Certificate (PEM) of the CA, its own issuers behind it if any.", "ca.pem"),
    Setting(
        "identity.subject",
        Kind.TEXT,
        "Subject of the certificates (RFC 4514), with {mac} or {serial}, or both.",
        "'CN={mac},O=Example'",
    ),
    Setting("identity.days", Kind.INTEGER, "How long they are valid.", "7300", limits=(1, 36500)),
    Setting("identity.block", Kind.CHOICE, "Key block of the key in eFuse.", "KEY4", choices=KEY_BLOCKS),
    Setting(
        "place",
        Kind.CHOICE,
        "Where a board has a key of somebody else's in a block of the plan: stop (plan), or put the key of flash "
        "encryption and the digests into free blocks (station). Wants keep.",
        "station",
        choices=("plan", "station"),
    ),
    Setting(
        "keys.home",
        Kind.TEXT,
        "Folder that keeps generated keys, apart for each project, chip and output; else secure_keys in the project.",
        "secure_keys",
    ),
    Setting(
        "lockdown.download_mode",
        Kind.CHOICE,
        "secure (esptool can still write flash), disabled (no UART access ever again) or open. esp32 has no secure.",
        "secure",
        choices=("secure", "disabled", "open"),
    ),
    Setting(
        "lockdown.jtag",
        Kind.CHOICE,
        "JTAG debugging: disabled for ever; hmac: closed, and opened by firmware that has the token of a key in "
        "extra_keys (HMAC_DOWN_JTAG or HMAC_DOWN_ALL); or open.",
        "disabled",
        choices=("disabled", "hmac", "open"),
    ),
    Setting(
        "lockdown.rom_basic",
        Kind.CHOICE,
        "esp32: the BASIC interpreter in ROM.",
        "disabled",
        choices=("disabled", "open"),
    ),
    Setting(
        "boot",
        Kind.TEXT,
        "App partition that a new board starts, by label or subtype: the build's app goes there, unless `images` names "
        "another for it, and the OTA data are made to say so. Else as ESP-IDF does.",
        "ota_0",
    ),
    Setting(
        "images",
        Kind.TEXT_MAP,
        "Partition label: image file, for partitions that flasher_args.json does not name.",
        "{storage: storage.bin}",
    ),
    Setting(
        "blank_partitions",
        Kind.TEXT_MAP,
        "Partition label: what an encrypted partition without an image holds: erased, or encrypted 0xFF bytes.",
        "{storage: erased}",
        choices=("erased", "encrypted"),
    ),
    Setting(
        "keep",
        Kind.TEXT_LIST,
        "What boards carry in flash already, and keep: partition labels, or ranges (0x9000+0x2000). With it, empty as "
        "well, boards may carry user data and a custom MAC address in eFuse, and keys in reserved_key_blocks.",
        "[esp_secure_cert]",
    ),
    Setting(
        "efuses",
        Kind.NUMBER_MAP,
        "Further eFuses by espefuse's name, and what they become: ROM output, secure version, protections, and with "
        "care voltages and pins.",
        "{UART_PRINT_CONTROL: 3}",
        limits=(1, 0xFFFFFFFF),
    ),
    Setting(
        "custom_mac",
        Kind.TEXT,
        "MAC address in eFuse beside the chip maker's, in quotes; or a list (.csv), of which each board gets its own.",
        "'02:00:00:12:34:56'",
    ),
    Setting(
        "user_data",
        Kind.TEXT,
        "File with up to 32 bytes (esp32c2: 11) for the eFuse block of user data. They can be read by everybody.",
        "user_data.bin",
    ),
    Setting(
        "write_protect_user_block",
        Kind.FLAG,
        "Write-protect the block of custom_mac and user_data, so that nobody burns more bits of it.",
        "true",
    ),
    Setting(
        "doctor.accept",
        Kind.TEXT_LIST,
        "Codes of findings that you have read and accept, for example SP020.",
        "[]",
    ),
)


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of a profile."""
    properties: dict[str, object] = {}
    sections: dict[str, dict[str, object]] = {}
    for setting in SETTINGS:
        section, _, name = setting.key.rpartition(".")
        if section:
            sections.setdefault(section, {})[name] = _value_schema(setting)
            properties[section] = {
                "type": ["object", "null"],
                "properties": sections[section],
                "additionalProperties": False,
            }
        else:
            properties[setting.key] = _value_schema(setting)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "idf-secure-provision profile",
        "type": "object",
        "properties": properties,
        "required": ["schema"],
        "additionalProperties": False,
    }


def _value_schema(setting: Setting) -> dict[str, object]:
    schema: dict[str, object] = {"description": setting.help}
    text = {"type": "string", "minLength": 1}
    if setting.kind is Kind.CHOICE:
        # YAML 1.1 reads off as false and 128 as a number; both mean what they say
        values: list[object] = list(setting.choices)
        values += [False] if "off" in setting.choices else []
        values += [int(choice) for choice in setting.choices if choice.isdecimal()]
        schema["enum"] = values
    elif setting.kind is Kind.FLAG:
        schema["type"] = "boolean"
    elif setting.kind is Kind.INTEGER:
        schema |= {"type": "integer", "minimum": setting.limits[0], "maximum": setting.limits[1]}
    elif setting.kind is Kind.TEXT:
        schema |= text
    elif setting.kind is Kind.TEXT_LIST:
        schema |= {"type": "array", "items": {"enum": list(setting.choices)} if setting.choices else text}
    elif setting.kind is Kind.KEY_LIST:
        schema |= {"type": "array", "items": entry_schema()}
    elif setting.kind is Kind.EXTRA_KEYS:
        schema |= extra_keys_schema()
    elif setting.kind is Kind.NUMBER_MAP:
        low, high = setting.limits
        schema |= {
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": {"type": "integer", "minimum": low, "maximum": high},
        }
    else:
        schema |= {
            "type": "object",
            "propertyNames": {"minLength": 1},
            "additionalProperties": {"enum": list(setting.choices)} if setting.choices else text,
        }
    return schema


def template() -> str:
    """A profile in which every setting is explained and commented out; taking one ``#`` away puts it in force."""
    lines = [
        "# Profile for secure-provision. Everything has a default from sdkconfig; what stands here overrides it.",
        "# Paths are relative to this file. Take the # from what you want to change.",
    ]
    section = ""
    for setting in SETTINGS:
        head, _, name = setting.key.rpartition(".")
        if head != section:
            section = head
            lines += ["", f"{section}:"] if section else [""]
        indent = "  " if section else ""
        lines.append(f"{indent}# {setting.help}")
        lines.append(f"{indent}{'' if setting.key == 'schema' else '#'}{name}: {setting.example}")
    return "\n".join(lines) + "\n"
