# SPDX-License-Identifier: Apache-2.0
"""``--summary`` and ``--token``: boards that were read on another day; and files that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audited_boards import EACH_CHIP, Boards, burned, provisioned_boards  # noqa: F401 (a fixture is among them)
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.matrix_bundles import shared_bundles  # noqa: F401 (a fixture)
from support.matrix_cells import Cell
from support.matrix_tools import espefuse, esptool_version
from support.typed_documents import data_of

from secure_ext.errors import SecureProvisionError
from secure_ext.plan.read_document import read_plan
from secure_ext.prove.audit.report import audit_against_plan, audit_for_release
from secure_ext.prove.audit.summary_file import read_summary

CELL = Cell("esp32c3", "both")
Run = Callable[..., Result]


@pytest.fixture(name="summary", scope="module")
def saved_summary(boards: Boards, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What espefuse prints of a finished ESP32-C3."""
    path = tmp_path_factory.mktemp("summary") / "summary.json"
    path.write_text(espefuse("esp32c3", boards(CELL).efuses, "summary", "--format", "json"), encoding="utf-8")
    return path


def fields_of(summary: Path) -> dict[str, Any]:
    text = summary.read_text(encoding="utf-8")
    fields: dict[str, Any] = json.loads(text[text.index("\n{") :])
    return fields


@EACH_CHIP
def test_a_summary_gives_the_same_judgement_as_the_chip(
    chip: str, boards: Boards, tmp_path: Path, run_cli: Run
) -> None:
    """But for the coding errors, for which nobody asked the chip. With them and a dump in the file, all is the same."""
    was = boards(Cell(chip, "both"))
    read = run_cli("audit", was.bundle, "--virt", was.efuses, "--format", "json")
    judgements = {}
    commands = {"alone": ["summary"], "with dump": ["dump", "check-error", "summary"]}
    for name, words in commands.items():
        path = tmp_path / f"{name}.json"
        path.write_text(espefuse(chip, was.efuses, *words, "--format", "json"), encoding="utf-8")
        done = run_cli("audit", was.bundle, "--summary", path, "--format", "json", "--journal", was.bundle / "none")
        assert done.exit_code == 0, done.stdout + done.stderr
        judgements[name] = {(c["name"], c["place"]): c["outcome"] for c in json.loads(done.stdout)["checks"]}
        assert json.loads(done.stdout)["chip"] == chip
    on_chip = {(c["name"], c["place"]): c["outcome"] for c in json.loads(read.stdout)["checks"]}
    assert judgements["with dump"] == on_chip
    assert judgements["alone"] == {**on_chip, ("coding-errors", "all blocks"): "not verifiable"}


def test_a_summary_shows_what_is_missing(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    was = boards(CELL)
    fields = fields_of(summary)
    fields["SPI_BOOT_CRYPT_CNT"] |= {"raw_value": "0x1", "value": "Enable"}
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(fields), encoding="utf-8")
    by_plan = run_cli("audit", was.bundle, "--summary", changed)
    by_policy = run_cli("audit", "--policy", "release", "--summary", changed)
    assert (by_plan.exit_code, by_policy.exit_code) == (1, 1)
    assert "wanted 7, found 1" in by_plan.stdout
    assert "This board is NOT as" in by_plan.stdout
    assert "flash-encryption-permanent" in by_policy.stdout


