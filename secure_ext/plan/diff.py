# SPDX-License-Identifier: Apache-2.0
"""What becomes irreversible, weaker or different between two releases.

Weaker is, and nothing else:

- something that OLD burns and NEW does not, or burns to a lower value: a key, a setting, a protection against reading
  or writing; unless NEW has something at least as strong in its place: a download mode that is closed at least as far,
  a flash encryption key at least as long;
- chips of a lower revision are taken; a step is done on fewer chips;
- less of the flash is erased; the images are not written;
- a shorter key in the same place;
- an image that is no longer signed, or no longer encrypted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from secure_ext.errors import UsageError
from secure_ext.plan.effects import FLASH_KEY_ROLES
from secure_ext.plan.release import Release, Value
from secure_ext.station.efuse_features import DOWNLOAD_FIELDS
from secure_ext.station.frozen import frozen

_OF_DOWNLOAD = {f"burn-{name.lower().replace('_', '-')}" for name in (*DOWNLOAD_FIELDS, "DOWNLOAD_MODE_XPD_ON")}
_OF_FLASH_KEY = {"burn-xts-key-length-256", *(f"burn-key-{role.replace('_', '-')}" for role in FLASH_KEY_ROLES)}


@frozen
class Difference:
    """One difference.

    Attributes:
        subject: stable name of what differs; people script against it.
        what: the same in words.
        old: its value on the old side, None if it is not there.
        new: likewise on the new side.
        weaker: whether NEW protects less by it.
        note: why it is not weaker though it looks so, or what it means; may be empty.
    """

    subject: str
    what: str
    old: Value
    new: Value
    weaker: bool = False
    note: str = ""


@frozen
class PlanDiff:
    """All differences, by group, and the subjects of what is burned alike."""

    newly_irreversible: tuple[Difference, ...]
    no_longer_done: tuple[Difference, ...]
    changed: tuple[Difference, ...]
    images: tuple[Difference, ...]
    same: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def all(self) -> tuple[Difference, ...]:
        """Every difference."""
        return (*self.newly_irreversible, *self.no_longer_done, *self.changed, *self.images)

    @property
    def is_weaker(self) -> bool:
        """Whether one of them makes NEW weaker."""
        return any(difference.weaker for difference in self.all)

    def as_dict(self) -> dict[str, Any]:
        """The differences as JSON-ready data."""
        groups = ("newly_irreversible", "no_longer_done", "changed", "images")
        return {
            "equal": not self.all,
            "weaker": self.is_weaker,
            **{group: [vars(difference) for difference in getattr(self, group)] for group in groups},
            "same": list(self.same),
            "notes": list(self.notes),
        }


def compare(old: Release, new: Release) -> PlanDiff:
    """The differences from `old` to `new`. Raises UsageError SE782 if they are for different chips."""
    if old.chip != new.chip:
        raise UsageError(
            "SE782",
            f"the two are for different chips: {old.chip} and {new.chip}",
            cure="compare releases for the same chip",
        )
    return PlanDiff(
        newly_irreversible=tuple(_grown(old, new)),
        no_longer_done=tuple(_shrunk(old, new)),
        changed=tuple(_changed(old, new)),
        images=tuple(_images(old.images, new.images)),
        same=tuple(name for name in _compared(old, new) if old.facts.get(name) == new.facts.get(name)),
        notes=tuple(_notes(old, new)),
    )


def _compared(old: Release, new: Release) -> Iterator[str]:
    """The facts that are compared: all, but parts of a step only where both sides have the step."""
    for name, fact in {**new.facts, **old.facts}.items():
        if fact.of is None or (fact.of in old.facts and fact.of in new.facts):
            yield name


def _values(release: Release, name: str) -> int:
    return release.facts[name].value if name in release.facts else 0


def _grown(old: Release, new: Release) -> Iterator[Difference]:
    for name in _compared(old, new):
        before, after = _values(old, name), _values(new, name)
        if after > before:
            yield Difference(name, new.facts[name].title, before or None, after)


def _shrunk(old: Release, new: Release) -> Iterator[Difference]:
    for name in _compared(old, new):
        before, after = _values(old, name), _values(new, name)
        if after < before:
            replacement = _replacement(name, old, new)
            yield Difference(name, old.facts[name].title, before, after or None, not replacement, replacement)


def _replacement(name: str, old: Release, new: Release) -> str:
    """What NEW has in its place that is at least as strong, or why nothing has to be; empty for nothing."""
    if name in _OF_DOWNLOAD and new.effects.download >= old.effects.download:
        return "the download mode is closed at least as far by other eFuses"
    if name.startswith("burn-data-") or name == "burn-custom-mac-used":
        return "it is data of the product, and protects nothing"
    if name in _OF_FLASH_KEY and new.effects.flash_key_bits >= old.effects.flash_key_bits > 0:
        return "a flash encryption key at least as long takes its place"
    return ""


def _changed(old: Release, new: Release) -> Iterator[Difference]:
    for name in {**old.settings, **new.settings}:
        before, after = old.settings.get(name), new.settings.get(name)
        is_known = name in old.settings and name in new.settings
        if before == after or not (is_known or name in _COUNT_WHEN_MISSING):
            continue
        if name.endswith(": fingerprint") and None in (before, after):
            continue
        yield Difference(name, name, before, after, _is_weaker(name, before, after), _NOTES.get(name, ""))
    common = set(old.order) & set(new.order)
    before, after = (tuple(step for step in side.order if step in common) for side in (old, new))
    if before != after:
        yield Difference("order", "order of the steps", before, after)


_COUNT_WHEN_MISSING = ("erased flash", "images are written")
_NOTES = {f"secure boot digest {slot}: fingerprint": f"signing key {slot + 1} is another one" for slot in range(3)} | {
    f"secure boot digest {slot}: signs": f"the boards trust signing key {slot + 1} all the same" for slot in range(3)
}


def _is_weaker(name: str, before: Any, after: Any) -> bool:
    if name == "erased flash":
        return before is not None and (after is None or not _covers(after, before))
    if name == "images are written":
        return after is None
    if name == "least chip revision" or name.endswith(": length"):
        return bool(after < before)
    if name.endswith(": on chips from revision"):
        return bool(after > before)
    return False


def _covers(outer: tuple[int, int | None], inner: tuple[int, int | None]) -> bool:
    """Whether one range of flash (offset, size; None to the end) contains the other."""
    ends = [float("inf") if size is None else offset + size for offset, size in (outer, inner)]
    return outer[0] <= inner[0] and ends[0] >= ends[1]


def _images(old: Mapping[str, Mapping[str, Value]], new: Mapping[str, Mapping[str, Value]]) -> Iterator[Difference]:
    if not old or not new:
        return
    renamed = _renamed(old, new)
    for name, before in old.items():
        partner = renamed.get(name, name)
        if partner not in new:
            yield Difference(f"{name}", f"image {name}", "there", None)
            continue
        if partner != name:
            yield Difference(f"{name}: name", f"image {name}: name", name, partner)
        after = new[partner]
        for attribute in before:
            if attribute in after and before[attribute] != after[attribute]:
                lost = attribute in ("signed", "encrypted") and not after[attribute]
                what = f"{name}: {attribute}"
                yield Difference(what, f"image {what}", before[attribute], after[attribute], lost)
    for name in new:
        if name not in old and name not in renamed.values():
            yield Difference(f"{name}", f"image {name}", None, "there")


def _renamed(old: Mapping[str, Mapping[str, Value]], new: Mapping[str, Mapping[str, Value]]) -> dict[str, str]:
    """Images of OLD that have another name in NEW, at the same offset."""
    by_offset = {row["offset"]: name for name, row in new.items() if name not in old}
    gone = {name: row["offset"] for name, row in old.items() if name not in new}
    return {name: by_offset[offset] for name, offset in gone.items() if offset in by_offset}


def _notes(old: Release, new: Release) -> Iterator[str]:
    for name, side in (("OLD", old), ("NEW", new)):
        if not side.images:
            yield f"images are not compared: {name} was not made into a bundle"
        elif any("signed" not in row for row in side.images.values()):
            yield f"whether images are signed and encrypted is not compared: {name} is a plan.json alone"
