# SPDX-License-Identifier: Apache-2.0
"""What comes from outside is read within bounds: sizes first, regular files only, nothing that is said twice."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_ext.reading import parse_json, parse_yaml, read_file

pytestmark = pytest.mark.cold  # limits of a process are no limits of the server that forks warm ones

LAUGHS = "\n".join(
    ["a: &a [x, x, x, x, x, x, x, x, x]"]
    + [f"{b}: &{b} [" + ", ".join([f"*{a}"] * 9) + "]" for a, b in zip("abcdefg", "bcdefgh", strict=True)]
)


def test_a_file_within_its_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_file(tmp_path / "file", 4) == b"1234"
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read_file(tmp_path / "file", 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_a_device_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"."):
            read_file(path, 10)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a:\n  x: 1\n  x: 1\n", 3),
        ("a: [{b: 1, b: 2}]\n", 1),
        ("'a': 1\na: 2\n", 2),
    ],
)
def test_a_yaml_key_that_is_there_twice_is_an_error_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"line {line}: .* is there already"):
        parse_yaml(text.encode())


def test_aliases_are_followed_within_bounds() -> None:
    assert parse_yaml(b"a: &a [1, 2]\nb: *a\n") == {"a": [1, 2], "b": [1, 2]}
    for text, why in ((LAUGHS, "stands for more than"), ("a: &a [*a]\n", "holds itself")):
        with pytest.raises(ValueError, match=why):
            parse_yaml(text.encode())


@pytest.mark.parametrize(
    "text", ["key: 'SECRET\n", "key: {SECRET\n", "SECRET: [\n", "a: b: SECRET\n", "%SECRET\n", "!SECRET x\n"]
)
def test_what_is_wrong_with_yaml_is_told_without_its_content(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_yaml(text.encode())
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '[{"b": {"a": 1, "a": 2}}]', "NaN", "[1e400, Infinity]", "[" * 100_000]
)
def test_json_that_two_readers_may_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_half_characters_zero_bytes_and_many_levels_are_refused() -> None:
    for text in (r'"\ud800"', r'{"\udfff": 1}', r'{"folder": "a\u0000"}', "[" * 65 + "]" * 65):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
    assert parse_json("[" * 60 + "]" * 60)


def test_a_name_that_no_file_can_have_is_an_error_of_the_system() -> None:
    for name in ("a\0b", "a\ud800"):
        with pytest.raises(OSError, match="no file can have that name"):
            read_file(Path(name), 10)


@pytest.mark.parametrize(
    ("text", "line", "before"),
    [
        ('{\n"a": 1,\n"b": {"a": 2},\n"a": 3}', 4, 2),
        ('[{"x": ":{"},\n{"\\u0061": 1,\n\n"a": [2]}]', 4, 2),
        ('{"a": {"b": [\n{"c": 1, "c": 2}]}}', 2, 2),
    ],
)
def test_a_member_that_is_there_twice_is_named_with_its_lines(text: str, line: int, before: int) -> None:
    with pytest.raises(ValueError, match=rf"line {line}: '.' is there already, in line {before}"):
        parse_json(text)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS


def containers(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)


@given(st.recursive(SCALARS, containers, max_leaves=8))
def test_what_json_can_say_is_read_as_it_is(value: object) -> None:

    assert parse_json(json.dumps(value).encode()) == value


HOSTILE = {
    "a YAML file that is small": ("profile.yaml", f"schema: 1\n{LAUGHS}\n".encode()),
    "a YAML file that is deep": ("profile.yaml", b"[" * 100_000),
    "a PEM file full of beginnings": ("key.pem", b"-----BEGIN PRIVATE KEY-----\n" * 20_000),
    "a PEM file full of lines": ("key.pem", b"-----BEGIN RSA PRIVATE KEY-----\n" + b"-----END \n" * 5_000),
    "a key file without an end": ("key.pem", None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_cost_neither_time_nor_memory(case: str, tmp_path: Path) -> None:
    name, content = HOSTILE[case]
    path = tmp_path / name
    if content is None:
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    words = (
        ["plan", "-B", str(tmp_path), "--profile", str(path)]
        if name.endswith("yaml")
        else ["keys", "digest", str(path)]
    )

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (0x20000000, 0x20000000))
        resource.setrlimit(resource.RLIMIT_CPU, (20, 20))

    done = subprocess.run(
        [sys.executable, "-m", "secure_ext", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
