# SPDX-License-Identifier: Apache-2.0
"""`plan --diff`: what becomes irreversible, weaker or different between two releases, and nothing else."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.typed_documents import data_of

from secure_ext.bundle.write import Bundle
from secure_ext.chips.chip import load_chip
from secure_ext.doctor.decide import decide
from secure_ext.errors import InputError, UsageError
from secure_ext.plan.diff import PlanDiff, compare
from secure_ext.plan.document import plan_document
from secure_ext.plan.key_blocks import key_places
from secure_ext.plan.release import Release, read_release, release
from secure_ext.policy.profile import Profile, Value
from secure_ext.policy.signing_entry import SigningEntry, Signs
from secure_ext.station.plan_document import PlanDocument
from secure_ext.station.typed_document import document_data, read_document

Made = Callable[[str], Bundle]


@pytest.fixture
def document(made_bundle: Made) -> dict[str, Any]:
    """A plan to change."""
    return data_of(made_bundle("esp32c3").plan)


def step(document: dict[str, Any], identity: str) -> dict[str, Any]:
    return next(item for item in document["steps"] if item["id"] == identity)


def without(document: dict[str, Any], identity: str) -> dict[str, Any]:
    step(document, identity)
    return {**document, "steps": [item for item in document["steps"] if item["id"] != identity]}


def changed(document: dict[str, Any], identity: str, **values: object) -> dict[str, Any]:
    document = copy.deepcopy(document)
    step(document, identity).update(values)
    return document


def diff(old: dict[str, Any], new: dict[str, Any]) -> PlanDiff:
    return compare(released(old), released(new))


def released(document: dict[str, Any], images: Mapping[str, dict[str, Any]] | None = None) -> Release:
    return release(read_document(PlanDocument, document), images or {})


def subjects(differences: tuple[Any, ...]) -> list[str]:
    return [difference.subject for difference in differences]


def test_a_release_equals_itself(bundle: Bundle) -> None:
    found = compare(read_release(bundle.folder), read_release(bundle.folder))
    assert not found.all and not found.is_weaker and not found.notes
    burned = [item for item in bundle.plan.steps if item.irreversible]
    assert len([name for name in found.same if not name.endswith("protection")]) == len(burned)


def test_each_irreversible_step_that_is_lost_is_weaker_and_gained_is_newly_irreversible(bundle: Bundle) -> None:
    whole = data_of(bundle.plan)
    for item in whole["steps"]:
        if not item["irreversible"]:
            continue
        less = without(whole, item["id"])
        lost = diff(whole, less)
        assert len(lost.no_longer_done) == 1 and lost.is_weaker and not lost.newly_irreversible, item["id"]
        gained = diff(less, whole)
        assert subjects(gained.newly_irreversible) == subjects(lost.no_longer_done)
        assert not gained.no_longer_done and not gained.is_weaker


def test_a_lower_value_is_weaker_and_a_higher_one_newly_irreversible(document: dict[str, Any]) -> None:
    development = changed(document, "burn-spi-boot-crypt-cnt", value=1)
    back = diff(document, development)
    assert [(d.subject, d.old, d.new, d.weaker) for d in back.no_longer_done] == [
        ("burn-spi-boot-crypt-cnt", 7, 1, True)
    ]
    on = diff(development, document)
    assert [(d.subject, d.old, d.new) for d in on.newly_irreversible] == [("burn-spi-boot-crypt-cnt", 1, 7)]
    assert not on.is_weaker


def test_protections_of_a_key(document: dict[str, Any]) -> None:
    open_key = changed(document, "burn-key-flash-encryption-key", rd_dis_bits=[], wr_dis_bits=[23])
    found = diff(document, open_key)
    assert subjects(found.no_longer_done) == [
        "burn-key-flash-encryption-key-read-protection",
        "burn-key-flash-encryption-key-write-protection",
    ]
    assert all(difference.weaker for difference in found.no_longer_done)
    assert subjects(diff(open_key, document).newly_irreversible) == subjects(found.no_longer_done)


@pytest.mark.parametrize(
    ("identity", "values", "subject", "weaker"),
    [
        ("burn-key-secure-boot-digest-0", {"fingerprint": "0" * 32}, "secure boot digest 0: fingerprint", False),
        ("burn-key-secure-boot-digest-0", {"block": "BLOCK_KEY4"}, "secure boot digest 0: block", False),
        ("burn-key-flash-encryption-key", {"length": 16}, "flash encryption key: length", True),
        ("burn-dis-direct-boot", {"min_revision": 100}, "burn-dis-direct-boot: on chips from revision", True),
        ("erase-flash", {"offset": 0x1000, "size": 0x1000}, "erased flash", True),
    ],
)
def test_changed_values(
    identity: str, values: dict[str, Any], subject: str, weaker: bool, document: dict[str, Any]
) -> None:
    found = diff(document, changed(document, identity, **values))
    assert subjects(found.changed) == [subject] == subjects(found.all)
    assert found.is_weaker == weaker
    assert not diff(changed(document, identity, **values), document).is_weaker


def test_a_plan_without_fingerprints_says_nothing_of_keys(document: dict[str, Any]) -> None:
    """A plan from before its bundle: nothing is known of its keys."""
    assert not diff(document, changed(document, "burn-key-secure-boot-digest-0", fingerprint=None)).all


def test_lower_chip_revisions_are_weaker(document: dict[str, Any]) -> None:
    assert diff({**document, "min_revision": 400}, {**document, "min_revision": 300}).is_weaker
    assert not diff({**document, "min_revision": 300}, {**document, "min_revision": 400}).is_weaker


def test_flash_that_is_not_erased_or_written_is_weaker(document: dict[str, Any]) -> None:
    for identity in ("erase-flash", "write-images"):
        assert diff(document, without(document, identity)).is_weaker
        found = diff(without(document, identity), document)
        assert found.changed and not found.is_weaker and not found.newly_irreversible


def test_another_order_is_a_change(document: dict[str, Any]) -> None:
    turned = {**document, "steps": document["steps"][::-1]}
    assert subjects(diff(document, turned).all) == ["order"]


# ---- plans as they are made


@pytest.fixture
def planned(sample_project: Callable[[str], Path], signing_keys: dict[str, Path]) -> Callable[..., Release]:
    def plan(chip: str = "esp32c3", keys: int = 1, **values: Value) -> Release:
        settings: dict[str, Value] = {"secure_boot.keys": tuple(str(signing_keys[f"rsa_{i}"]) for i in range(keys))}
        settings |= {key.replace("__", "."): value for key, value in values.items()}
        decision = decide(sample_project(chip) / "build", Profile(Path(), settings))
        return release(plan_document(decision.plan, decision.chip), {})

    return plan


def test_a_download_mode_closed_further_is_not_weaker(planned: Callable[..., Release]) -> None:
    secure, disabled, opened = (planned(lockdown__download_mode=mode) for mode in ("secure", "disabled", "open"))
    further = compare(secure, disabled)
    assert subjects(further.newly_irreversible) == ["burn-dis-download-mode"]
    assert [(d.subject, d.weaker) for d in further.no_longer_done] == [("burn-enable-security-download", False)]
    assert further.no_longer_done[0].note and not further.is_weaker
    assert compare(disabled, secure).is_weaker
    assert compare(secure, opened).is_weaker and not compare(opened, secure).is_weaker


def test_what_a_key_signs_is_compared(planned: Callable[..., Release]) -> None:
    """Not weaker: the boards trust the same digests. A plan that does not say is one in which every key signs all."""
    spare = planned(secure_boot__keys=("rsa_0.pem", SigningEntry("rsa_1.pem", signs=Signs.BOOTLOADER)))
    both = planned(keys=2)
    changed = compare(both, spare)
    assert [(d.subject, d.old, d.new) for d in changed.all] == [
        ("secure boot digest 1: signs", "all", "bootloader"),
    ]
    assert not changed.is_weaker and not compare(spare, both).is_weaker


def test_blocks_that_are_left_to_stations_are_a_change(document: dict[str, Any]) -> None:
    """`place: station`: what the plan says of blocks is no longer what every board has."""
    chip = load_chip("esp32c3", document["min_revision"])
    placed = {**document, "places": document_data(key_places(chip, frozenset({"KEY3"})))}
    (found,) = diff(document, placed).changed
    assert (found.old, found.new) == ((), tuple(f"BLOCK_KEY{number}" for number in (0, 1, 2, 4, 5)))


def test_a_longer_flash_encryption_key_is_not_weaker(planned: Callable[..., Release]) -> None:
    short, long = planned("esp32s3"), planned("esp32s3", flash_encryption__key_size="256")
    assert not compare(short, long).is_weaker
    assert len(compare(short, long).newly_irreversible) == 2
    assert compare(long, short).is_weaker


def test_a_slot_that_is_not_revoked_any_more_is_weaker(planned: Callable[..., Release]) -> None:
    """A second signing key: one more whose loss opens the boards."""
    found = compare(planned(), planned(keys=2))
    assert [d.subject for d in found.no_longer_done if d.weaker] == ["burn-secure-boot-key-revoke1"]
    assert subjects(found.newly_irreversible) == ["burn-key-secure-boot-digest-1"]


def test_different_chips_are_not_compared(planned: Callable[..., Release]) -> None:
    with pytest.raises(UsageError) as caught:
        compare(planned("esp32c3"), planned("esp32s3"))
    assert caught.value.code == "SE782"


# ---- images


def images(**rows: dict[str, Any]) -> dict[str, dict[str, Any]]:
    usual = {"offset": 0x20000, "size": 10, "sha256": "0" * 64, "signed": True, "encrypted": True}
    return {name: {**usual, **row} for name, row in rows.items()}


@pytest.mark.parametrize(
    ("new", "expected", "weaker"),
    [
        (images(app={"sha256": "1" * 64, "size": 11}), ["app: size", "app: sha256"], False),
        (images(app={"offset": 0x30000}), ["app: offset"], False),
        (images(app={"signed": False}), ["app: signed"], True),
        (images(app={"encrypted": False}), ["app: encrypted"], True),
        (images(other={"signed": False}), ["app: name", "app: signed"], True),
        (images(app={}, more={"offset": 0}), ["more"], False),
        (images(other={"offset": 0}), ["app", "other"], False),
    ],
)
def test_images(new: dict[str, dict[str, Any]], expected: list[str], weaker: bool, document: dict[str, Any]) -> None:
    found = compare(released(document, images(app={})), released(document, new))
    assert subjects(found.images) == expected == subjects(found.all)
    assert found.is_weaker == weaker


def test_what_is_not_known_is_not_compared_and_said(made_bundle: Made) -> None:
    folder = made_bundle("esp32c3").folder
    whole, alone = read_release(folder), read_release(folder / "plan.json")
    found = compare(whole, alone)
    assert not found.all and "NEW is a plan.json alone" in found.notes[0]


# ---- whatever is taken away


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_new_one_way_is_gone_the_other_way(made_bundle: Made, data: st.DataObject) -> None:
    full = data_of(made_bundle(data.draw(st.sampled_from(("esp32", "esp32c3")))).plan)

    def some() -> Release:
        steps = []
        for item in copy.deepcopy(full["steps"]):
            if item["kind"] == "burn_field":
                item["value"] = data.draw(st.integers(1, item["value"]))
            if item["kind"] == "burn_key" and data.draw(st.booleans()):
                item["rd_dis_bits"] = []
            if item["kind"] == "write_images" or data.draw(st.booleans()):
                steps.append(item)
        return released({**full, "steps": steps})

    old, new = some(), some()
    there, back = compare(old, new), compare(new, old)
    assert set(subjects(there.newly_irreversible)) == set(subjects(back.no_longer_done))
    assert set(subjects(there.no_longer_done)) == set(subjects(back.newly_irreversible))
    assert set(there.same) == set(back.same)
    assert set(subjects(there.changed)) == set(subjects(back.changed))
    assert not compare(old, old).all


# ---- the command


def test_the_command(made_bundle: Made, run_cli: Callable[..., Result], tmp_path: Path) -> None:
    bundle = made_bundle("esp32c3")
    weaker = tmp_path / "weaker.json"
    weaker.write_text(json.dumps(without(data_of(bundle.plan), "write-protect-rd-dis")), encoding="utf-8")
    done = run_cli("plan", "--diff", bundle.folder, weaker)
    assert done.exit_code == 1 and "WEAKER  Write-protect RD_DIS" in done.stdout and "NEW IS WEAKER" in done.stdout
    done = run_cli("plan", "--diff", weaker, bundle.folder, "--format", "json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["exit_code"], found["weaker"], found["equal"]) == (0, 0, False, False)
    assert [item["subject"] for item in found["newly_irreversible"]] == ["write-protect-bit-0"]
    done = run_cli("plan", "--diff", bundle.folder, bundle.folder / "manifest.json")
    assert done.exit_code == 0 and done.stdout.endswith("diff: equal\n")


def test_a_saved_plan_is_compared_with_the_bundle_made_of_it(
    made_bundle: Made,
    sample_project: Callable[[str], Path],
    signing_keys: dict[str, Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> None:
    saved = tmp_path / "plan.json"
    options = ("-B", sample_project("esp32c3") / "build", "--signing-key", signing_keys["rsa_0"])
    saved.write_text(run_cli("plan", *options, "--format", "json").stdout, encoding="utf-8")
    assert run_cli("plan", "--diff", saved, made_bundle("esp32c3").folder).stdout.endswith("diff: equal\n")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"plan": 5, "images": []}', '{"chip": "esp32"}', "\x00", "[" * 100000]
)
def test_something_else_is_refused(content: str, tmp_path: Path, run_cli: Callable[..., Result]) -> None:
    path = tmp_path / "plan.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_release(path)
    assert caught.value.code == "SE875"
    done = run_cli("plan", "--diff", path, tmp_path, "--format", "json")
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (3, "SE875")


def test_nothing_is_neither_a_bundle_nor_a_plan(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "plan.json", tmp_path / "manifest.json", tmp_path / "none"):
        with pytest.raises(InputError) as caught:
            read_release(path)
        assert caught.value.code == "SE781"


def test_a_plan_with_any_part_missing_is_refused_or_read(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    for name in document:
        for value in (None, 5, "text", [5]):
            path.write_text(json.dumps({**document, name: value}), encoding="utf-8")
            try:
                compare(read_release(path), read_release(path))
            except InputError as error:
                assert error.code == "SE875"


def test_moved_bundles_are_found_by_their_manifest(made_bundle: Made, tmp_path: Path) -> None:
    for name in ("manifest.json", "plan.json"):
        shutil.copy(made_bundle("esp32c3").folder / name, tmp_path / name)
    assert read_release(tmp_path) == read_release(tmp_path / "manifest.json")
