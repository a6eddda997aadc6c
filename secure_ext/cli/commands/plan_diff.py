# SPDX-License-Identifier: Apache-2.0
"""What ``plan --diff OLD NEW`` shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from secure_ext.cli.front import print_json
from secure_ext.station.one_line import printable
from secure_ext.station.revision import revision_text

_TITLES = {
    "newly_irreversible": "newly irreversible: NEW burns it, OLD does not",
    "no_longer_done": "no longer done: OLD burns it, NEW does not",
    "changed": "changed",
    "images": "images",
}


def show_diff(old: Path, new: Path, output_format: str) -> int:
    """Compares two releases and prints what differs; returns the exit code: 1 if NEW is weaker, else 0."""
    from secure_ext.plan.diff import compare  # noqa: PLC0415 (loaded when used)
    from secure_ext.plan.release import read_release  # noqa: PLC0415

    diff = compare(read_release(old), read_release(new))
    exit_code = int(diff.is_weaker)
    data = diff.as_dict()
    if output_format == "json":
        print_json({"old": str(old), "new": str(new), **data, "exit_code": exit_code})
    else:
        click.echo("\n".join(_lines(data)))
    return exit_code


def _lines(data: dict[str, object]) -> Iterator[str]:
    for group, title in _TITLES.items():
        differences = data[group]
        if not isinstance(differences, list) or not differences:
            continue
        yield title
        for item in differences:
            mark = "WEAKER" if item["weaker"] else ""
            yield f"  {mark:6}  {item['what']}: {_value(item, 'old')} -> {_value(item, 'new')}"
            if item["note"]:
                yield f"          {item['note']}"
        yield ""
    same, notes = data["same"], data["notes"]
    if isinstance(same, list) and isinstance(notes, list):
        yield f"the same: {len(same)} things that are burned"
        yield from (f"note: {note}" for note in notes)
    verdict = "equal" if data["equal"] else "NEW IS WEAKER" if data["weaker"] else "different, nothing is weaker"
    yield f"diff: {verdict}"


def _value(item: dict[str, object], side: str) -> str:
    value = item[side]
    if str(item["subject"]).endswith("revision") and isinstance(value, int):
        return f"{revision_text(value)}"
    return _text(value)


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        return " ".join(_text(item) for item in value) or "none"
    return printable(str(value))
