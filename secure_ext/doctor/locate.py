# SPDX-License-Identifier: Apache-2.0
"""In which file, and on which line, a finding can be fixed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from secure_ext.build.build import Build
from secure_ext.doctor.rule import Finding
from secure_ext.plan.images import PlannedImage
from secure_ext.reading import DOCUMENT_LIMIT, read_file
from secure_ext.station.frozen import frozen

_SYMBOL = re.compile(r"CONFIG_(\w+)")
_SETTING = re.compile(r"(?:profile: |command line: )?([a-z_]+)\.([\w-]+)(?::.*)?")
_PARTITION = re.compile(r"partitions? (\S+)")


@frozen
class Location:
    """A file, and a line of it counted from 1."""

    path: Path
    line: int = 1


class Locator:
    """Finds the places of findings in one project; reads each file once.

    A symbol is looked for in sdkconfig, a partition in the CSV of the table, an image where its partition is, a setting
    in the profile. What is in none of them is put on the first line of sdkconfig.
    """

    def __init__(self, build: Build, images: tuple[PlannedImage, ...], profile: Path | None) -> None:
        project = build.project_dir or build.build_dir.resolve().parent
        csv = build.config.text("PARTITION_TABLE_FILENAME")
        self._sdkconfig = build.sdkconfig or project / "sdkconfig"
        self._csv = project / csv if csv else None
        self._profile = profile
        self._partitions = {image.source: image.partition for image in images}
        self._lines: dict[Path, list[str]] = {}

    def locate(self, finding: Finding) -> Location:
        """Where to fix what was found."""
        return next(self._candidates(finding.place), Location(self._sdkconfig))

    def _candidates(self, place: str) -> Iterator[Location]:
        if match := _SYMBOL.search(place):
            yield from self._found(self._sdkconfig, rf"(# )?CONFIG_{match[1]}[= ]")
        label = next(
            (label for source, label in self._partitions.items() if f"{place} ".startswith(f"{source} ")), None
        )
        if match := _PARTITION.search(place):
            label = match[1]
        if label:
            yield from self._found(self._csv, rf"\s*{re.escape(label)}\s*,")
        if match := _SETTING.fullmatch(place):
            yield from self._found(self._profile, rf"\s+{re.escape(match[2])}\s*:")
            yield from self._found(self._profile, rf"{match[1]}\s*:")

    def _found(self, path: Path | None, pattern: str) -> Iterator[Location]:
        if path is None:
            return
        for number, line in enumerate(self._read(path), 1):
            if re.match(pattern, line):
                yield Location(path, number)

    def _read(self, path: Path) -> list[str]:
        if path not in self._lines:
            try:
                self._lines[path] = read_file(path, DOCUMENT_LIMIT).decode("utf-8", errors="replace").splitlines()
            except OSError:
                self._lines[path] = []
        return self._lines[path]
