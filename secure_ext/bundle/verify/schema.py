"""Does a document keep to one of the package's own JSON Schemas? Says where it does not, and how.

ESP-IDF's Python environment has no JSON Schema library, and this check must not be left out where the bundle is used.
So the keywords that the package's schemas use are read here, those alone; a schema with another one is refused.
The tests hold every answer against the library jsonschema.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_TELLS_NOTHING = {"$schema", "$defs", "title", "description"}
_KEYWORDS = _TELLS_NOTHING | {
    *("$ref", "type", "const", "enum", "oneOf"),
    *("pattern", "minLength", "minimum", "maximum"),
    *("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
    *("properties", "required", "additionalProperties", "propertyNames"),
}


def load_schema(package: str, name: str) -> Schema:
    """A schema file of the package."""
    content: Schema = json.loads((resources.files(package) / name).read_text(encoding="utf-8"))
    return content


@functools.cache
def document_schema(kind: str) -> Schema:
    """The schema of the documents of a bundle: of its ``manifest`` or of its ``plan``."""
    return load_schema({"manifest": "secure_ext.bundle", "plan": "secure_ext.plan"}[kind], f"{kind}.schema.json")


def schema_errors(document: object, schema: Schema) -> Iterator[str]:
    """What is wrong, one line each, beginning with the place; nothing for a valid document.

    Raises ValueError for a schema with a keyword that is not read here.
    """
    yield from _errors(document, schema, schema, "the document")


def _errors(value: object, schema: Schema, root: Schema, place: str) -> Iterator[str]:
    unknown = set(schema) - _KEYWORDS
    if unknown:
        raise ValueError(f"the schema has keywords that are not read here: {', '.join(sorted(unknown))}")
    if "$ref" in schema:
        yield from _errors(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, place)
    types = schema.get("type")
    if types is not None and not any(_is(value, name) for name in ([types] if isinstance(types, str) else types)):
        yield f"{place} is not of type {types if isinstance(types, str) else ' or '.join(types)}"
        return
    if "const" in schema and not _same(value, schema["const"]):
        yield f"{place} is not {schema['const']!r}"
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        yield f"{place} is not one of {', '.join(map(repr, schema['enum']))}"
    if "oneOf" in schema:
        yield from _one_of(value, schema["oneOf"], root, place)
    if isinstance(value, str):
        yield from _text_errors(value, schema, place)
    elif _is(value, "integer"):
        yield from _number_errors(value, schema, place)
    elif isinstance(value, list):
        yield from _array_errors(value, schema, root, place)
    elif isinstance(value, dict):
        yield from _object_errors(value, schema, root, place)


def _is(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if isinstance(value, float):
        return name == "integer" and value.is_integer()
    return isinstance(value, _TYPES[name])


def _same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


def _one_of(value: object, alternatives: list[Schema], root: Schema, place: str) -> Iterator[str]:
    reasons = [list(_errors(value, alternative, root, place)) for alternative in alternatives]
    matching = reasons.count([])
    if matching > 1:
        yield f"{place} is several things at once"
    if matching == 0:
        yield min(reasons, key=len)[0]


def _text_errors(value: str, schema: Schema, place: str) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{place} is {value[:80]!r}, which is not of the form {schema['pattern']}"
    if len(value) < schema.get("minLength", 0):
        yield f"{place} is too short"


def _number_errors(value: Any, schema: Schema, place: str) -> Iterator[str]:
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{place} is {value}, less than {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{place} is {value}, more than {schema['maximum']}"


def _array_errors(value: list[Any], schema: Schema, root: Schema, place: str) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield f"{place} has {len(value)} items"
    if schema.get("uniqueItems") and any(_same(item, other) for i, item in enumerate(value) for other in value[:i]):
        yield f"{place} has an item twice"
    first = schema.get("prefixItems", [])
    for index, item in enumerate(value):
        inner = first[index] if index < len(first) else schema.get("items", {})
        yield from _errors(item, inner, root, f"{place}[{index}]")


def _object_errors(value: dict[str, Any], schema: Schema, root: Schema, place: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{place} has no {name!r}"
    for name, inner in value.items():
        where = f"{place}.{name[:80]}"
        if "propertyNames" in schema:
            yield from _errors(name, schema["propertyNames"], root, f"the name {where}")
        if name in properties:
            yield from _errors(inner, properties[name], root, where)
            continue
        additional = schema.get("additionalProperties", True)
        if additional is False:
            yield f"{place} has an unknown member {name[:80]!r}"
        elif additional is not True:
            yield from _errors(inner, additional, root, where)
