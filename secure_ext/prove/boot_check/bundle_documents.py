# SPDX-License-Identifier: Apache-2.0
"""What a bundle promises: its images, and the eFuses and the erasing of its plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secure_ext.prove.boot_check.findings import Refused


@dataclass(frozen=True)
class Image:
    """An image of the manifest; its attributes are those of ``manifest.json``."""

    name: str
    role: str
    partition: str | None
    offset: int
    size: int
    encrypted: bool
    signed: bool
    sha256: str
    source_sha256: str | None
    recipe: str | None

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.offset + self.size


@dataclass(frozen=True)
class Kept:
    """A part of the flash that stays; its attributes are those of ``plan.json``."""

    label: str
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first offset behind it."""
        return self.offset + self.size


@dataclass(frozen=True)
class BurnKey:
    """A key block to burn; its attributes are those of ``plan.json``."""

    min_revision: int
    role: str
    fingerprint: str
    length: int
    reversed: bool
    block: str
    block_number: int
    part: str
    purpose: str
    purpose_field: str | None
    wr_dis_bits: tuple[int, ...]
    rd_dis_bits: tuple[int, ...]


@dataclass(frozen=True)
class FreePlace:
    """A key block that the station may have put a key into; its attributes are those of ``plan.json``."""

    block: str
    block_number: int
    purpose_field: str
    wr_dis_bits: tuple[int, ...]
    rd_dis_bits: tuple[int, ...]


@dataclass(frozen=True)
class BurnData:
    """Data for the block of user data; its attributes are those of ``plan.json``."""

    min_revision: int
    block_number: int
    data: str
    mask: str
    holds: tuple[str, ...]


@dataclass(frozen=True)
class BurnField:
    """A field to burn."""

    min_revision: int
    field: str
    value: int


@dataclass(frozen=True)
class WriteProtect:
    """A bit of WR_DIS to burn, and the field it is burned for."""

    min_revision: int
    field: str
    wr_dis_bit: int


_MOST_BITS = 512
EfuseStep = BurnKey | BurnData | BurnField | WriteProtect
_KINDS: dict[str, Callable[..., EfuseStep]] = {
    "burn_key": BurnKey,
    "burn_data": BurnData,
    "burn_field": BurnField,
    "write_protect": WriteProtect,
}


@dataclass(frozen=True)
class PlannedPlace:
    """Where the plan thinks that a field is, on chips of `min_revision` and later."""

    field: str
    block: int
    start: int
    bits: int
    min_revision: int


@dataclass(frozen=True)
class Promise:
    """What is to be on the chip.

    Attributes:
        chip: target name.
        images: what is in flash.
        steps: what is burned.
        layout: where the plan thinks that its fields are.
        erased: where the flash was erased before the images came: first offset, and the end or None for all.
        kept: what stays in flash as it was.
        idf_version: of the build, for images that do not tell.
        settings: Kconfig symbols of the build without ``CONFIG_``, likewise; empty in bundles of earlier versions.
        boot: label of the app partition that a new board starts; None if the bundle does not say.
        places: the blocks from which the station chose, where the plan's was taken; none where it might not.
        signs: what the key of the digest in a block signs (``all``, ``bootloader``, ``nothing``), by the block's name.
    """

    chip: str
    images: tuple[Image, ...]
    steps: tuple[EfuseStep, ...]
    layout: tuple[PlannedPlace, ...]
    erased: tuple[tuple[int, int | None], ...]
    kept: tuple[Kept, ...]
    idf_version: str | None
    settings: Mapping[str, bool | int | str]
    boot: str | None
    places: tuple[FreePlace, ...]
    signs: dict[str, str]

    def spares(self, *, is_app: bool) -> frozenset[str]:
        """The blocks of digests whose keys do not sign an app, or a bootloader."""
        without = ("nothing", "bootloader") if is_app else ("nothing",)
        return frozenset(block for block, signs in self.signs.items() if signs in without)


def read_promise(bundle: Path) -> Promise:
    """From ``manifest.json`` and ``plan.json``. Raises Refused."""
    try:
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        plan = json.loads((bundle / "plan.json").read_text(encoding="utf-8"))
        if manifest["chip"] != plan["chip"]:
            raise ValueError("two chips")
        return Promise(
            str(plan["chip"]),
            tuple(_typed(Image, item) for item in manifest["images"]),
            tuple(_typed(_KINDS[step["kind"]], step) for step in plan["steps"] if step["kind"] in _KINDS),
            tuple(_typed(PlannedPlace, row) for row in plan["layout"]),
            tuple(_erased(step) for step in plan["steps"] if step["kind"] == "erase_flash"),
            tuple(_typed(Kept, step) for step in plan["steps"] if step["kind"] == "keep_flash"),
            _value(manifest["idf_version"], "str | None"),
            _settings(manifest.get("settings", {})),
            _value(manifest.get("boot"), "str | None"),
            tuple(_typed(FreePlace, place) for place in plan.get("places") or ()),
            {
                str(step["block"]): str(step.get("signs", "all"))
                for step in plan["steps"]
                if step["kind"] == "burn_key" and step["role"].startswith("secure_boot_digest")
            },
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Refused("BC01", f"the bundle's manifest or plan cannot be read ({type(error).__name__})") from None


def _erased(step: dict[str, Any]) -> tuple[int, int | None]:
    (start,) = _numbers([step["offset"]])
    size = step["size"]
    return start, None if size is None else start + _numbers([size])[0]


def _settings(values: dict[str, Any]) -> Mapping[str, bool | int | str]:
    if not all(isinstance(value, (bool, int, str)) for value in values.values()):
        raise ValueError("no settings")
    return dict(values)


def _numbers(values: Any, limit: int = 1 << 32) -> tuple[int, ...]:
    if not all(isinstance(value, int) and 0 <= value < limit for value in values):
        raise ValueError("no numbers")
    return tuple(values)


def _typed(kind: Callable[..., Any], item: dict[str, Any]) -> Any:
    """The dataclass `kind` from a document, each attribute of the type it says."""
    hints: dict[str, str] = kind.__annotations__
    return kind(**{name: _value(item[name], hint) for name, hint in hints.items()})


def _value(value: Any, hint: str) -> Any:
    if hint == "int":
        return _numbers([value])[0]
    if hint == "tuple[int, ...]":
        return _numbers(value, _MOST_BITS)
    if hint == "tuple[str, ...]":
        return tuple(str(item) for item in value)
    if hint.startswith("str"):
        if not isinstance(value, str) and not (value is None and hint.endswith("None")):
            raise ValueError("no text")
        return value
    return bool(value)
