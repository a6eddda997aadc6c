# SPDX-License-Identifier: Apache-2.0
"""Rules about how far the chip is closed, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.doctor.rule import Match, Rule, Severity, Subject
from secure_ext.policy.policy import DownloadMode, FlashEncryptionMode, JtagAccess
from secure_ext.station.revision import revision_text

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


def _both_features(subject: Subject) -> Iterator[Match]:
    policy = subject.policy
    if policy.flash_encryption.release and not policy.secure_boot.enabled:
        yield Match(
            "secure_boot.enabled",
            "flash encryption without secure boot: an attacker who can change flash can run damaged code",
            "plan secure boot as well (secure_boot.enabled: true, CONFIG_SECURE_BOOT=y); ESP-IDF recommends both",
        )
    if policy.secure_boot.enabled and not policy.flash_encryption.enabled:
        if not policy.secure_boot.read_protection_stays_writable:
            yield Match(
                "flash_encryption.mode",
                "secure boot alone write-protects RD_DIS: flash encryption can never be added to these boards",
                "plan both now, or set secure_boot.keep_read_protection_writable",
            )


def _development(subject: Subject) -> Iterator[Match]:
    if subject.policy.flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT:
        can = (
            "lets anyone with a cable write plaintext that the chip then encrypts"
            if subject.policy.flash_encryption.uart_encryption_allowed
            else "can be turned off again, and then the chip runs what anyone with a cable writes"
        )
        yield Match(subject.policy.origin("flash_encryption.mode"), f"development mode {can}")


def _jtag_open(subject: Subject) -> Iterator[Match]:
    if subject.policy.locks_down and subject.policy.lockdown.jtag is JtagAccess.OPEN:
        yield Match(
            subject.policy.origin("lockdown.jtag"),
            "JTAG stays open: a debugger can read decrypted memory",
        )


def _download_open(subject: Subject) -> Iterator[Match]:
    policy = subject.policy
    development = policy.flash_encryption.mode is FlashEncryptionMode.DEVELOPMENT
    if policy.locks_down and not development and policy.lockdown.download_mode is DownloadMode.OPEN:
        yield Match(
            policy.origin("lockdown.download_mode"),
            "the download mode stays open: anyone with a cable can burn the remaining eFuses",
        )


def _pseudo_round_off(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.flash_encryption
    if policy.release and not policy.pseudo_round and subject.chip.uses("XTS_DPA_PSEUDO_LEVEL"):
        yield Match(
            subject.policy.origin("flash_encryption.pseudo_round"),
            "pseudo rounds stay off: ESP-IDF's release check will report the device as not in release mode",
        )


def _aggressive_revoke(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.secure_boot
    signers = sum(source.signs.covers(is_bootloader=True) for source in policy.keys)
    if policy.enabled and policy.aggressive_revoke and signers == 1:
        yield Match(
            subject.policy.origin("secure_boot.aggressive_revoke"),
            "with one key that signs the bootloader, one bad bootloader revokes that key and the board never boots "
            "again",
        )


def _slots_open(subject: Subject) -> Iterator[Match]:
    policy, slots = subject.policy.secure_boot, subject.chip.facts.digest_slots
    if policy.enabled and not policy.revoke_unused and len(policy.keys) < slots:
        yield Match(
            subject.policy.origin("secure_boot.revoke_unused"),
            f"{slots - len(policy.keys)} digest slots stay free: whoever can burn eFuses can add a key",
        )


_P4_FLASH_POWER = (
    (301, "v3.1 cannot write its flash, for the ROM leaves it unpowered"),
    (302, "v3.2 can write it in the first session after power-on only"),
)


def _p4_secure_download(subject: Subject) -> Iterator[Match]:
    """Only v3.1 and v3.2 leave their flash without power in download mode (esptool, `power_on_flash`)."""
    is_sealed = subject.policy.locks_down and subject.policy.lockdown.download_mode is DownloadMode.SECURE
    if not (subject.chip.facts.flash_power and is_sealed):
        return
    least, most = subject.plan.min_revision, subject.plan.max_revision
    limits = [text for revision, text in _P4_FLASH_POWER if least <= revision and (most is None or revision <= most)]
    if limits:
        yield Match("lockdown.download_mode", "in secure download mode an ESP32-P4 " + ", and a ".join(limits))


def _preview(subject: Subject) -> Iterator[Match]:
    if subject.chip.facts.preview:
        yield Match(
            subject.chip.name,
            "ESP-IDF supports this chip as a preview: its eFuses and features may still change",
        )


def _revision(subject: Subject) -> Iterator[Match]:
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
            yield Match(
                "minimum chip revision",
                f"the build allows chips from {revision_text(built)}, but {feature} on {subject.chip.name} "
                f"needs {revision_text(revision)}; the script will stop on older chips",
                f"choose {revision_text(revision)} as minimum supported revision (menuconfig, Hardware "
                f"Settings, Chip revision; CONFIG_{subject.chip.name.upper()}_REV_MIN_FULL={revision}) and build again",
            )


def _later_revision_only(subject: Subject) -> Iterator[Match]:
    """Only where boards of both kinds can come: the plan itself may stop on the older ones, or on the later ones."""
    facts, plan, policy = subject.chip.facts, subject.plan, subject.policy
    disabled = policy.locks_down and policy.lockdown.download_mode is DownloadMode.DISABLED
    for what, revision, applies in (
        ("pseudo rounds", facts.pseudo_round_revision, bool(policy.flash_encryption.pseudo_round)),
        ("locking the ECDSA curve", facts.ecdsa_curve_mode_revision, policy.secure_boot.enabled),
        ("disabling the download mode", facts.uart_download_disable_revision, disabled),
    ):
        later_ones_come = plan.max_revision is None or plan.max_revision >= revision
        if applies and plan.min_revision < revision and later_ones_come:
            yield Match(
                "minimum chip revision",
                f"{what} needs {subject.chip.name} {revision_text(revision)}; the script leaves it out on older chips, "
                "which the build allows",
            )


def _capabilities(subject: Subject) -> Iterator[Match]:
    """ESP-IDF lists what the newest revision can do; a field that no board of the plan has yet is not missed."""
    most = subject.plan.max_revision
    not_yet = (
        {"XTS_DPA_PSEUDO_LEVEL"} if most is not None and most < subject.chip.facts.pseudo_round_revision else set()
    )
    for symbol, field in _SOC_FIELDS.items():
        if subject.build.config.enabled(symbol) and field not in not_yet and not subject.chip.uses(field):
            yield Match(
                f"CONFIG_{symbol}",
                f"this ESP-IDF says {subject.chip.name} has {field}, which secure-provision does not burn there",
            )


def _rom_basic_open(subject: Subject) -> Iterator[Match]:
    open_ = subject.chip.uses("CONSOLE_DEBUG_DISABLE") and not subject.policy.lockdown.rom_basic_disabled
    if subject.policy.locks_down and open_:
        yield Match(
            subject.policy.origin("lockdown.rom_basic"),
            "the BASIC interpreter of the ROM stays reachable: it starts when nothing boots, and peeks into memory",
        )


def _uart_reads_flash(subject: Subject) -> Iterator[Match]:
    policy = subject.policy.flash_encryption
    for allowed, name in (
        (policy.uart_decryption_allowed, "SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC"),
        (policy.uart_cache_allowed, "SECURE_FLASH_UART_BOOTLOADER_ALLOW_CACHE"),
    ):
        if allowed:
            yield Match(f"CONFIG_{name}", "the download mode hands out decrypted flash: encryption protects nothing")


def _read_protection_open(subject: Subject) -> Iterator[Match]:
    policy = subject.policy
    if (
        policy.secure_boot.read_protection_stays_writable
        and policy.secure_boot.enabled
        and policy.flash_encryption.release
    ):
        yield Match(
            policy.origin("secure_boot.keep_read_protection_writable"),
            "RD_DIS stays writable: code on the chip can hide the signing key's digest, and nothing boots ever again",
        )


RULES = (
    Rule(
        "SP040",
        Severity.WARNING,
        "only one of flash encryption and secure boot",
        _both_features,
        explanation="Flash encryption hides, secure boot vouches; each leaves a gap that the other closes. Encrypted "
        "flash can still be exchanged or damaged block by block. Secure boot alone write-protects RD_DIS, so that no "
        "key can be hidden later: whoever starts with secure boot can never add flash encryption.",
        source="ESP-IDF issues 11888 and 10927; manual, Security Overview",
        cure="plan both now",
    ),
    Rule(
        "SP041",
        Severity.WARNING,
        "development mode",
        _development,
        explanation="In development mode the download mode still encrypts what it is given, and the feature can be "
        "turned off again a few times. That is meant for a desk. A board in the field can be given any firmware by "
        "cable.",
        source="ESP-IDF manual, Flash Encryption, Development Mode; ESP-IDF issue 11307",
        cure="set flash_encryption.mode: release and CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE=y for boards that "
        "leave the house",
    ),
    Rule(
        "SP042",
        Severity.WARNING,
        "JTAG stays open",
        _jtag_open,
        explanation="A debugger on the JTAG pins, or on the built-in USB port, halts the processor and reads memory "
        "and flash as the processor sees it, decrypted. It can also run code that nothing verified.",
        source="ESP-IDF manual, Security Overview, JTAG; components/bootloader/Kconfig.projbuild "
        "(SECURE_BOOT_ALLOW_JTAG)",
        cure="set lockdown.jtag: disabled in the profile (CONFIG_SECURE_BOOT_ALLOW_JTAG=n) for boards that leave the "
        "house",
        settings=(("SECURE_BOOT_ALLOW_JTAG", False),),
    ),
    Rule(
        "SP043",
        Severity.WARNING,
        "download mode stays open",
        _download_open,
        explanation="With an open download mode the ROM obeys anyone with a cable: it reads and writes memory and "
        "burns eFuses. Flash stays encrypted and unsigned code does not boot, but whoever burns the wrong eFuse has "
        "ended the board's life.",
        source="ESP-IDF manual, Security Overview, UART Download Mode; components/bootloader/Kconfig.projbuild "
        "(SECURE_UART_ROM_DL_MODE)",
        cure="set lockdown.download_mode: secure (esp32: disabled)",
    ),
    Rule(
        "SP044",
        Severity.WARNING,
        "pseudo rounds stay off",
        _pseudo_round_off,
        explanation="Pseudo rounds put dummy work between the real rounds of the cipher, which makes it harder to "
        "find the key by measuring the current. Release mode of ESP-IDF turns them on where the chip has them, and "
        "its check of a device expects them.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_FLASH_PSEUDO_ROUND_FUNC); "
        "components/bootloader_support/src/flash_encrypt.c (esp_flash_encryption_cfg_verify_release_mode)",
        cure="set flash_encryption.pseudo_round: 1",
    ),
    Rule(
        "SP045",
        Severity.WARNING,
        "aggressive revocation with one key",
        _aggressive_revoke,
        explanation="With aggressive revocation the ROM revokes a key the first time that a signature made with it "
        "fails. A bootloader that is damaged in flash is enough. If that was the only key, nothing can ever be "
        "signed for the board again.",
        source="ESP-IDF manual, Secure Boot V2, Aggressive Key Revocation; ESP-IDF issue 12851",
        cure="give two or three signing keys, or set secure_boot.aggressive_revoke: false",
    ),
    Rule(
        "SP046",
        Severity.WARNING,
        "digest slots stay free",
        _slots_open,
        explanation="A chip with room for three key digests accepts a signature by any of them. As long as a slot is "
        "neither used nor revoked, whoever can burn eFuses can add a key of their own, and sign.",
        source="ESP-IDF issue 12979; components/bootloader/Kconfig.projbuild (SECURE_BOOT_ALLOW_UNUSED_DIGEST_SLOTS)",
        cure="set secure_boot.revoke_unused: true, unless a later key is planned",
    ),
    Rule(
        "SP047",
        Severity.WARNING,
        "ESP32-P4 cannot write flash in secure download mode",
        _p4_secure_download,
        explanation="Revisions 3.1 and 3.2 of an ESP32-P4 leave the flash without power in download mode. Before the "
        "chip is sealed esptool turns it on (v3.1: esptool 4.11, 5.2 or later; v3.2: 4.12, 5.3 or later); in secure "
        "download mode nobody can, so that on v3.1 not even a signed update can be written by cable. On v3.2 the plan "
        "burns an eFuse that makes the ROM do it (DOWNLOAD_MODE_XPD_ON); but its ROM does so once: entered again "
        "without a power cycle, the download mode may not reach the flash. Other revisions are not concerned.",
        source="esptool, targets/esp32p4.py (power_on_flash); espefuse/efuse/esp32p4/fields.py (DOWNLOAD_MODE_XPD_ON)",
        cure="plan updates over the air; by cable, switch a v3.2 board off and on before each session",
    ),
    Rule(
        "SP048",
        Severity.WARNING,
        "preview chip",
        _preview,
        explanation="ESP-IDF supports the chip as a preview: fields, key blocks and errata can still change, and "
        "this tool follows what is known so far.",
        source="ESP-IDF tools/idf_py_actions/constants.py (PREVIEW_TARGETS)",
        cure="try on a board you can lose, and look at the plan with every new version",
    ),
    Rule(
        "SP049",
        Severity.WARNING,
        "build allows chips that are too old",
        _revision,
        explanation="The feature exists only from a certain revision of the chip on, and the build allows older "
        "ones. The script reads the revision of each chip and stops on those. A build that says so itself also makes "
        "the bootloader refuse them.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT); "
        "components/esp_hw_support/port/<chip>/Kconfig.hw_support",
        cure="raise the minimum supported revision (menuconfig, Hardware Settings, Chip revision) and build again",
    ),
    Rule(
        "SP050",
        Severity.WARNING,
        "step left out on older chips",
        _later_revision_only,
        explanation="The plan has a step for which older revisions of the chip have no eFuse. The script does it "
        "where it can and leaves it out elsewhere, so that boards with an older chip come out less closed than "
        "others.",
        source="ESP-IDF components/esp_hal_mspi/<chip>/include/hal/spi_flash_encrypted_ll.h; "
        "components/efuse/esp32/esp_efuse_fields.c",
        cure="raise the minimum supported revision in menuconfig, if all boards have newer chips",
    ),
    Rule(
        "SP051",
        Severity.WARNING,
        "chip has a lock-down field that is not covered",
        _capabilities,
        explanation="The build's own list of what the chip can do names an eFuse that this tool does not burn there. "
        "ESP-IDF is then newer than the tool, and the chip would stay a little more open than ESP-IDF would leave it.",
        source="ESP-IDF components/soc/<chip>/include/soc/Kconfig.soc_caps.in",
        cure="update secure-provision and esptool",
    ),
    Rule(
        "SP052",
        Severity.WARNING,
        "ROM BASIC stays open",
        _rom_basic_open,
        explanation="The ROM of an ESP32 falls back to a BASIC interpreter when it finds nothing to boot. It reads "
        "and writes memory and registers. An attacker who damages the flash gets it, and with it a foothold beside "
        "secure boot.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_ALLOW_ROM_BASIC)",
        cure="set lockdown.rom_basic: disabled in the profile (CONFIG_SECURE_BOOT_ALLOW_ROM_BASIC=n)",
        settings=(("SECURE_BOOT_ALLOW_ROM_BASIC", False),),
    ),
    Rule(
        "SP053",
        Severity.WARNING,
        "download mode can read the flash decrypted",
        _uart_reads_flash,
        explanation="In development mode these options leave the ROM able to decrypt flash for whoever asks over the "
        "serial port. That is weaker than development mode itself, which only lets new plaintext in. Once the board "
        "is provisioned so, all that was ever in its flash can be read.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_FLASH_UART_BOOTLOADER_ALLOW_DEC, _ALLOW_CACHE)",
        cure="set the option to n (menuconfig, Security features, Potentially insecure options) and build again",
    ),
    Rule(
        "SP054",
        Severity.WARNING,
        "read protections stay writable",
        _read_protection_open,
        explanation="The digest of the signing key must stay readable, or the ROM compares with zeros and boots "
        "nothing. RD_DIS is therefore write-protected once all secret keys are hidden. Left writable, a single bit "
        "burned by faulty or hostile code ends the board. With flash encryption planned as well, nothing needs it.",
        source="ESP-IDF components/bootloader/Kconfig.projbuild (SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS)",
        cure="set secure_boot.keep_read_protection_writable: false and CONFIG_SECURE_BOOT_V2_ALLOW_EFUSE_RD_DIS=n, "
        "and have the plan burn every key that must be hidden",
    ),
)
