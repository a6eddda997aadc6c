# SPDX-License-Identifier: Apache-2.0
"""What a plan says in words stays words, in every rendering and on every terminal; and it is one line."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.typed_documents import load

from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.manifest import document_text
from secure_ext.bundle.read import read_bundle
from secure_ext.bundle.script import render_script
from secure_ext.bundle.write import Bundle
from secure_ext.errors import InputError
from secure_ext.station.one_line import harmless, is_one_line, one_line, printable
from secure_ext.station.plan_document import PlanDocument

BREAKS = ("\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
HOSTILE = [f"x{line_break}touch pwned" for line_break in BREAKS] + ["\x1b[2Jx", "\0", "\u202ex"]


def with_texts(plan: PlanDocument, text: str) -> PlanDocument:
    """The plan with all that it says in words, and the chip, replaced; no reader would take it."""
    steps = tuple(replace(step, title=text, why=text, source=text) for step in plan.steps)
    must_be_clear = tuple(replace(item, why=text) for item in plan.must_be_clear)
    chip: Any = text
    return replace(plan, chip=chip, steps=steps, must_be_clear=must_be_clear)


def commands(text: str) -> list[str]:
    """The lines that a shell or Python would run; Python's own idea of a line break is the widest."""
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("render", [render_shell, render_powershell])
@pytest.mark.parametrize("text", HOSTILE)
def test_a_comment_stays_a_comment(
    text: str, render: Callable[[PlanDocument, str], str], made_bundle: Callable[[str], Bundle]
) -> None:
    plan = read_bundle(made_bundle("esp32c3").folder).plan
    hostile = replace(with_texts(plan, text), chip=plan.chip)
    assert commands(render(hostile, text)) == commands(render(plan, "x"))


@pytest.mark.parametrize("text", [*HOSTILE, '"""\nimport os\n"""', "\\", "'\n"])
def test_the_script_has_the_same_statements_whatever_a_plan_says(
    text: str, made_bundle: Callable[[str], Bundle]
) -> None:
    plan = read_bundle(made_bundle("esp32c3").folder).plan
    tree = ast.parse(render_script(with_texts(plan, text), text))
    assert len(tree.body) == len(ast.parse(render_script(plan, "x")).body)
    assigned = next(
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PLAN"
    )
    assert ast.literal_eval(assigned.value)["steps"][0]["why"] == text


def test_a_quote_in_a_word_ends_no_word(made_bundle: Callable[[str], Bundle]) -> None:
    """PowerShell takes typographic single quotes for the plain one."""
    plan = read_bundle(made_bundle("esp32c3").folder).plan
    for quote in "'\u2018\u2019\u201a\u201b":
        images = (replace(plan.images[0], file=f"a{quote};calc"), *plan.images[1:])
        assert f"'a{quote}{quote};calc'" in render_powershell(replace(plan, images=images), "x")


@pytest.mark.parametrize("member", ["title", "why", "source"])
@pytest.mark.parametrize("text", HOSTILE[::3])
def test_no_command_reads_a_plan_whose_words_are_several_lines(
    member: str, text: str, made_bundle: Callable[[str], Bundle], tmp_path: Path, run_cli: Callable[..., Result]
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(made_bundle("esp32c3").folder, folder)
    manifest, whole = load(folder / "manifest.json"), read_bundle(folder).plan
    words: dict[str, Any] = {member: text}
    plan = replace(whole, steps=(replace(whole.steps[0], **words), *whole.steps[1:]))
    (folder / "plan.json").write_text(document_text(plan))
    for name, render in (("commands.sh", render_shell), ("provision.py", render_script)):
        (folder / name).write_text(render(plan, manifest["project"]), newline="")
    for name in manifest["files"]:
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    with pytest.raises(InputError, match="SE875"):
        read_bundle(folder)
    assert run_cli("verify", folder).exit_code == 1
    summary = tmp_path / "none.json"
    assert "SE875" in run_cli("audit", "--plan", folder / "plan.json", "--summary", summary).stderr


def test_the_name_of_a_project_moves_no_cursor(new_build: Callable[..., Path], run_cli: Callable[..., Result]) -> None:
    build = new_build()
    path = build / "project_description.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "project_name": "\x1b[2J\x1b]0;owned\x07\nx"}))
    for command in ("plan", "doctor"):
        shown = run_cli(command, "-B", build)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown.output)
    made = run_cli("plan", "-B", build, "--format", "json")
    assert "\\u001b" not in made.stdout


def test_what_a_line_is() -> None:
    for text in HOSTILE:
        assert not is_one_line(text)
        for shown in (one_line(text), printable(text)):
            assert is_one_line(shown) and len(shown) == len(text)
    assert one_line("Gr\u00fc\u00dfe \u65e5\u672c") == "Gr\u00fc\u00dfe \u65e5\u672c"
    assert harmless("a\nb\x1b") == "a\nb?"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_no_core_file_is_left_of_a_command() -> None:
    """Whatever is started by it has the same limit."""
    code = (
        "import resource, secure_ext.cli.main as c\n"
        "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "try: c.main(['keys', 'digest', 'nothing'])\n"
        "except SystemExit: print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.strip() == "(0, 0)"


def test_an_old_python_is_told_so(made_bundle: Callable[[str], Bundle]) -> None:
    """Python 3.8 can parse the script, and the first statements tell."""
    text = (made_bundle("esp32c3").folder / "provision.py").read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    statements = [ast.unparse(node).splitlines()[0] for node in tree.body[1:4]]
    assert statements == ["from __future__ import annotations", "import sys", "if sys.version_info < (3, 9):"]
