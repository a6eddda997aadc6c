# SPDX-License-Identifier: Apache-2.0
"""The summary says what is true of this plan, and promises nothing that the plan does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.typed_documents import manifest_with

from secure_ext.doctor.decide import decide
from secure_ext.plan.document import plan_document
from secure_ext.plan.effects import effects_of
from secure_ext.policy.profile import Profile, Value
from secure_ext.report.aftermath import STOPS
from secure_ext.report.element import Node
from secure_ext.report.open_doors import open_doors
from secure_ext.report.summary import summary_section
from secure_ext.sample.options import SampleOptions
from secure_ext.station.efuse_features import Download
from secure_ext.station.plan_document import PlanDocument

RELEASE = SampleOptions("release", secure_boot=True)
SCRIPT_PAGE = Path(__file__).parents[2] / "docs" / "script.md"


@pytest.fixture
def planned(new_build: Callable[..., Path], signing_keys: dict[str, Path]) -> Callable[..., PlanDocument]:
    def plan(chip: str, options: SampleOptions, **values: Value) -> PlanDocument:
        settings: dict[str, Value] = {key.replace("__", "."): value for key, value in values.items()}
        if options.secure_boot:
            settings["secure_boot.keys"] = (str(signing_keys["rsa_0"]),)
        decision = decide(new_build(chip, options), Profile(Path(), settings))
        return plan_document(decision.plan, decision.chip)

    return plan


def words(node: Node) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    else:
        for child in node.children:
            yield from words(child)


def said(plan: PlanDocument, per_device: dict[str, object] | None = None) -> str:
    section = summary_section(manifest_with(per_device=per_device), plan, effects_of(plan))
    return " ".join("".join(words(section)).split())


def test_everything_closed(planned: Callable[..., PlanDocument]) -> None:
    plan = planned("esp32c6", SampleOptions("release", secure_boot=True))
    text = said(plan)
    assert "cannot be read, copied or replaced by strangers" in text
    assert "(3 files)" in text and "3 keys and 12 settings are burned" in text
    assert "16 of 18 steps can never be undone" in text
    assert open_doors(effects_of(plan)) == ()


def test_secure_boot_alone_does_not_hide_the_software(planned: Callable[..., PlanDocument]) -> None:
    options = SampleOptions(secure_boot=True)
    text = said(planned("esp32c6", options, lockdown__download_mode="open", lockdown__jtag="open"))
    assert "cannot be replaced by strangers" in text and "read, copied" not in text
    assert "Do not restart the board between Flash and Burn" in text
    assert "a board that was flashed has to stay connected until Burn is over" in text
    assert "Whoever has the board can get at its software" in text
    assert "JTAG) stays open" in text and "(download mode) stays open." in text
    assert "Seal" not in text and "by cable from someone" not in text


def test_development_mode_is_called_so(planned: Callable[..., PlanDocument]) -> None:
    plan = planned("esp32c6", SampleOptions("development"))
    text = said(plan)
    assert "development mode, which is not for products" in text and "on for ever" not in text
    assert "Secure boot is not on" in text and "signing keys" not in text
    assert effects_of(plan).flash_encryption == "development"


def test_a_closed_download_mode_leaves_no_cable(planned: Callable[..., PlanDocument]) -> None:
    text = said(planned("esp32c6", SampleOptions("release", secure_boot=True), lockdown__download_mode="disabled"))
    assert "Over the cable nothing can be done any more" in text
    assert "by cable from someone" not in text and "over a cable any more" not in text


def test_what_only_newer_chips_do_is_not_promised_of_all(planned: Callable[..., PlanDocument]) -> None:
    """An ESP32 before v3.0 has no eFuse that closes its download mode."""
    plan = planned("esp32", SampleOptions("release"), lockdown__download_mode="disabled")
    assert effects_of(plan).download is Download.OPEN and effects_of(plan).sealed_from == 300
    text = said(plan)
    assert "closed for ever, but only on chips from revision v3.0" in text
    assert "stays open on chips older than revision v3.0" in text
    assert "Over the cable nothing can be done" not in text


def test_the_operator_is_told_how_it_ends(planned: Callable[..., PlanDocument]) -> None:
    """A finished board that is connected again shows STOP, which is no fault."""
    narrowed = said(planned("esp32c6", RELEASE))
    assert "DONE. Label this board and take the next one." in narrowed
    assert "A finished board that is connected again prints STOP SE811" in narrowed
    assert "This is the last chance to stop it by an answer" in narrowed
    assert "Until Burn begins, Ctrl-C and pulling the cable are harmless" in narrowed
    assert "provision.py --until burn: it does Look, Flash and Burn, and stops before Seal." in narrowed


@pytest.mark.parametrize(
    ("chip", "mode", "seen"),
    [
        ("esp32c6", "disabled", "prints STOP SE810, because it does not answer any more. That is no fault"),
        ("esp32c6", "open", "says “Nothing to do”. That is no fault"),
        ("esp32", "disabled", "prints STOP SE810, because it does not answer any more; with a chip older than v3.0"),
    ],
)
def test_a_finished_board_again(chip: str, mode: str, seen: str, planned: Callable[..., PlanDocument]) -> None:
    assert seen in said(planned(chip, SampleOptions("release"), lockdown__download_mode=mode))


def test_signing_keys_are_moved_away_before_the_factory(planned: Callable[..., PlanDocument]) -> None:
    text = said(planned("esp32c6", RELEASE))
    assert "Before this folder goes to a factory" in text and "if there are such files" in text
    assert "secure_boot_signing_key" not in said(planned("esp32c6", SampleOptions("release")))


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("secure", "can still be overwritten with rubbish (secure download mode)."),
        ("open", "can still be overwritten with rubbish."),
        ("disabled", "and delete it then."),
    ],
)
def test_what_follows_when_the_keys_are_deleted(mode: str, ending: str, planned: Callable[..., PlanDocument]) -> None:
    assert said(planned("esp32c6", RELEASE, lockdown__download_mode=mode)).endswith(ending)


def test_keys_of_single_boards_are_not_those_of_all(planned: Callable[..., PlanDocument]) -> None:
    plan = planned("esp32c6", SampleOptions("release"), nvs__scheme="off")
    assert "by cable from someone who has the key of these boards" in said(plan)
    own: dict[str, object] = {"keys": ["flash_encryption_key"], "keep": "sealed", "seal_to": "seal_to.pem"}
    sealed, destroyed = said(plan, own), said(plan, {**own, "keep": "destroy", "seal_to": None})
    assert "by cable from someone who has this board's key" in sealed
    assert "by cable from someone" not in destroyed
    for text in (sealed, destroyed):
        assert "it holds secrets" not in text and "secure-provision flash --until burn" in text


def test_what_stays_open_although_all_is_closed_is_said_too(planned: Callable[..., PlanDocument]) -> None:
    text = said(planned("esp32c6", RELEASE))
    assert "Nothing that this plan could close." in text
    assert (
        "leaves phy_init out of flash encryption: whoever opens" in text and "has a key to encrypt its values" in text
    )
    assert "can be overwritten over the cable (secure download mode)" in text
    assert "The digest of your signing key can be read." in text


def test_what_the_plan_closes_is_not_called_open(planned: Callable[..., PlanDocument]) -> None:
    without = said(planned("esp32c6", RELEASE, nvs__scheme="off", lockdown__download_mode="disabled"))
    assert "has a key to encrypt its values" not in without and "overwritten" not in without
    assert "can read and change what the software does not encrypt there by itself" in without


def test_the_codes_are_those_of_the_script_page() -> None:
    listed = {
        code
        for line in SCRIPT_PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| SE")
        for code in line.split("|")[1].replace(" ", "").split(",")
    }
    codes = [code for code, _, _ in STOPS]
    assert codes == sorted(set(codes)) and set(codes) <= listed
