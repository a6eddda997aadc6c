"""What a release does to a chip, in a form that can be compared: read from a bundle or from a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from secure_ext.errors import InputError
from secure_ext.plan.effects import Effects, effects_of
from secure_ext.reading import read_json

Value = int | str | bool | None | tuple[Any, ...]
IMAGE_ATTRIBUTES = ("offset", "size", "signed", "encrypted", "sha256", "source_sha256")


@dataclass(frozen=True)
class Fact:
    """Something that is burned and only ever grows: more of it is more irreversible.

    Attributes:
        title: what it is, in words.
        value: how much: the value of a field, 1 for what is simply done, how many bits protect it.
        of: the id of the step that it is a part of; it is compared only if that step is on both sides.
    """

    title: str
    value: int
    of: str | None = None


@dataclass(frozen=True)
class Release:
    """One side of a comparison.

    Attributes:
        chip: ESP-IDF's name of the chip.
        facts: what is burned, by a stable id.
        settings: everything else that matters to a chip, by what it is.
        order: the ids of the steps, in order.
        images: by name, those of IMAGE_ATTRIBUTES that are known.
        effects: what the chip will be.
    """

    chip: str
    facts: Mapping[str, Fact]
    settings: Mapping[str, Value]
    order: tuple[str, ...]
    images: Mapping[str, Mapping[str, Value]]
    effects: Effects


def read_release(path: Path) -> Release:
    """Reads a bundle's folder, its manifest.json or plan.json, or the output of ``plan --format json``.

    Raises InputError SE781 if it is none of these.
    """
    try:
        plan, images = _documents(path)
        return release(plan, images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            "SE781",
            "this is neither a bundle nor a plan",
            cure="give the folder of a bundle, its plan.json or manifest.json, "
            "or a file with the output of `secure-provision plan --format json`",
            place=str(path),
        ) from None


def _documents(path: Path) -> tuple[Mapping[str, Any], Iterable[Mapping[str, Any]]]:
    """The plan and the images, which a manifest tells more about than a plan."""
    if path.is_dir() or path.name == "manifest.json":
        folder = path if path.is_dir() else path.parent
        return _load(folder / "plan.json"), _load(folder / "manifest.json")["images"]
    content = _load(path)
    if "plan" in content:
        return content["plan"], content["images"]
    return content, [{**image, "name": PurePosixPath(image["file"]).stem} for image in content["images"]]


def _load(path: Path) -> dict[str, Any]:
    content = read_json(path, lines=False)
    if not isinstance(content, dict):
        raise TypeError(path.name)
    return content


def release(plan: Mapping[str, Any], images: Iterable[Mapping[str, Any]]) -> Release:
    """A release from a plan document and the rows of its images (name, and some of IMAGE_ATTRIBUTES).

    Raises KeyError, TypeError, ValueError or AttributeError if they do not hold what a plan's do.
    """
    return Release(
        chip=str(plan["chip"]),
        facts=dict(_facts(plan["steps"])),
        settings=dict(_settings(plan)),
        order=tuple(_identity(step) for step in plan["steps"]),
        images={str(row["name"]): {name: row[name] for name in IMAGE_ATTRIBUTES if name in row} for row in images},
        effects=effects_of(plan),
    )


def _identity(step: Mapping[str, Any]) -> str:
    """The step's id; fields that share a bit of WR_DIS are protected by the same step, however it is called."""
    return f"write-protect-bit-{step['wr_dis_bit']}" if step["kind"] == "write_protect" else str(step["id"])


def _facts(steps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Fact]]:
    for step in steps:
        identity, title = _identity(step), str(step["title"])
        if step["kind"] == "burn_field":
            yield identity, Fact(f"Burn {step['field']}", int(step["value"]))
        elif step["kind"] == "burn_key":
            yield identity, Fact(title, 1)
            key = step["role"].replace("_", " ")
            yield (
                f"{identity}-read-protection",
                Fact(f"Read-protect the {key}", int(bool(step["rd_dis_bits"])), identity),
            )
            yield f"{identity}-write-protection", Fact(f"Write-protect the {key}", len(step["wr_dis_bits"]), identity)
        elif step["kind"] == "write_protect":
            yield identity, Fact(title, 1)


_ASKED = {
    "flash_size": "flash size",
    "flash_end": "end of the used flash",
    "min_block_revision": "least eFuse block revision",
    "max_block_revision": "greatest eFuse block revision",
    "cores": "CPU cores",
    "octal_flash": "octal flash",
    "secure_version": "secure version of the app",
    "secure_version_bits": "bits of the secure version",
    "bootloader_secure_version": "secure version of the bootloader",
}
"""What the firmware asks of a board, in words."""


def _asked(requirements: Mapping[str, Any] | None) -> Iterator[tuple[str, Value]]:
    for name, value in (requirements or {}).items():
        if name in _ASKED:
            yield _ASKED[name], value


def _settings(plan: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    yield "least chip revision", int(plan["min_revision"])
    yield "greatest chip revision", plan["max_revision"]
    yield from _asked(plan.get("requirements"))
    yield "least esptool", tuple(plan["least_esptool"])
    yield "eFuses that must not be burned", tuple(sorted(str(item["field"]) for item in plan["must_be_clear"]))
    for row in plan["layout"]:
        yield f"place of {row['field']}", (row["block"], row["start"], row["bits"])
    for step in plan["steps"]:
        if step["kind"] == "erase_flash":
            yield "erased flash", (step["offset"], step["size"])
        elif step["kind"] == "write_images":
            yield "images are written", True
        elif step["kind"] == "burn_key":
            key = step["role"].replace("_", " ")
            yield from (
                (f"{key}: {name}", step[name]) for name in ("block", "part", "purpose", "length", "fingerprint")
            )
            if step["role"].startswith("secure_boot_digest"):
                yield f"{key}: signs", step.get("signs", "all")
        yield f"{_identity(step)}: on chips from revision", int(step["min_revision"])
