# SPDX-License-Identifier: Apache-2.0
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
from support.matrix_cells import Cell, all_cells, options_of, profile_of
from support.typed_documents import data_of, load

from secure_ext.bundle.write import Bundle
from secure_ext.doctor.decide import decide
from secure_ext.errors import CheckError
from secure_ext.plan.document import plan_document
from secure_ext.plan.order import PlanOrderError
from secure_ext.plan.replay import replay_plan
from secure_ext.plan.steps import Plan
from secure_ext.policy.profile import Profile
from secure_ext.sample import make_sample_build
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import DocumentFault, read_document

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
        return load(made_bundle(chip).folder / "plan.json")

    return plan


def replayed(document: Document) -> Plan:
    return replay_plan(read_document(PlanDocument, document))


def refusal(document: Document) -> str:
    with pytest.raises(CheckError) as caught:
        replayed(document)
    assert not isinstance(caught.value, PlanOrderError)
    assert caught.value.code == "SE412"
    return caught.value.cause


def refused_at_once_or_on_replay(document: Document, member: str) -> None:
    """What no plan has there is refused where it is read, and what this plan must not have when it is replayed."""
    try:
        read_document(PlanDocument, document)
    except DocumentFault as fault:
        assert member in fault.place
    else:
        refusal(document)


@pytest.mark.parametrize("cell", all_cells(), ids=str)
def test_every_plan_of_this_tool_is_read_back_as_it_was(cell: Cell, tmp_path: Path) -> None:
    keys = tuple(tmp_path / f"key{number}.pem" for number in range(cell.keys)) if cell.has_secure_boot else ()
    build = make_sample_build(tmp_path / "project", cell.chip, options=options_of(cell))
    decision = decide(build, Profile(tmp_path, profile_of(cell, keys)))
    document = json.loads(json.dumps(data_of(plan_document(decision.plan, decision.chip))))
    assert replayed(document).steps == decision.plan.steps


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
        plan = replayed({**document, "steps": steps})
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
    refused_at_once_or_on_replay(document, member)


@pytest.mark.parametrize("fields", [[], ["SPI_BOOT_CRYPT_CNT"], ["SPI_BOOT_CRYPT_CNT", "SECURE_BOOT_EN", "WR_DIS"]])
def test_what_turns_the_features_on_is_named(fields: list[str], plan_of: Callable[[str], Document]) -> None:
    """The script goes by it: images are due as long as none of them is burned."""
    refused_at_once_or_on_replay({**plan_of("esp32c3"), "enabling_fields": fields}, "enabling_fields")


def changed_step(step: str, **members: object) -> Callable[[Document], None]:
    def change(plan: Document) -> None:
        next(item for item in plan["steps"] if item["id"] == step).update(members)

    return change


def step_id(what: str, field: str) -> str:
    return f"{what}-{field.lower().replace('_', '-')}"


def another_field(field: str, value: int = 1) -> Callable[[Document], None]:
    """A step that no plan has, well-formed, in front of what turns the features on."""

    def change(plan: Document) -> None:
        position = next(n for n, step in enumerate(plan["steps"]) if step["kind"] == "burn_field")
        step = {**plan["steps"][position], "id": step_id("burn", field), "field": field, "value": value}
        plan["steps"].insert(position, step)

    return change


def protected_field(field: str, bit: int) -> Callable[[Document], None]:
    def change(plan: Document) -> None:
        position = next(n for n, step in enumerate(plan["steps"]) if step["kind"] == "write_protect")
        step = {**plan["steps"][position], "id": step_id("protect", field), "field": field, "wr_dis_bit": bit}
        plan["steps"].insert(position, step)

    return change


def without_a_question(field: str) -> Callable[[Document], None]:
    return lambda plan: plan.update(must_be_clear=[item for item in plan["must_be_clear"] if item["field"] != field])


DEMANDS: list[tuple[str, str, Callable[[Document], None]]] = [
    ("esp32c3", "an even number of bits", changed_step("burn-spi-boot-crypt-cnt", value=3)),
    ("esp32", "an even number of bits", changed_step("burn-flash-crypt-cnt", value=0b11)),
    ("esp32", "half of the addresses", changed_step("burn-flash-crypt-config", value=3)),
    ("esp32c3", "the cache off", another_field("DIS_ICACHE")),
    ("esp32c3", "anti-rollback spent", another_field("SECURE_VERSION", 0xFFFF)),
    ("esp32c3", "no forced download", another_field("DIS_FORCE_DOWNLOAD")),
    ("esp32c3", "other flash pins", another_field("SPI_PAD_CONFIG_CLK", 9)),
    ("esp32c3", "the switch of the other chip revision", changed_step("burn-secure-boot-en", min_revision=9999)),
    ("esp32c3", "the counter on no chip", changed_step("burn-spi-boot-crypt-cnt", min_revision=9999)),
    ("esp32c3", "a key on no chip", changed_step("burn-key-flash-encryption-key", min_revision=9999)),
    ("esp32c3", "SECURE_VERSION for ever", protected_field("SECURE_VERSION", 18)),
    ("esp32c3", "only a part is erased", changed_step("erase-flash", offset=0x10000)),
    ("esp32c3", "only some bytes are erased", changed_step("erase-flash", size=4096)),
    ("esp32c3", "a lower revision", lambda plan: plan.update(min_revision=0)),
    ("esp32", "a lower revision", lambda plan: plan.update(min_revision=100)),
    ("esp32c3", "no questions", lambda plan: plan.update(must_be_clear=[])),
    ("esp32c3", "a revoked slot", without_a_question("SECURE_BOOT_KEY_REVOKE0")),
    ("esp32c3", "the cache", without_a_question("DIS_ICACHE")),
    ("esp32", "secure boot V1", without_a_question("ABS_DONE_0")),
    (
        "esp32c3",
        "a question about nothing",
        lambda plan: plan["must_be_clear"].append({"field": "NO_FIELD", "why": "x"}),
    ),
    ("esp32c3", "a layout moved", lambda plan: plan["layout"][0].update(start=1)),
    ("esp32c3", "a layout cut", lambda plan: plan["layout"].pop()),
    ("esp32c3", "a virtual chip of another kind", lambda plan: plan["virtual_revision_bits"].clear()),
    ("esp32c3", "flash too small", lambda plan: plan["requirements"].update(flash_end=0)),
    ("esp32c3", "a second key", lambda plan: plan["requirements"].update(exclusive_purposes=[])),
]


@pytest.mark.parametrize(("chip", "name", "change"), DEMANDS, ids=[f"{chip}: {name}" for chip, name, _ in DEMANDS])
def test_what_the_chip_demands(
    chip: str, name: str, change: Callable[[Document], None], plan_of: Callable[[str], Document]
) -> None:
    """Also where every step is one for this chip, and in its order."""
    document = copy.deepcopy(plan_of(chip))
    replayed(document)
    change(document)
    assert document != plan_of(chip), name
    refusal(document)


def test_the_key_length_of_a_chip_with_one_block(plan_of: Callable[[str], Document]) -> None:
    document = plan_of("esp32c2")
    ids = [step["id"] for step in document["steps"]]
    whole = any(step.get("part") == "whole" for step in document["steps"] if step["kind"] == "burn_key")
    assert whole == ("burn-xts-key-length-256" in ids)
    if whole:
        document = {**document, "steps": [s for s in document["steps"] if s["id"] != "burn-xts-key-length-256"]}
    else:
        document = copy.deepcopy(document)
        another_field("XTS_KEY_LENGTH_256")(document)
    refusal(document)
