# SPDX-License-Identifier: Apache-2.0
"""An NVS image holds what its CSV says: read by our reader and by ESP-IDF's tool, and compared with the generator's."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from esp_idf_nvs_partition_gen import nvs_partition_gen
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from secure_ext.bundle.nvs_image import check_nvs_image, make_nvs_image
from secure_ext.errors import CheckError, InputError, ToolError
from secure_ext.formats.nvs_csv import NvsCsv, read_nvs_csv
from secure_ext.formats.nvs_keys import NvsKeys, generate_nvs_keys
from secure_ext.formats.nvs_reader import read_nvs

from nvs_csv_files import Row, csv_rows, expected, write_csv  # isort: skip

SIZE = 0x20000
KEYS = NvsKeys(bytes(range(64)))
IDF_PATHS = [Path(path) for path in os.environ.get("SECURE_EXT_IDF_PATHS", "").split(os.pathsep) if path]
idf_tool = pytest.mark.skipif(not IDF_PATHS, reason="SECURE_EXT_IDF_PATHS names no ESP-IDF with its nvs_partition_tool")
# a failing image takes minutes to shrink
quick = settings(
    phases=[Phase.generate], max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
few = settings(parent=quick, max_examples=6)


def held(image: bytes, keys: NvsKeys | None) -> dict[tuple[str, str], tuple[str, object]]:
    content = read_nvs(image, keys, place="image")
    return {(value.namespace, value.key): (value.kind, value.value) for value in content.values}


@quick
@given(rows=csv_rows(), encrypted=st.booleans())
def test_our_reader_finds_every_value(rows: list[Row], encrypted: bool, tmp_path: Path) -> None:
    """Integers of all widths, strings, blobs over several pages, namespaces that are taken up again."""
    csv = read_nvs_csv(write_csv(tmp_path / "nvs.csv", rows))
    keys = KEYS if encrypted else None
    image = make_nvs_image(csv, SIZE, keys)
    assert len(image) == SIZE
    assert held(image, keys) == expected(rows)
    check_nvs_image(image, csv, keys)


@settings(parent=quick, max_examples=10)
@given(rows=csv_rows(tame=True), encrypted=st.booleans())
def test_the_image_is_the_one_of_the_generators_own_command(
    rows: list[Row], encrypted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Byte for byte what `nvs_partition_gen generate` or `encrypt` writes, for CSVs that it does not spoil.

    It puts values of a namespace that is taken up again into the latest one, and cuts `binary` text that is not ASCII.
    """
    csv = write_csv(tmp_path / "nvs.csv", rows)
    output = tmp_path / "nvs.bin"
    arguments = SimpleNamespace(input=[str(csv)], output=str(output), size=hex(SIZE), version=2, outdir=str(tmp_path))
    nvs_partition_gen.generate(arguments, is_encr_enabled=encrypted, encr_key=KEYS.data if encrypted else None)
    assert make_nvs_image(read_nvs_csv(csv), SIZE, KEYS if encrypted else None) == output.read_bytes()


@pytest.fixture(params=IDF_PATHS or [Path()], ids=lambda path: path.name)
def idf_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """ESP-IDF's module that reads NVS; its folder is where nvs_tool.py is too."""
    folder = request.param / "components" / "nvs_flash" / "nvs_partition_tool"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "nvs_parser", raising=False)
    return importlib.import_module("nvs_parser")


@idf_tool
@few
@given(rows=csv_rows())
def test_esp_idf_reads_what_we_encrypted(rows: list[Row], tmp_path: Path, idf_parser: ModuleType) -> None:
    """Decrypted by `nvs_partition_gen decrypt` with our key file, then read by ESP-IDF's NVS Partition Parser."""
    csv = read_nvs_csv(write_csv(tmp_path / "nvs.csv", rows))
    keys = generate_nvs_keys()
    (tmp_path / "keys.bin").write_bytes(keys.image())
    (tmp_path / "nvs.bin").write_bytes(make_nvs_image(csv, SIZE, keys))
    names = [str(tmp_path / name) for name in ("nvs.bin", "keys.bin", "plain.bin")]
    run([sys.executable, "-m", "esp_idf_nvs_partition_gen", "decrypt", *names])
    plain = (tmp_path / "plain.bin").read_bytes()
    assert read_with_idf(idf_parser.NVS_Partition("nvs", bytearray(plain))) == expected(rows)
    tool = Path(str(idf_parser.__file__)).with_name("nvs_tool.py")
    done = run([sys.executable, str(tool), "--color", "never", "-i", "-d", "none", names[2]])
    fine = ("CRC32: OK", "Page Empty", "Found unused namespace")
    assert not [line for line in done.splitlines() if line.strip() and not any(word in line for word in fine)], done


