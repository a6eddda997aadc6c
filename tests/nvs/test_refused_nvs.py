# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: F811 (fixtures)
"""What is wrong with a CSV or its keys is a coded error, and nothing is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from nvs_bundles import (  # noqa: F401 (fixtures)
    CA,
    CSV,
    PASSWORD,
    decided,
    made,
    nvs_keys,
)

from secure_ext.doctor.decide import Decision
from secure_ext.errors import SecureProvisionError


def csv_of(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "given.csv").write_text(text, encoding="utf-8")

    return write


def key_of(content: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "given.csv").write_text(CSV.replace("ca.bin", "given.csv"), encoding="utf-8")
        (folder / "given.bin").write_bytes(content)

    return write


HEAD = "key,type,encoding,value\nwifi,namespace,,\n"
GIVEN: dict[str, Any] = {"images": {"nvs": "given.csv"}}
Refused = tuple[str, int, str, dict[str, Any], Callable[[Path], None]]
"""Code, exit code, chip, section nvs of the profile, and what writes the files."""
REFUSED: list[Refused] = [
    ("SE330", 3, "esp32c3", {"images": {"nvs": "none.csv"}}, csv_of(HEAD)),
    ("SE332", 3, "esp32c3", GIVEN, csv_of(f"password,data,string,{PASSWORD}\n")),
    ("SE333", 3, "esp32c3", GIVEN, csv_of(HEAD + f"password,data,text,{PASSWORD}\n")),
    ("SE334", 3, "esp32c3", GIVEN, csv_of(HEAD + f"password,data,u8,{PASSWORD}\n")),
    ("SE335", 3, "esp32c3", GIVEN, csv_of(HEAD + f"password,data,string,{PASSWORD}\n" * 2)),
    ("SE336", 3, "esp32c3", GIVEN, csv_of(HEAD + f"password,file,string,{PASSWORD}\n")),
    ("SE540", 3, "esp32c3", GIVEN, csv_of(HEAD + f"password,data,binary,{PASSWORD * 900}\n")),
    ("SE331", 2, "esp32c3", {"images": {"storage": "given.csv"}}, csv_of(HEAD)),
    ("SE331", 2, "esp32c3", {"images": {"nvs_keys": "given.csv"}}, csv_of(HEAD)),
    ("SE410", 2, "esp32c3", {"images": {"nsv": "given.csv"}}, csv_of(HEAD)),
    ("SE337", 2, "esp32c3", {**GIVEN, "key": "device"}, csv_of(HEAD)),
    ("SE339", 2, "esp32c3", {**GIVEN, "key": "per-device"}, csv_of(HEAD)),
    ("SE621", 3, "esp32c3", {**GIVEN, "key": "given.bin"}, key_of(bytes(range(31)))),
    ("SE622", 3, "esp32c3", {**GIVEN, "key": "given.bin"}, key_of(bytes(32))),
    ("SE621", 3, "esp32", {**GIVEN, "key": "given.bin"}, key_of(bytes(range(32)))),
    ("SE622", 3, "esp32", {**GIVEN, "key": "given.bin"}, key_of(bytes(4096))),
    ("SE544", 3, "esp32", {**GIVEN, "key": "given.bin"}, key_of(CA[:4096])),
]


@pytest.mark.parametrize("case", REFUSED, ids=[f"{number}-{row[0]}" for number, row in enumerate(REFUSED)])
def test_bad_input_is_a_coded_error_and_leaves_nothing(
    case: Refused,
    sample_project: Callable[[str], Path],
    signing_key_for: Callable[[str], Path],
    run_cli: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """The same from doctor and from bundle, with no value in the message and nothing written."""
    code, exit_code, chip, nvs, prepare = case
    prepare(tmp_path)
    profile = tmp_path / "profile.yaml"
    profile.write_text(json.dumps({"schema": 1, "nvs": nvs}), encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    options = ["-B", sample_project(chip) / "build", "--profile", profile, "--signing-key", signing_key_for(chip)]
    for command in (["doctor", *options], ["bundle", *options, "-o", tmp_path / "out"]):
        done = run_cli(*command)
        assert (done.exit_code, f"error {code}:" in done.stderr) == (exit_code, True), done.output
        # the name of a file that a row gives is no secret
        assert PASSWORD not in done.output
    assert sorted(tmp_path.iterdir()) == before


def test_two_images_for_one_partition(decided: Callable[..., Decision]) -> None:
    for options in ({"data_images": {"nvs": bytes(0x1000)}}, {"data_images": {"nvs_keys": bytes(0x1000)}}):
        with pytest.raises(SecureProvisionError) as caught:
            decided("esp32", **options)
        assert caught.value.code == "SE411"


# ---- verify
