# SPDX-License-Identifier: Apache-2.0
"""What the fronts show of a configuration, as text for people and as data for programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from secure_ext.configure.apply import unmet_text, value_text
from secure_ext.configure.configuration import Configuration
from secure_ext.station.one_line import harmless

_MOST_CONSEQUENCES = 20


def configuration_text(configuration: Configuration) -> str:
    """What changes and why, what follows from it, what cannot be had, and the partition table as a diff."""
    return harmless("\n".join(_lines(configuration)))


def configuration_data(configuration: Configuration, written: Sequence[Path]) -> dict[str, Any]:
    """The same for ``--format json``."""
    applied, table = configuration.applied, configuration.table
    lacking = {setting.symbol for setting in applied.lacking}
    return {
        "complete": configuration.is_complete,
        "settings": [
            {
                "symbol": one.symbol,
                "value": one.value,
                "before": applied.before.values.get(one.symbol),
                "lacking": one.symbol in lacking,
                "reason": one.reason,
            }
            for one in applied.settings
        ],
        "left_out": [
            {"symbol": one.setting.symbol, "value": one.setting.value, "obstacles": list(one.obstacles)}
            for one in applied.left_out
        ],
        "consequences": [
            {"symbol": one.name, "before": one.built, "after": one.sdkconfig} for one in applied.consequences
        ],
        "partition_table": {
            "csv": str(table.csv),
            "diff": _diff(configuration),
            "moved": [{"partition": label, "before": old, "after": new} for label, old, new in table.moved],
        },
        "findings": [{**one.as_dict(), "settings": dict(one.settings)} for one in configuration.findings],
        "written": [str(path) for path in written],
    }


def _lines(configuration: Configuration) -> Iterator[str]:
    applied, table = configuration.applied, configuration.table
    lacking = applied.lacking
    yield f"{configuration.project.chip}: {configuration.project.project_dir}"
    for setting in applied.settings:
        mark = "+" if setting in lacking else " "
        shown = hex(setting.value) if setting.symbol == "PARTITION_TABLE_OFFSET" else value_text(setting.value)  # type: ignore[arg-type]
        yield f"{mark} CONFIG_{setting.symbol}={shown}"
        yield f"      {setting.reason}"
    for unmet in applied.left_out:
        yield f"left out: {unmet_text(unmet)}"
    consequences = applied.consequences
    if consequences:
        shown = ", ".join(f"{one.name}={value_text(one.sdkconfig)}" for one in consequences[:_MOST_CONSEQUENCES])
        more = len(consequences) - _MOST_CONSEQUENCES
        yield f"it follows: {shown}" + (f", and {more} more" if more > 0 else "")
    yield from _diff(configuration)
    for label, old, new in table.moved:
        yield f"partition {label} moves from 0x{old:x} to 0x{new:x}"
    if any(setting.symbol == "PARTITION_TABLE_OFFSET" for setting in lacking):
        yield "Boards in the field have their table elsewhere, and an app of this build looks for it here:"
        yield "it is no update for them."
    if configuration.is_complete:
        yield "The project has all of it."
    else:
        number = len(lacking)
        yield f"The project lacks {number} setting{'' if number == 1 else 's'}" + (
            " and rows of its partition table." if table.rewrites else "."
        )


def _diff(configuration: Configuration) -> list[str]:
    table = configuration.table
    before, after = table.before.splitlines(), table.after.splitlines()
    return list(difflib.unified_diff(before, after, "as it is", table.csv.name, lineterm="", n=1))
