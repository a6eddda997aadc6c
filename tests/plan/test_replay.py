"""A plan that somebody has changed is refused by whoever reads it, though all its hashes were made right."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matrix_cells import Cell, all_cells, options_of, profile_of

from secure_ext.bundle.write import Bundle
from secure_ext.errors import CheckError
from secure_ext.plan.decide import decide
from secure_ext.plan.document import plan_document
from secure_ext.plan.order import PlanOrderError
from secure_ext.plan.replay import replay_plan
from secure_ext.policy.profile import Profile
from secure_ext.sample import make_sample_build

Document = dict[str, Any]
LETHAL = {
    "esp32": (
        "write-images",
        "burn-key-flash-encryption-key",
        "burn-flash-crypt-config",
        "burn-key-secure-boot-digest-0",
    ),
    "esp32c2": (
        "write-images",
        "burn-key-flash-encryption-key",
        "burn-key-secure-boot-digest-0",
        "burn-secure-boot-en",
    ),
    "esp32c3": (
        "write-images",
        "burn-key-flash-encryption-key",
        "burn-key-secure-boot-digest-0",
        "burn-secure-boot-en",
    ),
}
"""Steps without which the others end a board."""


@pytest.fixture(scope="module")
def plan_of(made_bundle: Callable[[str], Bundle]) -> Callable[[str], Document]:
    def plan(chip: str) -> Document:
        document = json.loads((made_bundle(chip).folder / "plan.json").read_text(encoding="utf-8"))
        assert isinstance(document, dict)
        return document

    return plan


def refusal(document: Document) -> str:
    with pytest.raises(CheckError) as caught:
        replay_plan(document)
    assert not isinstance(caught.value, PlanOrderError)
    assert caught.value.code == "SE412"
    return caught.value.cause


@pytest.mark.parametrize("cell", all_cells(), ids=str)
def test_every_plan_of_this_tool_is_read_back_as_it_was(cell: Cell, tmp_path: Path) -> None:
    keys = tuple(tmp_path / f"key{number}.pem" for number in range(cell.keys)) if cell.has_secure_boot else ()
    build = make_sample_build(tmp_path / "project", cell.chip, options=options_of(cell))
    decision = decide(build, Profile(tmp_path, profile_of(cell, keys)))
    document = json.loads(json.dumps(plan_document(decision.plan, decision.chip)))
    assert replay_plan(document).steps == decision.plan.steps


@pytest.mark.parametrize(("chip", "step"), [(chip, step) for chip, steps in LETHAL.items() for step in steps])
def test_a_step_that_is_missing(chip: str, step: str, plan_of: Callable[[str], Document]) -> None:
    document = plan_of(chip)
    kept = [item for item in document["steps"] if item["id"] != step]
    assert len(kept) == len(document["steps"]) - 1
    refusal({**document, "steps": kept})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_steps_in_another_order(plan_of: Callable[[str], Document], data: st.DataObject) -> None:
    """Keys come before what uses them, protections after what they protect; whatever still passes keeps to that."""
    document = plan_of("esp32c3")
    steps = data.draw(st.permutations(document["steps"]))
    try:
        plan = replay_plan({**document, "steps": steps})
    except CheckError as error:
        assert error.code == "SE412"
        return
    order = [step.id for step in plan.steps]
    assert order.index("write-images") < order.index("burn-spi-boot-crypt-cnt")
    for key in ("flash-encryption-key", "secure-boot-digest-0", "nvs-hmac-key"):
        assert order.index(f"burn-key-{key}") < order.index("write-protect-rd-dis")
    for last in ("burn-spi-boot-crypt-cnt", "burn-secure-boot-en"):
        assert order.index("burn-key-flash-encryption-key") < order.index(last)


OTHER_VALUES = [
    ("burn-spi-boot-crypt-cnt", "value", 0),
    ("burn-spi-boot-crypt-cnt", "value", 8),
    ("burn-spi-boot-crypt-cnt", "value", True),
    ("burn-spi-boot-crypt-cnt", "value", "7"),
    ("burn-spi-boot-crypt-cnt", "field", "SPI_BOOT_CRYPT_CNTX"),
    ("burn-spi-boot-crypt-cnt", "stage", "seal"),
    ("burn-spi-boot-crypt-cnt", "irreversible", False),
    ("burn-enable-security-download", "stage", "burn"),
    ("burn-enable-security-download", "field", "DIS_ICACHE"),
    ("burn-key-flash-encryption-key", "rd_dis_bits", []),
    ("burn-key-flash-encryption-key", "wr_dis_bits", []),
    ("burn-key-flash-encryption-key", "readable_bits", [0]),
    ("burn-key-flash-encryption-key", "reversed", False),
    ("burn-key-flash-encryption-key", "purpose", "SECURE_BOOT_DIGEST0"),
    ("burn-key-flash-encryption-key", "purpose", "HMAC_DOWN_ALL"),
    ("burn-key-flash-encryption-key", "block", "BLOCK_KEY5"),
    ("burn-key-flash-encryption-key", "block", "BLOCK_SYS_DATA"),
    ("burn-key-flash-encryption-key", "block_number", 9),
    ("burn-key-flash-encryption-key", "burn_name", "BLOCK_KEY4"),
    ("burn-key-flash-encryption-key", "file", "../other.bin"),
    ("burn-key-flash-encryption-key", "length", 16),
    ("burn-key-flash-encryption-key", "part", "low"),
    ("burn-key-flash-encryption-key", "part", "half"),
    ("burn-key-secure-boot-digest-0", "role", "secure_boot_digest_1"),
    ("burn-key-secure-boot-digest-0", "rd_dis_bits", [1]),
    ("burn-key-secure-boot-digest-0", "purpose", "XTS_AES_128_KEY"),
    ("burn-secure-boot-key-revoke1", "field", "SECURE_BOOT_KEY_REVOKE0"),
    ("write-protect-rd-dis", "wr_dis_bit", 24),
    ("write-protect-rd-dis", "field", "KEY_PURPOSE_0"),
    ("write-images", "kind", "run"),
    ("write-images", "stage", "later"),
]


@pytest.mark.parametrize(("step", "member", "value"), OTHER_VALUES)
def test_a_step_that_says_something_else(
    step: str, member: str, value: object, plan_of: Callable[[str], Document]
) -> None:
    document = copy.deepcopy(plan_of("esp32c3"))
    next(item for item in document["steps"] if item["id"] == step)[member] = value
    refusal(document)


@pytest.mark.parametrize("fields", [[], ["SPI_BOOT_CRYPT_CNT"], ["SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN", "WR_DIS"]])
def test_what_turns_the_features_on_is_named(fields: list[str], plan_of: Callable[[str], Document]) -> None:
    """The script goes by it: images are due as long as none of them is burned."""
    refusal({**plan_of("esp32c3"), "enabling_fields": fields})
