# SPDX-License-Identifier: Apache-2.0
"""Which eFuse fields a chip has, read from the tables of the installed espefuse.

espefuse keeps one YAML file a chip in ``espefuse/efuse_defs``. Reading it as data, without importing esptool, means
that a plan never names a field which the tool that will burn it does not know.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path

from secure_ext.chips.facts import chip_facts
from secure_ext.errors import ToolError
from secure_ext.station.frozen import frozen


@frozen
class EfuseField:
    """One eFuse field.

    Attributes:
        name: espefuse's name.
        aliases: other names espefuse accepts.
        block: eFuse block number (0 holds the flags).
        start: first bit inside the block.
        bits: width in bits.
        wr_dis_bit: bit of ``WR_DIS`` that makes the field read-only, shared with other fields; None if it has none.
        rd_dis_bits: bits of ``RD_DIS`` that hide the field; two for the one key block of the ESP32-C2.
    """

    name: str
    aliases: tuple[str, ...]
    block: int
    start: int
    bits: int
    wr_dis_bit: int | None
    rd_dis_bits: tuple[int, ...]


@frozen
class EfuseTable:
    """All eFuse fields of one chip, as the installed espefuse knows them."""

    chip: str
    esptool_version: str
    fields: Mapping[str, EfuseField]

    def find(self, name: str) -> EfuseField | None:
        """The field called `name` (or with that alias), None if the chip, or this espefuse, has no such field."""
        field = self.fields.get(name)
        if field is None:
            field = next((f for f in self.fields.values() if name in f.aliases), None)
        return field

    def require(self, name: str) -> EfuseField:
        """Like `find`, but raises ToolError SE201 when the installed espefuse does not know the field."""
        field = self.find(name)
        if field is None:
            raise ToolError(
                "SE201",
                f"the installed esptool {self.esptool_version} knows no eFuse {name} for {self.chip}",
                cure="install a newer esptool, for example: pip install --upgrade esptool",
                place=name,
            )
        return field


@functools.cache
def load_efuse_table(chip: str, revision: int) -> EfuseTable:
    """Reads espefuse's table of `chip` at chip revision `revision` (major * 100 + minor).

    Raises ToolError SE202 when esptool is not installed, SE203 when it does not know the chip, or
    knows an early layout of its eFuses; InputError SE204 for a chip that is not covered.
    """
    # yaml is slow to import, and most of this package's callers only want to be loaded
    import yaml  # noqa: PLC0415

    # not by looking for the module: beside a console script, esptool 4's espefuse.py would be found in its place
    try:
        esptool = importlib.metadata.distribution("esptool")
    except importlib.metadata.PackageNotFoundError:
        raise ToolError("SE202", "esptool is not installed", cure="pip install esptool") from None
    version = esptool.version
    folder = Path(str(esptool.locate_file("espefuse/efuse_defs")))
    tables = [name for least_revision, name in chip_facts(chip).efuse_tables if revision >= least_revision]
    path = folder / f"{tables[-1] if tables else chip}.yaml"
    least = chip_facts(chip).least_esptool
    if not path.exists() or tuple(int(part) for part in version.split(".")[:2]) < least:
        raise ToolError(
            "SE203",
            f"the installed esptool {version} does not know the eFuses of this {chip} as they are; "
            f"{least[0]}.{least[1]} or later does",
            cure="install a newer esptool: pip install --upgrade esptool",
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    rows = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)["EFUSES"]  # noqa: S506 (a safe loader, see above)
    return EfuseTable(chip, version, {name: _field(name, row) for name, row in rows.items()})


def _field(name: str, row: Mapping[str, object]) -> EfuseField:
    return EfuseField(
        name=name,
        aliases=tuple(re.split(r"[ ,]+", str(row["alt"]))) if row["alt"] else (),
        block=int(str(row["blk"])),
        start=int(str(row["start"])),
        bits=int(str(row["len"])),
        wr_dis_bit=None if row["wr_dis"] is None else int(str(row["wr_dis"])),
        rd_dis_bits=() if row["rd_dis"] is None else tuple(int(bit) for bit in str(row["rd_dis"]).split()),
    )
