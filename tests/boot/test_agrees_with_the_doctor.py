# SPDX-License-Identifier: Apache-2.0
"""What the doctor can never accept the boot check refuses too: each such bundle is made past the doctor, and flashed.

Two judges that share nothing: a state that one of them lets pass is a gap in the other, or stands in `NOT_TO_BE_SEEN`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from silicon import burn_by_hand
from support.doctor_case import BOTH, DEVELOPMENT, DISABLED, Case, built_with, examine_case
from support.doctor_cases import CASES
from support.matrix_cells import Cell, Made
from support.release_oracle import Wanted

from secure_ext.bundle.write import write_bundle
from secure_ext.doctor import ALL_RULES
from secure_ext.doctor.rule import Concern, Severity
from secure_ext.keys.files import write_secret_file
from secure_ext.keys.signing import SignatureScheme, generate_signing_key
from secure_ext.prove.boot_check.boot_check import boot_check
from secure_ext.sample.options import AppFacts

OLD_APP = AppFacts(idf_version="v5.5.1")
UNKNOWN_APP = AppFacts(idf_version="0123abc")
CLOSED = replace(CASES["SP110"], options=BOTH | {"app": OLD_APP})

BRICKS: list[tuple[str, str, Case]] = [
    ("SP001", "BC18", CASES["SP001"]),
    ("SP002", "BC18", CASES["SP002"]),
    ("SP003", "BC18", CASES["SP003"]),
    ("SP004", "BC15", CASES["SP004"]),
    ("SP005", "BC15", CASES["SP005"]),
    ("SP006", "BC15", CASES["SP006"]),
    ("SP007", "BC18", CASES["SP007"]),
    ("SP009", "BC38", CASES["SP009"]),
    ("SP010", "BC08", CASES["SP010"]),
    ("SP014", "BC33", CASES["SP014"]),
    ("SP024", "BC36", CASES["SP024"]),
    ("SP030", "BC35", CASES["SP030"]),
    ("SP031", "BC30", CASES["SP031"]),
    ("SP033", "BC34", CASES["SP033"]),
    ("SP034", "BC32", Case(BOTH | {"config": {"SECURE_DISABLE_ROM_DL_MODE": True}}, DEVELOPMENT, chip="esp32")),
    ("SP110", "BC29", CLOSED),
    ("SP110", "BC29", Case(BOTH | {"app": UNKNOWN_APP}, DISABLED, change=built_with("0123abc"))),
    ("SP111", "BC26", CASES["SP111"]),
    ("SP163", "BC39", CASES["SP163"]),
]
"""The doctor's code, the boot check's, and the build."""

ON_OTHER_CHIPS = [
    (code, fault, replace(CLOSED if code == "SP110" else CASES[code], chip=chip))
    for code, fault in (
        *(("SP003", "BC18"), ("SP004", "BC15"), ("SP005", "BC15"), ("SP014", "BC33"), ("SP030", "BC35")),
        *(("SP033", "BC34"), ("SP110", "BC29"), ("SP163", "BC39")),
    )
    for chip in ("esp32", "esp32c5", "esp32s3")
    if (code, chip) not in (("SP110", "esp32"), ("SP163", "esp32"))  # it encrypts nothing behind 16 MB: SE515
]

NOT_TO_BE_SEEN = {
    "SP020": "a new board runs, and may be wanted; what cannot be accepted is such an update",
    "SP021": "a new board runs, and may be wanted; what cannot be accepted is such an update",
    "SP023": "the boot check follows the eFuses, and not what a bootloader demands before it burns them",
    "SP068": "a slip in the profile: the board is well",
    "SP100": "there is no chip to look at; on those that there are it is BC09",
    "SP092": "NVS opens its partition long after the app's start",
    "SP093": "NVS opens its partition long after the app's start",
    "SP137": "there is no such bundle: signing refuses the image",
    "SP151": "there is no such bundle: signing refuses the image",
    "SP155": "the board starts; what is missing is what should start when it does not",
    "SP180": "there is no such board: its identity is refused where it is made",
    "SP181": "the board starts; nobody believes its certificate",
    "SP182": "there is no such board: the certificate is refused where it is made",
}
"""What the boot check cannot judge, or what is no state of a board."""


@pytest.mark.parametrize(
    ("code", "fault", "case"),
    [*BRICKS, *(pytest.param(*row, marks=pytest.mark.long) for row in ON_OTHER_CHIPS)],
    ids=lambda value: getattr(value, "chip", value),
)
def test_the_boot_check_refuses_what_the_doctor_refuses(code: str, fault: str, case: Case, tmp_path: Path) -> None:
    key = tmp_path / "signing.pem"
    decision = examine_case(case, tmp_path)
    assert code in {finding.code for finding in decision.findings}
    write_secret_file(key, generate_signing_key(SignatureScheme(decision.policy.secure_boot.scheme)))
    bundle = write_bundle(replace(decision, findings=()), tmp_path / "bundle", lambda _: None)
    made = Made(Cell(case.chip, "both"), bundle.folder, decision.build.build_dir, (key,), Wanted(0))
    burn_by_hand(made, tmp_path / "by-hand").store(tmp_path / "state")
    faults = boot_check(tmp_path / "state", bundle.folder).faults
    assert fault in {found.code for found in faults}, faults


def test_every_error_that_cannot_be_accepted_is_tried_or_named() -> None:
    of_bundles = [rule for rule in ALL_RULES if rule.concerns is not Concern.UPDATES]
    never = {rule.code for rule in of_bundles if rule.severity is Severity.ERROR and rule.acceptable is not True}
    assert never <= {code for code, _, _ in BRICKS} | NOT_TO_BE_SEEN.keys()
