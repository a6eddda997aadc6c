# SPDX-License-Identifier: Apache-2.0
"""What holds for every file of the package; which folder imports from which, `make lint` proves (import-linter)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import secure_ext
from secure_ext.bundle.script import RUNNER_MODULES

PACKAGE = Path(secure_ext.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def test_a_file_begins_with_what_it_is_for() -> None:
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert [path for path, text in docstrings.items() if not text or len(text.splitlines()[0]) <= 10] == []


def test_only_the_fronts_and_the_runner_print() -> None:
    speaking = {PACKAGE / "station" / "runner.py", *(PACKAGE / "cli").rglob("*.py")}
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        prints = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not prints or path in speaking, path


def test_error_codes_are_documented_and_raised_in_one_class_each() -> None:
    docs = PACKAGE.parent / "docs"
    documented = (docs / "errors.md").read_text(encoding="utf-8") + (docs / "script.md").read_text(encoding="utf-8")
    used = {code for path in FILES for code in re.findall(r'"(SE\d{3})"', path.read_text(encoding="utf-8"))}
    assert used <= set(re.findall(r"SE\d{3}", documented))
    texts = (*FILES, *(PACKAGE.parent / "cmake").iterdir())
    shown = {code for path in texts for code in re.findall(r"SE\d{3}", path.read_text(encoding="utf-8"))}
    assert set(re.findall(r"SE\d{3}", documented)) <= shown


def test_a_file_names_its_licence() -> None:
    unnamed = [path for path in FILES if "SPDX-License-Identifier: Apache-2.0" not in path.read_text("utf-8")[:200]]
    assert unnamed == []


def test_names_are_unique_in_the_script() -> None:
    """``provision.py`` is all of its modules one after the other: the later of two names would be both."""
    names: dict[str, str] = {}
    for module in RUNNER_MODULES:
        tree = ast.parse((PACKAGE / Path(*module.split(".")[1:])).with_suffix(".py").read_text(encoding="utf-8"))
        for node in tree.body:
            targets = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
            targets += [one.id for one in getattr(node, "targets", []) if isinstance(one, ast.Name)]
            for name in targets:
                assert names.setdefault(name, module) == module, f"{name} is in {names[name]} and in {module}"
