"""The summary says what is true of this plan, and promises nothing that the plan does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from secure_ext.bundle.report_page.element import Node
from secure_ext.bundle.report_page.summary import open_doors, summary_section
from secure_ext.plan.decide import decide
from secure_ext.plan.document import plan_document
from secure_ext.plan.effects import Download, effects_of
from secure_ext.policy.profile import Profile, Value
from secure_ext.sample.options import SampleOptions

IMAGES: dict[str, Any] = {"images": [{}, {}, {}]}


@pytest.fixture
def planned(new_build: Callable[..., Path], signing_keys: dict[str, Path]) -> Callable[..., dict[str, Any]]:
    def plan(chip: str, options: SampleOptions, **values: Value) -> dict[str, Any]:
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


def said(plan: dict[str, Any]) -> str:
    effects = effects_of(plan)
    return " ".join("".join(words(summary_section(IMAGES, plan, effects))).split()) + " ".join(open_doors(effects))


def test_everything_closed(planned: Callable[..., dict[str, Any]]) -> None:
    plan = planned("esp32c6", SampleOptions("release", secure_boot=True))
    text = said(plan)
    assert "cannot be read, copied or replaced by strangers" in text
    assert "(3 files)" in text and "3 keys and 12 settings are burned" in text
    assert "16 of 18 steps can never be undone" in text
    assert open_doors(effects_of(plan)) == ()


def test_secure_boot_alone_does_not_hide_the_software(planned: Callable[..., dict[str, Any]]) -> None:
    options = SampleOptions(secure_boot=True)
    text = said(planned("esp32c6", options, lockdown__download_mode="open", lockdown__jtag="open"))
    assert "cannot be replaced by strangers" in text and "read, copied" not in text
    assert "Do not restart the board between Flash and Burn" in text
    assert "Whoever has the board can get at its software" in text
    assert "JTAG) stays open" in text and "(download mode) stays open." in text
    assert "Seal" not in text and "by cable from someone" not in text


def test_development_mode_is_called_so(planned: Callable[..., dict[str, Any]]) -> None:
    plan = planned("esp32c6", SampleOptions("development"))
    text = said(plan)
    assert "development mode, which is not for products" in text and "on for ever" not in text
    assert "Secure boot is not on" in text and "signing keys" not in text
    assert effects_of(plan).flash_encryption == "development"


def test_a_closed_download_mode_leaves_no_cable(planned: Callable[..., dict[str, Any]]) -> None:
    text = said(planned("esp32c6", SampleOptions("release", secure_boot=True), lockdown__download_mode="disabled"))
    assert "Over the cable nothing can be done any more" in text
    assert "by cable from someone" not in text and "over a cable any more" not in text


def test_what_only_newer_chips_do_is_not_promised_of_all(planned: Callable[..., dict[str, Any]]) -> None:
    """An ESP32 before v3.0 has no eFuse that closes its download mode."""
    plan = planned("esp32", SampleOptions("release"), lockdown__download_mode="disabled")
    assert effects_of(plan).download is Download.OPEN and effects_of(plan).sealed_from == 300
    text = said(plan)
    assert "closed for ever, but only on chips from revision v3.0" in text
    assert "stays open on chips older than revision v3.0" in text
    assert "Over the cable nothing can be done" not in text
