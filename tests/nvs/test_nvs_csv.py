# SPDX-License-Identifier: Apache-2.0
"""A CSV for NVS that is not right is refused with its line, and with none of its values."""

from __future__ import annotations

from pathlib import Path

import pytest

from secure_ext.errors import InputError
from secure_ext.formats.nvs_csv import read_nvs_csv

HEADER = "key,type,encoding,value\n"
APP = HEADER + "app,namespace,,\n"
SECRET = "hunter2"
BAD = [
    ("SE332", "", 0),
    ("SE332", HEADER, 1),
    ("SE332", "app,namespace,,\npin,data,string,hunter2\n", 1),
    ("SE332", HEADER + "pin,data,string,hunter2\n", 2),
    ("SE332", APP + "pin,data,string\n", 3),
    ("SE332", APP + "pin,data,string,hunter2,more\n", 3),
    ("SE332", APP + "sixteen_letters_,data,string,hunter2\n", 3),
    ("SE332", APP + "fünfzehn_buchst,data,string,hunter2\n", 3),
    ("SE332", APP + ",data,string,hunter2\n", 3),
    ("SE332", APP + '"hunter2"x,data,string,\n', 3),
    ("SE332", APP + 'pin,data,string,"hunter2\n', 3),
    ("SE332", "type,key,encoding,value\nnamespace\n", 2),
    ("SE332", HEADER + "".join(f"n{number},namespace,,\n" for number in range(255)), 256),
    ("SE333", APP + "pin,value,string,hunter2\n", 3),
    ("SE333", APP + "pin, data,string,hunter2\n", 3),
    ("SE333", APP + "# comment\npin,data,text,hunter2\n", 4),
    ("SE333", APP + "pin,data,,hunter2\n", 3),
    ("SE333", APP + "pin,file,u8,hunter2\n", 3),
    ("SE334", APP + "pin,data,u8,hunter2\n", 3),
    ("SE334", APP + "pin,data,u8,256\n", 3),
    ("SE334", APP + "pin,data,u8,-1\n", 3),
    ("SE334", APP + "pin,data,i8,128\n", 3),
    ("SE334", APP + "pin,data,u16,0x10\n", 3),
    ("SE334", APP + "pin,data,u64,18446744073709551616\n", 3),
    ("SE334", APP + f"pin,data,u64,{'9' * 5000}\n", 3),
    ("SE334", APP + "pin,data,u32,\n", 3),
    ("SE334", APP + "pin,data,hex2bin,hunter2\n", 3),
    ("SE334", APP + "pin,data,hex2bin,abc\n", 3),
    ("SE334", APP + "pin,data,base64,hunter2!\n", 3),
    ("SE334", APP + f"pin,data,string,{'x' * 3968}\n", 3),
    ("SE335", APP + "pin,data,string,hunter2\npin,data,u8,1\n", 4),
    ("SE335", APP + "pin,data,u8,1\nb,namespace,,\napp,namespace,,\npin,data,u8,2\n", 6),
    ("SE336", APP + "pin,file,string,hunter2.txt\n", 3),
    ("SE336", APP + "pin,file,string,.\n", 3),
]


@pytest.mark.parametrize(("code", "text", "line"), BAD, ids=[f"{code}-{n}" for n, (code, _, _) in enumerate(BAD)])
def test_a_bad_csv_is_refused(code: str, text: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "nvs.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_nvs_csv(path)
    error = caught.value
    assert (error.code, error.place) == (code, f"{path}: line {line}")
    assert SECRET not in error.cause + error.cure
    assert error.__suppress_context__ or error.__context__ is None, "a traceback must not show the value"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00key", b"key,type,encoding,value\n\xe9,namespace,,\n"])
def test_an_unreadable_csv_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "nvs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_nvs_csv(path)
    assert caught.value.code == "SE330"


def test_what_people_write_is_read(tmp_path: Path) -> None:
    """A byte order mark, CRLF, empty lines, comments, quotes, values over lines, files beside the CSV."""
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").write_bytes(b"-----BEGIN\n")
    (tmp_path / "blob.b64").write_bytes(b"AAEC\nAwQF\n")
    path = tmp_path / "nvs.csv"
    lines = [
        "\ufeffkey,type,encoding,value",
        "# a comment, with a comma",
        "",
        "app,namespace,,",
        "empty,data,string,",
        'quoted,data,string,"a, ""b""',
        '# no comment"',
        "ca,file,string,certs/ca.pem",
        "blob,file,base64,blob.b64",
        "plus,data,i16,+7",
    ]
    path.write_bytes("\r\n".join(lines).encode())
    csv = read_nvs_csv(path)
    assert {value.key: value.value for value in csv.values} == {
        "empty": "",
        "quoted": 'a, "b"\n# no comment',
        "ca": "-----BEGIN\n",
        "blob": bytes(range(6)),
        "plus": 7,
    }
    assert csv.files == (tmp_path / "certs" / "ca.pem", tmp_path / "blob.b64")
    assert "BEGIN" not in repr(csv)


def test_a_long_blob_may_stand_in_the_csv_itself(tmp_path: Path) -> None:
    path = tmp_path / "nvs.csv"
    path.write_text(APP + f"blob,data,hex2bin,{'a5' * 200_000}\n", encoding="utf-8")
    (value,) = read_nvs_csv(path).values
    assert value.value == b"\xa5" * 200_000
