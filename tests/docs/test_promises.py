# SPDX-License-Identifier: Apache-2.0
"""What SECURITY.md and the pages beside it promise names a test that exists; and no file or command is left out."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "what-each-file-protects.md"
FACTORY = ROOT / "docs" / "what-a-factory-can-take.md"
ARTEFACTS = (
    *("Bundle", "Archive", "Manifest", "Plan", "Rehearsal", "Report", "Signature", "Journal", "Records of boards"),
    *("Key home", "Sealed copy", "Log", "provision.py", "verify", "audit", "flash", "update", "The virtual chip"),
)
ROW = re.compile(r"^\| (?P<promise>[^|]+) \| (?P<proof>[^|]+) \|$", re.MULTILINE)
PROOF = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def sections() -> dict[str, str]:
    """The text of each section of the page, by its heading."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def rows(text: str) -> list[tuple[str, str]]:
    """The promises in the tables of a text that have a column of proofs, each with its proof."""
    tables = text.split("proved by |\n|---|---|\n")[1:]
    return [(row["promise"], row["proof"]) for part in tables for row in ROW.finditer(part.split("\n\n")[0])]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_each_file_and_command_says_what_it_protects_whom_it_trusts_and_what_it_cannot(artefact: str) -> None:
    text = next(text for heading, text in sections().items() if heading.startswith(artefact))
    for word in ("Protects against", "Trusts", "Cannot"):
        assert f"- **{word}**" in text
    assert len(rows(text)) >= 2


@pytest.mark.parametrize("page", [PAGE, FACTORY], ids=lambda page: page.name)
def test_each_promise_names_tests_that_exist(page: Path) -> None:
    promises = rows(page.read_text(encoding="utf-8"))
    assert promises
    for promise, proof in promises:
        found = PROOF.findall(proof)
        assert found, f"nothing proves: {promise}"
        for name, function in found:
            assert (ROOT / name).is_file(), f"{promise}: there is no {name}"
            assert function.startswith("test_") and function in functions(ROOT / name), f"{promise}: {function}"


def test_every_row_of_the_page_is_a_promise_with_a_proof() -> None:
    """A row that this test does not read would promise without proof."""
    text = PAGE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(("| promise", "|---"))]
    assert len(lines) == len(rows(text))


def test_the_way_to_report_a_fault_and_the_promises_are_found() -> None:
    policy = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for heading in (
        "Reporting a fault",
        "Supported versions",
        "What this project promises",
        "What it does not promise",
    ):
        assert f"## {heading}" in policy
    for target in re.findall(r"\]\(([^)#:]+)\)", policy):
        assert (ROOT / target).exists(), target
    version = re.search(r'__version__ = "(\d+\.\d+)', (ROOT / "secure_ext" / "__init__.py").read_text(encoding="utf-8"))
    assert version and f"({version[1]})" in policy, "the supported release is the present one"
    listed = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for name in ("../SECURITY.md", PAGE.name, FACTORY.name):
        assert f"]({name})" in listed
