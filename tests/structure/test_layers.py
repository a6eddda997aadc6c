"""The package's folders import in one direction: read, decide, produce, prove, and the fronts on top."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import secure_ext

PACKAGE = Path(secure_ext.__file__).parent
LAYERS = (
    *(
        "errors",
        "station",
        "durable",
        "one_line",
        "reading",
        "documents",
        "checks",
        "project",
        "chips",
        "policy",
        "keys",
        "images",
    ),
    *("plan", "device", "bundle", "per_device", "rehearsal", "ota", "sample"),
)
FILES = sorted(PACKAGE.rglob("*.py"))


def layer(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("secure_ext"):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("secure_ext")}
    return found


def foreign_imports(path: Path) -> set[str]:
    """The modules that a file imports from folders after its own."""
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own not in LAYERS:
        return set()
    allowed = ("", *LAYERS[: LAYERS.index(own) + 1])
    return {module for module in imports(path) if layer(module) not in allowed}


def test_a_folder_imports_only_from_folders_before_it() -> None:
    offenders = {str(path): found for path in FILES if (found := foreign_imports(path))}
    assert offenders == {}


def test_a_file_begins_with_what_it_is_for() -> None:
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in FILES}
    assert [path for path, text in docstrings.items() if not text or len(text.splitlines()[0]) <= 10] == []


def test_only_the_fronts_and_the_runner_print() -> None:
    speaking = {"cli.py", "idf.py", "runner.py"}
    for path in FILES:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        prints = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "print"]
        assert not prints or path.name in speaking, path


def test_error_codes_are_documented_and_raised_in_one_class_each() -> None:
    docs = PACKAGE.parent / "docs"
    documented = (docs / "errors.md").read_text(encoding="utf-8") + (docs / "script.md").read_text(encoding="utf-8")
    used = {code for path in FILES for code in re.findall(r'"(SE\d{3})"', path.read_text(encoding="utf-8"))}
    assert used <= set(re.findall(r"SE\d{3}", documented))
    texts = (*FILES, *(PACKAGE.parent / "cmake").iterdir())
    shown = {code for path in texts for code in re.findall(r"SE\d{3}", path.read_text(encoding="utf-8"))}
    assert set(re.findall(r"SE\d{3}", documented)) <= shown
