# SPDX-License-Identifier: Apache-2.0
"""Bundles with NVS images made of a CSV."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from secure_ext.bundle.write import Bundle, write_bundle
from secure_ext.chips.facts import CHIP_NAMES, chip_facts
from secure_ext.doctor.decide import Decision, decide
from secure_ext.documents.manifest import ManifestImage
from secure_ext.formats.nvs_keys import NvsKeys, derive_nvs_keys, load_nvs_keys
from secure_ext.formats.partition_table import FLAG_READONLY, TYPE_DATA, Partition
from secure_ext.policy.profile import check_profile
from secure_ext.sample.options import SampleOptions

HMAC_CHIPS = [chip for chip in CHIP_NAMES if chip_facts(chip).hmac]
OTHER_CHIPS = [chip for chip in CHIP_NAMES if not chip_facts(chip).hmac]
PASSWORD = "correct horse battery staple"
CSV = f"""key,type,encoding,value
wifi,namespace,,
password,data,string,{PASSWORD}
device,namespace,,
serial,data,u64,18446744073709551615
ca,file,binary,ca.bin
"""
CA = hashlib.shake_256(b"certificate").digest(9000)
FURTHER = (
    Partition("factory", TYPE_DATA, 2, 0x330000, 0x4000),
    Partition("serial", TYPE_DATA, 2, 0x334000, 0x1000, FLAG_READONLY),
)


@pytest.fixture
def decided(
    new_build: Callable[..., Path], signing_key_for: Callable[[str], Path], tmp_path: Path
) -> Callable[..., Decision]:
    """The decision for a chip's sample with a CSV, and other settings of the section nvs; options of the sample."""

    def run(chip: str, nvs: dict[str, Any] | None = None, **options: Any) -> Decision:
        folder = f"project-{len(list(tmp_path.iterdir()))}"
        has_secure_boot = bool(chip_facts(chip).schemes)
        settings = {"flash_encryption": "release", "secure_boot": has_secure_boot, **options}
        build = new_build(chip, SampleOptions(**settings), folder)
        (tmp_path / "nvs.csv").write_text(CSV, encoding="utf-8")
        (tmp_path / "ca.bin").write_bytes(CA)
        document: dict[str, Any] = {
            "schema": 1,
            "secure_boot": {"enabled": has_secure_boot, "keys": [str(signing_key_for(chip))]},
            "nvs": {"images": {"nvs": "nvs.csv"}, **(nvs or {})},
        }
        if not chip_facts(chip).secure_download_mode:
            document["lockdown"] = {"download_mode": "disabled"}
        return decide(build, check_profile(document, tmp_path / "profile.yaml"))

    return run


@pytest.fixture
def made(decided: Callable[..., Decision], tmp_path: Path) -> Callable[..., Bundle]:
    def run(chip: str, nvs: dict[str, Any] | None = None, **options: Any) -> Bundle:
        return write_bundle(decided(chip, nvs, **options), tmp_path / "bundle", lambda _: None)

    return run


def image_of(bundle: Bundle, partition: str) -> tuple[ManifestImage, bytes]:
    image = next(image for image in bundle.manifest.images if image.partition == partition)
    return image, (bundle.folder / image.file).read_bytes()


def nvs_keys(bundle: Bundle) -> NvsKeys:
    """What the device will have: derived from the HMAC key, or in the nvs_keys partition."""
    keys = bundle.folder / "keys"
    hmac = keys / "nvs_hmac_key.bin"
    return derive_nvs_keys(hmac.read_bytes()) if hmac.exists() else load_nvs_keys(keys / "nvs_keys.bin")


def quick(chips: list[str], *first: str) -> list[Any]:
    """The chips as parameters, all but the `first` ones for the long run."""
    return [pytest.param(chip, marks=[] if chip in first else [pytest.mark.long]) for chip in chips]


# ---- the HMAC scheme
