# SPDX-License-Identifier: Apache-2.0
"""Whatever the partitions are called, each image has a file of its own, on Windows too."""

from __future__ import annotations

from pathlib import Path

from secure_ext.bundle.file_names import name_faults
from secure_ext.bundle.manifest import image_path
from secure_ext.doctor.decide import decide
from secure_ext.formats.partition_table import TYPE_APP, TYPE_DATA, Partition
from secure_ext.policy.profile import Profile
from secure_ext.sample import SampleOptions, make_sample_build

LABELS = ("CON", "con", "Sample", "lpt1.x", "a:b", "a b", "..", "nul ", "Bootloader")


def test_image_names(tmp_path: Path) -> None:
    start = 0x200000
    rows = [Partition(label, TYPE_DATA, 0x40, start + 0x1000 * number, 0x1000) for number, label in enumerate(LABELS)]
    options = SampleOptions(
        partitions=(Partition("factory", TYPE_APP, 0, 0x20000, 0x100000), *rows),
        data_images={label: label.encode() for label in LABELS},
        flash_encryption="release",
    )
    images = decide(make_sample_build(tmp_path, "esp32c3", options=options), Profile(tmp_path)).images
    names = [image_path(image.name) for image in images]
    assert len(names) == len(LABELS) + 3
    assert (list(name_faults(names)), len({name.lower() for name in names})) == ([], len(names))
