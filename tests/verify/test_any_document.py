# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in manifest and plan, `verify` answers; and its reader takes what the schemas describe."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from verify_bundles import Made, encrypted_bundle, readable_bundle  # noqa: F401 (fixtures)

from secure_ext.documents.json_schema import DOCUMENTS, schema_of
from secure_ext.station.typed_document import DocumentFault, read_document

SCHEMAS = {
    "manifest.json": schema_of(DOCUMENTS["manifest"]),
    "plan.json": schema_of(DOCUMENTS["plan"]),
}
ODD_VALUES = st.sampled_from(
    (
        *(None, True, False, 0, 1, -1, 2, 255, 256, 1.0, 1.5, 10**30, float("nan")),
        *("", "x", "0" * 64, "0" * 32, "images/x.bin", "../x", "\0", "\ud800", "app", "BLOCK_KEY1", "a\n"),
        *([], [1], [1, 1], ["BLOCK0", [1]], ["BLOCK0", 1], {}, {"a": 1}, {"schema": 1}),
    )
).map(copy.deepcopy)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every member, and every item, of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in ((*path, key), *places(inner, (*path, key)))]


@st.composite
def spoilt(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """The document with one or two members replaced, removed or added."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from(places(document)))
        inner: Any = document
        for key in parents:
            inner = inner[key]
        how = draw(st.sampled_from(("replace", "replace", "remove", "add")))
        if how == "remove":
            del inner[last]
        elif how == "add" and isinstance(inner, dict):
            inner[draw(st.sampled_from(("more", "schema", "keys/x", "")))] = draw(ODD_VALUES)
        elif how == "add":
            inner.append(draw(st.one_of(ODD_VALUES, st.sampled_from(inner).map(copy.deepcopy))))
        else:
            inner[last] = draw(ODD_VALUES)
    return document


@pytest.mark.parametrize("name", SCHEMAS)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_document_is_read_if_jsonschema_says_so(data: st.DataObject, name: str, encrypted: Made) -> None:
    document = data.draw(spoilt(encrypted.load(name)))
    assume(not differs_in_python(document))
    valid = jsonschema.Draft202012Validator(SCHEMAS[name]).is_valid(document)
    assert is_read(name, document) == valid


def is_read(name: str, document: object) -> bool:
    try:
        read_document(DOCUMENTS[name.removesuffix(".json")], document)
    except DocumentFault:
        return False
    return True


def differs_in_python(value: object) -> bool:
    """1.0 is a whole number to a schema, and none to the reader; a final line break is passed over by Python's `$`."""
    if isinstance(value, dict):
        return any(map(differs_in_python, (*value, *value.values())))
    if isinstance(value, list):
        return any(map(differs_in_python, value))
    return isinstance(value, float) or (isinstance(value, str) and value.endswith("\n"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_document_of_a_bundle_is_valid(name: str, encrypted: Made) -> None:
    assert is_read(name, encrypted.load(name))
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(encrypted.load(name))


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_verify_always_answers(data: st.DataObject, encrypted: Made, tmp_path: Path) -> None:
    """Also when the forger made the hash right of the plan; a changed document never passes in silence."""
    folder = tmp_path / "bundle"
    shutil.rmtree(folder, ignore_errors=True)
    made = encrypted.copy(folder)
    name = data.draw(st.sampled_from(sorted(SCHEMAS)))
    document = data.draw(spoilt(made.load(name)))
    changed = json.dumps(document) != json.dumps(made.load(name))
    made.store(document, name)
    if name == "plan.json":
        made.relist()
    assert bool(made.failures()) == changed


def test_a_plan_that_does_not_say_where_its_efuses_are(encrypted: Made, tmp_path: Path) -> None:
    """Of each row of the layout in turn: the report is rendered from a plan that nobody has checked yet."""
    whole = encrypted.load("plan.json")
    for row in whole["layout"]:
        folder = tmp_path / row["field"]
        made = encrypted.copy(folder)
        made.store({**whole, "layout": [other for other in whole["layout"] if other != row]}, "plan.json")
        made.relist()
        assert made.failures(), row
        shutil.rmtree(folder)
