# SPDX-License-Identifier: Apache-2.0
"""The fixture ``bundles``: the bundle of a cell, made once in a run, with signing keys that all cells share."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from support.matrix_cells import Bundles, Cell, Made, make
from support.once_a_run import once_a_run


@functools.cache
def signing_keys(scheme: str, folder: Path) -> tuple[Path, ...]:
    """Three keys of a scheme, made when they are first asked for."""
    paths = tuple(folder / f"{scheme}_{number}.pem" for number in range(3))
    for path in paths:
        write_secret_file(path, generate_signing_key(SignatureScheme(scheme)))
    return paths


@pytest.fixture(name="bundles", scope="session")
def shared_bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """The bundle of a cell; it must not be changed."""

    def keys(scheme: str) -> tuple[Path, ...]:
        return once_a_run(tmp_path_factory, f"matrix-{scheme}", lambda folder: signing_keys(scheme, folder))

    @functools.cache
    def bundle(cell: Cell) -> Made:
        return once_a_run(tmp_path_factory, f"matrix-{cell}", lambda folder: make(cell, keys, folder))

    return bundle
