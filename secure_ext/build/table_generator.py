# SPDX-License-Identifier: Apache-2.0
"""The partition table of a project that is not built: ESP-IDF's own generator makes it of the CSV."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from secure_ext.build.configured import ConfiguredProject
from secure_ext.build.files import read_bytes
from secure_ext.build.kconfig_tree import KconfigTree
from secure_ext.errors import InputError
from secure_ext.formats.partition_table import PartitionTable, parse_partition_table

_FOLDER = Path("components", "partition_table")


def table_source(project: ConfiguredProject, tree: KconfigTree) -> Path:
    """The CSV: the project's own, or one that ESP-IDF has built in (``partition_table/Kconfig.projbuild``)."""
    is_own = bool(tree.value("PARTITION_TABLE_CUSTOM"))
    return (project.project_dir if is_own else project.idf_path / _FOLDER) / str(tree.value("PARTITION_TABLE_FILENAME"))


def table_text(source: Path) -> str:
    """The text of a CSV. Raises InputError SE108 (unreadable), SE118 (not UTF-8, which the generator refuses, too)."""
    try:
        return read_bytes(source).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            "SE118",
            f"the partition table's CSV is no UTF-8 text, from byte {error.start} on",
            cure="save it as UTF-8; a comment in another encoding is enough for ESP-IDF to refuse it",
            place=str(source),
        ) from None


def generated_table(
    project: ConfiguredProject, tree: KconfigTree, text: str, offset: int, source: Path
) -> PartitionTable:
    """The table at `offset` that the generator makes of the text of a CSV; `source` is named in errors.

    Raises InputError SE116 if it refuses, SE120 to SE127 for what it makes.
    """
    generator = project.idf_path / _FOLDER / "gen_esp32part.py"
    with tempfile.TemporaryDirectory(prefix="secure-provision-") as name:
        csv, binary = Path(name, "table.csv"), Path(name, "table.bin")
        csv.write_text(text, encoding="utf-8")
        size = str(tree.value("ESPTOOLPY_FLASHSIZE") or "")
        words = [sys.executable, str(generator), "-q", "--offset", hex(offset)]
        words += ["--flash-size", size] if size else []
        if b"--primary-bootloader-offset" in read_bytes(generator):  # of ESP-IDF 5.4 and later
            start = tree.value("BOOTLOADER_OFFSET_IN_FLASH")
            words += ["--primary-bootloader-offset", hex(start if isinstance(start, int) else 0)]
        done = subprocess.run([*words, str(csv), str(binary)], capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            last = " ".join((done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-2:])
            raise InputError(
                "SE116",
                f"with the partition table at 0x{offset:x}, ESP-IDF's generator refuses the table: {last}",
                cure="where an offset in the CSV is in the way, --move-partitions takes the offsets out (boards in the "
                "field have the old places); where the flash is too small, make partitions smaller, or set its size",
                place=str(source),
            )
        return parse_partition_table(binary.read_bytes(), place=str(source))


def integer_of(tree: KconfigTree, name: str, default: int) -> int:
    """The value of an int or hex symbol."""
    value = tree.value(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
