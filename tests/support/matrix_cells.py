# SPDX-License-Identifier: Apache-2.0
"""The cells of the matrix: one chip with one set of features, its build, and the bundle made of it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor.decide import decide
from secure_ext.formats.partition_table import Partition
from secure_ext.policy.profile import Profile
from secure_ext.sample import SampleOptions, make_sample_build
from support.matrix_tools import espsecure
from support.release_oracle import Wanted

TEN_CHIPS = (
    *("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3"),
    *("esp32c5", "esp32c6", "esp32c61", "esp32h2", "esp32p4"),
)
ONE_SLOT = ("esp32", "esp32c2")
WITHOUT_HMAC = ("esp32", "esp32c2", "esp32c61")
WITHOUT_SECURE_DOWNLOAD_MODE = ("esp32", "esp32h21", "esp32s31")
FIRST_SCHEME = {"esp32c2": "ecdsa256", "esp32c61": "ecdsa256"}
"""The scheme of a chip that has no RSA."""

SigningKeys = Callable[[str], tuple[Path, ...]]
"""Three key files of a scheme."""

PARTITIONS = (
    Partition("nvs", 1, 0x02, 0xD000, 0x6000),
    Partition("otadata", 1, 0x00, 0x13000, 0x2000),
    Partition("phy_init", 1, 0x01, 0x15000, 0x1000),
    Partition("nvs_keys", 1, 0x04, 0x16000, 0x1000, flags=1),
    Partition("ota_0", 0, 0x10, 0x20000, 0x100000),
    Partition("ota_1", 0, 0x11, 0x120000, 0x100000),
    Partition("fat", 1, 0x81, 0x220000, 0x10000, flags=1),
    Partition("spiffs", 1, 0x82, 0x230000, 0x10000),
    Partition("custom", 0x40, 0x00, 0x240000, 0x1000, flags=1),
    Partition("open", 0x40, 0x01, 0x241000, 0x1000),
)
DATA_IMAGES = {
    "phy_init": b"phy" * 100,
    "fat": b"FAT" * 999,
    "spiffs": b"spiffs" * 77,
    "custom": b"custom" * 99 + b"!",
    "open": b"open" * 10,
}
ENCRYPTED = {
    "bootloader": True,
    "partition-table": True,
    "otadata": True,  # data/ota, also without the flag
    "phy_init": False,
    "sample": True,  # any app
    "fat": True,  # the flag
    "spiffs": False,
    "custom": True,  # the flag, on a type of the project's own
    "open": False,
}
"""Which images of the build above the firmware decrypts: `is_partition_encrypted` of ESP-IDF's esp_partition."""


@dataclass(frozen=True)
class Cell:
    """One cell: `features` is ``release``, ``development``, ``boot`` (secure boot alone) or ``both`` (with release)."""

    chip: str
    features: str
    keys: int = 1
    key_bits: int = 128
    scheme: str = ""
    min_revision: int | None = None
    aggressive_revoke: bool = False

    def __str__(self) -> str:
        words = [self.chip, self.features]
        words += [f"{self.keys}keys"] if self.keys > 1 else []
        words += ["xts256"] if self.key_bits == 256 else []
        words += [self.scheme] if self.scheme else []
        words += [f"rev{self.min_revision}"] if self.min_revision is not None else []
        return "-".join(words + (["aggressive"] if self.aggressive_revoke else []))

    @property
    def has_secure_boot(self) -> bool:
        return self.features in ("boot", "both")

    @property
    def has_flash_encryption(self) -> bool:
        return self.features != "boot"

    @property
    def signature_scheme(self) -> str:
        return self.scheme or FIRST_SCHEME.get(self.chip, "rsa3072")

    @property
    def hmac_block(self) -> int | None:
        """The key block of the NVS HMAC key, which the sample asks for with flash encryption."""
        if not self.has_flash_encryption or self.chip in WITHOUT_HMAC:
            return None
        return 4 if self.chip == "esp32s31" else 5

    @property
    def needs_esptool(self) -> tuple[int, int]:
        """The first esptool that knows the chip and every eFuse the cell burns."""
        if self.chip in ("esp32h21", "esp32s31"):
            return 5, 6
        late_p4 = self.chip == "esp32p4" and self.min_revision != 100
        late_h2 = self.chip == "esp32h2" and self.min_revision == 102
        return (4, 11) if late_p4 or late_h2 or self.chip == "esp32c5" else (4, 8)