def run(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def read_with_idf(partition: Any) -> dict[tuple[str, str], tuple[str, object]]:
    """What the parser's pages hold: it leaves putting blobs together to its reader."""
    entries = [entry for page in partition.pages for entry in page.entries if entry.state == "Written"]
    for entry in entries:
        checks = entry.metadata["crc"]
        assert checks["original"] == checks["computed"]
        if entry.children or entry.metadata["type"] in ("string", "blob_data"):
            assert checks["data_original"] == (checks["data_computed"] or 0xFFFFFFFF)
    names = {e.data["value"]: e.key for e in entries if e.metadata["namespace"] == 0}
    chunks: dict[tuple[str, str], bytes] = {}
    found: dict[tuple[str, str], tuple[str, object]] = {}
    for entry in entries:
        if entry.metadata["namespace"] == 0:
            continue
        place = (names[entry.metadata["namespace"]], entry.key)
        kind = entry.metadata["type"]
        raw = b"".join(bytes(child.raw) for child in entry.children)
        if kind == "blob_data":
            chunks[place] = chunks.get(place, b"") + raw[: entry.data["size"]]
        elif kind == "string":
            found[place] = ("string", raw[: entry.data["size"] - 1].decode())
        elif kind == "blob_index":
            found[place] = ("blob", chunks[place])
        else:
            found[place] = (kind.removesuffix("_t").replace("uint", "u").replace("int", "i"), entry.data["value"])
    return found


@pytest.fixture
def csv(tmp_path: Path) -> NvsCsv:
    rows = [Row(("app", "namespace", "", "")), Row(("pin", "data", "string", "4711"))]
    return read_nvs_csv(write_csv(tmp_path / "nvs.csv", rows))


@pytest.mark.parametrize("size", [0x1000, 0x2000, 0x3000])
def test_a_small_partition_is_made_to_be_read_only(size: int, csv: NvsCsv) -> None:
    """Less than three pages: no page is kept free, and the image still fills the partition."""
    image = make_nvs_image(csv, size, KEYS)
    assert len(image) == size
    assert held(image, KEYS) == {("app", "pin"): ("string", "4711")}


@pytest.mark.parametrize("change", [0, 1, 7, 8, 30, 33, 64, 70, 96, 100, 128])
def test_a_changed_image_is_noticed(change: int, csv: NvsCsv) -> None:
    image = bytearray(make_nvs_image(csv, 0x3000, KEYS))
    image[change] ^= 0x10
    with pytest.raises(CheckError) as caught:
        check_nvs_image(bytes(image), csv, KEYS)
    assert caught.value.code in ("SE541", "SE543")
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("keys", [None, NvsKeys(bytes(range(1, 65)))], ids=["no keys", "other keys"])
def test_other_keys_do_not_read_it(keys: NvsKeys | None, csv: NvsCsv) -> None:
    with pytest.raises(CheckError) as caught:
        check_nvs_image(make_nvs_image(csv, 0x3000, KEYS), csv, keys)
    assert caught.value.code == "SE543"


def test_another_csv_is_noticed(csv: NvsCsv, tmp_path: Path) -> None:
    image = make_nvs_image(csv, 0x3000, None)
    for cells in (("pin", "data", "string", "4712"), ("pin", "data", "u16", "4711"), ("more", "data", "u8", "1")):
        rows = [Row(("app", "namespace", "", "")), Row(cells)]
        other = read_nvs_csv(write_csv(tmp_path / "other.csv", rows))
        with pytest.raises(CheckError) as caught:
            check_nvs_image(image, other, None)
        assert caught.value.code == "SE541"
        assert "471" not in str(caught.value)


def test_what_the_generator_adds_for_wifi_is_known(tmp_path: Path) -> None:
    """Beside the credentials of a station it writes what the Wi-Fi driver would."""
    rows = [Row(("nvs.net80211", "namespace", "", "")), Row(("sta.ssid", "data", "string", "home"))]
    csv = read_nvs_csv(write_csv(tmp_path / "nvs.csv", rows))
    assert check_nvs_image(make_nvs_image(csv, 0x3000, KEYS), csv, KEYS).values[0].value == "home"


def test_values_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob = "ab" * 9000
    rows = [Row(("app", "namespace", "", "")), Row(("big", "data", "hex2bin", blob))]
    csv = read_nvs_csv(write_csv(tmp_path / "nvs.csv", rows))
    assert len(make_nvs_image(csv, 0x4000, KEYS)) == 0x4000
    with pytest.raises(InputError) as caught:
        make_nvs_image(csv, 0x3000, KEYS)
    assert caught.value.code == "SE540"
    assert "abab" not in str(caught.value) + repr(caught.value.__context__)
    assert capsys.readouterr() == ("", "")


def test_the_generator_is_missing_or_too_old(csv: NvsCsv, monkeypatch: pytest.MonkeyPatch) -> None:
    def old(result_obj: object, input_size: int, version: int, is_encrypt: bool, key: bytes) -> None:
        raise AssertionError("it must not come to this")

    monkeypatch.setattr(nvs_partition_gen, "nvs_open", old)
    with pytest.raises(ToolError) as caught:
        make_nvs_image(csv, 0x1000, KEYS)
    assert (caught.value.code, "read-only" in caught.value.cause) == ("SE542", True)
    monkeypatch.setitem(sys.modules, "esp_idf_nvs_partition_gen", None)
    with pytest.raises(ToolError) as caught:
        make_nvs_image(csv, 0x3000, KEYS)
    assert caught.value.code == "SE542"


def test_an_error_of_the_generator_shows_no_value(csv: NvsCsv, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(nvs: object, key: str, datatype: str, encoding: str, value: str) -> None:
        raise RuntimeError(f"cannot write {value}")

    monkeypatch.setattr(nvs_partition_gen, "write_entry", fails)
    with pytest.raises(ToolError) as caught:
        make_nvs_image(csv, 0x3000, KEYS)
    assert caught.value.code == "SE542"
    assert caught.value.__context__ is None
