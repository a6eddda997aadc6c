# SPDX-License-Identifier: Apache-2.0
"""What is asked at a real terminal: which of two bundles, and whether an older one is meant."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.terminal import at_a_terminal
from test_which_bundle import bundled, change_an_image, make, other_keys  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")


OLDER = "Go on with the older bundle?"


@pytest.mark.parametrize(("answer", "goes_on"), [("y", True), ("n", False), ("", False)], ids=["yes", "no", "return"])
def test_an_older_bundle_is_asked_about(answer: str, bundled: Path, *, goes_on: bool) -> None:  # noqa: F811
    """Only a clear yes goes on, here to a port that is not there; the board gets no older bundle by a slip."""
    change_an_image(bundled)
    code, shown = at_a_terminal(
        answer, "flash", bundled.parent / "factory", "-B", bundled, "--port", "/dev/nowhere", "--yes"
    )
    assert "warning: the bundle is older than the build: ota_data_initial.bin changed since" in shown
    assert OLDER in shown
    assert ("SE908" in shown, code == 2) == (not goes_on, not goes_on), shown


def test_what_is_said_by_the_option_is_not_asked(bundled: Path) -> None:  # noqa: F811
    change_an_image(bundled)
    shown = at_a_terminal("", "flash", bundled.parent / "factory", "-B", bundled, "--port", "/dev/nowhere", "--yes")[1]
    told = at_a_terminal(
        "", "flash", bundled.parent / "factory", "-B", bundled, "--port", "/dev/nowhere", "--yes", "--older-bundle"
    )[1]
    assert OLDER in shown and OLDER not in told and "SE908" not in told


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [("1", "secure"), ("2", "factory"), ("", None), ("3", None), ("0", None), ("factory", None)],
)
def test_of_two_bundles_with_different_keys_one_is_chosen(
    answer: str,
    chosen: str | None,
    new_build: Callable[..., Path],
    make: Callable[..., object],  # noqa: F811
) -> None:
    """By its number; whatever else is typed, no board gets keys for ever by a guess."""
    build = new_build()
    factory = build.parent / "factory"
    make(build)
    make(build, "-o", factory)
    other_keys(factory)
    code, shown = at_a_terminal(answer, "verify", "-B", build)
    assert f"  1  {build / 'secure'} (made " in shown and f"  2  {factory} (made " in shown
    assert ("SE907" in shown, code == 2) == (chosen is None, chosen is None), shown
    if chosen:
        assert f"bundle: {factory if chosen == 'factory' else build / 'secure'}\n" in shown
