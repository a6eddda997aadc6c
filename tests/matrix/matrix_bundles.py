"""The fixture ``bundles``: the bundle of a cell, made once in a run, with signing keys that all cells share."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from matrix_cells import Bundles, Cell, Made, make

from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key


@functools.cache
def signing_keys(scheme: str, folder: Path) -> tuple[Path, ...]:
    """Three keys of a scheme, made when they are first asked for."""
    paths = tuple(folder / f"{scheme}_{number}.pem" for number in range(3))
    for path in paths:
        write_secret_file(path, generate_signing_key(SignatureScheme(scheme)))
    return paths


@functools.cache
def made_bundle(cell: Cell, folder: Path) -> Made:
    """The bundle of a cell in a folder that all cells share."""
    return make(cell, lambda scheme: signing_keys(scheme, folder), folder / str(cell))


@pytest.fixture(name="bundles", scope="session")
def shared_bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """The bundle of a cell; it must not be changed."""
    folder = tmp_path_factory.getbasetemp() / "matrix"
    folder.mkdir(exist_ok=True)
    return lambda cell: made_bundle(cell, folder)
