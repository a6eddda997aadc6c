"""Rules about how far the chip is closed, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.policy.policy import DownloadMode, FlashEncryptionMode

_SOC_FIELDS = {
    "SOC_EFUSE_DIS_PAD_JTAG": "DIS_PAD_JTAG",
    "SOC_EFUSE_DIS_USB_JTAG": "DIS_USB_JTAG",
    "SOC_EFUSE_SOFT_DIS_JTAG": "SOFT_DIS_JTAG",
    "SOC_EFUSE_DIS_BOOT_REMAP": "DIS_BOOT_REMAP",
    "SOC_EFUSE_DIS_DIRECT_BOOT": "DIS_DIRECT_BOOT",
    "SOC_EFUSE_DIS_LEGACY_SPI_BOOT": "DIS_LEGACY_SPI_BOOT",
    "SOC_EFUSE_DIS_DOWNLOAD_ICACHE": "DIS_DOWNLOAD_ICACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_DCACHE": "DIS_DOWNLOAD_DCACHE",
    "SOC_EFUSE_DIS_DOWNLOAD_MSPI": "SPI_DOWNLOAD_MSPI_DIS",
    "SOC_FLASH_ENCRYPTION_XTS_AES_SUPPORT_PSEUDO_ROUND": "XTS_DPA_PSEUDO_LEVEL",
}
"""ESP-IDF's capabilities (``components/soc/<chip>/include/soc/Kconfig.soc_caps.in``) and the fields they stand for."""


