# SPDX-License-Identifier: Apache-2.0
"""The fixture ``bundle_of``: the bundles of the matrix, read back, for rehearsals."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.matrix_cells import Bundles, Cell

from secure_ext.bundle.read import FinishedBundle, read_bundle

BundleOf = Callable[[Cell], FinishedBundle]


@pytest.fixture(name="bundle_of")
def copied_bundles(bundles: Bundles, tmp_path: Path) -> BundleOf:
    """A copy of a cell's bundle that may be changed."""

    def copied(cell: Cell) -> FinishedBundle:
        folder = tmp_path / f"bundle-{cell}"
        shutil.copytree(bundles(cell).folder, folder)
        return read_bundle(folder)

    return copied
