# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas of the documents, generated from their types: ``python -m secure_ext.documents.json_schema``."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from secure_ext.documents.manifest import Manifest
from secure_ext.documents.rehearsal import RehearsalOutcome
from secure_ext.documents.update import UpdateManifest
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import Between, Items, Matching, OneOf, members_of

Schema = dict[str, object]
DOCUMENTS = {"plan": PlanDocument, "manifest": Manifest, "rehearsal": RehearsalOutcome, "update": UpdateManifest}
_NAMES = {int: "integer", str: "string", bool: "boolean", type(None): "null"}


def schema_of(kind: type) -> Schema:
    """The JSON Schema (draft 2020-12) of a kind of document."""
    definitions: dict[str, Schema] = {}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"idf-secure-provision: {_first_line(kind)}",
        **_object(kind, definitions),
    }
    return {**schema, "$defs": dict(sorted(definitions.items()))} if definitions else schema


def schema_file(name: str) -> Path:
    """Where the schema of a document of DOCUMENTS lies in the package."""
    return Path(__file__).with_name(f"{name}.schema.json")


def schema_text(name: str) -> str:
    """The schema of a document of DOCUMENTS, as its file has it."""
    return json.dumps(schema_of(DOCUMENTS[name]), indent=2) + "\n"


def described_members(kind: type) -> Mapping[str, str]:
    """What the docstrings of a document's class say of each member."""
    described: dict[str, str] = {}
    for ancestor in reversed(kind.__mro__):
        _, _, attributes = (ancestor.__doc__ or "").partition("Attributes:")
        for name, text in re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", attributes, re.MULTILINE):
            words = " ".join(text.split())
            described[name] = words[:1].upper() + words[1:]
    return described


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").split("\n", maxsplit=1)[0].rstrip(".")


def _object(kind: type, definitions: dict[str, Schema]) -> Schema:
    described, members = described_members(kind), members_of(kind)
    return {
        "type": "object",
        "description": _first_line(kind) + ".",
        "properties": {
            name: {"description": described[name], **_schema(hint, definitions)}
            if (name in described)
            else _schema(hint, definitions)
            for name, (hint, _) in members.items()
        },
        "required": [name for name, (_, is_optional) in members.items() if not is_optional],
        "additionalProperties": False,
    }


def _schema(hint: Any, definitions: dict[str, Schema]) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_schema(arguments[0], definitions), **_rules(arguments[1:])}
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _either([_schema(kind, definitions) for kind in arguments])
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": _schema(arguments[0], definitions)}
        items = [_schema(kind, definitions) for kind in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        names = _schema(arguments[0], definitions)
        named: Schema = {} if names == {"type": "string"} else {"propertyNames": names}
        return {"type": "object", **named, "additionalProperties": _schema(arguments[1], definitions)}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", hint.__name__).lower()
        if name not in definitions:
            definitions[name] = {}
            definitions[name] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{name}"}
    return {} if hint is object else {"type": _NAMES[hint]}


def _either(schemas: list[Schema]) -> Schema:
    """One of several: as a list of types where each is a type and nothing else."""
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"oneOf": schemas}


def _rules(rules: tuple[object, ...]) -> Schema:
    told: Schema = {}
    for rule in rules:
        if isinstance(rule, Between):
            told |= {"minimum": rule.least, "maximum": rule.most}
        elif isinstance(rule, Matching):
            told["pattern"] = f"^(?:{rule.pattern})$"
        elif isinstance(rule, OneOf):
            told["enum"] = list(rule.texts)
        elif isinstance(rule, Items):
            told |= {"minItems": rule.least} if rule.least else {}
            told |= {"uniqueItems": True} if rule.different else {}
    return told


def main() -> int:
    """Writes every schema file anew."""
    for name in DOCUMENTS:
        schema_file(name).write_text(schema_text(name), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
