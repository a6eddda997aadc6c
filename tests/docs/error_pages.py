# SPDX-License-Identifier: Apache-2.0
"""Writes ``docs/errors.md`` from the places that raise errors, and from ``docs/errors.yaml``.

``python tests/docs/error_pages.py`` writes it; the tests hold the file against `page`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

import secure_ext
from secure_ext import errors
from secure_ext.errors import SecureProvisionError

PACKAGE = Path(secure_ext.__file__).parent
DOCS = Path(__file__).resolve().parents[2] / "docs"
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SecureProvisionError)
}
_CODE = re.compile(r"SE\d{3}")
_STOP = "Stop"
_HEAD = """\
# Errors

Every error says what is wrong, where, and what to do. Exit codes: 1 a check found something wrong, 2 wrong usage,
3 input missing, unreadable or unsupported, 4 an external tool failed, 5 the device is in a state that forbids going on.

The codes of `provision.py` (SE8xx) are in [script.md](script.md), the doctor's (SPxxx) in [doctor.md](doctor.md).
This page is generated from the places that raise them (`make docs`); … stands for what the message names.
"""


@dataclass(frozen=True)
class Raised:
    """One place that makes an error: its class, and what of the texts is fixed; … for the rest."""

    code: str
    kind: str
    cause: str
    cure: str
    place: str


def raised() -> Iterator[Raised]:
    """Every place in the package that names a code and makes an error of it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        returned = {
            node.name: node.returns.id
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and isinstance(node.returns, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found = _of_call(node, returned, f"{path.relative_to(PACKAGE.parent)}:{node.lineno}")
                if found is not None:
                    yield found


def _of_call(call: ast.Call, returned: dict[str, str], place: str) -> Raised | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    kind = name if name in CLASSES or name == _STOP else returned.get(name, "")
    texts = [
        argument for argument in call.args if not (isinstance(argument, ast.Constant) and argument.value in range(9))
    ]
    if kind not in CLASSES and kind != _STOP:
        return None
    if not texts or not isinstance(texts[0], ast.Constant) or not _CODE.fullmatch(str(texts[0].value)):
        return None
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    cause = texts[1] if len(texts) > 1 else named.get("cause")
    cure = named.get("cure") or (texts[2] if len(texts) > 2 else None)
    return Raised(str(texts[0].value), kind, _text(cause), _text(cure), place)


def _text(node: ast.expr | None) -> str:
    """The fixed words of a text, with … for what is put into it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    return "…"


def page() -> str:
    """The text of ``docs/errors.md``."""
    settings = yaml.safe_load((DOCS / "errors.yaml").read_text(encoding="utf-8"))
    by_code: dict[str, list[Raised]] = {}
    for item in raised():
        if item.kind != _STOP:
            by_code.setdefault(item.code, []).append(item)
    lines = [_HEAD]
    for section in settings["sections"]:
        lines += [f"## {section['title']}", "", "| code | exit | meaning | what to do |", "|---|---|---|---|"]
        lines += [_row(code, by_code.get(code, []), settings["words"].get(code, {})) for code in section["codes"]]
        lines.append("")
    return "\n".join(lines)


def listed_codes() -> list[str]:
    """The codes in ``docs/errors.yaml``."""
    settings = yaml.safe_load((DOCS / "errors.yaml").read_text(encoding="utf-8"))
    return [code for section in settings["sections"] for code in section["codes"]]


def _row(code: str, places: list[Raised], words: dict[str, str]) -> str:
    """Codes that stand in a table of the program are not seen here: `words` has their class."""
    kind = words.get("class") or places[0].kind
    meaning = words.get("meaning") or max((place.cause for place in places), key=_fixed)
    cure = words.get("what to do") or max((place.cure for place in places), key=_fixed)
    cells = (" ".join(text.split()).replace("|", "\\|") for text in (meaning, cure))
    return f"| {code} | {CLASSES[kind].exit_code} | {' | '.join(cells)} |"


def _fixed(text: str) -> int:
    return len(text.replace("…", ""))


if __name__ == "__main__":
    (DOCS / "errors.md").write_text(page(), encoding="utf-8", newline="\n")
    sys.exit(0)
