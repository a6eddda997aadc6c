# SPDX-License-Identifier: Apache-2.0
"""Is an archive just what its content makes, and free of secrets?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.bundle.archive import archive_bytes
from secure_ext.bundle.files import ARCHIVE_LIMIT, ArchiveFiles
from secure_ext.bundle.manifest import OUTSIDE_THE_MANIFEST
from secure_ext.checks import Check
from secure_ext.prove.verify.check import failed, judged
from secure_ext.reading import read_file


def check_archive(files: ArchiveFiles) -> Iterator[Check]:
    """Made once more from its content, it must be the same to the last byte: nothing is hidden in or behind it."""
    secret = [name for name in files.names() if name.startswith(OUTSIDE_THE_MANIFEST)]
    yield judged(
        "archive-secrets",
        files.place.name,
        not secret,
        "no keys and no records of boards",
        f"it holds {', '.join(secret)}",
        cure="delete it and every copy, make it again, and do not use these keys for any other board",
    )
    try:
        same = archive_bytes(files.content) == read_file(files.place, ARCHIVE_LIMIT)
    except (OSError, ValueError):
        yield failed("archive-form", files.place.name, "it cannot be made again from its content")
        return
    wrong = "it was packed by another program, or holds something that is not shown"
    yield judged("archive-form", files.place.name, same, "made again from its content, it is the same", wrong)
