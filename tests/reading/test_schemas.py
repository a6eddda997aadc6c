# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas in the package are those of the types, and say of each member what it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args

import jsonschema
import pytest

from secure_ext.documents.json_schema import DOCUMENTS, described_members, schema_file, schema_of, schema_text
from secure_ext.station.typed_document import members_of


def parts_of(hint: Any) -> Iterator[type]:
    """Every dataclass in a type."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
        for member, _ in members_of(hint).values():
            yield from parts_of(member)
    for argument in get_args(hint):
        yield from parts_of(argument)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_schema_file_is_the_generated_one(name: str) -> None:
    assert schema_file(name).read_text(encoding="utf-8") == schema_text(name), "run `make docs`"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_a_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(DOCUMENTS[name]))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_member_is_described(name: str) -> None:
    undescribed = {
        f"{part.__name__}.{member}"
        for part in parts_of(DOCUMENTS[name])
        for member in members_of(part)
        if member not in described_members(part)
    }
    assert undescribed == set()