def _both_features(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy
    if policy.flash_encryption.release and not policy.secure_boot.enabled:
        yield Hit(
            "secure_boot.enabled",
            "flash encryption without secure boot: an attacker who can change flash can run damaged code",
            "enable secure boot as well; ESP-IDF recommends both for production",
        )
    if policy.secure_boot.enabled and not policy.flash_encryption.enabled:
        if not policy.secure_boot.read_protection_stays_writable:
            yield Hit(
                "flash_encryption.mode",
                "secure boot alone write-protects RD_DIS: flash encryption can never be added to these boards",
                "plan both now, or set secure_boot.keep_read_protection_writable",
            )


def _development(subject: Subject) -> Iterator[Hit]:
    if subject.policy.flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT:
        yield Hit(
            subject.policy.origin("flash_encryption.mode"),
            "development mode lets anyone with a cable write plaintext that the chip then encrypts",
            "use release mode for boards that leave the house",
        )


def _jtag_open(subject: Subject) -> Iterator[Hit]:
    if subject.policy.locks_down and not subject.policy.lockdown.jtag_disabled:
        yield Hit(
            subject.policy.origin("lockdown.jtag"),
            "JTAG stays open: a debugger can read decrypted memory",
            "set lockdown.jtag: disabled for boards that leave the house",
        )


def _download_open(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy
    development = policy.flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT
    if policy.locks_down and not development and policy.lockdown.download_mode is DownloadMode.OPEN:
        yield Hit(
            policy.origin("lockdown.download_mode"),
            "the download mode stays open: anyone with a cable can burn the remaining eFuses",
            "set lockdown.download_mode: secure (esp32: disabled)",
        )


def _pseudo_round_off(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy.flash_encryption
    if policy.release and not policy.pseudo_round and subject.chip.uses("XTS_DPA_PSEUDO_LEVEL"):
        yield Hit(
            subject.policy.origin("flash_encryption.pseudo_round"),
            "pseudo rounds stay off: ESP-IDF's release check will report the device as not in release mode",
            "set flash_encryption.pseudo_round: 1",
        )


def _aggressive_revoke(subject: Subject) -> Iterator[Hit]:
    policy = subject.policy.secure_boot
    if policy.enabled and policy.aggressive_revoke and len(policy.keys) == 1:
        yield Hit(
            subject.policy.origin("secure_boot.aggressive_revoke"),
            "with one signing key, one bad bootloader revokes the only key and the board never boots again",
            "give two or three signing keys, or leave aggressive_revoke off",
        )


def _slots_open(subject: Subject) -> Iterator[Hit]:
    policy, slots = subject.policy.secure_boot, subject.chip.facts.digest_slots
    if policy.enabled and not policy.revoke_unused and len(policy.keys) < slots:
        yield Hit(
            subject.policy.origin("secure_boot.revoke_unused"),
            f"{slots - len(policy.keys)} digest slots stay free: whoever can burn eFuses can add a key",
            "leave revoke_unused on, unless a later key is planned",
        )


def _p4_secure_download(subject: Subject) -> Iterator[Hit]:
    if subject.chip.name == "esp32p4" and subject.policy.lockdown.download_mode is DownloadMode.SECURE:
        if subject.policy.locks_down:
            yield Hit(
                "lockdown.download_mode",
                "in secure download mode an ESP32-P4 up to v3.1 cannot write its flash: the ROM leaves it unpowered",
                "plan updates over the air only; the images are written before the chip is sealed",
            )


def _preview(subject: Subject) -> Iterator[Hit]:
    if subject.chip.facts.preview:
        yield Hit(
            subject.chip.name,
            "ESP-IDF supports this chip as a preview: its eFuses and features may still change",
            "try on a board you can lose, and look at the plan with every new version",
        )


def _revision(subject: Subject) -> Iterator[Hit]:
    facts, built = subject.chip.facts, subject.build.min_revision
    policy = subject.policy
    wanted = [
        ("secure boot", facts.secure_boot_revision if policy.secure_boot.enabled else 0),
        (
            "ECDSA-384",
            facts.sha384_revision if policy.secure_boot.enabled and policy.secure_boot.scheme == "ecdsa384" else 0,
        ),
    ]
    for feature, revision in wanted:
        if built < revision:
            yield Hit(
                "minimum chip revision",
                f"the build allows chips from v{built // 100}.{built % 100}, but {feature} on {subject.chip.name} "
                f"needs v{revision // 100}.{revision % 100}; the script will stop on older chips",
                "set the minimum supported revision in menuconfig (Hardware Settings, Chip revision)",
            )


def _later_revision_only(subject: Subject) -> Iterator[Hit]:
    facts, built = subject.chip.facts, subject.build.min_revision
    policy = subject.policy
    disabled = policy.locks_down and policy.lockdown.download_mode is DownloadMode.DISABLED
    for what, revision, applies in (
        ("pseudo rounds", facts.pseudo_round_revision, bool(policy.flash_encryption.pseudo_round)),
        ("locking the ECDSA curve", facts.ecdsa_curve_mode_revision, policy.secure_boot.enabled),
        ("disabling the download mode", facts.uart_download_disable_revision, disabled),
    ):
        if applies and built < revision:
            yield Hit(
                "minimum chip revision",
                f"{what} needs {subject.chip.name} v{revision // 100}.{revision % 100}; the script leaves it out on "
                "older chips, which the build allows",
                "raise the minimum supported revision in menuconfig, if all boards have newer chips",
            )


def _capabilities(subject: Subject) -> Iterator[Hit]:
    for symbol, field in _SOC_FIELDS.items():
        if subject.build.config.enabled(symbol) and not subject.chip.uses(field):
            yield Hit(
                f"CONFIG_{symbol}",
                f"this ESP-IDF says {subject.chip.name} has {field}, which secure-provision does not burn there",
                "update secure-provision and esptool",
            )


RULES = (
    Rule("SP040", Severity.WARNING, "only one of flash encryption and secure boot", _both_features),
    Rule("SP041", Severity.WARNING, "development mode", _development),
    Rule("SP042", Severity.WARNING, "JTAG stays open", _jtag_open),
    Rule("SP043", Severity.WARNING, "download mode stays open", _download_open),
    Rule("SP044", Severity.WARNING, "pseudo rounds stay off", _pseudo_round_off),
    Rule("SP045", Severity.WARNING, "aggressive revocation with one key", _aggressive_revoke),
    Rule("SP046", Severity.WARNING, "digest slots stay free", _slots_open),
    Rule("SP047", Severity.WARNING, "ESP32-P4 cannot write flash in secure download mode", _p4_secure_download),
    Rule("SP048", Severity.WARNING, "preview chip", _preview),
    Rule("SP049", Severity.WARNING, "build allows chips that are too old", _revision),
    Rule("SP050", Severity.WARNING, "step left out on older chips", _later_revision_only),
    Rule("SP051", Severity.WARNING, "chip has a lock-down field that is not covered", _capabilities),
)