def test_a_summary_that_powershell_saved(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    path = tmp_path / "powershell.json"
    path.write_text(summary.read_text(encoding="utf-8"), encoding="utf-16")
    assert run_cli("audit", boards(CELL).bundle, "--summary", path).exit_code == 0


@pytest.mark.skipif(esptool_version() < (5, 4), reason="this espefuse makes no tokens")
def test_a_token_gives_the_same_judgement_as_the_chip(boards: Boards, tmp_path: Path, run_cli: Run) -> None:
    was = boards(CELL)
    token = tmp_path / "board.token"
    espefuse("esp32c3", was.efuses, "dump", "--format", "token", "--file-name", str(token))
    on_chip = json.loads(run_cli("audit", was.bundle, "--virt", was.efuses, "--format", "json").stdout)
    done = run_cli("audit", was.bundle, "--token", token, "--format", "json")
    assert (done.exit_code, json.loads(done.stdout)["counts"]) == (0, on_chip["counts"]), done.stdout + done.stderr
    text = token.read_text(encoding="ascii")
    changed = text[:40] + ("B" if text[40] == "A" else "A") + text[41:]
    for wrong in (text[:-7], text.replace("EFSR", "EFSX"), changed, ""):
        token.write_text(wrong, encoding="ascii")
        refused = run_cli("audit", was.bundle, "--token", token)
        assert (refused.exit_code, "SE877" in refused.stderr) == (3, True), wrong + refused.stderr
        assert text[20:60] not in refused.stderr, "a token can hold a key"
    token.write_text(text.replace("esp32c3", "esp32c6"), encoding="ascii")
    assert "SE872" in run_cli("audit", was.bundle, "--token", token).stderr


def without_raw_values(fields: dict[str, Any]) -> str:
    return json.dumps({name: {k: v for k, v in row.items() if k != "raw_value"} for name, row in fields.items()})


def with_a_contradiction(fields: dict[str, Any]) -> str:
    return json.dumps({**fields, "COPY": {**fields["DIS_PAD_JTAG"], "raw_value": "0x0"}})


NO_SUMMARIES = ("", "no summary\n", "{}", "[" * 100_000, '{"a":' * 100_000, '{"a": 1}')
CHANGES: tuple[Callable[[dict[str, Any]], object], ...] = (
    lambda fields: {**fields, "WR_DIS": 1},
    lambda fields: {**fields, "RD_DIS": {**fields["RD_DIS"], "raw_value": "0x1ff"}},
    lambda fields: {**fields, "RD_DIS": {**fields["RD_DIS"], "raw_value": 3}},
    lambda fields: {**fields, "RD_DIS": {**fields["RD_DIS"], "word": "1"}},
    lambda fields: {**fields, "MAC": {**fields["MAC"], "value": "none"}},
    lambda fields: {**fields, "COPY": {**fields["DIS_PAD_JTAG"], "raw_value": "0x0"}},
    lambda fields: {name: fields[name] for name in ("WR_DIS", "RD_DIS", "MAC")},
    lambda fields: {name: row for name, row in fields.items() if name != "RD_DIS"},
)


def test_a_file_that_is_no_summary_is_refused(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    fields = fields_of(summary)
    changed = [json.dumps(change(fields)) for change in CHANGES]
    path = tmp_path / "damaged.json"
    for text in (*NO_SUMMARIES, *changed, json.dumps(fields)[:3000]):
        path.write_text(text, encoding="utf-8")
        done = run_cli("audit", boards(CELL).bundle, "--summary", path)
        assert (done.exit_code, done.stdout, "SE871" in done.stderr) == (3, "", True), text[:40] + done.stderr


def test_a_summary_of_an_older_espefuse_says_too_little(
    boards: Boards, summary: Path, tmp_path: Path, run_cli: Run
) -> None:
    """Without raw values 1 and 7 are both called "Enable"."""
    fields = {name: dict(row) for name, row in fields_of(summary).items()}
    for row in fields.values():
        del row["raw_value"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    done = run_cli("audit", boards(CELL).bundle, "--summary", path)
    assert (done.exit_code, "SE874" in done.stderr) == (3, True), done.stderr


def test_a_file_that_cannot_be_read_is_refused(boards: Boards, tmp_path: Path, run_cli: Run) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "binary", tmp_path / "none"):
        for option, code in (("--summary", "SE871"), ("--token", "SE877"), ("--virt", "SE876")):
            done = run_cli("audit", boards(CELL).bundle, option, path)
            assert (done.exit_code, code in done.stderr) == (3, True), done.stderr
    assert not (tmp_path / "none").exists()


def test_another_chip_is_named(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    other = tmp_path / "other.bin"
    other.touch()
    path = tmp_path / "c6.json"
    path.write_text(espefuse("esp32c6", other, "summary", "--format", "json"), encoding="utf-8")
    was = boards(CELL)
    done = run_cli("audit", was.bundle, "--summary", path)
    assert (done.exit_code, "SE872" in done.stderr, "of an esp32c6" in done.stderr) == (3, True, True)
    done = run_cli("audit", "--policy", "release", "--chip", "esp32h2", "--summary", summary)
    assert (done.exit_code, "of an esp32c3" in done.stderr) == (3, True)
    other.write_bytes(bytes(100))
    done = run_cli("audit", was.bundle, "--virt", other)
    assert (done.exit_code, "SE876" in done.stderr) == (3, True), done.stderr
    assert other.read_bytes() == bytes(100)


def test_usage(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    bundle = boards(CELL).bundle
    for words in (
        (bundle,),
        (bundle, "--summary", summary, "--virt", summary),
        (bundle, "--summary", summary, "--policy", "release"),
        (bundle, "--summary", summary, "--plan", bundle / "plan.json"),
        (bundle, "--summary", summary, "--chip", "esp32c3"),
        ("--policy", "release", "--virt", summary),
    ):
        done = run_cli("audit", *words)
        assert (done.exit_code, "SE873" in done.stderr) == (2, True), done.stderr
    done = run_cli("audit", "--policy", "release", "--chip", "esp8266", "--summary", summary)
    assert (done.exit_code, "SE204" in done.stderr) == (3, True)


def test_a_plan_without_its_bundle(boards: Boards, summary: Path, tmp_path: Path, run_cli: Run) -> None:
    plan = tmp_path / "plan.json"
    plan.write_bytes((boards(CELL).bundle / "plan.json").read_bytes())
    assert run_cli("audit", "--plan", plan, "--summary", summary).exit_code == 0
    for damaged in (b"", b"{", b"{}", b"[1]", plan.read_bytes()[:-20], plan.read_bytes().replace(b'"kind"', b'"kin"')):
        plan.write_bytes(damaged)
        done = run_cli("audit", "--plan", plan, "--summary", summary)
        assert (done.exit_code, "SE875" in done.stderr) == (3, True), done.stderr


def test_an_espefuse_that_sees_the_chip_otherwise_is_not_believed(
    boards: Boards, summary: Path, tmp_path: Path, run_cli: Run
) -> None:
    plan = json.loads((boards(CELL).bundle / "plan.json").read_text(encoding="utf-8"))
    (row,) = [row for row in plan["layout"] if row["field"] == "DIS_PAD_JTAG"]
    row["start"] += 1
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = run_cli("audit", "--plan", tmp_path / "plan.json", "--summary", summary)
    assert (done.exit_code, "SE879" in done.stderr) == (4, True), done.stderr


LEAF = st.none() | st.booleans() | st.integers(-3, 600) | st.text("0x19afUSER", max_size=6)
JSON = LEAF | st.lists(LEAF, max_size=2) | st.dictionaries(st.sampled_from(["word", "pos", "field"]), LEAF)


def damaged(document: Any, data: st.DataObject, depth: int) -> Any:
    """The document with one value somewhere inside replaced, dropped or repeated."""
    if depth and isinstance(document, (dict, list)) and document:
        keys = list(document) if isinstance(document, dict) else range(len(document))
        key = data.draw(st.sampled_from(list(keys)))
        changed = dict(document) if isinstance(document, dict) else list(document)
        if isinstance(changed, dict) and data.draw(st.integers(0, 3)) == 0:
            del changed[key]
        else:
            changed[key] = damaged(document[key], data, depth - 1)
        return changed
    return data.draw(JSON)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damaged_summary_or_plan_is_more_than_a_coded_error(
    boards: Boards, summary: Path, tmp_path: Path, data: st.DataObject
) -> None:
    was = boards(CELL)
    fields = damaged(fields_of(summary), data, data.draw(st.integers(0, 3)))
    plan = data_of(was.plan)
    plan = damaged(plan, data, data.draw(st.integers(0, 4))) if data.draw(st.booleans()) else plan
    path, plan_path = tmp_path / "damaged.json", tmp_path / "plan.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    plan_path.write_text(json.dumps(plan), encoding="utf-8")
    try:
        document = read_plan(plan_path)
        board = read_summary(path, None)
        audit_for_release(board)
        audit_against_plan(read_summary(path, document.chip), document, tmp_path)
    except SecureProvisionError as error:
        assert error.code.startswith("SE") and error.cure


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(end=st.integers(0, 40_000), byte=st.binary(min_size=1, max_size=3))
def test_no_cut_off_summary_is_more_than_a_coded_error(summary: Path, tmp_path: Path, end: int, byte: bytes) -> None:
    content = summary.read_bytes()
    path = tmp_path / "damaged.json"
    path.write_bytes(content[:end] + byte + content[end + len(byte) :] if end % 2 else content[:end])
    try:
        audit_for_release(read_summary(path, None))
    except SecureProvisionError as error:
        assert error.code in ("SE871", "SE872", "SE874")
