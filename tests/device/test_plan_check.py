# SPDX-License-Identifier: Apache-2.0
"""The script burns no switch without its key and its images, whatever its table says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.typed_documents import load

from secure_ext.bundle.script import render_script
from secure_ext.bundle.write import Bundle
from secure_ext.station.esp_tools import Stop
from secure_ext.station.plan_check import check_plan
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import read_document

Forge = Callable[[dict[str, Any]], None]


def without(*steps: str) -> Forge:
    def forge(plan: dict[str, Any]) -> None:
        plan["steps"] = [step for step in plan["steps"] if step["id"] not in steps]

    return forge


def last(step_id: str) -> Forge:
    def forge(plan: dict[str, Any]) -> None:
        plan["steps"].sort(key=lambda step: step["id"] == step_id)

    return forge


FORGERIES: dict[str, Forge] = {
    "no flash encryption key": without("burn-key-flash-encryption-key"),
    "no digest": without("burn-key-secure-boot-digest-0"),
    "no images written": without("write-images"),
    "no images": lambda plan: plan.update(images=[]),
    "the flash encryption key last": last("burn-key-flash-encryption-key"),
    "the digest last": last("burn-key-secure-boot-digest-0"),
    "the images last": last("write-images"),
    "a switch that is not named": lambda plan: plan.update(enabling_fields=[]),
}


@pytest.fixture
def plan(bundle: Bundle) -> dict[str, Any]:
    return load(bundle.folder / "plan.json")


def test_a_plan_of_this_tool_is_fine(plan: dict[str, Any]) -> None:
    check_plan(read_document(PlanDocument, plan))


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_lethal_plan(forge: Forge, plan: dict[str, Any]) -> None:
    forge(plan)
    with pytest.raises(Stop) as caught:
        check_plan(read_document(PlanDocument, plan))
    assert caught.value.code == "SE866"


def test_the_script_of_a_lethal_plan_touches_nothing(
    plan: dict[str, Any], tmp_path: Path, run_program: Callable[..., tuple[int, str]]
) -> None:
    without("burn-key-flash-encryption-key")(plan)
    script = tmp_path / "provision.py"
    script.write_text(render_script(read_document(PlanDocument, plan), "forged"), encoding="utf-8")
    code, output = run_program(script, "--virt", tmp_path / "chip.bin", "--yes")
    assert code == 3
    assert "SE866" in output
    assert not (tmp_path / "chip.bin").exists()


@pytest.mark.parametrize("name", ["argparse", "json", "subprocess", "esptool", "espefuse", "secure_ext"])
def test_nothing_beside_the_script_is_imported(
    name: str, bundle: Bundle, tmp_path: Path, run_program: Callable[..., tuple[int, str]]
) -> None:
    """Neither from its own folder nor from the current one, by the script or by the tools that it starts."""
    script = tmp_path / "provision.py"
    script.write_bytes((bundle.folder / "provision.py").read_bytes())
    for folder in (tmp_path, tmp_path / "elsewhere"):
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text("print('I RAN')", encoding="ascii")
        (folder / "esptool.cfg").write_text("[esptool]\nopen_port_attempts = 0\ntimeout = 0\n", encoding="ascii")
        code, output = run_program(script, "--virt", tmp_path / "chip.bin", "--yes", cwd=folder)
        assert "I RAN" not in output
        assert "SE820" in output, "it came as far as its files, which are not here"
        assert code == 3