def all_cells() -> list[Cell]:
    """Every cell of the matrix."""
    cells = [Cell(chip, features) for chip in TEN_CHIPS for features in ("release", "development", "boot", "both")]
    cells += [Cell(chip, "both", keys=3) for chip in TEN_CHIPS if chip not in ONE_SLOT]
    cells += [Cell(chip, "both", key_bits=256) for chip in ("esp32s2", "esp32s3", "esp32p4")]
    cells += [Cell("esp32h2", features, min_revision=102) for features in ("release", "development", "boot", "both")]
    cells += [Cell("esp32p4", "both", min_revision=revision) for revision in (100, 301, 302)]
    cells += [Cell(chip, "both", scheme="ecdsa384") for chip in ("esp32c5", "esp32p4")]
    cells += [Cell("esp32c5", "both", keys=3, scheme="ecdsa384")]
    cells += [Cell(chip, "both", scheme="ecdsa256") for chip in ("esp32c5", "esp32c6", "esp32h2", "esp32p4")]
    cells += [Cell(chip, "both") for chip in ("esp32h21", "esp32s31")]
    cells += [Cell("esp32c3", "both", keys=2, aggressive_revoke=True)]
    return cells


QUICK = (
    Cell("esp32", "both"),
    Cell("esp32c2", "both"),
    Cell("esp32c6", "both", keys=3),
    Cell("esp32s3", "both", key_bits=256),
    Cell("esp32h2", "both", min_revision=102),
)
"""The cells of a quick run: both kinds of fixed key blocks, three keys, two halves, a late revision."""


@dataclass(frozen=True)
class Made:
    """A bundle, the build it was made of, and what a chip that it provisions must look like."""

    cell: Cell
    folder: Path
    build: Path
    signing_keys: tuple[Path, ...]
    wanted: Wanted


Bundles = Callable[[Cell], Made]


def make(cell: Cell, keys: SigningKeys, folder: Path) -> Made:
    """Makes the sample build and the bundle of a cell in `folder`."""
    build = make_sample_build(folder / "project", cell.chip, options=options_of(cell))
    signing_keys = keys(cell.signature_scheme)[: cell.keys] if cell.has_secure_boot else ()
    decision = decide(build, Profile(folder, profile_of(cell, signing_keys)))
    bundle = write_bundle(decision, folder / "bundle", lambda _: None)
    wanted = Wanted(
        min_revision=decision.build.min_revision,
        flash_encryption=cell.has_flash_encryption,
        key_bits=cell.key_bits,
        digests=tuple(_digest(key) for key in signing_keys),
        hmac_block=cell.hmac_block,
        ecdsa384=cell.signature_scheme == "ecdsa384",
        aggressive_revoke=cell.aggressive_revoke,
    )
    return Made(cell, bundle.folder, build, signing_keys, wanted)


def options_of(cell: Cell) -> SampleOptions:
    config: dict[str, object] = {}
    if cell.key_bits == 256:
        config = {"SECURE_FLASH_ENCRYPTION_AES256": True, "SECURE_FLASH_ENCRYPTION_AES128": False}
    if cell.aggressive_revoke:
        config["SECURE_BOOT_ENABLE_AGGRESSIVE_KEY_REVOKE"] = True
    modes = {"development": "development", "boot": "off"}
    return SampleOptions(
        flash_encryption=modes.get(cell.features, "release"),  # type: ignore[arg-type]
        secure_boot=cell.has_secure_boot,
        scheme=cell.scheme or None,  # type: ignore[arg-type]
        min_revision=cell.min_revision,
        partitions=PARTITIONS,
        data_images=DATA_IMAGES,
        config=config,
        app_size=40_000,
    )


def profile_of(cell: Cell, signing_keys: tuple[Path, ...]) -> dict[str, str | tuple[str, ...]]:
    values: dict[str, str | tuple[str, ...]] = {}
    if signing_keys:
        values["secure_boot.keys"] = tuple(str(key) for key in signing_keys)
    if cell.chip in WITHOUT_SECURE_DOWNLOAD_MODE and cell.features != "development":
        # ESP-IDF leaves it open by default there, and then says that the chip is not in release mode
        values["lockdown.download_mode"] = "disabled"
    return values


@functools.cache
def _digest(key: Path) -> bytes:
    """The digest as espsecure computes it."""
    out = key.with_suffix(".digest")
    done = espsecure(["digest-sbv2-public-key", "--keyfile", str(key), "--output", str(out)])
    assert done.exit_code == 0, done.output
    return out.read_bytes()
