# SPDX-License-Identifier: Apache-2.0
"""Tests that need environments of their own: ``nox -s esptool`` tries each supported generation of esptool."""

from __future__ import annotations

import nox

ESPTOOLS = {
    "4.8.1": ("esptool==4.8.1", "bitstring<5"),  # those before 5.6 fail to import with a later bitstring
    "4.12.0": ("esptool==4.12.0", "bitstring<5"),
    "5.1.0": ("esptool==5.1.0", "bitstring<5"),
    "5": ("esptool>=5,<6",),
}
CHIPS = ("esp32-", "esp32c3-", "esp32s3-")


@nox.session  # type: ignore[misc,untyped-decorator,unused-ignore]  # nox need not be installed
@nox.parametrize("version", list(ESPTOOLS), ids=list(ESPTOOLS))  # type: ignore[misc,untyped-decorator,unused-ignore]
def esptool(session: nox.Session, version: str) -> None:
    """All cells of three chips, interrupted and foreign chips, and the virtual chip by hand, with one esptool."""
    session.install("-e", ".[dev]", *ESPTOOLS[version])
    pytest = ("pytest", "-n", "auto", *session.posargs)
    session.run(*pytest, "tests/matrix/test_chip_matrix.py", "-k", " or ".join(CHIPS))
    session.run(*pytest, "tests/matrix/test_interrupted.py", "-m", "not long")
    session.run(*pytest, "tests/virtual_chip", "-m", "not long")
    session.run(*pytest, "tests/rehearsal/test_rehearse.py", "-m", "long or not long", "-k", "both")
