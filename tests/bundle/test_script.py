# SPDX-License-Identifier: Apache-2.0
"""``provision.py``: one self-contained file for Python 3.9 and later, made of the runner's own modules."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secure_ext.bundle.commands import render_powershell, render_shell
from secure_ext.bundle.script import RUNNER_MODULES, embedded_source, render_script
from secure_ext.bundle.write import Bundle
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data

HELPER = "secure_ext.station.helper_program"
FORCE = re.compile(r"--?force")


def source_of(module: str) -> str:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def script_of(bundle: Bundle) -> str:
    return (bundle.folder / "provision.py").read_text(encoding="utf-8")


def defined_names(tree: ast.Module) -> Iterator[str]:
    """The names that a module defines itself at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """The modules that are loaded when it runs; those under ``if TYPE_CHECKING`` never are."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            yield node.module
        yield from imported_modules(node)


def test_it_is_python_3_9(bundle: Bundle) -> None:
    compile(ast.parse(script_of(bundle), feature_version=(3, 9)), "provision.py", "exec")


@pytest.mark.parametrize("module", RUNNER_MODULES)
def test_every_runner_module_is_python_3_9(module: str) -> None:
    ast.parse(source_of(module), feature_version=(3, 9))


NO_PYTHON_3_9 = "no Python 3.9 on the PATH or in ~/.pyenv: only the grammar of 3.9 was checked"


def old_python() -> str | None:
    """A real Python 3.9 of this machine."""
    candidates = [shutil.which("python3.9")]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.9.*/bin/python"))]
    for candidate in candidates:
        if candidate is None:
            continue
        done = subprocess.run([candidate, "--version"], capture_output=True, encoding="utf-8", check=False)
        if done.returncode == 0 and "3.9" in done.stdout:
            return candidate
    return None


def test_it_runs_on_a_real_python_3_9(bundle: Bundle) -> None:
    python = old_python()
    if python is None:
        pytest.skip(NO_PYTHON_3_9)
    words = [python, "-I", "-B", str(bundle.folder / "provision.py")]
    done = subprocess.run([*words, "--help"], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert "--port" in done.stdout and "--virt" in done.stdout and "example" in done.stdout


def test_without_esptool_it_says_so(bundle: Bundle, tmp_path: Path) -> None:
    python = old_python()
    if python is None:
        pytest.skip(NO_PYTHON_3_9)
    words = [python, "-I", "-B", str(bundle.folder / "provision.py"), "--virt", str(tmp_path / "chip.bin"), "--yes"]
    environment = {name: value for name, value in os.environ.items() if name != "PATH"} | {"PATH": str(tmp_path)}
    if subprocess.run([python, "-I", "-c", "import espefuse"], capture_output=True, check=False).returncode == 0:
        pytest.skip("this Python 3.9 has espefuse, and what is tested is a Python without it")
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False, env=environment)
    assert done.returncode == 4
    assert "STOP SE801" in done.stdout and "-m pip install --upgrade esptool" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_needs_no_package_but_the_standard_library(bundle: Bundle) -> None:
    """With an empty path and without site-packages, the script still loads."""
    words = [sys.executable, "-I", "-S", "-B", str(bundle.folder / "provision.py"), "--help"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


def test_it_imports_only_the_standard_library(bundle: Bundle) -> None:
    modules = set(imported_modules(ast.parse(script_of(bundle))))
    assert "__future__" in modules
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names
    assert "secure_ext" not in modules


@pytest.mark.parametrize("module", RUNNER_MODULES)
def test_runner_modules_import_nothing_else(module: str) -> None:
    tree = ast.parse(source_of(module))
    own = {name for name in imported_modules(tree) if name.startswith("secure_ext")}
    # each stands behind those it needs
    assert own <= set(RUNNER_MODULES[: RUNNER_MODULES.index(module)])
    others = {name.partition(".")[0] for name in imported_modules(tree)} - {"secure_ext"}
    assert others <= sys.stdlib_module_names
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in RUNNER_MODULES:
            # the import is dropped in the script, where the name is simply there
            assert all(alias.asname is None for alias in node.names)
            assert node in tree.body


def test_no_two_runner_modules_define_the_same_name() -> None:
    owners: dict[str, str] = {}
    for module in RUNNER_MODULES:
        for name in set(defined_names(ast.parse(source_of(module)))):
            same_alias = name == "Step"
            assert name not in owners or same_alias, f"{name} is in {owners.get(name)} and in {module}"
            owners[name] = module


def test_every_imported_name_is_defined_in_the_script(bundle: Bundle) -> None:
    defined = set(defined_names(ast.parse(script_of(bundle))))
    for module in RUNNER_MODULES:
        for node in ast.walk(ast.parse(source_of(module))):
            if isinstance(node, ast.ImportFrom) and node.module in RUNNER_MODULES:
                assert {alias.name for alias in node.names} <= defined


def test_it_contains_the_runner_as_it_is(bundle: Bundle) -> None:
    script = script_of(bundle)
    assert [module for module in RUNNER_MODULES if embedded_source(module).strip("\n") not in script] == []


def test_the_program_of_the_board_is_a_text_in_it() -> None:
    embedded = ast.parse(embedded_source(HELPER))
    (text,) = [ast.literal_eval(node.value) for node in embedded.body if isinstance(node, ast.Assign)]
    defined = set(defined_names(ast.parse(text)))
    for module in ("secure_ext.station.burn_guard", "secure_ext.station.board_helper"):
        assert set(defined_names(ast.parse(source_of(module)))) <= defined
        own = [line for line in source_of(module).splitlines() if not line.startswith(("from secure_ext", "from __f"))]
        assert set(own) <= set(text.splitlines())


@pytest.mark.parametrize("module", [module for module in RUNNER_MODULES if module != HELPER])
def test_a_module_of_the_runner_is_embedded_as_it_is(module: str) -> None:
    embedded = embedded_source(module).strip("\n")
    # nothing but licence, docstring and the imports of other runner modules is left out
    source = ast.parse(source_of(module))
    kept = [
        node
        for number, node in enumerate(source.body)
        if not (number == 0 and isinstance(node, ast.Expr))
        and not (isinstance(node, ast.ImportFrom) and node.module in ("__future__", *RUNNER_MODULES))
    ]
    assert [ast.dump(node) for node in ast.parse(embedded).body] == [ast.dump(node) for node in kept]
    lines = embedded.splitlines()
    original = source_of(module).splitlines()
    assert set(lines) <= set(original)
    comments = [line for line in original if line.lstrip().startswith("#") and "SPDX" not in line]
    assert [line for line in lines if line.lstrip().startswith("#")] == comments


def table(script: str) -> dict[str, Any]:
    for node in ast.parse(script).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "PLAN":
            value = ast.literal_eval(node.value)
            assert isinstance(value, dict)
            return value
    raise AssertionError("there is no PLAN in the script")


def test_its_plan_is_that_of_plan_json(bundle: Bundle) -> None:
    plan = json.loads((bundle.folder / "plan.json").read_text(encoding="utf-8"))
    assert table(script_of(bundle)) == plan == document_data(bundle.plan)


def test_every_step_is_numbered_and_explained(bundle: Bundle) -> None:
    script = script_of(bundle)
    places = [script.index(f"        # {number}\n") for number, _ in enumerate(bundle.plan.steps, 1)]
    assert places == sorted(places)
    for place, step in zip(places, bundle.plan.steps, strict=True):
        told = script[place : script.index("},\n", place)]
        assert f"'{step.title[:30]}" in told or f'"{step.title[:30]}' in told
        assert "'why':" in told and "'source':" in told


def test_nothing_is_ever_forced(bundle: Bundle) -> None:
    for name in ("provision.py", "commands.sh", "commands.ps1"):
        assert not FORCE.search((bundle.folder / name).read_text(encoding="utf-8"))


def test_it_is_readable(bundle: Bundle) -> None:
    script = script_of(bundle)
    assert max(len(line) for line in script.splitlines()) <= 240
    code = script[script.index("# ---- secure_ext") :]
    assert max(len(line) for line in code.splitlines()) <= 120
    assert "\t" not in script and "\r" not in script and script.endswith("\n")
    assert script.startswith("#!/usr/bin/env python3\n")
    assert (bundle.folder / "provision.py").stat().st_mode & 0o111


HOSTILE = (
    'x"""\nraise SystemExit(77)\n"""',
    "x\nexit 77\n#",
    "back\\slash \\N{unknown} \\x",
    "x\rexit 77",
    "{chip} {0} %s $(exit 77) `exit 77`",
    "Gerät № 5",
)


@pytest.mark.parametrize("project", HOSTILE)
def test_a_project_name_is_never_code(project: str, bundle: Bundle, tmp_path: Path) -> None:
    script = render_script(bundle.plan, project)
    expected = ast.parse(render_script(bundle.plan, "sample")).body[1:]
    tree = ast.parse(script)
    assert isinstance(tree.body[0], ast.Expr) and isinstance(tree.body[0].value, ast.Constant)
    assert [ast.dump(node) for node in tree.body[1:]] == [ast.dump(node) for node in expected]


@pytest.mark.parametrize("project", HOSTILE)
@pytest.mark.parametrize("render", [render_shell, render_powershell])
def test_a_project_name_is_no_command(render: Callable[[PlanDocument, str], str], project: str, bundle: Bundle) -> None:
    def commands(name: str) -> list[str]:
        lines = re.split(r"[\r\n]", render(bundle.plan, name))
        return [line for line in lines if line and not line.startswith("#")]

    assert commands(project) == commands("sample")


def test_the_shell_script_is_one(bundle: Bundle) -> None:
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("there is no sh on the PATH to check the syntax with")
    done = subprocess.run([shell, "-n", str(bundle.folder / "commands.sh")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_plain_commands_do_every_step(bundle: Bundle) -> None:
    text = (bundle.folder / "commands.sh").read_text(encoding="utf-8")
    words = " ".join(line for line in text.splitlines() if not line.startswith("#")).split()
    for step in bundle.plan.steps:
        if step.kind == "burn_key":
            place = words.index(step.file)
            assert words[place - 1] == step.burn_name
            assert not step.purpose or words[place + 1] == step.purpose
        elif step.kind == "burn_field" and step.min_revision <= bundle.plan.min_revision:
            assert words[words.index(step.field) + 1] == str(step.value)
        elif step.kind == "write_protect" and step.min_revision <= bundle.plan.min_revision:
            assert step.field in words[words.index("write-protect-efuse") :]
    for image in bundle.plan.images:
        assert words[words.index(image.file) - 1] == hex(image.offset)


@pytest.mark.parametrize("arguments", [[], ["--port", "a", "--virt", "b"], ["--virt", "b", "--until", "never"]])
def test_wrong_usage_ends_with_2(arguments: list[str], made_bundle: Callable[[str], Bundle]) -> None:
    words = [sys.executable, str(made_bundle("esp32c3").folder / "provision.py"), *arguments]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 2 and "usage:" in done.stderr


@pytest.mark.parametrize(
    "name", ["images/sample.bin", "keys/flash_encryption_key.bin", "digests/secure_boot_digest_0.bin"]
)
@pytest.mark.parametrize("change", ["missing", "changed"])
def test_a_damaged_bundle_is_refused_before_anything(
    change: str, name: str, made_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(made_bundle("esp32c3").folder, bundle)
    if change == "missing":
        (bundle / name).unlink()
    else:
        content = bytearray((bundle / name).read_bytes())
        content[0] ^= 1
        (bundle / name).write_bytes(content)
    chip = tmp_path / "chip.bin"
    words = [sys.executable, "-B", str(bundle / "provision.py"), "--virt", str(chip), "--yes"]
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 3
    assert "STOP SE820" in done.stdout and name in done.stdout and "What to do: " in done.stdout
    assert not chip.exists()
